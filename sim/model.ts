/**
 * The database as one would write it on a whiteboard: a map from keys to all their versions, a map of leases, and
 * etcd's rules on top. It shares no code with the layers under test, only the vocabulary of requests.
 *
 * Keys are strings with one character for each byte, so the order of strings is the order of bytes.
 */
import { hash32 } from "../src/base/index.ts";
import type {
  Compare,
  DeleteRangeRequest,
  KeyRange,
  KeyValue,
  Outcome,
  PutRequest,
  RangeRequest,
  RangeResponse,
  Refusal,
  RequestOp,
  ResponseOp,
  RequestId,
  TxnRequest,
  WatchEvent,
  WriteRequest,
} from "../src/db/index.ts";
import { applyNative, type KnownNativeRequest } from "./model-native.ts";
import { applyOnce, type ModelSession } from "./model-sessions.ts";
import { SOME_MS, sameBytes } from "./violation.ts";

/** What the workload sends and the model knows. */
export type ModelRequest = WriteRequest | KnownNativeRequest;

type Cause = NonNullable<WatchEvent["cause"]>;

/** What the model cannot know by itself: it has no clock. */
export interface Times {
  /** What somebody heard of a revision, or null when there was none, or nobody listens. */
  at(revision: number): readonly WatchEvent[] | null;
  /** Somebody listens. */
  readonly isHeard: boolean;
  /** Bounds of the group's clock. */
  highMs(): number;
  lowMs(atMs: number): number;
}

const NO_TIMES: Times = {
  at: () => null,
  isHeard: false,
  highMs: () => Number.POSITIVE_INFINITY,
  lowMs: () => 0,
};

/** The changes of one revision, and what came before. */
interface Chapter {
  readonly revision: number;
  readonly events: readonly WatchEvent[];
  readonly before: Chapter | null;
}

interface Version {
  readonly modRevision: number;
  readonly createRevision: number;
  readonly version: number;
  /** Null: deleted. */
  readonly value: Uint8Array | null;
  readonly lease: bigint;
  /** On the group's clock; 0: none. SOME_MS: nobody has told it yet. */
  readonly deadlineMs: number;
  /** The value is the token of whoever holds the lock. */
  readonly isLock?: boolean;
}

export interface ModelLease {
  readonly ttlSeconds: number;
  /** The lease is promised to live at least until then, in simulated milliseconds. */
  readonly livesUntilMs: number;
}

const NOTHING = new Uint8Array(0);

export function keyText(key: Uint8Array): string {
  let out = "";
  for (let i = 0; i < key.length; i++) out += String.fromCharCode(key[i] as number);
  return out;
}

