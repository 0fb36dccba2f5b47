/**
 * How many bytes may pass in a while: a bucket that fills with time. What passed when it was not empty may exceed what
 * was in it, and is waited for afterwards.
 */
import { assert } from "../base/index.ts";
import type { Clock } from "./env.ts";

/** What gathers while nothing passes: so much may pass at once. */
const BURST_MS = 100;

export class Allowance {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  readonly #most: number;
  #bytes: number;
  #atMs: number;

  /** `bytesPerSecond`: 0 for no limit. */
  constructor(clock: Clock, bytesPerSecond: number) {
    assert(bytesPerSecond >= 0, "a rate is not negative");
    this.#clock = clock;
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#most = this.#bytesPerMs * BURST_MS;
    this.#bytes = this.#most;
    this.#atMs = clock.monotonicMs();
  }

  /** For how long nothing may pass; 0: now. */
  get waitMs(): number {
    if (this.#bytesPerMs === 0) return 0;
    this.#fill();
    return this.#bytes > 0 ? 0 : Math.max(1, Math.ceil(-this.#bytes / this.#bytesPerMs));
  }

  spend(bytes: number): void {
    if (this.#bytesPerMs === 0) return;
    this.#fill();
    this.#bytes -= bytes;
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#bytes = Math.min(this.#most, this.#bytes + (nowMs - this.#atMs) * this.#bytesPerMs);
    this.#atMs = nowMs;
  }
}
