/**
 * Builds the next frame while the one before it is on its way to the disk: records are encoded when they are handed
 * in and their checksum grows with them, so that a finished write is followed by the next one at once.
 *
 * Invariants: the payload lies at [PAYLOAD_AT, #end) of the buffer, and the space before it takes header and group
 * table, which are written backwards from it when the frame is complete; `#crc` covers the payload up to `#crcTo`;
 * the bytes that leave never hold anything that was not put there for this frame (fault-rules D35).
 */
import { assert, crc32c } from "../base/index.ts";
import type { Entry, GroupId, HardState, LogIndex, Term } from "../raft/index.ts";
import {
  FRAME_HEAD_BYTES,
  FRAME_ROW_BYTES,
  frameBytes,
  type FrameRow,
  RowFlags,
  writeFrameHead,
  writeFrameRow,
} from "./frame.ts";
import {
  ENTRIES_HEAD_BYTES,
  ENTRY_HEAD_BYTES,
  HARD_STATE_BYTES,
  RECORD_HEAD_BYTES,
  RecordType,
  snapshotBytes,
  writeEntriesHead,
  writeEntry,
  writeHardState,
  writeRecordHead,
  writeSnapshot,
} from "./record.ts";
import { noRecords, type RecordBytes, type RecordCounter } from "./stats.ts";
import type { SnapshotRecord } from "./types.ts";

const PAYLOAD_AT = 4096;
const ROWS_MAX = Math.floor((PAYLOAD_AT - FRAME_HEAD_BYTES) / FRAME_ROW_BYTES);
const FIRST_BUFFER_BYTES = 8 * 1024;
/** A buffer that one large frame has blown up is not kept. */
const KEPT_BUFFER_BYTES = 2 * 1024 * 1024;

type MutableRow = { -readonly [K in keyof FrameRow]: FrameRow[K] };

/** What an `entries` record of these entries takes in a payload. */
export function entriesRecordBytes(entries: readonly Entry[], from: number, to: number): number {
  let bytes = RECORD_HEAD_BYTES + ENTRIES_HEAD_BYTES;
  for (let i = from; i < to; i++) bytes += ENTRY_HEAD_BYTES + (entries[i] as Entry).data.length;
  return bytes;
}

export const HARD_STATE_RECORD_BYTES: number = RECORD_HEAD_BYTES + HARD_STATE_BYTES;

export function snapshotRecordBytes(record: SnapshotRecord): number {
  return RECORD_HEAD_BYTES + snapshotBytes(record);
}

export class FrameBuilder {
  #buffer: Uint8Array = new Uint8Array(FIRST_BUFFER_BYTES);
  #end = PAYLOAD_AT;
  #crc = 0;
  #crcTo = PAYLOAD_AT;
  #records = 0;
  #rows: MutableRow[] = [];
  #recordBytes: RecordCounter = noRecords();
  #entries = 0;

  /** What its records take, by type. */
  get recordBytes(): RecordBytes {
    return this.#recordBytes;
  }

  /** How many entries it has. */
  get entries(): number {
    return this.#entries;
  }

  get isEmpty(): boolean {
    return this.#records === 0;
  }

