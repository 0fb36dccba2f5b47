import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import {
  type ConfChangeV2,
  EMPTY_HARD_STATE,
  encodeConfChange,
  EntryType,
  type Message,
  MemoryStorage,
  RawNode,
  type SnapshotMeta,
} from "./index.ts";
import { append, createNode, drain, elect, entriesOf, message, startWith } from "./testing/pair.ts";
import { DEFAULT_OPTIONS, simpleConf, type TestNode } from "./testing/test-node.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

describe("the contract of a Ready", () => {
  it("numbers grow by one, and there is no Ready without something in it", () => {
    const node = startWith(createNode(1, [1]), []);
    expect(node.node.hasReady()).toBe(false);
    node.node.campaign();
    const numbers: number[] = [];
    for (let i = 0; i < 20 && node.node.hasReady(); i++) {
      const ready = node.takeReady();
      numbers.push(ready.number);
      const something =
        ready.softState !== undefined ||
        ready.hardState !== undefined ||
        ready.entries.length + ready.messages.length + ready.messagesAfterPersist.length > 0 ||
        ready.committedEntries.length + ready.readStates.length > 0;
      expect(something).toBe(true);
      node.persist(1);
    }
    expect(numbers).toEqual(numbers.map((_, i) => i + 1));
    expect(node.applied).toHaveLength(1);
  });

  it("must be synced when it has entries or a new term or vote, and not for a commit", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    node.node.step(append(2, 1, 1));
    expect(node.takeReady().mustSync).toBe(true);
    node.node.step(append(2, 1, 1, { entries: entriesOf([1]) }));
    expect(node.takeReady().mustSync).toBe(true);
    node.node.step(append(2, 1, 1, { prevIndex: 1, prevTerm: 1, commit: 1 }));
    const commitOnly = node.takeReady();
    expect(commitOnly.hardState).toEqual({ term: 1, vote: 0, commit: 1 });
    expect(commitOnly.mustSync).toBe(false);
    node.node.step(message({ type: "vote", from: 2, to: 1, term: 1, lastIndex: 1, lastTerm: 0 }));
    expect(node.takeReady().mustSync).toBe(false);
  });

  it("carries the entries that earlier Readys have not, once", () => {
    const node = startWith(createNode(1, [1]), []);
    elect(node);
    node.node.propose(new Uint8Array([1]));
    node.node.propose(new Uint8Array([2]));
    expect(node.takeReady().entries.map((e) => e.index)).toEqual([2, 3]);
    node.node.propose(new Uint8Array([3]));
    expect(node.takeReady().entries.map((e) => e.index)).toEqual([4]);
    expect(node.node.hasReady()).toBe(false);
  });

  it("persisting a later Ready persists the earlier ones, and one that is persisted stays so", () => {
    const node = startWith(createNode(1, [1]), []);
    elect(node);
    for (const byte of [1, 2, 3]) {
      node.node.propose(new Uint8Array([byte]));
      node.takeReady();
    }
    const last = node.inFlight.at(-1)?.number ?? 0;
    node.persist(3);
    node.node.persisted(last);
    expect(node.node.status().stableIndex).toBe(4);
    expect(() => node.node.persisted(last - 1)).toThrow("stays durable");
    expect(() => node.node.persisted(last + 9)).toThrow("handed out");
  });

  it("data is taken by reference, and the same object comes back for applying", () => {
    const node = startWith(createNode(1, [1]), []);
    elect(node);
    const data = new Uint8Array([1, 2, 3]);
    node.node.propose(data);
    drain(node);
    expect(node.applied.at(-1)?.data).toBe(data);
  });

  it("a proposal names the place that it will have if it is committed", () => {
    const node = startWith(createNode(1, [1]), [1, 1]);
    elect(node);
    expect(node.node.propose(new Uint8Array(1))).toEqual({ ok: true, index: 4, term: 2 });
    drain(node);
    expect(node.applied[3]).toMatchObject({ index: 4, term: 2, type: EntryType.normal });
  });

  it("what was not committed in a reign before takes no room in the next", () => {
    const node = startWith(createNode(1, [1, 2, 3], { maxUncommittedBytes: 60 }), []);
    elect(node);
    expect(node.node.propose(new Uint8Array(50)).ok).toBe(true);
    expect(node.node.propose(new Uint8Array(50))).toMatchObject({ reason: "uncommitted-full" });
    drain(node);
    node.node.step(append(2, 1, 4));
    elect(node);
    expect(node.node.status()).toMatchObject({ role: "leader", uncommittedBytes: 0 });
    expect(node.node.propose(new Uint8Array(50)).ok).toBe(true);
    drain(node);
    // Committing both takes back what was taken for this one.
    node.node.step(
      message({ type: "appendResponse", from: 2, to: 1, term: 5, reject: false, index: 4 }),
    );
    drain(node);
    expect(node.node.status()).toMatchObject({ uncommittedBytes: 0, hardState: { commit: 4 } });
  });

  it("a follower names the leader to whom a proposal belongs", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    expect(node.node.propose(new Uint8Array(1))).toEqual({
      ok: false,
      reason: "no-leader",
      leader: 0,
    });
    node.node.step(append(2, 1, 1));
    expect(node.node.propose(new Uint8Array(1))).toEqual({
      ok: false,
      reason: "not-leader",
      leader: 2,
    });
  });
});

