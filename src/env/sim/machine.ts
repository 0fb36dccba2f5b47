/**
 * A simulated machine: a disk, a clock, and the processes that one after another live on it. `boot` starts a process
 * and gives it its `Env`; a crash ends it, and whatever it had asked for never comes back to it.
 */
import { assert, hash32, Random } from "../../base/index.ts";
import type { Clock, Digest, Entropy, Env, LogSink, Timer, Timers } from "../env.ts";
import type { Files } from "../files.ts";
import {
  crashImages,
  type CrashImagesOptions,
  type CrashMode,
  type DiskSurvival,
} from "./crash.ts";
import { SimDisk, type SimDiskOptions } from "./disk.ts";
import { SimFiles, type SimProcess } from "./files.ts";
import type { SimNetwork } from "./network.ts";
import { SimScheduler } from "./scheduler.ts";
import { SimSha256 } from "./sha256.ts";

export interface SimEnvOptions {
  /** Decides everything that is left open: the order of events, latencies, what crashes leave, entropy. */
  readonly seed: number;
  /** Shared by the machines of one world. Default: one of its own. */
  readonly scheduler?: SimScheduler;
  readonly disk?: Omit<SimDiskOptions, "seed">;
  /** Default: lines are dropped. */
  readonly log?: LogSink;
  /** On which network, and where. Default: on none. */
  readonly network?: { readonly of: SimNetwork; readonly url: string };
}

/** 2023-11-14, so that wall times look like wall times. */
const WALL_START_MS = 1_700_000_000_000;

const STREAM_ENTROPY = 5;

export class SimEnv {
  readonly seed: number;
  readonly scheduler: SimScheduler;
  readonly disk: SimDisk;
  /** Added to the wall clock of every process of this machine: may be set at any time. */
  wallSkewMs = 0;
  readonly #log: LogSink;
  #network: SimEnvOptions["network"];
  #process: Process | undefined;
  #boots = 0;

  constructor(options: SimEnvOptions, disk?: SimDisk) {
    this.seed = options.seed;
    this.scheduler = options.scheduler ?? new SimScheduler(options.seed);
    this.disk = disk ?? new SimDisk({ ...options.disk, seed: options.seed });
    this.#log = options.log ?? ((): void => {});
    this.#network = options.network;
  }

  /** Puts a copy on a network, where its next process is: copies are on none. */
  connect(network: NonNullable<SimEnvOptions["network"]>): void {
    assert(this.#network === undefined && !this.running, "a machine is put on a network once");
    this.#network = network;
  }

  /** Whether a process lives. */
  get running(): boolean {
    return this.#process?.alive === true;
  }

  /** What the wall clock of its processes shows now. */
  get wallMs(): number {
    return WALL_START_MS + this.wallSkewMs + this.scheduler.nowMs;
  }

  /** Starts a process. The one before must have ended, by `kill` or `losePower`. */
  boot(): Env {
    assert(!this.running, "a machine runs one process at a time");
    assert(
      this.disk.quiet,
      "what a process left behind is settled by kill or losePower before the next one boots",
    );
    this.#boots++;
    const process = new Process();
    this.#process = process;
    const { scheduler, disk } = this;
    const files: Files = new SimFiles(disk, scheduler, process);
    return {
      files,
      clock: new SimClock(scheduler, () => WALL_START_MS + this.wallSkewMs),
      timers: new SimTimers(scheduler, process),
      entropy: new SimEntropy(hash32(this.seed, STREAM_ENTROPY, this.#boots)),
      log: this.#log,
      links: this.#network?.of.attach(this.#network.url, process),
      sha256: (): Digest => new SimSha256(),
    };
  }

  /** kill -9: what the process wrote stays visible. What was in flight is done, not done, or done in part. */
  kill(): void {
    this.halt();
    this.#network?.of.detach(this.#network.url, true);
    this.disk.crashProcess();
  }

  /** The power fails: what was synced stays, and of the rest what `choice` says. */
  losePower(choice: CrashMode | DiskSurvival = "mixed"): void {
    this.halt();
    this.#network?.of.detach(this.#network.url, false);
    this.disk.losePower(choice);
  }

  /** Ends the process and leaves the disk in the middle of things, to be forked and crashed from there. */
  halt(): void {
    if (this.#process !== undefined) this.#process.alive = false;
  }

  /** Halts right before or after the operation of this number (see `SimDisk.opCount`; the first is 1). */
  haltAt(ordinal: number, moment: "before" | "after"): void {
    this.disk.observer = (when, _, performed): void => {
      if (performed === ordinal && when === moment) this.halt();
    };
  }

  /** The same machine again with nobody running, on a scheduler of its own that continues at the same time. */
  fork(seed: number = this.seed): SimEnv {
    return this.#with(this.disk.fork({ seed }), seed);
  }

  /** Machines after a power loss now, one for each outcome (see `crashImages`). This one goes on untouched. */
  *crashImages(options: CrashImagesOptions = {}): Generator<SimEnv, void, void> {
    for (const disk of crashImages(this.disk, options)) yield this.#with(disk, this.seed);
  }

  #with(disk: SimDisk, seed: number): SimEnv {
    const copy = new SimEnv(
      { seed, scheduler: new SimScheduler(seed, this.scheduler.nowMs), log: this.#log },
      disk,
    );
    copy.wallSkewMs = this.wallSkewMs;
    copy.#boots = this.#boots;
    return copy;
  }
}

class Process implements SimProcess {
  alive = true;
}

class SimClock implements Clock {
  readonly #scheduler: SimScheduler;
  readonly #wallStartMs: () => number;

  constructor(scheduler: SimScheduler, wallStartMs: () => number) {
    this.#scheduler = scheduler;
    this.#wallStartMs = wallStartMs;
  }

  monotonicMs(): number {
    return this.#scheduler.nowMs;
  }

  wallMs(): number {
    return this.#wallStartMs() + this.#scheduler.nowMs;
  }
}

class SimTimers implements Timers {
  readonly #scheduler: SimScheduler;
  readonly #process: SimProcess;

  constructor(scheduler: SimScheduler, process: SimProcess) {
    this.#scheduler = scheduler;
    this.#process = process;
  }

  after(delayMs: number, fire: () => void): Timer {
    return this.#scheduler.after(delayMs, () => {
      if (this.#process.alive) fire();
    });
  }

  soon(fire: () => void): void {
    this.#scheduler.soon(() => {
      if (this.#process.alive) fire();
    });
  }
}

class SimEntropy implements Entropy {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  bytes(sizeBytes: number): Uint8Array {
    return this.#random.bytes(sizeBytes);
  }

  u32(): number {
    return this.#random.u32();
  }
}
