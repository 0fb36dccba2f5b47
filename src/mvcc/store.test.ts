import { beforeEach, describe, expect, it } from "vitest";
import { setVerifying, utf8 } from "../base/index.ts";
import { type Cursor, type Engine, MemoryEngine, type Tree, type TreeId } from "../btree/index.ts";
import {
  describeStore,
  describeVersion,
  LATEST,
  leaseIdBytes,
  printable,
  RecordView,
  Store,
} from "./index.ts";
import { Trees } from "./trees.ts";

const SETTINGS = { retentionMs: 300_000, retentionRevisions: 10_000 };

beforeEach(() => setVerifying(true));

function put(store: Store, ...keys: readonly string[]): void {
  store.begin();
  for (const key of keys) store.put(utf8(key), utf8(`value of ${key}`), null);
  store.commit();
}

function keysAt(store: Store, revision: number, from = "\0", to?: string): string[] {
  const keys: string[] = [];
  store.view.scan(
    utf8(from),
    to === undefined ? undefined : utf8(to),
    revision,
    (key) => keys.push(printable(key)) > 0,
  );
  return keys;
}

describe("Store", () => {
  it("tells a listener of every change in order, with what was there before, whether history is kept or not", () => {
    for (const settings of [SETTINGS, { retentionMs: 0, retentionRevisions: 0 }]) {
      const store = new Store(new MemoryEngine(), null, settings);
      const heard: string[] = [];
      const show = (bytes: Uint8Array | undefined): string => {
        if (bytes === undefined) return "nothing";
        const record = new RecordView().read(bytes);
        return `${printable(record.value)} of ${record.modRevision}`;
      };
      put(store, "a");
      store.listen({
        put: (revision, sub, key, record, old) =>
          heard.push(`${revision}.${sub} ${printable(key)}: ${show(record)} after ${show(old)}`),
        deleted: (revision, sub, key, cause, old) =>
          heard.push(`${revision}.${sub} ${printable(key)} ${cause} after ${show(old)}`),
      });
      put(store, "b", "a");
      store.begin();
      store.delete(utf8("a"));
      store.delete(utf8("b"), "expired");
      store.delete(utf8("c"));
      store.commit();
      store.listen(null);
      put(store, "d");
      expect(heard).toEqual([
        "3.0 b: value\\x20of\\x20b of 3 after nothing",
        "3.1 a: value\\x20of\\x20a of 3 after value\\x20of\\x20a of 2",
        "4.0 a client after value\\x20of\\x20a of 3",
        "4.1 b expired after value\\x20of\\x20b of 3",
      ]);
    }
  });

  it("has one transaction at a time, and changes only within it", () => {
    const store = new Store(new MemoryEngine(), null, SETTINGS);
    expect(() => store.put(utf8("a"), utf8(""), null)).toThrow("part of a transaction");
    expect(() => store.delete(utf8("a"))).toThrow("part of a transaction");
    expect(() => store.commit()).toThrow("is open");
    store.begin();
    expect(() => store.begin()).toThrow("one transaction");
    expect(() => store.compact(1)).toThrow("not part of a transaction");
    expect(() => store.payload()).toThrow("not part of a transaction");
    expect(() => store.put(utf8("a"), utf8(""), leaseIdBytes(5n))).toThrow("lease that exists");
  });

  it("refuses keys that are empty or too long, and a clock that goes back", () => {
    const store = new Store(new MemoryEngine(), null, SETTINGS);
    store.begin();
    expect(() => store.put(new Uint8Array(0), utf8(""), null)).toThrow("1 to KEY_LENGTH_MAX");
    expect(() => store.put(new Uint8Array(4097), utf8(""), null)).toThrow("1 to KEY_LENGTH_MAX");
    store.commit();
    store.beginEntry(1, 50, true);
    expect(() => store.beginEntry(1, 49, true)).toThrow("does not go back");
  });

  it("is what its trees and its payload say, and refuses them apart", () => {
    const engine = new MemoryEngine();
    const store = new Store(engine, null, SETTINGS);
    store.beginEntry(3, 12_345, true);
    store.grantLease(leaseIdBytes(1n), 10);
    put(store, "a", "b");
    put(store, "a");
    store.compact(2);
    const again = new Store(engine, store.payload(), { retentionMs: 1, retentionRevisions: 1 });
    expect(describeStore(engine, again)).toEqual(describeStore(engine, store));
    expect([again.stateHash, again.settings]).toEqual([store.stateHash, SETTINGS]);
    expect(() => new Store(engine, null, SETTINGS)).toThrow("has a payload");
    const cut = store.payload().subarray(0, 5);
    expect(() => new Store(engine, cut, SETTINGS)).toThrow("fits its format");
  });

  it("finds a broken attachment, a lost old version and one that nothing speaks of", () => {
    for (const breakIt of [
      (engine: Engine): void =>
        void engine
          .tree(Trees.leaseKeys)
          .put(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 1, 120]), new Uint8Array(0)),
      (engine: Engine): void => {
        const history = engine.tree(Trees.history).cursor();
        history.first();
        engine.tree(Trees.history).delete(history.key.slice());
      },
      (engine: Engine): void => {
        const events = engine.tree(Trees.events).cursor();
        events.last();
        engine.tree(Trees.events).delete(events.key.slice());
      },
    ]) {
      const engine = new MemoryEngine();
      const store = new Store(engine, null, SETTINGS);
      put(store, "a");
      put(store, "a");
      store.invariants();
      breakIt(engine);
      expect(() => store.invariants()).toThrow();
    }
  });

  it("deletes a range in order and shows each key before it goes", () => {
    const engine = new MemoryEngine();
    const store = new Store(engine, null, SETTINGS);
    put(store, "a", "b", "c", "d");
    const seen: string[] = [];
    store.begin();
    const deleted = store.deleteRange(utf8("b"), utf8("d"), (key, record) =>
      seen.push(`${printable(key)} v${record.version}`),
    );
    store.commit();
    expect([deleted, ...seen]).toEqual([2, "b v1", "c v1"]);
    expect(keysAt(store, LATEST)).toEqual(["a", "d"]);
    expect(keysAt(store, 2)).toEqual(["a", "b", "c", "d"]);
    expect(keysAt(store, 2, "b", "d")).toEqual(["b", "c"]);
  });

  it("removes nothing in a second slice over the same events, and looks again when the target moves", () => {
    const engine = new MemoryEngine();
    const store = new Store(engine, null, SETTINGS);
    put(store, "a", "b", "c");
    put(store, "a", "b", "c");
    put(store, "a");
    store.compact(3);
    expect(store.compactSlice(4)).toBe(true);
    store.compact(4);
    while (store.compactSlice(2));
    expect([engine.tree(Trees.history).count, engine.tree(Trees.events).count]).toEqual([0, 1]);
    expect(store.compactSlice(5)).toBe(false);
    expect(keysAt(store, 4)).toEqual(["a", "b", "c"]);
  });
});

