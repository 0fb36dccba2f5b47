/**
 * Outcomes as bytes: as a session keeps them (mvcc/sessions.ts), to answer a request that is sent again, and as a member
 * sends them to a program elsewhere (wire.ts).
 *
 *     u8 format (1) | u8 kind | the fields of that kind, in the order of the table below
 *
 * A kind's number and the order of its fields never change; a kind that gets another shape gets another number. What is
 * longer than RESULT_BYTES_MAX a session keeps as "done": that it happened, and in which revision.
 */
import { assert, ByteReader, ByteWriter, type ErrorCode, text, utf8 } from "../base/index.ts";
import { readInt64, writeInt64 } from "./command-fields.ts";
import type { KeyValue, Outcome, ResponseOp } from "./requests.ts";

export const RESULT_BYTES_MAX = 1024;

const FORMAT = 1;

type FieldType = "number" | "boolean" | "bytes" | "int64" | "text" | "kv" | "kvs" | "outcomes";

interface Shape {
  readonly number: number;
  readonly fields: readonly (readonly [name: string, type: FieldType])[];
}

const SHAPES: Readonly<Record<Outcome["kind"], Shape>> = {
  error: {
    number: 1,
    fields: [
      ["code", "text"],
      ["detail", "text"],
    ],
  },
  put: { number: 2, fields: [["prevKv", "kv"]] },
  deleteRange: {
    number: 3,
    fields: [
      ["deleted", "number"],
      ["prevKvs", "kvs"],
    ],
  },
  range: {
    number: 4,
    fields: [
      ["kvs", "kvs"],
      ["more", "boolean"],
      ["count", "number"],
    ],
  },
  txn: {
    number: 5,
    fields: [
      ["succeeded", "boolean"],
      ["responses", "outcomes"],
    ],
  },
  compact: { number: 6, fields: [] },
  leaseGrant: {
    number: 7,
    fields: [
      ["id", "int64"],
      ["ttlSeconds", "int64"],
    ],
  },
  leaseRevoke: { number: 8, fields: [] },
  leaseKeepAlive: { number: 9, fields: [["ttlSeconds", "int64"]] },
  set: {
    number: 10,
    fields: [
      ["succeeded", "boolean"],
      ["prevKv", "kv"],
    ],
  },
  incr: {
    number: 11,
    fields: [
      ["value", "int64"],
      ["deadlineMs", "number"],
    ],
  },
  append: { number: 12, fields: [["length", "number"]] },
  setRange: { number: 13, fields: [["length", "number"]] },
  mset: { number: 14, fields: [["succeeded", "boolean"]] },
  mdel: { number: 15, fields: [["deleted", "number"]] },
  expireKey: {
    number: 16,
    fields: [
      ["succeeded", "boolean"],
      ["prevKv", "kv"],
    ],
  },
  lock: {
    number: 17,
    fields: [
      ["acquired", "boolean"],
      ["fence", "number"],
      ["token", "bytes"],
      ["deadlineMs", "number"],
      ["leftMs", "number"],
    ],
  },
  unlock: { number: 18, fields: [["released", "boolean"]] },
  extendLock: {
    number: 19,
    fields: [
      ["extended", "boolean"],
      ["fence", "number"],
      ["deadlineMs", "number"],
    ],
  },
  sessionOpen: { number: 20, fields: [["session", "number"]] },
  sessionClose: { number: 21, fields: [["closed", "boolean"]] },
  configure: {
    number: 22,
    fields: [
      ["retentionMs", "number"],
      ["retentionRevisions", "number"],
      ["quotaBytes", "number"],
    ],
  },
  done: { number: 23, fields: [] },
  members: { number: 24, fields: [] },
};

const KIND_OF_NUMBER: ReadonlyMap<number, Outcome["kind"]> = new Map(
  Object.entries(SHAPES).map(([kind, { number }]) => [number, kind as Outcome["kind"]]),
);
assert(KIND_OF_NUMBER.size === Object.keys(SHAPES).length, "each kind has a number of its own");

const writer = new ByteWriter(RESULT_BYTES_MAX);

/** The outcome, or that it is done where it is longer than RESULT_BYTES_MAX. A view, good until the next call. */
export function encodeOutcome(outcome: Outcome): Uint8Array {
  writer.reset();
  writer.u8(FORMAT);
  write(writer, outcome, RESULT_BYTES_MAX);
  if (writer.length <= RESULT_BYTES_MAX) return writer.view();
  writer.reset();
  writer.u8(FORMAT);
  write(writer, { kind: "done", revision: outcome.revision }, RESULT_BYTES_MAX);
  return writer.view();
}

