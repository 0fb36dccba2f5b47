/**
 * Opening a log: find out what the files prove, cut what is torn, refuse what is lost, and write again what is valid
 * but unproven before anything may depend on it.
 *
 * Let x be the end of the valid chain in the last segment and D the highest LSN that the files prove durable. At or
 * after D a bad frame is a write that a crash tore: nobody was told that it is durable, and it is cut. Below D it is
 * damage to what may have been acknowledged: it is never cut and never skipped (fault-rules 2.1).
 *
 * The steps, in order:
 *
 * 1. List the segments; go back from the last one to the first that is still needed. What is before it is obsolete.
 * 2. Check that sequence, LSNs, identity and the manifest agree.
 * 3. Replay the segments before the last: all of it is proven, because a segment gets its header after that.
 * 4. In the last one find x and D, then cut or refuse.
 * 5. Build the segment that the log goes on in, with the unproven frames copied into it; sync; rename; sync (D10).
 * 6. Seal the segment before it, whose tail now counts no more. Write the manifest anew; remove what is obsolete.
 *
 * A crash at any point leaves a directory of which all this can be done again.
 */
import { assert, CorruptionError, type Damage, EMPTY_BYTES, readU32 } from "../base/index.ts";
import {
  closeFile,
  type Env,
  type File,
  FileError,
  type Files,
  type Io,
  listDirectory,
  makeDirectory,
  openFile,
  renameFile,
  syncDirectory,
  syncFile,
  truncateFile,
  unlinkFile,
  writeFile,
} from "../env/index.ts";
import { ColdReader } from "./cold-reader.ts";
import { EntryCache } from "./entry-cache.ts";
import { alignUp } from "./format.ts";
import { type FrameHeader, type FrameRow, placeFrame } from "./frame.ts";
import { GroupTable } from "./group-state.ts";
import { type LiveSegment, newSegment } from "./live-segment.ts";
import { isSpare, manifestOf, readManifest, writeManifest } from "./manifest.ts";
import type { ResolvedOptions } from "./options.ts";
import { Replay } from "./replay.ts";
import {
  type DecodedSegmentHeader,
  encodeFooter,
  encodeSegmentHeader,
  FOOTER_BYTES,
  type SegmentFooter,
  segmentHeaderBytes,
  segmentName,
} from "./segment.ts";
import { footerMatches, type SegmentReader } from "./segment-reader.ts";
import {
  checkIdentity,
  checkManifest,
  checkOrder,
  listSegments,
  openNeeded,
} from "./segment-set.ts";
import type { GroupStart, LostRange, Lsn, WalIdentity, WalRecovery } from "./types.ts";
import { attempt, fillZeros, initialSizeBytes, NEXT_SEGMENT } from "./zeros.ts";

/** A segment whose frames take less is written again as a whole at a start, so that restarts do not pile up small files. */
const REWRITE_WHOLE_BYTES = 4 * 1024 * 1024;
const COPY_CHUNK_BYTES = 1024 * 1024;
/** On a full disk a tail with so much room for frames will do: for a vote, a first entry, and deletes. */
const SMALL_ROOM_BYTES = 64 * 1024;

/** Damage to what was proven durable, with what is known of the loss. */
export class WalCorruptionError extends CorruptionError {
  /** The groups and ranges that the damaged frame's table names; "all groups" when the table is not readable. */
  readonly lost: readonly LostRange[] | "all groups";

  constructor(damage: Damage, lost: readonly LostRange[] | "all groups") {
    super(damage);
    this.lost = lost;
  }
}

/** Where the log goes on. */
export interface OpenTail {
  readonly segment: LiveSegment;
  /** Offset of the next frame. */
  readonly offset: number;
  /** Zeros are written up to here. */
  readonly preparedBytes: number;
  readonly chain: number;
  /** The disk had no room for what a segment begins with: the log comes up with `space` "full". */
  readonly full: boolean;
}

