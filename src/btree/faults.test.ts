/**
 * Errors of file operations during a checkpoint (fault-rules D9, D11, D12): a full disk leaves everything as it was
 * and the next call makes it good; any other error ends checkpoints for good. Whatever happened, a crash afterwards
 * leaves the older or the newer checkpoint.
 */
import { describe, expect, it, vi } from "vitest";
import { Random, setVerifying, utf8 } from "../base/index.ts";
import { FileError, type Io, renameFile } from "../env/index.ts";
import { runIoNow, SimEnv, sweepCrashes } from "../env/sim/index.ts";
import { entriesOf, filled, fingerprint, keyOf } from "./engine.suite.ts";
import { BTreeEngine, checkDataFile, type Engine } from "./index.ts";

setVerifying(true);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const PATH = "data.hdb";
const OPTIONS = { fileId: utf8("file"), slabSizeBytes: 64 * 1024 };

function open(machine: SimEnv): BTreeEngine {
  return runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS)).engine;
}

function checkpoint(engine: Engine, index: number): Io<void> {
  return engine.checkpoint({ appliedIndex: index, appliedTerm: 1, walLsn: 0, payload: utf8("p") });
}

function change(engine: Engine, random: Random, steps: number): void {
  const tree = engine.tree(0);
  for (let i = 0; i < steps; i++) {
    const key = keyOf(random.below(100));
    if (random.percent(30)) tree.delete(key);
    else tree.put(key, filled(random.below(random.percent(10) ? 6000 : 600), i));
  }
}

function state(engine: Engine): string {
  return fingerprint(entriesOf(engine.tree(0)));
}

interface Prepared {
  readonly machine: SimEnv;
  readonly engine: BTreeEngine;
  readonly random: Random;
  readonly older: string;
}

/** An engine after two checkpoints and with changes for the third. */
function prepare(seed: number): Prepared {
  const machine = new SimEnv({ seed });
  const engine = open(machine);
  const random = new Random(seed);
  for (let index = 1; index <= 2; index++) {
    change(engine, random, 60);
    runIoNow(machine, checkpoint(engine, index));
  }
  const older = state(engine);
  change(engine, random, 40);
  return { machine, engine, random, older };
}

