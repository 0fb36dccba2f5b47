/**
 * The door in process: promises over the callbacks of `Database`. `open` in the package's front door makes one on a
 * directory.
 */
import { assert, compareBytes, EMPTY_BYTES, HarmonyError, text, utf8 } from "../base/index.ts";
import type { Reply } from "./database.ts";
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
  /** Read as of this revision. Throws COMPACTED or FUTURE_REV when it is not there. */
  readonly rev?: number | undefined;
}

/** Which keys, in byte order. An empty one means all. */
export interface Range {
  readonly prefix?: Key | undefined;
  readonly gt?: Key | undefined;
  readonly gte?: Key | undefined;
  readonly lt?: Key | undefined;
  readonly lte?: Key | undefined;
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
  /** Bytes or text for "value", a whole number for the others. */
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

/** A database in this process. Every write that returned is synced to disk. */
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
    const answer = await this.#range(pointRequest(key, options), options);
    return answer.kvs[0]?.value;
  }

  /** Sets a key. The promise resolves when the write is durable. */
  async put(key: Key, value: Value, options: Call = {}): Promise<Done> {
    const outcome = await this.#write(putRequest(key, value), options);
    return { rev: outcome.revision, ok: true };
  }

  /** Removes a key. `ok` tells whether it was there. */
  async del(key: Key, options: Call = {}): Promise<Done> {
    const outcome = await this.#write(
      { kind: "deleteRange", key: bytesOf(key), rangeEnd: EMPTY_BYTES, prevKv: false },
      options,
    );
    assert(outcome.kind === "deleteRange", "a delete answers as one");
    return { rev: outcome.revision, ok: outcome.deleted > 0 };
  }

  /** All or nothing, in one revision. */
  async txn(txn: Txn, options: Call = {}): Promise<TxnResult> {
    const outcome = await this.#write(txnRequest(txn), options);
    assert(outcome.kind === "txn", "a transaction answers as one");
    return txnResult(outcome);
  }

  /**
   * The entries of a range in byte order, as of one revision: that of the first page, or `rev`. Fetches a page at a
   * time, when it is asked for. Throws COMPACTED when the revision goes away under a very slow reader.
   */
  async *scan(range: Range = {}, options: Read = {}): AsyncGenerator<Entry, void, undefined> {
    const bounds = boundsOf(range);
    if (bounds === null) return;
    let from = bounds.from;
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    if (!(left >= 0)) throw new HarmonyError("INVALID_ARGUMENT", "limit is a number from 0");
    let revision = options.rev ?? 0;
    let pageKeys = PAGE_KEYS_FIRST;
    while (left > 0) {
      const limit = Math.min(pageKeys, left);
      const page = await this.#range(
        { ...rangeRequest(from, bounds.to, options), limit, revision },
        options,
      );
      if (revision === 0) revision = page.revision;
      let pageBytes = 0;
      for (const kv of page.kvs) {
        pageBytes += kv.key.length + kv.value.length;
        yield entryOf(kv);
      }
      left -= page.kvs.length;
      const last = page.kvs[page.kvs.length - 1];
      if (!page.more || last === undefined) return;
      from = successor(last.key);
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

  #write(request: WriteRequest, options: Call): Promise<Exclude<Outcome, Refusal>> {
    assertCall(options);
    return new Promise((resolve, reject) => {
      this.#node.database.write(request, options, settler(resolve, reject));
    });
  }

  #range(request: RangeRequest, options: Call): Promise<RangeResponse> {
    assertCall(options);
    return new Promise((resolve, reject) => {
      this.#node.database.range(request, options, settler(resolve, reject));
    });
  }
}

function assertCall({ timeoutMs }: Call): void {
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 0))
    throw new HarmonyError("INVALID_ARGUMENT", "timeoutMs is a number from 0");
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

