/**
 * Locks as programs hold them. The database gives a lock or says who holds it; waiting is done here. Who waits watches
 * the lock's key, which costs nothing of the log, and asks for the lock when it is free. In one process those who wait
 * for a lock stand in a queue, so the first is served first and they do not all ask at once.
 *
 * A lock is given up for lost at the latest when its TTL has passed since the request that gave it was sent: by this
 * process's own clock, which cannot be too late.
 */
import { equalBytes, HarmonyError, hex } from "../../base/index.ts";
import type { Timer } from "../../env/index.ts";
import type { Call, Lock, LockOptions } from "./api.ts";
import {
  bytesOf,
  CALL,
  callOf,
  countOf,
  invalid,
  names,
  type Names,
  NO_OPTIONS,
  ttlOf,
} from "./arguments.ts";
import { nameOf } from "./key-map.ts";
import type { Aborter, Link } from "./link.ts";
import { Releases } from "./releases.ts";

const OPTIONS: Names = names(CALL, "ttlMs", "waitMs", "token");
const WAIT_DEFAULT_MS = 10_000;
const TOKEN_BYTES = 16;

/** Who waits for a lock in this process. */
interface Waiting {
  /** Ends its pause. */
  wake: () => void;
}

interface Wanted {
  readonly key: Uint8Array;
  readonly token: Uint8Array;
  readonly ttlMs: number;
  readonly deadlineMs: number;
  readonly call: ReturnType<typeof callOf>;
}

export class Locks {
  readonly #link: Link;
  /** By the bytes of the lock's key. The first one asks, the others wait for their turn. */
  readonly #queues = new Map<string, Waiting[]>();

  constructor(link: Link) {
    this.#link = link;
  }

  /** `key` belongs to the request. */
  async lock(key: Uint8Array, options: LockOptions): Promise<Lock> {
    const { clock } = this.#link.env;
    const askedMs = clock.monotonicMs();
    const held = await this.#take(key, options);
    this.#link.lockWaited(clock.monotonicMs() - askedMs);
    return held;
  }

  async #take(key: Uint8Array, options: LockOptions): Promise<Lock> {
    const call = callOf(options, OPTIONS);
    const ttlMs = ttlOf(options.ttlMs, "ttlMs");
    const waitMs = countOf(options.waitMs, "waitMs") ?? WAIT_DEFAULT_MS;
    const { env } = this.#link;
    const token = options.token ?? hex(env.entropy.bytes(TOKEN_BYTES));
    if (typeof token !== "string" || token === "") throw invalid("a token is text");
    const wanted: Wanted = {
      key,
      token: bytesOf(token),
      ttlMs,
      deadlineMs: env.clock.monotonicMs() + waitMs,
      call,
    };
    if (key.length === 0) throw new HarmonyError("KEY_EMPTY");
    const name = nameOf(key);
    const queue = this.#queues.get(name) ?? [];
    // Who names his token may hold the lock already: nobody stands before him.
    const isFirst = queue.length === 0;
    if (isFirst || options.token !== undefined) {
      const held = await this.#ask(wanted, token, options.token === undefined);
      if (held !== null) return held;
    }
    return this.#inTurn(name, wanted, token, options.token === undefined);
  }

  async #inTurn(name: string, wanted: Wanted, token: string, isOwn: boolean): Promise<Lock> {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    const me: Waiting = { wake: () => {} };
    queue.push(me);
    let releases: Releases | null = null;
    try {
      for (;;) {
        if (queue[0] === me) {
          releases ??= new Releases(this.#link, wanted.key, () => me.wake());
          if (releases.take()) {
            const held = await this.#ask(wanted, token, isOwn);
            if (held !== null) return held;
            continue;
          }
        }
        const leftMs = wanted.deadlineMs - this.#link.env.clock.monotonicMs();
        if (leftMs <= 0) throw new HarmonyError("LOCK_TIMEOUT");
        await this.#link.pause(leftMs, wanted.call.signal, (wake) => {
          me.wake = wake;
        });
      }
    } finally {
      releases?.cancel();
      queue.splice(queue.indexOf(me), 1);
      if (queue.length === 0) this.#queues.delete(name);
      else queue[0]?.wake();
    }
  }

  /** Null: somebody else holds it. */
  async #ask(wanted: Wanted, token: string, isOwn: boolean): Promise<Lock | null> {
    const { key, ttlMs, call } = wanted;
    const link = this.#link;
    const holder = link.holderNow(key);
    if (holder?.isLock === true && !equalBytes(holder.value, wanted.token)) return null;
    const sentAtMs = link.env.clock.monotonicMs();
    const request = { kind: "lock", key, token: wanted.token, ttlMs } as const;
    try {
      const { acquired, fence } = await link.write(request, call);
      if (!acquired) return null;
      return new HeldLock(
        link,
        { key, token, tokenBytes: wanted.token, fence, ttlMs },
        sentAtMs,
        () => this.#queues.get(nameOf(key))?.[0]?.wake(),
      );
    } catch (error) {
      // Nobody knows this token, so a lock that was taken in vain is given back instead of standing until its end.
      if (isOwn && error instanceof HarmonyError && error.maybeApplied)
        link
          .write({ kind: "unlock", key, token: wanted.token, fence: 0 }, NO_OPTIONS)
          .catch(() => {});
      throw error;
    }
  }
}

