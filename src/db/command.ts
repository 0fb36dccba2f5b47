/**
 * Commands as the log holds them: compact bytes that every replica decodes and applies alike.
 *
 *     u8 format (1) | u8 op code | operands
 *
 * Lengths and counts are varints, signed numbers zigzag varints, lease ids and counters 8 bytes, flags one byte; keys
 * and values stand behind their lengths. The order of operands is that of the functions that come in pairs, `write...`
 * and `read...`: command-etcd.ts and command-native.ts.
 *
 * What apply must not decide is decided before encoding: the ids of new leases and sessions, the least TTL that the
 * node grants, how long a value may become.
 * Decoding is total: hostile bytes give `malformed`, never an exception, deep recursion or a large allocation; what it
 * accepts can be applied (keys have a legal length, every operation names something).
 *
 * Encoding refuses what does not fit. A command that cannot be decoded would stop every replica that applies it, now
 * and at every start, so what was written is decoded again before anybody proposes it.
 */
import { assert, ByteReader, ByteWriter, crc32c, hash32, HarmonyError } from "../base/index.ts";
import { type Alarm, AlarmKind, decodeMember, encodeMember } from "../mvcc/index.ts";
import {
  readDeleteRange,
  readPut,
  readTxn,
  writeDeleteRange,
  writePut,
  writeTxn,
} from "./command-etcd.ts";
import {
  INT64_MIN,
  limitLength,
  readInt64,
  readSigned,
  refuse,
  signedNumber,
  writeInt64,
  writeSigned,
} from "./command-fields.ts";
import { type NativeCommand, readNative, writeNative } from "./command-native.ts";
import { Op } from "./command-ops.ts";
import type { MemberNews } from "./member-changes.ts";
import type {
  AnyWriteRequest,
  CompactRequest,
  DeleteRangeRequest,
  LeaseKeepAliveRequest,
  LeaseRevokeRequest,
  PutRequest,
  RequestId,
  TxnRequest,
} from "./requests.ts";

const FORMAT = 1;

/** A grant with everything decided. Seconds are safe integers: what is greater is too large anyway. */
export interface LeaseGrantCommand {
  readonly kind: "leaseGrant";
  readonly id: bigint;
  readonly ttlSeconds: number;
  readonly ttlSecondsMin: number;
}

/** Ends what is due. Proposed by the leader; apply takes it from the deadlines at that moment. */
export interface ExpireCommand {
  readonly kind: "expire";
  /** On the group's clock. */
  readonly upToClockMs: number;
  /** How many deadlines are looked at. */
  readonly limit: number;
}

/** What a request id may stand before: everything that a client asks for but sessions themselves. */
export type SimpleCommand =
  | PutRequest
  | DeleteRangeRequest
  | TxnRequest
  | CompactRequest
  | LeaseGrantCommand
  | LeaseRevokeRequest
  | LeaseKeepAliveRequest
  | NativeCommand;

/** A command that happens once for its request id. */
export interface OnceCommand extends RequestId {
  readonly kind: "once";
  /** Tells another request with the same id from the same one sent again. */
  readonly fingerprint: number;
  readonly command: SimpleCommand;
}

/** Goes on with a revision that was never given, after some may have been lost (durability.ts). */
export interface RaiseRevisionCommand {
  readonly kind: "raiseRevision";
  readonly revision: number;
}

/** What a member says of itself after its start (member-changes.ts). */
export interface MemberNewsCommand extends MemberNews {
  readonly kind: "memberNews";
}

/** Raises an alarm, or clears it. */
export interface AlarmCommand {
  readonly kind: "alarm";
  readonly alarm: Alarm;
  readonly isRaised: boolean;
}

export type Command =
  | SimpleCommand
  | ExpireCommand
  | OnceCommand
  | RaiseRevisionCommand
  | MemberNewsCommand
  | AlarmCommand;

/** Bytes that are no command. */
export interface Malformed {
  readonly kind: "malformed";
  readonly what: string;
}

export interface EncodeOptions {
  /** A grant's TTL is raised to this. Needed for grants only. */
  readonly leaseTtlSecondsMin: number;
  /** No longer command is made, and no longer value by appending. Undefined: as long as a tree lets it be. */
  readonly lengthMax?: number;
}

const writer = new ByteWriter(4096);

/**
 * The bytes of a request that `validateWrite` accepts. Throws INVALID_ARGUMENT for a request that no command can hold
 * and TOO_LARGE for one that is longer than `lengthMax`.
 */
export function encodeCommand(request: AnyWriteRequest, options?: EncodeOptions): Uint8Array {
  const lengthMax = options?.lengthMax ?? Number.POSITIVE_INFINITY;
  limitLength(lengthMax);
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
      writeInt64(writer, request.id);
      writeSigned(writer, signedNumber(request.ttlSeconds));
      writer.varint(options.leaseTtlSecondsMin);
      break;
    case "leaseRevoke":
    case "leaseKeepAlive":
      writer.u8(Op[request.kind]);
      writeInt64(writer, request.id);
      break;
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
      writeNative(writer, request, lengthMax);
      break;
    default:
      refuse(`a command is no ${String((request satisfies never as AnyWriteRequest).kind)}`);
  }
  if (writer.length > lengthMax) throw new HarmonyError("TOO_LARGE");
  return decodable(writer.copy());
}

