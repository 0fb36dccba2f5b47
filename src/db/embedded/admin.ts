/** What those who run the database ask of it. */
import { metricFamilies, type MetricFamily } from "../node-metrics.ts";
import type { CallOptions } from "../database.ts";
import type { Call } from "./api.ts";
import type { Admin, Backup, DatabaseReport, Settings } from "./api-database.ts";
import type { Members } from "./api-members.ts";
import {
  assertNames,
  CALL,
  callOf,
  countOf,
  flagOf,
  invalid,
  names,
  type Names,
  NO_OPTIONS,
} from "./arguments.ts";
import { SnapshotBackup } from "./backup.ts";
import type { Link } from "./link.ts";
import { LinkedMembers } from "./members.ts";
import type { Messages } from "./messages.ts";
import type { NodeLink } from "./node-link.ts";

const COMPACT: Names = names(CALL, "physical");
const SETTINGS: Names = new Set(["retentionMs", "retentionRevisions", "quotaBytes"]);

/** What is the same wherever the node is; what is asked of the node itself is left to `NodeAdmin` and to src/client. */
export abstract class LinkedAdmin implements Admin {
  readonly members: Members;
  readonly #link: Link;

  constructor(link: Link) {
    this.members = new LinkedMembers(link);
    this.#link = link;
  }

  async status(options: Call = NO_OPTIONS): Promise<DatabaseReport> {
    const call = callOf(options, CALL);
    if (this.#link.ended !== null) throw this.#link.ended;
    return this.report(call);
  }

  protected abstract report(call: CallOptions): Promise<DatabaseReport>;
  abstract metrics(): string;
  protected abstract makeCheckpoint(call: CallOptions): Promise<void>;
  protected abstract openBackup(call: CallOptions): Promise<Backup>;

  async checkpoint(options: Call = NO_OPTIONS): Promise<void> {
    const call = callOf(options, CALL);
    if (this.#link.ended !== null) throw this.#link.ended;
    await this.makeCheckpoint(call);
  }

  async snapshot(options: Call = NO_OPTIONS): Promise<Backup> {
    const call = callOf(options, CALL);
    if (this.#link.ended !== null) throw this.#link.ended;
    return this.openBackup(call);
  }

  async compact(
    rev: number,
    options: Call & { readonly physical?: boolean } = NO_OPTIONS,
  ): Promise<void> {
    const call = callOf(options, COMPACT);
    const revision = countOf(rev, "rev");
    if (revision === undefined) throw invalid("rev is a whole number from 0");
    const physical = flagOf(options.physical, "physical");
    await this.#link.write({ kind: "compact", revision, physical }, call);
  }

  async configure(settings: Settings, options: Call = NO_OPTIONS): Promise<Required<Settings>> {
    assertNames(settings, SETTINGS, "settings");
    const call = callOf(options, CALL);
    const answer = await this.#link.write(
      {
        kind: "configure",
        retentionMs: countOf(settings.retentionMs, "retentionMs"),
        retentionRevisions: countOf(settings.retentionRevisions, "retentionRevisions"),
        quotaBytes: countOf(settings.quotaBytes, "quotaBytes"),
      },
      call,
    );
    const { retentionMs, retentionRevisions } = answer;
    const quotaBytes = answer.quotaBytes ?? (await this.report(call)).quotaBytes;
    return { retentionMs, retentionRevisions, quotaBytes };
  }
}

export class NodeAdmin extends LinkedAdmin {
  readonly #link: NodeLink;
  readonly #messages: Messages;

  constructor(link: NodeLink, messages: Messages) {
    super(link);
    this.#link = link;
    this.#messages = messages;
  }

  protected async report(call: CallOptions): Promise<DatabaseReport> {
    // Known at once; a call that was given up before it began is answered like any other.
    await this.#link.finish(call, (done) => done(null));
    const { node } = this.#link;
    const status = node.database.status();
    const { keys, leases } = node.stats;
    return {
      name: status.name,
      clusterId: status.clusterId,
      memberId: status.memberId,
      isLeader: status.leader === status.memberId,
      term: status.raftTerm,
      appliedIndex: status.raftAppliedIndex,
      rev: status.revision,
      compactRev: status.compactRevision,
      keys,
      leases,
      sizeBytes: status.sizeBytes,
      sizeInUseBytes: status.sizeInUseBytes,
      quotaBytes: status.quotaBytes,
      durability: status.durability,
      alarms: status.alarms,
    };
  }

  protected makeCheckpoint(call: CallOptions): Promise<void> {
    return this.#link.finish(call, (done) => this.#link.node.checkpoint(done));
  }

  protected async openBackup(call: CallOptions): Promise<Backup> {
    let backup: SnapshotBackup | null = null;
    let isWaited = true;
    try {
      await this.#link.finish(call, (done) =>
        this.#link.node.openSnapshot((error, reader) => {
          if (reader !== null) {
            // Who has given up will not let go of it.
            if (isWaited) backup = new SnapshotBackup(reader, this.#link);
            else reader.close();
          }
          done(error);
        }),
      );
    } finally {
      isWaited = false;
    }
    return backup as unknown as SnapshotBackup;
  }

