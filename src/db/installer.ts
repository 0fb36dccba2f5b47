/**
 * A snapshot of another member in the place of what this node has, while it runs (fault-rules D28, D29):
 *
 *     idle ──announced──▶ pulling ──▶ checked, durable, new data file made ──▶ chores and snapshots at rest ──┐
 *      ▲  ▲                  │ broken, damaged, no room: tried again after a pause                            │
 *      │  └──────────────────┘                                                                                ▼
 *      └── machine, watches, chores go on ◀── data file swapped ◀── the log names it, durably ◀── Raft takes it
 *
 * Everything that may fail comes before Raft hears of it: until then the node goes on with what it has, and nothing is
 * changed by an attempt that ends. From then on only a log that cannot be written ends it, or a data file, and with it the
 * node; a start makes up for what is missing of the swap.
 *
 * In the moment of the swap: states that somebody has pinned stay readable until they are released; who watches goes on in
 * the history that came with the snapshot; commands whose place it covers are answered LEADER_CHANGED, as unknown; reads
 * that wait are answered by the new state.
 */
import { assert, HarmonyError } from "../base/index.ts";
import { BTreeEngine } from "../btree/index.ts";
import {
  type Env,
  FileError,
  type Files,
  type Io,
  PacedFiles,
  runIo,
  type Timer,
  unlinkIfThere,
} from "../env/index.ts";
import type { LogIndex, NodeId } from "../raft/index.ts";
import {
  isPulled,
  type PartialSnapshot,
  type PulledSnapshot,
  type Replica,
  type SnapshotPull,
} from "../replica/index.ts";
import {
  abandonInstall,
  prepareInstall,
  type PrepareOptions,
  type SnapshotStore,
  swapDataFile,
} from "../snapshot/index.ts";
import type { SnapshotRecord, Wal } from "../wal/index.ts";
import { decodeCheckpointPayload, encodeCheckpointPayload } from "./checkpoint-payload.ts";
import type { Chores } from "./chores.ts";
import type { ClusterLinks } from "./cluster.ts";
import type { Identity } from "./data-directory.ts";
import type { KvDatabase } from "./kv-database.ts";
import type { Outcome } from "./requests.ts";
import type { ServedEngine } from "./served-engine.ts";
import type { Snapshots } from "./snapshots.ts";
import type { KvStateMachine } from "./state-machine.ts";
import { unlessOver } from "./unless-over.ts";

/**
 * However large the snapshot is, each of the passes over it (it is checked, read, written as a data file) takes no longer:
 * whoever gave it waits for what becomes of it.
 */
const PASS_SECONDS_MAX = 150;
/** To make trees of bytes costs two to four times as much as to sum or to copy them: it is done at a part of the rate. */
const LOAD_SHARE = 0.5;
/** After an attempt that failed; twice as long each time. */
const PAUSE_FIRST_MS = 500;
const PAUSE_MAX_MS = 30_000;

/** Since the start of the node. */
export interface InstallStats {
  readonly installed: number;
  readonly failed: number;
  readonly receivedBytes: number;
  /** From the first byte that was asked for to the state that is in force, of all together and of the last. */
  readonly durationMs: number;
  readonly lastDurationMs: number;
}

interface InstallerConfig {
  readonly env: Env;
  readonly dataDir: string;
  readonly identity: Identity;
  readonly incarnation: number;
  readonly links: ClusterLinks;
  readonly wal: Wal;
  readonly store: SnapshotStore;
  /** How many snapshots are kept. */
  readonly keep: number;
  /** How fast one is checked and made a data file; 0 for no limit. */
  readonly rateBytes: number;
  readonly engine: ServedEngine;
  readonly machine: KvStateMachine;
  readonly replica: Replica<Outcome>;
  readonly database: KvDatabase;
  readonly chores: Chores;
  readonly snapshots: Snapshots;
  readonly onFatal: (error: HarmonyError) => void;
}

/** Whom to ask, and for what. */
interface Wanted {
  readonly from: NodeId;
  readonly indexAtLeast: LogIndex;
}

export class Installer {
  readonly #config: InstallerConfig;
  #wanted: Wanted | null = null;
  #isRunning = false;
  #isStopped = false;
  #pull: SnapshotPull | null = null;
  #pause: Timer | null = null;
  /** With whom the last attempt failed. */
  #failedWith: NodeId = 0;
  #pauseMs = PAUSE_FIRST_MS;
  /** When the last one was in force. */
  #installedAtMs = Number.NEGATIVE_INFINITY;
  /** The one under way keeps to no rate. */
  #isHurried = false;
  /** What the last attempt left where snapshots arrive. */
  #partial: PartialSnapshot | null = null;
  #whenQuiet: (() => void)[] = [];
  /** Ends the wait for a log that has stopped. */
  #giveUp: (() => void) | null = null;
  #stats = { installed: 0, failed: 0, receivedBytes: 0, durationMs: 0, lastDurationMs: 0 };

