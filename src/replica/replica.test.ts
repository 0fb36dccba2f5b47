import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AssertionError, HarmonyError, setVerifying, utf8 } from "../base/index.ts";
import {
  type ConfChangeSingle,
  MemoryStorage,
  type Message,
  MESSAGE_VERSION,
  RawNode,
} from "../raft/index.ts";
import type { SnapshotRecord } from "../wal/index.ts";
import { encodeBatch } from "./batch.ts";
import { GroupClock } from "./group-clock.ts";
import { Replica } from "./replica.ts";
import type { StateMachine } from "./state-machine.ts";
import { Lab, ListMachine } from "./testing/lab.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const clock = { monotonicMs: (): number => 0, wallMs: (): number => 1_700_000_000_000 };
const HEADER = { group: 0, incarnation: 1, version: MESSAGE_VERSION, to: 1 } as const;

/** Member 1 of three, with the others played by the test and the disk by `settle`. */
function member() {
  const storage = new MemoryStorage();
  const rawNode = new RawNode({
    group: 0,
    id: 1,
    incarnation: 1,
    storage,
    hardState: { term: 0, vote: 0, commit: 0 },
    confState: {
      voters: [1, 2, 3],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    },
    appliedIndex: 0,
    electionTicks: 10,
    heartbeatTicks: 1,
    seed: 1,
    maxEntriesBytesPerMessage: 4096,
    maxInflightMessages: 16,
    maxInflightBytes: 1 << 20,
    maxUncommittedBytes: 1 << 20,
    maxCommittedBytesPerReady: 1 << 20,
    preVote: false,
    checkQuorum: false,
  });
  const machine = new ListMachine(0, () => {});
  const replica = new Replica<string>({
    group: 0,
    rawNode,
    machine,
    clock: new GroupClock(clock, 0),
    hardState: { term: 0, vote: 0, commit: 0 },
    wake: () => {
      wakes++;
    },
  });
  let wakes = 0;
  const sent: Message[] = [];
  const send = (message: Message): void => {
    sent.push(message);
  };
  const answers: string[] = [];
  const note = (word: string) => (error: HarmonyError | null, result?: string) => {
    answers.push(
      `${word}: ${error === null ? (result ?? "ok") : `${error.code} maybe=${error.maybeApplied}`}`,
    );
  };
  return {
    rawNode,
    replica,
    machine,
    storage,
    answers,
    wakes: (): number => wakes,
    propose: (word: string) => replica.propose(utf8(word), false, note(word)),
    read: (name: string) => {
      replica.readBarrier(note(name));
    },
    /** A turn whose append, if there is one, is durable at its end; what was sent. */
    turn(): Message[] {
      replica.packReads();
      replica.pack();
      const append = replica.collect(send);
      if (append !== null) {
        if (append.entries.length > 0) storage.append(append.entries);
        replica.settle(replica.readyWritten, send);
      }
      replica.collect(send);
      replica.apply();
      replica.invariants();
      return sent.splice(0);
    },
    step(message: Omit<Message, "group" | "incarnation" | "version" | "to">): void {
      rawNode.step({ ...HEADER, ...message } as Message);
    },
  };
}

/** Makes it the leader of the next term, with the vote of member 2. */
function elect(one: ReturnType<typeof member>): void {
  one.rawNode.campaign();
  one.turn();
  const { term } = one.rawNode;
  one.step({ type: "voteResponse", from: 2, term, reject: false } as never);
  one.turn();
}

function acknowledge(one: ReturnType<typeof member>, index: number): Message[] {
  const { term } = one.rawNode;
  one.step({ type: "appendResponse", from: 2, term, reject: false, index } as never);
  return one.turn();
}

