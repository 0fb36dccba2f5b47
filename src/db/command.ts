/**
 * Commands as the log holds them: compact bytes that every replica decodes and applies alike.
 *
 *     u8 format (1) | u8 op code | operands
 *
 * Lengths and counts are varints, signed numbers zigzag varints, lease ids 8 bytes, flags one byte; keys and values
 * stand behind their lengths. An op code never gets another meaning. The order of operands is that of the functions
 * below, which come in pairs: `write...` and `read...`.
 *
 * What apply must not decide is decided before encoding: the id of a new lease and the least TTL that the node grants.
 * Decoding is total: hostile bytes give `malformed`, never an exception, deep recursion or a large allocation; what it
 * accepts can be applied (keys have a legal length, every operation names something).
 *
 * Encoding refuses what does not fit. A command that cannot be decoded would stop every replica that applies it, now
 * and at every start, so what was written is decoded again before anybody proposes it.
 */
import { assert, ByteReader, ByteWriter, HarmonyError } from "../base/index.ts";
import { KEY_LENGTH_MAX, LEASE_ID_BYTES, readLeaseId, writeLeaseId } from "../mvcc/index.ts";
import type {
  Compare,
  CompareResult,
  CompactRequest,
  DeleteRangeRequest,
  LeaseKeepAliveRequest,
  LeaseRevokeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
  WriteRequest,
} from "./requests.ts";
import { TXN_DEPTH_MAX } from "./validate.ts";

const FORMAT = 1;

const RANGE_KEY_MAX: number = KEY_LENGTH_MAX + 1;

const Op = {
  put: 1,
  deleteRange: 2,
  txn: 3,
  compact: 4,
  leaseGrant: 5,
  leaseRevoke: 6,
  leaseKeepAlive: 7,
  expire: 8,
  /** Only within a transaction. */
  range: 9,
} as const;

/** A grant with everything decided. Seconds are safe integers: what is greater is too large anyway. */
export interface LeaseGrantCommand {
  readonly kind: "leaseGrant";
  readonly id: bigint;
  readonly ttlSeconds: number;
  readonly ttlSecondsMin: number;
}

/** Ends leases that are due. Proposed by the leader; apply takes them from the deadlines at that moment. */
export interface ExpireCommand {
  readonly kind: "expire";
  /** On the group's clock. */
  readonly upToClockMs: number;
  /** How many leases are looked at. */
  readonly limit: number;
}

export type Command =
  | PutRequest
  | DeleteRangeRequest
  | TxnRequest
  | CompactRequest
  | LeaseGrantCommand
  | LeaseRevokeRequest
  | LeaseKeepAliveRequest
  | ExpireCommand;

/** Bytes that are no command. */
export interface Malformed {
  readonly kind: "malformed";
  readonly what: string;
}

export interface EncodeOptions {
  /** A grant's TTL is raised to this. Needed for grants only. */
  readonly leaseTtlSecondsMin: number;
  /** No longer command is made. Undefined: as long as memory lets it be. */
  readonly lengthMax?: number;
}

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

/** Zigzag doubles a number; revisions, versions and TTLs that count are far below. */
const SIGNED_MAX: number = 2 ** 52 - 1;
const SIGNED_MAX_BIGINT = BigInt(SIGNED_MAX);

const LEASE_ID_MIN: bigint = -(2n ** 63n);
const LEASE_ID_MAX: bigint = 2n ** 63n - 1n;

/** Gets the true length of a typed array, whatever a subclass or an own property says. */
const LENGTH: PropertyDescriptor | undefined = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  "length",
);

const writer = new ByteWriter(4096);
const leaseId = new Uint8Array(LEASE_ID_BYTES);
/** Of the command that is being written: bytes that would pass it are refused before they are copied. */
let lengthMax: number = Number.POSITIVE_INFINITY;

/**
 * The bytes of a request that `validateWrite` accepts. Throws INVALID_ARGUMENT for a request that no command can hold
 * and TOO_LARGE for one that is longer than `lengthMax`.
 */
