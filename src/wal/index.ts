/** L4, the write-ahead log. */
export { type GroupLog } from "./group-log.ts";
export { WalCorruptionError } from "./recovery.ts";
export type * from "./types.ts";
export { Wal, type WalStats } from "./wal.ts";
export { decideVote, VoteFile, type VoteRead } from "./vote-file.ts";
export {
  type InspectedEntry,
  type InspectedRecord,
  inspectWal,
  verifyWal,
  type WalItem,
  type WalReport,
} from "./inspect.ts";
