/** The server as a process: what it prints, how it ends, what it refuses. Needs the build, which `npm test` makes. */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync, existsSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Bench, TinyClient } from "./harmonydb.ts";

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

describe("harmonydb serve", { timeout: 30_000 }, () => {
  it("says on one line of stdout that it is ready, and logs to stderr only", async () => {
    const node = bench.serve("--name", "n1");
    const { peer: _isWhereThePortIsFree, ...ready } = await node.ready();
    expect(ready).toEqual({
      ready: true,
      name: "n1",
      client: [expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/)],
      recovery: {
        snapshotLoaded: expect.any(Boolean) as boolean,
        snapshotEntries: 0,
        walEntriesReplayed: 0,
        corruptedEntries: 0,
        durationMs: expect.any(Number) as number,
      },
    });
    const { exit, out, err } = await node.kill("SIGTERM");
    expect(exit).toBe(0);
    expect(out.trim().split("\n")).toHaveLength(1);
    const logged = err
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { level: string; msg: string });
    expect(logged.some(({ msg }) => /^Recovered \d+ entries in \d+ ms$/.test(msg))).toBe(true);
    expect(logged.at(-1)).toMatchObject({ level: "info", msg: "stopped" });
  });

  it.each(["SIGTERM", "SIGINT"] as const)(
    "finishes on %s, exits 0, and has everything at the next start",
    async (signal) => {
      const first = bench.serve();
      const client = new TinyClient((await first.ready()).client[0] as string);
      for (let i = 0; i < 20; i++) await client.put(`key-${i}`, `value-${i}`);
      client.close();
      expect((await first.kill(signal)).exit).toBe(0);

      const second = bench.serve();
      const ready = await second.ready();
      const again = new TinyClient(ready.client[0] as string);
      for (let i = 0; i < 20; i++) expect(await again.has(`key-${i}`, `value-${i}`)).toBe(true);
      again.close();
      expect(
        Number(ready.recovery["snapshotEntries"]) + Number(ready.recovery["walEntriesReplayed"]),
      ).toBeGreaterThanOrEqual(20);
    },
  );

  it("has after kill -9 what it acknowledged", async () => {
    const first = bench.serve();
    const client = new TinyClient((await first.ready()).client[0] as string);
    for (let i = 0; i < 20; i++) await client.put(`key-${i}`, `value-${i}`);
    client.close();
    expect((await first.kill("SIGKILL")).signal).toBe("SIGKILL");

    const again = new TinyClient((await bench.serve().ready()).client[0] as string);
    for (let i = 0; i < 20; i++) expect(await again.has(`key-${i}`, `value-${i}`)).toBe(true);
    again.close();
  });

  it("keeps its directory to its user alone", async () => {
    const node = bench.serve();
    await node.ready();
    expect(statSync(bench.dataDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(bench.dataDir, "VERSION")).mode & 0o777).toBe(0o600);
  });

  it("refuses a directory that another process uses, at once, and leaves that one in peace", async () => {
    const first = bench.serve();
    const client = new TinyClient((await first.ready()).client[0] as string);
    const { exit, out, err } = await bench.serve().ended;
    expect([exit, out]).toEqual([1, ""]);
    expect(err).toMatch(/another process uses this data directory/);
    expect(err).toMatch(/stop the other harmonydb/);
    await client.put("still", "here");
    client.close();
  });

  it("refuses a port in use and names the option", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const { exit, out, err } = await bench.run(
      "serve",
      "--data-dir",
      bench.dataDir,
      "--listen-client-urls",
      `http://127.0.0.1:${port}`,
    ).ended;
    other.close();
    expect([exit, out]).toEqual([1, ""]);
    expect(err).toMatch(/--listen-client-urls/);
    expect(err).toContain(String(port));
    expect(existsSync(bench.dataDir)).toBe(false);
  });

  it("refuses a wrong option with exit code 1, before it touches the directory", async () => {
    const { exit, err } = await bench.serve("--max-txn-ops", "many").ended;
    expect(exit).toBe(1);
    expect(err).toMatch(/--max-txn-ops: "many" is not a whole number/);
    expect(() => statSync(bench.dataDir)).toThrow("ENOENT");
  });

  it("refuses a directory that holds something else", async () => {
    mkdirSync(bench.dataDir);
    writeFileSync(join(bench.dataDir, "thesis.doc"), "years of work");
    const { exit, err } = await bench.serve().ended;
    expect(exit).toBe(1);
    expect(err).toMatch(/thesis\.doc/);
    expect(readFileSync(join(bench.dataDir, "thesis.doc"), "utf8")).toBe("years of work");
  });

  it("refuses a file where the directory should be", async () => {
    writeFileSync(bench.dataDir, "");
    const { exit, err } = await bench.serve().ended;
    expect(exit).toBe(1);
    expect(err).toContain(bench.dataDir);
  });

  it("refuses a directory of a newer format and of another cluster by name", async () => {
    await (await started(["--initial-cluster-token", "one"])).stop();
    const other = await bench.serve("--initial-cluster-token", "two").ended;
    expect(other.exit).toBe(1);
    expect(other.err).toMatch(/another cluster/);

    const file = join(bench.dataDir, "VERSION");
    const version = JSON.parse(readFileSync(file, "utf8")) as {
      format: { major: number };
      checksum?: string;
    };
    version.format.major += 1;
    // Whatever a later format puts in its place.
    delete version.checksum;
    chmodSync(file, 0o600);
    writeFileSync(file, JSON.stringify(version));
    const newer = await bench.serve().ended;
    expect(newer.exit).toBe(1);
    expect(newer.err).toMatch(/newer/);
  });

  it("never compacts with --auto-compaction-retention 0, as etcd, and keeps all history", async () => {
    const node = bench.serve("--auto-compaction-retention", "0");
    const client = new TinyClient((await node.ready()).client[0] as string);
    await client.put("k", "first");
    await client.put("k", "second");
    expect(await client.has("k", "first", 2)).toBe(true);
    expect(await client.has("k", "second")).toBe(true);
    client.close();
    node.child.kill("SIGTERM");
    expect((await node.ended).exit).toBe(0);
  });

  it("serves on when whoever started it closes the pipes", async () => {
    const node = bench.serve();
    const client = new TinyClient((await node.ready()).client[0] as string);
    node.child.stdout?.destroy();
    node.child.stderr?.destroy();
    await client.put("still", "here");
    client.close();
    expect((await node.kill("SIGTERM")).exit).toBe(0);
  });

  async function started(args: readonly string[]): Promise<{ stop(): Promise<void> }> {
    const node = bench.serve(...args);
    await node.ready();
    return { stop: async () => void (await node.kill("SIGTERM")) };
  }
});