describe("a replica among others", () => {
  it("asks for votes only when its own is durable", () => {
    const one = member();
    one.rawNode.campaign();
    const before: Message[] = [];
    const append = one.replica.collect((message) => before.push(message));
    expect(append?.hardState).toEqual({ term: 1, vote: 1, commit: 0 });
    expect(before).toEqual([]);
    const after: Message[] = [];
    one.replica.settle(one.replica.readyWritten, (message) => after.push(message));
    expect(after.map(({ type, to }) => `${type} ${to}`)).toEqual(["vote 2", "vote 3"]);
  });

  it("answers a command when a quorum has it and it is applied here", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    one.propose("a");
    const types = one.turn().map(({ type }) => type);
    expect(types).toContain("append");
    expect(one.answers).toEqual([]);
    acknowledge(one, 2);
    expect(one.answers).toEqual(["a: a@2"]);
  });

  it("proposes nothing before the first entry of its term is applied", () => {
    const one = member();
    elect(one);
    one.propose("a");
    one.turn();
    expect(one.rawNode.lastIndex).toBe(1);
    const before = one.wakes();
    acknowledge(one, 1);
    expect(one.rawNode.lastIndex).toBe(1);
    expect(one.wakes()).toBe(before + 1);
    one.turn();
    expect(one.rawNode.lastIndex).toBe(2);
  });

  // Found by the cluster world: a leader stamped its first command before it had applied the last ones of the leader
  // before it, whose clock was ahead, and every replica stopped.
  it("never stamps below what an earlier leader left in the log", () => {
    const one = member();
    const early = {
      index: 1,
      term: 1,
      type: 0,
      data: encodeBatch({ clockMs: 2_000_000_000_000, behindMs: 0 }, []),
    };
    one.step({
      type: "append",
      from: 3,
      term: 1,
      prevIndex: 0,
      prevTerm: 0,
      entries: [early],
      commit: 0,
    } as never);
    one.turn();
    elect(one);
    one.propose("a");
    acknowledge(one, 2);
    one.turn();
    acknowledge(one, 3);
    expect(one.answers).toEqual(["a: a@3"]);
    expect(one.machine.clockMs).toBeGreaterThanOrEqual(2_000_000_000_000);
  });

  it("says that a command was not applied when another leader's entry took its place", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    one.propose("lost");
    one.turn();
    const entries = [{ index: 2, term: 2, type: 2, data: new Uint8Array(0) }];
    one.step({
      type: "append",
      from: 3,
      term: 2,
      prevIndex: 1,
      prevTerm: 1,
      entries,
      commit: 2,
    } as never);
    one.turn();
    expect(one.answers).toEqual(["lost: LEADER_CHANGED maybe=false"]);
  });

  it("does not know what became of a command whose index it fills again itself", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    one.propose("first");
    one.propose("second");
    one.turn();
    one.propose("third");
    one.turn();
    expect(one.rawNode.lastIndex).toBe(3);
    // A leader of term 2 cuts the log back to index 1 and is gone before it commits anything.
    const entries = [{ index: 2, term: 2, type: 2, data: new Uint8Array(0) }];
    one.step({
      type: "append",
      from: 3,
      term: 2,
      prevIndex: 1,
      prevTerm: 1,
      entries,
      commit: 1,
    } as never);
    one.turn();
    expect(one.answers).toEqual([]);
    elect(one);
    acknowledge(one, 3);
    one.propose("fourth");
    one.turn();
    expect(one.rawNode.lastIndex).toBe(4);
    expect(one.answers).toEqual([
      "first: LEADER_CHANGED maybe=false",
      "second: LEADER_CHANGED maybe=false",
      "third: LEADER_CHANGED maybe=false",
    ]);
  });

  it("leaves nobody waiting when it proposes at an index where it proposed before", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    one.turn();
    for (const word of ["a2", "b3", "c4"]) {
      one.propose(word);
      one.turn();
    }
    const entries = [{ index: 2, term: 2, type: 2, data: new Uint8Array(0) }];
    one.step({
      type: "append",
      from: 3,
      term: 2,
      prevIndex: 1,
      prevTerm: 1,
      entries,
      commit: 1,
    } as never);
    one.turn();
    elect(one);
    // Its first entry (3) is committed together with 2; in the turn after, 4 is proposed where c4 was.
    one.propose("d4");
    const { term } = one.rawNode;
    one.step({ type: "appendResponse", from: 2, term, reject: false, index: 3 } as never);
    one.turn();
    one.turn();
    expect(one.answers).toEqual([
      "a2: LEADER_CHANGED maybe=false",
      "b3: LEADER_CHANGED maybe=false",
      "c4: LEADER_CHANGED maybe=true",
    ]);
    acknowledge(one, 4);
    expect(one.answers.at(-1)).toBe("d4: d4@4");
  });

  it("answers an append that brings nothing new at once, since there is nothing to wait for", () => {
    const one = member();
    const append = { type: "append", from: 2, term: 1, prevIndex: 0, prevTerm: 0, commit: 0 };
    one.step({ ...append, entries: [] } as never);
    expect(one.turn().map(({ type }) => type)).toEqual(["appendResponse"]);
    one.step({ ...append, entries: [] } as never);
    expect(one.turn().map(({ type }) => type)).toEqual(["appendResponse"]);
  });

  it("holds such an answer back while an earlier append is on its way", () => {
    const one = member();
    const append = { type: "append", from: 2, term: 1, prevIndex: 0, prevTerm: 0, commit: 0 };
    const entries = [{ index: 1, term: 1, type: 2, data: new Uint8Array(0) }];
    one.step({ ...append, entries } as never);
    const sent: string[] = [];
    const send = (message: Message): void => {
      sent.push(message.type);
    };
    const first = one.replica.collect(send);
    expect(first?.entries.length).toBe(1);
    const number = one.replica.readyWritten;
    one.step({ ...append, entries: [] } as never);
    expect(one.replica.collect(send)).toBe(null);
    expect(sent).toEqual([]);
    one.storage.append(first?.entries ?? []);
    one.replica.settle(number, send);
    expect(sent).toEqual(["appendResponse", "appendResponse"]);
  });

  it("has a vote saved that it gives within the term that it already knows, before the answer leaves", () => {
    const one = member();
    one.step({ type: "heartbeat", from: 3, term: 4, commit: 0, round: 0 } as never);
    one.turn();
    // A new leader of term 4 is known; only the candidate of term 5 gets a vote, and of term 5 nobody else.
    const candidate = { type: "vote", from: 2, term: 5, lastIndex: 0, lastTerm: 0 };
    one.step({ type: "appendResponse", from: 3, term: 5, reject: false, index: 0 } as never);
    const known = one.replica.collect(() => {});
    expect(one.replica.takeVoteChange(known?.hardState ?? null)).toEqual({ term: 5, vote: 0 });
    one.replica.settle(one.replica.readyWritten, () => {});
    one.step(candidate as never);
    const sent: string[] = [];
    const send = (message: Message): void => {
      sent.push(message.type);
    };
    const voted = one.replica.collect(send);
    expect(one.replica.takeVoteChange(voted?.hardState ?? null)).toEqual({ term: 5, vote: 2 });
    expect(sent).toEqual([]);
    one.replica.settle(one.replica.readyWritten, send);
    expect(sent).toEqual(["voteResponse"]);
  });

  it("hands over entries that replace earlier ones, and with them the term that they came in", () => {
    const one = member();
    const entry = (index: number, term: number) => ({ index, term, type: 2, data: utf8("") });
    const append = { type: "append", prevTerm: 0, prevIndex: 0, commit: 0 };
    one.step({ ...append, from: 2, term: 1, entries: [entry(1, 1), entry(2, 1)] } as never);
    const first = one.replica.collect(() => {});
    one.step({ ...append, from: 3, term: 2, entries: [entry(1, 2)] } as never);
    const second = one.replica.collect(() => {});
    const places = [first, second].map((one) =>
      one?.entries.map(({ index, term }) => `${index}/${term}`).join(" "),
    );
    expect(places).toEqual(["1/1 2/1", "1/2"]);
    expect(second?.hardState).toEqual({ term: 2, vote: 0, commit: 0 });
    expect(one.replica.takeVoteChange(second?.hardState ?? null)).toEqual({ term: 2, vote: 0 });
    expect(one.replica.takeVoteChange(second?.hardState ?? null)).toBe(null);
  });

  it("asks its leader about a read, and answers when it has applied what the leader had committed", () => {
    const one = member();
    const append = { type: "append", from: 2, term: 1, prevIndex: 0, prevTerm: 0 };
    const entries = [{ index: 1, term: 1, type: 2, data: new Uint8Array(0) }];
    one.step({ ...append, entries, commit: 0 } as never);
    one.turn();
    one.read("r");
    const asked = one.turn();
    expect(asked.map(({ type, to }) => `${type} ${to}`)).toEqual(["readIndex 2"]);
    const { ticket } = asked[0] as { ticket: number } & Message;
    one.step({ type: "readIndexResponse", from: 2, term: 1, ticket, index: 1 } as never);
    one.turn();
    expect(one.answers).toEqual([]);
    one.step({ type: "heartbeat", from: 2, term: 1, commit: 1, round: 0 } as never);
    one.turn();
    expect(one.answers).toEqual(["r: ok"]);
  });

  it("asks again when nothing comes back, and takes a late answer only for who came before the question", () => {
    const one = member();
    one.step({ type: "heartbeat", from: 2, term: 1, commit: 0, round: 0 } as never);
    one.read("r");
    const tickets = (): number[] =>
      one.turn().flatMap((message) => (message.type === "readIndex" ? [message.ticket] : []));
    const first = tickets();
    expect(first.length).toBe(1);
    for (let i = 0; i < 4; i++) one.replica.tick();
    expect(tickets()).toEqual([]);
    one.read("later");
    one.replica.tick();
    const second = tickets();
    expect(second.length).toBe(1);
    const answer = { type: "readIndexResponse", from: 2, term: 1, index: 0 };
    one.step({ ...answer, ticket: first[0] } as never);
    one.turn();
    expect(one.answers).toEqual(["r: ok"]);
    one.step({ ...answer, ticket: second[0] } as never);
    one.turn();
    expect(one.answers).toEqual(["r: ok", "later: ok"]);
  });

  it("takes the answer to its newest question also for those of the questions before", () => {
    const one = member();
    one.step({ type: "heartbeat", from: 2, term: 1, commit: 0, round: 0 } as never);
    const asked: number[] = [];
    for (const name of ["a", "b", "c"]) {
      one.read(name);
      for (const message of one.turn())
        if (message.type === "readIndex") asked.push(message.ticket);
      for (let i = 0; i < 5; i++) one.replica.tick();
      one.step({ type: "heartbeat", from: 2, term: 1, commit: 0, round: 0 } as never);
    }
    const answer = { type: "readIndexResponse", from: 2, term: 1, index: 0 };
    one.step({ ...answer, ticket: asked[1] } as never);
    one.turn();
    expect(one.answers).toEqual(["a: ok", "b: ok"]);
    one.step({ ...answer, ticket: asked[0] } as never);
    one.turn();
    expect([one.answers.length, one.replica.readsPending]).toEqual([2, 1]);
  });

  it("goes on asking where no answer ever comes, and keeps no more than a few questions", () => {
    const one = member();
    one.step({ type: "heartbeat", from: 2, term: 1, commit: 0, round: 0 } as never);
    one.read("r");
    let newest = 0;
    let asked = 0;
    for (let i = 0; i < 1_000; i++) {
      for (const message of one.turn()) {
        if (message.type !== "readIndex") continue;
        newest = message.ticket;
        asked++;
      }
      one.replica.tick();
      one.step({ type: "heartbeat", from: 2, term: 1, commit: 0, round: 0 } as never);
    }
    expect(asked).toBe(200);
    expect(one.replica.readsPending).toBe(1);
    one.step({ type: "readIndexResponse", from: 2, term: 1, index: 0, ticket: newest } as never);
    one.turn();
    expect(one.answers).toEqual(["r: ok"]);
  });

  it("asks the next leader when the one that it asked is followed by another", () => {
    const one = member();
    one.step({ type: "heartbeat", from: 2, term: 1, commit: 0, round: 0 } as never);
    one.read("r");
    one.turn();
    one.step({ type: "heartbeat", from: 3, term: 2, commit: 0, round: 0 } as never);
    const asked = one.turn().filter(({ type }) => type === "readIndex");
    expect(asked.map(({ to, term }) => `${to} in ${term}`)).toEqual(["3 in 2"]);
  });

  it("asks a read again when the round that it was in ended with the leadership", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    one.read("r");
    one.turn();
    one.step({
      type: "append",
      from: 3,
      term: 2,
      prevIndex: 1,
      prevTerm: 1,
      entries: [],
      commit: 1,
    } as never);
    one.turn();
    expect(one.answers).toEqual([]);
    elect(one);
    const rounds = acknowledge(one, 2).flatMap((message) =>
      message.type === "heartbeat" ? [message.round] : [],
    );
    expect(rounds).toEqual([1, 1]);
    const { term } = one.rawNode;
    one.step({ type: "heartbeatResponse", from: 2, term, round: 1 } as never);
    one.turn();
    expect(one.answers).toEqual(["r: ok"]);
  });

  it("does not answer a read by a round that nobody confirmed", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    one.read("r");
    one.turn();
    one.turn();
    expect(one.answers).toEqual([]);
  });
});

