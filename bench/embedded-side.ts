/** One side of P6 in a process of its own: `<side> <directory>`; prints its figures as JSON, or that it is missing. */
import { median, nowUs } from "./measure.ts";
import { SIDES } from "./peers.ts";
import { randomKeys, randomValues, VALUE_BYTES } from "./random-data.ts";

/** Operations per second of each kind of work. */
export interface SideFigures {
  readonly put: number;
  readonly getSync: number;
  /** Null: the store reads without a promise only. */
  readonly get: number | null;
  readonly scan: number;
}

const KEYS = 200_000;
const WINDOW = 1_000;
const READS = 200_000;
/** Reads are timed in slices and the median counts: a slice in which the machine did something else is no figure. */
const SLICE = 2_000;
const SCANS = 7;

async function figuresOf(name: string, directory: string): Promise<SideFigures> {
  const side = await (SIDES[name] as (typeof SIDES)[string]).open(directory);
  const keys = randomKeys(KEYS, 1);
  const values = randomValues(WINDOW, 2);
  const perSecond = (count: number, startedUs: number): number =>
    (count / (nowUs() - startedUs)) * 1e6;
  const startedUs = nowUs();
  for (let at = 0; at < KEYS; at += WINDOW) await side.putAll(keys.slice(at, at + WINDOW), values);
  const put = perSecond(KEYS, startedUs);

  // In another order than that of the writes.
  const toRead = Array.from({ length: READS }, (_, i) => keys[(i * 7919) % KEYS] as Uint8Array);
  let missing = 0;
  const slices: number[] = [];
  for (let at = 0; at < READS; at += SLICE) {
    const sliceUs = nowUs();
    for (let i = at; i < at + SLICE; i++)
      if (side.getSync(toRead[i] as Uint8Array)?.length !== VALUE_BYTES) missing++;
    slices.push(perSecond(SLICE, sliceUs));
  }
  const awaited: number[] = [];
  for (let at = 0; side.get !== null && at < READS; at += SLICE) {
    const sliceUs = nowUs();
    for (let i = at; i < at + SLICE; i++)
      if ((await side.get(toRead[i] as Uint8Array))?.length !== VALUE_BYTES) missing++;
    awaited.push(perSecond(SLICE, sliceUs));
  }
  if (missing > 0) throw new Error(`${missing} keys were not found`);

  const scans: number[] = [];
  for (let i = 0; i < SCANS; i++) {
    const scanUs = nowUs();
    const count = await side.scan();
    scans.push(perSecond(count, scanUs));
    if (count !== KEYS) throw new Error(`${count} keys were scanned`);
  }
  await side.close();
  return {
    put,
    getSync: median(slices),
    get: awaited.length === 0 ? null : median(awaited),
    scan: median(scans),
  };
}

const [name, directory] = process.argv.slice(2) as [string, string];
try {
  console.log(JSON.stringify(await figuresOf(name, directory)));
} catch (error) {
  const { code } = error as { readonly code?: unknown };
  if (code !== "MODULE_NOT_FOUND" && code !== "ERR_MODULE_NOT_FOUND") throw error;
  console.log(JSON.stringify(null));
}
