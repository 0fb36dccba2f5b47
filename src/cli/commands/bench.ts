/**
 * bench: a load generator. Each client keeps `--pipeline` requests under way and measures each one from before it is
 * sent until its answer is there. Keys are drawn from a seed, so that two runs ask for the same.
 */
import { Random } from "../../base/index.ts";
import {
  type Database,
  type Node,
  type RangeRequest,
  startNode,
  stopNode,
} from "../../db/index.ts";
import { nodeEnv } from "../../platform/index.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { byteSize, duration, oneOf, wholeNumber } from "../values.ts";
import { Client } from "./client.ts";
import { badArguments, flagValue } from "./flags.ts";
import { Histogram } from "./histogram.ts";
import { putRequest, rangeRequest } from "./kv.ts";
import { bytesOf } from "./ranges.ts";
import { PUT, RANGE } from "./rpcs.ts";
import type { Session } from "./session.ts";

export interface BenchFlags {
  readonly door: string;
  readonly clients: string;
  readonly pipeline: string;
  readonly valueSize: string;
  readonly keys: string;
  readonly prefix: string;
  readonly duration: string;
  readonly count?: string;
  readonly reads: string;
  readonly seed: string;
  readonly dataDir?: string;
}

/** One way to the database, for one client. */
interface Door {
  put(key: string, value: Uint8Array): Promise<unknown>;
  get(key: string): Promise<unknown>;
}

interface Doors {
  readonly all: readonly Door[];
  close(): Promise<void>;
}

const COUNT = wholeNumber({ min: 1, max: 1_000_000_000 });

export async function bench(
  session: Session,
  args: readonly string[],
  flags: BenchFlags,
): Promise<void> {
  const work = flagValue("the work", oneOf("put", "get", "mixed"), args[0] as string);
  const kind = flagValue("--door", oneOf("grpc", "embedded"), flags.door);
  const clients = flagValue("--clients", wholeNumber({ min: 1, max: 10_000 }), flags.clients);
  const pipeline = flagValue("--pipeline", wholeNumber({ min: 1, max: 10_000 }), flags.pipeline);
  const value = new Uint8Array(
    flagValue("--value-size", byteSize({ min: 0, max: 1024 ** 2 }), flags.valueSize),
  ).fill(118);
  const keys = flagValue("--keys", COUNT, flags.keys);
  const runMs = flagValue("--duration", duration({ minMs: 1, maxMs: 86_400_000 }), flags.duration);
  const limit =
    flags.count === undefined ? Number.POSITIVE_INFINITY : flagValue("--count", COUNT, flags.count);
  const share = {
    put: 0,
    get: 100,
    mixed: flagValue("--reads", wholeNumber({ min: 0, max: 100 }), flags.reads),
  }[work];
  const random = new Random(
    flagValue("--seed", wholeNumber({ min: 0, max: 0xffff_ffff }), flags.seed),
  );
  if (kind === "grpc" && flags.dataDir !== undefined)
    throw badArguments("--data-dir is for --door embedded: a node has its own");

  const doors =
    kind === "grpc"
      ? await grpcDoors(session, clients)
      : await embeddedDoors(clients, flags.dataDir);
  const puts = new Histogram();
  const gets = new Histogram();
  const state = { begun: 0, failed: 0, failure: null as unknown };
  const keyOf = (): string => `${flags.prefix}${String(random.below(keys)).padStart(10, "0")}`;
  const began = performance.now();
  const isOver = (): boolean =>
    state.begun >= limit ||
    (limit === Number.POSITIVE_INFINITY && performance.now() - began >= runMs);
  const lane = async (door: Door): Promise<void> => {
    while (!isOver() && state.failure === null) {
      state.begun++;
      const isGet = random.below(100) < share;
      const key = keyOf();
      const before = performance.now();
      try {
        await (isGet ? door.get(key) : door.put(key, value));
        (isGet ? gets : puts).add((performance.now() - before) * 1000);
      } catch (error) {
        state.failed++;
        state.failure ??= error;
      }
    }
  };
  try {
    await Promise.all(
      doors.all.flatMap((door) => Array.from({ length: pipeline }, () => lane(door))),
    );
  } finally {
    await doors.close();
  }
  if (state.failure !== null) throw state.failure;
  const seconds = (performance.now() - began) / 1000;
  report(
    session,
    { work, door: kind, clients, pipeline, valueSizeBytes: value.length, seconds },
    { put: puts, get: gets },
  );
}

