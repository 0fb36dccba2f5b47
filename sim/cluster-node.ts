/**
 * One node of the cluster world: a simulated machine and the processes that one after another live on it, each with
 * the shipped log, vote file, Raft and Ready loop. Whatever a node promises to others is written down here as it
 * leaves, and every later start is held against it.
 */
import { CLUSTER_MARKS, type ClusterMark } from "./cluster-marks.ts";
import { HarmonyError } from "../src/base/index.ts";
import { type Env, FileError, type Io, runIo } from "../src/env/index.ts";
import { type CrashMode, type InjectedFault, runIoNow, SimEnv } from "../src/env/sim/index.ts";
import type { SimScheduler } from "../src/env/sim/index.ts";
import {
  type Entry,
  type GroupId,
  type HardState,
  type LogIndex,
  type Message,
  type NodeId,
  RawNode,
  type Ready,
  type Term,
} from "../src/raft/index.ts";
import { GroupClock, Replica, ReplicaHost } from "../src/replica/index.ts";
import { decideVote, VoteFile, Wal, type WalIdentity } from "../src/wal/index.ts";
import { Pausable, shapedEnv } from "./cluster-env.ts";
import { type Applied, ClusterMachine, type OpResult } from "./cluster-machine.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import { type GroupOracle, LogView } from "./cluster-oracle.ts";
import { check, show, Violation } from "./violation.ts";

const ROOT = "data";
/** A kernel holds back so much for a process that does not listen. */
const INBOX_MAX = 2000;

/** How a process ends: killed, or with the power, of which so much survives. */
export type End = CrashMode | "kill";

/** What the node needs of the world around it. */
export interface Surroundings {
  readonly scheduler: SimScheduler;
  readonly options: ClusterOptions;
  readonly oracles: readonly GroupOracle[];
  send(from: ClusterNode, message: Message): void;
  note(what: string, number: number, detail?: unknown): void;
  mark(name: ClusterMark): void;
  /** The process has ended by itself, or at a file operation that it was to end at. */
  died(node: ClusterNode): void;
  /** A check failed where an exception would be swallowed. */
  failed(error: unknown): void;
  opened(node: ClusterNode): void;
  elected(node: ClusterNode, group: GroupReplica): void;
  deposed(node: ClusterNode, group: GroupReplica): void;
  /** A leader has committed entries that nobody had committed before. */
  committed(node: ClusterNode, group: GroupReplica, first: LogIndex): void;
  /** A message that promises something leaves: a vote, or an answer to an append. */
  promises(node: ClusterNode, group: GroupReplica): void;
}

/** What a node has of one group, over all its lives. */
export class GroupReplica {
  readonly group: GroupId;
  /** The log as the last Readys have it. */
  view = new LogView();
  /** Up to here others rely on the disk of this node, as long as the view is not cut. */
  promisedIndex: LogIndex = 0;
  promisedTerm: Term = 0;
  promisedVote: NodeId = 0;
  /** Votes that were granted and wait for the disk. */
  votesWaiting = 0;

  // Of the present life.
  raft: RawNode | null = null;
  opened: Opened | null = null;
  replica: Replica<OpResult> | null = null;
  machine: ClusterMachine | null = null;
  isLeader = false;
  term: Term = 0;
  agreedTo: LogIndex = 0;

  constructor(group: GroupId) {
    this.group = group;
  }

  promise(term: Term, vote: NodeId): void {
    if (term > this.promisedTerm) {
      this.promisedTerm = term;
      this.promisedVote = 0;
    }
    if (term === this.promisedTerm && vote !== 0) this.promisedVote = vote;
  }

  stop(): void {
    this.raft = null;
    this.opened = null;
    this.replica = null;
    this.machine = null;
    this.isLeader = false;
    this.votesWaiting = 0;
  }
}

/** What a disk holds of a group. */
export interface Recovered {
  readonly hardState: HardState;
  readonly incarnation: number;
  readonly view: LogView;
}

interface Opened {
  readonly wal: Wal;
  readonly votes: VoteFile;
}

export class ClusterNode {
  readonly id: NodeId;
  readonly machine: SimEnv;
  readonly groups: readonly GroupReplica[];
  readonly #world: Surroundings;
  readonly #body = new Pausable();
  #state: "down" | "opening" | "up" = "down";
  #life = 0;
  #host: ReplicaHost | null = null;
  #haltAt = 0;
  #haltMoment: "before" | "after" = "before";
  /** How the next end that nobody chose leaves the disk. */
  #endMode: End = "kill";
  #faults: InjectedFault[] = [];
  /** All nodes lost their power at once before this life. */
  #afterOutage = false;

