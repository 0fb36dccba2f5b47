/**
 * HarmonyDB's own commands, as plain data: what etcd's protocol has no words for. They make revisions, history and
 * events like any put or delete, so every door sees what they did (data-model.md). A command that changes nothing makes
 * no revision.
 *
 * A write to a key that holds a lock is refused with LOCKED, whatever its conditions say; only a delete goes through
 * and releases it.
 */
import type { KeyValue } from "./requests.ts";

/** A condition on the present version of a key. An absent key meets `absent` and `notValue` alone. */
export type Condition =
  | { readonly kind: "absent" }
  | { readonly kind: "present" }
  | { readonly kind: "value"; readonly value: Uint8Array }
  | { readonly kind: "notValue"; readonly value: Uint8Array }
  /** The revision of its last change. */
  | { readonly kind: "revision"; readonly revision: number };

/**
 * The deadline that a write leaves its key with. `keep` also keeps the lease, where the request names no other.
 * `after` counts from the moment at which the command is applied; `at` is a moment of the wall clock (milliseconds
 * since 1970), translated to the group's clock before the command is proposed. A moment that has passed when the
 * command is applied deletes the key at once.
 */
export type Expiry =
  | { readonly kind: "none" }
  | { readonly kind: "keep" }
  | { readonly kind: "after"; readonly ttlMs: number }
  | { readonly kind: "at"; readonly atMs: number };

/** Puts a key if the condition holds. SETNX is a set with the condition `absent`. */
export interface SetRequest {
  readonly kind: "set";
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly condition: Condition | null;
  /** 0n for none. */
  readonly lease: bigint;
  readonly expiry: Expiry;
  /** Answers with the version before, also where the condition did not hold. */
  readonly prevKv: boolean;
}

export interface SetResponse {
  readonly kind: "set";
  readonly revision: number;
  /** False: the condition did not hold and nothing was changed. */
  readonly succeeded: boolean;
  readonly prevKv: KeyValue | null;
}

/**
 * Adds to a counter: decimal text of a signed 64-bit integer, 0 where there is none. NOT_AN_INTEGER when the value is
 * something else, OVERFLOW when the sum passes 64 bits or a bound; the value is then as before.
 */
export interface IncrRequest {
  readonly kind: "incr";
  readonly key: Uint8Array;
  /** Negative to decrement. Signed 64 bits. */
  readonly by: bigint;
  /** The least and the greatest value that the sum may have. Null: that of 64 bits. */
  readonly min: bigint | null;
  readonly max: bigint | null;
  /** A sum beyond a bound becomes the bound instead of being refused. */
  readonly saturate: boolean;
  readonly expiry: Expiry;
  /** The expiry counts only where the key has no deadline yet: a window that begins with its first count. */
  readonly expiryIfNone: boolean;
}

export interface IncrResponse {
  readonly kind: "incr";
  readonly revision: number;
  readonly value: bigint;
  /** On the group's clock; 0 for none. */
  readonly deadlineMs: number;
}

