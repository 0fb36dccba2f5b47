/** Disks of a cluster that fill up: the leader's, a follower's, two of three, all; and room again (fault-rules D11). */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { setVerifying, utf8 } from "../base/index.ts";
import { ClusterWorld } from "./cluster.suite.ts";
import type { Watch, WatchNews } from "./watch/index.ts";
import { deleteRequest, outcomeOf, rangeRequest, type World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

/** No checkpoint of its own accord. */
const NEVER = { walBytes: 2 ** 40, operations: 2 ** 40, intervalMs: 2 ** 40 };
const VALUE = "x".repeat(1_000);
/** More than what is left of a segment and of its reserve. */
const MANY = 200;

const fill = ({ machine: { disk } }: World): void => {
  disk.quotaBytes = disk.usedBytes;
};
const giveRoom = ({ machine: { disk } }: World): void => {
  disk.quotaBytes = Number.POSITIVE_INFINITY;
};
const asideOf = ({ node }: World): string | null => node.database.status().aside;
const alarmsOf = ({ node }: World): readonly string[] => node.database.status().alarms;

describe("a cluster of three", { timeout: 60_000 }, () => {
  let cluster: ClusterWorld;
  let leader: World;
  let one: World;
  let two: World;

  beforeEach(() => {
    cluster = new ClusterWorld({ checkpoints: NEVER });
    cluster.start(...cluster.nodes);
    leader = cluster.leader();
    [one, two] = cluster.followers() as [World, World];
    for (let i = 0; i < 3; i++) leader.putNow(`early${i}`, VALUE);
    cluster.pass(3_000);
  });

  /** One after the other through this member, and what became of each. */
  const puts = (world: World, count: number, prefix = "k"): readonly string[] =>
    Array.from({ length: count }, (_, i) => {
      const put = world.put(`${prefix}${i}`, VALUE);
      world.until(() => put.isThere);
      return outcomeOf(put);
    });

  /** Takes all that there is to take. */
  const lastOf = (watch: Watch): WatchNews | null => {
    let last: WatchNews | null = null;
    for (let news = watch.take(1 << 20); news !== null; news = watch.take(1 << 20)) last = news;
    return last;
  };

  const untilRefused = (world: World): string => {
    for (let i = 0; i < MANY; i++) {
      const [outcome] = puts(world, 1, `f${i}-`) as [string];
      if (outcome !== "ok") return outcome;
    }
    throw new Error("nobody was refused");
  };

  const expectWhole = (): void => {
    for (const world of cluster.nodes) giveRoom(world);
    cluster.pass(15_000);
    for (const [i, world] of cluster.nodes.entries()) {
      expect([asideOf(world), alarmsOf(world), world.fatal]).toEqual([null, [], null]);
      world.putNow(`last${i}`, "1");
      expect(world.get(`last${i}`)).toBe("1");
    }
    cluster.expectEqual();
  };

  it("has another leader when the disk of the leader is full, and no client of the others hears of it", () => {
    fill(leader);
    expect(puts(one, MANY)).toEqual(Array.from({ length: MANY }, () => "ok"));
    expect(cluster.leader()).not.toBe(leader);
    expect(cluster.logged.join("\n")).toMatch(/the disk is full: hands the lead over \{"to":"n/);
    expect(alarmsOf(leader)).toEqual(["NOSPACE"]);
    expect(alarmsOf(one)).toEqual([]);
    const { errors } = leader.node.database.status();
    expect(errors.join()).toContain("harmonydb: the disk of this member is full");
    expect(outcomeOf(leader.put("more"))).toBe("MEMBER_FULL maybe=false");
    expect(outcomeOf(leader.range(rangeRequest("k0")))).toBe("MEMBER_FULL maybe=false");
    expect(outcomeOf(leader.range(rangeRequest("early0", true)))).toBe("ok");
    expectWhole();
  });

  it("takes what was handed to a leader in the moment in which its disk became full", () => {
    fill(leader);
    const waiting = Array.from({ length: MANY }, (_, i) =>
      (i % 2 === 0 ? one : two).put(`b${i}`, VALUE),
    );
    cluster.pass(6_000);
    expect(waiting.map(outcomeOf).filter((outcome) => outcome !== "ok")).toEqual([]);
    expect(cluster.leader()).not.toBe(leader);
    expectWhole();
  });

  it("goes on when the disk of a follower is full, and whoever asks that one is told to ask another", () => {
    fill(one);
    const everything = { key: utf8("k"), rangeEnd: utf8("l"), startRevision: 0 };
    const request = { ...everything, prevKv: false, noPut: false, noDelete: false };
    const [stays, moves] = [false, true].map((mayMove) =>
      one.node.database.watch({ ...request, mayMove }, () => {}),
    ) as [Watch, Watch];
    expect(puts(leader, MANY)).toEqual(Array.from({ length: MANY }, () => "ok"));
    expect(cluster.leader()).toBe(leader);
    cluster.pass(3_000);
    expect(alarmsOf(one)).toEqual(["NOSPACE"]);
    const behind = leader.node.database.applied.index - one.node.database.applied.index;
    expect(behind).toBeGreaterThan(0);
    expect(outcomeOf(one.put("more"))).toBe("MEMBER_FULL maybe=false");
    expect(outcomeOf(one.write(deleteRequest("early0")))).toBe("MEMBER_FULL maybe=false");
    expect(outcomeOf(one.range(rangeRequest("early0")))).toBe("MEMBER_FULL maybe=false");
    expect(outcomeOf(one.range(rangeRequest("early0", true)))).toBe("ok");
    // Who can watch another member is told to; who cannot is told the rest when there is room.
    expect(lastOf(moves)).toMatchObject({ kind: "failed", error: { code: "MEMBER_FULL" } });
    const late = one.node.database.watch({ ...request, mayMove: true }, () => {});
    expect(lastOf(late)).toMatchObject({ kind: "failed", error: { code: "MEMBER_FULL" } });
    expect(lastOf(stays)?.kind).not.toBe("failed");
    expectWhole();
    expect(one.get(`k${MANY - 1}`)).toBe(VALUE);
    expect(lastOf(stays)).toMatchObject({ kind: "events" });
    expect(stays.isSynced).toBe(true);
  });

  it("answers who waits at a follower when it stands still, and says what may have happened", () => {
    fill(one);
    const waiting = Array.from({ length: MANY }, (_, i) => one.put(`b${i}`, VALUE));
    cluster.pass(3_000);
    const outcomes = new Set(waiting.map(outcomeOf));
    outcomes.delete("ok");
    expect([...outcomes]).toEqual(["MEMBER_FULL maybe=true"]);
    expectWhole();
    // All of them had been handed over.
    for (let i = 0; i < MANY; i++) expect(one.get(`b${i}`)).toBe(VALUE);
  });

  it("takes deletes and compaction when two of three disks are full, through any, and room of one is enough", () => {
    fill(one);
    fill(two);
    expect(untilRefused(leader)).toBe("DISK_FULL maybe=false");
    cluster.pass(2_000);
    expect([cluster.leader(), alarmsOf(leader), asideOf(leader)]).toEqual([leader, [], null]);
    for (const [i, world] of [leader, one, two].entries()) {
      expect(puts(world, 1)).toEqual(["DISK_FULL maybe=false"]);
      expect(outcomeOf(world.now(world.write(deleteRequest(`early${i}`))))).toBe("ok");
      expect(world.get(`early${i}`)).toBeUndefined();
    }
    const { revision } = leader.node.database.status();
    two.now(two.write({ kind: "compact", revision, physical: false }));
    giveRoom(one);
    cluster.pass(10_000);
    expect(puts(one, MANY)).toEqual(Array.from({ length: MANY }, () => "ok"));
    expect(asideOf(two)).not.toBeNull();
    expectWhole();
  });

  it("keeps its leader when all disks are full, and takes deletes through any", () => {
    for (const world of cluster.nodes) fill(world);
    expect(untilRefused(one)).toMatch(/^(DISK|MEMBER)_FULL maybe=false$/);
    cluster.pass(3_000);
    const { raftTerm } = leader.node.database.status();
    const now = cluster.leader();
    for (const [i, world] of cluster.nodes.entries()) {
      expect(asideOf(world)).toBeNull();
      expect(puts(world, 1)).toEqual(["DISK_FULL maybe=false"]);
      expect(outcomeOf(world.now(world.write(deleteRequest(`early${i}`))))).toBe("ok");
    }
    cluster.pass(60_000);
    expect(cluster.leader()).toBe(now);
    expect(now.node.database.status().raftTerm).toBe(raftTerm);
    expectWhole();
  });

  it("keeps a leader whose disk is full while one of the others is down, and has another when it is back", () => {
    cluster.kill(two);
    cluster.pass(5_000);
    fill(leader);
    expect(untilRefused(one)).toBe("DISK_FULL maybe=false");
    cluster.pass(5_000);
    expect(cluster.leader()).toBe(leader);
    expect(outcomeOf(one.now(one.write(deleteRequest("early0"))))).toBe("ok");
    cluster.start(two);
    cluster.pass(8_000);
    expect(cluster.leader()).not.toBe(leader);
    expect(puts(two, MANY)).toEqual(Array.from({ length: MANY }, () => "ok"));
    expectWhole();
  });

  it.each([0, 1])(
    "rather hands the lead to one that has room when it is stopped (%d is full)",
    (i) => {
      const full = i === 0 ? one : two;
      fill(full);
      // It says so, and its log is not behind yet.
      for (let put = 0; alarmsOf(full).length === 0; put++) puts(leader, 1, `${put}-`);
      cluster.pass(500);
      cluster.close(leader);
      cluster.pass(1_000);
      expect(cluster.leader()).toBe(i === 0 ? two : one);
      giveRoom(full);
      cluster.start(leader);
      expectWhole();
    },
  );

  it("lets a member that starts on a full disk say what it is when there is room", () => {
    fill(one);
    puts(leader, 40);
    cluster.kill(one);
    const { disk } = one.machine;
    // Enough for what a start writes anew, and not for a segment of the log.
    disk.quotaBytes = disk.usedBytes + 30_000;
    cluster.startWith(one, { clientUrls: ["http://elsewhere:2379"] });
    expect([alarmsOf(one), asideOf(one)]).toEqual([["NOSPACE"], expect.stringMatching(/full/)]);
    cluster.pass(5_000);
    giveRoom(one);
    cluster.pass(20_000);
    const { members, memberId } = one.node.database.status();
    const self = members.find(({ id }) => id === memberId);
    expect(self?.clientUrls).toEqual(["http://elsewhere:2379"]);
    expectWhole();
  });
});
