/**
 * A transaction against the store, in three steps (etcd-api.md 2.2.8):
 *
 * 1. plan: every compare is judged on the state before the transaction, those of nested transactions too, and each
 *    transaction is left with the branch that will run;
 * 2. check: leases, keys that `ignore_*` needs, locks, and revisions to read; puts first, then ranges, as in etcd;
 * 3. execute, in order. Nothing can fail any more, so a transaction is all or nothing without a way back.
 */
import { assert, compareBytes, type ErrorCode } from "../base/index.ts";
import { LATEST, leaseIdBytes, readLeaseId, type RecordView, type Store } from "../mvcc/index.ts";
import { isSingleKey, readRange, toKeyValue, upperEnd } from "./range.ts";
import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  PutRequest,
  PutResponse,
  RangeRequest,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from "./requests.ts";

/** A transaction of which one branch is left. */
interface Plan {
  readonly kind: "plan";
  readonly succeeded: boolean;
  readonly ops: readonly PlannedOp[];
}

type PlannedOp = RangeRequest | PutRequest | DeleteRangeRequest | Plan;

/** Runs a transaction. A code says why nothing was done. The store has no transaction open. */
export function runTxn(store: Store, request: TxnRequest): TxnResponse | ErrorCode {
  const plan = planTxn(store, request);
  const refused = checkPlan(store, plan);
  if (refused !== null) return refused;
  store.begin();
  const responses = execute(store, plan);
  return { kind: "txn", revision: store.commit(), succeeded: plan.succeeded, responses };
}

/** Runs a transaction without writes. */
export function readTxn(store: Store, request: TxnRequest): TxnResponse | ErrorCode {
  const plan = planTxn(store, request);
  const refused = checkPlan(store, plan);
  if (refused !== null) return refused;
  return {
    kind: "txn",
    revision: store.revision,
    succeeded: plan.succeeded,
    responses: execute(store, plan),
  };
}

/** Why a put that stands alone is refused: etcd looks at the lease first here, and last in a transaction. */
export function checkPut(store: Store, request: PutRequest): ErrorCode | null {
  return (
    checkLease(store, request) ??
    (needsKey(request) && store.view.find(request.key, LATEST) === undefined
      ? "KEY_NOT_FOUND"
      : null) ??
    (store.isLocked(request.key) ? "LOCKED" : null)
  );
}

/** A put that was checked, within an open transaction. */
export function executePut(store: Store, request: PutRequest): PutResponse {
  const { key, ignoreValue, ignoreLease } = request;
  const old = needsKey(request) || request.prevKv ? store.view.find(key, LATEST) : undefined;
  const prevKv = request.prevKv && old !== undefined ? toKeyValue(key, old, false) : null;
  assert(
    old !== undefined || !needsKey(request),
    "a key whose value or lease is kept was checked to be there",
  );
  const value = ignoreValue && old !== undefined ? old.value : request.value;
  const newLease = request.lease === 0n ? null : leaseIdBytes(request.lease);
  store.put(key, value, ignoreLease && old !== undefined ? old.lease : newLease);
  return { kind: "put", revision: store.revisionInTxn, prevKv };
}

export function executeDeleteRange(store: Store, request: DeleteRangeRequest): DeleteRangeResponse {
  const prevKvs: KeyValue[] = [];
  let deleted = 0;
  if (isSingleKey(request)) {
    const old = request.prevKv ? store.view.find(request.key, LATEST) : undefined;
    if (old !== undefined) prevKvs.push(toKeyValue(request.key, old, false));
    deleted = store.delete(request.key) ? 1 : 0;
  } else {
    const onDelete = request.prevKv
      ? (key: Uint8Array, record: RecordView): void => {
          prevKvs.push(toKeyValue(key, record, false));
        }
      : undefined;
    deleted = store.deleteRange(request.key, upperEnd(request), onDelete);
  }
  return { kind: "deleteRange", revision: store.revisionInTxn, deleted, prevKvs };
}

function planTxn(store: Store, request: TxnRequest): Plan {
  const succeeded = request.compare.every((compare) => holds(store, compare));
  const chosen = succeeded ? request.success : request.failure;
  return { kind: "plan", succeeded, ops: chosen.map((op) => planOp(store, op)) };
}

function planOp(store: Store, op: RequestOp): PlannedOp {
  assert(op.kind !== "unset", "an operation names something");
  return op.kind === "txn" ? planTxn(store, op) : op;
}

/** Whether a compare holds for every key of its range; a range without keys is judged like an absent key. */
function holds(store: Store, compare: Compare): boolean {
  if (isSingleKey(compare)) return holdsFor(compare, store.view.find(compare.key, LATEST));
  let isEmpty = true;
  let isHeld = true;
  store.view.scan(compare.key, upperEnd(compare), LATEST, (_key, record) => {
    isEmpty = false;
    isHeld = holdsFor(compare, record);
    return isHeld;
  });
  return isEmpty ? holdsFor(compare, undefined) : isHeld;
}

