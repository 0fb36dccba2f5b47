/** The longest that each kind of work holds the event loop, on a million keys: nothing else is served meanwhile. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type HarmonyDB, open } from "../src/index.ts";
import type { Row } from "./measure.ts";
import { whileWatched } from "./stalls.ts";

const KEYS = 1_000_000;
/** Every so many keys one is set again, so that every page changes. */
const STEP = 5;
const MANY = 1_000;
const VALUE: Uint8Array = new Uint8Array(128).fill(118);
const CHECKPOINT_MS = 10;
const REQUEST_MS = 50;
/** Checkpoints come when they are asked for, and nothing is refused for its size. */
const OPTIONS = {
  checkpoints: { walBytes: 2 ** 50, intervalMs: 2 ** 31 - 1, operations: 2 ** 40 },
  quotaBytes: 0,
};
const PATIENT = { timeoutMs: 600_000 };

export async function turns(directory: string): Promise<Row[]> {
  const dataDir = mkdtempSync(join(directory, "turns-"));
  const rows: Row[] = [];
  /** `demandMs` null: one command, applied whole, which takes as long as what it changes. */
  const measure = async (
    work: string,
    demandMs: number | null,
    run: () => Promise<unknown>,
  ): Promise<void> => {
    const { elapsedMs, longestMs, longestClockMs } = await whileWatched(run);
    rows.push({
      goal: "turns",
      work,
      ours: `longest ${longestMs.toFixed(1)} ms`,
      other: `${longestClockMs.toFixed(1)} ms by the clock, ${elapsedMs.toFixed(0)} ms in all`,
      ratio: "",
      demand: demandMs === null ? "in one piece" : `at most ${demandMs} ms`,
      holds: demandMs === null ? null : longestMs <= demandMs,
    });
  };
  let db = await open(dataDir, OPTIONS);
  const checkpoint = (after: string): Promise<void> =>
    measure(`checkpoint after ${after}`, CHECKPOINT_MS, () => db.admin.checkpoint());
  try {
    await measure("load, 1,000 keys a record", REQUEST_MS, () => load(db));
    await checkpoint("loading 1M keys");
    await measure("puts, 1,000 at once", REQUEST_MS, () => touchAll(db));
    await checkpoint("a change on every page");
    await measure("50,000 puts in one go", null, () =>
      Promise.all(Array.from({ length: 50_000 }, (_, i) => db.put(key((i * 17) % KEYS), VALUE))),
    );
    await measure("scan of 1M keys", REQUEST_MS, () => drain(db.scan()));
    const { rev } = await db.admin.status();
    await measure("watch from the first revision, 1.2M events", REQUEST_MS, () =>
      watchTo(db, { prefix: "key-" }, rev),
    );
    await measure("watch of one key from the first revision", REQUEST_MS, () =>
      watchTo(db, { gte: key(0), lte: key(0) }, rev),
    );
    await measure("one record of 10,000 keys", null, () =>
      db.putMany(Array.from({ length: 10_000 }, (_, i) => [key((i * 31) % KEYS), VALUE] as const)),
    );
    await measure("compaction of 1.2M changes", REQUEST_MS, () =>
      db.admin.compact(rev, { physical: true, ...PATIENT }),
    );
    await checkpoint("the compaction");
    const snapshot = await db.snapshotAt();
    await touchAll(db);
    await db.admin.checkpoint();
    await measure("letting go of a snapshot with every page changed", REQUEST_MS, () =>
      snapshot.close(),
    );
    await measure("range delete of 500,000 keys", null, () =>
      db.delMany({ gte: key(KEYS / 2) }, PATIENT),
    );
    await checkpoint("the range delete");
    await measure("close", REQUEST_MS, () => db.close());
    await measure("open", null, async () => {
      db = await open(dataDir, OPTIONS);
    });
    await measure("first scan after it", REQUEST_MS, () => drain(db.scan()));
  } finally {
    await db.close();
    rmSync(dataDir, { recursive: true });
  }
  return rows;
}

function key(i: number): string {
  return `key-${String(i).padStart(9, "0")}`;
}

async function load(db: HarmonyDB): Promise<void> {
  for (let i = 0; i < KEYS; i += MANY)
    await db.putMany(Array.from({ length: MANY }, (_, j) => [key(i + j), VALUE] as const));
}

async function touchAll(db: HarmonyDB): Promise<void> {
  for (let i = 0; i < KEYS; i += MANY * STEP)
    await Promise.all(Array.from({ length: MANY }, (_, j) => db.put(key(i + j * STEP), VALUE)));
}

async function drain(entries: AsyncIterable<unknown>): Promise<void> {
  const reader = entries[Symbol.asyncIterator]();
  while ((await reader.next()).done !== true);
}

async function watchTo(
  db: HarmonyDB,
  range: Parameters<HarmonyDB["watch"]>[0],
  rev: number,
): Promise<void> {
  for await (const batch of db.watch(range, { fromRev: 2, prev: true, progressMs: 100 }))
    if (batch.rev >= rev) return;
}
