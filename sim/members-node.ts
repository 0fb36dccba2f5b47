/**
 * One member of the members world: a simulated machine on the network, and the processes that one after another live on
 * it, each a whole node as it ships. Its disk may be lost, and what comes back then is another member:
 *
 *     founder ──wipe──▶ blank ──start──▶ joins, where it was added under its address ──▶ as any
 *        ▲                │
 *        └──────start─────┘ as who it was, which the others refuse, until it is wiped again
 */
import { HarmonyError, hash32 } from "../src/base/index.ts";
import { type InitialMember, type Node, type NodeOptions, openNode } from "../src/db/index.ts";
import { type Env, FileError, runIo } from "../src/env/index.ts";
import {
  type CrashMode,
  type InjectedFault,
  SimEnv,
  type SimNetwork,
  type SimScheduler,
} from "../src/env/sim/index.ts";
import { Pausable, shapedEnv } from "./cluster-env.ts";
import { DATA_DIRECTORY } from "./members-disk.ts";
import { type LinkObserver, tappedLinks } from "./members-links.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import type { MembersOptions } from "./members-options.ts";
import { NEVER_COMPACTS } from "./node-options.ts";
import type { NodeId } from "../src/raft/index.ts";
import { Violation } from "./violation.ts";

/** Where the data file of a snapshot waits for its place. */
const NEXT_DATA_FILE = `${DATA_DIRECTORY}/tmp/0.hdb`;

/** A kernel holds back so much for a process that does not listen. */
const INBOX_MAX = 2000;

function hasEnded(node: Node): boolean {
  let isEnded = false;
  node.onFatal(() => {
    isEnded = true;
  });
  return isEnded;
}

/** One that never starts keeps no other from coming. */
export const LEARNERS_MAX = 3;

/** It is not known yet where it asks, or is known no more; nobody is there to be asked, or has what it needs. */
const JOINS_END_WITH: ReadonlySet<string> = new Set([
  "JOIN_REFUSED",
  "UNREACHABLE",
  "PEER_FAILED",
  "MEMBER_REMOVED",
]);

/** How a process ends: killed, or with the power, of which so much survives. */
export type End = CrashMode | "kill";

/** When a process is to end: at the n-th of its file operations. */
export interface Halt {
  readonly operations: number;
  readonly moment: "before" | "after";
  readonly end: End;
  /** From now on, or from the one on with which the data file of a snapshot takes its place. */
  readonly from: "now" | "swap";
}

export interface MemberSurroundings {
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly options: MembersOptions;
  /** For one link of a member. */
  observer(): LinkObserver;
  note(what: string, number: number, detail?: unknown): void;
  mark(name: MembersMark): void;
  /** The process has ended by itself, or at a file operation that it was to end at. */
  died(member: Member): void;
  /** A check failed where an exception would be swallowed. */
  failed(error: unknown): void;
  opened(member: Member): void;
  /** A member that was stopped in order has said that it is done. */
  stopped(member: Member): void;
  /** Somebody has asked for its removal. */
  mayBeRemoved(member: Member): boolean;
  /** All members, as whoever came furthest says; null where none is at the address of this one that has never run. */
  rosterFor(member: Member): readonly InitialMember[] | null;
  /** Bits have rotted in its files. */
  isHarmed(member: Member): boolean;
}

export function nameOf(number: number): string {
  return `n${number}`;
}

export function urlOf(number: number): string {
  return `http://${nameOf(number)}:2380`;
}

