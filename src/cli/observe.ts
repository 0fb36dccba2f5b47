/**
 * The HTTP listener of a serving node: it listens before the node recovers, hears of the node when it is there, and of
 * every durable write from the start.
 */
import { FORMAT_MAJOR, FORMAT_MINOR, metricFamilies, type Node } from "../db/index.ts";
import type { LogSink } from "../env/index.ts";
import { type HttpListener, listenHttp, Metrics } from "../server/index.ts";
import type { ServeConfig } from "./options.ts";
import { VERSION } from "./version.ts";

export class Observer {
  readonly metrics: Metrics;
  readonly #config: ServeConfig;
  readonly #isDefault: boolean;
  readonly #log: LogSink;
  #node: Node | null = null;
  #listener: HttpListener | null = null;

  /** `isDefault`: nobody named the URLs, so a port that is taken is no reason not to start. */
  constructor(config: ServeConfig, isDefault: boolean, log: LogSink) {
    this.#config = config;
    this.#isDefault = isDefault;
    this.#log = log;
    this.metrics = new Metrics({
      build: { version: VERSION, formatVersion: `${FORMAT_MAJOR}.${FORMAT_MINOR}` },
      withEtcdNames: config.metricsCompat === "etcd",
    });
  }

  /** For the platform: what was made durable, and how long it took. */
  readonly onDurable = (path: string, durationMs: number): void => {
    const seconds = durationMs / 1000;
    if (path.endsWith(".wal")) this.metrics.walSyncSeconds.observe(seconds);
    else if (path.endsWith(".hdb")) this.metrics.dataSyncSeconds.observe(seconds);
  };

  get addresses(): readonly string[] {
    return this.#listener?.addresses ?? [];
  }

  async listen(): Promise<void> {
    const { listenMetricsUrls: urls, emulatedEtcdVersion } = this.#config;
    if (urls.length === 0) return;
    try {
      this.#listener = await listenHttp({
        urls,
        vitals: {
          database: () => this.#node?.database ?? null,
          counters: () => this.#counters(),
          families: () => (this.#node === null ? [] : metricFamilies(this.#node)),
        },
        metrics: this.metrics,
        versions: {
          etcdserver: emulatedEtcdVersion,
          etcdcluster: `${emulatedEtcdVersion.split(".").slice(0, 2).join(".")}.0`,
          storage: `${FORMAT_MAJOR}.${FORMAT_MINOR}`,
          harmonydb: VERSION,
        },
        log: this.#log,
      });
    } catch (error) {
      if (!this.#isDefault) throw error;
      this.#log("warn", "http", "no health and metrics over HTTP", {
        reason: error instanceof Error ? error.message : String(error),
        advice: "name another place with --listen-metrics-urls, or none",
      });
    }
  }

  /** The node serves from now on; null: it does not any more. */
  serves(node: Node | null): void {
    this.#node = node;
  }

  async close(): Promise<void> {
    this.#node = null;
    await this.#listener?.close();
    this.#listener = null;
  }

  #counters(): ReturnType<Parameters<typeof listenHttp>[0]["vitals"]["counters"]> {
    const node = this.#node;
    if (node === null) return null;
    const log = node.logStats;
    return {
      ...node.stats,
      snapshots: node.snapshotStats.made,
      walWrites: log.framesWritten,
      walWrittenBytes: log.bytesWritten,
      walSegments: log.segments,
      walSizeBytes: log.bytesOnDisk,
      recoveryMs: node.recovery.durationMs,
    };
  }
}
