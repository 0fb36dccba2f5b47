/**
 * Records: the typed items inside a frame. Each has a head of twelve bytes and a body:
 *
 *     0  4  body size in bytes
 *     4  1  type
 *     5  1  flags, 0: a reader refuses others as a newer format
 *     6  2  zero
 *     8  4  group
 *
 * Checksums are the frame's: records are only read from payloads that matched theirs, so what does not parse here was
 * written wrongly, and is refused like damage. Type 1 is retired: the segment header is the log's metadata.
 */
import {
  assert,
  CorruptionError,
  HarmonyError,
  readU16,
  readU32,
  readU64,
  text,
  utf8,
  writeU16,
  writeU32,
  writeU64,
} from "../base/index.ts";
import {
  type Entry,
  type EntryType,
  EntryType as Types,
  type GroupId,
  type HardState,
  type LogIndex,
  type Term,
} from "../raft/index.ts";
import type { SnapshotRecord } from "./types.ts";

export const RecordType: {
  readonly entries: 2;
  readonly hardState: 3;
  readonly snapshot: 4;
  readonly truncated: 5;
  readonly relocated: 6;
  readonly mark: 7;
} = {
  entries: 2,
  hardState: 3,
  snapshot: 4,
  /** The prefix of a group's log up to an index and term is gone. */
  truncated: 5,
  /** Entries that were written forward so that an old segment can go. They replace, and never discard. */
  relocated: 6,
  /** Nothing but a frame whose `durableLsn` proves what stands before it. */
  mark: 7,
};
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

export const RECORD_HEAD_BYTES: number = 12;
export const ENTRIES_HEAD_BYTES: number = 16;
export const ENTRY_HEAD_BYTES: number = 16;
export const HARD_STATE_BYTES: number = 24;
export const TRUNCATED_BYTES: number = 16;
const SHA256_BYTES = 32;
const SNAPSHOT_FIXED_BYTES = 24 + SHA256_BYTES + 12;
const LARGEST_TYPE = 7;

/** Writes a record's head and returns the position of its body. */
export function writeRecordHead(
  into: Uint8Array,
  at: number,
  type: RecordType,
  group: GroupId,
  bodyBytes: number,
): number {
  writeU32(into, at, bodyBytes);
  into[at + 4] = type;
  into[at + 5] = 0;
  into[at + 6] = 0;
  into[at + 7] = 0;
  writeU32(into, at + 8, group);
  return at + RECORD_HEAD_BYTES;
}

/** Body of `entries` and `relocated`: first index, count, four zero bytes; then each entry with a head of its own. */
export function writeEntriesHead(
  into: Uint8Array,
  at: number,
  firstIndex: LogIndex,
  count: number,
): number {
  writeU64(into, at, firstIndex);
  writeU32(into, at + 8, count);
  writeU32(into, at + 12, 0);
  return at + ENTRIES_HEAD_BYTES;
}

/** Term, data size, type, three zero bytes, data. */
export function writeEntry(into: Uint8Array, at: number, entry: Entry): number {
  const { data } = entry;
  writeU64(into, at, entry.term);
  writeU32(into, at + 8, data.length);
  writeU32(into, at + 12, entry.type);
  into.set(data, at + ENTRY_HEAD_BYTES);
  return at + ENTRY_HEAD_BYTES + data.length;
}

export function writeHardState(into: Uint8Array, at: number, state: HardState): number {
  writeU64(into, at, state.term);
  writeU64(into, at + 8, state.vote);
  writeU64(into, at + 16, state.commit);
  return at + HARD_STATE_BYTES;
}

export function readHardState(bytes: Uint8Array, at: number): HardState {
  return {
    term: readU64(bytes, at),
    vote: readU64(bytes, at + 8),
    commit: readU64(bytes, at + 16),
  };
}

