/**
 * The operations of one part of a history that a search (checker.ts) has not put into its order yet, and which of
 * them may come next.
 *
 * Answered operations form a doubly linked list of their beginnings and ends in order of time, from which an
 * operation is lifted, and into which it is put back, in constant time (Wing and Gong 1993, as Lowe 2017 tells it).
 * An operation may come next when it began before the first end in the list. Open operations have no end and need
 * no list: each may come next from its beginning on.
 *
 * Invariants:
 * - Ends are ordered by time; beginnings stand before ends of the same time.
 * - `putBack` is called in the reverse order of `take`.
 */
import { assert } from "../../src/base/index.ts";
import { encodePlain, type Operation } from "./history.ts";

const HEAD = 0;
const BITS_PER_WORD = 31;

export class Pending<Input, Output> {
  /** Answered operations in order of their beginnings, then open ones in the same order. A candidate is an index. */
  readonly #operations: readonly Operation<Input, Output>[];
  readonly #answeredCount: number;
  /** Places of the list: 0 is its head; `#operationAt` names the operation, `#endOf` and `#beginOf` its places. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #operationAt: Int32Array;
  readonly #beginOf: Int32Array;
  readonly #endOf: Int32Array;
  /** One bit for each operation that is in the order: whole words of answered ones, then of open ones. */
  readonly #taken: Int32Array;
  readonly #answeredWords: number;
  /** For an open operation the one before it that asks for the same, or -1. */
  readonly #twinBefore: Int32Array;
  #answeredLeft: number;

  constructor(part: readonly Operation<Input, Output>[]) {
    const byBeginning = [...part].sort((a, b) => a.invokedAt - b.invokedAt || a.id - b.id);
    const answered = byBeginning.filter((operation) => operation.outcome === "ok");
    const open = byBeginning.filter((operation) => operation.outcome === "unknown");
    this.#operations = [...answered, ...open];
    this.#answeredCount = answered.length;
    this.#answeredLeft = answered.length;
    const places = 2 * answered.length + 1;
    this.#next = new Int32Array(places);
    this.#previous = new Int32Array(places);
    this.#operationAt = new Int32Array(places).fill(-1);
    this.#beginOf = new Int32Array(answered.length);
    this.#endOf = new Int32Array(answered.length);
    this.#answeredWords = Math.ceil(answered.length / BITS_PER_WORD);
    this.#taken = new Int32Array(this.#answeredWords + Math.ceil(open.length / BITS_PER_WORD));
    this.#twinBefore = new Int32Array(this.#operations.length).fill(-1);
    this.#link(answered);
    const lastOfKind = new Map<string, number>();
    for (let i = answered.length; i < this.#operations.length; i++) {
      const kind = encodePlain(this.operation(i).input);
      this.#twinBefore[i] = lastOfKind.get(kind) ?? -1;
      lastOfKind.set(kind, i);
    }
  }

  #link(answered: readonly Operation<Input, Output>[]): void {
    const events: { readonly at: number; readonly index: number; readonly isEnd: boolean }[] = [];
    for (const [index, { invokedAt, returnedAt }] of answered.entries()) {
      assert(returnedAt >= invokedAt, "an operation ends after its beginning");
      events.push({ at: invokedAt, index, isEnd: false }, { at: returnedAt, index, isEnd: true });
    }
    events.sort((a, b) => a.at - b.at || Number(a.isEnd) - Number(b.isEnd) || a.index - b.index);
    for (const [i, { index, isEnd }] of events.entries()) {
      const place = i + 1;
      this.#operationAt[place] = index;
      (isEnd ? this.#endOf : this.#beginOf)[index] = place;
      this.#previous[place] = place - 1;
      this.#next[place - 1] = place;
    }
    this.#next[events.length] = HEAD;
    this.#previous[HEAD] = events.length;
  }

  operation(candidate: number): Operation<Input, Output> {
    return this.#operations[candidate] as Operation<Input, Output>;
  }

  /** Whether every answered operation has its place. Open ones need none. */
  isDone(): boolean {
    return this.#answeredLeft === 0;
  }

  firstCandidate(): number | null {
    return this.#candidateAt(this.#next[HEAD] as number);
  }

