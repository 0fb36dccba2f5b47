/**
 * The log itself: frames are filled, written one at a time, and acknowledged in order.
 *
 * An append encodes its records into the frame that is filling. If nothing is on its way to the disk that frame
 * leaves at once; otherwise it keeps filling until the write before it has returned: group commit without a waiting
 * window. A write is one durable write of the file; when it returns the entries become visible and the appends in the
 * frame are done.
 *
 *     fill ──▶ leave ──▶ durable ──▶ visible ──▶ done
 *       ▲        │ no room: roll to the next segment, or wait until it is prepared
 */
import { assert, CorruptionError, HarmonyError, verify } from "../base/index.ts";
import {
  closeFile,
  type Env,
  FileError,
  type Io,
  listDirectory,
  makeDirectory,
  openFile,
  renameFile,
  runIo,
  syncDirectory,
  type Timer,
  unlinkFile,
  writeFile,
  writeFully,
} from "../env/index.ts";
import type { Entry, GroupId, HardState } from "../raft/index.ts";
import { ColdReader } from "./cold-reader.ts";
import { EntryCache } from "./entry-cache.ts";
import {
  entriesRecordBytes,
  FrameBuilder,
  HARD_STATE_RECORD_BYTES,
  snapshotRecordBytes,
} from "./frame-builder.ts";
import { FRAME_BYTES_MAX, placeFrame } from "./frame.ts";
import type { GroupLog } from "./group-log.ts";
import { type GroupState, GroupTable } from "./group-state.ts";
import { type LiveSegment, newSegment, noteIndex } from "./live-segment.ts";
import { isNoSpace, manifestOf, oldestNeeded, writeManifest } from "./manifest.ts";
import { type ResolvedOptions, resolveOptions } from "./options.ts";
import { ENTRIES_HEAD_BYTES, ENTRY_HEAD_BYTES, RECORD_HEAD_BYTES } from "./record.ts";
import { type OpenedLog, recoverLog } from "./recovery.ts";
import { SegmentReader } from "./segment-reader.ts";
import { SegmentSupply, stopped } from "./segment-supply.ts";
import {
  encodeFooter,
  encodeSegmentHeader,
  FOOTER_BYTES,
  parseSegmentName,
  segmentHeaderBytes,
  segmentName,
} from "./segment.ts";
import type {
  AppendDone,
  AppendOptions,
  GroupAppend,
  GroupCheckpoint,
  GroupStart,
  Lsn,
  SnapshotRecord,
  WalIdentity,
  WalOptions,
  WalRecovery,
} from "./types.ts";
import { fillZeros, initialSizeBytes, NEXT_SEGMENT } from "./zeros.ts";

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

interface FrameInProgress {
  readonly builder: FrameBuilder;
  parts: FramePart[];
  waiters: AppendDone[];
  reserve: boolean;
}

interface Release {
  readonly group: GroupId;
  readonly checkpoint: GroupCheckpoint;
  readonly done: AppendDone;
}

export interface WalStats {
  readonly framesWritten: number;
  readonly bytesWritten: number;
  readonly segments: number;
  readonly bytesOnDisk: number;
}

const NO_ENTRIES: readonly Entry[] = [];

/**
 * Invariants:
 *
 * - At most one frame is on its way. Frames leave in the order in which they were begun.
 * - `durableLsn` is the end of the last frame whose write returned without an error; it never goes back.
 * - A group's log shows exactly what is durable. `done` of an append is called after its entries are visible, and in
 *   the order of the appends.
 * - After a failed write or sync nothing is written any more, and nothing is acknowledged (fault-rules D9).
 * - A segment is removed only after a manifest that does not name it is durable, and then only if no group needs an
 *   entry in it and a later segment's header carries every HardState (D25, D26).
 */
