/**
 * Simulated time: one heap of events, and nothing happens between two of them. Idle time is skipped, so a run costs
 * what its events cost, whatever time it plays.
 *
 * Events of the same millisecond run in an order that the seed decides. It stands in for everything that a real
 * machine leaves open: which completion, timer or message comes first.
 */
import { assert, hash32 } from "../../base/index.ts";
import type { Timer } from "../env.ts";

/** One call that is due, and the timer of whoever asked for it. */
class Event implements Timer {
  readonly timeMs: number;
  readonly tie: number;
  readonly ordinal: number;
  fire: (() => void) | undefined;

  constructor(timeMs: number, tie: number, ordinal: number, fire: () => void) {
    this.timeMs = timeMs;
    this.tie = tie;
    this.ordinal = ordinal;
    this.fire = fire;
  }

  cancel(): void {
    this.fire = undefined;
  }
}

/** Above every hash: events with such a tie come after the others of their time, in the order of their arrival. */
const AFTER_ALL_TIES = 0x1_0000_0000;

export class SimScheduler {
  readonly seed: number;
  #nowMs: number;
  #ordinal = 0;
  readonly #heap: Event[] = [];

  constructor(seed: number, startMs = 0) {
    this.seed = seed;
    this.#nowMs = startMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** True when nothing is scheduled, cancelled events aside. */
  get idle(): boolean {
    this.#dropCancelled();
    return this.#heap.length === 0;
  }

  /** Calls `fire` at `timeMs`, or now (but not inside this call) when that has passed. */
  at(timeMs: number, fire: () => void): Timer {
    const ordinal = this.#ordinal++;
    return this.#push(timeMs, hash32(this.seed, ordinal), ordinal, fire);
  }

  after(delayMs: number, fire: () => void): Timer {
    return this.at(this.#nowMs + delayMs, fire);
  }

  /** Calls `fire` after everything that waits for the current time. */
  soon(fire: () => void): void {
    const ordinal = this.#ordinal++;
    this.#push(this.#nowMs, AFTER_ALL_TIES, ordinal, fire);
  }

  /** Runs one event. False when there was none. */
  step(): boolean {
    this.#dropCancelled();
    const event = this.#pop();
    if (event === undefined) return false;
    // After a stall events come late; time does not go back for them.
    if (event.timeMs > this.#nowMs) this.#nowMs = event.timeMs;
    const fire = event.fire;
    event.fire = undefined;
    fire?.();
    return true;
  }

  /** Runs until nothing is left, at most `stepsMax` events. Returns how many ran. */
  run(stepsMax = 1_000_000): number {
    let steps = 0;
    while (steps < stepsMax && this.step()) steps++;
    return steps;
  }

  /** Runs every event up to and including `timeMs`; it is that time afterwards. */
  runUntil(timeMs: number): void {
    for (;;) {
      this.#dropCancelled();
      const next = this.#heap[0];
      if (next === undefined || next.timeMs > timeMs) break;
      this.step();
    }
    if (timeMs > this.#nowMs) this.#nowMs = timeMs;
  }

  /** Time passes and nothing happens in it: what became due meanwhile comes afterwards, all at once and in its order. */
  stall(durationMs: number): void {
    assert(durationMs >= 0, "time does not go back");
    this.#nowMs += durationMs;
  }

  #dropCancelled(): void {
    while (this.#heap.length > 0 && this.#heap[0]?.fire === undefined) this.#pop();
  }

  #push(timeMs: number, tie: number, ordinal: number, fire: () => void): Timer {
    assert(
      !Number.isNaN(timeMs) && timeMs < Number.POSITIVE_INFINITY,
      "an event has a finite time",
    );
    const event = new Event(timeMs > this.#nowMs ? timeMs : this.#nowMs, tie, ordinal, fire);
    const heap = this.#heap;
    let hole = heap.length;
    heap.push(event);
    while (hole > 0) {
      const up = (hole - 1) >> 1;
      const parent = heap[up] as Event;
      if (!comesBefore(event, parent)) break;
      heap[hole] = parent;
      hole = up;
    }
    heap[hole] = event;
    return event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && comesBefore(heap[child + 1] as Event, heap[child] as Event))
        child++;
      const down = heap[child] as Event;
      if (!comesBefore(down, last)) break;
      heap[hole] = down;
      hole = child;
    }
    heap[hole] = last;
    return top;
  }
}

function comesBefore(a: Event, b: Event): boolean {
  if (a.timeMs !== b.timeMs) return a.timeMs < b.timeMs;
  if (a.tie !== b.tie) return a.tie < b.tie;
  return a.ordinal < b.ordinal;
}
