/**
 * etcdserverpb.Watch: many watchers on one stream (etcd-api 2.4).
 *
 * The database tells a watcher of news; the stream remembers which of its watchers have some and takes from one after
 * the other, a batch at a time, as long as the client reads. So a client that does not read costs one batch, not what
 * happens meanwhile; and no watcher keeps the others of its stream waiting for more than a batch.
 *
 * Invariants:
 * 1. A watcher's `created` is sent before anything else of it, and nothing after its `canceled`.
 * 2. The parts of a response that is split follow each other: nothing else is sent on the stream between them.
 * 3. The revision of a header without events promises that what is told later, of that watcher or for id -1 of any
 *    watcher of the stream, is newer.
 */
import {
  decodeWatchRequest,
  encodeWatchResponse,
  type WireEvent,
  type WireWatchCreate,
  type WireWatchRequest,
  type WireWatchResponse,
} from "../../codec/index.ts";
import type { Watch, WatchNews } from "../../db/index.ts";
import { compareBytes } from "../../base/index.ts";
import type { ServiceContext } from "./answer.ts";
import type { Method, StreamCall, StreamListener } from "./method.ts";
import { statusOf } from "./status.ts";

export interface WatchOptions {
  /** How often an idle watcher that asked for it is told the revision; up to a tenth is added by chance. */
  readonly progressIntervalMs: number;
  /** Watchers that allow it get larger responses in pieces of about this size. */
  readonly fragmentBytes: number;
}

/** As in etcd. */
const PROGRESS_INTERVAL_MIN_MS = 100;
/** About so much is taken from one watcher before it is another's turn. */
const BATCH_BYTES: number = 128 * 1024;
/** Stands for no watcher, or for all of the stream. */
const NO_WATCHER = -1n;
/** What an event takes on the wire besides its bytes, at most: five numbers, a lease, tags and lengths. */
const EVENT_OVERHEAD_BYTES = 100;
const ZERO: Uint8Array = Uint8Array.of(0);

export function watchService(context: ServiceContext, options: WatchOptions): readonly Method[] {
  return [
    {
      kind: "bidi",
      path: "/etcdserverpb.Watch/Watch",
      open: (call) => new WatchStream(context, call, options),
    },
  ];
}

/** A response that is sent in parts. */
interface Parts {
  readonly id: bigint;
  readonly events: readonly WireEvent[];
  readonly revision: number;
  /** The first event that has not been sent. */
  readonly from: number;
}

interface Watcher {
  readonly id: bigint;
  readonly watch: Watch;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  /** Nothing was sent since the last notice of progress. */
  isQuiet: boolean;
}

