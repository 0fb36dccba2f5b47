/**
 * What callers hand in is read once and checked here: behind this door a wrong value is a defect and stops the node.
 * Everything that is wrong is thrown as INVALID_ARGUMENT.
 */
import { assert, HarmonyError, utf8 } from "../../base/index.ts";
import type { CallOptions } from "../database.ts";
import type { RequestId } from "../requests.ts";
import type { Call, Repeatable, Value } from "./api.ts";

export function invalid(what: string, cause?: unknown): HarmonyError {
  return new HarmonyError("INVALID_ARGUMENT", what, { cause });
}

export function assertObject(value: object, what: string): void {
  if (typeof value !== "object" || value === null) throw invalid(`${what} is an object`);
}

/** The names that options of one kind have. */
export type Names = ReadonlySet<string>;

export const NO_OPTIONS: Readonly<Record<string, never>> = Object.freeze({});
const CALL_NAMES: readonly string[] = ["signal", "timeoutMs"];
export const CALL: Names = new Set(CALL_NAMES);
export const REPEATABLE: Names = new Set([...CALL_NAMES, "requestId"]);

export function names(base: Names, ...more: readonly string[]): Names {
  return new Set([...base, ...more]);
}

/** Refuses a name that is unknown: a misspelt option would be a wish that nobody hears. */
export function assertNames(options: object, known: Names, what: string): void {
  assertObject(options, what);
  for (const name in options)
    if (!known.has(name))
      throw invalid(`${what} ha${what.endsWith("s") ? "ve" : "s"} no "${name}"`);
}

/** Of a call that takes the options `known`. */
export function callOf(options: Call, known: Names): CallOptions {
  if (options === NO_OPTIONS) return NO_OPTIONS;
  assertNames(options, known, "options");
  const { signal, timeoutMs } = options;
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 0))
    throw invalid("timeoutMs is a number from 0");
  assertSignal(signal);
  return { signal, timeoutMs };
}

export function repeatableOf(options: Repeatable, known: Names): CallOptions {
  const call = callOf(options, known);
  return options.requestId === undefined
    ? call
    : { ...call, requestId: requestIdOf(options.requestId) };
}

function requestIdOf(text: string): RequestId {
  const found = typeof text === "string" ? /^(\d{1,16})\/(\d{1,16})$/.exec(text) : null;
  const [session, number] = [Number(found?.[1]), Number(found?.[2])];
  if (!isCount(session) || !isCount(number) || session === 0 || number === 0)
    throw invalid("a requestId is <session>/<number>, as a session gives it");
  return { session, number };
}

export function assertSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && !isSignal(signal)) throw invalid("signal is an AbortSignal");
}

function isSignal(signal: AbortSignal): boolean {
  return (
    typeof signal === "object" &&
    signal !== null &&
    typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function" &&
    typeof signal.removeEventListener === "function"
  );
}

export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Undefined, or a whole number from `least`. */
export function countOf(
  value: number | undefined,
  what: string,
  least: number = 0,
): number | undefined {
  if (value !== undefined && !(isCount(value) && value >= least))
    throw invalid(`${what} is a whole number from ${least}`);
  return value;
}

export function flagOf(value: boolean | undefined, what: string): boolean {
  if (value !== undefined && typeof value !== "boolean") throw invalid(`${what} is true or false`);
  return value === true;
}

const INT64_MAX: bigint = 2n ** 63n - 1n;

/** A lease or a bound: a number of a signed 64-bit field, from `least`. */
export function int64Of(value: number | bigint, what: string, least: bigint): bigint {
  const whole = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof whole !== "bigint" || whole < least || whole > INT64_MAX)
    throw invalid(`${what} is a whole number from ${least} to 2^63 - 1`);
  return whole;
}

export const INT64_LEAST: bigint = -(2n ** 63n);

/** The longest time to live. */
const TTL_MS_MAX = 9_000_000_000_000;

export function ttlOf(ttlMs: number, what: string): number {
  const found = countOf(ttlMs, what, 1);
  if (found === undefined || found > TTL_MS_MAX)
    throw invalid(`${what} is a whole number from 1 to ${TTL_MS_MAX}`);
  return found;
}

/** Arguments are read at the call; what is wrong with them is thrown where they are first used. */
export function readNow<T>(read: () => T): () => T {
  try {
    const value = read();
    return () => value;
  } catch (thrown) {
    return () => {
      throw thrown;
    };
  }
}

/** What typed arrays say of themselves, whatever a subclass or an own property says. */
const OF_TYPED_ARRAYS: PropertyDescriptorMap = Object.getOwnPropertyDescriptors(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
);
// Each getter stands in a constant of its own, so that its call is compiled to a look at the array.
const kindOf = getter<string | undefined>(Symbol.toStringTag);
const lengthOf = getter<number>("length");
const bufferOf = getter<ArrayBuffer>("buffer");
const offsetOf = getter<number>("byteOffset");

function getter<T>(name: string | symbol): (this: Value) => T {
  const descriptor = OF_TYPED_ARRAYS[name as string] as
    | { readonly get: (this: Value) => T }
    | undefined;
  assert(descriptor !== undefined, "typed arrays have the getters of the language");
  return descriptor.get;
}

/** With the flag for code points, only a surrogate without its other half is one. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Bytes that are a plain Uint8Array: a view of the caller's memory, or UTF-8. */
export function bytesOf(value: Value): Uint8Array {
  if (typeof value === "string") {
    // Two texts that differ would become the same bytes.
    if (LONE_SURROGATE.test(value)) throw invalid("text with a lone surrogate has no UTF-8");
    return utf8(value);
  }
  if (kindOf.call(value) !== "Uint8Array") throw invalid("keys and values are strings or bytes");
  // Most are what the language makes. Their length stands in the array, and the getter would look at its buffer, which is
  // another place in memory for each of many keys.
  const isPlain = Object.getPrototypeOf(value) === Uint8Array.prototype;
  if (isPlain && !Object.hasOwn(value, "length") && value.length > 0) return value;
  const length = lengthOf.call(value);
  if (Object.hasOwn(value, "length") || (length === 0 && isDetached(value)))
    throw invalid("bytes of a key or value are not there");
  // A subclass, Buffer among them, may have methods of its own: from here on there are none.
  return isPlain ? value : new Uint8Array(bufferOf.call(value), offsetOf.call(value), length);
}

/** An empty view says nothing of its memory, but the methods of a typed array refuse what was given away. */
function isDetached(value: Uint8Array): boolean {
  try {
    Uint8Array.prototype.indexOf.call(value, 0);
    return false;
  } catch {
    return true;
  }
}

/** Bytes that the caller may change or give away while the request waits. */
export function copyOf(value: Value): Uint8Array {
  const bytes = bytesOf(value);
  if (typeof value === "string") return bytes;
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}
