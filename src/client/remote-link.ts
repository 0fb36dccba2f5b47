/** The link of a database whose nodes are elsewhere. */
import { equalBytes, HarmonyError } from "../base/index.ts";
import { apiMessages as wire } from "../codec/index.ts";
import {
  type AnyWriteRequest,
  type CallOptions,
  decodeWholeOutcome,
  encodeRequest,
  type KeyValue,
  type LeaseStatus,
  type MemberInfo,
  type MemberRequest,
  type Outcome,
  type RangeRequest,
  type RangeResponse,
  type Watch,
  type WatchRequest,
  POINT,
} from "../db/index.ts";
import {
  type DoorHost,
  Link,
  type MembersSeen,
  type Opened,
  type OutcomeOf,
  outcomeError,
  type State,
} from "../db/embedded/index.ts";
import { type Asked, Asking, type Told } from "./asking.ts";
import type { Endpoint } from "./endpoints.ts";
import { Members } from "./members.ts";
import {
  API,
  changeRequest,
  keyValueOf,
  memberOf,
  pointsRequest,
  rangeResponse,
  readRequest,
} from "./messages.ts";
import { RemoteState } from "./remote-state.ts";
import { RemoteWatch } from "./remote-watch.ts";

/** A look costs a request: a lock that somebody deleted is found to be lost within so long. */
const LOCK_LOOK_MS = 1_000;

/** Writes that say the same twice: an owner's lock, a lease that is kept alive, a session that nobody will use. */
const REPEATABLE: ReadonlySet<AnyWriteRequest["kind"]> = new Set<AnyWriteRequest["kind"]>([
  "lock",
  "extendLock",
  "leaseKeepAlive",
  "sessionOpen",
  "sessionClose",
]);

export interface RemoteLinkOptions {
  readonly host: DoorHost;
  readonly endpoints: readonly Endpoint[];
  readonly requestTimeoutMs: number;
}

export class RemoteLink extends Link {
  readonly role = "client" as const;
  readonly lockLookMs: number = LOCK_LOOK_MS;
  readonly members: Members;
  readonly #timeoutMs: number;
  readonly #askings: Set<Asking<unknown>> = new Set();
  /** What any member has said of how far the database is. */
  #seenRevision = 0;

  constructor({ host, endpoints, requestTimeoutMs }: RemoteLinkOptions) {
    super(host);
    this.#timeoutMs = requestTimeoutMs;
    this.members = new Members({
      env: host.env,
      endpoints,
      seen: (revision) => this.saw(revision),
    });
  }

  get seenRevision(): number {
    return this.#seenRevision;
  }