  /** Size of the frame as it stands. */
  get frameBytes(): number {
    return frameBytes(this.#rows.length, this.#end - PAYLOAD_AT);
  }

  /** Size of the frame if it took so much more payload and so many more groups; more than any frame when the table is full. */
  frameBytesWith(payloadBytes: number, groups: number): number {
    const rows = this.#rows.length + groups;
    if (rows > ROWS_MAX) return Number.POSITIVE_INFINITY;
    return frameBytes(rows, this.#end - PAYLOAD_AT + payloadBytes);
  }

  addEntries(group: GroupId, entries: readonly Entry[], from: number, to: number): void {
    const first = entries[from] as Entry;
    const last = entries[to - 1] as Entry;
    const size = entriesRecordBytes(entries, from, to);
    let at = this.#begin(size);
    at = writeRecordHead(this.#buffer, at, RecordType.entries, group, size - RECORD_HEAD_BYTES);
    at = writeEntriesHead(this.#buffer, at, first.index, to - from);
    for (let i = from; i < to; i++) at = writeEntry(this.#buffer, at, entries[i] as Entry);
    this.#ended(at);
    this.#recordBytes.entries += size;
    this.#entries += to - from;
    this.#touchLog(group, first.index, last.index, last.term);
  }

  addSnapshot(group: GroupId, record: SnapshotRecord, lastIndex: LogIndex, lastTerm: Term): void {
    const size = snapshotRecordBytes(record);
    let at = this.#begin(size);
    at = writeRecordHead(this.#buffer, at, RecordType.snapshot, group, size - RECORD_HEAD_BYTES);
    this.#ended(writeSnapshot(this.#buffer, at, record));
    this.#recordBytes.snapshot += size;
    this.#touchLog(group, record.meta.index, lastIndex, lastTerm);
  }

  addHardState(group: GroupId, state: HardState): void {
    let at = this.#begin(HARD_STATE_RECORD_BYTES);
    at = writeRecordHead(this.#buffer, at, RecordType.hardState, group, HARD_STATE_BYTES);
    this.#ended(writeHardState(this.#buffer, at, state));
    this.#recordBytes.hardState += HARD_STATE_RECORD_BYTES;
    this.#row(group).flags |= RowFlags.hardState;
  }

  addMark(): void {
    const at = this.#begin(RECORD_HEAD_BYTES);
    this.#ended(writeRecordHead(this.#buffer, at, RecordType.mark, 0, 0));
    this.#recordBytes.mark += RECORD_HEAD_BYTES;
  }

  /** The frame, complete but for its place. Good until the builder is reset. */
  finish(): Uint8Array {
    assert(this.#records > 0, "a frame has at least one record");
    const payloadBytes = this.#end - PAYLOAD_AT;
    const rows = this.#rows.length;
    const head = PAYLOAD_AT - rows * FRAME_ROW_BYTES - FRAME_HEAD_BYTES;
    const total = frameBytes(rows, payloadBytes);
    this.#reserve(head + total - this.#end);
    const buffer = this.#buffer;
    buffer.fill(0, this.#end, head + total);
    const crc = crc32c(buffer, this.#crcTo, head + total, this.#crc);
    let at = head + FRAME_HEAD_BYTES;
    for (const row of this.#rows) {
      writeFrameRow(buffer, at, row);
      at += FRAME_ROW_BYTES;
    }
    writeFrameHead(buffer, head, payloadBytes, this.#records, rows, crc);
    return buffer.subarray(head, head + total);
  }

  reset(): void {
    if (this.#buffer.length > KEPT_BUFFER_BYTES) this.#buffer = new Uint8Array(FIRST_BUFFER_BYTES);
    this.#end = PAYLOAD_AT;
    this.#crc = 0;
    this.#crcTo = PAYLOAD_AT;
    this.#records = 0;
    this.#rows = [];
    this.#recordBytes = noRecords();
    this.#entries = 0;
  }

  #begin(bytes: number): number {
    this.#reserve(bytes);
    return this.#end;
  }

  #ended(at: number): void {
    this.#end = at;
    this.#crc = crc32c(this.#buffer, this.#crcTo, at, this.#crc);
    this.#crcTo = at;
    this.#records++;
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes;
    if (needed <= this.#buffer.length) return;
    let size = this.#buffer.length;
    while (size < needed) size *= 2;
    const larger = new Uint8Array(size);
    larger.set(this.#buffer.subarray(0, this.#end));
    this.#buffer = larger;
  }

  #touchLog(group: GroupId, firstIndex: LogIndex, lastIndex: LogIndex, lastTerm: Term): void {
    const row = this.#row(group);
    const touched = (row.flags & RowFlags.log) !== 0;
    row.firstIndex = touched ? Math.min(row.firstIndex, firstIndex) : firstIndex;
    row.lastIndex = lastIndex;
    row.lastTerm = lastTerm;
    row.flags |= RowFlags.log;
  }

  #row(group: GroupId): MutableRow {
    const rows = this.#rows;
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i] as MutableRow;
      if (row.group === group) return row;
    }
    const row: MutableRow = { group, flags: 0, firstIndex: 0, lastIndex: 0, lastTerm: 0 };
    rows.push(row);
    return row;
  }
}
