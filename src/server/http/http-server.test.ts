import http from "node:http";
import net from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { HarmonyError } from "../../base/index.ts";
import type { DatabaseStatus, MetricFamily } from "../../db/index.ts";
import { FakeDatabase } from "../grpc/fake-database.suite.ts";
import { measured } from "../grpc/measured.ts";
import type { Call, StreamCall } from "../grpc/method.ts";
import { GrpcCode } from "../grpc/status.ts";
import { type HttpListener, listenHttp } from "./http-server.ts";
import { Metrics } from "./metrics.ts";
import type { NodeCounters } from "./vitals.ts";

const COUNTERS: NodeCounters = {
  walWrites: 11,
  walWrittenBytes: 4096,
  walSegments: 2,
  walSizeBytes: 8192,
  checkpoints: 3,
  snapshots: 2,
  entriesApplied: 21,
  commandsApplied: 34,
  commandsRefused: 1,
  commandsPending: 2,
  leaderChanges: 1,
  keys: 5,
  leases: 4,
  recoveryMs: 250,
};

const FAMILIES: readonly MetricFamily[] = [
  {
    name: "harmonydb_wal_backlog_bytes",
    help: "Bytes of the log that cannot go because of the group.",
    type: "gauge",
    samples: [
      { labels: { group: "0" }, value: 512 },
      { labels: { group: "7" }, value: 0 },
    ],
  },
];

class ChangingDatabase extends FakeDatabase {
  changes: Partial<DatabaseStatus> = {};
  override status(): DatabaseStatus {
    return { ...super.status(), ...this.changes };
  }
}

let listener: HttpListener | null = null;
afterEach(async () => {
  await listener?.close();
  listener = null;
});

interface World {
  readonly database: ChangingDatabase;
  readonly metrics: Metrics;
  readonly logged: string[];
  serving: boolean;
  readonly url: string;
}

async function start(withEtcdNames = false): Promise<World> {
  const database = new ChangingDatabase();
  const metrics = new Metrics({
    build: { version: "1.2.3", formatVersion: "1.0" },
    withEtcdNames,
  });
  const logged: string[] = [];
  const world = { database, metrics, logged, serving: true, url: "" };
  listener = await listenHttp({
    urls: ["http://127.0.0.1:0"],
    vitals: {
      database: () => (world.serving ? database : null),
      counters: () => (world.serving ? COUNTERS : null),
      families: () => (world.serving ? FAMILIES : []),
    },
    metrics,
    versions: { etcdserver: "3.6.11", harmonydb: "1.2.3" },
    log: (level, scope, message) => logged.push(`${level} ${scope} ${message}`),
  });
  world.url = listener.addresses[0] as string;
  return world;
}

async function get(
  url: string,
  init: RequestInit = {},
): Promise<{ status: number; body: string; type: string }> {
  const response = await fetch(url, init);
  return {
    status: response.status,
    body: await response.text(),
    type: response.headers.get("content-type") ?? "",
  };
}

