/**
 * What the doors ask of a database and what they get back, as plain data. The vocabulary is etcd's (etcd-api.md 2.1
 * and 2.2); every door translates into it once. Keys and values are bytes. Revisions, versions and counts are safe
 * integers; lease ids keep all 64 bits.
 */
import type { ErrorCode } from "../base/index.ts";
import type { NativeRequest, NativeResponse } from "./native-requests.ts";

export type * from "./native-requests.ts";

/** Everything that changes the database. */
export type AnyWriteRequest = WriteRequest | NativeRequest;

/** One version of a key. */
export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Starts at 1 when the key is created, grows with each put. */
  readonly version: number;
  /** 0n when none is attached. */
  readonly lease: bigint;
  /** When the key ends, on the group's clock. Absent when it has no deadline of its own. */
  readonly deadlineMs?: number;
  /** The key holds a lock and the value is its owner's token. Absent for plain bytes. */
  readonly isLock?: true;
}

/**
 * Which keys: `rangeEnd` empty means `key` alone; the single byte 0 means all keys >= `key`; otherwise [key, rangeEnd).
 * Both a single 0 means every key.
 */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

export type SortOrder = "none" | "ascend" | "descend";
export type SortTarget = "key" | "version" | "create" | "mod" | "value";

export interface RangeRequest extends KeyRange {
  readonly kind: "range";
  /** 0 means no limit. */
  readonly limit: number;
  /** At most 0 means the latest. */
  readonly revision: number;
  readonly sortOrder: SortOrder;
  readonly sortTarget: SortTarget;
  readonly serializable: boolean;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  /**
   * Nobody asks how many keys there are, and `count` of the answer is 0. At an older revision, and only there, to count
   * costs a look at all that has happened since, for each page again.
   */
  readonly uncounted?: boolean;
  /** 0 turns each of these filters off. */
  readonly minModRevision: number;
  readonly maxModRevision: number;
  readonly minCreateRevision: number;
  readonly maxCreateRevision: number;
}

export interface PutRequest {
  readonly kind: "put";
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly lease: bigint;
  readonly prevKv: boolean;
  readonly ignoreValue: boolean;
  readonly ignoreLease: boolean;
}

export interface DeleteRangeRequest extends KeyRange {
  readonly kind: "deleteRange";
  readonly prevKv: boolean;
}

export type CompareResult = "equal" | "greater" | "less" | "notEqual";

/** Holds when it holds for every key of the range; an absent key compares as zero, but never for `value`. */
export interface Compare extends KeyRange {
  readonly result: CompareResult;
  readonly operand:
    | { readonly target: "version" | "create" | "mod"; readonly number: number }
    | { readonly target: "value"; readonly bytes: Uint8Array }
    | { readonly target: "lease"; readonly lease: bigint };
}

/** `unset`: an operation that names nothing, as the protocol allows one to be sent. Refused by validation. */
export type RequestOp =
  | RangeRequest
  | PutRequest
  | DeleteRangeRequest
  | TxnRequest
  | { readonly kind: "unset" };

export interface TxnRequest {
  readonly kind: "txn";
  readonly compare: readonly Compare[];
  readonly success: readonly RequestOp[];
  readonly failure: readonly RequestOp[];
}

export interface CompactRequest {
  readonly kind: "compact";
  readonly revision: number;
  /** Answer only when the old versions are removed from the trees. */
  readonly physical: boolean;
}

export interface LeaseGrantRequest {
  readonly kind: "leaseGrant";
  /** Seconds. */
  readonly ttlSeconds: bigint;
  /** 0n lets the server choose. */
  readonly id: bigint;
}

export interface LeaseRevokeRequest {
  readonly kind: "leaseRevoke";
  readonly id: bigint;
}

export interface LeaseKeepAliveRequest {
  readonly kind: "leaseKeepAlive";
  readonly id: bigint;
}

/** What etcd's protocol can ask to be changed. Other changes: `NativeRequest`. All of them go through the log. */
export type WriteRequest =
  | PutRequest
  | DeleteRangeRequest
  | TxnRequest
  | CompactRequest
  | LeaseGrantRequest
  | LeaseRevokeRequest
  | LeaseKeepAliveRequest;

export interface RangeResponse {
  readonly kind: "range";
  /** The revision of the store when the answer was made: not the requested one. */
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  /** The limit cut something. */
  readonly more: boolean;
  /** All keys in the range at that revision, whatever limit and filters say; 0 when it is `uncounted`. */
  readonly count: number;
}

export interface PutResponse {
  readonly kind: "put";
  readonly revision: number;
  readonly prevKv: KeyValue | null;
}

export interface DeleteRangeResponse {
  readonly kind: "deleteRange";
  readonly revision: number;
  readonly deleted: number;
  readonly prevKvs: readonly KeyValue[];
}

export type ResponseOp = RangeResponse | PutResponse | DeleteRangeResponse | TxnResponse;

export interface TxnResponse {
  readonly kind: "txn";
  readonly revision: number;
  readonly succeeded: boolean;
  readonly responses: readonly ResponseOp[];
}

export interface CompactResponse {
  readonly kind: "compact";
  readonly revision: number;
}

export interface LeaseGrantResponse {
  readonly kind: "leaseGrant";
  readonly revision: number;
  readonly id: bigint;
  /** What was granted: the server raises a TTL below its minimum. */
  readonly ttlSeconds: bigint;
}

export interface LeaseRevokeResponse {
  readonly kind: "leaseRevoke";
  readonly revision: number;
}

export interface LeaseKeepAliveResponse {
  readonly kind: "leaseKeepAlive";
  readonly revision: number;
  /** 0n: the lease is unknown or has ended. */
  readonly ttlSeconds: bigint;
}

/** A change of the members, or what one of them says of itself, was applied. */
export interface MembersResponse {
  readonly kind: "members";
  readonly revision: number;
}

export type WriteResponse =
  | ResponseOp
  | CompactResponse
  | LeaseGrantResponse
  | LeaseRevokeResponse
  | LeaseKeepAliveResponse
  | MembersResponse
  | NativeResponse;

/** A result of a command that the command itself caused: the same on every replica. */
export interface Refusal {
  readonly kind: "error";
  readonly code: ErrorCode;
  readonly revision: number;
  readonly detail: string | null;
}

export type Outcome = WriteResponse | Refusal;

/** Changes who belongs to the cluster, one at a time. Ids are those of members. */
export type MemberRequest =
  | {
      readonly kind: "memberAdd";
      readonly peerUrls: readonly string[];
      readonly isLearner: boolean;
    }
  | { readonly kind: "memberRemove"; readonly id: bigint }
  | { readonly kind: "memberUpdate"; readonly id: bigint; readonly peerUrls: readonly string[] }
  | { readonly kind: "memberPromote"; readonly id: bigint }
  /** A learner that has caught up takes the place of a member, in one step. */
  | { readonly kind: "memberReplace"; readonly id: bigint; readonly by: bigint };

export interface LeaseStatus {
  readonly revision: number;
  /** -1n: unknown. Otherwise what is left, in whole seconds, rounded down. */
  readonly ttlSeconds: bigint;
  readonly grantedTtlSeconds: bigint;
  /** Sorted; empty unless asked for. */
  readonly keys: readonly Uint8Array[];
}
