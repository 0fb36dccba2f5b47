/**
 * The clock of a group: milliseconds that never go back, stamped into every entry by the leader, so that deadlines
 * mean the same on every replica (data-model.md, "The group's clock").
 *
 * It follows the leader's monotonic clock. Towards a wall clock that is behind it is drawn gently, at no less than half
 * of real time; towards one that is ahead it is not, or leases would end before their time by a monotonic clock
 * (fault-rules, the promise, 5, against data-model.md, which lets it hurry). When the two differ by more than a minute
 * while the node runs, somebody set a clock: the group keeps its own pace and `isAstray` raises the alarm.
 *
 * So it falls behind where time passed that nobody counted: what an entry took to a follower that leads next, how long a
 * member was down that leads next, what a wall clock was set forward by. It stays behind, and each stamp says by how
 * much. When all members were stopped, nobody counted the time but the wall clocks: the group goes on by the wall clock of
 * its first leader, as far behind it as it was. Taking the wall clock as it is would end early whatever was stamped
 * while the clock was behind.
 *
 * A stamp of another leader is where the clock goes on from, also when it is no later than what this member stamped
 * itself when it led: since then the other may have given something, by a clock that is further behind. A stamp of its
 * own that nobody else got goes with its entry, and the clock goes back behind it.
 *
 * Invariants: the stamps of a log never decrease; between two stamps passes no more than monotonic time, rounded up to a
 * millisecond, unless a stamp from elsewhere arrives or the wall clock is adopted; by wall clocks that agree and are not
 * set, no more than their time passes between any two stamps of a log, restarts of all included.
 */
import { assert } from "../base/index.ts";
import type { Clock } from "../env/index.ts";
import type { Term } from "../raft/index.ts";

const ASTRAY_MS = 60_000;
/** What sums of milliseconds since 1970 are wrong by at most. */
const FLOAT_ERROR_MS = 0.01;

/** What an entry says of time. */
export interface Stamp {
  /** The group's clock. */
  readonly clockMs: number;
  /** By how much it was behind the wall clock of the leader that stamped the entry; 0 when it was ahead. */
  readonly behindMs: number;
}

export class GroupClock {
  readonly #clock: Clock;
  #stampMs: number;
  #stampedAtMs: number;
  #isAstray = false;
  /** In which this member stamped an entry last: nobody else stamped one in that. */
  #ownTerm: Term = 0;

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
   * An entry of this term is applied, in the order of the log. One's own stamp that comes back then is no news: the time
   * that the disk took has passed for the group, too.
   */
  observe(stampMs: number, term: Term): void {
    if (term === this.#ownTerm) return;
    this.#stampMs = stampMs;
    this.#stampedAtMs = this.#clock.monotonicMs();
  }

  /**
   * No running member kept time: the first leader goes on by its wall clock, if that is later than the last stamp. The
   * group's clock was `behindMs` behind when that was made, and stays so.
   */
  adoptWallClock(behindMs: number): void {
    const showsMs = this.#clock.wallMs() - behindMs;
    if (showsMs <= this.#stampMs) return;
    this.#stampMs = Math.floor(showsMs);
    this.#stampedAtMs = this.#clock.monotonicMs() - (showsMs - this.#stampMs);
  }

  /** What the next entry says, of a leader in this term. */
  stampEntry(term: Term): Stamp {
    this.#ownTerm = term;
    const clockMs = this.stamp();
    // With the remainder below a millisecond, or the clock would fall behind by a millisecond with every start.
    const showsMs = clockMs + this.#elapsedMs(this.#clock.monotonicMs());
    const behindMs = Math.ceil(this.#clock.wallMs() - showsMs - FLOAT_ERROR_MS);
    return { clockMs, behindMs: Math.max(0, behindMs) };
  }

  /**
   * What the clock shows now. It is looked at and no more: a follower whose clock went on from here, and not from the next
   * stamp of its leader, would be ahead of a leader whose clock is slower, and take its own time over when it leads.
   */
  nowMs(): number {
    const next = this.#next(this.#elapsedMs(this.#clock.monotonicMs()));
    return Math.max(this.#stampMs, Math.floor(next));
  }

  /** The stamp of the next entry, for the leader alone. */
  stamp(): number {
    const nowMs = this.#clock.monotonicMs();
    const elapsedMs = this.#elapsedMs(nowMs);
    this.#isAstray = this.#isFarFrom(this.#stampMs + elapsedMs);
    const next = this.#next(elapsedMs);
    const whole = Math.floor(next);
    if (whole > this.#stampMs) {
      // The remainder below a millisecond stays on the account, or a busy clock would fall behind.
      this.#stampedAtMs = nowMs - Math.min(next - whole, elapsedMs);
      this.#stampMs = whole;
    }
    return this.#stampMs;
  }

  #elapsedMs(nowMs: number): number {
    const elapsedMs = nowMs - this.#stampedAtMs;
    assert(elapsedMs >= 0, "the monotonic clock does not go back");
    return elapsedMs;
  }

  #isFarFrom(paced: number): boolean {
    return Math.abs(this.#clock.wallMs() - paced) > ASTRAY_MS;
  }

  #next(elapsedMs: number): number {
    const paced = this.#stampMs + elapsedMs;
    const wallMs = this.#clock.wallMs();
    const isBehind = wallMs < paced && !this.#isFarFrom(paced);
    return isBehind ? Math.max(wallMs, paced - elapsedMs / 2) : paced;
  }
}
