/**
 * Reading what happened, in order: the `events` tree says which key changed when, the version that a change made stands
 * in `keys` while it is current and in `history` afterwards. For watchers that start in the past or have fallen behind.
 *
 * Only changes from the compact revision on are all there; the caller compares before it reads. Nothing is copied:
 * what is handed out are views, good until the next call or the next change of the store.
 */
import type { Cursor, ReadTree } from "../btree/index.ts";
import { EventView } from "./event.ts";
import type { TreeSource } from "./read-view.ts";
import { RecordView } from "./record.ts";
import { EventKeys, eventRevision, eventSub, HistoryKeys } from "./tree-keys.ts";
import { Trees } from "./trees.ts";

/** Is shown one change; true asks for the next. `change` is a view. */
export type VisitChange = (revision: number, sub: number, change: EventView) => boolean;

export class ChangeReader {
  readonly #keys: ReadTree;
  readonly #history: ReadTree;
  readonly #cursor: Cursor;
  readonly #event = new EventView();
  readonly #record = new RecordView();
  readonly #eventKeys = new EventKeys();
  readonly #historyKeys = new HistoryKeys();

  constructor(source: TreeSource) {
    this.#keys = source.tree(Trees.keys);
    this.#history = source.tree(Trees.history);
    this.#cursor = source.tree(Trees.events).cursor();
  }

  /** Visits the changes of `revision` and later ones, the oldest first. */
  forEach(revision: number, visit: VisitChange): void {
    const cursor = this.#cursor;
    const from = this.#eventKeys.at(revision, 0);
    for (let isThere = cursor.seek(from); isThere; isThere = cursor.next()) {
      const { key } = cursor;
      if (!visit(eventRevision(key), eventSub(key), this.#event.read(cursor.value))) return;
    }
  }

  /** The record of the version of `key` that (revision, sub) made; undefined when it has been compacted away. */
  version(key: Uint8Array, revision: number, sub: number): Uint8Array | undefined {
    const current = this.#keys.get(key);
    if (current !== undefined) {
      const { modRevision, sub: currentSub } = this.#record.read(current);
      if (modRevision === revision && currentSub === sub) return current;
    }
    return this.#history.get(this.#historyKeys.hold(key).version(revision, sub));
  }
}
