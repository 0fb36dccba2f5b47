/**
 * Which page ids are in use, which wait, and which may be given out.
 *
 * An epoch is a stretch of writing between two pins. A page is born in the epoch that allocates it and retired in
 * the epoch that replaces it; a pin of epoch e sees the pages born in or before e and retired after e. Pins are the
 * two metas on disk, a checkpoint under way, and the versions that readers hold.
 *
 * A retired page waits with the youngest pin that sees it. When that pin goes, the page moves to the next older pin
 * if that one sees it too, else it is free: each page moves at most once per pin, and nothing is ever searched. (ZFS
 * keeps its dead lists this way.)
 *
 * Invariants: every id from FIRST_PAGE_ID to pageCount - 1 is in exactly one of `used`, `free` and the lists of the
 * pins; an id that is free is reachable from no pin; pins ascend by epoch.
 */
import { assert } from "../base/index.ts";
import { FIRST_PAGE_ID, MAP_IDS_PER_PAGE, PAGE_ID_MAX } from "./layout.ts";
import { PageSet } from "./page-set.ts";

/** One pinned epoch and the retired pages that only it, or it and older pins, still see. */
export class Pin {
  readonly epoch: number;
  /** 0 when the pin is gone. */
  refs = 1;
  #ids = new Uint32Array(8);
  #births = new Float64Array(8);
  #length = 0;

  constructor(epoch: number) {
    this.epoch = epoch;
  }

  get heldCount(): number {
    return this.#length;
  }

  heldId(index: number): number {
    return this.#ids[index] as number;
  }

