/**
 * A node that runs: what it is made of, and how it is taken apart again. `open-node.ts` puts it together.
 */
import { assert, HarmonyError } from "../base/index.ts";
import type { Engine } from "../btree/index.ts";
import {
  type DirectoryLock,
  type Env,
  FileError,
  type Io,
  type IoStep,
  runIo,
} from "../env/index.ts";
import type { Replica, ReplicaHost, SnapshotServerStats } from "../replica/index.ts";
import type { GroupLogStats, VoteFile, Wal, WalRecovery, WalStats } from "../wal/index.ts";
import type { Chores } from "./chores.ts";
import type { ClusterLinks } from "./cluster.ts";
import type { Identity } from "./data-directory.ts";
import type { Durability } from "./database.ts";
import { endRun } from "./durability.ts";
import type { Installer, InstallStats } from "./installer.ts";
import type { Introduction } from "./introduction.ts";
import type { DatabaseActivity, KvDatabase } from "./kv-database.ts";
import type { Quarantine, QuarantineStats } from "./quarantine.ts";
import type { Outcome } from "./requests.ts";
import type { SnapshotDone, SnapshotReader, Snapshots, SnapshotStats } from "./snapshots.ts";

/** What a start found and did (requirements S4-50). */
export interface RecoveryStats {
  /** A checkpoint was there to begin from. */
  readonly snapshotLoaded: boolean;
  /** Keys in it. */
  readonly snapshotEntries: number;
  /** Commands applied from the log beyond it. */
  readonly walEntriesReplayed: number;
  /**
   * Damaged places of the log that were found: those that nothing needs any more, and what a member of a cluster has put
   * aside until the others have healed it. A node alone does not start on any other.
   */
  readonly corruptedEntries: number;
  readonly durationMs: number;
}

/** Counters of a node since its start; what is pending, and the keys and leases, are those of now. */
export interface NodeStats {
  readonly checkpoints: number;
  readonly entriesApplied: number;
  /** Replayed ones included. */
  readonly commandsApplied: number;
  readonly commandsRefused: number;
  readonly commandsPending: number;
  /** Linearizable reads that wait to be sure of what they may say. */
  readonly readsPending: number;
  readonly leaderChanges: number;
  readonly keys: number;
  readonly leases: number;
}

/** What goes on in a node, for those who watch it from outside. Counters begin with the start. */
export interface NodeActivity extends DatabaseActivity {
  readonly wal: WalStats;
  /** Of each group in the log. */
  readonly groups: readonly (GroupLogStats & {
    /** It keeps more of the log than checkpoints let gather (`Chores.lagBytes`). */
    readonly isLagging: boolean;
  })[];
  /** Now. */
  readonly readysOnTheirWay: number;
  /** Of a heartbeat and its answer, for those that have answered one; nobody, unless this member leads. */
  readonly roundTrips: readonly { readonly member: number; readonly durationMs: number }[];
  /** How far the others are behind what is in the log here; nobody, unless this member leads. */
  readonly followers: readonly {
    readonly member: number;
    readonly lagEntries: number;
    /** The log here no longer holds what it needs next, or it is being given a snapshot. */
    readonly needsSnapshot: boolean;
  }[];
}

/** A step of taking a node, or what there is of it, apart. */
export type Closing = () => Io<void>;

/** Why a node ended, and who wants to hear of it. */
export interface Failure {
  error: HarmonyError | null;
  listeners: ((error: HarmonyError) => void)[];
}

export interface NodeParts {
  readonly env: Env;
  readonly dataDir: string;
  readonly identity: Identity;
  readonly durability: Durability;
  readonly lock: DirectoryLock;
  readonly wal: Wal;
  readonly votes: VoteFile;
  readonly engine: Engine;
  readonly host: ReplicaHost;
  readonly replica: Replica<Outcome>;
  readonly chores: Chores;
  readonly snapshots: Snapshots;
  /** Null: it stays alone. */
  readonly links: ClusterLinks | null;
  /** Null: alone. */
  readonly installer: Installer | null;
  readonly introduction: Introduction;
  /** Null: nobody can be reached. */
  readonly quarantine: Quarantine | null;
  readonly failure: Failure;
}

export class Node {
  readonly identity: Identity;
  readonly database: KvDatabase;
  readonly recovery: RecoveryStats;
  /** What the log looked like at the start; null for a new one. */
  readonly log: WalRecovery | null;
  readonly #parts: NodeParts;
  readonly #appliedAtStart: number;
  #closing: Ending | null = null;

  /** Use `openNode`. */
  constructor(
    parts: NodeParts,
    database: KvDatabase,
    recovery: RecoveryStats,
    log: WalRecovery | null,
  ) {
    this.#parts = parts;
    this.#appliedAtStart = parts.replica.machine.appliedIndex;
    this.identity = parts.identity;
    this.database = database;
    this.recovery = recovery;
    this.log = log;
  }

