/**
 * One connection to one member: Node's HTTP/2 client, on which gRPC is five bytes before each message and a status behind
 * the last. What it adds is what a caller has to know when no answer came: whether the request certainly was not done.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from "node:http2";
import { connect as connectTcp } from "node:net";
import { MessageReader } from "../codec/index.ts";
import type { Endpoint } from "./endpoints.ts";

const PREFIX_BYTES = 5;
/** Longer than any answer of a member. */
const MESSAGE_BYTES_MAX: number = 512 * 1024 * 1024;
/** What of one answer may be on its way: of a watch that is not read, all that waits here. */
const STREAM_WINDOW_BYTES: number = 1024 * 1024;
/** Of all of them together. */
const WINDOW_BYTES: number = 4 * 1024 * 1024;

/**
 * For all that waits to be sent, in megabytes. Node's own bound is 10, and beyond it a session takes no answer any more, not
 * even that to a request which is the reason: how much a program asks at a time is its own business, as it is in process.
 */
const SESSION_MEMORY_MB: number = 1024 * 1024;

/** What is still under way on a connection that is not used any more is given so long. */
const LINGER_MS = 60_000;

/** What became of a request. */
export type Answer =
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  /** The member answered with a status that is not OK. */
  | { readonly kind: "status"; readonly code: number; readonly text: string }
  /** No answer. `isCertainlyNot`: the member has not done anything with the request and never will. */
  | { readonly kind: "lost"; readonly isCertainlyNot: boolean; readonly why: string };

/** What the owner of a stream hears. Nothing after `over`, which comes once. */
export interface StreamEvents {
  message(bytes: Uint8Array): void;
  /** `ended`: the member ended it in order. */
  over(how: Exclude<Answer, { readonly kind: "message" }> | { readonly kind: "ended" }): void;
}

/** A request under way. Cancelled it hears nothing more. */
export interface Under {
  cancel(): void;
  /** For streams: nothing more is read until `resume`. */
  pause(): void;
  resume(): void;
}

export class Channel {
  readonly endpoint: Endpoint;
  readonly #session: ClientHttp2Session;
  #isOver = false;
  #why = "the connection was closed";
  readonly #onOver: Set<() => void> = new Set();

