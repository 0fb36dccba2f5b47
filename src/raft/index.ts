/** L2, consensus. The chapter is written with the core. */
export {
  type ConfState,
  EMPTY_HARD_STATE,
  type Entry,
  EntryType,
  type GroupId,
  type HardState,
  type Incarnation,
  type LogIndex,
  type LogStorage,
  type NodeId,
  type SnapshotMeta,
  type Term,
} from "./types.ts";
