/** What a replica replicates. It knows nothing of keys. */
import type { ConfChangeV2, LogIndex, Term } from "../raft/index.ts";

/** Where and when a batch of commands takes effect. */
export interface ApplyContext {
  readonly index: LogIndex;
  readonly term: Term;
  /** The group's clock as the leader stamped it: milliseconds, never decreasing (data-model.md). */
  readonly clockMs: number;
  /** By how much that was behind the leader's wall clock. Absent in an entry that nobody stamped: as it was. */
  readonly behindMs?: number;
}

/** What a machine says to a change of the configuration: whether it comes into force, and what its proposer is told. */
export interface ConfChangeVerdict<Result> {
  readonly isTaken: boolean;
  readonly result: Result;
}

/**
 * A deterministic machine: what `apply` does depends on its arguments and its own state alone, so that every replica
 * that applied the same entries is equal. It throws only when this replica must stop.
 */
export interface StateMachine<Result> {
  /** The last entry applied; restored from the checkpoint at open. */
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  /** The stamp of the last entry applied. */
  readonly clockMs: number;
  /** By how much that was behind the wall clock of its leader. Absent: the machine keeps nothing that ends by time. */
  readonly behindMs?: number;
  /** A hash of the state, equal on all replicas that applied the same entries. Absent: replicas are not compared. */
  readonly stateHash?: number;
  /**
   * Applies one entry: its commands in order, all or nothing with regard to checkpoints. One result for each
   * command, in order. `commands` are views into the log's memory: what is kept is copied. An entry without
   * commands (a leader's first) only moves index and clock.
   */
  apply(context: ApplyContext, commands: readonly Uint8Array[]): readonly Result[];
  /**
   * Applies an entry that changes the configuration of the group, and that Raft would take: by its context the machine
   * knows who comes and goes. Absent: the machine has no say and no memory of it.
   */
  applyConfChange?(context: ApplyContext, change: ConfChangeV2): ConfChangeVerdict<Result>;
}
