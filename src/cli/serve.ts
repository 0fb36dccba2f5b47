/** `harmonydb serve`: hands the configuration to the database and to its door, and the process to the lifecycle. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { startNode, stopNode } from "../db/index.ts";
import type { LogSink } from "../env/index.ts";
import { nodeEnv } from "../platform/index.ts";
import {
  checkListenable,
  listenForPeers,
  type PeerLinks,
  serveEtcd,
  supportOf,
} from "../server/index.ts";
import { advertisedUrls, type ResolvedConfig, retentionOf } from "./config.ts";
import { initialMembers } from "./initial-cluster.ts";
import { type Host, runServer } from "./lifecycle.ts";
import { createLog, stderrSink } from "./log.ts";
import { Observer } from "./observe.ts";
import type { ServeConfig } from "./options.ts";

/** Starts the node. Comes back when it serves or when the process is ending; the process lives on by its sockets. */
export async function serve({ config, origins, warnings }: ResolvedConfig): Promise<void> {
  const log = createLog(config.logLevel, config.logFormat, stderrSink());
  const observer = new Observer(config, origins.listenMetricsUrls === "default", log);
  const env = nodeEnv({ log, onDurable: observer.onDurable });
  await runServer(
    {
      name: config.name,
      dataDir: config.dataDir,
      shutdownTimeoutMs: config.shutdownTimeoutMs,
      warnings,
    },
    {
      startNode: async () => {
        // A port in use is told before a directory is made, which would keep its ids for good.
        await checkListenable(config.listenClientUrls);
        await observer.listen();
        const initialCluster = initialMembers(config);
        const isDefault = origins.listenPeerUrls === "default";
        const links = await peerLinks(config, initialCluster.length > 1, isDefault, log);
        const node = await startNode(
          { ...env, links: links ?? undefined },
          {
            dataDir: config.dataDir,
            name: config.name,
            initialCluster,
            join: config.initialClusterState === "existing",
            clientUrls: advertisedUrls(config),
            peerUrls: withRealPorts(config.initialAdvertisePeerUrls, config, links),
            learnersMax: config.learnersMax,
            autoPromote: config.autoPromote,
            // Not given means not compared: a directory made with a token then opens without repeating it.
            clusterToken:
              origins.initialClusterToken === "default" ? undefined : config.initialClusterToken,
            heartbeatIntervalMs: config.heartbeatIntervalMs,
            electionTimeoutMs: config.electionTimeoutMs,
            fsyncIntervalMs: config.fsyncIntervalMs,
            persistence: config.disablePersistence ? "none" : "disk",
            walSegmentBytes: config.walSegmentBytes,
            checkpoints: {
              walBytes: config.checkpointWalBytes,
              intervalMs: config.checkpointIntervalMs,
              operations: config.checkpointOperations,
            },
            snapshotsKept: config.snapshotsKept,
            snapshotRateBytes: config.snapshotRateBytes,
            walRetentionBytes: config.walRetentionBytes,
            retention: retentionSettings(config, origins.autoCompactionRetention === "default"),
            quotaBytes: quotaBytes(config),
            maxRequestBytes: config.maxRequestBytes,
            maxTxnOps: config.maxTxnOps,
          },
        ).catch(async (error: unknown) => {
          await links?.close();
          throw error;
        });
        return {
          database: node.database,
          recovery: node.recovery,
          onFatal: (listener: (error: unknown) => void) => node.onFatal(listener),
          close: async () => {
            await observer.close();
            await stopNode(node);
            await links?.close();
          },
          node,
          peers: links?.addresses ?? [],
        };
      },
      serve: async ({ node, peers }) => {
        const server = await serveEtcd({
          database: node.database,
          metrics: observer.metrics,
          urls: config.listenClientUrls,
          limits: {
            maxRequestBytes: config.maxRequestBytes,
            maxConcurrentStreams: config.maxConcurrentStreams,
            watchProgressIntervalMs: config.watchProgressIntervalMs,
          },
          emulatedEtcdVersion: config.emulatedEtcdVersion,
          ...supportOf(node),
          log,
        });
        observer.serves(node);
        return {
          addresses: server.addresses,
          peers,
          metrics: observer.addresses,
          close: async (graceMs) => {
            // Probes hear at once that nothing more is to be sent here.
            observer.serves(null);
            await server.close(graceMs);
          },
        };
      },
    },
    processHost(log),
  );
}

/**
 * Also for a lone member, so that others can come beside it. One that must stay alone listens for nobody, and neither
 * does one that nobody told where, where the usual port is another's. Null: the node is alone and stays it.
 */
async function peerLinks(
  config: ServeConfig,
  isCluster: boolean,
  isDefault: boolean,
  log: LogSink,
): Promise<PeerLinks | null> {
  // A directory remembers that it belongs to one of several.
  const mustListen = isCluster || existsSync(join(config.dataDir, "MEMBERS"));
  if (!mustListen && (config.disablePersistence || config.fsyncIntervalMs > 0)) return null;
  try {
    return await listenForPeers(config.listenPeerUrls, log);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (mustListen || !isDefault || code !== "EADDRINUSE") throw error;
    log("info", "serve", "no other member can come beside this one: its port is taken", {
      urls: config.listenPeerUrls,
      advice: "name another with --listen-peer-urls",
    });
    return null;
  }
}

/** What is told to others where the system chose the port. */
function withRealPorts(
  advertised: readonly string[],
  { listenPeerUrls }: ServeConfig,
  links: PeerLinks | null,
): readonly string[] {
  if (links === null) return advertised;
  return advertised.map((url) => {
    const at = listenPeerUrls.indexOf(url);
    return url.endsWith(":0") && at >= 0 ? (links.addresses[at] ?? url) : url;
  });
}

const KEEP_ALL_REVISIONS = Number.MAX_SAFE_INTEGER;

/** What the default keeps whatever its age. A period that somebody names is taken at its word, as by etcd. */
const PERIODIC_REVISIONS_MIN = 10_000;

function retentionSettings(
  config: ServeConfig,
  isDefault: boolean,
): {
  readonly retentionMs: number;
  readonly retentionRevisions: number;
} {
  const retention = retentionOf(config);
  // etcd's 0: never compacted. Both zero would mean that no history is kept at all.
  if (retention === null) return { retentionMs: 0, retentionRevisions: KEEP_ALL_REVISIONS };
  return retention.mode === "periodic"
    ? { retentionMs: retention.ms, retentionRevisions: isDefault ? PERIODIC_REVISIONS_MIN : 0 }
    : { retentionMs: 0, retentionRevisions: retention.revisions };
}

/** etcd's reading: 0 is its default of 2 GiB, below 0 is no quota. The node's 0 is no quota. */
function quotaBytes(config: ServeConfig): number | undefined {
  if (config.quotaBackendBytes < 0) return 0;
  return config.quotaBackendBytes === 0 ? undefined : config.quotaBackendBytes;
}

function processHost(log: LogSink): Host {
  return {
    log,
    readyLine: (line) => {
      process.stdout.write(`${line}\n`);
    },
    onSignal: (listener) => {
      process.on("SIGTERM", () => listener("SIGTERM"));
      process.on("SIGINT", () => listener("SIGINT"));
    },
    onUncaught: (listener) => {
      process.on("uncaughtException", listener);
      process.on("unhandledRejection", listener);
    },
    after: (delayMs, fire) => {
      setTimeout(fire, delayMs).unref();
    },
    exit: (code) => process.exit(code),
  };
}
