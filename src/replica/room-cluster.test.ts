/** Members whose logs say that their disks are full: who leads then, and what whoever asks is told. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying, utf8 } from "../base/index.ts";
import { Cluster, type ClusterMember } from "./testing/cluster.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const say = (member: ClusterMember, space: "ok" | "full"): void => {
  Object.defineProperty(member.wal, "space", { value: space, configurable: true });
  member.wal.onSpace?.(space);
};

function lead(seed: number, size = 3): { cluster: Cluster; leader: ClusterMember } {
  const cluster = new Cluster(seed, size);
  const leader = cluster.leader();
  cluster.pass(2_000);
  return { cluster, leader };
}

const others = (cluster: Cluster, ...than: readonly ClusterMember[]): readonly ClusterMember[] =>
  cluster.members.filter((member) => !than.includes(member));

/** What the caller of a command that takes or frees room is told. */
function ask(member: ClusterMember, word: string, frees = false): string[] {
  const told: string[] = [];
  member.replica.propose(utf8(word), frees, (error: HarmonyError | null) => {
    told.push(error === null ? "done" : `${error.code} maybe=${error.maybeApplied}`);
  });
  return told;
}

/** Appends wait at this member as they do on a disk whose reserve is used up, until it is called. */
function holdLog({ machine }: ClusterMember): () => void {
  const fault = machine.disk.inject({
    operation: "write",
    path: (path) => /\/wal\/|\/next/.test(path),
    delayMs: Number.POSITIVE_INFINITY,
    times: Number.POSITIVE_INFINITY,
  });
  return () => fault.remove();
}

describe("a leader whose disk is full", { timeout: 60_000 }, () => {
  it("hands over to one that has room; what it was handed goes on to that, and nobody is refused", () => {
    const { cluster, leader } = lead(1);
    const [one, two] = others(cluster, leader) as [ClusterMember, ClusterMember];
    say(two, "full");
    cluster.pass(200);
    say(leader, "full");
    // Two of three have none: it stays, as it would alone.
    const alone = ask(leader, "alone");
    cluster.pass(2_000);
    expect([alone, leader.isLeader]).toEqual([["DISK_FULL maybe=false"], true]);
    expect(ask(leader, "frees", true)).toEqual([]);
    say(leader, "ok");
    say(two, "ok");
    cluster.pass(10_000);
    say(leader, "full");
    const told = [ask(one, "by one"), ask(two, "by two")];
    cluster.pass(2_000);
    const next = cluster.leader();
    expect(next).not.toBe(leader);
    expect(told).toEqual([["done"], ["done"]]);
    expect(next.list.applied.toSorted()).toEqual(["by one", "by two", "frees"]);
    expect(next.list.applied).not.toContain("alone");
    // It is back as a follower, and leads again only when it has to.
    say(leader, "ok");
    cluster.pass(20_000);
    expect(cluster.leader()).toBe(next);
  });

  it("loses the lead although its log takes nothing any more, and says of what is in it that it may be", () => {
    const { cluster, leader } = lead(2);
    const go = holdLog(leader);
    const told = ask(leader, "in its log");
    cluster.pass(5);
    say(leader, "full");
    cluster.pass(3_000);
    const next = cluster.leader();
    expect(next).not.toBe(leader);
    expect(next.list.applied).toEqual(["in its log"]);
    expect(told).toEqual(["MEMBER_FULL maybe=true"]);
    expect(ask(next, "more")).toEqual([]);
    say(leader, "ok");
    go();
    cluster.pass(10_000);
    expect(leader.list.applied).toEqual(["in its log", "more"]);
    expect(leader.fatal).toBeNull();
  });

  it("does not pass the lead round among members that all are full", () => {
    const { cluster, leader } = lead(3);
    const { term } = leader.replica.raft;
    for (const member of cluster.members) say(member, "full");
    cluster.pass(120_000);
    // Once, before the leader has heard of the others.
    for (const { replica } of cluster.members)
      expect(replica.raft.term - term).toBeLessThanOrEqual(1);
  });

  it("passes it on a few times in minutes where members are full in turns", () => {
    const { cluster, leader } = lead(4);
    const before = leader.replica.raft.term;
    let full = leader;
    for (let second = 0; second < 300; second++) {
      say(full, "full");
      cluster.pass(1_000);
      const next = cluster.members.find((member) => member.isLeader);
      if (next !== undefined && next !== full) {
        say(full, "ok");
        full = next;
      }
    }
    // Each of three waits 5, 10, 20, ... seconds after the one before: without that, some hundred.
    expect(cluster.leader().replica.raft.term - before).toBeLessThan(25);
  });
});

