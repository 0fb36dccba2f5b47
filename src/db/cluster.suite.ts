/** For tests: three nodes in simulated time, the shipped node with its log, trees and links. */
import { assert } from "../base/index.ts";
import { type Io, listDirectory, runIo } from "../env/index.ts";
import { runIoNow, SimEnv, SimNetwork, SimScheduler } from "../env/sim/index.ts";
import type { InitialMember } from "./data-directory.ts";
import type { NodeOptions } from "./node-options.ts";
import { World } from "./world.suite.ts";

export const url = (name: string): string => `http://${name}:2380`;
export const NAMES: readonly string[] = ["n1", "n2", "n3"];
export const initialCluster: readonly InitialMember[] = NAMES.map((name) => ({
  name,
  peerUrls: [url(name)],
}));

export function optionsOf(name: string, change: Partial<NodeOptions> = {}): Partial<NodeOptions> {
  return {
    name,
    peerUrls: [url(name)],
    clientUrls: [`http://${name}:2379`],
    initialCluster,
    ...change,
  };
}

/** Nodes that share time and a network. */
export class ClusterWorld {
  readonly scheduler = new SimScheduler(11);
  readonly network = new SimNetwork(this.scheduler, 11);
  readonly nodes: readonly World[];
  readonly logged: string[] = [];
  readonly #up = new Set<World>();
  readonly #options: Partial<NodeOptions>;

  /** `options` are those of all. */
  constructor(options: Partial<NodeOptions> = {}) {
    this.#options = options;
    this.nodes = NAMES.map((name, i) => this.world(name, i + 1));
  }

  /** A machine at `at`, with the disk of another if that has moved there. */
  world(name: string, seed: number, at = name, moved?: World): World {
    const machine = new SimEnv(
      {
        seed,
        scheduler: this.scheduler,
        network: { of: this.network, url: url(at) },
        log: (level, _logger, message, fields) =>
          this.logged.push(`${name} ${level}: ${message} ${JSON.stringify(fields ?? {})}`),
      },
      moved?.machine.disk,
    );
    return new World({}, machine);
  }

  node(name: string): World {
    return this.nodes[NAMES.indexOf(name)] as World;
  }

  nameOf(world: World): string {
    return NAMES[this.nodes.indexOf(world)] as string;
  }

  start(...worlds: readonly World[]): void {
    for (const world of worlds) {
      world.open(optionsOf(this.nameOf(world), this.#options));
      this.#up.add(world);
    }
  }

  startWith(world: World, change: Partial<NodeOptions>): void {
    world.open(optionsOf(this.nameOf(world), { ...this.#options, ...change }));
    this.#up.add(world);
  }

  kill(world: World): void {
    world.kill();
    this.#up.delete(world);
  }

  close(world: World): void {
    const ending = world.startClose();
    world.until(() => ending.isOver);
    assert(ending.error === null, "a node closes in order");
    this.kill(world);
  }

  pass(ms: number): void {
    this.scheduler.runUntil(this.scheduler.nowMs + ms);
  }

  leader(): World {
    for (let waitedMs = 0; waitedMs < 20_000; waitedMs += 20) {
      const votes = new Map<bigint, number>();
      for (const world of this.#up) {
        const { leader } = world.node.database.status();
        votes.set(leader, (votes.get(leader) ?? 0) + 1);
      }
      for (const world of this.#up) {
        const { memberId } = world.node.database.status();
        if ((votes.get(memberId) ?? 0) > 1) return world;
      }
      this.pass(20);
    }
    throw new Error(`there is no leader: ${this.logged.join("\n")}`);
  }

  followers(): World[] {
    const leader = this.leader();
    return [...this.#up].filter((world) => world !== leader);
  }

  isolate(world: World, isCut: boolean): void {
    const name = this.nameOf(world);
    for (const other of NAMES) {
      if (other === name) continue;
      this.network.setWeather(url(name), url(other), { isCut });
      this.network.setWeather(url(other), url(name), { isCut });
    }
  }

  /**
   * Writes through the leader, and has those that are up make checkpoints, until nobody's log holds what the members that
   * are away would need next.
   */
  writeUntilCut(
    keys: number,
    large: string = "x".repeat(2_000),
    worlds: readonly World[] = [...this.#up],
  ): void {
    const writer = this.leader();
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < keys; i++) writer.putNow(`k${i}`, `${round}${large}`);
      this.checkpointAll(...worlds);
    }
    for (const { node } of worlds) {
      const [group] = node.activity.groups;
      assert((group?.firstIndex ?? 0) > keys, "the log has been cut");
    }
  }

  checkpointAll(...worlds: readonly World[]): void {
    for (const world of worlds.length > 0 ? worlds : this.#up) {
      let isDone = false;
      world.node.checkpoint((error) => {
        assert(error === null, "a checkpoint is made");
        isDone = true;
      });
      world.until(() => isDone);
    }
  }

  /** The names in a directory of the machine's disk. */
  list(world: World, directory: string): readonly string[] {
    const copy = world.machine.fork();
    copy.kill();
    return runIoNow(copy, listDirectory(copy.boot().files, directory));
  }

  /** Until `io` has ended; gives its value. */
  run<T>(io: Io<T>): T {
    const end: { isOver: boolean; error: unknown; value: T | undefined } = {
      isOver: false,
      error: null,
      value: undefined,
    };
    runIo(io, (error, value) => Object.assign(end, { isOver: true, error, value }));
    this.until("end", () => end.isOver);
    if (end.error !== null) throw end.error as Error;
    return end.value as T;
  }

  until(what: string, isOver: () => boolean, patienceMs = 120_000): void {
    for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += 10) {
      if (isOver()) return;
      this.pass(10);
    }
    throw new Error(`no ${what}: ${this.logged.slice(-30).join("\n")}`);
  }

  /** Until this member has applied what the leader has committed. */
  untilCaughtUp(world: World, patienceMs = 60_000): void {
    for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += 50) {
      const { raftAppliedIndex } = world.node.database.status();
      const { leader } = world.node.database.status();
      if (leader !== 0n) {
        const { raftIndex } = this.leader().node.database.status();
        if (raftAppliedIndex === raftIndex) return;
      }
      this.pass(50);
    }
    throw new Error(`it has not caught up: ${this.logged.slice(-30).join("\n")}`);
  }

  /** Everybody who is up has applied the same and has the same state. */
  expectEqual(): void {
    for (const world of this.#up) this.untilCaughtUp(world);
    const states = [...this.#up].map(({ node }) => node.database.describe().join("\n"));
    for (const state of states) assert(state === states[0], "the members have the same state");
  }
}
