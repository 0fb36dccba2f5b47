/**
 * A call to another member as a link: one HTTP/2 connection with one stream on it. The client is Node's own
 * (docs/decisions/0013-links-between-members.md); what is gRPC about it is the five bytes before each frame.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
} from "node:http2";
import { connect } from "node:net";
import { MessageReader } from "../../codec/index.ts";
import type { Link, LinkEvents } from "../../env/index.ts";
import type { AddressBook } from "./addresses.ts";

const PREFIX_BYTES = 5;
/** What may be on its way to here: over a long way a snapshot is as fast as this lets it. */
const WINDOW_BYTES: number = 1024 * 1024;
/** In megabytes: beyond Node's own bound of 10, which one frame may exceed, nothing would be heard of how the call ends. */
const SESSION_MEMORY_MB = 1024;
/** What was said last, a refusal or an end, is given so long to leave. */
const LINGER_MS = 1000;

export interface OutgoingOptions {
  readonly path: string;
  readonly maxFrameBytes: number;
  readonly addresses: AddressBook;
}

export class OutgoingLink implements Link {
  readonly #events: LinkEvents;
  readonly #reader: MessageReader;
  #session: ClientHttp2Session | null = null;
  #stream: ClientHttp2Stream | null = null;
  #unsentBytes = 0;
  #isOver = false;
  #why = "the connection was closed";

  constructor(url: string, events: LinkEvents, options: OutgoingOptions) {
    this.#events = events;
    this.#reader = new MessageReader(options.maxFrameBytes);
    try {
      this.#open(new URL(url), options);
    } catch (error) {
      // Nothing is called back within the call that asked.
      setImmediate(() => this.#over(error instanceof Error ? error.message : String(error)));
    }
  }

  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  send(frame: Uint8Array): void {
    const stream = this.#stream;
    if (this.#isOver || stream === null) return;
    const message = Buffer.allocUnsafe(PREFIX_BYTES + frame.length);
    message[0] = 0;
    message.writeUInt32BE(frame.length, 1);
    message.set(frame, PREFIX_BYTES);
    this.#unsentBytes += frame.length;
    stream.write(message, () => {
      this.#unsentBytes -= frame.length;
      if (!this.#isOver) this.#events.drained();
    });
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const session = this.#session;
    this.#stream?.end();
    session?.close();
    setTimeout(() => session?.destroy(), LINGER_MS).unref();
  }

  #open(url: URL, { path, addresses }: OutgoingOptions): void {
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    // URL drops a port that is the default of its scheme.
    const port = url.port === "" ? 80 : Number(url.port);
    const session = connectHttp2(url, {
      createConnection: () => connect({ host, port, noDelay: true, lookup: addresses.lookup }),
      settings: { initialWindowSize: WINDOW_BYTES },
      maxSessionMemory: SESSION_MEMORY_MB,
    });
    this.#session = session;
    const failed = (error: Error): void => this.#over(error.message, isRefusal(error));
    session.on("connect", () => session.setLocalWindowSize(WINDOW_BYTES));
    session.on("error", failed);
    session.on("close", () => this.#over(this.#why));
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    this.#stream = stream;
    stream.on("response", (headers) => this.#heed(headers));
    stream.on("trailers", (headers: Readonly<Record<string, unknown>>) => this.#heed(headers));
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("error", failed);
    stream.on("end", () => this.#over(this.#why));
    stream.on("close", () => this.#over(this.#why));
  }

  /** Why the other end ended the call, if that is what these headers say. */
  #heed(headers: Readonly<Record<string, unknown>>): void {
    const { ":status": status, "grpc-status": code, "grpc-message": message } = headers;
    if (status !== undefined && status !== 200)
      this.#why = `it answers as HTTP ${String(status as number)}`;
    else if (code !== undefined && code !== "0")
      this.#why = `the call was ended: ${typeof message === "string" ? message : String(code as string)}`;
  }

  #receive(chunk: Buffer): void {
    // A plain Uint8Array on the same memory: the pure layers do not know Buffers.
    this.#reader.give(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    for (;;) {
      if (this.#isOver) return;
      const message = this.#reader.next();
      if (message === null) break;
      this.#events.frame(message);
    }
    if (this.#reader.fault !== null) this.#over(`its answer is ${this.#reader.fault}`);
  }

  #over(why: string, isRefused = false): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#session?.destroy();
    this.#events.closed(why, isRefused);
  }
}

/** A stream that waited for its connection fails with an error of its own, and names that of the connection as its cause. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (error as NodeJS.ErrnoException).code === "ECONNREFUSED" || isRefusal(error.cause);
}
