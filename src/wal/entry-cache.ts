/**
 * One bound for the recent entries of all groups together. The oldest published ones go first, whichever group they
 * belong to. The count is of what was published: entries that were discarded early count until their turn comes.
 */
import type { LogIndex } from "../raft/index.ts";

/** Who holds cached entries. */
interface Cached {
  evictThrough(index: LogIndex): void;
}

interface Batch {
  readonly owner: Cached;
  readonly lastIndex: LogIndex;
  readonly bytes: number;
}

/** What an entry costs besides its data. */
const BATCH_OVERHEAD_BYTES = 128;

export class EntryCache {
  readonly #limitBytes: number;
  #bytes = 0;
  #batches: Batch[] = [];
  #head = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Entries of `owner` up to `lastIndex` have come into its cache. */
  added(owner: Cached, lastIndex: LogIndex, dataBytes: number): void {
    const bytes = dataBytes + BATCH_OVERHEAD_BYTES;
    this.#batches.push({ owner, lastIndex, bytes });
    this.#bytes += bytes;
    while (this.#bytes > this.#limitBytes) {
      const oldest = this.#batches[this.#head++] as Batch;
      this.#bytes -= oldest.bytes;
      oldest.owner.evictThrough(oldest.lastIndex);
    }
    if (this.#head > 64 && this.#head * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#head);
      this.#head = 0;
    }
  }
}
