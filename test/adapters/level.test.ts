/** What the suite of abstract-level does not ask: the disk, the neighbours in a shared database, errors, hostile keys. */
import fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  HarmonyLevel,
  LevelError,
  type HarmonyLevelOptions,
} from "../../src/adapters/abstract-level.ts";
import { type HarmonyDB, HarmonyError, open } from "../../src/index.ts";
import { until } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";
import { connected } from "../remote/connected.ts";

vi.setConfig({ testTimeout: 60_000 });

function level<K = string, V = string>(
  place: HarmonyDB | string,
  options: HarmonyLevelOptions<K, V> = {},
): HarmonyLevel<K, V> {
  const made = new HarmonyLevel<K, V>(place, options);
  onTestFinished(() => made.close());
  return made;
}

async function memory(): Promise<HarmonyDB> {
  const db = await open(":memory:");
  onTestFinished(() => db.close());
  return db;
}

/** The codes of what the work rejects with, and of its causes, down to ours. */
async function codesOf(work: () => unknown): Promise<readonly unknown[]> {
  try {
    await work();
    return [];
  } catch (error) {
    const codes: unknown[] = [];
    for (let at: unknown = error; at instanceof Error; at = at.cause) {
      codes.push((at as { readonly code?: unknown }).code);
      if (at instanceof HarmonyError) break;
    }
    return codes;
  }
}

describe("a level on a directory", () => {
  it("has after opening again what was written, sublevels and bytes among it", async () => {
    const directory = temporaryDirectory();
    const first = level<string, unknown>(directory, { valueEncoding: "json" });
    await first.put("a", { n: 1 });
    const sub = first.sublevel<Uint8Array, Uint8Array>("s", {
      keyEncoding: "view",
      valueEncoding: "view",
    });
    await sub.put(Uint8Array.of(0, 255), Uint8Array.of(1, 2));
    await first.close();
    await first.open();
    expect(await first.get("a")).toEqual({ n: 1 });
    await first.close();
    const second = level<string, unknown>(directory, { valueEncoding: "json" });
    expect(await second.keys().all()).toEqual(["!s!\0\ufffd", "a"]);
    const again = second.sublevel<Uint8Array, Uint8Array>("s", {
      keyEncoding: "view",
      valueEncoding: "view",
    });
    expect(await again.iterator().all()).toEqual([[Uint8Array.of(0, 255), Uint8Array.of(1, 2)]]);
    expect([second.location, second.database?.status]).toEqual([directory, "open"]);
  });

  it("says with Level's codes why it does not open, and ours beside them", async () => {
    const directory = temporaryDirectory();
    const first = level(directory);
    await first.open();
    expect(await codesOf(() => level(directory).open())).toEqual([
      "LEVEL_DATABASE_NOT_OPEN",
      "LEVEL_LOCKED",
      "DIRECTORY_LOCKED",
    ]);
    await first.close();
    expect(await codesOf(() => level(directory, { errorIfExists: true }).open())).toEqual([
      "LEVEL_DATABASE_NOT_OPEN",
      "LEVEL_EXISTS",
    ]);
    const missing = level(`${directory}/missing`, { createIfMissing: false });
    expect(await codesOf(() => missing.open())).toEqual([
      "LEVEL_DATABASE_NOT_OPEN",
      "LEVEL_NOT_FOUND",
    ]);
    const wrong = level(`${directory}/wrong`, { open: { quotaBytes: -1 } });
    expect(await codesOf(() => wrong.open())).toEqual([
      "LEVEL_DATABASE_NOT_OPEN",
      "LEVEL_INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
    ]);
  });
});

