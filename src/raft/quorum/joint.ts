/**
 * Joint consensus (Raft paper, section 6): while a configuration changes, every decision needs a majority of the old
 * voters and a majority of the new ones. A simple configuration is a joint one whose outgoing half is empty, so the
 * core asks one type in both cases.
 */
import type { LogIndex, NodeId } from "../types.ts";
import { type AckedIndex, MajorityConfig, type VoteOf, type VoteResult } from "./majority.ts";

export class JointConfig {
  readonly incoming: MajorityConfig;
  readonly outgoing: MajorityConfig;
  /** Every voter of either half once, sorted. */
  readonly ids: readonly NodeId[];

  constructor(voters: readonly NodeId[], votersOutgoing: readonly NodeId[]) {
    this.incoming = new MajorityConfig(voters);
    this.outgoing = new MajorityConfig(votersOutgoing);
    this.ids = [...new Set([...voters, ...votersOutgoing])].toSorted((a, b) => a - b);
  }

  has(id: NodeId): boolean {
    return this.incoming.has(id) || this.outgoing.has(id);
  }

  /** True where `id` alone decides: it is the one voter of each half that has any. */
  isLoneVoter(id: NodeId): boolean {
    return this.ids.length === 1 && this.ids[0] === id;
  }

  /** The highest index that a majority of each half has acknowledged. */
  committedIndex(acked: AckedIndex): LogIndex {
    return Math.min(this.incoming.committedIndex(acked), this.outgoing.committedIndex(acked));
  }

  /** Won when both halves are won, lost as soon as one is. */
  voteResult(voteOf: VoteOf): VoteResult {
    const incoming = this.incoming.voteResult(voteOf);
    const outgoing = this.outgoing.voteResult(voteOf);
    if (incoming === outgoing) return incoming;
    return incoming === "lost" || outgoing === "lost" ? "lost" : "pending";
  }
}
