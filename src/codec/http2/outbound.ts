/**
 * The sending half of a connection: answers become frames as far as the client's windows allow (RFC 9113, section
 * 5.2), the rest waits in its stream. Streams that wait for the connection's window take turns, a frame each.
 *
 * Invariants:
 * 1. No window of the client is ever overdrawn.
 * 2. `queuedBytes` is the sum over the streams; what waits anywhere is bounded by the limit and one message.
 * 3. A stream is in `#waiting` only while it has bytes and window of its own.
 */
import { assert } from "../../base/index.ts";
import { Output } from "./output.ts";
import {
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  FrameType,
  INITIAL_WINDOW_BYTES,
  MESSAGE_PREFIX_BYTES as PREFIX_BYTES,
  WINDOW_BYTES_MAX,
} from "./protocol.ts";
import { ResponseEncoder } from "./response-encoder.ts";
import type { EndStatus, Http2Stream } from "./stream.ts";

/** Above this the client does not keep up: its requests wait, and streams are asked to send no more. */
const CLOGGED_BYTES = 1024 * 1024;

export interface OutboundEvents {
  /** There is something to take where there was nothing. Take it later, not from within. */
  hasOutput(): void;
  /** A message was given, to which the client may react. */
  answered(): void;
  /** The last frame of a stream was written. */
  ended(stream: Http2Stream): void;
  /** More waits for the client than is kept for anybody. */
  overflow(): void;
}

export class Outbound {
  readonly output: Output;
  readonly #events: OutboundEvents;
  readonly #bytesMax: number;
  readonly #encoder: ResponseEncoder = new ResponseEncoder();
  readonly #waiting: Set<Http2Stream> = new Set();
  #window: number = INITIAL_WINDOW_BYTES;
  #initialWindow: number = INITIAL_WINDOW_BYTES;
  #queuedBytes = 0;
  /** Taken, and still on its way through the socket. */
  #unflushedBytes = 0;

  constructor(events: OutboundEvents, bytesMax: number) {
    this.output = new Output(() => events.hasOutput());
    this.#events = events;
    this.#bytesMax = bytesMax;
  }

  get initialWindow(): number {
    return this.#initialWindow;
  }

  /** All that waits for the client: in streams, to be taken, in the socket. */
  get waitingBytes(): number {
    return this.#queuedBytes + this.output.sizeBytes + this.#unflushedBytes;
  }

  /** The socket does not get rid of what it was given. */
  get isClogged(): boolean {
    return this.output.sizeBytes + this.#unflushedBytes > CLOGGED_BYTES;
  }

  take(): Uint8Array[] {
    this.#unflushedBytes += this.output.sizeBytes;
    return this.output.take();
  }

