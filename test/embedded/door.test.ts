/** The door in process, on the real disk: what a program sees of the database. */
import { describe, expect, it, onTestFinished } from "vitest";
import { type Entry, type HarmonyDB, HarmonyError, open, type Range } from "../../src/index.ts";
import { temporaryDirectory } from "./temporary.ts";

const SMALL = { walSegmentBytes: 1024 * 1024 };
const decoder = new TextDecoder();

async function opened(directory: string = temporaryDirectory()): Promise<HarmonyDB> {
  const db = await open(directory, SMALL);
  onTestFinished(() => db.close());
  return db;
}

function show(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : decoder.decode(value);
}

async function keys(entries: AsyncIterable<Entry>): Promise<string[]> {
  const out: string[] = [];
  for await (const entry of entries) out.push(entry.key);
  return out;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof HarmonyError) return error.code;
    throw error;
  }
  return "none";
}

describe("an embedded database", () => {
  it("gives back what was put, and undefined for what was not", async () => {
    const db = await opened();
    expect(await db.put("a", "1")).toEqual({ rev: 2, ok: true });
    expect(show(await db.get("a"))).toBe("1");
    expect(await db.get("b")).toBeUndefined();
    expect(await db.del("a")).toEqual({ rev: 3, ok: true });
    expect(await db.del("a")).toEqual({ rev: 3, ok: false });
    expect(await db.get("a")).toBeUndefined();
  });

  it("is the same after it was closed and opened again", async () => {
    const directory = temporaryDirectory();
    const first = await open(directory, SMALL);
    for (let i = 0; i < 100; i++)
      await first.put(`key-${String(i).padStart(3, "0")}`, `value ${i}`);
    await first.del("key-050");
    await first.close();
    expect(first.status).toBe("closed");
    const second = await opened(directory);
    expect((await keys(second.scan())).length).toBe(99);
    expect(show(await second.get("key-099"))).toBe("value 99");
    expect(await second.get("key-050")).toBeUndefined();
    expect((await second.put("next", "")).rev).toBe(103);
  });

  it("takes hostile keys and values as the bytes that they are", async () => {
    const db = await opened();
    const hostile = [
      "__proto__",
      "constructor",
      "../../etc/passwd",
      "\0",
      "\0\0",
      "a\0b",
      new Uint8Array([0xff]),
      new Uint8Array([0xff, 0xff, 0]),
      new Uint8Array([0xc3, 0x28]),
      "k".repeat(4096),
    ];
    for (const [i, key] of hostile.entries()) await db.put(key, new Uint8Array([i, 0, 255]));
    for (const [i, key] of hostile.entries())
      expect(await db.get(key)).toEqual(new Uint8Array([i, 0, 255]));
    expect((await keys(db.scan())).length).toBe(hostile.length);
    await db.put("empty value", "");
    expect(await db.get("empty value")).toEqual(new Uint8Array(0));
  });

  it("refuses what it cannot take, by code, and changes nothing", async () => {
    const db = await opened();
    await db.put("a", "1");
    expect(await codeOf(db.put("", "x"))).toBe("KEY_EMPTY");
    expect(await codeOf(db.get(""))).toBe("KEY_EMPTY");
    expect(await codeOf(db.put("k".repeat(4097), "x"))).toBe("KEY_TOO_LARGE");
    expect(await codeOf(db.put("a", "x".repeat(2 * 1024 * 1024)))).toBe("TOO_LARGE");
    expect(await codeOf(db.get("a", { rev: 99 }))).toBe("FUTURE_REV");
    expect(await codeOf(db.put(undefined as never, "x"))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(db.put("a", 5 as never))).toBe("INVALID_ARGUMENT");
    expect(
      await codeOf(
        db.txn({
          then: [
            { type: "put", key: "d", value: "1" },
            { type: "put", key: "d", value: "2" },
          ],
        }),
      ),
    ).toBe("DUPLICATE_KEY");
    expect((await db.put("b", "2")).rev).toBe(3);
    expect(show(await db.get("a"))).toBe("1");
  });

  it("answers every wrong argument by code, goes on, and opens again", async () => {
    const directory = temporaryDirectory();
    const db = await open(directory, SMALL);
    await db.put("a", "1");
    const gone = new Uint8Array(3);
    structuredClone(gone, { transfer: [gone.buffer] });
    const noBytes: unknown[] = [
      gone,
      Object.create(Uint8Array.prototype),
      Object.defineProperty(new Uint8Array(3), "length", { value: -1 }),
      new Proxy(new Uint8Array(1), {}),
      new Uint16Array(1),
      new ArrayBuffer(1),
      Symbol("a"),
      1n,
      null,
    ];
    const noCount: unknown[] = [1.5, Number.NaN, -1, "1", 1n, Symbol("1"), null, Infinity, {}];
    const put = { type: "put", key: "b", value: "2" };
    const compare = { key: "a", target: "version", is: "=", operand: 1 };
    const txn = (part: unknown): Promise<unknown> => db.txn(part as never);
    const wrong: [string, () => Promise<unknown>][] = [];
    const add = (what: string, call: () => Promise<unknown>): void => {
      wrong.push([what, call]);
    };
    for (const [i, value] of noBytes.entries()) {
      add(`get ${i}`, () => db.get(value as never));
      add(`put key ${i}`, () => db.put(value as never, "x"));
      add(`put value ${i}`, () => db.put("a", value as never));
      add(`del ${i}`, () => db.del(value as never));
      add(`scan ${i}`, () => keys(db.scan({ prefix: value as never })));
      add(`txn put ${i}`, () => txn({ then: [{ ...put, value }] }));
      add(`txn get ${i}`, () => txn({ then: [{ type: "get", key: value }] }));
      add(`compare ${i}`, () => txn({ if: [{ ...compare, key: value }], then: [put] }));
      add(`operand ${i}`, () => txn({ if: [{ ...compare, target: "value", operand: value }] }));
    }
    for (const [i, value] of noCount.entries()) {
      add(`rev ${i}`, () => db.get("a", { rev: value as never }));
      add(`local rev ${i}`, () => db.get("a", { rev: value as never, consistency: "local" }));
      add(`scan limit ${i}`, () => keys(db.scan({ limit: value as never })));
      for (const then of [[], [put]]) {
        const scan = { type: "scan", range: { limit: value } };
        add(`txn limit ${i} ${then.length}`, () => txn({ then: [scan, ...then] }));
      }
    }
    for (const is of ["toString", "__proto__", "constructor", "", undefined, Symbol("="), null])
      for (const then of [[], [put]])
        add(`is ${String(is)}`, () => txn({ if: [{ ...compare, is }], then }));
    for (const target of ["toString", "__proto__", "mod", undefined, Symbol("x")])
      add(`target ${String(target)}`, () => txn({ if: [{ ...compare, target }], then: [put] }));
    const operands = ["x", "1", 2 ** 53, Symbol("1"), undefined, {}, 1.5, 2n ** 70n];
    for (const [i, operand] of operands.entries())
      for (const target of ["version", "rev", "createRev", "lease"])
        add(`${target} ${i}`, () => txn({ if: [{ ...compare, target, operand }], then: [put] }));
    for (const operand of [-1, -1n, 2n ** 63n, 2n ** 64n])
      add(`lease ${operand}`, () => txn({ if: [{ ...compare, target: "lease", operand }] }));
    for (const signal of [{}, null, 1, { aborted: false }]) {
      add("signal of a put", () => db.put("a", "x", { signal: signal as never }));
      add("signal of a get", () => db.get("a", { signal: signal as never }));
    }
    add("consistency", () => db.get("a", { consistency: "toString" as never }));
    for (const none of [null, "x", 5]) {
      add("put options", () => db.put("a", "x", none as never));
      add("get options", () => db.get("a", none as never));
      add("scan options", () => keys(db.scan({}, none as never)));
      add("scan range", () => keys(db.scan(none as never)));
      add("txn", () => txn(none));
      add("txn then", () => txn({ then: none }));
      add("txn if", () => txn({ if: [none] }));
      add("txn op", () => txn({ then: [none] }));
      add("txn scan range", () => txn({ then: [{ type: "scan", range: none }] }));
    }
    add("scan without range", () => txn({ then: [{ type: "scan" }] }));
    add("a hole", () => txn({ then: Array.from({ length: 1 }) }));
    add("delRange with limit", () => txn({ then: [{ type: "delRange", range: { limit: 1 } }] }));
    const codes: Record<string, string> = {};
    for (const [what, call] of wrong) codes[what] = await codeOf(call());
    expect(Object.entries(codes).filter(([, code]) => code !== "INVALID_ARGUMENT")).toEqual([]);

    const cyclic: { type: "txn"; then: unknown[] } = { type: "txn", then: [] };
    cyclic.then.push(cyclic, cyclic);
    let deep: unknown = {};
    for (let depth = 0; depth < 100_000; depth++) deep = { type: "txn", then: [deep] };
    let wide: unknown = { type: "txn" };
    for (let depth = 0; depth < 60; depth++) wide = { type: "txn", then: [wide], else: [wide] };
    for (const endless of [cyclic, deep, wide, { then: Object.assign([], { length: 1e9 }) }])
      expect(await codeOf(txn(endless))).toBe("TOO_MANY_OPS");

    expect(db.status).toBe("open");
    expect((await db.put("a", "2")).rev).toBe(3);
    await db.close();
    const again = await opened(directory);
    expect(show(await again.get("a"))).toBe("2");
  });

  it("takes subclasses for the bytes that they have, and leases over their whole range", async () => {
    const db = await opened();
    await db.put(Buffer.from("key"), Buffer.from("value"));
    expect(show(await db.get(Buffer.from("key")))).toBe("value");
    for (const operand of [0, 0n, 1, 2n ** 63n - 1n, 2 ** 53 - 1]) {
      const compare = { key: "key", target: "lease", is: "=", operand } as const;
      const { succeeded } = await db.txn({ if: [compare], then: [{ type: "del", key: "no" }] });
      expect(succeeded).toBe(BigInt(operand) === 0n);
    }
  });

  it("scans over keys of the greatest length, page by page, and nothing for a limit of 0", async () => {
    const db = await opened();
    const names = Array.from({ length: 200 }, (_, i) => String(i).padStart(4096, "0"));
    await Promise.all(names.map((name) => db.put(name, "x")));
    expect(await keys(db.scan())).toEqual(names);
    const { rev } = await db.put("later", "x");
    expect(await keys(db.scan({}, { rev: rev - 1 }))).toEqual(names);
    expect(await keys(db.scan({ gt: names[197] as string, lt: "1" }))).toEqual(names.slice(198));
    const scan = (limit: number | undefined): Promise<unknown> =>
      db.txn({ then: [{ type: "scan", range: { gte: names[198] as string, limit } }] });
    expect(await scan(0)).toMatchObject({ answers: [{ entries: [] }] });
    expect(await scan(1)).toMatchObject({ answers: [{ entries: [{ key: names[198] }] }] });
    expect(await scan(undefined)).toMatchObject({ answers: [{ entries: { length: 3 } }] });
    const gt = names[197] as string;
    const removed = await db.txn({ then: [{ type: "delRange", range: { gt, lt: "1" } }] });
    expect(removed.answers).toEqual([{ type: "deleted", deleted: 2 }]);
  });

  it("scans ranges in byte order, whatever their bounds", async () => {
    const db = await opened();
    for (const key of ["a", "b", "ba", "bb", "c", "d"]) await db.put(key, key);
    const scan = (range: Range): Promise<string[]> => keys(db.scan(range));
    expect(await scan({})).toEqual(["a", "b", "ba", "bb", "c", "d"]);
    expect(await scan({ prefix: "b" })).toEqual(["b", "ba", "bb"]);
    expect(await scan({ gte: "b", lt: "c" })).toEqual(["b", "ba", "bb"]);
    expect(await scan({ gt: "b", lte: "c" })).toEqual(["ba", "bb", "c"]);
    expect(await scan({ prefix: "b", gt: "b", limit: 1 })).toEqual(["ba"]);
    expect(await scan({ gte: "c", lt: "b" })).toEqual([]);
    expect(await scan({ lt: "a" })).toEqual([]);
    expect(await scan({ limit: 0 })).toEqual([]);
    expect(await codeOf(scan({ limit: -1 }))).toBe("INVALID_ARGUMENT");
    await db.put(new Uint8Array([0xff, 1]), "high");
    expect((await scan({ prefix: new Uint8Array([0xff]) })).length).toBe(1);
  });

  it("scans many pages as of one revision while others write", async () => {
    const db = await opened();
    const writes: Promise<unknown>[] = [];
    for (let i = 0; i < 3000; i++) writes.push(db.put(`k${String(i).padStart(5, "0")}`, "old"));
    await Promise.all(writes);
    let seen = 0;
    for await (const entry of db.scan({ prefix: "k" })) {
      if (seen % 500 === 0) {
        await db.put(`k${String(2999 - seen).padStart(5, "0")}`, "new");
        await db.put(`k9${seen}`, "later");
      }
      expect(show(entry.value)).toBe("old");
      seen++;
    }
    expect(seen).toBe(3000);
  });

  it("runs transactions: all or nothing, conditions on the state before, one revision", async () => {
    const db = await opened();
    await db.put("n", "1");
    const moved = await db.txn({
      if: [
        { key: "n", target: "value", is: "=", operand: "1" },
        { key: "m", target: "version", is: "=", operand: 0 },
      ],
      then: [
        { type: "put", key: "m", value: "1" },
        { type: "del", key: "n" },
        { type: "scan", range: {} },
      ],
      else: [{ type: "get", key: "n" }],
    });
    expect(moved.succeeded).toBe(true);
    expect(moved.rev).toBe(3);
    const again = await db.txn({
      if: [{ key: "n", target: "createRev", is: ">", operand: 0 }],
      then: [{ type: "delRange", range: {} }],
      else: [
        { type: "get", key: "m" },
        { type: "txn", if: [], then: [{ type: "delRange", range: { prefix: "m" } }] },
      ],
    });
    expect(again.succeeded).toBe(false);
    expect(again.answers[0]).toMatchObject({
      type: "entries",
      entries: [{ key: "m", rev: 3, createRev: 3, version: 1 }],
    });
    expect(again.answers[1]).toMatchObject({
      type: "txn",
      succeeded: true,
      answers: [{ type: "deleted", deleted: 1 }],
    });
    expect(await keys(db.scan())).toEqual([]);
  });

  it("reads old revisions", async () => {
    const db = await opened();
    const first = await db.put("a", "1");
    await db.put("a", "2");
    await db.del("a");
    expect(show(await db.get("a", { rev: first.rev }))).toBe("1");
    expect(show(await db.get("a", { rev: first.rev + 1 }))).toBe("2");
    expect(await db.get("a")).toBeUndefined();
    expect(await keys(db.scan({}, { rev: first.rev }))).toEqual(["a"]);
  });

  it("answers a thousand writes at a time, each once", async () => {
    const db = await opened();
    const revisions = await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => (await db.put(`k${i}`, "v")).rev),
    );
    expect(new Set(revisions).size).toBe(1000);
    expect(Math.max(...revisions)).toBe(1001);
  });

  it("ends a call that is aborted, and says that a write which was not begun never happens", async () => {
    const db = await opened();
    const gone = AbortSignal.abort();
    await expect(db.put("a", "1", { signal: gone })).rejects.toMatchObject({
      code: "ABORTED",
      maybeApplied: false,
    });
    const controller = new AbortController();
    const write = db.put("a", "1", { signal: controller.signal });
    controller.abort();
    await expect(write).rejects.toMatchObject({ code: "ABORTED", maybeApplied: false });
    expect(await db.get("a")).toBeUndefined();
  });
});

