/**
 * Calls that wait for an answer, and the time they may take. Nearly all have the node's request timeout, so they
 * stand in one queue in the order of their deadlines and one timer serves them all; a call with a time of its own
 * gets its own.
 */
import { HarmonyError } from "../base/index.ts";
import type { Env, Timer } from "../env/index.ts";
import type { CallOptions, Reply } from "./database.ts";

const SWEEP_MS = 100;

/**
 * Listens to a signal no more. One that a caller has made himself may throw, in the middle of a turn that answers others:
 * a listener that stays is heard by nobody, so that is no reason for anything.
 */
export function unlisten(signal: AbortSignal | undefined, listener: () => void): void {
  try {
    signal?.removeEventListener("abort", listener);
  } catch {
    // It is the caller's own.
  }
}

export class Call<T> {
  #reply: Reply<T> | null;
  /** Asked when the caller gives up: true when the work had not begun and now never will. */
  withdraw: (() => boolean) | null = null;
  release: (() => void) | null = null;
  readonly deadlineMs: number;

  constructor(reply: Reply<T>, deadlineMs: number) {
    this.#reply = reply;
    this.deadlineMs = deadlineMs;
  }

  get isSettled(): boolean {
    return this.#reply === null;
  }

  /** The first answer counts, later ones are dropped. */
  settle(error: HarmonyError | null, value: T | undefined): void {
    const reply = this.#reply;
    if (reply === null) return;
    this.#reply = null;
    this.withdraw = null;
    this.release?.();
    reply(error, value as T);
  }

  /** Gives up only what has certainly not begun. */
  withdrawIfIdle(): void {
    if (this.#reply !== null && this.withdraw?.() === true)
      this.settle(new HarmonyError("TIMEOUT", "no leader took it"), undefined);
  }

  giveUp(code: "TIMEOUT" | "ABORTED"): void {
    if (this.#reply === null) return;
    const certainlyNot = this.withdraw === null || this.withdraw();
    this.settle(new HarmonyError(code, undefined, { maybeApplied: !certainlyNot }), undefined);
  }
}

export class Calls {
  readonly #env: Env;
  readonly #timeoutMs: number;
  #queue: Call<never>[] = [];
  #head = 0;
  #sweeper: Timer | null = null;

  constructor(env: Env, timeoutMs: number) {
    this.#env = env;
    this.#timeoutMs = timeoutMs;
  }

  open<T>(options: CallOptions, reply: Reply<T>): Call<T> {
    const { signal, timeoutMs } = options;
    const call = new Call<T>(reply, this.#env.clock.monotonicMs() + (timeoutMs ?? this.#timeoutMs));
    let timer: Timer | null = null;
    if (timeoutMs === undefined) {
      this.#queue.push(call as unknown as Call<never>);
      this.#sweeper ??= this.#env.timers.after(SWEEP_MS, this.#sweep);
    } else if (timeoutMs !== Number.POSITIVE_INFINITY) {
      timer = this.#env.timers.after(timeoutMs, () => call.giveUp("TIMEOUT"));
    }
    const patience =
      options.patienceMs === undefined
        ? null
        : this.#env.timers.after(options.patienceMs, () => call.withdrawIfIdle());
    if (timer === null && signal === undefined && patience === null) return call;
    const abort = (): void => call.giveUp("ABORTED");
    call.release = () => {
      timer?.cancel();
      patience?.cancel();
      unlisten(signal, abort);
    };
    if (signal?.aborted === true) abort();
    else signal?.addEventListener("abort", abort, { once: true });
    return call;
  }

  readonly #sweep = (): void => {
    this.#sweeper = null;
    const nowMs = this.#env.clock.monotonicMs();
    while (this.#head < this.#queue.length) {
      const call = this.#queue[this.#head] as Call<never>;
      if (!call.isSettled) {
        if (call.deadlineMs > nowMs) break;
        call.giveUp("TIMEOUT");
      }
      this.#head++;
    }
    // Only the front is looked at: calls are answered nearly in order, so what is left is what waits.
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
    if (this.#queue.length > 0) this.#sweeper = this.#env.timers.after(SWEEP_MS, this.#sweep);
  };

  /** Ends the timer of the queue. Calls that still wait are answered by those who hold them. */
  close(): void {
    this.#sweeper?.cancel();
    this.#sweeper = null;
    this.#queue = [];
    this.#head = 0;
  }
}
