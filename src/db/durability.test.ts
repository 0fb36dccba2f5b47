/** The two modes that a node may choose instead of "acknowledged means synced", and what they still promise. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying, text } from "../base/index.ts";
import { BTreeEngine, MemoryEngine } from "../btree/index.ts";
import type { Io } from "../env/index.ts";
import { runIoNow } from "../env/sim/index.ts";
import type { ConfState } from "../raft/index.ts";
import { encodeCheckpointPayload } from "./checkpoint-payload.ts";
import { decodeCommand, encodeRaiseRevision } from "./command.ts";
import { readVersion, type UnsyncedRun, writeVersion } from "./data-directory.ts";
import { assertAlone } from "./durability.ts";
import { KvStateMachine } from "./state-machine.ts";
import { DATA, outcomeOf, putRequest, rangeRequest, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const INTERVAL_MS = 50;
const INTERVAL = { fsyncIntervalMs: INTERVAL_MS } as const;
const RAISED = 1_000_000;
const CHANGES: ReadonlySet<string> = new Set([
  "write",
  "sync",
  "truncate",
  "rename",
  "unlink",
  "syncDir",
]);
/** What a sync, or a roll of a dozen operations, may take on the simulated disk. */
const SYNC_MS = 40;

/** What VERSION of a stopped node remembers. */
function remembered(world: World): UnsyncedRun | null {
  const { env } = world;
  const version = runIoNow(world.machine, readVersion(env.files, DATA));
  world.kill();
  return version?.unsynced ?? null;
}

function revisionOf(world: World): number {
  return world.node.database.status().revision;
}

/** Writes that are acknowledged at their own pace, with the revision and the time of each acknowledgement. */
class Writer {
  readonly world: World;
  next = 0;
  /** By number of the write. */
  readonly acknowledged: { readonly revision: number; readonly atMs: number }[] = [];

  constructor(world: World) {
    this.world = world;
  }

  /** Each write is a transaction over two keys, so that half of one would be seen. */
  write(count: number): void {
    for (let i = 0; i < count; i++) {
      const number = this.next++;
      const put = (key: string) => ({ ...putRequest(key, `${number}`), kind: "put" as const });
      const outcome = this.world.now(
        this.world.write({
          kind: "txn",
          compare: [],
          success: [put(`a${number}`), put(`b${number}`)],
          failure: [],
        }),
      );
      if (outcome.kind !== "txn") throw new Error(outcomeOf(outcome));
      this.acknowledged.push({ revision: outcome.revision, atMs: this.world.nowMs });
    }
  }

  /** How many writes the node shows: a prefix, and each of them whole. */
  found(world: World = this.world): number {
    const numbers = (prefix: string): number[] => {
      const all = world.now(
        world.range({
          ...rangeRequest(prefix),
          rangeEnd: new Uint8Array([prefix.charCodeAt(0) + 1]),
        }),
      );
      if (all.kind !== "range") throw new Error("a range is answered as one");
      return all.kvs.map(({ value }) => Number(text(value))).sort((a, b) => a - b);
    };
    const found = numbers("a");
    expect(numbers("b")).toEqual(found);
    expect(found).toEqual(Array.from({ length: found.length }, (_, i) => i));
    return found.length;
  }

  /** How many writes a power loss at `nowMs` has to leave. */
  certain(nowMs: number): number {
    const limitMs = nowMs - INTERVAL_MS - SYNC_MS;
    return this.acknowledged.filter(({ atMs }) => atMs < limitMs).length;
  }
}

