/**
 * P12: how long a cluster is without a leader when the leader is killed with -9, from the kill until a survivor says that
 * it leads, and until a write through a survivor is acknowledged. CLUSTER_KILLS sets how often, 100 by default.
 */
import { setTimeout as delay } from "node:timers/promises";
import { latencies, median, type Row } from "./measure.ts";
import type { BenchNode, ThreeNodes } from "./three-nodes.ts";

const KILLS = Number(process.env["CLUSTER_KILLS"] ?? 100);
const POLL_MS = 5;
const DEMAND_MS = 3_000;
/** A cluster that has no leader by then is broken. */
const GIVE_UP_MS = 60_000;

interface Gap {
  readonly leaderlessMs: number;
  readonly writelessMs: number;
}

/** Both sides in turns. */
export async function failover(clusters: readonly ThreeNodes[]): Promise<Row[]> {
  const gaps = new Map<string, Gap[]>(clusters.map(({ name }) => [name, []]));
  for (let kill = 0; kill < KILLS; kill++)
    for (const three of clusters) gaps.get(three.name)?.push(await killLeader(three));
  const ours = gaps.get("ours") ?? [];
  const theirs = gaps.get("etcd") ?? [];
  return (["leaderlessMs", "writelessMs"] as const).map((which) => {
    const of = (all: readonly Gap[]): number[] => all.map((gap) => gap[which]);
    const p99 = latencies(of(ours), 1).p99Us;
    return {
      goal: "P12",
      work: `${which === "leaderlessMs" ? "no leader" : "no write taken"} after kill -9 of the leader, election timeout 1 s, ${KILLS} kills / etcd`,
      ours: show(of(ours)),
      other: theirs.length === 0 ? "-" : show(of(theirs)),
      ratio: theirs.length === 0 ? "-" : (median(of(ours)) / median(of(theirs))).toFixed(2),
      demand: which === "leaderlessMs" ? `p99 ${DEMAND_MS} ms` : "printed",
      holds: which === "leaderlessMs" ? p99 <= DEMAND_MS : null,
    };
  });
}

/** Figures are milliseconds here, whatever the names of the fields say. */
function show(all: readonly number[]): string {
  const { p50Us, p99Us, maxUs } = latencies(all, 1);
  return `p50 ${p50Us.toFixed(0)} ms, p99 ${p99Us.toFixed(0)} ms, longest ${maxUs.toFixed(0)} ms`;
}

async function killLeader(three: ThreeNodes): Promise<Gap> {
  await three.settled();
  const leader = await three.leader();
  const before = (await leader.status())?.leader;
  const survivors = three.nodes.filter((node) => node !== leader);
  const startedMs = performance.now();
  const ended = leader.end("SIGKILL");
  const [leaderlessMs, writelessMs] = await Promise.all([
    until(startedMs, async () => {
      const statuses = await Promise.all(survivors.map((node) => node.status()));
      return statuses.some(
        (status) =>
          status !== null && status.leader !== before && status.leader === status.header?.member_id,
      );
    }),
    until(startedMs, () => (survivors[0] as BenchNode).put("failover", Buffer.from("x"))),
  ]);
  await ended;
  await leader.start();
  return { leaderlessMs, writelessMs };
}

async function until(startedMs: number, isSo: () => Promise<boolean>): Promise<number> {
  for (;;) {
    if (await isSo()) return performance.now() - startedMs;
    if (performance.now() - startedMs > GIVE_UP_MS)
      throw new Error(`nothing for ${GIVE_UP_MS} ms after the leader was killed`);
    await delay(POLL_MS);
  }
}
