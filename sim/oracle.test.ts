import { describe, expect, it } from "vitest";
import { HarmonyError } from "../src/base/index.ts";
import type { Outcome, WatchEvent, WriteRequest } from "../src/db/index.ts";
import { KvModel, keyBytes, type ModelRequest } from "./model.ts";
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
  return { ...holding(model), outcomes };
}

function holding(model: KvModel): Observed {
  return {
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

const WALL_MS = 1_700_000_000_000;

function set(ttlMs: number): ModelRequest {
  return {
    kind: "set",
    key: keyBytes("k"),
    value: keyBytes("v"),
    condition: null,
    lease: 0n,
    expiry: { kind: "after", ttlMs },
    prevKv: true,
  };
}

function expire(ttlMs: number): ModelRequest {
  return {
    kind: "expireKey",
    key: keyBytes("k"),
    expiry: { kind: "after", ttlMs },
    condition: null,
    when: "always",
    prevKv: false,
  };
}

const SET_AT_2 = { kind: "set", revision: 2, succeeded: true, prevKv: null } as const;
const EXPIRED_AT_2 = { kind: "expireKey", revision: 2, succeeded: true, prevKv: null } as const;

/** A database that really has a clock: it writes k with the deadlines that it is told, and ends it. */
class Ending {
  readonly model = new KvModel(2, true);

  write(deadlineMs: number): void {
    this.model.inOneRevision((revision) =>
      this.model.write("k", keyBytes("v"), 0n, revision, { deadlineMs }),
    );
  }

  end(): void {
    this.model.inOneRevision((revision) =>
      this.model.write("k", null, 0n, revision, { cause: "expired" }),
    );
  }

  get newest(): readonly WatchEvent[] {
    return this.model.eventsAt(this.model.revision);
  }
}

/** An oracle with a witness, over a database that was started when the wall clock showed `WALL_MS`. */
function listening(): {
  judge: Oracle;
  ending: Ending;
  at: (nowMs: number) => void;
  hear: () => void;
} {
  let nowMs = 0;
  const options = { leaseTtlSecondsMin: 2, keepsHistory: true, retentionRevisions: 0 };
  const judge = new Oracle({ ...options, hasWitness: true }, () => nowMs);
  const ending = new Ending();
  judge.started({ beganAtMs: 0, wallBeganMs: WALL_MS, nowMs, wallMs: WALL_MS, isOpen: true });
  judge.reopened(holding(ending.model));
  return {
    judge,
    ending,
    at: (ms) => (nowMs = ms),
    hear: () => judge.heard(ending.newest, ending.model.revision),
  };
}

describe("the oracle with a witness", () => {
  it("accepts the end of a key that was due, and refuses one that comes too early", () => {
    for (const [endsAtMs, isDue] of [
      [1000, true],
      [900, false],
    ] as const) {
      const { judge, ending, at, hear } = listening();
      const first = judge.issue(set(1000));
      ending.write(WALL_MS + 1000);
      hear();
      judge.answered(first, null, SET_AT_2);
      at(endsAtMs);
      ending.end();
      hear();
      const read = (): void => judge.read(EVERYTHING, ending.model.range(EVERYTHING));
      if (isDue) read();
      else expect(read).toThrow("too early");
    }
  });

  it("refuses an answer with a change that nobody heard of, and a change that no command makes", () => {
    const { judge, ending, hear } = listening();
    const first = judge.issue(A);
    const outcome = { kind: "put", revision: 2, prevKv: null } as const;
    expect(() => judge.answered(first, null, outcome)).toThrow("nobody has heard of it");
    ending.model.apply(put("other", "1"), 0);
    hear();
    expect(() => judge.answered(first, null, outcome)).toThrow("at revision 2: change 0");
  });

  it("knows a deadline that stays as it is, although the next command gives the key another one", () => {
    const { judge, ending, at, hear } = listening();
    const first = judge.issue(set(1000));
    ending.write(WALL_MS + 1000);
    hear();
    judge.answered(first, null, SET_AT_2);
    const same = judge.issue(expire(1000));
    const later = judge.issue(expire(1010));
    ending.write(WALL_MS + 1010);
    hear();
    at(20);
    judge.answered(same, null, EXPIRED_AT_2);
    judge.answered(later, null, { ...EXPIRED_AT_2, revision: 3 });
    expect(judge.revision).toBe(3);
    const other = judge.issue(expire(2000));
    expect(() => judge.answered(other, null, { ...EXPIRED_AT_2, revision: 3 })).toThrow(
      "counts from",
    );
  });

  it("judges what was said while nobody heard once the next opening has told what changed", () => {
    for (const isTrue of [true, false]) {
      const { judge, ending, at } = listening();
      judge.deaf();
      const first = judge.issue(set(1000));
      ending.write(WALL_MS + 1000);
      judge.answered(first, null, SET_AT_2);
      const before = ending.model.keyValueOf("k");
      at(1500);
      ending.end();
      const second = judge.issue(set(5000));
      ending.write(WALL_MS + 6400);
      const prevKv = isTrue ? null : before;
      judge.answered(second, null, { kind: "set", revision: 4, succeeded: true, prevKv });
      at(60_000);
      const late = { beganAtMs: 60_000, nowMs: 60_000, wallBeganMs: WALL_MS, wallMs: WALL_MS };
      judge.started({ ...late, isOpen: true });
      const fork = judge.copy(() => 60_000);
      for (const one of [fork, judge]) {
        const reopened = (): void => one.reopened(holding(ending.model));
        if (isTrue) reopened();
        else expect(reopened).toThrow("the answer of a write is the model's");
      }
      if (isTrue) expect(judge.revision).toBe(4);
    }
  });
});
