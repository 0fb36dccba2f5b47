/**
 * The door in process: promises over the callbacks of `Database`. `open` in the package's front door makes one on a
 * directory.
 */
import { assert, compareBytes, EMPTY_BYTES, HarmonyError, text, utf8 } from "../base/index.ts";
import type { CallOptions, Reply } from "./database.ts";
import { type Node, stopNode } from "./node.ts";
import type {
  Compare,
  CompareResult,
  KeyValue,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
  RequestOp,
  ResponseOp,
  TxnRequest,
  WriteRequest,
} from "./requests.ts";
import { TXN_DEPTH_MAX } from "./validate.ts";

/** Strings stand for their UTF-8 bytes. Keys are ordered as bytes. At most 4 KiB, not empty. */
export type Key = string | Uint8Array;
/** Strings stand for their UTF-8 bytes. */
export type Value = string | Uint8Array;

/** What every call takes. */
export interface Call {
  /** Ends the wait with ABORTED. Whether a write still happens is said by the error's `maybeApplied`. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; the answer is then TIMEOUT. Default: 7 seconds. */
  readonly timeoutMs?: number | undefined;
}

export interface Read extends Call {
  /** "linearizable" (default) sees every write acknowledged before the call; "local" what this node has applied. */
  readonly consistency?: "linearizable" | "local" | undefined;
  /** Read as of this revision; 0 is the latest. Throws COMPACTED or FUTURE_REV when it is not there. */
  readonly rev?: number | undefined;
}

/** Which keys, in byte order. An empty one means all. */
export interface Range {
  readonly prefix?: Key | undefined;
  readonly gt?: Key | undefined;
  readonly gte?: Key | undefined;
  readonly lt?: Key | undefined;
  readonly lte?: Key | undefined;
  /** How many entries at most, a whole number; undefined means all and 0 none. A "delRange" takes no limit. */
  readonly limit?: number | undefined;
}

export interface Entry {
  /** The key as text; bytes that are not UTF-8 show as U+FFFD. */
  readonly key: string;
  readonly rawKey: Uint8Array;
  readonly value: Uint8Array;
  /** Revision of the last change. */
  readonly rev: number;
  /** Revision in which the key came into being. */
  readonly createRev: number;
  /** 1 when created, one more with each put. */
  readonly version: number;
  /** 0n when no lease is attached. */
  readonly lease: bigint;
}

export interface Done {
  /** Revision of the database after the write. */
  readonly rev: number;
  /** False when there was nothing to change: the key to delete was not there. */
  readonly ok: boolean;
}

/** One condition of a transaction. An absent key has version, revisions and lease 0, and no value. */
export interface TxnCompare {
  readonly key: Key;
  readonly target: "version" | "createRev" | "rev" | "value" | "lease";
  readonly is: "=" | "!=" | "<" | ">";
  /** Bytes or text for "value", a whole number for the others, for "lease" from 0 to 2^63 - 1. */
  readonly operand: Value | number | bigint;
}

export type TxnOp =
  | { readonly type: "get"; readonly key: Key }
  | { readonly type: "scan"; readonly range: Range }
  | { readonly type: "put"; readonly key: Key; readonly value: Value }
  | { readonly type: "del"; readonly key: Key }
  | { readonly type: "delRange"; readonly range: Range }
  | ({ readonly type: "txn" } & Txn);

/** All conditions hold: `then`, otherwise `else`. Conditions see the state before; later operations see earlier ones. */
export interface Txn {
  readonly if?: readonly TxnCompare[] | undefined;
  readonly then?: readonly TxnOp[] | undefined;
  readonly else?: readonly TxnOp[] | undefined;
}

/** What each operation answered, in order: entries of get and scan, the number of keys deleted, a nested result. */
export type TxnAnswer =
  | { readonly type: "entries"; readonly entries: readonly Entry[] }
  | { readonly type: "put" }
  | { readonly type: "deleted"; readonly deleted: number }
  | ({ readonly type: "txn" } & TxnResult);

export interface TxnResult {
  readonly rev: number;
  /** The conditions held. */
  readonly succeeded: boolean;
  readonly answers: readonly TxnAnswer[];
}

