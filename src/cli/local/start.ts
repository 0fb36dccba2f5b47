/** cluster start: several nodes on this machine as child processes, until this one is told to end. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "../commands/client.ts";
import { parseEndpoint } from "../commands/flags.ts";
import { REPORT } from "../commands/rpcs.ts";
import { CommandError, Exit } from "../exit.ts";
import type { Streams } from "../streams.ts";
import { Child } from "./child.ts";
import { lockCluster } from "./lock.ts";
import { type PlannedNode, planOf } from "./plan.ts";
import { type Row, type Screen, View } from "./view.ts";

/** How often the members are asked. */
const LOOK_MS = 500;
const ANSWER_MS = 2_000;
const DIAL_MS = 500;

export interface StartOptions {
  readonly dataDir: string;
  /** Null: as the directory has it, or three. */
  readonly nodes: number | null;
  /** Null: as the directory has it, or free ports. */
  readonly basePort: number | null;
  /** For each node's `serve`. */
  readonly serveArgs: readonly string[];
}

/** Resolves when all are stopped. Throws when no node can run. */
export async function startCluster(options: StartOptions, streams: Streams): Promise<number> {
  const { dataDir } = options;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockCluster(dataDir);
  if (lock === null)
    throw new CommandError(`a cluster runs on ${dataDir}`, Exit.refused, [
      `harmonydb cluster stop --data-dir ${dataDir}`,
    ]);
  const pidFile = join(dataDir, "cluster.pid");
  try {
    const plan = await planOf(dataDir, options.nodes, options.basePort);
    await refuseOrphans(plan, dataDir);
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
    return await run(plan, options, streams);
  } finally {
    rmSync(pidFile, { force: true });
    await lock.release();
  }
}

/** Members whose `cluster start` was killed run on, and hold their directories and ports. */
async function refuseOrphans(plan: readonly PlannedNode[], dataDir: string): Promise<void> {
  for (const node of plan) {
    if (!existsSync(node.dataDir)) continue;
    const lock = await lockCluster(node.dataDir);
    if (lock === null)
      throw new CommandError(`${node.name} of an earlier start still runs`, Exit.refused, [
        `harmonydb cluster stop --data-dir ${dataDir}`,
      ]);
    await lock.release();
  }
}

async function run(
  plan: readonly PlannedNode[],
  { dataDir, serveArgs }: StartOptions,
  streams: Streams,
): Promise<number> {
  const screen: Screen = {
    isTTY: process.stdout.isTTY === true,
    write: (text) => streams.out(text),
  };
  const view = new View(screen);
  const initial = plan.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
  const children = plan.map(
    (node) =>
      new Child(node, {
        command: [process.execPath, ...process.execArgv, process.argv[1] as string],
        args: [...argsOf(node, plan.length > 1 ? initial : ""), ...serveArgs],
        logFile: join(dataDir, `${node.name}.log`),
        environment: streams.environment,
        news: (what) => view.tell(`${node.name} ${what}`),
      }),
  );
  const asking = plan.map((node) => new Asking(node));
  let stopped: () => void = () => {};
  const isStopped = new Promise<void>((resolve) => {
    stopped = resolve;
  });
  let asked = 0;
  const stop = (): void => {
    asked++;
    if (asked === 1) stopped();
    // Whoever asks again does not want to wait.
    else for (const child of children) child.kill();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    for (const child of children) child.start();
    view.tell(`endpoints: ${plan.map(({ clientUrl }) => clientUrl.replace("http://", "")).join()}`);
    let isOver = false;
    void isStopped.then(() => (isOver = true));
    const pause = (): Promise<void> =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, LOOK_MS);
        void isStopped.then(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    while (!isOver) {
      const reports = await Promise.all(asking.map((one) => one.report()));
      if (isOver) break;
      view.show(children.map((child, i) => rowOf(child, reports[i] ?? null)));
      if (children.every(({ state }) => state === "given up")) break;
      await pause();
    }
    const given = children.filter(({ state }) => state === "given up");
    await Promise.all(children.map((child) => child.stop()));
    view.end(children.map((child) => rowOf(child, null)));
    const [first] = given;
    if (first !== undefined && !isOver && given.length === children.length)
      throw new CommandError("no node can be started", Exit.refused, first.lastWords());
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    for (const one of asking) one.close();
  }
  return Exit.ok;
}

function argsOf(node: PlannedNode, initial: string): readonly string[] {
  const { name, dataDir, clientUrl, peerUrl } = node;
  return [
    "serve",
    "--name",
    name,
    "--data-dir",
    dataDir,
    "--listen-client-urls",
    clientUrl,
    "--listen-metrics-urls",
    "none",
    // A node alone listens for members, too: others may come beside it.
    "--listen-peer-urls",
    peerUrl,
    "--initial-advertise-peer-urls",
    peerUrl,
    ...(initial === "" ? [] : ["--initial-cluster", initial]),
  ];
}

function rowOf({ node, pid, state }: Child, report: Row["report"]): Row {
  return { name: node.name, url: node.clientUrl, pid, state, report };
}

/** Asks one node how it is, over a connection that is kept while it lives. */
class Asking {
  readonly #node: PlannedNode;
  #client: Client | null = null;

  constructor(node: PlannedNode) {
    this.#node = node;
  }

  async report(): Promise<Row["report"]> {
    try {
      this.#client ??= await Client.open([parseEndpoint(this.#node.clientUrl)], {
        commandTimeoutMs: ANSWER_MS,
        dialTimeoutMs: DIAL_MS,
      });
      const { term, leader, member_id, commit_index, applied_index } = await this.#client.unary(
        REPORT,
        {},
      );
      return {
        term: Number(term),
        isLeader: leader === member_id,
        hasLeader: leader !== 0n,
        commit: Number(commit_index),
        applied: Number(applied_index),
      };
    } catch {
      // It does not answer: that is what is shown.
      this.close();
      return null;
    }
  }

  close(): void {
    this.#client?.close();
    this.#client = null;
  }
}
