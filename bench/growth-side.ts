/**
 * What a database of so many keys costs in processor time and memory: `fill <keys> <directory>`, then
 * `open <keys> <directory>`. Prints JSON.
 */
import { open } from "../src/index.ts";
import { cpuUs, median } from "./measure.ts";
import { residentBytes } from "./resident.ts";
import { randomKeys, randomValues, VALUE_BYTES } from "./random-data.ts";

export interface FilledFigures {
  /** Microseconds for each operation: of all puts with their checkpoints, of the median slice of reads, of a whole scan. */
  readonly putUs: number;
  readonly getUs: number;
  readonly scanUs: number;
  readonly memoryBytes: number;
  readonly fileBytes: number;
  /** Of a checkpoint after 10,000 puts more. */
  readonly checkpointMs: number;
}

export interface OpenedFigures {
  /** Until `open` has resolved and a key was read. */
  readonly openMs: number;
}

const WINDOW = 1_000;
const SLICE = 1_000;
const READS = 100_000;
const CHANGES = 10_000;

/** Every key of the load, a window at a time, so that nobody has to hold them: random, and numbered so that none is twice. */
function windowOf(index: number): Uint8Array[] {
  const keys = randomKeys(WINDOW, index + 1);
  for (const [i, key] of keys.entries())
    new DataView(key.buffer, key.byteOffset).setUint32(key.length - 4, index * WINDOW + i);
  return keys;
}

async function fill(count: number, directory: string): Promise<FilledFigures> {
  // What history lets go of after five minutes changes pages under the scan of the largest size: all of them may be kept.
  const db = await open(directory, { quotaBytes: 0, pinBytesMax: 16 * 1024 ** 3 });
  const values = randomValues(WINDOW, 2);
  const windows = count / WINDOW;
  let putTimeUs = 0;
  const put = async (window: number): Promise<void> => {
    const keys = windowOf(window);
    const startedUs = cpuUs();
    await Promise.all(keys.map((key, i) => db.put(key, values[i] as Uint8Array)));
    putTimeUs += cpuUs() - startedUs;
  };
  for (let window = 0; window < windows; window++) await put(window);
  const putUs = putTimeUs / count;

  const keys: Uint8Array[] = [];
  for (let i = 0; i < READS / WINDOW; i++) keys.push(...windowOf((i * 7919) % windows));
  const slices: number[] = [];
  for (let at = 0; at < READS; at += SLICE) {
    const startedUs = cpuUs();
    for (let i = at; i < at + SLICE; i++) {
      const value = db.getSync(keys[(i * 7919) % READS] as Uint8Array);
      if (value?.length !== VALUE_BYTES) throw new Error("a key is not there");
    }
    slices.push((cpuUs() - startedUs) / SLICE);
  }

  const scanStartedUs = cpuUs();
  let scanned = 0;
  for await (const { value } of db.scan()) scanned += value.length / VALUE_BYTES;
  const scanUs = (cpuUs() - scanStartedUs) / count;
  if (scanned !== count) throw new Error(`${scanned} keys were scanned`);

  await db.admin.checkpoint();
  for (let window = 0; window < CHANGES / WINDOW; window++) await put(window % windows);
  const checkpointStartedUs = cpuUs();
  await db.admin.checkpoint();
  const checkpointMs = (cpuUs() - checkpointStartedUs) / 1000;
  const { gc } = globalThis as { readonly gc?: () => void };
  gc?.();
  const { sizeBytes } = await db.admin.status();
  const memoryBytes = residentBytes();
  await db.close();
  return {
    putUs,
    getUs: median(slices),
    scanUs,
    memoryBytes,
    fileBytes: sizeBytes,
    checkpointMs,
  };
}

async function reopen(directory: string): Promise<OpenedFigures> {
  const startedUs = cpuUs();
  const db = await open(directory, { quotaBytes: 0 });
  if (db.getSync(windowOf(0)[0] as Uint8Array) === undefined) throw new Error("a key is not there");
  const openMs = (cpuUs() - startedUs) / 1000;
  await db.close();
  return { openMs };
}

const [step, count, directory] = process.argv.slice(2) as [string, string, string];
const figures = step === "fill" ? await fill(Number(count), directory) : await reopen(directory);
console.log(JSON.stringify(figures));
