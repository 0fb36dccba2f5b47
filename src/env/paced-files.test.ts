/** Files that keep to a rate are files like any other, and do keep to it. */
import { describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { Allowance } from "./allowance.ts";
import { filesSuite, type FilesWorld } from "./files.suite.ts";
import {
  type File,
  FileError,
  type Io,
  makeDirectory,
  openFile,
  PacedFiles,
  readFile,
  runIo,
  syncDirectory,
  syncFile,
  writeFile,
} from "./index.ts";
import { runIoNow, SimEnv } from "./sim/index.ts";

setVerifying(true);

const KIB = 1024;
const MIB: number = 1024 * KIB;

filesSuite("paced", async (): Promise<FilesWorld> => {
  const machine = new SimEnv({ seed: 7, disk: { shortWritePercent: 20 } });
  const env = machine.boot();
  runIoNow(machine, makeDirectory(env.files, "root"));
  return {
    files: new PacedFiles(env, 100 * KIB),
    root: "root",
    run: async <T>(io: Io<T>): Promise<T> => runIoNow(machine, io),
    settle: async (start) => {
      let ended = false;
      const value = start(() => {
        ended = true;
      });
      while (!ended && machine.scheduler.step());
      if (!ended) throw new Error("an operation did not complete");
      return value;
    },
    end: async () => machine.disk.invariants(),
  };
});

/** A file that keeps to a rate, on a machine whose time is simulated. */
class Bench {
  readonly machine = new SimEnv({ seed: 1 });
  readonly paced: PacedFiles;
  readonly file: File;

  constructor(bytesPerSecond: number) {
    this.paced = new PacedFiles(this.machine.boot(), bytesPerSecond);
    this.file = this.run(
      openFile(this.paced, "file", { access: "readwrite", create: "exclusive" }),
    );
  }

  run<T>(io: Io<T>): T {
    return runIoNow(this.machine, io);
  }

  /** What `io` takes of simulated time. */
  msOf(io: Io<unknown>): number {
    const { scheduler } = this.machine;
    const startMs = scheduler.nowMs;
    this.run(io);
    return scheduler.nowMs - startMs;
  }

  *write(pieces: number, pieceBytes: number): Io<void> {
    for (let i = 0; i < pieces; i++)
      yield* writeFile(this.file, i * pieceBytes, new Uint8Array(pieceBytes).fill(i));
  }

  *read(pieces: number, pieceBytes: number): Io<void> {
    const into = new Uint8Array(pieceBytes);
    for (let i = 0; i < pieces; i++) yield* readFile(this.file, i * pieceBytes, into);
  }
}

describe("files that keep to a rate", () => {
  it("write and read together no more than it", () => {
    const bench = new Bench(MIB);
    const both = bench.msOf(bench.write(16, 128 * KIB)) + bench.msOf(bench.read(16, 128 * KIB));
    // 4 MiB, less what gathers in a tenth of a second.
    expect(both).toBeGreaterThan(3_850);
    expect(both).toBeLessThan(4_200);
  });

  it("count what is written at the same time, and complete all of it", () => {
    const bench = new Bench(MIB);
    const { scheduler } = bench.machine;
    const startMs = scheduler.nowMs;
    let completed = 0;
    for (let i = 0; i < 16; i++)
      runIo(writeFile(bench.file, i * 128 * KIB, new Uint8Array(128 * KIB)), (error) => {
        expect(error).toBeNull();
        completed++;
      });
    while (completed < 16 && scheduler.step());
    expect(completed).toBe(16);
    expect(scheduler.nowMs - startMs).toBeGreaterThan(1_850);
  });

  it("are as fast as the disk without one, and from when somebody is in a hurry", () => {
    const free = new Bench(0);
    expect(free.msOf(free.write(32, 128 * KIB))).toBeLessThan(200);
    const bench = new Bench(64 * KIB);
    const { scheduler } = bench.machine;
    let isOver = false;
    runIo(bench.write(32, 128 * KIB), () => (isOver = true));
    scheduler.runUntil(scheduler.nowMs + 10_000);
    expect(isOver).toBe(false);
    bench.paced.hurry();
    // What was waited for already is waited for.
    scheduler.runUntil(scheduler.nowMs + 3_000);
    expect(isOver).toBe(true);
  });

  it("are synced as they are written, so that little is left for the end", () => {
    const bench = new Bench(0);
    bench.run(bench.write(80, 128 * KIB));
    bench.run(syncDirectory(bench.paced, ""));
    bench.machine.losePower("lose-all");
    const { files } = bench.machine.boot();
    const file = bench.run(openFile(files, "file", { access: "read" }));
    const into = new Uint8Array(128 * KIB);
    // 10 MiB were written, and two times four are for sure.
    expect(bench.run(readFile(file, 63 * 128 * KIB, into))).toBe(into.length);
    expect(into.every((byte) => byte === 63)).toBe(true);
  });

  it("fail a write with what the sync behind it failed with", () => {
    const bench = new Bench(0);
    bench.machine.disk.inject({ operation: "sync", path: "file", error: "EIO" });
    let failure: unknown = null;
    runIo(bench.write(80, 128 * KIB), (error) => (failure = error));
    while (failure === null && bench.machine.scheduler.step());
    expect(failure).toBeInstanceOf(FileError);
    expect(failure).toMatchObject({ code: "EIO", operation: "sync" });
    expect(() => bench.run(syncFile(bench.file))).not.toThrow();
  });
});

describe("an allowance", () => {
  it("fills with time up to a tenth of a second's worth, and is waited for when it is overdrawn", () => {
    let nowMs = 1_000;
    const clock = { monotonicMs: (): number => nowMs, wallMs: (): number => 0 };
    const allowance = new Allowance(clock, 1_000);
    nowMs += 60_000;
    expect(allowance.waitMs).toBe(0);
    allowance.spend(600);
    expect(allowance.waitMs).toBe(500);
    nowMs += 400;
    expect(allowance.waitMs).toBe(100);
    nowMs += 101;
    expect(allowance.waitMs).toBe(0);
    const none = new Allowance(clock, 0);
    none.spend(1e12);
    expect(none.waitMs).toBe(0);
  });
});
