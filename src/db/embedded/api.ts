/**
 * What a program in the same process sees of a store: keys, values, options, answers. Every revision is a whole number
 * that grows by one with each change of the database; every time is in milliseconds.
 */

import type { Watching, WatchOptions } from "./api-watch.ts";

/** Strings stand for their UTF-8 bytes and have no lone surrogates. Keys are ordered as bytes. 1 to 4096 bytes. */
export type Key = string | Uint8Array;
/** Strings stand for their UTF-8 bytes and have no lone surrogates. */
export type Value = string | Uint8Array;

/** Turns values of a program into bytes and back. What either throws rejects the one call, with INVALID_ARGUMENT. */
export interface Codec<T> {
  /** For messages. */
  readonly name: string;
  /** What it gives is copied before the call returns. */
  encode(value: T): Uint8Array;
  /** Gets bytes of its own, which it may keep. */
  decode(bytes: Uint8Array): T;
}

/** What every call takes. A name that an option does not have is refused with INVALID_ARGUMENT. */
export interface Call {
  /** Ends the wait with ABORTED. Whether a write still happens is said by the error's `maybeApplied`. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; the answer is then TIMEOUT. Default: the node's `requestTimeoutMs`, 7 seconds. */
  readonly timeoutMs?: number | undefined;
}

/** How a read is done. */
export interface Read extends Call {
  /** "linearizable" (default) sees every write acknowledged before the call; "local" what this node has applied. */
  readonly consistency?: "linearizable" | "local" | undefined;
  /** Read as of this revision; 0 is the latest. Rejects with COMPACTED or FUTURE_REV when it is not there. */
  readonly rev?: number | undefined;
}

/** Makes a write that may be sent again happen once. */
export interface Repeatable extends Call {
  /** `<session>/<number>`, as `Session.requestId()` gives it: sent again, the first answer is given again. */
  readonly requestId?: string | undefined;
}

/** How a write is done. */
export interface Write extends Repeatable {
  /** The key ends so many milliseconds after the write is applied. Default: it has no end, or the scope's. */
  readonly ttlMs?: number | undefined;
  /** The key ends with this lease. LEASE_NOT_FOUND when there is none. */
  readonly lease?: bigint | undefined;
}

/** What must hold of the key's present version, or nothing is changed and `ok` is false. One at a time. */
export interface Condition<I> {
  /** The revision of its last change; 0: it is absent. */
  readonly ifRev?: number | undefined;
  /** It has this value, compared as bytes. */
  readonly ifValue?: I | undefined;
  /** There is no such key. */
  readonly ifAbsent?: true | undefined;
  /** There is such a key. */
  readonly ifPresent?: true | undefined;
}

/** Which keys, in byte order. An empty one means all. */
export interface Range {
  /** The key begins with these bytes. */
  readonly prefix?: Key | undefined;
  /** The key is greater. */
  readonly gt?: Key | undefined;
  /** The key is greater or equal. */
  readonly gte?: Key | undefined;
  /** The key is less. */
  readonly lt?: Key | undefined;
  /** The key is less or equal. */
  readonly lte?: Key | undefined;
  /** From the last key to the first. */
  readonly reverse?: boolean | undefined;
  /** How many entries at most, a whole number; undefined means all and 0 none. Not for deletes. */
  readonly limit?: number | undefined;
}

/** One version of a key. */
export interface Entry<V = Uint8Array> {
  /** The key as text, without the scope's prefix; bytes that are not UTF-8 show as U+FFFD. */
  readonly key: string;
  /** The key without the scope's prefix. Its bytes are the caller's, like the value's; others may share the buffer. */
  readonly rawKey: Uint8Array;
  /** By the codec of the store; plain bytes at the root. */
  readonly value: V;
  /** Revision of the last change. */
  readonly rev: number;
  /** Revision in which the key came into being. */
  readonly createRev: number;
  /** 1 when created, one more with each put. */
  readonly version: number;
  /** 0n when no lease is attached. */
  readonly lease: bigint;
  /** When the key ends, in milliseconds since 1970 on the group's clock. Absent: it has no deadline of its own. */
  readonly expiresAt?: number;
}

