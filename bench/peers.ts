/**
 * Ours and other embedded stores behind one interface, each in the way in which it takes a thousand writes at a time
 * fastest and still syncs before it says so. The others are packages of bench/compare/ and of nothing else.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { open } from "../src/index.ts";

/** One store that is open. Keys and values are bytes. */
export interface Side {
  /** Resolves when all of them are durable. */
  putAll(keys: readonly Uint8Array[], values: readonly Uint8Array[]): Promise<void>;
  getSync(key: Uint8Array): Uint8Array | undefined;
  /** The awaited read; null: the store has none. */
  get: ((key: Uint8Array) => Promise<Uint8Array | undefined>) | null;
  /** Reads all keys and values in order; answers how many there are. */
  scan(): Promise<number>;
  close(): Promise<void>;
}

/** How a side is opened, and what its `putAll` guarantees. */
export interface SideOf {
  readonly isOurs: boolean;
  readonly durability: string;
  open(directory: string): Promise<Side>;
}

async function openOurs(directory: string, retentionMs: number | undefined): Promise<Side> {
  const db = await open(
    directory,
    retentionMs === undefined ? {} : { retention: { retentionMs, retentionRevisions: 0 } },
  );
  return {
    async putAll(keys, values) {
      await Promise.all(keys.map((key, i) => db.put(key, values[i] as Uint8Array)));
    },
    getSync: (key) => db.getSync(key),
    get: (key) => db.get(key),
    async scan() {
      let count = 0;
      let bytes = 0;
      for await (const { rawKey, value } of db.scan()) {
        bytes += rawKey.length + value.length;
        count++;
      }
      return bytes > 0 ? count : 0;
    },
    close: () => db.close(),
  };
}

const COMPARE = new URL("../../bench/compare/package.json", import.meta.url);

/** A package of bench/compare; rejects when it is not installed there. */
async function peer<T>(name: string): Promise<T> {
  const path = createRequire(COMPARE).resolve(name);
  return (await import(pathToFileURL(path).href)) as T;
}

interface LmdbDatabase {
  put(key: Uint8Array, value: Uint8Array): Promise<boolean>;
  get(key: Uint8Array): Uint8Array | undefined;
  getRange(): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>;
  readonly flushed: Promise<boolean>;
  close(): Promise<void>;
}

/** `overlappingSync` off: a promise resolves after the sync of its transaction. On: `flushed` says when that was. */
async function openLmdb(directory: string, overlappingSync: boolean): Promise<Side> {
  const lmdb = await peer<{ open(options: object): LmdbDatabase }>("lmdb");
  const db = lmdb.open({
    path: join(directory, "lmdb"),
    keyEncoding: "binary",
    encoding: "binary",
    overlappingSync,
    compression: false,
  });
  return {
    async putAll(keys, values) {
      await Promise.all(keys.map((key, i) => db.put(key, values[i] as Uint8Array)));
      if (overlappingSync) await db.flushed;
    },
    getSync: (key) => db.get(key),
    get: null,
    async scan() {
      let count = 0;
      let bytes = 0;
      for (const { key, value } of db.getRange()) {
        bytes += key.length + value.length;
        count++;
      }
      return bytes > 0 ? count : 0;
    },
    close: () => db.close(),
  };
}

interface LevelDatabase {
  open(): Promise<void>;
  put(key: Uint8Array, value: Uint8Array, options: object): Promise<void>;
  batch(operations: readonly object[], options: object): Promise<void>;
  getSync(key: Uint8Array): Uint8Array | undefined;
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  iterator(): {
    nextv(size: number): Promise<readonly (readonly [Uint8Array, Uint8Array])[]>;
    close(): Promise<void>;
  };
  close(): Promise<void>;
}