  /** So many of the taken bytes have left. */
  flushed(bytes: number): void {
    this.#unflushedBytes -= bytes;
    assert(this.#unflushedBytes >= 0, "only what was taken can leave");
  }

  limitTable(maxBytes: number): void {
    this.#encoder.limitTable(maxBytes);
  }

  message(stream: Http2Stream, message: Uint8Array): void {
    const total = message.length + PREFIX_BYTES;
    if (this.waitingBytes > this.#bytesMax) {
      this.#events.overflow();
      return;
    }
    this.#events.answered();
    if (!stream.isStarted) {
      stream.isStarted = true;
      this.#headers(stream.id, this.#encoder.start(), 0);
    }
    if (
      stream.queuedBytes === 0 &&
      total <= stream.sendWindow &&
      total <= this.#window &&
      total <= FRAME_PAYLOAD_BYTES_MAX
    ) {
      this.output.frameHeader(total, FrameType.data, 0, stream.id);
      this.output.messagePrefix(message.length);
      this.output.bytes(message, 0, message.length);
      stream.sendWindow -= total;
      this.#window -= total;
      return;
    }
    stream.queue.push(prefixOf(message.length), message);
    stream.queuedBytes += total;
    this.#queuedBytes += total;
    this.#pump(stream);
  }

  end(stream: Http2Stream, status: EndStatus, more: Readonly<Record<string, string>>): void {
    stream.endStatus = status;
    if (stream.queuedBytes > 0) return;
    if (stream.isStarted) this.#trailers(stream, status);
    else if (status.code === 0) {
      this.#headers(stream.id, this.#encoder.start(), 0);
      this.#trailers(stream, status);
    } else {
      const block = this.#encoder.trailersOnly(status.code, status.message, more);
      this.#headers(stream.id, block, Flag.endStream);
      this.#events.ended(stream);
    }
  }

  plain(stream: Http2Stream, status: number, headers: Readonly<Record<string, string>>): void {
    stream.endStatus = { code: 0, message: "" };
    this.#headers(stream.id, this.#encoder.plain(status, headers), Flag.endStream);
    this.#events.ended(stream);
  }

  /** Forgets what a stream still had to send. */
  drop(stream: Http2Stream): void {
    this.#queuedBytes -= stream.queuedBytes;
    stream.queuedBytes = 0;
    stream.queue = [];
    this.#waiting.delete(stream);
  }

  /** The client allows more on one stream. False when it allows more than there is. */
  openStream(stream: Http2Stream, increment: number): boolean {
    if (stream.sendWindow + increment > WINDOW_BYTES_MAX) return false;
    stream.sendWindow += increment;
    if (stream.queuedBytes > 0) this.#pump(stream);
    return true;
  }

  /** The client allows more on the connection. False when it allows more than there is. */
  openConnection(increment: number): boolean {
    if (this.#window + increment > WINDOW_BYTES_MAX) return false;
    this.#window += increment;
    while (this.#window > 0) {
      const [stream] = this.#waiting;
      if (stream === undefined) break;
      this.#waiting.delete(stream);
      this.#frame(stream);
      this.#settle(stream);
    }
    return true;
  }

  /** The client changed with how much a stream begins, which moves those that are open too (section 6.9.2). */
  changeInitialWindow(bytes: number, streams: Iterable<Http2Stream>): boolean {
    const difference = bytes - this.#initialWindow;
    this.#initialWindow = bytes;
    for (const stream of streams) {
      if (stream.sendWindow + difference > WINDOW_BYTES_MAX) return false;
      stream.sendWindow += difference;
      if (stream.sendWindow <= 0) this.#waiting.delete(stream);
      else if (difference > 0 && stream.queuedBytes > 0) this.#pump(stream);
    }
    return true;
  }

  invariants(streams: Iterable<Http2Stream>): void {
    let queued = 0;
    for (const stream of streams) {
      queued += stream.queuedBytes;
      const held = stream.queue.reduce((sum, piece) => sum + piece.length, 0) - stream.queueOffset;
      assert(held === stream.queuedBytes, "a stream knows how much it holds");
    }
    assert(queued === this.#queuedBytes, "what waits is the sum of the streams");
    assert(this.#window >= 0, "the window of the connection is not overdrawn");
    for (const stream of this.#waiting) {
      assert(stream.queuedBytes > 0 && stream.sendWindow > 0, "who waits has something to send");
    }
  }

  /** Sends of a stream what may be sent. */
  #pump(stream: Http2Stream): void {
    while (stream.queuedBytes > 0 && stream.sendWindow > 0 && this.#window > 0) this.#frame(stream);
    this.#settle(stream);
  }

  /** After frames of a stream: it waits for a window, or has nothing left to send. */
  #settle(stream: Http2Stream): void {
    if (stream.queuedBytes > 0) {
      if (stream.sendWindow > 0) this.#waiting.add(stream);
      return;
    }
    this.#waiting.delete(stream);
    if (stream.endStatus !== null) this.#trailers(stream, stream.endStatus);
    else stream.listener?.writable();
  }

  /** One frame of what a stream has queued, as large as the windows allow. */
  #frame(stream: Http2Stream): void {
    let left = Math.min(
      stream.queuedBytes,
      stream.sendWindow,
      this.#window,
      FRAME_PAYLOAD_BYTES_MAX,
    );
    this.output.frameHeader(left, FrameType.data, 0, stream.id);
    stream.queuedBytes -= left;
    this.#queuedBytes -= left;
    stream.sendWindow -= left;
    this.#window -= left;
    let done = 0;
    while (left > 0) {
      const piece = stream.queue[done] as Uint8Array;
      const length = Math.min(left, piece.length - stream.queueOffset);
      this.output.bytes(piece, stream.queueOffset, stream.queueOffset + length);
      left -= length;
      stream.queueOffset += length;
      if (stream.queueOffset === piece.length) {
        done++;
        stream.queueOffset = 0;
      }
    }
    if (done > 0) stream.queue.splice(0, done);
  }

  #trailers(stream: Http2Stream, status: EndStatus): void {
    const block =
      status.code === 0
        ? this.#encoder.trailersOk()
        : this.#encoder.trailers(status.code, status.message);
    this.#headers(stream.id, block, Flag.endStream);
    this.#events.ended(stream);
  }

  #headers(streamId: number, block: Uint8Array, flags: number): void {
    assert(block.length <= FRAME_PAYLOAD_BYTES_MAX, "a header block of ours fits a frame");
    this.output.frameHeader(block.length, FrameType.headers, flags | Flag.endHeaders, streamId);
    this.output.bytes(block, 0, block.length);
  }
}

function prefixOf(length: number): Uint8Array {
  return Uint8Array.of(0, length >>> 24, length >>> 16, length >>> 8, length);
}
