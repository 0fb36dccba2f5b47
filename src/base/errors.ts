/**
 * One catalogue of everything that can go wrong, with stable codes. `docs/reference/errors.md` mirrors it and a
 * test compares the two. Doors translate a code once, at their edge, in a table of their own.
 */

/** What the caller can do about it. */
export type Reaction =
  /** The same request may succeed later. */
  | "retry"
  /** The request itself is wrong: change it. */
  | "fix-request"
  /** The operator has to act: configuration, disk, damaged files. */
  | "operator";

interface ErrorInfo {
  /** The sentence that users read. */
  readonly summary: string;
  readonly reaction: Reaction;
  /**
   * True: a result of the command, the same on every replica, so the log entry counts as applied.
   * False: never the outcome of applying an entry.
   */
  readonly deterministic: boolean;
}

/** The stable code of an error. Codes are never renamed or given another meaning. */
export type ErrorCode =
  | "KEY_EMPTY"
  | "KEY_TOO_LARGE"
  | "KEY_NOT_FOUND"
  | "VALUE_PROVIDED"
  | "LEASE_PROVIDED"
  | "TOO_LARGE"
  | "TOO_MANY_OPS"
  | "DUPLICATE_KEY"
  | "INVALID_SORT"
  | "INVALID_ARGUMENT"
  | "COMPACTED"
  | "FUTURE_REV"
  | "LEASE_NOT_FOUND"
  | "LEASE_EXISTS"
  | "LEASE_TTL_TOO_LARGE"
  | "NOT_AN_INTEGER"
  | "OVERFLOW"
  | "VALUE_TOO_LARGE"
  | "LOCKED"
  | "WRONG_KIND"
  | "REQUEST_EXPIRED"
  | "SESSION_EXISTS"
  | "TOO_MANY_SESSIONS"
  | "SETTING_FIXED"
  | "MEMBER_NOT_FOUND"
  | "MEMBER_EXISTS"
  | "MEMBER_NAME_EXISTS"
  | "PEER_URL_EXISTS"
  | "MEMBER_URLS_INVALID"
  | "MEMBER_NOT_LEARNER"
  | "TOO_MANY_LEARNERS"
  | "LEARNER_NOT_READY"
  | "MEMBERS_NOT_STARTED"
  | "CLUSTER_UNHEALTHY"
  | "BAD_TRANSFEREE"
  | "STAYS_ALONE"
  | "CONFLICT"
  | "LOCK_TIMEOUT"
  | "LOCK_LOST"
  | "NO_SPACE"
  | "DISK_FULL"
  | "TOO_MANY_REQUESTS"
  | "NO_LEADER"
  | "NOT_LEADER"
  | "LEADER_CHANGED"
  | "TIMEOUT"
  | "ABORTED"
  | "CLOSED"
  | "STOPPED"
  | "PEER_FAILED"
  | "UNREACHABLE"
  | "UNSUPPORTED"
  | "MEMBER_REMOVED"
  | "JOIN_REFUSED"
  | "QUARANTINED"
  | "MEMBER_FULL"
  | "PEER_MISSING"
  | "DIRECTORY_LOCKED"
  | "WRONG_CLUSTER"
  | "NEWER_FORMAT"
  | "NOT_A_SNAPSHOT"
  | "SNAPSHOT_MISMATCH"
  | "CORRUPT"
  | "IO";

