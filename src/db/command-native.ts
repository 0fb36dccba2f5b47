/** Operands of HarmonyDB's own commands (native-requests.ts), each behind its op code. */
import type { ByteReader, ByteWriter } from "../base/index.ts";
import {
  codeOf,
  isKey,
  readCount,
  readInt64,
  readList,
  readSigned,
  refuse,
  SIGNED_MAX,
  writeBytes,
  writeInt64,
  writeSigned,
  writeWhole,
} from "./command-fields.ts";
import { Op } from "./command-ops.ts";
import type {
  AppendRequest,
  Condition,
  ConfigureRequest,
  ExpireKeyRequest,
  ExpireWhen,
  Expiry,
  IncrRequest,
  MSetRequest,
  NativeRequest,
  SetRangeRequest,
  SetRequest,
} from "./requests.ts";

/** Lock tokens are names, not data. */
export const TOKEN_LENGTH_MAX = 1024;

/** The longest value that appending may make: what a tree holds, less room for the rest of the record. */
export const VALUE_LENGTH_MAX: number = 64 * 1024 * 1024 - 1024;

/** How long a value may become is a node's limit, so the leader says it in the command. */
export interface AppendCommand extends AppendRequest {
  readonly valueLengthMax: number;
}

export interface SetRangeCommand extends SetRangeRequest {
  readonly valueLengthMax: number;
}

/** `atMs` of an expiry is on the group's clock. */
export type NativeCommand =
  | Exclude<NativeRequest, AppendRequest | SetRangeRequest>
  | AppendCommand
  | SetRangeCommand;

const CONDITIONS: readonly Condition["kind"][] = [
  "absent",
  "present",
  "value",
  "notValue",
  "revision",
];
const EXPIRIES: readonly Expiry["kind"][] = ["none", "keep", "after", "at"];
const MSET_CONDITIONS: readonly MSetRequest["condition"][] = ["none", "absent", "present"];
const WHENS: readonly ExpireWhen[] = ["always", "noDeadline", "hasDeadline", "later", "earlier"];

const FLAG_PREV_KV = 1;
const FLAG_LEASE = 2;
const FLAG_CONDITION = 4;
const SET_FLAGS: number = FLAG_PREV_KV | FLAG_LEASE | FLAG_CONDITION;

const FLAG_MIN = 1;
const FLAG_MAX = 2;
const FLAG_SATURATE = 4;
const FLAG_IF_NONE = 8;
const INCR_FLAGS: number = FLAG_MIN | FLAG_MAX | FLAG_SATURATE | FLAG_IF_NONE;

const FLAG_RETENTION_MS = 1;
const FLAG_RETENTION_REVISIONS = 2;
const FLAG_QUOTA = 4;
const CONFIGURE_FLAGS: number = FLAG_RETENTION_MS | FLAG_RETENTION_REVISIONS | FLAG_QUOTA;

/** Writes op code and operands. `lengthMax` also bounds the values that the command may make. */
export function writeNative(out: ByteWriter, request: NativeRequest, lengthMax: number): void {
  out.u8(Op[request.kind]);
  switch (request.kind) {
    case "set":
      return writeSet(out, request);
    case "incr":
      return writeIncr(out, request);
    case "append":
      out.varint(Math.min(lengthMax, VALUE_LENGTH_MAX));
      writeBytes(out, request.key);
      return writeBytes(out, request.value);
    case "setRange":
      out.varint(Math.min(lengthMax, VALUE_LENGTH_MAX));
      writeWhole(out, request.offset, 0, "an offset");
      writeBytes(out, request.key);
      return writeBytes(out, request.value);
    case "mset":
      return writeMSet(out, request);
    case "mdel":
      out.varint(request.keys.length);
      for (const key of request.keys) writeBytes(out, key);
      return;
    case "expireKey":
      return writeExpireKey(out, request);
    case "lock":
      writeWhole(out, request.ttlMs, 1, "the TTL of a lock");
      writeBytes(out, request.key);
      return writeBytes(out, request.token);
    case "unlock":
      writeWhole(out, request.fence, 0, "a fencing token");
      writeBytes(out, request.key);
      return writeBytes(out, request.token);
    case "extendLock":
      writeWhole(out, request.ttlMs, 1, "the TTL of a lock");
      writeWhole(out, request.fence, 0, "a fencing token");
      writeBytes(out, request.key);
      return writeBytes(out, request.token);
    case "sessionOpen":
    case "sessionClose":
      return writeWhole(out, request.session, 1, "a session");
    case "configure":
      return writeConfigure(out, request);
    default:
      request satisfies never;
  }
}

