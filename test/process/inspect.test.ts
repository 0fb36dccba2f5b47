/** The inspectors of a stopped directory, and what a node does about damage that they show. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Bench, type Ended, TinyClient } from "./harmonydb.ts";

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** A stopped node's directory with a few acknowledged writes; `acknowledged` says where the log held them. */
async function stoppedNode(): Promise<{ readonly log: string }> {
  const node = bench.serve();
  const client = new TinyClient((await node.ready()).client[0] as string);
  for (let i = 0; i < 5; i++) await client.put(`key-${i}`, `secret-${i}`);
  client.close();
  expect((await node.kill("SIGTERM")).exit).toBe(0);
  const wal = join(bench.dataDir, "wal");
  const [name] = readdirSync(wal);
  return { log: join(wal, name as string) };
}

interface Item {
  readonly kind: string;
  readonly offset: number;
  readonly records: readonly {
    readonly type: string;
    readonly entries?: readonly { readonly dataBytes: number }[];
  }[];
}

function items(jsonLines: string): readonly Item[] {
  return jsonLines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Item);
}

/** Flips one bit in the middle of the first frame that holds entries with data. */
async function damage(log: string): Promise<number> {
  const dump = await bench.run("wal", "dump", "--data-dir", bench.dataDir, "-w", "json").ended;
  const frame = items(dump.out).find(
    (item) =>
      item.kind === "frame" &&
      item.records.some((record) => record.entries?.some((entry) => entry.dataBytes > 0) === true),
  );
  const offset = (frame as Item).offset;
  const bytes = readFileSync(log);
  bytes[offset + 256] = (bytes[offset + 256] as number) ^ 1;
  writeFileSync(log, bytes);
  return offset;
}

