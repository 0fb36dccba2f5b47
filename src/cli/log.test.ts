import { describe, expect, it } from "vitest";
import { createLog, streamSink, type WaitingStream } from "./log.ts";

/** A pipe whose reader has stopped: everything that is written waits. */
class StoppedPipe implements WaitingStream {
  writableLength = 0;
  readonly written: string[] = [];
  write(text: string): boolean {
    this.written.push(text);
    this.writableLength += text.length;
    return false;
  }
  on(): this {
    return this;
  }
}

describe("logs", () => {
  it("keep memory bounded when nobody reads, and say later how many lines were lost", () => {
    const pipe = new StoppedPipe();
    const sink = streamSink(pipe, 1000);
    for (let i = 0; i < 100; i++) sink("x".repeat(99) + "\n");
    expect(pipe.written).toHaveLength(10);
    pipe.writableLength = 0;
    sink("again\n");
    expect(JSON.parse(pipe.written[10] as string)).toMatchObject({ level: "warn", lines: 90 });
    expect(pipe.written[11]).toBe("again\n");
  });

  it("are JSON lines with level, time, logger and message", () => {
    const lines: string[] = [];
    const log = createLog("info", "json", (line) => lines.push(line));
    log("info", "raft", "became leader", { term: 7, member: 12345678901234567890n });
    log("debug", "raft", "not shown");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/\n$/);
    expect(JSON.parse(lines[0] as string)).toEqual({
      level: "info",
      ts: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      logger: "raft",
      msg: "became leader",
      term: 7,
      member: "12345678901234567890",
    });
  });

  it("show bytes only by their number and errors by name and message", () => {
    const lines: string[] = [];
    const log = createLog("debug", "json", (line) => lines.push(line));
    log("error", "db", "odd", {
      value: new TextEncoder().encode("secret"),
      error: new RangeError("too far"),
    });
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      value: "6 bytes",
      error: "RangeError: too far",
    });
    expect(lines[0]).not.toContain("secret");
  });

  it("have a form for eyes", () => {
    const lines: string[] = [];
    const log = createLog("warn", "console", (line) => lines.push(line));
    log("info", "raft", "not shown");
    log("warn", "wal", "slow sync", { durationMs: 12, file: "a b" });
    expect(lines).toEqual([
      expect.stringMatching(/^\S+Z WARN {2}wal: slow sync durationMs=12 file="a b"\n$/),
    ]);
  });

  it("survive fields that cannot be written as JSON", () => {
    const lines: string[] = [];
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    for (const format of ["json", "console"] as const) {
      createLog("info", format, (line) => lines.push(line))("info", "x", "round", {
        circle,
        deep: { id: 1n },
      });
    }
    expect(lines).toHaveLength(2);
  });
});
