/**
 * For tests: a few members with real Raft, log, vote file and links, each on a simulated machine of one network, and a
 * machine that keeps the words it was given. Time is simulated; one seed decides everything.
 */
import { assert, type HarmonyError, utf8 } from "../../base/index.ts";
import type { Env, Io } from "../../env/index.ts";
import { runIoNow, SimEnv, SimNetwork, SimScheduler } from "../../env/sim/index.ts";
import { type NodeId, RawNode } from "../../raft/index.ts";
import { decideVote, VoteFile, type VoteState, Wal, type WalIdentity } from "../../wal/index.ts";
import type { QuarantineItem } from "../../codec/index.ts";
import {
  GroupClock,
  Membership,
  Peers,
  type Proposal,
  Replica,
  ReplicaHost,
  type Verdict,
} from "../index.ts";
import { describeError, ListMachine } from "./lab.ts";

const GROUP = 0;
const TICK_MS = 100;
const DATA = "data";

const url = (id: NodeId): string => `http://n${id}:2380`;

/** A command and what its caller was told; null while he waits. */
export interface Asked {
  readonly word: string;
  readonly by: NodeId;
  told: "done" | "certainly not" | "unknown" | null;
  /** What the caller reads at the moment of the answer, at the member that he asked. */
  seen: readonly string[];
  result: string;
  proposal: Proposal<string> | null;
}

export class ClusterMember {
  readonly id: NodeId;
  readonly machine: SimEnv;
  replica!: Replica<string>;
  list!: ListMachine;
  peers!: Peers;
  host!: ReplicaHost;
  wal!: Wal;
  isUp = false;
  fatal: HarmonyError | null = null;
  /** It says nothing of its disk, as versions before that did. */
  isSilent = false;
  standsStill: (error: HarmonyError) => void = () => {};
  /** What it found of others and of itself, and what others said of themselves. */
  readonly verdicts: Verdict[] = [];
  readonly heardOf: { readonly from: NodeId; readonly item: QuarantineItem }[] = [];
  readonly #cluster: Cluster;
  readonly #walIds: Map<NodeId, Uint8Array> = new Map();
  #isMade = false;

  constructor(cluster: Cluster, id: NodeId) {
    this.id = id;
    this.#cluster = cluster;
    this.machine = new SimEnv({
      seed: cluster.scheduler.seed * 16 + id,
      scheduler: cluster.scheduler,
      network: { of: cluster.network, url: url(id) },
      disk: { latencyMs: [0.5, 4] },
    });
  }

