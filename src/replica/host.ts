/**
 * All groups of a node in turns: proposals are packed, Readys collected, what needs no disk sent, everything that
 * must be durable written as one WAL append, and what is committed and durable applied and answered.
 *
 * The next append starts before the last one's entries are applied, so disk and processor work side by side. While an
 * append is on its way commands gather; when it returns they leave together: group commit without a waiting window.
 *
 * A failed append or vote ends the node: nothing is retried, nobody is told "done" afterwards (fault-rules D9). So does
 * whatever is thrown in a turn: a broken invariant, damaged pages, a caller that throws out of its own answer.
 */
import { assert, HarmonyError, unreachable } from "../base/index.ts";
import type { Env, Timer } from "../env/index.ts";
import type { PeerItem } from "../codec/index.ts";
import { EntryType, type GroupId, type Message, type NodeId } from "../raft/index.ts";
import type { GroupAppend, VoteFile, Wal } from "../wal/index.ts";
import type { Replica } from "./replica.ts";

type SnapshotMessage = Extract<Message, { readonly type: "snapshot" }>;

/** One append on its way: settled in the order in which they were handed over. */
interface InFlight {
  readonly ready: readonly { readonly replica: Replica<unknown>; readonly number: number }[];
  /** The append itself and the votes that must be saved before its Readys count as persisted. */
  outstanding: number;
}

export interface ReplicaHostConfig {
  readonly env: Env;
  readonly wal: Wal;
  readonly votes: VoteFile;
  readonly tickMs: number;
  /** Called once, with what ended the node. */
  readonly onFatal: (error: HarmonyError) => void;
  /**
   * Takes a message to another member, and may lose it: Raft asks again. Absent for a lone voter, which has nobody to
   * write to. The entries of a message are views into the log's memory: who keeps them longer than the call copies.
   */
  readonly send?: ((message: Message) => void) | undefined;
  /**
   * A leader has a snapshot for this member. It is believed only when the host has fetched it (`Replica.restore`). Absent:
   * as if the word of it had been lost.
   */
  readonly announced?: ((message: SnapshotMessage) => void) | undefined;
  /** Called at the end of each turn: the database's own chores that are due between turns. */
  readonly afterTurn?: (() => void) | undefined;
}

/** An append that waits for so long on a full disk waits for room, and not for the disk. */
const STILL_TICKS = 10;

export class ReplicaHost {
  readonly #env: Env;
  readonly #wal: Wal;
  readonly #votes: VoteFile;
  readonly #tickMs: number;
  readonly #onFatal: (error: HarmonyError) => void;
  readonly #send: (message: Message) => void;
  readonly #announced: ((message: SnapshotMessage) => void) | undefined;
  readonly #afterTurn: (() => void) | undefined;
  readonly #replicas: Replica<unknown>[] = [];
  readonly #incarnations = new Map<GroupId, number>();
  #inFlight: InFlight[] = [];
  /** For so many ticks nothing that was handed to the log has come back. */
  #waitedTicks = 0;
  #turnIsDue = false;
  #isInTurn = false;
  #ticker: Timer | null = null;
  #stopped: HarmonyError | null = null;

  constructor(config: ReplicaHostConfig) {
    this.#env = config.env;
    this.#wal = config.wal;
    this.#votes = config.votes;
    this.#tickMs = config.tickMs;
    this.#onFatal = config.onFatal;
    this.#send =
      config.send ??
      ((message): void => assert(message.to === 0, `no link to member ${message.to}`));
    this.#announced = config.announced;
    this.#afterTurn = config.afterTurn;
    // The others are to hear of it before the reserve is used up by what they say.
    this.#wal.onSpace = (): void => this.wake();
  }

  add<Result>(replica: Replica<Result>, incarnation: number): void {
    this.#replicas.push(replica as Replica<unknown>);
    this.#incarnations.set(replica.group, incarnation);
    this.wake();
  }

