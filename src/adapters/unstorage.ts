/**
 * HarmonyDB as a driver of unstorage.
 *
 *     import { createStorage } from "unstorage";
 *     import harmonyDriver from "harmonydb/unstorage";
 *     const storage = createStorage({ driver: harmonyDriver({ directory: "./data" }) });
 *     await storage.setItem("users:ann", { age: 41 });
 *
 * @packageDocumentation
 */
import { HarmonyError, text } from "../base/index.ts";
import type { Entry, HarmonyDB, OpenOptions, Value, Watching } from "../index.ts";
import { assertPrefix, Home, putAll } from "./index.ts";

/** Where the items stand: in a `database` that is open and stays so, or in a `directory`, opened when it is first used. */
export interface HarmonyDriverOptions {
  /** Either this one. */
  readonly database?: HarmonyDB | undefined;
  /** Or this one; ":memory:" for one that is kept nowhere. */
  readonly directory?: string | undefined;
  /** In the database. Default: "unstorage/". */
  readonly prefix?: string | undefined;
  /** Seconds until an item ends whose call does not say it. Default: it has no end. */
  readonly ttl?: number | undefined;
  /** Of `open`, for a directory. */
  readonly open?: OpenOptions | undefined;
}

/** What a call of unstorage takes: others are not ours to judge. */
export interface ItemOptions {
  /** Seconds until the item ends, or 0 for no end. Default: the driver's. */
  readonly ttl?: number | undefined;
}

/** What the driver tells of an item. Times of writes are not kept; revisions are. */
export interface HarmonyItemMeta {
  /** Revision of the last change. */
  readonly rev: number;
  /** Revision in which the item came into being. */
  readonly createRev: number;
  /** 1 when created, one more with each write. */
  readonly version: number;
  /** Bytes of the value. */
  readonly size: number;
  /** Seconds until it ends, if it does. */
  readonly ttl?: number;
  /** When it ends, if it does, on the database's clock. */
  readonly expiresAt?: Date;
  /** As unstorage asks for it. */
  readonly [name: string]: number | Date | undefined;
}

/** Takes the watch back. */
export type Unwatch = () => Promise<void>;

/** The driver, as unstorage knows one; every call of its contract is here. */
export interface HarmonyDriver {
  /** How unstorage calls the driver. */
  readonly name: "harmonydb";
  /** Items may end by themselves. */
  readonly flags: { readonly ttl: true };
  /** As they were given. */
  readonly options: HarmonyDriverOptions;
  /** The database; undefined for a directory that nobody has used yet. */
  getInstance(): HarmonyDB | undefined;
  /** Whether there is an item. */
  hasItem(key: string): Promise<boolean>;
  /** The item as text, or null. */
  getItem(key: string): Promise<string | null>;
  /** All as of one moment. */
  getItems(
    items: readonly { readonly key: string }[],
  ): Promise<{ key: string; value: string | null }[]>;
  /** The item as the bytes that were set, or null. */
  getItemRaw(key: string): Promise<Uint8Array | null>;
  /** Synced when it resolves, like every write. */
  setItem(key: string, value: string, options?: ItemOptions): Promise<void>;
  /** Those with the same `ttl` in one revision, up to 10,000 items and half a mebibyte. */
  setItems(
    items: readonly {
      readonly key: string;
      readonly value: string;
      readonly options?: ItemOptions | undefined;
    }[],
    common?: ItemOptions,
  ): Promise<void>;
  /** Takes bytes, or text. */
  setItemRaw(key: string, value: unknown, options?: ItemOptions): Promise<void>;
  /** One that is not there is nothing. */
  removeItem(key: string): Promise<void>;
  /** Null where there is no item. */
  getMeta(key: string): Promise<HarmonyItemMeta | null>;
  /** In the order of their bytes, as of one moment. */
  getKeys(base?: string, options?: { readonly maxDepth?: number | undefined }): Promise<string[]>;
  /** In one revision. */
  clear(base?: string): Promise<void>;
  /** Tells of changes by anybody, in their order; an item that has ended is removed, too. */
  watch(callback: (event: "update" | "remove", key: string) => unknown): Promise<Unwatch>;
  /** Ends the watches, and closes the database if the driver has opened it. */
  dispose(): Promise<void>;
}

const PREFIX = "unstorage/";
const TTL_MS_MAX = 9_000_000_000_000;

