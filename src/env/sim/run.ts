/** For tests: runs simulated time until a sequence of operations has ended. */
import { type Io, runIo } from "../io.ts";
import type { SimScheduler } from "./scheduler.ts";

/**
 * Drives `world` (a scheduler, or a machine) until `io` ends. Returns its value or throws what it threw. An `io` that
 * can no longer end, or has not ended after `stepsMax` events, is an error: its process died, or an operation is stuck.
 */
export function runIoNow<T>(
  world: SimScheduler | { readonly scheduler: SimScheduler },
  io: Io<T>,
  stepsMax = 1_000_000,
): T {
  const scheduler = "scheduler" in world ? world.scheduler : world;
  let outcome:
    | { readonly failed: boolean; readonly error: unknown; readonly value: T | undefined }
    | undefined;
  runIo(io, (error, value) => {
    outcome = { failed: error !== null, error, value };
  });
  for (let steps = 0; outcome === undefined; steps++) {
    if (steps >= stepsMax || !scheduler.step())
      throw new Error(`the sequence of operations did not end after ${steps} events`);
  }
  if (outcome.failed) throw outcome.error;
  return outcome.value as T;
}
