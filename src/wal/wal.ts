/**
 * The log itself: frames are filled, written one at a time, and acknowledged in order.
 *
 * An append encodes its records into the frame that is filling. If nothing is on its way to the disk that frame
 * leaves at once; otherwise it keeps filling until the write before it has returned: group commit without a waiting
 * window. A write is one durable write of the file; when it returns the entries become visible and the appends in the
 * frame are done. In the interval mode the write ends in the page cache and a sync follows later (`sync-point.ts`);
 * votes, terms and marks wait for it all the same.
 *
 *     fill ──▶ leave ──▶ durable ──▶ visible ──▶ done
 *       ▲        │ no room: roll to the next segment, or wait until it is prepared
 */
import { assert, HarmonyError, verify } from "../base/index.ts";
import {
  closeFile,
  type Env,
  type File,
  FileError,
  type Io,
  renameFile,
  runIo,
  syncDirectory,
  syncFile,
  type Timer,
  writeFile,
  writeFully,
} from "../env/index.ts";
import type { GroupId, HardState, LogIndex } from "../raft/index.ts";
import { createLog } from "./create.ts";
import { type FrameInProgress, FrameQueue, publishFrame } from "./frame-queue.ts";
import { placeFrame } from "./frame.ts";
import type { GroupLog } from "./group-log.ts";
import type { GroupTable } from "./group-state.ts";
import { type LiveSegment, newSegment } from "./live-segment.ts";
import { oldestNeeded } from "./manifest.ts";
import { type ResolvedOptions, resolveOptions } from "./options.ts";
import { type OpenedLog, recoverLog } from "./recovery.ts";
import { Releases } from "./release.ts";
import { SegmentSupply, stopped } from "./segment-supply.ts";
import {
  encodeFooter,
  encodeSegmentHeader,
  FOOTER_BYTES,
  segmentHeaderBytes,
  segmentName,
} from "./segment.ts";
import {
  addRecords,
  type GroupLogStats,
  groupStats,
  noRecords,
  type RecordCounter,
  type WalStats,
} from "./stats.ts";
import { SyncPoint } from "./sync-point.ts";
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
import { NEXT_SEGMENT } from "./zeros.ts";

