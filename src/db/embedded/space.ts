/**
 * Where a store stands: the prefix of its keys and what its values are. Keys and values go in and out through it, so
 * that nothing else has to know of prefixes and codecs.
 */
import { compareBytes, concatBytes, HarmonyError, text } from "../../base/index.ts";
import type { KeyValue } from "../requests.ts";
import type { Codec, Entry, Key, Range } from "./api.ts";
import { assertNames, bytesOf, copyOf, flagOf, invalid, isCount } from "./arguments.ts";

/** What values are: written as `I`, read as `V`. */
export interface Conversion<V, I> {
  readonly name: string;
  encode(value: I): Uint8Array;
  decode(bytes: Uint8Array): V;
}

/** [from, to), `to` a single zero byte for "to the end" as in the requests. */
export interface Bounds {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** No key is in it. */
  readonly isEmpty: boolean;
  readonly limit: number | undefined;
  readonly reverse: boolean;
}

const ZERO: Uint8Array = new Uint8Array(1);
const RANGE_NAMES: ReadonlySet<string> = new Set([
  "prefix",
  "gt",
  "gte",
  "lt",
  "lte",
  "limit",
  "reverse",
]);

export class Space<V, I> {
  readonly prefix: Uint8Array;
  readonly #conversion: Conversion<V, I>;
  /** For puts that name none. */
  readonly ttlMs: number | undefined;

  constructor(prefix: Uint8Array, conversion: Conversion<V, I>, ttlMs: number | undefined) {
    this.prefix = prefix;
    this.#conversion = conversion;
    this.ttlMs = ttlMs;
  }

  /** A part of it. */
  within(prefix: Key, ttlMs: number | undefined): Space<V, I> {
    return new Space(this.key(prefix, true), this.#conversion, ttlMs ?? this.ttlMs);
  }

  /** A part of it with values of another kind. */
  converted<W>(prefix: Key, codec: Codec<W>, ttlMs: number | undefined): Space<W, W> {
    if (
      typeof codec !== "object" ||
      codec === null ||
      typeof codec.encode !== "function" ||
      typeof codec.decode !== "function"
    )
      throw invalid("a codec has encode and decode");
    return new Space(this.key(prefix, true), codec, ttlMs ?? this.ttlMs);
  }

  /** Bytes that belong to the request. An empty key is refused, in a scope as at the root. */
  key(key: Key, mayBeEmpty: boolean = false): Uint8Array {
    if (this.prefix.length === 0) return copyOf(key);
    const bytes = bytesOf(key);
    if (bytes.length === 0 && !mayBeEmpty) throw new HarmonyError("KEY_EMPTY");
    return concatBytes(this.prefix, bytes);
  }

  /** The key of a request that is encoded within the call: a view at the root. */
  keyView(key: Key): Uint8Array {
    return this.prefix.length === 0 ? bytesOf(key) : this.key(key);
  }

  value(value: I): Uint8Array {
    try {
      return bytesOf(this.#conversion.encode(value));
    } catch (thrown) {
      throw thrown instanceof HarmonyError
        ? thrown
        : invalid(`${this.#conversion.name} does not take the value`, thrown);
    }
  }

  read(value: Uint8Array): V {
    try {
      return this.#conversion.decode(value);
    } catch (thrown) {
      throw thrown instanceof HarmonyError
        ? thrown
        : invalid(`the value is no ${this.#conversion.name}`, thrown);
    }
  }

  /** The key as the store's user knows it. */
  outer(key: Uint8Array): Uint8Array {
    return this.prefix.length === 0 ? key : key.slice(this.prefix.length);
  }

  entry(kv: KeyValue): Entry<V> {
    const rawKey = this.outer(kv.key);
    const entry = {
      key: text(rawKey),
      rawKey,
      value: this.read(kv.value),
      rev: kv.modRevision,
      createRev: kv.createRevision,
      version: kv.version,
      lease: kv.lease,
    };
    return kv.deadlineMs === undefined ? entry : { ...entry, expiresAt: kv.deadlineMs };
  }

  bounds(range: Range): Bounds {
    assertNames(range, RANGE_NAMES, "a range");
    const { limit, prefix, gte, gt, lt, lte } = range;
    if (limit !== undefined && !isCount(limit)) throw invalid("limit is a whole number from 0");
    const reverse = flagOf(range.reverse, "reverse");
    let from: Uint8Array = this.prefix.length === 0 ? ZERO : this.prefix;
    let to: Uint8Array | null = prefixEnd(this.prefix);
    const atLeast = (key: Uint8Array): void => {
      if (compareBytes(key, from) > 0) from = key;
    };
    const below = (key: Uint8Array | null): void => {
      if (key !== null && (to === null || compareBytes(key, to) < 0)) to = key;
    };
    if (prefix !== undefined) {
      const bytes = this.key(prefix, true);
      atLeast(bytes);
      below(prefixEnd(bytes));
    }
    if (gte !== undefined) atLeast(this.key(gte, true));
    if (gt !== undefined) atLeast(successor(this.key(gt, true)));
    if (lt !== undefined) below(this.key(lt, true));
    if (lte !== undefined) below(successor(this.key(lte, true)));
    const end = to as Uint8Array | null;
    const isEmpty = limit === 0 || (end !== null && compareBytes(from, end) >= 0);
    return { ...(isEmpty ? NOTHING : { from, to: end ?? ZERO }), isEmpty, limit, reverse };
  }
}

/** An end before the beginning, which every check of a request lets pass. */
export const NOTHING: { readonly from: Uint8Array; readonly to: Uint8Array } = Object.freeze({
  from: new Uint8Array([2]),
  to: new Uint8Array([1]),
});

/** The first key after `key`. */
export function successor(key: Uint8Array): Uint8Array {
  const out = new Uint8Array(key.length + 1);
  out.set(key);
  return out;
}

/** The first key after all that begin with `prefix`, or null when there is none. */
function prefixEnd(prefix: Uint8Array): Uint8Array | null {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] !== 0xff) {
      const end = prefix.slice(0, i + 1);
      end[i] = (end[i] as number) + 1;
      return end;
    }
  }
  return null;
}
