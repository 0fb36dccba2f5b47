/**
 * How a world is played: a step at a time. A step is plain data and says everything that the world decides in it, so
 * that a run can be kept, cut down and played again when the code, and with it what a seed leads to, has changed.
 *
 * Rules for a world:
 * - `draw` decides the next step from the seed and from what has happened so far, and changes nothing but its own
 *   random streams. `perform` draws nothing from those streams: what it must choose (which unsynced writes survive a
 *   crash, say) follows from numbers in the step.
 * - Any subsequence of steps can be played. A step that makes no sense where it now stands (a close of what is not
 *   open, an answer that nobody waits for) does nothing. That is what lets a failing run be shrunk.
 * - A check that does not hold throws a `Violation`.
 */
import { setVerifying } from "../src/base/index.ts";
import { Marks } from "./marks.ts";
import { type Failure, failureOf, type RunResult } from "./result.ts";
import { Trace } from "./trace.ts";

/** What a step or the options of a world may be made of: fixtures keep it as JSON (see fixture.ts). */
export type Plain =
  | null
  | undefined
  | boolean
  | number
  | string
  | bigint
  | Uint8Array
  | readonly Plain[]
  | { readonly [name: string]: Plain };

export interface Play<Step> {
  /** Crashes that count so far, verified. */
  readonly cycles: number;
  /** Writes that were acknowledged. */
  readonly commands: number;
  /** The next step, or null when the run is over. */
  draw(): Step | null;
  perform(step: Step): void;
}

/** What a run is drawn with: the default mix of faults, or a random subset of them with tiny constants. */
export type Style = "default" | "swarm";

export interface World<Options, Step> {
  readonly name: string;
  drawOptions(seed: number, style: Style): Options;
  begin(seed: number, options: Options, trace: Trace, marks: Marks): Play<Step>;
  /** Options that leave something out, simplest first, to be tried when a failure is shrunk. */
  simplerOptions?(options: Options): Options[];
  /** The same for one step. */
  simplerSteps?(step: Step): Step[];
}

/** A world of whatever options and steps. */
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyWorld = World<any, any>;

/** Everything that a run depends on besides the code. */
export interface Script {
  readonly world: string;
  readonly seed: number;
  readonly options: unknown;
  readonly steps: readonly unknown[];
}

/** Plays what the seed leads to. The script of a run that failed comes with its failure. */
export function playSeed(
  world: AnyWorld,
  seed: number,
  style: Style = "default",
  trace: Trace = new Trace(),
): RunResult {
  const options = world.drawOptions(seed, style) as unknown;
  const steps: unknown[] = [];
  return run(
    world,
    seed,
    options,
    trace,
    (play) => {
      for (let step = play.draw(); step !== null; step = play.draw()) {
        steps.push(step);
        play.perform(step);
      }
    },
    steps,
  );
}

/** Plays what a script says, and then nothing more. */
export function playScript(
  world: AnyWorld,
  { seed, options, steps }: Script,
  trace: Trace = new Trace(),
): RunResult {
  return run(
    world,
    seed,
    options,
    trace,
    (play) => {
      for (const step of steps) play.perform(step);
    },
    steps,
  );
}

function run(
  world: AnyWorld,
  seed: number,
  options: unknown,
  trace: Trace,
  drive: (play: Play<unknown>) => void,
  steps: readonly unknown[],
): RunResult {
  const marks = new Marks();
  let play: Play<unknown> | null = null;
  let failure: Failure | null = null;
  try {
    play = world.begin(seed, options, trace, marks) as Play<unknown>;
    drive(play);
  } catch (error) {
    failure = failureOf(error, trace, options, {
      world: world.name,
      seed,
      options,
      steps: [...steps],
    });
  }
  return {
    world: world.name,
    seed,
    cycles: play?.cycles ?? 0,
    commands: play?.commands ?? 0,
    hash: trace.hash,
    marks: marks.hits,
    failure,
  };
}

/** Runs with the O(n) checks inside of the code. */
export function verified<T>(run: () => T): T {
  setVerifying(true);
  try {
    return run();
  } finally {
    setVerifying(false);
  }
}
