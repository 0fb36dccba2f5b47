/**
 * The key-value database as a state machine: applies commands to the store, answers reads from it.
 *
 * Apply depends on the entry and on the group's own state alone (architecture section 3, step 5). What a command itself
 * causes is its outcome, the same on every replica; anything else is thrown and stops this replica: bytes that are no
 * command, since commands are checked before they are proposed, or trees that are damaged.
 *
 * Reads may come at any time between two entries. Whether the state is new enough for them is the caller's business.
 */
import { assert, type ErrorCode, HarmonyError, verify } from "../base/index.ts";
import type { Engine } from "../btree/index.ts";
import {
  type Alarm,
  type ChangeListener,
  byEnd,
  describeStore,
  LATEST,
  leaseIdBytes,
  type MemberRecord,
  type Members,
  readLeaseId,
  SESSIONS_MAX,
  Store,
  type StoreCounts,
  type StoreSettings,
} from "../mvcc/index.ts";
import type { ConfChangeV2, LogIndex, Term } from "../raft/index.ts";
import type { ApplyContext, ConfChangeVerdict, StateMachine } from "../replica/index.ts";
import {
  type AlarmCommand,
  decodeCommand,
  type ExpireCommand,
  type LeaseGrantCommand,
  type MemberNewsCommand,
  type OnceCommand,
  type RaiseRevisionCommand,
  type SimpleCommand,
} from "./command.ts";
import { executeKeyCommand } from "./key-commands.ts";
import { decodeMemberChange, makeChange, noteNews, refusalOfChange } from "./member-changes.ts";
import { decodeOutcome, encodeOutcome } from "./outcome.ts";
import { readRange } from "./range.ts";
import type {
  ConfigureRequest,
  LeaseStatus,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
  TxnRequest,
  TxnResponse,
} from "./requests.ts";
import { checkPut, executeDeleteRange, executePut, readTxn, runTxn } from "./txn.ts";

/** The longest TTL of a lease, in seconds, as in etcd. */
const LEASE_TTL_SECONDS_MAX = 9_000_000_000;

/** With more keys than these, a check of all of them follows only one entry of so many. */
const VERIFIED_KEYS = 200;
const VERIFIED_ENTRIES = 100;

/** What a checkpoint knows of the machine besides its trees. */
export interface MachineCheckpoint {
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  /** What `payload()` said. */
  readonly payload: Uint8Array;
}

const NO_COUNTS: StoreCounts = Object.freeze({
  puts: 0,
  deletes: 0,
  expired: 0,
  leasesGranted: 0,
  leasesExpired: 0,
});

function sumOf(one: StoreCounts, other: StoreCounts): StoreCounts {
  return {
    puts: one.puts + other.puts,
    deletes: one.deletes + other.deletes,
    expired: one.expired + other.expired,
    leasesGranted: one.leasesGranted + other.leasesGranted,
    leasesExpired: one.leasesExpired + other.leasesExpired,
  };
}

export class KvStateMachine implements StateMachine<Outcome> {
  readonly #engine: Engine;
  #store: Store;
  #listener: ChangeListener | null = null;
  /** Of the stores that snapshots took the place of. */
  #countsBefore: StoreCounts = NO_COUNTS;
  #appliedIndex: LogIndex = 0;
  #appliedTerm: Term = 0;
  #onApplied: (() => void) | null = null;

  /**
   * `checkpoint` belongs to the trees of `engine`; null says that they are empty. `settings` and `founders` are for a new
   * database, the same on all of them.
   */
  constructor(
    engine: Engine,
    checkpoint: MachineCheckpoint | null,
    settings: StoreSettings,
    founders: readonly MemberRecord[] = [],
  ) {
    this.#engine = engine;
    this.#store = new Store(engine, checkpoint?.payload ?? null, settings, founders);
    if (checkpoint !== null) {
      this.#appliedIndex = checkpoint.appliedIndex;
      this.#appliedTerm = checkpoint.appliedTerm;
    }
  }

  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  get appliedTerm(): Term {
    return this.#appliedTerm;
  }

  get clockMs(): number {
    return this.#store.clockMs;
  }

  get behindMs(): number {
    return this.#store.behindMs;
  }

  get revision(): number {
    return this.#store.revision;
  }

  /** Revisions below cannot be read. 0 when there was no compaction. */
  get compactRevision(): number {
    return this.#store.compactRevision;
  }

  /** Equal on all replicas that applied the same entries. */
  get stateHash(): number {
    return this.#store.stateHash;
  }

  get keyCount(): number {
    return this.#store.count;
  }

