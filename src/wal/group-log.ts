/**
 * One group's log as Raft reads it: what is durable here. Recent entries are in memory, older ones are read back from
 * their frame, whose checksums are checked again each time.
 *
 * Invariants: #floorIndex is the last entry that is gone (0: none) and #floorTerm its term; entries live at
 * (#floorIndex, #lastIndex]; the cache holds (#lastIndex - cached, #lastIndex], so that it is a suffix of the log;
 * terms never decrease; #confChanges names the live entries that change the configuration, in order.
 */
import { assert, verify } from "../base/index.ts";
import {
  type Entry,
  EntryType,
  type GroupId,
  type LogIndex,
  type LogStorage,
  type Term,
} from "../raft/index.ts";
import type { EntryCache } from "./entry-cache.ts";
import { RunIndex } from "./run-index.ts";
import type { Lsn } from "./types.ts";

/** Reads entries back from the frame at an LSN. Throws CorruptionError. */
export type ColdRead = (
  group: GroupId,
  lsn: Lsn,
  low: LogIndex,
  high: LogIndex,
  term: Term,
) => readonly Entry[];

export class GroupLog implements LogStorage {
  readonly group: GroupId;
  readonly #readCold: ColdRead;
  readonly #shared: EntryCache;
  readonly #runs: RunIndex = new RunIndex();
  #floorIndex: LogIndex = 0;
  #floorTerm: Term = 0;
  #lastIndex: LogIndex = 0;
  #lastTerm: Term = 0;
  /** Cached entries live at [#cacheHead, #cache.length). */
  #cache: Entry[] = [];
  #cacheHead = 0;
  /** Few, whatever the log's length: a cluster seldom changes. */
  #confChanges: LogIndex[] = [];
  /** The run that was read from disk last: a follower that catches up asks for it piece by piece. */
  #cold: readonly Entry[] = [];

  constructor(group: GroupId, cache: EntryCache, readCold: ColdRead) {
    this.group = group;
    this.#shared = cache;
    this.#readCold = readCold;
  }

  firstIndex(): LogIndex {
    return this.#floorIndex + 1;
  }

  lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  lastTerm(): Term {
    return this.#lastTerm;
  }

