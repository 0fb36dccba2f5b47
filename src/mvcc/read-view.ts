/**
 * Reading the store at a revision: one key, a range in order, how many keys a range has.
 *
 * The latest state stands in `keys` alone. At an older revision R a key shows its newest version not newer than R:
 * the current one if that is old enough, otherwise the one found in `history` by one search, so that a key with
 * thousands of versions costs no more than one with two.
 *
 * Nothing is copied here: keys and records are views, good until the next call or the next change of the store. The
 * caller has checked that the revision is readable (see Store.revisionError).
 */
import { compareBytes, EMPTY_BYTES } from "../base/index.ts";
import type { Cursor, ReadTree, TreeId } from "../btree/index.ts";
import { EventView } from "./event.ts";
import { RecordView } from "./record.ts";
import { EventKeys, HistoryKeys } from "./tree-keys.ts";
import { Trees } from "./trees.ts";

/** Stands for the newest state, with the changes of the transaction that is being applied. */
export const LATEST = 0;

/** Is shown a key and its version; true asks for the next. Views. */
export type Visit = (key: Uint8Array, record: RecordView) => boolean;

/** Trees to read from: an engine's own, or those of a pinned version. */
export interface TreeSource {
  tree(id: TreeId): ReadTree;
}

export class ReadView {
  readonly #keys: ReadTree;
  readonly #events: ReadTree;
  readonly #keysCursor: Cursor;
  readonly #historyCursor: Cursor;
  readonly #eventsCursor: Cursor;
  readonly #record = new RecordView();
  readonly #event = new EventView();
  readonly #historyKeys = new HistoryKeys();
  readonly #eventKeys = new EventKeys();

  constructor(source: TreeSource) {
    this.#keys = source.tree(Trees.keys);
    this.#events = source.tree(Trees.events);
    this.#keysCursor = this.#keys.cursor();
    this.#historyCursor = source.tree(Trees.history).cursor();
    this.#eventsCursor = this.#events.cursor();
  }

  /** The version of `key` at `revision`, or undefined when it is absent there. */
  find(key: Uint8Array, revision: number): RecordView | undefined {
    const current = this.#keys.get(key);
    if (current !== undefined) {
      const record = this.#record.read(current);
      if (revision === LATEST || record.modRevision <= revision) return record;
    } else if (revision === LATEST) {
      return undefined;
    }
    return this.#findInHistory(key, revision);
  }

  /** Visits the keys of [from, to) in order; `to` undefined means no upper end. */
  scan(from: Uint8Array, to: Uint8Array | undefined, revision: number, visit: Visit): void {
    if (revision === LATEST) this.#scanLatest(from, to, visit);
    else this.#scanAt(from, to, revision, visit);
  }

  /** Visits the latest versions of the keys of [from, to) from the last to the first. */
  scanBackwards(from: Uint8Array, to: Uint8Array | undefined, visit: Visit): void {
    const cursor = this.#keysCursor;
    let isThere = to === undefined ? cursor.last() : cursor.seekBefore(to);
    while (isThere) {
      const { key } = cursor;
      if (compareBytes(key, from) < 0 || !visit(key, this.#record.read(cursor.value))) return;
      isThere = cursor.previous();
    }
  }

  /** How many keys [from, to) has at `revision`. */
  count(from: Uint8Array, to: Uint8Array | undefined, revision: number): number {
    if (to !== undefined && compareBytes(from, to) >= 0) return 0;
    const latest = this.#keys.countRange(from, to);
    if (revision === LATEST) return latest;
    // Either undo what happened since, or walk the range, whichever is less to look at.
    const since = this.#events.countRange(this.#eventKeys.at(revision + 1, 0), undefined);
    if (since <= latest) return latest - this.#keysGainedSince(revision, from, to);
    let count = 0;
    this.#scanAt(from, to, revision, () => {
      count++;
      return true;
    });
    return count;
  }

  #findInHistory(key: Uint8Array, revision: number): RecordView | undefined {
    const cursor = this.#historyCursor;
    const historyKeys = this.#historyKeys.hold(key);
    if (!cursor.seekBefore(historyKeys.version(revision + 1, 0))) return undefined;
    if (!historyKeys.isVersion(cursor.key)) return undefined;
    const record = this.#record.read(cursor.value);
    return record.isTombstone ? undefined : record;
  }

  #scanLatest(from: Uint8Array, to: Uint8Array | undefined, visit: Visit): void {
    const cursor = this.#keysCursor;
    for (let isThere = cursor.seek(from); isThere; isThere = cursor.next()) {
      const { key } = cursor;
      if (to !== undefined && compareBytes(key, to) >= 0) return;
      if (!visit(key, this.#record.read(cursor.value))) return;
    }
  }

  /** Merges `keys` and `history`, both in key order. A key may stand in one of them or in both. */
  #scanAt(from: Uint8Array, to: Uint8Array | undefined, revision: number, visit: Visit): void {
    const current = this.#keysCursor;
    const history = this.#historyCursor;
    const historyKeys = this.#historyKeys;
    let hasCurrent = current.seek(from);
    let hasHistory = history.seek(historyKeys.hold(from).lowerBound());
    for (;;) {
      const currentKey = hasCurrent ? current.key : EMPTY_BYTES;
      if (hasCurrent && to !== undefined && compareBytes(currentKey, to) >= 0) hasCurrent = false;
      const historyKey = hasHistory ? historyKeys.userKey(history.key) : EMPTY_BYTES;
      if (hasHistory && to !== undefined && compareBytes(historyKey, to) >= 0) hasHistory = false;
      if (!hasCurrent && !hasHistory) return;

      const order = !hasHistory ? -1 : !hasCurrent ? 1 : compareBytes(currentKey, historyKey);
      const isCurrentOldEnough =
        order <= 0 && this.#record.read(current.value).modRevision <= revision;
      if (isCurrentOldEnough && !visit(currentKey, this.#record)) return;
      if (order >= 0) {
        historyKeys.holdKeyOf(history.key);
        if (!isCurrentOldEnough && history.seekBefore(historyKeys.version(revision + 1, 0))) {
          // A version of a smaller key: this one did not exist yet.
          if (historyKeys.isVersion(history.key)) {
            const record = this.#record.read(history.value);
            if (!record.isTombstone && !visit(historyKeys.userKey(history.key), record)) return;
          }
        }
        hasHistory = history.seek(historyKeys.upperBound());
      }
      if (order <= 0) hasCurrent = current.next();
    }
  }

  /** How many keys of the range came into being after `revision`, less how many were deleted. */
  #keysGainedSince(revision: number, from: Uint8Array, to: Uint8Array | undefined): number {
    const cursor = this.#eventsCursor;
    let gained = 0;
    for (
      let isThere = cursor.seek(this.#eventKeys.at(revision + 1, 0));
      isThere;
      isThere = cursor.next()
    ) {
      const event = this.#event.read(cursor.value);
      if (!event.isDelete && event.previousRevision > 0) continue;
      if (
        compareBytes(event.key, from) < 0 ||
        (to !== undefined && compareBytes(event.key, to) >= 0)
      )
        continue;
      gained += event.isDelete ? -1 : 1;
    }
    return gained;
  }
}
