/** What a seed decides for the cluster world before its run begins. */
import { hash32, Random } from "../src/base/index.ts";
import type { Style } from "./play.ts";

const STREAM_OPTIONS = 41;

export type ClusterFaults = {
  /** Nodes are killed, at any file operation. */
  readonly kills: boolean;
  readonly powerLoss: boolean;
  /** All of them at once. */
  readonly outages: boolean;
  readonly failedWrites: boolean;
  readonly slowDisks: boolean;
  /** Loss, repetition, reordering, delay, narrow links. */
  readonly badNetwork: boolean;
  readonly partitions: boolean;
  readonly pauses: boolean;
  readonly clockJumps: boolean;
  /** Somebody campaigns although there is a leader. */
  readonly campaigns: boolean;
  /** Somebody is told to hand over, that its leader is gone, or that a member cannot be reached, be it true or not. */
  readonly orders: boolean;
};

export type ClusterOptions = {
  readonly nodes: number;
  readonly groups: number;
  readonly steps: number;
  readonly clients: number;
  readonly keys: number;
  readonly valueBytesMax: number;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
  readonly maxEntriesBytesPerMessage: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  readonly maxUncommittedBytes: number;
  readonly maxCommittedBytesPerReady: number;
  readonly segmentSizeBytes: number;
  readonly walCacheBytes: number;
  readonly shortWritePercent: number;
  readonly journaledNames: boolean;
  readonly syncKeepsName: boolean;
  /** From, to. */
  readonly diskLatencyMs: readonly [number, number];
  /** How many thousandths of a second each node's clock gains in a second; 1000 is right. */
  readonly clockRates: readonly number[];
  readonly faults: ClusterFaults;
};

const ALL_FAULTS: ClusterFaults = {
  kills: true,
  powerLoss: true,
  outages: true,
  failedWrites: true,
  slowDisks: true,
  badNetwork: true,
  partitions: true,
  pauses: true,
  clockJumps: true,
  campaigns: true,
  orders: true,
};

const NO_FAULTS: ClusterFaults = {
  kills: false,
  powerLoss: false,
  outages: false,
  failedWrites: false,
  slowDisks: false,
  badNetwork: false,
  partitions: false,
  pauses: false,
  clockJumps: false,
  campaigns: false,
  orders: false,
};

/** Nothing goes wrong: everything has to work, and exactly. */
export function isCalm(faults: ClusterFaults): boolean {
  return !Object.values(faults).includes(true);
}

export function drawClusterOptions(seed: number, style: Style): ClusterOptions {
  const random = new Random(hash32(seed, STREAM_OPTIONS));
  const isSwarm = style === "swarm";
  const nodes = random.pick([1, 3, 3, 3, 3, 5]);
  const electionTicks = isSwarm ? random.pick([3, 5, 20, 50]) : 10;
  return {
    nodes,
    groups: random.pick([1, 1, 2, 4]),
    steps: random.between(80, 200),
    clients: random.between(2, 10),
    keys: random.pick([3, 6, 12]),
    valueBytesMax: random.pick([0, 60, 600]),
    tickMs: 10,
    electionTicks,
    // Fast and slow clocks together must not make one late heartbeat an election.
    heartbeatTicks: isSwarm && electionTicks > 3 ? random.pick([1, 2]) : 1,
    preVote: random.percent(isSwarm ? 60 : 90),
    checkQuorum: random.percent(isSwarm ? 60 : 90),
    maxEntriesBytesPerMessage: random.pick(isSwarm ? [0, 40, 1 << 20] : [0, 200, 1 << 20]),
    maxInflightMessages: random.pick(isSwarm ? [1, 2, 8] : [4, 256]),
    maxInflightBytes: random.pick(isSwarm ? [1, 300, 1 << 20] : [1 << 20]),
    maxUncommittedBytes: random.pick(isSwarm ? [0, 200, 1 << 20] : [2000, 1 << 20]),
    maxCommittedBytesPerReady: random.pick(isSwarm ? [0, 100, 1 << 20] : [1 << 20]),
    segmentSizeBytes: random.pick(isSwarm ? [4096, 8192] : [8192, 32_768]),
    walCacheBytes: random.pick(isSwarm ? [0, 500, 100_000] : [500, 100_000]),
    shortWritePercent: random.percent(isSwarm ? 40 : 15) ? random.pick([3, 25]) : 0,
    journaledNames: random.percent(50),
    syncKeepsName: random.percent(50),
    diskLatencyMs: random.pick([
      [0.01, 0.2],
      [0.1, 2],
      [0.5, 12],
    ] as const),
    clockRates: Array.from({ length: nodes }, () =>
      random.percent(60) ? 1000 + random.between(-100, 100) : 1000,
    ),
    faults: drawFaults(random, isSwarm),
  };
}

/** Some seeds without a fault: there everything has to work, and exactly. Some with one kind alone. */
function drawFaults(random: Random, isSwarm: boolean): ClusterFaults {
  const names = Object.keys(ALL_FAULTS) as (keyof ClusterFaults)[];
  const die = random.below(100);
  if (die < 6) return NO_FAULTS;
  if (die < 16) return { ...NO_FAULTS, [random.pick(names)]: true };
  if (!isSwarm)
    return { ...ALL_FAULTS, powerLoss: random.percent(85), outages: random.percent(60) };
  if (die < 25) return ALL_FAULTS;
  const faults = { ...NO_FAULTS };
  for (const name of names) faults[name] = random.percent(50);
  return faults;
}
