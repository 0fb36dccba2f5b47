/** Which keys a command means, in the words of the protocol. */
import { badArguments } from "./flags.ts";

export interface KeyRange {
  readonly key: Uint8Array;
  readonly range_end: Uint8Array;
}

export interface RangeFlags {
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
}

const ZERO: Uint8Array = Uint8Array.of(0);
const NONE: Uint8Array = new Uint8Array(0);

/**
 * The bytes of a word that somebody typed. Bytes that are not UTF-8 arrive here as U+FFFD, and several keys would become
 * one in silence: so a word with that character is refused, whichever way it came by it.
 */
export function bytesOf(text: string): Uint8Array {
  if (text.includes("\ufffd")) {
    throw badArguments(
      `${JSON.stringify(text)} is not UTF-8, or holds U+FFFD, which cannot be told from that`,
      "keys and values of any bytes can be put with `load` (keyBase64, valueBase64); a value also on standard input",
    );
  }
  return Buffer.from(text, "utf8");
}

/** The end of the keys that begin with `prefix`: the first key behind all of them; a single 0 when there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const byte = prefix[i] as number;
    if (byte === 0xff) continue;
    // Not slice: that of a Buffer is a view, and the key would change with its end.
    const end = Uint8Array.from(prefix.subarray(0, i + 1));
    end[i] = byte + 1;
    return end;
  }
  return ZERO;
}

/** Key and end of the command line. An empty key stands for the first of all keys where a range was asked for. */
export function rangeOf(key: string, end: string | undefined, flags: RangeFlags): KeyRange {
  const { prefix = false, fromKey = false } = flags;
  if (prefix && fromKey) throw badArguments("--prefix and --from-key cannot be given together");
  if (end !== undefined && (prefix || fromKey))
    throw badArguments("an end of the range cannot stand beside --prefix or --from-key");
  const first = bytesOf(key);
  if (prefix) return prefixRange(first);
  if (fromKey) return { key: first.length === 0 ? ZERO : first, range_end: ZERO };
  return { key: first, range_end: end === undefined ? NONE : bytesOf(end) };
}

/** The keys that begin with `prefix`; the empty one means every key. */
export function prefixRange(prefix: Uint8Array): KeyRange {
  return prefix.length === 0
    ? { key: ZERO, range_end: ZERO }
    : { key: prefix, range_end: prefixEnd(prefix) };
}
