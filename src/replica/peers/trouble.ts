/**
 * Trouble that comes again with every call: it is told when it begins, when its reason is another, from then on more and
 * more rarely with how often it came, and when it has passed. A log that says the same every few seconds hides what else
 * is in it.
 */
import type { Env } from "../../env/index.ts";

/** When it is told for the second time, and the longest that is waited between two. */
const AGAIN_FIRST_MS = 60_000;
const AGAIN_MAX_MS = 3_600_000;
/** Reasons that are told as they come: whoever has a new one each time is told of as rarely as others. */
const REASONS_MAX = 8;

export class Trouble {
  readonly #env: Env;
  readonly #reasons: Set<string> = new Set();
  #times = 0;
  #cameMs = 0;
  #toldMs = 0;
  #pauseMs = AGAIN_FIRST_MS;

  constructor(env: Env) {
    this.#env = env;
  }

  /** It has come once more. Gives how often it has since it began if that is to be told, and null if it is not. */
  came(reason: string): number | null {
    const nowMs = this.#env.clock.monotonicMs();
    this.#times++;
    this.#cameMs = nowMs;
    const isNew = !this.#reasons.has(reason) && this.#reasons.size < REASONS_MAX;
    const isDue = nowMs - this.#toldMs >= this.#pauseMs;
    if (!isNew && !isDue) return null;
    if (isNew) this.#pauseMs = AGAIN_FIRST_MS;
    else {
      this.#pauseMs = Math.min(AGAIN_MAX_MS, this.#pauseMs * 2);
      this.#reasons.clear();
    }
    this.#reasons.add(reason);
    this.#toldMs = nowMs;
    return this.#times;
  }

  /** How long it has not come. */
  get quietMs(): number {
    return this.#env.clock.monotonicMs() - this.#cameMs;
  }

  /** It is over. Gives how often it came; what comes next is new. */
  passed(): number {
    const times = this.#times;
    this.#times = 0;
    this.#reasons.clear();
    return times;
  }
}
