/**
 * Clients that work on a cluster through all of its members until they are stopped: registers with compare-and-set,
 * counters, transactions over several lists, and keys that are written once. The keys of one load are its own.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../../src/base/index.ts";
import type { KvCompare, KvRecord, KvResult } from "../../sim/linearizability/kv-model.ts";
import type {
  TransactionInput,
  TransactionOutput,
} from "../../sim/linearizability/transactions.ts";
import type { Member } from "./member.ts";
import { type Answer, nowUs, type Recorder } from "./recorder.ts";

const REGISTERS = 3;
const COUNTERS = 2;
const LISTS = 4;
/** A list is read whole each time, so it gives way to another one. */
const LIST_LENGTH_MAX = 40;
/** After a failure, so that one that is down is not asked without a pause. */
const PAUSE_MS = 50;

export interface LoadOptions {
  /** Before all of its keys. */
  readonly prefix: string;
  /** Of each kind of client, through each member. */
  readonly clients?: number;
  /** Between two requests of a client. */
  readonly paceMs?: number;
  /** Clients wait until their member listens again. */
  readonly waits?: boolean;
}

/** One client's ways to ask, through one member. */
interface Asking {
  readonly client: number;
  readonly member: Member;
}

export class Load {
  readonly #recorder: Recorder;
  readonly #random: Random;
  readonly #options: Required<LoadOptions>;
  readonly #clients: Promise<void>[] = [];
  readonly #inserted: string[] = [];
  readonly #answered: Map<Member, number> = new Map();
  readonly #lists: string[] = [];
  readonly #lengths: Map<string, number> = new Map();
  #listsMade = 0;
  #values = 0;
  #isStopped = false;
  #defect: unknown = null;

  constructor(
    recorder: Recorder,
    random: Random,
    members: readonly Member[],
    options: LoadOptions,
  ) {
    this.#recorder = recorder;
    this.#random = random;
    this.#options = { clients: 1, paceMs: 4, waits: false, ...options };
    for (let i = 0; i < LISTS; i++) this.#lists.push(this.#newList());
    const kinds = [
      (asking: Asking) => this.#useRegister(asking),
      (asking: Asking) => this.#useCounter(asking),
      (asking: Asking) => this.#transact(asking),
      (asking: Asking) => this.#insert(asking),
    ];
    for (const member of members)
      for (let i = 0; i < this.#options.clients; i++)
        for (const act of kinds)
          this.#clients.push(this.#run({ client: this.#clients.length, member }, act));
  }

  get prefix(): string {
    return this.#options.prefix;
  }

  /** Keys that were written once and acknowledged. */
  get inserted(): readonly string[] {
    return this.#inserted;
  }

  /** Operations that were answered through this member. */
  answeredBy(member: Member): number {
    return this.#answered.get(member) ?? 0;
  }

  /** Every client ends what it does. Throws what one of them threw. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#clients);
    if (this.#defect !== null) throw this.#defect;
  }

  /** For the histories: the last word on every key, through this member. */
  async readAll(member: Member): Promise<void> {
    const asking = { client: this.#clients.length, member };
    for (let i = 0; i < REGISTERS; i++) await this.#readRegister(asking, this.#key("r", i));
    for (let i = 0; i < COUNTERS; i++) await this.#readCounter(asking, this.#key("c", i));
    for (let i = 0; i < this.#listsMade; i++)
      await this.#runTransaction(asking, [{ kind: "read", key: this.#key("l", i) }]);
  }

  async #run(asking: Asking, act: (asking: Asking) => Promise<boolean>): Promise<void> {
    try {
      while (!this.#isStopped) {
        const isAnswered = await act(asking);
        if (isAnswered) this.#answered.set(asking.member, this.answeredBy(asking.member) + 1);
        await delay(isAnswered ? this.#options.paceMs : PAUSE_MS);
      }
    } catch (defect) {
      this.#defect ??= defect;
    }
  }

  // ---- registers ----

  async #useRegister(asking: Asking): Promise<boolean> {
    const { registers } = this.#recorder;
    const key = this.#key("r", this.#random.below(REGISTERS));
    const value = this.#newValue(asking.client);
    if (this.#random.percent(40)) return this.#readRegister(asking, key);
    if (this.#random.percent(10)) return isOk(await this.#ask(asking, { kind: "stale-get", key }));
    if (this.#random.percent(40)) {
      const id = registers.invoke(asking.client, { kind: "write", key, value }, nowUs());
      const answer = await this.#ask(asking, { kind: "put", key, value });
      this.#recorder.end(
        registers,
        id,
        map(answer, () => null),
      );
      return isOk(answer);
    }
    const before = await this.#get(asking, key);
    if (before.kind !== "ok") return false;
    const expected = before.output?.value ?? null;
    const id = registers.invoke(asking.client, { kind: "cas", key, expected, value }, nowUs());
    const compare: KvCompare =
      expected === null
        ? { key, target: "version", relation: "=", operand: 0 }
        : { key, target: "value", relation: "=", operand: expected };
    const answer = await this.#ask(asking, {
      kind: "txn",
      compare: [compare],
      success: [{ kind: "put", key, value }],
      failure: [],
    });
    this.#recorder.end(
      registers,
      id,
      map(answer, ({ succeeded }) => succeeded),
    );
    return isOk(answer);
  }

