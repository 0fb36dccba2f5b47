/** What takes time at a node: calls that give up, leases, clocks that jump, compaction (fault-rules U1, U13, K1, K6, K8). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { deleteRequest, LOG, outcomeOf, rangeRequest, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const SECOND = 1_000;
const DAY = 86_400_000;
const YEAR = 365 * DAY;
const STUCK = { delayMs: Number.POSITIVE_INFINITY, times: Number.POSITIVE_INFINITY } as const;

describe("a caller who gives up", () => {
  it("is told whether his write may still happen, and one that was not proposed never does", () => {
    const world = new World().open();
    const stuck = world.machine.disk.inject({ operation: "write", path: LOG, ...STUCK });
    const startedAtMs = world.nowMs;
    const onItsWay = world.put("on its way");
    world.pass(10);
    const waiting = world.put("waiting");
    const hasty = world.put("hasty", "", { timeoutMs: 50 });
    const aborting = new AbortController();
    const aborted = world.put("aborted", "", { signal: aborting.signal });
    const unborn = world.put("unborn", "", { signal: AbortSignal.abort() });
    world.pass(100);
    aborting.abort();
    expect([hasty, aborted, unborn].map(outcomeOf)).toEqual([
      "TIMEOUT maybe=false",
      "ABORTED maybe=false",
      "ABORTED maybe=false",
    ]);
    // Reads need no disk: they go on and show what was acknowledged.
    expect(world.get("on its way")).toBe(undefined);
    const unread = world.range(rangeRequest("a"), { signal: AbortSignal.abort() });
    expect(outcomeOf(unread)).toBe("ABORTED maybe=false");
    world.pass(10 * SECOND);
    expect(outcomeOf(onItsWay)).toBe("TIMEOUT maybe=true");
    expect(outcomeOf(waiting)).toBe("TIMEOUT maybe=false");
    for (const { atMs } of [onItsWay, waiting]) {
      expect(atMs - startedAtMs).toBeGreaterThanOrEqual(7 * SECOND);
      expect(atMs - startedAtMs).toBeLessThan(7.2 * SECOND);
    }
    stuck.remove();
    world.pass(SECOND);
    expect(world.get("on its way")).toBe("");
    for (const key of ["waiting", "hasty", "aborted", "unborn"])
      expect([key, world.get(key)]).toEqual([key, undefined]);
    world.close();
  });

  it("may wait for ever if he says so", () => {
    const world = new World().open();
    const stuck = world.machine.disk.inject({ operation: "write", path: LOG, ...STUCK });
    const patient = world.put("a", "1", { timeoutMs: Number.POSITIVE_INFINITY });
    world.pass(600 * SECOND);
    expect(patient.isThere).toBe(false);
    stuck.remove();
    world.until(() => patient.isThere);
    expect(outcomeOf(patient)).toBe("ok");
    world.close();
  });
});

describe("a lease", () => {
  /** Grants lease 7 and attaches a key to it. */
  function granted(world: World, ttlSeconds: bigint): void {
    world.now(world.write({ kind: "leaseGrant", id: 7n, ttlSeconds }));
    world.now(world.put("leased", "1", { lease: 7n }));
  }

  /** How long the key lives from now on, to 50 ms. */
  function livesMs(world: World, atMostMs: number): number {
    const startedAtMs = world.nowMs;
    while (world.get("leased") !== undefined) {
      if (world.nowMs - startedAtMs > atMostMs) return Number.POSITIVE_INFINITY;
      world.pass(50);
    }
    expect(world.leaseStatus(7n).ttlSeconds).toBe(-1n);
    return world.nowMs - startedAtMs;
  }

  it("ends its keys when its time is over, and not before", () => {
    const world = new World().open();
    granted(world, 10n);
    const lived = livesMs(world, DAY);
    expect(lived).toBeGreaterThanOrEqual(10 * SECOND - 50);
    expect(lived).toBeLessThan(10.3 * SECOND);
    world.close();
  });

  it("goes on with each keep-alive, and has at least one and a half election timeouts", () => {
    const world = new World().open();
    expect(world.now(world.write({ kind: "leaseGrant", id: 7n, ttlSeconds: 1n }))).toMatchObject({
      ttlSeconds: 2n,
    });
    world.now(world.put("leased", "1", { lease: 7n }));
    for (let i = 0; i < 20; i++) {
      world.pass(SECOND);
      expect(world.now(world.write({ kind: "leaseKeepAlive", id: 7n }))).toMatchObject({
        ttlSeconds: 2n,
      });
    }
    expect(world.get("leased")).toBe("1");
    expect(livesMs(world, DAY)).toBeLessThan(2.3 * SECOND);
    world.close();
  });

  it("gets an id that is free when it asks for none", () => {
    const world = new World().open();
    const ids = new Set<bigint>();
    for (let i = 0; i < 20; i++) {
      const outcome = world.now(world.write({ kind: "leaseGrant", id: 0n, ttlSeconds: 100n }));
      if (outcome.kind === "leaseGrant") ids.add(outcome.id);
    }
    expect(ids.size).toBe(20);
    expect(ids.has(0n)).toBe(false);
    world.close();
  });

  it("does not care when somebody sets the clock, in either direction", () => {
    for (const jump of [YEAR, -YEAR, DAY, -DAY, 30 * SECOND, -30 * SECOND]) {
      const world = new World().open();
      granted(world, 60n);
      world.pass(SECOND);
      world.machine.wallSkewMs += jump;
      const lived = livesMs(world, DAY);
      // A small difference is made up for at no more than twice, and no less than half of real time.
      const isSmall = Math.abs(jump) < 60 * SECOND;
      expect(lived).toBeGreaterThan((isSmall ? 29 : 58) * SECOND);
      expect(lived).toBeLessThan((isSmall ? 120 : 60) * SECOND);
      world.close();
    }
  });

  it("ends on time while one client writes after the other", () => {
    const world = new World({ disk: { latencyMs: [20, 30] } }).open();
    granted(world, 10n);
    const startedAtMs = world.nowMs;
    let writes = 0;
    while (world.get("leased") !== undefined && world.nowMs - startedAtMs < 15 * SECOND) {
      world.putNow("busy", `${writes++}`);
    }
    expect(world.nowMs - startedAtMs).toBeGreaterThan(9.9 * SECOND);
    expect(world.nowMs - startedAtMs).toBeLessThan(10.5 * SECOND);
    world.close();
  });

  it("has its full time again after a start, whatever the clock says then", () => {
    for (const jump of [0, -DAY, 20 * SECOND, YEAR, -YEAR]) {
      const world = new World().open();
      granted(world, 60n);
      world.pass(50 * SECOND);
      world.kill();
      world.machine.wallSkewMs += jump;
      world.open();
      // From the first entry of the new term on: without writes that is the expiry that its old end brings about, by a clock that may stand a day back.
      const lived = livesMs(world, DAY);
      expect([jump, lived >= 59 * SECOND, lived < 122 * SECOND]).toEqual([jump, true, true]);
      world.close();
    }
  });

  it("is over in its time after a start that came long after the stop: the group takes the wall clock over", () => {
    const world = new World().open();
    granted(world, 60n);
    world.kill();
    world.pass(3_600 * SECOND);
    world.open();
    const lived = livesMs(world, DAY);
    expect(lived).toBeGreaterThanOrEqual(59 * SECOND);
    expect(lived).toBeLessThan(62 * SECOND);
    world.close();
  });

  it("whose end was seen stays ended, also after the power fails", () => {
    const world = new World().open();
    granted(world, 5n);
    livesMs(world, DAY);
    world.losePower();
    world.machine.wallSkewMs -= DAY;
    world.open();
    expect(world.get("leased")).toBe(undefined);
    expect(world.leaseStatus(7n).ttlSeconds).toBe(-1n);
    world.close();
  });

  it("is not ended in bulk by a disk that was stuck for a while", () => {
    const world = new World().open();
    granted(world, 10n);
    const stuck = world.machine.disk.inject({ operation: "write", path: LOG, ...STUCK });
    world.pass(8 * SECOND);
    const renewed = world.write({ kind: "leaseKeepAlive", id: 7n });
    world.pass(1 * SECOND);
    stuck.remove();
    world.until(() => renewed.isThere);
    expect(outcomeOf(renewed)).toBe("ok");
    world.pass(5 * SECOND);
    expect(world.get("leased")).toBe("1");
    world.close();
  });
});