const PAGE_BYTES = 1024 * 1024;
const PAGE_KEYS_MAX = 1024;
const PAGE_KEYS_FIRST = 64;

/** A database in this process. Every write that returned is synced to disk, unless `open` was told otherwise. */
export class HarmonyDB implements AsyncDisposable {
  readonly #node: Node;
  #status: "open" | "closing" | "closed" = "open";
  #closed: Promise<void> | null = null;

  /** Made by `open`. */
  constructor(node: Node) {
    this.#node = node;
  }

  get status(): "open" | "closing" | "closed" {
    return this.#status;
  }

  /** The value, or undefined when the key is not there. */
  async get(key: Key, options: Read = {}): Promise<Uint8Array | undefined> {
    const answer = await this.#range(pointRequest(key, options), callOf(options));
    return answer.kvs[0]?.value;
  }

  /** Sets a key. The promise resolves when the write is durable. */
  async put(key: Key, value: Value, options: Call = {}): Promise<Done> {
    const outcome = await this.#write(putRequest(key, value), callOf(options));
    return { rev: outcome.revision, ok: true };
  }

  /** Removes a key. `ok` tells whether it was there. */
  async del(key: Key, options: Call = {}): Promise<Done> {
    const outcome = await this.#write(
      { kind: "deleteRange", key: bytesOf(key), rangeEnd: EMPTY_BYTES, prevKv: false },
      callOf(options),
    );
    assert(outcome.kind === "deleteRange", "a delete answers as one");
    return { rev: outcome.revision, ok: outcome.deleted > 0 };
  }

  /** All or nothing, in one revision. */
  async txn(txn: Txn, options: Call = {}): Promise<TxnResult> {
    const outcome = await this.#write(new TxnReader().request(txn), callOf(options));
    assert(outcome.kind === "txn", "a transaction answers as one");
    return txnResult(outcome);
  }

  /**
   * The entries of a range in byte order, as of one revision: that of the first page, or `rev`. Fetches a page at a
   * time, when it is asked for. Throws COMPACTED when the revision goes away under a very slow reader. Range and
   * options are read at the call; what is wrong with them is thrown by the first step.
   */
  scan(range: Range = {}, options: Read = {}): AsyncGenerator<Entry, void, undefined> {
    let plan: ScanPlan | { readonly wrong: unknown };
    try {
      plan = scanPlan(range, options);
    } catch (wrong) {
      plan = { wrong };
    }
    return this.#pages(plan);
  }

  async *#pages(
    plan: ScanPlan | { readonly wrong: unknown },
  ): AsyncGenerator<Entry, void, undefined> {
    if ("wrong" in plan) throw plan.wrong;
    let { request, left } = plan;
    let pageKeys = PAGE_KEYS_FIRST;
    while (left > 0) {
      const page = await this.#range({ ...request, limit: Math.min(pageKeys, left) }, plan.call);
      let pageBytes = 0;
      for (const { key, value } of page.kvs) pageBytes += key.length + value.length;
      left -= page.kvs.length;
      const last = page.kvs[page.kvs.length - 1];
      // Entries belong to the caller, who may change them: where the next page begins is said before they are given.
      if (last !== undefined)
        request = {
          ...request,
          key: successor(last.key),
          revision: request.revision === 0 ? page.revision : request.revision,
        };
      for (const kv of page.kvs) yield entryOf(kv);
      if (!page.more || last === undefined) return;
      pageKeys =
        pageBytes > PAGE_BYTES ? Math.max(1, pageKeys >> 1) : Math.min(PAGE_KEYS_MAX, pageKeys * 2);
    }
  }

  /** Finishes what is on its way, syncs, and gives the directory back. Closing twice is one closing. */
  close(): Promise<void> {
    if (this.#closed === null) {
      this.#status = "closing";
      this.#closed = stopNode(this.#node).finally(() => {
        this.#status = "closed";
      });
    }
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #write(request: WriteRequest, options: CallOptions): Promise<Exclude<Outcome, Refusal>> {
    return new Promise((resolve, reject) => {
      this.#node.database.write(request, options, settler(resolve, reject));
    });
  }

  #range(request: RangeRequest, options: CallOptions): Promise<RangeResponse> {
    return new Promise((resolve, reject) => {
      this.#node.database.range(request, options, settler(resolve, reject));
    });
  }
}

