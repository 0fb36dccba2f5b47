/**
 * L9, the command line: `serve`, the inspectors of a stopped directory, and the commands of a client (`commands/`).
 *
 * What: one table of options (`options.ts`) that flags, environment, file, help and reference share; the resolution
 * of a configuration with every problem at once (`config.ts`); the life of a serving process (`lifecycle.ts`); exit
 * codes with one meaning each (`exit.ts`); logs that never hold the database up (`log.ts`).
 *
 * Invariants: stdout carries results only (the ready line, a dump, JSON), stderr everything said to a person. An
 * option that nothing answers to is refused, never taken in silence. Nothing here deletes or repairs data. Whatever
 * ends the process says what happened, where, and what to do.
 *
 * Left out: TLS and users, whose options are known and refused; members, elections, which are etcdctl's.
 */
import { fstatSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { fileEnding } from "./commands/files.ts";
import { CommandError, Exit } from "./exit.ts";
import { run } from "./program.ts";

export { type CommandPage, commandPages } from "./commands/index.ts";
export { environmentName, OPTION_NAMES, OPTIONS, type OptionSpec } from "./options.ts";
export { VERSION } from "./version.ts";

/** Runs the command line of this process: `args` without the paths of node and script. */
export async function main(args: readonly string[]): Promise<void> {
  const { stdout, stderr } = process;
  let serving = false;
  // `harmonydb wal dump | head` closes the pipe early: that ends a command, and never a server.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (serving) return;
    if (error.code === "EPIPE") process.exit(0);
    const { message, exit: code } = lost(error);
    stderr.write(`harmonydb: ${message}\n`);
    process.exit(code);
  });
  // Whoever closes it wants to hear nothing.
  stderr.on("error", () => undefined);
  const exit = await run(args, {
    out: isWrittenAtOnce(STDOUT) ? writeAll : (text) => stdout.write(text),
    err: (text) => stderr.write(text),
    drained: () =>
      stdout.writableNeedDrain
        ? new Promise((resolve) => stdout.once("drain", resolve))
        : Promise.resolve(),
    environment: process.env,
    onServe: () => (serving = true),
  });
  if (exit !== null) process.exitCode = exit;
}

const STDOUT = 1;

/** A file or a device: writes to it come back when they are done, as those of Node.js to it do. */
function isWrittenAtOnce(descriptor: number): boolean {
  try {
    const found = fstatSync(descriptor);
    return !found.isFIFO() && !found.isSocket() && !isatty(descriptor);
  } catch {
    return false;
  }
}

/** The streams of Node.js take a write of a part for the whole, and a full disk then cuts a dump that nobody misses. */
function writeAll(text: string | Uint8Array): void {
  let rest: Uint8Array = typeof text === "string" ? Buffer.from(text) : text;
  try {
    while (rest.length > 0) rest = rest.subarray(writeSync(STDOUT, rest));
  } catch (error) {
    throw lost(error);
  }
}

function lost(error: unknown): CommandError {
  const ending = fileEnding(error, "standard output");
  return ending instanceof CommandError
    ? new CommandError(ending.message, Exit.io, ["what was written is not the whole"])
    : new CommandError(`standard output: ${String(error)}`, Exit.io);
}
