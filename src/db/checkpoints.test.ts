/** When a node makes a checkpoint, and that there is one way to the disk for what is written. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { setVerifying } from "../base/index.ts";
import { EntryType } from "../raft/index.ts";
import { Wal } from "../wal/index.ts";
import { DEFAULT_CHECKPOINTS } from "./chores.ts";
import { DATA, deleteRequest, LOG, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const MINUTE = 60_000;
/** The log's own table of segments, which it writes when it begins a new one. */
const MANIFEST = `${DATA}/tmp/MANIFEST`;
const NEVER = { walBytes: 2 ** 40, operations: 2 ** 40, intervalMs: 2 ** 40 };

describe("a checkpoint", () => {
  it("comes five minutes after the last one, unless something else is asked for, if there is anything new", () => {
    const world = new World().open();
    world.putNow("a", "1");
    world.pass(5 * MINUTE - 1_000);
    expect(world.node.stats.checkpoints).toBe(0);
    world.pass(2_000);
    expect(world.node.stats.checkpoints).toBe(1);
    world.pass(11 * MINUTE);
    expect(world.node.stats.checkpoints).toBe(1);
    world.putNow("a", "2");
    world.pass(1_000);
    expect(world.node.stats.checkpoints).toBe(2);
    world.losePower().open();
    expect(world.node.recovery).toMatchObject({ snapshotLoaded: true, walEntriesReplayed: 0 });
    expect(world.get("a")).toBe("2");
  });

  it("comes when so many commands were applied since the last one: 100,000, unless something else is asked for", () => {
    expect(DEFAULT_CHECKPOINTS.operations).toBe(100_000);
    const world = new World().open({ checkpoints: { ...NEVER, operations: 100 } });
    for (let round = 1; round <= 2; round++) {
      for (let i = 0; i < 99; i++) world.putNow(`k${i}`, `${round}`);
      world.pass(10 * MINUTE);
      expect(world.node.stats.checkpoints).toBe(round - 1);
      world.putNow("last");
      world.pass(1_000);
      expect(world.node.stats.checkpoints).toBe(round);
    }
  });
});

describe("a log that other groups share", () => {
  const WAL_BYTES = 64 * 1024;
  const SEGMENT_BYTES = 16 * 1024;

  it("goes on without the entries of a group that is idle, two checkpoints' worth behind them", () => {
    const appends = vi.spyOn(Wal.prototype, "append");
    const world = new World().open({
      checkpoints: { ...NEVER, walBytes: WAL_BYTES },
      walSegmentBytes: SEGMENT_BYTES,
    });
    world.putNow("idle", "from here on");
    const wal = appends.mock.contexts[0] as Wal;
    appends.mockRestore();
    /** Another group of this node writes an entry, and has checkpoints of its own all the time. */
    const write = (index: number): void => {
      const entry = { index, term: 1, type: EntryType.normal, data: new Uint8Array(2_000) };
      const hardState = { term: 1, vote: 7, commit: index };
      let done = 0;
      wal.append([{ group: 1, entries: [entry], hardState }], () => done++, { sync: true });
      world.until(() => done === 1);
      const olderAppliedIndex = Math.max(0, index - 1);
      wal.release(1, { appliedIndex: index, appliedTerm: 1, olderAppliedIndex }, () => done++);
      world.until(() => done === 2);
      world.pass(100);
    };
    const bytesOnDisk: number[] = [];
    for (let index = 1; index <= 400; index++) {
      write(index);
      bytesOnDisk.push(world.node.activity.wal.bytesOnDisk);
    }
    expect(world.node.stats.checkpoints).toBe(2);
    // What stands between two checkpoints, the segment that is written, and the next one.
    expect(Math.max(...bytesOnDisk)).toBeLessThan(2 * WAL_BYTES + 4 * SEGMENT_BYTES);
    expect(bytesOnDisk.at(-1)).toBeLessThan(4 * SEGMENT_BYTES);
    expect(world.node.activity.groups[0]).toMatchObject({ needed: null, backlogBytes: 0 });
    expect(world.get("idle")).toBe("from here on");
  });
});

describe("what is written", () => {
  it("goes to the log and nowhere else; the data file changes at a checkpoint alone", () => {
    const world = new World().open({ checkpoints: NEVER });
    world.putNow("first");
    const written = new Set<string>();
    world.machine.disk.observer = (_, { kind, path }): void => {
      if (kind === "write") written.add(LOG(path) || path === MANIFEST ? "the log" : path);
    };
    for (let i = 0; i < 200; i++) {
      world.putNow(`k${i % 20}`, "x".repeat(1_000));
      if (i % 3 === 0) world.now(world.write(deleteRequest("k", "l")));
    }
    expect([...written]).toEqual(["the log"]);
    let isMade = false;
    world.node.checkpoint((error) => {
      isMade = error === null;
    });
    world.until(() => isMade);
    expect([...written].sort()).toEqual([TREE, "the log"]);
  });
});
