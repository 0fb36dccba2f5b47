import { describe, expect, it } from "vitest";
import { hash32, utf8 } from "../src/base/index.ts";
import { encodeBatchFrame, encodePeerFrame, encodePeerItem } from "../src/codec/index.ts";
import { type Message, MESSAGE_VERSION } from "../src/raft/index.ts";
import { Marks } from "./marks.ts";
import type { Told } from "./members-clients.ts";
import { Harm } from "./members-harm.ts";
import { type History, judgeHistory } from "./members-history.ts";
import { type Member, urlOf } from "./members-node.ts";
import type { MembersOptions } from "./members-options.ts";
import type { Ask } from "./members-requests.ts";
import { Roster } from "./members-roster.ts";
import { StateOracle } from "./members-state.ts";
import type { MembersStep } from "./members-steps.ts";
import { WireOracle } from "./members-wire.ts";
import { MEMBERS_WORLD } from "./members-world.ts";
import { type Plain, playScript, playSeed, verified } from "./play.ts";
import type { RunResult } from "./result.ts";
import { Trace } from "./trace.ts";
import { Violation } from "./violation.ts";

// npm run sim -- --profile members makes long sweeps of this.
function clean(result: RunResult): RunResult {
  if (result.failure !== null)
    throw new Error(
      `seed ${result.seed}: ${result.failure.message}\n${result.failure.lines.join("\n")}`,
    );
  return result;
}

function rule(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Violation) return error.check;
    throw error;
  }
  return "nothing";
}

describe("the members world", () => {
  it("keeps every promise of a cluster as it ships, whatever the seed does to it", () => {
    let cycles = verified(() => clean(playSeed(MEMBERS_WORLD, 1))).cycles;
    for (let seed = 2; seed <= 3; seed++) cycles += clean(playSeed(MEMBERS_WORLD, seed)).cycles;
    for (let seed = 1; seed <= 2; seed++)
      cycles += clean(playSeed(MEMBERS_WORLD, seed, "swarm")).cycles;
    expect(cycles).toBeGreaterThan(20);
  }, 240_000);

  it("the same seed gives the same run, event by event", () => {
    const first = playSeed(MEMBERS_WORLD, 17, "swarm");
    expect(playSeed(MEMBERS_WORLD, 17, "swarm")).toEqual(first);
    expect(playSeed(MEMBERS_WORLD, 18, "swarm").hash).not.toBe(first.hash);
  }, 240_000);

  it("plays its steps again, all of them or any part", () => {
    const seed = 3;
    const options: MembersOptions = MEMBERS_WORLD.drawOptions(seed, "default");
    const play = MEMBERS_WORLD.begin(seed, options, new Trace(), new Marks());
    const steps: MembersStep[] = [];
    for (let step = play.draw(); step !== null; step = play.draw()) {
      steps.push(step);
      play.perform(step);
    }
    const plain = JSON.parse(JSON.stringify(options)) as Plain;
    const script = { world: "members", seed, options: plain, steps };
    const whole = clean(playScript(MEMBERS_WORLD, script));
    expect(whole.hash).toBe(playSeed(MEMBERS_WORLD, seed).hash);
    const some = steps.filter((_, i) => hash32(seed, i) % 2 === 0);
    clean(playScript(MEMBERS_WORLD, { ...script, steps: JSON.parse(JSON.stringify(some)) as [] }));
  }, 240_000);
});

