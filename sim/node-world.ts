/**
 * One node on a simulated machine: opened, used by several clients, crashed in the middle of things, opened again, and
 * compared with the oracle, life after life. It plays steps (play.ts); node-plan.ts draws them.
 *
 * What is checked beyond the oracle's rules: an acknowledgement never precedes the durability of what it acknowledges
 * (a fork of the machine loses its power at that very moment and is opened); every call is answered in its time;
 * after a failed write nothing is acknowledged and the node stops; a full disk refuses and recovers without a
 * restart; damage is refused or harmless.
 */
import type { HarmonyError } from "../src/base/index.ts";
import type { Node, Outcome, RangeRequest, RequestOp, TxnRequest } from "../src/db/index.ts";
import { SimEnv } from "../src/env/sim/index.ts";
import type { Marks } from "./marks.ts";
import type { ModelRequest } from "./model.ts";
import { close, observe, tryToOpen } from "./node-driver.ts";
import { proveDurable, rot } from "./node-forks.ts";
import {
  drawNodeOptions,
  NEVER_COMPACTS,
  type NodeWorldOptions,
  simplerNodeOptions,
} from "./node-options.ts";
import { NodePlan, type NodeView } from "./node-plan.ts";
import { type NodeStep, simplerNodeSteps } from "./node-steps.ts";
import { DiskTrouble, survivalOf } from "./node-trouble.ts";
import { COMMANDS_PER_CYCLE, NODE_MARKS, NodeWatch } from "./node-watch.ts";
import { NodeWatchers } from "./node-watchers.ts";
import { EVERYTHING } from "./oracle-compare.ts";
import { Oracle } from "./oracle.ts";
import type { Issued } from "./oracle-futures.ts";
import type { Play, World } from "./play.ts";
import type { Trace } from "./trace.ts";
import { check, show, Violation } from "./violation.ts";

const EVENTS_MAX = 400_000;
const LEASE_TTL_SECONDS_MIN = 2;
/** Five seconds and two election timeouts. */
const REQUEST_TIMEOUT_MS = 7000;
/** Calls that are overdue are looked for every 100 ms. */
const ANSWER_SLACK_MS = 250;
const JUMP_MS = 60_000;
const INT64_MAX = 0x7fff_ffff_ffff_ffffn;

export const NODE_WORLD: World<NodeWorldOptions, NodeStep> = {
  name: "node",
  drawOptions: drawNodeOptions,
  begin: (seed, options, trace, marks) => new NodePlay(seed, options, trace, marks),
  simplerOptions: simplerNodeOptions,
  simplerSteps: simplerNodeSteps,
};

type Step<Kind extends NodeStep["do"]> = Extract<NodeStep, { readonly do: Kind }>;

class NodePlay implements Play<NodeStep>, NodeView {
  readonly #options: NodeWorldOptions;
  readonly #machine: SimEnv;
  readonly #trace: Trace;
  readonly #marks: Marks;
  readonly #watch: NodeWatch;
  readonly #trouble: DiskTrouble;
  readonly #plan: NodePlan;
  readonly oracle: Oracle;
  readonly #watchers: NodeWatchers;
  /** In which life each numbered request was sent for the first time. */
  readonly #sentInLife = new Map<string, number>();
  #lives = 0;
  #isDiskWell = true;
  #node: Node | null = null;
  #cycles = 0;
  #answered = 0;
  #acknowledged = 0;
  #outstanding = 0;
  #commandsInLife = 0;
  #pausedMs = 0;
  #wallMs = 0;
  #recoveriesCut = 0;
  /** The node said goodbye in order, and nothing has been opened since. */
  #isClosed = false;
  #isClosing = false;
  /** The process ended after a failed write, and the machine has been up since (fault-rules D10). */
  #isCacheDoubtful = false;
  /** The last crash counts as a cycle once what it left is verified. */
  #isPending = false;
  /** The node survives what its callers throw, so a failed check inside an answer is kept until the world hears of it. */
  #thrown: unknown = null;

