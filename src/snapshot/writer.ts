/**
 * Writing a snapshot: a pinned version of the trees as one stream of bytes, in slices. Between two slices a write is
 * waited for, so that whoever else has something to do comes to it; one slice copies, sums and digests at most
 * `CHUNK_TARGET_BYTES` and one pair more. Nothing is kept but that slice.
 */
import { assert, crc32c } from "../base/index.ts";
import { type Cursor, TREE_SLOTS, type Version } from "../btree/index.ts";
import { type Digest, type File, fileSize, type Io, writeFile } from "../env/index.ts";
import {
  CHUNK_BODY_BYTES_MAX,
  CHUNK_HEAD_BYTES,
  encodeChunkHead,
  encodeHeader,
  encodeTrailer,
  headerCrcOf,
  type Section,
  type SnapshotDescription,
} from "./format.ts";

/** A third of a millisecond of work, and few enough writes for a disk. */
const CHUNK_TARGET_BYTES: number = 128 * 1024;
/** How much of a long value is summed or digested between two I/O steps. */
const PIECE_BYTES: number = 1024 * 1024;
/** The longest length before a key or a value. */
const LENGTH_BYTES_MAX = 8;

/** What has been written. */
export interface SnapshotSummary {
  readonly sizeBytes: number;
  /** Of all bytes before it; it is the end of the file. */
  readonly sha256: Uint8Array;
  readonly entries: number;
}

/** The trees that hold anything, in the order of their ids. */
function sectionsOf(version: Version): Section[] {
  const sections: Section[] = [];
  for (let id = 0; id < TREE_SLOTS; id++) {
    const { count } = version.tree(id);
    if (count > 0) sections.push({ id, count });
  }
  return sections;
}

/**
 * Writes `version` into an empty file. Does not sync, and does not release the version. The description belongs to the
 * state that is pinned: the caller took both in one go. Throws FileError.
 */
export function* writeSnapshot(
  file: File,
  sha256: Digest,
  version: Version,
  description: SnapshotDescription,
): Io<SnapshotSummary> {
  const sections = sectionsOf(version);
  const header = encodeHeader(description, sections);
  const headerSum = headerCrcOf(header);
  const out = new Output(file, sha256);
  yield* out.write(header);
  const chunk = new Chunk();
  let number = 0;
  let entries = 0;
  let contentBytes = 0;
  for (const { id, count } of sections) {
    const cursor = version.tree(id).cursor();
    let left = count;
    cursor.first();
    while (left > 0) {
      const taken = chunk.fill(cursor);
      left -= taken;
      entries += taken;
      contentBytes += chunk.contentBytes;
      yield* out.writeChunk(chunk, { headerSum, section: id, number, entries: taken });
      number++;
    }
    assert(left === 0 && !cursor.valid, "a tree has as many keys as it says");
  }
  yield* out.write(
    encodeTrailer(headerSum, { chunks: number, entries, contentBytes, offset: out.offset }),
  );
  const sum = sha256.finish();
  yield* writeFile(file, out.offset, sum);
  return { sizeBytes: out.offset + sum.length, sha256: sum, entries };
}

/** The slice that is being filled: a head and pairs behind it. The buffer is used again for each. */
class Chunk {
  buffer: Uint8Array = new Uint8Array(CHUNK_TARGET_BYTES + 16 * 1024);
  length = 0;
  /** Of keys and values in it. */
  contentBytes = 0;

  /** Takes pairs from the cursor, at least one, and moves it behind them. Returns how many. */
  fill(cursor: Cursor): number {
    this.length = CHUNK_HEAD_BYTES;
    this.contentBytes = 0;
    let taken = 0;
    do {
      const { key, value } = cursor;
      const most = 2 * LENGTH_BYTES_MAX + key.length + value.length;
      if (taken > 0 && this.length + most > this.buffer.length) break;
      if (this.length + most > this.buffer.length) this.#grow(most);
      this.#length(key.length);
      this.#length(value.length);
      this.#bytes(key);
      this.#bytes(value);
      this.contentBytes += key.length + value.length;
      taken++;
    } while (cursor.next() && this.length < CHUNK_TARGET_BYTES);
    return taken;
  }

  /** A pair that is longer than a slice has one of its own. */
  #grow(most: number): void {
    assert(most <= CHUNK_BODY_BYTES_MAX, "a tree holds no longer pair");
    const grown = new Uint8Array(this.length + most);
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
  }

  #length(value: number): void {
    let rest = value;
    while (rest > 127) {
      this.buffer[this.length++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.buffer[this.length++] = rest;
  }

  #bytes(bytes: Uint8Array): void {
    const { buffer } = this;
    const { length } = bytes;
    // Setting a few bytes one by one is faster than a call for them.
    if (length <= 32) {
      const at = this.length;
      for (let i = 0; i < length; i++) buffer[at + i] = bytes[i] as number;
    } else buffer.set(bytes, this.length);
    this.length += length;
  }
}

/** The file as a stream: everything that is written is digested, in its order. */
class Output {
  offset = 0;
  readonly #file: File;
  readonly #sha256: Digest;

  constructor(file: File, sha256: Digest) {
    this.#file = file;
    this.#sha256 = sha256;
  }

  *write(bytes: Uint8Array): Io<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      this.#sha256.update(piece);
      yield* writeFile(this.#file, this.offset, piece);
      this.offset += piece.length;
    }
  }

  *writeChunk(
    chunk: Chunk,
    head: {
      readonly headerSum: number;
      readonly section: number;
      readonly number: number;
      readonly entries: number;
    },
  ): Io<void> {
    const { buffer, length } = chunk;
    let bodyCrc = 0;
    for (let at = CHUNK_HEAD_BYTES; at < length; at += PIECE_BYTES) {
      // There is nothing to write yet: asking for the size lets a turn end.
      if (at > CHUNK_HEAD_BYTES) yield* fileSize(this.#file);
      bodyCrc = crc32c(buffer, at, Math.min(length, at + PIECE_BYTES), bodyCrc);
    }
    encodeChunkHead(buffer, head.headerSum, {
      bodyCrc,
      bodyBytes: length - CHUNK_HEAD_BYTES,
      entries: head.entries,
      section: head.section,
      number: head.number,
    });
    yield* this.write(buffer.subarray(0, length));
  }
}
