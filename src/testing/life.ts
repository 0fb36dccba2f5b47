/**
 * The life of a node within a process: everything that it knows of the world goes through here, and at the end nothing
 * does. For the node that is what `kill -9` is: no callback comes any more, and what it had not written is not there.
 */
import {
  type Completion,
  type DirectoryLock,
  type Env,
  type File,
  FileError,
  type Files,
  type Timers,
} from "../env/index.ts";

export class Life {
  readonly env: Env;
  #isOver = false;
  /** Operations of the system under way: the last of them may still reach the disk. */
  #under = 0;
  #whenQuiet: (() => void) | null = null;
  readonly #files: Set<File> = new Set();
  readonly #locks: Set<DirectoryLock> = new Set();

  /** Of the world as it is. */
  constructor(world: Env) {
    this.env = {
      ...world,
      files: this.#filesOf(world.files),
      timers: this.#timersOf(world.timers),
      log: (...line) => {
        if (!this.#isOver) world.log(...line);
      },
      sha256: () => world.sha256(),
    };
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Nothing is heard or done any more. Resolves when files and locks are given back. */
  async end(): Promise<void> {
    this.#isOver = true;
    if (this.#under > 0)
      await new Promise<void>((resolve) => {
        this.#whenQuiet = resolve;
      });
    for (const file of this.#files)
      await new Promise<void>((resolve) => file.close(() => resolve()));
    for (const lock of this.#locks)
      await new Promise<void>((resolve) => lock.release(() => resolve()));
    this.#files.clear();
    this.#locks.clear();
  }

  /** Begins an operation, whose completion is heard if the node still lives then. */
  #run<T>(
    done: Completion<T>,
    start: (done: Completion<T>) => void,
    took?: (value: T) => void,
  ): void {
    if (this.#isOver) return;
    this.#under++;
    start((error, value) => {
      this.#under--;
      if (error === null) took?.(value);
      if (!this.#isOver) done(error, value);
      else if (this.#under === 0) this.#whenQuiet?.();
    });
  }

  #filesOf(files: Files): Files {
    return {
      open: (path, options, done) => {
        this.#run<File>(
          (error, file) => done(error, error === null ? this.#fileOf(file) : file),
          (opened) => files.open(path, options, opened),
          (file) => this.#files.add(file),
        );
      },
      rename: (from, to, done) => this.#run(done, (ended) => files.rename(from, to, ended)),
      unlink: (path, done) => this.#run(done, (ended) => files.unlink(path, ended)),
      list: (directory, done) => this.#run(done, (ended) => files.list(directory, ended)),
      mkdir: (directory, done) => this.#run(done, (ended) => files.mkdir(directory, ended)),
      syncDir: (directory, done) => this.#run(done, (ended) => files.syncDir(directory, ended)),
      lock: (directory, done) => {
        this.#run<DirectoryLock>(
          (error, lock) => done(error, error === null ? this.#lockOf(lock) : lock),
          (locked) => files.lock(directory, locked),
          (lock) => this.#locks.add(lock),
        );
      },
    };
  }

  #fileOf(file: File): File {
    return {
      path: file.path,
      size: (done) => this.#run(done, (ended) => file.size(ended)),
      read: (offset, into, done) => this.#run(done, (ended) => file.read(offset, into, ended)),
      readSync: (offset, into) => {
        // Whoever still runs has nobody left to tell what he reads.
        if (this.#isOver) throw new FileError("EIO", "read", file.path, "the node was killed");
        return file.readSync(offset, into);
      },
      write: (offset, bytes, done) => this.#run(done, (ended) => file.write(offset, bytes, ended)),
      sync: (done) => this.#run(done, (ended) => file.sync(ended)),
      truncate: (sizeBytes, done) => this.#run(done, (ended) => file.truncate(sizeBytes, ended)),
      close: (done) => {
        this.#run(done, (ended) => {
          this.#files.delete(file);
          file.close(ended);
        });
      },
    };
  }

  #lockOf(lock: DirectoryLock): DirectoryLock {
    return {
      release: (done) => {
        this.#run(done, (ended) => {
          this.#locks.delete(lock);
          lock.release(ended);
        });
      },
    };
  }

  #timersOf(timers: Timers): Timers {
    return {
      after: (delayMs, fire) =>
        timers.after(delayMs, () => {
          if (!this.#isOver) fire();
        }),
      soon: (fire) => {
        timers.soon(() => {
          if (!this.#isOver) fire();
        });
      },
    };
  }
}