describe("a snapshot in the place of the log", () => {
  const CONF = {
    voters: [1, 2, 3],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const record = (index: number, term: number): SnapshotRecord => ({
    meta: { index, term, confState: CONF },
    fileName: "0/x",
    sizeBytes: 1,
    sha256: new Uint8Array(32),
    installed: true,
  });
  const entry = (index: number, term: number) => ({
    index,
    term,
    type: 0,
    data: encodeBatch({ clockMs: 1, behindMs: 0 }, [utf8(`e${index}`)]),
  });

  it("stands in the frame before what follows it, drops what stood there, and holds the acknowledgement back", () => {
    const one = member();
    one.step({
      type: "append",
      from: 3,
      term: 1,
      prevIndex: 0,
      prevTerm: 0,
      entries: [entry(1, 1), entry(2, 1)],
      commit: 1,
    } as never);
    const sent: Message[] = [];
    const send = (message: Message): void => {
      sent.push(message);
    };
    let recorded = 0;
    expect(one.replica.restore(record(10, 1), () => recorded++)).toBe("restored");
    one.step({
      type: "append",
      from: 3,
      term: 1,
      prevIndex: 10,
      prevTerm: 1,
      entries: [entry(11, 1)],
      commit: 11,
    } as never);
    const append = one.replica.collect(send);
    expect(append?.snapshot?.meta.index).toBe(10);
    expect(append?.entries.map(({ index }) => index)).toEqual([11]);
    expect(append?.hardState?.commit).toBe(11);
    expect([sent, recorded]).toEqual([[], 0]);
    one.storage.restore({ index: 10, term: 1, confState: CONF });
    one.storage.append(append?.entries ?? []);
    one.replica.settle(one.replica.readyWritten, send);
    expect(recorded).toBe(1);
    expect(sent.map((message) => "index" in message && message.index)).toEqual([2, 10, 11]);
    // Nothing is applied before the machine has the state.
    one.turn();
    expect([one.machine.appliedIndex, one.replica.isIdle]).toEqual([0, false]);
    one.machine.appliedIndex = 10;
    one.machine.appliedTerm = 1;
    one.replica.restored();
    one.turn();
    expect([one.machine.appliedIndex, one.machine.applied, recorded]).toEqual([11, ["e11"], 1]);
    expect(one.replica.isIdle).toBe(true);
  });

  it("leaves the doubt to those whose commands may be in it, and lets the others wait", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    for (const word of ["a", "b"]) {
      one.propose(word);
      one.turn();
    }
    // Deposed with entries 2 and 3 unknown; the next leader's snapshot ends between them.
    one.step({ type: "heartbeat", from: 3, term: 9, commit: 0, round: 0 } as never);
    one.turn();
    expect(one.replica.restore(record(2, 5), () => {})).toBe("restored");
    one.turn();
    expect(one.answers).toEqual(["a: LEADER_CHANGED maybe=true"]);
  });

  it("is no news when what it covers is committed here, and nothing changes", () => {
    const one = member();
    elect(one);
    acknowledge(one, 1);
    expect(one.replica.restore(record(1, 1), () => {})).toBe("stale");
    expect(one.replica.isRestoring).toBe(false);
    // A leader holds everything that is committed.
    expect(one.replica.restore(record(7, 1), () => {})).toBe("foreign");
    one.turn();
    expect(one.rawNode.role).toBe("leader");
  });
});

