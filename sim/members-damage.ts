/**
 * Bits that rot in the files of a member that is down. What its log does not prove yet is left alone: damage there looks
 * like a write that was cut short, which is the limit of what a log can tell (docs/reliability.md, "Limits").
 */
import type { SimEnv } from "../src/env/sim/index.ts";
import { DATA_DIRECTORY } from "./members-disk.ts";
import { proofOf } from "./storage-proof.ts";

export type DamagedFiles = "log" | "data" | "votes" | "manifest" | "log and votes";

/** Where, as plain numbers that fit any file. */
export type Rot = {
  readonly files: DamagedFiles;
  readonly file: number;
  readonly offset: number;
  /** So many places, `stride` bytes apart. */
  readonly places: number;
  readonly stride: number;
};

const PATHS: Readonly<Record<DamagedFiles, readonly RegExp[]>> = {
  log: [/\/wal\/.*\.wal$/],
  data: [/\.hdb$/],
  votes: [/\/VOTE$/],
  manifest: [/\/MANIFEST$/],
  "log and votes": [/\/wal\/.*\.wal$/, /\/VOTE$/],
};

/** How many bits changed. */
export function rot(machine: SimEnv, { files, file, offset, places, stride }: Rot): number {
  const { disk } = machine;
  let changed = 0;
  for (const pattern of PATHS[files]) {
    const paths = disk
      .paths()
      .filter((path) => path.startsWith(`${DATA_DIRECTORY}/`) && pattern.test(path))
      .filter((path) => !/\/(?:tmp|damaged)\//.test(path));
    const path = paths[file % paths.length];
    if (path === undefined) continue;
    const bytes = disk.contents(path);
    const reach = Math.min(usedOf(bytes), provenOf(machine, path));
    if (reach === 0) continue;
    const at = new Set(Array.from({ length: places }, (_, i) => (offset + i * stride) % reach));
    for (const place of at) disk.flipBit(path, place, place % 8);
    changed += at.size;
  }
  return changed;
}

/** Up to the last byte that says something. */
function usedOf(bytes: Uint8Array): number {
  let used = bytes.length;
  while (used > 0 && bytes[used - 1] === 0) used--;
  return used;
}

function provenOf(machine: SimEnv, path: string): number {
  const proof = proofOf(machine);
  if (proof === null || proof.path !== path) return Number.POSITIVE_INFINITY;
  return Math.max(0, Math.min(proof.provenLsn - proof.firstLsn, Number.MAX_SAFE_INTEGER));
}
