/** The data of Raft, in the vocabulary of the paper and of etcd. Everything here is plain data that a transcript can show. */

/** A Raft group: one database. Never reused. */
export type GroupId = number;
/** A member of the cluster, at least 1. 0 means none. Ids that we generate stay below 2^53. */
export type NodeId = number;
/** Starts at 1. 0 means none. */
export type Term = number;
/** Position in a group's log. Starts at 1. 0 means none. */
export type LogIndex = number;
/** A replica's life: it grows when the replica may have lost something that it acknowledged. Starts at 1. */
export type Incarnation = number;

/** What an entry carries. `empty` is the no-op that opens a term. The numbers are what disk and wire hold. */
export const EntryType = { normal: 0, confChange: 1, empty: 2 } as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly type: EntryType;
  readonly data: Uint8Array;
}

/**
 * What a replica must remember over a crash. `term` and `vote` are synced before anything that depends on them
 * leaves; a change of `commit` alone never has to be synced (it can be learned again).
 */
export interface HardState {
  readonly term: Term;
  readonly vote: NodeId;
  readonly commit: LogIndex;
}

export const EMPTY_HARD_STATE: HardState = Object.freeze({ term: 0, vote: 0, commit: 0 });

/** Who takes part. Joint configurations have `votersOutgoing`. Lists are sorted. */
export interface ConfState {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  readonly learnersNext: readonly NodeId[];
  readonly autoLeave: boolean;
}

/** The last entry that a snapshot (or checkpoint) covers, and the configuration there. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly confState: ConfState;
}

/**
 * The stable part of a group's log as Raft reads it: what has been handed to the WAL and is durable here, and the
 * point before which entries are gone. The WAL's group log and a memory log implement it and pass one suite.
 *
 * Invariants: firstIndex() - 1 is the index of the last compacted entry, and term() knows its term;
 * lastIndex() >= firstIndex() - 1; terms never decrease with the index.
 */
export interface LogStorage {
  firstIndex(): LogIndex;
  lastIndex(): LogIndex;
  /** Term of an entry from firstIndex() - 1 to lastIndex(). Below: "compacted". Above: "unavailable". */
  term(index: LogIndex): Term | "compacted" | "unavailable";
  /**
   * Entries [low, high), as many from the front as fit into `maxBytes` of data but at least one. Both bounds lie within
   * the log. Reads disk for cold entries and checks their CRC again. Throws CorruptionError.
   */
  entries(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[];
  /**
   * The indexes of the configuration changes in [low, high), within the log, in order. Known without reading: a start asks
   * for it of everything that is to be applied again.
   */
  confChanges(low: LogIndex, high: LogIndex): readonly LogIndex[];
}
