/**
 * `/metrics`: the node's own figures, those that dashboards for etcd know by etcd's names, and what Node.js tells of
 * the process. Everything is read when somebody asks; a request costs a counter.
 */
import { collectDefaultMetrics, Registry } from "prom-client";
import type { DatabaseStatus } from "../../db/index.ts";
import { Exposition, type Labels } from "./exposition.ts";
import { Histogram } from "./histogram.ts";
import type { NodeCounters, Vitals } from "./vitals.ts";

export interface Build {
  readonly version: string;
  readonly formatVersion: string;
}

export interface MetricsOptions {
  readonly build: Build;
  /** Also under the names that etcd gives them. */
  readonly withEtcdNames: boolean;
}

/** One method of a service: how often it was called, how it ended, how long it took. */
export class MethodMetrics {
  readonly service: string;
  readonly method: string;
  readonly type: "unary" | "server_stream" | "bidi_stream";
  started = 0;
  /** By gRPC's name of the code. */
  readonly handled: Map<string, number> = new Map<string, number>();
  readonly seconds: Histogram = new Histogram();

  constructor(service: string, method: string, type: MethodMetrics["type"]) {
    this.service = service;
    this.method = method;
    this.type = type;
  }

  /** Calls that have begun and not ended. */
  get open(): number {
    let ended = 0;
    for (const count of this.handled.values()) ended += count;
    return this.started - ended;
  }

  end(code: string, seconds: number): void {
    this.handled.set(code, (this.handled.get(code) ?? 0) + 1);
    this.seconds.observe(seconds);
  }
}

export class Metrics {
  readonly walSyncSeconds: Histogram = new Histogram();
  readonly dataSyncSeconds: Histogram = new Histogram();
  readonly #options: MetricsOptions;
  readonly #methods: MethodMetrics[] = [];
  readonly #process = new Registry();

  constructor(options: MetricsOptions) {
    this.#options = options;
    collectDefaultMetrics({ register: this.#process });
  }

  method(service: string, method: string, type: MethodMetrics["type"]): MethodMetrics {
    const metrics = new MethodMetrics(service, method, type);
    this.#methods.push(metrics);
    return metrics;
  }

  /** The text of `/metrics`. While the node recovers there is only what concerns the process. */
  async text(vitals: Vitals): Promise<string> {
    const out = new Exposition();
    const { version, formatVersion } = this.#options.build;
    out.series("harmonydb_build_info", "1, with what is running in the labels.", "gauge", [
      [{ version, format: formatVersion, node: process.version }, 1],
    ]);
    const status = vitals.database()?.status() ?? null;
    const counters = vitals.counters();
    if (status !== null) this.#writeStatus(out, status);
    if (counters !== null) this.#writeCounters(out, counters);
    for (const { name, help, type, samples } of vitals.families()) {
      const lines = samples.map(({ labels, value }) => [labels, value] as const);
      out.series(name, help, type, lines);
    }
    this.#writeSyncs(out);
    this.#writeMethods(out);
    if (this.#options.withEtcdNames && status !== null && counters !== null)
      this.#writeEtcdNames(out, status, counters);
    return `${out.toString()}${await this.#process.metrics()}`;
  }

  #writeStatus(out: Exposition, status: DatabaseStatus): void {
    out.gauge(
      "harmonydb_raft_has_leader",
      "1 when a leader is known.",
      status.leader === 0n ? 0 : 1,
    );
    out.gauge(
      "harmonydb_raft_is_leader",
      "1 when this member leads.",
      status.leader === status.memberId ? 1 : 0,
    );
    out.gauge("harmonydb_raft_term", "The term of Raft.", status.raftTerm);
    out.gauge(
      "harmonydb_raft_commit_index",
      "The newest index that is committed.",
      status.raftCommitIndex,
    );
    out.counter(
      "harmonydb_raft_proposals_committed_total",
      "The same as etcd counts it.",
      status.raftCommitIndex,
    );
    out.gauge(
      "harmonydb_raft_applied_index",
      "The newest index that is applied.",
      status.raftAppliedIndex,
    );
    out.gauge("harmonydb_store_revision", "The current revision.", status.revision);
    out.gauge(
      "harmonydb_store_compact_revision",
      "Older revisions cannot be read.",
      status.compactRevision,
    );
    out.gauge("harmonydb_store_bytes", "Size of the data file.", status.sizeBytes);
    out.gauge("harmonydb_store_bytes_in_use", "What of it holds data.", status.sizeInUseBytes);
    out.gauge("harmonydb_store_quota_bytes", "The quota; 0 is none.", status.quotaBytes);
    out.gauge(
      "harmonydb_quarantined",
      "1 while this member takes no part, until the others have healed it.",
      status.quarantine === null ? 0 : 1,
    );
    out.series(
      "harmonydb_alarms",
      "1 for each alarm that is true of this member.",
      "gauge",
      ["NOSPACE", "CORRUPT"].map((alarm) => [
        { alarm },
        status.alarms.some((of) => of === alarm) ? 1 : 0,
      ]),
    );
  }

  #writeCounters(out: Exposition, counters: NodeCounters): void {
    out.gauge("harmonydb_store_keys", "Keys in the current revision.", counters.keys);
    out.gauge("harmonydb_lease_active", "Leases that have not ended.", counters.leases);
    out.counter(
      "harmonydb_raft_leader_changes_total",
      "Leaders seen since the start.",
      counters.leaderChanges,
    );
    out.counter(
      "harmonydb_raft_proposals_applied_total",
      "Commands applied.",
      counters.commandsApplied,
    );
    out.counter(
      "harmonydb_raft_proposals_failed_total",
      "Commands refused or lost.",
      counters.commandsRefused,
    );
    out.gauge(
      "harmonydb_raft_proposals_pending",
      "Commands that wait to be applied.",
      counters.commandsPending,
    );
    out.counter(
      "harmonydb_raft_entries_applied_total",
      "Entries applied.",
      counters.entriesApplied,
    );
    out.counter("harmonydb_wal_frames_total", "Frames written to the log.", counters.walWrites);
    out.counter(
      "harmonydb_wal_written_bytes_total",
      "Bytes written to the log.",
      counters.walWrittenBytes,
    );
    out.gauge("harmonydb_wal_segments", "Files of the log.", counters.walSegments);
    out.gauge("harmonydb_wal_bytes", "Size of the log.", counters.walSizeBytes);
    out.counter(
      "harmonydb_checkpoints_total",
      "Checkpoints made since the start.",
      counters.checkpoints,
    );
    out.gauge(
      "harmonydb_recovery_seconds",
      "How long the start took to recover.",
      counters.recoveryMs / 1000,
    );
    // Short names that operators of the first hour asked for.
    out.counter("wal_writes", "Frames written to the log.", counters.walWrites);
    out.counter("snapshot_count", "Snapshots made since the start.", counters.snapshots);
    out.gauge(
      "recovery_time",
      "How long the start took to recover, in seconds.",
      counters.recoveryMs / 1000,
    );
  }

  #writeSyncs(out: Exposition): void {
    out.histogram("harmonydb_wal_fsync_seconds", "From a write of the log to its being durable.", [
      [{}, this.walSyncSeconds],
    ]);
    out.histogram("harmonydb_store_fsync_seconds", "Syncs of the data file.", [
      [{}, this.dataSyncSeconds],
    ]);
  }

