/**
 * A leaf or branch as slots and cells: finding, adding and removing cells inside one page. A node is named by (bytes,
 * base, level); level 0 is a leaf.
 *
 * Invariants of a node:
 * - keys ascend strictly; the first cell of a branch has the empty key and stands for everything below the second;
 * - all keys (of a branch: all but the first) begin with the same `prefix` bytes, and each slot repeats the four
 *   bytes behind them, so that most steps of a search stay inside the slots;
 * - bytes that belong to no header, slot or cell are zero: pages are the same for the same history, and nothing that
 *   was deleted, and nothing of this process, goes to disk (fault-rules D35).
 */
import {
  assert,
  compareBytes,
  EMPTY_BYTES,
  readU16,
  readU32,
  viewOf,
  writeU16,
  writeU32,
} from "../base/index.ts";
import {
  BODY,
  BRANCH_CELL_HEADER,
  CELL_CHILD,
  CELL_COUNT,
  CELL_CRC,
  CELL_SIZE_MAX,
  cellCount,
  cellCountIn,
  contentStart,
  garbageBytes,
  KEY_INLINE_MAX,
  LEAF_CELL_HEADER,
  PAGE_SIZE,
  POINTER_SIZE,
  prefixLength,
  prefixLengthIn,
  setCellCount,
  setContentStart,
  setGarbageBytes,
  setPrefixLength,
  SLOT_OFFSET,
  SLOT_SIZE,
  VALUE_OVERFLOW_BIT,
  VALUE_POINTER_SIZE,
} from "./layout.ts";
import { readOverflow } from "./overflow.ts";
import type { Pager } from "./pager.ts";

const KEY_LENGTH_MASK: number = VALUE_OVERFLOW_BIT - 1;

/**
 * The slot of a leaf that a search looks at first, whatever their number is: so it is asked of memory together with the
 * header, a cache line or two before it, and not after that has come. About the middle where values are of a hundred bytes.
 */
const LEAF_PROBE = 11;

/** Where cells are gathered before they go back into their page; overwritten by each use. */
const SCRATCH: Uint8Array = new Uint8Array(PAGE_SIZE);

/** The first cell whose key counts: the first of a branch has none. */
export function firstKeyed(level: number): number {
  return level === 0 ? 0 : 1;
}

/** Where the cell of a slot begins in `b`. */
export function cellAt(b: Uint8Array, base: number, index: number): number {
  const slot = base + BODY + index * SLOT_SIZE + SLOT_OFFSET;
  return base + ((b[slot] as number) | ((b[slot + 1] as number) << 8));
}

export function keyLength(b: Uint8Array, cell: number): number {
  return ((b[cell] as number) | ((b[cell + 1] as number) << 8)) & KEY_LENGTH_MASK;
}

export function keyStart(cell: number, level: number): number {
  return cell + (level === 0 ? LEAF_CELL_HEADER : BRANCH_CELL_HEADER);
}

/** What a key of this length takes in its cell. */
function keySpace(length: number): number {
  return length > KEY_INLINE_MAX ? KEY_INLINE_MAX + POINTER_SIZE : length;
}

export function hasOverflowValue(b: Uint8Array, cell: number): boolean {
  return ((b[cell + 1] as number) & 0x80) !== 0;
}

/** Where the value of a leaf cell, or the pointer to it, begins. */
export function valueStart(b: Uint8Array, cell: number): number {
  return cell + LEAF_CELL_HEADER + keySpace(keyLength(b, cell));
}

export function inlineValueLength(b: Uint8Array, cell: number): number {
  return readU16(b, cell + 2);
}

export function cellSize(b: Uint8Array, cell: number, level: number): number {
  const key = keySpace(keyLength(b, cell));
  if (level > 0) return BRANCH_CELL_HEADER + key;
  const value = hasOverflowValue(b, cell) ? VALUE_POINTER_SIZE : inlineValueLength(b, cell);
  return LEAF_CELL_HEADER + key + value;
}

