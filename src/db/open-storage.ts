/**
 * What a node keeps, opened in the order of architecture section 9: VERSION, the log, the votes, the data file, each
 * checked against the others before anything runs on them.
 */
import { CorruptionError, type Damage, HarmonyError, writeU64 } from "../base/index.ts";
import { BTreeEngine, type Engine } from "../btree/index.ts";
import { type Env, FileError, type Io, listDirectory } from "../env/index.ts";
import type { MemberRecord } from "../mvcc/index.ts";
import { type ConfState, type HardState, membersOf, type NodeId } from "../raft/index.ts";
import { SnapshotStore, takeOver } from "../snapshot/index.ts";
import {
  decideVote,
  type GroupStart,
  VoteFile,
  type VoteRead,
  type VoteState,
  Wal,
  type WalIdentity,
  type WalRecovery,
} from "../wal/index.ts";
import {
  type CheckpointPayload,
  decodeCheckpointPayload,
  encodeCheckpointPayload,
} from "./checkpoint-payload.ts";
import {
  assertOursOrEmpty,
  bootstrapIdentity,
  type Identity,
  initialMemberId,
  makeInnerDirectories,
  makePathDurable,
  readVersion,
  removeUnfinishedData,
  type UnsyncedRun,
  writeVersion,
} from "./data-directory.ts";
import type { Durability } from "./database.ts";
import { assertAlone } from "./durability.ts";
import { join } from "./join.ts";
import { MembersFile } from "./members-file.ts";
import type { Closing } from "./node.ts";
import { type NodeOptions, SEGMENT_DEFAULT_BYTES } from "./node-options.ts";
import { DEFAULT_RETENTION, type RetentionSettings } from "./retention.ts";
import { ServedEngine } from "./served-engine.ts";
import { KvStateMachine } from "./state-machine.ts";

/** The only group there is. */
export const GROUP = 0;

export interface Storage {
  readonly identity: Identity;
  /** Empty where the node has never had others beside it. */
  readonly members: MembersFile;
  /** A run in the interval mode that did not end in order. */
  readonly unsynced: UnsyncedRun | null;
  readonly wal: Wal;
  readonly votes: VoteFile;
  readonly engine: ServedEngine;
  readonly snapshots: SnapshotStore;
  /** As of the newest checkpoint. */
  readonly machine: KvStateMachine;
  /** What the log looked like; null for a new one. */
  readonly log: WalRecovery | null;
  readonly hardState: HardState;
  readonly confState: ConfState;
  readonly incarnation: number;
  /** Keys in the checkpoint. */
  readonly snapshotEntries: number;
  /** Damaged places of the log: the start does without what they held, or does not come here. */
  readonly damagedPlaces: number;
}

/** Whose directory it is, and what else is known before the log is opened. */
export type Identified = ReturnType<typeof identify> extends Io<infer T> ? T : never;

/**
 * Opens everything in a locked directory, or makes it at the first start. What is open is noted in `opened`, so that
 * the caller can close it should the start fail. `isEmptied`: what was damaged is put aside, and of a member nothing is
 * left but its ids and its votes: it begins with nothing, in quarantine.
 */