export function snapshotBytes(record: SnapshotRecord): number {
  const { confState: c } = record.meta;
  const ids = c.voters.length + c.votersOutgoing.length + c.learners.length + c.learnersNext.length;
  return SNAPSHOT_FIXED_BYTES + ids * 8 + utf8(record.fileName).length;
}

export function writeSnapshot(into: Uint8Array, at: number, record: SnapshotRecord): number {
  assert(record.sha256.length === SHA256_BYTES, "a SHA-256 has 32 bytes");
  const { confState: c } = record.meta;
  const name = utf8(record.fileName);
  writeU64(into, at, record.meta.index);
  writeU64(into, at + 8, record.meta.term);
  writeU64(into, at + 16, record.sizeBytes);
  into.set(record.sha256, at + 24);
  at += 24 + SHA256_BYTES;
  writeU16(into, at, name.length);
  into[at + 2] = c.autoLeave ? 1 : 0;
  into[at + 3] = record.installed ? 1 : 0;
  const lists = [c.voters, c.votersOutgoing, c.learners, c.learnersNext];
  lists.forEach((ids, i) => writeU16(into, at + 4 + i * 2, ids.length));
  at += 12;
  for (const ids of lists) {
    for (const id of ids) {
      writeU64(into, at, id);
      at += 8;
    }
  }
  into.set(name, at);
  return at + name.length;
}

/**
 * Walks the records of one payload in place. Invariant: after `next()` has returned true, the fields name a record
 * that lies within the payload and whose type and flags are known.
 */
export class RecordCursor {
  type: RecordType = RecordType.mark;
  group: GroupId = 0;
  bodyStart = 0;
  bodyEnd = 0;
  readonly bytes: Uint8Array;
  readonly #end: number;
  /** For messages: the file, and what to add to a position in `bytes` for an offset in it. */
  readonly #file: string;
  readonly #shift: number;

  constructor(bytes: Uint8Array, start: number, end: number, file: string, fileOffset: number) {
    this.bytes = bytes;
    this.bodyEnd = start;
    this.#end = end;
    this.#file = file;
    this.#shift = fileOffset - start;
  }

