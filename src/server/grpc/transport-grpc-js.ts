/**
 * Carries our methods over @grpc/grpc-js. Messages stay bytes: the library is given functions that hand them through,
 * so it neither parses nor builds any.
 *
 * The library answers by itself: a message above the limit (RESOURCE_EXHAUSTED, before it is buffered), a method that
 * is not served (UNIMPLEMENTED), a deadline that passed (DEADLINE_EXCEEDED).
 */
import type { EventEmitter } from "node:events";
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { EMPTY_BYTES } from "../../base/index.ts";
import type { LogSink } from "../../env/index.ts";
import { listenOn } from "../listener.ts";
import { logDefect } from "./answer.ts";
import { CallSignal } from "./call-signal.ts";
import type { Call, Method, StreamCall, StreamListener, UnaryReply } from "./method.ts";
import { type GrpcStatus, INTERNAL_DEFECT, statusOf } from "./status.ts";

export interface TransportOptions {
  /** `http://host:port`; port 0 lets the system choose. */
  readonly urls: readonly string[];
  /** Of one received message. */
  readonly maxMessageBytes: number;
  /** Calls that one connection may have open. */
  readonly maxConcurrentStreams: number;
  /** A connection without calls is closed after so long; also one on which nobody ever speaks HTTP/2. */
  readonly connectionIdleMs: number;
}

export interface Transport {
  /** What is listened on, with the ports that were chosen. */
  readonly addresses: readonly string[];
  /** Takes no new calls, lets those on their way finish for at most `graceMs`, and cuts what is left. */
  close(graceMs: number): Promise<void>;
}

// How etcd notices a peer that is gone without a word: a ping after two idle hours, cut when it is not answered.
const KEEPALIVE_MS = 2 * 3600 * 1000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

export async function listenGrpc(
  methods: readonly Method[],
  options: TransportOptions,
  log: LogSink,
): Promise<Transport> {
  const server = new Server({
    "grpc.max_receive_message_length": options.maxMessageBytes,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": options.maxConcurrentStreams,
    "grpc.max_connection_idle_ms": options.connectionIdleMs,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    // Statistics of every call that nobody reads. Without them `forceShutdown` of the library finds no connections,
    // which is one reason why the listener keeps them itself.
    "grpc.enable_channelz": 0,
  });
  const streams = new Set<OpenStream>();
  for (const method of methods) register(server, method, streams, log);
  const door = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listeners = await listenOn(options.urls, (socket) => door.injectConnection(socket));
  return {
    addresses: listeners.addresses,
    close: async (graceMs) => {
      listeners.stop();
      // A stream has no end of its own that one could wait for: its client is told to go elsewhere.
      for (const stream of streams) stream.end(statusOf("CLOSED"));
      await new Promise<void>((resolve) => {
        const cut = setTimeout(() => listeners.cut(), graceMs);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      });
      listeners.cut();
    },
  };
}

const handOver = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
/** A plain Uint8Array on the same memory: views of a Buffer would be Buffers, which the pure layers do not know. */
const takeOver = (buffer: Buffer): Uint8Array =>
  new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);

function register(server: Server, method: Method, streams: Set<OpenStream>, log: LogSink): void {
  if (method.kind === "unary") {
    const handler: handleUnaryCall<Uint8Array, Uint8Array> = (call, callback) => {
      const reply: UnaryReply = (status, response) =>
        logged(log, () => callback(status === null ? null : asError(status), response));
      if (!logged(log, () => method.handle(call.request, new UnaryCall(call), reply))) {
        reply(INTERNAL_DEFECT, EMPTY_BYTES);
      }
    };
    server.register(method.path, handler, handOver, takeOver, "unary");
  } else if (method.kind === "serverStream") {
    const handler: handleServerStreamingCall<Uint8Array, Uint8Array> = (call) => {
      const stream = new OpenStream(call, streams, log);
      const listener = stream.start(method.open);
      listener.message(call.request, () => listener.halfClosed());
    };
    server.register(method.path, handler, handOver, takeOver, "serverStream");
  } else {
    const handler: handleBidiStreamingCall<Uint8Array, Uint8Array> = (call) => {
      const stream = new OpenStream(call, streams, log);
      const listener = stream.start(method.open);
      call.on("data", (message: Uint8Array) => {
        call.pause();
        listener.message(message, () => stream.whenWritable(() => call.resume()));
      });
      call.on("end", () => listener.halfClosed());
    };
    server.register(method.path, handler, handOver, takeOver, "bidi");
  }
}

/**
 * Runs what may throw although it should not: a handler, and the library when it is given an answer. Answers are given
 * in the database's turn, which must not be broken off by a door's troubles. False when it threw.
 */
function logged(log: LogSink, action: () => unknown): boolean {
  try {
    action();
    return true;
  } catch (error) {
    logDefect(log, error);
    return false;
  }
}

function asError(status: GrpcStatus): { readonly code: number; readonly details: string } {
  return { code: status.code, details: status.message };
}

/** What all kinds of the library's calls have. */
type AnyCall = EventEmitter & { readonly metadata: Metadata };
type WritableCall =
  | ServerWritableStream<Uint8Array, Uint8Array>
  | ServerDuplexStream<Uint8Array, Uint8Array>;

class UnaryCall implements Call {
  readonly signal: AbortSignal;
  readonly #call: AnyCall;

  constructor(call: AnyCall) {
    this.#call = call;
    const signal = new CallSignal();
    this.signal = signal.asAbortSignal();
    // Also fires after an answer was sent: the signal then has no listener left.
    call.on("cancelled", () => signal.abort());
  }

  metadata(name: string): string | undefined {
    const value = this.#call.metadata.get(name)[0];
    return value === undefined ? undefined : value.toString();
  }
}

class OpenStream extends UnaryCall implements StreamCall {
  readonly #call: WritableCall;
  readonly #open: Set<OpenStream>;
  readonly #log: LogSink;
  #listener: StreamListener | null = null;
  #ended = false;

  constructor(call: WritableCall, open: Set<OpenStream>, log: LogSink) {
    super(call);
    this.#call = call;
    this.#open = open;
    this.#log = log;
    open.add(this);
    call.on("cancelled", () => this.#close());
    // The library reacts to it as well; without a listener here a broken connection would end the process.
    call.on("error", () => this.#close());
  }

  start(handler: (call: StreamCall) => StreamListener): StreamListener {
    this.#listener = handler(this);
    // Ended in its handler, before there was anybody to tell.
    if (this.#ended && !this.#open.has(this)) this.#listener.closed();
    return this.#listener;
  }

  send(message: Uint8Array): void {
    if (!this.#ended) logged(this.#log, () => this.#call.write(message));
  }

  end(status: GrpcStatus | null): void {
    if (this.#ended) return;
    logged(this.#log, () => {
      if (status === null) this.#call.end();
      else this.#call.emit("error", asError(status));
    });
    this.#close();
  }

  /** Runs `next` when what was sent has gone far enough that more may be sent: a client that does not read is not read. */
  whenWritable(next: () => void): void {
    if (this.#ended) return;
    if (this.#call.writableNeedDrain) this.#call.once("drain", next);
    else next();
  }

  #close(): void {
    this.#ended = true;
    if (this.#open.delete(this)) this.#listener?.closed();
  }
}