describe("the judge of what members say", () => {
  const judge = () => {
    const refusals: (readonly [by: number, removed: number])[] = [];
    const oracle = new WireOracle({
      note: () => {},
      mark: () => {},
      promised: () => {},
      refusedAsRemoved: (by, removed) => refusals.push([by, removed]),
      mayRefuse: (code) => code === "REMOVED_MEMBER",
    });
    const hello = (
      from: number,
      to: number,
      walId: Uint8Array = new Uint8Array(16),
    ): Uint8Array => {
      const of = { clusterId: 1, bootId: walId, walId, versionMin: 1, versionMax: 1 };
      const urls = { clientUrls: [], peerUrls: [] };
      return encodePeerFrame({
        kind: "hello",
        from,
        to,
        ...of,
        ...urls,
        name: "n",
        purpose: "raft",
      });
    };
    const links = new Map<number, (bytes: Uint8Array) => void>();
    const observer = (from: number, to: number): ((bytes: Uint8Array) => void) => {
      const known = links.get(from * 10 + to);
      if (known !== undefined) return known;
      const observer = oracle.observer();
      const said = (bytes: Uint8Array): void => observer.said(bytes);
      links.set(from * 10 + to, said);
      said(hello(from, to));
      return said;
    };
    const say = (of: Record<string, unknown>): string => {
      const message = { group: 0, incarnation: 1, version: MESSAGE_VERSION, ...of } as Message;
      const item = encodePeerItem({ kind: "raft", group: 0, message });
      return rule(() => observer(message.from, message.to)(encodeBatchFrame([item])));
    };
    return { oracle, say, hello, refusals };
  };
  const heartbeat = { type: "heartbeat", commit: 0, round: 0 };
  const entry = (index: number, term: number, byte: number) => ({
    index,
    term,
    type: 0,
    data: Uint8Array.of(byte),
  });
  const append = (from: number, term: number, prev: readonly [number, number], byte: number) => ({
    type: "append",
    from,
    to: 3,
    term,
    prevIndex: prev[0],
    prevTerm: prev[1],
    commit: 0,
    entries: [entry(prev[0] + 1, term, byte)],
  });

  it("sees two leaders of a term", () => {
    const { say } = judge();
    expect(say({ ...heartbeat, from: 1, to: 2, term: 3 })).toBe("nothing");
    expect(say({ ...heartbeat, from: 1, to: 3, term: 3 })).toBe("nothing");
    expect(say({ ...heartbeat, from: 2, to: 3, term: 3 })).toBe("one leader in a term");
  });

  it("sees a second vote in a term, its own for itself among them", () => {
    const { say } = judge();
    const vote = { type: "voteResponse", from: 2, term: 3, reject: false };
    expect(say({ ...vote, to: 1 })).toBe("nothing");
    expect(say({ ...vote, to: 3, reject: true })).toBe("nothing");
    expect(say({ type: "vote", from: 2, to: 3, term: 3, lastIndex: 0, lastTerm: 0 })).toBe(
      "nobody votes twice in a term",
    );
  });

  it("sees logs that agree on an entry and differ there or before it, and a leader that changes its own", () => {
    const { say } = judge();
    expect(say(append(1, 1, [0, 0], 1))).toBe("nothing");
    expect(say(append(1, 1, [0, 0], 2))).toBe("logs match");
    expect(say(append(1, 2, [1, 1], 1))).toBe("nothing");
    expect(say(append(1, 2, [1, 2], 1))).toBe("a leader only appends to its log");
  });

  it("sees that somebody is welcome whose disk was lost, unless the disk of who welcomes him was lost, too", () => {
    const { oracle, hello } = judge();
    const disk = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
    const welcomes = (own: number, caller: number): string => {
      const observer = oracle.observer();
      observer.heard(hello(3, 1, disk(caller)));
      const of = { version: 1, bootId: disk(0), walId: disk(own), name: "n", clientUrls: [] };
      return rule(() => observer.said(encodePeerFrame({ kind: "welcome", ...of })));
    };
    expect([welcomes(1, 3), welcomes(1, 3), welcomes(2, 4), welcomes(2, 4)]).toEqual(
      Array.from({ length: 4 }, () => "nothing"),
    );
    expect(welcomes(1, 4)).toBe("who has lost its disk is not heard under its old id");
  });

  it("tells who refuses whom as removed, also where the first that was heard was damaged", () => {
    const { oracle, hello, refusals } = judge();
    const refusal = encodePeerFrame({ kind: "refusal", code: "REMOVED_MEMBER", detail: "" });
    const link = oracle.observer();
    link.heard(hello(3, 1));
    link.said(refusal);
    const damaged = oracle.observer();
    damaged.heard(hello(2, 1).subarray(1));
    damaged.said(refusal);
    expect(refusals).toEqual([[1, 3]]);
  });

  it("takes down what is promised, and what a later life must still know", () => {
    const { oracle, say } = judge();
    say(append(1, 2, [0, 0], 1));
    say({ type: "appendResponse", from: 3, to: 1, term: 2, reject: false, index: 1 });
    expect(oracle.promisedBy(3)).toEqual({ term: 2, vote: 0, index: 1, entryTerm: 2, inTerm: 2 });
    say({ type: "vote", from: 3, to: 1, term: 4, lastIndex: 1, lastTerm: 2 });
    expect(oracle.promisedBy(3)).toMatchObject({ term: 4, vote: 3, index: 1 });
  });
});