function failureOf(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** How many operations of a kind a third checkpoint has. */
function operations(kind: "write" | "sync"): number {
  const { machine, engine } = prepare(1);
  const counter = machine.disk.inject({ operation: kind, skip: 1000 });
  runIoNow(machine, checkpoint(engine, 3));
  return counter.matched;
}

const WRITES = operations("write");
const SYNCS = operations("sync");

describe("a full disk", () => {
  it.each([
    ...Array.from({ length: WRITES }, (_, k) => ["write", k] as const),
    ...Array.from({ length: SYNCS }, (_, k) => ["sync", k] as const),
  ])("at %s %d changes nothing, and the next checkpoint has everything", (operation, k) => {
    const { machine, engine, random, older } = prepare(1);
    const captured = state(engine);
    machine.disk.inject({ operation, skip: k, error: "ENOSPC" });
    const error = failureOf(() => runIoNow(machine, checkpoint(engine, 3)));
    expect(error).toBeInstanceOf(FileError);
    expect(engine.checkpoints.newest?.appliedIndex).toBe(2);
    engine.invariants();
    expect(state(engine)).toBe(captured);

    // A crash now, or anywhere in what follows, leaves checkpoint 2, 3 if its meta went through, or 4.
    const allowed = new Map([
      [2, older],
      [3, captured],
    ]);
    let visits = 0;
    const end = sweepCrashes(
      machine,
      (crashed) => {
        visits++;
        const reopened = open(crashed);
        const index = reopened.checkpoints.newest?.appliedIndex as number;
        reopened.invariants();
        expect(allowed.get(index)).toBe(state(reopened));
      },
      { powerLossesMax: 3, kills: 1 },
    );
    change(engine, random, 20);
    engine.invariants();
    allowed.set(4, state(engine));
    runIoNow(machine, checkpoint(engine, 4));
    end();
    expect(visits).toBeGreaterThan(5);
    expect(engine.checkpoints.newest?.appliedIndex).toBe(4);
    engine.invariants();
    const final = state(engine);
    runIoNow(machine, engine.close());
    machine.losePower("lose-all");
    expect(state(open(machine))).toBe(final);
    machine.kill();
    const report = runIoNow(machine, checkDataFile(machine.boot().files, PATH));
    expect(report.damage).toEqual([]);
  });

  it("holds up again and again without losing a page", () => {
    const { machine, engine, random } = prepare(2);
    for (let round = 0; round < 12; round++) {
      machine.disk.quotaBytes = machine.disk.usedBytes + random.below(4) * 4096;
      failureOf(() => runIoNow(machine, checkpoint(engine, 3)));
      engine.invariants();
      change(engine, random, 10);
    }
    machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    runIoNow(machine, checkpoint(engine, 4));
    const final = state(engine);
    runIoNow(machine, engine.close());
    machine.losePower("lose-all");
    expect(state(open(machine))).toBe(final);
  });

  it("takes deletes: what they free makes room for their own checkpoint", () => {
    const machine = new SimEnv({ seed: 3 });
    const engine = open(machine);
    const tree = engine.tree(0);
    for (let i = 0; i < 2000; i++) tree.put(keyOf(i * 10 + 1), filled(300, i));
    runIoNow(machine, checkpoint(engine, 1));
    // A steady load of overwrites: the file has the free pages that its checkpoints left behind.
    for (let index = 2; index <= 5; index++) {
      for (let i = 0; i < 200; i++) tree.put(keyOf(i * 10 + 1), filled(300, index));
      runIoNow(machine, checkpoint(engine, index));
    }
    machine.disk.quotaBytes = machine.disk.usedBytes;
    for (let i = 0; i < 200; i++) tree.delete(keyOf(i * 10 + 1));
    runIoNow(machine, checkpoint(engine, 6));
    expect(engine.checkpoints.newest?.appliedIndex).toBe(6);
  });

  it("does not mind a truncation that finds no room", () => {
    const machine = new SimEnv({ seed: 3 });
    const engine = open(machine);
    for (let i = 0; i < 1000; i++) engine.tree(0).put(keyOf(i), filled(600, i));
    runIoNow(machine, checkpoint(engine, 1));
    for (let i = 0; i < 1000; i++) engine.tree(0).delete(keyOf(i));
    machine.disk.inject({ operation: "truncate", error: "ENOSPC", times: 2 });
    const full = engine.stats.bytesTotal;
    for (let index = 2; index <= 10; index++) runIoNow(machine, checkpoint(engine, index));
    expect(engine.stats.bytesTotal).toBeLessThan(full / 2);
    expect(machine.disk.contents(PATH).length).toBe(engine.stats.bytesTotal);
  });
});

describe("any other error", () => {
  it.each([
    ...Array.from({ length: WRITES }, (_, k) => ["write", k] as const),
    ...Array.from({ length: SYNCS }, (_, k) => ["sync", k] as const),
  ])("at %s %d ends checkpoints for good", (operation, k) => {
    const { machine, engine, older } = prepare(1);
    const captured = state(engine);
    machine.disk.inject({ operation, skip: k, error: "EIO" });
    const error = failureOf(() => runIoNow(machine, checkpoint(engine, 3)));
    expect(error).toMatchObject({ code: "EIO", operation });
    const before = machine.disk.opCount;
    const again = failureOf(() => runIoNow(machine, checkpoint(engine, 3)));
    expect(again).toMatchObject({ code: "STOPPED", cause: error });
    expect(machine.disk.opCount).toBe(before);
    expect(engine.checkpoints.newest?.appliedIndex).toBe(2);
    expect(state(engine)).toBe(captured);
    for (const crashed of machine.crashImages({ limit: 20 })) {
      const reopened = open(crashed);
      const index = reopened.checkpoints.newest?.appliedIndex;
      expect([2, 3]).toContain(index);
      expect(state(reopened)).toBe(index === 2 ? older : captured);
      reopened.invariants();
    }
  });

  it.each(Array.from({ length: WRITES - 2 }, (_, k) => k))(
    "at write %d ends checkpoints for good, although the write before or behind it finds no room",
    (k) => {
      for (const [full, broken] of [
        [k, k + 1],
        [k + 1, k],
      ] as const) {
        const { machine, engine } = prepare(1);
        machine.disk.inject({ operation: "write", skip: full, error: "ENOSPC" });
        machine.disk.inject({ operation: "write", skip: broken, error: "EIO" });
        const error = failureOf(() => runIoNow(machine, checkpoint(engine, 3)));
        expect(error).toMatchObject({ code: "EIO" });
        const again = failureOf(() => runIoNow(machine, checkpoint(engine, 3)));
        expect(again).toMatchObject({ code: "STOPPED", cause: error });
      }
    },
  );

  it("of a page miss reaches the reader, and the next read may succeed", () => {
    const { machine, engine } = prepare(1);
    runIoNow(machine, checkpoint(engine, 3));
    const expected = state(engine);
    runIoNow(machine, engine.close());
    machine.kill();
    const cold = open(machine);
    machine.disk.inject({ operation: "read", error: "EIO" });
    expect(() => state(cold)).toThrow("EIO");
    expect(state(cold)).toBe(expected);
    cold.invariants();
  });

  it("in the middle of a change leaves an engine that refuses everything", () => {
    const machine = new SimEnv({ seed: 5 });
    const engine = open(machine);
    for (let i = 0; i < 400; i++) engine.tree(0).put(keyOf(i * 10 + 1), filled(300, i));
    runIoNow(machine, checkpoint(engine, 1));
    runIoNow(machine, engine.close());
    machine.kill();
    const cold = open(machine);
    // Deletes one leaf empty; the merge then has to read a neighbour.
    let thrown: unknown;
    for (let i = 0; thrown === undefined && i < 400; i++) {
      const key = keyOf(i * 10 + 1);
      cold.tree(0).get(key);
      machine.disk.inject({ operation: "read", error: "EIO", times: 100 });
      thrown = failureOf(() => cold.tree(0).delete(key));
    }
    expect(thrown).toBeInstanceOf(FileError);
    expect(() => cold.tree(0).get(keyOf(1))).toThrow("opened again");
    expect(() => cold.tree(0).put(keyOf(1), filled(1, 1))).toThrow("opened again");
    expect(() => cold.pin()).toThrow("opened again");
    expect(() => runIoNow(machine, checkpoint(cold, 2))).toThrow("opened again");
  });
});

describe("short writes", () => {
  it("are continued", () => {
    const machine = new SimEnv({ seed: 8, disk: { shortWritePercent: 60 } });
    const engine = open(machine);
    const random = new Random(8);
    for (let index = 1; index <= 3; index++) {
      change(engine, random, 80);
      runIoNow(machine, checkpoint(engine, index));
    }
    const expected = state(engine);
    runIoNow(machine, engine.close());
    machine.losePower("lose-all");
    expect(state(open(machine))).toBe(expected);
  });
});

describe("a meta that only the cache may have", () => {
  it("is made durable when the file is opened, before the next checkpoint gives up the other one (D10)", () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { machine, engine, random } = prepare(seed);
      // The pages are synced, the meta is written, and its sync fails: the device has nothing of it, the cache all.
      machine.disk.inject({ operation: "sync", skip: 1, times: 1, error: "EIO" });
      expect(failureOf(() => runIoNow(machine, checkpoint(engine, 3)))).toBeInstanceOf(FileError);
      machine.kill();
      const again = open(machine);
      expect(again.checkpoints.newest?.appliedIndex).toBe(3);
      const third = state(again);
      change(again, random, 40);
      const fourth = state(again);
      let images = 0;
      const stop = sweepCrashes(
        machine,
        (crashed) => {
          images++;
          const reopened = open(crashed);
          const index = reopened.checkpoints.newest?.appliedIndex;
          expect([3, 4]).toContain(index);
          expect(state(reopened)).toBe(index === 3 ? third : fourth);
        },
        { powerLossesMax: 24, kills: 1 },
      );
      runIoNow(machine, checkpoint(again, 4));
      stop();
      expect(images).toBeGreaterThan(20);
    }
  });
});

