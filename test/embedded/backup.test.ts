/** A backup in process, on the real disk: made while the database is used, and a database of its own afterwards. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { restoreSnapshot } from "../../src/db/index.ts";
import { runIo } from "../../src/env/index.ts";
import { type Backup, type HarmonyDB, type HarmonyError, open } from "../../src/index.ts";
import { nodeEnv } from "../../src/platform/index.ts";
import { temporaryDirectory } from "./temporary.ts";

const SMALL = { walSegmentBytes: 1024 * 1024 };

async function opened(directory: string = temporaryDirectory()): Promise<HarmonyDB> {
  const db = await open(directory, SMALL);
  onTestFinished(() => db.close());
  return db;
}

async function bytesOf(backup: Backup): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of backup) pieces.push(piece);
  return Buffer.concat(pieces);
}

function restore(file: string, dataDir: string): Promise<unknown> {
  const env = nodeEnv({ log: () => {} });
  return new Promise((resolve, reject) => {
    const io = restoreSnapshot(env, { file, dataDir, ...SMALL }, () => {});
    runIo(io, (error, restored) => {
      if (error === null) resolve(restored);
      else reject(error as Error);
    });
  });
}

async function dump(db: HarmonyDB): Promise<readonly unknown[]> {
  const lines: unknown[] = [];
  for await (const { key, value, rev, createRev, version } of db.scan())
    lines.push([key, Buffer.from(value).toString(), rev, createRev, version]);
  return lines;
}

describe("db.admin.snapshot", () => {
  it("is the database at its revision, whatever is written meanwhile, and opens as another one", async () => {
    const directory = temporaryDirectory();
    const db = await opened(join(directory, "db"));
    for (let i = 0; i < 60; i++) await db.put(`k${i % 20}`, `${i}`.repeat(500));
    const before = await dump(db);
    const making = db.admin.snapshot();
    const writes: Promise<unknown>[] = [];
    for (let i = 0; i < 40; i++) writes.push(db.put(`k${i % 20}`, `later ${i}`));
    const backup = await making;
    await Promise.all(writes);
    const bytes = await bytesOf(backup);
    expect(backup.rev).toBe(61);
    expect(bytes.length).toBe(backup.sizeBytes);
    expect(Buffer.from(backup.sha256)).toEqual(
      createHash("sha256").update(bytes.subarray(0, -32)).digest(),
    );
    const file = join(directory, "a.snap");
    writeFileSync(file, bytes);
    await restore(file, join(directory, "other"));
    const other = await opened(join(directory, "other"));
    expect(await dump(other)).toEqual(before);
    expect((await other.put("k0", "")).rev).toBe(62);
    expect(db.admin.metrics()).toContain("harmonydb_snapshot_made_total 1\n");
    expect(db.admin.metrics()).toContain("\nsnapshot_count 1\n");
  });

  it("lets go of its file when the loop is left, and gives nothing after that", async () => {
    const directory = temporaryDirectory();
    const db = await opened(directory);
    await db.put("k", "x".repeat(200_000));
    const backup = await db.admin.snapshot();
    for await (const piece of backup) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    await expect(bytesOf(backup)).rejects.toMatchObject({ code: "CLOSED" });
    expect(readdirSync(join(directory, "snap", "0"))).toHaveLength(1);
  });

  it("works in memory and leaves nothing on the disk", async () => {
    const db = await opened(":memory:");
    await db.put("k", "1");
    const backup = await db.admin.snapshot();
    expect((await bytesOf(backup)).length % 512).toBe(32);
    expect(existsSync("memory")).toBe(false);
  });

  it("rejects once the database is closed", async () => {
    const db = await open(temporaryDirectory(), SMALL);
    await db.close();
    await expect(db.admin.snapshot()).rejects.toMatchObject({
      code: "CLOSED",
    } satisfies Partial<HarmonyError>);
  });

  it("is not waited for longer than its caller says", async () => {
    const db = await opened();
    await db.put("k", "1");
    const aborted = AbortSignal.abort();
    await expect(db.admin.snapshot({ signal: aborted })).rejects.toMatchObject({ code: "ABORTED" });
  });
});
