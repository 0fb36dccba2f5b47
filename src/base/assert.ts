/**
 * The whole vocabulary of assertions. They stay on in production: a database that has stopped trusting its own
 * state must stop, not answer.
 */

/** Programmer error: an invariant of the process does not hold. Never caught, never answered to a client. */
export class AssertionError extends Error {
  override readonly name = "AssertionError" as const;
}

/** Stops when `condition` does not hold. `message` says which invariant broke. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The compiler agrees that no case is left; at run time a value from outside may still arrive here. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable case: ${String(value)}`);
}

let verifying = false;

/** Turns the costly checks of `verify` on: tests and the simulator do, production does not. */
export function setVerifying(on: boolean): void {
  verifying = on;
}

/** Runs an O(n) check where tests and the simulator asked for it; costs one branch elsewhere. */
export function verify(check: () => void): void {
  if (verifying) check();
}

/** Asserts that `value` is an integer that a double holds exactly and is not negative: indexes, offsets, revisions. */
export function assertSafe(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new AssertionError(`${name} is not a safe non-negative integer: ${value}`);
  }
}
