/** A segment that is part of the log now: what reading, recovery and removal need to know of it. */
import { assert, readU32 } from "../base/index.ts";
import type { File } from "../env/index.ts";
import type { GroupId, LogIndex } from "../raft/index.ts";
import type { Lsn } from "./types.ts";

export interface LiveSegment {
  readonly sequence: number;
  readonly firstLsn: Lsn;
  readonly path: string;
  readonly file: File;
  readonly headerBytes: number;
  /** CRC of its header: seeds the checksums of its frame headers. */
  readonly seed: number;
  /** End of the last durable frame. */
  endLsn: Lsn;
  /** What it takes on the disk. */
  sizeBytes: number;
  /** The highest index that a frame in it touched, by group: the segment goes when older checkpoints have passed them all. */
  readonly highest: Map<GroupId, LogIndex>;
}

/** Says that a frame in `segment` touched a group's log up to `index`. */
export function noteIndex(
  segment: Pick<LiveSegment, "highest">,
  group: GroupId,
  index: LogIndex,
): void {
  const before = segment.highest.get(group);
  if (before === undefined || before < index) segment.highest.set(group, index);
}

/** The segment whose range holds `lsn`. */
export function segmentAt(segments: readonly LiveSegment[], lsn: Lsn): LiveSegment {
  let low = 0;
  let high = segments.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((segments[middle] as LiveSegment).firstLsn <= lsn) low = middle;
    else high = middle - 1;
  }
  const found = segments[low];
  assert(
    found !== undefined && found.firstLsn <= lsn && lsn < found.endLsn,
    "an LSN of a live entry is in a segment",
  );
  return found;
}

/** A segment that has just been made, with nothing in it but its header. */
export function newSegment(
  sequence: number,
  firstLsn: Lsn,
  path: string,
  file: File,
  header: Uint8Array,
): LiveSegment {
  return {
    sequence,
    firstLsn,
    path,
    file,
    headerBytes: header.length,
    seed: readU32(header, 20),
    endLsn: firstLsn + header.length,
    sizeBytes: header.length,
    highest: new Map(),
  };
}
