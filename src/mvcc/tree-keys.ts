/**
 * The keys inside the trees. Their byte order is the order in which the store walks, so numbers are big endian and a
 * user key that something follows is escaped:
 *
 *     history     escaped user key | 00 00 | u64 revision | u32 sub
 *     events      u64 revision | u32 sub
 *     leaseKeys   8 bytes lease id | user key
 *     deadlines   u64 clockMs | u8 kind | 8 bytes lease id, user key, or 8 bytes session
 *     sessions    00 | u64 session             01 | u64 session | u64 number
 *
 * Escaping writes each 00 of the user key as 00 FF, so that 00 00 can only be its end. The order of escaped keys is
 * the order of the keys, also where one is a prefix of the other.
 *
 * The classes here fill one buffer each and return views of it, good until the next call: trees copy what they keep.
 */
import { assert, readU64BigEndian, writeU64BigEndian } from "../base/index.ts";
import { KEY_SIZE_MAX } from "../btree/index.ts";

/** The longest user key, in bytes (data-model.md). */
export const KEY_LENGTH_MAX = 4096;

const TERMINATOR_BYTES = 2;
const VERSION_BYTES = 12;
const SUFFIX_BYTES: number = TERMINATOR_BYTES + VERSION_BYTES;
export const LEASE_ID_BYTES = 8;

// One byte more than the longest key: a bound of a range is a key with one byte appended.
const ESCAPED_LENGTH_MAX: number = 2 * (KEY_LENGTH_MAX + 1);
assert(2 * KEY_LENGTH_MAX + SUFFIX_BYTES <= KEY_SIZE_MAX, "the longest history key fits a tree");

function writeU32BigEndian(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24;
  b[at + 1] = value >>> 16;
  b[at + 2] = value >>> 8;
  b[at + 3] = value;
}

function readU32BigEndian(b: Uint8Array, at: number): number {
  return (
    (((b[at] as number) << 24) |
      ((b[at + 1] as number) << 16) |
      ((b[at + 2] as number) << 8) |
      (b[at + 3] as number)) >>>
    0
  );
}

/** Keys of the `history` tree: holds one user key, escaped, and makes the tree's keys around it. */
export class HistoryKeys {
  readonly #buffer = new Uint8Array(ESCAPED_LENGTH_MAX + SUFFIX_BYTES);
  readonly #userKey = new Uint8Array(KEY_LENGTH_MAX);
  /** Where the version goes: behind the terminator. */
  #versionAt = 0;

  /** Holds a user key. */
  hold(key: Uint8Array): this {
    const out = this.#buffer;
    let at = 0;
    if (key.indexOf(0) < 0) {
      out.set(key);
      at = key.length;
    } else {
      for (let i = 0; i < key.length; i++) {
        const byte = key[i] as number;
        out[at++] = byte;
        if (byte === 0) out[at++] = 0xff;
      }
    }
    out[at] = 0;
    out[at + 1] = 0;
    this.#versionAt = at + TERMINATOR_BYTES;
    return this;
  }

  /** Holds the user key of a key of the tree. */
  holdKeyOf(treeKey: Uint8Array): this {
    this.#versionAt = treeKey.length - VERSION_BYTES;
    this.#buffer.set(treeKey);
    return this;
  }

