/** What the log knows of each group: what is durable, what has been handed in, what the checkpoints cover. */
import { assert, verify } from "../base/index.ts";
import {
  EMPTY_HARD_STATE,
  type GroupId,
  type HardState,
  type LogIndex,
  type Term,
} from "../raft/index.ts";
import type { EntryCache } from "./entry-cache.ts";
import { type ColdRead, GroupLog } from "./group-log.ts";
import type { GroupRow } from "./segment.ts";
import type { GroupAppend, GroupCheckpoint, SnapshotRecord } from "./types.ts";

const NO_CHECKPOINT: GroupCheckpoint = Object.freeze({
  appliedIndex: 0,
  appliedTerm: 0,
  olderAppliedIndex: 0,
});

/**
 * Invariants: the durable state (`log`, `hardState`, `snapshot`) trails the submitted one and equals it when no append
 * is outstanding; the term never decreases, of one term a vote never changes, and commit never decreases nor passes
 * the log's end; nothing at or below commit is overwritten.
 */
export class GroupState {
  readonly group: GroupId;
  readonly log: GroupLog;
  /** As logged: commit may be below what a checkpoint already covers. */
  hardState: HardState = EMPTY_HARD_STATE;
  snapshot: SnapshotRecord | null = null;
  checkpoint: GroupCheckpoint = NO_CHECKPOINT;
  #submittedLast: LogIndex = 0;
  #submittedTerm: Term = 0;
  #submittedState: HardState = EMPTY_HARD_STATE;

  constructor(group: GroupId, cache: EntryCache, readCold: ColdRead) {
    this.group = group;
    this.log = new GroupLog(group, cache, readCold);
  }

  /** The end of the log once everything that was handed in is durable. */
  get submittedLast(): LogIndex {
    return this.#submittedLast;
  }

  get submittedTerm(): Term {
    return this.#submittedTerm;
  }

  /** A start has replayed the log: nothing is outstanding. */
  settled(): void {
    this.#submittedLast = this.log.lastIndex();
    this.#submittedTerm = this.log.lastTerm();
    this.#submittedState = this.hardState;
    verify(() => this.log.invariants());
  }

  /** Checks an append against the rules of Raft and takes it as submitted. A violation is a bug of the caller. */
  submit(append: GroupAppend): void {
    const { entries, hardState, snapshot } = append;
    if (snapshot !== undefined) {
      const { index, term } = snapshot.meta;
      const { commit } = this.#submittedState;
      // What is applied is committed, and the HardState that says so may come with a later append.
      const last = this.#submittedLast;
      assert(
        snapshot.installed ? index > commit : index <= last,
        `a snapshot at ${index} is installed above commit ${commit} or taken of a log that ends at ${last}`,
      );
      if (snapshot.installed) {
        this.#submittedLast = index;
        this.#submittedTerm = term;
      }
    }
    const first = entries[0];
    if (first !== undefined) {
      assert(
        first.index <= this.#submittedLast + 1 && first.index > this.#submittedState.commit,
        `entry ${first.index} follows entry ${this.#submittedLast} and is above commit ${this.#submittedState.commit}`,
      );
      let term = first.index === this.#submittedLast + 1 ? this.#submittedTerm : 0;
      let index = first.index - 1;
      for (const entry of entries) {
        index++;
        assert(
          entry.index === index && entry.term >= term && entry.term > 0,
          "entries are consecutive and terms never decrease",
        );
        term = entry.term;
      }
      this.#submittedLast = index;
      this.#submittedTerm = term;
    }
    if (hardState !== null) {
      const before = this.#submittedState;
      const sameTerm = hardState.term === before.term;
      assert(hardState.term >= before.term, "a term never decreases");
      assert(
        !sameTerm || before.vote === 0 || hardState.vote === before.vote,
        "a vote never changes within its term",
      );
      assert(
        hardState.commit >= before.commit && hardState.commit <= this.#submittedLast,
        `commit ${hardState.commit} is neither below ${before.commit} nor beyond the log's end ${this.#submittedLast}`,
      );
      this.#submittedState = hardState;
    }
  }

  /** What a segment header carries forward. */
  row(): GroupRow {
    return {
      group: this.group,
      term: this.hardState.term,
      vote: this.hardState.vote,
      commit: this.hardState.commit,
      lastIndex: this.log.lastIndex(),
      lastTerm: this.log.lastTerm(),
    };
  }
}

export class GroupTable {
  readonly #states: Map<GroupId, GroupState> = new Map();
  readonly #cache: EntryCache;
  readonly #readCold: ColdRead;

  constructor(cache: EntryCache, readCold: ColdRead) {
    this.#cache = cache;
    this.#readCold = readCold;
  }

  get(group: GroupId): GroupState | undefined {
    return this.#states.get(group);
  }

  /** The state of a group, which begins empty. */
  of(group: GroupId): GroupState {
    let state = this.#states.get(group);
    if (state === undefined) {
      assert(Number.isInteger(group) && group >= 0 && group < 2 ** 32, "a group id has 32 bits");
      state = new GroupState(group, this.#cache, this.#readCold);
      this.#states.set(group, state);
    }
    return state;
  }

  /** In the order of their ids. */
  all(): GroupState[] {
    return [...this.#states.values()].sort((a, b) => a.group - b.group);
  }

  /** The table of a segment header that is written now: every group of which the log says anything. */
  rows(): GroupRow[] {
    return this.all()
      .map((state) => state.row())
      .filter((row) => row.term > 0 || row.lastIndex > 0);
  }
}
