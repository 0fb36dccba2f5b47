/**
 * Reads that wait until everything that was acknowledged before them can be seen here: for the round that begins after
 * they came, for the index that it confirms, and until that is applied.
 *
 *     waiting ──a round takes all──▶ asked ──read index──▶ confirmed ──applied──▶ done
 *        ▲                             │
 *        └──another leader, or lost────┘
 *
 * Invariant: of who gave up nothing is kept, for where no leader is known nobody is asked, and that may be for days.
 */
import { HarmonyError } from "../base/index.ts";
import type { LogIndex, NodeId, RawNode, Ready, Term } from "../raft/index.ts";

/** A follower that hears nothing of a read from its leader for so long asks again. */
const RETRY_TICKS = 5;

/** What all who wait may keep in memory, as what waits to be proposed: beyond this, callers are told to slow down. */
const HELD_BYTES_MAX: number = 64 * 1024 * 1024;
/** Of each, beside what it says itself that it keeps. */
const READ_BYTES = 256;

export type ReadDone = (error: HarmonyError | null) => void;

/** What those who wait keep in memory. */
interface Held {
  bytes: number;
}

/** Somebody who waits, until he is answered or gives up. */
export class PendingRead {
  readonly #held: Held;
  readonly #bytes: number;
  #done: ReadDone | null;

  constructor(held: Held, bytes: number, done: ReadDone) {
    this.#held = held;
    this.#bytes = bytes;
    this.#done = done;
    held.bytes += bytes;
  }

  get isOver(): boolean {
    return this.#done === null;
  }

  /** Nobody waits for the answer any more. */
  cancel(): void {
    this.take();
  }

  /** Whom to answer, once; null: nobody. */
  take(): ReadDone | null {
    const done = this.#done;
    if (done === null) return null;
    this.#done = null;
    this.#held.bytes -= this.#bytes;
    return done;
  }
}

interface Round {
  readonly context: number;
  readonly waiting: readonly PendingRead[];
}

export class Reads {
  readonly #node: RawNode;
  readonly #held: Held = { bytes: 0 };
  #waiting: PendingRead[] = [];
  #rounds: Round[] = [];
  #confirmed: { readonly index: LogIndex; readonly round: Round }[] = [];
  #context = 0;
  /** Whom the open rounds were asked of, and in which term: nobody else will answer them. */
  #askedLeader: NodeId = 0;
  #askedTerm: Term = 0;
  #ticksSinceAsked = 0;
  /** The newest question for an index that nothing is to be read at. */
  #indexAsked: { readonly context: number; readonly done: (index: LogIndex) => void } | null = null;

  constructor(node: RawNode) {
    this.#node = node;
  }

  /** Those who wait, and what is left until the next tick, or the end of their round, of those who gave up. */
  get count(): number {
    let count = this.#waiting.length;
    for (const { waiting } of this.#rounds) count += waiting.length;
    for (const { round } of this.#confirmed) count += round.waiting.length;
    return count;
  }

  /** `bytes` are what `done` keeps in memory. Null: there are too many, and it was told so. */
  add(done: ReadDone, bytes: number): PendingRead | null {
    const allBytes = READ_BYTES + bytes;
    if (this.#held.bytes + allBytes > HELD_BYTES_MAX) {
      done(new HarmonyError("TOO_MANY_REQUESTS"));
      return null;
    }
    const read = new PendingRead(this.#held, allBytes, done);
    this.#waiting.push(read);
    return read;
  }

  /** Asks for the index alone. The answer may never come: then it is asked again. False: there is nobody to ask. */
  askIndex(done: (index: LogIndex) => void): boolean {
    const context = ++this.#context;
    if (!this.#node.readIndex(context)) return false;
    this.#indexAsked = { context, done };
    return true;
  }

  /** What waits shares one round. A follower asks its leader one question at a time, and again where one may be lost. */
  pack(): void {
    const { role, leader, term, leadsForSure } = this.#node;
    if (this.#rounds.length > 0) {
      const isLost = role !== "leader" && this.#ticksSinceAsked >= RETRY_TICKS;
      if (isLost || leader !== this.#askedLeader || term !== this.#askedTerm) this.#requeue();
    }
    if (this.#waiting.length === 0) return;
    if (role === "leader" ? !leadsForSure : this.#rounds.length > 0) return;
    const context = ++this.#context;
    if (!this.#node.readIndex(context)) return;
    this.#rounds.push({ context, waiting: this.#waiting });
    this.#waiting = [];
    this.#askedLeader = leader;
    this.#askedTerm = term;
    this.#ticksSinceAsked = 0;
  }

  tick(): void {
    this.#ticksSinceAsked++;
    this.#waiting = this.#waiting.filter(({ isOver }) => !isOver);
  }

  /** What a Ready says of them. */
  take(readStates: Ready["readStates"]): void {
    for (const { context, index } of readStates) {
      if (context === this.#indexAsked?.context) {
        const { done } = this.#indexAsked;
        this.#indexAsked = null;
        done(index);
        continue;
      }
      const round = this.#rounds.find((candidate) => candidate.context === context);
      if (round === undefined) continue;
      this.#rounds = this.#rounds.filter((candidate) => candidate !== round);
      this.#confirmed.push({ index, round });
    }
  }

  /** Those that may be answered now that this much is applied. */
  takeDone(applied: LogIndex): readonly ReadDone[] {
    if (this.#confirmed.length === 0) return NOBODY;
    const ready = this.#confirmed.filter(({ index }) => index <= applied);
    if (ready.length === 0) return NOBODY;
    this.#confirmed = this.#confirmed.filter(({ index }) => index > applied);
    return donesOf(ready.flatMap(({ round }) => round.waiting));
  }

  /** Everybody, for an end. */
  takeAll(): readonly ReadDone[] {
    const all = this.#waiting;
    for (const { waiting } of this.#rounds) all.push(...waiting);
    for (const { round } of this.#confirmed) all.push(...round.waiting);
    this.#waiting = [];
    this.#rounds = [];
    this.#confirmed = [];
    return donesOf(all);
  }

  /** Rounds that will not be answered: their reads begin again. */
  #requeue(): void {
    const lost = this.#rounds;
    this.#rounds = [];
    for (const round of lost) this.#waiting.push(...round.waiting);
  }
}

function donesOf(reads: readonly PendingRead[]): readonly ReadDone[] {
  return reads.map((read) => read.take()).filter((done) => done !== null);
}

const NOBODY: readonly ReadDone[] = Object.freeze([]);