/** The size of a leaf cell with the value inside; when that is more than CELL_SIZE_MAX the value goes elsewhere. */
export function leafCellSize(keyLength: number, valueLength: number): number {
  const inline = LEAF_CELL_HEADER + keySpace(keyLength) + valueLength;
  return inline <= CELL_SIZE_MAX
    ? inline
    : LEAF_CELL_HEADER + keySpace(keyLength) + VALUE_POINTER_SIZE;
}

export function valueFits(keyLength: number, valueLength: number): boolean {
  return LEAF_CELL_HEADER + keySpace(keyLength) + valueLength <= CELL_SIZE_MAX;
}

export function branchCellSize(keyLength: number): number {
  return BRANCH_CELL_HEADER + keySpace(keyLength);
}

export function childId(b: Uint8Array, cell: number): number {
  return readU32(b, cell + CELL_CHILD);
}

export function setChildId(b: Uint8Array, cell: number, id: number): void {
  writeU32(b, cell + CELL_CHILD, id);
}

export function childCrc(b: Uint8Array, cell: number): number {
  return readU32(b, cell + CELL_CRC);
}

export function setChildCrc(b: Uint8Array, cell: number, crc: number): void {
  writeU32(b, cell + CELL_CRC, crc);
}

/** How many keys are below a child. */
export function childCount(b: Uint8Array, cell: number): number {
  return readU32(b, cell + CELL_COUNT) + readU16(b, cell + CELL_COUNT + 4) * 0x1_0000_0000;
}

export function setChildCount(b: Uint8Array, cell: number, count: number): void {
  writeU32(b, cell + CELL_COUNT, count % 0x1_0000_0000);
  writeU16(b, cell + CELL_COUNT + 4, Math.floor(count / 0x1_0000_0000));
}

/** Bytes that a new cell and its slot may take. */
export function freeBytes(b: Uint8Array, base: number): number {
  return contentStart(b, base) - BODY - cellCount(b, base) * SLOT_SIZE + garbageBytes(b, base);
}

/** Bytes of slots and cells. */
export function usedBytes(b: Uint8Array, base: number): number {
  return PAGE_SIZE - BODY - freeBytes(b, base);
}

/** How many keys are below the node. */
export function subtreeCount(b: Uint8Array, base: number, level: number): number {
  const count = cellCount(b, base);
  if (level === 0) return count;
  let keys = 0;
  for (let i = 0; i < count; i++) keys += childCount(b, cellAt(b, base, i));
  return keys;
}

/**
 * Four bytes of a key from `at` as a signed number whose order is the order of the bytes; zeros behind the end of the
 * part that a cell holds.
 */
function headOfKey(key: Uint8Array, at: number): number {
  const length = key.length < KEY_INLINE_MAX ? key.length : KEY_INLINE_MAX;
  if (at + 4 <= length) {
    return (
      (((key[at] as number) << 24) |
        ((key[at + 1] as number) << 16) |
        ((key[at + 2] as number) << 8) |
        (key[at + 3] as number)) ^
      0x8000_0000
    );
  }
  let head = 0;
  for (let i = 0; i < 4; i++) head = (head << 8) | (at + i < length ? (key[at + i] as number) : 0);
  return head ^ 0x8000_0000;
}

/**
 * Looks for `key` among the cells that have keys: its index when it is there, else -1 - i where i is the index of the
 * first greater key. Of a branch, the child to descend into is `childIndex` of the result. `slot` is where the page
 * is in memory; keys that tie beyond their inline part need its epoch.
 *
 * The search takes for granted that `key` begins with the prefix of the node. A hit compares the whole key and needs
 * no more; a miss looks at the prefix afterwards, so that hits, which are most, touch one cell and not two.
 */
