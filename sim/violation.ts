/** What a check says when it does not hold. The run of the seed ends with the first one. */

export class Violation extends Error {
  override readonly name = "Violation" as const;
  /** The rule that broke, in a few words that stay the same over seeds: reports and tables group by it. */
  readonly check: string;

  constructor(check: string, detail: string) {
    super(`${check}: ${detail}`);
    this.check = check;
  }
}

/** Ends the run when `holds` is false. `detail` is only built then. */
export function check(holds: boolean, rule: string, detail: () => string): asserts holds {
  if (!holds) throw new Violation(rule, detail());
}

/** In an expected value: a moment or a span of time that only the database knows, in milliseconds. */
export const SOME_MS: number = Number.NaN;

/** The first place where two plain values differ, as `path: a is not b`, or null when they are equal. */
export function difference(actual: unknown, expected: unknown, path = ""): string | null {
  if (actual === expected) return null;
  if (Number.isNaN(expected) && Number.isSafeInteger(actual) && (actual as number) >= 0)
    return null;
  if (actual instanceof Uint8Array && expected instanceof Uint8Array) {
    return sameBytes(actual, expected)
      ? null
      : `${path}: ${showBytes(actual)} is not ${showBytes(expected)}`;
  }
  if (
    typeof actual !== "object" ||
    typeof expected !== "object" ||
    actual === null ||
    expected === null
  ) {
    return `${path}: ${show(actual)} is not ${show(expected)}`;
  }
  if (Array.isArray(actual) && Array.isArray(expected)) {
    const shared = Math.min(actual.length, expected.length);
    for (let i = 0; i < shared; i++) {
      const found = difference(actual[i], expected[i], `${path}[${i}]`);
      if (found !== null) return found;
    }
    if (actual.length === expected.length) return null;
    return `${path}: ${actual.length} elements, not ${expected.length}`;
  }
  const left = actual as Record<string, unknown>;
  const right = expected as Record<string, unknown>;
  for (const key in right) {
    const found = difference(left[key], right[key], path === "" ? key : `${path}.${key}`);
    if (found !== null) return found;
  }
  for (const key in left) if (!(key in right)) return `${path}.${key} is not expected`;
  return null;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

const SHOWN_BYTES_MAX = 24;

export function showBytes(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes.subarray(0, SHOWN_BYTES_MAX)) {
    out += byte > 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`;
  }
  return bytes.length > SHOWN_BYTES_MAX ? `${out}...(${bytes.length})` : `"${out}"`;
}

/** For people who read a trace: bytes as text, bigints with their n. */
export function show(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner: unknown) => {
      if (inner instanceof Uint8Array) return showBytes(inner);
      return typeof inner === "bigint" ? `${inner}n` : inner;
    }) ?? String(value)
  );
}
