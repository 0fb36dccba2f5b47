/**
 * Finds what transactions over several keys may never show, from nothing but what their clients saw. The method is
 * that of Kingsbury and Alvaro ("Elle: inferring isolation anomalies from experimental observations", VLDB 2020):
 * each transaction appends to lists and reads lists, and no value is ever appended twice to a key. So a list tells its
 * own history, and with it who wrote before whom, who read from whom, and whose write a reader missed. A cycle of
 * these dependencies, or of them and real time, means that the history is not strictly serializable.
 *
 * The anomalies are those of Adya ("Weak consistency", 1999): G0, a cycle of writes; G1a, a read of a failed
 * transaction; G1b, a read of a state inside a transaction; G1c, a cycle of writes and reads; G-single, a cycle with
 * one missed write (a lost update, a skewed read); G2, with several (write skew). `-realtime` marks a cycle that needs
 * the order of time. Besides them: a transaction that contradicts itself (`internal`), a list with an element twice
 * or one that nobody wrote, two lists of which none continues the other.
 *
 * Every report is a proof, but silence is none: a list that nobody read says nothing. Workloads therefore end with a
 * read of every key. What was appended and is missing in the longest list of its key must stand behind it, which
 * makes a lost append a cycle. A transaction with unknown outcome took place when somebody saw one of its appends;
 * otherwise nothing follows from it. Cost: linear in the elements that were read, plus sorting.
 */
import { AppendLists, type ListFacts, type Origin, type Report } from "./append-lists.ts";
import { DependencyGraph, type Edge, type EdgeKind } from "./dependency-graph.ts";
import { describeSpan, type Operation } from "./history.ts";

export type ListElement = string | number;

export type TransactionInput = readonly (
  | { readonly kind: "append"; readonly key: string; readonly value: ListElement }
  | { readonly kind: "read"; readonly key: string }
)[];

/** For each part of the transaction in its order: the list that a read found, null for an append. */
export type TransactionOutput = readonly (readonly ListElement[] | null)[];

export type Transaction = Operation<TransactionInput, TransactionOutput>;

type CycleName = "G0" | "G1c" | "G-single" | "G2";

export interface Anomaly {
  readonly name:
    | "internal"
    | "duplicate-element"
    | "garbage-read"
    | "incompatible-order"
    | "G1a"
    | "G1b"
    | CycleName
    | `${CycleName}-realtime`;
  readonly explanation: string;
}

/** The kinds of cycles from the worst to the mildest: an edge that it must have, and the edges of the way back. */
const CYCLES: readonly (readonly [CycleName, EdgeKind, readonly EdgeKind[]])[] = [
  ["G0", "ww", ["ww"]],
  ["G1c", "wr", ["ww", "wr"]],
  ["G-single", "rw", ["ww", "wr"]],
  ["G2", "rw", ["ww", "wr", "rw"]],
];

/**
 * All anomalies that can be proven, of cycles one of each kind; an empty list when there is none. The history holds
 * refused transactions too, so that a read of what they wrote is recognised. Throws INVALID_ARGUMENT when it appends
 * a value twice to a key.
 */
export function checkTransactions(history: readonly Transaction[]): readonly Anomaly[] {
  return new TransactionCheck(history).run();
}

class TransactionCheck {
  /** In order of beginnings. A transaction's place is its node. */
  readonly #transactions: readonly Transaction[];
  readonly #anomalies: Anomaly[] = [];
  readonly #graph: DependencyGraph;

  constructor(history: readonly Transaction[]) {
    this.#transactions = [...history].sort((a, b) => a.invokedAt - b.invokedAt || a.id - b.id);
    this.#graph = new DependencyGraph(history.length);
  }

  run(): readonly Anomaly[] {
    const report: Report = (name, what, ...nodes) => this.#report(name, what, ...nodes);
    const lists = new AppendLists(this.#transactions, report);
    for (const [key, list] of lists.inOneOrder()) {
      this.#addDependencies(key, list, lists.unseen(list));
    }
    this.#addRealTime();
    this.#findCycles();
    return this.#anomalies;
  }

  #addDependencies(
    key: string,
    { origins, longest, readings }: ListFacts,
    unseen: readonly (readonly [ListElement, Origin])[],
  ): void {
    const writers = longest.map((element) => origins.get(element));
    for (let i = 1; i < longest.length; i++) {
      const [earlier, later] = [writers[i - 1], writers[i]];
      if (earlier === undefined || later === undefined) continue;
      if (earlier.node === later.node && earlier.ordinal > later.ordinal) {
        this.#report("internal", `"${key}" shows appends of one transaction reversed`, later.node);
      }
      this.#graph.add(earlier.node, later.node, "ww", key, longest[i] as ListElement);
    }
    const last = writers.at(-1);
    for (const [element, { node }] of unseen) {
      if (last !== undefined) this.#graph.add(last.node, node, "ww", key, element);
    }
    for (const { node, before } of readings) {
      const read = writers[before.length - 1];
      if (read !== undefined) {
        this.#graph.add(read.node, node, "wr", key, before.at(-1) as ListElement);
      }
      if (before.length < longest.length) {
        const missed = writers[before.length];
        const element = longest[before.length] as ListElement;
        if (missed !== undefined) this.#graph.add(node, missed.node, "rw", key, element);
      } else {
        for (const [element, missed] of unseen) {
          this.#graph.add(node, missed.node, "rw", key, element);
        }
      }
    }
  }

