/**
 * Snapshots of a running node: taken at once from a pinned version, written in slices while writes go on, named by a
 * record in the log, and the oldest ones deleted. One at a time; who asks while one is being made gets the next one,
 * which is no older than the asking.
 *
 *     pin ──▶ file durable ──▶ record durable ──▶ older ones deleted ──▶ done
 *
 * While a snapshot of another member takes the place of the state here, none is made: whoever waits gets the next one.
 *
 * Of a state that is not to be trusted nothing is handed out: in quarantine none is made, who waits or reads is told so, and
 * what was begun before it is not gone on with after it, however soon it is over.
 *
 * One that is made for another member keeps to the rate at which snapshots leave, so that those who write do not pay for
 * it, unless somebody else comes to wait for it: then it is as fast as it can be.
 *
 * A snapshot that fails costs nothing: no room on the disk, a damaged page that was read on the way, the node's end. Only
 * a record that cannot be written ends the node, for then the log cannot be written.
 */
import { assert, CorruptionError, HarmonyError } from "../base/index.ts";
import type { Engine, Version } from "../btree/index.ts";
import {
  closeFile,
  type Env,
  type File,
  FileError,
  type Files,
  type Io,
  openFile,
  PacedFiles,
  readFile,
  runIo,
} from "../env/index.ts";
import type { Replica } from "../replica/index.ts";
import type { SnapshotDescription, SnapshotStore } from "../snapshot/index.ts";
import type { SnapshotRecord, Wal } from "../wal/index.ts";
import type { Outcome } from "./requests.ts";
import type { KvStateMachine } from "./state-machine.ts";
import { unlessOver } from "./unless-over.ts";

/** A snapshot that was made here, as who asked for it sees it. */
export interface MadeSnapshot {
  readonly record: SnapshotRecord;
  /** Of the state in it. */
  readonly revision: number;
}

/** Since the start of the node. */
export interface SnapshotStats {
  readonly made: number;
  readonly failed: number;
  /** Of the last one. */
  readonly lastDurationMs: number;
  readonly lastSizeBytes: number;
  /** Of all together. */
  readonly durationMs: number;
}

export type SnapshotDone = (error: HarmonyError | null, made: MadeSnapshot | null) => void;

/** One that is made at a rate takes no longer than this, however large it is: somebody waits for it, too. */
const PACED_SECONDS_MAX = 150;

interface SnapshotsConfig {
  readonly env: Env;
  readonly store: SnapshotStore;
  readonly engine: Engine;
  readonly machine: KvStateMachine;
  readonly replica: Replica<Outcome>;
  readonly wal: Wal;
  readonly clusterId: number;
  /** How many are kept, at least 1. */
  readonly keep: number;
  /** Of those that are made for other members; 0 for no limit. */
  readonly rateBytes: number;
  /** How often this member went into quarantine. */
  readonly quarantines: () => number;
  /** A page that a snapshot needs has decayed. Whoever waits for the snapshot has been told. */
  readonly onDamage: (error: CorruptionError) => void;
}

interface Waiting {
  readonly done: SnapshotDone;
  readonly isPaced: boolean;
}

/** Why what was begun is not to be gone on with, at the time of the call; null: it is. */
export type LaterRefusal = () => HarmonyError | null;

