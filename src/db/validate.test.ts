import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arbTxn } from "./arbitrary.suite.ts";
import { bytes, chars } from "./model.suite.ts";
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from "./requests.ts";
import { isReadOnlyTxn, TXN_DEPTH_MAX, validateRange, validateWrite } from "./validate.ts";

const LIMITS = { maxRequestBytes: 1_572_864, maxTxnOps: 128 };

function put(key: string, more: Partial<PutRequest> = {}): PutRequest {
  return {
    kind: "put",
    key: bytes(key),
    value: bytes("v"),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
    ...more,
  };
}

function range(key: string, more: Partial<RangeRequest> = {}): RangeRequest {
  return {
    kind: "range",
    key: bytes(key),
    rangeEnd: bytes(""),
    limit: 0,
    revision: 0,
    sortOrder: "none",
    sortTarget: "key",
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
    ...more,
  };
}

function del(key: string, rangeEnd = ""): DeleteRangeRequest {
  return { kind: "deleteRange", key: bytes(key), rangeEnd: bytes(rangeEnd), prevKv: false };
}

function txn(
  success: readonly RequestOp[],
  failure: readonly RequestOp[] = [],
  compare: readonly Compare[] = [],
): TxnRequest {
  return { kind: "txn", compare, success, failure };
}

function times<T>(count: number, item: T): T[] {
  return Array.from({ length: count }, () => item);
}

const check = (request: TxnRequest | PutRequest | DeleteRangeRequest): string | null =>
  validateWrite(request, LIMITS);
const COMPARE: Compare = {
  key: bytes("a"),
  rangeEnd: bytes(""),
  result: "equal",
  operand: { target: "version", number: 0 },
};

describe("a put", () => {
  it("names the first of several mistakes: key, value, lease, length of the key", () => {
    expect(check(put("a"))).toBe(null);
    expect(check(put("", { ignoreValue: true, ignoreLease: true, lease: 1n }))).toBe("KEY_EMPTY");
    expect(check(put("a", { ignoreValue: true, ignoreLease: true, lease: 1n }))).toBe(
      "VALUE_PROVIDED",
    );
    expect(check(put("a", { ignoreLease: true, lease: 1n }))).toBe("LEASE_PROVIDED");
    expect(check(put("a".repeat(4097), { ignoreLease: true, lease: 1n }))).toBe("LEASE_PROVIDED");
    expect(check(put("a".repeat(4097)))).toBe("KEY_TOO_LARGE");
    expect(check(put("a".repeat(4096)))).toBe(null);
  });
});

describe("a range", () => {
  it("has a key, ends within the limits, and sorts by what there is", () => {
    expect(validateRange(range("a"))).toBe(null);
    expect(validateRange(range("", { rangeEnd: bytes("\0") }))).toBe("KEY_EMPTY");
    expect(validateRange(range("a".repeat(4097)))).toBe("KEY_TOO_LARGE");
    expect(validateRange(range("a", { rangeEnd: new Uint8Array(4097) }))).toBe(null);
    expect(validateRange(range("a", { rangeEnd: new Uint8Array(4098) }))).toBe("KEY_TOO_LARGE");
    expect(validateRange(range("a", { sortOrder: "sideways" as "ascend" }))).toBe("INVALID_SORT");
    expect(validateRange(range("a", { sortTarget: "size" as "key" }))).toBe("INVALID_SORT");
    expect(validateRange(range("", { sortTarget: "size" as "key" }))).toBe("KEY_EMPTY");
    expect(check(del(""))).toBe("KEY_EMPTY");
  });
});

describe("a range that goes on after the longest key", () => {
  it("begins one byte later, with an end, and for compares and deletes alike", () => {
    const after = "a".repeat(4096) + "\0";
    const end = { rangeEnd: bytes("b") };
    expect(validateRange(range(after, end))).toBe(null);
    expect(validateRange(range(after))).toBe("KEY_TOO_LARGE");
    expect(validateRange(range(`${after}\0`, end))).toBe("KEY_TOO_LARGE");
    expect(check(del(after, "b"))).toBe(null);
    expect(check(del(after))).toBe("KEY_TOO_LARGE");
    expect(check(txn([], [], [{ ...COMPARE, key: bytes(after), ...end }]))).toBe(null);
    expect(check(txn([], [], [{ ...COMPARE, key: bytes(after) }]))).toBe("KEY_TOO_LARGE");
  });
});

