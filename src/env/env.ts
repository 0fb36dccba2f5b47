/** The rest of the outside world: time, chance, logs, digests. */
import type { Files } from "./files.ts";
import type { Links } from "./links.ts";

export interface Clock {
  /** Milliseconds with fractions, from an arbitrary start, never going back. The only clock that decisions may use. */
  monotonicMs(): number;
  /** Milliseconds since 1970 as the machine believes; may jump both ways. */
  wallMs(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls `fire` once, no earlier than `delayMs` from now. */
  after(delayMs: number, fire: () => void): Timer;
  /** Calls `fire` in the next turn, after what is already waiting. Cannot be cancelled. */
  soon(fire: () => void): void;
}

/** Unpredictable in production, seeded in the simulator: ids, jitter. */
export interface Entropy {
  bytes(sizeBytes: number): Uint8Array;
  u32(): number;
}

/** How much a line matters: an "error" needs somebody, a "warn" deserves a look. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Takes structured lines and never blocks, fails or calls back. Values of keys are never given to it. */
export type LogSink = (
  level: LogLevel,
  logger: string,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;

export interface Digest {
  update(bytes: Uint8Array): this;
  /** 32 bytes of SHA-256. Ends the digest. */
  finish(): Uint8Array;
}

/** Everything outside the pure layers, given to a node at its start. */
export interface Env {
  readonly files: Files;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly log: LogSink;
  /** Absent where a node has nobody to talk to. */
  readonly links?: Links | undefined;
  sha256(): Digest;
}
