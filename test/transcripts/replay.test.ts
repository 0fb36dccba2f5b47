/** Recorded calls of an etcd, sent to a node of ours: a real directory, a real socket, the whole stack. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DIFFERENCES } from "./differences.ts";
import { Replayer } from "./replayer.ts";
import { startStack } from "./stack.ts";
import { readTranscript, RECORDED_FILES } from "./transcript.ts";
import { compareViews, viewResponse } from "./view.ts";

/** Longer than any lease of the recordings lives, with room for a busy machine. */
const EXPIRY_MS = 8000;

describe("the recorded calls are answered alike, but for the listed differences", () => {
  it.each(RECORDED_FILES)("%s", { timeout: 30_000 }, async (file) => {
    const dataDir = mkdtempSync(join(tmpdir(), "harmonydb-replay-"));
    const stack = await startStack(dataDir);
    const replayer = new Replayer(stack.address);
    try {
      const listed = new Map(
        DIFFERENCES.filter((d) => d.file === file).flatMap((d) =>
          d.steps.map((step) => [step, d.reason] as const),
        ),
      );
      const unexpected: string[] = [];
      const seen: string[] = [];
      for (const step of readTranscript(file)) {
        const differences = await replayer.replay(step);
        const reason = listed.get(step.step);
        if (differences.length === 0) continue;
        if (reason === undefined)
          unexpected.push(`step ${step.step} (${step.note}): ${differences.join("; ")}`);
        else seen.push(`${file} ${step.step}: ${reason} ${differences[0]}`);
        listed.delete(step.step);
        if (file === "lease" && step.step === WAITS_FOR_EXPIRY) await untilGone(replayer, "e");
      }
      if (seen.length > 0) console.log(seen.join("\n"));
      expect(unexpected).toEqual([]);
      expect([...listed.keys()], "listed as different, but answered alike").toEqual([]);
    } finally {
      replayer.close();
      await stack.close();
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});

/** In this step of lease.jsonl a watcher sees the end of a lease; those after it count on that. */
const WAITS_FOR_EXPIRY = 56;

async function untilGone(replayer: Replayer, key: string): Promise<void> {
  const deadline = Date.now() + EXPIRY_MS;
  const method = "/etcdserverpb.KV/Range";
  const countOnly = Buffer.from([0x0a, key.length, ...Buffer.from(key), 0x48, 1]);
  for (;;) {
    const answer = await replayer.call(method, countOnly);
    if (
      !(answer instanceof Error) &&
      compareViews({ header: "*" }, viewResponse(method, answer)).length === 0
    )
      return;
    if (Date.now() > deadline) throw new Error(`${key} is still there`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
