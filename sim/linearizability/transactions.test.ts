import { describe, expect, it } from "vitest";
import { Random } from "../../src/base/index.ts";
import { type Draft, failed, generateHistory, history, ok, open } from "./testing.ts";
import {
  type Anomaly,
  checkTransactions,
  type ListElement,
  type TransactionInput,
  type TransactionOutput,
} from "./transactions.ts";

type Part = TransactionInput[number];
type Step = readonly [Part, readonly ListElement[] | null];

const add = (key: string, value: ListElement): Step => [{ kind: "append", key, value }, null];
const see = (key: string, ...found: readonly ListElement[]): Step => [{ kind: "read", key }, found];

/** A transaction that was acknowledged. */
function did(
  from: number,
  to: number,
  ...steps: readonly Step[]
): Draft<TransactionInput, TransactionOutput> {
  return ok(
    from,
    steps.map(([part]) => part),
    steps.map(([, found]) => found),
    from,
    to,
  );
}

function inputOf(...steps: readonly Step[]): TransactionInput {
  return steps.map(([part]) => part);
}

function anomalies(
  ...transactions: readonly Draft<TransactionInput, TransactionOutput>[]
): readonly Anomaly["name"][] {
  return checkTransactions(history(...transactions)).map(({ name }) => name);
}

describe("transactions show nothing wrong", () => {
  it("when they overlap and have an order", () => {
    expect(anomalies()).toEqual([]);
    expect(
      anomalies(did(0, 9, add("x", 1), add("y", 1)), did(1, 8, see("x", 1), see("y", 1))),
    ).toEqual([]);
    expect(
      anomalies(did(0, 9, add("x", 1)), did(1, 8, see("x")), did(10, 11, see("x", 1))),
    ).toEqual([]);
  });

  it("when they see their own appends", () => {
    const own = did(2, 3, see("x", 1), add("x", 2), see("x", 1, 2), add("x", 3), see("x", 1, 2, 3));
    expect(anomalies(did(0, 1, add("x", 1)), own, did(4, 5, see("x", 1, 2, 3)))).toEqual([]);
  });

  it("when one of unknown outcome appears late or never", () => {
    const lost = open(1, inputOf(add("x", 1), add("y", 1)), 0);
    expect(anomalies(lost, did(2, 3, see("x")), did(4, 5, see("x", 1), see("y", 1)))).toEqual([]);
    expect(anomalies(lost, did(2, 3, see("x")), did(4, 5, see("x"), see("y")))).toEqual([]);
  });
});

