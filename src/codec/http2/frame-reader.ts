/**
 * Finds the frames in a stream of bytes that comes in pieces of any size (RFC 9113, section 4.1). A frame that lies
 * within a piece is handed over where it lies; only one that is torn between pieces is put together.
 *
 * Invariant: at most one frame is held, and nothing is allocated for a length that is not allowed.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX } from "./protocol.ts";

export interface FrameSink {
  /** The payload is `bytes` in [start, end); nobody writes to it afterwards. False: no more frames, please. */
  frame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean;
  /** A frame says that it is longer than allowed. Nothing more is read. */
  frameTooLong(streamId: number): void;
}

export class FrameReader {
  readonly #sink: FrameSink;
  /** The begin of a frame whose rest has not come. Its array has room for the header alone until that is whole. */
  #torn: Uint8Array = EMPTY_BYTES;
  #tornLength = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** `bytes` from `at` on are the next ones of the stream. Returns when all are read or the sink wants no more. */
  receive(bytes: Uint8Array, at: number): void {
    let next = at;
    if (this.#tornLength > 0) {
      next = this.#fill(bytes, next, FRAME_HEADER_BYTES);
      if (this.#tornLength < FRAME_HEADER_BYTES) return;
      const length = payloadLength(this.#torn, 0);
      if (length > FRAME_PAYLOAD_BYTES_MAX) {
        this.#sink.frameTooLong(streamIdAt(this.#torn, 5));
        return;
      }
      next = this.#fill(bytes, next, FRAME_HEADER_BYTES + length);
      if (this.#tornLength < FRAME_HEADER_BYTES + length) return;
      const whole = this.#torn;
      this.#torn = EMPTY_BYTES;
      this.#tornLength = 0;
      if (!this.#hand(whole, 0, length)) return;
    }
    while (bytes.length - next >= FRAME_HEADER_BYTES) {
      const length = payloadLength(bytes, next);
      if (length > FRAME_PAYLOAD_BYTES_MAX) {
        this.#sink.frameTooLong(streamIdAt(bytes, next + 5));
        return;
      }
      if (bytes.length - next < FRAME_HEADER_BYTES + length) break;
      const frame = next;
      next += FRAME_HEADER_BYTES + length;
      if (!this.#hand(bytes, frame, length)) return;
    }
    if (next < bytes.length) {
      const rest = bytes.length - next;
      const isHeaderWhole = rest >= FRAME_HEADER_BYTES;
      const room = FRAME_HEADER_BYTES + (isHeaderWhole ? payloadLength(bytes, next) : 0);
      this.#torn = new Uint8Array(room);
      this.#torn.set(bytes.subarray(next));
      this.#tornLength = rest;
    }
  }

  #hand(bytes: Uint8Array, at: number, length: number): boolean {
    const start = at + FRAME_HEADER_BYTES;
    return this.#sink.frame(
      bytes[at + 3] as number,
      bytes[at + 4] as number,
      streamIdAt(bytes, at + 5),
      bytes,
      start,
      start + length,
    );
  }

  /** Moves bytes behind the torn begin until it has `length`. Returns the position after them. */
  #fill(bytes: Uint8Array, at: number, length: number): number {
    if (this.#torn.length < length) {
      const larger = new Uint8Array(length);
      larger.set(this.#torn.subarray(0, this.#tornLength));
      this.#torn = larger;
    }
    const missing = length - this.#tornLength;
    if (missing <= 0) return at;
    const piece = bytes.subarray(at, at + missing);
    this.#torn.set(piece, this.#tornLength);
    this.#tornLength += piece.length;
    return at + piece.length;
  }
}

function payloadLength(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)
  );
}

/** The first bit of a stream's number is reserved and not looked at. */
function streamIdAt(bytes: Uint8Array, at: number): number {
  return readU32BigEndian(bytes, at) & 0x7fff_ffff;
}

export function readU32BigEndian(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}
