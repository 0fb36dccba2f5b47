/** Keyv's own suite, on a directory, in memory and over a connection, and what the suite does not ask. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  keyvApiTests,
  keyvIteratorTests,
  keyvNamespaceTest,
  keyvValueTests,
} from "@keyv/test-suite";
import Keyv from "keyv";
import * as vitest from "vitest";
import { HarmonyKeyv, type HarmonyKeyvOptions } from "../../src/adapters/keyv.ts";
import { codecs, connect, type HarmonyDB, open, serve } from "../../src/index.ts";
import { codeOf, until } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";

const { describe, expect, it, onTestFinished, vi } = vitest;

vi.setConfig({ testTimeout: 60_000 });

const SUITES = [keyvApiTests, keyvValueTests, keyvNamespaceTest, keyvIteratorTests];
const directory = mkdtempSync(join(tmpdir(), "harmonydb-keyv-"));
const node = await serve({
  dataDir: ":memory:",
  listenClientUrls: ["http://127.0.0.1:0"],
  shutdownTimeoutMs: 0,
});
const places: readonly (readonly [string, HarmonyDB])[] = [
  [":memory:", await open(":memory:")],
  ["a directory", await open(directory, { walSegmentBytes: 1024 * 1024 })],
  ["a node elsewhere", await connect(node.urls)],
];
vitest.afterAll(async () => {
  for (const [, db] of places) await db.close();
  await node.close();
  rmSync(directory, { recursive: true, force: true });
});

describe.each(places)("Keyv's own suite, in %s", (_, db) => {
  // One adapter for each Keyv, as the page says, all of them on one database.
  for (const suite of SUITES)
    describe(suite.name, () => suite(vitest, Keyv, () => new HarmonyKeyv(db)));
});

async function memory(): Promise<HarmonyDB> {
  const db = await open(":memory:");
  onTestFinished(() => db.close());
  return db;
}

function keyv(db: HarmonyDB, options: HarmonyKeyvOptions & { readonly ttl?: number } = {}): Keyv {
  const { namespace, ttl, ...rest } = options;
  return new Keyv({
    store: new HarmonyKeyv(db, rest),
    throwOnErrors: true,
    emitErrors: false,
    ...(namespace === undefined ? {} : { namespace }),
    ...(ttl === undefined ? {} : { ttl }),
  });
}

async function keysOf(db: HarmonyDB): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of db.scan().keys()) keys.push(key);
  return keys;
}

describe("a Keyv on HarmonyDB", () => {
  it("sets, gets and deletes many, and tells what was there", async () => {
    const db = await memory();
    const cache = keyv(db);
    expect(
      await cache.setMany([
        { key: "a", value: 1 },
        { key: "b", value: [2] },
        { key: "a", value: "last" },
      ]),
    ).toEqual([true, true, true]);
    expect(await cache.getMany(["b", "nothing", "a"])).toEqual([[2], undefined, "last"]);
    expect(await cache.hasMany(["a", "nothing"])).toEqual([true, false]);
    expect(await cache.has("b")).toBe(true);
    expect(await cache.deleteMany(["nothing", "a"])).toBe(true);
    expect(await cache.deleteMany(["nothing", "a"])).toBe(false);
    expect(await cache.delete("b")).toBe(true);
    expect(await keysOf(db)).toEqual([]);
  });

  it("sets with one end in one revision, and more than a request takes in pieces", async () => {
    const db = await memory();
    const store = new HarmonyKeyv(db);
    const before = await db.barrier();
    await store.setMany(Array.from({ length: 100 }, (_, i) => ({ key: `k${i}`, value: "x" })));
    expect(await db.barrier()).toBe(before + 1);
    const long = "x".repeat(60_000);
    await store.setMany(Array.from({ length: 60 }, (_, i) => ({ key: `long${i}`, value: long })));
    await store.setMany(Array.from({ length: 25_000 }, (_, i) => ({ key: `n${i}`, value: "x" })));
    expect((await store.getMany(["long59", "n24999"])).map((value) => value?.length)).toEqual([
      60_000, 1,
    ]);
    const many = Array.from({ length: 25_000 }, (_, i) => `n${i}`);
    expect(await store.deleteMany(many)).toBe(true);
    expect(await db.scan().count()).toBe(160);
  });

  it("gives keys the database's own deadlines: what has ended is gone though nobody asks", async () => {
    const db = await memory();
    const cache = keyv(db, { ttl: 3_600_000 });
    await cache.set("by default", 1);
    await cache.set("by call", 1, 0.5);
    await cache.setMany([
      { key: "soon", value: 1, ttl: 1 },
      { key: "later", value: 1, ttl: 7_200_000 },
    ]);
    await cache.set("for ever", 1, 0);
    await until(async () => (await db.scan().count()) === 3);
    const entries = await db.scan().all();
    expect(entries.map(({ key, expiresAt }) => [key, expiresAt !== undefined])).toEqual([
      ["keyv/keyv:keyv:by default", true],
      ["keyv/keyv:keyv:for ever", false],
      ["keyv/keyv:keyv:later", true],
    ]);
  });

  it("takes an end that has come as a delete, and one beyond all ends as the longest", async () => {
    const store = new HarmonyKeyv(await memory());
    await store.set("a", "1");
    await store.setMany([
      { key: "a", value: "2", ttl: -1 },
      { key: "b", value: "2", ttl: Number.POSITIVE_INFINITY },
    ]);
    expect(await store.getMany(["a", "b"])).toEqual([undefined, "2"]);
    await store.set("b", "3", Number.NaN);
    expect(await store.has("b")).toBe(false);
  });

  it("keeps namespaces apart, whatever they are called, and clears one in one revision", async () => {
    const db = await memory();
    const names = [undefined, "a", "a:b", "a:", ":", "%3A", "a/b", "\0", "__proto__", "\u{1f600}"];
    const stores = names.map((namespace) => new HarmonyKeyv(db, { namespace }));
    const keys = ["b:c", ":", "", "__proto__", "constructor", "\0", "a:b:c", "\ufeff", "\u{1f600}"];
    for (const [i, store] of stores.entries())
      await store.setMany(keys.map((key) => ({ key, value: `${i} ${key}` })));
    await db.put("other", "untouched");
    for (const [i, store] of stores.entries()) {
      expect(await store.getMany(keys)).toEqual(keys.map((key) => `${i} ${key}`));
      const seen = new Map<string, string>();
      for await (const [key, value] of store.iterator()) seen.set(key, value);
      expect(seen).toEqual(new Map(keys.map((key) => [key, `${i} ${key}`])));
    }
    let left = keys.length * stores.length + 1;
    for (const store of stores) {
      const before = await db.barrier();
      await store.clear();
      left -= keys.length;
      expect([await db.scan().count(), await db.barrier()]).toEqual([left, before + 1]);
    }
    expect(await keysOf(db)).toEqual(["other"]);
  });

  it("does with the calls of Keyv 6, whose bridge names the namespace and gives bare keys", async () => {
    const db = await memory();
    const store = new HarmonyKeyv(db);
    store.namespace = "six";
    await store.set("a", "1", 60_000);
    expect(await keysOf(db)).toEqual(["keyv/six:a"]);
    store.namespace = undefined;
    expect(await store.get("a")).toBeUndefined();
  });

  it("iterates over one state, while others write", async () => {
    const db = await memory();
    const store = new HarmonyKeyv(db);
    await store.setMany(Array.from({ length: 500 }, (_, i) => ({ key: `k${i}`, value: "old" })));
    let count = 0;
    for await (const [, value] of store.iterator()) {
      if (count++ === 0) await store.clear();
      expect(value).toBe("old");
    }
    expect(count).toBe(500);
  });

  it("says what is wrong: long keys, lone surrogates, values that are no text", async () => {
    const cache = keyv(await memory());
    const store = new HarmonyKeyv(await memory());
    expect(await codeOf(() => cache.set("x".repeat(5000), 1))).toBe("KEY_TOO_LARGE");
    expect(await codeOf(() => cache.set("\ud800", 1))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => store.set("a", { a: 1 } as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => store.get(1 as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => store.set("a", "x".repeat(2_000_000)))).toBe("TOO_LARGE");
    store.namespace = "\ud800";
    expect(await codeOf(() => store.clear())).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => new HarmonyKeyv(1 as never))).toBe("INVALID_ARGUMENT");
  });

  it("gives text back exactly", async () => {
    const store = new HarmonyKeyv(await memory());
    for (const value of ["", "\ufeffa", "\0", "\u{1f600}", '{"value":"\\ud800"}']) {
      await store.set("a", value);
      expect(await store.get("a")).toBe(value);
    }
  });

  it("opens a directory when it is first used, and gives it back; a shared database stays open", async () => {
    const directory = temporaryDirectory();
    const first = new Keyv({ store: new HarmonyKeyv(directory) });
    await first.set("a", { n: 1 });
    await first.disconnect();
    const db = await open(directory);
    onTestFinished(() => db.close());
    const store = new HarmonyKeyv(db);
    const second = new Keyv({ store });
    expect(await second.get("a")).toEqual({ n: 1 });
    await second.disconnect();
    expect(await codeOf(() => store.get("a"))).toBe("CLOSED");
    expect(await db.scope("keyv/", { codec: codecs.utf8 }).get("keyv:keyv:a")).toContain('"n":1');
  });

  it("tells of a database that is closed below it", async () => {
    const db = await memory();
    const store = new HarmonyKeyv(db);
    await store.set("a", "1");
    await db.close();
    expect(await codeOf(() => store.get("a"))).toBe("CLOSED");
    expect(await codeOf(() => store.set("a", "1"))).toBe("CLOSED");
  });
});
