/** A node of ours in a process of its own, and the load generator on etcd's Go client that ETCD_LOAD names. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const START_MS = 30_000;

export interface Server {
  readonly pid: number;
  readonly endpoint: string;
  stop(): Promise<void>;
}

export function stopper(child: ChildProcess, dataDir: string): () => Promise<void> {
  return async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
    rmSync(dataDir, { recursive: true, force: true });
  };
}

/** `flags` besides those that give it a directory and a port. */
export async function startOurs(directory: string, flags: readonly string[] = []): Promise<Server> {
  const dataDir = mkdtempSync(join(directory, "p3-ours-"));
  const bin = fileURLToPath(new URL("../../bin/harmonydb", import.meta.url));
  const child = spawn(
    process.execPath,
    [bin, "serve", "--data-dir", dataDir, "--listen-client-urls", "http://127.0.0.1:0", ...flags],
    {
      stdio: ["ignore", "pipe", "ignore"],
    },
  );
  const line = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the node did not start")), START_MS);
    createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).once(
      "line",
      (text) => {
        clearTimeout(timer);
        resolve(text);
      },
    );
    child.once("exit", (code) => reject(new Error(`the node ended with ${String(code)}`)));
  });
  const ready = JSON.parse(line) as { readonly client: readonly string[] };
  return {
    endpoint: new URL(ready.client[0] as string).host,
    stop: stopper(child, dataDir),
    pid: child.pid as number,
  };
}

/** The kernel counts processor time in hundredths of a second. */
const TICK_US = 10_000;

/** Processor time of another process, all its threads, by the kernel's word. */
export function cpuUsOf({ pid }: { readonly pid: number }): number {
  // The name, in brackets, may hold spaces; what follows does not.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

export interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
}

const LOAD_MS = 10 * 60_000;

export function load(
  generator: string,
  endpoint: string,
  op: string,
  clients: number,
  total: number,
  { keys, valueBytes }: { readonly keys?: number; readonly valueBytes?: number } = {},
): Promise<Load> {
  const args = [
    "-endpoints",
    endpoint,
    "-clients",
    String(clients),
    "-conns",
    "8",
    "-total",
    String(total),
    "-op",
    op,
    ...(keys === undefined ? [] : ["-keys", String(keys)]),
    ...(valueBytes === undefined ? [] : ["-val", String(valueBytes)]),
  ];
  return new Promise((resolve, reject) => {
    execFile(generator, args, { timeout: LOAD_MS }, (error, stdout) => {
      const match = /errs=(\d+) (\d+) ops\/s p50=([\d.]+)/.exec(stdout);
      if (error !== null) reject(error);
      else if (match === null || match[1] !== "0")
        reject(new Error(`the load generator said: ${stdout}`));
      else
        resolve({
          perSecond: Number(match[2]),
          p50Ms: Number(match[3]),
        });
    });
  });
}
