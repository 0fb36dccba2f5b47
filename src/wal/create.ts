/** Making the log of a new data directory. */
import { CorruptionError } from "../base/index.ts";
import {
  closeFile,
  type Env,
  FileError,
  type Io,
  listDirectory,
  makeDirectory,
  openFile,
  renameFile,
  syncDirectory,
  syncFile,
  unlinkFile,
  writeFile,
} from "../env/index.ts";
import { ColdReader } from "./cold-reader.ts";
import { EntryCache } from "./entry-cache.ts";
import { GroupTable } from "./group-state.ts";
import { newSegment } from "./live-segment.ts";
import { manifestOf, writeManifest } from "./manifest.ts";
import type { ResolvedOptions } from "./options.ts";
import type { OpenedLog } from "./recovery.ts";
import { encodeSegmentHeader, segmentHeaderBytes, segmentName } from "./segment.ts";
import { type FrameCheck, SegmentReader } from "./segment-reader.ts";
import type { WalIdentity } from "./types.ts";
import { attempt, fillZeros, initialSizeBytes, NEXT_SEGMENT } from "./zeros.ts";

/**
 * Makes the directories, the first segment and the manifest, in this order. The first segment of a creation that a crash
 * cut short is replaced, and at no moment is there none: whoever finds the rest of a creation, and no log, takes it for
 * lost. A log that holds a frame is refused (CORRUPT).
 */
export function* createLog(
  env: Env,
  options: ResolvedOptions,
  identity: WalIdentity,
): Io<Omit<OpenedLog, "recovery">> {
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
    yield* assertUnfinished(env, `${directory}/wal`, name);
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
    durableWrites: options.fsyncIntervalMs === 0,
  });
  try {
    yield* writeFile(file, 0, header);
    yield* fillZeros(file, headerBytes, initialSizeBytes(options));
    if (options.fsyncIntervalMs > 0) yield* syncFile(file);
    yield* renameFile(files, temporary, path);
    yield* syncDirectory(files, `${directory}/wal`);
    yield* syncDirectory(files, `${directory}/tmp`);
  } catch (error) {
    // A disk without room for a log should not keep half of one.
    yield* attempt(closeFile(file));
    yield* attempt(unlinkFile(files, temporary));
    throw error;
  }
  const segment = newSegment(1, 0, path, file, header);
  segment.sizeBytes = initialSizeBytes(options);

  const segments = [segment];
  const cold = new ColdReader(segments);
  const groups = new GroupTable(new EntryCache(options.cacheBytes), cold.read.bind(cold));
  const manifest = manifestOf(identity, 1, segment.endLsn, segments, groups);
  try {
    yield* writeManifest(files, directory, manifest);
  } catch (error) {
    yield* attempt(closeFile(file));
    throw error;
  }
  const tail = {
    segment,
    offset: headerBytes,
    preparedBytes: segment.sizeBytes,
    chain: segment.seed,
    full: false,
  };
  const manifestLsn = segment.endLsn;
  return { identity, segments, groups, tail, manifestGeneration: 1, manifestLsn };
}

/** Refuses everything but a first segment without a frame, as a creation that was cut short leaves it. */
function* assertUnfinished(env: Env, directory: string, name: string): Io<void> {
  const path = `${directory}/${name}`;
  if (name === segmentName(1, 0)) {
    const reader = yield* SegmentReader.open(env.files, path);
    let check: FrameCheck;
    try {
      check = yield* reader.check(reader.header.sizeBytes, reader.header.crc);
    } finally {
      yield* closeFile(reader.file);
    }
    if (!check.valid) return;
  }
  throw new CorruptionError({ file: path, offset: 0, what: "a log is here already" });
}
