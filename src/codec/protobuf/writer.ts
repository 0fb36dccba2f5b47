/**
 * Writes protobuf messages from their end to their start. A length stands before the bytes that it counts, so a
 * writer that goes forward has to measure every embedded message before it writes it; going backwards it knows.
 * Fields are therefore given last one first, and the bytes come out in ascending order.
 *
 * Invariant: the message so far is #bytes[#at, #end); what lies from #end on belongs to messages that were finished
 * and is never touched again, so their views stay valid.
 */
import { assert, utf8 } from "../../base/index.ts";

/** Large enough that carving a message out of it is rare to fail, small enough to be kept alive by one view. */
const CHUNK_BYTES = 64 * 1024;
/** A tag of up to five bytes and a number of up to ten. */
const FIELD_BYTES_MAX = 15;

export class Writer {
  #bytes: Uint8Array = new Uint8Array(CHUNK_BYTES);
  #end: number = CHUNK_BYTES;
  #at: number = CHUNK_BYTES;

  /** Begins a message. One that was begun and not finished (its encoder threw) is dropped. */
  begin(): this {
    this.#at = this.#end;
    return this;
  }

  /** Ends the message. The view stays valid and unchanged for as long as it is held. */
  finish(): Uint8Array {
    const message = this.#bytes.subarray(this.#at, this.#end);
    this.#end = this.#at;
    if (this.#bytes.length > CHUNK_BYTES) this.#chunk(CHUNK_BYTES);
    return message;
  }

  /** Bytes of this message written so far: an embedded message's length is the difference of two sizes. */
  get size(): number {
    return this.#end - this.#at;
  }

  /** A number of at least zero; zero, being the default, is not written. Also for enums. */
  counter(field: number, value: number): void {
    if (value === 0) return;
    this.#reserve(FIELD_BYTES_MAX);
    this.#safeVarint(value);
    this.#safeVarint(field * 8);
  }

  /** Any 64-bit number, signed or not; zero is not written. */
  int64(field: number, value: bigint): void {
    if (value === 0n) return;
    this.#reserve(FIELD_BYTES_MAX);
    this.#bigVarint(BigInt.asUintN(64, value));
    this.#safeVarint(field * 8);
  }

  bool(field: number, value: boolean): void {
    if (value) this.counter(field, 1);
  }

  /** Empty, being the default, is not written. */
  bytes(field: number, value: Uint8Array): void {
    if (value.length > 0) this.repeatedBytes(field, value);
  }

  /** One element of a repeated field: written also when empty. */
  repeatedBytes(field: number, value: Uint8Array): void {
    this.raw(value);
    this.#reserve(FIELD_BYTES_MAX);
    this.#safeVarint(value.length);
    this.#safeVarint(field * 8 + 2);
  }

  string(field: number, value: string): void {
    if (value !== "") this.repeatedBytes(field, utf8(value));
  }

  /** Closes an embedded message that began when `size` was `sizeBefore`: writes its length and tag. */
  embed(field: number, sizeBefore: number): void {
    const length = this.size - sizeBefore;
    this.#reserve(FIELD_BYTES_MAX);
    this.#safeVarint(length);
    this.#safeVarint(field * 8 + 2);
  }

  /** Bytes that are encoded already. */
  raw(value: Uint8Array): void {
    const length = value.length;
    this.#reserve(length);
    const at = this.#at - length;
    this.#at = at;
    const into = this.#bytes;
    // A call of `set` costs more than this loop for what most keys are.
    if (length <= 24) for (let i = 0; i < length; i++) into[at + i] = value[i] as number;
    else into.set(value, at);
  }

  #safeVarint(value: number): void {
    const bytes = this.#bytes;
    if ((value & 0x7f) === value) {
      bytes[--this.#at] = value;
      return;
    }
    assert(
      Number.isSafeInteger(value) && value >= 0,
      "a counter on the wire is a safe non-negative integer",
    );
    let length = 1;
    for (let limit = 0x80; value >= limit; limit *= 0x80) length++;
    let at = this.#at - length;
    this.#at = at;
    for (; value >= 0x8000_0000; value = Math.floor(value / 0x80))
      bytes[at++] = (value % 0x80) | 0x80;
    for (; value >= 0x80; value >>>= 7) bytes[at++] = (value & 0x7f) | 0x80;
    bytes[at] = value;
  }

  #bigVarint(value: bigint): void {
    let length = 1;
    for (let rest = value >> 7n; rest > 0n; rest >>= 7n) length++;
    let at = this.#at - length;
    this.#at = at;
    for (; value >= 0x80n; value >>= 7n) this.#bytes[at++] = Number(value & 0x7fn) | 0x80;
    this.#bytes[at] = Number(value);
  }

  /** Makes room for `needed` bytes before what is written, in a new chunk if this one has not got it. */
  #reserve(needed: number): void {
    if (this.#at >= needed) return;
    const written = this.#bytes.subarray(this.#at, this.#end);
    const least = written.length + needed;
    this.#chunk(least * 2 <= CHUNK_BYTES ? CHUNK_BYTES : least * 2);
    this.#at -= written.length;
    this.#bytes.set(written, this.#at);
  }

  #chunk(sizeBytes: number): void {
    this.#bytes = new Uint8Array(sizeBytes);
    this.#end = sizeBytes;
    this.#at = sizeBytes;
  }
}
