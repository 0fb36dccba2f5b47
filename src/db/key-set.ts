/** A set of keys as bytes, without a string for each: open addressing over their hashes. */
import { crc32c, equalBytes } from "../base/index.ts";

const SLOTS_MIN = 16;

export class KeySet {
  #slots: (Uint8Array | undefined)[] = [];
  readonly keys: Uint8Array[] = [];

  has(key: Uint8Array): boolean {
    return this.keys.length > 0 && this.#slots[this.#slotOf(key)] !== undefined;
  }

  /** False when the key was there. Keeps the view. */
  add(key: Uint8Array): boolean {
    if (this.keys.length * 2 >= this.#slots.length) this.#grow();
    const slot = this.#slotOf(key);
    if (this.#slots[slot] !== undefined) return false;
    this.#slots[slot] = key;
    this.keys.push(key);
    return true;
  }

  /** Where the key is, or the free slot where it would go. At least half of the slots are free. */
  #slotOf(key: Uint8Array): number {
    const mask = this.#slots.length - 1;
    let slot = crc32c(key) & mask;
    for (;;) {
      const found = this.#slots[slot];
      if (found === undefined || equalBytes(found, key)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    this.#slots = Array.from({ length: Math.max(SLOTS_MIN, this.#slots.length * 2) });
    for (const key of this.keys) this.#slots[this.#slotOf(key)] = key;
  }
}
