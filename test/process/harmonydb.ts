/** Runs `bin/harmonydb` as its users do, in processes of its own, each bounded in time and ended with its test. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, credentials } from "@grpc/grpc-js";

/** Seen from here as it is written, and from where the compiler puts it. */
const ROOT = import.meta.url.includes("/dist/test/") ? "../../../" : "../../";
const BIN = fileURLToPath(new URL(`${ROOT}bin/harmonydb`, import.meta.url));
const RUN_TIMEOUT_MS = 20_000;

export interface Ended {
  readonly exit: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface ReadyLine {
  readonly ready: boolean;
  readonly name: string;
  readonly client: readonly string[];
  readonly recovery: Readonly<Record<string, unknown>>;
  readonly peer?: readonly string[];
}

/** A process under way. */
export class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  #out = "";
  #err = "";
  readonly #deadline: NodeJS.Timeout;

  constructor(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    timeoutMs: number = RUN_TIMEOUT_MS,
  ) {
    this.child = spawn(process.execPath, [BIN, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "", ...environment },
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.#out += text));
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.#err += text));
    this.#deadline = setTimeout(() => this.child.kill("SIGKILL"), timeoutMs);
    this.ended = new Promise((resolve) => {
      this.child.on("close", (exit, signal) => {
        clearTimeout(this.#deadline);
        resolve({ exit, signal, out: this.#out, err: this.#err });
      });
    });
  }

  get out(): string {
    return this.#out;
  }

  get err(): string {
    return this.#err;
  }

  /** The first line on stdout. Rejects with what was said when the process ends before it. */
  ready(): Promise<ReadyLine> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const end = this.#out.indexOf("\n");
        if (end < 0) return;
        this.child.stdout?.off("data", look);
        resolve(JSON.parse(this.#out.slice(0, end)) as ReadyLine);
      };
      this.child.stdout?.on("data", look);
      void this.ended.then(({ exit, err }) =>
        reject(new Error(`ended with ${exit} before it was ready:\n${err}`)),
      );
      look();
    });
  }

  kill(signal: NodeJS.Signals): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** A data directory, the processes on it, and their end. */
export class Bench {
  readonly root: string = mkdtempSync(join(tmpdir(), "harmonydb-process-"));
  readonly dataDir: string = join(this.root, "data");
  readonly #runs: Run[] = [];

  run(...args: readonly string[]): Run {
    const run = new Run(args);
    this.#runs.push(run);
    return run;
  }

  /** A node on the directory, on a free port. */
  serve(...args: readonly string[]): Run {
    return this.run(
      "serve",
      "--data-dir",
      this.dataDir,
      "--listen-client-urls",
      "http://127.0.0.1:0",
      ...(args.some((arg) => arg.startsWith("--listen-metrics-urls"))
        ? []
        : ["--listen-metrics-urls=none"]),
      ...args,
    );
  }

  async close(): Promise<void> {
    for (const run of this.#runs) if (run.child.exitCode === null) await run.kill("SIGKILL");
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** The least of a client: keys and values are short ASCII, so the messages are a few bytes by hand (etcd's rpc.proto). */
export class TinyClient {
  readonly #client: Client;

  constructor(url: string) {
    this.#client = new Client(url.replace(/^http:\/\//, ""), credentials.createInsecure());
  }

  #call(method: string, request: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/etcdserverpb.KV/${method}`,
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        request,
        { deadline: Date.now() + 10_000 },
        (error, answer) => (error === null ? resolve(answer as Buffer) : reject(error)),
      );
    });
  }

  async put(key: string, value: string): Promise<void> {
    await this.#call("Put", Buffer.concat([field(1, key), field(2, value)]));
  }

  /** Whether the key is there with this value, now or at a small revision: the answer holds both as they are. */
  async has(key: string, value: string, revision = 0): Promise<boolean> {
    const at = revision === 0 ? Buffer.alloc(0) : Buffer.from([(4 << 3) | 0, revision]);
    const answer = await this.#call("Range", Buffer.concat([field(1, key), at]));
    return answer.includes(field(1, key)) && answer.includes(field(5, value));
  }

  close(): void {
    this.#client.close();
  }
}

function field(number: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > 127) throw new Error("one byte of length is enough here");
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}
