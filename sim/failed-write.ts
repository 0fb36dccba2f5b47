/** One write or sync that fails, and whether its caller has heard of it. */
import type { InjectedFault, Operation, SimEnv } from "../src/env/sim/index.ts";

/** An operation takes at most so long on the simulated disk unless a fault slows it down. */
const OPERATION_MS_MAX = 0.25;
/** A checkpoint has several writes on their way, short ones with rests to write, and hears of all of them at once. */
const CHECKPOINT_MS_MAX = 20 * OPERATION_MS_MAX;

export class FailedWrite {
  readonly #machine: SimEnv;
  readonly #fault: InjectedFault;
  #askedAtMs = Number.POSITIVE_INFINITY;
  #arrivesAtMs = Number.POSITIVE_INFINITY;

  constructor(
    machine: SimEnv,
    operation: Operation["kind"],
    matches: (path: string) => boolean,
    error: string,
    skip: number,
  ) {
    this.#machine = machine;
    let left = skip;
    this.#fault = machine.disk.inject({
      operation,
      // Rules are asked when an operation is asked for; it fails when it is performed.
      path: (path) => {
        if (!matches(path)) return false;
        if (left-- === 0) {
          this.#askedAtMs = machine.scheduler.nowMs;
          this.#arrivesAtMs =
            this.#askedAtMs + (path.endsWith(".hdb") ? CHECKPOINT_MS_MAX : OPERATION_MS_MAX);
        }
        return true;
      },
      error,
      skip,
    });
  }

  /** It fails, or will. */
  get wasAsked(): boolean {
    return this.#askedAtMs !== Number.POSITIVE_INFINITY;
  }

  /** It has failed, and its caller knows. */
  get hasArrived(): boolean {
    return this.#machine.scheduler.nowMs > this.#arrivesAtMs;
  }

  remove(): void {
    this.#fault.remove();
  }
}
