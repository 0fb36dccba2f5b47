/** What a sweep tells people and programs. */
import { PROFILES, type ProfileName } from "./profiles.ts";
import type { RunResult } from "./result.ts";
import { countedCycles, type FailedSeed, type SweepTotals } from "./sweep.ts";
import { show } from "./violation.ts";

/** A failure in the middle of a sweep shows fewer events than one that is asked for. */
const SHOWN_EVENTS = 60;

export function summaryLine(totals: SweepTotals, wallSeconds: number): string {
  const { profile, seeds, cycles, commands, failures } = totals;
  const [cycle, command] = PROFILES[profile].units;
  return `${profile.padEnd(9)} ${number(seeds)} seeds, ${number(cycles)} ${cycle}${rate(cycles, wallSeconds)}, ${number(commands)} ${command}, ${failures.length} failed`;
}

/** A scenario of the enumeration that is done. */
export function scenarioLine(
  name: string,
  { cycles, commands, failure }: RunResult,
  done: number,
  of: number,
  seconds: number,
): string {
  const found = failure === null ? "" : ", FAILED";
  return `${seconds.toFixed(0).padStart(5)} s  ${done} of ${of}  ${name}: ${number(commands)} crash points, ${number(cycles)} crashes${found}`;
}

function rate(count: number, seconds: number): string {
  return seconds > 0 ? ` (${(count / seconds).toFixed(1)}/s)` : "";
}

/** The last line: cycles as the goal counts them. */
export function cyclesLine(all: readonly SweepTotals[], wallSeconds: number): string {
  const { storage, node } = countedCycles(all);
  const failed = all.reduce((sum, { failures }) => sum + failures.length, 0);
  return `${number(storage + node)} cycles: ${number(storage)} of storage, ${number(node)} of nodes; ${wallSeconds.toFixed(0)} s${rate(storage + node, wallSeconds)}, ${failed} failed`;
}

/** For a terminal, while it runs. */
export function progressLine(all: readonly SweepTotals[], wallSeconds: number): string {
  const { storage, node } = countedCycles(all);
  const parts = all.map(({ profile, seeds }) => `${profile} ${number(seeds)}`);
  const failed = all.reduce((sum, { failures }) => sum + failures.length, 0);
  return `${wallSeconds.toFixed(0)} s  seeds: ${parts.join(", ")}  cycles: ${number(storage + node)}${rate(storage + node, wallSeconds)}  failed: ${failed}`;
}

export function failureText(
  profile: ProfileName,
  { seed, failure }: FailedSeed,
  events: number = SHOWN_EVENTS,
): string {
  const { script } = failure;
  return [
    "",
    `FAILED: profile ${profile}, seed ${seed}, at event ${failure.event}`,
    `  check:   ${failure.check}`,
    `  what:    ${failure.message.split("\n").join("\n           ")}`,
    // Of a run that was stopped there is the place alone: the replay has the rest.
    ...(failure.options === null ? [] : [`  options: ${show(failure.options)}`]),
    `  replay:  npm run sim -- --profile ${profile} --seed ${seed}`,
    `  with:    Node.js ${process.version}`,
    ...(script === null
      ? []
      : [
          `  steps:   ${script.steps.length}, the last of them`,
          ...script.steps.slice(-events).map((step) => `    ${show(step)}`),
        ]),
    ...(failure.lines.length === 0 ? [] : ["  last events:"]),
    ...failure.lines.slice(-events).map((line) => `    ${line}`),
  ].join("\n");
}

export function replayText(
  profile: ProfileName,
  result: RunResult,
  lines: readonly string[],
): string {
  if (result.failure !== null)
    return failureText(profile, { seed: result.seed, failure: result.failure }, lines.length);
  const [cycles, commands] = PROFILES[profile].units;
  return [
    ...lines,
    `profile ${profile}, seed ${result.seed}: ${result.cycles} ${cycles}, ${result.commands} ${commands}, hash ${result.hash.toString(16)}, nothing found`,
  ].join("\n");
}

/** Which rare paths were reached, and which were not. */
export function marksText(
  wanted: readonly string[],
  hits: Readonly<Record<string, number>>,
): string {
  const names = [...new Set([...wanted, ...Object.keys(hits)])].toSorted();
  const width = Math.max(0, ...names.map((name) => name.length));
  return names
    .map(
      (name) =>
        `  ${name.padEnd(width)}  ${hits[name] === undefined ? "NEVER" : number(hits[name])}`,
    )
    .join("\n");
}

export function jsonReport(
  all: readonly SweepTotals[],
  wallSeconds: number,
  missed: readonly string[],
): string {
  const { storage, node } = countedCycles(all);
  return JSON.stringify({
    ok: missed.length === 0 && all.every(({ failures }) => failures.length === 0),
    seconds: wallSeconds,
    cycles: storage + node,
    cyclesOfStorage: storage,
    cyclesOfNodes: node,
    neverReached: missed,
    node: process.version,
    profiles: all.map((totals) => ({
      ...totals,
      failures: totals.failures.map(({ seed, failure }) => ({
        seed,
        check: failure.check,
        event: failure.event,
        message: failure.message,
        options: JSON.parse(show(failure.options)) as unknown,
        steps: JSON.parse(show(failure.script?.steps ?? null)) as unknown,
        lines: failure.lines,
      })),
    })),
  });
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
