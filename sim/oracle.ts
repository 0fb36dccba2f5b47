/**
 * Judges what a database answers and what it still knows after a crash.
 *
 * Commands take effect in the order in which they were issued, for there is one log. So the oracle keeps them in a
 * queue: an answer says that everything before it has happened too. What is in the queue at a crash is unknown: each
 * command has happened wholly or not at all, and none without those before it. After the reopening the oracle looks
 * for the number of unknown commands with which its model equals the database; when there is none, a check failed.
 *
 * Leases that end by themselves are the one thing that clients did not ask for. They may end at any place in the
 * order once their time is up, and never earlier (fault-rules K6).
 */
import type { HarmonyError } from "../src/base/index.ts";
import type {
  LeaseStatus,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
  TxnRequest,
  WriteRequest,
} from "../src/db/index.ts";
import { KvModel, type ModelLease } from "./model.ts";
import { check, difference, show, Violation } from "./violation.ts";

/** A command that was handed to the database. */
export interface Issued {
  readonly request: WriteRequest;
  readonly issuedAtMs: number;
  readonly ordinal: number;
}

/** Everything that can be asked of a database that has just been opened. */
export interface Observed {
  readonly revision: number;
  readonly compactRevision: number;
  range(request: RangeRequest): RangeResponse | Refusal;
  leases(): readonly bigint[];
  leaseStatus(id: bigint): LeaseStatus;
}

export interface OracleOptions {
  readonly leaseTtlSecondsMin: number;
  readonly keepsHistory: boolean;
  /** The database compacts by itself, but keeps at least so many revisions. 0: it does not. */
  readonly retentionRevisions: number;
}

interface Candidate {
  readonly model: KvModel;
  /** How many commands of the queue have happened in it. */
  readonly taken: number;
}

/** Stamps are whole milliseconds, rounded down. */
const STAMP_SLACK_MS = 2;

const ZERO = new Uint8Array(1);
export const EVERYTHING: RangeRequest = {
  kind: "range",
  key: ZERO,
  rangeEnd: ZERO,
  limit: 0,
  revision: 0,
  sortOrder: "none",
  sortTarget: "key",
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
};

export class Oracle {
  readonly #options: OracleOptions;
  readonly #nowMs: () => number;
  #model: KvModel;
  /** Issued, and not yet known to have happened. In the order of the log. */
  #queue: Issued[] = [];
  /** What the model said about a command that the queue was emptied beyond, until its answer comes. */
  readonly #expected = new Map<Issued, Outcome>();
  #issued = 0;
  #acknowledged = 0;
  /** The highest revision that anybody was told. */
  #seenRevision = 1;

  constructor(options: OracleOptions, nowMs: () => number) {
    this.#options = options;
    this.#nowMs = nowMs;
    this.#model = new KvModel(options.leaseTtlSecondsMin, options.keepsHistory);
  }

