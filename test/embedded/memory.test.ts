/** A database that nobody keeps, and one that syncs later: what a program sees of them. */
import { existsSync, readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { open } from "../../src/index.ts";
import { temporaryDirectory } from "./temporary.ts";

const decoder = new TextDecoder();

it('open(":memory:") is a database of its own each time, and leaves no file', async () => {
  const before = readdirSync(".");
  await using first = await open(":memory:");
  await using second = await open(":memory:", { walSegmentBytes: 64 * 1024 });
  await Promise.all(Array.from({ length: 500 }, (_, i) => first.put(`key-${i}`, `value ${i}`)));
  await second.put("key-1", "another");
  expect(decoder.decode(await first.get("key-1"))).toBe("value 1");
  expect(decoder.decode(await second.get("key-1"))).toBe("another");
  await first.close();
  expect([existsSync(":memory:"), readdirSync(".")]).toEqual([false, before]);
});

it("a database that syncs within an interval has after its close all that was put", async () => {
  const directory = temporaryDirectory();
  const first = await open(directory, { fsyncIntervalMs: 1000 });
  await Promise.all(Array.from({ length: 500 }, (_, i) => first.put(`key-${i}`, `value ${i}`)));
  await first.close();
  await using second = await open(directory);
  expect(decoder.decode(await second.get("key-499"))).toBe("value 499");
  expect((await second.put("next", "")).rev).toBe(502);
});
