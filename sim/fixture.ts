/**
 * Runs that are kept. A seed means something else as soon as the code draws one number more; a fixture holds the
 * options and every step of a run, so it goes on showing what it once showed. `npm test` plays all of `sim/fixtures/`.
 *
 * The file is JSON. Bytes stand as `{"$text": "..."}` when they are printable and as `{"$base64": "..."}` when not,
 * integers beyond those of JSON as `{"$int": "..."}`.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Plain, Script } from "./play.ts";

export interface Fixture extends Script {
  /** What was wrong, in a sentence. */
  readonly found: string;
  /** The check that failed before it was mended. */
  readonly check: string;
  /** A planted bug of `mutants.ts` under which this run fails: shows that the fixture still has teeth. */
  readonly mutant?: string;
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const PRINTABLE = /^[ -~]*$/;

function toJson(value: Plain): Json {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") return { $int: String(value) };
  if (typeof value === "number" && !Number.isFinite(value)) return { $number: String(value) };
  if (typeof value !== "object") return value;
  if (value instanceof Uint8Array) {
    const text = Buffer.from(value).toString("latin1");
    return PRINTABLE.test(text)
      ? { $text: text }
      : { $base64: Buffer.from(value).toString("base64") };
  }
  if (isList(value)) return value.map(toJson);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([name, inner]) => [name, toJson(inner)]),
  );
}

function fromJson(value: Json): Plain {
  if (typeof value !== "object" || value === null) return value;
  if (isList(value)) return value.map(fromJson);
  const { $int, $number, $text, $base64 } = value;
  if (typeof $int === "string") return BigInt($int);
  if (typeof $number === "string") return Number($number);
  if (typeof $text === "string") return new Uint8Array(Buffer.from($text, "latin1"));
  if (typeof $base64 === "string") return new Uint8Array(Buffer.from($base64, "base64"));
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, fromJson(inner)]));
}

/** `Array.isArray` does not know readonly lists. */
function isList<T>(value: T): value is T & readonly (T extends readonly (infer E)[] ? E : never)[] {
  return Array.isArray(value);
}

/** One line for each step: people read them. */
export function encodeFixture({ steps, ...head }: Fixture): string {
  const lines = Object.entries(head).map(
    ([name, value]) => `  ${JSON.stringify(name)}: ${JSON.stringify(toJson(value as Plain))},`,
  );
  const list = steps.map((step) => `    ${JSON.stringify(toJson(step as Plain))}`).join(",\n");
  return ["{", ...lines, '  "steps": [', list, "  ]", "}", ""].join("\n");
}

/** Throws an error that names what is wrong when the text is no fixture. */
export function decodeFixture(text: string): Fixture {
  const value = fromJson(JSON.parse(text) as Json) as Partial<
    Record<keyof Fixture, unknown>
  > | null;
  if (typeof value !== "object" || value === null) throw new Error("a fixture is an object");
  const { world, seed, options, steps, found, check } = value;
  if (typeof world !== "string" || typeof seed !== "number" || !Array.isArray(steps))
    throw new Error("a fixture names its world and its seed, and has steps");
  if (typeof found !== "string" || typeof check !== "string")
    throw new Error("a fixture says what was found, and by which check");
  if (typeof options !== "object") throw new Error("a fixture has the options of its world");
  return value as unknown as Fixture;
}

/** Names and contents of all fixtures in a directory, by name. */
export function readFixtures(
  directory: string,
): { readonly name: string; readonly fixture: Fixture }[] {
  return readdirSync(directory)
    .filter((file) => file.endsWith(".json"))
    .toSorted()
    .map((file) => {
      const text = readFileSync(join(directory, file), "utf8");
      return { name: file.slice(0, -".json".length), fixture: decodeFixture(text) };
    });
}

/** The file's name is the sentence with underscores. Returns the path. */
export function keepFixture(directory: string, sentence: string, fixture: Fixture): string {
  mkdirSync(directory, { recursive: true });
  const name = sentence
    .trim()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "_");
  const path = join(directory, `${name}.json`);
  writeFileSync(path, encodeFixture(fixture));
  return path;
}
