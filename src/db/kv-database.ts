/**
 * The key-value database of one group: checks a request, proposes it as a command, answers reads at a linearizable
 * point, and keeps the clock of every caller who waits.
 */
import { HarmonyError } from "../base/index.ts";
import type { Engine, Version } from "../btree/index.ts";
import type { Env } from "../env/index.ts";
import { type Alarm, AlarmKind, type StoreCounts } from "../mvcc/index.ts";
import type { MemberRecord } from "../mvcc/index.ts";
import type { Replica } from "../replica/index.ts";
import { type Call, Calls } from "./calls.ts";
import { encodeAlarm, encodeCommand, encodeOnce, fingerprintOf } from "./command.ts";
import type { Identity } from "./data-directory.ts";
import type {
  AlarmName,
  CallOptions,
  Database,
  DatabaseStatus,
  Durability,
  MemberAlarm,
  MemberInfo,
  MembersChanged,
  Reply,
} from "./database.ts";
import { encodeMemberChange, type MemberChange } from "./member-changes.ts";
import type {
  AnyWriteRequest,
  Expiry,
  LeaseStatus,
  MemberRequest,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
  TxnRequest,
} from "./requests.ts";
import type { Roster } from "./roster.ts";
import type { KvStateMachine } from "./state-machine.ts";
import { validateKey, withoutRepeats } from "./validate-native.ts";
import { arePeerUrls } from "./validate-members.ts";
import { isReadOnlyTxn, validateRange, validateWrite, type RequestLimits } from "./validate.ts";
import { type Watch, WatchHub, type WatchRequest, type WatchStats } from "./watch/index.ts";

export interface KvDatabaseConfig {
  readonly env: Env;
  readonly replica: Replica<Outcome>;
  readonly machine: KvStateMachine;
  readonly engine: Engine;
  readonly identity: Identity;
  readonly roster: Roster;
  readonly limits: RequestLimits;
  /** 0 means none. */
  readonly quotaBytes: number;
  readonly requestTimeoutMs: number;
  /** After so long a leader gives up a member that does not take over from it. */
  readonly electionTimeoutMs: number;
  /** Leases are granted for at least so long: one and a half election timeouts, in whole seconds. */
  readonly leaseTtlSecondsMin: number;
  readonly durability: Durability;
  /** For the newest changes; see `WatchHubConfig`. */
  readonly recentBytes: number | undefined;
  readonly isDiskFull: () => boolean;
  /** Asks for a turn. */
  readonly wake: () => void;
  /** Told of what was thrown while a read was answered: damaged pages, a broken invariant. */
  readonly onFatal: (error: HarmonyError) => void;
}

/** What goes on in a database. Counters begin with the start of the node. */
export interface DatabaseActivity {
  readonly store: StoreCounts;
  readonly watch: WatchStats;
  /** Requests that read. */
  readonly ranges: number;
  readonly txns: number;
  /** Now. */
  readonly locksHeld: number;
  /** Locks that programs in this process asked for and were given, and how long they waited for them in all. */
  readonly lockWaits: number;
  readonly lockWaitMs: number;
  /** Now. */
  readonly pinnedBytes: number;
}