/** Puts the value behind the present one. Keeps deadline and lease. */
export interface AppendRequest {
  readonly kind: "append";
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Writes the value at an offset in bytes; zeros fill a gap. Keeps deadline and lease. An empty value changes nothing. */
export interface SetRangeRequest {
  readonly kind: "setRange";
  readonly key: Uint8Array;
  readonly offset: number;
  readonly value: Uint8Array;
}

export interface AppendResponse {
  readonly kind: "append";
  readonly revision: number;
  /** Of the value now, in bytes. */
  readonly length: number;
}

export interface SetRangeResponse {
  readonly kind: "setRange";
  readonly revision: number;
  /** Of the value now, in bytes. */
  readonly length: number;
}

/** Puts many keys in one revision, or none of them. Of a key that is named twice the last value counts. */
export interface MSetRequest {
  readonly kind: "mset";
  readonly items: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[];
  /** What must hold for every key, or nothing is changed. */
  readonly condition: "none" | "absent" | "present";
  /** 0n for none. */
  readonly lease: bigint;
  readonly expiry: Expiry;
}

export interface MSetResponse {
  readonly kind: "mset";
  readonly revision: number;
  readonly succeeded: boolean;
}

/** Deletes many keys in one revision. */
export interface MDelRequest {
  readonly kind: "mdel";
  readonly keys: readonly Uint8Array[];
}

export interface MDelResponse {
  readonly kind: "mdel";
  readonly revision: number;
  /** How many of them were there. */
  readonly deleted: number;
}

/** Which present deadline a new one may replace. None counts as later than any. */
export type ExpireWhen = "always" | "noDeadline" | "hasDeadline" | "later" | "earlier";

/**
 * Gives a key another deadline, or takes it away (`none`, which leaves the lease). Its value stays, its revision and
 * version move on; with the same deadline nothing is changed.
 */
export interface ExpireKeyRequest {
  readonly kind: "expireKey";
  readonly key: Uint8Array;
  readonly expiry: Exclude<Expiry, { readonly kind: "keep" }>;
  readonly when: ExpireWhen;
  readonly condition: Condition | null;
  readonly prevKv: boolean;
}

export interface ExpireKeyResponse {
  readonly kind: "expireKey";
  readonly revision: number;
  /** False: there is no such key, no deadline to take away, or a condition did not hold. */
  readonly succeeded: boolean;
  readonly prevKv: KeyValue | null;
}

/**
 * Takes a lock, or renews it where the token is its holder's. It ends with its TTL unless it is extended. WRONG_KIND
 * when the key holds something else. Nobody waits here: who is refused is told who holds it and until when.
 */
export interface LockRequest {
  readonly kind: "lock";
  readonly key: Uint8Array;
  /** Names the owner; 1 to 1024 bytes. */
  readonly token: Uint8Array;
  readonly ttlMs: number;
}

export interface LockResponse {
  readonly kind: "lock";
  readonly revision: number;
  /** The lock is the asker's. */
  readonly acquired: boolean;
  /** Of whoever holds the lock now: the revision in which it was acquired. It only grows, over all holders. */
  readonly fence: number;
  readonly token: Uint8Array;
  /** On the group's clock: when it ends if it is not extended. */
  readonly deadlineMs: number;
  /** From the group's clock now to the deadline. */
  readonly leftMs: number;
}

/** Gives a lock back. */
export interface UnlockRequest {
  readonly kind: "unlock";
  readonly key: Uint8Array;
  readonly token: Uint8Array;
  /** Only this acquisition of the token's owner; 0 for any. */
  readonly fence: number;
}

export interface UnlockResponse {
  readonly kind: "unlock";
  readonly revision: number;
  /** False: the token does not hold the lock (any more). */
  readonly released: boolean;
}

/** Gives a lock a new TTL from now on. */
export interface ExtendLockRequest {
  readonly kind: "extendLock";
  readonly key: Uint8Array;
  readonly token: Uint8Array;
  /** Only this acquisition of the token's owner; 0 for any. */
  readonly fence: number;
  readonly ttlMs: number;
}

export interface ExtendLockResponse {
  readonly kind: "extendLock";
  readonly revision: number;
  /** False: the token does not hold the lock (any more). */
  readonly extended: boolean;
  /** The revision of the acquisition; 0 when it was not extended. */
  readonly fence: number;
  /** On the group's clock; 0 when it was not extended. */
  readonly deadlineMs: number;
}

/** Opens a session, whose requests can be sent again: see `RequestId`. */
export interface SessionOpenRequest {
  readonly kind: "sessionOpen";
  /** 0 lets the database choose. Otherwise a safe integer that is not in use. */
  readonly session: number;
}

export interface SessionOpenResponse {
  readonly kind: "sessionOpen";
  readonly revision: number;
  readonly session: number;
}

export interface SessionCloseRequest {
  readonly kind: "sessionClose";
  readonly session: number;
}

export interface SessionCloseResponse {
  readonly kind: "sessionClose";
  readonly revision: number;
  /** False: it was unknown or had ended. */
  readonly closed: boolean;
}

/** Changes the settings that live in the data. Undefined leaves one as it is. */
export interface ConfigureRequest {
  readonly kind: "configure";
  readonly retentionMs?: number | undefined;
  readonly retentionRevisions?: number | undefined;
  /** 0 for no limit. */
  readonly quotaBytes?: number | undefined;
}

export interface ConfigureResponse {
  readonly kind: "configure";
  readonly revision: number;
  readonly retentionMs: number;
  readonly retentionRevisions: number;
  /** Null: the data says nothing, the flag of each node counts. */
  readonly quotaBytes: number | null;
}

/** A request that was sent again had been applied, but its result was too large to be kept. */
export interface DoneResponse {
  readonly kind: "done";
  /** That of the first answer. */
  readonly revision: number;
}

/** Commands on single keys and lists of keys. */
export type KeyCommandRequest =
  | SetRequest
  | IncrRequest
  | AppendRequest
  | SetRangeRequest
  | MSetRequest
  | MDelRequest
  | ExpireKeyRequest
  | LockRequest
  | UnlockRequest
  | ExtendLockRequest;

export type NativeRequest =
  | KeyCommandRequest
  | SessionOpenRequest
  | SessionCloseRequest
  | ConfigureRequest;

export type KeyCommandResponse =
  | SetResponse
  | IncrResponse
  | AppendResponse
  | SetRangeResponse
  | MSetResponse
  | MDelResponse
  | ExpireKeyResponse
  | LockResponse
  | UnlockResponse
  | ExtendLockResponse;

export type NativeResponse =
  | KeyCommandResponse
  | SessionOpenResponse
  | SessionCloseResponse
  | ConfigureResponse
  | DoneResponse;

/**
 * Makes a write that may be sent again happen once: it is executed the first time and answered from memory afterwards.
 * A session keeps the results of its last 64 numbers. A number below them, a session that is unknown or has ended (after
 * 15 minutes without use), and a number that came with another request are refused with REQUEST_EXPIRED and not
 * executed.
 */
export interface RequestId {
  readonly session: number;
  /** From 1, each number for one request. */
  readonly number: number;
}
