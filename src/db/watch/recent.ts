/**
 * The newest changes, in memory, for as long as somebody watches: a watcher that keeps up never reads a tree.
 *
 * Invariants:
 * 1. Changes stand in the order of (revision, sub), each once.
 * 2. Of every revision from `firstRevision` on all changes are here, of an older one none.
 * 3. Bytes that were copied in are never written again, so views of them stay good for whoever holds them.
 */
import { assert, EMPTY_BYTES } from "../../base/index.ts";
import { type DeleteCause, readLeaseId, RecordView } from "../../mvcc/index.ts";
import type { KeyValue } from "../requests.ts";
import type { WatchEvent } from "./watch.ts";

/** Small bytes are copied into memory of this size together: an array of its own costs more than what is in it. */
const CHUNK_BYTES: number = 64 * 1024;
const OWN_ARRAY_BYTES: number = CHUNK_BYTES / 4;
/** What a change costs besides its bytes. */
const CHANGE_BYTES = 250;
/** Gone places at the front are given back when they are so many and half of all. */
const GONE_MIN = 1024;

const view: RecordView = new RecordView();

/** A version of a key, as views of `key` and `record`, which nobody writes to. */
export function keyValueOf(key: Uint8Array, record: Uint8Array): KeyValue {
  const { value, createRevision, modRevision, version, lease, deadlineMs, isLock } =
    view.read(record);
  const plain: KeyValue = {
    key,
    value,
    createRevision,
    modRevision,
    version,
    lease: lease === null ? 0n : readLeaseId(lease),
  };
  if (deadlineMs === 0) return plain;
  return isLock ? { ...plain, deadlineMs, isLock } : { ...plain, deadlineMs };
}

/** What a deletion says of its key. */
export function goneKeyValue(key: Uint8Array, revision: number): KeyValue {
  return {
    key,
    value: EMPTY_BYTES,
    createRevision: 0,
    modRevision: revision,
    version: 0,
    lease: 0n,
  };
}

export class RecentChange {
  readonly revision: number;
  readonly sub: number;
  readonly key: Uint8Array;
  readonly cause: DeleteCause | null;
  readonly sizeBytes: number;
  readonly #record: Uint8Array | null;
  readonly #old: Uint8Array | null;
  // Made for the first who wants them: a thousand watchers of a key share them.
  #event: WatchEvent | null = null;
  #eventWithPrev: WatchEvent | null = null;

  /** `record` null and `cause` set: the key went. */
  constructor(
    revision: number,
    sub: number,
    key: Uint8Array,
    record: Uint8Array | null,
    old: Uint8Array | null,
    cause: DeleteCause | null,
  ) {
    assert((record === null) === (cause !== null), "a key is put or it goes");
    this.revision = revision;
    this.sub = sub;
    this.key = key;
    this.cause = cause;
    this.sizeBytes = CHANGE_BYTES + key.length + (record?.length ?? 0) + (old?.length ?? 0);
    this.#record = record;
    this.#old = old;
  }

  event(withPrev: boolean): WatchEvent {
    this.#event ??= {
      type: this.cause === null ? "put" : "delete",
      kv:
        this.#record === null
          ? goneKeyValue(this.key, this.revision)
          : keyValueOf(this.key, this.#record),
      prevKv: null,
      cause: this.cause,
    };
    if (!withPrev || this.#old === null) return this.#event;
    this.#eventWithPrev ??= { ...this.#event, prevKv: keyValueOf(this.key, this.#old) };
    return this.#eventWithPrev;
  }
}

export class RecentChanges {
  readonly #maxBytes: number;
  #changes: (RecentChange | undefined)[] = [];
  /** Those before it are gone. */
  #from = 0;
  #sizeBytes = 0;
  #chunk: Uint8Array = EMPTY_BYTES;
  #chunkAt = 0;
  #firstRevision = 0;

  /** What it holds after `trim`, in bytes; between two of them at most four times as much. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** All changes of this revision and of later ones are here. */
  get firstRevision(): number {
    return this.#firstRevision;
  }

  get count(): number {
    return this.#changes.length - this.#from;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Forgets everything; the next change that comes is of `revision` or later. */
  startAt(revision: number): void {
    this.#changes = [];
    this.#from = 0;
    this.#sizeBytes = 0;
    this.#chunk = EMPTY_BYTES;
    this.#chunkAt = 0;
    this.#firstRevision = revision;
  }

  /** Copies one change in. Its bytes are views. */
  add(
    revision: number,
    sub: number,
    key: Uint8Array,
    record: Uint8Array | null,
    old: Uint8Array | null,
    cause: DeleteCause | null,
  ): void {
    // The rest of a revision that was too large to be kept.
    if (revision < this.#firstRevision) return;
    const last = this.#changes[this.#changes.length - 1];
    assert(
      last === undefined ||
        last.revision < revision ||
        (last.revision === revision && last.sub < sub),
      "changes come in their order",
    );
    const change = new RecentChange(
      revision,
      sub,
      this.#copy(key),
      record === null ? null : this.#copy(record),
      old === null ? null : this.#copy(old),
      cause,
    );
    this.#changes.push(change);
    this.#sizeBytes += change.sizeBytes;
    if (this.#sizeBytes > 4 * this.#maxBytes) this.trim();
  }

  /** Lets the oldest revisions go until the rest has its size. */
  trim(): void {
    while (this.#sizeBytes > this.#maxBytes) this.#dropRevision();
    if (this.#from < GONE_MIN || this.#from * 2 < this.#changes.length) return;
    this.#changes = this.#changes.slice(this.#from);
    this.#from = 0;
  }

  /**
   * Visits the changes from `revision` on, which is kept, in order; until `visit` wants no more.
   */
  forEach(revision: number, visit: (change: RecentChange) => boolean): void {
    assert(revision >= this.#firstRevision, "the revision is still kept");
    let low = this.#from;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#at(middle).revision < revision) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < this.#changes.length; i++) if (!visit(this.#at(i))) return;
  }

  invariants(): void {
    let sizeBytes = 0;
    for (let i = this.#from; i < this.#changes.length; i++) {
      const change = this.#at(i);
      sizeBytes += change.sizeBytes;
      assert(change.revision >= this.#firstRevision, "of an older revision nothing is kept");
      if (i === this.#from) continue;
      const before = this.#at(i - 1);
      assert(
        before.revision < change.revision ||
          (before.revision === change.revision && before.sub < change.sub),
        "recent changes are in order",
      );
    }
    assert(sizeBytes === this.#sizeBytes, "the bytes are counted");
  }

  #at(i: number): RecentChange {
    return this.#changes[i] as RecentChange;
  }

  #dropRevision(): void {
    const { revision } = this.#at(this.#from);
    while (this.#from < this.#changes.length && this.#at(this.#from).revision === revision) {
      this.#sizeBytes -= this.#at(this.#from).sizeBytes;
      this.#changes[this.#from++] = undefined;
    }
    this.#firstRevision = revision + 1;
  }

  #copy(bytes: Uint8Array): Uint8Array {
    const { length } = bytes;
    if (length >= OWN_ARRAY_BYTES) return bytes.slice();
    if (this.#chunkAt + length > this.#chunk.length) {
      this.#chunk = new Uint8Array(CHUNK_BYTES);
      this.#chunkAt = 0;
    }
    const at = this.#chunkAt;
    this.#chunkAt = at + length;
    this.#chunk.set(bytes, at);
    return this.#chunk.subarray(at, at + length);
  }
}
