/**
 * One member of the members world: a simulated machine on the network, and the processes that one after another live on
 * it, each a whole node as it ships.
 */
import { HarmonyError } from "../src/base/index.ts";
import { type Node, type NodeOptions, openNode } from "../src/db/index.ts";
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
import { type FrameObserver, tappedLinks } from "./members-links.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import type { MembersOptions } from "./members-options.ts";
import { NEVER_COMPACTS } from "./node-options.ts";
import { Violation } from "./violation.ts";

/** A kernel holds back so much for a process that does not listen. */
const INBOX_MAX = 2000;

/** How a process ends: killed, or with the power, of which so much survives. */
export type End = CrashMode | "kill";

export interface MemberSurroundings {
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly options: MembersOptions;
  /** For one link of a member. */
  observer(): FrameObserver;
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
}

export function nameOf(number: number): string {
  return `n${number}`;
}

export function urlOf(number: number): string {
  return `http://${nameOf(number)}:2380`;
}

export class Member {
  readonly number: number;
  readonly machine: SimEnv;
  readonly #world: MemberSurroundings;
  readonly #body = new Pausable();
  readonly #nodeOptions: NodeOptions;
  #state: "down" | "opening" | "up" | "closing" = "down";
  #life = 0;
  #node: Node | null = null;
  #identity: Node["identity"] | null = null;
  #appliedIndex = 0;
  /** Snapshots of others in this life. */
  #installed = 0;
  #downSinceMs = 0;
  /** The end of its last standstill. */
  #stoodStillMs = -1;
  #haltAt = 0;
  #haltMoment: "before" | "after" = "before";
  /** How the next end that nobody chose leaves the disk. */
  #endMode: End = "kill";
  #faults: InjectedFault[] = [];
  #isFull = false;
  #isRemoved = false;
  /** In this life the disk was full at some time. */
  #wasFull = false;

  constructor(world: MemberSurroundings, number: number, seed: number) {
    const { options, scheduler, network } = world;
    const { shortWritePercent, journaledNames, syncKeepsName, diskLatencyMs } = options;
    this.number = number;
    this.#world = world;
    this.#nodeOptions = nodeOptionsOf(options, number);
    this.machine = new SimEnv({
      seed,
      scheduler,
      network: { of: network, url: urlOf(number) },
      disk: { shortWritePercent, journaledNames, syncKeepsName, latencyMs: diskLatencyMs },
    });
    this.machine.disk.observer = (moment, operation, ordinal): void => {
      if (moment === "before") world.note(`n${number} ${operation.kind}`, ordinal, operation);
      if (ordinal === this.#haltAt && moment === this.#haltMoment) {
        world.note(`n${number} ends ${moment} this operation`, ordinal);
        this.#die();
      }
    };
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
    const { index } = node.database.applied;
    if (index === this.#appliedIndex) return null;
    this.#appliedIndex = index;
    const { installed = 0 } = node.snapshotsInstalled ?? {};
    if (installed > this.#installed) this.#world.mark(MEMBERS_MARKS.installed);
    this.#installed = installed;
    return node.database.applied;
  }

  start(): void {
    if (this.#state !== "down" || this.#isRemoved) return;
    this.#state = "opening";
    const life = ++this.#life;
    this.#world.note(`n${this.number} starts`, life);
    runIo(openNode(this.#boot(), this.#nodeOptions), (error, node) => {
      if (life !== this.#life || !this.machine.running) return;
      if (error === null) this.#opened(node as Node);
      else this.#refused(error);
    });
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
    this.#state = "up";
    const life = this.#life;
    node.onFatal((error) => this.#fatal(life, error));
    this.#world.note(`n${this.number} is up`, life);
    if (this.#node !== null) this.#world.opened(this);
  }

  #refused(error: unknown): void {
    const isKnown = error instanceof FileError || error instanceof HarmonyError;
    if (this.#learnsRemoval(error)) {
      this.#die();
      return;
    }
    if (!isKnown) this.#world.failed(error);
    else if (!this.#hasFault)
      this.#world.failed(new Violation("a directory opens again after a crash", `${error.stack}`));
    this.#die();
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
    if (this.#state === "opening" && this.#life > 1)
      this.#world.mark(MEMBERS_MARKS.crashInRecovery);
    if (end === "kill") this.machine.kill();
    else this.machine.losePower(end);
    for (const fault of this.#faults) fault.remove();
    this.#faults = [];
    this.#state = "down";
    this.#node = null;
    this.#body.clear();
    this.#haltAt = 0;
    this.#endMode = "kill";
    this.#wasFull = this.#isFull;
    this.#downSinceMs = this.#world.scheduler.nowMs;
  }

  get downForMs(): number {
    return this.#state === "down" ? this.#world.scheduler.nowMs - this.#downSinceMs : 0;
  }

  /** Ends the process at one of its next file operations. */
  crashSoon(operations: number, moment: "before" | "after", end: End): void {
    this.#haltAt = this.machine.disk.opCount + operations;
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

function nodeOptionsOf(options: MembersOptions, number: number): NodeOptions {
  const initialCluster = Array.from({ length: options.nodes }, (_, i) => ({
    name: nameOf(i + 1),
    peerUrls: [urlOf(i + 1)],
  }));
  return {
    dataDir: DATA_DIRECTORY,
    name: nameOf(number),
    peerUrls: [urlOf(number)],
    clientUrls: [`http://${nameOf(number)}:2379`],
    initialCluster,
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
