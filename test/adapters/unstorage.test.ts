/**
 * The driver under unstorage's own storage. The tests of unstorage's drivers are not part of its package, so these are
 * ours: every call of the driver's contract, directly or through `createStorage`.
 */
import { createStorage, prefixStorage, restoreSnapshot, snapshot, type Storage } from "unstorage";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import harmonyDriver, {
  type HarmonyDriver,
  type HarmonyDriverOptions,
} from "../../src/adapters/unstorage.ts";
import { type HarmonyDB, open } from "../../src/index.ts";
import { codeOf, until } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";
import { connected } from "../remote/connected.ts";

vi.setConfig({ testTimeout: 60_000 });

interface Opened {
  readonly driver: HarmonyDriver;
  readonly storage: Storage;
}

function opened(options: HarmonyDriverOptions): Opened {
  const driver = harmonyDriver(options);
  onTestFinished(() => driver.dispose());
  return { driver, storage: createStorage({ driver }) };
}

async function memory(): Promise<HarmonyDB> {
  const db = await open(":memory:");
  onTestFinished(() => db.close());
  return db;
}

const PLACES: readonly (readonly [string, () => Promise<HarmonyDriverOptions>])[] = [
  [":memory:", async () => ({ directory: ":memory:" })],
  ["a directory", async () => ({ directory: temporaryDirectory() })],
  ["a shared database", async () => ({ database: await memory() })],
  ["a node elsewhere", async () => ({ database: await connected() })],
];

