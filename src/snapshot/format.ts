/**
 * Where the bytes of a snapshot stand: header, chunks, trailer, SHA-256. `docs/internals/snapshot.md` has the tables.
 *
 * The first 20 bytes of the header stay where they are in every version of the format, and its checksum is judged
 * before its version: a flipped bit is never taken for a newer format.
 */
import {
  assert,
  assertSafe,
  CorruptionError,
  crc32c,
  HarmonyError,
  readU16,
  readU32,
  readU64,
  utf8,
  writeU16,
  writeU32,
  writeU64,
} from "../base/index.ts";
import { KEY_SIZE_MAX, TREE_SLOTS, type TreeId, VALUE_SIZE_MAX } from "../btree/index.ts";
import type { ConfState, GroupId, NodeId, SnapshotMeta } from "../raft/index.ts";

const MAGIC: Uint8Array = utf8("HDBSNAP\n");
const END_MAGIC: Uint8Array = utf8("HDBSEND\n");
const VERSION = 1;
/** Keys and values as the tree has them, each with its length before it. */
const CODEC_PAIRS = 1;

/** Magic, version, size and checksum: enough to know how much more to read. */
export const HEADER_START_BYTES = 20;
const HEADER_FIXED_BYTES = 160;
/** Room for some thousand members, which nobody has. */
export const HEADER_BYTES_MAX: number = 64 * 1024;
const SECTION_BYTES = 16;
export const CHUNK_HEAD_BYTES = 32;
export const TRAILER_BYTES = 48;
export const SHA256_BYTES = 32;
/** What stands before the SHA-256 is a multiple of this: etcdctl refuses a stream that is not. */
export const ALIGNMENT_BYTES = 512;
/** The longest pair: two lengths of at most eight bytes, a key and a value. It has a chunk of its own. */
export const CHUNK_BODY_BYTES_MAX: number = 16 + KEY_SIZE_MAX + VALUE_SIZE_MAX;

/** What a snapshot is of. */
export interface SnapshotDescription {
  readonly clusterId: number;
  readonly group: GroupId;
  /** The last entry that it covers, and the configuration there. */
  readonly meta: SnapshotMeta;
  readonly revision: number;
  readonly compactRevision: number;
  /** The group's clock. */
  readonly clockMs: number;
  readonly stateHash: number;
  /** When it was made, as the machine believed. Nothing depends on it. */
  readonly createdMs: number;
  /** What the state machine wants to find again besides its trees. */
  readonly machine: Uint8Array;
}

/** One tree: its keys and values in ascending order. */
export interface Section {
  readonly id: TreeId;
  readonly count: number;
}

export interface SnapshotHeader extends SnapshotDescription {
  readonly sections: readonly Section[];
  /** Of the header; the seed of every chunk's checksum, so that a chunk of another snapshot is not taken for one of this. */
  readonly crc: number;
  readonly sizeBytes: number;
}

export interface ChunkHead {
  readonly bodyCrc: number;
  readonly bodyBytes: number;
  readonly entries: number;
  readonly section: TreeId;
  readonly number: number;
}

export interface Trailer {
  readonly chunks: number;
  readonly entries: number;
  /** Of keys and values. */
  readonly contentBytes: number;
  /** Where the trailer stands. */
  readonly offset: number;
}

