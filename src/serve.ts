/** A node with its doors in this process: what `open` gives, and other programs can come in, too. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { EmbeddedDatabase, type HarmonyDB } from "./db/embedded/index.ts";
import { type Node, startNode, stopNode } from "./db/index.ts";
import type { Env, Links } from "./env/index.ts";
import {
  assertOptions,
  hostOf,
  invalid,
  logOf,
  MEMORY,
  nodeParts,
  OPEN_NAMES,
  type OpenOptions,
} from "./options.ts";
import { nodeEnv } from "./platform/index.ts";
import {
  checkListenable,
  type EtcdServer,
  listenForPeers,
  type PeerLinks,
  serveEtcd,
  supportOf,
} from "./server/index.ts";

/** One of the first members of a cluster. */
export interface InitialMember {
  /** Each member has its own. */
  readonly name: string;
  /** Where the others call it: `http://host:port`. */
  readonly peerUrls: readonly string[];
}

/** How a node is served. What `open` takes, and where it listens. */
export interface ServeOptions extends OpenOptions {
  /** As for `open`; ":memory:" keeps nothing, for a node that is alone. */
  readonly dataDir: string;
  /** Where programs come in, `http://host:port`; port 0 takes a free one. Default: http://127.0.0.1:2379. */
  readonly listenClientUrls?: readonly string[] | undefined;
  /** What other members tell of it. Default: where it listens. */
  readonly advertiseClientUrls?: readonly string[] | undefined;
  /**
   * Where other members call. Default: http://127.0.0.1:2380 for a member of several; one that is alone listens if it is
   * told where, and others can then come beside it.
   */
  readonly listenPeerUrls?: readonly string[] | undefined;
  /** As `initialCluster` has them. Default: where it listens. */
  readonly initialAdvertisePeerUrls?: readonly string[] | undefined;
  /** The first members, this one among them, the same on all of them. Absent: alone. */
  readonly initialCluster?: readonly InitialMember[] | undefined;
  /** The cluster exists and this node was added to it: `initialCluster` are all its members, and the data comes from them. */
  readonly join?: boolean | undefined;
  /** As long as this member is a learner: become a voter as soon as it has caught up. */
  readonly autoPromote?: boolean | undefined;
  /** Clusters that share a network are told apart by it. */
  readonly clusterToken?: string | undefined;
  /** How often a leader says that it is there. Default: 100 ms. */
  readonly heartbeatIntervalMs?: number | undefined;
  /** What `close` gives requests that are under way. Default: 5 seconds. */
  readonly shutdownTimeoutMs?: number | undefined;
  /** Listens where others than this machine could come from: there is neither TLS nor a password yet. */
  readonly insecure?: boolean | undefined;
}

/** A database in this process that others can come to. */
export interface ServedDB extends HarmonyDB {
  /** Where programs come in, with real ports: for `connect` and for clients of etcd. */
  readonly urls: readonly string[];
  /** Where other members call; empty where it does not listen for any. */
  readonly peerUrls: readonly string[];
}

const NAMES: Readonly<Record<keyof ServeOptions, true>> = {
  ...OPEN_NAMES,
  dataDir: true,
  listenClientUrls: true,
  advertiseClientUrls: true,
  listenPeerUrls: true,
  initialAdvertisePeerUrls: true,
  initialCluster: true,
  join: true,
  autoPromote: true,
  clusterToken: true,
  heartbeatIntervalMs: true,
  shutdownTimeoutMs: true,
  insecure: true,
};
const CLIENT_URLS = ["http://127.0.0.1:2379"];
const PEER_URLS = ["http://127.0.0.1:2380"];
const SHUTDOWN_DEFAULT_MS = 5_000;

/**
 * Opens the database in `dataDir` as `open` does and serves it: etcd's API, and what `connect` speaks. Closing it takes
 * no more requests, lets those under way finish, hands leadership over, and gives directory and ports back. Rejects as
 * `open` does, and with an Error whose `code` is EADDRINUSE or the like when it cannot listen.
 */
export async function serve(options: ServeOptions): Promise<ServedDB> {
  assertOptions(options, NAMES);
  return serveOn(nodeEnv({ log: logOf(options) }), options, (links) => links);
}

