/**
 * What clients of the members world ask for, as plain data, in the words of the database and in those of the model that
 * judges the answers (sim/linearizability/kv-model.ts). Each value is written once, so that what is found tells who
 * wrote it.
 */
import { text, utf8 } from "../src/base/index.ts";
import {
  type AnyWriteRequest,
  type Compare,
  type Outcome,
  type RangeRequest,
  type RangeResponse,
  type RequestOp,
  type ResponseOp,
  POINT,
} from "../src/db/index.ts";
import type {
  KvCompare,
  KvInput,
  KvOutput,
  KvRecord,
  KvResult,
  KvSimpleInput,
} from "./linearizability/kv-model.ts";
import { Violation } from "./violation.ts";

/** What is asked for. Values are the numbers of the requests that write them, padded to `sizeBytes`. */
export type Ask =
  | { readonly kind: "kv"; readonly input: KvInput }
  | { readonly kind: "incr"; readonly key: string; readonly by: number }
  | { readonly kind: "lock"; readonly key: string; readonly owner: string; readonly ttlMs: number }
  | { readonly kind: "unlock"; readonly key: string; readonly owner: string };

export type Request = {
  readonly id: number;
  readonly client: number;
  /** Whom it asks. */
  readonly member: number;
  readonly timeoutMs: number | null;
  readonly ask: Ask;
};

const NO_END = new Uint8Array(0);

/** How the database is asked. */
export function toRequest(ask: Ask): AnyWriteRequest | RangeRequest {
  switch (ask.kind) {
    case "incr":
      return {
        kind: "incr",
        key: utf8(ask.key),
        by: BigInt(ask.by),
        min: null,
        max: null,
        saturate: false,
        expiry: { kind: "none" },
        expiryIfNone: false,
      };
    case "lock":
      return { kind: "lock", key: utf8(ask.key), token: utf8(ask.owner), ttlMs: ask.ttlMs };
    case "unlock":
      return { kind: "unlock", key: utf8(ask.key), token: utf8(ask.owner), fence: 0 };
    case "kv": {
      const { input } = ask;
      if (input.kind !== "txn") return toOp(input);
      return {
        kind: "txn",
        compare: input.compare.map(toCompare),
        success: input.success.map(toOp),
        failure: input.failure.map(toOp),
      };
    }
  }
}

export function isReadOnly(ask: Ask): boolean {
  if (ask.kind !== "kv") return false;
  const { input } = ask;
  if (input.kind === "txn") return ![...input.success, ...input.failure].some(isWrite);
  return input.kind === "get" || input.kind === "stale-get";
}

function isWrite({ kind }: KvSimpleInput): boolean {
  return kind !== "get";
}

function toOp(
  input: Exclude<KvInput, { readonly kind: "txn" }>,
): Exclude<RequestOp, { readonly kind: "txn" | "unset" }> {
  const key = utf8(input.key);
  switch (input.kind) {
    case "put":
      return {
        kind: "put",
        key,
        value: utf8(input.value),
        lease: 0n,
        prevKv: false,
        ignoreValue: false,
        ignoreLease: false,
      };
    case "delete":
      return { kind: "deleteRange", key, rangeEnd: NO_END, prevKv: false };
    case "get":
    case "stale-get":
      return { ...POINT, key, serializable: input.kind === "stale-get" };
  }
}

function toCompare({ key, target, relation, operand }: KvCompare): Compare {
  const results = { "=": "equal", "!=": "notEqual", "<": "less", ">": "greater" } as const;
  const of = { key: utf8(key), rangeEnd: NO_END, result: results[relation] };
  if (target === "value") return { ...of, operand: { target, bytes: utf8(String(operand)) } };
  const targets = { version: "version", createRevision: "create", modRevision: "mod" } as const;
  return { ...of, operand: { target: targets[target], number: Number(operand) } };
}

/** What the model is to judge of an answer to a `kv` request. */
export function toOutput(outcome: Outcome | RangeResponse): KvOutput {
  if (outcome.kind === "txn") {
    const { revision, succeeded, responses } = outcome;
    return { revision, succeeded, results: responses.map(toResult) };
  }
  if (outcome.kind === "put" || outcome.kind === "deleteRange" || outcome.kind === "range")
    return { revision: outcome.revision, succeeded: true, results: [toResult(outcome)] };
  throw new Violation("an answer is of the kind of its request", outcome.kind);
}

function toResult(response: ResponseOp): KvResult {
  switch (response.kind) {
    case "put":
      return null;
    case "deleteRange":
      return response.deleted;
    case "range":
      return recordOf(response.kvs[0]);
    case "txn":
      throw new Violation("an answer is of the kind of its request", "a transaction in another");
  }
}

function recordOf(kv: RangeResponse["kvs"][number] | undefined): KvRecord | null {
  if (kv === undefined) return null;
  const { value, createRevision, modRevision, version } = kv;
  return { value: text(value), createRevision, modRevision, version };
}