describe("a request that its types do not allow", () => {
  it("is refused before anything is read or proposed for it", () => {
    for (const value of [1.5, Number.NaN, "1", 1n, Symbol("1"), undefined]) {
      for (const field of ["limit", "revision", "minModRevision", "maxCreateRevision"])
        expect(validateRange(range("a", { [field]: value }))).toBe("INVALID_ARGUMENT");
      const operand = { target: "mod", number: value } as never;
      expect(check(txn([], [], [{ ...COMPARE, operand }]))).toBe("INVALID_ARGUMENT");
    }
    for (const wrong of [
      { result: "toString" },
      { result: undefined },
      { operand: { target: "constructor", number: 0 } },
      { operand: { target: "value", bytes: "text" } },
      { operand: { target: "lease", lease: 2n ** 70n } },
      { operand: { target: "lease", lease: 7 } },
    ])
      expect(check(txn([], [], [{ ...COMPARE, ...(wrong as object) }]))).toBe("INVALID_ARGUMENT");
    expect(check(txn([{ kind: "toString" } as never]))).toBe("INVALID_ARGUMENT");
  });
});

describe("a transaction", () => {
  it("may have as many operations as the limit says, in each list", () => {
    expect(check(txn(times(128, range("q"))))).toBe(null);
    expect(check(txn(times(129, range("q"))))).toBe("TOO_MANY_OPS");
    expect(check(txn([], times(129, range("q"))))).toBe("TOO_MANY_OPS");
    expect(check(txn([], [], times(129, COMPARE)))).toBe("TOO_MANY_OPS");
    expect(check(txn(times(128, range("q")), times(128, range("q")), times(128, COMPARE)))).toBe(
      null,
    );
  });

  it("counts nested operations, those of transactions side by side together", () => {
    const one = txn([range("q")]);
    expect(check(txn([...times(126, range("q")), one]))).toBe(null);
    expect(check(txn([...times(127, range("q")), one]))).toBe("TOO_MANY_OPS");
    expect(check(txn([...times(126, range("q")), txn(times(2, range("q")))]))).toBe("TOO_MANY_OPS");
    expect(check(txn(times(64, one)))).toBe(null);
    expect(check(txn(times(65, one)))).toBe("TOO_MANY_OPS");
    // Only one branch runs, so the costlier one counts.
    expect(check(txn(times(64, one), times(64, one)))).toBe(null);
  });

  it("is as deep as the limit of operations allows, and no deeper than the code recurses", () => {
    let deep = txn([]);
    for (let depth = 1; depth < TXN_DEPTH_MAX; depth++) deep = txn([deep]);
    expect(validateWrite(deep, LIMITS)).toBe(null);
    expect(validateWrite(txn([deep]), { ...LIMITS, maxTxnOps: 10_000 })).toBe("TOO_MANY_OPS");
  });

  it("checks counts, then compares, then operations, then duplicates", () => {
    const empty = { ...COMPARE, key: bytes("") };
    expect(check(txn(times(129, put("")), [], [empty]))).toBe("TOO_MANY_OPS");
    expect(check(txn([{ kind: "unset" }], [], [empty]))).toBe("KEY_EMPTY");
    expect(check(txn([put("a"), put("a"), { kind: "unset" }]))).toBe("KEY_NOT_FOUND");
    expect(check(txn([put("a"), put("a")], [put("")]))).toBe("KEY_EMPTY");
    expect(check(txn([txn([put("", {})])]))).toBe("KEY_EMPTY");
    expect(check(txn([put("a"), put("a")]))).toBe("DUPLICATE_KEY");
    expect(check(txn([], [put("a"), put("a")]))).toBe("DUPLICATE_KEY");
  });

  it("puts a key once in each branch, and not where the branch deletes it", () => {
    expect(check(txn([put("a"), put("b")]))).toBe(null);
    expect(check(txn([put("a")], [put("a")]))).toBe(null);
    expect(check(txn([put("d"), del("d")]))).toBe("DUPLICATE_KEY");
    expect(check(txn([del("d"), put("d")]))).toBe("DUPLICATE_KEY");
    expect(check(txn([del("a", "z"), put("d")]))).toBe("DUPLICATE_KEY");
    expect(check(txn([del("c", "d"), put("d")]))).toBe(null);
    expect(check(txn([del("d", "e"), put("d")]))).toBe("DUPLICATE_KEY");
    expect(check(txn([del("d"), put("d\0")]))).toBe(null);
    expect(check(txn([del("d"), del("d"), del("a", "z")]))).toBe(null);
    // The end \0 is compared as it stands.
    expect(check(txn([del("t", "\0"), put("u")]))).toBe(null);
  });

  it("looks into nested transactions, of which one branch runs", () => {
    expect(check(txn([put("d"), txn([put("d")])]))).toBe("DUPLICATE_KEY");
    expect(check(txn([txn([put("d")]), txn([put("d")])]))).toBe("DUPLICATE_KEY");
    expect(check(txn([txn([put("d")], [put("d")])]))).toBe(null);
    expect(check(txn([txn([put("d")]), txn([], [put("d")])]))).toBe("DUPLICATE_KEY");
    expect(check(txn([del("a", "z"), txn([put("d")])]))).toBe("DUPLICATE_KEY");
    expect(check(txn([txn([del("d")]), put("d")]))).toBe("DUPLICATE_KEY");
    expect(check(txn([txn([del("d")]), txn([put("d")])]))).toBe("DUPLICATE_KEY");
    expect(check(txn([txn([put("d")]), txn([del("d")])]))).toBe(null);
  });

  it("is free of duplicates if and only if no two of its writes meet, by a slower check", () => {
    fc.assert(
      fc.property(arbTxn, (request) => {
        const isRefused = check(request) === "DUPLICATE_KEY";
        expect(isRefused).toBe(hasDuplicate(request.success) || hasDuplicate(request.failure));
      }),
      { numRuns: 1_000 },
    );
  });

  it("only reads when no branch writes", () => {
    expect(isReadOnlyTxn(txn([]))).toBe(true);
    expect(isReadOnlyTxn(txn([range("a")], [txn([range("b")])], [COMPARE]))).toBe(true);
    expect(isReadOnlyTxn(txn([range("a")], [txn([put("b")])]))).toBe(false);
    expect(isReadOnlyTxn(txn([del("a")]))).toBe(false);
  });
});