  async #readRegister(asking: Asking, key: string): Promise<boolean> {
    const { registers } = this.#recorder;
    const id = registers.invoke(asking.client, { kind: "read", key }, nowUs());
    const answer = await this.#get(asking, key);
    this.#recorder.end(
      registers,
      id,
      map(answer, (record) => record?.value ?? null),
    );
    return isOk(answer);
  }

  // ---- counters ----

  async #useCounter(asking: Asking): Promise<boolean> {
    const { counters } = this.#recorder;
    const key = this.#key("c", this.#random.below(COUNTERS));
    if (this.#random.percent(30)) return this.#readCounter(asking, key);
    const by = 1 + this.#random.below(3);
    const id = counters.invoke(asking.client, { kind: "incr", key, by }, nowUs());
    const answer = await this.#add(asking, key, by);
    this.#recorder.end(counters, id, answer);
    return isOk(answer);
  }

  /** Compare-and-set until it holds: an attempt that found another value has certainly changed nothing. */
  async #add(asking: Asking, key: string, by: number): Promise<Answer<number>> {
    for (;;) {
      const before = await this.#get(asking, key);
      if (before.kind !== "ok") return { kind: "fail" };
      const sum = Number(before.output?.value ?? 0) + by;
      const answer = await this.#ask(asking, {
        kind: "txn",
        compare: [unchanged(key, before.output)],
        success: [{ kind: "put", key, value: String(sum) }],
        failure: [],
      });
      if (answer.kind !== "ok") return { kind: answer.kind };
      if (answer.output.succeeded) return { kind: "ok", output: sum };
    }
  }

  async #readCounter(asking: Asking, key: string): Promise<boolean> {
    const { counters } = this.#recorder;
    const id = counters.invoke(asking.client, { kind: "read", key }, nowUs());
    const answer = await this.#get(asking, key);
    this.#recorder.end(
      counters,
      id,
      map(answer, (record) => Number(record?.value ?? 0)),
    );
    return isOk(answer);
  }

  // ---- transactions ----

  #transact(asking: Asking): Promise<boolean> {
    const parts: TransactionInput[number][] = [];
    for (let i = 1 + this.#random.below(3); i > 0; i--) {
      const at = this.#random.below(LISTS);
      const key = this.#lists[at] as string;
      if ((this.#lengths.get(key) ?? 0) > LIST_LENGTH_MAX) this.#lists[at] = this.#newList();
      parts.push(
        this.#random.percent(60)
          ? { kind: "append", key, value: this.#newValue(asking.client) }
          : { kind: "read", key },
      );
    }
    return this.#runTransaction(asking, parts);
  }

  /** Reads all its lists at once and changes them if none has changed since; else it has not happened. */
  async #runTransaction(asking: Asking, input: TransactionInput): Promise<boolean> {
    const { transactions } = this.#recorder;
    const id = transactions.invoke(asking.client, input, nowUs());
    const answer = await this.#tryTransaction(asking, input);
    this.#recorder.end(transactions, id, answer);
    return isOk(answer);
  }

  async #tryTransaction(
    asking: Asking,
    input: TransactionInput,
  ): Promise<Answer<TransactionOutput>> {
    const keys = [...new Set(input.map(({ key }) => key))];
    const seen = await this.#ask(asking, {
      kind: "txn",
      compare: [],
      success: keys.map((key) => ({ kind: "get", key })),
      failure: [],
    });
    if (seen.kind !== "ok") return { kind: "fail" };
    const records = new Map(keys.map((key, i) => [key, recordOf(seen.output.results[i])]));
    const lists = new Map(keys.map((key) => [key, listOf(records.get(key) ?? null)]));
    const changed = new Set<string>();
    const output: (readonly (string | number)[] | null)[] = [];
    for (const part of input) {
      const list = lists.get(part.key) as (string | number)[];
      if (part.kind === "append") {
        list.push(part.value);
        changed.add(part.key);
        output.push(null);
      } else output.push([...list]);
    }
    for (const [key, list] of lists) this.#lengths.set(key, list.length);
    if (changed.size === 0) return { kind: "ok", output };
    const answer = await this.#ask(asking, {
      kind: "txn",
      compare: keys.map((key) => unchanged(key, records.get(key) ?? null)),
      success: [...changed].map((key) => ({
        kind: "put",
        key,
        value: JSON.stringify(lists.get(key)),
      })),
      failure: [],
    });
    if (answer.kind !== "ok") return { kind: answer.kind };
    return answer.output.succeeded ? { kind: "ok", output } : { kind: "fail" };
  }

  #newList(): string {
    return this.#key("l", this.#listsMade++);
  }

  // ---- keys that are written once ----

  async #insert(asking: Asking): Promise<boolean> {
    const key = `${this.#options.prefix}w${this.#newValue(asking.client)}`;
    const answer = await this.#ask(asking, { kind: "put", key, value: "there" });
    if (answer.kind === "ok") this.#inserted.push(key);
    return isOk(answer);
  }

  // ---- asking ----

  #newValue(client: number): string {
    return `${client}.${this.#values++}`;
  }

  #key(kind: string, number: number): string {
    return `${this.#options.prefix}${kind}${number}`;
  }

  #ask(
    { client, member }: Asking,
    input: Parameters<Recorder["request"]>[2],
  ): ReturnType<Recorder["request"]> {
    return this.#recorder.request(client, member, input, this.#options.waits);
  }

  async #get(asking: Asking, key: string): Promise<Answer<KvRecord | null>> {
    const answer = await this.#ask(asking, { kind: "get", key });
    return map(answer, ({ results }) => recordOf(results[0]));
  }
}

function isOk(answer: Answer<unknown>): boolean {
  return answer.kind === "ok";
}

function map<From, To>(answer: Answer<From>, to: (output: From) => To): Answer<To> {
  return answer.kind === "ok" ? { kind: "ok", output: to(answer.output) } : answer;
}

function unchanged(key: string, record: KvRecord | null): KvCompare {
  return { key, target: "modRevision", relation: "=", operand: record?.modRevision ?? 0 };
}

function recordOf(result: KvResult | undefined): KvRecord | null {
  if (result === undefined || typeof result === "number") throw new Error("a read has no record");
  return result;
}

function listOf(record: KvRecord | null): (string | number)[] {
  return record === null ? [] : (JSON.parse(record.value) as (string | number)[]);
}
