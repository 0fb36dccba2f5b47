/**
 * Compares an opened storage with what is known of it: which appends were acknowledged and which were under way, which
 * checkpoints were reported, which votes were saved.
 */
import type { Entry, GroupId, HardState } from "../src/raft/index.ts";
import type { VoteState } from "../src/wal/index.ts";
import { entriesOf, type Storage, voteOf } from "./storage.ts";
import {
  entryDifference,
  type KeyTable,
  lastIndexOf,
  type LogState,
  type ModelAppend,
  type TreeBase,
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
  /** Content that every checkpoint which may still be used has passed. */
  readonly base: TreeBase;
  appliedIndex: number;
  /** The applied index of the last checkpoint that was begun. */
  begunIndex: number;
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
  readonly table: KeyTable;
  readonly acknowledged: LogState;
  readonly handed: readonly Handed[];
  readonly trees: ReadonlyMap<GroupId, Trees>;
  readonly votes: ReadonlyMap<GroupId, Votes>;
  readonly readBytes: number;
}

/** What the log of a group says. */
interface Found {
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
}

/**
 * The state that the storage is in: that after the acknowledged appends, or after some of those under way. Throws when
 * there is none. `isDamaged`: bytes were changed on purpose, so a fallback that says so is legal.
 */
export function findState(storage: Storage, known: Knowledge, isDamaged: boolean): LogState {
  const logs = new Map<GroupId, Found>();
  for (const group of known.trees.keys()) {
    const log = storage.wal.groupLog(group);
    const lastIndex = log.lastIndex();
    const lastTerm = log.term(lastIndex);
    logs.set(group, {
      firstIndex: log.firstIndex(),
      lastIndex,
      lastTerm: typeof lastTerm === "number" ? lastTerm : 0,
      hardState: storage.wal.hardState(group),
      entries: entriesOf(storage.wal, group, known.readBytes),
    });
  }
  let reason: string | null = null;
  for (let i = -1; i < known.handed.length; i++) {
    const state = i < 0 ? known.acknowledged : (known.handed[i] as Handed).after;
    const found = logMismatch(storage, logs, known, state, isDamaged);
    if (found === null) {
      compareTrees(storage, logs, known, state, isDamaged);
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

function logMismatch(
  { engines, recovery }: Storage,
  logs: ReadonlyMap<GroupId, Found>,
  known: Knowledge,
  state: LogState,
  isDamaged: boolean,
): string | null {
  // What is cheap to tell comes first, so that all bytes are compared with few states.
  for (const [group, { lastIndex, lastTerm }] of logs) {
    const expected = state.of(group);
    const last = lastIndexOf(expected);
    if (lastIndex !== last) return `group ${group} ends at ${lastIndex}, not ${last}`;
    const term = expected.entries.at(-1)?.term;
    if (term !== undefined && lastTerm !== term)
      return `group ${group} ends in term ${lastTerm}, not ${term}`;
  }
  for (const [group, trees] of known.trees) {
    const expected = state.of(group);
    const log = logs.get(group) as Found;
    const { newest, older } = engines.get(group)?.checkpoints ?? { newest: null, older: null };
    // What only the older checkpoint needs may be lost with a segment, when the start says so: the newest has it all.
    const isReported = isDamaged && (recovery?.damagedRanges.length ?? 0) > 0;
    const released = Math.max(
      trees.releasedIndex,
      older?.appliedIndex ?? 0,
      isReported ? (newest?.appliedIndex ?? 0) : 0,
    );
    if (log.firstIndex > released + 1)
      return `group ${group} begins at ${log.firstIndex}, and only ${released} were released`;
    const covered = Math.max(expected.hardState.commit, newest?.appliedIndex ?? 0);
    const commit = Math.min(covered, lastIndexOf(expected));
    const { hardState } = log;
    if (
      hardState.term !== expected.hardState.term ||
      hardState.vote !== expected.hardState.vote ||
      hardState.commit !== commit
    )
      return `HardState of group ${group} is ${show(hardState)}, not ${show({ ...expected.hardState, commit })}`;
    for (const entry of log.entries) {
      // What is below the floor was compared before it was forgotten, and nobody reads it again.
      if (entry.index <= expected.floor) continue;
      const found = entryDifference(entry, expected.entries[entry.index - expected.floor - 1]);
      if (found !== null) return `group ${group}: ${found}`;
    }
  }
  return null;
}

function compareTrees(
  { engines }: Storage,
  logs: ReadonlyMap<GroupId, Found>,
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
      applied <= lastIndexOf(state.of(group)),
      "the log reaches the checkpoint",
      () => `group ${group} applied ${applied}`,
    );
    const { firstIndex } = logs.get(group) as Found;
    check(
      firstIndex <= applied + 1,
      "the log holds what the checkpoint lacks",
      () => `group ${group} applied ${applied}, and its log begins at ${firstIndex}`,
    );
    if (newest !== null && applied > 0) {
      const { payload } = newest;
      check(
        payload.length === 2 && payload[0] === group && payload[1] === (applied & 255),
        "a checkpoint carries its payload",
        () => `group ${group}: ${show(payload)}`,
      );
    }
    // Only damage on purpose leads behind the base: to an empty file in the place of one that was taken away, or to a
    // meta page that the last write of its place never reached, with pages that are whole and a log that still
    // reaches back to it (openStorage has seen to that). What the trees held then is forgotten here.
    check(
      applied >= trees.base.index || isDamaged,
      "no checkpoint is older than the two newest ones",
      () => `group ${group} is at ${applied}`,
    );
    if (applied > 0 && applied < trees.base.index) continue;
    const expected = applied === 0 ? known.table.empty() : trees.base.at(state.of(group), applied);
    const tree = engine.tree.bind(engine);
    const found =
      known.table.difference(tree, expected) ?? known.table.lookupDifference(tree, expected);
    check(
      found === null,
      "the trees are those of the checkpoint",
      () => `group ${group} at ${applied}: ${found}`,
    );
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
