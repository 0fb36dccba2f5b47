/**
 * What owners of locks were told, over all lives of a run. It knows nothing of the model: a fencing token means one
 * acquisition by one owner for ever, a later acquisition has a greater one, and a lock that was acknowledged is held
 * until somebody gives it back or deletes its key.
 */
import type { HarmonyError } from "../src/base/index.ts";
import type { KeyRange, Outcome, RangeResponse, Refusal, RequestOp } from "../src/db/index.ts";
import { keyText, type ModelRequest } from "./model.ts";
import type { LockingRequest } from "./model-native.ts";
import type { Issued } from "./oracle-futures.ts";
import { check, show } from "./violation.ts";

/** A lock that lasts so long was taken for good. */
const NEVER_MS = 100_000_000_000;
const RELEASES: ReadonlySet<ModelRequest["kind"]> = new Set<ModelRequest["kind"]>([
  "unlock",
  "deleteRange",
  "mdel",
  "txn",
  "lock",
  "extendLock",
]);
const ONE_OWNER = "a fencing token is given to one owner";
const ONLY_GROWS = "fencing tokens only grow";

interface Holder {
  readonly token: string;
  readonly fence: number;
  /** Of the latest request whose answer says that it holds the lock. Requests take effect in their order. */
  readonly ordinal: number;
  /** When it was first told. */
  readonly toldAtMs: number;
  readonly deadlineMs: number;
}

export class LockLedger {
  /** By key: the owner of each fencing token that anybody was told. */
  readonly #owners = new Map<string, Map<number, string>>();
  readonly #holders = new Map<string, Holder>();
  /** Key and token of requests that may have acquired the lock although nobody was told. */
  readonly #untold = new Map<Issued, string>();
  /** Requests that may have ended a lock since the last opening. */
  readonly #releases = new Set<Issued>();
  #ordinal = -1;
  /** Whether the group's clock may have come as far. */
  readonly #mayBeOver: (deadlineMs: number) => boolean;

  constructor(mayBeOver: (deadlineMs: number) => boolean = () => false) {
    this.#mayBeOver = mayBeOver;
  }

  /** Another owner holds a lock whose last one may have let it end. */
  takenAfterItsEnd = 0;

  issued(issued: Issued): void {
    const { request } = issued;
    this.#ordinal = issued.ordinal;
    if (request.kind === "lock") this.#untold.set(issued, acquisitionOf(request));
    if (isRelease(request)) this.#releases.add(issued);
  }

  answered(issued: Issued, error: HarmonyError | null, outcome: Outcome, nowMs: number): void {
    if (error !== null) {
      if (!error.maybeApplied) this.#forget(issued);
      return;
    }
    const { request } = issued;
    if (outcome.kind === "error" || (outcome.kind === "unlock" && !outcome.released))
      this.#forget(issued);
    if (request.kind === "lock" && outcome.kind === "lock") {
      const { acquired, token, fence, deadlineMs, leftMs, revision } = outcome;
      const owner = keyText(token);
      const key = keyText(request.key);
      check(
        acquired === (owner === keyText(request.token)),
        "a lock is its owner's",
        () => `${show(request)} -> ${show(outcome)}`,
      );
      check(
        fence === revision || !acquired || this.#isRenewal(issued, key, fence),
        "a fencing token is the revision of its acquisition",
        () => `${show(request)} -> ${show(outcome)}`,
      );
      check(
        (!acquired || (leftMs > 0 && leftMs <= request.ttlMs)) && fence <= revision,
        "a lock has no longer to live than was asked for",
        () => `${show(request)} -> ${show(outcome)}`,
      );
      this.#told(issued, key, { token: owner, fence, deadlineMs }, nowMs);
      this.#untold.delete(issued);
    }
    if (request.kind === "extendLock" && outcome.kind === "extendLock" && outcome.extended) {
      const { fence, deadlineMs } = outcome;
      const token = keyText(request.token);
      this.#told(issued, keyText(request.key), { token, fence, deadlineMs }, nowMs);
    }
  }

