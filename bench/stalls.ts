/**
 * How long the event loop is held at a time. A timer that wants to come every millisecond looks how late it is; where the
 * system tells how long this thread stood in line for a processor (Linux), that is taken off, for on a machine that does
 * other work it says nothing of ours. Garbage collection counts.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface Held {
  /** How long the work took. */
  readonly elapsedMs: number;
  /** The longest time between two looks, without what was spent in line. */
  readonly longestMs: number;
}

const EVERY_MS = 1;

/** Runs `work` and watches the event loop meanwhile. */
export async function whileWatched(work: () => Promise<unknown>): Promise<Held> {
  // What came before is over when a few turns have passed.
  for (let i = 0; i < 3; i++) await sleep(2);
  let longestMs = 0;
  let before = look();
  const timer = setInterval(() => {
    const now = look();
    const ownMs = now.atMs - before.atMs - (now.inLineMs - before.inLineMs);
    longestMs = Math.max(longestMs, ownMs - EVERY_MS);
    before = now;
  }, EVERY_MS);
  const startedMs = performance.now();
  try {
    await work();
    const elapsedMs = performance.now() - startedMs;
    await sleep(5);
    return { elapsedMs, longestMs };
  } finally {
    clearInterval(timer);
  }
}

function look(): { readonly atMs: number; readonly inLineMs: number } {
  return { atMs: performance.now(), inLineMs: inLineMs() };
}

/** The second figure of the file is the time on a run queue, in nanoseconds. */
function inLineMs(): number {
  try {
    const [, waitedNs = "0"] = readFileSync("/proc/thread-self/schedstat", "latin1").split(" ");
    return Number(waitedNs) / 1e6;
  } catch {
    return 0;
  }
}
