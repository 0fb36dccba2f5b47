/** One member of a cluster of a test: what a test does with it, and how it is killed. */
import { HarmonyError } from "../base/index.ts";
import { type Done, type HarmonyDB, type Key, type Value } from "../index.ts";
import { connect } from "../connect.ts";
import { nodeEnv } from "../platform/index.ts";
import { logOf } from "../options.ts";
import { type Served, serveOn, type ServeOptions } from "../serve.ts";
import { Life } from "./life.ts";
import type { Network } from "./network.ts";

/** What a member is made of. */
export interface NodePlan {
  readonly name: string;
  readonly serve: ServeOptions;
  readonly clientUrl: string;
  readonly network: Network;
  readonly patienceMs: number;
}

const decoder = new TextDecoder();

/** A member of a `TestCluster`. */
export class TestNode {
  /** n1, n2 and so on. */
  readonly name: string;
  /** Where it is served: for `connect`, and for clients of etcd. */
  readonly url: string;
  /** What it keeps stands here, also while it does not run. */
  readonly dataDir: string;
  readonly #plan: NodePlan;
  #served: Served | null = null;
  #life: Life | null = null;
  #db: HarmonyDB | null = null;

  /** Made by `TestCluster`. */
  constructor(plan: NodePlan) {
    this.name = plan.name;
    this.url = plan.clientUrl;
    this.dataDir = plan.serve.dataDir;
    this.#plan = plan;
  }

  /** Whether it runs; it may still be without a leader. */
  get isUp(): boolean {
    return this.#served !== null;
  }

  /** Starts it on its directory. It may take until others are up before it takes requests. */
  async start(): Promise<void> {
    if (this.isUp) throw new HarmonyError("INVALID_ARGUMENT", `${this.name} runs`);
    const { serve, network, name } = this.#plan;
    const life = new Life(nodeEnv({ log: logOf(serve) }));
    this.#life = life;
    this.#served = await serveOn(life.env, serve, (links) =>
      network.linksOf(name, links, () => !life.isOver),
    );
  }

  /** Stops it in order: it hands the lead over and syncs. */
  async stop(): Promise<void> {
    const served = this.#served;
    this.#served = null;
    this.#life = null;
    await served?.close();
  }

  /** Ends it as `kill -9` ends a process. */
  async kill(): Promise<void> {
    const served = this.#served;
    const life = this.#life;
    this.#served = null;
    this.#life = null;
    if (served === null || life === null) return;
    const ending = life.end();
    this.#plan.network.end(this.name);
    await served.cut();
    await ending;
  }

  /** Kills it if it runs, and starts it again. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** The database through this node alone; it goes on when the node has been started again. Ends with the cluster. */
  async db(): Promise<HarmonyDB> {
    const { patienceMs } = this.#plan;
    this.#db ??= await connect(this.url, {
      connectTimeoutMs: patienceMs,
      requestTimeoutMs: patienceMs,
    });
    return this.#db;
  }

  /** The value as text. */
  async get(key: Key): Promise<string | undefined> {
    const value = await (await this.db()).get(key);
    return value === undefined ? undefined : decoder.decode(value);
  }

  /** Through this node. */
  async put(key: Key, value: Value): Promise<Done> {
    return (await this.db()).put(key, value);
  }

  /** Through this node; `ok` tells whether the key was there. */
  async delete(key: Key): Promise<Done> {
    return (await this.db()).del(key);
  }

  /** What it says itself: one that is cut off may not know yet that another leads. */
  async isLeader(): Promise<boolean> {
    return this.isUp && (this.#served as Served).role === "leader";
  }

  /** Of Raft, as it knows it. Rejects with CLOSED when it does not run. */
  async term(): Promise<number> {
    if (this.#served === null) throw new HarmonyError("CLOSED", `${this.name} does not run`);
    return (await this.#served.admin.status()).term;
  }

  /** Gives everything back. */
  async end(): Promise<void> {
    await this.#db?.close();
    await this.kill();
  }
}
