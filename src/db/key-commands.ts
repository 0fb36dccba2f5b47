/**
 * HarmonyDB's own commands on keys, executed within an open transaction of the store. Each function looks first and
 * changes last: what it answers with a code, or with a condition that did not hold, has changed nothing.
 */
import { concatBytes, EMPTY_BYTES, equalBytes, type ErrorCode } from "../base/index.ts";
import { LATEST, leaseIdBytes, type RecordView, type Store } from "../mvcc/index.ts";
import { INT64_MAX, INT64_MIN } from "./command-fields.ts";
import type { AppendCommand, NativeCommand, SetRangeCommand } from "./command-native.ts";
import { decimalOf, decimalText } from "./decimal.ts";
import { extendLock, lock, unlock } from "./locks.ts";
import { toKeyValue } from "./range.ts";
import type {
  AppendResponse,
  Condition,
  ConfigureRequest,
  ExpireKeyRequest,
  ExpireKeyResponse,
  Expiry,
  IncrRequest,
  IncrResponse,
  KeyCommandResponse,
  MDelRequest,
  MDelResponse,
  MSetRequest,
  MSetResponse,
  SessionCloseRequest,
  SessionOpenRequest,
  SetRangeResponse,
  SetRequest,
  SetResponse,
} from "./requests.ts";

export type KeyCommand = Exclude<
  NativeCommand,
  SessionOpenRequest | SessionCloseRequest | ConfigureRequest
>;

/** Executes a command. A code says why nothing was done. */
export function executeKeyCommand(
  store: Store,
  command: KeyCommand,
): KeyCommandResponse | ErrorCode {
  switch (command.kind) {
    case "set":
      return set(store, command);
    case "incr":
      return incr(store, command);
    case "append":
      return append(store, command);
    case "setRange":
      return setRange(store, command);
    case "mset":
      return mset(store, command);
    case "mdel":
      return mdel(store, command);
    case "expireKey":
      return expireKey(store, command);
    case "lock":
      return lock(store, command);
    case "unlock":
      return unlock(store, command);
    case "extendLock":
      return extendLock(store, command);
  }
}

function set(store: Store, command: SetRequest): SetResponse | ErrorCode {
  const { key, expiry, lease } = command;
  const old = store.view.find(key, LATEST);
  if (old?.isLock === true) return "LOCKED";
  if (isLeaseMissing(store, lease)) return "LEASE_NOT_FOUND";
  const prevKv = prevOf(command, old);
  const succeeded = command.condition === null || holds(command.condition, old);
  if (succeeded) {
    const isKept = expiry.kind === "keep" && lease === 0n && old !== undefined;
    const leaseId = lease === 0n ? null : leaseIdBytes(lease);
    write(store, key, command.value, isKept ? old.lease : leaseId, expiry, old);
  }
  return { kind: "set", revision: store.revisionInTxn, succeeded, prevKv };
}

function incr(store: Store, command: IncrRequest): IncrResponse | ErrorCode {
  const { key, by, min, max, saturate } = command;
  const old = store.view.find(key, LATEST);
  if (old?.isLock === true) return "LOCKED";
  const before = old === undefined ? 0n : decimalOf(old.value);
  if (before === null) return "NOT_AN_INTEGER";
  const least = min ?? INT64_MIN;
  const greatest = max ?? INT64_MAX;
  let value = before + by;
  if (value < least || value > greatest) {
    // A bound on the far side of the counter is no way to move it against the sign of what is added.
    const bound = value > greatest ? greatest : least;
    const isAhead = by >= 0n ? bound >= before : bound <= before;
    if (!saturate) return "OVERFLOW";
    value = isAhead ? bound : before;
  }
  const isWindow = command.expiryIfNone && old !== undefined && old.deadlineMs !== 0;
  const expiry: Expiry = isWindow ? { kind: "keep" } : command.expiry;
  const deadlineMs = write(store, key, decimalText(value), old?.lease ?? null, expiry, old);
  return { kind: "incr", revision: store.revisionInTxn, value, deadlineMs };
}

function append(store: Store, command: AppendCommand): AppendResponse | ErrorCode {
  const { key, valueLengthMax } = command;
  const old = store.view.find(key, LATEST);
  if (old?.isLock === true) return "LOCKED";
  const before = old?.value ?? EMPTY_BYTES;
  const length = before.length + command.value.length;
  if (length > valueLengthMax) return "VALUE_TOO_LARGE";
  store.put(key, concatBytes(before, command.value), old?.lease ?? null, old?.deadlineMs ?? 0);
  return { kind: "append", revision: store.revisionInTxn, length };
}

function setRange(store: Store, command: SetRangeCommand): SetRangeResponse | ErrorCode {
  const { key, offset, value, valueLengthMax } = command;
  const old = store.view.find(key, LATEST);
  if (old?.isLock === true) return "LOCKED";
  const before = old?.value ?? EMPTY_BYTES;
  let { length } = before;
  if (value.length > 0) {
    length = Math.max(length, offset + value.length);
    if (length > valueLengthMax) return "VALUE_TOO_LARGE";
    const after = new Uint8Array(length);
    after.set(before);
    after.set(value, offset);
    store.put(key, after, old?.lease ?? null, old?.deadlineMs ?? 0);
  }
  return { kind: "setRange", revision: store.revisionInTxn, length };
}

