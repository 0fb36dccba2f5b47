/** What an adapter has acknowledged is there after kill -9, and half a batch is not. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";
import { HarmonyLevel } from "../../src/adapters/abstract-level.ts";
import { HarmonyKeyv } from "../../src/adapters/keyv.ts";
import harmonyDriver from "../../src/adapters/unstorage.ts";
import { open } from "../../src/index.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";

const built = (name: string): string =>
  JSON.stringify(new URL(`../../dist/src/${name}`, import.meta.url).href);

/** Writes through all three until it is killed, and says what was acknowledged: "<adapter> <number>". */
const WRITER = `
import { writeSync } from "node:fs";
import { HarmonyLevel } from ${built("adapters/abstract-level.js")};
import { HarmonyKeyv } from ${built("adapters/keyv.js")};
import harmonyDriver from ${built("adapters/unstorage.js")};
import { open } from ${built("index.js")};

const checkpoints = { walBytes: 1_000_000, intervalMs: 60_000, operations: 100 };
const db = await open(process.argv[1], { walSegmentBytes: 65536, checkpoints });
const level = new HarmonyLevel(db);
const keyv = new HarmonyKeyv(db, { namespace: "n" });
const driver = harmonyDriver({ database: db });
const put = (key, value) => ({ type: "put", key, value });
const writers = {
  level: (i) => level.batch([put("left" + i, String(i)), put("right" + i, String(i))]),
  keyv: (i) => keyv.setMany([{ key: "k" + i, value: String(i), ttl: 3_600_000 }]),
  unstorage: (i) => driver.setItem("k:" + i, String(i)),
};
for (const [name, write] of Object.entries(writers))
  void (async () => {
    for (let i = 0; ; i++) {
      await write(i);
      writeSync(1, name + " " + i + "\\n");
    }
  })();
`;

it("kill -9: each adapter has what it acknowledged, and a batch is there as a whole", async () => {
  const directory = join(temporaryDirectory(), "data");
  const child = spawn(
    process.execPath,
    ["--input-type=module", "--eval", WRITER, "--", directory],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const acknowledged = new Map<string, number>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [name = "", number] = line.split(" ");
    acknowledged.set(name, Number(number));
    const counts = [...acknowledged.values()];
    if (counts.length === 3 && counts.every((count) => count >= 50)) child.kill("SIGKILL");
  }
  await ended;
  expect([...acknowledged.keys()].sort()).toEqual(["keyv", "level", "unstorage"]);

  await using db = await open(directory);
  const level = new HarmonyLevel(db);
  const keyv = new HarmonyKeyv(db, { namespace: "n" });
  const driver = harmonyDriver({ database: db });
  const upTo = (name: string): readonly number[] =>
    Array.from({ length: (acknowledged.get(name) ?? -1) + 1 }, (_, i) => i);
  for (const i of upTo("level"))
    expect(await level.getMany([`left${i}`, `right${i}`])).toEqual([String(i), String(i)]);
  for (const i of upTo("keyv")) expect(await keyv.get(`k${i}`)).toBe(String(i));
  for (const i of upTo("unstorage")) expect(await driver.getItem(`k:${i}`)).toBe(String(i));
  const halves = (await level.keys().all()).map((key) => key.replace(/\D/g, ""));
  expect(halves.length % 2).toBe(0);
  expect(new Set(halves).size).toBe(halves.length / 2);
}, 120_000);
