/** What the enumeration of crashes plays: a short run, of which every file operation is a place to crash at. */
import type { SimEnv } from "../src/env/sim/index.ts";

export interface Scenario {
  readonly name: string;
  begin(seed: number): Stage;
}

/** A run under way. */
export interface Stage {
  /** The machine that lives on; another one after a crash that belongs to the scenario. */
  readonly machine: SimEnv;
  /** Comes before the crashes. */
  prepare(): void;
  /** Crashed at each of their file operations, one after another. */
  readonly acts: readonly (() => void)[];
  /** Opens a crashed copy and compares it with what must be there now. Throws a Violation. */
  judge(crashed: SimEnv): void;
}
