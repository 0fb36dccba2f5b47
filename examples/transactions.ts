/** Changes that belong together: conditions, batches, transactions. */
import { codecs, open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  const accounts = db.scope("account/", { codec: codecs.int64 });

  // One revision for both.
  await accounts.batch().put("ann", 100n).put("bob", 20n).commit();

  // Only if nobody was faster.
  const first = await db.put("owner", "ann", { ifAbsent: true });
  const second = await db.put("owner", "bob", { ifAbsent: true });
  say(`first: ${first.ok}, second: ${second.ok}`);

  // Conditions and operations in one round trip.
  const { succeeded } = await accounts.txn({
    if: [{ key: "ann", target: "value", is: "=", operand: 100n }],
    then: [
      { type: "put", key: "ann", value: 90n },
      { type: "put", key: "bob", value: 30n },
    ],
    else: [{ type: "get", key: "ann" }],
  });
  say(`moved: ${succeeded}`);

  // Code in between: it reads one state, and runs again when somebody changed what it read.
  const move = (from: string, to: string, amount: bigint): Promise<void> =>
    accounts.transact(async (tx) => {
      const balance = (await tx.get(from)) ?? 0n;
      if (balance < amount) throw new Error(`${from} has only ${balance}`);
      tx.put(from, balance - amount);
      tx.put(to, ((await tx.get(to)) ?? 0n) + amount);
    });
  await Promise.all([move("ann", "bob", 40n), move("bob", "ann", 5n), move("ann", "bob", 1n)]);
  await move("ann", "bob", 1000n).catch((error: Error) => say(error.message));
  for await (const { key, value } of accounts.scan()) say(`${key} ${value}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
