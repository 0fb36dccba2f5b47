/** Random own commands of HarmonyDB, over the keys of arbitrary.suite.ts. */
import fc from "fast-check";
import { arbKey, arbMaybeLease, arbWrite } from "./arbitrary.suite.ts";
import { bytes } from "./model.suite.ts";
import type { AnyWriteRequest, Condition, Expiry, NativeRequest, RequestId } from "./requests.ts";

/** Few enough that sessions meet the requests that name them. */
export const SESSIONS: readonly number[] = [1, 77, 2 ** 53 - 1];

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

const arbValue: fc.Arbitrary<Uint8Array> = fc
  .constantFrom("", "x", "0", "5", "-3", "007", "9223372036854775807", "-9223372036854775808", "me")
  .map(bytes);
const arbToken: fc.Arbitrary<Uint8Array> = fc.constantFrom("me", "you", "\0").map(bytes);

const arbTime: fc.Arbitrary<Exclude<Expiry, { readonly kind: "keep" | "none" }>> = fc.oneof(
  fc.constantFrom(1, 500, 3_000, 11_000).map((ttlMs) => ({ kind: "after" as const, ttlMs })),
  // The clock begins at 1,000: some of these have passed.
  fc
    .constantFrom(-5, 0, 1_000, 2_000, 5_000, 20_000)
    .map((atMs) => ({ kind: "at" as const, atMs })),
);
const arbNone = fc.constant({ kind: "none" as const });
const arbExpiry: fc.Arbitrary<Expiry> = fc.oneof(
  arbNone,
  fc.constant({ kind: "keep" as const }),
  arbTime,
);

const arbCondition: fc.Arbitrary<Condition | null> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constantFrom("absent", "present").map((kind) => ({ kind })) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("value", "notValue"), value: arbValue }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("revision"),
      revision: fc.integer({ min: -1, max: 12 }),
    }),
  },
) as fc.Arbitrary<Condition | null>;

const arbInt64: fc.Arbitrary<bigint> = fc.constantFrom(1n, -1n, 0n, 5n, INT64_MAX, INT64_MIN);
const arbBound: fc.Arbitrary<bigint | null> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constantFrom(-4n, 0n, 6n, INT64_MAX) },
);
const arbSetting: fc.Arbitrary<number | undefined> = fc.constantFrom(undefined, 0, 7, 2 ** 40);
const arbFence: fc.Arbitrary<number> = fc.constantFrom(0, 0, 4, 9);

const arbKeyCommand: fc.Arbitrary<NativeRequest> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("set" as const),
      key: arbKey,
      value: arbValue,
      condition: arbCondition,
      lease: arbMaybeLease,
      expiry: arbExpiry,
      prevKv: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("incr" as const),
      key: arbKey,
      by: arbInt64,
      min: arbBound,
      max: arbBound,
      saturate: fc.boolean(),
      expiry: arbExpiry,
      expiryIfNone: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("append" as const), key: arbKey, value: arbValue }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("setRange" as const),
      key: arbKey,
      offset: fc.constantFrom(0, 1, 7, 40, 2 ** 50),
      value: arbValue,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("mset" as const),
      items: fc.array(fc.record({ key: arbKey, value: arbValue }), { minLength: 1, maxLength: 4 }),
      condition: fc.constantFrom("none", "none", "absent", "present"),
      lease: arbMaybeLease,
      expiry: arbExpiry,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("mdel" as const),
      keys: fc.array(arbKey, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("expireKey" as const),
      key: arbKey,
      expiry: fc.oneof(arbNone, arbTime),
      when: fc.constantFrom("always", "always", "noDeadline", "hasDeadline", "later", "earlier"),
      condition: arbCondition,
      prevKv: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("lock" as const),
      key: arbKey,
      token: arbToken,
      ttlMs: fc.constantFrom(1, 500, 3_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("unlock" as const),
      key: arbKey,
      token: arbToken,
      fence: arbFence,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("extendLock" as const),
      key: arbKey,
      token: arbToken,
      fence: arbFence,
      ttlMs: fc.constantFrom(1, 500, 3_000),
    }),
  },
);

export const arbNative: fc.Arbitrary<NativeRequest> = fc.oneof(
  { weight: 20, arbitrary: arbKeyCommand },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "sessionOpen" as const,
        "sessionOpen" as const,
        "sessionClose" as const,
      ),
      session: fc.constantFrom(...SESSIONS),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("configure" as const),
      retentionMs: arbSetting,
      retentionRevisions: arbSetting,
      quotaBytes: arbSetting,
    }),
  },
);

export const arbAnyWrite: fc.Arbitrary<AnyWriteRequest> = fc.oneof(
  { weight: 1, arbitrary: arbWrite },
  { weight: 1, arbitrary: arbNative },
);

/** Numbers on both sides of the window. */
export const arbRequestId: fc.Arbitrary<RequestId> = fc.record({
  session: fc.constantFrom(...SESSIONS),
  number: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 4 }) },
    { weight: 1, arbitrary: fc.constantFrom(64, 65, 66, 70, 2 ** 53 - 1) },
  ),
});
