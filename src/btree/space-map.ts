/**
 * The freelist on disk: for each checkpoint a bitmap of the pages that it reaches, its own pages included. After a
 * restart a page is free when neither meta's map has it, and waits for the older meta when only that one's map has
 * it; so the file is never scanned, and a list of free pages is never written as a whole.
 *
 * The map lies in pages like all others: 4032 bytes of bits (level 0) and lists of pointers to them (level 1); the
 * lists stand in the meta. A checkpoint rewrites the parts that changed. Rewriting takes and gives back pages, which
 * changes the map again: `renew` goes on until every changed part has a new page, which ends because each part gets
 * one at most once.
 */
import { assert, CorruptionError, readU32, writeU32 } from "../base/index.ts";
import { type File, type Io, readFile } from "../env/index.ts";
import {
  BODY,
  BODY_SIZE,
  cellCount,
  MAP_IDS_PER_PAGE,
  PAGE_SIZE,
  pageProblem,
  POINTER_SIZE,
  POINTERS_PER_PAGE,
  setCellCount,
  TYPE_MAP,
} from "./layout.ts";
import type { Meta, Pointer } from "./meta.ts";
import { PageSet } from "./page-set.ts";
import type { Pager } from "./pager.ts";

const NOWHERE: Pointer = { id: 0, crc: 0 };

export class SpaceMap {
  /** The page of each part of the bitmap, and of each list; id 0 where nothing is in use. */
  readonly #parts: Pointer[] = [];
  readonly #lists: Pointer[] = [];

  get lists(): readonly Pointer[] {
    return this.#lists;
  }

  /** The pages of the map itself. */
  *pages(): Iterable<number> {
    for (const { id } of this.#parts) if (id !== 0) yield id;
    for (const { id } of this.#lists) if (id !== 0) yield id;
  }

  /** The pages of the map at `limit` or behind get new places with the next `renew`. */
  relocate(pager: Pager, limit: number): void {
    for (const [part, { id }] of this.#parts.entries()) {
      const list = this.#lists[Math.floor(part / POINTERS_PER_PAGE)];
      const far = id >= limit || (list !== undefined && list.id >= limit);
      // A list is renewed with any of its parts.
      if (id !== 0 && far) pager.freelist.changedMapPages.add(part);
    }
  }

  /** At start: where the map of the newest meta lies. */
  restore(found: MapFound): void {
    this.#parts.push(...found.parts);
    this.#lists.push(...found.lists);
  }

  /** Gives every changed part a page of the present epoch and writes the present `used` into it. */
  renew(pager: Pager): void {
    const { freelist } = pager;
    const changedLists = new PageSet();
    for (let settled = false; !settled;) {
      settled = true;
      const changed = freelist.changedMapPages;
      for (let part = changed.next(0); part >= 0; part = changed.next(part + 1)) {
        if (this.#isFresh(pager, this.#parts[part])) continue;
        if (this.#replace(pager, this.#parts, part, 0, this.#hasUsed(pager, part))) settled = false;
        changedLists.add(Math.floor(part / POINTERS_PER_PAGE));
      }
      for (let list = changedLists.next(0); list >= 0; list = changedLists.next(list + 1)) {
        if (this.#isFresh(pager, this.#lists[list])) continue;
        if (this.#replace(pager, this.#lists, list, 1, this.#hasParts(list))) settled = false;
      }
    }
    const changed = freelist.changedMapPages;
    for (let part = changed.next(0); part >= 0; part = changed.next(part + 1)) {
      this.#writePart(pager, part);
    }
    for (let list = changedLists.next(0); list >= 0; list = changedLists.next(list + 1)) {
      this.#writeList(pager, list);
    }
    for (let part = changed.next(0); part >= 0; part = changed.next(part)) changed.delete(part);
  }

  #isFresh(pager: Pager, pointer: Pointer | undefined): boolean {
    return pointer !== undefined && pointer.id !== 0 && pager.birth(pointer.id) === pager.epoch;
  }

  /** Gives back the page of a part or list and takes a new one when it is `needed`. True when anything changed. */
  #replace(pager: Pager, of: Pointer[], index: number, level: number, needed: boolean): boolean {
    while (of.length <= index) of.push(NOWHERE);
    const before = (of[index] as Pointer).id;
    if (before === 0 && !needed) return false;
    if (before !== 0) pager.retire(before);
    of[index] = needed ? { id: pager.newPage(TYPE_MAP, level), crc: 0 } : NOWHERE;
    return true;
  }

  #hasUsed(pager: Pager, part: number): boolean {
    const first = pager.freelist.used.next(part * MAP_IDS_PER_PAGE);
    return first >= 0 && first < (part + 1) * MAP_IDS_PER_PAGE;
  }

  #hasParts(list: number): boolean {
    const from = list * POINTERS_PER_PAGE;
    return this.#parts.slice(from, from + POINTERS_PER_PAGE).some(({ id }) => id !== 0);
  }

  #writePart(pager: Pager, part: number): void {
    const { id } = this.#parts[part] as Pointer;
    if (id === 0) return;
    const slot = pager.slotOfLoaded(id);
    const b = pager.slab(slot);
    const at = pager.base(slot) + BODY;
    const first = (part * MAP_IDS_PER_PAGE) / 32;
    const { used } = pager.freelist;
    for (let word = 0; word < BODY_SIZE / 4; word++) {
      writeU32(b, at + word * 4, used.word(first + word));
    }
    this.#parts[part] = { id, crc: pager.seal(id) };
  }

  #writeList(pager: Pager, list: number): void {
    const { id } = this.#lists[list] as Pointer;
    if (id === 0) return;
    const slot = pager.slotOfLoaded(id);
    const b = pager.slab(slot);
    const base = pager.base(slot);
    const from = list * POINTERS_PER_PAGE;
    const parts = this.#parts.slice(from, from + POINTERS_PER_PAGE);
    for (const [i, part] of parts.entries()) {
      writeU32(b, base + BODY + i * POINTER_SIZE, part.id);
      writeU32(b, base + BODY + i * POINTER_SIZE + 4, part.crc);
    }
    setCellCount(b, base, parts.length);
    this.#lists[list] = { id, crc: pager.seal(id) };
  }
}

