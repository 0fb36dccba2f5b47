/**
 * A place in a tree: the page and the cell on each level. Moving to a neighbour inside a leaf is an addition; at its
 * end the cursor climbs to the first ancestor with a next cell and goes down again. Nothing is allocated on the way.
 */
import { assert, EMPTY_BYTES } from "../base/index.ts";
import type { Cursor } from "./engine.ts";
import { cellCount } from "./layout.ts";
import { cellAt, cellKey, cellValue, childIndex, search } from "./node.ts";
import type { Pager } from "./pager.ts";
import type { Root } from "./reader.ts";

export class TreeCursor implements Cursor {
  readonly #pager: Pager;
  readonly #root: Root;
  /** The slot of the page and the index of the cell on each level; level 0 is the leaf. */
  readonly #slots: number[] = [];
  readonly #index: number[] = [];
  #valid = false;
  #changes: number;
  /** The leaf. */
  #b: Uint8Array = EMPTY_BYTES;
  #base = 0;
  #at = 0;
  #count = 0;

  constructor(pager: Pager, root: Root) {
    this.#pager = pager;
    this.#root = root;
    this.#changes = root.changes;
  }

  seek(key: Uint8Array): boolean {
    if (!this.#begin()) return false;
    const found = this.#descendTo(key);
    this.#at = found >= 0 ? found : -1 - found;
    return this.#at < this.#count ? this.#here() : this.#nextLeaf();
  }

  seekBefore(key: Uint8Array): boolean {
    if (!this.#begin()) return false;
    const found = this.#descendTo(key);
    this.#at = (found >= 0 ? found : -1 - found) - 1;
    return this.#at >= 0 ? this.#here() : this.#previousLeaf();
  }

  first(): boolean {
    if (!this.#begin()) return false;
    this.#descendToEnd(this.#root.level, false);
    return this.#here();
  }

  last(): boolean {
    if (!this.#begin()) return false;
    this.#descendToEnd(this.#root.level, true);
    return this.#here();
  }

  next(): boolean {
    if (!this.#valid) return false;
    this.#assertCurrent();
    this.#at++;
    return this.#at < this.#count ? true : this.#nextLeaf();
  }

  previous(): boolean {
    if (!this.#valid) return false;
    this.#assertCurrent();
    this.#at--;
    return this.#at >= 0 ? true : this.#previousLeaf();
  }

  get valid(): boolean {
    return this.#valid && this.#changes === this.#root.changes;
  }

  get key(): Uint8Array {
    assert(this.#valid, "only a valid cursor has a key");
    this.#assertCurrent();
    const cell = cellAt(this.#b, this.#base, this.#at);
    return cellKey(this.#pager, this.#b, cell, 0, this.#slots[0] as number);
  }

  get value(): Uint8Array {
    assert(this.#valid, "only a valid cursor has a value");
    this.#assertCurrent();
    const cell = cellAt(this.#b, this.#base, this.#at);
    return cellValue(this.#pager, this.#b, cell, this.#slots[0] as number);
  }

  #assertCurrent(): void {
    assert(
      this.#changes === this.#root.changes,
      "a cursor is placed again after the tree changed, and not used after its version was released",
    );
  }

  /** Takes the root as it is now; false when the tree has no keys. */
  #begin(): boolean {
    this.#pager.assertUsable();
    this.#valid = false;
    assert(this.#root.changes >= 0, "a version is read before its release");
    this.#changes = this.#root.changes;
    if (this.#root.id === 0) return false;
    const { id, level, crc } = this.#root;
    this.#slots[level] = this.#pager.fetchNode(id, level, crc, this.#pager.epoch);
    return true;
  }

  #here(): boolean {
    this.#valid = true;
    return true;
  }

  /** From the root to the leaf of `key`; returns what `search` found there. */
  #descendTo(key: Uint8Array): number {
    const pager = this.#pager;
    for (let level = this.#root.level; ; level--) {
      const slot = this.#slots[level] as number;
      const b = pager.slab(slot);
      const base = pager.base(slot);
      const found = search(pager, b, base, level, slot, key);
      if (level === 0) {
        this.#enterLeaf();
        return found;
      }
      this.#enterChild(level, childIndex(found));
    }
  }

  /** From the page on `level` to the first or last cell of the leaves below it. */
  #descendToEnd(from: number, last: boolean): void {
    for (let level = from; level > 0; level--) {
      const slot = this.#slots[level] as number;
      const count = cellCount(this.#pager.slab(slot), this.#pager.base(slot));
      this.#enterChild(level, last ? count - 1 : 0);
    }
    this.#enterLeaf();
    this.#at = last ? this.#count - 1 : 0;
  }

  #enterChild(level: number, index: number): void {
    const pager = this.#pager;
    const slot = this.#slots[level] as number;
    const b = pager.slab(slot);
    const cell = cellAt(b, pager.base(slot), index);
    this.#index[level] = index;
    this.#slots[level - 1] = pager.fetchChild(slot, b, cell, level - 1);
  }

  #enterLeaf(): void {
    const slot = this.#slots[0] as number;
    this.#b = this.#pager.slab(slot);
    this.#base = this.#pager.base(slot);
    this.#count = cellCount(this.#b, this.#base);
  }

  #nextLeaf(): boolean {
    this.#valid = false;
    for (let level = 1; level <= this.#root.level; level++) {
      const slot = this.#slots[level] as number;
      const index = (this.#index[level] as number) + 1;
      if (index < cellCount(this.#pager.slab(slot), this.#pager.base(slot))) {
        this.#enterChild(level, index);
        this.#descendToEnd(level - 1, false);
        return this.#here();
      }
    }
    return false;
  }

  #previousLeaf(): boolean {
    this.#valid = false;
    for (let level = 1; level <= this.#root.level; level++) {
      const index = (this.#index[level] as number) - 1;
      if (index >= 0) {
        this.#enterChild(level, index);
        this.#descendToEnd(level - 1, true);
        return this.#here();
      }
    }
    return false;
  }
}
