/** The services without a transport: message bytes in, message bytes and status out, on a database that obeys. */
import { beforeEach, describe, expect, it } from "vitest";
import { HarmonyError } from "../../base/index.ts";
// The generated code is the oracle of tests and no part of the codec's door.
// oxlint-disable-next-line no-restricted-imports
import * as pb from "../../codec/protobuf/gen/etcdserverpb/rpc.ts";
// oxlint-disable-next-line no-restricted-imports
import {
  HealthCheckRequest,
  HealthCheckResponse,
} from "../../codec/protobuf/gen/grpc/health/v1/health.ts";
import type { LeaseStatus, Outcome } from "../../db/index.ts";
import { type EtcdMethods, etcdMethods } from "./etcd-methods.ts";
import { EMPTY_RANGE, FakeDatabase, memoryLog } from "./fake-database.suite.ts";
import type { Call, StreamCall, StreamListener } from "./method.ts";
import type { GrpcStatus } from "./status.ts";

const HEADER = { cluster_id: 0xfedc_ba98_7654_3210n, member_id: 7n, revision: 5n, raft_term: 3n };
const A = Uint8Array.of(0x61);
const B = Uint8Array.of(0x62);
const NONE = new Uint8Array(0);

let database: FakeDatabase;
let log: ReturnType<typeof memoryLog>;
let served: EtcdMethods;

beforeEach(() => {
  database = new FakeDatabase();
  log = memoryLog();
  served = etcdMethods(database, { etcd: "3.6.11", storage: "1.0" }, log.sink, {
    progressIntervalMs: 100,
    fragmentBytes: 1000,
  });
});

function callWith(metadata: Readonly<Record<string, string>> = {}): Call {
  return { metadata: (name) => metadata[name] };
}

interface Answer {
  readonly status: GrpcStatus | null;
  readonly response: Uint8Array;
}

/** Calls a unary method that answers at once, exactly once. */
function ask(path: string, request: Uint8Array = NONE, call: Call = callWith()): Answer {
  const method = served.methods.find((m) => m.path === path);
  if (method?.kind !== "unary") throw new Error(`${path} is not a unary method`);
  const answers: Answer[] = [];
  method.handle(request, call, (status, response) => answers.push({ status, response }));
  expect(answers).toHaveLength(1);
  return answers[0] as Answer;
}

interface OpenedStream {
  readonly listener: StreamListener;
  readonly sent: Uint8Array[];
  readonly ends: (GrpcStatus | null)[];
}

function open(path: string, call: Call = callWith()): OpenedStream {
  const method = served.methods.find((m) => m.path === path);
  if (method === undefined || method.kind === "unary") throw new Error(`${path} is not a stream`);
  const sent: Uint8Array[] = [];
  const ends: (GrpcStatus | null)[] = [];
  const stream: StreamCall = {
    ...call,
    send: (m) => sent.push(m),
    isWritable: true,
    whenWritable: (next) => next(),
    end: (status) => ends.push(status),
  };
  return { listener: method.open(stream), sent, ends };
}

