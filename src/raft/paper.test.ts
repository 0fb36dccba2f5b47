/** The sentences of the Raft paper and dissertation, one test for each that the core has to keep. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import {
  type ConfChangeSingle,
  type ConfChangeV2,
  EntryType,
  type Message,
  type MessageType,
} from "./index.ts";
import { append, createNode, drain, elect, entriesOf, message, startWith } from "./testing/pair.ts";
import { simpleConf, type TestNode } from "./testing/test-node.ts";

type OfType<T, M = Message> = M extends { readonly type: infer U }
  ? T extends U
    ? M
    : never
  : never;

function only<T extends MessageType>(messages: readonly Message[], type: T): OfType<T>[] {
  return messages.filter((m): m is OfType<T> & Message => m.type === type);
}

function places(node: TestNode): string[] {
  return node.view().map((entry) => `${entry.index}/${entry.term}`);
}

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

describe("5.1 terms", () => {
  it("a server that sees a larger term takes it and becomes a follower, whatever it was", () => {
    for (const make of [
      (): TestNode => startWith(createNode(1, [1, 2, 3]), [], 2),
      (): TestNode => {
        const candidate = startWith(createNode(1, [1, 2, 3]), [], 1);
        candidate.node.campaign();
        return candidate;
      },
      (): TestNode => {
        const leader = startWith(createNode(1, [1, 2, 3]), [], 1);
        elect(leader);
        return leader;
      },
    ]) {
      const node = make();
      node.node.step(append(2, 1, 7));
      expect(node.node.status()).toMatchObject({
        role: "follower",
        leader: 2,
        hardState: { term: 7, vote: 0 },
      });
    }
  });

  it("a request with a stale term is rejected with the current one", () => {
    const node = startWith(createNode(1, [1, 2, 3], { checkQuorum: true }), [], 5);
    node.node.step(append(2, 1, 4, { entries: entriesOf([4]) }));
    const asked = { from: 2, to: 1, term: 4, lastIndex: 9, lastTerm: 3 } as const;
    for (const type of ["vote", "preVote"] as const) node.node.step(message({ type, ...asked }));
    const answers = drain(node);
    expect(answers.map((m) => [m.type, m.term, "reject" in m && m.reject])).toEqual([
      ["preVoteResponse", 5, true],
      ["appendResponse", 5, true],
      ["voteResponse", 5, true],
    ]);
    expect(node.node.status().lastIndex).toBe(0);
  });

  it("an answer with a stale term is ignored", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [], 5);
    node.node.campaign();
    drain(node);
    node.node.step(message({ type: "voteResponse", from: 2, to: 1, term: 5, reject: false }));
    expect(node.node.status().role).toBe("candidate");
  });
});

describe("5.2 leader election", () => {
  it("a server starts as a follower and stays one while it hears from a leader", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    expect(node.node.status().role).toBe("follower");
    for (let i = 0; i < 100; i++) {
      node.node.tick();
      if (i % 5 === 0)
        node.node.step(
          message({ type: "heartbeat", from: 2, to: 1, term: 1, commit: 0, round: 0 }),
        );
    }
    expect(node.node.status()).toMatchObject({ role: "follower", leader: 2 });
  });

  it("a leader sends heartbeats to all followers", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    elect(node);
    node.node.tick();
    expect(only(drain(node), "heartbeat").map((m) => m.to)).toEqual([2, 3]);
  });

  it("a follower without a leader begins an election: a new term, its own vote, requests to the others", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1, 2]);
    for (let i = 0; i < 20; i++) node.node.tick();
    const { role, hardState } = node.node.status();
    expect(role).toBe("candidate");
    expect(hardState).toMatchObject({ term: 3, vote: 1 });
    expect(only(drain(node), "vote").map((m) => [m.to, m.term, m.lastIndex, m.lastTerm])).toEqual([
      [2, 3, 2, 2],
      [3, 3, 2, 2],
    ]);
  });

  it("a candidate wins with a majority, loses with a majority against it, and waits otherwise", () => {
    const cases: [number, Record<number, boolean>, string][] = [
      [1, {}, "leader"],
      [3, { 2: true }, "leader"],
      [3, { 2: false }, "candidate"],
      [3, { 2: false, 3: false }, "follower"],
      [5, { 2: true }, "candidate"],
      [5, { 2: true, 3: true }, "leader"],
      [5, { 2: true, 3: false, 4: false }, "candidate"],
      [5, { 2: false, 3: false, 4: false }, "follower"],
      [4, { 2: true }, "candidate"],
      [4, { 2: true, 3: true }, "leader"],
    ];
    for (const [size, votes, role] of cases) {
      const voters = Array.from({ length: size }, (_, i) => i + 1);
      const node = startWith(createNode(1, voters), []);
      node.node.campaign();
      drain(node);
      for (const [from, granted] of Object.entries(votes)) {
        node.node.step(
          message({ type: "voteResponse", from: Number(from), to: 1, term: 1, reject: !granted }),
        );
      }
      expect(node.node.status().role, `${size} voters, ${JSON.stringify(votes)}`).toBe(role);
    }
  });

  it("each server votes for at most one candidate in a term, first come first served", () => {
    for (const [vote, asker, granted] of [
      [0, 2, true],
      [2, 2, true],
      [3, 2, false],
      [1, 2, false],
    ] as const) {
      const node = startWith(createNode(1, [1, 2, 3]), [], 4, vote);
      node.node.step(
        message({ type: "vote", from: asker, to: 1, term: 4, lastIndex: 0, lastTerm: 0 }),
      );
      expect(only(drain(node), "voteResponse").map((m) => !m.reject)).toEqual([granted]);
    }
  });

  it("who follows the leader of a term votes for nobody else in it", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1], 4);
    node.node.step(append(3, 1, 4, { prevIndex: 1, prevTerm: 1 }));
    drain(node);
    node.node.step(message({ type: "vote", from: 2, to: 1, term: 4, lastIndex: 9, lastTerm: 3 }));
    expect(only(drain(node), "voteResponse").map((m) => m.reject)).toEqual([true]);
    expect(node.node.status().hardState.vote).toBe(0);
  });

  it("a candidate that hears from the leader of its term follows it", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.campaign();
    node.node.step(append(2, 1, 1));
    expect(node.node.status()).toMatchObject({
      role: "follower",
      leader: 2,
      hardState: { term: 1, vote: 1 },
    });
  });

  it("a split vote ends in another election in a new term", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.campaign();
    drain(node);
    for (let i = 0; i < 20; i++) node.node.tick();
    expect(node.node.status().hardState.term).toBe(2);
  });

  it("election timeouts are drawn at random, from one to two times electionTicks, anew for each election", () => {
    const seen = new Set<number>();
    for (let seed = 1; seed <= 60; seed++) {
      const node = startWith(createNode(1, [1, 2, 3], { seed, electionTicks: 10 }), []);
      let ticks = 0;
      for (; node.node.status().role === "follower"; ticks++) node.node.tick();
      seen.add(ticks);
    }
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(10);
    expect(Math.max(...seen)).toBeLessThan(20);
    expect(seen.size).toBeGreaterThan(6);
  });

  it("replicas with one seed still differ in their timeouts", () => {
    const timeouts = [1, 2, 3, 4, 5].map((id) => {
      const node = startWith(createNode(id, [1, 2, 3, 4, 5], { seed: 7, electionTicks: 100 }), []);
      let ticks = 0;
      for (; node.node.status().role === "follower"; ticks++) node.node.tick();
      return ticks;
    });
    expect(new Set(timeouts).size).toBeGreaterThan(2);
  });
});

describe("5.3 log replication", () => {
  it("a leader appends a command to its log and sends it to the others in parallel", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    elect(node);
    for (const id of [2, 3])
      node.node.step(
        message({ type: "appendResponse", from: id, to: 1, term: 1, reject: false, index: 1 }),
      );
    drain(node);
    node.node.propose(new Uint8Array([9]));
    const appends = only(drain(node), "append");
    expect(appends.map((m) => [m.to, m.prevIndex, m.prevTerm, m.entries.length, m.commit])).toEqual(
      [
        [2, 1, 1, 1, 1],
        [3, 1, 1, 1, 1],
      ],
    );
  });

  it("an entry is committed when the leader and a majority have stored it, and with it all before", () => {
    const node = startWith(createNode(1, [1, 2, 3, 4, 5]), [1, 1]);
    elect(node);
    const accept = (from: number): void =>
      node.node.step(
        message({ type: "appendResponse", from, to: 1, term: 2, reject: false, index: 3 }),
      );
    accept(2);
    accept(2);
    expect(node.node.status().hardState.commit).toBe(0);
    accept(3);
    expect(node.node.status().hardState.commit).toBe(3);
  });

  it("a follower that learns that an entry is committed applies it", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.step(append(2, 1, 1, { entries: entriesOf([1, 1, 1]), commit: 2 }));
    drain(node);
    expect(node.applied.map((e) => e.index)).toEqual([1, 2]);
    node.node.step(message({ type: "heartbeat", from: 2, to: 1, term: 1, commit: 3, round: 0 }));
    drain(node);
    expect(node.applied.map((e) => e.index)).toEqual([1, 2, 3]);
  });

  it("a follower takes min(leader's commit, last new entry) for its commit", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1, 1, 1], 2);
    // Entry 3 may still be replaced: the leader of term 2 has not spoken of it.
    node.node.step(
      append(2, 1, 2, { prevIndex: 1, prevTerm: 1, entries: entriesOf([1], 2), commit: 9 }),
    );
    expect(node.node.status().hardState.commit).toBe(2);
  });

  it("a follower refuses entries that do not follow on its log", () => {
    for (const [prevIndex, prevTerm, accepted] of [
      [0, 0, true],
      [1, 1, true],
      [2, 2, true],
      [1, 2, false],
      [2, 1, false],
      [3, 3, false],
    ] as const) {
      const node = startWith(createNode(1, [1, 2, 3]), [1, 2], 3);
      node.node.step(append(2, 1, 3, { prevIndex, prevTerm }));
      const [answer] = only(drain(node), "appendResponse");
      expect(answer?.reject, `${prevIndex}/${prevTerm}`).toBe(!accepted);
    }
  });

  it("conflicting entries are deleted with all that follow, and only those", () => {
    const cases: [number[], number, number, number[], string[]][] = [
      [[1, 1], 2, 1, [3], ["1/1", "2/1", "3/3"]],
      [[1, 2, 2], 1, 1, [3, 3], ["1/1", "2/3", "3/3"]],
      [[1, 2, 2], 0, 0, [1, 3], ["1/1", "2/3"]],
      [[1, 2, 2], 1, 1, [2], ["1/1", "2/2", "3/2"]],
      [[1, 2, 2], 0, 0, [], ["1/1", "2/2", "3/2"]],
    ];
    for (const [terms, prevIndex, prevTerm, sent, expected] of cases) {
      const node = startWith(createNode(1, [1, 2, 3]), terms, 3);
      node.node.step(
        append(2, 1, 3, { prevIndex, prevTerm, entries: entriesOf(sent, prevIndex + 1) }),
      );
      drain(node);
      expect(places(node)).toEqual(expected);
    }
  });

  it("a leader never overwrites or deletes entries of its own log", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1, 1]);
    elect(node);
    const before = places(node);
    node.node.step(append(2, 1, 2, { entries: entriesOf([2]) }));
    drain(node);
    expect(places(node)).toEqual(before);
  });

  it("a leader answers nobody who claims its term, as a follower would", () => {
    const node = startWith(createNode(1, [1, 2, 3], { checkQuorum: true }), [1, 1]);
    elect(node);
    node.node.step(append(2, 1, 2, { prevIndex: 2, prevTerm: 1, commit: 2 }));
    node.node.step(message({ type: "heartbeat", from: 2, to: 1, term: 2, commit: 2, round: 1 }));
    expect(drain(node)).toEqual([]);
    expect(node.node.status()).toMatchObject({ role: "leader", hardState: { commit: 0 } });
  });

  it("a leader that is refused goes back until the logs agree", () => {
    const leader = startWith(createNode(1, [1, 2, 3]), [1, 1, 2, 2, 2], 2);
    elect(leader);
    leader.node.step(
      message({
        type: "appendResponse",
        from: 2,
        to: 1,
        term: 3,
        reject: true,
        index: 5,
        hintIndex: 4,
        hintTerm: 1,
      }),
    );
    const [next] = only(drain(leader), "append");
    expect([next?.prevIndex, next?.prevTerm]).toEqual([2, 1]);
  });
});

describe("5.4 safety", () => {
  it("5.4.1 a vote goes only to a log that is at least as up to date", () => {
    for (const [own, lastIndex, lastTerm, granted] of [
      [[1], 1, 1, true],
      [[1], 1, 2, true],
      [[1], 2, 1, true],
      [[1, 1], 1, 1, false],
      [[1, 1], 1, 2, true],
      [[2], 1, 1, false],
      [[2], 5, 1, false],
    ] as const) {
      const node = startWith(createNode(1, [1, 2, 3]), own, 3);
      node.node.step(message({ type: "vote", from: 2, to: 1, term: 4, lastIndex, lastTerm }));
      expect(
        only(drain(node), "voteResponse").map((m) => !m.reject),
        `${own.join(",")} for ${lastIndex}/${lastTerm}`,
      ).toEqual([granted]);
    }
  });

  it("5.4.2 only entries of the leader's own term are committed by counting", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1, 2], 2);
    elect(node);
    const accept = (index: number): void =>
      node.node.step(
        message({ type: "appendResponse", from: 2, to: 1, term: 3, reject: false, index }),
      );
    accept(1);
    accept(2);
    expect(node.node.status().hardState.commit).toBe(0);
    accept(3);
    expect(node.node.status().hardState.commit).toBe(3);
  });
});

describe("5.5 follower and candidate crashes", () => {
  it("appends that are not answered are sent again, for as long as it takes", () => {
    const leader = startWith(createNode(1, [1, 2, 3]), [1, 1]);
    elect(leader);
    for (let round = 0; round < 50; round++) {
      leader.node.tick();
      leader.node.step(message({ type: "heartbeatResponse", from: 2, to: 1, term: 2, round: 0 }));
      const again = only(drain(leader), "append").filter(({ to }) => to === 2);
      expect(again.map((m) => [m.prevIndex, m.entries.length])).toEqual([[2, 1]]);
    }
  });

  it("a candidate that nobody answers asks again, in a new term each time", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1]);
    const terms: number[] = [];
    for (let i = 0; i < 100; i++) {
      node.node.tick();
      for (const { to, term } of only(drain(node), "vote")) if (to === 2) terms.push(term);
    }
    expect(terms.length).toBeGreaterThan(4);
    expect(terms).toEqual(terms.map((_, i) => i + 2));
  });

  it("requests are idempotent: a second one is answered as the first was, and changes nothing", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1]);
    for (const request of [
      message({ type: "vote", from: 2, to: 1, term: 2, lastIndex: 1, lastTerm: 1 }),
      append(2, 1, 2, { prevIndex: 1, prevTerm: 1, entries: entriesOf([2, 2], 2), commit: 2 }),
    ]) {
      node.node.step(request);
      const first = drain(node);
      const before = [places(node), node.node.status().hardState];
      node.node.step(request);
      const { entries, hardState } = node.takeReady();
      expect([entries, hardState]).toEqual([[], undefined]);
      expect([...node.persist(1)]).toEqual(first);
      expect([places(node), node.node.status().hardState]).toEqual(before);
    }
  });
});

describe("5.6 timing and availability", () => {
  it("a follower that hears a heartbeat in each interval never campaigns, and who hears none does", () => {
    const node = startWith(createNode(1, [1, 2, 3], { electionTicks: 2 }), [1]);
    const beat = message({ type: "heartbeat", from: 2, to: 1, term: 1, commit: 0, round: 0 });
    for (let i = 0; i < 200; i++) {
      node.node.step(beat);
      node.node.tick();
    }
    expect(node.node.status()).toMatchObject({ role: "follower", hardState: { term: 1 } });
    for (let i = 0; i < 4; i++) node.node.tick();
    expect(node.node.role).toBe("candidate");
  });

  it("a vote that was given restarts the timeout: the candidate gets its time (figure 2)", () => {
    const ask = message({ type: "vote", from: 2, to: 1, term: 2, lastIndex: 1, lastTerm: 1 });
    // One that was refused does not.
    for (const [vote, role] of [
      [0, "follower"],
      [3, "candidate"],
    ] as const) {
      const roles = new Set<string>();
      for (let seed = 1; seed <= 20; seed++) {
        const node = startWith(createNode(1, [1, 2, 3], { seed, electionTicks: 10 }), [1], 2, vote);
        for (let i = 0; i < 9; i++) node.node.tick();
        node.node.step(ask);
        for (let i = 0; i < 9; i++) node.node.tick();
        roles.add(node.node.role);
      }
      expect(roles.has("candidate")).toBe(role === "candidate");
    }
  });

  it("elects also where every disk is slower than an election timeout", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const ids = [1, 2, 3];
      const nodes = ids.map((id) =>
        startWith(createNode(id, ids, { seed, preVote: true, checkQuorum: true }), []),
      );
      const SLOW_TICKS = 12;
      const writes: { node: TestNode; until: number }[] = [];
      let arrived: Message[] = [];
      let now = 0;
      while (now < 4000 && nodes.every(({ node }) => !node.leadsForSure)) {
        now++;
        const sent: Message[] = [];
        for (const node of nodes) node.node.tick();
        for (const m of arrived) nodes[m.to - 1]?.node.step(m);
        for (const node of nodes) {
          while (node.node.hasReady()) {
            sent.push(...node.takeReady().messages);
            writes.push({ node, until: now + SLOW_TICKS });
          }
        }
        while ((writes[0]?.until ?? Infinity) <= now) {
          sent.push(...(writes.shift() as { node: TestNode }).node.persist(1));
        }
        arrived = sent;
      }
      expect(now, `seed ${seed}`).toBeLessThan(4000);
    }
  });
});

describe("what must be durable, and when", () => {
  it("figure 2: a vote is durable before its answer leaves", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1]);
    node.node.step(message({ type: "vote", from: 2, to: 1, term: 2, lastIndex: 1, lastTerm: 1 }));
    const ready = node.takeReady();
    expect(ready.hardState).toEqual({ term: 2, vote: 2, commit: 0 });
    expect(ready.mustSync).toBe(true);
    expect(ready.messages).toEqual([]);
    expect(ready.messagesAfterPersist.map((m) => m.type)).toEqual(["voteResponse"]);
  });

  it("figure 2: entries are durable before they are acknowledged, those of earlier Readys included", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.step(append(2, 1, 1, { entries: entriesOf([1]) }));
    expect(node.takeReady().messages).toEqual([]);
    // The same entries again make nothing to write, but the answer relies on the Ready before.
    node.node.step(append(2, 1, 1, { entries: entriesOf([1]) }));
    const second = node.takeReady();
    expect([second.entries.length, second.messages.length]).toEqual([0, 0]);
    expect(second.messagesAfterPersist).toHaveLength(1);
  });

  it("dissertation 10.2.1: a leader counts itself only when its own write is durable", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.campaign();
    drain(node);
    node.node.step(message({ type: "voteResponse", from: 2, to: 1, term: 1, reject: false }));
    node.takeReady();
    node.node.step(
      message({ type: "appendResponse", from: 2, to: 1, term: 1, reject: false, index: 1 }),
    );
    expect(node.node.status().hardState.commit).toBe(0);
    node.persist(1);
    expect(node.node.status().hardState.commit).toBe(1);
  });

  it("a majority without the leader commits, and the leader applies only when it has stored the entry itself", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.campaign();
    drain(node);
    node.node.step(message({ type: "voteResponse", from: 2, to: 1, term: 1, reject: false }));
    node.takeReady();
    for (const from of [2, 3]) {
      node.node.step(
        message({ type: "appendResponse", from, to: 1, term: 1, reject: false, index: 1 }),
      );
    }
    expect(node.takeReady().hardState?.commit).toBe(1);
    expect(node.applied).toEqual([]);
    node.persist(2);
    node.takeReady();
    expect(node.applied.map((e) => e.index)).toEqual([1]);
  });
});

describe("dissertation 4.2.3 and 9.6: disruptive servers", () => {
  const hearing = (): TestNode => {
    const node = startWith(createNode(1, [1, 2, 3], { preVote: true, checkQuorum: true }), [1]);
    node.node.step(append(2, 1, 1, { prevIndex: 1, prevTerm: 1 }));
    drain(node);
    return node;
  };

  it("who hears from a leader neither votes nor takes the term", () => {
    const node = hearing();
    node.node.step(message({ type: "vote", from: 3, to: 1, term: 9, lastIndex: 9, lastTerm: 8 }));
    node.node.step(
      message({ type: "preVote", from: 3, to: 1, term: 9, lastIndex: 9, lastTerm: 8 }),
    );
    expect(drain(node)).toEqual([]);
    expect(node.node.status()).toMatchObject({ leader: 2, hardState: { term: 1, vote: 0 } });
  });

  it("who has not for an election timeout votes again", () => {
    const node = hearing();
    for (let i = 0; i < 10; i++) node.node.tick();
    drain(node);
    node.node.step(message({ type: "vote", from: 3, to: 1, term: 9, lastIndex: 9, lastTerm: 8 }));
    expect(only(drain(node), "voteResponse").map((m) => m.reject)).toEqual([false]);
  });

  it("a pre-vote changes neither term nor vote, and may be given to several", () => {
    const node = startWith(createNode(1, [1, 2, 3], { preVote: true, checkQuorum: true }), [1]);
    for (const from of [2, 3]) {
      node.node.step(message({ type: "preVote", from, to: 1, term: 2, lastIndex: 1, lastTerm: 1 }));
    }
    const ready = node.takeReady();
    expect(ready.messages.map((m) => [m.type, m.term, "reject" in m && m.reject])).toEqual([
      ["preVoteResponse", 2, false],
      ["preVoteResponse", 2, false],
    ]);
    expect(ready.hardState).toBeUndefined();
  });

  it("a grant of a pre-vote for another term is not counted", () => {
    const node = startWith(createNode(1, [1, 2, 3], { preVote: true }), [], 3);
    node.node.campaign();
    node.node.step(message({ type: "preVoteResponse", from: 2, to: 1, term: 9, reject: false }));
    expect(node.node.status()).toMatchObject({ role: "preCandidate", hardState: { term: 3 } });
    node.node.step(message({ type: "preVoteResponse", from: 2, to: 1, term: 4, reject: false }));
    expect(node.node.status()).toMatchObject({ role: "candidate", hardState: { term: 4 } });
  });
});

describe("6 cluster membership changes", () => {
  const change = (text: string): ConfChangeV2 => {
    const changes = text.split(" ").map((word): ConfChangeSingle => {
      const type = word.startsWith("+") ? "addNode" : "removeNode";
      return { type, nodeId: Number(word.slice(1)) };
    });
    return { transition: "auto", changes, context: new Uint8Array(0) };
  };
  /** A leader of 1, 2, 3 in term 1, whose first entry everybody holds. */
  const leading = (): TestNode => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    elect(node);
    accept(node, 2, 1);
    accept(node, 3, 1);
    settle(node);
    return node;
  };
  const accept = (node: TestNode, from: number, index: number): void =>
    node.node.step(message({ type: "appendResponse", from, to: 1, term: 1, reject: false, index }));
  const settle = (node: TestNode): Message[] => {
    const messages = drain(node);
    node.advance();
    return [...messages, ...drain(node)];
  };

  it("a change travels as an entry of the log, and majorities are those of before until it is applied", () => {
    const node = leading();
    expect(node.node.proposeConfChange(change("+4"))).toMatchObject({ ok: true, index: 2 });
    expect(only(settle(node), "append").map((m) => m.to)).toEqual([2, 3]);
    expect(node.node.confState.voters).toEqual([1, 2, 3]);
    accept(node, 2, 2);
    expect(only(settle(node), "append").map((m) => m.to)).toContain(4);
    expect(node.node.confState.voters).toEqual([1, 2, 3, 4]);
    node.node.propose(new Uint8Array(1));
    settle(node);
    accept(node, 2, 3);
    expect(node.node.commit).toBe(2);
    accept(node, 4, 3);
    expect(node.node.commit).toBe(3);
  });

  it("while it is joint, both halves have to agree, and the leader leaves it by itself", () => {
    const node = leading();
    node.node.proposeConfChange(change("+4 +5 -2 -3"));
    settle(node);
    accept(node, 2, 2);
    settle(node);
    expect(node.node.confState).toMatchObject({ voters: [1, 4, 5], votersOutgoing: [1, 2, 3] });
    expect(node.node.lastIndex).toBe(3);
    accept(node, 4, 3);
    accept(node, 5, 3);
    expect(node.node.commit).toBe(2);
    accept(node, 3, 3);
    settle(node);
    expect(node.node.confState).toMatchObject({ voters: [1, 4, 5], votersOutgoing: [] });
  });

  it("dissertation 4.1: the next change waits until the one before is done", () => {
    const node = leading();
    node.node.proposeConfChange(change("+4"));
    expect(node.node.proposeConfChange(change("+5"))).toMatchObject({
      ok: false,
      reason: "conf-change-pending",
    });
    settle(node);
    accept(node, 2, 2);
    settle(node);
    expect(node.node.proposeConfChange(change("+5")).ok).toBe(true);
  });

  it("dissertation 4.2.1: a new server catches up without a vote before it becomes a voter", () => {
    const node = leading();
    const learner = { type: "addLearnerNode", nodeId: 4 } as const;
    node.node.proposeConfChange({ ...change("+4"), changes: [learner] });
    settle(node);
    accept(node, 2, 2);
    settle(node);
    node.node.propose(new Uint8Array(1));
    settle(node);
    accept(node, 4, 3);
    expect(node.node.commit).toBe(2);
    expect(node.node.status().progress[3]).toMatchObject({ id: 4, match: 3, isLearner: true });
    accept(node, 2, 3);
    settle(node);
    node.node.proposeConfChange(change("+4"));
    settle(node);
    accept(node, 2, 4);
    settle(node);
    expect(node.node.status().progress[3]).toMatchObject({ id: 4, match: 3, isLearner: false });
  });

  it("dissertation 4.2.2: a leader that is removed leads until that is committed and then steps down", () => {
    const node = leading();
    node.node.proposeConfChange(change("-1"));
    settle(node);
    expect(node.node.role).toBe("leader");
    accept(node, 3, 2);
    settle(node);
    expect(node.node.status()).toMatchObject({ role: "follower", leader: 0 });
    for (let i = 0; i < 100; i++) node.node.tick();
    expect(node.node.role).toBe("follower");
  });

  it("dissertation 4.2.3: a server that is not in the configuration still votes, as it may be needed", () => {
    const node = startWith(createNode(4, [1, 2, 3]), [1]);
    node.node.step(message({ type: "vote", from: 1, to: 4, term: 2, lastIndex: 1, lastTerm: 1 }));
    expect(only(drain(node), "voteResponse").map((m) => m.reject)).toEqual([false]);
  });

  it("votes of servers that are not in the configuration are not counted", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.campaign();
    drain(node);
    for (const from of [4, 5]) {
      node.node.step(message({ type: "voteResponse", from, to: 1, term: 1, reject: false }));
    }
    expect(node.node.role).toBe("candidate");
  });
});

