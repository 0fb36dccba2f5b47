/**
 * What may have become of a database that nobody has looked at for a while: commands of the queue have happened or
 * not, in their order, and leases whose time is up have ended or not, at any place between them.
 */
import type { Outcome } from "../src/db/index.ts";
import type { KvModel, ModelLease, ModelRequest } from "./model.ts";

/** A command that was handed to the database. */
export interface Issued {
  readonly request: ModelRequest;
  readonly issuedAtMs: number;
  readonly ordinal: number;
  /** Nobody waits for an answer any more, and what happened to it is open. */
  isOver: boolean;
}

/**
 * A state that the database may be in. Several are possible while a lease is due: a revision may have come from its
 * end or from a command whose answer is on its way.
 */
export interface Possible {
  readonly model: KvModel;
  /** Commands of the queue that have happened in it, a prefix, with the answers that they must get. */
  readonly happened: ReadonlyMap<Issued, Outcome>;
}

/** Equal for states that nobody can tell apart, now or later: the answers that are on their way count too. */
export function nameOf({ model, happened }: Possible): string {
  let name = `${model.signature} ${model.compactRevision} ${[...model.leases.keys()].join()} `;
  for (const outcome of happened.values())
    name += outcome.kind === "leaseKeepAlive" ? `k${outcome.ttlSeconds} ` : `${outcome.kind} `;
  return name;
}

export class Futures {
  readonly #queue: readonly Issued[];
  readonly #mayEnd: (id: bigint, lease: ModelLease) => boolean;
  /** Leases end in any order, and most orders lead to the same states. */
  readonly #visited = new Set<string>();

  constructor(queue: readonly Issued[], mayEnd: (id: bigint, lease: ModelLease) => boolean) {
    this.#queue = queue;
    this.#mayEnd = mayEnd;
  }

  /** States at `revision` that `possible` may have become: those first in which the least has happened. */
  *reachable(possible: Possible, revision: number): Generator<Possible, void, void> {
    const chain: Possible[] = [];
    for (let at: Possible | null = possible; at !== null; at = this.#next(at)) {
      if (at.model.revision > revision || this.#isKnown(at)) break;
      chain.push(at);
      if (at.model.revision === revision) yield at;
    }
    for (const at of chain)
      for (const ended of this.#endings(at)) yield* this.reachable(ended, revision);
  }

  /** States right after `issued` has happened. */
  *untilHappened(possible: Possible, issued: Issued): Generator<Possible, void, void> {
    const chain: Possible[] = [];
    for (let at: Possible | null = possible; at !== null; at = this.#next(at)) {
      if (this.#isKnown(at)) break;
      if (at.happened.has(issued)) {
        yield at;
        break;
      }
      chain.push(at);
    }
    for (const at of chain)
      for (const ended of this.#endings(at)) yield* this.untilHappened(ended, issued);
  }

  #isKnown(possible: Possible): boolean {
    // Without leases there is one way only.
    if (possible.model.leases.size === 0) return false;
    const name = nameOf(possible);
    if (this.#visited.has(name)) return true;
    this.#visited.add(name);
    return false;
  }

  /** With one more command, or null when there is none. */
  #next(possible: Possible): Possible | null {
    const issued = this.#queue[possible.happened.size];
    if (issued === undefined) return null;
    const model = possible.model.copy();
    const { request } = issued;
    const before = request.kind === "leaseKeepAlive" ? model.leases.get(request.id) : undefined;
    const outcome = model.apply(request, issued.issuedAtMs);
    // Until its answer comes nobody was promised a longer life of the lease.
    if (request.kind === "leaseKeepAlive" && before !== undefined)
      model.weakenLease(request.id, before);
    return { model, happened: new Map(possible.happened).set(issued, outcome) };
  }

  *#endings(possible: Possible): Generator<Possible, void, void> {
    for (const [id, lease] of possible.model.leases) {
      if (!this.#mayEnd(id, lease)) continue;
      const model = possible.model.copy();
      model.endLease(id);
      model.leasesEnded++;
      yield { model, happened: possible.happened };
    }
  }
}
