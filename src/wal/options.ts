/** Sizes and times of the log, with their defaults and the bounds that make them sensible. */
import { assert } from "../base/index.ts";
import { isAligned, SECTOR_BYTES } from "./format.ts";
import type { WalOptions } from "./types.ts";

const SEGMENT_BYTES = 64 * 1024 * 1024;
const SEGMENT_BYTES_MIN = 4096;
const RESERVE_BYTES = 512 * 1024;
const CACHE_BYTES = 4 * 1024 * 1024;
const MARK_AFTER_MS = 1000;
const SPACE_RETRY_MS = 1000;
/** Whoever can bear to lose more than a second needs no log. */
const FSYNC_INTERVAL_MS_MAX = 1000;

export type ResolvedOptions = Readonly<Required<WalOptions>>;

export function resolveOptions(options: WalOptions): ResolvedOptions {
  const segmentSizeBytes = options.segmentSizeBytes ?? SEGMENT_BYTES;
  assert(
    isAligned(segmentSizeBytes) && segmentSizeBytes >= SEGMENT_BYTES_MIN,
    "a segment's size is a multiple of 512 and at least 4096 bytes",
  );
  const fsyncIntervalMs = options.fsyncIntervalMs ?? 0;
  assert(
    fsyncIntervalMs >= 0 && fsyncIntervalMs <= FSYNC_INTERVAL_MS_MAX,
    "the interval between syncs is at most a second",
  );
  const reserve = Math.min(options.reserveBytes ?? RESERVE_BYTES, segmentSizeBytes / 8);
  return {
    directory: options.directory,
    segmentSizeBytes,
    reserveBytes: reserve - (reserve % SECTOR_BYTES),
    cacheBytes: options.cacheBytes ?? CACHE_BYTES,
    markAfterMs: options.markAfterMs ?? MARK_AFTER_MS,
    spaceRetryMs: options.spaceRetryMs ?? SPACE_RETRY_MS,
    fsyncIntervalMs,
  };
}
