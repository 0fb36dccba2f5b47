/**
 * The versioned keyspace of one group: the heart of this folder. It turns puts and deletes into revisions, keeps what
 * they supersede, and knows which revisions can still be read.
 *
 * A writer calls `begin`, changes, `commit`. All changes between them share one main revision and are ordered by a
 * sub-revision; without a change there is no new revision. Changes take effect at once, so a writer reads its own; the
 * caller makes sure beforehand that nothing can fail in the middle, since there is no way back.
 *
 * Invariants:
 * 1. `revision` starts at 1 and grows by one for each commit that changed something; no version is newer.
 * 2. `keys` has a key if and only if it is alive; its record is its newest version.
 * 3. With history on, every version superseded after the compact revision stands in `history`, every deletion after it
 *    has a tombstone there, and every change after it an event. With history off these trees are empty and the compact
 *    revision is the current one.
 * 4. `deadlines` has one row for each key with a deadline, for each lease and for each session, and no other.
 * 5. The hash, the compact revision and everything that reads see depend on the commands applied alone.
 */
import {
  assert,
  assertSafe,
  ByteReader,
  ByteWriter,
  compareBytes,
  EMPTY_BYTES,
  equalBytes,
} from "../base/index.ts";
import type { Cursor, Engine, Tree } from "../btree/index.ts";
import { Alarms } from "./alarms.ts";
import { Compaction } from "./compaction.ts";
import { Deadlines } from "./deadlines.ts";
import { type DeleteCause, EventView, writeEvent } from "./event.ts";
import { type LeaseRecord, Leases } from "./leases.ts";
import { type MemberRecord, Members } from "./members.ts";
import { LATEST, ReadView } from "./read-view.ts";
import { RecordView, ValueKind, writeRecord, writeTombstone } from "./record.ts";
import { Sessions } from "./sessions.ts";
import { keepsHistory, openSettings, type StoreSettings, writeSettings } from "./settings.ts";
import { Effect, StateHash } from "./state-hash.ts";
import {
  DeadlineKind,
  EventKeys,
  eventRevision,
  eventSub,
  HistoryKeys,
  KEY_LENGTH_MAX,
} from "./tree-keys.ts";
import { Trees } from "./trees.ts";

const PAYLOAD_FORMAT = 1;
/** A store that was never compacted: so that a compaction to 0 is the first one, as in etcd. */
const NEVER_COMPACTED = -1;

/** Why a revision cannot be read or compacted. */
export type RevisionError = "COMPACTED" | "FUTURE_REV";

/**
 * Hears of every change of a key while it is made, in order, before the trees show it. All bytes are views that are
 * good for the call: records as `RecordView` reads them, `old` undefined when there was none. It may keep copies and
 * must not touch the store: nothing that listens has a say in what is applied.
 */
export interface ChangeListener {
  put(
    revision: number,
    sub: number,
    key: Uint8Array,
    record: Uint8Array,
    old: Uint8Array | undefined,
  ): void;
  deleted(
    revision: number,
    sub: number,
    key: Uint8Array,
    cause: DeleteCause,
    old: Uint8Array,
  ): void;
}

/** What has happened since the store was opened, replayed commands included. No part of the state. */
export interface StoreCounts {
  readonly puts: number;
  /** Expired keys and those of leases included. */
  readonly deletes: number;
  /** Keys whose own deadline ended them. */
  readonly expired: number;
  readonly leasesGranted: number;
  readonly leasesExpired: number;
}

export class Store {
  readonly #keys: Tree;
  readonly #history: Tree;
  readonly #events: Tree;
  readonly #keysCursor: Cursor;
  readonly #engine: Engine;
  readonly #deadlines: Deadlines;
  readonly #leases: Leases;
  readonly #sessions: Sessions;
  readonly #members: Members;
  readonly #compaction: Compaction;
  readonly alarms: Alarms;
  readonly #old = new RecordView();
  readonly #record = new ByteWriter(1024);
  readonly #event = new ByteWriter(256);
  readonly #historyKeys = new HistoryKeys();
  readonly #eventKeys = new EventKeys();
  readonly #key = new Uint8Array(KEY_LENGTH_MAX);
  readonly #hash: StateHash;
  #isHistoryOn: boolean;
  #settings: StoreSettings;
  /** Reads the latest state and every readable revision. */
  readonly view: ReadView;
  #revision = 1;
  #compactRevision: number = NEVER_COMPACTED;
  #clockMs = 0;
  #behindMs = 0;
  #term = 0;
  #restartMs = 0;
  /** So that a put has to look for a lock only where there is one. */
  #lockCount = 0;
  /** The next change of the open transaction; NOT_WRITING outside of one. */
  #sub = NOT_WRITING;
  #listener: ChangeListener | null = null;
  readonly #counts = { puts: 0, deletes: 0, expired: 0, leasesGranted: 0, leasesExpired: 0 };