function mset(store: Store, command: MSetRequest): MSetResponse | ErrorCode {
  const { items, lease, condition, expiry } = command;
  if (items.some(({ key }) => store.isLocked(key))) return "LOCKED";
  if (isLeaseMissing(store, lease)) return "LEASE_NOT_FOUND";
  const succeeded =
    condition === "none" ||
    items.every(
      ({ key }) => (store.view.find(key, LATEST) !== undefined) === (condition === "present"),
    );
  const leaseId = lease === 0n ? null : leaseIdBytes(lease);
  for (const { key, value } of succeeded ? items : []) {
    const old = expiry.kind === "keep" ? store.view.find(key, LATEST) : undefined;
    write(store, key, value, leaseId ?? old?.lease ?? null, expiry, old);
  }
  return { kind: "mset", revision: store.revisionInTxn, succeeded };
}

function mdel(store: Store, command: MDelRequest): MDelResponse {
  let deleted = 0;
  for (const key of command.keys) if (store.delete(key)) deleted++;
  return { kind: "mdel", revision: store.revisionInTxn, deleted };
}

function expireKey(store: Store, command: ExpireKeyRequest): ExpireKeyResponse | ErrorCode {
  const { key, expiry, condition, when } = command;
  const old = store.view.find(key, LATEST);
  if (old?.isLock === true) return "LOCKED";
  const prevKv = prevOf(command, old);
  const isMeant = old !== undefined && (condition === null || holds(condition, old));
  const toMs = expiry.kind === "none" ? Number.POSITIVE_INFINITY : momentOf(store, expiry);
  const succeeded =
    isMeant &&
    !(expiry.kind === "none" && old.deadlineMs === 0) &&
    mayReplace(when, old.deadlineMs, toMs);
  const isSame = !isPast(store, expiry) && deadlineAfter(store, expiry, old) === old?.deadlineMs;
  if (succeeded && !isSame) write(store, key, old.value, old.lease, expiry, old);
  return { kind: "expireKey", revision: store.revisionInTxn, succeeded, prevKv };
}

function mayReplace(when: ExpireKeyRequest["when"], presentMs: number, toMs: number): boolean {
  const fromMs = presentMs === 0 ? Number.POSITIVE_INFINITY : presentMs;
  switch (when) {
    case "always":
      return true;
    case "noDeadline":
      return presentMs === 0;
    case "hasDeadline":
      return presentMs !== 0;
    case "later":
      return toMs > fromMs;
    case "earlier":
      return toMs < fromMs;
  }
}

/** Puts the key with the deadline that `expiry` gives it, or deletes it where that has passed. Answers the deadline. */
function write(
  store: Store,
  key: Uint8Array,
  value: Uint8Array,
  lease: Uint8Array | null,
  expiry: Expiry,
  old: RecordView | undefined,
): number {
  const deadlineMs = deadlineAfter(store, expiry, old);
  if (isPast(store, expiry)) {
    store.delete(key, "expired");
    return 0;
  }
  store.put(key, value, lease, deadlineMs);
  return deadlineMs;
}

/** A deadline that is kept is never past: the key lives until its expiry is applied. */
function isPast(store: Store, expiry: Expiry): boolean {
  return (
    (expiry.kind === "after" || expiry.kind === "at") && momentOf(store, expiry) <= store.clockMs
  );
}

function deadlineAfter(store: Store, expiry: Expiry, old: RecordView | undefined): number {
  if (expiry.kind === "none") return 0;
  return expiry.kind === "keep" ? (old?.deadlineMs ?? 0) : momentOf(store, expiry);
}

function momentOf(store: Store, expiry: Exclude<Expiry, { readonly kind: "none" }>): number {
  switch (expiry.kind) {
    case "after":
      return store.clockMs + expiry.ttlMs;
    case "at":
      return expiry.atMs;
    case "keep":
      return 0;
  }
}

function holds(condition: Condition, old: RecordView | undefined): boolean {
  switch (condition.kind) {
    case "absent":
      return old === undefined;
    case "present":
      return old !== undefined;
    case "value":
      return old !== undefined && equalBytes(old.value, condition.value);
    case "notValue":
      return old === undefined || !equalBytes(old.value, condition.value);
    case "revision":
      return old !== undefined && old.modRevision === condition.revision;
  }
}

function isLeaseMissing(store: Store, lease: bigint): boolean {
  return lease !== 0n && !store.leases.has(leaseIdBytes(lease));
}

function prevOf(
  command: { readonly key: Uint8Array; readonly prevKv: boolean },
  old: RecordView | undefined,
): SetResponse["prevKv"] {
  return command.prevKv && old !== undefined ? toKeyValue(command.key, old, false) : null;
}
