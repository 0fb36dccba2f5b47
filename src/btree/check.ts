/**
 * Checking a data file at rest, for `harmonydb check` on a stopped directory: every page that either meta reaches is
 * read and verified, and compared with the map of pages in use. Damage is listed, not thrown, and the walk goes on
 * beside it; only errors of the file itself are thrown.
 */
import { AssertionError, assert, CorruptionError, crc32c, type Damage } from "../base/index.ts";
import {
  closeFile,
  type File,
  FileError,
  type Files,
  fileSize,
  type Io,
  openFile,
} from "../env/index.ts";
import { breathe } from "./checkpoint.ts";
import type { CheckpointMeta } from "./engine.ts";
import { TreeWalk } from "./invariants.ts";
import { PAGE_SIZE } from "./layout.ts";
import { checkpointOf, type Meta } from "./meta.ts";
import { readMetas } from "./open.ts";
import type { PageSet } from "./page-set.ts";
import { Pager } from "./pager.ts";
import { readMap } from "./space-map.ts";

/** One of the two checkpoints in a file. */
export interface CheckedCheckpoint {
  /** Null in a file that has not seen one. */
  readonly checkpoint: CheckpointMeta | null;
  /** How many checkpoints the file has seen before it. */
  readonly number: number;
  /** Keys of each tree, by slot. */
  readonly counts: readonly number[];
  /** Pages that it reaches, the meta not counted. */
  readonly pages: number;
}

export interface DataFileReport {
  readonly fileSizeBytes: number;
  /** Those whose meta checks out, the newest first. */
  readonly checkpoints: readonly CheckedCheckpoint[];
  /** Empty for a sound file. A meta that was being written when the machine stopped is listed like any other damage. */
  readonly damage: readonly Damage[];
}

/** Memory for the walk: pages leave it behind the walk, so a path and its overflow lists are all that it holds. */
const SLAB_SIZE_BYTES: number = 256 * 1024;

/** Reads all of the data file at `path`, which no engine has open. Throws FileError. */
export function* checkDataFile(files: Files, path: string): Io<DataFileReport> {
  const file = yield* openFile(files, path, { access: "read" });
  try {
    return yield* checkFile(file);
  } finally {
    yield* closeFile(file);
  }
}

function* checkFile(file: File): Io<DataFileReport> {
  const damage: Damage[] = [];
  const metas: Meta[] = [];
  const fileSizeBytes = yield* fileSize(file);
  for (const [place, found] of (yield* readMetas(
    file,
    undefined,
    new Uint8Array(PAGE_SIZE),
  )).entries()) {
    if (found.kind === "valid") metas.push(found.meta);
    else damage.push({ file: file.path, offset: place * PAGE_SIZE, what: found.what });
  }
  metas.sort((a, b) => b.number - a.number);
  const checkpoints: CheckedCheckpoint[] = [];
  for (const meta of metas) {
    const pages = yield* checkCheckpoint(file, fileSizeBytes, meta, damage);
    checkpoints.push({
      checkpoint: checkpointOf(meta),
      number: meta.number,
      counts: meta.trees.map((tree) => tree.count),
      pages,
    });
  }
  return { fileSizeBytes, checkpoints, damage };
}

/** Returns how many pages the checkpoint reaches. */
function* checkCheckpoint(
  file: File,
  fileSizeBytes: number,
  meta: Meta,
  damage: Damage[],
): Io<number> {
  const note = (offset: number, what: string): void => {
    damage.push({ file: file.path, offset, what: `checkpoint ${meta.number}: ${what}` });
  };
  if (fileSizeBytes < meta.pageCount * PAGE_SIZE) {
    note(fileSizeBytes, `the file ends here, not after ${meta.pageCount} pages`);
  }
  const tag = crc32c(meta.fileId);
  const pager = new Pager(file, tag, SLAB_SIZE_BYTES);
  pager.freelist.pageCount = meta.pageCount;
  pager.reserveIds(meta.pageCount);
  pager.epoch = meta.epoch;
  pager.durableEpoch = meta.epoch;
  let unread = false;
  const walk = new TreeWalk(pager, {
    evict: true,
    onProblem: (error, id) => {
      if (error instanceof CorruptionError) {
        unread = true;
        note(error.damage.offset, error.damage.what);
      } else if (error instanceof AssertionError) {
        note(id * PAGE_SIZE, error.message);
      } else {
        throw error;
      }
    },
  });
  for (const tree of meta.trees) {
    walk.tree(tree);
    yield* breathe(file);
  }
  let used: PageSet | undefined;
  try {
    const map = yield* readMap(file, meta, tag, new Uint8Array(PAGE_SIZE));
    used = map.used;
    for (const { id } of [...map.parts, ...map.lists]) {
      if (id !== 0) assert(walk.reached.add(id), "a page of the map is in no tree");
    }
  } catch (error) {
    if (error instanceof FileError) throw error;
    if (error instanceof CorruptionError) note(error.damage.offset, error.damage.what);
    else note(0, (error as Error).message);
  }
  if (used !== undefined) compareWithMap(walk.reached, used, unread, note);
  return walk.reached.size;
}

function compareWithMap(
  reached: PageSet,
  used: PageSet,
  unread: boolean,
  note: (offset: number, what: string) => void,
): void {
  for (let id = reached.next(0); id >= 0; id = reached.next(id + 1)) {
    if (!used.has(id)) note(id * PAGE_SIZE, `page ${id} is reached but counts as free`);
  }
  // What lies behind an unreadable page is not reached, and not lost.
  if (unread) return;
  for (let id = used.next(0); id >= 0; id = used.next(id + 1)) {
    if (!reached.has(id)) note(id * PAGE_SIZE, `page ${id} counts as in use but is not reached`);
  }
}
