/** Configuration changes that were handed out as committed and are neither applied nor refused, in their order. */
import { assert } from "../../base/index.ts";
import { type Entry, EntryType, type LogIndex } from "../types.ts";

export class HandedChanges {
  readonly #entries: Entry[] = [];

  /** Of what was handed out, those that are configuration changes. */
  handOut(entries: readonly Entry[]): void {
    for (const entry of entries) if (entry.type === EntryType.confChange) this.#entries.push(entry);
  }

  /** The next one is applied, or refused. */
  take(entry: Entry): void {
    const [next] = this.#entries;
    assert(
      next !== undefined && next.index === entry.index && next.term === entry.term,
      "configuration changes are applied in their order, each once",
    );
    this.#entries.shift();
  }

  /** They are part of a snapshot. */
  forget(): void {
    this.#entries.length = 0;
  }

  assertAfter(applied: LogIndex): void {
    for (const { index } of this.#entries) {
      assert(
        index > applied,
        "a configuration change is applied or refused before anything after it counts as applied",
      );
    }
  }
}
