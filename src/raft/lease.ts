/**
 * A leader that may answer reads without asking anybody, because a quorum elects nobody else meanwhile (Raft
 * dissertation, section 6.4.1; fault-rules K4). Whoever answers a heartbeat votes for no other for an election timeout
 * from then on, so from the moment at which a round of heartbeats began that a quorum has answered, the leader is the
 * only one for that long.
 *
 * Time is ticks, as everywhere here, and a tick says nothing of a process that stood still. So whoever turns this on
 * promises more than the core can see: see `RaftConfig.leaseTicks`.
 */

/** Invariants: never held after the leader told another to take over; never older than `ticks` of this leader's ticks. */
export class Lease {
  readonly #ticks: number;
  #now = 0;
  /** When the newest round began that a quorum has answered; null: none has. */
  #since: number | null = null;
  #isOver = false;

  /** `ticks` 0: there are no leases. */
  constructor(ticks: number) {
    this.#ticks = ticks;
  }

  get isOn(): boolean {
    return this.#ticks > 0;
  }

  /** The ticks of this leader so far: what a round is marked with when it begins. */
  get now(): number {
    return this.#now;
  }

  get isHeld(): boolean {
    return !this.#isOver && this.#since !== null && this.#now - this.#since < this.#ticks;
  }

  tick(): void {
    this.#now++;
  }

  /** A quorum has answered a round that began at `beganAt`. */
  confirmed(beganAt: number): void {
    if (this.isOn) this.#since = Math.max(this.#since ?? 0, beganAt);
  }

  /** Until the next round that a quorum answers, of those that begin from now on. */
  lose(): void {
    this.#since = null;
    // What was said before this moment proves nothing: such rounds count as older than any lease.
    this.#now += this.#ticks;
  }

  /** Another was told to campaign, and his voters are bound by nothing; the word may arrive late. */
  end(): void {
    this.#isOver = true;
  }

  /** Another role, or another term. */
  reset(): void {
    this.#since = null;
    this.#isOver = false;
  }
}
