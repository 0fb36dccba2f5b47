/**
 * Members come, go, are exchanged, are killed and lose their power, in whatever order a seed says, while somebody writes:
 * what was acknowledged is there in the end, on all who are left, and all of them are one.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HarmonyError, Random, setVerifying } from "../base/index.ts";
import { ClusterWorld, NAMES, optionsOf, url } from "./cluster.suite.ts";
import type { Node } from "./node.ts";
import type { NodeOptions } from "./node-options.ts";
import type { MemberRequest } from "./requests.ts";
import { type Answer, outcomeOf, type World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const STEPS = 60;
/**
 * Beside the first ones: in 63 and 93 a member was away while the leader and others came that it does not know, in 27 until
 * it knew nobody; in 59 and 103 a learner stays that was told of members that are gone, and never starts.
 */
const SEEDS = [...Array.from({ length: 18 }, (_, i) => i + 1), 27, 59, 63, 93, 103];
/** More than elections, joins and what is refused take. */
const CALM_MS = 40_000;

/** Where a node of the run stands. Its disk is kept whatever happens to it. */
interface Player {
  readonly name: string;
  readonly world: World;
  readonly options: Partial<NodeOptions>;
  state: "up" | "opening" | "down" | "gone";
}

class Run {
  readonly cluster = new ClusterWorld({ requestTimeoutMs: 2_000 });
  readonly players: Player[];
  readonly random: Random;
  readonly writes: { readonly key: string; readonly answer: Answer<unknown> }[] = [];
  readonly kinds = new Map<string, number>();

  constructor(seed: number) {
    this.random = new Random(seed);
    this.players = NAMES.map((name) => {
      const world = this.cluster.node(name);
      const options = optionsOf(name);
      world.open(options);
      return { name, world, options, state: "up" as const };
    });
  }

  get up(): readonly Player[] {
    for (const player of this.players)
      if (player.state === "up" && player.world.fatal !== null) this.#left(player);
    return this.players.filter(({ state }) => state === "up");
  }

  step(): void {
    const dice = this.random.below(100);
    const { up } = this;
    const down = this.players.filter(({ state }) => state === "down");
    if (dice < 45 && up.length > 0) this.#put(this.random.pick(up));
    else if (dice < 57 && up.length > 0) this.#end(this.random.pick(up));
    else if (dice < 72 && down.length > 0) this.start(this.random.pick(down));
    else if (up.length > 0) this.#change(this.random.pick(up));
    this.cluster.pass(this.random.below(dice % 3 === 0 ? 1_500 : 150));
  }

  start(player: Player): void {
    player.state = "opening";
    player.world.startOpen(player.options, (result: Node | Error) => {
      if (!(result instanceof Error)) player.state = "up";
      else {
        expect(result).toBeInstanceOf(HarmonyError);
        const { code } = result as HarmonyError;
        // Removed while it was down, or before it had joined, or whom it asks ended: nothing else may be refused.
        expect(["MEMBER_REMOVED", "JOIN_REFUSED", "UNREACHABLE", "PEER_FAILED"]).toContain(code);
        player.world.kill();
        player.state = code === "MEMBER_REMOVED" ? "gone" : "down";
      }
    });
  }

  #left(player: Player): void {
    expect(player.world.fatal?.code).toBe("MEMBER_REMOVED");
    player.world.kill();
    player.state = "gone";
    this.#count("gone");
  }

  #put({ world }: Player): void {
    const key = `k${this.writes.length}`;
    const answer = world.ask<unknown>((reply) =>
      world.node.database.write(
        {
          kind: "put",
          key: new TextEncoder().encode(key),
          value: new TextEncoder().encode("v"),
          lease: 0n,
          prevKv: false,
          ignoreValue: false,
          ignoreLease: false,
        },
        {},
        reply,
      ),
    );
    this.writes.push({ key, answer });
  }

  #end(player: Player): void {
    const { world } = player;
    if (this.random.percent(50)) world.losePower("mixed");
    else world.kill();
    player.state = "down";
  }

  #change({ world }: Player): void {
    const { members } = world.node.database.status();
    const { id } = this.random.pick(members);
    const learner = members.find(({ isLearner }) => isLearner);
    const dice = this.random.below(10);
    const newcomer = `n${this.players.length + 1}`;
    const request: MemberRequest =
      learner === undefined || dice < 2
        ? { kind: "memberAdd", peerUrls: [url(newcomer)], isLearner: true }
        : dice < 5
          ? { kind: "memberPromote", id: learner.id }
          : dice < 8
            ? { kind: "memberReplace", id, by: learner.id }
            : { kind: "memberRemove", id };
    world.node.database.changeMembers(request, {}, (error, outcome) => {
      if (error !== null || outcome.kind === "error") return;
      this.#count(request.kind);
      if (request.kind !== "memberAdd") return;
      const initialCluster = outcome.members.map(({ name, peerUrls }) => ({
        name: name === "" ? newcomer : name,
        peerUrls,
      }));
      const options = optionsOf(newcomer, { initialCluster, join: true });
      const made = this.cluster.world(newcomer, 40 + this.players.length);
      const player: Player = { name: newcomer, world: made, options, state: "down" };
      this.players.push(player);
      this.start(player);
    });
  }

  #count(what: string): void {
    this.kinds.set(what, (this.kinds.get(what) ?? 0) + 1);
  }

  /** Everybody who still can is up, and has been for long enough. */
  calm(): void {
    for (let round = 0; round < 4; round++) {
      for (const player of this.players) if (player.state === "down") this.start(player);
      this.cluster.pass(CALM_MS / 4);
    }
  }

  judge(): void {
    const { up } = this;
    const leader = up.find(({ world }) => {
      const { leader: of, memberId } = world.node.database.status();
      return of === memberId;
    });
    expect(leader).toBeDefined();
    const { members } = (leader as Player).world.node.database.status();
    const belongs = up.filter(({ world }) =>
      members.some(({ id }) => id === world.node.database.memberId),
    );
    // A learner that never started may be told who is gone since, and has no vote.
    const voters = members.filter(({ isLearner }) => !isLearner);
    const present = belongs.filter(({ world }) =>
      voters.some(({ id }) => id === world.node.database.memberId),
    );
    expect(present.length).toBeGreaterThanOrEqual(Math.floor(voters.length / 2) + 1);
    for (const { key, answer } of this.writes) {
      if (outcomeOf(answer) !== "ok") continue;
      for (const { world, name } of belongs)
        expect([name, key, world.get(key)]).toEqual([name, key, "v"]);
    }
    const states = belongs.map(({ world }) => {
      const { raftAppliedIndex, members: all } = world.node.database.status();
      return { raftAppliedIndex, all, state: world.node.database.describe() };
    });
    for (const state of states) expect(state).toEqual(states[0]);
  }
}

describe("members that come and go in any order", { timeout: 180_000 }, () => {
  const total = new Map<string, number>();

  it.each(SEEDS)("lose nothing that was acknowledged, seed %i", (seed) => {
    const run = new Run(seed);
    run.cluster.pass(2_000);
    for (let i = 0; i < STEPS; i++) run.step();
    run.calm();
    run.judge();
    for (const [kind, count] of run.kinds) total.set(kind, (total.get(kind) ?? 0) + count);
  });

  it("did all of it", () => {
    for (const kind of ["memberAdd", "memberPromote", "memberReplace", "memberRemove", "gone"])
      expect([kind, (total.get(kind) ?? 0) > 0]).toEqual([kind, true]);
  });
});