  hold(id: number, birth: number): void {
    if (this.#length === this.#ids.length) {
      const ids = new Uint32Array(this.#length * 2);
      ids.set(this.#ids);
      this.#ids = ids;
      const births = new Float64Array(this.#length * 2);
      births.set(this.#births);
      this.#births = births;
    }
    this.#ids[this.#length] = id;
    this.#births[this.#length] = birth;
    this.#length++;
  }

  /** Takes the last held page out: its id; its birth is `lastBirth` before the call. */
  takeLast(): number {
    this.#length--;
    return this.#ids[this.#length] as number;
  }

  get lastBirth(): number {
    return this.#births[this.#length - 1] as number;
  }
}

export class Freelist {
  /** Reachable from the present state: trees, overflow pages, map. */
  used: PageSet = new PageSet();
  /** May be given out now. */
  readonly free: PageSet = new PageSet();
  /** Pages of the map whose part of `used` changed since they were last written. */
  readonly changedMapPages: PageSet = new PageSet();
  /** Ids below this exist. */
  pageCount: number = FIRST_PAGE_ID;
  /** The epoch of the youngest pin: a page born after it may be changed in place. -1 without pins. */
  pinnedMax = -1;
  readonly #pins: Pin[] = [];
  readonly #onFree: (id: number) => void;

  /** `onFree` hears of each id that becomes free. */
  constructor(onFree: (id: number) => void) {
    this.#onFree = onFree;
  }

  /** How many pages wait for a pin. */
  get heldCount(): number {
    return this.pageCount - FIRST_PAGE_ID - this.used.size - this.free.size;
  }

  /** Gives out the lowest free id, so that the end of the file empties by itself. */
  allocate(): number {
    let id = this.free.next(FIRST_PAGE_ID);
    if (id < 0) {
      assert(this.pageCount < PAGE_ID_MAX, "a data file has less than 2^32 pages (16 TiB)");
      id = this.pageCount++;
    } else {
      this.free.delete(id);
    }
    this.#use(id);
    return id;
  }

  /** The page is no longer part of the present state. True when its id was freed at once. */
  retire(id: number, birth: number): boolean {
    assert(this.used.delete(id), "only a page in use is retired");
    this.changedMapPages.add(Math.floor(id / MAP_IDS_PER_PAGE));
    const youngest = this.#pins.at(-1);
    if (youngest !== undefined && birth <= youngest.epoch) {
      youngest.hold(id, birth);
      return false;
    }
    this.#free(id);
    return true;
  }

  /** At start, when the pins and what they hold are known: what is not in use either is free. */
  restore(used: PageSet, pageCount: number): void {
    this.used = used;
    this.pageCount = pageCount;
    const held = new PageSet();
    for (const pin of this.#pins) {
      for (let i = 0; i < pin.heldCount; i++) held.add(pin.heldId(i));
    }
    for (let word = 0; word * 32 < pageCount; word++) {
      // 32 ids at once: a start costs words of the map, and ids only where something is free.
      const taken = this.used.word(word) | held.word(word);
      if (taken === -1) continue;
      const end = Math.min(pageCount, (word + 1) * 32);
      for (let id = Math.max(FIRST_PAGE_ID, word * 32); id < end; id++) {
        if ((taken & (1 << (id & 31))) === 0) this.free.add(id);
      }
    }
  }

  pin(epoch: number): Pin {
    const youngest = this.#pins.at(-1);
    assert(youngest === undefined || youngest.epoch < epoch, "pins ascend by epoch");
    const pin = new Pin(epoch);
    this.#pins.push(pin);
    this.pinnedMax = epoch;
    return pin;
  }

  /** Gives one reference of `pin` back; with the last one its pages move on. */
  unpin(pin: Pin): void {
    const done = this.unpinSome(pin, Number.POSITIVE_INFINITY);
    assert(done, "without a budget a pin goes at once");
  }

  /** As `unpin`, but moves at most `budget` pages; true when done. Repeated until then, so that no turn is long. */
  unpinSome(pin: Pin, budget: number): boolean {
    if (pin.refs > 1) {
      pin.refs--;
      return true;
    }
    const at = this.#pins.lastIndexOf(pin);
    assert(at >= 0, "a pin is given back once");
    const older = this.#pins[at - 1];
    for (let moved = 0; pin.heldCount > 0; moved++) {
      if (moved >= budget) return false;
      const birth = pin.lastBirth;
      const id = pin.takeLast();
      if (older !== undefined && birth <= older.epoch) older.hold(id, birth);
      else this.#free(id);
    }
    this.#pins.splice(at, 1);
    pin.refs = 0;
    this.pinnedMax = this.#pins.at(-1)?.epoch ?? -1;
    return true;
  }

  /**
   * Forgets the free ids at the end of the file, all but `reserve` of them, and at most `budget` of them in one call; true
   * when done. Ids may be given out between two calls.
   */
  shrinkSome(reserve: number, budget: number): boolean {
    const reserved = Math.max(FIRST_PAGE_ID, this.pageCount - reserve);
    for (let id = this.pageCount - 1; id >= reserved; id--) if (!this.free.has(id)) return true;
    // With a whole reserve behind it, a free id means that the last one is not needed.
    for (let forgotten = 0; ; forgotten++) {
      const before = this.pageCount - 1 - reserve;
      if (before < FIRST_PAGE_ID || !this.free.has(before)) return true;
      if (forgotten === budget) return false;
      this.pageCount--;
      this.free.delete(this.pageCount);
    }
  }

  #use(id: number): void {
    this.used.add(id);
    this.changedMapPages.add(Math.floor(id / MAP_IDS_PER_PAGE));
  }

  #free(id: number): void {
    this.free.add(id);
    this.#onFree(id);
  }

  invariants(): void {
    this.used.invariants();
    this.free.invariants();
    const seen = new PageSet();
    const take = (id: number): void => {
      assert(id >= FIRST_PAGE_ID && id < this.pageCount, "page ids lie inside the file");
      assert(seen.add(id), "a page id is in use, waiting or free, and only one of them");
    };
    for (let id = this.used.next(0); id >= 0; id = this.used.next(id + 1)) take(id);
    for (let id = this.free.next(0); id >= 0; id = this.free.next(id + 1)) take(id);
    let epoch = -1;
    for (const pin of this.#pins) {
      assert(pin.epoch > epoch, "pins ascend by epoch");
      epoch = pin.epoch;
      for (let i = 0; i < pin.heldCount; i++) take(pin.heldId(i));
    }
    assert(epoch === this.pinnedMax, "pinnedMax is the epoch of the youngest pin");
    assert(seen.size === this.pageCount - FIRST_PAGE_ID, "no page id is forgotten");
  }
}
