/**
 * The manifest: which segments are live and how far each group's checkpoints reach. A hint off the write path, which
 * can be rebuilt from the log and the data files; what it adds is that a segment which it names must exist, so a lost
 * file is seen, and that the log must reach `durableLsn` (fault-rules D21 to D24).
 *
 * It is replaced whole: written under `tmp/`, synced, renamed, both directories synced.
 */
import {
  assert,
  crc32c,
  HarmonyError,
  readU32,
  readU64,
  writeU32,
  writeU64,
} from "../base/index.ts";
import {
  closeFile,
  FileError,
  type Files,
  fileSize,
  type Io,
  openFile,
  readFile,
  renameFile,
  syncDirectory,
  syncFile,
  truncateFile,
  writeFile,
  unlinkIfThere,
} from "../env/index.ts";
import type { GroupId, LogIndex, Term } from "../raft/index.ts";
import type { GroupState, GroupTable } from "./group-state.ts";
import { type LiveSegment, segmentAt } from "./live-segment.ts";
import {
  alignUp,
  checkPreamble,
  isZero,
  MANIFEST_MAGIC,
  PREAMBLE_BYTES,
  writePreamble,
} from "./format.ts";
import { IDENTITY_BYTES, readIdentity, writeIdentity } from "./segment.ts";
import type { Lsn, WalIdentity } from "./types.ts";

export interface ManifestSegment {
  readonly sequence: number;
  readonly firstLsn: Lsn;
}

export interface ManifestGroup {
  readonly group: GroupId;
  /** The oldest segment that holds an entry of the group after its older checkpoint, and the offset of its frame there; both 0 when none does. */
  readonly segment: number;
  readonly offset: number;
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  readonly snapshotIndex: LogIndex;
  readonly snapshotTerm: Term;
  readonly commit: LogIndex;
  /** The group's log begins after this entry. */
  readonly truncatedIndex: LogIndex;
  readonly truncatedTerm: Term;
}

export interface Manifest {
  readonly identity: WalIdentity;
  /** Grows by one with each manifest. */
  readonly generation: number;
  /** The log was durable to here when this was written. */
  readonly durableLsn: Lsn;
  readonly segments: readonly ManifestSegment[];
  readonly groups: readonly ManifestGroup[];
}

const FIXED_BYTES = 96;
const SEGMENT_BYTES = 16;
const GROUP_BYTES = 80;
const BYTES_MAX = 64 * 1024 * 1024;
/** By how much a manifest may have grown before its spare is too small. */
const SPARE_BYTES = 4096;

export function encodeManifest(manifest: Manifest): Uint8Array {
  const { segments, groups } = manifest;
  const size = FIXED_BYTES + segments.length * SEGMENT_BYTES + groups.length * GROUP_BYTES + 4;
  const out = new Uint8Array(size);
  writePreamble(out, 0, MANIFEST_MAGIC);
  writeU32(out, 16, size);
  writeIdentity(out, 24, manifest.identity);
  assert(24 + IDENTITY_BYTES <= 72, "the identity ends before the generation");
  writeU64(out, 72, manifest.generation);
  writeU64(out, 80, manifest.durableLsn);
  writeU32(out, 88, segments.length);
  writeU32(out, 92, groups.length);
  let at = FIXED_BYTES;
  for (const segment of segments) {
    writeU64(out, at, segment.sequence);
    writeU64(out, at + 8, segment.firstLsn);
    at += SEGMENT_BYTES;
  }
  for (const group of groups) {
    writeU32(out, at, group.group);
    writeU64(out, at + 8, group.segment);
    writeU64(out, at + 16, group.offset);
    writeU64(out, at + 24, group.appliedIndex);
    writeU64(out, at + 32, group.appliedTerm);
    writeU64(out, at + 40, group.snapshotIndex);
    writeU64(out, at + 48, group.snapshotTerm);
    writeU64(out, at + 56, group.commit);
    writeU64(out, at + 64, group.truncatedIndex);
    writeU64(out, at + 72, group.truncatedTerm);
    at += GROUP_BYTES;
  }
  writeU32(out, at, crc32c(out, PREAMBLE_BYTES, at));
  return out;
}

