/**
 * The messages of the Raft core on the wire (proto/harmonydb/peer.proto, Raft). A row of `SHAPES` for each type: the
 * compiler asks for the row when the core learns a new one, and a number that is in use is never given another meaning.
 *
 * Sender, receiver and group are not part of a message's bytes: the call that carries it and the item around it say them.
 */
import {
  type ConfState,
  type Entry,
  EntryType,
  type GroupId,
  type Message,
  type MessageType,
  type NodeId,
} from "../../raft/index.ts";
import { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Small enough that what a hostile frame decodes into stays within a few times its own size. */
const ENTRIES_MAX = 262_144;

/** Far more members than any group has, and no more memory than a frame. */
const MEMBERS_MAX = 4096;

/** What stands around the kind of a message. */
type Envelope = Pick<Message, "group" | "incarnation" | "version" | "from" | "to" | "term">;

type MessageOf<T extends MessageType> = Message extends infer M
  ? M extends Message
    ? T extends M["type"]
      ? M
      : never
    : never
  : never;

interface Shape<M extends Message> {
  /** In the oneof `kind`. */
  readonly field: number;
  /** Last field first, as `Writer` wants it. */
  readonly write: (writer: Writer, message: M) => void;
  readonly read: (reader: Reader, envelope: Envelope) => M;
}

function vote(type: "vote" | "preVote", field: number): Shape<MessageOf<"vote">> {
  return {
    field,
    write: (writer, { lastIndex, lastTerm, isTransfer }) => {
      writer.bool(3, isTransfer === true);
      writer.counter(2, lastTerm);
      writer.counter(1, lastIndex);
    },
    read: (reader, envelope) => {
      const [lastIndex = 0, lastTerm = 0, isTransfer = 0] = readCounts(reader, 3);
      const message = { type, ...envelope, lastIndex, lastTerm };
      return isTransfer === 0 ? message : { ...message, isTransfer: true };
    },
  };
}

function voteResponse(
  type: "voteResponse" | "preVoteResponse",
  field: number,
): Shape<MessageOf<"voteResponse">> {
  return {
    field,
    write: (writer, { reject, committed }) => {
      if (committed !== undefined) {
        writer.counter(3, committed.term);
        writer.counter(2, committed.index);
      }
      writer.bool(1, reject);
    },
    read: (reader, envelope) => {
      const [reject = 0, index = 0, term = 0] = readCounts(reader, 3);
      const message = { type, ...envelope, reject: reject !== 0 };
      return index === 0 ? message : { ...message, committed: { index, term } };
    },
  };
}

const SHAPES: { readonly [T in MessageType]: Shape<MessageOf<T>> } = {
  append: {
    field: 8,
    write: (writer, { prevIndex, prevTerm, commit, entries }) => {
      for (let i = entries.length - 1; i >= 0; i--) {
        const { term, type, data } = entries[i] as Entry;
        const before = writer.size;
        writer.bytes(3, data);
        writer.counter(2, type);
        writer.counter(1, term);
        writer.embed(4, before);
      }
      writer.counter(3, commit);
      writer.counter(2, prevTerm);
      writer.counter(1, prevIndex);
    },
    read: readAppend,
  },
  appendResponse: {
    field: 9,
    write: (writer, message) => {
      if (message.reject) {
        writer.counter(4, message.hintTerm);
        writer.counter(3, message.hintIndex);
      }
      writer.counter(2, message.index);
      writer.bool(1, message.reject);
    },
    read: (reader, envelope) => {
      const [reject = 0, index = 0, hintIndex = 0, hintTerm = 0] = readCounts(reader, 4);
      const head = { type: "appendResponse", ...envelope } as const;
      return reject === 0
        ? { ...head, reject: false, index }
        : { ...head, reject: true, index, hintIndex, hintTerm };
    },
  },
  heartbeat: {
    field: 10,
    write: (writer, { commit, round }) => {
      writer.counter(2, round);
      writer.counter(1, commit);
    },
    read: (reader, envelope) => {
      const [commit = 0, round = 0] = readCounts(reader, 2);
      return { type: "heartbeat", ...envelope, commit, round };
    },
  },
  heartbeatResponse: {
    field: 11,
    write: (writer, { round }) => writer.counter(1, round),
    read: (reader, envelope) => {
      const [round = 0] = readCounts(reader, 1);
      return { type: "heartbeatResponse", ...envelope, round };
    },
  },
  vote: vote("vote", 12),
  preVote: vote("preVote", 13),
  voteResponse: voteResponse("voteResponse", 14),
  preVoteResponse: voteResponse("preVoteResponse", 15),
  readIndex: {
    field: 16,
    write: (writer, { ticket }) => writer.counter(1, ticket),
    read: (reader, envelope) => {
      const [ticket = 0] = readCounts(reader, 1);
      return { type: "readIndex", ...envelope, ticket };
    },
  },
  readIndexResponse: {
    field: 17,
    write: (writer, { ticket, index }) => {
      writer.counter(2, index);
      writer.counter(1, ticket);
    },
    read: (reader, envelope) => {
      const [ticket = 0, index = 0] = readCounts(reader, 2);
      return { type: "readIndexResponse", ...envelope, ticket, index };
    },
  },
  snapshot: {
    field: 18,
    write: (writer, { meta: { index, term, confState } }) => {
      const before = writer.size;
      writeConfState(writer, confState);
      writer.embed(3, before);
      writer.counter(2, term);
      writer.counter(1, index);
    },
    read: readSnapshot,
  },
  transferLeader: {
    field: 19,
    write: (writer, { transferee }) => writer.counter(1, transferee),
    read: (reader, envelope) => {
      const [transferee = 0] = readCounts(reader, 1);
      return { type: "transferLeader", ...envelope, transferee };
    },
  },
  timeoutNow: {
    field: 20,
    write: () => undefined,
    read: (reader, envelope) => {
      readCounts(reader, 0);
      return { type: "timeoutNow", ...envelope };
    },
  },
};

const KIND_FIELD_MIN = 8;
const BY_FIELD: ReadonlyMap<number, Shape<Message>> = new Map(
  (Object.values(SHAPES) as unknown as readonly Shape<Message>[]).map((shape) => [
    shape.field,
    shape,
  ]),
);

/** Writes `message` as a Raft message, without a tag around it. */
export function writeRaftMessage(writer: Writer, message: Message): void {
  const shape = SHAPES[message.type] as unknown as Shape<Message>;
  const before = writer.size;
  shape.write(writer, message);
  writer.embed(shape.field, before);
  writer.counter(3, message.term);
  writer.counter(2, message.version);
  writer.counter(1, message.incarnation);
}

/** Null for a kind of message that this version does not know, which a newer peer may send. Throws DecodeError. */
export function readRaftMessage(
  bytes: Uint8Array,
  group: GroupId,
  ends: { readonly from: NodeId; readonly to: NodeId },
): Message | null {
  const reader = new Reader(bytes);
  let incarnation = 0;
  let version = 0;
  let term = 0;
  let kind: Uint8Array | null = null;
  let shape: Shape<Message> | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    const field = tag >>> 3;
    if (tag === 0x08) incarnation = reader.count();
    else if (tag === 0x10) version = reader.count();
    else if (tag === 0x18) term = reader.count();
    else if (field >= KIND_FIELD_MIN && (tag & 7) === 2) {
      shape = BY_FIELD.get(field);
      kind = reader.bytes();
    } else reader.skip(tag, 3);
  }
  if (kind === null || shape === undefined) return null;
  const { from, to } = ends;
  return shape.read(new Reader(kind), { group, incarnation, version, from, to, term });
}

