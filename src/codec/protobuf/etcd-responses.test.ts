/** What we answer: the generated code must read it, and write the very same bytes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { equalBytes } from "../../base/index.ts";
import {
  encodeDeleteRangeResponse,
  encodeHeaderOnlyResponse,
  encodeHealthCheckResponse,
  encodeLeaseLeasesResponse,
  encodeLeaseTimeToLiveResponse,
  encodeLeaseTtlResponse,
  encodeMemberAddResponse,
  encodeMemberListResponse,
  encodePutResponse,
  encodeRangeResponse,
  encodeSnapshotResponse,
  encodeStatusResponse,
  encodeTxnResponse,
  responderId,
  type ResponseHeader,
} from "../index.ts";
import * as pb from "./gen/etcdserverpb/rpc.ts";
import { HealthCheckResponse } from "./gen/grpc/health/v1/health.ts";
import type { KeyValue } from "./gen/mvccpb/kv.ts";
import { Writer } from "./writer.ts";

type RangeArgument = Parameters<typeof encodeRangeResponse>[1];
type PutArgument = Parameters<typeof encodePutResponse>[1];
type DeleteArgument = Parameters<typeof encodeDeleteRangeResponse>[1];
type TxnArgument = Parameters<typeof encodeTxnResponse>[1];
type OurKeyValue = RangeArgument["kvs"][number];

const uint64 = (): fc.Arbitrary<bigint> => fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const int64 = (): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.constantFrom(0n, -1n, 1n, 2n ** 63n - 1n),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  );
const counter = (): fc.Arbitrary<number> =>
  fc.oneof(
    fc.nat(300),
    fc.maxSafeNat(),
    fc.constantFrom(
      127,
      128,
      16383,
      16384,
      2 ** 31 - 1,
      2 ** 31,
      2 ** 32,
      2 ** 35,
      2 ** 42,
      Number.MAX_SAFE_INTEGER,
    ),
  );
const bytes = (): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: 60 });

const ids = fc.record({
  cluster: uint64(),
  member: uint64(),
  revision: counter(),
  term: counter(),
});
type Ids = typeof ids extends fc.Arbitrary<infer T> ? T : never;

const headerOf = (of: Ids): ResponseHeader => ({
  responder: responderId(of.cluster, of.member),
  revision: of.revision,
  raftTerm: of.term,
});
const pbHeader = (of: Ids): pb.ResponseHeader => ({
  cluster_id: of.cluster,
  member_id: of.member,
  revision: BigInt(of.revision),
  raft_term: BigInt(of.term),
});

const keyValue = (): fc.Arbitrary<OurKeyValue> =>
  fc.record({
    key: bytes(),
    value: bytes(),
    createRevision: counter(),
    modRevision: counter(),
    version: counter(),
    lease: int64(),
  });
const rangeResponse = fc.record({
  kvs: fc.array(keyValue(), { maxLength: 5 }),
  more: fc.boolean(),
  count: counter(),
});
const putResponse = fc.record({ prevKv: fc.option(keyValue()) });
const deleteResponse = fc.record({
  deleted: counter(),
  prevKvs: fc.array(keyValue(), { maxLength: 4 }),
});
const { txnResponse } = fc.letrec<{
  txnResponse: TxnArgument;
  op: TxnArgument["responses"][number];
}>((tie) => ({
  txnResponse: fc.record({
    succeeded: fc.boolean(),
    responses: fc.array(tie("op"), { maxLength: 3 }),
  }),
  op: fc.oneof(
    { maxDepth: 3 },
    fc
      .tuple(rangeResponse, counter())
      .map(([r, revision]) => ({ kind: "range" as const, revision, ...r })),
    fc
      .tuple(putResponse, counter())
      .map(([r, revision]) => ({ kind: "put" as const, revision, ...r })),
    fc
      .tuple(deleteResponse, counter())
      .map(([r, revision]) => ({ kind: "deleteRange" as const, revision, ...r })),
    tie("txnResponse").map((r) => ({ kind: "txn" as const, ...r })),
  ),
}));

const pbKeyValue = (kv: OurKeyValue): KeyValue => ({
  key: kv.key,
  create_revision: BigInt(kv.createRevision),
  mod_revision: BigInt(kv.modRevision),
  version: BigInt(kv.version),
  value: kv.value,
  lease: kv.lease,
});
const pbRange = (header: pb.ResponseHeader | undefined, r: RangeArgument): pb.RangeResponse => ({
  header,
  kvs: r.kvs.map(pbKeyValue),
  more: r.more,
  count: BigInt(r.count),
});
const pbPut = (header: pb.ResponseHeader | undefined, r: PutArgument): pb.PutResponse => ({
  header,
  prev_kv: r.prevKv === null ? undefined : pbKeyValue(r.prevKv),
});
const pbDelete = (
  header: pb.ResponseHeader | undefined,
  r: DeleteArgument,
): pb.DeleteRangeResponse => ({
  header,
  deleted: BigInt(r.deleted),
  prev_kvs: r.prevKvs.map(pbKeyValue),
});
const revisionOnly = (revision: number): pb.ResponseHeader => ({
  cluster_id: 0n,
  member_id: 0n,
  revision: BigInt(revision),
  raft_term: 0n,
});
const pbTxn = (header: pb.ResponseHeader | undefined, r: TxnArgument): pb.TxnResponse => ({
  header,
  succeeded: r.succeeded,
  responses: r.responses.map((op): pb.ResponseOp => {
    switch (op.kind) {
      case "range":
        return { response_range: pbRange(revisionOnly(op.revision), op) } as pb.ResponseOp;
      case "put":
        return { response_put: pbPut(revisionOnly(op.revision), op) } as pb.ResponseOp;
      case "deleteRange":
        return { response_delete_range: pbDelete(revisionOnly(op.revision), op) } as pb.ResponseOp;
      case "txn":
        return { response_txn: pbTxn(revisionOnly(0), op) } as pb.ResponseOp;
    }
  }),
});

/** Plain arrays: a difference in bytes shows as a difference. */
const plain = (b: Uint8Array): number[] => [...b];

