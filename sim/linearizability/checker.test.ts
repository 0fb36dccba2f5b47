import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../../src/base/index.ts";
import { checkLinearizability, type Model, type Verdict } from "./checker.ts";
import type { Operation } from "./history.ts";
import { type RegisterInput, registerModel, type RegisterOutput } from "./models.ts";
import { type Draft, failed, generateHistory, history, ok, open } from "./testing.ts";

type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

const read: RegisterInput = { kind: "read", key: "k" };
const write = (value: number): RegisterInput => ({ kind: "write", key: "k", value });
const cas = (expected: number, value: number): RegisterInput => ({
  kind: "cas",
  key: "k",
  expected,
  value,
});

function verdictOf(...operations: readonly Draft<RegisterInput, RegisterOutput>[]): Verdict {
  return checkLinearizability(registerModel, history(...operations));
}

/** Every order of every choice, without a shortcut. `isRequired` says which operations must have a place. */
function hasOrder<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  isRequired: (operation: Operation<Input, Output>) => boolean,
  state: State = model.init(),
): boolean {
  if (!operations.some(isRequired)) return true;
  return operations.some((next, i) => {
    const rest = operations.filter((_, j) => j !== i);
    if (rest.some((other) => isRequired(other) && other.returnedAt < next.invokedAt)) return false;
    const after = model.step(state, next.input, next.output);
    return after.some((successor) => hasOrder(model, rest, isRequired, successor));
  });
}

describe("a register history is linearizable", () => {
  it("when it is empty, or nothing in it was answered", () => {
    expect(verdictOf().kind).toBe("linearizable");
    expect(verdictOf(open(1, write(1), 0), failed(2, write(2), 0, 1)).kind).toBe("linearizable");
  });

  it("when a read overlaps the write that it sees or misses", () => {
    const during = [ok(1, write(1), null, 0, 10), ok(2, read, null, 1, 4), ok(3, read, 1, 5, 9)];
    expect(verdictOf(...during).kind).toBe("linearizable");
  });

  it("when an operation begins at the very time at which another ends, and may come first", () => {
    expect(verdictOf(ok(1, write(1), null, 0, 5), ok(2, read, null, 5, 6)).kind).toBe(
      "linearizable",
    );
    expect(verdictOf(ok(1, write(1), null, 0, 5), ok(2, read, null, 6, 7)).kind).toBe(
      "not-linearizable",
    );
  });

  it("when an unacknowledged write appears late, stays away, or appears between others", () => {
    const lost = open(1, write(1), 0);
    expect(verdictOf(lost, ok(2, read, null, 1, 2), ok(2, read, 1, 100, 101)).kind).toBe(
      "linearizable",
    );
    expect(verdictOf(lost, ok(2, read, null, 100, 101)).kind).toBe("linearizable");
    const between = [ok(2, write(2), null, 1, 2), ok(2, read, 2, 3, 4), ok(2, read, 1, 5, 6)];
    expect(verdictOf(lost, ...between).kind).toBe("linearizable");
  });

  it("when two unacknowledged writes of one value explain that it comes back", () => {
    const seen = [ok(2, read, 1, 2, 3), ok(2, write(2), null, 4, 5), ok(2, read, 1, 6, 7)];
    expect(verdictOf(open(1, write(1), 0), open(3, write(1), 1), ...seen).kind).toBe(
      "linearizable",
    );
  });
});