export class Snapshots {
  readonly #config: SnapshotsConfig;
  #isMaking = false;
  #isStopped = false;
  #isPaused = false;
  #whenPaused: (() => void)[] = [];
  #waiting: Waiting[] = [];
  /** Through which the one under way is written, if it keeps to a rate. */
  #paced: PacedFiles | null = null;
  #whenQuiet: (() => void)[] = [];
  #stats: SnapshotStats = {
    made: 0,
    failed: 0,
    lastDurationMs: 0,
    lastSizeBytes: 0,
    durationMs: 0,
  };

  constructor(config: SnapshotsConfig) {
    assert(config.keep >= 1, "the newest snapshot is kept");
    this.#config = config;
  }

  get stats(): SnapshotStats {
    return this.#stats;
  }

  /** Makes a snapshot of what is applied in this moment. `done` is called once, not in the call itself. */
  make(done: SnapshotDone): void {
    this.#paced?.hurry();
    this.#make({ done, isPaced: false });
  }

  /** As `make`, at the rate of `rateBytes`. */
  makePaced(done: SnapshotDone): void {
    this.#make({ done, isPaced: true });
  }

  #make(waiting: Waiting): void {
    const refusal = this.#refusal;
    if (refusal !== null) {
      this.#config.env.timers.soon(() => waiting.done(refusal, null));
      return;
    }
    this.#waiting.push(waiting);
    this.#goOn();
  }

  /** Makes none until `resume`; calls `done` when none is being made. One that is under way is begun again afterwards. */
  pause(done: () => void): void {
    this.#isPaused = true;
    if (this.#isMaking) this.#whenPaused.push(done);
    else done();
  }

  resume(): void {
    this.#isPaused = false;
    this.#goOn();
  }

  /** For what is begun now: once the state has been found not to be trusted it is refused, also when that is over. */
  laterRefusal(): LaterRefusal {
    const { replica, quarantines } = this.#config;
    const before = quarantines();
    return () => {
      if (replica.quarantined !== null) return replica.quarantined;
      if (quarantines() === before) return null;
      return new HarmonyError("QUARANTINED", "this member was in quarantine since that was begun");
    };
  }

  /** The newest one that the log names; null when there is none. */
  get latest(): SnapshotRecord | null {
    return this.#config.wal.snapshot(this.#config.replica.group);
  }

  /** Makes a snapshot and opens it for reading, before another one can take its place. */
  open(done: (error: HarmonyError | null, reader: SnapshotReader | null) => void): void {
    const refusal = this.laterRefusal();
    this.make((error, made) => {
      if (made === null) {
        done(error, null);
        return;
      }
      const { env, store } = this.#config;
      runIo(SnapshotReader.open(env, store, { made, refusal }), (failure, reader) => {
        if (reader === undefined) done(failureOf(failure), null);
        else done(null, reader);
      });
    });
  }

  /** Ends what is under way; see `whenQuiet`. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Calls `done` when nothing is under way any more. After `stop`. */
  whenQuiet(done: () => void): void {
    assert(this.#isStopped, "only what has been stopped becomes quiet");
    if (this.#isMaking) this.#whenQuiet.push(done);
    else done();
  }

  get #isOver(): boolean {
    return this.#isStopped || this.#config.replica.stopped !== null;
  }

  #over(): HarmonyError {
    return this.#config.replica.stopped ?? new HarmonyError("CLOSED");
  }

  /** Why none is made now, whoever asks. */
  get #refusal(): HarmonyError | null {
    return this.#isOver ? this.#over() : this.#config.replica.quarantined;
  }

  #goOn(): void {
    const refusal = this.#refusal;
    if (refusal !== null) for (const { done } of this.#waiting.splice(0)) done(refusal, null);
    else if (!this.#isMaking && !this.#isPaused && this.#waiting.length > 0) this.#next();
  }

  /** One snapshot for all who wait by now. */
  #next(): void {
    const { env, engine, machine, clusterId, replica, rateBytes } = this.#config;
    const { confState } = replica.raft;
    const asked = this.#waiting;
    const isPaced = rateBytes > 0 && asked.every((each) => each.isPaced);
    const leastBytes = engine.stats.bytesInUse / PACED_SECONDS_MAX;
    const startedAtMs = env.clock.monotonicMs();
    // In one go: the trees, the index and what the machine says of itself belong together (requirements C16).
    const description: SnapshotDescription = {
      clusterId,
      group: replica.group,
      meta: { index: machine.appliedIndex, term: machine.appliedTerm, confState },
      revision: machine.revision,
      compactRevision: machine.compactRevision,
      clockMs: machine.clockMs,
      stateHash: machine.stateHash,
      createdMs: Math.max(0, Math.floor(env.clock.wallMs())),
      machine: machine.payload(),
    };
    const version = engine.pin();
    // Not before, for trees in the middle of a change throw: nobody may wait for the end of what was not begun.
    this.#isMaking = true;
    this.#waiting = [];
    this.#paced = isPaced ? new PacedFiles(env, Math.max(rateBytes, leastBytes)) : null;
    const refusal = this.laterRefusal();
    runIo(this.#steps(version, description, refusal), (error, record) => {
      version.release();
      const durationMs = env.clock.monotonicMs() - startedAtMs;
      const refused = refusal();
      if (record === undefined && refused === null && this.#isPaused && !this.#isOver) {
        this.#waiting = asked.concat(this.#waiting);
      } else if (record === undefined || refused !== null) {
        const failure = refused ?? failureOf(error);
        this.#stats = { ...this.#stats, failed: this.#stats.failed + 1 };
        env.log("warn", "snapshot", "a snapshot was not made", { error: failure.message });
        for (const { done } of asked) done(failure, null);
        if (failure instanceof CorruptionError) this.#config.onDamage(failure);
      } else {
        this.#stats = {
          made: this.#stats.made + 1,
          failed: this.#stats.failed,
          lastDurationMs: durationMs,
          lastSizeBytes: record.sizeBytes,
          durationMs: this.#stats.durationMs + durationMs,
        };
        const made = { record, revision: description.revision };
        for (const { done } of asked) done(null, made);
      }
      this.#ended();
    });
  }

  #ended(): void {
    this.#isMaking = false;
    this.#paced = null;
    this.#goOn();
    if (this.#isMaking) return;
    for (const done of this.#whenPaused.splice(0)) done();
    for (const done of this.#whenQuiet.splice(0)) done();
  }

  *#steps(
    version: Version,
    description: SnapshotDescription,
    refusal: LaterRefusal,
  ): Io<SnapshotRecord> {
    const { env, store, keep, replica } = this.#config;
    const { group } = replica;
    const files = this.#paced ?? env.files;
    const over = (): HarmonyError | null =>
      this.#isOver || this.#isPaused ? this.#over() : refusal();
    const present = yield* unlessOver(this.#present(description, files), over);
    if (present !== null) return present;
    const record = yield* unlessOver(store.create(version, description, files), over);
    const why = over();
    if (why !== null) throw why;
    yield* this.#record(record);
    try {
      yield* store.prune(group, keep, record.fileName);
    } catch (error) {
      // The snapshot is made; what should have gone goes with the next one.
      if (!(error instanceof FileError)) throw error;
      env.log("warn", "snapshot", "an older snapshot could not be deleted", {
        error: error.message,
      });
    }
    return record;
  }

  /**
   * The snapshot of this very index that the log names, if it is whole. Another file in its place would not be the one
   * that the record means, should the node end before the next record.
   */
  *#present({ meta, group }: SnapshotDescription, files: Files): Io<SnapshotRecord | null> {
    const { latest } = this;
    if (latest?.meta.index !== meta.index || latest.meta.term !== meta.term) return null;
    try {
      yield* this.#config.store.check(latest, group, files);
      return latest;
    } catch (error) {
      if (!(error instanceof HarmonyError || error instanceof FileError)) throw error;
      this.#config.env.log("warn", "snapshot", "the last snapshot is not whole: it is made anew", {
        error: error.message,
      });
      return null;
    }
  }

  *#record(snapshot: SnapshotRecord): Io<void> {
    const { wal, replica } = this.#config;
    yield (done) => {
      wal.append(
        [{ group: replica.group, entries: [], hardState: null, snapshot }],
        // Errors of the log travel through an Io as they are; the type of the channel is the file's.
        (error) => done(error as unknown as FileError | null, undefined),
        { sync: true, reserve: true },
      );
    };
  }
}

