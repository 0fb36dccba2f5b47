/** How a seed decides the next step of the members world. */
import { hash32, Random } from "../src/base/index.ts";
import { CRASH_MODES } from "../src/env/sim/index.ts";
import { AskSource } from "./members-asks.ts";
import type { Change } from "./members-changes.ts";
import type { Rot } from "./members-damage.ts";
import type { End, Halt } from "./members-node.ts";
import { isCalm, type MembersOptions } from "./members-options.ts";
import { PlanSource } from "./members-plans.ts";
import type { Sight } from "./members-sight.ts";
import type { MembersStep } from "./members-steps.ts";
import { WaySource } from "./members-ways.ts";

const STREAM_STEPS = 62;
/** About as many as it takes to put a data file in the place of another. */
const SWAP_OPERATIONS = 4;

export class StepSource {
  readonly #random: Random;
  readonly #options: MembersOptions;
  readonly #asks: AskSource;
  readonly #ways: WaySource;
  readonly #plans: PlanSource;
  /** Every machine. */
  readonly #members: readonly number[];
  #ids = 0;
  #isOver = false;
  /** What comes next. */
  #plan: readonly MembersStep[] = [];
  /** How often something else comes in between, of a hundred steps. */
  #strayPercent = 10;

  constructor(seed: number, options: MembersOptions) {
    const random = new Random(hash32(seed, STREAM_STEPS));
    this.#random = random;
    this.#options = options;
    this.#members = Array.from({ length: options.nodes + options.spares }, (_, i) => i + 1);
    this.#asks = new AskSource(random, options);
    this.#ways = new WaySource(random, options, this.#members);
    this.#plans = new PlanSource({
      random,
      options,
      members: this.#members,
      asks: this.#asks,
      ways: this.#ways,
      takeId: () => ++this.#ids,
      end: () => this.#end(),
    });
  }

  next(sight: Sight): MembersStep | null {
    if (this.#isOver) return null;
    if (sight.stepsDone >= this.#options.steps) {
      this.#isOver = true;
      return { do: "heal", ms: 0 };
    }
    const random = this.#random;
    const { electionMs } = this.#options;
    // First of all somebody leads.
    if (sight.stepsDone === 0)
      return { do: "run", ms: electionMs * (isCalm(this.#options) ? 12 : random.between(2, 4)) };
    const [planned] = this.#plan;
    if (planned !== undefined && !random.percent(this.#strayPercent)) {
      this.#plan = this.#plan.slice(1);
      return planned;
    }
    const down = this.#members.filter((member) => sight.isDown(member));
    if (down.length > 0 && random.percent(15 + 15 * down.length)) {
      const member = random.pick(down);
      // It may be behind, and a snapshot is in its place within few operations.
      if (this.#options.faults.kills && this.#plan.length === 0 && random.percent(60))
        this.#begin([this.#crashSoon(member, SWAP_OPERATIONS, "swap")]);
      return { do: "start", member, asOld: false, ms: this.#shortMs() };
    }
    // It is soon over, and a crash in the middle of it leaves more to do for the next start than one at any other time.
    const joining = this.#members.filter((member) => sight.isJoining(member));
    if (joining.length > 0 && this.#options.faults.kills && random.percent(20))
      return this.#crashSoon(random.pick(joining), random.pick([8, 30, 100]));
    // Who only learns does so but for a while, and starts on damage otherwise than who has a vote.
    const learners = this.#members.filter((member) => sight.isLearner(member));
    if (learners.length > 0 && this.#options.faults.rot && random.percent(8))
      return this.#rotten(random.pick(learners), this.#shortMs());
    // Most cuts are over before those who wait for what is behind them have given up.
    if (sight.isCut && random.percent(4)) return { do: "mend", ms: this.#anyMs() };
    const lost = this.#members.filter((member) => sight.isLost(member));
    if (lost.length > 0 && random.percent(8)) {
      const member = random.pick(lost);
      if (random.percent(50)) return { do: "start", member, asOld: true, ms: this.#anyMs() };
      const change = { kind: "remove", target: member } as const;
      return { do: "change", member: random.pick(this.#members), change, ms: this.#anyMs() };
    }
    // Who was deposed and does not know it must not answer from its past.
    const stale = sight.believers.find((member) => member !== sight.leader) ?? 0;
    if (random.percent(60)) {
      const client = this.#idleClient(sight);
      if (client !== 0) return this.#request(client, sight, random.percent(50) ? stale : 0);
    }
    if (random.percent(50)) return { do: "run", ms: this.#anyMs() };
    return this.#fault(sight);
  }

  /** Half of the plans are kept to the letter: one request in a quiet stretch may be all that their end depends on. */
  #begin(plan: readonly MembersStep[]): void {
    this.#plan = plan;
    this.#strayPercent = this.#random.pick([0, 10]);
  }

  #shortMs(): number {
    return this.#random.pick([0, 0, 1, 5, 30]);
  }

  #anyMs(): number {
    const { electionMs } = this.#options;
    return this.#random.pick([5, 20, 100, electionMs >> 1, electionMs, 3 * electionMs]);
  }

  #idleClient(sight: Sight): number {
    const first = this.#random.below(this.#options.clients);
    for (let i = 0; i < this.#options.clients; i++) {
      const client = ((first + i) % this.#options.clients) + 1;
      if (!sight.isBusy(client)) return client;
    }
    return 0;
  }

  #request(client: number, sight: Sight, stale: number): MembersStep {
    const random = this.#random;
    const { electionMs, faults } = this.#options;
    const member =
      stale !== 0
        ? stale
        : sight.leader !== 0 && random.percent(35)
          ? sight.leader
          : random.percent(80)
            ? this.#someoneUp(sight)
            : random.pick(this.#members);
    const id = ++this.#ids;
    const request = {
      id,
      client,
      member,
      timeoutMs: faults.impatience && random.percent(40) ? electionMs * random.pick([1, 3]) : null,
      ask: this.#asks.next(client, id, sight, stale !== 0),
    };
    return { do: "request", request, ms: this.#shortMs() };
  }

  #end(): End {
    const { powerLoss } = this.#options.faults;
    return powerLoss && this.#random.percent(60) ? this.#random.pick(CRASH_MODES) : "kill";
  }

  #crashSoon(member: number, operationsMax: number, from: Halt["from"] = "now"): MembersStep {
    const random = this.#random;
    const operations = random.between(from === "now" ? 1 : 0, operationsMax);
    const moment = random.percent(60) ? "before" : "after";
    return {
      do: "crashSoon",
      member,
      operations,
      moment,
      end: this.#end(),
      from,
      ms: this.#shortMs(),
    };
  }

  #fault(sight: Sight): MembersStep {
    const { faults, electionMs } = this.#options;
    const random = this.#random;
    const member = this.#someMember(sight);
    const kinds: (MembersStep["do"] | "grow" | "overtake" | "rollingRestart")[] = [];
    if (faults.kills || faults.powerLoss) kinds.push("crash", "crash", "crashSoon", "crashSoon");
    if (faults.outages) kinds.push("outage");
    if (faults.cleanStops) kinds.push("stop");
    if (faults.failedWrites) kinds.push("failWrite");
    if (faults.slowDisks) kinds.push("slowDisk");
    if (faults.fullDisks) kinds.push(sight.isFull(member) ? "room" : "full");
    if (faults.slowWays || faults.flips) kinds.push("weather");
    if (faults.cuts) kinds.push(sight.isCut ? "mend" : "cut", "cut", "overtake");
    if (faults.breaks) kinds.push("break");
    if (faults.pauses) kinds.push("pause");
    if (faults.clockJumps) kinds.push("skew");
    if (faults.cleanStops || faults.kills) kinds.push("rollingRestart");
    if (faults.changes) kinds.push("change");
    if (faults.handOvers) kinds.push("handOver");
    if (faults.joins) kinds.push("grow", "grow", "grow");
    if (faults.wipes) kinds.push("wipe");
    if (faults.rot) kinds.push("rot", "rot");
    if (kinds.length === 0) return { do: "run", ms: this.#anyMs() };
    const ms = this.#shortMs();
    const kind = random.pick(kinds);
    switch (kind) {
      case "crash":
        return { do: kind, member, end: this.#end(), ms };
      case "crashSoon":
        if (random.percent(30)) return this.#crashSoon(member, SWAP_OPERATIONS, "swap");
        return this.#crashSoon(member, random.pick([2, 8, 40]));
      case "outage":
        return { do: kind, ends: this.#members.map(() => this.#end()), ms };
      case "stop":
        return { do: kind, member, ms };
      case "failWrite":
        return {
          do: kind,
          member,
          operation: random.percent(75) ? "write" : "sync",
          path: random.pick(["log", "log", "log", "votes", "data", "members"] as const),
          skip: random.below(6),
          ms,
        };
      case "slowDisk":
        return {
          do: kind,
          member,
          operation: random.percent(75) ? "write" : "sync",
          delayMs: random.percent(10)
            ? null
            : random.pick([5, 50, 2 * electionMs, 10 * electionMs]),
          times: random.between(1, 8),
          ms,
        };
      case "full":
        return { do: kind, member, spareBytes: random.pick([0, 500, 5000, 20_000]), ms };
      case "room":
        return { do: kind, member, ms };
      case "weather":
        return { do: kind, ways: this.#ways.some(member), weather: this.#ways.weather(), ms };
      case "cut":
        return { do: kind, ways: this.#ways.partition(this.#someMember(sight)), ms: this.#anyMs() };
      case "break":
        return { do: kind, way: random.pick(this.#ways.all), ms };
      case "pause":
        return { do: kind, member, forMs: random.between(1, 30) * electionMs, ms };
      case "skew":
        return {
          do: kind,
          member,
          skewMs: random.pick([-3_600_000, -20_000, -300, 0, 900, 30_000, 3_600_000]),
          ms,
        };
      case "change":
        return { do: kind, member: this.#someoneUp(sight), change: this.#change(sight), ms };
      case "handOver": {
        const asked =
          sight.leader !== 0 && random.percent(50) ? sight.leader : this.#someoneUp(sight);
        return { do: kind, member: asked, to: random.pick(this.#members), ms };
      }
      case "grow": {
        const change = this.#growth(sight);
        if (change === null) return { do: "run", ms: this.#anyMs() };
        if (faults.kills && change.kind === "replace" && random.percent(60))
          this.#begin(this.#plans.amidChange());
        return { do: "change", member: this.#someoneUp(sight), change, ms: this.#anyMs() };
      }
      case "overtake":
        this.#begin(this.#plans.overtaking(sight));
        return { do: "mend", ms };
      case "rollingRestart":
        this.#begin(this.#plans.rollingRestart(sight));
        return { do: "run", ms };
      case "wipe":
        return { do: kind, member, end: this.#end(), ms };
      case "rot":
        return this.#rotten(member, ms);
      case "mend":
      case "run":
      case "start":
      case "request":
      case "heal":
        return { do: "mend", ms: this.#anyMs() };
    }
  }

  /** One stays at least, and mostly two: one alone shows little of a cluster. */
  #change(sight: Sight): Change {
    const random = this.#random;
    const mayRemove = sight.votersLeft > (random.percent(25) ? 1 : 2);
    if (mayRemove && random.percent(40)) return { kind: "remove", target: this.#someMember(sight) };
    return { kind: random.percent(60) ? "addLearner" : "removeLearner" };
  }

  /** Somebody comes, or who came gets a vote, or the place of another. */
  #growth(sight: Sight): Change | null {
    const random = this.#random;
    const learners = this.#members.filter((member) => sight.isLearner(member));
    if (learners.length > 0 && random.percent(65)) {
      const learner = random.pick(learners);
      const voters = this.#members.filter((member) => sight.isVoter(member));
      if (voters.length === 0 || random.percent(40)) return { kind: "promote", target: learner };
      return { kind: "replace", target: random.pick(voters), by: learner };
    }
    const vacant = this.#members.filter((member) => sight.isVacant(member));
    if (vacant.length === 0) return null;
    return { kind: "join", target: random.pick(vacant), isLearner: random.percent(75) };
  }

  #rotten(member: number, ms: number): MembersStep {
    const isBeyond = this.#options.rotBeyond && this.#random.percent(50);
    return { do: "rot", member, end: this.#end(), rot: this.#rot(), isBeyond, ms };
  }

  #rot(): Rot {
    const random = this.#random;
    return {
      files: random.pick([
        "log",
        "log",
        "log",
        "data",
        "data",
        "votes",
        "manifest",
        "log and votes",
      ]),
      file: random.below(8),
      offset: random.below(random.pick([1024, 65_536])),
      places: random.pick([1, 1, 3, 200]),
      stride: random.pick([1, 61, 509]),
    };
  }

  /** Rather one that can be asked. */
  #someoneUp(sight: Sight): number {
    const up = this.#members.filter((member) => sight.isUp(member));
    return this.#random.pick(up.length > 0 ? up : this.#members);
  }

  /** Rather one that leads, or one that only learns, for it does so but for a while. */
  #someMember(sight: Sight): number {
    const random = this.#random;
    if (sight.leader !== 0 && random.percent(45)) return sight.leader;
    const learners = this.#members.filter((member) => sight.isLearner(member));
    return random.pick(learners.length > 0 && random.percent(25) ? learners : this.#members);
  }
}
