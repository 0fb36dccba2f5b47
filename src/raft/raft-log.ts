/** A replica's whole log: the durable part that the storage holds, the unstable end, and how far both are decided. */
import { assert, HarmonyError, verify } from "../base/index.ts";
import type { Entry, EntryType, LogIndex, LogStorage, Term } from "./types.ts";
import { Unstable } from "./unstable.ts";

const NO_ENTRIES: readonly Entry[] = Object.freeze([]);

/** An entry named by its place. */
interface Place {
  readonly index: LogIndex;
  readonly term: Term;
}

/** What became of a leader's entries. */
export type AppendOutcome =
  /** The log holds the previous entry and now all of the new ones. */
  | "appended"
  /** The log does not hold the previous entry. */
  | "mismatch"
  /** A committed entry would be replaced: one of the two sides is broken. Nothing was changed. */
  | "conflicts-with-committed";

/**
 * Invariants:
 * - applied <= applying <= commit <= lastIndex, and applying < the first unstable index: what is handed out for
 *   applying is committed and durable here (the rule of fault-rules R5, R6).
 * - A committed entry is never replaced.
 * - Terms never fall with the index.
 */
export class RaftLog {
  readonly #storage: LogStorage;
  readonly #unstable: Unstable;
  #commit: LogIndex;
  #applying: LogIndex;
  #applied: LogIndex;

  constructor(storage: LogStorage, commit: LogIndex, applied: LogIndex) {
    const before = storage.firstIndex() - 1;
    const last = storage.lastIndex();
    // An applied entry was committed, and so was a compacted one, whatever the last synced HardState says of commit.
    const proven = Math.max(commit, applied, before);
    if (proven > last) {
      throw new HarmonyError("CORRUPT", `the log ends at ${last} but is committed up to ${proven}`);
    }
    if (applied < before) {
      throw new HarmonyError(
        "CORRUPT",
        `the log begins after ${before} but only ${applied} is applied`,
      );
    }
    this.#storage = storage;
    this.#unstable = new Unstable(last + 1);
    this.#commit = proven;
    this.#applying = applied;
    this.#applied = applied;
  }

  get commit(): LogIndex {
    return this.#commit;
  }

  get applied(): LogIndex {
    return this.#applied;
  }

  get firstIndex(): LogIndex {
    return this.#storage.firstIndex();
  }

  get lastIndex(): LogIndex {
    return this.#unstable.lastIndex;
  }

  /** The last entry that is durable here. */
  get stableIndex(): LogIndex {
    return this.#unstable.offset - 1;
  }

  get lastTerm(): Term {
    const term = this.term(this.lastIndex);
    assert(typeof term === "number", "the last entry's term is known");
    return term;
  }

  term(index: LogIndex): Term | "compacted" | "unavailable" {
    if (index > this.lastIndex) return "unavailable";
    return index >= this.#unstable.offset ? this.#unstable.term(index) : this.#storage.term(index);
  }

  /** Whether the log holds the entry of this index and term. Index 0 has term 0. */
  holds(index: LogIndex, term: Term): boolean {
    return this.term(index) === term;
  }

