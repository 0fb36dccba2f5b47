/**
 * One step of P9 in a process of its own. `fill <keys> <checkpointed> <value bytes> <directory>` puts so many keys,
 * makes a checkpoint after so many, or leaves checkpoints to the defaults where it says `default`, and ends itself with
 * kill -9; `open <directory>` times the opening; `read <directory>` only reads the log and checksums it once.
 */
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { crc32c } from "../src/base/index.ts";
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

export interface FillFigures {
  readonly keys: number;
}

export interface ReadFigures {
  readonly readMs: number;
  readonly cpuMs: number;
  readonly bytes: number;
}

const WINDOW = 1_000;
const READ_BYTES: number = 1024 * 1024;
const OFF = 2 ** 40;
/** No checkpoint but the one that is asked for, and room for all. */
const OPTIONS = {
  checkpoints: { walBytes: OFF, intervalMs: OFF, operations: OFF },
  quotaBytes: 0,
};

async function fill(
  count: number,
  checkpointed: number | "default",
  valueBytes: number,
  directory: string,
): Promise<void> {
  const db = await open(directory, checkpointed === "default" ? { quotaBytes: 0 } : OPTIONS);
  const value = new Uint8Array(valueBytes).fill(118);
  for (let at = 0; at < count; at += WINDOW) {
    await Promise.all(randomKeys(WINDOW, at + 1).map((key) => db.put(key, value)));
    if (at + WINDOW === checkpointed) await db.admin.checkpoint();
  }
  // Some of so many keys are drawn twice.
  const figures: FillFigures = { keys: (await db.admin.status()).keys };
  console.log(JSON.stringify(figures));
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

/** The floor of every recovery: each byte of the log is read once and goes through one checksum. */
function readLog(directory: string): void {
  const startedUs = nowUs();
  const startedCpuUs = cpuUs();
  const window = new Uint8Array(READ_BYTES);
  let bytes = 0;
  for (const name of readdirSync(join(directory, "wal"))) {
    const file = openSync(join(directory, "wal", name), "r");
    for (;;) {
      const read = readSync(file, window, 0, READ_BYTES, null);
      if (read === 0) break;
      crc32c(window, 0, read);
      bytes += read;
    }
    closeSync(file);
  }
  const figures: ReadFigures = {
    readMs: (nowUs() - startedUs) / 1000,
    cpuMs: (cpuUs() - startedCpuUs) / 1000,
    bytes,
  };
  console.log(JSON.stringify(figures));
}

const [step, ...rest] = process.argv.slice(2) as [string, ...string[]];
if (step === "fill") {
  const [count, checkpointed, valueBytes, directory] = rest as [string, string, string, string];
  const when = checkpointed === "default" ? checkpointed : Number(checkpointed);
  await fill(Number(count), when, Number(valueBytes), directory);
} else if (step === "read") {
  readLog(rest[0] as string);
} else {
  await recover(rest[0] as string);
}
