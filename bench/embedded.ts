/** P6: random puts a thousand at a time, reads and scans in process, beside other embedded stores, interleaved. */
import { inDirectory, runChild } from "./child.ts";
import type { SideFigures } from "./embedded-side.ts";
import { median, type Row } from "./measure.ts";
import { SIDES } from "./peers.ts";

const ROUNDS = 5;

/** What is compared, and how much of the best peer it has to reach; null: printed. */
const WORK: readonly {
  readonly of: keyof SideFigures;
  readonly text: string;
  readonly demand: number | null;
}[] = [
  { of: "put", text: "put, 1,000 at a time, synced before it resolves", demand: 1 },
  { of: "getSync", text: "getSync", demand: 1.5 },
  { of: "get", text: "get awaited, over the fastest read of a peer", demand: null },
  { of: "scan", text: "scan of all through the async iterable", demand: 1 },
];

export async function embedded(directory: string): Promise<Row[]> {
  const found = new Map<string, SideFigures[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of Object.keys(SIDES)) {
      const figures = await inDirectory(directory, (own) =>
        runChild<SideFigures | null>("embedded-side", [name, own]),
      );
      if (figures === null) console.log(`${name}: not measured: bench/compare is not installed`);
      else found.set(name, [...(found.get(name) ?? []), figures]);
    }
  }
  for (const [name, { durability }] of Object.entries(SIDES))
    if (found.has(name)) console.log(`${name}: ${durability}`);
  const rate = (name: string, of: keyof SideFigures): number =>
    median((found.get(name) ?? []).map((one) => one[of] ?? Number.NaN));
  const rows: Row[] = [];
  for (const name of Object.keys(SIDES).filter((one) => SIDES[one]?.isOurs)) {
    const isJudged = name === "harmonydb";
    for (const { of, text, demand } of WORK) {
      const rates = [...found.keys()]
        .filter((one) => SIDES[one]?.isOurs === false)
        .map((one) => ({ name: one, rate: rate(one, of === "get" ? "getSync" : of) }))
        .sort((a, b) => b.rate - a.rate);
      const [best] = rates;
      const ratio = best === undefined ? null : rate(name, of) / best.rate;
      rows.push({
        goal: "P6",
        work: `${name}: ${text}`,
        ours: perSecond(rate(name, of)),
        other: rates.map((one) => `${one.name} ${perSecond(one.rate)}`).join(", ") || "-",
        ratio: ratio === null ? "-" : ratio.toFixed(2),
        demand: isJudged && demand !== null ? String(demand) : "printed",
        holds: !isJudged || demand === null || ratio === null ? null : ratio >= demand,
      });
    }
  }
  return rows;
}

function perSecond(rate: number): string {
  return `${Math.round(rate / 1000)}k/s`;
}
