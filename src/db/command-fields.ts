/**
 * The fields that commands are made of, in pairs: `write...` refuses what does not fit (INVALID_ARGUMENT, TOO_LARGE),
 * `read...` is total.
 */
import { type ByteReader, type ByteWriter, HarmonyError } from "../base/index.ts";
import { KEY_LENGTH_MAX, LEASE_ID_BYTES, readLeaseId, writeLeaseId } from "../mvcc/index.ts";

const RANGE_KEY_MAX: number = KEY_LENGTH_MAX + 1;

/** Zigzag doubles a number; revisions, versions and TTLs that count are far below. */
export const SIGNED_MAX: number = 2 ** 52 - 1;
const SIGNED_MAX_BIGINT = BigInt(SIGNED_MAX);

export const INT64_MIN: bigint = -(2n ** 63n);
export const INT64_MAX: bigint = 2n ** 63n - 1n;

/** Gets the true length of a typed array, whatever a subclass or an own property says. */
const LENGTH: PropertyDescriptor | undefined = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  "length",
);

const int64 = new Uint8Array(LEASE_ID_BYTES);
/** Of the command that is being written: bytes that would pass it are refused before they are copied. */
let lengthMax: number = Number.POSITIVE_INFINITY;

export function limitLength(max: number): void {
  lengthMax = max;
}

export function refuse(what: string): never {
  throw new HarmonyError("INVALID_ARGUMENT", what);
}

/** Where `value` stands in `known`: what is not there has no code. */
export function codeOf<T extends string>(known: readonly T[], value: T, what: string): number {
  const code = known.indexOf(value);
  return code >= 0 ? code : refuse(`${what} ${String(value)} is unknown`);
}

/** The length as a varint, then the bytes. */
export function writeBytes(out: ByteWriter, value: Uint8Array): void {
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

/** Signed 64 bits: lease ids, counters. */
export function writeInt64(out: ByteWriter, id: bigint): void {
  // Sixty-four bits would be cut from a greater number without a word, and another lease or sum would be meant.
  if (typeof id !== "bigint" || id < INT64_MIN || id > INT64_MAX)
    refuse("lease ids and counters are integers of 64 bits");
  writeLeaseId(int64, id);
  out.bytes(int64);
}

export function readInt64(reader: ByteReader): bigint {
  const bytes = reader.bytes(LEASE_ID_BYTES);
  return reader.failed ? 0n : readLeaseId(bytes);
}

/** Limits and revisions to read: what is not positive means none, and what no store can reach may be cut. */
export function writeUnsigned(out: ByteWriter, value: number): void {
  if (!Number.isInteger(value)) refuse("limits and revisions are whole numbers");
  out.varint(value > 0 ? Math.min(value, SIGNED_MAX) : 0);
}

export function writeSigned(out: ByteWriter, value: number): void {
  if (!Number.isInteger(value)) refuse("revisions, versions and TTLs are whole numbers");
  const cut = Math.max(-SIGNED_MAX, Math.min(value, SIGNED_MAX));
  out.varint(cut < 0 ? -2 * cut - 1 : 2 * cut);
}

export function readSigned(reader: ByteReader): number {
  const value = reader.varint();
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

export function signedNumber(value: bigint): number {
  if (value > SIGNED_MAX_BIGINT) return SIGNED_MAX;
  return value < -SIGNED_MAX_BIGINT ? -SIGNED_MAX : Number(value);
}

/** A whole number from `min` on that a varint holds. */
export function writeWhole(out: ByteWriter, value: number, min: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < min) refuse(`${what} is a whole number from ${min}`);
  out.varint(value);
}

/** How many items follow, or null when there cannot be so many: each takes a byte at least. */
export function readCount(reader: ByteReader): number | null {
  const count = reader.varint();
  return count > reader.remaining ? null : count;
}

export function readList<T>(count: number, read: () => T | null): readonly T[] | null {
  const items: T[] = [];
  for (let i = 0; i < count; i++) {
    const item = read();
    if (item === null) return null;
    items.push(item);
  }
  return items;
}

export function isKey(key: Uint8Array): boolean {
  return key.length > 0 && key.length <= KEY_LENGTH_MAX;
}

/** Both ends of a range may be the longest key and one byte: the first key after it. */
export function isRange(key: Uint8Array, rangeEnd: Uint8Array): boolean {
  if (rangeEnd.length === 0) return isKey(key);
  return key.length > 0 && key.length <= RANGE_KEY_MAX && rangeEnd.length <= RANGE_KEY_MAX;
}
