/** What Raft relies on in a LogStorage. MemoryStorage and the WAL's group log pass the same suite. */
import { expect, it } from "vitest";
import {
  type ConfState,
  type Entry,
  EntryType,
  type LogIndex,
  type LogStorage,
  type SnapshotMeta,
  type Term,
} from "./index.ts";

/** A storage under test and the two ways in which it changes. Both may need a disk, so both may be awaited. */
export interface LogStorageHarness {
  readonly storage: LogStorage;
  /** Makes entries durable and visible; the first discards everything at and after its index. */
  append(entries: readonly Entry[]): void | Promise<void>;
  /**
   * Lets everything up to `index` go. A storage that frees whole files may keep more: then firstIndex() stays lower.
   */
  compact(index: LogIndex): void | Promise<void>;
  /** A leader's snapshot takes the place of the whole log, durably. */
  restore(snapshot: SnapshotMeta): void | Promise<void>;
  close?(): void | Promise<void>;
}

const CONF_STATE: ConfState = {
  voters: [1, 2],
  votersOutgoing: [],
  learners: [3],
  learnersNext: [],
  autoLeave: false,
};

/** `create` gives an empty log each time. */
export function logStorageSuite(
  create: () => LogStorageHarness | Promise<LogStorageHarness>,
): void {
  const scenario = (name: string, body: (h: LogStorageHarness) => void | Promise<void>): void => {
    it(name, async () => {
      const harness = await create();
      try {
        await body(harness);
      } finally {
        await harness.close?.();
      }
    });
  };

  scenario("is empty at first: index 0 has term 0 and nothing else is there", ({ storage }) => {
    expect(storage.firstIndex()).toBe(1);
    expect(storage.lastIndex()).toBe(0);
    expect(storage.term(0)).toBe(0);
    expect(storage.term(1)).toBe("unavailable");
  });

  scenario("gives back what was appended, byte for byte", async (h) => {
    const entries = [
      entry(1, 1, "", EntryType.empty),
      entry(2, 1, "one"),
      entry(3, 4, "\u0000\u00ff, two", EntryType.confChange),
    ];
    await h.append(entries);
    expect(h.storage.lastIndex()).toBe(3);
    expect([0, 1, 2, 3, 4].map((index) => h.storage.term(index))).toEqual([
      0,
      1,
      1,
      4,
      "unavailable",
    ]);
    expect(plain(h.storage.entries(1, 4, 1e6))).toEqual(plain(entries));
    expect(plain(h.storage.entries(2, 3, 1e6))).toEqual(plain(entries.slice(1, 2)));
  });

  scenario("an append discards everything at and after its first index", async (h) => {
    await h.append(row(1, 6, 1));
    await h.append([entry(4, 2, "new")]);
    expect(h.storage.lastIndex()).toBe(4);
    expect(h.storage.term(4)).toBe(2);
    expect(h.storage.term(5)).toBe("unavailable");
    expect(plain(h.storage.entries(3, 5, 1e6))).toEqual(
      plain([entry(3, 1, "d3"), entry(4, 2, "new")]),
    );
    await h.append(row(5, 7, 2));
    expect(h.storage.lastIndex()).toBe(7);
    expect(h.storage.entries(1, 8, 1e6).map((e) => e.term)).toEqual([1, 1, 1, 2, 2, 2, 2]);
  });

  scenario("an entry may come back after another one stood in its place", async (h) => {
    await h.append([...row(1, 2, 1), entry(3, 1, "first")]);
    await h.append([entry(3, 2, "second"), entry(4, 2, "more")]);
    await h.append([entry(3, 1, "first")]);
    expect(h.storage.lastIndex()).toBe(3);
    expect(plain(h.storage.entries(3, 4, 1e6))).toEqual(plain([entry(3, 1, "first")]));
  });

  scenario("a slice ends before it exceeds its bytes but has one entry at least", async (h) => {
    await h.append([entry(1, 1, "aaaa"), entry(2, 1, "bbbb"), entry(3, 1, "cccc")]);
    const counts = [0, 3, 4, 7, 8, 11, 12, 13].map((max) => h.storage.entries(1, 4, max).length);
    expect(counts).toEqual([1, 1, 1, 1, 2, 2, 3, 3]);
  });

  scenario("knows where the configuration changes, as far as the log goes", async (h) => {
    const change = (index: LogIndex, term: Term): Entry =>
      entry(index, term, "c", EntryType.confChange);
    await h.append([...row(1, 2, 1), change(3, 1), ...row(4, 5, 1), change(6, 1), change(7, 1)]);
    expect(h.storage.confChanges(1, 8)).toEqual([3, 6, 7]);
    expect(h.storage.confChanges(3, 7)).toEqual([3, 6]);
    expect(h.storage.confChanges(4, 6)).toEqual([]);
    expect(h.storage.confChanges(8, 8)).toEqual([]);
    await h.append([change(7, 2), ...row(8, 9, 2)]);
    expect(h.storage.confChanges(1, 10)).toEqual([3, 6, 7]);
    await h.append(row(6, 9, 3));
    expect(h.storage.confChanges(1, 10)).toEqual([3]);
    await h.append([change(10, 3)]);
    await h.compact(6);
    const first = h.storage.firstIndex();
    expect(h.storage.confChanges(first, 11)).toEqual(first <= 3 ? [3, 10] : [10]);
    await h.restore({ index: 20, term: 4, confState: CONF_STATE });
    expect(h.storage.confChanges(21, 21)).toEqual([]);
    await h.append([change(21, 4)]);
    expect(h.storage.confChanges(21, 22)).toEqual([21]);
  });

  scenario("the whole log can be replaced", async (h) => {
    await h.append(row(1, 3, 1));
    await h.append(row(1, 2, 5));
    expect(h.storage.lastIndex()).toBe(2);
    expect(h.storage.entries(1, 3, 1e6).map((e) => e.term)).toEqual([5, 5]);
  });

  scenario(
    "compaction keeps the term of the last entry that is gone, and all after it",
    async (h) => {
      await h.append([...row(1, 4, 1), ...row(5, 8, 3)]);
      await h.compact(6);
      const first = h.storage.firstIndex();
      expect(first).toBeGreaterThanOrEqual(1);
      expect(first).toBeLessThanOrEqual(7);
      expect(h.storage.lastIndex()).toBe(8);
      if (first > 1) expect(h.storage.term(first - 2)).toBe("compacted");
      const terms = [0, 1, 1, 1, 1, 3, 3, 3, 3];
      for (let index = first - 1; index <= 8; index++)
        expect(h.storage.term(index)).toBe(terms[index]);
      expect(h.storage.term(9)).toBe("unavailable");
      expect(plain(h.storage.entries(7, 9, 1e6))).toEqual(plain(row(7, 8, 3)));
      await h.append(row(8, 10, 4));
      expect(h.storage.entries(7, 11, 1e6).map((e) => e.term)).toEqual([3, 4, 4, 4]);
    },
  );

  scenario("a log may be compacted to its end and go on", async (h) => {
    await h.append(row(1, 5, 2));
    await h.compact(5);
    expect(h.storage.lastIndex()).toBe(5);
    expect(h.storage.term(5)).toBe(2);
    await h.append(row(6, 7, 2));
    expect(h.storage.lastIndex()).toBe(7);
    expect(plain(h.storage.entries(6, 8, 1e6))).toEqual(plain(row(6, 7, 2)));
  });

  scenario("a snapshot takes the place of everything, and the log goes on after it", async (h) => {
    await h.append(row(1, 6, 1));
    await h.restore({ index: 9, term: 4, confState: CONF_STATE });
    expect([h.storage.firstIndex(), h.storage.lastIndex()]).toEqual([10, 9]);
    expect([8, 9, 10].map((index) => h.storage.term(index))).toEqual([
      "compacted",
      4,
      "unavailable",
    ]);
    await h.append(row(10, 12, 5));
    expect(plain(h.storage.entries(10, 13, 1e6))).toEqual(plain(row(10, 12, 5)));
    await h.append([entry(11, 6, "new")]);
    expect([h.storage.lastIndex(), h.storage.term(11)]).toEqual([11, 6]);
  });

  scenario("a slice does not change when the log does", async (h) => {
    await h.append(row(1, 3, 1));
    const before = h.storage.entries(1, 4, 1e6);
    const copy = plain(before);
    await h.append(row(2, 6, 2));
    expect(plain(before)).toEqual(copy);
  });
}

/** Entries of one term with data of their own: d1, d2, ... */
function row(from: LogIndex, to: LogIndex, term: Term): Entry[] {
  const out: Entry[] = [];
  for (let index = from; index <= to; index++) out.push(entry(index, term, `d${index}`));
  return out;
}

function entry(
  index: LogIndex,
  term: Term,
  data: string,
  type: EntryType = EntryType.normal,
): Entry {
  return { index, term, type, data: new TextEncoder().encode(data) };
}

/** Storages may return views or objects of their own kind: only the content counts. */
function plain(entries: readonly Entry[]): unknown[] {
  return entries.map(({ index, term, type, data }) => ({ index, term, type, data: [...data] }));
}
