/**
 * Looks at the log of a stopped directory and changes nothing: every segment, frame and record as plain data, and
 * every damage with file and offset. Where recovery stops at the first damage that matters, this goes on behind it.
 */
import { CorruptionError, type Damage, equalBytes, HarmonyError } from "../base/index.ts";
import { closeFile, type Files, type Io, listDirectory } from "../env/index.ts";
import type { EntryType, GroupId, HardState, LogIndex, Term } from "../raft/index.ts";
import type { FrameHeader, FrameRow } from "./frame.ts";
import { SECTOR_BYTES } from "./format.ts";
import { type GroupReport, GroupReports } from "./inspect-groups.ts";
import { readManifest } from "./manifest.ts";
import { EntryCursor, type RecordCursor, RecordType } from "./record.ts";
import { FOOTER_BYTES, type GroupRow, parseSegmentName } from "./segment.ts";
import { footerMatches, SegmentReader } from "./segment-reader.ts";
import type { Lsn, SnapshotRecord, WalIdentity } from "./types.ts";
import { readVotes } from "./vote-file.ts";

/** An entry without its data, which may be large and secret. */
export interface InspectedEntry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly type: EntryType;
  readonly dataBytes: number;
}

export type InspectedRecord =
  | {
      readonly type: "entries" | "relocated";
      readonly group: GroupId;
      readonly entries: readonly InspectedEntry[];
    }
  | { readonly type: "hardState"; readonly group: GroupId; readonly state: HardState }
  | { readonly type: "snapshot"; readonly group: GroupId; readonly snapshot: SnapshotRecord }
  | {
      readonly type: "truncated";
      readonly group: GroupId;
      readonly index: LogIndex;
      readonly term: Term;
    }
  | { readonly type: "mark" };

export type WalItem =
  | {
      readonly kind: "segment";
      readonly file: string;
      readonly sizeBytes: number;
      readonly sequence: number;
      readonly firstLsn: Lsn;
      readonly provenLsn: Lsn;
      readonly identity: WalIdentity;
      readonly groups: readonly GroupRow[];
    }
  | {
      readonly kind: "frame";
      readonly file: string;
      readonly offset: number;
      readonly lsn: Lsn;
      readonly durableLsn: Lsn;
      readonly frameBytes: number;
      readonly records: readonly InspectedRecord[];
    }
  | {
      readonly kind: "footer";
      readonly file: string;
      readonly offset: number;
      readonly endLsn: Lsn;
    }
  /** Below the proven point, or in a place that is always proven. `lost` is the frame's table where it is readable. */
  | { readonly kind: "damage"; readonly damage: Damage; readonly lost: readonly FrameRow[] | null }
  /** The end of the valid chain in the last segment; `tornBytes` behind it are the rest of a write that was cut short. */
  | {
      readonly kind: "end";
      readonly file: string;
      readonly offset: number;
      readonly tornBytes: number;
    };

export interface WalReport {
  readonly segments: number;
  readonly frames: number;
  readonly entries: number;
  readonly endLsn: Lsn;
  readonly durableLsn: Lsn;
  readonly tornBytes: number;
  readonly manifest: "ok" | "missing" | "damaged";
  readonly votes: "ok" | "lost";
  readonly groups: readonly GroupReport[];
  readonly damage: readonly Damage[];
}

