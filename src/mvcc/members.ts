/**
 * Who belongs to the cluster, as part of the state that is replicated (architecture section 8): every replica finds the
 * same members in its `meta` tree after the same entry, in a snapshot as in a checkpoint.
 *
 *     member    "member/" and the id    u8 format | u8 flags | name | peer URLs | client URLs
 *     removed   "removed/" and the id   nothing
 *
 * Ids are eight bytes, big endian; text stands behind its length, a list behind its count.
 *
 * Invariants: an id is a member or was removed, never both; a removed id never comes back (fault-rules R12).
 */
import {
  assert,
  ByteReader,
  ByteWriter,
  EMPTY_BYTES,
  readU64BigEndian,
  text,
  utf8,
  writeU64BigEndian,
} from "../base/index.ts";
import type { Engine, Tree } from "../btree/index.ts";
import { Effect, type StateHash } from "./state-hash.ts";
import { Trees } from "./trees.ts";

const FORMAT = 1;
const FLAG_LEARNER = 1;
const MEMBER: Uint8Array = utf8("member/");
const REMOVED: Uint8Array = utf8("removed/");
const ID_BYTES = 8;

export interface MemberRecord {
  readonly id: number;
  /** Empty until it has started for the first time. */
  readonly name: string;
  /** Where it listens for other members. */
  readonly peerUrls: readonly string[];
  /** Empty until it has said them. */
  readonly clientUrls: readonly string[];
  /** It gets everything and has no vote. */
  readonly isLearner: boolean;
}

export class Members {
  readonly #tree: Tree;
  readonly #hash: StateHash;
  readonly #members = new Map<number, MemberRecord>();
  readonly #removed = new Set<number>();
  #changes = 0;

  constructor(engine: Engine, hash: StateHash) {
    this.#tree = engine.tree(Trees.meta);
    this.#hash = hash;
    const cursor = this.#tree.cursor();
    for (let isThere = cursor.seek(MEMBER); isThere; isThere = cursor.next()) {
      const id = idIn(cursor.key, MEMBER);
      if (id === null) break;
      this.#members.set(id, read(id, cursor.value));
    }
    for (let isThere = cursor.seek(REMOVED); isThere; isThere = cursor.next()) {
      const id = idIn(cursor.key, REMOVED);
      if (id === null) break;
      this.#removed.add(id);
    }
  }

  /** By id. Empty in data that is older than records of members. */
  get all(): readonly MemberRecord[] {
    return [...this.#members.values()].toSorted((a, b) => a.id - b.id);
  }

  get removed(): ReadonlySet<number> {
    return this.#removed;
  }

  /** Grows with each change in this process: another number says that there is something new to see. */
  get changes(): number {
    return this.#changes;
  }

  get(id: number): MemberRecord | undefined {
    return this.#members.get(id);
  }

  /** Adds a member, or gives one other properties. */
  put(member: MemberRecord): void {
    assert(!this.#removed.has(member.id), "a removed member does not come back");
    const key = keyOf(MEMBER, member.id);
    const bytes = encodeMember(member);
    this.#tree.put(key, bytes);
    this.#hash.mixBytes(Effect.member, key, bytes);
    this.#members.set(member.id, member);
    this.#changes++;
  }

  /** The member goes for good. */
  remove(id: number): void {
    assert(this.#members.has(id), "only a member is removed");
    this.#drop(id);
    const key = keyOf(REMOVED, id);
    this.#tree.put(key, EMPTY_BYTES);
    this.#hash.mixBytes(Effect.member, key, EMPTY_BYTES);
    this.#removed.add(id);
  }

  /** For a copy that lives on by itself, with members of its own: nobody who belonged to the other belongs to it. */
  replaceAll(members: readonly MemberRecord[]): void {
    for (const id of this.#members.keys()) this.#drop(id);
    for (const id of this.#removed) this.#tree.delete(keyOf(REMOVED, id));
    this.#removed.clear();
    for (const member of members) this.put(member);
  }

  invariants(): void {
    for (const id of this.#members.keys())
      assert(!this.#removed.has(id), "an id is a member or was removed, never both");
  }

  #drop(id: number): void {
    const key = keyOf(MEMBER, id);
    this.#tree.delete(key);
    this.#hash.mixBytes(Effect.member, key, EMPTY_BYTES);
    this.#members.delete(id);
    this.#changes++;
  }
}

/** A record without its id. */
export function encodeMember(member: MemberRecord): Uint8Array {
  const out = new ByteWriter(128);
  out.u8(FORMAT);
  out.u8(member.isLearner ? FLAG_LEARNER : 0);
  out.lengthAndBytes(utf8(member.name));
  for (const urls of [member.peerUrls, member.clientUrls]) {
    out.varint(urls.length);
    for (const url of urls) out.lengthAndBytes(utf8(url));
  }
  return out.copy();
}

/** Null for bytes that are no record of this format. */
export function decodeMember(id: number, bytes: Uint8Array): MemberRecord | null {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  const flags = reader.u8();
  const name = text(reader.lengthAndBytes());
  const peerUrls = readTexts(reader);
  const clientUrls = readTexts(reader);
  if (format !== FORMAT || flags > FLAG_LEARNER || !reader.isAtEnd) return null;
  return { id, name, peerUrls, clientUrls, isLearner: flags === FLAG_LEARNER };
}

function read(id: number, bytes: Uint8Array): MemberRecord {
  const member = decodeMember(id, bytes);
  assert(member !== null, "a member of a known format");
  return member;
}

function readTexts(reader: ByteReader): readonly string[] {
  const texts: string[] = [];
  const count = reader.varint();
  if (count > reader.remaining) reader.bytes(count);
  for (let left = count; left > 0 && !reader.failed; left--)
    texts.push(text(reader.lengthAndBytes()));
  return texts;
}

function keyOf(prefix: Uint8Array, id: number): Uint8Array {
  const key = new Uint8Array(prefix.length + ID_BYTES);
  key.set(prefix);
  writeU64BigEndian(key, prefix.length, id);
  return key;
}

/** Null for a key that does not begin with `prefix`. */
function idIn(key: Uint8Array, prefix: Uint8Array): number | null {
  if (key.length !== prefix.length + ID_BYTES) return null;
  if (!prefix.every((byte, i) => key[i] === byte)) return null;
  return readU64BigEndian(key, prefix.length);
}
