/**
 * What waits to leave for one member: encoded, bounded by count and bytes. When the way is slow Raft's messages are
 * dropped rather than kept, since Raft asks again and an old one is worth nothing; the small ones that keep a leader
 * in place have room of their own, so that a full queue of entries does not cost an election (fault-rules N5).
 */
import { assert } from "../../base/index.ts";
import { BATCH_ITEMS_MAX, encodeBatchFrame } from "../../codec/index.ts";

const ITEMS_MAX = 4_096;
const BYTES_MAX: number = 32 * 1024 * 1024;
/** A heartbeat, a vote, an answer. */
const SMALL_BYTES = 128;
/** Items of a frame end when they have this much, so that a heartbeat does not wait behind more. */
const BATCH_BYTES: number = 1024 * 1024;

/** Invariant: at most 2 * ITEMS_MAX items; at most BYTES_MAX bytes, small items aside, or one item alone. */
export class SendQueue {
  #items: Uint8Array[] = [];
  #head = 0;
  #bytes = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when there is no room. */
  push(item: Uint8Array): boolean {
    const { length } = this;
    if (length > 0) {
      const isSmall = item.length <= SMALL_BYTES;
      if (length >= (isSmall ? 2 * ITEMS_MAX : ITEMS_MAX)) return false;
      if (!isSmall && this.#bytes + item.length > BYTES_MAX) return false;
    }
    this.#items.push(item);
    this.#bytes += item.length;
    return true;
  }

  /** The next frame, or null when nothing waits. */
  takeFrame(): Uint8Array | null {
    if (this.length === 0) return null;
    let bytes = 0;
    let end = this.#head;
    while (end < this.#items.length && end - this.#head < BATCH_ITEMS_MAX) {
      const { length } = this.#items[end] as Uint8Array;
      if (bytes > 0 && bytes + length > BATCH_BYTES) break;
      bytes += length;
      end++;
    }
    const frame = encodeBatchFrame(this.#items.slice(this.#head, end));
    this.#bytes -= bytes;
    this.#head = end;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    }
    assert(this.#bytes >= 0, "queued bytes are counted both ways");
    return frame;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
    this.#bytes = 0;
  }
}
