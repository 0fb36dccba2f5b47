/**
 * What happened at (revision, sub), in the `events` tree:
 *
 *     u8 format and type | varint previous revision | varint previous sub | user key
 *
 * The type also says what brought a deletion about, so that a watcher can tell an expiry from a client's delete.
 *
 * The previous version is the live one that the change superseded; revision 0 says that there was none, so the key
 * was created. Compaction finds through it what a change made obsolete without looking for it; a watcher finds the
 * previous value; and counting at an old revision needs nothing but the type and whether there was one.
 */
import { assert, ByteReader, type ByteWriter, EMPTY_BYTES } from "../base/index.ts";

const FORMAT_AND_PUT = 0x10;
const FORMAT_AND_DELETE = 0x11;
const FORMAT_AND_EXPIRY = 0x12;
const FORMAT_AND_LEASE_END = 0x13;

/** Why a key went: somebody deleted it, its own deadline passed, or its lease ended. */
export type DeleteCause = "client" | "expired" | "lease";

const TYPE_OF_CAUSE: Readonly<Record<DeleteCause, number>> = {
  client: FORMAT_AND_DELETE,
  expired: FORMAT_AND_EXPIRY,
  lease: FORMAT_AND_LEASE_END,
};

export function writeEvent(
  out: ByteWriter,
  /** Null: the key was put. */
  deleted: DeleteCause | null,
  previousRevision: number,
  previousSub: number,
  key: Uint8Array,
): void {
  assert(deleted === null || previousRevision > 0, "only a live key is deleted");
  out.u8(deleted === null ? FORMAT_AND_PUT : TYPE_OF_CAUSE[deleted]);
  out.varint(previousRevision);
  out.varint(previousSub);
  out.bytes(key);
}

/** Reads events without an object for each. `key` is a view of the bytes read last. */
export class EventView {
  readonly #reader = new ByteReader();
  isDelete = false;
  /** Of a deletion. */
  cause: DeleteCause = "client";
  previousRevision = 0;
  previousSub = 0;
  key: Uint8Array = EMPTY_BYTES;

  read(bytes: Uint8Array): this {
    const reader = this.#reader;
    reader.reset(bytes);
    const type = reader.u8();
    assert(
      type >= FORMAT_AND_PUT && type <= FORMAT_AND_LEASE_END,
      "an event of a known format and type",
    );
    this.isDelete = type !== FORMAT_AND_PUT;
    this.cause =
      type === FORMAT_AND_EXPIRY ? "expired" : type === FORMAT_AND_LEASE_END ? "lease" : "client";
    this.previousRevision = reader.varint();
    this.previousSub = reader.varint();
    this.key = reader.bytes(reader.remaining);
    assert(reader.isAtEnd && this.key.length > 0, "an event names a key");
    return this;
  }
}
