/** Figures and how they are printed: medians over interleaved runs, never a single run. */

export interface Latencies {
  readonly count: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

/** Latencies in microseconds over `elapsedMs`. */
export function latencies(samplesUs: readonly number[], elapsedMs: number): Latencies {
  const sorted = Float64Array.from(samplesUs).sort();
  const at = (quantile: number): number =>
    sorted[Math.floor((sorted.length - 1) * quantile)] ?? Number.NaN;
  return {
    count: sorted.length,
    perSecond: (sorted.length / elapsedMs) * 1000,
    p50Us: at(0.5),
    p99Us: at(0.99),
    p999Us: at(0.999),
    maxUs: at(1),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** One line of a table: what was measured, each side's figure, and what each side guarantees. */
export interface Row {
  readonly goal: string;
  readonly work: string;
  readonly ours: string;
  readonly other: string;
  readonly ratio: string;
  readonly demand: string;
  readonly holds: boolean | null;
}

export function table(rows: readonly Row[]): string {
  const head = ["goal", "work", "ours", "beside it", "ratio", "at least", "holds"];
  const lines = rows.map((row) => [
    row.goal,
    row.work,
    row.ours,
    row.other,
    row.ratio,
    row.demand,
    row.holds === null ? "printed" : row.holds ? "yes" : "NO",
  ]);
  const format = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [format(head), format(head.map(() => "---")), ...lines.map(format)].join("\n");
}

/** Nanoseconds of the process clock, as microseconds with fractions. */
export function nowUs(): number {
  return performance.now() * 1000;
}

/**
 * Processor time of this process, all its threads, in microseconds. On a machine that does other work it says what a
 * piece of work costs where the clock says how long it had to wait.
 */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
