/** P7: an embedded put, one at a time awaited, over the raw sync of the same disk in the same run. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { open } from "../src/index.ts";
import { rawSync } from "./disk-floor.ts";
import { type Latencies, latencies, median, nowUs, type Row } from "./measure.ts";

const ROUNDS = 5;
const PUTS = 3_000;

async function putsAwaited(directory: string): Promise<Latencies> {
  const dataDir = mkdtempSync(join(directory, "p7-"));
  const db = await open(dataDir);
  try {
    const value = new Uint8Array(128).fill(118);
    for (let i = 0; i < 300; i++) await db.put(`warm-${i}`, value);
    const samples: number[] = [];
    const startedUs = nowUs();
    for (let i = 0; i < PUTS; i++) {
      const before = nowUs();
      await db.put(`key-${(i * 7919) % 100_000}`, value);
      samples.push(nowUs() - before);
    }
    return latencies(samples, (nowUs() - startedUs) / 1000);
  } finally {
    await db.close();
    rmSync(dataDir, { recursive: true });
  }
}

export async function embeddedPut(directory: string): Promise<Row[]> {
  const ours: Latencies[] = [];
  const floor: Latencies[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    floor.push(rawSync(directory, PUTS));
    ours.push(await putsAwaited(directory));
  }
  const ratio = median(ours.map((our, i) => our.p50Us / (floor[i] as Latencies).p50Us));
  const show = (all: readonly Latencies[]): string =>
    `p50 ${median(all.map((one) => one.p50Us)).toFixed(0)} us, p99 ${median(all.map((one) => one.p99Us)).toFixed(0)} us`;
  return [
    {
      goal: "P7",
      work: "embedded put, one at a time awaited (synced before it resolves) / write + fdatasync by a sync call",
      ours: show(ours),
      other: show(floor),
      ratio: `${ratio.toFixed(2)}x`,
      demand: "at most 2x",
      holds: ratio <= 2,
    },
  ];
}
