/**
 * Crashes everywhere: while a scenario runs, a fork of its machine is crashed at each file operation in every way
 * that is tried, and handed to a visitor that recovers and checks it. The scenario itself runs once and undisturbed,
 * so what it knows to be acknowledged at that moment is what the visitor may demand.
 */
import { hash32 } from "../../base/index.ts";
import type { SimEnv } from "./machine.ts";
import { isChange, type Operation } from "./operation.ts";

export interface CrashPoint {
  /** The number of the operation (see `SimDisk.opCount`). */
  readonly ordinal: number;
  /** Before: in flight, and so done, not done or in part. After: done, and its caller has not heard of it. */
  readonly moment: "before" | "after";
  readonly operation: Operation;
  /** "power": the machine went down. "kill": the process did. */
  readonly crash: "power" | "kill";
}

export interface CrashSweepOptions {
  /** Outcomes of a power loss at one point: all of them up to so many, so many drawn ones beyond. Default 64. */
  readonly powerLossesMax?: number;
  /** Outcomes of a process crash at one point. Default 2. */
  readonly kills?: number;
}

/**
 * Calls `visit` with a crashed machine for each outcome at each point, until the returned function is called. The
 * visitor owns the machine: it may boot it, run it and crash it again.
 */
export function sweepCrashes(
  machine: SimEnv,
  visit: (crashed: SimEnv, point: CrashPoint) => void,
  options: CrashSweepOptions = {},
): () => void {
  const { powerLossesMax = 64, kills = 2 } = options;
  machine.disk.observer = (moment, operation, ordinal): void => {
    // An operation that changes no name and no byte, and proves nothing durable, leaves the crashes as they were.
    const proves = operation.kind === "sync" || operation.kind === "syncDir";
    if (moment === "before" ? !isChange(operation) : !proves && !isChange(operation)) return;
    const seed = hash32(machine.seed, ordinal, moment === "before" ? 0 : 1);
    for (const crashed of machine.crashImages({ limit: powerLossesMax, seed })) {
      visit(crashed, { ordinal, moment, operation, crash: "power" });
    }
    // With nothing under way, one process crash is like another.
    for (let i = 0; i < (machine.disk.changesInFlight ? kills : Math.min(kills, 1)); i++) {
      const crashed = machine.fork(hash32(seed, i));
      crashed.kill();
      visit(crashed, { ordinal, moment, operation, crash: "kill" });
    }
  };
  return () => {
    machine.disk.observer = undefined;
  };
}
