/** The end of a log that stopped in peace is known outside of its last segment: losing that end is seen. */
import { describe, expect, it } from "vitest";
import { CorruptionError, equalBytes, setVerifying } from "../base/index.ts";
import { closeFile, type Io, openFile, syncFile, truncateFile } from "../env/index.ts";
import type { SimEnv } from "../env/sim/index.ts";
import { Wal, type WalOptions } from "./index.ts";
import { readManifest } from "./manifest.ts";
import { batch, IDENTITY, Lab, matchingState } from "./testing/lab.ts";

setVerifying(true);

function appended(count: number, options: Partial<WalOptions> = {}): { lab: Lab; wal: Wal } {
  const lab = new Lab(1, { segmentSizeBytes: 1024 * 1024, ...options });
  const wal = lab.create();
  for (let i = 1; i <= count; i++)
    lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i - 1 }, 300)]);
  return { lab, wal };
}

function lastSegment(machine: SimEnv): string {
  const paths = machine.disk.paths().filter((path) => path.startsWith("data/wal/"));
  return paths.sort()[paths.length - 1] as string;
}

/** Shortens a file, as a repair of the file system or a broken copy does. */
function cutFile(lab: Lab, machine: SimEnv, path: string, size: number): void {
  const { files } = machine.boot();
  lab.runOn(
    machine,
    (function* (): Io<void> {
      const file = yield* openFile(files, path, { access: "readwrite" });
      yield* truncateFile(file, size);
      yield* syncFile(file);
      yield* closeFile(file);
    })(),
  );
  machine.kill();
}

function open(lab: Lab, machine: SimEnv): Wal {
  const env = machine.boot();
  return lab.runOn(machine, Wal.open(env, lab.options, IDENTITY, lab.starts)).wal;
}

function refused(action: () => unknown): CorruptionError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(CorruptionError);
    return error as CorruptionError;
  }
  throw new Error("nothing was refused");
}

function manifestLsn(lab: Lab): number {
  const manifest = lab.run(readManifest(lab.env.files, "data/MANIFEST"));
  return typeof manifest === "string" ? -1 : manifest.durableLsn;
}

describe("the last segment of a log that stopped in peace", { timeout: 30_000 }, () => {
  for (const end of ["close", "idle"] as const) {
    for (const harm of ["cut", "zeroed"] as const) {
      it(`${harm} anywhere in what it held is refused after ${end}`, () => {
        const { lab, wal } = appended(200);
        const endOffset = wal.durableLsn;
        if (end === "close") lab.run(wal.close());
        else lab.idle(1500);
        lab.machine.kill();
        const path = lastSegment(lab.machine);
        const size = lab.machine.disk.contents(path).length;
        for (const at of [
          1024,
          Math.floor(endOffset / 3),
          Math.floor(endOffset / 2),
          endOffset - 300,
        ]) {
          const machine = lab.machine.fork();
          if (harm === "cut") cutFile(lab, machine, path, at);
          else machine.disk.damage(path, at, new Uint8Array(size - at));
          const before = machine.disk.contents(path);
          const { damage } = refused(() => open(lab, machine));
          expect(damage.file).toBe(path);
          expect(damage.offset).toBeLessThanOrEqual(at);
          expect(damage.offset).toBeGreaterThan(at - 1024);
          // What is left may be all that there is: it stays as it is.
          expect(equalBytes(machine.disk.contents(path), before)).toBe(true);
        }
        expect(matchingState(open(lab, lab.machine), lab.states, 200, [])).toBe(200);
      });
    }
  }

  it("may lose the zeros behind its end", () => {
    const { lab, wal } = appended(20);
    lab.run(wal.close());
    const path = lastSegment(lab.machine);
    lab.machine.kill();
    cutFile(lab, lab.machine, path, wal.durableLsn);
    expect(matchingState(open(lab, lab.machine), lab.states, 20, [])).toBe(20);
  });

  it("is opened with a manifest that is older, or missing", () => {
    const { lab, wal } = appended(20);
    const older = lab.machine.disk.contents("data/MANIFEST");
    lab.run(wal.close());
    lab.machine.kill();
    const machine = lab.machine.fork();
    expect(machine.disk.contents("data/MANIFEST")).not.toEqual(older);
    machine.disk.damage("data/MANIFEST", 0, older);
    expect(matchingState(open(lab, machine), lab.states, 20, [])).toBe(20);
    lab.machine.disk.damage("data/MANIFEST", 0, new Uint8Array(older.length));
    expect(matchingState(open(lab, lab.machine), lab.states, 20, [])).toBe(20);
  });

  it("is known as far as it goes even if the disk has no room for the last Mark", () => {
    const { lab, wal } = appended(1, { segmentSizeBytes: 4096, reserveBytes: 0 });
    lab.machine.disk.quotaBytes = lab.machine.disk.usedBytes;
    for (let i = 2; i <= 3; i++) lab.append(wal, [batch(0, 1, i, i, null, 400)]);
    const written = wal.durableLsn;
    lab.run(wal.close());
    expect(manifestLsn(lab)).toBeGreaterThanOrEqual(written);
    lab.machine.kill();
    const path = lastSegment(lab.machine);
    lab.machine.disk.damage(path, written - 512, new Uint8Array(512));
    expect(refused(() => open(lab, lab.machine)).damage.file).toBe(path);
  });
});

describe("the manifest behind a Mark", () => {
  it("is written once when the log falls idle, and not again while it is", () => {
    const { lab, wal } = appended(10);
    expect(manifestLsn(lab)).toBeLessThan(wal.durableLsn);
    lab.idle(1500);
    expect(manifestLsn(lab)).toBe(wal.durableLsn);
    const operations = lab.machine.disk.opCount;
    lab.idle(60_000);
    expect(lab.machine.disk.opCount).toBe(operations);
    lab.run(wal.close());
    const closed = lab.machine.disk.contents("data/MANIFEST");
    expect(lab.run(readManifest(lab.env.files, "data/MANIFEST"))).toMatchObject({ generation: 2 });
    expect(closed.length).toBeGreaterThan(0);
  });

  it("costs nothing when the disk is full: the log goes on, and closing makes up for it", () => {
    const { lab, wal } = appended(10);
    lab.machine.disk.inject({ operation: "write", path: "data/tmp/MANIFEST", error: "ENOSPC" });
    lab.idle(1500);
    expect(wal.failed).toBeNull();
    expect(manifestLsn(lab)).toBeLessThan(wal.durableLsn);
    lab.append(wal, [batch(0, 1, 11, 11)]);
    lab.run(wal.close());
    expect(manifestLsn(lab)).toBe(wal.durableLsn);
  });

  it("fails the log when the device fails, as every manifest does", () => {
    const { lab, wal } = appended(10);
    lab.machine.disk.inject({ operation: "write", path: "data/tmp/MANIFEST", error: "EIO" });
    lab.idle(1500);
    expect(wal.failed).toMatchObject({ code: "STOPPED" });
  });
});
