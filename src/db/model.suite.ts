/**
 * The database as a list of everything that ever happened: obviously correct, slow, and sharing nothing with the store
 * but the request types and the way a version is written as a line. Each read goes through the whole list.
 */
import type { ErrorCode } from "../base/index.ts";
import {
  describeLease,
  describeSession,
  describeVersion,
  type StoreSettings,
} from "../mvcc/index.ts";
import type { ExpireCommand } from "./command.ts";
import { writeNative } from "./model-native.suite.ts";
import { decodeOutcome, encodeOutcome } from "./outcome.ts";
import type {
  Compare,
  KeyRange,
  KeyValue,
  NativeRequest,
  Outcome,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseOp,
  TxnRequest,
  WriteRequest,
} from "./requests.ts";

interface Change {
  readonly key: string;
  readonly revision: number;
  readonly sub: number;
  /** Null: the key was deleted. */
  readonly now: {
    readonly create: number;
    readonly version: number;
    readonly lease: bigint;
    readonly value: string;
    /** 0 for none. */
    readonly deadline: number;
    readonly isLock: boolean;
  } | null;
}

interface ModelSession {
  used: number;
  highest: number;
  /** By number: the request in words, and what was kept of its outcome. */
  readonly results: Map<number, { readonly request: string; readonly outcome: Outcome }>;
}

interface ModelLease {
  readonly ttl: number;
  end: number;
}

export interface ModelOptions {
  readonly settings: StoreSettings;
  readonly ttlMin: number;
  /** No value becomes longer by appending. */
  readonly valueLengthMax: number;
}

