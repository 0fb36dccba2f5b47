/** A storage of unstorage, that tells of changes which somebody else makes. */
import { createStorage } from "unstorage";
import harmonyDriver from "../src/adapters/unstorage.ts";
import { open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  const storage = createStorage({ driver: harmonyDriver({ database: db }) });
  const said = new Promise<string>((resolve) => {
    void storage.watch((event, key) => resolve(`${event} ${key}`));
  });

  await storage.setItems([
    { key: "users:ann", value: { age: 41 } },
    { key: "users:bob", value: { age: 27 } },
  ]);
  await storage.setItem("sessions:1", "ann", { ttl: 3600 });
  say(await said);
  say((await storage.getKeys("users")).join(" "));
  const meta = await storage.getMeta("sessions:1");
  say(`the session lasts for ${meta.ttl} s`);
  say(`bob is ${(await storage.getItem<{ age: number }>("users:bob"))?.age}`);
  await storage.dispose();
}

if (process.argv[1] === import.meta.filename) await main(console.log);