describe("7 log compaction, figure 13", () => {
  const snapshot = (index: number, term: number, sender: number): Message => {
    const meta = { index, term, confState: simpleConf([1, 2, 3]) };
    return message({ type: "snapshot", from: 2, to: 1, term: sender, meta });
  };

  it("1: a snapshot of a stale term is refused with the current one", () => {
    const node = startWith(createNode(1, [1, 2, 3], { checkQuorum: true }), [1], 5);
    node.node.step(snapshot(9, 3, 4));
    expect(drain(node).map((m) => [m.type, m.term])).toEqual([["appendResponse", 5]]);
    expect(node.node.lastIndex).toBe(1);
  });

  it("6: entries after the snapshot's last one are retained where that one is in the log", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1, 2, 2, 2], 2);
    node.node.step(snapshot(3, 2, 2));
    drain(node);
    expect(places(node)).toEqual(["1/1", "2/2", "3/2", "4/2"]);
    expect(node.applied.map((e) => e.index)).toEqual([1, 2, 3]);
  });

  it("7, 8: otherwise the entire log is discarded, and the snapshot's configuration is taken", () => {
    const node = startWith(createNode(1, [1, 2]), [1, 1, 1, 1, 1], 2);
    node.node.step(snapshot(3, 2, 2));
    drain(node);
    expect(places(node)).toEqual([]);
    expect(node.node.status()).toMatchObject({
      firstIndex: 4,
      lastIndex: 3,
      lastTerm: 2,
      hardState: { commit: 3 },
      confState: { voters: [1, 2, 3] },
    });
  });

  it("a snapshot that describes a prefix of what is committed here changes nothing", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1, 1, 1], 2, 0, 3);
    node.node.step(snapshot(2, 1, 2));
    const answers = only(drain(node), "appendResponse");
    expect(answers.map((m) => [m.reject, m.index])).toEqual([[false, 3]]);
    expect(places(node)).toEqual(["1/1", "2/1", "3/1"]);
  });
});

