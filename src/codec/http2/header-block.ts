/**
 * Puts a header block together that comes in HEADERS and CONTINUATION frames (RFC 9113, section 6.10). A block may
 * take more bytes than what it unfolds to only by a frame; who sends more, or in crumbs, is after our memory or time.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import { FRAME_PAYLOAD_BYTES_MAX } from "./protocol.ts";

export class HeaderBlock {
  readonly #bytesMax: number;
  readonly #continuationsMax: number;
  #bytes: Uint8Array = EMPTY_BYTES;
  #length = 0;
  #continuations = 0;
  streamId = 0;
  endStream = false;
  /** Frames are missing: nothing else may come in between. */
  isOpen = false;

  constructor(listBytesMax: number, continuationsMax: number) {
    this.#bytesMax = listBytesMax + FRAME_PAYLOAD_BYTES_MAX;
    this.#continuationsMax = continuationsMax;
  }

  /** Begins a block that one frame does not hold. */
  begin(streamId: number, endStream: boolean, first: Uint8Array): void {
    this.streamId = streamId;
    this.endStream = endStream;
    this.isOpen = true;
    this.#length = 0;
    this.#continuations = 0;
    this.#append(first);
  }

  /** False: more than is taken. */
  add(fragment: Uint8Array): boolean {
    this.#continuations++;
    if (this.#continuations > this.#continuationsMax) return false;
    if (this.#length + fragment.length > this.#bytesMax) return false;
    this.#append(fragment);
    return true;
  }

  /** The whole block, which nobody writes to afterwards. */
  finish(): Uint8Array {
    const block = this.#bytes.subarray(0, this.#length);
    this.isOpen = false;
    this.#bytes = EMPTY_BYTES;
    return block;
  }

  #append(fragment: Uint8Array): void {
    const needed = this.#length + fragment.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(this.#bytesMax, needed * 2));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(fragment, this.#length);
    this.#length = needed;
  }
}
