/** Steps of the members world that belong together and seldom come about one by one. */
import type { Random } from "../src/base/index.ts";
import type { AskSource } from "./members-asks.ts";
import type { End } from "./members-node.ts";
import type { MembersOptions } from "./members-options.ts";
import type { Ask } from "./members-requests.ts";
import type { Sight } from "./members-sight.ts";
import type { MembersStep } from "./members-steps.ts";
import type { WaySource } from "./members-ways.ts";

/** About as long as most locks last. */
const LOCK_MS = 2000;

export interface PlanParts {
  readonly random: Random;
  readonly options: MembersOptions;
  readonly members: readonly number[];
  readonly asks: AskSource;
  readonly ways: WaySource;
  /** Of the next request. */
  readonly takeId: () => number;
  /** How a process ends. */
  readonly end: () => End;
}

export class PlanSource {
  readonly #parts: PlanParts;

  constructor(parts: PlanParts) {
    this.#parts = parts;
  }

  /**
   * Whoever leads is cut off, takes writes that nobody else hears of, and hears from another leader in time to say of them
   * that they never happen. That one may have started a while after the last entry, and the lead may go back: then three
   * clocks have stamped entries in turn.
   */
  overtaking(sight: Sight): readonly MembersStep[] {
    const { random, options, members, ways, asks } = this.#parts;
    const { electionMs } = options;
    const { leader } = sight;
    if (leader === 0) return [];
    const others = members.filter((member) => member !== leader && sight.isVoter(member));
    const write = (member: number): MembersStep => this.#request(member, (_, id) => asks.put(id));
    const steps: MembersStep[] = [];
    const locks = (least: number, most: number): void => {
      for (let i = random.between(least, most); i > 0; i--)
        steps.push(this.#lock(random.pick(members)));
    };
    const isLate = random.percent(60);
    const goesBack = options.faults.handOvers && random.percent(isLate ? 90 : 50);
    // Whoever leads next has started a while after the last entry, or some of those who may: its clock is behind by that.
    if (isLate) {
      steps.push({ do: "run", ms: electionMs * random.pick([2, 8]) + random.pick([0, LOCK_MS]) });
      for (const member of others) if (random.percent(85)) steps.push(...this.#restart(member));
    }
    steps.push({
      do: "cut",
      ways: ways.all.filter(([from, to]) => from === leader || to === leader),
      ms: 0,
    });
    for (let i = random.between(1, 3); i > 0; i--) steps.push(write(leader));
    steps.push({ do: "run", ms: electionMs * random.pick([2, 3]) });
    steps.push(write(random.pick(members)));
    if (goesBack) locks(2, 4);
    steps.push({ do: "mend", ms: electionMs });
    if (!goesBack) return steps;
    locks(1, 2);
    // Who leads by then is the only one who does it.
    for (const member of others) steps.push({ do: "handOver", member, to: leader, ms: 1 });
    steps.push({ do: "run", ms: random.pick([electionMs >> 1, electionMs, 3 * electionMs]) });
    locks(2, 5);
    return steps;
  }

  /**
   * A rolling restart, of some or all (fault-rules O3). Who has been restarted may be given the lead, and in the end it may
   * go back to who had it. Meanwhile clients take locks, whose time each leader counts by its own clock.
   */
  rollingRestart(sight: Sight): readonly MembersStep[] {
    const { random, options } = this.#parts;
    const { electionMs, faults } = options;
    const voters = this.#parts.members.filter((member) => sight.isVoter(member));
    const { leader: first } = sight;
    if (first === 0 || voters.length < 2) return [];
    const start = random.below(voters.length);
    const inTurn = [...voters.slice(start), ...voters.slice(0, start)];
    const isWhole = random.percent(50);
    const steps: MembersStep[] = [];
    let leader = first;
    const moveTo = (member: number): void => {
      if (!faults.handOvers || member === leader) return;
      const ms = random.pick([electionMs >> 1, electionMs, 2 * electionMs]);
      steps.push({ do: "handOver", member: leader, to: member, ms });
      leader = member;
      for (let i = random.below(3); i > 0; i--) steps.push(this.#lock(random.pick(voters)));
    };
    for (const member of inTurn.filter((other) => isWhole || other !== first)) {
      steps.push(...this.#restart(member));
      if (random.percent(50)) moveTo(member);
      else if (random.percent(60)) steps.push(this.#lock(random.pick(voters)));
    }
    moveTo(first);
    return steps;
  }

  /** Members end and start again while a change of them is under way (R9 to R12). */
  amidChange(): readonly MembersStep[] {
    const { random, options, members, end } = this.#parts;
    const { electionMs } = options;
    const restarts: MembersStep[] = [];
    for (let i = random.between(1, 2); i > 0; i--) {
      const member = random.pick(members);
      restarts.push({
        do: "crash",
        member,
        end: end(),
        ms: random.pick([0, 20, electionMs]),
      });
      restarts.push({ do: "start", member, asOld: false, ms: random.pick([5, electionMs]) });
    }
    return restarts;
  }

  #restart(member: number): readonly MembersStep[] {
    const { random, options, end } = this.#parts;
    const { electionMs, faults } = options;
    const isInOrder = faults.cleanStops && random.percent(faults.kills ? 60 : 100);
    return [
      isInOrder
        ? { do: "stop", member, ms: electionMs }
        : { do: "crash", member, end: end(), ms: electionMs >> 1 },
      { do: "start", member, asOld: false, ms: random.pick([electionMs >> 1, 2 * electionMs]) },
    ];
  }

  #lock(member: number): MembersStep {
    const step = this.#request(member, (client, id) => this.#parts.asks.lock(client, id));
    return { ...step, ms: this.#parts.random.pick([0, 30, this.#parts.options.electionMs]) };
  }

  #request(member: number, ask: (client: number, id: number) => Ask): MembersStep {
    const { random, options, takeId } = this.#parts;
    const client = random.between(1, options.clients);
    const id = takeId();
    const request = { id, client, member, timeoutMs: null, ask: ask(client, id) };
    return { do: "request", request, ms: random.pick([0, 0, 1, 5, 30]) };
  }
}
