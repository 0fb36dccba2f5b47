/** A member whose state is wrong or damaged: found, kept away from everybody, and healed by the others. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying, text, utf8 } from "../base/index.ts";
import { BTreeEngine } from "../btree/index.ts";
import {
  closeFile,
  fileSize,
  type Io,
  openFile,
  readFile,
  syncFile,
  writeFile,
} from "../env/index.ts";
import { runIoNow } from "../env/sim/index.ts";
import { DEFAULT_CHECKPOINTS } from "./chores.ts";
import { ClusterWorld, NAMES, optionsOf, url } from "./cluster.suite.ts";
import { Pin } from "./embedded/pin.ts";
import type { SnapshotReader } from "./snapshots.ts";
import type { Watch } from "./watch/index.ts";
import {
  type Answer,
  DATA,
  deleteRequest,
  outcomeOf,
  rangeRequest,
  TREE,
  type World,
} from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const TIMEOUT = { timeout: 120_000 };
/** The tree of current versions. */
const KEYS = 0;

/** Changes a value in the data file of a node that is down, as a page with a checksum that fits. */
function forge(world: World, walId: Uint8Array, key: string, bit = 1): void {
  const { files } = world.env;
  runIoNow(
    world.machine,
    (function* (): Io<void> {
      const { engine } = yield* BTreeEngine.open(files, TREE, { fileId: walId, create: "no" });
      const tree = engine.tree(KEYS);
      const record = (tree.get(utf8(key)) as Uint8Array).slice();
      record[record.length - 1] = (record[record.length - 1] as number) ^ bit;
      tree.put(utf8(key), record);
      const { newest } = engine.checkpoints;
      if (newest === null) throw new Error("there is a checkpoint");
      yield* engine.checkpoint(newest);
      yield* engine.close();
    })(),
  );
}

const incr = (world: World): void => {
  const answer = world.write({ kind: "append", key: utf8("log"), value: utf8("x") } as Parameters<
    World["write"]
  >[0]);
  expect(outcomeOf(world.now(answer))).toBe("ok");
};

const settled = <T>(world: World, answer: Answer<T>): Answer<T> => {
  world.until(() => answer.isThere);
  return answer;
};

/** Of what is thrown; "nothing": it went well. */
const codeOf = (read: () => unknown): string => {
  try {
    read();
    return "nothing";
  } catch (error) {
    return (error as HarmonyError).code;
  }
};

const stats = (world: World): ReturnType<() => World["node"]["quarantineStats"]> =>
  world.node.quarantineStats;

/** How often it went into quarantine since its start, and how often it was healed. */
const turns = (world: World): readonly (number | undefined)[] => {
  const { entered, healed } = stats(world) ?? {};
  return [entered, healed];
};

/** What becomes of a snapshot to keep, one to read, and a checkpoint. */
function refusalsOf(world: World): readonly string[] {
  const { node } = world;
  const answers = [
    world.ask<unknown>((reply) => node.snapshot(reply)),
    world.ask<unknown>((reply) => node.openSnapshot(reply)),
    world.ask<unknown>((reply) => node.checkpoint((error) => reply(error, null))),
  ];
  world.until(() => answers.every(({ isThere }) => isThere));
  return answers.map(({ error }) => error?.code ?? "ok");
}