  constructor(config: InstallerConfig) {
    this.#config = config;
  }

  get stats(): InstallStats {
    return { ...this.#stats };
  }

  /** This member has a snapshot that reaches `indexAtLeast`: it is fetched if that is more than is here. */
  announced(from: NodeId, indexAtLeast: LogIndex): void {
    if (this.#isOver) return;
    this.#wanted = { from, indexAtLeast };
    if (this.#isRunning) return;
    if (this.#pause !== null) {
      // What kept one member from giving it, or this one from taking his, may not be so with another.
      if (from === this.#failedWith) return;
      this.#pause.cancel();
      this.#pause = null;
    }
    this.#begin();
  }

  /** Ends what is under way, unless the log names it already; see `whenQuiet`. */
  stop(): void {
    this.#isStopped = true;
    this.#pause?.cancel();
    this.#pull?.stop(this.#over());
    if (this.#config.replica.stopped !== null) this.#giveUp?.();
  }

  /** Calls `done` when nothing is under way any more. After `stop`. */
  whenQuiet(done: () => void): void {
    assert(this.#isStopped, "only what has been stopped becomes quiet");
    if (this.#config.replica.stopped !== null) this.#giveUp?.();
    if (this.#isRunning) this.#whenQuiet.push(done);
    else done();
  }

  get #isOver(): boolean {
    return this.#isStopped || this.#config.replica.stopped !== null;
  }

  #over(): HarmonyError {
    return this.#config.replica.stopped ?? new HarmonyError("CLOSED");
  }

  #begin(): void {
    const { env, replica } = this.#config;
    const wanted = this.#wanted;
    this.#wanted = null;
    if (wanted === null || wanted.indexAtLeast <= replica.raft.commit) return;
    this.#isRunning = true;
    const startedAtMs = env.clock.monotonicMs();
    // While the last one was taken over, the log of the leader went on beyond its end: at that pace it would do so again.
    this.#isHurried = startedAtMs - this.#installedAtMs <= this.#stats.lastDurationMs;
    runIo(this.#install(wanted), (error, isInstalled) => {
      this.#isRunning = false;
      this.#pull = null;
      if (isInstalled === true) this.#succeeded(env.clock.monotonicMs() - startedAtMs);
      else if (error !== null) this.#failed(wanted, error);
      for (const done of this.#whenQuiet.splice(0)) done();
    });
  }

  #succeeded(durationMs: number): void {
    const { env, machine } = this.#config;
    this.#pauseMs = PAUSE_FIRST_MS;
    this.#installedAtMs = env.clock.monotonicMs();
    this.#stats.installed++;
    this.#stats.durationMs += durationMs;
    this.#stats.lastDurationMs = durationMs;
    env.log("info", "snapshot", "a snapshot has taken the place of the state", {
      index: machine.appliedIndex,
      revision: machine.revision,
      durationMs: Math.round(durationMs),
    });
  }

  #failed(wanted: Wanted, thrown: unknown): void {
    if (this.#isOver) return;
    const { env } = this.#config;
    const error = failureOf(thrown);
    this.#stats.failed++;
    this.#failedWith = wanted.from;
    env.log("warn", "snapshot", "a snapshot was not taken over: tried again later", {
      code: error.code,
      error: error.message,
      afterMs: this.#pauseMs,
    });
    this.#pause = env.timers.after(this.#pauseMs, () => {
      this.#pause = null;
      // Unless somebody has announced another one meanwhile, the same is asked again.
      this.#wanted ??= wanted;
      if (!this.#isOver) this.#begin();
    });
    this.#pauseMs = Math.min(PAUSE_MAX_MS, this.#pauseMs * 2);
  }

  /** True: installed. False: it brought nothing that was not here by then. */
  *#install(wanted: Wanted): Io<boolean> {
    const { env, store, links, replica } = this.#config;
    const { group } = replica;
    const { from, indexAtLeast } = wanted;
    // No snapshot that is made here has this name: it is that of none.
    const into = store.temporaryPath({ group, term: 0, index: 0 });
    const received = (bytes: number): void => {
      this.#stats.receivedBytes += bytes;
    };
    const partial = this.#partial;
    this.#partial = null;
    const pull = links.pull({ from, group, indexAtLeast, into, partial, received });
    this.#pull = pull;
    env.log("info", "snapshot", "fetches a snapshot of another member", {
      from: from.toString(16),
      indexAtLeast,
      hasBytes: partial?.offset ?? 0,
    });
    let pulled: PulledSnapshot;
    try {
      pulled = yield* pull.run();
    } catch (error) {
      this.#partial = pull.partial;
      throw error;
    }
    const record = yield* this.#prepare(pull, pulled);
    const isInstalled = yield* this.#putInPlace(pull, record);
    if (isInstalled) yield* this.#prune(record);
    else yield* abandonInstall(this.#options());
    return isInstalled;
  }

  *#prepare(pull: SnapshotPull, pulled: PulledSnapshot): Io<SnapshotRecord> {
    const { env } = this.#config;
    const over = (): HarmonyError | null => (this.#isOver ? this.#over() : null);
    try {
      const files = this.#filesFor(pulled, 1);
      const loadThrough = this.#filesFor(pulled, LOAD_SHARE);
      const paced = { ...env, files, sha256: () => env.sha256() };
      const options = { ...this.#options(), env: paced, loadThrough };
      const record = yield* unlessOver(prepareInstall(pulled.path, options), over);
      const { meta } = record;
      const isSame =
        isPulled(pulled, record) && meta.index === pulled.index && meta.term === pulled.term;
      if (isSame) return record;
      yield* abandonInstall(this.#options());
      throw new HarmonyError("SNAPSHOT_MISMATCH", "it is not the one that was announced");
    } catch (error) {
      pull.refuse(failureOf(error));
      yield* unlinkIfThere(env.files, pulled.path);
      throw error;
    }
  }

  /** This member answers clients meanwhile, and the leader may be on the same machine. */
  #filesFor({ sizeBytes }: PulledSnapshot, share: number): Files {
    const { env, rateBytes } = this.#config;
    if (rateBytes === 0 || this.#isHurried) return env.files;
    return new PacedFiles(env, Math.max(share * rateBytes, sizeBytes / PASS_SECONDS_MAX));
  }

  *#putInPlace(pull: SnapshotPull, record: SnapshotRecord): Io<boolean> {
    const { chores, snapshots, replica } = this.#config;
    yield (done) => chores.pause(() => done(null, undefined));
    yield (done) => snapshots.pause(() => done(null, undefined));
    try {
      if (this.#isOver) throw this.#over();
      const recording = new Recording();
      const result = replica.restore(record, recording.end);
      if (result === "foreign") {
        const error = new HarmonyError("SNAPSHOT_MISMATCH", "this member is not part of it");
        pull.refuse(error);
        throw error;
      }
      // It need not be sent again, whether it brought something or not.
      pull.taken();
      if (result !== "restored") return false;
      this.#giveUp = recording.end;
      yield (done) => recording.wait(() => done(null, undefined));
      this.#giveUp = null;
      if (replica.stopped !== null) throw this.#over();
      yield* this.#swap();
      return true;
    } finally {
      chores.resume();
      snapshots.resume();
    }
  }

  /** The log names the snapshot: what fails now ends the node, and the next start makes up for it. */
  *#swap(): Io<void> {
    const { env, dataDir, identity, engine, machine, replica, database, onFatal } = this.#config;
    const path = `${dataDir}/db/${replica.group}.hdb`;
    try {
      yield* swapDataFile(this.#options());
      const { engine: next } = yield* BTreeEngine.open(env.files, path, {
        fileId: identity.walId,
        create: "no",
      });
      const { newest } = next.checkpoints;
      assert(newest !== null, "a data file that is swapped in holds a checkpoint");
      const payload = decodeCheckpointPayload(newest.payload, path);
      const { appliedIndex, appliedTerm } = newest;
      engine.replace(next);
      machine.restore(
        { payload: payload.machine, appliedIndex, appliedTerm },
        replica.quarantined !== null,
      );
      database.restored();
      replica.restored();
    } catch (error) {
      onFatal(failureOf(error));
      throw error;
    }
  }

  /** What should have gone goes with the next one. */
  *#prune(record: SnapshotRecord): Io<void> {
    const { env, store, keep, replica } = this.#config;
    try {
      yield* store.prune(replica.group, keep, record.fileName);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      env.log("warn", "snapshot", "an older snapshot could not be deleted", {
        error: error.message,
      });
    }
  }

  #options(): PrepareOptions {
    const { env, dataDir, identity, incarnation, wal, store, replica } = this.#config;
    return {
      env,
      directory: dataDir,
      group: replica.group,
      fileId: identity.walId,
      walLsn: wal.durableLsn,
      payload: ({ meta, machine }) =>
        encodeCheckpointPayload({ incarnation, confState: meta.confState, machine }),
      store,
      clusterId: identity.clusterId,
      commit: replica.raft.commit,
    };
  }
}

/** Whether the log names the snapshot by now, and who waits for that. */
class Recording {
  #isOver = false;
  #waiting: (() => void) | null = null;

  readonly end = (): void => {
    this.#isOver = true;
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.();
  };

  wait(done: () => void): void {
    if (this.#isOver) done();
    else this.#waiting = done;
  }
}

function failureOf(error: unknown): HarmonyError {
  if (error instanceof HarmonyError) return error;
  if (error instanceof FileError)
    return new HarmonyError(error.isFull ? "DISK_FULL" : "IO", error.message, { cause: error });
  return new HarmonyError("STOPPED", String(error), { cause: error });
}
