/**
 * Between the promises of the door and the callbacks of the node. Answers come from within a turn of the node, so
 * nothing of a caller runs in them: they only settle a promise, and what follows runs after the turn.
 */
import { EMPTY_BYTES, HarmonyError } from "../../base/index.ts";
import type { Env, Timer } from "../../env/index.ts";
import { Calls } from "../calls.ts";
import type { CallOptions, Reply } from "../database.ts";
import type { KvDatabase } from "../kv-database.ts";
import type { Node } from "../node.ts";
import type {
  AnyWriteRequest,
  KeyValue,
  LeaseStatus,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
} from "../requests.ts";
import { validateRange } from "../validate.ts";
import { Pin } from "./pin.ts";

/** An AbortController of the host. */
export interface Aborter {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

/** What the door needs of the host besides the node. */
export interface Host {
  readonly env: Env;
  readonly newAborter: () => Aborter;
  /** How long a scan or a snapshot may keep an old state from being given back. */
  readonly pinTimeoutMs: number;
  /** What all of them together may keep; beyond it the oldest are given back. */
  readonly pinBytesMax: number;
}

/** Keys that are read without a pause: about a millisecond. */
const POINTS_PER_TURN = 512;
/** How often it is looked whether they keep too much. */
const PIN_LOOK_MS = 1_000;

/** A first page, and the state that the others are read from; null when there is no other. */
export interface Opened {
  readonly response: RangeResponse;
  readonly pin: Pin | null;
}

/** An outcome of one kind, of a write of that kind. */
export type OutcomeOf<K extends Outcome["kind"]> = Extract<Outcome, { readonly kind: K }>;

export class Link {
  readonly node: Node;
  readonly host: Host;
  readonly #database: KvDatabase;
  /** The oldest first. */
  readonly #pins = new Set<Pin>();
  #pinTimer: Timer | null = null;
  /** Told once, at the end: who waits for something that no call of the node will answer. */
  readonly #whenEnded = new Set<(error: HarmonyError) => void>();
  #ended: HarmonyError | null = null;
  readonly #calls: Calls;

  constructor(node: Node, host: Host) {
    this.node = node;
    this.host = host;
    this.#database = node.database;
    this.#calls = new Calls(host.env, Number.POSITIVE_INFINITY);
  }

  get env(): Env {
    return this.host.env;
  }

  /** Why nothing is answered any more, or null. */
  get ended(): HarmonyError | null {
    return this.#ended;
  }

  /** Sends a write and waits for its outcome, which is of kind `K`. A refusal rejects. */
  write<K extends AnyWriteRequest["kind"]>(
    request: AnyWriteRequest & { readonly kind: K },
    options: CallOptions,
  ): Promise<OutcomeOf<K>> {
    return this.writeAs<K, OutcomeOf<K>>(request, options, itself);
  }

