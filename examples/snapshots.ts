/** One state, read at leisure. */
import { codecs, open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  const stock = db.scope("stock/", { codec: codecs.int64 });
  await stock.putMany(Array.from({ length: 1000 }, (_, i) => [`item-${i}`, 1n] as const));

  await using snapshot = await stock.snapshotAt();
  // Others go on; history is even given up.
  const { rev } = await stock.delMany({ prefix: "item-1" });
  await db.admin.compact(rev);

  let sum = 0n;
  for await (const { value } of snapshot.scan()) sum += value;
  say(`in the snapshot: ${sum}`);
  say(`now: ${await stock.scan().count()}`);

  // A reader that leaves early lets go of what it read.
  for await (const { key } of stock.scan({ gte: "item-2" })) {
    say(`first from item-2 on: ${key}`);
    break;
  }
}

if (process.argv[1] === import.meta.filename) await main(console.log);
