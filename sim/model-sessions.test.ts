import { describe, expect, it } from "vitest";
import type { Outcome } from "../src/db/index.ts";
import { KvModel, keyBytes, type ModelRequest } from "./model.ts";
import { endedSessions, hiddenName, IDLE_MS, isTooLargeToKeep, WINDOW } from "./model-sessions.ts";

const SESSION = 7;
const EXPIRED = { kind: "error", code: "REQUEST_EXPIRED" };

function append(text: string): ModelRequest {
  return { kind: "append", key: keyBytes("k"), value: keyBytes(text) };
}

/** A model with one session that is open, and a way to send it a number. */
function opened(): { model: KvModel; send: (request: ModelRequest, number: number) => Outcome } {
  const model = new KvModel(2, true);
  model.apply({ kind: "sessionOpen", session: SESSION }, 0);
  return {
    model,
    send: (request, number) => model.applyOnce(request, { session: SESSION, number }, 0),
  };
}

describe("the sessions of the model", () => {
  it("execute a number once, and answer the second time as the first", () => {
    const { model, send } = opened();
    const first = send(append("x"), 1);
    send(append("y"), 2);
    expect(send(append("x"), 1)).toEqual(first);
    expect(model.keyValueOf("k")?.value).toEqual(keyBytes("xy"));
  });

  it("execute a late number inside of the window, and refuse one below it", () => {
    const { model, send } = opened();
    send(append("a"), WINDOW + 10);
    expect(send(append("b"), 11)).toMatchObject({ kind: "append", length: 2 });
    expect(send(append("c"), 10)).toMatchObject(EXPIRED);
    expect(model.keyValueOf("k")?.value).toEqual(keyBytes("ab"));
  });

  it("forget a result that falls out of the window", () => {
    const { send } = opened();
    send(append("a"), 1);
    send(append("b"), WINDOW);
    expect(send(append("a"), 1)).toMatchObject({ kind: "append", length: 1 });
    send(append("c"), WINDOW + 1);
    expect(send(append("a"), 1)).toMatchObject(EXPIRED);
  });

  it("refuse a known number with another request, and keep its result", () => {
    const { send } = opened();
    const first = send(append("x"), 1);
    expect(send(append("other"), 1)).toMatchObject(EXPIRED);
    expect(send(append("x"), 1)).toEqual(first);
  });

  it("refuse what names a session that was closed or never opened", () => {
    const { model, send } = opened();
    model.apply({ kind: "sessionClose", session: SESSION }, 0);
    expect(send(append("x"), 1)).toMatchObject(EXPIRED);
    expect(model.keyValueOf("k")).toBeNull();
    expect(model.apply({ kind: "sessionClose", session: SESSION }, 0)).toMatchObject({
      closed: false,
    });
  });

  it("may end when the clock can have passed their last use by the time of disuse, and not before", () => {
    const { model, send } = opened();
    let nowMs = 1000;
    model.times = { at: () => null, isHeard: false, highMs: () => nowMs, lowMs: () => nowMs };
    send(append("x"), 1);
    nowMs = 1000 + IDLE_MS - 1;
    expect([...endedSessions(model)]).toEqual([]);
    nowMs++;
    expect([...endedSessions(model)]).toEqual([SESSION]);
    send(append("x"), 1);
    expect([...endedSessions(model)]).toEqual([]);
  });

  it("have one name as long as they answer alike", () => {
    const one = opened();
    const other = opened();
    expect(hiddenName(one.model)).toBe(hiddenName(other.model));
    one.send(append("x"), 1);
    expect(hiddenName(one.model)).not.toBe(hiddenName(other.model));
    other.send(append("x"), 1);
    expect(hiddenName(one.model)).toBe(hiddenName(other.model));
  });

  it("have other names where a success and a refusal of one revision are kept", () => {
    const set = { kind: "set", key: keyBytes("k"), value: keyBytes("v"), lease: 5n } as const;
    const kept = { condition: { kind: "present" }, expiry: { kind: "keep" }, prevKv: false };
    const names = [true, false].map((hasLease) => {
      const { model, send } = opened();
      if (hasLease) model.apply({ kind: "leaseGrant", ttlSeconds: 5n, id: 5n }, 0);
      const { revision, kind } = send({ ...set, ...kept } as ModelRequest, 1);
      expect([revision, kind]).toEqual([1, hasLease ? "set" : "error"]);
      return hiddenName(model);
    });
    expect(names[0]).not.toBe(names[1]);
  });

  it("know which results are too large to be kept", () => {
    const { model, send } = opened();
    expect(isTooLargeToKeep(send(append("x"), 1))).toBe(false);
    const big = { kind: "set", key: keyBytes("k"), value: new Uint8Array(2000) } as const;
    const set = { ...big, condition: null, lease: 0n, expiry: { kind: "none" }, prevKv: true };
    model.apply(set as ModelRequest, 0);
    expect(isTooLargeToKeep(model.apply(set as ModelRequest, 0))).toBe(true);
  });
});
