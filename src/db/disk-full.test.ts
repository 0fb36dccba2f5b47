/** No room on the disk, and a quota that is used up: what is refused, what goes on, and how it ends (fault-rules D11). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import type { HarmonyError } from "../base/index.ts";
import { deleteRequest, outcomeOf, rangeRequest, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const SEGMENT = 64 * 1024;
/** No checkpoint of its own accord. */
const NEVER = { walBytes: 2 ** 40, operations: 2 ** 40, intervalMs: 2 ** 40 };

/** Puts until one is refused; what was acknowledged. */
function fill(world: World, prefix = "k"): string[] {
  const acknowledged: string[] = [];
  for (let i = 0; i < 1_000; i++) {
    const key = `${prefix}${i}`;
    const put = world.put(key, "x".repeat(1_000));
    world.until(() => put.isThere);
    if (outcomeOf(put) !== "ok") {
      expect(outcomeOf(put)).toMatch(/^(DISK_FULL maybe=false|TIMEOUT maybe=true)$/);
      return acknowledged;
    }
    acknowledged.push(key);
  }
  throw new Error("the disk never became full");
}

/** A node on a disk that takes so many bytes more than a new node does. */
function onSmallDisk(bytes: number): World {
  const retention = { retentionMs: 0, retentionRevisions: 0 };
  const world = new World().open({ checkpoints: NEVER, walSegmentBytes: SEGMENT, retention });
  world.pass(2_000);
  world.machine.disk.quotaBytes = world.machine.disk.usedBytes + bytes;
  return world;
}