describe("who belongs to a cluster", () => {
  const record = (id: number, name: string): object => ({
    id: BigInt(id),
    name,
    peerUrls: [urlOf(id)],
    isLearner: id > 3,
  });
  const machine = (number: number, of: Partial<Member> = {}): Member =>
    ({ number, isQuarantined: false, isImpostor: false, ...of }) as Partial<Member> as Member;
  const saying = (index: number, members: readonly object[]): Partial<Member> => {
    const database = { applied: { index, stateHash: 0 }, status: () => ({ members }) };
    return { node: { database } as unknown as Member["node"] };
  };

  it("says whoever has come furthest, who is in quarantine and who has lost his disk aside", () => {
    const members = [
      machine(1, saying(5, [record(1, "n1")])),
      machine(2, saying(7, [record(1, "n1"), record(2, "n2")])),
      machine(3, { ...saying(9, []), isQuarantined: true }),
      machine(4, { ...saying(9, []), isImpostor: true }),
    ];
    expect(new Roster(members, 3).all.map(({ id }) => id)).toEqual([1n, 2n]);
  });

  it("waits for who was added and has never run, and not for who has lost what he had before he said his name", () => {
    const awaited = machine(4, { isBlank: true, lost: null });
    const lost = machine(5, { isBlank: true, lost: 5 });
    const named = machine(2, { isBlank: true, lost: 2 });
    const told = saying(1, [record(1, "n1"), record(2, "n2"), record(4, ""), record(5, "")]);
    const roster = new Roster([machine(1, told), named, awaited, lost], 3);
    expect([awaited, lost, named].map((one) => roster.rosterFor(one) !== null)).toEqual([
      true,
      false,
      false,
    ]);
    expect([awaited, lost, named].map((one) => roster.isGone(one))).toEqual([false, true, true]);
  });

  it("counts as a voter who has lost its disk before anything was applied", () => {
    const nothing = saying(0, []);
    const wiped = machine(2, { isBlank: true, lost: 2, identity: null });
    const founders = [
      machine(1, { ...nothing, identity: { memberId: 1 } as Member["identity"] }),
      wiped,
      machine(3, { lost: null, identity: null }),
    ];
    const roster = new Roster(founders, 3);
    expect([roster.votersNow, roster.votersBefore]).toEqual([
      [1, 2, -3],
      [1, 2, -3],
    ]);
  });
});

describe("what may be harmed", () => {
  const member = (memberId: number): Member => ({ identity: { memberId } }) as unknown as Member;
  const world = (voters: readonly number[], asked: readonly number[] = []) => {
    const apart = new Set<number>();
    const surroundings = {
      nowMs: 0,
      votersNow: voters,
      votersBefore: voters,
      isAsked: (id: number) => asked.includes(id),
      isApart: (id: number) => apart.has(id),
    };
    return { surroundings, apart, harm: new Harm(surroundings) };
  };

  it("is a minority of the voters, whoever of them may go", () => {
    const { harm } = world([1, 2, 3]);
    expect(harm.mayHit(member(1))).toBe(true);
    harm.note(1);
    expect([1, 2].map((id) => harm.mayHit(member(id)))).toEqual([true, false]);
    harm.healed(1);
    expect(harm.mayHit(member(2))).toBe(true);
    expect(world([1, 2, 3], [3]).harm.mayHit(member(1))).toBe(false);
    expect(world([1, 2]).harm.mayHit(member(1))).toBe(false);
  });

  it("lets nobody else go before the others can know of it", () => {
    const { harm, apart, surroundings } = world([1, 2, 3]);
    expect(harm.mayRemove(2, 100)).toBe(true);
    harm.note(1);
    apart.add(1);
    expect([1, 2].map((id) => harm.mayRemove(id, 100))).toEqual([true, false]);
    surroundings.nowMs = 100;
    expect(harm.mayRemove(2, 100)).toBe(true);
    // It runs as if nothing were wrong: nobody has read the page that has decayed.
    apart.delete(1);
    expect([1, 2].map((id) => harm.mayRemove(id, 100))).toEqual([true, false]);
  });
});

describe("the judge of what members have applied", () => {
  it("sees states that differ at an index, and says what is news", () => {
    const oracle = new StateOracle();
    expect([oracle.applied(1, 4, 7), oracle.applied(2, 4, 7), oracle.applied(2, 3, 6)]).toEqual([
      true,
      false,
      false,
    ]);
    expect(rule(() => oracle.applied(3, 4, 8))).toBe("all states are equal at an index");
  });
});

