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
  #window: Uint8Array;
  #at = 0;
  #length = 0;

  constructor(file: File, path: string, sizeBytes: number, header: DecodedSegmentHeader) {
    this.file = file;
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.header = header;
    this.#window = new Uint8Array(Math.min(WINDOW_BYTES, alignUp(sizeBytes)));
  }

  /** Opens a segment for reading and checks its header. Throws CorruptionError, NEWER_FORMAT, FileError. */
  static *open(files: Files, path: string): Io<SegmentReader> {
    const file = yield* openFile(files, path, { access: "read" });
    try {
      const size = yield* fileSize(file);
      const first = new Uint8Array(Math.min(SECTOR_BYTES, size));
      yield* readFile(file, 0, first);
      const headerBytes = claimedHeaderBytes(first, path, size);
      let whole: Uint8Array = first;
      if (headerBytes > first.length) {
        whole = new Uint8Array(headerBytes);
        yield* readFile(file, 0, whole);
      }
      return new SegmentReader(file, path, size, decodeSegmentHeader(whole, path));
    } catch (error) {
      yield* closeFile(file);
      throw error;
    }
  }

  get firstLsn(): Lsn {
    return this.header.firstLsn;
  }

  /** The bytes that `check` and `at` speak of. Good until the next `check`, `scanTail` or `footerAt`. */
  get bytes(): Uint8Array {
    return this.#window;
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
      this.#window,
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
    if (!tableMatches(this.#window, at, header)) {
      return invalid("the group table does not match its checksum", header);
    }
    if (!payloadMatches(this.#window, at, header)) {
      const rows = readFrameRows(this.#window, at, header);
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
      this.#window,
      start,
      start + header.payloadBytes,
      this.path,
      start + this.#at,
    );
  }

  /** A copy of the frame at `offset`, which has just been checked. */
  copyFrame(offset: number, header: FrameHeader): Uint8Array {
    return this.#window.slice(offset - this.#at, offset - this.#at + header.frameBytes);
  }

  /** Looks at every sector from `offset` to the end of the file for frames that prove something. */
  *scanTail(offset: number): Io<TailScan> {
    let durableLsn = 0;
    let dataEnd = offset;
    for (let at = offset; at < this.sizeBytes; at += SECTOR_BYTES) {
      const sector = Math.min(SECTOR_BYTES, this.sizeBytes - at);
      if (!this.#has(at, sector)) yield* this.#load(at, sector);
      const start = at - this.#at;
      const used = usedBytes(this.#window, start, start + sector);
      if (used === 0) continue;
      dataEnd = at + used;
      const header = readFrameHeader(
        this.#window.subarray(0, this.#length),
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
        this.#window,
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
    return decodeFooter(this.#window, offset - this.#at);
  }

  #has(offset: number, bytes: number): boolean {
    return offset >= this.#at && offset + bytes <= this.#at + this.#length;
  }

  *#load(offset: number, bytes: number): Io<void> {
    if (bytes > this.#window.length) this.#window = new Uint8Array(alignUp(bytes));
    this.#at = offset;
    this.#length = 0;
    const wanted = Math.min(this.#window.length, this.sizeBytes - offset);
    const read = yield* readFile(this.file, offset, this.#window.subarray(0, wanted));
    // A file that became shorter than it said reads as zeros, which are never valid.
    this.#window.fill(0, read);
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

/** Where the last byte of `bytes[start, end)` that is not zero ends, counted from `start`. */
function usedBytes(bytes: Uint8Array, start: number, end: number): number {
  let used = end;
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