interface Holding {
  readonly key: Uint8Array;
  readonly token: string;
  readonly tokenBytes: Uint8Array;
  readonly fence: number;
  readonly ttlMs: number;
}

class HeldLock implements Lock {
  readonly #link: Link;
  readonly #holding: Holding;
  readonly #aborter: Aborter;
  readonly #onUnlock: () => void;
  readonly #forget: () => void;
  /** By the monotonic clock of this process. */
  #endsAtMs: number;
  #timer: Timer | null = null;
  #state: "held" | "lost" | "unlocked" = "held";

  constructor(link: Link, holding: Holding, sentAtMs: number, onUnlock: () => void) {
    this.#link = link;
    this.#holding = holding;
    this.#onUnlock = onUnlock;
    this.#endsAtMs = sentAtMs + holding.ttlMs;
    this.#aborter = link.host.newAborter();
    this.#forget = link.onEnd((error) => this.#lose(error));
    this.#check();
  }

  get token(): string {
    return this.#holding.token;
  }

  get fence(): number {
    return this.#holding.fence;
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  async extend(ttlMs: number = this.#holding.ttlMs, options: Call = NO_OPTIONS): Promise<void> {
    const call = callOf(options, CALL);
    const { key, tokenBytes: token, fence } = this.#holding;
    const wantedMs = ttlOf(ttlMs, "ttlMs");
    this.#assertHeld();
    const sentAtMs = this.#link.env.clock.monotonicMs();
    const { extended } = await this.#link.write(
      { kind: "extendLock", key, token, fence, ttlMs: wantedMs },
      call,
    );
    if (!extended) this.#lose();
    this.#assertHeld();
    this.#endsAtMs = sentAtMs + wantedMs;
    this.#check();
  }

  async unlock(options: Call = NO_OPTIONS): Promise<boolean> {
    const call = callOf(options, CALL);
    const { key, tokenBytes: token, fence } = this.#holding;
    if (this.#state !== "held") return false;
    const { released } = await this.#link.write({ kind: "unlock", key, token, fence }, call);
    if (released) this.#end("unlocked");
    else this.#lose();
    this.#onUnlock();
    return released;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.unlock();
    } catch (error) {
      // Its TTL ends it where this could not.
      if (!(error instanceof HarmonyError)) throw error;
      this.#lose(error);
    }
  }

  #assertHeld(): void {
    if (this.#state !== "held") throw new HarmonyError("LOCK_LOST");
  }

  /**
   * Looks whether it is still held, and says when to look again: a watch as long as the lock would cost every write
   * something.
   */
  #check(): void {
    if (this.#state !== "held") return;
    this.#timer?.cancel();
    const link = this.#link;
    const leftMs = this.#endsAtMs - link.env.clock.monotonicMs();
    if (leftMs <= 0) {
      this.#lose();
      return;
    }
    this.#timer = link.env.timers.after(Math.min(leftMs, link.lockLookMs), () => this.#check());
    const { key, fence } = this.#holding;
    link.look(key, (found, revision) => {
      // A member that is behind has not heard of the lock yet.
      if (revision < fence) return;
      if (found?.isLock !== true || found.createRevision !== fence) this.#lose();
    });
  }

  #lose(cause?: HarmonyError): void {
    if (this.#state !== "held") return;
    this.#end("lost");
    this.#aborter.abort(new HarmonyError("LOCK_LOST", undefined, { cause }));
  }

  #end(state: "lost" | "unlocked"): void {
    this.#state = state;
    this.#timer?.cancel();
    this.#forget();
  }
}
