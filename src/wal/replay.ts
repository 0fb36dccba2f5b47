/**
 * Applies the records of checked frames to the groups' state at a start. Raft's own rules are checked again on the
 * way: a frame whose checksums are right but that breaks them was written wrongly and is refused like damage.
 */
import { CorruptionError, type Damage } from "../base/index.ts";
import type { GroupId, HardState } from "../raft/index.ts";
import { type FrameRow, RowFlags } from "./frame.ts";
import type { GroupState, GroupTable } from "./group-state.ts";
import { type LiveSegment, noteIndex } from "./live-segment.ts";
import { EntryCursor, type RecordCursor, RecordType } from "./record.ts";
import type { GroupRow } from "./segment.ts";
import type { Lsn } from "./types.ts";

export class Replay {
  readonly groups: GroupTable;
  /** Damage that was tolerated, in the order of the log. */
  readonly tolerated: Damage[] = [];
  /** Groups whose HardState was in a tolerated frame and has not been found again since. */
  readonly #lostHardStates: Map<GroupId, Damage> = new Map();
  /** After tolerated damage the table of the next segment is taken, not compared. */
  #lenient = true;

  constructor(groups: GroupTable) {
    this.groups = groups;
  }

  /** Takes the state that a segment header carries, or compares it with what was replayed up to there. */
  enterSegment(rows: readonly GroupRow[], file: string): void {
    for (const row of rows) {
      const state = this.groups.of(row.group);
      if (this.#lenient) {
        state.hardState = { term: row.term, vote: row.vote, commit: row.commit };
        if (state.log.lastIndex() !== row.lastIndex || state.log.lastTerm() !== row.lastTerm) {
          state.log.startAfter(row.lastIndex, row.lastTerm);
        }
      } else if (!sameRow(state.row(), row)) {
        throw new CorruptionError({
          file,
          offset: 0,
          what: `the segment header and the records before it disagree about group ${row.group}`,
        });
      }
    }
    if (!this.#lenient && rows.length !== this.groups.rows().length) {
      throw new CorruptionError({
        file,
        offset: 0,
        what: "the segment header does not list every group",
      });
    }
    this.#lenient = false;
    this.#lostHardStates.clear();
  }

  /** Applies one frame. The records' entries stand in the frame at `lsn`. */
  frame(records: RecordCursor, lsn: Lsn, segment: Pick<LiveSegment, "highest">): void {
    while (records.next()) {
      switch (records.type) {
        case RecordType.entries:
          this.#entries(records, lsn, segment);
          break;
        case RecordType.relocated:
          this.#relocated(records, lsn, segment);
          break;
        case RecordType.hardState:
          this.#hardState(records, records.hardState());
          break;
        case RecordType.snapshot: {
          const state = this.groups.of(records.group);
          const snapshot = records.snapshot();
          if (snapshot.installed) state.log.startAfter(snapshot.meta.index, snapshot.meta.term);
          state.snapshot = snapshot;
          noteIndex(segment, records.group, snapshot.meta.index);
          break;
        }
        case RecordType.truncated:
          this.#truncated(records);
          break;
        case RecordType.mark:
          records.expectSize(0);
          break;
        default:
          records.refuse(`record of type ${String(records.type satisfies never)}`);
      }
    }
  }

  /**
   * True when losing a frame with this table costs nothing: all that it said of the logs is below the older
   * checkpoints. What it said of HardStates must be found again; `settle` sees to that.
   */
  tolerates(rows: readonly FrameRow[]): boolean {
    return rows.every((row) => {
      if ((row.flags & RowFlags.log) === 0) return true;
      const older = this.groups.get(row.group)?.checkpoint.olderAppliedIndex ?? 0;
      return row.lastIndex <= older;
    });
  }

  /** Goes past a damaged frame that is tolerated. */
  skip(rows: readonly FrameRow[], damage: Damage): void {
    this.tolerated.push(damage);
    for (const row of rows) {
      const state = this.groups.of(row.group);
      if ((row.flags & RowFlags.log) !== 0) state.log.startAfter(row.lastIndex, row.lastTerm);
      if ((row.flags & RowFlags.hardState) !== 0) this.#lostHardStates.set(row.group, damage);
    }
    this.#lenient = true;
  }

  /** The damage that lost a HardState for good, or null. Asked at the end of the log. */
  get unsettled(): Damage | null {
    for (const damage of this.#lostHardStates.values()) return damage;
    return null;
  }

  #entries(records: RecordCursor, lsn: Lsn, segment: Pick<LiveSegment, "highest">): void {
    const { log, hardState } = this.#state(records);
    const cursor = new EntryCursor(records);
    const { firstIndex } = cursor;
    if (firstIndex > log.lastIndex() + 1) {
      records.refuse(
        `entry ${firstIndex} of group ${records.group} follows entry ${log.lastIndex()}`,
      );
    }
    if (firstIndex <= hardState.commit) {
      records.refuse(
        `entry ${firstIndex} of group ${records.group} overwrites what commit ${hardState.commit} covers`,
      );
    }
    let more = cursor.next();
    if (firstIndex < log.firstIndex()) {
      // It overwrites what is below the first segment: everything here is behind the checkpoints. The entry itself
      // becomes the one that the log begins after, because the term of the one before it is not known any more.
      log.startAfter(firstIndex, cursor.term);
      more = cursor.next();
    } else log.truncateFrom(firstIndex);
    for (; more; more = cursor.next()) {
      if (cursor.term < log.lastTerm()) {
        records.refuse(
          `entry ${cursor.index} of group ${records.group} has term ${cursor.term} after ${log.lastTerm()}`,
        );
      }
      log.replay(cursor.index, cursor.term, cursor.type, lsn);
    }
    noteIndex(segment, records.group, firstIndex + cursor.count - 1);
  }

  #relocated(records: RecordCursor, lsn: Lsn, segment: Pick<LiveSegment, "highest">): void {
    const { log } = this.#state(records);
    const cursor = new EntryCursor(records);
    while (cursor.next()) log.relocate(cursor.index, cursor.term, lsn);
    noteIndex(segment, records.group, cursor.index);
  }

  #truncated(records: RecordCursor): void {
    const { log } = this.#state(records);
    const { index, term } = records.truncated();
    if (index > log.lastIndex()) log.startAfter(index, term);
    else log.compactTo(index);
  }

  #hardState(records: RecordCursor, next: HardState): void {
    const state = this.#state(records);
    const before = state.hardState;
    const voteChanged = next.term === before.term && before.vote !== 0 && next.vote !== before.vote;
    const goesBack = next.term < before.term || next.commit < before.commit;
    if (voteChanged || goesBack || !(next.commit <= state.log.lastIndex())) {
      records.refuse(
        `HardState ${next.term}/${next.vote}/${next.commit} of group ${records.group} follows ` +
          `${before.term}/${before.vote}/${before.commit} with a log that ends at ${state.log.lastIndex()}`,
      );
    }
    state.hardState = next;
    this.#lostHardStates.delete(records.group);
  }

  #state(records: RecordCursor): GroupState {
    return this.groups.of(records.group);
  }
}

function sameRow(a: GroupRow, b: GroupRow): boolean {
  return (
    a.term === b.term &&
    a.vote === b.vote &&
    a.commit === b.commit &&
    a.lastIndex === b.lastIndex &&
    a.lastTerm === b.lastTerm
  );
}
