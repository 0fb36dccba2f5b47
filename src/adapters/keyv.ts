/**
 * HarmonyDB as a storage adapter for Keyv 5 and 6.
 *
 *     import Keyv from "keyv";
 *     import { HarmonyKeyv } from "harmonydb/keyv";
 *     const cache = new Keyv({ store: new HarmonyKeyv(db), namespace: "users" });
 *     await cache.set("ann", { age: 41 }, 60_000);
 *
 * @packageDocumentation
 */
import { EventEmitter } from "node:events";
import { HarmonyError, text } from "../base/index.ts";
import type { HarmonyDB, OpenOptions } from "../index.ts";
import { assertPrefix, deleteAll, Home, type Item, putAll } from "./index.ts";

/** Where the adapter's keys stand. */
export interface HarmonyKeyvOptions {
  /** In the database. Default: "keyv/". */
  readonly prefix?: string | undefined;
  /** Within the prefix; Keyv sets it to its own. Default: none. */
  readonly namespace?: string | undefined;
  /** Of `open`, for a directory that the adapter opens itself. */
  readonly open?: OpenOptions | undefined;
}

/** What Keyv sets at once. */
export interface KeyvItem {
  /** As Keyv gives it. */
  readonly key: string;
  /** What Keyv's serializer made. */
  readonly value: string;
  /** Milliseconds; absent, it has no end. */
  readonly ttl?: number | undefined;
}

const PREFIX = "keyv/";

/**
 * A store of Keyv. Keys end by the database's own deadlines: an entry that has ended takes no room, whether anybody asks
 * for it or not. The keys of a namespace stand together, so clearing one costs what is in it and touches no other.
 *
 * One adapter has one namespace at a time: give each Keyv its own. They are cheap, and may share one database.
 * "error" tells Keyv that the database has stopped, and why; what goes wrong in a call rejects that call.
 */
export class HarmonyKeyv extends EventEmitter {
  /**
   * Read by Keyv 5, which lets only dialects that it knows by name iterate. This is the one of them that has our keys
   * in order, revisions and leases.
   */
  readonly opts: { readonly dialect: "etcd"; readonly url: "harmonydb" } = {
    dialect: "etcd",
    url: "harmonydb",
  };
  /** Where keys stand from now on. Without one, beside all namespaces and not above them. */
  namespace: string | undefined;
  readonly #home: Home;
  readonly #prefix: string;
  /** The database whose end is told, once it is known. */
  #heard: HarmonyDB | null = null;
  readonly #onError = (error: HarmonyError): void => {
    if (this.listenerCount("error") > 0) this.emit("error", error);
  };

  /** `place`: a database that is open and stays so, or a directory, or ":memory:", opened when it is first used. */
  constructor(place: HarmonyDB | string, options: HarmonyKeyvOptions = {}) {
    super();
    const { prefix = PREFIX, namespace, open } = options;
    this.#home = new Home(place, open);
    this.#prefix = assertPrefix(prefix);
    this.namespace = namespace;
  }

  /** The text under the key, or undefined. */
  async get(key: string): Promise<string | undefined> {
    const db = await this.#use();
    return textOf(await db.get(this.#inner(key)));
  }

  /** The texts under the keys, all as of one moment. */
  async getMany(keys: readonly string[]): Promise<(string | undefined)[]> {
    const db = await this.#use();
    return (await db.getMany(keys.map((key) => this.#inner(key)))).map(textOf);
  }

  /** Sets a key, synced when it resolves. A `ttl` of zero or less, in milliseconds, is an end that has come. */
  async set(key: string, value: string, ttl?: number): Promise<boolean> {
    return (await this.setMany([{ key, value, ttl }])).every(Boolean);
  }

  /** Sets many keys; those with the same `ttl` in one revision, up to 10,000 keys and half a mebibyte. */
  async setMany(items: readonly KeyvItem[]): Promise<boolean[]> {
    const db = await this.#use();
    const last = new Map<string, KeyvItem>();
    for (const item of items) {
      if (typeof item.value !== "string")
        throw new HarmonyError("INVALID_ARGUMENT", "values are text: Keyv needs a serializer");
      last.set(this.#inner(item.key), item);
    }
    const over: string[] = [];
    const alive: Item[] = [];
    for (const [key, { value, ttl }] of last) {
      const ttlMs = endOf(ttl);
      if (ttlMs === 0) over.push(key);
      else alive.push({ key, value, ttlMs });
    }
    await Promise.all([deleteAll(db, over), putAll(db, alive)]);
    return items.map(() => true);
  }

  /** Whether the key is there. */
  async has(key: string): Promise<boolean> {
    const db = await this.#use();
    return db.has(this.#inner(key));
  }

  /** Whether the keys are there, all as of one moment. */
  async hasMany(keys: readonly string[]): Promise<boolean[]> {
    return (await this.getMany(keys)).map((value) => value !== undefined);
  }

  /** Removes a key; false: it was not there. */
  async delete(key: string): Promise<boolean> {
    const db = await this.#use();
    return (await db.del(this.#inner(key))).ok;
  }

  /** Removes keys; false: none of them was there. */
  async deleteMany(keys: readonly string[]): Promise<boolean> {
    const db = await this.#use();
    return (
      (await deleteAll(
        db,
        keys.map((key) => this.#inner(key)),
      )) > 0
    );
  }

  /** Removes all keys of the namespace in one revision. */
  async clear(): Promise<void> {
    const db = await this.#use();
    await db.delMany({ prefix: this.#room(this.namespace) });
  }

  /** The keys of the namespace with their texts, in the order of their bytes, as of one moment. */
  async *iterator(
    namespace: string | undefined = this.namespace,
  ): AsyncGenerator<[string, string], void, undefined> {
    const db = await this.#use();
    const room = this.#room(namespace);
    for await (const { key, value } of db.scan({ prefix: room }))
      yield [key.slice(room.length), text(value)];
  }

  /** Ends the adapter, and closes the database if the adapter has opened it. */
  async disconnect(): Promise<void> {
    this.#heard?.off("error", this.#onError);
    await this.#home.end();
  }

  async #use(): Promise<HarmonyDB> {
    const db = await this.#home.use();
    this.#heard ??= db.on("error", this.#onError);
    return db;
  }

  /** Where a namespace stands: no other one begins with it, since its name has no colon there. */
  #room(namespace: string | undefined): string {
    try {
      return `${this.#prefix}${encodeURIComponent(namespace ?? "")}:`;
    } catch (cause) {
      throw new HarmonyError("INVALID_ARGUMENT", "a namespace has no lone surrogate", { cause });
    }
  }

  #inner(key: string): string {
    if (typeof key !== "string") throw new HarmonyError("INVALID_ARGUMENT", "a key is text");
    return this.#room(this.namespace) + key;
  }
}

function textOf(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : text(value);
}

/** 285 years, the longest time to live. */
const TTL_MS_MAX = 9_000_000_000_000;

/** Whole milliseconds, none of which is cut off; 0 when the end has come, undefined for no end. */
function endOf(ttl: number | null | undefined): number | undefined {
  if (ttl === undefined || ttl === null) return undefined;
  return ttl > 0 ? Math.min(Math.ceil(ttl), TTL_MS_MAX) : 0;
}
