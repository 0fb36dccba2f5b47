/** Joining a cluster that exists, in simulated time: a fourth member, a second and a third one, and who is turned away. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying } from "../base/index.ts";
import { ClusterWorld, NAMES, optionsOf, url } from "./cluster.suite.ts";
import { closeFile, type Io, makeDirectory, openFile, runIo } from "../env/index.ts";
import type { MembersChanged } from "./database.ts";
import type { NodeOptions } from "./node-options.ts";
import type { MemberRequest } from "./requests.ts";
import { DATA, outcomeOf, type World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

function change(world: World, request: MemberRequest): MembersChanged {
  const outcome = world.now(
    world.ask<Parameters<Parameters<typeof world.node.database.changeMembers>[2]>[1]>((reply) =>
      world.node.database.changeMembers(request, {}, reply),
    ),
  );
  if (outcome.kind === "error") throw new Error(`refused: ${outcome.code}`);
  return outcome;
}

const members = (names: readonly string[]): NodeOptions["initialCluster"] =>
  names.map((name) => ({ name, peerUrls: [url(name)] }));

/** As the one that joins is started. */
function joining(
  name: string,
  names: readonly string[],
  more: Partial<NodeOptions> = {},
): Partial<NodeOptions> {
  return optionsOf(name, { initialCluster: members(names), join: true, ...more });
}

const add = (name: string, isLearner = true): MemberRequest => ({
  kind: "memberAdd",
  peerUrls: [url(name)],
  isLearner,
});

const self = (world: World): { readonly isLearner: boolean; readonly names: string[] } => {
  const { isLearner, members: all } = world.node.database.status();
  return { isLearner, names: all.map(({ name }) => name).toSorted() };
};

const FOUR = [...NAMES, "n4"];

