/**
 * Writing the pages of a checkpoint. The set of dirty pages is the list of work: no tree is walked. Leaves go first,
 * then branches level by level, so that each branch finds the CRCs of its children when its own turn comes.
 *
 * Pages are copied into one buffer and written from there in runs of neighbours, all runs of a buffer at once. A
 * buffer of 64 pages bounds what is done between two I/O steps to a third of a millisecond.
 */
import { assert } from "../base/index.ts";
import { type File, type FileError, fileSize, type Io, writeFully } from "../env/index.ts";
import {
  cellCount,
  PAGE_SIZE,
  pageId,
  pageLevel,
  pageType,
  TYPE_BRANCH,
  TYPE_LEAF,
} from "./layout.ts";
import { cellAt, childCrc, childId, setChildCrc } from "./node.ts";
import type { PageSet } from "./page-set.ts";
import type { Pager } from "./pager.ts";

const PAGES_PER_WRITE = 64;

/** Writes every page of `dirty`, which is pinned: none of them changes, or goes before it is written. Does not sync. */
export function* writePages(file: File, pager: Pager, dirty: PageSet): Io<void> {
  const batch = new Batch(pager, Math.min(PAGES_PER_WRITE, dirty.size));
  const branches: number[][] = [];
  let skipped = 0;
  for (let id = dirty.next(0); id >= 0; id = dirty.next(id + 1)) {
    const slot = pager.slotOfLoaded(id);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const type = pageType(b, base);
    if (type === TYPE_BRANCH) {
      const level = pageLevel(b, base);
      while (branches.length < level) branches.push([]);
      (branches[level - 1] as number[]).push(id);
      if (++skipped % 1024 === 0) yield* breathe(file);
      continue;
    }
    // Overflow and map pages were sealed when they were made.
    if (type === TYPE_LEAF) pager.seal(id);
    batch.add(id);
    if (batch.isFull) yield* batch.write(file);
  }
  for (const ids of branches) {
    for (const id of ids) {
      fillChildCrcs(pager, id);
      pager.seal(id);
      batch.add(id);
      if (batch.isFull) yield* batch.write(file);
    }
  }
  yield* batch.write(file);
}

/** Lets a turn end where there is nothing to read or write. */
export function* breathe(file: File): Io<void> {
  yield* fileSize(file);
}

/** The pager knows the CRCs of children that were written or read since the branch was; of the others the cell does. */
function fillChildCrcs(pager: Pager, id: number): void {
  const slot = pager.slotOfLoaded(id);
  const b = pager.slab(slot);
  const base = pager.base(slot);
  const count = cellCount(b, base);
  for (let i = 0; i < count; i++) {
    const cell = cellAt(b, base, i);
    setChildCrc(b, cell, pager.crcNow(childId(b, cell), childCrc(b, cell)));
  }
}

/** Sealed pages on their way to the file. */
class Batch {
  readonly #pager: Pager;
  readonly #buffer: Uint8Array;
  readonly #ids: number[] = [];
  readonly #capacity: number;

  constructor(pager: Pager, capacity: number) {
    this.#pager = pager;
    this.#capacity = capacity;
    this.#buffer = new Uint8Array(capacity * PAGE_SIZE);
  }

  get isFull(): boolean {
    return this.#ids.length === this.#capacity;
  }

  add(id: number): void {
    const slot = this.#pager.slotOfLoaded(id);
    const b = this.#pager.slab(slot);
    const base = this.#pager.base(slot);
    assert(pageId(b, base) === id, "a page goes to the place that it names");
    this.#buffer.set(b.subarray(base, base + PAGE_SIZE), this.#ids.length * PAGE_SIZE);
    this.#ids.push(id);
    this.#pager.wrote(id);
  }

  /**
   * Writes all runs at the same time and waits for all of them. The first error counts, but want of room, after which
   * checkpoints go on, hides no other one.
   */
  *write(file: File): Io<void> {
    const ids = this.#ids;
    if (ids.length === 0) return;
    yield (done) => {
      let pending = 1;
      let failure: FileError | null = null;
      const finish = (error: FileError | null): void => {
        if (error !== null && (failure === null || failure.isFull)) failure = error;
        pending--;
        if (pending === 0) done(failure, undefined);
      };
      let from = 0;
      for (let i = 1; i <= ids.length; i++) {
        if (i < ids.length && ids[i] === (ids[i - 1] as number) + 1) continue;
        pending++;
        const bytes = this.#buffer.subarray(from * PAGE_SIZE, i * PAGE_SIZE);
        writeFully(file, (ids[from] as number) * PAGE_SIZE, bytes, finish);
        from = i;
      }
      finish(null);
    };
    ids.length = 0;
  }
}
