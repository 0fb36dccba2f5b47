/** Reads a segment from front to back in large pieces and judges what stands at each place. */
import { HarmonyError } from "../base/index.ts";
import {
  closeFile,
  type File,
  type Files,
  fileSize,
  type Io,
  openFile,
  readFile,
} from "../env/index.ts";
import { alignUp, SECTOR_BYTES } from "./format.ts";
import {
  FRAME_HEAD_BYTES,
  type FrameHeader,
  type FrameRow,
  payloadMatches,
  payloadStart,
  readFrameHeader,
  readFrameRows,
  tableMatches,
} from "./frame.ts";
import {
  claimedHeaderBytes,
  decodeFooter,
  decodeSegmentHeader,
  FOOTER_BYTES,
  type DecodedSegmentHeader,
  type SegmentFooter,
} from "./segment.ts";
import { RecordCursor } from "./record.ts";
import type { Lsn } from "./types.ts";

const WINDOW_BYTES = 1024 * 1024;

/**
 * Memory that segments are read through. Readers that take turns may share it: what one of them has read is gone when
 * another one reads.
 */
export class ReadBuffer {
  bytes: Uint8Array = new Uint8Array(0);
  /** The same memory, to look for zeros. */
  words: Int32Array = new Int32Array(0);
  /** Whose bytes these are. */
  owner: SegmentReader | null = null;

  /** Room for so many bytes; what was read before is gone. */
  reserve(bytes: number): void {
    this.owner = null;
    if (bytes <= this.bytes.length) return;
    this.bytes = new Uint8Array(alignUp(bytes));
    this.words = new Int32Array(this.bytes.buffer);
  }
}

/** What stands where a frame may begin. */
export type FrameCheck =
  | { readonly valid: true; readonly header: FrameHeader }
  | {
      readonly valid: false;
      readonly what: string;
      /** The frame's header, where that is undamaged and continues the chain. */
      readonly header: FrameHeader | null;
      /** Its group table, where that is undamaged too. */
      readonly rows: readonly FrameRow[] | null;
      /** What a frame header that is valid by itself, but does not continue the chain, knew to be durable; 0 otherwise. */
      readonly strayDurableLsn: Lsn;
    };

/** What can still be learned behind the last valid frame. */
export interface TailScan {
  /** The highest `durableLsn` of a self-valid frame header there; 0 when there is none. */
  readonly durableLsn: Lsn;
  /** Where the last byte that is not zero ends; the start of the scan when all are zero. */
  readonly dataEnd: number;
}

export class SegmentReader {
  readonly file: File;
  readonly path: string;
  readonly sizeBytes: number;
  readonly header: DecodedSegmentHeader;
  readonly #buffer: ReadBuffer;
  /** While the buffer is ours: it holds [#at, #at + #length) of the file. */
  #at = 0;
  #length = 0;

  constructor(
    file: File,
    path: string,
    sizeBytes: number,
    header: DecodedSegmentHeader,
    buffer: ReadBuffer,
  ) {
    this.file = file;
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.header = header;
    this.#buffer = buffer;
  }

  /** Opens a segment for reading and checks its header. Throws CorruptionError, NEWER_FORMAT, FileError. */
  static *open(
    files: Files,
    path: string,
    buffer: ReadBuffer = new ReadBuffer(),
  ): Io<SegmentReader> {
    const file = yield* openFile(files, path, { access: "read" });
    try {
      const size = yield* fileSize(file);
      buffer.reserve(Math.min(WINDOW_BYTES, size));
      const first = buffer.bytes.subarray(0, Math.min(SECTOR_BYTES, size));
      yield* readFile(file, 0, first.fill(0));
      const headerBytes = claimedHeaderBytes(first, path, size);
      let whole: Uint8Array = first;
      if (headerBytes > first.length) {
        buffer.reserve(headerBytes);
        whole = buffer.bytes.subarray(0, headerBytes);
        yield* readFile(file, 0, whole.fill(0));
      }
      return new SegmentReader(file, path, size, decodeSegmentHeader(whole, path), buffer);
    } catch (error) {
      yield* closeFile(file);
      throw error;
    }
  }

  get firstLsn(): Lsn {
    return this.header.firstLsn;
  }

  /** The bytes that `check` and `at` speak of. Good until this or another reader of the same buffer reads on. */
  get bytes(): Uint8Array {
    return this.#buffer.bytes;
  }

  /** Position of a file offset in `bytes`. */
  position(offset: number): number {
    return offset - this.#at;
  }

