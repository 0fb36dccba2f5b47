/** Resident memory of a process that holds many keys: `<order> <retention> <keys> <directory>`; prints it as JSON. */
import { open } from "../src/index.ts";
import { orderedKeys, randomKeys, randomValues } from "./random-data.ts";
import { residentBytes } from "./resident.ts";

export interface MemoryFigures {
  /** When the last put was answered, checkpoints of the load on their way. */
  readonly loadedBytes: number;
  /** After three checkpoints with hardly a change between them, and a settle. */
  readonly settledBytes: number;
  /** After a full collection besides: a process that does nothing is not collected by its runtime for a long time. */
  readonly collectedBytes: number;
}

const WINDOW = 1_000;
const SETTLE_MS = 10_000;
const CHECKPOINTS = 3;

async function settle(ms: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return residentBytes();
}

async function figuresOf(
  order: string,
  retention: string,
  count: number,
  directory: string,
): Promise<MemoryFigures> {
  const none = { retention: { retentionMs: 0, retentionRevisions: 0 } };
  const db = await open(directory, retention === "0" ? none : {});
  const values = randomValues(WINDOW, 2);
  for (let at = 0; at < count; at += WINDOW) {
    // Made as they are needed: what the load holds is not what the database holds.
    const keys = order === "random" ? randomKeys(WINDOW, at + 1) : orderedKeys(WINDOW, at);
    await Promise.all(keys.map((key, i) => db.put(key, values[i] as Uint8Array)));
  }
  const loadedBytes = residentBytes();
  for (let i = 0; i < CHECKPOINTS; i++) {
    // One with nothing to write would not be made.
    await db.put(`settled ${i}`, "");
    await db.admin.checkpoint();
  }
  const settledBytes = await settle(SETTLE_MS);
  const { gc } = globalThis as { readonly gc?: () => void };
  gc?.();
  const collectedBytes = await settle(1_000);
  await db.close();
  return { loadedBytes, settledBytes, collectedBytes };
}

const [order, retention, count, directory] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
];
console.log(JSON.stringify(await figuresOf(order, retention, Number(count), directory)));
