/** What clients send: the hand-written decoders against the generated code, and against bytes that are no messages. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkEmptyRequest,
  decodeAlarmRequest,
  decodeCompactRequest,
  decodeDeleteRangeRequest,
  decodeHealthCheckRequest,
  decodeLeaseGrantRequest,
  decodeLeaseIdRequest,
  decodeLeaseTimeToLiveRequest,
  decodeMemberAddRequest,
  decodeMemberIdRequest,
  decodeHashKvRequest,
  decodeMemberListRequest,
  decodeMemberUpdateRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  decodeWatchRequest,
  DecodeError,
  type WireCompare,
  type WireRequestOp,
} from "../index.ts";
import * as pb from "./gen/etcdserverpb/rpc.ts";
import { HealthCheckRequest } from "./gen/grpc/health/v1/health.ts";

const DECODERS: readonly ((message: Uint8Array) => unknown)[] = [
  checkEmptyRequest,
  decodeAlarmRequest,
  decodeCompactRequest,
  decodeDeleteRangeRequest,
  decodeHealthCheckRequest,
  decodeLeaseGrantRequest,
  decodeLeaseIdRequest,
  decodeLeaseTimeToLiveRequest,
  decodeMemberAddRequest,
  decodeMemberIdRequest,
  decodeHashKvRequest,
  decodeMemberListRequest,
  decodeMemberUpdateRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  decodeWatchRequest,
];

const bytes = (): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: 40 });
const int64 = (): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.bigInt({ min: -3n, max: 300n }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.constantFrom(
      2n ** 53n - 1n,
      2n ** 53n,
      -(2n ** 53n),
      2n ** 31n,
      2n ** 32n,
      2n ** 63n - 1n,
      -(2n ** 63n),
    ),
  );
const enumeration = (): fc.Arbitrary<number> => fc.oneof(fc.nat(5), fc.integer());

const range = (): fc.Arbitrary<pb.RangeRequest> =>
  fc.record({
    key: bytes(),
    range_end: bytes(),
    limit: int64(),
    revision: int64(),
    sort_order: enumeration() as fc.Arbitrary<pb.RangeRequest_SortOrder>,
    sort_target: enumeration() as fc.Arbitrary<pb.RangeRequest_SortTarget>,
    serializable: fc.boolean(),
    keys_only: fc.boolean(),
    count_only: fc.boolean(),
    min_mod_revision: int64(),
    max_mod_revision: int64(),
    min_create_revision: int64(),
    max_create_revision: int64(),
  });
const put = (): fc.Arbitrary<pb.PutRequest> =>
  fc.record({
    key: bytes(),
    value: bytes(),
    lease: int64(),
    prev_kv: fc.boolean(),
    ignore_value: fc.boolean(),
    ignore_lease: fc.boolean(),
  });
const deleteRange = (): fc.Arbitrary<pb.DeleteRangeRequest> =>
  fc.record({ key: bytes(), range_end: bytes(), prev_kv: fc.boolean() });
const compare = (): fc.Arbitrary<pb.Compare> =>
  fc
    .tuple(
      fc.record({ result: enumeration(), target: enumeration(), key: bytes(), range_end: bytes() }),
      fc.oneof(
        fc.constant({}),
        int64().map((version) => ({ version })),
        int64().map((create_revision) => ({ create_revision })),
        int64().map((mod_revision) => ({ mod_revision })),
        bytes().map((value) => ({ value })),
        int64().map((lease) => ({ lease })),
      ),
    )
    .map(([base, union]) => ({ ...base, ...union }) as pb.Compare);
const { txn } = fc.letrec<{ txn: pb.TxnRequest; op: pb.RequestOp }>((tie) => ({
  txn: fc.record({
    compare: fc.array(compare(), { maxLength: 3 }),
    success: fc.array(tie("op"), { maxLength: 3 }),
    failure: fc.array(tie("op"), { maxLength: 3 }),
  }),
  op: fc.oneof(
    { maxDepth: 4 },
    fc.constant({} as pb.RequestOp),
    range().map((request_range) => ({ request_range }) as pb.RequestOp),
    put().map((request_put) => ({ request_put }) as pb.RequestOp),
    deleteRange().map((request_delete_range) => ({ request_delete_range }) as pb.RequestOp),
    tie("txn").map((request_txn) => ({ request_txn }) as pb.RequestOp),
  ),
}));

const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);

/** What a decoder makes of a 64-bit counter: itself, or the nearest safe integer. */
function counter(value: bigint): number {
  return Number(value > LARGEST ? LARGEST : value < -LARGEST ? -LARGEST : value);
}