describe("a member whose state differs", TIMEOUT, () => {
  let cluster: ClusterWorld;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    cluster.leader();
    incr(cluster.leader());
    for (let i = 0; i < 20; i++) cluster.leader().putNow(`k${i}`, `${i}`);
    cluster.pass(2_000);
  }, 60_000);

  const corrupt = (world: World): void => {
    const { walId } = world.node.identity;
    let isDone = false;
    world.node.checkpoint(() => (isDone = true));
    world.until(() => isDone);
    cluster.close(world);
    forge(world, walId, "log");
    cluster.start(world);
    cluster.leader();
    cluster.pass(3_000);
  };

  const expectWhole = (): void => {
    cluster.leader().putNow("after", "all");
    cluster.pass(3_000);
    const [first, ...others] = cluster.nodes.map(({ node }) => node.database.describe());
    for (const other of others) expect(other).toEqual(first);
    for (const { node } of cluster.nodes)
      expect(node.database.applied).toEqual(cluster.nodes[0]?.node.database.applied);
  };

  it("is found by its hash, alarmed, answers nothing, is healed, and keeps its alarm until it is cleared", () => {
    const [wrong] = cluster.followers() as [World];
    corrupt(wrong);
    // What differs shows when something is made of it.
    incr(cluster.leader());
    wrong.until(() => wrong.node.database.status().quarantine !== null);
    const { alarms, quarantine } = wrong.node.database.status();
    expect(alarms).toEqual(["CORRUPT"]);
    expect(quarantine).toMatch(/differs from that of a majority/);
    for (const isSerializable of [true, false])
      expect(outcomeOf(wrong.range(rangeRequest("log", isSerializable)))).toBe(
        "QUARANTINED maybe=false",
      );
    expect(outcomeOf(wrong.put("k", "v"))).toBe("QUARANTINED maybe=false");
    cluster.leader().putNow("meanwhile", "served");
    cluster.pass(8_000);
    expect(stats(wrong)).toEqual({ reason: null, entered: 1, healed: 1 });
    expect(wrong.get("meanwhile")).toBe("served");
    expect(wrong.get("log")).toBe("xx");
    expectWhole();
    const { memberId } = wrong.node.database;
    for (const { node } of cluster.nodes) {
      const status = node.database.status();
      expect(status.raised).toEqual([{ memberId, alarm: "CORRUPT" }]);
      expect(status.alarms).toEqual([]);
      expect(status.errors).toEqual([`memberID:${memberId} alarm:CORRUPT`]);
    }
    const leader = cluster.leader();
    leader.now(
      leader.ask((reply) =>
        leader.node.database.alarm({ memberId, alarm: "CORRUPT" }, false, {}, reply),
      ),
    );
    cluster.pass(1_000);
    for (const { node } of cluster.nodes) expect(node.database.status().raised).toEqual([]);
    // Another restart knows nothing of it any more.
    cluster.kill(wrong);
    cluster.start(wrong);
    cluster.pass(2_000);
    expect(wrong.get("log")).toBe("xx");
    expect(stats(wrong)).toEqual({ reason: null, entered: 0, healed: 0 });
  });

  it("hands out no snapshot of it that was begun before it was found, also when it is healed", () => {
    const [wrong] = cluster.followers() as [World];
    corrupt(wrong);
    const { node } = wrong;
    const read = (reader: SnapshotReader): string => {
      const piece = settled(
        wrong,
        wrong.ask<Uint8Array | null>((reply) => reader.read(64, reply)),
      );
      return outcomeOf(piece);
    };
    const reader = wrong.now(wrong.ask<SnapshotReader | null>((reply) => node.openSnapshot(reply)));
    expect(read(reader as SnapshotReader)).toBe("ok");
    incr(cluster.leader());
    // One is under way at any time.
    const made: Answer<unknown>[] = [];
    wrong.until(() => {
      if (made.at(-1)?.isThere !== false)
        made.push(wrong.ask<unknown>((reply) => node.snapshot(reply)));
      return stats(wrong)?.reason !== null;
    });
    const last = made.at(-1) as Answer<unknown>;
    expect(last.isThere).toBe(false);
    expect(outcomeOf(settled(wrong, last))).toBe("QUARANTINED maybe=false");
    expect(read(reader as SnapshotReader)).toBe("QUARANTINED maybe=false");
    cluster.pass(8_000);
    expect(stats(wrong)).toEqual({ reason: null, entered: 1, healed: 1 });
    expect(read(reader as SnapshotReader)).toBe("QUARANTINED maybe=false");
    (reader as SnapshotReader).close();
    expect(refusalsOf(wrong)).toEqual(["ok", "ok", "ok"]);
    expectWhole();
  });
});