/** The map of a meta, read from the file. */
export interface MapFound {
  readonly used: PageSet;
  readonly parts: readonly Pointer[];
  readonly lists: readonly Pointer[];
}

/** Reads and verifies the map of `meta`, through `page`, which begins a buffer. Throws CorruptionError. */
export function* readMap(file: File, meta: Meta, tag: number, page: Uint8Array): Io<MapFound> {
  const used = new PageSet();
  const parts: Pointer[] = [];
  const words = new Int32Array(page.buffer, page.byteOffset + BODY, BODY_SIZE / 4);
  const epochMax = meta.epoch;
  for (const [listIndex, list] of meta.map.entries()) {
    if (list.id === 0) continue;
    yield* readPage(file, page, { ...list, type: TYPE_MAP, level: 1, epochMax, tag });
    const count = cellCount(page, 0);
    const from = listIndex * POINTERS_PER_PAGE;
    while (parts.length < from) parts.push(NOWHERE);
    for (let i = 0; i < count; i++) {
      const at = BODY + i * POINTER_SIZE;
      parts.push({ id: readU32(page, at), crc: readU32(page, at + 4) });
    }
    for (const [i, part] of parts.slice(from).entries()) {
      if (part.id === 0) continue;
      yield* readPage(file, page, { ...part, type: TYPE_MAP, level: 0, epochMax, tag });
      const first = ((from + i) * MAP_IDS_PER_PAGE) / 32;
      // Whether a word is zero is the same in every byte order; its bits are not.
      for (let word = 0; word < words.length; word++) {
        if (words[word] !== 0) used.addWord(first + word, readU32(page, BODY + word * 4));
      }
    }
  }
  assert(used.highest < meta.pageCount, "a checkpoint uses no page beyond its page count");
  return { used, parts, lists: meta.map };
}

function* readPage(
  file: File,
  page: Uint8Array,
  expected: Parameters<typeof pageProblem>[2],
): Io<void> {
  const offset = expected.id * PAGE_SIZE;
  const read = yield* readFile(file, offset, page);
  const problem =
    read < PAGE_SIZE
      ? `page ${expected.id} is cut off after ${read} bytes`
      : pageProblem(page, 0, expected);
  if (problem !== null) throw new CorruptionError({ file: file.path, offset, what: problem });
}