/** Null when the bytes are damaged: the manifest can be rebuilt. Throws NEWER_FORMAT. */
export function decodeManifest(bytes: Uint8Array, file: string): Manifest | null {
  try {
    checkPreamble(bytes, MANIFEST_MAGIC, file);
  } catch (error) {
    if (error instanceof HarmonyError && error.code === "CORRUPT") return null;
    throw error;
  }
  const size = bytes.length;
  if (size < FIXED_BYTES + 4 || readU32(bytes, 16) !== size) return null;
  if (readU32(bytes, size - 4) !== crc32c(bytes, PREAMBLE_BYTES, size - 4)) return null;
  const identity = readIdentity(bytes, 24);
  const segmentCount = readU32(bytes, 88);
  const groupCount = readU32(bytes, 92);
  const expected = FIXED_BYTES + segmentCount * SEGMENT_BYTES + groupCount * GROUP_BYTES + 4;
  if (identity === null || size !== expected) return null;
  let at = FIXED_BYTES;
  const segments: ManifestSegment[] = [];
  for (let i = 0; i < segmentCount; i++, at += SEGMENT_BYTES) {
    segments.push({ sequence: readU64(bytes, at), firstLsn: readU64(bytes, at + 8) });
  }
  const groups: ManifestGroup[] = [];
  for (let i = 0; i < groupCount; i++, at += GROUP_BYTES) {
    groups.push({
      group: readU32(bytes, at),
      segment: readU64(bytes, at + 8),
      offset: readU64(bytes, at + 16),
      appliedIndex: readU64(bytes, at + 24),
      appliedTerm: readU64(bytes, at + 32),
      snapshotIndex: readU64(bytes, at + 40),
      snapshotTerm: readU64(bytes, at + 48),
      commit: readU64(bytes, at + 56),
      truncatedIndex: readU64(bytes, at + 64),
      truncatedTerm: readU64(bytes, at + 72),
    });
  }
  return {
    identity,
    generation: readU64(bytes, 72),
    durableLsn: readU64(bytes, 80),
    segments,
    groups,
  };
}

/** The manifest of a directory; "missing" or "damaged" when it has to be rebuilt. */
export function* readManifest(files: Files, path: string): Io<Manifest | "missing" | "damaged"> {
  let bytes: Uint8Array;
  try {
    bytes = yield* readWhole(files, path, BYTES_MAX);
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return "missing";
    throw error;
  }
  return decodeManifest(bytes, path) ?? "damaged";
}

/**
 * Replaces `<directory>/<name>` by `bytes`, whole or not at all, and durably. With `spareBytes`, leaves a file under
 * `tmp/` with so much space for the next time, if there is room for it.
 */
export function* replaceFile(
  files: Files,
  directory: string,
  name: string,
  bytes: Uint8Array,
  spareBytes = 0,
): Io<void> {
  const temporary = `${directory}/tmp/${name}`;
  // Without a spare nothing is to be there. What is there may be the live file under the name that it was made with:
  // a power loss can undo the removal of that name alone.
  if (spareBytes === 0) yield* unlinkIfThere(files, temporary);
  const file = yield* openFile(files, temporary, { access: "readwrite", create: "if-missing" });
  let isOpen = true;
  try {
    // Written before it is cut, so that a spare gives its space to it.
    yield* writeFile(file, 0, bytes);
    yield* truncateFile(file, bytes.length);
    yield* syncFile(file);
  } catch (error) {
    // A failed sync ends the node: it hears of it now, and not behind a close that waits its turn.
    isOpen = false;
    file.close(() => {});
    throw error;
  } finally {
    // Also when the log has failed elsewhere, and this goes no further.
    if (isOpen) yield* closeFile(file);
  }
  yield* renameFile(files, temporary, `${directory}/${name}`);
  yield* syncDirectory(files, directory);
  if (spareBytes > 0) yield* makeSpare(files, temporary, spareBytes);
  yield* syncDirectory(files, `${directory}/tmp`);
}

