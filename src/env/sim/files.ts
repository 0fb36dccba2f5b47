/**
 * `Files` over a simulated disk for one process. Each operation is in flight for a time that the seed decides, then
 * it is performed and its caller hears of it in the same event. A process that died hears nothing more, and nothing
 * of it is performed.
 */
import { assert } from "../../base/index.ts";
import {
  type Completion,
  type DirectoryLock,
  type File,
  FileError,
  type Files,
  type OpenOptions,
} from "../files.ts";
import type { SimDisk } from "./disk.ts";
import type { Operation, OperationResult } from "./operation.ts";
import type { SimScheduler } from "./scheduler.ts";

/** One life of a process: ends at a crash and never comes back. */
export interface SimProcess {
  readonly alive: boolean;
}

export class SimFiles implements Files {
  readonly #disk: SimDisk;
  readonly #scheduler: SimScheduler;
  readonly #process: SimProcess;

  constructor(disk: SimDisk, scheduler: SimScheduler, process: SimProcess) {
    this.#disk = disk;
    this.#scheduler = scheduler;
    this.#process = process;
  }

  open(path: string, options: OpenOptions, done: Completion<File>): void {
    this.#start(
      { kind: "open", path, options },
      done,
      (node) => new SimFile(this, path, node as number, options),
    );
  }

  rename(from: string, to: string, done: Completion): void {
    this.#start({ kind: "rename", path: from, to }, done, nothing);
  }

  unlink(path: string, done: Completion): void {
    this.#start({ kind: "unlink", path }, done, nothing);
  }

  list(directory: string, done: Completion<readonly string[]>): void {
    this.#start({ kind: "list", path: directory }, done, (names) => names as readonly string[]);
  }

  mkdir(directory: string, done: Completion): void {
    this.#start({ kind: "mkdir", path: directory }, done, nothing);
  }

  syncDir(directory: string, done: Completion): void {
    this.#start({ kind: "syncDir", path: directory, upTo: this.#disk.newestChange }, done, nothing);
  }

  lock(directory: string, done: Completion<DirectoryLock>): void {
    this.#start({ kind: "lock", path: directory }, done, () => ({
      release: (released: Completion): void =>
        this.#start({ kind: "release", path: directory }, released, nothing),
    }));
  }

  /** For the open files of this process; `file` hears first that the operation has ended. */
  start<T>(
    operation: Operation,
    done: Completion<T>,
    convert: (result: OperationResult) => T,
    file: SimFile,
  ): void {
    this.#start(operation, done, convert, file);
  }

  /** Fails later, without reaching the disk. */
  fail<T>(error: FileError, done: Completion<T>): void {
    this.#scheduler.soon(() => {
      if (this.#process.alive) done(error, undefined as T);
    });
  }

  get newestChange(): number {
    return this.#disk.newestChange;
  }

  readNow(path: string, node: number, offset: number, into: Uint8Array): number {
    assert(this.#process.alive, "a process that died reads nothing");
    return this.#disk.readNow(path, node, offset, into);
  }

  #start<T>(
    operation: Operation,
    done: Completion<T>,
    convert: (result: OperationResult) => T,
    file?: SimFile,
  ): void {
    if (!this.#process.alive) return;
    const disk = this.#disk;
    const flight = disk.issue(operation);
    const finish = (): void => {
      if (!this.#process.alive) return;
      let failure: FileError | null;
      try {
        if (!disk.perform(flight, this.#process)) return;
        failure = null;
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        failure = error;
      }
      file?.ended();
      if (failure === null) done(null, convert(flight.result));
      else done(failure, undefined as T);
    };
    const delayMs = flight.rule?.fault.delayMs ?? 0;
    if (delayMs === Number.POSITIVE_INFINITY)
      flight.rule?.held.push(() => this.#scheduler.soon(finish));
    else this.#scheduler.after(disk.latencyMs() + delayMs, finish);
  }
}

class SimFile implements File {
  readonly path: string;
  readonly #files: SimFiles;
  readonly #node: number;
  readonly #options: OpenOptions;
  #inFlight = 0;
  #closed = false;

  constructor(files: SimFiles, path: string, node: number, options: OpenOptions) {
    this.path = path;
    this.#files = files;
    this.#node = node;
    this.#options = options;
  }

  size(done: Completion<number>): void {
    this.#start({ kind: "size", path: this.path, node: this.#node }, done, count);
  }

  read(offset: number, into: Uint8Array, done: Completion<number>): void {
    this.#start({ kind: "read", path: this.path, node: this.#node, offset, into }, done, count);
  }

  readSync(offset: number, into: Uint8Array): number {
    if (this.#closed) throw new FileError("EBADF", "read", this.path);
    return this.#files.readNow(this.path, this.#node, offset, into);
  }

  write(offset: number, bytes: Uint8Array, done: Completion<number>): void {
    const durable = this.#options.durableWrites === true;
    this.#change(
      { kind: "write", path: this.path, node: this.#node, offset, bytes, durable },
      done,
      count,
    );
  }

  sync(done: Completion): void {
    this.#start(
      { kind: "sync", path: this.path, node: this.#node, upTo: this.#files.newestChange },
      done,
      nothing,
    );
  }

  truncate(sizeBytes: number, done: Completion): void {
    this.#change({ kind: "truncate", path: this.path, node: this.#node, sizeBytes }, done, nothing);
  }

  close(done: Completion): void {
    assert(this.#inFlight === 0, `${this.path} is closed while operations on it are under way`);
    this.#start({ kind: "close", path: this.path, node: this.#node }, done, nothing);
    this.#closed = true;
  }

  #change<T>(
    operation: Operation,
    done: Completion<T>,
    convert: (result: OperationResult) => T,
  ): void {
    if (this.#options.access === "read")
      this.#files.fail(
        new FileError("EBADF", operation.kind, this.path, "opened for reading"),
        done,
      );
    else this.#start(operation, done, convert);
  }

  #start<T>(
    operation: Operation,
    done: Completion<T>,
    convert: (result: OperationResult) => T,
  ): void {
    if (this.#closed) {
      this.#files.fail(new FileError("EBADF", operation.kind, this.path, "closed"), done);
      return;
    }
    this.#inFlight++;
    this.#files.start(operation, done, convert, this);
  }

  ended(): void {
    this.#inFlight--;
  }
}

function nothing(): void {}

function count(result: OperationResult): number {
  return result as number;
}