describe("8 client interaction", () => {
  const leading = (): TestNode => {
    const node = startWith(createNode(1, [1, 2, 3], { checkQuorum: true }), [1], 1, 0, 1);
    elect(node);
    return node;
  };
  const accept = (node: TestNode, index: number): void =>
    node.node.step(
      message({ type: "appendResponse", from: 2, to: 1, term: 2, reject: false, index }),
    );

  it("who does not lead refuses a request, and names the leader that it heard of last", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    expect(node.node.propose(new Uint8Array(1))).toMatchObject({ reason: "no-leader", leader: 0 });
    node.node.step(append(2, 1, 1));
    node.node.step(append(3, 1, 4));
    expect(node.node.propose(new Uint8Array(1))).toMatchObject({ reason: "not-leader", leader: 3 });
    expect(drain(node).map(({ type }) => type)).toEqual(["appendResponse", "appendResponse"]);
    expect(node.node.lastIndex).toBe(0);
  });

  it("a leader begins its term with an entry that says nothing, and learns by it what is committed", () => {
    const node = leading();
    expect(node.view().at(-1)).toMatchObject({ index: 2, term: 2, type: EntryType.empty });
    expect([node.node.commit, node.node.leadsForSure]).toEqual([1, false]);
    accept(node, 2);
    expect([node.node.commit, node.node.leadsForSure]).toEqual([2, true]);
  });

  it("a leader reads only after a majority has answered a heartbeat that is no older than the read", () => {
    const node = leading();
    const answer = (round: number): void =>
      node.node.step(message({ type: "heartbeatResponse", from: 2, to: 1, term: 2, round }));
    node.node.readIndex(7);
    // Its first entry is not committed: it does not know up to where to read.
    expect(only(drain(node), "heartbeat")).toEqual([]);
    accept(node, 2);
    const [asked] = only(drain(node), "heartbeat").filter(({ to }) => to === 2);
    expect(asked?.round).toBeGreaterThan(0);
    answer(0);
    expect(node.node.ready().readStates).toEqual([]);
    answer(asked?.round ?? 0);
    expect(node.node.ready().readStates).toEqual([{ context: 7, index: 2 }]);
  });

  it("a leader that was deposed in the meantime answers no read", () => {
    const node = leading();
    accept(node, 2);
    node.node.readIndex(7);
    const [asked] = only(drain(node), "heartbeat");
    node.node.step(append(3, 1, 3));
    const round = asked?.round ?? 0;
    node.node.step(message({ type: "heartbeatResponse", from: 2, to: 1, term: 2, round }));
    node.node.step(message({ type: "heartbeatResponse", from: 2, to: 1, term: 3, round }));
    drain(node);
    expect(node.node.role).toBe("follower");
    expect(node.node.ready().readStates).toEqual([]);
  });
});