describe("a node in the interval mode", () => {
  it("acknowledges before the sync, says so, and loses nothing with the process", () => {
    const world = new World().open(INTERVAL);
    expect(world.logged.filter((line) => line.startsWith("warn"))).toEqual([
      "warn: acknowledged before the sync: a power loss may take back the last 50 ms of writes",
    ]);
    expect(world.node.database.status().durability).toEqual({
      mode: "interval",
      fsyncIntervalMs: INTERVAL_MS,
    });
    let syncs = 0;
    world.machine.disk.observer = (_, { kind }): void => {
      if (kind === "sync") syncs++;
    };
    const writer = new Writer(world);
    writer.write(3);
    expect(syncs).toBe(0);
    world.kill().open(INTERVAL);
    expect(writer.found()).toBe(3);
  });

  it("loses with the power what was acknowledged within the interval, and no more, and gives no revision twice", () => {
    let lost = 0;
    for (let seed = 1; seed <= 6; seed++) {
      const world = new World({ seed }).open(INTERVAL);
      const writer = new Writer(world);
      let newest = 0;
      for (let life = 0; life < 3; life++) {
        for (let burst = 0; burst < 4; burst++) {
          writer.write(1 + ((seed + life + burst) % 5));
          world.pass((seed * 13 + burst * 29) % 70);
        }
        writer.write(2);
        for (const { revision } of writer.acknowledged.slice(writer.next - 2))
          newest = Math.max(newest, revision);
        const certain = writer.certain(world.nowMs);
        world.losePower().open(INTERVAL);
        const found = writer.found();
        expect(found).toBeGreaterThanOrEqual(certain);
        lost += writer.next - found;
        writer.next = writer.acknowledged.length = found;
        // The next one that is given is above all that were.
        expect(revisionOf(world)).toBeGreaterThan(newest);
        expect(revisionOf(world)).toBeLessThanOrEqual(newest + RAISED);
      }
    }
    expect(lost).toBeGreaterThan(0);
  });

  it("raises the revision by a million once for each stop without a clean end, and not for a clean one", () => {
    const world = new World().open(INTERVAL);
    const writer = new Writer(world);
    writer.write(4);
    expect(revisionOf(world)).toBe(5);
    world.close();
    expect(remembered(world)).toBe(null);
    world.open(INTERVAL);
    expect([revisionOf(world), writer.found()]).toEqual([5, 4]);
    expect(world.node.recovery.walEntriesReplayed).toBe(4);
    world.kill();
    expect(remembered(world)).toEqual({ raiseTo: null });
    world.logged.length = 0;
    world.open(INTERVAL);
    expect(revisionOf(world)).toBe(5 + RAISED);
    expect(world.node.recovery.walEntriesReplayed).toBe(4);
    expect(world.logged).toContain(
      "warn: the last run ended without its last sync: revisions go on at 1000005",
    );
    writer.write(1);
    expect(writer.acknowledged[4]?.revision).toBe(6 + RAISED);
    // Reads at a revision that nobody was given see the state before it.
    const old = world.now(world.range({ ...rangeRequest("a3"), revision: 500 }));
    expect(old.kind === "range" && old.kvs.length).toBe(1);
    world.close();
    world.kill().open(INTERVAL);
    expect(revisionOf(world)).toBe(6 + RAISED);
  });

  it("raises it in the durable mode as well, when that is what the node is started in next", () => {
    const world = new World().open(INTERVAL);
    new Writer(world).write(2);
    world.kill().open();
    expect(revisionOf(world)).toBe(3 + RAISED);
    world.kill();
    expect(remembered(world)).toBe(null);
    world.losePower().open();
    expect(revisionOf(world)).toBe(3 + RAISED);
  });

  it("has raised it for good before it gives a revision out, and says of a checkpoint only what is synced", () => {
    const world = new World().open(INTERVAL);
    new Writer(world).write(2);
    let newest = 3;
    for (let life = 1; life <= 3; life++) {
      world.losePower("lose-all").open(INTERVAL);
      const outcome = world.now(world.put("k", `${life}`));
      expect(outcome.revision).toBeGreaterThan(newest);
      newest = outcome.revision;
    }
    world.machine.disk.inject({ operation: "sync", delayMs: 20 });
    let checkpointed: HarmonyError | null | undefined;
    world.node.checkpoint((error) => {
      checkpointed = error;
    });
    // It closes while the log is being synced for the checkpoint, which is then not begun.
    world.close();
    expect(checkpointed?.code).toBe("CLOSED");
  });

  it("compacts across a raise as across any other revisions, and keeps what is alive", () => {
    const retention = { retentionMs: 0, retentionRevisions: 7 };
    const world = new World().open({ ...INTERVAL, retention });
    for (let i = 0; i < 20; i++) world.putNow(`k${i % 3}`, `${i}`);
    world.kill().open({ ...INTERVAL, retention });
    world.pass(10_000);
    const { revision, compactRevision } = world.node.database.status();
    expect([revision, revision - compactRevision]).toEqual([21 + RAISED, 7]);
    expect(["k0", "k1", "k2"].map((key) => world.get(key))).toEqual(["18", "19", "17"]);
    world.putNow("k0", "20");
    world.close();
    world.kill().open({ ...INTERVAL, retention });
    expect([revisionOf(world), world.get("k0")]).toEqual([22 + RAISED, "20"]);
  });

  it("raises it by a command that is read back as it was written, and never lowers it", () => {
    const bytes = encodeRaiseRevision(1_000_005);
    expect(decodeCommand(bytes)).toEqual({ kind: "raiseRevision", revision: 1_000_005 });
    for (let end = 0; end < bytes.length; end++)
      expect(decodeCommand(bytes.subarray(0, end)).kind).toBe("malformed");
    const machine = new KvStateMachine(new MemoryEngine(), null, {
      retentionMs: 1000,
      retentionRevisions: 0,
    });
    const hashes = new Set<number>();
    for (const [i, revision] of [10, 5, 10, 11].entries()) {
      machine.apply({ index: i + 1, term: 1, clockMs: 1 }, [encodeRaiseRevision(revision)]);
      expect(machine.revision).toBe(Math.max(10, revision));
      hashes.add(machine.stateHash);
    }
    expect(hashes.size).toBe(4);
  });

  it("raises it once although the start that does so ends at any of its file operations", () => {
    for (const [name, next] of [
      ["interval", INTERVAL],
      ["durable", {}],
    ] as const) {
      const source = new World({ seed: 3 }).open(INTERVAL);
      const writer = new Writer(source);
      writer.write(3);
      source.pass(INTERVAL_MS + SYNC_MS);
      source.kill();
      const whole = new World({}, source.machine.fork());
      const ordinals: number[] = [];
      let notedAt = Number.POSITIVE_INFINITY;
      whole.machine.disk.observer = (moment, { kind, path }, ordinal): void => {
        if (moment !== "after" || !CHANGES.has(kind)) return;
        ordinals.push(ordinal);
        // The last name that a start in the interval mode makes is that of the VERSION which notes the run.
        if (kind === "rename" && path === `${DATA}/tmp/VERSION` && name === "interval")
          notedAt = ordinal;
      };
      whole.open(next);
      expect(revisionOf(whole)).toBe(4 + RAISED);
      expect(ordinals.length).toBeGreaterThan(15);
      for (const ordinal of ordinals) {
        const world = new World({ seed: ordinal }, source.machine.fork(ordinal));
        world.machine.haltAt(ordinal, "after");
        try {
          world.open(next);
        } catch {
          expect(world.machine.running).toBe(false);
        }
        world.machine.disk.observer = undefined;
        const end = ordinal % 2 === 0 ? "kill" : "losePower";
        world[end]();
        // A run that was noted as begun, just before it served anybody, is one of its own.
        const hasBegun = ordinal >= notedAt && remembered(world)?.raiseTo === null;
        world.open(next);
        const times = (revisionOf(world) - 4) / RAISED;
        expect([name, ordinal, end, times]).toEqual([name, ordinal, end, hasBegun ? 2 : 1]);
        expect(writer.found(world)).toBe(3);
      }
    }
  }, 20_000);

  it("goes on when a full disk has no room to note the raise, and refuses when it cannot note the run", () => {
    const world = new World().open(INTERVAL);
    world.putNow("a", "1");
    world.kill();
    const noRoom = {
      operation: "write",
      path: `${DATA}/tmp/VERSION`,
      error: "ENOSPC",
      times: Number.POSITIVE_INFINITY,
    } as const;
    let fault = world.machine.disk.inject(noRoom);
    world.open(INTERVAL);
    expect([revisionOf(world), world.get("a")]).toEqual([2 + RAISED, "1"]);
    world.close();
    fault.remove();
    world.kill();
    // Nothing was lost, but that could not be noted: the next start raises it without need.
    expect(remembered(world)).toEqual({ raiseTo: null });
    world.open();
    expect(revisionOf(world)).toBe(2 + 2 * RAISED);
    world.close();
    world.kill();
    fault = world.machine.disk.inject(noRoom);
    const refused = world.tryOpen(INTERVAL) as HarmonyError;
    fault.remove();
    expect(refused.code).toBe("DISK_FULL");
    expect(refused.message).toContain("fsyncIntervalMs");
  });

  it("stops when a sync fails that nobody waits for", () => {
    const world = new World().open(INTERVAL);
    world.putNow("a", "1");
    world.machine.disk.inject({ operation: "sync", error: "EIO", times: 1 });
    world.until(() => world.fatal !== null);
    const late = world.put("b", "2");
    expect(outcomeOf(late)).toBe("STOPPED maybe=false");
    expect(() => world.close()).not.toThrow();
    world.kill();
    expect(remembered(world)).toEqual({ raiseTo: null });
  });

  it("reads what it is told to remember with the same doubt as the rest of VERSION", () => {
    const world = new World().open();
    const { identity } = world.node;
    world.close();
    world.kill();
    const { env } = world;
    const write = (run: UnsyncedRun): void =>
      runIoNow(world.machine, writeVersion(env.files, DATA, identity, run));
    for (const raiseTo of [0, -1, 1.5, "7" as unknown as number]) {
      write({ raiseTo });
      expect(() => runIoNow(world.machine, readVersion(env.files, DATA))).toThrow("VERSION");
    }
    write({ raiseTo: 7 });
    const version = runIoNow(world.machine, readVersion(env.files, DATA));
    expect(version?.unsynced).toEqual({ raiseTo: 7 });
  });
});