describe("the judge of what clients were told", () => {
  let ids = 0;
  const told = (ask: Ask, at: readonly [number, number], answer: Told["answer"]): Told => ({
    request: { id: ++ids, client: 1, member: 1, timeoutMs: null, ask },
    invokedAt: at[0],
    returnedAt: at[1],
    outcome: answer === null ? "unknown" : "ok",
    answer,
    life: 1,
  });
  const put = (value: string): Ask => ({ kind: "kv", input: { kind: "put", key: "k", value } });
  const done = (revision: number): Told["answer"] => ({ kind: "put", revision, prevKv: null });
  const incr: Ask = { kind: "incr", key: "c", by: 2 };
  const counted = (revision: number, value: bigint): Told["answer"] => ({
    kind: "incr",
    revision,
    value,
    deadlineMs: 0,
  });
  const read = (revision: number, value: string, modRevision: number): Told => {
    const kv = { key: utf8("k"), value: utf8(value), createRevision: 2, modRevision };
    const kvs = [{ ...kv, version: modRevision - 1, lease: 0n }];
    const ask: Ask = { kind: "kv", input: { kind: "get", key: "k" } };
    return told(ask, [10, 11], { kind: "range", revision, kvs, more: false, count: 1 });
  };
  const history = (...changes: readonly [key: string, value: string | null][]): History =>
    new Map(changes.map(([key, value], i) => [i + 2, [{ key, value }]]));
  const judged = (all: readonly Told[], of: History, isTimeTrue = true): string =>
    rule(() => judgeHistory(all, of, isTimeTrue));

  it("accepts what one machine would have done", () => {
    const all = [
      told(put("a"), [0, 1], done(2)),
      told(put("b"), [2, 3], done(3)),
      read(4, "b", 3),
      told(incr, [4, 5], counted(4, 2n)),
      told(incr, [4, Infinity], null),
    ];
    const of = history(["k", "a"], ["k", "b"], ["c", "2"], ["c", "4"]);
    expect(judged(all, of)).toBe("nothing");
  });

  it("sees a write that is not there, or twice, or although it was refused", () => {
    const acknowledged = told(put("a"), [0, 1], done(2));
    const lost = "every acknowledged write is there, at its revision";
    expect(judged([acknowledged], history(["k", "b"]))).toBe(lost);
    expect(judged([acknowledged], history(["k", "a"], ["k", "a"]))).toBe(
      "a command is applied once",
    );
    expect(judged([{ ...acknowledged, outcome: "fail", answer: null }], history(["k", "a"]))).toBe(
      "a command that was refused for certain is not applied",
    );
  });

  it("sees a read of the past, and a counter that counts what nobody asked for", () => {
    const all = [told(put("a"), [0, 1], done(2)), told(put("b"), [2, 3], done(3))];
    const of = history(["k", "a"], ["k", "b"]);
    expect(judged([...all, read(2, "a", 2)], of)).toBe("what clients saw is linearizable");
    expect(judged([told(incr, [0, 1], counted(2, 2n))], history(["c", "2"], ["c", "4"]))).toBe(
      "a counter counts what it was asked to, and nothing twice",
    );
  });

  it("accepts locks that end at one revision", () => {
    const take = (key: string, owner: string, revision: number): Told => {
      const ask: Ask = { kind: "lock", key, owner, ttlMs: 100 };
      const lock = { acquired: true, fence: revision, token: utf8(owner), leftMs: 100 };
      return told(ask, [0, 1], { kind: "lock", revision, deadlineMs: 1100, ...lock });
    };
    const ends = ["l0", "l1"].map((key) => ({ key, value: null }));
    const of = new Map([...history(["l0", "a"], ["l1", "b"]), [4, ends] as const]);
    const all = [take("l0", "a", 2), take("l1", "b", 3), told(put("a"), [200, 201], done(5))];
    expect(judged(all, new Map([...of, [5, [{ key: "k", value: "a" }]]]))).toBe("nothing");
  });

  it("sees a lock that ends before its time, unless its owner gave it back", () => {
    const lock: Told["answer"] = {
      kind: "lock",
      revision: 2,
      acquired: true,
      fence: 2,
      token: utf8("me"),
      deadlineMs: 1100,
      leftMs: 100,
    };
    const ask: Ask = { kind: "lock", key: "l", owner: "me", ttlMs: 100 };
    const all = [
      told(ask, [0, 1], lock),
      told(put("a"), [50, 60], done(4)),
      told({ kind: "unlock", key: "l", owner: "other" }, [0, Infinity], null),
    ];
    const of = history(["l", "me"], ["l", null], ["k", "a"]);
    expect(judged(all, of)).toBe("a lock has one owner until it ends");
    expect(judged(all, of, false)).toBe("nothing");
    expect(judged([told({ ...ask, ttlMs: 59 }, [0, 1], lock), ...all.slice(1)], of)).toBe(
      "nothing",
    );
    const unlock = told({ kind: "unlock", key: "l", owner: "me" }, [20, 30], {
      kind: "unlock",
      revision: 3,
      released: true,
    });
    expect(judged([...all, unlock], of)).toBe("nothing");
  });
});
