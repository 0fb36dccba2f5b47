/** A store over the database: reads and writes as a program asks for them, made requests and sent. */
import { EMPTY_BYTES, HarmonyError } from "../../base/index.ts";
import type { RangeRequest } from "../requests.ts";
import type {
  Batch,
  Call,
  Codec,
  Condition,
  CounterOptions,
  Done,
  Entry,
  Key,
  Lock,
  LockOptions,
  Range,
  Read,
  Repeatable,
  Scan,
  ScopeOptions,
  Snapshot,
  Store,
  TransactOptions,
  Tx,
  Txn,
  TxnResult,
  Write,
} from "./api.ts";
import type { Watching, WatchOptions } from "./api-watch.ts";
import {
  assertNames,
  CALL,
  callOf,
  countOf,
  flagOf,
  INT64_LEAST,
  int64Of,
  invalid,
  names,
  type Names,
  NO_OPTIONS,
  REPEATABLE,
  readNow,
  repeatableOf,
  ttlOf,
} from "./arguments.ts";
import { StoreBatch } from "./batch.ts";
import { ANY_KEY, type Link } from "./link.ts";
import { POINT } from "../point.ts";
import type { Locks } from "./lock.ts";
import {
  conditionOf,
  deletedBy,
  expiryOf,
  leaseOf,
  NO_END,
  readRequest,
  removeIf,
} from "./parts.ts";
import { StoreScan } from "./scan.ts";
import { StoreSnapshot } from "./snapshot.ts";
import type { Space } from "./space.ts";
import { transact } from "./transact.ts";
import { TxnReader, txnResult } from "./txn-request.ts";
import { openWatch } from "./watch.ts";

const READ: Names = names(CALL, "consistency", "rev");
const CONDITIONS: readonly string[] = ["ifRev", "ifValue", "ifAbsent", "ifPresent"];
const PUT: Names = names(REPEATABLE, "ttlMs", "lease", ...CONDITIONS);
const PUT_MANY: Names = names(REPEATABLE, "ttlMs", "lease", "ifAbsent");
const DEL: Names = names(REPEATABLE, "ifRev", "ifValue", "ifPresent");
const INCR: Names = names(REPEATABLE, "ttlMs", "min", "max", "saturate");
const EXPIRE: Names = names(REPEATABLE, ...CONDITIONS);
const SCOPE: Names = new Set(["codec", "ttlMs"]);

/** What all stores of one database share. */
export interface Shared {
  readonly link: Link;
  readonly locks: Locks;
}

export class EmbeddedStore<V, I> implements Store<V, I> {
  readonly #shared: Shared;
  readonly #link: Link;
  readonly #space: Space<V, I>;

  constructor(shared: Shared, space: Space<V, I>) {
    this.#shared = shared;
    this.#link = shared.link;
    this.#space = space;
  }

  async get(key: Key, options: Read = NO_OPTIONS): Promise<V | undefined> {
    const { kvs } = await this.#link.range(this.#point(key, options), callOf(options, READ));
    const [kv] = kvs;
    return kv === undefined ? undefined : this.#space.read(kv.value);
  }

  async entry(key: Key, options: Read = NO_OPTIONS): Promise<Entry<V> | undefined> {
    const { kvs } = await this.#link.range(this.#point(key, options), callOf(options, READ));
    const [kv] = kvs;
    return kv === undefined ? undefined : this.#space.entry(kv);
  }

