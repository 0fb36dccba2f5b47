import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { equalBytes, setVerifying, text, utf8 } from "../../base/index.ts";
import {
  closeFile,
  type Env,
  type File,
  type Io,
  makeDirectory,
  openFile,
  type OpenOptions,
  renameFile,
  runIo,
  syncDirectory,
  syncFile,
  truncateFile,
  unlinkFile,
  writeFile,
} from "../index.ts";
import { crashImages, type CrashMode, runIoNow, SimEnv, type SimEnvOptions } from "./index.ts";

setVerifying(true);

const SECTOR = 512;
const MODES: readonly CrashMode[] = [
  "lose-all",
  "keep-all",
  "prefix",
  "subset",
  "sectors",
  "mixed",
];

interface Bench {
  readonly machine: SimEnv;
  readonly env: Env;
  readonly run: <T>(io: Io<T>) => T;
  readonly open: (path: string, options?: Partial<OpenOptions>) => File;
  /** A file of that many sectors, all bytes of each sector as given, durable with its name. */
  readonly durable: (path: string, sectors: readonly number[]) => File;
}

function bench(disk: SimEnvOptions["disk"] = {}): Bench {
  const machine = new SimEnv({ seed: 1, disk });
  const env = machine.boot();
  const run = <T>(io: Io<T>): T => runIoNow(machine, io);
  const open = (path: string, options: Partial<OpenOptions> = {}): File =>
    run(openFile(env.files, path, { access: "readwrite", create: "if-missing", ...options }));
  return {
    machine,
    env,
    run,
    open,
    durable(path, sectors): File {
      const file = open(path);
      run(writeFile(file, 0, sectorsOf(sectors)));
      run(syncFile(file));
      run(syncDirectory(env.files, ""));
      return file;
    },
  };
}

function sectorsOf(values: readonly number[]): Uint8Array {
  return new Uint8Array(values.length * SECTOR).map((_, i) => values[Math.floor(i / SECTOR)] ?? 0);
}

/** The first byte of each sector, as digits; a cut sector shows as its size. */
function digits(bytes: Uint8Array): string {
  let out = "";
  for (let at = 0; at < bytes.length; at += SECTOR) out += String(bytes[at]);
  const tail = bytes.length % SECTOR;
  return tail === 0 ? out : `${out}+${tail}`;
}

function outcomes(machine: SimEnv, show: (disk: SimEnv["disk"]) => string): string[] {
  return [...new Set(Array.from(crashImages(machine.disk), show))].toSorted();
}

const files = (path: string) => (disk: SimEnv["disk"]) => digits(disk.contents(path));
const paths = (disk: SimEnv["disk"]): string => disk.paths().join(" ");