  /** The same knowledge, for a fork of the world. */
  copy(nowMs: () => number): Oracle {
    const copy = new Oracle(this.#options, nowMs);
    copy.#model = this.#model.copy();
    copy.#queue = [...this.#queue];
    copy.#issued = this.#issued;
    copy.#acknowledged = this.#acknowledged;
    copy.#seenRevision = this.#seenRevision;
    return copy;
  }

  get revision(): number {
    return this.#model.revision;
  }

  get compactRevision(): number {
    return this.#model.compactRevision;
  }

  get leases(): ReadonlySet<bigint> {
    return new Set(this.#model.leases.keys());
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** How many commands may or may not have happened. */
  get unknown(): number {
    return this.#queue.length;
  }

  issue(request: WriteRequest): Issued {
    const issued = { request, issuedAtMs: this.#nowMs(), ordinal: this.#issued++ };
    this.#queue.push(issued);
    return issued;
  }

  /** The database answered a command. */
  answered(issued: Issued, error: HarmonyError | null, outcome: Outcome): void {
    if (error !== null) {
      if (!error.maybeApplied) this.#neverHappened(issued, error);
      return;
    }
    this.#acknowledged++;
    while (this.#queue.length > 0 && (this.#queue[0] as Issued).ordinal <= issued.ordinal) {
      const next = this.#queue.shift() as Issued;
      // The answer tells whether a lease came to its end before: only then do the revisions fit.
      const fits = next === issued ? this.#applyToFit(next, outcome) : null;
      this.#expected.set(next, fits ?? this.#apply(this.#model, next));
    }
    const expected = this.#expected.get(issued);
    this.#expected.delete(issued);
    check(expected !== undefined, "a command is answered once", () => show(issued.request));
    const found = difference(outcome, expected);
    check(found === null, "the answer of a write is the model's", () => `${show(issued.request)} -> ${found}`);
    this.#see(outcome.revision);
  }

  /** A linearizable read: sees everything that was acknowledged before, and nothing that never was issued. */
  read(request: RangeRequest | TxnRequest, response: Outcome): void {
    const { revision } = response;
    check(revision >= this.#seenRevision, "a read sees what was acknowledged before", () => `revision ${revision}, ${this.#seenRevision} was seen`);
    this.#see(revision);
    let reason: string | null = null;
    // Commands whose answers are late, and those that make no revision, may have happened or not.
    for (const { model, taken } of this.#candidates(revision)) {
      this.#observeCompaction(model, request, response);
      const expected = request.kind === "range" ? model.range(request) : model.readTxn(request);
      const found = difference(response, expected);
      if (found === null) {
        this.#happened(taken, model);
        return;
      }
      reason ??= found;
    }
    throw new Violation("the answer of a read is the model's", `${reason ?? `nothing leads from revision ${this.#model.revision} to ${revision}`}: ${show(request)}`);
  }

  /** The database was opened again, after a crash or cleanly: it holds what was acknowledged, whole commands only. */
  reopened(observed: Observed): void {
    check(observed.revision >= this.#seenRevision, "every acknowledged write survives", () => `revision ${observed.revision} after ${this.#seenRevision} was acknowledged`);
    let reason = `no prefix of ${this.#queue.length} unknown commands gives revision ${observed.revision}`;
    for (const { model } of this.#candidates(observed.revision)) {
      const found = this.#mismatch(model, observed);
      if (found === null) {
        // The others are lost for good: nothing proposes them again.
        this.#queue = [];
        this.#expected.clear();
        this.#model = model;
        this.#see(observed.revision);
        return;
      }
      reason = found;
    }
    throw new Violation("the reopened state is that of whole commands in their order", reason);
  }

  /** Models of every state that the database may be in at `revision`: those first in which the least has happened. */
  *#candidates(revision: number): Generator<Candidate> {
    yield* this.#from(this.#model.copy(), 0, revision);
  }

  *#from(model: KvModel, taken: number, revision: number): Generator<Candidate> {
    const chain: KvModel[] = [];
    for (let i = taken, at = model; ; i++) {
      chain.push(at);
      if (at.revision === revision) yield { model: at, taken: i };
      const next = this.#queue[i];
      if (next === undefined || at.revision > revision) break;
      at = at.copy();
      const before = at.leases.get(leaseIdOf(next.request));
      this.#apply(at, next);
      if (next.request.kind === "leaseKeepAlive" && before !== undefined)
        at.weakenLease(next.request.id, before);
    }
    for (const [i, at] of chain.entries()) {
      for (const id of this.#dueLeases(at)) {
        const ended = at.copy();
        ended.endLease(id);
        yield* this.#from(ended, taken + i, revision);
      }
    }
  }

  /** Leases whose promised time is over: the database may end them now, or have ended them. */
  #dueLeases(model: KvModel): bigint[] {
    const out: bigint[] = [];
    for (const [id, lease] of model.leases) if (this.#isDue(lease)) out.push(id);
    return out;
  }

  #isDue(lease: ModelLease): boolean {
    return lease.livesUntilMs - STAMP_SLACK_MS <= this.#nowMs();
  }

  #apply(model: KvModel, issued: Issued): Outcome {
    return model.apply(issued.request, issued.issuedAtMs);
  }

  /** Applies `issued` such that the outcome is `outcome`, ending leases before it where they may have ended. */
  #applyToFit(issued: Issued, outcome: Outcome): Outcome | null {
    const due = this.#dueLeases(this.#model);
    if (due.length === 0) return null;
    for (let subset = 0; subset < 2 ** Math.min(due.length, 6); subset++) {
      const trial = this.#model.copy();
      for (const [bit, id] of due.entries()) if ((subset >> bit) & 1) trial.endLease(id);
      const expected = this.#apply(trial, issued);
      if (difference(outcome, expected) !== null) continue;
      this.#model = trial;
      return expected;
    }
    return null;
  }

  /** A read saw the first `taken` commands of the queue: their answers, still to come, are known now. */
  #happened(taken: number, model: KvModel): void {
    const replay = this.#model.copy();
    for (const issued of this.#queue.splice(0, taken)) this.#expected.set(issued, this.#apply(replay, issued));
    this.#model = model;
  }

  #neverHappened(issued: Issued, error: HarmonyError): void {
    const at = this.#queue.indexOf(issued);
    check(at >= 0, "what certainly did not happen did not happen", () => `${error.code} for ${show(issued.request)}, which was seen`);
    this.#queue.splice(at, 1);
  }

  #see(revision: number): void {
    if (revision > this.#seenRevision) this.#seenRevision = revision;
  }

  /** Compactions that the database made by itself show in what it refuses to read. */
  #observeCompaction(model: KvModel, request: RangeRequest | TxnRequest, response: Outcome): void {
    const { retentionRevisions } = this.#options;
    if (retentionRevisions === 0 || request.kind !== "range" || response.kind !== "error") return;
    if (response.code === "COMPACTED" && request.revision < model.revision - retentionRevisions)
      model.compactTo(Math.max(model.compactRevision, request.revision + 1));
  }

  /** Where the database differs from `model`, or null. */
  #mismatch(model: KvModel, observed: Observed): string | null {
    if (observed.compactRevision !== model.compactRevision) {
      const { retentionRevisions } = this.#options;
      const isOwn = retentionRevisions > 0 && observed.compactRevision > model.compactRevision && observed.compactRevision <= model.revision - retentionRevisions;
      if (!isOwn) return `compacted to ${observed.compactRevision}, not ${model.compactRevision}`;
      model.compactTo(observed.compactRevision);
    }
    const latest = difference(observed.range(EVERYTHING), model.range(EVERYTHING));
    if (latest !== null) return `at the newest revision ${model.revision}: ${latest}`;
    for (const revision of revisionsToRead(model)) {
      const request = { ...EVERYTHING, revision };
      const found = difference(observed.range(request), model.range(request));
      if (found !== null) return `at revision ${revision}: ${found}`;
    }
    return this.#leaseMismatch(model, observed);
  }

