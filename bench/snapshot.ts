/**
 * A snapshot while writes go on: how long it takes, how long the event loop is held, and what the writers feel. Beside
 * it the same bytes written to the same disk with nothing done to them, and the same writers without a snapshot.
 *
 * SNAPSHOT_ENTRIES sets how many keys there are, a million by default; the requirement speaks of ten.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { open as openHost } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type HarmonyDB, open } from "../src/index.ts";
import { latencies, nowUs, type Row } from "./measure.ts";
import { whileWatched } from "./stalls.ts";

const ENTRIES = Number(process.env["SNAPSHOT_ENTRIES"] ?? 1_000_000);
const PER_RECORD = 2_000;
const WRITERS = 8;
const VALUE: Uint8Array = new Uint8Array(100).fill(118);
/** Of the requirement, for ten million entries. */
const DEMAND_MS = 30_000;
const HELD_MS = 50;
const FLOOR_PIECE_BYTES: number = 128 * 1024;

export async function snapshot(directory: string): Promise<Row[]> {
  const dataDir = mkdtempSync(join(directory, "snapshot-"));
  // Without history an entry is a key: what is counted is what is stored.
  const retention = { retentionMs: 0, retentionRevisions: 0 };
  const db = await open(dataDir, { quotaBytes: 0, retention });
  try {
    await load(db);
    await db.admin.checkpoint();
    return [await measured(db, directory)];
  } finally {
    await db.close();
    rmSync(dataDir, { recursive: true });
  }
}

async function load(db: HarmonyDB): Promise<void> {
  for (let from = 0; from < ENTRIES; from += PER_RECORD) {
    const items = Array.from({ length: Math.min(PER_RECORD, ENTRIES - from) }, (_, i) => {
      const number = ((from + i) * 7919) % ENTRIES;
      return [`key-${String(number).padStart(10, "0")}`, VALUE] as const;
    });
    await db.putMany(items);
  }
}

async function measured(db: HarmonyDB, directory: string): Promise<Row> {
  let sizeBytes = 0;
  let madeMs = 0;
  const { puts, longestMs } = await whileWriting(db, async () => {
    const startedMs = performance.now();
    const backup = await db.admin.snapshot();
    madeMs = performance.now() - startedMs;
    sizeBytes = backup.sizeBytes;
    await backup[Symbol.asyncDispose]();
  });
  // What the machine does to the same writers anyway, for as long.
  const alone = await whileWriting(db, () => sleep(madeMs));
  const floorMs = await plainWrite(join(directory, "floor"), sizeBytes);
  const { p99Us, maxUs, perSecond } = latencies(puts, madeMs);
  const demandMs = (DEMAND_MS * ENTRIES) / 10_000_000;
  return {
    goal: "P10",
    work: `a snapshot of ${ENTRIES / 1e6}M entries, ${Math.round(sizeBytes / 2 ** 20)} MiB, ${WRITERS} writers meanwhile`,
    ours: `${(madeMs / 1000).toFixed(1)} s, longest turn ${longestMs.toFixed(1)} ms; ${Math.round(perSecond)} puts/s, p99 ${(p99Us / 1000).toFixed(1)} ms, longest ${(maxUs / 1000).toFixed(1)} ms`,
    other: `the same bytes written and synced: ${(floorMs / 1000).toFixed(1)} s; the writers alone: longest turn ${alone.longestMs.toFixed(1)} ms, ${Math.round((alone.puts.length / madeMs) * 1000)} puts/s`,
    ratio: (madeMs / floorMs).toFixed(2),
    demand: `at most ${demandMs / 1000} s, turns of at most ${HELD_MS} ms`,
    holds: madeMs <= demandMs && longestMs <= HELD_MS,
  };
}

/** Does `work` while the writers write, and watches the event loop. */
async function whileWriting(
  db: HarmonyDB,
  work: () => Promise<unknown>,
): Promise<{ readonly puts: readonly number[]; readonly longestMs: number }> {
  const over = { isSo: false };
  const puts: number[] = [];
  const { longestMs } = await whileWatched(async () => {
    const writers = Array.from({ length: WRITERS }, (_, i) => write(db, i, over, puts));
    await work();
    over.isSo = true;
    await Promise.all(writers);
  });
  return { puts, longestMs };
}

/** Puts over all keys, one after the other, until it is over. */
async function write(
  db: HarmonyDB,
  writer: number,
  over: { readonly isSo: boolean },
  samplesUs: number[],
): Promise<void> {
  for (let i = writer; !over.isSo; i += WRITERS) {
    const key = `key-${String((i * 104_729) % ENTRIES).padStart(10, "0")}`;
    const startedUs = nowUs();
    await db.put(key, VALUE);
    samplesUs.push(nowUs() - startedUs);
  }
}

async function plainWrite(path: string, sizeBytes: number): Promise<number> {
  const piece = new Uint8Array(FLOOR_PIECE_BYTES).fill(1);
  const file = await openHost(path, "w");
  try {
    const startedMs = performance.now();
    for (let at = 0; at < sizeBytes; at += piece.length)
      await file.write(piece, 0, Math.min(piece.length, sizeBytes - at), at);
    await file.datasync();
    return performance.now() - startedMs;
  } finally {
    await file.close();
    rmSync(path);
  }
}
