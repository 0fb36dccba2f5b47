/**
 * A cluster as it ships: whole nodes on simulated machines, each with its log, trees, checkpoints and clocks, over the
 * links that ship, on a simulated network. Clients ask any member. Beside the cluster world, which plays the parts of a
 * node that agree on a log, several groups at a time and at their smallest, this one plays everything around them: the
 * links and their handshake, commands on their way to the leader, reads through any member, recovery with trees.
 *
 * What is judged: what members say to each other (members-wire.ts), that it is durable when it leaves
 * (members-durable.ts), what they have applied (members-state.ts), and what clients were told (members-clients.ts). At the
 * end everything is healed and must work (members-healing.ts), and all that was told must fit (members-verdict.ts).
 */
import { hash32 } from "../src/base/index.ts";
import type { InitialMember } from "../src/db/index.ts";
import { CLEAR_WAY, SimNetwork, SimScheduler } from "../src/env/sim/index.ts";
import type { NodeId } from "../src/raft/index.ts";
import { type Change, type ChangesSurroundings, MemberChanges } from "./members-changes.ts";
import { type ClientSurroundings, MemberClients } from "./members-clients.ts";
import { rot } from "./members-damage.ts";
import { StepSource } from "./members-draw.ts";
import { DurableJudge, type DurableSurroundings } from "./members-durable.ts";
import { Harm, type HarmSurroundings } from "./members-harm.ts";
import { Healing, type HealingSurroundings } from "./members-healing.ts";
import type { LinkObserver } from "./members-links.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import { type End, Member, type MemberSurroundings, urlOf } from "./members-node.ts";
import {
  drawMembersOptions,
  isCalm,
  type MembersOptions,
  simplerMembersOptions,
} from "./members-options.ts";
import { Roster } from "./members-roster.ts";
import { StateOracle } from "./members-state.ts";
import { Sight, type SightSurroundings } from "./members-sight.ts";
import type { MembersStep } from "./members-steps.ts";
import { Verdict, type VerdictSurroundings } from "./members-verdict.ts";
import { WireOracle, type WireSurroundings } from "./members-wire.ts";
import type { Marks } from "./marks.ts";
import type { Play, World } from "./play.ts";
import type { Trace } from "./trace.ts";
import { check } from "./violation.ts";

