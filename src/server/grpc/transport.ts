/** Carries our methods over HTTP/2 on the sockets of a door. Messages stay bytes on the whole way. */
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { HeldRoom, HTTP2_LIMITS, type Http2Limits } from "../../codec/index.ts";
import type { LogSink } from "../../env/index.ts";
import { listenOn, shareOfHandles } from "../listener.ts";
import { type ConnectionContext, GrpcConnection } from "./connection.ts";
import type { Method } from "./method.ts";

export interface TransportOptions {
  /** `http://host:port`; port 0 lets the system choose. */
  readonly urls: readonly string[];
  /** Of one received message. */
  readonly maxMessageBytes: number;
  /** Calls that one connection may have open. */
  readonly maxConcurrentStreams: number;
  /** A connection without calls is closed after so long. */
  readonly connectionIdleMs: number;
  /** A connection that does not speak HTTP/2 by then is cut, or after `connectionIdleMs` if that is shorter. Default 10 s. */
  readonly handshakeMs?: number | undefined;
  /** More are closed as soon as they open. Default 10,000. */
  readonly maxConnections?: number | undefined;
  /** Instead of the newest the oldest of those goes that have no call, if there is any: for a port where each has one. */
  readonly makesRoom?: boolean | undefined;
  /** Bytes of requests that are not whole, of all connections together. Default 256 MiB. */
  readonly maxHeldBytes?: number | undefined;
  /** What else a connection may cost. */
  readonly limits?: Partial<Http2Limits> | undefined;
}

export interface Transport {
  /** What is listened on, with the ports that were chosen. */
  readonly addresses: readonly string[];
  /** Takes no new calls, lets those on their way finish for at most `graceMs`, and cuts what is left. */
  close(graceMs: number): Promise<void>;
}

const HANDSHAKE_DEFAULT_MS = 10_000;
const CONNECTIONS_DEFAULT = 10_000;
/** Of the files that the process may have open: for clients, and for members, whose port makes room by itself. */
const CLIENTS_SHARE: number = 1 / 2;
const MEMBERS_SHARE: number = 1 / 8;
const HELD_DEFAULT_BYTES: number = 256 * 1024 * 1024;
/** How often it is looked what is due by time: a fraction of the shortest time, within these. */
const SWEEP_MS_MIN = 10;
const SWEEP_MS_MAX = 500;

export async function listenGrpc(
  methods: readonly Method[],
  options: TransportOptions,
  log: LogSink,
): Promise<Transport> {
  const { maxConcurrentStreams, connectionIdleMs } = options;
  const maxConnections = Math.min(
    options.maxConnections ?? CONNECTIONS_DEFAULT,
    shareOfHandles(options.makesRoom === true ? MEMBERS_SHARE : CLIENTS_SHARE),
  );
  const context: ConnectionContext = {
    methods: new Map(methods.map((method) => [method.path, method])),
    services: new Set(methods.map(({ path }) => path.slice(1, path.lastIndexOf("/")))),
    limits: { ...HTTP2_LIMITS, ...options.limits, maxConcurrentStreams },
    maxMessageBytes: options.maxMessageBytes,
    heldRoom: new HeldRoom(options.maxHeldBytes ?? HELD_DEFAULT_BYTES),
    idleMs: connectionIdleMs,
    handshakeMs: options.handshakeMs ?? HANDSHAKE_DEFAULT_MS,
    log,
  };
  const connections = new Set<GrpcConnection>();
  let allClosed: (() => void) | null = null;
  const hasRoom = (): boolean => {
    if (connections.size < maxConnections) return true;
    if (options.makesRoom !== true) return false;
    for (const connection of connections) {
      if (connection.calls > 0) continue;
      connections.delete(connection);
      connection.cut();
      return true;
    }
    return false;
  };
  const take = (socket: Socket): void => {
    if (allClosed !== null || !hasRoom()) {
      socket.destroy();
      return;
    }
    const connection = new GrpcConnection(socket, context, () => {
      connections.delete(connection);
      if (connections.size === 0) allClosed?.();
    });
    connections.add(connection);
  };
  const listeners = await listenOn(options.urls, take);
  const shortest = Math.min(context.idleMs, context.handshakeMs);
  const sweep = setInterval(
    () => {
      const nowMs = performance.now();
      for (const connection of connections) connection.sweep(nowMs);
    },
    Math.max(SWEEP_MS_MIN, Math.min(SWEEP_MS_MAX, shortest / 4)),
  );
  sweep.unref();
  return {
    addresses: listeners.addresses,
    close: async (graceMs) => {
      listeners.stop();
      const cut = setTimeout(() => listeners.cut(), graceMs);
      await new Promise<void>((resolve) => {
        allClosed = resolve;
        for (const connection of connections) connection.drain();
        if (connections.size === 0) resolve();
      });
      clearTimeout(cut);
      clearInterval(sweep);
      listeners.cut();
    },
  };
}
