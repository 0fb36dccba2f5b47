/**
 * L8, the doors: they move bytes between sockets and the database and hold no state of it. `grpc/` is the etcd v3
 * API: services as functions from message bytes to message bytes (`method.ts`), one table from our errors to gRPC's
 * codes and etcd's texts (`status.ts`), our own HTTP/2 beneath them (`transport.ts`, `connection.ts`, `calls.ts`, and
 * the machines of `codec/http2`), which carries them over any byte stream.
 *`peer/` carries links between members over the same transport.
 *
 * One Put: the transport hands the message over as a view of what it received; `kv-service` has the codec read it and
 * calls `Database.write`; the outcome's callback has the codec write the answer, which the transport sends.
 *
 * Invariants:
 * 1. Every call is answered once: by its handler, by the net under it (`guard.ts`), or by the transport.
 * 2. Nothing that a client sends, and no defect of a handler, ends the process or another client's call.
 * 3. Calls of a stream are answered in their order; a stream whose client does not read is not read.
 *
 * Left out until their issues: Auth, Lock, Election, TLS, Unix sockets, the
 * JSON gateway; a stream that asked for a leader is refused at its start only. Papers: etcd-api, security T7 and T8.
 */
import { type Database, FORMAT_MAJOR, FORMAT_MINOR } from "../db/index.ts";
import type { LogSink } from "../env/index.ts";
import { etcdMethods } from "./grpc/etcd-methods.ts";
import type { ApiSupport } from "./grpc/api-service.ts";
import { measured } from "./grpc/measured.ts";
import type { NativeSupport } from "./grpc/native-service.ts";
import type { SnapshotSupport } from "./grpc/snapshot-service.ts";
import type { Metrics } from "./http/metrics.ts";
import { listenGrpc } from "./grpc/transport.ts";

export { type HttpListener, type HttpOptions, listenHttp } from "./http/http-server.ts";
export { Metrics } from "./http/metrics.ts";
export { checkListenable } from "./listener.ts";
export { supportOf } from "./support.ts";
export { listenForPeers, type PeerLinks } from "./peer/peer-links.ts";

export interface EtcdLimits {
  /** Of one request, as the database checks it; the transport takes 512 KiB more, as etcd does. Default 1.5 MiB. */
  readonly maxRequestBytes?: number | undefined;
  /** Calls that one connection may have open. Default 1000. */
  readonly maxConcurrentStreams?: number | undefined;
  /** A connection without calls is closed after so long. Default 10 minutes. */
  readonly connectionIdleMs?: number | undefined;
  /** How often a watcher that asked for it is told that nothing happens. At least 100 ms; default 10 minutes. */
  readonly watchProgressIntervalMs?: number | undefined;
}

export interface EtcdOptions {
  readonly database: Database;
  /** `http://host:port`; port 0 lets the system choose. */
  readonly urls: readonly string[];
  readonly limits?: EtcdLimits | undefined;
  readonly log: LogSink;
  /** Counts the calls. */
  readonly metrics?: Metrics | undefined;
  /** The etcd version that clients are told, some of which choose by it what they ask for. */
  readonly emulatedEtcdVersion?: string | undefined;
  /** What our own service (harmonydb.v1.Native) needs of the node; without it that service makes no checkpoints. */
  readonly native?: NativeSupport | undefined;
  /** What Maintenance.Snapshot needs of the node; without it there are no snapshots. */
  readonly snapshots?: SnapshotSupport | undefined;
  /** What the service behind `connect` (harmonydb.v1.Api) needs of the node; without it that service has no chores. */
  readonly api?: ApiSupport | undefined;
}

export interface EtcdServer {
  /** What is listened on, as URLs, with the ports that were chosen. */
  readonly addresses: readonly string[];
  /**
   * Takes no new calls, tells streams to go elsewhere (UNAVAILABLE), lets other calls finish for at most `graceMs`
   * and cuts what is left. Close the database afterwards.
   */
  close(graceMs: number): Promise<void>;
}

const REQUEST_BYTES_DEFAULT = 1536 * 1024;
/** What a message may be longer than a request: room to answer a request that is too large in etcd's words. */
const MESSAGE_OVERHEAD_BYTES = 512 * 1024;
const CONCURRENT_STREAMS_DEFAULT = 1000;
const CONNECTION_IDLE_DEFAULT_MS = 10 * 60 * 1000;
const WATCH_PROGRESS_DEFAULT_MS = 10 * 60 * 1000;
/** The newest line whose every call is either served or refused with a code that its clients fall back on. */
const ETCD_VERSION_DEFAULT = "3.6.11";

/** Serves the etcd v3 API. Rejects with an Error whose `code` is EADDRINUSE or the like when it cannot listen. */
export async function serveEtcd(options: EtcdOptions): Promise<EtcdServer> {
  const { database, urls, log, limits = {}, metrics } = options;
  const maxMessageBytes =
    (limits.maxRequestBytes ?? REQUEST_BYTES_DEFAULT) + MESSAGE_OVERHEAD_BYTES;
  const { methods, stopServing } = etcdMethods(
    database,
    {
      etcd: options.emulatedEtcdVersion ?? ETCD_VERSION_DEFAULT,
      storage: `${FORMAT_MAJOR}.${FORMAT_MINOR}`,
    },
    log,
    {
      progressIntervalMs: limits.watchProgressIntervalMs ?? WATCH_PROGRESS_DEFAULT_MS,
      fragmentBytes: maxMessageBytes,
    },
    options.native,
    options.snapshots,
    options.api,
  );
  const transport = await listenGrpc(
    metrics === undefined ? methods : methods.map((method) => measured(method, metrics)),
    {
      urls,
      maxMessageBytes,
      maxConcurrentStreams: limits.maxConcurrentStreams ?? CONCURRENT_STREAMS_DEFAULT,
      connectionIdleMs: limits.connectionIdleMs ?? CONNECTION_IDLE_DEFAULT_MS,
    },
    log,
  );
  return {
    addresses: transport.addresses,
    close: async (graceMs) => {
      stopServing();
      await transport.close(graceMs);
    },
  };
}
