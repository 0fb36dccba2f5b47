/** What must hold so that a leader may answer from its lease; the clusters of chaos.test.ts rely on it in random order. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { createNode, drain, message, startWith } from "./testing/pair.ts";
import type { TestNode } from "./testing/test-node.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const VOTERS = [1, 2, 3];
const options = { checkQuorum: true, leaseTicks: 8, electionTicks: 10 };

function tick(node: TestNode, times: number): void {
  for (let i = 0; i < times; i++) node.node.tick();
}

describe("a lease", () => {
  it.each([
    ["as long as an election takes", { leaseTicks: 9 }],
    ["of parts of ticks", { leaseTicks: 1.5 }],
    ["without CheckQuorum", { checkQuorum: false }],
  ])("%s is none", (_, change) => {
    expect(() => createNode(1, VOTERS, { ...options, ...change }).start()).toThrow(/lease/);
  });

  it("binds who heard a leader also in a term that it has learnt of since", () => {
    const node = startWith(createNode(2, VOTERS, options), [1], 1);
    tick(node, 10);
    node.node.step(message({ type: "heartbeat", from: 1, to: 2, term: 1, commit: 0, round: 3 }));
    drain(node);
    // An answer to a question of long ago: it joins term 5, and knows of no leader there.
    node.node.step(message({ type: "preVoteResponse", from: 3, to: 2, term: 5, reject: true }));
    expect([node.node.term, node.node.leader]).toEqual([5, 0]);
    const vote = message({ type: "vote", from: 3, to: 2, term: 5, lastIndex: 9, lastTerm: 1 });
    tick(node, 9);
    node.node.step(vote);
    expect(drain(node).filter(({ type }) => type === "voteResponse")).toEqual([]);
    tick(node, 1);
    node.node.step(vote);
    expect(drain(node)).toMatchObject([{ type: "voteResponse", to: 3, reject: false }]);
  });

  it("does not keep a lone voter from leading at its start", () => {
    const node = startWith(createNode(1, [1], options), []);
    node.node.campaign();
    drain(node);
    expect(node.node.leadsForSure).toBe(true);
  });
});
