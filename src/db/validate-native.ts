/** What can be said of HarmonyDB's own commands without looking at the data: see validate.ts. */
import type { ErrorCode } from "../base/index.ts";
import { KEY_LENGTH_MAX } from "../mvcc/index.ts";
import { INT64_MAX, INT64_MIN, SIGNED_MAX } from "./command-fields.ts";
import { TOKEN_LENGTH_MAX } from "./command-native.ts";
import { KeySet } from "./key-set.ts";
import type { Condition, Expiry, MSetRequest, NativeRequest } from "./requests.ts";

type Refused = ErrorCode | null;

/** Keys in one mset or mdel: as many as operations in a transaction in process (data-model.md). */
export const MANY_KEYS_MAX = 10_000;

/** The longest TTL: that of a lease. */
const TTL_MS_MAX = 9_000_000_000_000;

export function validateKey(key: Uint8Array): Refused {
  if (key.length === 0) return "KEY_EMPTY";
  return key.length > KEY_LENGTH_MAX ? "KEY_TOO_LARGE" : null;
}

export function validateNative(request: NativeRequest): Refused {
  switch (request.kind) {
    case "set":
      return (
        validateKey(request.key) ?? both(isExpiry(request.expiry), isCondition(request.condition))
      );
    case "incr": {
      const { by, min, max, expiry } = request;
      const isBounded = min === null || max === null || min <= max;
      return (
        validateKey(request.key) ??
        both(
          isInt64(by) && (min === null || isInt64(min)) && (max === null || isInt64(max)),
          isBounded && isExpiry(expiry),
        )
      );
    }
    case "append":
      return validateKey(request.key);
    case "setRange":
      return (
        validateKey(request.key) ??
        (Number.isSafeInteger(request.offset) && request.offset >= 0 ? null : "INVALID_ARGUMENT")
      );
    case "mset":
      return (
        validateKeys(request.items.map(({ key }) => key)) ??
        both(isExpiry(request.expiry), ["none", "absent", "present"].includes(request.condition))
      );
    case "mdel":
      return validateKeys(request.keys);
    case "expireKey": {
      const { expiry, condition } = request;
      // An expiry that is over deletes the key; only here it may be asked for by a TTL.
      const isTime = expiry.kind === "after" ? isTtl(expiry.ttlMs, -TTL_MS_MAX) : isExpiry(expiry);
      return (
        validateKey(request.key) ??
        both(isTime && (expiry as Expiry).kind !== "keep", isCondition(condition))
      );
    }
    case "lock":
    case "extendLock":
      return validateKey(request.key) ?? both(isToken(request.token), isTtl(request.ttlMs, 1));
    case "unlock":
      return validateKey(request.key) ?? both(isToken(request.token), true);
    case "sessionOpen":
      return both(Number.isSafeInteger(request.session), request.session >= 0);
    case "sessionClose":
      return both(Number.isSafeInteger(request.session), request.session >= 1);
    case "configure":
      return both(
        isSetting(request.retentionMs) && isSetting(request.retentionRevisions),
        isSetting(request.quotaBytes),
      );
    default:
      request satisfies never;
      return "INVALID_ARGUMENT";
  }
}

/** Of keys that come twice the last value counts, so the others are left out before the command is made. */
export function withoutRepeats(request: MSetRequest): MSetRequest {
  const seen = new KeySet();
  const kept: MSetRequest["items"][number][] = [];
  for (let i = request.items.length - 1; i >= 0; i--) {
    const item = request.items[i] as MSetRequest["items"][number];
    if (seen.add(item.key)) kept.push(item);
  }
  return kept.length === request.items.length ? request : { ...request, items: kept.toReversed() };
}

function both(isGood: boolean, isAlsoGood: boolean): Refused {
  return isGood && isAlsoGood ? null : "INVALID_ARGUMENT";
}

function validateKeys(keys: readonly Uint8Array[]): Refused {
  if (keys.length === 0) return "INVALID_ARGUMENT";
  if (keys.length > MANY_KEYS_MAX) return "TOO_MANY_OPS";
  for (const key of keys) {
    // Looked at before the command is made, for repeats.
    if (!(key instanceof Uint8Array)) return "INVALID_ARGUMENT";
    const refused = validateKey(key);
    if (refused !== null) return refused;
  }
  return null;
}

function isToken(token: Uint8Array): boolean {
  return token.length > 0 && token.length <= TOKEN_LENGTH_MAX;
}

function isTtl(ttlMs: number, min: number): boolean {
  return Number.isInteger(ttlMs) && ttlMs >= min && ttlMs <= TTL_MS_MAX;
}

function isSetting(value: number | undefined): boolean {
  return value === undefined || (Number.isInteger(value) && value >= 0 && value <= SIGNED_MAX);
}

function isInt64(value: bigint): boolean {
  return typeof value === "bigint" && value >= INT64_MIN && value <= INT64_MAX;
}

function isExpiry(expiry: Expiry): boolean {
  switch (expiry.kind) {
    case "none":
    case "keep":
      return true;
    case "after":
      return isTtl(expiry.ttlMs, 1);
    case "at":
      return Number.isInteger(expiry.atMs) && Math.abs(expiry.atMs) <= 2 * TTL_MS_MAX;
    default:
      expiry satisfies never;
      return false;
  }
}

function isCondition(condition: Condition | null): boolean {
  if (condition === null) return true;
  switch (condition.kind) {
    case "absent":
    case "present":
      return true;
    case "value":
    case "notValue":
      return condition.value instanceof Uint8Array;
    case "revision":
      return Number.isInteger(condition.revision);
    default:
      condition satisfies never;
      return false;
  }
}