describe("encoders write what the generated encoders write", () => {
  it("Range, Put, DeleteRange and header-only responses", () => {
    fc.assert(
      fc.property(ids, rangeResponse, putResponse, deleteResponse, (of, range, put, deleted) => {
        const header = headerOf(of);
        const expected = pbHeader(of);
        expect(plain(encodeRangeResponse(header, range))).toEqual(
          plain(pb.RangeResponse.encode(pbRange(expected, range)).finish()),
        );
        expect(plain(encodePutResponse(header, put))).toEqual(
          plain(pb.PutResponse.encode(pbPut(expected, put)).finish()),
        );
        expect(plain(encodeDeleteRangeResponse(header, deleted))).toEqual(
          plain(pb.DeleteRangeResponse.encode(pbDelete(expected, deleted)).finish()),
        );
        expect(plain(encodeHeaderOnlyResponse(header))).toEqual(
          plain(pb.CompactionResponse.encode({ header: expected }).finish()),
        );
      }),
    );
  });

  it("Txn: operations carry their revision alone, nested transactions an empty header", () => {
    fc.assert(
      fc.property(ids, txnResponse, (of, txn) => {
        expect(plain(encodeTxnResponse(headerOf(of), txn))).toEqual(
          plain(pb.TxnResponse.encode(pbTxn(pbHeader(of), txn)).finish()),
        );
      }),
    );
  });

  it("Lease responses", () => {
    fc.assert(
      fc.property(
        ids,
        int64(),
        int64(),
        fc.array(int64()),
        fc.array(bytes()),
        (of, id, ttl, leases, keys) => {
          const header = headerOf(of);
          const expected = pbHeader(of);
          expect(plain(encodeLeaseTtlResponse(header, id, ttl))).toEqual(
            plain(
              pb.LeaseGrantResponse.encode({
                header: expected,
                ID: id,
                TTL: ttl,
                error: "",
              }).finish(),
            ),
          );
          expect(plain(encodeLeaseTtlResponse(header, id, ttl))).toEqual(
            plain(
              pb.LeaseKeepAliveResponse.encode({ header: expected, ID: id, TTL: ttl }).finish(),
            ),
          );
          const status = { ttlSeconds: ttl, grantedTtlSeconds: id, keys };
          expect(plain(encodeLeaseTimeToLiveResponse(header, id, status))).toEqual(
            plain(
              pb.LeaseTimeToLiveResponse.encode({
                header: expected,
                ID: id,
                TTL: ttl,
                grantedTTL: id,
                keys,
              }).finish(),
            ),
          );
          expect(plain(encodeLeaseLeasesResponse(header, leases))).toEqual(
            plain(
              pb.LeaseLeasesResponse.encode({
                header: expected,
                leases: leases.map((ID) => ({ ID })),
              }).finish(),
            ),
          );
        },
      ),
    );
  });

  it("MemberList, Status and health", () => {
    const word = fc.string({ unit: "grapheme" });
    const member = fc.record({
      id: uint64(),
      name: word,
      peerUrls: fc.array(word),
      clientUrls: fc.array(word),
      isLearner: fc.boolean(),
    });
    const status = fc.record({
      version: word,
      sizeBytes: counter(),
      leader: uint64(),
      raftIndex: counter(),
      raftTerm: counter(),
      raftAppliedIndex: counter(),
      errors: fc.array(word),
      sizeInUseBytes: counter(),
      isLearner: fc.boolean(),
      storageVersion: word,
      quotaBytes: counter(),
    });
    fc.assert(
      fc.property(ids, fc.array(member, { maxLength: 4 }), status, (of, members, s) => {
        const header = headerOf(of);
        const expected = pbHeader(of);
        expect(plain(encodeMemberListResponse(header, members))).toEqual(
          plain(
            pb.MemberListResponse.encode({
              header: expected,
              members: members.map((m) => ({
                ID: m.id,
                name: m.name,
                peerURLs: [...m.peerUrls],
                clientURLs: [...m.clientUrls],
                isLearner: m.isLearner,
              })),
            }).finish(),
          ),
        );
        const [first] = members;
        if (first !== undefined) {
          const wire = (m: (typeof members)[number]): pb.Member => ({
            ID: m.id,
            name: m.name,
            peerURLs: [...m.peerUrls],
            clientURLs: [...m.clientUrls],
            isLearner: m.isLearner,
          });
          expect(plain(encodeMemberAddResponse(header, first, members))).toEqual(
            plain(
              pb.MemberAddResponse.encode({
                header: expected,
                member: wire(first),
                members: members.map(wire),
              }).finish(),
            ),
          );
        }
        expect(plain(encodeStatusResponse(header, s))).toEqual(
          plain(
            pb.StatusResponse.encode({
              header: expected,
              version: s.version,
              dbSize: BigInt(s.sizeBytes),
              leader: s.leader,
              raftIndex: BigInt(s.raftIndex),
              raftTerm: BigInt(s.raftTerm),
              raftAppliedIndex: BigInt(s.raftAppliedIndex),
              errors: [...s.errors],
              dbSizeInUse: BigInt(s.sizeInUseBytes),
              isLearner: s.isLearner,
              storageVersion: s.storageVersion,
              dbSizeQuota: BigInt(s.quotaBytes),
            }).finish(),
          ),
        );
      }),
    );
    const piece = fc.record({ remainingBytes: counter(), blob: bytes(), version: word });
    fc.assert(
      fc.property(piece, (given) => {
        const { remainingBytes, blob, version } = given;
        const expected = { remaining_bytes: BigInt(remainingBytes), blob, version };
        expect(plain(encodeSnapshotResponse(given))).toEqual(
          plain(pb.SnapshotResponse.encode({ header: undefined, ...expected }).finish()),
        );
      }),
    );
    for (const [name, number] of [
      ["serving", 1],
      ["notServing", 2],
      ["serviceUnknown", 3],
    ] as const) {
      expect(HealthCheckResponse.decode(encodeHealthCheckResponse(name)).status).toBe(number);
    }
  });
});

describe("the writer's memory", () => {
  it("an answer stays as it is while later ones are written, small and large", () => {
    const writer = new Writer();
    const held: { readonly message: Uint8Array; readonly copy: Uint8Array }[] = [];
    const sizes = [1, 70, 5_000, 40_000, 70_000, 3, 65_536, 65_500, 200_000, 0, 1_000];
    for (let round = 0; round < 20; round++) {
      for (const size of sizes) {
        writer.begin();
        writer.bytes(1, new Uint8Array(size).fill(round + 1));
        writer.counter(2, size);
        const message = writer.finish();
        held.push({ message, copy: message.slice() });
      }
    }
    expect(held.every(({ message, copy }) => equalBytes(message, copy))).toBe(true);
  });

  it("a message that was begun and given up leaves nothing behind", () => {
    const writer = new Writer();
    writer.begin().counter(1, 5);
    writer.begin().counter(2, 7);
    expect(plain(writer.finish())).toEqual([0x10, 7]);
  });

  it("refuses a counter that is no safe non-negative integer", () => {
    for (const value of [-1, 1.5, 2 ** 53, Number.NaN]) {
      expect(() => new Writer().begin().counter(1, value)).toThrow("safe non-negative integer");
    }
  });
});
