/**
 * Who has room for the log on his disk, and what follows from that (fault-rules D11). Members tell each other when theirs is
 * full, again and again as long as it is, and once when it is over; who says nothing has room. On a full disk a log takes
 * only as much more as its reserve holds, which is kept for what frees room, so each member asks whether the others can go
 * on without it: whether those that have room are a majority of the voters.
 *
 *   full, and the others can    a leader hands the lead over, a follower stands aside: what it is asked for is theirs
 *   full, and they cannot       a leader stays and takes only what frees room, a follower goes on handing it that
 *   not full, and without those that are there is no majority    a leader takes only what frees room, for their reserves
 *
 * A log whose reserve is used up stands still: nothing new is applied here, whatever the others do, and who does not lead
 * stands aside then, too.
 *
 * Invariants: nobody hands over to a member of which he knows that its disk is full, nor where the others cannot go on; after
 * each attempt he waits, twice as long as before unless he has led in peace meanwhile, so that the lead does not go round
 * among disks that are full in turns; who leads never stands aside.
 */
import type { RoomItem } from "../codec/index.ts";
import type { GroupId, NodeId } from "../raft/index.ts";
import { heirWithRoom, type LeadableNode } from "./heir.ts";
import { isMajority } from "./majority.ts";

/** A second with ticks of 100 ms: so often is said again what must not be forgotten. */
const TELL_TICKS = 10;
/** Who has not said it again for so long has room, or is gone. */
const TOLD_TICKS = 35;
/** Between two attempts to hand over, at first and at most. */
const PAUSE_TICKS = 50;
const PAUSE_TICKS_MAX = 1_600;
/** For so long a new leader takes those for present of whom he has not heard yet. */
const UNHEARD_TICKS = 10;
/** So many pauses without an attempt, and the next pause is the first again. */
const PEACE_PAUSES = 4;

export interface RoomConfig {
  readonly group: GroupId;
  readonly raft: LeadableNode;
  /** May be lost. */
  readonly tell: (member: NodeId, item: RoomItem) => void;
  /** The lead is on its way to this member. */
  readonly handsOver: (to: NodeId) => void;
}

export class Room {
  readonly #config: RoomConfig;
  #ticks = 0;
  #ledTicks = 0;
  #isFull = false;
  #isStill = false;
  /** Members whose disks are full, and the tick until which that holds unless they say it again. */
  readonly #full: Map<NodeId, number> = new Map();
  /** This disk is full, and the voters that have not said so of theirs are a majority. */
  #canOthers = false;
  /** As a leader: without those whose disks are full no majority takes part. */
  #isShort = false;
  #attemptAt = Number.NEGATIVE_INFINITY;
  #pauseTicks = PAUSE_TICKS;

  constructor(config: RoomConfig) {
    this.#config = config;
  }

  /** A leader takes only what frees room. */
  get isShort(): boolean {
    return this.#isFull || this.#isShort;
  }

  /** What this member is asked for is for others to do. */
  get isAside(): boolean {
    if (!this.#isFull || this.#config.raft.role === "leader") return false;
    return this.#canOthers || this.#isStill;
  }

  /** As far as is known here. */
  isFull(member: NodeId): boolean {
    return this.#full.has(member);
  }

  /** How it stands with the log here. `isStill`: what was handed to it waits for room. */
  look(isFull: boolean, isStill: boolean): void {
    this.#isStill = isStill;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.#tellAll();
    this.#judge();
  }

  /** Another member says how it stands with his. */
  take(from: NodeId, { isFull }: RoomItem): void {
    const isNews = isFull !== this.#full.has(from);
    if (isFull) this.#full.set(from, this.#ticks + TOLD_TICKS);
    else this.#full.delete(from);
    if (isNews) this.#judge();
  }

  /** One unit of time has passed. */
  tick(): void {
    this.#ticks++;
    this.#ledTicks = this.#config.raft.role === "leader" ? this.#ledTicks + 1 : 0;
    for (const [member, until] of this.#full) if (until <= this.#ticks) this.#full.delete(member);
    if (this.#isFull && this.#ticks % TELL_TICKS === 0) this.#tellAll();
    this.#judge();
  }

  #tellAll(): void {
    const { group, raft, tell } = this.#config;
    const { voters, votersOutgoing, learners } = raft.confState;
    for (const member of new Set([...voters, ...votersOutgoing, ...learners]))
      if (member !== raft.id) tell(member, { kind: "room", group, isFull: this.#isFull });
  }

  #judge(): void {
    const { raft } = this.#config;
    this.#canOthers = false;
    this.#isShort = false;
    if (!this.#isFull && this.#full.size === 0) return;
    const { id, role, confState } = raft;
    if (this.#isFull)
      this.#canOthers = isMajority(confState, (voter) => voter !== id && !this.#full.has(voter));
    if (role !== "leader") return;
    const { progress } = raft.status();
    const present = new Set(
      progress
        .filter(({ recentActive }) => recentActive || this.#ledTicks < UNHEARD_TICKS)
        .map((of) => of.id),
    );
    const hasRoom = (voter: NodeId): boolean =>
      voter === id ? !this.#isFull : !this.#full.has(voter);
    this.#isShort = !isMajority(confState, (voter) => present.has(voter) && hasRoom(voter));
    if (this.#isFull && !this.#isShort) this.#handOver();
  }

  #handOver(): void {
    const { raft, handsOver } = this.#config;
    const sinceTicks = this.#ticks - this.#attemptAt;
    if (raft.transferee !== 0 || sinceTicks < this.#pauseTicks) return;
    const heir = heirWithRoom(raft, (voter) => !this.#full.has(voter));
    if (heir === 0) return;
    const isPeace = sinceTicks >= PEACE_PAUSES * this.#pauseTicks;
    this.#pauseTicks = isPeace ? PAUSE_TICKS : Math.min(2 * this.#pauseTicks, PAUSE_TICKS_MAX);
    this.#attemptAt = this.#ticks;
    raft.transferLeader(heir);
    handsOver(heir);
  }
}
