/** HarmonyDB's own commands at a node: through the log, over restarts, and with what the machine does by itself. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying, text, utf8 } from "../base/index.ts";
import type {
  AnyWriteRequest,
  Expiry,
  IncrRequest,
  NativeRequest,
  Outcome,
  RequestId,
} from "./requests.ts";
import { withoutRepeats } from "./validate-native.ts";
import { deleteRequest, outcomeOf, rangeRequest, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const SECOND = 1_000;
const DAY = 86_400_000;
const KEEP: Expiry = { kind: "keep" };

function set(key: string, value: string, expiry: Expiry = { kind: "none" }): NativeRequest {
  const rest = { condition: null, lease: 0n, prevKv: false } as const;
  return { kind: "set", key: utf8(key), value: utf8(value), expiry, ...rest };
}

function incr(key: string, by = 1n): IncrRequest {
  const rest = { min: null, max: null, saturate: false, expiry: KEEP, expiryIfNone: false };
  return { kind: "incr", key: utf8(key), by, ...rest };
}

function lock(key: string, token: string, ttlMs: number): NativeRequest {
  return { kind: "lock", key: utf8(key), token: utf8(token), ttlMs };
}

function mset(count: number, expiry: Expiry = { kind: "none" }, size = 1): NativeRequest {
  const items = Array.from({ length: count }, (_, i) => ({
    key: utf8(`many/${String(i).padStart(6, "0")}`),
    value: new Uint8Array(size),
  }));
  return { kind: "mset", items, condition: "none", lease: 0n, expiry };
}

function now(world: World, request: AnyWriteRequest, requestId?: RequestId): Outcome {
  return world.now(world.write(request, requestId === undefined ? {} : { requestId }));
}

function count(world: World): number {
  const request = { ...rangeRequest("\0", true), rangeEnd: utf8("\0"), countOnly: true };
  const outcome = world.now(world.range(request));
  return outcome.kind === "range" ? outcome.count : -1;
}

/** Opens a session and answers its id. */
function session(world: World): number {
  const outcome = now(world, { kind: "sessionOpen", session: 0 });
  if (outcome.kind !== "sessionOpen") throw new Error(outcomeOf(outcome));
  return outcome.session;
}

