/** Requests and outcomes between a program elsewhere and a member: nothing is lost, and hostile bytes are nothing. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HarmonyError } from "../base/index.ts";
import { arbAnyWrite } from "./arbitrary-native.suite.ts";
import { encodeExpire, encodeOnce, encodeRaiseRevision } from "./command.ts";
import type { AnyWriteRequest, KeyValue, Outcome } from "./requests.ts";
import { validateWrite } from "./validate.ts";
import { decodeRequest, decodeWholeOutcome, encodeRequest, encodeWholeOutcome } from "./wire.ts";

const KEY = Uint8Array.of(1);

describe("requests on their way", () => {
  it("arrive as they were sent", () => {
    fc.assert(
      fc.property(arbAnyWrite, (request) => {
        const limits = { maxRequestBytes: Infinity, maxTxnOps: Infinity };
        fc.pre(validateWrite(request, limits) === null);
        const bytes = encodeRequest(request);
        const arrived = decodeRequest(bytes);
        expect(arrived?.kind).toBe(request.kind);
        expect(encodeRequest(arrived as AnyWriteRequest)).toEqual(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it("leave open what the node chooses", () => {
    for (const request of [
      { kind: "leaseGrant", id: 0n, ttlSeconds: 60n },
      { kind: "leaseGrant", id: 7n, ttlSeconds: 60n },
      { kind: "sessionOpen", session: 0 },
      { kind: "sessionOpen", session: 7 },
    ] as const)
      expect(decodeRequest(encodeRequest(request))).toEqual(request);
  });

  it("are refused before they leave where they can never succeed, by the code of the first mistake", () => {
    const empty = new Uint8Array(0);
    const wrong: readonly (readonly [AnyWriteRequest, string])[] = [
      [{ kind: "mdel", keys: [empty] }, "KEY_EMPTY"],
      [{ kind: "mdel", keys: [new Uint8Array(5000)] }, "KEY_TOO_LARGE"],
      [{ kind: "lock", key: KEY, token: empty, ttlMs: 5 }, "INVALID_ARGUMENT"],
    ];
    for (const [request, code] of wrong)
      expect(() => encodeRequest(request)).toThrow(
        expect.objectContaining({ code, name: HarmonyError.name }),
      );
  });

  it("are not what nodes alone propose, nor any other bytes", () => {
    const command = encodeRequest({ kind: "mdel", keys: [KEY] });
    const own = [
      encodeExpire({ upToClockMs: 5, limit: 1 }),
      encodeRaiseRevision(5),
      encodeOnce({ session: 1, number: 1 }, 0, command),
      new Uint8Array(0),
      command.subarray(0, command.length - 1),
    ];
    for (const bytes of own) expect(decodeRequest(bytes)).toBeNull();
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void decodeRequest(bytes)));
  });
});

describe("outcomes on their way", () => {
  it("arrive whole, however long they are", () => {
    const kv: KeyValue = {
      key: KEY,
      value: new Uint8Array(5000).fill(7),
      createRevision: 1,
      modRevision: 2,
      version: 2,
      lease: -5n,
    };
    const range = { kind: "range", revision: 9, more: true, count: 3 } as const;
    const outcome: Outcome = {
      kind: "txn",
      revision: 9,
      succeeded: true,
      responses: [
        { ...range, kvs: [kv, { ...kv, deadlineMs: 5 }, { ...kv, deadlineMs: 5, isLock: true }] },
        { kind: "put", revision: 9, prevKv: kv },
        { kind: "txn", revision: 9, succeeded: false, responses: [] },
      ],
    };
    expect(decodeWholeOutcome(encodeWholeOutcome(outcome))).toEqual(outcome);
  });

  it("are not any other bytes", () => {
    expect(decodeWholeOutcome(new Uint8Array(0))).toBeNull();
    expect(decodeWholeOutcome(Uint8Array.of(1, 99, 0))).toBeNull();
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => void decodeWholeOutcome(bytes)),
      { numRuns: 1000 },
    );
  });
});
