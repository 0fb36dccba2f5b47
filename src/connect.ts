/** A database elsewhere, with the API of one in process. */
import { connectTo, endpointsOf } from "./client/index.ts";
import type { HarmonyDB } from "./db/embedded/index.ts";
import type { LogSink } from "./env/index.ts";
import { assertOptions, hostOf, invalid, logOf } from "./options.ts";
import { nodeEnv } from "./platform/index.ts";

/** How a database elsewhere is connected to. */
export interface ConnectOptions {
  /** How long `connect` tries until one of the endpoints answers, in milliseconds. Default: 5 seconds. */
  readonly connectTimeoutMs?: number | undefined;
  /** Milliseconds after which a call that names no `timeoutMs` is TIMEOUT. Default: 7 seconds. */
  readonly requestTimeoutMs?: number | undefined;
  /** Takes structured log lines; default: none are written. What it throws is dropped. */
  readonly log?: LogSink | undefined;
}

const NAMES: Readonly<Record<keyof ConnectOptions, true>> = {
  connectTimeoutMs: true,
  requestTimeoutMs: true,
  log: true,
};
const CONNECT_DEFAULT_MS = 5_000;
const REQUEST_DEFAULT_MS = 7_000;

/**
 * Connects to a cluster, or to a node alone: `"127.0.0.1:2379"`, or several with commas or as an array. One of them is
 * asked for everything; when it cannot be reached, is silent or has no leader, another one takes its place, and calls,
 * watches and locks go on. Rejects with UNREACHABLE, which names each endpoint and its reason.
 *
 * A request is sent again by itself only if it certainly was not done, or is a read, or a write with the `requestId` of a
 * session. Any other write that got no answer rejects with `maybeApplied`.
 *
 * What differs from a database in process: `getSync`, `snapshotSync` and `getSync` of snapshots throw UNSUPPORTED, as
 * messages and `admin.metrics` do; scans and snapshots read one revision, which nothing keeps from being compacted
 * (COMPACTED); a lock that somebody deleted is found to be lost within about a second.
 */
export async function connect(
  endpoints: string | readonly string[],
  options: ConnectOptions = {},
): Promise<HarmonyDB> {
  assertOptions(options, NAMES);
  const { connectTimeoutMs = CONNECT_DEFAULT_MS, requestTimeoutMs = REQUEST_DEFAULT_MS } = options;
  for (const [name, ms] of Object.entries({ connectTimeoutMs, requestTimeoutMs }))
    if (!(Number.isSafeInteger(ms) && ms > 0)) throw invalid(`${name} is a whole number from 1`);
  const env = nodeEnv({ log: logOf(options) });
  return connectTo({
    host: hostOf(env),
    endpoints: endpointsOf(endpoints),
    connectTimeoutMs,
    requestTimeoutMs,
  });
}
