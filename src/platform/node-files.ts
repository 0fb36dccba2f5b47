/** `Files` over node:fs: the callback API, explicit positions, nothing that follows a link at the last name. */
import * as fs from "node:fs";
import { assert } from "../base/index.ts";
import {
  type Completion,
  type DirectoryLock,
  type File,
  FileError,
  type Files,
  type OpenOptions,
} from "../env/index.ts";
import { lockDirectory } from "./directory-lock.ts";

const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = fs.constants;
const O_NOFOLLOW: number = fs.constants.O_NOFOLLOW ?? 0;
const O_DIRECTORY: number = fs.constants.O_DIRECTORY ?? 0;

/**
 * Only Linux promises that a write to an O_DSYNC file waits for the medium. On macOS it does not empty the cache of
 * the drive, while fdatasync through libuv does (F_FULLFSYNC): there a durable write is a write and a sync.
 */
const O_DSYNC: number = process.platform === "linux" ? (fs.constants.O_DSYNC ?? 0) : 0;

const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** Hears of everything that has reached the medium, and how long it took. Never of what failed. */
export type OnDurable = (path: string, durationMs: number) => void;

export class NodeFiles implements Files {
  readonly #onDurable: OnDurable | undefined;

  constructor(onDurable?: OnDurable) {
    this.#onDurable = onDurable;
  }