/** What a write came to. */
export interface Done {
  /** Revision of the database after the write. */
  readonly rev: number;
  /** False: a condition did not hold, or there was nothing to delete. Nothing was changed. */
  readonly ok: boolean;
}

/** One condition of a transaction. An absent key has version, revisions and lease 0, and no value. */
export interface TxnCompare<I = Value> {
  /** Of one key. */
  readonly key: Key;
  /** What of the key is compared. */
  readonly target: "version" | "createRev" | "rev" | "value" | "lease";
  /** How the key stands to the operand; values are compared as bytes. */
  readonly is: "=" | "!=" | "<" | ">";
  /** A value of the store for "value", a whole number for the others, for "lease" from 0 to 2^63 - 1. */
  readonly operand: I | number | bigint;
}

/** One operation of a transaction. */
export type TxnOp<I = Value> =
  | { readonly type: "get"; readonly key: Key }
  | { readonly type: "scan"; readonly range: Range }
  | {
      readonly type: "put";
      readonly key: Key;
      readonly value: I;
      readonly lease?: bigint | undefined;
    }
  | { readonly type: "del"; readonly key: Key }
  | { readonly type: "delRange"; readonly range: Range }
  | ({ readonly type: "txn" } & Txn<I>);

/** All conditions hold: `then`, otherwise `else`. Conditions see the state before; later operations see earlier ones. */
export interface Txn<I = Value> {
  /** All of them have to hold; none always do. */
  readonly if?: readonly TxnCompare<I>[] | undefined;
  /** Done in their order if they hold. */
  readonly then?: readonly TxnOp<I>[] | undefined;
  /** Done in their order if they do not. */
  readonly else?: readonly TxnOp<I>[] | undefined;
}

/** What each operation answered, in order: entries of get and scan, the number of keys deleted, a nested result. */
export type TxnAnswer<V = Uint8Array> =
  | { readonly type: "entries"; readonly entries: readonly Entry<V>[] }
  | { readonly type: "put" }
  | { readonly type: "deleted"; readonly deleted: number }
  | ({ readonly type: "txn" } & TxnResult<V>);

/** What a transaction came to. */
export interface TxnResult<V = Uint8Array> {
  /** Revision of the database after it. */
  readonly rev: number;
  /** The conditions held. */
  readonly succeeded: boolean;
  /** Of `then` or `else`, one for each operation. */
  readonly answers: readonly TxnAnswer<V>[];
}

/**
 * The entries of a range as of one revision. Each loop over it reads anew. Pages are read when they are asked for; the
 * state that they are read from stays pinned meanwhile, so compaction takes nothing away, but not for longer than the
 * database's `pinTimeoutMs` and not with more than its `pinBytesMax`: then the next page rejects with COMPACTED.
 * `timeoutMs` counts for the first page.
 */
export interface Scan<V> extends AsyncIterable<Entry<V>> {
  /** The entries, from the first page on. Leaving the loop lets go of the state. */
  [Symbol.asyncIterator](): AsyncGenerator<Entry<V>, void, undefined>;
  /** The keys alone; values are not read. */
  keys(): AsyncGenerator<string, void, undefined>;
  /** How many entries there are, at most `limit`; none of them is read. */
  count(): Promise<number>;
  /** All entries in one array. */
  all(): Promise<Entry<V>[]>;
}

/** What can be read, of the present state or of a snapshot. */
export interface Reader<V, R extends Call = Read> {
  /** The value, or undefined when the key is not there. */
  get(key: Key, options?: R): Promise<V | undefined>;
  /** The value with its revisions, or undefined. */
  entry(key: Key, options?: R): Promise<Entry<V> | undefined>;
  /** The values of many keys, all as of one moment. */
  getMany(keys: readonly Key[], options?: R): Promise<(V | undefined)[]>;
  /** Whether the key is there. */
  has(key: Key, options?: R): Promise<boolean>;
  /** The entries of a range in byte order. What is wrong with range or options is thrown by the first step. */
  scan(range?: Range, options?: R): Scan<V>;
}

