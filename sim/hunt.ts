/**
 * All profiles in turn with fresh seeds until the first failure: how a planted bug is looked for. Nothing here knows
 * which bug it is.
 */
import { setVerifying } from "../src/base/index.ts";
import { type ProfileName, PROFILES } from "./profiles.ts";

/** One round. Cheap profiles get more seeds. */
const ROUND: readonly ProfileName[] = [
  "storage",
  "node",
  "raft",
  "cluster",
  "storage",
  "members",
  "raft",
  "raft",
  "swarm",
  "enumerate",
  "storage",
  "raft",
  "members",
  "raft",
  "node",
  "raft",
  "cluster",
  "members",
];
/** Said first. A copy that does not even start has found nothing. */
export const HUNT_BEGINS = "the hunt begins";
/** Said after each seed that found nothing. A copy that falls silent does not come to an end. */
export const HUNT_GOES_ON = "the hunt goes on";
/** The tries are as far apart as this, so that no two of them play the same seed. */
const SEEDS_PER_TRY = 10_000_000;

export interface HuntResult {
  readonly caught: boolean;
  readonly profile: ProfileName | null;
  readonly check: string | null;
  /** Seeds of all profiles, up to and with the one that found it. */
  readonly seeds: number;
  /** Cycles of all profiles. */
  readonly cycles: number;
  /** Of one processor: what others do on the machine does not count. */
  readonly seconds: number;
}

/** One try after another, from the `first` on, each at most so many seconds; `say` hears of each, and of progress. */
export function hunt(
  secondsMax: number,
  first: number,
  tries: number,
  say: (news: HuntResult | typeof HUNT_GOES_ON) => void,
): void {
  for (let i = first; i < first + tries; i++)
    say(lookFor(secondsMax, 1 + i * SEEDS_PER_TRY, () => say(HUNT_GOES_ON)));
}

function lookFor(secondsMax: number, firstSeed: number, goesOn: () => void): HuntResult {
  const started = process.cpuUsage();
  const seconds = (): number => {
    const { user, system } = process.cpuUsage(started);
    return Math.round((user + system) / 10_000) / 100;
  };
  const used = new Map<ProfileName, number>();
  let seeds = 0;
  let cycles = 0;
  setVerifying(false);
  for (let i = 0; seconds() < secondsMax; i = (i + 1) % ROUND.length) {
    const profile = ROUND[i] as ProfileName;
    const number = used.get(profile) ?? 0;
    used.set(profile, number + 1);
    const { cycles: own, failure } = PROFILES[profile].run(firstSeed + number);
    seeds++;
    cycles += own;
    if (failure !== null)
      return { caught: true, profile, check: failure.check, seeds, cycles, seconds: seconds() };
    goesOn();
  }
  return { caught: false, profile: null, check: null, seeds, cycles, seconds: seconds() };
}