export function search(
  pager: Pager,
  b: Uint8Array,
  base: number,
  level: number,
  slot: number,
  key: Uint8Array,
): number {
  const first = level === 0 ? 0 : 1;
  const view = pager.view(slot);
  const count = cellCountIn(view, base);
  const prefix = prefixLengthIn(view, base);
  const head = headOfKey(key, prefix);
  let low = first;
  let high = count;
  if (level === 0) {
    const probe = view.getInt32(base + BODY + LEAF_PROBE * SLOT_SIZE) ^ 0x8000_0000;
    if (LEAF_PROBE < count) {
      if (probe < head) low = LEAF_PROBE + 1;
      else if (probe > head) high = LEAF_PROBE;
    }
  }
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = base + BODY + middle * SLOT_SIZE;
    const other = view.getInt32(at) ^ 0x8000_0000;
    if (other < head) {
      low = middle + 1;
    } else if (other > head) {
      high = middle;
    } else {
      const cell = base + view.getUint16(at + SLOT_OFFSET, true);
      const order = compareCell(pager, b, cell, level, slot, key);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
  }
  if (prefix > 0) {
    // Every keyed cell begins with the prefix; a key that does not is below or above all of them.
    const at = keyStart(cellAt(b, base, first), level);
    const shared = prefix < key.length ? prefix : key.length;
    for (let i = 0; i < shared; i++) {
      const difference = (key[i] as number) - (b[at + i] as number);
      if (difference !== 0) return difference < 0 ? -1 - first : -1 - count;
    }
    if (key.length < prefix) return -1 - first;
  }
  return -1 - low;
}

/** The cell to descend into after `search` in a branch. */
export function childIndex(found: number): number {
  return found >= 0 ? found : -2 - found;
}

/** The order of a cell's key and `key`. */
export function compareCell(
  pager: Pager,
  b: Uint8Array,
  cell: number,
  level: number,
  slot: number,
  key: Uint8Array,
): number {
  const length = keyLength(b, cell);
  const inline = length < KEY_INLINE_MAX ? length : KEY_INLINE_MAX;
  const shared = inline < key.length ? inline : key.length;
  const at = keyStart(cell, level);
  for (let i = 0; i < shared; i++) {
    const difference = (b[at + i] as number) - (key[i] as number);
    if (difference !== 0) return difference;
  }
  // Only keys that tie on their whole inline part need the rest.
  if (length <= KEY_INLINE_MAX || key.length <= KEY_INLINE_MAX) return length - key.length;
  return compareBytes(keyRest(pager, b, cell, level, slot), key.subarray(KEY_INLINE_MAX));
}

/** What of a long key is in overflow pages. */
function keyRest(
  pager: Pager,
  b: Uint8Array,
  cell: number,
  level: number,
  slot: number,
): Uint8Array {
  const epoch = pager.epochOf[slot] as number;
  const rest = new Uint8Array(keyLength(b, cell) - KEY_INLINE_MAX);
  const pointer = keyStart(cell, level) + KEY_INLINE_MAX;
  readOverflow(pager, readU32(b, pointer), readU32(b, pointer + 4), epoch, rest.length, rest, 0);
  return rest;
}

/** The whole key of a cell: a view into the page in `slot` when it is all there, else a copy. */
export function cellKey(
  pager: Pager,
  b: Uint8Array,
  cell: number,
  level: number,
  slot: number,
): Uint8Array {
  const length = keyLength(b, cell);
  const at = keyStart(cell, level);
  if (length <= KEY_INLINE_MAX) return length === 0 ? EMPTY_BYTES : viewOf(b, at, at + length);
  const key = new Uint8Array(length);
  key.set(b.subarray(at, at + KEY_INLINE_MAX));
  key.set(keyRest(pager, b, cell, level, slot), KEY_INLINE_MAX);
  return key;
}

/** The value of a leaf cell: a view into the page in `slot` when it is there, else a copy. */
export function cellValue(pager: Pager, b: Uint8Array, cell: number, slot: number): Uint8Array {
  const at = valueStart(b, cell);
  if (!hasOverflowValue(b, cell)) return viewOf(b, at, at + inlineValueLength(b, cell));
  const value = new Uint8Array(readU32(b, at));
  const epoch = pager.epochOf[slot] as number;
  readOverflow(pager, readU32(b, at + 4), readU32(b, at + 8), epoch, value.length, value, 0);
  return value;
}

/** Copies `size` bytes; short ones in a loop, for a call costs more than they do. */
export function copyBytes(
  target: Uint8Array,
  targetAt: number,
  source: Uint8Array,
  sourceAt: number,
  size: number,
): void {
  if (size <= 40) {
    for (let i = 0; i < size; i++) target[targetAt + i] = source[sourceAt + i] as number;
  } else if (sourceAt === 0 && size === source.length) {
    target.set(source, targetAt);
  } else {
    target.set(source.subarray(sourceAt, sourceAt + size), targetAt);
  }
}

