/**
 * What a history of appending transactions shows of each list (transactions.ts): who appended which element, the
 * longest list that anybody read, and what each reader found before its own appends. On the way it reports what is
 * wrong with a list or a transaction taken by itself, whatever the order of all.
 */
import { HarmonyError } from "../../src/base/index.ts";
import type {
  Anomaly,
  ListElement,
  Transaction,
  TransactionInput,
  TransactionOutput,
} from "./transactions.ts";

export type Report = (name: Anomaly["name"], what: string, ...nodes: readonly number[]) => void;

/** Who appended an element, and as which of its appends to that key. */
export interface Origin {
  readonly node: number;
  readonly ordinal: number;
}

/** What is known of one key. */
export interface ListFacts {
  readonly origins: Map<ListElement, Origin>;
  /** For each transaction how often it appends. */
  readonly appendCounts: Map<number, number>;
  longest: readonly ListElement[];
  /** Of each reader the list as it was before its own appends. */
  readonly readings: { readonly node: number; readonly before: readonly ListElement[] }[];
}

/** Of the elements that no list shows, as many per key are put behind the longest list. */
const UNSEEN_MAX = 16;

/** A transaction's node is its place among `transactions`. */
export class AppendLists {
  readonly #transactions: readonly Transaction[];
  readonly #report: Report;
  readonly #lists = new Map<string, ListFacts>();

  constructor(transactions: readonly Transaction[], report: Report) {
    this.#transactions = transactions;
    this.#report = report;
    for (const [node, { input }] of transactions.entries()) this.#collectAppends(node, input);
    for (const [node, { input, output }] of transactions.entries()) {
      if (output !== undefined) this.#collectReads(node, input, output);
    }
  }

  /** The lists whose readings fit together; the others are reported. */
  inOneOrder(): [string, ListFacts][] {
    return [...this.#lists].filter(([key, list]) => this.#isOneOrder(key, list));
  }

  /**
   * Elements that are not in the longest list, those first that were acknowledged first. If they were appended at
   * all, then behind it. One of a transaction that never happened does no harm: nothing depends on it.
   */
  unseen({ origins, longest }: ListFacts): [ListElement, Origin][] {
    if (origins.size === longest.length) return [];
    const seen = new Set(longest);
    const endOf = ({ node }: Origin): number => this.#transactions[node]?.returnedAt ?? Infinity;
    return [...origins]
      .filter(([element, { node }]) => {
        return !seen.has(element) && this.#transactions[node]?.outcome !== "fail";
      })
      .sort(([, a], [, b]) => endOf(a) - endOf(b) || a.node - b.node)
      .slice(0, UNSEEN_MAX);
  }

  /** Whether all lists that were read of a key are beginnings of the longest one. */
  #isOneOrder(key: string, { longest, readings }: ListFacts): boolean {
    for (const { node, before } of readings) {
      if (isPrefix(before, longest)) continue;
      const what = `"${key}" showed ${JSON.stringify(before)} and ${JSON.stringify(longest)}`;
      this.#report("incompatible-order", what, node);
      return false;
    }
    return true;
  }

  #collectAppends(node: number, input: TransactionInput): void {
    for (const part of input) {
      if (part.kind === "read") continue;
      const { origins, appendCounts } = this.#list(part.key);
      if (origins.has(part.value)) {
        const what = `${JSON.stringify(part.value)} is appended twice to "${part.key}"`;
        throw new HarmonyError("INVALID_ARGUMENT", what);
      }
      const ordinal = (appendCounts.get(node) ?? 0) + 1;
      origins.set(part.value, { node, ordinal });
      appendCounts.set(node, ordinal);
    }
  }

  /** Compares a transaction with itself, and keeps what it saw of others. */
  #collectReads(node: number, input: TransactionInput, output: TransactionOutput): void {
    const own = new Map<string, ListElement[]>();
    const before = new Map<string, readonly ListElement[]>();
    for (const [i, part] of input.entries()) {
      const mine = own.get(part.key) ?? [];
      own.set(part.key, mine);
      const found = output[i];
      if (part.kind === "append") {
        mine.push(part.value);
        continue;
      }
      if (!Array.isArray(found)) {
        this.#report("internal", `the read of "${part.key}" has no list`, node);
        continue;
      }
      const elements = found as readonly ListElement[];
      const split = Math.max(0, elements.length - mine.length);
      const first = before.get(part.key);
      const external = elements.slice(0, split);
      const isConsistent =
        isPrefix(mine, elements.slice(split)) &&
        mine.length === elements.length - split &&
        (first === undefined || (isPrefix(first, external) && first.length === split));
      if (!isConsistent) {
        const what = `the list of "${part.key}" does not continue what the transaction saw and did`;
        this.#report("internal", what, node);
        continue;
      }
      const list = this.#list(part.key);
      if (elements.length > list.longest.length) list.longest = elements;
      if (first !== undefined) continue;
      before.set(part.key, external);
      list.readings.push({ node, before: external });
      this.#judgeElements(part.key, list, external, node);
    }
  }

  /** What a list must not hold, whatever its order. */
  #judgeElements(
    key: string,
    { origins, appendCounts }: ListFacts,
    elements: readonly ListElement[],
    reader: number,
  ): void {
    const shown = (element: ListElement): string => `"${key}" shows ${JSON.stringify(element)}`;
    if (new Set(elements).size !== elements.length) {
      this.#report("duplicate-element", `"${key}" shows an element twice`, reader);
    }
    for (const element of elements) {
      const origin = origins.get(element);
      if (origin?.node === reader) {
        this.#report("internal", `${shown(element)} before the transaction appended it`, reader);
      } else if (origin === undefined) {
        this.#report("garbage-read", `${shown(element)}, which nobody appended`, reader);
      } else if (this.#transactions[origin.node]?.outcome === "fail") {
        const what = `${shown(element)} of a transaction that failed`;
        this.#report("G1a", what, reader, origin.node);
      }
    }
    const last = elements.at(-1);
    const origin = last === undefined ? undefined : origins.get(last);
    if (last === undefined || origin === undefined || origin.node === reader) return;
    if (origin.ordinal !== appendCounts.get(origin.node)) {
      const what = `${shown(last)} at its end, though its transaction went on to append`;
      this.#report("G1b", what, reader, origin.node);
    }
  }

  #list(key: string): ListFacts {
    let list = this.#lists.get(key);
    if (list === undefined) {
      list = { origins: new Map(), appendCounts: new Map(), longest: [], readings: [] };
      this.#lists.set(key, list);
    }
    return list;
  }
}

function isPrefix(short: readonly ListElement[], long: readonly ListElement[]): boolean {
  return short.every((element, i) => element === long[i]);
}
