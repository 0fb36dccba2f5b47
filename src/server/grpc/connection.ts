/**
 * One connection of a client: a byte stream of the host, the HTTP/2 machine, and the calls on it. Everything that
 * comes to be said within a turn leaves in one write.
 */
import type { Duplex } from "node:stream";
import { performance } from "node:perf_hooks";
import {
  Allowance,
  GrpcCall,
  type HeldRoom,
  Http2Connection,
  type Http2Limits,
  type Http2Stream,
  isGrpc,
  parseTimeout,
  type RequestHead,
  type StreamListener,
} from "../../codec/index.ts";
import type { LogSink } from "../../env/index.ts";
import { logDefect } from "./answer.ts";
import { type CallContext, StreamingCall, UnaryCall } from "./calls.ts";
import type { Method } from "./method.ts";
import { GrpcCode, type GrpcStatus, statusOf } from "./status.ts";

/** What all connections of a transport share. */
export interface ConnectionContext {
  readonly methods: ReadonlyMap<string, Method>;
  readonly services: ReadonlySet<string>;
  readonly limits: Http2Limits;
  readonly maxMessageBytes: number;
  /** For what has come of requests that are not whole. */
  readonly heldRoom: HeldRoom;
  /** A connection without calls is closed after so long. */
  readonly idleMs: number;
  /** A connection that has not spoken HTTP/2 by then is cut. */
  readonly handshakeMs: number;
  readonly log: LogSink;
}

/** For messages larger than a stream's window, of all calls of one connection. */
const ALLOWANCE_BYTES = 16 * 1024 * 1024;
/** How long a client has to close its side after we closed ours. */
const LINGER_MS = 1000;
/** A peer that is gone without a word: asked after two idle hours, as by etcd, and cut when it does not answer. */
const KEEPALIVE_MS = 2 * 3600 * 1000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** A client that takes nothing of what waits for it for so long is not there in any way that matters. */
const STALLED_MS = 10 * 60 * 1000;

export class GrpcConnection {
  readonly #socket: Duplex;
  readonly #context: ConnectionContext;
  readonly #http2: Http2Connection;
  readonly #allowance: Allowance;
  readonly #calls: CallContext;
  readonly #streams: Set<StreamingCall> = new Set();
  #isFlushPlanned = false;
  #isPaused = false;
  #unflushed = 0;
  #nowMs: number = performance.now();
  readonly #startedMs: number = this.#nowMs;
  #activeMs: number = this.#nowMs;
  #receivedMs: number = this.#nowMs;
  #flushedMs: number = this.#nowMs;
  #finishedMs = 0;
  /** When the client was asked whether it is there; null when it is not being asked. */
  #askedMs: number | null = null;
  #answers = 0;

