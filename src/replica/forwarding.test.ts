/** Any member takes any command; whoever asks is told the truth, whatever happens on the way. */
import { describe, expect, it } from "vitest";
import { Random } from "../base/index.ts";
import { type Asked, Cluster } from "./testing/cluster.ts";

describe("a command given to a member that does not lead", { timeout: 60_000 }, () => {
  it("is applied once everywhere, and answered where it was asked for", () => {
    const cluster = new Cluster(1);
    cluster.leader();
    cluster.pass(1000);
    const asked = cluster.members.map((member) => member.propose(`from ${member.id}`));
    cluster.pass(200);
    for (const { word, told, seen } of asked) {
      expect(told).toBe("done");
      // What the caller reads from the same member from now on holds what he wrote.
      expect(seen).toContain(word);
    }
    cluster.pass(200);
    for (const { list } of cluster.members)
      expect(list.applied.toSorted()).toEqual(["from 1", "from 2", "from 3"]);
  });

  it("waits while there is no leader", () => {
    const cluster = new Cluster(2);
    const asked = cluster.members.map((member) => member.propose(`early ${member.id}`));
    cluster.pass(300);
    expect(asked.map(({ told }) => told)).toEqual([null, null, null]);
    cluster.leader();
    cluster.pass(1000);
    expect(asked.map(({ told }) => told)).toEqual(["done", "done", "done"]);
  });

  it("that waited, and was given up, never happens", () => {
    const cluster = new Cluster(2);
    const asked = cluster.member(1).propose("given up");
    expect(asked.proposal?.cancel()).toBe(true);
    cluster.leader();
    cluster.pass(1000);
    expect(cluster.member(1).list.applied).toEqual([]);
  });

  it("may have happened once it was handed over", () => {
    const cluster = new Cluster(3);
    const follower = cluster.follower();
    cluster.pass(1000);
    const asked = follower.propose("on its way");
    cluster.pass(1);
    expect(asked.proposal?.cancel()).toBe(false);
    cluster.pass(500);
    expect(follower.list.applied).toEqual(["on its way"]);
  });

  it("goes on to the leader when the one that was asked has stepped down", () => {
    const cluster = new Cluster(4);
    const before = cluster.leader();
    cluster.pass(1000);
    const follower = cluster.follower();
    // The others elect a new leader; the follower that was asked hears of it late.
    cluster.isolate([before.id]);
    const asked = follower.propose("moves on");
    const after = ((): number => {
      cluster.pass(5_000);
      return cluster.leader().id;
    })();
    expect(after).not.toBe(before.id);
    cluster.isolate([before.id], false);
    cluster.pass(15_000);
    expect(asked.told).not.toBeNull();
    for (const { list } of cluster.members)
      expect(list.applied.filter((word) => word === "moves on").length).toBeLessThan(2);
    expect(cluster.member(before.id).list.applied).toEqual(follower.list.applied);
  });

  it("keeps its place among others when the leader that was asked gives them back one by one", () => {
    const cluster = new Cluster(10, 5);
    const leader = cluster.leader();
    cluster.pass(1000);
    const follower = cluster.follower();
    const minority = [leader.id, follower.id];
    cluster.isolate(minority);
    // It has no room for more until something is committed, so what it is handed waits there.
    while (leader.replica.raft.propose(new Uint8Array(256 * 1024)).ok) cluster.pass(1);
    const words = Array.from({ length: 10 }, (_, i) => `word ${i}`);
    const asked = words.map((word) => follower.propose(word));
    cluster.pass(100);
    expect(leader.replica.commandsPending).toBe(words.length);
    cluster.pass(6_000);
    expect(leader.isLeader).toBe(false);
    expect(leader.replica.commandsPending).toBe(0);
    const later = follower.propose("later");
    cluster.isolate(minority, false);
    cluster.pass(15_000);
    expect([...asked, later].map(({ told }) => told)).toEqual(Array(11).fill("done"));
    const { applied } = cluster.leader().list;
    expect(applied.filter((word) => words.includes(word) || word === "later")).toEqual([
      ...words,
      "later",
    ]);
  });

  it("certainly did not happen when another leader's entry stands where it was placed", () => {
    const cluster = new Cluster(9, 5);
    const leader = cluster.leader();
    cluster.pass(1000);
    const follower = cluster.follower();
    const minority = [leader.id, follower.id];
    cluster.isolate(minority);
    const asked = follower.propose("placed");
    cluster.pass(100);
    // Handed over and told its place, in an entry that no majority has.
    expect(asked.proposal?.cancel()).toBe(false);
    const again = follower.propose("placed as well");
    cluster.pass(6_000);
    const majority = cluster.members.filter(({ id }) => !minority.includes(id));
    const words = ["x", "y", "z"].map((word) => majority[0]?.propose(word));
    cluster.pass(1_000);
    expect(words.map((of) => of?.told)).toEqual(["done", "done", "done"]);
    cluster.isolate(minority, false);
    cluster.pass(15_000);
    expect(again.told).toBe("certainly not");
    for (const { list } of cluster.members) expect(list.applied).toEqual(["x", "y", "z"]);
  });

  it("is refused to be passed on by a member that does not lead, and nothing is lost by that", () => {
    const cluster = new Cluster(5);
    const leader = cluster.leader();
    cluster.pass(1000);
    const [one, two] = cluster.members.filter((member) => member !== leader);
    // As if `one` believed in the wrong leader.
    one?.peers.tell(two?.id ?? 0, {
      kind: "forward",
      group: 0,
      ticket: 7,
      commands: [{ data: new TextEncoder().encode("astray"), reserve: false, isConfChange: false }],
    });
    one?.peers.flush();
    cluster.pass(500);
    for (const { list } of cluster.members) expect(list.applied).toEqual([]);
  });

  it("is refused by name when nobody has room for it", () => {
    const cluster = new Cluster(6);
    cluster.leader();
    cluster.pass(1000);
    for (const { wal } of cluster.members) Object.defineProperty(wal, "space", { value: "full" });
    cluster.pass(1000);
    const errors: string[] = [];
    cluster.follower().replica.propose(new Uint8Array(10), false, (error) => {
      errors.push(error === null ? "done" : `${error.code} maybe=${error.maybeApplied}`);
    });
    cluster.pass(500);
    expect(errors).toEqual(["DISK_FULL maybe=false"]);
  });
});

