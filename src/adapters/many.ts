/** Many writes at once, in as few revisions as the commands of the database take. */
import type { Key, Store, Value } from "../index.ts";

/** What one command sets or deletes at most. */
const MANY_MAX = 10_000;
/** A third of what a request may have by default: more is sent in pieces. */
const PIECE_BYTES: number = 512 * 1024;

/** A key with its value and its end. */
export interface Item {
  readonly key: string;
  readonly value: Value;
  /** Whole milliseconds from 1; undefined for no end. */
  readonly ttlMs: number | undefined;
}

/** The items in pieces that one command takes. An item that is too large by itself is a piece by itself. */
export function* chunksOf<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
): Generator<readonly T[]> {
  let from = 0;
  let sizeBytes = 0;
  for (let to = 0; to < items.length; to++) {
    const size = sizeOf(items[to] as T);
    if (to > from && (to - from === MANY_MAX || sizeBytes + size > PIECE_BYTES)) {
      yield items.slice(from, to);
      from = to;
      sizeBytes = 0;
    }
    sizeBytes += size;
  }
  if (from < items.length) yield items.slice(from);
}

/**
 * Puts the items; the last one of a key counts. Items with the same end, up to 10,000 and half a mebibyte, are one
 * revision: all of them are there or none.
 */
export async function putAll(db: Store, items: readonly Item[]): Promise<void> {
  const last = new Map<string, Item>(items.map((item) => [item.key, item]));
  const byEnd = new Map<number | undefined, (readonly [Key, Value])[]>();
  for (const { key, value, ttlMs } of last.values()) {
    const group = byEnd.get(ttlMs) ?? [];
    group.push([key, value]);
    byEnd.set(ttlMs, group);
  }
  const writes = [...byEnd].flatMap(([ttlMs, group]) =>
    Array.from(
      chunksOf(group, ([key, value]) => bytesIn(key) + bytesIn(value)),
      (chunk) => db.putMany(chunk, { ttlMs }),
    ),
  );
  await Promise.all(writes);
}

/** Deletes the keys, in pieces that one command takes, and tells which of them were there. */
export async function deleteAll(db: Store, keys: readonly Key[]): Promise<number> {
  let deleted = 0;
  for (const chunk of chunksOf(keys, bytesIn)) deleted += (await db.delMany(chunk)).deleted;
  return deleted;
}

function bytesIn(text: Value): number {
  return typeof text === "string" ? Buffer.byteLength(text) : text.length;
}