  /** `closed` is called once, when the byte stream is closed. */
  constructor(socket: Duplex, context: ConnectionContext, closed: () => void) {
    this.#socket = socket;
    this.#context = context;
    this.#allowance = new Allowance(Math.max(ALLOWANCE_BYTES, context.maxMessageBytes * 2));
    this.#calls = { log: context.log, streams: this.#streams };
    this.#http2 = new Http2Connection(context.limits, {
      request: (stream, head) => this.#request(stream, head),
      hasOutput: () => this.#planFlush(),
      finished: () => this.#planFlush(),
    });
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    // A client that closes its side has nobody left to read answers.
    socket.on("end", () => this.#http2.lost());
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#http2.lost();
      closed();
    });
  }

  /** How many calls are open. */
  get calls(): number {
    return this.#http2.calls;
  }

  /** Ends it at once. */
  cut(): void {
    this.#socket.destroy();
  }

  /** Takes no new calls, ends streams, lets other calls finish, then closes. */
  drain(): void {
    for (const stream of this.#streams) stream.end(statusOf("CLOSED"));
    this.#http2.drain();
  }

  /** What is due by time. Called every now and then. */
  sweep(nowMs: number): void {
    const { idleMs, handshakeMs } = this.#context;
    const http2 = this.#http2;
    if (http2.calls > 0) this.#activeMs = nowMs;
    if (http2.isFinished) {
      // What was said in good order is given the time that it takes; of a connection that was broken off it is not.
      const isSaid = this.#unflushed === 0 || http2.fault !== null;
      const sinceMs = Math.max(this.#finishedMs, this.#flushedMs);
      if (nowMs - sinceMs > (isSaid ? LINGER_MS : STALLED_MS)) this.#socket.destroy();
    } else if (!http2.isGreeted) {
      if (nowMs - this.#startedMs > Math.min(handshakeMs, idleMs)) this.#socket.destroy();
    } else if (this.#unflushed > 0 && nowMs - this.#flushedMs > STALLED_MS) {
      this.#socket.destroy();
    } else if (http2.calls === 0 && nowMs - this.#activeMs > idleMs) {
      http2.drain();
    } else this.#keepAlive(nowMs);
  }

  #keepAlive(nowMs: number): void {
    const http2 = this.#http2;
    if (this.#askedMs === null) {
      if (nowMs - this.#receivedMs < KEEPALIVE_MS) return;
      this.#askedMs = nowMs;
      this.#answers = http2.pings;
      http2.ping();
    } else if (http2.pings > this.#answers) this.#askedMs = null;
    else if (nowMs - this.#askedMs > KEEPALIVE_TIMEOUT_MS) this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    if (this.#http2.isFinished) return;
    this.#nowMs = performance.now();
    this.#receivedMs = this.#nowMs;
    // A plain Uint8Array on the same memory: views of a Buffer would be Buffers, which the pure layers do not know.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#attempt(() => this.#http2.receive(bytes, this.#nowMs));
  }

  /** A defect of ours costs this connection, and nobody else anything. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      logDefect(this.#context.log, error);
      this.#socket.destroy();
    }
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    process.nextTick(() => this.#flush());
  }

  #flush(): void {
    this.#isFlushPlanned = false;
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    const { outbound } = this.#http2;
    const bytes = outbound.output.sizeBytes;
    if (bytes > 0) {
      const pieces = outbound.take();
      if (this.#unflushed === 0) this.#flushedMs = performance.now();
      this.#unflushed += bytes;
      const last = pieces.length - 1;
      if (last > 0) socket.cork();
      for (let i = 0; i < last; i++) socket.write(pieces[i]);
      socket.write(pieces[last], () => this.#flushed(bytes));
      if (last > 0) socket.uncork();
      if (outbound.isClogged && !this.#isPaused) {
        this.#isPaused = true;
        socket.pause();
      }
    }
    if (!this.#http2.isFinished) return;
    const { fault } = this.#http2;
    if (fault !== null)
      this.#context.log("debug", "grpc", "a connection was broken off", {
        code: fault.code,
        why: fault.why,
      });
    this.#finishedMs = performance.now();
    socket.resume();
    socket.end();
  }

  #flushed(bytes: number): void {
    this.#unflushed -= bytes;
    this.#flushedMs = performance.now();
    this.#attempt(() => this.#http2.flushed(bytes));
    if (!this.#isPaused || this.#http2.outbound.isClogged) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  #request(stream: Http2Stream, head: RequestHead): StreamListener | null {
    this.#activeMs = this.#nowMs;
    if (!isGrpc(head.contentType)) {
      stream.endPlain(415, {});
      return null;
    }
    if (head.method !== "POST") {
      stream.endPlain(405, { allow: "POST" });
      return null;
    }
    const method = this.#context.methods.get(head.path);
    if (method === undefined) {
      stream.end(this.#unknown(head.path));
      return null;
    }
    let timeoutMs: number | null = null;
    if (head.timeout !== "") {
      timeoutMs = parseTimeout(head.timeout);
      if (timeoutMs === null) {
        stream.end({ code: GrpcCode.internal, message: "malformed grpc-timeout" });
        return null;
      }
    }
    const { maxMessageBytes, heldRoom } = this.#context;
    const owner =
      method.kind === "unary"
        ? new UnaryCall(stream, head, method, this.#calls)
        : new StreamingCall(stream, head, method, this.#calls);
    const call = new GrpcCall(stream, owner, this.#allowance, heldRoom, {
      encoding: head.encoding,
      maxMessageBytes,
      firstMessageBytesMax: method.kind === "bidi" ? method.firstMessageBytesMax : undefined,
    });
    owner.start(call, timeoutMs);
    return call;
  }

  /** In the words of the library that etcd's clients know. */
  #unknown(path: string): GrpcStatus {
    const slash = path.lastIndexOf("/");
    const code = GrpcCode.unimplemented;
    if (!path.startsWith("/") || slash === 0)
      return { code, message: `malformed method name: ${JSON.stringify(path)}` };
    const service = path.slice(1, slash);
    return this.#context.services.has(service)
      ? { code, message: `unknown method ${path.slice(slash + 1)} for service ${service}` }
      : { code, message: `unknown service ${service}` };
  }
}
