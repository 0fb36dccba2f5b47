/** Reading a tree: of the present state or of a version. */
import { assert } from "../base/index.ts";
import { TreeCursor } from "./cursor.ts";
import type { Cursor, ReadTree } from "./engine.ts";
import { cellAt, cellValue, childCount, childIndex, search } from "./node.ts";
import type { Pager } from "./pager.ts";

/** Where a tree begins: in the meta, in a version, or now. */
export interface Root {
  /** 0 for a tree without keys. */
  id: number;
  /** As on disk; of a page that was changed since, the one in memory counts. */
  crc: number;
  level: number;
  count: number;
  /** Grows with each change, so that a cursor left over from before is noticed; -1 after the release of a version. */
  changes: number;
}

/** A tree that is read: of the present state or of a version. */
export class TreeReader implements ReadTree {
  protected readonly pager: Pager;
  protected readonly root: Root;

  constructor(pager: Pager, root: Root) {
    this.pager = pager;
    this.root = root;
  }

  get count(): number {
    return this.root.count;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const { pager, root } = this;
    pager.assertUsable();
    assert(root.changes >= 0, "a version is read before its release");
    if (root.id === 0) return undefined;
    let level = root.level;
    let slot = pager.fetchNode(root.id, level, root.crc, pager.epoch);
    for (;;) {
      const b = pager.slab(slot);
      const base = pager.base(slot);
      const found = search(pager, b, base, level, slot, key);
      if (level === 0) {
        return found < 0 ? undefined : cellValue(pager, b, cellAt(b, base, found), slot);
      }
      level--;
      slot = pager.fetchChild(slot, b, cellAt(b, base, childIndex(found)), level);
    }
  }

  cursor(): Cursor {
    return new TreeCursor(this.pager, this.root);
  }

  countRange(from: Uint8Array, to: Uint8Array | undefined): number {
    const end = to === undefined ? this.root.count : this.#rank(to);
    return Math.max(0, end - this.#rank(from));
  }

  /** How many keys are less than `key`. */
  #rank(key: Uint8Array): number {
    const { pager, root } = this;
    pager.assertUsable();
    assert(root.changes >= 0, "a version is read before its release");
    if (root.id === 0) return 0;
    let rank = 0;
    let level = root.level;
    let slot = pager.fetchNode(root.id, level, root.crc, pager.epoch);
    for (;;) {
      const b = pager.slab(slot);
      const base = pager.base(slot);
      const found = search(pager, b, base, level, slot, key);
      if (level === 0) return rank + (found >= 0 ? found : -1 - found);
      const index = childIndex(found);
      for (let i = 0; i < index; i++) rank += childCount(b, cellAt(b, base, i));
      level--;
      slot = pager.fetchChild(slot, b, cellAt(b, base, index), level);
    }
  }
}
