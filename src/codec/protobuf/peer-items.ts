/**
 * What travels in a batch between two members (proto/harmonydb/peer.proto, Item): messages of the Raft core, commands
 * for the leader, and what became of them.
 */
import type { GroupId, Incarnation, LogIndex, Message, NodeId, Term } from "../../raft/index.ts";
import { readRaftMessage, writeRaftMessage } from "./raft-messages.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

export interface ForwardedCommand {
  readonly data: Uint8Array;
  /** May use the room that a full disk keeps for deletes and the like. */
  readonly reserve: boolean;
  /** The data is a change of the configuration. */
  readonly isConfChange: boolean;
}

/** Commands for the leader to propose, in their order. Command i has the ticket `ticket` + i. */
export interface Forward {
  readonly kind: "forward";
  readonly group: GroupId;
  readonly ticket: number;
  readonly commands: readonly ForwardedCommand[];
}

/** `count` commands from `ticket` on stand in the entry (index, term), from its command `position` on. */
export interface Placed {
  readonly kind: "placed";
  readonly group: GroupId;
  readonly ticket: number;
  readonly count: number;
  readonly index: LogIndex;
  readonly term: Term;
  readonly position: number;
}

/** `count` commands from `ticket` on were not proposed and will not be. `code` is of the catalogue of errors. */
export interface Declined {
  readonly kind: "declined";
  readonly group: GroupId;
  readonly ticket: number;
  readonly count: number;
  readonly code: string;
}

/** The hash of a member's state machine when it had applied the entry. `asks` asks everybody for theirs. */
export interface StateHashItem {
  readonly kind: "stateHash";
  readonly group: GroupId;
  readonly index: LogIndex;
  /** 32 bits. */
  readonly hash: number;
  readonly asks: boolean;
}

/** The sender's replica is in quarantine, in this life of it. Said again and again. */
export interface QuarantineItem {
  readonly kind: "quarantine";
  readonly group: GroupId;
  readonly incarnation: Incarnation;
  /** Why, for whoever reads the log. */
  readonly what: string;
}

/** Whether the sender's log has room on its disk. Said when it changes, and again and again while it has none. */
export interface RoomItem {
  readonly kind: "room";
  readonly group: GroupId;
  readonly isFull: boolean;
}

export interface RaftItem {
  readonly kind: "raft";
  readonly group: GroupId;
  readonly message: Message;
}

export type PeerItem =
  | RaftItem
  | Forward
  | Placed
  | Declined
  | StateHashItem
  | QuarantineItem
  | RoomItem;

/** Also what a sender keeps to. */
export const FORWARDED_COMMANDS_MAX = 16_384;

/** The last one of the oneof `body`. */
const FIELD_MAX = 8;

const writer: Writer = new Writer();

/** An Item, for `encodeBatchFrame`. The bytes are the caller's for good. */
export function encodePeerItem(item: PeerItem): Uint8Array {
  writer.begin();
  const before = writer.size;
  switch (item.kind) {
    case "raft":
      writeRaftMessage(writer, item.message);
      writer.embed(2, before);
      break;
    case "forward":
      for (let i = item.commands.length - 1; i >= 0; i--) {
        const { data, reserve, isConfChange } = item.commands[i] as ForwardedCommand;
        const start = writer.size;
        writer.bool(3, isConfChange);
        writer.bool(2, reserve);
        writer.bytes(1, data);
        writer.embed(2, start);
      }
      writer.counter(1, item.ticket);
      writer.embed(3, before);
      break;
    case "placed":
      writer.counter(5, item.position);
      writer.counter(4, item.term);
      writer.counter(3, item.index);
      writer.counter(2, item.count);
      writer.counter(1, item.ticket);
      writer.embed(4, before);
      break;
    case "declined":
      writer.string(3, item.code);
      writer.counter(2, item.count);
      writer.counter(1, item.ticket);
      writer.embed(5, before);
      break;
    case "stateHash":
      writer.bool(3, item.asks);
      writer.counter(2, item.hash);
      writer.counter(1, item.index);
      writer.embed(6, before);
      break;
    case "quarantine":
      writer.string(2, item.what);
      writer.counter(1, item.incarnation);
      writer.embed(7, before);
      break;
    case "room":
      writer.bool(1, item.isFull);
      writer.embed(8, before);
      break;
  }
  writer.counter(1, item.group);
  return writer.finish();
}