  term(index: LogIndex): Term | "compacted" | "unavailable" {
    if (index > this.#lastIndex) return "unavailable";
    if (index === this.#lastIndex) return this.#lastTerm;
    if (index <= this.#floorIndex)
      return index === this.#floorIndex ? this.#floorTerm : "compacted";
    const cacheFirst = this.#cacheFirst;
    if (index >= cacheFirst)
      return (this.#cache[this.#cacheHead + index - cacheFirst] as Entry).term;
    return this.#runs.termAt(this.#runs.find(index));
  }

  entries(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[] {
    assert(
      low > this.#floorIndex && low <= high && high <= this.#lastIndex + 1,
      `entries [${low}, ${high}) lie within the log (${this.#floorIndex}, ${this.#lastIndex}]`,
    );
    const out: Entry[] = [];
    let bytes = 0;
    let at = low;
    while (at < high) {
      const cacheFirst = this.#cacheFirst;
      const source = at >= cacheFirst ? this.#cache : this.#coldRun(at);
      const shift = at >= cacheFirst ? this.#cacheHead - cacheFirst : -(source[0] as Entry).index;
      for (; at < high && at + shift < source.length; at++) {
        const entry = source[at + shift] as Entry;
        bytes += entry.data.length;
        if (bytes > maxBytes && out.length > 0) return out;
        out.push(entry);
      }
    }
    return out;
  }

  confChanges(low: LogIndex, high: LogIndex): readonly LogIndex[] {
    assert(
      low > this.#floorIndex && low <= high && high <= this.#lastIndex + 1,
      `entries [${low}, ${high}) lie within the log (${this.#floorIndex}, ${this.#lastIndex}]`,
    );
    return this.#confChanges.filter((index) => index >= low && index < high);
  }

  /** LSN of the frame that holds a live entry. */
  lsnOf(index: LogIndex): Lsn {
    return this.#runs.lsnAt(this.#runs.find(index));
  }

  /** How many entries are live. */
  get count(): number {
    return this.#lastIndex - this.#floorIndex;
  }

  // What follows changes the log: by the WAL, when something has become durable or is replayed.

  /** Empties the log and lets it begin after this entry, which is gone with all before it. */
  startAfter(index: LogIndex, term: Term): void {
    this.#runs.truncateFrom(0);
    this.#cache = [];
    this.#cacheHead = 0;
    this.#cold = [];
    this.#confChanges = [];
    this.#floorIndex = this.#lastIndex = index;
    this.#floorTerm = this.#lastTerm = term;
  }

  /** Puts entries that are now durable in the frame at `lsn` behind those before the first of them. */
  publish(entries: readonly Entry[], from: number, to: number, lsn: Lsn): void {
    const first = entries[from] as Entry;
    this.truncateFrom(first.index);
    let bytes = 0;
    for (let i = from; i < to; i++) {
      const entry = entries[i] as Entry;
      this.#push(entry.index, entry.term, entry.type, lsn);
      this.#cache.push(entry);
      bytes += entry.data.length;
    }
    this.#shared.added(this, this.#lastIndex, bytes);
    verify(() => this.invariants());
  }

  /** An entry that a start found. The cache stays empty: most of what is replayed is never asked for again. */
  replay(index: LogIndex, term: Term, type: EntryType, lsn: Lsn): void {
    this.#push(index, term, type, lsn);
  }

  relocate(index: LogIndex, term: Term, lsn: Lsn): void {
    if (index <= this.#floorIndex || index > this.#lastIndex || this.term(index) !== term) return;
    this.#runs.relocate(index, this.#lastIndex, lsn);
  }

  /** Discards the entries from `index` on. */
  truncateFrom(index: LogIndex): void {
    assert(index > this.#floorIndex, "what is compacted is never overwritten");
    assert(index <= this.#lastIndex + 1, `entry ${index} follows entry ${this.#lastIndex}`);
    if (index === this.#lastIndex + 1) return;
    const term = this.term(index - 1) as Term;
    const cacheFirst = this.#cacheFirst;
    this.#cache.length =
      index <= cacheFirst ? this.#cacheHead : this.#cacheHead + index - cacheFirst;
    this.#runs.truncateFrom(index);
    while ((this.#confChanges.at(-1) ?? 0) >= index) this.#confChanges.pop();
    this.#lastIndex = index - 1;
    this.#lastTerm = term;
    this.#cold = [];
  }

  /** Discards the entries up to `index`, which lies within the log. */
  compactTo(index: LogIndex): void {
    if (index <= this.#floorIndex) return;
    const term = this.term(index);
    assert(typeof term === "number", "the log is compacted at an entry that it holds");
    this.#floorTerm = term;
    this.#floorIndex = index;
    this.#runs.dropThrough(index, this.#lastIndex);
    if (this.#confChanges.length > 0)
      this.#confChanges = this.#confChanges.filter((change) => change > index);
    this.evictThrough(index);
    verify(() => this.invariants());
  }

  /** Discards the entries that stand in frames below `lsn`; they are at the log's front. */
  forgetBelow(lsn: Lsn): void {
    let keepFrom = 0;
    while (keepFrom < this.#runs.length && this.#runs.lsnAt(keepFrom) < lsn) keepFrom++;
    if (keepFrom === 0) return;
    this.compactTo(this.#runs.lastAt(keepFrom - 1, this.#lastIndex));
  }

  /** Lets go of the cached entries up to `index`. */
  evictThrough(index: LogIndex): void {
    const drop = Math.min(index - this.#cacheFirst + 1, this.#cached);
    if (drop <= 0) return;
    this.#cacheHead += drop;
    if (this.#cacheHead * 2 >= this.#cache.length) {
      this.#cache = this.#cache.slice(this.#cacheHead);
      this.#cacheHead = 0;
    }
  }

  invariants(): void {
    assert(this.#floorIndex <= this.#lastIndex, "a log does not end before it begins");
    assert(this.#floorTerm <= this.#lastTerm, "terms never decrease");
    assert(this.#cached <= this.count, "only live entries are cached");
    assert((this.count === 0) === (this.#runs.length === 0), "every live entry is in a run");
    if (this.count === 0) return;
    assert(this.#runs.firstAt(0) === this.firstIndex(), "the first run begins the log");
    let term = this.#floorTerm;
    for (let run = 0; run < this.#runs.length; run++) {
      assert(this.#runs.termAt(run) >= term, "terms never decrease");
      assert(this.#runs.firstAt(run) <= this.#runs.lastAt(run, this.#lastIndex), "no run is empty");
      term = this.#runs.termAt(run);
    }
    assert(term === this.#lastTerm, "the last run has the last term");
    for (const [i, index] of this.#confChanges.entries()) {
      const before = this.#confChanges[i - 1] ?? this.#floorIndex;
      assert(index > before && index <= this.#lastIndex, "live changes are named in order");
    }
    for (let i = this.#cacheHead; i < this.#cache.length; i++) {
      const entry = this.#cache[i] as Entry;
      assert(
        (entry.type === EntryType.confChange) === this.#confChanges.includes(entry.index),
        "every change of the configuration is named",
      );
      assert(entry.index === this.#cacheFirst + i - this.#cacheHead, "the cache has no gap");
      assert(
        entry.term === this.#runs.termAt(this.#runs.find(entry.index)),
        "cache and runs agree",
      );
    }
  }

  get #cached(): number {
    return this.#cache.length - this.#cacheHead;
  }

  get #cacheFirst(): LogIndex {
    return this.#lastIndex + 1 - this.#cached;
  }

  /** Pushes an entry to the end. The caller adds it to the cache or leaves the cache empty. */
  #push(index: LogIndex, term: Term, type: EntryType, lsn: Lsn): void {
    assert(index === this.#lastIndex + 1, `entry ${index} follows entry ${this.#lastIndex}`);
    assert(
      term >= this.#lastTerm,
      `term ${term} of entry ${index} is not below term ${this.#lastTerm}`,
    );
    this.#runs.push(index, term, lsn);
    if (type === EntryType.confChange) this.#confChanges.push(index);
    this.#lastIndex = index;
    this.#lastTerm = term;
  }

  #coldRun(index: LogIndex): readonly Entry[] {
    const first = this.#cold[0];
    if (first !== undefined && index >= first.index && index < first.index + this.#cold.length)
      return this.#cold;
    const run = this.#runs.find(index);
    const last = this.#runs.lastAt(run, this.#lastIndex);
    this.#cold = this.#readCold(
      this.group,
      this.#runs.lsnAt(run),
      index,
      last + 1,
      this.#runs.termAt(run),
    );
    return this.#cold;
  }
}
