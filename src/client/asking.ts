/**
 * A request and its answer, over whichever member can give one: what is sent again and what is not (chapter, invariants 1
 * and 4).
 */
import { type ErrorCode, ERRORS, HarmonyError } from "../base/index.ts";
import type { apiMessages as wire } from "../codec/index.ts";
import { unlisten } from "../db/index.ts";
import type { Env, Timer } from "../env/index.ts";
import type { Answer, Under } from "./channel.ts";
import type { Member, Members } from "./members.ts";

/** How a request is asked. */
export interface Asked {
  readonly path: string;
  /** The message; `leftMs` is what is left of the time, `patienceMs` what this member may let it wait unbegun. */
  readonly message: (leftMs: number, patienceMs: number | null) => Uint8Array;
  /** Doing it twice is doing it once. */
  readonly isRepeatable: boolean;
  /** It changes something: without an answer it may have happened. */
  readonly isWrite: boolean;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** What is told of an answer: a failure of the member or of the request, or the value. */
export interface Told<T> {
  readonly failure: wire.Failure | undefined;
  readonly value: T;
}

/** What another member may do better. Everything else is of the request. */
const ELSEWHERE: ReadonlySet<string> = new Set<ErrorCode>([
  "NO_LEADER",
  "NOT_LEADER",
  "LEADER_CHANGED",
  "TIMEOUT",
  "CLOSED",
  "STOPPED",
  "QUARANTINED",
  "MEMBER_FULL",
  "CORRUPT",
]);
/** Between two rounds of the endpoints, at first and at most. */
const BACKOFF_MS = 20;
const BACKOFF_MS_MAX = 500;
/** A member that has not begun a write by then is asked no longer, of the time that the call has. */
const PATIENCE_SHARE = 4;
const PATIENCE_MS_MIN = 250;
/** A caller may give a call all the time there is; a member is told of so much at most, three centuries. */
const LEFT_MS_MAX = 1e13;

const UNIMPLEMENTED = 12;
const RESOURCE_EXHAUSTED = 8;

export function failureError({
  code,
  detail,
  maybe_applied: maybeApplied,
}: wire.Failure): HarmonyError {
  const isKnown = Object.hasOwn(ERRORS, code);
  return isKnown
    ? new HarmonyError(code as ErrorCode, detail === "" ? undefined : detail, { maybeApplied })
    : new HarmonyError("STOPPED", `${code}: ${detail}`, { maybeApplied });
}

/** One request until its end. */
export class Asking<T> {
  readonly #env: Env;
  readonly #members: Members;
  readonly #asked: Asked;
  readonly #read: (bytes: Uint8Array) => Told<T>;
  readonly #settle: (error: HarmonyError | null, value: T | undefined) => void;
  readonly #deadlineMs: number;
  readonly #timer: Timer | null;
  #silence: Timer | null = null;
  #under: Under | null = null;
  /** It was sent to somebody of whom it is not known that he did not do it. */
  #isUncertain = false;
  #failures = 0;
  #last: HarmonyError | null = null;
  #isOver = false;

