/** A database of Level: sublevels, a batch over two of them, ranges, a snapshot. */
import { HarmonyLevel } from "../src/adapters/abstract-level.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using level = new HarmonyLevel<string, string>(":memory:");
  const people = level.sublevel<string, { age: number }>("people", { valueEncoding: "json" });
  const byAge = level.sublevel<string, string>("by-age", {});

  // One revision: both are there or none.
  await level.batch<string, unknown>(
    [
      { type: "put", sublevel: people, key: "ann", value: { age: 41 } },
      { type: "put", sublevel: byAge, key: "041!ann", value: "" },
      { type: "put", sublevel: people, key: "bob", value: { age: 27 } },
      { type: "put", sublevel: byAge, key: "027!bob", value: "" },
    ],
    {},
  );
  await using before = level.snapshot();
  await people.del("bob");

  for await (const key of byAge.keys({ lt: "050", reverse: true })) say(key);
  say(`bob is ${(await people.get("bob", { snapshot: before }))?.age} in the snapshot`);
  say(`now: ${await people.has("bob")}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
