/**
 * bench: a load generator. Each client keeps `--pipeline` requests under way and measures each one from before it is
 * sent until its answer is there. Keys are drawn from a seed, so that two runs ask for the same. Nodes may come and go
 * meanwhile: a client that loses its node goes on with another of the endpoints, and what failed is counted.
 */
import { Random } from "../../base/index.ts";
import {
  type Database,
  type Node,
  type RangeRequest,
  startNode,
  stopNode,
  POINT,
} from "../../db/index.ts";
import { nodeEnv } from "../../platform/index.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CommandError, Exit } from "../exit.ts";
import { byteSize, duration, oneOf, wholeNumber } from "../values.ts";
import { Client, RpcError } from "./client.ts";
import { badArguments, type Endpoint, flagValue } from "./flags.ts";
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
/** After a failure. */
const PAUSE_MS = 50;
/** It is over when nobody has answered anything for so many times what one answer may take. */
const SILENCES_MAX = 3;

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
  const state = { begun: 0, errors: 0, last: "", failure: null as unknown };
  const keyOf = (): string => `${flags.prefix}${String(random.below(keys)).padStart(10, "0")}`;
  const began = performance.now();
  let answeredMs = began;
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
        answeredMs = performance.now();
        (isGet ? gets : puts).add((answeredMs - before) * 1000);
      } catch (error) {
        state.errors++;
        state.last = error instanceof Error ? error.message : String(error);
        const silentMs = performance.now() - answeredMs;
        if (!isPassing(error) || silentMs > SILENCES_MAX * session.times.commandTimeoutMs)
          state.failure ??= error;
        else await delay(PAUSE_MS);
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
  const seconds = (performance.now() - began) / 1000;
  // What was measured is told, whatever ended it; where nothing was there is nothing to tell.
  if (state.failure === null || puts.count + gets.count > 0)
    report(
      session,
      { work, door: kind, clients, pipeline, valueSizeBytes: value.length, seconds },
      { put: puts, get: gets },
      state,
    );
  if (state.failure !== null) throw state.failure;
}

/** Another endpoint may do better, or this one in a moment. */
function isPassing(error: unknown): boolean {
  return error instanceof RpcError
    ? error.isPassing
    : error instanceof CommandError && error.exit === Exit.badConnection;
}

async function grpcDoors(session: Session, clients: number): Promise<Doors> {
  const all = Array.from({ length: clients }, () => new GrpcDoor(session));
  const close = (): Promise<void> => {
    for (const door of all) door.close();
    return Promise.resolve();
  };
  try {
    for (const door of all) await door.connect();
  } catch (error) {
    await close();
    throw error;
  }
  return { all, close };
}

/** One client over gRPC: when its node is lost or cannot answer, it goes on with the next of the endpoints, as a program would. */
class GrpcDoor implements Door {
  readonly #session: Session;
  /** In the order in which they are tried: from the one that is asked now on. */
  #endpoints: readonly Endpoint[];
  /** One for each endpoint that was asked: what is under way on one that was left goes on. */
  readonly #clients: Map<Endpoint, Client> = new Map();
  #client: Client | null = null;
  #connecting: Promise<Client> | null = null;

  constructor(session: Session) {
    this.#session = session;
    this.#endpoints = session.endpoints;
  }

  put(key: string, value: Uint8Array): Promise<unknown> {
    const request = { ...putRequest(key, "", {}), value };
    return this.#ask((client) => client.unary(PUT, request));
  }

  get(key: string): Promise<unknown> {
    return this.#ask((client) => client.unary(RANGE, rangeRequest(key, undefined, {})));
  }

  /** Throws a CommandError that names each endpoint and its reason where none can be reached. */
  connect(): Promise<Client> {
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  async #connect(): Promise<Client> {
    const { times } = this.#session;
    const endpoint = await Client.reach(this.#endpoints, times);
    const client = this.#clients.get(endpoint) ?? Client.to(endpoint, times);
    this.#clients.set(endpoint, client);
    this.#client = client;
    return client;
  }

  async #ask<T>(call: (client: Client) => Promise<T>): Promise<T> {
    const client = this.#client ?? (await this.connect());
    try {
      return await call(client);
    } catch (error) {
      if (client === this.#client && isPassing(error)) this.#leave(client.endpoint);
      throw error;
    }
  }

  #leave(endpoint: Endpoint): void {
    const at = this.#endpoints.indexOf(endpoint) + 1;
    this.#endpoints = [...this.#endpoints.slice(at), ...this.#endpoints.slice(0, at)];
    this.#client = null;
  }
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
  const plain = { lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false } as const;
  const get = (key: Uint8Array): RangeRequest => ({ ...POINT, key });
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
  { errors, last }: { readonly errors: number; readonly last: string },
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
    session.streams.out(
      `${JSON.stringify({ ...run, seconds: round(run.seconds), errors, ...byName })}\n`,
    );
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
  if (errors > 0) session.streams.out(`errors: ${errors}, the last: ${last}\n`);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function timeText(us: number): string {
  if (us < 1000) return `${us.toFixed(0)} us`;
  return us < 1_000_000 ? `${(us / 1000).toFixed(2)} ms` : `${(us / 1_000_000).toFixed(2)} s`;
}
