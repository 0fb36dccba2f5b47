/** What the two parts of the receiving half share: the connection as they see it, and padding. */
import type { Outbound } from "./outbound.ts";
import { Flag, type Http2Code } from "./protocol.ts";
import type { RequestHead } from "./request-head.ts";
import type { Http2Stream } from "./stream.ts";

/** What a frame can do to its connection. */
export interface InboundTarget {
  readonly outbound: Outbound;
  readonly isOpen: boolean;
  /** Breaks the connection. */
  fail(code: Http2Code, why: string): void;
  streamOf(id: number): Http2Stream | undefined;
  openStreams(): Iterable<Http2Stream>;
  /** How a new request of this number is taken. */
  admit(id: number): "open" | "ignore" | "wrong";
  /** Opens a stream for a request; null head: its headers are more than is taken. */
  begin(id: number, head: RequestHead | null, isWhole: boolean): void;
  /** Ends a stream, open or not, for what the client did. */
  reset(id: number, code: Http2Code): void;
  /** The client sends no more on a stream. */
  halfClose(stream: Http2Stream): void;
  /** The client does not want a stream any more. */
  cancelled(stream: Http2Stream): void;
  /** True for a number that was never used. */
  isIdle(id: number): boolean;
  pinged(): void;
}

/** How many bytes at the end of a frame are padding; null when it claims more than there are. */
export function paddingOf(
  flags: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number | null {
  if ((flags & Flag.padded) === 0) return 0;
  if (start === end) return null;
  const padding = bytes[start] as number;
  return padding <= end - start - 1 ? padding : null;
}