/** Every put of a branch with the way to it, held against every other write. */
function hasDuplicate(ops: readonly RequestOp[]): boolean {
  const nested = ops.flatMap((op) => (op.kind === "txn" ? [op] : []));
  if (nested.some((txn) => hasDuplicate(txn.success) || hasDuplicate(txn.failure))) return true;
  const own = ops.flatMap((op) => (op.kind === "put" ? [chars(op.key)] : []));
  const ownDeletes = ops.flatMap((op) => (op.kind === "deleteRange" ? [op] : []));
  if (new Set(own).size < own.length) return true;
  const isDeletedBy = (key: string, deletes: readonly DeleteRangeRequest[]): boolean =>
    deletes.some(({ key: from, rangeEnd }) => {
      const end = rangeEnd.length === 0 ? `${chars(from)}\0` : chars(rangeEnd);
      return key >= chars(from) && key < end;
    });
  if (
    own.some((key) => isDeletedBy(key, ownDeletes) || isDeletedBy(key, nested.flatMap(deletesOf)))
  )
    return true;
  return nested.some((txn, i) =>
    putsOf(txn).some(
      (key) =>
        own.includes(key) ||
        isDeletedBy(key, ownDeletes) ||
        nested
          .slice(0, i)
          .some((before) => putsOf(before).includes(key) || isDeletedBy(key, deletesOf(before))),
    ),
  );
}

function putsOf(op: RequestOp): string[] {
  if (op.kind === "put") return [chars(op.key)];
  return op.kind === "txn" ? [...op.success, ...op.failure].flatMap(putsOf) : [];
}

function deletesOf(op: RequestOp): DeleteRangeRequest[] {
  if (op.kind === "deleteRange") return [op];
  return op.kind === "txn" ? [...op.success, ...op.failure].flatMap(deletesOf) : [];
}
