/** The node in this process: its callbacks as promises, its states pinned for those who read page by page. */
import { HarmonyError } from "../../base/index.ts";
import type { Timer } from "../../env/index.ts";
import { Calls } from "../calls.ts";
import type { CallOptions, MemberInfo, MembersChanged, Reply } from "../database.ts";
import type { KvDatabase } from "../kv-database.ts";
import { type Node, stopNode } from "../node.ts";
import type {
  AnyWriteRequest,
  KeyValue,
  LeaseStatus,
  MemberRequest,
  RangeRequest,
  RangeResponse,
  Refusal,
} from "../requests.ts";
import { validateRange } from "../validate.ts";
import type { Watch, WatchRequest } from "../watch/index.ts";
import {
  ANY_KEY,
  type DoorHost,
  Link,
  type MembersSeen,
  type Opened,
  outcomeError,
  type OutcomeOf,
  refused,
} from "./link.ts";
import { COUNT_NO_KEY, POINT } from "../point.ts";
import { Pin, POINTS_PER_TURN } from "./pin.ts";

/** What the door needs of the host besides the node. */
export interface Host extends DoorHost {
  /** How long a scan or a snapshot may keep an old state from being given back. */
  readonly pinTimeoutMs: number;
  /** What all of them together may keep; beyond it the oldest are given back. */
  readonly pinBytesMax: number;
}

/** How often it is looked whether they keep too much. */
const PIN_LOOK_MS = 1_000;

/** A look at the trees in process costs next to nothing. */
const LOCK_LOOK_MS = 250;

export class NodeLink extends Link {
  readonly node: Node;
  override readonly host: Host;
  readonly lockLookMs: number = LOCK_LOOK_MS;
  readonly #database: KvDatabase;
  /** The oldest first. */
  readonly #pins = new Set<Pin>();
  #pinTimer: Timer | null = null;
  readonly #calls: Calls;

  constructor(node: Node, host: Host) {
    super(host);
    this.node = node;
    this.host = host;
    this.#database = node.database;
    this.#calls = new Calls(host.env, Number.POSITIVE_INFINITY);
  }

  get role(): "leader" | "follower" {
    const { leader, memberId } = this.#database.status();
    return leader === memberId ? "leader" : "follower";
  }

  /** One promise where there would be two. */
  writeAs<K extends AnyWriteRequest["kind"], T>(
    request: AnyWriteRequest & { readonly kind: K },
    options: CallOptions,
    read: (outcome: OutcomeOf<K>) => T,
  ): Promise<T> {
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.#database.write(request, options, (error, outcome) => {
        if (error !== null) reject(error);
        else if (outcome.kind === request.kind) resolve(read(outcome as OutcomeOf<K>));
        else reject(outcomeError(request.kind, outcome));
      });
    });
  }

  range(request: RangeRequest, options: CallOptions): Promise<RangeResponse> {
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.reject(refusal);
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
    const { response, state } = await this.open(first, options, true);
    if (state === null) throw this.ended ?? new HarmonyError("CLOSED");
    try {
      const others = requests.slice(1).map(({ key }) => key);
      return [response.kvs[0], ...(await state.points(others, options))];
    } finally {
      state.release();
    }
  }

  #pointsAtOnce(
    requests: readonly RangeRequest[],
    options: CallOptions,
  ): Promise<readonly RangeResponse[]> {
    const [first, ...others] = requests as readonly [RangeRequest, ...RangeRequest[]];
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.reject(refusal);
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

  holderNow(key: Uint8Array): KeyValue | undefined {
    return this.rangeNow({ ...POINT, key, serializable: true }).kvs[0];
  }

  look(key: Uint8Array, told: (kv: KeyValue | undefined, revision: number) => void): void {
    if (this.ended !== null) return;
    const { kvs, revision } = this.rangeNow({ ...POINT, key, serializable: true });
    told(kvs[0], revision);
  }

  lockWaited(durationMs: number): void {
    this.#database.lockWaited(durationMs);
  }

  valueNow(key: Uint8Array): Uint8Array | undefined {
    if (this.ended !== null) throw this.ended;
    return this.#database.valueNow(key);
  }

  watch(request: WatchRequest, news: () => void): Watch {
    return this.#database.watch(request, news);
  }

  leaseStatus(id: bigint, options: CallOptions): Promise<LeaseStatus> {
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.#database.leaseStatus(id, false, options, settler(resolve, reject));
    });
  }

  /** Answers the request and pins the state that it was answered from: always, or if more is to be read. */
  open(request: RangeRequest, options: CallOptions, always: boolean): Promise<Opened> {
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const settle = settler<Opened>(resolve, reject);
      this.#database.range(request, options, (error, response) => {
        if (error !== null || response.kind === "error") {
          settle(error, response as Refusal);
          return;
        }
        const isPinned = (always || response.more) && this.ended === null;
        const revision = request.revision > 0 ? request.revision : response.revision;
        settle(null, {
          response,
          state: isPinned ? this.#pin(revision, request.revision <= 0) : null,
        });
      });
    });
  }

  stateNow(): Pin {
    if (this.ended !== null) throw this.ended;
    const { revision } = this.rangeNow({ ...POINT, key: ANY_KEY, serializable: true });
    return this.#pin(revision, true);
  }

  #pin(revision: number, isLatest: boolean): Pin {
    const { env, pinTimeoutMs } = this.host;
    const pin: Pin = new Pin(
      this.#database,
      revision,
      isLatest,
      { timers: env.timers, timeoutMs: pinTimeoutMs },
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

  async listMembers(isLocal: boolean, options: CallOptions): Promise<MembersSeen> {
    if (!isLocal) await this.range(COUNT_NO_KEY, options);
    else if (this.ended !== null) throw this.ended;
    return this.#database.status();
  }

  changeMembers(request: MemberRequest, options: CallOptions): Promise<MemberInfo | null> {
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const changed = ({ added }: MembersChanged): void => resolve(added);
      this.#database.changeMembers(request, options, settler(changed, reject));
    });
  }

  moveLeader(target: bigint, options: CallOptions): Promise<void> {
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.#database.moveLeader(target, options, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  async sync(options: CallOptions): Promise<void> {
    if (this.#database.status().durability.mode !== "interval") return;
    await this.finish(options, (done) => this.node.sync(done));
  }

  onFatal(listener: (error: HarmonyError) => void): void {
    this.node.onFatal(listener);
  }

  close(): Promise<void> {
    return stopNode(this.node);
  }

  /** Why a call is not begun any more. What ended the others may have been half done; this one certainly is not. */
  get #refusal(): HarmonyError | null {
    const { ended } = this;
    return ended?.maybeApplied === true
      ? new HarmonyError(ended.code, undefined, { cause: ended })
      : ended;
  }

  override end(error: HarmonyError): void {
    if (this.ended === null) for (const pin of this.#pins) pin.release(error);
    super.end(error);
  }
}

const NO_CALL: CallOptions = Object.freeze({});

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
