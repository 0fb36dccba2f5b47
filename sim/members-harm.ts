/**
 * Whose disk cannot be trusted, and whose may still be harmed. What was acknowledged is on a majority, so nothing can be
 * promised once a majority has lost what it had: as long as no more than a minority of the voters is harmed at a time,
 * everything must go on, and nothing may be lost. Beyond that nothing may be lost in silence.
 */
import type { NodeId } from "../src/raft/index.ts";
import type { Member } from "./members-node.ts";

export interface HarmSurroundings {
  readonly nowMs: number;
  /** The ids of those who may have a vote, in the configuration that was applied last and the one before. */
  readonly votersNow: readonly NodeId[];
  readonly votersBefore: readonly NodeId[];
  /** Its removal was asked for. */
  isAsked(id: NodeId): boolean;
  /** The others can tell that something is wrong with it: it is down, or says so. */
  isApart(id: NodeId): boolean;
}

export class Harm {
  readonly #world: HarmSurroundings;
  /** By id, since when. */
  readonly #since = new Map<NodeId, number>();
  /** A majority was harmed: it need not go on. */
  isBeyond = false;

  constructor(world: HarmSurroundings) {
    this.#world = world;
  }

  get hasAny(): boolean {
    return this.#since.size > 0;
  }

  has(id: NodeId | undefined): boolean {
    return id !== undefined && this.#since.has(id);
  }

  /** Something happened to its files; they may be good all the same. */
  note(id: NodeId): void {
    if (!this.#since.has(id)) this.#since.set(id, this.#world.nowMs);
  }

  /** All that it has comes from others again. */
  healed(id: NodeId): void {
    this.#since.delete(id);
  }

  /** With this one a majority would be left in whatever configuration may come. */
  mayHit({ identity }: Member): boolean {
    return identity === null || this.#isLeft(identity.memberId);
  }

  /**
   * Whether somebody may ask for the removal of a member that is well. The others have had the time to find out who is
   * not: from then on it is theirs to refuse. Of a page that has decayed and that nobody has read since nobody can know.
   */
  mayRemove(id: NodeId, knownMs: number): boolean {
    if (this.has(id)) return true;
    const { nowMs } = this.#world;
    for (const [harmed, since] of this.#since)
      if (nowMs - since < knownMs || !this.#world.isApart(harmed)) return false;
    return true;
  }

  #isLeft(id: NodeId): boolean {
    const { votersNow, votersBefore } = this.#world;
    return [votersNow, votersBefore].every((voters) => {
      const stay = voters.filter((voter) => !this.#world.isAsked(voter)).length;
      const harmed = new Set([id, ...this.#since.keys()]);
      const count = [...harmed].filter((one) => one === id || voters.includes(one)).length;
      return 2 * count < stay;
    });
  }
}
