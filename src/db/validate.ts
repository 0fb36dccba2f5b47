/**
 * What can be said of a request without looking at the data: checked before it is proposed, so that limits may differ
 * between nodes and apply never depends on a flag. The order of the checks is etcd's, since clients see which of
 * several mistakes is reported.
 */
import { concatBytes, type ErrorCode } from "../base/index.ts";
import { KEY_LENGTH_MAX } from "../mvcc/index.ts";
import { KeyRanges } from "./key-ranges.ts";
import { KeySet } from "./key-set.ts";
import type {
  AnyWriteRequest,
  Compare,
  CompareResult,
  DeleteRangeRequest,
  KeyRange,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
} from "./requests.ts";
import { validateKey, validateNative } from "./validate-native.ts";

export interface RequestLimits {
  /** Of an encoded command, in bytes. Checked where the command is made: it comes last of all checks. */
  readonly maxRequestBytes: number;
  /** Operations that one transaction may come to, nested ones included. */
  readonly maxTxnOps: number;
}

/** Transactions within transactions: as deep as etcd's default limit of operations lets them be. */
export const TXN_DEPTH_MAX = 128;

type Refused = ErrorCode | null;

const SORT_ORDERS: ReadonlySet<SortOrder> = new Set<SortOrder>(["none", "ascend", "descend"]);
const SORT_TARGETS: ReadonlySet<SortTarget> = new Set<SortTarget>([
  "key",
  "version",
  "create",
  "mod",
  "value",
]);

/** Why a write is refused whatever the data is, or null. */
export function validateWrite(request: AnyWriteRequest, limits: RequestLimits): Refused {
  switch (request.kind) {
    case "put":
      return validatePut(request);
    case "deleteRange":
      return validateDeleteRange(request);
    case "txn":
      return validateTxn(request, limits.maxTxnOps);
    case "compact":
    case "leaseGrant":
    case "leaseRevoke":
    case "leaseKeepAlive":
      return null;
    case "set":
    case "incr":
    case "append":
    case "setRange":
    case "mset":
    case "mdel":
    case "expireKey":
    case "lock":
    case "unlock":
    case "extendLock":
    case "sessionOpen":
    case "sessionClose":
    case "configure":
      return validateNative(request);
    default:
      request satisfies never;
      return "INVALID_ARGUMENT";
  }
}

export function validateRange(request: RangeRequest): Refused {
  const refused = validateKeyRange(request);
  if (refused !== null) return refused;
  // The types allow no other value; a number from the wire that stands for none arrives here all the same.
  if (!SORT_ORDERS.has(request.sortOrder) || !SORT_TARGETS.has(request.sortTarget))
    return "INVALID_SORT";
  return Number.isInteger(request.limit) &&
    Number.isInteger(request.revision) &&
    Number.isInteger(request.minModRevision) &&
    Number.isInteger(request.maxModRevision) &&
    Number.isInteger(request.minCreateRevision) &&
    Number.isInteger(request.maxCreateRevision)
    ? null
    : "INVALID_ARGUMENT";
}

/** True when no operation of any branch writes: such a transaction is answered as a read. */
export function isReadOnlyTxn(request: TxnRequest): boolean {
  return request.success.every(isReadOnly) && request.failure.every(isReadOnly);
}

function isReadOnly(op: RequestOp): boolean {
  return op.kind === "range" || (op.kind === "txn" && isReadOnlyTxn(op));
}

/**
 * Both ends of a range may be the longest key and one byte, which is the first key after it: the range of that key
 * alone ends there, and who reads page by page goes on from there.
 */
function validateKeyRange({ key, rangeEnd }: KeyRange): Refused {
  if (rangeEnd.length === 0) return validateKey(key);
  if (key.length === 0) return "KEY_EMPTY";
  return key.length > KEY_LENGTH_MAX + 1 || rangeEnd.length > KEY_LENGTH_MAX + 1
    ? "KEY_TOO_LARGE"
    : null;
}

const COMPARE_RESULTS: ReadonlySet<CompareResult> = new Set<CompareResult>([
  "equal",
  "greater",
  "less",
  "notEqual",
]);

/** The types allow nothing else, but a compare that is none would hold or not by chance. */
function validateCompare(compare: Compare): Refused {
  const refused = validateKeyRange(compare);
  if (refused !== null) return refused;
  return COMPARE_RESULTS.has(compare.result) && isOperand(compare.operand)
    ? null
    : "INVALID_ARGUMENT";
}

