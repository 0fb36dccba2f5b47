/**
 * Three real processes whose wall clocks are an hour apart, clients through all of them, and one trouble after the
 * other: each time every history of the clients has an order and all members hold the same. The same again and longer:
 * `npm run test:cluster -- --sweep`.
 */
import { afterAll, beforeAll, describe, it } from "vitest";
import { Random } from "../../src/base/index.ts";
import { TestCluster } from "./cluster.ts";
import { CLOCKS_MS, SCENARIOS, SHORT } from "./scenarios.ts";
import { World } from "./world.ts";

/** All scenarios with the same flags are in the life of one cluster. */
const PROCESS_MS = 10 * 60_000;

describe("a cluster under load keeps every promise when", { timeout: 180_000 }, () => {
  for (const args of new Set(SCENARIOS.map((scenario) => scenario.args)))
    describe(args === undefined ? "" : args.join(" "), () => {
      let world: World;
      beforeAll(async () => {
        const flags = args === undefined ? {} : { args };
        const shared = { clocksMs: CLOCKS_MS, processMs: PROCESS_MS };
        world = new World(await TestCluster.start({ ...shared, ...flags }), new Random(1));
      }, 60_000);
      afterAll(() => world.cluster.close());

      for (const scenario of SCENARIOS)
        if (scenario.args === args) it(scenario.name, () => scenario.play(world, SHORT));
    });
});
