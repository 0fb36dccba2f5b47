/** One mode of P13 in a process of its own: `<mode> <directory>`; one caller, one call at a time. Prints JSON. */
import { open, type OpenOptions } from "../src/index.ts";
import { type Latencies, latencies, nowUs } from "./measure.ts";
import { randomKeys, randomValues } from "./random-data.ts";

export interface ModeFigures {
  readonly put: Latencies;
  readonly get: Latencies;
}

const MODES: Readonly<Record<string, OpenOptions>> = {
  durable: {},
  interval: { fsyncIntervalMs: 100 },
  memory: { persistence: "none" },
};

const WARM = 3_000;
const CALLS = 20_000;

async function timed(count: number, call: (i: number) => Promise<unknown>): Promise<Latencies> {
  const samples: number[] = [];
  const startedUs = nowUs();
  for (let i = 0; i < count; i++) {
    const beforeUs = nowUs();
    await call(i);
    samples.push(nowUs() - beforeUs);
  }
  return latencies(samples, (nowUs() - startedUs) / 1000);
}

async function figuresOf(mode: string, directory: string): Promise<ModeFigures> {
  const db = await open(directory, MODES[mode]);
  const keys = randomKeys(CALLS, 1);
  const values = randomValues(1_000, 2);
  const put = (i: number): Promise<unknown> =>
    db.put(keys[i] as Uint8Array, values[i % values.length] as Uint8Array);
  await timed(WARM, put);
  const puts = await timed(CALLS, put);
  const gets = await timed(CALLS, (i) => db.get(keys[(i * 7919) % CALLS] as Uint8Array));
  await db.close();
  return { put: puts, get: gets };
}

const [mode, directory] = process.argv.slice(2) as [string, string];
console.log(JSON.stringify(await figuresOf(mode, directory)));