describe("a full disk", () => {
  it("refuses puts, takes deletes, answers reads, says so, and goes on by itself when there is room", () => {
    const world = onSmallDisk(20_000);
    const keys = fill(world);
    expect(keys.length).toBeGreaterThan(20);
    world.pass(10_000);
    const puts = [world.put("late"), world.put("later")];
    world.until(() => puts.every(({ isThere }) => isThere));
    expect(puts.map(outcomeOf)).toEqual(["DISK_FULL maybe=false", "DISK_FULL maybe=false"]);
    expect(world.node.database.status().errors.join()).toContain("NOSPACE");
    const [first, second, third] = keys as [string, string, string];
    expect(world.now(world.write(deleteRequest(first)))).toMatchObject({ deleted: 1 });
    const others = [
      world.write({ kind: "compact", revision: 3, physical: false }),
      world.write({ kind: "leaseRevoke", id: 77n }),
      world.write({ kind: "leaseKeepAlive", id: 77n }),
    ];
    world.until(() => others.every(({ isThere }) => isThere));
    expect(others.map(outcomeOf)).toEqual(["COMPACTED", "LEASE_NOT_FOUND", "ok"]);
    expect(world.get(first)).toBe(undefined);
    expect(world.get(second)).toBe("x".repeat(1_000));
    expect(world.fatal).toBe(null);
    const { disk } = world.machine;
    disk.quotaBytes += 10 * SEGMENT;
    world.pass(10_000);
    world.putNow("late", "1");
    expect(world.node.database.status().errors).toEqual([]);
    world.close();
    world.losePower().open();
    expect([world.get(first), world.get("late")]).toEqual([undefined, "1"]);
    expect(world.get(third)).toBe("x".repeat(1_000));
  });

  it("lets a delete go past a put that already waits for room in the log", () => {
    // Many at once: the log learns that the disk is full while an entry is on its way.
    for (const burst of [3, 10, 30]) {
      const world = onSmallDisk(20_000);
      const puts: ReturnType<World["put"]>[] = [];
      world.putNow("victim", "1");
      while (world.node.database.status().errors.length === 0 && puts.length < 2_000) {
        for (let i = 0; i < burst; i++)
          puts.push(world.put(`k${puts.length}`, "x".repeat(200), { timeoutMs: 3_600_000 }));
        world.pass(2);
      }
      const removed = world.write(deleteRequest("victim"));
      world.until(() => removed.isThere);
      expect([burst, outcomeOf(removed)]).toEqual([burst, "ok"]);
      expect(world.get("victim")).toBe(undefined);
      world.machine.disk.quotaBytes *= 10;
      world.pass(20_000);
      const acknowledged = puts.map((put, i) => ({ key: `k${i}`, outcome: outcomeOf(put) }));
      for (const { outcome } of acknowledged)
        expect(["ok", "DISK_FULL maybe=false"]).toContain(outcome);
      world.close();
      world.losePower().open();
      for (const { key, outcome } of acknowledged)
        expect([key, world.get(key) !== undefined]).toEqual([key, outcome === "ok"]);
    }
  });

  it("is no reason not to start, not to answer reads, and not to take deletes", () => {
    const world = onSmallDisk(20_000);
    const [first, second] = fill(world) as [string, string];
    world.pass(5_000);
    for (let start = 0; start < 3; start++) {
      // A start goes on in a segment of its own and writes votes and manifest anew before it replaces the old ones.
      world.close();
      world.kill();
      const { disk } = world.machine;
      disk.quotaBytes = disk.usedBytes + SEGMENT + 40_000;
      world.open({ checkpoints: NEVER, walSegmentBytes: SEGMENT });
      disk.quotaBytes = disk.usedBytes;
      expect(world.get(second)).toBe("x".repeat(1_000));
      expect(outcomeOf(world.now(world.write(deleteRequest(first))))).toBe("ok");
    }
  });

  it("lets a close be a close", () => {
    const world = onSmallDisk(20_000);
    const keys = fill(world);
    const waiting = Array.from({ length: 5 }, (_, i) => world.put(`w${i}`, "x".repeat(3_000)));
    const startedAtMs = world.nowMs;
    world.close();
    expect(world.nowMs - startedAtMs).toBeLessThan(6_000);
    expect(waiting.map(outcomeOf).filter((outcome) => outcome === "ok")).toEqual([]);
    expect(world.machine.disk.quiet).toBe(true);
    world.machine.disk.quotaBytes *= 10;
    world.losePower().open();
    for (const key of keys) expect(world.get(key)).toBe("x".repeat(1_000));
  });

  it("is made emptier by checkpoints that let the log go", () => {
    // Six more segments, and less than another one for the checkpoint that takes their place.
    const world = onSmallDisk(6 * SEGMENT + 60_000);
    const refusedAt: number[] = [];
    // The same few keys over and over: all that grows is the log.
    for (let i = 0; i < 1_500; i++) {
      const put = world.put(`k${i % 5}`, "x".repeat(1_000));
      world.until(() => put.isThere);
      if (outcomeOf(put) === "ok") continue;
      refusedAt.push(i);
      world.pass(5_000);
    }
    // Refused now and then, and each time room was made.
    expect(refusedAt.length).toBeGreaterThan(0);
    expect(refusedAt.length).toBeLessThan(150);
    expect(world.machine.disk.usedBytes).toBeLessThanOrEqual(world.machine.disk.quotaBytes);
    world.close();
    world.losePower().open();
    expect(world.get("k0")).toBe("x".repeat(1_000));
  });

  it("is made emptier by deleting everything, though the next checkpoint has nowhere to grow", () => {
    const world = new World().open({
      checkpoints: { ...NEVER, operations: 100 },
      walSegmentBytes: 2 * SEGMENT,
    });
    const { disk } = world.machine;
    disk.quotaBytes = 4 * 1024 * 1024;
    let puts = 0;
    for (let isFull = false; !isFull; puts++) {
      const put = world.put(`k${String(puts).padStart(5, "0")}`, "x".repeat(3_000));
      world.until(() => put.isThere);
      world.pass(5);
      isFull = outcomeOf(put) !== "ok";
      expect(puts).toBeLessThan(2_000);
    }
    world.pass(12_000);
    for (let i = 0; i < 100; i++)
      world.now(world.write(deleteRequest(`k${String(i).padStart(5, "0")}`)));
    expect(outcomeOf(world.now(world.write(deleteRequest("k", "l"))))).toBe("ok");
    const revision = world.node.database.status().revision;
    const compaction = world.write({ kind: "compact", revision, physical: true });
    world.until(() => compaction.isThere);
    expect(outcomeOf(compaction)).toBe("ok");
    world.pass(20_000);
    world.putNow("again", "1");
    expect(world.node.database.status().errors).toEqual([]);
    world.close();
    world.losePower().open();
    expect([world.get("again"), world.get("k00500")]).toEqual(["1", undefined]);
  });

  it("that has no room for a checkpoint keeps the old one and the log, and makes it later", () => {
    const world = new World().open({ checkpoints: NEVER, walSegmentBytes: 1024 * 1024 });
    for (let i = 0; i < 100; i++) world.putNow(`k${i}`, "x".repeat(1_000));
    const { disk } = world.machine;
    disk.quotaBytes = disk.usedBytes + 5_000;
    const codes: (string | undefined)[] = [];
    world.node.checkpoint((error: HarmonyError | null) => codes.push(error?.code));
    world.until(() => codes.length === 1);
    expect(codes).toEqual(["DISK_FULL"]);
    expect(world.fatal).toBe(null);
    world.putNow("after", "1");
    disk.quotaBytes *= 10;
    world.node.checkpoint((error) => codes.push(error?.code));
    world.until(() => codes.length === 2);
    expect(codes).toEqual(["DISK_FULL", undefined]);
    world.losePower().open();
    expect(world.node.recovery).toMatchObject({ snapshotLoaded: true, snapshotEntries: 101 });
    expect(world.get("k99")).toBe("x".repeat(1_000));
  });

  it("does not make the node try a checkpoint in every round", () => {
    const world = new World().open({
      checkpoints: { walBytes: 1, operations: 1, intervalMs: 1 },
      walSegmentBytes: 1024 * 1024,
    });
    const full = world.machine.disk.inject({
      operation: "write",
      path: TREE,
      error: "ENOSPC",
      times: Number.POSITIVE_INFINITY,
    });
    world.putNow("a");
    world.pass(35_000);
    expect(full.struck).toBeGreaterThan(1);
    expect(full.struck).toBeLessThanOrEqual(5);
    full.remove();
    world.pass(15_000);
    world.close();
    world.kill().open();
    expect(world.node.recovery.snapshotLoaded).toBe(true);
  });
});

