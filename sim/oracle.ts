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
  RequestId,
  TxnRequest,
  WatchEvent,
  WatchNews,
} from "../src/db/index.ts";
import { LockLedger } from "./lock-ledger.ts";
import { Marks } from "./marks.ts";
import { KvModel, type ModelLease, type ModelRequest } from "./model.ts";
import { NODE_MARKS } from "./node-watch.ts";
import { Futures, type Issued, nameOf, type Possible, visibleName } from "./oracle-futures.ts";
import { hiddenName, isTooLargeToKeep } from "./model-sessions.ts";
import { OracleClock, type Start } from "./oracle-clock.ts";
import { EVERYTHING, historyMismatch, leaseMismatch, type Observed } from "./oracle-compare.ts";
import { type Watched, watchMismatch } from "./oracle-watches.ts";
import { Witness } from "./witness.ts";
import { check, difference, show, Violation } from "./violation.ts";

export interface OracleOptions {
  readonly leaseTtlSecondsMin: number;
  readonly keepsHistory: boolean;
  /** Above 0: writes are acknowledged before their sync, and a power loss may take back those of so many milliseconds. */
  readonly fsyncIntervalMs?: number;
  /** The database compacts by itself, but keeps at least so many revisions. 0: it does not. */
  readonly retentionRevisions: number;
  /** Somebody watches everything, so that keys may end. */
  readonly hasWitness?: boolean;
}

/**
 * Each lease that is due doubles them, and so does each session that nobody uses. Of more than these the states in which
 * the least has happened are kept.
 */
const POSSIBLE_MAX = 1024;

/** What is due has ended after so long, where nothing is wrong with the disk. */
const LATE_MS = 1000;

/** Stamps are whole milliseconds, rounded down. */
const STAMP_SLACK_MS = 2;

/** A sync that is under way when the power fails, and a turn of the timer. */
const SYNC_MS = 5;
const RAISE_REVISIONS = 1_000_000;
const HIDDEN_KINDS: ReadonlySet<string> = new Set(["sessionOpen", "sessionClose", "configure"]);
const LOST: ReadonlyMap<Issued, Outcome> = new Map();
const NONE: ReadonlySet<bigint> = new Set();

/** What happened so shortly before a crash is what the crash may have met. */
const RIGHT_BEFORE_MS = 50;

/** What was said while the witness heard nothing. */
interface Unheard {
  readonly atMs: number;
  readonly judge: (oracle: Oracle) => void;
}