  #leaseMismatch(model: KvModel, observed: Observed): string | null {
    const held = new Set(observed.leases());
    for (const [id, lease] of model.leases) {
      const status = observed.leaseStatus(id);
      if (!held.delete(id)) return `lease ${id} is gone${this.#isDue(lease) ? "" : ` ${lease.livesUntilMs - this.#nowMs()} ms too early`}`;
      if (status.grantedTtlSeconds !== BigInt(lease.ttlSeconds)) return `lease ${id} has a TTL of ${status.grantedTtlSeconds}, not ${lease.ttlSeconds}`;
      const keys = difference(status.keys, model.keyBytesOf(id));
      if (keys !== null) return `keys of lease ${id}${keys}`;
    }
    for (const id of held) return `lease ${id} was not granted, or has ended`;
    return null;
  }
}

const READ_REVISIONS_MAX = 24;

/** Every readable revision when they are few, otherwise the ends and a spread of those between, and one beyond each end. */
function revisionsToRead({ compactRevision, revision }: KvModel): number[] {
  const first = Math.max(1, compactRevision - 1);
  const count = revision + 1 - first;
  const step = Math.max(1, Math.ceil(count / READ_REVISIONS_MAX));
  const out = [revision + 1];
  if (compactRevision > 0) out.push(compactRevision);
  for (let at = first; at <= revision; at += step) out.push(at);
  return out;
}

function leaseIdOf(request: WriteRequest): bigint {
  return request.kind === "leaseKeepAlive" ? request.id : 0n;
}