function expectedOp(op: pb.RequestOp): WireRequestOp {
  if (op.request_range !== undefined) {
    const r = op.request_range;
    return {
      kind: "range",
      key: r.key,
      rangeEnd: r.range_end,
      limit: counter(r.limit),
      revision: counter(r.revision),
      sortOrder: r.sort_order,
      sortTarget: r.sort_target,
      serializable: r.serializable,
      keysOnly: r.keys_only,
      countOnly: r.count_only,
      minModRevision: counter(r.min_mod_revision),
      maxModRevision: counter(r.max_mod_revision),
      minCreateRevision: counter(r.min_create_revision),
      maxCreateRevision: counter(r.max_create_revision),
    };
  }
  if (op.request_put !== undefined) {
    const p = op.request_put;
    return {
      kind: "put",
      key: p.key,
      value: p.value,
      lease: p.lease,
      prevKv: p.prev_kv,
      ignoreValue: p.ignore_value,
      ignoreLease: p.ignore_lease,
    };
  }
  if (op.request_delete_range !== undefined) {
    const d = op.request_delete_range;
    return { kind: "deleteRange", key: d.key, rangeEnd: d.range_end, prevKv: d.prev_kv };
  }
  if (op.request_txn !== undefined) {
    const t = op.request_txn;
    return {
      kind: "txn",
      compare: t.compare.map(expectedCompare),
      success: t.success.map(expectedOp),
      failure: t.failure.map(expectedOp),
    };
  }
  return { kind: "unset" };
}

function expectedCompare(c: pb.Compare): WireCompare {
  const union: WireCompare["union"] =
    c.version !== undefined
      ? { member: "version", number: counter(c.version) }
      : c.create_revision !== undefined
        ? { member: "create", number: counter(c.create_revision) }
        : c.mod_revision !== undefined
          ? { member: "mod", number: counter(c.mod_revision) }
          : c.value !== undefined
            ? { member: "value", bytes: c.value }
            : c.lease !== undefined
              ? { member: "lease", lease: c.lease }
              : { member: "none" };
  return { key: c.key, rangeEnd: c.range_end, result: c.result, target: c.target, union };
}

