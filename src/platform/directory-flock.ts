/**
 * The lock of the file system on a directory, for processes that do not meet in one network namespace: containers with a
 * shared volume, each with its own network.
 *
 * Node.js has no call for it. The program `flock` takes it on a file that it inherits, and the kernel keeps it with the
 * open file, so with this process, whatever ends it. Where there is no such program, or the file system knows no such
 * lock, there is none: only a lock that another process has refuses.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";

/** The number of the file in the program: the first behind the standard ones. */
const INHERITED = 3;
/** With nothing on stderr: another has it. Every other failure says something there. */
const EXIT_TAKEN = 1;

/** Gives back what was locked, and calls back when that is done. */
export type Free = (freed: () => void) => void;

export function flockDirectory(directory: string, done: (lock: Free | "taken") => void): void {
  fs.open(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY, (openError, handle) => {
    if (openError !== null) return done((freed) => freed());
    const free: Free = (freed) => fs.close(handle, () => freed());
    let complaints = "";
    let isOver = false;
    const over = (code: number | null): void => {
      if (isOver) return;
      isOver = true;
      if (code !== EXIT_TAKEN || complaints !== "") return done(free);
      return free(() => done("taken"));
    };
    try {
      const stdio = ["ignore", "ignore", "pipe", handle] as const;
      const program = spawn("flock", ["-n", "-x", String(INHERITED)], { stdio: [...stdio] });
      program.stderr?.on("data", (chunk: Buffer) => {
        complaints += chunk.toString();
      });
      program.on("error", () => over(null));
      program.on("close", over);
    } catch {
      // Spawning itself may be forbidden.
      over(null);
    }
    return undefined;
  });
}
