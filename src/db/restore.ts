/**
 * From a snapshot to a new data directory: a backup becomes a node of its own, in a cluster of its own.
 *
 * Cluster and member get new ids, made of the snapshot's digest besides what ids are always made of: nothing of the
 * cluster that the snapshot came from takes the new node for one of its members, and all members of a new cluster that
 * are restored from the same file agree. The log begins behind the entry that the snapshot ends at, as after an install,
 * so terms and indexes go on. VERSION is written last: without it the directory is none.
 *
 * A directory that exists is refused, whatever it holds.
 */
import { HarmonyError, writeU64 } from "../base/index.ts";
import { BTreeEngine } from "../btree/index.ts";
import {
  closeFile,
  type Env,
  FileError,
  type Io,
  lockDirectory,
  makeDirectory,
  openFile,
} from "../env/index.ts";
import type { ConfState } from "../raft/index.ts";
import {
  loadSnapshot,
  type SnapshotInfo,
  SnapshotStore,
  verifySnapshot,
} from "../snapshot/index.ts";
import { VoteFile, Wal } from "../wal/index.ts";
import { encodeCheckpointPayload } from "./checkpoint-payload.ts";
import {
  bootstrapIdentity,
  type Identity,
  makeInnerDirectories,
  makePathDurable,
  writeVersion,
} from "./data-directory.ts";
import { translateFileError } from "./node.ts";
import { SEGMENT_DEFAULT_BYTES } from "./node-options.ts";
import { GROUP } from "./open-storage.ts";
import { DEFAULT_RETENTION } from "./retention.ts";
import { KvStateMachine } from "./state-machine.ts";

export interface RestoreOptions {
  /** The snapshot. */
  readonly file: string;
  /** Must not exist. */
  readonly dataDir: string;
  readonly name?: string | undefined;
  readonly peerUrls?: readonly string[] | undefined;
  readonly clusterToken?: string | undefined;
  /**
   * Goes on so many revisions later, so that whoever kept revisions of the old cluster, or its fencing tokens, meets
   * none of them a second time with other data.
   */
  readonly bumpRevisions?: number | undefined;
  /** Marks everything before as compacted: a watch that goes on from an old revision is told instead of missing news. */
  readonly markCompacted?: boolean | undefined;
  readonly walSegmentBytes?: number | undefined;
}

/** What the new directory is. */
export interface Restored {
  readonly clusterId: number;
  readonly memberId: number;
  readonly revision: number;
  readonly keys: number;
}

/** What a snapshot says of itself, after all of it has been checked. */
export interface SnapshotReport {
  readonly clusterId: number;
  readonly index: number;
  readonly term: number;
  readonly revision: number;
  readonly compactRevision: number;
  readonly stateHash: number;
  readonly createdMs: number;
  readonly keys: number;
  /** In all trees: history, events, leases and deadlines too. */
  readonly entries: number;
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
}

const KEYS_TREE = 0;

/** Checks a snapshot and says what it is. Throws NOT_A_SNAPSHOT, NEWER_FORMAT, CORRUPT, IO. */
export function* inspectSnapshot(env: Env, path: string): Io<SnapshotReport> {
  try {
    const { header, entries, sizeBytes, sha256 } = yield* check(env, path);
    return {
      clusterId: header.clusterId,
      index: header.meta.index,
      term: header.meta.term,
      revision: header.revision,
      compactRevision: header.compactRevision,
      stateHash: header.stateHash,
      createdMs: header.createdMs,
      keys: header.sections.find(({ id }) => id === KEYS_TREE)?.count ?? 0,
      entries,
      sizeBytes,
      sha256,
    };
  } catch (error) {
    throw error instanceof FileError ? translateFileError(error) : error;
  }
}

function* check(env: Env, path: string): Io<SnapshotInfo> {
  const file = yield* openFile(env.files, path, { access: "read" });
  try {
    return yield* verifySnapshot(file, env.sha256());
  } finally {
    yield* closeFile(file);
  }
}

/**
 * Makes the directory. `made` is called when it is there: after an error that comes later the caller removes it, with
 * everything in it. Throws as `inspectSnapshot`, INVALID_ARGUMENT for one that exists, DISK_FULL.
 */
export function* restoreSnapshot(
  env: Env,
  options: RestoreOptions,
  made: () => void,
): Io<Restored> {
  const { dataDir } = options;
  try {
    const info = yield* check(env, options.file);
    yield* makeNewDirectory(env, dataDir);
    made();
    return yield* fill(env, options, info);
  } catch (error) {
    throw error instanceof FileError ? translateFileError(error) : error;
  }
}

