/**
 * Crashes: while a history of writes and checkpoints runs, the machine is crashed at every file operation in many
 * ways, and what is reopened must be exactly the newest durable checkpoint, or the one that was being written. The
 * oracle is a sorted map that shares no code with the tree.
 *
 * `BTREE_SWEEP=20 npx vitest run src/btree/crash.test.ts` tries so many times as much.
 */
import { describe, expect, it, vi } from "vitest";
import { CorruptionError, Random, setVerifying, utf8 } from "../base/index.ts";
import { type Io, runIo } from "../env/index.ts";
import { runIoNow, SimEnv, sweepCrashes } from "../env/sim/index.ts";
import { entriesOf, filled, fingerprint, keyOf, Model } from "./engine.suite.ts";
import { BTreeEngine, type BTreeOpened, checkDataFile, type Engine } from "./index.ts";

setVerifying(true);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const SWEEP = Number(process.env["BTREE_SWEEP"] ?? 1);
const TIMEOUT_MS = 60_000 * SWEEP;
const PATH = "data.hdb";
const FILE_ID: Uint8Array = utf8("cluster, member, group");
const OPTIONS = { fileId: FILE_ID, slabSizeBytes: 64 * 1024 };

const EMPTY = fingerprint([]);

/** What the checkpoints of a history must hold, by applied index; 0 is the empty file. */
class History {
  readonly states: string[][] = [[EMPTY, EMPTY]];
  readonly models: readonly Model[] = [new Model(), new Model()];
  /** The newest checkpoint that has returned, and the one that is being written. */
  durable = 0;
  started = 0;
  opened = false;

  /** The state of now becomes checkpoint `started`. */
  begin(): number {
    this.states.push(this.models.map((model) => model.fingerprint()));
    this.started = this.states.length - 1;
    return this.started;
  }
}

interface Scenario {
  readonly seed: number;
  readonly checkpoints: number;
  readonly stepsPerCheckpoint: number;
  /** Of 100 steps. */
  readonly deletePercent: number;
  readonly keys: number;
  readonly valueMax: number;
}

function step(engine: Engine, history: History, random: Random, scenario: Scenario): void {
  const id = random.below(2);
  const key = keyOf(random.below(scenario.keys));
  const model = history.models[id] as Model;
  if (random.percent(scenario.deletePercent)) {
    expect(engine.tree(id).delete(key)).toBe(model.delete(key));
  } else {
    const value = filled(random.below(scenario.valueMax), random.below(1000));
    expect(engine.tree(id).put(key, value)).toBe(model.put(key, value));
  }
}

function checkpoint(engine: Engine, index: number): Io<void> {
  const payload = utf8(`payload ${index}`);
  return engine.checkpoint({ appliedIndex: index, appliedTerm: 1, walLsn: index * 512, payload });
}

/** Runs the history to its end; writes go on while checkpoints are being written. */
function play(machine: SimEnv, history: History, scenario: Scenario): void {
  const random = new Random(scenario.seed);
  const { engine } = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
  history.opened = true;
  let version: ReturnType<Engine["pin"]> | undefined;
  for (let round = 1; round <= scenario.checkpoints; round++) {
    for (let i = 0; i < scenario.stepsPerCheckpoint; i++) {
      step(engine, history, random, scenario);
      if (random.percent(5)) {
        version?.release();
        version = engine.pin();
      }
    }
    const index = history.begin();
    let done = false;
    runIo(checkpoint(engine, index), (error) => {
      if (error !== null) throw error;
      done = true;
    });
    while (!done) {
      machine.scheduler.step();
      if (!done && random.percent(30)) step(engine, history, random, scenario);
    }
    history.durable = index;
    engine.invariants();
  }
  version?.release();
  runIoNow(machine, engine.close());
}

function open(machine: SimEnv): BTreeOpened {
  return runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
}

function fingerprints(engine: Engine): string[] {
  return [0, 1].map((id) => fingerprint(entriesOf(engine.tree(id))));
}

/** Everything must be as a checkpoint of the history left it; returns which one the engine says it is. */
function expectState(engine: Engine, history: History): number {
  const index = engine.checkpoints.newest?.appliedIndex ?? 0;
  engine.invariants();
  expect(fingerprints(engine)).toEqual(history.states[index]);
  return index;
}

/**
 * The checkpoint before `index` stays whole while the next one is being written: when that is cut off and the newest
 * meta is found damaged, everything is as the older one left it.
 */
function expectWayBack(crashed: SimEnv, history: History, index: number): void {
  const machine = crashed.fork();
  machine.kill();
  const { engine } = open(machine);
  const random = new Random(index);
  for (let i = 0; i < 30; i++) {
    engine.tree(i % 2).put(keyOf(random.below(200)), filled(random.below(900), i));
  }
  machine.disk.inject({ operation: "sync", error: "EIO" });
  expect(() => runIoNow(machine, checkpoint(engine, history.states.length))).toThrow("EIO");
  machine.kill();
  // Numbers 0 and 1 are of the new file: checkpoint i is number i + 1.
  machine.disk.flipBit(PATH, ((index + 1) % 2) * 4096 + 500, 3);
  const again = open(machine);
  expect(again.usedOlderMeta).toBe(true);
  expect(expectState(again.engine, history)).toBe(index - 1);
}