describe("a compaction", () => {
  const compact = (revision: number, physical: boolean) =>
    ({ kind: "compact", revision, physical }) as const;

  function withHistory(): World {
    const world = new World().open();
    const puts = Array.from({ length: 3_000 }, (_, i) => world.put(`k${i % 10}`, `${i}`));
    world.until(() => puts.every(({ isThere }) => isThere));
    return world;
  }

  it("is answered at once, or when the old versions are gone, as its caller asks", () => {
    const world = withHistory();
    const logical = world.write(compact(1_000, false));
    world.until(() => logical.isThere);
    const physical = world.write(compact(2_500, true));
    const second = world.write(compact(2_600, true));
    world.until(() => world.node.database.status().compactRevision === 2_600);
    expect([logical, physical, second].map(outcomeOf)).toEqual([
      "ok",
      "nothing yet",
      "nothing yet",
    ]);
    world.until(() => physical.isThere && second.isThere);
    expect([physical, second].map(outcomeOf)).toEqual(["ok", "ok"]);
    expect(outcomeOf(world.range({ ...rangeRequest("k1"), revision: 2_599 }))).toBe("COMPACTED");
    expect(outcomeOf(world.range({ ...rangeRequest("k1"), revision: 2_600 }))).toBe("ok");
    const refused = world.write(compact(2_600, true));
    world.until(() => refused.isThere);
    expect(outcomeOf(refused)).toBe("COMPACTED");
    world.close();
  });

  it("that a close interrupts is not called finished", () => {
    const world = withHistory();
    const physical = world.write(compact(2_900, true));
    world.until(() => world.node.database.status().compactRevision === 2_900);
    world.close();
    expect(outcomeOf(physical)).toBe("CLOSED maybe=true");
    world.kill().open();
    expect(world.node.database.status().compactRevision).toBe(2_900);
    world.pass(SECOND);
    expect(world.get("k9")).toBe("2999");
    world.close();
  });

  it("that a failure interrupts is not called finished, and goes no further", () => {
    const world = withHistory();
    const physical = world.write(compact(2_900, true));
    world.until(() => world.node.database.status().compactRevision === 2_900);
    const { revision } = world.node.database.status();
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    world.put("a");
    world.until(() => world.fatal !== null);
    expect(outcomeOf(physical)).toBe("STOPPED maybe=true");
    const { sizeInUseBytes } = world.node.database.status();
    world.pass(5 * SECOND);
    expect(world.node.database.status()).toMatchObject({ revision, sizeInUseBytes });
    world.close();
  });

  it("that its caller does not wait for goes on", () => {
    const world = withHistory();
    const physical = world.write(compact(2_900, true), { timeoutMs: 1 });
    world.pass(5 * SECOND);
    expect(outcomeOf(physical)).toBe("TIMEOUT maybe=true");
    expect(world.node.database.status().compactRevision).toBe(2_900);
    world.close();
  });

  it("comes by itself when history is old enough", () => {
    const world = new World().open({
      retention: { retentionMs: 60 * SECOND, retentionRevisions: 5 },
    });
    for (let i = 0; i < 120; i++) {
      world.putNow("a", `${i}`);
      world.pass(SECOND);
    }
    const { revision, compactRevision } = world.node.database.status();
    expect(revision - compactRevision).toBeGreaterThanOrEqual(60);
    expect(revision - compactRevision).toBeLessThan(75);
    world.close();
  });
});

