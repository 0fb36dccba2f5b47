/**
 * Requests and outcomes on their way between a program elsewhere and a member, in the words of the log: one format for
 * every kind of write, total in decoding, and nothing lost that a program in process would see.
 *
 * What a node decides stands open on the way: a lease and a session without an id, which a command in the log cannot be.
 */
import { AssertionError, HarmonyError } from "../base/index.ts";
import { decodeCommand, encodeCommand } from "./command.ts";
import { INT64_MIN } from "./command-fields.ts";
import { decodeOutcome } from "./outcome.ts";
import type { AnyWriteRequest, Outcome } from "./requests.ts";
import { validateWrite } from "./validate.ts";

export { encodeWholeOutcome } from "./outcome.ts";

/** Stand for an id that the node is to choose; whoever asks for a lease or a session of a certain id names others. */
const OPEN_LEASE = INT64_MIN;
const OPEN_SESSION: number = Number.MAX_SAFE_INTEGER;
/** Each node has limits of its own and checks them. */
const NO_LIMITS = {
  maxRequestBytes: Number.POSITIVE_INFINITY,
  maxTxnOps: Number.POSITIVE_INFINITY,
} as const;

/** Throws what is wrong with the request whatever the data is, limits of the node aside. */
export function encodeRequest(request: AnyWriteRequest): Uint8Array {
  const refused = validateWrite(request, NO_LIMITS);
  if (refused !== null) throw new HarmonyError(refused);
  return encodeCommand(opened(request), { leaseTtlSecondsMin: 0 });
}

function opened(request: AnyWriteRequest): AnyWriteRequest {
  if (request.kind === "leaseGrant" && request.id === 0n) return { ...request, id: OPEN_LEASE };
  if (request.kind === "sessionOpen" && request.session === 0)
    return { ...request, session: OPEN_SESSION };
  return request;
}

/** Null: the bytes are no request that anybody outside of a node makes. */
export function decodeRequest(bytes: Uint8Array): AnyWriteRequest | null {
  const command = decodeCommand(bytes);
  const { kind } = command;
  // What nodes alone propose, and what has its place beside the request.
  if (kind === "malformed" || kind === "expire" || kind === "raiseRevision") return null;
  if (kind === "memberNews" || kind === "alarm" || kind === "once") return null;
  if (kind === "leaseGrant") {
    const { id, ttlSeconds } = command;
    return { kind, id: id === OPEN_LEASE ? 0n : id, ttlSeconds: BigInt(ttlSeconds) };
  }
  return kind === "sessionOpen" && command.session === OPEN_SESSION
    ? { kind, session: 0 }
    : command;
}

/** Null: the bytes are no outcome. */
export function decodeWholeOutcome(bytes: Uint8Array): Outcome | null {
  try {
    return decodeOutcome(bytes);
  } catch (thrown) {
    if (thrown instanceof AssertionError) return null;
    throw thrown;
  }
}
