import { afterEach, describe, expect, it } from "vitest";
import { assert, AssertionError, assertSafe, setVerifying, unreachable, verify } from "./index.ts";

afterEach(() => setVerifying(false));

describe("assertions", () => {
  it("stop with the invariant that broke, and let pass what holds", () => {
    expect(() => assert(1 + 1 === 2, "sums are right")).not.toThrow();
    expect(() => assert(false, "sums are right")).toThrow(new AssertionError("sums are right"));
  });

  it("stop at a case that should not exist", () => {
    expect(() => unreachable("new" as never)).toThrow("unreachable case: new");
  });

  it("take safe non-negative integers only", () => {
    for (const value of [0, 1, Number.MAX_SAFE_INTEGER]) {
      expect(() => assertSafe(value, "index")).not.toThrow();
    }
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => assertSafe(value, "index")).toThrow(AssertionError);
    }
  });

  it("run costly checks only where they are asked for", () => {
    let ran = 0;
    verify(() => ran++);
    expect(ran).toBe(0);
    setVerifying(true);
    verify(() => ran++);
    expect(ran).toBe(1);
  });
});
