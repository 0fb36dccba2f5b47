/** Transactions: from what a program writes to a request, and from the outcome to what it reads. */
import { EMPTY_BYTES, HarmonyError } from "../../base/index.ts";
import type {
  Compare,
  CompareResult,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from "../requests.ts";
import { TXN_DEPTH_MAX } from "../validate.ts";
import type { Txn, TxnAnswer, TxnCompare, TxnOp, TxnResult } from "./api.ts";
import { assertNames, assertObject, int64Of, invalid } from "./arguments.ts";
import { POINT } from "../point.ts";
import { NOTHING, type Space } from "./space.ts";

const RESULTS: ReadonlyMap<TxnCompare["is"], CompareResult> = new Map([
  ["=", "equal"],
  ["!=", "notEqual"],
  ["<", "less"],
  [">", "greater"],
]);

const OP_NAMES: Readonly<Record<TxnOp["type"], ReadonlySet<string>>> = {
  get: new Set(["type", "key"]),
  scan: new Set(["type", "range"]),
  put: new Set(["type", "key", "value", "lease"]),
  del: new Set(["type", "key"]),
  delRange: new Set(["type", "range"]),
  txn: new Set(["type", "if", "then", "else"]),
};
const COMPARE_NAMES: ReadonlySet<string> = new Set(["key", "target", "is", "operand"]);
const TXN_NAMES: ReadonlySet<string> = new Set(["type", "if", "then", "else"]);

/** Conditions and operations of one transaction, nested ones included: far more than a command has room for. */
const TXN_ITEMS_MAX = 262_144;

/** Reads a transaction as the caller wrote it: it may be endless, and what it holds may be anything. */
export class TxnReader<V, I> {
  readonly #space: Space<V, I>;
  #items = 0;

  constructor(space: Space<V, I>) {
    this.#space = space;
  }

  /** Throws TOO_MANY_OPS where nesting or size pass what any node takes. */
  request(txn: Txn<I>, depth: number = 1): TxnRequest {
    assertNames(txn, TXN_NAMES, "a transaction");
    if (depth > TXN_DEPTH_MAX) throw new HarmonyError("TOO_MANY_OPS");
    return {
      kind: "txn",
      compare: this.#list(txn.if, (compare) => this.#compare(compare)),
      success: this.#list(txn.then, (op) => this.#op(op, depth)),
      failure: this.#list(txn.else, (op) => this.#op(op, depth)),
    };
  }

  #list<T, R>(items: readonly T[] | undefined, read: (item: T) => R): readonly R[] {
    if (items === undefined) return [];
    if (!Array.isArray(items)) throw invalid("if, then and else are arrays");
    this.#items += items.length;
    if (this.#items > TXN_ITEMS_MAX) throw new HarmonyError("TOO_MANY_OPS");
    // A hole in an array is no operation, so it is not passed over.
    return Array.from(items as readonly T[], read);
  }

  #op(op: TxnOp<I>, depth: number): RequestOp {
    assertObject(op, "an operation");
    const space = this.#space;
    const { type } = op;
    if (typeof type !== "string" || !Object.hasOwn(OP_NAMES, type))
      throw invalid("an operation is get, scan, put, del, delRange or txn");
    assertNames(op, OP_NAMES[type], `the operation ${type}`);
    switch (type) {
      case "get":
        return { ...POINT, key: space.key(op.key) };
      case "scan": {
        const { from, to, limit, reverse, isEmpty } = space.bounds(op.range);
        // In requests a limit of 0 is none.
        return {
          ...POINT,
          key: from,
          rangeEnd: to,
          limit: isEmpty ? 0 : (limit ?? 0),
          sortOrder: reverse ? "descend" : "none",
        };
      }
      case "put":
        return this.#put(op);
      case "del":
        return {
          kind: "deleteRange",
          key: space.key(op.key),
          rangeEnd: EMPTY_BYTES,
          prevKv: false,
        };
      case "delRange": {
        const { from, to, limit, reverse } = space.bounds(op.range);
        if (limit !== undefined || reverse) throw invalid("a delete takes no limit and no order");
        return { kind: "deleteRange", key: from, rangeEnd: to, prevKv: false };
      }
      case "txn":
        return this.request(op, depth + 1);
    }
  }

  #put(op: Extract<TxnOp<I>, { readonly type: "put" }>): RequestOp {
    if (this.#space.ttlMs !== undefined)
      throw invalid("in a scope with ttlMs a transaction cannot put: its keys would not end");
    return putOf(this.#space.key(op.key), this.#space.value(op.value), op.lease);
  }

  #compare(compare: TxnCompare<I>): Compare {
    assertNames(compare, COMPARE_NAMES, "a condition");
    const { key, target, is, operand } = compare;
    const result = RESULTS.get(is);
    if (result === undefined) throw invalid(`a compare is one of = != < >, not ${String(is)}`);
    const base = { key: this.#space.key(key), rangeEnd: EMPTY_BYTES, result };
    switch (target) {
      case "value":
        return { ...base, operand: { target, bytes: this.#space.value(operand as I) } };
      case "lease":
        return {
          ...base,
          operand: { target, lease: int64Of(operand as bigint, "the lease to compare with", 0n) },
        };
      case "version":
        return { ...base, operand: { target, number: numberOf(operand, target) } };
      case "createRev":
        return { ...base, operand: { target: "create", number: numberOf(operand, target) } };
      case "rev":
        return { ...base, operand: { target: "mod", number: numberOf(operand, target) } };
      default:
        throw invalid(`a compare has no target ${String(target satisfies never)}`);
    }
  }
}

/** A put of a transaction. */
export function putOf(
  key: Uint8Array,
  value: Uint8Array,
  lease: bigint | undefined,
): RequestOp & { readonly kind: "put" } {
  return {
    kind: "put",
    key,
    value,
    lease: lease === undefined ? 0n : int64Of(lease, "lease", 1n),
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  };
}

/** An empty transaction's range: nothing is in it, but it stands in the log behind what was asked for before. */
export const DELETE_NOTHING: RequestOp & { readonly kind: "deleteRange" } = Object.freeze({
  kind: "deleteRange",
  key: NOTHING.from,
  rangeEnd: NOTHING.to,
  prevKv: false,
});

function numberOf(operand: unknown, target: string): number {
  const number = typeof operand === "bigint" ? Number(operand) : operand;
  if (typeof number !== "number" || !Number.isSafeInteger(number))
    throw invalid(`${target} is compared with a whole number`);
  return number;
}

export function txnResult<V>(space: Space<V, never>, response: TxnResponse): TxnResult<V> {
  return {
    rev: response.revision,
    succeeded: response.succeeded,
    answers: response.responses.map((one) => answerOf(space, one)),
  };
}

function answerOf<V>(space: Space<V, never>, response: ResponseOp): TxnAnswer<V> {
  switch (response.kind) {
    case "range":
      return { type: "entries", entries: response.kvs.map((kv) => space.entry(kv)) };
    case "put":
      return { type: "put" };
    case "deleteRange":
      return { type: "deleted", deleted: response.deleted };
    case "txn":
      return { type: "txn", ...txnResult(space, response) };
  }
}