describe("KV", () => {
  it("Range asks the database in its own words and answers with the revision of the answer", () => {
    database.onRange = (_request, reply) =>
      reply(null, {
        ...EMPTY_RANGE,
        revision: 9,
        more: true,
        count: 3,
        kvs: [
          { key: A, value: B, createRevision: 2, modRevision: 4, version: 2, lease: 2n ** 62n },
        ],
      });
    const request = pb.RangeRequest.encode({
      key: A,
      range_end: B,
      limit: 1n,
      revision: 8n,
      sort_order: 2,
      sort_target: 4,
      serializable: true,
      keys_only: true,
      count_only: true,
      min_mod_revision: 1n,
      max_mod_revision: 2n,
      min_create_revision: 3n,
      max_create_revision: 4n,
    }).finish();
    const { status, response } = ask("/etcdserverpb.KV/Range", request);
    expect(status).toBeNull();
    expect(database.ranges).toEqual([
      {
        kind: "range",
        key: A,
        rangeEnd: B,
        limit: 1,
        revision: 8,
        sortOrder: "descend",
        sortTarget: "value",
        serializable: true,
        keysOnly: true,
        countOnly: true,
        minModRevision: 1,
        maxModRevision: 2,
        minCreateRevision: 3,
        maxCreateRevision: 4,
      },
    ]);
    expect(pb.RangeResponse.decode(response)).toEqual({
      header: { ...HEADER, revision: 9n },
      kvs: [
        { key: A, value: B, create_revision: 2n, mod_revision: 4n, version: 2n, lease: 2n ** 62n },
      ],
      more: true,
      count: 3n,
    });
  });

  it.each([
    ["sort_order", 3],
    ["sort_target", 5],
    ["sort_order", -1],
  ])("Range refuses %s %i, which nobody defined, but names a missing key first", (field, value) => {
    const request = { ...pb.RangeRequest.decode(NONE), [field]: value } as pb.RangeRequest;
    expect(ask("/etcdserverpb.KV/Range", pb.RangeRequest.encode(request).finish()).status).toEqual({
      code: 3,
      message: "etcdserver: key is not provided",
    });
    expect(
      ask("/etcdserverpb.KV/Range", pb.RangeRequest.encode({ ...request, key: A }).finish()).status,
    ).toEqual({
      code: 3,
      message: "etcdserver: invalid sort option",
    });
    expect(database.ranges).toEqual([]);
  });

  it("Put, DeleteRange and Compact", () => {
    const prev = { key: A, value: B, createRevision: 2, modRevision: 2, version: 1, lease: 0n };
    const answers: Outcome[] = [
      { kind: "put", revision: 6, prevKv: prev },
      { kind: "deleteRange", revision: 7, deleted: 1, prevKvs: [prev] },
      { kind: "compact", revision: 7 },
    ];
    database.onWrite = (_request, reply) => reply(null, answers.shift() as Outcome);
    const put = ask(
      "/etcdserverpb.KV/Put",
      Uint8Array.of(0x0a, 1, 0x61, 0x12, 1, 0x62, 0x18, 9, 0x20, 1),
    );
    expect(pb.PutResponse.decode(put.response)).toMatchObject({
      header: { revision: 6n },
      prev_kv: { key: A, value: B, create_revision: 2n },
    });
    const deleted = ask("/etcdserverpb.KV/DeleteRange", Uint8Array.of(0x0a, 1, 0x61, 0x18, 1));
    expect(pb.DeleteRangeResponse.decode(deleted.response)).toMatchObject({
      header: { revision: 7n },
      deleted: 1n,
      prev_kvs: [{ key: A }],
    });
    const compacted = ask("/etcdserverpb.KV/Compact", Uint8Array.of(0x08, 4, 0x10, 1));
    expect(pb.CompactionResponse.decode(compacted.response)).toEqual({
      header: { ...HEADER, revision: 7n },
    });
    expect(database.writes).toEqual([
      {
        kind: "put",
        key: A,
        value: B,
        lease: 9n,
        prevKv: true,
        ignoreValue: false,
        ignoreLease: false,
      },
      { kind: "deleteRange", key: A, rangeEnd: NONE, prevKv: true },
      { kind: "compact", revision: 4, physical: true },
    ]);
  });

  it("Txn translates every compare; a union that does not fit its target counts as zero", () => {
    database.onWrite = (_request, reply) =>
      reply(null, { kind: "txn", revision: 5, succeeded: true, responses: [EMPTY_RANGE] });
    const compare = (result: number, target: number, union: object): pb.Compare =>
      ({ key: A, range_end: NONE, result, target, ...union }) as pb.Compare;
    const request = pb.TxnRequest.encode({
      compare: [
        compare(0, 0, { version: 1n }),
        compare(1, 1, { create_revision: 2n }),
        compare(2, 2, { mod_revision: 3n }),
        compare(3, 3, { value: B }),
        compare(0, 4, { lease: 2n ** 62n }),
        compare(0, 0, { mod_revision: 8n }),
        compare(0, 3, { lease: 8n }),
        compare(0, 4, {}),
      ],
      success: [
        { request_txn: { compare: [], success: [], failure: [{}] } } as unknown as pb.RequestOp,
      ],
      failure: [],
    }).finish();
    const { response } = ask("/etcdserverpb.KV/Txn", request);
    expect(pb.TxnResponse.decode(response)).toMatchObject({
      succeeded: true,
      responses: [{ response_range: { header: { revision: 5n, cluster_id: 0n } } }],
    });
    const at = { key: A, rangeEnd: NONE };
    expect(database.writes).toEqual([
      {
        kind: "txn",
        compare: [
          { ...at, result: "equal", operand: { target: "version", number: 1 } },
          { ...at, result: "greater", operand: { target: "create", number: 2 } },
          { ...at, result: "less", operand: { target: "mod", number: 3 } },
          { ...at, result: "notEqual", operand: { target: "value", bytes: B } },
          { ...at, result: "equal", operand: { target: "lease", lease: 2n ** 62n } },
          { ...at, result: "equal", operand: { target: "version", number: 0 } },
          { ...at, result: "equal", operand: { target: "value", bytes: NONE } },
          { ...at, result: "equal", operand: { target: "lease", lease: 0n } },
        ],
        success: [{ kind: "txn", compare: [], success: [], failure: [{ kind: "unset" }] }],
        failure: [],
      },
    ]);
  });

  it.each([
    ["result", { result: 4, target: 0 }],
    ["target", { result: 0, target: 5 }],
  ])(
    "Txn refuses a compare %s that nobody defined: what it guards must not run",
    (_what, numbers) => {
      const request = pb.TxnRequest.encode({
        compare: [{ key: A, range_end: NONE, ...numbers } as pb.Compare],
        success: [],
        failure: [],
      }).finish();
      expect(ask("/etcdserverpb.KV/Txn", request).status?.code).toBe(3);
      expect(database.writes).toEqual([]);
    },
  );

  it("Txn nested deeper than is followed has too many operations", () => {
    let message: number[] = [];
    for (let level = 0; level < 250; level++) {
      const op = [0x22, ...lengthPrefix(message.length), ...message];
      message = [0x12, ...lengthPrefix(op.length), ...op];
    }
    expect(ask("/etcdserverpb.KV/Txn", Uint8Array.from(message)).status).toEqual({
      code: 3,
      message: "etcdserver: too many operations in txn request",
    });
  });
});

