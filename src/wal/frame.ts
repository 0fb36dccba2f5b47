/**
 * Frames: one atomic batch each. A frame is checkable by itself (three checksums) and chained to what stands before
 * it (the CRC of the previous frame header); the checksum of its header is seeded with the checksum of the segment
 * header, which binds it to this log and this segment, and its LSN binds it to its place.
 *
 *     0  4  magic            32  4  records            44  4  CRC of the group table
 *     4  4  flags            36  4  rows of the table  48  4  CRC of payload and zeros
 *     8  8  LSN              40  4  CRC of the         52 40  reserved (32 for encryption)
 *    16  8  durableLsn              previous header    92  4  CRC of this header
 *    24  4  frame size
 *    28  4  payload size     96     group table, payload, zeros up to the next sector
 */
import { assert, crc32c, readU32, readU64, writeU32, writeU64 } from "../base/index.ts";
import type { GroupId, LogIndex, Term } from "../raft/index.ts";
import { alignUp, isAligned, SECTOR_BYTES } from "./format.ts";
import type { Lsn } from "./types.ts";

/** "HDBF". */
const FRAME_MAGIC = 0x46424448;
export const FRAME_HEAD_BYTES: number = 96;
export const FRAME_ROW_BYTES: number = 32;
/** The payload is encrypted: reserved. */
export const FRAME_ENCRYPTED: number = 1;
/** A batch that would make a frame larger is split; only a single entry may exceed it. */
export const FRAME_BYTES_MAX: number = 8 * 1024 * 1024;
const CRC_AT = 92;

/** What a row of the group table says about the group's records in the frame. */
export const RowFlags: { readonly log: 1; readonly hardState: 2 } = { log: 1, hardState: 2 };

/**
 * A group's part in a frame: when the payload is damaged, what was lost. `firstIndex` is the lowest index that the
 * frame wrote or removed; `lastIndex` and `lastTerm` are the end of the group's log after the frame. All 0 when the
 * frame did not touch the log.
 */
export interface FrameRow {
  readonly group: GroupId;
  readonly flags: number;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
}

export interface FrameHeader {
  readonly flags: number;
  readonly lsn: Lsn;
  /** The highest LSN whose sync had returned when this frame was written. Never above `lsn`. */
  readonly durableLsn: Lsn;
  readonly frameBytes: number;
  readonly payloadBytes: number;
  readonly records: number;
  readonly rows: number;
  readonly previousCrc: number;
  readonly crc: number;
}

/** What changes when a frame is written, or copied to another place; the rest belongs to its contents. */
export interface FramePlace {
  readonly lsn: Lsn;
  readonly durableLsn: Lsn;
  readonly previousCrc: number;
  /** CRC of the segment header. */
  readonly seed: number;
}

export function frameBytes(rows: number, payloadBytes: number): number {
  return alignUp(FRAME_HEAD_BYTES + rows * FRAME_ROW_BYTES + payloadBytes);
}

/** Writes the fields of the contents; `placeFrame` completes the header. */
export function writeFrameHead(
  into: Uint8Array,
  at: number,
  payloadBytes: number,
  records: number,
  rows: number,
  payloadCrc: number,
): void {
  into.fill(0, at, at + FRAME_HEAD_BYTES);
  writeU32(into, at, FRAME_MAGIC);
  writeU32(into, at + 24, frameBytes(rows, payloadBytes));
  writeU32(into, at + 28, payloadBytes);
  writeU32(into, at + 32, records);
  writeU32(into, at + 36, rows);
  const table = at + FRAME_HEAD_BYTES;
  writeU32(into, at + 44, crc32c(into, table, table + rows * FRAME_ROW_BYTES));
  writeU32(into, at + 48, payloadCrc);
}

/** Puts a frame whose contents are complete in its place; returns the CRC of its header, the next link of the chain. */
export function placeFrame(bytes: Uint8Array, at: number, place: FramePlace): number {
  assert(isAligned(place.lsn), "a frame begins on a sector");
  assert(place.durableLsn <= place.lsn, "a frame never claims itself durable");
  writeU64(bytes, at + 8, place.lsn);
  writeU64(bytes, at + 16, place.durableLsn);
  writeU32(bytes, at + 40, place.previousCrc);
  const crc = crc32c(bytes, at, at + CRC_AT, place.seed);
  writeU32(bytes, at + CRC_AT, crc);
  return crc;
}

export function writeFrameRow(into: Uint8Array, at: number, row: FrameRow): void {
  writeU32(into, at, row.group);
  writeU32(into, at + 4, row.flags);
  writeU64(into, at + 8, row.firstIndex);
  writeU64(into, at + 16, row.lastIndex);
  writeU64(into, at + 24, row.lastTerm);
}

/** The row at `bytes[at]`. */
export function readFrameRow(bytes: Uint8Array, at: number): FrameRow {
  return {
    group: readU32(bytes, at),
    flags: readU32(bytes, at + 4),
    firstIndex: readU64(bytes, at + 8),
    lastIndex: readU64(bytes, at + 16),
    lastTerm: readU64(bytes, at + 24),
  };
}

/**
 * The self-valid frame header at `bytes[at]`, whose place in the log is `lsn`; null when none is there. Self-valid:
 * its own checksum with this segment's seed, the right place, and sizes that agree with each other. It says nothing
 * about table and payload, and nothing about the chain.
 */
export function readFrameHeader(
  bytes: Uint8Array,
  at: number,
  lsn: Lsn,
  seed: number,
): FrameHeader | null {
  if (at + FRAME_HEAD_BYTES > bytes.length || readU32(bytes, at) !== FRAME_MAGIC) return null;
  const crc = readU32(bytes, at + CRC_AT);
  if (crc32c(bytes, at, at + CRC_AT, seed) !== crc) return null;
  const header: FrameHeader = {
    flags: readU32(bytes, at + 4),
    lsn: readU64(bytes, at + 8),
    durableLsn: readU64(bytes, at + 16),
    frameBytes: readU32(bytes, at + 24),
    payloadBytes: readU32(bytes, at + 28),
    records: readU32(bytes, at + 32),
    rows: readU32(bytes, at + 36),
    previousCrc: readU32(bytes, at + 40),
    crc,
  };
  const sensible =
    header.lsn === lsn &&
    header.durableLsn <= lsn &&
    header.frameBytes >= SECTOR_BYTES &&
    header.frameBytes === frameBytes(header.rows, header.payloadBytes);
  return sensible ? header : null;
}

/** The group table is undamaged. The frame lies whole in `bytes`. */
export function tableMatches(bytes: Uint8Array, at: number, header: FrameHeader): boolean {
  const table = at + FRAME_HEAD_BYTES;
  return readU32(bytes, at + 44) === crc32c(bytes, table, table + header.rows * FRAME_ROW_BYTES);
}

/** The payload and the zeros after it are undamaged. The frame lies whole in `bytes`. */
export function payloadMatches(bytes: Uint8Array, at: number, header: FrameHeader): boolean {
  return (
    readU32(bytes, at + 48) === crc32c(bytes, payloadStart(at, header), at + header.frameBytes)
  );
}

export function payloadStart(at: number, header: FrameHeader): number {
  return at + FRAME_HEAD_BYTES + header.rows * FRAME_ROW_BYTES;
}

export function readFrameRows(bytes: Uint8Array, at: number, header: FrameHeader): FrameRow[] {
  return Array.from({ length: header.rows }, (_, i) =>
    readFrameRow(bytes, at + FRAME_HEAD_BYTES + i * FRAME_ROW_BYTES),
  );
}
