/**
 * Logs to stderr that never hold the database up. A reader that stopped reading, a full disk under a redirected
 * stderr or a closed pipe cost lines, which are counted and reported, and never a request (fault-rules O11).
 */
import { fstatSync, writeSync } from "node:fs";
import type { LogLevel, LogSink } from "../env/index.ts";
import { pino } from "pino";

/** Takes whole lines, with their line ends. Returns in bounded time. */
export type LineSink = (line: string) => void;

/** What may wait in memory for a slow reader: minutes of ordinary logs, nothing beside the cache. */
const WAITING_MAX_BYTES = 1024 * 1024;

/** The process's stderr as a LineSink. One per process. */
export function stderrSink(): LineSink {
  return isFile(2) ? fileSink(2) : streamSink(process.stderr, WAITING_MAX_BYTES);
}

function isFile(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isFile();
  } catch {
    return false;
  }
}

/** A write to a file ends in the page cache. It may fail (full disk): the line is gone then, and the next is tried. */
function fileSink(descriptor: number): LineSink {
  let lost = 0;
  return (line) => {
    try {
      writeSync(descriptor, lost === 0 ? line : `${lostLine(lost)}${line}`);
      lost = 0;
    } catch {
      lost++;
    }
  };
}

/** The part of a stream that is used: pipes do not block, their backlog waits in memory. */
export interface WaitingStream {
  readonly writableLength: number;
  write(text: string): boolean;
  on(event: "error", listener: () => void): unknown;
}

/** Drops lines while more than `waitingMaxBytes` wait, and says how many when there is room again. */
export function streamSink(stream: WaitingStream, waitingMaxBytes: number): LineSink {
  let lost = 0;
  // A closed pipe reports itself here; without a listener it would end the process.
  stream.on("error", () => undefined);
  return (line) => {
    if (stream.writableLength + line.length > waitingMaxBytes) {
      lost++;
      return;
    }
    if (lost > 0) {
      stream.write(lostLine(lost));
      lost = 0;
    }
    stream.write(line);
  };
}

function lostLine(lost: number): string {
  return `${JSON.stringify({ level: "warn", ts: new Date().toISOString(), logger: "log", msg: "lines were lost: nobody read them", lines: lost })}\n`;
}

/** A log of the wanted level and format. Fields may hold anything: what JSON lacks becomes text. */
export function createLog(level: LogLevel, format: "json" | "console", sink: LineSink): LogSink {
  return format === "json" ? jsonLog(level, sink) : consoleLog(level, sink);
}

function jsonLog(level: LogLevel, sink: LineSink): LogSink {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: sink },
  );
  return (lineLevel, source, message, fields) => {
    logger[lineLevel]({ logger: source, ...plain(fields) }, message);
  };
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

function consoleLog(level: LogLevel, sink: LineSink): LogSink {
  return (lineLevel, source, message, fields) => {
    if (RANK[lineLevel] < RANK[level]) return;
    let line = `${new Date().toISOString()} ${lineLevel.toUpperCase().padEnd(5)} ${source}: ${message}`;
    for (const [key, value] of Object.entries(plain(fields))) {
      line += ` ${key}=${jsonOf(value)}`;
    }
    sink(`${line}\n`);
  };
}

/** A log line must come out whatever a caller put into it. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** 64-bit ids do not fit a JSON number, and an Error is `{}` in JSON: both become text. */
function plain(fields: Readonly<Record<string, unknown>> | undefined): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields ?? {})) {
    if (typeof value === "bigint") out[key] = value.toString();
    else if (value instanceof Error) out[key] = `${value.name}: ${value.message}`;
    else if (value instanceof Uint8Array) out[key] = `${value.length} bytes`;
    else out[key] = value;
  }
  return out;
}
