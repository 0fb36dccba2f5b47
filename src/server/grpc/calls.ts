/**
 * Calls as their methods see them: deadline, signal, metadata, and a net under every handler. Each call is answered
 * once, whatever its handler, its client and its deadline do in whichever order.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import {
  type CallListener,
  type GrpcCall,
  type Http2Stream,
  metadataValue,
  type RequestHead,
} from "../../codec/index.ts";
import type { LogSink } from "../../env/index.ts";
import { logDefect } from "./answer.ts";
import { CallSignal } from "./call-signal.ts";
import type { Call, Method, StreamCall, StreamListener, UnaryReply } from "./method.ts";
import { GrpcCode, type GrpcStatus, INTERNAL_DEFECT } from "./status.ts";

type UnaryMethod = Extract<Method, { readonly kind: "unary" }>;
type StreamingMethod = Exclude<Method, UnaryMethod>;

/** What the calls of one connection share. */
export interface CallContext {
  readonly log: LogSink;
  /** Calls that have no end of their own. */
  readonly streams: Set<StreamingCall>;
}

const OK = { code: 0, message: "" } as const;
const DEADLINE_EXCEEDED: GrpcStatus = {
  code: GrpcCode.deadlineExceeded,
  message: "Deadline exceeded",
};
const TOO_MANY_MESSAGES: GrpcStatus = {
  code: GrpcCode.internal,
  message: "grpc: more than one message for a method that takes one",
};
const NO_MESSAGE: GrpcStatus = {
  code: GrpcCode.internal,
  message: "grpc: no message for a method that takes one",
};
/** The longest that a timer of the host takes. */
const TIMER_MS_MAX = 0x7fff_ffff;

abstract class AnyCall implements Call, CallListener {
  protected readonly stream: Http2Stream;
  protected readonly context: CallContext;
  readonly #head: RequestHead;
  #grpc: GrpcCall | null = null;
  #signal: CallSignal | null = null;
  #deadline: NodeJS.Timeout | null = null;
  #isOver = false;

  constructor(stream: Http2Stream, head: RequestHead, context: CallContext) {
    this.stream = stream;
    this.#head = head;
    this.context = context;
  }

  /** Made when somebody asks for it: many calls are answered before. */
  get signal(): AbortSignal {
    if (this.#signal === null) {
      this.#signal = new CallSignal();
      if (this.#isOver) this.#signal.abort();
    }
    return this.#signal.asAbortSignal();
  }

  metadata(name: string): string | undefined {
    return metadataValue(this.#head.fields, name);
  }

  start(grpc: GrpcCall, timeoutMs: number | null): void {
    this.#grpc = grpc;
    if (timeoutMs === 0) this.stream.end(DEADLINE_EXCEEDED);
    else if (timeoutMs !== null)
      this.#deadline = setTimeout(
        () => this.attempt(() => this.stream.end(DEADLINE_EXCEEDED)),
        Math.min(timeoutMs, TIMER_MS_MAX),
      );
    this.opened();
  }

  abstract message(bytes: Uint8Array): void;
  abstract halfClosed(): void;
  abstract writable(): void;

  closed(): void {
    this.#isOver = true;
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    // After an answer nobody listens any more.
    this.attempt(() => this.#signal?.abort());
  }

  protected opened(): void {}

  protected next(): void {
    if (!this.stream.isOver) this.#grpc?.next();
  }

  /** Runs what may throw although it should not. What it throws costs this call its answer, and nobody else anything. */
  protected attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      logDefect(this.context.log, error);
      this.stream.end(INTERNAL_DEFECT);
    }
  }
}

export class UnaryCall extends AnyCall {
  readonly #method: UnaryMethod;
  #request: Uint8Array | null = null;

  constructor(stream: Http2Stream, head: RequestHead, method: UnaryMethod, context: CallContext) {
    super(stream, head, context);
    this.#method = method;
  }

  override message(bytes: Uint8Array): void {
    if (this.#request === null) this.#request = bytes;
    else this.stream.end(TOO_MANY_MESSAGES);
    this.next();
  }

  /** The handler runs when the request is whole, so that one that is not well formed has no effect. */
  override halfClosed(): void {
    const request = this.#request;
    if (request === null) {
      this.stream.end(NO_MESSAGE);
      return;
    }
    this.#request = EMPTY_BYTES;
    // Answers are given in the database's turn, which must not be broken off by a door's troubles.
    const reply: UnaryReply = (status, response) =>
      this.attempt(() => {
        if (status === null) this.stream.sendMessage(response);
        this.stream.end(status ?? OK);
      });
    this.attempt(() => this.#method.handle(request, this, reply));
  }

  override writable(): void {}
}

export class StreamingCall extends AnyCall implements StreamCall {
  readonly #method: StreamingMethod;
  #listener: StreamListener | null = null;
  #messages = 0;
  /** What waits for room: see `whenWritable`. */
  #waiting: (() => void)[] = [];

  constructor(
    stream: Http2Stream,
    head: RequestHead,
    method: StreamingMethod,
    context: CallContext,
  ) {
    super(stream, head, context);
    this.#method = method;
  }

  get isWritable(): boolean {
    return this.stream.isWritable;
  }

  send(message: Uint8Array): void {
    this.stream.sendMessage(message);
  }

  end(status: GrpcStatus | null): void {
    this.stream.end(status ?? OK);
  }

  whenWritable(next: () => void): void {
    if (this.stream.isOver) return;
    if (this.stream.isWritable) next();
    else this.#waiting.push(next);
  }

  override message(bytes: Uint8Array): void {
    this.#messages++;
    if (this.#messages > 1 && this.#method.kind === "serverStream") {
      this.stream.end(TOO_MANY_MESSAGES);
      return;
    }
    let isDone = false;
    // A client that does not read the answers is not read either.
    const done = (): void => {
      if (isDone) return;
      isDone = true;
      this.whenWritable(() => this.next());
    };
    this.attempt(() => this.#listener?.message(bytes, done));
  }

  override halfClosed(): void {
    if (this.#messages === 0 && this.#method.kind === "serverStream") this.stream.end(NO_MESSAGE);
    else this.attempt(() => this.#listener?.halfClosed());
  }

  override writable(): void {
    while (this.#waiting.length > 0 && this.stream.isWritable)
      this.attempt(this.#waiting.shift() as () => void);
  }

  override closed(): void {
    this.context.streams.delete(this);
    this.#waiting = [];
    super.closed();
    this.attempt(() => this.#listener?.closed());
  }

  protected override opened(): void {
    if (this.stream.isOver) return;
    this.context.streams.add(this);
    this.attempt(() => {
      this.#listener = this.#method.open(this);
    });
  }
}
