/**
 * Byte strings too long for a cell, in pages of their own: one page, or a list of (id, CRC) pointers to pages, or a
 * list of lists. The length alone tells how many levels there are. Lists rather than chains, so that a value can be
 * given back without reading it, and each page is checked against its pointer like any other child.
 *
 * Overflow pages never change after they are written here: they are sealed at once, and a new value takes new pages.
 */
import { assert, readU32, writeU32 } from "../base/index.ts";
import {
  BODY,
  BODY_SIZE,
  cellCount,
  contentStart,
  POINTER_SIZE,
  POINTERS_PER_PAGE,
  setCellCount,
  setContentStart,
  TYPE_OVERFLOW,
} from "./layout.ts";
import type { Pager } from "./pager.ts";

/** How many bytes a page of the given level leads to. */
function reach(level: number): number {
  return BODY_SIZE * POINTERS_PER_PAGE ** level;
}

/** The level of the first page of `length` bytes. */
export function overflowLevel(length: number): number {
  let level = 0;
  while (reach(level) < length) level++;
  return level;
}

/** Writes bytes[start, end) to new pages and returns the id of the first; its CRC is `pager.crcOf` of it. */
export function writeOverflow(pager: Pager, bytes: Uint8Array, start: number, end: number): number {
  assert(end > start, "there is something to write");
  return writeLevel(pager, bytes, start, end, overflowLevel(end - start));
}

function writeLevel(
  pager: Pager,
  bytes: Uint8Array,
  start: number,
  end: number,
  level: number,
): number {
  const id = pager.newPage(TYPE_OVERFLOW, level);
  const slot = pager.slotOfLoaded(id);
  const b = pager.slab(slot);
  const base = pager.base(slot);
  if (level === 0) {
    b.set(bytes.subarray(start, end), base + BODY);
    setContentStart(b, base, end - start);
  } else {
    const step = reach(level - 1);
    let count = 0;
    for (let at = start; at < end; at += step) {
      const child = writeLevel(pager, bytes, at, Math.min(end, at + step), level - 1);
      const pointer = base + BODY + count * POINTER_SIZE;
      writeU32(b, pointer, child);
      writeU32(b, pointer + 4, pager.crcOf(child));
      count++;
    }
    setCellCount(b, base, count);
  }
  pager.seal(id);
  return id;
}

/** Reads `length` bytes into `into` at `at`. */
export function readOverflow(
  pager: Pager,
  id: number,
  crc: number,
  epochMax: number,
  length: number,
  into: Uint8Array,
  at: number,
): void {
  readLevel(pager, id, crc, epochMax, overflowLevel(length), length, into, at);
}

function readLevel(
  pager: Pager,
  id: number,
  crc: number,
  epochMax: number,
  level: number,
  length: number,
  into: Uint8Array,
  at: number,
): void {
  const slot = pager.fetch(id, TYPE_OVERFLOW, level, crc, epochMax);
  const b = pager.slab(slot);
  const base = pager.base(slot);
  if (level === 0) {
    assert(
      contentStart(b, base) === length,
      "an overflow page holds the bytes that its value needs",
    );
    into.set(b.subarray(base + BODY, base + BODY + length), at);
    return;
  }
  const step = reach(level - 1);
  const count = cellCount(b, base);
  assert(count === Math.ceil(length / step), "a list has the pointers that its value needs");
  const epoch = pager.epochOf[slot] as number;
  for (let i = 0; i < count; i++) {
    const pointer = base + BODY + i * POINTER_SIZE;
    const part = Math.min(step, length - i * step);
    const childCrc = readU32(b, pointer + 4);
    readLevel(pager, readU32(b, pointer), childCrc, epoch, level - 1, part, into, at + i * step);
  }
}

/** Gives the pages of a byte string back. Reads the lists, not the bytes. */
export function retireOverflow(
  pager: Pager,
  id: number,
  crc: number,
  epochMax: number,
  length: number,
): void {
  retireLevel(pager, id, crc, epochMax, overflowLevel(length));
}

function retireLevel(pager: Pager, id: number, crc: number, epochMax: number, level: number): void {
  if (level > 0) {
    const slot = pager.fetch(id, TYPE_OVERFLOW, level, crc, epochMax);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const epoch = pager.epochOf[slot] as number;
    const count = cellCount(b, base);
    for (let i = 0; i < count; i++) {
      const pointer = base + BODY + i * POINTER_SIZE;
      retireLevel(pager, readU32(b, pointer), readU32(b, pointer + 4), epoch, level - 1);
    }
  }
  pager.retire(id);
}