function invalid(what: string): HarmonyError {
  return new HarmonyError("INVALID_ARGUMENT", what);
}

/** What callers hand in is read once and checked here: behind this door a wrong value is a defect and stops the node. */
function assertObject(value: object, what: string): void {
  if (typeof value !== "object" || value === null) throw invalid(`${what} is an object`);
}

function callOf(options: Call): CallOptions {
  assertObject(options, "options");
  const { signal, timeoutMs } = options;
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 0))
    throw invalid("timeoutMs is a number from 0");
  if (signal !== undefined && !isSignal(signal)) throw invalid("signal is an AbortSignal");
  return { signal, timeoutMs };
}

function isSignal(signal: AbortSignal): boolean {
  return (
    typeof signal === "object" &&
    signal !== null &&
    typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function" &&
    typeof signal.removeEventListener === "function"
  );
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

interface ScanPlan {
  /** Of the first page, but for its limit. */
  readonly request: RangeRequest;
  readonly left: number;
  readonly call: CallOptions;
}

function scanPlan(range: Range, options: Read): ScanPlan {
  const bounds = boundsOf(range);
  const limit = limitOf(range);
  return {
    request: rangeRequest(bounds.from, bounds.to, options),
    left: bounds === NOTHING ? 0 : (limit ?? Number.POSITIVE_INFINITY),
    call: callOf(options),
  };
}

function limitOf({ limit }: Range): number | undefined {
  if (limit !== undefined && !isCount(limit)) throw invalid("limit is a whole number from 0");
  return limit;
}

/** A refusal becomes an exception with its code; everything else resolves. */
function settler<T>(
  resolve: (value: T) => void,
  reject: (error: HarmonyError) => void,
): Reply<T | Refusal> {
  return (error, value) => {
    if (error !== null) reject(error);
    else if (isRefusal(value)) reject(new HarmonyError(value.code, value.detail ?? undefined));
    else resolve(value);
  };
}

function isRefusal(value: unknown): value is Refusal {
  return (value as { readonly kind?: unknown }).kind === "error";
}

/** What typed arrays say of themselves, whatever a subclass or an own property says. */
const OF_TYPED_ARRAYS: PropertyDescriptorMap = Object.getOwnPropertyDescriptors(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
);
const KIND: PropertyDescriptor | undefined = OF_TYPED_ARRAYS[Symbol.toStringTag];
const LENGTH: PropertyDescriptor | undefined = OF_TYPED_ARRAYS["length"];
const BUFFER: PropertyDescriptor | undefined = OF_TYPED_ARRAYS["buffer"];
const OFFSET: PropertyDescriptor | undefined = OF_TYPED_ARRAYS["byteOffset"];

function trait<T>(descriptor: PropertyDescriptor | undefined, value: unknown): T {
  return descriptor?.get?.call(value) as T;
}

/** Bytes that are a plain Uint8Array: a view of the caller's memory, or UTF-8. */
function bytesOf(value: Value): Uint8Array {
  if (typeof value === "string") return utf8(value);
  if (trait<string | undefined>(KIND, value) !== "Uint8Array")
    throw invalid("keys and values are strings or bytes");
  const length = trait<number>(LENGTH, value);
  if (Object.hasOwn(value, "length") || (length === 0 && isDetached(value)))
    throw invalid("bytes of a key or value are not there");
  // A subclass, Buffer among them, may have methods of its own: from here on there are none.
  return Object.getPrototypeOf(value) === Uint8Array.prototype
    ? value
    : new Uint8Array(trait<ArrayBuffer>(BUFFER, value), trait<number>(OFFSET, value), length);
}

/** Bytes that the caller may change or give away while the request waits. */
function copyOf(value: Value): Uint8Array {
  const bytes = bytesOf(value);
  if (typeof value === "string") return bytes;
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}

/** An empty view says nothing of its memory, but the methods of a typed array refuse what was given away. */
function isDetached(value: Uint8Array): boolean {
  try {
    Uint8Array.prototype.indexOf.call(value, 0);
    return false;
  } catch {
    return true;
  }
}

/** The first key after `key`. */
function successor(key: Uint8Array): Uint8Array {
  const out = new Uint8Array(key.length + 1);
  out.set(key);
  return out;
}

/** The first key after all that begin with `prefix`, or null when there is none. */
function prefixEnd(prefix: Uint8Array): Uint8Array | null {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] !== 0xff) {
      const end = prefix.slice(0, i + 1);
      end[i] = (end[i] as number) + 1;
      return end;
    }
  }
  return null;
}

