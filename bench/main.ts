/**
 * `npm run bench [-- <name> ...]`: starts what it needs, interleaves ours and what stands beside it, prints medians and
 * ratios, and writes bench/results/<time>.json and .md. A missing peer is said, not an error.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { catchUp } from "./catch-up.ts";
import { cluster } from "./cluster.ts";
import { embedded } from "./embedded.ts";
import { embeddedPut } from "./embedded-put.ts";
import { etcdApi } from "./etcd-api.ts";
import { expiry } from "./expiry.ts";
import { growth } from "./growth.ts";
import { type Row, table } from "./measure.ts";
import { memory } from "./memory.ts";
import { modes } from "./modes.ts";
import { recovery } from "./recovery.ts";
import { snapshot } from "./snapshot.ts";
import { turns } from "./turns.ts";
import { walLatency } from "./wal-latency.ts";

const BENCHES: Readonly<Record<string, (directory: string) => Promise<Row[]>>> = {
  "embedded-put": embeddedPut,
  "wal-latency": walLatency,
  "etcd-api": etcdApi,
  cluster,
  "catch-up": catchUp,
  embedded,
  modes,
  recovery,
  memory,
  growth,
  expiry,
  snapshot,
  turns,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => BENCHES[name] === undefined);
if (unknown.length > 0) {
  console.error(
    `no benchmark named ${unknown.join(", ")}; there are: ${Object.keys(BENCHES).join(", ")}`,
  );
  process.exit(1);
}

// Beside the results and not in the system's temporary folder, which may be memory: the disk is what is measured.
const results = join(import.meta.dirname, "..", "..", "bench", "results");
mkdirSync(results, { recursive: true });
const directory = mkdtempSync(join(results, "run-"));
const rows: Row[] = [];
try {
  for (const [name, run] of Object.entries(BENCHES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    console.log(`running ${name} ...`);
    rows.push(...(await run(directory)));
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

const machine = `Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GiB`;
const text = `${machine}, ${new Date().toISOString().slice(0, 10)}\n\n${table(rows)}\n`;
console.log(`\n${text}`);
const stamp = new Date().toISOString().replaceAll(":", "-").slice(0, 19);
writeFileSync(join(results, `${stamp}.json`), `${JSON.stringify({ machine, rows }, null, 2)}\n`);
writeFileSync(join(results, `${stamp}.md`), text);