export function encodeCommand(request: WriteRequest, options?: EncodeOptions): Uint8Array {
  lengthMax = options?.lengthMax ?? Number.POSITIVE_INFINITY;
  writer.reset();
  writer.u8(FORMAT);
  switch (request.kind) {
    case "put":
      writer.u8(Op.put);
      writePut(writer, request);
      break;
    case "deleteRange":
      writer.u8(Op.deleteRange);
      writeDeleteRange(writer, request);
      break;
    case "txn":
      writer.u8(Op.txn);
      writeTxn(writer, request, 1);
      break;
    case "compact":
      writer.u8(Op.compact);
      writer.u8(request.physical ? 1 : 0);
      writeSigned(writer, request.revision);
      break;
    case "leaseGrant":
      assert(request.id !== 0n, "the id of a lease is chosen before its grant is proposed");
      assert(options !== undefined, "a grant says the least TTL that its node grants");
      writer.u8(Op.leaseGrant);
      writeLease(writer, request.id);
      writeSigned(writer, signedNumber(request.ttlSeconds));
      writer.varint(options.leaseTtlSecondsMin);
      break;
    case "leaseRevoke":
    case "leaseKeepAlive":
      writer.u8(Op[request.kind]);
      writeLease(writer, request.id);
      break;
    default:
      refuse(`a command is no ${String((request satisfies never as WriteRequest).kind)}`);
  }
  if (writer.length > lengthMax) throw new HarmonyError("TOO_LARGE");
  const bytes = writer.copy();
  const decoded = decodeCommand(bytes);
  if (decoded.kind === "malformed") refuse(`no command holds it: ${decoded.what}`);
  return bytes;
}

function refuse(what: string): never {
  throw new HarmonyError("INVALID_ARGUMENT", what);
}

export function encodeExpire(command: Omit<ExpireCommand, "kind">): Uint8Array {
  writer.reset();
  writer.u8(FORMAT);
  writer.u8(Op.expire);
  writer.varint(command.upToClockMs);
  writer.varint(command.limit);
  return writer.copy();
}

/** The command in `bytes`. Keys and values are views of them. */
export function decodeCommand(bytes: Uint8Array): Command | Malformed {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (reader.failed || format !== FORMAT) return malformed("its format is unknown");
  const command = readCommand(reader);
  if (command === null) return malformed("its operands are not those of its op code");
  return reader.isAtEnd
    ? command
    : malformed(reader.failed ? "it is cut short" : "something follows it");
}

function malformed(what: string): Malformed {
  return { kind: "malformed", what };
}

function readCommand(reader: ByteReader): Command | null {
  switch (reader.u8()) {
    case Op.put:
      return readPut(reader);
    case Op.deleteRange:
      return readDeleteRange(reader);
    case Op.txn:
      return readTxn(reader, 1);
    case Op.compact: {
      const flags = reader.u8();
      return flags > 1
        ? null
        : { kind: "compact", physical: flags === 1, revision: readSigned(reader) };
    }
    case Op.leaseGrant: {
      const id = readLease(reader);
      const ttlSeconds = readSigned(reader);
      return id === 0n
        ? null
        : { kind: "leaseGrant", id, ttlSeconds, ttlSecondsMin: reader.varint() };
    }
    case Op.leaseRevoke:
      return { kind: "leaseRevoke", id: readLease(reader) };
    case Op.leaseKeepAlive:
      return { kind: "leaseKeepAlive", id: readLease(reader) };
    case Op.expire:
      return { kind: "expire", upToClockMs: reader.varint(), limit: reader.varint() };
    default:
      return null;
  }
}

function writePut(out: ByteWriter, request: PutRequest): void {
  const hasLease = request.lease !== 0n;
  out.u8(
    (request.prevKv ? FLAG_PREV_KV : 0) |
      (request.ignoreValue ? FLAG_IGNORE_VALUE : 0) |
      (request.ignoreLease ? FLAG_IGNORE_LEASE : 0) |
      (hasLease ? FLAG_LEASE : 0),
  );
  if (hasLease) writeLease(out, request.lease);
  writeBytes(out, request.key);
  writeBytes(out, request.value);
}

