/** Reads where nobody can answer them: who gives up leaves nothing behind, and who is too many is told so. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { ClusterWorld, NAMES, url } from "./cluster.suite.ts";
import { type Answer, outcomeOf, rangeRequest, type World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const READS = 10_000;

describe("a member that is cut off", { timeout: 60_000 }, () => {
  let cluster: ClusterWorld;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    cluster.leader().putNow("k", "v");
    cluster.pass(1_000);
  });

  const read = (world: World, options: () => Parameters<World["range"]>[1]): Answer<unknown>[] =>
    Array.from({ length: READS }, () => world.range(rangeRequest("k"), options()));

  const outcomes = (answers: readonly Answer<unknown>[]): string[] => [
    ...new Set(answers.map(outcomeOf)),
  ];

  it.each(["follower", "leader"])(
    "keeps nothing of reads whose time is over, as a %s before, and answers those that wait",
    (role) => {
      const [alone = cluster.leader()] = role === "leader" ? [] : cluster.followers();
      cluster.isolate(alone, true);
      const patient = alone.range(rangeRequest("k"), { timeoutMs: Number.POSITIVE_INFINITY });
      for (let round = 0; round < 3; round++) {
        const answers = read(alone, () => ({ timeoutMs: 2_000 }));
        expect(alone.node.stats.readsPending).toBe(READS + 1);
        cluster.pass(2_500);
        expect(outcomes(answers)).toEqual(["TIMEOUT maybe=false"]);
        expect(alone.node.stats.readsPending).toBe(1);
      }
      expect(alone.node.database.status().leader).toBe(0n);
      cluster.isolate(alone, false);
      expect(alone.now(patient)).toMatchObject({ kind: "range", count: 1 });
      expect(alone.node.stats.readsPending).toBe(0);
    },
  );

  it("keeps nothing of reads that are aborted", () => {
    const [alone] = cluster.followers() as [World];
    cluster.isolate(alone, true);
    const ends: AbortController[] = [];
    const answers = read(alone, () => {
      const end = new AbortController();
      ends.push(end);
      return { signal: end.signal };
    });
    cluster.pass(100);
    expect(alone.node.stats.readsPending).toBe(READS);
    for (const end of ends) end.abort();
    expect(outcomes(answers)).toEqual(["ABORTED maybe=false"]);
    cluster.pass(200);
    expect(alone.node.stats.readsPending).toBe(0);
  });

  it("refuses reads of which it would have to keep too much, until others are over", () => {
    const [alone] = cluster.followers() as [World];
    cluster.isolate(alone, true);
    const value = new Uint8Array(1024 * 1024);
    const ask = (): Answer<unknown> =>
      alone.write(
        {
          kind: "txn",
          compare: [
            {
              key: rangeRequest("k").key,
              rangeEnd: new Uint8Array(0),
              result: "equal",
              operand: { target: "value", bytes: value },
            },
          ],
          success: [rangeRequest("k")],
          failure: [],
        },
        { timeoutMs: 1_000 },
      );
    const taken = Array.from({ length: 63 }, ask);
    expect(outcomeOf(ask())).toBe("TOO_MANY_REQUESTS maybe=false");
    cluster.pass(1_100);
    expect(outcomes(taken)).toEqual(["TIMEOUT maybe=false"]);
    expect(outcomeOf(ask())).toBe("nothing yet");
  });
});

describe("a member that is far from the others", { timeout: 60_000 }, () => {
  it("answers reads, although it asks once more before the answer can be there", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    cluster.leader().putNow("k", "v");
    for (const from of NAMES)
      for (const to of NAMES)
        if (from !== to) cluster.network.setWeather(url(from), url(to), { delayMs: 300 });
    cluster.pass(5_000);
    for (const world of cluster.followers()) {
      const [first, second] = [world.range(rangeRequest("k")), world.range(rangeRequest("k"))];
      cluster.pass(700);
      const third = world.range(rangeRequest("k"));
      for (const answer of [first, second, third])
        expect(world.now(answer)).toMatchObject({ kind: "range", count: 1 });
      expect(world.node.stats.readsPending).toBe(0);
    }
  });
});