/** The outcome, however long it is. */
export function encodeWholeOutcome(outcome: Outcome): Uint8Array {
  const out = new ByteWriter();
  out.u8(FORMAT);
  write(out, outcome, Number.POSITIVE_INFINITY);
  return out.view();
}

/** An outcome that was encoded; it holds no view of the bytes. */
export function decodeOutcome(bytes: Uint8Array): Outcome {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  assert(format === FORMAT, "a result of a known format");
  const outcome = read(reader);
  assert(reader.isAtEnd, "a result is complete");
  return outcome;
}

function write(out: ByteWriter, outcome: Outcome, lengthMax: number): void {
  const { number, fields } = SHAPES[outcome.kind];
  out.u8(number);
  out.varint(outcome.revision);
  const values = outcome as unknown as Readonly<Record<string, unknown>>;
  for (const [name, type] of fields) {
    // What is too long is not kept, so the rest of it is not written.
    if (out.length > lengthMax) return;
    writeField(out, type, values[name], lengthMax);
  }
}

function read(reader: ByteReader): Outcome {
  const kind = KIND_OF_NUMBER.get(reader.u8());
  assert(kind !== undefined, "a result of a known kind");
  const values: Record<string, unknown> = { kind, revision: reader.varint() };
  for (const [name, type] of SHAPES[kind].fields) values[name] = readField(reader, type);
  return values as unknown as Outcome;
}

function writeField(out: ByteWriter, type: FieldType, value: unknown, lengthMax: number): void {
  switch (type) {
    case "number":
      // Null, where a field may be it, is told from 0.
      return out.varint(value === null ? 0 : (value as number) + 1);
    case "boolean":
      return out.u8(value === true ? 1 : 0);
    case "bytes":
      return out.lengthAndBytes(value as Uint8Array);
    case "int64":
      return writeInt64(out, value as bigint);
    case "text":
      return out.lengthAndBytes(utf8((value as string | null) ?? ""));
    case "kv":
      return writeList(out, value === null ? [] : [value as KeyValue], lengthMax, writeKeyValue);
    case "kvs":
      return writeList(out, value as readonly KeyValue[], lengthMax, writeKeyValue);
    case "outcomes":
      return writeList(out, value as readonly ResponseOp[], lengthMax, write);
  }
}

function readField(reader: ByteReader, type: FieldType): unknown {
  switch (type) {
    case "number": {
      const value = reader.varint();
      return value === 0 ? null : value - 1;
    }
    case "boolean":
      return reader.u8() === 1;
    case "bytes":
      return reader.lengthAndBytes().slice();
    case "int64":
      return readInt64(reader);
    case "text": {
      const value = text(reader.lengthAndBytes());
      return value === "" ? null : (value as ErrorCode);
    }
    case "kv":
      return readMany(reader, readKeyValue)[0] ?? null;
    case "kvs":
      return readMany(reader, readKeyValue);
    case "outcomes":
      return readMany(reader, read);
  }
}

function writeList<T>(
  out: ByteWriter,
  items: readonly T[],
  lengthMax: number,
  writeItem: (out: ByteWriter, item: T, lengthMax: number) => void,
): void {
  out.varint(items.length);
  for (const item of items) {
    if (out.length > lengthMax) return;
    writeItem(out, item, lengthMax);
  }
}

function readMany<T>(reader: ByteReader, readItem: (reader: ByteReader) => T): T[] {
  const items: T[] = [];
  for (let left = reader.varint(); left > 0 && !reader.failed; left--) items.push(readItem(reader));
  return items;
}

function writeKeyValue(out: ByteWriter, kv: KeyValue): void {
  out.u8(kv.isLock === true ? 1 : 0);
  out.lengthAndBytes(kv.key);
  out.lengthAndBytes(kv.value);
  out.varint(kv.createRevision);
  out.varint(kv.modRevision);
  out.varint(kv.version);
  writeInt64(out, kv.lease);
  out.varint(kv.deadlineMs ?? 0);
}

function readKeyValue(reader: ByteReader): KeyValue {
  const isLock = reader.u8() === 1;
  const key = reader.lengthAndBytes().slice();
  const value = reader.lengthAndBytes().slice();
  const createRevision = reader.varint();
  const modRevision = reader.varint();
  const version = reader.varint();
  const lease = readInt64(reader);
  const deadlineMs = reader.varint();
  const plain: KeyValue = { key, value, createRevision, modRevision, version, lease };
  if (deadlineMs === 0) return plain;
  return isLock ? { ...plain, deadlineMs, isLock } : { ...plain, deadlineMs };
}
