/**
 * The graph of a transactional history and the search for its cycles. An edge says that one transaction must stand
 * before another: because it wrote the version before (`ww`), wrote what the other read (`wr`), read the version that
 * the other replaced (`rw`), or had ended when the other began (`rt`). Transactions that need each other to stand
 * before themselves have no order.
 *
 * Real time alone would take an edge for each pair. Instead it is a chain of markers, one for each end in order of
 * time: a transaction points to the marker of its end, each marker to the next, and the last marker before a
 * transaction's beginning to the transaction. Markers are nodes too, numbered behind the transactions.
 *
 * The components are found by Tarjan's algorithm ("Depth-first search and linear graph algorithms", 1972); cycles
 * are looked for only inside components, so a history without a fault is done in linear time.
 */

export type EdgeKind = "ww" | "wr" | "rw" | "rt";

export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly kind: EdgeKind;
  /** The object on which they depend, and the element by which this is known. Empty for real time. */
  readonly key: string;
  readonly value: string | number;
}

/** Edges that are tried for one kind of cycle: enough in practice, and no history makes the search quadratic. */
const SEEDS_MAX = 1000;

export class DependencyGraph {
  readonly #out: Edge[][] = [];
  readonly #transactionCount: number;
  /** Of each node, once all edges are there. */
  #component: Int32Array = new Int32Array(0);

  constructor(transactionCount: number) {
    this.#transactionCount = transactionCount;
    for (let i = 0; i < transactionCount; i++) this.#out.push([]);
  }

  /** An edge from a node to itself says nothing and is not kept. */
  add(from: number, to: number, kind: EdgeKind, key: string, value: string | number): void {
    if (from !== to) (this.#out[from] as Edge[]).push({ from, to, kind, key, value });
  }

  /** `ends` and `beginnings` are in order of time; an end counts as before what begins later, not at its time. */
  addRealTime(
    ends: readonly { readonly node: number; readonly at: number }[],
    beginnings: readonly { readonly node: number; readonly at: number }[],
  ): void {
    const first = this.#out.length;
    for (let i = 0; i < ends.length; i++) this.#out.push([]);
    for (const [i, { node }] of ends.entries()) {
      this.add(node, first + i, "rt", "", "");
      if (i > 0) this.add(first + i - 1, first + i, "rt", "", "");
    }
    let before = 0;
    for (const { node, at } of beginnings) {
      while ((ends[before]?.at ?? Infinity) < at) before++;
      if (before > 0) this.add(first + before - 1, node, "rt", "", "");
    }
  }

  /** Edges between transactions that lie on some cycle. To be called when all edges are there. */
  cyclicEdges(): Edge[] {
    this.#component = this.#components();
    return this.#out.flatMap((edges) =>
      edges.filter((edge) => edge.kind !== "rt" && this.#isInside(edge)),
    );
  }

  #isInside(edge: Edge): boolean {
    return this.#component[edge.from] === this.#component[edge.to];
  }

  /**
   * The first cycle that `accept` takes, each made of one of `seeds` and a shortest way back along edges of the
   * given kinds.
   */
  findCycle(
    seeds: readonly Edge[],
    kinds: readonly EdgeKind[],
    accept: (cycle: readonly Edge[]) => boolean,
  ): readonly Edge[] | null {
    for (const seed of seeds.slice(0, SEEDS_MAX)) {
      const way = this.#shortestWay(seed.to, seed.from, kinds);
      if (way !== null && accept([seed, ...way])) return [seed, ...way];
    }
    return null;
  }

  /** Shortest in transactions: steps that leave a marker cost nothing. */
  #shortestWay(from: number, to: number, kinds: readonly EdgeKind[]): Edge[] | null {
    const arrivedBy = new Map<number, Edge | null>([[from, null]]);
    let level = [from];
    while (level.length > 0) {
      const nextLevel: number[] = [];
      // `level` grows while it is read: by what markers lead to.
      for (const node of level) {
        for (const edge of this.#out[node] as Edge[]) {
          if (arrivedBy.has(edge.to) || !kinds.includes(edge.kind)) continue;
          if (!this.#isInside(edge)) continue;
          arrivedBy.set(edge.to, edge);
          if (edge.to === to) return this.#wayBack(edge, arrivedBy);
          (node < this.#transactionCount ? nextLevel : level).push(edge.to);
        }
      }
      level = nextLevel;
    }
    return null;
  }

  /** The edges from the start to `last`, with each run over markers as one edge of real time. */
  #wayBack(last: Edge, arrivedBy: ReadonlyMap<number, Edge | null>): Edge[] {
    const way: Edge[] = [];
    let end: Edge | null = null;
    for (let edge: Edge | null = last; edge !== null; edge = arrivedBy.get(edge.from) ?? null) {
      end ??= edge;
      if (edge.from >= this.#transactionCount) continue;
      way.push({ ...end, from: edge.from });
      end = null;
    }
    return way.reverse();
  }

  /** The strongly connected component of each node. Without recursion, as histories are long. */
  #components(): Int32Array {
    const count = this.#out.length;
    const order = new Int32Array(count).fill(-1);
    const low = new Int32Array(count);
    const component = new Int32Array(count).fill(-1);
    const nextEdge = new Int32Array(count);
    const path: number[] = [];
    const unassigned: number[] = [];
    let visited = 0;
    for (let root = 0; root < count; root++) {
      if (order[root] !== -1) continue;
      path.push(root);
      while (path.length > 0) {
        const node = path[path.length - 1] as number;
        if (order[node] === -1) {
          order[node] = low[node] = visited++;
          unassigned.push(node);
        }
        const edge = (this.#out[node] as Edge[])[nextEdge[node] as number];
        if (edge !== undefined) {
          nextEdge[node] = (nextEdge[node] as number) + 1;
          if (order[edge.to] === -1) path.push(edge.to);
          else if (component[edge.to] === -1) {
            low[node] = Math.min(low[node] as number, order[edge.to] as number);
          }
          continue;
        }
        path.pop();
        const parent = path[path.length - 1];
        if (parent !== undefined) {
          low[parent] = Math.min(low[parent] as number, low[node] as number);
        }
        if (low[node] !== order[node]) continue;
        for (let member = -1; member !== node;) {
          member = unassigned.pop() as number;
          component[member] = node;
        }
      }
    }
    return component;
  }
}