  /** Calls `listener` once when the node has stopped because its log cannot be written or an invariant broke. */
  onFatal(listener: (error: HarmonyError) => void): void {
    const { failure } = this.#parts;
    if (failure.error !== null) listener(failure.error);
    else failure.listeners.push(listener);
  }

  /** What the log holds and has written since the start. */
  get logStats(): WalStats {
    return this.#parts.wal.stats;
  }

  /** What the node has done since the start, and what it holds. */
  get stats(): NodeStats {
    const { replica, chores } = this.#parts;
    return {
      checkpoints: chores.checkpointsMade,
      entriesApplied: replica.machine.appliedIndex - this.#appliedAtStart,
      commandsApplied: replica.commandsApplied,
      commandsRefused: replica.commandsRefused,
      commandsPending: replica.commandsPending,
      readsPending: replica.readsPending,
      leaderChanges: replica.leaderChanges,
      keys: this.database.keyCount,
      leases: this.database.leaseCount,
    };
  }

  get activity(): NodeActivity {
    const { wal, host, chores, replica, identity, links } = this.#parts;
    const { lastIndex, progress } = replica.raft.status();
    return {
      ...this.database.activity,
      wal: wal.stats,
      groups: wal.groupStats.map((group) => ({
        ...group,
        isLagging: group.backlogBytes > chores.lagBytes,
      })),
      readysOnTheirWay: host.readysOnTheirWay,
      roundTrips: (links?.status() ?? []).flatMap(({ id, roundTripMs }) =>
        roundTripMs === null || replica.raft.role !== "leader"
          ? []
          : [{ member: id, durationMs: roundTripMs }],
      ),
      followers: progress
        .filter(({ id }) => id !== identity.memberId)
        .map(({ id, match, state, needsSnapshot }) => ({
          member: id,
          lagEntries: lastIndex - match,
          needsSnapshot: needsSnapshot || state === "snapshot",
        })),
    };
  }

  get snapshotStats(): SnapshotStats {
    return this.#parts.snapshots.stats;
  }

  /** Snapshots that members that were too far behind have pulled from this one; null when it is alone. */
  get snapshotsSent(): SnapshotServerStats | null {
    return this.#parts.links?.snapshotStats ?? null;
  }

  /** Snapshots of other members that took the place of the state here; null when it is alone. */
  get snapshotsInstalled(): InstallStats | null {
    return this.#parts.installer?.stats ?? null;
  }

  /** Whether this member takes part, and how often it did not; null: it is alone. */
  get quarantineStats(): QuarantineStats | null {
    return this.#parts.quarantine?.stats ?? null;
  }

  /** Makes a snapshot of what is applied now, under `snap/`. */
  snapshot(done: SnapshotDone): void {
    this.#parts.snapshots.make(done);
  }

  /** As `snapshot`, and opens it for reading. */
  openSnapshot(done: (error: HarmonyError | null, reader: SnapshotReader | null) => void): void {
    this.#parts.snapshots.open(done);
  }

  /** Makes a checkpoint now. */
  checkpoint(done: (error: HarmonyError | null) => void): void {
    this.#parts.chores.checkpoint(done);
  }

