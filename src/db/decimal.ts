/**
 * Counters are decimal text, so that every door sees "5" (data-model.md). The text is strict, as Redis has it: a minus
 * at most, no zeros before other digits, nothing around the digits, within signed 64 bits.
 */
import { utf8 } from "../base/index.ts";
import { INT64_MAX, INT64_MIN } from "./command-fields.ts";

const ZERO = 0x30;
const NINE = 0x39;
const MINUS = 0x2d;
/** Of -2^63, the longest text. */
const LENGTH_MAX = 20;
/** So many digits always fit a safe integer. */
const SAFE_DIGITS = 15;

/** The number that the text says, or null when it says none. */
export function decimalOf(text: Uint8Array): bigint | null {
  const { length } = text;
  const isNegative = text[0] === MINUS;
  const from = isNegative ? 1 : 0;
  if (length === from || length > LENGTH_MAX) return null;
  if (text[from] === ZERO && length > 1) return null;
  let head = 0;
  let digits = "";
  for (let i = from; i < length; i++) {
    const byte = text[i] as number;
    if (byte < ZERO || byte > NINE) return null;
    if (length - from <= SAFE_DIGITS) head = head * 10 + (byte - ZERO);
    else digits += String.fromCharCode(byte);
  }
  const size = digits === "" ? BigInt(head) : BigInt(digits);
  const value = isNegative ? -size : size;
  return value < INT64_MIN || value > INT64_MAX ? null : value;
}

export function decimalText(value: bigint): Uint8Array {
  return utf8(String(value));
}
