import { describe, expect, it } from "vitest";
import { HarmonyError } from "../src/base/index.ts";
import type { Outcome, WriteRequest } from "../src/db/index.ts";
import { KvModel, keyBytes } from "./model.ts";
import { EVERYTHING, type Observed } from "./oracle-compare.ts";
import { Oracle } from "./oracle.ts";

const NOTHING = new Uint8Array(0);

function put(key: string, value: string): WriteRequest {
  return {
    kind: "put",
    key: keyBytes(key),
    value: keyBytes(value),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  };
}

/** A database that did exactly these commands. */
function database(
  ...commands: readonly WriteRequest[]
): Observed & { readonly outcomes: readonly Outcome[] } {
  const model = new KvModel(2, true);
  const outcomes = commands.map((command) => model.apply(command, 0));
  return {
    outcomes,
    revision: model.revision,
    compactRevision: model.compactRevision,
    range: (request) => model.range(request),
    eventsFrom: (first) => ({ first, events: model.eventsOf(first, model.revision) }),
    leases: () => [...model.leases.keys()],
    leaseStatus: (id) => ({
      revision: model.revision,
      ttlSeconds: 1n,
      grantedTtlSeconds: BigInt(model.leases.get(id)?.ttlSeconds ?? 0),
      keys: model.keyBytesOf(id),
    }),
  };
}

function oracle(): Oracle {
  return new Oracle({ leaseTtlSecondsMin: 2, keepsHistory: true, retentionRevisions: 0 }, () => 0);
}

const A = put("a", "1");
const B = put("b", "2");
const BOTH: WriteRequest = {
  kind: "txn",
  compare: [],
  success: [A as never, B as never],
  failure: [],
};

describe("the oracle", () => {
  it("accepts an unknown command that happened, and one that did not", () => {
    for (const found of [database(A), database(A, B)]) {
      const judge = oracle();
      const first = judge.issue(A);
      judge.issue(B);
      judge.answered(first, null, database(A).outcomes[0] as Outcome);
      judge.reopened(found);
      expect(judge.revision).toBe(found.revision);
      expect(judge.unknown).toBe(0);
    }
  });

  it("refuses a database that lost an acknowledged command", () => {
    const judge = oracle();
    judge.answered(judge.issue(A), null, database(A).outcomes[0] as Outcome);
    expect(() => judge.reopened(database())).toThrow("every acknowledged write survives");
  });

  it("refuses half a transaction", () => {
    const judge = oracle();
    judge.issue(BOTH);
    expect(() => judge.reopened(database(A))).toThrow("whole commands");
    judge.reopened(database(BOTH));
  });

  it("refuses a command that happened without the one before it", () => {
    const judge = oracle();
    judge.issue(A);
    judge.issue(B);
    expect(() => judge.reopened(database(B))).toThrow("whole commands");
  });

  it("refuses a command that certainly had not happened", () => {
    const judge = oracle();
    const refused = judge.issue(A);
    judge.answered(refused, new HarmonyError("DISK_FULL"), undefined as never);
    expect(() => judge.reopened(database(A))).toThrow("whole commands");
  });

  it("refuses a wrong answer, a stale read, and history that changed", () => {
    const judge = oracle();
    const first = judge.issue(A);
    expect(() => judge.answered(first, null, { kind: "put", revision: 3, prevKv: null })).toThrow(
      "the answer of a write",
    );
    judge.answered(first, null, database(A).outcomes[0] as Outcome);
    expect(() => judge.read(EVERYTHING, database().range(EVERYTHING))).toThrow(
      "a read sees what was acknowledged",
    );
    judge.read(EVERYTHING, database(A).range(EVERYTHING));
    const second = judge.issue(put("a", "2"));
    judge.answered(second, null, { kind: "put", revision: 3, prevKv: null });
    expect(() => judge.reopened(database(put("a", "9"), put("a", "2")))).toThrow("at revision 2");
  });

  it("knows that a delete of nothing makes no revision", () => {
    const judge = oracle();
    const nothing: WriteRequest = {
      kind: "deleteRange",
      key: keyBytes("x"),
      rangeEnd: NOTHING,
      prevKv: false,
    };
    judge.answered(judge.issue(nothing), null, {
      kind: "deleteRange",
      revision: 1,
      deleted: 0,
      prevKvs: [],
    });
    expect(judge.revision).toBe(1);
  });
});