function decodable(bytes: Uint8Array): Uint8Array {
  const decoded = decodeCommand(bytes);
  if (decoded.kind === "malformed") refuse(`no command holds it: ${decoded.what}`);
  return bytes;
}

export function encodeExpire(command: Omit<ExpireCommand, "kind">): Uint8Array {
  writer.reset();
  writer.u8(FORMAT);
  writer.u8(Op.expire);
  writer.varint(command.upToClockMs);
  writer.varint(command.limit);
  return writer.copy();
}

export function encodeRaiseRevision(revision: number): Uint8Array {
  writer.reset();
  writer.u8(FORMAT);
  writer.u8(Op.raiseRevision);
  writer.varint(revision);
  return writer.copy();
}

export function encodeMemberNews({ id, ...news }: MemberNews): Uint8Array {
  writer.reset();
  writer.u8(FORMAT);
  writer.u8(Op.memberNews);
  writer.varint(id);
  writer.lengthAndBytes(encodeMember({ id, ...news, isLearner: false }));
  return decodable(writer.copy());
}

export function encodeAlarm(alarm: Alarm, isRaised: boolean): Uint8Array {
  writer.reset();
  writer.u8(FORMAT);
  writer.u8(Op.alarm);
  writer.u8(isRaised ? 1 : 0);
  writer.u8(alarm.kind);
  writeInt64(writer, BigInt.asIntN(64, alarm.memberId));
  return decodable(writer.copy());
}

/** Puts a request id before an encoded command. Throws INVALID_ARGUMENT for an id that is none. */
export function encodeOnce(id: RequestId, fingerprint: number, command: Uint8Array): Uint8Array {
  if (!isRequestId(id)) refuse("a request id is made of two whole numbers from 1");
  writer.reset();
  writer.u8(FORMAT);
  writer.u8(Op.once);
  writer.varint(id.session);
  writer.varint(id.number);
  writer.varint(fingerprint);
  writer.bytes(command.subarray(1));
  return decodable(writer.copy());
}

function isRequestId({ session, number }: RequestId): boolean {
  return (
    Number.isSafeInteger(session) && session >= 1 && Number.isSafeInteger(number) && number >= 1
  );
}

/**
 * What tells a request from another one with the same id. It is made of what the caller said and of nothing that a node
 * chose, so that the same request is the same on every node and at any time.
 */
export function fingerprintOf(request: AnyWriteRequest): number {
  const said =
    request.kind === "leaseGrant" && request.id === 0n ? { ...request, id: INT64_MIN } : request;
  const bytes = encodeCommand(said, { leaseTtlSecondsMin: 0 });
  return hash32(crc32c(bytes), bytes.length);
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
  const op = reader.u8();
  if (op === Op.expire)
    return { kind: "expire", upToClockMs: reader.varint(), limit: reader.varint() };
  if (op === Op.raiseRevision) return { kind: "raiseRevision", revision: reader.varint() };
  if (op === Op.memberNews) return readMemberNews(reader);
  if (op === Op.alarm) return readAlarm(reader);
  if (op !== Op.once) return readSimple(op, reader);
  const id = { session: reader.varint(), number: reader.varint() };
  const fingerprint = reader.varint();
  const command = readSimple(reader.u8(), reader);
  if (command === null || !isRequestId(id) || fingerprint > 0xffff_ffff) return null;
  // The result is kept in the session, which must be there before the command and after it.
  if (command.kind === "sessionOpen" || command.kind === "sessionClose") return null;
  return { kind: "once", ...id, fingerprint, command };
}

function readMemberNews(reader: ByteReader): MemberNewsCommand | null {
  const member = decodeMember(reader.varint(), reader.lengthAndBytes());
  if (member === null || member.id === 0) return null;
  const { id, name, peerUrls, clientUrls } = member;
  return { kind: "memberNews", id, name, peerUrls, clientUrls };
}

function readAlarm(reader: ByteReader): AlarmCommand | null {
  const flags = reader.u8();
  const kind = reader.u8();
  const memberId = BigInt.asUintN(64, readInt64(reader));
  if (flags > 1 || (kind !== AlarmKind.noSpace && kind !== AlarmKind.corrupt)) return null;
  return { kind: "alarm", isRaised: flags === 1, alarm: { kind, memberId } };
}

function readSimple(op: number, reader: ByteReader): SimpleCommand | null {
  switch (op) {
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
      const id = readInt64(reader);
      const ttlSeconds = readSigned(reader);
      return id === 0n
        ? null
        : { kind: "leaseGrant", id, ttlSeconds, ttlSecondsMin: reader.varint() };
    }
    case Op.leaseRevoke:
      return { kind: "leaseRevoke", id: readInt64(reader) };
    case Op.leaseKeepAlive:
      return { kind: "leaseKeepAlive", id: readInt64(reader) };
    default:
      return readNative(op, reader);
  }
}
