/**
 * L4, the versioned keyspace: from puts and deletes to revisions, and from revisions back to what was.
 *
 * `Store` writes: each transaction that changes something makes one main revision, its changes are ordered by a
 * sub-revision (etcd-api.md 2.2). `ReadView` reads the latest state or any revision from the compact revision on.
 * `Leases` and deadlines of single keys end keys on the group's clock (2.3); `Sessions` remember the results of requests
 * that may be sent twice. Everything stands in the trees of an `Engine`: `trees.ts` says which
 * holds what, `tree-keys.ts`, `record.ts` and `event.ts` how.
 *
 * A value is stored once: in `keys` while it is current, in `history` from the change on that supersedes it. So the
 * latest state is read without touching history, and compaction removes old versions without touching `keys`.
 *
 * Invariants: those of Store. Nothing here reads a clock or decides by chance: the same calls in the same order give
 * the same state on every replica, and the state hash says so (fault-rules R19).
 *
 * Left out: what a request means (checks, compares, ranges with filters, counters, locks), which is `db`; watchers.
 * Papers: data-model.md; architecture 7; fault-rules D20, K6, K8, R19.
 */
export { type Alarm, AlarmKind } from "./alarms.ts";
export { ChangeReader } from "./change-reader.ts";
export {
  byEnd,
  describeLease,
  describeSession,
  describeStore,
  describeVersion,
  type LeaseDescription,
  printable,
  type VersionDescription,
} from "./describe.ts";
export type { DeleteCause } from "./event.ts";
export { decodeMember, encodeMember, type MemberRecord, Members } from "./members.ts";
export { LATEST, ReadView } from "./read-view.ts";
export { RecordView, ValueKind } from "./record.ts";
export { SESSION_IDLE_MS, SESSION_WINDOW, SESSIONS_MAX } from "./sessions.ts";
export { keepsHistory, type StoreSettings } from "./settings.ts";
export { type ChangeListener, type RevisionError, Store, type StoreCounts } from "./store.ts";
export {
  KEY_LENGTH_MAX,
  LEASE_ID_BYTES,
  leaseIdBytes,
  readLeaseId,
  writeLeaseId,
} from "./tree-keys.ts";
