/**
 * A cluster under a random schedule of everything that may go wrong, and the promises of Raft asserted after every
 * step. One seed gives one run. The judges know the paper's promises and the Ready contract, and nothing of the core's
 * code.
 */
import { assert, Random } from "../../base/index.ts";
import {
  type ConfChangeTransition,
  type ConfChangeType,
  type ConfState,
  describeConfState,
  describeEntry,
  describeMessage,
  type Entry,
  EntryType,
  isMemberOf,
  LEAVE_JOINT,
  type LogIndex,
  type Message,
  type NodeId,
  type Ready,
  type SnapshotMeta,
  type Term,
} from "../index.ts";
import { Quarantines } from "./chaos-quarantine.ts";
import { DEFAULT_OPTIONS, payloadOf, simpleConf, TestNode } from "./test-node.ts";

/** How likely each thing is in this run, in percent; drawn once, so that runs differ in kind (swarm testing). */
interface Weather {
  readonly loss: number;
  readonly duplication: number;
  readonly crashPerMille: number;
  readonly partitionPerMille: number;
  /** What a partition stops arrives after it; otherwise it is lost. */
  readonly holdsBack: boolean;
  readonly slowDisk: boolean;
  readonly changePerMille: number;
  /** Hand over, forget a leader, report a member as unreachable. */
  readonly orderPerMille: number;
  /** Leaders answer from leases, and clocks drift no more than that allows. */
  readonly leases: boolean;
  /** Replicas are set apart. A change could take the majority that is to heal them: then nobody makes any. */
  readonly quarantinePerMille: number;
}

interface Place {
  readonly term: Term;
  /** The term of the leader that committed it first. */
  readonly byTerm: Term;
  readonly content: string;
}

export interface ChaosSummary {
  readonly committed: number;
  readonly elections: number;
  readonly crashes: number;
  readonly reads: number;
  readonly changes: number;
  readonly snapshots: number;
  readonly healed: number;
}

const ELECTION_TICKS = 5;
/** No clock is ever more than a tick ahead of another, so this is as long as a lease can be. */
const LEASE_TICKS: number = ELECTION_TICKS - 2;
const NETWORK_MAX = 300;
const LOG_MAX = 150;
/** Nodes that know the founders and may be asked to join them. */
const SPARES = 2;

export class Chaos {
  readonly #random: Random;
  readonly #nodes: TestNode[] = [];
  readonly #weather: Weather;
  readonly #quarantines: Quarantines;
  #network: Message[] = [];
  #reports: { readonly from: NodeId; readonly to: NodeId; readonly hasArrived: boolean }[] = [];
  #cutOff: ReadonlySet<NodeId> = new Set();
  #proposals = 0;
  #contexts = 0;
  #crashes = 0;
  #readsAnswered = 0;
  #snapshots = 0;
  /** Reads that wait: what was committed when they came, by node and context. */
  readonly #reads: Map<string, LogIndex> = new Map();

  // What has ever been claimed anywhere. None of it may ever be contradicted.
  /** (index, term) names one entry and one predecessor: by induction, logs that agree there agree before (log matching). */
  readonly #entries: Map<string, string> = new Map();
  readonly #leaders: Map<Term, NodeId> = new Map();
  readonly #votes: Map<string, NodeId> = new Map();
  /** committed[i - 1] is what index i holds, for ever. */
  readonly #committed: Place[] = [];
  readonly #terms: Map<NodeId, Term> = new Map();
  /** The configuration from each index on at which it changed, as the first to apply that has it. */
  readonly #confs: Map<LogIndex, ConfState> = new Map();
  /** Of each node's clock, over all lives. */
  readonly #ticks: Map<NodeId, number> = new Map();

