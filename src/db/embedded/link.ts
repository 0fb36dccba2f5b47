/**
 * What the promises of the door stand on: whoever carries their requests, to the node in this process (`NodeLink`) or
 * over a connection to a member of a cluster (src/client). Answers may come from within a turn of a node, so nothing of a
 * caller runs in them: they only settle a promise, and what follows runs after the turn.
 */
import { HarmonyError } from "../../base/index.ts";
import { unlisten } from "../calls.ts";
import type { Env } from "../../env/index.ts";
import type { CallOptions, MemberInfo } from "../database.ts";
import type {
  AnyWriteRequest,
  KeyValue,
  LeaseStatus,
  MemberRequest,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
} from "../requests.ts";
import type { Watch, WatchRequest } from "../watch/index.ts";
import type { State } from "./state.ts";

/** An AbortController of the host. */
export interface Aborter {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

/** What every door needs of the host. */
export interface DoorHost {
  readonly env: Env;
  readonly newAborter: () => Aborter;
}

/** A first page, and the state that the others are read from; null when there is no other. */
export interface Opened {
  readonly response: RangeResponse;
  readonly state: State | null;
}

/** The members by id, and who leads; 0: nobody is known to. */
export interface MembersSeen {
  readonly members: readonly MemberInfo[];
  readonly leader: bigint;
}

/** An outcome of one kind, of a write of that kind. */
export type OutcomeOf<K extends Outcome["kind"]> = Extract<Outcome, { readonly kind: K }>;

export abstract class Link {
  readonly host: DoorHost;
  /** Told once, at the end: who waits for something that no call will answer. */
  readonly #whenEnded = new Set<(error: HarmonyError) => void>();
  #ended: HarmonyError | null = null;

  constructor(host: DoorHost) {
    this.host = host;
  }

  get env(): Env {
    return this.host.env;
  }

  /** Why nothing is answered any more, or null. */
  get ended(): HarmonyError | null {
    return this.#ended;
  }

  abstract get role(): "leader" | "follower" | "client";

  /** Sends a write and waits for its outcome, of which `read` makes the answer. A refusal rejects. */
  abstract writeAs<K extends AnyWriteRequest["kind"], T>(
    request: AnyWriteRequest & { readonly kind: K },
    options: CallOptions,
    read: (outcome: OutcomeOf<K>) => T,
  ): Promise<T>;

  /** As `writeAs`, for the outcome itself. */
  write<K extends AnyWriteRequest["kind"]>(
    request: AnyWriteRequest & { readonly kind: K },
    options: CallOptions,
  ): Promise<OutcomeOf<K>> {
    return this.writeAs<K, OutcomeOf<K>>(request, options, itself);
  }

  abstract range(request: RangeRequest, options: CallOptions): Promise<RangeResponse>;

  /** Reads of single keys, which differ in the key alone, answered as of one moment. */
  abstract points(
    requests: readonly RangeRequest[],
    options: CallOptions,
  ): Promise<readonly (KeyValue | undefined)[]>;

  /** Answers the request and keeps the state that it was answered from: always, or if more is to be read. */
  abstract open(request: RangeRequest, options: CallOptions, always: boolean): Promise<Opened>;

  /** What is applied, kept within the call. Throws UNSUPPORTED where that is not in this process. */
  abstract stateNow(): State;

  /** The value as it is applied, within the call; undefined when the key is not there. Throws as `stateNow`. */
  abstract valueNow(key: Uint8Array): Uint8Array | undefined;

  abstract leaseStatus(id: bigint, options: CallOptions): Promise<LeaseStatus>;

  /** As `Database.watch`. A watch from now on may take an empty batch of events first: it hears of what comes then. */
  abstract watch(request: WatchRequest, news: () => void): Watch;

  /** Who holds a lock, as far as that is known without asking anybody. */
  abstract holderNow(key: Uint8Array): KeyValue | undefined;

  /** How often a holder looks whether it still holds its lock, in milliseconds. */
  abstract readonly lockLookMs: number;

  /** A lock was given to who asked for it here, after so long: for metrics. */
  abstract lockWaited(durationMs: number): void;

  /** The key as some member has applied it, and that member's revision. Not called where nobody can tell. */
  abstract look(key: Uint8Array, told: (kv: KeyValue | undefined, revision: number) => void): void;

  /** `isLocal`: as they are known without asking anybody. */
  abstract listMembers(isLocal: boolean, options: CallOptions): Promise<MembersSeen>;

  /** Answers with the member that was added, if one was. A refusal rejects. */
  abstract changeMembers(request: MemberRequest, options: CallOptions): Promise<MemberInfo | null>;

  /** Resolves when the member leads. */
  abstract moveLeader(target: bigint, options: CallOptions): Promise<void>;

  /** Resolves when what is applied is synced. */
  abstract sync(options: CallOptions): Promise<void>;

  /** Calls `listener` once when the node has failed. */
  abstract onFatal(listener: (error: HarmonyError) => void): void;

  /** Gives everything back, after `end`. */
  abstract close(): Promise<void>;

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
        unlisten(signal, aborted);
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

/** Why an outcome is not what a write of this kind resolves to; null: it is. */
export function outcomeError(kind: AnyWriteRequest["kind"], outcome: Outcome): HarmonyError | null {
  if (outcome.kind === kind) return null;
  if (outcome.kind === "error") return refused(outcome);
  // A request that was sent again, whose answer was too long to be kept.
  return new HarmonyError(
    "REQUEST_EXPIRED",
    `it was done in revision ${outcome.revision} at the latest, and its answer was too long to be kept`,
    { maybeApplied: true },
  );
}

export function refused({ code, detail }: Refusal): HarmonyError {
  return new HarmonyError(code, detail ?? undefined);
}

/** For reads that ask when, not what. */
export const ANY_KEY: Uint8Array = new Uint8Array(1);

function itself<T>(outcome: T): T {
  return outcome;
}
