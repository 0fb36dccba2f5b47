/**
 * From what the protocol can say to what the database understands. Where the protocol allows more (enum values that
 * nobody defined, a compare whose union does not fit its target) it is decided here, once.
 */
import { EMPTY_BYTES, HarmonyError } from "../../base/index.ts";
import type { WireCompare, WireRange, WireRequestOp, WireTxn } from "../../codec/index.ts";
import type {
  Compare,
  CompareResult,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
} from "../../db/index.ts";

// In the order of the protocol's numbers (proto/etcdserverpb/rpc.proto).
const SORT_ORDERS: readonly SortOrder[] = ["none", "ascend", "descend"];
const SORT_TARGETS: readonly SortTarget[] = ["key", "version", "create", "mod", "value"];
const COMPARE_RESULTS: readonly CompareResult[] = ["equal", "greater", "less", "notEqual"];
const COMPARE_TARGETS: readonly Compare["operand"]["target"][] = [
  "version",
  "create",
  "mod",
  "value",
  "lease",
];

/** Throws HarmonyError INVALID_SORT for a sort that does not exist; a missing key is reported before it. */
export function rangeRequest(wire: WireRange): RangeRequest {
  if (wire.key.length === 0) throw new HarmonyError("KEY_EMPTY");
  const sortOrder = SORT_ORDERS[wire.sortOrder];
  const sortTarget = SORT_TARGETS[wire.sortTarget];
  if (sortOrder === undefined || sortTarget === undefined) throw new HarmonyError("INVALID_SORT");
  return {
    kind: "range",
    key: wire.key,
    rangeEnd: wire.rangeEnd,
    limit: wire.limit,
    revision: wire.revision,
    sortOrder,
    sortTarget,
    serializable: wire.serializable,
    keysOnly: wire.keysOnly,
    countOnly: wire.countOnly,
    minModRevision: wire.minModRevision,
    maxModRevision: wire.maxModRevision,
    minCreateRevision: wire.minCreateRevision,
    maxCreateRevision: wire.maxCreateRevision,
  };
}

export function txnRequest(wire: WireTxn): TxnRequest {
  return {
    kind: "txn",
    compare: wire.compare.map(compare),
    success: wire.success.map(requestOp),
    failure: wire.failure.map(requestOp),
  };
}

function requestOp(wire: WireRequestOp): RequestOp {
  if (wire.kind === "range") return rangeRequest(wire);
  return wire.kind === "txn" ? txnRequest(wire) : wire;
}

/**
 * A union that does not fit the target counts as the target's zero, as in etcd. A result or target that does not
 * exist is refused: etcd lets such a compare hold, which would run a write that its sender guarded.
 */
function compare(wire: WireCompare): Compare {
  const result = COMPARE_RESULTS[wire.result];
  const target = COMPARE_TARGETS[wire.target];
  if (result === undefined || target === undefined) throw new HarmonyError("INVALID_ARGUMENT");
  return { key: wire.key, rangeEnd: wire.rangeEnd, result, operand: operand(target, wire.union) };
}

function operand(
  target: Compare["operand"]["target"],
  union: WireCompare["union"],
): Compare["operand"] {
  if (target === "value")
    return { target, bytes: union.member === "value" ? union.bytes : EMPTY_BYTES };
  if (target === "lease") return { target, lease: union.member === "lease" ? union.lease : 0n };
  return { target, number: union.member === target ? union.number : 0 };
}
