/**
 * Whether members hold on their disks what others go by: what is committed, on a majority of them, and what one has
 * promised, when it leaves. To look costs as much as to recover, so not every occasion is taken.
 */
import { HarmonyError, hash32 } from "../src/base/index.ts";
import type { LogIndex, NodeId } from "../src/raft/index.ts";
import { type DurableState, durableStateOf, judgePromise } from "./members-disk.ts";
import type { Harm } from "./members-harm.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import type { Member } from "./members-node.ts";
import type { MembersOptions } from "./members-options.ts";
import type { Roster } from "./members-roster.ts";
import type { Promised } from "./members-wire.ts";
import { check, show } from "./violation.ts";

/** So many first applications of a run are looked up on the disks, and then one of so many. */
const COMMITS_LOOKED_UP = 2;
const COMMITS_PER_LOOK = 60;
const PROMISES_LOOKED_UP = 3;
const PROMISES_PER_LOOK = 200;

export interface DurableSurroundings {
  readonly seed: number;
  readonly options: MembersOptions;
  readonly roster: Roster;
  readonly harm: Harm;
  mark(name: MembersMark): void;
}

export class DurableJudge {
  readonly #world: DurableSurroundings;
  #commits = 0;
  #promises = 0;

  constructor(world: DurableSurroundings) {
    this.#world = world;
  }

  /** Committed means durable in a quorum's disk bytes. */
  committed(index: LogIndex): void {
    if (!this.#isLook(this.#commits++, COMMITS_LOOKED_UP, COMMITS_PER_LOOK)) return;
    const { roster } = this.#world;
    this.#world.mark(MEMBERS_MARKS.durable);
    // The entry that changes the voters is committed by those before it.
    const isDurable = [roster.votersNow, roster.votersBefore].some(
      (voters) => this.#copiesAmong(voters, index) > voters.length / 2,
    );
    check(
      isDurable,
      "what is committed is durable on a quorum's disks",
      () =>
        `${index} has ${this.#copiesAmong(roster.votersNow, index)} durable copies among ${roster.votersNow.join()}`,
    );
  }

  #copiesAmong(voters: readonly NodeId[], index: LogIndex): number {
    const { roster, harm } = this.#world;
    const copies = new Map<number, number>();
    let kept = 0;
    for (const voter of voters) {
      // It may have held it when that was counted.
      if (harm.has(voter)) {
        kept++;
        continue;
      }
      const disk = this.#durable(roster.of(voter));
      const term = disk?.termAt(index) ?? null;
      // What a checkpoint covers may be gone from the log.
      if (disk !== null && term === null && disk.appliedIndex >= index) kept++;
      if (term !== null) copies.set(term, (copies.get(term) ?? 0) + 1);
    }
    return kept + Math.max(0, ...copies.values());
  }

  /** A message that promises something has left this member: `promised` is all that others rely on. */
  promised(id: NodeId, promised: Promised | undefined): void {
    const member = this.#world.roster.of(id);
    check(
      member === null || !member.isQuarantined,
      "who is in quarantine promises nothing",
      () => `n${member?.number}: ${show(promised)}`,
    );
    if (!this.#isLook(this.#promises++, PROMISES_LOOKED_UP, PROMISES_PER_LOOK)) return;
    const disk = this.#durable(member);
    if (promised === undefined || disk === null) return;
    this.#world.mark(MEMBERS_MARKS.promise);
    judgePromise(`n${member?.number}`, disk, promised);
  }

  /** Who is told that it was removed stops for good, so whoever says that never forgets it. */
  refusedAsRemoved(by: NodeId, removed: NodeId): void {
    const { roster, harm } = this.#world;
    const disk = harm.has(by) ? null : this.#durable(roster.of(by));
    if (disk === null) return;
    this.#world.mark(MEMBERS_MARKS.refusedForGood);
    check(
      !disk.isMember(removed),
      "a removal is durable before anybody is refused for it",
      () =>
        `n${roster.of(by)?.number} refuses ${removed.toString(16)}, whom its disk still has for a member`,
    );
  }

  /** Null where nothing is, or what there is cannot be read. */
  #durable(member: Member | null): DurableState | null {
    if (member === null || member.identity === null) return null;
    const { machine, identity } = member;
    try {
      return durableStateOf(machine, identity, this.#world.options.segmentBytes);
    } catch (error) {
      if (error instanceof HarmonyError && this.#world.harm.has(identity.memberId)) return null;
      throw error;
    }
  }

  #isLook(ordinal: number, first: number, oneOf: number): boolean {
    return ordinal < first || hash32(this.#world.seed, 3, ordinal) % oneOf === 0;
  }
}
