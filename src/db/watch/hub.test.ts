import { describe, expect, it } from "vitest";
import { HarmonyError, setVerifying, text, utf8 } from "../../base/index.ts";
import { BTreeEngine, MemoryEngine } from "../../btree/index.ts";
import { runIoNow, SimEnv } from "../../env/sim/index.ts";
import { del, HISTORY_OFF, HISTORY_ON, hubSuite, put, Stage, watchRequest } from "./hub.suite.ts";
import type { Watch, WatchNews } from "./watch.ts";

setVerifying(true);

hubSuite("MemoryEngine", () => new MemoryEngine(), 60);
hubSuite(
  "BTreeEngine",
  () => {
    const world = new SimEnv({ seed: 1 });
    const options = { fileId: new Uint8Array([1]), slabSizeBytes: 64 * 1024 };
    return runIoNow(world, BTreeEngine.open(world.boot().files, "data.hdb", options)).engine;
  },
  15,
);

const ignore = (): void => {};

function stage(settings = HISTORY_ON, recentBytes?: number): Stage {
  return new Stage(new MemoryEngine(), settings, recentBytes);
}

/** "key=value" and "-key", one list for a batch. */
function short(news: WatchNews | null): unknown {
  if (news?.kind !== "events") return news;
  return news.events.map(({ type, kv }) =>
    type === "put" ? `${text(kv.key)}=${text(kv.value)}` : `-${text(kv.key)}`,
  );
}

const take = (watch: Watch, maxBytes = 1e6): unknown => short(watch.take(maxBytes));