/** The command behind an op code, or null when it is none. The caller checks that all was there and nothing more. */
export function readNative(op: number, reader: ByteReader): NativeCommand | null {
  switch (op) {
    case Op.set:
      return readSet(reader);
    case Op.incr:
      return readIncr(reader);
    case Op.append: {
      const valueLengthMax = reader.varint();
      const key = reader.lengthAndBytes();
      const value = reader.lengthAndBytes();
      if (!isKey(key) || valueLengthMax > VALUE_LENGTH_MAX) return null;
      return { kind: "append", key, value, valueLengthMax };
    }
    case Op.setRange: {
      const valueLengthMax = reader.varint();
      const offset = reader.varint();
      const key = reader.lengthAndBytes();
      const value = reader.lengthAndBytes();
      if (!isKey(key) || valueLengthMax > VALUE_LENGTH_MAX) return null;
      return { kind: "setRange", key, offset, value, valueLengthMax };
    }
    case Op.mset:
      return readMSet(reader);
    case Op.mdel: {
      const count = readCount(reader);
      const keys = count === null ? null : readList(count, () => keyOrNull(reader));
      return keys === null ? null : { kind: "mdel", keys };
    }
    case Op.expireKey:
      return readExpireKey(reader);
    case Op.lock: {
      const ttlMs = reader.varint();
      const key = reader.lengthAndBytes();
      const token = reader.lengthAndBytes();
      return ttlMs >= 1 && ttlMs <= SIGNED_MAX && isKey(key) && isToken(token)
        ? { kind: "lock", key, token, ttlMs }
        : null;
    }
    case Op.unlock: {
      const fence = reader.varint();
      const key = reader.lengthAndBytes();
      const token = reader.lengthAndBytes();
      return isKey(key) && isToken(token) ? { kind: "unlock", key, token, fence } : null;
    }
    case Op.extendLock: {
      const ttlMs = reader.varint();
      const fence = reader.varint();
      const key = reader.lengthAndBytes();
      const token = reader.lengthAndBytes();
      return ttlMs >= 1 && ttlMs <= SIGNED_MAX && isKey(key) && isToken(token)
        ? { kind: "extendLock", key, token, fence, ttlMs }
        : null;
    }
    case Op.sessionOpen:
    case Op.sessionClose: {
      const session = reader.varint();
      if (session < 1) return null;
      return { kind: op === Op.sessionOpen ? "sessionOpen" : "sessionClose", session };
    }
    case Op.configure:
      return readConfigure(reader);
    default:
      return null;
  }
}

function writeSet(out: ByteWriter, request: SetRequest): void {
  const { condition, lease, prevKv } = request;
  out.u8(
    (prevKv ? FLAG_PREV_KV : 0) |
      (lease === 0n ? 0 : FLAG_LEASE) |
      (condition === null ? 0 : FLAG_CONDITION),
  );
  if (condition !== null) writeCondition(out, condition);
  if (lease !== 0n) writeInt64(out, lease);
  writeExpiry(out, request.expiry);
  writeBytes(out, request.key);
  writeBytes(out, request.value);
}

