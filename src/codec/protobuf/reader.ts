/**
 * Reads protobuf fields from bytes that anybody may have sent. Nothing is copied: bytes fields are views of the
 * input. Nothing is allocated in proportion to a length that the input claims: a length is compared with what is
 * there before it is used.
 *
 * Invariant: 0 <= at <= end <= bytes.length. Every method either moves `at` forward or throws DecodeError.
 */
import { EMPTY_BYTES, readU32 } from "../../base/index.ts";

/** `too-deep`: well formed as far as it was read, but nested beyond what is followed. */
type DecodeFault = "malformed" | "too-deep";

/** The bytes are not the message that they should be. Caused by the sender, never by this process. */
export class DecodeError extends Error {
  override readonly name = "DecodeError" as const;
  readonly fault: DecodeFault;
  /** Byte position in the message where reading stopped. */
  readonly offset: number;

  constructor(what: string, offset: number, fault: DecodeFault = "malformed") {
    super(`${what} at byte ${offset}`);
    this.fault = fault;
    this.offset = offset;
  }
}

const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_GROUP_START = 3;
const WIRE_GROUP_END = 4;
const WIRE_FIXED32 = 5;

const TWO_32 = 0x1_0000_0000;

/** Strict, so that a string that was read can be written again byte for byte; a BOM is text like any other. */
const strictUtf8: TextDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #end: number;
  /** Halves of the last 64-bit varint: fields instead of a result object, since every number passes here. */
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  /** Of the message, or of the embedded one that was entered. */
  get isAtEnd(): boolean {
    return this.#at === this.#end;
  }

  /** The next field's number and wire type as one number, (number << 3) | type; 0 at the end of the message. */
  tag(): number {
    if (this.#at === this.#end) return 0;
    const start = this.#at;
    this.#varint();
    const tag = this.#low;
    if (this.#high !== 0 || tag >>> 3 === 0) throw new DecodeError("invalid field tag", start);
    return tag;
  }

  bool(): boolean {
    this.#varint();
    return (this.#low | this.#high) !== 0;
  }

  /** A 32-bit enum as the number that was sent: whether it is a known one is for validation to say. */
  enumeration(): number {
    this.#varint();
    return this.#low | 0;
  }

  /**
   * A signed 64-bit counter as a number. What a double does not hold exactly becomes the nearest safe integer:
   * revisions, versions and limits never come near it, so comparing with them gives the same answer as the exact
   * value would. Not for ids.
   */
  counter(): number {
    this.#varint();
    if (this.#high === 0) return this.#low;
    const value = (this.#high | 0) * TWO_32 + this.#low;
    if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER;
    return value < Number.MIN_SAFE_INTEGER ? Number.MIN_SAFE_INTEGER : value;
  }

  /** An unsigned number that this project made, at most 2^53 - 1: anything else was not sent by one of us. */
  count(): number {
    this.#varint();
    if (this.#high > 0x1f_ffff) this.fail("a number is out of range");
    return this.#high * TWO_32 + this.#low;
  }

  /** Four bytes, the lowest first. */
  fixed32(): number {
    const at = this.#at;
    this.#advance(4);
    return readU32(this.#bytes, at);
  }

  /** A signed 64-bit number, exact: ids of leases and members. */
  int64(): bigint {
    this.#varint();
    if (this.#high === 0) return BigInt(this.#low);
    return (BigInt(this.#high | 0) << 32n) | BigInt(this.#low);
  }

  /** A view of the input, valid as long as the input is. */
  bytes(): Uint8Array {
    const size = this.#length();
    if (size === 0) return EMPTY_BYTES;
    const start = this.#at;
    this.#at = start + size;
    return this.#bytes.subarray(start, start + size);
  }

  string(): string {
    const start = this.#at;
    const bytes = this.bytes();
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw new DecodeError("a string is not UTF-8", start);
    }
  }

  /** Enters an embedded message: until `leave`, the end is the end of that message. Returns what `leave` takes. */
  enter(): number {
    const outerEnd = this.#end;
    const size = this.#length();
    this.#end = this.#at + size;
    return outerEnd;
  }

  leave(outerEnd: number): void {
    this.#end = outerEnd;
  }

  /**
   * Steps over a field that this version does not know, as the protocol demands of it. The fields up to
   * `lastKnown` are known, so that seeing one here means that it came with a wrong wire type.
   */
  skip(tag: number, lastKnown: number): void {
    if (tag >>> 3 <= lastKnown) this.fail(`field ${tag >>> 3} has wire type ${tag & 7}`);
    // Groups are stepped over by counting, not by recursion: two bytes open and close one.
    let openGroups = 0;
    for (;;) {
      const type = tag & 7;
      if (type === WIRE_VARINT) this.#varint();
      else if (type === WIRE_FIXED64) this.#advance(8);
      else if (type === WIRE_FIXED32) this.#advance(4);
      else if (type === WIRE_BYTES) this.#advance(this.#length());
      else if (type === WIRE_GROUP_START) openGroups++;
      else if (type === WIRE_GROUP_END && openGroups > 0) openGroups--;
      else this.fail(`unexpected wire type ${type}`);
      if (openGroups === 0) return;
      tag = this.tag();
      if (tag === 0) this.fail("a group does not end");
    }
  }

  fail(what: string, fault: DecodeFault = "malformed"): never {
    throw new DecodeError(what, this.#at, fault);
  }

  #length(): number {
    this.#varint();
    const size = this.#low;
    if (this.#high !== 0 || size > this.#end - this.#at)
      this.fail("a length reaches beyond the message");
    return size;
  }

  #advance(size: number): void {
    if (size > this.#end - this.#at) this.fail("the message ends inside a field");
    this.#at += size;
  }

  /** Reads up to ten bytes, seven bits in each, lowest first, into the two halves. */
  #varint(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = this.#at;
    if (at < end) {
      const first = bytes[at] as number;
      if (first < 0x80) {
        this.#low = first;
        this.#high = 0;
        this.#at = at + 1;
        return;
      }
    }
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at === end) this.fail("the message ends inside a number");
      const byte = bytes[at++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        // Of the tenth byte only the lowest bit is the number's.
        if (shift === 63 && bits > 1) this.fail("a number has more than 64 bits");
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        this.#at = at;
        return;
      }
    }
    this.fail("a number has more than ten bytes");
  }
}