/** Opens what a crash left, checks it, damages the newest meta and checks again, goes on and checks once more. */
function recover(crashed: SimEnv, history: History): void {
  const { durable, started } = history;
  const opened = open(crashed);
  expect(opened.created && history.opened).toBe(false);
  const index = expectState(opened.engine, history);
  expect([durable, started]).toContain(index);
  const { newest, older } = opened.engine.checkpoints;
  if (newest !== null) expect(newest.payload).toEqual(utf8(`payload ${index}`));
  // The checkpoint before it is whole too, or its place is the one that was being written.
  if (older !== null) expect(older.appliedIndex).toBe(index - 1);
  if (older === null && index > 1) expect(opened.usedOlderMeta).toBe(true);

  if (!opened.usedOlderMeta && index > 0) expectWayBack(crashed, history, index);

  // Life goes on: in the same process, and after a clean restart.
  const { engine } = opened;
  const random = new Random(index);
  for (let i = 0; i < 20; i++) engine.tree(0).put(keyOf(random.below(200)), filled(100, i));
  const expected = fingerprints(engine);
  runIoNow(crashed, checkpoint(engine, history.states.length));
  runIoNow(crashed, engine.close());
  crashed.kill();
  const restarted = open(crashed);
  expect(restarted.damage).toEqual([]);
  expect(fingerprints(restarted.engine)).toEqual(expected);
  runIoNow(crashed, restarted.engine.close());
  crashed.kill();
  const report = runIoNow(crashed, checkDataFile(crashed.boot().files, PATH));
  expect(report.damage).toEqual([]);
}

function sweep(scenario: Scenario, powerLossesMax: number): number {
  const machine = new SimEnv({ seed: scenario.seed });
  const history = new History();
  let visits = 0;
  const end = sweepCrashes(
    machine,
    (crashed) => {
      visits++;
      recover(crashed, history);
    },
    { powerLossesMax, kills: 1 },
  );
  play(machine, history, scenario);
  end();
  return visits;
}

describe("a crash at every file operation leaves the older or the newer checkpoint", () => {
  it.each([1, 2].flatMap((seed) => Array.from({ length: SWEEP }, (_, i) => seed + 100 * i)))(
    "with a handful of keys and every outcome (seed %d)",
    (seed) => {
      const scenario = {
        seed,
        checkpoints: 3,
        stepsPerCheckpoint: 2,
        deletePercent: 30,
        keys: 3,
        valueMax: 100,
      };
      expect(sweep(scenario, 24 * SWEEP)).toBeGreaterThan(50);
    },
    TIMEOUT_MS,
  );

  it.each([1, 2, 3].flatMap((seed) => Array.from({ length: SWEEP }, (_, i) => seed + 100 * i)))(
    "with trees of several levels and long values (seed %d)",
    (seed) => {
      const scenario = {
        seed,
        checkpoints: 4,
        stepsPerCheckpoint: 30,
        deletePercent: [20, 40, 60][seed % 3] as number,
        keys: 90,
        valueMax: seed % 2 === 0 ? 6000 : 600,
      };
      expect(sweep(scenario, 2 * SWEEP)).toBeGreaterThan(50);
    },
    TIMEOUT_MS,
  );
});

describe("creating the file", () => {
  it("leaves no half file at any crash", () => {
    const machine = new SimEnv({ seed: 9 });
    let visits = 0;
    const end = sweepCrashes(machine, (crashed, { crash }) => {
      visits++;
      const opened = open(crashed);
      expect(fingerprints(opened.engine)).toEqual([EMPTY, EMPTY]);
      expect(opened.usedOlderMeta).toBe(false);
      expect(opened.damage).toEqual([]);
      expect(crash).toBeTypeOf("string");
    });
    const { engine } = open(machine);
    runIoNow(machine, engine.close());
    end();
    expect(visits).toBeGreaterThan(10);
  });

  it("refuses to make a missing file when told not to", () => {
    const machine = new SimEnv({ seed: 9 });
    const io = BTreeEngine.open(machine.boot().files, PATH, { ...OPTIONS, create: "no" });
    expect(() => runIoNow(machine, io)).toThrow("ENOENT");
    expect(machine.disk.paths()).toEqual([]);
  });

  it("calls an empty file damaged, for a crash leaves none", () => {
    const machine = new SimEnv({ seed: 9 });
    const { files } = machine.boot();
    files.open(PATH, { access: "readwrite", create: "exclusive" }, () => {});
    machine.scheduler.run();
    const io = BTreeEngine.open(files, PATH, OPTIONS);
    expect(() => runIoNow(machine, io)).toThrow(CorruptionError);
  });
});
