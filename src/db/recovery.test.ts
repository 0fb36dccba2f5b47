/** What a node finds again, and what it refuses: crashes and faults around the start (architecture section 9). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CorruptionError, HarmonyError, setVerifying, utf8 } from "../base/index.ts";
import { type Io, lockDirectory, renameFile, unlinkFile } from "../env/index.ts";
import { runIoNow } from "../env/sim/index.ts";
import { writeVersion } from "./data-directory.ts";
import { metricFamilies } from "./node-metrics.ts";
import { DATA, deleteRequest, LOG, outcomeOf, rangeRequest, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

function checkpoint(world: World): void {
  let outcome: HarmonyError | null | undefined;
  world.node.checkpoint((error) => {
    outcome = error;
  });
  world.until(() => outcome !== undefined);
  expect(outcome).toBe(null);
}

/** Removes a file of a stopped node. */
function remove(world: World, path: string): void {
  const { env } = world;
  runIoNow(
    world.machine,
    (function* (): Io<void> {
      yield* unlinkFile(env.files, path);
    })(),
  );
}

describe("a node that starts again", () => {
  it("begins at the checkpoint and replays only what is beyond it", () => {
    const world = new World().open();
    for (let i = 0; i < 5; i++) world.putNow(`a${i}`, "before");
    checkpoint(world);
    for (let i = 0; i < 3; i++) world.putNow(`b${i}`, "after");
    world.now(world.write(deleteRequest("a0")));
    const { revision } = world.node.database.status();
    world.losePower().open();
    expect(world.node.recovery).toMatchObject({
      snapshotLoaded: true,
      snapshotEntries: 5,
      walEntriesReplayed: 4,
      corruptedEntries: 0,
    });
    expect(world.get("a0")).toBe(undefined);
    expect(world.get("a4")).toBe("before");
    expect(world.get("b2")).toBe("after");
    expect(world.node.database.status().revision).toBe(revision);
    expect(world.logged.some((line) => /^info: Recovered 9 entries in \d+ ms$/.test(line))).toBe(
      true,
    );
  });

  it("knows that what a checkpoint holds was committed, although the log was never told", () => {
    const world = new World().open();
    world.putNow("a", "1");
    checkpoint(world);
    const { raftAppliedIndex } = world.node.database.status();
    world.losePower().open();
    expect(world.get("a")).toBe("1");
    expect(world.node.recovery.walEntriesReplayed).toBe(0);
    expect(world.node.database.status().raftAppliedIndex).toBe(raftAppliedIndex + 1);
  });

  it("is ready only when all of a long log is applied, whoever reads then and however", () => {
    const world = new World().open();
    // One write of several entries, so that none of them is known to be committed when the process ends.
    const puts = Array.from({ length: 5_000 }, (_, i) => world.put(`k${i}`, "x".repeat(700)));
    world.until(() => puts.every(({ isThere }) => isThere));
    world.kill().open();
    expect(world.node.recovery.walEntriesReplayed).toBe(5_000);
    const local = world.range(rangeRequest("k4999", true));
    expect(local.value).toMatchObject({ kind: "range", count: 1 });
  });

  it("applies nothing twice, however often it is killed", () => {
    const world = new World().open();
    for (let i = 0; i < 12; i++) {
      world.putNow("counted", `${i}`);
      if (i % 3 === 0) checkpoint(world);
      if (i % 2 === 0) world.kill().open();
      else world.losePower().open();
      const kv = world.now(world.range(rangeRequest("counted")));
      expect(kv.kind === "range" && kv.kvs[0]?.version).toBe(i + 1);
    }
  });

  it("goes back to the older checkpoint when the newest is damaged and the log has the rest", () => {
    const world = new World().open();
    // Segments enough that some lie between the two, and some before both, which are gone.
    const fill = (value: string): void => {
      for (let at = 0; at < 200; at += 10) {
        const puts = Array.from({ length: 10 }, (_, i) =>
          world.put(`k${at + i}`, value.repeat(1_000)),
        );
        world.until(() => puts.every(({ isThere }) => isThere));
      }
    };
    for (const value of ["a", "b"]) {
      fill(value);
      checkpoint(world);
    }
    const before = world.machine.disk.paths().filter(LOG).length;
    fill("c");
    checkpoint(world);
    expect(world.machine.disk.paths().filter(LOG).length).toBeLessThan(before + 3);
    world.putNow("after", "1");
    world.close();
    world.kill();
    damageNewestMeta(world);
    world.open();
    expect(world.node.recovery).toMatchObject({ snapshotLoaded: true, walEntriesReplayed: 201 });
    expect(world.get("k0")).toBe("c".repeat(1_000));
    expect(world.get("after")).toBe("1");
    // Somebody looks at the disk, then: nothing else tells that it has forgotten something.
    expect(world.logged).toContain("warn: a checkpoint is not whole, by a crash or by damage");
  });

  it("starts over damage that nothing needs any more, names its place, and counts it", () => {
    const told: [string, unknown][] = [];
    const world = new World({
      log: (_level, _logger, message, fields) => told.push([message, fields]),
    }).open();
    for (let i = 0; i < 5; i++) world.putNow(`k${i}`, `needle ${i}`);
    for (let i = 0; i < 2; i++) {
      checkpoint(world);
      world.putNow("later", `${i}`);
    }
    world.kill();
    const { disk } = world.machine;
    const [log = ""] = disk.paths().filter((path) => path.startsWith(`${DATA}/wal/`));
    disk.flipBit(log, offsetOf(disk.contents(log), utf8("needle 2")));
    for (let round = 0; round < 2; round++) {
      told.length = 0;
      world.open();
      expect(world.node.recovery.corruptedEntries).toBe(1);
      expect(world.get("k2")).toBe("needle 2");
      const place = { file: log, offset: expect.any(Number) as number };
      expect(told).toContainEqual([
        "the log is damaged where nothing needs it any more",
        expect.objectContaining(place),
      ]);
      const corrupted = metricFamilies(world.node).find(({ name }) =>
        name.endsWith("corrupted_entries"),
      );
      expect(corrupted?.samples).toEqual([{ labels: {}, value: 1 }]);
      world.kill();
    }
  });

  it("refuses a data file whose checkpoints are both damaged, and one that is older than the log", () => {
    const world = new World().open();
    const fill = (): void => {
      const puts = Array.from({ length: 60 }, (_, i) => world.put(`k${i}`, "x".repeat(1_000)));
      world.until(() => puts.every(({ isThere }) => isThere));
      checkpoint(world);
    };
    fill();
    const old = world.machine.fork();
    for (let i = 0; i < 5; i++) fill();
    world.close();
    world.kill();
    const damaged = new World({}, world.machine.fork());
    for (const place of [0, 1]) damaged.machine.disk.flipBit(TREE, place * 4096 + META_NUMBER);
    expect(damaged.tryOpen()).toBeInstanceOf(CorruptionError);
    expect(damaged.machine.disk.quiet).toBe(true);
    // The log was released behind the checkpoints that this file does not have.
    const { disk } = world.machine;
    disk.makeStale(old.disk, TREE, 0, disk.contents(TREE).length);
    expect((world.tryOpen() as HarmonyError).code).toBe("CORRUPT");
    expect(disk.quiet).toBe(true);
  });

  it("refuses when the checkpoint that holds the settings is damaged: it would replay by today's flags", () => {
    const world = new World().open({ retention: { retentionMs: 0, retentionRevisions: 0 } });
    world.putNow("a", "1");
    world.close();
    world.kill();
    damageNewestMeta(world);
    const refused = world.tryOpen();
    expect(refused).toBeInstanceOf(CorruptionError);
    expect((refused as Error).message).toContain(TREE);
  });

  it("keeps the settings that it was created with, and says so when the flags differ", () => {
    const world = new World().open({ retention: { retentionMs: 0, retentionRevisions: 7 } });
    world.close();
    world.kill();
    world.logged.length = 0;
    world.open({ retention: { retentionMs: 0, retentionRevisions: 7 } });
    expect(world.logged.filter((line) => line.startsWith("warn"))).toEqual([]);
    world.close();
    world.kill().open({ retention: { retentionMs: 1_000, retentionRevisions: 1 } });
    expect(world.logged.filter((line) => line.startsWith("warn"))).toEqual([
      "warn: the database keeps the retention that it was created with",
    ]);
    for (let i = 0; i < 40; i++) world.putNow("a", `${i}`);
    world.pass(10_000);
    const { revision, compactRevision } = world.node.database.status();
    expect(revision - compactRevision).toBe(7);
  });
});

