/**
 * The B+tree: keys and values in leaves, separators and subtree counts in branches. Reading, putting and deleting;
 * pages are copied before their first change in an epoch and changed in place after it.
 *
 * Invariants:
 * - every leaf is at level 0, and a child is one level below its parent;
 * - the keys below cell i of a branch are >= its key and < the key of cell i + 1; a separator is the shortest string
 *   that says so;
 * - the count in a branch cell is the number of keys below it, so that counting a range costs two descents;
 * - a page is no younger than its parent: whoever may change a leaf in place may change the whole path to it;
 * - no node is empty, except that a tree without keys has no page at all.
 *
 * A node under a quarter full is merged into a neighbour when both fill at most three quarters of a page. A leaf that
 * is full shares its cells with a neighbour that has room before it is split, which makes a file of random keys
 * a seventh smaller. Otherwise cells are not moved between neighbours: whoever cannot be merged has a neighbour more than
 * half full, so the space is bounded without it.
 */
import {
  assert,
  compareBytes,
  concatBytes,
  EMPTY_BYTES,
  readU32,
  writeU16,
  writeU32,
} from "../base/index.ts";
import { TreeCursor } from "./cursor.ts";
import { KEY_SIZE_MAX, type Tree, VALUE_SIZE_MAX } from "./engine.ts";
import {
  BODY_SIZE,
  CELL_SIZE_MAX,
  cellCount,
  initPage,
  KEY_INLINE_MAX,
  LEVELS_MAX,
  PAGE_SIZE,
  SLOT_SIZE,
  TYPE_BRANCH,
  TYPE_LEAF,
  VALUE_OVERFLOW_BIT,
} from "./layout.ts";
import {
  appendCells,
  branchCellSize,
  cellAt,
  cellKey,
  cellSize,
  cellValue,
  childCount,
  childCrc,
  childId,
  childIndex,
  clearFirstKey,
  compareCell,
  copyBytes,
  freeBytes,
  hasOverflowValue,
  inlineValueLength,
  insertBranchCell,
  insertLeafCell,
  keyLength,
  keyStart,
  leafCellSize,
  rebuildHeads,
  removeCell,
  replaceBody,
  search,
  setChildCount,
  setChildCrc,
  setChildId,
  shortenCell,
  subtreeCount,
  truncateNode,
  usedBytes,
  valueFits,
  valueStart,
  writeKey,
} from "./node.ts";
import { retireOverflow, writeOverflow } from "./overflow.ts";
import { TreeReader } from "./reader.ts";
import { keyInRow, moveBorder, separatorOf, sharePoint } from "./share.ts";

/** Longer values stay where they are when pages are moved: copying one would be a long turn. */
const MOVED_VALUE_MAX: number = 256 * 1024;
const MERGE_BELOW: number = BODY_SIZE / 4;
const MERGED_MAX: number = (BODY_SIZE * 3) / 4;
/** A neighbour with so much room besides the new cell takes cells of a full leaf: less would hardly be worth the copy. */
const SHARED_MIN: number = BODY_SIZE / 8;

/** Where keys and values that are views of pages wait for their place; overwritten by each call. */
const GIVEN_KEY: Uint8Array = new Uint8Array(PAGE_SIZE);
const GIVEN_VALUE: Uint8Array = new Uint8Array(PAGE_SIZE);
/** A longer key is looked for a second time. */
const SOUGHT_KEY_MAX = 128;

/** The present state of a tree, which is changed here and nowhere else. */
export class LiveTree extends TreeReader implements Tree {
  /**
   * The page on each level from the leaf (0) to the root, and the index of the cell that was followed. They stay true until
   * the tree changes, whatever its pages do meanwhile: they are named by ids, and who copies them changes the tree.
   */
  readonly #path: Uint32Array = new Uint32Array(LEVELS_MAX);
  readonly #index: Int32Array = new Int32Array(LEVELS_MAX);
  /** The key that `getForPut` looked for last, as long as it is short, what `search` said, and `changes` of that time. */
  readonly #soughtKey: Uint8Array = new Uint8Array(SOUGHT_KEY_MAX);
  #soughtLength = 0;
  #soughtFound = 0;
  #soughtChanges = -1;
  /** `changes` of the time when the last put added the last key of the tree, to which the path leads; -1: it did not. */
  #endChanges = -1;
  /** Where the last new key went, to know a run of ascending keys: such pages are filled, not halved. */
  #lastLeaf = 0;
  #lastIndex = 0;
  /** What `#split` or `#share` decided: whether the new cell goes to the other page, and at which index. */
  #splitToOther = false;
  #splitAt = 0;

