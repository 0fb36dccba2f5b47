/** Members as replicated state: who comes and goes, through whom it is asked, and what is refused. */
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying } from "../base/index.ts";
import { MemoryEngine } from "../btree/index.ts";
import type { MemberRecord } from "../mvcc/index.ts";
import { encodeConfChange, decodeConfChange } from "../raft/index.ts";
import { decodeCheckpointPayload, encodeCheckpointPayload } from "./checkpoint-payload.ts";
import { ClusterWorld, NAMES, optionsOf, url } from "./cluster.suite.ts";
import { encodeMemberNews } from "./command.ts";
import type { MembersChanged } from "./database.ts";
import { decodeMemberChange, encodeMemberChange, type MemberChange } from "./member-changes.ts";
import type { MemberRequest, Refusal } from "./requests.ts";
import { KvStateMachine } from "./state-machine.ts";
import { type Answer, outcomeOf, rangeRequest, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

function ask(world: World, request: MemberRequest): Answer<MembersChanged | Refusal> {
  return world.ask((reply) => world.node.database.changeMembers(request, {}, reply));
}

function change(world: World, request: MemberRequest): MembersChanged {
  const outcome = world.now(ask(world, request));
  if (outcome.kind === "error") throw new Error(`refused: ${outcome.code}`);
  return outcome;
}

/** The code that it is refused with, by the leader or where it would be applied. */
function refusal(world: World, request: MemberRequest): string {
  const answer = ask(world, request);
  world.until(() => answer.isThere);
  return answer.error?.code ?? outcomeOf(answer);
}

const names = (world: World): string[] =>
  world.node.database
    .status()
    .members.map(({ name }) => name)
    .toSorted();
const idOf = (world: World, name: string): bigint => {
  const member = world.node.database.status().members.find((of) => of.name === name);
  if (member === undefined) throw new Error(`no member ${name}`);
  return member.id;
};

const nobody = { name: "", clientUrls: [] };
const HISTORY = { retentionMs: 1000, retentionRevisions: 10 };

describe("the members of three nodes", { timeout: 60_000 }, () => {
  let cluster: ClusterWorld;
  let leader: World;
  let follower: World;
  let other: World;

  beforeEach(() => {
    cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    leader = cluster.leader();
    [follower, other] = cluster.followers() as [World, World];
    cluster.pass(500);
  });

  it("are known to all with the URLs that each says after its start", () => {
    for (const { node } of cluster.nodes) {
      const { members, isLearner } = node.database.status();
      expect(members.map(({ id }) => id)).toEqual(
        members.map(({ id }) => id).toSorted((a, b) => (a < b ? -1 : 1)),
      );
      for (const { name, peerUrls, clientUrls, isLearner: learns } of members)
        expect([peerUrls, clientUrls, learns]).toEqual([
          [url(name)],
          [`http://${name}:2379`],
          false,
        ]);
      expect([members.length, isLearner]).toEqual([3, false]);
    }
  });

  it("change through any of them, and each knows; a learner does not vote and can go again", () => {
    const added = change(follower, {
      kind: "memberAdd",
      peerUrls: [url("n4")],
      isLearner: true,
    });
    const learner = added.added;
    expect(learner).toMatchObject({ ...nobody, peerUrls: [url("n4")], isLearner: true });
    expect(added.members.length).toBe(4);
    cluster.pass(500);
    for (const world of cluster.nodes)
      expect(world.node.database.status().members).toEqual(added.members);
    // Two of three are enough, with it as without.
    const id = learner?.id as bigint;
    expect(change(leader, { kind: "memberRemove", id }).members.length).toBe(3);
    expect(refusal(other, { kind: "memberRemove", id })).toBe("MEMBER_NOT_FOUND");
  });

  it("are there again after all have lost their power, learners and removed ones among them", () => {
    const gone = change(leader, { kind: "memberAdd", peerUrls: [url("n5")], isLearner: true });
    change(leader, { kind: "memberRemove", id: gone.added?.id as bigint });
    const added = change(leader, { kind: "memberAdd", peerUrls: [url("n4")], isLearner: true });
    let isDone = false;
    follower.node.checkpoint(() => (isDone = true));
    follower.until(() => isDone);
    for (const world of cluster.nodes) {
      world.losePower("lose-all");
      cluster.kill(world);
    }
    cluster.start(...cluster.nodes);
    cluster.leader();
    for (const world of cluster.nodes) {
      world.get("k");
      expect(world.node.database.status().members).toEqual(added.members);
      expect(refusal(world, { kind: "memberPromote", id: gone.added?.id as bigint })).toBe(
        "MEMBER_NOT_FOUND",
      );
    }
  });

  it("move to other addresses, where the others find them", () => {
    const name = cluster.nameOf(follower);
    const id = idOf(leader, name);
    const moved = cluster.world(name, 41, "elsewhere", follower);
    cluster.kill(follower);
    change(leader, { kind: "memberUpdate", id, peerUrls: [url("elsewhere")] });
    moved.open(optionsOf(name, { initialCluster: undefined }));
    cluster.pass(3_000);
    leader.putNow("k", "v");
    expect(moved.get("k")).toBe("v");
    const peers = moved.node.database.status().members;
    expect(peers.find((member) => member.id === id)?.peerUrls).toEqual([url("elsewhere")]);
  });

  it("refuse by name what cannot be", () => {
    const id = idOf(leader, "n1");
    const unknown = 12_345n;
    const add = (peerUrls: readonly string[], isLearner = false): MemberRequest => ({
      kind: "memberAdd",
      peerUrls,
      isLearner,
    });
    for (const world of [leader, follower]) {
      for (const urls of [
        [],
        ["nonsense"],
        ["http://a:1/x"],
        ["https://a:1"],
        ["http://a:0"],
        ["http://a:65536"],
        ["http://a\u0000b:1"],
        ["http://[::z]:1"],
        ["http://[::1]]:1"],
        ["http://[1.2]:1"],
        ["http://a:1", "http://a:1"],
      ])
        expect([urls, refusal(world, add(urls))]).toEqual([urls, "MEMBER_URLS_INVALID"]);
      expect(refusal(world, add([url("n4"), url("n2")]))).toBe("PEER_URL_EXISTS");
      expect(refusal(world, { kind: "memberUpdate", id, peerUrls: [url("n2")] })).toBe(
        id === idOf(leader, "n2") ? "ok" : "PEER_URL_EXISTS",
      );
      expect(refusal(world, { kind: "memberUpdate", id: unknown, peerUrls: ["nonsense"] })).toBe(
        "MEMBER_NOT_FOUND",
      );
      for (const kind of ["memberRemove", "memberPromote"] as const)
        for (const stranger of [unknown, 0n, 2n ** 63n])
          expect(refusal(world, { kind, id: stranger })).toBe("MEMBER_NOT_FOUND");
      expect(refusal(world, { kind: "memberPromote", id })).toBe("MEMBER_NOT_LEARNER");
      expect(refusal(world, { kind: "memberReplace", id, by: unknown })).toBe("MEMBER_NOT_FOUND");
    }
    expect(names(leader)).toEqual(NAMES);
  });

  it("promote no learner that lags, and take no second one", () => {
    const added = change(leader, { kind: "memberAdd", peerUrls: [url("n4")], isLearner: true });
    const id = added.added?.id as bigint;
    for (const world of [leader, follower]) {
      expect(refusal(world, { kind: "memberPromote", id })).toBe("LEARNER_NOT_READY");
      expect(refusal(world, { kind: "memberReplace", id: idOf(leader, "n1"), by: id })).toBe(
        "LEARNER_NOT_READY",
      );
      expect(refusal(world, { kind: "memberAdd", peerUrls: [url("n5")], isLearner: true })).toBe(
        "TOO_MANY_LEARNERS",
      );
    }
  });

  it("lose no majority by a removal or an addition, but the one that is down may go", () => {
    const down = idOf(leader, cluster.nameOf(other));
    const up = idOf(leader, cluster.nameOf(follower));
    cluster.kill(other);
    cluster.pass(8_000);
    expect(refusal(leader, { kind: "memberRemove", id: up })).toBe("CLUSTER_UNHEALTHY");
    expect(refusal(follower, { kind: "memberAdd", peerUrls: [url("n4")], isLearner: false })).toBe(
      "CLUSTER_UNHEALTHY",
    );
    expect(change(follower, { kind: "memberRemove", id: down }).members.length).toBe(2);
    leader.putNow("k", "v");
    expect(follower.get("k")).toBe("v");
  });

  it("go: who is removed stops and says why, and the others go on", () => {
    const id = idOf(leader, cluster.nameOf(follower));
    change(other, { kind: "memberRemove", id });
    cluster.pass(2_000);
    expect(follower.fatal?.code).toBe("MEMBER_REMOVED");
    leader.putNow("k", "v");
    expect(other.get("k")).toBe("v");
    // It does not come back, whoever is there to tell it.
    cluster.kill(follower);
    cluster.kill(leader);
    cluster.kill(other);
    const again = follower.tryOpen(optionsOf(cluster.nameOf(follower))) as HarmonyError;
    expect([again.code, again.message]).toEqual([
      "MEMBER_REMOVED",
      expect.stringMatching(/new member/),
    ]);
  });

  it("go also when they lead: another has taken over before, and who asked is answered", () => {
    const id = idOf(leader, cluster.nameOf(leader));
    const { raftTerm } = leader.node.database.status();
    const answer = change(leader, { kind: "memberRemove", id });
    expect(answer.members.length).toBe(2);
    // One term on, and no time without a leader: no timeout was waited for.
    const status = other.node.database.status();
    expect(status.raftTerm).toBe(raftTerm + 1);
    expect([0n, id]).not.toContain(status.leader);
    other.now(other.put("at once", "v", { timeoutMs: 100 }));
    cluster.pass(5_000);
    expect(leader.fatal?.code).toBe("MEMBER_REMOVED");
    cluster.kill(leader);
    const after = cluster.leader();
    after.putNow("k", "v");
    expect(names(after).length).toBe(2);
    for (const world of [follower, other]) expect(world.get("k")).toBe("v");
  });

  it("tell one that was down meanwhile that it was removed; it disturbs nobody", () => {
    const id = idOf(leader, cluster.nameOf(other));
    cluster.kill(other);
    cluster.pass(6_000);
    change(leader, { kind: "memberRemove", id });
    const { raftTerm } = leader.node.database.status();
    cluster.start(other);
    cluster.pass(6_000);
    expect(other.fatal?.code).toBe("MEMBER_REMOVED");
    expect(other.fatal?.message).toMatch(/was removed from the cluster/);
    expect(leader.node.database.status().raftTerm).toBe(raftTerm);
    leader.putNow("k", "v");
  });

  it("hand the lead to whom they are asked to, and to nobody else", () => {
    const move = (world: World, target: bigint): string => {
      const answer = world.ask<undefined>((reply) =>
        world.node.database.moveLeader(target, {}, reply),
      );
      world.until(() => answer.isThere);
      return answer.error?.code ?? "ok";
    };
    const id = idOf(leader, cluster.nameOf(follower));
    for (const asked of [leader, follower])
      for (const stranger of [0n, 12_345n]) expect(move(asked, stranger)).toBe("BAD_TRANSFEREE");
    const learner = change(leader, { kind: "memberAdd", peerUrls: [url("n4")], isLearner: true });
    expect(move(leader, learner.added?.id as bigint)).toBe("BAD_TRANSFEREE");
    expect(move(leader, idOf(leader, cluster.nameOf(leader)))).toBe("ok");
    expect(move(leader, id)).toBe("ok");
    expect(cluster.leader()).toBe(follower);
    // Whoever is asked: it asks the leader.
    const back = idOf(follower, cluster.nameOf(leader));
    expect(move(leader, back)).toBe("ok");
    expect(cluster.leader()).toBe(leader);
    expect(move(leader, id)).toBe("ok");
    // To one that is cut off: it says so instead of leading on as if nothing had been asked.
    cluster.isolate(leader, true);
    expect(move(follower, back)).toBe("TIMEOUT");
    follower.putNow("k", "v");
    // He who is cut off knows of no leader before long, and says so at once.
    leader.until(() => leader.node.database.status().leader === 0n);
    expect(move(leader, id)).toBe("NO_LEADER");
    // Who asks for it at the leader is not kept waiting for as long as a request may take.
    const askedMs = other.nowMs;
    expect(move(other, back)).toBe("TIMEOUT");
    expect(other.nowMs - askedMs).toBeLessThan(4_000);
    expect(cluster.leader()).toBe(follower);
  });
});

describe("a node that stays alone", { timeout: 60_000 }, () => {
  const add: MemberRequest = { kind: "memberAdd", peerUrls: [url("n2")], isLearner: true };

  it("has no links, or keeps too little: it refuses others by name", () => {
    for (const options of [{}, { fsyncIntervalMs: 10 }, { persistence: "none" as const }]) {
      const world = new World().open(options);
      expect(refusal(world, add)).toBe("STAYS_ALONE");
      world.putNow("k", "v");
      world.close();
    }
    const linked = new ClusterWorld().node("n1");
    linked.open({ name: "n1", peerUrls: [url("n1")], fsyncIntervalMs: 10 });
    expect(refusal(linked, add)).toBe("STAYS_ALONE");
  });

  it("is its own only member, says where it is found, and cannot go", () => {
    const world = new ClusterWorld().node("n1");
    world.open({ name: "n1", peerUrls: ["http://old:1"], clientUrls: ["http://c:1"] });
    const id = world.node.database.memberId;
    expect(world.node.database.status().members).toEqual([
      { id, name: "n1", peerUrls: ["http://old:1"], clientUrls: ["http://c:1"], isLearner: false },
    ]);
    expect(refusal(world, { kind: "memberRemove", id })).toBe("MEMBERS_NOT_STARTED");
    world.close();
    world.open({ name: "other", peerUrls: [url("n1")], clientUrls: ["http://c:2"] });
    world.pass(1_000);
    const news = { name: "other", peerUrls: [url("n1")], clientUrls: ["http://c:2"] };
    expect(world.node.database.status().members).toEqual([{ id, ...news, isLearner: false }]);
    world.close();
    // Opened without a word of it, it is who it was.
    world.open();
    world.pass(1_000);
    expect(world.node.database.status().members).toEqual([{ id, ...news, isLearner: false }]);
  });

  it("waits for the second that was asked for, and leads at once with a learner", () => {
    const cluster = new ClusterWorld();
    const world = cluster.node("n1");
    world.open({ name: "n1", peerUrls: [url("n1")] });
    change(world, add);
    world.putNow("k", "v");
    world.kill();
    world.open({ name: "n1", peerUrls: [url("n1")] });
    expect(world.get("k")).toBe("v");
    const learner = world.node.database.status().members.find(({ isLearner }) => isLearner);
    change(world, { kind: "memberRemove", id: learner?.id as bigint });
    change(world, { kind: "memberAdd", peerUrls: [url("n2")], isLearner: false });
    const waiting = world.put("k", "w", { timeoutMs: 3_000 });
    world.pass(4_000);
    expect(outcomeOf(waiting)).toBe("TIMEOUT maybe=true");
    world.kill();
    // It comes up, though it can do nothing: what it has is read as what it is.
    world.open({ name: "n1", peerUrls: [url("n1")] });
    expect(outcomeOf(world.range(rangeRequest("k", true)))).toBe("ok");
    world.kill();
    const refused = world.tryOpen({ name: "n1", fsyncIntervalMs: 10 }) as HarmonyError;
    expect(refused.code).toBe("INVALID_ARGUMENT");
  });
});

describe("records of members", { timeout: 60_000 }, () => {
  const founders: readonly MemberRecord[] = [3, 1, 2].map((id) => ({
    id,
    name: `n${id}`,
    peerUrls: [url(`n${id}`)],
    clientUrls: [],
    isLearner: false,
  }));

  it("are part of the state at index 0, equal on all founders, and of its hash", () => {
    const one = new KvStateMachine(new MemoryEngine(), null, HISTORY, founders);
    const two = new KvStateMachine(new MemoryEngine(), null, HISTORY, founders.toReversed());
    const none = new KvStateMachine(new MemoryEngine(), null, HISTORY);
    expect(one.stateHash).toBe(two.stateHash);
    expect(one.stateHash).not.toBe(none.stateHash);
    expect(one.members.all.map(({ id }) => id)).toEqual([1, 2, 3]);
  });

  it("change at an entry, and what they do not allow changes nothing but the index", () => {
    const engine = new MemoryEngine();
    const machine = new KvStateMachine(engine, null, HISTORY, founders);
    let index = 0;
    const apply = (of: MemberChange): string => {
      const before = machine.members.all;
      const verdict = machine.applyConfChange(
        { index: ++index, term: 1, clockMs: 0 },
        encodeMemberChange(of),
      );
      expect(machine.appliedIndex).toBe(index);
      if (!verdict.isTaken) expect(machine.members.all).toEqual(before);
      return verdict.result.kind === "error" ? verdict.result.code : "ok";
    };
    const member = { id: 4, ...nobody, peerUrls: ["http://d:1"], isLearner: true };
    expect(apply({ kind: "memberAdd", member })).toBe("ok");
    expect(apply({ kind: "memberAdd", member })).toBe("MEMBER_EXISTS");
    expect(apply({ kind: "memberAdd", member: { ...member, id: 5 } })).toBe("PEER_URL_EXISTS");
    // A change of address makes nobody a voter.
    expect(apply({ kind: "memberUpdate", id: 4, peerUrls: ["http://e:1"] })).toBe("ok");
    expect(machine.members.get(4)).toEqual({ ...member, peerUrls: ["http://e:1"] });
    expect(apply({ kind: "memberReplace", id: 1, by: 4 })).toBe("ok");
    expect(machine.members.get(4)?.isLearner).toBe(false);
    expect(apply({ kind: "memberPromote", id: 4 })).toBe("MEMBER_NOT_LEARNER");
    expect(apply({ kind: "memberRemove", id: 1 })).toBe("MEMBER_NOT_FOUND");
    // Who was removed never comes back.
    expect(
      apply({ kind: "memberAdd", member: { ...member, id: 1, peerUrls: ["http://f:1"] } }),
    ).toBe("MEMBER_EXISTS");
    const again = new KvStateMachine(
      engine,
      { payload: machine.payload(), appliedIndex: index, appliedTerm: 1 },
      HISTORY,
    );
    expect(again.members.all).toEqual(machine.members.all);
    expect([...again.members.removed]).toEqual([1]);
  });

  it("come into data that is older than they are by what each member says of itself", () => {
    const machine = new KvStateMachine(new MemoryEngine(), null, HISTORY);
    let index = 0;
    const say = (id: number, name: string, peerUrls: readonly string[]): string => {
      const [outcome] = machine.apply({ index: ++index, term: 1, clockMs: 0 }, [
        encodeMemberNews({ id, name, peerUrls, clientUrls: ["http://c:1"] }),
      ]);
      return outcome?.kind === "error" ? outcome.code : "ok";
    };
    expect(say(1, "n1", ["http://a:1"])).toBe("ok");
    expect(say(2, "n2", ["http://b:1"])).toBe("ok");
    // Among others its URLs are what they were given, and its name its own.
    expect(say(2, "n2", ["http://elsewhere:1"])).toBe("ok");
    expect(say(2, "n1", ["http://b:1"])).toBe("MEMBER_NAME_EXISTS");
    expect(machine.members.all.map(({ name, peerUrls }) => [name, ...peerUrls])).toEqual([
      ["n1", "http://a:1"],
      ["n2", "http://b:1"],
    ]);
    const context = { index: ++index, term: 1, clockMs: 0 };
    machine.applyConfChange(context, encodeMemberChange({ kind: "memberRemove", id: 2 }));
    expect(say(2, "n2", ["http://b:1"])).toBe("MEMBER_NOT_FOUND");
  });

  it("go by the same members as the configuration: what says two things is refused", () => {
    const machine = new KvStateMachine(new MemoryEngine(), null, HISTORY, founders);
    const said = encodeMemberChange({ kind: "memberRemove", id: 1 });
    const changes = [{ type: "removeNode" as const, nodeId: 2 }];
    for (const confChange of [
      { ...encodeMemberChange({ kind: "memberPromote", id: 1 }), changes },
      { ...said, changes: [...changes, ...said.changes] },
      { ...said, context: new Uint8Array(0) },
      { ...said, context: Uint8Array.of(99) },
    ]) {
      expect(decodeMemberChange(confChange)).toBeNull();
      const context = { index: machine.appliedIndex + 1, term: 1, clockMs: 0 };
      const verdict = machine.applyConfChange(context, confChange);
      expect([verdict.isTaken, verdict.result]).toEqual([
        false,
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      ]);
    }
    expect(machine.members.all.length).toBe(3);
  });

  const arbId = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  const arbUrls = fc.array(fc.string({ unit: "grapheme" }), { maxLength: 3 });
  const arbMember = fc.record({
    id: arbId,
    name: fc.string({ unit: "grapheme" }),
    peerUrls: arbUrls,
    clientUrls: arbUrls,
    isLearner: fc.boolean(),
  });

  it("travel in an entry as they are", () => {
    const arbChange: fc.Arbitrary<MemberChange> = fc.oneof(
      fc.record({ kind: fc.constant("memberAdd" as const), member: arbMember }),
      fc.record({ kind: fc.constant("memberRemove" as const), id: arbId }),
      fc.record({ kind: fc.constant("memberPromote" as const), id: arbId }),
      fc.record({ kind: fc.constant("memberUpdate" as const), id: arbId, peerUrls: arbUrls }),
      fc.record({ kind: fc.constant("memberReplace" as const), id: arbId, by: arbId }),
    );
    fc.assert(
      fc.property(arbChange, (of) => {
        const bytes = encodeConfChange(encodeMemberChange(of));
        const decoded = decodeConfChange(bytes);
        expect(decoded === null ? null : decodeMemberChange(decoded)).toEqual(of);
      }),
    );
  });

  it("stand in a checkpoint beside a configuration of any shape", () => {
    const ids = fc
      .uniqueArray(arbId, { maxLength: 7 })
      .map((list) => list.toSorted((a, b) => a - b));
    const arb = fc.record({
      voters: fc
        .uniqueArray(arbId, { minLength: 1, maxLength: 7 })
        .map((list) => list.toSorted((a, b) => a - b)),
      votersOutgoing: ids,
      learners: ids,
      learnersNext: ids,
    });
    fc.assert(
      fc.property(
        arb,
        fc.boolean(),
        arbId,
        fc.uint8Array(),
        (lists, leaves, incarnation, machine) => {
          const isJoint = lists.votersOutgoing.length > 0;
          const confState = { ...lists, autoLeave: isJoint && leaves };
          const payload = { incarnation, confState, machine };
          const bytes = encodeCheckpointPayload(payload);
          expect(decodeCheckpointPayload(bytes, "f")).toEqual(payload);
          const plain =
            lists.votersOutgoing.length + lists.learners.length + lists.learnersNext.length;
          // Data that knows of voters alone is as it always was.
          expect(bytes[0]).toBe(plain === 0 ? 1 : 2);
          for (let length = 0; length < bytes.length - machine.length; length++)
            expect(() => decodeCheckpointPayload(bytes.slice(0, length), "f")).toThrow(
              /does not fit/,
            );
        },
      ),
    );
  });
});
