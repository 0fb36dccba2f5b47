import { describe, expect, it } from "vitest";
import { hash32 } from "../src/base/index.ts";
import { SimScheduler } from "../src/env/sim/index.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import { GroupOracle, LogView } from "./cluster-oracle.ts";
import type { ClusterStep } from "./cluster-steps.ts";
import { CLUSTER_WORLD } from "./cluster-world.ts";
import { Marks } from "./marks.ts";
import { FAIR_WEATHER, Network, type Weather } from "./network.ts";
import { type Plain, playScript, playSeed, type Style, verified } from "./play.ts";
import type { RunResult } from "./result.ts";
import { Trace } from "./trace.ts";
import { Violation } from "./violation.ts";

// npm run sim -- --profile cluster makes long sweeps of this.
function clean(result: RunResult): RunResult {
  if (result.failure !== null)
    throw new Error(
      `seed ${result.seed}: ${result.failure.message}\n${result.failure.lines.join("\n")}`,
    );
  return result;
}

/** The steps that a seed leads to. */
function scriptOf(seed: number, style: Style): { options: ClusterOptions; steps: ClusterStep[] } {
  const options = CLUSTER_WORLD.drawOptions(seed, style);
  const play = CLUSTER_WORLD.begin(seed, options, new Trace(), new Marks());
  const steps: ClusterStep[] = [];
  for (let step = play.draw(); step !== null; step = play.draw()) {
    steps.push(step);
    play.perform(step);
  }
  return { options, steps };
}

describe("the cluster world", () => {
  it("keeps every promise of Raft, whatever the seed does to it", () => {
    let cycles = verified(() => clean(playSeed(CLUSTER_WORLD, 1))).cycles;
    for (let seed = 2; seed <= 6; seed++) cycles += clean(playSeed(CLUSTER_WORLD, seed)).cycles;
    for (let seed = 1; seed <= 5; seed++)
      cycles += clean(playSeed(CLUSTER_WORLD, seed, "swarm")).cycles;
    expect(cycles).toBeGreaterThan(50);
  }, 60_000);

  it("the same seed gives the same run, event by event", () => {
    const first = playSeed(CLUSTER_WORLD, 17, "swarm");
    expect(playSeed(CLUSTER_WORLD, 17, "swarm")).toEqual(first);
    expect(playSeed(CLUSTER_WORLD, 18, "swarm").hash).not.toBe(first.hash);
  }, 60_000);

  it("plays its steps again, all of them or any part", () => {
    for (const seed of [3, 5]) {
      const { options, steps } = scriptOf(seed, "default");
      const script = { world: "cluster", seed, options: options as Plain, steps };
      const whole = clean(playScript(CLUSTER_WORLD, script));
      expect(whole.hash).toBe(playSeed(CLUSTER_WORLD, seed).hash);
      const some = steps.filter((_, i) => hash32(seed, i) % 2 === 0);
      clean(playScript(CLUSTER_WORLD, { ...script, steps: some }));
      clean(
        playScript(CLUSTER_WORLD, {
          ...script,
          steps: JSON.parse(JSON.stringify(some)) as Plain[],
        }),
      );
    }
  }, 60_000);
});