/** Writes the first four bytes behind the prefix of a cell's key into its slot. */
function writeHead(
  b: Uint8Array,
  base: number,
  index: number,
  level: number,
  prefix: number,
): void {
  const slot = base + BODY + index * SLOT_SIZE;
  const cell = cellAt(b, base, index);
  const length = Math.min(keyLength(b, cell), KEY_INLINE_MAX);
  const at = keyStart(cell, level);
  for (let i = 0; i < 4; i++) {
    b[slot + i] = prefix + i < length ? (b[at + prefix + i] as number) : 0;
  }
}

/** Finds the prefix of all keys anew and writes all heads. */
export function rebuildHeads(b: Uint8Array, base: number, level: number): void {
  const count = cellCount(b, base);
  const first = firstKeyed(level);
  let prefix = 0;
  if (count > first) {
    // Keys ascend, so what the first and the last share all share.
    const low = cellAt(b, base, first);
    const high = cellAt(b, base, count - 1);
    const lowAt = keyStart(low, level);
    const highAt = keyStart(high, level);
    const shared = Math.min(keyLength(b, low), keyLength(b, high), KEY_INLINE_MAX);
    while (prefix < shared && b[lowAt + prefix] === b[highAt + prefix]) prefix++;
  }
  setPrefixLength(b, base, prefix);
  for (let i = first; i < count; i++) writeHead(b, base, i, level, prefix);
}

/** Before `key` joins the node: the prefix becomes what it shares with the others. */
function narrowPrefix(b: Uint8Array, base: number, level: number, key: Uint8Array): void {
  const count = cellCount(b, base);
  const first = firstKeyed(level);
  const before = prefixLength(b, base);
  let prefix = 0;
  if (count <= first) {
    prefix = key.length < KEY_INLINE_MAX ? key.length : KEY_INLINE_MAX;
  } else if (before > 0) {
    const at = keyStart(cellAt(b, base, first), level);
    const shared = before < key.length ? before : key.length;
    while (prefix < shared && b[at + prefix] === key[prefix]) prefix++;
  }
  if (prefix === before) return;
  setPrefixLength(b, base, prefix);
  for (let i = first; i < count; i++) writeHead(b, base, i, level, prefix);
}

/** Moves all cells to the end of the page, in the order of their slots, so that the free bytes are in one piece. */
function compactNode(b: Uint8Array, base: number, level: number): void {
  const count = cellCount(b, base);
  let content = PAGE_SIZE;
  for (let i = 0; i < count; i++) {
    const cell = cellAt(b, base, i);
    const size = cellSize(b, cell, level);
    content -= size;
    copyBytes(SCRATCH, content, b, cell, size);
    writeU16(b, base + BODY + i * SLOT_SIZE + SLOT_OFFSET, content);
  }
  b.fill(0, base + BODY + count * SLOT_SIZE, base + content);
  b.set(SCRATCH.subarray(content), base + content);
  setContentStart(b, base, content);
  setGarbageBytes(b, base, 0);
}

/**
 * Opens a slot at `index` and room for a cell of `size` bytes, which the caller fills; there is room for it. Returns
 * where the cell begins.
 */
function openCell(b: Uint8Array, base: number, level: number, index: number, size: number): number {
  const count = cellCount(b, base);
  const slots = base + BODY;
  if (contentStart(b, base) - BODY - (count + 1) * SLOT_SIZE < size) compactNode(b, base, level);
  const content = contentStart(b, base) - size;
  assert(content >= BODY + (count + 1) * SLOT_SIZE, "a cell is added where it has room");
  const at = slots + index * SLOT_SIZE;
  if (index < count) b.copyWithin(at + SLOT_SIZE, at, slots + count * SLOT_SIZE);
  b[at + SLOT_OFFSET] = content;
  b[at + SLOT_OFFSET + 1] = content >>> 8;
  setCellCount(b, base, count + 1);
  setContentStart(b, base, content);
  return base + content;
}

