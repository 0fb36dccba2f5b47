/**
 * `npm run soak [-- --minutes M] [--rate R] [--keys N]`: how much resident memory grows under a load that never changes
 * (S0-82, P11). A bounded set of keys is set again and again, read, scanned and watched; keys come that end by themselves;
 * history is compacted and checkpoints are made all the while. What is left of it for ever would show as a slope.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type HarmonyDB, open } from "../src/index.ts";
import { median } from "./measure.ts";
import { randomKeys, randomValues } from "./random-data.ts";
import { residentBytes } from "./resident.ts";

const TICK_MS = 50;
const SAMPLE_MS = 1_000;
const SCANNED = 1_000;
const PASSING_TTL_MS = 5_000;
/** A disk that stalls for a while ends no soak. */
const PATIENT = { timeoutMs: 600_000 };
/** Short, so that what history takes has reached its size when the warm-up is over. */
const RETENTION = { retentionMs: 30_000, retentionRevisions: 1_000 };
/** The first part of a run counts for nothing: caches fill, the compiler works, the heap finds its size. */
const WARM_UP_PART = 0.3;
const LIMIT_MB_PER_HOUR = 10;
const MB = 1e6;
const MS_PER_HOUR = 3_600_000;
const MS_PER_MINUTE = 60_000;

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

/** Of each minute the middle sample: the teeth of the garbage collector's saw are shorter. */
function byMinute(samples: readonly Sample[]): Sample[] {
  const minutes: number[][] = [];
  for (const { atMs, bytes } of samples) (minutes[minuteOf(atMs)] ??= []).push(bytes);
  return minutes.flatMap((all, minute) => ({ atMs: minute * MS_PER_MINUTE, bytes: median(all) }));
}

function minuteOf(atMs: number): number {
  return Math.floor(atMs / MS_PER_MINUTE);
}

/** The line through all samples that fits them best, and how uncertain its slope is (one standard error). */
function slope(samples: readonly Sample[]): { readonly perHour: number; readonly error: number } {
  const n = samples.length;
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / n;
  const x = (sample: Sample): number => sample.atMs / MS_PER_HOUR;
  const y = (sample: Sample): number => sample.bytes / MB;
  const [meanX, meanY] = [mean(x), mean(y)];
  const spread = n * mean((sample) => (x(sample) - meanX) ** 2);
  const perHour = (n * mean((sample) => (x(sample) - meanX) * (y(sample) - meanY))) / spread;
  const left = n * mean((sample) => (y(sample) - meanY - perHour * (x(sample) - meanX)) ** 2);
  return { perHour, error: Math.sqrt(left / Math.max(1, n - 2) / spread) };
}

/** Hears of every change until it is told to stop. */
async function listen(db: HarmonyDB, signal: AbortSignal): Promise<void> {
  try {
    for await (const _ of db.watch({ prefix: "" }, { signal }));
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function load(
  db: HarmonyDB,
  keys: readonly Uint8Array[],
  rate: number,
  endMs: number,
): Promise<Sample[]> {
  const values = randomValues(keys.length, 7);
  const samples: Sample[] = [];
  const startMs = performance.now();
  const aTick = Math.max(1, Math.round((rate * TICK_MS) / 1_000));
  let [at, tick, nextSampleMs] = [0, 0, 0];
  for (;;) {
    const atMs = performance.now() - startMs;
    if (atMs >= endMs) return samples;
    const work: Promise<unknown>[] = [];
    for (let i = 0; i < aTick; i++) {
      // A step that shares no factor with the number of keys: every key has its turn, neighbours do not follow.
      at = (at + 7919) % keys.length;
      const key = keys[at] as Uint8Array;
      db.getSync(key);
      work.push(db.put(key, values[(at + tick) % keys.length] as Uint8Array, PATIENT));
    }
    work.push(
      db.put(`passing ${tick % 1_000}`, "soon gone", { ttlMs: PASSING_TTL_MS, ...PATIENT }),
    );
    work.push(db.incr("ticks", 1n, PATIENT));
    await Promise.all(work);
    if (atMs >= nextSampleMs) {
      nextSampleMs += SAMPLE_MS;
      let seen = 0;
      for await (const _ of db.scan({ gte: keys[at] as Uint8Array, limit: SCANNED })) seen++;
      if (seen > SCANNED) throw new Error("a scan has a limit");
      const bytes = residentBytes();
      if (minuteOf(atMs) !== minuteOf(samples.at(-1)?.atMs ?? -1))
        console.log(`minute ${minuteOf(atMs)}: ${(bytes / MB).toFixed(1)} MB`);
      samples.push({ atMs, bytes });
    }
    tick++;
    await sleep(Math.max(0, startMs + tick * TICK_MS - performance.now()));
  }
}

const { values: given } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    rate: { type: "string", default: "1000" },
    keys: { type: "string", default: "50000" },
  },
});
const [minutes, rate, count] = [Number(given.minutes), Number(given.rate), Number(given.keys)];

const results = join(import.meta.dirname, "..", "..", "bench", "results");
mkdirSync(results, { recursive: true });
const directory = mkdtempSync(join(results, "soak-"));
try {
  const db = await open(directory, { retention: RETENTION });
  const over = new AbortController();
  const listener = listen(db, over.signal);
  const keys = randomKeys(count, 1);
  const samples = await load(db, keys, rate, minutes * MS_PER_MINUTE);
  over.abort();
  await listener;
  const { rev } = await db.admin.status();
  await db.close();
  const all = byMinute(samples);
  const counted = all.filter(({ atMs }) => atMs >= minutes * MS_PER_MINUTE * WARM_UP_PART);
  const { perHour, error } = slope(counted);
  console.log(
    `${rate} puts a second over ${count} keys for ${minutes} minutes, ${rev} revisions: resident memory grows by ` +
      `${perHour.toFixed(1)} MB an hour (standard error ${error.toFixed(1)}), fitted over the last ${counted.length} minutes; ` +
      `at most ${LIMIT_MB_PER_HOUR}: ${perHour <= LIMIT_MB_PER_HOUR ? "yes" : "NO"}`,
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}
