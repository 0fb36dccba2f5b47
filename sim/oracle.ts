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
import type { LeaseStatus, Outcome, RangeRequest, TxnRequest } from "../src/db/index.ts";
import { LockLedger } from "./lock-ledger.ts";
import { Marks } from "./marks.ts";
import { KvModel, type ModelLease, type ModelRequest } from "./model.ts";
import { NODE_MARKS } from "./node-watch.ts";
import { Futures, type Issued, nameOf, type Possible } from "./oracle-futures.ts";
import { EVERYTHING, historyMismatch, leaseMismatch, type Observed } from "./oracle-compare.ts";
import { check, difference, show, Violation } from "./violation.ts";

export interface OracleOptions {
  readonly leaseTtlSecondsMin: number;
  readonly keepsHistory: boolean;
  /** Above 0: writes are acknowledged before their sync, and a power loss may take back those of so many milliseconds. */
  readonly fsyncIntervalMs?: number;
  /** The database compacts by itself, but keeps at least so many revisions. 0: it does not. */
  readonly retentionRevisions: number;
}

/** More are never met in practice; the states in which the least has happened are kept. */
const POSSIBLE_MAX = 64;

/** Stamps are whole milliseconds, rounded down. */
const STAMP_SLACK_MS = 2;

/** A sync that is under way when the power fails, and a turn of the timer. */
const SYNC_MS = 5;
const RAISE_REVISIONS = 1_000_000;
const LOST: ReadonlyMap<Issued, Outcome> = new Map();
const NONE: ReadonlySet<bigint> = new Set();

/** What happened so shortly before a crash is what the crash may have met. */
const RIGHT_BEFORE_MS = 50;

