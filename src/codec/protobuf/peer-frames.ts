/**
 * The frames between two members (proto/harmonydb/peer.proto, Frame and Body): a checksum, and under it one of the
 * handshake's messages or a batch of items.
 *
 * The transport checks what it carries only when it is encrypted, and memory and code can fail before and after it, so
 * each frame has its own CRC32C (fault-rules N6). What does not check out is a DecodeError and ends the connection.
 */
import { assert, crc32c, writeU32 } from "../../base/index.ts";
import { Reader } from "./reader.ts";
import {
  decodeSnapshotFrame,
  type SnapshotChunk,
  type SnapshotFrame,
  writeSnapshotFrame,
} from "./snapshot-frames.ts";
import { Writer } from "./writer.ts";

/** What a call is for: to speak, to pull a snapshot, or to ask about the cluster before joining it. */
export type PeerPurpose = "raft" | "snapshot" | "join";

/** The numbers of proto/harmonydb/peer.proto. */
const PURPOSES: readonly PeerPurpose[] = ["raft", "snapshot", "join"];

/** The caller says who it is and whom it means to reach. */
export interface Hello {
  readonly kind: "hello";
  readonly clusterId: number;
  readonly from: number;
  readonly to: number;
  /** Drawn at each start of the process. */
  readonly bootId: Uint8Array;
  /** Drawn when the directory was made. */
  readonly walId: Uint8Array;
  readonly versionMin: number;
  readonly versionMax: number;
  readonly name: string;
  readonly clientUrls: readonly string[];
  readonly purpose: PeerPurpose;
  /** Where the caller listens for other members: who does not know it can ask it there who the members are. */
  readonly peerUrls: readonly string[];
}

/** The called one takes it, and speaks this version. */
export interface Welcome {
  readonly kind: "welcome";
  readonly version: number;
  readonly bootId: Uint8Array;
  readonly walId: Uint8Array;
  readonly name: string;
  readonly clientUrls: readonly string[];
}

/** Or does not. */
export interface PeerRefusal {
  readonly kind: "refusal";
  readonly code: string;
  readonly detail: string;
}

/** Items as they are encoded: see `decodePeerItem`. */
export interface Batch {
  readonly kind: "batch";
  readonly items: readonly Uint8Array[];
}

/** What a node must know of a cluster that it was added to. */
export interface JoinInfo {
  readonly kind: "joinInfo";
  readonly clusterId: number;
  /** Of the token that the cluster was made with. */
  readonly tokenDigest: string;
  /** A snapshot that ends here or later holds these members. */
  readonly appliedIndex: number;
  readonly members: readonly JoinMember[];
}

