/**
 * The part of tape's interface that the suite of abstract-level is written against, on vitest: each of its tests is one
 * of ours, so that each is in the report. A test ends when its promise has resolved, with `end()`, or when its plan is
 * fulfilled; an assertion that comes later, one too many and one too few are failures, as with tape.
 */
import { isDeepStrictEqual } from "node:util";
import { inspect } from "node:util";

type Check = (error: unknown) => boolean;

export class Assertions {
  readonly #strays: string[];
  readonly #failures: string[] = [];
  #planned: number | null = null;
  #count = 0;
  #hasEnded = false;
  #onEnd: () => void = () => {};

  /** `strays` takes what is asserted after the end. */
  constructor(strays: string[]) {
    this.#strays = strays;
  }

  /** Runs one test; rejects with what failed in it. */
  async run(body: (t: Assertions) => unknown): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#onEnd = resolve;
    });
    try {
      const returned = body(this);
      if (returned instanceof Promise) {
        await returned;
        if (!this.#hasEnded && this.#planned === null) this.end();
        if (!this.#hasEnded)
          this.#failures.push(`${this.#count} of ${this.#planned} assertions that were planned`);
      } else await ended;
    } finally {
      this.#hasEnded = true;
    }
    if (this.#failures.length > 0) throw new Error(this.#failures.join("\n"));
  }

  plan(count: number): void {
    this.#planned = count;
    if (count === 0) this.end();
  }

  end(error?: unknown): void {
    if (error !== undefined && error !== null) this.#failures.push(inspect(error));
    if (this.#planned !== null && this.#count !== this.#planned)
      this.#failures.push(`${this.#count} of ${this.#planned} assertions that were planned`);
    if (this.#hasEnded) this.#strays.push("end() was called twice");
    this.#hasEnded = true;
    this.#onEnd();
  }

  ok(value: unknown, message = "ok"): void {
    this.#assert(Boolean(value), () => `${message}: ${inspect(value)} is falsy`);
  }

  is(actual: unknown, expected: unknown, message = "is"): void {
    this.#assert(
      Object.is(actual, expected),
      () => `${message}: ${inspect(actual)}, not ${inspect(expected)}`,
    );
  }

  isNot(actual: unknown, unexpected: unknown, message = "isNot"): void {
    this.#assert(!Object.is(actual, unexpected), () => `${message}: ${inspect(actual)}`);
  }

  same(actual: unknown, expected: unknown, message = "same"): void {
    this.#assert(
      isDeepStrictEqual(actual, expected),
      () => `${message}: ${inspect(actual)}, not ${inspect(expected)}`,
    );
  }

  throws(body: () => unknown, check: Check, message = "throws"): void {
    let thrown: unknown;
    let isRight = false;
    try {
      body();
    } catch (error) {
      thrown = error;
      isRight = check(error);
    }
    this.#assert(isRight, () => `${message}: ${inspect(thrown)}`);
  }

  doesNotThrow(body: () => unknown, message = "doesNotThrow"): void {
    try {
      body();
      this.pass();
    } catch (error) {
      this.fail(`${message}: ${inspect(error)}`);
    }
  }

  pass(_message?: string): void {
    this.#assert(true, () => "");
  }

  fail(message: unknown = "fail"): void {
    this.#assert(false, () => (typeof message === "string" ? message : inspect(message)));
  }

  #assert(holds: boolean, what: () => string): void {
    if (this.#hasEnded) this.#strays.push(`after the end: ${holds ? "an assertion" : what()}`);
    this.#count++;
    if (!holds) this.#failures.push(what());
    if (this.#planned !== null && this.#count === this.#planned && !this.#hasEnded) this.end();
  }
}