export interface OpenedLog {
  readonly identity: WalIdentity;
  /** In order; the last one is the tail's. */
  readonly segments: LiveSegment[];
  readonly groups: GroupTable;
  readonly tail: OpenTail;
  readonly manifestGeneration: number;
  /** What the manifest on the disk says of the log's end. */
  readonly manifestLsn: Lsn;
  readonly recovery: WalRecovery;
}

/** What the last segment holds. */
interface TailFindings {
  /** End of the valid chain. */
  readonly endLsn: Lsn;
  /** What is proven durable; at most `endLsn`. */
  readonly durableLsn: Lsn;
  readonly tornBytes: number;
  /** The last segment has its footer: a crash came between sealing it and naming the next one. */
  readonly sealed: boolean;
  /** Damaged frames that cost nothing, by offset. */
  readonly skipped: ReadonlyMap<
    number,
    { readonly header: FrameHeader; readonly rows: readonly FrameRow[]; readonly what: string }
  >;
}

/** A frame that goes into the new tail, and where it stands in the old one. */
interface CopiedFrame {
  readonly header: FrameHeader;
  readonly offset: number;
}

type TailPlan = Omit<DecodedSegmentHeader, "provenLsn" | "sizeBytes" | "crc">;

class Recovery {
  readonly files: Files;
  readonly options: ResolvedOptions;
  readonly segments: LiveSegment[] = [];
  readonly replay: Replay;
  readonly groups: GroupTable;
  readonly damaged: Damage[] = [];
  framesScanned = 0;
  bytesScanned = 0;
  /** What is open and would leak if the log is refused. */
  readonly #files: Set<File> = new Set();
  /** Why the last attempt to build the new tail found no room. */
  #noRoom: FileError | null = null;

  constructor(files: Files, options: ResolvedOptions, starts: readonly GroupStart[]) {
    this.files = files;
    this.options = options;
    const cold = new ColdReader(this.segments);
    this.groups = new GroupTable(new EntryCache(options.cacheBytes), cold.read.bind(cold));
    this.replay = new Replay(this.groups);
    for (const { group, appliedIndex, appliedTerm, olderAppliedIndex } of starts) {
      this.groups.of(group).checkpoint = { appliedIndex, appliedTerm, olderAppliedIndex };
    }
  }