describe("decoders read what the generated encoders write", () => {
  it("Range", () => {
    fc.assert(
      fc.property(range(), (request) => {
        const decoded = decodeRangeRequest(pb.RangeRequest.encode(request).finish());
        expect(decoded).toEqual(expectedOp({ request_range: request } as pb.RequestOp));
      }),
    );
  });

  it("Put", () => {
    fc.assert(
      fc.property(put(), (request) => {
        const decoded = decodePutRequest(pb.PutRequest.encode(request).finish());
        expect(decoded).toEqual(expectedOp({ request_put: request } as pb.RequestOp));
      }),
    );
  });

  it("DeleteRange", () => {
    fc.assert(
      fc.property(deleteRange(), (request) => {
        const decoded = decodeDeleteRangeRequest(pb.DeleteRangeRequest.encode(request).finish());
        expect(decoded).toEqual(expectedOp({ request_delete_range: request } as pb.RequestOp));
      }),
    );
  });

  it("Txn, with compares and nested transactions", () => {
    fc.assert(
      fc.property(txn, (request) => {
        const decoded = decodeTxnRequest(pb.TxnRequest.encode(request).finish());
        expect(decoded).toEqual(expectedOp({ request_txn: request } as pb.RequestOp));
      }),
    );
  });

  it("Compact, and the Lease, Cluster, Maintenance and Health requests", () => {
    fc.assert(
      fc.property(
        int64(),
        int64(),
        fc.boolean(),
        fc.nat(5),
        fc.string({ unit: "grapheme" }),
        (a, b, flag, number, service) => {
          expect(
            decodeCompactRequest(
              pb.CompactionRequest.encode({ revision: a, physical: flag }).finish(),
            ),
          ).toEqual({
            kind: "compact",
            revision: counter(a),
            physical: flag,
          });
          expect(
            decodeLeaseGrantRequest(pb.LeaseGrantRequest.encode({ TTL: a, ID: b }).finish()),
          ).toEqual({
            ttlSeconds: a,
            id: b,
          });
          expect(decodeLeaseIdRequest(pb.LeaseRevokeRequest.encode({ ID: a }).finish())).toBe(a);
          expect(decodeLeaseIdRequest(pb.LeaseKeepAliveRequest.encode({ ID: b }).finish())).toBe(b);
          expect(
            decodeLeaseTimeToLiveRequest(
              pb.LeaseTimeToLiveRequest.encode({ ID: a, keys: flag }).finish(),
            ),
          ).toEqual({ id: a, keys: flag });
          expect(
            decodeMemberListRequest(pb.MemberListRequest.encode({ linearizable: flag }).finish()),
          ).toBe(flag);
          const peerURLs = [service, "http://a:1"];
          expect(
            decodeMemberAddRequest(
              pb.MemberAddRequest.encode({ peerURLs, isLearner: flag }).finish(),
            ),
          ).toEqual({ peerUrls: peerURLs, isLearner: flag });
          const ID = BigInt.asUintN(64, b);
          expect(
            decodeMemberUpdateRequest(pb.MemberUpdateRequest.encode({ ID, peerURLs }).finish()),
          ).toEqual({ id: ID, peerUrls: peerURLs });
          for (const bytes of [
            pb.MemberRemoveRequest.encode({ ID }).finish(),
            pb.MemberPromoteRequest.encode({ ID }).finish(),
            pb.MoveLeaderRequest.encode({ targetID: ID }).finish(),
          ])
            expect(decodeMemberIdRequest(bytes)).toBe(ID);
          const memberID = BigInt.asUintN(64, a);
          const alarm = { action: number, memberID, alarm: number } as pb.AlarmRequest;
          expect(decodeAlarmRequest(pb.AlarmRequest.encode(alarm).finish())).toEqual({
            action: number,
            memberId: memberID,
            alarm: number,
          });
          expect(decodeHealthCheckRequest(HealthCheckRequest.encode({ service }).finish())).toBe(
            service,
          );
        },
      ),
    );
  });
});

