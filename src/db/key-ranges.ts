/** A set of keys given as ranges [from, to): kept disjoint and in order, so that a key is found by halving. */
import { compareBytes } from "../base/index.ts";

export class KeyRanges {
  readonly #froms: Uint8Array[] = [];
  readonly #tos: Uint8Array[] = [];

  /** Adds [from, to). A range that ends before it begins holds nothing. */
  add(from: Uint8Array, to: Uint8Array): void {
    if (compareBytes(from, to) >= 0) return;
    // Those from `first` on end at or after the start of the new one, those before `last` begin at or before its end.
    const first = lowerBound(this.#tos, from);
    let last = first;
    let low = from;
    let high = to;
    while (last < this.#froms.length && compareBytes(this.#froms[last] as Uint8Array, to) <= 0) {
      if (last === first && compareBytes(this.#froms[last] as Uint8Array, low) < 0)
        low = this.#froms[last] as Uint8Array;
      if (compareBytes(this.#tos[last] as Uint8Array, high) > 0)
        high = this.#tos[last] as Uint8Array;
      last++;
    }
    this.#froms.splice(first, last - first, low);
    this.#tos.splice(first, last - first, high);
  }

  has(key: Uint8Array): boolean {
    // The first range that ends after the key is the only one that can hold it.
    let at = lowerBound(this.#tos, key);
    if (at < this.#tos.length && compareBytes(this.#tos[at] as Uint8Array, key) === 0) at++;
    return at < this.#froms.length && compareBytes(this.#froms[at] as Uint8Array, key) <= 0;
  }

  forEach(visit: (from: Uint8Array, to: Uint8Array) => void): void {
    for (let i = 0; i < this.#froms.length; i++)
      visit(this.#froms[i] as Uint8Array, this.#tos[i] as Uint8Array);
  }
}

/** The place of the first of `keys`, which ascend, that is not less than `key`. */
function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle] as Uint8Array, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
