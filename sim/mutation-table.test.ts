import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { MUTANTS } from "./mutants.ts";
import { type TableRow, withRows } from "./mutation-table.ts";

const DOCUMENT = readFileSync(new URL("../docs/reliability.md", import.meta.url), "utf8");
const NAMES = MUTANTS.map(({ name }) => name);

function row(name: string, cost: string): TableRow {
  return { layer: "wal", name, why: "why", found: "20 of 20", by: "storage", check: "a | b", cost };
}

describe("the table of planted bugs", () => {
  it("takes new rows in its order, and keeps those of what was not run", () => {
    const [first = "", second = "", third = ""] = NAMES;
    const both = withRows(DOCUMENT, [row(third, "3 seeds"), row(first, "1 seed")], NAMES);
    const again = withRows(both, [row(second, "2 seeds"), row(first, "4 seeds")], NAMES);
    const costs = again.split("\n").filter((line) => line.includes("| a \\| b |"));
    expect(costs.map((line) => line.split("|").at(-2)?.trim())).toEqual([
      "4 seeds",
      "2 seeds",
      "3 seeds",
    ]);
    expect(again.split("\n").length).toBe(both.split("\n").length + (hasRow(both, second) ? 0 : 1));
  });

  it("forgets bugs that are planted no more, and changes nothing around it", () => {
    const [first = ""] = NAMES;
    const text = withRows(DOCUMENT, [row(first, "1 seed")], [first]);
    expect(text.split("\n").filter((line) => line.startsWith("| wal |"))).toHaveLength(1);
    expect(withRows(text, [], [])).toBe(withRows(DOCUMENT, [], []));
    expect(text.slice(0, 2000)).toBe(DOCUMENT.slice(0, 2000));
  });

  it("has a column for each head in every row of the document", () => {
    const table = DOCUMENT.slice(DOCUMENT.indexOf("<!-- begin"), DOCUMENT.indexOf("<!-- end"));
    const lines = table.split("\n").filter((line) => line.startsWith("|"));
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) expect(line.replaceAll("\\|", "").split("|"), line).toHaveLength(9);
  });
});

function hasRow(document: string, name: string): boolean {
  return document.includes(`| ${name} |`);
}