  get leaseCount(): number {
    return this.#store.leases.count;
  }

  get lockCount(): number {
    return this.#store.lockCount;
  }

  /** Who belongs to the cluster, as of the last entry applied. */
  get members(): Members {
    return this.#store.members;
  }

  /** What was raised and is not cleared. */
  get alarms(): readonly Alarm[] {
    return this.#store.alarms.list;
  }

  /** What was applied since the start; what came with a snapshot was applied elsewhere. */
  get counts(): StoreCounts {
    return sumOf(this.#countsBefore, this.#store.counts);
  }

  /** The settings that the database was created with, or that a command gave it since: another object then. */
  get settings(): StoreSettings {
    return this.#store.settings;
  }

  /**
   * From now on `listener` hears of changes, and `onApplied` is called when all commands of an entry are applied; null:
   * nobody does. What is not listened to costs nothing.
   */
  listen(listener: ChangeListener | null, onApplied: (() => void) | null): void {
    this.#listener = listener;
    this.#store.listen(listener);
    this.#onApplied = onApplied;
  }

  /**
   * The trees of the engine are others now: those of a snapshot, in whose state this machine goes on. Who listens is told
   * of no change that brought it about, and looks for himself. `isHealed`: the state before was not to be trusted.
   */
  restore(checkpoint: MachineCheckpoint, isHealed: boolean): void {
    assert(checkpoint.appliedIndex > this.#appliedIndex, "a snapshot takes nothing back");
    assert(checkpoint.appliedTerm >= this.#appliedTerm, "terms do not go back");
    const { revision, clockMs } = this.#store;
    this.#countsBefore = this.counts;
    this.#store = new Store(this.#engine, checkpoint.payload, this.settings);
    assert(
      isHealed || (this.#store.revision >= revision && this.#store.clockMs >= clockMs),
      "neither revision nor clock go back with a snapshot",
    );
    this.#store.listen(this.#listener);
    this.#appliedIndex = checkpoint.appliedIndex;
    this.#appliedTerm = checkpoint.appliedTerm;
    verify(() => this.#verify());
  }

  apply(context: ApplyContext, commands: readonly Uint8Array[]): readonly Outcome[] {
    assert(context.index === this.#appliedIndex + 1, "each entry is applied once, in order");
    assert(context.term >= this.#appliedTerm, "terms do not go back");
    const { term, clockMs, behindMs } = context;
    this.#store.beginEntry(term, clockMs, commands.length > 0, behindMs);
    const outcomes: Outcome[] = [];
    for (const bytes of commands) {
      const command = decodeCommand(bytes);
      if (command.kind === "malformed") {
        throw new HarmonyError(
          "CORRUPT",
          `entry ${context.index} holds no command: ${command.what}`,
        );
      }
      outcomes.push(
        command.kind === "once"
          ? this.#applyOnce(command)
          : command.kind === "expire" ||
              command.kind === "raiseRevision" ||
              command.kind === "memberNews" ||
              command.kind === "alarm"
            ? this.#applyOwn(command)
            : this.#applyCommand(command),
      );
    }
    this.#applied(context);
    return outcomes;
  }

  applyConfChange(context: ApplyContext, confChange: ConfChangeV2): ConfChangeVerdict<Outcome> {
    assert(context.index === this.#appliedIndex + 1, "each entry is applied once, in order");
    this.#store.beginEntry(context.term, context.clockMs, false);
    const { members } = this.#store;
    const change = decodeMemberChange(confChange);
    const refused = change === null ? "INVALID_ARGUMENT" : refusalOfChange(members, change);
    if (change !== null && refused === null) makeChange(members, change);
    const result = refused === null ? this.#membersResponse() : this.#refuse(refused);
    this.#applied(context);
    return { isTaken: refused === null, result };
  }

  #applied({ index, term }: ApplyContext): void {
    this.#appliedIndex = index;
    this.#appliedTerm = term;
    this.#onApplied?.();
    verify(() => this.#verify());
  }

  #membersResponse(): Outcome {
    return { kind: "members", revision: this.#store.revision };
  }

  /** Answers from the latest state or an older revision. */
  range(request: RangeRequest): RangeResponse | Refusal {
    const refused = this.#store.revisionError(request.revision);
    return refused === null ? readRange(this.#store, request) : this.#refuse(refused);
  }

  /** A copy of the key's present value, or undefined. */
  value(key: Uint8Array): Uint8Array | undefined {
    return this.#store.view.find(key, LATEST)?.copyOfValue();
  }

  /** Answers a transaction for which `isReadOnlyTxn` holds. */
  readTxn(request: TxnRequest): TxnResponse | Refusal {
    return this.#orRefuse(readTxn(this.#store, request));
  }

  hasLease(id: bigint): boolean {
    return this.#store.leases.has(leaseIdBytes(id));
  }

  /** `nowMs` is the group's clock as the leader reads it now: between two entries time goes on. */
  leaseStatus(id: bigint, withKeys: boolean, nowMs: number): LeaseStatus {
    const { revision, leases } = this.#store;
    const idBytes = leaseIdBytes(id);
    const lease = leases.get(idBytes);
    if (lease === undefined) return { revision, ttlSeconds: -1n, grantedTtlSeconds: 0n, keys: [] };
    const leftMs = this.#store.leaseEndMs(lease) - Math.max(nowMs, this.#store.clockMs);
    const keys: Uint8Array[] = [];
    if (withKeys) leases.forEachKey(idBytes, (key) => keys.push(key.slice()));
    return {
      revision,
      // A lease that is due lives until its expiry is applied, so nothing is left but it is not unknown.
      ttlSeconds: BigInt(Math.max(0, Math.floor(leftMs / 1000))),
      grantedTtlSeconds: BigInt(lease.ttlSeconds),
      keys,
    };
  }

  /** All leases, the one that ends first before the others. */
  leases(): readonly bigint[] {
    const found: { readonly id: bigint; readonly endMs: number }[] = [];
    this.#store.leases.forEach((id, lease) =>
      found.push({ id: readLeaseId(id), endMs: this.#store.leaseEndMs(lease) }),
    );
    // A change of leader moves ends without moving what stands in the tree.
    return found.sort(byEnd).map(({ id }) => id);
  }

  /**
   * When a lease, a key or a session may be due, on the group's clock, or null. Never too late; where it is too early,
   * the expiry that is proposed for it moves it.
   */
  get nextDeadlineMs(): number | null {
    return this.#store.nextDeadlineMs;
  }

  hasSession(session: number): boolean {
    return this.#store.sessions.get(session) !== undefined;
  }

  /** Some of what is compacted is still in the trees. */
  get isCompacting(): boolean {
    return this.#store.isCompacting;
  }

  /** Removes compacted versions, looking at no more than `maxEvents` changes. Local, invisible. True when some are left. */
  compactSlice(maxEvents: number): boolean {
    const isLeft = this.#store.compactSlice(maxEvents);
    verify(() => this.#verify());
    return isLeft;
  }

  /**
   * For a copy that lives on by itself: it goes on at `revision`, and with `compacted` nothing before can be read or
   * watched any more. No entry says so, so it is for a machine that no other replica is compared with.
   */
  continueFrom(revision: number, compacted: boolean): void {
    assert(revision >= this.#store.revision, "revisions do not go back");
    this.#store.raiseRevision(revision);
    // Without history nothing before can be read anyway, and the answer is that it is compacted.
    if (compacted) this.#store.compact(revision);
  }

  /** As `continueFrom`, in a cluster of its own: these are its members, and nobody of the old one is. */
  beginCluster(members: readonly MemberRecord[]): void {
    this.#store.members.replaceAll(members);
  }

  /** What a checkpoint of the trees as they are now must remember, at most 64 bytes. */
  payload(): Uint8Array {
    return this.#store.payload();
  }

  /** The whole logical state, line by line: for comparing replicas and oracles. */
  describe(): string[] {
    return describeStore(this.#engine, this.#store);
  }

  invariants(): void {
    this.#store.invariants();
  }

  /** Looks at every key, so with many of them not after every entry: long simulations stay possible. */
  #verify(): void {
    if (this.keyCount <= VERIFIED_KEYS || this.#appliedIndex % VERIFIED_ENTRIES === 0)
      this.invariants();
  }

  /** A command that may come again: executed once, answered from its session afterwards. */
  #applyOnce({ session, number, fingerprint, command }: OnceCommand): Outcome {
    const { sessions, clockMs } = this.#store;
    const found = sessions.find(session, number, fingerprint);
    if (found === "expired") return this.#refuse("REQUEST_EXPIRED");
    if (found !== "new") {
      const outcome = decodeOutcome(found);
      sessions.touch(session, clockMs);
      return outcome;
    }
    const outcome = this.#applyCommand(command);
    sessions.record(session, number, fingerprint, encodeOutcome(outcome), clockMs);
    return outcome;
  }

  /** What the node proposes by itself; only of what it says of itself it reads the outcome. */
  #applyOwn(
    command: ExpireCommand | RaiseRevisionCommand | MemberNewsCommand | AlarmCommand,
  ): Outcome {
    if (command.kind === "memberNews") {
      const refused = noteNews(this.#store.members, command);
      return refused === null ? this.#membersResponse() : this.#refuse(refused);
    }
    if (command.kind === "expire") this.#store.expire(command.upToClockMs, command.limit);
    else if (command.kind === "alarm") this.#store.alarms.set(command.alarm, command.isRaised);
    else this.#store.raiseRevision(command.revision);
    return { kind: "leaseRevoke", revision: this.#store.revision };
  }

  #applyCommand(command: SimpleCommand): Outcome {
    const store = this.#store;
    switch (command.kind) {
      case "put": {
        const refused = checkPut(store, command);
        if (refused !== null) return this.#refuse(refused);
        store.begin();
        const response = executePut(store, command);
        store.commit();
        return response;
      }
      case "deleteRange": {
        store.begin();
        const response = executeDeleteRange(store, command);
        store.commit();
        return response;
      }
      case "txn":
        return this.#orRefuse(runTxn(store, command));
      case "compact": {
        const refused = store.compact(command.revision);
        return refused === null
          ? { kind: "compact", revision: store.revision }
          : this.#refuse(refused);
      }
      case "leaseGrant":
        return this.#grant(command);
      case "leaseRevoke": {
        const wasThere = store.revokeLease(leaseIdBytes(command.id));
        return wasThere
          ? { kind: "leaseRevoke", revision: store.revision }
          : this.#refuse("LEASE_NOT_FOUND");
      }
      case "leaseKeepAlive": {
        const lease = store.keepLeaseAlive(leaseIdBytes(command.id));
        return {
          kind: "leaseKeepAlive",
          revision: store.revision,
          ttlSeconds: BigInt(lease?.ttlSeconds ?? 0),
        };
      }
      case "sessionOpen":
        return this.#openSession(command.session);
      case "sessionClose": {
        const closed = store.sessions.close(command.session);
        return { kind: "sessionClose", revision: store.revision, closed };
      }
      case "configure":
        return this.#configure(command);
      case "set":
      case "incr":
      case "append":
      case "setRange":
      case "mset":
      case "mdel":
      case "expireKey":
      case "lock":
      case "unlock":
      case "extendLock": {
        store.begin();
        const result = executeKeyCommand(store, command);
        store.commit();
        return typeof result === "string" ? this.#refuse(result) : result;
      }
    }
  }

  #openSession(session: number): Outcome {
    const { sessions, clockMs, revision } = this.#store;
    if (sessions.get(session) !== undefined) return this.#refuse("SESSION_EXISTS");
    if (sessions.count >= SESSIONS_MAX) return this.#refuse("TOO_MANY_SESSIONS");
    sessions.open(session, clockMs);
    return { kind: "sessionOpen", revision, session };
  }

  #configure(command: ConfigureRequest): Outcome {
    const present = this.#store.settings;
    const isDone = this.#store.configure({
      retentionMs: command.retentionMs ?? present.retentionMs,
      retentionRevisions: command.retentionRevisions ?? present.retentionRevisions,
      quotaBytes: command.quotaBytes ?? present.quotaBytes,
    });
    if (!isDone) return this.#refuse("SETTING_FIXED");
    const { retentionMs, retentionRevisions, quotaBytes = null } = this.#store.settings;
    return {
      kind: "configure",
      revision: this.#store.revision,
      retentionMs,
      retentionRevisions,
      quotaBytes,
    };
  }

  #grant(command: LeaseGrantCommand): Outcome {
    const id = leaseIdBytes(command.id);
    if (command.ttlSeconds > LEASE_TTL_SECONDS_MAX) return this.#refuse("LEASE_TTL_TOO_LARGE");
    if (this.#store.leases.has(id)) return this.#refuse("LEASE_EXISTS");
    const ttlSeconds = Math.max(command.ttlSeconds, command.ttlSecondsMin);
    this.#store.grantLease(id, ttlSeconds);
    return {
      kind: "leaseGrant",
      revision: this.#store.revision,
      id: command.id,
      ttlSeconds: BigInt(ttlSeconds),
    };
  }

  #refuse(code: ErrorCode): Refusal {
    return { kind: "error", code, revision: this.#store.revision, detail: null };
  }

  #orRefuse(result: TxnResponse | ErrorCode): TxnResponse | Refusal {
    return typeof result === "string" ? this.#refuse(result) : result;
  }
}
