/** What a seed decides before its run begins: which faults there are, how often, and the constants inside the node. */
import { hash32, Random } from "../src/base/index.ts";
import type { NodeOptions } from "../src/db/index.ts";
import type { SimDiskOptions } from "../src/env/sim/index.ts";
import type { WorkloadOptions } from "./workload.ts";

export const DATA_DIRECTORY = "data";
const STREAM_OPTIONS = 11;
/** More revisions than any run makes. */
export const NEVER_COMPACTS = 1_000_000;

export interface NodeWorldOptions {
  readonly node: NodeOptions;
  readonly disk: Omit<SimDiskOptions, "seed">;
  readonly workload: WorkloadOptions;
  readonly faults: NodeFaults;
  /** How often the node is crashed or closed and opened again. */
  readonly lives: number;
  readonly clients: number;
  /** Between an answer and the next request of the same client. */
  readonly thinkMsMax: number;
}

export interface NodeFaults {
  /** The power may fail; otherwise only the process dies. */
  readonly powerLoss: boolean;
  readonly crashInRecovery: boolean;
  readonly failedWrites: boolean;
  readonly fullDisk: boolean;
  readonly slowDisk: boolean;
  readonly bitRot: boolean;
  readonly cleanClose: boolean;
  /** Somebody sets the wall clock while the node is down. */
  readonly wallClockJumps: boolean;
}

/** Of all seeds some have no fault but crashes, some exactly one kind, and some everything. */
export function drawNodeOptions(seed: number): NodeWorldOptions {
  const random = new Random(hash32(seed, STREAM_OPTIONS));
  const style = random.below(10);
  const only = random.below(6);
  const has = (number: number): boolean =>
    style === 0 ? false : style === 1 ? number === only : style === 2 ? true : random.percent(40);
  // Some databases keep no history, some compact by themselves, and some leave it to their clients.
  const history = random.below(100);
  const keepsBySize = history >= 10 && history < 35;
  return {
    node: {
      dataDir: DATA_DIRECTORY,
      walSegmentBytes: random.pick([4096, 8192, 16_384, 65_536, 1_048_576]),
      checkpoints: {
        walBytes: random.pick([2048, 16_384, 1_000_000]),
        intervalMs: random.pick([200, 1000, 300_000]),
        operations: random.pick([5, 20, 60, 100_000]),
      },
      retention: {
        retentionMs: 0,
        retentionRevisions: history < 10 ? 0 : keepsBySize ? random.between(1, 40) : NEVER_COMPACTS,
      },
      quotaBytes: 0,
      // Calls that give up while the disk is slow leave commands whose fate is open.
      requestTimeoutMs: random.pick([undefined, undefined, 100, 800]),
    },
    disk: {
      shortWritePercent: has(0) ? random.pick([2, 20]) : 0,
      journaledNames: random.percent(50),
      syncKeepsName: random.percent(50),
    },
    workload: {
      keys: random.between(4, 24),
      large: random.percent(30),
      leases: random.percent(50),
      compactions: !keepsBySize && random.percent(70),
    },
    faults: {
      powerLoss: random.percent(85),
      crashInRecovery: has(1),
      failedWrites: has(2),
      fullDisk: has(3),
      slowDisk: has(4),
      bitRot: has(5),
      cleanClose: random.percent(30),
      wallClockJumps: random.percent(30),
    },
    lives: random.between(5, 9),
    clients: random.between(1, 8),
    thinkMsMax: random.pick([0, 2, 30]),
  };
}
