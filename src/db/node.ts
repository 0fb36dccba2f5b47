/**
 * A node: its directory, log, trees and groups put together, and taken apart again. Recovery follows architecture
 * section 9 step by step; ready means that the first entry of the node's own term is applied, so everything that was
 * ever acknowledged can be read.
 */
import { assert, CorruptionError, HarmonyError, writeU64 } from "../base/index.ts";
import { BTreeEngine, type Engine } from "../btree/index.ts";
import {
  type DirectoryLock,
  type Env,
  FileError,
  type Io,
  type IoStep,
  listDirectory,
  runIo,
} from "../env/index.ts";
import { type ConfState, type HardState, RawNode } from "../raft/index.ts";
import { GroupClock, Replica, ReplicaHost } from "../replica/index.ts";
import { decideVote, VoteFile, Wal, type WalIdentity, type WalRecovery } from "../wal/index.ts";
import { decodeCheckpointPayload, encodeCheckpointPayload } from "./checkpoint-payload.ts";
import { type CheckpointTriggers, Chores, DEFAULT_CHECKPOINTS } from "./chores.ts";
import {
  assertOursOrEmpty,
  bootstrapIdentity,
  type Identity,
  lockDataDirectory,
  makeDataDirectory,
  makeInnerDirectories,
  makePathDurable,
  readVersion,
  removeUnfinishedData,
  writeVersion,
} from "./data-directory.ts";
import { KvDatabase } from "./kv-database.ts";
import type { Outcome } from "./requests.ts";
import { DEFAULT_RETENTION, type RetentionSettings } from "./retention.ts";
import { KvStateMachine } from "./state-machine.ts";

const GROUP = 0;

export interface NodeOptions {
  readonly dataDir: string;
  readonly name?: string | undefined;
  /** What the node tells others to use; it listens on nothing by itself. */
  readonly clientUrls?: readonly string[] | undefined;
  readonly peerUrls?: readonly string[] | undefined;
  /** Given: a directory that was created with another token is refused. */
  readonly clusterToken?: string | undefined;
  readonly heartbeatIntervalMs?: number | undefined;
  readonly electionTimeoutMs?: number | undefined;
  readonly walSegmentBytes?: number | undefined;
  readonly checkpoints?: CheckpointTriggers | undefined;
  readonly retention?: RetentionSettings | undefined;
  /** Bytes in use at which puts are refused; 0 for none. */
  readonly quotaBytes?: number | undefined;
  readonly maxRequestBytes?: number | undefined;
  readonly maxTxnOps?: number | undefined;
  readonly requestTimeoutMs?: number | undefined;
}

/** What a start found and did (requirements S4-50). */
export interface RecoveryStats {
  /** A checkpoint was there to begin from. */
  readonly snapshotLoaded: boolean;
  /** Keys in it. */
  readonly snapshotEntries: number;
  /** Commands applied from the log beyond it. */
  readonly walEntriesReplayed: number;
  /** Damaged places below the proven point. A node alone does not start with any, so 0 whenever there is an answer. */
  readonly corruptedEntries: number;
  readonly durationMs: number;
}

const SECONDS_MS = 1000;
const TICK_DEFAULT_MS = 100;
const ELECTION_DEFAULT_MS = 1000;
const SEGMENT_DEFAULT_BYTES: number = 64 * 1024 * 1024;
const QUOTA_DEFAULT_BYTES: number = 2 * 1024 * 1024 * 1024;
const REQUEST_DEFAULT_BYTES: number = 1536 * 1024;
const TXN_OPS_DEFAULT = 128;

export class Node {
  readonly identity: Identity;
  readonly database: KvDatabase;
  readonly recovery: RecoveryStats;
  /** What the log looked like at the start; null for a new one. */
  readonly log: WalRecovery | null;
  readonly #parts: Parts;
  #closing: Ending | null = null;

