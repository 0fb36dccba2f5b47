/**
 * Replicas compare what they have made of the same entries (fault-rules R19). The leader names an entry that it has
 * applied and its hash of the state there; every other member tells all of them its own hash at that entry, as soon as
 * it has applied it. So each member sees the answers of all, and each judges them alike:
 *
 *     leader ──ask (index, hash)──▶ everybody      everybody ──tell (index, hash)──▶ everybody else
 *
 * A majority of the voters that agree are right, since what a client was told came from such a majority's log, and who
 * differs from them has a damaged or wrongly made state. Without a majority nobody can say who is right.
 *
 * Invariants: hashes are compared at equal indexes only; a replica in quarantine neither asks nor tells; what is kept is
 * bounded, and an index that is no longer known is not compared.
 */
import type { StateHashItem } from "../codec/index.ts";
import type { ConfState, GroupId, LogIndex, NodeId } from "../raft/index.ts";
import { isMajority } from "./majority.ts";

/** A second with ticks of 100 ms. */
const ROUND_TICKS = 10;
/** Entries whose hash is remembered: what a busy group applies while a question is on its way. */
const RECENT_ENTRIES = 8_192;
const ROUNDS_KEPT = 8;
/** Rounds after which who has not answered is not waited for. */
const UNDECIDED_ROUNDS = 5;

/** What the answers of a round say. */
export interface Verdict {
  readonly index: LogIndex;
  /** Who differs from the majority; without one, everybody who answered. Sorted. */
  readonly differing: readonly NodeId[];
  /** A majority of the voters has the same hash. */
  readonly isDecided: boolean;
}

export interface AgreementConfig {
  readonly group: GroupId;
  readonly self: NodeId;
  readonly confState: () => ConfState;
  readonly tell: (member: NodeId, item: StateHashItem) => void;
  /** Two members differ. Told once for each round and set of members. */
  readonly differ: (verdict: Verdict) => void;
}

interface Round {
  readonly index: LogIndex;
  readonly hashes: Map<NodeId, number>;
  /** The members of the last verdict, so that it is given once. */
  told: string;
  /** How many rounds ago a leader here has asked for it. */
  age: number;
}

export class Agreement {
  readonly #config: AgreementConfig;
  readonly #indexes = new Float64Array(RECENT_ENTRIES);
  readonly #hashes = new Uint32Array(RECENT_ENTRIES);
  #rounds: Round[] = [];
  #ticks = 0;
  #lastIndex: LogIndex = 0;
  #lastHash = 0;
  /** Asked for, and not applied here yet; 0: nothing is. */
  #awaited: LogIndex = 0;
  #agreedIndex: LogIndex = 0;
  #compared = 0;

  constructor(config: AgreementConfig) {
    this.#config = config;
  }

  /** The last entry at which all members were found equal. */
  get agreedIndex(): LogIndex {
    return this.#agreedIndex;
  }

  /** Hashes of others that were compared with the own one. */
  get compared(): number {
    return this.#compared;
  }

  /** The machine has applied the entry. */
  applied(index: LogIndex, hash: number): void {
    const slot = index % RECENT_ENTRIES;
    this.#indexes[slot] = index;
    this.#hashes[slot] = hash;
    this.#lastIndex = index;
    this.#lastHash = hash >>> 0;
    if (index === this.#awaited) this.#answer(index);
  }

  /** The state is another one, of a snapshot: what was remembered of the one before is of no meaning. */
  reset(): void {
    this.#indexes.fill(0);
    this.#rounds = [];
    this.#lastIndex = 0;
    this.#awaited = 0;
  }

  /** One unit of time has passed. */
  tick(isLeader: boolean): void {
    if (!isLeader) {
      this.#ticks = 0;
      return;
    }
    this.#ticks++;
    if (this.#ticks % ROUND_TICKS !== 0) return;
    this.#judgeOld();
    const index = this.#lastIndex;
    // Where nothing is applied nothing can differ that did not before.
    if (index === 0 || index === this.#agreedIndex) return;
    const round = this.#roundOf(index);
    round.hashes.set(this.#config.self, this.#lastHash);
    this.#tellAll({ index, hash: this.#lastHash, asks: true });
    this.#judge(round, false);
  }

  /** Another member says what it holds at an entry. */
  take(from: NodeId, { index, hash, asks }: StateHashItem): void {
    if (!this.#members().includes(from)) return;
    if (asks) {
      if (this.#hashAt(index) !== undefined) this.#answer(index);
      else if (index > this.#lastIndex) this.#awaited = index;
    }
    const round = this.#roundOf(index);
    round.hashes.set(from, hash);
    const own = this.#hashAt(index);
    if (own !== undefined) {
      round.hashes.set(this.#config.self, own);
      this.#compared++;
    }
    this.#judge(round, false);
  }

  #hashAt(index: LogIndex): number | undefined {
    const slot = index % RECENT_ENTRIES;
    return index > 0 && this.#indexes[slot] === index ? this.#hashes[slot] : undefined;
  }

  #answer(index: LogIndex): void {
    this.#awaited = 0;
    const hash = this.#hashAt(index) as number;
    const round = this.#roundOf(index);
    round.hashes.set(this.#config.self, hash);
    this.#tellAll({ index, hash, asks: false });
    this.#judge(round, false);
  }

  #tellAll(said: {
    readonly index: LogIndex;
    readonly hash: number;
    readonly asks: boolean;
  }): void {
    const { group, self, tell } = this.#config;
    for (const member of this.#members()) {
      if (member !== self) tell(member, { kind: "stateHash", group, ...said });
    }
  }

  #members(): readonly NodeId[] {
    const { voters, votersOutgoing, learners } = this.#config.confState();
    return [...new Set([...voters, ...votersOutgoing, ...learners])];
  }

  #roundOf(index: LogIndex): Round {
    const known = this.#rounds.find((round) => round.index === index);
    if (known !== undefined) return known;
    const round: Round = { index, hashes: new Map(), told: "", age: 0 };
    this.#rounds.push(round);
    if (this.#rounds.length > ROUNDS_KEPT) this.#rounds.shift();
    return round;
  }

  /** Those who have not answered for so long will not: the others cannot wait for a majority any more. */
  #judgeOld(): void {
    for (const round of this.#rounds) if (++round.age >= UNDECIDED_ROUNDS) this.#judge(round, true);
  }

  #judge(round: Round, isLate: boolean): void {
    const { index, hashes } = round;
    const byHash = new Map<number, NodeId[]>();
    for (const [member, hash] of hashes) {
      const same = byHash.get(hash);
      if (same === undefined) byHash.set(hash, [member]);
      else same.push(member);
    }
    const isComplete = this.#members().every((member) => hashes.has(member));
    if (byHash.size < 2) {
      if (isComplete) this.#agreedIndex = Math.max(this.#agreedIndex, index);
      return;
    }
    const right = [...byHash.values()].find((members) => this.#isMajority(members));
    if (right === undefined && !isComplete && !isLate) return;
    const differing = [...hashes.keys()]
      .filter((member) => right === undefined || !right.includes(member))
      .toSorted((a, b) => a - b);
    const told = differing.join();
    if (told === round.told) return;
    round.told = told;
    this.#config.differ({ index, differing, isDecided: right !== undefined });
  }

  #isMajority(members: readonly NodeId[]): boolean {
    return isMajority(this.#config.confState(), (voter) => members.includes(voter));
  }
}
