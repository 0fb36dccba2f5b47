/**
 * Replicas that take no part because what they hold is not to be trusted (fault-rules R14): one finds that out while it
 * runs, another has lost its log and its state while it was down, and knows its term and its vote. The way back is the one
 * that `RawNode.quarantine` names, gone as a host goes it: a new life, a read index that was asked for in it, a snapshot of
 * the leader that covers that index.
 *
 * Never more than a minority of the voters is out at a time: a majority that has lost what it acknowledged has lost it.
 */
import type { LogIndex, NodeId } from "../index.ts";
import type { TestNode } from "./test-node.ts";

interface WayBack {
  /** Contexts of questions that this life has asked. */
  readonly asked: Set<number>;
  /** What the state must cover; 0 as long as nobody has answered. */
  index: LogIndex;
}

export class Quarantines {
  readonly #nodes: readonly TestNode[];
  readonly #voters: number;
  /** Asks whoever leads for a read index. Null: nobody is known. */
  readonly #ask: (node: TestNode) => number | null;
  /** Those who are out, running or not. */
  readonly #ways: Map<NodeId, WayBack> = new Map();
  readonly #lost: Set<NodeId> = new Set();
  healed = 0;

  /** The first `voters` of the nodes have a vote, and keep it. */
  constructor(nodes: readonly TestNode[], voters: number, ask: (node: TestNode) => number | null) {
    this.#nodes = nodes;
    this.#voters = voters;
    this.#ask = ask;
  }

  get isEmpty(): boolean {
    return this.#ways.size === 0;
  }

  /** What this node acknowledged may have been here when that was counted, and is not any more. */
  hasLost({ id }: TestNode): boolean {
    return this.#lost.has(id);
  }

  /** A node that runs finds that its state is wrong. */
  enter(node: TestNode): void {
    if (this.#ways.has(node.id) || !this.#mayGo(node)) return;
    node.startsQuarantined = true;
    this.#begin(node);
    node.node.quarantine();
    node.node.beginIncarnation(node.incarnation);
  }

  /** Log and state of a node that is down are lost. */
  lose(node: TestNode): void {
    if (!this.#mayGo(node)) return;
    node.loseState();
    this.#lost.add(node.id);
    this.#ways.set(node.id, { asked: new Set(), index: 0 });
  }

  /** Before a start: a life in quarantine is a new one. */
  starts(node: TestNode): void {
    if (node.startsQuarantined) this.#begin(node);
  }

  answered(node: TestNode, context: number, index: LogIndex): void {
    const way = this.#ways.get(node.id);
    // Only a snapshot that passes what is committed here is taken over; what comes after it takes the others that far.
    if (way?.asked.has(context) === true && way.index === 0 && index > node.node.commit)
      way.index = index;
  }

  /** The next step on the way back of a node that runs. */
  tend(node: TestNode): void {
    const way = this.#ways.get(node.id);
    if (way === undefined) return;
    const { commit, leader } = node.node;
    if (way.index === 0) {
      const context = this.#ask(node);
      if (context !== null) way.asked.add(context);
    } else if (node.applied.length >= way.index) {
      this.#readmit(node);
    } else if (way.index > commit && leader !== 0) {
      const source = this.#nodes[leader - 1] as TestNode;
      if (!source.running || this.#ways.has(leader)) return;
      source.takeCheckpoint();
      const snapshot = source.snapshot();
      if (snapshot !== null && snapshot.index >= way.index) node.node.restore(snapshot);
    }
  }

  #mayGo({ id }: TestNode): boolean {
    return id <= this.#voters && (this.#ways.has(id) || 2 * (this.#ways.size + 1) < this.#voters);
  }

  #begin(node: TestNode): void {
    node.incarnation++;
    this.#ways.set(node.id, { asked: new Set(), index: 0 });
  }

  #readmit(node: TestNode): void {
    this.#ways.delete(node.id);
    this.#lost.delete(node.id);
    node.startsQuarantined = false;
    node.node.readmit();
    this.healed++;
  }
}
