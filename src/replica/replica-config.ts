/** What a replica is made of, and what it needs when there are others. */
import type { ErrorCode, HarmonyError } from "../base/index.ts";
import type { QuarantineItem } from "../codec/index.ts";
import type { Entropy } from "../env/index.ts";
import type { ConfChangeV2, GroupId, HardState, NodeId, RawNode } from "../raft/index.ts";
import type { Verdict } from "./agreement.ts";
import type { Forwarding } from "./forwarding.ts";
import type { GroupClock } from "./group-clock.ts";
import type { StateMachine } from "./state-machine.ts";

export interface ReplicaConfig<Result> {
  readonly group: GroupId;
  readonly rawNode: RawNode;
  readonly machine: StateMachine<Result>;
  readonly clock: GroupClock;
  /** HardState as it stands in VOTE and WAL, so that only changes of term and vote are written there. */
  readonly hardState: HardState;
  /** Asks the host for a turn. */
  readonly wake: () => void;
  /** The way to a leader that is another member. Absent for a lone voter: there is none. */
  readonly peers?: ReplicaPeers | undefined;
  /**
   * Why a leader does not propose a change of the configuration, or null: what depends on who is there now, while the
   * machine refuses what depends on its state. A leader that has led for a few ticks only may not have heard yet of
   * members that are there: "NOT_YET" lets the change wait.
   */
  readonly judge?:
    | ((change: ConfChangeV2, ledTicks: number) => ErrorCode | "NOT_YET" | null)
    | undefined;
  /** It begins in quarantine, for this reason; so does `rawNode`. */
  readonly quarantined?: HarmonyError | undefined;
}

export interface ReplicaPeers {
  readonly forwarding: Forwarding;
  readonly entropy: Entropy;
  /** Members were found to differ in what they made of the same entries. */
  readonly differ?: ((verdict: Verdict) => void) | undefined;
  /** Another member says that its replica is in quarantine. */
  readonly inQuarantine?: ((member: NodeId, item: QuarantineItem) => void) | undefined;
  /** The disk here stands still while the others go on: the lead is on its way to this member. */
  readonly diskStandsStill?: ((heir: NodeId) => void) | undefined;
  /** The disk is full here and others have room: the lead is on its way to this member. */
  readonly handsOver?: ((to: NodeId) => void) | undefined;
  /** Until there is room on the disk nothing is applied here: who waits for news is better off elsewhere. */
  readonly standsStill?: ((error: HarmonyError) => void) | undefined;
}
