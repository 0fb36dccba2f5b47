/**
 * Where everything stands in a page. `docs/internals/data-file.md` says the same in words; both change together.
 * Every offset is derived from the field before it, and the limits are tied together at load time.
 *
 *     0        4        8    9     10      12       20      24        26       28       30     32          64
 *     | crc u32 | id u32 | type | level | count u16 | epoch u64 | tag u32 | content | garbage | prefix | zero | reserved | ...
 *
 * A leaf or branch goes on with its slots, which grow upwards, and ends with its cells, which grow downwards:
 *
 *     64                      64 + 6 * count          content                       4096
 *     | slot 0 | slot 1 | ... | zeros                 | cells and garbage (zeros)   |
 */
import { assert, crc32c, readU16, readU32, readU64, writeU16, writeU32 } from "../base/index.ts";
import { KEY_SIZE_MAX } from "./engine.ts";

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;

export const TYPE_LEAF = 1;
export const TYPE_BRANCH = 2;
/** A part of a long value or key (level 0), or the list of such parts (level 1 and up). */
export const TYPE_OVERFLOW = 3;
/** A part of the map of pages in use (level 0), or the list of such parts (level 1). */
export const TYPE_MAP = 4;
export const TYPE_META = 5;

const CRC = 0;
const ID = 4;
const TYPE = 8;
const LEVEL = 9;
const COUNT = 10;
const EPOCH = 12;
const TAG = 20;
/** Leaf and branch: the lowest byte of a cell. Overflow of level 0: how many bytes of the value are here. */
const CONTENT = 24;
/** Bytes between `content` and the end of the page that belong to no cell. */
const GARBAGE = 26;
/** How many first bytes all keys of the page share; the heads in the slots begin behind them. */
const PREFIX = 28;
/** 32 bytes for the nonce and tag of an encrypted page; zeros until then. */
const RESERVED = 32;
/** Where the header ends. */
export const BODY = 64;
export const BODY_SIZE: number = PAGE_SIZE - BODY;

/** A slot: the four key bytes behind the prefix, big endian, and the offset of the cell in the page. */
export const SLOT_SIZE = 6;
export const SLOT_OFFSET = 4;

/** A pointer to another page: its id and its CRC. */
export const POINTER_SIZE = 8;
export const POINTERS_PER_PAGE: number = Math.floor(BODY_SIZE / POINTER_SIZE);

/** What of a key stands in its cell; the rest is in overflow pages. */
export const KEY_INLINE_MAX = 1024;
/** Leaf cell: u16 key length (bit 15: the value is in overflow pages), u16 value length, key, value. */
export const LEAF_CELL_HEADER = 4;
export const VALUE_OVERFLOW_BIT = 0x8000;
/** In place of a long value: u32 length and a pointer. */
export const VALUE_POINTER_SIZE: number = 4 + POINTER_SIZE;
/** Branch cell: u16 key length, u32 child, u32 CRC of the child, u48 keys below the child, key. */
export const BRANCH_CELL_HEADER = 16;
export const CELL_CHILD = 2;
export const CELL_CRC = 6;
export const CELL_COUNT = 10;

/** Three of the largest cells fit in a page, so that halving a full page always makes room for one more. */
export const CELL_SIZE_MAX: number = Math.floor(BODY_SIZE / 3) - SLOT_SIZE;

/** Fan-out is at least three, so 2^32 pages cannot be deeper. */
export const LEVELS_MAX = 24;

/** Page ids are 32 bits; 0 means none, and 0 and 1 are the metas. */
export const FIRST_PAGE_ID = 2;
export const PAGE_ID_MAX = 0xffff_ffff;

/** How many page ids one page of the map covers. */
export const MAP_IDS_PER_PAGE: number = BODY_SIZE * 8;
/** How many page ids one list of map pages covers. */
export const MAP_IDS_PER_LIST: number = MAP_IDS_PER_PAGE * POINTERS_PER_PAGE;

assert(PAGE_SIZE === 1 << PAGE_SHIFT, "the page shift is the logarithm of the page size");
assert(RESERVED + 32 === BODY, "the header ends with the reserve for encryption");
assert(KEY_SIZE_MAX < VALUE_OVERFLOW_BIT, "a key length leaves bit 15 free");
assert(
  LEAF_CELL_HEADER + KEY_INLINE_MAX + POINTER_SIZE + VALUE_POINTER_SIZE <= CELL_SIZE_MAX,
  "the longest key with its value elsewhere fits in a leaf cell",
);
assert(
  BRANCH_CELL_HEADER + KEY_INLINE_MAX + POINTER_SIZE <= CELL_SIZE_MAX,
  "the longest key fits in a branch cell",
);
assert(BODY_SIZE % 4 === 0, "a page of the map is whole 32-bit words");

