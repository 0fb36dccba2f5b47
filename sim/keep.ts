/** What becomes of failures: they are shrunk, written down, and kept as fixtures when somebody asks for it. */
import { fileURLToPath } from "node:url";
import { type Fixture, keepFixture } from "./fixture.ts";
import { playScript } from "./play.ts";
import { WORLDS } from "./profiles.ts";
import { failureText } from "./report.ts";
import type { Failure, RunResult } from "./result.ts";
import { shrink } from "./shrink.ts";
import type { SweepTotals } from "./sweep.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FIXTURES = `${ROOT}sim/fixtures`;
/** Not kept by anybody: the place of what a sweep has just found. */
const FOUND = `${ROOT}dist/sim-failures`;
const SHRINK_MS = 60_000;
const SHRINK_RUNS = 3000;

/** Shrinks the failure of a run and writes it into sim/fixtures. Says what was done. */
export function keep({ failure }: RunResult, sentence: string): string {
  if (failure === null) return "nothing failed, and nothing is kept";
  const fixture = shrunk(failure);
  if (fixture === null) return "this profile is not played by steps: its failures cannot be kept";
  return `kept ${fixture.steps.length} steps in ${keepFixture(FIXTURES, sentence, { ...fixture, found: sentence })}`;
}

/** Shrinks the first failure of each profile and writes it down; the text tells of it. */
export function noteFailures(all: readonly SweepTotals[]): string[] {
  const texts: string[] = [];
  for (const { profile, failures } of all) {
    const failed = failures.find(({ failure }) => failure.script !== null);
    if (failed === undefined) continue;
    const fixture = shrunk(failed.failure);
    if (fixture === null) {
      texts.push(
        `\nseed ${failed.seed} of ${profile} fails only when it is drawn: something outside of its steps decides`,
      );
      continue;
    }
    const path = keepFixture(FOUND, `${profile} ${failed.seed}`, fixture);
    const again = playScript(worldOf(fixture), fixture).failure;
    texts.push(
      `\nSHRUNK to ${fixture.steps.length} steps, written to ${path}`,
      ...(again === null ? [] : [failureText(profile, { seed: failed.seed, failure: again })]),
      `  replay:  npm run sim -- --play ${path}`,
      `  keep:    npm run sim -- --play ${path} --keep "what was wrong, in a sentence"`,
    );
  }
  return texts;
}

function shrunk({ script, check }: Failure): Fixture | null {
  if (script === null) return null;
  const untilMs = performance.now() + SHRINK_MS;
  const found = shrink(worldOf(script), script, check, {
    runsMax: SHRINK_RUNS,
    isOver: () => performance.now() >= untilMs,
  });
  return found === null ? null : { found: check, check, ...found.script };
}

function worldOf({ world }: { readonly world: string }): Parameters<typeof playScript>[0] {
  const found = WORLDS.get(world);
  if (found === undefined) throw new Error(`there is no world ${world}`);
  return found;
}