export function keyBytes(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

export class KvModel {
  revision = 1;
  /** Leases that ended by themselves. */
  leasesEnded = 0;
  /** Keys and sessions that did. */
  keysEnded = 0;
  sessionsEnded = 0;
  readonly leaseTtlSecondsMin: number;
  /** Without a history only the newest revision can be read. */
  keepsHistory: boolean;
  /** What a command gave the data; null: what the node was started with counts. */
  quotaBytes: number | null = null;
  retentionRevisions: number | null = null;
  times: Times = NO_TIMES;
  /** The group's clock has come at least as far: that of the last stamp that something told. */
  stampMs = 0;
  /** When the command of that stamp was issued, null where none did. */
  stampIssuedMs: number | null = null;
  /** What was heard of the next revision is not what the command does that comes now. */
  isStill = false;
  /** Why what was heard cannot be, or null. */
  doubt: string | null = null;
  #sessions = new Map<number, ModelSession>();
  /** Of all keys that have one. */
  #deadlines = new Map<string, number>();
  #chapter: Chapter | null = null;
  #compactRevision = 0;
  /** Over all changes in their order: models with one history have one signature. */
  #signature = 0;
  /** Arrays are replaced, never changed, so that copies of the model share them. */
  #versions = new Map<string, readonly Version[]>();
  #sortedKeys: readonly string[] | null = null;
  #leases = new Map<bigint, ModelLease>();

  constructor(leaseTtlSecondsMin: number, keepsHistory: boolean) {
    this.leaseTtlSecondsMin = leaseTtlSecondsMin;
    this.keepsHistory = keepsHistory;
  }

  get compactRevision(): number {
    return this.keepsHistory ? this.#compactRevision : this.revision;
  }

  copy(): KvModel {
    const copy = new KvModel(this.leaseTtlSecondsMin, this.keepsHistory);
    copy.revision = this.revision;
    copy.leasesEnded = this.leasesEnded;
    copy.keysEnded = this.keysEnded;
    copy.sessionsEnded = this.sessionsEnded;
    copy.#compactRevision = this.#compactRevision;
    copy.#versions = new Map(this.#versions);
    copy.#sortedKeys = this.#sortedKeys;
    copy.#signature = this.#signature;
    copy.#leases = new Map(this.#leases);
    copy.quotaBytes = this.quotaBytes;
    copy.retentionRevisions = this.retentionRevisions;
    copy.times = this.times;
    copy.stampMs = this.stampMs;
    copy.stampIssuedMs = this.stampIssuedMs;
    copy.doubt = this.doubt;
    if (this.#sessions.size > 0) copy.#sessions = new Map(this.#sessions);
    if (this.#deadlines.size > 0) copy.#deadlines = new Map(this.#deadlines);
    copy.#chapter = this.#chapter;
    return copy;
  }

  get signature(): number {
    return this.#signature;
  }

  get leases(): ReadonlyMap<bigint, ModelLease> {
    return this.#leases;
  }

  /** Keys that hold this lease, in byte order. */
  keysOf(lease: bigint): string[] {
    return this.#keys().filter((key) => this.#liveAt(key, this.revision)?.lease === lease);
  }

  keyBytesOf(lease: bigint): Uint8Array[] {
    return this.keysOf(lease).map(keyBytes);
  }

  get sessions(): ReadonlyMap<number, ModelSession> {
    return this.#sessions;
  }

  setSession(id: number, session: ModelSession | null): void {
    if (session === null) this.#sessions.delete(id);
    else this.#sessions.set(id, session);
  }

  /** Keys that end, and when. */
  get deadlines(): ReadonlyMap<string, number> {
    return this.#deadlines;
  }

  /** The changes of a revision in their order. */
  eventsAt(revision: number): readonly WatchEvent[] {
    let chapter = this.#chapter;
    while (chapter !== null && chapter.revision > revision) chapter = chapter.before;
    return chapter?.revision === revision ? chapter.events : [];
  }

  /** The changes of these revisions, both included. */
  eventsOf(first: number, last: number): WatchEvent[] {
    const out: (readonly WatchEvent[])[] = [];
    for (let at = this.#chapter; at !== null && at.revision >= first; at = at.before)
      if (at.revision <= last) out.push(at.events);
    return out.toReversed().flat();
  }

  /** With a request id it happens once, however often it comes. */
  applyOnce(request: ModelRequest, id: RequestId | null, proposedAtMs: number): Outcome {
    return id === null
      ? this.apply(request, proposedAtMs)
      : applyOnce(this, request, id, proposedAtMs);
  }

  /** What the database answers to `request`, and the change that it makes. `proposedAtMs` restarts leases. */
  apply(request: ModelRequest, proposedAtMs: number): Outcome {
    switch (request.kind) {
      case "set":
      case "incr":
      case "append":
      case "setRange":
      case "mset":
      case "mdel":
      case "expireKey":
      case "lock":
      case "unlock":
      case "extendLock":
      case "sessionOpen":
      case "sessionClose":
      case "configure":
        return applyNative(this, request, proposedAtMs);
      case "put":
      case "deleteRange":
      case "txn":
        return this.#atomically(request);
      case "compact":
        if (request.revision <= this.compactRevision) return this.#refuse("COMPACTED");
        if (request.revision > this.revision) return this.#refuse("FUTURE_REV");
        this.compactTo(request.revision);
        return { kind: "compact", revision: this.revision };
      case "leaseGrant": {
        if (this.#leases.has(request.id)) return this.#refuse("LEASE_EXISTS");
        const ttlSeconds = Math.max(Number(request.ttlSeconds), this.leaseTtlSecondsMin);
        this.#leases.set(request.id, {
          ttlSeconds,
          livesUntilMs: proposedAtMs + ttlSeconds * 1000,
        });
        return {
          kind: "leaseGrant",
          revision: this.revision,
          id: request.id,
          ttlSeconds: BigInt(ttlSeconds),
        };
      }
      case "leaseRevoke":
        if (!this.#leases.has(request.id)) return this.#refuse("LEASE_NOT_FOUND");
        this.endLease(request.id);
        return { kind: "leaseRevoke", revision: this.revision };
      case "leaseKeepAlive": {
        const lease = this.#leases.get(request.id);
        if (lease === undefined)
          return { kind: "leaseKeepAlive", revision: this.revision, ttlSeconds: 0n };
        this.renewLease(request.id, proposedAtMs);
        const { ttlSeconds } = lease;
        return {
          kind: "leaseKeepAlive",
          revision: this.revision,
          ttlSeconds: BigInt(ttlSeconds),
        };
      }
    }
  }

  /** The newest version, or null where there is none. */
  keyValueOf(key: string): KeyValue | null {
    const version = this.#liveAt(key, this.revision);
    return version === null ? null : keyValue(key, version, false);
  }

  isLocked(key: string): boolean {
    return this.#liveAt(key, this.revision)?.isLock === true;
  }

  inOneRevision(change: (revision: number) => void): void {
    change(this.revision + 1);
    this.revision++;
  }

  /** Within `inOneRevision`; null deletes. */
  write(
    key: string,
    value: Uint8Array | null,
    lease: bigint,
    revision: number,
    { isLock = false, deadlineMs = 0, cause = "client" as Cause } = {},
  ): void {
    if (value === null) {
      this.#remove(key, revision, cause);
      return;
    }
    const previous = this.#liveAt(key, revision);
    this.#add(key, {
      modRevision: revision,
      createRevision: previous?.createRevision ?? revision,
      version: (previous?.version ?? 0) + 1,
      value,
      lease,
      deadlineMs,
      isLock,
    });
  }

  /**
   * The deadline that a command gives a key which it leaves with so long to live. It counts from the stamp of its entry,
   * which shows in what was heard of it and must be possible. Null: the deadline is the one that the key has already,
   * and nothing is changed.
   */
  deadlineAfter(key: string, ttlMs: number, proposedAtMs: number): number | null {
    if (!this.times.isHeard) return SOME_MS;
    const heard = this.isStill ? null : this.times.at(this.revision + 1);
    const event = heard?.find(({ kv }) => keyText(kv.key) === key && kv.version > 0);
    const deadlineMs = event?.kv.deadlineMs ?? null;
    const present = this.#deadlines.get(key) ?? 0;
    this.#stamped(key, (deadlineMs ?? present) - ttlMs, proposedAtMs);
    return deadlineMs;
  }

  #stamped(key: string, stampMs: number, proposedAtMs: number): void {
    const lowMs = Math.max(this.stampMs, this.times.lowMs(proposedAtMs));
    const highMs = this.times.highMs();
    if (!(stampMs < lowMs || stampMs > highMs)) {
      this.stampMs = Math.max(stampMs, this.stampMs);
      this.stampIssuedMs = proposedAtMs;
    } else
      this.doubt ??= `the deadline of ${key} counts from ${stampMs}, and the clock was between ${lowMs} and ${highMs}`;
  }

  /** These keys have ended, in this order, by their own deadlines. */
  endKeys(keys: readonly string[]): void {
    const { revision } = this;
    let lastMs = 0;
    for (const key of keys) {
      const deadlineMs = this.#deadlines.get(key);
      if (deadlineMs === undefined) this.doubt ??= `${key} ended, and had no deadline`;
      else if (deadlineMs < lastMs) this.doubt ??= `${key} ended after others, and was due before`;
      else if (deadlineMs > this.times.highMs())
        this.doubt ??= `${key} ended ${deadlineMs - this.times.highMs()} ms too early`;
      else if (!Number.isNaN(deadlineMs)) lastMs = deadlineMs;
      this.#remove(key, revision + 1, "expired");
      this.keysEnded++;
    }
    for (const [key, deadlineMs] of this.#deadlines)
      if (deadlineMs <= lastMs) this.doubt ??= `${key} was due at ${deadlineMs} and stayed`;
    if (lastMs > this.stampMs) {
      this.stampMs = lastMs;
      this.stampIssuedMs = null;
    }
    this.revision = revision + 1;
  }

  /** Deadlines that nobody had told are seen. */
  learnDeadlines(kvs: readonly KeyValue[]): void {
    for (const { key: bytes, deadlineMs = 0 } of kvs) {
      const key = keyText(bytes);
      const versions = this.#versions.get(key);
      if (!Number.isNaN(this.#deadlines.get(key) ?? 0) || versions === undefined) continue;
      this.#deadlines.set(key, deadlineMs);
      const newest = versions[versions.length - 1] as Version;
      this.#versions.set(key, [...versions.slice(0, -1), { ...newest, deadlineMs }]);
    }
  }

  /** Something changed in the present revision that no key shows: the history begins here. */
  beginHistory(): void {
    this.keepsHistory = true;
    this.revision++;
    this.compactTo(this.revision);
  }

  /** The lease is over: its keys go in one revision. */
  endLease(id: bigint): void {
    const keys = this.keysOf(id);
    this.#leases.delete(id);
    if (keys.length === 0) return;
    const revision = this.revision + 1;
    for (const key of keys) this.#remove(key, revision, "lease");
    this.revision = revision;
  }

  renewLease(id: bigint, atMs: number): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    const livesUntilMs = Math.max(lease.livesUntilMs, atMs + lease.ttlSeconds * 1000);
    this.#leases.set(id, { ttlSeconds: lease.ttlSeconds, livesUntilMs });
  }

  /** A keep-alive that may or may not have happened: the lower promise stays. */
  weakenLease(id: bigint, lease: ModelLease): void {
    if (this.#leases.has(id)) this.#leases.set(id, lease);
  }

  compactTo(revision: number): void {
    this.#compactRevision = revision;
    for (const [key, versions] of this.#versions) {
      let first = 0;
      while (
        first + 1 < versions.length &&
        (versions[first + 1] as Version).modRevision <= revision
      )
        first++;
      const oldest = versions[first] as Version;
      if (oldest.value === null && oldest.modRevision <= revision) first++;
      if (first === versions.length) {
        this.#versions.delete(key);
        this.#sortedKeys = null;
      } else if (first > 0) this.#versions.set(key, versions.slice(first));
    }
  }

  range(request: RangeRequest): RangeResponse | Refusal {
    return this.#range(request, this.revision);
  }

  /** A transaction that only reads. */
  readTxn(request: TxnRequest): Outcome {
    return this.#atomically(request);
  }

  /** Everything that `op` holds happens in one revision, or nothing does. */
  #atomically(op: PutRequest | DeleteRangeRequest | TxnRequest): Outcome {
    // The branches of all transactions, nested ones too, are chosen on the state before the first operation.
    const taken = new Map<TxnRequest, boolean>();
    if (op.kind === "txn") this.#choose(op, taken);
    const refused = this.#refusalOf(op, taken);
    if (refused !== null) return this.#refuse(refused);
    const run = { revision: this.revision + 1, changed: false };
    const response = this.#run(op, taken, run, this.revision);
    if (run.changed) this.revision = run.revision;
    return response;
  }

  #choose(txn: TxnRequest, taken: Map<TxnRequest, boolean>): void {
    const holds = txn.compare.every((compare) => this.#holds(compare));
    taken.set(txn, holds);
    for (const op of holds ? txn.success : txn.failure)
      if (op.kind === "txn") this.#choose(op, taken);
  }

  /** etcd looks at the lease of a put first when it stands alone and last in a transaction, and at ranges after puts. */
  #refusalOf(op: RequestOp, taken: ReadonlyMap<TxnRequest, boolean>): Refusal["code"] | null {
    if (op.kind === "put")
      return this.#leaseRefusal(op) ?? this.#keyRefusal(op) ?? this.#lockRefusal(op);
    const ops = chosenOps(op, taken);
    for (const inner of ops) {
      const refused =
        inner.kind === "put"
          ? (this.#keyRefusal(inner) ?? this.#leaseRefusal(inner) ?? this.#lockRefusal(inner))
          : null;
      if (refused !== null) return refused;
    }
    for (const inner of ops) {
      if (inner.kind !== "range") continue;
      if (inner.revision > this.revision) return "FUTURE_REV";
      if (inner.revision > 0 && inner.revision < this.compactRevision) return "COMPACTED";
    }
    return null;
  }

  #leaseRefusal(op: PutRequest): Refusal["code"] | null {
    return op.lease !== 0n && !this.#leases.has(op.lease) ? "LEASE_NOT_FOUND" : null;
  }

  #keyRefusal(op: PutRequest): Refusal["code"] | null {
    const needsKey = op.ignoreValue || op.ignoreLease;
    return needsKey && this.#liveAt(keyText(op.key), this.revision) === null
      ? "KEY_NOT_FOUND"
      : null;
  }

  /** No branch of the workload deletes a key that it puts, so a lock is never released on the way. */
  #lockRefusal(op: PutRequest): Refusal["code"] | null {
    return this.isLocked(keyText(op.key)) ? "LOCKED" : null;
  }

  #run(
    op: RequestOp,
    taken: ReadonlyMap<TxnRequest, boolean>,
    run: { readonly revision: number; changed: boolean },
    before: number,
  ): ResponseOp {
    switch (op.kind) {
      case "put":
        return this.#put(op, run);
      case "deleteRange":
        return this.#deleteRange(op, run, before);
      case "range": {
        const seen = run.changed ? run.revision : before;
        return this.#range(op, seen) as RangeResponse;
      }
      case "txn": {
        const succeeded = taken.get(op) === true;
        const responses = (succeeded ? op.success : op.failure).map((inner) =>
          this.#run(inner, taken, run, before),
        );
        return { kind: "txn", revision: run.changed ? run.revision : before, succeeded, responses };
      }
      case "unset":
        throw new Error("the workload names every operation");
    }
  }

  #put(op: PutRequest, run: { readonly revision: number; changed: boolean }): ResponseOp {
    const key = keyText(op.key);
    const previous = this.#liveAt(key, run.revision);
    this.#add(key, {
      modRevision: run.revision,
      createRevision: previous?.createRevision ?? run.revision,
      version: (previous?.version ?? 0) + 1,
      value: op.ignoreValue ? (previous?.value ?? NOTHING) : op.value,
      lease: op.ignoreLease ? (previous?.lease ?? 0n) : op.lease,
      deadlineMs: 0,
    });
    run.changed = true;
    return {
      kind: "put",
      revision: run.revision,
      prevKv: op.prevKv && previous !== null ? keyValue(key, previous, false) : null,
    };
  }

  #deleteRange(
    op: DeleteRangeRequest,
    run: { readonly revision: number; changed: boolean },
    before: number,
  ): ResponseOp {
    const found = this.#liveIn(op, run.revision);
    for (const [key] of found) this.#remove(key, run.revision, "client");
    if (found.length > 0) run.changed = true;
    return {
      kind: "deleteRange",
      revision: run.changed ? run.revision : before,
      deleted: found.length,
      prevKvs: op.prevKv ? found.map(([key, version]) => keyValue(key, version, false)) : [],
    };
  }

  #range(request: RangeRequest, current: number): RangeResponse | Refusal {
    if (request.revision > this.revision) return this.#refuse("FUTURE_REV");
    if (request.revision > 0 && request.revision < this.compactRevision)
      return this.#refuse("COMPACTED");
    const all = this.#liveIn(request, request.revision > 0 ? request.revision : current);
    const response = { kind: "range" as const, revision: current, count: all.length };
    if (request.countOnly) return { ...response, kvs: [], more: false };
    const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision, limit } = request;
    const kept = all.filter(
      ([, { modRevision, createRevision }]) =>
        (maxModRevision === 0 || modRevision <= maxModRevision) &&
        (minModRevision === 0 || modRevision >= minModRevision) &&
        (maxCreateRevision === 0 || createRevision <= maxCreateRevision) &&
        (minCreateRevision === 0 || createRevision >= minCreateRevision),
    );
    // The workload sorts only by what never ties: keys, and values that are all different.
    if (request.sortTarget === "value")
      kept.sort(([, a], [, b]) =>
        compareText(keyText(a.value as Uint8Array), keyText(b.value as Uint8Array)),
      );
    if (request.sortOrder === "descend") kept.reverse();
    const more = limit > 0 && kept.length > limit;
    const kvs = (more ? kept.slice(0, limit) : kept).map(([key, version]) =>
      keyValue(key, version, request.keysOnly),
    );
    return { ...response, kvs, more };
  }

  #holds(compare: Compare): boolean {
    const found = this.#liveIn(compare, this.revision);
    if (found.length === 0) return compares(compare, null);
    return found.every(([, version]) => compares(compare, version));
  }

  #refuse(code: Refusal["code"]): Refusal {
    return { kind: "error", code, revision: this.revision, detail: null };
  }

  #liveIn(range: KeyRange, revision: number): (readonly [string, Version])[] {
    const out: (readonly [string, Version])[] = [];
    for (const key of this.#keysIn(range)) {
      const version = this.#liveAt(key, revision);
      if (version !== null) out.push([key, version]);
    }
    return out;
  }

  #keysIn({ key, rangeEnd }: KeyRange): readonly string[] {
    const from = keyText(key);
    if (rangeEnd.length === 0) return this.#versions.has(from) ? [from] : [];
    const isOpen = rangeEnd.length === 1 && rangeEnd[0] === 0;
    const to = keyText(rangeEnd);
    return this.#keys().filter((candidate) => candidate >= from && (isOpen || candidate < to));
  }

  #keys(): readonly string[] {
    this.#sortedKeys ??= [...this.#versions.keys()].toSorted(compareText);
    return this.#sortedKeys;
  }

  #liveAt(key: string, revision: number): Version | null {
    const versions = this.#versions.get(key);
    if (versions === undefined) return null;
    for (let i = versions.length - 1; i >= 0; i--) {
      const version = versions[i] as Version;
      if (version.modRevision <= revision) return version.value === null ? null : version;
    }
    return null;
  }

  #add(key: string, version: Version, cause: Cause | null = null): void {
    const versions = this.#versions.get(key);
    let name = key.length + (cause?.length ?? 0);
    for (let i = 0; i < key.length; i++) name = Math.imul(name, 31) + key.charCodeAt(i);
    this.#signature = hash32(
      this.#signature,
      version.modRevision,
      name + (version.value?.length ?? -1),
    );
    this.#tell(key, version, cause);
    if (version.deadlineMs !== 0) this.#deadlines.set(key, version.deadlineMs);
    else this.#deadlines.delete(key);
    if (versions === undefined) this.#sortedKeys = null;
    this.#versions.set(key, versions === undefined ? [version] : [...versions, version]);
  }

  #tell(key: string, version: Version, cause: Cause | null): void {
    const { modRevision: revision } = version;
    const previous = this.#liveAt(key, revision);
    const event: WatchEvent = {
      type: cause === null ? "put" : "delete",
      kv: keyValue(key, version, false),
      prevKv: previous === null ? null : keyValue(key, previous, false),
      cause,
    };
    const last = this.#chapter;
    this.#chapter =
      last?.revision === revision
        ? { ...last, events: [...last.events, event] }
        : { revision, events: [event], before: last };
  }

  #remove(key: string, revision: number, cause: Cause): void {
    const gone = { createRevision: 0, version: 0, value: null, lease: 0n, deadlineMs: 0 };
    this.#add(key, { ...gone, modRevision: revision }, cause);
  }
}

