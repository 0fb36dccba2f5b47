/**
 * The frames that have not left yet: appends are checked against Raft's rules, encoded into the last frame while it
 * has room, and wait there with those that share it.
 *
 * Invariants: only the last frame still fills; no frame is empty; an append is in one frame unless it exceeds 8 MiB,
 * and its `done` waits with the last frame that holds a part of it.
 */
import type { Entry, HardState } from "../raft/index.ts";
import {
  entriesRecordBytes,
  FrameBuilder,
  HARD_STATE_RECORD_BYTES,
  snapshotRecordBytes,
} from "./frame-builder.ts";
import { FRAME_BYTES_MAX } from "./frame.ts";
import type { GroupState, GroupTable } from "./group-state.ts";
import { type LiveSegment, noteIndex } from "./live-segment.ts";
import { ENTRIES_HEAD_BYTES, ENTRY_HEAD_BYTES, RECORD_HEAD_BYTES } from "./record.ts";
import type { AppendDone, AppendOptions, GroupAppend, Lsn, SnapshotRecord } from "./types.ts";

/** Builders that are kept for later frames: one on its way, one filling, one to spare. */
const KEPT_FRAMES = 3;

/** What becomes visible when the frame is durable. */
interface FramePart {
  readonly state: GroupState;
  readonly snapshot: SnapshotRecord | null;
  readonly entries: readonly Entry[];
  readonly from: number;
  readonly to: number;
  readonly hardState: HardState | null;
}

export interface FrameInProgress {
  readonly builder: FrameBuilder;
  parts: FramePart[];
  waiters: AppendDone[];
  reserve: boolean;
  /** Some append in it is done only when it is durable. */
  sync: boolean;
}

const NO_ENTRIES: readonly Entry[] = [];

export class FrameQueue {
  readonly #groups: GroupTable;
  #waiting: FrameInProgress[] = [];
  readonly #spare: FrameInProgress[] = [];

  constructor(groups: GroupTable) {
    this.#groups = groups;
  }

  /** The next frame to leave. */
  get first(): FrameInProgress | undefined {
    return this.#waiting[0];
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Some frame holds an append that may use the reserve. */
  get hasReserveUser(): boolean {
    return this.#waiting.some((frame) => frame.reserve);
  }

  /** What the waiting frames will take. */
  get bytes(): number {
    let bytes = 0;
    for (const frame of this.#waiting) bytes += frame.builder.frameBytes;
    return bytes;
  }

  /**
   * Takes an append in. Appends share a frame up to `sharedBytesMax`. False when there is nothing to write; `done`
   * then waits with the last frame here, or is the caller's if there is none.
   */
  append(
    batch: readonly GroupAppend[],
    done: AppendDone,
    options: AppendOptions,
    sharedBytesMax: number,
  ): boolean {
    let bytes = 0;
    for (const append of batch) {
      this.#groups.of(append.group).submit(append);
      bytes += payloadBytes(append);
    }
    if (bytes === 0) {
      const last = this.#waiting[this.#waiting.length - 1];
      last?.waiters.push(done);
      return last !== undefined;
    }
    let frame = this.#fillingFrame(bytes, batch.length, sharedBytesMax);
    for (const append of batch) frame = this.#add(frame, append);
    frame.waiters.push(done);
    if (options.reserve === true) frame.reserve = true;
    if (options.sync === true) frame.sync = true;
    return true;
  }

  /** A frame that only proves what stands before it. */
  addMark(): void {
    const frame = this.#newFrame();
    frame.builder.addMark();
    frame.reserve = true;
    frame.sync = true;
  }

  /** The first frame leaves. */
  take(): FrameInProgress {
    return this.#waiting.shift() as FrameInProgress;
  }

  /** Takes back a frame that is done, for a later one. */
  recycle(frame: FrameInProgress): void {
    frame.builder.reset();
    frame.parts = [];
    frame.waiters = [];
    frame.reserve = false;
    frame.sync = false;
    if (this.#spare.length < KEPT_FRAMES) this.#spare.push(frame);
  }

  /** Gives up every waiting frame. */
  abandon(): readonly FrameInProgress[] {
    const frames = this.#waiting;
    this.#waiting = [];
    return frames;
  }

  /** The frame that an append of this size goes into: the filling one, if it has room for all of it. */
  #fillingFrame(bytes: number, groups: number, sharedBytesMax: number): FrameInProgress {
    const filling = this.#waiting[this.#waiting.length - 1];
    const limit = Math.min(FRAME_BYTES_MAX, sharedBytesMax);
    if (filling !== undefined && filling.builder.frameBytesWith(bytes, groups) <= limit)
      return filling;
    return this.#newFrame();
  }

  #newFrame(): FrameInProgress {
    const frame = this.#spare.pop() ?? {
      builder: new FrameBuilder(),
      parts: [],
      waiters: [],
      reserve: false,
      sync: false,
    };
    this.#waiting.push(frame);
    return frame;
  }

