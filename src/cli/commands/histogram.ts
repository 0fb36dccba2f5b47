/**
 * Latencies in buckets that grow with the value: 128 for each doubling, so that what is read is at most 0.8 percent
 * off, in memory that does not grow with the run.
 */
const STEPS = 128;
/** The shortest time that is told apart: 100 ns. */
const UNIT_US = 0.1;
const DOUBLINGS = 34;

export class Histogram {
  readonly #counts: Float64Array = new Float64Array(STEPS * DOUBLINGS);
  #count = 0;
  #sumUs = 0;
  #maxUs = 0;

  add(us: number): void {
    const bucket = Math.floor(Math.log2(Math.max(1, us / UNIT_US)) * STEPS);
    const at = Math.min(bucket, this.#counts.length - 1);
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#count++;
    this.#sumUs += us;
    if (us > this.#maxUs) this.#maxUs = us;
  }

  get count(): number {
    return this.#count;
  }

  get maxUs(): number {
    return this.#maxUs;
  }

  get meanUs(): number {
    return this.#count === 0 ? 0 : this.#sumUs / this.#count;
  }

  /** The time that a share `quantile` of all took at most: the upper end of its bucket. */
  quantileUs(quantile: number): number {
    const rank = Math.ceil(quantile * this.#count);
    let seen = 0;
    for (let i = 0; i < this.#counts.length; i++) {
      seen += this.#counts[i] as number;
      if (seen >= rank && seen > 0) return Math.min(this.#maxUs, UNIT_US * 2 ** ((i + 1) / STEPS));
    }
    return this.#maxUs;
  }
}
