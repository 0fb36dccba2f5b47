/**
 * Short runs in which a crash comes at every single file operation, in every way that is legal there: all subsets of
 * the unsynced writes when they are few, drawn ones beyond. Each outcome is opened and compared with what must be
 * there at that moment.
 *
 * This finds by force what random crashes find by luck: an order of two operations that matters once in a thousand.
 */
import {
  type CrashPoint,
  type CrashSweepOptions,
  type SimEnv,
  sweepCrashes,
} from "../src/env/sim/index.ts";
import type { Scenario } from "./scenario.ts";
import { NODE_SCENARIOS } from "./scenarios-node.ts";
import { STORAGE_SCENARIOS } from "./scenarios-storage.ts";
import { Violation } from "./violation.ts";

export const SCENARIOS: readonly Scenario[] = [...NODE_SCENARIOS, ...STORAGE_SCENARIOS];

export interface EnumerationResult {
  readonly scenario: string;
  /** Places of a crash: before or after a file operation. */
  readonly points: number;
  /** Outcomes that were opened and compared. */
  readonly crashes: number;
}

/** Crashes `scenario` everywhere. Throws a Violation that names the place. */
export function enumerate(
  scenario: Scenario,
  seed: number,
  options: CrashSweepOptions,
): EnumerationResult {
  const stage = scenario.begin(seed);
  stage.prepare();
  let points = 0;
  let crashes = 0;
  let last: CrashPoint | null = null;
  const visit = (crashed: SimEnv, point: CrashPoint): void => {
    if (point.ordinal !== last?.ordinal || point.moment !== last.moment) points++;
    last = point;
    crashes++;
    try {
      stage.judge(crashed);
    } catch (error) {
      throw named(error, scenario.name, point);
    }
  };
  for (const act of stage.acts) {
    const stop = sweepCrashes(stage.machine, visit, options);
    act();
    stop();
  }
  return { scenario: scenario.name, points, crashes };
}

function named(error: unknown, scenario: string, point: CrashPoint): Violation {
  const rule = error instanceof Violation ? error.check : `unexpected: ${String(error)}`;
  const { crash, moment, ordinal, operation } = point;
  return new Violation(
    rule,
    `"${scenario}", ${crash} ${moment} operation ${ordinal} (${operation.kind} ${operation.path}): ${error instanceof Error ? error.stack : String(error)}`,
  );
}
