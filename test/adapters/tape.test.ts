/** What the suite of abstract-level reports through our reading of tape can fail. */
import { describe, expect, it } from "vitest";
import { Assertions } from "./tape.ts";

/** What a test with this body comes to: "passed", or why not; and what it asserted too late. */
async function outcome(body: (t: Assertions) => unknown): Promise<readonly [string, number]> {
  const strays: string[] = [];
  const result = await new Assertions(strays).run(body).then(
    () => "passed",
    (error: Error) => error.message,
  );
  return [result, strays.length];
}

const FAILING: readonly (readonly [string, (t: Assertions) => unknown])[] = [
  ["ok", (t) => (t.ok(0), t.end())],
  ["is", (t) => (t.is("1", 1), t.end())],
  ["isNot", (t) => (t.isNot(1, 1), t.end())],
  ["same", (t) => (t.same([{ a: 1 }], [{ a: 2 }]), t.end())],
  ["same, for bytes of another kind", (t) => (t.same(Buffer.of(1), Uint8Array.of(1)), t.end())],
  [
    "throws, where nothing is thrown",
    (t) => (
      t.throws(
        () => 1,
        () => true,
      ),
      t.end()
    ),
  ],
  [
    "throws, of another kind",
    (t) => (
      t.throws(
        () => JSON.parse("{"),
        () => false,
      ),
      t.end()
    ),
  ],
  ["doesNotThrow", (t) => (t.doesNotThrow(() => JSON.parse("{")), t.end())],
  ["fail", (t) => (t.fail("no"), t.end())],
  ["end with an error", (t) => t.end(new Error("no"))],
  ["a plan of two with one, then the end", (t) => (t.plan(2), t.pass(), t.end())],
  ["a plan of two with one, then the promise", async (t) => (t.plan(2), t.pass())],
  ["a promise that rejects", () => Promise.reject(new Error("no"))],
  ["a body that throws", () => JSON.parse("{")],
];

describe("tape on vitest", () => {
  it.each(FAILING)("fails: %s", async (_, body) => {
    expect((await outcome(body))[0]).not.toBe("passed");
  });

  it("passes what is right", async () => {
    expect(
      await outcome((t) => {
        t.plan(3);
        t.same([undefined], [undefined]);
        t.throws(
          () => JSON.parse("{"),
          (error) => error instanceof SyntaxError,
        );
        queueMicrotask(() => t.is(1, 1));
      }),
    ).toEqual(["passed", 0]);
    expect(await outcome(async (t) => t.pass())).toEqual(["passed", 0]);
  });

  it("tells of an assertion after the end", async () => {
    const late = await outcome((t) => (t.plan(1), t.pass(), t.pass()));
    expect(late[1]).toBe(1);
  });
});