function* makeSpare(files: Files, path: string, bytes: number): Io<void> {
  try {
    const spare = yield* openFile(files, path, { access: "readwrite", create: "if-missing" });
    try {
      yield* writeFile(spare, 0, new Uint8Array(bytes));
      yield* syncFile(spare);
    } finally {
      yield* closeFile(spare);
    }
  } catch (error) {
    if (!isNoSpace(error)) throw error;
  }
}

/**
 * Whether a file under `tmp/` is what `makeSpare` leaves: nothing but zeros. After a power loss the name may lead to the
 * live manifest, which was renamed and whose old name was not durably gone: it would be written over in its place.
 */
export function* isSpare(files: Files, path: string): Io<boolean> {
  const bytes = yield* readWhole(files, path, BYTES_MAX);
  return isZero(bytes, 0, bytes.length);
}

/**
 * Replaces the manifest. It always has a spare: on a full disk the manifest must still be written, because only after
 * that segments can be removed.
 */
export function writeManifest(files: Files, directory: string, manifest: Manifest): Io<void> {
  const bytes = encodeManifest(manifest);
  return replaceFile(files, directory, "MANIFEST", bytes, alignUp(bytes.length) + SPARE_BYTES);
}

/** Errors that pass by themselves: no room on the disk, no free file handle. */
export function isNoSpace(error: unknown): boolean {
  return (
    error instanceof FileError &&
    (error.isFull || error.code === "EMFILE" || error.code === "ENFILE")
  );
}

/** The whole of a small file, but no more than `bytesMax` of it. */
export function* readWhole(files: Files, path: string, bytesMax: number): Io<Uint8Array> {
  const file = yield* openFile(files, path, { access: "read" });
  try {
    const bytes = new Uint8Array(Math.min(yield* fileSize(file), bytesMax));
    return bytes.subarray(0, yield* readFile(file, 0, bytes));
  } finally {
    yield* closeFile(file);
  }
}

/** Where a group's first entry after its older checkpoint stands; null when the log holds none. */
export function oldestNeeded(
  state: GroupState,
  segments: readonly LiveSegment[],
): { readonly segment: number; readonly offset: number } | null {
  const { log, checkpoint } = state;
  const needed = Math.max(checkpoint.olderAppliedIndex + 1, log.firstIndex());
  if (needed > log.lastIndex()) return null;
  const lsn = log.lsnOf(needed);
  const segment = segmentAt(segments, lsn);
  return { segment: segment.sequence, offset: lsn - segment.firstLsn };
}

/** What the manifest says of the present state. */
export function manifestOf(
  identity: WalIdentity,
  generation: number,
  durableLsn: Lsn,
  segments: readonly LiveSegment[],
  groups: GroupTable,
): Manifest {
  return {
    identity,
    generation,
    durableLsn,
    segments: segments.map(({ sequence, firstLsn }) => ({ sequence, firstLsn })),
    groups: groups.all().map((state) => {
      const { log, checkpoint, hardState, snapshot } = state;
      const needed = oldestNeeded(state, segments);
      const truncatedIndex = log.firstIndex() - 1;
      return {
        group: state.group,
        segment: needed?.segment ?? 0,
        offset: needed?.offset ?? 0,
        appliedIndex: checkpoint.appliedIndex,
        appliedTerm: checkpoint.appliedTerm,
        snapshotIndex: snapshot?.meta.index ?? 0,
        snapshotTerm: snapshot?.meta.term ?? 0,
        commit: hardState.commit,
        truncatedIndex,
        truncatedTerm: log.term(truncatedIndex) as Term,
      };
    }),
  };
}