describe("a crash at every file operation of a node in the interval mode", () => {
  it("leaves a prefix of whole writes, all of them with the process, with the power all but the newest", () => {
    const options = {
      ...INTERVAL,
      walSegmentBytes: 4096,
      checkpoints: { walBytes: 1_000_000, operations: 1_000_000, intervalMs: 60_000 },
    };
    const world = new World({ seed: 5 }).open(options);
    const writer = new Writer(world);
    const points: { readonly image: World; readonly atLeast: number; readonly where: string }[] =
      [];
    let ordinals = 0;
    world.machine.disk.observer = (moment, { kind, path }): void => {
      if (moment !== "before" || !CHANGES.has(kind)) return;
      const where = `${++ordinals} ${kind} ${path}`;
      const killed = world.machine.fork();
      killed.kill();
      points.push({ image: new World({}, killed), atLeast: writer.acknowledged.length, where });
      const limit = kind === "write" && path === TREE ? 2 : 1;
      for (const image of world.machine.fork().crashImages({ limit, seed: ordinals }))
        points.push({ image: new World({}, image), atLeast: writer.certain(world.nowMs), where });
    };
    const checkpoint = (): void => {
      let isOver = false;
      world.node.checkpoint(() => {
        isOver = true;
      });
      writer.write(2);
      world.until(() => isOver);
    };
    writer.write(4);
    checkpoint();
    world.pass(INTERVAL_MS + SYNC_MS);
    writer.write(6);
    checkpoint();
    world.pass(INTERVAL_MS + SYNC_MS + 20);
    writer.write(2);
    world.machine.disk.observer = undefined;
    expect(points.length).toBeGreaterThan(100);
    for (const { image, atLeast, where } of points) {
      image.open(options);
      const found = writer.found(image);
      expect([where, found >= atLeast]).toEqual([where, true]);
      expect(revisionOf(image)).toBe(1 + found + RAISED);
    }
  }, 30_000);
});

