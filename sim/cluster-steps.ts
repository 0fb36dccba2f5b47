/** The steps of the cluster world, and how a seed decides the next one. */
import { hash32, Random } from "../src/base/index.ts";
import { CRASH_MODES } from "../src/env/sim/index.ts";
import type { Request } from "./cluster-clients.ts";
import { keyKind } from "./cluster-machine.ts";
import type { End } from "./cluster-node.ts";
import { type ClusterOptions, isCalm } from "./cluster-options.ts";
import { FAIR_WEATHER, type Weather } from "./network.ts";

/** One way: from, to. */
type Way = readonly [number, number];

/** Every step is followed by `ms` of simulated time. */
export type ClusterStep = { readonly ms: number } & (
  | { readonly do: "run" }
  | { readonly do: "request"; readonly request: Request }
  | { readonly do: "crash"; readonly node: number; readonly end: End }
  /** At the n-th file operation from now. */
  | {
      readonly do: "crashSoon";
      readonly node: number;
      readonly operations: number;
      readonly moment: "before" | "after";
      readonly end: End;
    }
  /** All nodes at once, each in its way. */
  | { readonly do: "outage"; readonly ends: readonly End[] }
  | { readonly do: "start"; readonly node: number }
  | { readonly do: "weather"; readonly ways: readonly Way[] | null; readonly weather: Weather }
  | { readonly do: "cut"; readonly ways: readonly Way[]; readonly atSender?: boolean }
  | { readonly do: "mend" }
  | { readonly do: "pause"; readonly node: number; readonly forMs: number }
  | { readonly do: "skew"; readonly node: number; readonly skewMs: number }
  | {
      readonly do: "slowDisk";
      readonly node: number;
      readonly operation: "write" | "sync";
      readonly delayMs: number;
      readonly times: number;
    }
  | {
      readonly do: "failWrite";
      readonly node: number;
      readonly operation: "write" | "sync";
      readonly path: "log" | "votes";
      readonly skip: number;
    }
  | { readonly do: "campaign"; readonly node: number; readonly group: number }
  | {
      readonly do: "order";
      readonly node: number;
      readonly group: number;
      readonly order: "transfer" | "forget" | "unreachable";
      /** To whom, or who. */
      readonly member: number;
    }
  /** Faults end, and everything must work again. */
  | { readonly do: "heal" }
);

/** What the drawing looks at. */
export interface Sight {
  readonly stepsDone: number;
  isBusy(client: number): boolean;
  isDown(node: number): boolean;
  /** Who leads the newest term; 0 when nobody does. */
  leader(group: number): number;
  /** Who takes itself for the leader, of whatever term. */
  believers(group: number): readonly number[];
  seen(group: number, key: number): number;
  readonly isCut: boolean;
}

const STREAM_STEPS = 42;

export class StepSource {
  readonly #random: Random;
  readonly #options: ClusterOptions;
  #ids = 0;
  #isOver = false;

  constructor(seed: number, options: ClusterOptions) {
    this.#random = new Random(hash32(seed, STREAM_STEPS));
    this.#options = options;
  }