describe("a deadline of a key", () => {
  it("ends it no sooner and at most 100 ms later, while 10,000 keys a second are due", () => {
    setVerifying(false);
    const world = new World().open();
    const startedAtMs = world.nowMs;
    // One key each millisecond in ten batches: 10 keys a millisecond from two seconds on.
    for (let batch = 0; batch < 100; batch++) {
      const items = Array.from({ length: 50 }, (_, i) => ({
        key: utf8(`k${batch * 50 + i}`),
        value: utf8("v"),
      }));
      const atMs = 2_000 + batch * 5;
      const expiry = { kind: "at", atMs: Math.floor(world.env.clock.wallMs()) + atMs } as const;
      now(world, { kind: "mset", items, condition: "none", lease: 0n, expiry });
      expect(world.nowMs - startedAtMs).toBeLessThan(1_500);
    }
    const clockBefore = world.env.clock.wallMs() - world.nowMs;
    expect(count(world)).toBe(5_000);
    // The deadlines of each batch are known from the keys themselves.
    const first = world.now(world.range({ ...rangeRequest("\0"), rangeEnd: utf8("\0") }));
    if (first.kind !== "range") throw new Error("a range is answered as one");
    const deadlines = first.kvs.map((kv) => kv.deadlineMs ?? 0).sort((a, b) => a - b);
    while (count(world) > 0) {
      const groupMs = world.nowMs + clockBefore;
      const left = count(world);
      const notYetDue = deadlines.filter((deadline) => deadline > groupMs).length;
      const overdue = deadlines.filter((deadline) => deadline <= groupMs - 100).length;
      expect(left).toBeGreaterThanOrEqual(notYetDue - 1);
      expect(left).toBeLessThanOrEqual(5_000 - overdue);
      world.pass(7);
      expect(world.nowMs - startedAtMs).toBeLessThan(6_000);
    }
    world.close();
    setVerifying(true);
  });

  it("that many keys share lets other writes through between them", () => {
    setVerifying(false);
    const world = new World().open();
    now(world, mset(5_000, { kind: "after", ttlMs: 1_000 }));
    const before = world.node.database.header.revision;
    world.pass(995);
    const answers = [];
    for (let i = 0; i < 400 && count(world) > i; i++) {
      answers.push(world.put(`other ${i}`));
      world.pass(0.1);
    }
    world.pass(200);
    expect(count(world)).toBe(answers.length);
    expect(answers.every((answer) => outcomeOf(answer) === "ok")).toBe(true);
    // Twenty revisions ended the keys, and writes stand between the first and the last of them.
    const revisions = answers.map(({ value }) => (value as Outcome).revision);
    expect(world.node.database.header.revision - before - answers.length).toBe(20);
    expect(revisions.some((revision, i) => i > 0 && revision - (revisions[i - 1] ?? 0) > 1)).toBe(
      true,
    );
    world.close();
    setVerifying(true);
  });

  it("that many keys share is kept in pieces: so many keys a command, and one command on its way at a time", () => {
    setVerifying(false);
    const world = new World().open();
    now(world, mset(5_000, { kind: "after", ttlMs: 1_000 }));
    world.pass(990);
    let [left, most, pending] = [world.node.stats.keys, 0, 0];
    while (left > 0) {
      world.machine.scheduler.step();
      const { keys, commandsPending } = world.node.stats;
      most = Math.max(most, left - keys);
      pending = Math.max(pending, commandsPending);
      left = keys;
    }
    expect([most, pending]).toEqual([250, 1]);
    world.close();
    setVerifying(true);
  });

  it("given by the wall clock means the same span of time where the group keeps another clock", () => {
    const world = new World().open();
    world.pass(SECOND);
    world.machine.wallSkewMs += DAY;
    world.pass(SECOND);
    const wallMs = Math.floor(world.env.clock.wallMs());
    now(world, set("k", "v", { kind: "at", atMs: wallMs + 5 * SECOND }));
    now(world, set("past", "v", { kind: "at", atMs: wallMs - 1 }));
    expect(world.get("past")).toBe(undefined);
    world.pass(4.8 * SECOND);
    expect(world.get("k")).toBe("v");
    world.pass(0.4 * SECOND);
    expect(world.get("k")).toBe(undefined);
    world.close();
  });

  it("and a lock go on over a restart, and over a clock that jumps by a year either way", () => {
    for (const jump of [0, 365 * DAY, -365 * DAY]) {
      const world = new World().open();
      now(world, set("k", "v", { kind: "after", ttlMs: 5 * SECOND }));
      const first = now(world, lock("l", "me", 5 * SECOND));
      world.kill();
      world.open();
      world.machine.wallSkewMs += jump;
      world.pass(4 * SECOND);
      expect([jump, world.get("k"), world.get("l")]).toEqual([jump, "v", "me"]);
      expect(now(world, lock("l", "you", 1))).toMatchObject({ acquired: false, token: utf8("me") });
      world.pass(1.5 * SECOND);
      expect([jump, world.get("k"), world.get("l")]).toEqual([jump, undefined, undefined]);
      const second = now(world, lock("l", "you", SECOND));
      if (first.kind !== "lock" || second.kind !== "lock") throw new Error("locks answer as such");
      expect(second.acquired && second.fence > first.fence).toBe(true);
      world.close();
    }
  });
});

