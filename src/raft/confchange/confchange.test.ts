import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ConfState, NodeId } from "../index.ts";
import { simpleConf } from "../testing/test-node.ts";
import { changeConf, faultOf, isJoint, membersOf } from "./changer.ts";
import {
  type ConfChangeSingle,
  type ConfChangeTransition,
  type ConfChangeType,
  type ConfChangeV2,
  decodeConfChange,
  encodeConfChange,
  LEAVE_JOINT,
} from "./conf-change.ts";

const IDS = [1, 2, 3, 4, 5, 6];
const RUNS = { numRuns: 400 };

const single: fc.Arbitrary<ConfChangeSingle> = fc.record({
  type: fc.constantFrom<ConfChangeType>("addNode", "addLearnerNode", "removeNode", "updateNode"),
  nodeId: fc.constantFrom(...IDS),
});

const change: fc.Arbitrary<ConfChangeV2> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      transition: fc.constantFrom<ConfChangeTransition>("auto", "jointImplicit", "jointExplicit"),
      changes: fc.array(single, { maxLength: 4 }),
      context: fc.uint8Array({ maxLength: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant(LEAVE_JOINT) },
);

const start = fc
  .record({
    voters: fc.uniqueArray(fc.constantFrom(...IDS), { minLength: 1 }),
    learners: fc.uniqueArray(fc.constantFrom(...IDS), { maxLength: 2 }),
  })
  .map(({ voters, learners }) =>
    simpleConf(
      voters.toSorted((a, b) => a - b),
      learners.filter((id) => !voters.includes(id)).toSorted((a, b) => a - b),
    ),
  );

/** A set of members that may decide: more than half of each half that has anybody. */
function decides(state: ConfState, set: ReadonlySet<NodeId>): boolean {
  return [state.voters, state.votersOutgoing].every(
    (half) => half.length === 0 || half.filter((id) => set.has(id)).length > half.length / 2,
  );
}

/** Nobody can decide in one configuration while the others decide in the other. */
function meet(before: ConfState, after: ConfState): boolean {
  for (let bits = 0; bits < 2 ** IDS.length; bits++) {
    const set = new Set(IDS.filter((_, i) => (bits & (1 << i)) !== 0));
    const rest = new Set(IDS.filter((id) => !set.has(id)));
    if (decides(before, set) && decides(after, rest)) return false;
  }
  return true;
}

