/**
 * Pages in memory: the table from page id to its place in the slabs, pages read on first touch and verified, pages
 * made, copied and retired. A slab is some megabytes outside the JavaScript heap, so the garbage collector sees a
 * handful of buffers, however many pages there are. The first slabs are smaller, so that a small file costs little
 * memory; slots count as if they were not, which keeps the way from a slot to its page short.
 *
 * A page is addressed as (bytes, base): the slab and the offset in it. Both stay good until the page is retired.
 *
 * Invariants: a page that is not in memory is on disk as its parent knows it, or as `crcNow` says while a checkpoint
 * is being written; a page born after the last checkpoint is in `dirty` and in memory, or belongs to the checkpoint
 * being written and leaves the memory no earlier than it has gone into a write; while a reader holds a version no page
 * leaves the memory, for the reader may hold a view into it.
 */
import { assert, CorruptionError, readU32, releaseBytes } from "../base/index.ts";
import type { File } from "../env/index.ts";
import { Freelist } from "./freelist.ts";
import {
  CELL_CHILD,
  CELL_CRC,
  initPage,
  PAGE_SHIFT,
  PAGE_SIZE,
  pageCrc,
  pageEpoch,
  pageId,
  type PageExpectation,
  pageProblem,
  sealPage,
  setPageId,
  TYPE_BRANCH,
  TYPE_LEAF,
} from "./layout.ts";
import { PageSet } from "./page-set.ts";

/** Pages of the first slab; each one after it has four times as many, until a slab is whole. */
const FIRST_SLAB_PAGES = 8;
const SLAB_GROWTH_SHIFT = 2;

/** A slab that is about to go: it gives out no slots. */
interface Draining {
  readonly first: number;
  /** All slots before it are empty. */
  next: number;
  /** Of each slot from `first` on: 1 when it holds no page. */
  readonly isEmpty: Uint8Array;
}

