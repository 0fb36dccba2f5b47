/**
 * The engine on a data file: the trees of the present state, versions, and checkpoints.
 *
 * Which pages may be overwritten is decided by pins: one for each meta on disk, one for a checkpoint under way, one
 * for each version. Invariants of a checkpoint (fault-rules D9, D19, D20):
 * - no meta is written before all pages that it reaches are synced;
 * - it replaces the older meta, so the newer one stays whole until the new one is synced;
 * - no page that a meta on disk reaches is written until that meta has been replaced and the replacement synced;
 * - a place that holds no whole meta is wiped before any page is written: what an earlier process wrote of a meta could
 *   be completed by a write that is torn again, and would name pages that have been given to others since;
 * - after a failed write or sync the old checkpoint is in force. When the disk was full, everything that was not
 *   proven durable is written again by the next call; after any other failure there is no next call.
 */
import { assert, assertSafe, crc32c, EMPTY_BYTES, HarmonyError } from "../base/index.ts";
import {
  closeFile,
  type File,
  FileError,
  type Files,
  type Io,
  syncFile,
  truncateFile,
  writeFile,
} from "../env/index.ts";
import { breathe, writePages } from "./checkpoint.ts";
import {
  type CheckpointMeta,
  type Engine,
  type EngineStats,
  PAYLOAD_SIZE_MAX,
  type ReadTree,
  type Tree,
  TREE_SLOTS,
  type TreeId,
  type Version,
} from "./engine.ts";
import type { Pin } from "./freelist.ts";
import { TreeWalk } from "./invariants.ts";
import { FIRST_PAGE_ID, PAGE_SIZE } from "./layout.ts";
import { checkpointOf, encodeMeta, type Meta, type MetaTree, type Pointer } from "./meta.ts";
import { type Found, type OpenedFile, openDataFile } from "./open.ts";
import { PageSet } from "./page-set.ts";
import { Pager } from "./pager.ts";
import { type Root, TreeReader } from "./reader.ts";
import { SpaceMap } from "./space-map.ts";
import { LiveTree } from "./tree.ts";

/** How many retired pages are freed, and how many free ones at the end of the file forgotten, between two I/O steps. */
const FREED_PER_TURN = 8192;
/** Free pages that stay at the end of a file, so that a checkpoint of deletes finds room on a full disk. */
const RESERVE_MIN = 64;
const RESERVE_MAX = 4096;
/** Pages are moved down when so many in the file are free, and a quarter of it. */
const MOVE_FREE_MIN = 256;
/** How many leaves one checkpoint looks at for that, and how many of them between two I/O steps. */
const MOVE_LEAVES = 1024;
const MOVE_LEAVES_PER_TURN = 32;
/** The C library gives what is as large as this back to the system at once, whatever was freed before it. */
const SLAB_SIZE_BYTES: number = 32 * 1024 * 1024;
/** Places in memory that stay free: one for so many pages, and at least so many, or as many as a slab has. */
const SPARE_SLOTS_SHIFT = 6;
const SPARE_SLOTS_MIN = 1024;
/** Of the pages of a slab, how many change their place in memory between two I/O steps: a part in sixteen. */
const MOVED_SHIFT = 4;

export interface BTreeOptions {
  /** Whose file it is: cluster, member and group, at most 32 bytes. A file with another identity is refused. */
  readonly fileId: Uint8Array;
  /** Memory is taken in pieces of this size, a power of two of pages. Default 32 MiB; simulators take less. */
  readonly slabSizeBytes?: number;
  /** "no": a missing file is an error (FileError ENOENT). Default "if-missing". */
  readonly create?: "no" | "if-missing";
}

/** A `BTreeEngine` and what opening it found. */
export interface BTreeOpened extends Omit<
  OpenedFile,
  "file" | "fileSizeBytes" | "newest" | "older"
> {
  readonly engine: BTreeEngine;
}

/** The youngest pin and the roots at its time: what the versions of an unchanged state share. */
interface Pinned {
  readonly pin: Pin;
  readonly roots: readonly MetaTree[];
}