describe("a power loss and the bytes of a file", () => {
  it("keeps what was synced, name and all", () => {
    const { machine } = bench();
    const { durable } = bench();
    durable("other", [1]);
    const b = bench();
    b.durable("a", [1, 2]);
    for (const mode of MODES) {
      const crashed = b.machine.fork();
      crashed.losePower(mode);
      expect(files("a")(crashed.disk)).toBe("12");
    }
    expect(machine.disk.paths()).toEqual([]);
  });

  it("leaves each sector of an unsynced write old or new, in any combination", () => {
    const { machine, run, durable } = bench();
    run(writeFile(durable("a", [1, 1, 1]), 0, sectorsOf([2, 2, 2])));
    expect(outcomes(machine, files("a"))).toEqual([
      "111",
      "112",
      "121",
      "122",
      "211",
      "212",
      "221",
      "222",
    ]);
  });

  it("may keep an earlier version of a sector that was written twice", () => {
    const { machine, run, durable } = bench();
    const file = durable("a", [1]);
    run(writeFile(file, 0, sectorsOf([2])));
    run(writeFile(file, 0, sectorsOf([3])));
    expect(outcomes(machine, files("a"))).toEqual(["1", "2", "3"]);
  });

  it("may keep the new size without the new bytes, and the other way round loses them", () => {
    const { machine, run, durable } = bench();
    run(writeFile(durable("a", [1]), SECTOR, sectorsOf([2])));
    expect(outcomes(machine, files("a"))).toEqual(["1", "10", "12"]);
  });

  it("brings nothing back that a durable truncation cut, nor writes into blocks that are not freed yet", () => {
    const { machine, run, durable } = bench();
    const file = durable("a", [1, 1]);
    run(truncateFile(file, SECTOR));
    run(writeFile(file, SECTOR, sectorsOf([2])));
    // Neither: 11. The truncation: 1. Both sizes: 10 or 12. The last size is the first: 11 is legal anyway.
    expect(outcomes(machine, files("a"))).toEqual(["1", "10", "11", "12"]);
    run(syncFile(file));
    expect(outcomes(machine, files("a"))).toEqual(["12"]);
  });

  it("cuts a sector where a truncation ended", () => {
    const { machine, run, durable } = bench();
    const file = durable("a", [1]);
    run(truncateFile(file, 100));
    run(truncateFile(file, SECTOR));
    const shown = outcomes(machine, (disk) => {
      const bytes = disk.contents("a");
      return `${bytes.length}:${bytes.filter((byte) => byte === 1).length}`;
    });
    expect(shown).toEqual(["100:100", "512:100", "512:512"]);
  });

  it("finds a durable write at its completion, and no other write of the file", () => {
    const { machine, run, durable, open } = bench();
    const plain = durable("a", [1, 1, 1]);
    run(writeFile(plain, 0, sectorsOf([2])));
    const direct = open("a", { durableWrites: true });
    run(writeFile(direct, SECTOR, sectorsOf([3])));
    expect(outcomes(machine, files("a"))).toEqual(["131", "231"]);
  });

  it("lets no older write come back over a durable one", () => {
    const { machine, run, durable, open } = bench();
    const plain = durable("a", [1, 1, 1]);
    run(writeFile(plain, 0, sectorsOf([2, 2, 2])));
    run(writeFile(open("a", { durableWrites: true }), SECTOR, sectorsOf([3])));
    expect(outcomes(machine, files("a"))).toEqual(["131", "132", "231", "232"]);
  });

  it("finds with a durable write the size and the truncations before it", () => {
    const { machine, run, durable, open } = bench();
    const plain = durable("a", [1, 1, 1]);
    run(writeFile(plain, 2 * SECTOR, sectorsOf([2])));
    run(truncateFile(plain, SECTOR));
    run(truncateFile(plain, 4 * SECTOR));
    run(writeFile(open("a", { durableWrites: true }), 3 * SECTOR, sectorsOf([4])));
    expect(outcomes(machine, files("a"))).toEqual(["1004"]);
  });

  it("covers by a sync only what had completed when the sync was asked for", () => {
    const { machine, run, durable } = bench({ latencyMs: [1, 1] });
    const file = durable("a", [1, 1]);
    run(writeFile(file, 0, sectorsOf([2])));
    let synced = false;
    file.sync(() => (synced = true));
    file.write(SECTOR, sectorsOf([3]), () => {});
    while (!synced) machine.scheduler.step();
    expect(outcomes(machine, files("a"))).toEqual(["21", "23"]);
  });

  it("may find a write that was in flight done, not done or in part", () => {
    const { machine, durable } = bench();
    const file = durable("a", [1, 1]);
    file.write(0, sectorsOf([2, 2]), () => expect.unreachable());
    expect(outcomes(machine, files("a"))).toEqual(["11", "12", "21", "22"]);
    expect(files("a")(machine.disk)).toBe("11");
  });

  it("tears inside a sector only where that is asked for", () => {
    const { machine, run, durable } = bench();
    run(writeFile(durable("a", [1]), 0, sectorsOf([2])));
    const kept = new Set<number>();
    for (let seed = 0; seed < 200; seed++) {
      const crashed = machine.fork(seed);
      crashed.losePower("torn");
      const bytes = crashed.disk.contents("a");
      const count = bytes.filter((byte) => byte === 2).length;
      expect(bytes.subarray(0, count).every((byte) => byte === 2)).toBe(true);
      expect(count % 8).toBe(0);
      kept.add(count);
    }
    expect(kept.size).toBeGreaterThan(30);
  });
});