describe("closing", () => {
  it("finishes what was begun, and may be asked for twice", async () => {
    const directory = temporaryDirectory();
    const db = await open(directory, SMALL);
    const writes = Array.from({ length: 200 }, (_, i) => db.put(`k${i}`, "v"));
    await Promise.all(writes.slice(0, 1));
    await Promise.all([db.close(), db.close()]);
    const settled = await Promise.allSettled(writes);
    const acknowledged = settled.filter((one) => one.status === "fulfilled").length;
    const again = await opened(directory);
    expect((await keys(again.scan({ prefix: "k" }))).length).toBeGreaterThanOrEqual(acknowledged);
    expect(acknowledged).toBe(200);
  });

  it("refuses every call afterwards, by code", async () => {
    const db = await open(temporaryDirectory(), SMALL);
    await db.put("a", "1");
    await db.close();
    expect(await codeOf(db.put("a", "2"))).toBe("CLOSED");
    expect(await codeOf(db.get("a"))).toBe("CLOSED");
    expect(await codeOf(db.txn({}))).toBe("CLOSED");
    expect(await codeOf(keys(db.scan()))).toBe("CLOSED");
  });

  it("gives the directory back, and a second opening before that is refused at once", async () => {
    const directory = temporaryDirectory();
    const db = await open(directory, SMALL);
    expect(await codeOf(open(directory, SMALL))).toBe("DIRECTORY_LOCKED");
    await db.put("still", "works");
    await db.close();
    const again = await opened(directory);
    expect(show(await again.get("still"))).toBe("works");
  });
});
