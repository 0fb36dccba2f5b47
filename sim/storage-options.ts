/** What a seed decides for the world of the storage before its run begins. */
import { hash32, Random } from "../src/base/index.ts";
import type { StorageOptions } from "./storage.ts";

const STREAM_OPTIONS = 21;

export interface StorageWorldOptions {
  readonly storage: StorageOptions;
  readonly lives: number;
  readonly shortWritePercent: number;
  readonly journaledNames: boolean;
  readonly syncKeepsName: boolean;
  /** The power may fail; otherwise only the process dies. */
  readonly powerLoss: boolean;
  readonly crashInRecovery: boolean;
  readonly failedWrites: boolean;
  readonly fullDisk: boolean;
  readonly bitRot: boolean;
  /** Appends may replace a tail that is not committed, as a follower's do. */
  readonly overwrites: boolean;
  /** Keys and values that do not fit into a page. */
  readonly large: boolean;
  readonly keys: number;
  /** The log is read back in pieces of about this size. */
  readonly readBytes: number;
}

export function drawStorageOptions(seed: number): StorageWorldOptions {
  const random = new Random(hash32(seed, STREAM_OPTIONS));
  const groups = random.between(2, 5);
  return {
    storage: {
      segmentSizeBytes: random.pick([4096, 4096, 8192, 16_384, 65_536]),
      groups: Array.from({ length: groups }, (_, i) => i),
      cacheBytes: random.pick([0, 500, 100_000]),
    },
    lives: random.between(4, 10),
    shortWritePercent: random.percent(40) ? random.pick([3, 25]) : 0,
    journaledNames: random.percent(50),
    syncKeepsName: random.percent(50),
    powerLoss: random.percent(85),
    crashInRecovery: random.percent(40),
    failedWrites: random.percent(25),
    fullDisk: random.percent(15),
    bitRot: random.percent(60),
    overwrites: random.percent(60),
    large: random.percent(20),
    keys: random.pick([3, 20, 200]),
    readBytes: random.pick([1, 400, 1_000_000]),
  };
}
