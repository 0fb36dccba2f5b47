/** What the log tells of itself: for dashboards, and for those who ask which group keeps it from letting go. */
import type { GroupId, LogIndex } from "../raft/index.ts";
import type { GroupState } from "./group-state.ts";
import type { LiveSegment } from "./live-segment.ts";
import { oldestNeeded } from "./manifest.ts";
import type { Lsn } from "./types.ts";

/** Bytes of records by their type, heads included; what frames add to them is not in it. */
export interface RecordBytes {
  readonly entries: number;
  readonly hardState: number;
  readonly snapshot: number;
  readonly mark: number;
}

export interface WalStats {
  readonly framesWritten: number;
  /** Entries in them. */
  readonly entriesWritten: number;
  readonly bytesWritten: number;
  /** Of what was written since the start. */
  readonly recordBytes: RecordBytes;
  /** Bytes that were handed in and are not written yet. */
  readonly bytesWaiting: number;
  readonly segments: number;
  readonly bytesOnDisk: number;
}

/** What one group has in the log, and what it keeps there. */
export interface GroupLogStats {
  readonly group: GroupId;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly commit: LogIndex;
  /** What the newest checkpoint covers. */
  readonly checkpointIndex: LogIndex;
  /** The segment and the place in it that the group needs the log from; null: it needs nothing. */
  readonly needed: { readonly segment: number; readonly offset: number } | null;
  /** From there to the end of the log, other groups' bytes included: what cannot go as long as the group stays behind. */
  readonly backlogBytes: number;
}

/** Counts while records are written. */
export type RecordCounter = { -readonly [Type in keyof RecordBytes]: number };

export function noRecords(): RecordCounter {
  return { entries: 0, hardState: 0, snapshot: 0, mark: 0 };
}

export function addRecords(sum: RecordCounter, more: RecordBytes): void {
  sum.entries += more.entries;
  sum.hardState += more.hardState;
  sum.snapshot += more.snapshot;
  sum.mark += more.mark;
}

export function groupStats(
  state: GroupState,
  segments: readonly LiveSegment[],
  endLsn: Lsn,
): GroupLogStats {
  const { group, log, hardState, checkpoint } = state;
  const needed = oldestNeeded(state, segments);
  const segment = segments.find(({ sequence }) => sequence === needed?.segment);
  return {
    group,
    firstIndex: log.firstIndex(),
    lastIndex: log.lastIndex(),
    commit: hardState.commit,
    checkpointIndex: checkpoint.appliedIndex,
    needed,
    backlogBytes:
      needed === null || segment === undefined ? 0 : endLsn - segment.firstLsn - needed.offset,
  };
}
