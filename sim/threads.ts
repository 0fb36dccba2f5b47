/** Threads of the simulator: each runs worlds of its own, and they share nothing. */
import { Worker, type WorkerOptions } from "node:worker_threads";

/**
 * Memory for what has just been made. A life of a simulated machine leaves some megabytes of it behind: with the usual
 * few megabytes most of a life is still in use when they are full, and is copied instead of forgotten.
 */
const SEMI_SPACE_MEGABYTES = 64;

/** For a process that runs worlds. */
export const YOUNG_MEMORY_FLAG: string = `--max-semi-space-size=${SEMI_SPACE_MEGABYTES}`;

export function startThread(file: URL, workerData: unknown): Worker {
  const options: WorkerOptions = {
    workerData,
    // V8 counts three semi-spaces as the young generation.
    resourceLimits: { maxYoungGenerationSizeMb: 3 * SEMI_SPACE_MEGABYTES },
  };
  return new Worker(file, options);
}