describe("a request with an id", () => {
  it("happens once, however often it is sent, also over a crash", () => {
    const world = new World().open();
    const id = { session: session(world), number: 1 };
    const first = now(world, incr("n"), id);
    expect(now(world, incr("n"), id)).toEqual(first);
    world.losePower();
    world.open();
    expect(now(world, incr("n"), id)).toEqual(first);
    expect(world.get("n")).toBe("1");
    expect(outcomeOf(now(world, incr("n", 2n), id))).toBe("REQUEST_EXPIRED");
    expect(outcomeOf(now(world, incr("n"), { session: 12_345, number: 1 }))).toBe(
      "REQUEST_EXPIRED",
    );
    expect(world.get("n")).toBe("1");
    world.close();
  });

  it("is the same request whatever the node chooses for it", () => {
    const world = new World().open();
    const id = (number: number): RequestId => ({ session: session1, number });
    const session1 = session(world);
    const grant = { kind: "leaseGrant", id: 0n, ttlSeconds: 60n } as const;
    const granted = now(world, grant, id(1));
    expect(now(world, grant, id(1))).toEqual(granted);
    const atMs = Math.floor(world.env.clock.wallMs()) + 60 * SECOND;
    const timed = set("k", "v", { kind: "at", atMs });
    const done = now(world, timed, id(2));
    world.pass(SECOND);
    expect(now(world, timed, id(2))).toEqual(done);
    world.close();
  });

  it("is refused where no id is possible, and the node goes on", () => {
    const world = new World().open();
    for (const requestId of [
      { session: 0, number: 1 },
      { session: 1, number: 0 },
      { session: 1.5, number: 1 },
    ])
      expect(outcomeOf(world.write(incr("n"), { requestId }))).toBe("INVALID_ARGUMENT maybe=false");
    const requestId = { session: session(world), number: 1 };
    const opening = world.write({ kind: "sessionOpen", session: 0 }, { requestId });
    expect(outcomeOf(opening)).toBe("INVALID_ARGUMENT maybe=false");
    expect(world.fatal).toBe(null);
    world.close();
  });

  it("stays below its session's end as long as the session is used", () => {
    const world = new World().open();
    const id = { session: session(world), number: 1 };
    const first = now(world, incr("n"), id);
    world.pass(14 * 60 * SECOND);
    expect(now(world, incr("n"), id)).toEqual(first);
    world.pass(14 * 60 * SECOND);
    expect(now(world, incr("n"), id)).toEqual(first);
    world.pass(15.1 * 60 * SECOND);
    expect(outcomeOf(now(world, incr("n"), id))).toBe("REQUEST_EXPIRED");
    world.close();
  });
});

describe("a set of many keys", () => {
  it("takes 10,000 keys and no more, and none that make it too large", () => {
    setVerifying(false);
    const world = new World().open();
    expect(outcomeOf(now(world, mset(10_001)))).toBe("TOO_MANY_OPS");
    expect(outcomeOf(now(world, mset(2_000, { kind: "none" }, 1_000)))).toBe("TOO_LARGE");
    expect(now(world, mset(10_000))).toMatchObject({ kind: "mset", succeeded: true, revision: 2 });
    expect(count(world)).toBe(10_000);
    const keys = Array.from({ length: 10_001 }, (_, i) => utf8(`k${i}`));
    expect(outcomeOf(now(world, { kind: "mdel", keys }))).toBe("TOO_MANY_OPS");
    world.close();
    setVerifying(true);
  });

  it("keeps the last value of a key that is named twice, as one change", () => {
    const items = ["a1", "b1", "a2", "c1", "a3"].map(([key, value]) => ({
      key: utf8(key as string),
      value: utf8(value as string),
    }));
    const request = {
      kind: "mset",
      items,
      condition: "none",
      lease: 0n,
      expiry: { kind: "none" },
    } as const;
    const kept = withoutRepeats(request).items.map(({ key, value }) => text(key) + text(value));
    expect(kept).toEqual(["b1", "c1", "a3"]);
    const world = new World().open();
    now(world, request);
    const found = world.now(world.range(rangeRequest("a")));
    expect(found).toMatchObject({ kvs: [{ value: utf8("3"), version: 1, modRevision: 2 }] });
    world.close();
  });

  it("and every other command refuses what is no key and no number, and the node goes on", () => {
    const world = new World().open();
    const hostile: readonly unknown[] = [
      { ...mset(1), items: [{ key: 5, value: utf8("v") }] },
      { ...mset(1), items: [{ key: utf8("k"), value: "v" }] },
      { ...mset(1), expiry: { kind: "after", ttlMs: 0 } },
      { ...mset(1), condition: "__proto__" },
      { kind: "mdel", keys: ["k"] },
      { kind: "mdel", keys: [] },
      { ...set("k", "v"), value: "v" },
      { ...set("k", "v"), condition: { kind: "constructor" } },
      { ...set("k", "v"), condition: { kind: "value", value: "v" } },
      { ...set("k", "v"), expiry: { kind: "after", ttlMs: 1e15 } },
      { ...set("k", "v"), expiry: { kind: "after", ttlMs: 0.5 } },
      { ...set("k", "v"), lease: 2n ** 63n },
      { ...incr("k"), by: 2n ** 63n },
      { ...incr("k"), by: 1 },
      { ...incr("k"), min: 2n, max: 1n },
      { kind: "append", key: utf8("k"), value: null },
      { kind: "setRange", key: utf8("k"), offset: -1, value: utf8("v") },
      { ...lock("l", "t", 1), token: new Uint8Array(1_025) },
      { ...lock("l", "t", 1), ttlMs: Number.NaN },
      { kind: "sessionClose", session: -1 },
      { kind: "configure", quotaBytes: 1.5 },
    ];
    for (const request of hostile) {
      const answer = world.write(request as AnyWriteRequest);
      world.until(() => answer.isThere);
      expect([request, outcomeOf(answer)]).toEqual([
        request,
        expect.stringMatching(/^INVALID_ARGUMENT/) as unknown,
      ]);
    }
    expect([count(world), world.fatal]).toEqual([0, null]);
    for (const key of ["__proto__", "\0", "constructor"]) {
      expect(outcomeOf(now(world, incr(key)))).toBe("ok");
      expect(world.get(key)).toBe("1");
    }
    world.close();
  });
});

