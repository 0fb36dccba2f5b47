/**
 * One stream of a connection: one call. It holds state; the connection moves it (RFC 9113, section 5.1). A server's
 * stream begins with the client's request, so of the states of the paper three are left:
 *
 *     open ---- client ends ----> half closed (remote) ---- we end ----> closed
 *       \------------------------ we end or either resets --------------/
 *
 * A stream that we end while the client could still send is reset with NO_ERROR, so there is no half closed (local).
 */
import type { Outbound } from "./outbound.ts";
import { INITIAL_WINDOW_BYTES } from "./protocol.ts";

/** What the owner of a stream hears. After `closed` nothing more. */
export interface StreamListener {
  /** The next bytes of the body. They stay as they are for as long as they are held. */
  data(bytes: Uint8Array): void;
  /** The client sends no more. */
  halfClosed(): void;
  /** What was queued has left, or may leave: a good time to send more. */
  writable(): void;
  /** The stream is over, whoever ended it. Called once. */
  closed(): void;
}

export interface EndStatus {
  readonly code: number;
  readonly message: string;
}

/** How the connection is told what a stream needs. */
export interface StreamOwner {
  readonly outbound: Outbound;
  /** The client may send so many bytes more on this stream. */
  grant(stream: Http2Stream, increment: number): void;
}

export class Http2Stream {
  readonly id: number;
  readonly #owner: StreamOwner;
  listener: StreamListener | null = null;

  /** Set by the connection: what the client may still send, and what `content-length` promised. */
  receiveWindow: number = INITIAL_WINDOW_BYTES;
  receivedBytes = 0;
  contentLength: number | null = null;
  isRemoteClosed = false;
  isOver = false;

  /** Set by the outbound half. */
  sendWindow: number;
  isStarted = false;
  endStatus: EndStatus | null = null;
  queue: Uint8Array[] = [];
  /** Bytes of the first element of `queue` that have left. */
  queueOffset = 0;
  queuedBytes = 0;

  constructor(id: number, owner: StreamOwner, sendWindow: number) {
    this.id = id;
    this.#owner = owner;
    this.sendWindow = sendWindow;
  }

  /** Nothing of this stream waits and the connection's client reads. */
  get isWritable(): boolean {
    return this.queuedBytes === 0 && !this.#owner.outbound.isClogged;
  }

  /** One message, which nobody may change afterwards. Dropped when the stream is over or ending. */
  sendMessage(message: Uint8Array): void {
    if (!this.isOver && this.endStatus === null) this.#owner.outbound.message(this, message);
  }

  /** Ends the stream after what was sent. `more` are headers of an answer that has no message. The first end counts. */
  end(status: EndStatus, more: Readonly<Record<string, string>> = {}): void {
    if (!this.isOver && this.endStatus === null) this.#owner.outbound.end(this, status, more);
  }

  /** Answers in plain HTTP. */
  endPlain(httpStatus: number, headers: Readonly<Record<string, string>>): void {
    if (!this.isOver && this.endStatus === null)
      this.#owner.outbound.plain(this, httpStatus, headers);
  }

  /** Lets the client send until `windowBytes` are open. Small steps are saved up, unless it needs them to go on. */
  openWindow(windowBytes: number, neededBytes: number): void {
    if (this.isOver || this.isRemoteClosed) return;
    const increment = windowBytes - this.receiveWindow;
    if (
      increment >= INITIAL_WINDOW_BYTES / 2 ||
      (increment > 0 && this.receiveWindow < neededBytes)
    )
      this.#owner.grant(this, increment);
  }
}