/** Flips bytes of a file of a node that is down, every so many of them from an offset on. */
function damage(world: World, path: string, from: number, every: number): void {
  const { files } = world.env;
  runIoNow(
    world.machine,
    (function* (): Io<void> {
      const file = yield* openFile(files, path, { access: "readwrite" });
      const bytes = new Uint8Array(yield* fileSize(file));
      yield* readFile(file, 0, bytes);
      for (let at = from; at < bytes.length; at += every)
        if (bytes[at] !== 0) bytes[at] = (bytes[at] as number) ^ 0x55;
      yield* writeFile(file, 0, bytes);
      yield* syncFile(file);
      yield* closeFile(file);
    })(),
  );
}

describe("a member that starts with damage", TIMEOUT, () => {
  let cluster: ClusterWorld;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    cluster.leader();
    for (let i = 0; i < 30; i++) cluster.leader().putNow(`k${i}`, `${i}`);
    cluster.pass(3_000);
  }, 60_000);

  const damageLog = (world: World): void => {
    const [first = ""] = cluster.list(world, `${DATA}/wal`);
    damage(world, `${DATA}/wal/${first}`, 1_000, 64);
  };
  const damageData = (world: World): void => damage(world, TREE, 16, 8);

  const expectHealed = (world: World): void => {
    cluster.pass(8_000);
    expect(stats(world)).toMatchObject({ reason: null, healed: 1 });
    cluster.leader().putNow("after", "all");
    cluster.pass(3_000);
    expect(world.get("k7")).toBe("7");
    const [one, ...others] = cluster.nodes.map(({ node }) => node.database.describe());
    for (const other of others) expect(other).toEqual(one);
    for (const { node } of cluster.nodes)
      expect(node.database.applied).toEqual(cluster.nodes[0]?.node.database.applied);
    expect(cluster.list(world, DATA)).not.toContain("QUARANTINE");
    expect(cluster.list(world, `${DATA}/damaged`)).toEqual([]);
  };

  it.each([
    ["its log", [damageLog]],
    ["its data file", [damageData]],
    ["both", [damageLog, damageData]],
  ])("in %s puts it aside, takes no part, and is healed by the others", (_what, damages) => {
    const [sick] = cluster.followers() as [World];
    const { memberId } = sick.node.database;
    cluster.close(sick);
    for (const harm of damages) harm(sick);
    cluster.start(sick);
    expect(sick.node.database.status().quarantine).toMatch(/at offset/);
    expect(sick.node.recovery.corruptedEntries).toBe(1);
    expect(cluster.list(sick, `${DATA}/damaged`).length).toBeGreaterThan(1);
    expect(outcomeOf(sick.range(rangeRequest("k7", true)))).toBe("QUARANTINED maybe=false");
    expectHealed(sick);
    expect(cluster.leader().node.database.status().raised).toEqual([
      { memberId, alarm: "CORRUPT" },
    ]);
  });

  it("comes back in quarantine when it is killed before it is healed, and when its power fails", () => {
    const [sick] = cluster.followers() as [World];
    cluster.close(sick);
    damageLog(sick);
    cluster.isolate(sick, true);
    cluster.start(sick);
    cluster.pass(3_000);
    cluster.kill(sick);
    cluster.start(sick);
    expect(sick.node.database.status().quarantine).toMatch(/at offset/);
    sick.losePower("lose-all");
    cluster.kill(sick);
    cluster.start(sick);
    cluster.isolate(sick, false);
    expectHealed(sick);
  });

  it("hands out no snapshot and makes no checkpoint until it is healed", () => {
    const [sick] = cluster.followers() as [World];
    cluster.close(sick);
    damageData(sick);
    cluster.isolate(sick, true);
    cluster.start(sick);
    cluster.pass(3_000);
    expect(sick.node.database.status().quarantine).not.toBeNull();
    expect(refusalsOf(sick)).toEqual(["QUARANTINED", "QUARANTINED", "QUARANTINED"]);
    expect(sick.fatal).toBeNull();
    cluster.isolate(sick, false);
    expectHealed(sick);
    expect(refusalsOf(sick)).toEqual(["ok", "ok", "ok"]);
  });

  it("is not counted on when somebody wants to go: the others could not go on without either", () => {
    const [sick, other] = cluster.followers() as [World, World];
    const id = other.node.database.memberId;
    cluster.close(sick);
    cluster.pass(3_000);
    damageLog(sick);
    cluster.start(sick);
    const leader = cluster.leader();
    const remove = (): string => {
      const answer = leader.ask<unknown>((reply) =>
        leader.node.database.changeMembers({ kind: "memberRemove", id }, {}, reply),
      );
      leader.until(() => answer.isThere);
      return answer.error?.code ?? outcomeOf(answer);
    };
    // It has a link and speaks of itself long before it is healed.
    while (sick.node.database.status().quarantine !== null) {
      expect(remove()).toBe("CLUSTER_UNHEALTHY");
      cluster.pass(20);
    }
    expectHealed(sick);
    expect(remove()).toBe("ok");
    cluster.leader().putNow("k", "two");
  });

  it("is not healed by a minority: two of three damaged serve nothing, and lose nothing of what is aside", () => {
    const [one, two] = cluster.followers() as [World, World];
    for (const sick of [one, two]) {
      cluster.close(sick);
      damageData(sick);
    }
    for (const sick of [one, two]) cluster.start(sick);
    cluster.pass(20_000);
    for (const sick of [one, two]) {
      expect(stats(sick)).toMatchObject({ healed: 0 });
      expect(sick.node.database.status().quarantine).not.toBeNull();
      expect(cluster.list(sick, `${DATA}/damaged`).length).toBeGreaterThan(1);
    }
    const [well] = cluster.nodes.filter((world) => world !== one && world !== two) as [World];
    expect(well.node.database.status().leader).toBe(0n);
    const late = well.put("k", "v", { timeoutMs: 500 });
    cluster.pass(600);
    expect(outcomeOf(late)).toMatch(/^TIMEOUT/);
  });

  it("refuses when its votes are gone as well: they are what nobody can give back", () => {
    const [sick] = cluster.followers() as [World];
    cluster.close(sick);
    damageLog(sick);
    damage(sick, `${DATA}/VOTE`, 0, 16);
    const refused = sick.tryOpen(optionsOf(cluster.nameOf(sick))) as HarmonyError;
    expect(refused.code).toBe("CORRUPT");
    sick.kill();
    expect(cluster.list(sick, DATA)).not.toContain("QUARANTINE");
  });

  it("refuses, however often, when the slot of its newest vote cannot be read either: the log knew it, too", () => {
    const [sick] = cluster.followers() as [World];
    cluster.close(sick);
    damageLog(sick);
    // The slots take turns, and this one is as likely to have had the newest vote as the other.
    damage(sick, `${DATA}/VOTE`, 512, 16);
    for (let starts = 0; starts < 3; starts++) {
      const refused = sick.tryOpen(optionsOf(cluster.nameOf(sick))) as HarmonyError;
      expect(refused.code).toBe("CORRUPT");
      sick.kill();
    }
    expect(cluster.list(sick, DATA)).not.toContain("QUARANTINE");
  });
});

