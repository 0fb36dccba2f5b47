/** Runs etcdctl, the real one. A missing program is a failure that says what to install. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";

export interface Result {
  readonly exit: number | null;
  readonly out: string;
  readonly err: string;
}

const RUN_TIMEOUT_MS = 15_000;

/** etcdctl against one endpoint (`http://host:port`). */
export class Etcdctl {
  readonly endpoint: string;

  /** `form`: whether the program is given `host:port` or the whole URL. */
  constructor(url: string, form: "host" | "url" = "host") {
    this.endpoint = form === "url" ? url : new URL(url).host;
  }

  /** Runs a command and resolves with how it ended, whatever that is. */
  async try(args: readonly string[], input = ""): Promise<Result> {
    const child = spawn("etcdctl", ["--endpoints", this.endpoint, ...args], {
      env: { PATH: process.env["PATH"] ?? "", ETCDCTL_API: "3" },
      timeout: RUN_TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
    // It may end without having read its input.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    return new Promise((resolve, reject) => {
      child.on("error", (error) => {
        reject(
          new Error("etcdctl cannot be run: install the Debian package etcd-client", {
            cause: error,
          }),
        );
      });
      child.on("close", (exit) => resolve({ exit, out, err }));
    });
  }

  /** Starts a command that goes on until it is stopped. */
  start(...args: readonly string[]): Running {
    return new Running(this.endpoint, args);
  }

  /** Runs a command that must succeed and resolves with its standard output. */
  async run(...args: readonly string[]): Promise<string> {
    return this.#mustSucceed(args, await this.try(args));
  }

  /** `run` with something on standard input. */
  async feed(input: string, ...args: readonly string[]): Promise<string> {
    return this.#mustSucceed(args, await this.try(args, input));
  }

  /** The JSON that a command writes with `-w json`. */
  async json(...args: readonly string[]): Promise<unknown> {
    return JSON.parse(await this.run(...args, "-w", "json"));
  }

  /** Runs a command that must fail and resolves with its last line: what a user reads. */
  async fail(...args: readonly string[]): Promise<string> {
    return lastLine(await this.try(args));
  }

  #mustSucceed(args: readonly string[], result: Result): string {
    if (result.exit === 0) return result.out;
    throw new Error(
      `etcdctl ${args.join(" ")} ended with ${result.exit}:\n${result.out}${result.err}`,
    );
  }
}

export function lastLine(result: Result): string {
  if (result.exit === 0) throw new Error(`etcdctl succeeded: ${result.out}`);
  return result.err.trimEnd().split("\n").at(-1) ?? "";
}

/** A command that goes on: what it has written so far, and what is written to it. */
export class Running {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<number | null>;
  #wake: () => void = () => {};
  out = "";
  err = "";

  constructor(endpoint: string, args: readonly string[]) {
    this.#child = spawn("etcdctl", ["--endpoints", endpoint, ...args], {
      env: { PATH: process.env["PATH"] ?? "", ETCDCTL_API: "3" },
      timeout: RUN_TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.out += text;
      this.#wake();
    });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => (this.err += text));
    this.#child.stdin.on("error", () => {});
    this.#ended = new Promise((resolve, reject) => {
      this.#child.on("error", reject);
      this.#child.on("close", (exit) => {
        resolve(exit);
        this.#wake();
      });
    });
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Resolves with what it wrote when that is so many lines, or when it has ended. */
  async lines(count: number): Promise<string> {
    let isOver = false;
    void this.#ended.then(() => {
      isOver = true;
    });
    while (this.out.split("\n").length <= count && !isOver)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.out;
  }

  /** Resolves when it ends by itself. */
  async end(): Promise<Result> {
    return { exit: await this.#ended, out: this.out, err: this.err };
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
