/** Parts of requests that several calls have: how to read, what must hold of a key, when it ends. */
import { assert, EMPTY_BYTES } from "../../base/index.ts";
import type {
  Condition as KeyCondition,
  DeleteRangeRequest,
  Expiry,
  RangeRequest,
  TxnRequest,
  TxnResponse,
} from "../requests.ts";
import type { Condition, Read, Write } from "./api.ts";
import { assertObject, countOf, flagOf, int64Of, invalid, NO_OPTIONS, ttlOf } from "./arguments.ts";
import { POINT } from "../point.ts";
import type { Space } from "./space.ts";

/** A key that is written without a time to live has none. */
export const NO_END: Exclude<Expiry, { readonly kind: "keep" }> = Object.freeze({ kind: "none" });

/** By the call, or by the scope that it goes through. */
export function expiryOf(
  space: Pick<Space<unknown, unknown>, "ttlMs">,
  ttlMs: number | undefined,
): Expiry {
  const after = ttlMs ?? space.ttlMs;
  return after === undefined ? NO_END : { kind: "after", ttlMs: ttlOf(after, "ttlMs") };
}

/** What the options demand of the present version; null for nothing. */
export function conditionOf<I>(
  space: Space<unknown, I>,
  options: Condition<I>,
): KeyCondition | null {
  if (options === NO_OPTIONS) return null;
  const found: KeyCondition[] = [];
  const { ifRev, ifValue } = options;
  // Revision 0 is that of a key that is not there.
  if (countOf(ifRev, "ifRev") !== undefined)
    found.push(ifRev === 0 ? { kind: "absent" } : { kind: "revision", revision: ifRev as number });
  if (ifValue !== undefined) found.push({ kind: "value", value: space.value(ifValue) });
  if (flagOf(options.ifAbsent, "ifAbsent")) found.push({ kind: "absent" });
  if (flagOf(options.ifPresent, "ifPresent")) found.push({ kind: "present" });
  if (found.length > 1) throw invalid("one condition at a time");
  return found[0] ?? null;
}

/** 0n for none. */
export function leaseOf({ lease }: Write): bigint {
  return lease === undefined ? 0n : int64Of(lease, "lease", 1n);
}

/** A point read as the options say; the key is put in. */
export function readRequest(options: Read): RangeRequest {
  assertObject(options, "options");
  const { rev, consistency = "linearizable" } = options;
  if (consistency !== "linearizable" && consistency !== "local")
    throw invalid('consistency is "linearizable" or "local"');
  const revision = rev === undefined ? 0 : countOf(rev, "rev");
  assert(revision !== undefined, "a revision that is given is a number");
  return { ...POINT, revision, serializable: consistency === "local" };
}

/** Removes a key if the condition holds. */
export function removeIf(remove: DeleteRangeRequest, condition: KeyCondition): TxnRequest {
  const base = { key: remove.key, rangeEnd: EMPTY_BYTES, result: "equal" } as const;
  const compare =
    condition.kind === "value"
      ? ({ ...base, operand: { target: "value", bytes: condition.value } } as const)
      : ({
          ...base,
          operand: {
            target: "mod",
            number: condition.kind === "revision" ? condition.revision : 0,
          },
        } as const);
  return { kind: "txn", compare: [compare], success: [remove], failure: [] };
}

/** How many keys the transaction of `removeIf` removed. */
export function deletedBy({ responses: [first] }: TxnResponse): number {
  return first?.kind === "deleteRange" ? first.deleted : 0;
}
