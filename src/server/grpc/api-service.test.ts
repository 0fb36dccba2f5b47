/** The service behind `connect` without a transport: whatever bytes come, an answer goes and the node lives. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { HarmonyError } from "../../base/index.ts";
import { apiMessages as wire } from "../../codec/index.ts";
import { decodeWholeOutcome, encodeRequest } from "../../db/index.ts";
import { ServiceContext } from "./answer.ts";
import { apiService } from "./api-service.ts";
import { EMPTY_RANGE, FakeDatabase, memoryLog } from "./fake-database.suite.ts";
import { guarded } from "./guard.ts";
import type { Method } from "./method.ts";
import type { GrpcStatus } from "./status.ts";

const K = Uint8Array.of(0x6b);
const EMPTY = new Uint8Array(0);

let database: FakeDatabase;
let log: ReturnType<typeof memoryLog>;
let methods: readonly Method[];

beforeEach(() => {
  database = new FakeDatabase();
  log = memoryLog();
  const context = new ServiceContext(database, log.sink);
  methods = apiService(context, undefined).map((method) => guarded(method, context));
});

function ask(name: string, request: Uint8Array): { status: GrpcStatus | null; bytes: Uint8Array } {
  const method = methods.find(({ path }) => path === `/harmonydb.v1.Api/${name}`);
  if (method?.kind !== "unary") throw new Error(`${name} is not a unary method`);
  const answers: { status: GrpcStatus | null; bytes: Uint8Array }[] = [];
  method.handle(request, { metadata: () => undefined }, (status, bytes) =>
    answers.push({ status, bytes }),
  );
  expect(answers).toHaveLength(1);
  return answers[0] as (typeof answers)[number];
}

const write = (more: Partial<wire.WriteRequest>): Uint8Array =>
  wire.WriteRequest.encode({
    command: encodeRequest({ kind: "mdel", keys: [K] }),
    session: 0n,
    number: 0n,
    timeout_ms: 0n,
    patience_ms: 0n,
    ...more,
  }).finish();

describe("harmonydb.v1.Api", () => {
  it("hands a write over with its times and its number, and answers with the whole outcome", () => {
    database.onWrite = (_request, reply) => reply(null, { kind: "mdel", revision: 9, deleted: 1 });
    const { bytes } = ask(
      "Write",
      write({ session: 5n, number: 7n, timeout_ms: 100n, patience_ms: 10n }),
    );
    const { outcome, failure } = wire.WriteResponse.decode(bytes);
    expect(failure).toBeUndefined();
    expect(decodeWholeOutcome(outcome)).toEqual({ kind: "mdel", revision: 9, deleted: 1 });
    expect(database.writes[0]).toMatchObject({ kind: "mdel" });
    expect(database.options[0]).toMatchObject({
      timeoutMs: 100,
      patienceMs: 10,
      requestId: { session: 5, number: 7 },
    });
  });

  it("says by its code why there is no outcome, and whether it may still happen", () => {
    database.onWrite = (_request, reply) =>
      reply(new HarmonyError("TIMEOUT", "why", { maybeApplied: true }), undefined as never);
    const { failure } = wire.WriteResponse.decode(ask("Write", write({})).bytes);
    expect(failure).toMatchObject({ code: "TIMEOUT", detail: "why", maybe_applied: true });
  });

  it("refuses what only nodes propose, and bytes that are no command", () => {
    const raise = Uint8Array.of(1, 24, 5);
    for (const command of [EMPTY, raise, Uint8Array.of(1), Uint8Array.of(9, 9, 9)]) {
      expect(ask("Write", write({ command })).status?.code).toBe(3);
    }
    expect(database.writes).toEqual([]);
  });

  it("reads single keys as of one moment: the first as it is asked, the others from what is applied", () => {
    database.onRange = (request, reply) =>
      reply(null, { ...EMPTY_RANGE, revision: request.serializable ? 99 : 5 });
    const request = { ...wire.ReadRequest.decode(EMPTY), points: [K, K, K] };
    const { bytes } = ask("Read", wire.ReadRequest.encode(request).finish());
    expect(wire.ReadResponse.decode(bytes)).toMatchObject({ revision: 5n, count: 3n, entries: [] });
    expect(database.ranges.map(({ serializable }) => serializable)).toEqual([false, true, true]);
  });

  it("lists the members as of a linearizable read, or as they are known here", () => {
    const members = [{ id: 7n, name: "n1", is_learner: false }];
    const list = (serializable: boolean): wire.MembersResponse => {
      const request = wire.MembersRequest.encode({ serializable, timeout_ms: 0n }).finish();
      return wire.MembersResponse.decode(ask("Members", request).bytes);
    };
    expect(list(true)).toMatchObject({ members, leader: 7n, failure: undefined });
    expect(database.ranges).toEqual([]);
    expect(list(false)).toMatchObject({ members, leader: 7n, failure: undefined });
    expect(database.ranges).toMatchObject([{ serializable: false, countOnly: true }]);
    database.onRange = (_request, reply) =>
      reply(new HarmonyError("NO_LEADER"), undefined as never);
    expect(list(false)).toMatchObject({ members: [], failure: { code: "NO_LEADER" } });
  });

  it("hands every change of the members over, with what was added in the answer", () => {
    const { ChangeMembersRequest_Kind: Kind } = wire;
    const change = (more: Partial<wire.ChangeMembersRequest>): ReturnType<typeof ask> => {
      const nothing = wire.ChangeMembersRequest.decode(EMPTY);
      return ask(
        "ChangeMembers",
        wire.ChangeMembersRequest.encode({ ...nothing, ...more }).finish(),
      );
    };
    const told = ({ bytes }: ReturnType<typeof ask>): wire.ChangeMembersResponse =>
      wire.ChangeMembersResponse.decode(bytes);
    const urls = { peer_urls: ["http://b:1"] };
    const [member] = database.status().members;
    database.onMembers = (request, reply) =>
      reply(null, {
        kind: "members",
        revision: 5,
        added: request.kind === "memberAdd" ? (member ?? null) : null,
        members: [],
      });
    expect(told(change({ kind: Kind.ADD, ...urls })).added).toMatchObject({ id: 7n, name: "n1" });
    expect(told(change({ kind: Kind.ADD_LEARNER, ...urls })).added?.id).toBe(7n);
    for (const kind of [Kind.PROMOTE, Kind.REMOVE])
      expect(told(change({ kind, id: 9n }))).toEqual({ added: undefined, failure: undefined });
    change({ kind: Kind.UPDATE, id: 9n, ...urls });
    change({ kind: Kind.REPLACE, id: 9n, by: 8n });
    expect(database.memberRequests).toEqual([
      { kind: "memberAdd", peerUrls: ["http://b:1"], isLearner: false },
      { kind: "memberAdd", peerUrls: ["http://b:1"], isLearner: true },
      { kind: "memberPromote", id: 9n },
      { kind: "memberRemove", id: 9n },
      { kind: "memberUpdate", id: 9n, peerUrls: ["http://b:1"] },
      { kind: "memberReplace", id: 9n, by: 8n },
    ]);
    expect(change({ kind: 6 as never }).status?.code).toBe(3);
    database.onMembers = (_request, reply) =>
      reply(null, { kind: "error", code: "MEMBER_NOT_FOUND", revision: 5, detail: null });
    expect(told(change({ kind: Kind.REMOVE, id: 9n })).failure?.code).toBe("MEMBER_NOT_FOUND");
    database.onMembers = (_request, reply) =>
      reply(new HarmonyError("TIMEOUT", "why", { maybeApplied: true }), undefined as never);
    expect(told(change({ kind: Kind.REMOVE, id: 9n })).failure).toEqual({
      code: "TIMEOUT",
      detail: "why",
      maybe_applied: true,
    });
  });

  it("hands the lead over, and says why it is not", () => {
    const move = (): wire.MoveLeaderResponse => {
      const request = wire.MoveLeaderRequest.encode({ id: 9n, timeout_ms: 0n }).finish();
      return wire.MoveLeaderResponse.decode(ask("MoveLeader", request).bytes);
    };
    expect(move().failure).toBeUndefined();
    database.moveError = new HarmonyError("BAD_TRANSFEREE");
    expect(move().failure?.code).toBe("BAD_TRANSFEREE");
    expect(database.targets).toEqual([9n, 9n]);
  });

  it("answers any bytes with a message or a status, and calls none of it a defect", () => {
    database.onWrite = (_request, reply) => reply(new HarmonyError("CLOSED"), undefined as never);
    const names = [
      "Write",
      "Read",
      "LeaseStatus",
      "Report",
      "Chore",
      "Members",
      "ChangeMembers",
      "MoveLeader",
    ];
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.uint8Array({ maxLength: 60 }), (name, bytes) => {
        const { status } = ask(name, bytes);
        expect([null, 3, 12, 13]).toContain(status?.code ?? null);
      }),
      { numRuns: 500 },
    );
    expect(log.lines).toEqual([]);
  });
});
