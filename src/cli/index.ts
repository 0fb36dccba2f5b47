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
import { run } from "./program.ts";

export { type CommandPage, commandPages } from "./commands/index.ts";
export { environmentName, OPTION_NAMES, OPTIONS, type OptionSpec } from "./options.ts";
export { VERSION } from "./version.ts";

/** Runs the command line of this process: `args` without the paths of node and script. */
export async function main(args: readonly string[]): Promise<void> {
  const { stdout, stderr } = process;
  let serving = false;
  // `harmonydb wal dump | head` closes the pipe early: that ends a command, and never a server.
  stdout.on("error", () => {
    if (!serving) process.exit(0);
  });
  const exit = await run(args, {
    out: (text) => stdout.write(text),
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
