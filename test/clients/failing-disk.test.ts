/**
 * The real platform on a disk that fails: what the simulator shows on its own disk holds here too. Needs strace and
 * the right to mount a tmpfs; without them these tests fail and say so.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect, type HarmonyDB, HarmonyError, open } from "../../src/index.ts";
import { TestCluster, until } from "../cluster/cluster.ts";
import { sameState } from "../cluster/world.ts";
import { judge } from "../crash/counters.ts";

const WRITER = fileURLToPath(new URL("../../dist/test/crash/writer.js", import.meta.url));
const CLIENTS = 3;
const RUN_MS_MAX = 30_000;

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "harmonydb-disk-"));
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly said: string;
  readonly complaints: string;
}

/** The victim of the kill test under strace, which lets its system calls fail. One thread, so that counts are exact. */
function writeUnderStrace(data: string, log: string, inject: string): Promise<Ended> {
  const call = inject.split(":")[0];
  const child = spawn(
    "strace",
    [
      "-f",
      "-o",
      log,
      "-s",
      "24",
      "-e",
      `trace=write,${call}`,
      "-e",
      `inject=${inject}`,
      process.execPath,
      WRITER,
      data,
      String(CLIENTS),
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, UV_THREADPOOL_SIZE: "1" } },
  );
  let said = "";
  let complaints = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const late = setTimeout(() => child.kill("SIGKILL"), RUN_MS_MAX);
  return new Promise((resolve, reject) => {
    child.on("error", (error) =>
      reject(new Error(`strace cannot be run, and this test needs it: ${error.message}`)),
    );
    child.on("close", (code) => {
      clearTimeout(late);
      resolve({ code, said, complaints });
    });
  });
}

async function numbersIn(data: string): Promise<Map<string, number>> {
  await using db = await open(data);
  const found = new Map<string, number>();
  for await (const { key, value } of db.scan())
    found.set(key, Number(new TextDecoder().decode(value).trim().split(" ")[0]));
  return found;
}

function acknowledgedIn(said: string): number[] {
  const last = Array.from({ length: CLIENTS }, () => 0);
  for (const [, client, number] of said.matchAll(/^A (\d+) (\d+)$/gm))
    last[Number(client)] = Number(number);
  return last;
}

describe("a system call that fails", () => {
  for (const [what, inject] of [
    ["a write of the log", "pwrite64:error=EIO:when=120+"],
    ["a sync beside the log", "fdatasync:error=EIO:when=9+"],
  ] as const) {
    it(`${what}: the process stops, acknowledges nothing that is not durable, and loses nothing`, async () => {
      const data = join(root, "data");
      const log = join(root, "strace");
      const { code, said, complaints } = await writeUnderStrace(data, log, inject);
      expect(code, complaints).not.toBe(0);
      expect(complaints).toContain("EIO");
      const calls = readFileSync(log, "utf8").split("\n");
      const failed = calls.findIndex((line) => line.includes("(INJECTED)"));
      expect(failed).toBeGreaterThan(0);
      // The node hears of the failure a moment after the call has failed, and answers meanwhile what the log had
      // taken before: at most the frame that came back and the one behind it. `judge` finds them on the disk.
      const later = calls.slice(failed).filter((line) => /write\(1, "A /.test(line));
      expect(later.length).toBeLessThanOrEqual(2 * CLIENTS);
      const acknowledged = acknowledgedIn(said);
      expect(Math.max(...acknowledged)).toBeGreaterThan(0);
      const found = await numbersIn(data);
      expect(judge(found, acknowledged)).toBeNull();
    }, 60_000);
  }
});

/** A disk of its own, so large. */
function mountDisk(path: string, size: string): void {
  mkdirSync(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path]);
  } catch (error) {
    throw new Error("this test mounts a small tmpfs and has to be run by somebody who may", {
      cause: error,
    });
  }
}

