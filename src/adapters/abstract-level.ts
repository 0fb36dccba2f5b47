/**
 * HarmonyDB as a database of Level: a subclass of abstract-level 3.
 *
 *     import { HarmonyLevel } from "harmonydb/abstract-level";
 *     await using level = new HarmonyLevel<string, object>("./data", { valueEncoding: "json" });
 *     await level.put("a", { n: 1 });
 *
 * @packageDocumentation
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { AbstractDatabaseOptions } from "abstract-level";
import type { Batch, HarmonyDB, OpenOptions } from "../index.ts";
import { assertPrefix, deleteAll, Home } from "./index.ts";
import { failure, LevelError, translated } from "./level-errors.ts";
import { LevelIterator, type LevelRange } from "./level-iterator.ts";
import { LevelKeys } from "./level-keys.ts";
import { giveBack, keep, type Kept } from "./level-memory.ts";
import { AbstractLevel } from "./level-peer.ts";
import { LevelSnapshot } from "./level-snapshot.ts";

export { LevelError } from "./level-errors.ts";

/** How to open it, beyond what abstract-level knows: `keyEncoding`, `valueEncoding`, `createIfMissing`, `errorIfExists`. */
export interface HarmonyLevelOptions<K, V> extends AbstractDatabaseOptions<K, V> {
  /** Where in the database its keys stand. Default: "level/". With "" it is the whole one, and no key may be empty. */
  readonly prefix?: string | undefined;
  /** Of `open`, for a directory that the level opens itself. */
  readonly open?: OpenOptions | undefined;
}

/** What abstract-level hands to its subclasses: keys and values are bytes by then. */
type Operation =
  | { readonly type: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Uint8Array };

interface ReadOptions {
  readonly snapshot?: LevelSnapshot | undefined;
}

const PREFIX = "level/";
const MEMORY = ":memory:";

/**
 * A Level database. A write that has resolved is synced to disk. Iterators and snapshots are pinned to the moment in
 * which they were made, for at most the database's `pinTimeoutMs`. A batch is one revision, up to `maxTxnOps`.
 *
 * Over `connect` it gets, puts, deletes and batches. Iterators, snapshots and `getSync` have to be made within the call,
 * from a state in this process: there they fail with LEVEL_UNSUPPORTED.
 */
export class HarmonyLevel<K = string, V = string> extends AbstractLevel<Uint8Array, K, V> {
  readonly #home: Home;
  readonly #keys: LevelKeys;
  #kept: Kept = [];

  /** `place`: a database that is open and stays so, or a directory, or ":memory:". */
  constructor(place: HarmonyDB | string, options: HarmonyLevelOptions<K, V> = {}) {
    const { prefix = PREFIX, open, ...forward } = options;
    const isDirectory = typeof place === "string" && place !== MEMORY;
    const manifest = {
      encodings: { view: true },
      seek: true,
      has: true,
      getSync: true,
      implicitSnapshots: true,
      explicitSnapshots: true,
      permanence: place !== MEMORY,
      createIfMissing: isDirectory,
      errorIfExists: isDirectory,
    };
    super(manifest, forward as AbstractDatabaseOptions<K, V>);
    this.#home = new Home(place, open);
    this.#keys = new LevelKeys(assertPrefix(prefix));
  }

  /** The directory that was named, or undefined for a database that is shared. */
  get location(): string | undefined {
    return this.#home.directory ?? undefined;
  }

  /** The database below, while it is open. */
  get database(): HarmonyDB | undefined {
    return this.#home.current ?? undefined;
  }