  /** As `get`, and the way is remembered: a put of the same key that follows does not look for it again. */
  getForPut(key: Uint8Array): Uint8Array | undefined {
    const { pager, root } = this;
    pager.assertUsable();
    this.#soughtChanges = -1;
    if (root.id === 0) return undefined;
    const found = this.#descend(key);
    if (key.length <= SOUGHT_KEY_MAX) {
      copyBytes(this.#soughtKey, 0, key, 0, key.length);
      this.#soughtLength = key.length;
      this.#soughtFound = found;
      this.#soughtChanges = root.changes;
    }
    if (found < 0) return undefined;
    const slot = pager.slotOfLoaded(this.#path[0] as number);
    const b = pager.slab(slot);
    return cellValue(pager, b, cellAt(b, pager.base(slot), found), slot);
  }

  put(givenKey: Uint8Array, givenValue: Uint8Array): boolean {
    const { pager, root } = this;
    const key = pager.detached(givenKey, GIVEN_KEY);
    const value = pager.detached(givenValue, GIVEN_VALUE);
    assert(key.length <= KEY_SIZE_MAX, "a key has at most KEY_SIZE_MAX bytes");
    assert(value.length <= VALUE_SIZE_MAX, "a value has at most VALUE_SIZE_MAX bytes");
    pager.assertUsable();
    const found = this.#findForPut(key);
    pager.changing = true;
    root.changes++;
    if (root.id === 0) {
      root.id = pager.newPage(TYPE_LEAF, 0);
      root.crc = 0;
      root.level = 0;
      this.#path[0] = root.id;
    }
    this.#own();
    if (found >= 0) this.#replace(found, key, value);
    else this.#insert(-1 - found, key, value);
    pager.changing = false;
    return found < 0;
  }

  delete(key: Uint8Array): boolean {
    const { pager, root } = this;
    pager.assertUsable();
    if (root.id === 0) return false;
    const found = this.#descend(key);
    if (found < 0) return false;
    pager.changing = true;
    root.changes++;
    this.#own();
    const slot = pager.slotOfLoaded(this.#path[0] as number);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const cell = cellAt(b, base, found);
    this.#retireKey(b, cell, 0);
    this.#retireValue(b, cell);
    removeCell(b, base, 0, found);
    this.#addCount(-1);
    this.#lastLeaf = 0;
    this.#shrink(0);
    pager.changing = false;
    return true;
  }

  deleteRange(givenFrom: Uint8Array, givenTo: Uint8Array | undefined): number {
    const { pager, root } = this;
    const from = pager.detached(givenFrom, GIVEN_KEY);
    const to = givenTo === undefined ? undefined : pager.detached(givenTo, GIVEN_VALUE);
    const before = root.count;
    const cursor = new TreeCursor(pager, root);
    while (cursor.seek(from)) {
      const { key } = cursor;
      if (to !== undefined && compareBytes(key, to) >= 0) break;
      const first = this.#descend(key);
      const slot = pager.slotOfLoaded(this.#path[0] as number);
      const b = pager.slab(slot);
      const base = pager.base(slot);
      const count = cellCount(b, base);
      const found = to === undefined ? -1 - count : search(pager, b, base, 0, slot, to);
      pager.changing = true;
      root.changes++;
      this.#deleteCells(first, found >= 0 ? found : -1 - found);
      pager.changing = false;
    }
    return before - root.count;
  }

  /** Deletes the cells [first, end) of the path's leaf, and the leaf with its last ones. */
  #deleteCells(first: number, end: number): void {
    const { pager, root } = this;
    let slot = pager.slotOfLoaded(this.#path[0] as number);
    const isWhole = root.level > 0 && end - first === cellCount(pager.slab(slot), pager.base(slot));
    // What goes as a whole is not copied before.
    this.#own(isWhole ? 1 : 0);
    const leaf = this.#path[0] as number;
    slot = pager.slotOfLoaded(leaf);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    for (let i = first; i < end; i++) {
      const cell = cellAt(b, base, i);
      this.#retireKey(b, cell, 0);
      this.#retireValue(b, cell);
    }
    this.#addCount(first - end);
    this.#lastLeaf = 0;
    if (isWhole) {
      pager.retire(leaf);
      this.#removeChild(1, this.#index[1] as number);
      this.#shrink(1);
      return;
    }
    MERGED.fill(0);
    initPage(MERGED, 0, 0, TYPE_LEAF, 0, 0);
    appendCells(MERGED, 0, b, base, 0, 0, first);
    appendCells(MERGED, 0, b, base, 0, end, cellCount(b, base));
    rebuildHeads(MERGED, 0, 0);
    replaceBody(b, base, MERGED, 0);
    this.#shrink(0);
  }

  /**
   * Moves the leaf with the first key >= `from`, what is above it and its overflow pages to lower places, where they
   * stand at `limit` or behind. Returns the `from` of the next leaf; undefined at the end of the tree.
   */
  relocate(from: Uint8Array, limit: number): Uint8Array | undefined {
    const { pager, root } = this;
    pager.assertUsable();
    const cursor = new TreeCursor(pager, root);
    if (!cursor.seek(from)) return undefined;
    this.#descend(cursor.key);
    let slot = pager.slotOfLoaded(this.#path[0] as number);
    let b = pager.slab(slot);
    let base = pager.base(slot);
    const count = cellCount(b, base);
    const last = cellKey(pager, b, cellAt(b, base, count - 1), 0, slot);
    const next = concatBytes(last, new Uint8Array(1));
    const far: number[] = [];
    for (let i = 0; i < count; i++) if (isFar(b, cellAt(b, base, i), limit)) far.push(i);
    let pathIsFar = false;
    for (let level = root.level; level >= 0; level--) {
      if ((this.#path[level] as number) >= limit) pathIsFar = true;
    }
    if (!pathIsFar && far.length === 0) return next;

    pager.changing = true;
    root.changes++;
    this.#own();
    slot = pager.slotOfLoaded(this.#path[0] as number);
    b = pager.slab(slot);
    base = pager.base(slot);
    for (const i of far) {
      const cell = cellAt(b, base, i);
      const key = cellKey(pager, b, cell, 0, slot).slice();
      const value = cellValue(pager, b, cell, slot).slice();
      // The same key and a value of the same length: the cell keeps its size, only its pointers change.
      this.#retireValue(b, cell);
      this.#retireKey(b, cell, 0);
      const rest = this.#writeKeyRest(key);
      writeKey(b, cell, 0, key, rest, rest === 0 ? 0 : pager.crcOf(rest));
      this.#writeValue(b, cell, key, value);
    }
    pager.changing = false;
    return next;
  }

  /**
   * For each end of the part of the tree that was changed after the last checkpoint the key where it begins, at most
   * `limit` of them. Whatever leads to a changed page was changed too, so nothing else is walked.
   */
  changedParts(limit: number): Uint8Array[] {
    const { pager, root } = this;
    const found: Uint8Array[] = [];
    const walk = (id: number, level: number, from: Uint8Array): void => {
      let isEnd = true;
      if (level > 0) {
        const slot = pager.slotOfLoaded(id);
        const b = pager.slab(slot);
        const base = pager.base(slot);
        const count = cellCount(b, base);
        for (let i = 0; i < count && found.length < limit; i++) {
          const cell = cellAt(b, base, i);
          const child = childId(b, cell);
          if (!pager.dirty.has(child)) continue;
          isEnd = false;
          walk(child, level - 1, i === 0 ? from : cellKey(pager, b, cell, level, slot).slice());
        }
      }
      if (isEnd) found.push(from);
    };
    if (pager.dirty.has(root.id)) walk(root.id, root.level, EMPTY_BYTES);
    return found;
  }

  /** What `#descend` says, without a descent where the path is known to lead to the key's place. */
  #findForPut(key: Uint8Array): number {
    const { pager, root } = this;
    if (root.id === 0) return -1;
    const { changes } = root;
    if (this.#soughtChanges === changes && this.#isSought(key)) return this.#soughtFound;
    if (this.#endChanges === changes) {
      const slot = pager.slotOfLoaded(this.#path[0] as number);
      const b = pager.slab(slot);
      const base = pager.base(slot);
      const count = cellCount(b, base);
      if (compareCell(pager, b, cellAt(b, base, count - 1), 0, slot, key) < 0) return -1 - count;
    }
    return this.#descend(key);
  }

  #isSought(key: Uint8Array): boolean {
    const { length } = key;
    if (length !== this.#soughtLength) return false;
    const sought = this.#soughtKey;
    for (let i = 0; i < length; i++) if (sought[i] !== key[i]) return false;
    return true;
  }

  /** Whether the path leads to the last leaf. */
  #isPathLast(): boolean {
    const { pager, root } = this;
    for (let level = root.level; level > 0; level--) {
      const slot = pager.slotOfLoaded(this.#path[level] as number);
      if (this.#index[level] !== cellCount(pager.slab(slot), pager.base(slot)) - 1) return false;
    }
    return true;
  }

  /** Walks to the leaf of `key`, remembers the path, and returns what `search` found there. */
  #descend(key: Uint8Array): number {
    const { pager, root } = this;
    // What was known of the path before is known no more.
    this.#soughtChanges = -1;
    this.#endChanges = -1;
    let level = root.level;
    let id = root.id;
    let slot = pager.fetchNode(id, level, root.crc, pager.epoch);
    for (;;) {
      const b = pager.slab(slot);
      const base = pager.base(slot);
      const found = search(pager, b, base, level, slot, key);
      this.#path[level] = id;
      if (level === 0) return found;
      const index = childIndex(found);
      this.#index[level] = index;
      const cell = cellAt(b, base, index);
      id = childId(b, cell);
      level--;
      slot = pager.fetchChild(slot, b, cell, level);
    }
  }

  /** Makes every page of the path from `lowest` on ours to change: copies those that a pin can see, from the root down. */
  #own(lowest: number = 0): void {
    const { pager, root } = this;
    const path = this.#path;
    // No page is younger than its parent: a leaf of this epoch has parents of this epoch.
    const leaf = pager.slotOf[path[lowest] as number] as number;
    if (pager.epochOf[leaf] === pager.epoch) return;
    for (let level = root.level; level >= lowest; level--) {
      const id = path[level] as number;
      const slot = pager.slotOfLoaded(id);
      const birth = pager.epochOf[slot] as number;
      if (birth === pager.epoch) continue;
      if (birth > pager.freelist.pinnedMax) {
        // Nobody sees it: it is as good as born now.
        pager.epochOf[slot] = pager.epoch;
        pager.touched = true;
        continue;
      }
      const copy = pager.copyPage(id);
      path[level] = copy;
      if (level === root.level) {
        root.id = copy;
        root.crc = 0;
      } else {
        this.#pointTo(level + 1, this.#index[level + 1] as number, copy);
      }
    }
  }

  /** Cell `index` of the path's page on `level` leads to `child` from now on. */
  #pointTo(level: number, index: number, child: number): void {
    const slot = this.pager.slotOfLoaded(this.#path[level] as number);
    const b = this.pager.slab(slot);
    const cell = cellAt(b, this.pager.base(slot), index);
    setChildId(b, cell, child);
    setChildCrc(b, cell, 0);
  }

  /** One key more or less below the path. */
  #addCount(change: number): void {
    const { pager, root } = this;
    root.count += change;
    for (let level = root.level; level > 0; level--) {
      const slot = pager.slotOf[this.#path[level] as number] as number;
      const b = pager.slab(slot);
      const cell = cellAt(b, pager.base(slot), this.#index[level] as number);
      setChildCount(b, cell, childCount(b, cell) + change);
    }
  }

  // Leaf cells ------------------------------------------------------------------------------------------------------

  #writeValue(b: Uint8Array, cell: number, key: Uint8Array, value: Uint8Array): void {
    const { pager } = this;
    if (valueFits(key.length, value.length)) {
      b[cell + 2] = value.length;
      b[cell + 3] = value.length >>> 8;
      copyBytes(b, valueStart(b, cell), value, 0, value.length);
      return;
    }
    const first = writeOverflow(pager, value, 0, value.length);
    writeU16(b, cell, key.length | VALUE_OVERFLOW_BIT);
    writeU16(b, cell + 2, 0);
    const at = valueStart(b, cell);
    writeU32(b, at, value.length);
    writeU32(b, at + 4, first);
    writeU32(b, at + 8, pager.crcOf(first));
  }

  #retireValue(b: Uint8Array, cell: number): void {
    if (!hasOverflowValue(b, cell)) return;
    const at = valueStart(b, cell);
    const { pager } = this;
    retireOverflow(pager, readU32(b, at + 4), readU32(b, at + 8), pager.epoch, readU32(b, at));
  }

  #retireKey(b: Uint8Array, cell: number, level: number): void {
    const length = keyLength(b, cell);
    if (length <= KEY_INLINE_MAX) return;
    const at = keyStart(cell, level) + KEY_INLINE_MAX;
    const { pager } = this;
    retireOverflow(pager, readU32(b, at), readU32(b, at + 4), pager.epoch, length - KEY_INLINE_MAX);
  }

  /** The first overflow page of a key, or 0 when it fits. */
  #writeKeyRest(key: Uint8Array): number {
    return key.length > KEY_INLINE_MAX
      ? writeOverflow(this.pager, key, KEY_INLINE_MAX, key.length)
      : 0;
  }

  /** A new value for the key at `index` of the leaf. */
  #replace(index: number, key: Uint8Array, value: Uint8Array): void {
    const { pager } = this;
    const slot = pager.slotOfLoaded(this.#path[0] as number);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const cell = cellAt(b, base, index);
    const overflow = hasOverflowValue(b, cell);
    if (!overflow && inlineValueLength(b, cell) === value.length) {
      copyBytes(b, valueStart(b, cell), value, 0, value.length);
      return;
    }
    const oldSize = cellSize(b, cell, 0);
    const newSize = leafCellSize(key.length, value.length);
    this.#retireValue(b, cell);
    if (newSize <= oldSize) {
      // The key stays where it is, with its overflow pages.
      writeU16(b, cell, key.length);
      this.#writeValue(b, cell, key, value);
      shortenCell(b, base, cell, oldSize, newSize);
      return;
    }
    this.#retireKey(b, cell, 0);
    removeCell(b, base, 0, index);
    this.#place(index, key, value);
  }

  /** A new key at `index` of the leaf. */
  #insert(index: number, key: Uint8Array, value: Uint8Array): void {
    this.#addCount(1);
    this.#place(index, key, value);
  }

  /** Puts the cell into the leaf, which is split when it is full. */
  #place(index: number, key: Uint8Array, value: Uint8Array): void {
    const { pager } = this;
    const size = leafCellSize(key.length, value.length);
    const rest = this.#writeKeyRest(key);
    const restCrc = rest === 0 ? 0 : pager.crcOf(rest);
    const leaf = this.#path[0] as number;
    const ascending = leaf === this.#lastLeaf && index === this.#lastIndex + 1;
    let target = leaf;
    let at = index;
    let right = 0;
    let slot = pager.slotOfLoaded(leaf);
    let b = pager.slab(slot);
    let base = pager.base(slot);
    if (freeBytes(b, base) < size + SLOT_SIZE) {
      const neighbour = ascending ? 0 : this.#share(index, size, key);
      if (neighbour === 0) right = this.#split(0, index, size, ascending);
      at = this.#splitAt;
      if (this.#splitToOther) {
        target = neighbour === 0 ? right : neighbour;
        slot = pager.slotOfLoaded(target);
        b = pager.slab(slot);
        base = pager.base(slot);
      }
    }
    const cell = insertLeafCell(b, base, at, size, key, rest, restCrc);
    this.#writeValue(b, cell, key, value);
    this.#lastLeaf = target;
    this.#lastIndex = at;
    if (right !== 0) this.#link(1, right, this.#separator(leaf, right));
    else if (ascending && target === leaf && at === cellCount(b, base) - 1) this.#keepEnd();
  }

  /** An ascending run goes on at the end of the path's leaf: if that is the last one, the next put finds it at once. */
  #keepEnd(): void {
    const { changes } = this.root;
    if (this.#endChanges === changes - 1 || this.#isPathLast()) this.#endChanges = changes;
  }

  /** The shortest key above the last of `left` and not above the first of `right`. */
  #separator(left: number, right: number): Uint8Array {
    const { pager } = this;
    const leftSlot = pager.slotOfLoaded(left);
    const rightSlot = pager.slotOfLoaded(right);
    const a = pager.slab(leftSlot);
    const aBase = pager.base(leftSlot);
    const z = pager.slab(rightSlot);
    const zBase = pager.base(rightSlot);
    const below = cellKey(pager, a, cellAt(a, aBase, cellCount(a, aBase) - 1), 0, leftSlot);
    const above = cellKey(pager, z, cellAt(z, zBase, 0), 0, rightSlot);
    return separatorOf(below, above);
  }

  // Sharing ---------------------------------------------------------------------------------------------------------

  /**
   * Instead of a split: the full leaf of the path and the emptier one of its neighbours share their cells evenly, so that
   * a cell of `size` bytes for `index` has room; `#splitToOther` and `#splitAt` say where. Returns the neighbour, or 0
   * when neither has enough room. One that is not in memory is not read for it.
   */
  #share(index: number, size: number, key: Uint8Array): number {
    const { pager, root } = this;
    if (root.level === 0) return 0;
    const own = this.#index[1] as number;
    const left = this.#roomOf(own - 1);
    const right = this.#roomOf(own + 1);
    if (Math.max(left, right) < size + SHARED_MIN) return 0;
    const neighbour = left > right ? own - 1 : own + 1;
    const parentSlot = pager.slotOfLoaded(this.#path[1] as number);
    const p = pager.slab(parentSlot);
    const pBase = pager.base(parentSlot);
    const isLow = own < neighbour;
    const leafSlot = pager.slotOfLoaded(this.#path[0] as number);
    const otherSlot = pager.slotOfLoaded(childId(p, cellAt(p, pBase, neighbour)));
    const low = isLow ? leafSlot : otherSlot;
    const high = isLow ? otherSlot : leafSlot;
    const lowCount = cellCount(pager.slab(low), pager.base(low));
    // The cells of both in one row, and the new one among them.
    const place = isLow ? index : lowCount + index;
    const cut = sharePoint(pager, low, high, place, size);
    if (cut === 0) return 0;
    const isNewLow = place < cut;
    // The same without the new one.
    const kept = isNewLow ? cut - 1 : cut;
    const keyAt = (at: number): Uint8Array => keyInRow(pager, low, high, at);
    const separator = separatorOf(
      place === cut - 1 ? key : keyAt(kept - 1),
      place === cut ? key : keyAt(kept),
    );
    const upper = Math.max(own, neighbour);
    const upperCell = cellAt(p, pBase, upper);
    const growth = branchCellSize(separator.length) - cellSize(p, upperCell, 1);
    if (freeBytes(p, pBase) < growth) return 0;

    const total = lowCount + cellCount(pager.slab(high), pager.base(high));
    const other = this.#ownChild(neighbour);
    const leaf = this.#path[0] as number;
    const lowId = isLow ? leaf : other;
    const highId = isLow ? other : leaf;
    moveBorder(pager, pager.slotOfLoaded(lowId), pager.slotOfLoaded(highId), kept);

    this.#retireKey(p, upperCell, 1);
    removeCell(p, pBase, 1, upper);
    const rest = this.#writeKeyRest(separator);
    const restCrc = rest === 0 ? 0 : pager.crcOf(rest);
    const highKeys = total - kept + (isNewLow ? 0 : 1);
    insertBranchCell(p, pBase, 1, upper, separator, rest, restCrc, highId, highKeys);
    setChildCount(p, cellAt(p, pBase, upper - 1), kept + (isNewLow ? 1 : 0));
    this.#splitToOther = isNewLow !== isLow;
    this.#splitAt = isNewLow ? place : place - cut;
    return other;
  }

  /** The free bytes of a child of the path's page on level 1; -1 when there is none, or it is not in memory. */
  #roomOf(index: number): number {
    const { pager } = this;
    const parentSlot = pager.slotOfLoaded(this.#path[1] as number);
    const p = pager.slab(parentSlot);
    const pBase = pager.base(parentSlot);
    if (index < 0 || index >= cellCount(p, pBase)) return -1;
    const slot = pager.slotOf[childId(p, cellAt(p, pBase, index))] as number;
    return slot === 0 ? -1 : freeBytes(pager.slab(slot), pager.base(slot));
  }

  /** Makes a leaf beside the path's ours to change, as `#own` does with the path. Returns its id. */
  #ownChild(index: number): number {
    const { pager } = this;
    const parentSlot = pager.slotOfLoaded(this.#path[1] as number);
    const p = pager.slab(parentSlot);
    const id = childId(p, cellAt(p, pager.base(parentSlot), index));
    const slot = pager.slotOfLoaded(id);
    const birth = pager.epochOf[slot] as number;
    if (birth === pager.epoch) return id;
    if (birth > pager.freelist.pinnedMax) {
      pager.epochOf[slot] = pager.epoch;
      pager.touched = true;
      return id;
    }
    const copy = pager.copyPage(id);
    this.#pointTo(1, index, copy);
    return copy;
  }

  // Splitting -------------------------------------------------------------------------------------------------------

  /**
   * Moves the upper cells of the path's page on `level` to a new page, so that a cell of `size` bytes for `index` has
   * room; `#splitToOther` and `#splitAt` say where. Returns the id of the new page, which no parent knows yet.
   */
  #split(level: number, index: number, size: number, ascending: boolean): number {
    const { pager } = this;
    const left = this.#path[level] as number;
    const right = pager.newPage(level === 0 ? TYPE_LEAF : TYPE_BRANCH, level);
    const leftSlot = pager.slotOfLoaded(left);
    const rightSlot = pager.slotOfLoaded(right);
    const a = pager.slab(leftSlot);
    const aBase = pager.base(leftSlot);
    const z = pager.slab(rightSlot);
    const zBase = pager.base(rightSlot);
    const from = splitPoint(a, aBase, level, index, ascending);
    appendCells(z, zBase, a, aBase, level, from, cellCount(a, aBase));
    rebuildHeads(z, zBase, level);
    truncateNode(a, aBase, level, from);
    if (index === from) {
      // Between the halves: keep an ascending run together, else go where there is more room.
      const room = freeBytes(a, aBase) - size - SLOT_SIZE;
      this.#splitToOther = room < 0 || (!ascending && freeBytes(a, aBase) < freeBytes(z, zBase));
      if (cellCount(z, zBase) === 0) this.#splitToOther = true;
    } else {
      this.#splitToOther = index > from;
    }
    this.#splitAt = this.#splitToOther ? index - from : index;
    return right;
  }

  /** Makes `right` a sibling of the path's page below `level`: the parent learns of it, and is split when it is full. */
  #link(level: number, right: number, separator: Uint8Array): void {
    const { pager, root } = this;
    const rightSlot = pager.slotOfLoaded(right);
    const moved = subtreeCount(pager.slab(rightSlot), pager.base(rightSlot), level - 1);
    if (level > root.level) this.#growRoot();
    const parent = this.#path[level] as number;
    const index = (this.#index[level] as number) + 1;
    const slot = pager.slotOfLoaded(parent);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const cell = cellAt(b, base, index - 1);
    setChildCount(b, cell, childCount(b, cell) - moved);
    const rest = this.#writeKeyRest(separator);
    const restCrc = rest === 0 ? 0 : pager.crcOf(rest);
    const size = branchCellSize(separator.length);
    if (freeBytes(b, base) >= size + SLOT_SIZE) {
      insertBranchCell(b, base, level, index, separator, rest, restCrc, right, moved);
      return;
    }
    const ascending = index === cellCount(b, base);
    const upper = this.#split(level, index, size, ascending);
    const upperSlot = pager.slotOfLoaded(upper);
    const z = pager.slab(upperSlot);
    const zBase = pager.base(upperSlot);
    if (this.#splitToOther) {
      insertBranchCell(z, zBase, level, this.#splitAt, separator, rest, restCrc, right, moved);
    } else {
      insertBranchCell(b, base, level, this.#splitAt, separator, rest, restCrc, right, moved);
    }
    // The first key of the new page is what separates the two: it moves up.
    const first = cellAt(z, zBase, 0);
    const promoted = cellKey(pager, z, first, level, upperSlot).slice();
    this.#retireKey(z, first, level);
    clearFirstKey(z, zBase, level);
    rebuildHeads(z, zBase, level);
    this.#link(level + 1, upper, promoted);
  }

  /** Puts a branch with one child, the old root, above it. */
  #growRoot(): void {
    const { pager, root } = this;
    const level = root.level + 1;
    assert(level < LEVELS_MAX, "a tree cannot be deeper than its pages allow");
    const id = pager.newPage(TYPE_BRANCH, level);
    const slot = pager.slotOfLoaded(id);
    const empty = new Uint8Array(0);
    insertBranchCell(
      pager.slab(slot),
      pager.base(slot),
      level,
      0,
      empty,
      0,
      0,
      root.id,
      root.count,
    );
    this.#path[level] = id;
    this.#index[level] = 0;
    root.id = id;
    root.crc = 0;
    root.level = level;
  }

  // Shrinking -------------------------------------------------------------------------------------------------------

  /** After a removal from the path's page on `level`: the page goes when it is empty, and is merged when it is small. */
  #shrink(level: number): void {
    const { pager, root } = this;
    if (level === root.level) {
      this.#shrinkRoot();
      return;
    }
    const id = this.#path[level] as number;
    const slot = pager.slotOfLoaded(id);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const used = usedBytes(b, base);
    if (used >= MERGE_BELOW) return;
    const index = this.#index[level + 1] as number;
    if (cellCount(b, base) === 0) {
      pager.retire(id);
      this.#removeChild(level + 1, index);
    } else if (
      !this.#mergeWith(level, index - 1, used) &&
      !this.#mergeWith(level, index + 1, used)
    ) {
      return;
    }
    this.#shrink(level + 1);
  }

  #shrinkRoot(): void {
    const { pager, root } = this;
    for (;;) {
      const slot = pager.slotOfLoaded(root.id);
      const b = pager.slab(slot);
      const base = pager.base(slot);
      const count = cellCount(b, base);
      if (count === 0) {
        assert(root.count === 0, "a tree without cells has no keys");
        pager.retire(root.id);
        root.id = 0;
        root.crc = 0;
        root.level = 0;
        return;
      }
      if (root.level === 0 || count > 1) return;
      const cell = cellAt(b, base, 0);
      const child = childId(b, cell);
      const crc = childCrc(b, cell);
      const level = root.level - 1;
      pager.fetchChild(slot, b, cell, level);
      pager.retire(root.id);
      root.id = child;
      root.crc = crc;
      root.level = level;
    }
  }

  /** Removes cell `index` of the path's page on `level`; its child is already gone. */
  #removeChild(level: number, index: number): void {
    const { pager } = this;
    const slot = pager.slotOfLoaded(this.#path[level] as number);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    this.#retireKey(b, cellAt(b, base, index), level);
    removeCell(b, base, level, index);
    if (index === 0 && cellCount(b, base) > 0) {
      this.#retireKey(b, cellAt(b, base, 0), level);
      clearFirstKey(b, base, level);
    }
  }

  /** Takes the cells of the sibling at `neighbour` of the parent into the path's page, when they fit well. */
  #mergeWith(level: number, neighbour: number, used: number): boolean {
    const { pager } = this;
    const index = this.#index[level + 1] as number;
    const parentSlot = pager.slotOfLoaded(this.#path[level + 1] as number);
    const p = pager.slab(parentSlot);
    const pBase = pager.base(parentSlot);
    if (neighbour < 0 || neighbour >= cellCount(p, pBase)) return false;
    const cell = cellAt(p, pBase, neighbour);
    const sibling = childId(p, cell);
    const siblingSlot = pager.fetchChild(parentSlot, p, cell, level);
    const s = pager.slab(siblingSlot);
    const sBase = pager.base(siblingSlot);
    // In a branch the first key of the upper page, which is empty there, comes down from the parent.
    const upper = Math.max(index, neighbour);
    const upperCell = cellAt(p, pBase, upper);
    const extra = level === 0 ? 0 : branchCellSize(keyLength(p, upperCell)) - branchCellSize(0);
    if (used + usedBytes(s, sBase) + extra > MERGED_MAX) return false;

    const slot = pager.slotOfLoaded(this.#path[level] as number);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const lowFirst = neighbour < index;
    MERGED.fill(0);
    initPage(MERGED, 0, 0, level === 0 ? TYPE_LEAF : TYPE_BRANCH, level, 0);
    const [low, lowBase, high, highBase] = lowFirst ? [s, sBase, b, base] : [b, base, s, sBase];
    appendCells(MERGED, 0, low, lowBase, level, 0, cellCount(low, lowBase));
    let from = 0;
    if (level > 0) {
      const separator = cellKey(pager, p, upperCell, level + 1, parentSlot).slice();
      const rest = this.#writeKeyRest(separator);
      const restCrc = rest === 0 ? 0 : pager.crcOf(rest);
      const at = cellCount(MERGED, 0);
      const first = cellAt(high, highBase, 0);
      const child = childId(high, first);
      const keys = childCount(high, first);
      insertBranchCell(MERGED, 0, level, at, separator, rest, restCrc, child, keys);
      setChildCrc(MERGED, cellAt(MERGED, 0, at), childCrc(high, first));
      from = 1;
    }
    appendCells(MERGED, 0, high, highBase, level, from, cellCount(high, highBase));
    rebuildHeads(MERGED, 0, level);
    replaceBody(b, base, MERGED, 0);

    const lower = Math.min(index, neighbour);
    const lowerCell = cellAt(p, pBase, lower);
    setChildCount(p, lowerCell, childCount(p, lowerCell) + childCount(p, upperCell));
    this.#pointTo(level + 1, lower, this.#path[level] as number);
    pager.retire(sibling);
    this.#removeChild(level + 1, upper);
    return true;
  }
}

/** Whether a leaf cell has overflow pages, not too many, that begin at `limit` or behind. */
function isFar(b: Uint8Array, cell: number, limit: number): boolean {
  if (hasOverflowValue(b, cell)) {
    const at = valueStart(b, cell);
    if (readU32(b, at) > MOVED_VALUE_MAX) return false;
    if (readU32(b, at + 4) >= limit) return true;
  }
  if (keyLength(b, cell) <= KEY_INLINE_MAX) return false;
  return readU32(b, keyStart(cell, 0) + KEY_INLINE_MAX) >= limit;
}

/** Where `#mergeWith` builds the merged node; overwritten by each call. */
const MERGED: Uint8Array = new Uint8Array(PAGE_SIZE);

/**
 * The first cell that moves to the new page: the middle by bytes, so that the fuller half keeps room for the largest
 * cell; in an ascending run the place of the new cell, so that pages behind the run stay full.
 */
function splitPoint(
  b: Uint8Array,
  base: number,
  level: number,
  index: number,
  ascending: boolean,
): number {
  const count = cellCount(b, base);
  assert(count >= 3, "a page that is full has at least three cells");
  // A branch keeps two children on each side.
  if (ascending) return level === 0 ? index : Math.min(index, count - 1);
  const total = usedBytes(b, base);
  let left = 0;
  let at = 0;
  while (at < count - 1) {
    const size = cellSize(b, cellAt(b, base, at), level) + SLOT_SIZE;
    // Stop where taking one more would leave the halves further apart.
    if (at > 0 && Math.abs(total - 2 * (left + size)) >= Math.abs(total - 2 * left)) break;
    left += size;
    at++;
  }
  assert(left <= BODY_SIZE - CELL_SIZE_MAX - SLOT_SIZE, "the lower half has room for any cell");
  return at;
}