describe.each(PLACES)("a storage in %s", (_, place) => {
  it("has nothing at first", async () => {
    const { storage } = opened(await place());
    expect(await storage.hasItem("a:b")).toBe(false);
    expect(await storage.getItem("a:b")).toBeNull();
    expect(await storage.getItemRaw("a:b")).toBeNull();
    expect(await storage.getMeta("a:b")).toEqual({});
    expect(await storage.getKeys()).toEqual([]);
    await storage.clear();
    await storage.removeItem("a:b");
  });

  it("gives back what was set, of every kind that unstorage writes", async () => {
    const { storage } = opened(await place());
    const values = ["text", "", 0, false, true, null, 1.5, { a: [1, { b: null }] }, ["x"]];
    for (const [i, value] of values.entries()) await storage.setItem(`v:${i}`, value);
    for (const [i, value] of values.entries()) {
      expect(await storage.getItem(`v:${i}`)).toEqual(value);
      expect(await storage.hasItem(`v:${i}`)).toBe(true);
    }
    await storage.setItem("v/0?q=1", "by another spelling");
    expect(await storage.getItem("v:0?q=2")).toBe("by another spelling");
    await storage.setItem("v:1", undefined as never);
    expect(await storage.hasItem("v:1")).toBe(false);
    await expect(storage.setItem("bad", new (class Odd {})())).rejects.toThrow("stringify");
  });

  it("gives raw bytes back as they were, in whatever shape they came", async () => {
    const { storage, driver } = opened(await place());
    const bytes = Uint8Array.of(0, 255, 254, 1, 128);
    await storage.setItemRaw("raw:view", bytes);
    await storage.setItemRaw("raw:buffer", Buffer.from(bytes));
    await storage.setItemRaw("raw:memory", bytes.slice().buffer);
    await storage.setItemRaw("raw:part", new DataView(bytes.buffer, 1, 2));
    await storage.setItemRaw("raw:text", "\u{1f600}");
    expect(await storage.getItemRaw("raw:view")).toEqual(bytes);
    expect(await storage.getItemRaw("raw:buffer")).toEqual(bytes);
    expect(await storage.getItemRaw("raw:memory")).toEqual(bytes);
    expect(await storage.getItemRaw("raw:part")).toEqual(Uint8Array.of(255, 254));
    expect(await driver.getItem("raw:text")).toBe("\u{1f600}");
    expect(await codeOf(() => driver.setItemRaw("raw:odd", { a: 1 }))).toBe("INVALID_ARGUMENT");
    await storage.setItemRaw("raw:view", undefined);
    expect(await storage.getItemRaw("raw:view")).toBeNull();
  });

  it("sets and gets many at once", async () => {
    const { storage, driver } = opened(await place());
    await storage.setItems<string | object>([
      { key: "m:1", value: "one" },
      { key: "m:2", value: { n: 2 } },
      { key: "m/1?x", value: "again" },
    ]);
    expect(await storage.getItems(["m:2", { key: "m:1" }, "m:3"])).toEqual([
      { key: "m:2", value: { n: 2 } },
      { key: "m:1", value: "again" },
      { key: "m:3", value: null },
    ]);
    const db = driver.getInstance() as HarmonyDB;
    const before = await db.barrier();
    await storage.setItems(Array.from({ length: 50 }, (_one, i) => ({ key: `n:${i}`, value: i })));
    expect(await db.barrier()).toBe(before + 1);
  });

  it("lists keys below a base and down to a depth, and clears them", async () => {
    const { storage, driver } = opened(await place());
    const keys = ["a", "a:b", "a:b:c", "a:b:d", "ab", "b:a"];
    for (const key of keys) await storage.setItem(key, key);
    expect(await storage.getKeys()).toEqual(keys);
    expect(await storage.getKeys("a")).toEqual(["a:b", "a:b:c", "a:b:d"]);
    expect(await storage.getKeys("a:b")).toEqual(["a:b:c", "a:b:d"]);
    expect(await storage.getKeys("", { maxDepth: 0 })).toEqual(["a", "ab"]);
    expect(await storage.getKeys("a", { maxDepth: 1 })).toEqual(["a:b"]);
    expect(await driver.getKeys("a:", { maxDepth: 1 })).toEqual(["a:b"]);
    // A storage hands a base on to drivers that are mounted below it, and to no other.
    const db = driver.getInstance() as HarmonyDB;
    const before = await db.barrier();
    await driver.clear("a:b:");
    expect(await storage.getKeys()).toEqual(["a", "a:b", "ab", "b:a"]);
    expect(await db.barrier()).toBe(before + 1);
    await storage.clear();
    expect(await storage.getKeys()).toEqual([]);
    await storage.clear();
  });

  it("tells of an item what the database knows, and what was said of it", async () => {
    const { storage, driver } = opened(await place());
    await storage.setItem("a", "1");
    await storage.setItem("a", "22", { ttl: 3600 });
    const meta = await driver.getMeta("a");
    expect(meta).toMatchObject({ version: 2, size: 2, ttl: 3600 });
    expect((meta?.rev as number) - (meta?.createRev as number)).toBe(1);
    expect(meta?.expiresAt).toBeInstanceOf(Date);
    await storage.setMeta("a", { mtime: new Date(0), owner: "ann" });
    expect(await storage.getMeta("a")).toMatchObject({
      version: 2,
      owner: "ann",
      mtime: new Date(0),
    });
    expect(await storage.getMeta("a", { nativeOnly: true })).not.toHaveProperty("owner");
    await storage.removeItem("a", { removeMeta: true });
    expect(await storage.getMeta("a")).toEqual({});
  });

  it("ends items by the database's own deadlines", async () => {
    const { storage, driver } = opened({ ...(await place()), ttl: 0.001 });
    await storage.setItem("by default", 1);
    await storage.setItem("by call", 1, { ttl: 3600 });
    await storage.setItem("for ever", 1, { ttl: 0 });
    await storage.setItemRaw("raw", Uint8Array.of(1), { ttl: 0.0001 });
    await storage.setItems([
      { key: "many:1", value: 1 },
      { key: "many:2", value: 1, options: { ttl: 3600 } },
    ]);
    await until(async () => (await storage.getKeys()).length === 3);
    expect(await storage.getKeys()).toEqual(["by call", "for ever", "many:2"]);
    expect(await codeOf(() => driver.setItem("a", "1", { ttl: -1 }))).toBe("INVALID_ARGUMENT");
  });

  it("tells of changes by anybody, until nobody wants to hear of them", async () => {
    const { storage, driver } = opened(await place());
    const said: string[] = [];
    const stop = await storage.watch((event, key) => {
      said.push(`${event} ${key}`);
      throw new Error("a callback that throws hurts nobody");
    });
    await storage.setItem("a:b", 1);
    await storage.setItem("ends", 1, { ttl: 0.001 });
    await storage.removeItem("a:b");
    await storage.removeItem("nothing");
    const db = driver.getInstance() as HarmonyDB;
    await db.put("unstorage/from:elsewhere", "1");
    await db.put("elsewhere", "1");
    await until(() => said.length === 5);
    expect(said.toSorted()).toEqual([
      "remove a:b",
      "remove ends",
      "update a:b",
      "update ends",
      "update from:elsewhere",
    ]);
    expect(said.indexOf("update a:b")).toBeLessThan(said.indexOf("remove a:b"));
    await stop();
    const other = await driver.watch((event, key) => said.push(`again ${event} ${key}`));
    await storage.setItem("c", 1);
    await until(() => said.length === 6);
    expect(said.at(-1)).toBe("again update c");
    await other();
    await other();
  });

  it("is restored from a snapshot, and lives behind a prefix and a mount", async () => {
    const { storage, driver } = opened(await place());
    await restoreSnapshot(storage, { "x:a": "1", "x:b": { n: 2 } });
    expect(await snapshot(storage, "x")).toEqual({ a: 1, b: { n: 2 } });
    const outer = createStorage();
    outer.mount("deep:down", driver);
    await prefixStorage(outer, "deep:down:x").setItem("c", true);
    expect(await outer.getKeys("deep")).toEqual([
      "deep:down:x:a",
      "deep:down:x:b",
      "deep:down:x:c",
    ]);
    expect(await outer.getKeys("", { maxDepth: 2 })).toEqual([]);
    expect(await storage.getItem("x:c")).toBe(true);
  });

  it("takes hostile keys as they are, and says which are too long", async () => {
    const { storage, driver } = opened(await place());
    const keys = ["__proto__", "constructor", "a\0b", "\ufeffa", "%2F", "\u{1f600}", "unstorage"];
    for (const key of keys) await storage.setItem(key, key);
    for (const key of keys) expect(await storage.getItem(key)).toBe(key);
    expect((await storage.getKeys()).toSorted()).toEqual(keys.toSorted());
    expect(await codeOf(() => driver.setItem("x".repeat(5000), ""))).toBe("KEY_TOO_LARGE");
    expect(await codeOf(() => driver.getItem("\ud800"))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => driver.getItem(1 as never))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => driver.setItem("a", 1 as never))).toBe("INVALID_ARGUMENT");
    await expect(storage.setItem("", "1")).rejects.toThrow("Invalid key");
    // unstorage has no empty key; a driver that is asked for one has it like any other.
    await driver.setItem("", "1");
    expect(await driver.getItem("")).toBe("1");
  });
});

