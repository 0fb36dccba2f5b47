/**
 * Messages as text: JSON and fields as etcdctl writes them, and tables. Numbers of 64 bits are written whole, which
 * JSON.stringify cannot; what has its default value is left out of JSON, as protobuf leaves it out of the wire.
 */

/** A decoded message of the generated code: plain data whose keys are the names of the protocol. */
export type Message = object;

type Field = readonly [name: string, value: unknown];

export function bytesText(bytes: Uint8Array, hex: boolean): string | Uint8Array {
  return hex ? hexText(bytes) : bytes;
}

/** As etcdctl --hex: \x61\x62. */
function hexText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").replaceAll(/../g, "\\x$&");
}

export function jsonText(value: unknown, hex: boolean): string {
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  if (value instanceof Uint8Array)
    return JSON.stringify(Buffer.from(value).toString(hex ? "hex" : "base64"));
  if (Array.isArray(value)) return `[${value.map((item) => jsonText(item, hex)).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = fieldsOf(value).filter(([, member]) => !isDefault(member));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${jsonText(member, hex)}`).join(",")}}`;
}

/** The fields of the protocol; the generated code keeps fields that it does not know beside them. */
function fieldsOf(message: object): readonly Field[] {
  return Object.entries(message).filter(([name]) => !name.startsWith("_"));
}

function isDefault(value: unknown): boolean {
  if (value === undefined || value === null || value === 0n || value === 0) return true;
  if (value === false || value === "") return true;
  return (value instanceof Uint8Array || Array.isArray(value)) && value.length === 0;
}

/** One field on each line: `"Key" : "foo"`. */
export function fieldsText(message: Message, hex: boolean): string {
  let out = "";
  const walk = (value: object): void => {
    for (const [name, member] of fieldsOf(value)) {
      if (member === undefined) continue;
      if (
        Array.isArray(member) ||
        (typeof member === "object" && !(member instanceof Uint8Array))
      ) {
        const items: readonly unknown[] = Array.isArray(member) ? member : [member];
        for (const item of items) {
          if (typeof item === "object" && item !== null && !(item instanceof Uint8Array))
            walk(item);
          else out += `${label(name)} : ${cell(item, hex, true)}\n`;
        }
      } else out += `${label(name)} : ${cell(member, hex, true)}\n`;
    }
  };
  walk(message);
  return out;
}

/** create_revision becomes "CreateRevision", cluster_id "ClusterID". */
function label(name: string): string {
  const words = name
    .split("_")
    .map((word) => (word === "id" ? "ID" : word.slice(0, 1).toUpperCase() + word.slice(1)));
  return JSON.stringify(words.join(""));
}

/** The rows of the message's list if it has one, or what it holds, or itself as one row; its header where it says no more. */
export function tableText(message: Message, hex: boolean): string {
  const fields = fieldsOf(message);
  const list = fields.find(
    ([, value]) => Array.isArray(value) && value.length > 0 && typeof value[0] === "object",
  );
  const header = fields.find(([name]) => name === "header")?.[1] as object | undefined;
  const says = fields.some(([name, value]) => name !== "header" && value !== undefined);
  // A put answers with what was there before.
  const held = fields.find(([name, value]) => name !== "header" && isMessage(value))?.[1];
  const rows =
    list !== undefined
      ? (list[1] as readonly object[])
      : [(held as object | undefined) ?? (says || header === undefined ? message : header)];
  const cellsOf = (row: object): readonly Field[] =>
    (row instanceof Uint8Array ? [["key", row] as const] : fieldsOf(row)).filter(
      ([, value]) =>
        value instanceof Uint8Array || (typeof value !== "object" && value !== undefined),
    );
  const names = [...new Set(rows.flatMap((row) => cellsOf(row).map(([name]) => name)))];
  return table(
    names.map((name) => name.replaceAll("_", " ").toUpperCase()),
    rows.map((row) => {
      const cells = new Map(cellsOf(row));
      return names.map((name) => (cells.has(name) ? cell(cells.get(name), hex, false) : ""));
    }),
  );
}

function isMessage(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array)
  );
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => (row[i] ?? "").length)),
  );
  const rule = `+${widths.map((width) => "-".repeat(width + 2)).join("+")}+\n`;
  const line = (cells: readonly string[]): string =>
    `|${widths.map((width, i) => ` ${(cells[i] ?? "").padEnd(width)} `).join("|")}|\n`;
  return rule + line(head) + rule + rows.map(line).join("") + rule;
}

/** Control characters are escaped: a value must not move the cursor of who looks at it. */
function cell(value: unknown, hex: boolean, isQuoted: boolean): string {
  if (value instanceof Uint8Array) {
    const text = hex ? hexText(value) : JSON.stringify(Buffer.from(value).toString("utf8"));
    return isQuoted && !hex ? text : text.replace(/^"|"$/g, "");
  }
  return typeof value === "string"
    ? JSON.stringify(value).slice(isQuoted ? 0 : 1, isQuoted ? undefined : -1)
    : String(value);
}