  /** Starts the ticks of elections and heartbeats. After a stall one tick is taken, however long it was. */
  start(): void {
    assert(this.#ticker === null, "a host starts once");
    const tick = (): void => {
      if (this.#stopped !== null) return;
      this.#ticker = this.#env.timers.after(this.#tickMs, tick);
      this.#waitedTicks = this.#inFlight.length === 0 ? 0 : this.#waitedTicks + 1;
      this.#guard(() => {
        for (const replica of this.#replicas) replica.tick();
      });
      this.wake();
    };
    this.#ticker = this.#env.timers.after(this.#tickMs, tick);
  }

  get stopped(): HarmonyError | null {
    return this.#stopped;
  }

  /** A message from another member has arrived. One for a group that is not here is dropped, as if lost. */
  receive(message: Message): void {
    if (this.#stopped !== null) return;
    const replica = this.#replicas.find(({ group }) => group === message.group);
    if (replica === undefined) return;
    this.#guard(() => {
      // It announces a state that travels beside it: stepped alone it would be believed. One that is no news is answered.
      const isNews = message.type === "snapshot" && message.meta.index > replica.raft.commit;
      if (isNews) this.#announced?.(message);
      else replica.raft.step(message);
    });
    this.wake();
  }

  /** What became of the snapshot that was announced to the member. */
  reportSnapshot(group: GroupId, member: NodeId, hasArrived: boolean): void {
    if (this.#stopped !== null) return;
    const replica = this.#replicas.find((of) => of.group === group);
    if (replica === undefined) return;
    this.#guard(() => replica.raft.reportSnapshot(member, hasArrived));
    this.wake();
  }

  /** Something else has arrived from another member that is linked. */
  deliver(item: PeerItem, from: NodeId): void {
    if (item.kind === "raft") {
      this.receive(item.message);
      return;
    }
    if (this.#stopped !== null) return;
    const replica = this.#replicas.find(({ group }) => group === item.group);
    if (replica === undefined) return;
    this.#guard(() => {
      switch (item.kind) {
        case "forward":
          replica.takeForward(from, item);
          break;
        case "placed":
          replica.takePlaced(from, item);
          break;
        case "declined":
          replica.takeDeclined(from, item);
          break;
        case "stateHash":
          replica.takeStateHash(from, item);
          break;
        case "quarantine":
          replica.takeQuarantine(from, item);
          break;
        case "room":
          replica.takeRoom(from, item);
          break;
        default:
          unreachable(item);
      }
    });
    this.wake();
  }

  /** What this member said, or was told, in the last moments may be lost. */
  lost(member: NodeId): void {
    if (this.#stopped !== null) return;
    this.#guard(() => {
      for (const replica of this.#replicas) replica.lost(member);
    });
    this.wake();
  }

  /** This member's process has ended: where it led, another need not be waited for until an election timeout is over. */
  gone(member: NodeId): void {
    if (this.#stopped !== null) return;
    this.#guard(() => {
      for (const { raft } of this.#replicas) raft.leaderGone(member);
    });
    this.wake();
  }

