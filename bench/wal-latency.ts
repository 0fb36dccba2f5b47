/** P8: the latency of a WAL write at 10,000 writes a second, open loop, beside the raw sync of the disk. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { nodeEnv } from "../src/platform/index.ts";
import { runIo, type Io } from "../src/env/index.ts";
import { EntryType } from "../src/raft/index.ts";
import { Wal } from "../src/wal/index.ts";
import { rawSync } from "./disk-floor.ts";
import { type Latencies, latencies, median, nowUs, type Row } from "./measure.ts";

const ROUNDS = 5;
const WRITES_PER_SECOND = 10_000;
const SECONDS = 3;
const VALUE_BYTES = 160;

function promised<T>(io: Io<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    runIo(io, (error, value) => (error === null ? resolve(value as T) : reject(error as Error)));
  });
}

/**
 * Open loop: so many writes are handed in every millisecond as the rate asks for, whether or not earlier ones have
 * returned, and each is timed from the moment it is handed in. A pump that spun would take the core that the disk
 * thread needs.
 */
async function walWrites(directory: string): Promise<Latencies> {
  const dataDir = mkdtempSync(join(directory, "p8-"));
  const env = nodeEnv({ log: () => {} });
  const wal = await promised(
    Wal.create(
      env,
      { directory: dataDir, segmentSizeBytes: 64 * 1024 * 1024 },
      { clusterId: new Uint8Array(8).fill(1), memberId: 1, walId: env.entropy.bytes(16) },
    ),
  );
  const data = new Uint8Array(VALUE_BYTES).fill(118);
  const samples: number[] = [];
  const total = WRITES_PER_SECOND * SECONDS;
  const startUs = nowUs();
  let issued = 0;
  await new Promise<void>((resolve, reject) => {
    const pump = (): void => {
      const dueCount = Math.min(total, Math.ceil(((nowUs() - startUs) * WRITES_PER_SECOND) / 1e6));
      while (issued < dueCount) {
        const handedInUs = nowUs();
        issued++;
        const entry = { index: issued, term: 1, type: EntryType.normal, data };
        wal.append([{ group: 0, entries: [entry], hardState: null }], (error) => {
          if (error !== null) {
            reject(error);
            return;
          }
          samples.push(nowUs() - handedInUs);
          if (samples.length === total) resolve();
        });
      }
      if (issued < total) setTimeout(pump, 1);
    };
    pump();
  });
  const figures = latencies(samples.slice(WRITES_PER_SECOND / 2), (nowUs() - startUs) / 1000);
  await promised(wal.close());
  rmSync(dataDir, { recursive: true });
  return figures;
}

export async function walLatency(directory: string): Promise<Row[]> {
  const ours: Latencies[] = [];
  const floor: Latencies[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    floor.push(rawSync(directory, 3_000));
    ours.push(await walWrites(directory));
  }
  const p99Us = median(ours.map((one) => one.p99Us));
  const show = (all: readonly Latencies[]): string =>
    `p50 ${median(all.map((one) => one.p50Us)).toFixed(0)} us, p99 ${median(all.map((one) => one.p99Us)).toFixed(0)} us`;
  return [
    {
      goal: "P8",
      work: `WAL append at ${WRITES_PER_SECOND}/s, open loop, synced / raw write + fdatasync, one at a time`,
      ours: show(ours),
      other: show(floor),
      ratio: `${(p99Us / median(floor.map((one) => one.p99Us))).toFixed(2)}x at p99`,
      demand: "p99 below 1 ms",
      holds: p99Us < 1000,
    },
  ];
}
