/**
 * The two ends of a segment: the header that binds it to its log and carries every group's HardState forward, and
 * the footer that seals it. `docs/internals/wal.md` has both byte by byte.
 */
import {
  assert,
  CorruptionError,
  crc32c,
  readU32,
  readU64,
  writeU32,
  writeU64,
} from "../base/index.ts";
import type { GroupId, LogIndex, NodeId, Term } from "../raft/index.ts";
import {
  alignUp,
  checkPreamble,
  FOOTER_MAGIC,
  hasPreamble,
  isAligned,
  PREAMBLE_BYTES,
  SECTOR_BYTES,
  SEGMENT_MAGIC,
  writePreamble,
} from "./format.ts";
import type { Lsn, WalIdentity } from "./types.ts";

/**
 * One group's state as logged below a segment's first LSN. Why it is in every header: the records that said so may be
 * in segments that are gone, and an idle group that forgets its vote votes twice (fault-rules D25).
 */
export interface GroupRow {
  readonly group: GroupId;
  readonly term: Term;
  readonly vote: NodeId;
  /** Never above `lastIndex`. */
  readonly commit: LogIndex;
  /** The end of the group's log there, also when all its entries are gone. */
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
}

/**
 * Invariants: `firstLsn` and the header's size are multiples of 512; firstLsn + size <= provenLsn; everything below
 * `firstLsn` was durable before the header was written, and everything below `provenLsn` before the file got its name.
 */
export interface SegmentHeader {
  readonly identity: WalIdentity;
  readonly sequence: number;
  readonly firstLsn: Lsn;
  readonly provenLsn: Lsn;
  /** The chain: CRC of the last frame header before this segment, or of the previous segment header if it has no frame. */
  readonly previousCrc: number;
  /** The damage below this segment that the start which made it found and tolerated; both 0 for none. */
  readonly damagedFromLsn: Lsn;
  readonly damagedToLsn: Lsn;
  readonly groups: readonly GroupRow[];
}

export interface DecodedSegmentHeader extends SegmentHeader {
  readonly sizeBytes: number;
  /** Begins the chain of this segment's frames and seeds the checksums of their headers. */
  readonly crc: number;
}

const FIXED_BYTES = 160;
const ROW_BYTES = 48;
/** A header that claims more is damaged: 300,000 groups. */
const HEADER_BYTES_MAX = 16 * 1024 * 1024;
const CLUSTER_ID_BYTES = 16;
export const WAL_ID_BYTES: number = 16;
export const FOOTER_BYTES: number = SECTOR_BYTES;

export function segmentHeaderBytes(groupCount: number): number {
  return alignUp(FIXED_BYTES + groupCount * ROW_BYTES);
}

/** Member, log and cluster take 44 bytes wherever they stand: the same in headers, manifest and vote file. */
export const IDENTITY_BYTES: number = 44;

export function writeIdentity(into: Uint8Array, at: number, identity: WalIdentity): void {
  const { clusterId, memberId, walId } = identity;
  assert(
    clusterId.length > 0 && clusterId.length <= CLUSTER_ID_BYTES,
    "a cluster id has 1 to 16 bytes",
  );
  assert(walId.length === WAL_ID_BYTES, "a log id has 16 bytes");
  writeU64(into, at, memberId);
  into.set(walId, at + 8);
  into.set(clusterId, at + 24);
  writeU32(into, at + 40, clusterId.length);
}

/** Null when the fields make no sense. */
export function readIdentity(bytes: Uint8Array, at: number): WalIdentity | null {
  const memberId = readU64(bytes, at);
  const length = readU32(bytes, at + 40);
  if (Number.isNaN(memberId) || length === 0 || length > CLUSTER_ID_BYTES) return null;
  return {
    memberId,
    walId: bytes.slice(at + 8, at + 24),
    clusterId: bytes.slice(at + 24, at + 24 + length),
  };
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const size = segmentHeaderBytes(header.groups.length);
  assert(isAligned(header.firstLsn), "a segment begins on a sector");
  assert(
    header.provenLsn >= header.firstLsn + size,
    "a segment's header is proven when it has a name",
  );
  const out = new Uint8Array(size);
  writePreamble(out, 0, SEGMENT_MAGIC);
  writeU32(out, 16, size);
  writeIdentity(out, 24, header.identity);
  writeU32(out, 68, header.groups.length);
  writeU64(out, 72, header.sequence);
  writeU64(out, 80, header.firstLsn);
  writeU64(out, 88, header.provenLsn);
  writeU32(out, 96, header.previousCrc);
  writeU64(out, 104, header.damagedFromLsn);
  writeU64(out, 112, header.damagedToLsn);
  let at = FIXED_BYTES;
  for (const row of header.groups) {
    assert(row.commit <= row.lastIndex, "a header never commits beyond the log below it");
    writeU32(out, at, row.group);
    writeU64(out, at + 8, row.term);
    writeU64(out, at + 16, row.vote);
    writeU64(out, at + 24, row.commit);
    writeU64(out, at + 32, row.lastIndex);
    writeU64(out, at + 40, row.lastTerm);
    at += ROW_BYTES;
  }
  writeU32(out, 20, headerCrc(out, size));
  return out;
}