  /**
   * Begins a new life of a replica in quarantine: what the one before acknowledged counts for nothing any more once a
   * leader has heard of it. `done` is called with its number when that is durable.
   */
  beginIncarnation(group: GroupId, done: (incarnation: number) => void): void {
    const replica = this.#replicas.find((of) => of.group === group);
    assert(
      replica !== undefined && replica.quarantined !== null,
      "a new life begins in quarantine",
    );
    const incarnation = (this.#incarnations.get(group) as number) + 1;
    this.#incarnations.set(group, incarnation);
    this.#votes.save(group, { ...replica.savedVote, incarnation }, (error) => {
      if (error !== null) {
        this.#fail(error);
        return;
      }
      if (this.#stopped !== null) return;
      this.#guard(() => {
        replica.raft.beginIncarnation(incarnation);
        done(incarnation);
      });
      this.wake();
    });
  }

  /** Asks for a turn. Many calls before it make one. */
  wake(): void {
    if (this.#turnIsDue || this.#stopped !== null) return;
    this.#turnIsDue = true;
    this.#env.timers.soon(() => {
      this.#turnIsDue = false;
      this.#turn();
    });
  }

  /**
   * Ends the turns without a fault: callers that wait are answered CLOSED. The caller makes sure that nothing is in
   * flight, or accepts that its outcome is unknown.
   */
  stop(error: HarmonyError): void {
    if (this.#stopped !== null) return;
    this.#stopped = error;
    this.#ticker?.cancel();
    this.#ticker = null;
    for (const replica of this.#replicas) {
      replica.stop(error);
      for (const defect of replica.takeDefects()) {
        this.#env.log("error", "replica", "an answer threw", { error: String(defect) });
      }
    }
  }

  /** Readys that were handed to the log and are not durable yet, of all groups. */
  get readysOnTheirWay(): number {
    return this.#inFlight.reduce((sum, { ready }) => sum + ready.length, 0);
  }

  /** Nothing waits and nothing is on its way, to disk or to the machine. */
  get isIdle(): boolean {
    return this.#inFlight.length === 0 && this.#replicas.every((replica) => replica.isIdle);
  }

  /** Commits that no frame has carried yet: for the last append of a clean stop. */
  takeUnsaved(): GroupAppend[] {
    const batch: GroupAppend[] = [];
    for (const replica of this.#replicas) {
      const hardState = replica.takeUnsavedHardState();
      if (hardState !== null) batch.push({ group: replica.group, entries: [], hardState });
    }
    return batch;
  }

  #turn(): void {
    if (this.#stopped !== null) return;
    assert(!this.#isInTurn, "a turn does not begin within a turn");
    this.#isInTurn = true;
    let isMore = false;
    this.#guard(() => {
      const isDiskFull = this.#wal.space === "full";
      const isStill = isDiskFull && this.#waitedTicks >= STILL_TICKS;
      for (const replica of this.#replicas) {
        replica.look(isDiskFull, isStill);
        replica.packReads();
        replica.forward();
        if (isDiskFull || this.#inFlight.length === 0) replica.pack();
      }
      this.#write();
      for (const replica of this.#replicas) {
        if (replica.apply()) isMore = true;
        if (replica.raft.hasReady()) isMore = true;
        // Nobody else will ask for what is applied; kept for a while it would outlive the young part of the heap.
        if (replica.raft.isLoneLeader)
          this.#wal.dropCached(replica.group, replica.machine.appliedIndex);
        replica.invariants();
        const [defect] = replica.takeDefects();
        if (defect !== undefined) throw defect;
      }
    });
    this.#isInTurn = false;
    if (isMore) this.wake();
    this.#guard(() => this.#afterTurn?.());
  }

  /** What is thrown leaves the state unknown, so it ends the node instead of the process that it lives in. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#fail(error);
    }
  }

  #write(): void {
    const batch: GroupAppend[] = [];
    const ready: { replica: Replica<unknown>; number: number }[] = [];
    const votes: { group: GroupId; term: number; vote: number }[] = [];
    for (const replica of this.#replicas) {
      const append = replica.collect(this.#send);
      if (append === null) continue;
      batch.push(append);
      ready.push({ replica, number: replica.readyWritten });
      const vote = replica.takeVoteChange(append.hardState);
      if (vote !== null) votes.push({ group: replica.group, ...vote });
    }
    if (batch.length === 0) return;
    const flight: InFlight = { ready, outstanding: 1 + votes.length };
    this.#inFlight.push(flight);
    const done = (error: HarmonyError | null): void => {
      if (error !== null) {
        this.#fail(error);
        return;
      }
      flight.outstanding--;
      if (flight.outstanding === 0) this.#guard(() => this.#settle());
    };
    for (const { group, term, vote } of votes) {
      this.#votes.save(
        group,
        { term, vote, incarnation: this.#incarnations.get(group) as number },
        done,
      );
    }
    // What a full disk cannot take was refused before it was packed; the rest is what the reserve is for. Votes and
    // the first entry of a term may use it before the log itself knows that the disk is full.
    const isVital = votes.length > 0 || !batch.some(holdsCommands);
    this.#wal.append(batch, done, {
      reserve: isVital || this.#wal.space === "full",
      sync: votes.length > 0,
    });
  }

  /** Everything at the front that has arrived becomes persisted; then the turn that applies it runs at once. */
  #settle(): void {
    let settled = false;
    while (this.#stopped === null) {
      const first = this.#inFlight[0];
      if (first === undefined || first.outstanding > 0) break;
      this.#inFlight.shift();
      this.#waitedTicks = 0;
      for (const { replica, number } of first.ready) replica.settle(number, this.#send);
      settled = true;
    }
    if (!settled || this.#stopped !== null) return;
    if (this.#isInTurn) this.wake();
    else this.#turn();
  }

  #fail(error: unknown): void {
    if (this.#stopped !== null) return;
    const fatal =
      error instanceof HarmonyError
        ? error
        : new HarmonyError("STOPPED", String(error), { cause: error });
    this.#env.log("error", "replica", "the node stops", { error: fatal.message });
    this.stop(fatal);
    this.#onFatal(fatal);
  }
}

function holdsCommands(append: GroupAppend): boolean {
  return append.entries.some(({ type }) => type === EntryType.normal);
}
