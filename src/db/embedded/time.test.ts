/** The door in process on a simulated machine: what time, a failing disk and a stuck caller do to it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HarmonyError, setVerifying, utf8 } from "../../base/index.ts";
import type { NodeOptions } from "../node-options.ts";
import { LOG, World } from "../world.suite.ts";
import { EmbeddedDatabase, type HarmonyDB } from "./index.ts";
import type { Host } from "./node-link.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

/** Lets simulated time pass until the promise is settled. */
async function settled<T>(world: World, promise: Promise<T>): Promise<T> {
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  promise.then(end, end);
  for (let turns = 0; !isOver && turns < 200_000; turns++) {
    // Promises go on in between: several of them may follow each other.
    for (let i = 0; i < 10; i++) await Promise.resolve();
    if (!isOver) world.machine.scheduler.step();
  }
  return promise;
}

async function codeOf(world: World, promise: Promise<unknown>): Promise<string> {
  try {
    await settled(world, promise);
    return "resolved";
  } catch (error) {
    if (error instanceof HarmonyError) return error.code;
    throw error;
  }
}

async function pass(world: World, ms: number): Promise<void> {
  const untilMs = world.nowMs + ms;
  while (world.nowMs < untilMs) {
    for (let i = 0; i < 10; i++) await Promise.resolve();
    world.pass(Math.min(10, untilMs - world.nowMs));
  }
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

interface Opened {
  readonly world: World;
  readonly db: HarmonyDB;
  readonly logged: string[];
}

function opened(options: Partial<NodeOptions> = {}, host: Partial<Host> = {}): Opened {
  const world = new World().open(options);
  const db = new EmbeddedDatabase(world.node, {
    env: world.env,
    newAborter: () => new AbortController(),
    pinTimeoutMs: 60_000,
    pinBytesMax: 2 ** 30,
    ...host,
  });
  return { world, db, logged: world.logged };
}

describe("time in the door in process", () => {
  it("a lock is lost to its holder no later than its TTL says, and given to who waits", async () => {
    const { world, db } = opened();
    const first = await settled(world, db.lock("job", { ttlMs: 2000 }));
    const takenAtMs = world.nowMs;
    let second: Awaited<ReturnType<HarmonyDB["lock"]>> | null = null;
    const waiting = db.lock("job", { ttlMs: 2000, waitMs: 60_000 }).then((lock) => {
      // Never two at a time: the first one's holder knows before the second one's does.
      expect(first.signal.aborted).toBe(true);
      second = lock;
      return lock;
    });
    await pass(world, 1500);
    expect([first.signal.aborted, second]).toEqual([false, null]);
    await settled(world, first.extend(3000));
    await pass(world, 2000);
    expect([first.signal.aborted, second]).toEqual([false, null]);
    const next = await settled(world, waiting);
    expect(world.nowMs - takenAtMs).toBeLessThan(1500 + 3000 + 500);
    expect(next.fence).toBeGreaterThan(first.fence);
    expect(await settled(world, next.unlock())).toBe(true);
    await settled(world, db.close());
  });

  it("a holder is told in time although a stuck disk keeps the end of the lock from being applied", async () => {
    const { world, db } = opened();
    const lock = await settled(world, db.lock("job", { ttlMs: 1000 }));
    world.machine.disk.inject({ path: LOG, times: Number.POSITIVE_INFINITY, delayMs: 5000 });
    await pass(world, 950);
    expect(lock.signal.aborted).toBe(false);
    await pass(world, 100);
    expect([lock.signal.aborted, db.getSync("job") !== undefined]).toEqual([true, true]);
    await settled(world, db.close());
  });

  it("who waits for a lock looks at it when it is released, by whomever, and not before", async () => {
    const { world, db } = opened();
    const [key, token] = [utf8("job"), utf8("another")];
    world.now(world.write({ kind: "lock", key, token, ttlMs: 600_000 }));
    const { database } = world.node;
    const range = database.range.bind(database);
    let looks = 0;
    database.range = (...args) => {
      looks++;
      range(...args);
    };
    const lock = db.lock("job", { ttlMs: 1000, waitMs: 60_000 });
    await pass(world, 1_000);
    expect([looks, database.watchCount]).toEqual([2, 1]);
    // Released and taken by a third at once: what was seen has to be looked at again, and waited for again.
    const third = { kind: "lock", key, token: utf8("third"), ttlMs: 5_000 } as const;
    const answers = [world.write({ kind: "unlock", key, token, fence: 0 }), world.write(third)];
    await pass(world, 1_000);
    expect(answers.map(({ value }) => value)).toMatchObject([
      { released: true },
      { acquired: true },
    ]);
    expect([looks, database.watchCount]).toEqual([3, 1]);
    const held = await settled(world, lock);
    expect(held.signal.aborted).toBe(false);
    expect(database.watchCount).toBe(0);
    // Until the third one's lock had ended; who gave up has not waited for one that he got.
    const { lockWaits, lockWaitMs } = database.activity;
    expect([lockWaits, lockWaitMs >= 6_000 && lockWaitMs < 7_000]).toEqual([1, true]);
    await settled(world, held.unlock());
    await settled(world, db.close());
  });

  it("those who wait for a lock give up when their time is over, and the next one is not held up", async () => {
    const { world, db } = opened();
    const held = await settled(world, db.lock("job", { ttlMs: 600_000 }));
    const startedAtMs = world.nowMs;
    const codes: string[] = [];
    const ends: number[] = [];
    const waiters = [300, 100, 200].map((waitMs) =>
      db.lock("job", { ttlMs: 5, waitMs }).catch((error: HarmonyError) => {
        codes.push(error.code);
        ends.push(world.nowMs - startedAtMs);
      }),
    );
    const patient = db.lock("job", { ttlMs: 60_000, waitMs: 10_000 });
    await settled(world, Promise.all(waiters));
    expect(codes).toEqual(["LOCK_TIMEOUT", "LOCK_TIMEOUT", "LOCK_TIMEOUT"]);
    for (const [i, endMs] of ends.entries()) {
      expect(endMs).toBeGreaterThanOrEqual([100, 200, 300][i] as number);
      expect(endMs).toBeLessThan(([100, 200, 300][i] as number) + 60);
    }
    // Not by its holder, who would say so: whoever stands first has to see it.
    await settled(world, db.del("job"));
    const freeAtMs = world.nowMs;
    expect(await codeOf(world, patient)).toBe("resolved");
    expect(world.nowMs - freeAtMs).toBeLessThan(60);
    await pass(world, 250);
    expect(held.signal.aborted).toBe(true);
    await settled(world, db.close());
  });

  it("a lease that is kept alive lives for as long as the database, another one ends", async () => {
    const { world, db } = opened();
    const kept = await settled(world, db.lease(3000, { keepAlive: true }));
    const left = await settled(world, db.lease(3000));
    await settled(world, db.put("kept", "x", { lease: kept.id }));
    await settled(world, db.put("left", "x", { lease: left.id }));
    await pass(world, 20_000);
    expect([await settled(world, db.has("kept")), await settled(world, db.has("left"))]).toEqual([
      true,
      false,
    ]);
    expect(kept.signal.aborted).toBe(false);
    expect(await settled(world, left.remainingMs())).toBe(0);
    expect(left.signal.aborted).toBe(true);
    await settled(world, kept.revoke());
    const renewals = world.nowMs;
    await pass(world, 10_000);
    expect(world.nowMs).toBe(renewals + 10_000);
    expect(await settled(world, db.has("kept"))).toBe(false);
    await settled(world, db.close());
  });

  it("a snapshot is given back after its time, and after an early end of a scan at once", async () => {
    const { world, db } = opened();
    await settled(
      world,
      db.putMany(Array.from({ length: 500 }, (_, i) => [`k${i}`, "x".repeat(200)] as const)),
    );
    const pins = countPins(world);
    const snapshot = await settled(world, db.snapshotAt());
    const walk = db.scan()[Symbol.asyncIterator]();
    await settled(world, walk.next());
    expect(pins()).toBe(2);
    await settled(world, walk.return());
    expect(pins()).toBe(1);
    await settled(world, db.scan().all());
    await settled(world, db.scan({ limit: 40, reverse: true }).all());
    await settled(world, db.scan({ reverse: true }, { rev: 2 }).all());
    await settled(
      world,
      db.transact(async (tx) => tx.put("a", String(await tx.get("k1")))),
    );
    const failed = db.transact(async (tx) => {
      await tx.get("k1");
      throw new RangeError("the caller's own");
    });
    await expect(settled(world, failed)).rejects.toThrow(RangeError);
    await pass(world, 1);
    expect(pins()).toBe(1);
    await pass(world, 59_000);
    expect(await codeOf(world, snapshot.get("k1"))).toBe("resolved");
    await pass(world, 2_000);
    expect(await codeOf(world, snapshot.get("k1"))).toBe("COMPACTED");
    expect(pins()).toBe(0);
    await settled(world, db.snapshotAt());
    await settled(world, db.close());
    expect(pins()).toBe(0);
  });

  it("a disk that fails ends everybody who waits, with the reason, and nobody's listener harms another", async () => {
    const { world, db } = opened();
    const heard: string[] = [];
    db.on("error", () => {
      throw new Error("a listener's own");
    });
    db.on("error", (error) => heard.push(error.code));
    const lock = await settled(world, db.lock("job", { ttlMs: 60_000 }));
    const waiting = db.lock("job", { ttlMs: 5 });
    const messages = db.subscribe("*").next();
    const snapshot = await settled(world, db.snapshotAt());
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    const doubtful = db.put("a", "1");
    await expect(settled(world, doubtful)).rejects.toMatchObject({
      code: "STOPPED",
      maybeApplied: true,
    });
    expect(heard).toEqual(["STOPPED"]);
    expect(await codeOf(world, waiting)).toBe("STOPPED");
    expect(await codeOf(world, messages)).toBe("STOPPED");
    expect(await codeOf(world, snapshot.get("a"))).toBe("STOPPED");
    expect(await codeOf(world, db.get("a"))).toBe("STOPPED");
    expect(() => db.getSync("a")).toThrow(HarmonyError);
    expect(lock.signal.aborted).toBe(true);
    expect(world.logged.some((line) => line.includes('a listener of "error" threw'))).toBe(true);
    await settled(world, db.close());
  });

  it("a lock taken by a request whose answer came too late is given back", async () => {
    const { world, db } = opened();
    const late = db.lock("job", { ttlMs: 600_000, timeoutMs: 0 });
    expect(await codeOf(world, late)).toBe("TIMEOUT");
    const controller = new AbortController();
    const aborted = db.lock("job", { ttlMs: 600_000, signal: controller.signal });
    // Until it is on its way to the disk, so that it cannot be taken back any more.
    await pass(world, 0.01);
    controller.abort();
    expect(await codeOf(world, aborted)).toBe("ABORTED");
    const next = db.lock("job", { ttlMs: 1000, waitMs: 1000 });
    expect(await codeOf(world, next)).toBe("resolved");
    await settled(world, db.close());
  });

  it("states that are kept hold no more than they may: the oldest goes, and its reader is told", async () => {
    const { world, db } = opened({}, { pinBytesMax: 256 * 1024 });
    const pinned = countPins(world);
    const fill = async (value: string): Promise<void> => {
      const items = Array.from({ length: 300 }, (_, i) => [`k${i}`, value.repeat(1000)] as const);
      await settled(world, db.putMany(items));
      await settled(world, db.admin.checkpoint());
    };
    await fill("1");
    const oldest = await settled(world, db.snapshotAt());
    await fill("2");
    const newer = await settled(world, db.snapshotAt());
    await settled(world, db.put("k1", "3"));
    await settled(world, db.admin.checkpoint());
    // Its pages have been the older checkpoint's as well until now.
    expect(await codeOf(world, oldest.get("k1"))).toBe("resolved");
    await settled(world, db.admin.checkpoint());
    await pass(world, 1_100);
    await expect(settled(world, oldest.get("k1"))).rejects.toMatchObject({
      code: "COMPACTED",
      message: expect.stringContaining("pinBytesMax"),
    });
    expect([pinned(), world.node.database.pinnedBytes]).toEqual([1, expect.any(Number)]);
    expect(await settled(world, newer.get("k1"))).toHaveLength(1000);
    await newer.close();
    expect(pinned()).toBe(0);
    await settled(world, db.close());
  });

  it("a checkpoint and a flush are waited for no longer than their caller says, and go on", async () => {
    const { world, db } = opened({ fsyncIntervalMs: 1000 });
    await settled(world, db.put("a", "1"));
    const stuck = world.machine.disk.inject({
      operation: "sync",
      delayMs: Number.POSITIVE_INFINITY,
      times: Number.POSITIVE_INFINITY,
    });
    const aborter = new AbortController();
    const patient = db.admin.checkpoint();
    const waiting = [
      db.admin.checkpoint({ timeoutMs: 100 }),
      db.admin.checkpoint({ signal: aborter.signal }),
      db.flush({ timeoutMs: 100 }),
      db.flush({ signal: aborter.signal }),
    ].map((call) => call.catch((error: HarmonyError) => `${error.code} ${error.maybeApplied}`));
    await pass(world, 150);
    aborter.abort();
    expect(await settled(world, Promise.all(waiting))).toEqual([
      "TIMEOUT true",
      "ABORTED true",
      "TIMEOUT true",
      "ABORTED true",
    ]);
    expect(await codeOf(world, db.admin.checkpoint({ signal: aborter.signal }))).toBe("ABORTED");
    stuck.remove();
    expect(await codeOf(world, patient)).toBe("resolved");
    expect(world.node.stats.checkpoints).toBeGreaterThan(0);
    await settled(world, db.close());
  });

  it("flush in the interval mode syncs what was written before it", async () => {
    const { world, db } = opened({ fsyncIntervalMs: 1000 });
    await settled(world, db.put("a", "1"));
    await settled(world, db.flush());
    world.losePower("lose-all").open({ fsyncIntervalMs: 1000 });
    expect(world.get("a")).toBe("1");
    world.close();
  });
});

/** How many states are pinned for readers. */
function countPins(world: World): () => number {
  const { database } = world.node;
  const pin = database.pin.bind(database);
  let count = 0;
  database.pin = (): ReturnType<typeof pin> => {
    const version = pin();
    count++;
    return {
      tree: (id) => version.tree(id),
      release: () => {
        count--;
        version.release();
      },
    };
  };
  return () => count;
}
