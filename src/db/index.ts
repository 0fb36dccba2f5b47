/**
 * L7, the database: commands, the key-value state machine that applies them, the node that puts log, trees and group
 * together, and the door for programs in the same process.
 *
 * One write: `Database.write` checks it and encodes a command; the replica carries it through Raft and the WAL;
 * `KvStateMachine.apply` executes it, the same on every replica, and its outcome becomes the reply.
 *
 * Invariants:
 * 1. Apply depends on the entry and the group's own state alone (architecture section 3, step 5).
 * 2. A reply says what happened; an error says by `maybeApplied` whether the write may still happen.
 * 3. Applied index and data become durable together, in one checkpoint (fault-rules D20).
 * 4. No revision is given twice, not even after a power loss in a mode that acknowledges before the sync
 *    (durability.ts).
 */
export type {
  CallOptions,
  Database,
  DatabaseStatus,
  Durability,
  MemberAlarm,
  MemberInfo,
  MembersChanged,
  Reply,
} from "./database.ts";
export { unlisten } from "./calls.ts";
export type { CheckpointTriggers } from "./chores.ts";
export {
  FORMAT_MAJOR,
  FORMAT_MINOR,
  type InitialMember,
  lockDataDirectory,
  readVersion,
} from "./data-directory.ts";
export { membersDamage } from "./members-file.ts";
export { metricFamilies, type MetricFamily } from "./node-metrics.ts";
export { Node, type NodeStats, type RecoveryStats, stopNode } from "./node.ts";
export type { NodeOptions } from "./node-options.ts";
export { openNode, startNode } from "./open-node.ts";
export { COUNT_NO_KEY, POINT } from "./point.ts";
export type * from "./requests.ts";
export {
  inspectSnapshot,
  type Restored,
  type RestoreOptions,
  restoreSnapshot,
  type SnapshotReport,
} from "./restore.ts";
export type { RetentionSettings } from "./retention.ts";
export type { MadeSnapshot, SnapshotReader, SnapshotStats } from "./snapshots.ts";
export type { Watch, WatchEvent, WatchNews, WatchRequest } from "./watch/index.ts";
export { decodeRequest, decodeWholeOutcome, encodeRequest, encodeWholeOutcome } from "./wire.ts";
