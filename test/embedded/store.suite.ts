/** What a store does with keys and values: the same on a directory, in memory, and over a connection. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  codecs,
  type Entry,
  type HarmonyDB,
  HarmonyError,
  type Key,
  type OpenOptions,
  type Range,
  type Store,
} from "../../src/index.ts";

/** Opens a database that the test's end closes. */
export type Opening = (options?: OpenOptions) => Promise<HarmonyDB>;

/** Whether the node is in this process. */
export type Place = "here" | "elsewhere";

export type Texts = Store<string, string>;

export function texts(db: HarmonyDB): Texts {
  return db.scope("", { codec: codecs.utf8 });
}

/** The code that the work rejects with; a call that throws instead of rejecting counts alike. */
export async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof HarmonyError) return error.code;
    throw error;
  }
  return "none";
}

/** Waits until it holds; the test's own time limit ends it otherwise. */
export async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

const keysOf = (entries: readonly Entry<unknown>[]): string[] => entries.map(({ key }) => key);

export function storeSuite(name: string, opened: Opening, place: Place = "here"): void {
  describe(`${name}: a store`, () => {
    it("gives entries, many values as of one moment, and what is applied at once", async () => {
      const db = await opened();
      const store = texts(db);
      await store.put("a", "1");
      await store.put("b", "2");
      const { rev } = await store.put("a", "3");
      expect(await store.entry("a")).toEqual({
        key: "a",
        rawKey: new Uint8Array([0x61]),
        value: "3",
        rev,
        createRev: 2,
        version: 2,
        lease: 0n,
      });
      expect(await store.entry("c")).toBeUndefined();
      expect(await store.getMany(["b", "nothing", "a", "b"])).toEqual(["2", undefined, "3", "2"]);
      expect(await store.getMany([])).toEqual([]);
      expect(await store.getMany(["a", "b"], { rev: 2 })).toEqual(["1", undefined]);
      expect([await store.has("a"), await store.has("c")]).toEqual([true, false]);
      expect(await codeOf(() => store.getMany(["a", ""]))).toBe("KEY_EMPTY");
      expect(await codeOf(() => store.getMany(["a"], { rev: 99 }))).toBe("FUTURE_REV");
      if (place === "here") {
        expect([store.getSync("a"), store.getSync("c")]).toEqual(["3", undefined]);
        expect(await codeOf(() => store.getSync(""))).toBe("KEY_EMPTY");
      } else {
        expect(await codeOf(() => store.getSync("a"))).toBe("UNSUPPORTED");
        expect(await codeOf(() => store.snapshotSync())).toBe("UNSUPPORTED");
      }
    });

    it("puts and deletes under a condition, and says whether it held", async () => {
      const store = texts(await opened());
      expect(await store.put("a", "1", { ifPresent: true })).toEqual({ rev: 1, ok: false });
      expect(await store.put("a", "1", { ifAbsent: true })).toEqual({ rev: 2, ok: true });
      expect((await store.put("a", "2", { ifAbsent: true })).ok).toBe(false);
      expect((await store.put("a", "2", { ifRev: 0 })).ok).toBe(false);
      expect((await store.put("a", "2", { ifRev: 2 })).ok).toBe(true);
      expect((await store.put("a", "3", { ifValue: "1" })).ok).toBe(false);
      expect((await store.put("a", "3", { ifValue: "2" })).ok).toBe(true);
      expect((await store.put("b", "new", { ifRev: 0 })).ok).toBe(true);
      expect(await store.get("a")).toBe("3");
      expect((await store.del("a", { ifValue: "2" })).ok).toBe(false);
      expect((await store.del("a", { ifRev: 3 })).ok).toBe(false);
      expect((await store.del("a", { ifRev: 4 })).ok).toBe(true);
      expect((await store.del("a", { ifPresent: true })).ok).toBe(false);
      expect((await store.del("b", { ifValue: "new" })).ok).toBe(true);
      expect(await codeOf(() => store.put("a", "1", { ifAbsent: true, ifRev: 1 }))).toBe(
        "INVALID_ARGUMENT",
      );
    });

    it("ends keys with their TTL, gives them another end, and takes it away", async () => {
      const store = texts(await opened());
      const before = Date.now();
      await store.put("short", "x", { ttlMs: 20 });
      await store.put("kept", "x", { ttlMs: 3_600_000 });
      const entry = await store.entry("kept");
      expect(entry?.expiresAt).toBeGreaterThan(before - 60_000);
      expect(await store.expire("kept", null)).toBe(true);
      expect(await store.expire("kept", null)).toBe(false);
      expect(await store.expire("nothing", 5)).toBe(false);
      expect(await store.expire("kept", 3_600_000, { ifValue: "y" })).toBe(false);
      expect((await store.entry("kept"))?.expiresAt).toBeUndefined();
      await until(async () => !(await store.has("short")));
      expect(await store.has("kept")).toBe(true);
      await store.put("plain", "x", { ttlMs: 3_600_000 });
      await store.put("plain", "y");
      expect((await store.entry("plain"))?.expiresAt).toBeUndefined();
    });

    it("puts and deletes many keys in one revision, or none", async () => {
      const store = texts(await opened());
      function* items(count: number): Generator<[string, string]> {
        for (let i = 0; i < count; i++) yield [`k${String(i).padStart(4, "0")}`, `v${i}`];
      }
      expect(await store.putMany(items(1000))).toEqual({ rev: 2, ok: true });
      expect((await store.putMany(items(2), { ifAbsent: true })).ok).toBe(false);
      expect(
        await store.putMany(
          [
            ["new", "x"],
            ["new", "y"],
          ],
          { ifAbsent: true },
        ),
      ).toEqual({
        rev: 3,
        ok: true,
      });
      expect(await store.get("new")).toBe("y");
      expect(await codeOf(() => store.putMany(items(Number.POSITIVE_INFINITY)))).toBe(
        "TOO_MANY_OPS",
      );
      expect(await store.delMany(["k0000", "k0001", "nothing"])).toEqual({
        rev: 4,
        ok: true,
        deleted: 2,
      });
      expect(await store.delMany({ prefix: "k", lt: "k0500" })).toMatchObject({ deleted: 498 });
      expect(await store.delMany({ prefix: "z" })).toMatchObject({ ok: false, deleted: 0 });
      expect(await codeOf(() => store.delMany({ limit: 1 }))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => store.delMany({ reverse: true }))).toBe("INVALID_ARGUMENT");
      expect(await store.scan().count()).toBe(501);
    });

    it("counts to the edges of 64 bits and no further", async () => {
      const db = await opened();
      const max = 2n ** 63n - 1n;
      expect(await db.incr("n")).toBe(1n);
      expect(await db.incr("n", 41)).toBe(42n);
      expect(await db.decr("n", 50n)).toBe(-8n);
      expect(await db.incr("edge", max)).toBe(max);
      expect(await codeOf(() => db.incr("edge"))).toBe("OVERFLOW");
      expect(await db.scope("", { codec: codecs.int64 }).get("edge")).toBe(max);
      expect(await codeOf(() => db.incr("n", 100, { max: 10 }))).toBe("OVERFLOW");
      expect(await db.incr("n", 100, { max: 10, saturate: true })).toBe(10n);
      expect(await db.decr("n", 100, { min: -5n, saturate: true })).toBe(-5n);
      await db.put("text", "five");
      expect(await codeOf(() => db.incr("text"))).toBe("NOT_AN_INTEGER");
      for (const by of [1.5, Number.NaN, max + 1n, "1"])
        expect(await codeOf(() => db.incr("n", by as never))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => db.decr("n", -(2n ** 63n)))).toBe("INVALID_ARGUMENT");
      const window = db.scope("w/", { ttlMs: 3_600_000 });
      await window.incr("hits");
      const first = await window.entry("hits");
      await window.incr("hits");
      expect(first?.expiresAt).toBeDefined();
      expect((await window.entry("hits"))?.expiresAt).toBe(first?.expiresAt);
    });

    it("scans any range, both ways, at any revision, as a sorted list says", async () => {
      const db = await opened();
      const alphabet = ["", "\0", "a", "b", "\u00e9", "\uffff"];
      const names = alphabet
        .flatMap((x) => alphabet.flatMap((y) => alphabet.map((z) => x + y + z)))
        .filter((key) => key !== "");
      const all = [...new Set(names)]
        .map((key) => Buffer.from(key))
        .sort((a, b) => Buffer.compare(a, b));
      await db.putMany(all.map((key) => [key, key]));
      const { rev } = await db.put("later", "x");
      await db.delMany({ gte: "b" });
      const key = fc.constantFrom(...alphabet, "ab", "a\0", "b\u00e9");
      const range: fc.Arbitrary<Range> = fc.record(
        {
          prefix: key,
          gt: key,
          gte: key,
          lt: key,
          lte: key,
          limit: fc.nat(300),
          reverse: fc.boolean(),
        },
        { requiredKeys: [] },
      );
      const less = (a: Key, b: Buffer): boolean => Buffer.compare(Buffer.from(a), b) < 0;
      await fc.assert(
        fc.asyncProperty(range, fc.boolean(), async (wanted, isOld) => {
          const { prefix, gt, gte, lt, lte, limit, reverse } = wanted;
          const expected = all.filter(
            (one) =>
              (isOld || less("b", one) === false) &&
              (isOld || Buffer.compare(one, Buffer.from("b")) < 0) &&
              (prefix === undefined ||
                one.subarray(0, Buffer.from(prefix).length).equals(Buffer.from(prefix))) &&
              (gt === undefined || less(gt, one)) &&
              (gte === undefined || !(Buffer.compare(one, Buffer.from(gte)) < 0)) &&
              (lt === undefined || Buffer.compare(one, Buffer.from(lt)) < 0) &&
              (lte === undefined || !less(lte, one)),
          );
          if (reverse === true) expected.reverse();
          const cut = limit === undefined ? expected : expected.slice(0, limit);
          const scan = db.scan(wanted, isOld ? { rev: rev - 1 } : {});
          expect((await scan.all()).map(({ rawKey }) => Buffer.from(rawKey))).toEqual(cut);
          expect(await scan.count()).toBe(cut.length);
          const keys: string[] = [];
          for await (const one of scan.keys()) keys.push(one);
          expect(keys).toEqual(cut.map((one) => one.toString()));
          await using snapshot = await db.snapshotAt(isOld ? rev - 1 : 0);
          const again = snapshot.scan(wanted);
          expect((await again.all()).map(({ rawKey }) => Buffer.from(rawKey))).toEqual(cut);
          expect(await again.count()).toBe(cut.length);
        }),
        { numRuns: 60 },
      );
    });

    if (place === "here") keptStates(opened);
    else revisions(opened);

    it("scans one state, whatever is written and checkpointed meanwhile", async () => {
      const db = await opened();
      const store = texts(db);
      const names = Array.from({ length: 800 }, (_, i) => `k${String(i).padStart(4, "0")}`);
      await store.putMany(names.map((key) => [key, "old"]));
      const seen: string[] = [];
      for await (const { key, value } of store.scan()) {
        expect(value).toBe("old");
        if (seen.length === 10) {
          await store.putMany(names.map((one) => [one, "new"]));
          const { rev } = await store.delMany({ gte: "k0600" });
          // What nothing pins a compaction would take away.
          if (place === "here") await db.admin.compact(rev, { physical: true });
          await db.admin.checkpoint();
        }
        seen.push(key);
      }
      expect(seen).toEqual(names);
      const halves = [await store.scan({ reverse: true }).all(), names.slice(0, 600)] as const;
      expect(keysOf(halves[0])).toEqual(halves[1].toReversed());
      const { rev } = await store.put("z", "later");
      const old = store.scan({ reverse: true, limit: 500 }, { rev: rev - 1 });
      expect(keysOf(await old.all())).toEqual(halves[1].slice(100).toReversed());
      await store.del("z");
      expect(await store.scan({ reverse: true, limit: 3 }).all()).toMatchObject([
        { key: "k0599", value: "new" },
        { key: "k0598" },
        { key: "k0597" },
      ]);
    });

    it("ends a scan whose signal says so", async () => {
      const db = await opened();
      await db.putMany(Array.from({ length: 2000 }, (_, i) => [`k${i}`, "x"] as const));
      const controller = new AbortController();
      let count = 0;
      const aborted = async (): Promise<void> => {
        for await (const _ of db.scan({}, { signal: controller.signal }))
          if (++count === 5) controller.abort();
      };
      expect(await codeOf(aborted)).toBe("ABORTED");
      expect(count).toBeLessThan(2000);
      for (const read of [
        db.scan({}, { signal: controller.signal }).count(),
        db.get("k1", { signal: controller.signal }),
        db.admin.status({ signal: controller.signal }),
      ])
        expect(await codeOf(() => read)).toBe("ABORTED");
    });

    it("reads many keys as of one moment, in pieces, and lets others run between them", async () => {
      const store = texts(await opened());
      const names = Array.from({ length: 2000 }, (_, i) => `k${i}`);
      const setAll = (value: string): Promise<unknown> =>
        store.putMany(names.map((key) => [key, value] as const));
      await setAll("old");
      await using snapshot = await store.snapshotAt();
      for (const reader of [store, snapshot]) {
        let [turns, isReading] = [0, true];
        const count = (): void => {
          turns++;
          if (isReading) setImmediate(count);
        };
        setImmediate(count);
        const read = reader.getMany([...names, "nothing"]);
        const set = setAll("new");
        const values = await read;
        isReading = false;
        await set;
        expect(values).toEqual([...names.map(() => "old"), undefined]);
        expect(turns).toBeGreaterThanOrEqual(3);
        await setAll("old");
        await expect(reader.getMany([...names, ""])).rejects.toMatchObject({ code: "KEY_EMPTY" });
        const signal = AbortSignal.abort();
        await expect(reader.getMany(names, { signal })).rejects.toMatchObject({ code: "ABORTED" });
      }
    });

    it("commits a batch in one revision; the last word on a key counts", async () => {
      const store = texts(await opened());
      await store.put("gone", "x");
      const value = "1";
      const batch = store.batch().put("a", value).put("b", "2").del("a").del("gone").put("b", "3");
      expect(batch.size).toBe(3);
      expect(await batch.commit()).toEqual({ rev: 3, ok: true });
      expect(await store.scan().all()).toMatchObject([{ key: "b", value: "3" }]);
      expect(await codeOf(() => batch.commit())).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => batch.put("c", "1"))).toBe("INVALID_ARGUMENT");
      expect(await store.batch().commit()).toEqual({ rev: 3, ok: true });
      const ending = store.scope("t/", { ttlMs: 3_600_000 });
      await ending.batch().put("x", "1").put("y", "2").commit();
      expect((await ending.entry("y"))?.expiresAt).toBeDefined();
      expect(await codeOf(() => ending.batch().put("z", "1").del("x").commit())).toBe(
        "INVALID_ARGUMENT",
      );
      expect((await ending.batch().put("x", "1").del("x").commit()).ok).toBe(true);
      expect(await ending.scan().count()).toBe(1);
      const many = store.batch();
      for (let i = 0; i <= 10_000; i++) many.put(`m${i}`, "x");
      expect(await codeOf(() => many.commit())).toBe("TOO_MANY_OPS");
    });

    it("keeps scopes apart, nested ones too, with keys of their own and values by their codec", async () => {
      const db = await opened();
      const users = db.scope("user/", { codec: codecs.json });
      const admins = users.scope("admin/");
      await users.put("ann", { name: "Ann" });
      await admins.put("bob", { name: "Bob" });
      await db.put("user0", "outside");
      expect(await users.get("ann")).toEqual({ name: "Ann" });
      expect(await admins.entry("bob")).toMatchObject({ key: "bob", value: { name: "Bob" } });
      expect(keysOf(await users.scan().all())).toEqual(["admin/bob", "ann"]);
      expect(keysOf(await admins.scan({ gte: "a", lt: "c", reverse: true }).all())).toEqual([
        "bob",
      ]);
      expect(keysOf(await db.scan().all())).toEqual(["user/admin/bob", "user/ann", "user0"]);
      expect(
        await users.txn({
          if: [{ key: "ann", target: "value", is: "=", operand: { name: "Ann" } }],
          then: [
            { type: "scan", range: { prefix: "admin" } },
            { type: "put", key: "eve", value: 7 },
          ],
        }),
      ).toMatchObject({ succeeded: true, answers: [{ entries: [{ key: "admin/bob" }] }, {}] });
      expect(await users.get("eve")).toBe(7);
      expect(await admins.delMany({})).toMatchObject({ deleted: 1 });
      expect(await codeOf(() => users.put("", {}))).toBe("KEY_EMPTY");
      expect(await codeOf(() => users.put("u", undefined))).toBe("INVALID_ARGUMENT");
      await db.put("user/bad", "no json");
      expect(await codeOf(() => users.get("bad"))).toBe("INVALID_ARGUMENT");
      await expect(users.scan().all()).rejects.toMatchObject({ cause: expect.any(SyntaxError) });
      const high = db.scope(new Uint8Array([0xff, 0xff]));
      await high.put(new Uint8Array([0xff]), "x");
      expect((await high.scan().all())[0]?.rawKey).toEqual(new Uint8Array([0xff]));
      const codec = {
        name: "mine",
        encode: (): Uint8Array => {
          throw new RangeError("mine");
        },
        decode: () => 1,
      };
      await expect(db.scope("x", { codec }).put("k", 1)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        cause: expect.any(RangeError),
      });
      expect((await db.put("goes on", "x")).ok).toBe(true);
      for (const wrong of [null, {}, { encode: 1 }])
        expect(await codeOf(() => db.scope("x", { codec: wrong as never }))).toBe(
          "INVALID_ARGUMENT",
        );
    });

    it("refuses in each codec what it cannot say", async () => {
      const { utf8, int64, bytes } = codecs;
      expect(int64.decode(int64.encode(-(2n ** 63n)))).toBe(-(2n ** 63n));
      for (const wrong of [2n ** 63n, 1.5, "1"])
        expect(await codeOf(() => int64.encode(wrong as never))).toBe("INVALID_ARGUMENT");
      for (const wrong of ["", "01", "1 ", "x"])
        expect(await codeOf(() => int64.decode(Buffer.from(wrong)))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => utf8.encode(1 as never))).toBe("INVALID_ARGUMENT");
      expect(utf8.decode(utf8.encode("\ufeff\u{1f600}"))).toBe("\ufeff\u{1f600}");
      expect(() => utf8.decode(new Uint8Array([0xc3, 0x28]))).toThrow(TypeError);
      expect(await codeOf(() => bytes.encode("x" as never))).toBe("INVALID_ARGUMENT");
    });

    it("takes hostile keys as the bytes that they are, and no half of a character", async () => {
      const db = await opened();
      const store = db.scope("__proto__/");
      const hostile = [
        "__proto__",
        "constructor",
        "\0",
        "\ud83d\ude00",
        new Uint8Array([0xff, 0]),
        new Uint8Array([0xc3, 0x28]),
      ];
      for (const [i, key] of hostile.entries()) await store.put(key, new Uint8Array([i]));
      expect(await store.getMany(hostile)).toEqual(hostile.map((_, i) => new Uint8Array([i])));
      const batch = store.batch();
      for (const key of hostile) batch.del(key);
      expect(batch.size).toBe(hostile.length);
      await batch.commit();
      expect(await store.scan().count()).toBe(0);
      for (const lone of ["\ud83d", "a\ude00b", "\ude00\ud83d"]) {
        expect(await codeOf(() => db.put(lone, "x"))).toBe("INVALID_ARGUMENT");
        expect(await codeOf(() => db.put("x", lone))).toBe("INVALID_ARGUMENT");
        expect(await codeOf(() => db.get(lone))).toBe("INVALID_ARGUMENT");
        expect(await codeOf(() => db.scan({ prefix: lone }).all())).toBe("INVALID_ARGUMENT");
      }
    });

    it("hands on what its caller's own code throws, and changes nothing", async () => {
      const db = await opened();
      const mine = (): never => {
        throw new RangeError("the caller's own");
      };
      const having = (name: string): object =>
        Object.defineProperty({}, name, { get: mine, enumerable: true });
      function* items(): Generator<[string, string]> {
        yield ["a", "1"];
        mine();
      }
      const calls: (() => unknown)[] = [
        () => db.putMany(items()),
        () => db.put("a", "1", having("ttlMs")),
        () => db.get("a", having("rev")),
        () => db.scan(having("prefix")).all(),
        () => db.txn(having("then")),
        () => db.getMany(new Proxy(["a"], { get: mine })),
        () => db.delMany(new Proxy(["a"], { get: mine })),
        () =>
          db.transact((tx) => {
            tx.put("a", "1");
            mine();
          }),
        () =>
          db.transact(() => ({
            then: (_: unknown, reject: (error: Error) => void) => reject(new RangeError()),
          })),
      ];
      for (const call of calls)
        await expect((async () => call())(), call.toString()).rejects.toThrow(RangeError);
      expect(await db.barrier()).toBe(1);
      const signal = {
        aborted: false,
        addEventListener: () => {},
        removeEventListener: mine,
      } as unknown as AbortSignal;
      expect((await db.put("a", "1", { signal })).rev).toBe(2);
      await db.transact((tx) => tx.put("a", "2"), { signal });
      expect(await codeOf(() => db.lock("a", { ttlMs: 5, waitMs: 5, signal }))).toBe("WRONG_KIND");
      await db.watch("a", { signal }).close();
      await (await db.lock("l", { ttlMs: 60_000 })).extend(60_000, { signal });
      expect(await codeOf(() => db.lock("l", { ttlMs: 5, waitMs: 5, signal }))).toBe(
        "LOCK_TIMEOUT",
      );
      expect((await db.put("goes on", "x")).ok).toBe(true);
    });

    it("refuses every option and every field that it does not know", async () => {
      const db = await opened();
      const no = { ttl: 5 } as never;
      const calls: (() => unknown)[] = [
        () => db.get("a", no),
        () => db.entry("a", no),
        () => db.getMany(["a"], no),
        () => db.has("a", no),
        () => db.admin.checkpoint(no),
        () => db.admin.status(no),
        () => db.scan(no).all(),
        () => db.scan("b/" as never).all(),
        () => db.scan({}, no).all(),
        () => db.scan({ reverse: 1 as never }).all(),
        () => db.put("a", "1", no),
        () => db.put("a", "1", { ifAbsent: "yes" as never }),
        () => db.put("a", "1", { ttlMs: 0 }),
        () => db.put("a", "1", { ttlMs: 1.5 }),
        () => db.put("a", "1", { lease: 0n }),
        () => db.put("a", "1", { requestId: "1" }),
        () => db.put("a", "1", { requestId: "0/1" }),
        () => db.putMany([["a", "1"]], no),
        () => db.putMany(5 as never),
        () => db.putMany([5 as never]),
        () => db.putMany([]),
        () => db.del("a", no),
        () => db.del("a", { ifAbsent: true } as never),
        () => db.delMany(["a"], no),
        () => db.delMany(no),
        () => db.delMany([]),
        () => db.incr("a", 1, no),
        () => db.incr("a", 1, { min: 5, max: 1 }),
        () => db.expire("a", 5, no),
        () => db.expire("a", -1),
        () => db.batch().put("a", "1", no),
        () => db.batch().commit(no),
        () => db.txn(no),
        () => db.txn({ then: [{ type: "put", key: "a", value: "1", ttl: 5 } as never] }),
        () => db.txn({ if: [{ key: "a", target: "rev", is: "=", operand: 1, x: 1 } as never] }),
        () => db.txn({}, no),
        () => db.transact(() => 1, no),
        () => db.transact(() => 1, { isolation: "none" as never }),
        () => db.transact(5 as never),
        () => db.lock("a", no),
        () => db.lock("a", {} as never),
        () => db.lock("a", { ttlMs: 5, token: "" }),
        () => db.scope("a", no),
        () => db.scope("a", { ttlMs: -1 }),
        () => db.snapshotAt(0, no),
        () => db.lease(1000, no),
        () => db.lease(0),
        () => db.session(no),
        () => db.barrier(no),
        () => db.flush(no),
        () => db.admin.compact(1, no),
        () => db.admin.compact(-1),
        () => db.admin.configure(no),
        () => db.admin.members.list(no),
        () => db.admin.members.list({ consistency: "eventual" as never }),
        () => db.admin.members.add("http://127.0.0.1:1" as never),
        () => db.admin.members.addLearner([5 as never]),
        () => db.admin.members.addLearner([], no),
        () => db.admin.members.promote(0n),
        () => db.admin.members.remove("n1" as never),
        () => db.admin.members.update(1n, null as never),
        () => db.admin.members.replace(1n, (2 ** 60) as never),
        () => db.admin.members.moveLeader(-1n),
        () => db.on("leader" as never, () => {}),
        () => db.on("close", 5 as never),
      ];
      if (place === "here") {
        calls.push(
          () => db.subscribe("a", no),
          () => db.subscribe([]),
          () => db.subscribe(5 as never),
          () => db.publish(5 as never, "x"),
          () => db.publish("a", 5 as never),
        );
      }
      const codes = await Promise.all(calls.map(codeOf));
      expect(calls.filter((_, i) => codes[i] !== "INVALID_ARGUMENT").map(String)).toEqual([]);
      expect(await db.barrier()).toBe(1);
    });
  });
}

