/**
 * How long the event loop is held at a time. A timer that wants to come every millisecond looks how much the thread has
 * worked since its last look, and how much time has passed. On a machine that does other work as well the first says more
 * of ours, the second is what a request waits. Garbage collection on this thread counts.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface Held {
  /** How long the work took. */
  readonly elapsedMs: number;
  /** The most that the thread worked between two looks; by the clock where the system does not tell (it does on Linux). */
  readonly longestMs: number;
  /** The longest time between two looks. */
  readonly longestClockMs: number;
}

const EVERY_MS = 1;

/** Runs `work` and watches the event loop meanwhile. */
export async function whileWatched(work: () => Promise<unknown>): Promise<Held> {
  // What came before is over when a few turns have passed.
  for (let i = 0; i < 3; i++) await sleep(2);
  let [longestMs, longestClockMs] = [0, 0];
  let before = look();
  const timer = setInterval(() => {
    const now = look();
    longestMs = Math.max(longestMs, now.workedMs - before.workedMs);
    longestClockMs = Math.max(longestClockMs, now.atMs - before.atMs - EVERY_MS);
    before = now;
  }, EVERY_MS);
  const startedMs = performance.now();
  try {
    await work();
    const elapsedMs = performance.now() - startedMs;
    await sleep(5);
    return { elapsedMs, longestMs, longestClockMs };
  } finally {
    clearInterval(timer);
  }
}

function look(): { readonly atMs: number; readonly workedMs: number } {
  const atMs = performance.now();
  return { atMs, workedMs: workedMs() ?? atMs };
}

/** The first figure of the file is the time on a processor, in nanoseconds. */
function workedMs(): number | null {
  try {
    const [workedNs = ""] = readFileSync("/proc/thread-self/schedstat", "latin1").split(" ");
    return workedNs === "" ? null : Number(workedNs) / 1e6;
  } catch {
    return null;
  }
}