describe("the judge of a group", () => {
  const entry = (index: number, term: number, byte = 0) => ({
    index,
    term,
    type: 0 as const,
    data: Uint8Array.of(byte),
  });
  const rule = (run: () => void): string => {
    try {
      run();
    } catch (error) {
      if (error instanceof Violation) return error.check;
      throw error;
    }
    return "nothing";
  };
  /** Three nodes hold 1/1 and 2/1, and node 1 has committed both in term 1. */
  const agreed = () => {
    const oracle = new GroupOracle(0, 3, new Marks());
    const views = [1, 2, 3].map((node) => {
      const view = new LogView();
      oracle.entry(node, view, entry(1, 1));
      oracle.entry(node, view, entry(2, 1));
      return view;
    });
    const view = (node: number): LogView => views[node - 1] as LogView;
    oracle.leads(1, 1, view(1));
    oracle.commits(1, 1, view(1), 0, 2, 5);
    return { oracle, view };
  };

  it("sees two leaders of a term", () => {
    const { oracle, view } = agreed();
    expect(rule(() => oracle.leads(1, 1, view(1)))).toBe("nothing");
    expect(rule(() => oracle.leads(2, 1, view(2)))).toBe("one leader in a term");
  });

  it("sees a leader that lacks a committed entry, unless it was committed in a later term", () => {
    const { oracle } = agreed();
    expect(rule(() => oracle.leads(2, 2, new LogView()))).toBe(
      "a leader has every committed entry",
    );
    expect(rule(() => oracle.leads(3, 0, new LogView()))).toBe("nothing");
  });

  it("sees a second vote in a term, also of a later life", () => {
    const { oracle } = agreed();
    oracle.vote(3, 4, 1);
    expect(rule(() => oracle.vote(3, 4, 1))).toBe("nothing");
    expect(rule(() => oracle.vote(3, 4, 2))).toBe("nobody votes twice in a term");
  });

  it("sees logs that agree on an entry and differ before it", () => {
    const { oracle, view } = agreed();
    oracle.entry(1, view(1), entry(3, 2, 1));
    oracle.entry(1, view(1), entry(4, 3));
    oracle.entry(2, view(2), entry(3, 3, 2));
    expect(rule(() => oracle.entry(2, view(2), entry(4, 3)))).toBe("logs match");
  });

  it("sees a commit of another entry, one by counting an old term, and one that nobody led to", () => {
    const { oracle, view } = agreed();
    oracle.entry(2, view(2), entry(2, 2, 9));
    expect(rule(() => oracle.agrees(2, view(2), 0, 2))).toBe("all commit the same");
    oracle.entry(1, view(1), entry(3, 1));
    expect(rule(() => oracle.commits(1, 2, view(1), 2, 3, 6))).toBe(
      "a leader commits by counting only entries of its own term",
    );
    expect(rule(() => oracle.agrees(3, view(3), 2, 3))).toBe("all commit the same");
  });

  it("sees a command that is applied twice, or although it was refused for certain", () => {
    const { oracle } = agreed();
    oracle.never(8);
    const applied = { group: 0, term: 1, stateHash: 1 };
    oracle.applied({ ...applied, index: 1, ids: [7] });
    expect(rule(() => oracle.applied({ ...applied, index: 2, ids: [7] }))).toBe(
      "a command is applied once",
    );
    expect(rule(() => oracle.never(7))).toBe(
      "a command that was refused for certain is not applied",
    );
  });

  it("sees a refused command in the log, an entry that is not committed, and states that differ", () => {
    const { oracle } = agreed();
    oracle.never(8);
    const applied = { group: 0, term: 1, stateHash: 1 };
    expect(rule(() => oracle.applied({ ...applied, index: 1, ids: [8] }))).toBe(
      "a command that was refused for certain is not applied",
    );
    expect(rule(() => oracle.applied({ ...applied, index: 3, ids: [] }))).toBe(
      "only committed entries are applied",
    );
    oracle.applied({ ...applied, index: 2, ids: [] });
    expect(rule(() => oracle.applied({ ...applied, index: 2, stateHash: 2, ids: [] }))).toBe(
      "all states are equal at an index",
    );
  });

  it("sees what a disk holds although nobody wrote it", () => {
    const { oracle } = agreed();
    expect(rule(() => oracle.found(1, LogView.of([entry(1, 1, 3)])))).toBe(
      "a start finds only what was written",
    );
    expect(rule(() => oracle.found(1, LogView.of([entry(1, 1), entry(2, 1)])))).toBe("nothing");
  });
});

describe("the simulated network", () => {
  function sent(
    weather: Partial<Weather>,
    count: number,
  ): { arrived: number[]; network: Network<number> } {
    const scheduler = new SimScheduler(1);
    const arrived: number[] = [];
    const network = new Network<number>(scheduler, 1, 2, (_, __, number) => {
      network.invariants();
      arrived.push(number);
    });
    network.setWeather(1, 2, { ...FAIR_WEATHER, ...weather });
    for (let i = 0; i < count; i++) network.send(1, 2, i, 10);
    scheduler.run();
    return { arrived, network };
  }

  it("keeps the order where it is asked to, and else not", () => {
    const order = Array.from({ length: 50 }, (_, i) => i);
    expect(sent({}, 50).arrived).toEqual(order);
    const { arrived } = sent({ isOrdered: false }, 50);
    expect(arrived).not.toEqual(order);
    expect(arrived.toSorted((a, b) => a - b)).toEqual(order);
  });

  it("loses and repeats about as many as it is told to", () => {
    const lossy = sent({ lossPercent: 30, messagesMax: 2000 }, 1000).arrived.length;
    expect(lossy).toBeGreaterThan(600);
    expect(lossy).toBeLessThan(800);
    const repeated = sent({ duplicatePercent: 50, messagesMax: 2000 }, 1000).arrived.length;
    expect(repeated).toBeGreaterThan(1400);
    expect(repeated).toBeLessThan(1600);
  });

  it("holds no more than its limits, by number and by bytes, and nothing when it is cut", () => {
    expect(sent({ messagesMax: 7 }, 50).arrived.length).toBe(7);
    expect(sent({ bytesMax: 99 }, 50).arrived.length).toBe(9);
    expect(sent({ isCut: true }, 50).arrived.length).toBe(0);
  });
});
