/**
 * All profiles in turn with fresh seeds until the first failure: how a planted bug is looked for. Nothing here knows
 * which bug it is.
 */
import { setVerifying } from "../src/base/index.ts";
import { type ProfileName, PROFILES } from "./profiles.ts";

/** One round, about two seconds. Cheap profiles get more seeds. */
const ROUND: readonly (readonly [ProfileName, number])[] = [
  ["storage", 3],
  ["node", 2],
  ["raft", 12],
  ["enumerate", 1],
  ["storage", 3],
  ["node", 2],
  ["raft", 12],
];

export interface HuntResult {
  readonly caught: boolean;
  readonly profile: ProfileName | null;
  readonly check: string | null;
  /** Seeds of the profile that found it, up to and with the one that did. */
  readonly seeds: number;
  /** Cycles of all profiles. */
  readonly cycles: number;
  readonly seconds: number;
}

export function hunt(secondsMax: number, firstSeed = 1): HuntResult {
  const startedMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedMs) / 10) / 100;
  const seeds: Record<ProfileName, number> = { storage: 0, node: 0, raft: 0, enumerate: 0 };
  let cycles = 0;
  setVerifying(false);
  while (seconds() < secondsMax) {
    for (const profile of ROUND.flatMap(([name, count]) =>
      Array.from({ length: count }, () => name),
    )) {
      if (seconds() >= secondsMax) break;
      const result = PROFILES[profile](firstSeed + seeds[profile]++);
      cycles += result.cycles;
      if (result.failure !== null)
        return {
          caught: true,
          profile,
          check: result.failure.check,
          seeds: seeds[profile],
          cycles,
          seconds: seconds(),
        };
    }
  }
  return { caught: false, profile: null, check: null, seeds: 0, cycles, seconds: seconds() };
}