it("a replica in quarantine tells a leader who is behind that its term is over, and answers nobody else", () => {
  const node = startWith(createNode(1, [1, 2, 3], { preVote: true, checkQuorum: true }), [1], 5);
  node.node.quarantine();
  node.node.step(append(2, 1, 4));
  node.node.step(message({ type: "heartbeat", from: 2, to: 1, term: 4, commit: 0, round: 0 }));
  const answer = { type: "appendResponse", to: 2, term: 5, reject: true, index: 0, hintIndex: 0 };
  expect(drain(node)).toEqual([
    expect.objectContaining(answer) as object,
    expect.objectContaining(answer) as object,
  ]);
  for (const type of ["vote", "preVote"] as const)
    node.node.step(message({ type, from: 2, to: 1, term: 4, lastIndex: 9, lastTerm: 4 }));
  expect(drain(node)).toEqual([]);
});

it("a replica in quarantine whose term is later than the leader's hears the next one", () => {
  const sick = startWith(createNode(3, [1, 2, 3], { preVote: true, checkQuorum: true }), [1], 12);
  sick.node.quarantine();
  const leader = startWith(createNode(2, [1, 2, 3], { preVote: true, checkQuorum: true }), [1], 11);
  for (const one of [message({ type: "heartbeat", from: 2, to: 3, term: 11, commit: 0, round: 0 })])
    sick.node.step(one);
  for (const one of drain(sick)) leader.node.step(one as Message);
  expect(leader.node.term).toBe(12);
});

it("a replica in quarantine takes a snapshot also where its log reaches it", () => {
  const meta = { index: 3, term: 1, confState: simpleConf([1, 2, 3]) };
  const node = startWith(createNode(1, [1, 2, 3]), [1, 1, 1], 1, 0, 1);
  node.node.quarantine();
  expect(node.node.restore(meta)).toBe("restored");
  expect(node.node.ready().snapshot).toEqual(meta);
  const other = startWith(createNode(1, [1, 2, 3]), [1, 1, 1], 1, 0, 1);
  expect(other.node.restore(meta)).toBe("held");
  expect(other.node.ready().snapshot).toBeUndefined();
});

it("a snapshot of a later term takes its replica into that term, in which it has not voted", () => {
  const meta = { index: 5, term: 9, confState: simpleConf([1, 2, 3]) };
  for (const isSick of [false, true]) {
    const { node } = startWith(createNode(1, [1, 2, 3]), [1], 1, 1, 1);
    if (isSick) node.quarantine();
    expect(node.restore(meta)).toBe("restored");
    expect(node.ready().hardState).toEqual({ term: 9, vote: 0, commit: 5 });
  }
});

it("who hears while it campaigns that a change of the configuration is committed campaigns no more", () => {
  const data = encodeConfChange({
    transition: "auto",
    changes: [{ type: "addNode", nodeId: 4 }],
    context: new Uint8Array(0),
  });
  const change = { index: 2, term: 1, type: EntryType.confChange, data };
  const hears: ((node: TestNode) => void)[] = [
    ({ node }) => node.restore({ index: 2, term: 1, confState: simpleConf([1, 2, 3, 4]) }),
    ({ node }) => {
      const committed = { index: 2, term: 1 };
      node.step(
        message({ type: "voteResponse", from: 2, to: 1, term: 2, reject: true, committed }),
      );
    },
  ];
  for (const hear of hears) {
    const node = startWith(createNode(1, [1, 2, 3]), [1], 1, 0, 1);
    node.node.step(append(2, 1, 1, { prevIndex: 1, prevTerm: 1, entries: [change], commit: 1 }));
    drain(node);
    node.node.campaign();
    drain(node);
    expect(node.node.role).toBe("candidate");
    hear(node);
    expect([node.node.role, node.node.commit]).toEqual(["follower", 2]);
    drain(node);
    expect(node.node.confState).toEqual(simpleConf([1, 2, 3, 4]));
  }
});

