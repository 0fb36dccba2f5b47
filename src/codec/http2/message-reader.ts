/**
 * Finds gRPC messages in the bytes of a stream: a byte that says whether it is compressed, four bytes of length, the
 * message (gRPC over HTTP/2, "Length-Prefixed-Message"). A message that lies within one piece is a view of it.
 *
 * Invariant: what is allocated for a message is at most twice what has come of it, and a little.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import { readU32BigEndian } from "./frame-reader.ts";
import { MESSAGE_PREFIX_BYTES as PREFIX_BYTES } from "./protocol.ts";

const FIRST_BYTES = 1024;

/** Why a message is refused. */
export type MessageFault = "compressed" | "tooLarge" | "malformed";

export class MessageReader {
  /** Of a message: for the next one that begins. */
  bytesMax: number;
  readonly #prefix: Uint8Array = new Uint8Array(PREFIX_BYTES);
  #prefixLength = 0;
  #length = 0;
  #body: Uint8Array = EMPTY_BYTES;
  #bodyLength = 0;
  /** Of the piece that is being read. */
  #piece: Uint8Array = EMPTY_BYTES;
  #at = 0;
  fault: MessageFault | null = null;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** A message has begun and is not whole. */
  get isInside(): boolean {
    return this.#prefixLength > 0;
  }

  /** Bytes, prefix included, of the message that has begun; 0 while its length is not known. */
  get messageBytes(): number {
    return this.#prefixLength === PREFIX_BYTES ? PREFIX_BYTES + this.#length : 0;
  }

  /** The next piece. The one before was read to its end: `next` gave null. */
  give(piece: Uint8Array): void {
    this.#piece = piece;
    this.#at = 0;
  }

  /** What has come is not needed any more. */
  drop(): void {
    this.#body = EMPTY_BYTES;
    this.#piece = EMPTY_BYTES;
    this.#at = 0;
  }

  /** The next message that is whole, null when there is none yet or `fault` says why there never will be. */
  next(): Uint8Array | null {
    if (this.fault !== null || !this.#readPrefix()) return null;
    const piece = this.#piece;
    const available = piece.length - this.#at;
    if (this.#bodyLength === 0 && available >= this.#length) {
      const message = piece.subarray(this.#at, this.#at + this.#length);
      this.#at += this.#length;
      this.#prefixLength = 0;
      return message;
    }
    const taken = Math.min(available, this.#length - this.#bodyLength);
    this.#append(piece.subarray(this.#at, this.#at + taken));
    this.#at += taken;
    if (this.#bodyLength < this.#length) {
      this.#piece = EMPTY_BYTES;
      this.#at = 0;
      return null;
    }
    const message = this.#body.subarray(0, this.#length);
    this.#body = EMPTY_BYTES;
    this.#bodyLength = 0;
    this.#prefixLength = 0;
    return message;
  }

  /** True when the prefix of a message that may come is known. */
  #readPrefix(): boolean {
    if (this.#prefixLength === PREFIX_BYTES) return true;
    const piece = this.#piece;
    while (this.#prefixLength < PREFIX_BYTES) {
      if (this.#at === piece.length) return false;
      this.#prefix[this.#prefixLength++] = piece[this.#at++] as number;
    }
    const flag = this.#prefix[0] as number;
    this.#length = readU32BigEndian(this.#prefix, 1);
    if (flag === 1) this.fault = "compressed";
    else if (flag !== 0) this.fault = "malformed";
    else if (this.#length > this.bytesMax) this.fault = "tooLarge";
    return this.fault === null;
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#bodyLength + bytes.length;
    if (needed > this.#body.length) {
      const larger = new Uint8Array(Math.min(this.#length, Math.max(needed * 2, FIRST_BYTES)));
      larger.set(this.#body.subarray(0, this.#bodyLength));
      this.#body = larger;
    }
    this.#body.set(bytes, this.#bodyLength);
    this.#bodyLength = needed;
  }
}