/** The operations that will run, those of nested transactions in their places. */
function chosenOps(op: RequestOp, taken: ReadonlyMap<TxnRequest, boolean>): readonly RequestOp[] {
  if (op.kind !== "txn") return [op];
  return (taken.get(op) === true ? op.success : op.failure).flatMap((inner) =>
    chosenOps(inner, taken),
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function keyValue(key: string, version: Version, keysOnly: boolean): KeyValue {
  const plain = {
    key: keyBytes(key),
    value: keysOnly || version.value === null ? NOTHING : version.value,
    createRevision: version.createRevision,
    modRevision: version.modRevision,
    version: version.version,
    lease: version.lease,
  };
  const { deadlineMs } = version;
  if (deadlineMs === 0) return plain;
  return version.isLock === true
    ? { ...plain, deadlineMs, isLock: true }
    : { ...plain, deadlineMs };
}

function compares({ operand, result }: Compare, version: Version | null): boolean {
  if (operand.target === "value") {
    if (version === null || version.value === null) return false;
    if (result === "equal") return sameBytes(version.value, operand.bytes);
    if (result === "notEqual") return !sameBytes(version.value, operand.bytes);
    return stands(compareText(keyText(version.value), keyText(operand.bytes)), result);
  }
  if (operand.target === "lease") {
    const lease = version?.lease ?? 0n;
    return stands(lease < operand.lease ? -1 : lease > operand.lease ? 1 : 0, result);
  }
  const field =
    operand.target === "version"
      ? version?.version
      : operand.target === "create"
        ? version?.createRevision
        : version?.modRevision;
  return stands((field ?? 0) - operand.number, result);
}

function stands(order: number, result: Compare["result"]): boolean {
  switch (result) {
    case "equal":
      return order === 0;
    case "notEqual":
      return order !== 0;
    case "less":
      return order < 0;
    case "greater":
      return order > 0;
  }
}
