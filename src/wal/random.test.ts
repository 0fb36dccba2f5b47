/** Long random lives of a log: appends, overwrites, checkpoints, idling, closing and crashes of every kind. */
import { describe, expect, it } from "vitest";
import { Random, setVerifying } from "../base/index.ts";
import type { GroupAppend } from "./index.ts";
import { batch, Lab } from "./testing/lab.ts";

setVerifying(true);

const LIVES = Number(process.env["WAL_LIVES"] ?? 25);
const STEPS = 60;

function liveOnce(seed: number): { crashes: number; appends: number } {
  const random = new Random(seed);
  const lab = new Lab(
    seed,
    {
      segmentSizeBytes: random.pick([4096, 4096, 8192, 65536]),
      cacheBytes: random.pick([0, 2000, 1e6]),
      markAfterMs: random.pick([5, 1000]),
    },
    { disk: { shortWritePercent: random.pick([0, 0, 30]), journaledNames: random.percent(30) } },
  );
  const counts = { crashes: 0, appends: 0 };
  let wal = lab.create();
  // What has been handed in, by group: where the log ends there, its term and commit.
  const ends = new Map<number, { last: number; term: number; commit: number; vote: number }>();
  const adopt = (): void => {
    // After a crash the log shows one of the states; the later ones never happened.
    const shown = lab.matching(wal);
    lab.states.length = shown + 1;
    lab.acknowledged = shown;
    ends.clear();
    for (const [group, model] of lab.states[shown] ?? []) {
      const { term, vote, commit } = wal.hardState(group);
      ends.set(group, {
        last: model.terms.length,
        term: Math.max(term, model.terms.at(-1) ?? 0),
        commit,
        vote,
      });
    }
  };
  const next = (group: number): GroupAppend => {
    const end = ends.get(group) ?? { last: 0, term: 1, commit: 0, vote: 0 };
    let { last, term, commit, vote } = end;
    let first = last + 1;
    if (last > commit && random.percent(25)) {
      first = random.between(commit + 1, last);
      term++;
      vote = 0;
    }
    const to = random.percent(10) ? first - 1 : first + random.below(4);
    last = to >= first ? to : end.last;
    if (to < first) term = Math.max(term, end.term);
    commit = random.between(Math.min(commit, last), to >= first ? last : Math.min(end.last, last));
    if (vote === 0 && random.percent(30)) vote = random.between(1, 3);
    ends.set(group, { last, term, commit, vote });
    const size = random.percent(10) ? 3000 : random.below(300);
    return batch(group, term, first, to, { term, vote, commit }, size);
  };
  for (let step = 0; step < STEPS; step++) {
    const dice = random.below(100);
    if (dice < 55) {
      const groups = random.percent(30) ? [0, 1] : [random.below(3)];
      lab.submit(wal, groups.map(next));
      counts.appends++;
      if (random.percent(50)) lab.idle(random.below(3));
    } else if (dice < 70) lab.idle(random.pick([1, 5, 50, 1500]));
    else if (dice < 80) {
      lab.idle(50);
      const group = random.below(3);
      const { commit } = wal.hardState(group);
      const before = lab.starts.find((it) => it.group === group)?.appliedIndex ?? 0;
      if (commit > before) lab.release(wal, group, random.between(before + 1, commit));
    } else {
      counts.crashes++;
      if (dice < 84) {
        lab.run(wal.close());
        lab.kill();
      } else if (dice < 92) lab.kill();
      else
        lab.losePower(
          random.pick(["lose-all", "keep-all", "prefix", "subset", "sectors", "mixed", "torn"]),
        );
      ({ wal } = lab.open());
      adopt();
      if (random.percent(30)) {
        // And again before anything is written: what was shown stays.
        lab.losePower("mixed");
        ({ wal } = lab.open());
        adopt();
      }
    }
  }
  lab.idle(100);
  expect(lab.matching(wal)).toBe(lab.states.length - 1);
  return counts;
}

describe("a random life", () => {
  it(
    `of ${LIVES} logs never loses what was acknowledged and never shows half an append`,
    () => {
      let crashes = 0;
      for (let seed = 1; seed <= LIVES; seed++) {
        try {
          crashes += liveOnce(seed).crashes;
        } catch (error) {
          throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
      expect(crashes).toBeGreaterThan(LIVES * 5);
    },
    10_000 + LIVES * 200,
  );
});
