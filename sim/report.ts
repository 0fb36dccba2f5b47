/** What a sweep tells people and programs. */
import type { RunResult } from "./result.ts";
import type { FailedSeed, SweepTotals } from "./sweep.ts";
import { show } from "./violation.ts";

const UNIT: Readonly<Record<SweepTotals["profile"], readonly [string, string]>> = {
  storage: ["cycles", "appends"],
  node: ["cycles", "commands"],
  raft: ["crashes", "entries committed"],
  enumerate: ["crashes", "crash points"],
};

export function summaryLine(totals: SweepTotals): string {
  const { profile, seeds, cycles, commands, seconds, failures } = totals;
  const [cycle, command] = UNIT[profile];
  const rate = seconds > 0 ? cycles / seconds : 0;
  return `${profile.padEnd(9)} ${number(seeds)} seeds, ${number(cycles)} ${cycle} (${rate.toFixed(1)}/s), ${number(commands)} ${command}, ${seconds.toFixed(1)} s, ${failures.length} failed`;
}

export function failureText(
  profile: SweepTotals["profile"],
  { seed, failure }: FailedSeed,
): string {
  return [
    "",
    `FAILED: profile ${profile}, seed ${seed}, at event ${failure.event}`,
    `  check:   ${failure.check}`,
    `  what:    ${failure.message.split("\n").join("\n           ")}`,
    `  options: ${show(failure.options)}`,
    `  replay:  npm run sim -- --profile ${profile} --seed ${seed}`,
    "  last events:",
    ...failure.lines.map((line) => `    ${line}`),
  ].join("\n");
}

export function replayText(profile: SweepTotals["profile"], result: RunResult): string {
  if (result.failure !== null)
    return failureText(profile, { seed: result.seed, failure: result.failure });
  return `profile ${profile}, seed ${result.seed}: ${result.cycles} ${UNIT[profile][0]}, ${result.commands} ${UNIT[profile][1]}, hash ${result.hash.toString(16)}, nothing found`;
}

export function jsonReport(all: readonly SweepTotals[]): string {
  const failed = all.some((totals) => totals.failures.length > 0);
  return JSON.stringify({
    ok: !failed,
    cycles: all
      .filter(({ profile }) => profile === "storage" || profile === "node")
      .reduce((sum, { cycles }) => sum + cycles, 0),
    profiles: all.map((totals) => ({
      ...totals,
      failures: totals.failures.map(({ seed, failure }) => ({
        seed,
        check: failure.check,
        event: failure.event,
        message: failure.message,
        options: JSON.parse(show(failure.options)) as unknown,
        lines: failure.lines,
      })),
    })),
  });
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