export class Oracle {
  readonly #options: OracleOptions;
  readonly #nowMs: () => number;
  readonly #marks: Marks;
  /** A copy begins with an empty one. */
  readonly #locks = new LockLedger();
  #possible: readonly Possible[];
  /** Issued and neither answered nor refused. In the order of the log. */
  #queue: Issued[] = [];
  #issued = 0;
  #acknowledged = 0;
  /** The highest revision that anybody was told. */
  #seenRevision = 1;
  #reopenings = 0;
  /** In the interval mode: what had happened at each acknowledgement that may still be lost, and the one before. */
  #unsynced: { readonly model: KvModel; readonly atMs: number }[] = [];
  /** When the process ended that nobody has come after yet. */
  #endedAtMs: number | null = null;
  #lostPower = false;
  /** When a lease was renewed for the last time. */
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: OracleOptions, nowMs: () => number, marks: Marks = new Marks()) {
    this.#options = options;
    this.#nowMs = nowMs;
    this.#marks = marks;
    this.#possible = [
      {
        model: new KvModel(options.leaseTtlSecondsMin, options.keepsHistory),
        happened: new Map(),
      },
    ];
  }

  /** The same knowledge, for a fork of the world. */
  copy(nowMs: () => number): Oracle {
    const copy = new Oracle(this.#options, nowMs);
    copy.#possible = this.#possible.map(({ model, happened }) => ({
      model: model.copy(),
      happened,
    }));
    copy.#queue = [...this.#queue];
    copy.#issued = this.#issued;
    copy.#acknowledged = this.#acknowledged;
    copy.#seenRevision = this.#seenRevision;
    return copy;
  }

  /** The model of the state in which the least has happened. */
  get #model(): KvModel {
    return (this.#possible[0] as Possible).model;
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

  issue(request: ModelRequest): Issued {
    const issued = { request, issuedAtMs: this.#nowMs(), ordinal: this.#issued++, isOver: false };
    this.#queue.push(issued);
    this.#locks.issued(issued);
    return issued;
  }

  /** The database answered a command. */
  answered(issued: Issued, error: HarmonyError | null, outcome: Outcome): void {
    this.#locks.answered(issued, error, outcome, this.#nowMs());
    if (error !== null) {
      issued.isOver = true;
      if (!error.maybeApplied) this.#neverHappened(issued, error);
      return;
    }
    this.#acknowledged++;
    let reason: string | null = null;
    const fitting: Possible[] = [];
    const futures = this.#futures();
    for (const possible of this.#possible) {
      for (const after of futures.untilHappened(possible, issued)) {
        const found = difference(outcome, after.happened.get(issued));
        if (found === null) fitting.push(after);
        else reason ??= found;
      }
    }
    if (fitting.length === 0)
      throw new Violation(
        "the answer of a write is the model's",
        `${show(issued.request)} -> ${reason}`,
      );
    this.#keep(fitting);
    if (issued.request.kind === "leaseKeepAlive") {
      for (const { model } of this.#possible)
        model.renewLease(issued.request.id, issued.issuedAtMs);
      this.#renewedAtMs = this.#nowMs();
    }
    this.#dropFromQueue(issued);
    this.#see(outcome.revision);
    this.#mayBeLost();
  }

  /** A linearizable read: sees everything that was acknowledged before, and nothing that never was issued. */
  read(request: RangeRequest | TxnRequest, response: Outcome): void {
    const { revision } = response;
    check(
      revision >= this.#seenRevision,
      "a read sees what was acknowledged before",
      () => `revision ${revision}, ${this.#seenRevision} was seen`,
    );
    this.#see(revision);
    let reason: string | null = null;
    const fitting: Possible[] = [];
    const futures = this.#futures();
    for (const possible of this.#possible) {
      for (const after of futures.reachable(possible, revision)) {
        this.#observeCompaction(after.model, request, response);
        const expected =
          request.kind === "range" ? after.model.range(request) : after.model.readTxn(request);
        const found = difference(response, expected);
        if (found === null) fitting.push(after);
        else reason ??= found;
      }
    }
    if (fitting.length === 0)
      throw new Violation(
        "the answer of a read is the model's",
        `${reason ?? `nothing leads from revision ${this.#model.revision} to ${revision}`}: ${show(request)}`,
      );
    this.#keep(fitting);
  }

  /** The database was opened again, after a crash or cleanly: it holds what was acknowledged, whole commands only. */
  reopened(observed: Observed): void {
    check(
      observed.revision >= this.#seenRevision,
      "every acknowledged write survives",
      () => `revision ${observed.revision} after ${this.#seenRevision} was acknowledged`,
    );
    let reason = `no prefix of ${this.#queue.length} unknown commands gives revision ${observed.revision}`;
    this.#reopenings++;
    const lossMs = this.#mayLose ? this.#safeMs : Number.POSITIVE_INFINITY;
    if (this.#locks.reopened(observed.range(EVERYTHING), lossMs) > 0)
      this.#marks.hit(NODE_MARKS.lockHeld);
    // A guess between several histories is made with all of the history in view.
    const isCertain = this.#possible.length === 1 && this.#dueLeases(this.#model).length === 0;
    // An id is given once, so what is held has not ended.
    const held = new Set(observed.leases());
    for (const raise of this.#raises()) {
      const futures = this.#futures(held);
      for (const beginning of this.#beginnings()) {
        const isLoss = beginning.happened === LOST;
        const from = isLoss ? new Futures([], this.#mayEnd(held)) : futures;
        for (const { model, happened } of from.reachable(beginning, observed.revision - raise)) {
          // Said first, for it is cheap, and there are many ways to end leases that nothing hangs on.
          if (model.leases.size !== held.size || [...held].some((id) => !model.leases.has(id))) {
            reason = `it holds the leases ${[...held].join()}, not ${[...model.leases.keys()].join()}`;
            continue;
          }
          model.revision = observed.revision;
          const found = this.#mismatch(model, observed, isCertain);
          if (found !== null) {
            model.revision -= raise;
            reason = found;
            continue;
          }
          if (isLoss) this.#marks.hit(NODE_MARKS.intervalLoss);
          this.#settle(model, happened, observed.revision);
          return;
        }
      }
    }
    throw new Violation("the reopened state is that of whole commands in their order", reason);
  }

  /**
   * How long a lease has to live: never less than what its owner was promised, so no clock that was set shows.
   * `isCertain`: false while no entry of this life has been stamped, for the time given after a restart begins there.
   */
  leaseStatus(id: bigint, status: LeaseStatus, isCertain: boolean): void {
    let reason = `nothing leads from revision ${this.#model.revision} to ${status.revision}`;
    this.#see(status.revision);
    const fitting: Possible[] = [];
    const futures = this.#futures();
    for (const possible of this.#possible) {
      for (const after of futures.reachable(possible, status.revision)) {
        const found = this.#statusMismatch(after.model, id, status, isCertain);
        if (found === null) fitting.push(after);
        else reason = found;
      }
    }
    if (fitting.length === 0) throw new Violation("a lease lives as long as promised", reason);
    this.#keep(fitting);
  }

  #statusMismatch(
    model: KvModel,
    id: bigint,
    status: LeaseStatus,
    isCertain: boolean,
  ): string | null {
    const lease = model.leases.get(id);
    if (lease === undefined)
      return status.ttlSeconds === -1n ? null : `lease ${id} is there and should not be`;
    if (status.ttlSeconds === -1n) return `lease ${id} is gone`;
    if (status.grantedTtlSeconds !== BigInt(lease.ttlSeconds))
      return `lease ${id} has a TTL of ${status.grantedTtlSeconds}, not ${lease.ttlSeconds}`;
    const promisedMs = lease.livesUntilMs - STAMP_SLACK_MS - this.#nowMs();
    // Whole seconds, rounded down.
    if (isCertain && (Number(status.ttlSeconds) + 1) * 1000 < promisedMs)
      return `lease ${id} has ${status.ttlSeconds} s left, and ${promisedMs} ms were promised`;
    if (Number(status.ttlSeconds) > lease.ttlSeconds)
      return `lease ${id} has ${status.ttlSeconds} s left of ${lease.ttlSeconds}`;
    return difference(status.keys, model.keyBytesOf(id));
  }

  /** Whether the promise of a lease ends before. */
  leaseEndsBefore(timeMs: number): boolean {
    for (const { livesUntilMs } of this.#model.leases.values())
      if (livesUntilMs < timeMs) return true;
    return false;
  }

  /** The process ends now, whatever time passes until the power fails. */
  ended(): void {
    this.#endedAtMs ??= this.#nowMs();
  }

  /** What was under way, when a crash comes. */
  crashing(): void {
    this.ended();
    if (this.#nowMs() - this.#renewedAtMs < RIGHT_BEFORE_MS)
      this.#marks.hit(NODE_MARKS.renewedBefore);
    if (this.#queue.some(({ request }) => request.kind === "compact"))
      this.#marks.hit(NODE_MARKS.compactionCut);
  }

  /** Whoever ends up with the disk has only what was synced, or a part of the rest. */
  powerLost(): void {
    this.#lostPower = true;
  }

  #mayBeLost(): void {
    const { fsyncIntervalMs = 0 } = this.#options;
    if (fsyncIntervalMs === 0) return;
    const unsynced = this.#unsynced;
    const nowMs = this.#nowMs();
    unsynced.push({ model: this.#model.copy(), atMs: nowMs });
    while ((unsynced[1]?.atMs ?? nowMs) < nowMs - fsyncIntervalMs - SYNC_MS) unsynced.shift();
  }

  /**
   * Where the database may begin again: with everything, or after a power loss in the interval mode with what had
   * happened at some earlier moment, but never without what was acknowledged before the interval.
   */
  *#beginnings(): Generator<Possible, void, void> {
    yield* this.#possible;
    if (!this.#mayLose) return;
    const safeMs = this.#safeMs;
    for (let i = this.#unsynced.length - 1; i >= 0; i--) {
      // Without the acknowledgement that came next.
      if ((this.#unsynced[i + 1]?.atMs ?? Number.POSITIVE_INFINITY) <= safeMs) return;
      const { model } = this.#unsynced[i] as { readonly model: KvModel };
      yield { model: model.copy(), happened: LOST };
    }
  }

  get #mayLose(): boolean {
    return (this.#options.fsyncIntervalMs ?? 0) > 0 && this.#lostPower;
  }

  /** What was acknowledged before is on the disk. */
  get #safeMs(): number {
    const { fsyncIntervalMs = 0 } = this.#options;
    return (this.#endedAtMs ?? this.#nowMs()) - fsyncIntervalMs - SYNC_MS;
  }

  /** After a run in the interval mode that was cut off, revisions go on far beyond all that can have been given. */
  #raises(): readonly number[] {
    return (this.#options.fsyncIntervalMs ?? 0) > 0 ? [0, RAISE_REVISIONS] : [0];
  }

  /** What became of the calls that nobody got an answer for. */
  #markFates(happened: ReadonlyMap<Issued, Outcome>, model: KvModel): void {
    for (const issued of this.#queue)
      if (issued.isOver)
        this.#marks.hit(happened.has(issued) ? NODE_MARKS.applied : NODE_MARKS.notApplied);
    if (model.leasesEnded > this.#model.leasesEnded) this.#marks.hit(NODE_MARKS.leaseEndedAround);
  }

  /** Leases may have ended once their promised time is over, except those that are `held`. */
  #futures(held: ReadonlySet<bigint> = NONE): Futures {
    return new Futures(this.#queue, this.#mayEnd(held));
  }

  #mayEnd(held: ReadonlySet<bigint>): (id: bigint, lease: ModelLease) => boolean {
    return (id, lease) => this.#isDue(lease) && !held.has(id);
  }

  /** The database is in this state, for sure. */
  #settle(model: KvModel, happened: ReadonlyMap<Issued, Outcome>, revision: number): void {
    this.#markFates(happened, model);
    // The other unknown commands are lost for good: nothing proposes them again.
    this.#queue = [];
    this.#possible = [{ model, happened: new Map() }];
    this.#see(revision);
    this.#unsynced = [];
    this.#endedAtMs = null;
    this.#lostPower = false;
    this.#mayBeLost();
  }

  /** Of equal states one is enough. */
  #keep(fitting: readonly Possible[]): void {
    const kept = new Map<string, Possible>();
    for (const possible of fitting) {
      const name = nameOf(possible);
      if (!kept.has(name) && kept.size < POSSIBLE_MAX) kept.set(name, possible);
    }
    this.#possible = [...kept.values()].toSorted((a, b) => a.happened.size - b.happened.size);
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

  #neverHappened(issued: Issued, error: HarmonyError): void {
    const still = this.#possible.filter(({ happened }) => !happened.has(issued));
    check(
      still.length > 0,
      "what certainly did not happen did not happen",
      () => `${error.code} for ${show(issued.request)}, which was seen`,
    );
    this.#possible = still;
    this.#queue.splice(this.#queue.indexOf(issued), 1);
  }

  /** It has happened in every possible state. */
  #dropFromQueue(issued: Issued): void {
    // Commands before it that got no answer have happened too; nobody will ask for them again.
    const upTo = this.#queue.indexOf(issued);
    for (const old of this.#queue.slice(0, upTo))
      if (old.isOver) this.#marks.hit(NODE_MARKS.applied);
    const gone = new Set(
      this.#queue.slice(0, upTo + 1).filter((old) => old === issued || old.isOver),
    );
    this.#queue = this.#queue.filter((old) => !gone.has(old));
    this.#possible = this.#possible.map(({ model, happened }) => ({
      model,
      happened: new Map([...happened].filter(([old]) => !gone.has(old))),
    }));
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
  #mismatch(model: KvModel, observed: Observed, isCertain: boolean): string | null {
    if (observed.compactRevision !== model.compactRevision) {
      const { retentionRevisions } = this.#options;
      const isOwn =
        retentionRevisions > 0 &&
        observed.compactRevision > model.compactRevision &&
        observed.compactRevision <= model.revision - retentionRevisions;
      if (isOwn) this.#marks.hit(NODE_MARKS.ownCompaction);
      else return `compacted to ${observed.compactRevision}, not ${model.compactRevision}`;
      model.compactTo(observed.compactRevision);
    }
    return (
      historyMismatch(model, observed, isCertain ? this.#reopenings : null) ??
      leaseMismatch(
        model,
        observed,
        (livesUntilMs) => this.#nowMs() - livesUntilMs + STAMP_SLACK_MS,
      )
    );
  }
}
