import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Bench, type Run, TinyClient } from "./harmonydb.ts";

interface Ready {
  readonly client: readonly string[];
  readonly metrics?: readonly string[];
}

const LOCAL = "http://127.0.0.1:0";
const benches: Bench[] = [];

/** A node on a directory of its own. */
function serve(...args: readonly string[]): Run {
  const bench = new Bench();
  benches.push(bench);
  return bench.serve(...args);
}

afterAll(async () => {
  for (const bench of benches) await bench.close();
});

describe("what a serving node tells over HTTP", () => {
  let run: Run;
  let url: string;
  let clientUrl: string;
  beforeAll(async () => {
    run = serve(`--listen-metrics-urls=${LOCAL}`, "--metrics-compat=etcd");
    const ready = (await run.ready()) as unknown as Ready;
    url = ready.metrics?.[0] as string;
    clientUrl = ready.client[0] as string;
  }, 30_000);
  afterAll(async () => {
    run.child.kill("SIGTERM");
    await run.ended;
  });

  it("is healthy, alive and ready", async () => {
    for (const path of ["/health", "/livez", "/readyz"])
      expect([path, (await fetch(`${url}${path}`)).status]).toEqual([path, 200]);
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ health: "true", reason: "" });
  });

  it("names its versions", async () => {
    expect(await (await fetch(`${url}/version`)).json()).toMatchObject({
      etcdserver: "3.6.11",
      etcdcluster: "3.6.0",
    });
  });

  it("counts what the log has written and synced", async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    const figure = (name: string): number =>
      Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
    expect(figure("wal_writes")).toBeGreaterThan(0);
    expect(figure("harmonydb_wal_fsync_seconds_count")).toBeGreaterThan(0);
    expect(figure("harmonydb_raft_is_leader")).toBe(1);
    expect(figure("etcd_server_has_leader")).toBe(1);
    expect(figure("harmonydb_raft_leader_changes_total")).toBe(1);
    expect(figure("snapshot_count")).toBeGreaterThanOrEqual(0);
    expect(figure("recovery_time")).toBeGreaterThanOrEqual(0);
  });

  it("counts writes as they come: commands, frames and bytes of the log, its size, its syncs", async () => {
    const names = [
      "harmonydb_raft_proposals_applied_total",
      "wal_writes",
      "harmonydb_wal_written_bytes_total",
      "harmonydb_wal_fsync_seconds_count",
    ];
    const figures = async (...wanted: readonly string[]): Promise<readonly number[]> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return wanted.map((name) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]));
    };
    const before = await figures(...names);
    const client = new TinyClient(clientUrl);
    for (let i = 0; i < 10; i++) await client.put(`key-${i}`, "x".repeat(100));
    client.close();
    const after = await figures(...names);
    const grown = after.map((figure, i) => figure - (before[i] as number));
    // One after the other, so each has a sync of its own and a frame of at least a sector.
    [10, 10, 5_120, 10].forEach((least, i) => expect(grown[i]).toBeGreaterThanOrEqual(least));
    const [segments, bytes] = await figures("harmonydb_wal_segments", "harmonydb_wal_bytes");
    expect(segments).toBe(1);
    expect(bytes).toBeGreaterThanOrEqual(5_120);
  });
});

describe("a port for metrics that is taken", () => {
  it("is refused when somebody named it, before anything is made", async () => {
    const first = serve(`--listen-metrics-urls=${LOCAL}`);
    const { metrics } = (await first.ready()) as unknown as Ready;
    const second = await serve(`--listen-metrics-urls=${metrics?.[0]}`).ended;
    expect(second.exit).toBe(1);
    expect(second.err).toContain("EADDRINUSE");
    first.child.kill("SIGTERM");
    expect((await first.ended).exit).toBe(0);
  }, 30_000);

  it("is not asked for when there shall be none", async () => {
    const run = serve("--listen-metrics-urls=none");
    expect((await run.ready()) as unknown as Ready).not.toHaveProperty("metrics");
    run.child.kill("SIGTERM");
    expect((await run.ended).exit).toBe(0);
  }, 30_000);
});
