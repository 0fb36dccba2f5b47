/**
 * `npm run test:kill9 -- --cycles 1000`: kill -9 under load, again and again, on the real platform.
 * Exit code 0 when nothing was lost.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { killAgainAndAgain } from "./kill-loop.ts";

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "1000" },
    clients: { type: "string", default: "4" },
    seed: { type: "string", default: "1" },
  },
});

const directory = mkdtempSync(join(tmpdir(), "harmonydb-kill9-"));
const startedMs = performance.now();
const result = await killAgainAndAgain({
  directory: join(directory, "data"),
  writer: fileURLToPath(new URL("./writer.js", import.meta.url)),
  cycles: Number(values.cycles),
  clients: Number(values.clients),
  seed: Number(values.seed),
  onCycle: (done) => {
    if (done % 100 === 0) process.stderr.write(`${done} cycles\n`);
  },
});
const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
if (result.fault === null) {
  rmSync(directory, { recursive: true });
  process.stdout.write(
    `${result.acknowledged} writes acknowledged, ${result.unknownWrites} more were under way and happened, ${seconds} s\n`,
  );
  process.stdout.write(`${result.cycles} cycles, 0 lost\n`);
} else {
  process.stdout.write(
    `after ${result.cycles} cycles: ${result.fault}\nthe directory is kept: ${directory}\n`,
  );
  process.exitCode = 1;
}
