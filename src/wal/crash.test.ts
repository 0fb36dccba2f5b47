import { describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import type { HardState } from "../raft/index.ts";
import { crashEverywhere } from "./testing/crash.ts";
import { batch } from "./testing/lab.ts";

setVerifying(true);

/** `WAL_SWEEP=20 npx vitest run src/wal/crash.test.ts` tries so many times as much. */
const SWEEP = Number(process.env["WAL_SWEEP"] ?? 1);
const TIMEOUT_MS = 120_000 * SWEEP;

function state(term: number, commit: number): HardState {
  return { term, vote: 7, commit };
}

describe("a crash at every file operation, with every legal outcome", () => {
  it(
    "of a creation and a few appends, all of them",
    () => {
      const counts = crashEverywhere({
        seed: 1,
        imagesMax: 1024 * SWEEP,
        run: (lab) => {
          const wal = lab.create();
          lab.append(wal, [batch(0, 1, 1, 2, state(1, 1))]);
          lab.append(wal, [batch(0, 1, 3, 3, state(1, 3)), batch(5, 2, 1, 1, state(2, 0))]);
          lab.append(wal, [batch(5, 3, 1, 2, state(3, 0), 700)]);
        },
      });
      expect(counts.points).toBeGreaterThan(15);
    },
    TIMEOUT_MS,
  );

  it(
    "of appends that share a frame while one is on its way",
    () => {
      const counts = crashEverywhere({
        seed: 2,
        imagesMax: 8 * SWEEP,
        nestedImagesMax: SWEEP - 1,
        run: (lab) => {
          const wal = lab.create();
          for (let round = 0; round < 3; round++) {
            const outcomes = [1, 2, 3, 4].map((i) =>
              lab.submit(wal, [batch(i % 2, 1, nextOf(lab, i % 2), nextOf(lab, i % 2), null, 100)]),
            );
            lab.wait(() => outcomes.every((it) => it.error === null));
          }
        },
      });
      expect(counts.points).toBeGreaterThan(10);
    },
    TIMEOUT_MS,
  );

  it(
    "of rolling through segments with overwrites in them",
    () => {
      const counts = crashEverywhere({
        seed: 3,
        imagesMax: 4 * SWEEP,
        nestedImagesMax: SWEEP,
        run: (lab) => {
          const wal = lab.create();
          for (let i = 1; i <= 6; i++) lab.append(wal, [batch(0, 1, i, i, state(1, i - 1), 600)]);
          lab.append(wal, [batch(0, 2, 6, 8, state(2, 6))]);
          lab.append(wal, [batch(0, 3, 7, 7, state(3, 6), 900)]);
          lab.append(wal, [batch(0, 3, 8, 9, state(3, 9), 900)]);
        },
      });
      expect(counts.points).toBeGreaterThan(40);
    },
    TIMEOUT_MS,
  );

  it(
    "of a frame that is larger than a segment",
    () => {
      const counts = crashEverywhere({
        seed: 4,
        imagesMax: 8 * SWEEP,
        run: (lab) => {
          const wal = lab.create();
          lab.append(wal, [batch(0, 1, 1, 1)]);
          lab.append(wal, [batch(0, 1, 2, 3, state(1, 2), 5000)]);
          lab.append(wal, [batch(0, 1, 4, 4)]);
        },
      });
      expect(counts.points).toBeGreaterThan(10);
    },
    TIMEOUT_MS,
  );

  it(
    "of checkpoints, manifests and the removal of segments, with an idle group's vote in the first",
    () => {
      const counts = crashEverywhere({
        seed: 5,
        imagesMax: 4 * SWEEP,
        nestedImagesMax: SWEEP - 1,
        run: (lab) => {
          const wal = lab.create();
          lab.append(wal, [{ group: 9, entries: [], hardState: { term: 4, vote: 3, commit: 0 } }]);
          for (let i = 1; i <= 12; i++) {
            lab.append(wal, [batch(0, 1, i, i, state(1, i), 900)]);
            if (i % 4 === 0) lab.release(wal, 0, i);
          }
        },
      });
      expect(counts.points).toBeGreaterThan(60);
    },
    TIMEOUT_MS,
  );

  it(
    "of closing, opening, idling and opening again",
    () => {
      const counts = crashEverywhere({
        seed: 6,
        imagesMax: 8 * SWEEP,
        nestedImagesMax: SWEEP - 1,
        run: (lab) => {
          let wal = lab.create();
          lab.append(wal, [batch(0, 1, 1, 2, state(1, 1))]);
          lab.run(wal.close());
          lab.kill();
          ({ wal } = lab.open());
          lab.append(wal, [batch(0, 1, 3, 3, state(1, 3), 1500)]);
          lab.idle(1500);
          lab.kill();
          ({ wal } = lab.open());
          lab.append(wal, [batch(0, 2, 4, 4, state(2, 3), 1500)]);
          lab.run(wal.close());
        },
      });
      expect(counts.points).toBeGreaterThan(40);
    },
    TIMEOUT_MS,
  );
});

/** The index behind the last one that was handed in. */
function nextOf(
  lab: { states: readonly ReadonlyMap<number, { terms: readonly number[] }>[] },
  group: number,
): number {
  return (lab.states[lab.states.length - 1]?.get(group)?.terms.length ?? 0) + 1;
}
