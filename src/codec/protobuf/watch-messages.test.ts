/** The messages of Watch against the generated code. Hostile bytes: etcd-requests.test.ts. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeWatchRequest,
  encodeWatchResponse,
  responderId,
  type WireEvent,
  type WireWatchResponse,
} from "../index.ts";
import * as pb from "./gen/etcdserverpb/rpc.ts";
import type { Event, KeyValue } from "./gen/mvccpb/kv.ts";

const bytes = fc.uint8Array({ maxLength: 40 });
const int64 = fc.oneof(
  fc.constantFrom(0n, -1n, 1n, 2n ** 63n - 1n, -(2n ** 63n)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const counter = fc.oneof(fc.nat(300), fc.maxSafeNat());

const create: fc.Arbitrary<pb.WatchCreateRequest> = fc.record({
  key: bytes,
  range_end: bytes,
  start_revision: fc.bigInt({ min: -(2n ** 53n) + 1n, max: 2n ** 53n - 1n }),
  progress_notify: fc.boolean(),
  filters: fc.array(fc.oneof(fc.nat(3), fc.integer()), {
    maxLength: 4,
  }) as fc.Arbitrary<pb.WatchCreateRequest["filters"]>,
  prev_kv: fc.boolean(),
  watch_id: int64,
  fragment: fc.boolean(),
});

const keyValue = fc.record({
  key: bytes,
  value: bytes,
  createRevision: counter,
  modRevision: counter,
  version: counter,
  lease: int64,
});
const event: fc.Arbitrary<WireEvent> = fc.record({
  type: fc.constantFrom("put", "delete"),
  kv: keyValue,
  prevKv: fc.option(keyValue),
});
const response: fc.Arbitrary<Required<WireWatchResponse>> = fc.record({
  watchId: int64,
  created: fc.boolean(),
  canceled: fc.boolean(),
  compactRevision: counter,
  cancelReason: fc.string({ unit: "grapheme" }),
  fragment: fc.boolean(),
  events: fc.array(event, { maxLength: 5 }),
});

const pbKeyValue = (kv: WireEvent["kv"]): KeyValue => ({
  key: kv.key,
  create_revision: BigInt(kv.createRevision),
  mod_revision: BigInt(kv.modRevision),
  version: BigInt(kv.version),
  value: kv.value,
  lease: kv.lease,
});
const pbEvent = ({ type, kv, prevKv }: WireEvent): Event => ({
  type: type === "delete" ? 1 : 0,
  kv: pbKeyValue(kv),
  prev_kv: prevKv === null ? undefined : pbKeyValue(prevKv),
});

describe("WatchRequest", () => {
  it("is read as the generated code writes it", () => {
    fc.assert(
      fc.property(create, int64, (request, id) => {
        const encode = (message: Partial<pb.WatchRequest>): Uint8Array =>
          pb.WatchRequest.encode(message as pb.WatchRequest).finish();
        expect(decodeWatchRequest(encode({ create_request: request }))).toEqual({
          kind: "create",
          key: request.key,
          rangeEnd: request.range_end,
          startRevision: Number(request.start_revision),
          progressNotify: request.progress_notify,
          noPut: request.filters.includes(0),
          noDelete: request.filters.includes(1),
          prevKv: request.prev_kv,
          watchId: request.watch_id,
          fragment: request.fragment,
        });
        expect(decodeWatchRequest(encode({ cancel_request: { watch_id: id } }))).toEqual({
          kind: "cancel",
          watchId: id,
        });
        expect(decodeWatchRequest(encode({ progress_request: {} }))).toEqual({ kind: "progress" });
        expect(decodeWatchRequest(encode({}))).toEqual({ kind: "unset" });
      }),
    );
  });

  it("may hold its filters one by one, as older clients send them", () => {
    const request = decodeWatchRequest(Uint8Array.of(0x0a, 7, 0x28, 1, 0x0a, 1, 0x61, 0x28, 0));
    expect(request).toMatchObject({ kind: "create", noPut: true, noDelete: true });
  });

  it("with filters that end in the middle of a number is refused", () => {
    expect(() => decodeWatchRequest(Uint8Array.of(0x0a, 4, 0x2a, 2, 0, 0x80))).toThrow(
      "the message ends inside a number",
    );
  });
});

describe("WatchResponse", () => {
  it("is written as the generated code writes it, whole and in part", () => {
    fc.assert(
      fc.property(response, fc.nat(5), fc.nat(5), (r, a, b) => {
        const header = { responder: responderId(3n, 2n ** 64n - 1n), revision: 12, raftTerm: 4 };
        const expected = (events: readonly WireEvent[]): number[] => [
          ...pb.WatchResponse.encode({
            header: {
              cluster_id: 3n,
              member_id: 2n ** 64n - 1n,
              revision: 12n,
              raft_term: 4n,
            },
            watch_id: r.watchId,
            created: r.created,
            canceled: r.canceled,
            compact_revision: BigInt(r.compactRevision),
            cancel_reason: r.cancelReason,
            fragment: r.fragment,
            events: events.map(pbEvent),
          }).finish(),
        ];
        expect([...encodeWatchResponse(header, r)]).toEqual(expected(r.events));
        const to = Math.min(Math.max(a, b), r.events.length);
        const from = Math.min(a, b, to);
        expect([...encodeWatchResponse(header, r, from, to)]).toEqual(
          expected(r.events.slice(from, to)),
        );
      }),
    );
  });
});
