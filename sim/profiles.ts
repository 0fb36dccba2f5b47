/** The worlds that a seed can be run in. */
import { SCENARIOS, enumerate } from "./enumerate.ts";
import { runNodeSeed } from "./node-world.ts";
import { runRaftSeed } from "./raft-world.ts";
import { failureOf, NO_MARKS, type RunResult } from "./result.ts";
import { runStorageSeed } from "./storage-world.ts";
import { Trace } from "./trace.ts";

export type ProfileName = "storage" | "node" | "raft" | "enumerate";

/** At most so many outcomes of one crash point in a seed of the enumeration; `--exhaustive` asks for all. */
const DRAWN_OUTCOMES = 6;
const EXHAUSTIVE_OUTCOMES = 4096;

export const PROFILES: Readonly<Record<ProfileName, (seed: number) => RunResult>> = {
  storage: runStorageSeed,
  node: runNodeSeed,
  raft: runRaftSeed,
  enumerate: (seed) => runEnumerationSeed(seed, DRAWN_OUTCOMES),
};

export function isProfile(name: string): name is ProfileName {
  return Object.hasOwn(PROFILES, name);
}

/** One scenario of the enumeration, by the seed. */
export function runEnumerationSeed(
  seed: number,
  outcomesMax: number = EXHAUSTIVE_OUTCOMES,
): RunResult {
  const scenario = SCENARIOS[seed % SCENARIOS.length] as (typeof SCENARIOS)[number];
  try {
    const { crashes, points } = enumerate(scenario, seed, {
      powerLossesMax: outcomesMax,
      kills: 2,
    });
    return {
      seed,
      cycles: crashes,
      commands: points,
      hash: crashes,
      marks: NO_MARKS,
      failure: null,
    };
  } catch (error) {
    return {
      seed,
      cycles: 0,
      commands: 0,
      hash: 0,
      marks: NO_MARKS,
      failure: failureOf(error, new Trace(), scenario.name),
    };
  }
}