function readAppend(reader: Reader, envelope: Envelope): MessageOf<"append"> {
  let prevIndex = 0;
  let prevTerm = 0;
  let commit = 0;
  const entries: { term: number; type: number; data: Uint8Array }[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) prevIndex = reader.count();
    else if (tag === 0x10) prevTerm = reader.count();
    else if (tag === 0x18) commit = reader.count();
    else if (tag === 0x22) {
      if (entries.length === ENTRIES_MAX) reader.fail("an append of too many entries");
      entries.push(readEntry(reader));
    } else reader.skip(tag, 4);
  }
  return {
    type: "append",
    ...envelope,
    prevIndex,
    prevTerm,
    commit,
    entries: entries.map((entry, i) => ({ index: prevIndex + 1 + i, ...entry }) as Entry),
  };
}

/** Its data is a copy: entries stay in memory long after the frame that brought them. */
function readEntry(reader: Reader): { term: number; type: number; data: Uint8Array } {
  const outerEnd = reader.enter();
  let term = 0;
  let type = 0;
  let data: Uint8Array | null = null;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) term = reader.count();
    else if (tag === 0x10) type = reader.count();
    else if (tag === 0x1a) data = reader.bytes();
    else reader.skip(tag, 3);
  }
  if (type > EntryType.empty) reader.fail(`an entry of unknown type ${type}`);
  // Also what keeps a frame of nothing but empty entries from being worth many times its size.
  if (term === 0) reader.fail("an entry without a term");
  reader.leave(outerEnd);
  return { term, type, data: data === null ? new Uint8Array(0) : data.slice() };
}

