/** Many seeds of several profiles, with sums: the work of one thread. */
import { setVerifying } from "../src/base/index.ts";
import { addMarks } from "./marks.ts";
import { PROFILES, type ProfileName } from "./profiles.ts";
import type { Failure, RunResult } from "./result.ts";

export interface SweepPlan {
  readonly profiles: readonly PlannedProfile[];
  readonly firstSeed: number;
  /** From one seed to the next: the number of workers that share the work. */
  readonly stride: number;
  /** Ends when the time is over, or when so many cycles of storage and node are done. */
  readonly forMs: number;
  readonly cyclesMax: number;
  /** Ends early after so many failed seeds. */
  readonly failuresMax: number;
  /** Each seed is played a second time, and must take the same course. */
  readonly twice: boolean;
}

export interface PlannedProfile {
  readonly profile: ProfileName;
  /** So many seeds of it. */
  readonly seeds: number;
  /** Its part of the time, compared with those of the others. */
  readonly weight: number;
  /** The O(n) checks inside of the code run too. They cost about half of the speed. */
  readonly verifying: boolean;
}

export interface FailedSeed {
  readonly seed: number;
  readonly failure: Failure;
}

export interface SweepTotals {
  readonly profile: ProfileName;
  seeds: number;
  cycles: number;
  commands: number;
  /** Time of its own, summed over the threads. */
  seconds: number;
  /** The cycles again, by the world that they were played in. */
  readonly byWorld: Record<string, number>;
  readonly marks: Record<string, number>;
  /** Of all runs, in any order. */
  hash: number;
  readonly failures: FailedSeed[];
}

export function emptyTotals(profile: ProfileName): SweepTotals {
  return {
    profile,
    seeds: 0,
    cycles: 0,
    commands: 0,
    seconds: 0,
    byWorld: {},
    marks: {},
    hash: 0,
    failures: [],
  };
}

export function addResult(totals: SweepTotals, result: RunResult): void {
  const { world, cycles, seed, failure } = result;
  totals.seeds++;
  totals.cycles += cycles;
  totals.commands += result.commands;
  totals.byWorld[world] = (totals.byWorld[world] ?? 0) + cycles;
  totals.hash = (totals.hash + result.hash) >>> 0;
  addMarks(totals.marks, result.marks);
  if (failure !== null) totals.failures.push({ seed, failure });
}

export function addTotals(totals: SweepTotals, more: SweepTotals): void {
  totals.seeds += more.seeds;
  totals.cycles += more.cycles;
  totals.commands += more.commands;
  totals.seconds += more.seconds;
  totals.hash = (totals.hash + more.hash) >>> 0;
  for (const [world, cycles] of Object.entries(more.byWorld))
    totals.byWorld[world] = (totals.byWorld[world] ?? 0) + cycles;
  addMarks(totals.marks, new Map(Object.entries(more.marks)));
  totals.failures.push(...more.failures);
}

/** Cycles as the goal counts them: crashes of a node or of its storage alone, recovered and verified. */
export function countedCycles(all: readonly SweepTotals[]): {
  readonly storage: number;
  readonly node: number;
} {
  let storage = 0;
  let node = 0;
  for (const { byWorld } of all) {
    storage += byWorld["storage"] ?? 0;
    node += byWorld["node"] ?? 0;
  }
  return { storage, node };
}

/** Runs a plan; `progress` hears of the sums after every seed. */
export function sweep(
  plan: SweepPlan,
  progress: (totals: readonly SweepTotals[]) => void,
): SweepTotals[] {
  const all = plan.profiles.map(({ profile }) => emptyTotals(profile));
  const untilMs = performance.now() + plan.forMs;
  const isOver = (): boolean => {
    if (performance.now() >= untilMs) return true;
    const { storage, node } = countedCycles(all);
    return (
      storage + node >= plan.cyclesMax ||
      all.reduce((sum, { failures }) => sum + failures.length, 0) >= plan.failuresMax
    );
  };
  while (!isOver()) {
    const next = mostBehind(plan, all);
    if (next === null) break;
    const [planned, totals] = next;
    const startedMs = performance.now();
    setVerifying(planned.verifying);
    const seed = plan.firstSeed + totals.seeds * plan.stride;
    const result = PROFILES[planned.profile].run(seed);
    addResult(totals, result);
    // The enumeration decides nothing by chance that a second time could decide otherwise.
    const isRepeated = plan.twice && planned.profile !== "enumerate";
    if (isRepeated && result.failure === null) runAgain(totals, planned.profile, result);
    setVerifying(false);
    totals.seconds += (performance.now() - startedMs) / 1000;
    progress(all);
  }
  return all;
}

/** Of the profiles with seeds left the one that had the smallest part of its time. */
function mostBehind(
  plan: SweepPlan,
  all: readonly SweepTotals[],
): readonly [PlannedProfile, SweepTotals] | null {
  let best: readonly [PlannedProfile, SweepTotals] | null = null;
  for (const [i, planned] of plan.profiles.entries()) {
    const totals = all[i] as SweepTotals;
    if (totals.seeds >= planned.seeds) continue;
    if (best === null || totals.seconds / planned.weight < best[1].seconds / best[0].weight)
      best = [planned, totals];
  }
  return best;
}

function runAgain(totals: SweepTotals, profile: ProfileName, first: RunResult): void {
  const second = PROFILES[profile].run(first.seed);
  if (second.hash === first.hash && second.failure === null) return;
  const failure: Failure = {
    check: "a seed gives the same run each time",
    message: `the running hash is ${first.hash}, and then ${second.hash}`,
    event: 0,
    options: null,
    lines: [],
    script: null,
  };
  totals.failures.push({ seed: first.seed, failure: second.failure ?? failure });
}
