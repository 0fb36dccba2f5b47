/** Three members as real processes, a network between them that a test can cut, and clients of each. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { etcd } from "../../src/codec/messages/index.ts";
import { type Ended, Run } from "../process/harmonydb.ts";
import { freePort, ProxyNetwork } from "./proxy.ts";

/** No process of a test outlives this, whatever happens to the test. */
const PROCESS_MS = 150_000;
const CALL_MS = 15_000;
const PATIENCE_MS = 40_000;
const POLL_MS = 50;
/** Of a message without fields: all of them have their defaults. */
const NOTHING = new Uint8Array(0);

export class Member {
  readonly name: string;
  readonly dataDir: string;
  readonly #args: readonly string[];
  readonly #clientUrl: string;
  readonly #metricsUrl: string;
  #run: Run | null = null;
  #client: Client | null = null;

  constructor(
    name: string,
    dataDir: string,
    ports: { readonly client: number; readonly metrics: number },
    args: readonly string[],
  ) {
    this.name = name;
    this.dataDir = dataDir;
    this.#clientUrl = `http://127.0.0.1:${ports.client}`;
    this.#metricsUrl = `http://127.0.0.1:${ports.metrics}`;
    this.#args = [
      "serve",
      "--name",
      name,
      "--data-dir",
      dataDir,
      "--listen-client-urls",
      this.#clientUrl,
      "--listen-metrics-urls",
      this.#metricsUrl,
      ...args,
    ];
  }

  get isUp(): boolean {
    return this.#run !== null;
  }

  /** What it has logged. */
  get log(): string {
    return this.#run?.err ?? "";
  }

  async start(...more: readonly string[]): Promise<void> {
    this.#run = new Run([...this.#args, ...more], {}, PROCESS_MS);
    await this.#run.ready();
    this.#client = new Client(
      this.#clientUrl.replace("http://", ""),
      credentials.createInsecure(),
      // Its own back-off would make a member that is there again look as if it were not.
      { "grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 200 },
    );
  }

  async stop(signal: "SIGKILL" | "SIGTERM"): Promise<Ended> {
    const run = this.#run;
    if (run === null) throw new Error(`${this.name} does not run`);
    this.#run = null;
    this.#client?.close();
    return run.kill(signal);
  }

  async put(key: string, value: string): Promise<void> {
    await this.#call(
      "KV/Put",
      etcd.PutRequest.encode({
        ...etcd.PutRequest.decode(NOTHING),
        key: Buffer.from(key),
        value: Buffer.from(value),
      }).finish(),
    );
  }

  /** The value of each key under `prefix`. */
  async all(prefix: string, isSerializable = false): Promise<ReadonlyMap<string, string>> {
    const last = prefix.charCodeAt(prefix.length - 1) + 1;
    const answer = await this.#call(
      "KV/Range",
      etcd.RangeRequest.encode({
        ...etcd.RangeRequest.decode(NOTHING),
        key: Buffer.from(prefix),
        range_end: Buffer.from(prefix.slice(0, -1) + String.fromCharCode(last)),
        serializable: isSerializable,
      }).finish(),
    );
    const { kvs } = etcd.RangeResponse.decode(answer);
    return new Map(
      kvs.map(({ key, value }) => [Buffer.from(key).toString(), Buffer.from(value).toString()]),
    );
  }

  async status(): Promise<etcd.StatusResponse> {
    return etcd.StatusResponse.decode(await this.#call("Maintenance/Status", NOTHING));
  }

  /** The HTTP status of `/readyz`, `/health` and the like. */
  async probe(path: string): Promise<number> {
    const response = await fetch(`${this.#metricsUrl}${path}`);
    await response.arrayBuffer();
    return response.status;
  }

  async memberNames(): Promise<readonly string[]> {
    const answer = await this.#call("Cluster/MemberList", NOTHING);
    return etcd.MemberListResponse.decode(answer).members.map(({ name }) => name);
  }

  #call(method: string, request: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const client = this.#client;
      if (client === null || this.#run === null) {
        reject(new Error(`${this.name} does not run`));
        return;
      }
      client.makeUnaryRequest(
        `/etcdserverpb.${method}`,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => bytes,
        request,
        { deadline: Date.now() + CALL_MS },
        (error: ServiceError | null, answer) =>
          error === null ? resolve(answer as Buffer) : reject(error),
      );
    });
  }
}