  #writeMethods(out: Exposition): void {
    const called = this.#methods.filter(({ started }) => started > 0);
    out.gauge(
      "harmonydb_watch_streams",
      "Streams of watchers that are open.",
      this.#methods.filter(isWatch).reduce((sum, method) => sum + method.open, 0),
    );
    const labels = ({ service, method, type }: MethodMetrics): Labels => ({
      grpc_service: service,
      grpc_method: method,
      grpc_type: type,
    });
    out.series(
      "grpc_server_started_total",
      "Calls that began.",
      "counter",
      called.map((method) => [labels(method), method.started]),
    );
    out.series(
      "grpc_server_handled_total",
      "Calls that ended, by code.",
      "counter",
      called.flatMap((method) =>
        [...method.handled].map(
          ([code, count]) => [{ ...labels(method), grpc_code: code }, count] as const,
        ),
      ),
    );
    out.histogram(
      "grpc_server_handling_seconds",
      "How long calls took.",
      called.map((method) => [labels(method), method.seconds]),
    );
    out.histogram(
      "harmonydb_request_seconds",
      "How long requests took: calls with one answer.",
      called
        .filter(({ type }) => type === "unary")
        .map(({ service, method, seconds }) => [{ api: service, op: method }, seconds]),
    );
  }

  #writeEtcdNames(out: Exposition, status: DatabaseStatus, counters: NodeCounters): void {
    const help = "As etcd names it.";
    out.gauge("etcd_server_has_leader", help, status.leader === 0n ? 0 : 1);
    out.gauge("etcd_server_is_leader", help, status.leader === status.memberId ? 1 : 0);
    out.counter("etcd_server_leader_changes_seen_total", help, counters.leaderChanges);
    out.gauge("etcd_server_proposals_committed_total", help, status.raftCommitIndex);
    out.gauge("etcd_server_proposals_applied_total", help, status.raftAppliedIndex);
    out.gauge("etcd_server_proposals_pending", help, counters.commandsPending);
    out.counter("etcd_server_proposals_failed_total", help, counters.commandsRefused);
    out.gauge("etcd_server_quota_backend_bytes", help, status.quotaBytes);
    out.gauge("etcd_mvcc_db_total_size_in_bytes", help, status.sizeBytes);
    out.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", help, status.sizeInUseBytes);
    out.gauge("etcd_debugging_mvcc_keys_total", help, counters.keys);
    out.gauge("etcd_debugging_mvcc_current_revision", help, status.revision);
    out.gauge("etcd_debugging_mvcc_compact_revision", help, status.compactRevision);
    out.histogram("etcd_disk_wal_fsync_duration_seconds", help, [[{}, this.walSyncSeconds]]);
    out.histogram("etcd_disk_backend_commit_duration_seconds", help, [[{}, this.dataSyncSeconds]]);
  }
}

function isWatch({ service, method }: MethodMetrics): boolean {
  return service === "etcdserverpb.Watch" && method === "Watch";
}
