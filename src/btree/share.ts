/**
 * Two neighbouring leaves as one row of cells, and how it is cut in two: for a full leaf that shares with a neighbour before
 * it is split. `low` and `high` are where the two are in memory.
 */
import { assert, compareBytes } from "../base/index.ts";
import { BODY_SIZE, cellCount, SLOT_SIZE } from "./layout.ts";
import { cellAt, cellKey, cellSize, insertCells, removeCells, usedBytes } from "./node.ts";
import type { Pager } from "./pager.ts";

/**
 * Moves cells across the border between the two, so that the first `kept` cells of the row stand in `low`. Only what
 * moves is copied. There is room for it.
 */
export function moveBorder(pager: Pager, low: number, high: number, kept: number): void {
  const a = pager.slab(low);
  const aBase = pager.base(low);
  const z = pager.slab(high);
  const zBase = pager.base(high);
  const lowCount = cellCount(a, aBase);
  if (kept < lowCount) {
    insertCells(z, zBase, 0, a, aBase, kept, lowCount);
    removeCells(a, aBase, kept, lowCount);
  } else if (kept > lowCount) {
    insertCells(a, aBase, lowCount, z, zBase, 0, kept - lowCount);
    removeCells(z, zBase, 0, kept - lowCount);
  }
}

/** The shortest key above `below` and not above `above`. */
export function separatorOf(below: Uint8Array, above: Uint8Array): Uint8Array {
  let shared = 0;
  while (shared < below.length && below[shared] === above[shared]) shared++;
  assert(
    shared < above.length && compareBytes(below, above) < 0,
    "leaves are separated between keys",
  );
  return above.slice(0, shared + 1);
}

/** The key of cell `at` of the row that the cells of two leaves make. */
export function keyInRow(pager: Pager, low: number, high: number, at: number): Uint8Array {
  const lowCount = cellCount(pager.slab(low), pager.base(low));
  const slot = at < lowCount ? low : high;
  const b = pager.slab(slot);
  const cell = cellAt(b, pager.base(slot), at < lowCount ? at : at - lowCount);
  return cellKey(pager, b, cell, 0, slot);
}

/**
 * How many cells of the row, with a new one of `size` bytes at `place`, make its first half by bytes. 0: large cells leave
 * a half that is too much for a page.
 */
export function sharePoint(
  pager: Pager,
  low: number,
  high: number,
  place: number,
  size: number,
): number {
  const a = pager.slab(low);
  const aBase = pager.base(low);
  const z = pager.slab(high);
  const zBase = pager.base(high);
  const lowCount = cellCount(a, aBase);
  const total = usedBytes(a, aBase) + usedBytes(z, zBase) + size + SLOT_SIZE;
  let bytes = 0;
  for (let at = 0; ; at++) {
    const old = at > place ? at - 1 : at;
    const cell =
      at === place
        ? size
        : old < lowCount
          ? cellSize(a, cellAt(a, aBase, old), 0)
          : cellSize(z, cellAt(z, zBase, old - lowCount), 0);
    // The cell that the middle lies in goes where more of it is.
    if (2 * bytes + cell + SLOT_SIZE >= total)
      return Math.max(bytes, total - bytes) <= BODY_SIZE ? at : 0;
    bytes += cell + SLOT_SIZE;
  }
}