export function encodeHeader(
  description: SnapshotDescription,
  sections: readonly Section[],
): Uint8Array {
  const { clusterId, group, meta, machine } = description;
  const { confState: c } = meta;
  const lists = [c.voters, c.votersOutgoing, c.learners, c.learnersNext];
  const ids = lists.reduce((sum, list) => sum + list.length, 0);
  const size = HEADER_FIXED_BYTES + ids * 8 + sections.length * SECTION_BYTES + machine.length;
  assert(size <= HEADER_BYTES_MAX, "the header of a snapshot is small");
  assert(meta.index > 0 || meta.term === 0, "an index that is none has no term");
  const out = new Uint8Array(size);
  out.set(MAGIC);
  writeU32(out, 8, VERSION);
  writeU32(out, 12, size);
  writeU64(out, 24, clusterId);
  writeU32(out, 32, group);
  writeU32(out, 36, description.stateHash);
  writeU64(out, 40, meta.index);
  writeU64(out, 48, meta.term);
  writeU64(out, 56, description.revision);
  writeU64(out, 64, description.compactRevision);
  writeU64(out, 72, description.clockMs);
  writeU64(out, 80, description.createdMs);
  writeU64(
    out,
    88,
    sections.reduce((sum, { count }) => sum + count, 0),
  );
  lists.forEach((list, i) => writeU16(out, 96 + i * 2, list.length));
  out[104] = c.autoLeave ? 1 : 0;
  writeU16(out, 106, sections.length);
  writeU32(out, 108, machine.length);
  let at = HEADER_FIXED_BYTES;
  for (const list of lists) {
    for (const id of list) {
      writeU64(out, at, id);
      at += 8;
    }
  }
  for (const { id, count } of sections) {
    writeU16(out, at, id);
    writeU16(out, at + 2, CODEC_PAIRS);
    writeU64(out, at + 8, count);
    at += SECTION_BYTES;
  }
  out.set(machine, at);
  writeU32(out, 16, sumHeader(out));
  return out;
}

function sumHeader(bytes: Uint8Array): number {
  return crc32c(bytes, HEADER_START_BYTES, bytes.length, crc32c(bytes, 0, 16));
}

/** The checksum that stands in a header. */
export function headerCrcOf(header: Uint8Array): number {
  return readU32(header, 16);
}

/** How long the header is, from its first bytes. Throws NOT_A_SNAPSHOT, CORRUPT when it cannot be so long. */
export function headerSize(start: Uint8Array, file: string): number {
  if (start.length < HEADER_START_BYTES || !startsWith(start, 0, MAGIC)) {
    throw new HarmonyError("NOT_A_SNAPSHOT", `${file} does not begin as one`);
  }
  const size = readU32(start, 12);
  if (size < HEADER_FIXED_BYTES || size > HEADER_BYTES_MAX) {
    throw damaged(file, 12, `a header of ${size} bytes`);
  }
  return size;
}

/** Throws CORRUPT and NEWER_FORMAT. `bytes` are as many as `headerSize` said. */
export function decodeHeader(bytes: Uint8Array, file: string): SnapshotHeader {
  const crc = headerCrcOf(bytes);
  if (sumHeader(bytes) !== crc) throw damaged(file, 0, "the header does not match its checksum");
  const version = readU32(bytes, 8);
  if (version > VERSION) {
    throw new HarmonyError(
      "NEWER_FORMAT",
      `${file} has format ${version}, this version reads up to ${VERSION}`,
    );
  }
  const counts = [96, 98, 100, 102].map((at) => readU16(bytes, at));
  const sectionCount = readU16(bytes, 106);
  const machineBytes = readU32(bytes, 108);
  const ids = counts.reduce((sum, count) => sum + count, 0);
  const expected = HEADER_FIXED_BYTES + ids * 8 + sectionCount * SECTION_BYTES + machineBytes;
  const numbers = [24, 40, 48, 56, 64, 72, 80, 88].map((at) => readU64(bytes, at));
  if (version < 1 || bytes.length !== expected || numbers.some(Number.isNaN)) {
    throw damaged(file, 0, "the header does not fit its format");
  }
  const [clusterId, index, term, revision, compactRevision, clockMs, createdMs, entries] =
    numbers as [number, number, number, number, number, number, number, number];
  let at = HEADER_FIXED_BYTES;
  const lists = counts.map((count) => {
    const list: NodeId[] = [];
    for (let i = 0; i < count; i++, at += 8) list.push(readU64(bytes, at));
    return list;
  });
  const [voters = [], votersOutgoing = [], learners = [], learnersNext = []] = lists;
  const confState: ConfState = {
    voters,
    votersOutgoing,
    learners,
    learnersNext,
    autoLeave: bytes[104] === 1,
  };
  const sections: Section[] = [];
  let total = 0;
  for (let i = 0; i < sectionCount; i++, at += SECTION_BYTES) {
    const id = readU16(bytes, at);
    const codec = readU16(bytes, at + 2);
    const count = readU64(bytes, at + 8);
    if (codec > CODEC_PAIRS) {
      throw new HarmonyError("NEWER_FORMAT", `${file}: section ${id} has codec ${codec}`);
    }
    const before = sections[i - 1]?.id ?? -1;
    if (id <= before || id >= TREE_SLOTS || !(count > 0) || codec < 1) {
      throw damaged(file, at, `section ${id} with ${count} entries does not fit the format`);
    }
    sections.push({ id, count });
    total += count;
  }
  if (total !== entries) throw damaged(file, 88, "the sections do not add up to the entries");
  return {
    clusterId,
    group: readU32(bytes, 32),
    meta: { index, term, confState },
    revision,
    compactRevision,
    clockMs,
    stateHash: readU32(bytes, 36),
    createdMs,
    machine: bytes.slice(at),
    sections,
    crc,
    sizeBytes: bytes.length,
  };
}