/** Writes a key into a cell, with bit 15 clear; `rest` is the page with what does not fit, or 0. */
export function writeKey(
  b: Uint8Array,
  cell: number,
  level: number,
  key: Uint8Array,
  rest: number,
  restCrc: number,
): void {
  b[cell] = key.length;
  b[cell + 1] = key.length >>> 8;
  const at = keyStart(cell, level);
  if (key.length <= KEY_INLINE_MAX) {
    copyBytes(b, at, key, 0, key.length);
  } else {
    copyBytes(b, at, key, 0, KEY_INLINE_MAX);
    writeU32(b, at + KEY_INLINE_MAX, rest);
    writeU32(b, at + KEY_INLINE_MAX + 4, restCrc);
  }
}

/** Adds a leaf cell with `key`; the value, or the pointer to it, is the caller's to write. Returns the cell. */
export function insertLeafCell(
  b: Uint8Array,
  base: number,
  index: number,
  size: number,
  key: Uint8Array,
  rest: number,
  restCrc: number,
): number {
  narrowPrefix(b, base, 0, key);
  const cell = openCell(b, base, 0, index, size);
  writeKey(b, cell, 0, key, rest, restCrc);
  writeHead(b, base, index, 0, prefixLength(b, base));
  return cell;
}

/** Adds a branch cell at `index`; at 0 it takes the empty key and the heads do not change. */
export function insertBranchCell(
  b: Uint8Array,
  base: number,
  level: number,
  index: number,
  key: Uint8Array,
  rest: number,
  restCrc: number,
  child: number,
  count: number,
): void {
  if (index > 0) narrowPrefix(b, base, level, key);
  const cell = openCell(b, base, level, index, branchCellSize(key.length));
  writeKey(b, cell, level, key, rest, restCrc);
  setChildId(b, cell, child);
  setChildCrc(b, cell, 0);
  setChildCount(b, cell, count);
  if (index > 0) writeHead(b, base, index, level, prefixLength(b, base));
}

/** Zeroes bytes of a cell and counts them as free. */
function wipe(b: Uint8Array, base: number, at: number, size: number): void {
  b.fill(0, at, at + size);
  if (at - base === contentStart(b, base)) setContentStart(b, base, at - base + size);
  else setGarbageBytes(b, base, garbageBytes(b, base) + size);
}

/** Removes slot and cell; overflow pages are the caller's to retire. */
export function removeCell(b: Uint8Array, base: number, level: number, index: number): void {
  const count = cellCount(b, base);
  const cell = cellAt(b, base, index);
  wipe(b, base, cell, cellSize(b, cell, level));
  const at = base + BODY + index * SLOT_SIZE;
  const end = base + BODY + count * SLOT_SIZE;
  if (index + 1 < count) b.copyWithin(at, at + SLOT_SIZE, end);
  b.fill(0, end - SLOT_SIZE, end);
  setCellCount(b, base, count - 1);
  if (count - 1 <= firstKeyed(level)) setPrefixLength(b, base, 0);
  if (level > 0 && index === 0 && count > 1) b.fill(0, at, at + SLOT_OFFSET);
  if (count === 1) {
    setContentStart(b, base, PAGE_SIZE);
    setGarbageBytes(b, base, 0);
  }
}

/** Makes a cell shorter by `size` bytes at its end. */
export function shortenCell(
  b: Uint8Array,
  base: number,
  cell: number,
  oldSize: number,
  newSize: number,
): void {
  if (newSize === oldSize) return;
  b.fill(0, cell + newSize, cell + oldSize);
  setGarbageBytes(b, base, garbageBytes(b, base) + oldSize - newSize);
}

/** Takes the key of the first cell of a branch away, which then stands for everything below the second. */
export function clearFirstKey(b: Uint8Array, base: number, level: number): void {
  const cell = cellAt(b, base, 0);
  const size = cellSize(b, cell, level);
  writeU16(b, cell, 0);
  b.fill(0, base + BODY, base + BODY + SLOT_OFFSET);
  shortenCell(b, base, cell, size, BRANCH_CELL_HEADER);
}