/** An absent key compares as zero, except that its value compares with nothing. */
function holdsFor(compare: Compare, record: RecordView | undefined): boolean {
  const { operand, result } = compare;
  let order: number;
  switch (operand.target) {
    case "value":
      if (record === undefined) return false;
      order = compareBytes(record.value, operand.bytes);
      break;
    case "lease": {
      const lease = record === undefined || record.lease === null ? 0n : readLeaseId(record.lease);
      order = lease < operand.lease ? -1 : lease > operand.lease ? 1 : 0;
      break;
    }
    case "version":
      order = (record?.version ?? 0) - operand.number;
      break;
    case "create":
      order = (record?.createRevision ?? 0) - operand.number;
      break;
    case "mod":
      order = (record?.modRevision ?? 0) - operand.number;
      break;
  }
  switch (result) {
    case "equal":
      return order === 0;
    case "notEqual":
      return order !== 0;
    case "greater":
      return order > 0;
    case "less":
      return order < 0;
  }
}

function checkPlan(store: Store, plan: Plan): ErrorCode | null {
  return checkPuts(store, plan, []) ?? checkRanges(store, plan, false).refused;
}

/** `deletes` are the deletions that run before the operations of `plan`; those of `plan` are added. */
function checkPuts(store: Store, plan: Plan, deletes: DeleteRangeRequest[]): ErrorCode | null {
  for (const op of plan.ops) {
    let refused: ErrorCode | null = null;
    if (op.kind === "plan") {
      refused = checkPuts(store, op, deletes);
    } else if (op.kind === "put") {
      if (needsKey(op) && !isThere(store, op.key, deletes)) return "KEY_NOT_FOUND";
      refused = checkLease(store, op);
      // A lock that is deleted first is released by that.
      if (refused === null && store.isLocked(op.key) && isThere(store, op.key, deletes))
        refused = "LOCKED";
    } else if (op.kind === "deleteRange") {
      deletes.push(op);
    }
    if (refused !== null) return refused;
  }
  return null;
}

/**
 * Whether a key will be there when a put asks for what it has. The state before the transaction says it, unless a
 * deletion that the check for duplicates let pass comes first.
 */
function isThere(store: Store, key: Uint8Array, deletes: readonly DeleteRangeRequest[]): boolean {
  return store.view.find(key, LATEST) !== undefined && !deletes.some((range) => covers(range, key));
}

function covers(range: DeleteRangeRequest, key: Uint8Array): boolean {
  if (isSingleKey(range)) return compareBytes(range.key, key) === 0;
  const end = upperEnd(range);
  return compareBytes(range.key, key) <= 0 && (end === undefined || compareBytes(key, end) < 0);
}

/**
 * Revisions are judged on the state before the transaction: the one that it is about to make is in the future. Without
 * history that state is gone as soon as something was written, so it can no longer be asked for by its number.
 */
function checkRanges(
  store: Store,
  plan: Plan,
  isAfterWrite: boolean,
): { refused: ErrorCode | null; isAfterWrite: boolean } {
  let isAfter = isAfterWrite;
  for (const op of plan.ops) {
    if (op.kind === "plan") {
      const nested = checkRanges(store, op, isAfter);
      if (nested.refused !== null) return nested;
      isAfter = nested.isAfterWrite;
    } else if (op.kind === "range") {
      const refused = store.revisionError(op.revision);
      if (refused !== null) return { refused, isAfterWrite: isAfter };
      if (op.revision > 0 && isAfter && !store.isHistoryOn)
        return { refused: "COMPACTED", isAfterWrite: isAfter };
    } else {
      isAfter = true;
    }
  }
  return { refused: null, isAfterWrite: isAfter };
}

function needsKey(request: PutRequest): boolean {
  return request.ignoreValue || request.ignoreLease;
}

function checkLease(store: Store, request: PutRequest): ErrorCode | null {
  return request.lease === 0n || store.leases.has(leaseIdBytes(request.lease))
    ? null
    : "LEASE_NOT_FOUND";
}

function execute(store: Store, plan: Plan): ResponseOp[] {
  return plan.ops.map((op): ResponseOp => {
    switch (op.kind) {
      case "range":
        return readRange(store, op);
      case "put":
        return executePut(store, op);
      case "deleteRange":
        return executeDeleteRange(store, op);
      case "plan": {
        const responses = execute(store, op);
        return { kind: "txn", revision: store.revisionInTxn, succeeded: op.succeeded, responses };
      }
    }
  });
}