const ZERO: Uint8Array = new Uint8Array(1);

interface Bounds {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** An end before the beginning: no key is in it. */
const NOTHING: Bounds = {
  from: new Uint8Array([2]),
  to: new Uint8Array([1]),
};

/** [from, to), `to` a single zero byte for "to the end" as in the requests; NOTHING when nothing can be in it. */
function boundsOf(range: Range): Bounds {
  assertObject(range, "a range");
  let from: Uint8Array = ZERO;
  let to: Uint8Array | null = null;
  const atLeast = (key: Uint8Array): void => {
    if (compareBytes(key, from) > 0) from = key;
  };
  const below = (key: Uint8Array | null): void => {
    if (key !== null && (to === null || compareBytes(key, to) < 0)) to = key;
  };
  if (range.prefix !== undefined) {
    const prefix = copyOf(range.prefix);
    atLeast(prefix);
    below(prefixEnd(prefix));
  }
  if (range.gte !== undefined) atLeast(copyOf(range.gte));
  if (range.gt !== undefined) atLeast(successor(bytesOf(range.gt)));
  if (range.lt !== undefined) below(copyOf(range.lt));
  if (range.lte !== undefined) below(successor(bytesOf(range.lte)));
  const end = to as Uint8Array | null;
  if (end === null) return { from, to: ZERO };
  return compareBytes(from, end) < 0 ? { from, to: end } : NOTHING;
}

function rangeRequest(key: Uint8Array, rangeEnd: Uint8Array, options: Read): RangeRequest {
  assertObject(options, "options");
  const { rev = 0, consistency = "linearizable" } = options;
  if (!isCount(rev)) throw invalid("rev is a whole number from 0");
  if (consistency !== "linearizable" && consistency !== "local")
    throw invalid('consistency is "linearizable" or "local"');
  return {
    kind: "range",
    key,
    rangeEnd,
    limit: 0,
    revision: rev,
    sortOrder: "none",
    sortTarget: "key",
    serializable: consistency === "local",
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  };
}

function pointRequest(key: Key, options: Read): RangeRequest {
  return rangeRequest(copyOf(key), EMPTY_BYTES, options);
}

function putRequest(key: Key, value: Value): WriteRequest & { readonly kind: "put" } {
  return {
    kind: "put",
    key: bytesOf(key),
    value: bytesOf(value),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  };
}

const RESULTS: ReadonlyMap<TxnCompare["is"], CompareResult> = new Map([
  ["=", "equal"],
  ["!=", "notEqual"],
  ["<", "less"],
  [">", "greater"],
]);

/** Conditions and operations of one transaction, nested ones included: far more than a command has room for. */
const TXN_ITEMS_MAX = 262_144;

/** Reads a transaction as the caller wrote it: it may be endless, and what it holds may be anything. */
class TxnReader {
  #items = 0;

  /** Throws TOO_MANY_OPS where nesting or size pass what any node takes. */
  request(txn: Txn, depth: number = 1): TxnRequest {
    assertObject(txn, "a transaction");
    if (depth > TXN_DEPTH_MAX) throw new HarmonyError("TOO_MANY_OPS");
    return {
      kind: "txn",
      compare: this.#list(txn.if, compareOf),
      success: this.#list(txn.then, (op) => this.#op(op, depth)),
      failure: this.#list(txn.else, (op) => this.#op(op, depth)),
    };
  }