export class TestCluster {
  readonly network: ProxyNetwork;
  readonly root: string;
  readonly members: readonly Member[];
  /** Where each listens for the others, behind its proxy. */
  readonly peerPorts: readonly number[];

  private constructor(root: string, network: ProxyNetwork, parts: Parts) {
    this.root = root;
    this.network = network;
    this.members = parts.members;
    this.peerPorts = parts.peerPorts;
  }

  static async start(size = 3): Promise<TestCluster> {
    const root = mkdtempSync(join(tmpdir(), "harmonydb-cluster-"));
    const network = new ProxyNetwork();
    const names = Array.from({ length: size }, (_, i) => `n${i + 1}`);
    const peerPorts = await Promise.all(names.map(() => freePort()));
    const fronts = await Promise.all(
      names.map((name, i) => network.front(name, peerPorts[i] as number)),
    );
    const url = (port: number | undefined): string => `http://127.0.0.1:${port}`;
    const initialCluster = names.map((name, i) => `${name}=${url(fronts[i])}`).join(",");
    const members: Member[] = [];
    for (const [i, name] of names.entries()) {
      members.push(
        new Member(name, join(root, name), await ports(), [
          "--listen-peer-urls",
          url(peerPorts[i]),
          "--initial-advertise-peer-urls",
          url(fronts[i]),
          "--initial-cluster",
          initialCluster,
        ]),
      );
    }
    const cluster = new TestCluster(root, network, { members, peerPorts });
    await Promise.all(members.map((member) => member.start()));
    return cluster;
  }

  member(name: string): Member {
    const member = this.members.find((of) => of.name === name);
    if (member === undefined) throw new Error(`there is no ${name}`);
    return member;
  }

  others(than: Member): readonly Member[] {
    return this.members.filter((member) => member !== than);
  }

  /** The member that leads in the latest term that `among` know of, once they agree on it. */
  async leader(among: readonly Member[] = this.members): Promise<Member> {
    const found = await until("a leader", async () => {
      const up = among.filter(({ isUp }) => isUp);
      const statuses = await Promise.all(up.map((member) => member.status()));
      const [first] = statuses;
      if (first === undefined || first.leader === 0n) return null;
      if (
        statuses.some(
          ({ leader, raftTerm }) => leader !== first.leader || raftTerm !== first.raftTerm,
        )
      )
        return null;
      const at = statuses.findIndex(({ header }) => header?.member_id === first.leader);
      return up[at] ?? null;
    });
    return found;
  }

  async close(): Promise<void> {
    await Promise.all(
      this.members.filter(({ isUp }) => isUp).map((member) => member.stop("SIGKILL")),
    );
    this.network.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

const ports = async (): Promise<{ readonly client: number; readonly metrics: number }> => ({
  client: await freePort(),
  metrics: await freePort(),
});

interface Parts {
  readonly members: readonly Member[];
  readonly peerPorts: readonly number[];
}

/** What `attempt` gives once it gives something: it may fail until then, for as long as the patience of a test lasts. */
export async function until<T>(what: string, attempt: () => Promise<T | null>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  let last: unknown = "nothing";
  while (performance.now() < deadline) {
    try {
      const result = await attempt();
      if (result !== null) return result;
    } catch (error) {
      last = error;
    }
    await delay(POLL_MS);
  }
  throw new Error(`no ${what} within ${PATIENCE_MS} ms, last: ${String(last)}`);
}

/** Writes one key after the other through one member until it is stopped, and remembers what was acknowledged. */
export class Writer {
  readonly acknowledged: string[] = [];
  refused = 0;
  readonly #done: Promise<void>;
  #isStopped = false;

  constructor(member: Member, prefix: string) {
    this.#done = this.#write(member, prefix);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #write(member: Member, prefix: string): Promise<void> {
    for (let i = 0; !this.#isStopped; i++) {
      const key = `${prefix}${i}`;
      try {
        await member.put(key, `v${i}`);
        this.acknowledged.push(key);
      } catch {
        this.refused++;
        await delay(POLL_MS);
      }
    }
  }
}