describe("a register history is not linearizable", () => {
  const bad: Readonly<Record<string, readonly Draft<RegisterInput, RegisterOutput>[]>> = {
    "when a read misses a write that had ended": [
      ok(1, write(1), null, 0, 1),
      ok(2, read, null, 2, 3),
    ],
    "when a read sees a value that was never written": [
      ok(1, write(1), null, 0, 9),
      ok(2, read, 7, 2, 3),
    ],
    "when a read sees a value that is written later": [
      ok(1, read, 1, 0, 1),
      ok(2, write(1), null, 2, 3),
    ],
    "when a read sees the write of a failed operation": [
      failed(1, write(1), 0, 1),
      ok(2, read, 1, 2, 3),
    ],
    "when reads of two clients go back in time": [
      ok(1, write(1), null, 0, 20),
      ok(2, read, 1, 1, 2),
      ok(3, read, null, 3, 4),
    ],
    "when two clients see two writes in different orders": [
      ok(1, write(1), null, 0, 1),
      ok(2, write(2), null, 0, 1),
      ok(3, read, 1, 2, 3),
      ok(4, read, 2, 4, 5),
    ],
    "when two compare-and-sets succeed from one value": [
      ok(1, write(1), null, 0, 1),
      ok(2, cas(1, 2), true, 2, 9),
      ok(3, cas(1, 3), true, 2, 9),
    ],
    "when a compare-and-set fails although the value is there": [
      ok(1, write(1), null, 0, 1),
      ok(2, cas(1, 2), false, 2, 3),
    ],
    "when a compare-and-set succeeds and its value is lost": [
      ok(1, write(1), null, 0, 1),
      ok(2, cas(1, 2), true, 2, 3),
      ok(3, read, 1, 4, 5),
    ],
    "when an unacknowledged write appears, goes, and appears again": [
      open(1, write(1), 0),
      ok(2, read, 1, 1, 2),
      ok(2, write(2), null, 3, 4),
      ok(2, read, 1, 5, 6),
    ],
    "when an unacknowledged write appears before it began": [
      ok(2, read, 1, 1, 2),
      open(1, write(1), 3),
      ok(2, read, 1, 4, 5),
    ],
    "when an unacknowledged compare-and-set appears from a value that was never there": [
      ok(1, write(1), null, 0, 1),
      open(2, cas(5, 6), 2),
      ok(3, read, 6, 3, 4),
    ],
  };
  for (const [name, operations] of Object.entries(bad)) {
    it(name, () => expect(verdictOf(...operations).kind).toBe("not-linearizable"));
  }

  it("and says which operation has no place, after which order, and what else there was", () => {
    const verdict = verdictOf(
      ok(1, write(1), null, 0, 1),
      ok(2, write(2), null, 2, 3),
      ok(3, read, 1, 4, 6),
      open(4, write(3), 5),
      ok(2, read, 2, 7, 8),
    );
    expect(verdict).toEqual({
      kind: "not-linearizable",
      steps: expect.any(Number) as number,
      blockedId: 2,
      order: [0, 1],
      explanation: [
        'not linearizable as a register: no order of "k" has a place for',
        '  process 3 [4, 6]: read "k" -> 1',
        "The order that gets furthest is",
        '  process 1 [0, 1]: write "k" 1 -> null',
        '  process 2 [2, 3]: write "k" 2 -> null',
        "which leaves the state 2.",
        "Not in it, but begun before time 6:",
        '  process 4 [5, ?]: write "k" 3 -> no answer',
      ].join("\n"),
    });
  });

  it("whatever the other keys do", () => {
    const other = { ...read, key: "other" };
    const verdict = verdictOf(
      ok(1, write(1), null, 0, 1),
      ok(2, other, null, 2, 3),
      ok(3, read, null, 4, 5),
    );
    expect(verdict.kind === "not-linearizable" && verdict.blockedId).toBe(2);
  });
});