describe("a name that only the cache may have", () => {
  it("is made durable when the file is opened, before anything relies on what is under it (D30)", () => {
    const { machine, engine } = prepare(41);
    runIoNow(machine, engine.close());
    machine.kill();
    const { files } = machine.boot();
    const { engine: next } = runIoNow(machine, BTreeEngine.open(files, "next.hdb", OPTIONS));
    change(next, new Random(42), 60);
    const swapped = state(next);
    runIoNow(machine, checkpoint(next, 9));
    runIoNow(machine, next.close());
    runIoNow(machine, renameFile(files, "next.hdb", PATH));
    machine.kill();
    expect(open(machine).checkpoints.newest?.appliedIndex).toBe(9);
    machine.losePower("lose-all");
    expect(state(open(machine))).toBe(swapped);
  });
});

describe("a meta that was torn", () => {
  it("is wiped, durably, before any page is written: a second torn write could complete it (D19)", () => {
    const { machine, engine } = prepare(31);
    runIoNow(machine, checkpoint(engine, 3));
    machine.losePower("keep-all");
    // Checkpoint 3 is the fifth meta and has the first place; all but its last sector has arrived.
    machine.disk.damage(PATH, 4096 - 512, new Uint8Array(512).fill(0xff));
    const again = open(machine);
    expect(again.checkpoints.newest?.appliedIndex).toBe(2);
    again.tree(0).put(keyOf(1), utf8("other"));
    const trace: string[] = [];
    machine.disk.observer = (moment, operation): void => {
      if (moment !== "after" || !/^(?:write|sync)$/.test(operation.kind)) return;
      const place = operation.kind === "write" ? operation.offset / 4096 : "";
      const torn = machine.disk.contents(PATH).subarray(0, 4096);
      trace.push(`${operation.kind} ${place} ${torn.every((byte) => byte === 0)}`.trim());
    };
    runIoNow(machine, checkpoint(again, 3));
    expect(trace.slice(0, 2)).toEqual(["write 0 true", "sync  true"]);
    expect(trace.filter((line) => line.startsWith("write 0 "))).toHaveLength(2);
    const after = state(again);
    machine.losePower("lose-all");
    expect(state(open(machine))).toBe(after);
  });
});
