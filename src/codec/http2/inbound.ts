/**
 * The receiving half of a connection: what each frame means in the state in which it comes (RFC 9113, sections 5 and
 * 6). A wrong frame costs its stream where the paper allows that, and the connection otherwise.
 */
import { assert } from "../../base/index.ts";
import { Budget } from "./budget.ts";
import { type FrameSink, readU32BigEndian } from "./frame-reader.ts";
import { type InboundTarget, paddingOf } from "./inbound-target.ts";
import { InboundHeaders } from "./inbound-headers.ts";
import { type Http2Limits, WINDOW_STEP_BYTES_MIN } from "./limits.ts";
import { writeWindowUpdate } from "./output.ts";
import { Flag, FrameType, Http2Code, INITIAL_WINDOW_BYTES } from "./protocol.ts";
import { readSettings } from "./settings.ts";

export class Inbound implements FrameSink {
  readonly #target: InboundTarget;
  readonly #headers: InboundHeaders;
  readonly #control: Budget;
  readonly #windowBytes: number;
  /** What the client may still send on the connection. */
  #window: number;
  #hasSettings = false;

  constructor(target: InboundTarget, limits: Http2Limits) {
    this.#target = target;
    this.#headers = new InboundHeaders(target, limits);
    this.#control = new Budget(limits.control);
    assert(limits.connectionWindowBytes >= INITIAL_WINDOW_BYTES, "a window is never shrunk");
    this.#windowBytes = limits.connectionWindowBytes;
    this.#window = limits.connectionWindowBytes;
  }

  get hasSettings(): boolean {
    return this.#hasSettings;
  }

  advance(nowMs: number): void {
    this.#control.advance(nowMs);
  }

  /** Something useful was done for the client, to which it may react. */
  earn(tokens: number): void {
    this.#control.earn(tokens);
  }

  invariants(): void {
    this.#headers.invariants();
  }

  frame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (!this.#headers.mayFollow(type, streamId))
      this.#target.fail(Http2Code.protocolError, "a header block was broken off");
    else if (!this.#hasSettings && (type !== FrameType.settings || (flags & Flag.ack) !== 0))
      this.#target.fail(Http2Code.protocolError, "the first frame is not SETTINGS");
    else this.#dispatch(type, flags, streamId, bytes, start, end);
    return this.#target.isOpen;
  }

  frameTooLong(): void {
    this.#target.fail(Http2Code.frameSizeError, "a frame is longer than allowed");
  }

  #dispatch(
    type: number,
    flags: number,
    streamId: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    switch (type) {
      case FrameType.data:
        this.#data(flags, streamId, bytes, start, end);
        break;
      case FrameType.headers:
        this.#headers.headers(flags, streamId, bytes, start, end);
        break;
      case FrameType.continuation:
        this.#headers.continuation(flags, bytes.subarray(start, end));
        break;
      case FrameType.rstStream:
        this.#rstStream(streamId, end - start);
        break;
      case FrameType.settings:
        this.#settings(flags, streamId, bytes, start, end);
        break;
      case FrameType.ping:
        this.#ping(flags, streamId, bytes, start, end);
        break;
      case FrameType.windowUpdate:
        this.#windowUpdate(streamId, bytes, start, end);
        break;
      case FrameType.goaway:
        if (streamId !== 0) this.#target.fail(Http2Code.protocolError, "GOAWAY on a stream");
        else if (end - start < 8) this.#wrongSize("GOAWAY");
        break;
      case FrameType.priority:
        if (streamId === 0) this.#target.fail(Http2Code.protocolError, "PRIORITY on no stream");
        else if (end - start !== 5) this.#wrongSize("PRIORITY");
        else this.#pay(1);
        break;
      case FrameType.pushPromise:
        this.#target.fail(Http2Code.protocolError, "a client cannot push");
        break;
      default:
        this.#pay(1);
        break;
    }
  }

