/**
 * Backups with the programs that people use: saved under load, over kill -9, and restored. Needs the build, which
 * `npm test` makes.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Bench, type Ended, TinyClient } from "./harmonydb.ts";

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

function command(...args: readonly string[]): Promise<Ended> {
  return bench.run(...args).ended;
}

/** Every key of a node as `dump` writes it, with revisions left out. */
async function dump(endpoint: string): Promise<string> {
  const { exit, out, err } = await command("dump", "--endpoints", endpoint);
  expect([exit, err]).toEqual([0, expect.any(String)]);
  return out;
}

async function serveAt(
  dataDir: string,
): Promise<{ endpoint: string; stop: (how: NodeJS.Signals) => Promise<Ended> }> {
  const run = bench.run(
    "serve",
    "--data-dir",
    dataDir,
    "--listen-client-urls=http://127.0.0.1:0",
    "--listen-metrics-urls=none",
  );
  const { client } = await run.ready();
  return { endpoint: client[0] as string, stop: (how) => run.kill(how) };
}

describe("harmonydb snapshot", { timeout: 60_000 }, () => {
  it("saves under load what restores to the same keys, and the load goes on", async () => {
    const node = await serveAt(bench.dataDir);
    const client = new TinyClient(node.endpoint);
    for (let i = 0; i < 300; i++) await client.put(`before-${i}`, "x".repeat(100));
    const before = await dump(node.endpoint);
    let isOver = false;
    const load = (async () => {
      let written = 0;
      while (!isOver) await client.put(`load-${written++}`, "y");
      return written;
    })();
    const file = join(bench.root, "a.snap");
    const saved = await command("snapshot", "save", file, "--endpoints", node.endpoint);
    isOver = true;
    const written = await load;
    expect(saved).toMatchObject({ exit: 0, out: `Snapshot saved at ${file}\n` });
    expect(written).toBeGreaterThan(0);
    expect(await client.has(`load-${written - 1}`, "y")).toBe(true);
    client.close();

    const status = await command("snapshot", "status", file, "-w", "json");
    const { keys, revision, sizeBytes } = JSON.parse(status.out) as {
      readonly keys: number;
      readonly revision: number;
      readonly sizeBytes: number;
    };
    expect(sizeBytes).toBe(readFileSync(file).length);
    expect(keys).toBe(revision - 1);

    const restored = join(bench.root, "restored");
    expect(await command("snapshot", "restore", file, "--data-dir", restored)).toMatchObject({
      exit: 0,
    });
    const copy = await serveAt(restored);
    const after = await dump(copy.endpoint);
    const lines = after.trim().split("\n");
    expect(lines).toHaveLength(keys);
    const old = lines.filter((line) => line.includes("before-"));
    expect(old).toEqual(before.trim().split("\n"));
    expect((await copy.stop("SIGTERM")).exit).toBe(0);
    expect((await node.stop("SIGTERM")).exit).toBe(0);
  });

  it("leaves no file when the node is killed while it is saved, and the node starts with all it had", async () => {
    const node = await serveAt(bench.dataDir);
    const source = join(bench.root, "keys.jsonl");
    const line = (i: number): string => `{"key":"key-${i}","value":"${"x".repeat(100_000)}"}\n`;
    writeFileSync(source, Array.from({ length: 300 }, (_, i) => line(i)).join(""));
    expect((await command("load", source, "--endpoints", node.endpoint)).exit).toBe(0);
    const before = await dump(node.endpoint);
    const file = join(bench.root, "a.snap");
    const saving = bench.run("snapshot", "save", file, "--endpoints", node.endpoint);
    // As soon as the node has begun with the file.
    const temporary = join(bench.dataDir, "tmp");
    const begun = (): boolean =>
      existsSync(join(bench.dataDir, "snap")) ||
      readdirSync(temporary).some((name) => name.startsWith("snapshot-"));
    while (!begun()) await new Promise((resolve) => setImmediate(resolve));
    await node.stop("SIGKILL");
    const ended = await saving.ended;
    expect(readdirSync(bench.root)).not.toContain("a.snap.partial");
    expect(existsSync(file)).toBe(ended.exit === 0);
    const again = await serveAt(bench.dataDir);
    expect(await dump(again.endpoint)).toBe(before);
    expect(readdirSync(temporary).filter((name) => name.startsWith("snapshot-"))).toEqual([]);
    const second = await command("snapshot", "save", file, "--endpoints", again.endpoint);
    expect(second.exit).toBe(0);
    await again.stop("SIGTERM");
  });

  it("names a file that it cannot write, and leaves nothing there", async () => {
    const node = await serveAt(bench.dataDir);
    const save = (file: string): Promise<Ended> =>
      command("snapshot", "save", file, "--endpoints", node.endpoint);
    const nowhere = join(bench.root, "no", "such", "a.snap");
    const missing = await save(nowhere);
    expect([missing.exit, missing.err]).toEqual([6, expect.stringContaining(nowhere)]);
    const directory = await save(bench.dataDir);
    expect([directory.exit, directory.err]).toEqual([6, expect.stringContaining(bench.dataDir)]);
    expect(readdirSync(bench.root).filter((name) => name.endsWith(".partial"))).toEqual([]);
    await node.stop("SIGTERM");
  });

  it("refuses what is no snapshot, is cut or damaged, and a directory that exists, with exit codes that tell them apart", async () => {
    const node = await serveAt(bench.dataDir);
    const client = new TinyClient(node.endpoint);
    for (let i = 0; i < 20; i++) await client.put(`key-${i}`, "x".repeat(100));
    client.close();
    const file = join(bench.root, "a.snap");
    await command("snapshot", "save", file, "--endpoints", node.endpoint);
    await node.stop("SIGTERM");
    const bytes = readFileSync(file);
    const cases: readonly (readonly [string, Uint8Array, number, RegExp])[] = [
      ["text", Buffer.from("no snapshot at all"), 3, /is not a snapshot/],
      ["cut", bytes.subarray(0, bytes.length - 512), 70, /it is cut|damaged/],
      [
        "flipped",
        Buffer.from(bytes.map((byte, i) => (i === 900 ? byte ^ 1 : byte))),
        70,
        /at offset/,
      ],
    ];
    for (const [name, content, exit, message] of cases) {
      const path = join(bench.root, name);
      writeFileSync(path, content);
      const target = join(bench.root, `restored-${name}`);
      for (const args of [
        ["status", path],
        ["restore", path, "--data-dir", target],
      ]) {
        const ended = await command("snapshot", ...args);
        expect([name, args[0], ended.exit]).toEqual([name, args[0], exit]);
        expect(ended.err).toMatch(message);
      }
      expect(existsSync(target)).toBe(false);
    }
    const there = await command("snapshot", "restore", file, "--data-dir", bench.dataDir);
    expect([there.exit, there.err]).toEqual([1, expect.stringContaining("exists")]);
    const missing = await command("snapshot", "status", join(bench.root, "nothing"));
    expect(missing.exit).toBe(6);
  });
});
