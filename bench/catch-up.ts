/**
 * What a snapshot to a follower costs those who write meanwhile: three nodes with CATCH_UP_MIB of data (1024 by default) in
 * values of 64 KiB, one of them away until the log no longer reaches it. It comes back, and a snapshot is made, sent, checked
 * and taken over at the rate that is the default, while 64 clients write as they did before.
 *
 * Runs of some seconds each: with all three up before it, with the one away, during, and with all three up after it. What
 * else the machine does changes over minutes, so before and after are printed both, and what is judged is the run during
 * beside the mean of the two. Each part ends or gives up within minutes, whatever the machine can take.
 */
import { setTimeout as delay } from "node:timers/promises";
import { median, type Row } from "./measure.ts";
import { cpuUsOf, load } from "./served.ts";
import { type BenchNode, ThreeNodes } from "./three-nodes.ts";

const MIB = Number(process.env["CATCH_UP_MIB"] ?? 1024);
const VALUE_BYTES = 64 * 1024;
const VALUES: number = (MIB * 1024 * 1024) / VALUE_BYTES;
/** Out of so many keys, hardly one is drawn twice: what is put is what there is. */
const KEYS = 1e12;
const CLIENTS = 64;
const ROUNDS = 3;
const RUN_SECONDS = 4;
const TRIAL = 2_000;
const DEMAND = 0.8;
const POLL_MS = 100;
const CHECKPOINT_MS = 120_000;
const GIVE_UP_MS = 10 * 60_000;
/** Nothing of the log stays for a member that is away. */
const NO_LOG: readonly string[] = ["--wal-retention-bytes", "0"];

interface Phase {
  readonly perSecond: number;
  readonly runs: number;
  readonly seconds: number;
  /** Of one processor: the leader, the one that is away or comes back, the third. */
  readonly cpus: readonly number[];
}

export async function catchUp(directory: string): Promise<Row[]> {
  const generator = process.env["ETCD_LOAD"];
  if (generator === undefined) {
    console.log("catch-up: not measured: ETCD_LOAD does not name a load generator");
    return [];
  }
  const three = (await ThreeNodes.start("ours", directory, NO_LOG)) as ThreeNodes;
  try {
    const leader = await three.leader();
    const [away, third] = (await three.followers()) as [BenchNode, BenchNode];
    const trial = await load(generator, leader.endpoint, "put", CLIENTS, TRIAL);
    const perRun = Math.max(TRIAL, Math.round(trial.perSecond * RUN_SECONDS));
    const puts = async (): Promise<number> =>
      (await load(generator, leader.endpoint, "put", CLIENTS, perRun)).perSecond;
    const measured = async (name: string, isOver: (runs: number) => boolean): Promise<Phase> => {
      const startedMs = performance.now();
      const before = [leader, away, third].map(cpuSeconds);
      const rates: number[] = [];
      // A run that ends behind the phase is not one of it, unless it is the only one.
      while (!isOver(rates.length)) rates.push(await puts());
      if (rates.length > 1 && isOver(0)) rates.pop();
      const took = (performance.now() - startedMs) / 1000;
      const cpus = [leader, away, third].map(
        (node, i) => (cpuSeconds(node) - (before[i] as number)) / took,
      );
      const phase = { perSecond: median(rates), runs: rates.length, seconds: took, cpus };
      say(`${name}: ${show(phase)}`);
      return phase;
    };
    const rounds = (runs: number): boolean => runs >= ROUNDS;
    const before = await measured("before", rounds);
    await away.end("SIGKILL");
    const filledMs = performance.now();
    await load(generator, leader.endpoint, "put", CLIENTS, VALUES, {
      keys: KEYS,
      valueBytes: VALUE_BYTES,
    });
    say(`${MIB} MiB put in ${seconds(filledMs)} s`);
    const without = await measured("one away", rounds);
    await checkpointTwice(leader);
    const goal = (await leader.status())?.raftAppliedIndex ?? 0n;
    await away.start();
    const pull = new Pull(away, goal);
    const during = await measured("during", () => pull.isOver);
    await pull.ended;
    say(`there after ${pull.tookSeconds.toFixed(0)} s`);
    await three.settled();
    const after = await measured("after", rounds);
    const beside = (before.perSecond + after.perSecond) / 2;
    const ratio = during.perSecond / beside;
    return [
      {
        goal: "catch-up",
        work: `put, ${CLIENTS} clients through the leader, while a follower takes a snapshot of ${MIB} MiB / the mean of before (${before.perSecond.toFixed(0)}/s) and after (${after.perSecond.toFixed(0)}/s) with all three up; with one away: ${without.perSecond.toFixed(0)}/s`,
        ours: `${during.perSecond.toFixed(0)}/s in ${during.runs} runs, there after ${pull.tookSeconds.toFixed(0)} s`,
        other: `${beside.toFixed(0)}/s`,
        ratio: ratio.toFixed(2),
        demand: String(DEMAND),
        holds: ratio >= DEMAND,
      },
    ];
  } finally {
    await three.stop();
  }
}

/** A member on its way to what was applied when it was started. */
class Pull {
  isOver = false;
  tookSeconds = Number.NaN;
  readonly ended: Promise<void>;

  constructor(node: BenchNode, goal: bigint) {
    this.ended = this.#wait(node, goal);
    // Its end is awaited when the runs are over.
    this.ended.catch(() => {});
  }

  async #wait(node: BenchNode, goal: bigint): Promise<void> {
    const startedMs = performance.now();
    try {
      for (;;) {
        const status = await node.status();
        if (status !== null && status.raftAppliedIndex >= goal) break;
        if (performance.now() - startedMs > GIVE_UP_MS)
          throw new Error(`the member was not there after ${GIVE_UP_MS / 1000} s`);
        await delay(POLL_MS);
      }
      this.tookSeconds = (performance.now() - startedMs) / 1000;
    } finally {
      this.isOver = true;
    }
  }
}

/** What stands below the older of two checkpoints is no longer in the log. */
async function checkpointTwice(leader: BenchNode): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await leader.put("between", Buffer.from(String(i)));
    await leader.call("/harmonydb.v1.Native/Checkpoint", new Uint8Array(0), CHECKPOINT_MS);
  }
}

/** 0 for one that does not run. */
function cpuSeconds(node: BenchNode): number {
  try {
    return cpuUsOf(node) / 1e6;
  } catch {
    return 0;
  }
}

const seconds = (sinceMs: number): string => ((performance.now() - sinceMs) / 1000).toFixed(0);

function show({ perSecond, runs, seconds: took, cpus }: Phase): string {
  const [leader, away, third] = cpus.map((cpu) => `${(100 * cpu).toFixed(0)} %`);
  return `${perSecond.toFixed(0)} puts/s in ${runs} runs, ${took.toFixed(0)} s; processor: leader ${leader}, the one ${away}, third ${third}`;
}

function say(what: string): void {
  console.log(`catch-up: ${what}`);
}