describe("a power loss and names", () => {
  it("may lose the name of a synced file until the directory is synced", () => {
    const { machine, env, run, open } = bench();
    const file = open("a");
    run(writeFile(file, 0, utf8("hello")));
    run(syncFile(file));
    expect(outcomes(machine, paths)).toEqual(["", "a"]);
    run(syncDirectory(env.files, ""));
    expect(outcomes(machine, (disk) => text(disk.contents("a")))).toEqual(["hello"]);
  });

  it("may keep the name of a file that was never synced", () => {
    const { machine, env, run, open } = bench();
    run(writeFile(open("a"), 0, utf8("hello")));
    run(syncDirectory(env.files, ""));
    expect(outcomes(machine, (disk) => text(disk.contents("a")))).toEqual([
      "",
      "\0\0\0\0\0",
      "hello",
    ]);
  });

  it("keeps any subset of what was not synced, or a prefix of it where names are journaled", () => {
    const scenario = (b: Bench): void => {
      b.open("a");
      b.open("b");
      b.run(unlinkFile(b.env.files, "a"));
    };
    const weak = bench();
    scenario(weak);
    expect(outcomes(weak.machine, paths)).toEqual(["", "a", "a b", "b"]);
    const journaled = bench({ journaledNames: true });
    scenario(journaled);
    expect(outcomes(journaled.machine, paths)).toEqual(["", "a", "a b", "b"]);
    const order = bench({ journaledNames: true });
    order.open("a");
    order.open("b");
    expect(outcomes(order.machine, paths)).toEqual(["", "a", "a b"]);
  });

  it("loses an unsynced directory with everything in it", () => {
    const { machine, env, run, open } = bench();
    run(makeDirectory(env.files, "d"));
    open("d/a");
    run(syncDirectory(env.files, "d"));
    expect(outcomes(machine, paths)).toEqual(["", "d d/a"]);
  });

  it("replaces by a rename in one step", () => {
    const { machine, env, run, durable } = bench();
    durable("a", [1]);
    durable("b", [2]);
    run(renameFile(env.files, "b", "a"));
    expect(outcomes(machine, (disk) => `${paths(disk)}=${files("a")(disk)}`)).toEqual([
      "a b=1",
      "a=2",
    ]);
  });

  function moved(disk: SimEnvOptions["disk"] = {}): Bench {
    const b = bench(disk);
    for (const name of ["tmp", "wal"]) b.run(makeDirectory(b.env.files, name));
    b.open("tmp/x");
    for (const name of ["", "tmp"]) b.run(syncDirectory(b.env.files, name));
    b.run(renameFile(b.env.files, "tmp/x", "wal/x"));
    return b;
  }

  it("may find both names after a rename between directories, and never none", () => {
    const { machine, env, run } = moved();
    expect(outcomes(machine, paths)).toEqual([
      "tmp tmp/x wal",
      "tmp tmp/x wal wal/x",
      "tmp wal wal/x",
    ]);
    // The end of the old name waits for the new one, whichever directory is synced first.
    const first = moved();
    first.run(syncDirectory(first.env.files, "tmp"));
    expect(outcomes(first.machine, paths)).toHaveLength(3);
    run(syncDirectory(env.files, "wal"));
    expect(outcomes(machine, paths)).toEqual(["tmp tmp/x wal wal/x", "tmp wal wal/x"]);
    run(syncDirectory(env.files, "tmp"));
    expect(outcomes(machine, paths)).toEqual(["tmp wal wal/x"]);
  });

  it("finds exactly one name after such a rename where names are journaled", () => {
    const { machine } = moved({ journaledNames: true });
    expect(outcomes(machine, paths)).toEqual(["tmp tmp/x wal", "tmp wal wal/x"]);
  });

  it("lets the forgotten half of a rename take no newer file with it", () => {
    const b = moved();
    b.open("tmp/x");
    b.run(syncDirectory(b.env.files, "tmp"));
    for (const shown of outcomes(b.machine, paths)) expect(shown).toContain("tmp/x");
    b.run(syncDirectory(b.env.files, "wal"));
    b.run(syncDirectory(b.env.files, "tmp"));
    expect(outcomes(b.machine, paths)).toEqual(["tmp tmp/x wal wal/x"]);
  });

  it("keeps the name of a synced file on the file systems that do", () => {
    const b = bench({ syncKeepsName: true });
    b.run(syncFile(b.open("a")));
    expect(outcomes(b.machine, paths)).toEqual(["a"]);
  });

  it("ends an unlinked file for good once its directory is synced", () => {
    const { machine, env, run, durable } = bench();
    run(closeFile(durable("a", [1])));
    run(unlinkFile(env.files, "a"));
    expect(outcomes(machine, paths)).toEqual(["", "a"]);
    run(syncDirectory(env.files, ""));
    expect(outcomes(machine, paths)).toEqual([""]);
    machine.disk.invariants();
  });
});