  /** The next one to try in the same place of the order, given that `candidate` is not taken. */
  candidateAfter(candidate: number): number | null {
    if (candidate >= this.#answeredCount) return this.#openCandidateFrom(candidate + 1);
    return this.#candidateAt(this.#next[this.#beginOf[candidate] as number] as number);
  }

  /** The beginning at this place, or if an end stands there, which nothing answered may pass, an open operation. */
  #candidateAt(place: number): number | null {
    if (place === HEAD) return null;
    const index = this.#operationAt[place] as number;
    return place === this.#beginOf[index] ? index : this.#openCandidateFrom(this.#answeredCount);
  }

  #openCandidateFrom(from: number): number | null {
    const first = this.firstToEnd();
    if (first === null) return null;
    const limit = this.operation(first).returnedAt;
    for (let i = from; i < this.#operations.length; i++) {
      if (this.operation(i).invokedAt > limit) return null;
      const twin = this.#twinBefore[i] as number;
      if (!this.#isTaken(i) && (twin < 0 || this.#isTaken(twin))) return i;
    }
    return null;
  }

  take(candidate: number): void {
    assert(!this.#isTaken(candidate), "an operation has one place in the order");
    this.#flip(candidate);
    if (candidate >= this.#answeredCount) return;
    this.#answeredLeft--;
    for (const place of [this.#beginOf[candidate] as number, this.#endOf[candidate] as number]) {
      this.#next[this.#previous[place] as number] = this.#next[place] as number;
      this.#previous[this.#next[place] as number] = this.#previous[place] as number;
    }
  }

  putBack(candidate: number): void {
    assert(this.#isTaken(candidate), "only what was taken can be put back");
    this.#flip(candidate);
    if (candidate >= this.#answeredCount) return;
    this.#answeredLeft++;
    for (const place of [this.#endOf[candidate] as number, this.#beginOf[candidate] as number]) {
      this.#next[this.#previous[place] as number] = place;
      this.#previous[this.#next[place] as number] = place;
    }
  }

  /** The operation whose end comes first among those without a place: it is due before anything that begins later. */
  firstToEnd(): number | null {
    for (
      let place = this.#next[HEAD] as number;
      place !== HEAD;
      place = this.#next[place] as number
    ) {
      const index = this.#operationAt[place] as number;
      if (place === this.#endOf[index]) return index;
    }
    return null;
  }

  /** Whether the end of one answered operation stands after the end of the other. */
  endsAfter(candidate: number, other: number): boolean {
    return (this.#endOf[candidate] as number) > (this.#endOf[other] as number);
  }

  /** What began before `blocked` ended and has no place in `order`, apart from `blocked` itself. */
  overlapping(order: readonly number[], blocked: number): Operation<Input, Output>[] {
    const placed = new Set(order);
    const { returnedAt } = this.operation(blocked);
    return this.#operations.filter(
      (operation, i) => i !== blocked && !placed.has(i) && operation.invokedAt <= returnedAt,
    );
  }

  /**
   * Names the set of answered operations that are taken, exactly. Words before the first one with a gap are full and
   * those behind the last one with a bit are empty, so only those between are written: about as many as there are
   * clients, not as there are operations.
   */
  answeredIdentity(): string {
    const words = this.#taken;
    const full = 2 ** BITS_PER_WORD - 1;
    let from = 0;
    while (from < this.#answeredWords && words[from] === full) from++;
    let to = this.#answeredWords;
    while (to > from && words[to - 1] === 0) to--;
    let name = String(from);
    for (let i = from; i < to; i++) name += `,${(words[i] as number).toString(36)}`;
    return name;
  }

  /** The set of open operations that are taken, as bits. A copy. */
  openTaken(): Int32Array {
    return this.#taken.slice(this.#answeredWords);
  }

  #isTaken(candidate: number): boolean {
    return ((this.#taken[this.#wordOf(candidate)] as number) & this.#bitOf(candidate)) !== 0;
  }

  #flip(candidate: number): void {
    const at = this.#wordOf(candidate);
    this.#taken[at] = (this.#taken[at] as number) ^ this.#bitOf(candidate);
  }

  #wordOf(candidate: number): number {
    const open = candidate - this.#answeredCount;
    if (open < 0) return Math.floor(candidate / BITS_PER_WORD);
    return this.#answeredWords + Math.floor(open / BITS_PER_WORD);
  }

  #bitOf(candidate: number): number {
    const open = candidate - this.#answeredCount;
    return 1 << ((open < 0 ? candidate : open) % BITS_PER_WORD);
  }
}
