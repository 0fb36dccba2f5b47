import { describe, expect, it } from "vitest";
import { playScript, playSeed, type World } from "./play.ts";
import { shrink } from "./shrink.ts";
import { Trace } from "./trace.ts";
import { check } from "./violation.ts";

interface Counting {
  readonly limit: number;
  readonly noise: boolean;
}

interface Add {
  readonly add: number;
}

/** Breaks when three even numbers have been added, whatever comes between. */
const WORLD: World<Counting, Add> = {
  name: "counting",
  drawOptions: () => ({ limit: 3, noise: true }),
  begin: (_, { limit }, trace) => {
    let drawn = 0;
    let even = 0;
    return {
      cycles: 0,
      commands: 0,
      draw: () => (drawn < 100 ? { add: (drawn++ * 7) % 10 } : null),
      perform: ({ add }) => {
        trace.event(0, "add", add);
        if (add % 2 === 0) even++;
        check(even < limit, "fewer than three even numbers", () => `${even}`);
      },
    };
  },
  simplerOptions: (options) => (options.noise ? [{ ...options, noise: false }] : []),
  simplerSteps: ({ add }) => (add > 1 ? [{ add: add - 2 }] : []),
};

const unlimited = { runsMax: 10_000, isOver: (): boolean => false };

describe("a failing run", () => {
  const { failure } = playSeed(WORLD, 1);
  if (failure?.script == null) throw new Error("it does not fail");
  const { script } = failure;

  it("ends with the step that failed, and fails again when it is played", () => {
    expect(script.steps.length).toBe(5);
    expect(playScript(WORLD, script).failure?.check).toBe(failure.check);
  });

  it("is cut down to what it needs, with simpler steps and options", () => {
    const found = shrink(WORLD, script, failure.check, unlimited);
    expect(found?.script.steps).toEqual([{ add: 0 }, { add: 0 }, { add: 0 }]);
    expect(found?.script.options).toEqual({ limit: 3, noise: false });
    expect(found?.failure.check).toBe(failure.check);
  });

  it("stays as it is when there is no time", () => {
    const found = shrink(WORLD, script, failure.check, { runsMax: 1, isOver: () => false });
    expect(found?.script.steps).toEqual(script.steps);
  });

  it("is not taken for another failure", () => {
    expect(shrink(WORLD, script, "something else", unlimited)).toBeNull();
  });
});

describe("a trace", () => {
  it("remembers the last events, and its hash covers all of them", () => {
    const traces = [1, 2].map((first) => {
      const trace = new Trace(2);
      trace.event(0, "one", first);
      trace.event(1, "two", 2);
      trace.event(2, "three", 3, { some: "detail" });
      return trace;
    });
    expect(traces[0]?.lines()).toEqual(["#2 1.00 ms two", '#3 2.00 ms three {"some":"detail"}']);
    expect(traces[0]?.lines()).toEqual(traces[1]?.lines());
    expect(traces[0]?.hash).not.toBe(traces[1]?.hash);
  });
});
