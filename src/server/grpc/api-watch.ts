/**
 * Api.Watch: one watch on one stream, so that what its reader does not take holds up nobody else, and the window of the
 * stream is all the buffer there is.
 */
import { apiMessages as wire } from "../../codec/index.ts";
import type { Watch, WatchEvent } from "../../db/index.ts";
import type { ServiceContext } from "./answer.ts";
import { decode, encode, entryOf, failureOf } from "./api-messages.ts";
import type { StreamCall, StreamListener } from "./method.ts";

/** About so much is in one message; a revision is never split. */
const BATCH_BYTES: number = 128 * 1024;
/** Nobody needs to hear more often that nothing has happened. */
const PROGRESS_MIN_MS = 10;
const PROGRESS_MAX_MS: number = 24 * 3_600_000;

const CAUSES = {
  client: wire.ApiEvent_Cause.CLIENT,
  expired: wire.ApiEvent_Cause.EXPIRED,
  lease: wire.ApiEvent_Cause.LEASE,
} as const;

const NOTHING: wire.ApiWatchResponse = {
  revision: 0n,
  events: [],
  compact_revision: 0n,
  failure: undefined,
};

export function apiWatch(context: ServiceContext, call: StreamCall): StreamListener {
  return new ApiWatch(context, call);
}

class ApiWatch implements StreamListener {
  readonly #context: ServiceContext;
  readonly #call: StreamCall;
  #watch: Watch | null = null;
  #isWaiting = false;
  #isOver = false;
  #timer: NodeJS.Timeout | null = null;
  /** What the client was told last of how far it is. */
  #toldRevision = 0;

  constructor(context: ServiceContext, call: StreamCall) {
    this.#context = context;
    this.#call = call;
  }

  message(bytes: Uint8Array, done: () => void): void {
    const request = decode(wire.ApiWatchRequest, bytes);
    done();
    const watch = this.#context.database.watch(
      {
        key: request.key,
        rangeEnd: request.range_end,
        startRevision: Math.max(0, Number(request.start_revision)),
        prevKv: request.prev,
        noPut: request.no_put,
        noDelete: request.no_delete,
        mayMove: true,
      },
      () => this.#attempt(() => this.#pump()),
    );
    this.#watch = watch;
    this.#send({ revision: BigInt(watch.revision) });
    this.#toldRevision = watch.revision;
    if (request.progress_ms > 0n) {
      const everyMs = Number(request.progress_ms);
      this.#timer = setInterval(
        () => this.#attempt(() => this.#tellProgress()),
        Math.min(Math.max(everyMs, PROGRESS_MIN_MS), PROGRESS_MAX_MS),
      );
      this.#timer.unref();
    }
    this.#pump();
  }

  halfClosed(): void {}

  closed(): void {
    this.#isOver = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#watch?.cancel();
  }

  /** Sends what there is for as long as the client takes it. */
  #pump(): void {
    const watch = this.#watch;
    if (watch === null || this.#isWaiting) return;
    while (!this.#isOver) {
      if (!this.#call.isWritable) {
        this.#isWaiting = true;
        this.#call.whenWritable(() => {
          this.#isWaiting = false;
          this.#attempt(() => this.#pump());
        });
        return;
      }
      const news = watch.take(BATCH_BYTES);
      if (news === null) return;
      if (news.kind === "events") {
        this.#send({ revision: BigInt(news.revision), events: news.events.map(eventOf) });
        this.#toldRevision = news.revision;
        continue;
      }
      if (news.kind === "compacted") this.#send({ compact_revision: BigInt(news.compactRevision) });
      else this.#send({ failure: failureOf(news.error) });
      this.#call.end(null);
      return;
    }
  }

  #tellProgress(): void {
    const watch = this.#watch;
    if (watch === null || this.#isOver || !watch.isSynced || !this.#call.isWritable) return;
    if (watch.revision <= this.#toldRevision) return;
    this.#toldRevision = watch.revision;
    this.#send({ revision: BigInt(watch.revision) });
  }

  #send(message: Partial<wire.ApiWatchResponse>): void {
    this.#call.send(encode(wire.ApiWatchResponse, { ...NOTHING, ...message }));
  }

  #attempt(step: () => void): void {
    try {
      step();
    } catch (defect) {
      this.#context.fail(defect, (status) => this.#call.end(status));
    }
  }
}

function eventOf({ type, kv, prevKv, cause }: WatchEvent): wire.ApiEvent {
  return {
    is_delete: type === "delete",
    entry: entryOf(kv),
    prev: prevKv === null ? undefined : entryOf(prevKv),
    cause: CAUSES[cause ?? "client"],
  };
}
