import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PageSet } from "./page-set.ts";

/** Ids close together, at the edges of words, and far apart. */
const idArbitrary = fc.oneof(
  fc.nat({ max: 100 }),
  fc.nat({ max: 40_000 }),
  fc.constantFrom(31, 32, 1023, 1024, 1025, 32_767, 32_768, 1_048_575, 1_048_576),
);

describe("PageSet", () => {
  it("is a set that also knows the next and the highest member", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ add: fc.boolean(), id: idArbitrary }), { maxLength: 60, size: "max" }),
        fc.array(idArbitrary, { maxLength: 10 }),
        (steps, probes) => {
          const set = new PageSet();
          const model = new Set<number>();
          for (const { add, id } of steps) {
            if (add) expect(set.add(id)).toBe(!model.has(id));
            else expect(set.delete(id)).toBe(model.has(id));
            if (add) model.add(id);
            else model.delete(id);
          }
          set.invariants();
          const sorted = [...model].toSorted((a, b) => a - b);
          expect(set.size).toBe(model.size);
          expect(set.highest).toBe(sorted.at(-1) ?? -1);
          const found: number[] = [];
          for (let id = set.next(0); id >= 0; id = set.next(id + 1)) found.push(id);
          expect(found).toEqual(sorted);
          for (const probe of probes) {
            expect(set.has(probe)).toBe(model.has(probe));
            expect(set.next(probe)).toBe(sorted.find((id) => id >= probe) ?? -1);
          }
          // Word by word it can be copied.
          const copy = new PageSet();
          for (let word = 0; word * 32 <= set.highest; word++) copy.addWord(word, set.word(word));
          copy.invariants();
          expect(copy.size).toBe(set.size);
          for (const id of sorted) expect(copy.has(id)).toBe(true);
        },
      ),
    );
  });
});