/** Serves on a world that is given; `through` is what stands between the node and its links. */
export async function serveOn(
  env: Env,
  options: ServeOptions,
  through: (links: Links) => Links,
): Promise<Served> {
  const {
    dataDir,
    listenClientUrls = CLIENT_URLS,
    advertiseClientUrls,
    listenPeerUrls: givenPeerUrls,
    initialAdvertisePeerUrls,
    initialCluster = [],
    join: isJoining = false,
    autoPromote,
    clusterToken,
    heartbeatIntervalMs,
    shutdownTimeoutMs = SHUTDOWN_DEFAULT_MS,
    insecure,
    ...rest
  } = options;
  const listenPeerUrls = givenPeerUrls ?? PEER_URLS;
  assertUrls("listenClientUrls", listenClientUrls, insecure);
  assertUrls("listenPeerUrls", listenPeerUrls, insecure);
  if (!(Number.isSafeInteger(shutdownTimeoutMs) && shutdownTimeoutMs >= 0))
    throw invalid("shutdownTimeoutMs is a whole number from 0");
  const { node: nodeOptions, door } = nodeParts(dataDir, rest);
  const { log } = env;
  // A port in use is told before a directory is made, which would keep its ids for good.
  const urls = await checkListenable(listenClientUrls);
  const isMember =
    initialCluster.length > 1 || (dataDir !== MEMORY && existsSync(join(dataDir, "MEMBERS")));
  // Named, a node alone listens, too, so that others can come beside it; one that keeps less than all must stay alone.
  const mayGrow =
    givenPeerUrls !== undefined &&
    nodeOptions.persistence !== "none" &&
    (nodeOptions.fsyncIntervalMs ?? 0) === 0;
  const links: PeerLinks | null =
    isMember || mayGrow ? await listenForPeers(listenPeerUrls, log) : null;
  let node: Node | null = null;
  try {
    node = await startNode(links === null ? env : { ...env, links: through(links) }, {
      ...nodeOptions,
      clientUrls: advertiseClientUrls ?? urls,
      peerUrls: initialAdvertisePeerUrls ?? links?.addresses ?? listenPeerUrls,
      initialCluster,
      join: isJoining,
      autoPromote,
      clusterToken,
      heartbeatIntervalMs,
    });
    const { database } = node;
    const server = await serveEtcd({
      database,
      urls,
      limits: { maxRequestBytes: rest.maxRequestBytes },
      ...supportOf(node),
      log,
    });
    return new Served(node, { ...hostOf(env), ...door }, links, server, shutdownTimeoutMs);
  } catch (error) {
    if (node !== null) await stopNode(node).catch(() => {});
    await links?.close();
    throw error;
  }
}

export class Served extends EmbeddedDatabase implements ServedDB {
  readonly urls: readonly string[];
  readonly #links: PeerLinks | null;
  readonly #server: EtcdServer;

  constructor(
    node: Node,
    host: ConstructorParameters<typeof EmbeddedDatabase>[1],
    links: PeerLinks | null,
    server: EtcdServer,
    shutdownTimeoutMs: number,
  ) {
    super(node, host, () => server.close(shutdownTimeoutMs));
    this.urls = server.addresses;
    this.#links = links;
    this.#server = server;
  }

  /** Cuts every connection, of programs and of members. The node is not told. */
  async cut(): Promise<void> {
    await Promise.all([this.#server.close(0), this.#links?.close()]);
  }

  get peerUrls(): readonly string[] {
    return this.#links?.addresses ?? [];
  }

  override async close(): Promise<void> {
    try {
      await super.close();
    } finally {
      await this.#links?.close();
    }
  }
}

/** Only this machine can connect. */
function isLoopbackUrl(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function assertUrls(name: string, urls: readonly string[], insecure: boolean | undefined): void {
  if (!Array.isArray(urls) || urls.length === 0 || !urls.every((url) => URL.canParse(url)))
    throw invalid(`${name} are URLs, at least one`);
  for (const url of urls)
    if (insecure !== true && !isLoopbackUrl(url))
      throw invalid(
        `${name} ${url}: others than this machine could reach it, and there is neither TLS nor a password yet: say insecure if the network is yours alone`,
      );
}
