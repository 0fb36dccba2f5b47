/** How long the event loop is held at a time, as its own histogram tells: garbage collection counts, too. */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

export interface Held {
  /** How long the work took. */
  readonly elapsedMs: number;
  /** The longest time between two looks of a timer that wants to look every millisecond. */
  readonly longestMs: number;
}

/** Runs `work` and watches the event loop meanwhile. */
export async function whileWatched(work: () => Promise<unknown>): Promise<Held> {
  // What came before is over when a few turns have passed.
  for (let i = 0; i < 3; i++) await sleep(2);
  const delays: IntervalHistogram = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const startedMs = performance.now();
  await work();
  const elapsedMs = performance.now() - startedMs;
  await sleep(5);
  delays.disable();
  return { elapsedMs, longestMs: delays.max / 1e6 };
}
