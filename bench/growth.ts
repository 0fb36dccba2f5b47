/** How cost, in processor time, grows with the number of keys: as rows, and as a plot in bench/results/growth.svg. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { inDirectory, runChild } from "./child.ts";
import type { FilledFigures, OpenedFigures } from "./growth-side.ts";
import { median, type Row } from "./measure.ts";
import { type Panel, plot } from "./plot.ts";

const SIZES: readonly number[] = [10_000, 100_000, 1_000_000, 10_000_000];
const OPENINGS = 3;

interface Point extends FilledFigures {
  readonly keys: number;
  readonly openMs: number;
}

async function measure(directory: string, keys: number): Promise<Point> {
  return await inDirectory(directory, async (own) => {
    const filled = await runChild<FilledFigures>(
      "growth-side",
      ["fill", String(keys), own],
      ["--expose-gc"],
    );
    const times: number[] = [];
    for (let i = 0; i < OPENINGS; i++) {
      const { openMs } = await runChild<OpenedFigures>("growth-side", ["open", String(keys), own]);
      times.push(openMs);
    }
    return { ...filled, keys, openMs: median(times) };
  });
}

export async function growth(directory: string): Promise<Row[]> {
  const points: Point[] = [];
  for (const keys of SIZES) {
    points.push(await measure(directory, keys));
    console.log(JSON.stringify(points.at(-1)));
    // After each size: the last one takes most of the time.
    writeFileSync(join(directory, "..", "growth.svg"), plot(panelsOf(points)));
  }
  return points.map((point) => ({
    goal: "growth",
    work: `${point.keys.toLocaleString("en")} random keys of 16 bytes, values of 128, default settings`,
    ours:
      `put ${point.putUs.toFixed(1)} us, getSync ${point.getUs.toFixed(2)} us, scan ${point.scanUs.toFixed(2)} us, ` +
      `memory ${Math.round(point.memoryBytes / 1e6)} MB, file ${Math.round(point.fileBytes / 1e6)} MB, ` +
      `checkpoint of 10,000 changes ${point.checkpointMs.toFixed(0)} ms, reopen ${point.openMs.toFixed(0)} ms`,
    other: "-",
    ratio: "-",
    demand: "no faster than the work",
    holds: null,
  }));
}

function panelsOf(points: readonly Point[]): readonly Panel[] {
  return [
    {
      title: "microseconds of processor time for each",
      lines: [
        line("put", points, (point) => point.putUs),
        line("getSync", points, (point) => point.getUs),
        line("scan", points, (point) => point.scanUs),
      ],
    },
    {
      title: "of the whole database, milliseconds and MB",
      lines: [
        line("memory, MB", points, (point) => point.memoryBytes / 1e6),
        line("file, MB", points, (point) => point.fileBytes / 1e6),
        line("checkpoint of 10,000 changes, ms", points, (point) => point.checkpointMs),
        line("reopen, ms", points, (point) => point.openMs),
      ],
    },
  ];
}

function line(
  name: string,
  points: readonly Point[],
  of: (point: Point) => number,
): Panel["lines"][number] {
  return { name, points: points.map((point) => ({ x: point.keys, y: of(point) })) };
}
