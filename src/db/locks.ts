/**
 * Locks: a kind of value of their own (data-model.md). The value is the owner's token, the deadline when the lock ends,
 * and the fencing token the revision in which it was acquired, which is the key's create revision, since a lock comes
 * into being with its key and nothing but a delete ends it. Revisions only grow, so a later holder has a greater fence.
 *
 * A lock whose deadline has passed is held until its expiry is applied, like any key: nobody takes it in between.
 */
import { equalBytes, type ErrorCode } from "../base/index.ts";
import { LATEST, type RecordView, type Store, ValueKind } from "../mvcc/index.ts";
import type {
  ExtendLockRequest,
  ExtendLockResponse,
  LockRequest,
  LockResponse,
  UnlockRequest,
  UnlockResponse,
} from "./requests.ts";

export function lock(store: Store, request: LockRequest): LockResponse | ErrorCode {
  const { key, token, ttlMs } = request;
  const old = store.view.find(key, LATEST);
  if (old !== undefined && !old.isLock) return "WRONG_KIND";
  if (old !== undefined && !equalBytes(old.value, token))
    return heldBy(store, old, old.value.slice(), old.deadlineMs, false);
  const deadlineMs = store.clockMs + ttlMs;
  const fence = old?.createRevision;
  hold(store, key, token, deadlineMs, old);
  return heldBy(
    store,
    { createRevision: fence ?? store.revisionInTxn },
    token.slice(),
    deadlineMs,
    true,
  );
}

export function unlock(store: Store, request: UnlockRequest): UnlockResponse | ErrorCode {
  const old = store.view.find(request.key, LATEST);
  if (old !== undefined && !old.isLock) return "WRONG_KIND";
  const released = isHolder(old, request);
  if (released) store.delete(request.key);
  return { kind: "unlock", revision: store.revisionInTxn, released };
}

export function extendLock(
  store: Store,
  request: ExtendLockRequest,
): ExtendLockResponse | ErrorCode {
  const { key, token, ttlMs } = request;
  const old = store.view.find(key, LATEST);
  if (old !== undefined && !old.isLock) return "WRONG_KIND";
  if (old === undefined || !isHolder(old, request)) {
    const revision = store.revisionInTxn;
    return { kind: "extendLock", revision, extended: false, fence: 0, deadlineMs: 0 };
  }
  const deadlineMs = store.clockMs + ttlMs;
  const fence = old.createRevision;
  hold(store, key, token, deadlineMs, old);
  return { kind: "extendLock", revision: store.revisionInTxn, extended: true, fence, deadlineMs };
}

/** The same deadline again is no change, so it makes no revision. */
function hold(
  store: Store,
  key: Uint8Array,
  token: Uint8Array,
  deadlineMs: number,
  old: RecordView | undefined,
): void {
  if (old?.deadlineMs !== deadlineMs) store.put(key, token, null, deadlineMs, ValueKind.lock);
}

function heldBy(
  store: Store,
  { createRevision }: Pick<RecordView, "createRevision">,
  token: Uint8Array,
  deadlineMs: number,
  acquired: boolean,
): LockResponse {
  return {
    kind: "lock",
    revision: store.revisionInTxn,
    acquired,
    fence: createRevision,
    token,
    deadlineMs,
    leftMs: Math.max(0, deadlineMs - store.clockMs),
  };
}

function isHolder(
  old: RecordView | undefined,
  request: Pick<UnlockRequest, "token" | "fence">,
): boolean {
  return (
    old !== undefined &&
    equalBytes(old.value, request.token) &&
    (request.fence === 0 || request.fence === old.createRevision)
  );
}