/** Bytes as a string of one character each, so that strings compare as the bytes do. */
export function chars(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

export function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

export class Model {
  readonly options: ModelOptions;
  settings: StoreSettings;
  readonly sessions = new Map<number, ModelSession>();
  readonly changes: Change[] = [];
  readonly leases = new Map<bigint, ModelLease>();
  revision = 1;
  compacted = -1;
  clock = 0;
  term = 0;

  constructor(options: ModelOptions) {
    this.options = options;
    this.settings = options.settings;
  }

  get isHistoryOn(): boolean {
    return this.settings.retentionMs > 0 || this.settings.retentionRevisions > 0;
  }

  get compactRevision(): number {
    return this.isHistoryOn ? Math.max(0, this.compacted) : this.revision;
  }

  /** An entry with commands. A new term gives every lease its full time again. */
  beginEntry(term: number, clock: number): void {
    this.clock = clock;
    if (term === this.term) return;
    this.term = term;
    for (const lease of this.leases.values())
      lease.end = Math.max(lease.end, clock + lease.ttl * 1000);
  }

  /** A request with an id: happens once. */
  once(session: number, number: number, request: WriteRequest | NativeRequest): Outcome {
    const known = this.sessions.get(session);
    if (known === undefined || number <= known.highest - 64) return this.refuse("REQUEST_EXPIRED");
    const words = inWords(request);
    const before = known.results.get(number);
    if (before !== undefined && before.request !== words) return this.refuse("REQUEST_EXPIRED");
    known.used = this.clock;
    if (before !== undefined) return before.outcome;
    const outcome = this.write(request);
    known.highest = Math.max(known.highest, number);
    // What is too large is kept as "done"; the codec has tests of its own.
    known.results.set(number, { request: words, outcome: decodeOutcome(encodeOutcome(outcome)) });
    for (const old of known.results.keys())
      if (old <= known.highest - 64) known.results.delete(old);
    return outcome;
  }

  write(request: WriteRequest | NativeRequest | ExpireCommand): Outcome {
    switch (request.kind) {
      case "put":
      case "deleteRange":
      case "txn": {
        const refused =
          request.kind === "put"
            ? this.#putRefused(request, true)
            : request.kind === "txn"
              ? this.#txnRefused(request)
              : null;
        return refused === null ? this.transaction(() => this.#run(request)) : this.refuse(refused);
      }
      case "compact": {
        const last = this.isHistoryOn ? this.compacted : this.revision;
        if (request.revision <= last) return this.refuse("COMPACTED");
        if (request.revision > this.revision) return this.refuse("FUTURE_REV");
        this.compacted = request.revision;
        return { kind: "compact", revision: this.revision };
      }
      case "leaseGrant": {
        const asked = Number(request.ttlSeconds);
        if (asked > 9e9) return this.refuse("LEASE_TTL_TOO_LARGE");
        if (this.leases.has(request.id)) return this.refuse("LEASE_EXISTS");
        const ttl = Math.max(asked, this.options.ttlMin);
        this.leases.set(request.id, { ttl, end: this.clock + ttl * 1000 });
        return {
          kind: "leaseGrant",
          revision: this.revision,
          id: request.id,
          ttlSeconds: BigInt(ttl),
        };
      }
      case "leaseRevoke":
        if (!this.leases.has(request.id)) return this.refuse("LEASE_NOT_FOUND");
        this.#end(request.id);
        return { kind: "leaseRevoke", revision: this.revision };
      case "leaseKeepAlive": {
        const lease = this.leases.get(request.id);
        if (lease !== undefined) lease.end = this.clock + lease.ttl * 1000;
        return {
          kind: "leaseKeepAlive",
          revision: this.revision,
          ttlSeconds: BigInt(lease?.ttl ?? 0),
        };
      }
      case "expire": {
        this.#expire(Math.min(request.upToClockMs, this.clock));
        return { kind: "leaseRevoke", revision: this.revision };
      }
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
        return writeNative(this, request);
    }
  }

  /** One after the other, always the one whose end comes first; keys that follow each other go in one revision. */
  #expire(due: number): void {
    const order = { lease: 0, key: 1, session: 2 };
    type Ending = { readonly end: number; readonly id: string } & (
      | { readonly kind: "lease"; readonly lease: bigint }
      | { readonly kind: "key" }
      | { readonly kind: "session"; readonly session: number }
    );
    const big = (id: bigint): string => BigInt.asUintN(64, id).toString(16).padStart(16, "0");
    for (;;) {
      const ending: Ending[] = [
        ...[...this.leases].map(
          ([lease, { end }]) => ({ kind: "lease", end, id: big(lease), lease }) as const,
        ),
        ...this.latest()
          .filter(({ now }) => (now?.deadline ?? 0) > 0)
          .map(({ key, now }) => ({ kind: "key", end: now?.deadline ?? 0, id: key }) as const),
        ...[...this.sessions].map(
          ([session, { used }]) =>
            ({
              kind: "session",
              end: used + 900_000,
              id: big(BigInt(session)),
              session,
            }) as const,
        ),
      ];
      ending.sort(
        (a, b) => a.end - b.end || order[a.kind] - order[b.kind] || (a.id < b.id ? -1 : 1),
      );
      const [first] = ending;
      if (first === undefined || first.end > due) break;
      if (first.kind === "key") this.add(first.id, null);
      else if (first.kind === "session") this.sessions.delete(first.session);
      else {
        this.revision = this.revisionInTxn;
        this.#end(first.lease);
      }
    }
    this.revision = this.revisionInTxn;
  }

  read(request: RangeRequest | TxnRequest): Outcome {
    if (request.kind === "range") {
      const refused = this.#revisionRefused(request.revision);
      return refused === null ? this.#range(request) : this.refuse(refused);
    }
    const refused = this.#txnRefused(request);
    return refused === null ? this.#run(request) : this.refuse(refused);
  }

  describe(): string[] {
    const lines = [
      `revision ${this.revision} compacted ${this.compactRevision} clock ${this.clock}`,
    ];
    const shown = this.changes.filter((change) => this.#isShown(change));
    shown.sort((a, b) =>
      a.key < b.key ? -1 : a.key > b.key ? 1 : a.revision - b.revision || a.sub - b.sub,
    );
    for (const { key, revision, sub, now } of shown) {
      const place = { key: bytes(key), revision, sub };
      lines.push(
        describeVersion(
          now === null
            ? { ...place, isDelete: true }
            : {
                ...place,
                isDelete: false,
                createRevision: now.create,
                version: now.version,
                lease: now.lease,
                deadlineMs: now.deadline,
                isLock: now.isLock,
                value: bytes(now.value),
              },
        ),
      );
    }
    const leases = [...this.leases].sort(([a, x], [b, y]) => x.end - y.end || (a < b ? -1 : 1));
    for (const [id, { ttl, end }] of leases) {
      lines.push(
        describeLease({ id, ttlSeconds: ttl, endMs: end, keys: this.leaseKeys(id).map(bytes) }),
      );
    }
    for (const [session, { used, highest, results }] of [...this.sessions].sort(
      ([a], [b]) => a - b,
    )) {
      const numbers = [...results.keys()].sort((a, b) => a - b);
      lines.push(describeSession(session, used + 900_000, highest, numbers));
    }
    return lines;
  }

  /** What a key holds now. */
  holds(key: string): NonNullable<Change["now"]> | null {
    return this.latest().find((change) => change.key === key)?.now ?? null;
  }

  /** The present version of a key as it is answered. */
  keyValue(key: string): KeyValue | null {
    const found = this.latest().find((change) => change.key === key);
    return found === undefined ? null : keyValue(found, false);
  }

  leaseKeys(id: bigint): string[] {
    return this.latest()
      .filter(({ now }) => now?.lease === id)
      .map(({ key }) => key);
  }

  /** Whether a read at a readable revision can show the change, or a watch from the compact revision on. */
  #isShown(change: Change): boolean {
    if (!this.isHistoryOn) return this.latest().includes(change);
    if (change.revision >= this.compactRevision) return true;
    return this.#at(this.compactRevision).includes(change);
  }

  /** The live changes at a revision, in key order. */
  #at(revision: number): Change[] {
    const newest = new Map<string, Change>();
    for (const change of this.changes)
      if (change.revision <= revision) newest.set(change.key, change);
    const live = [...newest.values()].filter(({ now }) => now !== null);
    return live.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  latest(): Change[] {
    return this.#at(Infinity);
  }

  in(range: KeyRange, live: Change[]): Change[] {
    const from = chars(range.key);
    const to = chars(range.rangeEnd);
    if (to === "") return live.filter(({ key }) => key === from);
    return live.filter(({ key }) => key >= from && (to === "\0" || key < to));
  }

  get revisionInTxn(): number {
    return this.changes.some(({ revision }) => revision > this.revision)
      ? this.revision + 1
      : this.revision;
  }

  transaction<T>(run: () => T): T {
    const result = run();
    this.revision = this.revisionInTxn;
    return result;
  }

  #run(op: RequestOp): ResponseOp {
    switch (op.kind) {
      case "range":
        return this.#range(op);
      case "put": {
        const old = this.in({ key: op.key, rangeEnd: bytes("") }, this.latest())[0];
        const value = op.ignoreValue ? (old?.now?.value ?? "") : chars(op.value);
        const lease = op.ignoreLease ? (old?.now?.lease ?? 0n) : op.lease;
        const create = old?.now?.create ?? this.revision + 1;
        const version = (old?.now?.version ?? 0) + 1;
        this.add(chars(op.key), { create, version, lease, value, deadline: 0, isLock: false });
        return {
          kind: "put",
          revision: this.revisionInTxn,
          prevKv: op.prevKv && old !== undefined ? keyValue(old, false) : null,
        };
      }
      case "deleteRange": {
        const gone = this.in(op, this.latest());
        for (const { key } of gone) this.add(key, null);
        const prevKvs = op.prevKv ? gone.map((change) => keyValue(change, false)) : [];
        return {
          kind: "deleteRange",
          revision: this.revisionInTxn,
          deleted: gone.length,
          prevKvs,
        };
      }
      case "txn": {
        // Nested compares must not see what was written before them: judge all of them first.
        const judged = this.#judge(op);
        return this.#runJudged(judged);
      }
      case "unset":
        throw new Error("validation refuses an operation that names nothing");
    }
  }

  #judge(request: TxnRequest): JudgedTxn {
    const succeeded = request.compare.every((compare) => this.#holds(compare));
    const ops = (succeeded ? request.success : request.failure).map((op) =>
      op.kind === "txn" ? this.#judge(op) : op,
    );
    return { kind: "judged", succeeded, ops };
  }

  #runJudged(txn: JudgedTxn): ResponseOp {
    const responses = txn.ops.map((op) =>
      op.kind === "judged" ? this.#runJudged(op) : this.#run(op),
    );
    return { kind: "txn", revision: this.revisionInTxn, succeeded: txn.succeeded, responses };
  }

  #holds(compare: Compare): boolean {
    const found = this.in(compare, this.latest());
    if (found.length === 0)
      return compare.operand.target !== "value" && compareTo(compare, undefined);
    return found.every((change) => compareTo(compare, change));
  }

  #putRefused(request: PutRequest, isAlone: boolean, isFreed = false): ErrorCode | null {
    const isThere = this.latest().some(({ key }) => key === chars(request.key));
    const noKey = (request.ignoreValue || request.ignoreLease) && !isThere;
    const noLease = request.lease !== 0n && !this.leases.has(request.lease);
    if (noKey && noLease) return isAlone ? "LEASE_NOT_FOUND" : "KEY_NOT_FOUND";
    if (noKey) return "KEY_NOT_FOUND";
    if (noLease) return "LEASE_NOT_FOUND";
    return !isFreed && this.holds(chars(request.key))?.isLock === true ? "LOCKED" : null;
  }

  #txnRefused(request: TxnRequest): ErrorCode | null {
    const flat: Exclude<RequestOp, TxnRequest>[] = [];
    const flatten = (txn: JudgedTxn): void => {
      for (const op of txn.ops) {
        if (op.kind === "judged") flatten(op);
        else flat.push(op as Exclude<RequestOp, TxnRequest>);
      }
    };
    flatten(this.#judge(request));
    for (let i = 0; i < flat.length; i++) {
      const op = flat[i];
      if (op?.kind !== "put") continue;
      const isDeletedBefore = flat
        .slice(0, i)
        .some((before) => before.kind === "deleteRange" && covers(before, chars(op.key)));
      if ((op.ignoreValue || op.ignoreLease) && isDeletedBefore) return "KEY_NOT_FOUND";
      const refused = this.#putRefused(op, false, isDeletedBefore);
      if (refused !== null) return refused;
    }
    let isAfterWrite = false;
    for (const op of flat) {
      if (op.kind !== "range") isAfterWrite = true;
      else {
        const refused = this.#revisionRefused(op.revision);
        if (refused !== null) return refused;
        if (op.revision > 0 && isAfterWrite && !this.isHistoryOn) return "COMPACTED";
      }
    }
    return null;
  }

  #revisionRefused(revision: number): ErrorCode | null {
    if (revision <= 0) return null;
    if (revision > this.revision) return "FUTURE_REV";
    return revision < this.compactRevision ? "COMPACTED" : null;
  }

  #range(request: RangeRequest): RangeResponse {
    const found = this.in(request, this.#at(request.revision > 0 ? request.revision : Infinity));
    const count = found.length;
    const answer = { kind: "range", revision: this.revisionInTxn, count } as const;
    if (request.countOnly) return { ...answer, kvs: [], more: false };
    const {
      minModRevision,
      maxModRevision,
      minCreateRevision,
      maxCreateRevision,
      sortTarget,
      sortOrder,
      limit,
    } = request;
    let kvs = found.map((change) => keyValue(change, false));
    if (maxModRevision !== 0) kvs = kvs.filter((kv) => kv.modRevision <= maxModRevision);
    if (minModRevision !== 0) kvs = kvs.filter((kv) => kv.modRevision >= minModRevision);
    if (maxCreateRevision !== 0) kvs = kvs.filter((kv) => kv.createRevision <= maxCreateRevision);
    if (minCreateRevision !== 0) kvs = kvs.filter((kv) => kv.createRevision >= minCreateRevision);
    const by = (kv: KeyValue): string | number =>
      ({
        key: chars(kv.key),
        version: kv.version,
        create: kv.createRevision,
        mod: kv.modRevision,
        value: chars(kv.value),
      })[sortTarget];
    const sign = sortOrder === "descend" ? -1 : 1;
    if (sortOrder !== "none" || sortTarget !== "key")
      kvs.sort((a, b) => (by(a) < by(b) ? -sign : by(a) > by(b) ? sign : 0));
    const more = limit > 0 && kvs.length > limit;
    if (more) kvs = kvs.slice(0, limit);
    if (request.keysOnly) kvs = kvs.map((kv) => ({ ...kv, value: bytes("") }));
    return { ...answer, kvs, more };
  }

  add(key: string, now: Change["now"]): void {
    const revision = this.revision + 1;
    this.changes.push({
      key,
      revision,
      sub: this.changes.filter((change) => change.revision === revision).length,
      now,
    });
  }

  #end(id: bigint): void {
    this.transaction(() => {
      for (const key of this.leaseKeys(id)) this.add(key, null);
    });
    this.leases.delete(id);
  }

  refuse(code: ErrorCode): Outcome {
    return { kind: "error", code, revision: this.revision, detail: null };
  }
}

