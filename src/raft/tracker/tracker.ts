/** Who takes part, what the leader knows of each of them, and the votes of the election that is under way. */
import { assert } from "../../base/index.ts";
import { JointConfig } from "../quorum/joint.ts";
import type { VoteResult } from "../quorum/majority.ts";
import type { ConfState, LogIndex, NodeId } from "../types.ts";
import { Inflights } from "./inflights.ts";
import { Progress } from "./progress.ts";

/**
 * Invariants: a learner is no voter of either half. Progress exists for every member while this node leads, and for
 * nobody otherwise.
 */
export class Tracker {
  readonly confState: ConfState;
  readonly voters: JointConfig;
  /** Sorted by id, so that messages are made in the same order in every run. */
  readonly progress: Map<NodeId, Progress> = new Map();
  readonly #memberIds: readonly NodeId[];
  readonly #votes: Map<NodeId, boolean> = new Map();
  readonly #maxInflightMessages: number;
  readonly #maxInflightBytes: number;
  // Bound once, because counting happens on the hot path.
  readonly #matchOf = (id: NodeId): LogIndex => this.progress.get(id)?.match ?? 0;
  readonly #voteOf = (id: NodeId): boolean | undefined => this.#votes.get(id);
  readonly #activeOf = (id: NodeId): boolean => this.progress.get(id)?.recentActive ?? false;

  constructor(confState: ConfState, maxInflightMessages: number, maxInflightBytes: number) {
    this.confState = confState;
    this.voters = new JointConfig(confState.voters, confState.votersOutgoing);
    for (const id of confState.learners) {
      assert(!this.voters.has(id), "a learner is no voter");
    }
    const members = new Set([...this.voters.ids, ...confState.learners]);
    for (const id of members) {
      assert(Number.isSafeInteger(id) && id >= 1, "a member's id is at least 1");
    }
    this.#memberIds = [...members].toSorted((a, b) => a - b);
    this.#maxInflightMessages = maxInflightMessages;
    this.#maxInflightBytes = maxInflightBytes;
  }

  isMember(id: NodeId): boolean {
    return this.#memberIds.includes(id);
  }

  /** A new leader knows nothing of the others: it probes from its own last entry (Raft paper, section 5.3). */
  startLeading(lastIndex: LogIndex): void {
    this.progress.clear();
    for (const id of this.#memberIds) {
      const inflights = new Inflights(this.#maxInflightMessages, this.#maxInflightBytes);
      this.progress.set(id, new Progress(lastIndex + 1, !this.voters.has(id), inflights));
    }
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
    for (const progress of this.progress.values()) progress.recentActive = false;
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
}
