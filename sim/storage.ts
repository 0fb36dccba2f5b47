/**
 * The storage of a node without the node: one log, the vote file, and a data file for each group, opened together as
 * a node opens them, and read back as plain data.
 */
import { CorruptionError } from "../src/base/index.ts";
import { BTreeEngine } from "../src/btree/index.ts";
import {
  closeFile,
  type Env,
  type Io,
  openFile,
  syncDirectory,
  makeDirectory,
  FileError,
} from "../src/env/index.ts";
import type { Entry, GroupId } from "../src/raft/index.ts";
import {
  type GroupStart,
  VoteFile,
  type VoteState,
  Wal,
  type WalRecovery,
} from "../src/wal/index.ts";
import { check } from "./violation.ts";

export const ROOT = "data";
export const TREES = 3;
const SLAB_BYTES = 16 * 1024;

export const NO_VOTE: VoteState = { term: 0, vote: 0, incarnation: 0 };

export interface Identity {
  readonly clusterId: Uint8Array;
  readonly memberId: number;
  readonly walId: Uint8Array;
}

export interface Storage {
  readonly wal: Wal;
  readonly votes: VoteFile;
  readonly engines: ReadonlyMap<GroupId, BTreeEngine>;
  readonly recovery: WalRecovery | null;
  /** Groups of which only one meta page was whole. */
  readonly onOlder: readonly GroupId[];
}

export interface StorageOptions {
  /** Whose directory it is; default 42. Another one stands for a node whose files got here by mistake. */
  readonly memberId?: number;
  readonly segmentSizeBytes: number;
  readonly groups: readonly GroupId[];
  readonly cacheBytes: number;
}

const MEMBER_ID = 42;

function identityOf({ memberId = MEMBER_ID }: StorageOptions): Identity {
  return {
    clusterId: new Uint8Array(8).fill(7),
    memberId,
    walId: new Uint8Array(16).fill(memberId),
  };
}

/** Makes the directory. A crash before its end leaves one that nobody uses: `CREATED` is written last. */
export function* createStorage(env: Env, options: StorageOptions): Io<Storage> {
  const identity = identityOf(options);
  yield* makeDirectory(env.files, ROOT);
  yield* syncDirectory(env.files, ".");
  for (const name of ["wal", "tmp", "db"]) yield* makeDirectory(env.files, `${ROOT}/${name}`);
  yield* syncDirectory(env.files, ROOT);
  const engines = new Map<GroupId, BTreeEngine>();
  for (const group of options.groups)
    engines.set(group, (yield* openEngine(env, options, group)).engine);
  const votes = yield* VoteFile.create(env, { directory: ROOT }, identity);
  const wal = yield* Wal.create(env, walOptions(options), identity);
  const marker = yield* openFile(env.files, `${ROOT}/CREATED`, {
    access: "readwrite",
    create: "exclusive",
  });
  yield* closeFile(marker);
  yield* syncDirectory(env.files, ROOT);
  return { wal, votes, engines, recovery: null, onOlder: [] };
}

/** Opens a directory that was created. Throws what a node would refuse with. */
export function* openStorage(env: Env, options: StorageOptions): Io<Storage> {
  const identity = identityOf(options);
  const engines = new Map<GroupId, BTreeEngine>();
  const starts: GroupStart[] = [];
  const onOlder: GroupId[] = [];
  for (const group of options.groups) {
    const { engine, usedOlderMeta } = yield* openEngine(env, options, group);
    engines.set(group, engine);
    const { newest, older } = engine.checkpoints;
    starts.push({
      group,
      appliedIndex: newest?.appliedIndex ?? 0,
      appliedTerm: newest?.appliedTerm ?? 0,
      olderAppliedIndex: older?.appliedIndex ?? 0,
    });
    if (usedOlderMeta) onOlder.push(group);
  }
  const votes = yield* VoteFile.open(env, { directory: ROOT }, identity);
  const { wal, recovery } = yield* Wal.open(env, walOptions(options), identity, starts);
  for (const group of onOlder) {
    const { newest } = (engines.get(group) as BTreeEngine).checkpoints;
    if (wal.groupLog(group).firstIndex() > (newest?.appliedIndex ?? 0) + 1)
      throw new CorruptionError({
        file: `${ROOT}/db/${group}.hdb`,
        offset: 0,
        what: "the log does not reach back to the older checkpoint",
      });
  }
  return { wal, votes, engines, recovery, onOlder };
}

export function* wasCreated(env: Env): Io<boolean> {
  try {
    const marker = yield* openFile(env.files, `${ROOT}/CREATED`, { access: "read" });
    yield* closeFile(marker);
    return true;
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return false;
    throw error;
  }
}

export function* closeStorage({ wal, votes, engines }: Storage): Io<void> {
  yield* wal.close();
  yield* votes.close();
  for (const engine of engines.values()) yield* engine.close();
}

/** Term, vote and incarnation of a group; null when the file is damaged and says so. */
export function voteOf(votes: VoteFile, group: GroupId): VoteState | null {
  const found = votes.read(group);
  if (found === "unreadable") return null;
  return found === "none" ? NO_VOTE : found;
}

/** The entries of a group's log, read in pieces as a leader would for a slow follower. */
export function entriesOf(wal: Wal, group: GroupId, maxBytes: number): Entry[] {
  const log = wal.groupLog(group);
  const out: Entry[] = [];
  for (let at = log.firstIndex(); at <= log.lastIndex();) {
    const piece = log.entries(at, log.lastIndex() + 1, maxBytes);
    check(piece.length > 0, "a log gives at least one entry", () => `group ${group} at ${at}`);
    for (const entry of piece) {
      check(
        log.term(entry.index) === entry.term,
        "a log knows the term of its entries",
        () => `group ${group}, entry ${entry.index}`,
      );
      out.push(entry);
    }
    at += piece.length;
  }
  return out;
}

function walOptions({ segmentSizeBytes, cacheBytes }: StorageOptions): {
  directory: string;
  segmentSizeBytes: number;
  cacheBytes: number;
} {
  return { directory: ROOT, segmentSizeBytes, cacheBytes };
}

function openEngine(
  env: Env,
  { memberId = MEMBER_ID }: StorageOptions,
  group: GroupId,
): ReturnType<typeof BTreeEngine.open> {
  return BTreeEngine.open(env.files, `${ROOT}/db/${group}.hdb`, {
    fileId: Uint8Array.of(memberId, group),
    slabSizeBytes: SLAB_BYTES,
  });
}
