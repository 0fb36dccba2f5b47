/**
 * Makes a failing run small: leaves out steps, simplifies what stays, and keeps what still fails in the same check.
 * Steps are left out in ever smaller pieces (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing
 * input", 2002). The result is no minimum, and the work ends with its budget.
 */
import { type AnyWorld, playScript, type Script } from "./play.ts";
import type { Failure } from "./result.ts";

export interface Shrunk {
  readonly script: Script;
  readonly failure: Failure;
  readonly runs: number;
}

export interface ShrinkBudget {
  readonly runsMax: number;
  /** True when the time is over. */
  readonly isOver: () => boolean;
}

/** Null when the script does not fail in that check at all: then something outside of it decides. */
export function shrink(
  world: AnyWorld,
  script: Script,
  check: string,
  budget: ShrinkBudget,
): Shrunk | null {
  const shrinker = new Shrinker(world, check, budget);
  const failure = shrinker.fails(script);
  return failure === null ? null : shrinker.run(script, failure);
}

class Shrinker {
  readonly #world: AnyWorld;
  readonly #check: string;
  readonly #budget: ShrinkBudget;
  #runs = 0;
  #best: { script: Script; failure: Failure } | null = null;

  constructor(world: AnyWorld, check: string, budget: ShrinkBudget) {
    this.#world = world;
    this.#check = check;
    this.#budget = budget;
  }

  fails(script: Script): Failure | null {
    this.#runs++;
    const { failure } = playScript(this.#world, script);
    return failure?.check === this.#check ? failure : null;
  }

  run(script: Script, failure: Failure): Shrunk {
    this.#best = { script, failure };
    for (let before = -1; before !== this.#size() && !this.#isOver();) {
      before = this.#size();
      this.#fewerSteps();
      this.#simplerOptions();
      this.#simplerSteps();
    }
    return { ...this.#best, runs: this.#runs };
  }

  #isOver(): boolean {
    return this.#runs >= this.#budget.runsMax || this.#budget.isOver();
  }

  get #script(): Script {
    return (this.#best as { script: Script }).script;
  }

  /** Shrinks with every success, so that rounds come to an end. */
  #size(): number {
    return JSON.stringify(this.#script, (_, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    ).length;
  }

  /** True when the candidate still fails: it is the best from now on. */
  #take(candidate: Script): boolean {
    if (this.#isOver()) return false;
    const failure = this.fails(candidate);
    if (failure === null) return false;
    this.#best = { script: candidate, failure };
    return true;
  }

  /** In pieces of half, a quarter, ... and at last of one step, from the end: what comes last matters most. */
  #fewerSteps(): void {
    for (let piece = Math.ceil(this.#script.steps.length / 2); piece >= 1;) {
      let removed = false;
      for (let end = this.#script.steps.length; end > 0 && !this.#isOver(); end -= piece) {
        const { steps } = this.#script;
        const from = Math.max(0, end - piece);
        const kept = [...steps.slice(0, from), ...steps.slice(end)];
        if (this.#take({ ...this.#script, steps: kept })) removed = true;
      }
      if (this.#isOver() || (piece === 1 && !removed)) return;
      piece = piece === 1 ? 1 : Math.ceil(piece / 2);
    }
  }

  #simplerOptions(): void {
    for (let progress = true; progress && !this.#isOver();) {
      progress = false;
      const options = (this.#world.simplerOptions?.(this.#script.options) ?? []) as unknown[];
      for (const simpler of options) {
        if (!this.#take({ ...this.#script, options: simpler })) continue;
        progress = true;
        break;
      }
    }
  }

  #simplerSteps(): void {
    for (let i = this.#script.steps.length - 1; i >= 0 && !this.#isOver(); i--) {
      for (let progress = true; progress && !this.#isOver();) {
        progress = false;
        const candidates = (this.#world.simplerSteps?.(this.#script.steps[i]) ?? []) as unknown[];
        for (const simpler of candidates) {
          const steps = this.#script.steps.with(i, simpler);
          if (!this.#take({ ...this.#script, steps })) continue;
          progress = true;
          break;
        }
      }
    }
  }
}
