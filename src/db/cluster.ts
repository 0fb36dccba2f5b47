/** What a node needs besides itself when it is one of several: its links, and the way of commands to the leader. */
import { assert } from "../base/index.ts";
import type { Env } from "../env/index.ts";
import type { GroupId, LogIndex, Message, NodeId } from "../raft/index.ts";
import {
  type Forwarding,
  judgeWelcome,
  Membership,
  Peers,
  type PeerStatus,
  type PartialSnapshot,
  type ReplicaHost,
  type Self,
  SnapshotPull,
  SnapshotServer,
  type SnapshotServerStats,
  type SnapshotSource,
} from "../replica/index.ts";
import type { Identity } from "./data-directory.ts";
import type { MembersFile } from "./members-file.ts";

/** Absent for a node that is alone, so that nothing of it is in its way. */
export class ClusterLinks {
  readonly name: string;
  readonly forwarding: Forwarding;
  readonly #env: Env;
  readonly #self: Self;
  readonly #membership: Membership;
  readonly #snapshots: SnapshotServer;
  readonly #peers: Peers;

  constructor(config: {
    readonly env: Env;
    readonly identity: Identity;
    readonly members: MembersFile;
    readonly clientUrls: readonly string[];
    readonly host: () => ReplicaHost;
    /** For members that are too far behind. */
    readonly snapshots: () => SnapshotSource;
    /** How fast they leave; 0 for no limit. */
    readonly snapshotRateBytes: number;
  }) {
    const { env, identity, members, clientUrls, host, snapshots } = config;
    const { clusterId, memberId, walId } = identity;
    const { links } = env;
    const self = members.members.find(({ id }) => id === memberId);
    assert(links !== undefined, "a member of a cluster has links");
    assert(self !== undefined, "a member of a cluster is one of its members");
    this.name = self.name;
    const bootId = env.entropy.bytes(16);
    this.#env = env;
    this.#self = { clusterId, memberId, walId, bootId, name: self.name, clientUrls };
    this.#membership = new Membership(members);
    this.#snapshots = new SnapshotServer({
      env,
      source: { open: (want, done) => snapshots().open(want, done) },
      bytesPerSecond: config.snapshotRateBytes,
      report: (group, member, hasArrived) => host().reportSnapshot(group, member, hasArrived),
    });
    const peers = new Peers({
      env,
      links,
      self: this.#self,
      membership: this.#membership,
      snapshots: this.#snapshots,
      deliver: (item, from) => host().deliver(item, from),
      lost: (member) => host().lost(member),
      linked: () => host().wake(),
    });
    this.#peers = peers;
    this.forwarding = {
      canReach: (member) => peers.isLinked(member),
      tell: (member, item) => peers.tell(member, item),
      answer: (member, item) => peers.tellForSure(member, item),
    };
  }

  start(): void {
    this.#peers.start();
  }

  send(message: Message): void {
    if (message.type === "snapshot") this.#snapshots.announced(message.group, message.to);
    this.#peers.send(message);
  }

  /** A snapshot of another member, to be put together at `into`. */
  pull(want: {
    readonly from: NodeId;
    readonly group: GroupId;
    readonly indexAtLeast: LogIndex;
    readonly into: string;
    readonly partial: PartialSnapshot | null;
    readonly received: (bytes: number) => void;
  }): SnapshotPull {
    const membership = this.#membership;
    const { links } = this.#env;
    assert(links !== undefined, "a member of a cluster has links");
    return new SnapshotPull({
      ...want,
      env: this.#env,
      links,
      self: this.#self,
      urls: membership.of(want.from)?.peerUrls ?? [],
      judge: (welcome) => judgeWelcome(welcome, want.from, membership),
    });
  }

  get snapshotStats(): SnapshotServerStats {
    return this.#snapshots.stats;
  }

  /** Somebody pulls a snapshot, or is about to: the log must still reach when he has it. */
  get isServingSnapshots(): boolean {
    return this.#snapshots.isBusy;
  }

  /** At the end of a turn. */
  flush(): void {
    this.#peers.flush();
  }

  status(): readonly PeerStatus[] {
    return this.#peers.status();
  }

  end(): void {
    this.#snapshots.end();
    this.#peers.end();
  }
}