export class Wal {
  /** Called when `space` changes. */
  onSpace: ((space: "ok" | "full") => void) | null = null;
  /** Called once, when the log has failed. */
  onFailed: ((error: HarmonyError) => void) | null = null;
  readonly identity: WalIdentity;
  readonly #env: Env;
  readonly #options: ResolvedOptions;
  readonly #segments: LiveSegment[];
  readonly #groups: GroupTable;
  readonly #supply: SegmentSupply;
  /** The segment that frames go to, the place of the next one, and the link that it continues. */
  #segment: LiveSegment;
  #offset: number;
  #chain: number;
  #durableLsn: Lsn;
  #onItsWay: FrameInProgress | null = null;
  #onItsWayBytes = 0;
  #nextChain = 0;
  /** The write of a frame has not returned, also when the log has failed meanwhile. */
  #writing = false;
  #rolling = false;
  /** Frames that have not left; the last one still fills. */
  #waiting: FrameInProgress[] = [];
  #spare: FrameInProgress[] = [];
  #releases: Release[] = [];
  #releasing = false;
  #manifestWanted = false;
  #manifestGeneration: number;
  /** Something durable is not yet proven by a later frame or header. */
  #unproven = false;
  #lastFrameMs = 0;
  #markTimer: Timer | null = null;
  #closing = false;
  #failed: HarmonyError | null = null;
  #settling: { readonly condition: () => boolean; readonly done: () => void }[] = [];
  #framesWritten = 0;
  #bytesWritten = 0;
  readonly #written: (error: FileError | null) => void = (error) => this.#frameWritten(error);