describe("a member whose directory was put back from an older copy", TIMEOUT, () => {
  it("goes into quarantine when the leader counts on what it has no more, and is healed", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    for (let i = 0; i < 20; i++) leader.putNow(`k${i}`, `${i}`);
    const [member] = cluster.followers() as [World];
    cluster.untilCaughtUp(member);
    cluster.kill(member);
    const older = member.machine.fork();
    cluster.start(member);
    for (let i = 0; i < 20; i++) leader.putNow(`later${i}`, `${i}`);
    cluster.untilCaughtUp(member);
    cluster.kill(member);
    const name = cluster.nameOf(member);
    const copy = cluster.world(name, 77, name, { machine: older } as World);
    copy.open(optionsOf(name));
    copy.until(() => (copy.node.quarantineStats?.healed ?? 0) > 0);
    expect(copy.node.quarantineStats).toMatchObject({ entered: 1, healed: 1, reason: null });
    leader.putNow("after", "all");
    copy.until(() => copy.get("after") === "all");
    expect(copy.get("later19")).toBe("19");
    expect(copy.fatal).toBeNull();
  });
});

describe("a node alone", TIMEOUT, () => {
  it("refuses damage with file and offset, and puts nothing aside", () => {
    const cluster = new ClusterWorld();
    const [node] = cluster.nodes as [World];
    node.open({ name: "n1", peerUrls: ["http://n1:2380"] });
    for (let i = 0; i < 30; i++) node.putNow(`k${i}`, `${i}`);
    node.close();
    damage(node, TREE, 16, 8);
    const refused = node.tryOpen({ name: "n1", peerUrls: ["http://n1:2380"] }) as HarmonyError;
    expect([refused.code, refused.message]).toEqual([
      "CORRUPT",
      expect.stringMatching(/0\.hdb at offset/),
    ]);
    node.kill();
    expect(cluster.list(node, DATA)).not.toContain("damaged");
  });
});

