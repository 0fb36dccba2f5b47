/**
 * What has ever been claimed about one group, anywhere in the cluster and over all lives: the judge of the cluster
 * world. It stands outside of the nodes, and none of it may ever be contradicted (Raft paper, figure 3).
 *
 * An entry is known by the hash of everything up to it: two logs whose hashes are equal at an index are equal up to
 * there. So log matching is one comparison for each entry that a Ready carries.
 */
import { CLUSTER_MARKS } from "./cluster-marks.ts";
import { crc32c, hash32 } from "../src/base/index.ts";
import type { Entry, GroupId, LogIndex, NodeId, Term } from "../src/raft/index.ts";
import type { Applied } from "./cluster-machine.ts";
import type { Marks } from "./marks.ts";
import { check } from "./violation.ts";

/** Far above the terms of a run. */
const TERMS_MAX = 2 ** 20;

interface Claim {
  readonly chain: number;
  /** Bits of the nodes whose log has held the entry. */
  holders: number;
}

interface Committed {
  readonly term: Term;
  readonly chain: number;
  /** The term of the leader that committed it first. */
  readonly byTerm: Term;
  readonly atMs: number;
}

/** A node's log as Raft there sees it: what its Readys have carried, or what a start has found. */
export class LogView {
  readonly #terms: Term[] = [];
  readonly #chains: number[] = [];

  get lastIndex(): LogIndex {
    return this.#terms.length;
  }

