/** Our own service without a transport: message bytes in, message bytes and status out, on a database that obeys. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { HarmonyError } from "../../base/index.ts";
import { nativeMessages as wire } from "../../codec/index.ts";
import type { KeyValue, Outcome } from "../../db/index.ts";
import { ServiceContext } from "./answer.ts";
import { EMPTY_RANGE, FakeDatabase, memoryLog } from "./fake-database.suite.ts";
import { guarded } from "./guard.ts";
import type { Method } from "./method.ts";
import { type NativeSupport, nativeService } from "./native-service.ts";
import type { GrpcStatus } from "./status.ts";

const K = Uint8Array.of(0x6b);
const V = Uint8Array.of(0x76);
const KV: KeyValue = { key: K, value: V, createRevision: 2, modRevision: 4, version: 3, lease: 9n };
const WIRE_KV = { key: K, value: V, create_revision: 2n, mod_revision: 4n, version: 3n, lease: 9n };

let database: FakeDatabase;
let log: ReturnType<typeof memoryLog>;
let methods: readonly Method[];
let checkpointed: Parameters<NativeSupport["checkpoint"]>[0][];

function serve(support: NativeSupport | undefined): void {
  const context = new ServiceContext(database, log.sink);
  methods = nativeService(context, support).map((method) => guarded(method, context));
}

beforeEach(() => {
  database = new FakeDatabase();
  log = memoryLog();
  checkpointed = [];
  serve({ checkpoint: (done) => checkpointed.push(done), clockMs: () => 1000 });
});

interface Answer {
  readonly status: GrpcStatus | null;
  readonly response: Uint8Array;
}

function ask(name: string, request: Uint8Array): Answer[] {
  const method = methods.find(({ path }) => path === `/harmonydb.v1.Native/${name}`);
  if (method?.kind !== "unary") throw new Error(`${name} is not a unary method`);
  const answers: Answer[] = [];
  method.handle(request, { metadata: () => undefined }, (status, response) =>
    answers.push({ status, response }),
  );
  return answers;
}

/** What the database was asked, and what the client got, where the database answers `outcome`. */
function pass(
  name: string,
  request: Uint8Array,
  outcome: Outcome,
): { asked: unknown; response: Uint8Array } {
  database.onWrite = (_request, reply) => reply(null, outcome);
  const answers = ask(name, request);
  expect(answers).toHaveLength(1);
  expect(answers[0]?.status).toBeNull();
  return { asked: database.writes.at(-1), response: (answers[0] as Answer).response };
}

