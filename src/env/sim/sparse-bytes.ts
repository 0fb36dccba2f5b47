/**
 * The bytes of one simulated file: 4 KiB pages, shared between copies until one of them writes. A copy costs
 * nothing until then, which is what lets a run try hundreds of crashes from the same state.
 *
 * Invariants: every byte at or past `sizeBytes` is zero. A page is changed in place only by the copy that owns it.
 */
import { assert, assertSafe } from "../../base/index.ts";

export const PAGE_BYTES = 4096;

interface Page {
  /** The copy that may write into this page; anyone else copies it first. */
  readonly owner: object | null;
  readonly bytes: Uint8Array;
}

/** Pages are cut from pieces of so many: one by one they would cost more than what is done with them. */
const PAGES_PER_PIECE = 16;
let piece: ArrayBuffer = new ArrayBuffer(PAGES_PER_PIECE * PAGE_BYTES);
let pieceUsed = 0;

/** A page of zeros. */
function newPage(): Uint8Array {
  if (pieceUsed === PAGES_PER_PIECE) {
    piece = new ArrayBuffer(PAGES_PER_PIECE * PAGE_BYTES);
    pieceUsed = 0;
  }
  return new Uint8Array(piece, pieceUsed++ * PAGE_BYTES, PAGE_BYTES);
}

/** Stands for every page that was written with zeros: prepared segments take room on the disk, not in memory. */
const ZERO_PAGE: Page = { owner: null, bytes: new Uint8Array(PAGE_BYTES) };

export class SparseBytes {
  #pages: (Page | undefined)[] = [];
  #tableShared = false;
  #owner: object = {};
  #sizeBytes = 0;
  #allocatedPages = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** What the file takes on the disk: holes are free, zeros that were written are not. */
  get allocatedBytes(): number {
    return this.#allocatedPages * PAGE_BYTES;
  }

  fork(): SparseBytes {
    const copy = new SparseBytes();
    copy.#pages = this.#pages;
    copy.#sizeBytes = this.#sizeBytes;
    copy.#allocatedPages = this.#allocatedPages;
    this.#tableShared = true;
    copy.#tableShared = true;
    this.#owner = {};
    return copy;
  }

  /** Fills `into` from `offset`; returns how many bytes the file has there. The rest of `into` is not touched. */
  read(offset: number, into: Uint8Array): number {
    const count = Math.max(0, Math.min(into.length, this.#sizeBytes - offset));
    this.#copyOut(offset, into, count);
    return count;
  }

  /** As `read`, with zeros past the end: whole sectors as the device would hold them. */
  readPadded(offset: number, into: Uint8Array): void {
    const count = this.read(offset, into);
    into.fill(0, count);
  }

  /** How many bytes more the disk needs to take this write. */
  growthOf(offset: number, sizeBytes: number): number {
    let pages = 0;
    for (
      let page = Math.floor(offset / PAGE_BYTES);
      page * PAGE_BYTES < offset + sizeBytes;
      page++
    ) {
      if (this.#pages[page] === undefined) pages++;
    }
    return pages * PAGE_BYTES;
  }

  /** Writes and grows the file as needed. */
  write(offset: number, bytes: Uint8Array): void {
    assertSafe(offset, "offset");
    if (bytes.length === 0) return;
    this.#ownTable();
    let taken = 0;
    while (taken < bytes.length) {
      const at = offset + taken;
      const index = Math.floor(at / PAGE_BYTES);
      const inPage = at - index * PAGE_BYTES;
      const count = Math.min(PAGE_BYTES - inPage, bytes.length - taken);
      const part = bytes.subarray(taken, taken + count);
      // The first byte answers for most pages that hold something.
      if (count === PAGE_BYTES && part[0] === 0 && isZero(part)) {
        if (this.#pages[index] === undefined) this.#allocatedPages++;
        this.#pages[index] = ZERO_PAGE;
      } else {
        this.#writablePage(index).set(part, inPage);
      }
      taken += count;
    }
    if (offset + bytes.length > this.#sizeBytes) this.#sizeBytes = offset + bytes.length;
  }

  /** Cuts or grows to `sizeBytes`; what it grows by reads as zeros and takes no room. */
  truncate(sizeBytes: number): void {
    assertSafe(sizeBytes, "sizeBytes");
    if (sizeBytes < this.#sizeBytes) {
      this.#ownTable();
      const kept = Math.ceil(sizeBytes / PAGE_BYTES);
      for (let index = kept; index < this.#pages.length; index++)
        if (this.#pages[index] !== undefined) this.#allocatedPages--;
      if (this.#pages.length > kept) this.#pages.length = kept;
      const inPage = sizeBytes % PAGE_BYTES;
      const last = kept - 1;
      if (inPage !== 0 && this.#pages[last] !== undefined && this.#pages[last] !== ZERO_PAGE)
        this.#writablePage(last).fill(0, inPage);
    }
    this.#sizeBytes = sizeBytes;
  }

  invariants(): void {
    let allocated = 0;
    for (const page of this.#pages) if (page !== undefined) allocated++;
    assert(allocated === this.#allocatedPages, "the count of allocated pages is exact");
    const last = this.#pages[Math.floor(this.#sizeBytes / PAGE_BYTES)];
    if (last !== undefined)
      assert(
        isZero(last.bytes.subarray(this.#sizeBytes % PAGE_BYTES)),
        "bytes past the end are zero",
      );
    assert(
      this.#pages.length <= Math.ceil(this.#sizeBytes / PAGE_BYTES),
      "no page lies past the end",
    );
  }

  #copyOut(offset: number, into: Uint8Array, count: number): void {
    let given = 0;
    while (given < count) {
      const at = offset + given;
      const index = Math.floor(at / PAGE_BYTES);
      const inPage = at - index * PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - inPage, count - given);
      const page = this.#pages[index];
      if (page === undefined) into.fill(0, given, given + length);
      else
        into.set(
          length === PAGE_BYTES ? page.bytes : page.bytes.subarray(inPage, inPage + length),
          given,
        );
      given += length;
    }
  }

  #ownTable(): void {
    if (!this.#tableShared) return;
    this.#pages = this.#pages.slice();
    this.#tableShared = false;
  }

  #writablePage(index: number): Uint8Array {
    const page = this.#pages[index];
    if (page !== undefined && page.owner === this.#owner) return page.bytes;
    if (page === undefined) this.#allocatedPages++;
    const own: Page = { owner: this.#owner, bytes: newPage() };
    if (page !== undefined && page !== ZERO_PAGE) own.bytes.set(page.bytes);
    this.#pages[index] = own;
    return own.bytes;
  }
}

export function isZero(bytes: Uint8Array): boolean {
  let at = 0;
  if (bytes.byteOffset % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
    at = words.length * 4;
  }
  for (; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}
