/**
 * What a gRPC service is to us: functions from message bytes to message bytes. Nothing here knows which library
 * carries the bytes, so that the transport can be replaced (tooling.md, gRPC) without touching a service.
 */
import type { CallOptions } from "../../db/index.ts";
import type { GrpcStatus } from "./status.ts";

/** One call as its handler sees it. Its `signal` fires when the client gave up or its deadline passed. */
export interface Call extends CallOptions {
  /** The first value of a metadata key (lower case). */
  metadata(name: string): string | undefined;
}

/** Called exactly once. `status` null is OK; otherwise the response is not looked at. */
export type UnaryReply = (status: GrpcStatus | null, response: Uint8Array) => void;

/** May throw: the transport answers then (see `thrownStatus`). */
export type UnaryHandler = (request: Uint8Array, call: Call, reply: UnaryReply) => void;

/** The server's side of a stream. After `end`, nothing that is sent leaves. */
export interface StreamCall extends Call {
  send(message: Uint8Array): void;
  /** What was sent has left and the client reads: a stream that sends on its own looks here before it sends more. */
  readonly isWritable: boolean;
  /** Runs `next` when `isWritable` holds, at once if it does; never when the stream ends before. */
  whenWritable(next: () => void): void;
  /** Null ends the stream with OK. The first end counts. */
  end(status: GrpcStatus | null): void;
}

/** What a stream's handler does with what the client sends. */
export interface StreamListener {
  /** The next message comes after `done`: one at a time, so answers keep their order and a client that sends faster waits. */
  message(request: Uint8Array, done: () => void): void;
  /** The client sends no more. */
  halfClosed(): void;
  /** The stream is over, whoever ended it. Called once, last. */
  closed(): void;
}

export type StreamHandler = (call: StreamCall) => StreamListener;

export type Method =
  | { readonly kind: "unary"; readonly path: string; readonly handle: UnaryHandler }
  /** The client sends one message. */
  | { readonly kind: "serverStream"; readonly path: string; readonly open: StreamHandler }
  /** It sends any number. */
  | {
      readonly kind: "bidi";
      readonly path: string;
      readonly open: StreamHandler;
      /** Of the first one, by which it is seen who calls. Default: that of all. */
      readonly firstMessageBytesMax?: number;
    };