export interface JoinMember {
  readonly id: number;
  /** Empty until it has started for the first time. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly isLearner: boolean;
}

export type PeerFrame = Hello | Welcome | PeerRefusal | Batch | SnapshotFrame | JoinInfo;

/** No message is larger: the largest entry, a batch begun before it, and room to spare. */
export const PEER_FRAME_BYTES_MAX: number = 16 * 1024 * 1024;
/** Also what a sender keeps to. */
export const BATCH_ITEMS_MAX = 16_384;
const URLS_MAX = 64;
const JOIN_MEMBERS_MAX = 1024;
const ID_BYTES = 16;

const FIELD_CRC = 0x0d;
const FIELD_BODY = 0x12;
const FIELD_BATCH = 0x22;
const FIELD_ITEM = 0x0a;
const FIELD_CHUNK = 0x3a;

const writer: Writer = new Writer();

/** Everything but batches, which leave so often that they are put together by `encodeBatchFrame`. */
export function encodePeerFrame(message: Exclude<PeerFrame, Batch>): Uint8Array {
  if (message.kind === "chunk") return encodeChunkFrame(message);
  writer.begin();
  switch (message.kind) {
    case "hello":
      for (const url of message.peerUrls.toReversed()) writer.string(11, url);
      writer.counter(10, PURPOSES.indexOf(message.purpose));
      for (const url of message.clientUrls.toReversed()) writer.string(9, url);
      writer.string(8, message.name);
      writer.counter(7, message.versionMax);
      writer.counter(6, message.versionMin);
      writer.bytes(5, message.walId);
      writer.bytes(4, message.bootId);
      writer.counter(3, message.to);
      writer.counter(2, message.from);
      writer.counter(1, message.clusterId);
      writer.embed(1, 0);
      break;
    case "welcome":
      for (const url of message.clientUrls.toReversed()) writer.string(5, url);
      writer.string(4, message.name);
      writer.bytes(3, message.walId);
      writer.bytes(2, message.bootId);
      writer.counter(1, message.version);
      writer.embed(2, 0);
      break;
    case "refusal":
      writer.string(2, message.detail);
      writer.string(1, message.code);
      writer.embed(3, 0);
      break;
    case "joinInfo":
      for (const member of message.members.toReversed()) {
        const before = writer.size;
        writer.bool(4, member.isLearner);
        for (const url of member.peerUrls.toReversed()) writer.string(3, url);
        writer.string(2, member.name);
        writer.counter(1, member.id);
        writer.embed(4, before);
      }
      writer.counter(3, message.appliedIndex);
      writer.string(2, message.tokenDigest);
      writer.counter(1, message.clusterId);
      writer.embed(10, 0);
      break;
    case "ask":
    case "head":
    case "more":
    case "taken":
      writeSnapshotFrame(writer, message);
  }
  const body = writer.finish();
  const frame = new Uint8Array(PREFIX_BYTES + varintBytes(body.length) + body.length);
  frame.set(body, frame.length - body.length);
  return seal(frame, body.length);
}

/** The bytes of a snapshot, copied once: there are many of them. */
function encodeChunkFrame({ offset, data }: SnapshotChunk): Uint8Array {
  const offsetBytes = offset === 0 ? 0 : 1 + varintBytes(offset);
  const dataBytes = data.length === 0 ? 0 : 1 + varintBytes(data.length) + data.length;
  const chunkBytes = offsetBytes + dataBytes;
  const bodyBytes = 1 + varintBytes(chunkBytes) + chunkBytes;
  const frame = new Uint8Array(PREFIX_BYTES + varintBytes(bodyBytes) + bodyBytes);
  let at = frame.length - bodyBytes;
  frame[at++] = FIELD_CHUNK;
  at = putVarint(frame, at, chunkBytes);
  if (offset > 0) {
    frame[at++] = 0x08;
    at = putVarint(frame, at, offset);
  }
  if (data.length > 0) {
    frame[at++] = 0x12;
    at = putVarint(frame, at, data.length);
    frame.set(data, at);
    at += data.length;
  }
  assert(at === frame.length, "a frame is as long as it was measured");
  return seal(frame, bodyBytes);
}

/** One frame of these items, copied once. Empty: says only that its sender is there. */
export function encodeBatchFrame(items: readonly Uint8Array[]): Uint8Array {
  assert(items.length <= BATCH_ITEMS_MAX, "a batch holds no more items than its receiver takes");
  let batchBytes = 0;
  for (const { length } of items) batchBytes += 1 + varintBytes(length) + length;
  const bodyBytes = 1 + varintBytes(batchBytes) + batchBytes;
  const frame = new Uint8Array(PREFIX_BYTES + varintBytes(bodyBytes) + bodyBytes);
  let at = frame.length - bodyBytes;
  frame[at++] = FIELD_BATCH;
  at = putVarint(frame, at, batchBytes);
  for (const item of items) {
    frame[at++] = FIELD_ITEM;
    at = putVarint(frame, at, item.length);
    frame.set(item, at);
    at += item.length;
  }
  assert(at === frame.length, "a frame is as long as it was measured");
  return seal(frame, bodyBytes);
}

/** What a frame holds. Views of `bytes`. Throws DecodeError. */
export function decodePeerFrame(bytes: Uint8Array): PeerFrame {
  const reader = new Reader(bytes);
  if (bytes.length > PEER_FRAME_BYTES_MAX) reader.fail("a frame of too many bytes");
  let crc: number | null = null;
  let body: Uint8Array | null = null;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === FIELD_CRC) crc = reader.fixed32();
    else if (tag === FIELD_BODY) body = reader.bytes();
    else reader.skip(tag, 2);
  }
  if (crc === null || body === null) return reader.fail("a frame without checksum or body");
  if (crc32c(body) !== crc) reader.fail("a frame does not match its checksum");
  return decodeBody(body);
}

function decodeBody(bytes: Uint8Array): PeerFrame {
  const reader = new Reader(bytes);
  let frame: PeerFrame | null = null;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x0a) frame = decodeHello(reader.bytes());
    else if (tag === 0x12) frame = decodeWelcome(reader.bytes());
    else if (tag === 0x1a) frame = decodeRefusal(reader.bytes());
    else if (tag === FIELD_BATCH) frame = decodeBatch(reader.bytes());
    else if (isSnapshotTag(tag)) frame = decodeSnapshotFrame(tag >>> 3, reader.bytes());
    else if (tag === 0x52) frame = decodeJoinInfo(reader.bytes());
    else reader.skip(tag, 10);
  }
  return frame ?? reader.fail("a frame of a kind that this version does not know");
}

/** Fields 5 to 9, each a message. */
function isSnapshotTag(tag: number): boolean {
  return tag >= 0x2a && tag <= 0x4a && (tag & 7) === 2;
}

