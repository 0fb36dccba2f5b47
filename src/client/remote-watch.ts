/**
 * A watch over whichever member tells: it begins again on another one behind the last revision that it was told of, as
 * often as it has to. What its reader has not taken waits in the window of the stream, and then at the member, as a
 * revision.
 */
import type { HarmonyError } from "../base/index.ts";
import { apiMessages as wire } from "../codec/index.ts";
import type { Watch, WatchNews, WatchRequest } from "../db/index.ts";
import { failureError } from "./asking.ts";
import type { Under } from "./channel.ts";
import type { Member } from "./members.ts";
import { API, eventOf } from "./messages.ts";
import type { RemoteLink } from "./remote-link.ts";

/** What may wait here untaken before the stream is held. */
const QUEUE_BATCHES = 8;
/** How often a quiet watch hears how far it is, so that it could go on from there. */
const PROGRESS_MS = 1_000;
const BACKOFF_MS = 20;
const BACKOFF_MS_MAX = 1_000;
/** What is wrong with the request, wherever it is asked. */
const OF_REQUEST: ReadonlySet<string> = new Set(["KEY_EMPTY", "KEY_TOO_LARGE", "INVALID_ARGUMENT"]);

export class RemoteWatch implements Watch {
  readonly #link: RemoteLink;
  readonly #request: WatchRequest;
  readonly #news: () => void;
  #forget: () => void = () => {};
  /** From which revision on it begins again; 0: from now on, since it has not begun anywhere. */
  #from: number;
  /** What the program had seen of the database when it asked. */
  readonly #floor: number;
  #queue: WatchNews[] = [];
  #under: Under | null = null;
  /** Lets go of the member that tells. */
  #leave: () => void = () => {};
  #isHeld = false;
  #isToldPlanned = false;
  #failures = 0;
  #isOver = false;
  /** Taken, or told where nothing waits. */
  revision: number;

  constructor(link: RemoteLink, request: WatchRequest, news: () => void) {
    this.#link = link;
    this.#request = request;
    this.#news = news;
    this.#from = request.startRevision;
    this.#floor = link.seenRevision;
    this.revision = request.startRevision > 0 ? request.startRevision - 1 : this.#floor;
    link.members.begin();
    this.#forget = link.onEnd((error) => this.#fail(error));
    if (!this.#isOver) this.#open();
  }

  get isSynced(): boolean {
    return this.#queue.length === 0;
  }

  take(): WatchNews | null {
    const news = this.#queue.shift();
    if (news === undefined) return null;
    if (news.kind === "events") {
      this.revision = news.revision;
      if (this.#queue.length === 0 && this.#from > 0)
        this.revision = Math.max(this.revision, this.#from - 1);
    }
    if (this.#isHeld && this.#queue.length <= QUEUE_BATCHES / 2) {
      this.#isHeld = false;
      this.#under?.resume();
    }
    return news;
  }

  cancel(): void {
    this.#end();
    this.#queue = [];
  }

  #open(): void {
    if (this.#isOver) return;
    const { members } = this.#link;
    const { chosen } = members;
    // It leaves within the call: writes that are asked for after it come to the same member after it.
    if (chosen !== null) this.#begin(chosen);
    else
      members.choose().then(
        (member) => this.#begin(member),
        () => this.#again(),
      );
  }

  #begin(member: Member): void {
    if (this.#isOver) return;
    const { key, rangeEnd, prevKv, noPut, noDelete } = this.#request;
    const message = wire.ApiWatchRequest.encode({
      key,
      range_end: rangeEnd,
      start_revision: BigInt(this.#from),
      prev: prevKv,
      no_put: noPut,
      no_delete: noDelete,
      progress_ms: BigInt(PROGRESS_MS),
    }).finish();
    let isThis = true;
    let forget = (): void => {};
    const over = (): void => {
      if (!isThis) return;
      isThis = false;
      forget();
      under.cancel();
      this.#under = null;
      this.#isHeld = false;
      // A watch that has begun nowhere might have missed what came meanwhile: it begins behind what was seen before.
      if (this.#from === 0 && this.#floor > 0) this.#from = this.#floor + 1;
      this.#again();
    };
    const under = member.channel.stream(`${API}Watch`, message, {
      message: (bytes) => {
        if (isThis && !this.#isOver) this.#take(member, bytes, over);
      },
      over: () => {
        // What ended it is of the member: a request that is wrong has been told so before.
        if (!this.#isOver) this.#link.members.leave(member);
        over();
      },
    });
    this.#under = under;
    // One that is not asked any more, since it is cut off, would tell nothing more either.
    forget = member.channel.whenOver(over);
    this.#leave = () => {
      isThis = false;
      forget();
      under.cancel();
    };
  }

  #take(member: Member, bytes: Uint8Array, over: () => void): void {
    const { revision, events, compact_revision, failure } = wire.ApiWatchResponse.decode(bytes);
    if (failure !== undefined) {
      const error = failureError(failure);
      if (OF_REQUEST.has(error.code)) this.#fail(error);
      else {
        this.#link.members.leave(member);
        over();
      }
      return;
    }
    if (compact_revision > 0n) {
      this.#finish({ kind: "compacted", compactRevision: Number(compact_revision) });
      return;
    }
    this.#failures = 0;
    const at = Number(revision);
    const isFirst = this.#from === 0;
    // A member that is behind says so; what was told counts.
    this.#from = Math.max(this.#from, at + 1);
    this.#link.saw(at);
    if (events.length === 0 && !isFirst) {
      if (this.#queue.length === 0) this.revision = Math.max(this.revision, this.#from - 1);
      return;
    }
    this.#queue.push({ kind: "events", events: events.map(eventOf), revision: at });
    if (this.#queue.length >= QUEUE_BATCHES && !this.#isHeld) {
      this.#isHeld = true;
      this.#under?.pause();
    }
    this.#tell();
  }

  #again(): void {
    if (this.#isOver) return;
    const waitMs =
      this.#failures === 0 ? 0 : Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** this.#failures);
    this.#failures = Math.min(10, this.#failures + 1);
    this.#link.env.timers.after(waitMs, () => this.#open());
  }

  #fail(error: HarmonyError): void {
    this.#finish({ kind: "failed", error });
  }

  #finish(last: WatchNews): void {
    if (this.#isOver) return;
    this.#end();
    this.#queue.push(last);
    this.#tell();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leave();
    this.#under = null;
    this.#link.members.finish();
    this.#forget();
  }

  /** In a turn of its own. */
  #tell(): void {
    if (this.#isToldPlanned) return;
    this.#isToldPlanned = true;
    this.#link.env.timers.soon(() => {
      this.#isToldPlanned = false;
      if (this.#queue.length > 0) this.#news();
    });
  }
}
