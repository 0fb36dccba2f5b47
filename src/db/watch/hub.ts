/**
 * All watchers of one database, between the state machine that tells of changes and the doors that carry them away.
 *
 * While an entry is applied each change is copied into `RecentChanges` once, and those who watch its key and had
 * nothing to take remember its revision. After the entry, in a turn of its own, each of them is told once that there
 * is news; it takes when it can. A watcher is a revision, not a queue: what it has not taken stands in the recent
 * changes, or in the trees, where it is read in slices.
 *
 * Invariants (etcd's promises to watchers, etcd-api.md 2.4; the list is held at every take):
 * 1. Ordered and unique: what a watcher takes grows strictly in (revision, sub).
 * 2. Reliable: between two events that it took nothing that it watches was passed over; where something may have been,
 *    it ends with "compacted" and gets nothing more.
 * 3. Atomic: a revision is given whole or not at all, and never before the whole entry has been applied.
 * 4. Resumable: a new watcher that starts at `revision + 1` of the last events taken goes on where the old one was.
 * 5. Bookmarkable: every event that is taken after `revision` was read is newer than it.
 * 6. A watcher stands among the idle of its interest if and only if it has nothing to take.
 * 7. Nothing here has a say in what is applied: what goes wrong here ends the watchers and nobody else. A defect ends watching
 *    for good; damage, which can be healed, those who watch now.
 */
import { assert, CorruptionError, HarmonyError, verify } from "../../base/index.ts";
import type { Engine } from "../../btree/index.ts";
import type { Env } from "../../env/index.ts";
import { ChangeReader, type DeleteCause, keepsHistory, KEY_LENGTH_MAX } from "../../mvcc/index.ts";
import type { KvStateMachine } from "../state-machine.ts";
import { type Interest, Interests, type Keys } from "./interests.ts";
import { goneKeyValue, keyValueOf, type RecentChange, RecentChanges } from "./recent.ts";
import type { Watch, WatchEvent, WatchNews, WatchRequest } from "./watch.ts";

/** How it is with the watchers now, and what they were given since the start. */
export interface WatchStats {
  readonly watchers: number;
  /** So far behind that what they take next is read from the trees. */
  readonly slowWatchers: number;
  readonly eventsTaken: number;
  /** How many revisions each of them is behind, added up. */
  readonly pendingRevisions: number;
}

export interface WatchHubConfig {
  readonly env: Pick<Env, "timers" | "log" | "entropy">;
  readonly machine: KvStateMachine;
  readonly engine: Engine;
  /** For recent changes. Default 8 MiB. */
  readonly recentBytes?: number | undefined;
  /** Told of damaged pages that a watcher came upon, which concern not only those who watch. */
  readonly onFatal?: ((error: HarmonyError) => void) | undefined;
}

const RECENT_DEFAULT_BYTES: number = 8 * 1024 * 1024;
/** How many changes one take looks at in the trees, at the next end of a revision: about a millisecond. */
const SLICE_CHANGES = 1000;
/** What an event counts besides its bytes. */
const EVENT_BYTES = 32;
/** With more watchers than these, tests look at all of them only now and then. */
const VERIFIED_WATCHERS = 100;

/** Has taken everything. */
const SYNCED = 0;

export class WatchHub {
  readonly #config: WatchHubConfig;
  readonly #recent: RecentChanges;
  readonly #watchers = new Set<Watcher>();
  #interests: Interests<Watcher> | null = null;
  #reader: ChangeReader | null = null;
  /** Entries are applied up to here: nothing newer is shown to anybody. */
  #revision = 0;
  /** Of the change that is being looked at. */
  #changing = 0;
  /** Who is to be told in the next turn. */
  #fresh: Watcher[] = [];
  #isTelling = false;
  #entries = 0;
  #eventsTaken = 0;
  #closed: HarmonyError | null = null;

  constructor(config: WatchHubConfig) {
    this.#config = config;
    this.#recent = new RecentChanges(config.recentBytes ?? RECENT_DEFAULT_BYTES);
  }

