import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { simpleConf } from "../testing/test-node.ts";
import { Inflights } from "./inflights.ts";
import { Progress } from "./progress.ts";
import { Tracker } from "./tracker.ts";

describe("Inflights", () => {
  it("behaves like a plain list of the messages that are not answered", () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("add" as const),
        entries: fc.integer({ min: 1, max: 3 }),
        bytes: fc.integer({ min: 0, max: 9 }),
      }),
      fc.record({ kind: fc.constant("free" as const), back: fc.integer({ min: 0, max: 12 }) }),
      fc.record({ kind: fc.constant("reset" as const) }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 30 }),
        fc.array(step, { maxLength: 60 }),
        (maxMessages, maxBytes, steps) => {
          const inflights = new Inflights(maxMessages, maxBytes);
          let list: { last: number; bytes: number }[] = [];
          let last = 0;
          for (const s of steps) {
            if (s.kind === "add") {
              if (inflights.full()) continue;
              last += s.entries;
              inflights.add(last, s.bytes);
              list.push({ last, bytes: s.bytes });
            } else if (s.kind === "free") {
              inflights.freeUpTo(last - s.back);
              list = list.filter((m) => m.last > last - s.back);
            } else {
              inflights.reset();
              list = [];
            }
            const bytes = list.reduce((sum, m) => sum + m.bytes, 0);
            expect(inflights.count).toBe(list.length);
            expect(inflights.bytes).toBe(bytes);
            expect(inflights.full()).toBe(list.length >= maxMessages || bytes >= maxBytes);
          }
        },
      ),
    );
  });

  it("takes one message beyond its bytes and none beyond its count", () => {
    const inflights = new Inflights(2, 10);
    inflights.add(1, 1000);
    expect(inflights.full()).toBe(true);
    expect(() => inflights.add(2, 1)).toThrow("full window");
  });
});

describe("Progress", () => {
  const create = (next: number): Progress => new Progress(next, false, new Inflights(2, 100));

  it("sends one probe and waits for an answer", () => {
    const progress = create(5);
    expect(progress.appendDue(4, 0)).toBe(true);
    progress.sent(0, 0, 0);
    expect(progress.appendDue(9, 9)).toBe(false);
    expect(progress.refused(4, 2)).toBe(true);
    expect(progress.next).toBe(3);
    expect(progress.appendDue(4, 0)).toBe(true);
  });

  it("takes a refusal only of its newest probe, and never goes below its match", () => {
    const progress = create(9);
    progress.acknowledged(3);
    expect(progress.refused(7, 0)).toBe(false);
    expect(progress.refused(8, 0)).toBe(true);
    expect(progress.next).toBe(4);
    expect(progress.refused(3, 0)).toBe(true);
    expect(progress.next).toBe(4);
  });

  it("sends ahead while its window has room, and probes again when something was lost", () => {
    const progress = create(1);
    progress.becomeReplicate();
    progress.sent(2, 10, 0);
    progress.sent(1, 10, 0);
    expect(progress.next).toBe(4);
    expect(progress.appendDue(9, 0)).toBe(false);
    progress.acknowledged(2);
    progress.inflights.freeUpTo(2);
    expect(progress.appendDue(9, 0)).toBe(true);
    expect(progress.refused(2, 0)).toBe(false);
    expect(progress.refused(3, 0)).toBe(true);
    expect(progress.state).toBe("probe");
    expect(progress.next).toBe(3);
    expect(progress.inflights.count).toBe(0);
  });

  it("is told of a commit once, and of no commit beyond what it was sent", () => {
    const progress = create(1);
    progress.becomeReplicate();
    progress.sent(3, 10, 2);
    expect(progress.appendDue(3, 2)).toBe(false);
    expect(progress.appendDue(3, 3)).toBe(true);
    progress.sent(0, 0, 3);
    expect(progress.appendDue(3, 3)).toBe(false);
    progress.invariants();
  });

  it("sends nothing beside a snapshot, and goes on after it when it has arrived", () => {
    const progress = create(4);
    progress.becomeSnapshot(7);
    progress.invariants();
    expect([progress.appendDue(9, 9), progress.mayCarryEntries()]).toEqual([false, false]);
    expect(progress.refused(7, 0)).toBe(false);
    expect(progress.snapshotReported(true)).toBe(true);
    expect([progress.state, progress.match, progress.next]).toEqual(["replicate", 0, 8]);
    expect(progress.appendDue(9, 7)).toBe(true);
    progress.sent(2, 10, 7);
    expect(progress.refused(7, 0)).toBe(true);
    expect([progress.state, progress.next]).toEqual(["probe", 1]);
    progress.invariants();
  });

  it("waits for a word of the member before it sends a snapshot again", () => {
    const progress = create(4);
    progress.becomeSnapshot(7);
    expect(progress.snapshotReported(false)).toBe(true);
    expect([progress.state, progress.next, progress.appendDue(9, 9)]).toEqual(["probe", 1, false]);
    expect(progress.snapshotReported(true)).toBe(false);
    progress.invariants();
  });

  it("goes on from what the member holds, where that is more than the snapshot", () => {
    const progress = create(4);
    progress.becomeSnapshot(7);
    progress.acknowledged(8);
    progress.snapshotReported(true);
    expect([progress.state, progress.next]).toEqual(["replicate", 9]);
    progress.invariants();
  });

  it("needs a snapshot until it holds what the log begins after", () => {
    const progress = create(4);
    progress.waitForSnapshot();
    expect([progress.needsSnapshot, progress.appendDue(9, 9)]).toEqual([true, false]);
    progress.acknowledged(3);
    expect([progress.needsSnapshot, progress.appendDue(9, 9)]).toEqual([false, true]);
  });

  it("gives a snapshot up in a new life", () => {
    const progress = create(4);
    progress.becomeSnapshot(7);
    progress.restart(9);
    expect([progress.state, progress.pendingSnapshot]).toEqual(["probe", 0]);
    progress.invariants();
  });

  it("forgets in a new life what it acknowledged in the old one", () => {
    const progress = create(1);
    progress.acknowledged(7);
    progress.becomeReplicate();
    progress.sent(2, 10, 8);
    progress.restart(9);
    expect([progress.match, progress.next, progress.state]).toEqual([0, 10, "probe"]);
    progress.invariants();
  });
});

