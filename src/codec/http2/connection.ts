/**
 * The server's side of an HTTP/2 connection as a synchronous machine: bytes in, streams and bytes out (RFC 9113). It
 * knows no socket, no clock and no timer, so that any order of events can be played to it.
 *
 *     preface ---- the client's greeting ----> open ---- an error, or drained ----> finished
 *        \---- not HTTP/2 -------------------------------------------------------/
 *
 * Invariants:
 * 1. Whatever the client sends, `receive` returns; the worst outcome is a GOAWAY and `finished`.
 * 2. A stream's listener hears `closed` exactly once, and nothing after it.
 * 3. Header blocks are decoded in their order, all of them, also those of requests that are refused or ignored.
 * 4. Memory: one torn frame, one header block, the open streams, and what waits for the client; each has a limit.
 */
import { assert, EMPTY_BYTES, utf8, verify } from "../../base/index.ts";
import { Budget } from "./budget.ts";
import { FrameReader } from "./frame-reader.ts";
import { answerToHttp1, Greeting } from "./greeting.ts";
import { Inbound } from "./inbound.ts";
import type { InboundTarget } from "./inbound-target.ts";
import { CONTROL_EARNED_BY_ANSWER, type Http2Limits } from "./limits.ts";
import { Outbound } from "./outbound.ts";
import { writeGoaway, writeReset, writeSettings, writeWindowUpdate } from "./output.ts";
import { FrameType, Http2Code, INITIAL_WINDOW_BYTES, Setting } from "./protocol.ts";
import type { RequestHead } from "./request-head.ts";
import { Http2Stream, type StreamListener, type StreamOwner } from "./stream.ts";

/** gRPC's RESOURCE_EXHAUSTED, the one status that this layer answers by itself. */
const RESOURCE_EXHAUSTED = 8;
/** Of streams that we ended before the client did, which may not know yet. */
const RECENT_RESETS_MAX = 256;

export interface ConnectionEvents {
  /** A call begins. What is returned hears of it from then on; null when it was answered at once. */
  request(stream: Http2Stream, head: RequestHead): StreamListener | null;
  /** There are bytes to take where there were none. Take them when the call into the connection has returned. */
  hasOutput(): void;
  /** Nothing more comes of this connection: write what is there, then close it. Called once. */
  finished(): void;
}

/** Why a connection was broken: the code of the GOAWAY and its words. */
export interface ConnectionFault {
  readonly code: Http2Code;
  readonly why: string;
}

export class Http2Connection implements InboundTarget, StreamOwner {
  readonly outbound: Outbound;
  readonly #events: ConnectionEvents;
  readonly #limits: Http2Limits;
  readonly #greeting: Greeting = new Greeting();
  readonly #inbound: Inbound;
  readonly #reader: FrameReader;
  readonly #streams: Map<number, Http2Stream> = new Map();
  readonly #recentResets: Set<number> = new Set();
  readonly #resets: Budget;
  #state: "preface" | "open" | "finished" = "preface";
  #fault: ConnectionFault | null = null;
  #isDraining = false;
  #lastStreamId = 0;
  #pings = 0;

  constructor(limits: Http2Limits, events: ConnectionEvents) {
    this.#limits = limits;
    this.#events = events;
    this.#inbound = new Inbound(this, limits);
    this.#reader = new FrameReader(this.#inbound);
    this.#resets = new Budget(limits.resets);
    this.outbound = new Outbound(
      {
        hasOutput: () => events.hasOutput(),
        answered: () => this.#inbound.earn(CONTROL_EARNED_BY_ANSWER),
        ended: (stream) => this.#ended(stream),
        overflow: () => this.fail(Http2Code.enhanceYourCalm, "the answers are not read"),
      },
      limits.maxWaitingBytes,
    );
  }

  /** The client has spoken HTTP/2 as far as its first SETTINGS. */
  get isGreeted(): boolean {
    return this.#inbound.hasSettings;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get isFinished(): boolean {
    return this.#state === "finished";
  }

  /** How many calls are open. */
  get calls(): number {
    return this.#streams.size;
  }

  /** How many of our pings were answered. */
  get pings(): number {
    return this.#pings;
  }

  /** Null unless the client broke the protocol or a limit. */
  get fault(): ConnectionFault | null {
    return this.#fault;
  }