describe("the start of a replica", () => {
  it("stops on a configuration that cannot work", () => {
    const config = {
      ...DEFAULT_OPTIONS,
      group: 1,
      id: 1,
      incarnation: 1,
      storage: new MemoryStorage(),
      hardState: EMPTY_HARD_STATE,
      confState: simpleConf([1]),
      appliedIndex: 0,
      heartbeatTicks: 1,
      seed: 1,
    };
    expect(() => new RawNode(config)).not.toThrow();
    expect(() => new RawNode({ ...config, id: 0 })).toThrow("at least 1");
    expect(() => new RawNode({ ...config, electionTicks: 1 })).toThrow("longer than a heartbeat");
    expect(() => new RawNode({ ...config, heartbeatTicks: 0 })).toThrow("heartbeatTicks");
    expect(() => new RawNode({ ...config, maxInflightMessages: 0 })).toThrow("on its way");
    expect(() => new RawNode({ ...config, confState: simpleConf([1, 0]) })).toThrow("member");
    expect(() => new RawNode({ ...config, appliedIndex: 3 })).toThrow("committed up to 3");
  });

  it("a log of a later term than the HardState is joined in that term, without a vote", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1, 5], 3, 2);
    expect(node.node.status().hardState).toEqual({ term: 5, vote: 0, commit: 0 });
    expect(node.takeReady()).toMatchObject({ hardState: { term: 5, vote: 0 }, mustSync: true });
  });

  it("a replica that is no voter never campaigns", () => {
    const node = startWith(createNode(9, [1, 2, 3]), []);
    node.node.campaign();
    for (let i = 0; i < 100; i++) node.node.tick();
    expect(node.node.hasReady()).toBe(false);
  });

  it("two lives of one replica never ask with the same ticket", () => {
    const tickets = [1, 2].map((seed) => {
      const node = startWith(createNode(1, [1, 2, 3], { seed }), []);
      node.node.step(append(2, 1, 1));
      node.node.readIndex(7);
      const asked = drain(node).find((m) => m.type === "readIndex");
      return asked?.type === "readIndex" ? asked.ticket : 0;
    });
    expect(tickets[0]).not.toBe(tickets[1]);
  });
});

describe("a joint configuration", () => {
  const confState = { ...simpleConf([1, 2, 3]), votersOutgoing: [1, 4, 5] };

  it("elects and commits with a majority of each half only", () => {
    const node = startWith(createNode(1, [], { confState }), []);
    node.node.campaign();
    drain(node);
    const grant = (from: number): void =>
      node.node.step(message({ type: "voteResponse", from, to: 1, term: 1, reject: false }));
    grant(2);
    grant(3);
    expect(node.node.role).toBe("candidate");
    grant(4);
    expect(node.node.role).toBe("leader");
    drain(node);
    const accept = (from: number): void =>
      node.node.step(
        message({ type: "appendResponse", from, to: 1, term: 1, reject: false, index: 1 }),
      );
    accept(4);
    accept(5);
    expect(node.node.commit).toBe(0);
    accept(2);
    expect(node.node.commit).toBe(1);
  });

  it("answers reads with a round that a majority of each half has answered", () => {
    const node = startWith(createNode(1, [], { confState }), []);
    electJoint(node);
    node.node.readIndex(5);
    drain(node);
    const answer = (from: number): void =>
      node.node.step(message({ type: "heartbeatResponse", from, to: 1, term: 1, round: 1 }));
    answer(2);
    answer(3);
    expect(node.takeReady().readStates).toEqual([]);
    answer(5);
    expect(node.takeReady().readStates).toEqual([{ context: 5, index: 1 }]);
  });
});