describe("a node that joins", { timeout: 120_000 }, () => {
  it("begins with the state of the others, as a learner, and votes when it has caught up", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    for (let i = 0; i < 30; i++) leader.putNow(`k${i}`, `${i}`);
    cluster.pass(500);
    const id = change(leader, add("n4")).added?.id as bigint;
    const fourth = cluster.world("n4", 44);
    fourth.open(joining("n4", FOUR));
    cluster.pass(3_000);
    for (let i = 0; i < 30; i++) expect(fourth.get(`k${i}`)).toBe(`${i}`);
    const joined = cluster.logged.find((line) => line.includes("has joined the cluster"));
    for (const name of FOUR) expect(joined).toContain(`"${name}"`);
    expect(joined).not.toContain('""');
    expect(self(fourth)).toEqual({ isLearner: true, names: FOUR });
    leader.putNow("later", "yes");
    expect(fourth.get("later")).toBe("yes");
    fourth.putNow("through", "the learner");
    expect(leader.get("through")).toBe("the learner");
    change(fourth, { kind: "memberPromote", id });
    cluster.pass(500);
    expect(self(fourth).isLearner).toBe(false);
    // Now three of four are a majority, and two are not.
    const [one, two] = cluster.followers() as [World, World];
    cluster.kill(one);
    leader.putNow("k", "three of four");
    expect(fourth.get("k")).toBe("three of four");
    cluster.kill(two);
    const late = leader.put("k", "two of four", { timeoutMs: 3_000 });
    cluster.pass(4_000);
    expect(outcomeOf(late)).toMatch(/^TIMEOUT/);
    // It is a member like any other after a restart, with the flags of its join or without.
    cluster.start(one, two);
    fourth.kill();
    fourth.open(joining("n4", FOUR));
    fourth.kill();
    fourth.open({ name: "n4" });
    cluster.pass(3_000);
    expect(fourth.get("through")).toBe("the learner");
    expect(self(fourth)).toEqual({ isLearner: false, names: FOUR });
  });

  it("is asked for by the learner itself, where it is to vote as soon as it can", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    cluster.pass(500);
    change(leader, add("n4"));
    const fourth = cluster.world("n4", 44);
    fourth.open(joining("n4", FOUR, { autoPromote: true }));
    cluster.pass(6_000);
    expect(self(fourth).isLearner).toBe(false);
    expect(self(leader).names).toEqual(FOUR);
  });

  it("makes three of one, on the data that the one has, and any one of them may go then", () => {
    const cluster = new ClusterWorld();
    const [first, second, third] = cluster.nodes as [World, World, World];
    first.open({ name: "n1", peerUrls: [url("n1")], clientUrls: ["http://n1:2379"] });
    for (let i = 0; i < 20; i++) first.putNow(`k${i}`, `${i}`);
    first.close();
    first.kill();
    first.open({ name: "n1", peerUrls: [url("n1")], clientUrls: ["http://n1:2379"] });
    for (const [world, name, names] of [
      [second, "n2", ["n1", "n2"]],
      [third, "n3", NAMES],
    ] as const) {
      change(first, add(name));
      first.putNow(`while ${name} joins`, "yes");
      world.open(joining(name, names, { autoPromote: true }));
      cluster.pass(8_000);
      expect(self(world).isLearner).toBe(false);
    }
    for (const world of [second, third])
      for (let i = 0; i < 20; i++) expect(world.get(`k${i}`)).toBe(`${i}`);
    first.kill();
    cluster.pass(5_000);
    second.putNow("k", "without the first");
    expect(third.get("k")).toBe("without the first");
  });

  it("joins also as a voter at once, where the first one waits for it", () => {
    const cluster = new ClusterWorld();
    const [first, second] = cluster.nodes as [World, World];
    first.open({ name: "n1", peerUrls: [url("n1")] });
    first.putNow("k", "v");
    change(first, add("n2", false));
    cluster.pass(5_000);
    second.open(joining("n2", ["n1", "n2"]));
    cluster.pass(8_000);
    expect(second.get("k")).toBe("v");
    second.putNow("k", "w");
    expect(first.get("k")).toBe("w");
  });

  it("is added while another is down, as long as those who are there are a majority with it", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    cluster.pass(500);
    change(leader, add("n4"));
    const fourth = cluster.world("n4", 44);
    fourth.open(joining("n4", FOUR, { autoPromote: true }));
    cluster.until("a fourth voter", () => !self(fourth).isLearner);
    const [down] = cluster.followers() as [World, World];
    cluster.kill(down);
    cluster.pass(8_000);
    // Three of five are there (fault-rules R11), and of six they would be too few.
    expect(change(leader, add("n5", false)).members.length).toBe(5);
    expect(() => change(leader, add("n6", false))).toThrow("no majority of members");
    leader.putNow("k", "v");
    expect(fourth.get("k")).toBe("v");
  });

  it("takes the place of a member that is gone, in one step", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    leader.putNow("k", "v");
    cluster.pass(500);
    const [gone] = cluster.followers() as [World];
    const name = cluster.nameOf(gone);
    const { members: before } = leader.node.database.status();
    const id = before.find((member) => member.name === name)?.id as bigint;
    cluster.kill(gone);
    cluster.pass(6_000);
    const by = change(leader, add("n4")).added?.id as bigint;
    const fourth = cluster.world("n4", 44);
    fourth.open(joining("n4", FOUR));
    cluster.pass(5_000);
    change(fourth, { kind: "memberReplace", id, by });
    cluster.pass(2_000);
    const names = FOUR.filter((of) => of !== name);
    for (const world of [leader, fourth]) expect(self(world)).toEqual({ isLearner: false, names });
    leader.putNow("k", "w");
    expect(fourth.get("k")).toBe("w");
    // The one that was replaced learns of it when it comes back.
    gone.open(optionsOf(name));
    cluster.pass(5_000);
    expect(gone.fatal?.code).toBe("MEMBER_REMOVED");
  });

  it("is known, after all have been exchanged, also to one that was away and knows nobody of them", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const [away] = cluster.followers() as [World];
    cluster.pass(500);
    cluster.kill(away);
    let names = [...NAMES];
    let [asked] = cluster.nodes.filter((world) => world !== away) as [World];
    const gone = cluster.nodes.filter((world) => world !== away);
    for (const [i, old] of gone.entries()) {
      const name = `n${4 + i}`;
      change(asked, add(name));
      const newcomer = cluster.world(name, 44 + i);
      newcomer.open(joining(name, [...names, name]));
      cluster.pass(3_000);
      const { memberId: by } = newcomer.node.database;
      change(newcomer, { kind: "memberReplace", id: old.node.database.memberId, by });
      cluster.pass(3_000);
      names = [...names.filter((each) => each !== cluster.nameOf(old)), name];
      expect(self(newcomer).names).toEqual(names.toSorted());
      cluster.kill(old);
      asked = newcomer;
    }
    asked.putNow("k", "of the others");
    away.open({ name: cluster.nameOf(away) });
    cluster.pass(15_000);
    expect(away.get("k")).toBe("of the others");
    expect(self(away)).toEqual({ isLearner: false, names: names.toSorted() });
  });

  it("has taken the place or has not, when the leader ends in the middle of that, and the next change goes on", () => {
    for (let afterMs = 0; afterMs <= 24; afterMs += 3) {
      const cluster = new ClusterWorld();
      cluster.start(...cluster.nodes);
      const leader = cluster.leader();
      cluster.pass(500);
      const [old] = cluster.followers() as [World];
      const { members: before } = leader.node.database.status();
      const id = before.find(({ name }) => name === cluster.nameOf(old))?.id as bigint;
      const by = change(leader, add("n4")).added?.id as bigint;
      const fourth = cluster.world("n4", 44);
      fourth.open(joining("n4", FOUR));
      cluster.pass(4_000);
      leader.ask((reply) =>
        leader.node.database.changeMembers({ kind: "memberReplace", id, by }, {}, reply),
      );
      cluster.pass(afterMs);
      cluster.kill(leader);
      cluster.pass(8_000);
      cluster.start(leader);
      cluster.pass(8_000);
      const after = self(leader).names;
      const isDone = !after.includes(cluster.nameOf(old));
      expect([afterMs, after.length]).toEqual([afterMs, isDone ? 3 : 4]);
      // A joint configuration that nobody had left would refuse this.
      change(leader, { kind: "memberUpdate", id: by, peerUrls: [url("n4")] });
      leader.putNow("k", `${afterMs}`);
      expect(fourth.get("k")).toBe(`${afterMs}`);
      expect(self(fourth)).toEqual({ isLearner: !isDone, names: after });
      expect(old.fatal?.code).toBe(isDone ? "MEMBER_REMOVED" : undefined);
    }
  });

  it("starts over when it is killed at any operation, and is whole in the end", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    for (let i = 0; i < 5; i++) leader.putNow(`k${i}`, `${i}`);
    cluster.pass(500);
    change(leader, add("n4"));
    const fourth = cluster.world("n4", 44);
    // How many operations a whole join takes is found out by going on until one gets through.
    let killed = 0;
    for (let ordinal = 1; ; ordinal += 7) {
      const from = fourth.machine.disk.opCount;
      fourth.machine.haltAt(from + ordinal, ordinal % 2 === 0 ? "before" : "after");
      let isOver = false;
      let outcome: unknown = null;
      fourth.startOpen(joining("n4", FOUR), (result) => {
        isOver = true;
        outcome = result;
      });
      fourth.until(() => isOver || !fourth.machine.running);
      fourth.machine.disk.observer = undefined;
      if (isOver) {
        expect(outcome).not.toBeInstanceOf(Error);
        break;
      }
      killed++;
      if (killed % 2 === 0) fourth.losePower("lose-all");
      else fourth.kill();
    }
    expect(killed).toBeGreaterThan(5);
    cluster.pass(5_000);
    for (let i = 0; i < 5; i++) expect(fourth.get(`k${i}`)).toBe(`${i}`);
    expect(self(fourth)).toEqual({ isLearner: true, names: FOUR });
  });
});

