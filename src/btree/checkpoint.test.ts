/** Checkpoints while writes, reads and versions go on. */
import { describe, expect, it, vi } from "vitest";
import { Random, setVerifying, utf8 } from "../base/index.ts";
import { type IoStep, runIo } from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { entriesOf, filled, fingerprint } from "./engine.suite.ts";
import { BTreeEngine, checkDataFile, type Engine, type ReadTree, type Version } from "./index.ts";

setVerifying(true);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const PATH = "data.hdb";
const OPTIONS = { fileId: utf8("file"), slabSizeBytes: 256 * 1024 };
const KEYS = 1200;

function open(machine: SimEnv): BTreeEngine {
  return runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS)).engine;
}

function state(tree: ReadTree): string {
  return fingerprint(entriesOf(tree));
}

function key(n: number): Uint8Array {
  return utf8(`key ${String(n).padStart(6, "0")}`);
}

function change(engine: Engine, random: Random, steps: number): void {
  const tree = engine.tree(0);
  for (let i = 0; i < steps; i++) {
    const k = key(random.below(KEYS));
    if (random.percent(30)) tree.delete(k);
    else tree.put(k, filled(random.percent(2) ? 9000 : 300, i));
  }
}

/** Starts one operation and waits for what it comes to. */
function answerOf(machine: SimEnv, start: IoStep): unknown {
  let answer: { readonly value: unknown } | null = null;
  start((error, value) => {
    if (error !== null) throw error;
    answer = { value };
  });
  while (answer === null) machine.scheduler.step();
  return (answer as { readonly value: unknown }).value;
}