  /** As `write`, for what `read` makes of the outcome: one promise where there would be two. */
  writeAs<K extends AnyWriteRequest["kind"], T>(
    request: AnyWriteRequest & { readonly kind: K },
    options: CallOptions,
    read: (outcome: OutcomeOf<K>) => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#database.write(request, options, (error, outcome) => {
        if (error !== null) reject(error);
        else if (outcome.kind === request.kind) resolve(read(outcome as OutcomeOf<K>));
        else if (outcome.kind === "error") reject(refused(outcome));
        else reject(forgotten(outcome.revision));
      });
    });
  }

  range(request: RangeRequest, options: CallOptions): Promise<RangeResponse> {
    return new Promise((resolve, reject) => {
      this.#database.range(request, options, settler(resolve, reject));
    });
  }

  /**
   * Reads of single keys answered as of one moment: the first as it says, the others from what is applied at that moment.
   * Many are read from that state in pieces, between which others have their turn.
   */
  async points(
    requests: readonly RangeRequest[],
    options: CallOptions,
  ): Promise<readonly (KeyValue | undefined)[]> {
    const [first] = requests;
    if (first === undefined) return [];
    if (requests.length <= POINTS_PER_TURN) {
      const answers = await this.#pointsAtOnce(requests, options);
      return answers.map(({ kvs: [kv] }) => kv);
    }
    for (const request of requests) {
      const code = validateRange(request);
      if (code !== null) throw new HarmonyError(code);
    }
    const { response, pin } = await this.open(first, options, true);
    if (pin === null) throw this.#ended ?? new HarmonyError("CLOSED");
    try {
      return await this.pinnedPoints(
        pin,
        requests.map(({ key }) => key),
        options,
        [response.kvs[0]],
      );
    } finally {
      pin.release();
    }
  }

  /** The keys in a state that is kept, in pieces; `found` has the first of them already. */
  async pinnedPoints(
    pin: Pin,
    keys: readonly Uint8Array[],
    { signal }: CallOptions,
    found: (KeyValue | undefined)[] = [],
  ): Promise<readonly (KeyValue | undefined)[]> {
    for (let i = found.length; i < keys.length; i++) {
      if (i % POINTS_PER_TURN === 0 && i > 0) await this.breathe();
      if (signal?.aborted === true) throw new HarmonyError("ABORTED");
      found.push(pin.find(keys[i] as Uint8Array));
    }
    return found;
  }

  #pointsAtOnce(
    requests: readonly RangeRequest[],
    options: CallOptions,
  ): Promise<readonly RangeResponse[]> {
    const [first, ...others] = requests as readonly [RangeRequest, ...RangeRequest[]];
    return new Promise((resolve, reject) => {
      const settle = settler(resolve, reject);
      this.#database.range(first, options, (error, response) => {
        if (error !== null || response.kind === "error") {
          settle(error, response as Refusal);
          return;
        }
        const responses: RangeResponse[] = [response];
        for (const other of others) {
          const next = this.#atOnce({ ...other, serializable: true });
          if (next instanceof HarmonyError) {
            settle(next, response as never);
            return;
          }
          responses.push(next);
        }
        settle(null, responses);
      });
    });
  }

  /** From what is applied, within the call. */
  rangeNow(request: RangeRequest): RangeResponse {
    const answer = this.#atOnce(request);
    if (answer instanceof HarmonyError) throw answer;
    return answer;
  }

  /** The key as it is applied here and now, or undefined. */
  peek(key: Uint8Array): KeyValue | undefined {
    return this.rangeNow({ ...POINT, key, serializable: true }).kvs[0];
  }

  leaseStatus(id: bigint, options: CallOptions): Promise<LeaseStatus> {
    return new Promise((resolve, reject) => {
      this.#database.leaseStatus(id, false, options, settler(resolve, reject));
    });
  }

  /** Answers the request and pins the state that it was answered from: always, or if more is to be read. */
  open(request: RangeRequest, options: CallOptions, always: boolean): Promise<Opened> {
    return new Promise((resolve, reject) => {
      const settle = settler<Opened>(resolve, reject);
      this.#database.range(request, options, (error, response) => {
        if (error !== null || response.kind === "error") {
          settle(error, response as Refusal);
          return;
        }
        const isPinned = (always || response.more) && this.#ended === null;
        const revision = request.revision > 0 ? request.revision : response.revision;
        settle(null, {
          response,
          pin: isPinned ? this.#pin(revision, request.revision <= 0) : null,
        });
      });
    });
  }

  /** Pins what is applied, within the call. */
  pinNow(): Pin {
    if (this.#ended !== null) throw this.#ended;
    const { revision } = this.rangeNow({ ...POINT, key: ANY_KEY, serializable: true });
    return this.#pin(revision, true);
  }

  #pin(revision: number, isLatest: boolean): Pin {
    const { env, pinTimeoutMs } = this.host;
    const pin: Pin = new Pin(
      this.#database,
      revision,
      isLatest,
      env.timers.after(pinTimeoutMs, () =>
        pin.release(
          new HarmonyError("COMPACTED", `read for longer than ${pinTimeoutMs} ms (pinTimeoutMs)`),
        ),
      ),
      () => this.#released(pin),
    );
    this.#pins.add(pin);
    this.#lookLater();
    return pin;
  }

  #released(pin: Pin): void {
    this.#pins.delete(pin);
    if (this.#pins.size > 0) return;
    this.#pinTimer?.cancel();
    this.#pinTimer = null;
  }

  #lookLater(): void {
    this.#pinTimer ??= this.env.timers.after(PIN_LOOK_MS, () => {
      this.#pinTimer = null;
      const { pinBytesMax } = this.host;
      for (const pin of this.#pins) {
        if (this.#database.pinnedBytes <= pinBytesMax) break;
        pin.release(
          new HarmonyError("COMPACTED", `kept more than ${pinBytesMax} bytes (pinBytesMax)`),
        );
      }
      if (this.#pins.size > 0) this.#lookLater();
    });
  }

  #atOnce(request: RangeRequest): RangeResponse | HarmonyError {
    let answer: RangeResponse | HarmonyError | null = null;
    this.#database.range(request, NO_CALL, (error, response) => {
      answer = error ?? (response.kind === "error" ? refused(response) : response);
    });
    // A serializable read is answered before the call returns.
    return answer ?? new HarmonyError("STOPPED", "a local read was not answered at once");
  }

  /**
   * Waits for work of the node that cannot be called back: who gives up only waits no longer. Without a `timeoutMs` it
   * may take as long as it takes.
   */
  finish(
    { signal, timeoutMs = Number.POSITIVE_INFINITY }: CallOptions,
    work: (done: (error: HarmonyError | null) => void) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = this.#calls.open<void>({ signal, timeoutMs }, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
      if (call.isSettled) return;
      call.withdraw = () => false;
      work((error) => call.settle(error, undefined));
    });
  }

  /** Gives the event loop a turn. */
  breathe(): Promise<void> {
    return new Promise((resolve) => this.env.timers.soon(resolve));
  }

  /**
   * Waits for so long, or until `wake` is called, which it is given; rejects when the signal says so or the database
   * ends.
   */
  pause(
    ms: number,
    signal: AbortSignal | undefined,
    onWake: (wake: () => void) => void = () => {},
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null || signal?.aborted === true) {
        reject(this.#ended ?? new HarmonyError("ABORTED"));
        return;
      }
      const release = (): void => {
        timer?.cancel();
        signal?.removeEventListener("abort", aborted);
        this.#whenEnded.delete(fail);
      };
      const wake = (): void => {
        release();
        resolve();
      };
      const fail = (error: HarmonyError): void => {
        release();
        reject(error);
      };
      const aborted = (): void => fail(new HarmonyError("ABORTED"));
      const timer = ms === Number.POSITIVE_INFINITY ? null : this.env.timers.after(ms, wake);
      signal?.addEventListener("abort", aborted, { once: true });
      this.#whenEnded.add(fail);
      onWake(wake);
    });
  }

  /** Calls `listener` once when the database ends; the answer takes it back. */
  onEnd(listener: (error: HarmonyError) => void): () => void {
    if (this.#ended !== null) listener(this.#ended);
    else this.#whenEnded.add(listener);
    return () => this.#whenEnded.delete(listener);
  }

  /** Nothing is waited for any more, and no state is kept. */
  end(error: HarmonyError): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    for (const pin of this.#pins) pin.release(error);
    for (const listener of this.#whenEnded) {
      try {
        listener(error);
      } catch (thrown) {
        this.env.log("error", "embedded", "a listener of the end threw", { error: String(thrown) });
      }
    }
    this.#whenEnded.clear();
  }
}

