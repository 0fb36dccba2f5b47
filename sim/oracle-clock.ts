/**
 * Between which bounds the clock of a group must be, as one can tell from outside: it never runs faster than time and
 * never at less than about half its speed, whatever somebody does to the wall clock. A start goes on by the wall clock, for
 * nobody kept time before: it may take the group's clock forward by what the wall clock was set forward since the last
 * entry, which it cannot tell from time, and leaves it behind by no more than the wall clock was ever set forward
 * (fault-rules K1, K8). What ends, ends within these bounds.
 */

/** Stamps are whole milliseconds, rounded down. */
const ROUNDING_MS = 2;

export interface Start {
  readonly beganAtMs: number;
  readonly wallBeganMs: number;
  readonly nowMs: number;
  readonly wallMs: number;
  /** False when the process ended on the way. */
  readonly isOpen: boolean;
}

export class OracleClock {
  /** At this moment the clock showed no more. Nothing is known as long as nobody tells of a start. */
  #high: { readonly showsMs: number; readonly atMs: number } | null = null;
  /** And no less, as long as this process lives. */
  #low = { showsMs: 0, atMs: Number.POSITIVE_INFINITY };
  /** The latest stamp that was seen in an entry: the next process goes on from there, if its wall clock shows less. */
  #seenMs = 0;
  /** No entry that is known was stamped before. */
  #stampedFromMs = Number.NEGATIVE_INFINITY;
  #setForward: readonly { readonly atMs: number; readonly byMs: number }[] = [];

  copy(): OracleClock {
    const copy = new OracleClock();
    copy.#high = this.#high;
    copy.#low = this.#low;
    copy.#seenMs = this.#seenMs;
    copy.#stampedFromMs = this.#stampedFromMs;
    copy.#setForward = this.#setForward;
    return copy;
  }

  /** The latest moment that the clock may show. */
  highMs(atMs: number): number {
    const high = this.#high;
    return high === null
      ? Number.POSITIVE_INFINITY
      : high.showsMs + Math.max(0, atMs - high.atMs) + ROUNDING_MS;
  }

  /**
   * The earliest moment that it may show; 0 where nothing is known. At half its speed every stamp loses up to a half of
   * the millisecond that it rounds down to.
   */
  lowMs(atMs: number): number {
    const { showsMs, atMs: sinceMs } = this.#low;
    return atMs < sinceMs ? 0 : showsMs + (atMs - sinceMs) / 3 - ROUNDING_MS;
  }

  /** Somebody set the wall clock forward by so much. */
  setForward(byMs: number, atMs: number): void {
    this.#setForward = [...this.#setForward, { atMs, byMs }];
  }

  #setForwardSince(sinceMs: number): number {
    return this.#setForward.reduce((sum, { atMs, byMs }) => (atMs < sinceMs ? sum : sum + byMs), 0);
  }

  /** The node was started. */
  started({ beganAtMs, wallBeganMs, nowMs, wallMs, isOpen }: Start): void {
    // The wall clock was looked at somewhere in between, and the clock has gone on since with time.
    const taken = Math.max(wallBeganMs + (nowMs - beganAtMs), wallMs);
    const before = this.#high === null ? taken : this.highMs(nowMs) - ROUNDING_MS;
    const passed = before + this.#setForwardSince(this.#stampedFromMs);
    this.#high = { showsMs: Math.max(before, Math.min(taken, passed)), atMs: nowMs };
    if (!isOpen) return;
    // What the last process took from its wall clock and put into no entry has ended with it.
    const behindMs = this.#setForwardSince(Number.NEGATIVE_INFINITY);
    const goneOnMs = Math.floor(Math.min(wallBeganMs, wallMs) - behindMs);
    const showsMs = Math.max(this.#seenMs, goneOnMs);
    this.#low = { showsMs, atMs: nowMs };
  }

  /** An entry that was proposed after `issuedAtMs` has this stamp. */
  stamped(stampMs: number, issuedAtMs: number, nowMs: number): void {
    if (this.#high === null) return;
    this.#seenMs = Math.max(this.#seenMs, stampMs);
    this.#stampedFromMs = Math.max(this.#stampedFromMs, issuedAtMs);
    const showsMs = stampMs + (nowMs - issuedAtMs);
    if (showsMs + ROUNDING_MS < this.highMs(nowMs)) this.#high = { showsMs, atMs: nowMs };
    if (stampMs > this.lowMs(nowMs)) this.#low = { showsMs: stampMs, atMs: nowMs };
  }
}