describe("the search", () => {
  /** Few keys, values and moments, so that good and bad histories are both frequent. */
  const input = fc.oneof(
    fc.constant(read),
    fc.integer({ min: 1, max: 2 }).map(write),
    fc
      .tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 }))
      .map(([a, b]) => cas(a, b)),
  );
  const operation = fc
    .record({
      process: fc.nat(3),
      input,
      seen: fc.constantFrom(null, 1, 2),
      held: fc.boolean(),
      from: fc.nat(12),
      length: fc.nat(8),
      fate: fc.constantFrom("ok", "ok", "ok", "ok", "unknown"),
    })
    .map(({ process, input: asked, seen, held, from, length, fate }) => {
      if (fate === "unknown") return open(process, asked, from);
      const outputs = { read: seen, write: null, cas: held };
      return ok(process, asked, outputs[asked.kind], from, from + length);
    });
  const small = fc
    .array(operation, { maxLength: 6 })
    .map((operations) => history<RegisterInput, RegisterOutput>(...operations));
  const isAnswered = (one: RegisterOperation): boolean => one.outcome === "ok";

  it("agrees with trying every order, also when it may remember next to nothing", () => {
    const counts = { linearizable: 0, "not-linearizable": 0, undecided: 0 };
    fc.assert(
      fc.property(small, (operations) => {
        const expected = hasOrder(registerModel, operations, isAnswered);
        const verdict = checkLinearizability(registerModel, operations);
        counts[verdict.kind]++;
        expect(verdict.kind).toBe(expected ? "linearizable" : "not-linearizable");
        const forgetful = checkLinearizability(registerModel, operations, { cacheEntriesMax: 1 });
        expect(forgetful.kind).toBe(verdict.kind);
      }),
      { numRuns: 4000 },
    );
    expect(counts.undecided).toBe(0);
    expect(counts.linearizable).toBeGreaterThan(400);
    expect(counts["not-linearizable"]).toBeGreaterThan(400);
  });

  it("agrees with trying every order on good histories of which one answer or moment was changed", () => {
    const counts = { linearizable: 0, "not-linearizable": 0, undecided: 0 };
    for (let seed = 0; seed < 1500; seed++) {
      const random = new Random(seed);
      const operations = registerHistory(random, 7, 3, 1, 20).map((one) => ({ ...one }));
      const victim = operations.find((one) => one.outcome === "ok" && random.percent(40));
      if (victim === undefined) continue;
      if (random.percent(30)) victim.returnedAt = victim.invokedAt;
      else if (victim.input.kind === "cas") victim.output = !(victim.output as boolean);
      else if (victim.input.kind === "read") victim.output = random.below(3);
      const verdict = checkLinearizability(registerModel, operations);
      counts[verdict.kind]++;
      const expected = hasOrder(registerModel, operations, isAnswered);
      expect(verdict.kind).toBe(expected ? "linearizable" : "not-linearizable");
    }
    expect(counts.linearizable).toBeGreaterThan(100);
    expect(counts["not-linearizable"]).toBeGreaterThan(100);
  });

  it("blames the end up to which the history has no order, while it has one up to the end before", () => {
    let blamed = 0;
    fc.assert(
      fc.property(small, (operations) => {
        const ends = operations.map(({ returnedAt }) => returnedAt);
        const verdict = checkLinearizability(registerModel, operations);
        if (verdict.kind !== "not-linearizable" || new Set(ends).size < ends.length) return;
        blamed++;
        const { returnedAt } = operations[verdict.blockedId] as RegisterOperation;
        const begun = operations.filter(({ invokedAt }) => invokedAt <= returnedAt);
        expect(hasOrder(registerModel, begun, (one) => one.returnedAt <= returnedAt)).toBe(false);
        expect(hasOrder(registerModel, begun, (one) => one.returnedAt < returnedAt)).toBe(true);
        // The order that is shown is a real one, and nothing that ended before is missing in it.
        const order = verdict.order.map((id) => operations[id] as RegisterOperation);
        let states = [registerModel.init()];
        for (const one of order) {
          states = states.flatMap((state) => registerModel.step(state, one.input, one.output));
        }
        expect(states).not.toEqual([]);
        for (const [i, one] of order.entries()) {
          for (const later of order.slice(i)) expect(later.returnedAt < one.invokedAt).toBe(false);
        }
        const due = begun.filter((one) => one.returnedAt < returnedAt);
        for (const one of due) expect(verdict.order).toContain(one.id);
      }),
      { numRuns: 2000 },
    );
    expect(blamed).toBeGreaterThan(100);
  });

  it("does not depend on the order in which the operations are given", () => {
    for (let seed = 0; seed < 50; seed++) {
      const operations = registerHistory(new Random(seed), 60, 4, 2, 10);
      const forward = checkLinearizability(registerModel, operations);
      const backward = checkLinearizability(registerModel, operations.toReversed());
      expect(backward.kind).toBe("linearizable");
      expect(backward.steps).toBe(forward.steps);
    }
  });

  it("is undecided when its steps are used up or its time is over", () => {
    const operations = registerHistory(new Random(1), 50, 4, 1, 0);
    const { steps } = checkLinearizability(registerModel, operations);
    expect(checkLinearizability(registerModel, operations, { stepsMax: steps }).kind).toBe(
      "linearizable",
    );
    const stopped = checkLinearizability(registerModel, operations, { stepsMax: steps - 1 });
    expect(stopped).toMatchObject({ kind: "undecided", steps: steps - 1 });
    const isOverdue = (): boolean => true;
    const late = checkLinearizability(registerModel, operations, { isOverdue });
    expect(late).toMatchObject({ kind: "undecided", steps: 0 });
  });

  it("finds a violation on one key although another key is too hard to decide", () => {
    const hard = registerHistory(new Random(5), 400, 20, 1, 0).map((one) => ({ ...one }));
    const last = hard.findLast((one) => one.outcome === "ok" && one.input.kind === "read");
    Object.assign(last ?? {}, { output: -1 });
    const stepsMax = 2000;
    expect(checkLinearizability(registerModel, hard, { stepsMax }).kind).toBe("undecided");
    const other = { ...read, key: "other" };
    const wrong = history<RegisterInput, RegisterOutput>(ok(1, other, 7, 0, 1));
    const both = [...hard, ...wrong.map((one) => ({ ...one, id: hard.length }))];
    const verdict = checkLinearizability(registerModel, both, { stepsMax });
    expect(verdict.kind === "not-linearizable" && verdict.blockedId).toBe(hard.length);
  });

  it("decides 10,000 operations of 10 clients over 20 keys, 2 % of them unknown, in 40,000 steps", () => {
    for (let seed = 0; seed < 3; seed++) {
      const operations = registerHistory(new Random(seed), 10_000, 10, 20, 2);
      const verdict = checkLinearizability(registerModel, operations, { stepsMax: 40_000 });
      expect(verdict.kind).toBe("linearizable");
    }
  });

  it("finds one wrong answer among 10,000 in 100,000 steps", () => {
    for (let seed = 0; seed < 3; seed++) {
      const random = new Random(seed);
      const operations = registerHistory(random, 10_000, 10, 20, 2).map((one) => ({ ...one }));
      const reads = operations.filter((one) => one.outcome === "ok" && one.input.kind === "read");
      random.pick(reads).output = -1;
      const verdict = checkLinearizability(registerModel, operations, { stepsMax: 100_000 });
      expect(verdict.kind).toBe("not-linearizable");
    }
  });
});

/** Reads, writes and compare-and-sets of few values against a true register for each key. */
function registerHistory(
  random: Random,
  operations: number,
  clients: number,
  keys: number,
  unknownPercent: number,
): readonly RegisterOperation[] {
  const registers = new Map<string, number>();
  return generateHistory<RegisterInput, RegisterOutput>({
    operations,
    clients,
    unknownPercent,
    random,
    ask: () => {
      const key = `k${random.below(keys)}`;
      const kind = random.pick(["read", "write", "cas"] as const);
      const value = random.below(5);
      if (kind === "read") return { kind, key };
      return kind === "write"
        ? { kind, key, value }
        : { kind, key, expected: random.below(5), value };
    },
    carryOut: (asked) => {
      const before = registers.get(asked.key) ?? null;
      if (asked.kind === "read") return before;
      const holds = asked.kind === "write" || before === asked.expected;
      if (holds) registers.set(asked.key, asked.value as number);
      return asked.kind === "cas" ? holds : null;
    },
  });
}