describe("a change of the configuration", () => {
  it("keeps the configuration sound, and any majority before it meets any majority after it", () => {
    fc.assert(
      fc.property(start, fc.array(change, { maxLength: 6 }), (first, changes) => {
        let state = first;
        for (const next of changes) {
          const outcome = changeConf(state, next);
          if (!outcome.ok) continue;
          expect(faultOf(outcome.confState)).toBeNull();
          expect(outcome.confState.voters.length).toBeGreaterThan(0);
          expect(meet(state, outcome.confState)).toBe(true);
          state = outcome.confState;
        }
      }),
      RUNS,
    );
  });

  it("ends, once its joint configuration is left, where doing one change after the other ends", () => {
    fc.assert(
      fc.property(start, fc.array(single, { minLength: 1, maxLength: 5 }), (first, changes) => {
        const voters = new Set(first.voters);
        const learners = new Set(first.learners);
        for (const { type, nodeId } of changes) {
          if (type === "updateNode") continue;
          voters.delete(nodeId);
          learners.delete(nodeId);
          if (type === "addNode") voters.add(nodeId);
          if (type === "addLearnerNode") learners.add(nodeId);
        }
        const joint = changeConf(first, {
          transition: "jointImplicit",
          changes,
          context: new Uint8Array(0),
        });
        expect(joint.ok).toBe(voters.size > 0);
        if (!joint.ok) return;
        expect(joint.confState.votersOutgoing).toEqual(first.voters);
        expect(joint.confState.autoLeave).toBe(true);
        const after = changeConf(joint.confState, LEAVE_JOINT);
        expect(after).toEqual({
          ok: true,
          confState: simpleConf(
            [...voters].toSorted((a, b) => a - b),
            [...learners].toSorted((a, b) => a - b),
          ),
        });
      }),
      RUNS,
    );
  });

  const cases: [string, ConfState, Partial<ConfChangeV2>, unknown][] = [
    [
      "a single voter needs no joint configuration",
      simpleConf([1]),
      { changes: [{ type: "addNode", nodeId: 2 }] },
      simpleConf([1, 2]),
    ],
    [
      "several learners need one, when it is up to the change",
      simpleConf([1]),
      {
        changes: [
          { type: "addLearnerNode", nodeId: 2 },
          { type: "addLearnerNode", nodeId: 3 },
        ],
      },
      { ...simpleConf([1], [2, 3]), votersOutgoing: [1], autoLeave: true },
    ],
    [
      "a joint configuration that is asked for stays until it is left",
      simpleConf([1]),
      { transition: "jointExplicit", changes: [{ type: "addNode", nodeId: 2 }] },
      { ...simpleConf([1, 2]), votersOutgoing: [1] },
    ],
    [
      "an update changes nothing",
      simpleConf([1, 2]),
      { changes: [{ type: "updateNode", nodeId: 2 }] },
      simpleConf([1, 2]),
    ],
    [
      "who is not there can be removed",
      simpleConf([1, 2]),
      { changes: [{ type: "removeNode", nodeId: 9 }] },
      simpleConf([1, 2]),
    ],
    ["nothing is left that is not joint", simpleConf([1]), {}, "not-joint"],
    [
      "one joint configuration at a time",
      { ...simpleConf([1, 2]), votersOutgoing: [1] },
      { changes: [{ type: "addNode", nodeId: 3 }] },
      "already-joint",
    ],
    [
      "the last voter stays",
      simpleConf([1], [2]),
      { changes: [{ type: "removeNode", nodeId: 1 }] },
      "removes-all-voters",
    ],
    [
      "without voters there is nothing to leave for",
      simpleConf([]),
      { transition: "jointExplicit", changes: [{ type: "addNode", nodeId: 1 }] },
      "no-voters",
    ],
    [
      "an id is a number from 1 on",
      simpleConf([1]),
      { changes: [{ type: "addNode", nodeId: 0.5 }] },
      "invalid-node-id",
    ],
  ];
  for (const [what, before, given, expected] of cases) {
    it(what, () => {
      const outcome = changeConf(before, {
        transition: "auto",
        changes: [],
        context: new Uint8Array(0),
        ...given,
      });
      expect(outcome.ok ? outcome.confState : outcome.error).toEqual(expected);
      expect(isJoint(before)).toBe(before.votersOutgoing.length > 0);
    });
  }

  it("members are the voters of both halves and the learners", () => {
    const state = { ...simpleConf([2, 3], [7]), votersOutgoing: [1, 3], learnersNext: [1] };
    expect(membersOf(state)).toEqual([1, 2, 3, 7]);
  });
});

describe("the bytes of a change", () => {
  it("give the change back", () => {
    fc.assert(
      fc.property(change, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (given, big) => {
        const all = { ...given, changes: [...given.changes, { type: "addNode", nodeId: big }] };
        const decoded = decodeConfChange(encodeConfChange(all as ConfChangeV2));
        expect({ ...decoded, context: [...(decoded?.context ?? [])] }).toEqual({
          ...all,
          context: [...all.context],
        });
      }),
      RUNS,
    );
  });

  it("are these, for as long as there are logs of version 1", () => {
    const bytes = encodeConfChange({
      transition: "jointExplicit",
      changes: [
        { type: "removeNode", nodeId: 0x0102 },
        { type: "addLearnerNode", nodeId: 2 ** 40 },
      ],
      context: new Uint8Array([0xaa]),
    });
    expect(Buffer.from(bytes).toString("hex")).toBe(
      "01020200020201000000000000010000000000010000" + "01000000aa",
    );
    expect(Buffer.from(encodeConfChange(LEAVE_JOINT)).toString("hex")).toBe("0100000000000000");
  });

  it("that are cut, too long or arbitrary are no change, and never throw for it", () => {
    fc.assert(
      fc.property(change, fc.nat(60), (given, cut) => {
        const bytes = encodeConfChange(given);
        if (cut < bytes.length) expect(decodeConfChange(bytes.subarray(0, cut))).toBeNull();
        expect(decodeConfChange(new Uint8Array([...bytes, 0]))).toBeNull();
      }),
      RUNS,
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        if (bytes.length > 0) bytes[0] = 1;
        decodeConfChange(bytes);
      }),
      RUNS,
    );
  });

  it("of a newer version stop whoever does not know it", () => {
    expect(() => decodeConfChange(new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0]))).toThrow(
      expect.objectContaining({ code: "NEWER_FORMAT" }) as Error,
    );
  });
});
