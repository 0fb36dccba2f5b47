/**
 * The listener for people, probes and Prometheus: `/health`, `/livez`, `/readyz`, `/version`, `/metrics`,
 * `/debug/vars`. It listens before the node recovers and says then that it is alive and not ready. It only reads, and
 * what a client sends it is bounded: headers, time, connections.
 */
import http from "node:http";
import type { LogSink } from "../../env/index.ts";
import { listenOn, shareOfHandles } from "../listener.ts";
import { type Answer, health, probe } from "./health.ts";
import type { Metrics } from "./metrics.ts";
import type { Vitals } from "./vitals.ts";

export interface HttpOptions {
  /** `http://host:port`; port 0 lets the system choose. */
  readonly urls: readonly string[];
  readonly vitals: Vitals;
  readonly metrics: Metrics;
  /** What `/version` says. */
  readonly versions: Readonly<Record<string, string>>;
  readonly log: LogSink;
}

export interface HttpListener {
  /** What is listened on, with the ports that were chosen. */
  readonly addresses: readonly string[];
  close(): Promise<void>;
}

const CONNECTIONS_MAX = 256;
/** Of the files that the process may have open. */
const HANDLES_SHARE: number = 1 / 8;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 60_000;
const HEADER_BYTES_MAX = 16 * 1024;
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Rejects with an Error whose `code` is EADDRINUSE or the like when it cannot listen. */
export async function listenHttp(options: HttpOptions): Promise<HttpListener> {
  const startedMs = performance.now();
  const server = http.createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
    },
    (request, response) => {
      // Nobody sends a body here; one that comes all the same is not kept.
      request.resume();
      answer(options, startedMs, request).then(
        (found) => send(request, response, found),
        (error: unknown) => {
          options.log("error", "http", "a request failed", {
            error: String(error),
            path: request.url,
          });
          send(request, response, text(500, "internal error"));
        },
      );
    },
  );
  let open = 0;
  const connectionsMax = Math.min(CONNECTIONS_MAX, shareOfHandles(HANDLES_SHARE));
  const listeners = await listenOn(options.urls, (socket) => {
    if (open >= connectionsMax) {
      socket.destroy();
      return;
    }
    open++;
    socket.on("close", () => open--);
    server.emit("connection", socket);
  });
  return {
    addresses: listeners.addresses,
    close: async () => {
      listeners.stop();
      server.closeIdleConnections();
      listeners.cut();
    },
  };
}

type Found = Omit<Answer, "type"> & { readonly type: string; readonly allow?: string };

async function answer(
  options: HttpOptions,
  startedMs: number,
  request: http.IncomingMessage,
): Promise<Found> {
  const { vitals } = options;
  if (request.method !== "GET" && request.method !== "HEAD")
    return { ...text(405, "only GET and HEAD"), allow: "GET, HEAD" };
  const target = request.url ?? "/";
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  const query = new URLSearchParams(at < 0 ? "" : target.slice(at + 1));
  switch (path) {
    case "/health":
      return health(vitals, query);
    case "/version":
      return json(options.versions);
    case "/metrics":
      return { status: 200, type: METRICS_TYPE, body: await options.metrics.text(vitals) };
    case "/debug/vars":
      return json(variables(options, startedMs));
    default:
      return (await probe(vitals, path, query)) ?? text(404, "not found");
  }
}

function variables({ vitals }: HttpOptions, startedMs: number): object {
  const status = vitals.database()?.status() ?? null;
  return {
    uptimeSeconds: (performance.now() - startedMs) / 1000,
    node: process.version,
    pid: process.pid,
    memory: process.memoryUsage(),
    cpu: process.cpuUsage(),
    status,
    counters: vitals.counters(),
  };
}

function json(value: object): Found {
  // Ids as etcd's tools show them.
  const body = JSON.stringify(value, (_, of: unknown) =>
    typeof of === "bigint" ? of.toString(16) : of,
  );
  return { status: 200, type: "application/json", body: `${body}\n` };
}

function text(status: number, body: string): Found {
  return { status, type: "text/plain; charset=utf-8", body: `${body}\n` };
}

function send(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  { status, type, body, allow }: Found,
): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    "content-type": type,
    "content-length": bytes.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(allow === undefined ? {} : { allow }),
  });
  response.end(request.method === "HEAD" ? undefined : bytes);
}