  /**
   * What a database holds that was opened again. `safeMs`: what was told later may be lost. Answers how many locks had
   * to be there.
   */
  reopened(everything: RangeResponse | Refusal, safeMs: number): number {
    const found = new Map<string, Pick<Holder, "token" | "fence" | "deadlineMs">>();
    for (const { key, value, createRevision, isLock, deadlineMs = 0 } of everything.kind === "range"
      ? everything.kvs
      : [])
      if (isLock === true)
        found.set(keyText(key), { token: keyText(value), fence: createRevision, deadlineMs });
    let held = 0;
    for (const [key, holder] of this.#holders) {
      if (holder.toldAtMs >= safeMs || this.#mayHaveEnded(key, holder)) continue;
      held++;
      const now = found.get(key);
      check(
        now?.token === holder.token && now.fence === holder.fence,
        "an acknowledged lock is held until it is given back",
        () => `${key}: ${show(now)} instead of ${show(holder)}`,
      );
    }
    // What came of requests whose answer is missing is decided now.
    this.#releases.clear();
    this.#holders.clear();
    for (const [key, { token, fence, deadlineMs }] of found) {
      this.#ownerIs(key, fence, token);
      const toldAtMs = Number.NEGATIVE_INFINITY;
      this.#holders.set(key, { token, fence, deadlineMs, ordinal: this.#ordinal, toldAtMs });
    }
    return held;
  }

  #told(
    issued: Issued,
    key: string,
    { token, fence, deadlineMs }: Pick<Holder, "token" | "fence" | "deadlineMs">,
    nowMs: number,
  ): void {
    this.#ownerIs(key, fence, token);
    const { ordinal } = issued;
    const before = this.#holders.get(key);
    if (before !== undefined && before.ordinal > ordinal) return;
    if (before !== undefined) {
      const isSame = before.fence === fence;
      check(
        fence >= before.fence,
        ONLY_GROWS,
        () => `${key}: ${fence} for ${token} after ${before.fence} for ${before.token}`,
      );
      // Each request for a lock that never ends has a longer TTL than those before it.
      check(
        !isSame || deadlineMs >= before.deadlineMs || this.#mayBeOver(deadlineMs - NEVER_MS),
        "the deadline of a lock only grows",
        () => `${key}: ${deadlineMs} after ${before.deadlineMs}`,
      );
      check(
        isSame || this.#mayBeOver(before.deadlineMs) || this.#mayHaveEnded(key, before),
        "a lock has one owner until it ends",
        () =>
          `${key}: ${fence} for ${token}, and ${before.fence} of ${before.token} lasts until ${before.deadlineMs}`,
      );
    }
    if (before !== undefined && before.fence !== fence && this.#mayBeOver(before.deadlineMs))
      this.takenAfterItsEnd++;
    const toldAtMs = before?.fence === fence ? before.toldAtMs : nowMs;
    this.#holders.set(key, { token, fence, ordinal, toldAtMs, deadlineMs });
  }

  #ownerIs(key: string, fence: number, token: string): void {
    const owners = this.#owners.get(key) ?? new Map<number, string>();
    this.#owners.set(key, owners);
    const owner = owners.get(fence) ?? token;
    check(owner === token, ONE_OWNER, () => `${key}: ${fence} for ${owner} and for ${token}`);
    owners.set(fence, token);
  }

  /** The fence was told before, or is that of an acquisition that nobody was told of. */
  #isRenewal(issued: Issued, key: string, fence: number): boolean {
    if (this.#owners.get(key)?.has(fence) === true) return true;
    const acquisition = acquisitionOf(issued.request as LockingRequest);
    for (const [other, name] of this.#untold)
      if (other.ordinal < issued.ordinal && name === acquisition) return true;
    return false;
  }

  #mayHaveEnded(key: string, { ordinal, deadlineMs, token }: Holder): boolean {
    for (const { ordinal: later, request } of this.#releases)
      if (later > ordinal && (releases(request, key) || shortens(request, key, token))) return true;
    return this.#mayBeOver(deadlineMs);
  }

  #forget(issued: Issued): void {
    this.#untold.delete(issued);
    this.#releases.delete(issued);
  }
}

function acquisitionOf({ key, token }: LockingRequest): string {
  return `${keyText(token)} ${keyText(key)}`;
}

function isRelease({ kind }: ModelRequest): boolean {
  return RELEASES.has(kind);
}

/** Of a lock that ends: its owner may have given it less time to live. */
function shortens(request: ModelRequest, key: string, token: string): boolean {
  return (
    (request.kind === "lock" || request.kind === "extendLock") &&
    request.ttlMs < NEVER_MS &&
    keyText(request.key) === key &&
    keyText(request.token) === token
  );
}

/** Whether a request may delete a key. Branches are not chosen here, so either counts. */
function releases(request: ModelRequest | RequestOp, key: string): boolean {
  if (request.kind === "unlock") return keyText(request.key) === key;
  if (request.kind === "deleteRange") return covers(request, key);
  if (request.kind === "mdel") return request.keys.some((one) => keyText(one) === key);
  if (request.kind !== "txn") return false;
  return [...request.success, ...request.failure].some((op) => releases(op, key));
}

function covers({ key: from, rangeEnd }: KeyRange, key: string): boolean {
  if (rangeEnd.length === 0) return keyText(from) === key;
  const isOpen = rangeEnd.length === 1 && rangeEnd[0] === 0;
  return key >= keyText(from) && (isOpen || key < keyText(rangeEnd));
}
