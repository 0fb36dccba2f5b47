/**
 * What a seed can be played in. A world plays steps (play.ts), so its failures can be shrunk and kept; the others are
 * just run.
 */
import { hash32 } from "../src/base/index.ts";
import { CLUSTER_RARE_PATHS } from "./cluster-marks.ts";
import { CLUSTER_WORLD } from "./cluster-world.ts";
import { SCENARIOS, enumerate } from "./enumerate.ts";
import { MEMBERS_RARE_PATHS } from "./members-marks.ts";
import { MEMBERS_WORLD } from "./members-world.ts";
import { NODE_RARE_PATHS } from "./node-watch.ts";
import { NODE_WORLD } from "./node-world.ts";
import { type AnyWorld, playSeed } from "./play.ts";
import { runRaftSeed } from "./raft-world.ts";
import { failureOf, NO_MARKS, type RunResult } from "./result.ts";
import { STORAGE_MARKS } from "./storage-marks.ts";
import { STORAGE_WORLD } from "./storage-world.ts";
import { Trace } from "./trace.ts";

export type ProfileName =
  | "storage"
  | "node"
  | "cluster"
  | "members"
  | "swarm"
  | "raft"
  | "enumerate";

export interface Profile {
  /** What its cycles and commands are called in summaries. */
  readonly units: readonly [cycles: string, commands: string];
  run(seed: number, trace?: Trace): RunResult;
}

/** At most so many outcomes of one crash point in a seed of the enumeration; `--exhaustive` asks for all. */
const DRAWN_OUTCOMES = 3;
const EXHAUSTIVE_OUTCOMES = 4096;

/** By the name that stands in scripts and fixtures. */
export const WORLDS: ReadonlyMap<string, AnyWorld> = new Map<string, AnyWorld>([
  [STORAGE_WORLD.name, STORAGE_WORLD],
  [CLUSTER_WORLD.name, CLUSTER_WORLD],
  [NODE_WORLD.name, NODE_WORLD],
  [MEMBERS_WORLD.name, MEMBERS_WORLD],
]);

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  storage: played(STORAGE_WORLD, ["cycles", "appends"]),
  node: played(NODE_WORLD, ["cycles", "commands"]),
  cluster: played(CLUSTER_WORLD, ["restarts", "commands"]),
  members: played(MEMBERS_WORLD, ["restarts", "commands"]),
  swarm: { units: ["cycles", "commands"], run: runSwarmSeed },
  raft: { units: ["crashes", "entries committed"], run: runRaftSeed },
  enumerate: {
    units: ["crashes", "crash points"],
    run: (seed) => runEnumerationSeed(seed, DRAWN_OUTCOMES),
  },
};

/** What a nightly run of a profile must have come along (marks.ts). */
export const RARE_PATHS: Readonly<Record<ProfileName, readonly string[]>> = {
  storage: STORAGE_MARKS,
  node: NODE_RARE_PATHS,
  cluster: CLUSTER_RARE_PATHS,
  members: MEMBERS_RARE_PATHS,
  swarm: [...STORAGE_MARKS, ...NODE_RARE_PATHS, ...CLUSTER_RARE_PATHS, ...MEMBERS_RARE_PATHS],
  raft: [],
  enumerate: [],
};

const STREAM_SWARM = 41;

/** Any world, with a subset of its faults and with constants that nobody would choose. */
function runSwarmSeed(seed: number, trace?: Trace): RunResult {
  const worlds = [...WORLDS.values()];
  const world = worlds[hash32(seed, STREAM_SWARM) % worlds.length] as AnyWorld;
  return playSeed(world, seed, "swarm", trace);
}

/** A profile that plays a world. */
function played(world: AnyWorld, units: Profile["units"]): Profile {
  return { units, run: (seed, trace) => playSeed(world, seed, "default", trace) };
}

export function isProfile(name: string): name is ProfileName {
  return Object.hasOwn(PROFILES, name);
}

/** One scenario of the enumeration, by the seed. */
export function runEnumerationSeed(
  seed: number,
  outcomesMax: number = EXHAUSTIVE_OUTCOMES,
): RunResult {
  const scenario = SCENARIOS[seed % SCENARIOS.length] as (typeof SCENARIOS)[number];
  const result = { world: "enumerate", seed, marks: NO_MARKS };
  try {
    const { crashes, points } = enumerate(scenario, seed, {
      powerLossesMax: outcomesMax,
      kills: outcomesMax === EXHAUSTIVE_OUTCOMES ? 2 : 1,
    });
    return { ...result, cycles: crashes, commands: points, hash: crashes, failure: null };
  } catch (error) {
    const failure = failureOf(error, new Trace(), scenario.name);
    return { ...result, cycles: 0, commands: 0, hash: 0, failure };
  }
}