const NO_CALL: CallOptions = Object.freeze({});

/** The point read that others are made from. */
export const POINT: RangeRequest = Object.freeze({
  kind: "range",
  key: EMPTY_BYTES,
  rangeEnd: EMPTY_BYTES,
  limit: 0,
  revision: 0,
  sortOrder: "none",
  sortTarget: "key",
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
});

function itself<T>(outcome: T): T {
  return outcome;
}

/** For reads that ask when, not what. */
export const ANY_KEY: Uint8Array = new Uint8Array(1);

function refused({ code, detail }: Refusal): HarmonyError {
  return new HarmonyError(code, detail ?? undefined);
}

/** A request that was sent again, whose answer was too long to be kept. */
function forgotten(revision: number): HarmonyError {
  return new HarmonyError(
    "REQUEST_EXPIRED",
    `it was done in revision ${revision} at the latest, and its answer was too long to be kept`,
    { maybeApplied: true },
  );
}

/** A refusal becomes an exception with its code; everything else resolves. */
function settler<T>(
  resolve: (value: T) => void,
  reject: (error: HarmonyError) => void,
): Reply<T | Refusal> {
  return (error, value) => {
    if (error !== null) reject(error);
    else if ((value as { readonly kind?: unknown }).kind === "error")
      reject(refused(value as Refusal));
    else resolve(value as T);
  };
}
