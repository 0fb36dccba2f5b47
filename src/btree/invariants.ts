/**
 * Walks trees and checks everything that the other files promise: the order and bounds of keys, counts, levels,
 * epochs, prefixes and heads, zeros between cells, CRCs of pages on disk, and that no page is reached twice. The
 * engine does it to its present state under test; `checkDataFile` does it to a file.
 */
import { assert, compareBytes, crc32c, readU32 } from "../base/index.ts";
import {
  BODY,
  BODY_SIZE,
  cellCount,
  contentStart,
  garbageBytes,
  KEY_INLINE_MAX,
  PAGE_SIZE,
  pageCrc,
  pageEpoch,
  pageId,
  pageLevel,
  pageType,
  POINTER_SIZE,
  POINTERS_PER_PAGE,
  prefixLength,
  SLOT_OFFSET,
  SLOT_SIZE,
  TYPE_BRANCH,
  TYPE_LEAF,
  TYPE_OVERFLOW,
} from "./layout.ts";
import type { MetaTree } from "./meta.ts";
import {
  cellAt,
  cellKey,
  cellSize,
  childCount,
  childCrc,
  childId,
  firstKeyed,
  hasOverflowValue,
  keyLength,
  keyStart,
  valueStart,
} from "./node.ts";
import { overflowLevel } from "./overflow.ts";
import { PageSet } from "./page-set.ts";
import type { Pager } from "./pager.ts";

/** What to do where a check fails: throw (the engine), or note it and go on beside the page (a file). */
export type OnProblem = (error: unknown, pageId: number) => void;

/** One walk; `reached` has every page that it met. */
export class TreeWalk {
  readonly reached: PageSet = new PageSet();
  readonly #pager: Pager;
  readonly #onProblem: OnProblem;
  /** Whether pages leave the memory behind the walk. */
  readonly #evict: boolean;

  constructor(pager: Pager, options: { readonly evict: boolean; readonly onProblem: OnProblem }) {
    this.#pager = pager;
    this.#evict = options.evict;
    this.#onProblem = options.onProblem;
  }

