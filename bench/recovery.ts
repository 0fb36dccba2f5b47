/** P9: how long a database needs after kill -9 until it answers, with a checkpoint and a log behind it, and with a log alone. Beside it what reading that log and one checksum cost. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { inDirectory, runChild } from "./child.ts";
import { median, type Row } from "./measure.ts";
import type { FillFigures, ReadFigures, RecoveryFigures } from "./recovery-side.ts";

const ROUNDS = 3;

const CASES = [
  {
    text: "1M entries: a checkpoint of 900,000 and 100,000 in the log",
    keys: 1_000_000,
    checkpointed: 900_000,
    valueBytes: 128,
    limitMs: 5_000,
    isPrinted: false,
  },
  {
    text: "1M entries, all of them in the log",
    keys: 1_000_000,
    checkpointed: 0,
    valueBytes: 128,
    limitMs: 5_000,
    isPrinted: true,
  },
  {
    text: "1 GiB of log: puts of 256 bytes, no checkpoint",
    keys: 3_600_000,
    checkpointed: 0,
    valueBytes: 256,
    limitMs: 10_000,
    isPrinted: true,
  },
  {
    text: "1 GiB of log written: puts of 256 bytes, checkpoints as by default",
    keys: 3_600_000,
    checkpointed: "default",
    valueBytes: 256,
    limitMs: 10_000,
    isPrinted: false,
  },
] as const;

export async function recovery(directory: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { text, keys, checkpointed, valueBytes, limitMs, isPrinted } of CASES) {
    const floors: ReadFigures[] = [];
    const times = await inDirectory(directory, async (own) => {
      const filled = join(own, "filled");
      const sizes = [keys, checkpointed, valueBytes].map(String);
      const fill = await runChild<FillFigures>("recovery-side", ["fill", ...sizes, filled]);
      const all: RecoveryFigures[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        // A copy each time: who has recovered once has less to do the next time.
        const figures = await inDirectory(own, async (copy) => {
          cpSync(filled, join(copy, "data"), { recursive: true });
          const read = await runChild<ReadFigures>("recovery-side", ["read", join(copy, "data")]);
          floors.push(read);
          return await runChild<RecoveryFigures>("recovery-side", ["open", join(copy, "data")]);
        });
        if (figures.keys !== fill.keys)
          throw new Error(`${figures.keys} of ${fill.keys} keys came back`);
        all.push(figures);
      }
      return all;
    });
    const openMs = median(times.map((one) => one.openMs));
    const cpuMs = median(times.map((one) => one.cpuMs));
    console.log(`${text}: ${seconds(openMs)} s`);
    rows.push({
      goal: "P9",
      work: `recovery after kill -9 until the first read, ${text}`,
      ours: `${seconds(openMs)} s, of which processor time ${seconds(cpuMs)} s`,
      other: `the log read and checksummed once: ${seconds(median(floors.map((one) => one.readMs)))} s, of which processor time ${seconds(median(floors.map((one) => one.cpuMs)))} s`,
      ratio: `${(cpuMs / median(floors.map((one) => one.cpuMs))).toFixed(1)} in processor time`,
      demand: `at most ${limitMs / 1000} s${isPrinted ? ", printed" : ""}`,
      holds: isPrinted ? null : openMs <= limitMs,
    });
  }
  return rows;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}
