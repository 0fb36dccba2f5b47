/**
 * Watches in process: batches are taken from the database when the program asks for the next one, so that its speed is
 * the only buffer. Events are converted after the node's turn, in the call that gets them.
 */
import { HarmonyError, text } from "../../base/index.ts";
import { unlisten } from "../calls.ts";
import type { Timer } from "../../env/index.ts";
import type { KeyValue } from "../requests.ts";
import type { Watch, WatchEvent as CommonEvent, WatchNews, WatchRequest } from "../watch/index.ts";
import type { Entry, Key, Range } from "./api.ts";
import {
  CompactedError,
  type WatchBatch,
  type Watching,
  type WatchEvent,
  type WatchOptions,
} from "./api-watch.ts";
import { assertNames, assertSignal, countOf, flagOf, invalid } from "./arguments.ts";
import type { Link } from "./link.ts";
import type { Space } from "./space.ts";

const OPTIONS: ReadonlySet<string> = new Set(["signal", "fromRev", "prev", "only", "progressMs"]);
/** About so much is taken at a time. */
const BATCH_BYTES: number = 256 * 1024;
const NO_BYTES: Uint8Array = new Uint8Array(0);

type Taken = Extract<WatchNews, { readonly kind: "events" }> | null;

/** Throws what is wrong with the arguments. */
export function openWatch<V>(
  link: Link,
  space: Space<V, never>,
  keys: Key | Range,
  options: WatchOptions,
): Watching<V> {
  const range =
    typeof keys === "string" || ArrayBuffer.isView(keys)
      ? { key: space.key(keys as Key), rangeEnd: NO_BYTES }
      : rangeOf(space, keys as Range);
  if (range.key.length === 0) throw new HarmonyError("KEY_EMPTY");
  assertNames(options, OPTIONS, "options");
  const { signal, only } = options;
  assertSignal(signal);
  if (only !== undefined && only !== "put" && only !== "delete")
    throw invalid('only is "put" or "delete"');
  const request: WatchRequest = {
    ...range,
    startRevision: countOf(options.fromRev, "fromRev", 1) ?? 0,
    prevKv: flagOf(options.prev, "prev"),
    noPut: only === "delete",
    noDelete: only === "put",
  };
  return new OpenWatch(link, space, request, {
    signal,
    progressMs: countOf(options.progressMs, "progressMs", 1),
  });
}

function rangeOf(
  space: Space<unknown, never>,
  range: Range,
): { readonly key: Uint8Array; readonly rangeEnd: Uint8Array } {
  const { from, to, limit, reverse } = space.bounds(range);
  if (limit !== undefined || reverse) throw invalid("a watch has no limit and no reverse");
  return { key: from, rangeEnd: to };
}

class OpenWatch<V> implements Watching<V> {
  readonly #link: Link;
  readonly #space: Space<V, never>;
  readonly #watch: Watch;
  readonly #signal: AbortSignal | undefined;
  readonly #progressMs: number | undefined;
  #waiting: {
    readonly resolve: (taken: Taken) => void;
    readonly reject: (error: HarmonyError) => void;
  }[] = [];
  #timer: Timer | null = null;
  /**
   * A batch was given in this turn of the event loop: the next one comes in a later one. A reader that does nothing but
   * read would otherwise go through all of history without letting anybody else run.
   */
  #hasGiven = false;
  /** What the reader gets next; null for a quiet end. */
  #error: HarmonyError | null = null;
  #isOver = false;

  constructor(
    link: Link,
    space: Space<V, never>,
    request: WatchRequest,
    options: Pick<WatchOptions, "signal" | "progressMs">,
  ) {
    this.#link = link;
    this.#space = space;
    this.#signal = options.signal;
    this.#progressMs = options.progressMs;
    this.#watch = link.watch(request, () => this.#news());
    if (options.signal?.aborted === true) this.#aborted();
    else options.signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  readonly #aborted = (): void => this.#end(new HarmonyError("ABORTED"));

  async next(): Promise<IteratorResult<WatchBatch<V>, undefined>> {
    const taken = await this.#take();
    if (taken === null) {
      if (this.#isOver) return { done: true, value: undefined };
      return { done: false, value: { rev: this.#watch.revision, events: [] } };
    }
    try {
      const events = taken.events.map((event) => this.#event(event));
      return { done: false, value: { rev: taken.revision, events } };
    } catch (thrown) {
      // The batch is lost, so this is the end: what follows it would come after a gap.
      this.#end(null);
      throw thrown;
    }
  }

  async return(): Promise<IteratorResult<WatchBatch<V>, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  close(): Promise<void> {
    this.#error = null;
    this.#end(null);
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The next batch; null for progress, and at the end. */
  #take(): Promise<Taken> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#waiting.length === 1) this.#news();
    });
  }

  /** Gives what there is to those who wait. */
  #news(): void {
    while (this.#waiting.length > 0) {
      if (this.#isOver) {
        this.#release();
        return;
      }
      if (this.#hasGiven) return;
      const news = this.#watch.take(BATCH_BYTES);
      if (news === null) {
        this.#waitForProgress();
        return;
      }
      if (news.kind === "compacted") this.#end(new CompactedError(news.compactRevision));
      else if (news.kind === "failed") this.#end(news.error);
      // A watch that has only begun.
      else if (news.events.length > 0) this.#give(news);
    }
  }

  #give(taken: Taken): void {
    this.#timer?.cancel();
    this.#timer = null;
    const [first, ...others] = this.#waiting;
    this.#waiting = others;
    first?.resolve(taken);
    if (taken === null || this.#hasGiven) return;
    this.#hasGiven = true;
    this.#link.env.timers.soon(() => {
      this.#hasGiven = false;
      this.#news();
    });
  }

  #waitForProgress(): void {
    if (this.#progressMs === undefined || this.#timer !== null) return;
    this.#timer = this.#link.env.timers.after(this.#progressMs, () => {
      this.#timer = null;
      this.#give(null);
      if (this.#waiting.length > 0) this.#waitForProgress();
    });
  }

  #end(error: HarmonyError | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    unlisten(this.#signal, this.#aborted);
    this.#timer?.cancel();
    this.#watch.cancel();
    this.#release();
  }

  /** The error is said once; whoever asks again is at the end. */
  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { resolve, reject } of waiting) {
      const error = this.#error;
      this.#error = null;
      if (error === null) resolve(null);
      else reject(error);
    }
  }

  #event({ type, kv, prevKv, cause }: CommonEvent): WatchEvent<V> {
    const rawKey = this.#space.outer(kv.key.slice());
    const common = { key: text(rawKey), rawKey, rev: kv.modRevision };
    const prev = prevKv === null ? {} : { prev: this.#entry(prevKv) };
    return type === "put"
      ? { type, ...common, entry: this.#entry(kv), ...prev }
      : { type, ...common, cause: cause ?? "client", ...prev };
  }

  /** Of bytes that belong to the receiver: those of the event are shared with other watchers. */
  #entry(kv: KeyValue): Entry<V> {
    return this.#space.entry({ ...kv, key: kv.key.slice(), value: kv.value.slice() });
  }
}
