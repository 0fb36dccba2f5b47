/** S4-83: what a million keys of 16 bytes with values of 128 take of a process's resident memory. */
import { inDirectory, runChild } from "./child.ts";
import { median, type Row } from "./measure.ts";
import type { MemoryFigures } from "./memory-side.ts";

/** Memory hardly differs from run to run, nor with what else the machine does. */
const ROUNDS = 1;
const KEYS = 1_000_000;
const DATA_BYTES: number = KEYS * (16 + 128);
const BASE_BYTES = 100_000_000;

const LOADS = [
  { text: "in key order, retention 0", order: "ordered", retention: "0", times: 1.6 },
  { text: "at random, default retention", order: "random", retention: "default", times: 2.2 },
] as const;

export async function memory(directory: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { text, order, retention, times } of LOADS) {
    const all: MemoryFigures[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      all.push(
        await inDirectory(directory, (own) =>
          runChild<MemoryFigures>(
            "memory-side",
            [order, retention, String(KEYS), own],
            ["--expose-gc"],
          ),
        ),
      );
    }
    const of = (key: keyof MemoryFigures): number => median(all.map((one) => one[key]));
    const limit = DATA_BYTES * times + BASE_BYTES;
    rows.push({
      goal: "S4-83",
      work: `resident memory of 1M keys, loaded ${text}: settled (at the end of the load, after a collection)`,
      ours: `${megabytes(of("settledBytes"))} (${megabytes(of("loadedBytes"))}, ${megabytes(of("collectedBytes"))})`,
      other: `${megabytes(DATA_BYTES)} of keys and values`,
      ratio: `${((of("settledBytes") - BASE_BYTES) / DATA_BYTES).toFixed(2)}x and 100 MB`,
      demand: `at most ${times}x and 100 MB (${megabytes(limit)})`,
      holds: of("settledBytes") <= limit,
    });
  }
  return rows;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