  #addRealTime(): void {
    const nodes = [...this.#transactions.keys()];
    const beginnings = nodes.map((node) => ({ node, at: this.#at(node).invokedAt }));
    const ends = nodes
      .filter((node) => this.#at(node).outcome === "ok")
      .map((node) => ({ node, at: this.#at(node).returnedAt }))
      .sort((a, b) => a.at - b.at || a.node - b.node);
    this.#graph.addRealTime(ends, beginnings);
  }

  /** One cycle of each kind. Those that need real time are looked for only when there is no other. */
  #findCycles(): void {
    const edges = this.#graph.cyclicEdges();
    for (const realTime of [[], ["rt"]] as const) {
      for (const [name, must, kinds] of CYCLES) {
        const seeds = edges.filter((edge) => edge.kind === must);
        const wanted = realTime.length === 0 ? name : (`${name}-realtime` as const);
        const accept = (cycle: readonly Edge[]): boolean => cycleName(cycle) === wanted;
        const cycle = this.#graph.findCycle(seeds, [...kinds, ...realTime], accept);
        if (cycle !== null) this.#reportCycle(cycle);
      }
      if (this.#anomalies.some(({ name }) => name.startsWith("G"))) return;
    }
    // Every one of these edges lies on a cycle, so the searches above can only have been too short.
    const cycle = this.#graph.findCycle(edges, ["ww", "wr", "rw", "rt"], () => true);
    if (cycle !== null) this.#reportCycle(cycle);
  }

  #reportCycle(cycle: readonly Edge[]): void {
    const names = new Map<number, string>();
    for (const { from } of cycle) names.set(from, `T${names.size + 1}`);
    const reasons = cycle.map(({ from, to, kind, key, value }) => {
      const [first, second] = [names.get(from), names.get(to)];
      const element = `${JSON.stringify(value)} of "${key}"`;
      const reason = {
        ww: `${second} appended ${element} next after an element of ${first}`,
        wr: `${second} saw ${element}, which ${first} appended`,
        rw: `${first} did not see ${element}, which ${second} appended`,
        rt: `${first} had ended when ${second} began`,
      };
      return `  ${first} before ${second}: ${reason[kind]}`;
    });
    const transactions = [...names].map(([node, name]) => `  ${name} = ${this.#show(node)}`);
    const explanation = ["each stands before the next:", ...transactions, ...reasons].join("\n");
    const name = cycleName(cycle);
    this.#anomalies.push({ name, explanation: `${name}: ${explanation}` });
  }

  #report(name: Anomaly["name"], what: string, ...nodes: readonly number[]): void {
    const shown = nodes.map((node) => `  ${this.#show(node)}`);
    this.#anomalies.push({ name, explanation: [`${name}: ${what}`, ...shown].join("\n") });
  }

  #show(node: number): string {
    const transaction = this.#at(node);
    const parts = transaction.input.map((part, i) => {
      if (part.kind === "append") return `append ${part.key} ${JSON.stringify(part.value)}`;
      return `read ${part.key} ${JSON.stringify(transaction.output?.[i] ?? "?")}`;
    });
    return `${describeSpan(transaction)} ${transaction.outcome}: ${parts.join("; ")}`;
  }

  #at(node: number): Transaction {
    return this.#transactions[node] as Transaction;
  }
}

function cycleName(cycle: readonly Edge[]): CycleName | `${CycleName}-realtime` {
  const missed = cycle.filter((edge) => edge.kind === "rw").length;
  let name: CycleName = cycle.some((edge) => edge.kind === "wr") ? "G1c" : "G0";
  if (missed > 0) name = missed === 1 ? "G-single" : "G2";
  return cycle.some((edge) => edge.kind === "rt") ? `${name}-realtime` : name;
}