describe("a driver", () => {
  it("is made of a database or a directory", async () => {
    const database = await memory();
    expect(await codeOf(() => harmonyDriver({}))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => harmonyDriver({ database, directory: "x" }))).toBe(
      "INVALID_ARGUMENT",
    );
    expect(await codeOf(() => harmonyDriver({ database, open: { name: "x" } }))).toBe(
      "INVALID_ARGUMENT",
    );
    expect(await codeOf(() => harmonyDriver({ database, prefix: 1 as never }))).toBe(
      "INVALID_ARGUMENT",
    );
  });

  it("opens its directory when it is first used, once, and gives it back", async () => {
    const directory = temporaryDirectory();
    const first = harmonyDriver({ directory });
    expect(first.getInstance()).toBeUndefined();
    await Promise.all([first.setItem("a", "1"), first.setItem("b", "2")]);
    await first.watch(() => {});
    await first.dispose();
    await first.dispose();
    expect(await codeOf(() => first.getItem("a"))).toBe("CLOSED");
    const second = opened({ directory });
    expect(await second.storage.getKeys()).toEqual(["a", "b"]);
    const third = opened({ directory });
    expect(await codeOf(() => third.driver.getItem("a"))).toBe("DIRECTORY_LOCKED");
    await second.driver.dispose();
    expect(await third.driver.getItem("a")).toBe("1");
  });

  it("shares a database: its prefix is its own, and disposing of it closes nothing", async () => {
    const database = await memory();
    await database.put("other", "1");
    const one = opened({ database, prefix: "one/" });
    const two = opened({ database, prefix: "two/" });
    await one.storage.setItem("a", 1);
    await two.storage.setItem("a", 2);
    await one.storage.clear();
    expect(await two.storage.getKeys()).toEqual(["a"]);
    await two.storage.dispose();
    expect(await database.has("other")).toBe(true);
    expect(await database.scan().count()).toBe(2);
  });

  it("ends its watches when the database ends", async () => {
    const database = await open(":memory:");
    const { driver } = opened({ database });
    const unwatch = await driver.watch(() => {});
    await database.close();
    await unwatch();
    expect(await codeOf(() => driver.watch(() => {}))).toBe("CLOSED");
  });
});