export class Oracle {
  readonly #options: OracleOptions;
  readonly #clockMs: () => number;
  readonly #marks: Marks;
  /** A copy begins with an empty one. */
  readonly #locks: LockLedger;
  #witness: Witness | null;
  #clock = new OracleClock();
  #possible: readonly Possible[];
  /** Issued and neither answered nor refused. In the order of the log. */
  #queue: Issued[] = [];
  #issued = 0;
  #acknowledged = 0;
  /** The highest revision that anybody was told. */
  #seenRevision = 1;
  #reopenings = 0;
  #isDeaf = false;
  /** What was said since then is judged once the next opening has told what changed meanwhile. */
  #unheard: readonly Unheard[] = [];
  /** When that was said which is being judged; null: now. */
  #saidAtMs: number | null = null;
  /** The least that a command asked for. */
  #leastRetention: number = Number.POSITIVE_INFINITY;
  /** In the interval mode: what had happened at each acknowledgement that may still be lost, and the one before. */
  #unsynced: { readonly model: KvModel; readonly atMs: number }[] = [];
  /** When the process ended that nobody has come after yet. */
  #endedAtMs: number | null = null;
  #lostPower = false;
  /** When a lease was renewed for the last time. */
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: OracleOptions, nowMs: () => number, marks: Marks = new Marks()) {
    this.#options = options;
    this.#clockMs = nowMs;
    this.#marks = marks;
    this.#witness = options.hasWitness === true ? new Witness() : null;
    this.#locks = new LockLedger((deadlineMs) => {
      const highMs = this.#clock.highMs(this.#nowMs);
      return Number.isFinite(highMs) && deadlineMs <= highMs;
    });
    const model = new KvModel(options.leaseTtlSecondsMin, options.keepsHistory);
    model.times = this.#times();
    this.#possible = [{ model, happened: new Map() }];
  }

  /** Of what is being judged. */
  get #nowMs(): number {
    return this.#saidAtMs ?? this.#clockMs();
  }

  #times(): KvModel["times"] {
    return {
      at: (revision) => this.#witness?.at(revision) ?? null,
      isHeard: this.#witness !== null,
      highMs: () => this.#clock.highMs(this.#nowMs),
      lowMs: (atMs) => this.#clock.lowMs(atMs),
    };
  }

  /** The same knowledge, for a fork of the world. */
  copy(nowMs: () => number): Oracle {
    const copy = new Oracle(this.#options, nowMs);
    copy.#witness = this.#witness?.copy() ?? null;
    copy.#clock = this.#clock.copy();
    const times = copy.#times();
    copy.#possible = this.#possible.map((possible) => {
      const model = possible.model.copy();
      model.times = times;
      return { model, happened: possible.happened };
    });
    copy.#queue = [...this.#queue];
    copy.#issued = this.#issued;
    copy.#acknowledged = this.#acknowledged;
    copy.#seenRevision = this.#seenRevision;
    copy.#leastRetention = this.#leastRetention;
    copy.#isDeaf = this.#isDeaf;
    copy.#unheard = this.#unheard;
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

  /** Somebody set the wall clock forward by so much. */
  wallSetForward(byMs: number): void {
    this.#clock.setForward(byMs, this.#clockMs());
  }

  /** A start of the node is over. Before `reopened`. */
  started(start: Start): void {
    this.#judge((oracle) => oracle.#clock.started(start));
  }

  /** The witness heard of all changes up to this revision; of none when there were none. */
  heard(events: readonly WatchEvent[], through: number): void {
    this.#witness?.heard(events, through);
  }

  /** The witness hears nothing more until the next opening. */
  deaf(): void {
    this.#isDeaf = true;
  }

  /** Now, or as soon as what it depends on has been heard. */
  #judge(judge: (oracle: Oracle) => void): void {
    if (this.#isDeaf) this.#unheard = [...this.#unheard, { atMs: this.#nowMs, judge }];
    else judge(this);
  }

  issue(request: ModelRequest, id: RequestId | null = null): Issued {
    const issued: Issued = {
      request,
      id,
      issuedAtMs: this.#nowMs,
      ordinal: this.#issued++,
      isOver: false,
    };
    this.#queue.push(issued);
    if (request.kind === "configure")
      this.#leastRetention = Math.min(
        this.#leastRetention,
        request.retentionRevisions || this.#leastRetention,
      );
    this.#locks.issued(issued);
    return issued;
  }

  /** The database answered a command. */
  answered(issued: Issued, error: HarmonyError | null, outcome: Outcome): void {
    const taken = this.#locks.takenAfterItsEnd;
    this.#locks.answered(issued, error, outcome, this.#nowMs);
    if (this.#locks.takenAfterItsEnd > taken) this.#marks.hit(NODE_MARKS.briefLockEnded);
    if (error !== null) {
      issued.isOver = true;
      if (!error.maybeApplied) this.#judge((oracle) => oracle.#neverHappened(issued, error.code));
      return;
    }
    this.#acknowledged++;
    this.#judge((oracle) => oracle.#happened(issued, outcome));
    this.#see(outcome.revision);
  }

  #happened(issued: Issued, outcome: Outcome): void {
    let reason: string | null = null;
    const fitting: Possible[] = [];
    const futures = this.#futures();
    for (const possible of this.#possible) {
      for (const after of futures.untilHappened(possible, issued)) {
        const expected = after.happened.get(issued) as Outcome;
        const isShort =
          outcome.kind === "done" &&
          outcome.revision === expected.revision &&
          isTooLargeToKeep(expected);
        const found = isShort ? null : difference(outcome, expected);
        if (found === null) fitting.push(after);
        else reason ??= found;
      }
    }
    if (fitting.length === 0)
      throw new Violation(
        "the answer of a write is the model's",
        `${show(issued.request)} -> ${reason ?? futures.reason}`,
      );
    const before = this.#model.sessionsEnded;
    this.#keep(fitting);
    this.#learn();
    if (this.#model.sessionsEnded > before) this.#marks.hit(NODE_MARKS.sessionEnded);
    if (issued.request.kind === "leaseKeepAlive") {
      for (const { model } of this.#possible)
        model.renewLease(issued.request.id, issued.issuedAtMs);
      this.#renewedAtMs = this.#nowMs;
    }
    this.#dropFromQueue(issued);
    this.#mayBeLost();
  }

  /** The database said at once that there is no room for it. */
  refusedForSpace(issued: Issued): void {
    check(this.quota !== "none", "what is refused for space has a limit that is passed", () =>
      show(issued.request),
    );
    issued.isOver = true;
    this.#judge((oracle) => oracle.#neverHappened(issued, "NO_SPACE"));
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
    this.#judge((oracle) => oracle.#wasRead(request, response));
  }

  #wasRead(request: RangeRequest | TxnRequest, response: Outcome): void {
    const { revision } = response;
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
        `${reason ?? futures.reason ?? `nothing leads from revision ${this.#model.revision} to ${revision}`}: ${show(request)}`,
      );
    this.#keep(fitting);
    this.#learn();
  }

  /**
   * What a watcher took, or null when there was nothing for it. `through`: it was told everything up to there;
   * `compactRevision`: what the database says of itself at the moment.
   */
  told(watched: Watched, news: WatchNews | null, through: number, compactRevision: number): void {
    this.#see(through);
    this.#judge((oracle) => oracle.#wasTold(watched, news, through, compactRevision));
  }

  #wasTold(
    watched: Watched,
    news: WatchNews | null,
    through: number,
    compactRevision: number,
  ): void {
    let reason: string | null = null;
    const fitting: Possible[] = [];
    const futures = this.#futures();
    for (const possible of this.#possible) {
      for (const after of futures.reachable(possible, Math.max(through, possible.model.revision))) {
        const found = watchMismatch(after.model, watched, news, through, compactRevision);
        if (found === null) fitting.push(after);
        else reason ??= found;
      }
    }
    if (fitting.length === 0)
      throw new Violation(
        "a watcher is told everything that happened, once and in order",
        `${show(watched)}: ${reason ?? futures.reason ?? `nothing leads to revision ${through}`}`,
      );
    this.#keep(fitting);
  }

  /** After a read of everything, with a disk that answers: no key is there that should have ended long ago. */
  notOverdue(): void {
    const lowMs = this.#clock.lowMs(this.#nowMs);
    for (const [key, deadlineMs] of this.#model.deadlines)
      check(
        !(deadlineMs < lowMs - LATE_MS),
        "what is due ends in time",
        () => `${key} should have ended ${lowMs - deadlineMs} ms ago`,
      );
  }

  /** A command may have limited the bytes of the data, or has for sure. */
  get quota(): "none" | "perhaps" | "certain" {
    const limits = [
      ...this.#possible.map(({ model }) => model.quotaBytes ?? 0),
      ...this.#queue.map(({ request }) =>
        request.kind === "configure" ? (request.quotaBytes ?? 0) : null,
      ),
    ].filter((limit) => limit !== null);
    if (limits.every((limit) => limit === 1)) return "certain";
    return limits.some((limit) => limit > 0) ? "perhaps" : "none";
  }

  /** The database was opened again, after a crash or cleanly: it holds what was acknowledged, whole commands only. */
  reopened(observed: Observed): void {
    check(
      observed.revision >= this.#seenRevision,
      "every acknowledged write survives",
      () => `revision ${observed.revision} after ${this.#seenRevision} was acknowledged`,
    );
    this.#reopenings++;
    this.#listenAgain(observed);
    let reason = `no prefix of ${this.#queue.length} unknown commands gives revision ${observed.revision}`;
    const everything = observed.range(EVERYTHING);
    const lossMs = this.#mayLose ? this.#safeMs : Number.POSITIVE_INFINITY;
    if (this.#locks.reopened(everything, lossMs) > 0) this.#marks.hit(NODE_MARKS.lockHeld);
    // A guess between several histories is made with all of the history in view.
    const isCertain =
      this.#witness !== null ||
      (new Set(this.#possible.map(visibleName)).size === 1 &&
        this.#dueLeases(this.#model).length === 0);
    /** By what can be seen of a state, which many share that differ in what no read shows. */
    const mismatches = new Map<string, string | null>();
    // An id is given once, so what is held has not ended.
    const held = new Set(observed.leases());
    const found: { readonly possible: Possible; readonly isLoss: boolean }[] = [];
    const names = new Set<string>();
    // Sessions and settings show in no read, so what became of them stays open.
    const isHidden =
      this.#possible.some(({ model }) => model.sessions.size > 0) ||
      new Set(this.#possible.map(({ model }) => hiddenName(model))).size > 1 ||
      this.#queue.some(({ request, id }) => id !== null || HIDDEN_KINDS.has(request.kind));
    for (const raise of this.#raises()) {
      const futures = this.#futures(held);
      for (const beginning of this.#beginnings()) {
        const isLoss = beginning.happened === LOST;
        const from = isLoss ? this.#futures(held, []) : futures;
        for (const possible of from.reachable(beginning, observed.revision - raise)) {
          const { model } = possible;
          const name = hiddenName(model);
          if (names.has(name)) continue;
          // Said first, for it is cheap, and there are many ways to end leases that nothing hangs on.
          if (model.leases.size !== held.size || [...held].some((id) => !model.leases.has(id))) {
            reason = `it holds the leases ${[...held].join()}, not ${[...model.leases.keys()].join()}`;
            continue;
          }
          model.revision = observed.revision;
          const visible = visibleName(possible);
          const known = mismatches.get(visible);
          const mismatch = known === undefined ? this.#mismatch(model, observed, isCertain) : known;
          mismatches.set(visible, mismatch);
          if (known === null && model.compactRevision !== observed.compactRevision)
            model.compactTo(observed.compactRevision);
          if (mismatch === null) {
            found.push({ possible, isLoss });
            names.add(name);
            if (!isHidden) break;
          } else {
            model.revision -= raise;
            reason = mismatch;
          }
        }
        reason = from.reason ?? reason;
        if (found.length > 0 && !isHidden) break;
      }
      if (found.length > 0) break;
    }
    const first = found[0];
    if (first === undefined)
      throw new Violation("the reopened state is that of whole commands in their order", reason);
    if (first.isLoss) this.#marks.hit(NODE_MARKS.intervalLoss);
    if (everything.kind === "range")
      for (const { possible } of found) possible.model.learnDeadlines(everything.kvs);
    if (first.possible.model.keysEnded > this.#model.keysEnded)
      this.#marks.hit(NODE_MARKS.keyEndedAround);
    this.#settle(
      found.map(({ possible }) => possible),
      observed.revision,
    );
  }

  /** What the opened database tells of all that changed since somebody listened, and what was said meanwhile. */
  #listenAgain(observed: Observed): void {
    if (this.#witness === null) return;
    const from = Math.min(...this.#possible.map(({ model }) => model.revision)) + 1;
    const { first, events } = observed.eventsFrom(from);
    // Clients compact no further than they have seen.
    check(
      first === from,
      "nothing is compacted that nobody could ask for",
      () => `${observed.compactRevision}, and ${from - 1} was seen`,
    );
    this.#witness.restart(first);
    this.#witness.heard(events, observed.revision);
    this.#isDeaf = false;
    const unheard = this.#unheard;
    this.#unheard = [];
    for (const { atMs, judge } of unheard) {
      this.#saidAtMs = atMs;
      judge(this);
    }
    this.#saidAtMs = null;
  }

  /**
   * How long a lease has to live: never less than what its owner was promised, so no clock that was set shows.
   * `isCertain`: false while no entry of this life has been stamped, for the time given after a restart begins there.
   */
  leaseStatus(id: bigint, status: LeaseStatus, isCertain: boolean): void {
    this.#see(status.revision);
    this.#judge((oracle) => oracle.#hadStatus(id, status, isCertain));
  }

  #hadStatus(id: bigint, status: LeaseStatus, isCertain: boolean): void {
    let reason = `nothing leads from revision ${this.#model.revision} to ${status.revision}`;
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
    const promisedMs = lease.livesUntilMs - STAMP_SLACK_MS - this.#nowMs;
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
    this.#endedAtMs ??= this.#nowMs;
  }

  /** What was under way, when a crash comes. */
  crashing(): void {
    this.ended();
    if (this.#nowMs - this.#renewedAtMs < RIGHT_BEFORE_MS)
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
    const nowMs = this.#nowMs;
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
    return (this.#endedAtMs ?? this.#nowMs) - fsyncIntervalMs - SYNC_MS;
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
  #futures(held: ReadonlySet<bigint> = NONE, queue: readonly Issued[] = this.#queue): Futures {
    return new Futures({ queue, mayEnd: this.#mayEnd(held), witness: this.#witness });
  }

  #mayEnd(held: ReadonlySet<bigint>): (id: bigint, lease: ModelLease) => boolean {
    return (id, lease) => this.#isDue(lease) && !held.has(id);
  }

  /** The database is in this state, for sure. */
  #settle(found: readonly Possible[], revision: number): void {
    const { model, happened } = found[0] as Possible;
    this.#markFates(happened, model);
    // The other unknown commands are lost for good: nothing proposes them again.
    this.#queue = [];
    this.#possible = found.map((possible) => ({ model: possible.model, happened: new Map() }));
    // The start may have taken the clock forward, so what an earlier stamp said of it is over.
    for (const possible of this.#possible) possible.model.stampIssuedMs = null;
    this.#see(revision);
    this.#unsynced = [];
    this.#endedAtMs = null;
    this.#lostPower = false;
    this.#mayBeLost();
  }

  /** A stamp that is known for sure narrows what the clock can show. */
  #learn(): void {
    const { stampMs, stampIssuedMs } = this.#model;
    if (this.#possible.length === 1 && stampIssuedMs !== null)
      this.#clock.stamped(stampMs, stampIssuedMs, this.#nowMs);
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
    return lease.livesUntilMs - STAMP_SLACK_MS <= this.#nowMs;
  }

  #neverHappened(issued: Issued, code: string): void {
    const still = this.#possible.filter(({ happened }) => !happened.has(issued));
    check(
      still.length > 0 && this.#queue.includes(issued),
      "what certainly did not happen did not happen",
      () => `${code} for ${show(issued.request)}, which was seen`,
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
    const retentionRevisions = this.#retention;
    if (retentionRevisions === 0 || request.kind !== "range" || response.kind !== "error") return;
    if (response.code === "COMPACTED" && request.revision < model.revision - retentionRevisions)
      model.compactTo(Math.max(model.compactRevision, request.revision + 1));
  }

  /** So many revisions are left when the database compacts by itself; 0: it does not. */
  get #retention(): number {
    // What a command once set may have compacted before another one changed it.
    const { retentionRevisions } = this.#options;
    const least = Math.min(retentionRevisions || this.#leastRetention, this.#leastRetention);
    return Number.isFinite(least) ? least : 0;
  }

  /** Where the database differs from `model`, or null. */
  #mismatch(model: KvModel, observed: Observed, isCertain: boolean): string | null {
    if (observed.compactRevision !== model.compactRevision) {
      const retentionRevisions = this.#retention;
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
      leaseMismatch(model, observed, (livesUntilMs) => this.#nowMs - livesUntilMs + STAMP_SLACK_MS)
    );
  }
}