/** States that are pinned in this process. */
function keptStates(opened: Opening): void {
  it("ends a scan that outlives its pin", async () => {
    const db = await opened({ pinTimeoutMs: 20 });
    await db.putMany(Array.from({ length: 2000 }, (_, i) => [`k${i}`, "x"] as const));
    const scan = db.scan()[Symbol.asyncIterator]();
    await scan.next();
    await using snapshot = await db.snapshotAt();
    await until(async () => (await codeOf(() => snapshot.get("k1"))) !== "none");
    expect(await codeOf(() => snapshot.get("k1"))).toBe("COMPACTED");
    const drain = async (): Promise<void> => {
      while ((await scan.next()).done !== true);
    };
    await expect(drain()).rejects.toMatchObject({
      code: "COMPACTED",
      message: expect.stringContaining("pinTimeoutMs"),
    });
  });

  it("keeps a snapshot readable after a compaction, until it is closed", async () => {
    const db = await opened();
    const store = texts(db);
    const first = await store.put("a", "1");
    const now = await store.snapshotAt();
    const pending = store.put("a", "2");
    const atOnce = store.snapshotSync();
    await pending;
    await store.put("b", "2");
    const old = await store.snapshotAt(first.rev);
    const { rev } = await store.del("a");
    await db.admin.compact(rev, { physical: true });
    for (const snapshot of [now, atOnce, old]) {
      expect(snapshot.rev).toBe(first.rev);
      expect(await snapshot.get("a")).toBe("1");
      expect([snapshot.getSync("a"), snapshot.getSync("b")]).toEqual(["1", undefined]);
      expect(await codeOf(() => snapshot.getSync(""))).toBe("KEY_EMPTY");
      expect(await snapshot.entry("a")).toMatchObject({ value: "1", version: 1 });
      expect(await snapshot.has("b")).toBe(false);
      expect(await snapshot.getMany(["b", "a"])).toEqual([undefined, "1"]);
      expect(keysOf(await snapshot.scan().all())).toEqual(["a"]);
      await snapshot.close();
      await snapshot.close();
      expect(await codeOf(() => snapshot.get("a"))).toBe("CLOSED");
      expect(await codeOf(() => snapshot.getSync("a"))).toBe("CLOSED");
      expect(await codeOf(() => snapshot.scan().all())).toBe("CLOSED");
    }
    expect(await codeOf(() => store.snapshotAt(first.rev))).toBe("COMPACTED");
    expect(await codeOf(() => store.snapshotAt(999))).toBe("FUTURE_REV");
    expect(await codeOf(() => store.snapshotAt(-1))).toBe("INVALID_ARGUMENT");
  });
}

