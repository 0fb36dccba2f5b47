/** Three members as real processes, and a network between them that a test can cut. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Member } from "./member.ts";
import { freePort } from "../../src/platform/index.ts";
import { ProxyNetwork } from "./proxy.ts";

const PATIENCE_MS = 40_000;
const POLL_MS = 50;

export interface ClusterOptions {
  readonly size?: number;
  /** How far the wall clock of each is ahead of the machine's, in the order of the members. */
  readonly clocksMs?: readonly number[];
  /** No process lives longer. */
  readonly processMs?: number;
  /** For all of them. */
  readonly args?: readonly string[];
  /** Before any of them starts: makes the directory of each, under this one. */
  readonly prepare?: (dataDir: string) => void;
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

  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const { size = 3, clocksMs = [], processMs, args = [], prepare } = options;
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
        new Member({
          name,
          dataDir: join(root, name),
          ports: await ports(),
          clockMs: clocksMs[i] ?? 0,
          ...(processMs === undefined ? {} : { processMs }),
          args: [
            "--listen-peer-urls",
            url(peerPorts[i]),
            "--initial-advertise-peer-urls",
            url(fronts[i]),
            "--initial-cluster",
            initialCluster,
            ...args,
          ],
        }),
      );
    }
    const cluster = new TestCluster(root, network, { members, peerPorts });
    if (prepare !== undefined) for (const { dataDir } of members) prepare(dataDir);
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
  leader(among: readonly Member[] = this.members): Promise<Member> {
    return until("a leader", async () => {
      const awake = among.filter(({ isAwake }) => isAwake);
      const statuses = await Promise.all(awake.map((member) => member.status()));
      const [first] = statuses;
      if (first === undefined || first.leader === 0n) return null;
      if (
        statuses.some(
          ({ leader, raftTerm }) => leader !== first.leader || raftTerm !== first.raftTerm,
        )
      )
        return null;
      const at = statuses.findIndex(({ header }) => header?.member_id === first.leader);
      return awake[at] ?? null;
    });
  }

  /** As `leader`, of a majority that has given up another. */
  newLeader(among: readonly Member[], not: Member): Promise<Member> {
    return until("another leader", async () => {
      const found = await this.leader(among);
      return found === not ? null : found;
    });
  }

  /** `before`: what has to be done before their directories are removed. */
  async close(before: () => void = () => {}): Promise<void> {
    for (const member of this.members) {
      // One that stands still would not end.
      if (member.isUp) member.resume();
      member.close();
    }
    await Promise.all(
      this.members.filter(({ isUp }) => isUp).map((member) => member.stop("SIGKILL")),
    );
    this.network.close();
    before();
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
export async function until<T>(
  what: string,
  attempt: () => Promise<T | null>,
  patienceMs: number = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
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
  throw new Error(`no ${what} within ${patienceMs} ms, last: ${String(last)}`);
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
