/** What a node needs besides itself to be one of several: its links, and the way of commands to the leader. */
import { assert, HarmonyError } from "../base/index.ts";
import type { PeerRefusal } from "../codec/index.ts";
import { type Env, type Io, runIo } from "../env/index.ts";
import type { GroupId, LogIndex, Message, NodeId } from "../raft/index.ts";
import {
  type Forwarding,
  judgeWelcome,
  labelOf,
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
import { askOne } from "./join.ts";
import type { MembersFile } from "./members-file.ts";
import type { Roster } from "./roster.ts";

/** Between two rounds of asking who the members are. */
const ASK_PAUSE_MS = 1_000;

/** Absent for a node that nobody can reach and that reaches nobody: it stays alone. */
export class ClusterLinks {
  readonly forwarding: Forwarding;
  readonly #env: Env;
  readonly #self: Self;
  readonly #membership: Membership;
  readonly #snapshots: SnapshotServer;
  readonly #peers: Peers;
  readonly #roster: Roster;
  readonly #file: MembersFile;
  #removed: ReadonlySet<NodeId>;
  #isAsking = false;
  #askAtMs = 0;
  #isStarted = false;
  #isEnded = false;

  constructor(config: {
    readonly env: Env;
    readonly identity: Identity;
    readonly name: string;
    readonly file: MembersFile;
    readonly roster: Roster;
    readonly clientUrls: readonly string[];
    readonly host: () => ReplicaHost;
    /** For members that are too far behind. */
    readonly snapshots: () => SnapshotSource;
    /** How fast they leave; 0 for no limit. */
    readonly snapshotRateBytes: number;
    readonly appliedIndex: () => LogIndex;
    /** A member says that this node belongs to the cluster no more. */
    readonly removed: (by: string, detail: string) => void;
  }) {
    const { env, identity, name, file, roster, clientUrls, host, snapshots } = config;
    const { clusterId, memberId, walId } = identity;
    const { links } = env;
    assert(links !== undefined, "a member of a cluster has links");
    const bootId = env.entropy.bytes(16);
    this.#env = env;
    this.#self = {
      clusterId,
      memberId,
      walId,
      bootId,
      name,
      clientUrls,
      get peerUrls(): readonly string[] {
        return roster.get(memberId)?.peerUrls ?? [];
      },
    };
    this.#roster = roster;
    this.#file = file;
    this.#removed = roster.removed;
    this.#membership = new Membership({
      members: roster.all,
      removed: this.#removed,
      walIds: file.walIds,
      remember: file.remember,
    });
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
      strange: ({ peerUrls }) => this.#askAround(peerUrls),
      joinInfo: () => ({
        kind: "joinInfo",
        clusterId,
        tokenDigest: identity.tokenDigest,
        appliedIndex: config.appliedIndex(),
        members: roster.all,
      }),
      deliver: (item, from) => host().deliver(item, from),
      lost: (member) => host().lost(member),
      gone: (member) => host().gone(member),
      linked: () => host().wake(),
      refused: (member, refusal: PeerRefusal) => {
        if (refusal.code === "REMOVED_MEMBER") config.removed(labelOf(member), refusal.detail);
      },
    });
    this.#peers = peers;
    this.forwarding = {
      canReach: (member) => peers.isLinked(member),
      tell: (member, item) => peers.tell(member, item),
      answer: (member, item) => peers.tellForSure(member, item),
    };
  }

  /** What the log says of the members is applied, as far as it is known to be committed. */
  start(): void {
    this.#isStarted = true;
    this.#file.become(this.#roster.all, this.#removed);
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

  /** The members have changed. Whose removal is not in `removed`, because it is not durable here, is kept for so long. */
  follow(removed: ReadonlySet<NodeId>): void {
    const { all } = this.#roster;
    // Who has no URL yet is reached by nobody; it calls once it has one.
    const present = all.filter(({ peerUrls }) => peerUrls.length > 0);
    const leaving = this.#membership.members.filter(
      ({ id }) => !removed.has(id) && !present.some((member) => member.id === id),
    );
    this.#removed = removed;
    if (this.#isStarted) this.#file.become(all, removed);
    this.#membership.become([...present, ...leaving], removed);
    this.#peers.follow();
  }

  /**
   * This node may have been away while others came, and the leader may be one of them: nobody whom it does not know could
   * bring it up to date. So it asks those that it knows, and the one that has called it, for they may all be gone, and
   * talks to whom they know until its own state says more. Whom it is told of without good reason does no harm: what
   * Raft takes from anybody hangs on terms and logs.
   */
  #askAround(callerUrls: readonly string[]): void {
    const { clock } = this.#env;
    if (this.#isAsking || clock.monotonicMs() < this.#askAtMs) return;
    this.#isAsking = true;
    runIo(this.#ask(callerUrls), (error) => {
      this.#isAsking = false;
      this.#askAtMs = clock.monotonicMs() + ASK_PAUSE_MS;
      if (error !== null)
        this.#env.log("warn", "peer", "nobody says who the members are", {
          error: error instanceof Error ? error.message : "unknown",
        });
    });
  }

  *#ask(callerUrls: readonly string[]): Io<void> {
    const { links } = this.#env;
    assert(links !== undefined, "a member of a cluster has links");
    const { clusterId, memberId } = this.#self;
    const known = this.#membership.members.filter(({ id }) => id !== memberId);
    for (const [url] of [...known.map(({ peerUrls }) => peerUrls), callerUrls]) {
      if (url === undefined) continue;
      const info = yield* askOne(this.#env, links, url, this.#self);
      if (info instanceof HarmonyError || info.clusterId !== clusterId || this.#isEnded) continue;
      const membership = this.#membership;
      const news = info.members.filter(
        (member) =>
          membership.of(member.id) === undefined &&
          !this.#roster.removed.has(member.id) &&
          member.peerUrls.length > 0,
      );
      if (news.length === 0) continue;
      membership.become([...membership.members, ...news], this.#removed);
      this.#peers.follow();
    }
  }

  isLinked(member: NodeId): boolean {
    return this.#peers.isLinked(member);
  }

  status(): readonly PeerStatus[] {
    return this.#peers.status();
  }

  end(): void {
    this.#isEnded = true;
    this.#snapshots.end();
    this.#peers.end();
    this.#file.end();
  }

  /** Calls `done` when nothing is being written any more. */
  whenQuiet(done: () => void): void {
    this.#file.whenQuiet(done);
  }
}
