/**
 * One simulated file: what the device holds, what a reader sees, and the changes in between.
 *
 * The device writes whole 512-byte sectors. Each write that is not synced remembers how its sectors looked after it,
 * so after a power loss a sector holds either its durable content or that of one later write: any one, whatever its
 * neighbours hold. Sizes go through the journal of the file system and survive as a prefix of their changes.
 *
 * Invariants: `unsynced` is in the order of performance and its parts never change, so that forks share them.
 * Applying all of it to `durable` gives `cache`, unless a failed sync or a lost write dropped a part of it.
 */
import { assert, equalBytes } from "../../base/index.ts";
import { isZero, SparseBytes } from "./sparse-bytes.ts";

export const SECTOR_BYTES = 512;

/** Stands for unsynced zeros, as a shared page does: segments are prepared in large pieces of them. */
const ZEROS: Uint8Array = new Uint8Array(1 << 20);

interface UnsyncedWrite {
  readonly kind: "write";
  readonly ordinal: number;
  readonly sector: number;
  /** Whole sectors as they stood after the write. */
  readonly bytes: Uint8Array;
  readonly sizeAfter: number;
}

interface UnsyncedTruncate {
  readonly kind: "truncate";
  readonly ordinal: number;
  readonly sizeAfter: number;
}

type Unsynced = UnsyncedWrite | UnsyncedTruncate;

/** What a power loss leaves of the changes of one file. */
export interface Survival {
  /** The size is that after this many changes; 0 keeps the durable one. Truncations before it have happened. */
  readonly sizeOps: number;
  /** Whether the device got `sector` as change number `op` (from 0) left it. The last one that it got stays. */
  readonly keeps: (op: number, sector: number) => boolean;
  /** Change number `op` got only so far before the power went: its first `bytes` bytes. */
  readonly tear?: { readonly op: number; readonly bytes: number };
}

/**
 * For one surviving size: each sector that may differ, with the changes whose content it may hold. A change that
 * leaves a sector as the device has it, or as another change leaves it, makes no outcome of its own.
 */
export interface SectorChoices {
  readonly sizeOps: number;
  readonly sectors: readonly { readonly sector: number; readonly ops: readonly number[] }[];
}

export const KEEPS_NOTHING: Survival = { sizeOps: 0, keeps: () => false };

/** Every sector of every change. */
const keepsAll = (): boolean => true;

export class Inode {
  readonly id: number;
  cache: SparseBytes;
  durable: SparseBytes;
  openHandles = 0;
  #unsynced: Unsynced[];

  constructor(
    id: number,
    cache: SparseBytes = new SparseBytes(),
    durable: SparseBytes = new SparseBytes(),
    unsynced: Unsynced[] = [],
  ) {
    this.id = id;
    this.cache = cache;
    this.durable = durable;
    this.#unsynced = unsynced;
  }

  get unsynced(): readonly Unsynced[] {
    return this.#unsynced;
  }

  /** The same file on another disk, with nobody holding it open. */
  fork(): Inode {
    return new Inode(this.id, this.cache.fork(), this.durable.fork(), this.#unsynced.slice());
  }

  write(ordinal: number, offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.cache.write(offset, bytes);
    this.#unsynced.push(this.#afterImage(ordinal, offset, bytes));
  }

  /** A write through to the device: its sectors, the size and truncations before it, and no other write. */
  writeDurably(ordinal: number, offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.cache.write(offset, bytes);
    // Whole sectors need no image of their own: they reach the device before the caller can change them.
    const whole = offset % SECTOR_BYTES === 0 && bytes.length % SECTOR_BYTES === 0;
    const write: UnsyncedWrite = whole
      ? {
          kind: "write",
          ordinal,
          sector: offset / SECTOR_BYTES,
          bytes,
          sizeAfter: this.cache.sizeBytes,
        }
      : this.#afterImage(ordinal, offset, bytes);
    if (this.#unsynced.length > 0) {
      this.#settleSizes();
      this.#unsynced = this.#unsynced.flatMap((op) =>
        withoutSectors(op, write.sector, write.sector + write.bytes.length / SECTOR_BYTES),
      );
    }
    this.#apply([write], { sizeOps: 1, keeps: keepsAll });
  }

  truncate(ordinal: number, sizeBytes: number): void {
    this.cache.truncate(sizeBytes);
    this.#unsynced.push({ kind: "truncate", ordinal, sizeAfter: sizeBytes });
  }

  /** The changes up to `ordinal` reach the device. */
  sync(ordinal: number): void {
    const ops = this.#takeUpTo(ordinal);
    if (ops.length > 0) this.#apply(ops, { sizeOps: ops.length, keeps: keepsAll });
  }

  /**
   * The changes up to `ordinal` were given up by the kernel: `survival` of them reached the device, readers still
   * see all of them, and no later sync will write the rest.
   */
  drop(ordinal: number, survival: (ops: readonly Unsynced[]) => Survival): void {
    const ops = this.#takeUpTo(ordinal);
    if (ops.length > 0) this.#apply(ops, survival(ops));
  }

