import { describe, expect, it } from "vitest";
import { formatHistory, HistoryRecorder, parseHistory } from "./history.ts";

/** One operation of each outcome, and one that is still open. */
function recorded(sink: (line: string) => void): HistoryRecorder<string, number> {
  const recorder = new HistoryRecorder<string, number>(sink);
  const a = recorder.invoke(1, "a", 10);
  const b = recorder.invoke(2, "b", 11);
  const c = recorder.invoke(3, "c", 11);
  recorder.ok(b, 5, 12.5);
  recorder.fail(a, 13);
  recorder.invoke(2, "d", 14);
  recorder.unknown(c, 15);
  return recorder;
}

describe("a recorded history", () => {
  it("keeps who asked what, when, and what became of it", () => {
    const operations = recorded(() => undefined).operations();
    expect(operations).toEqual([
      {
        id: 0,
        process: 1,
        input: "a",
        outcome: "fail",
        output: undefined,
        invokedAt: 10,
        returnedAt: 13,
      },
      { id: 1, process: 2, input: "b", outcome: "ok", output: 5, invokedAt: 11, returnedAt: 12.5 },
      {
        id: 2,
        process: 3,
        input: "c",
        outcome: "unknown",
        output: undefined,
        invokedAt: 11,
        returnedAt: Infinity,
      },
      {
        id: 3,
        process: 2,
        input: "d",
        outcome: "unknown",
        output: undefined,
        invokedAt: 14,
        returnedAt: Infinity,
      },
    ]);
  });

  it("comes back from its lines, as they were written and as they are formatted", () => {
    let lines = "";
    const recorder = recorded((line) => (lines += line));
    expect(lines.split("\n")).toHaveLength(8);
    expect(parseHistory(lines)).toEqual(recorder.operations());
    expect(parseHistory(formatHistory(recorder.operations()))).toEqual(recorder.operations());
  });

  it("of a killed writer has an open operation where the last line is cut", () => {
    let lines = "";
    recorded((line) => (lines += line));
    const answers = lines.slice(0, lines.indexOf('"output"') + 3);
    const operations = parseHistory(answers);
    expect(operations.map(({ outcome }) => outcome)).toEqual(["unknown", "unknown", "unknown"]);
  });

  it("refuses a second answer, an answer before the invocation, and one without", () => {
    const recorder = new HistoryRecorder<string, number>();
    const id = recorder.invoke(1, "a", 10);
    expect(() => recorder.ok(id, 1, 9)).toThrow("ends too early");
    const other = recorder.invoke(1, "b", 10);
    recorder.ok(other, 1, 11);
    expect(() => recorder.ok(other, 1, 12)).toThrow("answered twice");
    expect(() => recorder.fail(7, 12)).toThrow("no operation 7");
  });

  it("refuses what JSON would change", () => {
    const recorder = new HistoryRecorder<unknown, unknown>();
    for (const value of [
      new Uint8Array(2),
      1n,
      NaN,
      Infinity,
      undefined,
      new Map(),
      { a: undefined },
    ]) {
      expect(() => recorder.invoke(1, value, 0)).toThrow("a history cannot hold");
    }
    expect(recorder.operations()).toEqual([]);
  });

  it("names the line that is wrong", () => {
    const good = '{"type":"invoke","id":1,"process":1,"at":5,"input":1}\n';
    const cases: readonly (readonly [string, string])[] = [
      ["nothing\n", "line 1 is not JSON"],
      ["null\n", "line 1 is no event"],
      [`${good}\n`, "line 2 is not JSON"],
      [`${good}${good}`, "line 2: 1 is invoked twice"],
      [`${good}{"type":"ok","id":2,"at":6,"output":1}\n`, "line 2: 2 was never invoked"],
      [`${good}{"type":"ok","id":1,"at":4,"output":1}\n`, "line 2: 1 ends before it begins"],
      [`${good}{"type":"ok","id":1,"at":6}\n`, "line 2 is no event"],
      [`${good}{"type":"ok","id":1,"at":"6","output":1}\n`, "line 2 has no id or no time"],
      [`${good}{"type":"maybe","id":1,"at":6}\n`, "line 2 is no event"],
      [`${good}${'{"type":"fail","id":1,"at":6}\n'.repeat(2)}`, "line 3: 1 is answered twice"],
    ];
    for (const [lines, message] of cases) expect(() => parseHistory(lines)).toThrow(message);
  });
});