describe("a member that meets damage while it runs", TIMEOUT, () => {
  let cluster: ClusterWorld;
  let hurt: World;

  /** Flips a bit wherever this text stands in a file of the member. */
  const flip = (world: World, file: string, text: string): void => {
    const { disk } = world.machine;
    const bytes = disk.contents(file);
    const needle = utf8(text);
    let found = 0;
    for (let at = 0; at < bytes.length; at++) {
      if (!needle.every((byte, i) => bytes[at + i] === byte)) continue;
      disk.flipBit(file, at);
      found++;
    }
    expect(found).toBeGreaterThan(0);
  };

  /** Many keys in the data file of a follower, and none of their pages in its memory. */
  beforeEach(() => {
    // A check of all pages at each start would hide what is found without one.
    setVerifying(false);
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    const puts = Array.from({ length: 300 }, (_, i) => leader.put(`key${i}`, "x".repeat(100)));
    leader.until(() => puts.every(({ isThere }) => isThere));
    [hurt] = cluster.followers() as [World];
    cluster.untilCaughtUp(hurt);
    cluster.checkpointAll(hurt);
    cluster.close(hurt);
    cluster.start(hurt);
    cluster.leader();
    cluster.pass(1_000);
  }, 60_000);

  afterEach(() => setVerifying(true));

  const expectHealed = (): void => {
    cluster.leader().putNow("after", "all");
    cluster.pass(10_000);
    expect(stats(hurt)?.reason).toBeNull();
    expect(hurt.get("key150")).toBe(cluster.leader().get("key150"));
    cluster.expectEqual();
  };

  it("goes into quarantine when it reads a damaged page, and is healed", () => {
    flip(hurt, TREE, "key150");
    expect(outcomeOf(settled(hurt, hurt.range(rangeRequest("key150", true))))).toMatch(
      /^CORRUPT|^QUARANTINED/,
    );
    cluster.pass(10_000);
    expect([hurt.fatal, turns(hurt)]).toEqual([null, [1, 1]]);
    expectHealed();
  });

  it("reads no state any more that was pinned before it was found damaged, and stays up", () => {
    const { database } = hurt.node;
    const pin = (): Pin => {
      const pinning = { timers: hurt.env.timers, timeoutMs: 3_600_000 };
      return new Pin(database, database.header.revision, true, pinning, () => {});
    };
    const before = pin();
    expect(before.find(utf8("key10"))).toBeDefined();
    flip(hurt, TREE, "key150");
    expect(codeOf(() => before.find(utf8("key150")))).toMatch(/^CORRUPT|^QUARANTINED/);
    expect(codeOf(pin)).toBe("QUARANTINED");
    cluster.pass(10_000);
    expectHealed();
    expect(codeOf(() => before.find(utf8("key10")))).toBe("QUARANTINED");
    before.release();
    const after = pin();
    expect(text(after.find(utf8("key150"))?.value as Uint8Array)).toBe(hurt.get("key150"));
    after.release();
    expect(hurt.fatal).toBeNull();
  });

  it("goes into quarantine when a watcher comes upon a damaged page, and is healed", () => {
    flip(hurt, TREE, "key150");
    const open = (startRevision: number): Watch =>
      hurt.node.database.watch(
        {
          key: utf8("key"),
          rangeEnd: utf8("key~"),
          startRevision,
          prevKv: false,
          noPut: false,
          noDelete: false,
        },
        () => {},
      );
    const watch = open(2);
    let news = watch.take(1_000);
    while (news?.kind === "events") news = watch.take(1_000);
    expect(news).toMatchObject({ kind: "failed", error: { code: "CORRUPT" } });
    expect(stats(hurt)?.reason).not.toBeNull();
    expect(open(2).take(1_000)).toMatchObject({ kind: "failed", error: { code: "QUARANTINED" } });
    cluster.pass(10_000);
    expect([hurt.fatal, turns(hurt)]).toEqual([null, [1, 1]]);
    expectHealed();
    // Whoever watches it from now on hears what was, and what comes.
    expect(open(2).take(1_000)).toMatchObject({ kind: "events" });
    const after = open(0);
    cluster.leader().putNow("key150", "news");
    cluster.untilCaughtUp(hurt);
    const event = { type: "put", kv: { key: utf8("key150"), value: utf8("news") } };
    expect(after.take(1_000)).toMatchObject({ kind: "events", events: [event] });
  });

  it("goes into quarantine when a snapshot comes upon a damaged page, and is healed", () => {
    flip(hurt, TREE, "key150");
    const told: (string | null)[] = [];
    hurt.node.snapshot((error) => told.push(error?.code ?? null));
    hurt.until(() => told.length > 0);
    expect(told).toEqual(["CORRUPT"]);
    expect(stats(hurt)?.reason).not.toBeNull();
    cluster.pass(10_000);
    expect([hurt.fatal, turns(hurt)]).toEqual([null, [1, 1]]);
    expectHealed();
  });

  /** One after each command. */
  const checkpoints = { ...DEFAULT_CHECKPOINTS, operations: 1 };

  /** Where it leads keys end in time, and checkpoints are made unasked. */
  const expectChores = (): void => {
    const { memberId } = hurt.node.database;
    const before = cluster.leader();
    before.now(before.ask((reply) => before.node.database.moveLeader(memberId, {}, reply)));
    expect(cluster.leader()).toBe(hurt);
    const key = utf8("short");
    const rest = { condition: null, lease: 0n, prevKv: false } as const;
    const expiry = { kind: "after", ttlMs: 2_000 } as const;
    const done = hurt.write({ kind: "set", key, value: key, expiry, ...rest });
    expect(outcomeOf(settled(hurt, done))).toBe("ok");
    expect(hurt.get("short")).toBe("short");
    cluster.pass(3_000);
    expect(hurt.get("short")).toBeUndefined();
    const made = hurt.node.stats.checkpoints;
    hurt.putNow("one", "more");
    cluster.pass(1_000);
    expect(hurt.node.stats.checkpoints).toBeGreaterThan(made);
  };
  const compact = (): void => {
    const leader = cluster.leader();
    const { revision } = leader.node.database.status();
    leader.now(leader.write({ kind: "compact", revision, physical: false }));
  };

  it("goes into quarantine when it compacts what is damaged, and does its chores again once it is healed", () => {
    const leader = cluster.leader();
    // The damaged version is the last of all, so its page is read when the page beside it has become empty: in the middle
    // of a change of the trees, which nobody can read from then on.
    const keys = Array.from({ length: 41 }, (_, i) => (i < 40 ? `old${i}` : "old2x"));
    for (const key of keys) leader.putNow(key, key === "old2x" ? "rotten" : "x".repeat(900));
    for (const key of keys) leader.putNow(key, "fresh");
    cluster.untilCaughtUp(hurt);
    cluster.checkpointAll(hurt);
    cluster.close(hurt);
    flip(hurt, TREE, "rotten");
    cluster.startWith(hurt, { checkpoints });
    cluster.untilCaughtUp(hurt);
    compact();
    hurt.until(() => stats(hurt)?.reason !== null);
    expect(refusalsOf(hurt)).toEqual(["QUARANTINED", "QUARANTINED", "QUARANTINED"]);
    cluster.pass(10_000);
    expect([hurt.fatal, turns(hurt)]).toEqual([null, [1, 1]]);
    expectChores();
    expectHealed();
  });

  it("goes into quarantine when a checkpoint moves what is damaged, and makes checkpoints again once it is healed", () => {
    const leader = cluster.leader();
    const puts = Array.from({ length: 400 }, (_, i) => leader.put(`gone${i}`, "x".repeat(3_000)));
    leader.until(() => puts.every(({ isThere }) => isThere));
    leader.now(leader.write(deleteRequest("gone", "gone~")));
    const kept = Array.from({ length: 300 }, (_, i) => leader.put(`key${i}`, "kept".repeat(20)));
    leader.until(() => kept.every(({ isThere }) => isThere));
    cluster.untilCaughtUp(hurt);
    cluster.checkpointAll(hurt);
    cluster.close(hurt);
    cluster.startWith(hurt, { checkpoints });
    cluster.untilCaughtUp(hurt);
    flip(hurt, TREE, "keptkept");
    // What the compaction leaves free lies before what is kept: the checkpoints that follow make use of it.
    compact();
    const grant = { kind: "leaseGrant", id: 0n, ttlSeconds: 600n } as const;
    while (stats(hurt)?.reason === null) cluster.leader().now(cluster.leader().write(grant));
    cluster.pass(10_000);
    expect([hurt.fatal, turns(hurt)]).toEqual([null, [1, 1]]);
    expectChores();
    expectHealed();
  });

  it("stops with file and offset when an entry is to change a damaged page, and is healed at its next start", () => {
    flip(hurt, TREE, "key150");
    cluster.leader().putNow("key150", "changed");
    cluster.pass(10_000);
    const { fatal } = hurt;
    expect([fatal?.code, fatal?.message]).toEqual(["CORRUPT", expect.stringContaining(TREE)]);
    cluster.kill(hurt);
    cluster.start(hurt);
    cluster.pass(10_000);
    expect([hurt.fatal, turns(hurt)]).toEqual([null, [1, 1]]);
    expectHealed();
  });

  it("stops with file and offset when another needs entries that it can read no more, and is healed at its next start", () => {
    const [away] = cluster.followers().filter((world) => world !== hurt) as [World];
    cluster.kill(away);
    const before = cluster.leader();
    for (let i = 0; i < 20; i++) before.putNow(`late${i}`, "y".repeat(1_000));
    cluster.pass(1_000);
    cluster.checkpointAll();
    // What is in the data file is not read into the memory of the log at a start.
    for (const world of [before, hurt]) cluster.close(world);
    cluster.start(before, hurt);
    const leader = cluster.leader();
    const { disk } = leader.machine;
    for (const name of disk.paths().filter((path) => path.endsWith(".wal")))
      if (new TextDecoder("latin1").decode(disk.contents(name)).includes("late7"))
        flip(leader, name, "late7");
    cluster.start(away);
    leader.until(() => leader.fatal !== null);
    expect([leader.fatal?.code, leader.fatal?.message]).toEqual([
      "CORRUPT",
      expect.stringMatching(/\.wal at offset/),
    ]);
    cluster.kill(leader);
    cluster.leader().putNow("meanwhile", "served");
    cluster.start(leader);
    cluster.pass(10_000);
    expect([leader.fatal, turns(leader)]).toEqual([null, [1, 1]]);
    cluster.leader().putNow("after", "all");
    cluster.pass(2_000);
    cluster.expectEqual();
  });
});

