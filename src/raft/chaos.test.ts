import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { Chaos } from "./testing/chaos.ts";

// RAFT_SEEDS=100000 RAFT_FIRST_SEED=1 npx vitest run src/raft/chaos makes a long sweep of it.
const SEEDS = Number(process.env["RAFT_SEEDS"] ?? 80);
const FIRST = Number(process.env["RAFT_FIRST_SEED"] ?? 1);
const STEPS_PER_NODE = 1500;

describe("a cluster in which anything may fail at any step keeps every promise of Raft", () => {
  beforeAll(() => setVerifying(true));
  afterAll(() => setVerifying(false));

  for (const size of [3, 5]) {
    it(`with ${size} nodes, ${SEEDS} seeds`, () => {
      const total = {
        committed: 0,
        elections: 0,
        crashes: 0,
        reads: 0,
        changes: 0,
        snapshots: 0,
        healed: 0,
      };
      for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
        try {
          const summary = new Chaos(seed, size).run(STEPS_PER_NODE * size);
          for (const key of Object.keys(total) as (keyof typeof total)[])
            total[key] += summary[key];
        } catch (error) {
          throw new Error(`seed ${seed} with ${size} nodes`, { cause: error });
        }
      }
      // The schedule must not have become so hostile that nothing is tested, nor so kind.
      expect(total.committed).toBeGreaterThan(20 * SEEDS);
      expect(total.elections).toBeGreaterThan(2 * SEEDS);
      expect(total.crashes).toBeGreaterThan(2 * SEEDS);
      expect(total.reads).toBeGreaterThan(5 * SEEDS);
      expect(total.changes).toBeGreaterThan(SEEDS);
      expect(total.snapshots).toBeGreaterThan(SEEDS / 2);
      expect(total.healed).toBeGreaterThan(SEEDS / 2);
    }, 600_000);
  }
});
