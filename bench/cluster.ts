/**
 * P5 and what belongs to it: three nodes of ours and three of etcd in the same run on the same machine, all six up, which
 * take turns; both acknowledge when a write is synced on a majority, and confirm their lead for every read. The load comes
 * from the generator that ETCD_LOAD names. Then what happens when the leader dies (failover.ts).
 */
import { rawSync } from "./disk-floor.ts";
import { failover } from "./failover.ts";
import { median, type Row } from "./measure.ts";
import { cpuUsOf, load, type Load } from "./served.ts";
import { type BenchNode, ThreeNodes } from "./three-nodes.ts";

/** Short runs that take turns often: both sides then have the same of what else the machine does. */
const ROUNDS = 3;
const WARM = 20_000;
const TOTAL = 20_000;
const FLOOR_SYNCS = 2_000;

interface Side {
  readonly cluster: ThreeNodes;
  readonly leader: BenchNode;
}

interface TimedLoad extends Load {
  /** Of all three servers, for one request. */
  readonly cpuUs: number;
}

export async function cluster(directory: string): Promise<Row[]> {
  const generator = process.env["ETCD_LOAD"];
  if (generator === undefined) {
    console.log("P5, P12: not measured: ETCD_LOAD does not name a load generator");
    return [];
  }
  const sides: Side[] = [];
  try {
    for (const name of ["ours", "etcd"] as const) {
      const three = await ThreeNodes.start(name, directory);
      if (three === null) console.log("P5, P12: no etcd on this machine: ours alone");
      else sides.push({ cluster: three, leader: await three.leader() });
    }
    const floor = rawSync(directory, FLOOR_SYNCS);
    console.log(
      `the floor, write and fdatasync by sync calls: p50 ${floor.p50Us.toFixed(0)} us, p99 ${floor.p99Us.toFixed(0)} us`,
    );
    for (const { leader } of sides) await load(generator, leader.endpoint, "put", 64, WARM);
    const rows = [
      ...(await besideEtcd(generator, sides)),
      ...(await amongOurs(generator, sides[0] as Side)),
    ];
    rows.push(...(await failover(sides.map((side) => side.cluster))));
    return rows;
  } finally {
    for (const side of sides) await side.cluster.stop();
  }
}

const WORK = [
  { op: "put", clients: 64, through: "the leader", demand: 0.8 },
  { op: "put", clients: 256, through: "the leader", demand: 0.8 },
  { op: "get", clients: 64, through: "the leader", demand: 1 },
  { op: "put", clients: 64, through: "all three", demand: 0.8 },
  { op: "put", clients: 256, through: "all three", demand: 0.8 },
  { op: "get", clients: 64, through: "all three", demand: 1 },
] as const;

async function besideEtcd(generator: string, sides: readonly Side[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { op, clients, through, demand } of WORK) {
    const done = new Map<string, TimedLoad[]>(sides.map(({ cluster: { name } }) => [name, []]));
    for (let round = 0; round < ROUNDS; round++)
      for (const { cluster: three, leader } of sides) {
        const endpoint = through === "the leader" ? leader.endpoint : three.endpoints;
        done
          .get(three.name)
          ?.push(await timed(three, () => load(generator, endpoint, op, clients, TOTAL)));
      }
    const ours = done.get("ours") ?? [];
    const theirs = done.get("etcd") ?? [];
    const ratio = theirs.length === 0 ? null : rate(ours) / rate(theirs);
    rows.push({
      goal: "P5",
      work: `etcd API ${op}, 3 nodes, ${clients} clients through ${through}; both synced on a majority before the answer / etcd`,
      ours: show(ours),
      other: show(theirs),
      ratio: ratio === null ? "-" : ratio.toFixed(2),
      demand: String(demand),
      holds: ratio === null ? null : ratio >= demand,
    });
  }
  return rows;
}

/** What a follower in the way costs, and one that is gone. */
async function amongOurs(generator: string, { cluster: three, leader }: Side): Promise<Row[]> {
  const puts = async (endpoint: string): Promise<TimedLoad> =>
    timed(three, () => load(generator, endpoint, "put", 64, TOTAL));
  const [follower] = (await three.followers()) as [BenchNode];
  const [throughLeader, throughFollower, threeUp, twoUp]: TimedLoad[][] = [[], [], [], []];
  for (let round = 0; round < ROUNDS; round++) {
    throughLeader?.push(await puts(leader.endpoint));
    throughFollower?.push(await puts(follower.endpoint));
  }
  for (let round = 0; round < ROUNDS; round++) {
    threeUp?.push(await puts(leader.endpoint));
    await follower.end("SIGKILL");
    twoUp?.push(await load(generator, leader.endpoint, "put", 64, TOTAL).then(withoutCpu));
    await follower.start();
    await three.settled();
  }
  return [
    within("forwarded", "put, 64 clients through a follower / through the leader", 0.7, [
      throughFollower ?? [],
      throughLeader ?? [],
    ]),
    within("one down", "put, 64 clients, one follower killed / all three up", 0.95, [
      twoUp ?? [],
      threeUp ?? [],
    ]),
  ];
}

function within(
  goal: string,
  work: string,
  demand: number,
  [done, whole]: readonly [readonly TimedLoad[], readonly TimedLoad[]],
): Row {
  const ratio = rate(done) / rate(whole);
  return {
    goal,
    work,
    ours: show(done),
    other: show(whole),
    ratio: ratio.toFixed(2),
    demand: String(demand),
    holds: ratio >= demand,
  };
}

async function timed(three: ThreeNodes, run: () => Promise<Load>): Promise<TimedLoad> {
  const cpu = (): number => three.nodes.reduce((sum, node) => sum + cpuUsOf(node), 0);
  const before = cpu();
  const done = await run();
  return { ...done, cpuUs: (cpu() - before) / TOTAL };
}

const withoutCpu = (done: Load): TimedLoad => ({ ...done, cpuUs: Number.NaN });

const rate = (all: readonly TimedLoad[]): number => median(all.map((one) => one.perSecond));

function show(all: readonly TimedLoad[]): string {
  if (all.length === 0) return "-";
  const cpuUs = median(all.map((one) => one.cpuUs));
  const cpu = Number.isNaN(cpuUs) ? "" : `, ${cpuUs.toFixed(0)} us of processor time each`;
  return `${rate(all)}/s, p50 ${median(all.map((one) => one.p50Ms)).toFixed(1)} ms${cpu}`;
}
