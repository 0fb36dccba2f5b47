/**
 * Operands of the commands that etcd's protocol asks for: puts, deletes, ranges, and transactions of them. Within a
 * transaction each operation stands behind its op code.
 */
import type { ByteReader, ByteWriter } from "../base/index.ts";
import {
  codeOf,
  isKey,
  isRange,
  readInt64,
  readList,
  readSigned,
  refuse,
  writeBytes,
  writeInt64,
  writeSigned,
  writeUnsigned,
} from "./command-fields.ts";
import { Op } from "./command-ops.ts";
import type {
  Compare,
  CompareResult,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
} from "./requests.ts";
import { TXN_DEPTH_MAX } from "./validate.ts";

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

const FLAG_PREV_KV = 1;
const FLAG_IGNORE_VALUE = 2;
const FLAG_IGNORE_LEASE = 4;
const FLAG_LEASE = 8;
const PUT_FLAGS: number = FLAG_PREV_KV | FLAG_IGNORE_VALUE | FLAG_IGNORE_LEASE | FLAG_LEASE;

const FLAG_SERIALIZABLE = 1;
const FLAG_KEYS_ONLY = 2;
const FLAG_COUNT_ONLY = 4;
const FLAG_FILTERS = 8;
const RANGE_FLAGS: number = FLAG_SERIALIZABLE | FLAG_KEYS_ONLY | FLAG_COUNT_ONLY | FLAG_FILTERS;

export function writePut(out: ByteWriter, request: PutRequest): void {
  const hasLease = request.lease !== 0n;
  out.u8(
    (request.prevKv ? FLAG_PREV_KV : 0) |
      (request.ignoreValue ? FLAG_IGNORE_VALUE : 0) |
      (request.ignoreLease ? FLAG_IGNORE_LEASE : 0) |
      (hasLease ? FLAG_LEASE : 0),
  );
  if (hasLease) writeInt64(out, request.lease);
  writeBytes(out, request.key);
  writeBytes(out, request.value);
}

export function readPut(reader: ByteReader): PutRequest | null {
  const flags = reader.u8();
  const lease = (flags & FLAG_LEASE) === 0 ? 0n : readInt64(reader);
  const key = reader.lengthAndBytes();
  const value = reader.lengthAndBytes();
  if (flags > PUT_FLAGS || !isKey(key)) return null;
  return {
    kind: "put",
    key,
    value,
    lease,
    prevKv: (flags & FLAG_PREV_KV) !== 0,
    ignoreValue: (flags & FLAG_IGNORE_VALUE) !== 0,
    ignoreLease: (flags & FLAG_IGNORE_LEASE) !== 0,
  };
}

export function writeDeleteRange(out: ByteWriter, request: DeleteRangeRequest): void {
  out.u8(request.prevKv ? FLAG_PREV_KV : 0);
  writeBytes(out, request.key);
  writeBytes(out, request.rangeEnd);
}

export function readDeleteRange(reader: ByteReader): DeleteRangeRequest | null {
  const flags = reader.u8();
  const key = reader.lengthAndBytes();
  const rangeEnd = reader.lengthAndBytes();
  if (flags > FLAG_PREV_KV || !isRange(key, rangeEnd)) return null;
  return { kind: "deleteRange", key, rangeEnd, prevKv: flags === FLAG_PREV_KV };
}

function writeRange(out: ByteWriter, request: RangeRequest): void {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const hasFilters =
    minModRevision !== 0 ||
    maxModRevision !== 0 ||
    minCreateRevision !== 0 ||
    maxCreateRevision !== 0;
  out.u8(
    (request.serializable ? FLAG_SERIALIZABLE : 0) |
      (request.keysOnly ? FLAG_KEYS_ONLY : 0) |
      (request.countOnly ? FLAG_COUNT_ONLY : 0) |
      (hasFilters ? FLAG_FILTERS : 0),
  );
  const order = codeOf(SORT_ORDERS, request.sortOrder, "sort order");
  out.u8((order << 4) | codeOf(SORT_TARGETS, request.sortTarget, "sort target"));
  writeUnsigned(out, request.limit);
  writeUnsigned(out, request.revision);
  if (hasFilters) {
    writeSigned(out, minModRevision);
    writeSigned(out, maxModRevision);
    writeSigned(out, minCreateRevision);
    writeSigned(out, maxCreateRevision);
  }
  writeBytes(out, request.key);
  writeBytes(out, request.rangeEnd);
}