describe("an anomaly is named", () => {
  const one = did(0, 20, add("x", 1), add("y", 1));
  const two = did(0, 20, add("x", 2), add("y", 2));

  it("G0, when two transactions write two keys in different orders", () => {
    const reads = [did(21, 22, see("x", 1, 2)), did(21, 22, see("y", 2, 1))];
    expect(anomalies(one, two, ...reads)).toContain("G0");
  });

  it("G1a, when somebody reads what a failed transaction wrote", () => {
    expect(anomalies(failed(1, inputOf(add("x", 1)), 0, 1), did(2, 3, see("x", 1)))).toEqual([
      "G1a",
    ]);
  });

  it("G1b, when somebody reads a list in the middle of a transaction", () => {
    const writer = did(0, 9, add("x", 1), add("x", 2));
    expect(anomalies(writer, did(0, 9, see("x", 1)), did(10, 11, see("x", 1, 2)))).toContain("G1b");
  });

  it("G1c, when two transactions see each other's writes", () => {
    expect(
      anomalies(did(0, 9, add("x", 1), see("y", 1)), did(0, 9, add("y", 1), see("x", 1))),
    ).toEqual(["G1c"]);
  });

  it("G-single, when a read sees one of two writes of a transaction", () => {
    expect(anomalies(one, did(0, 20, see("x", 1), see("y")), did(21, 22, see("y", 1)))).toEqual([
      "G-single",
    ]);
  });

  it("G-single, when somebody sees one half of a transaction of unknown outcome", () => {
    const lost = open(1, inputOf(add("x", 1), add("y", 1)), 0);
    expect(anomalies(lost, did(2, 3, see("x", 1), see("y")))).toEqual(["G-single"]);
  });

  it("G-single, when two transactions replace the same list, and one write is lost", () => {
    const writers = [did(0, 9, see("x"), add("x", 1)), did(0, 9, see("x"), add("x", 2))];
    expect(anomalies(...writers, did(10, 11, see("x", 2)))).toContain("G-single");
  });

  it("G2, when two transactions miss each other's writes", () => {
    const skew = [did(0, 9, see("x"), add("y", 1)), did(0, 9, see("y"), add("x", 1))];
    expect(anomalies(...skew, did(10, 11, see("x", 1), see("y", 1)))).toEqual(["G2"]);
  });

  it("G0-realtime, when a later write stands before an earlier one", () => {
    const writers = [did(0, 1, add("x", 1)), did(2, 3, add("x", 2))];
    expect(anomalies(...writers, did(4, 5, see("x", 2, 1)))).toEqual(["G0-realtime"]);
  });

  it("G1c-realtime, when a read sees a write that begins later", () => {
    expect(anomalies(did(0, 1, see("x", 1)), did(2, 3, add("x", 1)))).toEqual(["G1c-realtime"]);
    expect(anomalies(did(0, 1, see("x", 1)), open(2, inputOf(add("x", 1)), 2))).toEqual([
      "G1c-realtime",
    ]);
  });

  it("G-single-realtime, when a read is stale, or an acknowledged append is lost", () => {
    const stale = [did(0, 1, add("x", 1)), did(2, 3, see("x")), did(4, 5, see("x", 1))];
    expect(anomalies(...stale)).toEqual(["G-single-realtime"]);
    const lost = [did(0, 1, add("x", 1)), did(1, 3, see("z")), did(4, 5, see("x"))];
    expect(anomalies(...lost)).toEqual(["G-single-realtime"]);
    expect(anomalies(did(0, 5, add("x", 1)), did(5, 6, see("x")))).toEqual([]);
  });

  it("G2-realtime, when readers of different clients disagree about which write was first", () => {
    const writers = [did(0, 30, add("x", 1)), did(0, 30, add("y", 1))];
    const readers = [
      did(1, 2, see("x", 1)),
      did(3, 4, see("y")),
      did(1, 2, see("y", 1)),
      did(3, 4, see("x")),
    ];
    expect(anomalies(...writers, ...readers)).toContain("G-single-realtime");
    const skew = [
      did(1, 2, see("x"), see("z")),
      did(1, 9, add("x", 1)),
      did(5, 9, see("y")),
      did(0, 9, add("y", 1), add("z", 1)),
    ];
    expect(anomalies(...skew, did(10, 11, see("x", 1), see("y", 1), see("z", 1)))).toEqual([]);
  });

  it("and lists that are wrong by themselves", () => {
    const writers = [did(0, 1, add("x", 1)), did(0, 1, add("x", 2))];
    expect(anomalies(...writers, did(2, 3, see("x", 1, 2, 1)))).toContain("duplicate-element");
    expect(anomalies(did(2, 3, see("x", 7)))).toEqual(["garbage-read"]);
    const split = [did(0, 9, see("x", 1)), did(0, 9, see("x", 2, 1))];
    expect(anomalies(...writers, ...split)).toEqual(["incompatible-order"]);
  });

  it("internal, when a transaction contradicts itself", () => {
    const before = did(0, 1, add("x", 1));
    const cases = [
      [see("x", 1), add("x", 2), see("x", 1)],
      [see("x"), see("x", 1)],
      [add("x", 2), see("x", 2, 1)],
      [see("x", 1, 2), add("x", 2)],
    ];
    for (const steps of cases) expect(anomalies(before, did(0, 9, ...steps))).toContain("internal");
    const missing = ok(1, inputOf(see("x")), [], 0, 1);
    expect(anomalies(missing)).toEqual(["internal"]);
    const reversed = [did(0, 9, add("x", 2), add("x", 3)), did(10, 11, see("x", 3, 2))];
    expect(anomalies(...reversed)).toContain("internal");
  });

  it("with the cycle in words", () => {
    const [anomaly] = checkTransactions(
      history(did(0, 1, add("x", 1)), did(2, 3, see("x")), did(4, 5, see("x", 1))),
    );
    expect(anomaly?.explanation).toBe(
      [
        "G-single-realtime: each stands before the next:",
        "  T1 = process 2 [2, 3] ok: read x []",
        "  T2 = process 0 [0, 1] ok: append x 1",
        '  T1 before T2: T1 did not see 1 of "x", which T2 appended',
        "  T2 before T1: T2 had ended when T1 began",
      ].join("\n"),
    );
  });

  it("never for a workload that appends a value twice", () => {
    expect(() => anomalies(did(0, 1, add("x", 1)), did(2, 3, add("x", 1)))).toThrow(
      "appended twice",
    );
  });
});

/** Transactions of 1 to 4 parts on a store that carries out one after the other, and a last read of all keys. */
function transactionHistory(
  random: Random,
  operations: number,
  keys: number,
  unknownPercent: number,
) {
  const lists = new Map<string, ListElement[]>();
  let value = 0;
  const nameOf = (): string => `k${random.below(keys)}`;
  return generateHistory<TransactionInput, TransactionOutput>({
    operations,
    clients: 10,
    unknownPercent,
    random,
    ask: (): TransactionInput =>
      Array.from({ length: random.between(1, 4) }, () =>
        random.percent(50)
          ? { kind: "append", key: nameOf(), value: ++value }
          : { kind: "read", key: nameOf() },
      ),
    carryOut: (input) =>
      input.map((part) => {
        const list = lists.get(part.key) ?? [];
        lists.set(part.key, list);
        if (part.kind === "read") return [...list];
        list.push(part.value);
        return null;
      }),
  });
}

describe("a generated history", () => {
  it("of a store that carries out one transaction after the other shows no anomaly", () => {
    for (let seed = 0; seed < 60; seed++) {
      const transactions = transactionHistory(new Random(seed), 150, 6, 10);
      expect(checkTransactions(transactions)).toEqual([]);
    }
  });

  it("shows one when a read forgets the last element that it saw, acknowledged before it began", () => {
    let forgot = 0;
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(seed);
      const transactions = [...transactionHistory(random, 150, 6, 5)];
      const at = transactions.findIndex(({ id, input, output, invokedAt }) => {
        const [part, found] = [input[0], output?.[0]];
        if (id < 50 || input.length !== 1 || part?.kind !== "read" || !Array.isArray(found))
          return false;
        const last: unknown = found.at(-1);
        const writer = transactions.find((one) =>
          one.input.some((other) => other.kind === "append" && other.value === last),
        );
        return writer !== undefined && writer.returnedAt < invokedAt;
      });
      const victim = transactions[at];
      if (victim?.output === undefined) continue;
      forgot++;
      const found = victim.output[0] as readonly ListElement[];
      transactions[at] = { ...victim, output: [found.slice(0, -1)] };
      expect(checkTransactions(transactions)).not.toEqual([]);
    }
    expect(forgot).toBeGreaterThan(20);
  });

  it("of 5,000 transactions is checked as a whole", () => {
    expect(checkTransactions(transactionHistory(new Random(1), 5000, 200, 2))).toEqual([]);
  });
});
