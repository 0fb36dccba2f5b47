/**
 * Who waits for which entry: commands that stand in an entry, appended here or at the leader, that is not applied here
 * yet. Whoever waits is answered when the entry at that index is applied, by what stands there then: his own command's
 * result, or the certainty that another leader's entry took its place.
 *
 * Invariants: an index is waited for in one term at a time; nobody waits for an index that is applied.
 */
import { assert, HarmonyError, verify } from "../base/index.ts";
import { type Entry, EntryType, type LogIndex, type Term } from "../raft/index.ts";
import type { Proposal } from "./proposal.ts";

/** Where a command stands in the log. */
export interface Place {
  readonly index: LogIndex;
  readonly term: Term;
  /** Which command of the entry it is. */
  readonly position: number;
}

interface Waiting<Result> {
  readonly term: Term;
  readonly proposals: Proposal<Result>[];
  /** Which command of the entry each waits for; null: one for each, in order, as this member proposed it. */
  readonly positions: number[] | null;
}

export class ProposedEntries<Result> {
  readonly #byIndex = new Map<LogIndex, Waiting<Result>>();
  readonly #settle: (
    proposal: Proposal<Result>,
    error: HarmonyError | null,
    result?: Result,
  ) => void;

  constructor(
    settle: (proposal: Proposal<Result>, error: HarmonyError | null, result?: Result) => void,
  ) {
    this.#settle = settle;
  }

  /** How many wait. */
  get count(): number {
    let count = 0;
    for (const { proposals } of this.#byIndex.values()) count += proposals.length;
    return count;
  }

  /** Nobody waits. */
  get isEmpty(): boolean {
    return this.#byIndex.size === 0;
  }

  /** These stand in the entry, alone and in this order: this member has proposed it. */
  appended({ index, term }: Pick<Place, "index" | "term">, proposals: Proposal<Result>[]): void {
    this.#displace(index);
    this.#byIndex.set(index, { term, proposals, positions: null });
  }

  /** The leader says where a command of this member stands. */
  placed(
    proposal: Proposal<Result>,
    { index, term, position }: Place,
    appliedIndex: LogIndex,
  ): void {
    const known = this.#byIndex.get(index);
    const isOvertaken =
      index <= appliedIndex ||
      (known !== undefined && (known.term > term || known.positions === null));
    if (isOvertaken) {
      // The entry was applied, or replaced here, before its place was told.
      this.#settle(proposal, unknown());
    } else if (known?.term === term) {
      known.proposals.push(proposal);
      known.positions?.push(position);
    } else {
      this.#displace(index);
      this.#byIndex.set(index, { term, proposals: [proposal], positions: [position] });
    }
  }

  /** The entry is applied here, with these results. */
  applied(entry: Entry, results: readonly Result[]): void {
    const waiting = this.#byIndex.get(entry.index);
    if (waiting === undefined) return;
    this.#byIndex.delete(entry.index);
    const { term, proposals, positions } = waiting;
    if (term !== entry.term) {
      // Another leader's entry stands where these were appended: they were not applied and never will be.
      for (const proposal of proposals) this.#settle(proposal, new HarmonyError("LEADER_CHANGED"));
      return;
    }
    if (positions === null && entry.type === EntryType.normal)
      assert(proposals.length === results.length, "each proposal of an entry has one result");
    for (let i = 0; i < proposals.length; i++) {
      const proposal = proposals[i] as Proposal<Result>;
      const at = positions === null ? i : (positions[i] as number);
      // A place that the entry does not have was told by a leader that errs: nothing is known of the command.
      if (at < results.length) this.#settle(proposal, null, results[at] as Result);
      else this.#settle(proposal, unknown());
    }
  }

  /** What stands up to `index` is applied with a snapshot, and nobody can say whether it was theirs. */
  coveredBySnapshot(index: LogIndex): void {
    for (const [at, { proposals }] of this.#byIndex) {
      if (at > index) continue;
      this.#byIndex.delete(at);
      for (const proposal of proposals) this.#settle(proposal, unknown());
    }
  }

  /** Everybody who waits, for the caller to answer. */
  takeAll(): readonly Proposal<Result>[] {
    const all = [...this.#byIndex.values()].flatMap(({ proposals }) => proposals);
    this.#byIndex.clear();
    return all;
  }

  /** This index was another term's: its entry was cut off here, but a member that still has it may yet commit it. */
  #displace(index: LogIndex): void {
    const before = this.#byIndex.get(index);
    if (before === undefined) return;
    for (const proposal of before.proposals) this.#settle(proposal, unknown());
  }

  invariants(appliedIndex: LogIndex): void {
    verify(() => {
      for (const index of this.#byIndex.keys())
        assert(index > appliedIndex, "a proposal waits only for what is not applied");
    });
  }
}

function unknown(): HarmonyError {
  return new HarmonyError("LEADER_CHANGED", undefined, { maybeApplied: true });
}