  /** How many there are. */
  get count(): number {
    return this.#watchers.size;
  }

  get stats(): WatchStats {
    let slowWatchers = 0;
    let pendingRevisions = 0;
    for (const { pending } of this.#watchers) {
      if (pending === SYNCED) continue;
      if (pending < this.#recent.firstRevision) slowWatchers++;
      pendingRevisions += Math.max(0, this.#revision - pending + 1);
    }
    const { size: watchers } = this.#watchers;
    return { watchers, slowWatchers, eventsTaken: this.#eventsTaken, pendingRevisions };
  }

  /**
   * From now on `news` is called, in a turn of its own, when there is something to take: once, until it is taken.
   * What is wrong with the request is told in the same way. Copies the keys.
   */
  open(request: WatchRequest, news: () => void, refused: HarmonyError | null = null): Watch {
    const { key, rangeEnd, noPut, noDelete } = request;
    const ended = this.#closed ?? refused;
    if (ended === null && this.#watchers.size === 0) this.#listen();
    const keys: Keys = {
      key: key.slice(),
      isSingle: rangeEnd.length === 0,
      to: rangeEnd.length === 1 && rangeEnd[0] === 0 ? null : rangeEnd.slice(),
    };
    const interest = this.#allInterests.open(keys, !noPut, !noDelete);
    const start = request.startRevision === 0 ? this.#revision + 1 : request.startRevision;
    const watcher = new Watcher(this, interest, request, start, news);
    interest.count++;
    this.#watchers.add(watcher);
    const { compactRevision } = this;
    if (ended !== null) this.#end(watcher, { kind: "failed", error: ended });
    // A bound of a range is a key with one byte appended at most; what is longer is nobody's key.
    else if (key.length > KEY_LENGTH_MAX || rangeEnd.length > KEY_LENGTH_MAX + 1)
      this.#end(watcher, { kind: "failed", error: new HarmonyError("KEY_TOO_LARGE") });
    else if (start < compactRevision) this.#end(watcher, { kind: "compacted", compactRevision });
    else if (start > this.#revision) interest.idle.add(watcher);
    else {
      watcher.pending = start;
      this.#tell(watcher);
    }
    return watcher;
  }

  /** Everybody who watches now is told so: what is here is not to be trusted. */
  interrupt(error: HarmonyError): void {
    for (const watcher of this.#watchers) this.#end(watcher, { kind: "failed", error });
  }

  /** Until there is room on the disk nothing is applied here, so nothing is told: who can watch elsewhere is sent there. */
  standStill(error: HarmonyError): void {
    for (const watcher of this.#watchers)
      if (watcher.mayMove) this.#end(watcher, { kind: "failed", error });
  }

  /** Everybody who watches is told so, and nobody is taken any more. */
  close(error: HarmonyError): void {
    this.#closed ??= error;
    this.#config.machine.listen(null, null);
    for (const watcher of this.#watchers) this.#end(watcher, { kind: "failed", error });
  }

  /**
   * A snapshot has taken the place of the trees. What happened up to it was told to nobody: who had taken everything goes
   * on from there, in the trees, where the history that came with the snapshot stands, or is told that it is compacted.
   */
  restored(): void {
    this.#reader = null;
    if (this.#watchers.size === 0 || this.#closed !== null) return;
    const first = this.#revision + 1;
    this.#revision = this.#config.machine.revision;
    assert(this.#revision >= first - 1, "revisions do not go back");
    this.#recent.startAt(this.#revision + 1);
    for (const watcher of this.#watchers) {
      const { interest, pending, start } = watcher;
      if (pending !== SYNCED) continue;
      const from = Math.max(start, first);
      if (from > this.#revision) continue;
      interest.idle.delete(watcher);
      watcher.pending = from;
      this.#tell(watcher);
    }
  }

  /** The oldest revision that somebody may start from. */
  get compactRevision(): number {
    const { machine } = this.#config;
    // Without history there is what is remembered, and nothing before it.
    return keepsHistory(machine.settings) ? machine.compactRevision : this.#recent.firstRevision;
  }

  /** Of `Watch`. */
  take(watcher: Watcher, maxBytes: number): WatchNews | null {
    assert(maxBytes > 0, "something is taken");
    watcher.isTold = false;
    if (!this.#watchers.has(watcher)) {
      const { ended } = watcher;
      watcher.ended = null;
      return ended;
    }
    if (watcher.pending === SYNCED) return null;
    if (watcher.pending > this.#revision) {
      // In the middle of an entry: whoever takes now is told again when it is applied.
      this.#fresh.push(watcher);
      return null;
    }
    const batch = new Batch(maxBytes);
    try {
      if (watcher.pending >= this.#recent.firstRevision) this.#takeRecent(watcher, batch);
      else if (watcher.pending >= this.compactRevision) this.#takeOld(watcher, batch);
      else {
        this.#end(watcher, { kind: "compacted", compactRevision: this.compactRevision });
        return this.take(watcher, maxBytes);
      }
    } catch (thrown) {
      if (thrown instanceof CorruptionError) this.#damaged(thrown);
      else this.#break(thrown);
      return this.take(watcher, maxBytes);
    }
    const revision = this.#advance(watcher, batch);
    this.#eventsTaken += batch.events.length;
    return batch.events.length === 0 ? null : { kind: "events", events: batch.events, revision };
  }

  /** Of `Watch`. */
  revisionOf({ pending, taken }: Watcher): number {
    const before = pending === SYNCED ? this.#revision : pending - 1;
    return Math.max(taken, Math.min(this.#revision, before));
  }

  /** Of `Watch`. */
  cancel(watcher: Watcher): void {
    watcher.ended = null;
    this.#forget(watcher);
  }

  invariants(): void {
    this.#recent.invariants();
    this.#interests?.invariants();
    for (const watcher of this.#watchers) {
      const { interest, pending } = watcher;
      assert(watcher.ended === null, "who has ended is not here");
      assert(
        interest.idle.has(watcher) === (pending === SYNCED),
        "who has nothing to take is idle, and nobody else",
      );
      assert(pending === SYNCED || pending > watcher.taken, "what was taken is not pending");
    }
  }

  /**
   * Events of later revisions tell what was before. At the compact revision itself that is no longer readable, whether
   * it is still there or not; without history it is told as long as it is remembered.
   */
  get #readableBefore(): number {
    const { machine } = this.#config;
    return keepsHistory(machine.settings) ? machine.compactRevision : 0;
  }

  get #allInterests(): Interests<Watcher> {
    this.#interests ??= new Interests(this.#config.env.entropy.u32());
    return this.#interests;
  }

  /** The first watcher is there. */
  #listen(): void {
    const { machine } = this.#config;
    this.#revision = machine.revision;
    this.#recent.startAt(this.#revision + 1);
    machine.listen(
      {
        put: (revision, sub, key, record, old) =>
          this.#changed(revision, sub, key, record, old ?? null, null),
        deleted: (revision, sub, key, cause, old) =>
          this.#changed(revision, sub, key, null, old, cause),
      },
      () => this.#applied(),
    );
  }

  #changed(
    revision: number,
    sub: number,
    key: Uint8Array,
    record: Uint8Array | null,
    old: Uint8Array | null,
    cause: DeleteCause | null,
  ): void {
    try {
      this.#recent.add(revision, sub, key, record, old, cause);
      this.#changing = revision;
      this.#interests?.match(key, cause !== null, this.#wake);
    } catch (thrown) {
      this.#break(thrown);
    }
  }

  readonly #wake = (interest: Interest<Watcher>): void => {
    const revision = this.#changing;
    for (const watcher of interest.idle) {
      if (revision < watcher.start) continue;
      interest.idle.delete(watcher);
      watcher.pending = revision;
      this.#fresh.push(watcher);
    }
  };

  #applied(): void {
    try {
      const { revision } = this.#config.machine;
      assert(revision >= this.#revision, "revisions do not go back");
      this.#revision = revision;
      if (this.#fresh.length > 0) this.#tellSoon();
      else this.#recent.trim();
      verify(() => {
        if (this.#watchers.size <= VERIFIED_WATCHERS || this.#entries++ % VERIFIED_WATCHERS === 0)
          this.invariants();
      });
    } catch (thrown) {
      this.#break(thrown);
    }
  }

  #takeRecent(watcher: Watcher, batch: Batch): void {
    const { interest, prevKv } = watcher;
    const readableBefore = this.#readableBefore;
    this.#recent.forEach(watcher.pending, (change: RecentChange) => {
      if (change.revision > this.#revision) {
        batch.nextRevision = change.revision;
        return false;
      }
      if (!interest.wants(change.cause !== null) || !interest.contains(change.key)) return true;
      if (batch.isFullBefore(change.revision)) return false;
      const { revision, sub } = change;
      batch.add(revision, sub, change.event(prevKv && revision > readableBefore));
      return true;
    });
  }

  #takeOld(watcher: Watcher, batch: Batch): void {
    this.#reader ??= new ChangeReader(this.#config.engine);
    const reader = this.#reader;
    const { interest, prevKv } = watcher;
    const readableBefore = this.#readableBefore;
    let seen = 0;
    let last = watcher.pending;
    reader.forEach(watcher.pending, (revision, sub, change) => {
      if (revision > this.#revision || (revision !== last && seen >= SLICE_CHANGES)) {
        batch.nextRevision = revision;
        return false;
      }
      seen++;
      last = revision;
      const { isDelete } = change;
      if (!interest.wants(isDelete) || !interest.contains(change.key)) return true;
      if (batch.isFullBefore(revision)) return false;
      const key = change.key.slice();
      let kv = goneKeyValue(key, revision);
      if (!isDelete) {
        const record = reader.version(key, revision, sub);
        assert(record !== undefined, "a change that is not compacted has its version");
        kv = keyValueOf(key, record.slice());
      }
      const hasPrev = prevKv && change.previousRevision > 0 && revision > readableBefore;
      const old = hasPrev
        ? reader.version(key, change.previousRevision, change.previousSub)
        : undefined;
      batch.add(revision, sub, {
        type: isDelete ? "delete" : "put",
        kv,
        prevKv: old === undefined ? null : keyValueOf(key, old.slice()),
        cause: isDelete ? change.cause : null,
      });
      return true;
    });
  }

  /** Moves the watcher behind what is in the batch, and answers up to which revision it has been told everything. */
  #advance(watcher: Watcher, batch: Batch): number {
    const { firstRevision, lastRevision, nextRevision } = batch;
    assert(
      firstRevision === 0 || (firstRevision >= watcher.start && firstRevision > watcher.taken),
      "what is given is new",
    );
    watcher.pending = nextRevision;
    if (nextRevision === SYNCED) watcher.interest.idle.add(watcher);
    const told =
      nextRevision === SYNCED ? this.#revision : Math.min(this.#revision, nextRevision - 1);
    assert(lastRevision <= told && watcher.taken <= told, "what is given was applied");
    watcher.taken = told;
    // A slice without anything to give: the watcher comes back for the next one.
    if (nextRevision !== SYNCED && lastRevision === 0) this.#tell(watcher);
    return told;
  }

  #tell(watcher: Watcher): void {
    this.#fresh.push(watcher);
    this.#tellSoon();
  }

  /** Not within the apply of an entry, and one time for all entries of a turn. */
  #tellSoon(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    this.#config.env.timers.soon(() => {
      this.#isTelling = false;
      const fresh = this.#fresh;
      this.#fresh = [];
      for (const watcher of fresh) {
        if (watcher.isTold || (watcher.ended === null && !this.#watchers.has(watcher))) continue;
        watcher.isTold = true;
        try {
          watcher.news();
        } catch (thrown) {
          this.#config.env.log("error", "watch", "a watcher threw when it was told of news", {
            error: String(thrown),
          });
        }
      }
      // Whoever was told has had the time to take.
      this.#recent.trim();
    });
  }

  #end(watcher: Watcher, end: WatchNews): void {
    this.#forget(watcher);
    watcher.ended = end;
    // Not synced for good: nothing is promised of what it will not see.
    watcher.pending = watcher.taken + 1;
    this.#tell(watcher);
  }

  #forget(watcher: Watcher): void {
    if (!this.#watchers.delete(watcher)) return;
    const { interest } = watcher;
    interest.idle.delete(watcher);
    interest.count--;
    if (interest.count === 0) this.#allInterests.close(interest);
    if (this.#watchers.size > 0) return;
    this.#config.machine.listen(null, null);
    this.#recent.startAt(this.#revision + 1);
  }

  /**
   * Whether the node ends by it, and with it this hub, is not decided here: where the others heal it, watching goes on.
   * Nothing is being applied, so what follows may happen at once.
   */
  #damaged(error: CorruptionError): void {
    this.#config.env.log("error", "watch", "a watcher came upon damage", { error: error.message });
    this.#reader = null;
    this.interrupt(error);
    this.#config.onFatal?.(error);
  }

  /** Better no watchers than wrong ones. */
  #break(thrown: unknown): void {
    this.#config.env.log("error", "watch", "watching has ended by a defect", {
      error: String(thrown),
    });
    this.close(
      thrown instanceof HarmonyError
        ? thrown
        : new HarmonyError("STOPPED", `watching has ended by a defect: ${String(thrown)}`, {
            cause: thrown,
          }),
    );
  }
}

