/**
 * A cluster as it ships: whole nodes on simulated machines, each with its log, trees, checkpoints and clocks, over the
 * links that ship, on a simulated network. Clients ask any member. Beside the cluster world, which plays the parts of a
 * node that agree on a log, several groups at a time and at their smallest, this one plays everything around them: the
 * links and their handshake, commands on their way to the leader, reads through any member, recovery with trees.
 *
 * What is judged: what members say to each other (members-wire.ts), that it is durable when it leaves
 * (members-disk.ts), what they have applied (members-state.ts), and what clients were told (members-clients.ts,
 * members-history.ts). At the end everything is healed and must work.
 */
import { hash32 } from "../src/base/index.ts";
import type { WatchEvent } from "../src/db/index.ts";
import { CLEAR_WAY, SimNetwork, SimScheduler } from "../src/env/sim/index.ts";
import type { NodeId } from "../src/raft/index.ts";
import { type ChangesSurroundings, MemberChanges } from "./members-changes.ts";
import { type ClientSurroundings, MemberClients } from "./members-clients.ts";
import { type DurableState, durableStateOf, judgePromise } from "./members-disk.ts";
import { type History, historyOf, judgeHistory } from "./members-history.ts";
import type { FrameObserver } from "./members-links.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import { type End, Member, type MemberSurroundings, urlOf } from "./members-node.ts";
import {
  drawMembersOptions,
  isCalm,
  type MembersOptions,
  simplerMembersOptions,
} from "./members-options.ts";
import { StateOracle } from "./members-state.ts";
import { MemberWatch } from "./members-watch.ts";
import { type MembersStep, type Sight, StepSource } from "./members-steps.ts";
import { WireOracle, type WireSurroundings } from "./members-wire.ts";
import type { Marks } from "./marks.ts";
import { eventsFrom } from "./node-driver.ts";
import type { Play, World } from "./play.ts";
import type { Trace } from "./trace.ts";
import { check, difference } from "./violation.ts";

/** So many first applications of a run are looked up on the disks, and then one of so many. */
const COMMITS_LOOKED_UP = 2;
const COMMITS_PER_LOOK = 60;
const PROMISES_LOOKED_UP = 3;
const PROMISES_PER_LOOK = 200;
/** A healed cluster has its links, a leader and everything applied within so many election timeouts and this time. */
const HEALING_TIMEOUTS = 60;
const HEALING_MS = 30_000;
/** As the node's: five seconds and two election timeouts. */
const REQUEST_TIMEOUT_MS = 5000;
const AWAY_MS = 2000;

export const MEMBERS_WORLD: World<MembersOptions, MembersStep> = {
  name: "members",
  drawOptions: drawMembersOptions,
  begin: (seed, options, trace, marks) => new Cluster(seed, options, trace, marks),
  simplerOptions: simplerMembersOptions,
};

