/** What the server says about a directory that it must not open, as a process with an exit code. */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { open } from "../../src/index.ts";

const BIN = fileURLToPath(new URL("../../bin/harmonydb", import.meta.url));
const RUN_MS_MAX = 20_000;

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "harmonydb-refusal-"));
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function serve(data: string): Promise<{ code: number | null; err: string }> {
  const child = spawn(
    process.execPath,
    [BIN, "serve", "--data-dir", data, "--listen-client-urls", "http://127.0.0.1:0"],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const late = setTimeout(() => child.kill("SIGKILL"), RUN_MS_MAX);
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearTimeout(late);
      resolve({ code, err });
    });
  });
}

describe("harmonydb serve refuses", () => {
  it("a flipped bit in what was proven durable: exit 70, with file and offset", async () => {
    const data = join(root, "data");
    const db = await open(data);
    for (let i = 0; i < 20; i++) await db.put(`key${i}`, `value ${i} ${"x".repeat(300)}`);
    await db.close();
    const [name] = readdirSync(join(data, "wal")).filter((file) => file.endsWith(".wal"));
    const path = join(data, "wal", name as string);
    const bytes = readFileSync(path);
    const at = bytes.indexOf("value 5 ");
    expect(at).toBeGreaterThan(0);
    bytes[at] = (bytes[at] as number) ^ 1;
    writeFileSync(path, bytes);
    const { code, err } = await serve(data);
    expect(code, err).toBe(70);
    expect(err).toContain(path);
    expect(err).toMatch(/offset \d+/);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  }, 30_000);

  it("a directory that another process uses: exit 1, and that one goes on", async () => {
    const data = join(root, "data");
    await using db = await open(data);
    await db.put("key", "value");
    const { code, err } = await serve(data);
    expect(code, err).toBe(1);
    expect(err).toContain(data);
    expect((await db.put("key", "again")).ok).toBe(true);
  }, 30_000);
});