  /** Adds one group's records, going on in another frame where one would become too large. */
  #add(frame: FrameInProgress, append: GroupAppend): FrameInProgress {
    const { group, entries, hardState } = append;
    const state = this.#groups.of(group);
    const snapshot = append.snapshot ?? null;
    const last = entries[entries.length - 1];
    if (snapshot !== null) {
      frame = this.#withRoom(frame, snapshotRecordBytes(snapshot));
      const { index, term } = snapshot.meta;
      const lastIndex = snapshot.installed ? index : state.submittedLast;
      frame.builder.addSnapshot(
        group,
        snapshot,
        lastIndex,
        snapshot.installed ? term : state.submittedTerm,
      );
      frame.parts.push({ state, snapshot, entries: NO_ENTRIES, from: 0, to: 0, hardState: null });
    }
    if (last !== undefined) {
      for (let from = 0; from < entries.length;) {
        frame = this.#withRoom(frame, entriesRecordBytes(entries, from, from + 1));
        const to = fittingEntries(frame.builder, entries, from);
        frame.builder.addEntries(group, entries, from, to);
        frame.parts.push({ state, snapshot: null, entries, from, to, hardState: null });
        from = to;
      }
    }
    // Behind the entries that it may commit (requirements C29).
    if (hardState !== null) {
      frame = this.#withRoom(frame, HARD_STATE_RECORD_BYTES);
      frame.builder.addHardState(group, hardState);
      frame.parts.push({ state, snapshot: null, entries: NO_ENTRIES, from: 0, to: 0, hardState });
    }
    return frame;
  }

  #withRoom(frame: FrameInProgress, bytes: number): FrameInProgress {
    if (frame.builder.isEmpty || frame.builder.frameBytesWith(bytes, 1) <= FRAME_BYTES_MAX)
      return frame;
    return this.#newFrame();
  }
}

/** Shows the groups what is now durable in the frame at `lsn`. */
export function publishFrame(frame: FrameInProgress, segment: LiveSegment, lsn: Lsn): void {
  for (const part of frame.parts) publish(part, segment, lsn);
}

function publish(part: FramePart, segment: LiveSegment, lsn: Lsn): void {
  const { state, snapshot, entries, from, to, hardState } = part;
  if (snapshot !== null) {
    if (snapshot.installed) state.log.startAfter(snapshot.meta.index, snapshot.meta.term);
    state.snapshot = snapshot;
    noteIndex(segment, state.group, snapshot.meta.index);
  }
  if (to > from) {
    state.log.publish(entries, from, to, lsn);
    noteIndex(segment, state.group, state.log.lastIndex());
  }
  if (hardState !== null) state.hardState = hardState;
}

function payloadBytes(append: GroupAppend): number {
  const { entries, hardState, snapshot } = append;
  let bytes = entries.length > 0 ? entriesRecordBytes(entries, 0, entries.length) : 0;
  if (hardState !== null) bytes += HARD_STATE_RECORD_BYTES;
  if (snapshot !== undefined) bytes += snapshotRecordBytes(snapshot);
  return bytes;
}

/** The end of the longest run of entries from `from` on that the frame takes; at least one. */
function fittingEntries(builder: FrameBuilder, entries: readonly Entry[], from: number): number {
  let bytes = RECORD_HEAD_BYTES + ENTRIES_HEAD_BYTES;
  let to = from;
  for (; to < entries.length; to++) {
    bytes += ENTRY_HEAD_BYTES + (entries[to] as Entry).data.length;
    if (to > from && builder.frameBytesWith(bytes, 1) > FRAME_BYTES_MAX) break;
  }
  return to;
}