  open(path: string, options: OpenOptions, done: Completion<File>): void {
    const create = options.create ?? "no";
    let flags = (options.access === "read" ? O_RDONLY : O_RDWR) | O_NOFOLLOW;
    if (create !== "no") flags |= O_CREAT;
    if (create === "exclusive") flags |= O_EXCL;
    if (options.durableWrites === true) flags |= O_DSYNC;
    const isDurable = options.durableWrites === true;
    fs.open(path, flags, FILE_MODE, (error, fd) => {
      if (error === null) done(null, new NodeFile(path, fd, isDurable, this.#onDurable));
      else done(fileError(error, "open", path), undefined as never);
    });
  }

  rename(from: string, to: string, done: Completion): void {
    fs.rename(from, to, completing("rename", from, done));
  }

  unlink(path: string, done: Completion): void {
    fs.unlink(path, completing("unlink", path, done));
  }

  list(directory: string, done: Completion<readonly string[]>): void {
    fs.readdir(directory, (error, names) => {
      if (error !== null) done(fileError(error, "list", directory), []);
      else
        done(
          null,
          names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
        );
    });
  }

  mkdir(directory: string, done: Completion): void {
    fs.mkdir(directory, DIRECTORY_MODE, completing("mkdir", directory, done));
  }

  syncDir(directory: string, done: Completion): void {
    const finish = completing("syncDir", directory, done);
    // Windows has no handle to sync a directory by; NTFS journals names by itself.
    if (process.platform === "win32") {
      fs.access(directory, finish);
      return;
    }
    fs.open(directory, O_RDONLY | O_DIRECTORY, (openError, fd) => {
      if (openError !== null) finish(openError);
      else
        fs.fsync(fd, (syncError) =>
          fs.close(fd, (closeError) => finish(syncError ?? closeError ?? null)),
        );
    });
  }

  lock(directory: string, done: Completion<DirectoryLock>): void {
    lockDirectory(directory, done);
  }
}

class NodeFile implements File {
  readonly path: string;
  readonly #fd: number;
  readonly #isDurable: boolean;
  /** Each write is followed by a sync before it completes. */
  readonly #syncsWrites: boolean;
  readonly #onDurable: OnDurable | undefined;
  #inFlight = 0;
  #closed = false;

  constructor(path: string, fd: number, isDurable: boolean, onDurable: OnDurable | undefined) {
    this.path = path;
    this.#fd = fd;
    this.#isDurable = isDurable;
    this.#syncsWrites = isDurable && O_DSYNC === 0;
    this.#onDurable = onDurable;
  }

  size(done: Completion<number>): void {
    const finish = this.#begin("size", done);
    if (finish !== undefined)
      fs.fstat(this.#fd, (error, stats) => finish(error, error === null ? stats.size : 0));
  }

  read(offset: number, into: Uint8Array, done: Completion<number>): void {
    const finish = this.#begin("read", done);
    if (finish === undefined) return;
    const readFrom = (filled: number): void => {
      fs.read(this.#fd, into, filled, into.length - filled, offset + filled, (error, count) => {
        if (error !== null || count === 0 || filled + count === into.length)
          finish(error, filled + (count ?? 0));
        else readFrom(filled + count);
      });
    };
    readFrom(0);
  }

  readSync(offset: number, into: Uint8Array): number {
    // The number of a closed descriptor may already belong to another file.
    if (this.#closed) throw new FileError("EBADF", "read", this.path, "closed");
    let filled = 0;
    try {
      while (filled < into.length) {
        const count = fs.readSync(this.#fd, into, filled, into.length - filled, offset + filled);
        if (count === 0) break;
        filled += count;
      }
    } catch (error) {
      throw fileError(error as NodeJS.ErrnoException, "read", this.path);
    }
    return filled;
  }

  write(offset: number, bytes: Uint8Array, done: Completion<number>): void {
    const finish = this.#timed(this.#isDurable, this.#begin("write", done));
    if (finish === undefined) return;
    fs.write(this.#fd, bytes, 0, bytes.length, offset, (error, written) => {
      if (error !== null || !this.#syncsWrites) finish(error, written);
      else fs.fdatasync(this.#fd, (syncError) => finish(syncError, written));
    });
  }

  sync(done: Completion): void {
    const finish = this.#timed(true, this.#begin("sync", done));
    if (finish !== undefined) fs.fdatasync(this.#fd, (error) => finish(error, undefined));
  }

  truncate(sizeBytes: number, done: Completion): void {
    const finish = this.#begin("truncate", done);
    if (finish !== undefined)
      fs.ftruncate(this.#fd, sizeBytes, (error) => finish(error, undefined));
  }

  close(done: Completion): void {
    assert(this.#inFlight === 0, `${this.path} is closed while operations on it are under way`);
    const finish = this.#begin("close", done);
    this.#closed = true;
    if (finish !== undefined) fs.close(this.#fd, (error) => finish(error ?? null, undefined));
  }

  /** As `finish`; tells before it, when somebody wants to know, that something is durable and how long that took. */
  #timed<T>(
    isDurable: boolean,
    finish: ((error: NodeJS.ErrnoException | null, value: T) => void) | undefined,
  ): ((error: NodeJS.ErrnoException | null, value: T) => void) | undefined {
    const onDurable = this.#onDurable;
    if (!isDurable || onDurable === undefined || finish === undefined) return finish;
    const startedMs = performance.now();
    return (error, value) => {
      if (error === null) onDurable(this.path, performance.now() - startedMs);
      finish(error, value);
    };
  }

  /** Counts the operation in; the result counts it out and completes. Nothing when the file is closed: EBADF. */
  #begin<T>(
    operation: string,
    done: Completion<T>,
  ): ((error: NodeJS.ErrnoException | null, value: T) => void) | undefined {
    if (this.#closed) {
      setImmediate(() =>
        done(new FileError("EBADF", operation, this.path, "closed"), undefined as T),
      );
      return undefined;
    }
    this.#inFlight++;
    return (error, value) => {
      this.#inFlight--;
      done(error === null ? null : fileError(error, operation, this.path), value);
    };
  }
}

function completing(
  operation: string,
  path: string,
  done: Completion,
): (error: NodeJS.ErrnoException | null) => void {
  return (error) => done(error === null ? null : fileError(error, operation, path), undefined);
}

function fileError(error: NodeJS.ErrnoException, operation: string, path: string): FileError {
  return new FileError(error.code ?? "EIO", operation, path);
}
