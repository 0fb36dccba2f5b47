import { beforeEach, describe, expect, it } from "vitest";
import { setVerifying, utf8 } from "../base/index.ts";
import { MemoryEngine } from "../btree/index.ts";
import { describeStore, SESSION_IDLE_MS, SESSION_WINDOW, SESSIONS_MAX, Store } from "./index.ts";
import type { Sessions } from "./sessions.ts";

const SETTINGS = { retentionMs: 300_000, retentionRevisions: 10_000 };

let engine: MemoryEngine;
let store: Store;
let sessions: Sessions;

beforeEach(() => {
  setVerifying(true);
  engine = new MemoryEngine();
  store = new Store(engine, null, SETTINGS);
  sessions = store.sessions;
});

function record(session: number, number: number, result = `result ${number}`): void {
  expect(sessions.find(session, number, 9)).toBe("new");
  sessions.record(session, number, 9, utf8(result), store.clockMs);
}

function found(session: number, number: number, fingerprint = 9): string {
  const bytes = sessions.find(session, number, fingerprint);
  return typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes);
}

function expire(clockMs: number): void {
  store.beginEntry(1, clockMs, true);
  store.expire(clockMs, 100);
  store.invariants();
}

describe("a session", () => {
  it("remembers the last results by number, and what another request under a number is", () => {
    sessions.open(5, 0);
    for (let number = 1; number <= SESSION_WINDOW; number++) record(5, number);
    expect(found(5, 1)).toBe("result 1");
    expect(found(5, 1, 8)).toBe("expired");
    record(5, SESSION_WINDOW + 2);
    expect([1, 2, 3].map((number) => found(5, number))).toEqual(["expired", "expired", "result 3"]);
    // One that was left out is still in the window, so it never happened.
    record(5, SESSION_WINDOW + 1);
    expect(found(5, SESSION_WINDOW + 2)).toBe(`result ${SESSION_WINDOW + 2}`);
    store.invariants();
  });

  it("forgets everything below the window when a number leaps", () => {
    sessions.open(5, 0);
    sessions.open(6, 0);
    for (let number = 1; number <= 10; number++) record(5, number);
    record(6, 3);
    record(5, Number.MAX_SAFE_INTEGER);
    expect([1, 10].map((number) => found(5, number))).toEqual(["expired", "expired"]);
    expect(found(6, 3)).toBe("result 3");
    store.invariants();
    expect(sessions.close(5)).toBe(true);
    expect(sessions.close(5)).toBe(false);
    expect([found(5, Number.MAX_SAFE_INTEGER), found(6, 3)]).toEqual(["expired", "result 3"]);
    store.invariants();
  });

  it("ends when it was idle for its time, by an expiry alone, and moves its row when it was not", () => {
    sessions.open(5, 0);
    expect(store.nextDeadlineMs).toBe(SESSION_IDLE_MS);
    store.beginEntry(1, 1_000, true);
    record(5, 1);
    expire(SESSION_IDLE_MS + 999);
    expect(found(5, 1)).toBe("result 1");
    expect(store.nextDeadlineMs).toBe(SESSION_IDLE_MS + 1_000);
    sessions.touch(5, store.clockMs);
    expire(2 * SESSION_IDLE_MS);
    expect(found(5, 1)).toBe("result 1");
    expire(2 * SESSION_IDLE_MS + 999);
    expect(found(5, 1)).toBe("expired");
    expect([sessions.count, store.nextDeadlineMs, store.revision]).toEqual([0, null, 1]);
  });

  it("is one of so many, and a store that is opened again has them all", () => {
    setVerifying(false);
    for (let session = 1; session <= SESSIONS_MAX; session++) sessions.open(session * 7, 0);
    expect(sessions.count).toBe(SESSIONS_MAX);
    expect(() => sessions.open(1, 0)).toThrow("room for the session");
    expect(() => sessions.open(7, 0)).toThrow("opened once");
    record(7, 1);
    const again = new Store(engine, store.payload(), SETTINGS);
    expect(again.sessions.count).toBe(SESSIONS_MAX);
    expect(again.sessions.find(7, 1, 9)).toEqual(utf8("result 1"));
    expect(describeStore(engine, again)).toEqual(describeStore(engine, store));
    expect(sessions.close(7)).toBe(true);
    sessions.open(1, 0);
    again.invariants();
  });

  it("that differs in anything makes another hash", () => {
    const hashes = [
      () => {},
      () => sessions.open(5, 0),
      () => sessions.open(6, 0),
      () => sessions.open(5, 1),
      () => {
        sessions.open(5, 0);
        record(5, 1);
      },
      () => {
        sessions.open(5, 0);
        record(5, 2);
      },
      () => {
        sessions.open(5, 0);
        record(5, 1, "other");
      },
      () => {
        sessions.open(5, 0);
        sessions.close(5);
      },
    ].map((make) => {
      store = new Store(new MemoryEngine(), null, SETTINGS);
      sessions = store.sessions;
      make();
      return store.stateHash;
    });
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