/**
 * The database as of one revision, until it is closed or has been kept for `pinTimeoutMs` or with `pinBytesMax`: then
 * reads reject with COMPACTED.
 */
export interface Snapshot<V> extends Reader<V, Call>, AsyncDisposable {
  /** All reads are as of this revision. */
  readonly rev: number;
  /** The value, at once and without a promise. */
  getSync(key: Key): V | undefined;
  /** Lets go of the state. Closing twice is one closing. */
  close(): Promise<void>;
}

/** Changes that are made together, in one revision, or not at all. The last word on a key counts. */
export interface Batch<I> {
  /** Sets a key; `lease` attaches it. In a scope with `ttlMs` a batch that puts takes neither leases nor deletes. */
  put(key: Key, value: I, options?: { readonly lease?: bigint | undefined }): this;
  /** Deletes a key, whether it is there or not. */
  del(key: Key): this;
  /** How many keys it changes. */
  readonly size: number;
  /** Once. TOO_MANY_OPS beyond the database's `maxTxnOps`. An empty one changes nothing. */
  commit(options?: Repeatable): Promise<Done>;
}

/** A key and its value as a transaction sees them: its own changes have no revision yet. */
export interface TxItem<V> {
  /** As in `Entry`. */
  readonly key: string;
  /** As in `Entry`. */
  readonly rawKey: Uint8Array;
  /** As in `Entry`, or as the transaction has put it. */
  readonly value: V;
}

/** Inside of `transact`: reads see one revision and the transaction's own changes. */
export interface Tx<V, I> {
  /** The value, or undefined. */
  get(key: Key): Promise<V | undefined>;
  /** Whether the key is there. */
  has(key: Key): Promise<boolean>;
  /** The keys of a range in order, in one array: name a `limit` where there are many. */
  scan(range?: Range): Promise<TxItem<V>[]>;
  /** Sets a key at the commit; `lease` attaches it. Not in a scope with `ttlMs`. */
  put(key: Key, value: I, options?: { readonly lease?: bigint | undefined }): void;
  /** Deletes a key at the commit. */
  del(key: Key): void;
}

/** How `transact` runs. */
export interface TransactOptions extends Call {
  /** How often it is run again after a conflict. Default: 20. */
  readonly retries?: number | undefined;
  /**
   * "serializable" (default): nothing that was read has changed meanwhile, keys that were not there included.
   * "snapshot": nothing that is written has changed meanwhile.
   */
  readonly isolation?: "serializable" | "snapshot" | undefined;
}

/** How a lock is taken. */
export interface LockOptions extends Call {
  /** How long the lock is held unless it is extended; from 1. */
  readonly ttlMs: number;
  /** How long to wait for a holder to let go. 0 tries once. Default: 10 seconds. Then LOCK_TIMEOUT. */
  readonly waitMs?: number | undefined;
  /** Names the owner; the same one takes its own lock again and renews it. Default: 32 random hex digits. */
  readonly token?: string | undefined;
}

/** A lock that is held. Leaving `await using` unlocks it. */
export interface Lock extends AsyncDisposable {
  /** Its owner, as given or made up. */
  readonly token: string;
  /** Grows with each acquisition: what the lock protects refuses a smaller one than it has seen. */
  readonly fence: number;
  /**
   * Aborted with LOCK_LOST when the lock has ended without `unlock`: by its TTL, by a close; after a delete by somebody
   * else within a quarter of a second.
   */
  readonly signal: AbortSignal;
  /** Holds it for `ttlMs` (default: as taken) from now on. Rejects with LOCK_LOST when it is no longer held. */
  extend(ttlMs?: number, options?: Call): Promise<void>;
  /** False: it was no longer held. */
  unlock(options?: Call): Promise<boolean>;
}

