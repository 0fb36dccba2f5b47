/**
 * Crashes at every file operation while snapshots are made and installed (fault-rules D27, D29; requirements C7). After
 * each of them the machine is started as a node starts, and what it finds must be the state before or the state after,
 * whole, with everything in it that a caller was told.
 */
import { describe, expect, it, vi } from "vitest";
import { setVerifying, utf8 } from "../base/index.ts";
import { entriesOf, filled, fingerprint } from "../btree/engine.suite.ts";
import { BTreeEngine, type Engine, MemoryEngine } from "../btree/index.ts";
import {
  closeFile,
  type Env,
  FileError,
  type Io,
  listDirectory,
  makeDirectory,
  openFile,
  syncDirectory,
} from "../env/index.ts";
import { runIoNow, SimEnv, sweepCrashes } from "../env/sim/index.ts";
import type { ConfState, Entry } from "../raft/index.ts";
import { type GroupAppend, type SnapshotRecord, Wal, type WalIdentity } from "../wal/index.ts";
import {
  installSnapshot,
  loadSnapshot,
  type SnapshotDescription,
  snapshotFileName,
  SnapshotStore,
  takeOver,
  writeSnapshot,
} from "./index.ts";

setVerifying(true);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const DATA = "data";
const CLUSTER = 77;
const FILE_ID: Uint8Array = utf8("this node");
const IDENTITY: WalIdentity = {
  clusterId: new Uint8Array(8).fill(1),
  memberId: 1,
  walId: new Uint8Array(16).fill(2),
};
const WAL = { directory: DATA, segmentSizeBytes: 64 * 1024 };
const CONF: ConfState = {
  voters: [1, 2, 3],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

function describeAt(index: number, term: number, clusterId: number = CLUSTER): SnapshotDescription {
  return {
    clusterId,
    group: 0,
    meta: { index, term, confState: CONF },
    revision: index + 1,
    compactRevision: 0,
    clockMs: index * 10,
    stateHash: index,
    createdMs: 1,
    machine: utf8(`machine at ${index}`),
  };
}

/** What the trees hold after `index` entries. */
function fillTo(engine: Engine, index: number): void {
  for (let i = 1; i <= index; i++) {
    engine.tree(i % 2).put(utf8(`key ${i % 23}`), filled(40 + (i % 200), i));
  }
}

function prints(engine: Engine): string {
  return [0, 1, 2].map((id) => fingerprint(entriesOf(engine.tree(id)))).join(" ");
}

const states = new Map<number, string>();

function stateAt(index: number): string {
  let state = states.get(index);
  if (state === undefined) {
    const engine = new MemoryEngine();
    fillTo(engine, index);
    state = prints(engine);
    states.set(index, state);
  }
  return state;
}

function* append(wal: Wal, batch: readonly GroupAppend[]): Io<void> {
  yield (done) => {
    wal.append(batch, (error) => done(error as unknown as FileError | null, undefined), {
      sync: true,
    });
  };
}

function entry(index: number, term: number): Entry {
  return { index, term, type: 0, data: utf8(`entry ${index}`) };
}

function* makeDirectories(env: Env): Io<void> {
  for (const path of [DATA, `${DATA}/db`, `${DATA}/tmp`]) yield* makeDirectory(env.files, path);
  for (const path of [".", DATA]) yield* syncDirectory(env.files, path);
}

interface Found {
  readonly store: SnapshotStore;
  readonly engine: BTreeEngine;
  readonly wal: Wal;
}

/** As a node starts: what unfinished work left is removed, the data file opened, the log, and an install taken over. */
function* start(env: Env): Io<Found> {
  const store = yield* SnapshotStore.open(env, DATA);
  const path = `${DATA}/db/0.hdb`;
  const options = { fileId: FILE_ID, slabSizeBytes: 64 * 1024, create: "no" } as const;
  let { engine } = yield* BTreeEngine.open(env.files, path, options);
  const { newest, older } = engine.checkpoints;
  const { wal } = yield* Wal.open(env, WAL, IDENTITY, [
    {
      group: 0,
      appliedIndex: newest?.appliedIndex ?? 0,
      appliedTerm: newest?.appliedTerm ?? 0,
      olderAppliedIndex: older?.appliedIndex ?? 0,
    },
  ]);
  const named = wal.snapshot(0);
  if (named?.installed === true && named.meta.index > (newest?.appliedIndex ?? 0)) {
    yield* engine.close();
    yield* takeOver(named, {
      env,
      store,
      directory: DATA,
      group: 0,
      fileId: FILE_ID,
      walLsn: wal.durableLsn,
      payload: (header) => header.machine,
    });
    ({ engine } = yield* BTreeEngine.open(env.files, path, options));
  }
  return { store, engine, wal };
}

function* stop({ engine, wal }: Found): Io<void> {
  yield* wal.close();
  yield* engine.close();
}

function* leftovers(env: Env): Io<string[]> {
  const names = yield* listDirectory(env.files, `${DATA}/tmp`);
  return names.filter((name) => name.startsWith("snapshot-") || name.includes(".hdb"));
}

/** A directory with a log of `entries` entries, and a data file with a checkpoint at `applied`. */
function* prepare(env: Env, entries: number, applied: number): Io<Found> {
  yield* makeDirectories(env);
  const wal = yield* Wal.create(env, WAL, IDENTITY);
  const store = yield* SnapshotStore.open(env, DATA);
  const { engine } = yield* BTreeEngine.open(env.files, `${DATA}/db/0.hdb`, {
    fileId: FILE_ID,
    slabSizeBytes: 64 * 1024,
  });
  const log = Array.from({ length: entries }, (_, i) => entry(i + 1, 1));
  const hardState = { term: 1, vote: 1, commit: entries };
  yield* append(wal, [{ group: 0, entries: log, hardState }]);
  fillTo(engine, applied);
  yield* engine.checkpoint({
    appliedIndex: applied,
    appliedTerm: 1,
    walLsn: wal.durableLsn,
    payload: utf8("old"),
  });
  return { store, engine, wal };
}

describe("a snapshot that is made", () => {
  it("D27, C7: after a crash at every file operation the log names none that is missing, and all that have a name are whole", () => {
    const machine = new SimEnv({ seed: 11 });
    const env = machine.boot();
    const KEEP = 2;
    const INDEXES = [10, 11, 30, 60];
    const { store, wal, engine } = runIoNow(machine, prepare(env, 60, 5));
    let recorded = 0;
    let making = 0;
    let crashes = 0;
    const visit = (crashed: SimEnv): void => {
      crashes++;
      const again = crashed.boot();
      const found = runIoNow(crashed, start(again));
      expect(runIoNow(crashed, leftovers(again))).toEqual([]);
      const record = found.wal.snapshot(0);
      expect(record?.meta.index ?? 0).toBeGreaterThanOrEqual(recorded);
      if (record !== null) runIoNow(crashed, found.store.check(record, 0));
      const names = runIoNow(crashed, found.store.list(0));
      // One more than is kept while the next is not recorded, and one that a crash kept from going.
      expect(names.length).toBeLessThanOrEqual(KEEP + 2);
      for (const name of names) {
        const path = found.store.path(snapshotFileName(name));
        const file = runIoNow(crashed, openFile(again.files, path, { access: "read" }));
        const into = new MemoryEngine();
        const { header } = runIoNow(
          crashed,
          loadSnapshot(file, () => again.sha256(), into),
        );
        expect(header.meta.index).toBe(name.index);
        expect(prints(into)).toBe(stateAt(name.index));
      }
      const newest = names[0]?.index ?? 0;
      expect(newest === making || newest >= recorded).toBe(true);
      runIoNow(crashed, stop(found));
    };
    const end = sweepCrashes(machine, visit, { powerLossesMax: 4 });
    for (const index of INDEXES) {
      const memory = new MemoryEngine();
      fillTo(memory, index);
      making = index;
      const record = runIoNow(machine, store.create(memory.pin(), describeAt(index, 1)));
      runIoNow(
        machine,
        append(wal, [{ group: 0, entries: [], hardState: null, snapshot: record }]),
      );
      recorded = index;
      runIoNow(machine, store.prune(0, KEEP, record.fileName));
    }
    end();
    expect(crashes).toBeGreaterThan(100);
    expect(runIoNow(machine, store.list(0)).map(({ index }) => index)).toEqual([60, 30]);
    runIoNow(machine, stop({ store, engine, wal }));
  });

  it("falls back to the one before when the newest is damaged, and says which", () => {
    const logged: string[] = [];
    const machine = new SimEnv({
      seed: 1,
      log: (level, _, message) => logged.push(`${level}: ${message}`),
    });
    const env = machine.boot();
    const { store } = runIoNow(machine, prepare(env, 20, 0));
    expect(runIoNow(machine, store.newest(0))).toBeNull();
    const records: SnapshotRecord[] = [];
    for (const index of [5, 9, 14]) {
      const memory = new MemoryEngine();
      fillTo(memory, index);
      records.push(runIoNow(machine, store.create(memory.pin(), describeAt(index, 1))));
    }
    expect(runIoNow(machine, store.newest(0))?.header.meta.index).toBe(14);
    machine.disk.flipBit(store.path((records[2] as SnapshotRecord).fileName), 700, 1);
    expect(runIoNow(machine, store.newest(0))?.header.meta.index).toBe(9);
    expect(logged).toEqual(["error: a snapshot is damaged: the one before it is used"]);
    expect(() => runIoNow(machine, store.check(records[2] as SnapshotRecord, 0))).toThrow(
      /damaged/,
    );
  });

  it("is refused when it is not the file that the log names, or not what its name says", () => {
    const machine = new SimEnv({ seed: 1 });
    const env = machine.boot();
    const { store } = runIoNow(machine, prepare(env, 20, 0));
    const memory = new MemoryEngine();
    fillTo(memory, 5);
    const record = runIoNow(machine, store.create(memory.pin(), describeAt(5, 1)));
    fillTo(memory, 6);
    runIoNow(machine, store.create(memory.pin(), { ...describeAt(5, 1), createdMs: 2 }));
    expect(() => runIoNow(machine, store.check(record, 0))).toThrow(
      "not the snapshot that the log names",
    );
    const moved = { ...record, meta: { ...record.meta, index: 6 } };
    expect(() => runIoNow(machine, store.check(moved, 0))).toThrow("is not what its name says");
  });

  it.each(["ENOSPC", "EIO"])("leaves nothing behind when a write or sync says %s", (error) => {
    const isOurs = (path: string): boolean => path.includes("snapshot-");
    let isPast = false;
    for (let skip = 0; !isPast; skip++) {
      const machine = new SimEnv({ seed: skip });
      const env = machine.boot();
      const { store } = runIoNow(machine, prepare(env, 20, 0));
      const memory = new MemoryEngine();
      fillTo(memory, 20);
      const version = memory.pin();
      const operation = ["write", "sync"] as const;
      const fault = machine.disk.inject({ operation, error, path: isOurs, skip });
      let failed: unknown = null;
      try {
        runIoNow(machine, store.create(version, describeAt(20, 1)));
      } catch (thrown) {
        failed = thrown;
      }
      isPast = fault.struck === 0;
      expect(runIoNow(machine, leftovers(env))).toEqual([]);
      expect((failed as FileError | null)?.code).toBe(isPast ? undefined : error);
      expect(runIoNow(machine, store.list(0)).length).toBe(isPast ? 1 : 0);
      fault.remove();
      // And the next one succeeds.
      runIoNow(machine, store.create(version, describeAt(20, 1)));
      expect(runIoNow(machine, store.newest(0))?.header.meta.index).toBe(20);
    }
  });
});

describe("a snapshot that is installed", () => {
  const INDEX = 50;
  const TERM = 4;

  function* arrive(env: Env, store: SnapshotStore, description: SnapshotDescription): Io<string> {
    const path = store.temporaryPath({ group: 0, term: TERM, index: INDEX });
    const memory = new MemoryEngine();
    fillTo(memory, INDEX);
    const file = yield* openFile(env.files, path, { access: "readwrite", create: "if-missing" });
    yield* writeSnapshot(file, env.sha256(), memory.pin(), description);
    yield* closeFile(file);
    return path;
  }

  /** `recorded` is called when the record is durable and the data file still the old one. */
  function install(
    env: Env,
    { store, wal }: Found,
    path: string,
    recorded: () => void = () => {},
  ): Io<SnapshotRecord> {
    return installSnapshot(path, {
      env,
      store,
      directory: DATA,
      group: 0,
      fileId: FILE_ID,
      walLsn: wal.durableLsn,
      clusterId: CLUSTER,
      commit: wal.hardState(0).commit,
      keep: 3,
      payload: (header) => header.machine,
      *record(snapshot) {
        const hardState = { term: TERM, vote: 0, commit: INDEX };
        yield* append(wal, [{ group: 0, snapshot, entries: [], hardState }]);
        recorded();
      },
    });
  }

  function expectWhole(crashed: SimEnv, found: Found): "old" | "new" {
    const { engine, wal } = found;
    engine.invariants();
    const { newest } = engine.checkpoints;
    const isNew = newest?.appliedIndex === INDEX;
    expect(newest).toMatchObject(
      isNew ? { appliedIndex: INDEX, appliedTerm: TERM } : { appliedIndex: 3, appliedTerm: 1 },
    );
    expect(prints(engine)).toBe(stateAt(isNew ? INDEX : 3));
    const log = wal.groupLog(0);
    expect([log.firstIndex(), log.lastIndex()]).toEqual(isNew ? [INDEX + 1, INDEX] : [1, 8]);
    expect(wal.hardState(0)).toEqual(
      isNew ? { term: TERM, vote: 0, commit: INDEX } : { term: 1, vote: 1, commit: 8 },
    );
    if (isNew) expect(newest?.payload).toEqual(utf8(`machine at ${INDEX}`));
    expect(runIoNow(crashed, leftovers(env(crashed)))).toEqual([]);
    return isNew ? "new" : "old";
  }
  const envs = new WeakMap<SimEnv, Env>();
  const env = (machine: SimEnv): Env => {
    const known = envs.get(machine) ?? machine.boot();
    envs.set(machine, known);
    return known;
  };

  it("D29: a crash at every file operation leaves the old state or the new one, also when the start after it crashes", () => {
    const machine = new SimEnv({ seed: 21 });
    const found = runIoNow(machine, prepare(env(machine), 8, 3));
    const path = runIoNow(machine, arrive(env(machine), found.store, describeAt(INDEX, TERM)));
    let isRecorded = false;
    let visits = 0;
    const seen = { old: 0, new: 0 };
    const recover = (crashed: SimEnv, mustBeNew: boolean): void => {
      const again = runIoNow(crashed, start(env(crashed)));
      const state = expectWhole(crashed, again);
      if (mustBeNew) expect(state).toBe("new");
      seen[state]++;
      runIoNow(crashed, stop(again));
    };
    const visit = (crashed: SimEnv): void => {
      const mustBeNew = isRecorded;
      if (visits++ % 15 === 0) {
        const nested = crashed.fork();
        nested.kill();
        const endNested = sweepCrashes(nested, (twice) => recover(twice, mustBeNew), {
          powerLossesMax: 2,
          kills: 1,
        });
        const again = runIoNow(nested, start(env(nested)));
        endNested();
        runIoNow(nested, stop(again));
      }
      recover(crashed, mustBeNew);
    };
    const end = sweepCrashes(machine, visit, { powerLossesMax: 4 });
    const io = install(env(machine), found, path);
    runIoNow(machine, io);
    isRecorded = true;
    end();
    runIoNow(machine, found.wal.close());
    const last = machine.fork();
    last.kill();
    recover(last, true);
    expect(seen.old).toBeGreaterThan(50);
    expect(seen.new).toBeGreaterThan(20);
  });

  it.each<[string, string, (description: SnapshotDescription) => SnapshotDescription]>([
    ["another cluster", "SNAPSHOT_MISMATCH", (d) => ({ ...d, clusterId: CLUSTER + 1 })],
    ["another group", "SNAPSHOT_MISMATCH", (d) => ({ ...d, group: 1 })],
    [
      "what is committed here already",
      "SNAPSHOT_MISMATCH",
      (d) => ({ ...d, meta: { ...d.meta, index: 8 } }),
    ],
  ])("D28: one of %s is refused with %s, and nothing is changed", (_what, code, change) => {
    const machine = new SimEnv({ seed: 3 });
    const found = runIoNow(machine, prepare(env(machine), 8, 3));
    const path = runIoNow(
      machine,
      arrive(env(machine), found.store, change(describeAt(INDEX, TERM))),
    );
    let thrown: unknown;
    try {
      runIoNow(machine, install(env(machine), found, path));
    } catch (error) {
      thrown = error;
    }
    expect((thrown as { code: string }).code).toBe(code);
    expect(expectWhole(machine, found)).toBe("old");
    expect(found.wal.snapshot(0)).toBeNull();
  });

  it("D28: a damaged or cut one is refused with CORRUPT, and nothing is changed", () => {
    const machine = new SimEnv({ seed: 3 });
    const found = runIoNow(machine, prepare(env(machine), 8, 3));
    const path = runIoNow(machine, arrive(env(machine), found.store, describeAt(INDEX, TERM)));
    machine.disk.flipBit(path, 900, 4);
    expect(() => runIoNow(machine, install(env(machine), found, path))).toThrow(/damaged/);
    expect(expectWhole(machine, found)).toBe("old");
  });

  it("a start that does not find the snapshot as the record names it refuses to go on", () => {
    const machine = new SimEnv({ seed: 9 });
    const found = runIoNow(machine, prepare(env(machine), 8, 3));
    const path = runIoNow(machine, arrive(env(machine), found.store, describeAt(INDEX, TERM)));
    let image: SimEnv | null = null;
    const recorded = (): void => {
      image = machine.fork();
    };
    runIoNow(machine, install(env(machine), found, path, recorded));
    const crashed = image as unknown as SimEnv;
    crashed.kill();
    crashed.disk.flipBit(
      `${DATA}/snap/${snapshotFileName({ group: 0, term: TERM, index: INDEX })}`,
      900,
      2,
    );
    expect(() => runIoNow(crashed, start(env(crashed)))).toThrow(/damaged/);
  });
});