export function* openFound(
  env: Env,
  options: NodeOptions,
  durability: Durability,
  opened: Closing[],
  { identity, members, founders, isNew, unsynced }: Identified,
  isEmptied: boolean,
): Io<Storage> {
  const { dataDir } = options;
  const walOptions = {
    directory: dataDir,
    segmentSizeBytes: options.walSegmentBytes ?? SEGMENT_DEFAULT_BYTES,
    fsyncIntervalMs: durability.fsyncIntervalMs,
  };
  const walIdentity = walIdentityOf(identity);
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
  } else if (isEmptied) {
    const created = yield* Wal.create(env, walOptions, walIdentity);
    opened.push(() => created.close());
    wal = created;
    votes = yield* VoteFile.open(env, walOptions, walIdentity);
    opened.push(closeVotes);
  }
  const isFresh = isNew || isEmptied;
  const snapshots = yield* orMissing(SnapshotStore.open(env, dataDir));
  let data = yield* openTrees(env, dataFile, identity, isFresh);
  let isDataOpen = true;
  opened.push(function* () {
    if (isDataOpen) yield* data.engine.close();
  });
  if (wal === null || votes === null) {
    const start = startOf(data.engine);
    const found = yield* orMissing(Wal.open(env, walOptions, walIdentity, [start]));
    opened.push(() => found.wal.close());
    wal = found.wal;
    log = found.recovery;
    const logged = new Map([[GROUP, wal.hardState(GROUP)]]);
    votes = yield* VoteFile.open(env, walOptions, walIdentity, logged);
    opened.push(closeVotes);
    const named = wal.snapshot(GROUP);
    if (named?.installed === true && named.meta.index > start.appliedIndex) {
      const incarnation = Math.max(
        incarnationOf(votes.read(GROUP)),
        payloadOf(data.engine, dataFile)?.incarnation ?? 1,
      );
      isDataOpen = false;
      yield* data.engine.close();
      yield* takeOver(named, {
        env,
        store: snapshots,
        directory: dataDir,
        group: GROUP,
        fileId: identity.walId,
        walLsn: wal.durableLsn,
        payload: ({ meta, machine }) =>
          encodeCheckpointPayload({ incarnation, confState: meta.confState, machine }),
      });
      data = yield* openTrees(env, dataFile, identity, false);
      isDataOpen = true;
    }
  }
  const { usedOlderMeta } = data;
  const engine = new ServedEngine(data.engine);
  const { newest } = engine.checkpoints;
  const payload = payloadOf(engine, dataFile);
  if (!isFresh && payload === null) {
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
    founders,
  );
  const snapshotEntries = machine.keyCount;
  const confState = payload?.confState ?? firstConfState(founders);
  assertAlone(durability, confState);
  assertLinked(env, confState);
  if (!isFresh)
    assertMembersKept(members, namesOthers(confState, machine, identity.memberId), dataDir);
  const start = startOf(engine);
  if (isFresh) {
    // The settings of a new database are data from its first moment: a later start with other flags must not replay
    // its entries under other rules. VERSION is written last: with it the directory counts as one.
    yield* engine.checkpoint({
      appliedIndex: 0,
      appliedTerm: 0,
      walLsn: wal.durableLsn,
      payload: encodeCheckpointPayload({ incarnation: 1, confState, machine: machine.payload() }),
    });
  }
  if (isNew) {
    if (founders.length > 1) yield* members.write();
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
  if (incarnation > incarnationOf(voteFile.read(GROUP)))
    // A member that goes back to an earlier life is heard by nobody: both places have to know the one it is in.
    yield* saveVote(voteFile, { ...voted, incarnation });
  const damagedRanges = log?.damagedRanges ?? [];
  warnOfDamage(env, damagedRanges, "the log is damaged where nothing needs it any more");
  warnOfDamage(env, data.damage, "a checkpoint is not whole, by a crash or by damage");
  // A change of commit alone is not synced, so it may lag behind the checkpoint (fault-rules D20).
  const hardState: HardState = {
    term: voted.term,
    vote: voted.vote,
    commit: Math.max(wal.hardState(GROUP).commit, start.appliedIndex),
  };
  assertLogReaches(groupLog.lastIndex(), hardState.commit, dataFile);
  return {
    identity,
    members,
    unsynced,
    wal,
    votes: voteFile,
    engine,
    snapshots,
    machine,
    log,
    hardState,
    confState,
    incarnation,
    snapshotEntries,
    damagedPlaces: damagedRanges.length,
  };
}

/** What the newest checkpoint says besides its trees; null: there is none, or it is the empty one of a new file. */
function payloadOf({ checkpoints: { newest } }: Engine, path: string): CheckpointPayload | null {
  if (newest === null || newest.payload.length === 0) return null;
  return decodeCheckpointPayload(newest.payload, path);
}

/** Errors of the votes travel through an Io as they are; the type of the channel is the file's. */
export function* saveVote(votes: VoteFile, state: VoteState): Io<void> {
  yield (done) =>
    votes.save(GROUP, state, (error) => done(error as unknown as FileError | null, undefined));
}

function incarnationOf(votes: VoteRead): number {
  return typeof votes === "string" ? 1 : votes.incarnation;
}

/** Nobody is refused for it, and a disk that did this once may do it again. */
function warnOfDamage(env: Env, places: readonly Damage[], message: string): void {
  for (const { file, offset, what } of places)
    env.log("warn", "node", message, { file, offset, what });
}

function* openTrees(
  env: Env,
  dataFile: string,
  identity: Identity,
  isNew: boolean,
): Io<{
  readonly engine: BTreeEngine;
  readonly usedOlderMeta: boolean;
  readonly damage: readonly Damage[];
}> {
  return yield* orMissing(
    BTreeEngine.open(env.files, dataFile, {
      fileId: identity.walId,
      create: isNew ? "if-missing" : "no",
    }),
  );
}