class Cluster
  implements
    Play<MembersStep>,
    MemberSurroundings,
    ClientSurroundings,
    ChangesSurroundings,
    WireSurroundings,
    Sight
{
  readonly options: MembersOptions;
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly #seed: number;
  readonly #trace: Trace;
  readonly #marks: Marks;
  readonly #source: StepSource;
  readonly #wire: WireOracle;
  readonly #states = new StateOracle();
  readonly #members: Member[] = [];
  /** By the ids that members have given themselves. */
  readonly #byId = new Map<NodeId, Member>();
  readonly #clients: MemberClients;
  readonly #changes: MemberChanges;
  /** Who votes, by number, as whoever came furthest says, and who did before that. */
  #voters: readonly number[];
  #votersBefore: readonly number[];
  /** Of every life of every member, by which. */
  readonly #watches = new Map<string, MemberWatch>();
  #thrown: unknown = null;
  /** Processes that ended in the event that runs. */
  #dying: Member[] = [];
  #stepsDone = 0;
  #cycles = 0;
  #looks = 0;
  #promises = 0;
  #isCut = false;
  /** After the first step of a calm run; null where a shrunk one begins otherwise. */
  #electionsBefore: number | null = null;
  /** A leader that was stopped in order: the term that it led. */
  #handingOver: { readonly member: number; readonly term: number } | null = null;

  constructor(seed: number, options: MembersOptions, trace: Trace, marks: Marks) {
    this.#seed = seed;
    this.options = options;
    this.#trace = trace;
    this.#marks = marks;
    this.scheduler = new SimScheduler(hash32(seed, 1));
    this.network = new SimNetwork(this.scheduler, hash32(seed, 2));
    this.#wire = new WireOracle(this);
    this.#source = new StepSource(seed, options);
    this.#clients = new MemberClients(this);
    this.#changes = new MemberChanges(this);
    this.#voters = Array.from({ length: options.nodes }, (_, i) => i + 1);
    this.#votersBefore = this.#voters;
    for (let number = 1; number <= options.nodes; number++)
      this.#members.push(new Member(this, number, hash32(seed, 100, number)));
    for (const member of this.#members) member.start();
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

  get timeoutMs(): number {
    const { requestTimeoutMs, electionMs } = this.options;
    return requestTimeoutMs ?? REQUEST_TIMEOUT_MS + 2 * electionMs;
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

  isDown(number: number): boolean {
    return this.member(number).state === "down";
  }

  isFull(number: number): boolean {
    return this.member(number).isFull;
  }

  get leader(): number {
    const leader = this.#byId.get(this.#wire.newest.leader);
    return leader?.node !== null && leader !== undefined ? leader.number : 0;
  }

  get believers(): readonly number[] {
    return this.#members.map(({ number }) => number).filter((number) => this.believes(number));
  }

  believes(number: number): boolean {
    const node = this.member(number).node;
    if (node === null) return false;
    const { leader, memberId } = node.database.status();
    return leader === memberId;
  }

  get removals(): number {
    return this.#changes.removals;
  }

  mayBeRemoved(member: Member): boolean {
    return this.#changes.mayBeRemoved(member);
  }

  seen(key: string): string | null {
    return this.#clients.seen(key);
  }

  // ---- steps ----

  draw(): MembersStep | null {
    return this.#source.next(this);
  }

  perform(step: MembersStep): void {
    this.#stepsDone++;
    this.note(`step ${step.do}`, this.#stepsDone, step);
    this.#do(step);
    this.#settle();
    this.#run(step.ms);
    if (this.#stepsDone === 1 && step.do === "run" && this.#isCalm())
      this.#electionsBefore = this.#wire.elections;
  }

  /** Nothing goes wrong, the disks are fast enough for the election timeout, and somebody leads. */
  #isCalm(): boolean {
    const { electionMs, diskLatencyMs } = this.options;
    return isCalm(this.options) && electionMs >= 10 * diskLatencyMs[1] && this.leader !== 0;
  }

  #do(step: MembersStep): void {
    switch (step.do) {
      case "run":
        return;
      case "request": {
        const { request } = step;
        if (this.leader !== request.member && this.believes(request.member))
          this.mark(MEMBERS_MARKS.staleLeader);
        this.#clients.send(request);
        return;
      }
      case "crash":
        this.#end(this.member(step.member), step.end);
        return;
      case "crashSoon":
        this.member(step.member).crashSoon(step.operations, step.moment, step.end);
        return;
      case "outage":
        for (const [i, member] of this.#members.entries()) this.#end(member, step.ends[i] as End);
        this.mark(MEMBERS_MARKS.outage);
        return;
      case "stop": {
        const { newest } = this.#wire;
        if (this.leader === step.member)
          this.#handingOver = { member: step.member, term: newest.term };
        this.member(step.member).stop();
        return;
      }
      case "start":
        this.member(step.member).start();
        return;
      case "weather":
        for (const [from, to] of step.ways)
          this.network.setWeather(urlOf(from), urlOf(to), step.weather);
        return;
      case "cut":
        this.#isCut = true;
        for (const [from, to] of step.ways)
          this.network.setWeather(urlOf(from), urlOf(to), { isCut: true });
        return;
      case "mend":
        this.#isCut = false;
        this.#everyWay((from, to) => this.network.setWeather(from, to, { isCut: false }));
        return;
      case "break": {
        const [from, to] = step.way;
        if (this.#clients.busy > 0) this.mark(MEMBERS_MARKS.reset);
        this.network.breakLinks(urlOf(from), urlOf(to));
        return;
      }
      case "pause":
        this.#pause(this.member(step.member), step.forMs);
        return;
      case "skew":
        this.member(step.member).machine.wallSkewMs = step.skewMs;
        return;
      case "slowDisk": {
        const { operation, times } = step;
        const member = this.member(step.member);
        const delayMs = step.delayMs ?? Number.POSITIVE_INFINITY;
        member.inject(member.machine.disk.inject({ operation, delayMs, times }));
        return;
      }
      case "failWrite": {
        const { operation, skip } = step;
        const member = this.member(step.member);
        const pattern = PATHS[step.path];
        const path = (of: string): boolean => pattern.test(of);
        member.inject(member.machine.disk.inject({ operation, path, error: "EIO", skip }));
        return;
      }
      case "full":
        this.member(step.member).full(step.spareBytes);
        return;
      case "room":
        this.member(step.member).room();
        return;
      case "change": {
        const { change } = step;
        const target = change.kind === "remove" ? this.member(change.target) : null;
        this.member(step.member).input((node) => this.#changes.ask(node, change, target));
        return;
      }
      case "handOver":
        this.member(step.member).input((node) =>
          this.#changes.handOver(node, this.member(step.to)),
        );
        return;
      case "heal":
        this.#heal();
        return;
    }
  }

  #everyWay(change: (from: string, to: string) => void): void {
    for (const { number: from } of this.#members)
      for (const { number: to } of this.#members) if (from !== to) change(urlOf(from), urlOf(to));
  }

  #pause(member: Member, forMs: number): void {
    member.pause();
    const { life } = member;
    this.after(forMs, () => {
      if (member.life === life) member.resume();
    });
  }

  #end(member: Member, end?: End): void {
    if (member.state === "down") return;
    if (this.leader === member.number && this.#clients.writesElsewhere(member.number) > 0)
      this.mark(MEMBERS_MARKS.lostWithLeader);
    member.crash(end);
    this.#clients.disconnect(member);
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
    for (const member of this.#members) {
      const applied = member.takeApplied();
      if (applied === null) continue;
      const { index, stateHash } = applied;
      this.note(`n${member.number} has applied`, index, stateHash);
      if (!this.#states.applied(member.number, index, stateHash)) continue;
      if (this.options.faults.changes) this.#noteVoters(member);
      this.#committed(index);
    }
    if (this.#dying.length === 0) return;
    for (const member of this.#dying.splice(0)) this.#end(member);
    if (this.#thrown !== null) throw this.#thrown as Error;
  }

  #runUntil(rule: string, isThere: () => boolean): void {
    const { electionMs, tickMs } = this.options;
    const limitMs = this.nowMs + HEALING_MS + electionMs * HEALING_TIMEOUTS;
    while (!isThere()) {
      check(this.nowMs < limitMs, rule, () => this.#picture());
      this.#run(tickMs);
      // A write that failed before may end a process only now.
      for (const member of this.#members) if (member.state === "down") member.start();
    }
  }

  // ---- what members tell ----

  observer(): FrameObserver {
    const observe = this.#wire.observer();
    return (frame) => this.guarded(() => observe(frame));
  }

  note(what: string, number: number, detail: unknown = null): void {
    this.#trace.event(this.nowMs, what, number, detail);
  }

  mark(name: MembersMark): void {
    this.#marks.hit(name);
  }

  died(member: Member): void {
    this.#dying.push(member);
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

  member(number: number): Member {
    return this.#members[number - 1] as Member;
  }

  opened(member: Member): void {
    const { identity, life, node } = member;
    if (node !== null) {
      const name = lifeOf(member);
      const guarded = (judge: () => void): void => this.guarded(judge);
      this.#watches.set(name, new MemberWatch(name, node.database, guarded));
    }
    if (identity !== null) this.#byId.set(identity.memberId, member);
    if (life > 1) this.#cycles++;
  }

  stopped({ number }: Member): void {
    const { newest } = this.#wire;
    const before = this.#handingOver;
    if (before?.member === number && newest.term > before.term) this.mark(MEMBERS_MARKS.handedOver);
  }

  #noteVoters({ node }: Member): void {
    const members = node?.database.status().members ?? [];
    const voters = members
      .filter(({ isLearner }) => !isLearner)
      .map(({ id }) => this.#byId.get(Number(id))?.number ?? 0)
      .toSorted((a, b) => a - b);
    if (voters.join() === this.#voters.join()) return;
    this.note("other voters", voters.length, voters);
    this.#votersBefore = this.#voters;
    this.#voters = voters;
  }

  /** Committed means durable in a quorum's disk bytes. */
  #committed(index: number): void {
    if (!this.#isLook(this.#looks++, COMMITS_LOOKED_UP, COMMITS_PER_LOOK)) return;
    this.mark(MEMBERS_MARKS.durable);
    const disks = this.#members.map((member) => this.#durable(member));
    const copiesAmong = (voters: readonly number[]): number => {
      const copies = new Map<number, number>();
      let kept = 0;
      for (const voter of voters) {
        const disk = disks[voter - 1] ?? null;
        const term = disk?.termAt(index) ?? null;
        // What a checkpoint covers may be gone from the log.
        if (disk !== null && term === null && disk.appliedIndex >= index) kept++;
        if (term !== null) copies.set(term, (copies.get(term) ?? 0) + 1);
      }
      return kept + Math.max(0, ...copies.values());
    };
    // The entry that changes the voters is committed by those before it.
    const isDurable = [this.#voters, this.#votersBefore].some(
      (voters) => copiesAmong(voters) > voters.length / 2,
    );
    check(
      isDurable,
      "what is committed is durable on a quorum's disks",
      () => `${index} has ${copiesAmong(this.#voters)} durable copies among ${this.#voters.join()}`,
    );
  }

  promised(id: NodeId): void {
    const member = this.#byId.get(id);
    if (!this.#isLook(this.#promises++, PROMISES_LOOKED_UP, PROMISES_PER_LOOK)) return;
    const promised = this.#wire.promisedBy(id);
    const disk = member === undefined ? null : this.#durable(member);
    if (promised === undefined || disk === null) return;
    this.mark(MEMBERS_MARKS.promise);
    judgePromise(`n${member?.number}`, disk, promised);
  }

  #durable({ machine, identity }: Member): DurableState | null {
    return identity === null ? null : durableStateOf(machine, identity, this.options.segmentBytes);
  }

  #isLook(ordinal: number, first: number, oneOf: number): boolean {
    return ordinal < first || hash32(this.#seed, 3, ordinal) % oneOf === 0;
  }

  // ---- the end ----

  #heal(): void {
    if (this.#electionsBefore !== null) this.#judgeCalm();
    this.#isCut = false;
    this.#everyWay((from, to) => this.network.setWeather(from, to, CLEAR_WAY));
    const away = this.#members.filter(({ downForMs }) => downForMs > AWAY_MS);
    for (const member of this.#members) {
      member.clearFaults();
      member.resume();
    }
    this.#settle();
    this.#runUntil("after all faults every member is up", () =>
      this.#members.every(({ state, isRemoved }) => state === "up" || isRemoved),
    );
    this.#writeEverywhere();
    this.#runUntil("every client is answered or has given up", () => this.#clients.busy === 0);
    this.#runUntil("after all faults every member has applied everything", () => {
      const places = this.#present.map(({ node }) => node?.database.applied.index ?? -1);
      return places.every((place) => place === this.#states.newest);
    });
    if (away.length > 0) this.mark(MEMBERS_MARKS.caughtUp);
    this.#judgeClients();
  }

  /** Nothing went wrong, so nothing may have: no leader was deposed, no client was refused or left alone. */
  #judgeCalm(): void {
    this.#run(this.timeoutMs);
    const { unknown, refused, busy } = this.#clients;
    check(
      this.#wire.elections === this.#electionsBefore,
      "without faults nobody is deposed",
      () => `${this.#electionsBefore} elections at first, then ${this.#wire.elections}`,
    );
    check(
      unknown + refused + busy === 0,
      "without faults every request is answered",
      () => `${unknown} unknown, ${refused} refused, ${busy} wait`,
    );
  }

  /** Whoever belongs to the cluster, as far as anybody knows. */
  get #present(): readonly Member[] {
    let newest: Member | null = null;
    let place = -1;
    for (const member of this.#members) {
      const index = member.node?.database.applied.index ?? -1;
      if (index <= place) continue;
      newest = member;
      place = index;
    }
    const present = newest?.node?.database.status().members ?? [];
    const ids = new Set(present.map(({ id }) => Number(id)));
    return this.#members.filter(({ identity }) => identity !== null && ids.has(identity.memberId));
  }

  /** Each member takes a write and a read that sees it. */
  #writeEverywhere(): void {
    let id = 1_000_000;
    const done = new Set<number>();
    const asked = new Map<number, number>();
    this.#runUntil("after all faults every member takes writes", () => {
      const present = this.#present;
      for (const { number } of present) {
        if (done.has(number) || this.#clients.isBusy(-number)) continue;
        const before = this.#clients.all.find(({ request }) => request.id === asked.get(number));
        if (before?.outcome === "ok") {
          done.add(number);
          continue;
        }
        asked.set(number, ++id);
        const input = { kind: "put", key: `h${number}`, value: String(id) } as const;
        const ask = { kind: "kv", input } as const;
        this.#clients.send({ id, client: -number, member: number, timeoutMs: null, ask });
      }
      return present.length > 0 && present.every(({ number }) => done.has(number));
    });
  }

  #judgeClients(): void {
    const [first, ...others] = this.#present.map((member) => this.#everything(member));
    const events = first as readonly WatchEvent[];
    for (const other of others) {
      const found = difference(other, events);
      check(found === null, "all members tell the same history", () => found ?? "");
    }
    const history: History = historyOf(events);
    const isTimeTrue =
      !this.options.faults.clockJumps && this.options.clockRates.every((rate) => rate === 1000);
    const news = judgeHistory(this.#clients.all, history, isTimeTrue);
    const live = new Set(this.#present.map(lifeOf));
    for (const [name, watch] of this.#watches) watch.judge(history, live.has(name));
    this.#marks.hit(MEMBERS_MARKS.lockEnded, news.locksEnded);
    this.#marks.hit(MEMBERS_MARKS.fenced, news.locksTakenAfter);
  }

  #everything({ node }: Member): readonly WatchEvent[] {
    return node === null ? [] : eventsFrom(node.database, 1).events;
  }

  #picture(): string {
    return this.#members
      .map(({ number, state, isPaused, node }) => {
        const status = node?.database.status();
        const of =
          status === undefined
            ? ""
            : ` leader ${status.leader.toString(16)} term ${status.raftTerm} last ${status.raftIndex} applied ${status.raftAppliedIndex} of ${this.#states.newest}, ${status.errors.join("; ")}`;
        return `n${number} ${state}${isPaused ? " paused" : ""}:${of}`;
      })
      .join("\n");
  }
}

function lifeOf({ number, life }: Member): string {
  return `n${number}, life ${life}`;
}

const PATHS: Readonly<Record<"log" | "votes" | "data" | "members", RegExp>> = {
  log: /\/wal\/|\/next\.wal$/,
  votes: /\/VOTE$/,
  data: /\.hdb$/,
  members: /\/MEMBERS$/,
};
