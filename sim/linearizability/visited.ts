/**
 * Where a search (checker.ts) has been, so that it goes nowhere twice: which operations were in the order, and the
 * state after them. Lowe ("Testing for linearizability", 2017) keeps such configurations in a table; this one knows
 * one thing more. An open operation in the order is one that can no longer be used, and none ever has to be. So of
 * two configurations with the same answered operations and the same state, the one with fewer open ones can do all
 * that the other can, and when it was visited the other need not be. Without that, each unknown write that explains
 * nothing would double the search.
 *
 * Invariant: of the sets kept under one name none contains another.
 */
export class Visited {
  readonly #entriesMax: number;
  readonly #openSets = new Map<string, readonly Int32Array[]>();
  #entries = 0;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  /**
   * Notes a configuration; false when nothing new can come of it. `answered` names its answered operations and its
   * state, `open` has a bit for each open operation in it and is kept. A full table is emptied.
   */
  enter(answered: string, open: Int32Array): boolean {
    const known = this.#openSets.get(answered) ?? [];
    if (known.some((smaller) => isSubset(smaller, open))) return false;
    if (this.#entries >= this.#entriesMax) {
      this.#openSets.clear();
      this.#entries = 0;
      this.#openSets.set(answered, [open]);
    } else {
      const kept = known.filter((larger) => !isSubset(open, larger));
      this.#entries -= known.length - kept.length;
      this.#openSets.set(answered, [...kept, open]);
    }
    this.#entries++;
    return true;
  }
}

function isSubset(smaller: Int32Array, larger: Int32Array): boolean {
  for (let i = 0; i < smaller.length; i++) {
    if (((smaller[i] as number) & ~(larger[i] as number)) !== 0) return false;
  }
  return true;
}
