/**
 * One process per directory.
 *
 * On Linux the lock is an abstract Unix socket named after the device and inode of the directory: two paths to one
 * directory meet, and the kernel frees it with the process, at kill -9 too. It is as wide as a network namespace:
 * containers that share a directory but no network meet at the lock of the file system beside it (directory-flock.ts),
 * where there is one. The file LOCK only says who.
 *
 * Elsewhere LOCK is the lock: it names the process, and a process that is gone has lost it. A number that another
 * process took over since then refuses the start; refusing is the safe side, and the message names the file.
 */
import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type Completion, type DirectoryLock, FileError } from "../env/index.ts";
import { flockDirectory } from "./directory-flock.ts";

/** The directories that this process holds, by device and inode. */
const held = new Set<string>();

const LOCK_FILE = "LOCK";

export function lockDirectory(directory: string, done: Completion<DirectoryLock>): void {
  const fail = (code: string, detail?: string): void =>
    done(new FileError(code, "lock", directory, detail), undefined as never);
  fs.stat(directory, { bigint: true }, (statError, stats) => {
    if (statError !== null) return fail(statError.code ?? "EIO");
    if (!stats.isDirectory()) return fail("ENOTDIR");
    const identity = `${stats.dev}-${stats.ino}`;
    const file = join(directory, LOCK_FILE);
    if (held.has(identity)) return fail("ELOCKED", "held by this process");
    held.add(identity);
    const finish = (
      error: NodeJS.ErrnoException | null,
      free: (freed: () => void) => void,
    ): void => {
      if (error !== null) {
        held.delete(identity);
        return fail(error.code ?? "EIO", error.code === "ELOCKED" ? holderOf(file) : undefined);
      }
      let release: Completion | undefined;
      done(null, {
        release(released: Completion): void {
          if (release !== undefined) throw new Error("a lock is released once");
          release = released;
          // The file goes first: the next owner may write its own as soon as the lock is free.
          fs.unlink(file, () =>
            free(() => {
              held.delete(identity);
              released(null, undefined);
            }),
          );
        },
      });
    };
    if (process.platform === "linux") lockByKernel(directory, identity, file, finish);
    else lockByFile(file, finish);
    return undefined;
  });
}

type Locked = (error: NodeJS.ErrnoException | null, free: (freed: () => void) => void) => void;

function lockByKernel(directory: string, identity: string, file: string, locked: Locked): void {
  const server = createServer((socket) => socket.destroy());
  const onError = (error: NodeJS.ErrnoException): void =>
    locked(error.code === "EADDRINUSE" ? coded("ELOCKED") : error, (freed) => freed());
  server.once("error", onError);
  // `exclusive`: the workers of a node:cluster would otherwise share one socket, and with it the lock.
  server.listen({ path: socketName(identity), exclusive: true }, () => {
    server.off("error", onError);
    // Nothing is accepted on purpose, so nothing that fails later matters; the name stays ours.
    server.on("error", () => {});
    server.unref();
    const close = (closed: () => void): void => {
      server.close(() => closed());
    };
    flockDirectory(directory, (lock) => {
      if (lock === "taken") return close(() => locked(coded("ELOCKED"), (freed) => freed()));
      const free = (freed: () => void): void => lock(() => close(freed));
      // Not O_EXCL: a process that was killed has left its file behind.
      const flags =
        fs.constants.O_WRONLY |
        fs.constants.O_CREAT |
        fs.constants.O_TRUNC |
        fs.constants.O_NOFOLLOW;
      fs.writeFile(file, owner(), { flag: flags as unknown as string, mode: 0o600 }, (error) => {
        if (error === null) locked(null, free);
        else free(() => locked(error, (freed) => freed()));
      });
      return undefined;
    });
  });
}

/**
 * The name fills the whole address (108 bytes, one of them the leading zero). Shorter names are padded by some
 * versions of libuv and not by others, and two versions of Node.js would not see each other's lock.
 */
function socketName(identity: string): string {
  return `\0${`harmonydb-${identity}`.padEnd(107, "\0")}`;
}

/** Takes over from a process that is gone, in steps that leave at most one taker (a rename moves a file once). */
function lockByFile(file: string, locked: Locked, attemptsLeft = 3): void {
  const failed = (error: NodeJS.ErrnoException): void => locked(error, (freed) => freed());
  fs.writeFile(file, owner(), { flag: "wx", mode: 0o600 }, (error) => {
    if (error === null) return locked(null, (freed) => freed());
    if (error.code !== "EEXIST") return failed(error);
    const pid = ownerOf(file);
    if (pid === undefined || isAlive(pid) || attemptsLeft === 0) return failed(coded("ELOCKED"));
    const aside = `${file}.${randomUUID()}`;
    return fs.rename(file, aside, (renameError) => {
      if (renameError !== null && renameError.code !== "ENOENT") return failed(renameError);
      const moved = renameError === null ? ownerOf(aside) : pid;
      // Somebody else took over in between and this moved the live lock away: it goes back, unless a third came.
      if (moved !== pid)
        return fs.link(aside, file, () => fs.unlink(aside, () => failed(coded("ELOCKED"))));
      return fs.unlink(aside, () => lockByFile(file, locked, attemptsLeft - 1));
    });
  });
}

function owner(): string {
  return `${process.pid}\n${bootId()}\n`;
}

/** The process that LOCK names; undefined when it names none. */
function ownerOf(file: string): number | undefined {
  try {
    const pid = Number.parseInt(fs.readFileSync(file, "latin1"), 10);
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** For people. The lock may be held although the file is gone: it is the kernel's. */
function holderOf(file: string): string {
  const pid = ownerOf(file);
  return pid === undefined
    ? `held by a process that ${file} does not name`
    : `held by process ${pid}, see ${file}`;
}

/** Another user's process cannot be signalled (EPERM) but lives. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function bootId(): string {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    return "unknown";
  }
}

function coded(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}