function readPut(reader: ByteReader): PutRequest | null {
  const flags = reader.u8();
  const lease = (flags & FLAG_LEASE) === 0 ? 0n : readLease(reader);
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

function writeDeleteRange(out: ByteWriter, request: DeleteRangeRequest): void {
  out.u8(request.prevKv ? FLAG_PREV_KV : 0);
  writeBytes(out, request.key);
  writeBytes(out, request.rangeEnd);
}

function readDeleteRange(reader: ByteReader): DeleteRangeRequest | null {
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

function writeTxn(out: ByteWriter, request: TxnRequest, depth: number): void {
  if (depth > TXN_DEPTH_MAX) refuse("transactions are nested too deep");
  out.varint(request.compare.length);
  out.varint(request.success.length);
  out.varint(request.failure.length);
  for (const compare of request.compare) writeCompare(out, compare);
  for (const op of request.success) writeOp(out, op, depth);
  for (const op of request.failure) writeOp(out, op, depth);
}

function readTxn(reader: ByteReader, depth: number): TxnRequest | null {
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

function readList<T>(count: number, read: () => T | null): readonly T[] | null {
  const items: T[] = [];
  for (let i = 0; i < count; i++) {
    const item = read();
    if (item === null) return null;
    items.push(item);
  }
  return items;
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
  else if (operand.target === "lease") writeLease(out, operand.lease);
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
    return { key, rangeEnd, result, operand: { target, lease: readLease(reader) } };
  return { key, rangeEnd, result, operand: { target, number: readSigned(reader) } };
}

/** Where `value` stands in `known`: what is not there has no code. */
function codeOf<T extends string>(known: readonly T[], value: T, what: string): number {
  const code = known.indexOf(value);
  return code >= 0 ? code : refuse(`${what} ${String(value)} is unknown`);
}

/** The length as a varint, then the bytes. */
function writeBytes(out: ByteWriter, value: Uint8Array): void {
  if (!(value instanceof Uint8Array)) refuse("keys and values are bytes");
  const length = LENGTH?.get?.call(value) as number;
  if (value.length !== length) refuse("bytes say another length than they have");
  if (length > lengthMax - out.length) throw new HarmonyError("TOO_LARGE");
  out.varint(length);
  try {
    out.bytes(value);
  } catch (cause) {
    throw new HarmonyError("INVALID_ARGUMENT", "memory of bytes was given away", { cause });
  }
}

function writeLease(out: ByteWriter, id: bigint): void {
  // Sixty-four bits would be cut from a greater id without a word, and another lease would be meant.
  if (typeof id !== "bigint" || id < LEASE_ID_MIN || id > LEASE_ID_MAX)
    refuse("a lease id is an integer of 64 bits");
  writeLeaseId(leaseId, id);
  out.bytes(leaseId);
}

function readLease(reader: ByteReader): bigint {
  const bytes = reader.bytes(LEASE_ID_BYTES);
  return reader.failed ? 0n : readLeaseId(bytes);
}

/** Limits and revisions to read: what is not positive means none, and what no store can reach may be cut. */
function writeUnsigned(out: ByteWriter, value: number): void {
  if (!Number.isInteger(value)) refuse("limits and revisions are whole numbers");
  out.varint(value > 0 ? Math.min(value, SIGNED_MAX) : 0);
}

function writeSigned(out: ByteWriter, value: number): void {
  if (!Number.isInteger(value)) refuse("revisions, versions and TTLs are whole numbers");
  const cut = Math.max(-SIGNED_MAX, Math.min(value, SIGNED_MAX));
  out.varint(cut < 0 ? -2 * cut - 1 : 2 * cut);
}

function readSigned(reader: ByteReader): number {
  const value = reader.varint();
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

function signedNumber(value: bigint): number {
  if (value > SIGNED_MAX_BIGINT) return SIGNED_MAX;
  return value < -SIGNED_MAX_BIGINT ? -SIGNED_MAX : Number(value);
}

function isKey(key: Uint8Array): boolean {
  return key.length > 0 && key.length <= KEY_LENGTH_MAX;
}

/** Both ends of a range may be the longest key and one byte: the first key after it. */
function isRange(key: Uint8Array, rangeEnd: Uint8Array): boolean {
  if (rangeEnd.length === 0) return isKey(key);
  return key.length > 0 && key.length <= RANGE_KEY_MAX && rangeEnd.length <= RANGE_KEY_MAX;
}
