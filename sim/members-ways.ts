/** The ways between the machines of the members world, and how a seed decides which of them suffer. */
import type { Random } from "../src/base/index.ts";
import type { WayWeather } from "../src/env/sim/index.ts";
import type { MembersOptions } from "./members-options.ts";
import type { Way } from "./members-steps.ts";

export class WaySource {
  readonly #random: Random;
  readonly #options: MembersOptions;
  readonly #members: readonly number[];

  constructor(random: Random, options: MembersOptions, members: readonly number[]) {
    this.#random = random;
    this.#options = options;
    this.#members = members;
  }

  get all(): Way[] {
    const ways: Way[] = [];
    for (const from of this.#members)
      for (const to of this.#members) if (from !== to) ways.push([from, to]);
    return ways;
  }

  /** Everywhere, on some ways, on those to or from one member, or on one alone. */
  some(one: number): readonly Way[] {
    const random = this.#random;
    switch (random.below(5)) {
      case 0:
        return this.all;
      case 1:
        return this.all.filter(() => random.percent(35));
      case 2:
        return this.all.filter(([from]) => from === one);
      case 3:
        return this.all.filter(([, to]) => to === one);
      default:
        return [random.pick(this.all.filter(([from]) => from === one))];
    }
  }

  weather(): Partial<WayWeather> {
    const random = this.#random;
    const { faults, electionMs } = this.#options;
    return {
      ...(faults.slowWays
        ? {
            delayMs: random.pick([0, 1, 5, 20, electionMs >> 1, electionMs, 2 * electionMs]),
            bytesPerMs: random.percent(30) ? random.pick([1, 5, 50]) : 0,
          }
        : {}),
      ...(faults.flips ? { flipPercent: random.pick([0, 0, 1, 10, 40]) } : {}),
    };
  }

  /** The ways to cut: a split, one member alone, one direction, some ways. */
  partition(one: number): readonly Way[] {
    const random = this.#random;
    switch (random.below(5)) {
      case 0: {
        const side = new Set(this.#members.filter(() => random.percent(50)));
        return this.all.filter(([from, to]) => side.has(from) !== side.has(to));
      }
      case 1:
        return this.all.filter(([from, to]) => from === one || to === one);
      case 2:
        return this.all.filter(([from]) => from === one);
      case 3:
        return this.all.filter(([, to]) => to === one);
      default:
        return this.all.filter(() => random.percent(30));
    }
  }
}
