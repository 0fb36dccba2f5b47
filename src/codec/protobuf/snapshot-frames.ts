/**
 * What is said on a call for a snapshot (proto/harmonydb/peer.proto, SnapshotAsk to SnapshotTaken): who pulls asks and
 * grants room, who is asked says what comes and sends the file's bytes as far as there is room.
 */
import { EMPTY_BYTES, unreachable } from "../../base/index.ts";
import type { GroupId, LogIndex, Term } from "../../raft/index.ts";
import { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Who pulls: a snapshot of the group that ends at `indexAtLeast` or later. `bytes` is what there is room for. */
export interface SnapshotAsk {
  readonly kind: "ask";
  readonly group: GroupId;
  readonly indexAtLeast: LogIndex;
  readonly bytes: number;
  /** What of a file is there already; null when the pull begins. */
  readonly has: { readonly sha256: Uint8Array; readonly offset: number } | null;
}

/** The answer: what the file is. */
export interface SnapshotHead {
  readonly kind: "head";
  readonly index: LogIndex;
  readonly term: Term;
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
  /** Where the chunks begin: behind what there was of this very file, else at 0. */
  readonly offset: number;
}

/** The next bytes of the file. */
export interface SnapshotChunk {
  readonly kind: "chunk";
  readonly offset: number;
  readonly data: Uint8Array;
}

/** Who pulls has room for so many bytes more. */
export interface SnapshotMore {
  readonly kind: "more";
  readonly bytes: number;
}

/** Who pulls has all of it, has checked it, and can install it. */
export interface SnapshotTaken {
  readonly kind: "taken";
}

export type SnapshotFrame =
  | SnapshotAsk
  | SnapshotHead
  | SnapshotChunk
  | SnapshotMore
  | SnapshotTaken;

const SHA256_BYTES = 32;

/** Into a body that has been begun. Chunks are put together where their frames are. */
export function writeSnapshotFrame(
  writer: Writer,
  frame: Exclude<SnapshotFrame, SnapshotChunk>,
): void {
  switch (frame.kind) {
    case "ask":
      if (frame.has !== null) {
        writer.bytes(5, frame.has.sha256);
        writer.counter(4, frame.has.offset);
      }
      writer.counter(3, frame.bytes);
      writer.counter(2, frame.indexAtLeast);
      writer.counter(1, frame.group);
      writer.embed(5, 0);
      break;
    case "head":
      writer.counter(5, frame.offset);
      writer.bytes(4, frame.sha256);
      writer.counter(3, frame.sizeBytes);
      writer.counter(2, frame.term);
      writer.counter(1, frame.index);
      writer.embed(6, 0);
      break;
    case "more":
      writer.counter(1, frame.bytes);
      writer.embed(8, 0);
      break;
    case "taken":
      writer.embed(9, 0);
      break;
    default:
      unreachable(frame);
  }
}

/** `field` is one of 5 to 9. Views of `bytes`, but for the digest. Throws DecodeError. */
export function decodeSnapshotFrame(field: number, bytes: Uint8Array): SnapshotFrame {
  const reader = new Reader(bytes);
  if (field === 5) return decodeAsk(reader);
  if (field === 6) return decodeHead(reader);
  if (field === 7) return decodeChunk(reader);
  if (field === 8) {
    let room = 0;
    for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
      if (tag === 0x08) room = reader.count();
      else reader.skip(tag, 1);
    }
    return { kind: "more", bytes: room };
  }
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) reader.skip(tag, 0);
  return { kind: "taken" };
}

function decodeAsk(reader: Reader): SnapshotAsk {
  let group = 0;
  let indexAtLeast = 0;
  let bytes = 0;
  let offset = 0;
  let sha256: Uint8Array | null = null;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) group = reader.count();
    else if (tag === 0x10) indexAtLeast = reader.count();
    else if (tag === 0x18) bytes = reader.count();
    else if (tag === 0x20) offset = reader.count();
    else if (tag === 0x2a) sha256 = readSha256(reader);
    else reader.skip(tag, 5);
  }
  const has = sha256 === null ? null : { sha256, offset };
  return { kind: "ask", group, indexAtLeast, bytes, has };
}

function decodeHead(reader: Reader): SnapshotHead {
  let index = 0;
  let term = 0;
  let sizeBytes = 0;
  let sha256: Uint8Array | null = null;
  let offset = 0;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) index = reader.count();
    else if (tag === 0x10) term = reader.count();
    else if (tag === 0x18) sizeBytes = reader.count();
    else if (tag === 0x22) sha256 = readSha256(reader);
    else if (tag === 0x28) offset = reader.count();
    else reader.skip(tag, 5);
  }
  if (sha256 === null) return reader.fail("a snapshot without its SHA-256");
  return { kind: "head", index, term, sizeBytes, sha256, offset };
}

/** A copy, since it is kept. */
function readSha256(reader: Reader): Uint8Array {
  const bytes = reader.bytes();
  if (bytes.length !== SHA256_BYTES) reader.fail(`a SHA-256 of ${bytes.length} bytes`);
  return bytes.slice();
}

function decodeChunk(reader: Reader): SnapshotChunk {
  let offset = 0;
  let data: Uint8Array = EMPTY_BYTES;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) offset = reader.count();
    else if (tag === 0x12) data = reader.bytes();
    else reader.skip(tag, 2);
  }
  return { kind: "chunk", offset, data };
}