const CATALOGUE: Readonly<Record<ErrorCode, readonly [string, Reaction, boolean]>> = {
  // A request that can never succeed as it stands.
  KEY_EMPTY: ["key is not provided", "fix-request", true],
  KEY_TOO_LARGE: ["key is too large", "fix-request", true],
  KEY_NOT_FOUND: ["key not found", "fix-request", true],
  VALUE_PROVIDED: ["value is provided", "fix-request", true],
  LEASE_PROVIDED: ["lease is provided", "fix-request", true],
  TOO_LARGE: ["request is too large", "fix-request", false],
  TOO_MANY_OPS: ["too many operations in txn request", "fix-request", true],
  DUPLICATE_KEY: ["duplicate key given in txn request", "fix-request", true],
  INVALID_SORT: ["invalid sort option", "fix-request", true],
  INVALID_ARGUMENT: ["invalid argument", "fix-request", false],
  // The request is well formed but the data says no.
  COMPACTED: ["required revision has been compacted", "fix-request", true],
  FUTURE_REV: ["required revision is a future revision", "fix-request", true],
  LEASE_NOT_FOUND: ["requested lease not found", "fix-request", true],
  LEASE_EXISTS: ["lease already exists", "fix-request", true],
  LEASE_TTL_TOO_LARGE: ["too large lease TTL", "fix-request", true],
  NOT_AN_INTEGER: ["value is not an integer or out of range", "fix-request", true],
  OVERFLOW: ["increment or decrement would overflow", "fix-request", true],
  VALUE_TOO_LARGE: ["the value would become too large", "fix-request", true],
  LOCKED: ["key holds a lock", "fix-request", true],
  WRONG_KIND: ["the key holds the wrong kind of value", "fix-request", true],
  REQUEST_EXPIRED: [
    "the request id is no longer known to its session, or was used for something else",
    "fix-request",
    true,
  ],
  SESSION_EXISTS: ["session already exists", "fix-request", true],
  TOO_MANY_SESSIONS: ["too many sessions", "operator", true],
  SETTING_FIXED: ["a database that keeps history always keeps some", "fix-request", true],
  // Changes of the members of a cluster.
  MEMBER_NOT_FOUND: ["member not found", "fix-request", true],
  MEMBER_EXISTS: ["member ID already exist", "fix-request", true],
  MEMBER_NAME_EXISTS: ["another member has this name", "operator", true],
  PEER_URL_EXISTS: ["peer URLs already exist", "fix-request", true],
  MEMBER_URLS_INVALID: ["given member URLs are invalid", "fix-request", true],
  MEMBER_NOT_LEARNER: ["can only promote a learner member", "fix-request", true],
  TOO_MANY_LEARNERS: ["too many learner members in cluster", "fix-request", false],
  LEARNER_NOT_READY: [
    "can only promote a learner member which is in sync with leader",
    "retry",
    false,
  ],
  MEMBERS_NOT_STARTED: [
    "re-configuration failed due to not enough started members",
    "operator",
    false,
  ],
  CLUSTER_UNHEALTHY: [
    "the change would leave no majority of members that are connected",
    "operator",
    false,
  ],
  BAD_TRANSFEREE: ["bad leader transferee", "fix-request", false],
  STAYS_ALONE: [
    "this node cannot have others beside it: it does not listen for them (--listen-peer-urls, or listenPeerUrls of serve), or does not sync before it acknowledges",
    "operator",
    false,
  ],
  // What a door in process says of work that takes several commands; never the outcome of one.
  CONFLICT: ["others kept changing what the transaction read", "retry", false],
  LOCK_TIMEOUT: ["somebody else held the lock until the wait was over", "retry", false],
  LOCK_LOST: ["the lock is no longer held", "fix-request", false],
  // The node cannot do it now.
  NO_SPACE: ["database space exceeded", "operator", true],
  DISK_FULL: ["the disk is full: only deletes and compaction are taken", "operator", false],
  TOO_MANY_REQUESTS: ["too many requests", "retry", false],
  NO_LEADER: ["no leader", "retry", false],
  NOT_LEADER: ["not leader", "retry", false],
  LEADER_CHANGED: ["the leader changed while the request was on its way", "retry", false],
  TIMEOUT: ["request timed out", "retry", false],
  ABORTED: ["the caller aborted the request", "retry", false],
  CLOSED: ["the database is closed", "retry", false],
  STOPPED: ["the node stopped after a failed write", "operator", false],
  PEER_FAILED: ["another member did not answer, or not as it should", "retry", false],
  // A database whose nodes are elsewhere.
  UNREACHABLE: ["no member could be reached, or the connection broke", "retry", false],
  UNSUPPORTED: ["this way of opening the database cannot do it", "fix-request", false],
  // Belonging to a cluster, or not any more.
  MEMBER_REMOVED: ["this member was removed from the cluster", "operator", false],
  JOIN_REFUSED: ["the cluster does not take this node", "operator", false],
  QUARANTINED: [
    "this member is in quarantine until it is healed by the others: ask another one",
    "retry",
    false,
  ],
  MEMBER_FULL: [
    "the disk of this member is full while others have room: ask another one",
    "retry",
    false,
  ],
  // Loading an adapter whose ecosystem is not installed.
  PEER_MISSING: ["a package that this part needs is not installed", "operator", false],
  // Opening a directory.
  DIRECTORY_LOCKED: ["another process uses this data directory", "operator", false],
  WRONG_CLUSTER: ["the data directory belongs to another cluster or member", "operator", false],
  NEWER_FORMAT: ["the data directory was written by a newer format", "operator", false],
  NOT_A_SNAPSHOT: ["the file is not a snapshot", "operator", false],
  SNAPSHOT_MISMATCH: [
    "the snapshot is of another cluster or group, or older than what is here",
    "operator",
    false,
  ],
  CORRUPT: ["data that was proven durable is damaged", "operator", false],
  IO: ["a file operation failed", "operator", false],
};

/** The catalogue, one row for each code. */
export const ERRORS: Readonly<Record<ErrorCode, ErrorInfo>> = Object.freeze(
  Object.fromEntries(
    Object.entries(CATALOGUE).map(([code, [summary, reaction, deterministic]]) => [
      code,
      Object.freeze({ summary, reaction, deterministic }),
    ]),
  ) as Record<ErrorCode, ErrorInfo>,
);

/** Every error that the database reports on purpose. */
export class HarmonyError extends Error {
  /** The same in every version, for those who cannot use `instanceof`. */
  override readonly name = "HarmonyError" as const;
  /** What went wrong, for programs: codes are never renamed. docs/reference/errors.md lists them. */
  readonly code: ErrorCode;
  /** True where the write may or may not have happened; false says that it certainly did not. */
  readonly maybeApplied: boolean;

  constructor(
    code: ErrorCode,
    detail?: string,
    options: { readonly maybeApplied?: boolean; readonly cause?: unknown } = {},
  ) {
    const text = detail === undefined ? ERRORS[code].summary : `${ERRORS[code].summary}: ${detail}`;
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.maybeApplied = options.maybeApplied ?? false;
  }
}

/** Where and how stored bytes are damaged: what an operator needs to look at the place. */
export interface Damage {
  /** Path of the file as the node opened it. */
  readonly file: string;
  /** Byte offset in that file. */
  readonly offset: number;
  /** What was expected and what was found. */
  readonly what: string;
}

/** Stored bytes that were proven durable do not check out. Never repaired by guessing. */
export class CorruptionError extends HarmonyError {
  readonly damage: Damage;

  constructor(damage: Damage, options: { readonly cause?: unknown } = {}) {
    super("CORRUPT", `${damage.file} at offset ${damage.offset}: ${damage.what}`, options);
    this.damage = damage;
  }
}
