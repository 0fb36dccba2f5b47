/**
 * One step of P9 in a process of its own. `fill <keys> <checkpointed> <value bytes> <directory>` puts so many keys,
 * makes a checkpoint after so many, and ends itself with kill -9; `open <keys> <directory>` times the opening.
 */
import { open } from "../src/index.ts";
import { cpuUs, nowUs } from "./measure.ts";
import { randomKeys } from "./random-data.ts";

export interface RecoveryFigures {
  /** Until `open` has resolved and the first key was read. */
  readonly openMs: number;
  /** Of it, processor time of all threads. */
  readonly cpuMs: number;
  readonly keys: number;
}

const WINDOW = 1_000;
const OFF = 2 ** 40;
/** No checkpoint but the one that is asked for, and room for all. */
const OPTIONS = {
  checkpoints: { walBytes: OFF, intervalMs: OFF, operations: OFF },
  quotaBytes: 0,
};

async function fill(
  count: number,
  checkpointed: number,
  valueBytes: number,
  directory: string,
): Promise<void> {
  const db = await open(directory, OPTIONS);
  const value = new Uint8Array(valueBytes).fill(118);
  for (let at = 0; at < count; at += WINDOW) {
    await Promise.all(randomKeys(WINDOW, at + 1).map((key) => db.put(key, value)));
    if (at + WINDOW === checkpointed) await db.admin.checkpoint();
  }
  console.log("{}");
  // The line has to leave before the process does.
  setTimeout(() => process.kill(process.pid, "SIGKILL"), 100);
}

async function recover(directory: string): Promise<void> {
  const startedUs = nowUs();
  const startedCpuUs = cpuUs();
  const db = await open(directory, OPTIONS);
  const first = db.getSync(randomKeys(1, 1)[0] as Uint8Array);
  const openMs = (nowUs() - startedUs) / 1000;
  const cpuMs = (cpuUs() - startedCpuUs) / 1000;
  if (first === undefined) throw new Error("the first key is not there");
  const { keys } = await db.admin.status();
  const figures: RecoveryFigures = { openMs, cpuMs, keys };
  console.log(JSON.stringify(figures));
  await db.close();
}

const [step, ...rest] = process.argv.slice(2) as [string, ...string[]];
if (step === "fill") {
  const [count, checkpointed, valueBytes, directory] = rest as [string, string, string, string];
  await fill(Number(count), Number(checkpointed), Number(valueBytes), directory);
} else {
  await recover(rest[0] as string);
}
