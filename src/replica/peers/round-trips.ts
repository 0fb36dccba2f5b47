/**
 * How long a heartbeat to another member and its answer take, turns of both sides included: for dashboards. One heartbeat
 * at a time is watched; where it is lost the answer to a later one counts, so a time is never shorter than the trip was.
 */
import type { Clock } from "../../env/index.ts";
import type { NodeId } from "../../raft/index.ts";

/** Who answers so late is asked anew: what is measured is the way, not how long it was cut. */
const FORGET_MS = 5_000;

export class RoundTrips {
  readonly #clock: Clock;
  readonly #askedMs: Map<NodeId, number> = new Map();
  readonly #tookMs: Map<NodeId, number> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  asked(member: NodeId): void {
    const nowMs = this.#clock.monotonicMs();
    const askedMs = this.#askedMs.get(member);
    if (askedMs === undefined || nowMs - askedMs >= FORGET_MS) this.#askedMs.set(member, nowMs);
  }

  answered(member: NodeId): void {
    const askedMs = this.#askedMs.get(member);
    if (askedMs === undefined) return;
    this.#askedMs.delete(member);
    this.#tookMs.set(member, this.#clock.monotonicMs() - askedMs);
  }

  /** There is no way to the member any more. */
  forget(member: NodeId): void {
    this.#askedMs.delete(member);
    this.#tookMs.delete(member);
  }

  /** Of the last heartbeat that was answered; null: none was. */
  of(member: NodeId): number | null {
    return this.#tookMs.get(member) ?? null;
  }
}
