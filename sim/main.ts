/**
 * The simulator's command line.
 *
 *     npm run sim -- --seeds 1000                        a thousand seeds of each profile
 *     npm run sim -- --profile node --seed 7             one seed again, with its trace
 *     npm run sim -- --minutes 60 --workers 2            as many as fit into the time
 *     npm run sim -- --exhaustive --workers 2            a crash at every file operation, every legal outcome
 *
 * A sweep that is stopped by SIGINT or SIGTERM says what it has come to.
 *
 * Exit code 0: nothing found. 1: a check failed. 2: the command line was wrong. 130, 143: stopped before its end.
 */
import { readFileSync } from "node:fs";
import type { Worker } from "node:worker_threads";
import {
  type Command,
  parseCommand,
  type SweepCommand,
  USAGE,
  UsageError,
  usageLine,
} from "./command-line.ts";
import { SCENARIOS } from "./enumerate.ts";
import { runExhaustive } from "./exhaustive.ts";
import { decodeFixture, type Fixture } from "./fixture.ts";
import { hunt, HUNT_BEGINS } from "./hunt.ts";
import { keep, noteFailures } from "./keep.ts";
import { type AnyWorld, playScript } from "./play.ts";
import { PROFILES, type ProfileName, RARE_PATHS, WORLDS } from "./profiles.ts";
import {
  cyclesLine,
  failureText,
  jsonReport,
  marksText,
  progressLine,
  replayText,
  scenarioLine,
  summaryLine,
} from "./report.ts";
import type { RunResult } from "./result.ts";
import { addMarks } from "./marks.ts";
import { addResult, addTotals, emptyTotals, type SweepPlan, type SweepTotals } from "./sweep.ts";
import { startThread } from "./threads.ts";
import { Trace } from "./trace.ts";
import type { WorkerReport } from "./worker.ts";

async function main(command: Command): Promise<number> {
  switch (command.kind) {
    case "help":
      print(USAGE);
      return 0;
    case "hunt":
      print(HUNT_BEGINS);
      hunt(command.seconds, command.first, command.tries, (news) =>
        print(typeof news === "string" ? news : JSON.stringify(news)),
      );
      return 0;
    case "exhaustive":
      return exhaustive(command.workers, command.json);
    case "replay": {
      const trace = new Trace(command.show.events);
      const result = PROFILES[command.profile].run(command.seed, trace);
      return replayed(command.profile, result, trace, command.show.keep);
    }
    case "play": {
      const fixture = readFixture(command.path);
      const trace = new Trace(command.show.events);
      const result = playScript(worldOf(fixture.world), fixture, trace);
      return replayed(fixture.world as ProfileName, result, trace, command.show.keep);
    }
    case "sweep":
      return sweepAll(command.sweep);
  }
}

function readFixture(path: string): Fixture {
  try {
    return decodeFixture(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`${path} is no kept run: ${(error as Error).message}`);
  }
}

function worldOf(name: string): AnyWorld {
  const world = WORLDS.get(name);
  if (world === undefined) throw new UsageError(`there is no world ${name}`);
  return world;
}

function replayed(
  profile: ProfileName,
  result: RunResult,
  trace: Trace,
  sentence: string | null,
): number {
  print(replayText(profile, result, trace.lines()));
  if (sentence !== null) print(keep(result, sentence));
  return result.failure === null ? 0 : 1;
}

