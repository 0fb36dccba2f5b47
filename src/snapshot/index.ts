/**
 * L5, snapshots: the trees of a group at one applied index as a file of its own, for a follower that is too far behind
 * and for a backup.
 *
 * A snapshot is written from a pinned version, so writes go on meanwhile and none of them shows. `format.ts` says where
 * the bytes stand, `writer.ts` and `reader.ts` stream them in slices, `load.ts` makes trees of them again. `store.ts`
 * keeps the files of a node, `names.ts` where; `install.ts` puts one that came from elsewhere in the place of what is here.
 *
 * Invariants:
 * - a snapshot holds exactly the state after the entry that its header names (requirements C16);
 * - nothing of it is used before all of it has been checked: checksums of header, chunks and trailer, the order of keys,
 *   the sums, and the SHA-256 over everything, header included (C36, fault-rules D28);
 * - a record in the log never names a file that may be missing; what a crash leaves unfinished is removed (C7, D27);
 * - an install leaves the old state or the new one, whatever ends it (D29);
 * - loaded into empty trees it gives the same trees, so that the same store opens on them;
 * - its size is a multiple of 512 and 32 bytes of SHA-256, which etcd's clients check on their own.
 *
 * What the trees mean is not known here: a section is a tree, and what the state machine wants to find again besides is
 * a string of bytes in the header.
 *
 * Papers: architecture 5, 6, 9; fault-rules D27 to D29; the Raft paper, section 7. Byte by byte:
 * `docs/internals/snapshot.md`.
 */
export { type SnapshotDescription, type SnapshotHeader } from "./format.ts";
export {
  abandonInstall,
  installSnapshot,
  prepareInstall,
  type PrepareOptions,
  swapDataFile,
  takeOver,
} from "./install.ts";
export { loadSnapshot } from "./load.ts";
export { snapshotFileName, type SnapshotName } from "./names.ts";
export { type SnapshotInfo, verifySnapshot } from "./reader.ts";
export { type FoundSnapshot, SnapshotStore } from "./store.ts";
export { type SnapshotSummary, writeSnapshot } from "./writer.ts";