  metrics(): string {
    if (this.#link.ended !== null) throw this.#link.ended;
    const { node } = this.#link;
    const { stats, logStats } = node;
    const { patterns, published } = this.#messages.stats;
    const status = node.database.status();
    const rows: readonly (readonly [string, "counter" | "gauge", string, number])[] = [
      ["harmonydb_store_keys", "gauge", "Keys that are alive.", stats.keys],
      ["harmonydb_store_revision", "gauge", "The newest revision.", status.revision],
      [
        "harmonydb_store_compact_revision",
        "gauge",
        "Revisions below cannot be read.",
        status.compactRevision,
      ],
      ["harmonydb_store_bytes", "gauge", "Size of the data file.", status.sizeBytes],
      ["harmonydb_store_bytes_in_use", "gauge", "Of it, in use.", status.sizeInUseBytes],
      ["harmonydb_lease_active", "gauge", "Leases that are alive.", stats.leases],
      ["harmonydb_raft_term", "gauge", "The term of Raft.", status.raftTerm],
      [
        "harmonydb_raft_commit_index",
        "gauge",
        "Newest entry that is committed.",
        status.raftCommitIndex,
      ],
      ["harmonydb_raft_applied_index", "gauge", "Newest entry applied.", status.raftAppliedIndex],
      [
        "harmonydb_raft_proposals_applied_total",
        "counter",
        "Commands applied since the start.",
        stats.commandsApplied,
      ],
      [
        "harmonydb_raft_proposals_failed_total",
        "counter",
        "Commands refused before they were proposed.",
        stats.commandsRefused,
      ],
      [
        "harmonydb_raft_proposals_pending",
        "gauge",
        "Commands on their way.",
        stats.commandsPending,
      ],
      ["wal_writes", "counter", "Frames written to the log.", logStats.framesWritten],
      [
        "harmonydb_checkpoints_total",
        "counter",
        "Checkpoints made since the start.",
        stats.checkpoints,
      ],
      ["snapshot_count", "counter", "Snapshots made since the start.", node.snapshotStats.made],
      [
        "recovery_time",
        "gauge",
        "Seconds that the start took.",
        node.recovery.durationMs / MS_PER_SECOND,
      ],
      [
        "harmonydb_pubsub_channels",
        "gauge",
        "Patterns of channels that this process subscribes to.",
        patterns,
      ],
      [
        "harmonydb_pubsub_messages_total",
        "counter",
        "Messages published in this process.",
        published,
      ],
    ];
    const own = rows.map(([name, type, help, value]) =>
      familyText({ name, type, help, samples: [{ labels: {}, value }] }),
    );
    return [...own, ...metricFamilies(node).map(familyText)].join("");
  }
}

/** In Prometheus's text format. No label needs escaping: they are numbers and types of records. */
function familyText({ name, type, help, samples }: MetricFamily): string {
  const lines = samples.map(({ labels, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
    return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

const MS_PER_SECOND = 1000;