describe("inspectors", { timeout: 30_000 }, () => {
  it("dump every frame of the log without a value in it", async () => {
    await stoppedNode();
    const json = await bench.run("wal", "dump", "--data-dir", bench.dataDir, "-w", "json").ended;
    expect(json.exit).toBe(0);
    const kinds = items(json.out).map(({ kind }) => kind);
    expect(kinds[0]).toBe("segment");
    expect(kinds.at(-1)).toBe("report");
    expect(kinds.filter((kind) => kind === "frame").length).toBeGreaterThanOrEqual(5);
    const simple = await bench.run("wal", "dump", "--data-dir", bench.dataDir).ended;
    expect(simple.out).toMatch(/^segment 1: .*\.wal, \d+ bytes, from LSN 0/);
    expect(simple.out).toMatch(/no damage\n$/);
    expect(json.out + simple.out).not.toContain("secret");
  });

  it("show each group's place in the log, what it keeps from going, and which lag", async () => {
    await stoppedNode();
    const at = ["--data-dir", bench.dataDir];
    const json = await bench.run("stats", ...at, "-w", "json").ended;
    const stats = JSON.parse(json.out) as { groups: readonly Record<string, number>[] };
    expect(stats).toMatchObject({ lagging: 0, groups: [{ group: 0, isLagging: false }] });
    const [{ lastIndex = 0, commit = 0, backlogBytes = 0 } = {}] = stats.groups;
    expect(lastIndex).toBeGreaterThanOrEqual(6);
    expect(commit).toBe(lastIndex);
    expect(backlogBytes).toBeGreaterThan(5 * 512);
    const lags = await bench.run("stats", ...at, "--lag-bytes", "1KiB", "--group", "0").ended;
    expect(lags.out).toContain(`${backlogBytes} (lags)`);
    expect(lags.out).toContain(`1 group, 1 lagging, largest lag ${backlogBytes} bytes; 1 segment`);
    const none = await bench.run("stats", ...at, "--group", "3").ended;
    expect([none.exit, none.err]).toEqual([1, expect.stringContaining("knows no group 3")]);
    expect((await bench.run("stats", ...at, "--group", "x").ended).exit).toBe(128);
  });

  it("find nothing wrong with a stopped node", async () => {
    await stoppedNode();
    const wal = await bench.run("wal", "verify", "--data-dir", bench.dataDir).ended;
    expect([wal.exit, wal.err]).toEqual([0, ""]);
    const check = await bench.run("check", "--data-dir", bench.dataDir).ended;
    expect([check.exit, check.err]).toEqual([0, ""]);
    const json = await bench.run("wal", "verify", "--data-dir", bench.dataDir, "-w", "json").ended;
    expect(JSON.parse(json.out)).toMatchObject({ damage: [], manifest: "ok", votes: "ok" });
  });

  it("name file and offset of a flipped bit, and the node refuses to start on it with exit code 70", async () => {
    const { log } = await stoppedNode();
    const offset = await damage(log);
    const place = `${log} at offset ${offset}`;
    const before = readFileSync(log);

    const verify = await bench.run("wal", "verify", "--data-dir", bench.dataDir).ended;
    expect(verify.exit).toBe(70);
    expect(verify.out).toContain(`DAMAGE ${place}`);
    expect(verify.err).toContain("has 1 damaged place");
    const counted = await bench.run("wal", "verify", "--data-dir", bench.dataDir, "-w", "json")
      .ended;
    expect(JSON.parse(counted.out)).toMatchObject({ damage: [{ file: log, offset }] });
    const check = await bench.run("check", "--data-dir", bench.dataDir).ended;
    expect(check.exit).toBe(70);

    const node = await bench.serve().ended;
    expect([node.exit, node.out]).toEqual([70, ""]);
    expect(node.err).toContain(place);
    expect(node.err).toMatch(/restore a backup/);
    expect(readFileSync(log).equals(before)).toBe(true);
  });

  it("find a flipped bit in a page, with its place", async () => {
    await stoppedNode();
    const file = join(bench.dataDir, "db", "0.hdb");
    const bytes = readFileSync(file);
    bytes[2 * 4096 + 200] = (bytes[2 * 4096 + 200] as number) ^ 1;
    writeFileSync(file, bytes);
    const check = await bench.run("check", "--data-dir", bench.dataDir).ended;
    expect(check.exit).toBe(70);
    expect(check.out).toMatch(/^DAMAGE .*0\.hdb at offset 8192: /m);
  });

  it("find what is wrong with the list of members, and with a snapshot", async () => {
    await stoppedNode();
    const check = (): Promise<Ended> => bench.run("check", "--data-dir", bench.dataDir).ended;
    const folder = join(bench.dataDir, "snap", "0");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "0000000000000001-0000000000000002.snap"), "no snapshot");
    const noted = await check();
    expect([noted.exit, noted.out]).toEqual([0, expect.stringMatching(/^note: .*\.snap/m)]);
    const members = join(bench.dataDir, "MEMBERS");
    writeFileSync(members, '{"format":1,"members":[],"checksum":"00000000"}\n');
    const damaged = await check();
    expect([damaged.exit, damaged.out]).toEqual([
      70,
      expect.stringContaining(`DAMAGE ${members} at offset 0: `),
    ]);
    expect((await bench.serve().ended).exit).toBe(70);
  });

  it("find a log that is older than the checkpoint beside it", async () => {
    await stoppedNode();
    const wal = join(bench.dataDir, "wal");
    cpSync(wal, join(bench.root, "older"), { recursive: true });
    const node = bench.serve("--checkpoint-operations", "1");
    const client = new TinyClient((await node.ready()).client[0] as string);
    // Writes until a checkpoint has changed the data file; a checkpoint is due after each of them.
    const file = join(bench.dataDir, "db", "0.hdb");
    const before = readFileSync(file);
    for (let i = 0; i < 10_000 && readFileSync(file).equals(before); i++)
      await client.put("later", `value-${i}`);
    expect(readFileSync(file).equals(before)).toBe(false);
    client.close();
    await node.kill("SIGTERM");
    const sound = await bench.run("check", "--data-dir", bench.dataDir, "-w", "json").ended;
    expect(sound.exit).toBe(0);
    expect(JSON.parse(sound.out)).toMatchObject({ damage: [] });

    rmSync(wal, { recursive: true });
    cpSync(join(bench.root, "older"), wal, { recursive: true });
    const check = await bench.run("check", "--data-dir", bench.dataDir).ended;
    expect(check.exit).toBe(70);
    expect(check.out).toMatch(
      /^DAMAGE .*(checkpoint is at entry \d+ and the log ends at entry \d+|which the manifest names, is missing)/m,
    );
  });

  it("leave a running node alone", async () => {
    await bench.serve().ready();
    for (const command of [["wal", "dump"], ["wal", "verify"], ["check"]]) {
      const { exit, out, err } = await bench.run(...command, "--data-dir", bench.dataDir).ended;
      expect([exit, out]).toEqual([1, ""]);
      expect(err).toMatch(/another process uses this data directory/);
    }
  });

  it("say that a directory is none, and make nothing in it", async () => {
    const { exit, err } = await bench.run("check", "--data-dir", bench.root).ended;
    expect(exit).toBe(1);
    expect(err).toMatch(/no .*VERSION.*not the directory of a node/);
    expect(readdirSync(bench.root)).toEqual([]);
  });
});
