import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Line, linesOf } from "./input.ts";
import { BadLine, formatLine, type KeyRecord, parseLine } from "./records.ts";

const plain = { lease: null, ttlMs: null };

function record(key: string, value: string): KeyRecord {
  return { key: Buffer.from(key), value: Buffer.from(value), ...plain };
}

function parse(text: string, format: "json" | "tsv" = "json"): KeyRecord {
  return parseLine(Buffer.from(text), format);
}

function bare({ key, value, lease, ttlMs }: KeyRecord): KeyRecord {
  return { key: Uint8Array.from(key), value: Uint8Array.from(value), lease, ttlMs };
}

async function* inPieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number;
    yield Buffer.from(bytes.subarray(at, at + size));
    at += size;
    await Promise.resolve();
  }
}

async function linesIn(text: string | Uint8Array, bytesMax: number, sizes = [7]): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of linesOf(inPieces(Buffer.from(text), sizes), bytesMax)) lines.push(line);
  return lines;
}

/** Bytes that are likely to be special somewhere, beside any others. */
const bytes = (minLength: number): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    fc.uint8Array({ minLength, maxLength: 40 }),
    fc
      .array(
        fc.constantFrom(
          "a",
          "\\",
          "\t",
          "\n",
          "\r",
          "x41",
          '"',
          "\0",
          "é",
          "😀",
          "\u2028",
          "\ufeff",
        ),
        {
          minLength: Math.max(1, minLength),
          maxLength: 12,
        },
      )
      .map((parts) => Uint8Array.from(Buffer.from(parts.join("")))),
  );

describe("a key in a line", { timeout: 30_000 }, () => {
  it("reads as it looks where it is text", () => {
    expect(formatLine(record("a", 'say "hi"\n'), "json")).toBe(
      '{"key":"a","value":"say \\"hi\\"\\n"}\n',
    );
    expect(formatLine(record("a\tb", "c\\d\n"), "tsv")).toBe("a\\tb\tc\\\\d\\n\n");
    expect(formatLine({ ...record("a", "b"), lease: -1n, ttlMs: 5 }, "json")).toBe(
      '{"key":"a","value":"b","lease":"ffffffffffffffff","ttlMs":5}\n',
    );
  });

  it("comes back as the same bytes through lines of any length, whatever the bytes are", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            key: bytes(1),
            value: bytes(0),
            lease: fc.option(fc.bigInt({ min: 1n, max: 2n ** 63n - 1n })),
            ttlMs: fc.option(fc.integer({ min: 1 })),
          }),
          { maxLength: 8 },
        ),
        fc.constantFrom("json" as const, "tsv" as const),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 }),
        async (records, format, sizes) => {
          const kept = records.map((one) => (format === "tsv" ? { ...one, ...plain } : one));
          const text = kept.map((one) => formatLine(one, format)).join("");
          const lines = await linesIn(text, 1 << 20, sizes);
          expect(
            lines.map(({ bytes: line }) => bare(parseLine(line as Uint8Array, format))),
          ).toEqual(kept);
          expect(lines.map(({ number }) => number)).toEqual(kept.map((_, i) => i + 1));
          expect(lines.at(-1)?.end ?? 0).toBe(Buffer.byteLength(text));
        },
      ),
      { numRuns: 100 },
    );
  });

  it.each([
    ["", /not JSON/],
    ['{"key":"a","val', /not JSON; was the file cut/],
    ["[1]", /not an object/],
    ["null", /not an object/],
    ['{"key":"a"}', /no value/],
    ['{"value":"a"}', /no key/],
    ['{"key":"","value":"a"}', /key is empty/],
    ['{"key":1,"value":"a"}', /key is not a string/],
    ['{"key":"a","keyBase64":"YQ==","value":"b"}', /key and keyBase64/],
    ['{"keyBase64":"Y","value":"b"}', /not base64/],
    ['{"key":"a","valueBase64":"%%%%"}', /not base64/],
    ['{"key":"\\ud800","value":"b"}', /half a surrogate pair/],
    ['{"__proto__":{"key":"a"},"value":"b"}', /unknown field "__proto__"/],
    ['{"key":"a","value":"b","ttl":5}', /unknown field "ttl"/],
    ['{"key":"a","value":"b","ttlMs":0}', /ttlMs is not/],
    ['{"key":"a","value":"b","lease":12}', /lease is not/],
  ])("is refused as JSON: %s", (line, why) => {
    expect(() => parse(line)).toThrow(BadLine);
    expect(() => parse(line)).toThrow(why);
  });

  it.each([
    ["a", /no tab/],
    ["a\tb\tc", /more than one tab/],
    ["a\tb\\q", /unknown escape \\q/],
    ["a\tb\\", /unknown escape/],
    ["a\tb\\x4", /unknown escape \\x/],
    ["\tb", /key is empty/],
  ])("is refused as TSV: %s", (line, why) => {
    expect(() => parse(line, "tsv")).toThrow(BadLine);
    expect(() => parse(line, "tsv")).toThrow(why);
  });

  it("is refused where it is not UTF-8", () => {
    expect(() => parseLine(Uint8Array.of(0x61, 0x09, 0xff), "tsv")).toThrow(/not UTF-8/);
  });
});

describe("lines of a stream", () => {
  it("ends with what has no line break, and says so", async () => {
    expect(await linesIn("one\r\n\ntwo", 100)).toMatchObject([
      { number: 1, bytes: Buffer.from("one"), end: 5, isEnded: true },
      { number: 2, bytes: Buffer.from(""), end: 6, isEnded: true },
      { number: 3, bytes: Buffer.from("two"), end: 9, isEnded: false },
    ]);
    expect(await linesIn("", 100)).toEqual([]);
  });

  it("begins behind a byte order mark, in pieces of any size, and only the first line may have one", async () => {
    for (const size of [1, 2, 64]) {
      const lines = await linesIn("\ufeffone\n\ufefftwo\n", 100, [size]);
      expect(lines).toMatchObject([
        { number: 1, bytes: Buffer.from("one"), end: 7, isEnded: true },
        { number: 2, bytes: Buffer.from("\ufefftwo"), end: 14, isEnded: true },
      ]);
    }
    // A key that begins with it comes back from a file of its own.
    const record = {
      key: Buffer.from("\ufeffk"),
      value: Buffer.from("v"),
      lease: null,
      ttlMs: null,
    };
    for (const format of ["json", "tsv"] as const) {
      const [line] = await linesIn(formatLine(record, format), 100);
      expect(Buffer.from(parseLine(line?.bytes as Uint8Array, format).key)).toEqual(record.key);
    }
  });

  it.each([[1], [3], [64]])(
    "passes over a line that is too long, in pieces of %i bytes",
    async (size) => {
      const lines = await linesIn(
        `${"x".repeat(10)}\r\n${"y".repeat(11)}\nz\n${"w".repeat(50)}`,
        10,
        [size],
      );
      expect(lines.map(({ bytes: line }) => line?.length ?? null)).toEqual([10, null, 1, null]);
      expect(lines.map(({ end }) => end)).toEqual([12, 24, 26, 76]);
    },
  );

  it("counts on from where it begins", async () => {
    const lines: Line[] = [];
    const from = { number: 41, offset: 1000 };
    for await (const line of linesOf(inPieces(Buffer.from("a\nb\n"), [1]), 10, from))
      lines.push(line);
    expect(lines.map(({ number, end }) => [number, end])).toEqual([
      [41, 1002],
      [42, 1004],
    ]);
  });
});
