/**
 * `npm run sim:mutations`: plants each bug of `mutants.ts` in a copy of the built code and lets the simulator look for
 * it with its general checks, several times with seeds of its own. Prints a line for each; `--write` puts each into the
 * table of docs/reliability.md as soon as it is known, and leaves the rows of bugs that were not looked for as they are;
 * `--help` says the rest.
 *
 * Exit code 0: every planted bug was found in every try. 1: one was not. 2: the command line was wrong.
 */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { UsageError, usageLine, whole } from "./command-line.ts";
import { HUNT_BEGINS, HUNT_GOES_ON, type HuntResult } from "./hunt.ts";
import type { Mutant } from "./mutant.ts";
import { MUTANTS } from "./mutants.ts";
import { withRows } from "./mutation-table.ts";
import { plant, projectPath } from "./plant.ts";
import { YOUNG_MEMORY_FLAG } from "./threads.ts";

interface Options {
  readonly values: { readonly write: boolean; readonly json: boolean };
  readonly triesMax: number;
  readonly secondsMax: number;
  readonly budgetSeconds: number;
  readonly workers: number;
  readonly chosen: readonly Mutant[];
}

interface Row {
  readonly mutant: Mutant;
  readonly tries: readonly HuntResult[];
}

const USAGE = `usage: npm run sim:mutations -- [options]
  --only name      one of the planted bugs
  --layer layers   those of one layer, or of several with commas
  --tries N        how often each is looked for (default 20)
  --seconds N      how long at most in one try, in time of a processor (default 300)
  --budget N       no new try of a bug after so many seconds (default 600)
  --workers N      how many at a time (default 2)
  --write          each into the table of docs/reliability.md
  --json           a summary for programs`;
const DOCUMENT = projectPath("docs", "reliability.md");
/** No seed takes so long, also on a machine that others use. */
const SILENCE_MS = 300_000;

const { values, triesMax, secondsMax, budgetSeconds, workers, chosen } = options();

/** Ends the process with one line where the command line is wrong. */
function options(): Options {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    const isUsage = error instanceof UsageError || (error instanceof TypeError && "code" in error);
    if (!isUsage) throw error;
    process.stderr.write(`${usageLine(error, "npm run sim:mutations")}\n`);
    process.exit(2);
  }
}

// Whoever reads the table may stop reading.
process.stdout.on("error", () => process.exit(1));
const rows: Row[] = [];
const waiting = [...chosen];
await Promise.all(
  Array.from({ length: workers }, async () => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const row = { mutant, tries: await lookFor(mutant) };
      rows.push(row);
      if (values.write) writeRow(row);
      if (!values.json) process.stdout.write(`${line(row)}\n`);
    }
  }),
);
rows.sort((a, b) => MUTANTS.indexOf(a.mutant) - MUTANTS.indexOf(b.mutant));
const missed = rows.filter(({ tries }) => !tries.every(({ caught }) => caught));
if (values.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
else
  process.stdout.write(
    `${rows.length} planted, ${rows.length - missed.length} found in every try${missed.length === 0 ? "" : `, not always: ${missed.map(({ mutant }) => mutant.name).join(", ")}`}\n`,
  );
process.exitCode = missed.length === 0 && rows.length > 0 ? 0 : 1;

/** Throws `UsageError`, or what `parseArgs` throws for an unknown option. */
function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string" },
      layer: { type: "string" },
      tries: { type: "string", default: "20" },
      seconds: { type: "string", default: "300" },
      budget: { type: "string", default: "600" },
      workers: { type: "string", default: "2" },
      write: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    process.exit(0);
  }
  const { only } = values;
  if (only !== undefined && !MUTANTS.some(({ name }) => name === only))
    throw new UsageError(`there is no planted bug ${only}`);
  const layers = values.layer?.split(",");
  for (const layer of layers ?? [])
    if (!MUTANTS.some((mutant) => mutant.layer === layer))
      throw new UsageError(`there is no planted bug in a layer ${layer}`);
  const chosen = MUTANTS.filter(
    ({ name, layer }) =>
      (only === undefined || name === only) && (layers === undefined || layers.includes(layer)),
  );
  if (chosen.length === 0) throw new UsageError(`${String(only)} is not of layer ${values.layer}`);
  return {
    values,
    triesMax: positive(values.tries, "--tries"),
    secondsMax: positive(values.seconds, "--seconds"),
    budgetSeconds: positive(values.budget, "--budget"),
    workers: positive(values.workers, "--workers"),
    chosen,
  };
}