  constructor(seed: number, options: NodeWorldOptions, trace: Trace, marks: Marks) {
    this.#options = options;
    this.#trace = trace;
    this.#marks = marks;
    this.#machine = new SimEnv({ seed, disk: options.disk });
    this.#watch = new NodeWatch(this.#machine, trace, marks, () => this.oracle.ended());
    this.#trouble = new DiskTrouble(this.#machine);
    const kept = options.node.retention?.retentionRevisions ?? 0;
    this.oracle = new Oracle(
      {
        leaseTtlSecondsMin: LEASE_TTL_SECONDS_MIN,
        keepsHistory: kept > 0,
        fsyncIntervalMs: options.node.fsyncIntervalMs ?? 0,
        retentionRevisions: kept === NEVER_COMPACTS ? 0 : kept,
        hasWitness: this.#hasWitness,
      },
      () => this.#machine.scheduler.nowMs,
      marks,
    );
    this.#watchers = new NodeWatchers(this.oracle, marks);
    this.#plan = new NodePlan(seed, options, this);
  }

  get cycles(): number {
    return this.#cycles;
  }

  get commands(): number {
    return this.#acknowledged;
  }

  get isOpen(): boolean {
    return this.#node !== null && this.#machine.running;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  get answered(): number {
    return this.#answered;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  get hasFailed(): boolean {
    return this.#trouble.hasFailed;
  }

  get isCacheDoubtful(): boolean {
    return this.#isCacheDoubtful;
  }

  draw(): NodeStep | null {
    return this.#plan.next();
  }

  perform(step: NodeStep): void {
    this.#note(step.do, this.#machine.disk.opCount, step);
    this.#setWallClock();
    this.#take(step);
    if (this.#thrown !== null) throw this.#thrown as Error;
    this.#trouble.judge();
  }

  /** Where keys end, somebody has to say when. */
  get #hasWitness(): boolean {
    return this.#options.workload.deadlines === true;
  }

  /** What is acknowledged may not be durable yet, so there is nothing to prove. */
  get #isInterval(): boolean {
    return (this.#options.node.fsyncIntervalMs ?? 0) > 0;
  }