export function encodeChunkHead(into: Uint8Array, headerCrc: number, head: ChunkHead): void {
  writeU32(into, 4, head.bodyCrc);
  writeU32(into, 8, head.bodyBytes);
  writeU32(into, 12, head.entries);
  writeU16(into, 16, head.section);
  writeU16(into, 18, 0);
  writeU32(into, 20, 0);
  writeU64(into, 24, head.number);
  writeU32(into, 0, crc32c(into, 4, CHUNK_HEAD_BYTES, headerCrc));
}

/** Null when the bytes are no head of a chunk of that snapshot. */
export function decodeChunkHead(
  bytes: Uint8Array,
  at: number,
  headerCrc: number,
): ChunkHead | null {
  const crc = crc32c(bytes, at + 4, at + CHUNK_HEAD_BYTES, headerCrc);
  if (readU32(bytes, at) !== crc) return null;
  return {
    bodyCrc: readU32(bytes, at + 4),
    bodyBytes: readU32(bytes, at + 8),
    entries: readU32(bytes, at + 12),
    section: readU16(bytes, at + 16),
    number: readU64(bytes, at + 24),
  };
}

/** The trailer and the zeros behind it, up to the SHA-256. */
export function encodeTrailer(headerCrc: number, trailer: Trailer): Uint8Array {
  assertSafe(trailer.offset, "offset");
  const end = trailer.offset + TRAILER_BYTES;
  const padding = (ALIGNMENT_BYTES - (end % ALIGNMENT_BYTES)) % ALIGNMENT_BYTES;
  const out = new Uint8Array(TRAILER_BYTES + padding);
  out.set(END_MAGIC);
  writeU64(out, 8, trailer.chunks);
  writeU64(out, 16, trailer.entries);
  writeU64(out, 24, trailer.contentBytes);
  writeU64(out, 32, trailer.offset);
  writeU32(out, 44, crc32c(out, 0, 44, headerCrc));
  return out;
}

/** Null when the bytes are no trailer of that snapshot. */
export function decodeTrailer(bytes: Uint8Array, headerCrc: number): Trailer | null {
  if (!startsWith(bytes, 0, END_MAGIC)) return null;
  if (readU32(bytes, 44) !== crc32c(bytes, 0, 44, headerCrc)) return null;
  return {
    chunks: readU64(bytes, 8),
    entries: readU64(bytes, 16),
    contentBytes: readU64(bytes, 24),
    offset: readU64(bytes, 32),
  };
}

function startsWith(bytes: Uint8Array, at: number, prefix: Uint8Array): boolean {
  return prefix.every((byte, i) => bytes[at + i] === byte);
}

export function damaged(file: string, offset: number, what: string): CorruptionError {
  return new CorruptionError({ file, offset, what });
}
