/** L4, the write-ahead log. */
export { type GroupLog } from "./group-log.ts";
export { WalCorruptionError } from "./recovery.ts";
export type * from "./types.ts";
export { Wal, type WalStats } from "./wal.ts";
