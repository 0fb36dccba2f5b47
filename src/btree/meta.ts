/**
 * The meta page: one checkpoint in 4 KiB. Two places, pages 0 and 1, take turns; checkpoint n stands in page n mod 2,
 * so the checkpoint before it stays whole until n is durable.
 *
 * Fixed for all versions of the format: the CRC of bytes 4 to 4095 in the first four bytes, the magic at 4, the
 * version at 12. So an older program knows a newer file from a damaged one.
 */
import {
  assert,
  assertSafe,
  crc32c,
  EMPTY_BYTES,
  equalBytes,
  hex,
  readU16,
  readU32,
  readU64,
  utf8,
  writeU16,
  writeU32,
  writeU64,
} from "../base/index.ts";
import { type CheckpointMeta, PAYLOAD_SIZE_MAX, TREE_SLOTS } from "./engine.ts";
import { MAP_IDS_PER_LIST, PAGE_ID_MAX, PAGE_SIZE, POINTER_SIZE, TYPE_META } from "./layout.ts";

const MAGIC: Uint8Array = utf8("HDBTREE\n");
export const FORMAT_VERSION = 1;
export const FILE_ID_SIZE_MAX = 32;

const CRC = 0;
const MAGIC_AT = 4;
const VERSION: number = MAGIC_AT + 8;
const PAGE_SIZE_AT: number = VERSION + 4;
const TYPE: number = PAGE_SIZE_AT + 4;
const FILE_ID_LENGTH: number = TYPE + 1;
const PAYLOAD_LENGTH: number = FILE_ID_LENGTH + 1;
const MAP_COUNT: number = PAYLOAD_LENGTH + 2;
/** As in every page, 32 bytes for encryption. */
const RESERVED = 32;
const FILE_ID: number = RESERVED + 32;
const NUMBER: number = FILE_ID + FILE_ID_SIZE_MAX;
const EPOCH: number = NUMBER + 8;
const PAGE_COUNT: number = EPOCH + 8;
const APPLIED_INDEX: number = PAGE_COUNT + 8;
const APPLIED_TERM: number = APPLIED_INDEX + 8;
const WAL_LSN: number = APPLIED_TERM + 8;
const TREES: number = WAL_LSN + 8;
/** u32 root, u32 CRC, u48 count, u8 level, u8 zero. */
const TREE_SIZE = 16;
const PAYLOAD: number = TREES + TREE_SLOTS * TREE_SIZE;
const MAP: number = PAYLOAD + PAYLOAD_SIZE_MAX;
const MAP_LISTS_MAX: number = Math.ceil((PAGE_ID_MAX + 1) / MAP_IDS_PER_LIST);

assert(MAP_COUNT + 2 <= RESERVED, "the short fields stand before the reserve");
assert(MAP + MAP_LISTS_MAX * POINTER_SIZE <= PAGE_SIZE, "the map of the largest file fits");

/** Where a tree begins, as a meta says it. */
export interface MetaTree {
  readonly id: number;
  readonly crc: number;
  readonly level: number;
  readonly count: number;
}

export interface Pointer {
  readonly id: number;
  readonly crc: number;
}

/** What a meta page says. */
export interface Meta {
  /** Counts checkpoints; 0 and 1 are written when the file is made and hold nothing. */
  readonly number: number;
  /** Whose file it is: cluster, member and group. */
  readonly fileId: Uint8Array;
  /** Every page of the checkpoint was born in or before it. */
  readonly epoch: number;
  /** Ids of the checkpoint are below. */
  readonly pageCount: number;
  readonly checkpoint: CheckpointMeta;
  readonly trees: readonly MetaTree[];
  /** The lists of the map of pages in use, each for MAP_IDS_PER_LIST ids; id 0 where none is in use. */
  readonly map: readonly Pointer[];
}

/** What stands in the place of a meta. */
export type MetaFound =
  | { readonly kind: "valid"; readonly meta: Meta }
  | { readonly kind: "damaged"; readonly what: string }
  /** A sound page of a newer program, or of another data file: neither is damage of this one. */
  | { readonly kind: "newer" | "foreign"; readonly what: string };

export function encodeMeta(meta: Meta): Uint8Array {
  const b = new Uint8Array(PAGE_SIZE);
  const { checkpoint, fileId } = meta;
  assert(fileId.length <= FILE_ID_SIZE_MAX, "a file id has at most 32 bytes");
  assert(checkpoint.payload.length <= PAYLOAD_SIZE_MAX, "a payload has at most 1 KiB");
  assert(meta.trees.length === TREE_SLOTS, "a meta has a root for each slot");
  assert(meta.map.length <= MAP_LISTS_MAX, "the map covers 2^32 pages");
  b.set(MAGIC, MAGIC_AT);
  writeU32(b, VERSION, FORMAT_VERSION);
  writeU32(b, PAGE_SIZE_AT, PAGE_SIZE);
  b[TYPE] = TYPE_META;
  b[FILE_ID_LENGTH] = fileId.length;
  writeU16(b, PAYLOAD_LENGTH, checkpoint.payload.length);
  writeU16(b, MAP_COUNT, meta.map.length);
  b.set(fileId, FILE_ID);
  writeU64(b, NUMBER, meta.number);
  writeU64(b, EPOCH, meta.epoch);
  writeU64(b, PAGE_COUNT, meta.pageCount);
  writeU64(b, APPLIED_INDEX, checkpoint.appliedIndex);
  writeU64(b, APPLIED_TERM, checkpoint.appliedTerm);
  writeU64(b, WAL_LSN, checkpoint.walLsn);
  for (const [slot, tree] of meta.trees.entries()) {
    assertTree(tree, meta.pageCount);
    const at = TREES + slot * TREE_SIZE;
    writeU32(b, at, tree.id);
    writeU32(b, at + 4, tree.crc);
    writeU32(b, at + 8, tree.count % 0x1_0000_0000);
    writeU16(b, at + 12, Math.floor(tree.count / 0x1_0000_0000));
    b[at + 14] = tree.level;
  }
  b.set(checkpoint.payload, PAYLOAD);
  for (const [index, list] of meta.map.entries()) {
    writeU32(b, MAP + index * POINTER_SIZE, list.id);
    writeU32(b, MAP + index * POINTER_SIZE + 4, list.crc);
  }
  writeU32(b, CRC, crc32c(b, CRC + 4, PAGE_SIZE));
  return b;
}

