/**
 * Reading a snapshot: every byte is checked before anything is made of it. Lengths are held against what the file can
 * still hold before memory is taken for them, keys must ascend, everything must add up to what header and trailer say,
 * and the SHA-256 must be that of all before it.
 *
 * A visitor sees the pairs of a chunk after the chunk has been checked, and so before the rest of the file has: who
 * builds something from them reads the file once without a visitor (`verifySnapshot`) before.
 */
import { assert, compareBytes, crc32c, equalBytes } from "../base/index.ts";
import { KEY_SIZE_MAX, type TreeId, VALUE_SIZE_MAX } from "../btree/index.ts";
import { type Digest, type File, fileSize, type Io, readFile } from "../env/index.ts";
import {
  ALIGNMENT_BYTES,
  CHUNK_BODY_BYTES_MAX,
  CHUNK_HEAD_BYTES,
  type ChunkHead,
  damaged,
  decodeChunkHead,
  decodeHeader,
  decodeTrailer,
  HEADER_START_BYTES,
  headerSize,
  type SnapshotHeader,
  SHA256_BYTES,
  TRAILER_BYTES,
} from "./format.ts";

/** How much is read at once, and by which at most the memory grows for what is not longer. */
const WINDOW_BYTES: number = 256 * 1024;

/** A snapshot that has been checked from its first byte to its last. */
export interface SnapshotInfo {
  readonly header: SnapshotHeader;
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
  readonly entries: number;
  /** Of keys and values. */
  readonly contentBytes: number;
}

/** Takes a pair. The bytes are views that are good for the call. */
export type EntryVisitor = (section: TreeId, key: Uint8Array, value: Uint8Array) => void;

/**
 * Checks the whole of a snapshot. Throws HarmonyError NOT_A_SNAPSHOT, NEWER_FORMAT, CorruptionError with the place of
 * the damage, FileError.
 */
export function verifySnapshot(file: File, sha256: Digest): Io<SnapshotInfo> {
  return readSnapshot(file, sha256, null);
}

/** As `verifySnapshot`, and gives the pairs to `visit`, section by section in ascending order of keys. */
export function* readSnapshot(
  file: File,
  sha256: Digest,
  visit: EntryVisitor | null,
): Io<SnapshotInfo> {
  const input = new Input(file, sha256, yield* fileSize(file));
  const { path } = file;
  yield* input.need(Math.min(HEADER_START_BYTES, input.sizeBytes));
  const headerBytes = headerSize(input.view(Math.min(HEADER_START_BYTES, input.sizeBytes)), path);
  if (input.sizeBytes % ALIGNMENT_BYTES !== SHA256_BYTES || headerBytes > input.left) {
    throw damaged(path, input.sizeBytes, `it is cut: ${input.sizeBytes} bytes are no whole file`);
  }
  yield* input.need(headerBytes);
  const header = decodeHeader(input.take(headerBytes), path);
  const pairs = new Pairs(path, visit);
  let chunks = 0;
  for (const { id, count } of header.sections) {
    pairs.begin(id);
    for (let left = count; left > 0;) {
      const head = yield* input.chunkHead(header.crc);
      const fits = head.section === id && head.number === chunks && head.entries > 0;
      if (!fits || head.entries > left) {
        throw damaged(path, input.offset, `chunk ${head.number} is not what follows`);
      }
      const at = input.offset;
      const body = yield* input.body(head);
      pairs.chunk(body, at, head.entries);
      chunks++;
      left -= head.entries;
    }
  }
  const trailerAt = input.offset;
  yield* input.need(Math.min(TRAILER_BYTES, input.left));
  const trailer =
    input.left < TRAILER_BYTES ? null : decodeTrailer(input.take(TRAILER_BYTES), header.crc);
  const addsUp =
    trailer !== null &&
    trailer.chunks === chunks &&
    trailer.entries === pairs.entries &&
    trailer.contentBytes === pairs.contentBytes &&
    trailer.offset === trailerAt;
  if (!addsUp) throw damaged(path, trailerAt, "the trailer does not fit what stands before it");
  const padding = input.left;
  yield* input.need(Math.min(padding, ALIGNMENT_BYTES));
  if (padding >= ALIGNMENT_BYTES || input.take(padding).some((byte) => byte !== 0)) {
    throw damaged(path, trailerAt, "there is more than zeros behind the trailer");
  }
  const sum = new Uint8Array(SHA256_BYTES);
  yield* readFile(file, input.offset, sum);
  if (!equalBytes(sum, sha256.finish())) {
    throw damaged(path, input.offset, "the SHA-256 is not that of what stands before it");
  }
  const { entries, contentBytes } = pairs;
  return { header, sizeBytes: input.sizeBytes, sha256: sum, entries, contentBytes };
}

/** The file as a stream without its SHA-256: what is taken is digested, in its order. */
class Input {
  readonly sizeBytes: number;
  /** Of the next byte that is taken. */
  offset = 0;
  readonly #file: File;
  readonly #sha256: Digest;
  #buffer: Uint8Array = new Uint8Array(WINDOW_BYTES);
  #start = 0;
  #end = 0;

