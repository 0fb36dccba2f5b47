/**
 * One side of P6 in a process of its own: `<side> <directory>`. It does a piece of work at each message of its parent and
 * answers with the rate, so that the sides can take turns.
 */
import { KEYS, type Piece, type Rate, SLICE_READS } from "./embedded-work.ts";
import { nowUs } from "./measure.ts";
import { type Side, SIDES } from "./peers.ts";
import { randomKeys, randomValues, VALUE_BYTES } from "./random-data.ts";

const WINDOW = 1_000;

const [name, directory] = process.argv.slice(2) as [string, string];
const keys = randomKeys(KEYS, 1);
/** In another order than that of the writes. */
const toRead = Array.from({ length: KEYS }, (_, i) => keys[(i * 7919) % KEYS] as Uint8Array);
const side = await opened();

process.on("message", (piece: Piece) => {
  void perform(piece).then((rate) => {
    // What listens to messages keeps the process alive.
    if (piece.work === "close") process.disconnect();
    else process.send?.(rate);
  });
});
process.send?.("ready");

/** Null: its package is not installed. */
async function opened(): Promise<Side | null> {
  try {
    return await (SIDES[name] as (typeof SIDES)[string]).open(directory);
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    if (code !== "MODULE_NOT_FOUND" && code !== "ERR_MODULE_NOT_FOUND") throw error;
    return null;
  }
}

async function perform(piece: Piece): Promise<Rate> {
  if (side === null) return null;
  switch (piece.work) {
    case "put":
      return put(side);
    case "getSync":
      return getSync(side, sliceOf(piece.slice));
    case "get":
      return side.get === null ? null : get(side.get, sliceOf(piece.slice));
    case "scan":
      return scan(side);
    case "close":
      await side.close();
      return null;
  }
}

/** Every key once, a window at a time. */
async function put(to: Side): Promise<Rate> {
  const values = randomValues(WINDOW, 2);
  const startedUs = nowUs();
  for (let at = 0; at < KEYS; at += WINDOW) await to.putAll(keys.slice(at, at + WINDOW), values);
  return perSecond(KEYS, startedUs);
}

function getSync(from: Side, slice: readonly Uint8Array[]): Rate {
  let missing = 0;
  const startedUs = nowUs();
  for (const key of slice) if (from.getSync(key)?.length !== VALUE_BYTES) missing++;
  return whole(missing, perSecond(slice.length, startedUs));
}

async function get(one: NonNullable<Side["get"]>, slice: readonly Uint8Array[]): Promise<Rate> {
  let missing = 0;
  const startedUs = nowUs();
  for (const key of slice) if ((await one(key))?.length !== VALUE_BYTES) missing++;
  return whole(missing, perSecond(slice.length, startedUs));
}

async function scan(from: Side): Promise<Rate> {
  const startedUs = nowUs();
  const count = await from.scan();
  return whole(KEYS - count, perSecond(count, startedUs));
}

function sliceOf(slice: number): readonly Uint8Array[] {
  return toRead.slice(slice * SLICE_READS, (slice + 1) * SLICE_READS);
}

function perSecond(count: number, startedUs: number): number {
  return (count / (nowUs() - startedUs)) * 1e6;
}

function whole(missing: number, rate: number): Rate {
  if (missing !== 0) throw new Error(`${name}: ${missing} keys were not found`);
  return rate;
}