function isOperand(operand: Compare["operand"]): boolean {
  switch (operand.target) {
    case "version":
    case "create":
    case "mod":
      return Number.isInteger(operand.number);
    case "value":
      return operand.bytes instanceof Uint8Array;
    case "lease":
      return (
        typeof operand.lease === "bigint" && BigInt.asIntN(64, operand.lease) === operand.lease
      );
    default:
      operand satisfies never;
      return false;
  }
}

function validatePut(request: PutRequest): Refused {
  if (request.key.length === 0) return "KEY_EMPTY";
  if (request.ignoreValue && request.value.length > 0) return "VALUE_PROVIDED";
  if (request.ignoreLease && request.lease !== 0n) return "LEASE_PROVIDED";
  return validateKey(request.key);
}

function validateDeleteRange(request: DeleteRangeRequest): Refused {
  return validateKeyRange(request);
}

function validateTxn(request: TxnRequest, maxTxnOps: number): Refused {
  const cost = new TxnCost();
  cost.add(request, maxTxnOps, 1);
  if (cost.refused !== null) return cost.refused;
  return collectWrites(request.success) === null || collectWrites(request.failure) === null
    ? "DUPLICATE_KEY"
    : null;
}

/**
 * Checks every operation and counts them. A transaction costs the longest of its three lists, and what the nested
 * transactions of its costlier branch cost. etcd gives each nested transaction the whole of what is left, so that many
 * side by side come to far more than the limit; here they share it (fault-rules U2).
 */
class TxnCost {
  refused: Refused = null;

  /** What `request` costs. Where that is more than `budget`, or an operation is wrong, `refused` says so. */
  add(request: TxnRequest, budget: number, depth: number): number {
    const own = Math.max(request.compare.length, request.success.length, request.failure.length);
    if (own > budget || depth > TXN_DEPTH_MAX) {
      this.refused = "TOO_MANY_OPS";
      return own;
    }
    for (const compare of request.compare) {
      this.refused = validateCompare(compare);
      if (this.refused !== null) return own;
    }
    const success = this.#branch(request.success, budget - own, depth);
    if (this.refused !== null) return own;
    return own + Math.max(success, this.#branch(request.failure, budget - own, depth));
  }

  #branch(ops: readonly RequestOp[], budget: number, depth: number): number {
    let nested = 0;
    for (const op of ops) {
      if (op.kind === "txn") nested += this.add(op, budget - nested, depth + 1);
      else this.refused = validateOp(op);
      if (this.refused !== null) break;
    }
    return nested;
  }
}

function validateOp(op: Exclude<RequestOp, TxnRequest>): Refused {
  switch (op.kind) {
    case "range":
      return validateRange(op);
    case "put":
      return validatePut(op);
    case "deleteRange":
      return validateDeleteRange(op);
    case "unset":
      return "KEY_NOT_FOUND";
    default:
      op satisfies never;
      return "INVALID_ARGUMENT";
  }
}

/** What a branch writes, with all that is nested in it. */
interface Writes {
  readonly puts: KeySet;
  readonly deletes: KeyRanges;
}

const AFTER: Uint8Array = Uint8Array.of(0);

/**
 * What the operations write, or null when a key is put twice, or put and deleted. Then and else of one nested
 * transaction may put the same key, since only one of them runs.
 *
 * Two leniencies are etcd's and kept so that it accepts what etcd accepts: an end of \0 is compared as the byte that it
 * is, and a delete inside a nested transaction is not held against puts of those before it. Such transactions are well
 * defined all the same: operations run in order.
 */
function collectWrites(ops: readonly RequestOp[]): Writes | null {
  const puts = new KeySet();
  const deletes = new KeyRanges();
  for (const op of ops) {
    if (op.kind !== "deleteRange") continue;
    deletes.add(op.key, op.rangeEnd.length === 0 ? concatBytes(op.key, AFTER) : op.rangeEnd);
  }
  for (const op of ops) {
    if (op.kind !== "txn") continue;
    const success = collectWrites(op.success);
    const failure = success === null ? null : collectWrites(op.failure);
    if (success === null || failure === null) return null;
    for (const key of success.puts.keys) if (deletes.has(key) || !puts.add(key)) return null;
    for (const key of failure.puts.keys) {
      if (deletes.has(key) || (!puts.add(key) && !success.puts.has(key))) return null;
    }
    success.deletes.forEach((from, to) => deletes.add(from, to));
    failure.deletes.forEach((from, to) => deletes.add(from, to));
  }
  for (const op of ops) {
    if (op.kind === "put" && (deletes.has(op.key) || !puts.add(op.key))) return null;
  }
  return { puts, deletes };
}