describe("a level in a shared database", () => {
  it("reads, clears and counts what stands under its prefix, and nothing beside it", async () => {
    const db = await memory();
    const one = level(db, { prefix: "one" });
    const two = level(db, { prefix: "one/" });
    await db.put("ond", "before");
    await db.put("onf", "behind");
    await one.batch([
      { type: "put", key: "", value: "empty" },
      { type: "put", key: "/a", value: "of one" },
    ]);
    await two.put("b", "of two");
    expect(await two.iterator().all()).toEqual([
      ["a", "of one"],
      ["b", "of two"],
    ]);
    await two.clear();
    expect(await one.iterator({ reverse: true }).all()).toEqual([["", "empty"]]);
    await one.clear({ gt: "" });
    await one.clear({ lte: "", limit: 1, reverse: true });
    expect((await db.scan().all()).map(({ key }) => key)).toEqual(["ond", "onf"]);
    await one.close();
    expect(db.status).toBe("open");
    expect(await codesOf(() => new HarmonyLevel(db, { open: { name: "x" } }))).toEqual([
      "INVALID_ARGUMENT",
    ]);
  });

  it("is the whole database without a prefix, and then has no empty key", async () => {
    const db = await memory();
    const all = level(db, { prefix: "" });
    await db.put("a", "1");
    expect(await all.get("a")).toBe("1");
    for (const work of [
      () => all.put("", "1"),
      () => all.get(""),
      () => all.getSync(""),
      () => all.batch([{ type: "del", key: "" }]),
    ])
      expect(await codesOf(work)).toEqual(["LEVEL_INVALID_KEY", "KEY_EMPTY"]);
  });

  it("makes a batch one revision, the last word on a key counting, or nothing at all", async () => {
    const db = await memory();
    const one = level(db);
    await one.put("gone", "1");
    const before = await db.barrier();
    const batch = one.batch().put("a", "1").put("a", "2").del("gone").put("b", "3");
    await batch.write();
    expect(await db.barrier()).toBe(before + 1);
    expect(await one.getMany(["a", "gone", "b"])).toEqual(["2", undefined, "3"]);
    const broken = one.batch().put("c", "1").put("x".repeat(5000), "1");
    expect(await codesOf(() => broken.write())).toEqual(["LEVEL_INVALID_KEY", "KEY_TOO_LARGE"]);
    expect(await one.has("c")).toBe(false);
    const many = Array.from({ length: 10_001 }, (_, i) => `k${i}`);
    const puts = many.map((key) => ({ type: "put", key, value: "" }) as const);
    expect(await codesOf(() => one.batch(puts))).toEqual(["LEVEL_TOO_MANY_OPS", "TOO_MANY_OPS"]);
  });

  it("tells of a database that is closed below it, in each call", async () => {
    const db = await open(":memory:");
    const one = level(db);
    await one.put("a", "1");
    const iterator = one.iterator();
    const snapshot = one.snapshot();
    await db.close();
    const closed = ["LEVEL_DATABASE_NOT_OPEN", "CLOSED"];
    for (const work of [
      () => one.get("a"),
      () => one.getSync("a"),
      () => one.getMany(["a"]),
      () => one.has("a"),
      () => one.put("a", "1"),
      () => one.del("a"),
      () => one.batch([{ type: "del", key: "a" }]),
      () => one.clear(),
      () => one.clear({ limit: 1 }),
      () => one.iterator(),
      () => one.snapshot(),
      () => iterator.next(),
      () => one.get("a", { snapshot }),
    ])
      expect(await codesOf(work)).toEqual(closed);
    await iterator.close();
    await snapshot.close();
    expect(await codesOf(() => level(db).open())).toEqual([
      "LEVEL_DATABASE_NOT_OPEN",
      "LEVEL_DATABASE_NOT_OPEN",
    ]);
  });
});

describe("keys and values of a level", () => {
  it("may be any bytes and any text, up to 4 KiB with the prefix", async () => {
    const one = level<Uint8Array, Uint8Array>(":memory:", {
      keyEncoding: "view",
      valueEncoding: "view",
    });
    const keys = ["", "\0", "__proto__", "constructor", "\ufeff", "\u{1f600}"].map((key) =>
      Uint8Array.from(Buffer.from(key)),
    );
    keys.push(Uint8Array.of(0xff, 0xfe), Uint8Array.of(0xc3, 0x28), new Uint8Array(4090).fill(1));
    for (const key of keys) await one.put(key, key);
    for (const key of keys) expect(await one.get(key)).toEqual(key);
    const sorted = keys.toSorted((a, b) => Buffer.compare(a, b));
    expect(await one.keys().all()).toEqual(sorted);
    expect(await one.values({ reverse: true }).all()).toEqual(sorted.toReversed());
    const long = new Uint8Array(4091);
    expect(await codesOf(() => one.put(long, long))).toEqual([
      "LEVEL_INVALID_KEY",
      "KEY_TOO_LARGE",
    ]);
    const large = new Uint8Array(2_000_000);
    expect(await codesOf(() => one.put(large.slice(0, 1), large))).toEqual([
      "LEVEL_INVALID_VALUE",
      "TOO_LARGE",
    ]);
  });

  it("belong to the caller: what he does to bytes that he was given changes nothing", async () => {
    const one = level<Uint8Array, Uint8Array>(":memory:", {
      keyEncoding: "view",
      valueEncoding: "view",
    });
    const value = Uint8Array.of(1, 2);
    await one.put(Uint8Array.of(9), value);
    value.fill(0);
    for await (const [key, found] of one.iterator()) {
      key.fill(0);
      found.fill(0);
    }
    one.getSync(Uint8Array.of(9))?.fill(0);
    expect(await one.iterator().all()).toEqual([[Uint8Array.of(9), Uint8Array.of(1, 2)]]);
  });
});

