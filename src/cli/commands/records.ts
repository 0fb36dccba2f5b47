/**
 * One key in one line of text, for dump and load.
 *
 * JSON: {"key":"a","value":"b"}; what is not valid UTF-8 stands as keyBase64 or valueBase64; lease (hexadecimal) and
 * ttlMs where there are any. TSV: key, tab, value; a backslash, tab, line break and bytes that are no text are written
 * \\ \t \n \r \xHH. TSV has no place for leases and TTLs.
 *
 * Invariant: parsing what was formatted gives the same bytes; a line has no line break within it.
 */

export interface KeyRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Hexadecimal; null: none. */
  readonly lease: bigint | null;
  /** Null: none. */
  readonly ttlMs: number | null;
}

export type LineFormat = "json" | "tsv";

/** A line is not what it should be; the message says why. */
export class BadLine extends Error {
  override readonly name = "BadLine" as const;
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function textOf(bytes: Uint8Array): string | null {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return null;
  }
}

export function formatLine(record: KeyRecord, format: LineFormat): string {
  if (format === "tsv") return `${tsvField(record.key)}\t${tsvField(record.value)}\n`;
  let out = `{${jsonField("key", record.key)},${jsonField("value", record.value)}`;
  if (record.lease !== null) out += `,"lease":"${BigInt.asUintN(64, record.lease).toString(16)}"`;
  if (record.ttlMs !== null) out += `,"ttlMs":${record.ttlMs}`;
  return `${out}}\n`;
}

function jsonField(name: string, bytes: Uint8Array): string {
  const text = textOf(bytes);
  return text === null
    ? `"${name}Base64":"${Buffer.from(bytes).toString("base64")}"`
    : `"${name}":${JSON.stringify(text)}`;
}

const TSV_ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\t": "\\t",
  "\n": "\\n",
  "\r": "\\r",
  // Else a key that begins with it would lose it at the beginning of a file.
  "\ufeff": "\\xef\\xbb\\xbf",
};

function tsvField(bytes: Uint8Array): string {
  const text = textOf(bytes);
  if (text !== null)
    return text.replaceAll(/[\\\t\n\r\ufeff]/g, (character) => TSV_ESCAPES[character] as string);
  // What is no text as a whole is written byte by byte where it is not plain ASCII.
  let out = "";
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    if (byte > 0x7e) out += `\\x${byte.toString(16)}`;
    else out += TSV_ESCAPES[character] ?? character;
  }
  return out;
}

export function parseLine(bytes: Uint8Array, format: LineFormat): KeyRecord {
  const text = textOf(bytes);
  if (text === null) throw new BadLine("it is not UTF-8");
  const record = format === "tsv" ? parseTsv(text) : parseJson(text);
  if (record.key.length === 0) throw new BadLine("its key is empty");
  return record;
}

const JSON_FIELDS: ReadonlySet<string> = new Set([
  "key",
  "keyBase64",
  "value",
  "valueBase64",
  "lease",
  "ttlMs",
]);

function parseJson(text: string): KeyRecord {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new BadLine("it is not JSON; was the file cut, or is it --format tsv?");
  }
  if (typeof data !== "object" || data === null || Array.isArray(data))
    throw new BadLine('it is not an object like {"key":"a","value":"b"}');
  const unknown = Object.keys(data).find((name) => !JSON_FIELDS.has(name));
  if (unknown !== undefined)
    throw new BadLine(`it has an unknown field ${JSON.stringify(unknown)}`);
  const fields = data as Readonly<Record<string, unknown>>;
  return {
    key: jsonBytes(fields, "key"),
    value: jsonBytes(fields, "value"),
    lease: jsonLease(fields["lease"]),
    ttlMs: jsonTtl(fields["ttlMs"]),
  };
}

function jsonBytes(fields: Readonly<Record<string, unknown>>, name: string): Uint8Array {
  const plain = fields[name];
  const encoded = fields[`${name}Base64`];
  if (plain !== undefined && encoded !== undefined)
    throw new BadLine(`it has ${name} and ${name}Base64`);
  if (typeof plain === "string") {
    if (/\p{Surrogate}/u.test(plain))
      throw new BadLine(`its ${name} has half a surrogate pair, which is no text`);
    return Buffer.from(plain, "utf8");
  }
  if (typeof encoded === "string") {
    const bytes = Buffer.from(encoded, "base64");
    if (bytes.toString("base64") !== encoded) throw new BadLine(`its ${name}Base64 is not base64`);
    return bytes;
  }
  throw new BadLine(
    plain === undefined && encoded === undefined
      ? `it has no ${name}`
      : `its ${name} is not a string`,
  );
}

function jsonLease(lease: unknown): bigint | null {
  if (lease === undefined) return null;
  if (typeof lease !== "string" || !/^[\da-f]{1,16}$/i.test(lease))
    throw new BadLine("its lease is not the hexadecimal id of a lease, as a string");
  const id = BigInt.asIntN(64, BigInt(`0x${lease}`));
  return id === 0n ? null : id;
}

function jsonTtl(ttlMs: unknown): number | null {
  if (ttlMs === undefined) return null;
  if (typeof ttlMs !== "number" || !Number.isSafeInteger(ttlMs) || ttlMs < 1)
    throw new BadLine("its ttlMs is not a whole number of milliseconds, at least 1");
  return ttlMs;
}

function parseTsv(text: string): KeyRecord {
  const tab = text.indexOf("\t");
  if (tab < 0) throw new BadLine("it has no tab between key and value; is it --format json?");
  if (text.includes("\t", tab + 1))
    throw new BadLine("it has more than one tab; a tab within is written \\t");
  return {
    key: tsvBytes(text.slice(0, tab)),
    value: tsvBytes(text.slice(tab + 1)),
    lease: null,
    ttlMs: null,
  };
}

const TSV_BYTES: Readonly<Record<string, number>> = { "\\": 0x5c, t: 0x09, n: 0x0a, r: 0x0d };

function tsvBytes(field: string): Uint8Array {
  if (!field.includes("\\")) return Buffer.from(field, "utf8");
  const parts: Uint8Array[] = [];
  let from = 0;
  for (let at = field.indexOf("\\"); at >= 0; at = field.indexOf("\\", from)) {
    parts.push(Buffer.from(field.slice(from, at), "utf8"));
    const letter = field[at + 1] ?? "";
    const byte = TSV_BYTES[letter];
    const hex = /^x([\da-f]{2})/i.exec(field.slice(at + 1, at + 4))?.[1];
    if (byte !== undefined) parts.push(Uint8Array.of(byte));
    else if (hex !== undefined) parts.push(Uint8Array.of(Number.parseInt(hex, 16)));
    else throw new BadLine(`it has an unknown escape \\${letter}; a backslash is written \\\\`);
    from = at + (byte === undefined ? 4 : 2);
  }
  parts.push(Buffer.from(field.slice(from), "utf8"));
  return Buffer.concat(parts);
}