  /** Raft paper, section 5.4.1: the later last term wins; of one term, the longer log. */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    const own = this.lastTerm;
    return lastTerm > own || (lastTerm === own && lastIndex >= this.lastIndex);
  }

  /** A leader's own entry. */
  extend(term: Term, type: EntryType, data: Uint8Array): LogIndex {
    assert(term >= this.lastTerm, "terms never fall with the index");
    const index = this.lastIndex + 1;
    this.#unstable.push({ index, term, type, data });
    return index;
  }

  /** A leader's entries, which follow on (prevIndex, prevTerm) and on each other. Those that are there stay. */
  append(prevIndex: LogIndex, prevTerm: Term, entries: readonly Entry[]): AppendOutcome {
    if (!this.holds(prevIndex, prevTerm)) return "mismatch";
    let from = 0;
    while (from < entries.length) {
      const entry = entries[from] as Entry;
      if (!this.holds(entry.index, entry.term)) break;
      from++;
    }
    if (from === entries.length) return "appended";
    if ((entries[from] as Entry).index <= this.#commit) return "conflicts-with-committed";
    this.#unstable.replace(entries, from);
    return "appended";
  }

  /**
   * The last place at or before `index` whose term is at most `term`: the first candidate for where this log and one
   * that holds (index, term) agree. Terms never fall, so halving finds it. Term 0 says that it is compacted.
   */
  lastPlaceUpTo(index: LogIndex, term: Term): Place {
    let low = this.firstIndex - 1;
    let high = Math.min(index, this.lastIndex);
    if (high < low) return { index: high, term: 0 };
    // Invariant: the place sought lies in [low, high], or even low is of a later term.
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#knownTerm(middle) <= term) low = middle;
      else high = middle - 1;
    }
    const found = this.#knownTerm(low);
    return found <= term ? { index: low, term: found } : { index: Math.max(low - 1, 0), term: 0 };
  }

  /** Entries [low, high) within the log, as many as fit into `maxBytes` but at least one. */
  slice(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[] {
    if (low >= high) return NO_ENTRIES;
    const { offset } = this.#unstable;
    if (low >= offset) return this.#unstable.slice(low, high, maxBytes, 1);
    const boundary = Math.min(high, offset);
    const stable = this.#storage.entries(low, boundary, maxBytes);
    assert(
      stable.length > 0 && stable[0]?.index === low,
      "the storage gives what it was asked for",
    );
    if (high <= offset || stable.length < boundary - low) return stable;
    let bytes = 0;
    for (const entry of stable) bytes += entry.data.length;
    if (bytes >= maxBytes) return stable;
    return [...stable, ...this.#unstable.slice(offset, high, maxBytes - bytes, 0)];
  }

  get hasUnhanded(): boolean {
    return this.#unstable.hasUnhanded;
  }

  /** What no Ready has carried to the disk yet. */
  takeUnhanded(readyNumber: number): readonly Entry[] {
    return this.#unstable.hasUnhanded ? this.#unstable.take(readyNumber) : NO_ENTRIES;
  }

  persisted(readyNumber: number): void {
    this.#unstable.persisted(readyNumber);
  }

  /** Committed up to `index`, or further. */
  commitTo(index: LogIndex): void {
    if (index <= this.#commit) return;
    assert(index <= this.lastIndex, "only what is in the log is committed");
    this.#commit = index;
  }

  get hasCommitted(): boolean {
    return this.#applying < this.#applicable();
  }

  /** The next committed and durable entries, in order; each is given once. */
  takeCommitted(maxBytes: number): readonly Entry[] {
    const entries = this.slice(this.#applying + 1, this.#applicable() + 1, maxBytes);
    this.#applying += entries.length;
    return entries;
  }

  appliedTo(index: LogIndex): void {
    assert(index >= this.#applied, "what is applied stays applied");
    assert(index <= this.#applying, "only what was handed out is applied");
    this.#applied = index;
  }

  invariants(): void {
    this.#unstable.invariants();
    assert(this.#applied <= this.#applying, "applied <= applying");
    assert(this.#applying <= this.#commit, "applying <= commit");
    assert(this.#applying <= this.stableIndex, "applying <= the last durable entry");
    assert(this.#commit <= this.lastIndex, "commit <= last index");
    verify(() => {
      let previous = 0;
      for (let index = this.stableIndex; index <= this.lastIndex; index++) {
        const term = this.#knownTerm(index);
        assert(term >= previous, "terms never fall with the index");
        previous = term;
      }
    });
  }

  /** The last entry that may be applied: committed and durable. */
  #applicable(): LogIndex {
    return Math.min(this.#commit, this.stableIndex);
  }

  #knownTerm(index: LogIndex): Term {
    const term = this.term(index);
    assert(typeof term === "number", "a term within the log is known");
    return term;
  }
}