describe("a node that has lost a file", () => {
  function stopped(): World {
    const world = new World().open();
    world.putNow("a", "1");
    world.close();
    return world.kill();
  }

  it("takes the log's word when its votes are gone, in a term in which it cannot have voted", () => {
    const world = stopped();
    const before = (): number => world.node.database.header.raftTerm;
    const term = before();
    remove(world, `${DATA}/VOTE`);
    world.open();
    expect(world.get("a")).toBe("1");
    expect(world.node.database.header.raftTerm).toBeGreaterThan(term + 1);
    world.close();
    world.kill().open();
    expect(world.get("a")).toBe("1");
  });

  it("refuses when its votes contradict the log", () => {
    const world = stopped();
    const other = new World().open({ name: "other" });
    other.close();
    const path = `${DATA}/VOTE`;
    world.machine.disk.damage(path, 0, other.machine.disk.contents(path));
    expect((world.tryOpen() as HarmonyError).code).toBe("WRONG_CLUSTER");
    expect(world.machine.disk.quiet).toBe(true);
  });

  it("refuses to start as if it were new when the log is gone", () => {
    const world = stopped();
    for (const path of world.machine.disk.paths().filter((path) => path.startsWith("data/wal/")))
      remove(world, path);
    expect((world.tryOpen() as HarmonyError).code).toBe("CORRUPT");
    expect(world.machine.disk.quiet).toBe(true);
  });

  it("refuses to start as if it were new when VERSION is gone", () => {
    const world = stopped();
    remove(world, `${DATA}/VERSION`);
    const refused = world.tryOpen() as HarmonyError;
    expect(refused.code).toBe("CORRUPT");
    expect(refused.message).toContain("VERSION");
  });

  it("refuses to start as if it were new when the data file is gone", () => {
    const world = stopped();
    remove(world, TREE);
    const refused = world.tryOpen() as HarmonyError;
    expect(refused.code).toBe("CORRUPT");
    expect(refused.message).toContain(TREE);
    expect(world.machine.disk.quiet).toBe(true);
  });

  it("refuses a newer format, another cluster, and a directory that is not its own", () => {
    const world = stopped();
    const path = `${DATA}/VERSION`;
    const version = world.machine.disk.contents(path);
    // Of a later format all but its number may be different; "checksum" by another name is one that we cannot check.
    const line = new TextDecoder().decode(version);
    const newer = line.replace('"major":1', '"major":2').replace('"checksum"', '"checkSum"');
    world.machine.disk.damage(path, 0, utf8(newer));
    expect((world.tryOpen() as HarmonyError).code).toBe("NEWER_FORMAT");
    world.machine.disk.damage(path, 0, utf8(line.replace('"major":1', '"major":2')));
    expect((world.tryOpen() as HarmonyError).code).toBe("CORRUPT");
    world.machine.disk.damage(path, 0, utf8(newer));
    expect((world.tryOpen() as HarmonyError).code).toBe("NEWER_FORMAT");
    world.machine.disk.damage(path, 0, utf8("[]"));
    expect((world.tryOpen() as HarmonyError).code).toBe("CORRUPT");
    world.machine.disk.damage(path, 0, version);
    expect((world.tryOpen({ clusterToken: "another" }) as HarmonyError).code).toBe("WRONG_CLUSTER");
    world.open();
    expect(world.get("a")).toBe("1");
    expect((world.tryOpen() as HarmonyError).code).toBe("DIRECTORY_LOCKED");
    expect(world.get("a")).toBe("1");
    const foreign = new World();
    const { env } = foreign;
    runIoNow(
      foreign.machine,
      (function* (): Io<void> {
        yield (done) => env.files.mkdir(DATA, done);
        yield (done) =>
          env.files.open(
            `${DATA}/letter.txt`,
            { access: "readwrite", create: "exclusive" },
            (error, file) => (error === null ? file.close(done) : done(error, undefined)),
          );
      })(),
    );
    expect((foreign.tryOpen() as HarmonyError).code).toBe("INVALID_ARGUMENT");
    expect(foreign.machine.disk.paths()).toEqual([DATA, `${DATA}/letter.txt`]);
  });
});