describe("a transaction without writes", () => {
  it("is answered as a read: no entry, also while the disk is stuck", () => {
    const world = new World().open();
    world.putNow("a", "1");
    const { raftIndex } = world.node.database.status();
    const stuck = world.machine.disk.inject({ operation: "write", path: LOG, ...STUCK });
    const txn = world.write({
      kind: "txn",
      compare: [],
      success: [rangeRequest("a")],
      failure: [],
    });
    expect(outcomeOf(txn)).toBe("ok");
    expect(world.node.database.status().raftIndex).toBe(raftIndex);
    stuck.remove();
    world.close();
  });
});

describe("requests that cannot succeed", () => {
  it("are refused before anything is proposed", () => {
    const world = new World().open({ maxRequestBytes: 1_000, maxTxnOps: 2 });
    const { raftIndex } = world.node.database.status();
    const refused = [
      world.put("", "1"),
      world.put("k".repeat(5_000), "1"),
      world.put("a", "x".repeat(1_001)),
      world.write(deleteRequest("")),
      world.write({
        kind: "txn",
        compare: [],
        success: ["a", "b", "c"].map((key) => ({ ...rangeRequest(key) })),
        failure: [],
      }),
      world.range(rangeRequest("")),
    ];
    expect(refused.map(outcomeOf)).toEqual([
      "KEY_EMPTY",
      "KEY_TOO_LARGE",
      "TOO_LARGE",
      "KEY_EMPTY",
      "TOO_MANY_OPS",
      "KEY_EMPTY",
    ]);
    expect(world.node.database.status().raftIndex).toBe(raftIndex);
    world.close();
  });
});