/** One step of a random run on a file of up to four sectors. */
type Step =
  | {
      readonly kind: "write";
      readonly at: number;
      readonly count: number;
      readonly durable: boolean;
    }
  | { readonly kind: "truncate"; readonly sizeBytes: number }
  | { readonly kind: "sync" };

const LARGEST = 4 * SECTOR;
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("write" as const),
        at: fc.nat(LARGEST - 1),
        count: fc.integer({ min: 1, max: 2 * SECTOR }),
        durable: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("truncate" as const),
        sizeBytes: fc.nat(LARGEST),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: "sync" as const }) },
  ),
  { maxLength: 8 },
);

/**
 * The rules of durability told naively, as whole copies of the file: a new one after each step. A sync forgets all
 * but the last. What a crash leaves must be made of the copies that are left.
 */
class Model {
  copies: Uint8Array[] = [new Uint8Array(0)];
  /** Where truncations since the last sync ended: what they cut may be gone from any older sector. */
  cuts: number[] = [];
  /** Bytes that a durable write or a sync put down, and nothing touched since: they are certain. */
  certain: (number | undefined)[] = [];
  /** The size is at least certain when nothing unsynced changed it. */
  get now(): Uint8Array {
    return this.copies.at(-1) as Uint8Array;
  }

  write(at: number, bytes: Uint8Array, durable: boolean): void {
    const next = new Uint8Array(Math.max(this.now.length, at + bytes.length));
    next.set(this.now);
    next.set(bytes, at);
    this.copies.push(next);
    const end = at + bytes.length;
    for (let i = at - (at % SECTOR); i < Math.ceil(end / SECTOR) * SECTOR; i++) {
      this.certain[i] = durable ? next[i] : undefined;
    }
  }

  truncate(sizeBytes: number): void {
    const next = new Uint8Array(sizeBytes);
    next.set(this.now.subarray(0, sizeBytes));
    this.copies.push(next);
    this.cuts.push(sizeBytes);
    for (let i = sizeBytes; i < this.certain.length; i++) this.certain[i] = undefined;
  }

  sync(): void {
    this.copies = [this.now];
    this.cuts = [];
    this.certain = Array.from(this.now);
  }

  check(left: Uint8Array): void {
    expect(this.copies.map((copy) => copy.length)).toContain(left.length);
    const ends = [Number.POSITIVE_INFINITY, ...this.cuts];
    for (let at = 0; at < left.length; at += SECTOR) {
      if (!this.copies.some((copy) => ends.some((end) => isSectorOf(left, at, copy, end)))) {
        expect.fail(`the sector at ${at} is none that was ever written`);
      }
    }
    for (let i = 0; i < Math.min(left.length, this.certain.length); i++) {
      const byte = this.certain[i];
      if (byte !== undefined && left[i] !== byte) expect.fail(`byte ${i} was durable`);
    }
  }
}

/** Whether `left` has at `at` the sector of `copy`, with zeros from byte `end` of the file on. */
function isSectorOf(left: Uint8Array, at: number, copy: Uint8Array, end: number): boolean {
  for (let i = at; i < Math.min(at + SECTOR, left.length); i++) {
    if (left[i] !== (i < end && i < copy.length ? copy[i] : 0)) return false;
  }
  return true;
}

function play(b: Bench, plain: File, direct: File, model: Model, script: readonly Step[]): void {
  for (const [i, step] of script.entries()) {
    if (step.kind === "write") {
      const bytes = new Uint8Array(Math.min(step.count, LARGEST - step.at)).fill(i + 1);
      b.run(writeFile(step.durable ? direct : plain, step.at, bytes));
      model.write(step.at, bytes, step.durable);
    } else if (step.kind === "truncate") {
      b.run(truncateFile(plain, step.sizeBytes));
      model.truncate(step.sizeBytes);
    } else {
      b.run(syncFile(plain));
      model.sync();
    }
    b.machine.disk.invariants();
    expect(equalBytes(b.machine.disk.contents("a"), model.now)).toBe(true);
  }
}