function failureOf(error: unknown): HarmonyError {
  if (error instanceof HarmonyError) return error;
  assert(error instanceof FileError, "making a snapshot fails by files or by what they hold");
  return new HarmonyError(error.isFull ? "DISK_FULL" : "IO", error.message, { cause: error });
}

/**
 * A snapshot as bytes that somebody reads at their own pace. Its file may be deleted meanwhile; the bytes stay, unless the
 * state that they are of is found not to be trusted before the end has been read.
 */
export class SnapshotReader<Of extends { readonly record: SnapshotRecord } = MadeSnapshot> {
  readonly made: Of;
  readonly #file: File;
  readonly #refusal: LaterRefusal;
  #offset = 0;
  #isReading = false;
  #isClosed = false;

  private constructor(file: File, made: Of, refusal: LaterRefusal) {
    this.#file = file;
    this.made = made;
    this.#refusal = refusal;
  }

  static *open<Of extends { readonly record: SnapshotRecord }>(
    env: Env,
    store: SnapshotStore,
    { made, refusal }: { readonly made: Of; readonly refusal: LaterRefusal },
  ): Io<SnapshotReader<Of>> {
    const path = store.path(made.record.fileName);
    return new SnapshotReader(yield* openFile(env.files, path, { access: "read" }), made, refusal);
  }

  /** How many bytes have not been read. */
  get remaining(): number {
    return this.made.record.sizeBytes - this.#offset;
  }

  /** What is read next begins there. */
  skipTo(offset: number): void {
    assert(offset <= this.made.record.sizeBytes && !this.#isReading, "a place in the file");
    this.#offset = offset;
  }

  /**
   * The next bytes, at most `bytesMax`; null at the end, CLOSED after the close, QUARANTINED when they are not to be trusted
   * any more. One at a time.
   */
  read(
    bytesMax: number,
    done: (error: HarmonyError | null, bytes: Uint8Array | null) => void,
  ): void {
    assert(!this.#isReading, "one reads at a time");
    if (this.#isClosed) {
      done(new HarmonyError("CLOSED", "the snapshot is closed"), null);
      return;
    }
    this.#isReading = true;
    const into = new Uint8Array(Math.min(bytesMax, this.remaining));
    runIo(readFile(this.#file, this.#offset, into), (error, got = 0) => {
      this.#isReading = false;
      if (this.#isClosed) this.#file.close(() => {});
      const refused = this.#refusal();
      if (refused !== null) done(refused, null);
      else if (error !== null) done(failureOf(error), null);
      else if (got < into.length)
        done(new HarmonyError("CORRUPT", "a snapshot became shorter"), null);
      else {
        this.#offset += got;
        done(null, got === 0 ? null : into);
      }
    });
  }

  /** Lets go of the file. Again: nothing happens. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (!this.#isReading) runIo(closeFile(this.#file), () => {});
  }
}