  saw(revision: number): void {
    if (revision > this.#seenRevision) this.#seenRevision = revision;
  }

  writeAs<K extends AnyWriteRequest["kind"], T>(
    request: AnyWriteRequest & { readonly kind: K },
    options: CallOptions,
    read: (outcome: OutcomeOf<K>) => T,
  ): Promise<T> {
    // Encoded within the call: what the caller's bytes become afterwards is his own business.
    const command = encodeRequest(request);
    const { session = 0, number = 0 } = options.requestId ?? {};
    return this.ask(
      "Write",
      options,
      { isWrite: true, isRepeatable: session > 0 || REPEATABLE.has(request.kind) },
      (leftMs, patienceMs) =>
        wire.WriteRequest.encode({
          command,
          session: BigInt(session),
          number: BigInt(number),
          timeout_ms: BigInt(Math.ceil(leftMs)),
          patience_ms: BigInt(Math.ceil(patienceMs ?? 0)),
        }).finish(),
      (bytes) => {
        const { outcome: encoded, failure } = wire.WriteResponse.decode(bytes);
        if (failure !== undefined) return { failure, value: undefined as T };
        const outcome = decodeWholeOutcome(plainOf(encoded));
        if (outcome === null) throw new Error("the outcome of a write is none");
        this.saw(outcome.revision);
        return { failure, value: read(wantedOutcome(request.kind, outcome)) };
      },
    );
  }

  async range(request: RangeRequest, options: CallOptions): Promise<RangeResponse> {
    return rangeResponse(await this.read(readRequest(request), options));
  }

  async points(
    requests: readonly RangeRequest[],
    options: CallOptions,
  ): Promise<readonly (KeyValue | undefined)[]> {
    const [first] = requests;
    if (first === undefined) return [];
    const keys = requests.map(({ key }) => key);
    const response = await this.read(pointsRequest(first, keys), options);
    const found = matched(keys, response);
    if (found.length === keys.length) return found;
    const revision = first.revision > 0 ? first.revision : Number(response.revision);
    const state = new RemoteState(this, revision);
    try {
      return [...found, ...(await state.points(keys.slice(found.length), options))];
    } finally {
      state.release();
    }
  }

  async open(request: RangeRequest, options: CallOptions, always: boolean): Promise<Opened> {
    const response = await this.range(request, options);
    const revision = request.revision > 0 ? request.revision : response.revision;
    const isKept = (always || response.more) && this.ended === null;
    return { response, state: isKept ? new RemoteState(this, revision) : null };
  }

  stateNow(): State {
    throw this.ended ?? unsupported();
  }

  /** The node has its own figures, and who waits here waits in another process. */
  lockWaited(): void {}

  valueNow(): Uint8Array | undefined {
    throw this.ended ?? unsupported();
  }

  async leaseStatus(id: bigint, options: CallOptions): Promise<LeaseStatus> {
    const answer = await this.ask(
      "LeaseStatus",
      options,
      { isWrite: false, isRepeatable: true },
      (leftMs, patienceMs) =>
        wire.LeaseStatusRequest.encode({
          id,
          timeout_ms: BigInt(Math.ceil(patienceMs ?? leftMs)),
        }).finish(),
      (bytes) => withFailure(wire.LeaseStatusResponse.decode(bytes)),
    );
    return {
      revision: Number(answer.revision),
      ttlSeconds: answer.ttl,
      grantedTtlSeconds: answer.granted_ttl,
      keys: [],
    };
  }

  watch(request: WatchRequest, news: () => void): Watch {
    return new RemoteWatch(this, request, news);
  }

  holderNow(): KeyValue | undefined {
    return undefined;
  }

  look(key: Uint8Array, told: (kv: KeyValue | undefined, revision: number) => void): void {
    if (this.ended !== null) return;
    const request = { ...pointsRequest(POINT, [key]), serializable: true };
    this.read(request, { timeoutMs: this.lockLookMs }).then(
      (response) => {
        const [entry] = response.entries;
        told(entry === undefined ? undefined : keyValueOf(entry), Number(response.revision));
      },
      // Nobody could tell; its holder's clock tells in time.
      () => {},
    );
  }

  async listMembers(isLocal: boolean, options: CallOptions): Promise<MembersSeen> {
    const { members, leader } = await this.ask(
      "Members",
      options,
      { isWrite: false, isRepeatable: true },
      (leftMs, patienceMs) =>
        wire.MembersRequest.encode({
          serializable: isLocal,
          timeout_ms: BigInt(Math.ceil(patienceMs ?? leftMs)),
        }).finish(),
      (bytes) => withFailure(wire.MembersResponse.decode(bytes)),
    );
    return { members: members.map(memberOf), leader };
  }

  async changeMembers(request: MemberRequest, options: CallOptions): Promise<MemberInfo | null> {
    const { added } = await this.ask(
      "ChangeMembers",
      options,
      { isWrite: true, isRepeatable: false },
      (leftMs, patienceMs) =>
        wire.ChangeMembersRequest.encode({
          ...changeRequest(request),
          timeout_ms: BigInt(Math.ceil(leftMs)),
          patience_ms: BigInt(Math.ceil(patienceMs ?? 0)),
        }).finish(),
      (bytes) => withFailure(wire.ChangeMembersResponse.decode(bytes)),
    );
    return added === undefined ? null : memberOf(added);
  }

  async moveLeader(target: bigint, options: CallOptions): Promise<void> {
    await this.ask(
      "MoveLeader",
      options,
      // Twice is once, but who does not take over is not asked to again and again: meanwhile nothing is written.
      { isWrite: true, isRepeatable: false },
      (leftMs) =>
        wire.MoveLeaderRequest.encode({
          id: target,
          timeout_ms: BigInt(Math.ceil(leftMs)),
        }).finish(),
      (bytes) => withFailure(wire.MoveLeaderResponse.decode(bytes)),
    );
  }

  async sync(options: CallOptions): Promise<void> {
    const { durability } = await this.report(options);
    if (durability === "interval") await this.chore(wire.ChoreRequest_Chore.SYNC, options);
  }

  /** No failure of a member is one of the database. */
  onFatal(): void {}

  close(): Promise<void> {
    this.members.close();
    return Promise.resolve();
  }

  override end(error: HarmonyError): void {
    if (this.ended === null) for (const asking of this.#askings) asking.end(error);
    super.end(error);
  }

  /** One page. */
  async read(request: wire.ReadRequest, options: CallOptions): Promise<wire.ReadResponse> {
    const response = await this.ask(
      "Read",
      options,
      { isWrite: false, isRepeatable: true },
      (leftMs, patienceMs) =>
        wire.ReadRequest.encode({
          ...request,
          timeout_ms: BigInt(Math.ceil(patienceMs ?? leftMs)),
        }).finish(),
      (bytes) => withFailure(wire.ReadResponse.decode(bytes)),
    );
    this.saw(Number(response.revision));
    return response;
  }

  report(options: CallOptions): Promise<wire.ReportResponse> {
    return this.ask(
      "Report",
      options,
      { isWrite: false, isRepeatable: true },
      () => wire.ReportRequest.encode({}).finish(),
      (bytes) => ({ failure: undefined, value: wire.ReportResponse.decode(bytes) }),
    );
  }

  async chore(chore: wire.ChoreRequest_Chore, options: CallOptions): Promise<void> {
    await this.ask(
      "Chore",
      { ...options, timeoutMs: options.timeoutMs ?? Number.POSITIVE_INFINITY },
      { isWrite: false, isRepeatable: true },
      () => wire.ChoreRequest.encode({ chore }).finish(),
      (bytes) => withFailure(wire.ChoreResponse.decode(bytes)),
    );
  }

  ask<T>(
    name: string,
    options: CallOptions,
    kind: Pick<Asked, "isWrite" | "isRepeatable">,
    message: Asked["message"],
    read: (bytes: Uint8Array) => Told<T>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.ended !== null) {
        reject(this.ended);
        return;
      }
      const { signal, timeoutMs = this.#timeoutMs } = options;
      if (signal?.aborted === true) {
        reject(new HarmonyError("ABORTED"));
        return;
      }
      const asking: Asking<unknown> = new Asking<T>(
        this.env,
        this.members,
        { ...kind, path: `${API}${name}`, message, signal, timeoutMs },
        read,
        (error, value) => {
          this.#askings.delete(asking);
          if (error === null) resolve(value as T);
          else reject(error);
        },
      ) as Asking<unknown>;
      this.#askings.add(asking);
    });
  }
}

/** An answer says for itself whether it failed. */
export function withFailure<T extends { readonly failure: wire.Failure | undefined }>(
  value: T,
): Told<T> {
  return { failure: value.failure, value };
}

/** Of the first points, as many as were looked at; those that are there stand in their order. */
export function matched(
  points: readonly Uint8Array[],
  { entries, count }: wire.ReadResponse,
): (KeyValue | undefined)[] {
  let at = 0;
  return points.slice(0, Number(count)).map((key) => {
    const entry = entries[at];
    if (entry === undefined || !equalBytes(entry.key, key)) return undefined;
    at++;
    return keyValueOf(entry);
  });
}

function wantedOutcome<K extends AnyWriteRequest["kind"]>(kind: K, outcome: Outcome): OutcomeOf<K> {
  const error = outcomeError(kind, outcome);
  if (error !== null) throw error;
  return outcome as OutcomeOf<K>;
}

/** Of the bytes of a Buffer. */
function plainOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unsupported(): HarmonyError {
  return new HarmonyError(
    "UNSUPPORTED",
    "an answer within the call needs the node in this process",
  );
}
