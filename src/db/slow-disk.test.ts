/** A leader whose disk stands still, in simulated time: who leads then, and what becomes of what is asked for. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { ClusterWorld } from "./cluster.suite.ts";
import { outcomeOf, type World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const ALWAYS = { operation: ["write", "sync"], times: Number.POSITIVE_INFINITY } as const;
const STILL = { ...ALWAYS, delayMs: Number.POSITIVE_INFINITY };

describe("a leader whose disk stands still", { timeout: 60_000 }, () => {
  let cluster: ClusterWorld;
  let leader: World;
  let follower: World;
  let other: World;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    leader = cluster.leader();
    [follower, other] = cluster.followers() as [World, World];
    cluster.pass(500);
    leader.putNow("k", "before");
  });

  const leads = (world: World): bigint => world.node.database.status().leader;
  const termOf = (world: World): number => Number(world.node.database.status().raftTerm);

  it("hands the lead over, since the others go on without it, and follows when its disk is back", () => {
    const term = termOf(leader);
    const before = leader.node.database.memberId;
    const still = leader.machine.disk.inject(STILL);
    const through = [leader, follower].map((world, i) => world.put(`during${i}`, "yes"));
    cluster.until("another leader", () => ![0n, before].includes(leads(other)), 5_000);
    // Handed over, and not found by an election: one term on.
    expect(termOf(other)).toBe(term + 1);
    expect(cluster.logged.join("\n")).toContain("the disk stands still: hands the lead over");
    other.putNow("k", "after");
    expect(follower.get("k")).toBe("after");
    // What had been asked through the others is done; what was asked here waits for this disk.
    follower.now(through[1] as NonNullable<(typeof through)[1]>);
    expect(outcomeOf(through[0] as NonNullable<(typeof through)[0]>)).toBe("nothing yet");
    still.remove();
    cluster.pass(2_000);
    expect(outcomeOf(through[0] as NonNullable<(typeof through)[0]>)).toBe("ok");
    expect(leader.get("k")).toBe("after");
    expect([leads(leader), termOf(leader)]).toEqual([leads(other), term + 1]);
    cluster.expectEqual();
  });

  it("leads on where there is no majority without it", () => {
    cluster.kill(other);
    cluster.pass(500);
    const term = termOf(leader);
    const still = leader.machine.disk.inject(STILL);
    const asked = follower.put("k", "slow", { timeoutMs: 20_000 });
    cluster.pass(5_000);
    expect(outcomeOf(asked)).toBe("nothing yet");
    expect([leads(follower), termOf(follower)]).toEqual([leader.node.database.memberId, term]);
    still.remove();
    cluster.pass(1_000);
    expect(outcomeOf(asked)).toBe("ok");
    expect(termOf(follower)).toBe(term);
  });

  it("leads on where all disks are as slow", () => {
    const term = termOf(leader);
    for (const { machine } of cluster.nodes) machine.disk.inject({ ...ALWAYS, delayMs: 3_000 });
    const startMs = cluster.scheduler.nowMs;
    for (let i = 0; i < 4; i++) {
      const asked = follower.put("k", `${i}`, { timeoutMs: 30_000 });
      cluster.until("an answer", () => asked.isThere, 30_000);
      expect(outcomeOf(asked)).toBe("ok");
    }
    expect(cluster.scheduler.nowMs - startMs).toBeGreaterThan(4 * 3_000);
    expect([leads(other), termOf(other)]).toEqual([leader.node.database.memberId, term]);
  });

  it("does not hand over for a write that takes a second", () => {
    const term = termOf(leader);
    const slow = leader.machine.disk.inject({ ...ALWAYS, delayMs: 1_000 });
    leader.putNow("k", "late");
    slow.remove();
    cluster.pass(3_000);
    expect([leads(other), termOf(other)]).toEqual([leader.node.database.memberId, term]);
  });
});