  next(): boolean {
    const at = this.bodyEnd;
    if (at === this.#end) return false;
    if (at + RECORD_HEAD_BYTES > this.#end)
      this.#refuse("a record's head crosses the end of its frame");
    const size = readU32(this.bytes, at);
    const type = this.bytes[at + 4] as number;
    if (type > LARGEST_TYPE || readU32(this.bytes, at + 4) !== type) {
      throw new HarmonyError(
        "NEWER_FORMAT",
        `${this.#file} at offset ${at + this.#shift}: record of type ${type}`,
      );
    }
    if (type < RecordType.entries) this.#refuse(`record of type ${type}`);
    if (at + RECORD_HEAD_BYTES + size > this.#end)
      this.#refuse("a record crosses the end of its frame");
    this.type = type as RecordType;
    this.group = readU32(this.bytes, at + 8);
    this.bodyStart = at + RECORD_HEAD_BYTES;
    this.bodyEnd = this.bodyStart + size;
    return true;
  }

  get size(): number {
    return this.bodyEnd - this.bodyStart;
  }

  /** Asserts what a body of fixed size must have. */
  expectSize(bytes: number): void {
    if (this.size !== bytes) this.#refuse(`a record of type ${this.type} with ${this.size} bytes`);
  }

  hardState(): HardState {
    this.expectSize(HARD_STATE_BYTES);
    return readHardState(this.bytes, this.bodyStart);
  }

  truncated(): { readonly index: LogIndex; readonly term: Term } {
    this.expectSize(TRUNCATED_BYTES);
    return {
      index: readU64(this.bytes, this.bodyStart),
      term: readU64(this.bytes, this.bodyStart + 8),
    };
  }

  snapshot(): SnapshotRecord {
    const { bytes } = this;
    if (this.size < SNAPSHOT_FIXED_BYTES) this.#refuse("a snapshot record that is too short");
    let at = this.bodyStart + 24 + SHA256_BYTES;
    const nameBytes = readU16(bytes, at);
    const autoLeave = bytes[at + 2] === 1;
    const installed = bytes[at + 3] === 1;
    const counts = [4, 6, 8, 10].map((offset) => readU16(bytes, at + offset));
    at += 12;
    const total = counts.reduce((sum, count) => sum + count, 0);
    this.expectSize(SNAPSHOT_FIXED_BYTES + total * 8 + nameBytes);
    const lists = counts.map((count) => {
      const ids = Array.from({ length: count }, (_, i) => readU64(bytes, at + i * 8));
      at += count * 8;
      return ids;
    });
    const [voters = [], votersOutgoing = [], learners = [], learnersNext = []] = lists;
    return {
      meta: {
        index: readU64(bytes, this.bodyStart),
        term: readU64(bytes, this.bodyStart + 8),
        confState: { voters, votersOutgoing, learners, learnersNext, autoLeave },
      },
      sizeBytes: readU64(bytes, this.bodyStart + 16),
      sha256: bytes.slice(this.bodyStart + 24, this.bodyStart + 24 + SHA256_BYTES),
      fileName: text(bytes.subarray(at, at + nameBytes)),
      installed,
    };
  }

  #refuse(what: string): never {
    throw new CorruptionError({ file: this.#file, offset: this.bodyEnd + this.#shift, what });
  }

  /** Throws CORRUPT at the present record. */
  refuse(what: string): never {
    throw new CorruptionError({ file: this.#file, offset: this.bodyStart + this.#shift, what });
  }
}

/** Walks the entries of an `entries` or `relocated` record in place, without an object for each. */
export class EntryCursor {
  index: LogIndex;
  term: Term = 0;
  readonly firstIndex: LogIndex;
  readonly count: number;
  readonly #record: RecordCursor;
  #left: number;
  #dataStart: number;
  #dataEnd: number;

  constructor(record: RecordCursor) {
    if (record.size < ENTRIES_HEAD_BYTES) record.refuse("an entries record that is too short");
    this.#record = record;
    this.firstIndex = readU64(record.bytes, record.bodyStart);
    this.count = readU32(record.bytes, record.bodyStart + 8);
    if (!(this.firstIndex > 0) || this.count === 0)
      record.refuse("an entries record without entries");
    this.index = this.firstIndex - 1;
    this.#left = this.count;
    this.#dataStart = this.#dataEnd = record.bodyStart + ENTRIES_HEAD_BYTES;
  }

  next(): boolean {
    const { bytes, bodyEnd } = this.#record;
    if (this.#left === 0) {
      if (this.#dataEnd !== bodyEnd)
        this.#record.refuse("an entries record with bytes after its last entry");
      return false;
    }
    const at = this.#dataEnd;
    if (at + ENTRY_HEAD_BYTES > bodyEnd)
      this.#record.refuse("an entry crosses the end of its record");
    this.#dataStart = at + ENTRY_HEAD_BYTES;
    this.#dataEnd = this.#dataStart + readU32(bytes, at + 8);
    if (this.#dataEnd > bodyEnd) this.#record.refuse("an entry crosses the end of its record");
    this.term = readU64(bytes, at);
    if (!(this.term > 0)) this.#record.refuse(`an entry of term ${this.term}`);
    this.index++;
    this.#left--;
    return true;
  }

  /** Of the present entry. */
  get type(): EntryType {
    const type = this.#record.bytes[this.#dataStart - 4] as number;
    if (type > Types.empty) this.#record.refuse(`an entry of type ${type}`);
    return type as EntryType;
  }

  /** The present entry; its data is a view. */
  entry(): Entry {
    return {
      index: this.index,
      term: this.term,
      type: this.type,
      data: this.#record.bytes.subarray(this.#dataStart, this.#dataEnd),
    };
  }
}
