/**
 * P6: random puts a thousand at a time, reads and scans in process, beside other embedded stores. Each side has a process of
 * its own. Loads follow one another; then all rest, and reads and scans take turns, a slice of some tens of milliseconds each: a
 * machine that is half as fast for a second is so for all sides. What is compared stands next to each other in time, and
 * the median of the ratios counts.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { inDirectory } from "./child.ts";
import { type Piece, type Rate, SLICES, type Work } from "./embedded-work.ts";
import { median, type Row } from "./measure.ts";
import { SIDES } from "./peers.ts";

const ROUNDS = Number(process.env["EMBEDDED_ROUNDS"] ?? 5);
/** Through all keys, by reads and by scans; the first ones, in which the engine compiles what it meets, do not count. */
const READ_PASSES = 4;
const READ_PASSES_WARM = 1;
const SCANS = 10;
const SCANS_WARM = 3;
/** Whoever has loaded writes checkpoints and collects garbage for a while, beside the work of the others. */
const REST_MS = 5_000;
const SIDE_SCRIPT: string = fileURLToPath(new URL("./embedded-side.js", import.meta.url));

/** What is compared, and how much of the best peer it has to reach; null: printed. */
const WORK: readonly {
  readonly work: Work;
  readonly text: string;
  readonly demand: number | null;
}[] = [
  { work: "put", text: "put, 1,000 at a time, synced before it resolves", demand: 1 },
  { work: "getSync", text: "getSync", demand: 1.5 },
  { work: "get", text: "get awaited, over the fastest read of a peer", demand: null },
  { work: "scan", text: "scan of all through the async iterable", demand: 1 },
];

/** The rates of one side, by work, in the order in which the turns were. */
type Rates = Readonly<Record<Work, number[]>>;

class SideProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  /** What was measured so far. */
  readonly #rates: Rates;

  private constructor(name: string, child: ChildProcess, rates: Rates) {
    this.name = name;
    this.#child = child;
    this.#rates = rates;
  }

  static async start(name: string, directory: string, rates: Rates): Promise<SideProcess> {
    const child = fork(SIDE_SCRIPT, [name, directory]);
    const started = new SideProcess(name, child, rates);
    await started.#answer();
    return started;
  }

  /** Keeps the rate as one of `work`; null: of none. False: there is no such side on this machine. */
  async perform(piece: Piece, work: Work | null): Promise<boolean> {
    this.#child.send(piece);
    const rate = await this.#answer();
    if (rate !== null && work !== null) this.#rates[work].push(rate);
    return rate !== null;
  }

  async close(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.send({ work: "close" } satisfies Piece);
    await ended;
  }

  async #answer(): Promise<Rate> {
    const given = new AbortController();
    const { signal } = given;
    try {
      return await Promise.race([
        once(this.#child, "message", { signal }).then(([rate]) => rate as Rate),
        once(this.#child, "exit", { signal }).then(([code]) => {
          throw new Error(`${this.name} ended with code ${code}`);
        }),
      ]);
    } finally {
      given.abort();
    }
  }
}

export async function embedded(directory: string): Promise<Row[]> {
  const found = new Map<string, Rates>();
  for (let round = 0; round < ROUNDS; round++)
    await inDirectory(directory, async (own) => playRound(own, found));
  for (const [name, { durability }] of Object.entries(SIDES))
    console.log(
      `${name}: ${found.has(name) ? durability : "not measured: bench/compare is not installed"}`,
    );
  return Object.keys(SIDES)
    .filter(isOurs)
    .flatMap((name) => WORK.map((one) => rowOf(name, one, found)));
}

async function playRound(directory: string, found: Map<string, Rates>): Promise<void> {
  const sides: SideProcess[] = [];
  for (const [i, name] of Object.keys(SIDES).entries()) {
    const own = join(directory, String(i));
    mkdirSync(own);
    const rates = found.get(name) ?? { put: [], getSync: [], get: [], scan: [] };
    const side = await SideProcess.start(name, own, rates);
    if (await side.perform({ work: "put" }, "put")) {
      sides.push(side);
      found.set(name, rates);
    } else await side.close();
  }
  await delay(REST_MS);
  /** Somebody else begins each turn. */
  const inTurn = async (
    turn: number,
    of: (name: string) => Piece,
    work: Work | null,
  ): Promise<void> => {
    for (let i = 0; i < sides.length; i++) {
      const side = sides[(turn + i) % sides.length] as SideProcess;
      await side.perform(of(side.name), work);
    }
  };
  const readAll = async (of: (name: string) => "get" | "getSync", as: Work): Promise<void> => {
    for (let pass = 0; pass < READ_PASSES; pass++)
      for (let slice = 0; slice < SLICES; slice++)
        await inTurn(
          slice,
          (name) => ({ work: of(name), slice }),
          pass < READ_PASSES_WARM ? null : as,
        );
  };
  await readAll(() => "getSync", "getSync");
  // The others read in the way that is their fastest.
  await readAll((name) => (isOurs(name) ? "get" : "getSync"), "get");
  for (let turn = 0; turn < SCANS; turn++)
    await inTurn(turn, () => ({ work: "scan" }), turn < SCANS_WARM ? null : "scan");
  for (const side of sides) await side.close();
}

function rowOf(
  name: string,
  { work, text, demand }: (typeof WORK)[number],
  found: ReadonlyMap<string, Rates>,
): Row {
  const rates = found.get(name)?.[work] ?? [];
  const others = [...found]
    .filter(([other]) => !isOurs(other))
    .map(([other, of]) => ({ name: other, rates: of[work], median: median(of[work]) }))
    .sort((a, b) => b.median - a.median);
  const [best] = others;
  const ratio =
    best === undefined
      ? null
      : median(rates.map((rate, turn) => rate / (best.rates[turn] as number)));
  const isJudged = name === "harmonydb" && demand !== null;
  return {
    goal: "P6",
    work: `${name}: ${text}`,
    ours: show(median(rates)),
    other: others.map((one) => `${one.name} ${show(one.median)}`).join(", ") || "-",
    ratio: ratio === null ? "-" : ratio.toFixed(2),
    demand: isJudged ? String(demand) : "printed",
    holds: !isJudged || ratio === null ? null : ratio >= demand,
  };
}

function isOurs(name: string): boolean {
  return SIDES[name]?.isOurs === true;
}

function show(perSecond: number): string {
  return `${Math.round(perSecond / 1000)}k/s`;
}
