/** Parts of the messages of harmonydb.v1.Api that its services share. */
import type { ErrorCode, HarmonyError } from "../../base/index.ts";
import { apiMessages as wire, DecodeError } from "../../codec/index.ts";
import type { CallOptions, KeyValue, Refusal } from "../../db/index.ts";
import type { Call, Method, UnaryHandler } from "./method.ts";

export type Failed = { readonly code: ErrorCode; readonly message?: string } & Partial<
  Pick<HarmonyError, "maybeApplied">
>;

export function unary(name: string, handle: UnaryHandler): Method {
  return { kind: "unary", path: `/harmonydb.v1.Api/${name}`, handle };
}

/** 0 milliseconds: the node's own; of patience none. */
export function optionsOf({ signal }: Call, timeoutMs: bigint, patienceMs = 0n): CallOptions {
  return {
    signal,
    ...(timeoutMs > 0n ? { timeoutMs: Number(timeoutMs) } : {}),
    ...(patienceMs > 0n ? { patienceMs: Number(patienceMs) } : {}),
  };
}

interface Message<T> {
  decode(bytes: Uint8Array): T;
  encode(message: T): { finish(): Uint8Array };
}

export function decode<T>(message: Message<T>, bytes: Uint8Array): T {
  try {
    return message.decode(bytes);
  } catch (error) {
    throw new DecodeError(error instanceof Error ? error.message : String(error), 0);
  }
}

export function encode<T>(message: Message<T>, value: T): Uint8Array {
  return message.encode(value).finish();
}

/** A message begins with the sentence of its code, which the other end has, too. */
export function failureOf({ code, message = "", maybeApplied = false }: Failed): wire.Failure {
  const split = message.indexOf(": ");
  return { code, detail: split < 0 ? "" : message.slice(split + 2), maybe_applied: maybeApplied };
}

export function refusalOf({ code, detail }: Refusal): wire.Failure {
  return { code, detail: detail ?? "", maybe_applied: false };
}

/** Why there is no answer, if there is none. */
export function failureIn(
  error: HarmonyError | null,
  response: { readonly kind: string },
): wire.Failure | null {
  if (error !== null) return failureOf(error);
  return response.kind === "error" ? refusalOf(response as Refusal) : null;
}

export function entryOf(kv: KeyValue): wire.Entry {
  return {
    key: kv.key,
    value: kv.value,
    create_revision: BigInt(kv.createRevision),
    mod_revision: BigInt(kv.modRevision),
    version: BigInt(kv.version),
    lease: kv.lease,
    deadline_ms: BigInt(kv.deadlineMs ?? 0),
    is_lock: kv.isLock === true,
  };
}