export class Member {
  readonly number: number;
  readonly #world: MemberSurroundings;
  readonly #seed: number;
  readonly #body = new Pausable();
  #machine: SimEnv;
  #disks = 0;
  #state: "down" | "opening" | "up" | "closing" = "down";
  #life = 0;
  #node: Node | null = null;
  #identity: Node["identity"] | null = null;
  #appliedIndex = 0;
  /** Nothing on its disk is of a member that has run: it has to join. */
  #isBlank: boolean;
  /** It was started as who it was, on a disk that knows nothing of that. */
  #isImpostor = false;
  /** Its start has come to nothing, and it says why. */
  #isRefused = false;
  /** It refuses its files, for good. */
  #isBroken = false;
  /** The member that it was before it lost its disk; null: it has not. */
  #lost: NodeId | null = null;
  /** All members, as they were when it joined; null: it is one of the first. */
  #joined: readonly InitialMember[] | null = null;
  #wasLearner = false;
  /** This life began in quarantine. */
  #beganInQuarantine = false;
  #entered = 0;
  #healed = 0;
  /** Snapshots of others in this life. */
  #installed = 0;
  #downSinceMs = 0;
  /** The end of its last standstill. */
  #stoodStillMs = -1;
  #haltAt = 0;
  /** As many operations after a data file takes the place of the one before; null: not then. */
  #haltAfterSwap: number | null = null;
  #haltMoment: "before" | "after" = "before";
  /** How the next end that nobody chose leaves the disk. */
  #endMode: End = "kill";
  #faults: InjectedFault[] = [];
  #isFull = false;
  #isRemoved = false;
  /** In this life the disk was full at some time. */
  #wasFull = false;

  /** `isBlank`: nobody has ever run there. */
  constructor(world: MemberSurroundings, number: number, seed: number, isBlank: boolean) {
    this.number = number;
    this.#world = world;
    this.#seed = seed;
    this.#isBlank = isBlank;
    this.#machine = this.#newMachine();
  }

