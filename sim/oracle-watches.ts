/**
 * What a watcher must be told: from where it began everything that it watches, whole revisions in their order, each
 * once; or that it was compacted away, never less and never more.
 */
import type { KeyRange, WatchEvent, WatchNews, WatchRequest } from "../src/db/index.ts";
import { type KvModel, keyText } from "./model.ts";
import { difference } from "./violation.ts";

/** A watcher, and up to where it was told everything. */
export interface Watched {
  readonly request: WatchRequest;
  /** The first revision that it has not heard of. */
  readonly next: number;
}

/** Why this is not what the watcher must be told, or null. */
export function watchMismatch(
  model: KvModel,
  { request, next }: Watched,
  news: WatchNews | null,
  through: number,
  compactRevision: number,
): string | null {
  if (news?.kind === "compacted") {
    if (news.compactRevision <= next)
      return `compacted to ${news.compactRevision} is no reason for who waits for ${next}`;
    // Without history the memory of those who watch is all there is.
    return news.compactRevision <= (model.keepsHistory ? compactRevision : through + 1)
      ? null
      : `compacted to ${news.compactRevision}, but the database says ${compactRevision}`;
  }
  if (news?.kind === "failed") return null;
  const events = news?.events ?? [];
  const expected = model
    .eventsOf(next, through)
    .filter((event) => isWatched(request, event))
    .map((event) => asAskedFor(request, event));
  const shared = Math.min(events.length, expected.length);
  for (let i = 0; i < shared; i++) {
    const found = eventMismatch(
      events[i] as WatchEvent,
      expected[i] as WatchEvent,
      compactRevision,
    );
    if (found !== null) return `event ${i}: ${found}`;
  }
  if (events.length === expected.length) return null;
  const other = (events[shared] ?? expected[shared]) as WatchEvent;
  return `${events.length} events from ${next} to ${through}, not ${expected.length}: ${other.type} of ${keyText(other.kv.key)} at ${other.kv.modRevision}`;
}

function eventMismatch(
  event: WatchEvent,
  expected: WatchEvent,
  compactRevision: number,
): string | null {
  // At the compact revision nobody can read any more what was before.
  const isUnreadable = expected.kv.modRevision <= compactRevision && event.prevKv === null;
  return difference(event, isUnreadable ? { ...expected, prevKv: null } : expected);
}

function asAskedFor({ prevKv }: WatchRequest, event: WatchEvent): WatchEvent {
  return prevKv ? event : { ...event, prevKv: null };
}

function isWatched({ noPut, noDelete, ...range }: WatchRequest, { type, kv }: WatchEvent): boolean {
  return !(type === "put" ? noPut : noDelete) && isIn(range, keyText(kv.key));
}

function isIn({ key: from, rangeEnd }: KeyRange, key: string): boolean {
  if (rangeEnd.length === 0) return key === keyText(from);
  const isOpen = rangeEnd.length === 1 && rangeEnd[0] === 0;
  return key >= keyText(from) && (isOpen || key < keyText(rangeEnd));
}