/** What the checkpoints in the data file let the log forget. */
function startOf({ checkpoints: { newest, older } }: Engine): GroupStart {
  return {
    group: GROUP,
    appliedIndex: newest?.appliedIndex ?? 0,
    appliedTerm: newest?.appliedTerm ?? 0,
    olderAppliedIndex: older?.appliedIndex ?? 0,
  };
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

export function walIdentityOf(identity: Identity): WalIdentity {
  return {
    clusterId: idBytes(identity.clusterId),
    memberId: identity.memberId,
    walId: identity.walId,
  };
}

export function* identify(
  env: Env,
  options: NodeOptions,
  durability: Durability,
): Io<{
  readonly identity: Identity;
  readonly members: MembersFile;
  /** Of a new cluster: its members at index 0, equal on all of them. Empty for a directory that exists. */
  readonly founders: readonly MemberRecord[];
  readonly isNew: boolean;
  readonly unsynced: UnsyncedRun | null;
}> {
  const { files } = env;
  const { dataDir, clusterToken, initialCluster = [] } = options;
  const self = { name: options.name ?? "default", peerUrls: options.peerUrls ?? [] };
  const isCluster = initialCluster.length > 1;
  const wanted = bootstrapIdentity(env, {
    ...self,
    members: isCluster ? initialCluster : undefined,
    clusterToken,
  });
  let found = yield* readVersion(files, dataDir);
  if (found === null && options.join === true) {
    // Before anything is made that would keep its ids.
    assertAlone(durability, votersOf([wanted.memberId, 1]));
    yield* join(env, options);
    found = yield* readVersion(files, dataDir);
  }
  if (found !== null) {
    if (clusterToken !== undefined && found.tokenDigest !== wanted.tokenDigest) {
      throw new HarmonyError(
        "WRONG_CLUSTER",
        `${dataDir} was created with another cluster token: choose its own directory for each cluster`,
      );
    }
    const isCompared = isCluster && options.join !== true;
    if (
      isCompared &&
      (found.clusterId !== wanted.clusterId || found.memberId !== wanted.memberId)
    ) {
      throw new HarmonyError(
        "WRONG_CLUSTER",
        `${dataDir} was made by another member, or for other first members than ${initialCluster.map(({ name }) => name).join(", ")}: name those that it was made for, or choose another directory`,
      );
    }
    const members =
      (yield* MembersFile.read(env, dataDir)) ?? new MembersFile(env, dataDir, [], new Map());
    return { identity: found, members, founders: [], isNew: false, unsynced: found.unsynced };
  }
  const founders: readonly MemberRecord[] = isCluster
    ? initialCluster.map(({ name, peerUrls }) => ({
        id: initialMemberId(env, { name, peerUrls }, clusterToken),
        name,
        peerUrls,
        // Each says its own when it has started: nobody else knows them.
        clientUrls: [],
        isLearner: false,
      }))
    : [
        {
          id: wanted.memberId,
          ...self,
          clientUrls: options.clientUrls ?? [],
          isLearner: false,
        },
      ];
  // Before anything is made that would keep its ids.
  assertLinked(env, firstConfState(founders));
  assertAlone(durability, firstConfState(founders));
  const members = new MembersFile(env, dataDir, founders, new Map());
  yield* assertOursOrEmpty(files, dataDir);
  yield* makePathDurable(files, dataDir);
  yield* makeInnerDirectories(files, dataDir);
  return { identity: wanted, members, founders, isNew: true, unsynced: null };
}

/** A member that can reach nobody would wait for ever. */
export function assertLinked(env: Env, confState: ConfState): void {
  const { length } = membersOf(confState);
  if (length <= 1 || env.links !== undefined) return;
  throw new HarmonyError(
    "INVALID_ARGUMENT",
    `the directory is that of a member of a cluster of ${length}: serve it, where it can reach the others`,
  );
}

/** Before the first change of the configuration: everybody who was there at the first start votes. */
function firstConfState(founders: readonly MemberRecord[]): ConfState {
  return votersOf(founders.map(({ id }) => id));
}

function votersOf(voters: readonly NodeId[]): ConfState {
  return {
    voters: voters.toSorted((a, b) => a - b),
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
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

/** Whether the state here knows of a member besides `self`, or of one that was removed. */
export function namesOthers(
  confState: ConfState,
  { members }: Pick<KvStateMachine, "members">,
  self: NodeId,
): boolean {
  return (
    membersOf(confState).some((id) => id !== self) ||
    members.all.some(({ id }) => id !== self) ||
    members.removed.size > 0
  );
}

/**
 * Before a checkpoint names others MEMBERS is durable, so it was deleted. Without it this node would take a member that
 * has lost its disk for the one that it knew, and would not know that it was removed itself.
 */
function assertMembersKept(members: MembersFile, isNeeded: boolean, dataDir: string): void {
  if (members.isKept || !isNeeded) return;
  throw new CorruptionError({
    file: `${dataDir}/MEMBERS`,
    offset: 0,
    what: "it is missing although the node has, or had, others beside it: put it back from a copy of this directory, or replace this member",
  });
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
