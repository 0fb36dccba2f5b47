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

/** All scenarios are in the life of one cluster. */
const PROCESS_MS = 10 * 60_000;

let world: World;
beforeAll(async () => {
  const cluster = await TestCluster.start({ clocksMs: CLOCKS_MS, processMs: PROCESS_MS });
  world = new World(cluster, new Random(1));
}, 60_000);
afterAll(() => world.cluster.close());

describe("a cluster under load keeps every promise when", { timeout: 90_000 }, () => {
  for (const scenario of SCENARIOS) it(scenario.name, () => scenario.play(world, SHORT));
});
