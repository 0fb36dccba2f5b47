/** When a node makes a checkpoint, and that there is one way to the disk for what is written. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
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
