/**
 * What a snapshot to a follower costs those who write meanwhile: three nodes with CATCH_UP_MIB of data (1024 by default; 0
 * leaves this out) in values of 64 KiB, one of them away until the log no longer reaches it. The snapshot leaves at the rate that is the
 * default. Beside it the same writers with all three up, and with the one away and nothing to do for it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { median, type Row } from "./measure.ts";
import { load } from "./served.ts";
import { type BenchNode, ThreeNodes } from "./three-nodes.ts";

const MIB = Number(process.env["CATCH_UP_MIB"] ?? 1024);
const VALUE_BYTES = 64 * 1024;
const VALUES: number = (MIB * 1024 * 1024) / VALUE_BYTES;
const CLIENTS = 64;
const TOTAL = 10_000;
const ROUNDS = 3;
const DEMAND = 0.8;
const POLL_MS = 100;
const CHECKPOINT_MS = 120_000;
/** Nothing of the log stays for a member that is away. */
const NO_LOG: readonly string[] = ["--wal-retention-bytes", "0"];

export async function catchUp(generator: string, directory: string): Promise<Row[]> {
  if (MIB === 0) return [];
  const three = (await ThreeNodes.start("ours", directory, NO_LOG)) as ThreeNodes;
  try {
    const leader = await three.leader();
    const [away] = (await three.followers()) as [BenchNode];
    await load(generator, leader.endpoint, "put", CLIENTS, VALUES, {
      keys: VALUES,
      valueBytes: VALUE_BYTES,
    });
    const puts = async (): Promise<number> =>
      (await load(generator, leader.endpoint, "put", CLIENTS, TOTAL)).perSecond;
    const up: number[] = [];
    const down: number[] = [];
    for (let round = 0; round < ROUNDS; round++) up.push(await puts());
    await away.end("SIGKILL");
    for (let round = 0; round < ROUNDS; round++) down.push(await puts());
    await checkpointTwice(leader);
    const before = await leader.status();
    await away.start();
    const startedMs = performance.now();
    const during: number[] = [];
    let tookMs = 0;
    const caughtUp = (async () => {
      for (;;) {
        const status = await away.status();
        if (status !== null && status.raftAppliedIndex >= (before?.raftAppliedIndex ?? 0n)) break;
        await delay(POLL_MS);
      }
      tookMs = performance.now() - startedMs;
    })();
    // Only runs that end before the member is there count.
    while (tookMs === 0) {
      const rate = await puts();
      if (tookMs === 0) during.push(rate);
    }
    await caughtUp;
    const ratio = during.length === 0 ? Number.NaN : median(during) / median(up);
    return [
      {
        goal: "catch-up",
        work: `put, ${CLIENTS} clients through the leader, while a follower takes a snapshot of ${MIB} MiB / all three up (with it away: ${median(down).toFixed(0)}/s)`,
        ours: `${median(during).toFixed(0)}/s in ${during.length} runs, there after ${(tookMs / 1000).toFixed(0)} s`,
        other: `${median(up).toFixed(0)}/s`,
        ratio: ratio.toFixed(2),
        demand: String(DEMAND),
        holds: Number.isNaN(ratio) ? null : ratio >= DEMAND,
      },
    ];
  } finally {
    await three.stop();
  }
}

/** What stands below the older of two checkpoints is no longer in the log. */
async function checkpointTwice(leader: BenchNode): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await leader.put("between", Buffer.from(String(i)));
    await leader.call("/harmonydb.v1.Native/Checkpoint", new Uint8Array(0), CHECKPOINT_MS);
  }
}
