/**
 * What a simulated process lives in besides its disk: a clock that runs fast or slow, and a kernel that may stop the
 * process for a while (SIGSTOP) and then lets everything happen at once that came in between.
 */
import type { Clock, Env, Timer, Timers } from "../src/env/index.ts";
import type { Completion, DirectoryLock, File, Files, OpenOptions } from "../src/env/index.ts";

/**
 * A process that can be stopped. After it goes on, what the network brought comes first, then what the disk has done,
 * then timers: whoever ticks before it listens holds an election against a leader that is there (fault-rules K3).
 */
export class Pausable {
  #isPaused = false;
  #input: (() => void)[] = [];
  #disk: (() => void)[] = [];
  #timers: (() => void)[] = [];

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** How much waits for the process to go on. */
  get waiting(): number {
    return this.#input.length + this.#disk.length + this.#timers.length;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    for (const held of [this.#input, this.#disk, this.#timers])
      for (const fire of held.splice(0)) fire();
  }

  /** The process has ended: nothing reaches it any more. */
  clear(): void {
    this.#isPaused = false;
    this.#input = [];
    this.#disk = [];
    this.#timers = [];
  }

  input(fire: () => void): void {
    if (this.#isPaused) this.#input.push(fire);
    else fire();
  }

  disk(fire: () => void): void {
    if (this.#isPaused) this.#disk.push(fire);
    else fire();
  }

  timer(fire: () => void): void {
    if (this.#isPaused) this.#timers.push(fire);
    else fire();
  }
}

/** `env` with a clock that runs at `ratePerMille` thousandths of real time, under a kernel that may stop the process. */
export function shapedEnv(env: Env, body: Pausable, ratePerMille: number): Env {
  return {
    ...env,
    files: new PausableFiles(env.files, body),
    clock: new DriftingClock(env.clock, ratePerMille),
    timers: new DriftingTimers(env.timers, body, ratePerMille),
  };
}

class DriftingClock implements Clock {
  readonly #inner: Clock;
  readonly #ratePerMille: number;

  constructor(inner: Clock, ratePerMille: number) {
    this.#inner = inner;
    this.#ratePerMille = ratePerMille;
  }

  monotonicMs(): number {
    return (this.#inner.monotonicMs() * this.#ratePerMille) / 1000;
  }

  wallMs(): number {
    const real = this.#inner.monotonicMs();
    return this.#inner.wallMs() - real + (real * this.#ratePerMille) / 1000;
  }
}

class DriftingTimers implements Timers {
  readonly #inner: Timers;
  readonly #body: Pausable;
  readonly #ratePerMille: number;

  constructor(inner: Timers, body: Pausable, ratePerMille: number) {
    this.#inner = inner;
    this.#body = body;
    this.#ratePerMille = ratePerMille;
  }

  after(delayMs: number, fire: () => void): Timer {
    let isCancelled = false;
    const guarded = (): void => {
      if (!isCancelled) fire();
    };
    const timer = this.#inner.after((delayMs * 1000) / this.#ratePerMille, () =>
      this.#body.timer(guarded),
    );
    return {
      cancel(): void {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  soon(fire: () => void): void {
    this.#inner.soon(() => this.#body.timer(fire));
  }
}

class PausableFiles implements Files {
  readonly #inner: Files;
  readonly #body: Pausable;

  constructor(inner: Files, body: Pausable) {
    this.#inner = inner;
    this.#body = body;
  }

  open(path: string, options: OpenOptions, done: Completion<File>): void {
    this.#inner.open(path, options, (error, file) =>
      this.#body.disk(() =>
        done(error, error === null ? new PausableFile(file, this.#body) : file),
      ),
    );
  }

  rename(from: string, to: string, done: Completion): void {
    this.#inner.rename(from, to, this.#held(done));
  }

  unlink(path: string, done: Completion): void {
    this.#inner.unlink(path, this.#held(done));
  }

  list(directory: string, done: Completion<readonly string[]>): void {
    this.#inner.list(directory, this.#held(done));
  }

  mkdir(directory: string, done: Completion): void {
    this.#inner.mkdir(directory, this.#held(done));
  }

  syncDir(directory: string, done: Completion): void {
    this.#inner.syncDir(directory, this.#held(done));
  }

  lock(directory: string, done: Completion<DirectoryLock>): void {
    this.#inner.lock(directory, this.#held(done));
  }

  #held<T>(done: Completion<T>): Completion<T> {
    return (error, value) => this.#body.disk(() => done(error, value));
  }
}

class PausableFile implements File {
  readonly #inner: File;
  readonly #body: Pausable;

  constructor(inner: File, body: Pausable) {
    this.#inner = inner;
    this.#body = body;
  }

  get path(): string {
    return this.#inner.path;
  }

  size(done: Completion<number>): void {
    this.#inner.size(this.#held(done));
  }

  read(offset: number, into: Uint8Array, done: Completion<number>): void {
    this.#inner.read(offset, into, this.#held(done));
  }

  readSync(offset: number, into: Uint8Array): number {
    return this.#inner.readSync(offset, into);
  }

  write(offset: number, bytes: Uint8Array, done: Completion<number>): void {
    this.#inner.write(offset, bytes, this.#held(done));
  }

  sync(done: Completion): void {
    this.#inner.sync(this.#held(done));
  }

  truncate(sizeBytes: number, done: Completion): void {
    this.#inner.truncate(sizeBytes, this.#held(done));
  }

  close(done: Completion): void {
    this.#inner.close(this.#held(done));
  }

  #held<T>(done: Completion<T>): Completion<T> {
    return (error, value) => this.#body.disk(() => done(error, value));
  }
}
