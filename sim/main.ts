/**
 * The simulator's command line.
 *
 *     npm run sim -- --seeds 1000              a thousand seeds of each profile
 *     npm run sim -- --profile node --seed 7   one seed again, with its last events if it fails
 *     npm run sim -- --minutes 60 --workers 2  as many as fit into the time
 *     npm run sim -- --profile storage --exhaustive   a crash at every file operation, every legal outcome
 *
 * Exit code 0: nothing found. 1: a check failed. 2: the command line was wrong.
 */
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { SCENARIOS } from "./enumerate.ts";
import { hunt } from "./hunt.ts";
import { isProfile, type ProfileName, PROFILES, runEnumerationSeed } from "./profiles.ts";
import { failureText, jsonReport, replayText, summaryLine } from "./report.ts";
import {
  addResult,
  addTotals,
  emptyTotals,
  sweep,
  type SweepPlan,
  type SweepTotals,
} from "./sweep.ts";
import type { WorkerReport } from "./worker.ts";

const USAGE = `usage: npm run sim -- [options]
  --profile storage|node|raft|enumerate   default: storage, node and raft
  --seeds N        so many seeds of each profile (default 200)
  --first N        the first of them (default 1)
  --seed N         one seed
  --minutes M      as long, instead of --seeds
  --workers 1|2    threads (default 1)
  --exhaustive     a crash at every file operation of the canonical runs, every legal outcome
  --short          the sweep of npm run check
  --verify         with the O(n) checks inside the code
  --failures N     end after so many failed seeds (default 3)
  --json           a summary for programs`;

interface Choice {
  readonly profiles: readonly ProfileName[];
  readonly seeds: number;
  readonly first: number;
  readonly forMs: number;
  readonly workers: number;
  readonly verifying: boolean;
  readonly json: boolean;
  readonly failuresMax: number;
}

const FAILURES_MAX = 3;
/** Seeds of the short sweep: together about half a minute on one core. */
const SHORT_SEEDS: Readonly<Record<ProfileName, number>> = {
  storage: 250,
  node: 120,
  raft: 30,
  enumerate: SCENARIOS.length,
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      profile: { type: "string" },
      seeds: { type: "string" },
      first: { type: "string" },
      seed: { type: "string" },
      minutes: { type: "string" },
      workers: { type: "string" },
      exhaustive: { type: "boolean" },
      short: { type: "boolean" },
      verify: { type: "boolean" },
      json: { type: "boolean" },
      failures: { type: "string" },
      // For the table of planted bugs: rounds of all profiles until the first failure, at most so many seconds.
      hunt: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    print(USAGE);
    return 0;
  }
  if (values.hunt !== undefined) {
    print(JSON.stringify(hunt(whole(values.hunt, "--hunt"))));
    return 0;
  }
  const wanted = values.profile;
  if (wanted !== undefined && !isProfile(wanted))
    throw new UsageError(`there is no profile ${wanted}`);
  if (values.exhaustive === true) return exhaustive(values.json === true);
  if (values.seed !== undefined) return replay(wanted ?? "node", whole(values.seed, "--seed"));
  const minutes = values.minutes === undefined ? null : Number(values.minutes);
  if (minutes !== null && !(minutes > 0)) throw new UsageError("--minutes is a positive number");
  const isShort = values.short === true;
  const profiles: readonly ProfileName[] =
    wanted !== undefined
      ? [wanted]
      : isShort
        ? ["storage", "node", "raft", "enumerate"]
        : ["storage", "node", "raft"];
  const choice: Choice = {
    profiles,
    seeds: minutes !== null ? Number.MAX_SAFE_INTEGER : whole(values.seeds ?? "200", "--seeds"),
    first: whole(values.first ?? "1", "--first"),
    forMs: minutes === null ? Number.POSITIVE_INFINITY : (minutes * 60_000) / profiles.length,
    workers: Math.max(1, whole(values.workers ?? "1", "--workers")),
    verifying: values.verify === true,
    json: values.json === true,
    failuresMax: whole(values.failures ?? String(FAILURES_MAX), "--failures"),
  };
  const all: SweepTotals[] = [];
  for (const profile of profiles) {
    // The O(n) checks make a node several times slower; its log and trees get them in the storage profile.
    const short = { ...choice, seeds: SHORT_SEEDS[profile], verifying: profile !== "node" };
    all.push(await run(isShort ? short : choice, profile));
  }
  return finish(all, choice.json);
}