  async getMany(keys: readonly Key[], options: Read = NO_OPTIONS): Promise<(V | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid("keys are an array");
    const requests = Array.from(keys as readonly Key[], (key) => this.#point(key, options));
    const found = await this.#link.points(requests, callOf(options, READ));
    return found.map((kv) => (kv === undefined ? undefined : this.#space.read(kv.value)));
  }

  async has(key: Key, options: Read = NO_OPTIONS): Promise<boolean> {
    const request = { ...this.#point(key, options), countOnly: true };
    return (await this.#link.range(request, callOf(options, READ))).count > 0;
  }

  getSync(key: Key): V | undefined {
    const value = this.#link.valueNow(this.#space.keyView(key));
    return value === undefined ? undefined : this.#space.read(value);
  }

  scan(range: Range = NO_OPTIONS, options: Read = NO_OPTIONS): Scan<V> {
    return new StoreScan(
      this.#link,
      this.#space,
      readNow(() => ({
        bounds: this.#space.bounds(range),
        request: readRequest(options),
        call: callOf(options, READ),
        state: null,
      })),
    );
  }

  // One promise for each put: an `async` method would add its own.
  put(key: Key, value: I, options: Write & Condition<I> = NO_OPTIONS): Promise<Done> {
    try {
      const call = repeatableOf(options, PUT);
      const bytes = this.#space.keyView(key);
      const valueBytes = this.#space.value(value);
      const expiry = expiryOf(this.#space, options.ttlMs);
      const condition = conditionOf(this.#space, options);
      const lease = leaseOf(options);
      return condition === null && expiry === NO_END
        ? this.#link.writeAs(
            {
              kind: "put",
              key: bytes,
              value: valueBytes,
              lease,
              prevKv: false,
              ignoreValue: false,
              ignoreLease: false,
            },
            call,
            allDone,
          )
        : this.#link.writeAs(
            {
              kind: "set",
              key: bytes,
              value: valueBytes,
              condition,
              lease,
              expiry,
              prevKv: false,
            },
            call,
            done,
          );
    } catch (thrown) {
      return Promise.reject(thrown as Error);
    }
  }

  async putMany(
    items: Iterable<readonly [Key, I]>,
    options: Write & { readonly ifAbsent?: true | undefined } = NO_OPTIONS,
  ): Promise<Done> {
    const call = repeatableOf(options, PUT_MANY);
    const read: { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];
    if (typeof (items as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] !== "function")
      throw invalid("items can be iterated");
    for (const item of items) {
      if (!Array.isArray(item)) throw invalid("an item is a key and a value");
      const [key, value] = item as readonly [Key, I];
      read.push({ key: this.#space.keyView(key), value: this.#space.value(value) });
      if (read.length > MANY_READ_MAX) throw new HarmonyError("TOO_MANY_OPS");
    }
    const { revision, succeeded } = await this.#link.write(
      {
        kind: "mset",
        items: read,
        condition: flagOf(options.ifAbsent, "ifAbsent") ? "absent" : "none",
        lease: leaseOf(options),
        expiry: expiryOf(this.#space, options.ttlMs),
      },
      call,
    );
    return { rev: revision, ok: succeeded };
  }

  async del(
    key: Key,
    options: Repeatable & Omit<Condition<I>, "ifAbsent"> = NO_OPTIONS,
  ): Promise<Done> {
    const call = repeatableOf(options, DEL);
    const bytes = this.#space.keyView(key);
    const remove = {
      kind: "deleteRange",
      key: bytes,
      rangeEnd: EMPTY_BYTES,
      prevKv: false,
    } as const;
    const condition = conditionOf(this.#space, options);
    if (condition === null || condition.kind === "present") {
      const { revision, deleted } = await this.#link.write(remove, call);
      return { rev: revision, ok: deleted > 0 };
    }
    const response = await this.#link.write(removeIf(remove, condition), call);
    return { rev: response.revision, ok: deletedBy(response) > 0 };
  }

  async delMany(
    selection: readonly Key[] | Range,
    options: Repeatable = NO_OPTIONS,
  ): Promise<Done & { readonly deleted: number }> {
    const call = repeatableOf(options, REPEATABLE);
    if (Array.isArray(selection)) {
      const keys = Array.from(selection as readonly Key[], (key) => this.#space.keyView(key));
      const { revision, deleted } = await this.#link.write({ kind: "mdel", keys }, call);
      return { rev: revision, ok: deleted > 0, deleted };
    }
    const { from, to, limit, reverse } = this.#space.bounds(selection as Range);
    if (limit !== undefined || reverse) throw invalid("a delete takes no limit and no order");
    const { revision, deleted } = await this.#link.write(
      { kind: "deleteRange", key: from, rangeEnd: to, prevKv: false },
      call,
    );
    return { rev: revision, ok: deleted > 0, deleted };
  }

  async incr(
    key: Key,
    by: number | bigint = 1n,
    options: CounterOptions = NO_OPTIONS,
  ): Promise<bigint> {
    return this.#count(key, int64Of(by, "what is added", INT64_LEAST), options);
  }

  async decr(
    key: Key,
    by: number | bigint = 1n,
    options: CounterOptions = NO_OPTIONS,
  ): Promise<bigint> {
    const size = int64Of(by, "what is taken away", INT64_LEAST + 1n);
    return this.#count(key, -size, options);
  }

  async #count(key: Key, by: bigint, options: CounterOptions): Promise<bigint> {
    const call = repeatableOf(options, INCR);
    const { min, max, ttlMs } = options;
    const { value } = await this.#link.write(
      {
        kind: "incr",
        key: this.#space.keyView(key),
        by,
        min: min === undefined ? null : int64Of(min, "min", INT64_LEAST),
        max: max === undefined ? null : int64Of(max, "max", INT64_LEAST),
        saturate: flagOf(options.saturate, "saturate"),
        expiry:
          ttlMs === undefined && this.#space.ttlMs === undefined
            ? { kind: "keep" }
            : expiryOf(this.#space, ttlMs),
        // A scope's TTL begins with the first count; one that the call names begins with the call.
        expiryIfNone: ttlMs === undefined && this.#space.ttlMs !== undefined,
      },
      call,
    );
    return value;
  }

  async expire(
    key: Key,
    ttlMs: number | null,
    options: Repeatable & Condition<I> = NO_OPTIONS,
  ): Promise<boolean> {
    const call = repeatableOf(options, EXPIRE);
    const expiry =
      ttlMs === null ? NO_END : ({ kind: "after", ttlMs: ttlOf(ttlMs, "ttlMs") } as const);
    const { succeeded } = await this.#link.write(
      {
        kind: "expireKey",
        key: this.#space.keyView(key),
        expiry,
        when: "always",
        condition: conditionOf(this.#space, options),
        prevKv: false,
      },
      call,
    );
    return succeeded;
  }

  watch(keys: Key | Range, options: WatchOptions = NO_OPTIONS): Watching<V> {
    return openWatch(this.#link, this.#space, keys, options);
  }

  batch(): Batch<I> {
    return new StoreBatch(this.#link, this.#space);
  }

  async txn(txn: Txn<I>, options: Repeatable = NO_OPTIONS): Promise<TxnResult<V>> {
    const call = repeatableOf(options, REPEATABLE);
    const request = new TxnReader(this.#space).request(txn);
    return txnResult(this.#space, await this.#link.write(request, call));
  }

  transact<T>(
    run: (tx: Tx<V, I>) => Promise<T> | T,
    options: TransactOptions = NO_OPTIONS,
  ): Promise<T> {
    return transact(this.#link, this.#space, run, options);
  }

  async lock(name: Key, options: LockOptions): Promise<Lock> {
    return this.#shared.locks.lock(this.#space.key(name), options);
  }

  scope<W>(prefix: Key, options: ScopeOptions & { readonly codec: Codec<W> }): Store<W, W>;
  scope(prefix: Key, options?: ScopeOptions): Store<V, I>;
  scope<W>(
    prefix: Key,
    options: ScopeOptions & { readonly codec?: Codec<W> | undefined } = NO_OPTIONS,
  ): Store<W, W> | Store<V, I> {
    assertNames(options, SCOPE, "options");
    const { codec } = options;
    const ttlMs = options.ttlMs === undefined ? undefined : ttlOf(options.ttlMs, "ttlMs");
    return codec === undefined
      ? new EmbeddedStore(this.#shared, this.#space.within(prefix, ttlMs))
      : new EmbeddedStore(this.#shared, this.#space.converted(prefix, codec, ttlMs));
  }

  async snapshotAt(rev: number = 0, options: Call = NO_OPTIONS): Promise<Snapshot<V>> {
    const revision = countOf(rev, "rev") ?? 0;
    // Any point will do: what is wanted is the revision that it was read at, and the state.
    const request = { ...POINT, key: ANY_KEY, revision };
    const { state } = await this.#link.open(request, callOf(options, CALL), true);
    if (state === null) throw this.#link.ended ?? new HarmonyError("CLOSED");
    return new StoreSnapshot(this.#link, this.#space, state);
  }

  snapshotSync(): Snapshot<V> {
    return new StoreSnapshot(this.#link, this.#space, this.#link.stateNow());
  }

  #point(key: Key, options: Read): RangeRequest {
    const request = options === NO_OPTIONS ? POINT : readRequest(options);
    return { ...request, key: this.#space.key(key) };
  }
}

function allDone({ revision }: { readonly revision: number }): Done {
  return { rev: revision, ok: true };
}

function done({
  revision,
  succeeded,
}: {
  readonly revision: number;
  readonly succeeded: boolean;
}): Done {
  return { rev: revision, ok: succeeded };
}

/** Items are read no further than this: an iterable may be endless. Fewer are refused by the node. */
const MANY_READ_MAX = 10_000;
