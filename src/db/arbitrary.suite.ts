/** Random requests over few keys and small numbers, so that they meet each other often. */
import fc from "fast-check";
import type {
  AnyWriteRequest,
  Compare,
  DeleteRangeRequest,
  KeyRange,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
  WriteRequest,
} from "./requests.ts";
import { bytes } from "./model.suite.ts";

// Zeros and 0xff are what escaping and range ends must get right; one key is a prefix of another.
const KEYS = ["a", "a\0", "a\0b", "a\0\xff", "ab", "b", "b\0\0", "c", "\0", "\xff", "\xff\xff"];
/** Negative, beyond 2^53, and the greatest. */
export const LEASES: readonly bigint[] = [7n, -7n, 2n ** 53n + 1n, 2n ** 63n - 1n];

export const arbKey: fc.Arbitrary<Uint8Array> = fc.constantFrom(...KEYS).map(bytes);
const arbValue: fc.Arbitrary<Uint8Array> = fc
  .constantFrom("", "x", "y", "value", "z\0\xff")
  .map(bytes);
const arbLease: fc.Arbitrary<bigint> = fc.constantFrom(...LEASES);
export const arbMaybeLease: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0n) },
  { weight: 1, arbitrary: arbLease },
);
const arbRange: fc.Arbitrary<KeyRange> = fc.oneof(
  arbKey.map((key) => ({ key, rangeEnd: bytes("") })),
  fc.record({ key: arbKey, rangeEnd: arbKey }),
  fc.constant({ key: bytes("\0"), rangeEnd: bytes("\0") }),
);
const arbRarely: fc.Arbitrary<boolean> = fc.nat(11).map((n) => n === 0);

export const arbPut: fc.Arbitrary<PutRequest> = fc
  .record({
    kind: fc.constant("put" as const),
    key: arbKey,
    value: arbValue,
    lease: arbMaybeLease,
    prevKv: fc.boolean(),
    ignoreValue: arbRarely,
    ignoreLease: arbRarely,
  })
  .map((put) => ({
    ...put,
    value: put.ignoreValue ? bytes("") : put.value,
    lease: put.ignoreLease ? 0n : put.lease,
  }));

export const arbDeleteRange: fc.Arbitrary<DeleteRangeRequest> = fc
  .tuple(arbRange, fc.boolean())
  .map(([range, prevKv]) => ({ kind: "deleteRange" as const, ...range, prevKv }));

const arbFilter: fc.Arbitrary<number> = fc.oneof(
  { weight: 5, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: -1, max: 20 }) },
);

/** Revisions stand for so many before the next one: see `atRevision`. */
const arbBack: fc.Arbitrary<number> = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 6 }) },
  { weight: 3, arbitrary: fc.integer({ min: 7, max: 25 }) },
  { weight: 1, arbitrary: fc.constant(0) },
);

export const arbRangeRequest: fc.Arbitrary<RangeRequest> = fc
  .tuple(
    arbRange,
    fc.record({
      kind: fc.constant("range" as const),
      limit: fc.integer({ min: -1, max: 4 }),
      revision: fc.oneof(fc.constant(-1), arbBack),
      sortOrder: fc.constantFrom("none", "ascend", "descend"),
      sortTarget: fc.constantFrom("key", "version", "create", "mod", "value"),
      serializable: fc.boolean(),
      keysOnly: arbRarely,
      countOnly: arbRarely,
      minModRevision: arbFilter,
      maxModRevision: arbFilter,
      minCreateRevision: arbFilter,
      maxCreateRevision: arbFilter,
    }),
  )
  .map(([range, rest]) => ({ ...range, ...rest }));

const arbCompare: fc.Arbitrary<Compare> = fc
  .tuple(
    arbRange,
    fc.constantFrom("equal", "greater", "less", "notEqual"),
    fc.oneof(
      fc.record({
        target: fc.constantFrom("version", "create", "mod"),
        number: fc.integer({ min: -1, max: 6 }),
      }),
      arbValue.map((value) => ({ target: "value" as const, bytes: value })),
      arbMaybeLease.map((lease) => ({ target: "lease" as const, lease })),
    ),
  )
  .map(([range, result, operand]) => ({ ...range, result, operand }) as Compare);

/** Transactions up to three levels deep. Many put a key twice: validation tells them apart. */
export const arbTxn: fc.Arbitrary<TxnRequest> = fc.letrec<{ op: RequestOp; txn: TxnRequest }>(
  (tie) => ({
    op: fc.oneof(
      { maxDepth: 2, depthIdentifier: "txn" },
      fc.oneof(arbPut, arbRangeRequest, arbDeleteRange),
      tie("txn"),
    ),
    txn: fc.record({
      kind: fc.constant("txn" as const),
      compare: fc.array(arbCompare, { maxLength: 2 }),
      success: fc.array(tie("op"), { maxLength: 4, depthIdentifier: "txn" }),
      failure: fc.array(tie("op"), { maxLength: 3, depthIdentifier: "txn" }),
    }),
  }),
).txn;

export const arbWrite: fc.Arbitrary<WriteRequest> = fc.oneof(
  { weight: 6, arbitrary: arbPut },
  { weight: 2, arbitrary: arbDeleteRange },
  { weight: 4, arbitrary: arbTxn },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("compact" as const),
      revision: arbBack,
      physical: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("leaseGrant" as const),
      id: arbLease,
      ttlSeconds: fc.constantFrom(-1n, 3n, 10n, 9_000_000_000n, 9_000_000_001n, 2n ** 63n - 1n),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leaseRevoke" as const), id: arbLease }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("leaseKeepAlive" as const), id: arbLease }),
  },
);

/** The request with its revisions counted back from the revision after `revision`; -1 stays and means the latest. */
export function atRevision<T extends AnyWriteRequest | RangeRequest>(
  request: T,
  revision: number,
): T {
  const from = (op: RequestOp): RequestOp => (op.kind === "unset" ? op : atRevision(op, revision));
  if (request.kind === "txn")
    return { ...request, success: request.success.map(from), failure: request.failure.map(from) };
  if (request.kind !== "compact" && request.kind !== "range") return request;
  return { ...request, revision: request.revision < 0 ? -1 : revision + 1 - request.revision };
}