  /** Where the new tail is built. */
  get #temporary(): string {
    return `${this.options.directory}/tmp/${NEXT_SEGMENT}`;
  }

  get directory(): string {
    return `${this.options.directory}/wal`;
  }

  *run(expected: Partial<Pick<WalIdentity, "clusterId" | "memberId">>): Io<OpenedLog> {
    try {
      return yield* this.#open(expected);
    } catch (error) {
      for (const file of this.#files) yield* attempt(closeFile(file));
      yield* attempt(unlinkFile(this.files, this.#temporary));
      throw error;
    }
  }

  *#open(expected: Partial<Pick<WalIdentity, "clusterId" | "memberId">>): Io<OpenedLog> {
    yield* this.#clearTemporary();
    const named = yield* listSegments(this.files, this.directory);
    const readers = yield* openNeeded(this.files, named, this.groups, (file) =>
      this.#files.add(file),
    );
    const first = readers[0] as SegmentReader;
    const last = readers[readers.length - 1] as SegmentReader;
    const { identity } = last.header;
    checkIdentity(readers, expected);
    checkOrder(readers);
    const manifestPath = `${this.options.directory}/MANIFEST`;
    const found = yield* readManifest(this.files, manifestPath);
    const manifest = typeof found === "string" ? null : found;
    if (manifest !== null) checkManifest(this.directory, manifest, manifestPath, readers, named);

    const unsealed: { reader: SegmentReader; footer: SegmentFooter }[] = [];
    for (let i = 0; i + 1 < readers.length; i++) {
      const reader = readers[i] as SegmentReader;
      const footer = yield* this.#replayProven(reader, (readers[i + 1] as SegmentReader).header);
      if (footer !== null) unsealed.push({ reader, footer });
    }

    const proven = Math.max(last.header.provenLsn, manifest?.durableLsn ?? 0);
    const findings = yield* this.#examineTail(last, proven);
    const { endLsn, durableLsn } = findings;
    const headerBytes = last.header.sizeBytes;
    const tailBytes = endLsn - last.firstLsn - headerBytes;
    const whole =
      findings.skipped.size === 0 &&
      (durableLsn === last.firstLsn + headerBytes ||
        tailBytes <= Math.min(REWRITE_WHOLE_BYTES, this.options.segmentSizeBytes / 2));
    let chain = last.header.crc;
    this.replay.enterSegment(last.header.groups, last.path);
    let old: LiveSegment | null = null;
    if (!whole) {
      old = liveSegment(last, durableLsn);
      this.segments.push(old);
      chain = yield* this.#replayTail(last, old, findings);
    }
    const cut = whole ? last.firstLsn : durableLsn;
    const { tail, dataRewritten } = yield* this.#writeTail(
      last,
      {
        identity,
        sequence: whole ? last.header.sequence : last.header.sequence + 1,
        firstLsn: cut,
        previousCrc: whole ? last.header.previousCrc : chain,
        damagedFromLsn: whole ? last.header.damagedFromLsn : this.#damagedLsns(findings, last).from,
        damagedToLsn: whole ? last.header.damagedToLsn : this.#damagedLsns(findings, last).to,
        groups: whole ? last.header.groups : this.groups.rows(),
      },
      whole ? last.firstLsn + headerBytes : durableLsn,
      chain,
      findings,
    );
    if (whole) {
      this.#files.delete(last.file);
      yield* closeFile(last.file);
    } else if (!findings.sealed) {
      const footer = footerOf(last.header, durableLsn, chain);
      yield* this.#seal(last.path, durableLsn - last.firstLsn, footer, old);
    }
    for (const { reader, footer } of unsealed) {
      yield* this.#seal(reader.path, footer.endLsn - reader.firstLsn, footer, null);
    }
    this.damaged.push(...this.replay.tolerated);
    for (const state of this.groups.all()) state.settled();

    const obsolete = named.filter((segment) => segment.sequence < first.header.sequence);
    const generation = (manifest?.generation ?? 0) + 1;
    const renewed = manifestOf(
      identity,
      generation,
      tail.segment.endLsn,
      this.segments,
      this.groups,
    );
    let manifestLsn = renewed.durableLsn;
    try {
      yield* writeManifest(this.files, this.options.directory, renewed);
      for (const segment of obsolete) {
        yield* unlinkFile(this.files, segment.path);
        yield* syncDirectory(this.files, this.directory); // One by one: no power loss leaves a gap.
      }
    } catch (error) {
      // The old one is right, but says less. What it may still name stays until a later one is durable.
      if (!isFull(error)) throw error;
      manifestLsn = manifest?.durableLsn ?? 0;
    }

    let entriesFound = 0;
    for (const state of this.groups.all()) entriesFound += state.log.count;
    const recovery: WalRecovery = {
      entriesFound,
      segmentsScanned: readers.length,
      framesScanned: this.framesScanned,
      bytesScanned: this.bytesScanned,
      tornBytesCut: findings.tornBytes,
      rewrittenBytes: tail.offset - tail.segment.headerBytes,
      damagedRanges: this.damaged,
      lastLsn: endLsn,
      durableLsn,
      unclean: findings.tornBytes > 0 || dataRewritten,
    };
    return {
      identity,
      segments: this.segments,
      groups: this.groups,
      tail,
      manifestGeneration: generation,
      manifestLsn,
      recovery,
    };
  }

  /** Removes what was being made when the process ended, before anything needs its room. A spare stays (`isSpare`). */
  *#clearTemporary(): Io<void> {
    const directory = `${this.options.directory}/tmp`;
    let names: readonly string[];
    try {
      names = yield* listDirectory(this.files, directory);
    } catch (error) {
      if (!(error instanceof FileError) || error.code !== "ENOENT") throw error;
      yield* makeDirectory(this.files, directory);
      yield* syncDirectory(this.files, this.options.directory);
      return;
    }
    for (const name of [NEXT_SEGMENT, "VOTE"])
      if (names.includes(name)) yield* unlinkFile(this.files, `${directory}/${name}`);
    const spare = `${directory}/MANIFEST`;
    if (names.includes("MANIFEST") && !(yield* isSpare(this.files, spare)))
      yield* unlinkFile(this.files, spare);
  }

  /** Replays a segment that has a successor. Returns its footer when that has to be written anew. */
  *#replayProven(reader: SegmentReader, next: DecodedSegmentHeader): Io<SegmentFooter | null> {
    const end = next.firstLsn - reader.firstLsn;
    const segment = liveSegment(reader, next.firstLsn);
    this.segments.push(segment);
    this.replay.enterSegment(reader.header.groups, reader.path);
    let chain = reader.header.crc;
    let offset = reader.header.sizeBytes;
    while (offset < end) {
      const check = yield* reader.check(offset, chain);
      const header = check.header;
      if (header !== null && offset + header.frameBytes > end) {
        throw new WalCorruptionError(
          { file: reader.path, offset, what: `a frame reaches into segment ${next.sequence}` },
          "all groups",
        );
      }
      if (check.valid) {
        this.framesScanned++;
        this.replay.frame(reader.records(offset, check.header), reader.firstLsn + offset, segment);
      } else {
        const damage: Damage = { file: reader.path, offset, what: check.what };
        if (check.rows === null || !this.replay.tolerates(check.rows))
          throw lostData(damage, check.rows);
        this.replay.skip(check.rows, damage);
      }
      chain = (header as FrameHeader).crc;
      offset += (header as FrameHeader).frameBytes;
    }
    this.bytesScanned += end;
    if (chain !== next.previousCrc) {
      throw new WalCorruptionError(
        {
          file: reader.path,
          offset: end,
          what: `the chain does not lead to segment ${next.sequence}`,
        },
        "all groups",
      );
    }
    const footer = yield* reader.footerAt(end);
    if (footerMatches(footer, reader.header, next.firstLsn, chain)) return null;
    // The next segment vouches for every byte, so nothing is lost; the crash that leaves this is the one in step 6.
    this.damaged.push({
      file: reader.path,
      offset: end,
      what: "the footer is missing or damaged; it is written anew",
    });
    return footerOf(reader.header, next.firstLsn, chain);
  }

  /** Finds x and D. Throws when something below D is lost. */
  *#examineTail(reader: SegmentReader, proven: Lsn): Io<TailFindings> {
    const { firstLsn } = reader;
    const skipped = new Map<
      number,
      { header: FrameHeader; rows: readonly FrameRow[]; what: string }
    >();
    let durableLsn = proven;
    let chain = reader.header.crc;
    let offset = reader.header.sizeBytes;
    for (;;) {
      const check = yield* reader.check(offset, chain);
      if (check.valid) {
        this.framesScanned++;
        durableLsn = Math.max(durableLsn, check.header.durableLsn);
        chain = check.header.crc;
        offset += check.header.frameBytes;
        continue;
      }
      const endLsn = firstLsn + offset;
      if (check.strayDurableLsn >= endLsn) {
        // It was written when all before it was durable, and what is before it now is something else.
        throw lostData({ file: reader.path, offset, what: check.what }, null);
      }
      const footer = yield* reader.footerAt(offset);
      const sealed = footerMatches(footer, reader.header, endLsn, chain);
      const scan = yield* reader.scanTail(sealed ? offset + FOOTER_BYTES : offset);
      durableLsn = Math.max(durableLsn, scan.durableLsn, sealed ? endLsn : 0);
      if (durableLsn <= endLsn) {
        this.bytesScanned += reader.sizeBytes;
        const tornBytes = sealed ? 0 : scan.dataEnd - offset;
        return { endLsn, durableLsn, tornBytes, sealed, skipped };
      }
      const what = `${check.what}, but the log was durable up to LSN ${durableLsn} (offset ${durableLsn - firstLsn})`;
      const damage: Damage = { file: reader.path, offset, what };
      if (check.rows === null || check.header === null || !this.replay.tolerates(check.rows))
        throw lostData(damage, check.rows);
      skipped.set(offset, { header: check.header, rows: check.rows, what });
      chain = check.header.crc;
      offset += check.header.frameBytes;
    }
  }

  /** Replays the proven part of the last segment; returns the chain at its end. */
  *#replayTail(reader: SegmentReader, segment: LiveSegment, findings: TailFindings): Io<number> {
    const end = findings.durableLsn - reader.firstLsn;
    let chain = reader.header.crc;
    let offset = reader.header.sizeBytes;
    while (offset < end) {
      const check = yield* reader.check(offset, chain);
      const known = findings.skipped.get(offset);
      if (check.valid)
        this.replay.frame(reader.records(offset, check.header), reader.firstLsn + offset, segment);
      else if (known === undefined)
        throw lostData({ file: reader.path, offset, what: check.what }, check.rows);
      else this.replay.skip(known.rows, { file: reader.path, offset, what: known.what });
      const header = check.header as FrameHeader;
      chain = header.crc;
      offset += header.frameBytes;
    }
    if (offset !== end) {
      const what = `the proven point, offset ${end}, is inside a frame`;
      throw new WalCorruptionError({ file: reader.path, offset: end, what }, "all groups");
    }
    return chain;
  }

  /**
   * Makes the segment that the log goes on in, with the frames of `source` from LSN `from` to the end of the valid
   * chain, and replays them from their new places. It appears whole or not at all.
   */
  *#writeTail(
    source: SegmentReader,
    plan: TailPlan,
    from: Lsn,
    sourceChain: number,
    findings: TailFindings,
  ): Io<{ tail: OpenTail; dataRewritten: boolean }> {
    const headerBytes = segmentHeaderBytes(plan.groups.length);
    const highest: LiveSegment["highest"] = new Map();
    const frames: CopiedFrame[] = [];
    let dataRewritten = false;
    let offset = headerBytes;
    let readAt = from - source.firstLsn;
    let readChain = sourceChain;
    const end = findings.endLsn - source.firstLsn;
    while (readAt < end) {
      const check = yield* source.check(readAt, readChain);
      if (!check.valid)
        throw lostData({ file: source.path, offset: readAt, what: check.what }, check.rows);
      const { header } = check;
      this.replay.frame(source.records(readAt, header), plan.firstLsn + offset, { highest });
      if (header.rows > 0 && source.firstLsn + readAt >= findings.durableLsn) dataRewritten = true;
      frames.push({ header, offset: readAt });
      offset += header.frameBytes;
      readAt += header.frameBytes;
      readChain = header.crc;
    }
    assert(plan.firstLsn + offset >= findings.endLsn, "the log's end never goes back");
    this.#judge();

    const header = encodeSegmentHeader({ ...plan, provenLsn: plan.firstLsn + offset });
    const fullBytes = Math.max(initialSizeBytes(this.options), offset + FOOTER_BYTES);
    const smallBytes = Math.min(fullBytes, offset + FOOTER_BYTES + SMALL_ROOM_BYTES);
    const build = (sizeBytes: number): Io<{ file: File; chain: number } | null> =>
      this.#buildTail(source, header, plan.firstLsn, sourceChain, frames, sizeBytes);
    let preparedBytes = fullBytes;
    let built = yield* build(fullBytes);
    const full = built === null;
    if (built === null) {
      preparedBytes = smallBytes;
      built = yield* build(smallBytes);
    }
    if (built === null) {
      yield* this.#giveBackZeros(source, findings);
      built = yield* build(smallBytes);
    }
    if (built === null) {
      preparedBytes = offset + FOOTER_BYTES;
      built = yield* build(preparedBytes);
    }
    if (built === null) throw this.#noRoom as FileError;
    const { file, chain } = built;
    const path = `${this.directory}/${segmentName(plan.sequence, plan.firstLsn)}`;
    const temporary = this.#temporary;
    yield* renameFile(this.files, temporary, path);
    yield* syncDirectory(this.files, this.directory);
    yield* syncDirectory(this.files, `${this.options.directory}/tmp`);
    const made = newSegment(plan.sequence, plan.firstLsn, path, file, header);
    const segment: LiveSegment = { ...made, highest };
    segment.endLsn = plan.firstLsn + offset;
    segment.sizeBytes = preparedBytes;
    this.segments.push(segment);
    return { tail: { segment, offset, preparedBytes, chain, full }, dataRewritten };
  }

  /**
   * Writes the new tail under `tmp/`: the header, copies of `frames`, zeros up to `sizeBytes`. Null, and no file, when
   * the disk has no room for it: nothing is known of a write that failed, so the next attempt begins with a new file.
   */
  *#buildTail(
    source: SegmentReader,
    header: Uint8Array,
    firstLsn: Lsn,
    sourceChain: number,
    frames: readonly CopiedFrame[],
    sizeBytes: number,
  ): Io<{ file: File; chain: number } | null> {
    const seed = readU32(header, 20);
    let file: File | null = null;
    try {
      file = yield* openFile(this.files, this.#temporary, {
        access: "readwrite",
        create: "exclusive",
        durableWrites: this.options.fsyncIntervalMs === 0,
      });
      this.#files.add(file);
      yield* writeFile(file, 0, header);
      let chain = seed;
      let offset = header.length;
      let chunk: Uint8Array = EMPTY_BYTES;
      let chunkAt = offset;
      let readChain = sourceChain;
      for (const [number, frame] of frames.entries()) {
        if (chunkAt === offset) chunk = new Uint8Array(chunkBytes(frames, number));
        // Read again, so checked again.
        const check = yield* source.check(frame.offset, readChain);
        if (!check.valid || check.header.crc !== frame.header.crc) {
          const what = check.valid ? "the frame has changed" : check.what;
          throw lostData({ file: source.path, offset: frame.offset, what }, null);
        }
        source.copyFrame(frame.offset, check.header, chunk, offset - chunkAt);
        chain = placeFrame(chunk, offset - chunkAt, {
          lsn: firstLsn + offset,
          durableLsn: firstLsn,
          previousCrc: chain,
          seed,
        });
        readChain = frame.header.crc;
        offset += frame.header.frameBytes;
        if (offset - chunkAt === chunk.length) {
          yield* writeFile(file, chunkAt, chunk);
          chunkAt = offset;
        }
      }
      yield* fillZeros(file, offset, sizeBytes);
      if (this.options.fsyncIntervalMs > 0) yield* syncFile(file);
      return { file, chain };
    } catch (error) {
      if (!isFull(error)) throw error;
      this.#noRoom = error;
      if (file !== null) {
        this.#files.delete(file);
        yield* closeFile(file);
        yield* unlinkFile(this.files, this.#temporary);
      }
      return null;
    }
  }

  /**
   * On a disk that is full to the last byte, the zeros that were written ahead in the old tail are the room that the
   * new one needs. They prove nothing and hold nothing; what is not zero stays, and so does the place of the footer.
   */
  *#giveBackZeros(source: SegmentReader, findings: TailFindings): Io<void> {
    if (findings.sealed) return;
    const end = findings.endLsn - source.firstLsn;
    const keep = Math.max(end + FOOTER_BYTES, alignUp(end + findings.tornBytes));
    if (keep >= source.sizeBytes) return;
    const file = yield* openFile(this.files, source.path, { access: "readwrite" });
    try {
      yield* truncateFile(file, keep);
      yield* syncFile(file);
    } finally {
      yield* closeFile(file);
    }
  }

  /** Ends a segment at `offset`: what is behind it belongs to its successor. Can be repeated after a crash. */
  *#seal(
    path: string,
    offset: number,
    footer: SegmentFooter,
    segment: LiveSegment | null,
  ): Io<void> {
    const file = yield* openFile(this.files, path, { access: "readwrite" });
    try {
      yield* writeFile(file, offset, encodeFooter(footer));
      yield* truncateFile(file, offset + FOOTER_BYTES);
      yield* syncFile(file);
    } finally {
      yield* closeFile(file);
    }
    if (segment !== null) segment.sizeBytes = offset + FOOTER_BYTES;
  }

  /** The last place to refuse, before anything is built: the log must hold what the checkpoints lack, and reach them. */
  #judge(): void {
    const lostState = this.replay.unsettled;
    if (lostState !== null) throw new WalCorruptionError(lostState, "all groups");
    for (const { group, log, checkpoint, snapshot } of this.groups.all()) {
      const { appliedIndex, appliedTerm } = checkpoint;
      // What an installed snapshot covers is in its file until the data file has taken it over.
      const installed = snapshot?.installed === true ? snapshot.meta.index : 0;
      const refuse = (what: string): never => {
        throw new CorruptionError({
          file: this.directory,
          offset: 0,
          what: `group ${group}: ${what}`,
        });
      };
      if (log.lastIndex() < appliedIndex) {
        refuse(
          `the log ends at entry ${log.lastIndex()}, but entry ${appliedIndex} is in a checkpoint`,
        );
      }
      if (log.firstIndex() > Math.max(checkpoint.olderAppliedIndex, installed) + 1) {
        const what = `group ${group}: the log begins at entry ${log.firstIndex()}: the older checkpoint cannot be used`;
        this.damaged.push({ file: this.directory, offset: 0, what });
      }
      if (log.firstIndex() > Math.max(appliedIndex, installed) + 1) {
        refuse(
          `the log begins at entry ${log.firstIndex()}, but the checkpoint ends at entry ${appliedIndex}`,
        );
      }
      // A data file that has not taken over what was installed is about to be replaced.
      const isReplaced = installed > appliedIndex;
      if (appliedIndex > 0 && !isReplaced && log.term(appliedIndex) !== appliedTerm) {
        refuse(
          `entry ${appliedIndex} has term ${log.term(appliedIndex)}, but term ${appliedTerm} in the checkpoint`,
        );
      }
    }
  }

  #damagedLsns(findings: TailFindings, reader: SegmentReader): { from: Lsn; to: Lsn } {
    let from = 0;
    let to = 0;
    for (const [offset, { header }] of findings.skipped) {
      if (from === 0) from = reader.firstLsn + offset;
      to = reader.firstLsn + offset + header.frameBytes;
    }
    return { from, to };
  }
}