  tree(root: MetaTree): void {
    if (root.id === 0) return;
    const keys = this.#node(root.id, root.level, root.crc, this.#pager.epoch, undefined, undefined);
    this.#check(root.id, () => {
      assert(
        keys === undefined || keys === root.count,
        "the count of a tree is its number of keys",
      );
    });
  }

  /** The number of keys below the page; undefined when a part of them cannot be read. */
  #node(
    id: number,
    level: number,
    crc: number,
    epochMax: number,
    low: Uint8Array | undefined,
    high: Uint8Array | undefined,
  ): number | undefined {
    const pager = this.#pager;
    let keys: number | undefined = 0;
    this.#check(
      id,
      () => {
        assert(this.reached.add(id), "a page is in one place");
        const slot = pager.fetchNode(id, level, crc, epochMax);
        const b = pager.slab(slot);
        const base = pager.base(slot);
        this.#header(id, level, level === 0 ? TYPE_LEAF : TYPE_BRANCH, epochMax);
        checkCells(b, base, level);
        const epoch = pager.epochOf[slot] as number;
        const bounds = this.#keys(slot, level, low, high);
        for (const [i, from] of bounds.entries()) {
          const cell = cellAt(b, base, i);
          if (level === 0) {
            this.#value(b, cell, epoch);
            continue;
          }
          const upper = bounds[i + 1] ?? high;
          const child = childId(b, cell);
          const below = this.#node(child, level - 1, childCrc(b, cell), epoch, from, upper);
          if (below === undefined || keys === undefined) keys = undefined;
          else keys += below;
          assert(below === undefined || below === childCount(b, cell), "a subtree count is exact");
        }
        if (level === 0) keys = bounds.length;
      },
      () => {
        keys = undefined;
      },
    );
    if (this.#evict) pager.evict(id);
    return keys;
  }

  #check(id: number, body: () => void, failed?: () => void): void {
    try {
      body();
    } catch (error) {
      failed?.();
      this.#onProblem(error, id);
    }
  }

  #header(id: number, level: number, type: number, epochMax: number): void {
    const pager = this.#pager;
    const slot = pager.slotOfLoaded(id);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    assert(pageId(b, base) === id, "a page names its own id");
    assert(pageType(b, base) === type, "a page is of the type that its parent says");
    assert(pageLevel(b, base) === level, "a child is one level below its parent");
    const epoch = pager.epochOf[slot] as number;
    assert(epoch <= epochMax, "no page is younger than its parent");
    const clean = epoch <= pager.durableEpoch;
    const pinned = epoch <= pager.freelist.pinnedMax;
    assert(clean || pinned || pager.dirty.has(id), "a page is dirty until it is on disk");
    if (!clean) return;
    assert(!pager.dirty.has(id), "a page on disk is not dirty");
    assert(pageEpoch(b, base) === epoch, "a page on disk names its epoch");
    assert(
      crc32c(b, base + 4, base + PAGE_SIZE) === pageCrc(b, base),
      "a page on disk has its CRC",
    );
  }

  /** Checks keys, prefix and heads, and returns the keys of the cells. */
  #keys(
    page: number,
    level: number,
    low: Uint8Array | undefined,
    high: Uint8Array | undefined,
  ): Uint8Array[] {
    const b = this.#pager.slab(page);
    const base = this.#pager.base(page);
    const epoch = this.#pager.epochOf[page] as number;
    const count = cellCount(b, base);
    const first = firstKeyed(level);
    const prefix = prefixLength(b, base);
    const keys: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const cell = cellAt(b, base, i);
      const key = cellKey(this.#pager, b, cell, level, page).slice();
      this.#keyPages(b, cell, level, epoch);
      const slot = base + BODY + i * SLOT_SIZE;
      if (i < first) {
        assert(key.length === 0, "the first cell of a branch has no key");
        for (let h = 0; h < SLOT_OFFSET; h++)
          assert(b[slot + h] === 0, "no key has a head of zeros");
        keys.push(low ?? key);
        continue;
      }
      const inline = Math.min(key.length, KEY_INLINE_MAX);
      assert(prefix <= inline, "the prefix is a part of every key");
      for (let h = 0; h < 4; h++) {
        const expected = prefix + h < inline ? key[prefix + h] : 0;
        assert(b[slot + h] === expected, "a head repeats its key");
      }
      const firstKey = keys[first];
      for (let p = 0; p < prefix && firstKey !== undefined; p++) {
        assert(firstKey[p] === key[p], "all keys of a node share its prefix");
      }
      const before = keys[i - 1];
      assert(before === undefined || i === first || compareBytes(before, key) < 0, "keys ascend");
      assert(low === undefined || compareBytes(low, key) <= 0, "no key is below its bounds");
      assert(high === undefined || compareBytes(key, high) < 0, "no key is above its bounds");
      keys.push(key);
    }
    return keys;
  }

  #keyPages(b: Uint8Array, cell: number, level: number, epoch: number): void {
    const length = keyLength(b, cell);
    if (length <= KEY_INLINE_MAX) return;
    const at = keyStart(cell, level) + KEY_INLINE_MAX;
    this.#overflow(readU32(b, at), readU32(b, at + 4), epoch, length - KEY_INLINE_MAX);
  }

  #value(b: Uint8Array, cell: number, epoch: number): void {
    if (!hasOverflowValue(b, cell)) return;
    const at = valueStart(b, cell);
    this.#overflow(readU32(b, at + 4), readU32(b, at + 8), epoch, readU32(b, at));
  }

  #overflow(id: number, crc: number, epochMax: number, length: number): void {
    this.#overflowPage(id, crc, epochMax, overflowLevel(length), length);
  }

  #overflowPage(id: number, crc: number, epochMax: number, level: number, length: number): void {
    const pager = this.#pager;
    this.#check(id, () => {
      assert(this.reached.add(id), "a page is in one place");
      const slot = pager.fetch(id, TYPE_OVERFLOW, level, crc, epochMax);
      const b = pager.slab(slot);
      const base = pager.base(slot);
      this.#header(id, level, TYPE_OVERFLOW, epochMax);
      const epoch = pager.epochOf[slot] as number;
      if (level === 0) {
        assert(contentStart(b, base) === length, "an overflow page holds what its value needs");
        assertZeros(b, base + BODY + length, base + PAGE_SIZE);
      } else {
        const step = BODY_SIZE * POINTERS_PER_PAGE ** (level - 1);
        const count = cellCount(b, base);
        assert(count === Math.ceil(length / step), "a list has the pointers that its value needs");
        for (let i = 0; i < count; i++) {
          const at = base + BODY + i * POINTER_SIZE;
          const part = Math.min(step, length - i * step);
          this.#overflowPage(readU32(b, at), readU32(b, at + 4), epoch, level - 1, part);
        }
        assertZeros(b, base + BODY + count * POINTER_SIZE, base + PAGE_SIZE);
      }
    });
    if (this.#evict) pager.evict(id);
  }
}

/** Cells lie inside the page without overlapping, the free bytes are counted right, and they are zeros. */
function checkCells(b: Uint8Array, base: number, level: number): void {
  const count = cellCount(b, base);
  assert(count > 0, "no node is empty");
  const slotsEnd = BODY + count * SLOT_SIZE;
  const content = contentStart(b, base);
  assert(slotsEnd <= content && content <= PAGE_SIZE, "slots and cells do not meet");
  const cells: { from: number; to: number }[] = [];
  let taken = 0;
  for (let i = 0; i < count; i++) {
    const cell = cellAt(b, base, i);
    const from = cell - base;
    assert(from >= content && from + 2 <= PAGE_SIZE, "a cell begins among the cells");
    const size = cellSize(b, cell, level);
    assert(from + size <= PAGE_SIZE, "a cell ends in its page");
    cells.push({ from, to: from + size });
    taken += size;
  }
  assert(taken + garbageBytes(b, base) === PAGE_SIZE - content, "free bytes are counted");
  cells.sort((x, y) => x.from - y.from);
  let end = slotsEnd;
  for (const { from, to } of cells) {
    assert(from >= end, "cells do not overlap");
    assertZeros(b, base + end, base + from);
    end = to;
  }
  assertZeros(b, base + end, base + PAGE_SIZE);
}

function assertZeros(b: Uint8Array, from: number, to: number): void {
  let sum = 0;
  for (let at = from; at < to; at++) sum |= b[at] as number;
  assert(sum === 0, "bytes that belong to nothing are zero");
}