  #newMachine(): SimEnv {
    const { options, scheduler, network } = this.#world;
    const { number } = this;
    const { shortWritePercent, journaledNames, syncKeepsName, diskLatencyMs } = options;
    const machine = new SimEnv({
      seed: this.#disks === 0 ? this.#seed : hash32(this.#seed, this.#disks),
      scheduler,
      network: { of: network, url: urlOf(number) },
      disk: { shortWritePercent, journaledNames, syncKeepsName, latencyMs: diskLatencyMs },
    });
    machine.disk.observer = (moment, operation, ordinal): void => {
      if (moment === "before") this.#world.note(`n${number} ${operation.kind}`, ordinal, operation);
      if (
        this.#haltAfterSwap !== null &&
        operation.kind === "rename" &&
        operation.path === NEXT_DATA_FILE
      ) {
        this.#haltAt = ordinal + this.#haltAfterSwap;
        this.#haltAfterSwap = null;
      }
      if (ordinal === this.#haltAt && moment === this.#haltMoment) {
        this.#world.note(`n${number} ends ${moment} this operation`, ordinal);
        this.#die();
      }
    };
    return machine;
  }

  get machine(): SimEnv {
    return this.#machine;
  }

  /** A process that starts there has to join; or it is an impostor, whom nobody hears. */
  get isBlank(): boolean {
    return this.#isBlank;
  }

  get isImpostor(): boolean {
    return this.#isImpostor;
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Somebody new may come there: nobody runs there, or nobody who belongs to the cluster. */
  get isVacant(): boolean {
    return this.#isBlank || this.#isRemoved;
  }

  /** The member that it was when it lost its disk. */
  get lost(): NodeId | null {
    return this.#lost;
  }

  get state(): "down" | "opening" | "up" | "closing" {
    return this.#state;
  }

  get life(): number {
    return this.#life;
  }

  /** Null unless it is up and takes requests. */
  get node(): Node | null {
    return this.#node;
  }

  /** Null until it was open once. */
  get identity(): Node["identity"] | null {
    return this.#identity;
  }

  get isPaused(): boolean {
    return this.#body.isPaused;
  }

  /** It knows that it was removed, and never runs again. */
  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** What it has applied since this was asked last; null when that is nothing. */
  takeApplied(): { readonly index: number; readonly stateHash: number } | null {
    const node = this.#node;
    if (node === null) return null;
    this.#watchQuarantine(node);
    // What it holds then is not to be trusted, and nobody sees it.
    if (this.isQuarantined) return null;
    const { index } = node.database.applied;
    if (index === this.#appliedIndex) return null;
    // It came upon damage in the middle of an entry: it answers nobody any more, and will say so.
    if (this.#world.isHarmed(this) && hasEnded(node)) return null;
    this.#appliedIndex = index;
    const { installed = 0 } = node.snapshotsInstalled ?? {};
    if (installed > this.#installed) this.#world.mark(MEMBERS_MARKS.installed);
    this.#installed = installed;
    if (this.#world.options.autoPromote && this.#joined !== null) this.#noteVote(node);
    return node.database.applied;
  }

  /** It says itself that it takes no part. */
  get isQuarantined(): boolean {
    const { reason = null } = this.#node?.quarantineStats ?? {};
    return reason !== null;
  }

  /** In this life what it had was not to be trusted at some time. */
  get wasQuarantined(): boolean {
    return (this.#node?.quarantineStats?.entered ?? 0) > 0;
  }

  /** In this life all that it has came from others, since the start found damage. */
  get isMadeAnew(): boolean {
    return this.#beganInQuarantine && this.#healed > 0;
  }

  #noteVote({ database }: Node): void {
    const { isLearner } = database.status();
    if (this.#wasLearner && !isLearner) this.#world.mark(MEMBERS_MARKS.promotedItself);
    this.#wasLearner = isLearner;
  }

  #watchQuarantine({ quarantineStats }: Node): void {
    const { entered = 0, healed = 0, reason = null } = quarantineStats ?? {};
    if (entered > this.#entered) {
      this.#world.mark(MEMBERS_MARKS.quarantined);
      // However it ended before, what it keeps is whole: to lose it and be healed costs the others their reserve.
      if (!this.#world.isHarmed(this))
        this.#world.failed(
          new Violation("only damage sets a member apart", `n${this.number}: ${reason}`),
        );
    }
    if (healed > this.#healed) {
      this.#world.note(`n${this.number} is healed`, healed);
      this.#world.mark(MEMBERS_MARKS.healed);
    }
    this.#entered = entered;
    this.#healed = healed;
  }

  /** `asOld`: a machine whose disk was lost, with the flags that it was started with before. */
  start(asOld = false): void {
    if (this.#state !== "down" || this.#isRemoved || this.#isBroken) return;
    if (this.#isBlank && !this.#isImpostor) {
      if (asOld) {
        if (this.number > this.#world.options.nodes || this.#lost === null) return;
        this.#isImpostor = true;
        this.#joined = null;
      } else {
        this.#joined = this.#world.rosterFor(this);
        if (this.#joined === null) return;
      }
    }
    this.#state = "opening";
    this.#isRefused = false;
    const life = ++this.#life;
    this.#world.note(`n${this.number} starts`, life);
    const options = nodeOptionsOf(this.#world.options, this.number, this.#joined);
    runIo(openNode(this.#boot(), options), (error, node) => {
      if (life !== this.#life || !this.machine.running) return;
      if (error === null) this.#opened(node as Node);
      else this.#refused(error);
    });
  }

  /** Somebody empties the disk of a machine that is down for a member that is to come. */
  vacate(): void {
    this.wipe();
    this.#lost = null;
  }

  /** The disk of a machine that is down is lost. */
  wipe(): void {
    if (this.#state !== "down") return;
    const { wallSkewMs, disk } = this.#machine;
    this.#lost = this.#isImpostor ? this.#lost : (this.#identity?.memberId ?? this.#lost);
    this.#disks++;
    this.#machine = this.#newMachine();
    this.#machine.wallSkewMs = wallSkewMs;
    if (this.#isFull) this.#machine.disk.quotaBytes = disk.quotaBytes;
    this.#identity = null;
    this.#isBlank = true;
    this.#isImpostor = false;
    this.#isBroken = false;
    this.#isRemoved = false;
    this.#wasLearner = false;
  }

  #boot(): Env {
    const { options } = this.#world;
    const env = shapedEnv(
      this.machine.boot(),
      this.#body,
      options.clockRates[this.number - 1] as number,
    );
    const { links } = env;
    if (links === undefined) return env;
    return { ...env, links: tappedLinks(links, this.#body, () => this.#world.observer()) };
  }

  #opened(node: Node): void {
    this.#node = node;
    this.#identity = node.identity;
    this.#appliedIndex = -1;
    this.#installed = 0;
    this.#entered = 0;
    this.#healed = 0;
    this.#beganInQuarantine = this.isQuarantined;
    this.#state = "up";
    if (this.#isBlank && !this.#isImpostor) {
      this.#isBlank = false;
      this.#world.mark(this.#lost === null ? MEMBERS_MARKS.joined : MEMBERS_MARKS.replaced);
    }
    const life = this.#life;
    node.onFatal((error) => this.#fatal(life, error));
    this.#world.note(`n${this.number} is up`, life);
    if (this.#node !== null) this.#world.opened(this);
  }

  #refused(error: unknown): void {
    this.#isRefused = true;
    const code = error instanceof HarmonyError ? error.code : String(error);
    this.#world.note(`n${this.number} does not start`, this.#life, code);
    const isKnown = error instanceof FileError || error instanceof HarmonyError;
    if (this.#learnsRemoval(error)) {
      this.#die();
      return;
    }
    if (!isKnown) this.#world.failed(error);
    else if (this.#isBlank && error instanceof HarmonyError && JOINS_END_WITH.has(error.code))
      this.#world.mark(MEMBERS_MARKS.joinRefused);
    else if (this.#isDamage(error)) {
      this.#isBroken = true;
      this.#world.mark(MEMBERS_MARKS.damageRefused);
    } else if (!this.#hasFault)
      this.#world.failed(new Violation("a directory opens again after a crash", `${error.stack}`));
    this.#die();
  }

  #isDamage(error: unknown): boolean {
    return error instanceof HarmonyError && error.code === "CORRUPT" && this.#world.isHarmed(this);
  }

  #learnsRemoval(error: unknown): boolean {
    if (!(error instanceof HarmonyError) || error.code !== "MEMBER_REMOVED") return false;
    if (!this.#world.mayBeRemoved(this)) return false;
    this.#isRemoved = true;
    this.#world.mark(MEMBERS_MARKS.removedLearns);
    return true;
  }

  /** In order: it hands over, finishes what is on its way, and says when it is done. */
  stop(): void {
    const node = this.#node;
    if (this.#state !== "up" || node === null) return;
    this.#state = "closing";
    const life = this.#life;
    this.#world.note(`n${this.number} stops`, life);
    runIo(node.close(), (error) => {
      if (life !== this.#life || !this.machine.running) return;
      if (error !== null && !this.#hasFault)
        this.#world.failed(new Violation("a member stops in order", `${(error as Error).stack}`));
      this.#world.stopped(this);
      this.#die();
    });
  }

  /** The process ends. Safe to call in the middle of anything; what is left of the disk is settled by `crash`. */
  #die(): void {
    this.machine.halt();
    this.#world.died(this);
  }

  /** The process has ended, or ends now. */
  crash(end: End = this.#endMode): void {
    if (this.#state === "down") return;
    this.#world.note(`n${this.number} ends`, this.#life, end);
    const isCut = this.#state === "opening" && !this.#isRefused;
    if (isCut && this.#isBlank && !this.#isImpostor) this.#world.mark(MEMBERS_MARKS.joinCutShort);
    else if (isCut && this.#life > 1) this.#world.mark(MEMBERS_MARKS.crashInRecovery);
    if (this.isQuarantined) this.#world.mark(MEMBERS_MARKS.crashInQuarantine);
    if (end === "kill") this.machine.kill();
    else this.machine.losePower(end);
    for (const fault of this.#faults) fault.remove();
    this.#faults = [];
    this.#state = "down";
    this.#node = null;
    this.#beganInQuarantine = false;
    this.#body.clear();
    this.#haltAt = 0;
    this.#haltAfterSwap = null;
    this.#endMode = "kill";
    this.#wasFull = this.#isFull;
    this.#downSinceMs = this.#world.scheduler.nowMs;
  }

  get downForMs(): number {
    return this.#state === "down" ? this.#world.scheduler.nowMs - this.#downSinceMs : 0;
  }

  /** Ends the process at one of its next file operations, or of those after a snapshot takes the place of what it has. */
  crashSoon({ operations, moment, end, from }: Halt): void {
    if (from === "swap") this.#haltAfterSwap = operations;
    else this.#haltAt = this.machine.disk.opCount + operations;
    this.#haltMoment = moment;
    this.#endMode = end;
  }

  pause(): void {
    if (this.#state !== "down") this.#body.pause();
  }

  resume(): void {
    if (this.#body.isPaused) this.#stoodStillMs = this.#world.scheduler.nowMs;
    this.#body.resume();
  }

  /** It has taken requests since then and was never stopped, so it has had the time to answer. */
  hasRunSince(timeMs: number): boolean {
    return this.#state === "up" && !this.isPaused && this.#stoodStillMs < timeMs;
  }

  inject(fault: InjectedFault): void {
    if (this.#state === "down") fault.remove();
    else this.#faults.push(fault);
  }

  full(spareBytes: number): void {
    const { disk } = this.machine;
    disk.quotaBytes = disk.usedBytes + spareBytes;
    this.#isFull = true;
    this.#wasFull = true;
  }

  room(): void {
    this.machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    this.#isFull = false;
  }

  clearFaults(): void {
    // One that has struck stays in the list: what it did may yet come to light.
    for (const fault of this.#faults) fault.remove();
    this.#haltAt = 0;
    this.#haltAfterSwap = null;
    this.room();
  }

  /** A client's request reaches the process, now or when it runs again. False: there is nobody. */
  input(fire: (node: Node) => void): boolean {
    if (this.#node === null || this.#body.waiting > INBOX_MAX) return false;
    this.#body.input(() => {
      if (this.#node !== null && this.machine.running) fire(this.#node);
    });
    return true;
  }

  get #hasFault(): boolean {
    return this.#wasFull || this.#faults.some(({ struck }) => struck > 0);
  }

  #fatal(life: number, error: HarmonyError): void {
    if (life !== this.#life || !this.machine.running) return;
    if (this.#learnsRemoval(error)) {
      this.#die();
      return;
    }
    // The next start puts it aside.
    if (this.#isDamage(error)) {
      this.#die();
      return;
    }
    const cause = error.cause instanceof Error ? error.cause : error;
    if (!this.#hasFault || !(cause instanceof HarmonyError || cause instanceof FileError))
      this.#world.failed(
        cause instanceof HarmonyError
          ? new Violation("a member stops only after a failed write", `${error.stack}`)
          : cause,
      );
    this.#world.mark(MEMBERS_MARKS.failedWrite);
    this.#die();
  }
}

function nodeOptionsOf(
  options: MembersOptions,
  number: number,
  joined: readonly InitialMember[] | null,
): NodeOptions {
  const founders = Array.from({ length: options.nodes }, (_, i) => ({
    name: nameOf(i + 1),
    peerUrls: [urlOf(i + 1)],
  }));
  return {
    dataDir: DATA_DIRECTORY,
    name: nameOf(number),
    peerUrls: [urlOf(number)],
    clientUrls: [`http://${nameOf(number)}:2379`],
    initialCluster: joined ?? founders,
    join: joined !== null,
    autoPromote: options.autoPromote,
    learnersMax: LEARNERS_MAX,
    heartbeatIntervalMs: options.tickMs,
    electionTimeoutMs: options.electionMs,
    walSegmentBytes: options.segmentBytes,
    checkpoints: options.checkpoints,
    walRetentionBytes: options.walRetentionBytes,
    snapshotRateBytes: options.snapshotRateBytes,
    // At the end everybody tells everything that has ever happened.
    retention: { retentionMs: 0, retentionRevisions: NEVER_COMPACTS },
    quotaBytes: 0,
    requestTimeoutMs: options.requestTimeoutMs ?? undefined,
    watchMemoryBytes: options.watchMemoryBytes ?? undefined,
  };
}
