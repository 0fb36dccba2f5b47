/** Options of the ways to open a database, read once and checked. */
import { HarmonyError } from "./base/index.ts";
import type { Host } from "./db/embedded/index.ts";
import type { CheckpointTriggers, NodeOptions, RetentionSettings } from "./db/index.ts";
import type { Env, LogSink } from "./env/index.ts";

/** How to open a database. Everything has a default; a name that is unknown is refused. */
export interface OpenOptions {
  /** How the node calls itself. Default: "default". */
  readonly name?: string | undefined;
  /**
   * 0, the default: a write is acknowledged after its sync. Up to 1000: it is acknowledged when the write call has
   * returned, and a sync follows within so many milliseconds; a power loss may take what was acknowledged since the last
   * sync began, the end of the process takes nothing.
   */
  readonly fsyncIntervalMs?: number | undefined;
  /** "disk" (default). "none": everything stays in memory and is gone with the process, as with ":memory:". */
  readonly persistence?: "disk" | "none" | undefined;
  /** Size of a segment of the log in bytes, a multiple of 512 from 4096. Default: 64 MiB, in memory 4 MiB. */
  readonly walSegmentBytes?: number | undefined;
  /** When the data file takes over from the log. Default: 256 MiB of log, 5 minutes, 100,000 operations. */
  readonly checkpoints?: CheckpointTriggers | undefined;
  /** How long history is kept, of a new database. Default: 5 minutes and at least 10,000 revisions. */
  readonly retention?: RetentionSettings | undefined;
  /** Bytes in use at which puts are refused with NO_SPACE; 0 for none. Default: 2 GiB. */
  readonly quotaBytes?: number | undefined;
  /** Bytes of one request, beyond which it is TOO_LARGE; at most 7 MiB. Default: 1.5 MiB. */
  readonly maxRequestBytes?: number | undefined;
  /** Operations of one transaction or batch, beyond which it is TOO_MANY_OPS. Default: 10,000. */
  readonly maxTxnOps?: number | undefined;
  /** Milliseconds after which a call that names no `timeoutMs` is TIMEOUT. Default: 5 s and two election timeouts. */
  readonly requestTimeoutMs?: number | undefined;
  /** Milliseconds; leases last for at least one and a half of it. Default: 1000. */
  readonly electionTimeoutMs?: number | undefined;
  /** Takes structured log lines; default: none are written. What it throws is dropped. */
  readonly log?: LogSink | undefined;
  /**
   * How long a scan or a snapshot may keep an old state readable, in milliseconds; then it rejects with COMPACTED.
   * Default: 10 minutes.
   */
  readonly pinTimeoutMs?: number | undefined;
  /**
   * Bytes that scans and snapshots together may keep from being used again; beyond it the oldest of them reject with
   * COMPACTED. Default: 1 GiB.
   */
  readonly pinBytesMax?: number | undefined;
}

export const MEMORY = ":memory:";
const PIN_TIMEOUT_DEFAULT_MS = 10 * 60_000;
const PIN_BYTES_DEFAULT: number = 1024 * 1024 * 1024;
/** Operations in one transaction or batch: nobody else's requests share this process's memory. */
const TXN_OPS_DEFAULT = 10_000;

export const OPEN_NAMES: Readonly<Record<keyof OpenOptions, true>> = {
  name: true,
  electionTimeoutMs: true,
  walSegmentBytes: true,
  fsyncIntervalMs: true,
  persistence: true,
  checkpoints: true,
  retention: true,
  quotaBytes: true,
  maxRequestBytes: true,
  maxTxnOps: true,
  requestTimeoutMs: true,
  log: true,
  pinTimeoutMs: true,
  pinBytesMax: true,
};

/** Refuses a name that is unknown: a misspelt option would be a wish that nobody hears. */
export function assertOptions(options: object, names: Readonly<Record<string, true>>): void {
  if (typeof options !== "object" || options === null) throw invalid("options are an object");
  for (const name in options)
    if (!Object.hasOwn(names, name)) throw invalid(`there is no option "${name}"`);
}

/** What a node and its door take of the options of `open`. */
export function nodeParts(
  directory: string,
  options: OpenOptions,
): { readonly node: NodeOptions; readonly door: Pick<Host, "pinTimeoutMs" | "pinBytesMax"> } {
  if (typeof directory !== "string" || directory === "" || directory.includes("\0"))
    throw invalid("a directory is a path");
  const {
    log: _log,
    pinTimeoutMs = PIN_TIMEOUT_DEFAULT_MS,
    pinBytesMax = PIN_BYTES_DEFAULT,
    ...rest
  } = options;
  if (!(Number.isSafeInteger(pinTimeoutMs) && pinTimeoutMs > 0))
    throw invalid("pinTimeoutMs is a whole number from 1");
  if (!(Number.isSafeInteger(pinBytesMax) && pinBytesMax > 0))
    throw invalid("pinBytesMax is a whole number from 1");
  if (directory === MEMORY && rest.persistence === "disk")
    throw invalid('":memory:" is not kept on a disk');
  return {
    node: {
      ...rest,
      maxTxnOps: options.maxTxnOps ?? TXN_OPS_DEFAULT,
      ...(directory === MEMORY ? { persistence: options.persistence ?? "none" } : {}),
      dataDir: directory,
    },
    door: { pinTimeoutMs, pinBytesMax },
  };
}

/** A sink of a program may throw; a node that logs must not fail of it. */
export function logOf({ log = (): void => {} }: { readonly log?: LogSink | undefined }): LogSink {
  if (typeof log !== "function") throw invalid("log is a function");
  return (level, logger, message, fields) => {
    try {
      log(level, logger, message, fields);
    } catch {
      // There is nobody to tell it to.
    }
  };
}

export function hostOf(env: Env): Pick<Host, "env" | "newAborter"> {
  return { env, newAborter: () => new AbortController() };
}

export function invalid(what: string): HarmonyError {
  return new HarmonyError("INVALID_ARGUMENT", what);
}