describe("reads", { timeout: 60_000 }, () => {
  it("see on every member what was acknowledged before by any", () => {
    const cluster = new Cluster(7);
    cluster.leader();
    cluster.pass(1000);
    for (const writer of cluster.members) {
      const asked = writer.propose(`w${writer.id}`);
      while (asked.told === null) cluster.pass(1);
      const reads = cluster.members.map((member) => member.read());
      cluster.pass(300);
      for (const { seen } of reads) expect(seen).toContain(`w${writer.id}`);
    }
  });

  it("are not answered by a leader that is cut off, and writes there are not acknowledged", () => {
    const cluster = new Cluster(8);
    const before = cluster.leader();
    cluster.pass(1000);
    cluster.isolate([before.id]);
    const read = before.read();
    const write = before.propose("minority");
    cluster.pass(5_000);
    expect(before.isLeader).toBe(false);
    expect([read.seen, read.error, write.told]).toEqual([null, null, null]);
    const majority = cluster.leader().propose("majority");
    cluster.pass(500);
    expect(majority.told).toBe("done");
    cluster.isolate([before.id], false);
    cluster.pass(15_000);
    // The entry of the minority was overwritten, and its caller is told that it certainly did not happen.
    expect(write.told).toBe("certainly not");
    expect(read.seen).toContain("majority");
    for (const { list } of cluster.members) expect(list.applied).toEqual(["majority"]);
  });
});

describe("whatever happens on the way", { timeout: 60_000 }, () => {
  const SEEDS = Array.from({ length: 20 }, (_, i) => i + 100);

  it.each(SEEDS)("nobody is told anything that is not so (seed %d)", (seed) => {
    const random = new Random(seed);
    const cluster = new Cluster(seed);
    const asked: Asked[] = [];
    for (let step = 0; step < 120; step++) {
      const up = cluster.members.filter(({ isUp }) => isUp);
      const member = random.pick(up);
      for (let i = random.below(4); i > 0; i--) asked.push(member.propose(`c${asked.length}`));
      const trouble = random.below(30);
      if (trouble === 0 && up.length === 3) {
        const ended = random.pick(up);
        if (random.percent(50)) ended.kill();
        else ended.losePower();
      } else if (trouble === 1) {
        for (const { isUp, id } of cluster.members) if (!isUp) cluster.member(id).start();
      } else if (trouble === 2) cluster.isolate([1 + random.below(3)]);
      else if (trouble < 6) for (const { id } of cluster.members) cluster.isolate([id], false);
      else if (trouble < 9) cluster.breakLinks(1 + random.below(3), 1 + random.below(3));
      cluster.pass(random.percent(20) ? random.between(100, 3_000) : random.between(1, 20));
    }
    for (const { id } of cluster.members) cluster.isolate([id], false);
    for (const member of cluster.members) if (!member.isUp) member.start();
    cluster.pass(20_000);
    const last = cluster.leader().propose("last");
    cluster.pass(1_000);
    expect(last.told).toBe("done");
    const [first, ...others] = cluster.members.map(({ list }) => list.applied);
    for (const other of others) expect(other).toEqual(first);
    expect(new Set(first).size).toBe(first?.length);
    const applied = new Set(first);
    for (const { word, told, seen, result } of asked) {
      if (told === "done") {
        expect(applied).toContain(word);
        // The result is that of this command, not of one that stands in its place.
        expect(result.split("@")[0]).toBe(word);
        expect(seen).toContain(word);
      } else if (told === "certainly not") expect(applied).not.toContain(word);
    }
    for (const { fatal } of cluster.members) expect(fatal).toBeNull();
    // The run is worth something: most was acknowledged although it went through any member.
    expect(asked.filter(({ told }) => told === "done").length).toBeGreaterThan(asked.length / 3);
  });
});
