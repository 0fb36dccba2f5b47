/** Watches: what a program sees of changes, in process and over a connection. */
import { describe, expect, it } from "vitest";
import {
  codecs,
  CompactedError,
  HarmonyError,
  type WatchBatch,
  type Watching,
  type WatchOptions,
} from "../../src/index.ts";
import type { Opening } from "./store.suite.ts";

const decoder = new TextDecoder();

/** "key=value@rev" and "-key@rev". */
function show(batch: WatchBatch): string[] {
  return batch.events.map((event) =>
    event.type === "put"
      ? `${event.key}=${decoder.decode(event.entry.value)}@${event.rev}`
      : `-${event.key}@${event.rev}`,
  );
}

async function next<V>(watching: Watching<V>): Promise<WatchBatch<V>> {
  const { value, done } = await watching.next();
  if (done === true) throw new Error("the watch has ended");
  return value;
}

/** Events up to the one of revision `rev`. */
async function until(watching: Watching, rev: number): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    const batch = await next(watching);
    seen.push(...show(batch));
    if (batch.rev >= rev) return seen;
  }
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

export function watchSuite(name: string, opened: Opening): void {
  describe(`${name}: watch`, () => {
    it("tells what changes from the call on, of a key, a prefix, a range, everything", async () => {
      const db = await opened();
      await db.put("a/1", "before");
      const watches = [
        db.watch("a/1"),
        db.watch({ prefix: "a/" }),
        db.watch({ gte: "a/2", lt: "c" }),
        db.watch({}),
        db.watch(new TextEncoder().encode("b")),
      ];
      await db.put("a/1", "1");
      await db.batch().put("b", "2").put("a/2", "3").commit();
      await db.del("a/1");
      // Each up to the last change that it sees.
      const last = [5, 5, 4, 5, 4];
      const seen = await Promise.all(
        watches.map((watching, i) => until(watching, last[i] as number)),
      );
      expect(seen.slice(0, 2)).toEqual([
        ["a/1=1@3", "-a/1@5"],
        ["a/1=1@3", "a/2=3@4", "-a/1@5"],
      ]);
      expect(seen[3]).toEqual(["a/1=1@3", "b=2@4", "a/2=3@4", "-a/1@5"]);
      expect(seen[2]).toEqual(["b=2@4", "a/2=3@4"]);
      expect(seen[4]).toEqual(["b=2@4"]);
    });

    it("gives entries, what was before, and why a key went", async () => {
      const db = await opened();
      const watching = db.watch("k", { prev: true });
      await db.put("k", "1");
      await db.put("k", "2", { ttlMs: 1 });
      const batches: WatchBatch[] = [];
      while (batches.at(-1)?.events.at(-1)?.type !== "delete") batches.push(await next(watching));
      const events = batches.flatMap((batch) => batch.events);
      expect(events[0]).toMatchObject({
        type: "put",
        rev: 2,
        entry: { key: "k", rev: 2, createRev: 2, version: 1, lease: 0n },
      });
      expect(events[0]).not.toHaveProperty("prev");
      expect(events[1]).toMatchObject({
        rev: 3,
        entry: { version: 2 },
        prev: { version: 1, rev: 2 },
      });
      expect(events[2]).toMatchObject({
        type: "delete",
        key: "k",
        rev: 4,
        cause: "expired",
        prev: { version: 2 },
      });
    });

    it("starts in the past or in the future, and goes on where another one was", async () => {
      const db = await opened();
      for (let i = 0; i < 5; i++) await db.put("k", `${i}`);
      const past = db.watch("k", { fromRev: 3 });
      const future = db.watch("k", { fromRev: 8 });
      const first = await next(past);
      expect(show(first)).toEqual(["k=1@3", "k=2@4", "k=3@5", "k=4@6"]);
      await past.close();
      await db.put("k", "5");
      await db.put("k", "6");
      const again = db.watch("k", { fromRev: first.rev + 1 });
      expect(await until(again, 8)).toEqual(["k=5@7", "k=6@8"]);
      expect(await until(future, 8)).toEqual(["k=6@8"]);
    });

    it("never splits a revision and never skips one, however slowly it is read", async () => {
      const db = await opened();
      const watching = db.watch({});
      for (let i = 0; i < 30; i++)
        await db.putMany([
          ["a", "x".repeat(20_000)],
          ["b", "y".repeat(20_000)],
        ]);
      let rev = 1;
      for (let batches = 0; rev < 31; batches++) {
        const batch = await next(watching);
        const revs = batch.events.map((event) => event.rev);
        expect(revs).toEqual(
          Array.from({ length: revs.length }, (_, i) => rev + 1 + Math.floor(i / 2)),
        );
        expect(revs.length % 2).toBe(0);
        rev = batch.rev;
        if (rev === 31) expect(batches).toBeGreaterThan(2);
      }
    });

    it("lets others run between two batches of a reader that does nothing but read", async () => {
      const db = await opened();
      const large = "x".repeat(100_000);
      for (let i = 0; i < 40; i++) await db.put(`k${i}`, large);
      const { rev } = await db.put("last", "");
      let [turns, batches, running] = [0, 0, true];
      const count = (): void => {
        turns++;
        if (running) setImmediate(count);
      };
      setImmediate(count);
      for await (const batch of db.watch({}, { fromRev: 2 })) {
        batches++;
        if (batch.rev >= rev) break;
      }
      running = false;
      expect(batches).toBeGreaterThan(10);
      expect(turns).toBeGreaterThanOrEqual(batches - 1);
    });

    it("`only` leaves the other type out", async () => {
      const db = await opened();
      const puts = db.watch("k", { only: "put" });
      const deletes = db.watch("k", { only: "delete" });
      await db.put("k", "1");
      await db.del("k");
      await db.put("k", "2");
      expect(await until(puts, 4)).toEqual(["k=1@2", "k=2@4"]);
      expect(await until(deletes, 3)).toEqual(["-k@3"]);
    });

    it("in a scope, keys are without the prefix and values are converted", async () => {
      const db = await opened();
      const users = db.scope("users/", { codec: codecs.json });
      const watching = users.watch({ prefix: "a" }, { prev: true });
      await db.put("users/b", "no json");
      await users.put("anna", { age: 5 });
      await users.put("anna", { age: 6 });
      const events = [...(await next(watching)).events];
      if (events.length < 2) events.push(...(await next(watching)).events);
      expect(events).toMatchObject([
        { key: "anna", entry: { key: "anna", value: { age: 5 } } },
        { key: "anna", entry: { value: { age: 6 } }, prev: { value: { age: 5 } } },
      ]);
    });

    it("a value that the codec does not take rejects and ends the watch, and nobody else's", async () => {
      const db = await opened();
      const typed = db.scope("", { codec: codecs.json }).watch("k");
      const plain = db.watch("k");
      await db.put("k", "{");
      expect(await codeOf(typed.next())).toBe("INVALID_ARGUMENT");
      expect(await typed.next()).toEqual({ done: true, value: undefined });
      expect(show(await next(plain))).toEqual(["k={@2"]);
    });

    it("tells a reader that waits that nothing has happened", async () => {
      const db = await opened();
      const watching = db.watch("k", { progressMs: 5 });
      await db.put("other", "1");
      let batch = await next(watching);
      // Elsewhere it is heard of a little later.
      while (batch.rev < 2) batch = await next(watching);
      expect(batch).toEqual({ rev: 2, events: [] });
      await db.put("k", "1");
      for (let seen: string[] = []; seen.length === 0;) seen = show(await next(watching));
    });

    it("ends with CompactedError, which says from where on there is everything", async () => {
      const db = await opened();
      for (let i = 0; i < 5; i++) await db.put("k", `${i}`);
      await db.admin.compact(5);
      const watching = db.watch("k", { fromRev: 3 });
      const error: unknown = await watching.next().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CompactedError);
      expect(error).toMatchObject({ code: "COMPACTED", compactRev: 5 });
      expect(await watching.next()).toMatchObject({ done: true });
      expect(show(await next(db.watch("k", { fromRev: 5 })))).toEqual(["k=3@5", "k=4@6"]);
    });

    it("works without history, from now on", async () => {
      const db = await opened({ retention: { retentionMs: 0, retentionRevisions: 0 } });
      await db.put("k", "0");
      expect(await codeOf(db.watch("k", { fromRev: 2 }).next())).toBe("COMPACTED");
      const watching = db.watch("k", { prev: true });
      await db.put("k", "1");
      expect((await next(watching)).events).toMatchObject([{ rev: 3, prev: { rev: 2 } }]);
    });

    it("ends by its signal, by leaving the loop, by close, and with the database", async () => {
      const db = await opened();
      const aborter = new AbortController();
      const aborted = db.watch("k", { signal: aborter.signal }).next();
      aborter.abort();
      expect(await codeOf(aborted)).toBe("ABORTED");
      expect(await codeOf(db.watch("k", { signal: AbortSignal.abort() }).next())).toBe("ABORTED");

      const left = db.watch("k");
      const leaving = (async () => {
        for await (const batch of left) if (batch.events.length > 0) break;
      })();
      await db.put("k", "1");
      await leaving;
      expect(await left.next()).toMatchObject({ done: true });

      const closed = db.watch("k");
      const waiting = closed.next();
      await closed.close();
      await closed.close();
      expect(await waiting).toMatchObject({ done: true });

      const [waits, asksLater] = [db.watch("k"), db.watch("k")];
      const pending = waits.next();
      await Promise.all([db.close(), codeOf(pending).then((code) => expect(code).toBe("CLOSED"))]);
      expect(await codeOf(asksLater.next())).toBe("CLOSED");
      expect(await codeOf(db.watch("k").next())).toBe("CLOSED");
    });

    it("what is given belongs to the receiver", async () => {
      const db = await opened();
      const [first, second] = [db.watch("k"), db.watch("k")];
      await db.put("k", "1");
      for (const event of (await next(first)).events) {
        event.rawKey.fill(0);
        if (event.type === "put") event.entry.value.fill(0);
      }
      expect(show(await next(second))).toEqual(["k=1@2"]);
      expect(decoder.decode(await db.get("k"))).toBe("1");
    });

    it.each<[string, () => [unknown, unknown]]>([
      ["an empty key", () => ["", {}]],
      ["a number for a key", () => [5, {}]],
      ["a limit", () => [{ prefix: "a", limit: 5 }, {}]],
      ["a range backwards", () => [{ reverse: true }, {}]],
      ["an unknown option", () => ["k", { since: 5 }]],
      ["a revision of 0", () => ["k", { fromRev: 0 }]],
      ["a revision with a fraction", () => ["k", { fromRev: 1.5 }]],
      ["another type", () => ["k", { only: "both" }]],
      ["an interval of nothing", () => ["k", { progressMs: 0 }]],
      ["a signal that is none", () => ["k", { signal: {} }]],
    ])("%s is refused at once", async (_what, args) => {
      const db = await opened();
      const [keys, options] = args();
      expect(() => db.watch(keys as string, options as WatchOptions)).toThrow(HarmonyError);
      const late = db.watch("k".repeat(5000));
      expect(await codeOf(late.next())).toBe("KEY_TOO_LARGE");
    });
  });
}
