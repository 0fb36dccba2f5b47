/**
 * A cluster: nodes with the shipped log, vote file, Raft and Ready loop, each on a simulated disk of its own, joined by
 * a simulated network. Raft's promises are checked after every event by an oracle that stands outside of the nodes,
 * and against the bytes that are durable on their disks; what clients saw is checked for linearizability; at the end
 * everything is healed and must work.
 */
import { hash32 } from "../src/base/index.ts";
import { SimScheduler } from "../src/env/sim/index.ts";
import type { LogIndex, Message } from "../src/raft/index.ts";
import { Clients, type ClientSurroundings } from "./cluster-clients.ts";
import { CLUSTER_MARKS, type ClusterMark } from "./cluster-marks.ts";
import { encodeOp } from "./cluster-machine.ts";
import {
  ClusterNode,
  type End,
  type GroupReplica,
  type Recovered,
  type Surroundings,
} from "./cluster-node.ts";
import { type ClusterOptions, drawClusterOptions, isCalm } from "./cluster-options.ts";
import { GroupOracle } from "./cluster-oracle.ts";
import { type ClusterStep, type Sight, StepSource } from "./cluster-steps.ts";
import type { Marks } from "./marks.ts";
import { FAIR_WEATHER, Network } from "./network.ts";
import type { Play, World } from "./play.ts";
import type { Trace } from "./trace.ts";
import { check } from "./violation.ts";

/** So many first commits of a run are looked up on the disks, and then one of so many. */
const COMMITS_LOOKED_UP = 2;
const COMMITS_PER_LOOK = 40;
const PROMISES_PER_LOOK = 150;
/** Election timeouts within which a healed cluster has to have a leader, or to commit, or to have caught up. */
const HEALING_TIMEOUTS = 60;

interface Packet {
  readonly message: Message;
  readonly senderLife: number;
  readonly receiverLife: number;
}

export const CLUSTER_WORLD: World<ClusterOptions, ClusterStep> = {
  name: "cluster",
  drawOptions: drawClusterOptions,
  begin: (seed, options, trace, marks) => new Cluster(seed, options, trace, marks),
  simplerOptions,
};

class Cluster implements Play<ClusterStep>, Surroundings, ClientSurroundings, Sight {
  readonly options: ClusterOptions;
  readonly scheduler: SimScheduler;
  readonly oracles: readonly GroupOracle[];
  readonly #seed: number;
  readonly #trace: Trace;
  readonly #marks: Marks;
  readonly #source: StepSource;
  readonly #network: Network<Packet>;
  readonly #nodes: ClusterNode[] = [];
  readonly #clients: Clients;
  #thrown: unknown = null;
  /** Processes that ended in the event that runs. */
  #dying: ClusterNode[] = [];
  #stepsDone = 0;
  #cycles = 0;
  #looks = 0;
  #promises = 0;
  #isCut = false;
  /** To whom each group's lead is being handed, until somebody is elected. */
  readonly #successors = new Map<number, number>();
  /** After the first step of a calm run; null where a shrunk one begins otherwise. */
  #electionsBefore: number | null = null;
  #healing: { readonly group: number; done: boolean }[] = [];

