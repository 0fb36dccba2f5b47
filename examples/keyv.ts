/** A cache by Keyv: entries that end by themselves, and namespaces in one database. */
import Keyv from "keyv";
import { HarmonyKeyv } from "../src/adapters/keyv.ts";
import { open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  // One adapter for each Keyv.
  const users = new Keyv({ store: new HarmonyKeyv(db), namespace: "users" });
  const pages = new Keyv({ store: new HarmonyKeyv(db), namespace: "pages", ttl: 60_000 });

  await users.set("ann", { age: 41 });
  await pages.set("/", "<h1>Hello</h1>");
  say(`ann is ${(await users.get<{ age: number }>("ann"))?.age}`);

  // The deadline is the database's: nobody has to ask for a key to make room.
  for await (const { key, expiresAt } of db.scan({ prefix: "keyv/pages:" }))
    say(`${key} has an end: ${expiresAt !== undefined}`);

  await pages.clear();
  say(`pages: ${await pages.has("/")}, users: ${await users.has("ann")}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
