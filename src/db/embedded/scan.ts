/**
 * Scans: a first page as any read, and if there is more, the rest page by page from the state that the first one was
 * read from. Between two pages the event loop has a turn.
 */
import { assert, HarmonyError, text } from "../../base/index.ts";
import type { CallOptions } from "../database.ts";
import type { KeyValue, RangeRequest } from "../requests.ts";
import type { Entry, Scan } from "./api.ts";
import type { Link } from "./link.ts";
import { PageItems, type Pages } from "./page-items.ts";
import { type Bounds, type Space, successor } from "./space.ts";
import type { Rest, State } from "./state.ts";

/** Few, since values may be long; what is left is read with an eye on its bytes. */
const FIRST_PAGE_KEYS = 32;
const BACKWARD_PAGE_KEYS = 64;

/** What a scan reads, as its caller wrote it at the call. */
export interface ScanPlan {
  /** Of a point: the range is put in. */
  readonly request: RangeRequest;
  readonly bounds: Bounds;
  readonly call: CallOptions;
  /** A state to read from instead; it stays pinned afterwards. */
  readonly state: State | null;
}

export class StoreScan<V> implements Scan<V> {
  readonly #link: Link;
  readonly #space: Space<V, never>;
  readonly #plan: () => ScanPlan;

  /** `plan` throws what was wrong with the arguments. */
  constructor(link: Link, space: Space<V, never>, plan: () => ScanPlan) {
    this.#link = link;
    this.#space = space;
    this.#plan = plan;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Entry<V>, void, undefined> {
    const space = this.#space;
    return new PageItems(
      () => pagesOf(this.#link, this.#plan(), false),
      (kv: KeyValue) => space.entry(kv),
    );
  }

  keys(): AsyncGenerator<string, void, undefined> {
    const space = this.#space;
    return new PageItems(
      () => pagesOf(this.#link, this.#plan(), true),
      ({ key }: KeyValue) => text(space.outer(key)),
    );
  }

  async all(): Promise<Entry<V>[]> {
    const entries: Entry<V>[] = [];
    for await (const page of pagesOf(this.#link, this.#plan(), false))
      for (const kv of page) entries.push(this.#space.entry(kv));
    return entries;
  }

  async count(): Promise<number> {
    const { request, bounds, call, state } = this.#plan();
    if (bounds.isEmpty) return 0;
    const { from, to, limit = Number.POSITIVE_INFINITY } = bounds;
    assertNotAborted(call);
    if (state !== null) return Math.min(limit, await state.count(bounds));
    const counted = { ...request, key: from, rangeEnd: to, countOnly: true };
    return Math.min(limit, (await this.#link.range(counted, call)).count);
  }
}

/** The pages of a scan. Whoever leaves early lets go of the state, too. */
async function* pagesOf(link: Link, plan: ScanPlan, keysOnly: boolean): Pages<KeyValue> {
  const { bounds, call, request } = plan;
  const { reverse, limit = Number.POSITIVE_INFINITY } = bounds;
  if (bounds.isEmpty) return;
  if (plan.state !== null) {
    yield* pagesFrom(link, plan.state, { call, keysOnly, reverse, rest: bounds, left: limit });
    return;
  }
  // Of an older revision a request would count the whole range, key by key, before it gave the first of them.
  const isRead = request.revision === 0;
  const first = isRead
    ? {
        ...request,
        key: bounds.from,
        rangeEnd: bounds.to,
        limit: Math.min(FIRST_PAGE_KEYS, limit),
        sortOrder: reverse ? ("descend" as const) : ("none" as const),
        keysOnly,
      }
    : { ...request, key: bounds.from };
  const { response, state } = await link.open(first, call, !isRead);
  try {
    let left = limit;
    let rest: Rest = bounds;
    if (isRead) {
      const { kvs, more } = response;
      left -= kvs.length;
      rest = restAfter(rest, kvs, reverse);
      const isLast = !more || left === 0;
      if (isLast) state?.release();
      if (kvs.length > 0) yield kvs;
      if (isLast) return;
      await link.breathe();
    }
    assert(state !== null, "what is left of a scan is read from a state that is kept");
    yield* pagesFrom(link, state, { call, keysOnly, reverse, rest, left });
  } finally {
    state?.release();
  }
}

/** What is left of a scan. */
interface Left {
  readonly call: CallOptions;
  readonly keysOnly: boolean;
  readonly reverse: boolean;
  readonly rest: Rest;
  readonly left: number;
}

async function* pagesFrom(link: Link, state: State, scan: Left): Pages<KeyValue> {
  if (scan.reverse && !state.isLatest) {
    yield* backwards(link, state, scan);
    return;
  }
  let { rest, left } = scan;
  while (left > 0) {
    assertNotAborted(scan.call);
    const { kvs, more } = await state.page(rest, scan.reverse, scan.keysOnly, left);
    left -= kvs.length;
    rest = restAfter(rest, kvs, scan.reverse);
    if (kvs.length > 0) yield kvs;
    if (!more) return;
    await link.breathe();
  }
}

/** Through the keys once forwards, to learn where each page begins; then from the last page to the first. */
async function* backwards(link: Link, state: State, scan: Left): Pages<KeyValue> {
  const { to } = scan.rest;
  const starts: Uint8Array[] = [];
  for (let rest = scan.rest; ;) {
    assertNotAborted(scan.call);
    const { kvs, more } = await state.page(rest, false, true, BACKWARD_PAGE_KEYS);
    if (kvs.length > 0) starts.push(rest.from);
    if (!more) break;
    rest = restAfter(rest, kvs, false);
    await link.breathe();
  }
  let { left } = scan;
  for (let i = starts.length - 1; i >= 0 && left > 0; i--) {
    assertNotAborted(scan.call);
    const found: KeyValue[] = [];
    let rest: Rest = { from: starts[i] as Uint8Array, to: starts[i + 1] ?? to };
    for (let more = true; more;) {
      const page = await state.page(rest, false, scan.keysOnly, BACKWARD_PAGE_KEYS);
      found.push(...page.kvs);
      rest = restAfter(rest, page.kvs, false);
      more = page.more;
    }
    const kvs = found.reverse().slice(0, left);
    left -= kvs.length;
    yield kvs;
    await link.breathe();
  }
}

/** Entries belong to the caller, who may change them: where the rest begins is said before they are given. */
function restAfter(rest: Rest, kvs: readonly KeyValue[], reverse: boolean): Rest {
  const last = kvs[kvs.length - 1];
  if (last === undefined) return rest;
  return reverse
    ? { from: rest.from, to: last.key.slice() }
    : { from: successor(last.key), to: rest.to };
}

function assertNotAborted({ signal }: CallOptions): void {
  if (signal?.aborted === true) throw new HarmonyError("ABORTED");
}