export class Pager {
  readonly freelist: Freelist = new Freelist((id) => this.#forget(id));
  /** From page id to slot; 0 means not in memory. */
  slotOf: Uint32Array = new Uint32Array(256);
  /** From slot to the epoch in which the page was born. */
  epochOf: Float64Array = new Float64Array(64);
  readonly slabs: Uint8Array[] = [];
  /** The same bytes, for reading four at once. */
  readonly #views: DataView[] = [];
  /** Slot to slab and place in it. */
  readonly slabShift: number;
  readonly slabMask: number;
  /** The present epoch. Pages born in it belong to nobody but the writer. */
  epoch = 0;
  /** Something was changed in the present epoch: the next pin ends it. */
  touched = false;
  /** Pages of the present state that the next checkpoint has to write. */
  dirty: PageSet = new PageSet();
  /** Pages born in or before it are on disk. */
  durableEpoch = -1;
  /** How many versions are held by readers. */
  versions = 0;
  /** Of the checkpoint being written: pages that have gone into a write, whose memory it needs no more. */
  #written: PageSet = new PageSet();
  /** Of pages that left the memory while a checkpoint is being written: its branches may not know their CRCs yet. */
  #leftCrcs: Map<number, number> | null = null;
  /** Set while trees are being changed. Found set at the next call, it says that a change was cut off by an error. */
  changing = false;
  closed = false;

  readonly #file: File;
  readonly #tag: number;
  /** Slots that hold a page or are in `#freeSlots`. */
  #slotCount = 0;
  /** The next slot that was never taken. Slot 0 is none. */
  #nextSlot = 1;
  /** Where the slots of the last slab end. */
  #slotsEnd = 0;
  /** How many slabs are smaller than the rest. */
  readonly #smallSlabs: number;
  #freeSlots: Uint32Array = new Uint32Array(16);
  #freeSlotCount = 0;
  /** The last slab while its pages move to the others, in several turns. */
  #draining: Draining | null = null;
  /** The most pages that were in memory at one time since the last call of `takePeak`. */
  #peak = 0;

  constructor(file: File, tag: number, slabSizeBytes: number) {
    const pages = slabSizeBytes >>> PAGE_SHIFT;
    this.slabShift = 31 - Math.clz32(pages);
    assert(pages === 1 << this.slabShift && pages > 0, "a slab has a power of two of pages");
    this.slabMask = pages - 1;
    let small = 0;
    while (smallSlabPages(small) < pages) small++;
    this.#smallSlabs = small;
    this.#file = file;
    this.#tag = tag;
  }

  /** Refuses to go on when closed, or when an earlier change was cut off: then the trees in memory are not whole. */
  assertUsable(): void {
    assert(!this.closed, "the engine is open");
    assert(
      !this.changing,
      "an earlier change of the trees was cut off by an error; the engine must be opened again",
    );
  }

  /**
   * `bytes`, or a copy when they look like a view into a page: a change may move or give back the page that they are
   * in before they are used. The copy is good for the call if it fits into `scratch`, which a later one overwrites.
   */
  detached(bytes: Uint8Array, scratch: Uint8Array): Uint8Array {
    if (!this.#mayBeInPage(bytes)) return bytes;
    // An array of its own would cost more than what is done with it.
    if (bytes.length > scratch.length) return bytes.slice();
    scratch.set(bytes);
    return scratch.subarray(0, bytes.length);
  }

  /** Short arrays are not asked for their buffer, which would first have to be made. */
  #mayBeInPage(bytes: Uint8Array): boolean {
    if (bytes.byteOffset === 0) return false;
    const { buffer } = bytes;
    const sizeBytes = buffer.byteLength;
    if (sizeBytes === (this.slabMask + 1) << PAGE_SHIFT) return true;
    for (let i = 0; i < this.#smallSlabs; i++) {
      if (sizeBytes === smallSlabPages(i) << PAGE_SHIFT) return this.slabs[i]?.buffer === buffer;
    }
    return false;
  }

  slab(slot: number): Uint8Array {
    return this.slabs[slot >>> this.slabShift] as Uint8Array;
  }

  /** The slab as a view that reads numbers. */
  view(slot: number): DataView {
    return this.#views[slot >>> this.slabShift] as DataView;
  }

  base(slot: number): number {
    return (slot & this.slabMask) << PAGE_SHIFT;
  }

  /** The slot of a page that is in memory for sure. */
  slotOfLoaded(id: number): number {
    const slot = this.slotOf[id] as number;
    assert(slot !== 0, "the page is in memory");
    return slot;
  }

  /** The slot of a page that its parent describes; reads and verifies it when it is not in memory. */
  fetch(id: number, type: number, level: number, crc: number, epochMax: number): number {
    const slot = this.slotOf[id] as number;
    return slot !== 0 ? slot : this.#load({ id, type, level, crc, epochMax, tag: this.#tag });
  }

  /** As `fetch`, for leaves and branches. */
  fetchNode(id: number, level: number, crc: number, epochMax: number): number {
    const slot = this.slotOf[id] as number;
    if (slot !== 0) return slot;
    return this.fetch(id, level === 0 ? TYPE_LEAF : TYPE_BRANCH, level, crc, epochMax);
  }

  /** The slot of the page that a cell of the branch in `parent` leads to; it is on `level`. */
  fetchChild(parent: number, b: Uint8Array, cell: number, level: number): number {
    const id = this.view(parent).getUint32(cell + CELL_CHILD, true);
    const slot = this.slotOf[id] as number;
    if (slot !== 0) return slot;
    return this.fetchNode(id, level, readU32(b, cell + CELL_CRC), this.epochOf[parent] as number);
  }

  #load(expected: PageExpectation): number {
    assert(!this.closed, "the engine is open");
    const offset = expected.id * PAGE_SIZE;
    const damaged = (what: string): CorruptionError =>
      new CorruptionError({ file: this.#file.path, offset, what });
    if (expected.id >= this.freelist.pageCount) {
      throw damaged(`page ${expected.id} is pointed to but lies outside the file`);
    }
    const slot = this.#takeSlot();
    const b = this.slab(slot);
    const base = this.base(slot);
    try {
      const read = this.#file.readSync(offset, b.subarray(base, base + PAGE_SIZE));
      if (read < PAGE_SIZE) throw damaged(`page ${expected.id} is cut off after ${read} bytes`);
      const problem = pageProblem(b, base, expected);
      if (problem !== null) throw damaged(problem);
      assert(!this.dirty.has(expected.id), "a dirty page is in memory");
    } catch (error) {
      this.#giveSlot(slot);
      throw error;
    }
    this.epochOf[slot] = pageEpoch(b, base);
    this.slotOf[expected.id] = slot;
    return slot;
  }

  /** A new page in the present epoch, its body zeros. Returns its id. */
  newPage(type: number, level: number): number {
    const slot = this.#takeSlot();
    const id = this.#allocate(slot);
    const b = this.slab(slot);
    const base = this.base(slot);
    b.fill(0, base, base + PAGE_SIZE);
    initPage(b, base, id, type, level, this.#tag);
    return id;
  }

  /**
   * A copy of a page in the present epoch; the original is retired. Returns the id of the copy. When nobody needs the
   * original in memory, its place becomes that of the copy and no byte is moved.
   */
  copyPage(id: number): number {
    const source = this.slotOfLoaded(id);
    const birth = this.epochOf[source] as number;
    if (this.#isNeeded(id, birth)) {
      const copy = this.#allocate(this.#takeSlot());
      const slot = this.slotOf[copy] as number;
      const from = this.base(source);
      const base = this.base(slot);
      this.slab(slot).set(this.slab(source).subarray(from, from + PAGE_SIZE), base);
      setPageId(this.slab(slot), base, copy);
      this.retire(id);
      return copy;
    }
    this.#left(id, source);
    const copy = this.#allocate(source);
    setPageId(this.slab(source), this.base(source), copy);
    this.freelist.retire(id, birth);
    return copy;
  }

  /** Whether a page that the present state gives up must stay in memory: for a reader, or until it is written. */
  #isNeeded(id: number, birth: number): boolean {
    return this.versions > 0 || (birth > this.durableEpoch && !this.#written.has(id));
  }

  /** A new id for what is, or will be, in `slot`. */
  #allocate(slot: number): number {
    const id = this.freelist.allocate();
    if (id >= this.slotOf.length) {
      const grown = new Uint32Array(Math.max(id + 1, this.slotOf.length * 2));
      grown.set(this.slotOf);
      this.slotOf = grown;
    }
    this.slotOf[id] = slot;
    this.epochOf[slot] = this.epoch;
    this.dirty.add(id);
    this.touched = true;
    return id;
  }

  /** At start: the table covers the ids of the file. */
  reserveIds(pageCount: number): void {
    if (pageCount > this.slotOf.length) this.slotOf = new Uint32Array(pageCount);
  }

  /** The page is no longer part of the present state; its id is given out again when nobody can reach it. */
  retire(id: number): void {
    const slot = this.slotOf[id] as number;
    // A page that was never read came from disk: it counts as old, and waits at most one checkpoint longer.
    const birth = slot === 0 ? 0 : (this.epochOf[slot] as number);
    this.dirty.delete(id);
    if (this.freelist.retire(id, birth)) return;
    // Only checkpoints see it, and on disk: its memory is of no more use.
    if (slot !== 0 && !this.#isNeeded(id, birth)) this.#forget(id);
  }

  get memoryBytes(): number {
    let sizeBytes = 0;
    for (const { length } of this.slabs) sizeBytes += length;
    return sizeBytes;
  }

  /** How many pages are in memory. */
  get inMemory(): number {
    return this.#slotCount - this.#freeSlotCount;
  }

  /** The most pages that were in memory at one time since the last call. */
  takePeak(): number {
    const peak = this.#peak;
    this.#peak = this.inMemory;
    return peak;
  }

  /** For a walk over a whole file: the page is read again when it is needed again. */
  evict(id: number): void {
    assert(!this.dirty.has(id), "only what is on disk leaves the memory");
    this.#forget(id);
  }

  /** The epoch in which a page of the present state was born; 0 when it has not been read. */
  birth(id: number): number {
    const slot = this.slotOf[id] as number;
    return slot === 0 ? 0 : (this.epochOf[slot] as number);
  }

  /** The CRC of a page in memory as of its last `seal` or read. */
  crcOf(id: number): number {
    const slot = this.slotOfLoaded(id);
    return pageCrc(this.slab(slot), this.base(slot));
  }

  /** From now on a checkpoint is being written. */
  beginWriting(): void {
    this.#leftCrcs = new Map();
  }

  /** The page has gone into a write: where the present state has given it up already, so does the memory. */
  wrote(id: number): void {
    this.#written.add(id);
    if (this.versions === 0 && !this.freelist.used.has(id)) this.#forget(id);
  }

  /** It is written, or has failed. */
  endWriting(): void {
    this.#leftCrcs = null;
    this.#written = new PageSet();
  }

  /** The CRC of a page as of its last `seal` or read; `known` is that of its parent, which counts for one on disk. */
  crcNow(id: number, known: number): number {
    return this.slotOf[id] === 0 ? (this.#leftCrcs?.get(id) ?? known) : this.crcOf(id);
  }

  /** Finishes a page that will not change before it is written. Returns its CRC. */
  seal(id: number): number {
    const slot = this.slotOfLoaded(id);
    return sealPage(this.slab(slot), this.base(slot), this.epochOf[slot] as number);
  }

  #forget(id: number): void {
    const slot = this.slotOf[id] as number;
    if (slot === 0) return;
    this.#left(id, slot);
    this.#giveSlot(slot);
  }

  #left(id: number, slot: number): void {
    this.#leftCrcs?.set(id, pageCrc(this.slab(slot), this.base(slot)));
    this.slotOf[id] = 0;
  }

  #takeSlot(): number {
    if (this.inMemory >= this.#peak) this.#peak = this.inMemory + 1;
    if (this.#freeSlotCount === 0) this.#endDraining();
    if (this.#freeSlotCount > 0) return this.#freeSlots[--this.#freeSlotCount] as number;
    if (this.#nextSlot >= this.#slotsEnd) this.#addSlab();
    this.#slotCount++;
    const slot = this.#nextSlot++;
    if (slot >= this.epochOf.length) {
      const grown = new Float64Array(Math.max(slot + 1, this.epochOf.length * 2));
      grown.set(this.epochOf);
      this.epochOf = grown;
    }
    return slot;
  }

  /** The slots that a small slab lacks are skipped. */
  #addSlab(): void {
    const index = this.slabs.length;
    const whole = this.slabMask + 1;
    const pages = index < this.#smallSlabs ? smallSlabPages(index) : whole;
    const slab = new Uint8Array(pages << PAGE_SHIFT);
    this.slabs.push(slab);
    this.#views.push(new DataView(slab.buffer));
    this.#nextSlot = Math.max(1, index * whole);
    this.#slotsEnd = index * whole + pages;
  }

  /**
   * Gives the last slab back when its pages find room in the others and `spare` slots stay free. Moves at most `budget`
   * pages in one call: "more" says that the next one goes on. Pages move, so nobody may hold a view or a cursor.
   */
  releaseSlab(spare: number, budget: number): "gone" | "more" | "kept" {
    this.#draining ??= this.#beginDraining(spare);
    const draining = this.#draining;
    if (draining === null) return "kept";
    const { first, isEmpty } = draining;
    for (let moved = 0; draining.next < this.#nextSlot; draining.next++) {
      if (isEmpty[draining.next - first] === 1) continue;
      if (this.versions > 0 || this.#freeSlotCount === 0) {
        this.#endDraining();
        return "kept";
      }
      if (moved === budget) return "more";
      this.#movePage(draining.next, this.#freeSlots[--this.#freeSlotCount] as number);
      isEmpty[draining.next - first] = 1;
      this.#slotCount--;
      moved++;
    }
    this.#draining = null;
    this.#views.pop();
    releaseBytes(this.slabs.pop() as Uint8Array);
    this.#nextSlot = first;
    this.#slotsEnd = first;
    return "gone";
  }

  #beginDraining(spare: number): Draining | null {
    const last = this.slabs.length - 1;
    const first = last * (this.slabMask + 1);
    const isKept = this.versions > 0 || last < this.#smallSlabs;
    if (isKept || this.#freeSlotCount < spare) return null;
    const free = this.#freeSlots.subarray(0, this.#freeSlotCount);
    const isEmpty = new Uint8Array(this.#nextSlot - first);
    for (const slot of free) if (slot >= first) isEmpty[slot - first] = 1;
    const staying = free.filter((slot) => slot < first);
    const empty = free.length - staying.length;
    if (staying.length < isEmpty.length - empty + spare) return null;
    this.#slotCount -= empty;
    this.#freeSlots = staying;
    this.#freeSlotCount = staying.length;
    return { first, next: first, isEmpty };
  }

  /** The room is needed after all, or somebody reads: what is empty in the last slab is free again. */
  #endDraining(): void {
    const draining = this.#draining;
    if (draining === null) return;
    this.#draining = null;
    const { first, isEmpty } = draining;
    for (let i = 0; i < isEmpty.length; i++) {
      if (isEmpty[i] === 0) continue;
      this.#slotCount++;
      this.#giveSlot(first + i);
    }
  }

  #movePage(from: number, to: number): void {
    const source = this.slab(from);
    const at = this.base(from);
    const id = pageId(source, at);
    assert(this.slotOf[id] === from, "a slot holds the page whose id it names");
    this.slab(to).set(source.subarray(at, at + PAGE_SIZE), this.base(to));
    this.epochOf[to] = this.epochOf[from] as number;
    this.slotOf[id] = to;
  }

  #giveSlot(slot: number): void {
    const draining = this.#draining;
    if (draining !== null && slot >= draining.first) {
      draining.isEmpty[slot - draining.first] = 1;
      this.#slotCount--;
      return;
    }
    if (this.#freeSlotCount === this.#freeSlots.length) {
      const grown = new Uint32Array(Math.max(16, this.#freeSlots.length * 2));
      grown.set(this.#freeSlots);
      this.#freeSlots = grown;
    }
    this.#freeSlots[this.#freeSlotCount++] = slot;
  }

  invariants(): void {
    this.freelist.invariants();
    let inMemory = 0;
    for (let id = 0; id < this.slotOf.length; id++) {
      if (this.slotOf[id] === 0) continue;
      inMemory++;
      assert(!this.freelist.free.has(id), "a free page takes no memory");
    }
    assert(
      inMemory + this.#freeSlotCount === this.#slotCount,
      "each slot holds one page or is free",
    );
    for (let id = this.dirty.next(0); id >= 0; id = this.dirty.next(id + 1)) {
      assert(this.freelist.used.has(id), "a dirty page is in use");
      assert(this.slotOf[id] !== 0, "a dirty page is in memory");
    }
  }
}

function smallSlabPages(index: number): number {
  return FIRST_SLAB_PAGES << (index * SLAB_GROWTH_SHIFT);
}