function readSet(reader: ByteReader): SetRequest | null {
  const flags = reader.u8();
  const condition = (flags & FLAG_CONDITION) === 0 ? null : readCondition(reader);
  const lease = (flags & FLAG_LEASE) === 0 ? 0n : readInt64(reader);
  const expiry = readExpiry(reader);
  const key = reader.lengthAndBytes();
  const value = reader.lengthAndBytes();
  if (flags > SET_FLAGS || condition === undefined || expiry === null || !isKey(key)) return null;
  const prevKv = (flags & FLAG_PREV_KV) !== 0;
  return { kind: "set", key, value, condition, lease, expiry, prevKv };
}

function writeIncr(out: ByteWriter, request: IncrRequest): void {
  const { min, max } = request;
  out.u8(
    (min === null ? 0 : FLAG_MIN) |
      (max === null ? 0 : FLAG_MAX) |
      (request.saturate ? FLAG_SATURATE : 0) |
      (request.expiryIfNone ? FLAG_IF_NONE : 0),
  );
  writeInt64(out, request.by);
  if (min !== null) writeInt64(out, min);
  if (max !== null) writeInt64(out, max);
  writeExpiry(out, request.expiry);
  writeBytes(out, request.key);
}

function readIncr(reader: ByteReader): IncrRequest | null {
  const flags = reader.u8();
  const by = readInt64(reader);
  const min = (flags & FLAG_MIN) === 0 ? null : readInt64(reader);
  const max = (flags & FLAG_MAX) === 0 ? null : readInt64(reader);
  const expiry = readExpiry(reader);
  const key = reader.lengthAndBytes();
  if (flags > INCR_FLAGS || expiry === null || !isKey(key)) return null;
  const saturate = (flags & FLAG_SATURATE) !== 0;
  const expiryIfNone = (flags & FLAG_IF_NONE) !== 0;
  return { kind: "incr", key, by, min, max, saturate, expiry, expiryIfNone };
}

function writeMSet(out: ByteWriter, request: MSetRequest): void {
  const { lease } = request;
  const condition = codeOf(MSET_CONDITIONS, request.condition, "condition");
  out.u8((condition << 4) | (lease === 0n ? 0 : FLAG_LEASE));
  if (lease !== 0n) writeInt64(out, lease);
  writeExpiry(out, request.expiry);
  out.varint(request.items.length);
  for (const { key, value } of request.items) {
    writeBytes(out, key);
    writeBytes(out, value);
  }
}

function readMSet(reader: ByteReader): MSetRequest | null {
  const head = reader.u8();
  const flags = head & 15;
  const condition = MSET_CONDITIONS[head >> 4];
  const lease = (flags & FLAG_LEASE) === 0 ? 0n : readInt64(reader);
  const expiry = readExpiry(reader);
  const count = readCount(reader);
  if (condition === undefined || (flags & ~FLAG_LEASE) !== 0 || expiry === null || count === null)
    return null;
  const items = readList(count, () => {
    const key = keyOrNull(reader);
    return key === null ? null : { key, value: reader.lengthAndBytes() };
  });
  return items === null ? null : { kind: "mset", items, condition, lease, expiry };
}

function writeExpireKey(out: ByteWriter, request: ExpireKeyRequest): void {
  const { condition } = request;
  out.u8((request.prevKv ? FLAG_PREV_KV : 0) | (condition === null ? 0 : FLAG_CONDITION));
  out.u8(codeOf(WHENS, request.when, "expiry condition"));
  if (condition !== null) writeCondition(out, condition);
  writeExpiry(out, request.expiry);
  writeBytes(out, request.key);
}