describe("errors", () => {
  it("a refusal and an error of the database become their status", () => {
    database.onWrite = (_request, reply) =>
      reply(null, { kind: "error", code: "LEASE_NOT_FOUND", revision: 5, detail: null });
    expect(ask("/etcdserverpb.KV/Put").status).toEqual({
      code: 5,
      message: "etcdserver: requested lease not found",
    });
    database.onWrite = (_request, reply) =>
      reply(new HarmonyError("TIMEOUT"), undefined as unknown as Outcome);
    expect(ask("/etcdserverpb.KV/Put").status).toEqual({
      code: 14,
      message: "etcdserver: request timed out",
    });
    expect(log.lines).toEqual([]);
  });

  it("bytes that are no message are INTERNAL, as grpc-go answers", () => {
    for (const { path, kind } of served.methods) {
      if (kind !== "unary") continue;
      const { status } = ask(path, Uint8Array.of(0x0a, 0x05, 1));
      expect(status?.code, path).toBe(13);
      expect(status?.message, path).toContain("grpc: error unmarshalling request: ");
    }
    expect(log.lines).toEqual([]);
  });

  it("a defect in a handler is UNKNOWN and a log line, and tells the client nothing", () => {
    database.onWrite = () => {
      throw new Error("a secret");
    };
    expect(ask("/etcdserverpb.KV/Put").status).toEqual({
      code: 2,
      message: "harmonydb: internal error",
    });
    expect(log.lines).toMatchObject([{ level: "error", fields: { error: "a secret" } }]);
  });

  it("a defect in encoding an answer does not reach the database that called back", () => {
    const method = served.methods.find((m) => m.path === "/etcdserverpb.KV/DeleteRange");
    if (method?.kind !== "unary") throw new Error("DeleteRange is a unary method");
    let callBack: ((outcome: Outcome) => void) | null = null;
    database.onWrite = (_request, reply) => (callBack = (outcome) => reply(null, outcome));
    const codes: (number | undefined)[] = [];
    const answerLater = (outcome: Outcome): void => {
      method.handle(NONE, callWith(), (status) => codes.push(status?.code));
      callBack?.(outcome);
    };
    answerLater({ kind: "deleteRange", revision: 5, deleted: -1, prevKvs: [] });
    answerLater({ kind: "compact", revision: 5 });
    answerLater({ kind: "deleteRange", revision: 5, deleted: 1, prevKvs: [] });
    expect(codes).toEqual([2, 2, undefined]);
    expect(log.lines).toHaveLength(2);
  });
});

