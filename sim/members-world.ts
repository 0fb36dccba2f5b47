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
import { HarmonyError, hash32 } from "../src/base/index.ts";
import type { InitialMember, MemberInfo, WatchEvent } from "../src/db/index.ts";
import { CLEAR_WAY, SimNetwork, SimScheduler } from "../src/env/sim/index.ts";
import type { NodeId } from "../src/raft/index.ts";
import { type Change, type ChangesSurroundings, MemberChanges } from "./members-changes.ts";
import { type ClientSurroundings, MemberClients } from "./members-clients.ts";
import { rot } from "./members-damage.ts";
import { type DurableState, durableStateOf, judgePromise } from "./members-disk.ts";
import { Harm, type HarmSurroundings } from "./members-harm.ts";
import { type History, historyOf, judgeHistory } from "./members-history.ts";
import type { FrameObserver } from "./members-links.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import {
  type End,
  LEARNERS_MAX,
  Member,
  type MemberSurroundings,
  nameOf,
  urlOf,
} from "./members-node.ts";
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
import { check, difference, show } from "./violation.ts";

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
/** After so many election timeouts whoever leads knows who takes no part. */
const KNOWN_TIMEOUTS = 4;
/** So often somebody asks again that a member goes. */
const ASK_AGAIN_MS = 3000;

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
    HarmSurroundings,
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
  readonly #harm: Harm;
  /** Who votes, as whoever came furthest says, and who did before that. Empty: the first members. */
  #voters: readonly NodeId[] = [];
  #votersBefore: readonly NodeId[] = [];
  #wipes = 0;
  /** Until then nobody asks again that somebody goes who will not come back, or comes in his place. */
  #askedMs = 0;
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
    this.#harm = new Harm(this);
    const { nodes, spares } = options;
    for (let number = 1; number <= nodes + spares; number++)
      this.#members.push(new Member(this, number, hash32(seed, 100, number), number > nodes));
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
    const member = this.member(number);
    if (member.state !== "down" || member.isBroken || member.isRemoved) return false;
    return !member.isBlank || member.isImpostor || this.rosterFor(member) !== null;
  }

  isLost(number: number): boolean {
    const member = this.member(number);
    return member.lost !== null && member.isBlank && this.votersNow.includes(member.lost);
  }

  isVacant(number: number): boolean {
    const member = this.member(number);
    return member.isVacant && this.#placeOf(member) === undefined;
  }

  isLearner(number: number): boolean {
    const { identity } = this.member(number);
    const of = this.#placeOf(this.member(number));
    return identity !== null && of?.isLearner === true;
  }

  isJoining(number: number): boolean {
    const { isBlank, isImpostor, state } = this.member(number);
    return isBlank && !isImpostor && state === "opening";
  }

  /** Who is to be found at its address, as whoever came furthest says. */
  #placeOf({ number }: Member): MemberInfo | undefined {
    return this.#roster.find(({ peerUrls }) => peerUrls.includes(urlOf(number)));
  }

  /** As whoever came furthest says. */
  get #roster(): readonly MemberInfo[] {
    let newest: Member | null = null;
    let place = -1;
    for (const member of this.#members) {
      if (member.isQuarantined || member.isImpostor) continue;
      const index = member.node?.database.applied.index ?? -1;
      if (index <= place) continue;
      newest = member;
      place = index;
    }
    return newest?.node?.database.status().members ?? [];
  }

  rosterFor({ number }: Member): readonly InitialMember[] | null {
    const roster = this.#roster;
    const url = urlOf(number);
    const self = roster.find(({ peerUrls }) => peerUrls.includes(url));
    if (self === undefined || self.name !== "") return null;
    return roster.map(({ id, name, peerUrls }) => ({
      name: peerUrls.includes(url) ? nameOf(number) : name === "" ? `at ${id}` : name,
      peerUrls,
    }));
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

  get votersLeft(): number {
    const left = [this.votersNow, this.votersBefore].map(
      (voters) => voters.filter((voter) => !this.isAsked(voter)).length,
    );
    return Math.min(...left);
  }

  isAsked(id: NodeId): boolean {
    return this.#changes.isAsked(id);
  }

  /** The ids of the first members are known when all of them were open once. */
  get votersNow(): readonly NodeId[] {
    return this.#voters.length > 0 ? this.#voters : this.#founders;
  }

  get votersBefore(): readonly NodeId[] {
    return this.#votersBefore.length > 0 ? this.#votersBefore : this.#founders;
  }

  get #founders(): readonly NodeId[] {
    return this.#members
      .slice(0, this.options.nodes)
      .map(({ identity, number }) => identity?.memberId ?? -number);
  }

  /** Other members may come and go: who cannot start any more for what is damaged is replaced. */
  get #hasChanges(): boolean {
    const { changes, joins, wipes, rot: rots } = this.options.faults;
    return changes || joins || wipes || rots;
  }

  isHarmed({ identity }: Member): boolean {
    return this.#harm.has(identity?.memberId);
  }

  /**
   * Whoever has been removed is known as such, or not any more, and whoever comes is known to some before others. At an
   * address is somebody else when a disk was lost.
   */
  mayRefuse(code: string): boolean {
    switch (code) {
      case "REMOVED_MEMBER":
        return this.#changes.hasRemovals;
      case "UNKNOWN_MEMBER":
        return this.#hasChanges;
      case "WRONG_MEMBER":
        return this.#changes.hasRemovals;
      case "DATA_LOST":
        return this.#wipes > 0;
      case "CORRUPT":
        return this.#harm.hasAny;
      default:
        return false;
    }
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
        this.member(step.member).start(step.asOld);
        return;
      case "wipe":
        this.#wipe(this.member(step.member), step.end);
        return;
      case "rot":
        this.#rot(step);
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
      case "change":
        this.#change(this.member(step.member), step.change);
        return;
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

  #change(asked: Member, change: Change): void {
    if (change.kind === "remove" || change.kind === "replace") {
      const id = this.#placeOf(this.member(change.target))?.id;
      const knownMs = KNOWN_TIMEOUTS * this.options.electionMs;
      if (id === undefined || !this.#harm.mayRemove(Number(id), knownMs)) return;
    }
    if (change.kind === "join") {
      const target = this.member(change.target);
      if (!this.isVacant(change.target)) return;
      if (!target.isBlank) {
        this.#end(target);
        target.vacate();
      }
    }
    asked.input((node) => this.#changes.ask(node, change));
  }

  /** Who has met it knows it by its disk; who has not, such as one that was never up, would take it for new. */
  #wipe(member: Member, end: End): void {
    const { identity } = member;
    if (identity === null || member.isBlank || !this.#harm.mayHit(member)) return;
    const { memberId } = identity;
    const isKnown = this.#roster.every(
      ({ id, name }) =>
        name === "" || Number(id) === memberId || this.#wire.haveMet(Number(id), memberId),
    );
    if (!isKnown || this.#roster.length === 0) return;
    this.#end(member, end);
    member.wipe();
    this.#wipes++;
    this.#harm.note(memberId);
    this.mark(MEMBERS_MARKS.wiped);
  }

  #rot({ member: number, end, rot: of, isBeyond }: MembersStep & { readonly do: "rot" }): void {
    const member = this.member(number);
    const { identity } = member;
    if (identity === null || member.isBlank || member.isRemoved) return;
    const isHeld = this.#harm.mayHit(member);
    if (!isHeld && !isBeyond) return;
    this.#end(member, end);
    const places = rot(member.machine, of);
    this.note(`bits rot in n${number}`, places, of);
    if (places === 0) return;
    if (!isHeld) this.#harm.isBeyond = true;
    this.#harm.note(identity.memberId);
    this.#wire.losesEntries(identity.memberId);
    this.mark(MEMBERS_MARKS.rotten);
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
      if (member.isMadeAnew && member.identity !== null)
        this.#harm.healed(member.identity.memberId);
      if (applied === null) continue;
      const { index, stateHash } = applied;
      this.note(`n${member.number} has applied`, index, stateHash);
      if (!this.#states.applied(member.number, index, stateHash)) continue;
      this.#noteVoters(member);
      this.#committed(index);
    }
    if (this.#dying.length === 0) return;
    for (const member of this.#dying.splice(0)) this.#end(member);
    if (this.#thrown !== null) throw this.#thrown as Error;
  }

  /** False: that will not be, and the members say why. */
  #runUntil(rule: string, isThere: () => boolean): boolean {
    const { electionMs, tickMs } = this.options;
    const limitMs = this.nowMs + HEALING_MS + electionMs * HEALING_TIMEOUTS;
    while (!isThere()) {
      if (this.nowMs >= limitMs && this.#saysWhy) return false;
      check(this.nowMs < limitMs, rule, () => this.#picture());
      this.#run(tickMs);
      // A write that failed before may end a process only now.
      for (const member of this.#members) if (member.state === "down") member.start();
    }
    return true;
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
    if (this.#voters.length > 0 && !this.#hasChanges) return;
    const members = node?.database.status().members ?? [];
    const voters = members
      .filter(({ isLearner }) => !isLearner)
      .map(({ id }) => Number(id))
      .toSorted((a, b) => a - b);
    if (voters.join() === this.#voters.join()) return;
    this.note("other voters", voters.length, voters);
    this.#votersBefore = this.#voters.length > 0 ? this.#voters : voters;
    this.#voters = voters;
  }

  /** Committed means durable in a quorum's disk bytes. */
  #committed(index: number): void {
    if (!this.#isLook(this.#looks++, COMMITS_LOOKED_UP, COMMITS_PER_LOOK)) return;
    this.mark(MEMBERS_MARKS.durable);
    const copiesAmong = (voters: readonly NodeId[]): number => {
      const copies = new Map<number, number>();
      let kept = 0;
      for (const voter of voters) {
        // It may have held it when that was counted.
        if (this.#harm.has(voter)) kept++;
        if (this.#harm.has(voter)) continue;
        const member = this.#byId.get(voter);
        const disk = member?.identity?.memberId === voter ? this.#durable(member) : null;
        const term = disk?.termAt(index) ?? null;
        // What a checkpoint covers may be gone from the log.
        if (disk !== null && term === null && disk.appliedIndex >= index) kept++;
        if (term !== null) copies.set(term, (copies.get(term) ?? 0) + 1);
      }
      return kept + Math.max(0, ...copies.values());
    };
    // The entry that changes the voters is committed by those before it.
    const isDurable = [this.votersNow, this.votersBefore].some(
      (voters) => copiesAmong(voters) > voters.length / 2,
    );
    check(
      isDurable,
      "what is committed is durable on a quorum's disks",
      () =>
        `${index} has ${copiesAmong(this.votersNow)} durable copies among ${this.votersNow.join()}`,
    );
  }

  promised(id: NodeId): void {
    const member = this.#byId.get(id);
    check(
      member?.identity?.memberId !== id || !member.isQuarantined,
      "who is in quarantine promises nothing",
      () => `n${member?.number}: ${show(this.#wire.promisedBy(id))}`,
    );
    if (!this.#isLook(this.#promises++, PROMISES_LOOKED_UP, PROMISES_PER_LOOK)) return;
    const promised = this.#wire.promisedBy(id);
    const disk = member?.identity?.memberId === id ? this.#durable(member) : null;
    if (promised === undefined || disk === null) return;
    this.mark(MEMBERS_MARKS.promise);
    judgePromise(`n${member?.number}`, disk, promised);
  }

  /** Null where nothing is, or what there is cannot be read. */
  #durable(member: Member): DurableState | null {
    const { machine, identity } = member;
    if (identity === null) return null;
    try {
      return durableStateOf(machine, identity, this.options.segmentBytes);
    } catch (error) {
      if (error instanceof HarmonyError && this.isHarmed(member)) return null;
      throw error;
    }
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
    if (!this.#becomesWhole()) {
      this.mark(MEMBERS_MARKS.majorityRotten);
      return;
    }
    if (away.length > 0) this.mark(MEMBERS_MARKS.caughtUp);
    this.#judgeClients();
  }

  /** False: a majority is damaged, and says so. */
  #becomesWhole(): boolean {
    const isUp = this.#runUntil("after all faults every member is up", () => {
      this.#letGo();
      return this.#members.every(
        (member) =>
          member.isRemoved ||
          (member.isBlank
            ? member.lost === null && this.#placeOf(member) === undefined
            : member.state === "up"),
      );
    });
    if (!isUp || !this.#writeEverywhere()) return false;
    const { autoPromote } = this.options;
    return (
      this.#runUntil("every client is answered or has given up", () => this.#clients.busy === 0) &&
      this.#runUntil("after all faults every learner that wants to vote does", () =>
        this.#present.every((member) => !autoPromote || !this.isLearner(member.number)),
      ) &&
      this.#runUntil("after all faults every member has applied everything", () => {
        const places = this.#present.map(({ node }) => node?.database.applied.index ?? -1);
        return places.every((place) => place === this.#states.newest);
      })
    );
  }

  /** Who has lost its disk, or will not start again, is removed, and its machine joins as a new member. */
  #letGo(): void {
    for (const member of this.#members) {
      if (!member.isBroken && !member.isImpostor) continue;
      this.#end(member);
      if (member.identity !== null) this.#harm.note(member.identity.memberId);
      member.wipe();
    }
    const leader = this.#members.find(({ number }) => this.leader === number);
    if (leader === undefined || this.nowMs < this.#askedMs) return;
    const gone = this.#members.find(
      (member) => member.isBlank && (this.#placeOf(member)?.name ?? "") !== "",
    );
    const newcomer = this.#members.find(
      (member) => member.isBlank && member.lost !== null && this.#placeOf(member) === undefined,
    );
    const learners = this.#roster.filter(({ isLearner }) => isLearner).length;
    const change: Change | null =
      gone !== undefined
        ? { kind: "remove", target: gone.number }
        : newcomer !== undefined
          ? { kind: "join", target: newcomer.number, isLearner: learners < LEARNERS_MAX }
          : null;
    if (change === null) return;
    this.#askedMs = this.nowMs + ASK_AGAIN_MS;
    leader.input((node) => this.#changes.ask(node, change));
  }

  /** So many of those who have a vote say that they cannot take part that nobody can lead. */
  get #saysWhy(): boolean {
    if (!this.#harm.isBeyond) return false;
    const silent = this.votersNow.filter((voter) => {
      const member = this.#byId.get(voter);
      const isTelling =
        member?.identity?.memberId !== voter || member.isQuarantined || member.isBroken;
      return !isTelling;
    });
    return 2 * silent.length <= this.votersNow.length;
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
    const ids = new Set(this.#roster.map(({ id }) => Number(id)));
    return this.#members.filter(({ identity }) => identity !== null && ids.has(identity.memberId));
  }

  /** Each member takes a write and a read that sees it. */
  #writeEverywhere(): boolean {
    let id = 1_000_000;
    const done = new Set<number>();
    const asked = new Map<number, number>();
    return this.#runUntil("after all faults every member takes writes", () => {
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
    const [first, ...others] = this.#present.flatMap((member) => this.#everything(member) ?? []);
    const events = first?.events as readonly WatchEvent[];
    for (const other of others) {
      const found = difference(other.events, events);
      check(found === null, "all members tell the same history", () => found ?? "");
    }
    const history: History = historyOf(events);
    const isTimeTrue =
      !this.options.faults.clockJumps && this.options.clockRates.every((rate) => rate === 1000);
    const news = judgeHistory(this.#clients.all, history, isTimeTrue);
    const live = new Set(this.#present.filter((member) => !member.wasQuarantined).map(lifeOf));
    for (const [name, watch] of this.#watches) watch.judge(history, live.has(name));
    this.#marks.hit(MEMBERS_MARKS.lockEnded, news.locksEnded);
    this.#marks.hit(MEMBERS_MARKS.fenced, news.locksTakenAfter);
  }

  /** Null: it comes upon damage while it reads, and says so. */
  #everything(member: Member): { readonly events: readonly WatchEvent[] } | null {
    const { node } = member;
    if (node === null) return { events: [] };
    try {
      return eventsFrom(node.database, 1);
    } catch (error) {
      if (!(error instanceof HarmonyError) || !this.isHarmed(member)) throw error;
      check(
        member.isQuarantined,
        "who comes upon damage takes no part any more",
        () => `n${member.number}: ${error.message}`,
      );
      return null;
    }
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