function readExpireKey(reader: ByteReader): ExpireKeyRequest | null {
  const flags = reader.u8();
  const when = WHENS[reader.u8()];
  const condition = (flags & FLAG_CONDITION) === 0 ? null : readCondition(reader);
  const expiry = readExpiry(reader);
  const key = reader.lengthAndBytes();
  if ((flags & ~(FLAG_PREV_KV | FLAG_CONDITION)) !== 0 || when === undefined || !isKey(key))
    return null;
  if (condition === undefined || expiry === null || expiry.kind === "keep") return null;
  const prevKv = (flags & FLAG_PREV_KV) !== 0;
  return { kind: "expireKey", key, expiry, when, condition, prevKv };
}

function writeConfigure(out: ByteWriter, request: ConfigureRequest): void {
  const { retentionMs, retentionRevisions, quotaBytes } = request;
  out.u8(
    (retentionMs === undefined ? 0 : FLAG_RETENTION_MS) |
      (retentionRevisions === undefined ? 0 : FLAG_RETENTION_REVISIONS) |
      (quotaBytes === undefined ? 0 : FLAG_QUOTA),
  );
  for (const value of [retentionMs, retentionRevisions, quotaBytes])
    if (value !== undefined) writeWhole(out, value, 0, "a setting");
}

function readConfigure(reader: ByteReader): ConfigureRequest | null {
  const flags = reader.u8();
  if (flags > CONFIGURE_FLAGS) return null;
  const request: { -readonly [Name in keyof ConfigureRequest]: ConfigureRequest[Name] } = {
    kind: "configure",
  };
  if ((flags & FLAG_RETENTION_MS) !== 0) request.retentionMs = reader.varint();
  if ((flags & FLAG_RETENTION_REVISIONS) !== 0) request.retentionRevisions = reader.varint();
  if ((flags & FLAG_QUOTA) !== 0) request.quotaBytes = reader.varint();
  // Room for one more: that is how the settings are stored.
  const isStorable = (value: number | undefined): boolean =>
    value === undefined || value <= SIGNED_MAX;
  return isStorable(request.retentionMs) &&
    isStorable(request.retentionRevisions) &&
    isStorable(request.quotaBytes)
    ? request
    : null;
}

function writeCondition(out: ByteWriter, condition: Condition): void {
  out.u8(codeOf(CONDITIONS, condition.kind, "condition"));
  if (condition.kind === "value" || condition.kind === "notValue") writeBytes(out, condition.value);
  else if (condition.kind === "revision") writeSigned(out, condition.revision);
}

/** Undefined when it is none. */
function readCondition(reader: ByteReader): Condition | undefined {
  const kind = CONDITIONS[reader.u8()];
  switch (kind) {
    case "absent":
    case "present":
      return { kind };
    case "value":
    case "notValue":
      return { kind, value: reader.lengthAndBytes() };
    case "revision":
      return { kind, revision: readSigned(reader) };
    case undefined:
    default:
      return undefined;
  }
}

function writeExpiry(out: ByteWriter, expiry: Expiry): void {
  out.u8(codeOf(EXPIRIES, expiry.kind, "expiry"));
  if (expiry.kind === "after") writeTime(out, expiry.ttlMs);
  else if (expiry.kind === "at") writeTime(out, expiry.atMs);
}

/** A time that would be cut means another one, so it is refused. */
function writeTime(out: ByteWriter, timeMs: number): void {
  if (!(Math.abs(timeMs) <= SIGNED_MAX)) refuse("times are milliseconds below 2^52");
  writeSigned(out, timeMs);
}

function readExpiry(reader: ByteReader): Expiry | null {
  const kind = EXPIRIES[reader.u8()];
  switch (kind) {
    case "none":
    case "keep":
      return { kind };
    case "after":
      return { kind, ttlMs: readSigned(reader) };
    case "at":
      return { kind, atMs: readSigned(reader) };
    case undefined:
    default:
      return null;
  }
}

function keyOrNull(reader: ByteReader): Uint8Array | null {
  const key = reader.lengthAndBytes();
  return isKey(key) ? key : null;
}

function isToken(token: Uint8Array): boolean {
  return token.length > 0 && token.length <= TOKEN_LENGTH_MAX;
}
