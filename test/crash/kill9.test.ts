import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { judge } from "./counters.ts";
import { killAgainAndAgain } from "./kill-loop.ts";

// `npm run test:kill9` does it a thousand times.
it("kill -9 under load, fifteen times: no acknowledged write lost, no half transaction", async () => {
  const directory = mkdtempSync(join(tmpdir(), "harmonydb-kill9-"));
  try {
    const result = await killAgainAndAgain({
      directory: join(directory, "data"),
      writer: fileURLToPath(new URL("../../dist/test/crash/writer.js", import.meta.url)),
      cycles: 15,
      clients: 3,
      seed: 1,
    });
    expect(result.fault).toBeNull();
    expect(result.cycles).toBe(15);
    expect(result.acknowledged).toBeGreaterThan(15);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, 120_000);

it("the judge of the kill test sees a lost write and half a transaction", () => {
  const good = new Map([
    ["counter/0", 2],
    ["left/0/1", 1],
    ["right/0/1", 1],
    ["left/0/2", 2],
    ["right/0/2", 2],
  ]);
  expect(judge(good, [2])).toBeNull();
  expect(judge(good, [1])).toBeNull();
  expect(judge(good, [3])).toContain("lost");
  expect(judge(good, [0])).toContain("never sent");
  expect(judge(new Map(good).set("right/0/2", 1), [2])).toContain("half a transaction");
  expect(judge(new Map([...good].filter(([key]) => key !== "counter/0")), [0])).not.toBeNull();
});