async function run(choice: Choice, profile: ProfileName): Promise<SweepTotals> {
  const startedMs = performance.now();
  const { workers, forMs } = choice;
  const plan: SweepPlan = {
    profile,
    firstSeed: choice.first,
    stride: workers,
    seeds: workers === 1 ? choice.seeds : Math.ceil(choice.seeds / workers),
    untilMs: performance.now() + forMs,
    failuresMax: choice.failuresMax,
    verifying: choice.verifying,
  };
  const shares = new Map<number, SweepTotals>();
  const sum = (): SweepTotals => {
    const totals = emptyTotals(profile);
    for (const share of shares.values()) addTotals(totals, share);
    totals.seconds = (performance.now() - startedMs) / 1000;
    return totals;
  };
  if (workers === 1) {
    shares.set(
      0,
      sweep(plan, (totals) => progress(totals)),
    );
  } else {
    await Promise.all(
      Array.from({ length: workers }, (_, i) =>
        share({ ...plan, firstSeed: choice.first + i }, forMs, (totals) => {
          shares.set(i, totals);
          progress(sum());
        }),
      ),
    );
  }
  clearProgress();
  const totals = sum();
  if (!choice.json) {
    print(summaryLine(totals));
    for (const failed of totals.failures) print(failureText(profile, failed));
  }
  return totals;
}

function share(
  plan: SweepPlan,
  forMs: number,
  report: (totals: SweepTotals) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: { plan, forMs },
    });
    worker.on("message", (message: WorkerReport) => report(message.totals));
    worker.on("error", reject);
    worker.on("exit", () => resolve());
  });
}

function replay(profile: ProfileName, seed: number): number {
  const result = PROFILES[profile](seed);
  print(replayText(profile, result));
  return result.failure === null ? 0 : 1;
}

function exhaustive(json: boolean): number {
  const totals = emptyTotals("enumerate");
  const startedMs = performance.now();
  for (const [i, { name }] of SCENARIOS.entries()) {
    const result = runEnumerationSeed(i);
    addResult(totals, result);
    totals.seconds = (performance.now() - startedMs) / 1000;
    if (!json) print(`${name}: ${result.commands} crash points, ${result.cycles} crashes`);
  }
  if (!json) {
    print(summaryLine(totals));
    for (const failed of totals.failures) print(failureText("enumerate", failed));
  }
  return finish([totals], json);
}

function finish(all: readonly SweepTotals[], json: boolean): number {
  if (json) print(jsonReport(all));
  else {
    const cycles = all.reduce(
      (sum, { profile, cycles: own }) =>
        sum + (profile === "storage" || profile === "node" ? own : 0),
      0,
    );
    const failed = all.reduce((sum, { failures }) => sum + failures.length, 0);
    print(
      `${cycles.toLocaleString("en-US")} cycles of storage and node together, ${failed} failed`,
    );
  }
  return all.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

class UsageError extends Error {}

function whole(text: string, name: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new UsageError(`${name} is a whole number, not ${text}`);
  return value;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

let progressAtMs = 0;

function progress(totals: SweepTotals): void {
  if (!process.stderr.isTTY || performance.now() - progressAtMs < 200) return;
  progressAtMs = performance.now();
  process.stderr.write(`\r\u001b[K${summaryLine(totals)}`);
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage = error instanceof UsageError || (error instanceof TypeError && "code" in error);
  process.stderr.write(
    isUsage ? `${(error as Error).message}\n${USAGE}\n` : `${String((error as Error).stack)}\n`,
  );
  process.exitCode = isUsage ? 2 : 1;
}
