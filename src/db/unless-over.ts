/** Long work on files that must end with the node, or with what it is for. */
import type { Io } from "../env/index.ts";

/**
 * Drives `io` until `over` gives a reason to end: then it is told so at its next step, once, and cleans up after itself.
 */
export function* unlessOver<T>(io: Io<T>, over: () => Error | null): Io<T> {
  let isTold = false;
  let step = io.next();
  while (step.done !== true) {
    try {
      const value = yield step.value;
      const why = isTold ? null : over();
      if (why === null) step = io.next(value);
      else {
        isTold = true;
        step = io.throw(why);
      }
    } catch (error) {
      step = io.throw(error);
    }
  }
  return step.value;
}