function decodeHello(bytes: Uint8Array): Hello {
  const reader = new Reader(bytes);
  let clusterId = 0;
  let from = 0;
  let to = 0;
  let bootId: Uint8Array | null = null;
  let walId: Uint8Array | null = null;
  let versionMin = 0;
  let versionMax = 0;
  let name = "";
  const clientUrls: string[] = [];
  const peerUrls: string[] = [];
  let purpose: PeerPurpose | undefined = "raft";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) clusterId = reader.count();
    else if (tag === 0x10) from = reader.count();
    else if (tag === 0x18) to = reader.count();
    else if (tag === 0x22) bootId = readId(reader);
    else if (tag === 0x2a) walId = readId(reader);
    else if (tag === 0x30) versionMin = reader.count();
    else if (tag === 0x38) versionMax = reader.count();
    else if (tag === 0x42) name = reader.string();
    else if (tag === 0x4a) readUrl(reader, clientUrls);
    else if (tag === 0x50) purpose = PURPOSES[reader.count()];
    else if (tag === 0x5a) readUrl(reader, peerUrls);
    else reader.skip(tag, 11);
  }
  if (bootId === null || walId === null) return reader.fail("a hello without its ids");
  if (purpose === undefined) return reader.fail("a call for what this version does not know");
  return {
    kind: "hello",
    clusterId,
    from,
    to,
    bootId,
    walId,
    versionMin,
    versionMax,
    name,
    clientUrls,
    purpose,
    peerUrls,
  };
}

function decodeWelcome(bytes: Uint8Array): Welcome {
  const reader = new Reader(bytes);
  let version = 0;
  let bootId: Uint8Array | null = null;
  let walId: Uint8Array | null = null;
  let name = "";
  const clientUrls: string[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) version = reader.count();
    else if (tag === 0x12) bootId = readId(reader);
    else if (tag === 0x1a) walId = readId(reader);
    else if (tag === 0x22) name = reader.string();
    else if (tag === 0x2a) readUrl(reader, clientUrls);
    else reader.skip(tag, 5);
  }
  if (bootId === null || walId === null) return reader.fail("a welcome without its ids");
  return { kind: "welcome", version, bootId, walId, name, clientUrls };
}

function decodeRefusal(bytes: Uint8Array): PeerRefusal {
  const reader = new Reader(bytes);
  let code = "";
  let detail = "";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x0a) code = reader.string();
    else if (tag === 0x12) detail = reader.string();
    else reader.skip(tag, 2);
  }
  return { kind: "refusal", code, detail };
}

function decodeJoinInfo(bytes: Uint8Array): JoinInfo {
  const reader = new Reader(bytes);
  let clusterId = 0;
  let tokenDigest = "";
  let appliedIndex = 0;
  const members: JoinMember[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) clusterId = reader.count();
    else if (tag === 0x12) tokenDigest = reader.string();
    else if (tag === 0x18) appliedIndex = reader.count();
    else if (tag === 0x22) {
      if (members.length === JOIN_MEMBERS_MAX) reader.fail("too many members");
      members.push(decodeJoinMember(reader.bytes()));
    } else reader.skip(tag, 4);
  }
  return { kind: "joinInfo", clusterId, tokenDigest, appliedIndex, members };
}

function decodeJoinMember(bytes: Uint8Array): JoinMember {
  const reader = new Reader(bytes);
  let id = 0;
  let name = "";
  const peerUrls: string[] = [];
  let isLearner = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) id = reader.count();
    else if (tag === 0x12) name = reader.string();
    else if (tag === 0x1a) readUrl(reader, peerUrls);
    else if (tag === 0x20) isLearner = reader.bool();
    else reader.skip(tag, 4);
  }
  return { id, name, peerUrls, isLearner };
}

function decodeBatch(bytes: Uint8Array): Batch {
  const reader = new Reader(bytes);
  const items: Uint8Array[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === FIELD_ITEM) {
      if (items.length === BATCH_ITEMS_MAX) reader.fail("a batch of too many items");
      items.push(reader.bytes());
    } else reader.skip(tag, 1);
  }
  return { kind: "batch", items };
}

/** A copy, since ids are compared for as long as the process lives. */
function readId(reader: Reader): Uint8Array {
  const id = reader.bytes();
  if (id.length !== ID_BYTES) reader.fail(`an id of ${id.length} bytes`);
  return id.slice();
}

function readUrl(reader: Reader, into: string[]): void {
  if (into.length === URLS_MAX) reader.fail("too many URLs");
  into.push(reader.string());
}

/** Tag and checksum, and the body's tag. */
const PREFIX_BYTES = 6;

/** Fills in what stands before the body, which ends with the frame. */
function seal(frame: Uint8Array, bodyBytes: number): Uint8Array {
  frame[0] = FIELD_CRC;
  writeU32(frame, 1, crc32c(frame, frame.length - bodyBytes));
  frame[5] = FIELD_BODY;
  putVarint(frame, PREFIX_BYTES, bodyBytes);
  return frame;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}

/** Offsets in large files have more than 32 bits. */
function putVarint(into: Uint8Array, at: number, value: number): number {
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) into[at++] = (rest % 0x80) | 0x80;
  into[at] = rest;
  return at + 1;
}
