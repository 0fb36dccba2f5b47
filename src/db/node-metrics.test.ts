/** What a node tells of itself, and that it says when its data file lags behind its log. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying, utf8 } from "../base/index.ts";
import { ClusterWorld, url } from "./cluster.suite.ts";
import { metricFamilies } from "./index.ts";
import { deleteRequest, LOG, rangeRequest, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

/** Figures by name, with the labels behind it. */
function figures(world: World): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { name, samples } of metricFamilies(world.node))
    for (const { labels, value } of samples)
      found[[name.replace("harmonydb_", ""), ...Object.values(labels)].join(" ")] = value;
  return found;
}

describe("the figures of a node", () => {
  it("count what was set, deleted, ended by time, granted, locked, read and given to watchers", () => {
    const world = new World().open();
    const watch = world.node.database.watch(
      { ...deleteRequestRange("a", "z"), startRevision: 0, ...NO_FILTERS },
      () => {},
    );
    for (const key of ["a", "b", "c"]) world.putNow(key, "1");
    world.now(world.write(deleteRequest("c")));
    const expiry = { kind: "after", ttlMs: 100 } as const;
    const rest = { condition: null, lease: 0n, prevKv: false } as const;
    const value = utf8("v");
    world.now(world.write({ kind: "set", key: utf8("d"), value, expiry, ...rest }));
    world.now(world.write({ kind: "leaseGrant", id: 7n, ttlSeconds: 2n }));
    world.now(world.write({ kind: "leaseGrant", id: 8n, ttlSeconds: 600n }));
    world.now(world.put("e", "1", { lease: 7n }));
    world.now(world.write({ kind: "lock", key: utf8("l"), token: utf8("t"), ttlMs: 600_000 }));
    world.now(world.write({ kind: "txn", compare: [], success: [], failure: [] }));
    world.now(world.range(rangeRequest("a")));
    expect(figures(world)).toMatchObject({
      watch_watchers: 1,
      watch_events_total: 0,
      watch_pending_events: 7,
    });
    world.pass(3_000);
    watch.take(1);
    expect(figures(world)).toMatchObject({
      store_put_total: 6,
      store_delete_total: 3,
      store_range_total: 1,
      store_txn_total: 1,
      keys_expired_total: 1,
      lease_granted_total: 2,
      lease_expired_total: 1,
      lock_held: 1,
      watch_watchers: 1,
      watch_slow_watchers: 0,
      watch_events_total: 1,
      watch_pending_events: 8,
      raft_ready_pending: 0,
      wal_waiting_bytes: 0,
      wal_groups: 1,
      wal_lagging_groups: 0,
      "wal_record_bytes_total snapshot": 0,
    });
    world.close();
  });

  it("say when a write is acknowledged, and what the start found", () => {
    for (const [options, mode, seconds] of [
      [{}, "sync", 0],
      [{ fsyncIntervalMs: 50 }, "interval", 0.05],
      [{ persistence: "none" }, "memory", 0],
    ] as const) {
      const world = new World().open(options);
      const modes = { sync: 0, interval: 0, memory: 0, [mode]: 1 };
      for (const [name, value] of Object.entries(modes))
        expect(figures(world)).toMatchObject({ [`durability ${name}`]: value });
      expect(figures(world)).toMatchObject({
        fsync_interval_seconds: seconds,
        recovery_snapshot_loaded: 0,
        recovery_wal_entries_replayed: 0,
      });
      for (const key of ["a", "b"]) world.putNow(key, "1");
      let isMade = false;
      world.node.checkpoint(() => {
        isMade = true;
      });
      world.until(() => isMade);
      world.putNow("c", "1");
      world.close();
      world.kill().open(options);
      expect(figures(world)).toMatchObject(
        mode === "memory"
          ? { recovery_snapshot_loaded: 0, recovery_snapshot_entries: 0 }
          : {
              recovery_snapshot_loaded: 1,
              recovery_snapshot_entries: 2,
              recovery_wal_entries_replayed: 1,
              recovery_corrupted_entries: 0,
            },
      );
      world.close();
    }
  });

  it("count the entries that share a frame of the log", () => {
    const world = new World().open();
    const [before, entries] = [figures(world), 3];
    for (let i = 0; i < entries; i++) world.putNow("k", `${i}`);
    const after = figures(world);
    const grown = (name: string): number => (after[name] as number) - (before[name] as number);
    expect(grown("wal_batch_entries_sum")).toBe(entries);
    expect(grown("wal_batch_entries_count")).toBeGreaterThanOrEqual(entries);
    world.close();
  });

  it("time the way to the other members, as long as this one leads", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    for (const from of cluster.nodes)
      for (const to of cluster.nodes)
        if (from !== to)
          cluster.network.setWeather(url(cluster.nameOf(from)), url(cluster.nameOf(to)), {
            delayMs: 40,
          });
    cluster.pass(3_000);
    const times = (world: World): number[] =>
      Object.entries(figures(world))
        .filter(([name]) => name.startsWith("raft_peer_rtt_seconds "))
        .map(([, seconds]) => seconds);
    expect(times(leader)).toHaveLength(2);
    for (const seconds of times(leader)) {
      expect(seconds).toBeGreaterThanOrEqual(0.08);
      expect(seconds).toBeLessThan(0.5);
    }
    for (const world of cluster.followers()) expect(times(world)).toEqual([]);
  });

  it("tell watchers apart that memory no longer serves", () => {
    const world = new World().open();
    const { database } = world.node;
    const all = { ...deleteRequestRange("a", "z"), ...NO_FILTERS };
    database.watch({ ...all, startRevision: 2 }, () => {});
    expect(figures(world)).toMatchObject({ watch_slow_watchers: 0, watch_pending_events: 0 });
    for (let i = 0; i < 3; i++) world.putNow("k", "1");
    const late = database.watch({ ...all, startRevision: 2 }, () => {});
    expect(figures(world)).toMatchObject({ watch_slow_watchers: 0, watch_pending_events: 6 });
    late.cancel();
    world.close();
    world.kill().open();
    world.node.database.watch({ ...all, startRevision: 2 }, () => {});
    expect(figures(world)).toMatchObject({ watch_slow_watchers: 1, watch_pending_events: 3 });
    world.close();
  });

  it("count the Readys on their way to the log, and the bytes that they brought", () => {
    const world = new World().open();
    const pending = (): number[] => {
      const { raft_ready_pending: readys, wal_waiting_bytes: bytes } = figures(world);
      return [readys as number, Math.sign(bytes as number)];
    };
    const stuck = world.machine.disk.inject({
      operation: "write",
      path: LOG,
      delayMs: Number.POSITIVE_INFINITY,
      times: Number.POSITIVE_INFINITY,
    });
    expect(pending()).toEqual([0, 0]);
    const put = world.put("a", "1");
    world.pass(10);
    expect(pending()).toEqual([1, 1]);
    stuck.remove();
    world.now(put);
    expect(pending()).toEqual([0, 0]);
    world.close();
  });

  it("say of each group how much of the log it keeps, and when that is more than it should be", () => {
    const checkpoints = { walBytes: 10_000, intervalMs: 2 ** 40, operations: 2 ** 40 };
    const world = new World().open({ checkpoints });
    const full = world.machine.disk.inject({
      operation: "write",
      path: TREE,
      error: "ENOSPC",
      times: Number.POSITIVE_INFINITY,
    });
    let written = 0;
    const backlog = (): number => figures(world)["wal_backlog_bytes 0"] as number;
    while (backlog() <= 30_000) {
      world.putNow(`k${written++}`, "x".repeat(1_000));
      expect(figures(world)["wal_lagging_groups"]).toBe(backlog() > 30_000 ? 1 : 0);
    }
    expect(figures(world)["wal_backlog_entries 0"]).toBeGreaterThanOrEqual(written);
    world.pass(100);
    const said = (): string[] => world.logged.filter((line) => line.includes("the data file"));
    expect(said()).toEqual(["warn: the data file lags behind the log, which cannot go"]);
    full.remove();
    world.pass(60_000);
    // The older checkpoint counts, so the log goes behind the next one.
    world.putNow("one", "x".repeat(10_000));
    world.pass(60_000);
    expect(said().slice(1)).toEqual(["info: the data file has caught up with the log"]);
    expect(figures(world)).toMatchObject({ wal_lagging_groups: 0 });
    world.close();
  });
});

const NO_FILTERS = { prevKv: false, noPut: false, noDelete: false } as const;

function deleteRequestRange(
  key: string,
  rangeEnd: string,
): { readonly key: Uint8Array; readonly rangeEnd: Uint8Array } {
  return { key: utf8(key), rangeEnd: utf8(rangeEnd) };
}