function* makeNewDirectory(env: Env, dataDir: string): Io<void> {
  try {
    yield* makeDirectory(env.files, dataDir);
  } catch (error) {
    if (!(error instanceof FileError) || error.code !== "EEXIST") throw error;
    throw new HarmonyError(
      "INVALID_ARGUMENT",
      `${dataDir} exists: a snapshot is restored into a directory that is made for it`,
      { cause: error },
    );
  }
  yield* makePathDurable(env.files, dataDir);
}

function* fill(env: Env, options: RestoreOptions, info: SnapshotInfo): Io<Restored> {
  const { files } = env;
  const { dataDir } = options;
  const lock = yield* lockDirectory(files, dataDir);
  try {
    yield* makeInnerDirectories(files, dataDir);
    const identity = bootstrapIdentity(env, {
      name: options.name ?? "default",
      peerUrls: options.peerUrls ?? [],
      clusterToken: options.clusterToken,
      restoredFrom: info.sha256,
    });
    const { engine } = yield* BTreeEngine.open(files, `${dataDir}/db/${GROUP}.hdb`, {
      fileId: identity.walId,
      create: "if-missing",
    });
    try {
      const machine = yield* load(env, options, engine);
      const { name = "default", peerUrls = [] } = options;
      machine.beginCluster([
        { id: identity.memberId, name, peerUrls, clientUrls: [], isLearner: false },
      ]);
      yield* makeLog(env, options, identity, engine, machine);
      yield* writeVersion(files, dataDir, identity);
      const { clusterId, memberId } = identity;
      return { clusterId, memberId, revision: machine.revision, keys: machine.keyCount };
    } finally {
      yield* engine.close();
    }
  } finally {
    yield (done) => lock.release(done);
  }
}

/** The trees, and the machine on them, at the revision that was asked for. */
function* load(env: Env, options: RestoreOptions, engine: BTreeEngine): Io<KvStateMachine> {
  const file = yield* openFile(env.files, options.file, { access: "read" });
  let info: SnapshotInfo;
  try {
    info = yield* loadSnapshot(file, () => env.sha256(), engine);
  } finally {
    yield* closeFile(file);
  }
  const { meta, machine: payload } = info.header;
  const machine = new KvStateMachine(
    engine,
    { payload, appliedIndex: meta.index, appliedTerm: meta.term },
    DEFAULT_RETENTION,
  );
  const { bumpRevisions = 0, markCompacted = false } = options;
  if (bumpRevisions > 0 || markCompacted) {
    machine.continueFrom(machine.revision + bumpRevisions, markCompacted);
  }
  return machine;
}

/**
 * Log, votes and first checkpoint, as an install leaves them: a snapshot of what the trees are now is durable, a record
 * names it, and the data file has taken it over.
 */
function* makeLog(
  env: Env,
  options: RestoreOptions,
  identity: Identity,
  engine: BTreeEngine,
  machine: KvStateMachine,
): Io<void> {
  const { dataDir } = options;
  const { clusterId, memberId } = identity;
  const confState: ConfState = {
    voters: [memberId],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const meta = { index: machine.appliedIndex, term: machine.appliedTerm, confState };
  const store = yield* SnapshotStore.open(env, dataDir);
  const version = engine.pin();
  const snapshot = yield* store.create(version, {
    clusterId,
    group: GROUP,
    meta,
    revision: machine.revision,
    compactRevision: machine.compactRevision,
    clockMs: machine.clockMs,
    stateHash: machine.stateHash,
    createdMs: Math.max(0, Math.floor(env.clock.wallMs())),
    machine: machine.payload(),
  });
  version.release();
  const walIdentity = { clusterId: new Uint8Array(8), memberId, walId: identity.walId };
  writeU64(walIdentity.clusterId, 0, clusterId);
  const walOptions = {
    directory: dataDir,
    segmentSizeBytes: options.walSegmentBytes ?? SEGMENT_DEFAULT_BYTES,
  };
  const hardState = { term: meta.term, vote: 0, commit: meta.index };
  const wal = yield* Wal.create(env, walOptions, walIdentity);
  try {
    yield (done) => {
      const batch = [
        { group: GROUP, snapshot: { ...snapshot, installed: true }, entries: [], hardState },
      ];
      // Errors of the log travel through an Io as they are; the type of the channel is the file's.
      wal.append(batch, (error) => done(error as unknown as FileError | null, undefined));
    };
    const state = { term: meta.term, vote: 0, incarnation: 1 };
    const votes = yield* VoteFile.create(env, walOptions, walIdentity, new Map([[GROUP, state]]));
    yield* votes.close();
    yield* engine.checkpoint({
      appliedIndex: meta.index,
      appliedTerm: meta.term,
      walLsn: wal.durableLsn,
      payload: encodeCheckpointPayload({ incarnation: 1, confState, machine: machine.payload() }),
    });
  } finally {
    yield* wal.close();
  }
}