  /**
   * `payload` is what `payload()` said when the trees of `engine` were made durable; null for empty trees.
   * `settings` and `founders` are those of a new database.
   */
  constructor(
    engine: Engine,
    payload: Uint8Array | null,
    settings: StoreSettings,
    founders: readonly MemberRecord[] = [],
  ) {
    this.#engine = engine;
    this.#keys = engine.tree(Trees.keys);
    this.#history = engine.tree(Trees.history);
    this.#events = engine.tree(Trees.events);
    this.#keysCursor = this.#keys.cursor();
    this.#settings = openSettings(engine, settings);
    this.#isHistoryOn = keepsHistory(this.#settings);
    this.#hash = new StateHash(0);
    this.#deadlines = new Deadlines(engine);
    this.#leases = new Leases(engine, this.#deadlines);
    this.#sessions = new Sessions(engine, this.#deadlines, this.#hash);
    this.#members = new Members(engine, this.#hash);
    this.#compaction = new Compaction(engine);
    this.alarms = new Alarms(engine, this.#hash);
    this.view = new ReadView(engine);
    if (payload !== null) {
      this.#restore(payload);
      return;
    }
    assert(this.#keys.count === 0, "a store with keys has a payload");
    // Replicas that were created differently answer differently, so their hashes differ from the start.
    this.#hash.mixNumber(Effect.settings, this.#isHistoryOn ? 1 : 0);
    for (const founder of founders.toSorted((a, b) => a.id - b.id)) this.#members.put(founder);
  }

  /** The newest revision. */
  get revision(): number {
    return this.#revision;
  }

  /** The revision of the newest change, that of the open transaction included. */
  get revisionInTxn(): number {
    return this.#sub > 0 ? this.#revision + 1 : this.#revision;
  }

  /** Revisions below are no longer readable; it is itself. 0 when there was no compaction. */
  get compactRevision(): number {
    return this.#isHistoryOn ? Math.max(0, this.#compactRevision) : this.#revision;
  }

  get isHistoryOn(): boolean {
    return this.#isHistoryOn;
  }

  /** The group's clock at the last entry applied. */
  get clockMs(): number {
    return this.#clockMs;
  }

  /** By how much it was behind the leader's wall clock at the last entry that was stamped. */
  get behindMs(): number {
    return this.#behindMs;
  }

  get stateHash(): number {
    return this.#hash.value;
  }

  /** How many keys are alive. */
  get count(): number {
    return this.#keys.count;
  }

  get leases(): Leases {
    return this.#leases;
  }

  get sessions(): Sessions {
    return this.#sessions;
  }

  /** Who belongs to the cluster. */
  get members(): Members {
    return this.#members;
  }

  /** The settings that the database was created with, or that a command gave it since. */
  get settings(): StoreSettings {
    return this.#settings;
  }

  get counts(): StoreCounts {
    return { ...this.#counts };
  }

  /** How many locks are held. */
  get lockCount(): number {
    return this.#lockCount;
  }

  /** The first moment at which something may be due, or null. Never too late. */
  get nextDeadlineMs(): number | null {
    return this.#deadlines.nextMs;
  }

  /** Whether the key holds a lock, in the latest state. */
  isLocked(key: Uint8Array): boolean {
    return this.#lockCount > 0 && this.view.find(key, LATEST)?.isLock === true;
  }

  /**
   * Gives the database other settings. History that was never kept begins with a revision of its own, in which nothing
   * else happens: whoever reads or watches from there on misses nothing. History that is kept cannot be turned off: its trees would have to be emptied, and what is left of them would be taken for the
   * truth when it is turned on again. False says so, and nothing is changed.
   */
  configure(settings: StoreSettings): boolean {
    assert(this.#sub === NOT_WRITING, "settings are not part of a transaction");
    const isHistoryOn = keepsHistory(settings);
    if (this.#isHistoryOn && !isHistoryOn) return false;
    if (isHistoryOn && !this.#isHistoryOn) this.#compactRevision = ++this.#revision;
    this.#isHistoryOn = isHistoryOn;
    this.#settings = writeSettings(this.#engine, settings);
    this.#hash.mixNumber(Effect.settings, settings.retentionMs);
    this.#hash.mixNumber(Effect.settings, settings.retentionRevisions);
    this.#hash.mixNumber(Effect.settings, (settings.quotaBytes ?? -1) + 1);
    return true;
  }

  /**
   * An entry begins. `isStamped` says that its leader stamped it with the group's clock, which opens the term for
   * leases: their TTLs start again. `behindMs` is what it said of that clock.
   */
  beginEntry(
    term: number,
    clockMs: number,
    isStamped: boolean,
    behindMs: number = this.#behindMs,
  ): void {
    assert(clockMs >= this.#clockMs, "the group's clock does not go back");
    assert(term >= this.#term, "terms do not go back");
    this.#clockMs = clockMs;
    if (isStamped && term > this.#term) {
      this.#term = term;
      this.#restartMs = clockMs;
    }
    this.#hash.mixNumber(Effect.entry, clockMs);
    if (behindMs === this.#behindMs) return;
    this.#behindMs = behindMs;
    this.#hash.mixNumber(Effect.entry, behindMs);
  }

  /** From now on `listener` hears of changes; null: nobody does, and a change costs nothing more. */
  listen(listener: ChangeListener | null): void {
    this.#listener = listener;
  }

  /** Why `revision` cannot be read. LATEST and below always can. */
  revisionError(revision: number): RevisionError | null {
    if (revision <= LATEST) return null;
    if (revision > this.#revision) return "FUTURE_REV";
    return revision < this.compactRevision ? "COMPACTED" : null;
  }

  begin(): void {
    assert(this.#sub === NOT_WRITING, "one transaction at a time");
    this.#sub = 0;
  }

  /** Ends the transaction; the revision is the new one if anything changed. */
  commit(): number {
    assert(this.#sub !== NOT_WRITING, "a transaction is open");
    if (this.#sub > 0) this.#revision++;
    this.#sub = NOT_WRITING;
    assertSafe(this.#revision, "revision");
    return this.#revision;
  }

  /**
   * Goes on with `revision` if it is beyond the present one, although nothing has changed: what was given in between
   * may have been lost, and is not given again. Reads at a revision in between see the state before.
   */
  raiseRevision(revision: number): void {
    assert(this.#sub === NOT_WRITING, "the revision is not raised within a transaction");
    assertSafe(revision, "revision");
    this.#revision = Math.max(this.#revision, revision);
    this.#hash.mixNumber(Effect.raise, revision);
  }

  /**
   * Sets a key. `lease` is the id of one that exists, or null; `deadlineMs` is on the group's clock, 0 for none. Value
   * and lease may be views of the key's present record.
   */
  put(
    key: Uint8Array,
    value: Uint8Array,
    lease: Uint8Array | null,
    deadlineMs: number = 0,
    kind: ValueKind = ValueKind.bytes,
  ): void {
    assert(this.#sub !== NOT_WRITING, "a put is part of a transaction");
    assert(key.length > 0 && key.length <= KEY_LENGTH_MAX, "a key has 1 to KEY_LENGTH_MAX bytes");
    const revision = this.#revision + 1;
    const sub = this.#sub++;
    const oldBytes = this.#keys.getForPut(key);
    const old = oldBytes === undefined ? null : this.#old.read(oldBytes);
    assert(old === null || old.modRevision <= revision, "no version is newer than the store");

    const record = this.#record;
    record.reset();
    writeRecord(record, {
      modRevision: revision,
      sub,
      createRevision: old === null ? revision : old.createRevision,
      version: old === null ? 1 : old.version + 1,
      lease,
      deadlineMs,
      value,
      kind,
    });
    if (this.#isHistoryOn) {
      this.#addEvent(null, revision, sub, old, key);
      if (oldBytes !== undefined && old !== null) this.#supersede(key, old, oldBytes);
    }
    this.#moveToLease(key, old, lease);
    this.#moveKeyDeadline(key, old, deadlineMs);
    if (kind === ValueKind.lock) this.#lockCount++;
    if (old !== null && old.isLock) this.#lockCount--;
    const bytes = record.view();
    this.#hash.mixBytes(Effect.put, key, bytes);
    this.#counts.puts++;
    this.#listener?.put(revision, sub, key, bytes, oldBytes);
    const isNew = this.#keys.put(key, bytes);
    assert(isNew === (old === null), "a key is new when it was not there");
  }

  /** Deletes a key. False when it was not there. */
  delete(key: Uint8Array, cause: DeleteCause = "client"): boolean {
    assert(this.#sub !== NOT_WRITING, "a delete is part of a transaction");
    const oldBytes = this.#keys.get(key);
    if (oldBytes === undefined) return false;
    this.#recordDelete(key, oldBytes, cause);
    const wasThere = this.#keys.delete(key);
    assert(wasThere, "a key that was found is deleted");
    return true;
  }

  /**
   * Deletes the keys of [from, to) in order; `to` undefined means no upper end. `onDelete` sees each key and its last
   * version, as views, before it goes. Answers how many there were.
   */
  deleteRange(
    from: Uint8Array,
    to: Uint8Array | undefined,
    onDelete?: (key: Uint8Array, record: RecordView) => void,
  ): number {
    assert(this.#sub !== NOT_WRITING, "a delete is part of a transaction");
    const cursor = this.#keysCursor;
    let deleted = 0;
    for (let isThere = cursor.seek(from); isThere; isThere = cursor.next()) {
      const { key, value } = cursor;
      if (to !== undefined && compareBytes(key, to) >= 0) break;
      onDelete?.(key, this.#old.read(value));
      // The other trees copy what may be a view of a page, and what is here is none.
      this.#key.set(key);
      this.#recordDelete(this.#key.subarray(0, key.length), value, "client");
      deleted++;
    }
    // All at once, and only now: the cursor stands in the pages.
    const gone = deleted === 0 ? 0 : this.#keys.deleteRange(from, to);
    assert(gone === deleted, "what was found is deleted");
    return deleted;
  }

  /** All that the deletion of a key leaves behind, but for the key itself, which its caller takes out of its tree. */
  #recordDelete(key: Uint8Array, oldBytes: Uint8Array, cause: DeleteCause): void {
    const revision = this.#revision + 1;
    const sub = this.#sub++;
    const old = this.#old.read(oldBytes);
    const record = this.#record;
    record.reset();
    writeTombstone(record, revision, sub);
    if (this.#isHistoryOn) {
      this.#addEvent(cause, revision, sub, old, key);
      this.#supersede(key, old, oldBytes);
      this.#history.put(this.#historyKeys.version(revision, sub), record.view());
    }
    this.#moveToLease(key, old, null);
    this.#moveKeyDeadline(key, old, 0);
    if (old.isLock) this.#lockCount--;
    this.#hash.mixBytes(Effect.delete, key, record.view());
    this.#counts.deletes++;
    if (cause === "expired") this.#counts.expired++;
    this.#listener?.deleted(revision, sub, key, cause, oldBytes);
  }

  /** Refuses what is already compacted or not yet written; otherwise reads below `revision` end at once. */
  compact(revision: number): RevisionError | null {
    assert(this.#sub === NOT_WRITING, "compaction is not part of a transaction");
    const last = this.#isHistoryOn ? this.#compactRevision : this.#revision;
    if (revision <= last) return "COMPACTED";
    if (revision > this.#revision) return "FUTURE_REV";
    this.#compactRevision = revision;
    this.#hash.mixNumber(Effect.compact, revision);
    return null;
  }

  /** Some of what is compacted is still in the trees. */
  get isCompacting(): boolean {
    return this.#isHistoryOn && this.#compaction.isBehind(this.#compactRevision);
  }

  /** Removes compacted versions, looking at no more than `maxEvents` changes. True when some are left. */
  compactSlice(maxEvents: number): boolean {
    assert(maxEvents > 0, "a slice looks at something");
    assert(this.#sub === NOT_WRITING, "compaction is not part of a transaction");
    return this.#isHistoryOn && this.#compaction.slice(this.#compactRevision, maxEvents);
  }

  grantLease(id: Uint8Array, ttlSeconds: number): void {
    this.#leases.grant(id, ttlSeconds, this.#clockMs);
    this.#counts.leasesGranted++;
    this.#hash.mixBytes(Effect.grant, id, EMPTY_BYTES);
    this.#hash.mixNumber(Effect.deadline, this.#clockMs + ttlSeconds * 1000);
  }

  /** The lease starts again at its full TTL. */
  keepLeaseAlive(id: Uint8Array): LeaseRecord | undefined {
    const lease = this.#leases.get(id);
    if (lease !== undefined) this.#moveDeadline(id, this.#clockMs + lease.ttlSeconds * 1000);
    return lease;
  }

  /** When the lease ends, on the group's clock, if nobody renews it. */
  leaseEndMs(lease: LeaseRecord): number {
    return Math.max(lease.deadlineMs, this.#restartMs + lease.ttlSeconds * 1000);
  }

  /** Deletes the keys of a lease in their order, in one revision, and the lease. False when it is unknown. */
  revokeLease(id: Uint8Array): boolean {
    if (!this.#leases.has(id)) return false;
    this.begin();
    for (;;) {
      const key = this.#leases.firstKey(id, EMPTY_BYTES);
      if (key === undefined) break;
      this.#key.set(key);
      const wasThere = this.delete(this.#key.subarray(0, key.length), "lease");
      assert(wasThere, "a key that is attached to a lease is alive");
    }
    this.#leases.remove(id);
    this.#hash.mixBytes(Effect.revoke, id, EMPTY_BYTES);
    this.commit();
    return true;
  }

  /**
   * Ends what is due at `upToMs`, in the order of deadlines, and looks at no more than `max` of them. What was renewed
   * meanwhile, or restarted by a change of leader, is not touched. Keys that are due one after the other go in one
   * revision, each lease with its keys in a revision of its own.
   */
  expire(upToMs: number, max: number): void {
    const dueMs = Math.min(upToMs, this.#clockMs);
    for (let budget = max; budget > 0; budget--) {
      const nextMs = this.#deadlines.nextMs;
      if (nextMs === null || nextMs > dueMs) break;
      const kind = this.#deadlines.nextKind;
      if (kind !== DeadlineKind.key) {
        const id = this.#deadlines.nextId.slice();
        if (kind === DeadlineKind.lease) this.#leaseDue(id);
        else this.#sessions.due(id);
        continue;
      }
      if (this.#sub === NOT_WRITING) this.begin();
      const id = this.#deadlines.nextId;
      this.#key.set(id);
      const wasThere = this.delete(this.#key.subarray(0, id.length), "expired");
      assert(wasThere, "a deadline belongs to a key");
    }
    if (this.#sub !== NOT_WRITING) this.commit();
  }

  /** The lease's row is due: ends it, or moves the row to where a change of leader has moved the end. */
  #leaseDue(id: Uint8Array): void {
    const lease = this.#leases.get(id);
    assert(lease !== undefined, "a deadline belongs to a lease");
    const endMs = this.leaseEndMs(lease);
    if (endMs > lease.deadlineMs) {
      this.#moveDeadline(id, endMs);
      return;
    }
    if (this.#sub !== NOT_WRITING) this.commit();
    this.#counts.leasesExpired++;
    this.revokeLease(id);
  }

  /** What a checkpoint must remember of the store besides its trees. */
  payload(): Uint8Array {
    assert(this.#sub === NOT_WRITING, "a checkpoint is not part of a transaction");
    const out = new ByteWriter(64);
    out.u8(PAYLOAD_FORMAT);
    out.varint(this.#revision);
    out.varint(this.#compactRevision - NEVER_COMPACTED);
    out.varint(this.#clockMs);
    out.varint(this.#term);
    out.varint(this.#restartMs);
    out.varint(this.#hash.value);
    out.varint(this.#lockCount);
    out.varint(this.#behindMs);
    return out.copy();
  }

  #restore(payload: Uint8Array): void {
    const reader = new ByteReader(payload);
    const format = reader.u8();
    this.#revision = reader.varint();
    this.#compactRevision = reader.varint() + NEVER_COMPACTED;
    this.#clockMs = reader.varint();
    this.#term = reader.varint();
    this.#restartMs = reader.varint();
    this.#hash.value = reader.varint();
    // Payloads that were written before there were locks end here.
    this.#lockCount = reader.isAtEnd ? 0 : reader.varint();
    // And those that were written before stamps said how far the clock was behind, here.
    this.#behindMs = reader.isAtEnd ? 0 : reader.varint();
    assert(format === PAYLOAD_FORMAT && reader.isAtEnd, "the store's payload fits its format");
    assert(
      this.#revision >= 1 && this.#compactRevision <= this.#revision,
      "the store's revisions are in order",
    );
  }

  #addEvent(
    deleted: DeleteCause | null,
    revision: number,
    sub: number,
    old: RecordView | null,
    key: Uint8Array,
  ): void {
    const event = this.#event;
    event.reset();
    writeEvent(event, deleted, old?.modRevision ?? 0, old?.sub ?? 0, key);
    const isNew = this.#events.put(this.#eventKeys.at(revision, sub), event.view());
    assert(isNew, "each change has an event of its own");
  }

  /** Keeps the version that a change replaces. Leaves `#historyKeys` holding the key. */
  #supersede(key: Uint8Array, old: RecordView, oldBytes: Uint8Array): void {
    const isNew = this.#history.put(
      this.#historyKeys.hold(key).version(old.modRevision, old.sub),
      oldBytes,
    );
    assert(isNew, "a version is superseded once");
  }

  #moveToLease(key: Uint8Array, old: RecordView | null, lease: Uint8Array | null): void {
    const oldLease = old?.lease ?? null;
    if (oldLease === null && lease === null) return;
    if (oldLease !== null && lease !== null && equalBytes(oldLease, lease)) return;
    if (oldLease !== null) this.#leases.detach(oldLease, key);
    if (lease !== null) {
      assert(this.#leases.has(lease), "a key is attached to a lease that exists");
      this.#leases.attach(lease, key);
    }
  }

  #moveKeyDeadline(key: Uint8Array, old: RecordView | null, toMs: number): void {
    const fromMs = old?.deadlineMs ?? 0;
    if (fromMs === toMs) return;
    if (fromMs !== 0) this.#deadlines.remove(fromMs, DeadlineKind.key, key);
    if (toMs !== 0) this.#deadlines.add(toMs, DeadlineKind.key, key);
  }

  #moveDeadline(id: Uint8Array, toMs: number): void {
    this.#leases.moveDeadline(id, toMs);
    this.#hash.mixBytes(Effect.deadline, id, EMPTY_BYTES);
    this.#hash.mixNumber(Effect.deadline, toMs);
  }

  /** Checks the trees against each other, every key of them: for tests and the simulator. */
  invariants(): void {
    assert(this.#compactRevision <= this.#revision, "the compact revision has been reached");
    const keys = this.#keys.cursor();
    const record = new RecordView();
    let attached = 0;
    let locks = 0;
    let ending = 0;
    for (let isThere = keys.first(); isThere; isThere = keys.next()) {
      record.read(keys.value);
      assert(
        !record.isTombstone && record.modRevision <= this.#revision,
        "a live key has a version that was made",
      );
      if (record.hasLease) attached++;
      if (record.isLock) locks++;
      if (record.deadlineMs === 0) continue;
      ending++;
      assert(
        this.#deadlines.has(record.deadlineMs, DeadlineKind.key, keys.key),
        "a key with a deadline stands among the deadlines",
      );
    }
    assert(locks === this.#lockCount, "the locks are counted");
    assert(
      this.#deadlines.count === ending + this.#leases.count + this.#sessions.count,
      "nothing else stands among the deadlines",
    );
    this.#sessions.invariants();
    this.#members.invariants();
    assert(attached === this.#leases.attachedCount, "every key that names a lease is attached");
    this.#leases.invariants((key) => {
      const bytes = this.#keys.get(key);
      return bytes === undefined ? undefined : record.read(bytes).lease;
    });
    if (!this.#isHistoryOn) {
      assert(
        this.#history.count === 0 && this.#events.count === 0,
        "without history nothing is kept",
      );
      return;
    }
    this.#historyInvariants();
  }

  /** Every event that is left is backed by the versions that it speaks of, and every old version by an event. */
  #historyInvariants(): void {
    const events = this.#events.cursor();
    const event = new EventView();
    let spokenOf = 0;
    for (let isThere = events.first(); isThere; isThere = events.next()) {
      const revision = eventRevision(events.key);
      event.read(events.value);
      this.#historyKeys.hold(event.key);
      const { previousRevision } = event;
      const isGone = revision <= this.#compactRevision && previousRevision < this.#compactRevision;
      if (previousRevision > 0 && this.#hasVersion(previousRevision, event.previousSub)) spokenOf++;
      else
        assert(
          previousRevision === 0 || isGone,
          "a superseded version is kept until it is compacted",
        );
      if (!event.isDelete) continue;
      if (this.#hasVersion(revision, eventSub(events.key))) spokenOf++;
      else assert(revision < this.#compactRevision, "a tombstone is kept until it is compacted");
    }
    assert(spokenOf === this.#history.count, "no old version is left without an event");
  }

  #hasVersion(revision: number, sub: number): boolean {
    return this.#history.get(this.#historyKeys.version(revision, sub)) !== undefined;
  }
}

const NOT_WRITING = -1;