  /** `settle` is called once, never within this call. */
  constructor(
    env: Env,
    members: Members,
    asked: Asked,
    read: (bytes: Uint8Array) => Told<T>,
    settle: (error: HarmonyError | null, value: T | undefined) => void,
  ) {
    this.#env = env;
    this.#members = members;
    this.#asked = asked;
    this.#read = read;
    this.#settle = settle;
    // Before there is anything to give back: a signal of the caller's own may throw.
    asked.signal?.addEventListener("abort", this.#aborted, { once: true });
    this.#deadlineMs = env.clock.monotonicMs() + asked.timeoutMs;
    this.#timer =
      asked.timeoutMs === Number.POSITIVE_INFINITY
        ? null
        : env.timers.after(asked.timeoutMs, () => this.#timeOver());
    members.begin();
    if (asked.signal?.aborted === true) env.timers.soon(this.#aborted);
    else this.#next();
  }

  /** The database ends. */
  end(error: HarmonyError): void {
    this.#fail(error.code, this.#isUncertain || this.#under !== null, undefined);
  }

  readonly #aborted = (): void => this.#fail("ABORTED", this.#mayHappen, undefined);

  get #mayHappen(): boolean {
    return this.#isUncertain || this.#under !== null;
  }

  #timeOver(): void {
    // Who was never reached is not late.
    if (this.#under === null && this.#last !== null && !this.#isUncertain) this.#over(this.#last);
    else this.#fail("TIMEOUT", this.#mayHappen, this.#last ?? undefined);
  }

  #next(): void {
    if (this.#isOver) return;
    const { chosen } = this.#members;
    // A request leaves within the call that asks for it: what is asked after it comes after it.
    if (chosen !== null) this.#send(chosen);
    else
      this.#members.choose().then(
        (member) => this.#send(member),
        (error: unknown) => this.#later(error as HarmonyError),
      );
  }

  #send(member: Member): void {
    if (this.#isOver) return;
    const { path, message, timeoutMs, isRepeatable } = this.#asked;
    const untilMs = this.#deadlineMs - this.#env.clock.monotonicMs();
    const leftMs = Math.min(LEFT_MS_MAX, Math.max(1, untilMs));
    const patienceMs = Math.min(LEFT_MS_MAX, Math.max(PATIENCE_MS_MIN, timeoutMs / PATIENCE_SHARE));
    const hasPatience = this.#members.hasOthers && patienceMs < leftMs;
    let bytes: Uint8Array;
    try {
      bytes = message(leftMs, hasPatience ? patienceMs : null);
    } catch (thrown) {
      this.#env.timers.soon(() => this.#over(thrown as HarmonyError));
      return;
    }
    // Somebody who answers nothing at all is left to himself, where asking another one does no harm.
    this.#silence =
      hasPatience && isRepeatable
        ? this.#env.timers.after(patienceMs * 2, () => {
            this.#under?.cancel();
            this.#under = null;
            this.#isUncertain ||= this.#asked.isWrite;
            this.#members.leave(member);
            this.#later(new HarmonyError("UNREACHABLE", `${member.endpoint.text}: no answer`));
          })
        : null;
    this.#under = member.channel.unary(path, bytes, (answer) => {
      this.#silence?.cancel();
      if (this.#isOver) return;
      this.#under = null;
      this.#take(member, answer);
    });
  }

  #take(member: Member, answer: Answer): void {
    const { text: endpoint } = member.endpoint;
    if (answer.kind === "message") {
      this.#heed(member, answer.bytes);
      return;
    }
    if (answer.kind === "status" && answer.code === RESOURCE_EXHAUSTED) {
      this.#over(new HarmonyError("TOO_LARGE", answer.text));
      return;
    }
    const why = answer.kind === "status" ? answer.text : answer.why;
    const isCertainlyNot =
      answer.kind === "status" ? answer.code === UNIMPLEMENTED : answer.isCertainlyNot;
    this.#members.leave(member);
    const error = new HarmonyError("UNREACHABLE", `${endpoint}: ${why}`);
    this.#perhapsAgain(error, !isCertainlyNot);
  }

  #heed(member: Member, bytes: Uint8Array): void {
    let told: Told<T>;
    try {
      told = this.#read(bytes);
    } catch (thrown) {
      // What a program reads of the outcome is its own; an answer that is none is the member's.
      const error =
        thrown instanceof HarmonyError
          ? thrown
          : new HarmonyError("UNREACHABLE", `${member.endpoint.text}: its answer is none`, {
              maybeApplied: this.#asked.isWrite,
              cause: thrown,
            });
      this.#over(error);
      return;
    }
    const { failure } = told;
    if (failure === undefined) {
      this.#finish();
      this.#settle(null, told.value);
      return;
    }
    const error = failureError(failure);
    if (!ELSEWHERE.has(failure.code)) {
      this.#over(
        this.#isUncertain && !error.maybeApplied
          ? new HarmonyError(error.code, undefined, { maybeApplied: true, cause: error })
          : error,
      );
      return;
    }
    if (this.#members.hasOthers) this.#members.leave(member);
    // The end of a member is not that of the database.
    const isGone = error.code === "CLOSED" || error.code === "STOPPED";
    this.#perhapsAgain(
      isGone
        ? new HarmonyError("UNREACHABLE", `${member.endpoint.text}: ${error.message}`, {
            cause: error,
          })
        : error,
      failure.maybe_applied,
    );
  }

  #perhapsAgain(error: HarmonyError, maybeApplied: boolean): void {
    const { isWrite, isRepeatable } = this.#asked;
    if (isWrite && maybeApplied) {
      if (!isRepeatable) {
        this.#fail(error.code, true, error);
        return;
      }
      this.#isUncertain = true;
    }
    this.#later(error);
  }

  /** Again after a while that grows: at once with the first of the others. */
  #later(error: HarmonyError): void {
    if (this.#isOver) return;
    if (error.code === "CLOSED") {
      this.#over(error);
      return;
    }
    this.#last = error;
    const waitMs =
      this.#failures === 0
        ? 0
        : Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** Math.min(10, this.#failures - 1));
    this.#failures++;
    this.#env.timers.after(waitMs, () => this.#next());
  }

  #fail(code: ErrorCode, maybeApplied: boolean, cause: HarmonyError | undefined): void {
    const detail = cause === undefined ? undefined : cause.message;
    this.#over(
      new HarmonyError(code, code === cause?.code ? sayingOf(cause) : detail, {
        maybeApplied: maybeApplied && this.#asked.isWrite,
        cause,
      }),
    );
  }

  #over(error: HarmonyError): void {
    if (this.#isOver) return;
    this.#under?.cancel();
    this.#under = null;
    this.#finish();
    this.#settle(error, undefined);
  }

  #finish(): void {
    this.#isOver = true;
    this.#timer?.cancel();
    this.#silence?.cancel();
    unlisten(this.#asked.signal, this.#aborted);
    this.#members.finish();
  }
}

/** What a message says behind the sentence of its code. */
function sayingOf({ message }: HarmonyError): string | undefined {
  const split = message.indexOf(": ");
  return split < 0 ? undefined : message.slice(split + 2);
}
