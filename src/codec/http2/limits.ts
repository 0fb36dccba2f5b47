/** What one connection may cost (security T7; fault-rules N7, N8, U3, U8, U10). */
import type { Rate } from "./budget.ts";

export interface Http2Limits {
  /** Calls that may be open at once; what is beyond is refused before it was looked at, and safe to repeat. */
  readonly maxConcurrentStreams: number;
  /** Of one request's headers, counted as RFC 9113 section 6.5.2 does. */
  readonly maxHeaderListBytes: number;
  /** CONTINUATION frames after one HEADERS frame. */
  readonly maxContinuations: number;
  /** Bytes that all streams of the connection may have open. Flow control of the connection bounds nothing but bursts. */
  readonly connectionWindowBytes: number;
  /** Bytes that wait for a client before it is cut off, and one message more. */
  readonly maxWaitingBytes: number;
  /** Streams that end by a reset: by the client's, or by ours for what the client did. */
  readonly resets: Rate;
  /** Frames that bring nothing: pings, settings, priorities, empty data, tiny windows, unknown types. */
  readonly control: Rate;
}

export const HTTP2_LIMITS: Http2Limits = {
  maxConcurrentStreams: 1000,
  maxHeaderListBytes: 16 * 1024,
  maxContinuations: 16,
  connectionWindowBytes: 1024 * 1024,
  maxWaitingBytes: 64 * 1024 * 1024,
  // Calls whose deadline passes are reset as well: a busy connection has some hundred of them in a bad second.
  resets: { burst: 2000, perSecond: 500 },
  // Clients measure the line with a ping and a window update for what they receive; answers earn those back.
  control: { burst: 2000, perSecond: 100 },
};

/** What an answer earns: the frames with which a client reacts to it. */
export const CONTROL_EARNED_BY_ANSWER = 4;
/** A smaller step of a window brings little and costs as much. */
export const WINDOW_STEP_BYTES_MIN = 1024;