  private constructor(env: Env, options: ResolvedOptions, log: Omit<OpenedLog, "recovery">) {
    const { tail } = log;
    this.#env = env;
    this.#options = options;
    this.identity = log.identity;
    this.#segments = log.segments;
    this.#groups = log.groups;
    this.#segment = tail.segment;
    this.#offset = tail.offset;
    this.#chain = tail.chain;
    this.#durableLsn = tail.segment.endLsn;
    this.#manifestGeneration = log.manifestGeneration;
    this.#supply = new SegmentSupply(
      env,
      options,
      {
        supplied: () => {
          this.#pump();
          this.#checkSettled();
        },
        spaceChanged: (space) => this.onSpace?.(space),
        supplyFailed: (error) => this.#fail(error),
        busy: () => this.#onItsWay !== null || this.#waiting.length > 0,
      },
      tail.segment.file,
      tail.preparedBytes,
      tail.offset,
    );
  }

  /**
   * Makes the log of a new data directory, which exists. What a creation that a crash cut short has left is removed;
   * a log that holds a frame is refused (CORRUPT).
   */
  static *create(env: Env, walOptions: WalOptions, identity: WalIdentity): Io<Wal> {
    const options = resolveOptions(walOptions);
    const { directory } = options;
    const { files } = env;
    for (const name of ["wal", "tmp"]) {
      try {
        yield* makeDirectory(files, `${directory}/${name}`);
      } catch (error) {
        if (!(error instanceof FileError) || error.code !== "EEXIST") throw error;
      }
    }
    yield* syncDirectory(files, directory);
    for (const name of yield* listDirectory(files, `${directory}/wal`))
      yield* removeEmpty(env, `${directory}/wal`, name);
    for (const name of yield* listDirectory(files, `${directory}/tmp`)) {
      if (name === NEXT_SEGMENT) yield* unlinkFile(files, `${directory}/tmp/${name}`);
    }

    const headerBytes = segmentHeaderBytes(0);
    const header = encodeSegmentHeader({
      identity,
      sequence: 1,
      firstLsn: 0,
      provenLsn: headerBytes,
      previousCrc: 0,
      damagedFromLsn: 0,
      damagedToLsn: 0,
      groups: [],
    });
    const temporary = `${directory}/tmp/${NEXT_SEGMENT}`;
    const path = `${directory}/wal/${segmentName(1, 0)}`;
    const file = yield* openFile(files, temporary, {
      access: "readwrite",
      create: "exclusive",
      durableWrites: true,
    });
    yield* writeFile(file, 0, header);
    yield* fillZeros(file, headerBytes, initialSizeBytes(options));
    yield* renameFile(files, temporary, path);
    yield* syncDirectory(files, `${directory}/wal`);
    yield* syncDirectory(files, `${directory}/tmp`);
    const segment = newSegment(1, 0, path, file, header);
    segment.sizeBytes = initialSizeBytes(options);

    const segments = [segment];
    const cold = new ColdReader(segments);
    const groups = new GroupTable(new EntryCache(options.cacheBytes), cold.read.bind(cold));
    const manifest = manifestOf(identity, 1, segment.endLsn, segments, groups);
    yield* writeManifest(files, directory, manifest);
    const tail = {
      segment,
      offset: headerBytes,
      preparedBytes: segment.sizeBytes,
      chain: segment.seed,
    };
    return new Wal(env, options, { identity, segments, groups, tail, manifestGeneration: 1 });
  }

  /**
   * Opens the log of a directory: scans it, proves it, cuts a torn tail or refuses damage, writes the unproven tail
   * again. `groups` says what the checkpoints of the data files hold. Throws CorruptionError (WalCorruptionError where
   * records are lost), WRONG_CLUSTER, NEWER_FORMAT, FileError; the directory is as it was.
   */
  static *open(
    env: Env,
    walOptions: WalOptions,
    expected: Partial<Pick<WalIdentity, "clusterId" | "memberId">>,
    groups: readonly GroupStart[],
  ): Io<{ wal: Wal; recovery: WalRecovery }> {
    const options = resolveOptions(walOptions);
    const opened = yield* recoverLog(env, options, expected, groups);
    return { wal: new Wal(env, options, opened), recovery: opened.recovery };
  }

  /**
   * Makes what one turn's Readys ask for durable, whole or not at all unless it exceeds 8 MiB, and calls `done` after
   * it is. Appends that come while a write is under way share the next one. The entries must not change any more.
   */
  append(batch: readonly GroupAppend[], done: AppendDone, options: AppendOptions = {}): void {
    const refusal = this.#failed ?? (this.#closing ? new HarmonyError("CLOSED") : null);
    if (refusal !== null) {
      this.#env.timers.soon(() => done(refusal));
      return;
    }
    let bytes = 0;
    for (const append of batch) {
      this.#groups.of(append.group).submit(append);
      bytes += payloadBytes(append);
    }
    let frame = this.#fillingFrame(bytes, batch.length);
    for (const append of batch) frame = this.#add(frame, append);
    if (frame.builder.isEmpty) {
      // Nothing to write: done once everything before it is.
      const before = this.#waiting[this.#waiting.length - 2] ?? this.#onItsWay;
      this.#waiting.pop();
      if (before === null) this.#env.timers.soon(() => done(null));
      else before.waiters.push(done);
      return;
    }
    frame.waiters.push(done);
    if (options.reserve === true) frame.reserve = true;
    this.#pump();
  }

  /** Everything below is durable. */
  get durableLsn(): Lsn {
    return this.#durableLsn;
  }

  /** Where the log will end once everything that was handed in is durable, as far as sizes are known. */
  get endLsn(): Lsn {
    let bytes = this.#onItsWayBytes;
    for (const frame of this.#waiting) bytes += frame.builder.frameBytes;
    return this.#durableLsn + bytes;
  }

  /** The log of a group as Raft reads it. Empty for a group that the log does not know. */
  groupLog(group: GroupId): GroupLog {
    return this.#groups.of(group).log;
  }

  /** What a group's replica starts from: commit covers the checkpoint and the snapshot too (fault-rules D20). */
  hardState(group: GroupId): HardState {
    const { hardState, checkpoint, snapshot, log } = this.#groups.of(group);
    const covered = Math.max(hardState.commit, checkpoint.appliedIndex, snapshot?.meta.index ?? 0);
    const commit = Math.min(covered, log.lastIndex());
    return commit === hardState.commit ? hardState : { ...hardState, commit };
  }

  /** The snapshot that the log names last. */
  snapshot(group: GroupId): SnapshotRecord | null {
    return this.#groups.of(group).snapshot;
  }

  /** Every group of which the log says anything, in order. */
  groups(): readonly GroupId[] {
    return this.#groups.rows().map((row) => row.group);
  }

  /** "full": the next segment cannot be made. Only appends marked `reserve` should be handed in. Ends by itself. */
  get space(): "ok" | "full" {
    return this.#supply.space;
  }

  /** Tries at once to make the next segment, instead of at the next retry. */
  retrySpace(): void {
    this.#supply.retry();
  }

  get failed(): HarmonyError | null {
    return this.#failed;
  }

  get stats(): WalStats {
    let bytesOnDisk = this.#supply.nextBytes;
    for (const segment of this.#segments) {
      bytesOnDisk += segment === this.#segment ? this.#supply.activeBytes : segment.sizeBytes;
    }
    return {
      framesWritten: this.#framesWritten,
      bytesWritten: this.#bytesWritten,
      segments: this.#segments.length,
      bytesOnDisk,
    };
  }

  /** Where a group's first entry after its older checkpoint stands: segment sequence and offset; null when there is none. */
  groupMinCheckpoint(group: GroupId): { readonly segment: number; readonly offset: number } | null {
    return oldestNeeded(this.#groups.of(group), this.#segments);
  }

  /** The oldest place that any group needs; null when none needs any. */
  minWalCheckpoint(): { readonly segment: number; readonly offset: number } | null {
    let oldest: { readonly segment: number; readonly offset: number } | null = null;
    for (const state of this.#groups.all()) {
      const place = oldestNeeded(state, this.#segments);
      if (place === null) continue;
      const before =
        oldest === null ||
        place.segment < oldest.segment ||
        (place.segment === oldest.segment && place.offset < oldest.offset);
      if (before) oldest = place;
    }
    return oldest;
  }

  /**
   * Says that a checkpoint of a group is durable. The manifest follows, then segments that no group needs are
   * removed. An error of code DISK_FULL or IO costs nothing: the next release makes up for it. STOPPED: the log has
   * failed.
   */
  release(group: GroupId, checkpoint: GroupCheckpoint, done: AppendDone): void {
    const refusal = this.#failed ?? (this.#closing ? new HarmonyError("CLOSED") : null);
    if (refusal !== null) {
      this.#env.timers.soon(() => done(refusal));
      return;
    }
    const state = this.#groups.of(group);
    const { appliedIndex, olderAppliedIndex } = checkpoint;
    assert(olderAppliedIndex <= appliedIndex, "the older checkpoint is not ahead of the newest");
    assert(
      appliedIndex <= state.log.lastIndex(),
      "a checkpoint never passes what is durable in the log",
    );
    assert(olderAppliedIndex >= state.checkpoint.olderAppliedIndex, "checkpoints never go back");
    this.#releases.push({ group, checkpoint, done });
    this.#runReleases();
  }

  /** Waits for what was handed in, proves it with a Mark, and closes the files. Never throws for a log that has failed. */
  *close(): Io<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#markTimer?.cancel();
    this.#markTimer = null;
    yield* this.#drain();
    if (this.#failed === null && this.#unproven) {
      this.#addMark();
      yield* this.#drain();
    }
    this.#supply.stop();
    yield* this.#until(() => this.#supply.idle);
    yield* this.#supply.close();
    for (const segment of this.#segments) yield* closeFile(segment.file);
  }

  invariants(): void {
    assert(
      this.#durableLsn === this.#segment.firstLsn + this.#offset,
      "the next frame goes where the log ends",
    );
    assert(
      this.#segment === this.#segments[this.#segments.length - 1],
      "frames go to the last segment",
    );
    assert(
      this.#offset + FOOTER_BYTES <= this.#supply.activeBytes,
      "there is always room for the footer",
    );
    for (let i = 1; i < this.#segments.length; i++) {
      const before = this.#segments[i - 1] as LiveSegment;
      const segment = this.#segments[i] as LiveSegment;
      assert(before.sequence + 1 === segment.sequence, "sequences have no gap");
      assert(before.endLsn === segment.firstLsn, "LSNs have no gap");
    }
    for (const state of this.#groups.all()) state.log.invariants();
  }

  /** The frame that an append of this size goes into: the filling one, if it has room for all of it. */
  #fillingFrame(bytes: number, groups: number): FrameInProgress {
    const filling = this.#waiting[this.#waiting.length - 1];
    const { segmentSizeBytes, reserveBytes } = this.#options;
    const ordinary = segmentSizeBytes - this.#segment.headerBytes - FOOTER_BYTES - reserveBytes;
    const limit = Math.min(FRAME_BYTES_MAX, ordinary);
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

  /** Sends the next frame if nothing is on its way and there is room for it. */
  #pump(): void {
    const frame = this.#waiting[0];
    if (frame === undefined || this.#onItsWay !== null || this.#rolling || this.#failed !== null)
      return;
    const supply = this.#supply;
    const bytes = frame.builder.frameBytes;
    const end = this.#offset + bytes + FOOTER_BYTES;
    // The reserve is for its users, and for what stands before them in the log.
    const mayUseReserve = supply.nextReady || this.#waiting.some((waiting) => waiting.reserve);
    const reserve = mayUseReserve ? 0 : this.#options.reserveBytes;
    if (end + reserve <= supply.activeBytes) {
      this.#send(frame);
      return;
    }
    if (end + reserve <= supply.activeTargetBytes) {
      supply.demandActive(end + reserve);
      return;
    }
    // Room for the header of every group, also of those whose first records still wait.
    const headerBytes = segmentHeaderBytes(this.#groups.all().length);
    const needed = headerBytes + bytes + FOOTER_BYTES + this.#options.reserveBytes;
    if (supply.nextBytes >= needed) this.#roll();
    else supply.demandNext(needed);
  }

  #send(frame: FrameInProgress): void {
    this.#waiting.shift();
    const bytes = frame.builder.finish();
    this.#nextChain = placeFrame(bytes, 0, {
      lsn: this.#durableLsn,
      durableLsn: this.#durableLsn,
      previousCrc: this.#chain,
      seed: this.#segment.seed,
    });
    this.#onItsWay = frame;
    this.#onItsWayBytes = bytes.length;
    this.#writing = true;
    writeFully(this.#segment.file, this.#offset, bytes, this.#written);
  }

  #frameWritten(error: FileError | null): void {
    this.#writing = false;
    if (this.#failed !== null) {
      this.#checkSettled();
      return;
    }
    if (error !== null) {
      this.#fail(error);
      return;
    }
    const frame = this.#onItsWay as FrameInProgress;
    const lsn = this.#durableLsn;
    this.#onItsWay = null;
    this.#offset += this.#onItsWayBytes;
    this.#durableLsn += this.#onItsWayBytes;
    this.#segment.endLsn = this.#durableLsn;
    this.#chain = this.#nextChain;
    this.#framesWritten++;
    this.#bytesWritten += this.#onItsWayBytes;
    this.#onItsWayBytes = 0;
    this.#unproven = frame.parts.length > 0;
    this.#lastFrameMs = this.#env.clock.monotonicMs();
    for (const part of frame.parts) publish(part, this.#segment, lsn);
    const { waiters } = frame;
    frame.builder.reset();
    frame.parts = [];
    frame.waiters = [];
    frame.reserve = false;
    if (this.#spare.length < KEPT_FRAMES) this.#spare.push(frame);
    verify(() => this.invariants());
    // The disk goes on while the callers hear of it.
    this.#pump();
    this.#supply.filled(this.#offset);
    for (const done of waiters) done(null);
    this.#armMark();
    this.#checkSettled();
  }

  /**
   * Goes on in the next segment. The order makes everything below the new header proven: the last frame is durable
   * (nothing is on its way), then the footer, then the header, then the name.
   */
  #roll(): void {
    this.#rolling = true;
    runIo(this.#whileSound(this.#rollSteps()), (error) => {
      this.#rolling = false;
      if (error !== null) {
        this.#fail(error);
        return;
      }
      verify(() => this.invariants());
      this.#pump();
      // Off the write path: from now on the loss of this segment's file is seen (fault-rules D6).
      this.#manifestWanted = true;
      this.#runReleases();
      this.#checkSettled();
    });
  }

  *#rollSteps(): Io<void> {
    const { files } = this.#env;
    const { directory } = this.#options;
    const old = this.#segment;
    const firstLsn = this.#durableLsn;
    const groups = this.#groups.rows();
    const headerBytes = segmentHeaderBytes(groups.length);
    old.sizeBytes = this.#supply.activeBytes;
    const file = this.#supply.takeNext(headerBytes);
    const footer = {
      sequence: old.sequence,
      firstLsn: old.firstLsn,
      endLsn: firstLsn,
      chainCrc: this.#chain,
    };
    yield* writeFile(old.file, this.#offset, encodeFooter(footer));
    const sequence = old.sequence + 1;
    const header = encodeSegmentHeader({
      identity: this.identity,
      sequence,
      firstLsn,
      provenLsn: firstLsn + headerBytes,
      previousCrc: this.#chain,
      damagedFromLsn: 0,
      damagedToLsn: 0,
      groups,
    });
    yield* writeFile(file, 0, header);
    const path = `${directory}/wal/${segmentName(sequence, firstLsn)}`;
    yield* renameFile(files, `${directory}/tmp/${NEXT_SEGMENT}`, path);
    yield* syncDirectory(files, `${directory}/wal`);
    yield* syncDirectory(files, `${directory}/tmp`);
    const segment = newSegment(sequence, firstLsn, path, file, header);
    this.#segments.push(segment);
    this.#segment = segment;
    this.#offset = header.length;
    this.#chain = segment.seed;
    this.#durableLsn = segment.endLsn;
    this.#unproven = false;
    this.#supply.named();
  }

  #addMark(): void {
    const frame = this.#newFrame();
    frame.builder.addMark();
    frame.reserve = true;
    this.#pump();
  }

  #armMark(): void {
    if (this.#markTimer !== null || !this.#unproven || this.#closing || this.#failed !== null)
      return;
    const idleMs = this.#env.clock.monotonicMs() - this.#lastFrameMs;
    const waitMs = Math.max(this.#options.markAfterMs - idleMs, 1);
    this.#markTimer = this.#env.timers.after(waitMs, () => {
      this.#markTimer = null;
      if (this.#closing || this.#failed !== null) return;
      // A frame that is under way arms the timer again when it is done.
      if (this.#onItsWay !== null || this.#waiting.length > 0 || this.#rolling) return;
      if (this.#env.clock.monotonicMs() - this.#lastFrameMs < this.#options.markAfterMs)
        this.#armMark();
      else if (this.#unproven) this.#addMark();
    });
  }

  #runReleases(): void {
    if (this.#releasing || this.#failed !== null) return;
    if (this.#releases.length === 0 && !this.#manifestWanted) return;
    this.#releasing = true;
    this.#manifestWanted = false;
    const releases = this.#releases;
    this.#releases = [];
    for (const { group, checkpoint } of releases) this.#groups.of(group).checkpoint = checkpoint;
    runIo(this.#whileSound(this.#releaseSteps()), (error) => {
      this.#releasing = false;
      if (error !== null && !isNoSpace(error)) {
        this.#fail(error);
        for (const { done } of releases) done(this.#failed);
        this.#checkSettled();
        return;
      }
      const full = error instanceof FileError && error.isFull;
      const result =
        error === null
          ? null
          : new HarmonyError(full ? "DISK_FULL" : "IO", (error as FileError).message, {
              cause: error,
            });
      if (result === null) this.#supply.retry();
      for (const { done } of releases) done(result);
      this.#runReleases();
      this.#checkSettled();
    });
  }

  /** Manifest first, durable; then the segments that it names no more. */
  *#releaseSteps(): Io<void> {
    const supply = this.#supply;
    const full = supply.space === "full";
    if (full) {
      // The attempt to make the next segment must not take the room that the manifest needs.
      supply.hold();
      yield* this.#until(() => supply.idle);
      yield* supply.giveBackNext();
    }
    try {
      yield* this.#removeFree();
    } finally {
      if (full) supply.go();
    }
  }

  *#removeFree(): Io<void> {
    const { files } = this.#env;
    const { directory } = this.#options;
    const removable = this.#removable();
    const kept = this.#segments.slice(removable);
    this.#manifestGeneration++;
    const manifest = manifestOf(
      this.identity,
      this.#manifestGeneration,
      this.#durableLsn,
      kept,
      this.#groups,
    );
    yield* writeManifest(files, directory, manifest);
    if (removable === 0) return;
    const removed = this.#segments.splice(0, removable);
    const beginLsn = (this.#segments[0] as LiveSegment).firstLsn;
    for (const { log } of this.#groups.all()) log.forgetBelow(beginLsn);
    for (const segment of removed) {
      yield* unlinkFile(files, segment.path);
      yield* closeFile(segment.file);
    }
    yield* syncDirectory(files, `${directory}/wal`);
  }

  /** Drives `io` until the log fails: then nothing but what it does to close its files follows. */
  *#whileSound(io: Io<void>): Io<void> {
    let step = io.next();
    let ended = false;
    while (step.done !== true) {
      try {
        const value = yield step.value;
        if (this.#failed === null || ended) step = io.next(value);
        else {
          ended = true;
          step = io.return(undefined);
        }
      } catch (error) {
        step = io.throw(error);
      }
    }
    if (ended) throw this.#failed as HarmonyError;
  }

  /** How many segments from the front are needed by no group. The present one always stays. */
  #removable(): number {
    let count = 0;
    while (count < this.#segments.length - 1 && this.#isFree(this.#segments[count] as LiveSegment))
      count++;
    return count;
  }

  #isFree(segment: LiveSegment): boolean {
    for (const [group, highest] of segment.highest) {
      if (highest > this.#groups.of(group).checkpoint.olderAppliedIndex) return false;
    }
    return true;
  }

  /** A write or sync has failed: what it may or may not have left is unknown, so nothing follows it. */
  #fail(cause: unknown): void {
    if (this.#failed !== null) return;
    if (!(cause instanceof FileError)) throw cause as Error;
    const failed = stopped(cause);
    this.#failed = failed;
    this.#supply.stop();
    this.#markTimer?.cancel();
    this.#markTimer = null;
    this.#env.log("error", "wal", "a write to the log failed; the node stops", {
      error: cause.message,
    });
    const frames = this.#onItsWay === null ? this.#waiting : [this.#onItsWay, ...this.#waiting];
    const releases = this.#releases;
    this.#onItsWay = null;
    this.#onItsWayBytes = 0;
    this.#waiting = [];
    this.#releases = [];
    for (const frame of frames) for (const done of frame.waiters) done(failed);
    for (const { done } of releases) done(failed);
    this.onFailed?.(failed);
    this.#checkSettled();
  }

  /** Closing on a full disk: what never left is not applied. */
  #abandonWaiting(): void {
    const frames = this.#waiting;
    this.#waiting = [];
    const error = new HarmonyError("DISK_FULL", "the log was closed before it had room");
    for (const frame of frames) for (const done of frame.waiters) done(error);
  }

  /** Waits until nothing is under way; on a full disk, what has no room to leave is refused instead. */
  *#drain(): Io<void> {
    yield* this.#until(() => this.#drained || this.#stuck);
    if (!this.#drained) this.#abandonWaiting();
  }

  get #stuck(): boolean {
    return this.#supply.space === "full" && !this.#writing && !this.#rolling && !this.#releasing;
  }

  get #drained(): boolean {
    return !this.#writing && this.#waiting.length === 0 && !this.#rolling && !this.#releasing;
  }

  *#until(condition: () => boolean): Io<void> {
    if (condition()) return;
    yield (done) => this.#settling.push({ condition, done: () => done(null, undefined) });
  }

  #checkSettled(): void {
    if (this.#settling.length === 0) return;
    const ready = this.#settling.filter(({ condition }) => condition());
    this.#settling = this.#settling.filter((waiter) => !ready.includes(waiter));
    for (const { done } of ready) done();
  }
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

/** Removes a first segment without a frame, as a creation that was cut short leaves it. Anything else is refused. */
function* removeEmpty(env: Env, directory: string, name: string): Io<void> {
  const path = `${directory}/${name}`;
  if (parseSegmentName(name)?.sequence === 1) {
    const reader = yield* SegmentReader.open(env.files, path);
    const check = yield* reader.check(reader.header.sizeBytes, reader.header.crc);
    yield* closeFile(reader.file);
    if (!check.valid) {
      yield* unlinkFile(env.files, path);
      return;
    }
  }
  throw new CorruptionError({ file: path, offset: 0, what: "a log is here already" });
}