  /** Syncs the log: what was acknowledged is durable then, in every mode. A failure has ended the node. */
  sync(done: (error: HarmonyError | null) => void): void {
    runIo(this.#parts.wal.sync(), (error) => {
      done(error === null ? null : new HarmonyError("STOPPED", undefined, { cause: error }));
    });
  }

  /**
   * Finishes what is on its way, syncs, marks the log as cleanly ended, and gives the directory back. Closing again
   * waits for the same end. Throws what went wrong with a file; TIMEOUT when the disk does not answer: then everybody
   * who waited has been answered, but the directory stays locked until the disk does answer or the process ends.
   */
  *close(): Io<void> {
    this.#closing ??= this.#startClosing();
    const ending = this.#closing;
    if (!ending.isOver) yield callback((done) => ending.waiting.push(done));
    if (ending.error !== null) throw ending.error;
  }

  #startClosing(): Ending {
    const { timers } = this.#parts.env;
    const ending: Ending = { isOver: false, error: null, waiting: [] };
    const end = (error: unknown): void => {
      timer.cancel();
      if (ending.isOver) return;
      ending.isOver = true;
      ending.error = error;
      for (const done of ending.waiting.splice(0)) done();
    };
    // In looks: a process that was stopped meanwhile hears its timer before the disk, and has waited for one look only.
    let looksLeft = CLOSE_LOOKS;
    const look = (): void => {
      looksLeft -= 1;
      if (looksLeft > 0) timer = timers.after(CLOSE_LOOK_MS, look);
      else end(new HarmonyError("TIMEOUT", "closing: the disk does not answer"));
    };
    let timer = timers.after(CLOSE_LOOK_MS, look);
    runIo(this.#closeSteps(), end);
    return ending;
  }

  *#closeSteps(): Io<void> {
    const { host, chores, snapshots, wal, engine, votes, lock, env, failure, links } = this.#parts;
    const { identity, dataDir, durability, installer, introduction, quarantine } = this.#parts;
    const failedBefore = failure.error;
    const closed = new HarmonyError("CLOSED");
    this.database.close(closed);
    installer?.stop();
    quarantine?.stop();
    chores.stop();
    introduction.stop();
    snapshots.stop();
    if (links !== null && failure.error === null)
      yield callback((done) => handOver(this.#parts, done));
    // In a turn of its own: who closes because of a failure may do so from within the write that failed.
    yield callback((done) => env.timers.soon(done));
    yield callback((done) => whenIdle(env, host, done));
    const unsaved = failure.error === null ? host.takeUnsaved() : [];
    host.stop(closed);
    links?.end();
    this.database.end();
    if (installer !== null) yield callback((done) => installer.whenQuiet(done));
    if (links !== null) yield callback((done) => links.whenQuiet(done));
    yield callback((done) => chores.whenQuiet(done));
    yield callback((done) => snapshots.whenQuiet(done));
    // Not waited for: on a full disk the log drops it at its close, and a commit is found out again anyway.
    if (unsaved.length > 0 && wal.failed === null) wal.append(unsaved, () => {}, { reserve: true });
    let failed: unknown = null;
    const steps: readonly Closing[] = [
      () => wal.close(),
      () => votes.close(),
      () => engine.close(),
      function* () {
        const isSynced = failed === null && failure.error === null && wal.failed === null;
        if (durability.mode === "interval" && isSynced) yield* endRun(env, dataDir, identity);
      },
      function* () {
        yield (done) => lock.release(done);
      },
    ];
    for (const step of steps) {
      try {
        yield* step();
      } catch (error) {
        failed ??= error instanceof FileError ? translateFileError(error) : error;
      }
    }
    // Whoever closes is told of a failure that came with the closing; of an earlier one the node has told already.
    if (failedBefore === null) failed = failure.error ?? failed;
    if (failed !== null) throw failed;
  }
}

/** A closing that several may wait for. */
interface Ending {
  isOver: boolean;
  error: unknown;
  readonly waiting: (() => void)[];
}

/** A file operation that failed at a start or a close, in the words of the catalogue. */
export function translateFileError(error: FileError): HarmonyError {
  return new HarmonyError(error.isFull ? "DISK_FULL" : "IO", error.message, { cause: error });
}

function callback(start: (done: () => void) => void): IoStep {
  return (done) => start(() => done(null, undefined));
}

const IDLE_POLL_MS = 1;
const IDLE_WAIT_MS = 4_000;
/** A large checkpoint may take its time; a disk that is silent for 30 s is stuck. */
const CLOSE_LOOK_MS = 5_000;
const CLOSE_LOOKS = 6;

/** What a hand-over may take: after it the others find a leader by themselves. */
const HAND_OVER_MS = 3_000;
/** Nothing handed over for so long: the others have heard who leads now. */
const LAST_COMMAND_MS = 250;

/**
 * A leader that goes lets another lead first: otherwise everybody waits for an election timeout (fault-rules O10). Who has
 * not heard of the next one yet still hands his commands to this one. While it is there it declines them, so they go on to
 * the next; once it is gone nobody knows what became of them. So it stays until no more come.
 */
function handOver({ env, host, replica }: NodeParts, done: () => void): void {
  const { raft } = replica;
  if (raft.role !== "leader" || host.stopped !== null || !replica.handOver()) {
    done();
    return;
  }
  host.wake();
  const untilMs = env.clock.monotonicMs() + HAND_OVER_MS;
  let handedOver = replica.commandsHandedOver;
  let lastMs = env.clock.monotonicMs();
  const look = (): void => {
    const nowMs = env.clock.monotonicMs();
    if (raft.role === "leader" || replica.commandsHandedOver !== handedOver) {
      handedOver = replica.commandsHandedOver;
      lastMs = nowMs;
    }
    const isOver = nowMs - lastMs >= LAST_COMMAND_MS || nowMs > untilMs;
    if (isOver || host.stopped !== null) done();
    else env.timers.after(IDLE_POLL_MS, look);
  };
  look();
}

/** Waits until nothing is on its way, but not for ever: a stuck disk must not keep the process from ending. */
function whenIdle(env: Env, host: ReplicaHost, done: () => void): void {
  const untilMs = env.clock.monotonicMs() + IDLE_WAIT_MS;
  const look = (): void => {
    if (host.isIdle || host.stopped !== null || env.clock.monotonicMs() > untilMs) done();
    else env.timers.after(IDLE_POLL_MS, look);
  };
  look();
}

/** `Node.close` as a promise. */
export function stopNode(node: Node): Promise<void> {
  return asPromise(node.close());
}

/** Runs `io` and makes a promise of its end. */
export function asPromise<T>(io: Io<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    runIo(io, (error, value) => {
      if (error !== null) {
        assert(error instanceof Error, "an Io throws errors");
        reject(error);
      } else {
        resolve(value as T);
      }
    });
  });
}
