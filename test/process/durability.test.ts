/** The two modes of a node that is alone, as processes. Needs the build, which `npm test` makes. */
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Bench, TinyClient } from "./harmonydb.ts";

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** The warnings on stderr. */
function warnings(err: string): readonly string[] {
  return err
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { level: string; msg: string })
    .filter(({ level }) => level === "warn")
    .map(({ msg }) => msg);
}

describe("harmonydb serve --fsync-interval-ms", { timeout: 30_000 }, () => {
  it("has after kill -9 all that it acknowledged, under a revision that nobody was given before", async () => {
    const first = bench.serve("--fsync-interval-ms", "50");
    const client = new TinyClient((await first.ready()).client[0] as string);
    await Promise.all(
      Array.from({ length: 8 }, async (_, worker) => {
        for (let i = 0; i < 40; i++) await client.put(`key-${worker}-${i}`, `value-${i}`);
      }),
    );
    client.close();
    const { signal, err } = await first.kill("SIGKILL");
    expect(signal).toBe("SIGKILL");
    expect(warnings(err)).toEqual([
      "acknowledged before the sync: a power loss may take back the last 50 ms of writes",
    ]);

    const second = bench.serve("--fsync-interval-ms", "50");
    const ready = await second.ready();
    expect(ready.recovery["walEntriesReplayed"]).toBe(320);
    const again = new TinyClient(ready.client[0] as string);
    for (let worker = 0; worker < 8; worker++)
      for (let i = 0; i < 40; i++)
        expect(await again.has(`key-${worker}-${i}`, `value-${i}`)).toBe(true);
    again.close();
    const ended = await second.kill("SIGTERM");
    expect(ended.exit).toBe(0);
    expect(warnings(ended.err)).toContain(
      "the last run ended without its last sync: revisions go on at 1000321",
    );

    const third = bench.serve();
    await third.ready();
    expect(warnings((await third.kill("SIGTERM")).err)).toEqual([]);
  });
});

describe("harmonydb serve --disable-persistence", { timeout: 30_000 }, () => {
  it("says so, makes no directory, and begins anew each time", async () => {
    const first = bench.serve("--disable-persistence");
    const client = new TinyClient((await first.ready()).client[0] as string);
    for (let i = 0; i < 20; i++) await client.put(`key-${i}`, `value-${i}`);
    expect(await client.has("key-19", "value-19")).toBe(true);
    client.close();
    const { exit, err } = await first.kill("SIGTERM");
    expect(exit).toBe(0);
    expect(warnings(err)).toEqual(["nothing is written to disk: the data ends with the process"]);
    expect(existsSync(bench.dataDir)).toBe(false);

    const second = bench.serve("--disable-persistence");
    const ready = await second.ready();
    expect(ready.recovery["walEntriesReplayed"]).toBe(0);
    const again = new TinyClient(ready.client[0] as string);
    expect(await again.has("key-19", "value-19")).toBe(false);
    again.close();
  });
});
