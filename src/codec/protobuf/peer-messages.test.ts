/** What members say to each other, against the generated code, and against bytes that no member sends. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32c } from "../../base/index.ts";
import type { Entry, Message } from "../../raft/index.ts";
import {
  BATCH_ITEMS_MAX,
  DecodeError,
  decodePeerFrame,
  decodePeerItem,
  encodeBatchFrame,
  encodePeerFrame,
  encodePeerItem,
  FORWARDED_COMMANDS_MAX,
  type PeerFrame,
  type PeerItem,
} from "../index.ts";
import * as pb from "./gen/harmonydb/peer.ts";

const ENDS = { from: 3, to: 9 };
const count = fc.oneof(fc.nat(300), fc.maxSafeNat());
const term = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 52 }));
const bytes = fc.uint8Array({ maxLength: 60 });
const members = fc.array(fc.integer({ min: 1, max: 2 ** 52 }), { maxLength: 4 });
const envelope = {
  group: count,
  incarnation: count,
  version: fc.nat(9),
  from: fc.constant(ENDS.from),
  to: fc.constant(ENDS.to),
  term: count,
};
const append: fc.Arbitrary<Message> = fc
  .record({
    type: fc.constant("append" as const),
    ...envelope,
    prevIndex: fc.nat(2 ** 40),
    prevTerm: count,
    commit: count,
    entries: fc.array(
      fc.record({ index: fc.constant(0), term, type: fc.constantFrom(0, 1, 2), data: bytes }),
      { maxLength: 6 },
    ) as fc.Arbitrary<Entry[]>,
  })
  .map((message) => ({
    ...message,
    entries: message.entries.map((entry, i) => ({ ...entry, index: message.prevIndex + 1 + i })),
  }));
const message: fc.Arbitrary<Message> = fc.oneof(
  append,
  fc.record({
    type: fc.constant("appendResponse" as const),
    ...envelope,
    reject: fc.constant(false as const),
    index: count,
  }),
  fc.record({
    type: fc.constant("appendResponse" as const),
    ...envelope,
    reject: fc.constant(true as const),
    index: count,
    hintIndex: count,
    hintTerm: count,
  }),
  fc.record({ type: fc.constant("heartbeat" as const), ...envelope, commit: count, round: count }),
  fc.record({ type: fc.constant("heartbeatResponse" as const), ...envelope, round: count }),
  fc.record({
    type: fc.constantFrom("vote" as const, "preVote" as const),
    ...envelope,
    lastIndex: count,
    lastTerm: count,
    isTransfer: fc.constantFrom(true, undefined),
  }),
  fc.record({
    type: fc.constantFrom("voteResponse" as const, "preVoteResponse" as const),
    ...envelope,
    reject: fc.boolean(),
    committed: fc.option(fc.record({ index: fc.integer({ min: 1, max: 2 ** 52 }), term: count }), {
      nil: undefined,
    }),
  }),
  fc.record({
    type: fc.constant("snapshot" as const),
    ...envelope,
    meta: fc.record({
      index: count,
      term: count,
      confState: fc.record({
        voters: members,
        votersOutgoing: members,
        learners: members,
        learnersNext: members,
        autoLeave: fc.boolean(),
      }),
    }),
  }),
  fc.record({ type: fc.constant("transferLeader" as const), ...envelope, transferee: count }),
  fc.record({ type: fc.constant("timeoutNow" as const), ...envelope }),
  fc.record({ type: fc.constant("readIndex" as const), ...envelope, ticket: count }),
  fc.record({
    type: fc.constant("readIndexResponse" as const),
    ...envelope,
    ticket: count,
    index: count,
  }),
);
const raftItem: fc.Arbitrary<PeerItem> = message.map((of) => ({
  kind: "raft",
  group: of.group,
  message: of,
}));
const command = fc.record({
  data: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  reserve: fc.boolean(),
  isConfChange: fc.boolean(),
});
const item: fc.Arbitrary<PeerItem> = fc.oneof(
  { weight: 3, arbitrary: raftItem },
  fc.record({
    kind: fc.constant("forward" as const),
    group: count,
    ticket: count,
    commands: fc.array(command, { maxLength: 5 }),
  }),
  fc.record({
    kind: fc.constant("placed" as const),
    group: count,
    ticket: count,
    count,
    index: count,
    term: count,
    position: count,
  }),
  fc.record({
    kind: fc.constant("declined" as const),
    group: count,
    ticket: count,
    count,
    code: fc.string({ unit: "grapheme" }),
  }),
  fc.record({
    kind: fc.constant("stateHash" as const),
    group: count,
    index: count,
    hash: fc.nat(0xffff_ffff),
    asks: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("quarantine" as const),
    group: count,
    incarnation: count,
    what: fc.string({ unit: "grapheme" }),
  }),
  fc.record({ kind: fc.constant("room" as const), group: count, isFull: fc.boolean() }),
);
const id = fc.uint8Array({ minLength: 16, maxLength: 16 });
const text = fc.string({ unit: "grapheme", minLength: 1 });
const alone = fc.oneof(
  fc.record({
    kind: fc.constant("hello" as const),
    clusterId: count,
    from: count,
    to: count,
    bootId: id,
    walId: id,
    versionMin: fc.nat(9),
    versionMax: fc.nat(9),
    name: fc.string({ unit: "grapheme" }),
    clientUrls: fc.array(text, { maxLength: 3 }),
    purpose: fc.constantFrom("raft" as const, "snapshot" as const, "join" as const),
    peerUrls: fc.array(text, { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant("joinInfo" as const),
    clusterId: count,
    tokenDigest: text,
    appliedIndex: count,
    members: fc.array(
      fc.record({
        id: count,
        name: fc.string({ unit: "grapheme" }),
        peerUrls: fc.array(text, { maxLength: 3 }),
        isLearner: fc.boolean(),
      }),
      { maxLength: 4 },
    ),
  }),
  fc.record({
    kind: fc.constant("welcome" as const),
    version: fc.nat(9),
    bootId: id,
    walId: id,
    name: fc.string({ unit: "grapheme" }),
    clientUrls: fc.array(text, { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant("refusal" as const),
    code: fc.string({ unit: "grapheme" }),
    detail: fc.string({ unit: "grapheme" }),
  }),
  fc.record({
    kind: fc.constant("ask" as const),
    group: count,
    indexAtLeast: count,
    bytes: count,
    has: fc.option(
      fc.record({ sha256: fc.uint8Array({ minLength: 32, maxLength: 32 }), offset: count }),
    ),
  }),
  fc.record({
    kind: fc.constant("head" as const),
    index: count,
    term: count,
    sizeBytes: count,
    sha256: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    offset: count,
  }),
  fc.record({ kind: fc.constant("chunk" as const), offset: count, data: bytes }),
  fc.record({ kind: fc.constant("more" as const), bytes: count }),
  fc.record({ kind: fc.constant("taken" as const) }),
);

/** Everything that a frame says, down to the last item. */
function readAll(frame: Uint8Array): PeerFrame | readonly (PeerItem | null)[] {
  const read = decodePeerFrame(frame);
  return read.kind === "batch" ? read.items.map((each) => decodePeerItem(each, ENDS)) : read;
}