/** Makes a driver. Default and named, as tools that load drivers by their path want it. */
export default function harmonyDriver(options: HarmonyDriverOptions): HarmonyDriver {
  const { database, directory, open } = options;
  if ((database === undefined) === (directory === undefined))
    throw invalid("the driver takes a database or a directory");
  const home = new Home(database ?? (directory as string), open);
  const prefix = assertPrefix(options.prefix ?? PREFIX);
  const inner = (key: string): string => prefix + textual(key, "a key");
  const ends = (ttl: number | null | undefined): number | undefined => msOf(ttl ?? options.ttl);
  const watches = new Set<Unwatch>();

  return {
    name: "harmonydb",
    flags: { ttl: true },
    options,

    getInstance: () => home.current ?? undefined,

    async hasItem(key) {
      return (await home.use()).has(inner(key));
    },

    async getItem(key) {
      const value = await (await home.use()).get(inner(key));
      return value === undefined ? null : text(value);
    },

    async getItems(items) {
      const values = await (await home.use()).getMany(items.map(({ key }) => inner(key)));
      return items.map(({ key }, i) => {
        const value = values[i];
        return { key, value: value === undefined ? null : text(value) };
      });
    },

    async getItemRaw(key) {
      return (await (await home.use()).get(inner(key))) ?? null;
    },

    async setItem(key, value, { ttl } = {}) {
      await (await home.use()).put(inner(key), textual(value, "a value"), { ttlMs: ends(ttl) });
    },

    async setItems(items, common = {}) {
      const written = items.map(({ key, value, options: own }) => ({
        key: inner(key),
        value: textual(value, "a value"),
        ttlMs: ends(own?.ttl ?? common.ttl),
      }));
      await putAll(await home.use(), written);
    },

    async setItemRaw(key, value, { ttl } = {}) {
      await (await home.use()).put(inner(key), rawOf(value), { ttlMs: ends(ttl) });
    },

    async removeItem(key) {
      await (await home.use()).del(inner(key));
    },

    async getMeta(key) {
      const entry = await (await home.use()).entry(inner(key));
      return entry === undefined ? null : metaOf(entry);
    },

    async getKeys(base = "", { maxDepth = Number.POSITIVE_INFINITY } = {}) {
      const db = await home.use();
      const keys: string[] = [];
      for await (const found of db.scan({ prefix: inner(base) }).keys()) {
        const key = found.slice(prefix.length);
        if (depthOf(key) <= maxDepth) keys.push(key);
      }
      return keys;
    },

    async clear(base = "") {
      await (await home.use()).delMany({ prefix: inner(base) });
    },

    async watch(callback) {
      const watching = (await home.use()).watch({ prefix });
      let isOver = false;
      const unwatch: Unwatch = () => {
        isOver = true;
        watches.delete(unwatch);
        return watching.close();
      };
      watches.add(unwatch);
      void tell(watching, (event, key) => {
        if (!isOver) return callback(event, key.slice(prefix.length));
      });
      return unwatch;
    },

    async dispose() {
      await Promise.all([...watches].map((unwatch) => unwatch()));
      await home.end();
    },
  };
}

export { harmonyDriver };

/**
 * Hands on what happens, until the watch is closed or the database ends. A callback may take its own watch back, so
 * nobody waits for what it returns; what it throws is its own affair, and the next event is not to blame.
 */
async function tell(
  watching: Watching,
  callback: (event: "update" | "remove", key: string) => unknown,
): Promise<void> {
  const call = async (event: "update" | "remove", key: string): Promise<void> => {
    await callback(event, key);
  };
  try {
    for await (const { events } of watching)
      for (const { type, key } of events)
        call(type === "put" ? "update" : "remove", key).catch(() => {});
  } catch (error) {
    if (!(error instanceof HarmonyError)) throw error;
  }
}

function metaOf({ rev, createRev, version, value, expiresAt }: Entry): HarmonyItemMeta {
  const meta = { rev, createRev, version, size: value.length };
  if (expiresAt === undefined) return meta;
  const ttl = Math.max(0, Math.ceil((expiresAt - Date.now()) / 1000));
  return { ...meta, ttl, expiresAt: new Date(expiresAt) };
}

function depthOf(key: string): number {
  return key.split(":").length - 1;
}

/** Whole milliseconds, none of which is cut off. Zero seconds mean no end, as with other drivers. */
function msOf(ttl: number | null | undefined): number | undefined {
  if (ttl === undefined || ttl === null || ttl === 0) return undefined;
  if (!(typeof ttl === "number" && ttl > 0)) throw invalid("ttl is a number of seconds from 0");
  return Math.min(Math.ceil(ttl * 1000), TTL_MS_MAX);
}

function textual(value: string, what: string): string {
  if (typeof value !== "string") throw invalid(`${what} is text`);
  return value;
}

/** Bytes in any of their shapes. */
function rawOf(value: unknown): Value {
  if (typeof value === "string") return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value))
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  throw invalid("a raw value is bytes or text");
}

function invalid(what: string): HarmonyError {
  return new HarmonyError("INVALID_ARGUMENT", what);
}
