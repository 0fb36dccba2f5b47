/**
 * Rare paths that a run came along. A sweep adds them up; a nightly run must have reached each of `RARE_PATHS`, or it
 * looked only at the easy part of the system and says so ("sometimes" assertions, simulation.md 8).
 */

export class Marks {
  readonly #hits = new Map<string, number>();

  hit(name: string, times = 1): void {
    this.#hits.set(name, (this.#hits.get(name) ?? 0) + times);
  }

  get hits(): ReadonlyMap<string, number> {
    return this.#hits;
  }
}

/** Adds `more` to `sums`. */
export function addMarks(sums: Record<string, number>, more: ReadonlyMap<string, number>): void {
  for (const [name, times] of more) sums[name] = (sums[name] ?? 0) + times;
}
