/** Ranges of which nobody asks how many keys they have. */
import { describe, expect, it } from "vitest";
import { deleteRequest, rangeRequest, World } from "./world.suite.ts";
import type { RangeRequest, RangeResponse } from "./requests.ts";
import { utf8 } from "../base/index.ts";

function answer(world: World, request: RangeRequest): RangeResponse {
  const outcome = world.now(world.range(request));
  if (outcome.kind !== "range") throw new Error(outcome.code);
  return outcome;
}

describe("a range that is not counted", () => {
  it("is the counted one without the count, at every revision, limit and order", () => {
    const world = new World().open();
    for (let i = 0; i < 40; i++) world.putNow(`k${i % 13}`, `${i}`);
    world.now(world.write(deleteRequest("k3", "k7")));
    for (let i = 0; i < 5; i++) world.putNow(`k${i * 3}`, "again");
    const { revision: newest } = world.node.database.header;
    for (const key of ["k", "k2", "k9999", "x"])
      for (const revision of [0, 5, 20, newest - 6, newest - 3, newest])
        for (const limit of [0, 1, 5, 100])
          for (const sortOrder of ["none", "ascend", "descend"] as const)
            for (const sortTarget of ["key", "mod"] as const) {
              const end = { rangeEnd: utf8("l"), revision, limit, sortOrder, sortTarget };
              const request = { ...rangeRequest(key), ...end };
              const uncounted = answer(world, { ...request, uncounted: true });
              expect(uncounted).toEqual({ ...answer(world, request), count: 0 });
            }
    world.close();
  });

  it("is counted where the count is all that is asked for", () => {
    const world = new World().open();
    world.putNow("k");
    const request = { ...rangeRequest("a"), rangeEnd: utf8("z"), countOnly: true, uncounted: true };
    expect(answer(world, request)).toMatchObject({ count: 1, kvs: [] });
    world.close();
  });
});