  start(): void {
    const env = this.machine.boot();
    const { links } = env;
    assert(links !== undefined, "the machine is on a network");
    const ids = this.#cluster.members.map(({ id }) => id);
    const walId = new Uint8Array(16).fill(this.id);
    const { wal, votes } = this.#open(env, {
      clusterId: new Uint8Array(8).fill(1),
      memberId: this.id,
      walId,
    });
    this.wal = wal;
    this.fatal = null;
    this.host = new ReplicaHost({
      env,
      wal,
      votes,
      tickMs: TICK_MS,
      onFatal: (error) => (this.fatal = error),
      send: (message) => this.peers.send(message),
      afterTurn: () => this.peers.flush(),
    });
    this.peers = new Peers({
      env,
      links,
      self: {
        clusterId: 1,
        memberId: this.id,
        walId,
        bootId: env.entropy.bytes(16),
        name: `n${this.id}`,
        clientUrls: [],
        peerUrls: [],
      },
      membership: new Membership({
        members: ids.map((id) => ({ id, name: `n${id}`, peerUrls: [url(id)] })),
        walIds: this.#walIds,
        remember: (id, of, done) => {
          this.#walIds.set(id, of);
          done(null);
        },
      }),
      deliver: (item, from) => this.host.deliver(item, from),
      lost: (member) => this.host.lost(member),
      gone: (member) => this.host.gone(member),
      linked: () => this.host.wake(),
    });
    this.#join(env, wal, votes, ids);
    this.peers.start();
    this.host.start();
    this.isUp = true;
  }

  kill(): void {
    this.machine.kill();
    this.isUp = false;
  }

  losePower(): void {
    this.machine.losePower();
    this.isUp = false;
  }

  get isLeader(): boolean {
    return this.isUp && this.replica.raft.role === "leader";
  }

  propose(word: string): Asked {
    const asked: Asked = { word, by: this.id, told: null, seen: [], result: "", proposal: null };
    const { list } = this;
    asked.proposal = this.replica.propose(utf8(word), false, (error, result) => {
      assert(asked.told === null, "everybody is answered once");
      asked.told = error === null ? "done" : error.maybeApplied ? "unknown" : "certainly not";
      asked.seen = [...list.applied];
      asked.result = result ?? "";
    });
    return asked;
  }

  /** What a linearizable read sees; null while it waits. */
  read(): { seen: readonly string[] | null; error: string | null } {
    const read: { seen: readonly string[] | null; error: string | null } = {
      seen: null,
      error: null,
    };
    const { list } = this;
    this.replica.readBarrier((error) => {
      if (error === null) read.seen = [...list.applied];
      else read.error = describeError(error);
    });
    return read;
  }

  #open(env: Env, identity: WalIdentity): { readonly wal: Wal; readonly votes: VoteFile } {
    const options = { directory: DATA, segmentSizeBytes: 256 * 1024, fsyncIntervalMs: 0 };
    const isMade = this.#isMade;
    this.#isMade = true;
    return runIoNow(
      this.machine,
      (function* (): Io<{ readonly wal: Wal; readonly votes: VoteFile }> {
        if (isMade) {
          const { wal } = yield* Wal.open(env, options, identity, []);
          return { wal, votes: yield* VoteFile.open(env, options, identity) };
        }
        yield (done) => env.files.mkdir(DATA, done);
        yield (done) => env.files.syncDir("", done);
        const wal = yield* Wal.create(env, options, identity);
        return { wal, votes: yield* VoteFile.create(env, options, identity) };
      })(),
    );
  }

  #join(env: Env, wal: Wal, votes: VoteFile, voters: readonly NodeId[]): void {
    const decided = decideVote(wal.hardState(GROUP), votes.read(GROUP), false) as VoteState;
    const { term, vote, incarnation } = decided;
    const hardState = { ...wal.hardState(GROUP), term, vote };
    const confState = {
      voters,
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    const rawNode = new RawNode({
      group: GROUP,
      id: this.id,
      incarnation,
      storage: wal.groupLog(GROUP),
      hardState,
      confState,
      appliedIndex: 0,
      electionTicks: 10,
      heartbeatTicks: 1,
      seed: env.entropy.u32(),
      maxEntriesBytesPerMessage: 1024,
      maxInflightMessages: 16,
      maxInflightBytes: 1024 * 1024,
      maxUncommittedBytes: 1024 * 1024,
      maxCommittedBytesPerReady: 1024 * 1024,
      preVote: true,
      checkQuorum: true,
    });
    this.list = new ListMachine(GROUP, () => {});
    this.replica = new Replica<string>({
      group: GROUP,
      rawNode,
      machine: this.list,
      clock: new GroupClock(env.clock, 0),
      hardState,
      wake: () => this.host.wake(),
      peers: {
        forwarding: {
          canReach: (member) => this.peers.isLinked(member),
          tell: (member, item) =>
            (this.isSilent && item.kind === "room") || this.peers.tell(member, item),
          answer: (member, item) => this.peers.tellForSure(member, item),
        },
        entropy: env.entropy,
        differ: (verdict) => this.verdicts.push(verdict),
        inQuarantine: (from, item) => this.heardOf.push({ from, item }),
        standsStill: (error) => this.standsStill(error),
      },
    });
    this.host.add(this.replica, incarnation);
  }
}

export class Cluster {
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly members: readonly ClusterMember[];

  constructor(seed: number, size = 3) {
    this.scheduler = new SimScheduler(seed);
    this.network = new SimNetwork(this.scheduler, seed);
    const members: ClusterMember[] = [];
    this.members = members;
    for (let id = 1; id <= size; id++) members.push(new ClusterMember(this, id));
    for (const member of members) member.start();
  }

  member(id: NodeId): ClusterMember {
    const member = this.members[id - 1];
    assert(member !== undefined, `there is a member ${id}`);
    return member;
  }

  pass(ms: number): void {
    this.scheduler.runUntil(this.scheduler.nowMs + ms);
  }

  /** The leader that the most members know; waits for one. */
  leader(): ClusterMember {
    for (let waitedMs = 0; waitedMs < 30_000; waitedMs += 50) {
      const leader = this.members.find(
        ({ id, isLeader }) =>
          isLeader &&
          2 * this.members.filter((of) => of.isUp && of.replica.raft.leader === id).length >
            this.members.length,
      );
      if (leader?.replica.raft.leadsForSure === true) return leader;
      this.pass(50);
    }
    throw new Error("there is no leader after 30 seconds");
  }

  follower(): ClusterMember {
    const leader = this.leader();
    const follower = this.members.find((member) => member.isUp && member !== leader);
    assert(follower !== undefined, "somebody follows");
    return follower;
  }

  /** Cuts these members off from the others, both ways, or joins them again. */
  isolate(ids: readonly NodeId[], isCut = true): void {
    for (const id of ids) {
      for (const { id: other } of this.members) {
        if (ids.includes(other)) continue;
        this.network.setWeather(url(id), url(other), { isCut });
        this.network.setWeather(url(other), url(id), { isCut });
      }
    }
  }

  breakLinks(a: NodeId, b: NodeId): void {
    if (a !== b) this.network.breakLinks(url(a), url(b));
  }
}