const CHANGES = ["mkdir", "rename", "write", "sync", "syncDir"] as const;
const READS = ["lock", "open", "size", "read", "list", "truncate", "unlink"] as const;

describe("a first start", () => {
  it("may be cut short anywhere: the next one acknowledges nothing that a power loss takes away", () => {
    // In a directory whose parents are made as well; the second start may find any of it made but not durable.
    const nested = { dataDir: "srv/db/data", walSegmentBytes: 4096 };
    const whole = new World();
    const changes: number[] = [];
    whole.machine.disk.observer = (moment, { kind }, ordinal): void => {
      if (moment === "after" && (CHANGES as readonly string[]).includes(kind))
        changes.push(ordinal);
    };
    whole.open(nested);
    expect(changes.length).toBeGreaterThan(30);
    for (const ordinal of changes) {
      const world = new World({ seed: ordinal });
      world.machine.haltAt(ordinal, "after");
      try {
        world.open(nested);
      } catch {
        expect(world.machine.running).toBe(false);
      }
      world.machine.disk.observer = undefined;
      world.kill().open(nested);
      world.putNow("a", "1");
      world.losePower().open(nested);
      expect(world.get("a")).toBe("1");
    }
  });

  it("may be cut short again where it makes up for one that was: the next one still knows it for what it is", () => {
    const options = { walSegmentBytes: 4096 };
    const whole = new World().open(options);
    const operations = whole.machine.disk.opCount;
    const cut = (world: World, after: number): void => {
      const { machine } = world;
      machine.haltAt(machine.disk.opCount + after, "after");
      try {
        world.open(options);
      } catch {
        expect(machine.running).toBe(false);
      }
      machine.disk.observer = undefined;
      world.kill();
    };
    for (let first = operations - 40; first < operations; first += 15) {
      for (let second = 8; second < operations - 20; second += 3) {
        const world = new World({ seed: first });
        cut(world, first);
        cut(world, second);
        world.open(options).putNow("a", "1");
      }
    }
  });

  it("may leave a VERSION under another name, longer than the one that comes", () => {
    const world = new World().open();
    world.close();
    world.kill();
    const { env } = world;
    const identity = {
      clusterId: 2 ** 52,
      memberId: 2 ** 52,
      walId: new Uint8Array(16),
      tokenDigest: "0".repeat(300),
    };
    runIoNow(
      world.machine,
      (function* (): Io<void> {
        yield* writeVersion(env.files, DATA, identity);
        yield* renameFile(env.files, `${DATA}/VERSION`, `${DATA}/tmp/VERSION`);
        yield* writeVersion(env.files, DATA, { ...identity, tokenDigest: "0".repeat(16) });
      })(),
    );
    expect(() =>
      JSON.parse(new TextDecoder().decode(world.machine.disk.contents(`${DATA}/VERSION`))),
    ).not.toThrow();
  });
});