describe("a node that keeps nothing", () => {
  it("answers as any other, says so, touches no disk, and is gone when it ends", () => {
    const world = new World().open({ persistence: "none", dataDir: "/nowhere/at/all" });
    const writer = new Writer(world);
    writer.write(50);
    let outcome: HarmonyError | null | undefined;
    world.node.checkpoint((error) => {
      outcome = error;
    });
    world.until(() => outcome !== undefined);
    writer.write(1);
    expect([outcome, writer.found(), revisionOf(world)]).toEqual([null, 51, 52]);
    expect(world.node.database.status().durability).toEqual({ mode: "memory", fsyncIntervalMs: 0 });
    expect(world.logged).toContain(
      "warn: nothing is written to disk: the data ends with the process",
    );
    world.close();
    world.kill().open({ persistence: "none" });
    expect([writer.found(), revisionOf(world), world.machine.disk.opCount]).toEqual([0, 1, 0]);
    world.close();
  });

  it("lets go of its log at each checkpoint, so that memory holds the data and not every write", () => {
    const world = new World().open({
      persistence: "none",
      walSegmentBytes: 64 * 1024,
      checkpoints: { walBytes: 128 * 1024, operations: 1_000_000, intervalMs: 60_000 },
      retention: { retentionMs: 0, retentionRevisions: 0 },
    });
    for (let i = 0; i < 600; i++) {
      world.putNow("key", "x".repeat(2_000));
      if (i % 100 === 99) world.pass(300);
    }
    expect(world.node.logStats.bytesOnDisk).toBeLessThan(600 * 2_000);
  });
});

