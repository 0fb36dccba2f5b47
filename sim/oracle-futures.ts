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
  const { kind } = outcome;
  if (kind === "leaseKeepAlive") return `k${outcome.ttlSeconds}`;
  if (kind === "sessionClose") return `close${outcome.closed}`;
  if (kind === "lock") return `lock${outcome.acquired}${outcome.fence}`;
  if (kind === "unlock") return `unlock${outcome.released}`;
  // A key that a command ended and one that had ended right before it leave the same state behind.
  if (kind === "expireKey" || kind === "set" || kind === "txn")
    return `${kind}${outcome.revision}${outcome.succeeded}`;
  if (kind === "deleteRange" || kind === "mdel")
    return `${kind}${outcome.revision} ${outcome.deleted}`;
  return `${kind === "error" ? outcome.code : kind}${outcome.revision}`;
}

/** Equal for states that look alike. */
export function visibleName({ model }: Pick<Possible, "model">): string {
  return `${model.signature} ${model.revision} ${model.compactRevision} ${[...model.leases.keys()].join()} `;
}

/** What changes nothing when the deadline is the one that the key has already. */
const STILL_KINDS: ReadonlySet<string> = new Set(["expireKey", "lock", "extendLock"]);

export interface FuturesOptions {
  readonly queue: readonly Issued[];
  readonly mayEnd: (id: bigint, lease: ModelLease) => boolean;
  /** Null: nobody listens, and leases end at any place. Otherwise it has heard of everything that has changed. */
  readonly witness: Witness | null;
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
      for (const other of this.#others(at)) yield* this.reachable(other, revision);
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
      for (const other of this.#others(at)) yield* this.untilHappened(other, issued);
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
  #next(possible: Possible, isStill = false): Possible | null {
    const issued = this.#options.queue[possible.happened.size];
    if (issued === undefined) return null;
    const model = possible.model.copy();
    const { request } = issued;
    const before = request.kind === "leaseKeepAlive" ? model.leases.get(request.id) : undefined;
    model.isStill = isStill;
    const outcome = model.applyOnce(request, issued.id, issued.issuedAtMs);
    model.isStill = false;
    // Until its answer comes nobody was promised a longer life of the lease.
    if (request.kind === "leaseKeepAlive" && before !== undefined)
      model.weakenLease(request.id, before);
    if (!this.#isHeard(model, possible.model.revision)) return null;
    return { model, happened: new Map(possible.happened).set(issued, outcome) };
  }

  /** What the model has changed since `before` is what was heard of it, if anybody listened. */
  #isHeard(model: KvModel, before: number): boolean {
    const { witness } = this.#options;
    const isChange = model.revision > before;
    const found =
      model.doubt ??
      (isChange && witness !== null ? eventsMismatch(witness.at(model.revision), model) : null);
    if (found !== null) this.reason ??= `at revision ${model.revision}: ${found}`;
    return found === null;
  }

  /** What else may have come next: a command that changed nothing, or the end of something. */
  *#others(possible: Possible): Generator<Possible, void, void> {
    const { model, happened } = possible;
    const { queue, witness, mayEnd } = this.#options;
    const heard = witness?.at(model.revision + 1) ?? null;
    // The change of its key that was heard is that of a command behind it.
    if (heard !== null && STILL_KINDS.has(queue[happened.size]?.request.kind ?? "")) {
      const still = this.#next(possible, true);
      if (still !== null) yield still;
    }
    if (heard !== null && heard.length > 0 && heard.every(({ cause }) => cause === "expired")) {
      const keys = heard.map(({ kv }) => keyText(kv.key));
      const after = this.#withoutKeys(model, keys);
      if (after !== null) yield { model: after, happened };
    }
    for (const [id, lease] of model.leases) {
      if (!mayEnd(id, lease)) continue;
      // The end of a lease with keys is heard.
      const isOther = witness !== null && heard?.[0]?.cause !== "lease";
      if (isOther && model.keysOf(id).length > 0) continue;
      const after = model.copy();
      after.endLease(id);
      after.leasesEnded++;
      if (!this.#isHeard(after, model.revision)) continue;
      yield { model: after, happened };
    }
    for (const id of endedSessions(model)) {
      const after = model.copy();
      after.setSession(id, null);
      after.sessionsEnded++;
      yield { model: after, happened };
    }
  }

  #withoutKeys(model: KvModel, keys: readonly string[]): KvModel | null {
    const after = model.copy();
    after.endKeys(keys);
    return this.#isHeard(after, model.revision) ? after : null;
  }
}

/** Where what was heard of the newest revision differs from what it changes in the model, or null. */
function eventsMismatch(heard: readonly WatchEvent[] | null, model: KvModel): string | null {
  if (heard === null) return "nobody has heard of it";
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
