/**
 * A node from its directory: log, trees and group put together. Recovery follows architecture section 9 step by step;
 * ready means that the first entry of the node's own term is applied, so everything that was ever acknowledged can be
 * read.
 */
import { CorruptionError, HarmonyError } from "../base/index.ts";
import { type DirectoryLock, type Env, FileError, type Io, runIo } from "../env/index.ts";
import { MemoryFiles } from "../env/sim/index.ts";
import { type ConfState, type NodeId, RawNode } from "../raft/index.ts";
import { GroupClock, Replica, ReplicaHost } from "../replica/index.ts";
import { Chores, DEFAULT_CHECKPOINTS } from "./chores.ts";
import { ClusterLinks } from "./cluster.ts";
import { lockDataDirectory, makeDataDirectory } from "./data-directory.ts";
import type { Durability } from "./database.ts";
import { assertAlone, beginRun, durabilityOf, warnOfDurability } from "./durability.ts";
import { Introduction } from "./introduction.ts";
import { KvDatabase } from "./kv-database.ts";
import {
  asPromise,
  type Closing,
  type Failure,
  Node,
  type RecoveryStats,
  translateFileError,
} from "./node.ts";
import {
  assertOptions,
  ELECTION_DEFAULT_MS,
  LEARNERS_DEFAULT,
  type NodeOptions,
  QUOTA_DEFAULT_BYTES,
  REQUEST_DEFAULT_BYTES,
  SNAPSHOT_RATE_DEFAULT_BYTES,
  SNAPSHOTS_KEPT_DEFAULT,
  TICK_DEFAULT_MS,
  TXN_OPS_DEFAULT,
  WAL_RETENTION_DEFAULT_BYTES,
} from "./node-options.ts";
import { Installer } from "./installer.ts";
import { type OpenedStorage, openStorage } from "./open-damaged.ts";
import { assertLinked, GROUP, namesOthers } from "./open-storage.ts";
import { LeaderLog } from "./leader-log.ts";
import { judgeChange } from "./reconfiguration.ts";
import { assertBelongs, Removal } from "./removal.ts";
import { Quarantine } from "./quarantine.ts";
import { writeQuarantine } from "./quarantine-file.ts";
import type { Outcome } from "./requests.ts";
import { Roster } from "./roster.ts";
import { LocalSnapshots } from "./snapshot-source.ts";
import { Snapshots } from "./snapshots.ts";

const SECONDS_MS = 1000;
/** While a member pulls a snapshot the log must still reach when it has it; within reason (architecture section 5, GC). */
const KEEP_WHILE_PULLED_BYTES: number = 256 * 1024 * 1024;
/** On its way to one member: less than its link holds, so that entries are not dropped there only to be asked for again. */
const CLUSTER_INFLIGHT_BYTES: number = 16 * 1024 * 1024;

