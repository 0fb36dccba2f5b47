/** A million keys that are due within one second while others put and get; and how late keys end at 10,000 a second. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type HarmonyDB, open } from "../src/index.ts";
import { rawSync } from "./disk-floor.ts";
import { latencies, nowUs, type Row } from "./measure.ts";
import { whileWatched } from "./stalls.ts";

const KEYS = 1_000_000;
/** Time to load them before the first one is due. */
const LOAD_MS = 60_000;
const DUE_WITHIN_MS = 1_000;
const HELD_MS = 50;
const STEADY_PER_SECOND = 10_000;
const STEADY_SECONDS = 5;
const LATE_MS = 100;
const SYNCS = 3_000;
const VALUE: Uint8Array = new Uint8Array(128).fill(118);

export async function expiry(directory: string): Promise<Row[]> {
  return [
    ...(await measured("in memory", ":memory:", null)),
    ...(await measured("on the disk", mkdtempSync(join(directory, "expiry-")), directory)),
  ];
}

async function measured(where: string, dataDir: string, disk: string | null): Promise<Row[]> {
  const db = await open(dataDir, { quotaBytes: 0 });
  try {
    return [await atOnce(db, where, disk), await steadily(db, where)];
  } finally {
    await db.close();
    if (disk !== null) rmSync(dataDir, { recursive: true });
  }
}

async function atOnce(db: HarmonyDB, where: string, disk: string | null): Promise<Row> {
  const dueMs = Date.now() + LOAD_MS;
  await load(db, "million", KEYS, dueMs, DUE_WITHIN_MS);
  const floor = disk === null ? null : rawSync(disk, SYNCS);
  await sleep(dueMs - DUE_WITHIN_MS - Date.now());
  const puts: number[] = [];
  const gets: number[] = [];
  let goneMs = 0;
  const { longestMs, longestClockMs } = await whileWatched(async () => {
    const gone = { isSo: false };
    await Promise.all([
      untilGone(db, "million").then(() => {
        gone.isSo = true;
        goneMs = Date.now() - dueMs - DUE_WITHIN_MS;
      }),
      again(gone, puts, (i) => db.put(`other-${i % 1000}`, VALUE)),
      again(gone, gets, (i) => db.get(`other-${i % 1000}`)),
    ]);
  });
  const [put, get] = [latencies(puts, 1), latencies(gets, 1)];
  const heldMs = Math.max(put.maxUs, get.maxUs, longestMs * 1000) / 1000;
  return {
    goal: "expiry",
    work: `${where}: 1M keys due within 1 s, ${puts.length} puts and ${gets.length} gets meanwhile`,
    ours: `longest put ${ms(put.maxUs)}, get ${ms(get.maxUs)}, turn ${longestMs.toFixed(1)} ms (${longestClockMs.toFixed(1)} by the clock); put p99 ${ms(put.p99Us)}; all gone ${goneMs} ms after the last was due`,
    other: floor === null ? "" : `raw sync just before: longest ${ms(floor.maxUs)}`,
    ratio: "",
    demand: `at most ${HELD_MS} ms`,
    holds: heldMs <= HELD_MS,
  };
}

async function steadily(db: HarmonyDB, where: string): Promise<Row> {
  const count = STEADY_PER_SECOND * STEADY_SECONDS;
  const dueMs = Date.now() + 10_000;
  const late: number[] = [];
  const watching = db.watch({ prefix: "steady" }, { only: "delete", prev: true });
  await load(db, "steady", count, dueMs, STEADY_SECONDS * 1000);
  for await (const { events } of watching) {
    const nowMs = Date.now();
    for (const { prev } of events) late.push(nowMs - (prev?.expiresAt ?? 0));
    if (late.length === count) break;
  }
  // Milliseconds in the place of microseconds: what is asked for is the order of them.
  const { p50Us: p50, p99Us: p99, maxUs: max } = latencies(late, 1);
  return {
    goal: "expiry",
    work: `${where}: 10,000 keys due a second, from the deadline to the watcher`,
    ours: `p50 ${p50} ms, p99 ${p99} ms, latest ${max} ms`,
    other: "",
    ratio: "",
    demand: `at most ${LATE_MS} ms`,
    holds: max <= LATE_MS,
  };
}

/** Sets `count` keys that are due evenly within `withinMs` from `dueMs` on, in an order that is not that of the keys. */
async function load(
  db: HarmonyDB,
  prefix: string,
  count: number,
  dueMs: number,
  withinMs: number,
): Promise<void> {
  const perRecord = 1_000;
  for (let from = 0; from < count; from += perRecord) {
    const items = Array.from({ length: perRecord }, (_, i) => {
      const number = ((from + i) * 7919) % count;
      return [`${prefix}-${String(number).padStart(9, "0")}`, VALUE] as const;
    });
    const ttlMs = dueMs + Math.floor((from / count) * withinMs) - Date.now();
    if (ttlMs < 1) throw new Error("loading takes longer than the time until the first key is due");
    await db.putMany(items, { ttlMs });
  }
}

async function untilGone(db: HarmonyDB, prefix: string): Promise<void> {
  while ((await db.scan({ prefix }).count()) > 0) await sleep(10);
}

async function again(
  gone: { readonly isSo: boolean },
  samplesUs: number[],
  ask: (i: number) => Promise<unknown>,
): Promise<void> {
  for (let i = 0; !gone.isSo; i++) {
    const before = nowUs();
    await ask(i);
    samplesUs.push(nowUs() - before);
    // Millions of gets would measure the keeping of their samples.
    await sleep(1);
  }
}

function ms(us: number): string {
  return `${(us / 1000).toFixed(1)} ms`;
}