async function sweepAll({
  plan,
  firstSeed,
  workers,
  json,
  marks,
  shrink,
}: SweepCommand): Promise<number> {
  const startedMs = performance.now();
  const seconds = (): number => (performance.now() - startedMs) / 1000;
  const shares = new Map<number, readonly SweepTotals[]>();
  const sum = (): SweepTotals[] =>
    plan.profiles.map(({ profile }, i) => {
      const totals = emptyTotals(profile);
      for (const share of shares.values()) addTotals(totals, share[i] as SweepTotals);
      return totals;
    });
  const share = (i: number): SweepPlan => ({
    ...plan,
    profiles: plan.profiles.map((one) => ({ ...one, seeds: Math.ceil(one.seeds / workers) })),
    cyclesMax: Math.ceil(plan.cyclesMax / workers),
    firstSeed: firstSeed + i,
    stride: workers,
  });
  const report = (i: number, totals: readonly SweepTotals[]): void => {
    shares.set(i, totals);
    const all = sum();
    for (const { profile, failures } of all)
      for (const { seed, failure } of failures)
        sayOnce(`failed: ${profile}, seed ${seed}: ${failure.check}`);
    if (all.some(({ seeds }) => seeds > 0)) progress(() => progressLine(all, seconds()));
  };
  const threads = Array.from({ length: workers }, (_, i) =>
    startThread(new URL("./worker.js", import.meta.url), { plan: share(i) }),
  );
  let stopped: Stop | null = null;
  for (const signal of Object.keys(STOPPED) as Stop[])
    process.once(signal, () => {
      stopped = signal;
      for (const thread of threads) void thread.terminate();
    });
  await Promise.all(threads.map((thread, i) => ended(thread, (totals) => report(i, totals))));
  clearProgress();
  if (shares.size === 0)
    shares.set(
      0,
      plan.profiles.map(({ profile }) => emptyTotals(profile)),
    );
  const all = sum();
  const wallSeconds = seconds();
  const hits: Record<string, number> = {};
  for (const totals of all) addMarks(hits, new Map(Object.entries(totals.marks)));
  const wanted = all.flatMap(({ profile }) => RARE_PATHS[profile]);
  const missed = marks ? wanted.filter((name) => hits[name] === undefined) : [];
  if (json) print(jsonReport(all, wallSeconds, missed));
  else {
    for (const totals of all) {
      print(summaryLine(totals, wallSeconds));
      for (const failed of totals.failures) print(failureText(totals.profile, failed));
    }
    if (marks) print(`rare paths:\n${marksText(wanted, hits)}`);
    if (shrink) for (const text of noteFailures(all)) print(text);
    print(cyclesLine(all, wallSeconds));
  }
  if (stopped !== null) {
    process.stderr.write(`stopped by ${String(stopped)} before its end\n`);
    return STOPPED[stopped as Stop];
  }
  return missed.length > 0 || all.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

/** The exit codes by which a shell knows that somebody ended it. */
const STOPPED = { SIGINT: 130, SIGTERM: 143 } as const;
type Stop = keyof typeof STOPPED;

function ended(thread: Worker, report: (totals: readonly SweepTotals[]) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    thread.on("message", (message: WorkerReport) => report(message.totals));
    thread.on("error", reject);
    thread.on("exit", () => resolve());
  });
}

async function exhaustive(workers: number, json: boolean): Promise<number> {
  const totals = emptyTotals("enumerate");
  const startedMs = performance.now();
  const seconds = (): number => (performance.now() - startedMs) / 1000;
  await runExhaustive(workers, (result, name) => {
    addResult(totals, result);
    clearProgress();
    if (!json) print(scenarioLine(name, result, totals.seeds, SCENARIOS.length, seconds()));
    progress(() => progressLine([totals], seconds()));
  });
  if (json) print(jsonReport([totals], seconds(), []));
  else {
    print(summaryLine(totals, seconds()));
    for (const failed of totals.failures) print(failureText("enumerate", failed));
  }
  return totals.failures.length > 0 ? 1 : 0;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line that is renewed on a terminal; elsewhere one a minute, so that a long run can be looked at. */
const PROGRESS_EVERY_MS: number = process.stderr.isTTY ? 200 : 60_000;
let progressAtMs = Number.NEGATIVE_INFINITY;
const said = new Set<string>();

function progress(text: () => string): void {
  if (performance.now() - progressAtMs < PROGRESS_EVERY_MS) return;
  progressAtMs = performance.now();
  process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${text()}` : `${text()}\n`);
}

/** What cannot wait for the end of a long run. */
function sayOnce(text: string): void {
  if (said.has(text)) return;
  said.add(text);
  clearProgress();
  process.stderr.write(`${text}\n`);
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
}

try {
  process.exitCode = await main(parseCommand(process.argv.slice(2)));
} catch (error) {
  const isUsage = error instanceof UsageError || (error instanceof TypeError && "code" in error);
  process.stderr.write(
    isUsage
      ? `${usageLine(error as Error, "npm run sim")}\n`
      : `${String((error as Error).stack)}\n`,
  );
  process.exitCode = isUsage ? 2 : 1;
}