describe("snapshots in the contract of a Ready", () => {
  const meta = { index: 5, term: 2, confState: simpleConf([1, 2, 3]) };
  const restored = (): ReturnType<typeof createNode> => {
    const node = startWith(createNode(1, [1, 2, 3]), [1]);
    node.node.step(message({ type: "snapshot", from: 2, to: 1, term: 2, meta }));
    return node;
  };

  it("a snapshot is handed out once, with a HardState that commits it, and must be synced", () => {
    const node = restored();
    const ready = node.takeReady();
    expect(ready).toMatchObject({ snapshot: meta, hardState: { commit: 5 }, mustSync: true });
    expect(ready.messages).toEqual([]);
    expect(ready.messagesAfterPersist).toMatchObject([{ type: "appendResponse", index: 5 }]);
    node.node.step(append(2, 1, 2, { prevIndex: 5, prevTerm: 2, entries: entriesOf([2], 6) }));
    expect(node.takeReady().snapshot).toBeUndefined();
  });

  it("entries after a snapshot are applied only when it is durable, and then from its index on", () => {
    const node = restored();
    const next = { prevIndex: 5, prevTerm: 2, entries: entriesOf([2], 6), commit: 6 };
    node.node.step(append(2, 1, 2, next));
    const first = node.takeReady();
    expect([first.snapshot, first.entries.length]).toEqual([meta, 1]);
    expect(first.committedEntries).toEqual([]);
    expect(() => node.node.advance(5)).toThrow("durable before it is applied");
    node.persist(1);
    node.advance();
    expect(node.takeReady().committedEntries.map(({ index }) => index)).toEqual([6]);
  });

  it("nobody campaigns who has not saved the snapshot that its log begins after", () => {
    const node = restored();
    node.node.campaign();
    expect(node.node.role).toBe("follower");
    drain(node);
    node.node.campaign();
    expect(node.node.role).toBe("candidate");
  });

  it("what was handed out before a snapshot is forgotten, configuration changes too", () => {
    const node = startWith(createNode(1, [1, 2, 3]), [1]);
    const data = encodeConfChange({
      transition: "auto",
      changes: [{ type: "addNode", nodeId: 4 }],
      context: new Uint8Array(0),
    });
    const change = { index: 2, term: 1, type: EntryType.confChange, data };
    const next = { prevIndex: 1, prevTerm: 1, entries: [change], commit: 2 };
    node.node.step(append(2, 1, 1, next));
    node.takeReady();
    node.persist(1);
    // Handed out, and the host has not come to it yet.
    expect(node.node.ready().committedEntries).toEqual([change]);
    node.node.step(message({ type: "snapshot", from: 2, to: 1, term: 2, meta }));
    const ready = node.node.ready();
    node.disk.restore(meta);
    node.node.persisted(ready.number);
    node.node.advance(5);
    expect(node.node.confState).toEqual(meta.confState);
  });

  it("a leader offers none that was taken before the member joined or that its log does not reach", () => {
    const config = (latest: SnapshotMeta): Message[] => {
      const storage = new MemoryStorage(4, 1);
      const node = new RawNode({
        ...DEFAULT_OPTIONS,
        preVote: false,
        group: 1,
        id: 1,
        incarnation: 1,
        storage,
        hardState: { term: 1, vote: 1, commit: 4 },
        confState: simpleConf([1, 2]),
        appliedIndex: 4,
        heartbeatTicks: 1,
        seed: 1,
        latestSnapshot: () => latest,
      });
      node.campaign();
      node.persisted(node.ready().number);
      node.step(message({ type: "voteResponse", from: 2, to: 1, term: 2, reject: false }));
      node.ready();
      const refusal = { type: "appendResponse", from: 2, to: 1, term: 2, reject: true } as const;
      node.step(message({ ...refusal, index: 4, hintIndex: 0, hintTerm: 0 }));
      return node.ready().messages.filter(({ type }) => type === "snapshot");
    };
    expect(config({ index: 4, term: 1, confState: simpleConf([1]) })).toEqual([]);
    expect(config({ index: 4, term: 1, confState: simpleConf([1, 2]) })).toHaveLength(1);
    expect(config({ index: 3, term: 1, confState: simpleConf([1, 2]) })).toEqual([]);
    expect(() => config({ index: 5, term: 2, confState: simpleConf([1, 2]) })).toThrow(
      "committed here",
    );
  });
});

