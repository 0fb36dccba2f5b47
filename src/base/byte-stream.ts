/**
 * Writing and reading compact records: varints, length-prefixed bytes. A varint is little endian in groups of seven
 * bits, as in protocol buffers, and holds a safe integer.
 *
 * The reader is total: whatever the bytes are, it never throws and never reads outside of them. It remembers that
 * something did not fit (`failed`) and hands out zeros from then on, so that a decoder checks once at its end.
 */
import { assert } from "./assert.ts";
import { EMPTY_BYTES } from "./bytes.ts";
import { ownBytes } from "./own-bytes.ts";

const TWO_31 = 0x8000_0000;
/** The longest varint of a safe integer: 53 bits in groups of seven. */
const VARINT_BYTES_MAX = 8;

/** A growing buffer. `view()` is good until the next write or reset; `copy()` is the caller's. */
export class ByteWriter {
  #buffer: Uint8Array;
  #length = 0;

  constructor(sizeBytes: number = 256) {
    this.#buffer = new Uint8Array(sizeBytes);
  }

  get length(): number {
    return this.#length;
  }

  reset(): void {
    this.#length = 0;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  /** A safe integer that is not negative. */
  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, "a varint holds a safe non-negative integer");
    this.#reserve(VARINT_BYTES_MAX);
    const buffer = this.#buffer;
    let at = this.#length;
    let rest = value;
    while (rest >= TWO_31) {
      buffer[at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    while (rest > 127) {
      buffer[at++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    buffer[at++] = rest;
    this.#length = at;
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  /** The length as a varint, then the bytes. */
  lengthAndBytes(value: Uint8Array): void {
    this.varint(value.length);
    this.bytes(value);
  }

  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  copy(): Uint8Array {
    return ownBytes(this.view());
  }

  #reserve(moreBytes: number): void {
    const needed = this.#length + moreBytes;
    if (needed <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}

export class ByteReader {
  #bytes: Uint8Array = EMPTY_BYTES;
  #at = 0;
  #failed = false;

  constructor(bytes: Uint8Array = EMPTY_BYTES) {
    this.#bytes = bytes;
  }

  /** Begins anew with other bytes. */
  reset(bytes: Uint8Array, at: number = 0): void {
    this.#bytes = bytes;
    this.#at = at;
    this.#failed = at > bytes.length;
  }

  /** Something did not fit. What was handed out since is zeros. */
  get failed(): boolean {
    return this.#failed;
  }

  get at(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Everything was read and everything fitted. */
  get isAtEnd(): boolean {
    return !this.#failed && this.#at === this.#bytes.length;
  }

  u8(): number {
    if (this.#at >= this.#bytes.length) return this.#fail();
    return this.#bytes[this.#at++] as number;
  }

  varint(): number {
    const bytes = this.#bytes;
    const start = this.#at;
    const first = bytes[start];
    if (first !== undefined && first < 128 && !this.#failed) {
      this.#at++;
      return first;
    }
    // Most of what takes more is a revision, and up to four bytes fit into a word.
    if (first !== undefined && start + 4 <= bytes.length && !this.#failed) {
      let word = first & 127;
      for (let at = start + 1, shift = 7; shift < 28; at++, shift += 7) {
        const byte = bytes[at] as number;
        word |= (byte & 127) << shift;
        if (byte < 128) {
          this.#at = at + 1;
          return word;
        }
      }
    }
    let value = 0;
    let scale = 1;
    const end = Math.min(bytes.length, this.#at + VARINT_BYTES_MAX);
    for (let at = this.#at; at < end; at++) {
      const byte = bytes[at] as number;
      value += (byte & 127) * scale;
      if (byte < 128) {
        this.#at = at + 1;
        return Number.isSafeInteger(value) && !this.#failed ? value : this.#fail();
      }
      scale *= 128;
    }
    return this.#fail();
  }

  /** A view of the next bytes. */
  bytes(length: number): Uint8Array {
    if (this.#failed || length > this.remaining) {
      this.#fail();
      return EMPTY_BYTES;
    }
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** A view of bytes whose length stands before them. */
  lengthAndBytes(): Uint8Array {
    return this.bytes(this.varint());
  }

  #fail(): number {
    this.#failed = true;
    this.#at = this.#bytes.length;
    return 0;
  }
}