describe("a quota that is used up", () => {
  it("refuses what takes room and takes what gives it back", () => {
    const world = new World().open({
      quotaBytes: 400_000,
      retention: { retentionMs: 0, retentionRevisions: 0 },
    });
    let stored = 0;
    for (; stored < 1_000; stored++) {
      const put = world.put(`k${stored}`, "x".repeat(2_000));
      world.until(() => put.isThere);
      if (outcomeOf(put) === "ok") continue;
      expect(outcomeOf(put)).toBe("NO_SPACE");
      break;
    }
    expect(stored).toBeGreaterThan(50);
    expect(stored).toBeLessThan(250);
    expect(world.node.database.status().errors.join()).toContain("NOSPACE");
    const read = world.range(rangeRequest("k0"));
    expect(outcomeOf(read)).toBe("ok");
    const grant = world.write({ kind: "leaseGrant", ttlSeconds: 100n, id: 0n });
    const txn = world.write({
      kind: "txn",
      compare: [],
      success: [{ kind: "txn", compare: [], success: [], failure: [put("deep")] }],
      failure: [],
    });
    world.until(() => grant.isThere && txn.isThere);
    expect([grant, txn].map(outcomeOf)).toEqual(["NO_SPACE", "NO_SPACE"]);
    expect(outcomeOf(world.now(world.write(deleteRequest("k", "l"))))).toBe("ok");
    // The pages are free when no checkpoint needs them any more.
    for (let i = 0; i < 3; i++) {
      let isDone = false;
      world.node.checkpoint(() => {
        isDone = true;
      });
      world.until(() => isDone);
    }
    world.putNow("k0", "again");
    expect(world.node.database.status().errors).toEqual([]);
  });
});

function put(key: string): never {
  return {
    kind: "put",
    key: new TextEncoder().encode(key),
    value: new Uint8Array(1),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  } as never;
}
