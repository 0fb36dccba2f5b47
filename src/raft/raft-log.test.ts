import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Entry, EntryType, MemoryStorage } from "./index.ts";
import { RaftLog } from "./raft-log.ts";
import { simpleConf } from "./testing/test-node.ts";

function entriesOf(terms: readonly number[], first = 1): Entry[] {
  return terms.map((term, i) => ({
    index: first + i,
    term,
    type: EntryType.normal,
    data: new Uint8Array(4),
  }));
}

/** A log whose first `stable` entries are durable and whose others are not. */
function logOf(terms: readonly number[], stable: number, commit = 0, applied = 0): RaftLog {
  const storage = new MemoryStorage();
  storage.append(entriesOf(terms.slice(0, stable)));
  const log = new RaftLog(storage, commit, applied);
  const rest = entriesOf(terms.slice(stable), stable + 1);
  if (rest.length > 0) log.append(stable, terms[stable - 1] ?? 0, rest);
  return log;
}

const risingTerms = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 12 }).map((steps) =>
  steps.map(
    (
      (term) => (step: number) =>
        (term += step)
    )(1),
  ),
);

describe("RaftLog", () => {
  it("finds the last place up to an index and a term as a walk back does", () => {
    fc.assert(
      fc.property(
        risingTerms,
        fc.nat(12),
        fc.nat(14),
        fc.integer({ min: 1, max: 26 }),
        (terms, stable, index, term) => {
          const log = logOf(terms, Math.min(stable, terms.length));
          let at = Math.min(index, terms.length);
          while (at > 0 && (terms[at - 1] as number) > term) at--;
          expect(log.lastPlaceUpTo(index, term)).toEqual({ index: at, term: terms[at - 1] ?? 0 });
        },
      ),
    );
  });

  it("finds no place within what is compacted", () => {
    const storage = new MemoryStorage();
    storage.append(entriesOf([1, 1, 4, 4]));
    storage.compact(3);
    const log = new RaftLog(storage, 3, 3);
    expect(log.lastPlaceUpTo(4, 4)).toEqual({ index: 4, term: 4 });
    expect(log.lastPlaceUpTo(3, 4)).toEqual({ index: 3, term: 4 });
    expect(log.lastPlaceUpTo(4, 2)).toEqual({ index: 2, term: 0 });
    expect(log.lastPlaceUpTo(1, 9)).toEqual({ index: 1, term: 0 });
  });

  it("slices across the durable and the unstable part, by bytes, one at least", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10 }),
        fc.nat(10),
        fc.nat(9),
        fc.integer({ min: 1, max: 10 }),
        fc.nat(44),
        (length, stable, start, count, maxBytes) => {
          const terms = Array.from({ length }, () => 1);
          const log = logOf(terms, Math.min(stable, length));
          const low = 1 + (start % length);
          const high = Math.min(low + count, length + 1);
          const slice = log.slice(low, high, maxBytes);
          const fits = Math.max(1, Math.min(high - low, Math.floor(maxBytes / 4)));
          expect(slice.map((entry) => entry.index)).toEqual(
            Array.from({ length: fits }, (_, i) => low + i),
          );
        },
      ),
    );
  });

  it("judges how up to date a log is by its last term, then by its length", () => {
    const log = logOf([1, 2, 2], 3);
    expect(log.isUpToDate(1, 3)).toBe(true);
    expect(log.isUpToDate(3, 2)).toBe(true);
    expect(log.isUpToDate(2, 2)).toBe(false);
    expect(log.isUpToDate(9, 1)).toBe(false);
  });

  it("keeps entries that agree and replaces from the first that does not", () => {
    const log = logOf([1, 1, 2, 2], 4, 2);
    expect(log.append(1, 1, entriesOf([1, 2], 2))).toBe("appended");
    expect(log.lastIndex).toBe(4);
    expect(log.stableIndex).toBe(4);
    expect(log.append(2, 1, entriesOf([2, 3], 3))).toBe("appended");
    expect([log.lastIndex, log.lastTerm, log.stableIndex]).toEqual([4, 3, 3]);
    expect(log.append(6, 3, entriesOf([3], 7))).toBe("mismatch");
    expect(log.append(0, 0, entriesOf([1, 4], 1))).toBe("conflicts-with-committed");
    expect(log.term(2)).toBe(1);
  });

  it("refuses a start state that contradicts itself, as corruption", () => {
    const storage = new MemoryStorage();
    storage.append(entriesOf([1, 1, 1]));
    expect(() => new RaftLog(storage, 4, 0)).toThrow(
      expect.objectContaining({ code: "CORRUPT" }) as Error,
    );
    expect(() => new RaftLog(storage, 0, 4)).toThrow("committed up to 4");
    storage.compact(2);
    expect(() => new RaftLog(storage, 2, 1)).toThrow("only 1 is applied");
  });

  it("counts as committed what is applied or compacted, whatever the HardState still says", () => {
    const storage = new MemoryStorage();
    storage.append(entriesOf([1, 1, 1]));
    expect(new RaftLog(storage, 1, 2).commit).toBe(2);
    storage.compact(2);
    expect(new RaftLog(storage, 0, 3).commit).toBe(3);
  });

  it("begins anew after a snapshot, and applies nothing after it before it is durable", () => {
    const storage = new MemoryStorage();
    storage.append(entriesOf([1, 1, 1]));
    const log = new RaftLog(storage, 2, 1);
    const snapshot = { index: 6, term: 2, confState: simpleConf([1]) };
    log.restore(snapshot);
    expect([log.firstIndex, log.lastIndex, log.lastTerm, log.commit]).toEqual([7, 6, 2, 6]);
    expect([5, 6, 7].map((index) => log.term(index))).toEqual(["compacted", 2, "unavailable"]);
    expect(log.append(6, 2, entriesOf([2, 3], 7))).toBe("appended");
    log.commitTo(7);
    expect(log.hasCommitted).toBe(false);
    expect(() => log.appliedTo(6)).toThrow("durable before it is applied");
    expect(log.takeSnapshot(1)).toBe(snapshot);
    expect(log.takeSnapshot(1)).toBeUndefined();
    storage.restore(snapshot);
    storage.append(log.takeUnhanded(1));
    log.persisted(1);
    expect(log.takeCommitted(1e9).map((e) => e.index)).toEqual([7]);
    log.appliedTo(6);
    log.appliedTo(7);
    log.invariants();
    expect(() => log.restore(snapshot)).toThrow("takes nothing back");
  });

  it("a newer snapshot takes the place of one that no disk has seen", () => {
    const storage = new MemoryStorage();
    const log = new RaftLog(storage, 0, 0);
    log.restore({ index: 4, term: 2, confState: simpleConf([1]) });
    log.takeSnapshot(1);
    log.append(4, 2, entriesOf([2], 5));
    log.takeUnhanded(1);
    const newer = { index: 9, term: 3, confState: simpleConf([1]) };
    log.restore(newer);
    log.persisted(1);
    expect(log.hasPendingSnapshot).toBe(true);
    expect([log.firstIndex, log.lastIndex, log.stableIndex]).toEqual([10, 9, 9]);
    expect(log.takeSnapshot(2)).toBe(newer);
    storage.restore(newer);
    log.persisted(2);
    expect(log.hasPendingSnapshot).toBe(false);
    log.invariants();
  });

  it("knows the changes of the configuration that are committed and not applied", () => {
    const storage = new MemoryStorage();
    const change = (index: number): Entry => ({
      ...(entriesOf([1], index)[0] as Entry),
      type: EntryType.confChange,
    });
    storage.append([...entriesOf([1]), change(2), ...entriesOf([1], 3), change(4)]);
    expect(new RaftLog(storage, 1, 1).commit).toBe(2);
    expect(new RaftLog(storage, 3, 1).commit).toBe(3);
    const log = new RaftLog(storage, 2, 1);
    expect(log.hasUnappliedConfChange()).toBe(true);
    log.takeCommitted(1e9);
    log.appliedTo(2);
    expect(log.hasUnappliedConfChange()).toBe(false);
    log.commitTo(4);
    expect(log.hasUnappliedConfChange()).toBe(true);
  });

  it("finds the changes of the configuration without reading the log", () => {
    const storage = new MemoryStorage();
    storage.append(entriesOf([1, 1, 1]));
    storage.append([{ ...(entriesOf([1], 4)[0] as Entry), type: EntryType.confChange }]);
    storage.entries = () => expect.unreachable("a start does not read what it will read again");
    const log = new RaftLog(storage, 2, 0);
    expect(log.hasUnappliedConfChange()).toBe(false);
    log.append(4, 1, [{ ...(entriesOf([1], 5)[0] as Entry), type: EntryType.confChange }]);
    expect(log.hasUnappliedConfChange()).toBe(false);
    log.commitTo(5);
    expect(log.hasUnappliedConfChange()).toBe(true);
  });

  it("hands out for applying only what is committed and durable, each once", () => {
    const storage = new MemoryStorage();
    storage.append(entriesOf([1, 1]));
    const log = new RaftLog(storage, 0, 0);
    log.append(2, 1, entriesOf([1, 1], 3));
    log.commitTo(4);
    expect(log.takeCommitted(1e9).map((e) => e.index)).toEqual([1, 2]);
    expect(log.hasCommitted).toBe(false);
    expect(() => log.appliedTo(3)).toThrow("handed out");
    storage.append(log.takeUnhanded(1));
    log.persisted(1);
    expect(log.takeCommitted(4).map((e) => e.index)).toEqual([3]);
    expect(log.takeCommitted(4).map((e) => e.index)).toEqual([4]);
    log.appliedTo(4);
    expect(() => log.appliedTo(3)).toThrow("stays applied");
    expect(() => log.commitTo(5)).toThrow("in the log");
  });
});
