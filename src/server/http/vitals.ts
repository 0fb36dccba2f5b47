/** What the HTTP listener knows of the node that it speaks for. */
import type { Database, MetricFamily } from "../../db/index.ts";

/** Counters of a node since its start. All of them grow, but for those that say "now". */
export interface NodeCounters {
  readonly walWrites: number;
  readonly walWrittenBytes: number;
  /** Now. */
  readonly walSegments: number;
  /** Now. */
  readonly walSizeBytes: number;
  readonly checkpoints: number;
  /** Files under `snap/`: what a checkpoint is not. */
  readonly snapshots: number;
  readonly entriesApplied: number;
  readonly commandsApplied: number;
  readonly commandsRefused: number;
  /** Now: proposed and not applied, or waiting to be proposed. */
  readonly commandsPending: number;
  readonly leaderChanges: number;
  /** Now. */
  readonly keys: number;
  /** Now. */
  readonly leases: number;
  /** Of the start. */
  readonly recoveryMs: number;
}

export interface Vitals {
  /** Null while the node recovers, and again when it stops. */
  database(): Database | null;
  /** Null likewise. */
  counters(): NodeCounters | null;
  /** Further figures of the node; none while there is no node. */
  families(): readonly MetricFamily[];
}
