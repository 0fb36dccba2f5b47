/** What the simulator says of a run that fails, from the seed to the fixture: with a planted bug, as people see it. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeFixture } from "./fixture.ts";
import type { Mutant } from "./mutant.ts";
import { MUTANTS } from "./mutants.ts";
import { plant, type Planted, projectPath } from "./plant.ts";

const BUG = "failed-write-is-swallowed";
const SWEEP = ["--profile", "storage", "--seeds", "30", "--failures", "1", "--no-shrink"];
const MAIN = projectPath("dist", "sim", "main.js");

interface Said {
  readonly exit: number | null;
  readonly out: string;
  readonly err: string;
}

function run(main: string, ...args: readonly string[]): Said {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: "utf8",
    timeout: 240_000,
  });
  return { exit: status, out: stdout, err: stderr };
}

/** The first group of what is found, which has to be there. */
function find(out: string, pattern: RegExp): string {
  const found = pattern.exec(out)?.[1];
  expect([pattern, found, out]).toEqual([pattern, expect.any(String), out]);
  return found as string;
}

describe("a run that fails", { timeout: 600_000 }, () => {
  const made: string[] = [];
  let planted: Planted;
  beforeAll(() => {
    const mutant = MUTANTS.find(({ name }) => name === BUG) as Mutant;
    planted = plant(mutant, "failing-run");
  });
  afterAll(() => {
    planted.remove();
    for (const path of made) rmSync(path, { force: true });
  });

  it("tells seed, check, event, options and last events, is shrunk, kept and played again", () => {
    const sweep = run(planted.main, ...SWEEP);
    expect(sweep.exit).toBe(1);
    const seed = find(sweep.out, /^FAILED: profile storage, seed (\d+), at event \d+$/m);
    const check = find(sweep.out, /^ {2}check: {3}(.+)$/m);
    // A long run says so when it comes upon it.
    expect(sweep.err.split("\n")).toContain(`failed: storage, seed ${seed}: ${check}`);
    expect(JSON.parse(find(sweep.out, /^ {2}options: (.+)$/m))).toMatchObject({
      storage: expect.any(Object) as object,
    });
    const events = find(sweep.out, /^ {2}last events:\n((?: {4}.+\n)+)/m);
    expect(events.split("\n").length).toBeGreaterThan(20);
    const steps = Number(find(sweep.out, /^ {2}steps: {3}(\d+), the last of them$/m));

    const again = run(
      planted.main,
      "--profile",
      "storage",
      "--seed",
      seed,
      "--trace",
      "30",
      "--keep",
      "A failed write is heard!",
    );
    expect(again.exit).toBe(1);
    expect(find(again.out, /^ {2}check: {3}(.+)$/m)).toBe(check);
    const kept = find(again.out, /^kept \d+ steps in (.+)$/m);
    made.push(kept);
    expect(kept).toMatch(/fixtures\/a_failed_write_is_heard_?\.json$/);
    const fixture = decodeFixture(readFileSync(kept, "utf8"));
    expect(fixture).toMatchObject({ found: "A failed write is heard!", check, world: "storage" });
    expect(fixture.steps.length).toBeLessThan(steps / 2);
    const played = run(planted.main, "--play", kept);
    expect([played.exit, find(played.out, /^ {2}check: {3}(.+)$/m)]).toEqual([1, check]);

    // What the bug was found by passes without it.
    expect(run(MAIN, "--play", kept).exit).toBe(0);
    expect(run(MAIN, "--profile", "storage", "--seed", seed).exit).toBe(0);
  });

  it("tells the same to programs", () => {
    const { exit, out } = run(planted.main, ...SWEEP, "--json");
    const { ok, profiles } = JSON.parse(out) as {
      readonly ok: boolean;
      readonly profiles: readonly { readonly failures: readonly unknown[] }[];
    };
    expect([exit, ok]).toEqual([1, false]);
    expect(profiles[0]?.failures).toEqual([
      expect.objectContaining({
        seed: expect.any(Number) as number,
        check: expect.any(String) as string,
        event: expect.any(Number) as number,
        options: expect.any(Object) as object,
        steps: expect.any(Array) as unknown[],
        lines: expect.any(Array) as unknown[],
      }),
    ]);
  });
});

describe("a run that does not fail", { timeout: 600_000 }, () => {
  it("is told as sums, in one thread or in two, and ends by seeds, by cycles or by time", () => {
    const report = (...args: readonly string[]): Record<string, unknown> => {
      const { exit, out } = run(MAIN, ...args, "--json");
      expect([args, exit]).toEqual([args, 0]);
      return JSON.parse(out) as Record<string, unknown>;
    };
    const seeds = ["--profile", "storage,raft", "--seeds", "2"];
    const one = report(...seeds);
    const two = report(...seeds, "--workers", "2");
    const sums = (found: Record<string, unknown>): unknown =>
      (found["profiles"] as readonly Record<string, unknown>[]).map(
        ({ profile, seeds: count, cycles, hash }) => [profile, count, cycles, hash],
      );
    expect(one).toMatchObject({ ok: true, profiles: [{ seeds: 2 }, { seeds: 2 }] });
    expect(sums(two)).toEqual(sums(one));
    expect(report("--profile", "storage", "--cycles", "5")["cycles"]).toBeGreaterThanOrEqual(5);
    expect(report("--profile", "raft", "--minutes", "0.01")).toMatchObject({ ok: true });
  });

  it("says what it has come to when it is stopped", async () => {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const child = spawn(process.execPath, [MAIN, "--profile", "storage", "--minutes", "60"]);
      let out = "";
      child.stdout.on("data", (bytes: Buffer) => (out += String(bytes)));
      const [progress] = (await once(child.stderr, "data")) as [Buffer];
      expect(String(progress)).toMatch(/^\d+ s {2}seeds: storage \d+ {2}cycles: \d+/);
      child.kill(signal);
      expect(await once(child, "close")).toEqual([code, null]);
      const [, seeds] = /^storage +(\d+) seeds?, .*, 0 failed\n/.exec(out) ?? [];
      expect(Number(seeds)).toBeGreaterThan(0);
    }
  });

  it("is told in words, and with its trace when one seed is asked for", () => {
    const words = run(MAIN, "--profile", "storage", "--seeds", "2");
    expect(words.exit).toBe(0);
    expect(words.out).toMatch(/^storage +2 seeds, \d+ cycles \([\d.]+\/s\), .*, 0 failed\n/);
    expect(words.out).toMatch(/\n\d+ cycles: \d+ of storage, 0 of nodes; .*, 0 failed\n$/);
    const one = run(MAIN, "--profile", "cluster", "--seed", "3", "--trace", "10");
    expect(one.exit).toBe(0);
    expect(one.out.trimEnd().split("\n")).toHaveLength(11);
    expect(one.out).toMatch(/\nprofile cluster, seed 3: .*, hash [\da-f]+, nothing found\n$/);
  });
});
