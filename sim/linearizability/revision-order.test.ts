import { describe, expect, it } from "vitest";
import { Random } from "../../src/base/index.ts";
import { checkLinearizability } from "./checker.ts";
import type { Operation } from "./history.ts";
import { type KvInput, kvModel, type KvOutput, type KvRecord } from "./kv-model.ts";
import { checkRevisionOrder } from "./revision-order.ts";
import type { RevisionRule } from "./revision-timeline.ts";
import { type Draft, generateHistory, history, ok, open } from "./testing.ts";

const put = (value: string, key = "a"): KvInput => ({ kind: "put", key, value });
const get: KvInput = { kind: "get", key: "a" };
const remove: KvInput = { kind: "delete", key: "a" };
const gave = (revision: number, ...results: KvOutput["results"]): KvOutput => ({
  revision,
  succeeded: true,
  results,
});
const record = (
  value: string,
  createRevision: number,
  modRevision: number,
  version: number,
): KvRecord => ({
  value,
  createRevision,
  modRevision,
  version,
});

function rule(...operations: readonly Draft<KvInput, KvOutput>[]): RevisionRule | "none" {
  const verdict = checkRevisionOrder(history<KvInput, KvOutput>(...operations));
  if (verdict.kind === "linearizable") return "none";
  expect(verdict.kind).toBe("not-linearizable");
  return verdict.kind === "not-linearizable" ? verdict.rule : "none";
}

const first = ok(1, put("x"), gave(2, null), 0, 5);

describe("revision order", () => {
  it("is kept by writes that overlap and reads of their moments", () => {
    const seen = gave(2, record("x", 2, 2, 1));
    expect(rule()).toBe("none");
    expect(rule(first, ok(2, put("y"), gave(3, null), 0, 5), ok(3, get, seen, 4, 6))).toBe("none");
  });

  it("is broken by a revision that is given twice", () => {
    const second = ok(2, put("y", "b"), gave(2, null), 0, 5);
    expect(rule(first, second)).toBe("a revision is given once");
  });

  it("is broken by a write that gets a lower revision than one that had ended", () => {
    const earlier = ok(2, put("y"), gave(3, null), 0, 1);
    expect(rule(earlier, ok(1, put("x"), gave(2, null), 2, 3))).toBe("revisions follow real time");
  });

  it("is broken by a read of the past, unless it may be stale", () => {
    const stale: KvInput = { kind: "stale-get", key: "a" };
    expect(rule(first, ok(2, get, gave(1, null), 6, 7))).toBe("revisions follow real time");
    expect(rule(first, ok(2, stale, gave(1, null), 6, 7))).toBe("none");
    const never = gave(1, record("y", 1, 1, 1));
    expect(rule(first, ok(2, stale, never, 6, 7))).toBe(
      "answers match the state at their revision",
    );
  });

  it("is broken by reads that go back, and by a read of what begins later", () => {
    const write = ok(1, put("x"), gave(2, null), 0, 20);
    const seen = ok(2, get, gave(2, record("x", 2, 2, 1)), 1, 2);
    expect(rule(write, seen, ok(3, get, gave(1, null), 3, 4))).toBe("revisions follow real time");
    const late = ok(1, put("x"), gave(2, null), 5, 6);
    expect(rule(seen, late)).toBe("revisions follow real time");
  });

  it("is broken by an answer that is not the state's", () => {
    for (const wrong of [null, record("y", 2, 2, 1), record("x", 1, 2, 1), record("x", 2, 2, 2)]) {
      expect(rule(first, ok(2, get, gave(2, wrong), 6, 7))).toBe(
        "answers match the state at their revision",
      );
    }
    expect(rule(first, ok(2, remove, gave(2, 0), 6, 7))).toBe(
      "answers match the state at their revision",
    );
  });

  it("is broken by a revision that nobody made", () => {
    const skips = ok(2, put("y"), gave(4, null), 6, 7);
    expect(rule(first, skips)).toBe("every revision is made by an operation");
    expect(rule(first, open(3, put("z"), 0), skips)).toBe("none");
    expect(rule(first, open(3, get, 0), skips)).toBe("every revision is made by an operation");
    expect(rule(first, ok(2, get, gave(1_000_002, null), 6, 7))).toBe(
      "every revision is made by an operation",
    );
  });

  it("lets an unknown write appear, with its true record, not before it began", () => {
    const lost = open(3, put("z"), 0);
    const seen = (at: number): Draft<KvInput, KvOutput> =>
      ok(2, get, gave(3, record("z", 2, 3, 2)), at, at + 1);
    expect(rule(first, lost, seen(6))).toBe("none");
    expect(rule(first, lost, ok(2, get, gave(3, record("z", 2, 3, 1)), 6, 7))).not.toBe("none");
    expect(
      rule(
        first,
        { ...lost, invokedAt: 20 },
        seen(6),
        ok(2, get, gave(3, record("z", 2, 3, 2)), 10, 11),
      ),
    ).not.toBe("none");
  });

  it("lets an unknown write explain one revision, not two", () => {
    const lost = open(3, put("z"), 0);
    const story = [
      first,
      ok(2, get, gave(3, record("z", 2, 3, 2)), 6, 7),
      ok(2, put("y"), gave(4, null), 8, 9),
    ];
    expect(rule(...story, lost, ok(2, get, gave(4, record("y", 2, 4, 3)), 10, 11))).toBe("none");
    expect(rule(...story, lost, ok(2, get, gave(5, record("z", 2, 5, 4)), 10, 11))).not.toBe(
      "none",
    );
    expect(rule(...story, lost, lost, ok(2, get, gave(5, record("z", 2, 5, 4)), 10, 11))).toBe(
      "none",
    );
  });

  it("steps back from an unknown operation that a later answer contradicts", () => {
    const gap = ok(2, put("y", "b"), gave(4, null), 6, 7);
    const gone = ok(2, get, gave(4, null), 8, 9);
    const suspects = [open(3, put("z"), 0), open(4, put("w", "c"), 0), open(5, remove, 0)];
    expect(rule(first, ...suspects, gap, gone)).toBe("none");
    expect(rule(first, ...suspects.slice(0, 2), gap, gone)).toBe(
      "answers match the state at their revision",
    );
  });

  it("blames a value on any of the operations that may have put it", () => {
    const both: KvInput = {
      kind: "txn",
      compare: [],
      success: [
        { kind: "put", key: "a", value: "z" },
        { kind: "put", key: "b", value: "q" },
      ],
      failure: [],
    };
    const readB: KvInput = { kind: "get", key: "b" };
    const seen = [
      ok(2, get, gave(3, record("z", 2, 3, 2)), 6, 7),
      ok(2, readB, gave(3, record("q", 3, 3, 1)), 6, 7),
      ok(2, put("y"), gave(5, null), 8, 9),
      ok(2, get, gave(5, record("y", 2, 5, 4)), 10, 11),
    ];
    expect(rule(first, open(3, both, 0), open(4, put("z"), 1), ...seen)).toBe("none");
    expect(rule(first, open(3, both, 0), open(4, put("z", "b"), 1), ...seen)).not.toBe("none");
  });

  it("begins where it is told", () => {
    const records = new Map([["a", record("x", 5, 7, 2)]]);
    const operations = history(ok(1, remove, gave(11, 1), 0, 1));
    expect(checkRevisionOrder(operations, { initial: { revision: 10, records } }).kind).toBe(
      "linearizable",
    );
    expect(checkRevisionOrder(operations, { initial: { revision: 11, records } }).kind).toBe(
      "not-linearizable",
    );
  });

  it("is undecided when its steps do not suffice", () => {
    expect(checkRevisionOrder(history(first), { stepsMax: 0 }).kind).toBe("undecided");
  });
});

