/**
 * What the bytes of a log prove, read from the image of a disk without the log's own code: how far the log must reach
 * whatever else is damaged. Written after docs/internals/wal.md.
 */
import { crc32c, readU32, readU64 } from "../src/base/index.ts";
import type { SimEnv } from "../src/env/sim/index.ts";
import { ROOT } from "./storage.ts";

const SECTOR_BYTES = 512;
/** "HDBF", in front of every frame. */
const FRAME_MAGIC = 0x46424448;
const SMALLEST_MANIFEST_BYTES = 96;

export interface LogProof {
  /** The last segment, and the place in the log at which it begins. */
  readonly path: string;
  readonly firstLsn: number;
  /** Everything below was durable once, or everything when the last segment does not even show its header. */
  readonly provenLsn: number;
}

/** Null: there is no log. */
export function proofOf({ disk }: SimEnv): LogProof | null {
  const paths = disk.paths().filter((name) => /\/wal\/[0-9a-f]{16}-[0-9a-f]{16}\.wal$/.test(name));
  const path = paths.toSorted().at(-1);
  if (path === undefined) return null;
  const bytes = disk.contents(path);
  const firstLsn = Number.parseInt(path.slice(-20, -4), 16);
  const seed = headerCrc(bytes);
  if (seed === null) return { path, firstLsn, provenLsn: Number.POSITIVE_INFINITY };
  let provenLsn = Math.max(readU64(bytes, 88), manifestLsn(disk));
  for (let at = 0; at + SECTOR_BYTES <= bytes.length; at += SECTOR_BYTES) {
    const isFrame =
      readU32(bytes, at) === FRAME_MAGIC &&
      readU64(bytes, at + 8) === firstLsn + at &&
      readU32(bytes, at + 92) === crc32c(bytes, at, at + 92, seed);
    if (isFrame) provenLsn = Math.max(provenLsn, readU64(bytes, at + 16));
  }
  return { path, firstLsn, provenLsn };
}

/** The checksum of a segment's header, which seeds those of its frames; null when it does not hold. */
function headerCrc(bytes: Uint8Array): number | null {
  if (bytes.length < SECTOR_BYTES || readU32(bytes, 12) !== crc32c(bytes, 0, 12)) return null;
  const size = readU32(bytes, 16);
  if (size < SECTOR_BYTES || size > bytes.length) return null;
  const crc = crc32c(bytes, 24, size, crc32c(bytes, 0, 20));
  return readU32(bytes, 20) === crc ? crc : null;
}

/** How far the manifest knows the log; 0 when it says nothing. */
function manifestLsn(disk: SimEnv["disk"]): number {
  const path = `${ROOT}/MANIFEST`;
  if (!disk.paths().includes(path)) return 0;
  const bytes = disk.contents(path);
  const size = bytes.length;
  const isWhole =
    size > SMALLEST_MANIFEST_BYTES &&
    readU32(bytes, 12) === crc32c(bytes, 0, 12) &&
    readU32(bytes, 16) === size &&
    readU32(bytes, size - 4) === crc32c(bytes, 16, size - 4);
  return isWhole ? readU64(bytes, 80) : 0;
}
