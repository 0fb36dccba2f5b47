/**
 * After all faults everything must work again within a bound: every member up, the damaged ones healed by the others, who
 * lost its disk taken in as somebody new, every client answered, and everything applied everywhere. Only where a
 * majority was damaged it may stand still, and then those who keep it from going on say why.
 */
import type { Change, MemberChanges } from "./members-changes.ts";
import type { MemberClients } from "./members-clients.ts";
import type { Harm } from "./members-harm.ts";
import { LEARNERS_MAX, type Member } from "./members-node.ts";
import type { MembersOptions } from "./members-options.ts";
import type { Roster } from "./members-roster.ts";
import type { StateOracle } from "./members-state.ts";
import { check } from "./violation.ts";

/** A healed cluster has its links, a leader and everything applied within so many election timeouts and this time. */
const HEALING_TIMEOUTS = 60;
const HEALING_MS = 30_000;
/** So often somebody asks again that a member goes. */
const ASK_AGAIN_MS = 3000;
/** Clients and requests of the end have numbers of their own. */
const FIRST_REQUEST = 1_000_000;

export interface HealingSurroundings {
  readonly nowMs: number;
  readonly options: MembersOptions;
  readonly members: readonly Member[];
  /** Who leads the newest term; 0 when nobody does. */
  readonly leader: number;
  readonly roster: Roster;
  readonly harm: Harm;
  readonly clients: MemberClients;
  readonly changes: MemberChanges;
  readonly states: StateOracle;
  /** Its process ends. */
  end(member: Member): void;
  run(ms: number): void;
}

export class Healing {
  readonly #world: HealingSurroundings;
  /** Until then nobody asks again that somebody goes who will not come back, or comes in his place. */
  #askedMs = 0;

  constructor(world: HealingSurroundings) {
    this.#world = world;
  }

  /** False: a majority is damaged, and says so. */
  becomesWhole(): boolean {
    const { members, clients, options, roster, states } = this.#world;
    const isUp = this.#runUntil("after all faults every member is up", () => {
      this.#letGo();
      return members.every(
        (member) =>
          member.isRemoved ||
          (member.isBlank
            ? member.lost === null && roster.placeOf(member) === undefined
            : member.state === "up"),
      );
    });
    if (!isUp || !this.#writeEverywhere()) return false;
    return (
      this.#runUntil("every client is answered or has given up", () => clients.busy === 0) &&
      this.#runUntil("after all faults every learner that wants to vote does", () =>
        roster.present.every((member) => !options.autoPromote || !roster.isLearner(member)),
      ) &&
      this.#runUntil("after all faults every member has applied everything", () => {
        const places = roster.present.map(({ node }) => node?.database.applied.index ?? -1);
        return places.every((place) => place === states.newest);
      })
    );
  }

  /** False: that will not be, and the members say why. */
  #runUntil(rule: string, isThere: () => boolean): boolean {
    const { options, members } = this.#world;
    const { electionMs, tickMs } = options;
    const limitMs = this.#world.nowMs + HEALING_MS + electionMs * HEALING_TIMEOUTS;
    while (!isThere()) {
      if (this.#world.nowMs >= limitMs && this.#saysWhy) return false;
      check(this.#world.nowMs < limitMs, rule, () => this.#picture());
      this.#world.run(tickMs);
      // A write that failed before may end a process only now.
      for (const member of members) if (member.state === "down") member.start();
    }
    return true;
  }

  /** Who has lost its disk, or will not start again, is removed, and its machine joins as a new member. */
  #letGo(): void {
    const { members, harm, roster, changes, nowMs } = this.#world;
    for (const member of members) {
      if (!member.isBroken && !member.isImpostor) continue;
      this.#world.end(member);
      if (member.identity !== null) harm.note(member.identity.memberId);
      member.wipe();
    }
    const leader = members.find(({ number }) => this.#world.leader === number);
    if (leader === undefined || nowMs < this.#askedMs) return;
    const gone = members.find((member) => roster.isGone(member));
    const newcomer = members.find(
      (member) => member.isBlank && member.lost !== null && roster.placeOf(member) === undefined,
    );
    const learners = roster.all.filter(({ isLearner }) => isLearner).length;
    const change: Change | null =
      gone !== undefined
        ? { kind: "remove", target: gone.number }
        : newcomer !== undefined
          ? { kind: "join", target: newcomer.number, isLearner: learners < LEARNERS_MAX }
          : null;
    if (change === null) return;
    this.#askedMs = nowMs + ASK_AGAIN_MS;
    leader.input((node) => changes.ask(node, change));
  }

  /** So many of those who have a vote say that they cannot take part that nobody can lead. */
  get #saysWhy(): boolean {
    const { harm, roster } = this.#world;
    if (!harm.isBeyond) return false;
    const silent = roster.votersNow.filter((voter) => {
      const member = roster.of(voter);
      return member !== null && !member.isQuarantined && !member.isBroken;
    });
    return 2 * silent.length <= roster.votersNow.length;
  }

  /** Each member takes a write and a read that sees it. */
  #writeEverywhere(): boolean {
    const { roster, clients } = this.#world;
    let id = FIRST_REQUEST;
    const done = new Set<number>();
    const asked = new Map<number, number>();
    return this.#runUntil("after all faults every member takes writes", () => {
      const { present } = roster;
      for (const { number } of present) {
        if (done.has(number) || clients.isBusy(-number)) continue;
        const before = clients.all.find(({ request }) => request.id === asked.get(number));
        if (before?.outcome === "ok") {
          done.add(number);
          continue;
        }
        asked.set(number, ++id);
        const input = { kind: "put", key: `h${number}`, value: String(id) } as const;
        const ask = { kind: "kv", input } as const;
        clients.send({ id, client: -number, member: number, timeoutMs: null, ask });
      }
      return present.length > 0 && present.every(({ number }) => done.has(number));
    });
  }

  #picture(): string {
    const { members, states } = this.#world;
    return members
      .map(({ number, state, isPaused, node }) => {
        const status = node?.database.status();
        const of =
          status === undefined
            ? ""
            : ` leader ${status.leader.toString(16)} term ${status.raftTerm} last ${status.raftIndex} applied ${status.raftAppliedIndex} of ${states.newest}, ${status.errors.join("; ")}`;
        return `n${number} ${state}${isPaused ? " paused" : ""}:${of}`;
      })
      .join("\n");
  }
}
