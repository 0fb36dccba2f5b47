import { describe, expect, it } from "vitest";
import { setVerifying, text, utf8 } from "../../base/index.ts";
import {
  closeFile,
  type Env,
  type File,
  FileError,
  fileSize,
  type Io,
  listDirectory,
  makeDirectory,
  openFile,
  readFile,
  renameFile,
  runIo,
  syncDirectory,
  syncFile,
  truncateFile,
  unlinkFile,
  writeFile,
} from "../index.ts";
import { runIoNow, SimEnv, type SimEnvOptions } from "./index.ts";

setVerifying(true);

const KIB = 1024;

interface Bench {
  readonly machine: SimEnv;
  readonly env: Env;
  readonly run: <T>(io: Io<T>) => T;
  readonly open: (path: string) => File;
  /** The errno name that `io` fails with. */
  readonly failure: (io: Io<unknown>) => string;
}

function bench(disk: SimEnvOptions["disk"] = {}, seed = 1): Bench {
  const machine = new SimEnv({ seed, disk });
  const env = machine.boot();
  const run = <T>(io: Io<T>): T => runIoNow(machine, io);
  return {
    machine,
    env,
    run,
    open: (path) => run(openFile(env.files, path, { access: "readwrite", create: "if-missing" })),
    failure(io): string {
      try {
        run(io);
      } catch (error) {
        if (error instanceof FileError) return error.code;
        throw error;
      }
      return "none";
    },
  };
}

function durable(b: Bench, path: string, content: string): File {
  const file = b.open(path);
  b.run(writeFile(file, 0, utf8(content)));
  b.run(syncFile(file));
  b.run(syncDirectory(b.env.files, ""));
  return file;
}