describe("decoders are total", () => {
  const soundOrTyped = (decode: (message: Uint8Array) => unknown, message: Uint8Array): void => {
    try {
      decode(message);
    } catch (error) {
      expect(error).toBeInstanceOf(DecodeError);
    }
  };

  it("any bytes give a message or a DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (message) => {
        for (const decode of DECODERS) soundOrTyped(decode, message);
      }),
      { numRuns: 2000 },
    );
  });

  it("so does a good message with bytes changed, and every beginning of it", () => {
    fc.assert(
      fc.property(txn, fc.nat(), fc.nat(255), (request, at, byte) => {
        const message = pb.TxnRequest.encode(request).finish();
        for (let size = 0; size < Math.min(message.length, 100); size++) {
          soundOrTyped(decodeTxnRequest, message.subarray(0, size));
        }
        if (message.length === 0) return;
        message[at % message.length] = byte;
        soundOrTyped(decodeTxnRequest, message);
      }),
    );
  });

  it("fields that this version does not know are stepped over, whatever their type", () => {
    const known = pb.PutRequest.encode({
      key: Uint8Array.of(1),
      value: Uint8Array.of(2),
      lease: 3n,
      prev_kv: true,
      ignore_value: false,
      ignore_lease: false,
    }).finish();
    const unknown: readonly number[][] = [
      [0xf8, 0x07, 0x96, 0x01], // field 127, number
      [0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8], // 64 bits
      [0xfd, 0x07, 1, 2, 3, 4], // 32 bits
      [0xfa, 0x07, 2, 9, 9], // bytes
      [0xfb, 0x07, 0xfb, 0x07, 0x08, 0x01, 0xfc, 0x07, 0xfc, 0x07], // a group in a group
    ];
    for (const field of unknown) {
      const message = Uint8Array.from([...field, ...known, ...field]);
      expect(decodePutRequest(message)).toEqual(decodePutRequest(known));
    }
  });

  const refused: readonly (readonly [string, readonly number[]])[] = [
    ["a number that does not end", [0x18, 0x80, 0x80]],
    ["a number of eleven bytes", [0x18, ...Array<number>(10).fill(0x80), 0x01]],
    ["a number of 65 bits", [0x18, ...Array<number>(9).fill(0xff), 0x02]],
    ["a length beyond the message", [0x0a, 0x05, 1, 2]],
    ["a length of 4 GiB", [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ["a length of 2^63", [0x0a, ...Array<number>(9).fill(0x80), 0x01]],
    ["a key sent as a number", [0x08, 0x01]],
    ["a lease sent as bytes", [0x1a, 0x01, 0x00]],
    ["field number zero", [0x00, 0x01]],
    ["a tag of more than 32 bits", [0x8a, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00]],
    ["wire type 6", [0xfe, 0x07]],
    ["an unknown field cut short", [0xf9, 0x07, 1, 2, 3]],
    ["the end of a group that did not begin", [0xfc, 0x07]],
    ["a group that ends before it begins", [0xfc, 0x07, 0xfb, 0x07]],
    ["a group that does not end", [0xfb, 0x07]],
  ];
  it.each(refused)("%s is refused", (_what, message) => {
    expect(() => decodePutRequest(Uint8Array.from(message))).toThrow(DecodeError);
  });

  it("an embedded message cannot read past its own end", () => {
    // success { range { key: 4 bytes claimed, 1 there } } followed by bytes of the outer message.
    const message = Uint8Array.of(0x12, 0x05, 0x0a, 0x03, 0x0a, 0x04, 0x61, 0x1a, 0x00, 0x1a, 0x00);
    expect(() => decodeTxnRequest(message)).toThrow("a length reaches beyond the message");
  });

  it("a service name that is not UTF-8 is refused", () => {
    expect(() => decodeHealthCheckRequest(Uint8Array.of(0x0a, 0x02, 0xc3, 0x28))).toThrow(
      DecodeError,
    );
  });

  it("a million open groups need no stack", () => {
    const message = new Uint8Array(1_000_000).fill(0xfb);
    for (let i = 1; i < message.length; i += 2) message[i] = 0x07;
    expect(() => decodePutRequest(message)).toThrow("a group does not end");
  });

  it("transactions nested beyond what is followed are told apart from malformed ones", () => {
    /** Written from the inside out, so reversed: success { request_txn { ... } } on every level. */
    const nested = (levels: number): Uint8Array => {
      const reversed: number[] = [];
      for (let level = 0; level < levels; level++) {
        reversed.push(...lengthPrefix(reversed.length).toReversed(), 0x22);
        reversed.push(...lengthPrefix(reversed.length).toReversed(), 0x12);
      }
      return Uint8Array.from(reversed.toReversed());
    };
    expect(decodeTxnRequest(nested(200)).success).toHaveLength(1);
    expect(() => decodeTxnRequest(nested(201))).toThrow(
      expect.objectContaining({ fault: "too-deep" }) as Error,
    );
    expect(() => decodeTxnRequest(nested(20_000))).toThrow(
      expect.objectContaining({ fault: "too-deep" }) as Error,
    );
  });

  it("values are views of the message, not copies", () => {
    const message = Uint8Array.of(0x0a, 0x01, 0x61, 0x12, 0x02, 0x62, 0x63);
    const { value } = decodePutRequest(message);
    expect(value.buffer).toBe(message.buffer);
    expect(value.byteOffset).toBe(5);
  });

  it("the last of several occurrences counts", () => {
    // key "a", then key "b"; a operation that is a range and then a put.
    expect(decodePutRequest(Uint8Array.of(0x0a, 1, 0x61, 0x0a, 1, 0x62)).key).toEqual(
      Uint8Array.of(0x62),
    );
    expect(decodeTxnRequest(Uint8Array.of(0x12, 4, 0x0a, 0, 0x12, 0)).success[0]).toMatchObject({
      kind: "put",
    });
  });
});

function lengthPrefix(length: number): number[] {
  const out: number[] = [];
  for (; length >= 0x80; length >>>= 7) out.push((length & 0x7f) | 0x80);
  out.push(length);
  return out;
}