async function grpcDoors(session: Session, clients: number): Promise<Doors> {
  const all: Client[] = [];
  const close = (): Promise<void> => {
    for (const client of all) client.close();
    return Promise.resolve();
  };
  try {
    for (let i = 0; i < clients; i++) all.push(await Client.open(session.endpoints, session.times));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    all: all.map((client) => ({
      put: (key, value) => client.unary(PUT, { ...putRequest(key, "", {}), value }),
      get: (key) => client.unary(RANGE, rangeRequest(key, undefined, {})),
    })),
    close,
  };
}

/** In this process; a directory that nobody names is new and goes afterwards. */
async function embeddedDoors(clients: number, dataDir: string | undefined): Promise<Doors> {
  const own = dataDir === undefined ? await mkdtemp(join(tmpdir(), "harmonydb-bench-")) : null;
  const remove = async (): Promise<void> => {
    if (own !== null) await rm(own, { recursive: true, force: true });
  };
  let node: Node;
  try {
    const env = nodeEnv({ log: () => {} });
    node = await startNode(env, { dataDir: dataDir ?? (own as string) });
  } catch (error) {
    await remove();
    throw error;
  }
  const door = embeddedDoor(node.database);
  return {
    all: Array.from({ length: clients }, () => door),
    close: async () => {
      await stopNode(node);
      await remove();
    },
  };
}

function embeddedDoor(database: Database): Door {
  const none = new Uint8Array(0);
  const plain = { lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false } as const;
  const get = (key: Uint8Array): RangeRequest => ({
    kind: "range",
    key,
    rangeEnd: none,
    limit: 0,
    revision: 0,
    sortOrder: "none",
    sortTarget: "key",
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  });
  const answered = (
    resolve: (value: unknown) => void,
    reject: (error: Error) => void,
  ): ((error: Error | null, value: { readonly kind: string }) => void) => {
    return (error, value) => {
      if (error !== null) reject(error);
      else if (value.kind === "error") reject(new Error(`refused: ${JSON.stringify(value)}`));
      else resolve(value);
    };
  };
  return {
    put: (key, value) =>
      new Promise((resolve, reject) =>
        database.write(
          { kind: "put", ...plain, key: bytesOf(key), value },
          {},
          answered(resolve, reject),
        ),
      ),
    get: (key) =>
      new Promise((resolve, reject) =>
        database.range(get(bytesOf(key)), {}, answered(resolve, reject)),
      ),
  };
}

const QUANTILES = { p50: 0.5, p90: 0.9, p99: 0.99, p999: 0.999 } as const;

function report(
  session: Session,
  run: { readonly seconds: number; readonly [name: string]: unknown },
  results: Readonly<Record<"put" | "get", Histogram>>,
): void {
  const measured = Object.entries(results).filter(([, histogram]) => histogram.count > 0);
  const rows = measured.map(([name, histogram]) => {
    const us = Object.entries(QUANTILES).map(
      ([label, q]) => [label, round(histogram.quantileUs(q))] as const,
    );
    return {
      name,
      count: histogram.count,
      perSecond: Math.round(histogram.count / run.seconds),
      latencyUs: {
        mean: round(histogram.meanUs),
        ...Object.fromEntries(us),
        max: round(histogram.maxUs),
      },
    };
  });
  if (session.form === "json") {
    const byName = Object.fromEntries(rows.map(({ name, ...rest }) => [name, rest]));
    session.streams.out(`${JSON.stringify({ ...run, seconds: round(run.seconds), ...byName })}\n`);
    return;
  }
  for (const { name, count, perSecond, latencyUs } of rows) {
    const times = Object.entries(latencyUs).map(
      ([label, us]) => `${label === "p999" ? "p99.9" : label} ${timeText(us as number)}`,
    );
    session.streams.out(
      `${name}: ${count} in ${run.seconds.toFixed(1)} s, ${perSecond}/s; ${times.join(", ")}\n`,
    );
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function timeText(us: number): string {
  if (us < 1000) return `${us.toFixed(0)} us`;
  return us < 1_000_000 ? `${(us / 1000).toFixed(2)} ms` : `${(us / 1_000_000).toFixed(2)} s`;
}
