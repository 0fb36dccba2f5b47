import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytes } from "./model.suite.ts";
import { decodeOutcome, encodeOutcome, RESULT_BYTES_MAX } from "./outcome.ts";
import type { KeyValue, Outcome } from "./requests.ts";

const arbCount = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 52 }));
const arbBytes = fc.uint8Array({ maxLength: 12 });
const arbInt64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const arbKv: fc.Arbitrary<KeyValue> = fc
  .record({
    key: arbBytes,
    value: arbBytes,
    createRevision: arbCount,
    modRevision: arbCount,
    version: arbCount,
    lease: arbInt64,
    deadlineMs: fc.constantFrom(0, 5, 2 ** 50),
    isLock: fc.boolean(),
  })
  .map(({ deadlineMs, isLock, ...plain }) => {
    if (deadlineMs === 0) return plain;
    return isLock ? { ...plain, deadlineMs, isLock } : { ...plain, deadlineMs };
  });
const arbMaybeKv = fc.option(arbKv);
const arbKvs = fc.array(arbKv, { maxLength: 3 });

function of<Kind extends Outcome["kind"]>(
  kind: Kind,
  fields: Record<string, fc.Arbitrary<unknown>>,
): fc.Arbitrary<Outcome> {
  return fc.record({ kind: fc.constant(kind), revision: arbCount, ...fields }) as never;
}

const isIt = fc.boolean();
const FLAT: Readonly<Record<Exclude<Outcome["kind"], "txn">, fc.Arbitrary<Outcome>>> = {
  error: of("error", {
    code: fc.constantFrom("LOCKED", "OVERFLOW"),
    detail: fc.constantFrom(null, "why"),
  }),
  put: of("put", { prevKv: arbMaybeKv }),
  deleteRange: of("deleteRange", { deleted: arbCount, prevKvs: arbKvs }),
  range: of("range", { kvs: arbKvs, more: isIt, count: arbCount }),
  compact: of("compact", {}),
  leaseGrant: of("leaseGrant", { id: arbInt64, ttlSeconds: arbInt64 }),
  leaseRevoke: of("leaseRevoke", {}),
  members: of("members", {}),
  leaseKeepAlive: of("leaseKeepAlive", { ttlSeconds: arbInt64 }),
  set: of("set", { succeeded: isIt, prevKv: arbMaybeKv }),
  incr: of("incr", { value: arbInt64, deadlineMs: arbCount }),
  append: of("append", { length: arbCount }),
  setRange: of("setRange", { length: arbCount }),
  mset: of("mset", { succeeded: isIt }),
  mdel: of("mdel", { deleted: arbCount }),
  expireKey: of("expireKey", { succeeded: isIt, prevKv: arbMaybeKv }),
  lock: of("lock", {
    acquired: isIt,
    fence: arbCount,
    token: arbBytes,
    deadlineMs: arbCount,
    leftMs: arbCount,
  }),
  unlock: of("unlock", { released: isIt }),
  extendLock: of("extendLock", { extended: isIt, fence: arbCount, deadlineMs: arbCount }),
  sessionOpen: of("sessionOpen", { session: arbCount }),
  sessionClose: of("sessionClose", { closed: isIt }),
  configure: of("configure", {
    retentionMs: arbCount,
    retentionRevisions: arbCount,
    quotaBytes: fc.option(arbCount),
  }),
  done: of("done", {}),
};
const arbFlat = fc.oneof(...Object.values(FLAT));
const arbTxn = of("txn", { succeeded: isIt, responses: fc.array(arbFlat, { maxLength: 3 }) });
const arbOutcome = fc.oneof(
  arbFlat,
  arbTxn,
  of("txn", { succeeded: isIt, responses: fc.tuple(arbTxn) }),
);

describe("an outcome that is kept", () => {
  it("reads back as it was, whatever its kind", () => {
    fc.assert(
      fc.property(arbOutcome, (outcome) => {
        expect(decodeOutcome(encodeOutcome(outcome).slice())).toEqual(outcome);
      }),
      { numRuns: 500 },
    );
  });

  it("holds nothing of the memory that it was read from", () => {
    const kv = { key: bytes("k"), value: bytes("v"), createRevision: 2, modRevision: 3 };
    const whole = { kind: "put", revision: 3, prevKv: { ...kv, version: 1, lease: 0n } } as const;
    const stored = encodeOutcome(whole).slice();
    const outcome = decodeOutcome(stored);
    stored.fill(0);
    expect(outcome).toEqual(whole);
  });

  it("is only said to be done where it is too long", () => {
    const kv = { key: bytes("k"), createRevision: 2, modRevision: 3, version: 1, lease: 0n };
    const put = (length: number): Outcome => ({
      kind: "put",
      revision: 9,
      prevKv: { ...kv, value: new Uint8Array(length) },
    });
    const room = RESULT_BYTES_MAX - encodeOutcome(put(200)).length + 200;
    expect(encodeOutcome(put(room)).length).toBe(RESULT_BYTES_MAX);
    expect(decodeOutcome(encodeOutcome(put(room)))).toEqual(put(room));
    const done = { kind: "done", revision: 9 };
    expect(decodeOutcome(encodeOutcome(put(room + 1)))).toEqual(done);
    const many = { kind: "deleteRange", revision: 9, deleted: 5_000, prevKvs: [] } as const;
    const prevKvs = Array.from({ length: 5_000 }, () => ({ ...kv, value: bytes("v") }));
    expect(decodeOutcome(encodeOutcome({ ...many, prevKvs }))).toEqual(done);
  });

  it("stops the reader where it is none", () => {
    const whole = encodeOutcome({ kind: "mdel", revision: 300, deleted: 7 }).slice();
    for (let length = 0; length < whole.length; length++)
      expect(() => decodeOutcome(whole.subarray(0, length))).toThrow(/a result/);
    expect(() => decodeOutcome(Uint8Array.of(...whole, 0))).toThrow("complete");
    expect(() => decodeOutcome(Uint8Array.of(2, ...whole.subarray(1)))).toThrow("known format");
    expect(() => decodeOutcome(Uint8Array.of(1, 99))).toThrow("known kind");
    expect(() => decodeOutcome(Uint8Array.of(1, 3, 9, 2, 0xff, 0xff, 0xff, 0x7f))).toThrow(
      "complete",
    );
  });
});
