import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { NodeId } from "../index.ts";
import { JointConfig } from "./joint.ts";
import { MajorityConfig, type VoteResult } from "./majority.ts";

const RUNS = { numRuns: 500 };
const voters = fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { maxLength: 7 });
const acks = fc.dictionary(
  fc.integer({ min: 1, max: 7 }).map(String),
  fc.integer({ min: 0, max: 6 }),
);
const votes = fc.dictionary(fc.integer({ min: 1, max: 7 }).map(String), fc.boolean());

/** The definition: more than half of the set agrees; nobody to ask agrees. */
function majorityAgrees(ids: readonly NodeId[], agrees: (id: NodeId) => boolean): boolean {
  return ids.length === 0 || ids.filter(agrees).length > ids.length / 2;
}

/** The highest index at which both halves agree, found by trying all. */
function committedByTrying(
  incoming: readonly NodeId[],
  outgoing: readonly NodeId[],
  acked: Record<string, number>,
): number {
  if (incoming.length + outgoing.length === 0) return Number.MAX_SAFE_INTEGER;
  let best = 0;
  for (let index = 1; index <= 6; index++) {
    const holds = (id: NodeId): boolean => (acked[id] ?? 0) >= index;
    if (majorityAgrees(incoming, holds) && majorityAgrees(outgoing, holds)) best = index;
  }
  return best;
}

/** Every way in which the missing voters may still answer is tried. */
function voteByTrying(
  incoming: readonly NodeId[],
  outgoing: readonly NodeId[],
  cast: Record<string, boolean>,
): VoteResult {
  const all = [...new Set([...incoming, ...outgoing])];
  const missing = all.filter((id) => cast[id] === undefined);
  let won = 0;
  const outcomes = 2 ** missing.length;
  for (let choice = 0; choice < outcomes; choice++) {
    const agrees = (id: NodeId): boolean => {
      const at = missing.indexOf(id);
      return at < 0 ? cast[id] === true : (choice & (1 << at)) !== 0;
    };
    if (majorityAgrees(incoming, agrees) && majorityAgrees(outgoing, agrees)) won++;
  }
  if (won === outcomes) return "won";
  return won === 0 ? "lost" : "pending";
}

describe("the quorum of a majority and of a joint configuration", () => {
  it("commits what trying every index says", () => {
    fc.assert(
      fc.property(voters, voters, acks, (incoming, outgoing, acked) => {
        const ackedIndex = (id: NodeId): number => acked[id] ?? 0;
        expect(new MajorityConfig(incoming).committedIndex(ackedIndex)).toBe(
          committedByTrying(incoming, [], acked),
        );
        expect(new JointConfig(incoming, outgoing).committedIndex(ackedIndex)).toBe(
          committedByTrying(incoming, outgoing, acked),
        );
      }),
      RUNS,
    );
  });

  it("decides votes as trying every outcome says", () => {
    fc.assert(
      fc.property(voters, voters, votes, (incoming, outgoing, cast) => {
        const voteOf = (id: NodeId): boolean | undefined => cast[id];
        expect(new MajorityConfig(incoming).voteResult(voteOf)).toBe(
          voteByTrying(incoming, [], cast),
        );
        expect(new JointConfig(incoming, outgoing).voteResult(voteOf)).toBe(
          voteByTrying(incoming, outgoing, cast),
        );
      }),
      RUNS,
    );
  });

  it("any two quorums of a configuration share a voter", () => {
    fc.assert(
      fc.property(voters, voters, votes, (incoming, outgoing, cast) => {
        if (incoming.length + outgoing.length === 0) return;
        const config = new JointConfig(incoming, outgoing);
        const yes = config.voteResult((id) => cast[id] === true);
        const no = config.voteResult((id) => cast[id] !== true);
        expect([yes, no]).not.toEqual(["won", "won"]);
      }),
      RUNS,
    );
  });

  it("knows a lone voter, in both halves of a joint configuration", () => {
    expect(new JointConfig([1], []).isLoneVoter(1)).toBe(true);
    expect(new JointConfig([1], [1]).isLoneVoter(1)).toBe(true);
    expect(new JointConfig([1], [1]).isLoneVoter(2)).toBe(false);
    expect(new JointConfig([1], [2]).isLoneVoter(1)).toBe(false);
    expect(new JointConfig([1, 2], [1]).isLoneVoter(1)).toBe(false);
    expect(new JointConfig([], []).isLoneVoter(1)).toBe(false);
  });

  it("refuses a voter that stands twice in one half", () => {
    expect(() => new MajorityConfig([1, 2, 1])).toThrow("once");
  });
});
