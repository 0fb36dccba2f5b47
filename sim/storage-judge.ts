/**
 * Compares an opened storage with what is known of it: which appends were acknowledged and which were under way, which
 * checkpoints were reported, which votes were saved.
 */
import type { GroupId } from "../src/raft/index.ts";
import type { VoteState } from "../src/wal/index.ts";
import { keyBytes } from "./model.ts";
import { contentOf, entriesOf, type Storage, voteOf } from "./storage.ts";
import {
  contentAt,
  contentDifference,
  entryDifference,
  type LogState,
  type ModelAppend,
} from "./storage-model.ts";
import { check, difference, show, Violation } from "./violation.ts";

/** A batch that was handed in. */
export interface Handed {
  readonly batch: readonly ModelAppend[];
  /** The state of the log with it and all before it. */
  readonly after: LogState;
}

/** What the trees of a group have been told. */
export interface Trees {
  appliedIndex: number;
  /** The applied index of the last checkpoint whose completion was reported. */
  checkpointIndex: number;
  /** What the log was told that it may forget. */
  releasedIndex: number;
  checkpointing: boolean;
}

/** The last acknowledged vote of a group, and one that may or may not have been saved. */
export interface Votes {
  saved: VoteState;
  pending: VoteState | null;
}

export interface Knowledge {
  readonly acknowledged: LogState;
  readonly handed: readonly Handed[];
  readonly trees: ReadonlyMap<GroupId, Trees>;
  readonly votes: ReadonlyMap<GroupId, Votes>;
  readonly readBytes: number;
}

/**
 * The state that the storage is in: that after the acknowledged appends, or after some of those under way. Throws when
 * there is none. `isDamaged`: a bit was changed on purpose, so a fallback that says so is legal.
 */
export function findState(storage: Storage, known: Knowledge, isDamaged: boolean): LogState {
  let reason: string | null = null;
  for (const state of [known.acknowledged, ...known.handed.map(({ after }) => after)]) {
    const found = logMismatch(storage, known, state);
    if (found === null) {
      compareTrees(storage, known, state, isDamaged);
      compareVotes(storage, known, isDamaged);
      return state;
    }
    // The first reason is the one that counts when nothing was under way.
    reason ??= found;
  }
  throw new Violation(
    "every acknowledged append survives, and others whole or not at all",
    `${reason} (${known.handed.length} appends were under way)`,
  );
}

function logMismatch({ wal, engines }: Storage, known: Knowledge, state: LogState): string | null {
  for (const [group, trees] of known.trees) {
    const expected = state.of(group);
    const log = wal.groupLog(group);
    const { newest, older } = engines.get(group)?.checkpoints ?? { newest: null, older: null };
    const released = Math.max(trees.releasedIndex, older?.appliedIndex ?? 0);
    if (log.firstIndex() > released + 1)
      return `group ${group} begins at ${log.firstIndex()}, and only ${released} were released`;
    if (log.lastIndex() !== expected.entries.length)
      return `group ${group} ends at ${log.lastIndex()}, not ${expected.entries.length}`;
    for (const entry of entriesOf(wal, group, known.readBytes)) {
      const found = entryDifference(entry, expected.entries[entry.index - 1]);
      if (found !== null) return `group ${group}: ${found}`;
    }
    const covered = Math.max(expected.hardState.commit, newest?.appliedIndex ?? 0);
    const commit = Math.min(covered, expected.entries.length);
    const found = difference(wal.hardState(group), { ...expected.hardState, commit });
    if (found !== null) return `HardState of group ${group}: ${found}`;
  }
  return null;
}

function compareTrees(
  { engines }: Storage,
  known: Knowledge,
  state: LogState,
  isDamaged: boolean,
): void {
  for (const [group, trees] of known.trees) {
    const engine = engines.get(group);
    if (engine === undefined) continue;
    const { newest } = engine.checkpoints;
    const applied = newest?.appliedIndex ?? 0;
    // With the newest checkpoint damaged the older one takes its place, and the log begins before it.
    check(
      isDamaged || applied >= trees.checkpointIndex,
      "a checkpoint that was reported survives",
      () => `group ${group} is at ${applied}, not ${trees.checkpointIndex}`,
    );
    check(
      applied <= state.of(group).entries.length,
      "the log reaches the checkpoint",
      () => `group ${group} applied ${applied}`,
    );
    if (newest !== null && applied > 0) {
      const payload = difference(newest.payload, Uint8Array.of(group, applied & 255));
      check(
        payload === null,
        "a checkpoint carries its payload",
        () => `group ${group}: ${payload}`,
      );
    }
    const expected = contentAt(state.of(group), applied);
    const found = contentDifference(
      contentOf((id) => engine.tree(id)),
      expected,
    );
    check(
      found === null,
      "the trees are those of the checkpoint",
      () => `group ${group} at ${applied}: ${found}`,
    );
    for (const [name, value] of expected) {
      const got = engine.tree(Number(name.slice(0, 1))).get(keyBytes(name.slice(2)));
      const wrong = difference(got, value);
      check(
        wrong === null,
        "a key that is there is found",
        () => `group ${group}, ${name}: ${wrong}`,
      );
    }
  }
}

function compareVotes({ votes }: Storage, known: Knowledge, isDamaged: boolean): void {
  for (const [group, { saved, pending }] of known.votes) {
    const found = voteOf(votes, group);
    // With a slot damaged the file says so or knows the vote before: the log is the second copy of the newest.
    if (isDamaged && (found === null || found.term <= saved.term)) continue;
    const isSaved = difference(found, saved) === null;
    const isPending = pending !== null && difference(found, pending) === null;
    check(
      isSaved || isPending,
      "a saved vote survives",
      () => `group ${group} has ${show(found)}, not ${show(saved)} or ${show(pending)}`,
    );
  }
}