/** A checkpoint under way. */
interface Captured extends Pinned {
  readonly dirty: PageSet;
  readonly map: readonly Pointer[];
  readonly pageCount: number;
}

/** A meta on disk and the pin that keeps its pages. */
interface Durable {
  readonly meta: Meta;
  readonly pin: Pin;
}

export class BTreeEngine implements Engine {
  readonly #file: File;
  readonly #pager: Pager;
  readonly #map: SpaceMap = new SpaceMap();
  readonly #roots: readonly Root[];
  readonly #trees: readonly LiveTree[];
  #newest: Durable;
  #older: Durable | null = null;
  /** Checkpoints whose meta may or may not have reached the disk: their pages stay until its place is overwritten. */
  #doubtful: readonly Pin[] = [];
  #latest: Pinned | null = null;
  /** Where moving pages down goes on: a tree and a key in it. */
  #moveTree = 0;
  #moveFrom: Uint8Array = EMPTY_BYTES;
  #checkpointing = false;
  #failure: unknown = null;
  /** The last checkpoint found no room for its pages: the next one uses the lowest places there are. */
  #isShortOfRoom = false;
  #fileSizeBytes: number;
  /** The place of the next meta holds something that is none. */
  #hasTornMeta: boolean;

  private constructor(opened: OpenedFile, slabSizeBytes: number) {
    const { newest, older } = opened;
    this.#file = opened.file;
    this.#fileSizeBytes = opened.fileSizeBytes;
    this.#hasTornMeta = opened.usedOlderMeta;
    const pager = new Pager(opened.file, crc32c(newest.meta.fileId), slabSizeBytes);
    this.#pager = pager;
    if (older !== null) this.#older = this.#restoreOlder(older, newest);
    this.#newest = { meta: newest.meta, pin: pager.freelist.pin(newest.meta.epoch) };
    const pageCount = Math.max(newest.meta.pageCount, older?.meta.pageCount ?? 0);
    pager.freelist.restore(newest.map.used, pageCount);
    pager.reserveIds(pageCount);
    pager.durableEpoch = newest.meta.epoch;
    pager.epoch = newest.meta.epoch + 1;
    this.#map.restore(newest.map);
    this.#roots = newest.meta.trees.map(({ id, crc, level, count }) => ({
      id,
      crc,
      level,
      count,
      changes: 0,
    }));
    this.#trees = this.#roots.map((root) => new LiveTree(pager, root));
  }

  /** The pages that only the older meta reaches wait until it is replaced. */
  #restoreOlder(older: Found, newest: Found): Durable {
    const pin = this.#pager.freelist.pin(older.meta.epoch);
    for (let word = 0; word * 32 < older.meta.pageCount; word++) {
      let bits = older.map.used.word(word) & ~newest.map.used.word(word);
      for (; bits !== 0; bits &= bits - 1) {
        pin.hold(word * 32 + 31 - Math.clz32(bits & -bits), 0);
      }
    }
    return { meta: older.meta, pin };
  }

  /**
   * Opens the data file at `path`, which is made when it is missing. Reads the metas and the maps of pages in use;
   * everything else is read and verified when it is needed.
   *
   * Throws CorruptionError when no checkpoint can be proven whole, HarmonyError NEWER_FORMAT or WRONG_CLUSTER,
   * FileError.
   */
  static *open(files: Files, path: string, options: BTreeOptions): Io<BTreeOpened> {
    const create = options.create ?? "if-missing";
    const opened = yield* openDataFile(files, path, options.fileId, create);
    const { created, usedOlderMeta, damage } = opened;
    const engine = new BTreeEngine(opened, options.slabSizeBytes ?? SLAB_SIZE_BYTES);
    return { engine, created, usedOlderMeta, damage };
  }

  tree(id: TreeId): Tree {
    const tree = this.#trees[id];
    assert(tree !== undefined, "a tree id is a slot of the meta");
    return tree;
  }

  pin(): Version {
    const pager = this.#pager;
    pager.assertUsable();
    if (this.#latest !== null && !pager.touched && this.#latest.pin.refs > 0) {
      this.#latest.pin.refs++;
    } else {
      this.#latest = this.#endEpoch();
    }
    return new PinnedVersion(pager, this.#latest);
  }

  /** Pins the present state; what changes from now on is copied first. */
  #endEpoch(): Pinned {
    const pager = this.#pager;
    const pin = pager.freelist.pin(pager.epoch);
    pager.epoch++;
    pager.touched = false;
    const roots = this.#roots.map(({ id, crc, level, count }) => ({ id, crc, level, count }));
    return { pin, roots };
  }

  get stats(): EngineStats {
    const { freelist, dirty } = this.#pager;
    const durable = [this.#newest.pin, ...this.#doubtful];
    if (this.#older !== null) durable.push(this.#older.pin);
    const held = durable.reduce((sum, { heldCount }) => sum + heldCount, 0);
    return {
      bytesInUse: (freelist.used.size + FIRST_PAGE_ID) * PAGE_SIZE,
      bytesTotal: this.#fileSizeBytes,
      dirtyBytes: dirty.size * PAGE_SIZE,
      pinnedBytes: (freelist.heldCount - held) * PAGE_SIZE,
      memoryBytes: this.#pager.memoryBytes,
    };
  }

  get checkpoints(): {
    readonly newest: CheckpointMeta | null;
    readonly older: CheckpointMeta | null;
  } {
    return {
      newest: checkpointOf(this.#newest.meta),
      older: this.#older === null ? null : checkpointOf(this.#older.meta),
    };
  }

  *checkpoint(meta: CheckpointMeta): Io<void> {
    const pager = this.#pager;
    pager.assertUsable();
    assert(!this.#checkpointing, "one checkpoint at a time");
    assertCheckpoint(meta, this.#newest.meta.checkpoint);
    if (this.#failure !== null) {
      const what = `${this.#file.path}: an earlier checkpoint failed`;
      throw new HarmonyError("STOPPED", what, { cause: this.#failure });
    }
    this.#checkpointing = true;
    pager.beginWriting();
    try {
      yield* this.#writeCheckpoint({ ...meta, payload: meta.payload.slice() });
    } catch (error) {
      if (!(error instanceof FileError && error.isFull)) this.#failure = error;
      throw error;
    } finally {
      pager.endWriting();
      this.#checkpointing = false;
    }
  }

  *#writeCheckpoint(checkpoint: CheckpointMeta): Io<void> {
    const file = this.#file;
    if (this.#isShortOfRoom) this.#moveDirtyDown();
    const wipe = this.#hasTornMeta;
    // In the call itself: the state and the applied index in `checkpoint` belong together (fault-rules D20).
    const captured = this.#capture();
    const end = (captured.dirty.highest + 1) * PAGE_SIZE;
    this.#fileSizeBytes = Math.max(this.#fileSizeBytes, end);
    try {
      if (wipe) yield* this.#wipeTornMeta();
      yield* writePages(file, this.#pager, captured.dirty);
      yield* syncFile(file);
    } catch (error) {
      if (error instanceof FileError && error.isFull) {
        this.#isShortOfRoom = true;
        this.#takeBack(captured);
      }
      throw error;
    }
    this.#isShortOfRoom = false;
    const meta = this.#describe(captured, checkpoint);
    try {
      yield* writeFile(file, (meta.number % 2) * PAGE_SIZE, encodeMeta(meta));
      yield* syncFile(file);
    } catch (error) {
      // All its pages are durable and its meta may be: they stay as they are until the place is written again.
      this.#doubtful = [...this.#doubtful, captured.pin];
      throw error;
    }
    yield* this.#succeed({ meta, pin: captured.pin });
    yield* this.#returnTail(captured.dirty.size);
    yield* this.#moveDown();
    yield* this.#returnMemory();
  }

  *#wipeTornMeta(): Io<void> {
    const place = (this.#newest.meta.number + 1) % 2;
    yield* writeFile(this.#file, place * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
    yield* syncFile(this.#file);
    this.#hasTornMeta = false;
  }

  /**
   * Where much of the file is free, moves pages from its end into free places before it, a part of the trees with each
   * checkpoint, so that the end can be given back after the next ones. Costs nothing otherwise.
   */
  *#moveDown(): Io<void> {
    const pager = this.#pager;
    const { freelist } = pager;
    const free = freelist.free.size;
    if (free < MOVE_FREE_MIN || free * 4 < freelist.pageCount) return;
    const limit = freelist.pageCount - Math.floor(free / 2);
    this.#map.relocate(pager, limit);
    let ends = 0;
    for (let leaves = 1; leaves <= MOVE_LEAVES && ends <= TREE_SLOTS; leaves++) {
      const place = freelist.free.next(0);
      if (place < 0 || place >= limit) return;
      const next = (this.#trees[this.#moveTree] as LiveTree).relocate(this.#moveFrom, limit);
      this.#moveFrom = next ?? EMPTY_BYTES;
      if (next === undefined) {
        this.#moveTree = (this.#moveTree + 1) % TREE_SLOTS;
        ends++;
      }
      if (leaves % MOVE_LEAVES_PER_TURN === 0) yield* breathe(this.#file);
    }
  }

  /**
   * On a full disk only the places count that the file already has, and those are the lowest ones. Changed pages that
   * were given a place beyond them, when much was changed, move down once others have become free (fault-rules D11).
   * Bounded, for it belongs to the turn of the capture; what is left is moved by the next attempt.
   */
  #moveDirtyDown(): void {
    const pager = this.#pager;
    const { free } = pager.freelist;
    // As many of the lowest free places as there are changed pages: nothing has to stand behind them.
    let limit = 0;
    for (let i = 0; i < pager.dirty.size; i++) {
      const place = free.next(limit);
      if (place < 0) break;
      limit = place + 1;
    }
    if (pager.dirty.highest < limit || limit === 0) return;
    // Pinned, so that a change copies every page, each of them once.
    const pinned = this.#endEpoch();
    this.#latest = pinned;
    this.#map.relocate(pager, limit);
    let left = MOVE_LEAVES;
    for (const tree of this.#trees) {
      if (left <= 0) break;
      for (const from of tree.changedParts(left)) {
        const place = free.next(0);
        if (place < 0 || place >= limit) break;
        tree.relocate(from, limit);
        left--;
      }
    }
    pager.freelist.unpin(pinned.pin);
  }

  /** Ends the epoch and takes what belongs to it. From here on writes belong to the next checkpoint. */
  #capture(): Captured {
    const pager = this.#pager;
    this.#map.renew(pager);
    const pinned = this.#endEpoch();
    this.#latest = pinned;
    const { dirty } = pager;
    pager.dirty = new PageSet();
    const pageCount = Math.max(FIRST_PAGE_ID, pager.freelist.used.highest + 1);
    return { ...pinned, dirty, map: [...this.#map.lists], pageCount };
  }

  /** Nothing of the capture counts as written: what is still in use is dirty again. */
  #takeBack({ pin, dirty }: Captured): void {
    const pager = this.#pager;
    for (let id = dirty.next(0); id >= 0; id = dirty.next(id + 1)) {
      if (pager.freelist.used.has(id)) pager.dirty.add(id);
    }
    pager.freelist.unpin(pin);
  }

  #describe({ pin, roots, map, pageCount }: Captured, checkpoint: CheckpointMeta): Meta {
    const pager = this.#pager;
    return {
      number: this.#newest.meta.number + 1,
      fileId: this.#newest.meta.fileId,
      epoch: pin.epoch,
      pageCount,
      checkpoint,
      // A root that was written just now has another CRC than it had at the capture.
      trees: roots.map((root) => ({
        ...root,
        crc: root.id === 0 ? root.crc : pager.crcNow(root.id, root.crc),
      })),
      map,
    };
  }

  /** The new meta is durable, in the place of the older one: whatever only that one reached is free. */
  *#succeed(durable: Durable): Io<void> {
    const gone = [...this.#doubtful];
    if (this.#older !== null) gone.push(this.#older.pin);
    this.#doubtful = [];
    this.#older = this.#newest;
    this.#newest = durable;
    this.#pager.durableEpoch = durable.pin.epoch;
    for (const pin of gone) {
      while (!this.#pager.freelist.unpinSome(pin, FREED_PER_TURN)) yield* breathe(this.#file);
    }
  }

  /** Gives the free end of the file back to the file system, all but a reserve. */
  *#returnTail(written: number): Io<void> {
    const { freelist } = this.#pager;
    const reserve = Math.min(RESERVE_MAX, Math.max(RESERVE_MIN, written));
    while (!freelist.shrinkSome(reserve, FREED_PER_TURN)) yield* breathe(this.#file);
    const sizeBytes = freelist.pageCount * PAGE_SIZE;
    if (this.#fileSizeBytes <= sizeBytes) return;
    try {
      yield* truncateFile(this.#file, sizeBytes);
      this.#fileSizeBytes = sizeBytes;
    } catch (error) {
      // The checkpoint is complete; a file system that needs room to give room back is asked again next time.
      if (!(error instanceof FileError && error.isFull)) throw error;
    }
  }

  /**
   * While a checkpoint is written, pages that change before their turn have two places in memory. What was not needed
   * since the checkpoint before is given back, and some of it kept for the next pages.
   */
  *#returnMemory(): Io<void> {
    const pager = this.#pager;
    const needed = pager.takePeak() - pager.inMemory;
    const slabPages = pager.slabMask + 1;
    const least = Math.min(slabPages, SPARE_SLOTS_MIN);
    const spare = Math.max(needed, least, pager.inMemory >>> SPARE_SLOTS_SHIFT);
    const budget = Math.max(1, slabPages >>> MOVED_SHIFT);
    while (pager.releaseSlab(spare, budget) !== "kept") {
      // Whoever still had a place in a tree has to look for it again.
      for (const root of this.#roots) root.changes++;
      yield* breathe(this.#file);
    }
  }

  *close(): Io<void> {
    assert(!this.#checkpointing, "a checkpoint ends before the engine is closed");
    this.#pager.closed = true;
    yield* closeFile(this.#file);
  }

  invariants(): void {
    const pager = this.#pager;
    pager.assertUsable();
    pager.invariants();
    const walk = new TreeWalk(pager, {
      evict: false,
      onProblem: (error) => {
        throw error;
      },
    });
    for (const root of this.#roots) walk.tree(root);
    for (const id of this.#map.pages()) {
      assert(walk.reached.add(id), "a page is in one place");
    }
    const { used } = pager.freelist;
    for (let id = used.next(0); id >= 0; id = used.next(id + 1)) {
      assert(walk.reached.has(id), "every page in use is reached");
    }
    assert(walk.reached.size === used.size, "every page that is reached is in use");
  }
}

function assertCheckpoint(meta: CheckpointMeta, before: CheckpointMeta): void {
  assertSafe(meta.appliedIndex, "appliedIndex");
  assertSafe(meta.appliedTerm, "appliedTerm");
  assertSafe(meta.walLsn, "walLsn");
  assert(meta.payload.length <= PAYLOAD_SIZE_MAX, "a payload has at most PAYLOAD_SIZE_MAX bytes");
  assert(meta.appliedIndex >= before.appliedIndex, "checkpoints go forward");
}

class PinnedVersion implements Version {
  readonly #pager: Pager;
  readonly #pinned: Pinned;
  /** Own copies, so that a release is noticed by the cursors of this version and of no other. */
  readonly #roots: (Root | undefined)[] = [];
  #released = false;

  constructor(pager: Pager, pinned: Pinned) {
    this.#pager = pager;
    this.#pinned = pinned;
    pager.versions++;
  }

  tree(id: TreeId): ReadTree {
    assert(!this.#released, "a version is read before its release");
    let root = this.#roots[id];
    if (root === undefined) {
      const pinned = this.#pinned.roots[id];
      assert(pinned !== undefined, "a tree id is a slot of the meta");
      root = { ...pinned, changes: 0 };
      this.#roots[id] = root;
    }
    return new TreeReader(this.#pager, root);
  }

  release(): void {
    assert(!this.#released, "a version is released once");
    this.#released = true;
    for (const root of this.#roots) if (root !== undefined) root.changes = -1;
    this.#pager.versions--;
    this.#pager.freelist.unpin(this.#pinned.pin);
  }
}
