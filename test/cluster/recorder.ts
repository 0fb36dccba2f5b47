/**
 * What concurrent clients of a cluster do and see, written down for the checkers of sim/linearizability. Every request
 * that may change a key stands in one history of the whole store, whose answers carry revisions; what a client means by
 * several requests (a counter's step, a transaction) stands in a history of its own besides.
 */
import type { ServiceError } from "@grpc/grpc-js";
import { checkLinearizability, type Model } from "../../sim/linearizability/checker.ts";
import { HistoryRecorder, type Operation } from "../../sim/linearizability/history.ts";
import type { KvInput, KvOutput } from "../../sim/linearizability/kv-model.ts";
import {
  type CounterInput,
  counterModel,
  type RegisterInput,
  registerModel,
  type RegisterOutput,
} from "../../sim/linearizability/models.ts";
import { checkRevisionOrder } from "../../sim/linearizability/revision-order.ts";
import {
  checkTransactions,
  type TransactionInput,
  type TransactionOutput,
} from "../../sim/linearizability/transactions.ts";
import { callKv } from "./kv.ts";
import type { Member } from "./member.ts";

/** What came of a request: its answer, the certainty that it never happens, or neither. */
export type Answer<Output> =
  | { readonly kind: "ok"; readonly output: Output }
  | { readonly kind: "fail" | "unknown" };

const UNAVAILABLE = 14;
const CODES_OF_FAULTS: ReadonlySet<number> = new Set([UNAVAILABLE, 4, 1]);

export class Recorder {
  readonly kv = new HistoryRecorder<KvInput, KvOutput>();
  readonly registers = new HistoryRecorder<RegisterInput, RegisterOutput>();
  readonly counters = new HistoryRecorder<CounterInput, number>();
  readonly transactions = new HistoryRecorder<TransactionInput, TransactionOutput>();
  /** What clients were told instead of an answer. */
  readonly errors: string[] = [];

  /** One request, in the history of the whole store. `waits`: until the member listens. */
  request(
    client: number,
    member: Member,
    input: KvInput,
    waits: boolean,
  ): Promise<Answer<KvOutput>> {
    return this.requestAs(client, member, input, () => callKv(member, input, waits));
  }

  /** As `request`, for a request that means `input` to whoever reads keys, and says it in other words. */
  async requestAs(
    client: number,
    member: Member,
    input: KvInput,
    call: () => Promise<KvOutput>,
  ): Promise<Answer<KvOutput>> {
    const id = this.kv.invoke(client, input, nowUs());
    try {
      const output = await call();
      this.kv.ok(id, output, nowUs());
      return { kind: "ok", output };
    } catch (error) {
      const kind = whatIsLeft(error as ServiceError);
      this.errors.push(`${member.name}, ${JSON.stringify(input)}: ${String(error)}`);
      this.kv[kind](id, nowUs());
      return { kind };
    }
  }

  /** Ends an operation of another history than that of the store. */
  end<Input, Output>(
    history: HistoryRecorder<Input, Output>,
    id: number,
    answer: Answer<Output>,
  ): void {
    if (answer.kind === "ok") history.ok(id, answer.output, nowUs());
    else history[answer.kind](id, nowUs());
  }

  /** What is wrong with the histories, for people; null: nothing. What cannot be decided is wrong. */
  fault(): string | null {
    const kv = this.kv.operations();
    const order = checkRevisionOrder(kv);
    if (order.kind !== "linearizable") return order.explanation;
    const models = [
      search(registerModel, this.registers.operations()),
      search(counterModel, this.counters.operations()),
    ];
    const wrong = models.find((explanation) => explanation !== null);
    if (wrong !== undefined) return wrong;
    const [anomaly] = checkTransactions(this.transactions.operations());
    return anomaly?.explanation ?? null;
  }
}

function search<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): string | null {
  const verdict = checkLinearizability(model, history);
  return verdict.kind === "linearizable" ? null : verdict.explanation;
}

/** A connection that was never made has carried nothing; of everything else nobody knows. */
function whatIsLeft({ code, details, message }: ServiceError): "fail" | "unknown" {
  if (!CODES_OF_FAULTS.has(code)) throw new Error(`a client erred: ${message}`);
  return code === UNAVAILABLE && details.startsWith("No connection established")
    ? "fail"
    : "unknown";
}

export function nowUs(): number {
  return Math.round(performance.now() * 1000);
}
