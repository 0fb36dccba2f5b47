import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareBytes } from "../base/index.ts";
import {
  deadlineId,
  DeadlineKeys,
  DeadlineKind,
  deadlineMs,
  EventKeys,
  eventRevision,
  eventSub,
  historyRevision,
  HistoryKeys,
  historySub,
  KEY_LENGTH_MAX,
  leaseIdBytes,
  readLeaseId,
} from "./tree-keys.ts";

// Bytes that escaping treats, and their neighbours.
const arbKey = fc
  .uint8Array({ minLength: 1, maxLength: 6 })
  .map((key) => key.map((byte) => [0, 1, 0xfe, 0xff][byte % 4] as number));
const arbVersion = fc.record({ key: arbKey, revision: fc.maxSafeNat(), sub: fc.nat(0xffff_ffff) });

describe("a key of the history tree", () => {
  const keys = new HistoryKeys();

  it("sorts by user key, revision and sub-revision", () => {
    fc.assert(
      fc.property(arbVersion, arbVersion, fc.boolean(), (a, other, isSameKey) => {
        const b = isSameKey ? { ...other, key: a.key } : other;
        const left = keys.hold(a.key).version(a.revision, a.sub).slice();
        const right = keys.hold(b.key).version(b.revision, b.sub).slice();
        const expected = compareBytes(a.key, b.key) || a.revision - b.revision || a.sub - b.sub;
        expect(Math.sign(compareBytes(left, right))).toBe(Math.sign(expected));
      }),
      { numRuns: 1_000 },
    );
  });

  it("gives back what it was made of, and lies between the bounds of its key alone", () => {
    fc.assert(
      fc.property(arbVersion, arbKey, ({ key, revision, sub }, otherKey) => {
        const version = keys.hold(key).version(revision, sub).slice();
        expect(keys.userKey(version)).toEqual(key);
        expect([historyRevision(version), historySub(version)]).toEqual([revision, sub]);
        const isSame = compareBytes(key, otherKey) === 0;
        keys.hold(otherKey);
        expect(keys.isVersion(version)).toBe(isSame);
        expect(
          compareBytes(keys.lowerBound(), version) < 0 &&
            compareBytes(version, keys.upperBound()) < 0,
        ).toBe(isSame);
        keys.holdKeyOf(version);
        expect(keys.isVersion(version)).toBe(true);
        expect(keys.version(revision, sub)).toEqual(version);
      }),
      { numRuns: 1_000 },
    );
  });

  it("has room for the longest key, even one of zeros only", () => {
    const longest = new Uint8Array(KEY_LENGTH_MAX);
    const version = keys.hold(longest).version(2, 0).slice();
    expect(version.length).toBe(2 * KEY_LENGTH_MAX + 14);
    expect(keys.userKey(version)).toEqual(longest);
    // A bound of a range may be one byte longer.
    expect(keys.hold(new Uint8Array(KEY_LENGTH_MAX + 1)).lowerBound().length).toBe(
      2 * KEY_LENGTH_MAX + 4,
    );
  });
});

describe("the other keys", () => {
  it("of events give back revision and sub, and sort by them", () => {
    const keys = new EventKeys();
    const first = keys.at(2 ** 40, 0xffff_ffff).slice();
    const second = keys.at(2 ** 40 + 1, 0).slice();
    expect([eventRevision(first), eventSub(first)]).toEqual([2 ** 40, 0xffff_ffff]);
    expect(compareBytes(first, second)).toBeLessThan(0);
  });

  it("of deadlines give back clock and lease", () => {
    const key = new DeadlineKeys().of(1_900_000_000_000, DeadlineKind.lease, leaseIdBytes(-5n));
    expect(deadlineMs(key)).toBe(1_900_000_000_000);
    expect(readLeaseId(deadlineId(key))).toBe(-5n);
  });

  it("keep all 64 bits of a lease id", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (id) => {
        expect(readLeaseId(leaseIdBytes(id))).toBe(id);
      }),
    );
    expect(leaseIdBytes(2n ** 63n - 1n)).not.toEqual(leaseIdBytes(2n ** 63n - 2n));
  });
});