  next(sight: Sight): ClusterStep | null {
    if (this.#isOver) return null;
    if (sight.stepsDone >= this.#options.steps) {
      this.#isOver = true;
      return { do: "heal", ms: 0 };
    }
    const random = this.#random;
    // First of all somebody leads.
    if (sight.stepsDone === 0) return { do: "run", ms: this.#electionMs * this.#calmTimeouts };
    const { faults, nodes } = this.#options;
    if (sight.stepsDone === 1 && faults.badNetwork && nodes > 1 && random.percent(50))
      return { do: "weather", ways: null, weather: this.#weather(), ms: 0 };
    const down = this.#nodes.filter((node) => sight.isDown(node));
    if (down.length > 0 && random.percent(15 + 15 * down.length))
      return { do: "start", node: random.pick(down), ms: this.#shortMs() };
    // Who was deposed and does not know it must not answer from its past.
    const stale = this.#staleLeader(sight);
    if (stale !== null && random.percent(40)) {
      const client = this.#idleClient(sight);
      if (client !== 0) return this.#request(client, sight, stale);
    }
    if (random.percent(62)) {
      const client = this.#idleClient(sight);
      if (client !== 0) return this.#request(client, sight);
    }
    // While two believe that they lead every moment counts.
    if (stale !== null && random.percent(70)) return { do: "run", ms: random.pick([1, 5, 5, 20]) };
    if (random.percent(55)) return { do: "run", ms: this.#anyMs() };
    return this.#fault(sight);
  }

  get #nodes(): number[] {
    return Array.from({ length: this.#options.nodes }, (_, i) => i + 1);
  }

  /** Without faults nothing may change once somebody leads, and an election may take several attempts. */
  get #calmTimeouts(): number {
    return isCalm(this.#options.faults) ? 12 : this.#random.between(2, 4);
  }

  #staleLeader(sight: Sight): { readonly group: number; readonly node: number } | null {
    for (let group = 0; group < this.#options.groups; group++) {
      const believers = sight.believers(group);
      if (believers.length < 2) continue;
      const leader = sight.leader(group);
      const node = believers.find((id) => id !== leader);
      if (node !== undefined) return { group, node };
    }
    return null;
  }

  get #electionMs(): number {
    return this.#options.electionTicks * this.#options.tickMs;
  }

  #shortMs(): number {
    return this.#random.pick([0, 0, 1, 3, 10]);
  }

  #anyMs(): number {
    const random = this.#random;
    const electionMs = this.#electionMs;
    return random.pick([1, 5, 20, electionMs >> 1, electionMs, 3 * electionMs]);
  }

  #idleClient(sight: Sight): number {
    const first = this.#random.below(this.#options.clients);
    for (let i = 0; i < this.#options.clients; i++) {
      const client = ((first + i) % this.#options.clients) + 1;
      if (!sight.isBusy(client)) return client;
    }
    return 0;
  }

  #request(
    client: number,
    sight: Sight,
    stale: { readonly group: number; readonly node: number } | null = null,
  ): ClusterStep {
    const random = this.#random;
    const { groups, keys, nodes, valueBytesMax, faults } = this.#options;
    const id = ++this.#ids;
    const group = stale?.group ?? random.below(groups);
    const key = random.below(keys);
    const leader = stale?.node ?? sight.leader(group);
    const isCalmNow = isCalm(faults);
    const node =
      leader !== 0 && (isCalmNow || stale !== null || random.percent(75))
        ? leader
        : random.between(1, nodes);
    const base = {
      id,
      client,
      node,
      group,
      key,
      sizeBytes: random.below(valueBytesMax + 1),
      timeoutMs: this.#electionMs * (isCalmNow ? 100 : random.pick([1, 4, 4, 10])),
    };
    const ms = this.#shortMs();
    const of = (kind: Request["kind"], a: number, b: number): ClusterStep => ({
      do: "request",
      request: { ...base, kind, a, b },
      ms,
    });
    if (random.percent(stale === null ? 25 : 70)) return of("read", 0, 0);
    switch (keyKind(key)) {
      case "counter":
        return of("add", random.between(1, 9), 0);
      case "list":
        return of("append", id, 0);
      case "register":
        return random.percent(50) ? of("put", id, 0) : of("cas", sight.seen(group, key), id);
    }
  }

  #end(): End {
    const { powerLoss } = this.#options.faults;
    return powerLoss && this.#random.percent(60) ? this.#random.pick(CRASH_MODES) : "kill";
  }