describe("settings in the data", () => {
  it("decide the quota of the database, whatever the node's flag says", () => {
    const world = new World().open({ quotaBytes: 1 });
    expect(outcomeOf(world.put("a"))).toBe("NO_SPACE");
    now(world, { kind: "configure", quotaBytes: 0 });
    expect(outcomeOf(now(world, set("a", "1")))).toBe("ok");
    expect(now(world, lock("l", "t", 60_000))).toMatchObject({ acquired: true });
    world.close();
    world.open({ quotaBytes: 1 });
    expect(world.node.database.status()).toMatchObject({ quotaBytes: 0, alarms: [] });
    now(world, { kind: "configure", quotaBytes: 5 });
    expect(world.node.database.status()).toMatchObject({ quotaBytes: 5, alarms: ["NOSPACE"] });
    const refused = [set("b", "1"), incr("n"), lock("l2", "t", 1), mset(1)];
    for (const request of refused) expect(outcomeOf(now(world, request))).toBe("NO_SPACE");
    // What gives room back, or keeps a promise, goes on.
    const [key, token] = [utf8("l"), utf8("t")];
    const extend = { kind: "extendLock", key, token, fence: 0, ttlMs: 1_000 } as const;
    expect(now(world, extend)).toMatchObject({ extended: true });
    expect(now(world, { kind: "unlock", key, token, fence: 0 })).toMatchObject({ released: true });
    expect(now(world, { kind: "mdel", keys: [utf8("a")] })).toMatchObject({ deleted: 1 });
    expect(outcomeOf(now(world, deleteRequest("a", "z")))).toBe("ok");
    world.close();
  });

  it("decide how long history is kept from the moment on in which they are changed", () => {
    const retention = { retentionMs: 0, retentionRevisions: 1_000 };
    const world = new World().open({ retention });
    for (let i = 0; i < 50; i++) world.putNow("k", String(i));
    world.pass(SECOND);
    expect(world.node.database.status().compactRevision).toBe(0);
    now(world, { kind: "configure", retentionRevisions: 10 });
    world.pass(SECOND);
    expect(world.node.database.status().compactRevision).toBe(51 - 10);
    world.close();
    world.open({ retention });
    for (let i = 0; i < 20; i++) world.putNow("k", String(i));
    world.pass(SECOND);
    expect(world.node.database.status().compactRevision).toBe(71 - 10);
    world.close();
  });
});
