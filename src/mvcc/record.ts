/**
 * The record of one version of a key: what `keys` holds for the current version and `history` for the others.
 *
 *     u8 format (1) | u8 kind | u8 flags | varint modRevision | varint sub | varint createRevision | varint version
 *     | 8 bytes lease, if flagged | varint deadlineMs, if flagged | value to the end
 *
 * The value stands last, so that it is a view and costs nothing to skip. `sub` orders the changes of one revision; it
 * stands in the record because a version that is superseded needs it for its place in `history`.
 */
import { assert, ByteReader, type ByteWriter, EMPTY_BYTES, ownBytes } from "../base/index.ts";
import { LEASE_ID_BYTES } from "./tree-keys.ts";

const FORMAT = 1;

/** What a value is (data-model.md). A number never gets another meaning. */
export const ValueKind = { bytes: 0, lock: 1 } as const;
export type ValueKind = (typeof ValueKind)[keyof typeof ValueKind];

const KIND_LAST: number = ValueKind.lock;

const FLAG_LEASE = 1;
const FLAG_DEADLINE = 2;
const FLAG_TOMBSTONE = 4;
const FLAGS_KNOWN: number = FLAG_LEASE | FLAG_DEADLINE | FLAG_TOMBSTONE;

export interface RecordFields {
  readonly modRevision: number;
  readonly sub: number;
  readonly createRevision: number;
  readonly version: number;
  /** 8 bytes, or null. */
  readonly lease: Uint8Array | null;
  /** On the group's clock. 0 means none. */
  readonly deadlineMs: number;
  readonly value: Uint8Array;
  /** Plain bytes unless it says otherwise. */
  readonly kind?: ValueKind | undefined;
}

export function writeRecord(out: ByteWriter, fields: RecordFields): void {
  const { lease, deadlineMs, value } = fields;
  assert(
    fields.version >= 1 && fields.createRevision >= 2,
    "a version of a key counts from 1, its revisions from 2",
  );
  assert(fields.modRevision >= fields.createRevision, "a key is not changed before it is created");
  out.u8(FORMAT);
  out.u8(fields.kind ?? ValueKind.bytes);
  out.u8((lease === null ? 0 : FLAG_LEASE) | (deadlineMs === 0 ? 0 : FLAG_DEADLINE));
  out.varint(fields.modRevision);
  out.varint(fields.sub);
  out.varint(fields.createRevision);
  out.varint(fields.version);
  if (lease !== null) {
    assert(lease.length === LEASE_ID_BYTES, "a lease id has 8 bytes");
    out.bytes(lease);
  }
  if (deadlineMs !== 0) out.varint(deadlineMs);
  out.bytes(value);
}

/** A tombstone says that the key was deleted by (revision, sub). It has neither version nor value. */
export function writeTombstone(out: ByteWriter, revision: number, sub: number): void {
  out.u8(FORMAT);
  out.u8(ValueKind.bytes);
  out.u8(FLAG_TOMBSTONE);
  out.varint(revision);
  out.varint(sub);
  out.varint(0);
  out.varint(0);
}

/**
 * Reads records without an object for each: `read` points the view at other bytes. Everything that it hands out is
 * good as long as those bytes are, and until the next `read`.
 */
export class RecordView implements RecordFields {
  readonly #reader = new ByteReader();
  #bytes: Uint8Array = EMPTY_BYTES;
  #flags = 0;
  #leaseAt = 0;
  #valueAt = 0;
  modRevision = 0;
  sub = 0;
  createRevision = 0;
  version = 0;
  deadlineMs = 0;

  read(bytes: Uint8Array): this {
    const reader = this.#reader;
    reader.reset(bytes, 3);
    const flags = bytes[2] ?? FLAGS_KNOWN + 1;
    assert(
      bytes[0] === FORMAT && (bytes[1] as number) <= KIND_LAST && flags <= FLAGS_KNOWN,
      "a record of a known format, kind and flags",
    );
    this.#bytes = bytes;
    this.#flags = flags;
    this.modRevision = reader.varint();
    this.sub = reader.varint();
    this.createRevision = reader.varint();
    this.version = reader.varint();
    this.#leaseAt = reader.at;
    if ((flags & FLAG_LEASE) !== 0) reader.reset(bytes, this.#leaseAt + LEASE_ID_BYTES);
    this.deadlineMs = (flags & FLAG_DEADLINE) === 0 ? 0 : reader.varint();
    this.#valueAt = reader.at;
    assert(!reader.failed, "a record is complete");
    assert(
      this.isTombstone || (this.version >= 1 && this.modRevision >= this.createRevision),
      "a record's revisions are in order",
    );
    return this;
  }

  get kind(): ValueKind {
    return this.#bytes[1] as ValueKind;
  }

  get isLock(): boolean {
    return this.#bytes[1] === ValueKind.lock;
  }

  get isTombstone(): boolean {
    return (this.#flags & FLAG_TOMBSTONE) !== 0;
  }

  get lease(): Uint8Array | null {
    return (this.#flags & FLAG_LEASE) === 0
      ? null
      : this.#bytes.subarray(this.#leaseAt, this.#leaseAt + LEASE_ID_BYTES);
  }

  get hasLease(): boolean {
    return (this.#flags & FLAG_LEASE) !== 0;
  }

  get value(): Uint8Array {
    return this.#bytes.subarray(this.#valueAt);
  }

  /** The value as a copy that belongs to the caller. */
  copyOfValue(): Uint8Array {
    return ownBytes(this.#bytes, this.#valueAt);
  }
}
