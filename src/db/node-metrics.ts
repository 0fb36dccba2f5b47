/**
 * What a node can tell of itself in figures, under the names that Prometheus knows them by. Both doors that give metrics
 * take them from here; everything is read when somebody asks.
 */
import type { Durability } from "./database.ts";
import type { InstallStats } from "./installer.ts";
import type { Node } from "./node.ts";
import type { SnapshotServerStats } from "../replica/index.ts";

/** One figure, or the same figure of several things that labels tell apart. */
export interface MetricFamily {
  readonly name: string;
  /** What it means; for people. */
  readonly help: string;
  /** A counter grows from 0 at the start of the node. */
  readonly type: "counter" | "gauge";
  readonly samples: readonly MetricSample[];
}

export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const MS_PER_SECOND = 1000;
const MODES: readonly Durability["mode"][] = ["sync", "interval", "memory"];

const NOTHING_RECEIVED: InstallStats = Object.freeze({
  installed: 0,
  failed: 0,
  receivedBytes: 0,
  durationMs: 0,
  lastDurationMs: 0,
});

const NOTHING_SENT: SnapshotServerStats = Object.freeze({
  sent: 0,
  failed: 0,
  sentBytes: 0,
  durationMs: 0,
  lastDurationMs: 0,
  pulls: 0,
});