  #data(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const stream = this.#target.streamOf(streamId);
    if (stream === undefined && this.#target.isIdle(streamId)) {
      this.#target.fail(Http2Code.protocolError, "DATA on a stream that was not opened");
      return;
    }
    this.#window -= length;
    // A frame is shorter than the half that is always open, so the client cannot overdraw this one. It is given back
    // whatever becomes of the bytes: what bounds them are the windows of the streams.
    assert(this.#window >= 0, "the window of the connection is open wide enough for a frame");
    if (this.#window < this.#windowBytes / 2) {
      writeWindowUpdate(this.#target.outbound.output, 0, this.#windowBytes - this.#window);
      this.#window = this.#windowBytes;
    }
    const padding = paddingOf(flags, bytes, start, end);
    if (padding === null) {
      this.#target.fail(Http2Code.protocolError, "more padding than frame");
      return;
    }
    if (stream === undefined) {
      // On its way when we ended the stream.
      this.#pay(1);
      return;
    }
    if (stream.isRemoteClosed) {
      this.#target.reset(streamId, Http2Code.streamClosed);
      return;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) {
      this.#target.reset(streamId, Http2Code.flowControlError);
      return;
    }
    const from = (flags & Flag.padded) === 0 ? start : start + 1;
    const to = end - padding;
    const isLast = (flags & Flag.endStream) !== 0;
    if (to > from) {
      stream.receivedBytes += to - from;
      stream.listener?.data(bytes.subarray(from, to));
    } else if (!isLast && !this.#pay(1)) return;
    if (isLast && !stream.isOver) this.#target.halfClose(stream);
  }

  #rstStream(streamId: number, length: number): void {
    if (length !== 4) this.#wrongSize("RST_STREAM");
    else if (this.#target.isIdle(streamId))
      this.#target.fail(Http2Code.protocolError, "RST_STREAM on a stream that was not opened");
    else {
      const stream = this.#target.streamOf(streamId);
      if (stream === undefined) this.#pay(1);
      else this.#target.cancelled(stream);
    }
  }

  #settings(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (streamId !== 0) {
      this.#target.fail(Http2Code.protocolError, "SETTINGS on a stream");
      return;
    }
    if ((flags & Flag.ack) !== 0) {
      if (length !== 0) this.#wrongSize("SETTINGS");
      else this.#pay(1);
      return;
    }
    const settings = readSettings(bytes, start, end);
    if (typeof settings === "number") {
      this.#target.fail(settings, "SETTINGS that cannot be");
      return;
    }
    // Every one of them may move the window of every stream.
    if (!this.#pay(1 + Math.floor(length / 60))) return;
    this.#hasSettings = true;
    const { outbound } = this.#target;
    if (settings.headerTableBytes !== null) outbound.limitTable(settings.headerTableBytes);
    outbound.output.frameHeader(0, FrameType.settings, Flag.ack, 0);
    if (
      settings.initialWindowBytes !== null &&
      !outbound.changeInitialWindow(settings.initialWindowBytes, this.#target.openStreams())
    )
      this.#target.fail(Http2Code.flowControlError, "a window beyond 2^31 - 1");
  }

  #ping(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId !== 0) this.#target.fail(Http2Code.protocolError, "PING on a stream");
    else if (end - start !== 8) this.#wrongSize("PING");
    else if ((flags & Flag.ack) !== 0) this.#target.pinged();
    else if (this.#pay(1)) {
      const { output } = this.#target.outbound;
      output.frameHeader(8, FrameType.ping, Flag.ack, 0);
      output.bytes(bytes, start, end);
    }
  }

  #windowUpdate(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (end - start !== 4) {
      this.#wrongSize("WINDOW_UPDATE");
      return;
    }
    const increment = readU32BigEndian(bytes, start) & 0x7fff_ffff;
    if (increment < WINDOW_STEP_BYTES_MIN && !this.#pay(1)) return;
    const { outbound } = this.#target;
    if (streamId === 0) {
      if (increment === 0)
        this.#target.fail(Http2Code.protocolError, "a window is opened by nothing");
      else if (!outbound.openConnection(increment))
        this.#target.fail(Http2Code.flowControlError, "a window beyond 2^31 - 1");
      return;
    }
    const stream = this.#target.streamOf(streamId);
    if (stream === undefined) {
      if (this.#target.isIdle(streamId))
        this.#target.fail(Http2Code.protocolError, "a window of a stream that was not opened");
      return;
    }
    if (increment === 0) this.#target.reset(streamId, Http2Code.protocolError);
    else if (!outbound.openStream(stream, increment))
      this.#target.reset(streamId, Http2Code.flowControlError);
  }

  /** False when the client has used up what it may, and the connection with it. */
  #pay(tokens: number): boolean {
    if (this.#control.spend(tokens)) return true;
    this.#target.fail(Http2Code.enhanceYourCalm, "too many frames that bring nothing");
    return false;
  }

  #wrongSize(what: string): void {
    this.#target.fail(Http2Code.frameSizeError, `${what} of a wrong length`);
  }
}