describe("configuration changes in the contract of a Ready", () => {
  const addNode = (nodeId: number): ConfChangeV2 => ({
    transition: "auto",
    changes: [{ type: "addNode", nodeId }],
    context: new Uint8Array(40),
  });
  const leader = (): ReturnType<typeof createNode> => {
    const node = startWith(createNode(1, [1], { maxUncommittedBytes: 60 }), []);
    elect(node);
    return node;
  };

  it("each is applied or refused, once and in order, before anything after it counts as applied", () => {
    const { node, disk } = leader();
    node.proposeConfChange(addNode(2));
    const first = node.ready();
    disk.append(first.entries);
    node.persisted(first.number);
    const [entry] = node.ready().committedEntries;
    if (entry === undefined) throw new Error("it is committed");
    expect(() => node.advance(2)).toThrow("applied or refused");
    expect(() => node.applyConfChange({ ...entry, index: 3 })).toThrow("in their order");
    expect(node.applyConfChange(entry)).toEqual({ ok: true, confState: simpleConf([1, 2]) });
    expect(() => node.applyConfChange(entry)).toThrow("each once");
    node.advance(2);
    expect(node.confState).toEqual(simpleConf([1, 2]));
  });

  it("bytes that are no change change nothing, and whoever applies them is told", () => {
    const node = startWith(createNode(1, [1, 2, 3]), []);
    const entry = { index: 1, term: 1, type: EntryType.confChange, data: new Uint8Array([1]) };
    node.node.step(append(2, 1, 1, { entries: [entry], commit: 1 }));
    const first = node.node.ready();
    node.disk.append(first.entries);
    node.node.persisted(first.number);
    node.node.ready();
    expect(node.node.applyConfChange(entry)).toEqual({ ok: false, error: "malformed" });
    expect(node.node.confState).toEqual(simpleConf([1, 2, 3]));
  });

  it("a change takes room of what is not committed, and gives it back", () => {
    const node = leader();
    expect(node.node.propose(new Uint8Array(10)).ok).toBe(true);
    expect(node.node.proposeConfChange(addNode(2))).toMatchObject({ reason: "uncommitted-full" });
    drain(node);
    expect(node.node.status().uncommittedBytes).toBe(0);
    expect(node.node.proposeConfChange(addNode(2)).ok).toBe(true);
    expect(node.node.propose(new Uint8Array(10))).toMatchObject({ reason: "uncommitted-full" });
    drain(node);
    expect(node.node.status().uncommittedBytes).toBe(0);
  });

  it("a joint configuration is left also where nothing else has room", () => {
    const node = startWith(createNode(1, [1, 2], { maxUncommittedBytes: 60 }), []);
    elect(node);
    const accept = (index: number): void =>
      node.node.step(
        message({ type: "appendResponse", from: 2, to: 1, term: 1, reject: false, index }),
      );
    accept(1);
    drain(node);
    node.advance();
    node.node.proposeConfChange({ ...addNode(3), transition: "jointImplicit" });
    drain(node);
    accept(2);
    // Applied here, and the host has not said so yet.
    node.takeReady();
    node.persist(1);
    expect(node.node.propose(new Uint8Array(1000)).ok).toBe(true);
    expect(node.node.propose(new Uint8Array(1))).toMatchObject({ reason: "uncommitted-full" });
    node.advance();
    expect(node.node.status()).toMatchObject({ lastIndex: 4, confState: { autoLeave: true } });
    for (const index of [3, 4]) accept(index);
    node.node.step(
      message({ type: "appendResponse", from: 3, to: 1, term: 1, reject: false, index: 4 }),
    );
    drain(node);
    expect(node.node.confState).toEqual(simpleConf([1, 2, 3]));
  });

  it("a leader that becomes the only voter commits and answers what waited for the others", () => {
    const node = startWith(createNode(1, [1, 2]), []);
    elect(node);
    const accept = (index: number): void => {
      const header = { type: "appendResponse", from: 2, to: 1, term: 1, reject: false } as const;
      node.node.step(message({ ...header, index }));
    };
    accept(1);
    drain(node);
    node.node.proposeConfChange({ ...addNode(2), changes: [{ type: "removeNode", nodeId: 2 }] });
    drain(node);
    node.node.propose(new Uint8Array(1));
    node.node.readIndex(77);
    drain(node);
    accept(2);
    const states = [node.takeReady(), node.takeReady()].flatMap(({ readStates }) => readStates);
    expect(states).toEqual([{ context: 77, index: 1 }]);
    drain(node);
    node.advance();
    expect(node.node.status()).toMatchObject({ confState: { voters: [1] }, appliedIndex: 3 });
  });
});

function electJoint(node: ReturnType<typeof createNode>): void {
  node.node.campaign();
  drain(node);
  for (const from of [2, 4]) {
    node.node.step(message({ type: "voteResponse", from, to: 1, term: 1, reject: false }));
  }
  drain(node);
  for (const from of [2, 4]) {
    node.node.step(
      message({ type: "appendResponse", from, to: 1, term: 1, reject: false, index: 1 }),
    );
  }
  drain(node);
}
