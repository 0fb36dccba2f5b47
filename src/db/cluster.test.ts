/** Three nodes, one truth, in simulated time: the shipped node with its log, trees and links. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying, utf8 } from "../base/index.ts";
import { unlinkIfThere } from "../env/index.ts";
import { ClusterWorld, initialCluster, NAMES, optionsOf, url } from "./cluster.suite.ts";
import type { NodeOptions } from "./node-options.ts";
import { DATA, outcomeOf, rangeRequest, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

describe("three nodes", { timeout: 60_000 }, () => {
  let cluster: ClusterWorld;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
  });

  it("agree on who they are before they have met", () => {
    const ids = cluster.nodes.map(({ node }) => node.identity);
    expect(new Set(ids.map(({ clusterId }) => clusterId)).size).toBe(1);
    expect(new Set(ids.map(({ memberId }) => memberId)).size).toBe(3);
    const names = (world: World): string[] =>
      world.node.database.status().members.map(({ id, name }) => `${id} ${name}`);
    const [first, ...others] = cluster.nodes.map((world) => names(world).toSorted());
    for (const other of others) expect(other).toEqual(first);
  });

  it("elect one leader, whom all name; until then a follower says that there is none", () => {
    for (const { node } of cluster.nodes) {
      const { leader, errors } = node.database.status();
      expect([leader, errors]).toEqual([0n, ["etcdserver: no leader"]]);
    }
    const leader = cluster.leader();
    cluster.pass(500);
    for (const { node } of cluster.nodes) {
      const status = node.database.status();
      expect(status.leader).toBe(leader.node.database.memberId);
      expect(status.errors).toEqual([]);
      expect(status.members.map(({ clientUrls }) => clientUrls.length)).toEqual([1, 1, 1]);
    }
  });

  it("say in their logs who leads, and that nobody does", () => {
    const leader = cluster.leader();
    const name = cluster.nameOf(leader);
    cluster.pass(500);
    const said = (): string[] =>
      cluster.logged.filter((line) => /: leads|: follows|leader/.test(line));
    const { raftTerm } = leader.node.database.status();
    expect(said().toSorted()).toEqual(
      NAMES.map((of) =>
        of === name
          ? `${of} info: leads {"term":${raftTerm}}`
          : `${of} info: follows ${name} {"leader":"${name}","term":${raftTerm}}`,
      ),
    );
    const before = said().length;
    cluster.isolate(leader, true);
    cluster.pass(10_000);
    const later = said().slice(before);
    expect(later.filter((line) => line.startsWith(name))).toEqual([
      `${name} warn: has no leader: requests wait for the next one {"term":${raftTerm}}`,
    ]);
    const next = cluster.nodes.find((world) => world !== leader) as World;
    const { leader: id, members } = next.node.database.status();
    const successor = members.find((member) => member.id === id)?.name;
    expect(later.filter((line) => line.startsWith(`${successor} info: leads`))).toHaveLength(1);
    expect(later.filter((line) => line.includes(`info: follows ${successor}`))).toHaveLength(1);
  });

  it("take writes on any node, and each reads what any has written", () => {
    cluster.leader();
    for (const [i, writer] of cluster.nodes.entries()) {
      writer.putNow(`k${i}`, `v${i}`);
      for (const reader of cluster.nodes) expect(reader.get(`k${i}`)).toBe(`v${i}`);
    }
    const revisions = cluster.nodes.map(({ node }) => node.database.status().revision);
    expect(revisions).toEqual([4, 4, 4]);
  });

  it("let writes and reads wait through an election, and keep all that was acknowledged when the leader is killed", () => {
    const leader = cluster.leader();
    for (let i = 0; i < 20; i++) cluster.nodes[i % 3]?.putNow(`k${i}`, `${i}`);
    cluster.kill(leader);
    // What is handed to a leader in the moment of its end has an outcome that nobody knows. A little later:
    const [one, two] = cluster.nodes.filter((world) => world !== leader) as [World, World];
    cluster.until("time without a leader", () =>
      [one, two].every(({ node }) => node.database.status().leader === 0n),
    );
    const during = one.put("during", "yes");
    const reads = [one, two].map((world) => world.range(rangeRequest("k3")));
    expect([during, ...reads].map(outcomeOf)).toEqual(Array(3).fill("nothing yet"));
    one.now(during);
    for (const [i, reading] of reads.entries()) {
      [one, two][i]?.until(() => reading.isThere);
      expect(outcomeOf(reading)).toBe("ok");
    }
    for (let i = 0; i < 20; i++) expect(two.get(`k${i}`)).toBe(`${i}`);
    expect(two.get("during")).toBe("yes");
    // It comes back and catches up.
    cluster.start(leader);
    expect(leader.get("during")).toBe("yes");
    expect(leader.get("k7")).toBe("7");
  });

  it("elect another soon when the process of the leader ends, and after their timeout when it falls silent", () => {
    const leaderlessMs = (): number => {
      const startMs = cluster.scheduler.nowMs;
      cluster.leader().putNow("next", "1");
      return cluster.scheduler.nowMs - startMs;
    };
    for (let round = 0; round < 6; round++) {
      const ended = cluster.leader();
      cluster.kill(ended);
      // Some calls, a tick or four, a pre-vote, a vote: less than half of an election timeout.
      expect(leaderlessMs()).toBeLessThan(600);
      cluster.start(ended);
      cluster.pass(3_000);
    }
    const silent = cluster.leader();
    silent.losePower("keep-all");
    cluster.kill(silent);
    expect(leaderlessMs()).toBeGreaterThan(800);
  });

  it("are all there again after all have lost their power at once", () => {
    cluster.leader();
    for (let i = 0; i < 10; i++) cluster.nodes[i % 3]?.putNow(`k${i}`, `${i}`);
    for (const world of cluster.nodes) {
      world.losePower("lose-all");
      cluster.kill(world);
    }
    cluster.start(...cluster.nodes);
    for (const world of cluster.nodes)
      for (let i = 0; i < 10; i++) expect(world.get(`k${i}`)).toBe(`${i}`);
  });

  it("serve nothing linearizable from a leader that is cut off; what it could not do it says", () => {
    const before = cluster.leader();
    before.putNow("k", "old");
    cluster.isolate(before, true);
    const write = before.put("k", "minority", { timeoutMs: 4_000 });
    const read = before.range(rangeRequest("k"), { timeoutMs: 4_000 });
    const [other] = cluster.nodes.filter((world) => world !== before) as [World];
    // Until the others have a leader of their own.
    cluster.pass(3_000);
    other.putNow("k", "new");
    cluster.pass(2_000);
    expect(outcomeOf(write)).toBe("TIMEOUT maybe=true");
    expect(outcomeOf(read)).toBe("TIMEOUT maybe=false");
    expect(before.node.database.status().errors).toEqual(["etcdserver: no leader"]);
    // What asks for no more than what is here gets it, old as it is.
    expect(outcomeOf(before.range(rangeRequest("k", true)))).toBe("ok");
    // A write that found no leader was handed to nobody.
    const late = before.put("late", "x", { timeoutMs: 1_000 });
    cluster.pass(1_100);
    expect(outcomeOf(late)).toBe("TIMEOUT maybe=false");
    cluster.isolate(before, false);
    cluster.pass(8_000);
    expect(before.get("k")).toBe("new");
    expect(before.get("late")).toBeUndefined();
  });

  it("need a majority, and go on when there is one again", () => {
    cluster.leader();
    const [one, two, three] = cluster.nodes as [World, World, World];
    one.putNow("k", "1");
    cluster.kill(two);
    cluster.kill(three);
    cluster.pass(10);
    const alone = one.put("k", "2");
    cluster.pass(20_000);
    expect(outcomeOf(alone)).toMatch(/^TIMEOUT/);
    cluster.start(two);
    cluster.leader();
    one.putNow("k", "3");
    expect(two.get("k")).toBe("3");
  });

  it("hand the lead over when the leader is stopped in order", () => {
    const leader = cluster.leader();
    leader.putNow("a", "1");
    const startMs = cluster.scheduler.nowMs;
    cluster.close(leader);
    const after = cluster.leader();
    after.putNow("b", "2");
    // An election timeout is a second at least: nobody waited for one.
    expect(cluster.scheduler.nowMs - startMs).toBeLessThan(900);
  });

  it("leave no write unanswered when the leader is stopped in order, whoever is asked meanwhile", () => {
    const leader = cluster.leader();
    const others = cluster.followers();
    // What they say is on its way for a while, so they hand commands to one that has gone on already.
    for (const other of others)
      cluster.network.setWeather(url(cluster.nameOf(other)), url(cluster.nameOf(leader)), {
        delayMs: 8,
      });
    const ending = leader.startClose();
    const writes: ReturnType<World["put"]>[] = [];
    while (!ending.isOver) {
      for (const other of others) writes.push(other.put(`k${writes.length}`, "v"));
      cluster.pass(1);
    }
    cluster.pass(8_000);
    expect(writes.length).toBeGreaterThan(0);
    expect(writes.map(outcomeOf).filter((outcome) => outcome !== "ok")).toEqual([]);
  });

  it("keep their leader when the ways from it are narrow and full", () => {
    const leader = cluster.leader();
    const { raftTerm } = leader.node.database.status();
    for (const other of cluster.followers())
      cluster.network.setWeather(url(cluster.nameOf(leader)), url(cluster.nameOf(other)), {
        bytesPerMs: 250,
      });
    // Eight seconds of what the way takes, and several election timeouts.
    const large = "x".repeat(64 * 1024);
    const patient = { timeoutMs: 30_000 };
    const writes = Array.from({ length: 32 }, (_, i) => leader.put(`k${i}`, large, patient));
    cluster.pass(20_000);
    expect(writes.map(outcomeOf).filter((outcome) => outcome !== "ok")).toEqual([]);
    for (const { node } of cluster.nodes) {
      const status = node.database.status();
      expect([status.raftTerm, status.leader]).toEqual([raftTerm, leader.node.database.memberId]);
    }
  });

  it("bring a node up to date that was away for long, from the log that the others keep for it", () => {
    cluster.leader();
    const [away] = cluster.followers() as [World];
    cluster.kill(away);
    const writer = cluster.leader();
    const large = "x".repeat(4_000);
    for (let i = 0; i < 80; i++) writer.putNow(`k${i % 50}`, `${i}${large}`);
    for (const world of cluster.nodes) {
      if (world === away) continue;
      for (let i = 0; i < 2; i++) {
        let isDone = false;
        world.putNow("touch", `${i}`);
        world.node.checkpoint(() => (isDone = true));
        world.until(() => isDone);
      }
    }
    cluster.start(away);
    expect(away.get("k29")).toBe(`79${large}`);
  });

  it("count leases by one clock, and end them once", () => {
    const leader = cluster.leader();
    const [follower] = cluster.followers() as [World];
    follower.now(follower.write({ kind: "leaseGrant", id: 7n, ttlSeconds: 5n }));
    follower.now(follower.put("leased", "x", { lease: 7n }));
    cluster.pass(3_000);
    expect(leader.get("leased")).toBe("x");
    follower.now(follower.write({ kind: "leaseKeepAlive", id: 7n }));
    cluster.pass(4_000);
    expect(leader.get("leased")).toBe("x");
    cluster.pass(3_000);
    for (const world of cluster.nodes) expect(world.get("leased")).toBeUndefined();
  });

  it("give a lease its full time again with each leader, the one that led before among them, and no more", () => {
    const first = cluster.leader();
    first.now(first.write({ kind: "leaseGrant", id: 7n, ttlSeconds: 10n }));
    first.putNow("k");
    first.now(first.put("leased", "x", { lease: 7n }));
    // Five terms and three members: somebody leads again.
    for (let round = 0; round < 4; round++) {
      const before = cluster.leader();
      cluster.isolate(before, true);
      cluster.pass(4_000);
      expect(cluster.leader()).not.toBe(before);
      cluster.isolate(before, false);
      cluster.pass(3_000);
    }
    // Seven seconds in each term, and it lives: nobody could renew it while there was no leader.
    expect(cluster.leader().get("leased")).toBe("x");
    // Ten seconds after the last one began to lead it ends, and not ten after somebody noticed.
    cluster.pass(7_000);
    for (const world of cluster.nodes) expect(world.get("leased")).toBeUndefined();
  });

  const lock = (world: World, key: string, token: string, ttlMs: number): void => {
    const request = { kind: "lock", key: utf8(key), token: utf8(token), ttlMs } as const;
    const outcome = world.now(world.write(request));
    expect(outcome).toMatchObject({ kind: "lock", acquired: true });
  };

  const stopAll = (): void => {
    for (const world of cluster.nodes) cluster.kill(world);
    cluster.pass(500);
    cluster.start(...cluster.nodes);
  };

  it("hold a lock for its time when the group's clock was behind and all of them were stopped since", () => {
    const first = cluster.leader();
    const [away] = cluster.followers() as [World];
    cluster.isolate(away, true);
    first.putNow("k");
    cluster.pass(5_000);
    cluster.isolate(away, false);
    cluster.untilCaughtUp(away);
    // It leads, and for it the stamp of the last entry is as old as the entry's arrival.
    const { memberId } = away.node.database;
    first.now(first.ask((reply) => first.node.database.moveLeader(memberId, {}, reply)));
    expect(cluster.leader()).toBe(away);
    lock(away, "l", "me", 8_000);
    const { raftTerm } = away.node.database.status();
    stopAll();
    const next = cluster.leader();
    expect(next.node.database.status().raftTerm).toBeGreaterThan(raftTerm);
    // The first entry of the term that is stamped, and all that is due goes.
    next.putNow("k2");
    cluster.pass(5_000);
    expect(cluster.leader().get("l")).toBe("me");
    cluster.pass(5_000);
    for (const world of cluster.nodes) expect(world.get("l")).toBeUndefined();
  });

  it("hold a lock for its time when somebody had set all their clocks forward, and it goes on while they are stopped", () => {
    cluster.leader().putNow("k");
    for (const world of cluster.nodes) world.machine.wallSkewMs = 30_000;
    lock(cluster.leader(), "l", "me", 20_000);
    stopAll();
    cluster.pass(15_000);
    expect(cluster.leader().get("l")).toBe("me");
    for (const world of cluster.nodes) cluster.kill(world);
    cluster.pass(6_000);
    cluster.start(...cluster.nodes);
    cluster.leader().putNow("k2");
    cluster.pass(1_000);
    for (const world of cluster.nodes) expect(world.get("l")).toBeUndefined();
  });

  it("hear of changes from any node", () => {
    cluster.leader();
    const [follower] = cluster.followers() as [World];
    const [other] = cluster.followers().slice(1) as [World];
    let news = 0;
    const watch = follower.node.database.watch(
      {
        key: new TextEncoder().encode("w"),
        rangeEnd: new Uint8Array(0),
        startRevision: 0,
        prevKv: false,
        noPut: false,
        noDelete: false,
      } as Parameters<typeof follower.node.database.watch>[0],
      () => news++,
    );
    other.putNow("w", "1");
    cluster.pass(200);
    expect(news).toBeGreaterThan(0);
    expect(watch.take(1_000_000)).not.toBeNull();
  });
});

describe("a member that must not take part", { timeout: 60_000 }, () => {
  let cluster: ClusterWorld;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    cluster.leader().putNow("k", "v");
    cluster.pass(1_000);
  });

  it("comes with a wiped disk under its old id: it is not heard, and the others go on", () => {
    const [wiped] = cluster.followers() as [World];
    const name = cluster.nameOf(wiped);
    cluster.kill(wiped);
    const fresh = cluster.world(name, 77);
    fresh.open(optionsOf(name));
    cluster.pass(8_000);
    const { leader, errors } = fresh.node.database.status();
    expect([leader, errors]).toEqual([0n, ["etcdserver: no leader"]]);
    const late = fresh.range(rangeRequest("k"), { timeoutMs: 500 });
    cluster.pass(600);
    expect(outcomeOf(late)).toBe("TIMEOUT maybe=false");
    const [one, two] = cluster.nodes.filter((world) => world !== wiped) as [World, World];
    one.putNow("k", "w");
    expect(two.get("k")).toBe("w");
    fresh.kill();
    // Its own disk is welcome.
    cluster.start(wiped);
    cluster.pass(8_000);
    expect(wiped.get("k")).toBe("w");
  });

  it("is known for wiped also after all the others were restarted", () => {
    const [wiped, ...others] = cluster.nodes as [World, World, World];
    for (const world of cluster.nodes) cluster.kill(world);
    const fresh = cluster.world("n1", 77);
    fresh.open(optionsOf("n1"));
    cluster.start(...others);
    cluster.pass(15_000);
    expect(fresh.node.database.status().leader).toBe(0n);
    expect(cluster.leader()).not.toBe(wiped);
  });
});

describe("first members that cannot be", { timeout: 60_000 }, () => {
  const refusedWith = (change: Partial<NodeOptions>): string => {
    const world = new ClusterWorld().node("n1");
    const refused = world.tryOpen(optionsOf("n1", change)) as HarmonyError;
    expect(world.machine.disk.quiet).toBe(true);
    return `${refused.code} ${refused.message}`;
  };

  it.each([
    [/names n2 twice/, { initialCluster: [...initialCluster, { name: "n2", peerUrls: ["u"] }] }],
    [
      /twice: each member/,
      { initialCluster: [...initialCluster, { name: "n4", peerUrls: [url("n2")] }] },
    ],
    [/n4 has no peer URL/, { initialCluster: [...initialCluster, { name: "n4", peerUrls: [] }] }],
    [/does not name this member, other/, { name: "other" }],
    [/gives n1 the URLs/, { peerUrls: ["http://elsewhere:1"] }],
    [
      /--fsync-interval-ms is for a node that is alone, and this group has 3/,
      { fsyncIntervalMs: 10 },
    ],
    [/--disable-persistence is for a node that is alone/, { persistence: "none" as const }],
  ])("%s", (text, change) => {
    expect(refusedWith(change)).toMatch(text);
    expect(refusedWith(change)).toMatch(/^INVALID_ARGUMENT/);
  });

  it("are compared with those that the directory was made for", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const node = cluster.node("n1");
    cluster.kill(node);
    const others = initialCluster.slice(0, 2);
    expect((node.tryOpen(optionsOf("n1", { initialCluster: others })) as HarmonyError).code).toBe(
      "WRONG_CLUSTER",
    );
    node.kill();
    expect((node.tryOpen(optionsOf("n1", { clusterToken: "other" })) as HarmonyError).code).toBe(
      "WRONG_CLUSTER",
    );
    node.kill();
    // Not given means not compared: the directory knows.
    node.open(optionsOf("n1", { initialCluster: undefined }));
    expect(node.node.database.status().members.length).toBe(3);
  });

  it("are not taken up by a directory that belongs to a node alone", () => {
    const node = new ClusterWorld().node("n1");
    node.open({ name: "n1", peerUrls: [url("n1")] });
    node.putNow("k", "v");
    node.close();
    expect((node.tryOpen(optionsOf("n1")) as HarmonyError).code).toBe("WRONG_CLUSTER");
  });

  it("cannot be served where nobody can be reached", () => {
    const world = new World();
    const refused = world.tryOpen(optionsOf("n1")) as HarmonyError;
    expect([refused.code, refused.message]).toEqual([
      "INVALID_ARGUMENT",
      expect.stringMatching(/reach/),
    ]);
  });

  it("are refused with damage in MEMBERS, which is told with its place", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const node = cluster.node("n1");
    cluster.kill(node);
    const { env } = node;
    let isDone = false;
    env.files.open(`${DATA}/MEMBERS`, { access: "readwrite" }, (_, file) => {
      file.write(40, Uint8Array.of(0), () => file.sync(() => (isDone = true)));
    });
    node.until(() => isDone);
    const refused = node.tryOpen(optionsOf("n1")) as HarmonyError;
    expect([refused.code, refused.message]).toEqual(["CORRUPT", expect.stringMatching(/MEMBERS/)]);
  });

  it("are refused without MEMBERS, which is never missing where a checkpoint names others", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const node = cluster.node("n1");
    cluster.checkpointAll(node);
    cluster.kill(node);
    cluster.run(unlinkIfThere(node.env.files, `${DATA}/MEMBERS`));
    const refused = node.tryOpen(optionsOf("n1")) as HarmonyError;
    expect([refused.code, refused.message]).toEqual([
      "CORRUPT",
      expect.stringMatching(/MEMBERS.*missing/),
    ]);
  });

  it("have MEMBERS before a checkpoint names one that nobody has met, wherever the power is lost", () => {
    let isDone = false;
    for (let operations = 1; !isDone; operations++) {
      const world = new ClusterWorld().node("n1");
      const options = { name: "n1", peerUrls: [url("n1")] };
      world.open(options);
      world.putNow("k", "v");
      const answer = world.ask<unknown>((reply) =>
        world.node.database.changeMembers(
          { kind: "memberAdd", peerUrls: [url("n2")], isLearner: true },
          {},
          reply,
        ),
      );
      world.now(answer);
      const { machine } = world;
      machine.haltAt(machine.disk.opCount + operations, "after");
      world.node.checkpoint((error) => (isDone = error === null));
      world.until(() => isDone || !machine.running);
      machine.disk.observer = undefined;
      world.losePower("mixed");
      world.open(options);
      expect(world.get("k")).toBe("v");
    }
  });
});