describe("Tracker", () => {
  it("counts no learner, neither for commits nor for votes nor for CheckQuorum", () => {
    const tracker = new Tracker(simpleConf([1, 2, 3], [4, 5]), 1, 1);
    tracker.startLeading(9);
    for (const id of [3, 4, 5]) {
      const progress = tracker.progress.get(id);
      progress?.acknowledged(9);
      if (progress !== undefined) progress.recentActive = id !== 3;
    }
    expect(tracker.committedIndex()).toBe(0);
    expect(tracker.takeQuorumActive(1)).toBe(false);
    expect(tracker.recordVote(4, true)).toBe("pending");
    expect(tracker.recordVote(5, true)).toBe("pending");
    expect(tracker.recordVote(2, true)).toBe("pending");
    expect(tracker.recordVote(3, true)).toBe("won");
  });

  it("knows right after a CheckQuorum who had answered before it", () => {
    const tracker = new Tracker(simpleConf([1, 2]), 1, 1);
    tracker.startLeading(9);
    const progress = tracker.progress.get(2) as Progress;
    progress.recentActive = true;
    const lately: boolean[] = [];
    for (let i = 0; i < 3; i++) {
      lately.push(progress.recentActive || progress.wasActive);
      tracker.takeQuorumActive(1);
    }
    expect(lately).toEqual([true, true, false]);
  });

  it("keeps the first answer of a voter", () => {
    const tracker = new Tracker(simpleConf([1, 2, 3]), 1, 1);
    tracker.recordVote(2, false);
    tracker.recordVote(2, true);
    expect(tracker.recordVote(3, false)).toBe("lost");
  });

  it("keeps in another configuration what it knows of those who stay", () => {
    const tracker = new Tracker(simpleConf([1, 2, 3], [4]), 1, 1);
    tracker.startLeading(9);
    tracker.progress.get(2)?.acknowledged(7);
    tracker.progress.get(4)?.acknowledged(8);
    tracker.configure(simpleConf([2, 4, 5]), 9);
    expect([...tracker.progress.keys()]).toEqual([2, 4, 5]);
    expect([...tracker.progress.values()].map(({ match }) => match)).toEqual([7, 8, 0]);
    expect(tracker.progress.get(4)?.isLearner).toBe(false);
    // The newcomer counts as heard of: it could not speak yet.
    expect([...tracker.progress.values()].map((p) => p.recentActive)).toEqual([false, false, true]);
    expect(tracker.committedIndex()).toBe(7);
  });

  it("refuses a member that is voter and learner at once", () => {
    expect(() => new Tracker(simpleConf([1, 2], [2]), 1, 1)).toThrow("learner");
  });
});
