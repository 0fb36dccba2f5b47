/** Directories that are not what they should be: refused with a code, and nothing in them is changed. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { open } from "../../src/index.ts";
import { nodeEnv } from "../../src/platform/index.ts";
import { startNode, stopNode } from "../../src/db/index.ts";
import { temporaryDirectory } from "./temporary.ts";

const SMALL = { walSegmentBytes: 256 * 1024 };

async function filled(): Promise<string> {
  const directory = join(temporaryDirectory(), "data");
  const db = await open(directory, SMALL);
  for (let i = 0; i < 50; i++) await db.put(`key-${i}`, "v".repeat(100));
  await db.close();
  return directory;
}

describe("a data directory", { timeout: 60_000 }, () => {
  it("is made with all that is above it, for its owner alone", async () => {
    const directory = join(temporaryDirectory(), "not", "there", "yet");
    const db = await open(directory, SMALL);
    await db.put("a", "1");
    await db.admin.checkpoint();
    await using backup = await db.admin.snapshot();
    expect(backup.sizeBytes).toBeGreaterThan(0);
    await db.close();
    expect(readdirSync(directory).sort()).toEqual(
      expect.arrayContaining(["MANIFEST", "VERSION", "VOTE", "db", "snap", "wal"]),
    );
    const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
    expect(entries.filter((entry) => entry.isFile()).length).toBeGreaterThanOrEqual(6);
    const modes = new Set<string>();
    const note = (path: string): void => {
      const { mode } = statSync(path);
      modes.add(
        `${(mode & 0o170000) === 0o040000 ? "directory" : "file"} ${(mode & 0o777).toString(8)}`,
      );
    };
    note(directory);
    for (const { parentPath, name } of entries) note(join(parentPath, name));
    expect([...modes].sort()).toEqual(["directory 700", "file 600"]);
  });

  it("of a newer format is refused, and names the version that wrote it", async () => {
    const directory = await filled();
    const path = join(directory, "VERSION");
    const version = JSON.parse(readFileSync(path, "utf8")) as {
      format: { major: number };
      checksum?: string;
      createdBy: string;
    };
    version.format.major = 2;
    // Whatever a later format puts in its place.
    delete version.checksum;
    version.createdBy = "harmonydb 9.0.0";
    writeFileSync(path, JSON.stringify(version));
    await expect(open(directory, SMALL)).rejects.toMatchObject({
      code: "NEWER_FORMAT",
      message: expect.stringContaining("harmonydb 9.0.0"),
    });
  });

  it("with a VERSION that makes no sense is refused as damaged", async () => {
    const directory = await filled();
    for (const content of ["", "not json", "null", "{}", '{"format":{"major":1}}', "[1]"]) {
      writeFileSync(join(directory, "VERSION"), content);
      await expect(open(directory, SMALL)).rejects.toMatchObject({ code: "CORRUPT" });
    }
  });

  it("with any flipped bit in VERSION is refused as damaged", async () => {
    const directory = await filled();
    const path = join(directory, "VERSION");
    const sound = readFileSync(path);
    // The line's end says nothing.
    for (let bit = 0; bit < (sound.length - 1) * 8; bit += 5) {
      const damaged = Buffer.from(sound);
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      writeFileSync(path, damaged);
      await expect(open(directory, SMALL), `bit ${bit}`).rejects.toMatchObject({
        code: expect.stringMatching(/CORRUPT|NEWER_FORMAT/),
      });
    }
    writeFileSync(path, sound);
    await (await open(directory, SMALL)).close();
  });

  it("of which all is gone but votes and manifest is refused, never begun anew", async () => {
    const directory = await filled();
    rmSync(join(directory, "VERSION"));
    for (const inner of ["wal", "db"]) rmSync(join(directory, inner), { recursive: true });
    await expect(open(directory, SMALL)).rejects.toMatchObject({ code: "CORRUPT" });
  });

  it("whose VERSION is missing although its log holds entries is refused, never begun anew", async () => {
    const directory = await filled();
    rmSync(join(directory, "VERSION"));
    await expect(open(directory, SMALL)).rejects.toMatchObject({
      code: "CORRUPT",
      message: expect.stringContaining("VERSION"),
    });
    expect(readdirSync(join(directory, "wal")).length).toBeGreaterThan(0);
  });

  it("with the log of another is refused", async () => {
    const [one, other] = [await filled(), await filled()];
    rmSync(join(one, "wal"), { recursive: true });
    cpSync(join(other, "wal"), join(one, "wal"), { recursive: true });
    await expect(open(one, SMALL)).rejects.toMatchObject({
      code: expect.stringMatching(/WRONG_CLUSTER|CORRUPT/),
    });
  });

  it("with the data file of another is refused", async () => {
    const [one, other] = [await filled(), await filled()];
    cpSync(join(other, "db", "0.hdb"), join(one, "db", "0.hdb"));
    await expect(open(one, SMALL)).rejects.toMatchObject({
      code: expect.stringMatching(/WRONG_CLUSTER|CORRUPT/),
    });
  });

  it("of another cluster token is refused when a token is asked for", async () => {
    const directory = join(temporaryDirectory(), "data");
    const env = nodeEnv({ log: () => {} });
    await stopNode(
      await startNode(env, {
        dataDir: directory,
        walSegmentBytes: 256 * 1024,
        clusterToken: "blue",
      }),
    );
    await expect(
      startNode(env, { dataDir: directory, clusterToken: "green" }),
    ).rejects.toMatchObject({ code: "WRONG_CLUSTER" });
    await stopNode(await startNode(env, { dataDir: directory, clusterToken: "blue" }));
    await stopNode(await startNode(env, { dataDir: directory }));
  });

  it("that holds something else is left alone", async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "thesis.txt"), "years of work");
    mkdirSync(join(directory, "wal"));
    writeFileSync(join(directory, "wal", "notes"), "mine");
    await expect(open(directory, SMALL)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("thesis.txt"),
    });
    expect(existsSync(join(directory, "wal", "notes"))).toBe(true);
  });

  it("that lost its log or its data file is refused", async () => {
    for (const lost of ["wal", "db"]) {
      const directory = await filled();
      rmSync(join(directory, lost), { recursive: true });
      await expect(open(directory, SMALL)).rejects.toMatchObject({ code: "CORRUPT" });
    }
  });

  it("that is a file is refused with the path", async () => {
    const path = join(temporaryDirectory(), "file");
    writeFileSync(path, "");
    await expect(open(path, SMALL)).rejects.toThrow(/file/);
  });
});