/** Calls `visit` for everything in the log of `directory`, in order. Throws FileError, NEWER_FORMAT. */
export function* inspectWal(
  files: Files,
  directory: string,
  visit: (item: WalItem) => void,
): Io<WalReport> {
  const report = { segments: 0, frames: 0, entries: 0, endLsn: 0, durableLsn: 0, tornBytes: 0 };
  const damage: Damage[] = [];
  const groups = new GroupReports();
  const tell = (item: WalItem): void => {
    if (item.kind === "damage") damage.push(item.damage);
    groups.see(item);
    visit(item);
  };
  const found = yield* readManifest(files, `${directory}/MANIFEST`);
  if (typeof found !== "string") report.durableLsn = found.durableLsn;
  const names = (yield* listDirectory(files, `${directory}/wal`)).filter((name) =>
    name.endsWith(".wal"),
  );
  let before: SegmentReader | null = null;
  let chain = 0;
  let end = 0;
  for (const [i, name] of names.entries()) {
    const path = `${directory}/wal/${name}`;
    let reader: SegmentReader;
    try {
      reader = yield* SegmentReader.open(files, path);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      tell({ kind: "damage", damage: error.damage, lost: null });
      before = null;
      continue;
    }
    report.segments++;
    const { header } = reader;
    tell({
      kind: "segment",
      file: path,
      sizeBytes: reader.sizeBytes,
      sequence: header.sequence,
      firstLsn: header.firstLsn,
      provenLsn: header.provenLsn,
      identity: header.identity,
      groups: header.groups,
    });
    const misplaced = misplacedSegment(reader, name, before, end, chain);
    if (misplaced !== null)
      tell({ kind: "damage", damage: { file: path, offset: 0, what: misplaced }, lost: null });
    const next = names[i + 1];
    const nextLsn = next === undefined ? undefined : parseSegmentName(next)?.firstLsn;
    const limit = nextLsn === undefined ? Number.POSITIVE_INFINITY : nextLsn - header.firstLsn;
    ({ end, chain } = yield* inspectSegment(reader, limit, next === undefined, report, tell));
    yield* closeFile(reader.file);
    before = reader;
  }
  if (names.length === 0) {
    tell({
      kind: "damage",
      damage: { file: `${directory}/wal`, offset: 0, what: "no segment is here" },
      lost: null,
    });
  }
  if (typeof found !== "string") {
    for (const { sequence, firstLsn } of found.segments) {
      const there = names.some((name) => {
        const parsed = parseSegmentName(name);
        return parsed?.sequence === sequence && parsed.firstLsn === firstLsn;
      });
      if (there) continue;
      const what = `segment ${sequence}, which the manifest names, is missing`;
      tell({ kind: "damage", damage: { file: `${directory}/wal`, offset: 0, what }, lost: null });
    }
  }
  const votes = yield* readVotes(files, directory);
  return {
    ...report,
    manifest: typeof found === "string" ? found : "ok",
    votes: votes.lost ? "lost" : "ok",
    groups: groups.reports(typeof found === "string" ? null : found, report.endLsn),
    damage,
  };
}

/** Checks the log of `directory` and changes nothing. Throws FileError, NEWER_FORMAT. */
export function verifyWal(files: Files, directory: string): Io<WalReport> {
  return inspectWal(files, directory, () => {});
}

function misplacedSegment(
  reader: SegmentReader,
  name: string,
  before: SegmentReader | null,
  end: number,
  chain: number,
): string | null {
  const { header } = reader;
  const parsed = parseSegmentName(name);
  if (parsed === null) return "not the name of a segment";
  if (parsed.sequence !== header.sequence || parsed.firstLsn !== header.firstLsn)
    return "the file has another segment's name";
  if (before === null) return null;
  if (!equalBytes(before.header.identity.walId, header.identity.walId))
    return "a segment of another log";
  if (before.header.sequence + 1 !== header.sequence)
    return `segment ${before.header.sequence + 1} is missing before it`;
  if (before.firstLsn + end !== header.firstLsn)
    return `segment ${before.header.sequence} does not reach it`;
  return header.previousCrc === chain ? null : "it does not continue the chain";
}

