/**
 * The victim of the kill tests: opens a database in its own process, tells what is in it, and writes until it is
 * killed. Each client has one write under way at a time and says so when it is acknowledged:
 *
 *     S <key> <value>       before the first write, for each key
 *     R <entries replayed>  ready
 *     A <client> <number>   this write was acknowledged
 *
 * Lines leave with a synchronous write to a pipe, so whatever was said before the kill arrives.
 */
import { writeSync } from "node:fs";
import { type HarmonyDB, open } from "../../src/index.ts";
import { txnOf } from "./counters.ts";

const [, , directory = "", clients = "4"] = process.argv;

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

async function write(db: HarmonyDB, client: number, from: number): Promise<never> {
  for (let number = from; ; number++) {
    await db.txn(txnOf(client, number));
    say(`A ${client} ${number}`);
  }
}

const db = await open(directory, {
  walSegmentBytes: 64 * 1024,
  checkpoints: { walBytes: 128 * 1024, intervalMs: 150, operations: 300 },
  retention: { retentionMs: 0, retentionRevisions: 100 },
});
const counters = new Map<string, number>();
for await (const { key, value } of db.scan()) {
  const text = new TextDecoder().decode(value);
  say(`S ${key} ${text.replace(/ .*/s, "")}`);
  counters.set(key, Number(text.replace(/ .*/s, "")));
}
say("R");
await Promise.all(
  Array.from({ length: Number(clients) }, (_, client) =>
    write(db, client, (counters.get(`counter/${client}`) ?? 0) + 1),
  ),
);
