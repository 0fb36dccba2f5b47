/**
 * A set of page ids as a bitmap with summaries: bit i of a word on level l + 1 says whether word i of level l has
 * any bit. Adding, removing and finding the lowest or next member cost a handful of words whatever the size of the
 * file, and members come out in ascending order, which is the order of writing.
 */
import { assert } from "../base/index.ts";

/** Sixty-four bytes: as much as an array may have without memory outside of the heap. */
const WORDS_MIN = 16;

export class PageSet {
  /** levels[0] holds the members; the last level is never empty. */
  #levels: Uint32Array[] = [new Uint32Array(WORDS_MIN), new Uint32Array(1)];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(id: number): boolean {
    const words = this.#levels[0] as Uint32Array;
    const word = id >>> 5;
    return word < words.length && ((words[word] as number) & (1 << (id & 31))) !== 0;
  }

  /** 32 members at once: bit i of word w says whether 32 * w + i is in the set. */
  word(index: number): number {
    const words = this.#levels[0] as Uint32Array;
    return index < words.length ? (words[index] as number) : 0;
  }

  /** False when it was in already. */
  add(id: number): boolean {
    if (this.has(id)) return false;
    if (id >>> 5 >= (this.#levels[0] as Uint32Array).length) this.#grow(id >>> 5);
    let at = id;
    for (const words of this.#levels) {
      const index = at >>> 5;
      const before = words[index] as number;
      words[index] = before | (1 << (at & 31));
      if (before !== 0) break;
      at = index;
    }
    this.#size++;
    return true;
  }

  /** Adds the members that `bits` says, as `word` gives them. */
  addWord(index: number, bits: number): void {
    if (bits === 0) return;
    if (index >= (this.#levels[0] as Uint32Array).length) this.#grow(index);
    const words = this.#levels[0] as Uint32Array;
    const before = words[index] as number;
    words[index] = before | bits;
    this.#size += bitCount(bits & ~before);
    // `add` raises the summaries of a word that had no members; here one member does it for all.
    for (let level = 1, at = index; before === 0 && level < this.#levels.length; level++) {
      const above = this.#levels[level] as Uint32Array;
      const word = above[at >>> 5] as number;
      above[at >>> 5] = word | (1 << (at & 31));
      if (word !== 0) break;
      at >>>= 5;
    }
  }

  /** False when it was not in. */
  delete(id: number): boolean {
    if (!this.has(id)) return false;
    let at = id;
    for (const words of this.#levels) {
      const index = at >>> 5;
      const after = (words[index] as number) & ~(1 << (at & 31));
      words[index] = after;
      if (after !== 0) break;
      at = index;
    }
    this.#size--;
    return true;
  }

  /** The lowest member >= `from`; -1 when there is none. */
  next(from: number): number {
    let at = from;
    for (let level = 0; level < this.#levels.length; level++) {
      const words = this.#levels[level] as Uint32Array;
      const index = at >>> 5;
      if (index >= words.length) return -1;
      const rest = (words[index] as number) & (-1 << (at & 31));
      if (rest !== 0) return this.#descendLowest(level, index * 32 + lowestBit(rest));
      at = index + 1;
    }
    return -1;
  }

  /** The highest member; -1 when there is none. */
  get highest(): number {
    if (this.#size === 0) return -1;
    let at = 0;
    for (let level = this.#levels.length - 1; level >= 0; level--) {
      const word = (this.#levels[level] as Uint32Array)[at] as number;
      at = at * 32 + 31 - Math.clz32(word);
    }
    return at;
  }

  #descendLowest(level: number, start: number): number {
    let at = start;
    for (let below = level - 1; below >= 0; below--) {
      at = at * 32 + lowestBit((this.#levels[below] as Uint32Array)[at] as number);
    }
    return at;
  }

  #grow(index: number): void {
    let needed = index + 1;
    for (let level = 0; level < this.#levels.length; level++) {
      const words = this.#levels[level] as Uint32Array;
      if (needed > words.length) {
        const grown = new Uint32Array(Math.max(needed, words.length * 2));
        grown.set(words);
        this.#levels[level] = grown;
      }
      needed = Math.ceil((this.#levels[level] as Uint32Array).length / 32);
    }
    for (;;) {
      const top = this.#levels.at(-1) as Uint32Array;
      if (top.length === 1) return;
      const summary = new Uint32Array(Math.ceil(top.length / 32));
      for (let i = 0; i < top.length; i++) {
        if (top[i] !== 0) summary[i >>> 5] = (summary[i >>> 5] as number) | (1 << (i & 31));
      }
      this.#levels.push(summary);
    }
  }

  invariants(): void {
    let members = 0;
    for (let level = 0; level < this.#levels.length; level++) {
      const words = this.#levels[level] as Uint32Array;
      const above = this.#levels[level + 1];
      for (let i = 0; i < words.length; i++) {
        const word = words[i] as number;
        if (level === 0) members += bitCount(word);
        if (above === undefined) continue;
        const summarized = ((above[i >>> 5] as number) & (1 << (i & 31))) !== 0;
        assert(summarized === (word !== 0), "a summary bit tells whether its word has members");
      }
    }
    assert(members === this.#size, "the size is the number of members");
    assert(this.#levels.at(-1)?.length === 1, "the highest level is one word");
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function bitCount(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