describe("what members say", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 6 }), (items) => {
        expect(readAll(encodeBatchFrame(items.map(encodePeerItem)))).toEqual(items);
      }),
    );
    fc.assert(
      fc.property(alone, (said) => {
        expect(readAll(encodePeerFrame(said))).toEqual(said);
      }),
    );
  });

  it("is what the generated code reads and writes", () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 4 }), (items) => {
        const ours = encodeBatchFrame(items.map(encodePeerItem));
        const frame = pb.Frame.decode(ours);
        expect(frame.crc).toBe(crc32c(frame.body));
        const body = pb.Body.decode(frame.body);
        const theirs = pb.Body.encode(body).finish();
        const again = pb.Frame.encode({ crc: crc32c(theirs), body: theirs }).finish();
        expect(readAll(again)).toEqual(items);
      }),
    );
    fc.assert(
      fc.property(alone, (said) => {
        const { body } = pb.Frame.decode(encodePeerFrame(said));
        const theirs = pb.Body.encode(pb.Body.decode(body)).finish();
        expect(theirs).toEqual(new Uint8Array(body));
      }),
    );
  });

  it("has the field numbers of the proto file", () => {
    const heartbeat: Message = {
      type: "heartbeat",
      group: 4,
      incarnation: 5,
      version: 1,
      from: ENDS.from,
      to: ENDS.to,
      term: 6,
      commit: 7,
      round: 8,
    };
    const encoded = encodePeerItem({ kind: "raft", group: 4, message: heartbeat });
    const theirs = pb.Item.decode(encoded);
    expect(theirs.group).toBe(4n);
    expect(theirs.raft).toMatchObject({ incarnation: 5n, version: 1, term: 6n });
    expect(theirs.raft?.heartbeat).toEqual({ commit: 7n, round: 8n });
  });

  it("may be of a kind that a newer member knows: it is stepped over", () => {
    // Item { group: 1, field 9: "x" }, and a Raft message of the unknown kind 30.
    expect(decodePeerItem(Uint8Array.of(0x08, 1, 0x4a, 1, 120), ENDS)).toBeNull();
    expect(
      decodePeerItem(Uint8Array.of(0x08, 1, 0x12, 5, 0x08, 1, 0xf2, 0x01, 0), ENDS),
    ).toBeNull();
  });
});