  /** The device was told another place than the one meant: readers see the write, the device changes at `offset`. */
  writeElsewhere(ordinal: number, offset: number, bytes: Uint8Array, deviceOffset: number): void {
    this.cache.write(offset, bytes);
    const meant = this.#afterImage(ordinal, offset, bytes);
    this.#unsynced.push({ ...meant, sector: Math.floor(deviceOffset / SECTOR_BYTES) });
  }

  /** What the device reports as written and forgets. */
  writeNowhere(offset: number, bytes: Uint8Array): void {
    this.cache.write(offset, bytes);
  }

  /** The power fails: the device holds what `survival` says, and readers will see the same. */
  losePower(survival: Survival): void {
    this.#apply(this.#unsynced, survival);
    this.#unsynced = [];
    this.cache = this.durable.fork();
    this.openHandles = 0;
  }

  /** Changes stored bytes behind everyone's back, in cache and device alike. */
  damage(offset: number, bytes: Uint8Array): void {
    assert(offset + bytes.length <= this.cache.sizeBytes, "only bytes that exist are damaged");
    this.cache.write(offset, bytes);
    const within = Math.min(bytes.length, this.durable.sizeBytes - offset);
    if (within > 0) this.durable.write(offset, bytes.subarray(0, within));
  }

  /** Every legal outcome of a power loss, one element for each size that may survive. */
  choices(): SectorChoices[] {
    const out: SectorChoices[] = [];
    let sizeBefore = this.durable.sizeBytes;
    out.push(this.#choicesAt(0));
    for (const [i, op] of this.#unsynced.entries()) {
      if (op.sizeAfter !== sizeBefore) out.push(this.#choicesAt(i + 1));
      sizeBefore = op.sizeAfter;
    }
    return out;
  }

  invariants(): void {
    this.cache.invariants();
    this.durable.invariants();
    let ordinal = -1;
    for (const op of this.#unsynced) {
      assert(op.ordinal >= ordinal, "unsynced changes stand in the order of performance");
      ordinal = op.ordinal;
    }
    const last = this.#unsynced.at(-1);
    if (last !== undefined)
      assert(last.sizeAfter <= this.cache.sizeBytes, "no change knows a size beyond the newest");
  }

  #afterImage(ordinal: number, offset: number, bytes: Uint8Array): UnsyncedWrite {
    const start = offset - (offset % SECTOR_BYTES);
    const end = Math.ceil((offset + bytes.length) / SECTOR_BYTES) * SECTOR_BYTES;
    let image: Uint8Array;
    if (bytes.length === end - start && bytes.length <= ZEROS.length && isZero(bytes)) {
      image = ZEROS.subarray(0, bytes.length);
    } else {
      image = new Uint8Array(end - start);
      if (bytes.length === image.length) image.set(bytes);
      else this.cache.readPadded(start, image);
    }
    return {
      kind: "write",
      ordinal,
      sector: start / SECTOR_BYTES,
      bytes: image,
      sizeAfter: this.cache.sizeBytes,
    };
  }

  #takeUpTo(ordinal: number): Unsynced[] {
    let count = 0;
    while (count < this.#unsynced.length && (this.#unsynced[count] as Unsynced).ordinal <= ordinal)
      count++;
    return this.#unsynced.splice(0, count);
  }

  #sizeAfter(sizeOps: number): number {
    return sizeOps === 0
      ? this.durable.sizeBytes
      : (this.#unsynced[sizeOps - 1] as Unsynced).sizeAfter;
  }

  /** Changes the durable image by the part of `ops` that survives. */
  #apply(ops: readonly Unsynced[], survival: Survival): void {
    const device = this.durable;
    const { sizeOps, keeps, tear } = survival;
    const size = sizeOps === 0 ? device.sizeBytes : (ops[sizeOps - 1] as Unsynced).sizeAfter;
    let barrier = Number.POSITIVE_INFINITY;
    for (const [i, op] of ops.entries()) {
      if (op.kind === "truncate") {
        if (i < sizeOps) device.truncate(op.sizeAfter);
        else barrier = Math.min(barrier, Math.floor(op.sizeAfter / SECTOR_BYTES));
        continue;
      }
      let limit = i < sizeOps ? op.sizeAfter : size;
      if (tear?.op === i) limit = Math.min(limit, op.sector * SECTOR_BYTES + tear.bytes);
      // Blocks that a truncation freed are not written again before the truncation is in the journal.
      const end = Math.min(
        limit,
        barrier * SECTOR_BYTES,
        op.sector * SECTOR_BYTES + op.bytes.length,
      );
      if (keeps === keepsAll) {
        const start = op.sector * SECTOR_BYTES;
        if (start < end) device.write(start, op.bytes.subarray(0, end - start));
        continue;
      }
      // Neighbours go in one write, so that a whole page of zeros stays one.
      let from = -1;
      for (let sector = op.sector; ; sector++) {
        const offset = sector * SECTOR_BYTES;
        if (offset < end && keeps(i, sector)) {
          if (from < 0) from = offset;
          continue;
        }
        const start = op.sector * SECTOR_BYTES;
        if (from >= 0)
          device.write(from, op.bytes.subarray(from - start, Math.min(offset, end) - start));
        from = -1;
        if (offset >= end) break;
      }
    }
    if (device.sizeBytes !== size) device.truncate(size);
  }

