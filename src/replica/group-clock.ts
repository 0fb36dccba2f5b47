/**
 * The clock of a group: milliseconds that never go back, stamped into every entry by the leader, so that deadlines
 * mean the same on every replica (data-model.md, "The group's clock").
 *
 * It follows the leader's monotonic clock. Towards a wall clock that is behind it is drawn gently, at no less than half
 * of real time; towards one that is ahead it is not, or leases would end before their time by a monotonic clock
 * (fault-rules, the promise, 5, against data-model.md, which lets it hurry). When the two differ by more than a minute
 * while the node runs, somebody set a clock: the group keeps its own pace and `isAstray` raises the alarm.
 *
 * Invariants: stamps never decrease; between two stamps passes no more than monotonic time, rounded up to a
 * millisecond, unless a stamp from elsewhere arrives or the wall clock is adopted.
 */
import { assert } from "../base/index.ts";
import type { Clock } from "../env/index.ts";

const ASTRAY_MS = 60_000;

export class GroupClock {
  readonly #clock: Clock;
  #stampMs: number;
  #stampedAtMs: number;
  #isAstray = false;

  /** `lastStampMs` is the stamp of the last entry applied before the start, 0 for a new group. */
  constructor(clock: Clock, lastStampMs: number) {
    this.#clock = clock;
    this.#stampMs = lastStampMs;
    this.#stampedAtMs = clock.monotonicMs();
  }

  /** The wall clock differs from the group's by more than a minute, and the group does not follow it. */
  get isAstray(): boolean {
    return this.#isAstray;
  }

  /**
   * An entry stamped elsewhere, or replayed, has been received. One's own stamp that comes back when its entry is
   * applied is no news: the time that the disk took has passed for the group, too.
   */
  observe(stampMs: number): void {
    if (stampMs <= this.#stampMs) return;
    this.#stampMs = stampMs;
    this.#stampedAtMs = this.#clock.monotonicMs();
  }

  /** No running member kept time: the first leader takes its wall clock, if that is later than the last stamp. */
  adoptWallClock(): void {
    this.observe(Math.floor(this.#clock.wallMs()));
    this.#isAstray = false;
  }

  /** The stamp of the next entry. */
  stamp(): number {
    const nowMs = this.#clock.monotonicMs();
    const elapsedMs = nowMs - this.#stampedAtMs;
    assert(elapsedMs >= 0, "the monotonic clock does not go back");
    const paced = this.#stampMs + elapsedMs;
    const wallMs = this.#clock.wallMs();
    this.#isAstray = Math.abs(wallMs - paced) > ASTRAY_MS;
    const isBehind = !this.#isAstray && wallMs < paced;
    const next = isBehind ? Math.max(wallMs, paced - elapsedMs / 2) : paced;
    const whole = Math.floor(next);
    if (whole > this.#stampMs) {
      // The remainder below a millisecond stays on the account, or a busy clock would fall behind.
      this.#stampedAtMs = nowMs - Math.min(next - whole, elapsedMs);
      this.#stampMs = whole;
    }
    return this.#stampMs;
  }
}