describe("what a replica takes", () => {
  it("tells callers to slow down instead of gathering commands without end", () => {
    const lab = new Lab();
    lab.open();
    const { replica } = lab.group(0);
    const big = new Uint8Array(8 * 1024 * 1024);
    const codes: (string | null)[] = [];
    for (let i = 0; i < 10; i++)
      replica.propose(big, false, (error) => codes.push(error?.code ?? null));
    expect(codes).toEqual(["TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS"]);
    expect(replica.waitingBytes).toBe(64 * 1024 * 1024);
    lab.host.stop(new HarmonyError("CLOSED"));
    expect(replica.waitingBytes).toBe(0);
    expect(codes.length).toBe(10);
  });

  it("packs a turn's commands into entries of bounded size, and a larger one alone", () => {
    const lab = new Lab({ maxUncommittedBytes: 1 << 26 });
    lab.open();
    lab.campaign();
    lab.pass();
    lab.takeTrace();
    const { replica } = lab.group(0);
    const sizes = [50, 50, 50, 2000, 10].map((kib) => kib * 1024);
    for (const size of sizes) replica.propose(new Uint8Array(size).fill(0x61), false, () => {});
    lab.pass(500);
    const appends = lab
      .takeTrace()
      .split("\n")
      .filter((line) => line.startsWith("append"));
    expect(appends).toEqual([
      `append  #3 g0 2/1[a*${50 * 1024} a*${50 * 1024}] 3/1[a*${50 * 1024}] 4/1[a*${2000 * 1024}] 5/1[a*${10 * 1024}] term=1 vote=1 commit=1`,
    ]);
  });

  it("packs no more commands into one entry than are applied without a pause", () => {
    const lab = new Lab();
    lab.open();
    lab.campaign();
    lab.pass();
    const { replica, rawNode, machine } = lab.group(0);
    const before = rawNode.lastIndex;
    for (let i = 0; i < 2_001; i++) replica.propose(utf8(`${i}`), false, () => {});
    lab.pass();
    expect(machine.applied).toEqual(Array.from({ length: 2_001 }, (_, i) => `${i}`));
    expect(rawNode.lastIndex - before).toBe(3);
  });

  it("packs no more in one turn than a frame holds, and the rest behind it in its order", () => {
    const lab = new Lab({ maxUncommittedBytes: 1 << 26 });
    lab.open();
    lab.campaign();
    lab.pass();
    lab.takeTrace();
    const { replica, machine } = lab.group(0);
    const sizes = Array.from({ length: 20 }, (_, i) => 1024 * 1024 + i);
    for (const size of sizes) replica.propose(new Uint8Array(size).fill(0x61), false, () => {});
    lab.pass(2_000);
    const entries = lab
      .takeTrace()
      .split("\n")
      .filter((line) => line.startsWith("append"))
      .map((line) => line.split("[").length - 1);
    expect(machine.applied.map(({ length }) => length)).toEqual(sizes);
    expect(entries).toEqual([8, 8, 4]);
  });

  it("says of a stop what it knows: the error of the host, with the doubt of each caller", () => {
    const lab = new Lab();
    lab.open();
    const errors: HarmonyError[] = [];
    lab.group(0).replica.propose(utf8("a"), false, (error) => {
      if (error !== null) errors.push(error);
    });
    lab.host.stop(new HarmonyError("STOPPED", "EIO: write x", { maybeApplied: true }));
    expect(errors.map(({ message, maybeApplied }) => ({ message, maybeApplied }))).toEqual([
      { message: "the node stopped after a failed write: EIO: write x", maybeApplied: false },
    ]);
  });
});

