/**
 * Where each live entry of a group's log stands: runs of consecutive entries of one term in one frame. Three columns
 * of numbers instead of an object for each entry, because a log may hold millions of them.
 *
 * Invariants: first indexes grow strictly; a run ends where the next one begins, the last one at the log's end, which
 * the owner knows; terms never decrease.
 */
import { assert } from "../base/index.ts";
import type { LogIndex, Term } from "../raft/index.ts";
import type { Lsn } from "./types.ts";

const FIRST_CAPACITY = 8;

export class RunIndex {
  #first: Float64Array = new Float64Array(FIRST_CAPACITY);
  #term: Float64Array = new Float64Array(FIRST_CAPACITY);
  #lsn: Float64Array = new Float64Array(FIRST_CAPACITY);
  /** Runs live at [#head, #tail). */
  #head = 0;
  #tail = 0;

  get length(): number {
    return this.#tail - this.#head;
  }

  firstAt(run: number): LogIndex {
    return this.#first[this.#head + run] as number;
  }

  termAt(run: number): Term {
    return this.#term[this.#head + run] as number;
  }

  /** LSN of the frame that holds the run. */
  lsnAt(run: number): Lsn {
    return this.#lsn[this.#head + run] as number;
  }

  /** The last index of a run, given the last index of the log. */
  lastAt(run: number, lastIndex: LogIndex): LogIndex {
    return run + 1 < this.length ? this.firstAt(run + 1) - 1 : lastIndex;
  }

  /** Says that the entry after the last one has this term and stands in this frame. */
  push(index: LogIndex, term: Term, lsn: Lsn): void {
    const last = this.#tail - 1;
    if (last >= this.#head) {
      if (this.#term[last] === term && this.#lsn[last] === lsn) return;
      assert((this.#first[last] as number) < index, "runs grow");
    }
    if (this.#tail === this.#first.length) this.#makeRoom();
    this.#first[this.#tail] = index;
    this.#term[this.#tail] = term;
    this.#lsn[this.#tail] = lsn;
    this.#tail++;
  }

  /** Forgets every entry from `index` on. */
  truncateFrom(index: LogIndex): void {
    while (this.#tail > this.#head && (this.#first[this.#tail - 1] as number) >= index)
      this.#tail--;
  }

  /** Forgets every entry up to `index`, of a log that ends at `lastIndex`. */
  dropThrough(index: LogIndex, lastIndex: LogIndex): void {
    while (this.length > 0 && this.lastAt(0, lastIndex) <= index) this.#head++;
    if (this.length > 0 && this.firstAt(0) <= index) this.#first[this.#head] = index + 1;
    if (this.length === 0) this.#head = this.#tail = 0;
  }

  /** The run that holds `index`, which lies within the log. */
  find(index: LogIndex): number {
    let low = 0;
    let high = this.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.firstAt(middle) <= index) low = middle;
      else high = middle - 1;
    }
    assert(this.length > 0 && this.firstAt(low) <= index, "an index within the log is in a run");
    return low;
  }

  /** Says that the entry at `index` now stands in another frame. Rare: only relocation asks for it. */
  relocate(index: LogIndex, lastIndex: LogIndex, lsn: Lsn): void {
    const run = this.find(index);
    const first = this.firstAt(run);
    const last = this.lastAt(run, lastIndex);
    const term = this.termAt(run);
    const oldLsn = this.lsnAt(run);
    const kept: [LogIndex, Term, Lsn][] = [];
    for (let i = 0; i < this.length; i++)
      kept.push([this.firstAt(i), this.termAt(i), this.lsnAt(i)]);
    const replacement: [LogIndex, Term, Lsn][] = [];
    if (first < index) replacement.push([first, term, oldLsn]);
    replacement.push([index, term, lsn]);
    if (last > index) replacement.push([index + 1, term, oldLsn]);
    kept.splice(run, 1, ...replacement);
    this.#head = this.#tail = 0;
    for (const [firstIndex, runTerm, runLsn] of kept) this.push(firstIndex, runTerm, runLsn);
  }

  #makeRoom(): void {
    const live = this.length;
    const capacity = live * 2 > this.#first.length ? this.#first.length * 2 : this.#first.length;
    const move = (column: Float64Array): Float64Array => {
      const target = capacity === column.length ? column : new Float64Array(capacity);
      if (target === column) column.copyWithin(0, this.#head, this.#tail);
      else target.set(column.subarray(this.#head, this.#tail));
      return target;
    };
    this.#first = move(this.#first);
    this.#term = move(this.#term);
    this.#lsn = move(this.#lsn);
    this.#head = 0;
    this.#tail = live;
  }
}