describe("against a naive model of the rules", () => {
  it("a power loss leaves only what the rules allow, in every mode and every outcome", () => {
    fc.assert(
      fc.property(steps, fc.nat(), (script, seed) => {
        const b = bench();
        const model = new Model();
        const plain = b.durable("a", []);
        play(b, plain, b.open("a", { durableWrites: true }), model, script);
        for (const mode of MODES) {
          const crashed = b.machine.fork(seed);
          crashed.losePower(mode);
          crashed.disk.invariants();
          model.check(crashed.disk.contents("a"));
        }
        for (const crashed of b.machine.crashImages({ limit: 40, seed })) {
          model.check(crashed.disk.contents("a"));
        }
      }),
      { numRuns: 100 },
    );
  });

  it("the enumerator leaves out no legal outcome of plain writes, and adds none", () => {
    const writes = fc.array(
      fc.record({ sector: fc.nat(2), count: fc.integer({ min: 1, max: 2 }) }),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(writes, (script) => {
        const b = bench();
        const file = b.durable("a", [9]);
        const versions: string[][] = [["9"], ["0"], ["0"], ["0"]];
        const sizes = [1];
        for (const [i, { sector, count }] of script.entries()) {
          b.run(writeFile(file, sector * SECTOR, new Uint8Array(count * SECTOR).fill(i + 1)));
          for (let s = sector; s < sector + count; s++) versions[s]?.push(String(i + 1));
          sizes.push(Math.max(sizes.at(-1) as number, sector + count));
        }
        const legal = new Set<string>();
        for (const size of sizes) {
          let shown = [""];
          for (const choices of versions.slice(0, size)) {
            shown = shown.flatMap((before) => choices.map((choice) => before + choice));
          }
          for (const one of shown) legal.add(one);
        }
        expect(outcomes(b.machine, files("a"))).toEqual([...legal].toSorted());
      }),
      { numRuns: 60 },
    );
  });

  it("the enumerator tries no outcome twice because a write changed nothing", () => {
    const b = bench();
    const file = b.durable("a", [1, 2]);
    // Only the second sector of the first write is news, and the second write is the first again.
    b.run(writeFile(file, 0, sectorsOf([1, 3, 0, 0])));
    b.run(writeFile(file, SECTOR, sectorsOf([3, 0, 4])));
    const images = Array.from(b.machine.crashImages(), (crashed) => files("a")(crashed.disk));
    expect(images.toSorted()).toEqual(["12", "1200", "1204", "13", "1300", "1304"]);
  });

  it("a process crash loses nothing that had completed", () => {
    fc.assert(
      fc.property(steps, fc.nat(), (script, seed) => {
        const b = bench();
        const model = new Model();
        const plain = b.durable("a", []);
        play(b, plain, b.open("a", { durableWrites: true }), model, script);
        const crashed = b.machine.fork(seed);
        crashed.kill();
        expect(equalBytes(crashed.disk.contents("a"), model.now)).toBe(true);
        crashed.losePower("mixed");
        model.check(crashed.disk.contents("a"));
      }),
      { numRuns: 50 },
    );
  });

  it("draws outcomes when there are too many to try, the extremes among them", () => {
    const b = bench();
    b.run(
      writeFile(
        b.durable(
          "a",
          Array.from({ length: 20 }, () => 1),
        ),
        0,
        sectorsOf(Array.from({ length: 20 }, () => 2)),
      ),
    );
    const images = Array.from(b.machine.crashImages({ limit: 50 }), (crashed) =>
      files("a")(crashed.disk),
    );
    expect(images).toHaveLength(50);
    expect(images[0]).toBe("1".repeat(20));
    expect(images[1]).toBe("2".repeat(20));
    expect(new Set(images).size).toBeGreaterThan(15);
    const again = Array.from(b.machine.crashImages({ limit: 50 }), (crashed) =>
      files("a")(crashed.disk),
    );
    expect(again).toEqual(images);
  });
});

it("has a process crash leave writes in flight done, not done or in part", () => {
  const b = bench();
  const file = b.durable("a", [1]);
  let ended: unknown;
  runIo(writeFile(file, 0, sectorsOf([2])), (error) => (ended = error));
  const seen = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const crashed = b.machine.fork(seed);
    crashed.kill();
    const bytes = crashed.disk.contents("a");
    const count = bytes.filter((byte) => byte === 2).length;
    seen.add(count === 0 ? "none" : count === SECTOR ? "all" : "part");
  }
  expect([...seen].toSorted()).toEqual(["all", "none", "part"]);
  expect(ended).toBe(undefined);
});
