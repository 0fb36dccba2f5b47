/**
 * Segments are written full of zeros before frames go into them: so an append never finds the disk full, never moves
 * the end of the file, and costs one write of the device instead of two.
 */
import { type File, FileError, type Io, writeFile } from "../env/index.ts";
import type { ResolvedOptions } from "./options.ts";

/** A segment is usable when so much of it is zeros. */
const INITIAL_BYTES = 1024 * 1024;
export const ZEROS: Uint8Array = new Uint8Array(1024 * 1024);
/** The name, under `tmp/`, of the segment that is being made. */
export const NEXT_SEGMENT: string = "next.wal";

export function initialSizeBytes(options: ResolvedOptions): number {
  return Math.min(INITIAL_BYTES, options.segmentSizeBytes);
}

/** Writes zeros over [from, to). */
export function* fillZeros(file: File, from: number, to: number): Io<void> {
  for (let at = from; at < to; at += ZEROS.length) {
    yield* writeFile(file, at, ZEROS.subarray(0, Math.min(ZEROS.length, to - at)));
  }
}

/** Drives `io` on the way out of a failure: what it throws would hide the cause. */
export function* attempt(io: Io<void>): Io<void> {
  try {
    yield* io;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
  }
}