  private constructor(endpoint: Endpoint, session: ClientHttp2Session) {
    this.endpoint = endpoint;
    this.#session = session;
    session.on("error", (error) => this.#over(reasonOf(error)));
    session.on("goaway", () => this.#over("the member is going away"));
    session.on("close", () => this.#over(this.#why));
  }

  /** Resolves when the other end has spoken HTTP/2; rejects with an Error that says why it has not. */
  static open(endpoint: Endpoint, timeoutMs: number): Promise<Channel> {
    return new Promise((resolve, reject) => {
      const { host, port } = endpoint;
      const session = connectHttp2(`http://${endpoint.text}`, {
        createConnection: () => connectTcp({ host, port, noDelay: true }),
        settings: { initialWindowSize: STREAM_WINDOW_BYTES, enablePush: false },
        maxSessionMemory: SESSION_MEMORY_MB,
      });
      const fail = (why: string): void => {
        clearTimeout(timer);
        session.destroy();
        reject(new Error(why));
      };
      const failed = (error: Error): void => fail(reasonOf(error));
      const closed = (): void => fail("it closed the connection");
      const timer = setTimeout(() => fail(`no connection within ${timeoutMs} ms`), timeoutMs);
      session.once("error", failed);
      session.once("close", closed);
      session.once("remoteSettings", () => {
        clearTimeout(timer);
        session.off("error", failed);
        session.off("close", closed);
        session.setLocalWindowSize(WINDOW_BYTES);
        resolve(new Channel(endpoint, session));
      });
    });
  }

  /** It takes no more requests. Those under way hear for themselves. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Calls `listener` once when it is over; the answer takes it back. */
  whenOver(listener: () => void): () => void {
    if (this.#isOver) listener();
    else this.#onOver.add(listener);
    return () => this.#onOver.delete(listener);
  }

  unary(path: string, message: Uint8Array, done: (answer: Answer) => void): Under {
    let bytes: Uint8Array | null = null;
    return this.stream(path, message, {
      message: (found) => {
        bytes ??= found;
      },
      over: (how) => {
        if (how.kind !== "ended") done(how);
        else if (bytes !== null) done({ kind: "message", bytes });
        else done({ kind: "lost", isCertainlyNot: false, why: "the answer had no message" });
      },
    });
  }

  stream(path: string, message: Uint8Array, events: StreamEvents): Under {
    let stream: ClientHttp2Stream;
    try {
      if (this.#isOver) throw new Error(this.#why);
      stream = this.#session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
      });
    } catch (error) {
      const why = reasonOf(error);
      // Nothing is called back within the call that asked.
      let isCancelled = false;
      setImmediate(() => {
        if (!isCancelled) events.over({ kind: "lost", isCertainlyNot: true, why });
      });
      return { cancel: () => (isCancelled = true), pause: () => {}, resume: () => {} };
    }
    return new Exchange(stream, message, events);
  }

  /** Calls `listener` when nothing is under way any more and the connection is closed. */
  whenClosed(listener: () => void): void {
    this.#session.once("close", listener);
  }

  /** Takes no new requests; those under way go on for a while. */
  retire(): void {
    this.#over("it is not asked any more");
    this.#session.close();
    setTimeout(() => this.#session.destroy(), LINGER_MS).unref();
  }

  /** Cuts it, with all that is under way. */
  destroy(why: string): void {
    this.#over(why);
    this.#session.destroy();
  }

  #over(why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#why = why;
    const listeners = [...this.#onOver];
    this.#onOver.clear();
    for (const listener of listeners) listener();
  }
}

/** One request and what is said to it. */
class Exchange implements Under {
  readonly #stream: ClientHttp2Stream;
  readonly #events: StreamEvents;
  readonly #reader = new MessageReader(MESSAGE_BYTES_MAX);
  /** Null until the member has said it. */
  #status: { readonly code: number; readonly text: string } | null = null;
  #httpStatus = 200;
  #error: Error | null = null;
  #isOver = false;

  constructor(stream: ClientHttp2Stream, message: Uint8Array, events: StreamEvents) {
    this.#stream = stream;
    this.#events = events;
    const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
    framed[0] = 0;
    framed.writeUInt32BE(message.length, 1);
    framed.set(message, PREFIX_BYTES);
    stream.end(framed);
    stream.on("response", (headers) => this.#heed(headers));
    stream.on("trailers", (headers: Readonly<Record<string, unknown>>) => this.#heed(headers));
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("error", (error) => {
      this.#error ??= error;
    });
    stream.on("close", () => this.#close());
  }

  cancel(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stream.on("error", () => {});
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  #heed(headers: Readonly<Record<string, unknown>>): void {
    const { ":status": http, "grpc-status": code, "grpc-message": message } = headers;
    if (typeof http === "number") this.#httpStatus = http;
    if (code === undefined) return;
    const text = typeof message === "string" ? decodePercent(message) : "";
    this.#status = { code: Number(code), text };
  }

  #receive(chunk: Buffer): void {
    // A plain Uint8Array on the same memory: the pure layers do not know Buffers.
    this.#reader.give(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    for (;;) {
      if (this.#isOver) return;
      const message = this.#reader.next();
      if (message === null) break;
      this.#events.message(message);
    }
    if (this.#reader.fault !== null) {
      this.#error ??= new Error(`its answer is ${this.#reader.fault}`);
      this.#stream.close(constants.NGHTTP2_CANCEL);
    }
  }

  #close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const status = this.#status;
    if (status !== null) {
      this.#events.over(status.code === 0 ? { kind: "ended" } : { kind: "status", ...status });
      return;
    }
    const isCertainlyNot = this.#stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
    const why =
      this.#httpStatus === 200
        ? reasonOf(this.#error ?? new Error("the connection was lost"))
        : `it answers as HTTP ${this.#httpStatus}`;
    this.#events.over({ kind: "lost", isCertainlyNot, why });
  }
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection was reset",
  ENOTFOUND: "unknown host",
  EHOSTUNREACH: "no route to the host",
  ETIMEDOUT: "connection timed out",
  ERR_HTTP2_ERROR: "it does not speak HTTP/2",
};

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code ?? "";
  return REASONS[code] ?? (error.message === "" ? code : error.message);
}
