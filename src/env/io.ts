/**
 * Sequences of file operations as generators: straight-line code that suspends at each operation and is driven from
 * outside. Opening, recovery, checkpoints and rolling are written this way; between two operations the code runs to
 * completion, and a simulator may end the process at every one of them.
 *
 *     function* load(files: Files, path: string): Io<Uint8Array> {
 *       const file = yield* openFile(files, path, { access: "read" });
 *       ...
 *     }
 *     runIo(load(files, path), (error, bytes) => ...);
 */
import { assert } from "../base/index.ts";
import {
  type Completion,
  type DirectoryLock,
  type File,
  FileError,
  type Files,
  type OpenOptions,
} from "./files.ts";

/** One operation to start: calls `done` when it has ended. */
export type IoStep = (done: (error: FileError | null, value: unknown) => void) => void;

/** A sequence of operations that ends in a T or throws. FileErrors arrive as exceptions at the `yield`. */
export type Io<T> = Generator<IoStep, T, unknown>;

/** Runs `io` to its end. `done` gets what it threw, or null and its value. */
export function runIo<T>(io: Io<T>, done: (error: unknown, value: T | undefined) => void): void {
  let inCall = false;
  let arrived: { error: FileError | null; value: unknown } | undefined;

  const advance = (error: FileError | null, value: unknown): void => {
    arrived = { error, value };
    if (inCall) return;
    inCall = true;
    while (arrived !== undefined) {
      const completion: { error: FileError | null; value: unknown } = arrived;
      arrived = undefined;
      let step: IteratorResult<IoStep, T>;
      try {
        step = completion.error === null ? io.next(completion.value) : io.throw(completion.error);
      } catch (failure) {
        inCall = false;
        done(failure, undefined);
        return;
      }
      if (step.done === true) {
        inCall = false;
        done(null, step.value);
        return;
      }
      let completed = false;
      step.value((stepError, stepValue) => {
        assert(!completed, "a file operation completed twice");
        completed = true;
        advance(stepError, stepValue);
      });
    }
    inCall = false;
  };
  advance(null, undefined);
}

function* one<T>(start: (done: Completion<T>) => void): Io<T> {
  return (yield start as IoStep) as T;
}

export function openFile(files: Files, path: string, options: OpenOptions): Io<File> {
  return one((done) => files.open(path, options, done));
}

export function renameFile(files: Files, from: string, to: string): Io<void> {
  return one((done) => files.rename(from, to, done));
}

export function unlinkFile(files: Files, path: string): Io<void> {
  return one((done) => files.unlink(path, done));
}

/** As `unlinkFile`; nothing to remove is fine. */
export function* unlinkIfThere(files: Files, path: string): Io<void> {
  try {
    yield* unlinkFile(files, path);
  } catch (error) {
    if (!(error instanceof FileError && error.code === "ENOENT")) throw error;
  }
}

export function listDirectory(files: Files, directory: string): Io<readonly string[]> {
  return one((done) => files.list(directory, done));
}

export function makeDirectory(files: Files, directory: string): Io<void> {
  return one((done) => files.mkdir(directory, done));
}

export function syncDirectory(files: Files, directory: string): Io<void> {
  return one((done) => files.syncDir(directory, done));
}

export function lockDirectory(files: Files, directory: string): Io<DirectoryLock> {
  return one((done) => files.lock(directory, done));
}

export function fileSize(file: File): Io<number> {
  return one((done) => file.size(done));
}

export function readFile(file: File, offset: number, into: Uint8Array): Io<number> {
  return one((done) => file.read(offset, into, done));
}

export function syncFile(file: File): Io<void> {
  return one((done) => file.sync(done));
}

export function truncateFile(file: File, sizeBytes: number): Io<void> {
  return one((done) => file.truncate(sizeBytes, done));
}

export function closeFile(file: File): Io<void> {
  return one((done) => file.close(done));
}

/** Writes all of `bytes`: pwrite may be short, so it is repeated until nothing is left (fault-rules D12). */
export function writeFile(file: File, offset: number, bytes: Uint8Array): Io<void> {
  return one((done) => writeFully(file, offset, bytes, done));
}

/** The callback form of `writeFile`, for the hot path. */
export function writeFully(file: File, offset: number, bytes: Uint8Array, done: Completion): void {
  file.write(offset, bytes, (error, written) => {
    if (error !== null) {
      done(error, undefined);
      return;
    }
    assert(written > 0 || bytes.length === 0, "a write that wrote nothing reports an error");
    if (written >= bytes.length) done(null, undefined);
    else writeFully(file, offset + written, bytes.subarray(written), done);
  });
}