describe("harmonydb.v1.Native", () => {
  it.each([
    [{ absent: true }, { kind: "absent" }],
    [{ present: true }, { kind: "present" }],
    [{ value: V }, { kind: "value", value: V }],
    [{ not_value: V }, { kind: "notValue", value: V }],
    [{ revision: 7n }, { kind: "revision", revision: 7 }],
    [{ absent: false }, null],
    [undefined, null],
  ])("sets with the condition %o", (condition, translated) => {
    const request = wire.SetRequest.encode({
      key: K,
      value: V,
      condition,
      lease: 9n,
      expiry: { after_ms: 50n },
      prev_kv: true,
    }).finish();
    const outcome = {
      kind: "set",
      revision: 5,
      succeeded: true,
      prevKv: { ...KV, deadlineMs: 1250 },
    } as const;
    const { asked, response } = pass("Set", request, outcome);
    expect(asked).toEqual({
      kind: "set",
      key: K,
      value: V,
      condition: translated,
      lease: 9n,
      expiry: { kind: "after", ttlMs: 50 },
      prevKv: true,
    });
    expect(wire.SetResponse.decode(response)).toEqual({
      revision: 5n,
      succeeded: true,
      prev_kv: { ...WIRE_KV, ttl_ms: 250n, is_lock: false },
    });
  });

  it("counts with 64 bits in both directions, and keeps the deadline unless told otherwise", () => {
    const least = -(2n ** 63n);
    const request = (expiry: wire.Expiry | undefined): Uint8Array =>
      wire.IncrRequest.encode({
        key: K,
        by: least,
        min: 0n,
        max: undefined,
        saturate: true,
        expiry,
        expiry_if_none: false,
      }).finish();
    const outcome = { kind: "incr", revision: 5, value: least, deadlineMs: 0 } as const;
    const { asked, response } = pass("Incr", request(undefined), outcome);
    expect(asked).toEqual({
      kind: "incr",
      key: K,
      by: least,
      min: 0n,
      max: null,
      saturate: true,
      expiry: { kind: "keep" },
      expiryIfNone: false,
    });
    expect(wire.IncrResponse.decode(response)).toEqual({ revision: 5n, value: least });
    expect(pass("Incr", request({}), outcome).asked).toMatchObject({ expiry: { kind: "none" } });
    expect(pass("Incr", request({ at_ms: 9n }), outcome).asked).toMatchObject({
      expiry: { kind: "at", atMs: 9 },
    });
  });

  it("puts and deletes many keys", () => {
    const items = [
      { key: K, value: V },
      { key: V, value: K },
    ];
    const request = {
      items,
      condition: wire.MSetRequest_Condition.ABSENT,
      lease: 3n,
      expiry: { keep: true },
    };
    const put = pass("MSet", wire.MSetRequest.encode(request).finish(), {
      kind: "mset",
      revision: 5,
      succeeded: false,
    });
    expect(put.asked).toEqual({
      kind: "mset",
      items,
      condition: "absent",
      lease: 3n,
      expiry: { kind: "keep" },
    });
    expect(wire.MSetResponse.decode(put.response)).toEqual({ revision: 5n, succeeded: false });
    const deleted = pass("MDel", wire.MDelRequest.encode({ keys: [K, V] }).finish(), {
      kind: "mdel",
      revision: 6,
      deleted: 2,
    });
    expect(deleted.asked).toEqual({ kind: "mdel", keys: [K, V] });
    expect(wire.MDelResponse.decode(deleted.response)).toEqual({ revision: 6n, deleted: 2n });
  });

  it("hands a condition that nobody defined to the database, which refuses it", () => {
    const request = { items: [], condition: 9 as never, lease: 0n, expiry: undefined };
    pass("MSet", wire.MSetRequest.encode(request).finish(), {
      kind: "mset",
      revision: 5,
      succeeded: false,
    });
    expect(database.writes.at(-1)).toMatchObject({ condition: "9" });
  });

  it("locks, extends and unlocks", () => {
    const lock = pass(
      "Lock",
      wire.LockRequest.encode({ key: K, token: V, ttl_ms: 100n }).finish(),
      {
        kind: "lock",
        revision: 5,
        acquired: false,
        fence: 4,
        token: K,
        deadlineMs: 2000,
        leftMs: -3,
      },
    );
    expect(lock.asked).toEqual({ kind: "lock", key: K, token: V, ttlMs: 100 });
    expect(wire.LockResponse.decode(lock.response)).toEqual({
      revision: 5n,
      acquired: false,
      fence: 4n,
      token: K,
      left_ms: 0n,
    });
    const extend = wire.ExtendLockRequest.encode({
      key: K,
      token: V,
      fence: 4n,
      ttl_ms: 100n,
    }).finish();
    const extended = pass("ExtendLock", extend, {
      kind: "extendLock",
      revision: 5,
      extended: true,
      fence: 4,
      deadlineMs: 2000,
    });
    expect(extended.asked).toEqual({ kind: "extendLock", key: K, token: V, fence: 4, ttlMs: 100 });
    expect(wire.ExtendLockResponse.decode(extended.response)).toEqual({
      revision: 5n,
      extended: true,
      fence: 4n,
    });
    const unlock = wire.UnlockRequest.encode({ key: K, token: V, fence: 4n }).finish();
    const released = pass("Unlock", unlock, { kind: "unlock", revision: 6, released: true });
    expect(released.asked).toEqual({ kind: "unlock", key: K, token: V, fence: 4 });
    expect(wire.UnlockResponse.decode(released.response)).toEqual({ revision: 6n, released: true });
  });

  it("appends, expires and persists", () => {
    const append = pass("Append", wire.AppendRequest.encode({ key: K, value: V }).finish(), {
      kind: "append",
      revision: 5,
      length: 12,
    });
    expect(append.asked).toEqual({ kind: "append", key: K, value: V });
    expect(wire.AppendResponse.decode(append.response)).toEqual({ revision: 5n, length: 12n });
    const done = { kind: "expireKey", revision: 5, succeeded: true, prevKv: null } as const;
    const expire = {
      key: K,
      expiry: { after_ms: -1n },
      when: wire.ExpireRequest_When.LATER,
      condition: undefined,
    };
    expect(pass("Expire", wire.ExpireRequest.encode(expire).finish(), done).asked).toEqual({
      kind: "expireKey",
      key: K,
      expiry: { kind: "after", ttlMs: -1 },
      when: "later",
      condition: null,
      prevKv: false,
    });
    expect(
      pass("Persist", wire.PersistRequest.encode({ key: K }).finish(), done).asked,
    ).toMatchObject({
      expiry: { kind: "none" },
      when: "always",
    });
  });

  it("never takes an expire without a time for a persist", () => {
    for (const expiry of [undefined, {}, { keep: true }]) {
      const request = wire.ExpireRequest.encode({
        key: K,
        expiry,
        when: 0,
        condition: undefined,
      }).finish();
      expect(ask("Expire", request)[0]?.status).toMatchObject({ code: 3 });
    }
    const when = wire.ExpireRequest.encode({
      key: K,
      expiry: { after_ms: 5n },
      when: 99 as never,
      condition: undefined,
    }).finish();
    expect(ask("Expire", when)[0]?.status).toMatchObject({ code: 3 });
    expect(database.writes).toEqual([]);
  });

  it("scans a page of at most 1000 keys, and of about 4 MiB", () => {
    const large = new Uint8Array(1024 * 1024);
    const kvs = Array.from({ length: 10 }, (_, i) => ({
      ...KV,
      key: Uint8Array.of(i + 1),
      value: large,
    }));
    database.onRange = (_request, reply) => reply(null, { ...EMPTY_RANGE, kvs, count: 10 });
    const request = wire.ScanRequest.encode({
      key: K,
      range_end: V,
      limit: 5000n,
      revision: 3n,
    }).finish();
    const [answer] = ask("Scan", request);
    expect(answer?.status).toBeNull();
    expect(database.ranges[0]).toMatchObject({
      key: K,
      rangeEnd: V,
      limit: 1000,
      revision: 3,
      serializable: false,
      uncounted: true,
    });
    const page = wire.ScanResponse.decode((answer as Answer).response);
    expect(page.kvs.map(({ key }) => key[0])).toEqual([1, 2, 3, 4]);
    expect(page).toMatchObject({ more: true, count: 10n, revision: 5n });
  });

  it("tells of a scanned key what is left of its TTL, and whether it holds a lock", () => {
    const kvs: KeyValue[] = [
      KV,
      { ...KV, deadlineMs: 1001 },
      { ...KV, deadlineMs: 900 },
      { ...KV, deadlineMs: 3000, isLock: true },
    ];
    database.onRange = (_request, reply) => reply(null, { ...EMPTY_RANGE, kvs, count: 4 });
    const request = wire.ScanRequest.encode({
      key: K,
      range_end: V,
      limit: 9n,
      revision: 0n,
    }).finish();
    const page = wire.ScanResponse.decode((ask("Scan", request)[0] as Answer).response);
    expect(page.kvs.map(({ ttl_ms, is_lock }) => [ttl_ms, is_lock])).toEqual([
      [0n, false],
      [1n, false],
      [1n, false],
      [2000n, true],
    ]);
    expect(page.more).toBe(false);
    const none = wire.ScanRequest.encode({
      key: K,
      range_end: V,
      limit: 0n,
      revision: 0n,
    }).finish();
    expect(ask("Scan", none)[0]?.status).toMatchObject({ code: 3 });
  });

  it("answers a checkpoint when it is made, with a revision that is certainly in it", () => {
    const answers = ask("Checkpoint", new Uint8Array(0));
    expect(answers).toEqual([]);
    checkpointed[0]?.(null);
    expect(answers[0]?.status).toBeNull();
    expect(wire.CheckpointResponse.decode((answers[0] as Answer).response)).toEqual({
      revision: 5n,
    });
    const failed = ask("Checkpoint", new Uint8Array(0));
    checkpointed[1]?.(new HarmonyError("STOPPED"));
    expect(failed[0]?.status).toMatchObject({ code: 14, message: "etcdserver: server stopped" });
    serve(undefined);
    expect(ask("Checkpoint", new Uint8Array(0))[0]?.status).toMatchObject({ code: 12 });
  });

  it("answers a refusal with its status", () => {
    database.onWrite = (_request, reply) =>
      reply(null, { kind: "error", code: "LOCKED", revision: 5, detail: null });
    const request = wire.AppendRequest.encode({ key: K, value: V }).finish();
    expect(ask("Append", request)[0]?.status).toEqual({
      code: 9,
      message: "harmonydb: key holds a lock",
    });
  });

  it("answers any bytes once, and never takes them for a defect of its own", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...methods.map(({ path }) => path.split("/")[2] as string)),
        fc.uint8Array({ maxLength: 40 }),
        (name, bytes) => {
          database.onWrite = (_request, reply) =>
            reply(new HarmonyError("CLOSED"), undefined as never);
          const answers = ask(name, bytes);
          if (name !== "Checkpoint") expect(answers).toHaveLength(1);
          expect(log.lines).toEqual([]);
        },
      ),
      { numRuns: 500 },
    );
    expect(ask("Append", Uint8Array.of(0x0a, 0x7f))[0]?.status).toMatchObject({ code: 13 });
    // Groups within groups, as deep as a request may be long.
    expect(ask("Append", new Uint8Array(1_500_000).fill(0x7b))[0]?.status).toMatchObject({
      code: 13,
    });
  });
});