export class KvDatabase implements Database {
  readonly #config: KvDatabaseConfig;
  readonly #env: Env;
  readonly #replica: Replica<Outcome>;
  readonly #machine: KvStateMachine;
  readonly #calls: Calls;
  readonly #watches: WatchHub;
  /** As the doors carry them. */
  readonly clusterId: bigint;
  readonly memberId: bigint;
  /** Compactions whose callers want to hear when the old versions are gone. */
  #physical: {
    readonly revision: number;
    readonly call: Call<Outcome>;
    readonly outcome: Outcome;
  }[] = [];
  #closed: HarmonyError | null = null;
  #era = 0;
  readonly #requests = { ranges: 0, txns: 0, lockWaits: 0, lockWaitMs: 0 };

  constructor(config: KvDatabaseConfig) {
    this.#config = config;
    this.#env = config.env;
    this.#replica = config.replica;
    this.#machine = config.machine;
    this.clusterId = BigInt(config.identity.clusterId);
    this.memberId = BigInt(config.identity.memberId);
    this.#calls = new Calls(config.env, config.requestTimeoutMs);
    this.#watches = new WatchHub(config);
  }

  get header(): Database["header"] {
    const { clusterId, memberId } = this;
    return {
      clusterId,
      memberId,
      raftTerm: this.#replica.raft.term,
      revision: this.#machine.revision,
    };
  }

  /** Now. */
  get keyCount(): number {
    return this.#machine.keyCount;
  }

  /** The last entry that is applied here, and the hash that is the same on all members that have applied as much. */
  get applied(): { readonly index: number; readonly stateHash: number } {
    const { appliedIndex: index, stateHash } = this.#machine;
    return { index, stateHash };
  }

  /** The group's clock, which deadlines of keys are on. Now. */
  get clockMs(): number {
    return this.#replica.clock.nowMs();
  }

  /** Now. */
  get leaseCount(): number {
    return this.#machine.leaseCount;
  }

  /** Now. */
  get watchCount(): number {
    return this.#watches.count;
  }

  /** The whole logical state, line by line: for comparing replicas. */
  describe(): readonly string[] {
    return this.#machine.describe();
  }

  get activity(): DatabaseActivity {
    return {
      store: this.#machine.counts,
      watch: this.#watches.stats,
      ...this.#requests,
      locksHeld: this.#machine.lockCount,
      pinnedBytes: this.pinnedBytes,
    };
  }

  /** Somebody in this process has got a lock, after so long. */
  lockWaited(durationMs: number): void {
    this.#requests.lockWaits++;
    this.#requests.lockWaitMs += durationMs;
  }

  write(request: AnyWriteRequest, options: CallOptions, reply: Reply<Outcome>): void {
    if (this.#ended !== null) {
      reply(this.#ended, undefined as never);
      return;
    }
    if (request.kind === "txn") this.#requests.txns++;
    const refusal = this.#refusalOf(request);
    if (refusal !== null) {
      reply(null, refusal);
      return;
    }
    if (request.kind === "txn" && isReadOnlyTxn(request)) {
      this.#readTxn(request, options, reply);
      return;
    }
    let command: Uint8Array;
    try {
      command = encodeCommand(this.#complete(request), {
        leaseTtlSecondsMin: this.#config.leaseTtlSecondsMin,
        lengthMax: this.#config.limits.maxRequestBytes,
      });
      if (options.requestId !== undefined)
        command = encodeOnce(options.requestId, fingerprintOf(request), command);
    } catch (thrown) {
      // A request that no command can hold is its caller's mistake; anything else is one of the node.
      const code = thrown instanceof HarmonyError ? thrown.code : null;
      if (code === "TOO_LARGE") reply(null, this.#refuse(code));
      else if (code === "INVALID_ARGUMENT") reply(thrown as HarmonyError, undefined as never);
      else reply(this.#defect(thrown), undefined as never);
      return;
    }
    const call = this.#calls.open(options, reply);
    if (call.isSettled) return;
    const proposal = this.#replica.propose(command, freesSpace(request), (error, outcome) => {
      if (
        request.kind === "compact" &&
        request.physical &&
        error === null &&
        outcome?.kind === "compact" &&
        this.#machine.isCompacting
      ) {
        this.#physical.push({ revision: request.revision, call, outcome });
      } else {
        call.settle(error, outcome);
      }
    });
    call.withdraw = () => proposal.cancel();
  }

  range(request: RangeRequest, options: CallOptions, reply: Reply<RangeResponse | Refusal>): void {
    this.#requests.ranges++;
    const refused = validateRange(request);
    if (refused !== null) {
      reply(null, this.#refuse(refused));
      return;
    }
    const { serializable: isLocal, key, rangeEnd } = request;
    const bytes = key.length + rangeEnd.length;
    this.#read({ isLocal, bytes }, options, reply, () => this.#machine.range(request));
  }

  /**
   * The value of a key as it is applied here and now, a copy; undefined when the key is not there. Without request,
   * answer and promise: for a read that is done within the call and has nothing else to say.
   */
  valueNow(key: Uint8Array): Uint8Array | undefined {
    const refused = validateKey(key);
    if (refused !== null) throw new HarmonyError(refused);
    // As `readNow`, without a closure for each read.
    if (this.#ended !== null) throw this.#ended;
    try {
      return this.#machine.value(key);
    } catch (thrown) {
      throw this.#defect(thrown);
    }
  }

  /** The trees as they are now, kept until they are released: for readers that come back to the same state. */
  pin(): Version {
    if (this.#ended !== null) throw this.#ended;
    return this.#config.engine.pin();
  }

  /** Another one with each quarantine: what was pinned in an earlier era is not to be trusted any more. */
  get era(): number {
    return this.#era;
  }

  /** What states that are kept cost: pages that nothing else needs any more. */
  get pinnedBytes(): number {
    return this.#config.engine.stats.pinnedBytes;
  }

  /**
   * Reads within the call, from trees that were pinned in `era` or from those of now. What it throws ends the node, as
   * with every read.
   */
  readNow<T>(read: () => T, era: number = this.#era): T {
    if (this.#ended !== null) throw this.#ended;
    if (era !== this.#era) throw new HarmonyError("QUARANTINED", PINNED_BEFORE);
    try {
      return read();
    } catch (thrown) {
      throw this.#defect(thrown);
    }
  }

  leaseStatus(
    id: bigint,
    withKeys: boolean,
    options: CallOptions,
    reply: Reply<LeaseStatus>,
  ): void {
    this.#read(LEASES, options, reply, () =>
      this.#machine.leaseStatus(id, withKeys, this.#replica.clock.nowMs()),
    );
  }

  leases(options: CallOptions, reply: Reply<readonly bigint[]>): void {
    this.#read(LEASES, options, reply, () => this.#machine.leases());
  }

  watch(request: WatchRequest, news: () => void): Watch {
    const { quarantined, still } = this.#replica;
    const refused = quarantined ?? (request.mayMove === true ? still : null);
    return this.#watches.open(request, news, refused);
  }

  status(): DatabaseStatus {
    const { identity, engine, roster } = this.#config;
    const { raft } = this.#replica;
    const self = roster.get(identity.memberId);
    const errors: string[] = [];
    if (raft.leader === 0) errors.push("etcdserver: no leader");
    const { quarantined } = this.#replica;
    const raised = this.#raised();
    const alarms = [...new Set(raised.filter(this.#concernsUs).map(({ alarm }) => alarm))];
    for (const { memberId, alarm } of raised) errors.push(`memberID:${memberId} alarm:${alarm}`);
    const { aside } = this.#replica;
    for (const error of [quarantined, aside])
      if (error !== null) errors.push(`harmonydb: ${error.message}`);
    return {
      clusterId: this.clusterId,
      memberId: this.memberId,
      name: self?.name ?? "",
      clientUrls: self?.clientUrls ?? [],
      peerUrls: self?.peerUrls ?? [],
      members: roster.all.map(memberInfo),
      isLearner: self?.isLearner ?? false,
      leader: BigInt(raft.leader),
      raftTerm: raft.term,
      raftIndex: raft.lastIndex,
      raftCommitIndex: raft.commit,
      raftAppliedIndex: this.#machine.appliedIndex,
      revision: this.#machine.revision,
      compactRevision: this.#machine.compactRevision,
      // Pages wait in memory for the next checkpoint: what is in use may be more than the file holds.
      sizeBytes: Math.max(engine.stats.bytesTotal, engine.stats.bytesInUse),
      sizeInUseBytes: engine.stats.bytesInUse,
      quotaBytes: this.#quotaBytes,
      durability: this.#config.durability,
      alarms,
      raised,
      quarantine: quarantined?.message ?? null,
      aside: aside?.message ?? null,
      errors,
    };
  }

  /** What was raised by a command, and what holds here and now without one. */
  #raised(): DatabaseStatus["raised"] {
    const raised: MemberAlarm[] = this.#machine.alarms.map(({ kind, memberId }) => ({
      memberId,
      alarm: kind === AlarmKind.noSpace ? "NOSPACE" : "CORRUPT",
    }));
    const add = (alarm: AlarmName): void => {
      const { memberId } = this;
      if (!raised.some((of) => of.alarm === alarm && of.memberId === memberId))
        raised.unshift({ memberId, alarm });
    };
    if (this.#replica.quarantined !== null) add("CORRUPT");
    if (this.#config.isDiskFull() || this.#isOverQuota()) add("NOSPACE");
    return raised;
  }

  /** A healed member is well, although its alarm stays; of whom nobody knows whose it is, all may be. */
  readonly #concernsUs = ({ memberId, alarm }: MemberAlarm): boolean =>
    alarm === "NOSPACE"
      ? memberId === this.memberId || this.#isRaised(AlarmKind.noSpace)
      : memberId === 0n || (memberId === this.memberId && this.#replica.quarantined !== null);

  /** Somebody has raised it, and nobody has cleared it. */
  hasAlarm({ kind, memberId }: Alarm): boolean {
    return this.#machine.alarms.some((of) => of.kind === kind && of.memberId === memberId);
  }

  #isRaised(kind: AlarmKind): boolean {
    return this.#machine.alarms.some((alarm) => alarm.kind === kind);
  }

  alarm(
    { memberId, alarm }: MemberAlarm,
    isRaised: boolean,
    options: CallOptions,
    reply: Reply<null>,
  ): void {
    if (this.#ended !== null) {
      reply(this.#ended, null);
      return;
    }
    const call = this.#calls.open(options, reply);
    if (call.isSettled) return;
    const kind = alarm === "NOSPACE" ? AlarmKind.noSpace : AlarmKind.corrupt;
    const command = encodeAlarm({ kind, memberId }, isRaised);
    const proposal = this.#replica.propose(command, true, (error) => call.settle(error, null));
    call.withdraw = () => proposal.cancel();
  }

  changeMembers(
    request: MemberRequest,
    options: CallOptions,
    reply: Reply<MembersChanged | Refusal>,
  ): void {
    if (this.#ended !== null) {
      reply(this.#ended, undefined as never);
      return;
    }
    const change = this.#memberChange(request);
    if (typeof change === "string") {
      reply(null, this.#refuse(change));
      return;
    }
    const call = this.#calls.open(options, reply);
    if (call.isSettled) return;
    const confChange = encodeMemberChange(change);
    const proposal = this.#replica.proposeConfChange(confChange, (error, outcome) => {
      if (outcome === undefined || outcome.kind === "error") {
        call.settle(error, outcome);
        return;
      }
      const added = change.kind === "memberAdd" ? memberInfo(change.member) : null;
      const members = this.#config.roster.all.map(memberInfo);
      call.settle(error, { kind: "members", revision: outcome.revision, added, members });
    });
    call.withdraw = () => proposal.cancel();
  }

  /** What is asked for as an entry says it, or why it cannot be. */
  #memberChange(request: MemberRequest): MemberChange | Refusal["code"] {
    const { roster } = this.#config;
    if (request.kind === "memberAdd") {
      const { peerUrls, isLearner } = request;
      if (!arePeerUrls(peerUrls)) return "MEMBER_URLS_INVALID";
      const id = this.#newId((taken) => roster.get(taken) !== undefined);
      const member = { id, name: "", peerUrls, clientUrls: [], isLearner };
      return { kind: "memberAdd", member };
    }
    const id = memberId(request.id);
    if (id === null) return "MEMBER_NOT_FOUND";
    switch (request.kind) {
      case "memberRemove":
      case "memberPromote":
        return { kind: request.kind, id };
      case "memberUpdate": {
        const { peerUrls } = request;
        if (roster.get(id) === undefined) return "MEMBER_NOT_FOUND";
        return arePeerUrls(peerUrls)
          ? { kind: "memberUpdate", id, peerUrls }
          : "MEMBER_URLS_INVALID";
      }
      case "memberReplace": {
        const by = memberId(request.by);
        return by === null ? "MEMBER_NOT_FOUND" : { kind: "memberReplace", id, by };
      }
    }
  }

  moveLeader(target: bigint, options: CallOptions, reply: Reply<undefined>): void {
    const { raft } = this.#replica;
    const refuse = (error: HarmonyError): void => reply(error, undefined);
    if (this.#ended !== null) return refuse(this.#ended);
    if (raft.leader === 0) return refuse(new HarmonyError("NO_LEADER"));
    const member = this.#config.roster.all.find(({ id }) => BigInt(id) === target);
    if (member === undefined || member.isLearner) return refuse(new HarmonyError("BAD_TRANSFEREE"));
    const call = this.#calls.open(options, reply);
    if (call.isSettled) return;
    // Whoever gives up only waits no longer: the lead may pass over all the same.
    call.withdraw = () => false;
    const { id } = member;
    const before = raft.leader;
    // Asked for once, whoever leads: again and again it would take no writes for as long.
    if (raft.transferLeader(id) === "not-a-voter") {
      call.settle(new HarmonyError("BAD_TRANSFEREE"), undefined);
      return;
    }
    this.#config.wake();
    const { clock } = this.#env;
    // The leader does not say that it has given up: with the way to it and an election it takes no longer than that.
    const untilMs = clock.monotonicMs() + 3 * this.#config.electionTimeoutMs;
    const look = (): void => {
      if (call.isSettled) return;
      const isGivenUp =
        raft.leader === this.#config.identity.memberId
          ? raft.status().transferee !== id
          : raft.leader !== 0 && (raft.leader !== before || clock.monotonicMs() > untilMs);
      if (this.#ended !== null) call.settle(this.#ended, undefined);
      else if (raft.leader === id) call.settle(null, undefined);
      else if (isGivenUp)
        call.settle(
          new HarmonyError("TIMEOUT", `${member.name} did not take over`, { maybeApplied: true }),
          undefined,
        );
      else this.#env.timers.after(TRANSFER_LOOK_MS, look);
    };
    look();
  }

  /** A snapshot has taken the place of the state. Who reads from a pinned state of this era goes on doing so. */
  restored(): void {
    this.#watches.restored();
    this.compactionAdvanced();
  }

  /** What is here is not to be trusted from now on: whoever watches it is to watch another member. */
  quarantine(error: HarmonyError): void {
    this.#era++;
    this.#watches.interrupt(error);
  }

  /** For now nothing is applied here: whoever watches it and can is to watch another member. */
  standStill(error: HarmonyError): void {
    this.#watches.standStill(error);
  }

  /** Called when a slice of compaction has been done: those who wait for the end of it are answered. */
  compactionAdvanced(): void {
    if (this.#physical.length === 0 || this.#machine.isCompacting) return;
    const done = this.#physical;
    this.#physical = [];
    for (const { call, outcome } of done) call.settle(null, outcome);
  }

  /** No request is taken any more. Those on their way are answered by the replica, in time or when it stops. */
  close(error: HarmonyError): void {
    this.#closed ??= error;
    this.#watches.close(error);
    const waiting = this.#physical;
    this.#physical = [];
    // Compacted, but not what they asked for: old versions may still be in the trees.
    const unfinished = new HarmonyError(error.code, undefined, {
      maybeApplied: true,
      cause: error,
    });
    for (const { call } of waiting) call.settle(unfinished, undefined);
  }

  /** After the replica has stopped and answered everybody: no timer is left behind. */
  end(): void {
    this.#calls.close();
  }

  get #ended(): HarmonyError | null {
    return this.#closed ?? this.#replica.stopped ?? this.#replica.quarantined;
  }

  /**
   * What a read ran into. Damaged pages are never served and a broken invariant is never reasoned about: the node
   * stops (fault-rules, promise 6).
   */
  #defect(thrown: unknown): HarmonyError {
    const error =
      thrown instanceof HarmonyError
        ? thrown
        : new HarmonyError("STOPPED", String(thrown), { cause: thrown });
    this.#config.onFatal(error);
    return error;
  }

  /** `bytes`: what `read` keeps in memory as long as it waits. */
  #read<T>(
    { isLocal, bytes }: { readonly isLocal: boolean; readonly bytes: number },
    options: CallOptions,
    reply: Reply<T>,
    read: () => T,
  ): void {
    if (this.#ended !== null) {
      reply(this.#ended, undefined as T);
      return;
    }
    if (options.signal?.aborted === true) {
      reply(new HarmonyError("ABORTED"), undefined as T);
      return;
    }
    const answer = (settle: Reply<T>): void => {
      let value: T;
      try {
        value = read();
      } catch (thrown) {
        settle(this.#defect(thrown), undefined as T);
        return;
      }
      settle(null, value);
    };
    if (isLocal) {
      answer(reply);
      return;
    }
    let call: Call<T> | null = null;
    const pending = this.#replica.readBarrier((error) => {
      const waiting = call;
      if (waiting?.isSettled === true) return;
      const settle: Reply<T> =
        waiting === null ? reply : (failed, value): void => waiting.settle(failed, value);
      if (error === null) answer(settle);
      else settle(error, undefined as T);
    }, bytes);
    if (pending === null) return;
    call = this.#calls.open(options, (error, value) => {
      // Where nobody leads it would be kept until somebody does.
      pending.cancel();
      reply(error, value);
    });
  }

  #readTxn(request: TxnRequest, options: CallOptions, reply: Reply<Outcome>): void {
    const isLocal = allRangesSerializable(request);
    const bytes = isLocal ? 0 : heldBytes(request);
    this.#read({ isLocal, bytes }, options, reply, () => this.#machine.readTxn(request));
  }

  #refusalOf(request: AnyWriteRequest): Refusal | null {
    const refused = validateWrite(request, this.#config.limits);
    if (refused !== null) return this.#refuse(refused);
    if (takesSpace(request) && (this.#isOverQuota() || this.#isRaised(AlarmKind.noSpace)))
      return this.#refuse("NO_SPACE");
    return null;
  }

  #refuse(code: Refusal["code"]): Refusal {
    return { kind: "error", code, revision: this.#machine.revision, detail: null };
  }

  #isOverQuota(): boolean {
    const quotaBytes = this.#quotaBytes;
    return quotaBytes > 0 && this.#config.engine.stats.bytesInUse > quotaBytes;
  }

  /** Belongs to the data once a command has set it; until then the node's flag counts (data-model.md). */
  get #quotaBytes(): number {
    return this.#machine.settings.quotaBytes ?? this.#config.quotaBytes;
  }

  /** What apply must not choose is chosen here: ids, and what a moment of the wall clock is on the group's. */
  #complete(request: AnyWriteRequest): AnyWriteRequest {
    if (request.kind === "leaseGrant") {
      if (request.id !== 0n) return request;
      return { ...request, id: BigInt(this.#newId((id) => this.#machine.hasLease(BigInt(id)))) };
    }
    if (request.kind === "sessionOpen") {
      if (request.session !== 0) return request;
      return { ...request, session: this.#newId((id) => this.#machine.hasSession(id)) };
    }
    const single = request.kind === "mset" ? withoutRepeats(request) : request;
    return "expiry" in single && single.expiry.kind === "at"
      ? { ...single, expiry: this.#onGroupClock(single.expiry) }
      : single;
  }

  /** A number that cannot be guessed and is not taken: 53 bits of it. */
  #newId(isTaken: (id: number) => boolean): number {
    let id: number;
    do {
      id = this.#env.entropy.u32() * 0x20_0000 + (this.#env.entropy.u32() >>> 11);
    } while (id === 0 || isTaken(id));
    return id;
  }

  /** The clocks differ where somebody set one: what is left until the moment is the same on both. */
  #onGroupClock<At extends Extract<Expiry, { readonly kind: "at" }>>(expiry: At): At {
    const leftMs = expiry.atMs - Math.floor(this.#env.clock.wallMs());
    return { ...expiry, atMs: this.#replica.clock.nowMs() + leftMs };
  }
}

/** A read of leases: it keeps nothing but numbers. */
const LEASES = { isLocal: false, bytes: 0 };

/** How often it is looked whether the lead has passed over. */
const TRANSFER_LOOK_MS = 10;
const PINNED_BEFORE =
  "this state was pinned before the member was found damaged: read again, of the state it has now";

/** No member has an id beyond what a number holds, and one that is rounded would be another's. */
function memberId(id: bigint): number | null {
  return id >= 1n && id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(id) : null;
}

function memberInfo({ id, ...member }: MemberRecord): MemberInfo {
  return { ...member, id: BigInt(id) };
}

/** Taken even when the disk is full: these give room back or keep promises. */
function freesSpace(request: AnyWriteRequest): boolean {
  return FREES_SPACE.has(request.kind);
}

const FREES_SPACE: ReadonlySet<AnyWriteRequest["kind"]> = new Set<AnyWriteRequest["kind"]>([
  "deleteRange",
  "compact",
  "leaseRevoke",
  "leaseKeepAlive",
  "mdel",
  "unlock",
  "extendLock",
  "sessionClose",
  "configure",
]);

/** Refused when the quota is passed. */
function takesSpace(request: AnyWriteRequest): boolean {
  return request.kind === "txn" ? hasPut(request) : TAKES_SPACE.has(request.kind);
}

const TAKES_SPACE: ReadonlySet<AnyWriteRequest["kind"]> = new Set<AnyWriteRequest["kind"]>([
  "put",
  "leaseGrant",
  "set",
  "incr",
  "append",
  "setRange",
  "mset",
  "lock",
  "sessionOpen",
]);

function hasPut(request: TxnRequest): boolean {
  const isPut = (op: TxnRequest["success"][number]): boolean =>
    op.kind === "put" || (op.kind === "txn" && hasPut(op));
  return request.success.some(isPut) || request.failure.some(isPut);
}

function allRangesSerializable(request: TxnRequest): boolean {
  const isLocal = (op: TxnRequest["success"][number]): boolean =>
    op.kind === "range" ? op.serializable : op.kind === "txn" && allRangesSerializable(op);
  return request.success.every(isLocal) && request.failure.every(isLocal);
}

/** Of an operation or a compare, beside its bytes. */
const OPERATION_BYTES = 128;

/** What a transaction that only reads keeps in memory as long as it waits. */
function heldBytes({ compare, success, failure }: TxnRequest): number {
  let bytes = 0;
  for (const { key, rangeEnd, operand } of compare) {
    bytes += OPERATION_BYTES + key.length + rangeEnd.length;
    if (operand.target === "value") bytes += operand.bytes.length;
  }
  for (const op of [...success, ...failure]) {
    bytes += OPERATION_BYTES;
    if (op.kind === "range") bytes += op.key.length + op.rangeEnd.length;
    else if (op.kind === "txn") bytes += heldBytes(op);
  }
  return bytes;
}