describe("faults on demand", () => {
  it("strike the operation, path and number that they name, and say how often", () => {
    const b = bench();
    const file = b.open("a");
    const other = b.open("b");
    const fault = b.machine.disk.inject({
      operation: "write",
      path: "a",
      skip: 1,
      times: 2,
      error: "EIO",
    });
    b.run(writeFile(other, 0, utf8("x")));
    expect(b.failure(writeFile(file, 0, utf8("1")))).toBe("none");
    expect(b.failure(writeFile(file, 0, utf8("2")))).toBe("EIO");
    expect(b.failure(writeFile(file, 0, utf8("3")))).toBe("EIO");
    expect(b.failure(writeFile(file, 0, utf8("4")))).toBe("none");
    expect([fault.matched, fault.struck]).toEqual([4, 2]);
    fault.remove();
    fault.remove();
    expect(fault.matched).toBe(4);
  });

  it("a failed sync lies on: readers see the bytes, later syncs succeed, the device never gets the rest", () => {
    const left = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const b = bench({}, seed);
      const file = durable(b, "a", "old");
      b.machine.disk.inject({ operation: "sync", error: "EIO" });
      b.run(writeFile(file, 0, utf8("new")));
      expect(b.failure(syncFile(file))).toBe("EIO");
      expect(text(b.machine.disk.contents("a"))).toBe("new");
      expect(b.failure(syncFile(file))).toBe("none");
      expect(text(b.machine.disk.contents("a"))).toBe("new");
      // A process crash changes nothing of it; a power loss tells.
      b.machine.kill();
      expect(text(b.machine.disk.contents("a"))).toBe("new");
      b.machine.losePower("keep-all");
      left.add(text(b.machine.disk.contents("a")));
    }
    expect([...left].toSorted()).toEqual(["new", "old"]);
  });

  it("writing the bytes again after a failed sync makes them durable", () => {
    for (let seed = 0; seed < 8; seed++) {
      const b = bench({}, seed);
      const file = durable(b, "a", "old");
      b.machine.disk.inject({ operation: "sync", error: "EIO" });
      b.run(writeFile(file, 0, utf8("new")));
      expect(b.failure(syncFile(file))).toBe("EIO");
      b.run(writeFile(file, 0, utf8("new")));
      b.run(syncFile(file));
      b.machine.losePower("lose-all");
      expect(text(b.machine.disk.contents("a"))).toBe("new");
    }
  });

  it("a failed write may be on the device, in memory only, or anything between", () => {
    const left = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const b = bench({}, seed);
      const file = durable(b, "a", "old");
      b.machine.disk.inject({ operation: "write", error: "EIO" });
      expect(b.failure(writeFile(file, 0, utf8("new")))).toBe("EIO");
      b.run(syncFile(file));
      b.machine.losePower("keep-all");
      left.add(text(b.machine.disk.contents("a")));
    }
    expect([...left].toSorted()).toEqual(["new", "old"]);
  });

  it("a rename that fails with EIO may have happened, one that is refused has not", () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const b = bench({}, seed);
      durable(b, "a", "x");
      const fault = b.machine.disk.inject({ operation: "rename", error: "EROFS" });
      expect(b.failure(renameFile(b.env.files, "a", "b"))).toBe("EROFS");
      expect(b.machine.disk.paths()).toEqual(["a"]);
      fault.remove();
      b.machine.disk.inject({ operation: "rename", error: "EIO" });
      expect(b.failure(renameFile(b.env.files, "a", "b"))).toBe("EIO");
      seen.add(b.machine.disk.paths().join());
      b.machine.disk.invariants();
    }
    expect([...seen].toSorted()).toEqual(["a", "b"]);
  });

  it("reads fail too, in the call and later", () => {
    const b = bench();
    const file = durable(b, "a", "x");
    b.machine.disk.inject({
      operation: "read",
      path: (path) => path.endsWith("a"),
      times: 2,
      error: "EIO",
    });
    expect(() => file.readSync(0, new Uint8Array(1))).toThrow("EIO");
    expect(b.failure(readFile(file, 0, new Uint8Array(1)))).toBe("EIO");
    expect(file.readSync(0, new Uint8Array(1))).toBe(1);
  });

  it("every kind of operation can be refused", () => {
    const b = bench();
    const { files } = b.env;
    const file = durable(b, "a", "x");
    b.run(makeDirectory(files, "d"));
    b.machine.disk.inject({ times: Number.POSITIVE_INFINITY, error: "EACCES" });
    const asked: Io<unknown>[] = [
      openFile(files, "a", { access: "read" }),
      writeFile(file, 0, utf8("y")),
      truncateFile(file, 0),
      renameFile(files, "a", "b"),
      unlinkFile(files, "a"),
      makeDirectory(files, "e"),
      listDirectory(files, ""),
      syncDirectory(files, ""),
      fileSize(file),
      closeFile(file),
    ];
    for (const io of asked) expect(b.failure(io)).toBe("EACCES");
    expect(b.machine.disk.paths()).toEqual(["a", "d"]);
    expect(text(b.machine.disk.contents("a"))).toBe("x");
  });

  it("a slow sync takes its time, and others pass it", () => {
    const b = bench();
    const file = durable(b, "a", "x");
    b.machine.disk.inject({ operation: "sync", delayMs: 1000 });
    let slow = false;
    file.sync(() => (slow = true));
    b.run(writeFile(file, 0, utf8("y")));
    expect(slow).toBe(false);
    b.machine.scheduler.runUntil(1002);
    expect(slow).toBe(true);
  });

  it("a stuck sync is stuck until it is let go", () => {
    const b = bench();
    const file = durable(b, "a", "x");
    const fault = b.machine.disk.inject({ operation: "sync", delayMs: Number.POSITIVE_INFINITY });
    let ended = false;
    runIo(syncFile(file), () => (ended = true));
    expect(b.machine.scheduler.run()).toBe(0);
    expect(ended).toBe(false);
    expect(() => b.run(syncFile(file))).not.toThrow();
    fault.remove();
    b.machine.scheduler.run();
    expect(ended).toBe(true);
  });

  it("a short write says how much it took", () => {
    const b = bench();
    const file = durable(b, "a", "");
    b.machine.disk.inject({ operation: "write", shortBytes: 2 });
    let took = -1;
    file.write(0, utf8("hello"), (_, written) => (took = written));
    b.machine.scheduler.run();
    expect(took).toBe(2);
    expect(text(b.machine.disk.contents("a"))).toBe("he");
  });

  it("a lost write is seen until the crash and never reaches the device", () => {
    const b = bench();
    const file = durable(b, "a", "old");
    b.machine.disk.inject({ operation: "write", lost: true });
    b.run(writeFile(file, 0, utf8("new")));
    b.run(syncFile(file));
    expect(text(b.machine.disk.contents("a"))).toBe("new");
    b.machine.losePower("keep-all");
    expect(text(b.machine.disk.contents("a"))).toBe("old");
  });

  it("a misdirected write keeps its place old and hits another one", () => {
    const b = bench();
    const file = b.open("a");
    b.run(writeFile(file, 0, new Uint8Array(2048).fill(1)));
    b.run(syncFile(file));
    b.run(syncDirectory(b.env.files, ""));
    b.machine.disk.inject({ operation: "write", misdirectedTo: 1024 });
    b.run(writeFile(file, 0, new Uint8Array(512).fill(2)));
    b.run(syncFile(file));
    const sectors = (): number[] =>
      [0, 512, 1024, 1536].map((at) => b.machine.disk.contents("a")[at] as number);
    expect(sectors()).toEqual([2, 1, 1, 1]);
    b.machine.losePower("keep-all");
    expect(sectors()).toEqual([1, 1, 2, 1]);
  });
});

