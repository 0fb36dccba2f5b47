/**
 * How long things took, counted in buckets. Observing costs a few comparisons and no memory, so it stands on hot
 * paths; the text for Prometheus is made when somebody asks.
 */
import { assert } from "../../base/index.ts";

/** Upper bounds in seconds, doubling from 100 us to 26 s: syncs, requests and recoveries all fall inside. */
export const LATENCY_BOUNDS: readonly number[] = Array.from(
  { length: 19 },
  (_, i) => 2 ** i / 10_000,
);

export class Histogram {
  readonly bounds: readonly number[];
  /** Of each bucket alone; the last one is for what exceeds every bound. */
  readonly #counts: Float64Array;
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[] = LATENCY_BOUNDS) {
    for (let i = 1; i < bounds.length; i++)
      assert((bounds[i - 1] as number) < (bounds[i] as number), "bounds ascend");
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let i = 0;
    while (i < this.bounds.length && value > (this.bounds[i] as number)) i++;
    this.#counts[i] = (this.#counts[i] as number) + 1;
    this.#sum += value;
    this.#count++;
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#count;
  }

  /** How many observations were at most each bound: Prometheus counts so. */
  cumulative(): number[] {
    let total = 0;
    return this.bounds.map((_, i) => (total += this.#counts[i] as number));
  }
}
