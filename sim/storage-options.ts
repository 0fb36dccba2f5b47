/** What a seed decides for the world of the storage before its run begins. */
import { hash32, Random } from "../src/base/index.ts";
import type { Style } from "./play.ts";
import type { StorageOptions } from "./storage.ts";

const STREAM_OPTIONS = 21;

/** Each class of faults has a switch of its own, so that a failure can be shrunk to the one that matters. */
export interface StorageFaults {
  /** The power may fail; otherwise only the process dies. */
  readonly powerLoss: boolean;
  readonly crashInRecovery: boolean;
  /** A write or sync fails with an I/O error, and the kernel drops what it had (fault-rules D9, D10). */
  readonly failedWrites: boolean;
  /** Opening, reading or renaming fails: no descriptors, no permission, a read-only mount (D13, D14). */
  readonly refusedFiles: boolean;
  readonly fullDisk: boolean;
  /** Syncs take seconds (D34). */
  readonly slowSyncs: boolean;
  /** A sync never returns, until the process ends. */
  readonly stuckSyncs: boolean;
  /** Bits flip and sectors turn to zeros in a directory that nobody has open (D4, D5, D17, D24). */
  readonly bitRot: boolean;
  /** Writes that the device lost or put elsewhere, seen by the next start (D15, D16). */
  readonly lostWrites: boolean;
  /** Files are missing, doubled, swapped, or from another directory (D6, D21, D23). */
  readonly movedFiles: boolean;
}

export interface StorageWorldOptions {
  readonly storage: StorageOptions;
  readonly lives: number;
  readonly shortWritePercent: number;
  readonly journaledNames: boolean;
  readonly syncKeepsName: boolean;
  readonly faults: StorageFaults;
  /** How many of a hundred lives meet a fault beside their crash. */
  readonly faultPercent: number;
  /** Appends may replace a tail that is not committed, as a follower's do. */
  readonly overwrites: boolean;
  /** The last of three or more groups writes next to nothing: what it once wrote must outlive its segments (D25). */
  readonly hasIdleGroup: boolean;
  /** Keys and values that do not fit into a page. */
  readonly large: boolean;
  readonly keys: number;
  /** How many of a hundred appends come with a checkpoint: few let the log grow long. */
  readonly checkpointPercent: number;
  /** So many appends may be under way before the next one comes. */
  readonly windowMax: number;
  /** The log is read back in pieces of about this size. */
  readonly readBytes: number;
}

export function drawStorageOptions(seed: number, style: Style = "default"): StorageWorldOptions {
  const random = new Random(hash32(seed, STREAM_OPTIONS));
  return style === "swarm" ? swarmOptions(random) : defaultOptions(random);
}

function defaultOptions(random: Random): StorageWorldOptions {
  return {
    storage: {
      segmentSizeBytes: random.pick([4096, 4096, 8192, 16_384, 65_536]),
      groups: groupsUpTo(random.pick([2, 2, 2, 3, 3, 5])),
      cacheBytes: random.pick([0, 500, 100_000]),
    },
    lives: random.between(8, 16),
    shortWritePercent: random.percent(40) ? random.pick([3, 25]) : 0,
    journaledNames: random.percent(50),
    syncKeepsName: random.percent(50),
    faults: {
      powerLoss: random.percent(85),
      crashInRecovery: random.percent(40),
      failedWrites: random.percent(30),
      refusedFiles: random.percent(15),
      fullDisk: random.percent(15),
      slowSyncs: random.percent(15),
      stuckSyncs: random.percent(15),
      bitRot: random.percent(50),
      lostWrites: random.percent(30),
      movedFiles: random.percent(20),
    },
    faultPercent: random.pick([20, 40]),
    overwrites: random.percent(60),
    hasIdleGroup: random.percent(50),
    large: random.percent(20),
    keys: random.pick([3, 10, 20, 60]),
    checkpointPercent: random.pick([6, 15, 20, 25]),
    windowMax: 3,
    readBytes: random.pick([1, 400, 400, 1_000_000]),
  };
}

/** Each class of faults on with 50 %, and constants over the whole range, small ones as likely as large ones. */
function swarmOptions(random: Random): StorageWorldOptions {
  const on = (): boolean => random.percent(50);
  return {
    storage: {
      segmentSizeBytes: 512 * logUniform(random, 8, 2048),
      groups: groupsUpTo(logUniform(random, 2, 12)),
      cacheBytes: on() ? logUniform(random, 1, 1 << 20) : 0,
    },
    lives: random.between(4, 12),
    shortWritePercent: on() ? logUniform(random, 1, 60) : 0,
    journaledNames: on(),
    syncKeepsName: on(),
    faults: {
      powerLoss: on(),
      crashInRecovery: on(),
      failedWrites: on(),
      refusedFiles: on(),
      fullDisk: on(),
      slowSyncs: on(),
      stuckSyncs: on(),
      bitRot: on(),
      lostWrites: on(),
      movedFiles: on(),
    },
    faultPercent: logUniform(random, 3, 100),
    overwrites: on(),
    hasIdleGroup: on(),
    large: on(),
    keys: logUniform(random, 1, 250),
    checkpointPercent: logUniform(random, 1, 60),
    windowMax: logUniform(random, 1, 16),
    readBytes: logUniform(random, 1, 1 << 20),
  };
}

const NO_FAULTS: StorageFaults = {
  powerLoss: false,
  crashInRecovery: false,
  failedWrites: false,
  refusedFiles: false,
  fullDisk: false,
  slowSyncs: false,
  stuckSyncs: false,
  bitRot: false,
  lostWrites: false,
  movedFiles: false,
};

/** Simpler ones, simplest first: the steps decide what happens, so the switches matter least. */
export function simplerStorageOptions(options: StorageWorldOptions): StorageWorldOptions[] {
  const out: StorageWorldOptions[] = [
    {
      ...options,
      shortWritePercent: 0,
      journaledNames: true,
      syncKeepsName: true,
      faults: NO_FAULTS,
    },
  ];
  if (options.shortWritePercent > 0) out.push({ ...options, shortWritePercent: 0 });
  if (!options.journaledNames) out.push({ ...options, journaledNames: true });
  if (!options.syncKeepsName) out.push({ ...options, syncKeepsName: true });
  const { storage } = options;
  if (storage.groups.length > 1)
    out.push({ ...options, storage: { ...storage, groups: storage.groups.slice(0, -1) } });
  if (storage.cacheBytes < 1 << 20)
    out.push({ ...options, storage: { ...storage, cacheBytes: 1 << 20 } });
  return out.filter((simpler) => JSON.stringify(simpler) !== JSON.stringify(options));
}

function groupsUpTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Integers only: floating-point functions are not the same on every host. */
function logUniform(random: Random, from: number, to: number): number {
  let doublings = 0;
  while (from << (doublings + 1) <= to) doublings++;
  const low = from << random.between(0, doublings);
  return random.between(low, Math.min(2 * low, to));
}
