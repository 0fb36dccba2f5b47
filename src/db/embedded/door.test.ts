/** The door in process: promises, what they resolve to and what they reject with (fault-rules O12). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HarmonyError, setVerifying, text } from "../../base/index.ts";
import { EmbeddedDatabase, type HarmonyDB } from "./index.ts";
import { LOG, World } from "../world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

/** Lets simulated time pass until the promise is settled. */
async function settled<T>(world: World, promise: Promise<T>): Promise<T> {
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  promise.then(end, end);
  for (let turns = 0; !isOver && turns < 100_000; turns++) {
    // Promises go on in between.
    for (let i = 0; i < 10; i++) await Promise.resolve();
    if (!isOver) world.machine.scheduler.step();
  }
  return promise;
}

/** The steps of an iteration, each with the time that it needs. */
async function* driven<T>(world: World, all: AsyncIterable<T>): AsyncGenerator<T> {
  const walk = all[Symbol.asyncIterator]();
  for (;;) {
    const step = await settled(world, walk.next());
    if (step.done === true) return;
    yield step.value;
  }
}

async function codeOf(world: World, promise: Promise<unknown>): Promise<string> {
  try {
    await settled(world, promise);
    return "resolved";
  } catch (error) {
    if (error instanceof HarmonyError) return `${error.code} maybe=${error.maybeApplied}`;
    throw error;
  }
}

function opened(): { world: World; db: HarmonyDB } {
  const world = new World().open();
  return { world, db: doorOf(world) };
}

function doorOf(world: World): HarmonyDB {
  return new EmbeddedDatabase(world.node, {
    env: world.env,
    newAborter: () => new AbortController(),
    pinTimeoutMs: 60_000,
    pinBytesMax: 2 ** 30,
  });
}

