/** A log in memory, for tests, for groups without persistence, and as the oracle of the suite that the WAL passes. */
import { assert } from "../base/index.ts";
import {
  type Entry,
  EntryType,
  type LogIndex,
  type LogStorage,
  type SnapshotMeta,
  type Term,
} from "./types.ts";

/** Invariants: those of LogStorage. entries[i].index = firstIndex() + i. */
export class MemoryStorage implements LogStorage {
  #compactedIndex: LogIndex;
  #compactedTerm: Term;
  #entries: Entry[] = [];

  /** A log that begins after the entry (index, term), which is gone; (0, 0) for a new one. */
  constructor(compactedIndex: LogIndex = 0, compactedTerm: Term = 0) {
    this.#compactedIndex = compactedIndex;
    this.#compactedTerm = compactedTerm;
  }

  firstIndex(): LogIndex {
    return this.#compactedIndex + 1;
  }

  lastIndex(): LogIndex {
    return this.#compactedIndex + this.#entries.length;
  }

  term(index: LogIndex): Term | "compacted" | "unavailable" {
    if (index === this.#compactedIndex) return this.#compactedTerm;
    if (index < this.#compactedIndex) return "compacted";
    return this.#entries[index - this.#compactedIndex - 1]?.term ?? "unavailable";
  }

  entries(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[] {
    assert(low >= this.firstIndex() && low < high, "a slice begins within the log");
    assert(high <= this.lastIndex() + 1, "a slice ends within the log");
    const start = low - this.firstIndex();
    const end = high - this.firstIndex();
    let at = start;
    let bytes = 0;
    while (at < end) {
      bytes += (this.#entries[at] as Entry).data.length;
      if (bytes > maxBytes && at > start) break;
      at++;
    }
    return this.#entries.slice(start, at);
  }

  confChanges(low: LogIndex, high: LogIndex): readonly LogIndex[] {
    assert(low >= this.firstIndex() && low <= high, "a range begins within the log");
    assert(high <= this.lastIndex() + 1, "a range ends within the log");
    return this.#entries
      .slice(low - this.firstIndex(), high - this.firstIndex())
      .filter((entry) => entry.type === EntryType.confChange)
      .map((entry) => entry.index);
  }

  /** Discards everything at and after the index of the first entry, then appends. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index >= this.firstIndex(), "what is compacted is not written again");
    assert(first.index <= this.lastIndex() + 1, "new entries leave no gap");
    this.#entries.length = first.index - this.firstIndex();
    for (const entry of entries) {
      assert(entry.index === this.lastIndex() + 1, "entries stand in a row");
      this.#entries.push(entry);
    }
  }

  /** A snapshot that a leader sent takes the place of everything. */
  restore(snapshot: SnapshotMeta): void {
    this.#entries = [];
    this.#compactedIndex = snapshot.index;
    this.#compactedTerm = snapshot.term;
  }

  /** Forgets everything up to `index`, which the state machine holds durably. */
  compact(index: LogIndex): void {
    if (index <= this.#compactedIndex) return;
    const term = this.term(index);
    assert(typeof term === "number", "the log is compacted at an entry that it holds");
    this.#entries = this.#entries.slice(index - this.#compactedIndex);
    this.#compactedIndex = index;
    this.#compactedTerm = term;
  }
}