describe("dissertation 3.10: leadership transfer extension", () => {
  const leading = (): TestNode => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    elect(node);
    return node;
  };
  const accept = (node: TestNode, from: number, index: number): void =>
    node.node.step(message({ type: "appendResponse", from, to: 1, term: 1, reject: false, index }));

  it("the prior leader takes no requests, brings the target up to date, and tells it to campaign", () => {
    const node = leading();
    accept(node, 2, 1);
    drain(node);
    node.node.propose(new Uint8Array(1));
    expect(node.node.transferLeader(2)).toBe("started");
    expect(node.node.propose(new Uint8Array(1))).toMatchObject({ reason: "transferring" });
    expect(only(drain(node), "timeoutNow")).toEqual([]);
    accept(node, 2, 2);
    expect(only(drain(node), "timeoutNow").map((m) => m.to)).toEqual([2]);
  });

  it("it resumes after an election timeout without a new leader", () => {
    const node = leading();
    // A timeout of its own, however long the leader has led.
    for (let i = 0; i < 5; i++) node.node.tick();
    node.node.transferLeader(2);
    for (let i = 0; i < 9; i++) node.node.tick();
    expect(node.node.propose(new Uint8Array(1)).ok).toBe(false);
    node.node.tick();
    expect(node.node.propose(new Uint8Array(1)).ok).toBe(true);
  });

  it("the target begins an election at once, without a rehearsal", () => {
    const node = startWith(createNode(1, [1, 2, 3], { preVote: true, checkQuorum: true }), [1]);
    node.node.step(append(2, 1, 1, { prevIndex: 1, prevTerm: 1 }));
    drain(node);
    node.node.step(message({ type: "timeoutNow", from: 2, to: 1, term: 1 }));
    expect(node.node.status()).toMatchObject({
      role: "candidate",
      hardState: { term: 2, vote: 1 },
    });
    expect(only(drain(node), "vote").map((m) => m.isTransfer)).toEqual([true, true]);
  });

  it("4.2.3: an election that the leader asked for is not taken for a disruption", () => {
    const node = startWith(createNode(1, [1, 2, 3], { preVote: true, checkQuorum: true }), [1]);
    node.node.step(append(2, 1, 1, { prevIndex: 1, prevTerm: 1 }));
    drain(node);
    const vote = { type: "vote", from: 3, to: 1, term: 2, lastIndex: 1, lastTerm: 1 } as const;
    node.node.step(message(vote));
    expect(drain(node)).toEqual([]);
    node.node.step(message({ ...vote, isTransfer: true }));
    expect(only(drain(node), "voteResponse").map((m) => m.reject)).toEqual([false]);
  });
});

it("the same inputs give the same outputs", () => {
  const transcript = (): string => {
    const out: string[] = [];
    const node = startWith(createNode(1, [1, 2, 3], { preVote: true, checkQuorum: true }), [1, 2]);
    for (let i = 0; i < 60; i++) {
      node.node.tick();
      if (i % 17 === 0) node.node.step(append(2, 1, 2 + i, { prevIndex: 2, prevTerm: 2 }));
      out.push(...drain(node).map((m) => JSON.stringify(m)));
    }
    return out.join("\n");
  };
  expect(transcript()).toBe(transcript());
});