/** How a scope differs from what it is in. */
export interface ScopeOptions {
  /** For puts that name none. */
  readonly ttlMs?: number | undefined;
}

/** An ordered store. `V` is what reads give, `I` what writes take. */
export interface Store<V = Uint8Array, I = Value> extends Reader<V> {
  /** What this node has applied, at once and without a promise: no I/O of the log is waited for. Throws CLOSED. */
  getSync(key: Key): V | undefined;
  /** Sets a key; without `ttlMs` and `lease` it has neither afterwards. Resolves when the write is durable. */
  put(key: Key, value: I, options?: Write & Condition<I>): Promise<Done>;
  /** Sets up to 10,000 keys in one revision. `ifAbsent`: only if none of them is there. */
  putMany(
    items: Iterable<readonly [Key, I]>,
    options?: Write & { readonly ifAbsent?: true | undefined },
  ): Promise<Done>;
  /** Removes a key. `ok` tells whether it was there and the condition held. Releases a lock. */
  del(key: Key, options?: Repeatable & Omit<Condition<I>, "ifAbsent">): Promise<Done>;
  /** Removes keys, up to 10,000, or a range, in one revision. */
  delMany(
    selection: readonly Key[] | Range,
    options?: Repeatable,
  ): Promise<Done & { readonly deleted: number }>;
  /**
   * Adds to a counter, which is decimal text of a signed 64-bit integer and 0 where there is none, and answers with the
   * sum. NOT_AN_INTEGER, or OVERFLOW when the sum passes 64 bits, `min` or `max`; the counter is then as before.
   */
  incr(key: Key, by?: number | bigint, options?: CounterOptions): Promise<bigint>;
  /** `incr` by the negative. */
  decr(key: Key, by?: number | bigint, options?: CounterOptions): Promise<bigint>;
  /** Gives a key another end, or none (null). False: the key is not there, or a condition did not hold. */
  expire(key: Key, ttlMs: number | null, options?: Repeatable & Condition<I>): Promise<boolean>;
  /** What changes from the call on, or from a revision. Throws at once what is wrong with the arguments. */
  watch(keys: Key | Range, options?: WatchOptions): Watching<V>;
  /** Gathers changes for one revision. */
  batch(): Batch<I>;
  /** Conditions and operations in one round trip, all or nothing, in one revision. */
  txn(txn: Txn<I>, options?: Repeatable): Promise<TxnResult<V>>;
  /**
   * Runs `run` and commits what it changed if nothing has come between; otherwise runs it again. Rejects with CONFLICT
   * when that was of no avail, and with what `run` throws: then nothing is changed.
   */
  transact<T>(run: (tx: Tx<V, I>) => Promise<T> | T, options?: TransactOptions): Promise<T>;
  /** Takes the lock that is this key. In one process those who wait are served in the order in which they came. */
  lock(name: Key, options: LockOptions): Promise<Lock>;
  /** The part of the store whose keys begin with `prefix`, without it; with a codec for its values if given. */
  scope<W>(prefix: Key, options: ScopeOptions & { readonly codec: Codec<W> }): Store<W, W>;
  /** The same, with values as they are here. */
  scope(prefix: Key, options?: ScopeOptions): Store<V, I>;
  /** The state as of `rev` (default: now), kept readable until the snapshot is closed. */
  snapshotAt(rev?: number, options?: Call): Promise<Snapshot<V>>;
  /** What this node has applied, kept readable from this moment on, without a promise. Throws CLOSED. */
  snapshotSync(): Snapshot<V>;
}

/** How a counter is changed. */
export interface CounterOptions extends Repeatable {
  /** The least sum. */
  readonly min?: bigint | number | undefined;
  /** The greatest sum. */
  readonly max?: bigint | number | undefined;
  /** A sum beyond a bound becomes the bound instead of being refused. */
  readonly saturate?: boolean | undefined;
  /** The counter ends then. Default: its end and its lease stay as they are. */
  readonly ttlMs?: number | undefined;
}
