/**
 * Three nodes of ours or of etcd as processes on this machine, behind one interface: who leads, and how one of them is
 * killed and started again. Both with the election timeout (1 s) and the heartbeat (100 ms) that are their defaults.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client, credentials } from "@grpc/grpc-js";
import { etcd } from "../src/codec/messages/index.ts";
import { freePort } from "../src/platform/index.ts";

const SIZE = 3;
const START_MS = 60_000;
const POLL_MS = 20;
const CALL_MS = 5_000;
const NOTHING = new Uint8Array(0);

const urlOf = (port: number): string => `http://127.0.0.1:${port}`;

/** Program and arguments of a member. */
type Command = readonly [string, readonly string[]];

export class BenchNode {
  readonly endpoint: string;
  readonly #command: Command;
  readonly #client: Client;
  #child: ChildProcess | null = null;

  constructor(clientPort: number, command: Command) {
    this.endpoint = `127.0.0.1:${clientPort}`;
    this.#command = command;
    this.#client = new Client(this.endpoint, credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": POLL_MS,
      "grpc.min_reconnect_backoff_ms": POLL_MS,
      "grpc.max_reconnect_backoff_ms": POLL_MS,
    });
  }

  get pid(): number {
    return this.#child?.pid as number;
  }

  /** Rejects when there is no such program. */
  start(): Promise<void> {
    const [program, args] = this.#command;
    const child = spawn(program, args, { stdio: "ignore" });
    this.#child = child;
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("spawn", resolve);
    });
  }

  /** What it says of itself; null while it does not answer. */
  async status(): Promise<etcd.StatusResponse | null> {
    const answer = await this.call("Maintenance/Status", NOTHING);
    return answer === null ? null : etcd.StatusResponse.decode(answer);
  }

  async put(key: string, value: Uint8Array): Promise<boolean> {
    const request = etcd.PutRequest.encode({
      ...etcd.PutRequest.decode(NOTHING),
      key: Buffer.from(key),
      value,
    }).finish();
    return (await this.call("KV/Put", request)) !== null;
  }

  /** Null where it does not answer, or with an error. */
  call(method: string, request: Uint8Array, timeoutMs = CALL_MS): Promise<Buffer | null> {
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(
        method.startsWith("/") ? method : `/etcdserverpb.${method}`,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => bytes,
        request,
        { deadline: Date.now() + timeoutMs },
        (error, answer) => resolve(error === null ? (answer as Buffer) : null),
      );
    });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  close(): void {
    this.#client.close();
  }
}

export class ThreeNodes {
  readonly name: "ours" | "etcd";
  readonly nodes: readonly BenchNode[];
  readonly #dataDir: string;

  private constructor(name: "ours" | "etcd", nodes: readonly BenchNode[], dataDir: string) {
    this.name = name;
    this.nodes = nodes;
    this.#dataDir = dataDir;
  }

  /** Null: there is no etcd on this machine. */
  static async start(
    name: "ours" | "etcd",
    directory: string,
    more: readonly string[] = [],
  ): Promise<ThreeNodes | null> {
    const dataDir = mkdtempSync(join(directory, `three-${name}-`));
    const members: { readonly name: string; readonly client: number; readonly peer: number }[] = [];
    for (let i = 1; i <= SIZE; i++)
      members.push({ name: `n${i}`, client: await freePort(), peer: await freePort() });
    const initialCluster = members.map((of) => `${of.name}=${urlOf(of.peer)}`).join(",");
    const nodes = members.map((member) => {
      const flags = [
        ["--name", member.name],
        ["--data-dir", join(dataDir, member.name)],
        ["--listen-client-urls", urlOf(member.client)],
        ["--advertise-client-urls", urlOf(member.client)],
        ["--listen-peer-urls", urlOf(member.peer)],
        ["--initial-advertise-peer-urls", urlOf(member.peer)],
        ["--initial-cluster", initialCluster],
        more,
      ].flat();
      return new BenchNode(member.client, name === "ours" ? ours(flags) : theirs(flags));
    });
    const cluster = new ThreeNodes(name, nodes, dataDir);
    try {
      await Promise.all(nodes.map((node) => node.start()));
      await cluster.leader();
      return cluster;
    } catch (error) {
      await cluster.stop();
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  }

  /** All endpoints, as a client's configuration names them. */
  get endpoints(): string {
    return this.nodes.map(({ endpoint }) => endpoint).join(",");
  }

  /** The one that leads, when all three answer and agree on it. */
  async leader(): Promise<BenchNode> {
    const untilMs = performance.now() + START_MS;
    while (performance.now() < untilMs) {
      const statuses = await Promise.all(this.nodes.map((node) => node.status()));
      const [first] = statuses;
      const at = statuses.findIndex((status) => status?.header?.member_id === first?.leader);
      if (
        first?.leader !== undefined &&
        first.leader !== 0n &&
        at >= 0 &&
        statuses.every((status) => status?.leader === first.leader)
      )
        return this.nodes[at] as BenchNode;
      await delay(POLL_MS);
    }
    throw new Error(`three nodes of ${this.name} found no leader`);
  }

  async followers(): Promise<readonly BenchNode[]> {
    const leader = await this.leader();
    return this.nodes.filter((node) => node !== leader);
  }

  /** All hold what the leader had when this was called. */
  async settled(): Promise<void> {
    const leader = await this.leader();
    const goal = (await leader.status())?.raftAppliedIndex ?? 0n;
    for (const node of this.nodes)
      for (;;) {
        const status = await node.status();
        if (status !== null && status.raftAppliedIndex >= goal) break;
        await delay(POLL_MS);
      }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.end("SIGKILL")));
    for (const node of this.nodes) node.close();
    rmSync(this.#dataDir, { recursive: true, force: true });
  }
}

function ours(flags: readonly string[]): Command {
  const bin = fileURLToPath(new URL("../../bin/harmonydb", import.meta.url));
  return [process.execPath, [bin, "serve", ...flags, "--listen-metrics-urls", "none"]];
}

function theirs(flags: readonly string[]): Command {
  return ["etcd", [...flags, "--log-level", "error"]];
}
