import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { type Entry, EntryType } from "./index.ts";
import { Unstable } from "./unstable.ts";

const NO_DATA = new Uint8Array(0);
const NOBODY = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

describe("Unstable", () => {
  beforeAll(() => setVerifying(true));
  afterAll(() => setVerifying(false));

  it("calls an entry stable exactly when the disk holds that very write of it", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("push" as const) }),
      fc.record({
        kind: fc.constant("replace" as const),
        back: fc.integer({ min: 0, max: 5 }),
        count: fc.integer({ min: 1, max: 4 }),
        // Few terms, so that the same index and term come back after something else stood there.
        term: fc.integer({ min: 1, max: 2 }),
      }),
      fc.record({ kind: fc.constant("restore" as const), beyond: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ kind: fc.constant("take" as const) }),
      fc.record({ kind: fc.constant("persist" as const), count: fc.integer({ min: 1, max: 3 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const unstable = new Unstable(1);
        // The log and the disk as lists of objects: only the same object is the same write.
        const log: Entry[] = [];
        const disk: Entry[] = [];
        const onTheirWay: {
          readyNumber: number;
          snapshot: Entry[] | null;
          entries: readonly Entry[];
        }[] = [];
        let ready = 0;
        // What a snapshot covers cannot be replaced, and stands for itself.
        let floor = 0;
        let restored: Entry[] | null = null;
        for (const s of steps) {
          if (s.kind === "push") {
            const entry = { index: log.length + 1, term: 3, type: EntryType.normal, data: NO_DATA };
            log.push(entry);
            unstable.push(entry);
          } else if (s.kind === "replace") {
            const first = Math.max(floor + 1, log.length + 1 - s.back);
            const entries = Array.from({ length: s.count }, (_, i) => ({
              index: first + i,
              term: s.term,
              type: EntryType.normal,
              data: NO_DATA,
            }));
            log.length = first - 1;
            log.push(...entries);
            unstable.replace(entries, 0);
          } else if (s.kind === "restore") {
            floor = log.length + s.beyond;
            restored = Array.from({ length: floor }, (_, i) => {
              return { index: i + 1, term: 9, type: EntryType.empty, data: NO_DATA };
            });
            log.splice(0, log.length, ...restored);
            unstable.restore({ index: floor, term: 9, confState: NOBODY });
          } else if (s.kind === "take") {
            ready++;
            const snapshot = unstable.hasUnhandedSnapshot ? restored : null;
            if (snapshot !== null) unstable.takeSnapshot(ready);
            const entries = unstable.hasUnhanded ? unstable.take(ready) : [];
            onTheirWay.push({ readyNumber: ready, snapshot, entries });
          } else {
            const done = onTheirWay.splice(0, s.count);
            for (const { snapshot, entries } of done) {
              if (snapshot !== null) disk.splice(0, disk.length, ...snapshot);
              const [first] = entries;
              if (first === undefined) continue;
              disk.length = first.index - 1;
              disk.push(...entries);
            }
            unstable.persisted(done.at(-1)?.readyNumber ?? 0);
          }
          unstable.invariants();
          let stable = 0;
          while (stable < log.length && disk[stable] === log[stable]) stable++;
          const pending = unstable.snapshot !== null;
          expect(pending).toBe(floor > 0 && disk[floor - 1] !== log[floor - 1]);
          expect(unstable.offset - 1).toBe(pending ? floor : stable);
          if (pending) stable = floor;
          expect(unstable.lastIndex).toBe(log.length);
          expect(unstable.slice(unstable.offset, unstable.lastIndex + 1, 1e9, 1)).toEqual(
            log.slice(stable),
          );
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("asserts that new entries leave no gap", () => {
    const unstable = new Unstable(5);
    const entry: Entry = { index: 7, term: 1, type: EntryType.normal, data: NO_DATA };
    expect(() => unstable.push(entry)).toThrow("only appends");
    expect(() => unstable.replace([entry], 0)).toThrow("no gap");
  });
});
