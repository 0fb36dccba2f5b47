/**
 * A range request against the store, in etcd's order of work (etcd-api.md 2.2.6): fetch, filter by revisions, sort,
 * cut by the limit. The same code serves direct reads and operations of a transaction.
 *
 * No more is read than the answer needs: one lookup for one key; with a limit and in key order only as many keys as
 * are returned; the count from the tree's own counts. A sort by something else than the key has to see every key of
 * the range, but holds no more versions than twice the limit.
 */
import { compareBytes, EMPTY_BYTES, ownBytes } from "../base/index.ts";
import { LATEST, readLeaseId, type RecordView, type Store } from "../mvcc/index.ts";
import type { KeyRange, KeyValue, RangeRequest, RangeResponse, SortTarget } from "./requests.ts";

/** The upper end of the range for the store: undefined means none. Not for the range of a single key. */
export function upperEnd(range: KeyRange): Uint8Array | undefined {
  return range.rangeEnd.length === 1 && range.rangeEnd[0] === 0 ? undefined : range.rangeEnd;
}

export function isSingleKey(range: KeyRange): boolean {
  return range.rangeEnd.length === 0;
}

/** A version as the caller keeps it: a copy. */
export function toKeyValue(key: Uint8Array, record: RecordView, keysOnly: boolean): KeyValue {
  const { deadlineMs, isLock } = record;
  const plain: KeyValue = {
    key: ownBytes(key),
    value: keysOnly ? EMPTY_BYTES : record.copyOfValue(),
    createRevision: record.createRevision,
    modRevision: record.modRevision,
    version: record.version,
    lease: record.lease === null ? 0n : readLeaseId(record.lease),
  };
  if (deadlineMs === 0) return plain;
  return isLock ? { ...plain, deadlineMs, isLock } : { ...plain, deadlineMs };
}

/** Answers a range whose revision is readable: `store.revisionError` said so. */
export function readRange(store: Store, request: RangeRequest): RangeResponse {
  return isSingleKey(request) ? readKey(store, request) : readKeys(store, request);
}

function readKey(store: Store, request: RangeRequest): RangeResponse {
  const record = store.view.find(request.key, revisionOf(request));
  const isShown = record !== undefined && !request.countOnly && passesFilters(record, request);
  return {
    kind: "range",
    revision: store.revisionInTxn,
    kvs: isShown ? [toKeyValue(request.key, record, request.keysOnly)] : [],
    more: false,
    count: record === undefined ? 0 : 1,
  };
}

function readKeys(store: Store, request: RangeRequest): RangeResponse {
  const { view, revisionInTxn: revision } = store;
  const { key } = request;
  const end = upperEnd(request);
  const at = revisionOf(request);
  const isCounted = request.uncounted !== true || request.countOnly;
  const count = isCounted ? view.count(key, end, at) : 0;
  if (isCounted && (count === 0 || request.countOnly))
    return { kind: "range", revision, kvs: [], more: false, count };

  const most = isCounted ? count : Number.MAX_SAFE_INTEGER;
  const limit = request.limit > 0 ? Math.min(request.limit, most) : most;
  const isByKey = request.sortTarget === "key";
  const isDescending = request.sortOrder === "descend";
  // History has no way backwards, so an old revision is read forwards and turned round.
  const isBackwards = isByKey && isDescending && at === LATEST;
  const isInOrder = isByKey && (!isDescending || isBackwards);
  const answer = isInOrder ? new InOrder(request, limit) : new Sorted(request, limit);
  if (isBackwards) view.scanBackwards(key, end, answer.visit);
  else view.scan(key, end, at, answer.visit);
  return { kind: "range", revision, kvs: answer.finish(), more: answer.passed > limit, count };
}

function revisionOf(request: RangeRequest): number {
  return request.revision > 0 ? request.revision : LATEST;
}

function passesFilters(record: RecordView, request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const { modRevision, createRevision } = record;
  return (
    (maxModRevision === 0 || modRevision <= maxModRevision) &&
    (minModRevision === 0 || modRevision >= minModRevision) &&
    (maxCreateRevision === 0 || createRevision <= maxCreateRevision) &&
    (minCreateRevision === 0 || createRevision >= minCreateRevision)
  );
}

/** Takes versions in the order in which they are shown. */
class InOrder {
  readonly #request: RangeRequest;
  readonly #limit: number;
  readonly #kvs: KeyValue[] = [];
  /** How many came through the filters; not counted beyond one more than the limit. */
  passed = 0;

  constructor(request: RangeRequest, limit: number) {
    this.#request = request;
    this.#limit = limit;
  }

  readonly visit = (key: Uint8Array, record: RecordView): boolean => {
    if (!passesFilters(record, this.#request)) return true;
    this.passed++;
    if (this.passed > this.#limit) return false;
    this.#kvs.push(toKeyValue(key, record, this.#request.keysOnly));
    return true;
  };

  finish(): readonly KeyValue[] {
    return this.#kvs;
  }
}

/** What versions are sorted by; records and their copies have it alike. */
type Sortable = Pick<KeyValue, "version" | "createRevision" | "modRevision" | "value">;

/**
 * Takes versions in key order and keeps the first `limit` of the sorted order. Ties stay in key order, ascending and
 * descending alike: the sort is stable, and what comes later loses a tie.
 */
class Sorted {
  readonly #request: RangeRequest;
  readonly #limit: number;
  readonly #sign: number;
  #kvs: KeyValue[] = [];
  /** With `limit` versions at or before it, what is not before it need not be kept. */
  #worst: KeyValue | null = null;
  /** How many came through the filters. */
  passed = 0;

  constructor(request: RangeRequest, limit: number) {
    this.#request = request;
    this.#limit = limit;
    this.#sign = request.sortOrder === "descend" ? -1 : 1;
  }

  readonly visit = (key: Uint8Array, record: RecordView): boolean => {
    const { sortTarget, keysOnly } = this.#request;
    if (!passesFilters(record, this.#request)) return true;
    this.passed++;
    const isBehind =
      this.#worst !== null && sortTarget !== "key" && this.#compare(record, this.#worst) >= 0;
    if (isBehind) return true;
    this.#kvs.push(toKeyValue(key, record, keysOnly && sortTarget !== "value"));
    if (this.#kvs.length >= 2 * this.#limit) this.#cut();
    return true;
  };

  finish(): readonly KeyValue[] {
    this.#cut();
    const { keysOnly, sortTarget } = this.#request;
    if (!keysOnly || sortTarget !== "value") return this.#kvs;
    return this.#kvs.map((kv) => ({ ...kv, value: EMPTY_BYTES }));
  }

  #cut(): void {
    if (this.#request.sortTarget === "key")
      this.#kvs.sort((a, b) => this.#sign * compareBytes(a.key, b.key));
    else this.#kvs.sort((a, b) => this.#compare(a, b));
    if (this.#kvs.length < this.#limit) return;
    this.#kvs = this.#kvs.slice(0, this.#limit);
    this.#worst = this.#kvs[this.#limit - 1] as KeyValue;
  }

  #compare(a: Sortable, b: Sortable): number {
    return this.#sign * compareBy(this.#request.sortTarget, a, b);
  }
}

function compareBy(target: SortTarget, a: Sortable, b: Sortable): number {
  switch (target) {
    case "version":
      return a.version - b.version;
    case "create":
      return a.createRevision - b.createRevision;
    case "mod":
      return a.modRevision - b.modRevision;
    case "value":
      return compareBytes(a.value, b.value);
    case "key":
      // A version does not know its key; whoever sorts by key compares the keys.
      return 0;
  }
}
