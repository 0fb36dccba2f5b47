/**
 * L4, the write-ahead log: the one log of a node, shared by all its groups. What an append's `done` has reported is
 * on the disk and comes back after any crash; what it has not reported comes back whole or not at all.
 *
 * ## How it is put together
 *
 * - `wal.ts` is the heart: frames fill (`frame-queue.ts`), leave one at a time, become durable, become visible, are
 *   done. Group commit needs no timer: while one frame is on its way the next one fills.
 * - In the interval mode, for a lone voter that chose it, "durable" and "done" part: an append is done when its write has
 *   returned, and `sync-point.ts` knows how far the log is durable and syncs within the interval. Votes, terms, marks,
 *   manifests, the roll to the next segment and the close wait for a sync as ever, and whoever makes a checkpoint asks
 *   for one (`Wal.sync`), so that nothing on the disk ever names what the log may still lose.
 * - A frame (`frame.ts`, `frame-builder.ts`, `record.ts`) is one atomic batch of typed records, checkable by itself and
 *   chained to its predecessor. A segment (`segment.ts`) is a file of frames between a header, which carries every
 *   group's HardState forward, and a footer. `segment-supply.ts` keeps zeros ahead of the appends.
 * - `recovery.ts` opens a directory: it finds what the files prove, cuts what is torn, refuses what is lost, and writes
 *   again what is valid but unproven. `segment-set.ts` asks whether the files belong together, `segment-reader.ts`
 *   judges what stands where, `replay.ts` applies the records. `create.ts` makes a new log.
 * - `group-log.ts` is Raft's `LogStorage`: the newest entries in memory (`entry-cache.ts`), older ones read back and
 *   checked again (`cold-reader.ts`), found through runs instead of an object for each entry (`run-index.ts`).
 * - `release.ts` lets go of segments behind the checkpoints. `manifest.ts` and `vote-file.ts` are the two small files
 *   beside the log. `inspect.ts` looks at a stopped directory.
 *
 * ## Invariants
 *
 * 1. Nothing is acknowledged before the write that makes it durable has returned (in the interval mode: the write), and
 *    after a failed write or sync nothing is acknowledged at all (fault-rules D9). Nothing is retried.
 * 2. Everything below a segment's first LSN was durable before its header was written, and everything below its proven
 *    LSN before the file got its name. So damage there is never a tear.
 * 3. Each frame says how far the log was durable when it was written. At a start, damage at or behind the highest such
 *    point is cut, damage below it is refused with file, offset and the groups concerned.
 * 4. A start never lets anything depend on bytes that only the page cache may hold: the unproven tail is copied to a
 *    new file that is durable before it has a name, and the vote file likewise (D10).
 * 5. A segment goes after a durable manifest that does not name it, when every group's older checkpoint has passed all
 *    that it holds; HardStates live on in the headers behind it (D25, D26).
 * 6. Within a frame a group's snapshot comes before its entries and they come before the HardState that commits them.
 * 7. What Raft forbids is refused in both directions: an append that breaks it is a bug (assertion), a record that
 *    breaks it is damage.
 *
 * ## What is left out, for later issues
 *
 * Writing `Relocated` and `Truncated` records, so that a group which alone pins old segments lets them go: recovery
 * understands both. Healing a damaged log from peers: `WalCorruptionError.lost` says what would have to be healed.
 * Retention for slow followers. Encryption: a flag and 32 bytes of each frame are reserved.
 *
 * One deviation from the design paper: there is no Metadata record. The header of each segment binds cluster, member
 * and log; a second copy of the ids in the first frame could only disagree with it.
 *
 * Sources: the Raft paper, 5.1 to 5.4 and 7, for what has to be stable; Alagappan et al., "Protocol-Aware Recovery for
 * Consensus-Based Storage", FAST 2018, for telling a torn write from damage by a mark that a later write leaves;
 * Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, and Rebello et al., "Can Applications Recover
 * from fsync Failures?", ATC 2020, for what disks and page caches do. Byte by byte: `docs/internals/wal.md`.
 */
export { type GroupLog } from "./group-log.ts";
export type { GroupReport } from "./inspect-groups.ts";
export {
  type InspectedEntry,
  type InspectedRecord,
  inspectWal,
  verifyWal,
  type WalItem,
  type WalReport,
} from "./inspect.ts";
export { WalCorruptionError } from "./recovery.ts";
export type * from "./types.ts";
export { decideVote, isSameLog, readVotes, VoteFile, type VoteRead } from "./vote-file.ts";
export type { GroupLogStats, RecordBytes, WalStats } from "./stats.ts";
export { Wal } from "./wal.ts";