/** As the node's: five seconds and two election timeouts. */
const REQUEST_TIMEOUT_MS = 5000;
const AWAY_MS = 2000;
/** After so many election timeouts whoever leads knows who takes no part. */
const KNOWN_TIMEOUTS = 4;

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
    SightSurroundings,
    DurableSurroundings,
    HealingSurroundings,
    VerdictSurroundings
{
  readonly seed: number;
  readonly options: MembersOptions;
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly marks: Marks;
  readonly members: readonly Member[];
  readonly roster: Roster;
  readonly wire: WireOracle = new WireOracle(this);
  readonly states: StateOracle = new StateOracle();
  readonly clients: MemberClients = new MemberClients(this);
  readonly changes: MemberChanges = new MemberChanges(this);
  readonly harm: Harm = new Harm(this);
  readonly #trace: Trace;
  readonly #source: StepSource;
  readonly #sight = new Sight(this);
  readonly #durable = new DurableJudge(this);
  readonly #healing = new Healing(this);
  readonly #verdict = new Verdict(this);
  #wipes = 0;
  #thrown: unknown = null;
  /** Processes that ended in the event that runs. */
  #dying: Member[] = [];
  #cycles = 0;
  /** After the first step of a calm run; null where a shrunk one begins otherwise. */
  #electionsBefore: number | null = null;
  /** A leader that was stopped in order: the term that it led. */
  #handingOver: { readonly member: number; readonly term: number } | null = null;

  constructor(seed: number, options: MembersOptions, trace: Trace, marks: Marks) {
    this.seed = seed;
    this.options = options;
    this.#trace = trace;
    this.marks = marks;
    this.scheduler = new SimScheduler(hash32(seed, 1));
    this.network = new SimNetwork(this.scheduler, hash32(seed, 2));
    this.#source = new StepSource(seed, options);
    const { nodes, spares } = options;
    this.members = Array.from({ length: nodes + spares }, (_, i) => {
      const number = i + 1;
      return new Member(this, number, hash32(seed, 100, number), number > nodes);
    });
    this.roster = new Roster(this.members, nodes);
    for (const member of this.members) member.start();
  }

  get cycles(): number {
    return this.#cycles;
  }

  get commands(): number {
    return this.clients.acknowledged;
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  get timeoutMs(): number {
    const { requestTimeoutMs, electionMs } = this.options;
    return requestTimeoutMs ?? REQUEST_TIMEOUT_MS + 2 * electionMs;
  }

  // ---- what is known ----

  get leader(): number {
    return this.#sight.leader;
  }

  believes(number: number): boolean {
    return this.#sight.believes(number);
  }

  isAsked(id: NodeId): boolean {
    return this.changes.isAsked(id);
  }

  isApart(id: NodeId): boolean {
    const member = this.roster.of(id);
    return member === null || member.state !== "up" || member.isQuarantined;
  }

  rosterFor(member: Member): readonly InitialMember[] | null {
    return this.roster.rosterFor(member);
  }

  get votersNow(): readonly NodeId[] {
    return this.roster.votersNow;
  }

  get votersBefore(): readonly NodeId[] {
    return this.roster.votersBefore;
  }

  /** Other members may come and go: who cannot start any more for what is damaged is replaced. */
  get #hasChanges(): boolean {
    const { changes, joins, wipes, rot: rots } = this.options.faults;
    return changes || joins || wipes || rots;
  }

  isHarmed({ identity }: Member): boolean {
    return this.harm.has(identity?.memberId);
  }

  /**
   * Whoever has been removed is known as such, or not any more, and whoever comes is known to some before others. At an
   * address is somebody else when a disk was lost.
   */
  mayRefuse(code: string): boolean {
    switch (code) {
      case "REMOVED_MEMBER":
        return this.changes.hasRemovals;
      case "UNKNOWN_MEMBER":
        return this.#hasChanges;
      case "WRONG_MEMBER":
        return this.changes.hasRemovals;
      case "DATA_LOST":
        return this.#wipes > 0;
      case "CORRUPT":
        return this.harm.hasAny;
      default:
        return false;
    }
  }

  mayBeRemoved(member: Member): boolean {
    return this.changes.mayBeRemoved(member);
  }

  // ---- steps ----

  draw(): MembersStep | null {
    return this.#source.next(this.#sight);
  }

  perform(step: MembersStep): void {
    this.#sight.stepsDone++;
    this.note(`step ${step.do}`, this.#sight.stepsDone, step);
    this.#do(step);
    this.#settle();
    this.run(step.ms);
    if (this.#sight.stepsDone === 1 && step.do === "run" && this.#isCalm())
      this.#electionsBefore = this.wire.elections;
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
        this.clients.send(request);
        return;
      }
      case "crash":
        this.end(this.member(step.member), step.end);
        return;
      case "crashSoon":
        this.member(step.member).crashSoon(step);
        return;
      case "outage":
        for (const [i, member] of this.members.entries()) this.end(member, step.ends[i] as End);
        this.mark(MEMBERS_MARKS.outage);
        return;
      case "stop": {
        const { newest } = this.wire;
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
        this.#sight.isCut = true;
        for (const [from, to] of step.ways)
          this.network.setWeather(urlOf(from), urlOf(to), { isCut: true });
        return;
      case "mend":
        this.#sight.isCut = false;
        this.#everyWay((from, to) => this.network.setWeather(from, to, { isCut: false }));
        return;
      case "break": {
        const [from, to] = step.way;
        if (this.clients.busy > 0) this.mark(MEMBERS_MARKS.reset);
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
        this.member(step.member).input((node) => this.changes.handOver(node, this.member(step.to)));
        return;
      case "heal":
        this.#heal();
        return;
    }
  }

  #everyWay(change: (from: string, to: string) => void): void {
    for (const { number: from } of this.members)
      for (const { number: to } of this.members) if (from !== to) change(urlOf(from), urlOf(to));
  }

  #change(asked: Member, change: Change): void {
    if (change.kind === "remove" || change.kind === "replace") {
      const id = this.roster.placeOf(this.member(change.target))?.id;
      const knownMs = KNOWN_TIMEOUTS * this.options.electionMs;
      if (id === undefined || !this.harm.mayRemove(Number(id), knownMs)) return;
    }
    if (change.kind === "join") {
      const target = this.member(change.target);
      if (!this.#sight.isVacant(change.target)) return;
      if (!target.isBlank) {
        this.end(target);
        target.vacate();
      }
    }
    asked.input((node) => this.changes.ask(node, change));
  }

  /** Who has met it knows it by its disk; who has not, such as one that was never up, would take it for new. */
  #wipe(member: Member, end: End): void {
    const { identity } = member;
    if (identity === null || member.isBlank || !this.harm.mayHit(member)) return;
    const { memberId } = identity;
    const roster = this.roster.all;
    const isKnown = roster.every(
      ({ id, name }) =>
        name === "" || Number(id) === memberId || this.wire.haveMet(Number(id), memberId),
    );
    if (!isKnown || roster.length === 0) return;
    this.end(member, end);
    member.wipe();
    this.#wipes++;
    this.harm.note(memberId);
    this.mark(MEMBERS_MARKS.wiped);
  }

  #rot({ member: number, end, rot: of, isBeyond }: MembersStep & { readonly do: "rot" }): void {
    const member = this.member(number);
    const { identity } = member;
    if (identity === null || member.isBlank || member.isRemoved) return;
    const isHeld = this.harm.mayHit(member);
    if (!isHeld && !isBeyond) return;
    this.end(member, end);
    const places = rot(member.machine, of);
    this.note(`bits rot in n${number}`, places, of);
    if (places === 0) return;
    if (!isHeld) this.harm.isBeyond = true;
    this.harm.note(identity.memberId);
    this.wire.losesEntries(identity.memberId);
    this.mark(MEMBERS_MARKS.rotten);
  }

  #pause(member: Member, forMs: number): void {
    member.pause();
    const { life } = member;
    this.after(forMs, () => {
      if (member.life === life) member.resume();
    });
  }

  end(member: Member, end?: End): void {
    if (member.state === "down") return;
    if (this.leader === member.number && this.clients.writesElsewhere(member.number) > 0)
      this.mark(MEMBERS_MARKS.lostWithLeader);
    member.crash(end);
    this.clients.disconnect(member);
  }

  // ---- time ----

  run(ms: number): void {
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
    for (const member of this.members) {
      const applied = member.takeApplied();
      if (member.isMadeAnew && member.identity !== null) this.harm.healed(member.identity.memberId);
      if (applied === null) continue;
      const { index, stateHash } = applied;
      this.note(`n${member.number} has applied`, index, stateHash);
      if (!this.states.applied(member.number, index, stateHash)) continue;
      this.#noteVoters(member);
      this.#durable.committed(index);
    }
    if (this.#dying.length === 0) return;
    for (const member of this.#dying.splice(0)) this.end(member);
    if (this.#thrown !== null) throw this.#thrown as Error;
  }

  // ---- what members tell ----

  observer(): LinkObserver {
    const observer = this.wire.observer();
    return {
      said: (frame) => this.guarded(() => observer.said(frame)),
      heard: (frame) => this.guarded(() => observer.heard(frame)),
    };
  }

  note(what: string, number: number, detail: unknown = null): void {
    this.#trace.event(this.nowMs, what, number, detail);
  }

  mark(name: MembersMark): void {
    this.marks.hit(name);
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
    return this.members[number - 1] as Member;
  }

  opened(member: Member): void {
    this.#verdict.opened(member);
    this.roster.opened(member);
    if (member.life > 1) this.#cycles++;
  }

  stopped({ number }: Member): void {
    const { newest } = this.wire;
    const before = this.#handingOver;
    if (before?.member === number && newest.term > before.term) this.mark(MEMBERS_MARKS.handedOver);
  }

  #noteVoters(member: Member): void {
    if (this.roster.knowsVoters && !this.#hasChanges) return;
    const voters = this.roster.noteVoters(member);
    if (voters !== null) this.note("other voters", voters.length, voters);
  }

  promised(id: NodeId): void {
    this.#durable.promised(id, this.wire.promisedBy(id));
  }

  refusedAsRemoved(by: NodeId, removed: NodeId): void {
    this.#durable.refusedAsRemoved(by, removed);
  }

  // ---- the end ----

  #heal(): void {
    if (this.#electionsBefore !== null) this.#judgeCalm();
    this.#sight.isCut = false;
    this.#everyWay((from, to) => {
      this.network.setWeather(from, to, CLEAR_WAY);
      this.network.clear(from, to);
    });
    const away = this.members.filter(({ downForMs }) => downForMs > AWAY_MS);
    for (const member of this.members) {
      member.clearFaults();
      member.resume();
    }
    this.#settle();
    if (!this.#healing.becomesWhole()) {
      this.mark(MEMBERS_MARKS.majorityRotten);
      return;
    }
    if (away.length > 0) this.mark(MEMBERS_MARKS.caughtUp);
    this.#verdict.judge();
  }

  /** Nothing went wrong, so nothing may have: no leader was deposed, no client was refused or left alone. */
  #judgeCalm(): void {
    this.run(this.timeoutMs);
    const { unknown, refused, busy } = this.clients;
    check(
      this.wire.elections === this.#electionsBefore,
      "without faults nobody is deposed",
      () => `${this.#electionsBefore} elections at first, then ${this.wire.elections}`,
    );
    check(
      unknown + refused + busy === 0,
      "without faults every request is answered",
      () => `${unknown} unknown, ${refused} refused, ${busy} wait`,
    );
  }
}

const PATHS: Readonly<Record<"log" | "votes" | "data" | "members", RegExp>> = {
  log: /\/wal\/|\/next\.wal$/,
  votes: /\/VOTE$/,
  data: /\.hdb$/,
  members: /\/MEMBERS$/,
};
