/**
 * Files for long work beside work that somebody waits for: what is read and written through them together keeps to a rate,
 * and what is written is synced as it goes. Without the one, a gigabyte that is summed and copied takes a processor from
 * those who answer clients; without the other it gathers in memory and stands before their syncs, all of it, when it is
 * synced at last.
 *
 * A rate holds for all files that were opened here. Whoever reads the results sees nothing of it: an operation completes
 * later, and a write may fail with what the sync after it failed with.
 */
import { Allowance } from "./allowance.ts";
import type { Clock, Timers } from "./env.ts";
import type { Completion, DirectoryLock, File, FileError, Files, OpenOptions } from "./files.ts";

/** So much is written between two syncs: some hundredths of a second of a disk, and few syncs beside it. */
const SYNC_EVERY_BYTES: number = 4 * 1024 * 1024;

interface Surroundings {
  readonly files: Files;
  readonly clock: Clock;
  readonly timers: Timers;
}

export class PacedFiles implements Files {
  readonly #files: Files;
  readonly #pace: Pace;

  /** `bytesPerSecond`: 0 for no limit. */
  constructor({ files, clock, timers }: Surroundings, bytesPerSecond: number) {
    this.#files = files;
    this.#pace = new Pace(timers, new Allowance(clock, bytesPerSecond));
  }

  /** Somebody waits for it now: from here on it is as fast as the disk. */
  hurry(): void {
    this.#pace.isHurried = true;
  }

  open(path: string, options: OpenOptions, done: Completion<File>): void {
    this.#files.open(path, options, (error, file) => {
      done(error, error === null ? new PacedFile(file, this.#pace) : file);
    });
  }

  rename(from: string, to: string, done: Completion): void {
    this.#files.rename(from, to, done);
  }

  unlink(path: string, done: Completion): void {
    this.#files.unlink(path, done);
  }

  list(directory: string, done: Completion<readonly string[]>): void {
    this.#files.list(directory, done);
  }

  mkdir(directory: string, done: Completion): void {
    this.#files.mkdir(directory, done);
  }

  syncDir(directory: string, done: Completion): void {
    this.#files.syncDir(directory, done);
  }

  lock(directory: string, done: Completion<DirectoryLock>): void {
    this.#files.lock(directory, done);
  }
}

class Pace {
  isHurried = false;
  readonly #timers: Timers;
  readonly #allowance: Allowance;

  constructor(timers: Timers, allowance: Allowance) {
    this.#timers = timers;
    this.#allowance = allowance;
  }

  /** Calls `then` when so many bytes, which have passed, are no more than the rate allows. */
  passed(bytes: number, then: () => void): void {
    if (!this.isHurried) this.#allowance.spend(bytes);
    this.#wait(then);
  }

  /** Several may wait at once, each for what all have spent. */
  #wait(then: () => void): void {
    const waitMs = this.isHurried ? 0 : this.#allowance.waitMs;
    if (waitMs === 0) then();
    else this.#timers.after(waitMs, () => this.#wait(then));
  }
}

class PacedFile implements File {
  readonly path: string;
  readonly #file: File;
  readonly #pace: Pace;
  #unsyncedBytes = 0;

  constructor(file: File, pace: Pace) {
    this.path = file.path;
    this.#file = file;
    this.#pace = pace;
  }

  size(done: Completion<number>): void {
    this.#file.size(done);
  }

  read(offset: number, into: Uint8Array, done: Completion<number>): void {
    this.#file.read(offset, into, (error, got) => this.#paced(got, error, done));
  }

  /** In the call itself nothing can be waited for. */
  readSync(offset: number, into: Uint8Array): number {
    return this.#file.readSync(offset, into);
  }

  write(offset: number, bytes: Uint8Array, done: Completion<number>): void {
    this.#file.write(offset, bytes, (error, written) => {
      if (error === null) this.#unsyncedBytes += written;
      if (error !== null || this.#unsyncedBytes < SYNC_EVERY_BYTES) {
        this.#paced(written, error, done);
        return;
      }
      this.#unsyncedBytes = 0;
      this.#file.sync((syncError) => this.#paced(written, syncError, done));
    });
  }

  sync(done: Completion): void {
    this.#unsyncedBytes = 0;
    this.#file.sync(done);
  }

  truncate(sizeBytes: number, done: Completion): void {
    this.#file.truncate(sizeBytes, done);
  }

  close(done: Completion): void {
    this.#file.close(done);
  }

  #paced(bytes: number, error: FileError | null, done: Completion<number>): void {
    if (error !== null) done(error, bytes);
    else this.#pace.passed(bytes, () => done(null, bytes));
  }
}
