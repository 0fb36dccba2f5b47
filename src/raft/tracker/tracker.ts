/** Who takes part, what the leader knows of each of them, and the votes of the election that is under way. */
import { assert } from "../../base/index.ts";
import { faultOf, membersOf } from "../confchange/changer.ts";
import { JointConfig } from "../quorum/joint.ts";
import type { VoteResult } from "../quorum/majority.ts";
import type { ConfState, LogIndex, NodeId } from "../types.ts";
import { Inflights } from "./inflights.ts";
import { Progress } from "./progress.ts";

/**
 * Invariants: the configuration has no fault (faultOf). Progress exists for every member while this node leads, and
 * for nobody otherwise.
 */
export class Tracker {
  #confState: ConfState;
  #voters: JointConfig;
  /** Sorted by id, so that messages are made in the same order in every run. */
  readonly progress: Map<NodeId, Progress> = new Map();
  #memberIds: readonly NodeId[] = [];
  readonly #votes: Map<NodeId, boolean> = new Map();
  readonly #maxInflightMessages: number;
  readonly #maxInflightBytes: number;
  // Bound once, because counting happens on the hot path.
  readonly #matchOf = (id: NodeId): LogIndex => this.progress.get(id)?.match ?? 0;
  readonly #voteOf = (id: NodeId): boolean | undefined => this.#votes.get(id);
  readonly #activeOf = (id: NodeId): boolean => this.progress.get(id)?.recentActive ?? false;

  constructor(confState: ConfState, maxInflightMessages: number, maxInflightBytes: number) {
    this.#maxInflightMessages = maxInflightMessages;
    this.#maxInflightBytes = maxInflightBytes;
    this.#confState = confState;
    this.#voters = new JointConfig(confState.voters, confState.votersOutgoing);
    this.#set(confState);
  }

  get confState(): ConfState {
    return this.#confState;
  }

  get voters(): JointConfig {
    return this.#voters;
  }

  /** Another configuration is in force. A leader keeps what it knows of those who stay. */
  configure(confState: ConfState, lastIndex: LogIndex): void {
    this.#set(confState);
    if (this.progress.size === 0) return;
    const known = new Map(this.progress);
    this.progress.clear();
    for (const id of this.#memberIds) {
      let progress = known.get(id);
      if (progress === undefined) {
        progress = this.#newProgress(id, lastIndex);
        // It could not answer yet: CheckQuorum must not take that for silence.
        progress.recentActive = true;
      }
      progress.isLearner = !this.voters.has(id);
      this.progress.set(id, progress);
    }
  }

  isMember(id: NodeId): boolean {
    return this.#memberIds.includes(id);
  }

  /** A new leader knows nothing of the others: it probes from its own last entry (Raft paper, section 5.3). */
  startLeading(lastIndex: LogIndex): void {
    this.progress.clear();
    for (const id of this.#memberIds) this.progress.set(id, this.#newProgress(id, lastIndex));
  }

  stopLeading(): void {
    this.progress.clear();
  }

  /** The highest index that is durable at a quorum. */
  committedIndex(): LogIndex {
    return this.voters.committedIndex(this.#matchOf);
  }

  /** Whether a quorum answered since the last call. `self` always counts. */
  takeQuorumActive(self: NodeId): boolean {
    const own = this.progress.get(self);
    if (own !== undefined) own.recentActive = true;
    const active = this.voters.voteResult(this.#activeOf) === "won";
    for (const progress of this.progress.values()) {
      progress.wasActive = progress.recentActive;
      progress.recentActive = false;
    }
    return active;
  }

  clearVotes(): void {
    this.#votes.clear();
  }

  /** The first answer of a voter stands. */
  recordVote(id: NodeId, granted: boolean): VoteResult {
    if (this.voters.has(id) && !this.#votes.has(id)) this.#votes.set(id, granted);
    return this.voters.voteResult(this.#voteOf);
  }

  #set(confState: ConfState): void {
    const fault = faultOf(confState);
    assert(fault === null, fault ?? "");
    this.#confState = confState;
    this.#voters = new JointConfig(confState.voters, confState.votersOutgoing);
    this.#memberIds = membersOf(confState);
  }

  #newProgress(id: NodeId, lastIndex: LogIndex): Progress {
    const inflights = new Inflights(this.#maxInflightMessages, this.#maxInflightBytes);
    return new Progress(lastIndex + 1, !this.voters.has(id), inflights);
  }
}
