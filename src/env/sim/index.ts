/**
 * The simulated outside world: a machine in memory whose disk forgets what was not synced, whose time is skipped when
 * nothing happens, and whose every choice follows from one seed.
 *
 *     const machine = new SimEnv({ seed: 1 });
 *     const env = machine.boot();
 *     runIoNow(machine, open(env.files, "data"));
 *     for (const crashed of machine.crashImages()) check(crashed, crashed.boot());
 *
 * or, to crash at every operation of a run that goes on undisturbed, `sweepCrashes(machine, check)`.
 *
 * Why it is here and not with the tests: databases in memory and the public testing door run on it.
 *
 * Invariants: one seed gives one run, on every host. No completion arrives inside the call that asked. A process that
 * ended hears nothing and changes nothing. A power loss leaves what the contract in `../files.ts` allows, and the
 * enumerator leaves out nothing that it allows.
 *
 * Left out: devices that tear inside a sector, except in the mode "torn"; permissions, which faults on demand stand in
 * for.
 */
export {
  CRASH_MODES,
  chooseSurvival,
  crashImages,
  type CrashMode,
  type DiskSurvival,
} from "./crash.ts";
export type { SimDiskOptions } from "./disk.ts";
export type { InjectedFault } from "./faults.ts";
export { SimEnv, type SimEnvOptions } from "./machine.ts";
export { MemoryFiles } from "./memory-files.ts";
export { CLEAR_WAY, SimNetwork, type WayWeather } from "./network.ts";
export type { Operation } from "./operation.ts";
export { runIoNow } from "./run.ts";
export { SimScheduler } from "./scheduler.ts";
export { type CrashPoint, type CrashSweepOptions, sweepCrashes } from "./sweep.ts";
