/**
 * What somebody heard who watches every key of a database. Keys and leases end when the database says so, at a place
 * in the order that nobody else can name; the witness names it. What it says is taken for no more than a claim: each
 * change must be what a command of the model does at that revision, or the end of what was due.
 */
import type { WatchEvent } from "../src/db/index.ts";

const NOTHING: readonly WatchEvent[] = [];

export class Witness {
  readonly #changes = new Map<number, readonly WatchEvent[]>();
  /** It knows the revisions from here on... */
  #from = Number.POSITIVE_INFINITY;
  /** ...up to here. */
  #through = 0;

  copy(): Witness {
    const copy = new Witness();
    for (const [revision, changes] of this.#changes) copy.#changes.set(revision, changes);
    copy.#from = this.#from;
    copy.#through = this.#through;
    return copy;
  }

  /** The changes of a revision, in their order, or null when it was not heard of. */
  at(revision: number): readonly WatchEvent[] | null {
    if (revision < this.#from || revision > this.#through) return null;
    return this.#changes.get(revision) ?? NOTHING;
  }

  /** Forgets everything and listens again, from this revision on. */
  restart(from: number): void {
    this.#changes.clear();
    this.#from = from;
    this.#through = from - 1;
  }

  heard(events: readonly WatchEvent[], through: number): void {
    for (const event of events) {
      const revision = event.kv.modRevision;
      // Copies share the lists.
      this.#changes.set(revision, [...(this.#changes.get(revision) ?? NOTHING), event]);
    }
    this.#through = Math.max(this.#through, through);
  }
}
