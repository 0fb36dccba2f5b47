/**
 * Arithmetic over a majority of a set of voters. It knows nothing of logs or elections: an index is a number that
 * each voter has acknowledged, a vote is yes, no or not yet.
 */
import { assert } from "../../base/index.ts";
import type { LogIndex, NodeId } from "../types.ts";

/** What a count of votes says so far. `pending` means that the missing votes can still decide either way. */
export type VoteResult = "pending" | "won" | "lost";

/** The index that a voter has acknowledged; 0 for a voter that nothing is known of. */
export type AckedIndex = (id: NodeId) => LogIndex;

/** A voter's answer; undefined while it has not answered. */
export type VoteOf = (id: NodeId) => boolean | undefined;

/**
 * One half of a configuration.
 *
 * Invariants: ids are sorted and distinct. The empty set agrees with everything, because that makes the half that
 * a simple configuration does not have neutral in every question of a joint one.
 */
export class MajorityConfig {
  readonly ids: readonly NodeId[];
  /** Reused by every count: commits are counted for each acknowledgement. */
  readonly #scratch: number[];

  constructor(ids: readonly NodeId[]) {
    this.ids = [...ids].toSorted((a, b) => a - b);
    for (let i = 1; i < this.ids.length; i++) {
      assert(this.ids[i] !== this.ids[i - 1], "a voter stands in a configuration once");
    }
    this.#scratch = Array.from({ length: ids.length }, () => 0);
  }

  has(id: NodeId): boolean {
    return this.ids.includes(id);
  }

  /** The highest index that a majority has acknowledged. */
  committedIndex(acked: AckedIndex): LogIndex {
    const { ids } = this;
    const sorted = this.#scratch;
    if (ids.length === 0) return Number.MAX_SAFE_INTEGER;
    // Insertion sort: a handful of voters, no garbage.
    for (let i = 0; i < ids.length; i++) {
      const index = acked(ids[i] as NodeId);
      let at = i;
      while (at > 0 && (sorted[at - 1] as number) > index) {
        sorted[at] = sorted[at - 1] as number;
        at--;
      }
      sorted[at] = index;
    }
    const quorum = Math.floor(ids.length / 2) + 1;
    return sorted[ids.length - quorum] as number;
  }

  voteResult(voteOf: VoteOf): VoteResult {
    const { ids } = this;
    if (ids.length === 0) return "won";
    const quorum = Math.floor(ids.length / 2) + 1;
    let granted = 0;
    let missing = 0;
    for (const id of ids) {
      const vote = voteOf(id);
      if (vote === undefined) missing++;
      else if (vote) granted++;
    }
    if (granted >= quorum) return "won";
    return granted + missing >= quorum ? "pending" : "lost";
  }
}
