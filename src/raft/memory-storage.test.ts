import { describe, expect, it } from "vitest";
import { type Entry, EntryType, MemoryStorage, type SnapshotMeta } from "./index.ts";
import { logStorageSuite } from "./log-storage.suite.ts";

describe("MemoryStorage", () => {
  logStorageSuite(() => {
    const storage = new MemoryStorage();
    return {
      storage,
      append: (entries: readonly Entry[]): void => storage.append(entries),
      compact: (index: number): void => storage.compact(index),
      restore: (snapshot: SnapshotMeta): void => storage.restore(snapshot),
    };
  });

  it("refuses a gap and a write into what is compacted", () => {
    const entry = (index: number): Entry => ({
      index,
      term: 9,
      type: EntryType.normal,
      data: new Uint8Array(1),
    });
    const storage = new MemoryStorage(4, 2);
    expect(storage.firstIndex()).toBe(5);
    expect(storage.term(4)).toBe(2);
    expect(() => storage.append([entry(6)])).toThrow("no gap");
    expect(() => storage.append([entry(4)])).toThrow("compacted");
    storage.append([entry(5)]);
    expect(storage.lastIndex()).toBe(5);
  });
});