  /** Use `openNode`. */
  constructor(
    parts: Parts,
    database: KvDatabase,
    recovery: RecoveryStats,
    log: WalRecovery | null,
  ) {
    this.#parts = parts;
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

  /** Makes a checkpoint now. */
  checkpoint(done: (error: HarmonyError | null) => void): void {
    this.#parts.chores.checkpoint(done);
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
    const timer = timers.after(CLOSE_WAIT_MS, () =>
      end(new HarmonyError("TIMEOUT", "closing: the disk does not answer")),
    );
    runIo(this.#closeSteps(), end);
    return ending;
  }

  *#closeSteps(): Io<void> {
    const { host, chores, wal, engine, votes, lock, env, failure } = this.#parts;
    const failedBefore = failure.error;
    const closed = new HarmonyError("CLOSED");
    this.database.close(closed);
    chores.stop();
    // In a turn of its own: who closes because of a failure may do so from within the write that failed.
    yield callback((done) => env.timers.soon(done));
    yield callback((done) => whenIdle(env, host, done));
    const unsaved = failure.error === null ? host.takeUnsaved() : [];
    host.stop(closed);
    this.database.end();
    yield callback((done) => chores.whenQuiet(done));
    // Not waited for: on a full disk the log drops it at its close, and a commit is found out again anyway.
    if (unsaved.length > 0 && wal.failed === null) wal.append(unsaved, () => {}, { reserve: true });
    let failed: unknown = null;
    const steps: readonly Closing[] = [
      () => wal.close(),
      () => votes.close(),
      () => engine.close(),
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

interface Parts {
  readonly env: Env;
  readonly identity: Identity;
  readonly lock: DirectoryLock;
  readonly wal: Wal;
  readonly votes: VoteFile;
  readonly engine: Engine;
  readonly host: ReplicaHost;
  readonly replica: Replica<Outcome>;
  readonly chores: Chores;
  readonly failure: Failure;
}

interface Failure {
  error: HarmonyError | null;
  listeners: ((error: HarmonyError) => void)[];
}

/** Opens a node on its directory; creates both at the first start. Throws HarmonyError, CorruptionError among them. */
export function* openNode(env: Env, options: NodeOptions): Io<Node> {
  const startedAtMs = env.clock.monotonicMs();
  assertOptions(options);
  const opened: Closing[] = [];
  try {
    yield* makeDataDirectory(env.files, options.dataDir);
    const lock = yield* lockDataDirectory(env.files, options.dataDir);
    opened.push(function* () {
      yield (done) => lock.release(done);
    });
    return yield* openLocked(env, options, lock, startedAtMs, opened);
  } catch (error) {
    // What was opened is closed again; the error that ended the start is the one that counts.
    for (const close of opened.toReversed()) {
      try {
        yield* close();
      } catch (second) {
        env.log("warn", "node", "a file could not be closed after a failed start", {
          error: String(second),
        });
      }
    }
    throw error instanceof FileError ? translateFileError(error) : error;
  }
}

/** Refuses sizes and times that are none, before anything is made of them. */
function assertOptions(options: NodeOptions): void {
  const { walSegmentBytes: segmentBytes, checkpoints, retention } = options;
  const numbers: Readonly<Record<string, number | undefined>> = {
    heartbeatIntervalMs: options.heartbeatIntervalMs,
    electionTimeoutMs: options.electionTimeoutMs,
    quotaBytes: options.quotaBytes,
    maxRequestBytes: options.maxRequestBytes,
    maxTxnOps: options.maxTxnOps,
    requestTimeoutMs: options.requestTimeoutMs,
    ...checkpoints,
    ...retention,
  };
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0))
      throw new HarmonyError("INVALID_ARGUMENT", `${name} is a whole number from 0, not ${value}`);
  }
  if (options.heartbeatIntervalMs === 0 || options.electionTimeoutMs === 0)
    throw new HarmonyError(
      "INVALID_ARGUMENT",
      "heartbeatIntervalMs and electionTimeoutMs are more than 0",
    );
  if (segmentBytes !== undefined && !(segmentBytes >= 4096 && segmentBytes % 512 === 0))
    throw new HarmonyError(
      "INVALID_ARGUMENT",
      `walSegmentBytes is a multiple of 512 from 4096, not ${segmentBytes}`,
    );
}

/** A file operation that failed at a start, in the words of the catalogue. */
function translateFileError(error: FileError): HarmonyError {
  return new HarmonyError(error.isFull ? "DISK_FULL" : "IO", error.message, { cause: error });
}

/** In a directory that has its VERSION nothing may be missing. */
function* orMissing<T>(io: Io<T>): Io<T> {
  try {
    return yield* io;
  } catch (error) {
    if (!(error instanceof FileError) || error.code !== "ENOENT") throw error;
    throw new CorruptionError(
      {
        file: error.path,
        offset: 0,
        what: "it is missing: put it back from a copy of this directory",
      },
      { cause: error },
    );
  }
}

type Closing = () => Io<void>;

function* openLocked(
  env: Env,
  options: NodeOptions,
  lock: DirectoryLock,
  startedAtMs: number,
  opened: Closing[],
): Io<Node> {
  const { dataDir } = options;
  const { identity, isNew } = yield* identify(env, options);
  const walOptions = {
    directory: dataDir,
    segmentSizeBytes: options.walSegmentBytes ?? SEGMENT_DEFAULT_BYTES,
  };
  const walIdentity = {
    clusterId: idBytes(identity.clusterId),
    memberId: identity.memberId,
    walId: identity.walId,
  };
  const dataFile = `${dataDir}/db/${GROUP}.hdb`;
  // The order of a first start: the log, the votes, the data file. `createLog` relies on it.
  let wal: Wal | null = null;
  let votes: VoteFile | null = null;
  let log: WalRecovery | null = null;
  const closeVotes: Closing = function* () {
    if (votes !== null) yield* votes.close();
  };
  if (isNew) {
    const created = yield* createLog(env, walOptions, walIdentity);
    opened.push(() => created.close());
    wal = created;
    votes = yield* VoteFile.create(env, walOptions, walIdentity);
    opened.push(closeVotes);
  }
  const { engine, usedOlderMeta } = yield* orMissing(
    BTreeEngine.open(env.files, dataFile, {
      fileId: identity.walId,
      create: isNew ? "if-missing" : "no",
    }),
  );
  opened.push(() => engine.close());
  const { newest, older } = engine.checkpoints;
  const payload =
    newest === null || newest.payload.length === 0
      ? null
      : decodeCheckpointPayload(newest.payload, dataFile);
  if (!isNew && payload === null) {
    // The settings came with the very first checkpoint: without it the log would be replayed under today's flags.
    throw new CorruptionError({
      file: dataFile,
      offset: 0,
      what: "the first checkpoint, which holds the settings of the database, is damaged",
    });
  }
  const machine = new KvStateMachine(
    engine,
    newest === null || payload === null
      ? null
      : {
          payload: payload.machine,
          appliedIndex: newest.appliedIndex,
          appliedTerm: newest.appliedTerm,
        },
    options.retention ?? DEFAULT_RETENTION,
  );
  const snapshotEntries = machine.keyCount;
  const confState: ConfState = payload?.confState ?? {
    voters: [identity.memberId],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const start = {
    group: GROUP,
    appliedIndex: newest?.appliedIndex ?? 0,
    appliedTerm: newest?.appliedTerm ?? 0,
    olderAppliedIndex: older?.appliedIndex ?? 0,
  };
  if (wal === null || votes === null) {
    const found = yield* orMissing(Wal.open(env, walOptions, walIdentity, [start]));
    opened.push(() => found.wal.close());
    wal = found.wal;
    log = found.recovery;
    votes = yield* VoteFile.open(env, walOptions, walIdentity);
    opened.push(closeVotes);
  }
  if (isNew) {
    // The settings of a new database are data from its first moment: a later start with other flags must not replay
    // its entries under other rules. VERSION is written last: with it the directory counts as one.
    yield* engine.checkpoint({
      appliedIndex: 0,
      appliedTerm: 0,
      walLsn: wal.durableLsn,
      payload: encodeCheckpointPayload({ incarnation: 1, confState, machine: machine.payload() }),
    });
    yield* writeVersion(env.files, dataDir, identity);
  }
  warnOfSettings(env, options.retention, machine.settings);

  const groupLog = wal.groupLog(GROUP);
  if (usedOlderMeta && groupLog.firstIndex() > start.appliedIndex + 1) {
    throw new CorruptionError({
      file: dataFile,
      offset: 0,
      what: `the newest checkpoint is damaged and the log begins at ${groupLog.firstIndex()}, after the older one's ${start.appliedIndex}`,
    });
  }
  const voted = decideVote(wal.hardState(GROUP), votes.read(GROUP), confState.voters.length === 1);
  if (voted === "corrupt") {
    throw new CorruptionError({
      file: `${dataDir}/VOTE`,
      offset: 0,
      what: "the votes cannot be read, or contradict the log: replace this member",
    });
  }
  const incarnation = Math.max(voted.incarnation, payload?.incarnation ?? 1);
  if (votes.lost) {
    env.log("warn", "node", "VOTE cannot be read: it is made anew from the log, in the next term", {
      file: `${dataDir}/VOTE`,
    });
    yield* votes.close();
    votes = yield* VoteFile.create(
      env,
      walOptions,
      walIdentity,
      new Map([[GROUP, { ...voted, incarnation }]]),
    );
  }
  const voteFile = votes;
  // A change of commit alone is not synced, so it may lag behind the checkpoint (fault-rules D20).
  const hardState: HardState = {
    term: voted.term,
    vote: voted.vote,
    commit: Math.max(wal.hardState(GROUP).commit, start.appliedIndex),
  };
  assertLogReaches(groupLog.lastIndex(), hardState.commit, dataFile);

  const tickMs = options.heartbeatIntervalMs ?? TICK_DEFAULT_MS;
  const electionMs = options.electionTimeoutMs ?? ELECTION_DEFAULT_MS;
  const rawNode = new RawNode({
    group: GROUP,
    id: identity.memberId,
    incarnation,
    storage: groupLog,
    hardState,
    confState,
    appliedIndex: start.appliedIndex,
    electionTicks: Math.max(2, Math.round(electionMs / tickMs)),
    heartbeatTicks: 1,
    seed: env.entropy.u32(),
    maxEntriesBytesPerMessage: 1024 * 1024,
    maxInflightMessages: 256,
    maxInflightBytes: 64 * 1024 * 1024,
    maxUncommittedBytes: 64 * 1024 * 1024,
    maxCommittedBytesPerReady: 4 * 1024 * 1024,
    preVote: true,
    checkQuorum: true,
  });

  const failure: Failure = { error: null, listeners: [] };
  let database: KvDatabase | null = null;
  const onFatal = (error: HarmonyError): void => {
    if (failure.error !== null) return;
    failure.error = error;
    host.stop(error);
    database?.close(replica.stopped ?? error);
    for (const listener of failure.listeners.splice(0)) {
      try {
        listener(error);
      } catch (thrown) {
        env.log("error", "node", "a listener of the node's end threw", { error: String(thrown) });
      }
    }
  };
  // Also a write that nobody waits for: a mark, a segment that is being prepared, the manifest.
  wal.onFailed = onFatal;
  const waiting: { ready: (() => void) | null } = { ready: null };
  const host = new ReplicaHost({
    env,
    wal,
    votes: voteFile,
    tickMs,
    onFatal,
    afterTurn: () => waiting.ready?.(),
  });
  const clock = new GroupClock(env.clock, machine.clockMs);
  const replica = new Replica<Outcome>({
    group: GROUP,
    rawNode,
    machine,
    clock,
    hardState,
    wake: () => host.wake(),
  });
  host.add(replica, incarnation);

  rawNode.campaign();
  host.wake();
  yield (done) => {
    failure.listeners.push((error) => {
      if (waiting.ready === null) return;
      waiting.ready = null;
      // In a turn of its own: it is told from within the very write that failed, and its file is closed next.
      env.timers.soon(() => done(asFileError(error), undefined));
    });
    waiting.ready = () => {
      if (!rawNode.leadsForSure || machine.appliedIndex < rawNode.commit) return;
      waiting.ready = null;
      done(null, undefined);
    };
  };
  // No running member kept time, so the group's clock goes on from the wall clock, never backwards.
  clock.adoptWallClock();

  database = new KvDatabase({
    env,
    replica,
    machine,
    engine,
    identity,
    name: options.name ?? "default",
    clientUrls: options.clientUrls ?? [],
    peerUrls: options.peerUrls ?? [],
    limits: {
      maxRequestBytes: options.maxRequestBytes ?? REQUEST_DEFAULT_BYTES,
      maxTxnOps: options.maxTxnOps ?? TXN_OPS_DEFAULT,
    },
    quotaBytes: options.quotaBytes ?? QUOTA_DEFAULT_BYTES,
    requestTimeoutMs: options.requestTimeoutMs ?? 5 * SECONDS_MS + 2 * electionMs,
    leaseTtlSecondsMin: Math.ceil((1.5 * electionMs) / SECONDS_MS),
    isDiskFull: () => wal.space === "full",
    onFatal,
  });
  const chores = new Chores({
    env,
    replica,
    machine,
    database,
    engine,
    wal,
    confState,
    incarnation,
    checkpoints: options.checkpoints ?? DEFAULT_CHECKPOINTS,
    retention: machine.settings,
    onFatal,
  });
  host.start();
  chores.start();
  const recovery: RecoveryStats = {
    snapshotLoaded: start.appliedIndex > 0,
    snapshotEntries,
    walEntriesReplayed: replica.commandsApplied,
    corruptedEntries: 0,
    durationMs: Math.round(env.clock.monotonicMs() - startedAtMs),
  };
  env.log(
    "info",
    "node",
    `Recovered ${snapshotEntries + recovery.walEntriesReplayed} entries in ${recovery.durationMs} ms`,
    { ...recovery },
  );
  return new Node(
    { env, identity, lock, wal, votes: voteFile, engine, host, replica, chores, failure },
    database,
    recovery,
    log,
  );
}

const AFTER_LOG: ReadonlySet<string> = new Set(["MANIFEST", "VOTE"]);

/** Refuses a log that holds anything: then the directory is no new one, and only its VERSION is missing. */
function* createLog(
  env: Env,
  options: { readonly directory: string; readonly segmentSizeBytes: number },
  identity: WalIdentity,
): Io<Wal> {
  const { directory } = options;
  const hadLog = (yield* listDirectory(env.files, `${directory}/wal`)).length > 0;
  const hadData = (yield* listDirectory(env.files, `${directory}/db`)).length > 0;
  const missing = (cause: unknown): CorruptionError =>
    new CorruptionError(
      {
        file: `${directory}/VERSION`,
        offset: 0,
        what: "VERSION is missing although the directory holds data: put it back from a copy of this directory",
      },
      { cause },
    );
  // A first start makes its log before anything else, so what stands without a log was never left by one.
  const hadRest = (yield* listDirectory(env.files, directory)).some((name) => AFTER_LOG.has(name));
  if ((hadData || hadRest) && !hadLog) throw missing(undefined);
  let wal: Wal;
  try {
    wal = yield* Wal.create(env, options, identity);
  } catch (error) {
    if (error instanceof HarmonyError && error.code === "CORRUPT") throw missing(error);
    throw error;
  }
  yield* removeUnfinishedData(env.files, directory);
  return wal;
}

function* identify(
  env: Env,
  options: NodeOptions,
): Io<{ readonly identity: Identity; readonly isNew: boolean }> {
  const { files } = env;
  const { dataDir } = options;
  const wanted = bootstrapIdentity(env, {
    name: options.name ?? "default",
    peerUrls: options.peerUrls ?? [],
    clusterToken: options.clusterToken,
  });
  const found = yield* readVersion(files, dataDir);
  if (found !== null) {
    if (options.clusterToken !== undefined && found.tokenDigest !== wanted.tokenDigest) {
      throw new HarmonyError(
        "WRONG_CLUSTER",
        `${dataDir} was created with another cluster token: choose its own directory for each cluster`,
      );
    }
    return { identity: found, isNew: false };
  }
  yield* assertOursOrEmpty(files, dataDir);
  yield* makePathDurable(files, dataDir);
  yield* makeInnerDirectories(files, dataDir);
  return { identity: wanted, isNew: true };
}

function assertLogReaches(lastIndex: number, commit: number, file: string): void {
  if (lastIndex < commit) {
    throw new CorruptionError({
      file,
      offset: 0,
      what: `entry ${commit} is committed and the log ends at ${lastIndex}`,
    });
  }
}

/** Retention belongs to the data (data-model.md): the flag only says with what a database is created. */
function warnOfSettings(
  env: Env,
  wanted: RetentionSettings | undefined,
  stored: RetentionSettings,
): void {
  if (wanted === undefined) return;
  if (
    wanted.retentionMs === stored.retentionMs &&
    wanted.retentionRevisions === stored.retentionRevisions
  )
    return;
  env.log("warn", "node", "the database keeps the retention that it was created with", {
    wanted,
    stored,
  });
}

function idBytes(id: number): Uint8Array {
  const out = new Uint8Array(8);
  writeU64(out, 0, id);
  return out;
}

function callback(start: (done: () => void) => void): IoStep {
  return (done) => start(() => done(null, undefined));
}

/** Errors of the node travel through an Io as they are; the type of the channel is the file's. */
function asFileError(error: Error | null): FileError | null {
  return error as FileError | null;
}

const IDLE_POLL_MS = 1;
const IDLE_WAIT_MS = 4_000;
/** A large checkpoint may take its time; a disk that is silent for so long is stuck. */
const CLOSE_WAIT_MS = 30_000;

/** Waits until nothing is on its way, but not for ever: a stuck disk must not keep the process from ending. */
function whenIdle(env: Env, host: ReplicaHost, done: () => void): void {
  const untilMs = env.clock.monotonicMs() + IDLE_WAIT_MS;
  const look = (): void => {
    if (host.isIdle || host.stopped !== null || env.clock.monotonicMs() > untilMs) done();
    else env.timers.after(IDLE_POLL_MS, look);
  };
  look();
}

/** `openNode` as a promise, for shells. */
export function startNode(env: Env, options: NodeOptions): Promise<Node> {
  return asPromise(openNode(env, options));
}

/** `Node.close` as a promise. */
export function stopNode(node: Node): Promise<void> {
  return asPromise(node.close());
}

function asPromise<T>(io: Io<T>): Promise<T> {
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
