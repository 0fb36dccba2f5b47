/** P13: what the relaxed mode gains over the durable one, and what persistence costs beside a database in memory. */
import { inDirectory, runChild } from "./child.ts";
import { type Latencies, median, type Row } from "./measure.ts";
import type { ModeFigures } from "./modes-side.ts";
import { load, type Load, type Server, startOurs } from "./served.ts";

const ROUNDS = 7;
const MODES = ["durable", "interval", "memory"] as const;
type Mode = (typeof MODES)[number];

const FLAGS: Readonly<Record<Mode, readonly string[]>> = {
  durable: [],
  interval: ["--fsync-interval-ms", "100"],
  memory: ["--disable-persistence"],
};
const SERVED_ROUNDS = 3;
/** One client that waits for each answer shows every step of the way; many share what a write to the log costs. */
const SERVED = [
  { clients: 1, calls: 5_000 },
  { clients: 64, calls: 40_000 },
] as const;

export async function modes(directory: string): Promise<Row[]> {
  return [...(await embeddedModes(directory)), ...(await servedModes(directory))];
}

/** The same through the client port, with clients of etcd's, each with one call at a time. */
async function servedModes(directory: string): Promise<Row[]> {
  const generator = process.env["ETCD_LOAD"];
  if (generator === undefined) {
    console.log("P13 served: not measured: ETCD_LOAD does not name a load generator");
    return [];
  }
  const servers: { readonly mode: Mode; readonly server: Server }[] = [];
  try {
    for (const mode of MODES) {
      const server = await startOurs(directory, FLAGS[mode]);
      servers.push({ mode, server });
      await load(generator, server.endpoint, "put", 64, 20_000);
    }
    const rows: Row[] = [];
    for (const { clients, calls } of SERVED) {
      const found: Record<Mode, { readonly put: Load[]; readonly get: Load[] }> = {
        durable: { put: [], get: [] },
        interval: { put: [], get: [] },
        memory: { put: [], get: [] },
      };
      for (let round = 0; round < SERVED_ROUNDS; round++)
        for (const op of ["put", "get"] as const)
          for (const { mode, server } of servers)
            found[mode][op].push(await load(generator, server.endpoint, op, clients, calls));
      rows.push(...servedRows(clients, found));
    }
    return rows;
  } finally {
    for (const { server } of servers) await server.stop();
  }
}

function servedRows(
  clients: number,
  found: Readonly<Record<Mode, { readonly put: Load[]; readonly get: Load[] }>>,
): Row[] {
  const p50Ms = (mode: Mode, op: "put" | "get"): number =>
    median(found[mode][op].map((one) => one.p50Ms));
  const show = (mode: Mode, op: "put" | "get"): string =>
    `p50 ${p50Ms(mode, op).toFixed(2)} ms, ${median(found[mode][op].map((one) => one.perSecond))}/s`;
  const pairs = [
    { op: "put", other: "durable", demand: "printed" },
    { op: "put", other: "memory", demand: "printed, +10 % asked for" },
    { op: "get", other: "memory", demand: "printed, +0 % asked for" },
  ] as const;
  return pairs.map(({ op, other, demand }) => ({
    goal: "P13",
    work: `etcd API ${op}, ${clients === 1 ? "one client" : `${clients} clients`}: fsync interval of 100 ms / ${other === "durable" ? "durable" : "no persistence"}, by median latency`,
    ours: show("interval", op),
    other: show(other, op),
    ratio: `${(p50Ms("interval", op) / p50Ms(other, op)).toFixed(2)}x`,
    demand,
    holds: null,
  }));
}

async function embeddedModes(directory: string): Promise<Row[]> {
  const found: Record<Mode, ModeFigures[]> = { durable: [], interval: [], memory: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const mode of MODES) {
      found[mode].push(
        await inDirectory(directory, (own) => runChild<ModeFigures>("modes-side", [mode, own])),
      );
    }
  }
  const of = (mode: Mode, work: keyof ModeFigures, figure: keyof Latencies): number =>
    median(found[mode].map((one) => one[work][figure]));
  const show = (mode: Mode, work: keyof ModeFigures): string =>
    `p50 ${of(mode, work, "p50Us").toFixed(1)} us, p99 ${of(mode, work, "p99Us").toFixed(0)} us, ` +
    `${Math.round(of(mode, work, "perSecond"))}/s`;
  const row = (
    text: string,
    work: keyof ModeFigures,
    ours: Mode,
    other: Mode,
    demand: string,
  ): Row => {
    const ratio =
      work === "put" && other === "durable"
        ? of(ours, work, "perSecond") / of(other, work, "perSecond")
        : of(ours, work, "p50Us") / of(other, work, "p50Us");
    return {
      goal: "P13",
      work: text,
      ours: show(ours, work),
      other: show(other, work),
      ratio: `${ratio.toFixed(2)}x`,
      demand,
      holds: null,
    };
  };
  return [
    row(
      "put, one client, one at a time: fsync interval of 100 ms (acknowledged when written) / durable (acknowledged when synced), by rate",
      "put",
      "interval",
      "durable",
      "printed, 10x to 50x hoped for",
    ),
    row(
      "put, one client, one at a time: fsync interval of 100 ms / no persistence, by median latency",
      "put",
      "interval",
      "memory",
      "printed, +10 % asked for",
    ),
    row(
      "get awaited, one client: fsync interval of 100 ms / no persistence, by median latency",
      "get",
      "interval",
      "memory",
      "printed, +0 % asked for",
    ),
  ];
}