/** Opens a node on its directory; creates both at the first start. Throws HarmonyError, CorruptionError among them. */
export function* openNode(env: Env, options: NodeOptions): Io<Node> {
  const startedAtMs = env.clock.monotonicMs();
  assertOptions(options);
  const durability = durabilityOf(options);
  if (durability.mode === "memory") ({ env, options } = inMemory(env, options));
  warnOfDurability(env, durability);
  const opened: Closing[] = [];
  try {
    yield* makeDataDirectory(env.files, options.dataDir);
    const lock = yield* lockDataDirectory(env.files, options.dataDir);
    opened.push(function* () {
      yield (done) => lock.release(done);
    });
    const storage = yield* openStorage(env, options, durability, opened);
    return yield* startGroup(env, options, durability, lock, storage, startedAtMs);
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

/** Small segments and early checkpoints, since the log is memory, too: a checkpoint lets go of it. */
const MEMORY_SEGMENT_BYTES: number = 4 * 1024 * 1024;
const MEMORY_CHECKPOINT_BYTES: number = 16 * 1024 * 1024;

/** The same node on files that nobody else sees and that end with it. */
function inMemory(
  env: Env,
  options: NodeOptions,
): { readonly env: Env; readonly options: NodeOptions } {
  const { checkpoints = { ...DEFAULT_CHECKPOINTS, walBytes: MEMORY_CHECKPOINT_BYTES } } = options;
  const { walSegmentBytes = MEMORY_SEGMENT_BYTES } = options;
  return {
    env: { ...env, files: new MemoryFiles(env.timers), sha256: () => env.sha256() },
    options: { ...options, dataDir: "memory", walSegmentBytes, checkpoints },
  };
}

/** Runs the group on what was opened, until the node is ready. */
function* startGroup(
  env: Env,
  options: NodeOptions,
  durability: Durability,
  lock: DirectoryLock,
  storage: OpenedStorage,
  startedAtMs: number,
): Io<Node> {
  const { dataDir } = options;
  const { identity, wal, votes, engine, machine, hardState, confState, incarnation } = storage;
  const snapshotIndex = machine.appliedIndex;
  const tickMs = options.heartbeatIntervalMs ?? TICK_DEFAULT_MS;
  const electionMs = options.electionTimeoutMs ?? ELECTION_DEFAULT_MS;
  const electionTicks = Math.max(2, Math.round(electionMs / tickMs));
  const rawNode = new RawNode({
    group: GROUP,
    id: identity.memberId,
    incarnation,
    quarantined: storage.quarantine !== null,
    storage: wal.groupLog(GROUP),
    hardState,
    confState,
    appliedIndex: machine.appliedIndex,
    electionTicks,
    heartbeatTicks: 1,
    seed: env.entropy.u32(),
    // As much as an entry holds: a heartbeat waits behind one of them on a narrow way.
    maxEntriesBytesPerMessage: 128 * 1024,
    maxInflightMessages: 256,
    maxInflightBytes: CLUSTER_INFLIGHT_BYTES,
    maxUncommittedBytes: 64 * 1024 * 1024,
    maxCommittedBytesPerReady: 4 * 1024 * 1024,
    preVote: true,
    checkQuorum: true,
    latestSnapshot: () => local?.announce(rawNode.confState) ?? null,
  });

  const failure: Failure = { error: null, listeners: [] };
  const { memberId } = identity;
  const { name = "default", clientUrls = [], peerUrls = [] } = options;
  const { snapshotRateBytes = SNAPSHOT_RATE_DEFAULT_BYTES } = options;
  const roster = new Roster({
    machine: () => machine,
    confState: () => rawNode.confState,
    known: [...storage.members.members, { id: memberId, name, peerUrls }],
    self: memberId,
  });
  assertBelongs(storage.members, dataDir);
  const removal = new Removal(env, storage.members, (error) => onFatal(error));
  const links: ClusterLinks | null =
    env.links === undefined
      ? null
      : new ClusterLinks({
          env,
          identity,
          name: options.name ?? roster.get(memberId)?.name ?? name,
          file: storage.members,
          roster,
          clientUrls,
          host: () => host,
          snapshots: () => local as LocalSnapshots,
          snapshotRateBytes,
          appliedIndex: () => machine.appliedIndex,
          removed: (by, detail) => removal.isToldBy(by, detail),
        });
  /** Members whose removal is durable here. */
  let settled: ReadonlySet<NodeId> = roster.removed;
  let isSettling = false;
  let isStarted = false;
  roster.takeNews();
  const settleRemovals = (): void => {
    const { removed } = roster;
    if (links === null || !isStarted || isSettling || removed.size === settled.size) return;
    isSettling = true;
    // Until then this node may need the vote of who was removed, should it forget that the removal is committed.
    chores.checkpoint((error) => {
      isSettling = false;
      if (failure.error !== null || replica.stopped !== null) return;
      if (error === null) {
        settled = removed;
        links.follow(settled);
      }
      env.timers.after(error === null ? 0 : SECONDS_MS, settleRemovals);
    });
  };
  let local: LocalSnapshots | null = null;
  let installer: Installer | null = null;
  let database: KvDatabase | null = null;
  let quarantine: Quarantine | null = null;
  const onFatal = (error: HarmonyError): void => {
    if (failure.error !== null) return;
    failure.error = error;
    host.stop(error);
    installer?.stop();
    quarantine?.stop();
    links?.end();
    database?.close(replica.stopped ?? error);
    const tell = (): void => {
      for (const listener of failure.listeners.splice(0)) {
        try {
          listener(error);
        } catch (thrown) {
          env.log("error", "node", "a listener of the node's end threw", { error: String(thrown) });
        }
      }
    };
    // Of what was damaged the next start is to be healed, also where it would come upon it late.
    if (isForOthers(error)) runIo(writeQuarantine(env.files, dataDir, error.message), tell);
    else tell();
  };
  const isForOthers = (error: HarmonyError): boolean =>
    error instanceof CorruptionError && links !== null && roster.all.length > 1;
  /** Damage that a member comes upon while it reads its data file does not end it: the others have what it lacks. */
  const onTrouble = (error: HarmonyError): void => {
    if (isForOthers(error) && quarantine !== null && failure.error === null)
      quarantine.enter(error.message);
    else onFatal(error);
  };
  // Also a write that nobody waits for: a mark, a segment that is being prepared, the manifest.
  wal.onFailed = onFatal;
  const waiting: { ready: (() => void) | null } = { ready: null };
  const host = new ReplicaHost({
    env,
    wal,
    votes,
    tickMs,
    onFatal,
    send: links === null ? undefined : (message) => links.send(message),
    announced: ({ from, term, meta }) => {
      if (term >= rawNode.term) installer?.announced(from, meta.index);
    },
    afterTurn: () => {
      links?.flush();
      if (roster.takeNews()) {
        links?.follow(settled);
        settleRemovals();
        if (roster.isSelfRemoved) removal.isApplied();
      }
      leaderLog.look(rawNode, isLone);
      // As after a directory was put back from an older copy of itself. What it voted for may be gone as well.
      if (rawNode.lostThrough > 0 && !rawNode.isQuarantined)
        quarantine?.enter(
          `the leader says that entry ${rawNode.lostThrough} was acknowledged here, and the log ends before it`,
        );
      waiting.ready?.();
    },
  });
  const leaderLog = new LeaderLog(env, roster, memberId);
  const replica = new Replica<Outcome>({
    group: GROUP,
    rawNode,
    machine,
    clock: new GroupClock(env.clock, machine.clockMs),
    hardState,
    quarantined:
      storage.quarantine === null ? undefined : new HarmonyError("QUARANTINED", storage.quarantine),
    wake: () => host.wake(),
    peers:
      links === null
        ? undefined
        : {
            forwarding: links.forwarding,
            entropy: env.entropy,
            differ: (verdict) => quarantine?.differ(verdict),
            inQuarantine: (member, item) => quarantine?.heard(member, item),
            diskStandsStill: (heir) =>
              env.log("warn", "node", "the disk stands still: hands the lead over", {
                to: roster.get(heir)?.name ?? "",
              }),
            handsOver: (to) =>
              env.log("warn", "node", "the disk is full: hands the lead over", {
                to: roster.get(to)?.name ?? "",
              }),
            standsStill: (error) => {
              env.log("error", "node", "the disk is full: nothing is applied until there is room");
              database?.standStill(error);
            },
          },
    judge: (change, ledTicks) =>
      judgeChange(
        {
          machine: () => machine,
          raft: rawNode,
          roster,
          self: memberId,
          isLinked: (member) => links?.isLinked(member) ?? false,
          staysAlone: links === null || durability.mode !== "sync",
          learnersMax: options.learnersMax ?? LEARNERS_DEFAULT,
          electionTicks,
        },
        change,
        ledTicks,
      ),
  });
  host.add(replica, incarnation);

  // A node alone has nobody to ask: it leads, and what it finds in its log is committed by that. One of several has
  // recovered when all is applied that it knows to be committed; the others tell it the rest. Which of both it is may
  // change with what it applies, and nobody campaigns before that.
  const isLone = (): boolean => isLoneVoter(rawNode.confState, memberId);
  const isRecovered = (): boolean => {
    // In quarantine nothing is applied: what is to be known comes with a snapshot.
    if (replica.quarantined !== null) return true;
    if (machine.appliedIndex < hardState.commit) return false;
    if (!isLone()) return true;
    if (rawNode.role === "leader")
      return rawNode.leadsForSure && machine.appliedIndex >= rawNode.commit;
    rawNode.campaign();
    if (rawNode.hasReady()) host.wake();
    return false;
  };
  if (isLone()) rawNode.campaign();
  host.wake();
  yield (done) => {
    failure.listeners.push((error) => {
      if (waiting.ready === null) return;
      waiting.ready = null;
      // In a turn of its own: it is told from within the very write that failed, and its file is closed next.
      env.timers.soon(() => done(asFileError(error), undefined));
    });
    waiting.ready = () => {
      if (!isRecovered()) return;
      waiting.ready = null;
      done(null, undefined);
    };
  };
  const walEntriesReplayed = replica.commandsApplied;
  assertAlone(durability, rawNode.confState);
  assertLinked(env, rawNode.confState);
  if (isLone() && replica.quarantined === null) {
    const found = storage.unsynced;
    yield* beginRun({ env, dataDir, identity, found, durability, machine, replica, wal });
  }

  database = new KvDatabase({
    env,
    replica,
    machine,
    engine,
    identity,
    roster,
    limits: {
      maxRequestBytes: options.maxRequestBytes ?? REQUEST_DEFAULT_BYTES,
      maxTxnOps: options.maxTxnOps ?? TXN_OPS_DEFAULT,
    },
    quotaBytes: options.quotaBytes ?? QUOTA_DEFAULT_BYTES,
    requestTimeoutMs: options.requestTimeoutMs ?? 5 * SECONDS_MS + 2 * electionMs,
    electionTimeoutMs: electionMs,
    leaseTtlSecondsMin: Math.ceil((1.5 * electionMs) / SECONDS_MS),
    durability,
    recentBytes: options.watchMemoryBytes,
    isDiskFull: () => wal.space === "full",
    wake: () => host.wake(),
    onFatal: onTrouble,
  });
  const chores = new Chores({
    env,
    replica,
    machine,
    database,
    engine,
    wal,
    incarnation,
    checkpoints: options.checkpoints ?? DEFAULT_CHECKPOINTS,
    retention: machine.settings,
    beforeCheckpoint: () =>
      !storage.members.isKept && namesOthers(rawNode.confState, machine, memberId)
        ? storage.members.keep()
        : null,
    keepLogBytes: () => {
      if (links === null || roster.all.length === 1) return 0;
      const bytes = options.walRetentionBytes ?? WAL_RETENTION_DEFAULT_BYTES;
      return links.isServingSnapshots ? Math.max(2 * bytes, KEEP_WHILE_PULLED_BYTES) : bytes;
    },
    onFatal: onTrouble,
  });
  // Without persistence a snapshot is memory, too.
  const keep = durability.mode === "memory" ? 1 : (options.snapshotsKept ?? SNAPSHOTS_KEPT_DEFAULT);
  const { snapshots: store } = storage;
  const snapshots = new Snapshots({
    env,
    store,
    engine,
    machine,
    replica,
    wal,
    clusterId: identity.clusterId,
    keep,
    rateBytes: snapshotRateBytes,
    quarantines: () => quarantine?.stats.entered ?? 0,
    // A node alone goes on: nobody else has what the page held, and the others are still good.
    onDamage: (error) => {
      if (isForOthers(error)) onTrouble(error);
    },
  });
  local = new LocalSnapshots({ env, snapshots, store, replica, wal });
  if (links !== null)
    installer = new Installer({
      env,
      dataDir,
      identity,
      incarnation,
      links,
      wal,
      store,
      keep,
      rateBytes: snapshotRateBytes,
      engine,
      machine,
      replica,
      database,
      chores,
      snapshots,
      onFatal,
    });
  if (links !== null)
    quarantine = new Quarantine({
      env,
      dataDir,
      host,
      replica,
      database,
      others: () => roster.all.map(({ id }) => id).filter((id) => id !== memberId),
      tell: (member, item) => links.forwarding.tell(member, item),
      fetch: (from, index) => installer?.announced(from, index),
      begun: storage.quarantine === null ? null : { what: storage.quarantine, incarnation },
      onFatal,
    });
  const introduction = new Introduction({
    env,
    replica,
    roster,
    self: memberId,
    news: options,
    autoPromote: options.autoPromote ?? false,
    database,
  });
  host.start();
  links?.start();
  chores.start();
  introduction.start();
  quarantine?.start();
  isStarted = true;
  settleRemovals();
  const recovery: RecoveryStats = {
    snapshotLoaded: snapshotIndex > 0,
    snapshotEntries: storage.snapshotEntries,
    walEntriesReplayed,
    corruptedEntries: storage.damagedPlaces,
    durationMs: Math.round(env.clock.monotonicMs() - startedAtMs),
  };
  env.log(
    "info",
    "node",
    `Recovered ${recovery.snapshotEntries + walEntriesReplayed} entries in ${recovery.durationMs} ms`,
    { ...recovery },
  );
  const parts = {
    env,
    dataDir,
    identity,
    durability,
    lock,
    wal,
    votes,
    engine,
    host,
    replica,
    chores,
    snapshots,
    links,
    installer,
    introduction,
    quarantine,
    failure,
  };
  return new Node(parts, database, recovery, storage.log);
}

function isLoneVoter({ voters, votersOutgoing }: ConfState, id: NodeId): boolean {
  return voters.length === 1 && voters[0] === id && votersOutgoing.every((other) => other === id);
}

/** Errors of the node travel through an Io as they are; the type of the channel is the file's. */
function asFileError(error: Error | null): FileError | null {
  return error as FileError | null;
}

/** `openNode` as a promise, for shells. */
export function startNode(env: Env, options: NodeOptions): Promise<Node> {
  return asPromise(openNode(env, options));
}