describe("a node that cannot join", { timeout: 120_000 }, () => {
  const refused = (
    cluster: ClusterWorld,
    name: string,
    options: Partial<NodeOptions>,
  ): readonly [string, string] => {
    const world = cluster.world(name, 44);
    const error = world.tryOpen(options) as HarmonyError;
    world.kill();
    return [error.code, error.message];
  };

  it("is told why: not added, another name or list, a directory that has run, another token", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    cluster.pass(500);
    expect(refused(cluster, "n4", joining("n4", FOUR))).toEqual([
      "JOIN_REFUSED",
      expect.stringMatching(/no member has the peer URLs http:\/\/n4:2380: add this one first/),
    ]);
    change(leader, add("n4"));
    cluster.pass(500);
    const sameName = optionsOf("n2", {
      peerUrls: [url("n4")],
      join: true,
      initialCluster: [...(members(["n1", "n3"]) ?? []), { name: "n2", peerUrls: [url("n4")] }],
    });
    expect(refused(cluster, "n4", sameName)).toEqual([
      "JOIN_REFUSED",
      expect.stringMatching(/another member is called n2/),
    ]);
    expect(refused(cluster, "n4", joining("n4", [...FOUR, "n9"]))).toEqual([
      "JOIN_REFUSED",
      expect.stringMatching(/names n9=http:\/\/n9:2380, and no member has that URL/),
    ]);
    expect(refused(cluster, "n4", joining("n4", ["n1", "n4"]))).toEqual([
      "JOIN_REFUSED",
      expect.stringMatching(/does not name the member n[23]/),
    ]);
    expect(refused(cluster, "n4", joining("n4", FOUR, { clusterToken: "other" }))).toEqual([
      "WRONG_CLUSTER",
      expect.stringMatching(/another token/),
    ]);
    // A founder that comes with an empty disk is not let in again under its id.
    const [wiped] = cluster.followers() as [World];
    const name = cluster.nameOf(wiped);
    cluster.kill(wiped);
    expect(refused(cluster, name, joining(name, FOUR))).toEqual([
      "JOIN_REFUSED",
      expect.stringMatching(/has run before, with another data directory/),
    ]);
    const fourth = cluster.world("n4", 45);
    fourth.open(joining("n4", FOUR));
    expect(self(fourth).isLearner).toBe(true);
  });

  it("is not turned away by a member that does not know of it yet, whether others can be asked or not", () => {
    for (const areOthersUp of [true, false]) {
      const cluster = new ClusterWorld();
      cluster.start(...cluster.nodes);
      const leader = cluster.leader();
      cluster.pass(500);
      const [behind, other] = cluster.followers() as [World, World];
      cluster.isolate(behind, true);
      change(leader, add("n4"));
      if (!areOthersUp) for (const world of [leader, other]) cluster.kill(world);
      const fourth = cluster.world("n4", 44);
      const name = cluster.nameOf(behind);
      const names = [name, ...NAMES.filter((of) => of !== name), "n4"];
      let outcome: unknown = null;
      fourth.startOpen(joining("n4", names), (result) => (outcome = result));
      cluster.pass(1_000);
      if (!areOthersUp) {
        expect(outcome).toBeNull();
        cluster.start(leader, other);
      }
      cluster.isolate(behind, false);
      fourth.until(() => outcome !== null);
      expect(outcome).not.toBeInstanceOf(Error);
      cluster.pass(3_000);
      expect(self(fourth)).toEqual({ isLearner: true, names: FOUR });
    }
  });

  it("takes the id that it was given last, also where it asks one first that knows the one before", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    const before = change(leader, add("n4")).added?.id as bigint;
    cluster.pass(500);
    const [behind] = cluster.followers() as [World, World];
    cluster.isolate(behind, true);
    change(leader, { kind: "memberRemove", id: before });
    const last = change(leader, add("n4")).added?.id as bigint;
    expect(last).not.toBe(before);
    const fourth = cluster.world("n4", 44);
    const name = cluster.nameOf(behind);
    const names = [name, ...NAMES.filter((of) => of !== name), "n4"];
    let outcome: unknown = null;
    fourth.startOpen(joining("n4", names), (result) => (outcome = result));
    fourth.until(() => outcome !== null);
    expect(outcome).not.toBeInstanceOf(Error);
    expect(fourth.node.identity.memberId).toBe(Number(last));
  });

  it("finds nobody at the URLs that it was given, and says which", () => {
    const cluster = new ClusterWorld();
    const [code, message] = refused(cluster, "n4", joining("n4", FOUR));
    expect([code, message]).toEqual([
      "UNREACHABLE",
      expect.stringMatching(/http:\/\/n1:2380: .*http:\/\/n2:2380: .*http:\/\/n3:2380: /),
    ]);
  });

  it("has a directory with something in it, which stays as it is", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    change(cluster.leader(), add("n4"));
    const fourth = cluster.world("n4", 44);
    const { env } = fourth;
    let isDone = false;
    const something = function* (): Io<void> {
      for (const path of [DATA, `${DATA}/wal`]) yield* makeDirectory(env.files, path);
      const options = { access: "readwrite", create: "exclusive" } as const;
      yield* closeFile(yield* openFile(env.files, `${DATA}/wal/x`, options));
    };
    runIo(something(), () => (isDone = true));
    fourth.until(() => isDone);
    const error = fourth.tryOpen(joining("n4", FOUR)) as HarmonyError;
    expect([error.code, error.message]).toEqual([
      "JOIN_REFUSED",
      expect.stringMatching(/holds data and no VERSION/),
    ]);
  });
});
