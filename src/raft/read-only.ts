/**
 * Reads that wait for the leader to prove that it still leads (Raft dissertation, section 6.4). They are collected in
 * numbered rounds. A round is one heartbeat to everybody; a member that answers round r has, by that, answered all
 * rounds before it. So the rounds that are confirmed are counted exactly as committed indexes are.
 *
 * A round belongs to one term of one leader, so its number needs to be unique only there; an answer of another term
 * never gets this far.
 */
import { assert, type Random } from "../base/index.ts";
import type { JointConfig } from "./quorum/joint.ts";
import type { LogIndex, NodeId } from "./types.ts";

/** Who asked: this node's host (`from` is this node, `ticket` its context) or a follower. */
export interface PendingRead {
  readonly from: NodeId;
  readonly ticket: number;
}

interface Round {
  readonly number: number;
  /** The commit when the round began: nothing that a client knows of by then is missing below it. */
  readonly index: LogIndex;
  readonly reads: readonly PendingRead[];
  /** The leader's ticks when it began: from then on whoever answers is bound (lease.ts). */
  readonly beganAt: number;
}

type ConfirmedReads = Omit<Round, "number">;

const NOTHING_CONFIRMED: readonly ConfirmedReads[] = Object.freeze([]);
const NO_READS: readonly PendingRead[] = Object.freeze([]);

/** What one replica keeps waiting at most. What comes on top is dropped and its asker tries again. */
const PENDING_READS_MAX = 65_536;

/** Invariants: rounds stand in the order of their numbers, and their indexes never fall. */
export class ReadOnly {
  /** Reads for which no round has begun. A round takes all of them, so each round begins after its reads came. */
  #waiting: PendingRead[] = [];
  #rounds: Round[] = [];
  #newestRound = 0;
  #count = 0;
  readonly #answered: Map<NodeId, number> = new Map();

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** The round that every heartbeat carries, so that a lost one does not cost the reads; 0 when none is open. */
  get openRound(): number {
    return this.#rounds.length > 0 ? this.#newestRound : 0;
  }

  /** False when too many wait already. */
  add(read: PendingRead): boolean {
    if (this.#count >= PENDING_READS_MAX) return false;
    this.#waiting.push(read);
    this.#count++;
    return true;
  }

  /** Everything that waits joins a new round, which reads at `index`. */
  beginRound(index: LogIndex, beganAt: number): void {
    assert(this.#waiting.length > 0, "a round has reads");
    this.#begin({ index, reads: this.#waiting, beganAt });
    this.#waiting = [];
  }

  /** One for the lease alone: each heartbeat is one. */
  beginEmptyRound(index: LogIndex, beganAt: number): void {
    this.#begin({ index, reads: NO_READS, beganAt });
  }

  #begin(round: ConfirmedReads): void {
    this.#newestRound++;
    this.#rounds.push({ number: this.#newestRound, ...round });
  }

  /** Everything that waits, for a leader that needs to ask nobody. */
  takeWaiting(): readonly PendingRead[] {
    const reads = this.#waiting;
    this.#waiting = [];
    this.#count -= reads.length;
    return reads;
  }

  /** A member answered `round`. Gives the rounds that a quorum, with this leader, has confirmed by now. */
  answered(
    from: NodeId,
    round: number,
    self: NodeId,
    voters: JointConfig,
  ): readonly ConfirmedReads[] {
    if (round > this.#newestRound || round <= (this.#answered.get(from) ?? 0)) {
      return NOTHING_CONFIRMED;
    }
    this.#answered.set(from, round);
    return this.confirmed(self, voters);
  }

  /** The rounds that a quorum has confirmed by now: fewer voters may need fewer answers. */
  confirmed(self: NodeId, voters: JointConfig): readonly ConfirmedReads[] {
    const confirmed = voters.committedIndex((id) =>
      id === self ? this.#newestRound : (this.#answered.get(id) ?? 0),
    );
    let done = 0;
    while (done < this.#rounds.length && (this.#rounds[done] as Round).number <= confirmed) done++;
    const out = this.#rounds.splice(0, done);
    for (const { reads } of out) this.#count -= reads.length;
    return out;
  }

  /** The leader leads no more, or a new one begins: nothing that waited will be answered. */
  reset(): void {
    this.#waiting = [];
    this.#rounds = [];
    this.#newestRound = 0;
    this.#count = 0;
    this.#answered.clear();
  }
}

/**
 * Reads that a follower asked the leader about. Each attempt has a ticket of its own, and the first ticket of a life
 * is drawn: an answer to an attempt of an earlier life must not answer a later read.
 */
export class ForwardedReads {
  readonly #contexts: Map<number, number> = new Map();
  #nextTicket: number;

  constructor(random: Random) {
    this.#nextTicket = random.u32() * 2 ** 20;
  }

  open(context: number): number {
    if (this.#contexts.size >= PENDING_READS_MAX) {
      // Lost answers would fill the map for good. The oldest attempt is the likeliest to be lost.
      const [oldest] = this.#contexts.keys();
      if (oldest !== undefined) this.#contexts.delete(oldest);
    }
    const ticket = this.#nextTicket++;
    this.#contexts.set(ticket, context);
    return ticket;
  }

  /** The context of an attempt that is answered now; undefined for one that nobody waits for. */
  take(ticket: number): number | undefined {
    const context = this.#contexts.get(ticket);
    this.#contexts.delete(ticket);
    return context;
  }

  /** The leader is not the one that was asked any more. */
  reset(): void {
    this.#contexts.clear();
  }
}
