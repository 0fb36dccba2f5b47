/** Which files the log consists of, and whether they belong together: the first questions of a start. */
import { CorruptionError, equalBytes, HarmonyError } from "../base/index.ts";
import { type File, type Files, type Io, listDirectory } from "../env/index.ts";
import type { GroupTable } from "./group-state.ts";
import type { Manifest } from "./manifest.ts";
import { parseSegmentName, segmentName } from "./segment.ts";
import { ReadBuffer, SegmentReader } from "./segment-reader.ts";
import type { Lsn, WalIdentity } from "./types.ts";

export interface NamedSegment {
  readonly name: string;
  readonly path: string;
  readonly sequence: number;
  readonly firstLsn: Lsn;
}

/** The segments in a directory by their names, in order. Throws CorruptionError. */
export function* listSegments(files: Files, directory: string): Io<NamedSegment[]> {
  const named: NamedSegment[] = [];
  for (const name of yield* listDirectory(files, directory)) {
    if (!name.endsWith(".wal")) continue;
    const path = `${directory}/${name}`;
    const parsed = parseSegmentName(name);
    if (parsed === null)
      throw new CorruptionError({ file: path, offset: 0, what: "not the name of a segment" });
    const before = named[named.length - 1];
    if (before?.sequence === parsed.sequence) {
      throw new CorruptionError({
        file: path,
        offset: 0,
        what: `a second segment of sequence ${parsed.sequence}`,
      });
    }
    named.push({ name, path, ...parsed });
  }
  if (named.length === 0) {
    throw new CorruptionError({ file: directory, offset: 0, what: "no segment is here" });
  }
  return named.sort((a, b) => a.sequence - b.sequence);
}

/**
 * Opens segments from the last one back to the first that is needed: the one below whose first LSN every log ends
 * at or before its group's older checkpoint. The readers share one buffer.
 */
export function* openNeeded(
  files: Files,
  named: readonly NamedSegment[],
  groups: GroupTable,
  opened: (file: File) => void,
): Io<SegmentReader[]> {
  const readers: SegmentReader[] = [];
  const buffer = new ReadBuffer();
  for (let i = named.length - 1; i >= 0; i--) {
    const { path, sequence, firstLsn } = named[i] as NamedSegment;
    const reader = yield* SegmentReader.open(files, path, buffer);
    opened(reader.file);
    if (reader.header.sequence !== sequence || reader.firstLsn !== firstLsn) {
      const is = segmentName(reader.header.sequence, reader.firstLsn);
      throw new CorruptionError({
        file: path,
        offset: 72,
        what: `the file is segment ${is} under another name`,
      });
    }
    readers.unshift(reader);
    const isFirst = reader.header.groups.every(
      (row) => row.lastIndex <= (groups.get(row.group)?.checkpoint.olderAppliedIndex ?? 0),
    );
    if (isFirst) break;
  }
  return readers;
}

/** All segments are of one log, and that is the expected one. Throws WRONG_CLUSTER. */
export function checkIdentity(
  readers: readonly SegmentReader[],
  expected: Partial<Pick<WalIdentity, "clusterId" | "memberId">>,
): void {
  const { identity } = (readers[readers.length - 1] as SegmentReader).header;
  for (const { path, header } of readers) {
    const { clusterId, memberId, walId } = header.identity;
    const foreign =
      (expected.clusterId !== undefined && !equalBytes(expected.clusterId, clusterId)) ||
      (expected.memberId !== undefined && expected.memberId !== memberId) ||
      !equalBytes(identity.clusterId, clusterId) ||
      identity.memberId !== memberId ||
      !equalBytes(identity.walId, walId);
    if (foreign) throw new HarmonyError("WRONG_CLUSTER", `${path} is a segment of another log`);
  }
}

/** Sequences have no gap and LSNs grow. Throws CorruptionError. */
export function checkOrder(readers: readonly SegmentReader[]): void {
  for (let i = 1; i < readers.length; i++) {
    const before = readers[i - 1] as SegmentReader;
    const reader = readers[i] as SegmentReader;
    if (reader.header.sequence !== before.header.sequence + 1) {
      const what = `segment ${before.header.sequence + 1} is missing before it`;
      throw new CorruptionError({ file: reader.path, offset: 72, what });
    }
    if (reader.firstLsn < before.firstLsn + before.header.sizeBytes) {
      const what = `first LSN ${reader.firstLsn} is not behind segment ${before.header.sequence}`;
      throw new CorruptionError({ file: reader.path, offset: 80, what });
    }
  }
}

/** The manifest is of the same log, and every segment that it names and that is needed is there. */
export function checkManifest(
  directory: string,
  manifest: Manifest,
  path: string,
  readers: readonly SegmentReader[],
  named: readonly NamedSegment[],
): void {
  const { header } = readers[0] as SegmentReader;
  const { clusterId, memberId, walId } = header.identity;
  const own =
    equalBytes(manifest.identity.clusterId, clusterId) &&
    manifest.identity.memberId === memberId &&
    equalBytes(manifest.identity.walId, walId);
  if (!own) throw new HarmonyError("WRONG_CLUSTER", `${path} is the manifest of another log`);
  for (const segment of manifest.segments) {
    if (segment.sequence < header.sequence) continue;
    if (!named.some((it) => it.sequence === segment.sequence && it.firstLsn === segment.firstLsn)) {
      const file = `${directory}/${segmentName(segment.sequence, segment.firstLsn)}`;
      throw new CorruptionError({
        file,
        offset: 0,
        what: "the manifest names this segment, but it is missing",
      });
    }
  }
}