  #fault(sight: Sight): ClusterStep {
    const { faults, groups, nodes } = this.#options;
    const random = this.#random;
    const node = this.#someNode(sight);
    const kinds: ClusterStep["do"][] = [];
    if (faults.kills || faults.powerLoss) kinds.push("crash", "crash", "crashSoon", "crashSoon");
    if (faults.outages) kinds.push("outage");
    if (faults.failedWrites) kinds.push("failWrite");
    if (faults.slowDisks) kinds.push("slowDisk");
    if (faults.badNetwork && nodes > 1) kinds.push("weather", "weather");
    if (faults.partitions && nodes > 1) kinds.push(sight.isCut ? "mend" : "cut", "cut");
    if (faults.pauses) kinds.push("pause");
    if (faults.clockJumps) kinds.push("skew");
    if (faults.campaigns) kinds.push("campaign");
    if (faults.orders && nodes > 1) kinds.push("order");
    if (kinds.length === 0) return { do: "run", ms: this.#anyMs() };
    const ms = this.#shortMs();
    const kind = random.pick(kinds);
    switch (kind) {
      case "crash":
        return { do: kind, node, end: this.#end(), ms };
      case "crashSoon":
        return {
          do: kind,
          node,
          operations: random.between(1, random.pick([2, 8, 40])),
          moment: random.percent(60) ? "before" : "after",
          end: this.#end(),
          ms,
        };
      case "outage":
        return { do: kind, ends: this.#nodes.map(() => this.#end()), ms };
      case "failWrite":
        return {
          do: kind,
          node,
          operation: random.percent(75) ? "write" : "sync",
          path: random.percent(70) ? "log" : "votes",
          skip: random.below(6),
          ms,
        };
      case "slowDisk":
        return {
          do: kind,
          node,
          operation: random.percent(75) ? "write" : "sync",
          delayMs: random.pick([5, 50, 2 * this.#electionMs, 10 * this.#electionMs]),
          times: random.between(1, 8),
          ms,
        };
      case "weather":
        return { do: kind, ways: this.#someWays(sight), weather: this.#weather(), ms };
      case "cut":
        return {
          do: kind,
          ways: this.#partition(sight),
          // What was said before the cut may be heard long after it.
          atSender: random.percent(50),
          ms: this.#anyMs(),
        };
      case "pause":
        return { do: kind, node, forMs: random.between(1, 60) * this.#electionMs, ms };
      case "skew":
        return {
          do: kind,
          node,
          skewMs: random.pick([-3_600_000, -20_000, -300, 0, 900, 30_000, 3_600_000]),
          ms,
        };
      case "campaign":
        return { do: kind, node, group: random.below(groups), ms };
      case "order":
        return {
          do: kind,
          node,
          group: random.below(groups),
          order: random.pick(["transfer", "transfer", "forget", "unreachable"] as const),
          member: random.between(1, nodes),
          ms,
        };
      case "mend":
      case "run":
      case "start":
      case "request":
      case "heal":
        return { do: "mend", ms: this.#anyMs() };
    }
  }

  /** Rather one that leads. */
  #someNode(sight: Sight): number {
    const leader = sight.leader(this.#random.below(this.#options.groups));
    return leader !== 0 && this.#random.percent(50)
      ? leader
      : this.#random.between(1, this.#options.nodes);
  }

  #allWays(): Way[] {
    const ways: Way[] = [];
    for (const from of this.#nodes)
      for (const to of this.#nodes) if (from !== to) ways.push([from, to]);
    return ways;
  }

  /** Everywhere, on some links, or on those to or from one node. */
  #someWays(sight: Sight): readonly Way[] | null {
    const random = this.#random;
    const one = this.#someNode(sight);
    switch (random.below(5)) {
      case 0:
      case 1:
        return null;
      case 2:
        return this.#allWays().filter(() => random.percent(35));
      case 3:
        return this.#allWays().filter(([from]) => from === one);
      default:
        return this.#allWays().filter(([, to]) => to === one);
    }
  }

  #weather(): Weather {
    const random = this.#random;
    return {
      isCut: false,
      lossPercent: random.pick([0, 0, 2, 10, 30]),
      duplicatePercent: random.pick([0, 0, 5, 50]),
      delayMs: random.pick([
        0,
        1,
        5,
        20,
        this.#electionMs >> 1,
        this.#electionMs,
        2 * this.#electionMs,
      ]),
      stragglePercent: random.pick([0, 1, 10]),
      isOrdered: random.percent(50),
      messagesMax: random.pick([2, 20, 1000]),
      bytesMax: random.pick([2000, FAIR_WEATHER.bytesMax]),
      bytesPerMs: random.percent(20) ? random.pick([5, 50]) : 0,
    };
  }

  /** The links to cut: a split, one node alone, one direction, some links. */
  #partition(sight: Sight): readonly Way[] {
    const random = this.#random;
    const leader = sight.leader(random.below(this.#options.groups));
    const one =
      leader !== 0 && random.percent(60) ? leader : random.between(1, this.#options.nodes);
    switch (random.below(5)) {
      case 0: {
        const side = new Set(this.#nodes.filter(() => random.percent(50)));
        return this.#allWays().filter(([from, to]) => side.has(from) !== side.has(to));
      }
      case 1:
        return this.#allWays().filter(([from, to]) => from === one || to === one);
      case 2:
        return this.#allWays().filter(([from]) => from === one);
      case 3:
        return this.#allWays().filter(([, to]) => to === one);
      default:
        return this.#allWays().filter(() => random.percent(30));
    }
  }
}
