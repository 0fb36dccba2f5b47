/** Starts a victim, kills it with SIGKILL at a random moment, starts it again and judges what is there; many times. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { createInterface } from "node:readline";
import { Random } from "../../src/base/index.ts";
import { judge } from "./counters.ts";

export interface KillOptions {
  readonly directory: string;
  /** The compiled writer. */
  readonly writer: string;
  readonly cycles: number;
  readonly clients: number;
  readonly seed: number;
  /** A start that takes longer fails the test. */
  readonly startMsMax?: number;
  readonly onCycle?: (done: number) => void;
}

export interface KillResult {
  readonly cycles: number;
  /** Kills that came while at least one write was under way and unacknowledged, by the state found afterwards. */
  readonly unknownWrites: number;
  readonly acknowledged: number;
  /** The first thing that was wrong. */
  readonly fault: string | null;
}

const START_MS_MAX = 20_000;
const KILL_AFTER_MS_MAX = 120;
/** Some lives are long enough for checkpoints and the removal of segments. */
const LONG_LIFE_MS_MAX = 500;
const LONG_LIVES_PERCENT = 20;

export async function killAgainAndAgain(options: KillOptions): Promise<KillResult> {
  const random = new Random(options.seed);
  const acknowledged: number[] = Array.from({ length: options.clients }, () => 0);
  let unknownWrites = 0;
  for (let cycle = 0; cycle <= options.cycles; cycle++) {
    // The last round only looks.
    const lifeMsMax = random.percent(LONG_LIVES_PERCENT) ? LONG_LIFE_MS_MAX : KILL_AFTER_MS_MAX;
    const life = await liveAndDie(
      options,
      cycle === options.cycles ? 0 : random.below(lifeMsMax),
      acknowledged,
    );
    const fault = life.error ?? judge(life.found, life.before);
    const sum = acknowledged.reduce((total, number) => total + number, 0);
    if (fault !== null) return { cycles: cycle, unknownWrites, acknowledged: sum, fault };
    for (const [client, number] of life.before.entries())
      if ((life.found.get(`counter/${client}`) ?? 0) > number) unknownWrites++;
    if (cycle < options.cycles) options.onCycle?.(cycle + 1);
  }
  const sum = acknowledged.reduce((total, number) => total + number, 0);
  return { cycles: options.cycles, unknownWrites, acknowledged: sum, fault: null };
}

interface Life {
  readonly found: ReadonlyMap<string, number>;
  /** What had been acknowledged before this life. */
  readonly before: readonly number[];
  readonly error: string | null;
}

/** Kills it `killAfterMs` after it was ready. What it acknowledges goes into `acknowledged`. */
function liveAndDie(
  options: KillOptions,
  killAfterMs: number,
  acknowledged: number[],
): Promise<Life> {
  const before = [...acknowledged];
  const found = new Map<string, number>();
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(
    process.execPath,
    [options.writer, options.directory, String(options.clients)],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  return new Promise((resolve) => {
    let isReady = false;
    let error: string | null = null;
    const late = setTimeout(() => {
      error = `not ready after ${options.startMsMax ?? START_MS_MAX} ms: ${complaints}`;
      child.kill("SIGKILL");
    }, options.startMsMax ?? START_MS_MAX);
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [kind, first = "", second = ""] = line.split(" ");
      if (kind === "S") found.set(first, Number(second));
      else if (kind === "A") acknowledged[Number(first)] = Number(second);
      else if (kind === "R") {
        isReady = true;
        clearTimeout(late);
        // A write that was under way at the last kill may have happened: the client goes on after it.
        for (const client of acknowledged.keys())
          acknowledged[client] = Math.max(
            acknowledged[client] ?? 0,
            found.get(`counter/${client}`) ?? 0,
          );
        setTimeout(() => child.kill("SIGKILL"), killAfterMs);
      }
    });
    child.on("close", (code, signal) => {
      clearTimeout(late);
      if (error === null && (!isReady || signal !== "SIGKILL"))
        error = `the process ended by itself, code ${code}, signal ${signal}: ${complaints}`;
      resolve({ found, before, error });
    });
  });
}
