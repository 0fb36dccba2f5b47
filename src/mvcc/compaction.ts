/**
 * Removing what compaction made unreachable, a bounded slice at a time. The compact revision C itself is set at once
 * by the command, and reads below it are refused from then on; what this file does to the trees cannot be seen and may
 * differ between replicas.
 *
 * What goes: a version that was superseded at or before C and is older than C; a tombstone older than C; an event
 * older than C. What was written at C itself stays, so that a watch may start there. Nothing is searched for: each
 * event names the version that it superseded. So the work is one step for each event up to C, in the order in which
 * they happened, and removing the events is the progress that survives a restart. Events at C are looked at and kept;
 * a restart in their middle looks at them again, which removes nothing twice.
 */
import { ByteReader, ByteWriter, utf8 } from "../base/index.ts";
import type { Cursor, Engine, Tree } from "../btree/index.ts";
import { EventView } from "./event.ts";
import { EventKeys, eventRevision, eventSub, HistoryKeys } from "./tree-keys.ts";
import { Trees } from "./trees.ts";

const NAME: Uint8Array = utf8("compaction");

export class Compaction {
  readonly #history: Tree;
  readonly #events: Tree;
  readonly #meta: Tree;
  readonly #cursor: Cursor;
  readonly #event = new EventView();
  readonly #eventKeys = new EventKeys();
  readonly #historyKeys = new HistoryKeys();
  /** Everything that a compaction to here makes unreachable has been removed. */
  #doneRevision: number;
  /** What the slices so far compacted to. */
  #target = 0;
  /** Where the next slice goes on. */
  #nextRevision = 0;
  #nextSub = 0;

  constructor(engine: Engine) {
    this.#history = engine.tree(Trees.history);
    this.#events = engine.tree(Trees.events);
    this.#meta = engine.tree(Trees.meta);
    this.#cursor = this.#events.cursor();
    const stored = this.#meta.get(NAME);
    this.#doneRevision = stored === undefined ? 0 : new ByteReader(stored).varint();
  }

  isBehind(compactRevision: number): boolean {
    return this.#doneRevision < compactRevision;
  }

  /** Looks at no more than `maxEvents` events. True when some are left. */
  slice(compactRevision: number, maxEvents: number): boolean {
    if (!this.isBehind(compactRevision)) return false;
    if (compactRevision !== this.#target) {
      // What was kept because it stood at the old target is to be looked at again.
      this.#target = compactRevision;
      this.#nextRevision = 0;
      this.#nextSub = 0;
    }
    const revisions: number[] = [];
    const subs: number[] = [];
    let isLeft = this.#cursor.seek(this.#eventKeys.at(this.#nextRevision, this.#nextSub));
    for (let budget = maxEvents; isLeft; budget--) {
      const { key } = this.#cursor;
      const revision = eventRevision(key);
      const sub = eventSub(key);
      if (revision > compactRevision) {
        isLeft = false;
        break;
      }
      this.#nextRevision = revision;
      this.#nextSub = sub;
      if (budget <= 0) break;
      this.#removeObsolete(revision, sub, compactRevision);
      if (revision < compactRevision) {
        revisions.push(revision);
        subs.push(sub);
      }
      isLeft = this.#cursor.next();
    }
    for (let i = 0; i < revisions.length; i++) {
      this.#events.delete(this.#eventKeys.at(revisions[i] as number, subs[i] as number));
    }
    if (!isLeft) this.#finish(compactRevision);
    return isLeft;
  }

  /** Takes the versions away that the event under the cursor made unreachable. */
  #removeObsolete(revision: number, sub: number, compactRevision: number): void {
    const event = this.#event.read(this.#cursor.value);
    const historyKeys = this.#historyKeys.hold(event.key);
    if (event.previousRevision > 0 && event.previousRevision < compactRevision) {
      this.#history.delete(historyKeys.version(event.previousRevision, event.previousSub));
    }
    if (event.isDelete && revision < compactRevision) {
      this.#history.delete(historyKeys.version(revision, sub));
    }
  }

  #finish(compactRevision: number): void {
    this.#doneRevision = compactRevision;
    const out = new ByteWriter(8);
    out.varint(compactRevision);
    this.#meta.put(NAME, out.view());
  }
}