describe("describeVersion", () => {
  it("is one line, whatever the bytes are", () => {
    const version = {
      key: utf8("a b\n"),
      revision: 3,
      sub: 1,
      isDelete: false,
      createRevision: 2,
      version: 2,
      lease: -7n,
    } as const;
    expect(describeVersion({ ...version, value: utf8("é\\") })).toBe(
      'a\\x20b\\x0a @3.1 create=2 version=2 lease=-7 "\\xc3\\xa9\\x5c"',
    );
    expect(describeVersion({ ...version, value: new Uint8Array(65) })).toMatch(
      / 65 bytes, crc32c \d+$/,
    );
    expect(describeVersion({ key: utf8("a"), revision: 3, sub: 0, isDelete: true })).toBe(
      "a @3.0 deleted",
    );
  });
});

/** Counts the steps of cursors and the lookups, so that the cost of a call can be told without a clock. */
class CountingEngine extends MemoryEngine {
  steps = 0;
  lookups = 0;
  readonly #counted = new Map<TreeId, Tree>();

  override tree(id: TreeId): Tree {
    let counted = this.#counted.get(id);
    if (counted === undefined) {
      counted = this.#count(super.tree(id));
      this.#counted.set(id, counted);
    }
    return counted;
  }

  take(): { steps: number; lookups: number } {
    const { steps, lookups } = this;
    this.steps = 0;
    this.lookups = 0;
    return { steps, lookups };
  }

  #count<T extends Tree | Cursor>(target: T): T {
    return new Proxy(target, {
      get: (_target, name): unknown => {
        if (name === "next" || name === "previous") this.steps++;
        if (name === "get" || name === "seek" || name === "seekBefore" || name === "countRange")
          this.lookups++;
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        if (name === "cursor") return (): Cursor => this.#count((target as Tree).cursor());
        return (value as (...args: readonly unknown[]) => unknown).bind(target);
      },
    });
  }
}

describe("the cost of", () => {
  const KEYS = 500;
  let engine: CountingEngine;
  let store: Store;

  beforeEach(() => {
    setVerifying(false);
    engine = new CountingEngine();
    store = new Store(engine, null, SETTINGS);
    for (let i = 0; i < KEYS; i++) put(store, `k${String(i).padStart(4, "0")}`);
    for (let i = 0; i < 1_000; i++) put(store, "hot");
    engine.take();
  });

  it("one key is one lookup, and one more where it stands in history", () => {
    store.view.find(utf8("k0100"), LATEST);
    expect(engine.take()).toEqual({ steps: 0, lookups: 1 });
    store.view.find(utf8("hot"), 700);
    expect(engine.take()).toEqual({ steps: 0, lookups: 2 });
  });

  it("some keys of many is those keys", () => {
    let left = 10;
    store.view.scan(utf8("k"), undefined, LATEST, () => --left > 0);
    expect(engine.take()).toEqual({ steps: 9, lookups: 1 });
    left = 10;
    store.view.scanBackwards(utf8("\0"), undefined, () => --left > 0);
    expect(engine.take()).toEqual({ steps: 9, lookups: 0 });
  });

  it("a count is a lookup, and at an old revision what happened since or what the range has", () => {
    expect(store.view.count(utf8("\0"), undefined, LATEST)).toBe(KEYS + 1);
    expect(engine.take()).toEqual({ steps: 0, lookups: 1 });
    expect(store.view.count(utf8("\0"), undefined, store.revision - 5)).toBe(KEYS + 1);
    expect(engine.take()).toEqual({ steps: 5, lookups: 3 });
    expect(store.view.count(utf8("h"), utf8("i"), store.revision - 900)).toBe(1);
    expect(engine.take().steps).toBeLessThan(3);
  });

  it("a key with a thousand versions in a range is that of one with two", () => {
    expect(keysAt(store, 700, "h", "i")).toEqual(["hot"]);
    const { steps, lookups } = engine.take();
    expect(steps + lookups).toBeLessThan(8);
  });

  it("a slice of compaction is bounded, whatever there is to remove", () => {
    store.compact(store.revision);
    expect(store.compactSlice(20)).toBe(true);
    const { steps, lookups } = engine.take();
    expect(steps + lookups).toBeLessThan(25);
    let slices = 1;
    while (store.compactSlice(100)) slices++;
    expect(slices).toBe(Math.ceil((KEYS + 1_000 - 20) / 100));
    expect(engine.tree(Trees.history).count).toBe(0);
  });
});
