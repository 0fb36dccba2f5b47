/** Short ways to bring a replica into a state and to speak to it, for tests of one replica. */
import {
  type Entry,
  EntryType,
  type LogIndex,
  type Message,
  MESSAGE_VERSION,
  type NodeId,
  type Ready,
  type Term,
} from "../index.ts";
import type { AppendMessage } from "../message.ts";
import { DEFAULT_OPTIONS, simpleConf, TestNode, type TestNodeOptions } from "./test-node.ts";

export function createNode(
  id: NodeId,
  voters: readonly NodeId[],
  options: Partial<TestNodeOptions> = {},
): TestNode {
  return new TestNode({
    ...DEFAULT_OPTIONS,
    preVote: false,
    checkQuorum: false,
    id,
    confState: simpleConf(voters),
    seed: id,
    ...options,
  });
}

/** A replica that starts with a log of these terms. */
export function startWith(
  node: TestNode,
  terms: readonly Term[],
  term: Term = terms.at(-1) ?? 0,
  vote: NodeId = 0,
  commit: LogIndex = 0,
): TestNode {
  node.disk.append(entriesOf(terms));
  node.hardState = { term, vote, commit };
  node.start();
  return node;
}

export function entriesOf(terms: readonly Term[], first: LogIndex = 1): Entry[] {
  return terms.map((term, i) => ({
    index: first + i,
    term,
    type: EntryType.normal,
    data: new TextEncoder().encode(`${first + i}@${term}`),
  }));
}

type Distributive<T> = T extends Message ? Omit<T, "group" | "incarnation" | "version"> : never;

/** A message with the header fields that a test does not care about. */
export function message(of: Distributive<Message>): Message {
  return { group: 1, incarnation: 1, version: MESSAGE_VERSION, ...of } as Message;
}

export function append(
  from: NodeId,
  to: NodeId,
  term: Term,
  rest: Partial<Pick<AppendMessage, "prevIndex" | "prevTerm" | "entries" | "commit">> = {},
): Message {
  return message({
    type: "append",
    from,
    to,
    term,
    prevIndex: 0,
    prevTerm: 0,
    entries: [],
    commit: 0,
    ...rest,
  });
}

/** Takes Readys and makes them durable until there is nothing left. Gives all messages, in the order of leaving. */
export function drain(node: TestNode): Message[] {
  const out: Message[] = [];
  for (let i = 0; i < 100 && node.node.hasReady(); i++) {
    const ready: Ready = node.takeReady();
    node.advance();
    out.push(...ready.messages, ...node.persist(1));
  }
  return out;
}

/** Makes the node the leader of the next term, with the votes of everybody. Its messages so far are dropped. */
export function elect(node: TestNode): void {
  node.node.campaign();
  drain(node);
  const { hardState, confState } = node.node.status();
  for (const id of confState.voters) {
    if (id === node.id) continue;
    node.node.step(
      message({ type: "voteResponse", from: id, to: node.id, term: hardState.term, reject: false }),
    );
  }
  drain(node);
}
