/**
 * Snapshots between members, as state machines over `env`: a member that the log no longer reaches is told by Raft that
 * there is a snapshot, and pulls it as a file, on a call of its own, so that neither entries nor heartbeats wait for it.
 *
 * Invariants:
 * 1. Who pulls says how much it has room for, and no more than that is under way; who sends keeps to a rate besides.
 * 2. One pull for each member and group at a time, and few in all.
 * 3. What has come is used by nobody before it has been checked, whole; an attempt that fails leaves nothing.
 * 4. Every announcement is answered to Raft, once: the member has it, or has not.
 *
 * What a snapshot holds, where it lies and how it is installed is not known here: `db` joins this to the files.
 */
export {
  isPulled,
  type PartialSnapshot,
  type PullConfig,
  type PulledSnapshot,
  SnapshotPull,
} from "./pull.ts";
export { SnapshotServer, type SnapshotServerStats } from "./server.ts";
export type { OpenSnapshot, Serving, SnapshotSource } from "./serving.ts";