  constructor(world: Surroundings, id: NodeId, seed: number) {
    const { options, scheduler } = world;
    const { shortWritePercent, journaledNames, syncKeepsName, diskLatencyMs } = options;
    this.id = id;
    this.#world = world;
    this.groups = Array.from({ length: options.groups }, (_, group) => new GroupReplica(group));
    this.machine = new SimEnv({
      seed,
      scheduler,
      disk: { shortWritePercent, journaledNames, syncKeepsName, latencyMs: diskLatencyMs },
    });
    this.machine.disk.observer = (moment, operation, ordinal): void => {
      if (moment === "before") world.note(`n${id} ${operation.kind}`, ordinal, operation);
      if (ordinal === this.#haltAt && moment === this.#haltMoment) {
        world.note(`node ${id} ends ${moment} this operation`, ordinal);
        this.#die();
      }
    };
  }

  get state(): "down" | "opening" | "up" {
    return this.#state;
  }

  get life(): number {
    return this.#life;
  }

  get isPaused(): boolean {
    return this.#body.isPaused;
  }

  /** Makes the directory, undisturbed. */
  create(): void {
    const env = this.machine.boot();
    const identity = identityOf(this.id);
    runIoNow(
      this.machine,
      (function* (options): Io<void> {
        yield (done) => env.files.mkdir(ROOT, done);
        yield (done) => env.files.syncDir("", done);
        const wal = yield* Wal.create(env, options, identity);
        const votes = yield* VoteFile.create(env, options, identity);
        yield* wal.close();
        yield* votes.close();
      })(this.#walOptions()),
    );
    this.machine.kill();
  }

  start(): void {
    if (this.#state !== "down") return;
    this.#state = "opening";
    const life = ++this.#life;
    const env = shapedEnv(
      this.machine.boot(),
      this.#body,
      this.#world.options.clockRates[this.id - 1] as number,
    );
    this.#world.note(`node ${this.id} starts`, life);
    runIo(open(env, this.#walOptions(), identityOf(this.id)), (error, opened) => {
      if (life !== this.#life || !this.machine.running) return;
      if (error === null) this.#run(env, opened as Opened);
      else if (this.#hasFault && (error instanceof FileError || error instanceof HarmonyError))
        this.#die();
      else if (error instanceof HarmonyError || error instanceof FileError)
        throw new Violation("a directory opens again after a crash", `${error.stack}`);
      else throw error as Error;
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
    const { machine } = this;
    this.#world.note(`node ${this.id} ends`, this.#life, end);
    if (this.#state === "opening") this.#world.mark(CLUSTER_MARKS.crashInRecovery);
    if (this.groups.some(({ votesWaiting }) => votesWaiting > 0))
      this.#world.mark(CLUSTER_MARKS.voteUnderWay);
    for (const group of this.groups) {
      if (group.raft !== null) this.#judgeDrops(group.raft);
      group.stop();
    }
    if (end === "kill") machine.kill();
    else machine.losePower(end);
    for (const fault of this.#faults) fault.remove();
    this.#faults = [];
    this.#state = "down";
    this.#host = null;
    this.#body.clear();
    this.#haltAt = 0;
    this.#endMode = "kill";
    this.#afterOutage = false;
  }

  /** To be said after a crash of all nodes. */
  noteOutage(): void {
    this.#afterOutage = true;
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
    this.#body.resume();
  }

  inject(fault: InjectedFault): void {
    if (this.#state === "down") fault.remove();
    else this.#faults.push(fault);
  }

  clearFaults(): void {
    // One that has struck stays in the list: what it did may yet come to light.
    for (const fault of this.#faults) fault.remove();
    this.#haltAt = 0;
  }

  /** A request or a message reaches the process, now or when it listens again. */
  input(fire: (host: ReplicaHost) => void): void {
    if (this.#state !== "up" || this.#body.waiting > INBOX_MAX) return;
    this.#body.input(() => {
      if (this.#host !== null && this.machine.running) fire(this.#host);
    });
  }

  /** What the disk holds durably at this moment: read by a process that starts after a power loss now. */
  durable(): readonly Recovered[] {
    const fork = this.machine.fork();
    fork.losePower("lose-all");
    const env = fork.boot();
    const opened = runIoNow(fork, open(env, this.#walOptions(), identityOf(this.id)));
    return this.groups.map(({ group }) => this.#recovered(opened, group));
  }

  // ---- a life ----

  #run(env: Env, opened: Opened): void {
    const world = this.#world;
    const { options } = world;
    const life = this.#life;
    const { wal, votes } = opened;
    const fatal = (error: HarmonyError): void => this.#fatal(life, error);
    wal.onFailed = fatal;
    const host = new ReplicaHost({
      env,
      wal,
      votes,
      tickMs: options.tickMs,
      onFatal: fatal,
      send: (message) => this.#guarded(() => this.#sent(message)),
    });
    for (const group of this.groups) {
      const recovered = this.#recovered(opened, group.group);
      this.#judgeStart(group, recovered);
      this.#join(env, host, group, recovered, opened);
    }
    this.#host = host;
    this.#state = "up";
    host.start();
    world.note(`node ${this.id} is up`, life);
    world.opened(this);
  }

  #join(
    env: Env,
    host: ReplicaHost,
    group: GroupReplica,
    { hardState, incarnation, view }: Recovered,
    opened: Opened,
  ): void {
    const { options } = this.#world;
    group.view = view;
    group.term = hardState.term;
    group.agreedTo = 0;
    const voters = Array.from({ length: options.nodes }, (_, i) => i + 1);
    const raft = new ObservedRawNode(
      {
        group: group.group,
        id: this.id,
        incarnation,
        storage: opened.wal.groupLog(group.group),
        hardState,
        confState: { voters, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
        appliedIndex: 0,
        electionTicks: options.electionTicks,
        heartbeatTicks: options.heartbeatTicks,
        seed: env.entropy.u32(),
        maxEntriesBytesPerMessage: options.maxEntriesBytesPerMessage,
        maxInflightMessages: options.maxInflightMessages,
        maxInflightBytes: options.maxInflightBytes,
        maxUncommittedBytes: options.maxUncommittedBytes,
        maxCommittedBytesPerReady: options.maxCommittedBytesPerReady,
        preVote: options.preVote,
        checkQuorum: options.checkQuorum,
      },
      () => this.#guarded(() => this.#judgeState(group)),
      (ready) => this.#guarded(() => this.#judgeReady(group, ready)),
    );
    const machine = new ClusterMachine(group.group, (applied) =>
      this.#guarded(() => this.#judgeApplied(group, applied)),
    );
    const replica = new Replica<OpResult>({
      group: group.group,
      rawNode: raft,
      machine,
      clock: new GroupClock(env.clock, 0),
      hardState,
      wake: () => host.wake(),
    });
    group.raft = raft;
    group.opened = opened;
    group.machine = machine;
    group.replica = replica;
    this.#judgeState(group);
    host.add(replica, incarnation);
    if (options.nodes === 1) raft.campaign();
  }

  #recovered({ wal, votes }: Opened, group: GroupId): Recovered {
    const logged = wal.hardState(group);
    const decided = decideVote(logged, votes.read(group), this.#world.options.nodes === 1);
    if (decided === "corrupt")
      throw new Violation("VOTE and log do not contradict each other", `group ${group}`);
    const log = wal.groupLog(group);
    const entries: Entry[] = [];
    for (let at = log.firstIndex(); at <= log.lastIndex(); at += 0) {
      const piece = log.entries(at, log.lastIndex() + 1, 1 << 20);
      entries.push(...piece);
      at += piece.length;
    }
    const { term, vote, incarnation } = decided;
    return {
      hardState: { term, vote, commit: logged.commit },
      incarnation,
      view: LogView.of(entries),
    };
  }

  get #hasFault(): boolean {
    return this.#faults.some(({ struck }) => struck > 0);
  }

  #fatal(life: number, error: HarmonyError): void {
    if (life !== this.#life || !this.machine.running) return;
    const cause = error.cause instanceof Error ? error.cause : error;
    if (!this.#hasFault || !(cause instanceof HarmonyError || cause instanceof FileError))
      this.#world.failed(
        cause instanceof HarmonyError
          ? new Violation(
              "a node stops only after a failed write",
              `node ${this.id}: ${error.stack}`,
            )
          : cause,
      );
    this.#world.mark(CLUSTER_MARKS.failedWrite);
    this.#die();
  }

  /** What a check throws inside of a turn would end the node and not the run. */
  #guarded(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#world.failed(error);
      this.machine.halt();
    }
  }

  #walOptions(): { directory: string; segmentSizeBytes: number; cacheBytes: number } {
    const { segmentSizeBytes, walCacheBytes } = this.#world.options;
    return { directory: ROOT, segmentSizeBytes, cacheBytes: walCacheBytes };
  }

  #oracle(group: GroupReplica): GroupOracle {
    return this.#world.oracles[group.group] as GroupOracle;
  }

  // ---- the judges ----

  /** Everything that others were told is still here. */
  #judgeStart(group: GroupReplica, recovered: Recovered): void {
    const { hardState, view } = recovered;
    const oracle = this.#oracle(group);
    this.keepsPromises(group, recovered);
    oracle.found(this.id, view);
    if (this.#afterOutage && view.lastIndex > oracle.commit)
      this.#world.mark(CLUSTER_MARKS.outageTail);
    check(
      hardState.commit <= oracle.commit,
      "a start knows no more committed than there is",
      () => `group ${group.group}, node ${this.id}: ${hardState.commit} of ${oracle.commit}`,
    );
    group.promisedIndex = Math.min(group.promisedIndex, view.lastIndex);
  }

  /** Whether a disk holds all that this node has promised to others. */
  keepsPromises(group: GroupReplica, { hardState, view }: Recovered): void {
    const { promisedIndex, promisedTerm, promisedVote } = group;
    const where = (): string => `group ${group.group}, node ${this.id}`;
    check(
      hardState.term > promisedTerm ||
        (hardState.term === promisedTerm &&
          (promisedVote === 0 || hardState.vote === promisedVote)),
      "term and vote are durable before others hear of them",
      () =>
        `${where()}: ${hardState.term}/${hardState.vote} on disk, ${promisedTerm}/${promisedVote} promised`,
    );
    check(
      view.chain(promisedIndex) === group.view.chain(promisedIndex),
      "entries are durable before others hear of them",
      () =>
        `${where()}: ${promisedIndex} of term ${group.view.term(promisedIndex)} was promised, the disk has ${view.term(promisedIndex)} there and ends at ${view.lastIndex}`,
    );
  }

  /** After every input. */
  #judgeState(group: GroupReplica): void {
    const raft = group.raft as RawNode;
    const { term, role, commit } = raft;
    const isLeader = role === "leader";
    check(term >= group.term, "terms do not fall", () => `${term} after ${group.term}`);
    if (group.isLeader && (!isLeader || term !== group.term)) {
      if (term === group.term) this.#world.mark(CLUSTER_MARKS.noQuorum);
      this.#world.deposed(this, group);
    }
    const isNews = isLeader && !(group.isLeader && term === group.term);
    group.isLeader = isLeader;
    group.term = term;
    const oracle = this.#oracle(group);
    if (isNews) {
      group.promise(term, this.id);
      if (oracle.leads(this.id, term, group.view)) this.#world.elected(this, group);
    }
    if (commit <= group.agreedTo) return;
    if (isLeader) {
      const first = oracle.commits(
        this.id,
        term,
        group.view,
        group.agreedTo,
        commit,
        this.#world.scheduler.nowMs,
      );
      group.agreedTo = commit;
      if (first > 0) this.#world.committed(this, group, first);
    } else
      check(
        commit <= oracle.commit,
        "nobody commits what no leader has committed",
        () => `group ${group.group}: node ${this.id} at ${commit}, ${oracle.commit} are`,
      );
  }

  #judgeReady(group: GroupReplica, ready: Ready): void {
    const { view } = group;
    const oracle = this.#oracle(group);
    for (const entry of ready.entries) {
      if (entry.index <= group.promisedIndex && view.term(entry.index) !== entry.term)
        group.promisedIndex = entry.index - 1;
      oracle.entry(this.id, view, entry);
    }
    const commit = (group.raft as RawNode).commit;
    oracle.agrees(this.id, view, group.agreedTo, commit);
    group.agreedTo = Math.max(group.agreedTo, commit);
    for (const message of ready.messagesAfterPersist)
      if (message.type === "voteResponse" && !message.reject) group.votesWaiting++;
  }

  #judgeApplied(group: GroupReplica, applied: Applied): void {
    this.#oracle(group).applied(applied);
    group.promisedIndex = Math.max(group.promisedIndex, applied.index);
  }

  /** A message leaves. What it says is a promise from now on. */
  #sent(message: Message): void {
    const group = this.groups[message.group] as GroupReplica;
    const oracle = this.#oracle(group);
    const { type, term } = message;
    if (type === "vote") {
      oracle.vote(this.id, term, this.id);
      group.promise(term, this.id);
    } else if (type === "voteResponse") {
      if (!message.reject) {
        group.votesWaiting--;
        oracle.vote(this.id, term, message.to);
      }
      group.promise(term, message.reject ? 0 : message.to);
    } else if (type === "appendResponse") {
      group.promise(term, 0);
      // One of a term that is over may speak of entries that have been replaced here since.
      if (!message.reject && term === group.term)
        group.promisedIndex = Math.max(group.promisedIndex, message.index);
    } else if (type === "preVoteResponse" && message.reject)
      this.#world.mark(CLUSTER_MARKS.preVoteRefused);
    if (type === "vote" || type === "voteResponse" || type === "appendResponse") {
      this.#judgePromise(group);
      this.#world.promises(this, group);
    }
    this.#world.send(this, message);
  }

  /** Log and vote file show only what is durable, and by now that is all that was promised. */
  #judgePromise(group: GroupReplica): void {
    const { opened, view, promisedIndex, promisedTerm, promisedVote } = group;
    if (opened === null) return;
    const { wal, votes } = opened;
    check(
      wal.groupLog(group.group).term(promisedIndex) === view.term(promisedIndex),
      "what is promised is in the log",
      () => `group ${group.group}, node ${this.id}: ${promisedIndex}`,
    );
    const saved = decideVote(wal.hardState(group.group), votes.read(group.group), false);
    check(
      saved !== "corrupt" &&
        (saved.term > promisedTerm ||
          (saved.term === promisedTerm && (promisedVote === 0 || saved.vote === promisedVote))),
      "a vote is saved before others hear of it",
      () =>
        `group ${group.group}, node ${this.id}: ${promisedTerm}/${promisedVote}, not ${show(saved)}`,
    );
  }

  /** No correct replica in its first life sends what these count. */
  #judgeDrops(raft: RawNode): void {
    const { drops } = raft.status();
    for (const reason of [
      "contradiction",
      "malformed",
      "wrong-group",
      "wrong-version",
      "wrong-recipient",
      "unknown-peer",
      "old-incarnation",
    ] as const)
      check(
        !drops.has(reason),
        "no message contradicts what a replica knows",
        () => `node ${this.id} dropped ${drops.get(reason)} as ${reason}`,
      );
    if (drops.has("sticky-leader")) this.#world.mark(CLUSTER_MARKS.sticky);
    if (drops.has("stale-term")) this.#world.mark(CLUSTER_MARKS.staleTerm);
    if (drops.has("not-expected")) this.#world.mark(CLUSTER_MARKS.overtaken);
  }
}

/** Tells of every input and every Ready. */
class ObservedRawNode extends RawNode {
  readonly #onInput: () => void;
  readonly #onReady: (ready: Ready) => void;

  constructor(
    config: ConstructorParameters<typeof RawNode>[0],
    onInput: () => void,
    onReady: (ready: Ready) => void,
  ) {
    super(config);
    this.#onInput = onInput;
    this.#onReady = onReady;
  }

  override tick(): void {
    super.tick();
    this.#onInput();
  }

  override step(message: Message): void {
    super.step(message);
    this.#onInput();
  }

  override persisted(readyNumber: number): void {
    super.persisted(readyNumber);
    this.#onInput();
  }

  override ready(): Ready {
    const ready = super.ready();
    this.#onReady(ready);
    return ready;
  }
}

function identityOf(memberId: NodeId): WalIdentity {
  return {
    clusterId: new Uint8Array(8).fill(7),
    memberId,
    walId: new Uint8Array(16).fill(memberId),
  };
}

function* open(
  env: Env,
  options: { directory: string; segmentSizeBytes: number; cacheBytes: number },
  identity: WalIdentity,
): Io<Opened> {
  const votes = yield* VoteFile.open(env, options, identity);
  const { wal } = yield* Wal.open(env, options, identity, []);
  return { wal, votes };
}
