/**
 * A snapshot from a leader in the place of what a replica has (fault-rules D28, D29):
 *
 *     file checked ─▶ file durable under its name ─▶ record durable in the log ─▶ data file swapped ─▶ older files deleted
 *
 * Before the record everything is as it was; from the record on the snapshot counts, and what is missing of the swap is
 * made up for by the next start (`takeOver`), from the file that the record names. The new data file is made before the
 * record and swapped by a rename, so there is never half of one. The old log goes with the record, and not before.
 */
import { assert, HarmonyError } from "../base/index.ts";
import { BTreeEngine } from "../btree/index.ts";
import {
  closeFile,
  type Env,
  type Files,
  type Io,
  openFile,
  renameFile,
  syncDirectory,
  syncFile,
  unlinkIfThere,
} from "../env/index.ts";
import type { GroupId, LogIndex } from "../raft/index.ts";
import type { SnapshotRecord } from "../wal/index.ts";
import type { SnapshotHeader } from "./format.ts";
import { loadSnapshot } from "./load.ts";
import { type SnapshotInfo, verifySnapshot } from "./reader.ts";
import type { SnapshotStore } from "./store.ts";

/** How a data file is made of a snapshot. */
export interface BuildOptions {
  readonly env: Env;
  /** The data directory. */
  readonly directory: string;
  readonly group: GroupId;
  /** Whose file it is, as the node opens it. */
  readonly fileId: Uint8Array;
  /** The log is durable at least to here. */
  readonly walLsn: number;
  /** Through which the snapshot is read when trees are made of it; absent: `env`'s. */
  readonly loadThrough?: Files | undefined;
  /** What the checkpoint has to say of itself besides index and term. */
  readonly payload: (header: SnapshotHeader) => Uint8Array;
}

export interface PrepareOptions extends BuildOptions {
  readonly store: SnapshotStore;
  readonly clusterId: number;
  /** What is committed here: a snapshot that does not pass it is refused. */
  readonly commit: LogIndex;
}

export interface InstallOptions extends PrepareOptions {
  /** How many snapshots are kept. */
  readonly keep: number;
  /** Makes the record durable, and with it a HardState that commits what it covers. Throws when the log has failed. */
  readonly record: (record: SnapshotRecord) => Io<void>;
}

/**
 * Everything of an install that may be refused or find no room, and that a running node goes on beside: the snapshot that
 * has arrived at `temporary` under `tmp/` is checked, durable under its name, and the new data file is made. Returns what
 * the log is to say; when it does, `swapDataFile` follows. Throws as `installSnapshot`.
 */
export function* prepareInstall(temporary: string, options: PrepareOptions): Io<SnapshotRecord> {
  const { env, store, group } = options;
  const newFile = newDataFile(options);
  try {
    const checked = yield* checkArrived(temporary, options);
    const { header, sizeBytes, sha256 } = checked;
    const { index, term } = header.meta;
    yield* buildDataFile(temporary, newFile, checked, options);
    const fileName = yield* store.keep(temporary, { group, index, term });
    return { meta: header.meta, fileName, sizeBytes, sha256, installed: true };
  } catch (error) {
    // Under the second name it was about to be made.
    for (const path of [temporary, newFile, `${newFile}.new`])
      yield* unlinkIfThere(env.files, path);
    throw error;
  }
}

/** What was prepared has been overtaken. The snapshot stays as one more. */
export function* abandonInstall(options: BuildOptions): Io<void> {
  yield* unlinkIfThere(options.env.files, newDataFile(options));
}

/**
 * Installs the snapshot that has arrived at `temporary` under `tmp/`. The engine of the old data file must not make a
 * checkpoint meanwhile, and is replaced by one on the new file afterwards. Throws NOT_A_SNAPSHOT, NEWER_FORMAT, CORRUPT,
 * SNAPSHOT_MISMATCH, FileError: the old state stays, and the file that arrived is removed.
 */
export function* installSnapshot(temporary: string, options: InstallOptions): Io<SnapshotRecord> {
  const { store, group } = options;
  const record = yield* prepareInstall(temporary, options);
  yield* options.record(record);
  yield* swapDataFile(options);
  yield* store.prune(group, options.keep, record.fileName);
  return record;
}

/**
 * At a start: the log names an installed snapshot that the data file has not taken over. Makes the data file of it. The
 * old one must not be open. Throws CORRUPT when the snapshot is not there as the record says: then nothing is.
 */
export function* takeOver(
  record: SnapshotRecord,
  options: BuildOptions & { readonly store: SnapshotStore },
): Io<void> {
  const { store, group } = options;
  assert(record.installed, "what was taken here is in the data file or the log");
  const checked = yield* store.check(record, group);
  yield* buildDataFile(checked.path, newDataFile(options), checked, options);
  yield* swapDataFile(options);
}

/** Where the new data file is made. */
function newDataFile({ directory, group }: BuildOptions): string {
  return `${directory}/tmp/${group}.hdb`;
}

/** Everything that may be wrong with what another node sent, before anything is made of it. */
function* checkArrived(temporary: string, options: PrepareOptions): Io<SnapshotInfo> {
  const file = yield* openFile(options.env.files, temporary, { access: "readwrite" });
  try {
    const info = yield* verifySnapshot(file, options.env.sha256());
    const { clusterId, group, meta } = info.header;
    const refuse = (what: string): never => {
      throw new HarmonyError("SNAPSHOT_MISMATCH", `${temporary} ${what}`);
    };
    if (clusterId !== options.clusterId) refuse(`is of cluster ${clusterId}`);
    if (group !== options.group) refuse(`is of group ${group}`);
    if (meta.index <= options.commit) {
      refuse(`ends at entry ${meta.index}, and entry ${options.commit} is committed here`);
    }
    yield* syncFile(file);
    return info;
  } finally {
    yield* closeFile(file);
  }
}

/** A durable data file at `path` whose newest checkpoint is the snapshot. */
function* buildDataFile(
  snapshot: string,
  path: string,
  checked: SnapshotInfo,
  options: BuildOptions,
): Io<void> {
  const { env, fileId, walLsn, payload } = options;
  const { files } = env;
  const { loadThrough = files } = options;
  // What is left of an earlier attempt may hold pages of another state.
  yield* unlinkIfThere(files, path);
  const { engine } = yield* BTreeEngine.open(files, path, { fileId, create: "if-missing" });
  try {
    const file = yield* openFile(loadThrough, snapshot, { access: "read" });
    let header: SnapshotHeader;
    try {
      ({ header } = yield* loadSnapshot(file, () => env.sha256(), engine, checked));
    } finally {
      yield* closeFile(file);
    }
    const { index, term } = header.meta;
    const meta = { appliedIndex: index, appliedTerm: term, walLsn, payload: payload(header) };
    yield* engine.checkpoint(meta);
  } finally {
    yield* engine.close();
  }
}

/** The data file that was prepared takes the place of the old one. The log names its snapshot. */
export function* swapDataFile(options: BuildOptions): Io<void> {
  const { env, directory, group } = options;
  const { files } = env;
  yield* renameFile(files, newDataFile(options), `${directory}/db/${group}.hdb`);
  yield* syncDirectory(files, `${directory}/db`);
  yield* syncDirectory(files, `${directory}/tmp`);
}
