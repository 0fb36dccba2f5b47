/** Messages between the parts of one process: who subscribes gets what is published from then on. Nothing is kept. */
import { HarmonyError } from "../../base/index.ts";
import { unlisten } from "../calls.ts";
import type { Message, SubscribeOptions, Subscription } from "./api-database.ts";
import { assertNames, assertSignal, copyOf, countOf, invalid } from "./arguments.ts";
import { matchesGlob } from "./glob.ts";
import type { Link } from "./link.ts";

const OPTIONS: ReadonlySet<string> = new Set(["signal", "pendingMax"]);
const PENDING_DEFAULT = 10_000;

export class Messages {
  readonly #link: Link;
  readonly #subscriptions = new Set<OpenSubscription>();
  #published = 0;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Patterns that somebody subscribes to now, and messages published since the start. */
  get stats(): { readonly patterns: number; readonly published: number } {
    let patterns = 0;
    for (const subscription of this.#subscriptions) patterns += subscription.patternCount;
    return { patterns, published: this.#published };
  }

  publish(channel: string, message: string | Uint8Array): number {
    if (typeof channel !== "string") throw invalid("a channel is text");
    const data = copyOf(message);
    if (this.#link.ended !== null) throw this.#link.ended;
    this.#published++;
    let receivers = 0;
    for (const subscription of this.#subscriptions)
      if (subscription.offer(channel, data)) receivers++;
    return receivers;
  }

  subscribe(patterns: string | readonly string[], options: SubscribeOptions): Subscription {
    const list: readonly unknown[] = Array.isArray(patterns) ? patterns : [patterns];
    if (list.length === 0 || !list.every((pattern) => typeof pattern === "string"))
      throw invalid("patterns are texts, at least one");
    assertNames(options, OPTIONS, "options");
    assertSignal(options.signal);
    const pendingMax = countOf(options.pendingMax, "pendingMax", 1) ?? PENDING_DEFAULT;
    if (this.#link.ended !== null) throw this.#link.ended;
    const subscription = new OpenSubscription(
      list as readonly string[],
      pendingMax,
      options.signal,
      (gone) => this.#subscriptions.delete(gone),
    );
    if (!subscription.isOver) this.#subscriptions.add(subscription);
    return subscription;
  }

  /** Every loop over a subscription ends, with what the database ended with if that was a failure. */
  end(error: HarmonyError | null): void {
    for (const subscription of this.#subscriptions) subscription.end(error);
  }
}

class OpenSubscription implements Subscription {
  readonly #patterns: readonly string[];
  readonly #pendingMax: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onEnd: (self: OpenSubscription) => void;
  #pending: Message[] = [];
  #taken = 0;
  #waiting: {
    readonly resolve: (result: IteratorResult<Message, undefined>) => void;
    readonly reject: (error: HarmonyError) => void;
  }[] = [];
  /** What the reader gets after the messages that wait; null for a quiet end. */
  #error: HarmonyError | null = null;
  isOver = false;

  constructor(
    patterns: readonly string[],
    pendingMax: number,
    signal: AbortSignal | undefined,
    onEnd: (self: OpenSubscription) => void,
  ) {
    this.#patterns = [...patterns];
    this.#pendingMax = pendingMax;
    this.#signal = signal;
    this.#onEnd = onEnd;
    if (signal?.aborted === true) this.#aborted();
    else signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  get patternCount(): number {
    return this.#patterns.length;
  }

  readonly #aborted = (): void => this.end(new HarmonyError("ABORTED"));

  /** True: it gets the message. */
  offer(channel: string, data: Uint8Array): boolean {
    const pattern = this.#patterns.find((one) => matchesGlob(one, channel));
    if (pattern === undefined) return false;
    const message: Message = { channel, pattern, data: data.slice() };
    const [first, ...others] = this.#waiting;
    if (first !== undefined) {
      this.#waiting = others;
      first.resolve({ done: false, value: message });
      return true;
    }
    if (this.#pending.length - this.#taken >= this.#pendingMax) {
      this.end(
        new HarmonyError("TOO_MANY_REQUESTS", `more than ${this.#pendingMax} messages waited`),
      );
      return false;
    }
    this.#pending.push(message);
    return true;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    const message = this.#pending[this.#taken];
    if (message !== undefined) {
      this.#taken++;
      // What was taken goes in large pieces, so that taking one does not move all others.
      if (this.#taken * 2 > this.#pending.length) {
        this.#pending = this.#pending.slice(this.#taken);
        this.#taken = 0;
      }
      return Promise.resolve({ done: false, value: message });
    }
    if (!this.isOver)
      return new Promise((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
      });
    const error = this.#error;
    // It is said once; whoever asks again is at the end.
    this.#error = null;
    return error === null
      ? Promise.resolve({ done: true, value: undefined })
      : Promise.reject(error);
  }

  async return(): Promise<IteratorResult<Message, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  close(): Promise<void> {
    this.#pending = [];
    this.#taken = 0;
    this.end(null);
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  end(error: HarmonyError | null): void {
    if (this.isOver) return;
    this.isOver = true;
    unlisten(this.#signal, this.#aborted);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#error = waiting.length > 0 ? null : error;
    for (const { resolve, reject } of waiting) {
      if (error === null) resolve({ done: true, value: undefined });
      else reject(error);
    }
    this.#onEnd(this);
  }
}