  #choicesAt(sizeOps: number): SectorChoices {
    const size = this.#sizeAfter(sizeOps);
    const versions = new Map<number, number[]>();
    let barrier = Number.POSITIVE_INFINITY;
    for (const [i, op] of this.#unsynced.entries()) {
      if (op.kind === "truncate") {
        if (i >= sizeOps) barrier = Math.min(barrier, Math.floor(op.sizeAfter / SECTOR_BYTES));
        else
          for (const sector of versions.keys())
            if (sector * SECTOR_BYTES >= op.sizeAfter) versions.delete(sector);
        continue;
      }
      for (let sector = op.sector; sector < op.sector + op.bytes.length / SECTOR_BYTES; sector++) {
        if (sector >= barrier || sector * SECTOR_BYTES >= size) continue;
        const ops = versions.get(sector);
        if (ops === undefined) versions.set(sector, [i]);
        else ops.push(i);
      }
    }
    // Where a file was cut, what a sector becomes depends on more than the change that it holds.
    const isCut = this.#wasCut();
    const sectors: { readonly sector: number; readonly ops: readonly number[] }[] = [];
    for (const [sector, ops] of versions) {
      const distinct = isCut ? ops : this.#distinct(sector, ops, size);
      if (distinct.length > 0) sectors.push({ sector, ops: distinct });
    }
    return { sizeOps, sectors };
  }

  /** Whether a change that is not durable made the file shorter. */
  #wasCut(): boolean {
    let size = this.durable.sizeBytes;
    for (const { sizeAfter } of this.#unsynced) {
      if (sizeAfter < size) return true;
      size = sizeAfter;
    }
    return false;
  }

  /** Those of `ops` that leave `sector`, as far as the file reaches, in a way that it is not in without them. */
  #distinct(sector: number, ops: readonly number[], sizeBytes: number): number[] {
    const start = sector * SECTOR_BYTES;
    const length = Math.min(SECTOR_BYTES, sizeBytes - start);
    const durable = new Uint8Array(length);
    this.durable.readPadded(start, durable);
    const seen: Uint8Array[] = [durable];
    const out: number[] = [];
    for (const i of ops) {
      const op = this.#unsynced[i] as UnsyncedWrite;
      const from = start - op.sector * SECTOR_BYTES;
      const content = op.bytes.subarray(from, from + length);
      if (seen.some((other) => equalBytes(other, content))) continue;
      seen.push(content);
      out.push(i);
    }
    return out;
  }

  /** The journal commits: every size and truncation so far is durable, the sectors that they left are not. */
  #settleSizes(): void {
    const size = this.cache.sizeBytes;
    const kept: Unsynced[] = [];
    let cut = Number.POSITIVE_INFINITY;
    for (const op of this.#unsynced.toReversed()) {
      if (op.kind === "truncate") cut = Math.min(cut, op.sizeAfter);
      else kept.push(...withoutTail(op, cut, size));
    }
    for (const op of this.#unsynced)
      if (op.kind === "truncate") this.durable.truncate(op.sizeAfter);
    this.durable.truncate(size);
    this.#unsynced = kept.toReversed();
  }
}

/** `op` less its sectors from `from` up to but without `to`. */
function withoutSectors(op: Unsynced, from: number, to: number): Unsynced[] {
  if (op.kind === "truncate") return [op];
  const end = op.sector + op.bytes.length / SECTOR_BYTES;
  if (to <= op.sector || from >= end) return [op];
  const parts: Unsynced[] = [];
  if (op.sector < from)
    parts.push({ ...op, bytes: op.bytes.subarray(0, (from - op.sector) * SECTOR_BYTES) });
  if (to < end)
    parts.push({ ...op, sector: to, bytes: op.bytes.subarray((to - op.sector) * SECTOR_BYTES) });
  return parts;
}

/** `op` with zeros from byte `cut` of the file on, as a later truncation left it, and with `size` as its size. */
function withoutTail(op: UnsyncedWrite, cut: number, size: number): Unsynced[] {
  const start = op.sector * SECTOR_BYTES;
  if (cut >= start + op.bytes.length) return [{ ...op, sizeAfter: size }];
  if (cut <= start) return [];
  const bytes = op.bytes.slice(0, Math.ceil((cut - start) / SECTOR_BYTES) * SECTOR_BYTES);
  bytes.fill(0, cut - start);
  return [{ ...op, bytes, sizeAfter: size }];
}