describe("metadata", () => {
  it("hasleader is refused while there is no leader, on calls and on streams", () => {
    const request = Uint8Array.of(0x0a, 1, 0x61);
    expect(
      ask("/etcdserverpb.KV/Range", request, callWith({ hasleader: "true" })).status,
    ).toBeNull();
    database.hasLeader = false;
    const noLeader = { code: 14, message: "etcdserver: no leader" };
    expect(ask("/etcdserverpb.KV/Range", request, callWith({ hasleader: "true" })).status).toEqual(
      noLeader,
    );
    expect(
      ask("/etcdserverpb.KV/Range", request, callWith({ hasleader: "yes" })).status,
    ).toBeNull();
    expect(
      open("/etcdserverpb.Lease/LeaseKeepAlive", callWith({ hasleader: "true" })).ends,
    ).toEqual([noLeader]);
    expect(open("/etcdserverpb.Lease/LeaseKeepAlive").ends).toEqual([]);
  });

  it("a client version must be text", () => {
    const request = Uint8Array.of(0x0a, 1, 0x61);
    const at = (version: string): number | undefined =>
      ask("/etcdserverpb.KV/Range", request, callWith({ "client-api-version": version })).status
        ?.code;
    expect(at("3.4.0")).toBeUndefined();
    expect(at("\xc3\xa9")).toBeUndefined();
    expect(at("\xc3\x28")).toBe(3);
  });
});

