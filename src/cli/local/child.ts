/**
 * One member of a local cluster as a child process. One that dies is started again after a while that grows; one whose
 * start is refused, or whose data is damaged, is not: nothing would be another time.
 *
 *     starting ──ready line──▶ serving ──exit──▶ waiting ──▶ starting
 *        └ exit 1, 70: given up                  stop: ended
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { Exit } from "../exit.ts";
import type { PlannedNode } from "./plan.ts";

const BACKOFF_MS = 500;
const BACKOFF_MS_MAX = 10_000;
/** Who has served for so long has begun well. */
const GOOD_MS = 30_000;
/** What a member may take to stop in order. */
const STOP_MS = 10_000;

export type ChildState = "starting" | "serving" | "waiting" | "given up" | "ended";

export interface ChildOptions {
  /** The command line of this program: what stands before `serve`. */
  readonly command: readonly [string, ...string[]];
  readonly args: readonly string[];
  readonly logFile: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of whatever has become of it. */
  readonly news: (what: string) => void;
}

export class Child {
  readonly node: PlannedNode;
  readonly #options: ChildOptions;
  #process: ChildProcess | null = null;
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #startedMs = 0;
  #isStopping = false;
  state: ChildState = "starting";

  constructor(node: PlannedNode, options: ChildOptions) {
    this.node = node;
    this.#options = options;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  start(): void {
    const { command, args, logFile, environment, news } = this.#options;
    const [program, ...before] = command;
    mkdirSync(dirname(logFile), { recursive: true });
    const log = openSync(logFile, "a", 0o600);
    this.state = "starting";
    this.#startedMs = performance.now();
    // A group of its own: Ctrl-C is for this process, which then stops the others in order.
    const child = spawn(program, [...before, ...args], {
      stdio: ["ignore", "pipe", log],
      detached: true,
      env: environment,
    });
    closeSync(log);
    this.#process = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      if (this.state !== "starting" || !text.includes('"ready":true')) return;
      this.state = "serving";
      news(`serves on ${this.node.clientUrl} as process ${child.pid}`);
    });
    child.on("error", (error) => news(`cannot be started: ${error.message}`));
    child.on("close", (exit, signal) => this.#ended(exit, signal));
  }

  /** In order; what takes too long is ended. Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const child = this.#process;
    if (child === null) {
      this.state = "ended";
      return;
    }
    const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await gone;
    clearTimeout(timer);
  }

  /** What it said last, for a person: the message and the advice of a log line, or the text as it is. */
  lastWords(): readonly string[] {
    const log = readFileSync(this.#options.logFile, "utf8").trimEnd().split("\n");
    // Lines that are indented belong to the one before.
    const from = log.findLastIndex((line) => !line.startsWith(" "));
    const lines = log.slice(Math.max(0, from)).map((line) => line.trim());
    try {
      const { msg, advice } = JSON.parse(lines[0] ?? "") as { msg?: string; advice?: string };
      return [msg ?? "", advice ?? ""].filter((text) => text !== "");
    } catch {
      return lines;
    }
  }

  /** At once. */
  kill(): void {
    this.#isStopping = true;
    this.#process?.kill("SIGKILL");
  }

  #ended(exit: number | null, signal: NodeJS.Signals | null): void {
    this.#process = null;
    const how = signal ?? `exit ${exit}`;
    const { news, logFile } = this.#options;
    if (this.#isStopping) {
      this.state = "ended";
      news(`stopped (${how})`);
      return;
    }
    if (exit === Exit.refused || exit === Exit.corrupt) {
      this.state = "given up";
      news(`ended (${how}) and is not started again: see ${logFile}`);
      return;
    }
    if (performance.now() - this.#startedMs > GOOD_MS) this.#failures = 0;
    const waitMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** this.#failures++);
    this.state = "waiting";
    news(`ended (${how}); it is started again in ${waitMs / 1000} s`);
    this.#timer = setTimeout(() => this.start(), waitMs);
  }
}
