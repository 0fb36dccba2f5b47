/**
 * For tests: runs a script on a log and crashes it at every file operation, in every way that the disk allows. What
 * is opened afterwards must show a state that the model knows, with every acknowledged append in it, and must keep
 * showing it when the power fails right after the start (fault-rules D1 to D3, D8, D10).
 */
import { assert } from "../../base/index.ts";
import type { Operation, SimEnv } from "../../env/sim/index.ts";
import { runIoNow } from "../../env/sim/index.ts";
import { type GroupStart, Wal, type WalOptions, type WalRecovery } from "../index.ts";
import { batch, IDENTITY, Lab, matchingState, type ModelState } from "./lab.ts";

export interface CrashPlan {
  readonly seed: number;
  readonly options?: Partial<WalOptions>;
  readonly run: (lab: Lab) => void;
  /** Up to so many outcomes of a power loss are tried at each point: all of them where they are fewer. */
  readonly imagesMax: number;
  /** Crashes during some recoveries at each point as well, with so many outcomes at each of their operations. */
  readonly nestedImagesMax?: number;
}

export interface CrashCounts {
  points: number;
  opened: number;
}

interface Point {
  readonly machine: SimEnv;
  readonly created: boolean;
  readonly states: readonly ModelState[];
  readonly acknowledged: number;
  /** Of these what a power loss leaves: fewer in the interval mode. */
  readonly durable: number;
  readonly starts: readonly GroupStart[];
  readonly options: WalOptions;
}

/** Operations after which the disk is not the same. */
const CHANGES: ReadonlySet<Operation["kind"]> = new Set([
  "write",
  "sync",
  "truncate",
  "rename",
  "unlink",
  "mkdir",
  "syncDir",
]);

/** Of the outcomes at one point, so many are recovered under crashes, and so many are written to afterwards. */
const NESTED_RECOVERIES = 1;
const GO_ON_IMAGES = 8;

export function crashEverywhere(plan: CrashPlan): CrashCounts {
  const lab = new Lab(plan.seed, plan.options);
  const counts: CrashCounts = { points: 0, opened: 0 };
  const inspect = (machine: SimEnv): void => {
    counts.points++;
    checkPoint(plan, counts, {
      machine,
      created: lab.created,
      states: lab.states,
      acknowledged: lab.acknowledged,
      durable: lab.durable,
      starts: lab.starts,
      options: lab.options,
    });
  };
  // Right before an operation everything that may have happened since the one before it is under way, so this covers
  // right after that one too.
  lab.machine.disk.observer = (moment, operation): void => {
    if (moment === "before" && CHANGES.has(operation.kind)) inspect(lab.machine.fork());
  };
  plan.run(lab);
  lab.machine.disk.observer = undefined;
  inspect(lab.machine.fork());
  return counts;
}

function checkPoint(plan: CrashPlan, counts: CrashCounts, point: Point): void {
  // The process alone dies: the disk shows more than it holds, and the power may fail after the start.
  const killed = point.machine.fork(plan.seed + counts.points);
  killed.kill();
  const { number, wal } = openAndMatch(
    counts,
    point,
    killed,
    point.acknowledged,
    plan.nestedImagesMax ?? 0,
  );
  for (const image of killed.crashImages({ limit: 4 }))
    openAndMatch(counts, point, image, number, 0);
  goOn(counts, point, killed, wal, number);

  let images = 0;
  for (const image of point.machine.crashImages({
    limit: plan.imagesMax,
    seed: plan.seed + counts.points,
  })) {
    images++;
    const nested = images <= NESTED_RECOVERIES ? (plan.nestedImagesMax ?? 0) : 0;
    const found = openAndMatch(counts, point, image, point.durable, nested);
    if (images <= GO_ON_IMAGES) goOn(counts, point, image, found.wal, found.number);
  }
}

/** Opens the log of a machine that is down. Returns the number of the state that it shows. */
function openAndMatch(
  counts: CrashCounts,
  point: Point,
  machine: SimEnv,
  from: number,
  nestedImagesMax: number,
): { wal: Wal; number: number; recovery: WalRecovery | null } {
  const env = machine.boot();
  if (nestedImagesMax > 0) {
    machine.disk.observer = (moment, operation): void => {
      if (moment === "after" || !CHANGES.has(operation.kind)) return;
      const fork = machine.fork();
      const again = machine.fork();
      for (const image of fork.crashImages({ limit: nestedImagesMax }))
        openAndMatch(counts, point, image, Math.min(from, point.durable), 0);
      again.kill();
      openAndMatch(counts, point, again, from, 0);
    };
  }
  counts.opened++;
  if (!point.created) {
    const wal = runIoNow(machine, Wal.create(env, point.options, IDENTITY));
    machine.disk.observer = undefined;
    return { wal, number: matchingState(wal, point.states, 0, []), recovery: null };
  }
  const { wal, recovery } = runIoNow(machine, Wal.open(env, point.options, IDENTITY, point.starts));
  machine.disk.observer = undefined;
  wal.invariants();
  return { wal, number: matchingState(wal, point.states, from, point.starts), recovery };
}

/** The opened log takes appends, and keeps them. */
function goOn(counts: CrashCounts, point: Point, machine: SimEnv, wal: Wal, number: number): void {
  if (!point.created) return;
  const log = wal.groupLog(0);
  const { term } = wal.hardState(0);
  const next = log.lastIndex() + 1;
  const more = batch(0, Math.max(term, log.lastTerm(), 1), next, next);
  let done = false;
  wal.append([more], (error) => {
    assert(error === null, "an append after a recovery works");
    done = true;
  });
  while (!done || !wal.isSynced)
    assert(machine.scheduler.step(), "an append after a recovery ends");
  machine.losePower("mixed");
  const env = machine.boot();
  const { wal: again } = runIoNow(machine, Wal.open(env, point.options, IDENTITY, point.starts));
  counts.opened++;
  assert(again.groupLog(0).lastIndex() === next, "what was appended after a recovery is there");
  again.groupLog(0).entries(next, next + 1, 1);
  assert(number >= 0, "the state before it was one that the model knows");
}
