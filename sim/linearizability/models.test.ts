import { describe, expect, it } from "vitest";
import { checkLinearizability, type Model } from "./checker.ts";
import { type KvInput, kvModel, type KvOutput } from "./kv-model.ts";
import { counterModel, type CounterInput, listModel, lockModel } from "./models.ts";
import type { ListInput, ListOutput, LockInput, LockOutput } from "./models.ts";
import { type Draft, history, ok, open } from "./testing.ts";

/** Whether there is an order for these operations. */
function fits<State, Input, Output>(
  model: Model<State, Input, Output>,
  ...operations: readonly Draft<Input, Output>[]
): boolean {
  const { kind } = checkLinearizability(model, history<Input, Output>(...operations));
  expect(kind).not.toBe("undecided");
  return kind === "linearizable";
}

describe("a counter", () => {
  const incr: CounterInput = { kind: "incr", key: "c", by: 1 };
  const read: CounterInput = { kind: "read", key: "c" };

  it("gives each increment a value of its own, in the order of time", () => {
    expect(
      fits(counterModel, ok(1, incr, 2, 0, 5), ok(2, incr, 1, 0, 5), ok(1, read, 2, 6, 7)),
    ).toBe(true);
    expect(fits(counterModel, ok(1, incr, 1, 0, 5), ok(2, incr, 1, 0, 5))).toBe(false);
    expect(fits(counterModel, ok(1, incr, 2, 0, 1), ok(2, incr, 1, 2, 3))).toBe(false);
    expect(fits(counterModel, ok(1, incr, 1, 0, 1), ok(2, read, 0, 2, 3))).toBe(false);
  });

  it("skips a value only for an increment of unknown outcome, and only one for each", () => {
    expect(fits(counterModel, open(1, incr, 0), ok(2, incr, 2, 1, 2))).toBe(true);
    expect(fits(counterModel, ok(2, incr, 2, 1, 2))).toBe(false);
    expect(fits(counterModel, open(1, incr, 0), ok(2, incr, 3, 1, 2))).toBe(false);
    expect(fits(counterModel, ok(2, incr, 2, 1, 2), open(1, incr, 3))).toBe(false);
  });
});

describe("a list", () => {
  const append = (value: number): ListInput => ({ kind: "append", key: "l", value });
  const read: ListInput = { kind: "read", key: "l" };
  const checks = (...operations: readonly Draft<ListInput, ListOutput>[]): boolean =>
    fits(listModel, ...operations);

  it("keeps every append, in one order for all readers", () => {
    const both = [ok(1, append(1), 1, 0, 5), ok(2, append(2), 2, 0, 5)];
    expect(checks(...both, ok(3, read, [1, 2], 6, 7))).toBe(true);
    expect(checks(...both, ok(3, read, [2, 1], 6, 7))).toBe(false);
    expect(checks(...both, ok(3, read, [2], 6, 7))).toBe(false);
    expect(checks(...both, ok(3, read, [1, 2, 2], 6, 7))).toBe(false);
    expect(
      checks(ok(1, append(1), null, 0, 5), ok(3, read, [], 1, 2), ok(3, read, [1], 3, 4)),
    ).toBe(true);
  });

  it("tells text from numbers", () => {
    expect(checks(ok(1, append(1), null, 0, 1), ok(3, read, ["1"], 2, 3))).toBe(false);
  });
});