describe("an answer that throws", () => {
  it("keeps nobody else from being answered, and ends the node", () => {
    const lab = new Lab();
    lab.open();
    lab.campaign();
    lab.pass();
    lab.takeTrace();
    lab.propose(0, "a");
    lab.group(0).replica.propose(utf8("b"), false, () => {
      throw new Error("thrown by a caller");
    });
    lab.propose(0, "c");
    lab.pass();
    const trace = lab.takeTrace().split("\n");
    expect(trace.filter((line) => line.startsWith("reply"))).toEqual([
      "reply   g0 a: a@2",
      "reply   g0 c: c@2",
    ]);
    expect(lab.fatal?.cause).toEqual(new Error("thrown by a caller"));
    expect(lab.group(0).machine.applied).toEqual(["a", "b", "c"]);
  });

  it("does not keep a stop from telling the others", () => {
    const lab = new Lab({ groups: [0, 7] });
    lab.open();
    lab.group(0).replica.propose(utf8("a"), false, () => {
      throw new Error("thrown by a caller");
    });
    lab.propose(0, "b");
    lab.propose(7, "c");
    lab.host.stop(new HarmonyError("CLOSED"));
    expect(lab.takeTrace().split("\n")).toEqual([
      "reply   g0 b: CLOSED maybe=false",
      "reply   g7 c: CLOSED maybe=false",
    ]);
  });
});

