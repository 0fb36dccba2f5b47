/**
 * Bytes are the currency of the pure layers. Keys are compared as unsigned bytes, never as strings; integers on
 * disk are little endian; a 64-bit field that holds a counter is a safe integer and checked to be one.
 */
import { assert } from "./assert.ts";

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

/** Unsigned lexicographic order: negative, zero or positive. A prefix sorts before what extends it. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = a.length < b.length ? a.length : b.length;
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const part of parts) size += part.length;
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const TWO_32 = 0x1_0000_0000;

export function readU16(b: Uint8Array, at: number): number {
  return (b[at] as number) | ((b[at + 1] as number) << 8);
}

export function writeU16(b: Uint8Array, at: number, value: number): void {
  b[at] = value;
  b[at + 1] = value >>> 8;
}

export function readU32(b: Uint8Array, at: number): number {
  return (
    ((b[at] as number) |
      ((b[at + 1] as number) << 8) |
      ((b[at + 2] as number) << 16) |
      ((b[at + 3] as number) << 24)) >>>
    0
  );
}

export function writeU32(b: Uint8Array, at: number, value: number): void {
  b[at] = value;
  b[at + 1] = value >>> 8;
  b[at + 2] = value >>> 16;
  b[at + 3] = value >>> 24;
}

/** Reads a 64-bit little-endian counter. NaN when it is beyond 2^53: callers that read disk or wire check. */
export function readU64(b: Uint8Array, at: number): number {
  const high = readU32(b, at + 4);
  return high > 0x1f_ffff ? Number.NaN : high * TWO_32 + readU32(b, at);
}

/** Writes a safe, non-negative integer as 64 bits, little endian. */
export function writeU64(b: Uint8Array, at: number, value: number): void {
  assert(
    Number.isSafeInteger(value) && value >= 0,
    "a 64-bit field takes a safe non-negative integer",
  );
  writeU32(b, at, value % TWO_32);
  writeU32(b, at + 4, Math.floor(value / TWO_32));
}

/** Big-endian forms, for numbers inside keys whose byte order must be their numeric order. */
export function writeU64BigEndian(b: Uint8Array, at: number, value: number): void {
  assert(
    Number.isSafeInteger(value) && value >= 0,
    "a 64-bit field takes a safe non-negative integer",
  );
  const high = Math.floor(value / TWO_32);
  const low = value % TWO_32;
  b[at] = high >>> 24;
  b[at + 1] = high >>> 16;
  b[at + 2] = high >>> 8;
  b[at + 3] = high;
  b[at + 4] = low >>> 24;
  b[at + 5] = low >>> 16;
  b[at + 6] = low >>> 8;
  b[at + 7] = low;
}

export function readU64BigEndian(b: Uint8Array, at: number): number {
  const high =
    (((b[at] as number) << 24) |
      ((b[at + 1] as number) << 16) |
      ((b[at + 2] as number) << 8) |
      (b[at + 3] as number)) >>>
    0;
  const low =
    (((b[at + 4] as number) << 24) |
      ((b[at + 5] as number) << 16) |
      ((b[at + 6] as number) << 8) |
      (b[at + 7] as number)) >>>
    0;
  return high > 0x1f_ffff ? Number.NaN : high * TWO_32 + low;
}

/**
 * A view of `bytes[from, to)`, as `subarray` gives it for less than half of its price: that asks for the species of the
 * array. For bytes in a buffer of their own, outside of the engine's heap; the caller vouches for the bounds.
 */
export function viewOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8 bytes of a string. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** A string for people: bytes that are not UTF-8 show as U+FFFD. Never used for keys that are compared. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

const HEX = "0123456789abcdef";

export function hex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += HEX.charAt(byte >> 4) + HEX.charAt(byte & 15);
  return out;
}
