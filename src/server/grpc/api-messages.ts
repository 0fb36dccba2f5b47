/** Parts of the messages of harmonydb.v1.Api that its services share. */
import type { ErrorCode, HarmonyError } from "../../base/index.ts";
import { apiMessages as wire, DecodeError } from "../../codec/index.ts";
import type { KeyValue } from "../../db/index.ts";

export type Failed = { readonly code: ErrorCode; readonly message?: string } & Partial<
  Pick<HarmonyError, "maybeApplied">
>;

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
