/**
 * cluster stop: ends a cluster from elsewhere. Only processes are told to end that hold a lock of the cluster: its
 * `cluster start`, and members that outlived theirs.
 */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { CommandError, Exit } from "../exit.ts";
import type { Streams } from "../streams.ts";
import { lockCluster, processIn } from "./lock.ts";
import { existingPlan } from "./plan.ts";

const LOOK_MS = 100;

/** Resolves when nothing of it runs any more. */
export async function stopCluster(
  dataDir: string,
  timeoutMs: number,
  streams: Streams,
): Promise<number> {
  const plan = existingPlan(dataDir);
  const deadlineMs = performance.now() + timeoutMs;
  let wasRunning = await end(dataDir, "cluster.pid", "the cluster", deadlineMs);
  for (const { name, dataDir: directory } of plan)
    if (existsSync(directory) && (await end(directory, "LOCK", name, deadlineMs)))
      wasRunning = true;
  streams.out(wasRunning ? "stopped\n" : "nothing ran\n");
  return Exit.ok;
}

/** False: nobody holds the directory. */
async function end(
  directory: string,
  file: string,
  what: string,
  deadlineMs: number,
): Promise<boolean> {
  let told: number | null = null;
  for (;;) {
    const lock = await lockCluster(directory);
    if (lock !== null) {
      await lock.release();
      return told !== null;
    }
    const pid = processIn(directory, file);
    if (pid !== null && pid !== told && pid !== process.pid) {
      told = pid;
      process.kill(pid, "SIGTERM");
    }
    if (performance.now() > deadlineMs)
      throw new CommandError(
        `${what} does not stop${told === null ? ", and nothing says which process it is" : ` (process ${told})`}`,
        Exit.refused,
        [
          told === null
            ? `see who holds ${directory}`
            : `wait longer with --timeout, or end it: kill -9 ${told}`,
        ],
      );
    await sleep(LOOK_MS);
  }
}