  /** @internal */
  async _open(options: { createIfMissing: boolean; errorIfExists: boolean }): Promise<void> {
    const { directory } = this.#home;
    if (directory !== null && directory !== MEMORY) {
      const exists = existsSync(join(directory, "VERSION"));
      if (!exists && !options.createIfMissing)
        throw new LevelError("LEVEL_NOT_FOUND", `${directory} does not exist as a database`);
      if (exists && options.errorIfExists)
        throw new LevelError("LEVEL_EXISTS", `${directory} exists as a database`);
    }
    const db = await translated(() => this.#home.open());
    if (db.status !== "open") throw failure("the database below is closed");
    await translated(() => giveBack(db, this.#kept));
    this.#kept = [];
  }

  /** @internal */
  async _close(): Promise<void> {
    await translated(async () => {
      if (this.location === MEMORY) this.#kept = await keep(this.#db, this.#keys.bounds({}));
      await this.#home.close();
    });
  }

  /** @internal */
  async _get(key: Uint8Array, { snapshot }: ReadOptions): Promise<Uint8Array | undefined> {
    const inner = this.#keys.inner(key);
    return translated(() =>
      snapshot === undefined ? this.#db.get(inner) : snapshot.state.get(inner),
    );
  }

  /** @internal */
  _getSync(key: Uint8Array, { snapshot }: ReadOptions): Uint8Array | undefined {
    const inner = this.#keys.inner(key);
    try {
      return (snapshot?.state ?? this.#db).getSync(inner);
    } catch (error) {
      throw failure(error);
    }
  }

  /** @internal */
  async _getMany(
    keys: readonly Uint8Array[],
    { snapshot }: ReadOptions,
  ): Promise<(Uint8Array | undefined)[]> {
    const inner = keys.map((key) => this.#keys.inner(key));
    return translated(() =>
      snapshot === undefined ? this.#db.getMany(inner) : snapshot.state.getMany(inner),
    );
  }

  /** @internal */
  async _has(key: Uint8Array, { snapshot }: ReadOptions): Promise<boolean> {
    const inner = this.#keys.inner(key);
    return translated(() =>
      snapshot === undefined ? this.#db.has(inner) : snapshot.state.has(inner),
    );
  }

  /** @internal */
  async _hasMany(keys: readonly Uint8Array[], options: ReadOptions): Promise<boolean[]> {
    return (await this._getMany(keys, options)).map((value) => value !== undefined);
  }

  /** @internal */
  async _put(key: Uint8Array, value: Uint8Array): Promise<void> {
    await translated(() => this.#db.put(this.#keys.inner(key), value));
  }

  /** @internal */
  async _del(key: Uint8Array): Promise<void> {
    await translated(() => this.#db.del(this.#keys.inner(key)));
  }

  /** @internal */
  async _batch(operations: readonly Operation[]): Promise<void> {
    await translated(async () => {
      const batch: Batch<string | Uint8Array> = this.#db.batch();
      for (const operation of operations) {
        const key = this.#keys.inner(operation.key);
        if (operation.type === "put") batch.put(key, operation.value);
        else batch.del(key);
      }
      await batch.commit();
    });
  }

  /** @internal A range without a limit is one revision; anything else is read first and deleted in pieces. */
  async _clear({ snapshot, limit = -1, ...range }: LevelRange & ReadOptions): Promise<void> {
    const bounds = this.#keys.bounds(range);
    await translated(async () => {
      const db = this.#db;
      if (snapshot === undefined && limit < 0) {
        await db.delMany(bounds);
        return;
      }
      const reverse = range.reverse === true;
      const found: Uint8Array[] = [];
      const wanted = { ...bounds, reverse, limit: limit < 0 ? undefined : limit };
      for await (const { rawKey } of (snapshot?.state ?? db).scan(wanted)) found.push(rawKey);
      await deleteAll(db, found);
    });
  }

  /** @internal */
  _iterator(options: LevelRange & ReadOptions): LevelIterator<K, V> {
    try {
      const own = options.snapshot === undefined ? this.#db.snapshotSync() : null;
      const state = options.snapshot?.state ?? own;
      if (state === null) throw failure("an iterator reads a state");
      return new LevelIterator<K, V>(this, options, { state, isOwn: own !== null }, this.#keys);
    } catch (error) {
      throw failure(error);
    }
  }

  /** @internal */
  _snapshot(options: { owner: object }): LevelSnapshot {
    try {
      return new LevelSnapshot(options, this.#db.snapshotSync());
    } catch (error) {
      throw failure(error);
    }
  }

  get #db(): HarmonyDB {
    const db = this.#home.current;
    if (db === null) throw failure("the database below is closed");
    return db;
  }
}