  term(index: LogIndex): Term {
    return index === 0 ? 0 : (this.#terms[index - 1] ?? -1);
  }

  /** -1 when there is no such entry. */
  chain(index: LogIndex): number {
    return index === 0 ? 0 : (this.#chains[index - 1] ?? -1);
  }

  /** Adds or replaces; everything behind goes. */
  put(entry: Entry): number {
    const { index, term, type, data } = entry;
    check(
      index >= 1 && index <= this.lastIndex + 1,
      "logs have no gaps",
      () => `${index} after ${this.lastIndex}`,
    );
    this.#terms.length = index - 1;
    this.#chains.length = index - 1;
    const chain = hash32(this.chain(index - 1), term * 4 + type, crc32c(data));
    this.#terms.push(term);
    this.#chains.push(chain);
    return chain;
  }

  static of(entries: readonly Entry[]): LogView {
    const view = new LogView();
    for (const entry of entries) view.put(entry);
    return view;
  }
}

export class GroupOracle {
  readonly group: GroupId;
  readonly #size: number;
  readonly #marks: Marks;
  readonly #claims = new Map<number, Claim>();
  readonly #leaders = new Map<Term, NodeId>();
  readonly #votes = new Map<number, NodeId>();
  /** The first who stood for a term. */
  readonly #candidates = new Map<Term, NodeId>();
  readonly #committed: Committed[] = [];
  readonly #stateHashes: number[] = [];
  /** Of every command that was applied anywhere: its index. */
  readonly #applied = new Map<number, LogIndex>();
  /** Commands of which a node has said that they will never be applied. */
  readonly #never = new Set<number>();

  constructor(group: GroupId, size: number, marks: Marks) {
    this.group = group;
    this.#size = size;
    this.#marks = marks;
  }

  /** How many entries are committed. */
  get commit(): LogIndex {
    return this.#committed.length;
  }

  get elections(): number {
    return this.#leaders.size;
  }

  chain(index: LogIndex): number {
    return index === 0 ? 0 : (this.#committed[index - 1] as Committed).chain;
  }

  appliedAt(id: number): LogIndex | undefined {
    return this.#applied.get(id);
  }

  // ---- logs ----

  /** An entry is handed to the disk of a node, or was found there. */
  entry(node: NodeId, view: LogView, entry: Entry): void {
    const { index, term } = entry;
    if (index <= view.lastIndex && view.term(index) !== term) this.#cut(view, index);
    const chain = view.put(entry);
    this.holds(node, index, term, chain);
  }

  holds(node: NodeId, index: LogIndex, term: Term, chain: number): void {
    const name = index * TERMS_MAX + term;
    const known = this.#claims.get(name);
    if (known === undefined) {
      this.#claims.set(name, { chain, holders: 1 << node });
      return;
    }
    check(
      known.chain === chain,
      "logs match",
      () => `group ${this.group}, node ${node}: ${index}/${term} and what is before it differ`,
    );
    known.holders |= 1 << node;
  }

  /** Entries of a start: they were claimed before, and nothing else can be on a disk. */
  found(node: NodeId, view: LogView): void {
    for (let index = 1; index <= view.lastIndex; index++) {
      const term = view.term(index);
      check(
        this.#claims.get(index * TERMS_MAX + term)?.chain === view.chain(index),
        "a start finds only what was written",
        () => `group ${this.group}, node ${node}: ${index}/${term}`,
      );
    }
  }

  #cut(view: LogView, index: LogIndex): void {
    this.#marks.hit(CLUSTER_MARKS.conflict);
    const claim = this.#claims.get(index * TERMS_MAX + view.term(index));
    if (claim !== undefined && bits(claim.holders) > this.#size / 2)
      this.#marks.hit(CLUSTER_MARKS.majorityReplaced);
  }

  // ---- elections ----

  /** Somebody leads `term`. True when this is news. */
  leads(node: NodeId, term: Term, view: LogView): boolean {
    const known = this.#leaders.get(term);
    if (known !== undefined) {
      check(
        known === node,
        "one leader in a term",
        () => `group ${this.group}: ${known} and ${node} lead term ${term}`,
      );
      return false;
    }
    this.#leaders.set(term, node);
    // Leader completeness: what a leader of an earlier term has committed is there.
    let index = this.commit;
    while (index > 0 && (this.#committed[index - 1] as Committed).byTerm >= term) index--;
    check(
      view.chain(index) === this.chain(index),
      "a leader has every committed entry",
      () => `group ${this.group}: leader ${node} of term ${term} lacks ${index}`,
    );
    return true;
  }

  vote(voter: NodeId, term: Term, candidate: NodeId): void {
    const name = term * 64 + voter;
    const known = this.#votes.get(name);
    check(
      known === undefined || known === candidate,
      "nobody votes twice in a term",
      () => `group ${this.group}: ${voter} votes for ${known} and ${candidate} in term ${term}`,
    );
    this.#votes.set(name, candidate);
    if (known !== undefined || voter !== candidate) return;
    const other = this.#candidates.get(term);
    if (other === undefined) this.#candidates.set(term, candidate);
    else this.#marks.hit(CLUSTER_MARKS.votesSplit);
  }

  // ---- commit and apply ----

  /** A leader of `term` has committed up to `commit`. The first index that is news, or 0. */
  commits(
    node: NodeId,
    term: Term,
    view: LogView,
    checkedTo: LogIndex,
    commit: LogIndex,
    atMs: number,
  ): LogIndex {
    const first = this.commit + 1;
    this.agrees(node, view, checkedTo, Math.min(commit, this.commit));
    if (commit < first) return 0;
    check(
      view.term(commit) === term,
      "a leader commits by counting only entries of its own term",
      () => `group ${this.group}: ${node} commits ${commit}/${view.term(commit)} in term ${term}`,
    );
    if (view.term(first) < term && first < commit) this.#marks.hit(CLUSTER_MARKS.oldTerm);
    for (let index = first; index <= commit; index++) {
      const chain = view.chain(index);
      check(chain !== -1, "a leader commits what it has", () => `group ${this.group}: ${index}`);
      this.#committed.push({ term: view.term(index), chain, byTerm: term, atMs });
    }
    return first;
  }

  /** What a node takes for committed from `checkedTo` (agreed before) to `commit` is what is committed. */
  agrees(node: NodeId, view: LogView, checkedTo: LogIndex, commit: LogIndex): void {
    if (commit <= checkedTo) return;
    check(
      commit <= this.commit && view.chain(commit) === this.chain(commit),
      "all commit the same",
      () =>
        `group ${this.group}: node ${node} at ${commit}/${view.term(commit)}, ${this.commit} committed`,
    );
  }

  applied({ index, term, stateHash, ids }: Applied): void {
    check(
      index <= this.commit && this.#committed[index - 1]?.term === term,
      "only committed entries are applied",
      () => `group ${this.group}: ${index}/${term}, ${this.commit} are committed`,
    );
    const known = this.#stateHashes[index];
    if (known !== undefined) {
      check(
        known === stateHash,
        "all states are equal at an index",
        () => `group ${this.group}, index ${index}`,
      );
      return;
    }
    this.#stateHashes[index] = stateHash;
    for (const id of ids) {
      check(
        !this.#applied.has(id),
        "a command is applied once",
        () => `group ${this.group}: ${id} at ${this.#applied.get(id)} and ${index}`,
      );
      check(
        !this.#never.has(id),
        "a command that was refused for certain is not applied",
        () => `group ${this.group}: ${id} at ${index}`,
      );
      this.#applied.set(id, index);
    }
  }

  /** A node has said that a command is not applied and never will be. */
  never(id: number): void {
    check(
      !this.#applied.has(id),
      "a command that was refused for certain is not applied",
      () => `group ${this.group}: ${id} at ${this.#applied.get(id)}`,
    );
    this.#never.add(id);
  }

  committedAtMs(index: LogIndex): number {
    return (this.#committed[index - 1] as Committed).atMs;
  }
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}
