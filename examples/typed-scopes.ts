/** Scopes: parts of the keys with values of their own kind. */
import { type Codec, codecs, open } from "../src/index.ts";

interface User {
  readonly name: string;
  readonly age: number;
}

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");

  const users = db.scope("user/", { codec: codecs.json as Codec<User> });
  await users.put("ann", { name: "Ann", age: 41 });
  await users.put("bob", { name: "Bob", age: 27 });
  for await (const { key, value } of users.scan()) say(`${key} is ${value.age}`);

  // The same keys, seen from outside.
  for await (const key of db.scan({ prefix: "user/" }).keys()) say(key);

  const hits = db.scope("hits/", { codec: codecs.int64 });
  await hits.incr("home");
  await hits.incr("home", 41);
  say(`home: ${await hits.get("home")}`);

  // Every key of this scope ends an hour after it was put.
  const sessions = db.scope("session/", { codec: codecs.utf8, ttlMs: 3_600_000 });
  await sessions.put("s1", "ann");
  const entry = await sessions.entry("s1");
  say(`session of ${entry?.value} has an end: ${entry?.expiresAt !== undefined}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
