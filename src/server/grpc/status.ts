/**
 * The one table from our error codes to gRPC status codes and the texts that etcd's clients compare (etcd-api 2.6).
 * Texts that etcd does not have begin with "harmonydb: ".
 */
import { type ErrorCode, ERRORS, HarmonyError } from "../../base/index.ts";
import { DecodeError } from "../../codec/index.ts";
import type { Refusal } from "../../db/index.ts";

/** The numbers of the gRPC status codes that are used here. */
export const GrpcCode = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
} as const;

export interface GrpcStatus {
  readonly code: (typeof GrpcCode)[keyof typeof GrpcCode];
  readonly message: string;
}

const etcd = (code: GrpcStatus["code"], message: string): GrpcStatus => ({
  code,
  message: `etcdserver: ${message}`,
});
const own = (code: GrpcStatus["code"], error: ErrorCode): GrpcStatus => ({
  code,
  message: `harmonydb: ${ERRORS[error].summary}`,
});

const STATUSES: Readonly<Record<ErrorCode, GrpcStatus>> = {
  KEY_EMPTY: etcd(GrpcCode.invalidArgument, "key is not provided"),
  KEY_TOO_LARGE: own(GrpcCode.invalidArgument, "KEY_TOO_LARGE"),
  KEY_NOT_FOUND: etcd(GrpcCode.invalidArgument, "key not found"),
  VALUE_PROVIDED: etcd(GrpcCode.invalidArgument, "value is provided"),
  LEASE_PROVIDED: etcd(GrpcCode.invalidArgument, "lease is provided"),
  TOO_LARGE: etcd(GrpcCode.invalidArgument, "request is too large"),
  TOO_MANY_OPS: etcd(GrpcCode.invalidArgument, "too many operations in txn request"),
  DUPLICATE_KEY: etcd(GrpcCode.invalidArgument, "duplicate key given in txn request"),
  INVALID_SORT: etcd(GrpcCode.invalidArgument, "invalid sort option"),
  INVALID_ARGUMENT: own(GrpcCode.invalidArgument, "INVALID_ARGUMENT"),
  COMPACTED: etcd(GrpcCode.outOfRange, "mvcc: required revision has been compacted"),
  FUTURE_REV: etcd(GrpcCode.outOfRange, "mvcc: required revision is a future revision"),
  LEASE_NOT_FOUND: etcd(GrpcCode.notFound, "requested lease not found"),
  LEASE_EXISTS: etcd(GrpcCode.failedPrecondition, "lease already exists"),
  LEASE_TTL_TOO_LARGE: etcd(GrpcCode.outOfRange, "too large lease TTL"),
  NOT_AN_INTEGER: own(GrpcCode.failedPrecondition, "NOT_AN_INTEGER"),
  OVERFLOW: own(GrpcCode.outOfRange, "OVERFLOW"),
  VALUE_TOO_LARGE: own(GrpcCode.invalidArgument, "VALUE_TOO_LARGE"),
  LOCKED: own(GrpcCode.failedPrecondition, "LOCKED"),
  WRONG_KIND: own(GrpcCode.failedPrecondition, "WRONG_KIND"),
  REQUEST_EXPIRED: own(GrpcCode.failedPrecondition, "REQUEST_EXPIRED"),
  SESSION_EXISTS: own(GrpcCode.failedPrecondition, "SESSION_EXISTS"),
  TOO_MANY_SESSIONS: own(GrpcCode.resourceExhausted, "TOO_MANY_SESSIONS"),
  SETTING_FIXED: own(GrpcCode.failedPrecondition, "SETTING_FIXED"),
  MEMBER_NOT_FOUND: etcd(GrpcCode.notFound, "member not found"),
  MEMBER_EXISTS: etcd(GrpcCode.failedPrecondition, "member ID already exist"),
  MEMBER_NAME_EXISTS: own(GrpcCode.failedPrecondition, "MEMBER_NAME_EXISTS"),
  PEER_URL_EXISTS: etcd(GrpcCode.failedPrecondition, "Peer URLs already exists"),
  MEMBER_URLS_INVALID: etcd(GrpcCode.invalidArgument, "given member URLs are invalid"),
  MEMBER_NOT_LEARNER: etcd(GrpcCode.failedPrecondition, "can only promote a learner member"),
  TOO_MANY_LEARNERS: etcd(GrpcCode.failedPrecondition, "too many learner members in cluster"),
  LEARNER_NOT_READY: etcd(
    GrpcCode.failedPrecondition,
    "can only promote a learner member which is in sync with leader",
  ),
  MEMBERS_NOT_STARTED: etcd(
    GrpcCode.failedPrecondition,
    "re-configuration failed due to not enough started members",
  ),
  CLUSTER_UNHEALTHY: etcd(GrpcCode.unavailable, "unhealthy cluster"),
  BAD_TRANSFEREE: etcd(GrpcCode.failedPrecondition, "bad leader transferee"),
  STAYS_ALONE: own(GrpcCode.failedPrecondition, "STAYS_ALONE"),
  NO_SPACE: etcd(GrpcCode.resourceExhausted, "mvcc: database space exceeded"),
  DISK_FULL: own(GrpcCode.resourceExhausted, "DISK_FULL"),
  TOO_MANY_REQUESTS: etcd(GrpcCode.resourceExhausted, "too many requests"),
  NO_LEADER: etcd(GrpcCode.unavailable, "no leader"),
  NOT_LEADER: etcd(GrpcCode.failedPrecondition, "not leader"),
  LEADER_CHANGED: etcd(GrpcCode.unavailable, "leader changed"),
  TIMEOUT: etcd(GrpcCode.unavailable, "request timed out"),
  ABORTED: etcd(GrpcCode.cancelled, "request canceled"),
  CLOSED: etcd(GrpcCode.unavailable, "server stopped"),
  STOPPED: etcd(GrpcCode.unavailable, "server stopped"),
  // So that etcd's clients go to the next endpoint.
  QUARANTINED: own(GrpcCode.unavailable, "QUARANTINED"),
  MEMBER_FULL: own(GrpcCode.unavailable, "MEMBER_FULL"),
  CORRUPT: etcd(GrpcCode.dataLoss, "corrupt cluster"),
  UNREACHABLE: own(GrpcCode.unavailable, "UNREACHABLE"),
  UNSUPPORTED: own(GrpcCode.unimplemented, "UNSUPPORTED"),
  MEMBER_REMOVED: own(GrpcCode.unavailable, "MEMBER_REMOVED"),
  // Of the door in process, its adapters and of opening a directory: never the answer to a call over the network.
  CONFLICT: own(GrpcCode.unknown, "CONFLICT"),
  LOCK_TIMEOUT: own(GrpcCode.unknown, "LOCK_TIMEOUT"),
  LOCK_LOST: own(GrpcCode.unknown, "LOCK_LOST"),
  PEER_FAILED: own(GrpcCode.unavailable, "PEER_FAILED"),
  PEER_MISSING: own(GrpcCode.unknown, "PEER_MISSING"),
  JOIN_REFUSED: own(GrpcCode.unknown, "JOIN_REFUSED"),
  DIRECTORY_LOCKED: own(GrpcCode.unknown, "DIRECTORY_LOCKED"),
  WRONG_CLUSTER: own(GrpcCode.unknown, "WRONG_CLUSTER"),
  NEWER_FORMAT: own(GrpcCode.unknown, "NEWER_FORMAT"),
  NOT_A_SNAPSHOT: own(GrpcCode.unknown, "NOT_A_SNAPSHOT"),
  SNAPSHOT_MISMATCH: own(GrpcCode.unknown, "SNAPSHOT_MISMATCH"),
  IO: own(GrpcCode.unknown, "IO"),
};