describe("a member in quarantine, far from the others", TIMEOUT, () => {
  it("is healed, although the next question leaves before the last one is answered", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    for (let i = 0; i < 30; i++) cluster.leader().putNow(`k${i}`, `${i}`);
    const [sick] = cluster.followers() as [World];
    cluster.untilCaughtUp(sick);
    cluster.close(sick);
    damage(sick, TREE, 16, 8);
    for (const from of NAMES)
      for (const to of NAMES)
        if (from !== to) cluster.network.setWeather(url(from), url(to), { delayMs: 300 });
    cluster.start(sick);
    expect(stats(sick)).toMatchObject({ entered: 1, healed: 0 });
    cluster.until("healing", () => stats(sick)?.healed === 1, 60_000);
    cluster.leader().putNow("after", "all");
    cluster.until("catching up", () => sick.get("after") === "all");
    cluster.expectEqual();
  });
});

describe("the alarm about a member", TIMEOUT, () => {
  let cluster: ClusterWorld;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    incr(cluster.leader());
    for (let i = 0; i < 30; i++) cluster.leader().putNow(`k${i}`, `${i}`);
    cluster.pass(2_000);
  }, 60_000);

  const clear = (memberId: bigint): void => {
    const leader = cluster.leader();
    leader.now(
      leader.ask((reply) =>
        leader.node.database.alarm({ memberId, alarm: "CORRUPT" }, false, {}, reply),
      ),
    );
  };
  const raised = (): unknown[] =>
    cluster.nodes.map(({ node }) => node.database.status().raised.map(({ memberId }) => memberId));

  it("that was cleared is not raised again by the next leader", () => {
    const [sick] = cluster.followers() as [World];
    const { memberId } = sick.node.database;
    cluster.close(sick);
    damage(sick, TREE, 16, 8);
    cluster.start(sick);
    cluster.pass(8_000);
    expect(stats(sick)).toMatchObject({ reason: null, healed: 1 });
    expect(raised()).toEqual([[memberId], [memberId], [memberId]]);
    clear(memberId);
    for (let change = 0; change < 2; change++) {
      const before = cluster.leader();
      cluster.close(before);
      expect(cluster.leader()).not.toBe(before);
      cluster.start(before);
      cluster.pass(3_000);
      expect(raised()).toEqual([[], [], []]);
    }
  });

  it("is about nobody when all differ, is raised once, and again when they still do after it was cleared", () => {
    for (const [i, world] of cluster.followers().entries()) {
      const { walId } = world.node.identity;
      cluster.checkpointAll(world);
      cluster.close(world);
      forge(world, walId, "log", i + 1);
      cluster.start(world);
    }
    incr(cluster.leader());
    cluster.pass(3_000);
    expect(raised()).toEqual([[0n], [0n], [0n]]);
    const { raftIndex } = cluster.leader().node.database.status();
    cluster.pass(5_000);
    expect(cluster.leader().node.database.status().raftIndex).toBe(raftIndex);
    clear(0n);
    expect(cluster.leader().node.database.status().raised).toEqual([]);
    cluster.pass(3_000);
    expect(raised()).toEqual([[0n], [0n], [0n]]);
  });
});