  constructor(file: File, sha256: Digest, sizeBytes: number) {
    this.#file = file;
    this.#sha256 = sha256;
    this.sizeBytes = sizeBytes;
  }

  /** How many bytes are left before the SHA-256. */
  get left(): number {
    return Math.max(0, this.sizeBytes - SHA256_BYTES - this.offset);
  }

  /** Reads until so many bytes can be taken. The caller has made sure that the file has them. */
  *need(bytes: number): Io<void> {
    if (this.#end - this.#start >= bytes) return;
    if (this.#buffer.length < bytes) {
      const grown = new Uint8Array(bytes);
      grown.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = grown;
    } else this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    const at = this.offset + this.#end;
    // In pieces, so that the turns in between stay short.
    for (let from = at; this.#end < bytes; from = this.offset + this.#end) {
      const room = Math.min(this.#buffer.length - this.#end, WINDOW_BYTES);
      const into = this.#buffer.subarray(this.#end, this.#end + room);
      const got = yield* readFile(this.#file, from, into);
      if (got === 0) throw damaged(this.#file.path, from, "it ended while it was read");
      this.#end += got;
    }
  }

  /** The next bytes without taking them. */
  view(bytes: number): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#start + bytes);
  }

  /** The next bytes: a view that is good until the next `need`. */
  take(bytes: number): Uint8Array {
    assert(bytes <= this.#end - this.#start, "what is taken has been read");
    const taken = this.view(bytes);
    this.#sha256.update(taken);
    this.#start += bytes;
    this.offset += bytes;
    return taken;
  }

  *chunkHead(headerCrc: number): Io<ChunkHead> {
    const at = this.offset;
    yield* this.need(Math.min(CHUNK_HEAD_BYTES, this.left));
    const head =
      this.left < CHUNK_HEAD_BYTES
        ? null
        : decodeChunkHead(this.view(CHUNK_HEAD_BYTES), 0, headerCrc);
    if (head === null) {
      throw damaged(this.#file.path, at, "the head of a chunk does not match its checksum");
    }
    this.take(CHUNK_HEAD_BYTES);
    return head;
  }

  *body({ bodyBytes, bodyCrc }: ChunkHead): Io<Uint8Array> {
    const at = this.offset;
    if (bodyBytes > this.left || bodyBytes > CHUNK_BODY_BYTES_MAX) {
      throw damaged(
        this.#file.path,
        at,
        `a chunk of ${bodyBytes} bytes where ${this.left} are left`,
      );
    }
    yield* this.need(bodyBytes);
    let crc = 0;
    const body = this.view(bodyBytes);
    for (let from = 0; from < bodyBytes; from += WINDOW_BYTES) {
      if (from > 0) yield* fileSize(this.#file);
      crc = crc32c(body, from, Math.min(bodyBytes, from + WINDOW_BYTES), crc);
    }
    if (crc !== bodyCrc) {
      throw damaged(this.#file.path, at, "a chunk does not match its checksum");
    }
    return this.take(bodyBytes);
  }
}

/** Walks the pairs of chunks and holds their keys in order over the borders of chunks. */
class Pairs {
  entries = 0;
  contentBytes = 0;
  readonly #file: string;
  readonly #visit: EntryVisitor | null;
  #section: TreeId = 0;
  readonly #last = new Uint8Array(KEY_SIZE_MAX);
  #lastLength = -1;
  /** Of the next length that is read. */
  #at = 0;

  constructor(file: string, visit: EntryVisitor | null) {
    this.#file = file;
    this.#visit = visit;
  }

  begin(section: TreeId): void {
    this.#section = section;
    this.#lastLength = -1;
  }

  /** `offset` is where `body` stands in the file. */
  chunk(body: Uint8Array, offset: number, count: number): void {
    this.#at = 0;
    let before: Uint8Array | null =
      this.#lastLength < 0 ? null : this.#last.subarray(0, this.#lastLength);
    for (let i = 0; i < count; i++) {
      const keyBytes = this.#length(body);
      const valueBytes = this.#length(body);
      const start = this.#at;
      const end = start + keyBytes + valueBytes;
      const fits = keyBytes <= KEY_SIZE_MAX && valueBytes <= VALUE_SIZE_MAX && end <= body.length;
      if (!fits) throw damaged(this.#file, offset + start, "a pair does not fit its chunk");
      const key = body.subarray(start, start + keyBytes);
      if (before !== null && compareBytes(before, key) >= 0) {
        throw damaged(this.#file, offset + start, "the keys do not ascend");
      }
      before = key;
      this.#at = end;
      this.contentBytes += keyBytes + valueBytes;
      this.#visit?.(this.#section, key, body.subarray(start + keyBytes, end));
    }
    if (this.#at !== body.length || before === null) {
      throw damaged(this.#file, offset + this.#at, "a chunk holds more than its pairs");
    }
    this.entries += count;
    this.#lastLength = before.length;
    this.#last.set(before);
  }

  /** A length of at most five bytes; NaN, which fits nothing, where there is none. */
  #length(body: Uint8Array): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = body[this.#at++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    return Number.NaN;
  }
}
