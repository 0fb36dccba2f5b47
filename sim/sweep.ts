/** Many seeds one after another, with sums. */
import { setVerifying } from "../src/base/index.ts";
import { PROFILES, type ProfileName } from "./profiles.ts";
import type { Failure, RunResult } from "./result.ts";

export interface SweepPlan {
  readonly profile: ProfileName;
  readonly firstSeed: number;
  /** From one seed to the next: the number of workers that share the work. */
  readonly stride: number;
  /** Ends after so many seeds, or when the time is over. */
  readonly seeds: number;
  readonly untilMs: number;
  /** Ends early after so many failed seeds. */
  readonly failuresMax: number;
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
  seconds: number;
  readonly failures: FailedSeed[];
}

export function emptyTotals(profile: ProfileName): SweepTotals {
  return { profile, seeds: 0, cycles: 0, commands: 0, seconds: 0, failures: [] };
}

export function addResult(totals: SweepTotals, result: RunResult): void {
  totals.seeds++;
  totals.cycles += result.cycles;
  totals.commands += result.commands;
  if (result.failure !== null) totals.failures.push({ seed: result.seed, failure: result.failure });
}

export function addTotals(totals: SweepTotals, more: SweepTotals): void {
  totals.seeds += more.seeds;
  totals.cycles += more.cycles;
  totals.commands += more.commands;
  totals.seconds = Math.max(totals.seconds, more.seconds);
  totals.failures.push(...more.failures);
}

/** Runs a plan; `progress` hears of the sums after every seed. */
export function sweep(plan: SweepPlan, progress: (totals: SweepTotals) => void): SweepTotals {
  const totals = emptyTotals(plan.profile);
  const run = PROFILES[plan.profile];
  const startedMs = performance.now();
  setVerifying(plan.verifying);
  for (let i = 0; i < plan.seeds; i++) {
    if (performance.now() >= plan.untilMs || totals.failures.length >= plan.failuresMax) break;
    addResult(totals, run(plan.firstSeed + i * plan.stride));
    totals.seconds = (performance.now() - startedMs) / 1000;
    progress(totals);
  }
  setVerifying(false);
  return totals;
}
