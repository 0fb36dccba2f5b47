/**
 * `npm run test:cluster -- --sweep`: the scenarios of `npm test` longer and again and again, each in a cluster of its
 * own. Without `--sweep` each is played once and short. `--only` takes a part of a scenario's name, `--seed` another
 * row of choices. Exit code 0 when everything held.
 */
import { parseArgs } from "node:util";
import { Random } from "../../src/base/index.ts";
import { TestCluster } from "./cluster.ts";
import { CLOCKS_MS, type Extent, SCENARIOS, type Scenario, SHORT } from "./scenarios.ts";
import { World } from "./world.ts";

const { values } = parseArgs({
  options: {
    sweep: { type: "boolean", default: false },
    times: { type: "string", default: "6" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    "writes-behind": { type: "string", default: "100000" },
  },
});

const LONG: Extent = {
  times: Number(values.times),
  troubleMs: [1_000, 30_000],
  writesBehind: Number(values["writes-behind"]),
  paceMs: 10,
};
/** No process of a scenario lives longer. */
const PROCESS_MS = 30 * 60_000;

let current: TestCluster | null = null;
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    void (current?.close() ?? Promise.resolve()).finally(() => process.exit(1));
  });

async function play(scenario: Scenario, seed: number): Promise<string | null> {
  const startedMs = performance.now();
  const { args = [] } = scenario;
  const cluster = await TestCluster.start({ clocksMs: CLOCKS_MS, processMs: PROCESS_MS, args });
  current = cluster;
  const world = new World(cluster, new Random(seed));
  let fault: string | null = null;
  try {
    await scenario.play(world, values.sweep ? LONG : SHORT);
  } catch (error) {
    fault = error instanceof Error ? error.message : String(error);
  }
  const { raftTerm } = (await cluster.members[0]?.status().catch(() => NOBODY)) ?? NOBODY;
  await cluster.close();
  current = null;
  const requests = world.recorder.kv.operations();
  const unknown = requests.filter(({ outcome }) => outcome === "unknown").length;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
  process.stdout.write(
    `${fault === null ? "holds" : "FAILS"}: ${scenario.name}: ${requests.length} requests, ${unknown} of them unknown, term ${raftTerm}, ${seconds} s\n`,
  );
  return fault;
}

const NOBODY = { raftTerm: 0n };

const chosen = SCENARIOS.filter(({ name }) => name.includes(values.only));
const faults: string[] = [];
for (const [i, scenario] of chosen.entries()) {
  const fault = await play(scenario, Number(values.seed) * 1000 + i);
  if (fault !== null) faults.push(`${scenario.name}: ${fault}`);
}
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.stdout.write(`${chosen.length} scenarios, ${faults.length} failed\n`);
if (chosen.length === 0 || faults.length > 0) process.exitCode = 1;