function* inspectSegment(
  reader: SegmentReader,
  limit: number,
  isLast: boolean,
  report: { frames: number; entries: number; endLsn: Lsn; durableLsn: Lsn; tornBytes: number },
  tell: (item: WalItem) => void,
): Io<{ end: number; chain: number }> {
  const { header, path } = reader;
  let offset = header.sizeBytes;
  let chain = header.crc;
  report.durableLsn = Math.max(report.durableLsn, header.provenLsn);
  while (offset < limit) {
    const check = yield* reader.check(offset, chain);
    if (check.valid) {
      const records: InspectedRecord[] = [];
      try {
        const cursor = reader.records(offset, check.header);
        while (cursor.next()) records.push(inspectRecord(cursor, report));
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        tell({ kind: "damage", damage: error.damage, lost: null });
      }
      report.frames++;
      report.durableLsn = Math.max(report.durableLsn, check.header.durableLsn);
      const { lsn, durableLsn, frameBytes } = check.header;
      tell({ kind: "frame", file: path, offset, lsn, durableLsn, frameBytes, records });
      offset += frameBytes;
      chain = check.header.crc;
      continue;
    }
    if (isLast) {
      const footer = yield* reader.footerAt(offset);
      const sealed = footerMatches(footer, header, header.firstLsn + offset, chain);
      const scan = yield* reader.scanTail(sealed ? offset + FOOTER_BYTES : offset);
      report.durableLsn = Math.max(
        report.durableLsn,
        scan.durableLsn,
        sealed ? header.firstLsn + offset : 0,
      );
      if (report.durableLsn <= header.firstLsn + offset) {
        if (sealed) tell({ kind: "footer", file: path, offset, endLsn: header.firstLsn + offset });
        report.tornBytes = sealed ? 0 : scan.dataEnd - offset;
        tell({ kind: "end", file: path, offset, tornBytes: report.tornBytes });
        break;
      }
    }
    tell({ kind: "damage", damage: { file: path, offset, what: check.what }, lost: check.rows });
    const next: { offset: number; chain: number } | null = yield* goOnBehind(
      reader,
      offset,
      check.header,
    );
    if (next === null) break;
    ({ offset, chain } = next);
  }
  if (offset === limit) {
    const footer = yield* reader.footerAt(offset);
    if (footerMatches(footer, header, header.firstLsn + offset, chain)) {
      tell({ kind: "footer", file: path, offset, endLsn: header.firstLsn + offset });
    } else {
      tell({
        kind: "damage",
        damage: { file: path, offset, what: "the footer is missing or damaged" },
        lost: null,
      });
    }
  }
  report.endLsn = header.firstLsn + offset;
  return { end: offset, chain };
}

function* goOnBehind(
  reader: SegmentReader,
  offset: number,
  header: FrameHeader | null,
): Io<{ offset: number; chain: number } | null> {
  if (header !== null) return { offset: offset + header.frameBytes, chain: header.crc };
  const next = yield* reader.nextFrame(offset + SECTOR_BYTES);
  return next === null ? null : { offset: next.offset, chain: next.previousCrc };
}

function inspectRecord(cursor: RecordCursor, report: { entries: number }): InspectedRecord {
  const { type, group } = cursor;
  switch (type) {
    case RecordType.entries:
    case RecordType.relocated: {
      const entries: InspectedEntry[] = [];
      const walk = new EntryCursor(cursor);
      while (walk.next()) {
        const entry = walk.entry();
        entries.push({
          index: entry.index,
          term: entry.term,
          type: entry.type,
          dataBytes: entry.data.length,
        });
      }
      if (type === RecordType.entries) report.entries += entries.length;
      return { type: type === RecordType.entries ? "entries" : "relocated", group, entries };
    }
    case RecordType.hardState:
      return { type: "hardState", group, state: cursor.hardState() };
    case RecordType.snapshot:
      return { type: "snapshot", group, snapshot: cursor.snapshot() };
    case RecordType.truncated:
      return { type: "truncated", group, ...cursor.truncated() };
    case RecordType.mark:
      return { type: "mark" };
    default:
      throw new HarmonyError("NEWER_FORMAT", `record of type ${String(type satisfies never)}`);
  }
}
