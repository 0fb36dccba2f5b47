/** The examples run and say what they promise. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { main as abstractLevel } from "../../examples/abstract-level.ts";
import { main as exactlyOnce } from "../../examples/exactly-once.ts";
import { main as firstSteps } from "../../examples/first-steps.ts";
import { main as growACluster } from "../../examples/grow-a-cluster.ts";
import { main as keyv } from "../../examples/keyv.ts";
import { main as locksAndLeases } from "../../examples/locks-and-leases.ts";
import { main as messages } from "../../examples/messages.ts";
import { main as snapshots } from "../../examples/snapshots.ts";
import { main as taskQueue } from "../../examples/task-queue.ts";
import { main as taskResults } from "../../examples/task-results.ts";
import { main as testCluster } from "../../examples/test-cluster.ts";
import { main as transactions } from "../../examples/transactions.ts";
import { main as typedScopes } from "../../examples/typed-scopes.ts";
import { main as unstorage } from "../../examples/unstorage.ts";
import { freePorts } from "../../src/platform/index.ts";

const EXAMPLES: Readonly<
  Record<string, readonly [(say: (line: string) => void) => Promise<void>, readonly string[]]>
> = {
  "abstract-level.ts": [
    abstractLevel,
    ["041!ann", "027!bob", "bob is 27 in the snapshot", "now: false"],
  ],
  "keyv.ts": [
    keyv,
    ["ann is 41", "keyv/pages:pages:/ has an end: true", "pages: false, users: true"],
  ],
  "unstorage.ts": [
    unstorage,
    ["update users:ann", "users:ann users:bob", "the session lasts for 3600 s", "bob is 27"],
  ],
  "exactly-once.ts": [exactlyOnce, ["ABORTED", "paid: 100"]],
  "first-steps.ts": [
    firstSteps,
    [
      "oslo has 709000",
      "city/tromso 78000",
      "city/oslo 709000",
      "now: gone",
      "at revision 2: 709000",
      "after opening again: 2 cities",
    ],
  ],
  "grow-a-cluster.ts": [
    async (say) => growACluster(say, await freePorts(3)),
    ["before: yes", "voters: 3", "n2 leads: true", "after: too"],
  ],
  "locks-and-leases.ts": [locksAndLeases, ["fences grow: true", "services: 1", "services: 0"]],
  "messages.ts": [messages, ["receivers: 1", "news.sport: one all", "alert.fire: leave"]],
  "snapshots.ts": [
    snapshots,
    ["in the snapshot: 1000", "now: 889", "first from item-2 on: item-2"],
  ],
  "task-queue.ts": [taskQueue, ["done: 20", "left: 0", "claims: 0", "t07 is 49"]],
  "task-results.ts": [
    taskResults,
    [
      "two: another worker has it",
      "the group is finished: 14",
      "after opening again: DONE 4",
      "and it has an end: true",
      "forgotten: 3",
    ],
  ],
  "test-cluster.ts": [testCluster, ["paid: 40", "paid: 100", "nodes: 2, leaders: 1"]],
  "transactions.ts": [
    transactions,
    ["first: true, second: false", "moved: true", "ann has only 54", "ann 54", "bob 66"],
  ],
  "typed-scopes.ts": [
    typedScopes,
    [
      "ann is 41",
      "bob is 27",
      "user/ann",
      "user/bob",
      "home: 42",
      "session of ann has an end: true",
    ],
  ],
};

describe("the examples", () => {
  it.each(Object.entries(EXAMPLES))("%s", { timeout: 30_000 }, async (_, [main, expected]) => {
    const said: string[] = [];
    await main((line) => said.push(line));
    expect(said).toEqual(expected);
  });

  it("are all run here, and all named in their page", () => {
    const folder = fileURLToPath(new URL("../../examples", import.meta.url));
    const files = readdirSync(folder).filter((file) => file.endsWith(".ts"));
    expect(files.sort()).toEqual(Object.keys(EXAMPLES).sort());
    const page = readFileSync(`${folder}/README.md`, "utf8");
    expect(files.filter((file) => !page.includes(`(${file})`))).toEqual([]);
  });
});