export const INVALID_CLIENT_API_VERSION: GrpcStatus = etcd(
  GrpcCode.invalidArgument,
  "invalid client api version",
);
export const UNKNOWN_SERVICE: GrpcStatus = { code: GrpcCode.notFound, message: "unknown service" };

export function statusOf(code: ErrorCode): GrpcStatus {
  return STATUSES[code];
}

/** A refusal keeps etcd's exact text, which clients compare; only our own "invalid argument" says more. */
export function refusalStatus(refusal: Refusal): GrpcStatus {
  const status = STATUSES[refusal.code];
  if (refusal.code !== "INVALID_ARGUMENT" || refusal.detail === null) return status;
  return { code: status.code, message: `${status.message}: ${refusal.detail}` };
}

/** The method exists in the protocol but is not served: clients fall back when they see this code. */
export function unimplemented(what: string): GrpcStatus {
  return {
    code: GrpcCode.unimplemented,
    message: `harmonydb: ${what} is not available in this version`,
  };
}

/**
 * The answer to whatever a handler threw. Null where the error is a defect of ours, which the caller logs: the
 * client gets UNKNOWN and learns nothing of our insides.
 */
export function thrownStatus(error: unknown): GrpcStatus | null {
  if (error instanceof HarmonyError) return STATUSES[error.code];
  if (!(error instanceof DecodeError)) return null;
  // A nested transaction takes an operation on every level, so what is too deep to follow has too many of them.
  if (error.fault === "too-deep") return STATUSES.TOO_MANY_OPS;
  return {
    code: GrpcCode.internal,
    message: `grpc: error unmarshalling request: ${error.message}`,
  };
}

export const INTERNAL_DEFECT: GrpcStatus = {
  code: GrpcCode.unknown,
  message: "harmonydb: internal error",
};