/**
 * Invariants:
 *
 * - At most one frame is on its way. Frames leave in the order in which they were begun.
 * - `durableLsn` is the end of the last frame that is on the disk for certain; it never goes back. Frames, headers and
 *   manifests say this and never what is only written.
 * - A group's log shows exactly what is acknowledged: what is durable, in the interval mode what is written. `done` of
 *   an append is called after its entries are visible, and in the order of the appends.
 * - After a failed write or sync nothing is written any more, and nothing is acknowledged (fault-rules D9).
 * - The log rolls only when everything acknowledged is durable, and a manifest is written only then (`release.ts`).
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
  readonly #point: SyncPoint;
  #onItsWay: FrameInProgress | null = null;
  #onItsWayBytes = 0;
  #nextChain = 0;
  /** What the frame on its way says of `durableLsn`. */
  #frameProves: Lsn = 0;
  /** The frame on its way is written and has to be synced before it is done. */
  #frameAwaitsSync = false;
  /** Who waits until everything acknowledged is durable. No further frame leaves before. */
  #barriers: AppendDone[] = [];
  /** The write of a frame has not returned, also when the log has failed meanwhile. */
  #writing = false;
  #rolling = false;
  readonly #queue: FrameQueue;
  readonly #releases: Releases;
  /** Something durable is not yet proven by a later frame or header. */
  #unproven = false;
  #lastFrameMs = 0;
  #markTimer: Timer | null = null;
  #closing = false;
  #failed: HarmonyError | null = null;
  #settling: { readonly condition: () => boolean; readonly done: () => void }[] = [];
  #framesWritten = 0;
  #entriesWritten = 0;
  #bytesWritten = 0;
  readonly #recordBytes: RecordCounter = noRecords();
  readonly #written: (error: FileError | null) => void = (error) => this.#frameWritten(error);

  private constructor(env: Env, options: ResolvedOptions, log: Omit<OpenedLog, "recovery">) {
    const { tail } = log;
    this.#env = env;
    this.#options = options;
    this.identity = log.identity;
    this.#segments = log.segments;
    this.#groups = log.groups;
    this.#queue = new FrameQueue(log.groups);
    this.#segment = tail.segment;
    this.#offset = tail.offset;
    this.#chain = tail.chain;
    this.#point = new SyncPoint(env, options.fsyncIntervalMs, tail.segment.endLsn, {
      file: () => this.#segment.file,
      synced: () => this.#synced(),
      syncFailed: (error) => this.#fail(error),
      syncEnded: () => this.#checkSettled(),
    });
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
        busy: () => this.#onItsWay !== null || !this.#queue.isEmpty,
      },
      tail.segment.file,
      tail.preparedBytes,
      tail.offset,
      tail.full,
    );
    this.#releases = new Releases(
      {
        files: env.files,
        directory: options.directory,
        identity: log.identity,
        segments: log.segments,
        groups: log.groups,
        supply: this.#supply,
        durableLsn: () => this.durableLsn,
        failed: () => this.#failed,
        sync: () => this.sync(),
        until: (condition) => this.#until(condition),
        whileSound: (io) => this.#whileSound(io),
        fail: (error) => this.#fail(error),
        ended: () => this.#checkSettled(),
      },
      log.manifestGeneration,
      log.manifestLsn,
    );
  }

  /**
   * Makes the log of a new data directory, which exists. What a creation that a crash cut short has left is removed;
   * a log that holds a frame is refused (CORRUPT).
   */
  static *create(env: Env, walOptions: WalOptions, identity: WalIdentity): Io<Wal> {
    const options = resolveOptions(walOptions);
    return new Wal(env, options, yield* createLog(env, options, identity));
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
    const { segmentSizeBytes, reserveBytes } = this.#options;
    const ordinary = segmentSizeBytes - this.#segment.headerBytes - FOOTER_BYTES - reserveBytes;
    if (this.#queue.append(batch, done, options, ordinary)) this.#pump();
    // Nothing to write: done once everything before it is.
    else if (this.#onItsWay !== null) this.#onItsWay.waiters.push(done);
    else this.#env.timers.soon(() => done(null));
  }

  /** Everything below is durable: synced, whatever the mode. */
  get durableLsn(): Lsn {
    return this.#point.durableLsn;
  }

  /** Everything acknowledged is durable. In the interval mode not always so: see `sync`. */
  get isSynced(): boolean {
    return this.#point.isSynced;
  }

  /**
   * Waits until everything that was acknowledged is durable, and returns in the very moment: nothing has been
   * acknowledged since. Nothing to wait for without an interval. Throws STOPPED when the log fails.
   */
  *sync(): Io<void> {
    if (this.#failed !== null) throw this.#failed;
    if (this.#point.isSynced) return;
    yield (done) => {
      // What the log fails with travels through an Io as it is.
      this.#barriers.push((error) => done(error as unknown as FileError | null, undefined));
      this.#pump();
    };
  }

  /** Where the log will end once everything that was handed in is durable, as far as sizes are known. */
  get endLsn(): Lsn {
    return this.#point.writtenLsn + this.#onItsWayBytes + this.#queue.bytes;
  }

  /** The log of a group as Raft reads it. Empty for a group that the log does not know. */
  groupLog(group: GroupId): GroupLog {
    return this.#groups.of(group).log;
  }

  /** Entries up to `index` will hardly be asked for again: they leave the memory, and are read back if they are. */
  dropCached(group: GroupId, index: LogIndex): void {
    this.#groups.of(group).log.evictThrough(index);
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
      entriesWritten: this.#entriesWritten,
      bytesWritten: this.#bytesWritten,
      recordBytes: { ...this.#recordBytes },
      bytesWaiting: this.#onItsWayBytes + this.#queue.bytes,
      segments: this.#segments.length,
      bytesOnDisk,
    };
  }

  /** Of each group, in order: what it has in the log and from where on it needs it. */
  get groupStats(): readonly GroupLogStats[] {
    return this.#groups
      .all()
      .map((state) => groupStats(state, this.#segments, this.#point.writtenLsn));
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
   * removed, but for the last `keepBytes` of the log. An error of code DISK_FULL or IO costs nothing: the next release
   * makes up for it. STOPPED: the log has failed.
   */
  release(
    group: GroupId,
    checkpoint: GroupCheckpoint,
    done: AppendDone,
    keepBytes: number = 0,
  ): void {
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
    assert(
      this.#point.isSynced ||
        appliedIndex < state.log.firstIndex() ||
        state.log.lsnOf(appliedIndex) < this.#point.durableLsn,
      "the log is synced through the entry that a checkpoint names",
    );
    assert(olderAppliedIndex >= state.checkpoint.olderAppliedIndex, "checkpoints never go back");
    this.#releases.add({ group, checkpoint, keepBytes, done });
  }

  /**
   * Waits for what was handed in, proves it with a Mark and, outside of the segment, with a manifest, and closes the
   * files. Never throws for a log that has failed.
   */
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
    this.#proveOutside();
    yield* this.#drain();
    this.#supply.stop();
    this.#point.hold();
    yield* this.#until(() => this.#supply.idle);
    yield* this.#supply.close();
    for (const segment of this.#segments) yield* closeFile(segment.file);
  }

  invariants(): void {
    assert(
      this.#point.writtenLsn === this.#segment.firstLsn + this.#offset,
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
    this.#point.invariants();
    assert(
      this.#releases.manifestLsn <= this.durableLsn,
      "the manifest asks for no more than is durable",
    );
    for (const state of this.#groups.all()) state.log.invariants();
  }

  /** Sends the next frame if nothing is on its way and there is room for it. */
  #pump(): void {
    if (this.#barriers.length > 0) this.#serveBarriers();
    const frame = this.#queue.first;
    if (frame === undefined || this.#onItsWay !== null || this.#rolling || this.#failed !== null)
      return;
    // The sync under way will end with everything acknowledged durable, if nothing more is until then.
    if (this.#barriers.length > 0 && this.#point.isCovered) return;
    const supply = this.#supply;
    const bytes = frame.builder.frameBytes;
    const end = this.#offset + bytes + FOOTER_BYTES;
    // The reserve is for its users, and for what stands before them in the log.
    const mayUseReserve = supply.nextReady || this.#queue.hasReserveUser;
    const reserve = mayUseReserve ? 0 : this.#options.reserveBytes;
    if (end + reserve <= supply.activeBytes) {
      this.#send();
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

  #send(): void {
    const frame = this.#queue.take();
    const bytes = frame.builder.finish();
    this.#frameProves = this.durableLsn;
    this.#nextChain = placeFrame(bytes, 0, {
      lsn: this.#point.writtenLsn,
      durableLsn: this.#frameProves,
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
    this.#offset += this.#onItsWayBytes;
    this.#point.wrote(this.#onItsWayBytes);
    this.#chain = this.#nextChain;
    this.#framesWritten++;
    this.#entriesWritten += frame.builder.entries;
    this.#bytesWritten += this.#onItsWayBytes;
    addRecords(this.#recordBytes, frame.builder.recordBytes);
    if (frame.sync && !this.#point.isSynced) {
      this.#frameAwaitsSync = true;
      this.#point.sync();
    } else this.#frameDone(frame);
  }

  /** A sync has returned. */
  #synced(): void {
    if (this.#frameAwaitsSync) {
      // Nothing was written behind the frame, so the next sync, if not this one, has covered it.
      if (!this.#point.isSynced) this.#point.sync();
      else {
        this.#frameAwaitsSync = false;
        this.#frameDone(this.#onItsWay as FrameInProgress);
        return;
      }
    }
    this.#pump();
  }

  /** Tells those who wait for a sync, or begins one when nothing is on its way. */
  #serveBarriers(): void {
    if (this.#point.isSynced) {
      const barriers = this.#barriers;
      this.#barriers = [];
      for (const done of barriers) done(null);
    } else if (this.#onItsWay === null && !this.#rolling && this.#failed === null) {
      this.#point.sync();
    }
  }

  #frameDone(frame: FrameInProgress): void {
    const lsn = this.#point.writtenLsn - this.#onItsWayBytes;
    this.#onItsWay = null;
    this.#onItsWayBytes = 0;
    this.#segment.endLsn = this.#point.writtenLsn;
    // A Mark proves what stands before it, unless that was not durable when it left.
    this.#unproven = frame.parts.length > 0 || this.#frameProves < lsn;
    this.#lastFrameMs = this.#env.clock.monotonicMs();
    publishFrame(frame, this.#segment, lsn);
    const { waiters } = frame;
    this.#queue.recycle(frame);
    verify(() => this.invariants());
    // The disk goes on while the callers hear of it.
    this.#pump();
    this.#supply.filled(this.#offset);
    for (const done of waiters) done(null);
    this.#point.arm();
    this.#armMark();
    // Behind a Mark nothing happens for a while. Closing sees to it by itself.
    if (!this.#unproven && !this.#closing) this.#proveOutside();
    this.#checkSettled();
  }

  /**
   * A Mark stands in the segment that it speaks of: whatever cuts or wipes the end of that file takes the Mark along.
   * So how far the log reaches is also said elsewhere, where the end of the log is known and nobody waits for it: at
   * most once for each time that the log falls idle. On a full disk the old manifest stays, which is right but says less.
   */
  #proveOutside(): void {
    if (this.#releases.manifestLsn !== this.durableLsn) this.#releases.renewManifest();
  }

  /**
   * Goes on in the next segment. The order makes everything below the new header proven: the last frame is durable
   * (nothing is on its way), then the footer, then the header, then the name. In the interval mode each of the three
   * is followed by a sync of its own.
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
      this.#releases.renewManifest();
      this.#checkSettled();
    });
  }

  *#rollSteps(): Io<void> {
    const { files } = this.#env;
    const { directory } = this.#options;
    const old = this.#segment;
    const firstLsn = this.#point.writtenLsn;
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
    const sequence = old.sequence + 1;
    const path = `${directory}/wal/${segmentName(sequence, firstLsn)}`;
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
    let isNamed = false;
    try {
      yield* this.#syncFrames(old);
      yield* this.#writeSynced(old.file, this.#offset, encodeFooter(footer));
      yield* this.#writeSynced(file, 0, header);
      yield* renameFile(files, `${directory}/tmp/${NEXT_SEGMENT}`, path);
      yield* syncDirectory(files, `${directory}/wal`);
      yield* syncDirectory(files, `${directory}/tmp`);
      isNamed = true;
    } finally {
      // It is no segment of the log yet, so nobody else would close it.
      if (!isNamed) yield* closeFile(file);
    }
    const segment = newSegment(sequence, firstLsn, path, file, header);
    this.#segments.push(segment);
    this.#segment = segment;
    this.#offset = header.length;
    this.#chain = segment.seed;
    this.#point.restart(segment.endLsn);
    this.#unproven = false;
    this.#supply.named();
  }

  /** All before the rolling of the log is durable, and no sync is under way. */
  *#syncFrames(segment: LiveSegment): Io<void> {
    this.#point.hold();
    yield* this.#until(() => !this.#point.isSyncing);
    if (!this.#point.isSynced) yield* syncFile(segment.file);
  }

  *#writeSynced(file: File, offset: number, bytes: Uint8Array): Io<void> {
    yield* writeFile(file, offset, bytes);
    if (!this.#point.isImmediate) yield* syncFile(file);
  }

  /** Proves everything acknowledged, so it is synced first. */
  #addMark(): void {
    if (!this.#point.isSynced) {
      this.#barriers.push((error) => {
        if (error === null && this.#unproven) this.#addMark();
      });
      this.#pump();
      return;
    }
    this.#queue.addMark();
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
      if (this.#onItsWay !== null || !this.#queue.isEmpty || this.#rolling) return;
      if (this.#env.clock.monotonicMs() - this.#lastFrameMs < this.#options.markAfterMs)
        this.#armMark();
      else if (this.#unproven) this.#addMark();
    });
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
          // It was about to get a file, and will not close what it never got.
          if (isFile(value)) yield* closeFile(value);
          step = io.return(undefined);
        }
      } catch (error) {
        step = io.throw(error);
      }
    }
    if (ended) throw this.#failed as HarmonyError;
  }

  /** A write or sync has failed: what it may or may not have left is unknown, so nothing follows it. */
  #fail(cause: unknown): void {
    if (this.#failed !== null) {
      this.#checkSettled();
      return;
    }
    if (!(cause instanceof FileError)) throw cause as Error;
    const failed = stopped(cause);
    this.#failed = failed;
    this.#supply.stop();
    this.#point.hold();
    this.#markTimer?.cancel();
    this.#markTimer = null;
    this.#env.log("error", "wal", "a write to the log failed; the node stops", {
      error: cause.message,
    });
    const waiting = this.#queue.abandon();
    const frames = this.#onItsWay === null ? waiting : [this.#onItsWay, ...waiting];
    const barriers = this.#barriers;
    this.#onItsWay = null;
    this.#onItsWayBytes = 0;
    this.#frameAwaitsSync = false;
    this.#barriers = [];
    for (const frame of frames) for (const done of frame.waiters) done(failed);
    for (const done of barriers) done(failed);
    this.#releases.abandon(failed);
    this.onFailed?.(failed);
    this.#checkSettled();
  }

  /** Closing on a full disk: what never left is not applied. */
  #abandonWaiting(): void {
    const frames = this.#queue.abandon();
    const error = new HarmonyError("DISK_FULL", "the log was closed before it had room");
    for (const frame of frames) for (const done of frame.waiters) done(error);
  }

  /** Waits until nothing is under way; on a full disk, what has no room to leave is refused instead. */
  *#drain(): Io<void> {
    yield* this.#until(() => this.#drained || this.#stuck);
    if (!this.#drained) this.#abandonWaiting();
  }

  get #stuck(): boolean {
    return this.#supply.space === "full" && this.#isQuiet;
  }

  get #drained(): boolean {
    return this.#isQuiet && this.#queue.isEmpty;
  }

  /** Nothing is under way. */
  get #isQuiet(): boolean {
    return (
      !this.#writing &&
      !this.#frameAwaitsSync &&
      !this.#point.isSyncing &&
      this.#barriers.length === 0 &&
      !this.#rolling &&
      !this.#releases.isRunning
    );
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

/** Whether an operation gave a file: of all that they give only files can be closed. */
function isFile(value: unknown): value is File {
  return typeof value === "object" && value !== null && "close" in value;
}