describe("a member that would forget what it acknowledged", () => {
  const conf = (change: Partial<ConfState>): ConfState => ({
    voters: [1],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
    ...change,
  });

  it("is refused by name beside any other, and nobody is refused for syncing", () => {
    const interval = { mode: "interval", fsyncIntervalMs: 5 } as const;
    const memory = { mode: "memory", fsyncIntervalMs: 0 } as const;
    const sync = { mode: "sync", fsyncIntervalMs: 0 } as const;
    const others = [
      conf({ voters: [1, 2] }),
      conf({ votersOutgoing: [1, 2] }),
      conf({ learners: [2] }),
      conf({ learnersNext: [2] }),
    ];
    for (const other of others) {
      expect(() => assertAlone(interval, other)).toThrow("--fsync-interval-ms");
      expect(() => assertAlone(memory, other)).toThrow("--disable-persistence");
      assertAlone(sync, other);
    }
    for (const mode of [interval, memory, sync]) assertAlone(mode, conf({}));
  });

  it("is refused at its start, before anything is written, when its checkpoint names another voter", () => {
    const world = new World().open();
    world.putNow("a", "1");
    const { memberId, walId } = world.node.identity;
    let isOver = false;
    world.node.checkpoint(() => {
      isOver = true;
    });
    world.until(() => isOver);
    world.close();
    world.kill();
    const { env } = world;
    runIoNow(
      world.machine,
      (function* (): Io<void> {
        const opened = yield* BTreeEngine.open(env.files, TREE, { fileId: walId, create: "no" });
        const { newest } = opened.engine.checkpoints;
        if (newest === null) throw new Error("there is a checkpoint");
        const machine = newest.payload.slice(1 + 8 + 1 + 8);
        const confState = conf({ voters: [memberId, memberId + 1] });
        const payload = encodeCheckpointPayload({ incarnation: 1, confState, machine });
        yield* opened.engine.checkpoint({ ...newest, payload });
        yield* opened.engine.close();
      })(),
    );
    world.kill();
    const refused = world.tryOpen(INTERVAL) as HarmonyError;
    expect([refused.code, refused.message.includes("--fsync-interval-ms")]).toEqual([
      "INVALID_ARGUMENT",
      true,
    ]);
    expect(remembered(world)).toBe(null);
  });
});