  get #nowMs(): number {
    return this.#machine.scheduler.nowMs;
  }

  #note(what: string, number = 0, detail: unknown = null): void {
    this.#trace.event(this.#nowMs, what, number, detail);
  }

  #take(step: NodeStep): void {
    const { scheduler } = this.#machine;
    switch (step.do) {
      case "open":
        this.#open(step);
        return;
      case "write":
        this.#write(step);
        return;
      case "read":
        this.#read(step.request);
        return;
      case "lease":
        this.#lease(step.id);
        return;
      case "watch":
        if (this.isOpen) this.#watchers.watch(step.watcher, step.request, this.#database);
        return;
      case "take":
        this.#takeNews(step);
        return;
      case "unwatch":
        if (this.isOpen) this.#watchers.unwatch(step.watcher);
        return;
      case "overdue":
        this.#overdue();
        return;
      case "await":
        this.#await(step.atMost);
        return;
      case "pass":
        scheduler.runUntil(this.#nowMs + step.forMs);
        return;
      case "pause":
        this.#pause(step.forMs);
        return;
      case "skew":
        this.#skew(step.wallMs);
        return;
      case "checkpoint":
        if (this.isOpen) this.#node?.checkpoint(() => {});
        return;
      case "halt":
        if (this.#machine.running) this.#watch.planHalt(step.halt);
        return;
      case "fail":
        this.#isDiskWell = false;
        if (this.#machine.running) this.#trouble.fail(step);
        return;
      case "slow":
        this.#isDiskWell = false;
        if (this.#machine.running) this.#trouble.slow(step);
        return;
      case "heal":
        this.#trouble.heal();
        return;
      case "full":
        this.#isDiskWell = false;
        this.#trouble.full(step.spareBytes);
        return;
      case "room":
        this.#trouble.room();
        return;
      case "crash":
        this.#crash(step);
        return;
      case "close":
        this.#close(step);
        return;
      case "rot":
        if (this.#isClosed) rot(this.#machine, this.#options.node, this.oracle, step, this.#marks);
        return;
    }
  }

  // ---- a life: open, verify, end ----

  #open({ halt }: Step<"open">): void {
    const machine = this.#machine;
    if (machine.running) return;
    // A process that ended and that nobody crashed: as if it had been killed.
    if (!machine.disk.quiet) machine.kill();
    this.#trouble.ended();
    this.#watchers.ended();
    this.#watch.planHalt(halt);
    const began = { beganAtMs: this.#nowMs, wallBeganMs: machine.wallMs };
    const node = tryToOpen(
      machine,
      this.#options.node,
      (error) => this.#trouble.onFatal(error),
      () => this.#trouble.room(),
    );
    this.#watch.planHalt(null);
    const isOpen = node !== null && !(node instanceof Error);
    this.oracle.started({ ...began, nowMs: this.#nowMs, wallMs: machine.wallMs, isOpen });
    if (node === null) {
      this.#note("crashed in recovery");
      this.#marks.hit(
        this.#recoveriesCut++ > 0 ? NODE_MARKS.secondCrash : NODE_MARKS.crashInRecovery,
      );
      this.#isClosed = false;
      return;
    }
    if (node instanceof Error) {
      const isFull = this.#trouble.isFull && "code" in node && node.code === "DISK_FULL";
      if (!isFull) throw new Violation("a directory opens again after a crash", `${node.stack}`);
      this.#note("refused: no room");
      machine.kill();
      return;
    }
    this.#opened(node);
  }

  #opened(node: Node): void {
    const marks = this.#marks;
    if (this.#isClosed) {
      check(node.log?.unclean !== true, "a node that was closed finds a clean log", () =>
        show(node.log),
      );
      marks.hit(NODE_MARKS.closed);
    }
    if (node.log !== null) {
      if (node.log.tornBytesCut > 0) marks.hit(NODE_MARKS.tornTail);
      if (node.log.rewrittenBytes > 0) marks.hit(NODE_MARKS.rewritten);
    }
    if (this.#isCacheDoubtful) marks.hit(NODE_MARKS.doubtfulCache);
    if (this.#trouble.isFull) marks.hit(NODE_MARKS.fullStart);
    this.#node = node;
    this.#isClosed = false;
    this.#recoveriesCut = 0;
    this.#outstanding = 0;
    this.#commandsInLife = 0;
    this.#lives++;
    this.#isDiskWell = !this.#trouble.isFull;
    this.oracle.reopened(observe(node.database));
    if (this.#hasWitness)
      this.#watchers.opened(node.database, () => this.#inAnswer(() => this.#hear()));
    this.#note("verified", this.oracle.revision);
    if (this.#isPending) this.#cycles++;
    this.#isPending = false;
  }

  #crash({ how, seed }: Step<"crash">): void {
    const machine = this.#machine;
    const { disk } = machine;
    const isUp = machine.running || !disk.quiet;
    this.#watch.crashing(isUp, how !== "kill");
    if (isUp) this.oracle.crashing();
    machine.halt();
    const { files, directories } = disk.unsynced();
    const isUnsynced = !disk.quiet || files.length > 0 || directories.length > 0;
    if (isUp && isUnsynced && this.#commandsInLife >= COMMANDS_PER_CYCLE) this.#isPending = true;
    if (how === "kill") {
      this.#isCacheDoubtful ||= this.#trouble.failedInLife;
      this.#trouble.ended();
      if (isUp) machine.kill();
    } else {
      this.#isCacheDoubtful = false;
      this.#trouble.ended();
      this.oracle.powerLost();
      machine.losePower(survivalOf(machine, how, seed));
    }
    if (isUp) this.#isClosed = false;
    this.#ended();
  }

  #close({ halt }: Step<"close">): void {
    const node = this.#node;
    const machine = this.#machine;
    if (node === null || !machine.running) return;
    this.#trouble.heal();
    this.#watch.planHalt(halt);
    const hadFailed = this.#trouble.failedInLife;
    this.#isClosing = true;
    const isEnded = close(machine, node);
    this.#isClosing = false;
    this.#watch.planHalt(null);
    this.#note(isEnded ? "closed" : "crashed while closing");
    if (!isEnded) {
      this.#node = null;
      return;
    }
    if (hadFailed) {
      // What is left open by a node that failed goes with its process.
      machine.kill();
      this.#isCacheDoubtful = true;
    } else {
      check(machine.disk.quiet, "a closed node holds nothing", () => "files are open or locked");
      machine.halt();
      // Without room the mark of the end may be missing.
      this.#isClosed = !this.#trouble.isFull;
    }
    this.#ended();
  }

  #ended(): void {
    this.#node = null;
    this.#outstanding = 0;
    this.#commandsInLife = 0;
    this.#watchers.ended();
  }

  get #database(): Node["database"] {
    return (this.#node as Node).database;
  }

  // ---- those who watch ----

  /** What has changed so far, before anything that depends on it is judged. */
  #hear(): void {
    this.#watchers.hear(this.#trouble.failedInLife || this.#isClosing);
  }

  #takeNews({ watcher, maxBytes }: Step<"take">): void {
    if (!this.isOpen) return;
    this.#hear();
    this.#watchers.take(watcher, maxBytes, this.#database, this.#trouble.failedInLife);
  }

  #overdue(): void {
    if (!this.isOpen || !this.#isDiskWell || !this.#hasWitness) return;
    this.#hear();
    this.oracle.read(EVERYTHING, observe(this.#database).range(EVERYTHING));
    this.oracle.notOverdue();
    this.#marks.hit(NODE_MARKS.overdueNone);
  }

  // ---- time ----

  #await(atMost: number): void {
    const { scheduler } = this.#machine;
    for (let events = 0; this.isOpen && this.#outstanding > atMost; events++) {
      check(
        events < EVENTS_MAX && scheduler.step(),
        "calls are answered",
        () => `${this.#outstanding} wait after ${events} events`,
      );
    }
  }

  #pause(forMs: number): void {
    this.#trouble.arrive();
    if (!this.isOpen) return;
    const { scheduler } = this.#machine;
    if (this.oracle.leaseEndsBefore(this.#nowMs + forMs))
      this.#marks.hit(NODE_MARKS.pauseOverLease);
    scheduler.stall(forMs);
    this.#pausedMs += forMs;
    this.#trouble.paused(forMs);
    this.#setWallClock();
    scheduler.runUntil(this.#nowMs);
  }

  #skew(wallMs: number): void {
    if (Math.abs(wallMs - this.#wallMs) > JUMP_MS)
      this.#marks.hit(this.isOpen ? NODE_MARKS.jumpWhileUp : NODE_MARKS.jumpWhileDown);
    this.#wallMs = wallMs;
    this.#setWallClock();
  }

  #setWallClock(): void {
    const driftMs = (this.#nowMs * this.#options.driftPpm) / 1_000_000;
    const skewMs = this.#wallMs + driftMs;
    if (skewMs > this.#machine.wallSkewMs)
      this.oracle.wallSetForward(skewMs - this.#machine.wallSkewMs);
    this.#machine.wallSkewMs = skewMs;
  }

  // ---- calls ----

  #inAnswer(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#thrown ??= error;
      this.#machine.halt();
    }
  }

  #write({ request, id = null, timeoutMs, prove }: Step<"write">): void {
    const node = this.#node;
    if (node === null || !this.isOpen) return;
    this.#hear();
    const isFull = this.oracle.quota === "certain" && takesSpace(request);
    const issued: Issued = this.oracle.issue(request, id);
    const inTime = this.#deadline(timeoutMs);
    this.#outstanding++;
    const options = {
      ...(timeoutMs === null ? {} : { timeoutMs }),
      ...(id === null ? {} : { requestId: id }),
    };
    node.database.write(request, options, (error, outcome) =>
      this.#inAnswer(() => {
        this.#note("answer", outcome?.revision ?? 0, error === null ? outcome : error.message);
        this.#outstanding--;
        this.#answered++;
        inTime();
        this.#hear();
        const isNoSpace = error === null && outcome.kind === "error" && outcome.code === "NO_SPACE";
        check(
          !isFull || isNoSpace || error !== null,
          "a quota that is passed refuses what takes space",
          () => show(outcome),
        );
        if (isNoSpace) {
          this.#marks.hit(NODE_MARKS.noSpace);
          this.oracle.refusedForSpace(issued);
          return;
        }
        if (error === null) this.#trouble.acknowledged();
        if (error !== null) this.#refused(error, issued);
        this.oracle.answered(issued, error, outcome);
        if (error !== null) return;
        this.#markOutcome(issued, outcome);
        this.#acknowledged++;
        this.#commandsInLife++;
        this.#watch.acknowledged();
        if (this.#trouble.takeRoom()) this.#marks.hit(NODE_MARKS.fullAndBack);
        if (prove && !this.#isInterval)
          proveDurable(this.#machine, this.#options.node, this.oracle);
      }),
    );
  }

  #markOutcome({ request, id }: Issued, outcome: Outcome): void {
    const marks = this.#marks;
    if (id !== null) {
      const name = `${id.session}/${id.number}`;
      const first = this.#sentInLife.get(name) ?? this.#lives;
      this.#sentInLife.set(name, first);
      if (outcome.kind === "error" && outcome.code === "REQUEST_EXPIRED")
        marks.hit(NODE_MARKS.refusedAsExpired);
      else if (first < this.#lives) marks.hit(NODE_MARKS.sentAgain);
    }
    if (request.kind !== "incr") return;
    if (outcome.kind === "error" && outcome.code === "OVERFLOW")
      marks.hit(NODE_MARKS.counterRefused);
    if (
      outcome.kind === "incr" &&
      (outcome.value === INT64_MAX || outcome.value === -INT64_MAX - 1n)
    )
      marks.hit(NODE_MARKS.counterEdge);
  }

  #refused(error: HarmonyError, issued: Issued): void {
    this.#trouble.refused(error, issued.issuedAtMs);
    if (error.code === "TIMEOUT" && this.#trouble.isStuck) this.#marks.hit(NODE_MARKS.stuck);
    if (error.code === "TIMEOUT" && !error.maybeApplied) this.#marks.hit(NODE_MARKS.certainlyNot);
    if (this.#trouble.hasFailed) this.#marks.hit(NODE_MARKS.failedWrite);
  }

  /** Checks, when the answer comes, that it is in time: a caller is never left waiting. */
  #deadline(timeoutMs: number | null): () => void {
    const limitMs = timeoutMs ?? this.#options.node.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    const startedMs = this.#nowMs - this.#pausedMs;
    return () => {
      const tookMs = this.#nowMs - this.#pausedMs - startedMs;
      check(
        tookMs <= limitMs + ANSWER_SLACK_MS,
        "a call is answered in its time",
        () => `${tookMs} ms, and it was given ${limitMs}`,
      );
    };
  }

  #read(request: RangeRequest | TxnRequest): void {
    const node = this.#node;
    if (node === null || !this.isOpen) return;
    const inTime = this.#deadline(null);
    this.#outstanding++;
    const reply = (error: HarmonyError | null, response: Outcome): void =>
      this.#inAnswer(() => {
        this.#note("answer", response?.revision ?? 0, error === null ? response : error.message);
        this.#outstanding--;
        inTime();
        this.#hear();
        if (error === null) this.oracle.read(request, response);
      });
    if (request.kind === "range") node.database.range(request, {}, reply);
    else node.database.write(request, {}, reply);
  }

  #lease(id: bigint): void {
    const node = this.#node;
    if (node === null || !this.isOpen) return;
    const inTime = this.#deadline(null);
    this.#outstanding++;
    node.database.leaseStatus(id, true, {}, (error, status) =>
      this.#inAnswer(() => {
        this.#note("answer", status?.revision ?? 0, error === null ? status : error.message);
        this.#outstanding--;
        inTime();
        this.#hear();
        if (error === null) this.oracle.leaseStatus(id, status, this.#commandsInLife > 0);
      }),
    );
  }
}

const TAKES_SPACE: ReadonlySet<string> = new Set([
  "put",
  "leaseGrant",
  "set",
  "incr",
  "append",
  "setRange",
  "mset",
  "lock",
  "sessionOpen",
]);

function takesSpace(request: ModelRequest | RequestOp): boolean {
  return request.kind === "txn"
    ? [...request.success, ...request.failure].some(takesSpace)
    : TAKES_SPACE.has(request.kind);
}
