/** Put, get, scan, delete, and open again what was written. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "../src/index.ts";

const text = new TextDecoder();

export async function main(say: (line: string) => void): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "harmonydb-example-"));
  try {
    const db = await open(directory);
    // Synced to disk when the promise resolves.
    const { rev } = await db.put("city/oslo", "709000");
    await db.putMany([
      ["city/bergen", "291000"],
      ["city/tromso", "78000"],
    ]);
    say(`oslo has ${text.decode(await db.get("city/oslo"))}`);
    for await (const { key, value } of db.scan({ prefix: "city/", reverse: true, limit: 2 }))
      say(`${key} ${text.decode(value)}`);
    await db.del("city/oslo");
    say(`now: ${(await db.get("city/oslo")) === undefined ? "gone" : "there"}`);
    // History is kept for a while: a read may name an old revision.
    say(`at revision ${rev}: ${text.decode(await db.get("city/oslo", { rev }))}`);
    await db.close();

    const again = await open(directory);
    say(`after opening again: ${await again.scan({ prefix: "city/" }).count()} cities`);
    await again.close();
  } finally {
    await rm(directory, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename) await main(console.log);