function readRange(reader: ByteReader): RangeRequest | null {
  const flags = reader.u8();
  const sort = reader.u8();
  const sortOrder = SORT_ORDERS[sort >> 4];
  const sortTarget = SORT_TARGETS[sort & 15];
  const limit = reader.varint();
  const revision = reader.varint();
  const hasFilters = (flags & FLAG_FILTERS) !== 0;
  const minModRevision = hasFilters ? readSigned(reader) : 0;
  const maxModRevision = hasFilters ? readSigned(reader) : 0;
  const minCreateRevision = hasFilters ? readSigned(reader) : 0;
  const maxCreateRevision = hasFilters ? readSigned(reader) : 0;
  const key = reader.lengthAndBytes();
  const rangeEnd = reader.lengthAndBytes();
  if (flags > RANGE_FLAGS || sortOrder === undefined || sortTarget === undefined) return null;
  if (!isRange(key, rangeEnd)) return null;
  return {
    kind: "range",
    key,
    rangeEnd,
    limit,
    revision,
    sortOrder,
    sortTarget,
    serializable: (flags & FLAG_SERIALIZABLE) !== 0,
    keysOnly: (flags & FLAG_KEYS_ONLY) !== 0,
    countOnly: (flags & FLAG_COUNT_ONLY) !== 0,
    minModRevision,
    maxModRevision,
    minCreateRevision,
    maxCreateRevision,
  };
}

export function writeTxn(out: ByteWriter, request: TxnRequest, depth: number): void {
  if (depth > TXN_DEPTH_MAX) refuse("transactions are nested too deep");
  out.varint(request.compare.length);
  out.varint(request.success.length);
  out.varint(request.failure.length);
  for (const compare of request.compare) writeCompare(out, compare);
  for (const op of request.success) writeOp(out, op, depth);
  for (const op of request.failure) writeOp(out, op, depth);
}

export function readTxn(reader: ByteReader, depth: number): TxnRequest | null {
  if (depth > TXN_DEPTH_MAX) return null;
  const compares = reader.varint();
  const successes = reader.varint();
  const failures = reader.varint();
  // Each of them takes a byte at least, so a count that lies is seen before anything is made of it.
  if (compares + successes + failures > reader.remaining) return null;
  const compare = readList(compares, () => readCompare(reader));
  const success = compare === null ? null : readList(successes, () => readOp(reader, depth));
  const failure = success === null ? null : readList(failures, () => readOp(reader, depth));
  if (compare === null || success === null || failure === null) return null;
  return { kind: "txn", compare, success, failure };
}

function writeOp(out: ByteWriter, op: RequestOp, depth: number): void {
  switch (op.kind) {
    case "range":
      out.u8(Op.range);
      return writeRange(out, op);
    case "put":
      out.u8(Op.put);
      return writePut(out, op);
    case "deleteRange":
      out.u8(Op.deleteRange);
      return writeDeleteRange(out, op);
    case "txn":
      out.u8(Op.txn);
      return writeTxn(out, op, depth + 1);
    case "unset":
      return refuse("an operation names nothing");
    default:
      return refuse(`an operation is no ${String((op satisfies never as RequestOp).kind)}`);
  }
}

function readOp(reader: ByteReader, depth: number): RequestOp | null {
  switch (reader.u8()) {
    case Op.range:
      return readRange(reader);
    case Op.put:
      return readPut(reader);
    case Op.deleteRange:
      return readDeleteRange(reader);
    case Op.txn:
      return readTxn(reader, depth + 1);
    default:
      return null;
  }
}

function writeCompare(out: ByteWriter, compare: Compare): void {
  const { operand } = compare;
  const result = codeOf(COMPARE_RESULTS, compare.result, "compare result");
  out.u8((result << 4) | codeOf(COMPARE_TARGETS, operand.target, "compare target"));
  writeBytes(out, compare.key);
  writeBytes(out, compare.rangeEnd);
  if (operand.target === "value") writeBytes(out, operand.bytes);
  else if (operand.target === "lease") writeInt64(out, operand.lease);
  else writeSigned(out, operand.number);
}

function readCompare(reader: ByteReader): Compare | null {
  const code = reader.u8();
  const result = COMPARE_RESULTS[code >> 4];
  const target = COMPARE_TARGETS[code & 15];
  const key = reader.lengthAndBytes();
  const rangeEnd = reader.lengthAndBytes();
  if (result === undefined || target === undefined || !isRange(key, rangeEnd)) return null;
  if (target === "value")
    return { key, rangeEnd, result, operand: { target, bytes: reader.lengthAndBytes() } };
  if (target === "lease")
    return { key, rangeEnd, result, operand: { target, lease: readInt64(reader) } };
  return { key, rangeEnd, result, operand: { target, number: readSigned(reader) } };
}
