/**
 * `npm run sim:mutations`: plants each bug of `mutants.ts` in a copy of the built code and lets the simulator look for
 * it with its general checks. Prints the table; `--write` puts it into docs/reliability.md.
 *
 *     --only name      one of them
 *     --layer layer    those of one layer
 *     --seconds N      how long to look for each (default 900)
 *     --workers N      how many at a time (default 2)
 *
 * Exit code 0: every planted bug was found.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { HuntResult } from "./hunt.ts";
import { type Mutant, MUTANTS } from "./mutants.ts";

interface Row {
  readonly mutant: Mutant;
  readonly caught: boolean;
  readonly by: string;
  readonly check: string;
  readonly cost: string;
  readonly seconds: number;
}

const DIST = fileURLToPath(new URL("..", import.meta.url));
const COPIES = join(dirname(DIST.replace(/\/$/, "")), "dist-mutants");
const DOCUMENT = join(dirname(DIST.replace(/\/$/, "")), "docs", "reliability.md");
const BEGIN = "<!-- begin: npm run sim:mutations -- --write -->";
const END = "<!-- end -->";
/** On top of the time for looking: starting, and the seed that is under way. */
const GRACE_MS = 30_000;

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    layer: { type: "string" },
    seconds: { type: "string", default: "900" },
    workers: { type: "string", default: "2" },
    write: { type: "boolean" },
    json: { type: "boolean" },
  },
});
const secondsMax = Number(values.seconds);
const chosen = MUTANTS.filter(
  ({ name, layer }) =>
    (values.only === undefined || name === values.only) &&
    (values.layer === undefined || layer === values.layer),
);

// Whoever reads the table may stop reading.
process.stdout.on("error", () => process.exit(1));
const rows: Row[] = [];
const waiting = [...chosen];
await Promise.all(
  Array.from({ length: Number(values.workers) }, async () => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const row = await lookFor(mutant);
      rows.push(row);
      if (values.json !== true) process.stdout.write(`${line(row)}\n`);
    }
  }),
);
rows.sort((a, b) => MUTANTS.indexOf(a.mutant) - MUTANTS.indexOf(b.mutant));
const missed = rows.filter(({ caught }) => !caught);
if (values.json === true) process.stdout.write(`${JSON.stringify(rows)}\n`);
else
  process.stdout.write(
    `${rows.length} planted, ${rows.length - missed.length} found${missed.length === 0 ? "" : `, not found: ${missed.map(({ mutant }) => mutant.name).join(", ")}`}\n`,
  );
if (values.write === true) writeTable();
process.exitCode = missed.length === 0 && rows.length > 0 ? 0 : 1;

async function lookFor(mutant: Mutant): Promise<Row> {
  const directory = plant(mutant);
  const startedMs = performance.now();
  const found = await run(join(directory, "sim", "main.js"));
  rmSync(directory, { recursive: true });
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  if (found === null)
    return {
      mutant,
      caught: true,
      by: "any",
      check: "the run does not come to an end, or the process dies",
      cost: "1 seed",
      seconds,
    };
  const { caught, profile, check, seeds, cycles } = found;
  return {
    mutant,
    caught,
    by: profile ?? "",
    check: check ?? "",
    cost: caught ? `${seeds} ${seeds === 1 ? "seed" : "seeds"}` : `nothing in ${cycles} cycles`,
    seconds: found.seconds,
  };
}

/** A copy of the built code with one change. What a mutant does not run stays out of it. */
function plant({ name, file, find, replace }: Mutant): string {
  const directory = join(COPIES, name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const isRun = (path: string): boolean =>
    !/\.(?:d\.ts|map|tsbuildinfo)$/.test(path) &&
    !/\/src\/(?:codec|server|cli|platform)(?:\/|$)/.test(path);
  for (const part of ["src", "sim"])
    cpSync(join(DIST, part), join(directory, part), { recursive: true, filter: isRun });
  const path = join(directory, "src", file);
  const parts = readFileSync(path, "utf8").split(find);
  if (parts.length !== 2)
    throw new Error(`${name}: what is to be replaced stands ${parts.length - 1} times in ${file}`);
  writeFileSync(path, parts.join(replace));
  return directory;
}

/** What the hunt says; null when the process ended without saying anything, or had to be ended. */
function run(main: string): Promise<HuntResult | null> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [main, "--hunt", String(secondsMax)],
      { timeout: secondsMax * 1000 + GRACE_MS, killSignal: "SIGKILL" },
      (_, stdout) => {
        try {
          resolve(JSON.parse(stdout) as HuntResult);
        } catch {
          resolve(null);
        }
      },
    );
  });
}

function line({ mutant, caught, by, check, cost, seconds }: Row): string {
  const verdict = caught
    ? `found by ${by}: ${check} (${cost}, ${seconds} s)`
    : `NOT FOUND (${cost}, ${seconds} s)`;
  return `${mutant.layer.padEnd(8)} ${mutant.name.padEnd(48)} ${verdict}`;
}

function writeTable(): void {
  const table = [
    "| layer | planted bug | what it breaks | found by | check that found it | cost |",
    "|---|---|---|---|---|---|",
    ...rows.map(
      ({ mutant, caught, by, check, cost, seconds }) =>
        `| ${mutant.layer} | ${mutant.name} | ${mutant.why} | ${caught ? by : "**not found**"} | ${check.replaceAll("|", "\\|").slice(0, 90)} | ${cost}, ${seconds} s |`,
    ),
  ].join("\n");
  const text = readFileSync(DOCUMENT, "utf8");
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END, from);
  if (from < 0 || to < 0) throw new Error(`${DOCUMENT} has no place for the table`);
  writeFileSync(DOCUMENT, `${text.slice(0, from + BEGIN.length)}\n\n${table}\n\n${text.slice(to)}`);
}
