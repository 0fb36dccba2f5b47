/**
 * `Files` that live in this process and end with it: for databases that nobody wants to keep. Nothing fails here but
 * what the caller does wrong, and a sync has nothing to do.
 */
import { assert, compareBytes, text, utf8 } from "../../base/index.ts";
import type { Timers } from "../env.ts";
import {
  type Completion,
  type DirectoryLock,
  type File,
  FileError,
  type Files,
  type OpenOptions,
} from "../files.ts";
import { SparseBytes } from "./sparse-bytes.ts";

/** Names to what they stand for. */
type Folder = Map<string, Folder | SparseBytes>;

export class MemoryFiles implements Files {
  readonly #timers: Timers;
  readonly #root: Folder = new Map();
  readonly #locked: Set<Folder> = new Set();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  open(path: string, options: OpenOptions, done: Completion<File>): void {
    this.#later(done, () => {
      const { create = "no" } = options;
      const { folder, name } = this.#place(path, "open");
      let node = folder.get(name);
      if (node !== undefined && create === "exclusive") throw new FileError("EEXIST", "open", path);
      if (node === undefined) {
        if (create === "no") throw new FileError("ENOENT", "open", path);
        node = new SparseBytes();
        folder.set(name, node);
      }
      if (!(node instanceof SparseBytes)) throw new FileError("EISDIR", "open", path);
      const isWritable = options.access === "readwrite";
      return new MemoryFile(path, node, isWritable, (end, run) => this.#later(end, run));
    });
  }

  rename(from: string, to: string, done: Completion): void {
    this.#later(done, () => {
      const source = this.#place(from, "rename");
      const target = this.#place(to, "rename");
      const moved = source.folder.get(source.name);
      const over = target.folder.get(target.name);
      if (moved === undefined) throw new FileError("ENOENT", "rename", from);
      if (
        moved instanceof Map &&
        `${namesOf(to).join("/")}/`.startsWith(`${namesOf(from).join("/")}/`)
      )
        throw new FileError("EINVAL", "rename", from);
      if (over instanceof Map)
        throw new FileError(moved instanceof Map ? "ENOTEMPTY" : "EISDIR", "rename", to);
      if (over !== undefined && moved instanceof Map) throw new FileError("ENOTDIR", "rename", to);
      source.folder.delete(source.name);
      target.folder.set(target.name, moved);
    });
  }

  unlink(path: string, done: Completion): void {
    this.#later(done, () => {
      const { folder, name } = this.#place(path, "unlink");
      const node = folder.get(name);
      if (node === undefined) throw new FileError("ENOENT", "unlink", path);
      if (node instanceof Map) throw new FileError("EISDIR", "unlink", path);
      // Whoever has it open keeps it.
      folder.delete(name);
    });
  }

  list(directory: string, done: Completion<readonly string[]>): void {
    this.#later(done, () => {
      const names = Array.from(this.#folder(directory, "list").keys(), (name) => utf8(name));
      return names.sort(compareBytes).map((bytes) => text(bytes));
    });
  }

  mkdir(directory: string, done: Completion): void {
    this.#later(done, () => {
      const { folder, name } = this.#place(directory, "mkdir");
      if (folder.has(name)) throw new FileError("EEXIST", "mkdir", directory);
      folder.set(name, new Map());
    });
  }

  syncDir(directory: string, done: Completion): void {
    this.#later(done, () => {
      this.#folder(directory, "syncDir");
    });
  }

  lock(directory: string, done: Completion<DirectoryLock>): void {
    this.#later(done, () => {
      const folder = this.#folder(directory, "lock");
      if (this.#locked.has(folder)) throw new FileError("ELOCKED", "lock", directory);
      this.#locked.add(folder);
      return {
        release: (released: Completion): void =>
          this.#later(released, () => {
            this.#locked.delete(folder);
          }),
      };
    });
  }

  /** Runs in a turn of its own, and completes in it. */
  #later<T>(done: Completion<T>, run: () => T): void {
    this.#timers.soon(() => {
      let value: T;
      try {
        value = run();
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        done(error, undefined as T);
        return;
      }
      done(null, value);
    });
  }

  /** The folder that a path leads to. */
  #folder(path: string, operation: string): Folder {
    return this.#walk(namesOf(path), operation, path);
  }

  /** The folder that holds, or may hold, what the path names. */
  #place(path: string, operation: string): { readonly folder: Folder; readonly name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new FileError("EEXIST", operation, path);
    return { folder: this.#walk(names, operation, path), name };
  }

  #walk(names: readonly string[], operation: string, path: string): Folder {
    let folder = this.#root;
    for (const name of names) {
      const next = folder.get(name);
      if (next === undefined) throw new FileError("ENOENT", operation, path);
      if (!(next instanceof Map)) throw new FileError("ENOTDIR", operation, path);
      folder = next;
    }
    return folder;
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

class MemoryFile implements File {
  readonly path: string;
  readonly #bytes: SparseBytes;
  readonly #isWritable: boolean;
  readonly #later: <T>(done: Completion<T>, run: () => T) => void;
  #inFlight = 0;
  #isClosed = false;

  constructor(
    path: string,
    bytes: SparseBytes,
    isWritable: boolean,
    later: <T>(done: Completion<T>, run: () => T) => void,
  ) {
    this.path = path;
    this.#bytes = bytes;
    this.#isWritable = isWritable;
    this.#later = later;
  }

  size(done: Completion<number>): void {
    this.#start("size", false, done, () => this.#bytes.sizeBytes);
  }

  read(offset: number, into: Uint8Array, done: Completion<number>): void {
    this.#start("read", false, done, () => this.#bytes.read(offset, into));
  }

  readSync(offset: number, into: Uint8Array): number {
    if (this.#isClosed) throw new FileError("EBADF", "read", this.path, "closed");
    return this.#bytes.read(offset, into);
  }

  write(offset: number, bytes: Uint8Array, done: Completion<number>): void {
    this.#start("write", true, done, () => {
      this.#bytes.write(offset, bytes);
      return bytes.length;
    });
  }

  sync(done: Completion): void {
    this.#start("sync", false, done, () => {});
  }

  truncate(sizeBytes: number, done: Completion): void {
    this.#start("truncate", true, done, () => this.#bytes.truncate(sizeBytes));
  }

  close(done: Completion): void {
    assert(this.#inFlight === 0, `${this.path} is closed while operations on it are under way`);
    this.#start("close", false, done, () => {});
    this.#isClosed = true;
  }

  #start<T>(operation: string, isChange: boolean, done: Completion<T>, run: () => T): void {
    if (this.#isClosed || (isChange && !this.#isWritable)) {
      const why = this.#isClosed ? "closed" : "opened for reading";
      this.#later(done, () => {
        throw new FileError("EBADF", operation, this.path, why);
      });
      return;
    }
    this.#inFlight++;
    this.#later((error, value) => {
      this.#inFlight--;
      done(error, value);
    }, run);
  }
}
