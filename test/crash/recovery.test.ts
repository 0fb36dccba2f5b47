/** The four recovery tests that the project began with, on real files and through the public door. */
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HarmonyError, open } from "../../src/index.ts";

const WITHOUT_CHECKPOINTS = { checkpoints: { walBytes: 1e12, intervalMs: 1e9, operations: 1e9 } };

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "harmonydb-recovery-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : new TextDecoder().decode(value);
}

describe("recovery from the log alone", () => {
  it("TestWALRecoverySingleNode: what one node wrote is there after a restart", async () => {
    const data = join(directory, "data");
    await using db = await open(data, WITHOUT_CHECKPOINTS);
    const { rev } = await db.put("key1", "value1");
    await db.close();
    await using again = await open(data, WITHOUT_CHECKPOINTS);
    expect(text(await again.get("key1"))).toBe("value1");
    const [entry] = await collect(again.scan());
    expect(entry).toMatchObject({ key: "key1", rev, createRev: rev, version: 1 });
  });

  it("TestWALRecoverySingleNode: also from a copy that was taken while it ran", async () => {
    const data = join(directory, "data");
    const copy = join(directory, "copy");
    await using db = await open(data, WITHOUT_CHECKPOINTS);
    await db.put("key1", "value1");
    cpSync(data, copy, { recursive: true });
    await using again = await open(copy, WITHOUT_CHECKPOINTS);
    expect(text(await again.get("key1"))).toBe("value1");
  });

  it("TestWALRecoveryMultipleEntries: hundreds of writes, deletes and transactions, in order", async () => {
    const data = join(directory, "data");
    await using db = await open(data, { ...WITHOUT_CHECKPOINTS, walSegmentBytes: 64 * 1024 });
    await Promise.all(
      Array.from({ length: 500 }, (_, i) =>
        db.put(`key${String(i).padStart(3, "0")}`, `value${i}`),
      ),
    );
    await db.del("key007");
    const last = await db.txn({
      then: [
        { type: "put", key: "key100", value: "changed" },
        { type: "del", key: "key101" },
      ],
    });
    await db.close();
    await using again = await open(data, { ...WITHOUT_CHECKPOINTS, walSegmentBytes: 64 * 1024 });
    const entries = await collect(again.scan());
    expect(entries).toHaveLength(498);
    expect(entries.map(({ key }) => key)).toEqual(entries.map(({ key }) => key).toSorted());
    expect(text(entries.find(({ key }) => key === "key100")?.value)).toBe("changed");
    expect(text(entries.find(({ key }) => key === "key499")?.value)).toBe("value499");
    expect(await again.get("key007")).toBeUndefined();
    expect((await again.put("next", "one")).rev).toBe(last.rev + 1);
  });

  it("TestWALRecoveryWithOverwrites: the newest version wins, and older ones stay readable", async () => {
    const data = join(directory, "data");
    await using db = await open(data, WITHOUT_CHECKPOINTS);
    const first = await db.put("key", "version 1");
    for (let i = 2; i <= 20; i++) await db.put("key", `version ${i}`);
    await db.close();
    await using again = await open(data, WITHOUT_CHECKPOINTS);
    expect(text(await again.get("key"))).toBe("version 20");
    expect(text(await again.get("key", { rev: first.rev }))).toBe("version 1");
    const [entry] = await collect(again.scan());
    expect(entry).toMatchObject({ version: 20, createRev: first.rev, rev: first.rev + 19 });
  });

  it("TestWALRecoveryWithCorruption: a torn tail is cut, and nothing acknowledged is lost", async () => {
    const data = join(directory, "data");
    const copy = join(directory, "copy");
    await using db = await open(data, WITHOUT_CHECKPOINTS);
    for (let i = 0; i < 10; i++) await db.put(`key${i}`, `value${i}`);
    cpSync(data, copy, { recursive: true });
    // The beginning of a frame that was never acknowledged, behind everything that was.
    const path = newestSegment(copy);
    writeAt(path, endOfData(path), Buffer.from("this is no frame, and no length of it either"));
    await using again = await open(copy, WITHOUT_CHECKPOINTS);
    for (let i = 0; i < 10; i++) expect(text(await again.get(`key${i}`))).toBe(`value${i}`);
    expect((await again.put("goes", "on")).rev).toBe(12);
  });

  it("TestWALRecoveryWithCorruption: a flipped bit in what was proven durable is refused with file and offset", async () => {
    const data = join(directory, "data");
    await using db = await open(data, WITHOUT_CHECKPOINTS);
    for (let i = 0; i < 10; i++) await db.put(`key${i}`, `value ${i} ${"x".repeat(200)}`);
    await db.close();
    const path = newestSegment(data);
    const at = find(path, Buffer.from("value 3 "));
    const byte = readAt(path, at, 1);
    byte[0] = (byte[0] as number) ^ 4;
    writeAt(path, at, byte);
    const refusal = await open(data, WITHOUT_CHECKPOINTS).then(
      () => null,
      (error: unknown) => error,
    );
    expect(refusal).toBeInstanceOf(HarmonyError);
    expect((refusal as HarmonyError).code).toBe("CORRUPT");
    expect((refusal as HarmonyError).message).toContain(path);
    expect((refusal as HarmonyError).message).toMatch(/at offset \d+/);
    // Nothing was cut or mended: the damage is still there to be looked at.
    expect(readAt(path, at, 1)).toEqual(byte);
  });
});

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of items) out.push(item);
  return out;
}

function newestSegment(data: string): string {
  const name = readdirSync(join(data, "wal"))
    .filter((file) => file.endsWith(".wal"))
    .toSorted()
    .at(-1);
  return join(data, "wal", name as string);
}

function readAt(path: string, offset: number, length: number): Buffer {
  const file = openSync(path, "r");
  const bytes = Buffer.alloc(length);
  readSync(file, bytes, 0, length, offset);
  closeSync(file);
  return bytes;
}

function writeAt(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

function find(path: string, what: Buffer): number {
  const at = readAt(path, 0, statSync(path).size).indexOf(what);
  expect(at).toBeGreaterThan(0);
  return at;
}

/** The first sector behind the last one that is not all zeros. */
function endOfData(path: string): number {
  const bytes = readAt(path, 0, statSync(path).size);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return Math.ceil(end / 512) * 512;
}