describe("what no member says", () => {
  it("a call for what is not known, or a snapshot without its digest, is an error", () => {
    const hello = pb.Hello.encode({
      ...pb.Hello.decode(new Uint8Array(0)),
      boot_id: new Uint8Array(16),
      wal_id: new Uint8Array(16),
      purpose: 77,
    });
    const frame = (of: Partial<pb.Body>): Uint8Array => {
      const body = pb.Body.encode({ ...pb.Body.decode(new Uint8Array(0)), ...of }).finish();
      return pb.Frame.encode({ crc: crc32c(body), body }).finish();
    };
    expect(() => decodePeerFrame(frame({ hello: pb.Hello.decode(hello.finish()) }))).toThrow(
      /for what this version does not know/,
    );
    const head = pb.SnapshotHead.decode(new Uint8Array(0));
    expect(() => decodePeerFrame(frame({ head }))).toThrow(/without its SHA-256/);
  });

  const sample = encodeBatchFrame([
    encodePeerItem({
      kind: "raft",
      group: 0,
      message: {
        type: "append",
        group: 0,
        incarnation: 1,
        version: 1,
        from: ENDS.from,
        to: ENDS.to,
        term: 300,
        prevIndex: 70_000,
        prevTerm: 299,
        commit: 69_999,
        entries: [{ index: 70_001, term: 300, type: 0, data: new Uint8Array(200).fill(7) }],
      },
    }),
    encodePeerItem({
      kind: "forward",
      group: 0,
      ticket: 12,
      commands: [{ data: Uint8Array.of(1, 2), reserve: true, isConfChange: false }],
    }),
  ]);

  it("cut anywhere, is an error", () => {
    for (let length = 0; length < sample.length; length++)
      expect(() => readAll(sample.subarray(0, length)), `cut to ${length}`).toThrow(DecodeError);
  });

  it("with any bit flipped, is an error", () => {
    for (let bit = 0; bit < sample.length * 8; bit++) {
      const flipped = sample.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => readAll(flipped), `bit ${bit}`).toThrow(DecodeError);
    }
  });

  it("any bytes under a checksum that fits, is an error or a message, and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        const frame = pb.Frame.encode({ crc: crc32c(body), body }).finish();
        for (const read of [
          () => readAll(frame),
          () => decodePeerItem(body, ENDS),
          () => decodePeerFrame(body),
        ]) {
          try {
            read();
          } catch (error) {
            expect(error).toBeInstanceOf(DecodeError);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("lengths and numbers beyond all reason take no memory", () => {
    const huge = [0xff, 0xff, 0xff, 0xff, 0x07];
    expect(() => decodePeerFrame(Uint8Array.of(0x0d, 0, 0, 0, 0, 0x12, ...huge))).toThrow(/length/);
    expect(() => decodePeerItem(Uint8Array.of(0x12, ...huge), ENDS)).toThrow(/length/);
    // A term of 2^63.
    const large = [...Array.from({ length: 9 }, () => 0x80), 0x01];
    expect(() => decodePeerItem(Uint8Array.of(0x12, 13, 0x18, ...large, 0x52, 0), ENDS)).toThrow(
      /out of range/,
    );
  });

  it("more parts than a frame may have are refused before they are made", () => {
    const items = new Uint8Array(2 * (BATCH_ITEMS_MAX + 1));
    for (let i = 0; i < items.length; i += 2) items[i] = 0x0a;
    const body = pb.Body.encode({
      ...pb.Body.decode(new Uint8Array(0)),
      batch: {
        items: Array.from({ length: BATCH_ITEMS_MAX + 1 }, () =>
          pb.Item.decode(items.subarray(0, 0)),
        ),
      },
    }).finish();
    const frame = pb.Frame.encode({ crc: crc32c(body), body }).finish();
    expect(() => decodePeerFrame(frame)).toThrow(/too many items/);
    const commands = Array.from({ length: FORWARDED_COMMANDS_MAX + 1 }, () => ({
      data: Uint8Array.of(1),
      reserve: false,
      isConfChange: false,
    }));
    const forward = encodePeerItem({ kind: "forward", group: 0, ticket: 1, commands });
    expect(() => decodePeerItem(forward, ENDS)).toThrow(/too many commands/);
    // A configuration of more members than any group has.
    const voters = Array.from({ length: 5000 }, (_, i) => i + 1);
    const confState = {
      voters,
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    const snapshot = { type: "snapshot", meta: { index: 1, term: 1, confState } } as const;
    const from = { group: 0, incarnation: 1, version: 1, term: 1, ...ENDS };
    const large = encodePeerItem({ kind: "raft", group: 0, message: { ...snapshot, ...from } });
    expect(() => decodePeerItem(large, ENDS)).toThrow(/too many members/);
    // Entries that say nothing would decode into many times their size.
    expect(() => decodePeerItem(Uint8Array.of(0x12, 4, 0x42, 2, 0x22, 0), ENDS)).toThrow(
      /without a term/,
    );
  });
});
