/** A node from its start to its end: closing, failing, and what callers are told. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying } from "../base/index.ts";
import { DATA, deleteRequest, LOG, outcomeOf, rangeRequest, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const STUCK = { delayMs: Number.POSITIVE_INFINITY, times: Number.POSITIVE_INFINITY } as const;

describe("a node with options that cannot be", () => {
  it("refuses them before it touches the disk", () => {
    const wrong = [
      { walSegmentBytes: 1_000 },
      { walSegmentBytes: 5_000 },
      { walSegmentBytes: Number.NaN },
      { heartbeatIntervalMs: 0 },
      { electionTimeoutMs: -5 },
      { quotaBytes: 0.5 },
      { retention: { retentionMs: 1.5, retentionRevisions: 1 } },
      { checkpoints: { walBytes: 1, operations: Number.NaN, intervalMs: 1 } },
      { checkpoints: 5 },
      { checkpoints: { walBytes: 1, intervalMs: 1 } },
      { retention: null },
      { retention: { retentionMs: 1 } },
      { retention: { retentionMs: 1, retentionRevisions: 1, revisions: 1 } },
      { maxTxnOps: 0 },
      { maxRequestBytes: 0 },
      // One entry of it could be sent to no other member.
      { maxRequestBytes: 7 * 1024 * 1024 + 1 },
      { name: "" },
      { name: 5 },
    ];
    const world = new World();
    for (const options of wrong) {
      const refused = world.tryOpen(options as never) as HarmonyError;
      expect([options, refused.code]).toEqual([options, "INVALID_ARGUMENT"]);
    }
    expect(world.machine.disk.opCount).toBe(0);
  });
});

describe("a node that closes", () => {
  it("finishes what is on its way, refuses what comes later, and leaves nothing to replay but the log", () => {
    const world = new World().open();
    const before = [world.put("a", "1"), world.put("b", "2")];
    const ending = world.startClose();
    const late = [
      world.put("c", "3"),
      world.range(rangeRequest("a")),
      world.range(rangeRequest("a", true)),
    ];
    world.until(() => ending.isOver);
    expect(before.map(outcomeOf)).toEqual(["ok", "ok"]);
    expect(late.map(outcomeOf)).toEqual(Array.from({ length: 3 }, () => "CLOSED maybe=false"));
    expect(world.machine.disk.quiet).toBe(true);
    world.kill().open();
    expect([world.get("a"), world.get("b"), world.get("c")]).toEqual(["1", "2", undefined]);
    expect(world.node.log?.unclean).toBe(false);
    expect(world.node.recovery).toMatchObject({ snapshotLoaded: false, walEntriesReplayed: 2 });
  });

  it("leaves no timer behind", () => {
    const world = new World().open();
    world.putNow("a");
    world.put("b", "", { timeoutMs: 60_000 });
    world.close();
    const { scheduler } = world.machine;
    const closedAtMs = scheduler.nowMs;
    scheduler.run();
    expect(scheduler.nowMs - closedAtMs).toBeLessThan(5_000);
  });

  it("closes once, however often it is asked, and all hear of the end", () => {
    const world = new World().open();
    world.putNow("a", "1");
    const first = world.startClose();
    const second = world.startClose();
    world.until(() => second.isOver);
    expect(first.isOver && first.atMs === second.atMs).toBe(true);
    const third = world.startClose();
    expect(third).toMatchObject({ isOver: true, error: null });
    world.kill().open();
    expect(world.get("a")).toBe("1");
  });

  it("waits for a checkpoint that is on its way", () => {
    const world = new World().open();
    world.putNow("a", "1");
    let checkpointed: HarmonyError | null | undefined;
    world.node.checkpoint((error) => {
      checkpointed = error;
    });
    world.close();
    expect(checkpointed).toBe(null);
    world.kill().open();
    expect(world.node.recovery).toMatchObject({ snapshotLoaded: true, walEntriesReplayed: 0 });
    expect(world.get("a")).toBe("1");
  });

  it("makes no checkpoint after it was asked to close", () => {
    const world = new World().open();
    const codes: (string | undefined)[] = [];
    world.node.checkpoint((error) => codes.push(error?.code));
    world.node.checkpoint((error) => codes.push(error?.code));
    world.close();
    world.node.checkpoint((error) => codes.push(error?.code));
    expect(codes).toEqual([undefined, "CLOSED", "CLOSED"]);
  });

  it("on a stuck log answers everybody in seconds, gives up, and keeps the directory", () => {
    const world = new World().open();
    world.putNow("a", "1");
    const stuck = world.machine.disk.inject({ operation: "write", path: LOG, ...STUCK });
    const onItsWay = world.put("b", "2", { timeoutMs: 60_000 });
    world.pass(10);
    const waiting = world.put("c", "3", { timeoutMs: 60_000 });
    const startedAtMs = world.nowMs;
    const ending = world.startClose();
    world.until(() => ending.isOver);
    expect(outcomeOf(onItsWay)).toBe("CLOSED maybe=true");
    expect(outcomeOf(waiting)).toBe("CLOSED maybe=false");
    expect(onItsWay.atMs - startedAtMs).toBeLessThan(5_000);
    expect((ending.error as HarmonyError).code).toBe("TIMEOUT");
    expect(ending.atMs - startedAtMs).toBeLessThanOrEqual(30_001);
    // What is under way may still reach the disk, so nobody else may have the directory before.
    expect((world.tryOpen() as HarmonyError).code).toBe("DIRECTORY_LOCKED");
    stuck.remove();
    world.pass(1_000);
    expect(world.machine.disk.quiet).toBe(true);
    world.open();
    expect([world.get("a"), world.get("b"), world.get("c")]).toEqual(["1", "2", undefined]);
  });

  it("with a stuck checkpoint answers everybody all the same", () => {
    const world = new World().open();
    world.putNow("a", "1");
    const stuck = world.machine.disk.inject({ operation: "write", path: TREE, ...STUCK });
    world.node.checkpoint(() => {});
    world.pass(10);
    const startedAtMs = world.nowMs;
    const last = world.put("b", "2");
    const ending = world.startClose();
    world.until(() => last.isThere);
    expect(outcomeOf(last)).toBe("ok");
    world.until(() => ending.isOver);
    expect((ending.error as HarmonyError).code).toBe("TIMEOUT");
    expect(ending.atMs - startedAtMs).toBeLessThanOrEqual(30_001);
    stuck.remove();
    world.pass(1_000);
    expect(world.machine.disk.quiet).toBe(true);
  });

  it("says so when the last write fails, and gives everything back all the same", () => {
    const world = new World().open();
    world.putNow("a", "1");
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    expect(() => world.close()).toThrow(/EIO/);
    expect(world.fatal?.code).toBe("STOPPED");
    expect(world.machine.disk.quiet).toBe(true);
    world.kill().open();
    expect(world.get("a")).toBe("1");
  });

  it("gives everything back when a file cannot be closed", () => {
    const world = new World().open();
    world.putNow("a", "1");
    world.machine.disk.inject({ operation: "close", path: `${DATA}/VOTE`, error: "EIO" });
    expect(() => world.close()).toThrow(/EIO/);
    expect((world.tryOpen() as HarmonyError).code).not.toBe("DIRECTORY_LOCKED");
  });
});

describe("a node whose disk fails", () => {
  it("stops at the first failed write to the log and tells everybody the truth", () => {
    const world = new World().open();
    world.putNow("a", "1");
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO", delayMs: 5 });
    const onItsWay = world.put("b", "2");
    world.pass(1);
    const waiting = world.put("c", "3");
    world.until(() => waiting.isThere);
    expect(outcomeOf(onItsWay)).toBe("STOPPED maybe=true");
    expect(outcomeOf(waiting)).toBe("STOPPED maybe=false");
    expect(world.fatal?.code).toBe("STOPPED");
    const after = [
      world.put("d"),
      world.write(deleteRequest("a")),
      world.range(rangeRequest("a")),
      world.range(rangeRequest("a", true)),
    ];
    expect(after.map(outcomeOf)).toEqual(Array.from({ length: 4 }, () => "STOPPED maybe=false"));
    world.close();
    world.kill().open();
    expect([world.get("a"), world.get("c")]).toEqual(["1", undefined]);
  });

  it("writes nothing any more, however long it lives on", () => {
    const world = new World().open({
      checkpoints: { walBytes: 1, operations: 1, intervalMs: 1_000 },
    });
    world.pass(500);
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    world.put("b", "2");
    world.until(() => world.fatal !== null);
    world.pass(1_000);
    const written = world.machine.disk.opCount;
    world.pass(600_000);
    expect(world.machine.disk.opCount).toBe(written);
    const codes: (string | undefined)[] = [];
    world.node.checkpoint((error) => codes.push(error?.code));
    expect(codes).toEqual(["STOPPED"]);
    world.close();
  });

  it("stops without a caller when a write fails that nobody waits for", () => {
    const world = new World().open();
    world.putNow("a", "1");
    // The mark that proves an idle log.
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    world.pass(5_000);
    expect(world.fatal?.message).toMatch(/EIO/);
    expect(outcomeOf(world.range(rangeRequest("a")))).toBe("STOPPED maybe=false");
    world.close();
  });

  it("does not start when its vote cannot be saved", () => {
    const world = new World().open();
    world.putNow("a", "1");
    world.close();
    world.kill();
    // The first write of a start makes the file anew, the next one is the vote.
    const votes = world.machine.disk.inject({
      operation: "write",
      path: `${DATA}/VOTE`,
      error: "EIO",
    });
    expect((world.tryOpen() as HarmonyError).code).toBe("STOPPED");
    expect(votes.struck).toBe(1);
    expect(world.machine.disk.quiet).toBe(true);
    world.kill().open();
    expect(world.get("a")).toBe("1");
  });

  it("stops when a checkpoint fails, and starts again from the one before", () => {
    const world = new World().open();
    world.putNow("a", "1");
    const codes: (string | undefined)[] = [];
    world.node.checkpoint((error) => codes.push(error?.code));
    world.until(() => codes.length === 1);
    world.putNow("a", "2");
    world.machine.disk.inject({ operation: "sync", path: TREE, error: "EIO" });
    world.node.checkpoint((error) => codes.push(error?.code));
    world.node.checkpoint((error) => codes.push(error?.code));
    const put = world.put("b", "3", { timeoutMs: 60_000 });
    world.until(() => codes.length === 3 && put.isThere);
    expect(codes).toEqual([undefined, "STOPPED", "STOPPED"]);
    expect(world.fatal?.code).toBe("STOPPED");
    expect(outcomeOf(world.put("c"))).toBe("STOPPED maybe=false");
    world.close();
    world.losePower().open();
    expect(world.get("a")).toBe("2");
    expect(world.get("b")).toBe(outcomeOf(put) === "ok" ? "3" : world.get("b"));
  });

  it("may be closed by the one who is told of its end", () => {
    for (const operation of ["write", "sync"] as const) {
      const world = new World().open();
      world.putNow("a", "1");
      let isClosed = false;
      world.node.onFatal(() => {
        const ending = world.startClose();
        world.machine.scheduler.after(10, () => {
          isClosed = ending.isOver;
        });
      });
      const path = operation === "write" ? LOG : TREE;
      world.machine.disk.inject({ operation, path, error: "EIO" });
      world.put("b", "2");
      world.pass(10);
      world.node.checkpoint(() => {});
      world.pass(100);
      expect(isClosed).toBe(true);
      expect(world.machine.disk.quiet).toBe(true);
    }
  });

  it("tells all who listen, also when one of them throws", () => {
    const world = new World().open();
    let heard = 0;
    world.node.onFatal(() => {
      heard++;
      throw new Error("thrown by a listener");
    });
    world.node.onFatal(() => {
      heard++;
    });
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    const put = world.put("a");
    world.until(() => put.isThere);
    expect(heard).toBe(2);
    world.close();
  });

  it("hears of the end once, also when it asks later", () => {
    const world = new World().open();
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    world.put("a");
    world.until(() => world.fatal !== null);
    let late: HarmonyError | undefined;
    world.node.onFatal((error) => {
      late = error;
    });
    expect(late).toBe(world.fatal);
    world.close();
  });
});

describe("a node with damaged pages", () => {
  /** Many keys on disk and none of them in memory. */
  function damaged(): World {
    const world = new World().open();
    const puts = Array.from({ length: 300 }, (_, i) => world.put(`key${i}`, "x".repeat(100)));
    world.until(() => puts.every(({ isThere }) => isThere));
    let isDone = false;
    world.node.checkpoint(() => {
      isDone = true;
    });
    world.until(() => isDone);
    world.putNow("other", "kept");
    world.close();
    world.kill();
    return world;
  }

  /** Flips a bit in every page that holds this text. */
  function flip(world: World, text: string): void {
    const { disk } = world.machine;
    const bytes = disk.contents(TREE);
    const needle = Array.from(text, (char) => char.charCodeAt(0));
    for (let at = 8192; at < bytes.length; at++) {
      if (needle.every((byte, i) => bytes[at + i] === byte)) disk.flipBit(TREE, at);
    }
  }

  it("never serves them: the reader and the node are told CORRUPT", () => {
    const world = damaged();
    world.open();
    flip(world, "key150");
    const read = world.range(rangeRequest("key150"));
    world.until(() => read.isThere);
    expect(outcomeOf(read)).toBe("CORRUPT maybe=false");
    expect(read.error?.message).toContain(TREE);
    expect(world.fatal?.code).toBe("CORRUPT");
    expect(outcomeOf(world.range(rangeRequest("other", true)))).toBe("CORRUPT maybe=false");
    world.close();
  });

  it("never applies a write to them, tells its caller that it may be applied, and saves nothing of it", () => {
    const world = damaged();
    world.open();
    flip(world, "key150");
    const good = world.put("a-new-key", "x");
    const bad = world.put("key150", "y");
    world.until(() => bad.isThere && good.isThere);
    expect(outcomeOf(bad)).toBe("CORRUPT maybe=true");
    // Both came in one entry, which is applied as a whole or not at all.
    expect(outcomeOf(good)).toBe("CORRUPT maybe=true");
    expect(world.fatal?.code).toBe("CORRUPT");
    const before = world.machine.disk.contents(TREE);
    world.pass(600_000);
    world.close();
    expect(world.machine.disk.contents(TREE)).toEqual(before);
  });
});