function headerCrc(bytes: Uint8Array, size: number): number {
  return crc32c(bytes, 24, size, crc32c(bytes, 0, 20));
}

/** The size that a header claims, from its first sector. Throws when that sector cannot begin a segment. */
export function claimedHeaderBytes(
  firstSector: Uint8Array,
  file: string,
  fileSize: number,
): number {
  checkPreamble(firstSector, SEGMENT_MAGIC, file);
  if (firstSector.length < SECTOR_BYTES) {
    throw new CorruptionError({ file, offset: 0, what: "the file ends inside its segment header" });
  }
  const size = readU32(firstSector, 16);
  if (size < SECTOR_BYTES || !isAligned(size) || size > HEADER_BYTES_MAX || size > fileSize) {
    throw new CorruptionError({ file, offset: 16, what: `impossible header size ${size}` });
  }
  return size;
}

/** Throws CorruptionError or NEWER_FORMAT. `bytes` is as long as the header claims to be. */
export function decodeSegmentHeader(bytes: Uint8Array, file: string): DecodedSegmentHeader {
  checkPreamble(bytes, SEGMENT_MAGIC, file);
  const crc = headerCrc(bytes, bytes.length);
  if (readU32(bytes, 20) !== crc) {
    throw new CorruptionError({
      file,
      offset: 20,
      what: "the segment header does not match its checksum",
    });
  }
  const identity = readIdentity(bytes, 24);
  const count = readU32(bytes, 68);
  const sequence = readU64(bytes, 72);
  const firstLsn = readU64(bytes, 80);
  const provenLsn = readU64(bytes, 88);
  const sensible =
    identity !== null &&
    readU32(bytes, 16) === bytes.length &&
    segmentHeaderBytes(count) === bytes.length &&
    sequence > 0 &&
    isAligned(firstLsn) &&
    isAligned(provenLsn) &&
    provenLsn >= firstLsn + bytes.length;
  if (!sensible)
    throw new CorruptionError({ file, offset: 24, what: "the segment header contradicts itself" });
  const groups: GroupRow[] = [];
  for (let i = 0, at = FIXED_BYTES; i < count; i++, at += ROW_BYTES) {
    groups.push({
      group: readU32(bytes, at),
      term: readU64(bytes, at + 8),
      vote: readU64(bytes, at + 16),
      commit: readU64(bytes, at + 24),
      lastIndex: readU64(bytes, at + 32),
      lastTerm: readU64(bytes, at + 40),
    });
  }
  return {
    identity,
    sequence,
    firstLsn,
    provenLsn,
    previousCrc: readU32(bytes, 96),
    damagedFromLsn: readU64(bytes, 104),
    damagedToLsn: readU64(bytes, 112),
    groups,
    sizeBytes: bytes.length,
    crc,
  };
}

/** Says that a segment is complete: its last frame ended at `endLsn` and was durable before this was written. */
export interface SegmentFooter {
  readonly sequence: number;
  readonly firstLsn: Lsn;
  readonly endLsn: Lsn;
  /** CRC of the last frame's header, or of the segment header when the segment has no frame. */
  readonly chainCrc: number;
}

export function encodeFooter(footer: SegmentFooter): Uint8Array {
  const out = new Uint8Array(FOOTER_BYTES);
  writePreamble(out, 0, FOOTER_MAGIC);
  writeU64(out, 16, footer.sequence);
  writeU64(out, 24, footer.firstLsn);
  writeU64(out, 32, footer.endLsn);
  writeU32(out, 40, footer.chainCrc);
  writeU32(out, FOOTER_BYTES - 4, crc32c(out, PREAMBLE_BYTES, FOOTER_BYTES - 4));
  return out;
}

/** The footer at `bytes[at]`, or null when none is there. */
export function decodeFooter(bytes: Uint8Array, at: number): SegmentFooter | null {
  if (bytes.length < at + FOOTER_BYTES || !hasPreamble(bytes, at, FOOTER_MAGIC)) return null;
  const end = at + FOOTER_BYTES - 4;
  if (readU32(bytes, end) !== crc32c(bytes, at + PREAMBLE_BYTES, end)) return null;
  return {
    sequence: readU64(bytes, at + 16),
    firstLsn: readU64(bytes, at + 24),
    endLsn: readU64(bytes, at + 32),
    chainCrc: readU32(bytes, at + 40),
  };
}

const NAME = /^([0-9a-f]{16})-([0-9a-f]{16})\.wal$/;

/** `<sequence>-<first LSN>.wal`, both as 16 hex digits: names sort as the log runs. */
export function segmentName(sequence: number, firstLsn: Lsn): string {
  return `${sequence.toString(16).padStart(16, "0")}-${firstLsn.toString(16).padStart(16, "0")}.wal`;
}

export function parseSegmentName(
  name: string,
): { readonly sequence: number; readonly firstLsn: Lsn } | null {
  const match = NAME.exec(name);
  if (match === null) return null;
  const sequence = Number.parseInt(match[1] as string, 16);
  const firstLsn = Number.parseInt(match[2] as string, 16);
  return Number.isSafeInteger(sequence) && Number.isSafeInteger(firstLsn)
    ? { sequence, firstLsn }
    : null;
}
