/**
 * A cluster under a random schedule of everything that may go wrong, and the promises of Raft asserted after every
 * step. One seed gives one run. The judges know the paper's promises and the Ready contract, and nothing of the core's
 * code.
 */
import { assert, Random } from "../../base/index.ts";
import {
  describeEntry,
  describeMessage,
  type Entry,
  EntryType,
  type LogIndex,
  type Message,
  type NodeId,
  type Ready,
  type Term,
} from "../index.ts";
import { DEFAULT_OPTIONS, simpleConf, TestNode } from "./test-node.ts";

/** How likely each thing is in this run, in percent; drawn once, so that runs differ in kind (swarm testing). */
interface Weather {
  readonly loss: number;
  readonly duplication: number;
  readonly crashPerMille: number;
  readonly partitionPerMille: number;
  /** What a partition stops arrives after it; otherwise it is lost. */
  readonly holdsBack: boolean;
  readonly slowDisk: boolean;
}

interface Place {
  readonly term: Term;
  readonly content: string;
}

export interface ChaosSummary {
  readonly committed: number;
  readonly elections: number;
  readonly crashes: number;
  readonly reads: number;
}

const NETWORK_MAX = 300;
const LOG_MAX = 150;

export class Chaos {
  readonly #random: Random;
  readonly #nodes: TestNode[] = [];
  readonly #weather: Weather;
  #network: Message[] = [];
  #cutOff: ReadonlySet<NodeId> = new Set();
  #proposals = 0;
  #contexts = 0;
  #crashes = 0;
  #readsAnswered = 0;
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

  constructor(seed: number, size: number) {
    const random = new Random(seed);
    this.#random = random;
    this.#weather = {
      loss: random.pick([0, 1, 5, 20]),
      duplication: random.pick([0, 5, 30]),
      crashPerMille: random.pick([0, 2, 8]),
      partitionPerMille: random.pick([0, 3, 10]),
      slowDisk: random.percent(50),
      holdsBack: random.percent(50),
    };
    const preVote = random.percent(70);
    const checkQuorum = random.percent(70);
    const maxInflightMessages = random.pick([1, 2, 16]);
    const maxEntriesBytesPerMessage = random.pick([0, 8, 1024]);
    const maxCommittedBytesPerReady = random.pick([0, 12, 1024]);
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    for (const id of voters) {
      this.#nodes.push(
        new TestNode({
          ...DEFAULT_OPTIONS,
          id,
          confState: simpleConf(voters),
          seed: seed * 10 + id,
          electionTicks: 5,
          preVote,
          checkQuorum,
          maxInflightMessages,
          maxEntriesBytesPerMessage,
          maxCommittedBytesPerReady,
          maxUncommittedBytes: 64,
        }),
      );
    }
    for (const node of this.#nodes) node.start();
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
    };
  }

  #step(): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    if (random.below(1000) < this.#weather.partitionPerMille) this.#repartition();
    if (!node.running) {
      if (random.percent(20)) this.#restart(node);
      return;
    }
    if (random.below(1000) < this.#weather.crashPerMille) {
      this.#crash(node);
      return;
    }
    const kind = random.below(100);
    if (kind < 12) node.node.tick();
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

  #deliver(): void {
    const random = this.#random;
    if (this.#network.length === 0) return;
    // Mostly the oldest: a network that only reorders gets nothing done.
    const from = random.percent(70) ? 0 : random.below(this.#network.length);
    const at = this.#weather.holdsBack ? this.#firstThatArrives(from) : from;
    const message = this.#network[at];
    if (message === undefined) return;
    if (!random.percent(this.#weather.duplication)) this.#network.splice(at, 1);
    if (random.percent(this.#weather.loss) || this.#isStopped(message)) return;
    const target = this.#nodes[message.to - 1] as TestNode;
    if (!target.running) return;
    target.node.step(message);
    this.#judge(target);
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
    this.#send(node, ready.messages);
    if (this.#random.percent(50)) node.advance();
    if (!this.#weather.slowDisk) this.#persist(node);
  }

  #persist(node: TestNode): void {
    if (node.inFlight.length === 0) return;
    const count = this.#random.between(1, node.inFlight.length);
    this.#send(node, node.persist(count));
  }

  #propose(node: TestNode): void {
    if (node.node.status().lastIndex >= LOG_MAX) return;
    const id = ++this.#proposals;
    node.node.propose(new Uint8Array([id >> 8, id & 255, node.id, 0]));
  }

  #read(node: TestNode): void {
    const context = ++this.#contexts;
    if (node.node.readIndex(context)) {
      this.#reads.set(`${node.id}:${context}`, this.#committed.length);
    }
  }

  #checkpoint(node: TestNode): void {
    node.checkpoint = node.applied.length;
    // There are no snapshots over the wire: what anybody may still need stays.
    node.disk.compact(Math.min(...this.#nodes.map((other) => other.checkpoint)));
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
    if (this.#network.length > NETWORK_MAX) {
      this.#network.splice(0, this.#network.length - NETWORK_MAX);
    }
  }

  /** Everything works again. Within bounded time there is a leader, a new entry commits, and everybody applies it. */
  #heal(): void {
    this.#cutOff = new Set();
    for (const node of this.#nodes) if (!node.running) this.#restart(node);
    let wanted = 0;
    for (let round = 0; round < 400; round++) {
      for (const node of this.#nodes) {
        node.node.tick();
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
      }
      if (wanted === 0 && round > 50) {
        for (const node of this.#nodes) {
          const result = node.node.propose(new Uint8Array([255]));
          if (result.ok) wanted = result.index;
        }
      }
      if (wanted > 0 && this.#nodes.every((node) => node.applied.length >= wanted)) return;
    }
    assert(
      false,
      `a healed cluster makes progress: ${this.#nodes.map((n) => JSON.stringify(n.node.status())).join("\n")}`,
    );
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

  /** Leader completeness: a new leader has every entry that was ever committed. */
  #judgeCompleteness(node: TestNode): void {
    const view = node.view();
    const first = node.disk.firstIndex();
    for (let index = first; index <= this.#committed.length; index++) {
      const entry = view[index - first];
      const place = this.#committed[index - 1] as Place;
      assert(
        entry !== undefined && content(entry) === place.content,
        `leader ${node.id} lacks the committed entry ${place.content}`,
      );
    }
  }

  /** What a leader newly commits is of its term at the end, and durable at a majority at this moment. */
  #judgeCommit(node: TestNode, commit: LogIndex, term: Term): void {
    const view = node.view();
    const first = node.disk.firstIndex();
    for (let index = this.#committed.length + 1; index <= commit; index++) {
      const entry = view[index - first];
      assert(entry !== undefined, "a leader commits what a Ready has carried");
      const copies = this.#nodes.filter(({ disk }) => disk.term(index) === entry.term).length;
      assert(
        copies > this.#nodes.length / 2,
        `${describeEntry(entry)} is committed with ${copies} durable copies`,
      );
      assert(
        index < commit || entry.term === term,
        "only an entry of its own term is committed by counting",
      );
      this.#committed.push({ term: entry.term, content: content(entry) });
    }
  }

  #judgeReady(node: TestNode, ready: Ready): void {
    const view = node.view();
    const first = node.disk.firstIndex();
    const { commit } = node.node.status().hardState;
    for (const entry of ready.entries) {
      const before = view[entry.index - first - 1]?.term ?? node.disk.term(entry.index - 1);
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
    }
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
    }
  }

  /** The ledger of votes: as a vote leaves its node, it is durable there and the only one of its term, over all lives. */
  #judgeMessage(node: TestNode, message: Message): void {
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