describe("a host", () => {
  it("stops on a broken invariant, in a turn or in a tick, instead of throwing into the timers", () => {
    const lab = new Lab();
    lab.open();
    lab.campaign();
    lab.pass();
    lab.host.start();
    lab.group(0).rawNode.tick = () => {
      throw new AssertionError("broken in a tick");
    };
    lab.propose(0, "a");
    lab.pass(150);
    expect(lab.fatal?.code).toBe("STOPPED");
    expect(lab.fatal?.cause).toBeInstanceOf(AssertionError);
    expect(lab.host.stopped).toBe(lab.fatal);
  });

  it("takes one tick after a stall, however long it was", () => {
    const lab = new Lab();
    lab.open();
    lab.campaign();
    lab.pass();
    let ticks = 0;
    lab.group(0).rawNode.tick = () => {
      ticks++;
    };
    lab.host.start();
    lab.pass(1000);
    expect(ticks).toBe(10);
    lab.host.stop(new HarmonyError("CLOSED"));
    lab.pass(1000);
    expect(ticks).toBe(10);
  });

  it("is idle when nothing waits, is on its way or is to be applied", () => {
    const lab = new Lab();
    lab.open();
    lab.campaign();
    lab.pass();
    expect(lab.host.isIdle).toBe(true);
    lab.propose(0, "a");
    expect(lab.host.isIdle).toBe(false);
    lab.pass();
    expect(lab.host.isIdle).toBe(true);
    expect(lab.host.takeUnsaved()).toEqual([
      { group: 0, entries: [], hardState: { term: 1, vote: 1, commit: 2 } },
    ]);
    expect(lab.host.takeUnsaved()).toEqual([]);
  });

  it("applies a long log in several turns, and answers reads only behind all of it", () => {
    const lab = new Lab({ maxUncommittedBytes: 1 << 26 });
    lab.open();
    lab.campaign();
    lab.pass();
    const { replica, machine } = lab.group(0);
    const count = 7_000;
    for (let i = 0; i < count; i++) replica.propose(new Uint8Array(700), false, () => {});
    let seen = -1;
    // While the first of the entries are applied, the rest of them is committed and a read comes.
    replica.propose(utf8("last"), false, () => {});
    const turns: number[] = [];
    const until = lab.machine.scheduler.nowMs + 500;
    while (lab.machine.scheduler.nowMs < until && lab.machine.scheduler.step()) {
      if (machine.applied.length > 0 && seen < 0 && machine.applied.length < count) {
        if (turns.at(-1) !== machine.applied.length) turns.push(machine.applied.length);
        if (turns.length === 1) {
          replica.readBarrier((error) => {
            expect(error).toBe(null);
            seen = machine.applied.length;
          });
        }
      }
    }
    expect(turns.length).toBeGreaterThan(1);
    expect(seen).toBe(count + 1);
  });

  it.each([
    ["commands", 5_000, 10, 1_999],
    ["bytes, of few commands that may change much", 40, 100 * 1024, 2],
  ])("holds no turn with more than so many %s", (_, count, sizeBytes, most) => {
    const lab = new Lab({ maxUncommittedBytes: 1 << 26 });
    lab.open();
    lab.campaign();
    lab.pass();
    const { replica, machine } = lab.group(0);
    for (let i = 0; i < count; i++) replica.propose(new Uint8Array(sizeBytes), false, () => {});
    let before = 0;
    let largest = 0;
    while (machine.applied.length < count && lab.machine.scheduler.step()) {
      largest = Math.max(largest, machine.applied.length - before);
      before = machine.applied.length;
    }
    expect(before).toBe(count);
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThanOrEqual(most);
  });
});

