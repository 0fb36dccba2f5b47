/** A cluster for a test: its nodes, the network between them, and programs that are connected to it. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HarmonyError } from "../base/index.ts";
import type { LogSink } from "../env/index.ts";
import { connect, type ConnectOptions } from "../connect.ts";
import type { HarmonyDB } from "../index.ts";
import { assertOptions, invalid } from "../options.ts";
import { Network } from "./network.ts";
import { TestNode } from "./node.ts";

/** What a cluster of a test is like. */
export interface TestClusterOptions {
  /** How many; from 1 to 9. Default: 3. */
  readonly nodes?: number | undefined;
  /** Where their directories are made, which then stay. Default: a place of its own, which goes with the cluster. */
  readonly dataDir?: string | undefined;
  /** After how long without a leader another is elected, in milliseconds. Default: 500. */
  readonly electionTimeoutMs?: number | undefined;
  /** How long anything may take before it rejects with TIMEOUT, in milliseconds. Default: 30 seconds. */
  readonly patienceMs?: number | undefined;
  /** Takes structured log lines of all nodes; default: none are written. */
  readonly log?: LogSink | undefined;
}

const NAMES: Readonly<Record<keyof TestClusterOptions, true>> = {
  nodes: true,
  dataDir: true,
  electionTimeoutMs: true,
  patienceMs: true,
  log: true,
};
const ELECTION_DEFAULT_MS = 500;
const PATIENCE_DEFAULT_MS = 30_000;
const NODES_MAX = 9;
const POLL_MS = 10;
/** Small enough that a cluster is made in no time. */
const SEGMENT_BYTES: number = 1024 * 1024;

/** Nodes in this process, on directories and ports of their own, and the network between them. */
export class TestCluster implements AsyncDisposable {
  /** n1, n2 and so on. */
  readonly nodes: readonly TestNode[];
  readonly #network: Network;
  readonly #patienceMs: number;
  readonly #connected: Set<HarmonyDB> = new Set();
  /** What `stop` removes. */
  readonly #ownDirectory: string | null;

  private constructor(
    nodes: readonly TestNode[],
    network: Network,
    patienceMs: number,
    ownDirectory: string | null,
  ) {
    this.nodes = nodes;
    this.#network = network;
    this.#patienceMs = patienceMs;
    this.#ownDirectory = ownDirectory;
  }

