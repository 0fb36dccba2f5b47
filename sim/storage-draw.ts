/**
 * What a seed does in the world of the storage: lives one after another, each with some work, perhaps a fault, and
 * an end. It looks at what has happened, and decides; nothing else follows from it.
 */
import { hash32, Random } from "../src/base/index.ts";
import { CRASH_MODES } from "../src/env/sim/index.ts";
import { drawPart } from "./storage-appends.ts";
import type { StorageWorldOptions } from "./storage-options.ts";
import type { AppendPart, DamageKind, FileClass, StorageStep } from "./storage-steps.ts";

/** What a drawer may look at. */
export interface StorageView {
  isRunning(): boolean;
  /** A write was refused: nothing more can be done in this life. */
  isFailing(): boolean;
  /** This life has written enough for its crash to count. */
  isEnough(): boolean;
  /** The disk takes no more than it holds. */
  isFull(): boolean;
}

const FILES: readonly FileClass[] = ["log", "log", "votes", "manifest", "data"];
const STREAM_WORLD = 22;
/** However little is acknowledged. */
const APPENDS_MAX = 30;
const RECOVERY_CRASHES_MAX = 3;
/** So many of a hundred appends may also be those of the idle group. */
const IDLE_PERCENT = 2;
/** After so many of a hundred crashes a copy is damaged. */
const DAMAGE_PERCENT = 25;

export class StorageDraw {
  readonly #options: StorageWorldOptions;
  readonly #view: StorageView;
  readonly #random: Random;
  readonly #steps: Generator<StorageStep, void, void>;
  #checkpoints = 0;

  constructor(seed: number, options: StorageWorldOptions, view: StorageView) {
    this.#options = options;
    this.#view = view;
    this.#random = new Random(hash32(seed, STREAM_WORLD));
    this.#steps = this.#all();
  }

  next(): StorageStep | null {
    const { done, value } = this.#steps.next();
    return done === true ? null : value;
  }

  *#all(): Generator<StorageStep, void, void> {
    const { faults, lives } = this.#options;
    for (let life = 0; life < lives; life++) {
      yield* this.#opening(life > 0);
      if (this.#view.isFull() && this.#random.percent(60)) yield { do: "room" };
      yield* this.#life();
      // An end in good order, now and then, and what damage makes of it.
      if (this.#view.isRunning() && !this.#view.isFailing() && this.#random.percent(5)) {
        yield* this.#closing(2);
      } else if (this.#view.isFailing() && this.#random.percent(40)) yield { do: "close" };
      yield this.#crash();
      if (this.#random.percent(DAMAGE_PERCENT)) yield* this.#damages(1);
    }
    yield* this.#opening(true);
    yield { do: "room" };
    if (faults.lostWrites) yield { do: "remember" };
    yield* this.#work(4, () => false);
    yield { do: "settle" };
    yield* this.#closing(3);
    yield* this.#opening(false);
    yield { do: "close" };
  }

  *#closing(damages: number): Generator<StorageStep, void, void> {
    yield { do: "close" };
    yield* this.#damages(damages);
  }

  *#damages(count: number): Generator<StorageStep, void, void> {
    for (let i = 0; i < count; i++) {
      const kind = this.#damageKind();
      if (kind === null) return;
      const random = this.#random;
      yield {
        do: "damage",
        kind,
        file: random.below(1000),
        offset: random.below(random.pick([512, 4096, 1 << 20])),
        seed: random.u32(),
      };
    }
  }

