/**
 * Clients that number their requests and send them again: soon, after a crash, when they have fallen out of the window
 * of their session, or with other bytes by mistake.
 */
import type { Random } from "../src/base/index.ts";
import type { RequestId } from "../src/db/index.ts";
import type { ModelRequest } from "./model.ts";

export interface NumberedRequest {
  readonly request: ModelRequest;
  readonly id: RequestId | null;
}

interface Session {
  readonly id: number;
  highest: number;
  /** By number. */
  readonly sent: Map<number, ModelRequest>;
}

const SESSIONS_MAX = 3;
/** Around the ends of a window of 64. */
const STEPS_BACK: readonly number[] = [0, 0, 0, 1, 1, 2, 5, 62, 63, 63, 64, 64, 65, 100];
const ONCE: ReadonlySet<string> = new Set([
  "put",
  "deleteRange",
  "txn",
  "set",
  "incr",
  "append",
  "setRange",
  "mset",
  "mdel",
]);

export class SessionWorkload {
  readonly #random: Random;
  readonly #sessions: Session[] = [];
  #opened = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** `draw` makes a request like any other. */
  next(draw: () => ModelRequest): NumberedRequest {
    const random = this.#random;
    const die = random.below(100);
    const session = this.#sessions[random.below(SESSIONS_MAX)];
    if (session === undefined || die < 1) return this.#open();
    if (die < 3) return { request: { kind: "sessionClose", session: session.id }, id: null };
    if (die < 45) {
      const back = random.pick(STEPS_BACK);
      const number = session.highest - back;
      const request = session.sent.get(number);
      if (request !== undefined) {
        const isOther = random.percent(6);
        const other = isOther ? this.#once(draw) : request;
        return { request: other, id: { session: session.id, number } };
      }
    }
    // Numbers may be left out, and come later.
    const isLate = die < 50 && session.highest > 3;
    const number = isLate
      ? session.highest - random.below(3)
      : session.highest + (random.percent(15) ? random.between(2, 40) : 1);
    const request = session.sent.get(number) ?? this.#once(draw);
    session.highest = Math.max(session.highest, number);
    session.sent.set(number, request);
    return { request, id: { session: session.id, number } };
  }

  #open(): NumberedRequest {
    this.#opened++;
    const id = this.#random.percent(50) ? this.#opened : 2 ** 52 + this.#opened;
    if (this.#sessions.length >= SESSIONS_MAX) this.#sessions.splice(0, 1);
    this.#sessions.push({ id, highest: 0, sent: new Map() });
    return { request: { kind: "sessionOpen", session: id }, id: null };
  }

  #once(draw: () => ModelRequest): ModelRequest {
    for (;;) {
      const request = draw();
      if (ONCE.has(request.kind)) return request;
    }
  }
}