  /** Judges the frame at `offset`, which must continue the chain. */
  *check(offset: number, chain: number): Io<FrameCheck> {
    if (offset + FRAME_HEAD_BYTES > this.sizeBytes) return invalid("the file ends");
    if (!this.#has(offset, FRAME_HEAD_BYTES)) yield* this.#load(offset, FRAME_HEAD_BYTES);
    const header = readFrameHeader(
      this.#buffer.bytes,
      offset - this.#at,
      this.firstLsn + offset,
      this.header.crc,
    );
    if (header === null) return invalid("no valid frame header");
    if (header.previousCrc !== chain) {
      return invalid("the frame does not continue the chain", null, null, header.durableLsn);
    }
    const { frameBytes } = header;
    if (offset + frameBytes > this.sizeBytes)
      return invalid("the file ends inside the frame", header);
    if (!this.#has(offset, frameBytes)) yield* this.#load(offset, frameBytes);
    const at = offset - this.#at;
    const { bytes } = this.#buffer;
    if (!tableMatches(bytes, at, header)) {
      return invalid("the group table does not match its checksum", header);
    }
    if (!payloadMatches(bytes, at, header)) {
      const rows = readFrameRows(bytes, at, header);
      return invalid("the payload does not match its checksum", header, rows);
    }
    if (header.flags !== 0) {
      throw new HarmonyError(
        "NEWER_FORMAT",
        `${this.path} at offset ${offset}: frame flags ${header.flags}`,
      );
    }
    return { valid: true, header };
  }

  /** The records of the frame at `offset`, which has just been checked. */
  records(offset: number, header: FrameHeader): RecordCursor {
    const start = payloadStart(offset - this.#at, header);
    return new RecordCursor(
      this.#buffer.bytes,
      start,
      start + header.payloadBytes,
      this.path,
      start + this.#at,
    );
  }

  /** Copies the frame at `offset`, which has just been checked, to `into[at]`. */
  copyFrame(offset: number, header: FrameHeader, into: Uint8Array, at: number): void {
    const from = offset - this.#at;
    into.set(this.#buffer.bytes.subarray(from, from + header.frameBytes), at);
  }

  /** Looks at every sector from `offset` to the end of the file for frames that prove something. */
  *scanTail(offset: number): Io<TailScan> {
    let durableLsn = 0;
    let dataEnd = offset;
    for (let at = offset; at < this.sizeBytes; at += SECTOR_BYTES) {
      const sector = Math.min(SECTOR_BYTES, this.sizeBytes - at);
      if (!this.#has(at, sector)) yield* this.#load(at, sector);
      const start = at - this.#at;
      const used = usedBytes(this.#buffer, start, start + sector);
      if (used === 0) continue;
      dataEnd = at + used;
      const header = readFrameHeader(
        this.#buffer.bytes.subarray(0, this.#length),
        start,
        this.firstLsn + at,
        this.header.crc,
      );
      if (header !== null && header.durableLsn > durableLsn) durableLsn = header.durableLsn;
    }
    return { durableLsn, dataEnd };
  }

  /** The next self-valid frame header at or after `offset`, for inspection behind damage; null when there is none. */
  *nextFrame(offset: number): Io<{ readonly offset: number; readonly previousCrc: number } | null> {
    for (let at = offset; at + FRAME_HEAD_BYTES <= this.sizeBytes; at += SECTOR_BYTES) {
      if (!this.#has(at, FRAME_HEAD_BYTES)) yield* this.#load(at, FRAME_HEAD_BYTES);
      const header = readFrameHeader(
        this.#buffer.bytes,
        at - this.#at,
        this.firstLsn + at,
        this.header.crc,
      );
      if (header !== null) return { offset: at, previousCrc: header.previousCrc };
    }
    return null;
  }

  /** The footer at `offset`, or null. */
  *footerAt(offset: number): Io<SegmentFooter | null> {
    if (offset + FOOTER_BYTES > this.sizeBytes) return null;
    if (!this.#has(offset, FOOTER_BYTES)) yield* this.#load(offset, FOOTER_BYTES);
    return decodeFooter(this.#buffer.bytes, offset - this.#at);
  }

  #has(offset: number, bytes: number): boolean {
    return (
      this.#buffer.owner === this && offset >= this.#at && offset + bytes <= this.#at + this.#length
    );
  }

  *#load(offset: number, bytes: number): Io<void> {
    const buffer = this.#buffer;
    const wanted = Math.min(Math.max(bytes, WINDOW_BYTES), this.sizeBytes - offset);
    buffer.reserve(wanted);
    const read = yield* readFile(this.file, offset, buffer.bytes.subarray(0, wanted));
    // A file that became shorter than it said reads as zeros, which are never valid.
    buffer.bytes.fill(0, read, wanted);
    buffer.owner = this;
    this.#at = offset;
    this.#length = wanted;
  }
}

function invalid(
  what: string,
  header: FrameHeader | null = null,
  rows: readonly FrameRow[] | null = null,
  strayDurableLsn: Lsn = 0,
): FrameCheck {
  return { valid: false, what, header, rows, strayDurableLsn };
}

/** Where the last byte in [start, end) that is not zero ends, counted from `start`, which is that of a sector. */
function usedBytes({ bytes, words }: ReadBuffer, start: number, end: number): number {
  let used = end;
  while (used > start && used % 4 !== 0 && bytes[used - 1] === 0) used--;
  if (used % 4 === 0) {
    let word = used / 4;
    while (word > start / 4 && words[word - 1] === 0) word--;
    used = word * 4;
  }
  while (used > start && bytes[used - 1] === 0) used--;
  return used - start;
}

/** The checksum that seals a chain: what the footer of a segment and the header of the next one must name. */
export function footerMatches(
  footer: SegmentFooter | null,
  header: DecodedSegmentHeader,
  endLsn: Lsn,
  chain: number,
): boolean {
  return (
    footer !== null &&
    footer.sequence === header.sequence &&
    footer.firstLsn === header.firstLsn &&
    footer.endLsn === endLsn &&
    footer.chainCrc === chain
  );
}