/** Puts, gets, deletes and transactions of few keys; few values too, or each of its own. */
function kvHistory(
  random: Random,
  operations: number,
  clients: number,
  keys: number,
  unknownPercent: number,
  values: number,
) {
  const records = new Map<string, KvRecord>();
  let revision = 1;
  return generateHistory<KvInput, KvOutput>({
    operations,
    clients,
    unknownPercent,
    random,
    ask: (ordinal) => {
      const key = `k${random.below(keys)}`;
      const value = String(values === 0 ? ordinal : random.below(values));
      const kind = random.pick(["put", "put", "get", "get", "delete", "txn"] as const);
      if (kind === "put") return { kind, key, value };
      if (kind !== "txn") return { kind, key };
      return {
        kind,
        compare: [{ key, target: "version", relation: "=", operand: random.below(3) }],
        success: [
          { kind: "put", key, value },
          { kind: "get", key },
        ],
        failure: [{ kind: "get", key }],
      };
    },
    carryOut: (input) => {
      const before = input.kind === "txn" ? undefined : records.get(input.key);
      const write = (key: string, value: string): void => {
        const old = records.get(key);
        revision++;
        records.set(
          key,
          record(value, old?.createRevision ?? revision, revision, (old?.version ?? 0) + 1),
        );
      };
      if (input.kind === "put") {
        write(input.key, input.value);
        return gave(revision, null);
      }
      if (input.kind === "delete") {
        if (records.delete(input.key)) revision++;
        return gave(revision, before === undefined ? 0 : 1);
      }
      if (input.kind !== "txn") return gave(revision, before ?? null);
      const { key, operand } = input.compare[0] as {
        readonly key: string;
        readonly operand: number;
      };
      const succeeded = (records.get(key)?.version ?? 0) === operand;
      if (!succeeded) return { revision, succeeded, results: [records.get(key) ?? null] };
      const [change] = input.success;
      write(key, change?.kind === "put" ? change.value : "");
      return gave(revision, null, records.get(key) ?? null);
    },
  });
}