describe("a start whose disk fails at any operation", () => {
  it("says so, leaves nothing open, and costs nothing", () => {
    const source = new World().open({ walSegmentBytes: 4096 });
    for (let i = 0; i < 8; i++) source.putNow(`k${i}`, "x".repeat(300));
    checkpoint(source);
    source.putNow("last", "1");
    // Not of a close: what stays open then is the system's business.
    const kinds = [...CHANGES, ...READS];
    const operations: { readonly kind: string; readonly path: string }[] = [];
    source.kill();
    const clean = new World({}, source.machine.fork());
    clean.machine.disk.observer = (moment, { kind, path }): void => {
      if (moment === "before" && (kinds as readonly string[]).includes(kind))
        operations.push({ kind, path });
    };
    clean.open({ walSegmentBytes: 4096 });
    let refused = 0;
    const tried = new Set<string>();
    for (const [skip, { kind, path }] of operations.entries()) {
      // One read of a file fails like another.
      if (kind === "read" && tried.has(path)) continue;
      tried.add(path);
      const where = `${skip} ${kind} ${path}`;
      const world = new World({}, source.machine.fork());
      const fault = world.machine.disk.inject({ operation: kinds, skip, error: "EIO" });
      const outcome = world.tryOpen({ walSegmentBytes: 4096 });
      fault.remove();
      if (outcome instanceof Error) {
        refused++;
        expect(outcome).toBeInstanceOf(HarmonyError);
        world.pass(10);
        const isOfLog = LOG(path) || path.endsWith("MANIFEST") || kind === "list";
        if (!isOfLog) expect([where, world.machine.disk.quiet]).toEqual([where, true]);
        const { files } = world.env;
        runIoNow(
          world.machine,
          (function* (): Io<void> {
            const lock = yield* lockDirectory(files, DATA);
            yield (done) => lock.release(done);
          })(),
        );
      }
      world.kill().open({ walSegmentBytes: 4096 });
      const found = [where, world.get("k7"), world.get("last")];
      expect(found).toEqual([where, "x".repeat(300), "1"]);
    }
    expect(refused).toBeGreaterThan(25);
  });
});