describe("the HTTP listener", () => {
  it("says that a node is healthy, as etcd says it", async () => {
    const { url, database } = await start();
    expect(await get(`${url}/health`)).toEqual({
      status: 200,
      body: '{"health":"true","reason":""}',
      type: "application/json",
    });
    expect(database.ranges[0]).toMatchObject({ kind: "range", serializable: false });
    await get(`${url}/health?serializable=true`);
    expect(database.ranges[1]).toMatchObject({ serializable: true });
  });

  it("says why a node is not healthy", async () => {
    const { url, database } = await start();
    database.changes = { alarms: ["NOSPACE"] };
    expect((await get(`${url}/health`)).body).toBe('{"health":"false","reason":"ALARM NOSPACE"}');
    expect((await get(`${url}/health?exclude=NOSPACE`)).status).toBe(200);
    database.changes = { alarms: ["CORRUPT"], quarantine: "this member is in quarantine" };
    expect((await get(`${url}/health`)).body).toBe('{"health":"false","reason":"ALARM CORRUPT"}');
    const ready = await get(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(ready.body).toContain("[-]data_corruption failed: this member is in quarantine");
    expect((await get(`${url}/metrics`)).body).toContain("harmonydb_quarantined 1\n");
    database.changes = { alarms: ["NOSPACE"], aside: "the disk of this member is full" };
    const aside = await get(`${url}/readyz`);
    expect([aside.status, aside.body]).toEqual([
      503,
      expect.stringContaining("[-]disk_space failed: the disk of this member is full"),
    ]);
    expect((await get(`${url}/livez`)).status).toBe(200);
    // Where nobody has room, what frees some has to come in somewhere.
    database.changes = { alarms: ["NOSPACE"] };
    expect((await get(`${url}/readyz`)).status).toBe(200);
    database.changes = { alarms: ["CORRUPT"] };
    expect((await get(`${url}/readyz/data_corruption`)).body).toContain("alarm CORRUPT");
    database.changes = { leader: 0n };
    expect((await get(`${url}/health`)).body).toBe('{"health":"false","reason":"RAFT NO LEADER"}');
    expect((await get(`${url}/health?serializable=true`)).status).toBe(200);
    database.changes = {};
    database.onRange = (_, reply) => reply(new HarmonyError("TIMEOUT"), undefined as never);
    const { status, body } = await get(`${url}/health`);
    expect(status).toBe(503);
    expect(JSON.parse(body)).toMatchObject({
      health: "false",
      reason: expect.stringMatching(/^RANGE ERROR:/),
    });
  });

  it("is alive and not ready while the node recovers, and ready afterwards", async () => {
    const world = await start();
    world.serving = false;
    expect(await get(`${world.url}/livez`)).toMatchObject({ status: 200, body: "ok\n" });
    const early = await get(`${world.url}/readyz`);
    expect(early.status).toBe(503);
    expect(early.body).toContain("[-]serving failed: the node is starting or stopping");
    expect((await get(`${world.url}/health`)).status).toBe(503);
    expect((await get(`${world.url}/metrics`)).body).toContain("harmonydb_build_info{");
    expect((await get(`${world.url}/debug/vars`)).status).toBe(200);
    world.serving = true;
    expect(await get(`${world.url}/readyz`)).toMatchObject({ status: 200, body: "ok\n" });
  });

  it("is alive and not ready in quarantine, where a restart would begin the healing anew", async () => {
    const { url, database } = await start();
    database.onRange = (_, reply) => reply(new HarmonyError("QUARANTINED"), undefined as never);
    database.changes = { quarantine: "this member is in quarantine" };
    expect(await get(`${url}/livez`)).toMatchObject({ status: 200, body: "ok\n" });
    expect((await get(`${url}/livez/serializable_read`)).status).toBe(200);
    expect((await get(`${url}/readyz`)).status).toBe(503);
    expect((await get(`${url}/readyz/serializable_read`)).status).toBe(503);
    // The alarm comes by the log, and the others do not know of it yet.
    for (const query of ["", "?serializable=true"]) {
      const { status, body } = await get(`${url}/health${query}`);
      expect([status, JSON.parse(body)]).toEqual([
        503,
        { health: "false", reason: expect.stringMatching(/^RANGE ERROR:.*quarantine/) },
      ]);
    }
    // What fails for another reason is no sign of life.
    database.changes = {};
    expect((await get(`${url}/livez`)).status).toBe(503);
  });

  it("shows each check when asked, leaves out what is excluded, and asks for one alone", async () => {
    const { url, database } = await start();
    expect((await get(`${url}/readyz?verbose`)).body).toBe(
      "[+]serving ok\n[+]data_corruption ok\n[+]disk_space ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n",
    );
    database.changes = { isLearner: true };
    const learner = await get(`${url}/readyz`);
    expect([learner.status, learner.body]).toEqual([
      503,
      expect.stringContaining("[-]non_learner failed: this member is a learner"),
    ]);
    expect((await get(`${url}/livez`)).status).toBe(200);
    database.changes = {};
    database.onRange = (request, reply) =>
      request.serializable
        ? reply(null, { kind: "range", revision: 1, kvs: [], more: false, count: 0 })
        : reply(new HarmonyError("NO_LEADER"), undefined as never);
    const failed = await get(`${url}/readyz`);
    expect(failed.status).toBe(503);
    expect(failed.body).toContain("[-]linearizable_read failed: ");
    expect((await get(`${url}/readyz?exclude=linearizable_read`)).status).toBe(200);
    expect((await get(`${url}/readyz/serializable_read`)).status).toBe(200);
    expect((await get(`${url}/readyz/linearizable_read`)).status).toBe(503);
    for (const path of [
      "/readyz/nothing",
      "/livez/a/b",
      "/nothing",
      "/",
      "/%zz",
      "//",
      "/constructor",
    ])
      expect([path, (await get(`${url}${path}`)).status]).toEqual([path, 404]);
  });

  it("tells its versions and its variables", async () => {
    const { url } = await start();
    expect(JSON.parse((await get(`${url}/version`)).body)).toEqual({
      etcdserver: "3.6.11",
      harmonydb: "1.2.3",
    });
    expect(JSON.parse((await get(`${url}/debug/vars`)).body)).toMatchObject({
      node: process.version,
      status: { revision: 5, clusterId: "fedcba9876543210" },
      counters: { walWrites: 11 },
    });
  });

  it("gives metrics that Prometheus reads", async () => {
    const { url, metrics } = await start(true);
    metrics.walSyncSeconds.observe(0.0003);
    metrics.walSyncSeconds.observe(100);
    const { body, type } = await get(`${url}/metrics`);
    expect(type).toBe("text/plain; version=0.0.4; charset=utf-8");
    for (const line of [
      `harmonydb_build_info{version="1.2.3",format="1.0",node="${process.version}"} 1`,
      "harmonydb_store_revision 5",
      "harmonydb_raft_is_leader 1",
      "harmonydb_raft_commit_index 40",
      "harmonydb_raft_proposals_committed_total 40",
      "harmonydb_store_keys 5",
      "wal_writes 11",
      "snapshot_count 2",
      "recovery_time 0.25",
      "harmonydb_wal_written_bytes_total 4096",
      "harmonydb_wal_segments 2",
      "harmonydb_wal_bytes 8192",
      "harmonydb_raft_proposals_pending 2",
      "harmonydb_raft_proposals_applied_total 34",
      "harmonydb_raft_entries_applied_total 21",
      'harmonydb_wal_fsync_seconds_bucket{le="0.0002"} 0',
      'harmonydb_wal_fsync_seconds_bucket{le="0.0004"} 1',
      'harmonydb_wal_fsync_seconds_bucket{le="+Inf"} 2',
      "harmonydb_wal_fsync_seconds_count 2",
      'harmonydb_alarms{alarm="NOSPACE"} 0',
      'harmonydb_wal_backlog_bytes{group="0"} 512',
      'harmonydb_wal_backlog_bytes{group="7"} 0',
      "harmonydb_watch_streams 0",
      "etcd_server_has_leader 1",
      "etcd_server_proposals_committed_total 40",
      "etcd_mvcc_db_total_size_in_bytes 8192",
      'etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 2',
    ])
      expect(body.split("\n")).toContain(line);
    expect(body).toMatch(/^nodejs_eventloop_lag_seconds /m);
    expect(body).toMatch(/^process_resident_memory_bytes /m);
    // Each metric is described once, and each line is well-formed.
    const names = [...body.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const line of body.split("\n"))
      expect(line).toMatch(/^$|^# |^[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? (-?[0-9.e+-]+|NaN|Nan)$/);
  });

  it("counts calls by their method and their end", async () => {
    const { url, metrics } = await start();
    const call: Call = { metadata: () => undefined };
    const ends = [null, { code: GrpcCode.notFound, message: "no" }, null];
    const method = measured(
      {
        kind: "unary",
        path: "/etcdserverpb.KV/Put",
        handle: (_, __, reply) => reply(ends.shift() ?? null, new Uint8Array()),
      },
      metrics,
    );
    if (method.kind !== "unary") throw new Error("it stays what it is");
    for (let i = 0; i < 3; i++) method.handle(new Uint8Array(), call, () => {});
    const { body } = await get(`${url}/metrics`);
    const of = 'grpc_service="etcdserverpb.KV",grpc_method="Put",grpc_type="unary"';
    expect(body).toContain(`grpc_server_started_total{${of}} 3\n`);
    expect(body).toContain(`grpc_server_handled_total{${of},grpc_code="OK"} 2\n`);
    expect(body).toContain(`grpc_server_handled_total{${of},grpc_code="NotFound"} 1\n`);
    expect(body).toContain(`grpc_server_handling_seconds_count{${of}} 3\n`);
    const request = 'api="etcdserverpb.KV",op="Put"';
    expect(body).toContain(`harmonydb_request_seconds_count{${request}} 3\n`);
  });

  it("counts streams that are open, and the leaving of a client as an end", async () => {
    const { url, metrics } = await start();
    const ended: string[] = [];
    const method = measured(
      {
        kind: "bidi",
        path: "/etcdserverpb.Watch/Watch",
        open: (call) => ({
          message: (_, done) => done(),
          halfClosed: () => call.end(null),
          closed: () => ended.push("closed"),
        }),
      },
      metrics,
    );
    if (method.kind !== "bidi") throw new Error("it stays what it is");
    const call: StreamCall = {
      metadata: () => undefined,
      send: () => {},
      isWritable: true,
      whenWritable: (next) => next(),
      end: () => {},
    };
    const [leaves, ends, stays] = [method.open(call), method.open(call), method.open(call)];
    stays.message(new Uint8Array(), () => ended.push("taken"));
    leaves.closed();
    ends.halfClosed();
    ends.closed();
    expect(ended).toEqual(["taken", "closed", "closed"]);
    const { body } = await get(`${url}/metrics`);
    const of =
      'grpc_service="etcdserverpb.Watch",grpc_method="Watch",grpc_type="bidi_stream",grpc_code';
    expect(body).toContain("harmonydb_watch_streams 1\n");
    expect(body).toContain(`grpc_server_handled_total{${of}="Canceled"} 1\n`);
    expect(body).toContain(`grpc_server_handled_total{${of}="OK"} 1\n`);
  });

  it("only reads: other methods are refused, and HEAD has no body", async () => {
    const { url } = await start();
    for (const method of ["POST", "PUT", "DELETE"])
      expect([method, (await get(`${url}/health`, { method, body: "x" })).status]).toEqual([
        method,
        405,
      ]);
    expect(await get(`${url}/health`, { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
  });

  it("survives garbage, headers without end and readers that hang up", async () => {
    const { url, logged } = await start();
    const port = Number(new URL(url).port);
    for (const bytes of [
      "\0\u0001\u0002garbage\r\n\r\n",
      `GET / HTTP/1.1\r\nx: ${"y".repeat(40_000)}\r\n\r\n`,
      "GET /metr",
    ]) {
      const answer = await new Promise<string>((resolve) => {
        const socket = net.connect(port, "127.0.0.1", () => socket.end(bytes));
        let seen = "";
        socket.on("data", (data) => (seen += data.toString()));
        socket.on("error", () => {});
        socket.on("close", () => resolve(seen));
      });
      expect(answer).toMatch(/^$|^HTTP\/1\.1 4\d\d /);
    }
    await new Promise<void>((resolve) => {
      const request = http.get(`${url}/metrics`, (response) => {
        response.destroy();
        resolve();
      });
      request.on("error", () => resolve());
    });
    expect((await get(`${url}/livez`)).status).toBe(200);
    expect(logged).toEqual([]);
  });

  it("a database that throws costs one answer", async () => {
    const { url, database } = await start();
    database.onRange = () => {
      throw new Error("defect");
    };
    expect((await get(`${url}/health`)).status).toBe(503);
    database.onRange = (_, reply) =>
      reply(null, { kind: "range", revision: 1, kvs: [], more: false, count: 0 });
    expect((await get(`${url}/health`)).status).toBe(200);
  });

  it("cannot listen where somebody else does, and says so", async () => {
    const { url, metrics } = await start();
    const again = listenHttp({
      urls: [url],
      vitals: { database: () => null, counters: () => null, families: () => [] },
      metrics,
      versions: {},
      log: () => {},
    });
    await expect(again).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});