class WatchStream implements StreamListener {
  readonly #context: ServiceContext;
  readonly #call: StreamCall;
  readonly #options: WatchOptions;
  readonly #watchers = new Map<bigint, Watcher>();
  /** Who has something to take, in the order of their turns. */
  readonly #ready = new Set<Watcher>();
  #nextId = 0n;
  /** What is being sent in parts. Until it is over nothing else is sent: clients take what follows for its rest. */
  #parts: Parts | null = null;
  /** The request that came meanwhile. */
  #deferred: (() => void) | null = null;
  /** Somebody asked for progress and has not been answered. */
  #isProgressWanted = false;
  /** The call says when it may be written to again. */
  #isWaiting = false;
  #isOver = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(context: ServiceContext, call: StreamCall, options: WatchOptions) {
    this.#context = context;
    this.#call = call;
    this.#options = options;
  }

  message(bytes: Uint8Array, done: () => void): void {
    const request = decodeWatchRequest(bytes);
    if (this.#parts === null) {
      this.#answer(request);
      done();
      return;
    }
    // No more than this one: the next comes when it is done.
    this.#deferred = () => {
      this.#answer(request);
      done();
    };
  }

  /** The client has nothing more to ask; what it asked for goes on. */
  halfClosed(): void {}

  closed(): void {
    this.#isOver = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const { watch } of this.#watchers.values()) watch.cancel();
    this.#watchers.clear();
    this.#ready.clear();
  }

  #answer(request: WireWatchRequest): void {
    if (request.kind === "create") this.#create(request);
    else if (request.kind === "cancel") this.#cancel(request.watchId);
    else if (request.kind === "progress") {
      this.#isProgressWanted = true;
      this.#pump();
    }
  }

  #create(request: WireWatchCreate): void {
    const { startRevision, prevKv, noPut, noDelete, fragment, progressNotify } = request;
    const key = request.key.length === 0 ? ZERO : request.key;
    const { rangeEnd } = request;
    const isOpen = rangeEnd.length === 1 && rangeEnd[0] === 0;
    if (startRevision < 0) {
      this.#refuse(statusOf("COMPACTED").message);
      return;
    }
    if (rangeEnd.length > 0 && !isOpen && compareBytes(key, rangeEnd) >= 0) {
      this.#refuse("mvcc: watcher range is empty");
      return;
    }
    const id = this.#idFor(request.watchId);
    if (id === null) {
      this.#refuse("mvcc: duplicate watch ID provided on the WatchStream");
      return;
    }
    const { database } = this.#context;
    const watch = database.watch(
      { key, rangeEnd, startRevision, prevKv, noPut, noDelete, mayMove: true },
      // Within the database's turn, where a defect of this stream has no business.
      () => this.#attempt(() => this.#news(watcher)),
    );
    const watcher: Watcher = { id, watch, fragment, progressNotify, isQuiet: true };
    this.#watchers.set(id, watcher);
    if (progressNotify && this.#timer === null) this.#startTimer();
    this.#send({ watchId: id, created: true }, database.header.revision);
  }

  #idFor(wanted: bigint): bigint | null {
    if (wanted !== 0n) return this.#watchers.has(wanted) ? null : wanted;
    while (this.#watchers.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #refuse(cancelReason: string): void {
    const { revision } = this.#context.database.header;
    this.#send({ watchId: NO_WATCHER, created: true, canceled: true, cancelReason }, revision);
  }

  #cancel(id: bigint): void {
    const watcher = this.#watchers.get(id);
    if (watcher === undefined) return;
    this.#forget(watcher);
    this.#send({ watchId: id, canceled: true }, this.#context.database.header.revision);
  }

  #forget(watcher: Watcher): void {
    watcher.watch.cancel();
    this.#watchers.delete(watcher.id);
    this.#ready.delete(watcher);
  }

  #news(watcher: Watcher): void {
    if (this.#watchers.get(watcher.id) !== watcher) return;
    this.#ready.add(watcher);
    this.#pump();
  }

  /** Sends what there is for as long as the client reads. */
  #pump(): void {
    if (this.#isWaiting) return;
    while (
      !this.#isOver &&
      (this.#parts !== null || this.#ready.size > 0 || this.#isProgressWanted)
    ) {
      if (!this.#call.isWritable) {
        this.#isWaiting = true;
        this.#call.whenWritable(() => {
          this.#isWaiting = false;
          this.#pump();
        });
        return;
      }
      if (this.#parts !== null) {
        this.#sendPart(this.#parts);
        continue;
      }
      const next = this.#ready.values().next();
      if (next.done === true) {
        this.#answerProgress();
        return;
      }
      const watcher = next.value;
      const news = watcher.watch.take(BATCH_BYTES);
      this.#ready.delete(watcher);
      if (news === null) continue;
      // To the end of the queue: the others are not to wait for all that one has.
      if (news.kind === "events") this.#ready.add(watcher);
      this.#give(watcher, news);
    }
  }

  #give(watcher: Watcher, news: WatchNews): void {
    const { id } = watcher;
    switch (news.kind) {
      case "events":
        watcher.isQuiet = false;
        if (watcher.fragment)
          this.#parts = { id, events: news.events, revision: news.revision, from: 0 };
        else this.#send({ watchId: id, events: news.events }, news.revision);
        return;
      case "compacted": {
        this.#forget(watcher);
        const { compactRevision } = news;
        this.#send({ watchId: id, canceled: true, compactRevision }, 0);
        return;
      }
      case "failed": {
        const { code } = news.error;
        this.#forget(watcher);
        // The key of one watcher is no matter of the others; anything else has ended them all.
        const status = statusOf(code);
        if (code === "KEY_TOO_LARGE")
          this.#send({ watchId: id, canceled: true, cancelReason: status.message }, 0);
        else this.#call.end(status);
      }
    }
  }

  /** The next part of what is sent in parts, in a message of its own. */
  #sendPart(parts: Parts): void {
    const { id, events, revision, from } = parts;
    let sizeBytes = 0;
    let to = from;
    while (to < events.length) {
      sizeBytes += sizeOf(events[to] as WireEvent);
      if (sizeBytes > this.#options.fragmentBytes && to > from) break;
      to++;
    }
    const isLast = to === events.length;
    this.#parts = isLast ? null : { ...parts, from: to };
    this.#send({ watchId: id, events, fragment: !isLast }, revision, from, to);
    if (!isLast) return;
    const deferred = this.#deferred;
    this.#deferred = null;
    deferred?.();
  }

  #send(response: WireWatchResponse, revision: number, from?: number, to?: number): void {
    this.#call.send(encodeWatchResponse(this.#context.header(revision), response, from, to));
  }

  /** One answer for all watchers of the stream, once each of them has been told everything. */
  #answerProgress(): void {
    let { revision } = this.#context.database.header;
    for (const { watch } of this.#watchers.values()) {
      // Somebody is behind, or has news that come in the next turn: the answer is given after them.
      if (!watch.isSynced) return;
      revision = Math.min(revision, watch.revision);
    }
    this.#isProgressWanted = false;
    this.#send({ watchId: NO_WATCHER }, revision);
  }

  #startTimer(): void {
    const intervalMs = Math.max(PROGRESS_INTERVAL_MIN_MS, this.#options.progressIntervalMs);
    const jitterMs = (intervalMs / 10) * Math.random();
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#attempt(() => this.#notify());
      },
      Math.min(intervalMs + jitterMs, TIMER_MS_MAX),
    );
    this.#timer.unref();
  }

  /** Tells those who asked for it, and were told nothing else meanwhile, how far they are. */
  #notify(): void {
    let isAnybodyLeft = false;
    for (const watcher of this.#watchers.values()) {
      const { id, watch, progressNotify } = watcher;
      if (!progressNotify) continue;
      isAnybodyLeft = true;
      if (watcher.isQuiet && watch.isSynced && this.#parts === null && this.#call.isWritable)
        this.#send({ watchId: id }, watch.revision);
      watcher.isQuiet = true;
    }
    if (isAnybodyLeft && !this.#isOver) this.#startTimer();
  }

  #attempt(step: () => void): void {
    try {
      step();
    } catch (defect) {
      this.#context.fail(defect, (status) => this.#call.end(status));
    }
  }
}

/** The longest that a timer of the host takes. */
const TIMER_MS_MAX = 0x7fff_ffff;

/** At most what the event takes on the wire. */
function sizeOf({ kv, prevKv }: WireEvent): number {
  const kvBytes = EVENT_OVERHEAD_BYTES + kv.key.length + kv.value.length;
  return prevKv === null
    ? kvBytes
    : kvBytes + EVENT_OVERHEAD_BYTES + prevKv.key.length + prevKv.value.length;
}
