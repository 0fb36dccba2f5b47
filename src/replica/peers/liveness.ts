/**
 * Whether the other end of a link is there. Each end says something at least every second; who hears nothing for five
 * gives the link up. A link over a dead machine or a silent network would otherwise stay for hours.
 */
import type { Env, Link } from "../../env/index.ts";
import { encodeBatchFrame } from "../../codec/index.ts";

const SAY_EVERY_MS = 1000;
const SILENCE_MS = 5000;

export class Liveness {
  readonly #env: Env;
  #heardMs: number;
  #saidMs: number;

  constructor(env: Env) {
    this.#env = env;
    this.#heardMs = env.clock.monotonicMs();
    this.#saidMs = this.#heardMs;
  }

  heard(): void {
    this.#heardMs = this.#env.clock.monotonicMs();
  }

  said(): void {
    this.#saidMs = this.#env.clock.monotonicMs();
  }

  get isSilent(): boolean {
    return this.#env.clock.monotonicMs() - this.#heardMs >= SILENCE_MS;
  }

  /** Says that this end is there, if nothing else was said. */
  keepAlive(link: Link): void {
    if (this.#env.clock.monotonicMs() - this.#saidMs < SAY_EVERY_MS || link.unsentBytes > 0) return;
    link.send(encodeBatchFrame([]));
    this.said();
  }
}