  #damageKind(): DamageKind | null {
    const { bitRot, lostWrites, movedFiles } = this.#options.faults;
    const kinds: DamageKind[] = [];
    if (bitRot) kinds.push("bit", "bit", "sector");
    if (lostWrites) kinds.push("stale", "stale", "misdirected", "misplaced");
    if (movedFiles) kinds.push("missing", "doubled", "swapped", "foreign");
    return kinds.length === 0 ? null : this.#random.pick(kinds);
  }

  *#opening(mayCrash: boolean): Generator<StorageStep, void, void> {
    const random = this.#random;
    const { crashInRecovery, refusedFiles } = this.#options.faults;
    for (let attempt = 0; !this.#view.isRunning(); attempt++) {
      if (attempt > 0) yield this.#crash();
      const crashes = mayCrash && attempt < RECOVERY_CRASHES_MAX;
      if (crashes && crashInRecovery && random.percent(30)) yield this.#halt(40);
      else if (crashes && refusedFiles && random.percent(20)) {
        const operation = random.pick([
          "open",
          "open",
          "read",
          "rename",
          "write",
          "unlink",
        ] as const);
        yield {
          do: "refuse",
          operation,
          error:
            operation === "read" || operation === "write"
              ? "EIO"
              : operation === "open"
                ? random.pick(["EMFILE", "EACCES", "EROFS"] as const)
                : random.pick(["EROFS", "EACCES"] as const),
          skip: random.below(12),
        };
      }
      yield { do: "open", seed: random.u32() };
    }
  }

  #halt(within: number): StorageStep {
    const random = this.#random;
    const isAimed = random.percent(20);
    return {
      do: "halt",
      after: random.between(1, isAimed ? Math.min(within, 3) : within),
      moment: random.percent(60) ? "before" : "after",
      file: isAimed ? random.pick(FILES) : null,
    };
  }

  #crash(): StorageStep {
    const random = this.#random;
    const isPowerLoss = this.#options.faults.powerLoss && random.percent(75);
    return {
      do: "crash",
      mode: isPowerLoss ? random.pick(CRASH_MODES) : null,
      seed: random.u32(),
    };
  }

  *#life(): Generator<StorageStep, void, void> {
    const random = this.#random;
    const { faults, faultPercent, lives } = this.#options;
    if (faults.lostWrites && random.below(lives) === 0) yield { do: "remember" };
    const fault = random.percent(faultPercent) ? this.#fault() : null;
    if (fault === null) {
      yield* this.#work(APPENDS_MAX, () => this.#view.isEnough());
    } else {
      yield* this.#work(random.below(12), () => false);
      yield* fault;
    }
    if (!this.#view.isRunning() || this.#view.isFailing()) return;
    if (random.percent(20)) return;
    yield this.#halt(random.pick([1, 3, 6, 20]));
    yield* this.#work(7, () => false);
  }

  /** Something that goes wrong besides the end of the life. */
  #fault(): Generator<StorageStep, void, void> | null {
    const { failedWrites, fullDisk, slowSyncs, stuckSyncs } = this.#options.faults;
    const kinds: (() => Generator<StorageStep, void, void>)[] = [];
    if (failedWrites) kinds.push(() => this.#failedWrite());
    if (fullDisk) kinds.push(() => this.#fullDisk());
    if (slowSyncs) kinds.push(() => this.#slow(false));
    if (stuckSyncs) kinds.push(() => this.#slow(true));
    return kinds.length === 0 ? null : this.#random.pick(kinds)();
  }

  *#failedWrite(): Generator<StorageStep, void, void> {
    const random = this.#random;
    const operation = random.pick(["write", "write", "sync"] as const);
    const target = random.pick(["log", "votes", ...this.#options.storage.groups] as const);
    const skip = random.below(operation === "write" ? 30 : 4);
    yield { do: "fail-write", operation, target, skip };
    // A group's data is only written by its checkpoints.
    if (typeof target === "number") {
      yield* this.#work(random.below(6), () => false);
      yield { do: "checkpoint", group: target };
    }
    yield* this.#work(16, () => false);
    yield { do: "pass", ms: 20 };
  }

  *#fullDisk(): Generator<StorageStep, void, void> {
    const random = this.#random;
    yield { do: "full", pages: random.below(4) };
    for (let i = 0; i < 12 && this.#view.isRunning(); i++) {
      yield this.#append();
      yield { do: "pass", ms: 2 };
      if (random.percent(8)) yield this.#checkpoint();
    }
    yield { do: "pass", ms: random.below(1500) };
    // One in three starts again on a disk that is still full.
    if (random.percent(35)) return;
    yield { do: "room" };
    yield* this.#work(APPENDS_MAX, () => this.#view.isEnough());
  }

  *#slow(isStuck: boolean): Generator<StorageStep, void, void> {
    const random = this.#random;
    yield {
      do: "slow",
      file: random.pick(["log", "log", "log", "votes", "manifest", "data"]),
      skip: random.below(6),
      times: isStuck ? 1 : random.between(1, 20),
      ms: isStuck ? null : random.pick([5, 300, 5000]),
    };
    yield* this.#work(isStuck ? 10 : APPENDS_MAX, () => !isStuck && this.#view.isEnough());
    if (isStuck && random.percent(30)) yield { do: "prove" };
  }

  /** Hands in appends, with everything else that happens in between. */
  *#work(batches: number, isOver: () => boolean): Generator<StorageStep, void, void> {
    const random = this.#random;
    for (let i = 0; i < batches; i++) {
      if (!this.#view.isRunning() || this.#view.isFailing() || isOver()) return;
      if (random.percent(this.#options.checkpointPercent)) yield this.#checkpoint();
      const die = random.below(200);
      if (die < 16) yield { do: "unpin" };
      else if (die < 44) yield this.#vote();
      else if (die < 50) yield { do: "pin", group: this.#group() };
      else if (die < 56) yield { do: "pass", ms: random.between(900, 2500) };
      else if (die === 56) yield { do: "prove" };
      yield this.#append();
    }
  }

  #group(): number {
    return this.#random.pick(this.#options.storage.groups);
  }

  /** In turns, so that the log can go, and now and then of any group. */
  #checkpoint(): StorageStep {
    const { groups } = this.#options.storage;
    const group = this.#random.percent(25)
      ? this.#group()
      : (groups[this.#checkpoints++ % groups.length] as number);
    return { do: "checkpoint", group };
  }

  #vote(): StorageStep {
    const random = this.#random;
    return {
      do: "vote",
      group: this.#group(),
      terms: random.between(1, 3),
      vote: random.between(0, 3),
    };
  }

  #append(): StorageStep {
    const random = this.#random;
    const { storage, hasIdleGroup } = this.#options;
    const isIdle = hasIdleGroup && storage.groups.length > 2 && !random.percent(IDLE_PERCENT);
    const groups = isIdle ? storage.groups.slice(0, -1) : storage.groups;
    const count = random.percent(50) ? 1 : random.between(1, Math.min(groups.length, 5));
    const first = random.below(groups.length);
    const parts: AppendPart[] = [];
    for (let i = 0; i < count; i++)
      parts.push(drawPart(random, this.#options, groups[(first + i) % groups.length] as number));
    return {
      do: "append",
      parts,
      reserve: random.percent(20),
      // Some share a frame, some come when the disk is idle.
      window: random.below(this.#options.windowMax + 1),
    };
  }
}
