/**
 * What may have become of a database that nobody has looked at for a while: commands of the queue have happened or
 * not, in their order, and leases, keys and sessions whose time is up have ended or not, at any place between them.
 * Where somebody heard what changed (witness.ts), there is one place for each end, and all changes must be those that
 * were heard.
 */
import type { Outcome, RequestId, WatchEvent } from "../src/db/index.ts";
import { type KvModel, keyText, type ModelLease, type ModelRequest } from "./model.ts";
import { endedSessions, hiddenName } from "./model-sessions.ts";
import { difference } from "./violation.ts";
import type { Witness } from "./witness.ts";

/** A command that was handed to the database. */
export interface Issued {
  readonly request: ModelRequest;
  /** Null: it happens as often as it is sent. */
  readonly id: RequestId | null;
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
  let name = `${visibleName({ model })} ${hiddenName(model)}`;
  for (const outcome of happened.values()) name += `${answerName(outcome)} `;
  return name;
}

/** Of answers to one request: equal for those that nobody can tell apart. */
function answerName(outcome: Outcome): string {
  switch (outcome.kind) {
    case "leaseKeepAlive":
      return `k${outcome.ttlSeconds}`;
    case "sessionClose":
      return `close${outcome.closed}`;
    case "lock":
      return `lock${outcome.acquired}${outcome.fence}`;
    case "unlock":
      return `unlock${outcome.released}`;
    case "error":
      return `${outcome.code}${outcome.revision}`;
    default:
      return `${outcome.kind}${outcome.revision}`;
  }
}

/** Equal for states that look alike. */
export function visibleName({ model }: Pick<Possible, "model">): string {
  return `${model.signature} ${model.revision} ${model.compactRevision} ${[...model.leases.keys()].join()} `;
}

export interface FuturesOptions {
  readonly queue: readonly Issued[];
  readonly mayEnd: (id: bigint, lease: ModelLease) => boolean;
  /** Null: nobody listens, and leases end at any place. */
  readonly witness: Witness | null;
  /**
   * Of keys that are seen to live, the revision of their last change: they have not ended since. Null: nobody has
   * looked, but the witness has heard of every end.
   */
  readonly alive: ReadonlyMap<string, number> | null;
}

export class Futures {
  readonly #options: FuturesOptions;
  /** Leases end in any order, and most orders lead to the same states. */
  readonly #visited = new Set<string>();
  /** Why a path came to its end that was not the one that was heard of. */
  reason: string | null = null;

  constructor(options: FuturesOptions) {
    this.#options = options;
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
    // Where nothing ends there is one way only.
    const { leases, sessions, deadlines } = possible.model;
    const isEnding = this.#options.witness !== null && deadlines.size > 0;
    if (leases.size === 0 && sessions.size === 0 && !isEnding) return false;
    const name = nameOf(possible);
    if (this.#visited.has(name)) return true;
    this.#visited.add(name);
    return false;
  }

  /** With one more command, or null when there is none, or what was heard is something else. */
  #next(possible: Possible): Possible | null {
    const issued = this.#options.queue[possible.happened.size];
    if (issued === undefined) return null;
    const model = possible.model.copy();
    const { request } = issued;
    const before = request.kind === "leaseKeepAlive" ? model.leases.get(request.id) : undefined;
    const outcome = model.applyOnce(request, issued.id, issued.issuedAtMs);
    // Until its answer comes nobody was promised a longer life of the lease.
    if (request.kind === "leaseKeepAlive" && before !== undefined)
      model.weakenLease(request.id, before);
    if (model.revision > possible.model.revision && !this.#isHeard(model)) return null;
    return { model, happened: new Map(possible.happened).set(issued, outcome) };
  }

  /** The model's newest revision is what was heard of it, if anybody listened. */
  #isHeard(model: KvModel): boolean {
    const heard = this.#options.witness?.at(model.revision) ?? null;
    const found = model.doubt ?? (heard === null ? null : eventsMismatch(heard, model));
    if (found !== null) this.reason ??= `at revision ${model.revision}: ${found}`;
    return found === null;
  }

  *#endings(possible: Possible): Generator<Possible, void, void> {
    const { model, happened } = possible;
    const { witness, mayEnd } = this.#options;
    const heard = witness?.at(model.revision + 1) ?? null;
    if (heard !== null && heard.length > 0 && heard.every(({ cause }) => cause === "expired")) {
      const after = this.#withoutKeys(
        model,
        heard.map(({ kv }) => keyText(kv.key)),
      );
      if (after !== null) yield { model: after, happened };
    } else if (heard === null && witness !== null) yield* this.#unheardEndings(possible);
    for (const [id, lease] of model.leases) {
      if (!mayEnd(id, lease)) continue;
      // The end of a lease with keys is heard.
      const isSilent = witness !== null && heard === null && this.#options.alive === null;
      if (isSilent && model.keysOf(id).length > 0) continue;
      if (heard !== null && heard[0]?.cause !== "lease" && model.keysOf(id).length > 0) continue;
      const after = model.copy();
      after.endLease(id);
      after.leasesEnded++;
      if (after.revision > model.revision && !this.#isHeard(after)) continue;
      yield { model: after, happened };
    }
    for (const id of endedSessions(model)) {
      const after = model.copy();
      after.setSession(id, null);
      after.sessionsEnded++;
      yield { model: after, happened };
    }
  }

  /** Keys end in the order of their deadlines, so those that have ended are the first ones. */
  *#unheardEndings({ model, happened }: Possible): Generator<Possible, void, void> {
    const { alive } = this.#options;
    if (alive === null) return;
    const highMs = model.times.highMs();
    const due = [...model.deadlines]
      .filter(([, deadlineMs]) => !(deadlineMs > highMs))
      .toSorted(([a, aMs], [b, bMs]) => (aMs || 0) - (bMs || 0) || (a < b ? -1 : 1));
    const keys: string[] = [];
    for (const [key] of due) {
      if (alive.get(key) === model.keyValueOf(key)?.modRevision) return;
      keys.push(key);
      const after = this.#withoutKeys(model, keys);
      if (after !== null) yield { model: after, happened };
    }
  }

  #withoutKeys(model: KvModel, keys: readonly string[]): KvModel | null {
    const after = model.copy();
    after.endKeys(keys);
    return this.#isHeard(after) ? after : null;
  }
}

/** Where what was heard of the newest revision differs from what it changes in the model, or null. */
function eventsMismatch(heard: readonly WatchEvent[], model: KvModel): string | null {
  const expected = model.eventsAt(model.revision);
  if (heard.length !== expected.length) return `${heard.length} changes, not ${expected.length}`;
  for (const [i, { type, kv, cause }] of heard.entries()) {
    const event = expected[i] as WatchEvent;
    const found = type === event.type && cause === event.cause;
    const difficulty = found
      ? difference(kv, event.kv)
      : `${type} by ${cause}, not ${event.type} by ${event.cause}`;
    if (difficulty !== null) return `change ${i}: ${difficulty}`;
  }
  return null;
}
