/** What is wrong with the disk at the moment: operations that fail, are slow or stuck, or no room. */
import { type HarmonyError, hash32, Random } from "../src/base/index.ts";
import {
  chooseSurvival,
  type DiskSurvival,
  type InjectedFault,
  type SimEnv,
} from "../src/env/sim/index.ts";
import { FailedWrite } from "./failed-write.ts";
import type { NodeStep, PowerLoss } from "./node-steps.ts";
import { isOfClass } from "./node-watch.ts";
import { check } from "./violation.ts";

/** The node says that it has stopped within this time of a failed write. */
const FATAL_WITHIN_MS = 5;
/** Once there is room, writes work again within this time (a checkpoint is tried every 10 s). */
const ROOM_NOTICED_MS = 20_500;

const STREAM_RAGGED = 21;

type Fail = Extract<NodeStep, { readonly do: "fail" }>;
type Slow = Extract<NodeStep, { readonly do: "slow" }>;

export class DiskTrouble {
  readonly #machine: SimEnv;
  #failing: FailedWrite | null = null;
  #slow: InjectedFault | null = null;
  #isStuck = false;
  /** A write failed, or was about to, in this life of the process. */
  #failedInLife = false;
  #fatals: HarmonyError[] = [];
  #failedAtMs = Number.POSITIVE_INFINITY;
  #isFull = false;
  #roomSinceMs = Number.NEGATIVE_INFINITY;
  #roomIsNews = false;

  constructor(machine: SimEnv) {
    this.#machine = machine;
  }

  get hasFailed(): boolean {
    return this.#failing?.hasArrived === true || this.#fatals.length > 0;
  }

  get failedInLife(): boolean {
    return this.#failedInLife || this.#failing?.wasAsked === true;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  get isStuck(): boolean {
    return this.#isStuck;
  }

  fail({ operation, files, error, skip }: Fail): void {
    this.heal();
    this.#failing = new FailedWrite(
      this.#machine,
      operation,
      (path) => isOfClass(path, files),
      error,
      skip,
    );
  }

  slow({ skip, times, delayMs }: Slow): void {
    this.heal();
    this.#isStuck = delayMs === null;
    this.#slow = this.#machine.disk.inject({
      operation: ["write", "sync"],
      skip,
      times,
      delayMs: delayMs ?? Number.POSITIVE_INFINITY,
    });
  }

  /** One kind of trouble at a time: which of two an operation would meet is nobody's business. */
  heal(): void {
    this.arrive();
    this.#failedInLife = this.failedInLife;
    this.#failing?.remove();
    this.#failing = null;
    this.#slow?.remove();
    this.#slow = null;
    this.#isStuck = false;
  }

  /** A failure that has been decided on happens before anything else does. */
  arrive(): void {
    const failing = this.#failing;
    if (failing === null || !failing.wasAsked || failing.hasArrived) return;
    this.#machine.scheduler.runUntil(this.#machine.scheduler.nowMs + 1);
  }

  full(spareBytes: number): void {
    const { disk } = this.#machine;
    disk.quotaBytes = disk.usedBytes + spareBytes;
    this.#isFull = true;
  }

  room(): void {
    if (!this.#isFull) return;
    this.#isFull = false;
    this.#machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    this.#roomSinceMs = this.#machine.scheduler.nowMs;
    this.#roomIsNews = true;
  }

  /** The machine stood still: that time does not count for what a node has to notice. */
  paused(forMs: number): void {
    this.#roomSinceMs += forMs;
    this.#failedAtMs += forMs;
  }

  /** True when the disk had been full and nobody knew yet that this is over. */
  takeRoom(): boolean {
    const isNews = this.#roomIsNews && !this.#isFull;
    this.#roomIsNews &&= this.#isFull;
    return isNews;
  }

  onFatal(error: HarmonyError): void {
    this.#fatals.push(error);
  }

  acknowledged(): void {
    check(
      this.#failing?.hasArrived !== true,
      "nothing is acknowledged after a failed write",
      () => "a command was answered",
    );
  }

  refused(error: HarmonyError, issuedAtMs: number): void {
    if (error.code !== "DISK_FULL") return;
    check(
      this.#isFull || issuedAtMs < this.#roomSinceMs + ROOM_NOTICED_MS,
      "a full disk is forgotten once there is room",
      () => `a write is still refused ${issuedAtMs - this.#roomSinceMs} ms later`,
    );
  }

  /** Between two steps: a failed write has stopped the node, nothing else has. */
  judge(): void {
    const { nowMs } = this.#machine.scheduler;
    if (!this.#machine.running) return;
    if (this.#failing?.hasArrived === true) {
      this.#failedAtMs = Math.min(this.#failedAtMs, nowMs);
      if (nowMs <= this.#failedAtMs + FATAL_WITHIN_MS) return;
      check(
        this.#fatals.length === 1,
        "a failed write stops the node",
        () => `${this.#fatals.length} fatal errors`,
      );
    } else {
      check(
        this.failedInLife || this.#fatals.length === 0,
        "a node stops for a reason",
        () => `${this.#fatals[0]?.stack}`,
      );
    }
  }

  /** The process has ended: what was wrong with its files ends with it, a full disk does not. */
  ended(): void {
    this.#failing?.remove();
    this.#failing = null;
    this.#slow?.remove();
    this.#slow = null;
    this.#isStuck = false;
    this.#failedInLife = false;
    this.#fatals = [];
    this.#failedAtMs = Number.POSITIVE_INFINITY;
  }
}

/** What a power loss leaves, by a seed of its own. */
export function survivalOf({ disk }: SimEnv, how: PowerLoss, seed: number): DiskSurvival {
  disk.settleInFlight();
  const unsynced = disk.unsynced();
  const isJournaled = disk.options.journaledNames === true;
  const mode = how === "ragged" ? "torn" : how;
  const survival = chooseSurvival(unsynced, mode, isJournaled, new Random(seed));
  if (how !== "ragged") return survival;
  const random = new Random(hash32(seed, STREAM_RAGGED));
  const files = new Map(survival.files);
  for (const inode of unsynced.files) {
    const at = random.below(inode.unsynced.length + 1);
    const torn = inode.unsynced[at];
    if (torn?.kind !== "write") continue;
    const bytes = Math.min(torn.bytes.length, 8 * (random.below(1 << random.between(0, 9)) + 1));
    files.set(inode.id, {
      // The size of the torn write may have come through without its bytes.
      sizeOps: at + random.below(2),
      keeps: (op) => op <= at,
      tear: { op: at, bytes },
    });
  }
  return { files, names: survival.names };
}
