import { describe, expect, it } from "vitest";
import { setVerifying } from "../src/base/index.ts";
import { enumerate, SCENARIOS } from "./enumerate.ts";
import { NODE_WORLD } from "./node-world.ts";
import { playSeed } from "./play.ts";
import { runRaftSeed } from "./raft-world.ts";
import { failureText } from "./report.ts";
import type { RunResult } from "./result.ts";
import { STORAGE_WORLD } from "./storage-world.ts";

// npm run sim makes long sweeps of these.
function clean(profile: "storage" | "node" | "raft", result: RunResult): RunResult {
  if (result.failure !== null)
    throw new Error(failureText(profile, { seed: result.seed, failure: result.failure }));
  return result;
}

/** With the O(n) checks inside the code: they take most of the time. */
function verified<T>(run: () => T): T {
  setVerifying(true);
  try {
    return run();
  } finally {
    setVerifying(false);
  }
}

describe("the simulated worlds", () => {
  it("a node loses nothing that it acknowledged, whatever the seed does to it", () => {
    let cycles = verified(() => clean("node", playSeed(NODE_WORLD, 1))).cycles;
    for (let seed = 2; seed <= 6; seed++)
      cycles += clean("node", playSeed(NODE_WORLD, seed)).cycles;
    expect(cycles).toBeGreaterThan(20);
  }, 60_000);

  it("log, votes and data files of several groups hold what was acknowledged", () => {
    let cycles = 0;
    for (let seed = 1; seed <= 15; seed++)
      cycles += verified(() => clean("storage", playSeed(STORAGE_WORLD, seed))).cycles;
    expect(cycles).toBeGreaterThan(45);
  }, 60_000);

  it("a cluster of the core keeps the promises of the paper", () => {
    for (let seed = 1; seed <= 4; seed++)
      expect(clean("raft", runRaftSeed(seed)).commands).toBeGreaterThan(0);
  }, 60_000);

  it("the same seed gives the same run, event by event", () => {
    for (const world of [NODE_WORLD, STORAGE_WORLD]) {
      const first = playSeed(world, 77);
      expect(playSeed(world, 77)).toEqual(first);
      expect(playSeed(world, 78).hash).not.toBe(first.hash);
    }
  }, 60_000);
});

describe("a crash at every file operation", () => {
  for (const [i, scenario] of SCENARIOS.entries()) {
    it(
      scenario.name,
      () => {
        const { points, crashes } = enumerate(scenario, i, { powerLossesMax: 2, kills: 1 });
        expect(points).toBeGreaterThan(4);
        expect(crashes).toBeGreaterThan(points);
      },
      60_000,
    );
  }
});
