/** What the run of one seed says of itself. */
import { AssertionError } from "../src/base/index.ts";
import type { Script } from "./play.ts";
import type { Trace } from "./trace.ts";
import { Violation } from "./violation.ts";

export interface RunResult {
  /** The world that it was played in. */
  readonly world: string;
  readonly seed: number;
  /** Crashes that count: with unsynced writes pending after enough work, recovered and verified. */
  readonly cycles: number;
  /** Writes that were acknowledged. */
  readonly commands: number;
  /** Over all events: equal for every run of the seed. */
  readonly hash: number;
  /** Rare paths that the run came along, and how often. */
  readonly marks: ReadonlyMap<string, number>;
  readonly failure: Failure | null;
}

export interface Failure {
  /** Which rule broke: the same text for the same rule. */
  readonly check: string;
  readonly message: string;
  /** The number of the event. */
  readonly event: number;
  readonly options: unknown;
  /** The last events before. */
  readonly lines: readonly string[];
  /** Plays the failure again, and can be shrunk and kept. Null for a world that is not played by steps. */
  readonly script: Script | null;
}

export const NO_MARKS: ReadonlyMap<string, number> = new Map();

export function failureOf(
  error: unknown,
  trace: Trace,
  options: unknown,
  script: Script | null = null,
): Failure {
  const isKnown = error instanceof Violation;
  const rule = isKnown
    ? error.check
    : error instanceof AssertionError
      ? `assertion: ${error.message}`
      : `unexpected: ${String(error)}`;
  const message =
    error instanceof Error && !isKnown ? (error.stack ?? error.message) : String(error);
  return { check: rule, message, event: trace.count, options, lines: trace.lines(), script };
}
