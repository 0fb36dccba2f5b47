/** What programs do together in one database: transactions, locks, leases, sessions, messages, and its end. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { codecs, type HarmonyDB, type Message, type Store, type Tx } from "../../src/index.ts";
import { codeOf, type Opening, type Place, type Texts, texts, until } from "./store.suite.ts";

const decoder = new TextDecoder();

export function coordinationSuite(name: string, opened: Opening, place: Place = "here"): void {
  describe(`${name}: transact`, () => {
    const numbers = (db: HarmonyDB): Store<bigint, bigint> =>
      db.scope("n/", { codec: codecs.int64 });

    it("loses no update, however many meet", async () => {
      const store = numbers(await opened());
      const add = (tx: Tx<bigint, bigint>): Promise<bigint> =>
        tx.get("sum").then((sum = 0n) => {
          tx.put("sum", sum + 1n);
          return sum + 1n;
        });
      const sums = await Promise.all(
        Array.from({ length: 25 }, () => store.transact(add, { retries: 200 })),
      );
      expect(sums.sort((a, b) => Number(a - b))).toEqual(
        Array.from({ length: 25 }, (_, i) => BigInt(i + 1)),
      );
      expect(await store.get("sum")).toBe(25n);
    });

    it("runs again when anything that it read has changed, a key that came or went in a range too", async () => {
      const db = await opened();
      const store = texts(db);
      const disturbances: [(tx: Tx<string, string>) => Promise<unknown>, () => Promise<unknown>][] =
        [
          [(tx) => tx.get("a"), () => store.put("a", "x")],
          [(tx) => tx.get("a"), () => store.del("a")],
          [(tx) => tx.has("nothing"), () => store.put("nothing", "x")],
          [(tx) => tx.scan({ prefix: "r/" }), () => store.put("r/5", "x")],
          [(tx) => tx.scan({ prefix: "r/" }), () => store.del("r/1")],
          [(tx) => tx.scan({ prefix: "r/" }), () => store.put("r/1", "x")],
          [(tx) => tx.scan({ prefix: "r/", limit: 2 }), () => store.put("r/11", "x")],
          [(tx) => tx.scan({ prefix: "r/", reverse: true, limit: 1 }), () => store.put("r/4", "x")],
        ];
      for (const [read, disturb] of disturbances) {
        await store.delMany({});
        await store.putMany(["a", "r/1", "r/2", "r/3"].map((key) => [key, "0"]));
        let runs = 0;
        await store.transact(async (tx) => {
          await read(tx);
          if (runs++ === 0) await disturb();
          tx.put("out", String(runs));
        });
        expect([read.toString(), runs, await store.get("out")]).toEqual([read.toString(), 2, "2"]);
      }
      const calm: typeof disturbances = [
        [(tx) => tx.scan({ prefix: "r/", limit: 2 }), () => store.put("r/3", "x")],
        [(tx) => tx.scan({ prefix: "r/", reverse: true, limit: 1 }), () => store.put("r/1", "x")],
        [(tx) => tx.get("a"), () => store.put("b", "x")],
      ];
      for (const [read, other] of calm) {
        let runs = 0;
        await store.transact(async (tx) => {
          await read(tx);
          if (runs++ === 0) await other();
          tx.put("out", "x");
        });
        expect([read.toString(), runs]).toEqual([read.toString(), 1]);
      }
    });

    it("with snapshot isolation looks only at what it writes; serializable sees the skew", async () => {
      const store = texts(await opened());
      for (const isolation of ["snapshot", "serializable"] as const) {
        await store.putMany([
          ["x", "on duty"],
          ["y", "on duty"],
        ]);
        const leave = (mine: string, other: string): Promise<void> => {
          let isFirst = true;
          return store.transact(
            async (tx) => {
              const isCovered = (await tx.get(other)) === "on duty";
              // Both have read before either commits.
              if (isFirst) await both();
              isFirst = false;
              if (isCovered) tx.put(mine, "off");
            },
            { isolation },
          );
        };
        let arrived = 0;
        let release = (): void => {};
        const gate = new Promise<void>((resolve) => {
          release = resolve;
        });
        const both = (): Promise<void> => {
          if (++arrived === 2) release();
          return gate;
        };
        await Promise.all([leave("x", "y"), leave("y", "x")]);
        const left = (await store.getMany(["x", "y"])).filter((one) => one === "on duty").length;
        expect([isolation, left]).toEqual([isolation, isolation === "snapshot" ? 0 : 1]);
      }
      let runs = 0;
      await store.transact(
        async (tx) => {
          await tx.get("x");
          if (runs++ === 0) await store.put("x", "theirs");
          tx.put("x", "mine");
        },
        { isolation: "snapshot" },
      );
      expect(runs).toBe(2);
    });

    it("gives up with CONFLICT, throws what is thrown, and changes nothing then", async () => {
      const store = texts(await opened());
      let runs = 0;
      const contested = store.transact(
        async (tx) => {
          await tx.get("a");
          await store.put("a", String(runs++));
          tx.put("b", "x");
        },
        { retries: 2 },
      );
      await expect(contested).rejects.toMatchObject({ code: "CONFLICT", maybeApplied: false });
      expect(runs).toBe(3);
      const thrown = store.transact((tx) => {
        tx.put("b", "x");
        throw new RangeError("mine");
      });
      await expect(thrown).rejects.toThrow(RangeError);
      expect(await store.get("b")).toBeUndefined();
      let kept: Tx<string, string> | null = null;
      expect(await store.transact(async (tx) => [(kept = tx), await tx.get("a")][1])).toBe("2");
      expect(await codeOf(() => kept?.get("a"))).toBe("INVALID_ARGUMENT");
      expect(await codeOf(() => kept?.put("a", "x"))).toBe("INVALID_ARGUMENT");
      const never = (): Promise<never> => new Promise(() => {});
      expect(await codeOf(() => store.transact(never, { timeoutMs: 10 }))).toBe("TIMEOUT");
      const signal = AbortSignal.timeout(10);
      expect(await codeOf(() => store.transact(never, { signal }))).toBe("ABORTED");
      expect(
        await codeOf(() => store.scope("t", { ttlMs: 5 }).transact((tx) => tx.put("a", "x"))),
      ).toBe("INVALID_ARGUMENT");
    });

    it("sees its own changes in gets and scans, as a map would", async () => {
      const store = texts(await opened());
      const keys = Array.from({ length: 12 }, (_, i) => `k${String(i).padStart(2, "0")}`);
      const key = fc.constantFrom(...keys);
      const change = fc.tuple(key, fc.option(fc.constantFrom("x", "y"), { nil: null }));
      const range = fc.record(
        { gte: key, lt: key, limit: fc.nat(6), reverse: fc.boolean() },
        { requiredKeys: [] },
      );
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(key),
          fc.array(change, { maxLength: 10 }),
          range,
          async (there, changes, wanted) => {
            await store.delMany({});
            if (there.length > 0) await store.putMany(there.map((one) => [one, "old"]));
            const model = new Map(there.map((one) => [one, "old"]));
            for (const [one, value] of changes) {
              if (value === null) model.delete(one);
              else model.set(one, value);
            }
            const { gte = "", lt = "z", limit, reverse } = wanted;
            const expected = [...model]
              .filter(([one]) => one >= gte && one < lt)
              .sort(([a], [b]) => (a < b ? -1 : 1));
            if (reverse === true) expected.reverse();
            await store.transact(async (tx) => {
              for (const [one, value] of changes) {
                if (value === null) tx.del(one);
                else tx.put(one, value);
              }
              for (const one of keys) expect(await tx.get(one)).toBe(model.get(one));
              const found = await tx.scan(wanted);
              expect(found.map((item) => [item.key, item.value])).toEqual(
                expected.slice(0, limit ?? expected.length),
              );
            });
            const all = await store.scan().all();
            expect(new Map(all.map((entry) => [entry.key, entry.value]))).toEqual(model);
          },
        ),
        { numRuns: 40 },
      );
    });
  });

  describe(`${name}: locks, leases, sessions`, () => {
    it("gives a lock to one at a time, in the order of asking, with a growing fence", async () => {
      const db = await opened();
      const order: number[] = [];
      const fences: number[] = [];
      let inside = 0;
      await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          await using lock = await db.lock("job", { ttlMs: 60_000, waitMs: 60_000 });
          expect(++inside).toBe(1);
          order.push(i);
          fences.push(lock.fence);
          await db.barrier();
          expect(lock.signal.aborted).toBe(false);
          inside--;
        }),
      );
      expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(fences).toEqual([...fences].sort((a, b) => a - b));
      expect(new Set(fences).size).toBe(8);
      expect(await db.has("job")).toBe(false);
    });

    it("says who cannot have it, and knows the holder by the token", async () => {
      const db = await opened();
      const lock = await db.lock("job", { ttlMs: 60_000, token: "me" });
      expect(lock.token).toBe("me");
      expect(await codeOf(() => db.lock("job", { ttlMs: 5, waitMs: 0 }))).toBe("LOCK_TIMEOUT");
      expect(await codeOf(() => db.lock("job", { ttlMs: 5, waitMs: 30 }))).toBe("LOCK_TIMEOUT");
      const signal = AbortSignal.timeout(10);
      expect(await codeOf(() => db.lock("job", { ttlMs: 5, signal }))).toBe("ABORTED");
      const again = await db.lock("job", { ttlMs: 60_000, token: "me", waitMs: 0 });
      expect(again.fence).toBe(lock.fence);
      expect(await codeOf(() => db.put("job", "x"))).toBe("LOCKED");
      await lock.extend(120_000);
      expect(await lock.unlock()).toBe(true);
      expect(await lock.unlock()).toBe(false);
      expect(await codeOf(() => lock.extend())).toBe("LOCK_LOST");
      expect(lock.signal.aborted).toBe(false);
      expect(await again.unlock()).toBe(false);
      expect(again.signal.reason).toMatchObject({ code: "LOCK_LOST" });
      await db.put("plain", "x");
      expect(await codeOf(() => db.lock("plain", { ttlMs: 5 }))).toBe("WRONG_KIND");
      expect(await codeOf(() => db.lock("", { ttlMs: 5 }))).toBe("KEY_EMPTY");
    });

    it("tells a holder that the lock is lost: by its TTL, by a delete, by the end", async () => {
      const db = await opened();
      const expired = await db.lock("a", { ttlMs: 30 });
      const deleted = await db.lock("b", { ttlMs: 60_000 });
      const closed = await db.lock("c", { ttlMs: 60_000 });
      const waiting = codeOf(() => db.lock("c", { ttlMs: 5 }));
      await until(() => expired.signal.aborted);
      expect(expired.signal.reason).toMatchObject({ code: "LOCK_LOST" });
      expect(await codeOf(() => expired.extend())).toBe("LOCK_LOST");
      await db.del("b");
      await until(() => deleted.signal.aborted);
      const next = await db.lock("a", { ttlMs: 60_000 });
      expect(next.fence).toBeGreaterThan(expired.fence);
      await db.close();
      expect(closed.signal.reason).toMatchObject({ code: "LOCK_LOST" });
      expect(await waiting).toBe("CLOSED");
      await closed[Symbol.asyncDispose]();
    });

    it("ends keys with their lease", async () => {
      const db = await opened({ electionTimeoutMs: 200 });
      const lease = await db.lease(59_500, { keepAlive: true });
      expect(lease.ttlMs).toBe(60_000);
      await db.put("a", "1", { lease: lease.id });
      await db.batch().put("b", "2", { lease: lease.id }).commit();
      expect(await db.entry("b")).toMatchObject({ lease: lease.id });
      expect(await lease.keepAlive()).toBe(60_000);
      expect(await lease.remainingMs()).toBeGreaterThan(0);
      expect(await codeOf(() => db.put("c", "1", { lease: 12345n }))).toBe("LEASE_NOT_FOUND");
      expect(await lease.revoke()).toBe(true);
      expect(await lease.revoke()).toBe(false);
      expect(await codeOf(() => lease.keepAlive())).toBe("LEASE_NOT_FOUND");
      expect(await db.scan().count()).toBe(0);
      const lost = await db.lease(60_000);
      expect((await db.admin.status()).leases).toBe(1);
      await db.close();
      expect(lost.signal.reason).toMatchObject({ code: "CLOSED" });
    });

    it("does once what is sent twice with one request id, and refuses another under it", async () => {
      const db = await opened();
      await using session = await db.session();
      const requestId = session.requestId();
      expect(await db.incr("n", 5, { requestId })).toBe(5n);
      expect(await db.incr("n", 5, { requestId })).toBe(5n);
      expect(await codeOf(() => db.incr("n", 6, { requestId }))).toBe("REQUEST_EXPIRED");
      const put = session.requestId();
      const first = await db.put("a", "1", { requestId: put });
      await db.put("a", "2");
      expect(await db.put("a", "1", { requestId: put })).toMatchObject({ ok: first.ok });
      expect(decoder.decode(await db.get("a"))).toBe("2");
      const large = session.requestId();
      const txn = {
        then: [
          { type: "get", key: "big" },
          { type: "put", key: "b", value: "1" },
        ],
      } as const;
      await db.put("big", "x".repeat(4000));
      expect((await db.txn(txn, { requestId: large })).succeeded).toBe(true);
      await expect(db.txn(txn, { requestId: large })).rejects.toMatchObject({
        code: "REQUEST_EXPIRED",
        maybeApplied: true,
      });
      await session.close();
      expect(await codeOf(() => db.incr("n", 5, { requestId }))).toBe("REQUEST_EXPIRED");
      expect(await db.incr("n", 1)).toBe(6n);
    });
  });

  if (place === "here") messages(name, opened);
  else
    it(`${name}: messages stay in the process of a node`, async () => {
      const db = await opened();
      expect(await codeOf(() => db.publish("a", "x"))).toBe("UNSUPPORTED");
      expect(await codeOf(() => db.subscribe("a"))).toBe("UNSUPPORTED");
    });

  describe(`${name}: the database`, () => {
    it("that is alone shows itself as its only member, and takes no other", async () => {
      const db = await opened();
      const { members } = db.admin;
      const { memberId } = await db.admin.status();
      for (const consistency of ["linearizable", "local"] as const)
        expect(await members.list({ consistency })).toMatchObject([
          { id: memberId, name: "default", isLearner: false, isLeader: true },
        ]);
      const url = ["http://127.0.0.1:1"];
      const codes = [
        () => members.add(url),
        () => members.addLearner(url),
        () => members.addLearner([]),
        () => members.addLearner(["nowhere"]),
        () => members.promote(memberId),
        () => members.promote(5n),
        () => members.remove(memberId),
        () => members.remove(5n),
        () => members.update(5n, url),
        () => members.replace(memberId, 5n),
        () => members.moveLeader(5n),
        () => members.moveLeader(memberId),
      ].map(codeOf);
      expect(await Promise.all(codes)).toEqual([
        "STAYS_ALONE",
        "STAYS_ALONE",
        "MEMBER_URLS_INVALID",
        "MEMBER_URLS_INVALID",
        "MEMBER_NOT_LEARNER",
        "MEMBER_NOT_FOUND",
        "MEMBERS_NOT_STARTED",
        "MEMBER_NOT_FOUND",
        "MEMBER_NOT_FOUND",
        "MEMBER_NOT_FOUND",
        "BAD_TRANSFEREE",
        "none",
      ]);
      await members.update(memberId, url);
      expect(await members.list()).toMatchObject([{ id: memberId, peerUrls: url }]);
      expect(await db.barrier()).toBe(1);
    });

    it("tells of itself, compacts, checkpoints, keeps its settings", async () => {
      const db = await opened();
      const store: Texts = texts(db);
      for (let i = 0; i < 5; i++) await store.put("a", String(i));
      await db.admin.compact(4);
      expect(await codeOf(() => store.get("a", { rev: 3 }))).toBe("COMPACTED");
      expect(await codeOf(() => db.admin.compact(4))).toBe("COMPACTED");
      await db.admin.checkpoint();
      expect(await db.admin.status()).toMatchObject({
        isLeader: true,
        rev: 6,
        compactRev: 4,
        keys: 1,
        leases: 0,
        alarms: [],
      });
      expect([db.role, db.status]).toEqual([place === "here" ? "leader" : "client", "open"]);
      if (place === "here") expectMetrics(db.admin.metrics());
      else expect(await codeOf(() => db.admin.metrics())).toBe("UNSUPPORTED");
      const settings = await db.admin.configure({ quotaBytes: 10_000_000 });
      expect(settings).toMatchObject({ quotaBytes: 10_000_000 });
      expect((await db.admin.status()).quotaBytes).toBe(10_000_000);
      expect(await db.barrier()).toBe(6);
      const writes = Array.from({ length: 100 }, (_, i) => store.put(`k${i}`, "x"));
      await db.flush();
      expect(await store.scan({ prefix: "k" }, { consistency: "local" }).count()).toBe(100);
      await Promise.all(writes);
    });

    it("refuses every call after its end, by code, and closes as often as it is asked to", async () => {
      const db = await opened();
      const store = db.scope("s/");
      await db.put("a", "1");
      const events: string[] = [];
      db.on("close", () => {
        throw new Error("a listener's own");
      });
      db.on("close", () => events.push("close"));
      const unheard = (): unknown => events.push("unheard");
      db.on("close", unheard).off("close", unheard);
      const scan = db.scan()[Symbol.asyncIterator]();
      const snapshot = await db.snapshotAt();
      const stuck = codeOf(() => db.transact(() => new Promise(() => {})));
      const [first, second] = [db.close(), db.close()];
      const during = await codeOf(() => db.put("b", "1"));
      await Promise.all([first, second]);
      await db.close();
      expect(await stuck).toBe("CLOSED");
      expect([during, db.status, events]).toEqual(["CLOSED", "closed", ["close"]]);
      const calls: (() => unknown)[] = [
        () => db.get("a"),
        () => db.get("a", { consistency: "local" }),
        () => db.entry("a"),
        () => db.getMany(["a"]),
        () => db.has("a"),
        () => db.getSync("a"),
        () => store.getSync("a"),
        () => db.scan().all(),
        () => db.scan().count(),
        () => db.scan().keys().next(),
        () => scan.next(),
        () => db.put("a", "1"),
        () => db.put("a", "1", { ifAbsent: true }),
        () => db.putMany([["a", "1"]]),
        () => db.del("a"),
        () => db.delMany(["a"]),
        () => db.delMany({}),
        () => db.incr("a"),
        () => db.decr("a"),
        () => db.expire("a", 5),
        () => db.batch().put("a", "1").commit(),
        () => db.txn({}),
        () => db.transact((tx) => tx.get("a")),
        () => db.lock("a", { ttlMs: 5 }),
        () => store.get("a"),
        () => db.snapshotAt(),
        () => db.snapshotSync(),
        () => snapshot.get("a"),
        () => snapshot.scan().all(),
        () => db.lease(5),
        () => db.session(),
        () => db.publish("a", "x"),
        () => db.subscribe("a"),
        () => db.barrier(),
        () => db.flush(),
        () => db.admin.status(),
        () => db.admin.checkpoint(),
        () => db.admin.compact(1),
        () => db.admin.configure({}),
        () => db.admin.metrics(),
        () => db.admin.members.list(),
        () => db.admin.members.list({ consistency: "local" }),
        () => db.admin.members.add(["http://127.0.0.1:1"]),
        () => db.admin.members.remove(1n),
        () => db.admin.members.moveLeader(1n),
      ];
      const codes = await Promise.all(calls.map(codeOf));
      expect(calls.filter((_, i) => codes[i] !== "CLOSED").map(String)).toEqual([]);
    });
  });
}

function expectMetrics(metrics: string): void {
  expect(metrics).toMatch(/^harmonydb_store_revision 6$/m);
  expect(metrics).toMatch(/^harmonydb_checkpoints_total [1-9]\d*$/m);
  expect(metrics).toMatch(/^snapshot_count 0$/m);
  expect(
    metrics.split("\n").every((line) => /^(#.*|\w+(\{\w+="\w+"\})? [\d.]+|)$/.test(line)),
  ).toBe(true);
}

function messages(name: string, opened: Opening): void {
  describe(`${name}: messages`, () => {
    it("reach those who subscribed to a matching pattern, in order, each once", async () => {
      const db = await opened();
      const one = db.subscribe(["news.*", "n*"]);
      const other = db.subscribe("news.[a-c]?");
      expect(await db.publish("news.x", "1")).toBe(1);
      expect(await db.publish("news.bz", new Uint8Array([50]))).toBe(2);
      expect(await db.publish("weather", "3")).toBe(0);
      expect(db.admin.metrics()).toMatch(/^harmonydb_pubsub_channels 3$/m);
      expect(db.admin.metrics()).toMatch(/^harmonydb_pubsub_messages_total 3$/m);
      const got: Message[] = [];
      for await (const message of one) {
        got.push(message);
        if (got.length === 2) break;
      }
      expect(
        got.map(({ channel, pattern, data }) => [channel, pattern, decoder.decode(data)]),
      ).toEqual([
        ["news.x", "news.*", "1"],
        ["news.bz", "news.*", "2"],
      ]);
      expect(await db.publish("news.bz", "4")).toBe(1);
      await other.close();
      expect(await other.next()).toEqual({ done: true, value: undefined });
      expect(await db.publish("news.bz", "5")).toBe(0);
    });

    it("end a subscriber that does not read, one that is aborted, and quietly all at the close", async () => {
      const db = await opened();
      const slow = db.subscribe("*", { pendingMax: 3 });
      const controller = new AbortController();
      const aborted = db.subscribe("*", { signal: controller.signal });
      const waiting = aborted.next();
      for (let i = 0; i < 3; i++) expect(await db.publish("a", String(i))).toBe(2);
      expect(await db.publish("a", "3")).toBe(1);
      const read: string[] = [];
      const drain = async (): Promise<void> => {
        for await (const { data } of slow) read.push(decoder.decode(data));
      };
      expect(await codeOf(drain)).toBe("TOO_MANY_REQUESTS");
      expect(read).toEqual(["0", "1", "2"]);
      expect((await waiting).done).toBe(false);
      controller.abort();
      for (let i = 0; i < 3; i++) await aborted.next();
      expect(await codeOf(() => aborted.next())).toBe("ABORTED");
      expect(await aborted.next()).toEqual({ done: true, value: undefined });
      const pair = [db.subscribe("own"), db.subscribe("own")] as const;
      await db.publish("own", "x");
      (await pair[0].next()).value?.data.fill(0);
      expect(decoder.decode((await pair[1].next()).value?.data)).toBe("x");
      await using quiet = db.subscribe("*");
      const last = quiet.next();
      await db.close();
      expect(await last).toEqual({ done: true, value: undefined });
      expect(await codeOf(() => db.publish("a", "x"))).toBe("CLOSED");
      expect(await codeOf(() => db.subscribe("a"))).toBe("CLOSED");
    });
  });
}
