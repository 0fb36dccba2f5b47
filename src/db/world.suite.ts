/** For tests: a node on a simulated machine, driven until something has come to its end. */
import { assert, type HarmonyError, text, utf8 } from "../base/index.ts";
import { type Env, runIo } from "../env/index.ts";
import { type CrashMode, SimEnv, type SimEnvOptions } from "../env/sim/index.ts";
import type { Node } from "./node.ts";
import type { NodeOptions } from "./node-options.ts";
import { openNode } from "./open-node.ts";
import type {
  AnyWriteRequest,
  LeaseStatus,
  Outcome,
  PutRequest,
  RangeRequest,
  RangeResponse,
  Refusal,
  WriteRequest,
} from "./requests.ts";
import type { CallOptions, Reply } from "./database.ts";

export const DATA = "data";
export const LOG = (path: string): boolean =>
  path.startsWith(`${DATA}/wal/`) || path.startsWith(`${DATA}/tmp/next`);
export const TREE = `${DATA}/db/0.hdb`;

const EVENTS_MAX = 500_000;

/** What became of a question. */
export interface Answer<T> {
  isThere: boolean;
  /** How often the reply was called: it has to be once. */
  count: number;
  error: HarmonyError | null;
  value: T | undefined;
  atMs: number;
}

export class World {
  readonly machine: SimEnv;
  readonly logged: string[] = [];
  readonly answers: Answer<unknown>[] = [];
  fatal: HarmonyError | null = null;
  node!: Node;
  #env: Env | null = null;

  constructor(
    sim: Omit<SimEnvOptions, "seed"> & { readonly seed?: number } = {},
    machine?: SimEnv,
  ) {
    this.machine =
      machine ??
      new SimEnv({
        seed: 1,
        log: (level, _, message) => this.logged.push(`${level}: ${message}`),
        ...sim,
      });
  }

  get nowMs(): number {
    return this.machine.scheduler.nowMs;
  }

  get env(): Env {
    this.#env ??= this.machine.boot();
    return this.#env;
  }

  /** Opens the node, or throws what it refused with. */
  open(options: Partial<NodeOptions> = {}): this {
    const outcome = this.tryOpen(options);
    if (outcome instanceof Error) throw outcome;
    return this;
  }

  tryOpen(options: Partial<NodeOptions> = {}): Node | Error {
    let outcome: Node | Error | null = null;
    this.startOpen(options, (result) => {
      outcome = result;
    });
    this.until(() => outcome !== null);
    return outcome as unknown as Node | Error;
  }

  /** Begins to open the node; `over` is called with it, or with what it refused with, unless its process ends before. */
  startOpen(options: Partial<NodeOptions>, over: (result: Node | Error) => void): void {
    const io = openNode(this.env, { dataDir: DATA, walSegmentBytes: 64 * 1024, ...options });
    runIo(io, (error, opened) => {
      if (error !== null) {
        over(error as Error);
        return;
      }
      const node = opened as Node;
      this.node = node;
      this.fatal = null;
      node.onFatal((fatal) => {
        assert(this.fatal === null, "a node stops once");
        this.fatal = fatal;
      });
      over(node);
    });
  }

  /** Throws what the close threw. */
  close(): void {
    const ending = this.startClose();
    this.until(() => ending.isOver);
    if (ending.error !== null) throw ending.error as Error;
    assert(
      this.answers.every(({ count }) => count === 1),
      "everybody was answered once",
    );
  }

  startClose(): { isOver: boolean; error: unknown; atMs: number } {
    const ending = { isOver: false, error: null as unknown, atMs: 0 };
    runIo(this.node.close(), (error) => {
      ending.isOver = true;
      ending.error = error;
      ending.atMs = this.nowMs;
    });
    return ending;
  }

  kill(): this {
    this.machine.kill();
    this.#env = null;
    this.answers.length = 0;
    return this;
  }

  losePower(mode?: CrashMode): this {
    this.machine.losePower(mode);
    this.#env = null;
    this.answers.length = 0;
    return this;
  }

  until(isOver: () => boolean): void {
    for (let events = 0; !isOver(); events++) {
      if (events > EVENTS_MAX || !this.machine.scheduler.step())
        throw new Error(`nothing more happens after ${events} events, at ${this.nowMs} ms`);
    }
  }

  pass(ms: number): void {
    this.machine.scheduler.runUntil(this.nowMs + ms);
  }

  ask<T>(question: (reply: Reply<T>) => void): Answer<T> {
    const answer: Answer<T> = { isThere: false, count: 0, error: null, value: undefined, atMs: 0 };
    this.answers.push(answer as Answer<unknown>);
    question((error, value) => {
      answer.isThere = true;
      answer.count++;
      answer.error = error;
      answer.value = value;
      answer.atMs = this.nowMs;
    });
    return answer;
  }

  write(request: AnyWriteRequest, options: CallOptions = {}): Answer<Outcome> {
    return this.ask((reply) => this.node.database.write(request, options, reply));
  }

  put(
    key: string,
    value = "",
    options: CallOptions & { readonly lease?: bigint } = {},
  ): Answer<Outcome> {
    return this.write(putRequest(key, value, options.lease), options);
  }

  range(request: RangeRequest, options: CallOptions = {}): Answer<RangeResponse | Refusal> {
    return this.ask((reply) => this.node.database.range(request, options, reply));
  }

  leaseStatus(id: bigint): LeaseStatus {
    return this.now(
      this.ask<LeaseStatus>((reply) => this.node.database.leaseStatus(id, false, {}, reply)),
    );
  }

  /** Waits for the answer, which must be no error. */
  now<T>(answer: Answer<T>): T {
    this.until(() => answer.isThere);
    if (answer.error !== null) throw answer.error;
    return answer.value as T;
  }

  putNow(key: string, value = ""): void {
    const outcome = this.now(this.put(key, value));
    assert(outcome.kind === "put", `a put is answered as one, not ${outcomeOf(outcome)}`);
  }

  get(key: string): string | undefined {
    const outcome = this.now(this.range(rangeRequest(key)));
    assert(outcome.kind === "range", "a range is answered as one");
    const [kv] = outcome.kvs;
    return kv === undefined ? undefined : text(kv.value);
  }
}

/** As short as a test wants to compare it: "ok", a refusal's code, or an error with its doubt. */
export function outcomeOf(answer: Answer<unknown> | { readonly kind: string }): string {
  if ("kind" in answer) return answer.kind === "error" ? (answer as Refusal).code : "ok";
  if (!answer.isThere) return "nothing yet";
  if (answer.error !== null) return `${answer.error.code} maybe=${answer.error.maybeApplied}`;
  const value = answer.value as { readonly kind?: string } | undefined;
  return value?.kind === "error" ? (value as Refusal).code : "ok";
}

export function putRequest(key: string, value: string, lease = 0n): PutRequest {
  return {
    kind: "put",
    key: utf8(key),
    value: utf8(value),
    lease,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  };
}

export function deleteRequest(key: string, rangeEnd = ""): WriteRequest {
  return { kind: "deleteRange", key: utf8(key), rangeEnd: utf8(rangeEnd), prevKv: false };
}

export function rangeRequest(key: string, serializable = false): RangeRequest {
  return {
    kind: "range",
    key: utf8(key),
    rangeEnd: new Uint8Array(0),
    limit: 0,
    revision: 0,
    sortOrder: "none",
    sortTarget: "key",
    serializable,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  };
}
