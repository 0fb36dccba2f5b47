/**
 * The consensus core alone, as a cluster: its own random schedule with its own judges (src/raft/testing), run from
 * here so that planted bugs of the core are hunted like all others. The worlds of one node cannot show what only a
 * second voter sees.
 */
import { setVerifying } from "../src/base/index.ts";
// The schedule belongs to the tests of the core and is no part of its door.
// oxlint-disable-next-line no-restricted-imports
import { Chaos } from "../src/raft/testing/chaos.ts";

import { NO_MARKS, type RunResult } from "./result.ts";

const STEPS_PER_NODE = 1500;

export function runRaftSeed(seed: number): RunResult {
  const size = seed % 2 === 0 ? 3 : 5;
  setVerifying(true);
  try {
    const summary = new Chaos(seed, size).run(STEPS_PER_NODE * size);
    return {
      world: "raft",
      seed,
      cycles: summary.crashes,
      commands: summary.committed,
      hash: summary.committed,
      marks: NO_MARKS,
      failure: null,
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      world: "raft",
      seed,
      cycles: 0,
      commands: 0,
      hash: 0,
      marks: NO_MARKS,
      failure: {
        check: (message.split("\n")[0] ?? "").slice(0, 80),
        message: error instanceof Error ? (error.stack ?? message) : message,
        event: 0,
        options: { size },
        lines: [],
        script: null,
      },
    };
  }
}