export function metricFamilies(node: Node): readonly MetricFamily[] {
  const { activity, snapshotStats: snapshots } = node;
  const sent = node.snapshotsSent ?? NOTHING_SENT;
  const received = node.snapshotsInstalled ?? NOTHING_RECEIVED;
  const { store, watch, wal } = activity;
  const { recovery } = node;
  const { mode, fsyncIntervalMs } = node.database.status().durability;
  return [
    {
      name: "harmonydb_durability",
      help: "1 for when a write is acknowledged: after its sync, within an interval before it, or without any.",
      type: "gauge",
      samples: MODES.map((one) => ({ labels: { mode: one }, value: one === mode ? 1 : 0 })),
    },
    gauge(
      "harmonydb_fsync_interval_seconds",
      "In the interval mode how long after a write the sync begins that covers it; 0 in the others.",
      fsyncIntervalMs / MS_PER_SECOND,
    ),
    gauge(
      "harmonydb_recovery_snapshot_loaded",
      "1: the start began at a checkpoint.",
      recovery.snapshotLoaded ? 1 : 0,
    ),
    gauge(
      "harmonydb_recovery_snapshot_entries",
      "Keys in the checkpoint that the start began at.",
      recovery.snapshotEntries,
    ),
    gauge(
      "harmonydb_recovery_wal_entries_replayed",
      "Commands that the start applied from the log.",
      recovery.walEntriesReplayed,
    ),
    gauge(
      "harmonydb_recovery_corrupted_entries",
      "Damaged places of the log that the start found.",
      recovery.corruptedEntries,
    ),
    counter("harmonydb_store_put_total", "Keys set, replayed ones included.", store.puts),
    counter("harmonydb_store_delete_total", "Keys deleted, replayed ones included.", store.deletes),
    counter("harmonydb_store_range_total", "Requests that read.", activity.ranges),
    counter("harmonydb_store_txn_total", "Transactions asked for.", activity.txns),
    counter("harmonydb_keys_expired_total", "Keys that ended with their deadline.", store.expired),
    counter("harmonydb_lease_granted_total", "Leases granted.", store.leasesGranted),
    counter("harmonydb_lease_expired_total", "Leases that ended by time.", store.leasesExpired),
    gauge("harmonydb_lock_held", "Locks that are held.", activity.locksHeld),
    counter(
      "harmonydb_lock_wait_seconds_sum",
      "How long programs in this process waited for the locks that they got, all together.",
      activity.lockWaitMs / MS_PER_SECOND,
    ),
    counter(
      "harmonydb_lock_wait_seconds_count",
      "Locks that programs in this process asked for and got.",
      activity.lockWaits,
    ),
    gauge("harmonydb_watch_watchers", "Watchers.", watch.watchers),
    gauge(
      "harmonydb_watch_slow_watchers",
      "Watchers so far behind that their next event is read from the trees.",
      watch.slowWatchers,
    ),
    counter("harmonydb_watch_events_total", "Events given to watchers.", watch.eventsTaken),
    gauge(
      "harmonydb_watch_pending_events",
      "Revisions that watchers have not taken yet, all of them together.",
      watch.pendingRevisions,
    ),
    gauge(
      "harmonydb_store_pinned_bytes",
      "Pages that only scans and snapshots keep.",
      activity.pinnedBytes,
    ),
    counter("harmonydb_snapshot_made_total", "Snapshots made.", snapshots.made),
    counter("harmonydb_snapshot_failed_total", "Snapshots that were not made.", snapshots.failed),
    counter(
      "harmonydb_snapshot_make_seconds_total",
      "Time that all snapshots took to be made.",
      snapshots.durationMs / MS_PER_SECOND,
    ),
    gauge(
      "harmonydb_snapshot_last_make_seconds",
      "Time that the last snapshot took to be made.",
      snapshots.lastDurationMs / MS_PER_SECOND,
    ),
    gauge("harmonydb_snapshot_last_bytes", "Size of the last snapshot.", snapshots.lastSizeBytes),
    counter(
      "harmonydb_raft_snapshot_send_total",
      "Snapshots that members that were too far behind have pulled from here.",
      sent.sent,
    ),
    counter(
      "harmonydb_raft_snapshot_send_failed_total",
      "Pulls of snapshots from here that ended before that.",
      sent.failed,
    ),
    counter(
      "harmonydb_raft_snapshot_send_bytes_total",
      "Bytes of snapshots sent to other members.",
      sent.sentBytes,
    ),
    counter(
      "harmonydb_raft_snapshot_send_seconds_total",
      "Time from being asked for a snapshot to hearing that it was taken, all together.",
      sent.durationMs / MS_PER_SECOND,
    ),
    gauge(
      "harmonydb_raft_snapshot_send_last_seconds",
      "The same of the last one.",
      sent.lastDurationMs / MS_PER_SECOND,
    ),
    counter(
      "harmonydb_raft_snapshot_receive_total",
      "Snapshots of other members that took the place of the state here.",
      received.installed,
    ),
    counter(
      "harmonydb_raft_snapshot_receive_failed_total",
      "Attempts to get one that ended before that.",
      received.failed,
    ),
    counter(
      "harmonydb_raft_snapshot_receive_bytes_total",
      "Bytes of snapshots received from other members.",
      received.receivedBytes,
    ),
    counter(
      "harmonydb_raft_snapshot_receive_seconds_total",
      "Time from asking for a snapshot to having its state, all together.",
      received.durationMs / MS_PER_SECOND,
    ),
    gauge(
      "harmonydb_raft_snapshot_receive_last_seconds",
      "The same of the last one.",
      received.lastDurationMs / MS_PER_SECOND,
    ),
    {
      name: "harmonydb_raft_peer_rtt_seconds",
      help: "From the last heartbeat of this leader that was answered to its answer, turns of both sides included.",
      type: "gauge",
      samples: activity.roundTrips.map(({ member, durationMs }) => ({
        labels: { peer: member.toString(16) },
        value: durationMs / MS_PER_SECOND,
      })),
    },
    {
      name: "harmonydb_raft_follower_lag_entries",
      help: "Entries in the log of this leader that the member has not acknowledged.",
      type: "gauge",
      samples: activity.followers.map(({ member, lagEntries }) => ({
        labels: { member: member.toString(16) },
        value: lagEntries,
      })),
    },
    {
      name: "harmonydb_raft_follower_needs_snapshot",
      help: "1: the log of this leader no longer holds what the member needs next.",
      type: "gauge",
      samples: activity.followers.map(({ member, needsSnapshot }) => ({
        labels: { member: member.toString(16) },
        value: needsSnapshot ? 1 : 0,
      })),
    },
    gauge(
      "harmonydb_raft_ready_pending",
      "Readys on their way to the log.",
      activity.readysOnTheirWay,
    ),
    counter(
      "harmonydb_wal_batch_entries_sum",
      "Entries in the frames of the log; each has the commands of a turn.",
      wal.entriesWritten,
    ),
    counter(
      "harmonydb_wal_batch_entries_count",
      "Frames of the log: each is written, and synced, at once.",
      wal.framesWritten,
    ),
    gauge("harmonydb_wal_waiting_bytes", "Handed to the log, not written.", wal.bytesWaiting),
    {
      name: "harmonydb_wal_record_bytes_total",
      help: "Bytes of records written to the log, by type.",
      type: "counter",
      samples: Object.entries(wal.recordBytes).map(([type, value]) => ({
        labels: { type },
        value,
      })),
    },
    gauge("harmonydb_wal_groups", "Groups in the log.", activity.groups.length),
    gauge(
      "harmonydb_wal_lagging_groups",
      "Groups that keep more of the log than checkpoints let gather.",
      activity.groups.filter(({ isLagging }) => isLagging).length,
    ),
    {
      name: "harmonydb_wal_backlog_bytes",
      help: "Bytes of the log that cannot go because of the group.",
      type: "gauge",
      samples: activity.groups.map(({ group, backlogBytes }) => ({
        labels: { group: `${group}` },
        value: backlogBytes,
      })),
    },
    {
      name: "harmonydb_wal_backlog_entries",
      help: "Entries of the group behind its newest checkpoint.",
      type: "gauge",
      samples: activity.groups.map(({ group, lastIndex, checkpointIndex }) => ({
        labels: { group: `${group}` },
        value: Math.max(0, lastIndex - checkpointIndex),
      })),
    },
  ];
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "counter", samples: [{ labels: {}, value }] };
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "gauge", samples: [{ labels: {}, value }] };
}
