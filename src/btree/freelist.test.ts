import { describe, expect, it } from "vitest";
import { Random } from "../base/index.ts";
import { Freelist } from "./freelist.ts";
import { FIRST_PAGE_ID } from "./layout.ts";

describe("the end of the file", () => {
  /** How many pages are left when all free ones at the end but `reserve` are forgotten. */
  function expected(freelist: Freelist, reserve: number): number {
    let end = freelist.pageCount;
    while (end > FIRST_PAGE_ID && freelist.free.has(end - 1)) end--;
    return Math.min(freelist.pageCount, end + reserve);
  }

  it("is forgotten in pieces, all of it but the reserve, whatever is given out between them", () => {
    const random = new Random(7);
    for (let round = 0; round < 300; round++) {
      const freelist = new Freelist(() => {});
      const used: number[] = [];
      const count = random.below(200);
      for (let i = 0; i < count; i++) used.push(freelist.allocate());
      const kept = random.below(count + 1);
      for (const id of used) {
        const isTail = id >= FIRST_PAGE_ID + kept;
        if (isTail ? !random.percent(2) : random.percent(50)) freelist.retire(id, 0);
      }
      const reserve = random.below(40);
      const budget = 1 + random.below(10);
      const isBusy = random.percent(30);
      for (;;) {
        const before = freelist.pageCount;
        const done = freelist.shrinkSome(reserve, budget);
        expect(before - freelist.pageCount).toBeLessThanOrEqual(budget);
        freelist.invariants();
        if (done) break;
        expect(before - freelist.pageCount).toBe(budget);
        if (isBusy) freelist.allocate();
      }
      expect(freelist.pageCount).toBe(expected(freelist, reserve));
    }
  });
});
