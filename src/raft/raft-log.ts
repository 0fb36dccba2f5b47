/** A replica's whole log: the durable part that the storage holds, the unstable end, and how far both are decided. */
import { assert, HarmonyError, verify } from "../base/index.ts";
import {
  type Entry,
  EntryType,
  type LogIndex,
  type LogStorage,
  type SnapshotMeta,
  type Term,
} from "./types.ts";
import { Unstable } from "./unstable.ts";

const NO_ENTRIES: readonly Entry[] = Object.freeze([]);
const NO_INDEXES: readonly LogIndex[] = Object.freeze([]);

/** What entries carry, in bytes. */
export function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const { data } of entries) bytes += data.length;
  return bytes;
}

/** An entry named by its place. */
export interface Place {
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
 *   applying is committed and durable here (the rule of fault-rules R5, R6). A snapshot moves commit and applying to
 *   its index at once; nothing after it is stable before it is.
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
    // A leader proposes a configuration change only when it has applied the one before. So where the log holds two,
    // the earlier one is committed, although the HardState that said so may be lost with the end of a torn Ready.
    // Not to know it would mean to campaign among the members of a configuration that is over.
    const changes = this.#confChangesBetween(proven + 1, last + 1);
    if (changes.length > 1) this.#commit = changes[changes.length - 2] as LogIndex;
  }

  get commit(): LogIndex {
    return this.#commit;
  }

  get committedPlace(): Place {
    return { index: this.#commit, term: this.#knownTerm(this.#commit) };
  }

  get applied(): LogIndex {
    return this.#applied;
  }

  get firstIndex(): LogIndex {
    const { snapshot } = this.#unstable;
    return snapshot === null ? this.#storage.firstIndex() : snapshot.index + 1;
  }

  get lastIndex(): LogIndex {
    return this.#unstable.lastIndex;
  }

  /** The last entry that is durable here, or that a snapshot on its way to the disk covers. */
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
    if (index >= this.#unstable.offset) return this.#unstable.term(index);
    const { snapshot } = this.#unstable;
    if (snapshot === null) return this.#storage.term(index);
    return index === snapshot.index ? snapshot.term : "compacted";
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
    const bytes = bytesOf(stable);
    if (bytes >= maxBytes) return stable;
    return [...stable, ...this.#unstable.slice(offset, high, maxBytes - bytes, 0)];
  }

  /** A leader's snapshot, of an index that is not committed here, takes the place of the whole log. */
  restore(snapshot: SnapshotMeta): void {
    assert(snapshot.index > this.#commit, "a snapshot takes nothing back");
    this.#unstable.restore(snapshot);
    this.#commit = snapshot.index;
    this.#applying = snapshot.index;
  }

  /** A snapshot took the place of the log and is not durable yet. */
  get hasPendingSnapshot(): boolean {
    return this.#unstable.snapshot !== null;
  }

  get hasUnhanded(): boolean {
    return this.#unstable.hasUnhanded || this.#unstable.hasUnhandedSnapshot;
  }

  takeSnapshot(readyNumber: number): SnapshotMeta | undefined {
    return this.#unstable.hasUnhandedSnapshot
      ? this.#unstable.takeSnapshot(readyNumber)
      : undefined;
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
    const { snapshot } = this.#unstable;
    assert(
      snapshot === null || index < snapshot.index,
      "a snapshot is durable before it is applied",
    );
    this.#applied = index;
  }

  /** Whether a configuration change is known to be committed here and not yet applied. */
  hasUnappliedConfChange(): boolean {
    const low = Math.max(this.#applied + 1, this.firstIndex);
    return this.#confChangesBetween(low, this.#commit + 1).length > 0;
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

  /** The indexes of the configuration changes in [low, high). */
  #confChangesBetween(low: LogIndex, high: LogIndex): readonly LogIndex[] {
    if (low >= high) return NO_INDEXES;
    const { offset } = this.#unstable;
    const boundary = Math.min(high, offset);
    const stable = low < boundary ? this.#storage.confChanges(low, boundary) : NO_INDEXES;
    if (high <= offset) return stable;
    const found = [...stable];
    for (const entry of this.#unstable.slice(Math.max(low, offset), high, Infinity, 0))
      if (entry.type === EntryType.confChange) found.push(entry.index);
    return found;
  }

  #knownTerm(index: LogIndex): Term {
    const term = this.term(index);
    assert(typeof term === "number", "a term within the log is known");
    return term;
  }
}