class Watcher implements Watch {
  readonly #hub: WatchHub;
  readonly interest: Interest<Watcher>;
  readonly prevKv: boolean;
  readonly mayMove: boolean;
  /** Of what came before it is not told. */
  readonly start: number;
  readonly news: () => void;
  /** The first revision that may have something for it that it has not taken; or SYNCED. */
  pending: number = SYNCED;
  /** It has been told of everything up to here. */
  taken = 0;
  /** Was told that there is news and has not come. */
  isTold = false;
  /** The last thing that it takes. */
  ended: WatchNews | null = null;

  constructor(
    hub: WatchHub,
    interest: Interest<Watcher>,
    { prevKv, mayMove = false }: WatchRequest,
    start: number,
    news: () => void,
  ) {
    this.#hub = hub;
    this.interest = interest;
    this.prevKv = prevKv;
    this.mayMove = mayMove;
    this.start = start;
    this.news = news;
  }

  take(maxBytes: number): WatchNews | null {
    return this.#hub.take(this, maxBytes);
  }

  get isSynced(): boolean {
    return this.pending === SYNCED;
  }

  get revision(): number {
    return this.#hub.revisionOf(this);
  }

  cancel(): void {
    this.#hub.cancel(this);
  }
}

/** What one take collects. */
class Batch {
  readonly #maxBytes: number;
  #sizeBytes = 0;
  #lastSub = 0;
  readonly events: WatchEvent[] = [];
  firstRevision = 0;
  lastRevision = 0;
  /** Where the next take goes on; SYNCED when there is nothing more. */
  nextRevision: number = SYNCED;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether an event of `revision` no longer fits; then the next take begins with it. */
  isFullBefore(revision: number): boolean {
    if (this.#sizeBytes < this.#maxBytes || revision === this.lastRevision) return false;
    this.nextRevision = revision;
    return true;
  }

  add(revision: number, sub: number, event: WatchEvent): void {
    assert(
      revision > this.lastRevision || (revision === this.lastRevision && sub > this.#lastSub),
      "events are given in their order",
    );
    if (this.firstRevision === 0) this.firstRevision = revision;
    this.lastRevision = revision;
    this.#lastSub = sub;
    const { kv, prevKv } = event;
    this.#sizeBytes += EVENT_BYTES + kv.key.length + kv.value.length;
    if (prevKv !== null) this.#sizeBytes += EVENT_BYTES + prevKv.key.length + prevKv.value.length;
    this.events.push(event);
  }
}