describe("a follower whose disk is full", { timeout: 60_000 }, () => {
  it("refuses commands and reads at once, for certain, and takes them again when there is room", () => {
    const { cluster, leader } = lead(5);
    const [one] = others(cluster, leader) as [ClusterMember];
    say(one, "full");
    cluster.pass(1);
    expect(ask(one, "a")).toEqual(["MEMBER_FULL maybe=false"]);
    expect(ask(one, "b", true)).toEqual(["MEMBER_FULL maybe=false"]);
    expect(one.read().error).toBe("MEMBER_FULL maybe=false");
    expect(one.replica.aside?.code).toBe("MEMBER_FULL");
    const told = ask(leader, "c");
    cluster.pass(500);
    expect(told).toEqual(["done"]);
    expect(cluster.leader()).toBe(leader);
    say(one, "ok");
    cluster.pass(200);
    const again = [ask(one, "d"), one.read()] as const;
    cluster.pass(500);
    expect(again[0]).toEqual(["done"]);
    expect(again[1].seen).toContain("c");
    expect(one.replica.aside).toBeNull();
  });

  it("answers those who wait when it comes to that: of what left it, that it may be", () => {
    const { cluster, leader } = lead(6);
    const [one] = others(cluster, leader) as [ClusterMember];
    const interrupted: string[] = [];
    one.standsStill = (error) => interrupted.push(error.code);
    const go = holdLog(one);
    const handed = ask(one, "handed over");
    cluster.pass(300);
    expect([handed, leader.list.applied]).toEqual([[], ["handed over"]]);
    const read = one.read();
    cluster.pass(100);
    say(one, "full");
    cluster.pass(3);
    // It was asked here, and is answered by whoever is asked next.
    expect(read.error).toBe("MEMBER_FULL maybe=false");
    expect(handed).toEqual([]);
    cluster.pass(2_000);
    expect(handed).toEqual(["MEMBER_FULL maybe=true"]);
    expect(interrupted).toEqual(["MEMBER_FULL"]);
    expect(one.replica.still?.code).toBe("MEMBER_FULL");
    say(one, "ok");
    go();
    cluster.pass(5_000);
    expect([one.replica.still, one.list.applied]).toEqual([null, ["handed over"]]);
  });

  it("goes on handing over where nobody has room: puts are refused by name, what frees room is done", () => {
    const { cluster } = lead(7);
    for (const member of cluster.members) say(member, "full");
    cluster.pass(2_000);
    const told = cluster.members.map((member) => [
      ask(member, `put by ${member.id}`),
      ask(member, `delete by ${member.id}`, true),
    ]);
    const reads = cluster.members.map((member) => member.read());
    cluster.pass(1_000);
    for (const of of told) expect(of).toEqual([["DISK_FULL maybe=false"], ["done"]]);
    for (const { seen } of reads) expect(seen).not.toBeNull();
  });

  it("has a leader that has room refuse what would use up its reserve, where the majority needs it", () => {
    const { cluster, leader } = lead(8);
    const [one, two] = others(cluster, leader) as [ClusterMember, ClusterMember];
    say(one, "full");
    say(two, "full");
    cluster.pass(500);
    const told = [ask(leader, "put"), ask(leader, "delete", true)];
    cluster.pass(500);
    expect(told).toEqual([["DISK_FULL maybe=false"], ["done"]]);
    say(two, "ok");
    cluster.pass(500);
    const put = ask(leader, "put again");
    cluster.pass(500);
    expect(put).toEqual(["done"]);
    // One that is down leaves no majority without the one that is full.
    two.kill();
    cluster.pass(4_000);
    const short = ask(leader, "short");
    cluster.pass(500);
    expect(short).toEqual(["DISK_FULL maybe=false"]);
  });

  it("counts as one with room where it says nothing of it, as an older version does", () => {
    const { cluster, leader } = lead(9);
    for (const member of others(cluster, leader)) {
      say(member, "full");
      member.isSilent = true;
    }
    cluster.pass(2_000);
    const put = ask(leader, "put");
    cluster.pass(500);
    expect(put).toEqual(["done"]);
    say(leader, "full");
    cluster.pass(3_000);
    expect(cluster.leader()).not.toBe(leader);
  });
});