describe("Lease", () => {
  it("Grant and Revoke keep 64-bit ids", () => {
    database.onWrite = (request, reply) =>
      reply(
        null,
        request.kind === "leaseGrant"
          ? { kind: "leaseGrant", revision: 5, id: request.id, ttlSeconds: 2n }
          : { kind: "leaseRevoke", revision: 6 },
      );
    const grant = pb.LeaseGrantRequest.encode({ TTL: -5n, ID: 2n ** 63n - 1n }).finish();
    expect(
      pb.LeaseGrantResponse.decode(ask("/etcdserverpb.Lease/LeaseGrant", grant).response),
    ).toEqual({
      header: HEADER,
      ID: 2n ** 63n - 1n,
      TTL: 2n,
      error: "",
    });
    const revoke = pb.LeaseRevokeRequest.encode({ ID: -7n }).finish();
    expect(
      pb.LeaseRevokeResponse.decode(ask("/etcdserverpb.Lease/LeaseRevoke", revoke).response),
    ).toEqual({
      header: { ...HEADER, revision: 6n },
    });
    expect(database.writes).toEqual([
      { kind: "leaseGrant", ttlSeconds: -5n, id: 2n ** 63n - 1n },
      { kind: "leaseRevoke", id: -7n },
    ]);
  });

  it("TimeToLive and Leases", () => {
    const known: LeaseStatus = {
      revision: 5,
      ttlSeconds: -1n,
      grantedTtlSeconds: 0n,
      keys: [A, B],
    };
    const asked: unknown[] = [];
    database.onLeaseStatus = (id, withKeys, reply) => {
      asked.push([id, withKeys]);
      reply(null, known);
    };
    const request = pb.LeaseTimeToLiveRequest.encode({ ID: -2n, keys: true }).finish();
    expect(
      pb.LeaseTimeToLiveResponse.decode(
        ask("/etcdserverpb.Lease/LeaseTimeToLive", request).response,
      ),
    ).toEqual({
      header: HEADER,
      ID: -2n,
      TTL: -1n,
      grantedTTL: 0n,
      keys: [A, B],
    });
    expect(asked).toEqual([[-2n, true]]);
    database.leaseIds = [3n, -1n];
    expect(pb.LeaseLeasesResponse.decode(ask("/etcdserverpb.Lease/LeaseLeases").response)).toEqual({
      header: HEADER,
      leases: [{ ID: 3n }, { ID: -1n }],
    });
  });

  it("KeepAlive answers each request before the next, and a lost lease with TTL 0", () => {
    const replies: ((outcome: Outcome) => void)[] = [];
    database.onWrite = (_request, reply) => replies.push((outcome) => reply(null, outcome));
    const { listener, sent, ends } = open("/etcdserverpb.Lease/LeaseKeepAlive");
    let done = 0;
    const send = (id: bigint): void =>
      listener.message(pb.LeaseKeepAliveRequest.encode({ ID: id }).finish(), () => done++);
    send(1n);
    expect(done).toBe(0);
    replies[0]?.({ kind: "leaseKeepAlive", revision: 5, ttlSeconds: 60n });
    expect(done).toBe(1);
    send(2n);
    replies[1]?.({ kind: "leaseKeepAlive", revision: 6, ttlSeconds: 0n });
    expect(done).toBe(2);
    expect(sent.map((message) => pb.LeaseKeepAliveResponse.decode(message))).toEqual([
      { header: HEADER, ID: 1n, TTL: 60n },
      { header: { ...HEADER, revision: 6n }, ID: 2n, TTL: 0n },
    ]);
    listener.halfClosed();
    expect(ends).toEqual([null]);
  });

  it("KeepAlive ends with the status of any other error, and of bytes that are no message", () => {
    database.onWrite = (_request, reply) =>
      reply(new HarmonyError("NO_LEADER"), undefined as unknown as Outcome);
    const lost = open("/etcdserverpb.Lease/LeaseKeepAlive");
    lost.listener.message(Uint8Array.of(0x08, 1), () => {});
    expect(lost.ends).toEqual([{ code: 14, message: "etcdserver: no leader" }]);
    const garbled = open("/etcdserverpb.Lease/LeaseKeepAlive");
    garbled.listener.message(Uint8Array.of(0x08), () => {});
    expect(garbled.ends).toMatchObject([{ code: 13 }]);
  });
});

