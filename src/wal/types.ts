/** The data that the log is asked to keep and the answers that it gives at a start. */
import type { Damage, HarmonyError } from "../base/index.ts";
import type {
  Entry,
  GroupId,
  HardState,
  Incarnation,
  LogIndex,
  NodeId,
  SnapshotMeta,
  Term,
} from "../raft/index.ts";

/** Position in the log across segments, in bytes. Never goes back. */
export type Lsn = number;

/** Whose log it is. Every segment, the manifest and the vote file carry it, so that moved files are seen (fault-rules D6, D33). */
export interface WalIdentity {
  /** 1 to 16 bytes. */
  readonly clusterId: Uint8Array;
  readonly memberId: NodeId;
  /** 16 random bytes, made when the log is created: two logs never share it. */
  readonly walId: Uint8Array;
}

export interface WalOptions {
  /** The data directory. The log uses `wal/`, `tmp/`, `MANIFEST` and `VOTE` in it. */
  readonly directory: string;
  /** Size of a segment; a multiple of 512, at least 4 KiB. A single frame that is larger gets a segment of its own size. */
  readonly segmentSizeBytes?: number;
  /** How much of each segment is kept for appends marked `reserve` while the next segment cannot be made. */
  readonly reserveBytes?: number;
  /** Recent entries of all groups together that stay in memory. */
  readonly cacheBytes?: number;
  /** After so long without an append a Mark proves that what was acknowledged is durable. */
  readonly markAfterMs?: number;
  /** How long to wait before the next attempt to make a segment when the disk is full. */
  readonly spaceRetryMs?: number;
  /**
   * 0, the default: an append is done when it is durable. Above, up to 1000: it is done when the write call has
   * returned, and a sync follows within so many milliseconds. For a lone voter only (requirements C13).
   */
  readonly fsyncIntervalMs?: number;
}

/** A snapshot that the log names. Its file is durable before the record is appended (requirements C7). */
export interface SnapshotRecord {
  readonly meta: SnapshotMeta;
  /** Path below `snap/`. */
  readonly fileName: string;
  readonly sizeBytes: number;
  /** 32 bytes of SHA-256 of the file. */
  readonly sha256: Uint8Array;
  /** True: it came from a leader and takes the place of the whole log. False: it was taken here, and the log stays. */
  readonly installed: boolean;
}

/** What one Ready of one group has to make durable. */
export interface GroupAppend {
  readonly group: GroupId;
  /** Discards every kept entry from the first index on. */
  readonly entries: readonly Entry[];
  readonly hardState: HardState | null;
  /** Comes before the entries and the HardState, which follow it. */
  readonly snapshot?: SnapshotRecord;
}

export interface AppendOptions {
  /** True for what may use the reserve of the segment on a full disk: deletes, compactions, votes, membership. */
  readonly reserve?: boolean;
  /** True for votes and terms: done only when it is durable, with all before it, also in the interval mode. */
  readonly sync?: boolean;
}

/**
 * Null: the append is durable; in the interval mode, written. An error: it may or may not survive, the log has
 * stopped, and nothing is retried.
 */
export type AppendDone = (error: HarmonyError | null) => void;

/** How far the checkpoints in a group's data file reach. */
export interface GroupCheckpoint {
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  /** The applied index of the checkpoint before the newest one; 0 when there is none. The log keeps everything after it. */
  readonly olderAppliedIndex: LogIndex;
}

export interface GroupStart extends GroupCheckpoint {
  readonly group: GroupId;
}

/** A group's part in something that was lost. */
export interface LostRange {
  readonly group: GroupId;
  /** Both 0 when only the group's HardState was lost. */
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly term: Term;
}

/** What a start found. */
export interface WalRecovery {
  /** Live entries in the logs of all groups. */
  readonly entriesFound: number;
  readonly segmentsScanned: number;
  readonly framesScanned: number;
  readonly bytesScanned: number;
  /** Bytes of a torn write after the last valid frame that were cut. */
  readonly tornBytesCut: number;
  /** Valid but unproven bytes that were written again before anything may depend on them (fault-rules D10). */
  readonly rewrittenBytes: number;
  /** Damage that costs nothing: below every pointer, or in a footer that the next segment vouches for. */
  readonly damagedRanges: readonly Damage[];
  /** End of the last valid frame that was found. */
  readonly lastLsn: Lsn;
  /** What the files themselves proved to be durable. */
  readonly durableLsn: Lsn;
  /** False when the log was closed in order and lost nothing. */
  readonly unclean: boolean;
}

/** Term, vote and incarnation of a group as the vote file keeps them. */
export interface VoteState {
  readonly term: Term;
  readonly vote: NodeId;
  readonly incarnation: Incarnation;
}
