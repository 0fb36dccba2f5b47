/**
 * The table of planted bugs in docs/reliability.md. Rows are put in by the name of the bug, so that the layers can be
 * run one at a time: what was not run keeps the row that it has.
 */

/** One row, as it stands in the document. */
export interface TableRow {
  readonly layer: string;
  readonly name: string;
  readonly why: string;
  readonly found: string;
  readonly by: string;
  readonly check: string;
  readonly cost: string;
}

const BEGIN = "<!-- begin: npm run sim:mutations -- --write -->";
const END = "<!-- end -->";
const HEAD = [
  "| layer | planted bug | what it breaks | found | mostly by | check that found it | median cost |",
  "|---|---|---|---|---|---|---|",
];
const CHECK_LENGTH_MAX = 90;

/** `document` with `rows` in its table, which has the order of `names`. Rows of other names go. */
export function withRows(
  document: string,
  rows: readonly TableRow[],
  names: readonly string[],
): string {
  const from = document.indexOf(BEGIN);
  const to = document.indexOf(END, from);
  if (from < 0 || to < 0) throw new Error("the document has no place for the table");
  const lines = new Map<string, string>();
  for (const line of document.slice(from, to).split("\n")) {
    const name = line.split("|")[2]?.trim();
    if (name !== undefined) lines.set(name, line);
  }
  for (const row of rows) lines.set(row.name, lineOf(row));
  const table = names.flatMap((name) => lines.get(name) ?? []);
  const text = [...HEAD, ...table].join("\n");
  return `${document.slice(0, from + BEGIN.length)}\n\n${text}\n\n${document.slice(to)}`;
}

function lineOf({ layer, name, why, found, by, check, cost }: TableRow): string {
  return `| ${[layer, name, why, found, by, cell(check), cost].join(" | ")} |`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ").slice(0, CHECK_LENGTH_MAX);
}