describe("a checkpoint while life goes on", () => {
  it.each([
    ["without versions", 0],
    ["with versions coming and going", 30],
  ])("holds the state at its call, whatever is written meanwhile, %s", (_, pinPercent) => {
    for (let seed = 1; seed <= 2; seed++) {
      const machine = new SimEnv({ seed });
      const engine = open(machine);
      const random = new Random(seed);
      const versions: { version: Version; expected: string }[] = [];
      for (let i = 0; i < KEYS; i++) engine.tree(0).put(key(i), filled(300, i));
      for (let round = 1; round <= 5; round++) {
        change(engine, random, round % 2 === 0 ? 10 : 300);
        const expected = state(engine.tree(0));
        const meta = { appliedIndex: round, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
        let done = false;
        runIo(engine.checkpoint(meta), (error) => {
          if (error !== null) throw error;
          done = true;
        });
        while (!done) {
          change(engine, random, random.below(30));
          if (random.percent(pinPercent)) {
            versions.push({ version: engine.pin(), expected: state(engine.tree(0)) });
          }
          if (versions.length > 3) {
            const [{ version, expected: pinned }] = versions.splice(random.below(4), 1) as [
              (typeof versions)[number],
            ];
            expect(state(version.tree(0))).toBe(pinned);
            version.release();
          }
          machine.scheduler.step();
        }
        engine.invariants();
        const copy = machine.fork();
        copy.losePower("lose-all");
        const reopened = open(copy);
        expect(reopened.checkpoints.newest?.appliedIndex).toBe(round);
        expect(state(reopened.tree(0))).toBe(expected);
        reopened.invariants();
        runIoNow(copy, reopened.close());
        copy.kill();
        const report = runIoNow(copy, checkDataFile(copy.boot().files, PATH));
        expect(report.damage).toEqual([]);
      }
      for (const { version, expected } of versions) {
        expect(state(version.tree(0))).toBe(expected);
        version.release();
      }
      engine.invariants();
    }
  });

  it("holds the state at its call also when it moves pages, which cursors notice", () => {
    const machine = new SimEnv({ seed: 1 });
    const engine = open(machine);
    const tree = engine.tree(0);
    const meta = { appliedIndex: 1, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    for (let i = 0; i < 6000; i++) tree.put(key(i), filled(300, i));
    runIoNow(machine, engine.checkpoint(meta));
    for (let i = 0; i < 6000; i++) if (i % 10 !== 0) tree.delete(key(i));
    let moved = false;
    let steps = 0;
    let others = state(engine.tree(1));
    for (let index = 2; index <= 8; index++) {
      const expected = state(tree);
      const cursor = tree.cursor();
      cursor.first();
      let done = false;
      runIo(engine.checkpoint({ ...meta, appliedIndex: index }), (error) => {
        if (error !== null) throw error;
        done = true;
      });
      while (!done) {
        machine.scheduler.step();
        // The other tree, so that a change of this one is a page that was moved.
        engine.tree(1).put(key(steps++), filled(10, steps));
      }
      moved ||= !cursor.valid;
      const copy = machine.fork();
      copy.losePower("lose-all");
      const reopened = open(copy);
      expect(state(reopened.tree(0))).toBe(expected);
      expect(state(reopened.tree(1))).toBe(others);
      others = state(engine.tree(1));
    }
    expect(moved).toBe(true);
    engine.invariants();
  });

  it("is one at a time, goes forward, and ends before the engine is closed", () => {
    const machine = new SimEnv({ seed: 1 });
    const engine = open(machine);
    const meta = { appliedIndex: 5, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    let done = false;
    runIo(engine.checkpoint(meta), () => {
      done = true;
    });
    expect(() => runIoNow(machine, engine.checkpoint(meta))).toThrow("one checkpoint at a time");
    expect(() => runIoNow(machine, engine.close())).toThrow("ends before");
    while (!done) machine.scheduler.step();
    const back = { ...meta, appliedIndex: 4 };
    expect(() => runIoNow(machine, engine.checkpoint(back))).toThrow("forward");
    runIoNow(machine, engine.close());
    expect(() => engine.tree(0).get(key(1))).toThrow("open");
    expect(() => engine.pin()).toThrow("open");
  });

  it("keeps what a version sees in a file that was just opened, until it is read", () => {
    const machine = new SimEnv({ seed: 1 });
    const first = open(machine);
    for (let i = 0; i < KEYS; i++) first.tree(0).put(key(i), filled(i % 50 === 0 ? 9000 : 300, i));
    const meta = { appliedIndex: 1, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    runIoNow(machine, first.checkpoint(meta));
    const expected = state(first.tree(0));
    runIoNow(machine, first.close());
    machine.kill();
    const engine = open(machine);
    const version = engine.pin();
    const random = new Random(1);
    for (let index = 2; index <= 5; index++) {
      change(engine, random, 400);
      runIoNow(machine, engine.checkpoint({ ...meta, appliedIndex: index }));
    }
    // None of its pages was given to others, though four checkpoints have come since.
    expect(state(version.tree(0))).toBe(expected);
    version.release();
    engine.invariants();
  });

  it("does a bounded part of its work between two waits for the disk, however much has changed", () => {
    const machine = new SimEnv({ seed: 1 });
    const engine = open(machine);
    const tree = engine.tree(0);
    const meta = { appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    for (let i = 0; i < 30_000; i++) tree.put(key(i), filled(300, i));
    /** The most pages that are handed to the disk without a wait between them, and how often there is one. */
    const stretches = (index: number): { most: number; waits: number } => {
      const io = engine.checkpoint({ ...meta, appliedIndex: index });
      let [most, waits, pages] = [0, 0, 0];
      machine.disk.observer = (when, operation) => {
        if (when === "after" && operation.kind === "write") pages += operation.bytes.length / 4096;
      };
      for (let step = io.next(); step.done !== true; waits++) {
        pages = 0;
        step = io.next(answerOf(machine, step.value));
        most = Math.max(most, pages);
      }
      machine.disk.observer = undefined;
      return { most, waits };
    };
    const all = stretches(1);
    expect(all.most).toBe(64);
    expect(all.waits).toBeGreaterThan(40);
    for (let i = 0; i < 30_000; i += 10) tree.put(key(i), filled(300, i + 1));
    expect(stretches(2).most).toBe(64);
  });
});
