/** A member in quarantine: who asks it is told so, nobody counts it, and what it says of itself is heard. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HarmonyError, setVerifying } from "../base/index.ts";
import { Cluster, type ClusterMember } from "./testing/cluster.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const quarantine = (member: ClusterMember): void =>
  member.replica.quarantine(new HarmonyError("QUARANTINED", "its state differs"));

describe("members compare what they have applied", { timeout: 60_000 }, () => {
  it.each(["follower", "leader"])("and all find the %s that differs from the others", (role) => {
    const cluster = new Cluster(1);
    const wrong = role === "leader" ? cluster.leader() : cluster.follower();
    cluster.pass(3_000);
    for (const { verdicts } of cluster.members) expect(verdicts).toEqual([]);
    expect(cluster.leader().replica.agreement?.agreedIndex).toBeGreaterThan(0);
    wrong.list.stateHash ^= 1;
    cluster.follower().propose("something");
    cluster.pass(3_000);
    const index = wrong.list.appliedIndex;
    for (const { verdicts } of cluster.members)
      expect(verdicts).toEqual([{ index, differing: [wrong.id], isDecided: true }]);
  });

  it("also when one of them lay behind, and compare nothing that they do not remember", () => {
    const cluster = new Cluster(2);
    cluster.leader();
    cluster.pass(1_000);
    const away = cluster.follower();
    cluster.isolate([away.id]);
    for (let i = 0; i < 50; i++) cluster.leader().propose(`word ${i}`);
    cluster.pass(3_000);
    cluster.isolate([away.id], false);
    cluster.pass(8_000);
    cluster.leader().propose("last");
    cluster.pass(3_000);
    for (const { replica, verdicts, list } of cluster.members) {
      expect(verdicts).toEqual([]);
      expect(replica.agreement?.agreedIndex).toBe(list.appliedIndex);
    }
  });
});

describe("a member in quarantine", { timeout: 60_000 }, () => {
  it("tells whoever waits what is known of his command, and takes nothing more", () => {
    const cluster = new Cluster(3);
    cluster.leader();
    cluster.pass(1_000);
    const member = cluster.follower();
    cluster.isolate([member.id]);
    const handedOver = member.propose("handed over");
    cluster.pass(1);
    const waits = member.propose("waits");
    const reads = member.read();
    const { appliedIndex } = member.list;
    quarantine(member);
    expect(handedOver.told).toBe("unknown");
    expect(waits.told).toBe("certainly not");
    expect(reads.error).toMatch(/QUARANTINED/);
    cluster.isolate([member.id], false);
    cluster.pass(8_000);
    cluster.leader().propose("goes on");
    cluster.pass(1_000);
    expect(member.propose("more").told).toBe("certainly not");
    expect(member.read().error).toMatch(/QUARANTINED/);
    expect(member.list.appliedIndex).toBe(appliedIndex);
    expect(cluster.leader().list.applied).toContain("goes on");
    expect(member.fatal).toBeNull();
  });

  it("is counted by nobody: with a second one down nothing is committed and nobody leads", () => {
    const cluster = new Cluster(4);
    const leader = cluster.leader();
    cluster.pass(1_000);
    const [one, two] = cluster.members.filter((member) => member !== leader);
    quarantine(one as ClusterMember);
    const before = leader.propose("with two of three");
    cluster.pass(500);
    expect(before.told).toBe("done");
    two?.kill();
    const asked = leader.propose("with one of three");
    const read = leader.read();
    cluster.pass(10_000);
    expect(asked.told).not.toBe("done");
    expect(read.seen).toBeNull();
    expect(leader.isLeader).toBe(false);
    two?.start();
    expect(cluster.leader()).not.toBe(one);
  });

  it("leads no more when it led, and is followed by another", () => {
    const cluster = new Cluster(5);
    const leader = cluster.leader();
    cluster.pass(1_000);
    const asked = leader.propose("in doubt");
    quarantine(leader);
    expect(["certainly not", "unknown"]).toContain(asked.told);
    cluster.pass(5_000);
    const next = cluster.leader();
    expect(next).not.toBe(leader);
    expect(leader.replica.raft.leader).toBe(next.id);
  });

  it("begins a new life, durably, and asks up to where it has to be healed", () => {
    const cluster = new Cluster(6);
    cluster.leader().propose("one");
    cluster.pass(1_000);
    const member = cluster.follower();
    let life = 0;
    quarantine(member);
    member.host.beginIncarnation(0, (incarnation) => (life = incarnation));
    cluster.pass(100);
    expect(life).toBe(2);
    cluster.leader().propose("two");
    cluster.pass(1_000);
    let index = 0;
    expect(member.replica.askReadIndex((at) => (index = at))).toBe(true);
    cluster.pass(500);
    expect(index).toBe(cluster.leader().list.appliedIndex);
    expect(index).toBeGreaterThan(member.list.appliedIndex);
    const { progress } = cluster.leader().replica.raft.status();
    expect(progress.find(({ id }) => id === member.id)?.match).toBe(0);
    // What it says of itself the others hear.
    const item = { kind: "quarantine", group: 0, incarnation: 2, what: "damage" } as const;
    member.peers.tell(cluster.leader().id, item);
    member.peers.flush();
    cluster.pass(100);
    expect(cluster.leader().heardOf).toEqual([{ from: member.id, item }]);
    member.losePower();
    member.start();
    member.replica.quarantine(new HarmonyError("QUARANTINED"));
    member.host.beginIncarnation(0, (incarnation) => (life = incarnation));
    cluster.pass(100);
    expect(life).toBe(3);
  });
});
