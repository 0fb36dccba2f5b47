import { beforeEach, describe, expect, it } from "vitest";
import { ByteWriter, setVerifying, utf8 } from "../base/index.ts";
import { MemoryEngine } from "../btree/index.ts";
import { EventView } from "./event.ts";
import { describeStore, leaseIdBytes, LATEST, Store, ValueKind } from "./index.ts";
import { Trees } from "./trees.ts";

const SETTINGS = { retentionMs: 300_000, retentionRevisions: 10_000 };
const LEASE = leaseIdBytes(7n);

beforeEach(() => setVerifying(true));

function put(store: Store, key: string, deadlineMs = 0, lease: Uint8Array | null = null): void {
  store.begin();
  store.put(utf8(key), utf8("v"), lease, deadlineMs);
  store.commit();
}

function keys(store: Store): string {
  let found = "";
  store.view.scan(utf8("\0"), undefined, LATEST, (key) => {
    found += new TextDecoder().decode(key);
    return true;
  });
  return found;
}

describe("what is due", () => {
  it("ends in the order of its deadlines, at most so many at a time, and not what was moved", () => {
    const store = new Store(new MemoryEngine(), null, SETTINGS);
    for (const [key, deadlineMs] of [
      ["a", 300],
      ["b", 100],
      ["c", 200],
      ["d", 100],
      ["e", 400],
    ] as const)
      put(store, key, deadlineMs);
    put(store, "b", 500);
    store.beginEntry(1, 1_000, true);
    expect(store.nextDeadlineMs).toBe(100);
    store.expire(99, 10);
    expect(keys(store)).toBe("abcde");
    store.expire(1e15, 2);
    expect(keys(store)).toBe("abe");
    store.expire(300, 10);
    expect(keys(store)).toBe("be");
    expect(store.revision).toBe(1 + 6 + 2);
    store.invariants();
  });

  it("never ends by a proposer's time that the entry has not reached", () => {
    const store = new Store(new MemoryEngine(), null, SETTINGS);
    put(store, "a", 300);
    store.beginEntry(1, 299, true);
    store.expire(1e15, 10);
    expect(keys(store)).toBe("a");
  });

  it("goes in one revision as long as keys follow each other, and tells watchers why it went", () => {
    const engine = new MemoryEngine();
    const store = new Store(engine, null, SETTINGS);
    store.grantLease(LEASE, 1);
    for (const [key, deadlineMs] of [
      ["a", 1],
      ["b", 2],
      ["d", 3_000],
    ] as const)
      put(store, key, deadlineMs);
    put(store, "c", 0, LEASE);
    put(store, "x");
    store.begin();
    store.delete(utf8("x"));
    store.commit();
    const before = store.revision;
    store.beginEntry(1, 9_000, true);
    store.expire(9_000, 100);
    // The change of term gave the lease its time again, so its row came too early, which parts no revision.
    expect([keys(store), store.revision]).toEqual(["c", before + 1]);
    store.beginEntry(1, 10_000, true);
    store.expire(10_000, 100);
    expect([keys(store), store.revision]).toEqual(["", before + 2]);
    const events = engine.tree(Trees.events).cursor();
    const view = new EventView();
    const causes: string[] = [];
    for (let isThere = events.first(); isThere; isThere = events.next()) {
      const { isDelete, cause, key } = view.read(events.value);
      if (isDelete) causes.push(`${new TextDecoder().decode(key)} ${cause}`);
    }
    expect(causes).toEqual(["x client", "a expired", "b expired", "d expired", "c lease"]);
    store.invariants();
  });

  it("is neither doubled nor lost by changes, deletions and ranges", () => {
    const store = new Store(new MemoryEngine(), null, SETTINGS);
    put(store, "a", 100);
    put(store, "a", 100);
    put(store, "a", 200);
    put(store, "b", 200);
    put(store, "c", 200);
    put(store, "c");
    store.begin();
    store.deleteRange(utf8("a"), utf8("b"));
    store.delete(utf8("b"));
    store.commit();
    expect(store.nextDeadlineMs).toBe(null);
    store.invariants();
  });
});

describe("a lock", () => {
  it("is counted, so that puts look for one only where there is one, also after a restart", () => {
    const engine = new MemoryEngine();
    const store = new Store(engine, null, SETTINGS);
    const hold = (key: string): void => {
      store.begin();
      store.put(utf8(key), utf8("t"), null, 100, ValueKind.lock);
      store.commit();
    };
    expect(store.isLocked(utf8("l"))).toBe(false);
    hold("l");
    hold("l");
    hold("m");
    expect(store.lockCount).toBe(2);
    const again = new Store(engine, store.payload(), SETTINGS);
    expect([again.lockCount, again.isLocked(utf8("l")), again.isLocked(utf8("x"))]).toEqual([
      2,
      true,
      false,
    ]);
    put(again, "l");
    again.beginEntry(1, 100, true);
    again.expire(100, 10);
    expect([again.lockCount, keys(again)]).toEqual([0, "l"]);
    again.invariants();
  });
});

describe("a database that was written before there were locks, deadlines of keys and a quota", () => {
  it("opens, and goes on with all of them", () => {
    const engine = new MemoryEngine();
    const settings = new ByteWriter();
    settings.u8(1);
    settings.varint(SETTINGS.retentionMs);
    settings.varint(SETTINGS.retentionRevisions);
    engine.tree(Trees.meta).put(utf8("settings"), settings.view());
    const old = new Store(engine, null, { retentionMs: 1, retentionRevisions: 1 });
    expect(old.settings).toEqual(SETTINGS);
    old.grantLease(LEASE, 10);
    put(old, "a", 0, LEASE);
    put(old, "b");
    const payload = old.payload();
    // A count of locks of 0 is the one byte that such a payload does not have.
    expect(payload[payload.length - 1]).toBe(0);
    const store = new Store(engine, payload.subarray(0, -1), SETTINGS);
    store.invariants();
    expect(describeStore(engine, store)).toEqual(describeStore(engine, old));
    expect([store.settings, store.lockCount]).toEqual([SETTINGS, 0]);
    put(store, "b", 500);
    expect(store.configure({ ...SETTINGS, quotaBytes: 0 })).toBe(true);
    store.sessions.open(1, 0);
    const again = new Store(engine, store.payload(), SETTINGS);
    again.invariants();
    expect(again.settings).toEqual({ ...SETTINGS, quotaBytes: 0 });
  });
});
