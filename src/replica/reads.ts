/**
 * Reads that wait until everything that was acknowledged before them can be seen here: for the round that begins after
 * they came, for the index that it confirms, and until that is applied.
 *
 *     waiting ──a round takes all──▶ asked ──read index──▶ confirmed ──applied──▶ done
 *        ▲                             │
 *        └───────another leader────────┘
 *
 * Invariant: of who gave up nothing is kept, for where no leader is known nobody is asked, and that may be for days.
 */
import { HarmonyError } from "../base/index.ts";
import type { LogIndex, NodeId, RawNode, Ready, Term } from "../raft/index.ts";

/** A follower that hears nothing of a read from its leader for so long asks again. */
const RETRY_TICKS = 5;

/** Questions that a follower keeps open: with two a second, more than any answer takes. */
const OPEN_MAX = 64;

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

/** One question. Its answer says enough for all who came before it was asked, those of earlier rounds among them. */
interface Round {
  readonly context: number;
  waiting: PendingRead[];
}

export class Reads {
  readonly #node: RawNode;
  readonly #held: Held = { bytes: 0 };
  #waiting: PendingRead[] = [];
  #rounds: Round[] = [];
  #confirmed: { readonly index: LogIndex; readonly waiting: PendingRead[] }[] = [];
  #context = 0;
  /** Whom the open rounds were asked of, and in which term: nobody else will answer them. */
  #askedLeader: NodeId = 0;
  #askedTerm: Term = 0;
  #ticksSinceAsked = 0;
  /** Open questions for an index that nothing is to be read at, the newest of them, by their contexts. */
  readonly #indexesAsked = new Map<number, (index: LogIndex) => void>();

  constructor(node: RawNode) {
    this.#node = node;
  }

  /** Those who wait, and what is left until the next tick of those who gave up. */
  get count(): number {
    let count = this.#waiting.length;
    for (const { waiting } of this.#rounds) count += waiting.length;
    for (const { waiting } of this.#confirmed) count += waiting.length;
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

  /**
   * Asks for the index alone. The answer may never come, so it is asked again, and that may be before it has come: a
   * question stays open beside the later ones. False: there is nobody to ask.
   */
  askIndex(done: (index: LogIndex) => void): boolean {
    const context = ++this.#context;
    if (!this.#node.readIndex(context)) return false;
    this.#indexesAsked.set(context, done);
    const [oldest] = this.#indexesAsked.keys();
    if (this.#indexesAsked.size > OPEN_MAX) this.#indexesAsked.delete(oldest as number);
    return true;
  }

  /**
   * What waits shares one round. A follower asks its leader one question at a time, and again where one may be lost. The
   * ones before stay open: the leader may only be far away, and no answer would ever be in time.
   */
  pack(): void {
    const { role, leader, term, leadsForSure } = this.#node;
    const isAsked = this.#rounds.length > 0;
    const isLost = isAsked && role !== "leader" && this.#ticksSinceAsked >= RETRY_TICKS;
    const isOfAnother = leader !== this.#askedLeader || term !== this.#askedTerm;
    if (isAsked && (isOfAnother || (isLost && this.#rounds.length >= OPEN_MAX))) this.#requeue();
    if (this.#waiting.length === 0 && !isLost) return;
    if (role === "leader" ? !leadsForSure : this.#rounds.length > 0 && !isLost) return;
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
    this.#waiting = this.#waiting.filter(isOpen);
    for (const round of this.#rounds) round.waiting = round.waiting.filter(isOpen);
    // Else a follower would go on asking for nobody.
    if (this.#rounds.every(({ waiting }) => waiting.length === 0)) this.#rounds = [];
  }

  /** What a Ready says of them. */
  take(readStates: Ready["readStates"]): void {
    for (const { context, index } of readStates) {
      const indexAsked = this.#indexesAsked.get(context);
      if (indexAsked !== undefined) {
        this.#indexesAsked.delete(context);
        indexAsked(index);
        continue;
      }
      const at = this.#rounds.findIndex((round) => round.context === context);
      if (at < 0) continue;
      const rounds = this.#rounds.slice(0, at + 1);
      this.#rounds = this.#rounds.slice(at + 1);
      this.#confirmed.push({ index, waiting: readsOf(rounds) });
    }
  }

  /** Those that may be answered now that this much is applied. */
  takeDone(applied: LogIndex): readonly ReadDone[] {
    if (this.#confirmed.length === 0) return NOBODY;
    const ready = this.#confirmed.filter(({ index }) => index <= applied);
    if (ready.length === 0) return NOBODY;
    this.#confirmed = this.#confirmed.filter(({ index }) => index > applied);
    return donesOf(readsOf(ready));
  }

  /** Everybody, for an end. */
  takeAll(): readonly ReadDone[] {
    const all = this.#waiting.concat(readsOf(this.#rounds), readsOf(this.#confirmed));
    this.#waiting = [];
    this.#rounds = [];
    this.#confirmed = [];
    return donesOf(all);
  }

  /** Rounds that nobody will answer, or too many of them: their reads begin again. */
  #requeue(): void {
    this.#waiting = readsOf(this.#rounds).concat(this.#waiting);
    this.#rounds = [];
  }
}

function isOpen({ isOver }: PendingRead): boolean {
  return !isOver;
}

function readsOf(rounds: readonly Pick<Round, "waiting">[]): PendingRead[] {
  return rounds.flatMap(({ waiting }) => waiting);
}

function donesOf(reads: readonly PendingRead[]): readonly ReadDone[] {
  return reads.map((read) => read.take()).filter((done) => done !== null);
}

const NOBODY: readonly ReadDone[] = Object.freeze([]);
