/** Between the database's callbacks and a call's reply: headers, refusals, and a net under every callback. */
import { EMPTY_BYTES, type HarmonyError } from "../../base/index.ts";
import { type ResponderId, responderId, type ResponseHeader } from "../../codec/index.ts";
import type { Database, Outcome, Refusal, Reply } from "../../db/index.ts";
import type { LogSink } from "../../env/index.ts";
import type { UnaryReply } from "./method.ts";
import { INTERNAL_DEFECT, refusalStatus, statusOf, thrownStatus } from "./status.ts";

/** What every service needs. */
export class ServiceContext {
  readonly database: Database;
  readonly #log: LogSink;
  readonly #responder: ResponderId;

  constructor(database: Database, log: LogSink) {
    this.database = database;
    this.#log = log;
    const { clusterId, memberId } = database.header;
    this.#responder = responderId(clusterId, memberId);
  }

  /** `revision` is the one at which the answer was made; 0 leaves it out. */
  header(revision: number): ResponseHeader {
    return { responder: this.#responder, revision, raftTerm: this.database.header.raftTerm };
  }

  /** A callback for `database.write` that answers with what `encode` makes of an outcome of kind `kind`. */
  outcome<Kind extends Exclude<Outcome["kind"], "error">>(
    kind: Kind,
    reply: UnaryReply,
    encode: (outcome: Extract<Outcome, { readonly kind: Kind }>) => Uint8Array,
  ): Reply<Outcome> {
    return this.answer(reply, (outcome) => {
      if (outcome.kind !== kind) throw new Error(`a ${kind} was answered with a ${outcome.kind}`);
      return encode(outcome as Extract<Outcome, { readonly kind: Kind }>);
    });
  }

  /**
   * A callback for the database that answers the call: an error and a refusal by the table, a value by `encode`.
   * It never throws, since it runs inside the database's turn, where a defect of a door has no business.
   */
  answer<Value extends object>(
    reply: UnaryReply,
    encode: (value: Exclude<Value, Refusal>) => Uint8Array,
  ): Reply<Value> {
    return (error: HarmonyError | null, value: Value): void => {
      if (error !== null) {
        reply(statusOf(error.code), EMPTY_BYTES);
        return;
      }
      if (isRefusal(value)) {
        reply(refusalStatus(value), EMPTY_BYTES);
        return;
      }
      let response: Uint8Array;
      try {
        response = encode(value as Exclude<Value, Refusal>);
      } catch (defect) {
        this.fail(defect, reply);
        return;
      }
      reply(null, response);
    };
  }

  /** Answers for a handler that threw. */
  fail(error: unknown, reply: UnaryReply): void {
    const status = thrownStatus(error);
    if (status === null) logDefect(this.#log, error);
    reply(status ?? INTERNAL_DEFECT, EMPTY_BYTES);
  }
}

function isRefusal(value: object): value is Refusal {
  return "kind" in value && value.kind === "error";
}

/** Message and stack, never the request: values of keys stay out of logs. */
export function logDefect(log: LogSink, error: unknown): void {
  const fields =
    error instanceof Error
      ? { error: error.message, stack: error.stack }
      : { error: String(error) };
  log("error", "grpc", "a handler failed", fields);
}