/** Null for what this version does not know. Throws DecodeError. `ends` are those of the call that brought it. */
export function decodePeerItem(
  bytes: Uint8Array,
  ends: { readonly from: NodeId; readonly to: NodeId },
): PeerItem | null {
  const reader = new Reader(bytes);
  let group = 0;
  let field = 0;
  let body: Uint8Array | null = null;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) group = reader.count();
    else if ((tag & 7) === 2 && tag >= 0x12 && tag >>> 3 <= FIELD_MAX) {
      field = tag >>> 3;
      body = reader.bytes();
    } else reader.skip(tag, FIELD_MAX);
  }
  if (body === null) return null;
  if (field === 2) {
    const message = readRaftMessage(body, group, ends);
    return message === null ? null : { kind: "raft", group, message };
  }
  switch (field) {
    case 3:
      return decodeForward(body, group);
    case 4:
      return decodePlaced(body, group);
    case 5:
      return decodeDeclined(body, group);
    case 6:
      return decodeStateHash(body, group);
    case 7:
      return decodeQuarantine(body, group);
    default:
      return decodeRoom(body, group);
  }
}

function decodeForward(bytes: Uint8Array, group: GroupId): Forward {
  const reader = new Reader(bytes);
  let ticket = 0;
  const commands: ForwardedCommand[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) ticket = reader.count();
    else if (tag === 0x12) {
      if (commands.length === FORWARDED_COMMANDS_MAX) reader.fail("too many commands at once");
      commands.push(readCommand(reader));
    } else reader.skip(tag, 2);
  }
  return { kind: "forward", group, ticket, commands };
}

/** A copy: a command waits for its turn long after the frame that brought it. */
function readCommand(reader: Reader): ForwardedCommand {
  const outerEnd = reader.enter();
  let data: Uint8Array | null = null;
  let reserve = false;
  let isConfChange = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x0a) data = reader.bytes();
    else if (tag === 0x10) reserve = reader.bool();
    else if (tag === 0x18) isConfChange = reader.bool();
    else reader.skip(tag, 3);
  }
  if (data === null || data.length === 0) return reader.fail("a command of no bytes");
  reader.leave(outerEnd);
  return { data: data.slice(), reserve, isConfChange };
}

function decodePlaced(bytes: Uint8Array, group: GroupId): Placed {
  const reader = new Reader(bytes);
  let ticket = 0;
  let count = 0;
  let index = 0;
  let term = 0;
  let position = 0;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) ticket = reader.count();
    else if (tag === 0x10) count = reader.count();
    else if (tag === 0x18) index = reader.count();
    else if (tag === 0x20) term = reader.count();
    else if (tag === 0x28) position = reader.count();
    else reader.skip(tag, 5);
  }
  return { kind: "placed", group, ticket, count, index, term, position };
}

function decodeDeclined(bytes: Uint8Array, group: GroupId): Declined {
  const reader = new Reader(bytes);
  let ticket = 0;
  let count = 0;
  let code = "";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) ticket = reader.count();
    else if (tag === 0x10) count = reader.count();
    else if (tag === 0x1a) code = reader.string();
    else reader.skip(tag, 3);
  }
  return { kind: "declined", group, ticket, count, code };
}

function decodeStateHash(bytes: Uint8Array, group: GroupId): StateHashItem {
  const reader = new Reader(bytes);
  let index = 0;
  let hash = 0;
  let asks = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) index = reader.count();
    else if (tag === 0x10) hash = reader.count();
    else if (tag === 0x18) asks = reader.bool();
    else reader.skip(tag, 3);
  }
  if (hash > 0xffff_ffff) reader.fail("a hash of more than 32 bits");
  return { kind: "stateHash", group, index, hash, asks };
}

function decodeQuarantine(bytes: Uint8Array, group: GroupId): QuarantineItem {
  const reader = new Reader(bytes);
  let incarnation = 0;
  let what = "";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) incarnation = reader.count();
    else if (tag === 0x12) what = reader.string();
    else reader.skip(tag, 2);
  }
  return { kind: "quarantine", group, incarnation, what };
}

function decodeRoom(bytes: Uint8Array, group: GroupId): RoomItem {
  const reader = new Reader(bytes);
  let isFull = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) isFull = reader.bool();
    else reader.skip(tag, 1);
  }
  return { kind: "room", group, isFull };
}