describe("on a log in the interval mode", () => {
  it("a term and its vote count when they are synced, and what is proposed in it when it is written", () => {
    const lab = new Lab({ fsyncIntervalMs: 1000 });
    lab.open();
    const stuck = lab.machine.disk.inject({
      operation: "sync",
      path: (path) => path.endsWith(".wal"),
      delayMs: Number.POSITIVE_INFINITY,
      times: Number.POSITIVE_INFINITY,
    });
    lab.campaign();
    lab.pass(100);
    const { rawNode, machine } = lab.group(0);
    expect([rawNode.role, machine.appliedIndex, lab.wal.isSynced]).toEqual(["candidate", 0, false]);
    stuck.remove();
    lab.pass(100);
    expect([rawNode.role, machine.appliedIndex]).toEqual(["leader", 1]);
    lab.propose(0, "word");
    lab.pass(20);
    expect([machine.applied, lab.wal.isSynced]).toEqual([["word"], false]);
    lab.pass(1100);
    expect(lab.wal.isSynced).toBe(true);
  });
});

describe("a change of the configuration", () => {
  const said = (messages: readonly Message[]): string[] =>
    messages.map(({ type, to }) => `${type} ${to}`).filter((text) => text !== "heartbeat 2");

  /** A leader whose two followers are up to date, and which is asked to remove itself. */
  function leaving(...more: readonly ConfChangeSingle[]): {
    one: ReturnType<typeof member>;
    answers: string[];
  } {
    const one = member();
    const applyConfChange: StateMachine<string>["applyConfChange"] = (context) => {
      one.machine.apply(context, []);
      return { isTaken: true, result: "done" };
    };
    Object.assign(one.machine, { applyConfChange });
    elect(one);
    for (const from of [3, 2])
      one.step({ type: "appendResponse", from, term: 1, reject: false, index: 1 } as never);
    one.turn();
    const answers: string[] = [];
    const changes = [{ type: "removeNode" as const, nodeId: 1 }, ...more];
    const change = { transition: "auto" as const, changes, context: new Uint8Array(0) };
    one.replica.proposeConfChange(change, (error) => answers.push(error?.code ?? "done"));
    return { one, answers };
  }

  it("that removes the leader waits until it has handed the lead over, and is not proposed by it", () => {
    const { one, answers } = leaving();
    const [first] = said(one.turn());
    expect([first, one.rawNode.lastIndex]).toEqual(["timeoutNow 2", 1]);
    one.step({
      type: "append",
      from: 2,
      term: 2,
      prevIndex: 1,
      prevTerm: 1,
      entries: [{ index: 2, term: 2, type: 2, data: new Uint8Array(0) }],
      commit: 1,
    } as never);
    one.turn();
    // There is no way to the next leader in this test, so it waits.
    expect([one.rawNode.leader, answers, one.replica.commandsPending]).toEqual([2, [], 1]);
  });

  it("that removes the leader is proposed by it when nobody takes over", () => {
    const { one, answers } = leaving();
    one.turn();
    for (let i = 0; i < 10; i++) {
      one.replica.tick();
      one.turn();
    }
    expect([one.rawNode.role, one.rawNode.lastIndex]).toEqual(["leader", 2]);
    acknowledge(one, 2);
    expect([answers, one.rawNode.role]).toEqual([["done"], "follower"]);
  });

  it("that puts somebody into the leader's place is proposed by it at once", () => {
    const { one } = leaving({ type: "addNode", nodeId: 4 });
    const messages = said(one.turn());
    expect(messages.filter((text) => text.startsWith("timeoutNow"))).toEqual([]);
    expect(one.rawNode.lastIndex).toBe(2);
  });

  it("comes into force if the machine takes it, is answered with what that says, and is one entry", () => {
    const lab = new Lab();
    lab.open();
    lab.campaign();
    lab.pass();
    const { replica, machine, rawNode } = lab.group(0);
    const asked: string[] = [];
    const applyConfChange: StateMachine<string>["applyConfChange"] = (context, { changes }) => {
      machine.apply(context, []);
      const [{ type }] = changes as [ConfChangeSingle];
      asked.push(`${type} ${context.index}`);
      return { isTaken: type === "updateNode", result: `${type} answered` };
    };
    Object.assign(machine, { applyConfChange });
    const answers: string[] = [];
    const propose = (type: ConfChangeSingle["type"], nodeId: number): void => {
      const changes = [{ type, nodeId }];
      const change = { transition: "auto" as const, changes, context: new Uint8Array(0) };
      replica.proposeConfChange(change, (error, result) =>
        answers.push(error === null ? String(result) : error.code),
      );
    };
    // Two at a time: the second waits for the first.
    propose("addLearnerNode", 2);
    propose("updateNode", 1);
    // What Raft itself does not take is refused before it is in the log.
    propose("removeNode", 1);
    lab.pass(200);
    expect(answers).toEqual(["addLearnerNode answered", "updateNode answered", "INVALID_ARGUMENT"]);
    expect(asked).toEqual(["addLearnerNode 2", "updateNode 3"]);
    expect(rawNode.confState.learners).toEqual([]);
    expect([lab.fatal, machine.appliedIndex]).toEqual([null, 3]);
  });
});