describe("a full disk", () => {
  let disk: string;

  beforeEach(() => {
    disk = join(root, "disk");
    mountDisk(disk, "12m");
  });

  afterEach(() => {
    execFileSync("umount", [disk]);
  });

  it("refuses writes with a clear error, keeps reading and deleting, and recovers without a restart", async () => {
    const ballast = join(disk, "ballast");
    writeFileSync(ballast, Buffer.alloc(5 * 1024 * 1024));
    await using db = await open(join(disk, "data"), { walSegmentBytes: 1024 * 1024 });
    const written = await fill(db);
    expect(written).toBeGreaterThan(0);
    const value = await db.get("key0");
    expect(value?.length).toBe(64 * 1024);
    expect((await db.del("key0")).ok).toBe(true);
    await expect(db.put("one more", "x".repeat(64 * 1024))).rejects.toMatchObject({
      code: "DISK_FULL",
      maybeApplied: false,
    });
    unlinkSync(ballast);
    await expect
      .poll(
        () =>
          db.put("again", "there is room").then(
            ({ ok }) => ok,
            () => false,
          ),
        { timeout: 15_000, interval: 250 },
      )
      .toBe(true);
    expect(await db.get("key0")).toBeUndefined();
    expect((await db.get(`key${written - 1}`))?.length).toBe(64 * 1024);
  }, 60_000);
});

/** Writes until the disk is full; answers how many writes were acknowledged. */
async function fill(db: HarmonyDB): Promise<number> {
  for (let i = 0; i < 1000; i++) {
    try {
      await db.put(`key${i}`, new Uint8Array(64 * 1024).fill(i));
    } catch (error) {
      expect(error).toBeInstanceOf(HarmonyError);
      expect((error as HarmonyError).code).toBe("DISK_FULL");
      return i;
    }
  }
  throw new Error("the disk took everything");
}

describe("a cluster on disks of its members' own", () => {
  const disks: string[] = [];
  let cluster: TestCluster;

  beforeEach(async () => {
    cluster = await TestCluster.start({
      args: ["--wal-segment-bytes", String(1024 * 1024)],
      prepare: (dataDir) => {
        mountDisk(dataDir, "32m");
        disks.push(dataDir);
      },
    });
  }, 60_000);

  afterEach(async () => {
    // Their processes end first, and then their directories go.
    await cluster.close((): void => {
      for (const disk of disks.splice(0)) execFileSync("umount", [disk]);
    });
  });

  /** Something else takes all that is left. */
  function fillUp(path: string): void {
    const piece = Buffer.alloc(64 * 1024);
    for (let i = 0; i < 1_000; i++) {
      try {
        writeFileSync(path, piece, { flag: "a" });
      } catch {
        return;
      }
    }
    throw new Error("the disk took everything");
  }

  it("goes on under another leader when the disk of the leader is full, and with it when there is room", async () => {
    const before = await cluster.leader();
    const [one] = cluster.others(before);
    if (one === undefined) throw new Error("there are three");
    await one.put("early", "1");
    const ballast = join(before.dataDir, "ballast");
    fillUp(ballast);
    const value = "x".repeat(32 * 1024);
    let count = 0;
    const refused: unknown[] = [];
    const write = (): Promise<void> =>
      one.put(`k${count++}`, value).catch((error: unknown) => void refused.push(error));
    // Not one is refused: the log goes on into the rest of its segment, and then the lead goes to another.
    const next = await until("another leader", async () => {
      await write();
      const { leader } = await one.status();
      const { header } = await before.status();
      return leader !== 0n && leader !== header?.member_id ? await cluster.leader() : null;
    });
    expect(next.name).not.toBe(before.name);
    expect(before.log).toContain("the disk is full: hands the lead over");
    for (let i = 0; i < 30; i++) await write();
    expect(refused).toEqual([]);
    // Probes and clients are told.
    expect(await before.probe("/readyz/disk_space")).toBe(503);
    expect(await before.probe("/readyz")).toBe(503);
    expect(await before.probe("/livez")).toBe(200);
    expect(await next.probe("/readyz")).toBe(200);
    await expect(before.put("refused", "1")).rejects.toMatchObject({
      code: 14,
      details: expect.stringContaining("the disk of this member is full"),
    });
    expect((await before.all("e", true)).get("early")).toBe("1");
    // Who knows of the others asks them.
    await using db = await connect([before.clientUrl, next.clientUrl]);
    expect((await db.put("by another", "1")).ok).toBe(true);
    unlinkSync(ballast);
    await until("a member that is ready again", async () =>
      (await before.probe("/readyz")) === 200 ? true : null,
    );
    await before.put("again", "1");
    expect((await before.all("k")).size).toBe(count);
    await sameState(cluster.members);
  }, 120_000);
});
