/** Who runs a local cluster: one process at a time, as with the directory of a node. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FileError } from "../../env/index.ts";
import { nodeEnv } from "../../platform/index.ts";

/** Null: somebody else holds it. */
export function lockCluster(
  directory: string,
): Promise<{ readonly release: () => Promise<void> } | null> {
  const { files } = nodeEnv({ log: () => {} });
  return new Promise((resolve, reject) => {
    files.lock(directory, (error, lock) => {
      if (error === null)
        resolve({ release: () => new Promise((done) => lock.release(() => done())) });
      else if (error instanceof FileError && error.code === "ELOCKED") resolve(null);
      else reject(error);
    });
  });
}

/** The process that wrote its number there; null when none did. Believed of a directory that is locked alone. */
export function processIn(directory: string, file: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(join(directory, file), "latin1"), 10);
    return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}