  constructor(seed: number, options: ClusterOptions, trace: Trace, marks: Marks) {
    this.#seed = seed;
    this.options = options;
    this.#trace = trace;
    this.#marks = marks;
    this.scheduler = new SimScheduler(hash32(seed, 1));
    this.oracles = Array.from(
      { length: options.groups },
      (_, group) => new GroupOracle(group, options.nodes, marks),
    );
    this.#source = new StepSource(seed, options);
    this.#network = new Network<Packet>(
      this.scheduler,
      hash32(seed, 2),
      options.nodes,
      (from, to, packet) => this.#deliver(from, to, packet),
    );
    this.#clients = new Clients(this, options.groups);
    for (let id = 1; id <= options.nodes; id++)
      this.#nodes.push(new ClusterNode(this, id, hash32(seed, 100, id)));
    for (const node of this.#nodes) node.create();
    for (const node of this.#nodes) node.start();
  }

  get cycles(): number {
    return this.#cycles;
  }

  get commands(): number {
    return this.#clients.acknowledged;
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  // ---- what the drawing sees ----

  get stepsDone(): number {
    return this.#stepsDone;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  isBusy(client: number): boolean {
    return this.#clients.isBusy(client);
  }

  isDown(node: number): boolean {
    return this.node(node).state === "down";
  }

  leader(group: number): number {
    let leader = 0;
    let term = 0;
    for (const { id, groups } of this.#nodes) {
      const replica = groups[group];
      if (replica?.isLeader === true && replica.term > term) {
        leader = id;
        term = replica.term;
      }
    }
    return leader;
  }

  believers(group: number): readonly number[] {
    return this.#nodes.filter(({ groups }) => groups[group]?.isLeader === true).map(({ id }) => id);
  }

  seen(group: number, key: number): number {
    return this.#clients.seen(group, key);
  }

  // ---- steps ----

  draw(): ClusterStep | null {
    return this.#source.next(this);
  }

  perform(step: ClusterStep): void {
    this.#stepsDone++;
    this.note(`step ${step.do}`, this.#stepsDone, step);
    this.#do(step);
    this.#settle();
    this.#run(step.ms);
    if (this.#stepsDone === 1 && step.do === "run" && this.#isCalm())
      this.#electionsBefore = this.#elections;
  }

  /** Nothing goes wrong, the disks are fast enough for the election timeout, and somebody leads every group. */
  #isCalm(): boolean {
    const { faults, electionTicks, tickMs, diskLatencyMs } = this.options;
    return (
      isCalm(faults) &&
      electionTicks * tickMs >= 8 * diskLatencyMs[1] &&
      this.oracles.every(({ group }) => this.leader(group) !== 0)
    );
  }

  get #elections(): number {
    let sum = 0;
    for (const { elections } of this.oracles) sum += elections;
    return sum;
  }

  #do(step: ClusterStep): void {
    switch (step.do) {
      case "run":
        return;
      case "request": {
        const { group, node, kind } = step.request;
        if (kind === "read" && this.leader(group) !== node && this.believers(group).includes(node))
          this.mark(CLUSTER_MARKS.twoLeaders);
        this.#clients.send(step.request);
        return;
      }
      case "crash":
        this.#end(this.node(step.node), step.end);
        return;
      case "crashSoon":
        this.node(step.node).crashSoon(step.operations, step.moment, step.end);
        return;
      case "outage":
        for (const [i, node] of this.#nodes.entries()) this.#end(node, step.ends[i] as End);
        for (const node of this.#nodes) node.noteOutage();
        return;
      case "start":
        this.node(step.node).start();
        return;
      case "weather":
        if (step.ways === null) this.#network.setWeatherEverywhere(step.weather);
        else for (const [from, to] of step.ways) this.#network.setWeather(from, to, step.weather);
        return;
      case "cut":
        this.#isCut = true;
        for (const [from, to] of step.ways) {
          const before = this.#network.weather(from, to);
          const isCutAtSender = step.atSender === true;
          this.#network.setWeather(from, to, { ...before, isCut: true, isCutAtSender });
        }
        return;
      case "mend":
        this.#mend();
        return;
      case "pause":
        this.#pause(this.node(step.node), step.forMs);
        return;
      case "skew":
        this.node(step.node).machine.wallSkewMs = step.skewMs;
        return;
      case "slowDisk": {
        const { operation, delayMs, times } = step;
        const node = this.node(step.node);
        node.inject(node.machine.disk.inject({ operation, delayMs, times }));
        return;
      }
      case "failWrite": {
        const { operation, skip } = step;
        const node = this.node(step.node);
        const pattern = step.path === "log" ? /\/wal\/|\/next\.wal$/ : /\/VOTE$/;
        node.inject(
          node.machine.disk.inject({
            operation,
            path: (path) => pattern.test(path),
            error: "EIO",
            skip,
          }),
        );
        return;
      }
      case "campaign": {
        const { group } = step;
        this.node(step.node).input((host) => {
          this.node(step.node).groups[group]?.raft?.campaign();
          host.wake();
        });
        return;
      }
      case "order": {
        const { group, order, member } = step;
        this.node(step.node).input((host) => {
          const raft = this.node(step.node).groups[group]?.raft;
          if (order === "forget" && raft?.leader === member) raft.leaderGone(member);
          else if (order === "forget") raft?.forgetLeader();
          else if (order === "unreachable") raft?.reportUnreachable(member);
          else if (raft?.transferLeader(member) === "started") this.#successors.set(group, member);
          host.wake();
        });
        return;
      }
      case "heal":
        this.#heal();
        return;
    }
  }

  #mend(): void {
    this.#isCut = false;
    for (const { id: from } of this.#nodes)
      for (const { id: to } of this.#nodes)
        if (from !== to)
          this.#network.setWeather(from, to, { ...this.#network.weather(from, to), isCut: false });
  }

  #pause(node: ClusterNode, forMs: number): void {
    node.pause();
    const { life } = node;
    this.after(forMs, () => {
      if (node.life === life) node.resume();
    });
  }

  #end(node: ClusterNode, end: End): void {
    if (node.state === "down") return;
    node.crash(end);
    this.#clients.disconnect(node);
  }

  // ---- time ----

  #run(ms: number): void {
    let isOver = false;
    this.scheduler.at(this.nowMs + ms, () => {
      isOver = true;
    });
    while (!isOver) {
      this.scheduler.step();
      this.#settle();
    }
  }

  /** After every event. */
  #settle(): void {
    if (this.#thrown !== null) throw this.#thrown as Error;
    if (this.#dying.length === 0) return;
    for (const node of this.#dying.splice(0)) {
      if (node.state !== "down") node.crash();
      this.#clients.disconnect(node);
    }
  }

  #runUntil(rule: string, isThere: () => boolean, detail: () => string): void {
    const { electionTicks, tickMs } = this.options;
    const sliceMs = tickMs;
    const limitMs = this.nowMs + 2 * electionTicks * tickMs * HEALING_TIMEOUTS;
    while (!isThere()) {
      check(this.nowMs < limitMs, rule, detail);
      this.#run(sliceMs);
      // A write that failed before may end a node only now.
      for (const node of this.#nodes) if (node.state === "down") node.start();
    }
  }

  // ---- the network ----

  #deliver(from: number, to: number, packet: Packet): void {
    const receiver = this.node(to);
    if (receiver.state !== "up") return;
    const { message, senderLife, receiverLife } = packet;
    if (senderLife !== this.node(from).life) this.mark(CLUSTER_MARKS.senderDead);
    if (receiverLife !== receiver.life) this.mark(CLUSTER_MARKS.laterLife);
    this.note(`n${to} hears ${message.type}`, from, message);
    receiver.input((host) => host.receive(message));
  }

  // ---- what nodes tell ----

  send(from: ClusterNode, message: Message): void {
    const receiver = this.node(message.to);
    const entries = message.type === "append" ? message.entries : [];
    let sizeBytes = 64;
    for (const { data } of entries) sizeBytes += 24 + data.length;
    const { type } = message;
    // What leaves is bytes: nothing that either side does with its own touches the other's.
    const wired =
      type === "append"
        ? { ...message, entries: entries.map((entry) => ({ ...entry, data: entry.data.slice() })) }
        : message;
    this.#network.send(
      from.id,
      message.to,
      { message: wired, senderLife: from.life, receiverLife: receiver.life },
      sizeBytes,
    );
  }

