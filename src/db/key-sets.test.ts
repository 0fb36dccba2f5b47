import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyRanges } from "./key-ranges.ts";
import { KeySet } from "./key-set.ts";
import { bytes, chars } from "./model.suite.ts";

const arbKey = fc.string({ unit: fc.constantFrom("a", "b", "\0"), minLength: 1, maxLength: 3 });

describe("KeySet", () => {
  it("holds what a set of strings holds", () => {
    fc.assert(
      fc.property(fc.array(arbKey, { maxLength: 80 }), arbKey, (keys, other) => {
        const set = new KeySet();
        const strings = new Set<string>();
        for (const key of keys) {
          expect(set.add(bytes(key))).toBe(!strings.has(key));
          strings.add(key);
        }
        expect(set.has(bytes(other))).toBe(strings.has(other));
        expect(set.keys.map(chars)).toEqual([...strings]);
      }),
    );
  });
});

describe("KeyRanges", () => {
  it("has a key if and only if one of the ranges has it, and keeps them apart and in order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(arbKey, arbKey), { maxLength: 12 }),
        fc.array(arbKey, { minLength: 10, maxLength: 10 }),
        (ranges, keys) => {
          const set = new KeyRanges();
          for (const [from, to] of ranges) set.add(bytes(from), bytes(to));
          for (const key of keys) {
            expect(set.has(bytes(key))).toBe(ranges.some(([from, to]) => key >= from && key < to));
          }
          let last = "";
          set.forEach((from, to) => {
            expect(chars(from) > last && chars(to) > chars(from)).toBe(true);
            last = chars(to);
          });
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
