/**
 * The append messages to one follower that it has not answered, as a window: full at a number of messages or at a
 * number of bytes, whichever comes first. It is what bounds the memory that a slow follower can cost.
 */
import { assert } from "../../base/index.ts";
import type { LogIndex } from "../types.ts";

/**
 * Invariants: indexes grow from the oldest message to the newest; `bytes` is the sum over what is held.
 * The byte limit may be passed by one message, because one entry larger than the window must still travel.
 */
export class Inflights {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  /** Ring buffers, grown on demand: most followers never have more than a few messages on the way. */
  #lastIndexes: number[] = [];
  #sizes: number[] = [];
  #start = 0;
  #count = 0;
  #bytes = 0;

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  full(): boolean {
    return this.#count >= this.#maxMessages || this.#bytes >= this.#maxBytes;
  }

  /** Notes a message whose last entry is `lastIndex`. */
  add(lastIndex: LogIndex, sizeBytes: number): void {
    assert(!this.full(), "a full window takes no further message");
    if (this.#count === this.#lastIndexes.length) this.#grow();
    const at = (this.#start + this.#count) % this.#lastIndexes.length;
    this.#lastIndexes[at] = lastIndex;
    this.#sizes[at] = sizeBytes;
    this.#count++;
    this.#bytes += sizeBytes;
  }

  /** The follower holds everything up to `index`: an answer to a later message answers the earlier ones too. */
  freeUpTo(index: LogIndex): void {
    while (this.#count > 0 && (this.#lastIndexes[this.#start] as number) <= index) {
      this.#bytes -= this.#sizes[this.#start] as number;
      this.#start = (this.#start + 1) % this.#lastIndexes.length;
      this.#count--;
    }
    assert(this.#count > 0 || this.#bytes === 0, "an empty window holds no bytes");
  }

  reset(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #grow(): void {
    const length = Math.max(4, this.#lastIndexes.length * 2);
    const lastIndexes = Array.from({ length }, () => 0);
    const sizes = Array.from({ length }, () => 0);
    for (let i = 0; i < this.#count; i++) {
      const from = (this.#start + i) % this.#lastIndexes.length;
      lastIndexes[i] = this.#lastIndexes[from] as number;
      sizes[i] = this.#sizes[from] as number;
    }
    this.#lastIndexes = lastIndexes;
    this.#sizes = sizes;
    this.#start = 0;
  }
}
