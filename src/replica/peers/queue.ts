/**
 * What waits to leave for one member: encoded, bounded by count and bytes. When the way is slow Raft's messages are
 * dropped rather than kept, since Raft asks again and an old one is worth nothing. What keeps a leader in place overtakes
 * what carries entries, and has room of its own, so that a way that is full does not cost an election (fault-rules N5).
 */
import { assert } from "../../base/index.ts";
import { BATCH_ITEMS_MAX, encodeBatchFrame } from "../../codec/index.ts";

const ITEMS_MAX = 4_096;
const BYTES_MAX: number = 32 * 1024 * 1024;
/** Of the items in order: the answers to commands, for which there is more room. */
const SMALL_BYTES = 128;
/** Items of a frame end when they have this much, so that a heartbeat does not wait behind more. */
const BATCH_BYTES: number = 128 * 1024;

/** Items in the order in which they came. */
class Lane {
  #items: Uint8Array[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: Uint8Array): void {
    this.#items.push(item);
  }

  /** Moves items into a frame that has `bytes` already, as long as it has room; one goes into an empty frame in any case. */
  fill(frame: Uint8Array[], bytes: number): number {
    let filled = bytes;
    while (this.#head < this.#items.length && frame.length < BATCH_ITEMS_MAX) {
      const item = this.#items[this.#head] as Uint8Array;
      if (frame.length > 0 && filled + item.length > BATCH_BYTES) break;
      filled += item.length;
      frame.push(item);
      this.#head++;
    }
    if (this.#head === this.#items.length) this.clear();
    return filled;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}

/**
 * Invariants: at most ITEMS_MAX items that overtake and 2 * ITEMS_MAX others; at most BYTES_MAX bytes of the others, small
 * ones aside, or one of them alone. Items of either kind leave in their order.
 */
export class SendQueue {
  readonly #overtaking = new Lane();
  readonly #inOrder = new Lane();
  #bytes = 0;

  get length(): number {
    return this.#overtaking.length + this.#inOrder.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when there is no room. */
  push(item: Uint8Array, overtakes: boolean): boolean {
    if (overtakes ? this.#overtaking.length >= ITEMS_MAX : !this.#hasRoom(item)) return false;
    (overtakes ? this.#overtaking : this.#inOrder).push(item);
    this.#bytes += item.length;
    return true;
  }

  /** The next frame, or null when nothing waits. */
  takeFrame(): Uint8Array | null {
    if (this.length === 0) return null;
    const items: Uint8Array[] = [];
    const bytes = this.#inOrder.fill(items, this.#overtaking.fill(items, 0));
    this.#bytes -= bytes;
    assert(this.#bytes >= 0, "queued bytes are counted both ways");
    return encodeBatchFrame(items);
  }

  clear(): void {
    this.#overtaking.clear();
    this.#inOrder.clear();
    this.#bytes = 0;
  }

  #hasRoom(item: Uint8Array): boolean {
    const { length } = this.#inOrder;
    if (length === 0) return true;
    const isSmall = item.length <= SMALL_BYTES;
    if (length >= (isSmall ? 2 * ITEMS_MAX : ITEMS_MAX)) return false;
    return isSmall || this.#bytes + item.length <= BYTES_MAX;
  }
}