describe("the check by revisions", () => {
  it("agrees with the search for an order, on good histories and on changed ones", () => {
    const counts = { linearizable: 0, "not-linearizable": 0, undecided: 0 };
    for (let seed = 0; seed < 1200; seed++) {
      const random = new Random(seed);
      const operations = kvHistory(random, 8, 3, 2, 25, 2).map((one) => ({ ...one }));
      const victim = operations.find((one) => one.outcome === "ok" && random.percent(40));
      if (victim?.output !== undefined && seed % 3 !== 0) {
        const change = random.below(3);
        if (change === 0)
          victim.output = { ...victim.output, revision: victim.output.revision + 1 };
        else if (change === 1) victim.returnedAt = victim.invokedAt;
        else Object.assign(victim, { outcome: "unknown", output: undefined, returnedAt: Infinity });
      }
      const expected = checkLinearizability(kvModel, operations);
      const actual = checkRevisionOrder(operations);
      counts[actual.kind]++;
      expect(`${seed} ${actual.kind}`).toBe(`${seed} ${expected.kind}`);
    }
    expect(counts.undecided).toBe(0);
    expect(counts.linearizable).toBeGreaterThan(300);
    expect(counts["not-linearizable"]).toBeGreaterThan(200);
  });

  it("replays 10,000 operations of 10 clients over 20 keys, 2 % of them unknown, in 30,000 steps", () => {
    for (let seed = 0; seed < 3; seed++) {
      const operations = kvHistory(new Random(seed), 10_000, 10, 20, 2, 0);
      const verdict = checkRevisionOrder(operations, { stepsMax: 30_000 });
      expect(verdict.kind).toBe("linearizable");
    }
  });

  it("finds one read among 10,000 operations that misses one write", () => {
    const operations = kvHistory(new Random(7), 10_000, 10, 20, 2, 0).map((one) => ({ ...one }));
    const isRead = ({ input, output }: Operation<KvInput, KvOutput>): boolean =>
      input.kind === "get" && output !== undefined && output.results[0] !== null;
    const victim = operations.findLast(isRead);
    victim!.output = { ...victim!.output!, results: [null] };
    // Which of the unknown operations happened may stay open, but never that something is wrong, and where.
    const verdict = checkRevisionOrder(operations, { stepsMax: 50_000 });
    expect(verdict.kind === "linearizable" ? "" : verdict.explanation).toContain(
      "answer.results[0]: null",
    );
  });

  it("needs no search for what somebody has read of every revision", () => {
    const keys = Array.from({ length: 16 }, (_, i) => `k${i}`);
    const happened = keys.slice(8);
    // Which of the sixteen happened is told by nobody but a read at the end, and only of those that did not.
    const unknown = keys.map((key, i) => open<KvInput>(i, put(`of ${key}`, key), 0));
    const absent: KvInput = {
      kind: "txn",
      compare: [],
      success: keys.slice(0, 8).map((key) => ({ kind: "get", key })),
      failure: [],
    };
    const operations = history<KvInput, KvOutput>(
      ...unknown,
      ok(20, put("x"), gave(2 + happened.length, null), 1, 2),
      ok(21, absent, gave(2 + happened.length, ...keys.slice(0, 8).map(() => null)), 3, 4),
    );
    expect(checkRevisionOrder(operations).kind).toBe("undecided");
    const changesOf = (written: readonly string[]): Map<number, Map<string, string>> =>
      new Map([
        ...written.map((key, i) => [2 + i, new Map([[key, `of ${key}`]])] as const),
        [2 + written.length, new Map([["a", "x"]])] as const,
      ]);
    const changes = changesOf(happened.toReversed());
    expect(checkRevisionOrder(operations, { changes }).kind).toBe("linearizable");
    // What somebody has read of a revision and nobody asked for is no history of one machine.
    changes.set(3, new Map([["a", "y"]]));
    expect(checkRevisionOrder(operations, { changes }).kind).toBe("not-linearizable");
    const other = changesOf(keys.slice(0, 8));
    expect(checkRevisionOrder(operations, { changes: other }).kind).toBe("not-linearizable");
  });
});