  /** `bytes` may be held: nobody may write to them afterwards. `nowMs`: of any monotonic clock. */
  receive(bytes: Uint8Array, nowMs: number): void {
    this.#resets.advance(nowMs);
    this.#inbound.advance(nowMs);
    let at = 0;
    if (this.#state === "preface") {
      at = this.#greeting.take(bytes);
      if (this.#greeting.outcome === "unfinished") return;
      if (this.#greeting.outcome === "http2") this.#begin();
      else {
        if (this.#greeting.outcome === "http1") {
          const answer = answerToHttp1();
          this.outbound.output.bytes(answer, 0, answer.length);
        }
        this.#finish();
      }
    }
    if (this.#state === "open") this.#reader.receive(bytes, at);
    verify(() => this.invariants());
  }

  /** The client's connection is gone: every call that is open is over. */
  lost(): void {
    this.#finish();
  }

  /** Takes no new calls. When those that are open have ended, the connection is finished. */
  drain(): void {
    if (this.#state === "preface") this.#finish();
    if (this.#state !== "open" || this.#isDraining) return;
    this.#isDraining = true;
    // Calls that are on their way have higher numbers: the client knows that they were not looked at.
    writeGoaway(this.outbound.output, this.#lastStreamId, Http2Code.noError, EMPTY_BYTES);
    if (this.#streams.size === 0) this.#finish();
  }

  /** Asks whether the client is there; `pings` says when it has answered. */
  ping(): void {
    if (this.#state !== "open") return;
    const { output } = this.outbound;
    output.frameHeader(8, FrameType.ping, 0, 0);
    output.u32(0);
    output.u32(0);
  }

  /** So many of the taken bytes have left. */
  flushed(bytes: number): void {
    const wasClogged = this.outbound.isClogged;
    this.outbound.flushed(bytes);
    if (!wasClogged || this.outbound.isClogged) return;
    for (const stream of this.#streams.values())
      if (stream.queuedBytes === 0) stream.listener?.writable();
  }

  invariants(): void {
    this.outbound.invariants(this.#streams.values());
    this.#inbound.invariants();
    assert(this.#streams.size <= this.#limits.maxConcurrentStreams, "streams keep to their limit");
    assert(this.#state !== "finished" || this.#streams.size === 0, "what is finished is empty");
    for (const stream of this.#streams.values()) assert(!stream.isOver, "open streams are open");
  }

  grant(stream: Http2Stream, increment: number): void {
    stream.receiveWindow += increment;
    writeWindowUpdate(this.outbound.output, stream.id, increment);
  }

  fail(code: Http2Code, why: string): void {
    if (this.#state === "finished") return;
    this.#fault = { code, why };
    writeGoaway(this.outbound.output, this.#lastStreamId, code, utf8(why));
    this.#finish();
  }

  streamOf(id: number): Http2Stream | undefined {
    return this.#streams.get(id);
  }

  openStreams(): Iterable<Http2Stream> {
    return this.#streams.values();
  }

  isIdle(id: number): boolean {
    return id === 0 || id % 2 === 0 || id > this.#lastStreamId;
  }

  admit(id: number): "open" | "ignore" | "wrong" {
    if (id <= this.#lastStreamId) return this.#recentResets.has(id) ? "ignore" : "wrong";
    if (this.#isDraining) {
      this.#lastStreamId = id;
      this.#remember(id);
      return "ignore";
    }
    return "open";
  }

  begin(id: number, head: RequestHead | null, isWhole: boolean): void {
    this.#lastStreamId = id;
    if (this.#streams.size >= this.#limits.maxConcurrentStreams) {
      this.reset(id, Http2Code.refusedStream);
      return;
    }
    const stream = new Http2Stream(id, this, this.outbound.initialWindow);
    this.#streams.set(id, stream);
    stream.isRemoteClosed = isWhole;
    if (head === null) {
      stream.end({ code: RESOURCE_EXHAUSTED, message: "the headers are too large" });
      return;
    }
    stream.contentLength = head.contentLength;
    const listener = this.#events.request(stream, head);
    // Answered, or the connection broken, before there was anybody to tell.
    if (stream.isOver) listener?.closed();
    else stream.listener = listener;
    if (isWhole && !stream.isOver) this.halfClose(stream);
  }

  reset(id: number, code: Http2Code): void {
    this.#lastStreamId = Math.max(this.#lastStreamId, id);
    writeReset(this.outbound.output, id, code);
    this.#remember(id);
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#close(stream);
    this.#payReset();
  }

  halfClose(stream: Http2Stream): void {
    stream.isRemoteClosed = true;
    if (stream.contentLength !== null && stream.contentLength !== stream.receivedBytes)
      this.reset(stream.id, Http2Code.protocolError);
    else stream.listener?.halfClosed();
  }

  cancelled(stream: Http2Stream): void {
    this.#close(stream);
    this.#payReset();
  }

  pinged(): void {
    this.#pings++;
  }

  #begin(): void {
    this.#state = "open";
    const { output } = this.outbound;
    writeSettings(output, [
      [Setting.maxConcurrentStreams, this.#limits.maxConcurrentStreams],
      [Setting.maxHeaderListSize, this.#limits.maxHeaderListBytes],
    ]);
    const more = this.#limits.connectionWindowBytes - INITIAL_WINDOW_BYTES;
    if (more > 0) writeWindowUpdate(output, 0, more);
  }

  /** The last frame of a stream was written. */
  #ended(stream: Http2Stream): void {
    this.#inbound.earn(CONTROL_EARNED_BY_ANSWER);
    if (!stream.isRemoteClosed) {
      // The answer is whole although the request is not: the client need not send the rest (section 8.1).
      writeReset(this.outbound.output, stream.id, Http2Code.noError);
      this.#remember(stream.id);
    }
    this.#close(stream);
  }

  #close(stream: Http2Stream): void {
    if (stream.isOver) return;
    stream.isOver = true;
    this.#streams.delete(stream.id);
    this.outbound.drop(stream);
    stream.listener?.closed();
    if (this.#isDraining && this.#streams.size === 0) this.#finish();
  }

  #remember(id: number): void {
    this.#recentResets.add(id);
    if (this.#recentResets.size <= RECENT_RESETS_MAX) return;
    const [oldest] = this.#recentResets;
    if (oldest !== undefined) this.#recentResets.delete(oldest);
  }

  #payReset(): void {
    if (!this.#resets.spend(1)) this.fail(Http2Code.enhanceYourCalm, "too many streams are reset");
  }

  #finish(): void {
    if (this.#state === "finished") return;
    this.#state = "finished";
    for (const stream of this.#streams.values()) this.#close(stream);
    this.#events.finished();
  }
}
