/**
 * Random histories on both engines at once, with power losses: they must agree at every step.
 *
 * `BTREE_SWEEP=20 npx vitest run src/btree/history.test.ts` tries so many times as much.
 */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { EMPTY_BYTES, setVerifying, utf8 } from "../base/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { entriesOf, filled, fingerprint, keyOf } from "./engine.suite.ts";
import { BTreeEngine, type Engine, MemoryEngine, TREE_SLOTS } from "./index.ts";

setVerifying(true);
const SWEEP = Number(process.env["BTREE_SWEEP"] ?? 1);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 60_000 * SWEEP });

const PATH = "data.hdb";
const OPTIONS = { fileId: utf8("file"), slabSizeBytes: 64 * 1024 };

type Step =
  | { readonly kind: "put"; readonly tree: number; readonly key: number; readonly size: number }
  | { readonly kind: "delete"; readonly tree: number; readonly key: number; readonly count: number }
  | { readonly kind: "checkpoint" | "loss" | "kill" | "restart" };

const treeArbitrary = fc.constantFrom(0, 7, TREE_SLOTS - 1);
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      tree: treeArbitrary,
      key: fc.nat({ max: 300 }),
      size: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 1400 }), fc.nat({ max: 9000 })),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("delete" as const),
      tree: treeArbitrary,
      key: fc.nat({ max: 300 }),
      count: fc.constantFrom(1, 1, 40, 300),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("checkpoint" as const, "checkpoint", "loss", "kill", "restart"),
    }),
  },
);

function copyInto(target: Engine, source: Engine): void {
  for (let id = 0; id < TREE_SLOTS; id++) {
    for (const [key, value] of entriesOf(source.tree(id))) target.tree(id).put(key, value);
  }
}

/** A BTreeEngine that crashes, and what it must hold. */
class Pair {
  readonly machine: SimEnv = new SimEnv({ seed: 3 });
  tree: BTreeEngine = this.#open();
  memory = new MemoryEngine();
  /** What a crash falls back to. */
  durable = new MemoryEngine();
  index = 0;

  #open(): BTreeEngine {
    const io = BTreeEngine.open(this.machine.boot().files, PATH, OPTIONS);
    return runIoNow(this.machine, io).engine;
  }

  checkpoint(): void {
    this.index++;
    const meta = {
      appliedIndex: this.index,
      appliedTerm: 1,
      walLsn: this.index,
      payload: EMPTY_BYTES,
    };
    runIoNow(this.machine, this.tree.checkpoint(meta));
    runIoNow(this.machine, this.memory.checkpoint(meta));
    this.durable = new MemoryEngine();
    copyInto(this.durable, this.memory);
  }

  crash(how: "loss" | "kill" | "restart"): void {
    if (how === "restart") runIoNow(this.machine, this.tree.close());
    if (how === "loss") this.machine.losePower("mixed");
    else this.machine.kill();
    this.tree = this.#open();
    this.memory = new MemoryEngine();
    copyInto(this.memory, this.durable);
    expect(this.tree.checkpoints.newest?.appliedIndex ?? 0).toBe(this.index);
  }

  compare(): void {
    this.tree.invariants();
    for (let id = 0; id < TREE_SLOTS; id++) {
      const expected = fingerprint(entriesOf(this.memory.tree(id)));
      expect(fingerprint(entriesOf(this.tree.tree(id)))).toBe(expected);
    }
  }
}

describe("both engines", () => {
  it("hold the same after every history of writes, checkpoints and crashes", () => {
    fc.assert(
      fc.property(fc.array(stepArbitrary, { maxLength: 120, size: "max" }), (steps) => {
        const pair = new Pair();
        for (const [at, step] of steps.entries()) {
          if (step.kind === "put") {
            const value = filled(step.size, at);
            const both = [pair.tree, pair.memory].map((engine) =>
              engine.tree(step.tree).put(keyOf(step.key), value),
            );
            expect(both[0]).toBe(both[1]);
          } else if (step.kind === "delete") {
            for (let key = step.key; key < step.key + step.count; key++) {
              const both = [pair.tree, pair.memory].map((engine) =>
                engine.tree(step.tree).delete(keyOf(key)),
              );
              expect(both[0]).toBe(both[1]);
            }
          } else if (step.kind === "checkpoint") {
            pair.checkpoint();
          } else {
            pair.crash(step.kind);
            pair.compare();
          }
        }
        pair.compare();
      }),
      { numRuns: 40 * SWEEP },
    );
  });
});
