/** Which tree of a group's data file holds what. The numbers are part of the file's format. */
import { assert } from "../base/index.ts";
import { TREE_SLOTS, type TreeId } from "../btree/index.ts";

export const Trees: {
  readonly keys: TreeId;
  readonly history: TreeId;
  readonly events: TreeId;
  readonly leases: TreeId;
  readonly leaseKeys: TreeId;
  readonly deadlines: TreeId;
  readonly sessions: TreeId;
  readonly meta: TreeId;
} = Object.freeze({
  /** User key: the record of its current version. */
  keys: 0,
  /** Escaped user key, revision and sub-revision: the record of a superseded version, or a tombstone. */
  history: 1,
  /** Revision and sub-revision: what happened to which key, and which version it superseded. */
  events: 2,
  /** Lease id: its TTL and deadline. */
  leases: 3,
  /** Lease id and user key: nothing. A key is here as long as its current version names the lease. */
  leaseKeys: 4,
  /** Clock, kind, and lease id, user key or session: nothing. What ends at which moment of the group's clock. */
  deadlines: 5,
  /** Client sessions for exactly-once requests, and the last results of each. */
  sessions: 6,
  /** A name: a small record. Settings of the database, progress of compaction, members of the cluster. */
  meta: 7,
});

assert(
  new Set(Object.values(Trees)).size === Object.keys(Trees).length,
  "each tree has its own slot",
);
assert(Math.max(...Object.values(Trees)) < TREE_SLOTS, "tree slots exist");
