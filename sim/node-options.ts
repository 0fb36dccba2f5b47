/** What a seed decides before its run begins: which faults there are, how often, and the constants inside the node. */
import { hash32, Random } from "../src/base/index.ts";
import type { NodeOptions } from "../src/db/index.ts";
import type { SimDiskOptions } from "../src/env/sim/index.ts";
import type { Style } from "./play.ts";
import type { WorkloadOptions } from "./workload.ts";

export const DATA_DIRECTORY = "data";
const STREAM_OPTIONS = 11;
/** More revisions than any run makes. */
export const NEVER_COMPACTS = 1_000_000_000;

export interface NodeWorldOptions {
  readonly node: NodeOptions;
  readonly disk: Omit<SimDiskOptions, "seed">;
  readonly workload: WorkloadOptions;
  readonly faults: NodeFaults;
  /** How often the node is crashed or closed and opened again. */
  readonly lives: number;
  readonly clients: number;
  /** Between an answer and the next request. */
  readonly thinkMsMax: number;
  /** The wall clock runs faster than the monotonic one by so much, in parts of a million. */
  readonly driftPpm: number;
  /** Clients that send a request again until they know what became of it. */
  readonly sessions?: boolean;
  /** Clients that hear of what changes, at most so many at a time. */
  readonly watchers?: number;
  /** Quota and retention change while the node runs. */
  readonly settings?: boolean;
}

export interface NodeFaults {
  /** The power may fail; otherwise only the process dies. */
  readonly powerLoss: boolean;
  readonly crashInRecovery: boolean;
  readonly failedWrites: boolean;
  readonly fullDisk: boolean;
  readonly slowDisk: boolean;
  /** Operations that never come back while the machine is up. */
  readonly stuckDisk: boolean;
  readonly bitRot: boolean;
  readonly cleanClose: boolean;
  /** Somebody sets the wall clock, by a second or by a year, while the node is down and while it runs. */
  readonly wallClockJumps: boolean;
  /** The process does not run for up to a minute. */
  readonly pauses: boolean;
  /** Some calls give up before the disk can answer. */
  readonly impatience: boolean;
}

const SIMPLE_FAULTS: readonly (keyof NodeFaults)[] = [
  "bitRot",
  "pauses",
  "impatience",
  "crashInRecovery",
  "stuckDisk",
  "slowDisk",
  "fullDisk",
  "failedWrites",
  "cleanClose",
];

/** Of all seeds some have no fault but crashes, some exactly one kind, and some everything. */
export function drawNodeOptions(seed: number, style: Style): NodeWorldOptions {
  const random = new Random(hash32(seed, STREAM_OPTIONS));
  const isSwarm = style === "swarm";
  const mix = random.below(10);
  const only = random.below(9);
  const has = (number: number): boolean =>
    mix === 0
      ? false
      : mix === 1
        ? number === only
        : mix === 2
          ? true
          : random.percent(isSwarm ? 50 : 35);
  // Some databases keep no history, some compact by themselves, and some leave it to their clients.
  const history = random.below(100);
  const keepsBySize = history >= 10 && history < 35;
  const small = isSwarm ? [4096, 4096, 8192] : [4096, 8192, 16_384, 65_536];
  // Acknowledged before the sync: a power loss may take back what it may, and nothing else may be in doubt.
  const isInterval = random.percent(12);
  const sure = <T>(value: T, calm: T): T => (isInterval ? calm : value);
  // What ends by itself is followed by who watches everything. A database that compacts by itself may take away what
  // changed last before a crash, and nobody could name the ends in it.
  const deadlines = !isInterval && history >= 35 && random.percent(60);
  return {
    node: {
      fsyncIntervalMs: isInterval ? random.pick([1, 5, 50, 1000]) : 0,
      dataDir: DATA_DIRECTORY,
      // Segments of the usual size are prepared and read in larger pieces, which costs: not often.
      walSegmentBytes: random.percent(isSwarm ? 2 : 4) ? 1_048_576 : random.pick(small),
      checkpoints: {
        walBytes: isSwarm
          ? logUniform(random, 512, 100_000)
          : random.pick([2048, 16_384, 1_000_000]),
        intervalMs: isSwarm ? logUniform(random, 20, 300_000) : random.pick([200, 1000, 300_000]),
        operations: isSwarm ? logUniform(random, 1, 1000) : random.pick([5, 20, 60, 100_000]),
      },
      retention: {
        retentionMs: 0,
        retentionRevisions: history < 10 ? 0 : keepsBySize ? random.between(1, 40) : NEVER_COMPACTS,
      },
      quotaBytes: 0,
      // Calls that give up while the disk is slow leave commands whose fate is open.
      requestTimeoutMs: sure(random.pick([undefined, undefined, 100, 800]), undefined),
      // Who follows everything has to be sure to hear of everything.
      watchMemoryBytes: deadlines ? undefined : random.pick([undefined, 1, 600, 4000]),
    },
    disk: {
      shortWritePercent: has(0) ? random.pick([2, 20]) : 0,
      journaledNames: random.percent(50),
      syncKeepsName: random.percent(50),
    },
    workload: {
      keys: isSwarm ? logUniform(random, 1, 60) : random.between(4, 24),
      large: random.percent(20),
      leases: random.percent(50),
      compactions: !keepsBySize && random.percent(70),
      native: random.percent(60),
      deadlines,
    },
    faults: {
      powerLoss: random.percent(85),
      crashInRecovery: has(1),
      failedWrites: sure(has(2), false),
      fullDisk: sure(has(3), false),
      slowDisk: sure(has(4), false),
      bitRot: has(5),
      stuckDisk: sure(has(6), false),
      pauses: sure(has(7), false),
      impatience: sure(has(8), false),
      cleanClose: random.percent(30),
      wallClockJumps: random.percent(30),
    },
    lives: random.between(8, 12),
    clients: isSwarm ? logUniform(random, 1, 40) : random.between(1, 8),
    thinkMsMax: random.pick([0, 2, 30]),
    driftPpm: random.pick([0, 0, 0, 100, -100, 20_000, -20_000]),
    // What a power loss may take back would leave open what became of every request.
    sessions: random.percent(30) && !isInterval,
    watchers: random.percent(40) ? random.between(1, 4) : 0,
    settings: random.percent(12) && !isInterval && !deadlines,
  };
}

/** With one kind of trouble less, for the shrinking of a failure. */
export function simplerNodeOptions(options: NodeWorldOptions): NodeWorldOptions[] {
  const { faults, disk } = options;
  const out: NodeWorldOptions[] = [];
  if ((disk.shortWritePercent ?? 0) > 0)
    out.push({ ...options, disk: { ...disk, shortWritePercent: 0 } });
  if (options.driftPpm !== 0) out.push({ ...options, driftPpm: 0 });
  if (options.node.requestTimeoutMs !== undefined)
    out.push({ ...options, node: { ...options.node, requestTimeoutMs: undefined } });
  // What a step does is in the step; these only decide what is drawn, and are named for the reader.
  if (options.sessions === true) out.push({ ...options, sessions: false });
  if (options.settings === true) out.push({ ...options, settings: false });
  for (const name of SIMPLE_FAULTS)
    if (faults[name]) out.push({ ...options, faults: { ...faults, [name]: false } });
  return out;
}

/** A whole number from `low` to `high`: each size of number about as often as the next one. */
export function logUniform(random: Random, low: number, high: number): number {
  const size = 1 << random.between(31 - Math.clz32(low), 31 - Math.clz32(high));
  return Math.min(high, Math.max(low, size + random.below(size)));
}