/** One batch with `sync` for all of them, or a put with `sync` for each. */
async function openLevel(directory: string, inOneBatch: boolean): Promise<Side> {
  const { ClassicLevel } = await peer<{
    readonly ClassicLevel: new (path: string, options: object) => LevelDatabase;
  }>("classic-level");
  const db = new ClassicLevel(join(directory, "level"), {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await db.open();
  const sync = { sync: true };
  return {
    async putAll(keys, values) {
      if (inOneBatch) {
        await db.batch(
          keys.map((key, i) => ({ type: "put", key, value: values[i] })),
          sync,
        );
      } else {
        await Promise.all(keys.map((key, i) => db.put(key, values[i] as Uint8Array, sync)));
      }
    },
    getSync: (key) => db.getSync(key),
    get: (key) => db.get(key),
    async scan() {
      const iterator = db.iterator();
      let count = 0;
      let bytes = 0;
      for (;;) {
        const entries = await iterator.nextv(1000);
        if (entries.length === 0) break;
        for (const [key, value] of entries) bytes += key.length + value.length;
        count += entries.length;
      }
      await iterator.close();
      return bytes > 0 ? count : 0;
    },
    close: () => db.close(),
  };
}

interface SqliteStatement {
  run(...parameters: readonly unknown[]): unknown;
  get(...parameters: readonly unknown[]): Uint8Array | undefined;
  iterate(): Iterable<readonly [Uint8Array, Uint8Array]>;
  pluck(): SqliteStatement;
  raw(): SqliteStatement;
}

interface SqliteDatabase {
  pragma(text: string): unknown;
  exec(text: string): unknown;
  prepare(text: string): SqliteStatement;
  transaction<A extends readonly unknown[]>(run: (...parameters: A) => void): (...all: A) => void;
  close(): void;
}

async function openSqlite(directory: string): Promise<Side> {
  const { default: Database } = await peer<{
    readonly default: new (path: string) => SqliteDatabase;
  }>("better-sqlite3");
  const db = new Database(join(directory, "sqlite"));
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.exec("CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID");
  const put = db.prepare(
    "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
  );
  const get = db.prepare("SELECT v FROM kv WHERE k = ?").pluck();
  const all = db.prepare("SELECT k, v FROM kv ORDER BY k").raw();
  const putAll = db.transaction((keys: readonly Uint8Array[], values: readonly Uint8Array[]) => {
    for (let i = 0; i < keys.length; i++) put.run(keys[i], values[i]);
  });
  return {
    async putAll(keys, values) {
      putAll(keys, values);
    },
    getSync: (key) => get.get(key),
    get: null,
    async scan() {
      let count = 0;
      let bytes = 0;
      for (const [key, value] of all.iterate()) {
        bytes += key.length + value.length;
        count++;
      }
      return bytes > 0 ? count : 0;
    },
    async close() {
      db.close();
    },
  };
}

export const SIDES: Readonly<Record<string, SideOf>> = {
  harmonydb: {
    isOurs: true,
    durability: "each put a promise that resolves after its sync; history of 5 minutes",
    open: (directory) => openOurs(directory, undefined),
  },
  "harmonydb, retention 0": {
    isOurs: true,
    durability: "each put a promise that resolves after its sync; no history",
    open: (directory) => openOurs(directory, 0),
  },
  "lmdb-js": {
    isOurs: false,
    durability: "each put a promise that resolves after its sync (overlappingSync off)",
    open: (directory) => openLmdb(directory, false),
  },
  "lmdb-js, flushed": {
    isOurs: false,
    durability: "default settings, `flushed` awaited for every thousand",
    open: (directory) => openLmdb(directory, true),
  },
  "classic-level": {
    isOurs: false,
    durability: "one batch with sync for every thousand",
    open: (directory) => openLevel(directory, true),
  },
  "classic-level, puts": {
    isOurs: false,
    durability: "each put a promise with sync",
    open: (directory) => openLevel(directory, false),
  },
  "better-sqlite3": {
    isOurs: false,
    durability: "one transaction for every thousand, WAL, synchronous=FULL, on the caller's thread",
    open: openSqlite,
  },
};
