/** Where a command writes. Results go to stdout and everything said to a person to stderr, so that pipes stay clean. */
export interface Streams {
  /** Bytes where a value is to arrive as it is. */
  out(text: string | Uint8Array): void;
  err(text: string): void;
  /** Resolves when what was written to `out` has gone: long results wait here instead of piling up in memory. */
  drained(): Promise<void>;
  /** Called once when `serve` takes the process over. */
  onServe(): void;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export type WriteOut = "simple" | "json";
