/**
 * Reads entries back from durable frames, in the call: old entries for a slow follower, and what is applied again
 * after a start. Both go forward through the log, so a window of the file is read ahead and its frames are taken from
 * there. Every frame's three checksums are checked each time it is taken.
 */
import { CorruptionError } from "../base/index.ts";
import type { Entry, GroupId, LogIndex, Term } from "../raft/index.ts";
import {
  FRAME_ENCRYPTED,
  FRAME_HEAD_BYTES,
  type FrameHeader,
  payloadMatches,
  payloadStart,
  readFrameHeader,
  tableMatches,
} from "./frame.ts";
import { type LiveSegment, segmentAt } from "./live-segment.ts";
import { EntryCursor, RecordCursor, RecordType } from "./record.ts";
import type { Lsn } from "./types.ts";

const WINDOW_BYTES = 256 * 1024;

export class ColdReader {
  readonly #segments: readonly LiveSegment[];
  /** Bytes of #windowOf from #windowAt on, all of them durable when they were read and therefore final. */
  #window: Uint8Array = new Uint8Array(0);
  #windowAt = 0;
  #windowOf: LiveSegment | null = null;

  /** `segments` is the live list, in order. */
  constructor(segments: readonly LiveSegment[]) {
    this.#segments = segments;
  }

  /**
   * The entries [low, high) of a group as the frame at `lsn` left them; they are of one term and live there. Their
   * data are views into a buffer that nothing writes to again. Throws CorruptionError.
   */
  read(group: GroupId, lsn: Lsn, low: LogIndex, high: LogIndex, term: Term): readonly Entry[] {
    const segment = segmentAt(this.#segments, lsn);
    const offset = lsn - segment.firstLsn;
    const header = this.#frame(segment, lsn, offset);
    const bytes = this.#window;
    const at = offset - this.#windowAt;
    const start = payloadStart(at, header);
    const records = new RecordCursor(
      bytes,
      start,
      start + header.payloadBytes,
      segment.path,
      offset + start - at,
    );
    const entries: Entry[] = [];
    while (records.next()) {
      if (records.group !== group) continue;
      if (records.type !== RecordType.entries && records.type !== RecordType.relocated) continue;
      const cursor = new EntryCursor(records);
      // A later record of the frame overrides an earlier one, so the last version of each index is taken.
      while (cursor.next()) {
        if (cursor.index < low || cursor.index >= high || cursor.term !== term) continue;
        entries[cursor.index - low] = cursor.entry();
      }
    }
    for (let i = 0; i < high - low; i++) {
      if (entries[i] === undefined) {
        const what = `entry ${low + i} of term ${term} of group ${group} is not in its frame`;
        throw new CorruptionError({ file: segment.path, offset, what });
      }
    }
    return entries;
  }

  /** Brings the whole frame into the window. */
  #frame(segment: LiveSegment, lsn: Lsn, offset: number): FrameHeader {
    let at = offset - this.#windowAt;
    const known =
      this.#windowOf === segment && at >= 0 && at + FRAME_HEAD_BYTES <= this.#window.length;
    if (!known) this.#load(segment, offset, Math.min(WINDOW_BYTES, segment.endLsn - lsn));
    at = offset - this.#windowAt;
    const header = readFrameHeader(this.#window, at, lsn, segment.seed);
    if (header === null)
      return damaged(segment, offset, "the frame header does not match its checksum");
    if (at + header.frameBytes > this.#window.length) {
      this.#load(
        segment,
        offset,
        Math.max(header.frameBytes, Math.min(WINDOW_BYTES, segment.endLsn - lsn)),
      );
      at = 0;
    }
    if (!tableMatches(this.#window, at, header))
      damaged(segment, offset, "the group table does not match its checksum");
    if (!payloadMatches(this.#window, at, header))
      damaged(segment, offset, "the payload does not match its checksum");
    if (header.flags === FRAME_ENCRYPTED) damaged(segment, offset, "the frame is encrypted");
    return header;
  }

  #load(segment: LiveSegment, offset: number, bytes: number): void {
    // A fresh buffer each time: entries that were read before are views into the old one.
    const window = new Uint8Array(bytes);
    const read = segment.file.readSync(offset, window);
    if (read < bytes) damaged(segment, offset + read, "the file ends inside a durable frame");
    this.#window = window;
    this.#windowAt = offset;
    this.#windowOf = segment;
  }
}

function damaged(segment: LiveSegment, offset: number, what: string): never {
  throw new CorruptionError({ file: segment.path, offset, what });
}
