/** What the simulator is asked to do: options, their meaning, and what is wrong with them. */
import { parseArgs } from "node:util";
import { SCENARIOS } from "./enumerate.ts";
import { isProfile, type ProfileName } from "./profiles.ts";
import type { PlannedProfile, SweepPlan } from "./sweep.ts";

export const USAGE = `usage: npm run sim -- [options]
  --profile LIST   storage, node, cluster, members, swarm, raft, enumerate; several with commas, and with a share
                   of the time when --minutes or --cycles end the run: storage=2,node=1 (default: all but enumerate)
  --seeds N        so many seeds of each profile (default 200)
  --first N        the first of them (default 1)
  --minutes M      as long, instead of --seeds
  --cycles N       until so many cycles of storage and node are done, instead of --seeds
  --workers N      threads (default 1)
  --verify         with the O(n) checks inside the code
  --twice          every seed twice: it must take the same course
  --marks          how often rare paths were reached; exit code 1 when one never was
  --failures N     end after so many failed seeds (default 3)
  --no-shrink      leave failed runs as long as they are
  --json           a summary for programs
  --short          the sweep of npm run check

  --seed N         one seed of one profile again, with its trace
  --play FILE      a kept run again, with its trace
  --trace N        so many of its last events (default 200)
  --keep SENTENCE  shrink the failure of --seed or --play and keep it in sim/fixtures under this name

  --exhaustive     a crash at every file operation of the canonical runs, every legal outcome; with --workers`;

export class UsageError extends Error {}

/** One line for what is wrong with a command line. */
export function usageLine({ message }: Error, command: string): string {
  return `${message.replaceAll(/\s*\n\s*/g, " ").trim()} (\`${command} -- --help\` says what there is)`;
}

export type Command =
  | { readonly kind: "help" }
  | {
      readonly kind: "hunt";
      readonly seconds: number;
      readonly first: number;
      readonly tries: number;
    }
  | { readonly kind: "exhaustive"; readonly workers: number; readonly json: boolean }
  | {
      readonly kind: "replay";
      readonly profile: ProfileName;
      readonly seed: number;
      readonly show: Show;
    }
  | { readonly kind: "play"; readonly path: string; readonly show: Show }
  | { readonly kind: "sweep"; readonly sweep: SweepCommand };

interface Show {
  readonly events: number;
  readonly keep: string | null;
}

export interface SweepCommand {
  readonly plan: Omit<SweepPlan, "firstSeed" | "stride">;
  readonly firstSeed: number;
  readonly workers: number;
  readonly json: boolean;
  readonly marks: boolean;
  readonly shrink: boolean;
}

const ALL: readonly ProfileName[] = ["storage", "node", "cluster", "members", "swarm", "raft"];
/** Seeds of the short sweep, each of them twice: together about a minute on two cores. */
const SHORT: Readonly<Partial<Record<ProfileName, number>>> = {
  storage: 60,
  node: 40,
  cluster: 40,
  members: 20,
  swarm: 40,
  raft: 20,
  enumerate: SCENARIOS.length,
};
const SHORT_WORKERS = 2;

/** Throws `UsageError`, or what `parseArgs` throws for an unknown option. */
export function parseCommand(args: readonly string[]): Command {
  const { values } = parseArgs({
    args: [...args],
    options: {
      profile: { type: "string" },
      seeds: { type: "string" },
      first: { type: "string", default: "1" },
      seed: { type: "string" },
      minutes: { type: "string" },
      cycles: { type: "string" },
      workers: { type: "string" },
      exhaustive: { type: "boolean", default: false },
      short: { type: "boolean", default: false },
      verify: { type: "boolean", default: false },
      twice: { type: "boolean", default: false },
      marks: { type: "boolean", default: false },
      "no-shrink": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      failures: { type: "string", default: "3" },
      play: { type: "string" },
      keep: { type: "string" },
      trace: { type: "string", default: "200" },
      // For the table of planted bugs (hunt.ts): tries of at most so many seconds, the --first of them and the next.
      hunt: { type: "string" },
      tries: { type: "string", default: "1" },
      help: { type: "boolean", default: false },
    },
  });
  const firstSeed = whole(values.first, "--first");
  if (values.help) return { kind: "help" };
  if (values.hunt !== undefined)
    return {
      kind: "hunt",
      seconds: whole(values.hunt, "--hunt"),
      first: firstSeed,
      tries: whole(values.tries, "--tries"),
    };
  const workers = whole(
    values.workers ?? (values.short ? String(SHORT_WORKERS) : "1"),
    "--workers",
  );
  if (workers < 1) throw new UsageError("--workers is at least 1");
  if (values.exhaustive) return { kind: "exhaustive", workers, json: values.json };
  const show: Show = { events: whole(values.trace, "--trace"), keep: values.keep ?? null };
  if (values.play !== undefined) return { kind: "play", path: values.play, show };
  const profiles = values.profile === undefined ? null : parseProfiles(values.profile);
  if (values.seed !== undefined) {
    const [only, second] = profiles ?? [];
    if (only === undefined || second !== undefined)
      throw new UsageError("--seed needs one --profile");
    return { kind: "replay", profile: only.profile, seed: whole(values.seed, "--seed"), show };
  }
  if (values.keep !== undefined) throw new UsageError("--keep needs --seed or --play");
  const hasOtherEnd = values.minutes !== undefined || values.cycles !== undefined;
  const seeds =
    values.seeds === undefined && hasOtherEnd
      ? Number.MAX_SAFE_INTEGER
      : whole(values.seeds ?? "200", "--seeds");
  const chosen = profiles ?? ALL.map((profile) => ({ profile, weight: 1 }));
  const planned = chosen.map((one): PlannedProfile => ({
    ...one,
    seeds,
    verifying: values.verify,
  }));
  return {
    kind: "sweep",
    sweep: {
      plan: {
        profiles: values.short ? shortPlan() : planned,
        forMs: values.minutes === undefined ? Number.POSITIVE_INFINITY : minutesMs(values.minutes),
        cyclesMax:
          values.cycles === undefined ? Number.MAX_SAFE_INTEGER : whole(values.cycles, "--cycles"),
        failuresMax: whole(values.failures, "--failures"),
        twice: values.twice || values.short,
      },
      firstSeed,
      workers,
      json: values.json,
      marks: values.marks,
      shrink: !values["no-shrink"],
    },
  };
}

function shortPlan(): PlannedProfile[] {
  return Object.entries(SHORT).map(([profile, seeds]) => ({
    profile: profile as ProfileName,
    seeds,
    weight: 1,
    // The O(n) checks make a node several times slower; its log and trees get them in the storage profile.
    verifying: profile === "storage" || profile === "raft",
  }));
}

function parseProfiles(list: string): { readonly profile: ProfileName; readonly weight: number }[] {
  return list.split(",").map((part) => {
    const [name = "", weight = "1"] = part.trim().split("=");
    if (!isProfile(name)) throw new UsageError(`there is no profile ${name}`);
    if (!(Number(weight) > 0)) throw new UsageError(`the share of ${name} is a positive number`);
    return { profile: name, weight: Number(weight) };
  });
}

function minutesMs(text: string): number {
  const minutes = Number(text);
  if (!(minutes > 0)) throw new UsageError("--minutes is a positive number");
  return minutes * 60_000;
}

export function whole(text: string, name: string): number {
  const value = Number(text);
  if (text === "" || !Number.isSafeInteger(value) || value < 0)
    throw new UsageError(`${name} is a whole number, not ${text}`);
  return value;
}
