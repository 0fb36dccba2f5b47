/** What the drawing of steps looks at (members-draw.ts): which of them would make sense now, and where it hurts most. */
import type { MemberChanges } from "./members-changes.ts";
import type { MemberClients } from "./members-clients.ts";
import type { Member } from "./members-node.ts";
import type { Roster } from "./members-roster.ts";
import type { WireOracle } from "./members-wire.ts";

export interface SightSurroundings {
  readonly members: readonly Member[];
  readonly roster: Roster;
  readonly clients: MemberClients;
  readonly changes: MemberChanges;
  readonly wire: WireOracle;
  member(number: number): Member;
}

export class Sight {
  readonly #world: SightSurroundings;
  stepsDone = 0;
  /** Some ways are cut. */
  isCut = false;

  constructor(world: SightSurroundings) {
    this.#world = world;
  }

  isBusy(client: number): boolean {
    return this.#world.clients.isBusy(client);
  }

  /** It does not run, and could. */
  isDown(number: number): boolean {
    const member = this.#world.member(number);
    if (member.state !== "down" || member.isBroken || member.isRemoved) return false;
    return !member.isBlank || member.isImpostor || this.#world.roster.rosterFor(member) !== null;
  }

  /** Its disk is lost, and the others still count on it. */
  isLost(number: number): boolean {
    const member = this.#world.member(number);
    const { votersNow } = this.#world.roster;
    return member.lost !== null && member.isBlank && votersNow.includes(member.lost);
  }

  /** A machine for somebody new. */
  isVacant(number: number): boolean {
    const member = this.#world.member(number);
    return member.isVacant && this.#world.roster.placeOf(member) === undefined;
  }

  isLearner(number: number): boolean {
    return this.#world.roster.isLearner(this.#world.member(number));
  }

  isVoter(number: number): boolean {
    const { identity } = this.#world.member(number);
    return identity !== null && this.#world.roster.votersNow.includes(identity.memberId);
  }

  /** It can be asked. */
  isUp(number: number): boolean {
    return this.#world.member(number).node !== null;
  }

  /** Its process makes its directory of what the others tell and give it. */
  isJoining(number: number): boolean {
    const { isBlank, isImpostor, state } = this.#world.member(number);
    return isBlank && !isImpostor && state === "opening";
  }

  isFull(number: number): boolean {
    return this.#world.member(number).isFull;
  }

  /** Who leads the newest term; 0 when nobody does. */
  get leader(): number {
    const { roster, wire } = this.#world;
    const leader = roster.of(wire.newest.leader);
    return leader !== null && leader.node !== null ? leader.number : 0;
  }

  /** Who takes itself for the leader, of whatever term. */
  get believers(): readonly number[] {
    return this.#world.members
      .map(({ number }) => number)
      .filter((number) => this.believes(number));
  }

  believes(number: number): boolean {
    const { node } = this.#world.member(number);
    if (node === null) return false;
    const { leader, memberId } = node.database.status();
    return leader === memberId;
  }

  seen(key: string): string | null {
    return this.#world.clients.seen(key);
  }

  /** So many have a vote when all removals are made that were asked for. */
  get votersLeft(): number {
    const { roster, changes } = this.#world;
    const left = [roster.votersNow, roster.votersBefore].map(
      (voters) => voters.filter((voter) => !changes.isAsked(voter)).length,
    );
    return Math.min(...left);
  }
}