function assertTree(tree: MetaTree, pageCount: number): void {
  assertSafe(tree.count, "count");
  assert(tree.id < pageCount, "a root lies inside the file");
  assert(tree.id !== 0 || tree.count === 0, "a tree without a root has no keys");
}

/** What `b` holds in the place of meta `place` (0 or 1). Without `fileId` any identity is taken. */
export function decodeMeta(b: Uint8Array, place: number, fileId?: Uint8Array): MetaFound {
  const damaged = (what: string): MetaFound => ({
    kind: "damaged",
    what: `meta ${place}: ${what}`,
  });
  if (b.length < PAGE_SIZE) return damaged(`cut off after ${b.length} bytes`);
  if (crc32c(b, CRC + 4, PAGE_SIZE) !== readU32(b, CRC)) return damaged("does not match its CRC");
  if (!equalBytes(b.subarray(MAGIC_AT, MAGIC_AT + MAGIC.length), MAGIC)) {
    return damaged("is not a meta page");
  }
  const version = readU32(b, VERSION);
  if (version > FORMAT_VERSION) {
    const what = `data file format ${version}; this program reads up to ${FORMAT_VERSION}`;
    return { kind: "newer", what };
  }
  if (
    version !== FORMAT_VERSION ||
    readU32(b, PAGE_SIZE_AT) !== PAGE_SIZE ||
    b[TYPE] !== TYPE_META
  ) {
    return damaged("has an unknown version or page size");
  }
  const idLength = b[FILE_ID_LENGTH] as number;
  const payloadLength = readU16(b, PAYLOAD_LENGTH);
  const mapCount = readU16(b, MAP_COUNT);
  if (idLength > FILE_ID_SIZE_MAX || payloadLength > PAYLOAD_SIZE_MAX || mapCount > MAP_LISTS_MAX) {
    return damaged("has a length beyond its field");
  }
  const identity = b.slice(FILE_ID, FILE_ID + idLength);
  if (fileId !== undefined && !equalBytes(identity, fileId)) {
    return { kind: "foreign", what: `identity ${hex(identity)}, expected ${hex(fileId)}` };
  }
  const number = readU64(b, NUMBER);
  const epoch = readU64(b, EPOCH);
  const pageCount = readU64(b, PAGE_COUNT);
  const checkpoint: CheckpointMeta = {
    appliedIndex: readU64(b, APPLIED_INDEX),
    appliedTerm: readU64(b, APPLIED_TERM),
    walLsn: readU64(b, WAL_LSN),
    payload: payloadLength === 0 ? EMPTY_BYTES : b.slice(PAYLOAD, PAYLOAD + payloadLength),
  };
  const counters = [
    number,
    epoch,
    pageCount,
    checkpoint.appliedIndex,
    checkpoint.appliedTerm,
    checkpoint.walLsn,
  ];
  if (counters.some((counter) => Number.isNaN(counter)) || pageCount > PAGE_ID_MAX) {
    return damaged("has a counter out of range");
  }
  if (number % 2 !== place) return damaged(`holds checkpoint ${number}: a misdirected write`);
  const trees: MetaTree[] = [];
  for (let slot = 0; slot < TREE_SLOTS; slot++) {
    const at = TREES + slot * TREE_SIZE;
    trees.push({
      id: readU32(b, at),
      crc: readU32(b, at + 4),
      count: readU32(b, at + 8) + readU16(b, at + 12) * 0x1_0000_0000,
      level: b[at + 14] as number,
    });
  }
  const map: Pointer[] = [];
  for (let index = 0; index < mapCount; index++) {
    const at = MAP + index * POINTER_SIZE;
    map.push({ id: readU32(b, at), crc: readU32(b, at + 4) });
  }
  return {
    kind: "valid",
    meta: { number, epoch, pageCount, checkpoint, trees, map, fileId: identity },
  };
}

/** What a new file holds in both places: no checkpoint. */
export function firstMeta(number: number, fileId: Uint8Array): Meta {
  return {
    number,
    fileId,
    epoch: number,
    pageCount: 2,
    checkpoint: { appliedIndex: 0, appliedTerm: 0, walLsn: 0, payload: EMPTY_BYTES },
    trees: Array.from({ length: TREE_SLOTS }, () => ({ id: 0, crc: 0, level: 0, count: 0 })),
    map: [],
  };
}

/** The checkpoint of a meta; null for the two of a new file. */
export function checkpointOf(meta: Meta): CheckpointMeta | null {
  return meta.number < 2 ? null : meta.checkpoint;
}
