import { describe, expect, it } from "vitest";
import { Random } from "../src/base/index.ts";
import { Marks } from "./marks.ts";
import { type Plain, playScript, playSeed, type Style, verified } from "./play.ts";
import { STORAGE_MARKS } from "./storage-marks.ts";
import type { StorageStep } from "./storage-steps.ts";
import { STORAGE_WORLD } from "./storage-world.ts";
import { Trace } from "./trace.ts";

function stepsOf(seed: number, style: Style): { options: Plain; steps: StorageStep[] } {
  const options = STORAGE_WORLD.drawOptions(seed, style);
  const play = STORAGE_WORLD.begin(seed, options, new Trace(), new Marks());
  const steps: StorageStep[] = [];
  for (let step = play.draw(); step !== null; step = play.draw()) {
    steps.push(step);
    play.perform(step);
  }
  return { options: options as unknown as Plain, steps };
}

describe("the world of the storage", () => {
  it("finds nothing in a swarm of constants and faults", () => {
    let cycles = 0;
    for (let seed = 1; seed <= 4; seed++) {
      const result = verified(() => playSeed(STORAGE_WORLD, seed, "swarm"));
      expect(result.failure?.message ?? null).toBeNull();
      cycles += result.cycles;
    }
    expect(cycles).toBeGreaterThan(5);
  }, 60_000);

  it("plays every subsequence of its steps, through JSON and back", () => {
    let performed = 0;
    for (let seed = 1; seed <= 6; seed++) {
      const { options, steps } = stepsOf(seed, seed % 2 === 0 ? "default" : "swarm");
      const random = new Random(seed);
      const kept = random.pick([20, 50, 90]);
      const subset = steps.filter(() => random.percent(kept));
      const copy = JSON.parse(JSON.stringify(subset)) as StorageStep[];
      const script = {
        world: STORAGE_WORLD.name,
        seed,
        options,
        steps: copy as unknown as Plain[],
      };
      const { failure, commands } = playScript(STORAGE_WORLD, script);
      expect(failure?.message ?? null).toBeNull();
      performed += commands;
    }
    expect(performed).toBeGreaterThan(50);
  }, 60_000);

  it("comes along most of its rare paths in a few seeds, and names every one that it comes along", () => {
    const hits = new Set<string>();
    for (let seed = 1; seed <= 8; seed++)
      for (const name of playSeed(STORAGE_WORLD, seed).marks.keys()) hits.add(name);
    expect([...hits].filter((name) => !STORAGE_MARKS.includes(name))).toEqual([]);
    expect(hits.size).toBeGreaterThan(STORAGE_MARKS.length / 3);
  }, 60_000);
});
