/** What eyes see of a local cluster. */
import { describe, expect, it } from "vitest";
import { type Row, tableOf, View } from "./view.ts";

const report = { term: 3, isLeader: false, hasLeader: true, commit: 20, applied: 20 };
const row = (name: string, more: Partial<Row>): Row => ({
  name,
  url: "http://127.0.0.1:1234",
  pid: 7,
  state: "serving",
  report,
  ...more,
});
const ROWS: readonly Row[] = [
  row("n1", { report: { ...report, isLeader: true } }),
  row("n2", { report: { ...report, commit: 15, applied: 12 } }),
  row("n3", { state: "waiting", pid: null, report: null }),
  row("n4", { report: { ...report, hasLeader: false } }),
];

describe("the table of a local cluster", () => {
  it("shows who leads, and how many entries each is behind the one that knows most", () => {
    expect(tableOf(ROWS).split("\n").slice(3, 7)).toEqual([
      "| n1   | 127.0.0.1:1234 | 7   | serving | leader    | 3    | 20     | 20      | 0   |",
      "| n2   | 127.0.0.1:1234 | 7   | serving | follower  | 3    | 15     | 12      | 8   |",
      "| n3   | 127.0.0.1:1234 |     | waiting |           |      |        |         |     |",
      "| n4   | 127.0.0.1:1234 | 7   | serving | no leader | 3    | 20     | 20      | 0   |",
    ]);
  });

  it("stays in its place on a terminal, and is a line for each change anywhere else", () => {
    const written = (isTTY: boolean): string[] => {
      const out: string[] = [];
      const view = new View({ isTTY, write: (text) => out.push(text) });
      view.tell("n1 serves");
      view.show(ROWS);
      view.show(ROWS);
      view.show(ROWS.map((one) => ({ ...one, report: null })));
      view.end(ROWS);
      return out;
    };
    expect(written(false)).toEqual(["n1 serves\n", "n1 leads in term 3\n"]);
    const drawn = written(true);
    expect(drawn).toHaveLength(4);
    expect(drawn[0]?.startsWith("n1 serves\nn1 leads in term 3\n+---")).toBe(true);
    // Eleven lines: two of news, eight of the table, one of advice.
    for (const text of drawn.slice(1)) expect(text.startsWith("\u001b[11A\u001b[J")).toBe(true);
    expect(drawn[3]).not.toContain("Ctrl-C");
  });
});