describe("iterators and snapshots of a level", () => {
  it("see one moment, that of a write not yet awaited excluded", async () => {
    const one = level(":memory:");
    await one.batch(
      Array.from({ length: 2000 }, (_, i) => ({
        type: "put" as const,
        key: String(i).padStart(4, "0"),
        value: "old",
      })),
    );
    const late = one.put("0000", "new");
    const iterator = one.iterator();
    const snapshot = one.snapshot();
    await late;
    await one.clear();
    expect(await one.get("0000", { snapshot })).toBe("old");
    expect(one.getSync("0001", { snapshot })).toBe("old");
    expect(await one.getMany(["0002", "x"], { snapshot })).toEqual(["old", undefined]);
    expect(await one.has("0003", { snapshot })).toBe(true);
    const entries = await iterator.all();
    expect(entries).toHaveLength(2000);
    expect(new Set(entries.map(([, value]) => value))).toEqual(new Set(["old"]));
    await one.put("0004", "newest");
    await one.put("x", "not in the snapshot");
    await one.clear({ snapshot });
    expect(await one.keys().all()).toEqual(["x"]);
    await snapshot.close();
    expect(await codesOf(() => one.get("0000", { snapshot }))).toEqual(["LEVEL_SNAPSHOT_NOT_OPEN"]);
  });

  it("say so when they were held for longer than the database allows", async () => {
    const one = level(":memory:", { open: { pinTimeoutMs: 1 } });
    await one.put("a", "1");
    const snapshot = one.snapshot();
    const read = (): Promise<readonly unknown[]> => codesOf(() => one.get("a", { snapshot }));
    await until(async () => (await read()).length > 0);
    expect(await read()).toEqual(["LEVEL_COMPACTED", "COMPACTED"]);
  });

  it("read and seek like a sorted array, in both directions", async () => {
    const one = level<Buffer, string>(":memory:", { keyEncoding: "buffer" });
    const key = fc
      .uint8Array({ maxLength: 2 })
      .map((bytes) => Buffer.from(bytes.map((b) => b % 4)));
    const bound = fc.option(key, { nil: undefined });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(key, { selector: (one) => one.toString("hex") }),
        fc.record({ gt: bound, gte: bound, lt: bound, lte: bound, reverse: fc.boolean() }),
        fc.option(fc.nat({ max: 8 }), { nil: -1 }),
        fc.array(fc.oneof(key, fc.integer({ min: 1, max: 4 })), { maxLength: 4 }),
        async (keys, { reverse, ...bounds }, limit, steps) => {
          await one.clear();
          await one.batch(keys.map((k) => ({ type: "put", key: k, value: k.toString("hex") })));
          const set = Object.entries(bounds).filter(([, k]) => k !== undefined);
          const range = Object.fromEntries(set) as { readonly [name: string]: Buffer };
          const { gt, gte, lt, lte } = bounds;
          const isIn = (k: Buffer): boolean =>
            (gte ? k.compare(gte) >= 0 : gt === undefined || k.compare(gt) > 0) &&
            (lte ? k.compare(lte) <= 0 : lt === undefined || k.compare(lt) < 0);
          const order = (a: Buffer, b: Buffer): number => (reverse ? b.compare(a) : a.compare(b));
          const all = keys.filter(isIn).sort(order);
          let at = 0;
          let left = limit < 0 ? Number.POSITIVE_INFINITY : limit;
          await using iterator = one.iterator({ ...range, reverse, limit });
          for (const step of [...steps, 99]) {
            if (typeof step !== "number") {
              iterator.seek(step);
              const found = all.findIndex((k) => order(k, step) >= 0);
              at = found < 0 || !isIn(step) ? all.length : found;
              continue;
            }
            const expected = all.slice(at, at + Math.min(step, left));
            at += expected.length;
            left -= expected.length;
            const got = await iterator.nextv(step);
            expect(got.map(([k]) => k.toString("hex"))).toEqual(
              expected.map((k) => k.toString("hex")),
            );
            expect(got.map(([, v]) => v)).toEqual(expected.map((k) => k.toString("hex")));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

it("errors of a level are errors, with a name and a cause", async () => {
  const one = level(":memory:", { prefix: "" });
  const error = await one.get("").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(LevelError);
  expect(error).toMatchObject({ name: "LevelError", message: "key is not provided" });
  expect((error as LevelError).cause).toBeInstanceOf(HarmonyError);
});

it("a level on a node elsewhere reads and writes, and says what it cannot do there", async () => {
  const one = level(await connected());
  await one.put("a", "1");
  await one.batch([
    { type: "del", key: "a" },
    { type: "put", key: "b", value: "2" },
  ]);
  expect(await one.getMany(["a", "b"])).toEqual([undefined, "2"]);
  expect(await codesOf(() => one.iterator().next())).toContain("LEVEL_UNSUPPORTED");
  expect(await codesOf(() => one.getSync("b"))).toContain("LEVEL_UNSUPPORTED");
  expect(await codesOf(() => one.snapshot())).toContain("LEVEL_UNSUPPORTED");
});