export function pageCrc(b: Uint8Array, base: number): number {
  return readU32(b, base + CRC);
}

export function pageId(b: Uint8Array, base: number): number {
  return readU32(b, base + ID);
}

export function pageType(b: Uint8Array, base: number): number {
  return b[base + TYPE] as number;
}

export function pageLevel(b: Uint8Array, base: number): number {
  return b[base + LEVEL] as number;
}

/** Cells of a leaf or branch; pointers of a list. */
export function cellCount(b: Uint8Array, base: number): number {
  return (b[base + COUNT] as number) | ((b[base + COUNT + 1] as number) << 8);
}

export function setCellCount(b: Uint8Array, base: number, count: number): void {
  writeU16(b, base + COUNT, count);
}

export function pageEpoch(b: Uint8Array, base: number): number {
  return readU64(b, base + EPOCH);
}

export function contentStart(b: Uint8Array, base: number): number {
  return readU16(b, base + CONTENT);
}

export function setContentStart(b: Uint8Array, base: number, at: number): void {
  writeU16(b, base + CONTENT, at);
}

export function garbageBytes(b: Uint8Array, base: number): number {
  return readU16(b, base + GARBAGE);
}

export function setGarbageBytes(b: Uint8Array, base: number, sizeBytes: number): void {
  writeU16(b, base + GARBAGE, sizeBytes);
}

export function prefixLength(b: Uint8Array, base: number): number {
  return (b[base + PREFIX] as number) | ((b[base + PREFIX + 1] as number) << 8);
}

/** As `cellCount`, by a view of the slab: one read instead of two. */
export function cellCountIn(view: DataView, base: number): number {
  return view.getUint16(base + COUNT, true);
}

/** As `prefixLength`, by a view of the slab. */
export function prefixLengthIn(view: DataView, base: number): number {
  return view.getUint16(base + PREFIX, true);
}

export function setPrefixLength(b: Uint8Array, base: number, length: number): void {
  writeU16(b, base + PREFIX, length);
}

/** Begins a page in 4096 zero bytes. */
export function initPage(
  b: Uint8Array,
  base: number,
  id: number,
  type: number,
  level: number,
  tag: number,
): void {
  writeU32(b, base + ID, id);
  b[base + TYPE] = type;
  b[base + LEVEL] = level;
  writeU32(b, base + TAG, tag);
  if (type === TYPE_LEAF || type === TYPE_BRANCH) setContentStart(b, base, PAGE_SIZE);
}

/** Gives a copied page its own id. */
export function setPageId(b: Uint8Array, base: number, id: number): void {
  writeU32(b, base + ID, id);
}

/** Writes epoch and CRC, the last step before a page goes to its place. Returns the CRC. */
export function sealPage(b: Uint8Array, base: number, epoch: number): number {
  writeU32(b, base + EPOCH, epoch % 0x1_0000_0000);
  writeU32(b, base + EPOCH + 4, Math.floor(epoch / 0x1_0000_0000));
  const crc = crc32c(b, base + CRC + 4, base + PAGE_SIZE);
  writeU32(b, base + CRC, crc);
  return crc;
}

/** What a parent, or a meta, knows of a page before it is read. */
export interface PageExpectation {
  readonly id: number;
  readonly type: number;
  readonly level: number;
  /** As the pointer to the page says: the only way to see a page that was lost on its way to the disk. */
  readonly crc: number;
  /** The epoch of the parent: no child is younger. */
  readonly epochMax: number;
  readonly tag: number;
}

/** Null when the 4096 bytes at `base` are the expected page, else what is wrong with them. */
export function pageProblem(b: Uint8Array, base: number, expected: PageExpectation): string | null {
  const computed = crc32c(b, base + CRC + 4, base + PAGE_SIZE);
  if (computed !== pageCrc(b, base)) return `page ${expected.id} does not match its own CRC`;
  if (readU32(b, base + TAG) !== expected.tag) {
    return `page ${expected.id} was written for another file`;
  }
  if (pageId(b, base) !== expected.id) {
    return `page ${expected.id} holds page ${pageId(b, base)}: a misdirected write`;
  }
  if (computed !== expected.crc) {
    return `page ${expected.id} is not the one that its parent points to: a lost write`;
  }
  if (pageType(b, base) !== expected.type || pageLevel(b, base) !== expected.level) {
    return `page ${expected.id} is of type ${pageType(b, base)} level ${pageLevel(b, base)}, not type ${expected.type} level ${expected.level}`;
  }
  // A NaN epoch (beyond 2^53) fails this comparison too.
  if (!(pageEpoch(b, base) <= expected.epochMax)) {
    return `page ${expected.id} is younger than the page that points to it`;
  }
  return null;
}