  /** Makes and starts a cluster, and waits until it has a leader. */
  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    assertOptions(options, NAMES);
    const {
      nodes: count = 3,
      electionTimeoutMs = ELECTION_DEFAULT_MS,
      patienceMs = PATIENCE_DEFAULT_MS,
      log,
    } = options;
    if (!(Number.isSafeInteger(count) && count >= 1 && count <= NODES_MAX))
      throw invalid(`nodes is a whole number from 1 to ${NODES_MAX}`);
    if (!(Number.isSafeInteger(patienceMs) && patienceMs > 0))
      throw invalid("patienceMs is a whole number from 1");
    const own =
      options.dataDir === undefined ? mkdtempSync(join(tmpdir(), "harmonydb-test-")) : null;
    const root = own ?? (options.dataDir as string);
    const network = new Network();
    const urls = await freeUrls(count * 2);
    const members = Array.from({ length: count }, (_, i) => ({
      name: `n${i + 1}`,
      clientUrl: urls[i] as string,
      peerUrl: urls[count + i] as string,
    }));
    const initialCluster = members.map(({ name, peerUrl }) => ({ name, peerUrls: [peerUrl] }));
    const nodes = members.map(({ name, clientUrl, peerUrl }) => {
      network.add(name, peerUrl);
      return new TestNode({
        name,
        clientUrl,
        network,
        patienceMs,
        serve: {
          dataDir: join(root, name),
          name,
          listenClientUrls: [clientUrl],
          listenPeerUrls: [peerUrl],
          initialCluster: count === 1 ? [] : initialCluster,
          electionTimeoutMs,
          heartbeatIntervalMs: Math.max(1, Math.floor(electionTimeoutMs / 10)),
          walSegmentBytes: SEGMENT_BYTES,
          shutdownTimeoutMs: 0,
          log,
        },
      });
    });
    const cluster = new TestCluster(nodes, network, patienceMs, own);
    try {
      await Promise.all(nodes.map((node) => node.start()));
      await cluster.leader();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** By its name, or by its place from 0 on. */
  node(which: string | number): TestNode {
    const node =
      typeof which === "number" ? this.nodes[which] : this.nodes.find(({ name }) => name === which);
    if (node === undefined) throw invalid(`there is no node ${which}`);
    return node;
  }

  /** The nodes but these. */
  others(...than: readonly TestNode[]): readonly TestNode[] {
    for (const node of than)
      if (!this.nodes.includes(node)) throw invalid("others takes nodes of this cluster");
    return this.nodes.filter((node) => !than.includes(node));
  }

  /** The node that leads, once one of `among` does and all of them that run are in its term. */
  leader(among: readonly TestNode[] = this.nodes): Promise<TestNode> {
    return this.until("a leader", async () => {
      const up = among.filter(({ isUp }) => isUp);
      const terms = await Promise.all(up.map((node) => node.term()));
      const leads = await Promise.all(up.map((node) => node.isLeader()));
      const at = leads.indexOf(true);
      if (at < 0 || leads.lastIndexOf(true) !== at) return null;
      return terms.every((term) => term === terms[at]) ? (up[at] ?? null) : null;
    });
  }

  /** A program that is connected to all nodes, or to these. Closed with the cluster at the latest. */
  async connect(
    options: ConnectOptions & { readonly nodes?: readonly TestNode[] } = {},
  ): Promise<HarmonyDB> {
    const { nodes = this.nodes, ...rest } = options;
    const db = await connect(
      nodes.map(({ url }) => url),
      { connectTimeoutMs: this.#patienceMs, ...rest },
    );
    this.#connected.add(db);
    db.on("close", () => this.#connected.delete(db));
    return db;
  }

  /** Cuts the network: these nodes hear nothing of the others, and the others nothing of them. Programs reach all. */
  partition(...nodes: readonly TestNode[]): void {
    // A node that is not of this cluster, or a list of them, would be cut off from nobody, and the test prove nothing.
    for (const node of nodes)
      if (!this.nodes.includes(node)) throw invalid("partition takes nodes of this cluster");
    this.#network.partition(nodes.map(({ name }) => name));
  }

  /** The network is whole again. */
  heal(): void {
    this.#network.heal();
  }

  /** What `attempt` gives once it gives something; it may throw until then. Rejects with TIMEOUT after `patienceMs`. */
  async until<T>(what: string, attempt: () => Promise<T | null> | T | null): Promise<T> {
    const deadlineMs = performance.now() + this.#patienceMs;
    let last: unknown;
    while (performance.now() < deadlineMs) {
      try {
        const found = await attempt();
        if (found !== null) return found;
      } catch (error) {
        last = error;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new HarmonyError("TIMEOUT", `${what} within ${this.#patienceMs} ms`, { cause: last });
  }

  /** Ends everything and gives it back. What a test expects has been seen by then: nodes are not stopped in order. */
  async stop(): Promise<void> {
    this.heal();
    await Promise.all([...this.#connected].map((db) => db.close()));
    await Promise.all(this.nodes.map((node) => node.end()));
    if (this.#ownDirectory !== null) rmSync(this.#ownDirectory, { recursive: true, force: true });
  }

  /** As `stop`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Ports that were free a moment ago, all of them at once so that they differ. */
async function freeUrls(count: number): Promise<readonly string[]> {
  const servers = Array.from({ length: count }, () => createServer());
  try {
    await Promise.all(
      servers.map(
        (server) =>
          new Promise<void>((resolve, reject) => {
            server.on("error", reject);
            server.listen(0, "127.0.0.1", () => resolve());
          }),
      ),
    );
    return servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    for (const server of servers) server.close();
  }
}