describe("a full disk", () => {
  it("takes what fits, then refuses, and takes more when a file is gone or cut", () => {
    const b = bench({ quotaBytes: 16 * KIB });
    const filler = b.open("filler");
    b.run(writeFile(filler, 0, new Uint8Array(8 * KIB)));
    expect(b.machine.disk.usedBytes).toBe(8 * KIB);
    const file = b.open("a");
    let took = -1;
    file.write(0, new Uint8Array(12 * KIB).fill(1), (_, written) => (took = written));
    b.machine.scheduler.run();
    expect(took).toBe(8 * KIB);
    expect(b.failure(writeFile(file, 8 * KIB, utf8("x")))).toBe("ENOSPC");
    // What has its place already is written all the same.
    b.run(writeFile(filler, 0, new Uint8Array(8 * KIB).fill(2)));
    b.run(truncateFile(filler, 4 * KIB));
    b.run(writeFile(file, 8 * KIB, utf8("x")));
    expect(b.failure(writeFile(file, 12 * KIB, utf8("x")))).toBe("ENOSPC");
    b.run(unlinkFile(b.env.files, "filler"));
    expect(b.failure(writeFile(file, 12 * KIB, utf8("x")))).toBe("ENOSPC");
    b.run(closeFile(filler));
    b.run(writeFile(file, 12 * KIB, utf8("x")));
  });

  it("may get room while it runs, and prepared zeros take theirs", () => {
    const b = bench({ quotaBytes: 8 * KIB });
    const file = b.open("a");
    b.run(writeFile(file, 0, new Uint8Array(8 * KIB)));
    expect(b.failure(writeFile(file, 8 * KIB, utf8("x")))).toBe("ENOSPC");
    b.machine.disk.quotaBytes = 12 * KIB;
    b.run(writeFile(file, 8 * KIB, utf8("x")));
  });
});

it("refuses to open more files than the budget, and opens again after a close or a crash", () => {
  const b = bench({ openFilesMax: 2 });
  const first = b.open("a");
  b.open("b");
  const more = (): Io<File> => openFile(b.env.files, "a", { access: "read" });
  expect(b.failure(more())).toBe("EMFILE");
  b.run(closeFile(first));
  expect(b.failure(more())).toBe("none");
  b.machine.kill();
  const env = b.machine.boot();
  b.run(openFile(env.files, "a", { access: "read" }));
  b.run(openFile(env.files, "b", { access: "read" }));
});

it("stops a caller that changes the bytes of a write under way", () => {
  const b = bench();
  const bytes = utf8("hello");
  b.open("a").write(0, bytes, () => {});
  bytes[0] = 0;
  expect(() => b.machine.scheduler.run()).toThrow("changed under way");
});

describe("faults at rest", () => {
  it("flip a bit, zero a sector, put old or foreign content back, for readers and after a crash", () => {
    const b = bench();
    const file = b.open("a");
    const write = (value: number): void => {
      b.run(writeFile(file, 0, new Uint8Array(1100).fill(value)));
      b.run(syncFile(file));
    };
    write(1);
    b.run(syncDirectory(b.env.files, ""));
    const older = b.machine.disk.fork();
    write(2);
    const { disk } = b.machine;
    const check = (at: number, value: number): void => {
      expect(disk.contents("a")[at]).toBe(value);
      const crashed = b.machine.fork();
      crashed.losePower("lose-all");
      expect(crashed.disk.contents("a")[at]).toBe(value);
      expect(disk.durableContents("a")[at]).toBe(value);
    };
    disk.flipBit("a", 700, 3);
    check(700, 2 ^ 8);
    disk.zeroSector("a", 1099);
    check(1024, 0);
    check(1023, 2);
    expect(disk.contents("a")).toHaveLength(1100);
    disk.makeStale(older, "a", 100, 10);
    check(109, 1);
    check(110, 2);
    disk.misplace("a", 1024, "a", 0, 4);
    check(3, 0);
    check(4, 2);
    expect(() => disk.flipBit("none", 0)).toThrow("ENOENT");
    expect(() => disk.flipBit("a", 1100)).toThrow("only bytes that exist");
  });
});