/** Appends the cells [from, to) of another node as they are. Heads are the caller's to rebuild. */
export function appendCells(
  b: Uint8Array,
  base: number,
  source: Uint8Array,
  sourceBase: number,
  level: number,
  from: number,
  to: number,
): void {
  let count = cellCount(b, base);
  let content = contentStart(b, base);
  for (let i = from; i < to; i++) {
    const cell = cellAt(source, sourceBase, i);
    const size = cellSize(source, cell, level);
    content -= size;
    assert(content >= BODY + (count + 1) * SLOT_SIZE, "cells are appended where they have room");
    copyBytes(b, base + content, source, cell, size);
    writeU16(b, base + BODY + count * SLOT_SIZE + SLOT_OFFSET, content);
    count++;
  }
  setCellCount(b, base, count);
  setContentStart(b, base, content);
}

/** Inserts the leaf cells [from, to) of another leaf at `index`, as they are. There is room for them. */
export function insertCells(
  b: Uint8Array,
  base: number,
  index: number,
  source: Uint8Array,
  sourceBase: number,
  from: number,
  to: number,
): void {
  const count = cellCount(b, base);
  const added = to - from;
  let size = 0;
  for (let i = from; i < to; i++) size += cellSize(source, cellAt(source, sourceBase, i), 0);
  const slotsEnd = BODY + (count + added) * SLOT_SIZE;
  if (contentStart(b, base) - slotsEnd < size) compactNode(b, base, 0);
  let content = contentStart(b, base);
  assert(content - slotsEnd >= size, "cells are inserted where they have room");
  const at = base + BODY + index * SLOT_SIZE;
  b.copyWithin(at + added * SLOT_SIZE, at, base + BODY + count * SLOT_SIZE);
  for (let i = from; i < to; i++) {
    const cell = cellAt(source, sourceBase, i);
    const bytes = cellSize(source, cell, 0);
    content -= bytes;
    copyBytes(b, base + content, source, cell, bytes);
    writeU16(b, at + (i - from) * SLOT_SIZE + SLOT_OFFSET, content);
  }
  setCellCount(b, base, count + added);
  setContentStart(b, base, content);
  rebuildHeads(b, base, 0);
}

/** Removes the leaf cells [from, to); what stands between them moves up, so that the free bytes stay in one piece. */
export function removeCells(b: Uint8Array, base: number, from: number, to: number): void {
  const count = cellCount(b, base);
  const slots = base + BODY;
  const start = contentStart(b, base);
  let content = start;
  for (let i = from; i < to; i++) {
    const cell = cellAt(b, base, i);
    const size = cellSize(b, cell, 0);
    const offset = cell - base;
    b.copyWithin(base + content + size, base + content, cell);
    content += size;
    // Also of the cells that are still to go.
    for (let slot = slots + SLOT_OFFSET; slot < slots + count * SLOT_SIZE; slot += SLOT_SIZE) {
      const other = readU16(b, slot);
      if (other < offset) writeU16(b, slot, other + size);
    }
  }
  b.fill(0, base + start, base + content);
  const left = count - (to - from);
  b.copyWithin(slots + from * SLOT_SIZE, slots + to * SLOT_SIZE, slots + count * SLOT_SIZE);
  b.fill(0, slots + left * SLOT_SIZE, slots + count * SLOT_SIZE);
  setCellCount(b, base, left);
  setContentStart(b, base, content);
  rebuildHeads(b, base, 0);
}

/** Removes the cells from `from` on and leaves the others in one piece. */
export function truncateNode(b: Uint8Array, base: number, level: number, from: number): void {
  SCRATCH.fill(0);
  setContentStart(SCRATCH, 0, PAGE_SIZE);
  appendCells(SCRATCH, 0, b, base, level, 0, from);
  rebuildHeads(SCRATCH, 0, level);
  replaceBody(b, base, SCRATCH, 0);
}

/** Replaces the body of a node by that of another. */
export function replaceBody(
  b: Uint8Array,
  base: number,
  source: Uint8Array,
  sourceBase: number,
): void {
  b.set(source.subarray(sourceBase + BODY, sourceBase + PAGE_SIZE), base + BODY);
  setCellCount(b, base, cellCount(source, sourceBase));
  setContentStart(b, base, contentStart(source, sourceBase));
  setGarbageBytes(b, base, garbageBytes(source, sourceBase));
  setPrefixLength(b, base, prefixLength(source, sourceBase));
}