function positive(text: string, name: string): number {
  const value = whole(text, name);
  if (value === 0) throw new UsageError(`${name} is at least 1`);
  return value;
}

async function lookFor(mutant: Mutant): Promise<HuntResult[]> {
  const planted = plant(mutant);
  const startedMs = performance.now();
  const results: HuntResult[] = [];
  while (results.length < triesMax) {
    const spentMs = performance.now() - startedMs;
    if (results.length > 0 && spentMs > budgetSeconds * 1000) break;
    results.push(...(await hunt(planted.main, results.length, spentMs)));
  }
  planted.remove();
  return results;
}

/** Tries from the `first` on in one process, until they are done or it ends or has to be ended. */
function hunt(main: string, first: number, spentMs: number): Promise<HuntResult[]> {
  return new Promise((resolve, reject) => {
    const results: HuntResult[] = [];
    const args = [YOUNG_MEMORY_FLAG, main, "--hunt", String(secondsMax), "--first", String(first)];
    const child = spawn(process.execPath, [...args, "--tries", String(triesMax - first)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const startedMs = performance.now();
    let heardMs = startedMs;
    let isOver = false;
    let hasBegun = false;
    const watch = setInterval(() => {
      const nowMs = performance.now();
      if (nowMs - heardMs > SILENCE_MS) child.kill("SIGKILL");
      if (results.length > 0 && spentMs + nowMs - startedMs > budgetSeconds * 1000) {
        isOver = true;
        child.kill("SIGKILL");
      }
    }, 500);
    createInterface({ input: child.stdout }).on("line", (text) => {
      heardMs = performance.now();
      if (text === HUNT_BEGINS) hasBegun = true;
      else if (text !== HUNT_GOES_ON) results.push(JSON.parse(text) as HuntResult);
    });
    child.on("error", reject);
    child.on("close", () => {
      clearInterval(watch);
      if (!hasBegun) {
        reject(new Error(`${main} does not start`));
        return;
      }
      if (!isOver && first + results.length < triesMax)
        results.push({
          caught: true,
          profile: null,
          check: "the run does not come to an end, or the process dies",
          seeds: 1,
          cycles: 0,
          seconds: Math.round((performance.now() - heardMs) / 10) / 100,
        });
      resolve(results);
    });
  });
}

interface Summary {
  readonly found: string;
  readonly by: string;
  readonly check: string;
  readonly median: string;
}

function summary({ tries }: Row): Summary {
  const caught = tries.filter((one) => one.caught);
  const cycles = tries.reduce((sum, one) => sum + one.cycles, 0);
  const seeds = median(tries.map((one) => (one.caught ? one.seeds : Number.POSITIVE_INFINITY)));
  const seconds = median(tries.map((one) => one.seconds));
  return {
    found: `${caught.length} of ${tries.length}`,
    by: mostFrequent(caught.map(({ profile }) => profile ?? "any")),
    check: mostFrequent(caught.map(({ check }) => check ?? "")),
    median: Number.isFinite(seeds)
      ? `${seeds} ${seeds === 1 ? "seed" : "seeds"}, ${seconds.toFixed(1)} s`
      : `nothing in ${cycles} cycles`,
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

function mostFrequent(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? "";
}

function line(row: Row): string {
  const { found, by, check, median: cost } = summary(row);
  return `${row.mutant.layer.padEnd(8)} ${row.mutant.name.padEnd(48)} found in ${found}, median ${cost}, by ${by}: ${check.slice(0, 90)}`;
}

/** After each bug, so that a run that is stopped keeps what it has found out. */
function writeRow(row: Row): void {
  const { layer, name, why } = row.mutant;
  const { found, by, check, median: cost } = summary(row);
  const names = MUTANTS.map((mutant) => mutant.name);
  const text = readFileSync(DOCUMENT, "utf8");
  const rows = [{ layer, name, why, found, by, check, cost }];
  writeFileSync(DOCUMENT, withRows(text, rows, names));
}