interface JudgedTxn {
  readonly kind: "judged";
  readonly succeeded: boolean;
  readonly ops: readonly (RequestOp | JudgedTxn)[];
}

function covers(range: KeyRange, key: string): boolean {
  const to = chars(range.rangeEnd);
  return to === ""
    ? key === chars(range.key)
    : key >= chars(range.key) && (to === "\0" || key < to);
}

function compareTo({ operand, result }: Compare, change: Change | undefined): boolean {
  let have: number | bigint | string;
  let want: number | bigint | string;
  if (operand.target === "value") [have, want] = [change?.now?.value ?? "", chars(operand.bytes)];
  else if (operand.target === "lease") [have, want] = [change?.now?.lease ?? 0n, operand.lease];
  else {
    const { target } = operand;
    have =
      (target === "version"
        ? change?.now?.version
        : target === "create"
          ? change?.now?.create
          : change?.revision) ?? 0;
    want = operand.number;
  }
  return { equal: have === want, notEqual: have !== want, greater: have > want, less: have < want }[
    result
  ];
}

function keyValue({ key, revision, now }: Change, keysOnly: boolean): KeyValue {
  if (now === null) throw new Error("a deleted key has no value");
  return {
    key: bytes(key),
    value: keysOnly ? bytes("") : bytes(now.value),
    createRevision: now.create,
    modRevision: revision,
    version: now.version,
    lease: now.lease,
    ...(now.deadline === 0 ? {} : { deadlineMs: now.deadline }),
    ...(now.isLock ? { isLock: true as const } : {}),
  };
}

/** Two requests say the same when these are the same. */
function inWords(request: unknown): string {
  return JSON.stringify(request, (_name, value: unknown) =>
    value instanceof Uint8Array ? [...value] : typeof value === "bigint" ? `${value}n` : value,
  );
}