describe("WatchHub", () => {
  it("tells once, in a turn of its own, until somebody takes", () => {
    const on = stage();
    let told = 0;
    const watch = on.hub.open(watchRequest("a"), () => told++);
    on.write(put("a", "1"));
    expect([told, watch.isSynced]).toEqual([0, false]);
    on.turn();
    on.write(put("a", "2"));
    on.turn();
    expect(told).toBe(1);
    expect(take(watch)).toEqual(["a=1", "a=2"]);
    expect([watch.take(1), watch.isSynced, watch.revision]).toEqual([null, true, 3]);
    on.write(put("b", "1"));
    on.turn();
    expect([told, watch.revision]).toEqual([1, 4]);
    on.write(put("a", "3"));
    on.turn();
    expect(told).toBe(2);
  });

  it("shows nothing of an entry before all of it is applied, and then each of its revisions", () => {
    const on = stage();
    const { machine } = on;
    const listen = machine.listen.bind(machine);
    const seen: unknown[] = [];
    // Somebody takes in the middle of each entry, as a program could that is called from there.
    machine.listen = (listener, onApplied) =>
      listen(
        listener === null
          ? null
          : {
              put: (...change) => {
                listener.put(...change);
                seen.push(take(watch));
              },
              deleted: (...change) => {
                listener.deleted(...change);
                seen.push(take(watch));
              },
            },
        onApplied,
      );
    let told = false;
    const watch: Watch = on.hub.open(watchRequest("\0", "\0"), () => {
      told = true;
    });
    on.write(put("x", "0"));
    on.turn();
    told = false;
    on.write(put("y", "1"), del("x"));
    expect(seen).toEqual([null, ["x=0"], null]);
    on.turn();
    expect(told).toBe(true);
    expect([take(watch), watch.revision]).toEqual([["y=1", "-x"], 4]);
  });

  it("never splits a revision, however little is asked for", () => {
    const on = stage();
    const watch = on.hub.open(watchRequest("\0", "\0"), ignore);
    for (const key of ["a", "b", "c"]) on.write(put(key, "1"));
    on.write(del("a", "c"));
    on.write(put("z", "1"));
    const batches: unknown[] = [];
    const revisions: number[] = [];
    for (let news = watch.take(1); news !== null; news = watch.take(1)) {
      batches.push(short(news));
      revisions.push(watch.revision);
    }
    expect(batches).toEqual([["a=1"], ["b=1"], ["c=1"], ["-a", "-b"], ["z=1"]]);
    expect(revisions).toEqual([2, 3, 4, 5, 6]);
  });

  it("gives the changes of a transaction in the order of its operations, also from the trees", () => {
    const on = stage();
    const txn = { kind: "txn", compare: [], failure: [] } as const;
    const watch = on.hub.open(watchRequest("\0", "\0"), ignore);
    on.write({ ...txn, success: [put("z", "1"), put("a", "1"), put("m", "1")] as never });
    expect(take(watch)).toEqual(["z=1", "a=1", "m=1"]);
    watch.cancel();
    const late = on.hub.open(watchRequest("\0", "\0", 1), ignore);
    expect(take(late)).toEqual(["z=1", "a=1", "m=1"]);
  });

  it("looks at old changes a slice at a time and comes back for the next", () => {
    const on = stage();
    for (let i = 0; i < 25; i++)
      on.write(...Array.from({ length: 100 }, (_, j) => put(`k${j}`, `${i}`)), put("rare", `${i}`));
    let told = 0;
    const watch = on.hub.open(watchRequest("none", "", 1), () => told++);
    const found = on.hub.open(watchRequest("rare", "", 1), ignore);
    for (let turns = 0; !on.isQuiet; turns++) {
      expect(turns).toBeLessThan(10);
      on.turn();
      expect(watch.take(1e6)).toBeNull();
    }
    expect([told, watch.isSynced]).toEqual([3, true]);
    const sizes: number[] = [];
    for (let news = found.take(1e6); news !== null; news = found.take(1e6))
      if (news.kind === "events") sizes.push(news.events.length);
    expect(sizes.reduce((a, b) => a + b)).toBe(25);
    expect(sizes.length).toBeGreaterThan(2);
  });

  it("reads a revision whole from the trees, however many changes it has", () => {
    const on = stage();
    const items = Array.from({ length: 1500 }, (_, i) => ({ key: utf8(`k${i}`), value: utf8("") }));
    on.write(put("a", "1"));
    on.write({
      kind: "mset",
      items,
      condition: "none",
      lease: 0n,
      expiry: { kind: "none" },
    });
    on.write(put("b", "1"));
    const watch = on.hub.open(watchRequest("\0", "\0", 1), ignore);
    const sizes: number[] = [];
    for (let news = watch.take(1e6); news !== null; news = watch.take(1e6))
      if (news.kind === "events") sizes.push(news.events.length);
    expect(sizes).toEqual([1501, 1]);
  });

  it("ends a watcher below the compact revision and says from where on there is everything", () => {
    const on = stage();
    // Somebody for whom all of it is remembered.
    on.hub.open(watchRequest("z"), ignore);
    for (let i = 0; i < 5; i++) on.write(put("a", `${i}`));
    on.write({ kind: "compact", revision: 4, physical: false });
    let told = 0;
    const gone = on.hub.open(watchRequest("a", "", 3), () => told++);
    const at = on.hub.open(watchRequest("a", "", 4, { prevKv: true }), ignore);
    on.turn();
    expect(told).toBe(1);
    expect(gone.take(1)).toEqual({ kind: "compacted", compactRevision: 4 });
    expect([gone.take(1), on.hub.count]).toEqual([null, 2]);
    const news = at.take(1e6);
    expect(short(news)).toEqual(["a=2", "a=3", "a=4"]);
    // The version before the compact revision is not readable, whether it is still in the trees or not.
    expect(news?.kind === "events" && news.events.map(({ prevKv }) => prevKv?.modRevision)).toEqual(
      [undefined, 4, 5],
    );
  });

  it("does not end one that was up to date when the compaction came", () => {
    const on = stage();
    const watch = on.hub.open(watchRequest("a"), ignore);
    on.write(put("a", "1"), put("a", "2"), {
      kind: "compact",
      revision: 3,
      physical: false,
    });
    on.turn();
    expect(take(watch)).toEqual(["a=1", "a=2"]);
  });

  it("without history, remembers as far as the recent changes go, and says so", () => {
    const on = stage(HISTORY_OFF, 3000);
    on.write(put("a", "0"));
    const first = on.hub.open(watchRequest("z"), ignore);
    for (let i = 1; i <= 4; i++) on.write(put("a", `${i}`));
    const early = on.hub.open(watchRequest("a", "", 2), ignore);
    const late = on.hub.open(watchRequest("a", "", 4, { prevKv: true }), ignore);
    on.turn();
    expect(early.take(1)).toEqual({ kind: "compacted", compactRevision: 3 });
    expect(take(late)).toEqual(["a=2", "a=3", "a=4"]);
    const slow = on.hub.open(watchRequest("a"), ignore);
    for (let i = 0; i < 50; i++) {
      on.write(put("a", "x"));
      on.turn();
    }
    const end = slow.take(1e6);
    expect(end?.kind).toBe("compacted");
    expect(end?.kind === "compacted" && end.compactRevision).toBeGreaterThan(40);
    expect(first.isSynced).toBe(true);
  });

  it("tells why a key went", () => {
    const on = stage();
    const watch = on.hub.open(watchRequest("\0", "\0"), ignore);
    on.write(
      { kind: "leaseGrant", ttlSeconds: 5n, id: 7n },
      { ...put("l", ""), lease: 7n } as never,
      put("c", ""),
    );
    on.write({ kind: "leaseRevoke", id: 7n }, del("c"));
    const causes = (w: Watch): unknown => {
      const news = w.take(1e6);
      return news?.kind === "events" && news.events.map(({ cause }) => cause);
    };
    expect(causes(watch)).toEqual([null, null, "lease", "client"]);
    expect(causes(on.hub.open(watchRequest("\0", "\0", 1), ignore))).toEqual([
      null,
      null,
      "lease",
      "client",
    ]);
  });

  it("refuses keys that no key can be as long as", () => {
    const on = stage();
    const long = on.hub.open(watchRequest("k".repeat(5000)), ignore);
    const news = long.take(1);
    expect(news?.kind === "failed" && news.error.code).toBe("KEY_TOO_LARGE");
  });

  it("a watcher that throws when it is told harms nobody", () => {
    const on = stage();
    on.hub.open(watchRequest("a"), () => {
      throw new Error("not my day");
    });
    let told = 0;
    on.hub.open(watchRequest("a"), () => told++);
    on.write(put("a", "1"));
    on.turn();
    expect([told, on.errors.length, on.machine.revision]).toEqual([1, 1, 2]);
  });

  it("a defect of its own ends the watchers, and the entry is applied", () => {
    const on = stage();
    const watch = on.hub.open(watchRequest("a"), ignore);
    const { machine } = on;
    // A revision that goes back is what cannot be.
    Object.defineProperty(machine, "revision", { get: () => 0, configurable: true });
    on.write(put("a", "1"));
    delete (machine as { revision?: number }).revision;
    on.turn();
    expect(watch.take(1)).toMatchObject({ kind: "failed" });
    expect([machine.revision, machine.keyCount, on.errors.length]).toEqual([2, 1, 1]);
    on.write(put("a", "2"));
    expect(machine.revision).toBe(3);
    const again = on.hub.open(watchRequest("a"), ignore);
    expect(again.take(1)).toMatchObject({ kind: "failed" });
  });

  it("ends everybody when it is closed, once", () => {
    const on = stage();
    let told = 0;
    const watch = on.hub.open(watchRequest("a"), () => told++);
    on.hub.close(new HarmonyError("CLOSED"));
    on.hub.close(new HarmonyError("STOPPED"));
    on.turn();
    const late = on.hub.open(watchRequest("a"), () => told++);
    on.turn();
    for (const ended of [watch, late]) {
      const news = ended.take(1);
      expect(news?.kind === "failed" && news.error.code).toBe("CLOSED");
      expect(ended.take(1)).toBeNull();
    }
    expect([told, on.hub.count]).toEqual([2, 0]);
  });

  it("ten thousand idle watchers, and a thousand of one key, are told by what concerns them", () => {
    const on = stage();
    let told = 0;
    const count = (): void => {
      told++;
    };
    for (let i = 0; i < 5000; i++) {
      on.hub.open(watchRequest(`single/${i}`), count);
      on.hub.open(watchRequest(`range/${i}/`, `range/${i}0`), count);
    }
    const watches = Array.from({ length: 1000 }, () => on.hub.open(watchRequest("one"), count));
    on.write(put("other", ""), put("single/77", ""), put("range/5/x", ""), put("one", "1"));
    on.write(put("one", "2"));
    on.turn();
    expect(told).toBe(1002);
    const batches = watches.map((watch) => watch.take(1e6));
    expect(batches.map(short)).toEqual(Array(1000).fill(["one=1", "one=2"]));
    // They share what they are given.
    const event = (i: number): unknown => {
      const news = batches[i];
      return news?.kind === "events" ? news.events[0] : null;
    };
    expect(event(1)).toBe(event(999));
    for (const watch of watches) watch.cancel();
    expect(on.hub.count).toBe(10_000);
  });
});
