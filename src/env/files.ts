/**
 * The disk as the pure layers see it. Completions arrive through callbacks, never inside the call that asked, and
 * errors are values. What survives what:
 *
 * - A process crash (kill -9) loses nothing that a completed call wrote.
 * - A power loss keeps of a file what was synced; of everything else any subset of 512-byte sectors, in any order.
 * - A directory entry (create, rename, unlink) is durable only after `syncDir` of its directory.
 * - After a failed write or sync nothing may be assumed of the file, and a later sync that succeeds proves nothing
 *   about the bytes of the failed one (fault-rules D9): callers stop.
 *
 * Paths use "/" and are taken as given; nobody below the shell builds a path from what a user sent.
 */

/** The errno name of a failed file operation, and ELOCKED for a directory that another process holds. */
export class FileError extends Error {
  override readonly name = "FileError" as const;
  /** errno name: EIO, ENOSPC, ENOENT, EEXIST, EMFILE, EACCES, EROFS, EDQUOT, ELOCKED, ... */
  readonly code: string;
  /** The operation that failed, as in the interface: "write", "sync", ... */
  readonly operation: string;
  readonly path: string;

  constructor(code: string, operation: string, path: string, detail?: string) {
    super(`${code}: ${operation} ${path}${detail === undefined ? "" : ` (${detail})`}`);
    this.code = code;
    this.operation = operation;
    this.path = path;
  }

  /** The disk has no room (ENOSPC, EDQUOT): for a file that is only being prepared this is not fatal. */
  get isFull(): boolean {
    return this.code === "ENOSPC" || this.code === "EDQUOT";
  }
}

/** `value` is meaningful only when `error` is null. */
export type Completion<T = void> = (error: FileError | null, value: T) => void;

export interface OpenOptions {
  readonly access: "read" | "readwrite";
  /** "no" (default): ENOENT when missing. "if-missing": creates, mode 0600. "exclusive": EEXIST when it exists. */
  readonly create?: "no" | "if-missing" | "exclusive";
  /** Every write completes only when its bytes are durable (O_DSYNC): one call instead of write and sync. */
  readonly durableWrites?: boolean;
}

/** An open file. All offsets are explicit; operations on disjoint ranges may overlap in time. */
export interface File {
  readonly path: string;
  size(done: Completion<number>): void;
  /** Reads into the whole of `into`; fewer bytes than asked for only at the end of the file (short reads are looped below). */
  read(offset: number, into: Uint8Array, done: Completion<number>): void;
  /** As `read`, but in the call itself: for page misses and recovery. Throws FileError. */
  readSync(offset: number, into: Uint8Array): number;
  /** May write fewer bytes than given, as pwrite may: use `writeFully`. `bytes` must not change until completion. */
  write(offset: number, bytes: Uint8Array, done: Completion<number>): void;
  /** Makes every completed write and the size durable (fdatasync). */
  sync(done: Completion): void;
  /** What a file grows by reads as zeros. */
  truncate(sizeBytes: number, done: Completion): void;
  /** No operation may be under way (asserted); every call after it fails with EBADF. */
  close(done: Completion): void;
}

/** Held until the process ends or `release` is called. */
export interface DirectoryLock {
  release(done: Completion): void;
}

export interface Files {
  open(path: string, options: OpenOptions, done: Completion<File>): void;
  /**
   * Replaces `to` if it exists. Durable after `syncDir` of both directories: until then either name may be found, or
   * both, and the old one never goes before the new one is there.
   */
  rename(from: string, to: string, done: Completion): void;
  unlink(path: string, done: Completion): void;
  /** Names (not paths) in byte order. ENOENT when the directory is missing. */
  list(directory: string, done: Completion<readonly string[]>): void;
  /** Creates one directory, mode 0700; EEXIST when something is there. Durable after `syncDir` of the parent. */
  mkdir(directory: string, done: Completion): void;
  syncDir(directory: string, done: Completion): void;
  /** One owner per directory, across processes and within one. ELOCKED, at once, when it has one. */
  lock(directory: string, done: Completion<DirectoryLock>): void;
}
