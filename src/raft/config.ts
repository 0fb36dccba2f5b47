/** What a replica is started with, and the check that the numbers make sense together. */
import { assert, assertSafe } from "../base/index.ts";
import type {
  ConfState,
  GroupId,
  HardState,
  Incarnation,
  LogIndex,
  LogStorage,
  NodeId,
  SnapshotMeta,
  Term,
} from "./types.ts";

export interface RaftConfig {
  readonly group: GroupId;
  readonly id: NodeId;
  readonly incarnation: Incarnation;
  /** The durable log. Whatever it returns is durable; it grows only by the Readys of this replica. */
  readonly storage: LogStorage;
  /** As last synced. */
  readonly hardState: HardState;
  /**
   * The configuration at `appliedIndex`. At 0 it is that of the founders, for one who joined later too: the changes
   * since stand in the log.
   */
  readonly confState: ConfState;
  /** It begins in quarantine (`RawNode.quarantine`), in a new incarnation. */
  readonly quarantined?: boolean | undefined;
  /** What the state machine holds already. Entries after it are handed out again. */
  readonly appliedIndex: LogIndex;
  /**
   * Asked by a leader whose log does not reach a member any more: the newest snapshot that the host can send. Null, or
   * absent: there is none now. Then, and when it ends before the log begins or is older than the membership of the
   * member, the member shows `needsSnapshot` and is asked again at each heartbeat.
   */
  readonly latestSnapshot?: (() => SnapshotMeta | null) | undefined;
  /** A follower campaigns after one to two times this many ticks without a leader. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Differs at every start: it spreads election timeouts and tells attempts of two lives apart. */
  readonly seed: number;
  /** Data bytes of one append message; a larger entry travels alone. */
  readonly maxEntriesBytesPerMessage: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** A leader refuses proposals beyond this much data that is not committed yet; one proposal always fits. */
  readonly maxUncommittedBytes: number;
  /** Data bytes of Ready.committedEntries; a larger entry comes alone. */
  readonly maxCommittedBytesPerReady: number;
  /** Ask before disturbing a term (Raft dissertation, section 9.6). */
  readonly preVote: boolean;
  /** A leader that hears from no quorum steps down, and who hears from a leader votes for nobody else. */
  readonly checkQuorum: boolean;
  /**
   * 0, or absent: each read asks a quorum. Otherwise a leader answers reads at once for so many ticks after a round of
   * heartbeats that a quorum answered, the same on all replicas. Safe only under a host that keeps these:
   * - Clocks drift less than what is left: `leaseTicks` of the slowest clock are shorter than `electionTicks - 1` of the
   *   fastest, and no replica ticks twice within the time of one tick.
   * - Who may have missed ticks, having stood still, says `loseLease()` before it steps or reads anything else; it looks
   *   at its clock once more right before a read is answered.
   * A replica then votes for nobody for an election timeout after its start, since it may have been bound before, and
   * `campaign` and `forgetLeader` have no effect while a leader is heard from.
   */
  readonly leaseTicks?: number | undefined;
}

/** Stops on a configuration that no replica can run with. */
export function assertRunnable(config: RaftConfig): void {
  assertSafe(config.group, "group");
  assertSafe(config.id, "id");
  assert(config.id >= 1, "a replica's id is at least 1");
  assertSafe(config.incarnation, "incarnation");
  assert(config.heartbeatTicks >= 1, "heartbeatTicks is at least 1");
  assert(
    config.electionTicks > config.heartbeatTicks,
    "an election takes longer than a heartbeat, or every follower would campaign",
  );
  const { leaseTicks = 0 } = config;
  assert(
    Number.isSafeInteger(leaseTicks) && leaseTicks >= 0 && leaseTicks < config.electionTicks - 1,
    "a lease ends before anybody who gave it may vote again",
  );
  assert(leaseTicks === 0 || config.checkQuorum, "a lease relies on CheckQuorum");
  assert(config.maxInflightMessages >= 1, "one message at least may be on its way");
  assert(config.maxInflightBytes >= 1, "one message at least may be on its way");
  assert(config.maxEntriesBytesPerMessage >= 0, "maxEntriesBytesPerMessage is no less than 0");
  assert(config.maxUncommittedBytes >= 0, "maxUncommittedBytes is no less than 0");
  assert(config.maxCommittedBytesPerReady >= 0, "maxCommittedBytesPerReady is no less than 0");
}

/**
 * Term and vote to begin with. A crash between two frames of one Ready leaves entries of a term whose HardState was not
 * written. Nothing was answered in that term, so it is joined anew, without a vote.
 */
export function startOf(
  { term, vote }: HardState,
  logTerm: Term,
): { readonly term: Term; readonly vote: NodeId } {
  return logTerm > term ? { term: logTerm, vote: 0 } : { term, vote };
}
