/** Recorded calls of an etcd, sent to a node of ours: a real directory, a real socket, the whole stack. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DIFFERENCES } from "./differences.ts";
import { Replayer } from "./replayer.ts";
import { startStack } from "./stack.ts";
import { readTranscript, RECORDED_FILES } from "./transcript.ts";

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
