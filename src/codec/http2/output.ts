/**
 * What a connection has to say, as bytes that are collected until somebody takes them: one write for all answers of a
 * turn. Small pieces are copied into chunks of the connection's own; large ones are handed on as they are.
 *
 * Invariant: bytes that were taken are never written to again, so they may lie in a socket's queue.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import { FRAME_HEADER_BYTES, FrameType } from "./protocol.ts";

/** A chunk is as large as the last turns suggest: many connections are idle, and each keeps the rest of its chunk. */
const CHUNK_BYTES_MIN = 2048;
const CHUNK_BYTES_MAX = 64 * 1024;
/** From this size on a copy costs more than a piece of its own in the write call. */
const COPY_BYTES_MAX = 4096;
/** Short copies are faster in a loop than through `set`. */
const LOOP_BYTES_MAX = 24;

export class Output {
  readonly #onFirst: () => void;
  #pieces: Uint8Array[] = [];
  #chunk: Uint8Array = EMPTY_BYTES;
  /** [#from, #at) of the chunk is written and not yet taken or listed as a piece. */
  #from = 0;
  #at = 0;
  #sizeBytes = 0;

  /** `onFirst` is called when there is something to take where there was nothing. */
  constructor(onFirst: () => void) {
    this.#onFirst = onFirst;
  }

  /** Waiting to be taken. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  frameHeader(length: number, type: number, flags: number, streamId: number): void {
    this.#grow(FRAME_HEADER_BYTES);
    const chunk = this.#chunk;
    const at = this.#at;
    chunk[at] = length >>> 16;
    chunk[at + 1] = length >>> 8;
    chunk[at + 2] = length;
    chunk[at + 3] = type;
    chunk[at + 4] = flags;
    this.#at = at + 5;
    this.#count(5);
    this.u32(streamId);
  }

  /** Big endian. */
  u32(value: number): void {
    this.#grow(4);
    const chunk = this.#chunk;
    const at = this.#at;
    chunk[at] = value >>> 24;
    chunk[at + 1] = value >>> 16;
    chunk[at + 2] = value >>> 8;
    chunk[at + 3] = value;
    this.#at = at + 4;
    this.#count(4);
  }

  u16(value: number): void {
    this.#grow(2);
    this.#chunk[this.#at++] = value >>> 8;
    this.#chunk[this.#at++] = value;
    this.#count(2);
  }

  /** What stands before each gRPC message: not compressed, and its length. */
  messagePrefix(length: number): void {
    this.#grow(5);
    this.#chunk[this.#at++] = 0;
    this.#count(1);
    this.u32(length);
  }

  /** `bytes` in [from, to), which nobody may change afterwards. */
  bytes(bytes: Uint8Array, from: number, to: number): void {
    const length = to - from;
    if (length > COPY_BYTES_MAX) {
      this.#cut();
      this.#pieces.push(bytes.subarray(from, to));
    } else {
      this.#grow(length);
      const into = this.#chunk;
      const at = this.#at;
      if (length <= LOOP_BYTES_MAX)
        for (let i = 0; i < length; i++) into[at + i] = bytes[from + i] as number;
      else into.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to), at);
      this.#at = at + length;
    }
    this.#count(length);
  }

  /** Everything so far, in order. */
  take(): Uint8Array[] {
    this.#cut();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#sizeBytes = 0;
    return pieces;
  }

  #count(more: number): void {
    const wasEmpty = this.#sizeBytes === 0;
    this.#sizeBytes += more;
    if (wasEmpty) this.#onFirst();
  }

  /** Lists what was written since the last piece as a piece. */
  #cut(): void {
    if (this.#at > this.#from) this.#pieces.push(this.#chunk.subarray(this.#from, this.#at));
    this.#from = this.#at;
  }

  #grow(needed: number): void {
    if (this.#chunk.length - this.#at >= needed) return;
    this.#cut();
    const wanted = Math.max(this.#sizeBytes * 2, needed, CHUNK_BYTES_MIN);
    this.#chunk = new Uint8Array(Math.min(wanted, CHUNK_BYTES_MAX));
    this.#from = 0;
    this.#at = 0;
  }
}

/** The few frames that are not part of an answer. */
export function writeSettings(
  output: Output,
  settings: readonly (readonly [id: number, value: number])[],
): void {
  output.frameHeader(settings.length * 6, FrameType.settings, 0, 0);
  for (const [id, value] of settings) {
    output.u16(id);
    output.u32(value);
  }
}

export function writeWindowUpdate(output: Output, streamId: number, increment: number): void {
  output.frameHeader(4, FrameType.windowUpdate, 0, streamId);
  output.u32(increment);
}

export function writeReset(output: Output, streamId: number, code: number): void {
  output.frameHeader(4, FrameType.rstStream, 0, streamId);
  output.u32(code);
}

export function writeGoaway(
  output: Output,
  lastStreamId: number,
  code: number,
  why: Uint8Array,
): void {
  output.frameHeader(8 + why.length, FrameType.goaway, 0, 0);
  output.u32(lastStreamId);
  output.u32(code);
  output.bytes(why, 0, why.length);
}
