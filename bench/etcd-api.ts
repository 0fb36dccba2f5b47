/**
 * P3 and P4: puts and linearizable gets through the etcd API against a real etcd on the same machine, interleaved.
 * Both sides sync before they answer. The load comes from a generator on etcd's own Go client: a program that takes
 * `-endpoints -clients -conns -total -op` and prints "... N ops/s p50=..ms p99=..ms", named by ETCD_LOAD.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { median, type Row } from "./measure.ts";
import { cpuUsOf, load, type Load, type Server, START_MS, startOurs, stopper } from "./served.ts";
import { freePort } from "../src/platform/index.ts";

/** Short runs that take turns often: both sides then have the same of what else the machine does. */
const ROUNDS = 3;
const WARM = 20_000;

async function startEtcd(directory: string): Promise<Server | null> {
  const dataDir = mkdtempSync(join(directory, "p3-etcd-"));
  const [client, peer] = [await freePort(), await freePort()];
  const urls = (port: number): string => `http://127.0.0.1:${port}`;
  const child = spawn(
    "etcd",
    [
      "--data-dir",
      dataDir,
      "--log-level",
      "error",
      "--listen-client-urls",
      urls(client),
      "--advertise-client-urls",
      urls(client),
      "--listen-peer-urls",
      urls(peer),
      "--initial-advertise-peer-urls",
      urls(peer),
      "--initial-cluster",
      `default=${urls(peer)}`,
    ],
    { stdio: "ignore" },
  );
  const failed = new Promise<boolean>((resolve) => child.once("error", () => resolve(false)));
  const healthy = (async () => {
    for (let attempt = 0; attempt < START_MS / 200; attempt++) {
      try {
        if ((await fetch(`${urls(client)}/health`)).ok) return true;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
    return false;
  })();
  if (!(await Promise.race([failed, healthy]))) {
    rmSync(dataDir, { recursive: true, force: true });
    return null;
  }
  return {
    endpoint: `127.0.0.1:${client}`,
    stop: stopper(child, dataDir),
    pid: child.pid as number,
  };
}

interface TimedLoad extends Load {
  /** Of the server, for one request. */
  readonly cpuUs: number;
}

const WORK = [
  { goal: "P3", op: "put", clients: 64, total: 20_000, demand: 0.8 },
  { goal: "P3", op: "put", clients: 256, total: 30_000, demand: 0.6 },
  { goal: "P4", op: "get", clients: 64, total: 20_000, demand: 1.3 },
] as const;

export async function etcdApi(directory: string): Promise<Row[]> {
  const generator = process.env["ETCD_LOAD"];
  if (generator === undefined) {
    console.log("P3, P4: not measured: ETCD_LOAD does not name a load generator");
    return [];
  }
  const ours = await startOurs(directory);
  const etcd = await startEtcd(directory);
  if (etcd === null) console.log("P3, P4: no etcd on this machine: ours alone");
  try {
    const rows: Row[] = [];
    await load(generator, ours.endpoint, "put", 64, WARM);
    if (etcd !== null) await load(generator, etcd.endpoint, "put", 64, WARM);
    for (const { goal, op, clients, total, demand } of WORK) {
      const our: TimedLoad[] = [];
      const their: TimedLoad[] = [];
      const timed = async (server: Server): Promise<TimedLoad> => {
        const beforeUs = cpuUsOf(server);
        const done = await load(generator, server.endpoint, op, clients, total);
        return { ...done, cpuUs: (cpuUsOf(server) - beforeUs) / total };
      };
      for (let round = 0; round < ROUNDS; round++) {
        our.push(await timed(ours));
        if (etcd !== null) their.push(await timed(etcd));
      }
      const rate = (all: readonly TimedLoad[]): number => median(all.map((one) => one.perSecond));
      const ratio = etcd === null ? null : rate(our) / rate(their);
      const show = (all: readonly TimedLoad[]): string =>
        all.length === 0
          ? "-"
          : `${rate(all)}/s, p50 ${median(all.map((one) => one.p50Ms)).toFixed(1)} ms, ${median(all.map((one) => one.cpuUs)).toFixed(0)} us of processor time each`;
      rows.push({
        goal,
        work: `etcd API ${op}, 1 node, ${clients} clients, both synced before the answer / etcd`,
        ours: show(our),
        other: show(their),
        ratio: ratio === null ? "-" : ratio.toFixed(2),
        demand: String(demand),
        holds: ratio === null ? null : ratio >= demand,
      });
    }
    return rows;
  } finally {
    await ours.stop();
    await etcd?.stop();
  }
}