describe("a crash while acknowledged writes, checkpoints and new segments go on", () => {
  it("loses none of them and invents none", () => {
    for (let seed = 1; seed <= 4; seed++) {
      const world = new World({ seed });
      const options = {
        walSegmentBytes: 4096,
        checkpoints: { walBytes: 6_000, operations: 40, intervalMs: 60_000 },
      };
      world.open(options);
      let next = 0;
      let acknowledged = -1;
      for (let life = 0; life < 4; life++) {
        const until = world.machine.disk.opCount + 30 + ((seed * 37 + life * 61) % 150);
        while (world.machine.disk.opCount < until) {
          const burst = Array.from({ length: 1 + (next % 7) }, () => {
            const number = next++;
            return { number, answer: world.put(`k${number}`, `${number} ${"x".repeat(200)}`) };
          });
          world.until(
            () =>
              burst.every(({ answer }) => answer.isThere) || world.machine.disk.opCount >= until,
          );
          for (const { number, answer } of burst)
            if (outcomeOf(answer) === "ok") acknowledged = Math.max(acknowledged, number);
        }
        if (life % 2 === 0) world.losePower().open(options);
        else world.kill().open(options);
        let last = -1;
        for (let number = 0; number < next; number++) {
          const value = world.get(`k${number}`);
          if (value === undefined) {
            expect([seed, life, number > acknowledged]).toEqual([seed, life, true]);
          } else {
            expect(value.startsWith(`${number} `)).toBe(true);
            // What is there is a prefix: entries are applied in order.
            expect(last).toBe(number - 1);
            last = number;
          }
        }
        next = last + 1;
        acknowledged = last;
      }
    }
  });
});

/** Where a meta says the number of its checkpoint (btree/meta.ts). */
const META_NUMBER = 96;

/** Flips a bit in the newer of the two metas. */
function offsetOf(bytes: Uint8Array, wanted: Uint8Array): number {
  const at = bytes.findIndex((_, i) => wanted.every((byte, j) => bytes[i + j] === byte));
  if (at < 0) throw new Error("it is not there");
  return at;
}

function damageNewestMeta(world: World): void {
  const bytes = world.machine.disk.contents(TREE);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const number = (place: number): bigint => view.getBigUint64(place * 4096 + META_NUMBER, true);
  const newest = number(0) > number(1) ? 0 : 1;
  world.machine.disk.flipBit(TREE, newest * 4096 + META_NUMBER + 40);
}