/** States that are read from members, as revisions. */
function revisions(opened: Opening): void {
  it("reads a snapshot from its revision until that is compacted or the snapshot is closed", async () => {
    const db = await opened();
    const store = texts(db);
    const first = await store.put("a", "1");
    const now = await store.snapshotAt();
    await store.put("a", "2");
    await store.put("b", "2");
    const old = await store.snapshotAt(first.rev);
    for (const snapshot of [now, old]) {
      expect(snapshot.rev).toBe(first.rev);
      expect(await snapshot.get("a")).toBe("1");
      expect(await codeOf(() => snapshot.getSync("a"))).toBe("UNSUPPORTED");
      expect(await codeOf(() => snapshot.get(""))).toBe("KEY_EMPTY");
      expect(await snapshot.entry("a")).toMatchObject({ value: "1", version: 1 });
      expect(await snapshot.has("b")).toBe(false);
      expect(await snapshot.getMany(["b", "a"])).toEqual([undefined, "1"]);
      expect(keysOf(await snapshot.scan().all())).toEqual(["a"]);
    }
    await old.close();
    await old.close();
    expect(await codeOf(() => old.get("a"))).toBe("CLOSED");
    expect(await codeOf(() => old.scan().all())).toBe("CLOSED");
    await db.admin.compact(first.rev + 1, { physical: true });
    expect(await codeOf(() => now.get("a"))).toBe("COMPACTED");
    expect(await codeOf(() => now.scan().all())).toBe("COMPACTED");
    expect(await codeOf(() => store.snapshotAt(first.rev))).toBe("COMPACTED");
    expect(await codeOf(() => store.snapshotAt(999))).toBe("FUTURE_REV");
    expect(await codeOf(() => store.snapshotAt(-1))).toBe("INVALID_ARGUMENT");
  });
}