function readSnapshot(reader: Reader, envelope: Envelope): MessageOf<"snapshot"> {
  let index = 0;
  let term = 0;
  let confState: ConfState | null = null;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) index = reader.count();
    else if (tag === 0x10) term = reader.count();
    else if (tag === 0x1a) confState = readConfState(reader);
    else reader.skip(tag, 3);
  }
  if (confState === null) reader.fail("a snapshot without a configuration");
  return { type: "snapshot", ...envelope, meta: { index, term, confState } };
}

function writeConfState(writer: Writer, state: ConfState): void {
  writer.bool(5, state.autoLeave);
  const lists = [state.voters, state.votersOutgoing, state.learners, state.learnersNext];
  for (let field = lists.length; field > 0; field--) {
    const ids = lists[field - 1] as readonly NodeId[];
    for (let i = ids.length - 1; i >= 0; i--) writer.counter(field, ids[i] as NodeId);
  }
}

/** Lists of numbers may come one by one or packed: both are the protocol's. */
function readConfState(reader: Reader): ConfState {
  const outerEnd = reader.enter();
  const lists: NodeId[][] = [[], [], [], []];
  let autoLeave = false;
  let members = 0;
  const take = (ids: NodeId[]): void => {
    if (++members > MEMBERS_MAX) reader.fail("a configuration of too many members");
    ids.push(reader.count());
  };
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    const ids = lists[(tag >>> 3) - 1];
    if (tag === 0x28) autoLeave = reader.bool();
    else if (ids !== undefined && (tag & 7) === 0) take(ids);
    else if (ids !== undefined && (tag & 7) === 2) {
      const listEnd = reader.enter();
      while (!reader.isAtEnd) take(ids);
      reader.leave(listEnd);
    } else reader.skip(tag, 5);
  }
  reader.leave(outerEnd);
  const [voters = [], votersOutgoing = [], learners = [], learnersNext = []] = lists;
  return { voters, votersOutgoing, learners, learnersNext, autoLeave };
}

/** The numbers of a message that holds nothing but numbers, in the order of their fields. */
function readCounts(reader: Reader, fields: number): number[] {
  const counts = Array.from({ length: fields }, () => 0);
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    const field = tag >>> 3;
    if ((tag & 7) === 0 && field <= fields) counts[field - 1] = reader.count();
    else reader.skip(tag, fields);
  }
  return counts;
}
