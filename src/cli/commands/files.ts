/** Files of commands on this side: their errors, and small ones that are replaced as a whole. */
import { open, rename, stat } from "node:fs/promises";
import { CommandError, Exit } from "../exit.ts";

/** The ending of a file operation that failed; anything else stays as it is. */
export function fileEnding(error: unknown, path: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code !== "string" || !("syscall" in (error as object))) return error;
  const reason = REASONS[code] ?? (error as Error).message;
  return new CommandError(`${path}: ${reason}`, Exit.io);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or directory",
  EACCES: "no permission",
  EISDIR: "that is a directory",
  ENOSPC: "the disk is full",
};

/**
 * Whether a device or a pipe has this name, which is written to where it is: a file that takes its place would take it
 * from everybody, /dev/null from the machine.
 */
export async function isDevice(path: string): Promise<boolean> {
  let found;
  try {
    found = await stat(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw fileEnding(error, path);
  }
  if (found.isDirectory()) throw new CommandError(`${path}: ${REASONS["EISDIR"]}`, Exit.io);
  return !found.isFile();
}

/** Afterwards the file is the new one or, after a crash on the way, the old one. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const next = `${path}.next`;
  const file = await open(next, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
}