/** Opens the log of a directory. Throws CORRUPT, WRONG_CLUSTER, NEWER_FORMAT, FileError. */
export function recoverLog(
  env: Env,
  options: ResolvedOptions,
  expected: Partial<Pick<WalIdentity, "clusterId" | "memberId">>,
  starts: readonly GroupStart[],
): Io<OpenedLog> {
  return new Recovery(env.files, options, starts).run(expected);
}

function isFull(error: unknown): error is FileError {
  return error instanceof FileError && error.isFull;
}

function liveSegment(reader: SegmentReader, endLsn: Lsn): LiveSegment {
  return {
    sequence: reader.header.sequence,
    firstLsn: reader.firstLsn,
    path: reader.path,
    file: reader.file,
    headerBytes: reader.header.sizeBytes,
    seed: reader.header.crc,
    endLsn,
    sizeBytes: reader.sizeBytes,
    highest: new Map(),
  };
}

function footerOf(header: DecodedSegmentHeader, endLsn: Lsn, chainCrc: number): SegmentFooter {
  return { sequence: header.sequence, firstLsn: header.firstLsn, endLsn, chainCrc };
}

function lostData(damage: Damage, rows: readonly FrameRow[] | null): WalCorruptionError {
  if (rows === null) return new WalCorruptionError(damage, "all groups");
  const lost = rows.map(({ group, firstIndex, lastIndex, lastTerm }) => ({
    group,
    firstIndex,
    lastIndex,
    term: lastTerm,
  }));
  return new WalCorruptionError(damage, lost);
}

/** What the frames from `first` on take that are written together: a MiB, or all that are left. */
function chunkBytes(frames: readonly CopiedFrame[], first: number): number {
  let bytes = 0;
  for (let i = first; i < frames.length && bytes < COPY_CHUNK_BYTES; i++)
    bytes += (frames[i] as CopiedFrame).header.frameBytes;
  return bytes;
}