describe("the door in process", () => {
  it("puts, gets, deletes and scans", async () => {
    const { world, db } = opened();
    expect(await settled(world, db.put("a", "1"))).toEqual({ rev: 2, ok: true });
    expect(await settled(world, db.put(new Uint8Array([0x62]), new Uint8Array([7])))).toMatchObject(
      {
        rev: 3,
      },
    );
    expect(text((await settled(world, db.get("a"))) as Uint8Array)).toBe("1");
    expect(await settled(world, db.get("nothing"))).toBe(undefined);
    expect(await settled(world, db.get("b", { rev: 2 }))).toBe(undefined);
    const keys: string[] = [];
    for await (const { key } of driven(world, db.scan({ gte: "a" }))) keys.push(key);
    expect(keys).toEqual(["a", "b"]);
    expect(await settled(world, db.del("a"))).toEqual({ rev: 4, ok: true });
    expect(await settled(world, db.del("a"))).toEqual({ rev: 4, ok: false });
    await settled(world, db.close());
  });

  it("scans a range as of one revision, page by page, and stops where it is told", async () => {
    const { world, db } = opened();
    const puts = Array.from({ length: 300 }, (_, i) =>
      db.put(`k${String(i).padStart(3, "0")}`, "x"),
    );
    await settled(world, Promise.all(puts));
    let seen = 0;
    for await (const { rev } of driven(world, db.scan({ prefix: "k" }))) {
      if (seen++ === 0) await settled(world, db.put("k150", "changed"));
      expect(rev).toBeLessThanOrEqual(301);
    }
    expect(seen).toBe(300);
    const some: string[] = [];
    for await (const { key } of driven(world, db.scan({ gt: "k009", lte: "k100", limit: 70 })))
      some.push(key);
    expect([some.length, some[0], some.at(-1)]).toEqual([70, "k010", "k079"]);
    for await (const _ of driven(world, db.scan({ gt: "b", lt: "a" })))
      expect("an empty range").toBe("empty");
    for await (const _ of driven(world, db.scan({ limit: 0 })))
      expect("no limit of 0").toBe("empty");
    await settled(world, db.close());
  });

  it("runs a transaction all or nothing", async () => {
    const { world, db } = opened();
    const take = {
      if: [{ key: "lock", target: "version", is: "=", operand: 0 }],
      then: [{ type: "put", key: "lock", value: "me" }],
      else: [{ type: "get", key: "lock" }],
    } as const;
    expect(await settled(world, db.txn(take))).toMatchObject({ succeeded: true, rev: 2 });
    const second = await settled(world, db.txn(take));
    expect(second.succeeded).toBe(false);
    const [answer] = second.answers;
    expect(answer?.type === "entries" && text(answer.entries[0]?.value as Uint8Array)).toBe("me");
    await settled(world, db.close());
  });

  it("rejects what is no request", async () => {
    const { world, db } = opened();
    const wrong = [
      db.put("", "1"),
      db.put(5 as never, "1"),
      db.put("a", null as never),
      db.get("a", { rev: 99 }),
      db.get("a", { timeoutMs: -1 }),
      db.put("a", "1", { timeoutMs: Number.NaN }),
      db.put("a", "1", { timeoutMs: "5" as never }),
      db.txn({ then: [{ type: "fly" } as never] }),
    ];
    const codes: string[] = [];
    for (const promise of wrong) codes.push(await codeOf(world, promise));
    expect(codes).toEqual([
      "KEY_EMPTY maybe=false",
      "INVALID_ARGUMENT maybe=false",
      "INVALID_ARGUMENT maybe=false",
      "FUTURE_REV maybe=false",
      ...Array.from({ length: 4 }, () => "INVALID_ARGUMENT maybe=false"),
    ]);
    await settled(world, db.close());
  });

  it("stops for a defect of its own, and for no request", async () => {
    const { world, db } = opened();
    const codes: (string | undefined)[] = [];
    const request = {
      kind: "txn",
      compare: [],
      success: [{ kind: "put", key: new Uint8Array(1), value: "text" }],
      failure: [],
    };
    // What a door lets through by mistake is answered as a mistake of the caller.
    world.node.database.write(request as never, {}, (error) => codes.push(error?.code));
    expect(codes).toEqual(["INVALID_ARGUMENT"]);
    expect(await settled(world, db.put("a", "1"))).toMatchObject({ rev: 2 });
    expect(world.fatal).toBe(null);
    // A command that apply could not run, made of what the node itself has to choose.
    const grant = { kind: "leaseGrant", ttlSeconds: 5n, id: null };
    Object.defineProperty(grant, "id", {
      get: () => {
        throw new Error("a broken invariant");
      },
    });
    world.node.database.write(grant as never, {}, (error) => codes.push(error?.code));
    expect(codes[1]).toBe("STOPPED");
    expect(world.fatal?.message).toContain("a broken invariant");
  });

  it("reads keys and bounds as they are at the call, whoever changes them afterwards", async () => {
    const { world, db } = opened();
    const puts = Array.from({ length: 300 }, (_, i) =>
      db.put(`k${String(i).padStart(3, "0")}`, String(i)),
    );
    await settled(world, Promise.all(puts));
    const key = new TextEncoder().encode("k007");
    const get = db.get(key);
    const read = db.txn({
      if: [{ key, target: "value", is: "=", operand: "7" }],
      then: [{ type: "get", key }],
    });
    structuredClone(key, { transfer: [key.buffer] });
    expect(text((await settled(world, get)) as Uint8Array)).toBe("7");
    expect(await settled(world, read)).toMatchObject({
      succeeded: true,
      answers: [{ entries: [{ key: "k007" }] }],
    });
    const [gte, lt] = [new TextEncoder().encode("k010"), new TextEncoder().encode("k290")];
    const scan = db.scan({ gte, lt });
    gte.fill(0xff);
    lt.fill(0);
    const seen: string[] = [];
    for await (const entry of driven(world, scan)) {
      seen.push(entry.key);
      entry.rawKey.fill(seen.length % 2 === 0 ? 0 : 0xff);
    }
    expect(seen).toEqual(
      Array.from({ length: 280 }, (_, i) => `k${String(i + 10).padStart(3, "0")}`),
    );
    await settled(world, db.close());
  });

  it("gives values that nobody changes afterwards, and takes keys that may be changed at once", async () => {
    const { world, db } = opened();
    const key = new Uint8Array([1, 2, 3]);
    const value = new Uint8Array([9, 9]);
    const put = db.put(key, value);
    key.fill(0);
    value.fill(0);
    await settled(world, put);
    const first = await settled(world, db.get(new Uint8Array([1, 2, 3])));
    expect(first).toEqual(new Uint8Array([9, 9]));
    await settled(world, db.put(new Uint8Array([1, 2, 3]), "new"));
    expect(first).toEqual(new Uint8Array([9, 9]));
    (first as Uint8Array).fill(0);
    expect(text((await settled(world, db.get(new Uint8Array([1, 2, 3])))) as Uint8Array)).toBe(
      "new",
    );
    await settled(world, db.close());
  });

  it("closes once, answers what was asked before, and refuses what comes later", async () => {
    const { world, db } = opened();
    expect(db.status).toBe("open");
    const before = db.put("a", "1");
    const closing = db.close();
    expect(db.close()).toBe(closing);
    expect(db.status).toBe("closing");
    const late = codeOf(world, db.put("b", "2"));
    await settled(world, closing);
    expect(db.status).toBe("closed");
    expect(await before).toMatchObject({ ok: true });
    expect(await late).toBe("CLOSED maybe=false");
    expect(await codeOf(world, db.get("a"))).toBe("CLOSED maybe=false");
    expect(await codeOf(world, db.get("a", { consistency: "local" }))).toBe("CLOSED maybe=false");
    expect(await codeOf(world, db.scan()[Symbol.asyncIterator]().next())).toBe(
      "CLOSED maybe=false",
    );
    world.kill().open();
    const again = doorOf(world);
    expect(text((await settled(world, again.get("a"))) as Uint8Array)).toBe("1");
    await settled(world, again.close());
    expect(again.status).toBe("closed");
  });

  it("rejects with the error of a disk that failed, and closes all the same", async () => {
    const { world, db } = opened();
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    expect(await codeOf(world, db.put("a", "1"))).toBe("STOPPED maybe=true");
    expect(await codeOf(world, db.put("a", "1"))).toBe("STOPPED maybe=false");
    expect(await codeOf(world, db.get("a"))).toBe("STOPPED maybe=false");
    await settled(world, db.close());
    expect(world.machine.disk.quiet).toBe(true);
  });

  it("does not mind a caller whose own code throws when it is answered", async () => {
    const { world, db } = opened();
    const thrown = db.put("a", "1").then(() => {
      throw new Error("the caller's own");
    });
    await expect(settled(world, thrown)).rejects.toThrow("the caller's own");
    expect(await settled(world, db.put("b", "2"))).toMatchObject({ ok: true });
    expect(world.fatal).toBe(null);
    await settled(world, db.close());
  });
});