  /** The version of the held key that (revision, sub) made. */
  version(revision: number, sub: number): Uint8Array {
    writeU64BigEndian(this.#buffer, this.#versionAt, revision);
    writeU32BigEndian(this.#buffer, this.#versionAt + 8, sub);
    return this.#buffer.subarray(0, this.#versionAt + VERSION_BYTES);
  }

  /** Sorts before every version of the held key and of every greater key. */
  lowerBound(): Uint8Array {
    return this.#buffer.subarray(0, this.#versionAt);
  }

  /** Sorts after every version of the held key and before those of every greater key. */
  upperBound(): Uint8Array {
    const end = this.#versionAt + VERSION_BYTES;
    this.#buffer.fill(0xff, this.#versionAt, end);
    return this.#buffer.subarray(0, end);
  }

  /** Whether a key of the tree is a version of the held key. */
  isVersion(treeKey: Uint8Array): boolean {
    const end = this.#versionAt;
    if (treeKey.length !== end + VERSION_BYTES) return false;
    for (let i = 0; i < end; i++) if (treeKey[i] !== this.#buffer[i]) return false;
    return true;
  }

  /** The user key inside a key of the tree: a view of it where nothing was escaped, else of a buffer of this object. */
  userKey(treeKey: Uint8Array): Uint8Array {
    const end = treeKey.length - SUFFIX_BYTES;
    assert(end > 0, "a history key holds a user key and a version");
    if (treeKey.indexOf(0) === end) return treeKey.subarray(0, end);
    const out = this.#userKey;
    let length = 0;
    for (let i = 0; i < end; i++) {
      const byte = treeKey[i] as number;
      out[length++] = byte;
      // The FF that stands for "this 00 is part of the key".
      if (byte === 0) i++;
    }
    return out.subarray(0, length);
  }
}

export function historyRevision(treeKey: Uint8Array): number {
  return readU64BigEndian(treeKey, treeKey.length - VERSION_BYTES);
}

export function historySub(treeKey: Uint8Array): number {
  return readU32BigEndian(treeKey, treeKey.length - 4);
}

/** Keys of the `events` tree. */
export class EventKeys {
  readonly #buffer = new Uint8Array(VERSION_BYTES);

  at(revision: number, sub: number): Uint8Array {
    writeU64BigEndian(this.#buffer, 0, revision);
    writeU32BigEndian(this.#buffer, 8, sub);
    return this.#buffer;
  }
}

export function eventRevision(treeKey: Uint8Array): number {
  return readU64BigEndian(treeKey, 0);
}

export function eventSub(treeKey: Uint8Array): number {
  return readU32BigEndian(treeKey, 8);
}

/** Keys of the `leaseKeys` tree. */
export class LeaseKeyKeys {
  readonly #buffer = new Uint8Array(LEASE_ID_BYTES + KEY_LENGTH_MAX);

  of(lease: Uint8Array, key: Uint8Array): Uint8Array {
    this.#buffer.set(lease);
    this.#buffer.set(key, LEASE_ID_BYTES);
    return this.#buffer.subarray(0, LEASE_ID_BYTES + key.length);
  }
}

const DEADLINE_HEAD_BYTES: number = 8 + 1;

/** What a deadline ends. Of one moment leases end first, then keys, then sessions. */
export const DeadlineKind = { lease: 0, key: 1, session: 2 } as const;
export type DeadlineKind = (typeof DeadlineKind)[keyof typeof DeadlineKind];

/** Keys of the `deadlines` tree. */
export class DeadlineKeys {
  readonly #buffer = new Uint8Array(DEADLINE_HEAD_BYTES + KEY_LENGTH_MAX);

  of(clockMs: number, kind: DeadlineKind, id: Uint8Array): Uint8Array {
    writeU64BigEndian(this.#buffer, 0, clockMs);
    this.#buffer[8] = kind;
    this.#buffer.set(id, DEADLINE_HEAD_BYTES);
    return this.#buffer.subarray(0, DEADLINE_HEAD_BYTES + id.length);
  }
}

export function deadlineMs(treeKey: Uint8Array): number {
  return readU64BigEndian(treeKey, 0);
}

export function deadlineKind(treeKey: Uint8Array): DeadlineKind {
  const kind = treeKey[8] as number;
  assert(kind <= DeadlineKind.session, "a deadline of a known kind");
  return kind as DeadlineKind;
}

/** A view of what a key of the `deadlines` tree ends: a lease id, a user key, a session. */
export function deadlineId(treeKey: Uint8Array): Uint8Array {
  assert(treeKey.length > DEADLINE_HEAD_BYTES, "a deadline ends something");
  return treeKey.subarray(DEADLINE_HEAD_BYTES);
}

const SESSION_TAG = 0;
const RESULT_TAG = 1;
const SESSION_KEY_BYTES = 9;
const RESULT_KEY_BYTES = 17;

/** Keys of the `sessions` tree: all sessions first, so that their number is a count of the tree, then their results. */
export class SessionKeys {
  readonly #session = new Uint8Array(SESSION_KEY_BYTES);
  readonly #result = new Uint8Array(RESULT_KEY_BYTES);

  /** A view of the last 8 bytes is the session's id among the deadlines. */
  ofSession(session: number): Uint8Array {
    this.#session[0] = SESSION_TAG;
    writeU64BigEndian(this.#session, 1, session);
    return this.#session;
  }

  ofResult(session: number, number: number): Uint8Array {
    this.#result[0] = RESULT_TAG;
    writeU64BigEndian(this.#result, 1, session);
    writeU64BigEndian(this.#result, 9, number);
    return this.#result;
  }
}

/** Sorts after every session and before every result. */
export const SESSIONS_END: Uint8Array = Uint8Array.of(RESULT_TAG);

export function isSessionKey(treeKey: Uint8Array): boolean {
  return treeKey[0] === SESSION_TAG && treeKey.length === SESSION_KEY_BYTES;
}

/** The session of a key of the `sessions` tree. */
export function sessionOf(treeKey: Uint8Array): number {
  return readU64BigEndian(treeKey, 1);
}

/** The request number in the key of a result. */
export function resultNumber(treeKey: Uint8Array): number {
  return readU64BigEndian(treeKey, 9);
}

const idView = new DataView(new ArrayBuffer(LEASE_ID_BYTES));

/** A lease id as the 8 bytes that trees and commands hold: two's complement, big endian. All 64 bits count. */
export function writeLeaseId(out: Uint8Array, id: bigint): void {
  idView.setBigInt64(0, id);
  for (let i = 0; i < LEASE_ID_BYTES; i++) out[i] = idView.getUint8(i);
}

export function leaseIdBytes(id: bigint): Uint8Array {
  const out = new Uint8Array(LEASE_ID_BYTES);
  writeLeaseId(out, id);
  return out;
}

/** The id in the first 8 bytes of `bytes`, as the signed number that clients see. */
export function readLeaseId(bytes: Uint8Array): bigint {
  for (let i = 0; i < LEASE_ID_BYTES; i++) idView.setUint8(i, bytes[i] as number);
  return idView.getBigInt64(0);
}