  note(what: string, number: number, detail: unknown = null): void {
    this.#trace.event(this.nowMs, what, number, detail);
  }

  mark(name: ClusterMark): void {
    this.#marks.hit(name);
  }

  died(node: ClusterNode): void {
    this.#dying.push(node);
  }

  failed(error: unknown): void {
    this.#thrown ??= error;
  }

  guarded(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.failed(error);
    }
  }

  after(delayMs: number, fire: () => void): void {
    this.scheduler.after(delayMs, fire);
  }

  node(id: number): ClusterNode {
    return this.#nodes[id - 1] as ClusterNode;
  }

  opened(node: ClusterNode): void {
    if (node.life > 1) this.#cycles++;
  }

  elected(node: ClusterNode, group: GroupReplica): void {
    if (this.#successors.get(group.group) === node.id) this.mark(CLUSTER_MARKS.handedOver);
    this.#successors.delete(group.group);
    this.note(`node ${node.id} leads`, group.term, { group: group.group });
    if (this.#nodes.some((other) => other.isPaused)) this.mark(CLUSTER_MARKS.pausedElection);
  }

  deposed(node: ClusterNode, group: GroupReplica): void {
    this.note(`node ${node.id} leads no more`, group.term, { group: group.group });
    if (this.#clients.writesAt(node, group.group) > 0) this.mark(CLUSTER_MARKS.deposed);
  }

  /** Committed means durable in a quorum's disk bytes. */
  committed(node: ClusterNode, group: GroupReplica, first: LogIndex): void {
    const oracle = this.oracles[group.group] as GroupOracle;
    const last = oracle.commit;
    this.note(`node ${node.id} commits`, last, { group: group.group, first });
    if (!this.#isLook(this.#looks++, COMMITS_LOOKED_UP, COMMITS_PER_LOOK)) return;
    let copies = 0;
    for (const other of this.#nodes) {
      const { view } = this.#durable(other)[group.group] as Recovered;
      if (view.chain(last) === oracle.chain(last)) copies++;
    }
    check(
      copies > this.options.nodes / 2,
      "what is committed is durable on a quorum's disks",
      () => `group ${group.group}: ${last} has ${copies} durable copies`,
    );
  }

  promises(node: ClusterNode, group: GroupReplica): void {
    if (!this.#isLook(this.#promises++, 3, PROMISES_PER_LOOK)) return;
    node.keepsPromises(group, this.#durable(node)[group.group] as Recovered);
  }

  #durable(node: ClusterNode): readonly Recovered[] {
    this.mark(CLUSTER_MARKS.durable);
    return node.durable();
  }

  #isLook(ordinal: number, first: number, oneOf: number): boolean {
    return ordinal < first || hash32(this.#seed, 3, ordinal) % oneOf === 0;
  }

  // ---- the end ----

  #heal(): void {
    if (this.#electionsBefore !== null) this.#judgeCalm();
    this.#network.setWeatherEverywhere(FAIR_WEATHER);
    this.#isCut = false;
    for (const node of this.#nodes) {
      node.clearFaults();
      node.resume();
    }
    this.#settle();
    for (const node of this.#nodes) node.start();
    this.#runUntil(
      "after all faults every node is up",
      () => this.#nodes.every(({ state }) => state === "up"),
      () => this.#picture(),
    );
    this.#commitEverywhere();
    this.#runUntil(
      "after all faults every node has applied everything",
      () =>
        this.#nodes.every(({ groups }) =>
          groups.every(
            ({ group, machine }) =>
              machine !== null &&
              machine.appliedIndex === (this.oracles[group] as GroupOracle).commit,
          ),
        ),
      () => this.#picture(),
    );
    this.#runUntil(
      "every client is answered or has given up",
      () => this.#clients.busy === 0,
      () => `${this.#clients.busy} wait`,
    );
    this.#clients.checkHistories();
    this.#network.invariants();
  }

  /** Nothing went wrong, so nothing may have: no leader was deposed, no client was refused or left alone. */
  #judgeCalm(): void {
    this.#run(this.options.electionTicks * this.options.tickMs * 4);
    const { unknown, refused, busy } = this.#clients;
    check(
      this.#elections === this.#electionsBefore,
      "without faults nobody is deposed",
      () => `${this.#electionsBefore} elections at first, then ${this.#elections}`,
    );
    check(
      unknown + refused + busy === 0,
      "without faults every request is answered",
      () => `${unknown} unknown, ${refused} refused, ${busy} wait`,
    );
  }

  /** In each group somebody leads and commits something new. */
  #commitEverywhere(): void {
    this.#healing = this.oracles.map(({ group }) => ({ group, done: false }));
    let id = 1_000_000;
    let nextMs = 0;
    this.#runUntil(
      "after all faults there is a leader that commits",
      () => {
        if (this.nowMs >= nextMs) {
          nextMs = this.nowMs + this.options.electionTicks * this.options.tickMs;
          for (const wanted of this.#healing) {
            const leader = this.leader(wanted.group);
            if (wanted.done || leader === 0) continue;
            const command = encodeOp({ id: ++id, kind: "add", key: 1, a: 0, b: 0 }, 0);
            this.node(leader).groups[wanted.group]?.replica?.propose(command, false, (error) => {
              if (error === null) wanted.done = true;
            });
          }
        }
        return this.#healing.every(({ done }) => done);
      },
      () => this.#picture(),
    );
  }

  #picture(): string {
    return this.#nodes
      .map(({ id, state, isPaused, groups }) => {
        const of = groups.map(({ group, raft, machine }) => {
          if (raft === null) return `g${group} -`;
          const { role, leader, term, commit, lastIndex } = raft;
          return `g${group} ${role} of ${leader} term ${term} commit ${commit} last ${lastIndex} applied ${machine?.appliedIndex} of ${this.oracles[group]?.commit}`;
        });
        return `node ${id} ${state}${isPaused ? " paused" : ""}: ${of.join("; ")}`;
      })
      .join("\n");
  }
}

function simplerOptions(options: ClusterOptions): ClusterOptions[] {
  const simpler: ClusterOptions[] = [];
  if (options.groups > 1) simpler.push({ ...options, groups: 1 });
  if (options.nodes > 3)
    simpler.push({ ...options, nodes: 3, clockRates: options.clockRates.slice(0, 3) });
  if (options.clockRates.some((rate) => rate !== 1000))
    simpler.push({ ...options, clockRates: options.clockRates.map(() => 1000) });
  if (options.shortWritePercent > 0) simpler.push({ ...options, shortWritePercent: 0 });
  return simpler;
}
