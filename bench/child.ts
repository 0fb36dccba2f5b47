/** A part of a benchmark in a process of its own, so that no side pays for the garbage and the caches of another. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const TIMEOUT_MS = 30 * 60_000;

/** Runs `bench/<script>.ts` and answers with the JSON that its last line is. */
export function runChild<T>(
  script: string,
  args: readonly string[],
  nodeArgs: readonly string[] = [],
): Promise<T> {
  const path = fileURLToPath(new URL(`./${script}.js`, import.meta.url));
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [...nodeArgs, path, ...args],
      { timeout: TIMEOUT_MS },
      (error, stdout, stderr) => {
        const last = stdout.trim().split("\n").at(-1) ?? "";
        // One that ends itself by a signal has done so after it said everything.
        if (last !== "") resolve(JSON.parse(last) as T);
        else reject(error ?? new Error(`${script} said nothing: ${stderr}`));
      },
    );
  });
}

/** Runs with a directory that is gone afterwards. */
export async function inDirectory<T>(
  parent: string,
  run: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(parent, "side-"));
  try {
    return await run(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