describe("Cluster, Maintenance, health", () => {
  it("MemberList has one member and no revision; the linearizable one reads through the leader first", () => {
    const local = pb.MemberListResponse.decode(ask("/etcdserverpb.Cluster/MemberList").response);
    expect(local).toEqual({
      header: { ...HEADER, revision: 0n },
      members: [
        {
          ID: 7n,
          name: "n1",
          peerURLs: ["http://127.0.0.1:2380"],
          clientURLs: ["http://127.0.0.1:2379"],
          isLearner: false,
        },
      ],
    });
    expect(database.ranges).toEqual([]);
    const linearizable = ask("/etcdserverpb.Cluster/MemberList", Uint8Array.of(0x08, 1));
    expect(pb.MemberListResponse.decode(linearizable.response)).toEqual(local);
    expect(database.ranges).toMatchObject([{ serializable: false, countOnly: true }]);
    database.onRange = (_request, reply) => reply(new HarmonyError("NO_LEADER"), EMPTY_RANGE);
    expect(ask("/etcdserverpb.Cluster/MemberList", Uint8Array.of(0x08, 1)).status?.code).toBe(14);
  });

  it("members come, go, move and are promoted; each answer lists all, and an addition the new one", () => {
    const added = {
      id: 2n ** 63n,
      name: "",
      peerUrls: ["http://b:1"],
      clientUrls: [],
      isLearner: true,
    };
    database.onMembers = (_request, reply) =>
      reply(null, { kind: "members", revision: 5, added, members: [added] });
    const wire = {
      ID: added.id,
      name: "",
      peerURLs: ["http://b:1"],
      clientURLs: [],
      isLearner: true,
    };
    const add = pb.MemberAddRequest.encode({ peerURLs: ["http://b:1"], isLearner: true }).finish();
    expect(
      pb.MemberAddResponse.decode(ask("/etcdserverpb.Cluster/MemberAdd", add).response),
    ).toEqual({ header: { ...HEADER, revision: 0n }, member: wire, members: [wire] });
    database.onMembers = (_request, reply) =>
      reply(null, { kind: "members", revision: 5, added: null, members: [added] });
    const id = pb.MemberRemoveRequest.encode({ ID: added.id }).finish();
    const update = pb.MemberUpdateRequest.encode({ ID: 9n, peerURLs: ["http://c:1"] }).finish();
    for (const [name, request] of [
      ["MemberRemove", id],
      ["MemberUpdate", update],
      ["MemberPromote", id],
    ] as const)
      expect(
        pb.MemberListResponse.decode(ask(`/etcdserverpb.Cluster/${name}`, request).response),
      ).toEqual({ header: { ...HEADER, revision: 0n }, members: [wire] });
    expect(database.memberRequests).toEqual([
      { kind: "memberAdd", peerUrls: ["http://b:1"], isLearner: true },
      { kind: "memberRemove", id: added.id },
      { kind: "memberUpdate", id: 9n, peerUrls: ["http://c:1"] },
      { kind: "memberPromote", id: added.id },
    ]);
    database.onMembers = (_request, reply) =>
      reply(null, { kind: "error", code: "MEMBER_NOT_FOUND", revision: 5, detail: null });
    expect(ask("/etcdserverpb.Cluster/MemberRemove", id).status).toEqual({
      code: 5,
      message: "etcdserver: member not found",
    });
  });

  it("MoveLeader answers nothing when it is done, and says when it cannot be", () => {
    const target = pb.MoveLeaderRequest.encode({ targetID: 9n }).finish();
    const path = "/etcdserverpb.Maintenance/MoveLeader";
    expect(ask(path, target)).toMatchObject({ status: null, response: new Uint8Array(0) });
    database.moveError = new HarmonyError("BAD_TRANSFEREE");
    expect(ask(path, target).status).toEqual({
      code: 9,
      message: "etcdserver: bad leader transferee",
    });
    expect(database.targets).toEqual([9n, 9n]);
    // As etcd's, a member that follows sends its caller to the one that leads.
    const status = database.status();
    database.status = () => ({ ...status, leader: 9n });
    expect(ask(path, target).status).toEqual({ code: 9, message: "etcdserver: not leader" });
    expect(database.targets).toEqual([9n, 9n]);
  });

  it("Status tells everything that it knows", () => {
    expect(pb.StatusResponse.decode(ask("/etcdserverpb.Maintenance/Status").response)).toEqual({
      header: HEADER,
      version: "3.6.11",
      dbSize: 8192n,
      leader: 7n,
      raftIndex: 40n,
      raftTerm: 3n,
      raftAppliedIndex: 39n,
      errors: [],
      dbSizeInUse: 4096n,
      isLearner: false,
      storageVersion: "1.0",
      dbSizeQuota: 2_147_483_648n,
    });
  });

  it("Alarm lists what is raised, without a header, raises and clears", () => {
    expect(ask("/etcdserverpb.Maintenance/Alarm")).toEqual({ status: null, response: NONE });
    const status = database.status();
    const raised = [
      { memberId: status.memberId, alarm: "NOSPACE" as const },
      { memberId: 2n ** 64n - 1n, alarm: "CORRUPT" as const },
    ];
    database.status = () => ({ ...status, raised });
    expect(pb.AlarmResponse.decode(ask("/etcdserverpb.Maintenance/Alarm").response)).toEqual({
      header: undefined,
      alarms: [
        { memberID: status.memberId, alarm: 1 },
        { memberID: 2n ** 64n - 1n, alarm: 2 },
      ],
    });
    const alarm = (action: number, memberID: bigint, kind: number): unknown => {
      const request = pb.AlarmRequest.encode({
        action: action as pb.AlarmRequest["action"],
        memberID,
        alarm: kind as pb.AlarmRequest["alarm"],
      }).finish();
      const { status: failed, response } = ask("/etcdserverpb.Maintenance/Alarm", request);
      expect(failed).toBeNull();
      return pb.AlarmResponse.decode(response).alarms;
    };
    expect(alarm(0, 0n, 2)).toEqual([{ memberID: 2n ** 64n - 1n, alarm: 2 }]);
    expect(alarm(1, 7n, 1)).toEqual([{ memberID: 7n, alarm: 1 }]);
    expect(alarm(2, 2n ** 64n - 1n, 2)).toEqual([{ memberID: 2n ** 64n - 1n, alarm: 2 }]);
    // Nobody has raised it: etcd says nothing, too. Nor is there an alarm of no kind.
    expect(alarm(2, 9n, 2)).toEqual([]);
    expect(alarm(1, 9n, 0)).toEqual([]);
    expect(database.alarmsSet).toEqual([
      [{ memberId: 7n, alarm: "NOSPACE" }, true],
      [{ memberId: 2n ** 64n - 1n, alarm: "CORRUPT" }, false],
      [{ memberId: 9n, alarm: "CORRUPT" }, false],
    ]);
  });

  it("health: SERVING for the server and each service, NOT_FOUND or SERVICE_UNKNOWN for others", () => {
    const name = (service: string): Uint8Array => HealthCheckRequest.encode({ service }).finish();
    const statusOfService = (service: string): number =>
      HealthCheckResponse.decode(ask("/grpc.health.v1.Health/Check", name(service)).response)
        .status;
    expect(statusOfService("")).toBe(1);
    expect(statusOfService("etcdserverpb.KV")).toBe(1);
    expect(ask("/grpc.health.v1.Health/Check", name("nope")).status).toEqual({
      code: 5,
      message: "unknown service",
    });
    const watch = open("/grpc.health.v1.Health/Watch");
    watch.listener.message(name(""), () => {});
    const other = open("/grpc.health.v1.Health/Watch");
    other.listener.message(name("nope"), () => {});
    const gone = open("/grpc.health.v1.Health/Watch");
    gone.listener.message(name(""), () => {});
    gone.listener.closed();
    served.stopServing();
    const seen = (sent: readonly Uint8Array[]): number[] =>
      sent.map((m) => HealthCheckResponse.decode(m).status);
    expect(seen(watch.sent)).toEqual([1, 2]);
    expect(seen(other.sent)).toEqual([3]);
    expect(seen(gone.sent)).toEqual([1]);
    expect(statusOfService("")).toBe(2);
  });
});

function lengthPrefix(length: number): number[] {
  const out: number[] = [];
  for (; length >= 0x80; length >>>= 7) out.push((length & 0x7f) | 0x80);
  out.push(length);
  return out;
}
