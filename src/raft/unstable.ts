/**
 * The end of the log that is not known to be durable here.
 *
 *     durable            handed out in a Ready       not handed out
 *   ... 4  5  6  |  7  8  9  10  11  |  12  13
 *                  ^ offset             ^ handed
 *
 * Several Readys may be on their way to the disk, and a conflict may replace entries that an earlier Ready wrote. So
 * an entry is durable only when the last Ready that wrote its index is. Comparing index and term cannot tell: (7,1)
 * may be replaced by (7,2) and, under a third leader, by (7,1) again; the first write then says nothing of the third.
 *
 * A snapshot takes the place of everything: the log goes on directly after it, and until it is durable here the
 * storage still shows a log that is none of this one's business.
 */
import { assert, verify } from "../base/index.ts";
import type { Entry, LogIndex, SnapshotMeta, Term } from "./types.ts";

/** A Ready whose entries are on their way: it is the last writer of what it wrote, up to `last`. */
interface Write {
  readonly readyNumber: number;
  last: LogIndex;
}

/**
 * Invariants: entries[i].index = offset + i. Everything below offset is durable and readable in the storage.
 * offset <= handed <= offset + entries.length. Over the writes, `last` never falls, and the newest write that the log
 * has not been cut into since ends at handed - 1. While a snapshot is not durable, offset is the index after it, and
 * nothing below offset is readable in the storage.
 */
export class Unstable {
  #offset: LogIndex;
  #handed: LogIndex;
  readonly #entries: Entry[] = [];
  readonly #writes: Write[] = [];
  #snapshot: SnapshotMeta | null = null;
  /** The Ready that carries the snapshot; 0 while none does. */
  #snapshotReady = 0;

  constructor(offset: LogIndex) {
    this.#offset = offset;
    this.#handed = offset;
  }

  /** The first index that is not known to be durable. */
  get offset(): LogIndex {
    return this.#offset;
  }

  get lastIndex(): LogIndex {
    return this.#offset + this.#entries.length - 1;
  }

  get hasUnhanded(): boolean {
    return this.#handed <= this.lastIndex;
  }

  /** The snapshot that the log begins after and that is not durable yet. */
  get snapshot(): SnapshotMeta | null {
    return this.#snapshot;
  }

  get hasUnhandedSnapshot(): boolean {
    return this.#snapshot !== null && this.#snapshotReady === 0;
  }

  term(index: LogIndex): Term {
    const entry = this.#entries[index - this.#offset];
    assert(entry !== undefined, "an unstable term is asked for within the unstable entries");
    return entry.term;
  }

  /** Entries [low, high), both within the unstable part; as many as fit into `maxBytes`, `minCount` at least. */
  slice(low: LogIndex, high: LogIndex, maxBytes: number, minCount: number): Entry[] {
    assert(low >= this.#offset && high <= this.lastIndex + 1, "an unstable slice lies within");
    const out: Entry[] = [];
    let bytes = 0;
    for (let at = low - this.#offset; at < high - this.#offset; at++) {
      const entry = this.#entries[at] as Entry;
      bytes += entry.data.length;
      if (bytes > maxBytes && out.length >= minCount) break;
      out.push(entry);
    }
    return out;
  }

  /** A leader extends its own log. */
  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, "a leader only appends");
    this.#entries.push(entry);
  }

  /** Entries from `from` on replace everything at and after the index of the first of them. */
  replace(entries: readonly Entry[], from: number): void {
    const first = (entries[from] as Entry).index;
    assert(first >= 1 && first <= this.lastIndex + 1, "new entries leave no gap");
    this.#cut(first);
    for (let i = from; i < entries.length; i++) this.#entries.push(entries[i] as Entry);
  }

  /** Hands out what no Ready has carried yet. */
  take(readyNumber: number): readonly Entry[] {
    const out = this.#entries.slice(this.#handed - this.#offset);
    assert(out.length > 0, "there is something to hand out");
    this.#handed = this.lastIndex + 1;
    this.#writes.push({ readyNumber, last: this.lastIndex });
    return out;
  }

  /** Everything gives way to a snapshot. What earlier Readys still write is of no meaning any more. */
  restore(snapshot: SnapshotMeta): void {
    this.#snapshot = snapshot;
    this.#snapshotReady = 0;
    this.#entries.length = 0;
    this.#writes.length = 0;
    this.#offset = snapshot.index + 1;
    this.#handed = this.#offset;
  }

  takeSnapshot(readyNumber: number): SnapshotMeta {
    const snapshot = this.#snapshot;
    assert(snapshot !== null && this.#snapshotReady === 0, "there is a snapshot to hand out");
    this.#snapshotReady = readyNumber;
    return snapshot;
  }

  /** All Readys up to `readyNumber` are durable. */
  persisted(readyNumber: number): void {
    if (this.#snapshotReady > 0 && this.#snapshotReady <= readyNumber) {
      this.#snapshot = null;
      this.#snapshotReady = 0;
    }
    let done = 0;
    let stable = this.#offset - 1;
    for (const write of this.#writes) {
      if (write.readyNumber > readyNumber) break;
      stable = Math.max(stable, write.last);
      done++;
    }
    if (done === 0) return;
    this.#writes.copyWithin(0, done);
    this.#writes.length -= done;
    assert(stable < this.#handed, "only what was handed out can be durable");
    const count = stable + 1 - this.#offset;
    if (count === 0) return;
    this.#entries.copyWithin(0, count);
    this.#entries.length -= count;
    this.#offset += count;
  }

  invariants(): void {
    assert(this.#offset <= this.#handed, "offset <= handed");
    assert(this.#handed <= this.lastIndex + 1, "nothing is handed out that is not there");
    assert(
      this.#snapshot === null || this.#offset === this.#snapshot.index + 1,
      "nothing is durable beyond a snapshot that is not",
    );
    verify(() => {
      for (let i = 0; i < this.#entries.length; i++) {
        assert(this.#entries[i]?.index === this.#offset + i, "unstable entries stand in a row");
      }
      let last = 0;
      for (const write of this.#writes) {
        assert(write.last >= last && write.last < this.#handed, "writes stand in order");
        last = write.last;
      }
    });
  }

  /** Drops `first` and all after it. Readys on their way are no longer the last to write these indexes. */
  #cut(first: LogIndex): void {
    if (first < this.#offset) {
      assert(this.#snapshot === null, "what a snapshot covers is not written again");
      this.#entries.length = 0;
      this.#offset = first;
    } else {
      this.#entries.length = first - this.#offset;
    }
    this.#handed = Math.min(this.#handed, first);
    for (const write of this.#writes) write.last = Math.min(write.last, first - 1);
  }
}
