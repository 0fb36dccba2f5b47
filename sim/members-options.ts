/** What a seed decides for the members world before its run begins. */
import { hash32, Random } from "../src/base/index.ts";
import type { CheckpointTriggers } from "../src/db/index.ts";
import { logUniform } from "./node-options.ts";
import type { Style } from "./play.ts";

const STREAM_OPTIONS = 61;

export type MembersFaults = {
  /** Processes are killed, at any file operation. */
  readonly kills: boolean;
  readonly powerLoss: boolean;
  /** All of them at once. */
  readonly outages: boolean;
  /** Members are stopped in order and started again. */
  readonly cleanStops: boolean;
  readonly failedWrites: boolean;
  /** Slow writes and syncs, and such that come back only when the machine dies. */
  readonly slowDisks: boolean;
  readonly fullDisks: boolean;
  /** Ways that are slow or narrow. */
  readonly slowWays: boolean;
  /** Ways that nothing passes: full, one-way and partial partitions. */
  readonly cuts: boolean;
  /** Links that break. */
  readonly breaks: boolean;
  /** Bits that flip on the way. */
  readonly flips: boolean;
  readonly pauses: boolean;
  readonly clockJumps: boolean;
  /** Calls that give up early. */
  readonly impatience: boolean;
  /** Members are removed, and learners come and go. */
  readonly changes: boolean;
  /** Somebody is told to lead. */
  readonly handOvers: boolean;
  /** Members come with empty disks, get votes, and take the places of others. */
  readonly joins: boolean;
  /** Members lose their disks. */
  readonly wipes: boolean;
  /** Bits rot in the files of members that are down. */
  readonly rot: boolean;
};

export type MembersOptions = {
  /** The first members. */
  readonly nodes: number;
  /** Machines beside theirs, with empty disks. */
  readonly spares: number;
  /** Learners ask for their votes themselves. */
  readonly autoPromote: boolean;
  /** Rot may reach a majority: then nothing has to go on, but it has to be seen why. */
  readonly rotBeyond: boolean;
  readonly steps: number;
  readonly clients: number;
  readonly keys: number;
  readonly valueBytesMax: number;
  readonly tickMs: number;
  readonly electionMs: number;
  readonly requestTimeoutMs: number | null;
  readonly segmentBytes: number;
  readonly checkpoints: CheckpointTriggers;
  /** Of the log, for members that are behind. Who needs more pulls a snapshot. */
  readonly walRetentionBytes: number;
  /** In a second; 0 for no limit. */
  readonly snapshotRateBytes: number;
  readonly watchMemoryBytes: number | null;
  readonly shortWritePercent: number;
  readonly journaledNames: boolean;
  readonly syncKeepsName: boolean;
  /** From, to. */
  readonly diskLatencyMs: readonly [number, number];
  /** How many thousandths of a second each member's clock gains in a second; 1000 is right. */
  readonly clockRates: readonly number[];
  readonly faults: MembersFaults;
};

const NO_FAULTS: MembersFaults = {
  kills: false,
  powerLoss: false,
  outages: false,
  cleanStops: false,
  failedWrites: false,
  slowDisks: false,
  fullDisks: false,
  slowWays: false,
  cuts: false,
  breaks: false,
  flips: false,
  pauses: false,
  clockJumps: false,
  impatience: false,
  changes: false,
  handOvers: false,
  joins: false,
  wipes: false,
  rot: false,
};
const FAULT_NAMES = Object.keys(NO_FAULTS) as (keyof MembersFaults)[];

/** Nothing goes wrong: everything has to work, and exactly. */
export function isCalm({ faults }: MembersOptions): boolean {
  return FAULT_NAMES.every((name) => !faults[name]);
}

export function drawMembersOptions(seed: number, style: Style): MembersOptions {
  const random = new Random(hash32(seed, STREAM_OPTIONS));
  const isSwarm = style === "swarm";
  const nodes = random.pick(isSwarm ? [2, 3, 3, 5] : [3, 3, 3, 3, 5]);
  const tickMs = random.pick([20, 100]);
  const electionTicks = isSwarm ? random.pick([4, 10, 20]) : 10;
  const spares = random.between(1, 2);
  // Only where all clocks are right can it be said to the millisecond how long a lock has to last.
  const areClocksRight = random.percent(40);
  return {
    nodes,
    spares,
    autoPromote: random.percent(50),
    rotBeyond: random.percent(8),
    steps: random.between(90, 200),
    clients: random.between(2, 10),
    keys: random.pick([2, 4, 8]),
    valueBytesMax: random.pick([0, 60, 600, 3000]),
    tickMs,
    electionMs: electionTicks * tickMs,
    requestTimeoutMs: random.pick([null, null, 8 * electionTicks * tickMs]),
    segmentBytes: random.pick(isSwarm ? [4096, 8192] : [4096, 4096, 16_384, 65_536]),
    walRetentionBytes: random.pick([0, 0, 3000, 20_000, 1_000_000_000]),
    snapshotRateBytes: random.pick([0, 0, 20_000]),
    checkpoints: {
      walBytes: isSwarm ? logUniform(random, 512, 100_000) : random.pick([2048, 16_384, 1_000_000]),
      intervalMs: isSwarm ? logUniform(random, 50, 300_000) : random.pick([500, 5000, 300_000]),
      operations: isSwarm ? logUniform(random, 1, 1000) : random.pick([5, 20, 60, 100_000]),
    },
    watchMemoryBytes: random.pick([null, 600, 4000]),
    shortWritePercent: random.percent(isSwarm ? 40 : 15) ? random.pick([3, 25]) : 0,
    journaledNames: random.percent(50),
    syncKeepsName: random.percent(50),
    diskLatencyMs: random.pick([
      [0.01, 0.2],
      [0.1, 2],
      [0.5, 8],
    ] as const),
    clockRates: Array.from({ length: nodes + spares }, () =>
      !areClocksRight && random.percent(60) ? 1000 + random.between(-100, 100) : 1000,
    ),
    faults: drawFaults(random, isSwarm, areClocksRight),
  };
}

/** Some seeds without a fault, some with one kind alone, some with everything. */
function drawFaults(random: Random, isSwarm: boolean, areClocksRight: boolean): MembersFaults {
  const die = random.below(100);
  const faults = { ...NO_FAULTS };
  if (die < 6) return faults;
  if (die < 16) return { ...faults, [random.pick(FAULT_NAMES)]: true };
  for (const name of FAULT_NAMES) faults[name] = die < 30 || random.percent(isSwarm ? 40 : 60);
  return { ...faults, kills: true, clockJumps: faults.clockJumps && !areClocksRight };
}

/** With one kind of trouble less, for the shrinking of a failure. */
export function simplerMembersOptions(options: MembersOptions): MembersOptions[] {
  const simpler: MembersOptions[] = [];
  if (options.nodes > 3) simpler.push({ ...options, nodes: 3 });
  if (options.clockRates.some((rate) => rate !== 1000))
    simpler.push({ ...options, clockRates: options.clockRates.map(() => 1000) });
  if (options.shortWritePercent > 0) simpler.push({ ...options, shortWritePercent: 0 });
  if (options.requestTimeoutMs !== null) simpler.push({ ...options, requestTimeoutMs: null });
  if (options.watchMemoryBytes !== null) simpler.push({ ...options, watchMemoryBytes: null });
  return simpler;
}
