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

  it("answers any bytes with a message or a status, and calls none of it a defect", () => {
    database.onWrite = (_request, reply) => reply(new HarmonyError("CLOSED"), undefined as never);
    const names = ["Write", "Read", "LeaseStatus", "Report", "Chore"];
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
