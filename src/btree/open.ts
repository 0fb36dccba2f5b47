/**
 * From a path to an open data file whose checkpoint is known to be whole, or to the reason why not (fault-rules D18).
 */
import { assert, CorruptionError, crc32c, type Damage, HarmonyError } from "../base/index.ts";
import {
  closeFile,
  type File,
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
} from "../env/index.ts";
import { FIRST_PAGE_ID, PAGE_SIZE } from "./layout.ts";
import {
  decodeMeta,
  encodeMeta,
  FILE_ID_SIZE_MAX,
  firstMeta,
  type Meta,
  type MetaFound,
} from "./meta.ts";
import { type MapFound, readMap } from "./space-map.ts";

/** A checkpoint in the file. */
export interface Found {
  readonly meta: Meta;
  readonly map: MapFound;
}

export interface OpenedFile {
  readonly file: File;
  readonly fileSizeBytes: number;
  /** The file was missing and has been made. */
  readonly created: boolean;
  readonly newest: Found;
  /** The checkpoint before it, when it is whole too. */
  readonly older: Found | null;
  /**
   * Only one meta checks out. Either a checkpoint was cut off while it wrote the other one, or the newest one is
   * damaged: the caller makes sure that the WAL holds every entry after the newest checkpoint that was found, else
   * data is lost.
   */
  readonly usedOlderMeta: boolean;
  /** What does not check out and is not needed. */
  readonly damage: readonly Damage[];
}

export function* openDataFile(
  files: Files,
  path: string,
  fileId: Uint8Array,
  create: "no" | "if-missing",
): Io<OpenedFile> {
  assert(fileId.length <= FILE_ID_SIZE_MAX, "a file id has at most 32 bytes");
  let file: File;
  let created = false;
  try {
    file = yield* openFile(files, path, { access: "readwrite" });
  } catch (error) {
    const missing = error instanceof FileError && error.code === "ENOENT";
    if (!missing || create === "no") throw error;
    yield* createFile(files, path, fileId);
    file = yield* openFile(files, path, { access: "readwrite" });
    created = true;
  }
  try {
    const page = new Uint8Array(PAGE_SIZE);
    const found = yield* findCheckpoints(file, fileId, page);
    if (!created) {
      yield* syncDirectoryOf(files, path);
      yield* renew(file, found.newest.meta, page);
    }
    return { file, created, ...found };
  } catch (error) {
    yield* closeFile(file);
    throw error;
  }
}

/**
 * Writes the newest meta again, as it is, and syncs it. A process whose sync of it failed has ended without knowing
 * whether the disk has it, and the page that is read here may be the cache's alone; the next checkpoint overwrites the
 * other meta, which may then be the only durable one (fault-rules D10). A torn write of the same bytes harms nothing
 * that was durable. The pages below the meta were synced before it was first written.
 */
function* renew(file: File, meta: Meta, page: Uint8Array): Io<void> {
  const place = meta.number % FIRST_PAGE_ID;
  yield* readFile(file, place * PAGE_SIZE, page);
  assert(decodeMeta(page, place, undefined).kind === "valid", "the newest meta is still there");
  yield* writeFile(file, place * PAGE_SIZE, page);
  yield* syncFile(file);
}

/** Makes the file complete under another name, then renames it: a crash leaves no half file at `path`. */
function* createFile(files: Files, path: string, fileId: Uint8Array): Io<void> {
  const unfinished = `${path}.new`;
  const file = yield* openFile(files, unfinished, { access: "readwrite", create: "if-missing" });
  yield* truncateFile(file, 0);
  for (let place = 0; place < FIRST_PAGE_ID; place++) {
    yield* writeFile(file, place * PAGE_SIZE, encodeMeta(firstMeta(place, fileId)));
  }
  yield* syncFile(file);
  yield* closeFile(file);
  yield* renameFile(files, unfinished, path);
  yield* syncDirectoryOf(files, path);
}

/**
 * Makes the name of a data file durable. Also of one that is found: the process that gave it the name may have ended
 * before that was durable, and the log is soon cut to the checkpoint in it. A power loss would then bring back the file
 * that it has replaced, or none (fault-rules D30).
 */
function* syncDirectoryOf(files: Files, path: string): Io<void> {
  const slash = path.lastIndexOf("/");
  yield* syncDirectory(files, slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash));
}

/** Both metas as they stand in the file. They are read through `page`, and so are those that follow. */
export function* readMetas(
  file: File,
  fileId: Uint8Array | undefined,
  page: Uint8Array,
): Io<readonly MetaFound[]> {
  const found: MetaFound[] = [];
  for (let place = 0; place < FIRST_PAGE_ID; place++) {
    const read = yield* readFile(file, place * PAGE_SIZE, page);
    found.push(decodeMeta(page.subarray(0, read), place, fileId));
  }
  return found;
}

function* findCheckpoints(
  file: File,
  fileId: Uint8Array,
  page: Uint8Array,
): Io<Omit<OpenedFile, "file" | "created">> {
  const found = yield* readMetas(file, fileId, page);
  for (const one of found) {
    if (one.kind === "newer") throw new HarmonyError("NEWER_FORMAT", `${file.path}: ${one.what}`);
  }
  const damage: Damage[] = [];
  const metas: Meta[] = [];
  for (const [place, one] of found.entries()) {
    if (one.kind === "valid") metas.push(one.meta);
    else damage.push({ file: file.path, offset: place * PAGE_SIZE, what: one.what });
  }
  metas.sort((a, b) => b.number - a.number);
  const [newestMeta, olderMeta] = metas;
  if (newestMeta === undefined) {
    for (const one of found) {
      if (one.kind === "foreign") {
        throw new HarmonyError("WRONG_CLUSTER", `${file.path}: ${one.what}`);
      }
    }
    throw new CorruptionError(damage[0] as Damage);
  }
  const fileSizeBytes = yield* fileSize(file);
  if (fileSizeBytes < newestMeta.pageCount * PAGE_SIZE) {
    const what = `the file ends here, but its checkpoint has ${newestMeta.pageCount} pages`;
    throw new CorruptionError({ file: file.path, offset: fileSizeBytes, what });
  }
  const tag = crc32c(fileId);
  const newest: Found = { meta: newestMeta, map: yield* readMap(file, newestMeta, tag, page) };
  let older: Found | null = null;
  if (olderMeta !== undefined) {
    older = yield* findOlder(file, olderMeta, newestMeta, tag, page, damage);
  }
  return { fileSizeBytes, newest, older, usedOlderMeta: olderMeta === undefined, damage };
}

/** The checkpoint before the newest. It is not needed: when it does not check out this is noted and it is null. */
function* findOlder(
  file: File,
  meta: Meta,
  newest: Meta,
  tag: number,
  page: Uint8Array,
  damage: Damage[],
): Io<Found | null> {
  const offset = (meta.number % 2) * PAGE_SIZE;
  if (meta.number + 1 !== newest.number || meta.epoch >= newest.epoch) {
    // Its pages have been given to others since: a write of the place between the two was lost.
    const what = `checkpoint ${meta.number} stands beside ${newest.number}: a lost write`;
    damage.push({ file: file.path, offset, what });
    return null;
  }
  try {
    return { meta, map: yield* readMap(file, meta, tag, page) };
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    damage.push(error.damage);
    return null;
  }
}
