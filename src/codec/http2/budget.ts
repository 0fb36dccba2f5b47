/**
 * How much of something a client may do in a time: a bucket of tokens that fills with time and with useful work.
 * What costs us and brings nobody anything (resets, pings, settings, empty frames) is paid from it.
 *
 * Invariant: 0 <= tokens <= burst.
 */
import { assert } from "../../base/index.ts";

export interface Rate {
  /** How many at once. */
  readonly burst: number;
  readonly perSecond: number;
}

export class Budget {
  readonly #rate: Rate;
  #tokens: number;
  #filledAtMs: number | null = null;

  constructor(rate: Rate) {
    assert(rate.burst > 0 && rate.perSecond >= 0, "a rate allows something");
    this.#rate = rate;
    this.#tokens = rate.burst;
  }

  /** Time only runs forward: a clock that jumps back fills nothing. */
  advance(nowMs: number): void {
    const before = this.#filledAtMs ?? nowMs;
    if (this.#filledAtMs !== null && nowMs <= before) return;
    this.#filledAtMs = nowMs;
    this.earn(((nowMs - before) * this.#rate.perSecond) / 1000);
  }

  earn(tokens: number): void {
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + tokens);
  }

  /** False: the client has used up what it may. */
  spend(tokens: number): boolean {
    if (this.#tokens < tokens) return false;
    this.#tokens -= tokens;
    return true;
  }
}