describe("a lock with fencing tokens", () => {
  const acquire = (owner: string): LockInput => ({ kind: "acquire", key: "l", owner });
  const release = (owner: string): LockInput => ({ kind: "release", key: "l", owner });
  const checks = (
    expires: boolean,
    ...operations: readonly Draft<LockInput, LockOutput>[]
  ): boolean => fits(lockModel(expires), ...operations);
  const held = ok<LockInput, LockOutput>(1, acquire("a"), 5, 0, 1);

  it("has one holder at a time", () => {
    expect(checks(false, held, ok(2, acquire("b"), null, 2, 3))).toBe(true);
    expect(checks(false, held, ok(2, acquire("b"), 6, 2, 3))).toBe(false);
    expect(checks(true, held, ok(2, acquire("b"), 6, 2, 3))).toBe(true);
    const released = ok<LockInput, LockOutput>(1, release("a"), true, 2, 3);
    expect(checks(false, held, released, ok(2, acquire("b"), 6, 2, 3))).toBe(true);
    expect(checks(false, held, released, ok(2, acquire("b"), null, 4, 5))).toBe(false);
  });

  it("never gives a token twice, nor a lower one, even when it expires", () => {
    for (const expires of [false, true]) {
      const released = ok<LockInput, LockOutput>(1, release("a"), true, 2, 3);
      expect(checks(expires, held, released, ok(2, acquire("b"), 5, 4, 5))).toBe(false);
      expect(checks(expires, held, released, ok(2, acquire("b"), 4, 4, 5))).toBe(false);
      expect(checks(expires, held, released, ok(2, acquire("b"), 9, 4, 5))).toBe(true);
    }
  });

  it("is released by nobody but its holder, who may have lost it when it expires", () => {
    expect(checks(false, held, ok(2, release("b"), true, 2, 3))).toBe(false);
    expect(checks(true, held, ok(2, release("b"), true, 2, 3))).toBe(false);
    expect(checks(false, held, ok(1, release("a"), false, 2, 3))).toBe(false);
    expect(checks(true, held, ok(1, release("a"), false, 2, 3))).toBe(true);
    const lost = ok<LockInput, LockOutput>(1, release("a"), false, 2, 3);
    expect(checks(true, held, lost, ok(1, release("a"), true, 4, 5))).toBe(false);
  });

  it("may be held by one whose acquisition nobody acknowledged", () => {
    expect(checks(false, open(1, acquire("a"), 0), ok(2, acquire("b"), null, 1, 2))).toBe(true);
    expect(checks(false, ok(2, acquire("b"), null, 1, 2))).toBe(false);
  });
});

describe("a key-value store with revisions", () => {
  const put = (key: string, value: string): KvInput => ({ kind: "put", key, value });
  const get: KvInput = { kind: "get", key: "a" };
  const gave = (revision: number, ...results: KvOutput["results"]): KvOutput => ({
    revision,
    succeeded: true,
    results,
  });
  const record = (value: string, createRevision: number, modRevision: number, version: number) => ({
    value,
    createRevision,
    modRevision,
    version,
  });
  const checks = (...operations: readonly Draft<KvInput, KvOutput>[]): boolean =>
    fits(kvModel, ...operations);

  it("counts revisions and versions as etcd does", () => {
    const story: readonly (readonly [KvInput, KvOutput])[] = [
      [get, gave(1, null)],
      [put("a", "x"), gave(2, null)],
      [put("a", "y"), gave(3, null)],
      [get, gave(3, record("y", 2, 3, 2))],
      [{ kind: "delete", key: "b" }, gave(3, 0)],
      [{ kind: "delete", key: "a" }, gave(4, 1)],
      [put("a", "z"), gave(5, null)],
      [get, gave(5, record("z", 5, 5, 1))],
    ];
    const operations = story.map(([input, output], i) => ok(1, input, output, 2 * i, 2 * i + 1));
    expect(checks(...operations)).toBe(true);
    for (const i of operations.keys()) {
      const wrong = { ...(story[i] as (typeof story)[0])[1], revision: 9 };
      const changed = operations.map((one, j) => (i === j ? { ...one, output: wrong } : one));
      expect(checks(...changed)).toBe(false);
    }
  });

  it("carries a transaction out as a whole, at one revision", () => {
    const compare = { key: "a", target: "value", relation: "=", operand: "x" } as const;
    const txn: KvInput = {
      kind: "txn",
      compare: [compare, { key: "b", target: "version", relation: "<", operand: 1 }],
      success: [
        { kind: "put", key: "a", value: "y" },
        { kind: "put", key: "b", value: "y" },
        { kind: "get", key: "a" },
      ],
      failure: [{ kind: "get", key: "a" }],
    };
    const first = ok(1, put("a", "x"), gave(2, null), 0, 1);
    const done = gave(3, null, null, record("y", 2, 3, 2));
    const refused = { revision: 3, succeeded: false, results: [record("y", 2, 3, 2)] };
    expect(checks(first, ok(1, txn, done, 2, 9), ok(2, txn, refused, 2, 9))).toBe(true);
    expect(checks(first, ok(1, txn, done, 2, 9), ok(2, txn, done, 2, 9))).toBe(false);
    expect(checks(first, ok(1, txn, { ...done, revision: 4 }, 2, 9))).toBe(false);
    expect(checks(first, ok(1, txn, refused, 2, 9))).toBe(false);
  });
});