  constructor(seed: number, size: number) {
    const random = new Random(seed);
    this.#random = random;
    const weather: Weather = {
      loss: random.pick([0, 1, 5, 20]),
      duplication: random.pick([0, 5, 30]),
      crashPerMille: random.pick([0, 2, 8]),
      partitionPerMille: random.pick([0, 3, 10]),
      slowDisk: random.percent(50),
      holdsBack: random.percent(50),
      changePerMille: random.pick([0, 3, 15]),
      orderPerMille: random.pick([0, 2, 10]),
      leases: random.percent(30),
      quarantinePerMille: random.percent(25) ? random.pick([2, 8]) : 0,
    };
    this.#weather = weather.quarantinePerMille > 0 ? { ...weather, changePerMille: 0 } : weather;
    const preVote = random.percent(70);
    const checkQuorum = this.#weather.leases || random.percent(70);
    const maxInflightMessages = random.pick([1, 2, 16]);
    const maxEntriesBytesPerMessage = random.pick([0, 8, 1024]);
    const maxCommittedBytesPerReady = random.pick([0, 12, 1024]);
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    this.#confs.set(0, simpleConf(voters));
    for (let id = 1; id <= size + SPARES; id++) {
      this.#nodes.push(
        new TestNode({
          ...DEFAULT_OPTIONS,
          id,
          confState: simpleConf(voters),
          seed: seed * 10 + id,
          electionTicks: ELECTION_TICKS,
          preVote,
          checkQuorum,
          leaseTicks: this.#weather.leases ? LEASE_TICKS : 0,
          maxInflightMessages,
          maxEntriesBytesPerMessage,
          maxCommittedBytesPerReady,
          maxUncommittedBytes: 64,
        }),
      );
    }
    this.#quarantines = new Quarantines(this.#nodes, size, (node) => this.#read(node));
    for (const node of this.#nodes) {
      node.refuses = (entry): boolean => entry.index % 9 === 0;
      node.start();
    }
  }

  /** Runs `steps` random steps, then heals everything and sees that the cluster works. */
  run(steps: number): ChaosSummary {
    for (let step = 0; step < steps; step++) this.#step();
    this.#heal();
    return {
      committed: this.#committed.length,
      elections: this.#leaders.size,
      crashes: this.#crashes,
      reads: this.#readsAnswered,
      changes: this.#confs.size - 1,
      snapshots: this.#snapshots,
      healed: this.#quarantines.healed,
    };
  }

  #step(): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    if (random.below(1000) < this.#weather.partitionPerMille) this.#repartition();
    const { quarantinePerMille } = this.#weather;
    if (!node.running) {
      if (random.below(100) < quarantinePerMille) this.#quarantines.lose(node);
      if (random.percent(20)) this.#restart(node);
      return;
    }
    if (random.below(1000) < quarantinePerMille) this.#quarantines.enter(node);
    if (node.node.isQuarantined && random.percent(15)) this.#quarantines.tend(node);
    if (random.below(1000) < this.#weather.crashPerMille) {
      this.#crash(node);
      return;
    }
    if (random.percent(5)) this.#report();
    if (random.below(1000) < this.#weather.changePerMille) this.#change();
    if (random.below(1000) < this.#weather.orderPerMille) this.#order(node);
    const kind = random.below(100);
    if (kind < 12) this.#tick(node);
    else if (kind < 55) this.#deliver();
    else if (kind < 75) this.#ready(node);
    else if (kind < 88) this.#persist(node);
    else if (kind < 94) this.#propose(node);
    else if (kind < 97) this.#read(node);
    else if (kind < 99) node.advance();
    else this.#checkpoint(node);
    if (node.running) this.#judge(node);
  }

  // ---- what happens ----

  #tick(node: TestNode): void {
    const ticking = this.#weather.leases ? this.#slowest() : node;
    this.#ticks.set(ticking.id, (this.#ticks.get(ticking.id) ?? 0) + 1);
    ticking.node.tick();
    if (ticking !== node) this.#judge(ticking);
  }

  /** Any of those whose clock is behind; time passes for who is down, too. */
  #slowest(): TestNode {
    const ticksOf = ({ id }: TestNode): number => this.#ticks.get(id) ?? 0;
    const least = Math.min(...this.#nodes.map(ticksOf));
    const behind = this.#nodes.filter((node) => ticksOf(node) === least);
    const running = behind.filter((node) => node.running);
    if (running.length > 0) return this.#random.pick(running);
    for (const { id } of behind) this.#ticks.set(id, least + 1);
    return this.#slowest();
  }

  #deliver(): void {
    const random = this.#random;
    if (this.#network.length === 0) return;
    // Mostly the oldest: a network that only reorders gets nothing done.
    const from = random.percent(70) ? 0 : random.below(this.#network.length);
    const at = this.#weather.holdsBack ? this.#firstThatArrives(from) : from;
    const message = this.#network[at];
    if (message === undefined) return;
    if (!random.percent(this.#weather.duplication)) this.#network.splice(at, 1);
    const target = this.#nodes[message.to - 1] as TestNode;
    const isLost =
      random.percent(this.#weather.loss) || this.#isStopped(message) || !target.running;
    if (!isLost) {
      target.node.step(message);
      this.#judge(target);
    }
    this.#noteEnd(message, !isLost);
  }

  /** The sender's host will say what became of a snapshot, before or after the member answers. */
  #noteEnd({ type, from, to }: Message, hasArrived: boolean): void {
    if (type === "snapshot") this.#reports.push({ from, to, hasArrived });
  }

  #report(): void {
    const report = this.#reports.shift();
    if (report === undefined) return;
    const sender = this.#nodes[report.from - 1] as TestNode;
    if (!sender.running) return;
    sender.node.reportSnapshot(report.to, report.hasArrived);
    this.#judge(sender);
  }

  #isStopped({ from, to }: Message): boolean {
    return this.#cutOff.has(from) !== this.#cutOff.has(to);
  }

  /** The place of the first message from `start` on that no partition stops. */
  #firstThatArrives(start: number): number {
    let at = start;
    while (at < this.#network.length && this.#isStopped(this.#network[at] as Message)) at++;
    return at;
  }

  #ready(node: TestNode): void {
    if (!node.node.hasReady()) return;
    const ready = node.takeReady();
    this.#judgeReady(node, ready);
    this.#judge(node);
    this.#send(node, ready.messages);
    if (this.#random.percent(50)) node.advance();
    if (!this.#weather.slowDisk) this.#persist(node);
  }

  #persist(node: TestNode): void {
    if (node.inFlight.length === 0) return;
    const count = this.#random.between(1, node.inFlight.length);
    this.#send(node, node.persist(count));
    this.#judge(node);
  }

  /** Somebody who leads, or thinks so, changes who takes part. */
  #change(): void {
    const random = this.#random;
    const leaders = this.#nodes.filter((node) => node.running && node.node.role === "leader");
    if (leaders.length === 0) return;
    const leader = random.pick(leaders);
    const { votersOutgoing } = leader.node.confState;
    const types: readonly ConfChangeType[] = ["addNode", "addNode", "addLearnerNode", "removeNode"];
    const transitions: readonly ConfChangeTransition[] = ["auto", "jointImplicit", "jointExplicit"];
    const changes = Array.from({ length: random.pick([1, 1, 2, 3]) }, () => ({
      type: random.pick(types),
      nodeId: random.pick(this.#nodes).id,
    }));
    const transition = random.pick(transitions);
    leader.node.proposeConfChange(
      votersOutgoing.length > 0 ? LEAVE_JOINT : { transition, changes, context: new Uint8Array(1) },
    );
    this.#judge(leader);
  }

  #order(node: TestNode): void {
    const id = this.#random.pick(this.#nodes).id;
    const kind = this.#random.below(3);
    if (kind === 0) node.node.transferLeader(id);
    else if (kind === 1 && node.node.status().leader === id) node.node.leaderGone(id);
    else if (kind === 1) node.node.forgetLeader();
    else node.node.reportUnreachable(id);
    this.#judge(node);
  }

  #propose(node: TestNode): void {
    if (node.node.status().lastIndex >= LOG_MAX) return;
    const id = ++this.#proposals;
    node.node.propose(new Uint8Array([id >> 8, id & 255, node.id, 0]));
  }

  /** What names the question; null: nobody is there to be asked. */
  #read(node: TestNode): number | null {
    const context = ++this.#contexts;
    if (!node.node.readIndex(context)) return null;
    this.#reads.set(`${node.id}:${context}`, this.#committed.length);
    return context;
  }

  #checkpoint(node: TestNode): void {
    node.takeCheckpoint();
    // Who needs what is gone gets a snapshot.
    if (this.#random.percent(60)) node.disk.compact(node.checkpoint);
  }

  #crash(node: TestNode): void {
    const random = this.#random;
    const written = random.below(node.inFlight.length + 1);
    const entries = random.percent(30) ? random.below(3) : 0;
    node.crash(written, entries, random.percent(30));
    this.#terms.set(node.id, node.hardState.term);
    this.#crashes++;
  }

  #restart(node: TestNode): void {
    this.#quarantines.starts(node);
    node.start();
    this.#judge(node);
  }

  #repartition(): void {
    const size = this.#random.below(this.#nodes.length);
    this.#cutOff = new Set(Array.from({ length: size }, () => this.#random.pick(this.#nodes).id));
  }

  #send(node: TestNode, messages: readonly Message[]): void {
    for (const message of messages) this.#judgeMessage(node, message);
    this.#network.push(...messages);
    const tooMany = Math.max(0, this.#network.length - NETWORK_MAX);
    for (const message of this.#network.splice(0, tooMany)) this.#noteEnd(message, false);
  }

  /** Everything works again. Within bounded time there is a leader, a new entry commits, and everybody applies it. */
  #heal(): void {
    this.#cutOff = new Set();
    for (const node of this.#nodes) if (!node.running) this.#restart(node);
    let wanted = 0;
    for (let round = 0; round < 400; round++) {
      for (const node of this.#nodes) {
        // An operator stops who was removed: a node that does not know it may campaign for ever.
        if (isMemberOf(this.#newestConf(), node.id)) node.node.tick();
        node.advance();
        this.#quarantines.tend(node);
        const { progress } = node.node.status();
        if (progress.some(({ needsSnapshot }) => needsSnapshot)) node.takeCheckpoint();
        for (let readys = 0; node.node.hasReady(); readys++) {
          assert(readys < 1000, "a node without input comes to rest");
          const ready = node.takeReady();
          this.#judgeReady(node, ready);
          this.#send(node, ready.messages);
          node.advance();
          this.#judge(node);
        }
        this.#send(node, node.persist(node.inFlight.length));
        this.#judge(node);
      }
      for (const message of this.#network.splice(0)) {
        const target = this.#nodes[message.to - 1] as TestNode;
        target.node.step(message);
        this.#judge(target);
        this.#noteEnd(message, true);
      }
      while (this.#reports.length > 0) this.#report();
      if (wanted === 0 && round > 50) {
        for (const node of this.#nodes) {
          const result = node.node.propose(new Uint8Array([255]));
          if (result.ok) wanted = result.index;
        }
      }
      const conf = this.#newestConf();
      const members = this.#nodes.filter(({ id }) => isMemberOf(conf, id));
      const isApplied = members.every((node) => node.applied.length >= wanted);
      if (wanted > 0 && !conf.autoLeave && isApplied && this.#quarantines.isEmpty) return;
    }
    assert(
      false,
      `a healed cluster makes progress\n${this.#nodes.map((n) => JSON.stringify(n.node.status())).join("\n")}`,
    );
  }

  /** What is in force where most is applied. */
  #newestConf(): ConfState {
    let newest = this.#nodes[0] as TestNode;
    for (const node of this.#nodes) if (node.applied.length > newest.applied.length) newest = node;
    return newest.confState;
  }

  // ---- the judges ----

  /** After every input of a node. */
  #judge(node: TestNode): void {
    node.node.invariants();
    const status = node.node.status();
    const { term, commit } = status.hardState;
    assert(
      term >= (this.#terms.get(node.id) ?? 0),
      "a term falls only to what was durable in a crash",
    );
    this.#terms.set(node.id, term);
    if (status.role === "leader") {
      const known = this.#leaders.get(term);
      assert(known === undefined || known === node.id, `one leader in term ${term}`);
      if (known === undefined) {
        this.#leaders.set(term, node.id);
        this.#judgeCompleteness(node);
      }
      if (commit > this.#committed.length) this.#judgeCommit(node, commit, term);
    }
    assert(
      commit <= this.#committed.length,
      `node ${node.id} commits what no leader has committed`,
    );
  }

  /** Leader completeness: a leader has every entry that one of an earlier term has committed, also if elected late. */
  #judgeCompleteness(node: TestNode): void {
    const view = node.view();
    const first = node.viewFirst();
    const { term } = node.node;
    for (let index = first; index <= this.#committed.length; index++) {
      const entry = view[index - first];
      const place = this.#committed[index - 1] as Place;
      if (place.byTerm >= term) break;
      assert(
        entry !== undefined && content(entry) === place.content,
        `leader ${node.id} lacks the committed entry ${place.content}`,
      );
    }
  }

  /** What a leader newly commits is of its term at the end, and durable at a majority of each half at this moment. */
  #judgeCommit(node: TestNode, commit: LogIndex, term: Term): void {
    const view = node.view();
    const first = node.viewFirst();
    const { voters, votersOutgoing } = node.confState;
    for (let index = this.#committed.length + 1; index <= commit; index++) {
      const entry = view[index - first];
      assert(entry !== undefined, "a leader commits what a Ready has carried");
      const holders = this.#nodes.filter(
        (one) => one.disk.term(index) === entry.term || this.#quarantines.hasLost(one),
      );
      for (const half of [voters, votersOutgoing]) {
        const copies = holders.filter(({ id }) => half.includes(id)).length;
        assert(
          half.length === 0 || copies > half.length / 2,
          `${describeEntry(entry)} is committed with ${copies} durable copies among ${half.join(" ")}`,
        );
      }
      assert(
        index < commit || entry.term === term,
        "only an entry of its own term is committed by counting",
      );
      this.#committed.push({ term: entry.term, byTerm: term, content: content(entry) });
    }
  }

  #judgeReady(node: TestNode, ready: Ready): void {
    const { commit } = node.node.status().hardState;
    if (ready.snapshot !== undefined) this.#judgeSnapshot(node, ready.snapshot);
    for (const entry of ready.entries) {
      const before = node.viewTerm(entry.index - 1);
      const name = `${entry.index}/${entry.term}`;
      const claim = `${content(entry)} after ${before}`;
      const known = this.#entries.get(name);
      assert(
        known === undefined || known === claim,
        `logs match: ${name} is ${claim} and ${known}`,
      );
      this.#entries.set(name, claim);
      if (entry.index <= commit) {
        assert(
          this.#committed[entry.index - 1]?.content === content(entry),
          `node ${node.id} holds ${describeEntry(entry)} as committed`,
        );
      }
    }
    for (const entry of ready.committedEntries) {
      assert(
        this.#committed[entry.index - 1]?.content === content(entry),
        `state machine safety: node ${node.id} applies ${describeEntry(entry)}`,
      );
      assert(node.disk.term(entry.index) === entry.term, "only what is durable here is applied");
      const conf = node.confAfter.get(entry.index);
      if (conf !== undefined) this.#judgeConf(node, entry.index, conf);
    }
    assert(ready.mustSync || ready.snapshot === undefined, "a snapshot is synced");
    assert(
      ready.mustSync || ready.messagesAfterPersist.every((m) => m.type !== "vote"),
      "a candidate's own vote is synced",
    );
    for (const { context, index } of ready.readStates) {
      const key = `${node.id}:${context}`;
      const least = this.#reads.get(key);
      assert(least !== undefined, "a read is answered once");
      assert(index >= least, `a read sees ${index} although ${least} was committed before it came`);
      this.#reads.delete(key);
      this.#readsAnswered++;
      this.#quarantines.answered(node, context, index);
    }
  }

  /** A snapshot is of what is committed, whole, with the configuration of that place. */
  #judgeSnapshot(node: TestNode, snapshot: SnapshotMeta): void {
    this.#snapshots++;
    const { index, term, confState } = snapshot;
    assert(this.#committed[index - 1]?.term === term, `node ${node.id} installs what is committed`);
    payloadOf(snapshot).forEach((entry, i) => {
      assert(
        this.#committed[i]?.content === content(entry),
        `node ${node.id} installs ${describeEntry(entry)}`,
      );
    });
    let at = index;
    while (!this.#confs.has(at)) at--;
    this.#judgeConf(node, at, confState);
  }

  /** All replicas are in the same configuration where they have applied the same. */
  #judgeConf(node: TestNode, index: LogIndex, conf: ConfState): void {
    const known = this.#confs.get(index);
    const now = describeConfState(conf);
    assert(
      known === undefined || describeConfState(known) === now,
      `node ${node.id} is in ${now} after ${index}`,
    );
    this.#confs.set(index, conf);
  }

  /**
   * In quarantine a life asks how far all is committed, hands on what its host orders, tells who is behind its term, and
   * says nothing else. The ledger of
   * votes: as a vote leaves its node, it is durable there and the only one of its term, over all lives.
   */
  #judgeMessage(node: TestNode, message: Message): void {
    const isOfThisLife = message.incarnation === node.incarnation;
    // That its term is a later one is no promise either: it makes a leader step down that it could not hear otherwise.
    const isOfTermAlone =
      message.type === "appendResponse" && message.reject && message.index === 0;
    const isNoPromise =
      isOfTermAlone || message.type === "readIndex" || message.type === "transferLeader";
    assert(
      !node.node.isQuarantined || !isOfThisLife || isNoPromise,
      `who is in quarantine promises nothing: ${describeMessage(message)}`,
    );
    const candidate =
      message.type === "vote"
        ? message.from
        : message.type === "voteResponse" && !message.reject
          ? message.to
          : 0;
    if (candidate === 0) return;
    const { term, vote } = node.hardState;
    assert(
      term > message.term || (term === message.term && vote === candidate),
      `a vote leaves before it is durable: ${describeMessage(message)}`,
    );
    const key = `${node.id}@${message.term}`;
    const known = this.#votes.get(key);
    assert(
      known === undefined || known === candidate,
      `node ${node.id} votes twice in term ${message.term}`,
    );
    this.#votes.set(key, candidate);
  }
}

function content(entry: Entry): string {
  return `${entry.term}:${entry.type === EntryType.empty ? "empty" : entry.data.join(".")}`;
}