  #list<T, R>(items: readonly T[] | undefined, read: (item: T) => R): readonly R[] {
    if (items === undefined) return [];
    if (!Array.isArray(items)) throw invalid("if, then and else are arrays");
    this.#items += items.length;
    if (this.#items > TXN_ITEMS_MAX) throw new HarmonyError("TOO_MANY_OPS");
    // A hole in an array is no operation, so it is not passed over.
    return Array.from(items as readonly T[], read);
  }

  #op(op: TxnOp, depth: number): RequestOp {
    assertObject(op, "an operation");
    switch (op.type) {
      case "get":
        return pointRequest(op.key, {});
      case "scan": {
        const { range } = op;
        const bounds = boundsOf(range);
        const limit = limitOf(range);
        // In requests a limit of 0 is none.
        const { from, to } = limit === 0 ? NOTHING : bounds;
        return { ...rangeRequest(from, to, {}), limit: limit ?? 0 };
      }
      case "put":
        return putRequest(op.key, op.value);
      case "del":
        return { kind: "deleteRange", key: bytesOf(op.key), rangeEnd: EMPTY_BYTES, prevKv: false };
      case "delRange": {
        const { range } = op;
        const { from, to } = boundsOf(range);
        if (range.limit !== undefined) throw invalid("delRange takes no limit");
        return { kind: "deleteRange", key: from, rangeEnd: to, prevKv: false };
      }
      case "txn":
        return this.request(op, depth + 1);
      default:
        throw invalid("an operation is get, scan, put, del, delRange or txn");
    }
  }
}

function compareOf(compare: TxnCompare): Compare {
  assertObject(compare, "a condition");
  const { key, target, is, operand } = compare;
  const result = RESULTS.get(is);
  if (result === undefined) throw invalid(`a compare is one of = != < >, not ${String(is)}`);
  const base = { key: copyOf(key), rangeEnd: EMPTY_BYTES, result };
  switch (target) {
    case "value":
      return { ...base, operand: { target, bytes: copyOf(operand as Value) } };
    case "lease":
      return { ...base, operand: { target, lease: leaseOf(operand) } };
    case "version":
      return { ...base, operand: { target, number: numberOf(operand, target) } };
    case "createRev":
      return { ...base, operand: { target: "create", number: numberOf(operand, target) } };
    case "rev":
      return { ...base, operand: { target: "mod", number: numberOf(operand, target) } };
    default:
      throw invalid(`a compare has no target ${String(target satisfies never)}`);
  }
}

const LEASE_MAX: bigint = 2n ** 63n - 1n;

function leaseOf(operand: TxnCompare["operand"]): bigint {
  const lease =
    typeof operand === "number" && Number.isSafeInteger(operand) ? BigInt(operand) : operand;
  if (typeof lease !== "bigint" || lease < 0n || lease > LEASE_MAX)
    throw invalid("lease is compared with a whole number from 0 to 2^63 - 1");
  return lease;
}

function numberOf(operand: TxnCompare["operand"], target: string): number {
  const number = typeof operand === "bigint" ? Number(operand) : operand;
  if (typeof number !== "number" || !Number.isSafeInteger(number))
    throw invalid(`${target} is compared with a whole number`);
  return number;
}

function entryOf(kv: KeyValue): Entry {
  return {
    key: text(kv.key),
    rawKey: kv.key,
    value: kv.value,
    rev: kv.modRevision,
    createRev: kv.createRevision,
    version: kv.version,
    lease: kv.lease,
  };
}

function txnResult(response: {
  readonly revision: number;
  readonly succeeded: boolean;
  readonly responses: readonly ResponseOp[];
}): TxnResult {
  return {
    rev: response.revision,
    succeeded: response.succeeded,
    answers: response.responses.map(answerOf),
  };
}

function answerOf(response: ResponseOp): TxnAnswer {
  switch (response.kind) {
    case "range":
      return { type: "entries", entries: response.kvs.map(entryOf) };
    case "put":
      return { type: "put" };
    case "deleteRange":
      return { type: "deleted", deleted: response.deleted };
    case "txn":
      return { type: "txn", ...txnResult(response) };
  }
}