function bytesOf(value: Value): Uint8Array {
  if (typeof value === "string") return utf8(value);
  if (value instanceof Uint8Array) return value;
  throw new HarmonyError("INVALID_ARGUMENT", "keys and values are strings or Uint8Arrays");
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

/** An end before the beginning: no key is in it. */
const NOTHING: { readonly from: Uint8Array; readonly to: Uint8Array } = {
  from: new Uint8Array([2]),
  to: new Uint8Array([1]),
};

/** [from, to), `to` a single zero byte for "to the end" as in the requests; null when nothing can be in it. */
function boundsOf(range: Range): { readonly from: Uint8Array; readonly to: Uint8Array } | null {
  let from: Uint8Array = ZERO;
  let to: Uint8Array | null = null;
  const atLeast = (key: Uint8Array): void => {
    if (compareBytes(key, from) > 0) from = key;
  };
  const below = (key: Uint8Array | null): void => {
    if (key !== null && (to === null || compareBytes(key, to) < 0)) to = key;
  };
  if (range.prefix !== undefined) {
    const prefix = bytesOf(range.prefix);
    atLeast(prefix);
    below(prefixEnd(prefix));
  }
  if (range.gte !== undefined) atLeast(bytesOf(range.gte));
  if (range.gt !== undefined) atLeast(successor(bytesOf(range.gt)));
  if (range.lt !== undefined) below(bytesOf(range.lt));
  if (range.lte !== undefined) below(successor(bytesOf(range.lte)));
  const end = to as Uint8Array | null;
  if (end === null) return { from, to: ZERO };
  return compareBytes(from, end) < 0 ? { from, to: end } : null;
}

function rangeRequest(key: Uint8Array, rangeEnd: Uint8Array, options: Read): RangeRequest {
  return {
    kind: "range",
    key,
    rangeEnd,
    limit: 0,
    revision: options.rev ?? 0,
    sortOrder: "none",
    sortTarget: "key",
    serializable: options.consistency === "local",
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  };
}

function pointRequest(key: Key, options: Read): RangeRequest {
  return rangeRequest(bytesOf(key), EMPTY_BYTES, options);
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

const RESULTS: Readonly<Record<TxnCompare["is"], CompareResult>> = {
  "=": "equal",
  "!=": "notEqual",
  "<": "less",
  ">": "greater",
};

function txnRequest(txn: Txn): TxnRequest {
  return {
    kind: "txn",
    compare: (txn.if ?? []).map(compareOf),
    success: (txn.then ?? []).map(opOf),
    failure: (txn.else ?? []).map(opOf),
  };
}

function compareOf({ key, target, is, operand }: TxnCompare): Compare {
  const base = { key: bytesOf(key), rangeEnd: EMPTY_BYTES, result: RESULTS[is] };
  if (base.result === undefined)
    throw new HarmonyError("INVALID_ARGUMENT", `a compare is one of = != < >, not ${String(is)}`);
  switch (target) {
    case "value":
      return { ...base, operand: { target, bytes: bytesOf(operand as Value) } };
    case "lease":
      return { ...base, operand: { target, lease: BigInt(operand as number | bigint) } };
    case "version":
    case "createRev":
    case "rev": {
      const number = Number(operand);
      if (!Number.isSafeInteger(number))
        throw new HarmonyError("INVALID_ARGUMENT", `${target} is compared with a whole number`);
      return {
        ...base,
        operand: {
          target: target === "version" ? "version" : target === "rev" ? "mod" : "create",
          number,
        },
      };
    }
    default:
      throw new HarmonyError(
        "INVALID_ARGUMENT",
        `a compare has no target ${String(target satisfies never)}`,
      );
  }
}

function opOf(op: TxnOp): RequestOp {
  switch (op.type) {
    case "get":
      return pointRequest(op.key, {});
    case "scan": {
      const bounds = boundsOf(op.range) ?? NOTHING;
      return { ...rangeRequest(bounds.from, bounds.to, {}), limit: op.range.limit ?? 0 };
    }
    case "put":
      return putRequest(op.key, op.value);
    case "del":
      return { kind: "deleteRange", key: bytesOf(op.key), rangeEnd: EMPTY_BYTES, prevKv: false };
    case "delRange": {
      const bounds = boundsOf(op.range) ?? NOTHING;
      return { kind: "deleteRange", key: bounds.from, rangeEnd: bounds.to, prevKv: false };
    }
    case "txn":
      return txnRequest(op);
    default:
      throw new HarmonyError(
        "INVALID_ARGUMENT",
        "an operation is get, scan, put, del, delRange or txn",
      );
  }
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
