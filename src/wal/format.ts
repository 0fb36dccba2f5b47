/**
 * What all files of the log share: sectors, and a preamble whose sixteen bytes keep their meaning in every future
 * version, so that an old program can tell "newer" from "damaged".
 *
 *     0  8  magic, ASCII
 *     8  4  format version
 *    12  4  CRC32C of bytes 0 to 11
 */
import { CorruptionError, crc32c, HarmonyError, readU32, utf8, writeU32 } from "../base/index.ts";

/** What a disk writes whole or not at all. Frames begin and end on such a boundary, so that no later write touches acknowledged bytes. */
export const SECTOR_BYTES: number = 512;
export const FORMAT_VERSION: number = 1;
export const PREAMBLE_BYTES: number = 16;

export const SEGMENT_MAGIC: Uint8Array = utf8("HDBWALSG");
export const FOOTER_MAGIC: Uint8Array = utf8("HDBWALFT");
export const MANIFEST_MAGIC: Uint8Array = utf8("HDBMANIF");
export const VOTE_MAGIC: Uint8Array = utf8("HDBVOTES");

/** The next sector boundary at or after `bytes`. Arithmetic, not bits: positions in the log pass 2^32. */
export function alignUp(bytes: number): number {
  const over = bytes % SECTOR_BYTES;
  return over === 0 ? bytes : bytes + SECTOR_BYTES - over;
}

export function isAligned(bytes: number): boolean {
  return bytes % SECTOR_BYTES === 0;
}

export function writePreamble(into: Uint8Array, at: number, magic: Uint8Array): void {
  into.set(magic, at);
  writeU32(into, at + 8, FORMAT_VERSION);
  writeU32(into, at + 12, crc32c(into, at, at + 12));
}

/** True when `bytes` begin with an undamaged preamble of this magic and of our version. */
export function hasPreamble(bytes: Uint8Array, at: number, magic: Uint8Array): boolean {
  return preambleFault(bytes, at, magic) === null;
}

/** Throws NEWER_FORMAT or CORRUPT unless `bytes` begin with a preamble of this magic and of our version. */
export function checkPreamble(bytes: Uint8Array, magic: Uint8Array, file: string): void {
  const fault = preambleFault(bytes, 0, magic);
  if (fault === null) return;
  if (fault === "newer") {
    throw new HarmonyError(
      "NEWER_FORMAT",
      `${file} has format ${readU32(bytes, 8)}, this program reads ${FORMAT_VERSION}`,
    );
  }
  throw new CorruptionError({ file, offset: 0, what: fault });
}

function preambleFault(bytes: Uint8Array, at: number, magic: Uint8Array): string | null {
  if (bytes.length < at + PREAMBLE_BYTES) return "the file ends inside its first 16 bytes";
  for (let i = 0; i < magic.length; i++) {
    if (bytes[at + i] !== magic[i]) return "the file does not begin with its magic";
  }
  if (readU32(bytes, at + 12) !== crc32c(bytes, at, at + 12))
    return "the preamble does not match its checksum";
  return readU32(bytes, at + 8) === FORMAT_VERSION ? null : "newer";
}

/** True when every byte of `bytes[start, end)` is zero. */
export function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}
