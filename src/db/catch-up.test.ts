/** A member that the log of the others no longer reaches: it is given a snapshot while everybody goes on. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { setVerifying, text, utf8 } from "../base/index.ts";
import { ClusterWorld, NAMES, url } from "./cluster.suite.ts";
import { SnapshotPull } from "../replica/index.ts";
import { metricFamilies } from "./node-metrics.ts";
import { inspectSnapshot } from "./restore.ts";
import type { Watch, WatchEvent } from "./watch/index.ts";
import { DATA, outcomeOf, rangeRequest, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const LARGE = "x".repeat(6_000);

it("keeps as much of the log as it is told, and no more", { timeout: 60_000 }, () => {
  const retention = 120 * 1024;
  const cluster = new ClusterWorld({
    walRetentionBytes: retention,
    walSegmentBytes: 16 * 1024,
  });
  cluster.start(...cluster.nodes);
  cluster.leader().putNow("before", "1");
  cluster.pass(1_000);
  const [away] = cluster.followers() as [World];
  cluster.kill(away);
  const leader = cluster.leader();
  const write = (bytes: number): void => {
    for (let written = 0; written < bytes; written += 1_000)
      leader.putNow(`k${written % 7}`, "x".repeat(1_000));
    cluster.checkpointAll();
    cluster.checkpointAll();
  };
  const logBytes = (): number => leader.node.activity.wal.bytesOnDisk;
  // Though two checkpoints hold everything, what the one that is away needs is there.
  write(30 * 1024);
  expect(leader.node.activity.groups[0]?.firstIndex).toBe(1);
  for (let i = 0; i < 2; i++) write(120 * 1024);
  expect(logBytes()).toBeGreaterThan(retention);
  expect(logBytes()).toBeLessThan(retention + 64 * 1024);
  expect(leader.node.activity.groups[0]?.firstIndex).toBeGreaterThan(1);
  cluster.start(away);
  cluster.expectEqual();
});

it("a leader that was cut off takes over a snapshot of the next one, and says what became of its writes", () => {
  const cluster = new ClusterWorld({ walRetentionBytes: 0, walSegmentBytes: 64 * 1024 });
  cluster.start(...cluster.nodes);
  const before = cluster.leader();
  before.putNow("before", "1");
  cluster.pass(1_000);
  cluster.isolate(before, true);
  const lost = [1, 2, 3].map((i) => before.put(`lost${i}`, "x", { timeoutMs: 600_000 }));
  const read = before.range(rangeRequest("k7"), { timeoutMs: 600_000 });
  cluster.pass(5_000);
  const others = cluster.nodes.filter((world) => world !== before);
  const writer = cluster.leader();
  expect(others).toContain(writer);
  cluster.writeUntilCut(30, undefined, others);
  expect(lost.map(outcomeOf)).toEqual(lost.map(() => "nothing yet"));
  cluster.isolate(before, false);
  cluster.expectEqual();
  expect(before.node.snapshotsInstalled).toMatchObject({ installed: 1, failed: 0 });
  // They stood in its log where the snapshot covers other entries.
  for (const answer of lost) {
    before.until(() => answer.isThere);
    expect(outcomeOf(answer)).toBe("LEADER_CHANGED maybe=true");
    expect(before.get("lost1")).toBeUndefined();
  }
  const { kind } = before.now(read);
  expect(kind).toBe("range");
  expect(before.get("k7")).toBe(writer.get("k7"));
}, 60_000);

describe("a member that the log no longer reaches", { timeout: 120_000 }, () => {
  let cluster: ClusterWorld;
  let away: World;

  /** Two go on without the third until its place in the log is gone. The snapshot is of several chunks. */
  beforeEach(() => {
    // What is written before anything happens to it need not be checked key by key each time.
    setVerifying(false);
    cluster = new ClusterWorld({ walRetentionBytes: 0, walSegmentBytes: 256 * 1024 });
    cluster.start(...cluster.nodes);
    cluster.leader().putNow("before", "1");
    cluster.pass(1_000);
    [away] = cluster.followers() as [World];
    cluster.kill(away);
    cluster.writeUntilCut(60, LARGE);
    setVerifying(true);
  });

  const received = (): number => away.node.snapshotsInstalled?.receivedBytes ?? 0;
  const installed = (): number => away.node.snapshotsInstalled?.installed ?? 0;
  const failed = (): number => away.node.snapshotsInstalled?.failed ?? 0;

  /** Everything between this member and the others. */
  function weather(of: World, change: Parameters<ClusterWorld["network"]["setWeather"]>[2]): void {
    const name = cluster.nameOf(of);
    for (const other of NAMES) {
      if (other === name) continue;
      cluster.network.setWeather(url(name), url(other), change);
      cluster.network.setWeather(url(other), url(name), change);
    }
  }

  /** It is back, on a way so narrow that the snapshot takes seconds, and some of it has come. */
  function startPull(): void {
    cluster.start(away);
    weather(away, { bytesPerMs: 300 });
    cluster.until("a pull", () => received() > 0);
    expect(installed()).toBe(0);
  }

  function expectCaughtUp(): void {
    cluster.untilCaughtUp(away);
    cluster.expectEqual();
    expect(away.get("before")).toBe("1");
    expect(installed()).toBeGreaterThan(0);
  }

  it("gets none of a member that comes upon damage while it sends it, but of the next leader", () => {
    const up = cluster.nodes.filter((world) => world !== away);
    // Each has a snapshot to give away, and no page in its memory.
    for (const world of up) world.now(world.ask<unknown>((reply) => world.node.snapshot(reply)));
    // A check of all pages at each start would hide what is found without one.
    setVerifying(false);
    for (const world of up) cluster.close(world);
    cluster.start(...up);
    const sender = cluster.leader();
    const { disk } = sender.machine;
    const bytes = disk.contents(TREE);
    for (let at = 0; at < bytes.length; at += 512)
      if (text(bytes.subarray(at, at + 512)) === "x".repeat(512)) disk.flipBit(TREE, at);
    startPull();
    const read = sender.range(rangeRequest("k7", true));
    sender.until(() => read.isThere);
    expect(sender.node.database.status().quarantine).not.toBeNull();
    cluster.until("another snapshot", () => installed() > 0);
    expect(sender.node.snapshotsSent).toMatchObject({ sent: 0 });
    cluster.until("a healed member", () => sender.node.quarantineStats?.healed === 1);
    expect(sender.fatal).toBeNull();
    expectCaughtUp();
  });

  it("gets a snapshot, and what was written since", () => {
    const writer = cluster.leader();
    cluster.start(away);
    cluster.untilCaughtUp(away);
    expect(away.node.snapshotsInstalled).toMatchObject({ installed: 1, failed: 0 });
    expect(writer.node.snapshotsSent).toMatchObject({ sent: 1, failed: 0, pulls: 0 });
    expect(writer.node.snapshotsSent?.sentBytes).toBe(received());
    const { durationMs, lastDurationMs } = writer.node.snapshotsSent ?? {};
    expect([durationMs, (durationMs ?? 0) > 0]).toEqual([lastDurationMs, true]);
    expect(away.get("k7")).toBe(writer.get("k7"));
    writer.putNow("after", "2");
    expect(away.get("after")).toBe("2");
    away.putNow("from there", "3");
    expect(writer.get("from there")).toBe("3");
    expectCaughtUp();
    // It makes checkpoints and snapshots of its own again, and starts with them.
    cluster.checkpointAll();
    let made = 0;
    away.node.snapshot((error) => (made += error === null ? 1 : 0));
    away.until(() => made === 1);
    cluster.kill(away);
    cluster.start(away);
    cluster.expectEqual();
    expect(installed()).toBe(0);
  });

  it("is seen from the leader as behind, and both count what was sent, received and taken over", () => {
    const figures = (world: World): Record<string, number> => {
      const found: Record<string, number> = {};
      for (const { name, samples } of metricFamilies(world.node))
        for (const { labels, value } of samples)
          found[[name.replace("harmonydb_raft_", ""), ...Object.values(labels)].join(" ")] = value;
      return found;
    };
    const writer = cluster.leader();
    const member = away.node.identity.memberId.toString(16);
    const behind = figures(writer);
    expect(behind[`follower_lag_entries ${member}`]).toBeGreaterThanOrEqual(240);
    startPull();
    expect(figures(writer)[`follower_needs_snapshot ${member}`]).toBe(1);
    weather(away, { bytesPerMs: 0 });
    expectCaughtUp();
    cluster.pass(1_000);
    const sent = figures(writer);
    expect(sent[`follower_lag_entries ${member}`]).toBe(0);
    expect(sent[`follower_needs_snapshot ${member}`]).toBe(0);
    expect(sent["snapshot_send_total"]).toBe(1);
    expect(sent["snapshot_send_failed_total"]).toBe(0);
    const taken = figures(away);
    expect(taken["snapshot_receive_total"]).toBe(1);
    expect(taken["snapshot_receive_failed_total"]).toBe(0);
    expect(taken["snapshot_receive_bytes_total"]).toBe(sent["snapshot_send_bytes_total"]);
    expect(taken["snapshot_receive_seconds_total"]).toBe(taken["snapshot_receive_last_seconds"]);
    expect(taken["snapshot_receive_last_seconds"]).toBeGreaterThan(0);
  });

  it("gets it while others write, and what they wrote meanwhile from the log", () => {
    startPull();
    const writer = cluster.leader();
    let written = 0;
    while (installed() === 0) {
      writer.putNow(`during${written++ % 50}`, `${written}`);
      if (written % 40 === 0) cluster.checkpointAll(writer);
      cluster.pass(50);
    }
    expect(written).toBeGreaterThan(40);
    expectCaughtUp();
    expect(away.node.snapshotsInstalled).toMatchObject({ installed: 1, failed: 0 });
  });

  it("answers reads of what it has until then, and goes on with states that somebody keeps", () => {
    startPull();
    expect(outcomeOf(away.range(rangeRequest("before", true)))).toBe("ok");
    const kept = away.node.database.pin();
    const before = kept.tree(0).count;
    const read = away.range(rangeRequest("k7"), { timeoutMs: 30_000 });
    weather(away, { bytesPerMs: 0 });
    expectCaughtUp();
    // A read that waited is answered by the new state.
    const answer = away.now(read);
    expect(answer.kind === "range" && text(answer.kvs[0]?.value as Uint8Array)).toMatch(/^3x/);
    expect(kept.tree(0).count).toBe(before);
    expect(kept.tree(0).get(utf8("before"))).toBeDefined();
    expect(away.node.database.pinnedBytes).toBeGreaterThan(0);
    kept.release();
    expect(away.node.database.pinnedBytes).toBe(0);
  });

  it("tells those who watch on it everything that happened, in order, each once", () => {
    cluster.start(away);
    const watchOf = (key: string, startRevision = 0): Watch =>
      away.node.database.watch(
        {
          key: utf8(key),
          rangeEnd: utf8(`${key}~`),
          startRevision,
          prevKv: true,
          noPut: false,
          noDelete: false,
        },
        () => {},
      );
    const watch = watchOf("k");
    const future = watchOf("after", 1_000_000);
    expectCaughtUp();
    cluster.leader().putNow("k1", "last");
    cluster.untilCaughtUp(away);
    const events: WatchEvent[] = [];
    for (let news = watch.take(1_000_000); news !== null; news = watch.take(1_000_000)) {
      expect(news.kind).toBe("events");
      if (news.kind === "events") events.push(...news.events);
    }
    // Four rounds of 60 keys that it never applied itself, and one put.
    expect(events).toHaveLength(241);
    const revisions = events.map(({ kv }) => kv.modRevision);
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
    expect(new Set(revisions).size).toBe(241);
    const last = events.at(-1) as WatchEvent;
    expect([text(last.kv.value), text(last.prevKv?.value as Uint8Array).slice(0, 2)]).toEqual([
      "last",
      "3x",
    ]);
    expect(future.take(1_000)).toBeNull();
  });

  it("tells those who watch on it that it is compacted, where the history did not come", () => {
    cluster.start(away);
    const watch = away.node.database.watch(
      {
        key: utf8("k"),
        rangeEnd: utf8("l"),
        startRevision: 0,
        prevKv: false,
        noPut: false,
        noDelete: false,
      },
      () => {},
    );
    const { revision } = cluster.leader().node.database.status();
    cluster.leader().now(cluster.leader().write({ kind: "compact", revision, physical: false }));
    expectCaughtUp();
    expect(watch.take(1_000)).toEqual({ kind: "compacted", compactRevision: revision });
  });

  it("gets it over links that break again and again", () => {
    startPull();
    for (let round = 0; round < 3; round++) {
      cluster.network.breakLinks(url(cluster.nameOf(away)), url(cluster.nameOf(cluster.leader())));
      const before = received();
      cluster.until("more of it", () => received() > before);
    }
    expect(failed()).toBeGreaterThan(1);
    weather(away, { bytesPerMs: 0 });
    expectCaughtUp();
    // Nothing of it came twice.
    expect(received()).toBe(cluster.leader().node.snapshotStats.lastSizeBytes);
  });

  it("gets it over a way that is silent for a while", () => {
    startPull();
    cluster.isolate(away, true);
    cluster.pass(20_000);
    expect(installed()).toBe(0);
    cluster.isolate(away, false);
    weather(away, { isCut: false, bytesPerMs: 0 });
    expectCaughtUp();
  });

  it("gets nothing that a bit was flipped in, and the whole of it in the end", () => {
    cluster.start(away);
    weather(away, { flipPercent: 30 });
    cluster.until("attempts", () => failed() > 2);
    expect(installed()).toBe(0);
    weather(away, { flipPercent: 0 });
    expectCaughtUp();
  });

  it("can fetch one before it runs", () => {
    const { clusterId, memberId, walId } = away.node.identity;
    const giver = cluster.leader();
    const { env } = away;
    const { links } = env;
    if (links === undefined) throw new Error("the machine is on a network");
    const pull = new SnapshotPull({
      env,
      links,
      self: {
        clusterId,
        memberId,
        walId,
        bootId: env.entropy.bytes(16),
        name: cluster.nameOf(away),
        clientUrls: [],
        peerUrls: [],
      },
      from: giver.node.identity.memberId,
      urls: [url(cluster.nameOf(giver))],
      judge: () => null,
      group: 0,
      indexAtLeast: 0,
      into: "fetched",
    });
    const fetched = cluster.run(pull.run());
    expect(fetched.index).toBe(giver.node.database.status().raftAppliedIndex);
    const report = cluster.run(inspectSnapshot(env, "fetched"));
    expect([report.clusterId, report.index]).toEqual([clusterId, fetched.index]);
    expect(report.sha256).toEqual(fetched.sha256);
    pull.taken();
    cluster.pass(100);
    expect(giver.node.snapshotsSent).toMatchObject({ sent: 1, pulls: 0 });
    away.kill();
  });

  it("gets the last one that was made, if the log goes on from it; a damaged one is refused and made anew", () => {
    const writer = cluster.leader();
    const make = (): string => {
      let fileName = "";
      writer.node.snapshot((_, made) => (fileName = made?.record.fileName ?? "none"));
      writer.until(() => fileName !== "");
      return fileName;
    };
    make();
    writer.putNow("since", "1");
    cluster.start(away);
    expectCaughtUp();
    expect([writer.node.snapshotStats.made, failed()]).toEqual([1, 0]);

    cluster.kill(away);
    cluster.writeUntilCut(60, LARGE);
    writer.machine.disk.flipBit(`${DATA}/snap/${make()}`, 700_000, 3);
    writer.putNow("since", "2");
    cluster.start(away);
    expectCaughtUp();
    // The second file was damaged, and the third was made for the member.
    expect([writer.node.snapshotStats.made, failed()]).toEqual([3, 1]);
    expect(cluster.logged.some((line) => line.includes("it is refused: CORRUPT"))).toBe(true);
  });

  it("gets it although the leader that announced it goes, from that one or from the next", () => {
    startPull();
    const before = cluster.leader();
    cluster.close(before);
    weather(away, { bytesPerMs: 0 });
    cluster.start(before);
    expectCaughtUp();
  });

  it("takes over what an earlier leader gave when another leads by then", () => {
    startPull();
    const before = cluster.leader();
    // It gives what it has; who leads is decided between the others.
    const [other] = cluster.followers().filter((world) => world !== away) as [World];
    cluster.network.setWeather(url(cluster.nameOf(before)), url(cluster.nameOf(other)), {
      isCut: true,
    });
    cluster.network.setWeather(url(cluster.nameOf(other)), url(cluster.nameOf(before)), {
      isCut: true,
    });
    cluster.until("a snapshot", () => installed() === 1);
    for (const [a, b] of [
      [before, other],
      [other, before],
    ] as const)
      cluster.network.setWeather(url(cluster.nameOf(a)), url(cluster.nameOf(b)), { isCut: false });
    weather(away, { bytesPerMs: 0 });
    expectCaughtUp();
  });

  it.each([
    ["the file arrives", "ENOSPC", /tmp\/snapshot-/, "write", 3],
    ["the file is synced", "EIO", /tmp\/snapshot-/, "sync", 0],
    ["the new data file is made", "ENOSPC", /tmp\/0\.hdb/, "write", 4],
    ["the snapshot gets its name", "ENOSPC", /tmp\/snapshot-/, "rename", 0],
  ] as const)(
    "goes on without it while %s and the disk says %s",
    (_, error, path, operation, skip) => {
      const fault = away.machine.disk.inject({
        operation,
        error,
        path: (of) => path.test(of),
        skip,
        times: Number.POSITIVE_INFINITY,
      });
      cluster.start(away);
      cluster.until("refusals", () => failed() > 2);
      const code = error === "EIO" ? "IO" : "DISK_FULL";
      expect(cluster.logged.some((line) => line.includes(`"code":"${code}"`))).toBe(true);
      expect(installed()).toBe(0);
      expect(away.fatal).toBeNull();
      expect(outcomeOf(away.range(rangeRequest("before", true)))).toBe("ok");
      // Nothing of the attempts is left.
      const names = cluster.list(away, `${DATA}/tmp`);
      expect(names.filter((name) => name.startsWith("snapshot") || name.includes("hdb"))).toEqual(
        [],
      );
      fault.remove();
      expectCaughtUp();
    },
  );

  it.each([
    ["the log cannot say anything", "write", /\/wal\/|tmp\/next/, 0],
    ["the log cannot say so", "write", /\/wal\/|tmp\/next/, 1],
    ["the data file cannot be swapped", "rename", /tmp\/0\.hdb$/, 0],
    ["the swap cannot be made durable", "syncDir", /\/db$/, 0],
    ["the new data file cannot be opened", "open", /\/db\/0\.hdb$/, 0],
  ] as const)("stops, and comes back whole, when %s", (_, operation, path, skip) => {
    startPull();
    const of = (at: string): boolean => path.test(at);
    away.machine.disk.inject({ operation, path: of, error: "EIO", skip });
    weather(away, { bytesPerMs: 0 });
    cluster.until("end", () => away.fatal !== null);
    expect(["STOPPED", "IO"]).toContain(away.fatal?.code);
    const ending = away.startClose();
    const beganMs = cluster.scheduler.nowMs;
    away.until(() => ending.isOver);
    expect(cluster.scheduler.nowMs - beganMs).toBeLessThan(10_000);
    cluster.kill(away);
    cluster.start(away);
    cluster.expectEqual();
  });

  it("makes the snapshots that it was asked for meanwhile, of the new state, and starts with the newest", () => {
    startPull();
    weather(away, { bytesPerMs: 0 });
    const indexes: number[] = [];
    let asked = 0;
    while (installed() === 0) {
      asked++;
      away.node.snapshot((error, made) => {
        expect(error).toBeNull();
        indexes.push(made?.record.meta.index ?? 0);
      });
      away.node.checkpoint((error) => expect(error).toBeNull());
      cluster.pass(1);
    }
    expectCaughtUp();
    cluster.until("snapshots", () => indexes.length === asked);
    const { raftAppliedIndex } = away.node.database.status();
    expect(indexes).toEqual(indexes.toSorted((a, b) => a - b));
    expect(new Set(indexes).size).toBeGreaterThan(1);
    expect(indexes.at(-1)).toBe(raftAppliedIndex);
    away.losePower("lose-all");
    cluster.kill(away);
    cluster.start(away);
    cluster.expectEqual();
    expect(installed()).toBe(0);
  });

  it("begins anew when it is killed in the middle", () => {
    for (let round = 0; round < 2; round++) {
      startPull();
      if (round === 0) away.kill();
      else away.losePower("mixed");
      cluster.kill(away);
    }
    cluster.start(away);
    weather(away, { bytesPerMs: 0 });
    expectCaughtUp();
  });

  it("is closed in order in the middle", () => {
    startPull();
    cluster.close(away);
    expect(cluster.list(away, `${DATA}/tmp`).filter((name) => name.includes("snap"))).toEqual([]);
    cluster.start(away);
    weather(away, { bytesPerMs: 0 });
    expectCaughtUp();
  });

  it("does not hold the others up, and gets no more than the rate that they give", () => {
    cluster.close(cluster.leader());
    for (const world of cluster.nodes) if (world !== away) cluster.kill(world);
    for (const world of cluster.nodes)
      if (world !== away) cluster.startWith(world, { snapshotRateBytes: 600_000 });
    const writer = cluster.leader();
    const startMs = cluster.scheduler.nowMs;
    cluster.start(away);
    cluster.until("a pull", () => received() > 0);
    let slowestMs = 0;
    while (installed() === 0) {
      const beganMs = cluster.scheduler.nowMs;
      writer.putNow("w", "x");
      slowestMs = Math.max(slowestMs, cluster.scheduler.nowMs - beganMs);
      cluster.pass(20);
    }
    expect(received() / (cluster.scheduler.nowMs - startMs)).toBeLessThan(700);
    expect(slowestMs).toBeLessThan(100);
    expectCaughtUp();
  });

  /** All three start over, with this rate. */
  function restartWith(snapshotRateBytes: number): void {
    cluster.close(cluster.leader());
    for (const world of cluster.nodes) if (world !== away) cluster.kill(world);
    for (const world of cluster.nodes)
      if (world !== away) cluster.startWith(world, { snapshotRateBytes });
    cluster.leader();
    cluster.startWith(away, { snapshotRateBytes });
  }

  it("has it made, sent, checked, read and written at that rate, each of them", () => {
    const bytesPerMs = 500;
    restartWith(bytesPerMs * 1000);
    const startMs = cluster.scheduler.nowMs;
    cluster.until("bytes", () => received() > 0);
    const madeMs = cluster.scheduler.nowMs - startMs;
    cluster.until(
      "all of them",
      () => received() >= (cluster.leader().node.snapshotStats.lastSizeBytes || Infinity),
    );
    const arrivedMs = cluster.scheduler.nowMs - startMs;
    cluster.until("snapshot", () => installed() > 0);
    const tookMs = cluster.scheduler.nowMs - startMs;
    const passMs = received() / bytesPerMs;
    // What may pass at once is a tenth of a second's, and a piece of 256 KiB is awaited behind itself.
    const slackMs = 700;
    expect(madeMs).toBeGreaterThan(passMs - slackMs);
    expect(arrivedMs - madeMs).toBeGreaterThan(passMs - slackMs);
    // Checked, made trees of at half the rate, and written as the pages of a data file.
    expect(tookMs - arrivedMs).toBeGreaterThan(4 * passMs - slackMs);
    expectCaughtUp();
  });

  it("waits for nobody when it needs another as soon as it has one: the log goes on faster than that", () => {
    restartWith(100_000);
    cluster.until("snapshot", () => installed() > 0);
    const first = away.node.snapshotsInstalled?.lastDurationMs ?? 0;
    expect(first).toBeGreaterThan(60_000);
    // Nobody speaks to it any more, and it is far from over what the first one took.
    cluster.isolate(away, true);
    cluster.pass(8_000);
    setVerifying(false);
    cluster.writeUntilCut(
      60,
      LARGE,
      cluster.nodes.filter((world) => world !== away),
    );
    setVerifying(true);
    cluster.isolate(away, false);
    cluster.until("another snapshot", () => installed() > 1);
    const second = away.node.snapshotsInstalled?.lastDurationMs ?? 0;
    // The sending alone keeps to the rate.
    expect(second).toBeLessThan(first / 3);
    expectCaughtUp();
  });

  it("waits no longer for one that is made when somebody else wants one, too", () => {
    restartWith(100_000);
    cluster.pass(5_000);
    const writer = cluster.leader();
    expect([received(), writer.node.snapshotStats.made]).toEqual([0, 0]);
    const startMs = cluster.scheduler.nowMs;
    let made = 0;
    writer.node.snapshot((error) => (made += error === null ? 1 : 0));
    writer.until(() => made === 1);
    expect(cluster.scheduler.nowMs - startMs).toBeLessThan(4_000);
    expect(writer.node.snapshotStats.made).toBe(2);
    cluster.until("bytes", () => received() > 0);
  });
});
