/**
 * From trees to a snapshot and back. The bytes are taken apart here a second time, by the page in `docs/internals`
 * alone, so that code and page agree.
 */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { crc32c, hex, setVerifying, utf8 } from "../base/index.ts";
import { BTreeEngine, type Engine, MemoryEngine } from "../btree/index.ts";
import { fingerprint, entriesOf, filled } from "../btree/engine.suite.ts";
import { type File, fileSize, type Io, openFile, runIo, writeFile } from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import {
  loadSnapshot,
  type SnapshotDescription,
  type SnapshotSummary,
  verifySnapshot,
  writeSnapshot,
} from "./index.ts";

setVerifying(true);

const PATH = "a.snap";
const OPTIONS = { fileId: Uint8Array.of(1), slabSizeBytes: 64 * 1024 };

export const DESCRIPTION: SnapshotDescription = {
  clusterId: 0x1234_5678_9abc,
  group: 3,
  meta: {
    index: 70_000,
    term: 9,
    confState: {
      voters: [1, 2],
      votersOutgoing: [3],
      learners: [4],
      learnersNext: [5],
      autoLeave: true,
    },
  },
  revision: 41,
  compactRevision: 7,
  clockMs: 1_700_000_000_123,
  stateHash: 0xfedc_ba98,
  createdMs: 1_700_000_000_456,
  machine: utf8("what the machine remembers"),
};

class Lab {
  readonly machine = new SimEnv({ seed: 5 });
  readonly env = this.machine.boot();

  run<T>(io: Io<T>): T {
    return runIoNow(this.machine, io);
  }

  file(path: string = PATH): File {
    return this.run(openFile(this.env.files, path, { access: "readwrite", create: "if-missing" }));
  }

  engine(path: string): BTreeEngine {
    return this.run(BTreeEngine.open(this.env.files, path, OPTIONS)).engine;
  }

  write(engine: Engine, description: SnapshotDescription = DESCRIPTION): SnapshotSummary {
    const version = engine.pin();
    const summary = this.run(writeSnapshot(this.file(), this.env.sha256(), version, description));
    version.release();
    return summary;
  }

  get bytes(): Uint8Array {
    const file = this.file();
    const bytes = new Uint8Array(this.run(fileSize(file)));
    file.readSync(0, bytes);
    return bytes;
  }
}

/** Every shape of key and value: empty, short, longer than a page, longer than a chunk; many chunks. */
function fill(engine: Engine): void {
  for (let i = 0; i < 400; i++) {
    const key = utf8(`key ${String(i).padStart(5, "0")}`);
    engine.tree(0).put(key, filled(i % 7 === 0 ? 0 : 900 + i, i));
  }
  engine.tree(0).put(new Uint8Array(0), utf8("the empty key"));
  engine.tree(2).put(filled(9 * 1024, 1), filled(5, 2));
  engine.tree(2).put(utf8("long"), filled(300 * 1024, 3));
  engine.tree(2).put(utf8("longer"), filled(2_500_000, 4));
  engine.tree(15).put(utf8("last"), utf8("tree"));
}

function prints(engine: Engine): string[] {
  return Array.from({ length: 16 }, (_, id) => fingerprint(entriesOf(engine.tree(id))));
}

describe("a snapshot", () => {
  it.each(["MemoryEngine", "BTreeEngine"])(
    "gives the same trees again, from and into a %s",
    (kind) => {
      const lab = new Lab();
      const make = (path: string): Engine =>
        kind === "MemoryEngine" ? new MemoryEngine() : lab.engine(path);
      const from = make("from.hdb");
      fill(from);
      const summary = lab.write(from);
      const into = make("into.hdb");
      const info = lab.run(loadSnapshot(lab.file(), () => lab.env.sha256(), into));
      expect(prints(into)).toEqual(prints(from));
      into.invariants();
      expect(info.header).toMatchObject(DESCRIPTION);
      expect(info).toMatchObject({ entries: 405, sizeBytes: summary.sizeBytes });
      expect(hex(info.sha256)).toBe(hex(summary.sha256));
      expect(summary.entries).toBe(405);
    },
  );

  it("of an empty database is one too", () => {
    const lab = new Lab();
    const meta = { ...DESCRIPTION.meta, index: 0, term: 0 };
    lab.write(new MemoryEngine(), { ...DESCRIPTION, meta, machine: new Uint8Array(0) });
    const into = new MemoryEngine();
    const info = lab.run(loadSnapshot(lab.file(), () => lab.env.sha256(), into));
    expect(info).toMatchObject({ entries: 0, contentBytes: 0, header: { meta, sections: [] } });
  });

  it("does not see what is written while it is made", () => {
    const lab = new Lab();
    const engine = lab.engine("from.hdb");
    fill(engine);
    const before = prints(engine);
    const version = engine.pin();
    let steps = 0;
    let summary: SnapshotSummary | undefined;
    const io = writeSnapshot(lab.file(), lab.env.sha256(), version, DESCRIPTION);
    runIo(io, (error, value) => {
      expect(error).toBeNull();
      summary = value;
    });
    while (summary === undefined) {
      lab.machine.scheduler.step();
      const key = utf8(`key ${String(steps % 400).padStart(5, "0")}`);
      if (steps++ % 3 === 0) engine.tree(0).delete(key);
      else engine.tree(0).put(key, filled(700, steps));
      engine.tree(2).put(utf8(`new ${steps}`), utf8("later"));
    }
    version.release();
    expect(steps).toBeGreaterThan(5);
    const into = new MemoryEngine();
    lab.run(loadSnapshot(lab.file(), () => lab.env.sha256(), into));
    expect(prints(into)).toEqual(before);
    expect(prints(engine)).not.toEqual(before);
  });

  it("is written in slices that end at a write", () => {
    const lab = new Lab();
    const engine = new MemoryEngine();
    fill(engine);
    const sizes: number[] = [];
    const file = lab.file();
    const watched: File = {
      ...file,
      path: PATH,
      size: (done) => file.size(done),
      write: (offset, bytes, done) => {
        sizes.push(bytes.length);
        file.write(offset, bytes, done);
      },
    } as File;
    const version = engine.pin();
    lab.run(writeSnapshot(watched, lab.env.sha256(), version, DESCRIPTION));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1024 * 1024);
    // Without long values no slice is longer than its target and one page of values.
    expect(sizes.filter((size) => size > 160 * 1024).length).toBeLessThan(6);
  });

  it("stands in the file as docs/internals/snapshot.md says", () => {
    const lab = new Lab();
    const engine = new MemoryEngine();
    engine.tree(0).put(utf8("a"), utf8("one"));
    engine.tree(0).put(utf8("b"), filled(200, 1));
    engine.tree(7).put(utf8("settings"), new Uint8Array(0));
    lab.write(engine);
    const { bytes } = lab;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const u16 = (at: number): number => view.getUint16(at, true);
    const u32 = (at: number): number => view.getUint32(at, true);
    const u64 = (at: number): number => Number(view.getBigUint64(at, true));
    const ascii = (from: number, to: number): string =>
      String.fromCharCode(...bytes.subarray(from, to));
    expect(ascii(0, 8)).toBe("HDBSNAP\n");
    const headerBytes = 160 + 5 * 8 + 2 * 16 + 26;
    expect([u32(8), u32(12), u32(20)]).toEqual([1, headerBytes, 0]);
    expect(u32(16)).toBe(crc32c(bytes, 20, headerBytes, crc32c(bytes, 0, 16)));
    expect([24, 40, 48, 56, 64, 72, 80, 88].map(u64)).toEqual([
      0x1234_5678_9abc, 70_000, 9, 41, 7, 1_700_000_000_123, 1_700_000_000_456, 3,
    ]);
    expect([u32(32), u32(36)]).toEqual([3, 0xfedc_ba98]);
    expect([96, 98, 100, 102, 106].map(u16)).toEqual([2, 1, 1, 1, 2]);
    expect([bytes[104], u32(108)]).toEqual([1, 26]);
    expect(bytes.subarray(112, 160).every((byte) => byte === 0)).toBe(true);
    expect([160, 168, 176, 184, 192].map(u64)).toEqual([1, 2, 3, 4, 5]);
    expect([u16(200), u16(202), u64(208), u16(216), u16(218), u64(224)]).toEqual([
      0, 1, 2, 7, 1, 1,
    ]);
    expect(ascii(232, 258)).toBe("what the machine remembers");

    const seed = u32(16);
    const chunk = (at: number): number => {
      expect(u32(at)).toBe(crc32c(bytes, at + 4, at + 32, seed));
      expect(u32(at + 4)).toBe(crc32c(bytes, at + 32, at + 32 + u32(at + 8)));
      return at + 32 + u32(at + 8);
    };
    const first = headerBytes;
    expect([u32(first + 8), u32(first + 12), u16(first + 16), u64(first + 24)]).toEqual([
      2 + 4 + 3 + 201,
      2,
      0,
      0,
    ]);
    expect(hex(bytes.subarray(first + 32, first + 42))).toBe(
      `0103${hex(utf8("aone"))}01c801${hex(utf8("b"))}`,
    );
    const second = chunk(first);
    expect([u32(second + 8), u32(second + 12), u16(second + 16), u64(second + 24)]).toEqual([
      10, 1, 7, 1,
    ]);
    const trailer = chunk(second);
    expect(ascii(trailer, trailer + 8)).toBe("HDBSEND\n");
    expect([8, 16, 24, 32].map((at) => u64(trailer + at))).toEqual([2, 3, 4 + 201 + 8, trailer]);
    expect(u32(trailer + 44)).toBe(crc32c(bytes, trailer, trailer + 44, seed));
    const end = bytes.length - 32;
    expect(end % 512).toBe(0);
    expect(end - trailer - 48).toBeLessThan(512);
    expect(bytes.subarray(trailer + 48, end).every((byte) => byte === 0)).toBe(true);
    expect(hex(bytes.subarray(end))).toBe(
      createHash("sha256").update(bytes.subarray(0, end)).digest("hex"),
    );
  });

  it("is checked before a tree is touched", () => {
    const lab = new Lab();
    const from = new MemoryEngine();
    fill(from);
    lab.write(from);
    lab.machine.disk.flipBit(PATH, lab.bytes.length - 1, 0);
    const into = new MemoryEngine();
    expect(() => lab.run(loadSnapshot(lab.file(), () => lab.env.sha256(), into))).toThrow(
      "SHA-256",
    );
    expect(prints(into)).toEqual(prints(new MemoryEngine()));
  });
});

describe("what is no whole snapshot", () => {
  const small = (): Lab => {
    const lab = new Lab();
    const engine = new MemoryEngine();
    for (let i = 0; i < 20; i++) engine.tree(i % 3).put(utf8(`key ${i}`), filled(i * 3, i));
    lab.write(engine);
    return lab;
  };
  const refusal = (lab: Lab, bytes: Uint8Array): string => {
    lab.machine.disk.observer = undefined;
    const file = lab.file(`b${lab.machine.scheduler.nowMs}`);
    try {
      lab.run(writeFile(file, 0, bytes));
      lab.run(verifySnapshot(file, lab.env.sha256()));
      return "none";
    } catch (error) {
      return (error as { code?: string }).code ?? String(error);
    }
  };

  it("every flipped bit is seen, and none is taken for a newer format", () => {
    const lab = small();
    const sound = lab.bytes;
    for (let at = 0; at < sound.length; at++) {
      const bytes = sound.slice();
      bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
      expect([at, refusal(lab, bytes)]).toEqual([at, at < 8 ? "NOT_A_SNAPSHOT" : "CORRUPT"]);
    }
  });

  it("every cut is seen, and every byte too many", () => {
    const lab = small();
    const sound = lab.bytes;
    for (let length = 0; length < sound.length; length++) {
      const code = length < 20 ? "NOT_A_SNAPSHOT" : "CORRUPT";
      expect([length, refusal(lab, sound.slice(0, length))]).toEqual([length, code]);
    }
    for (const more of [1, 480, 512, 5000]) {
      const longer = new Uint8Array(sound.length + more);
      longer.set(sound);
      expect([more, refusal(lab, longer)]).toEqual([more, "CORRUPT"]);
    }
  });

  /** Makes all sums right again, so that what is wrong is all that is wrong. */
  const resealed = (
    sound: Uint8Array,
    change: (bytes: Uint8Array, firstChunk: number) => void,
  ): Uint8Array => {
    const bytes = sound.slice();
    const view = new DataView(bytes.buffer);
    const headerBytes = view.getUint32(12, true);
    change(bytes, headerBytes);
    view.setUint32(16, crc32c(bytes, 20, headerBytes, crc32c(bytes, 0, 16)), true);
    const seed = view.getUint32(16, true);
    let at = headerBytes;
    while (
      bytes[at + 3] !== undefined &&
      String.fromCharCode(...bytes.subarray(at, at + 8)) !== "HDBSEND\n"
    ) {
      const end = at + 32 + view.getUint32(at + 8, true);
      if (end > bytes.length) break;
      view.setUint32(at + 4, crc32c(bytes, at + 32, end), true);
      view.setUint32(at, crc32c(bytes, at + 4, at + 32, seed), true);
      at = end;
    }
    if (at + 48 <= bytes.length) view.setUint32(at + 44, crc32c(bytes, at, at + 44, seed), true);
    bytes.set(createHash("sha256").update(bytes.subarray(0, -32)).digest(), bytes.length - 32);
    return bytes;
  };

  it("the resealed file is sound when nothing was changed", () => {
    const lab = small();
    expect(
      refusal(
        lab,
        resealed(lab.bytes, () => {}),
      ),
    ).toBe("none");
  });

  it.each<[string, string, (bytes: Uint8Array, firstChunk: number) => void]>([
    ["a newer format", "NEWER_FORMAT", (bytes) => (bytes[8] = 2)],
    ["format 0", "CORRUPT", (bytes) => (bytes[8] = 0)],
    ["a codec that is not known", "NEWER_FORMAT", (bytes) => (bytes[202] = 2)],
    ["a section of no tree", "CORRUPT", (bytes) => (bytes[160 + 40 + 32] = 16)],
    ["sections that do not ascend", "CORRUPT", (bytes) => (bytes[160 + 40 + 16] = 0)],
    ["a count that does not add up", "CORRUPT", (bytes) => bytes[88]!++],
    ["an index beyond what is safe", "CORRUPT", (bytes) => (bytes[47] = 0xff)],
    ["keys that do not ascend", "CORRUPT", (bytes, chunk) => (bytes[chunk + 32 + 2] = 0x7a)],
    ["a key that is longer than its chunk", "CORRUPT", (bytes, chunk) => (bytes[chunk + 32] = 127)],
    ["a chunk of another section", "CORRUPT", (bytes, chunk) => (bytes[chunk + 16] = 1)],
    ["a chunk that comes too early", "CORRUPT", (bytes, chunk) => (bytes[chunk + 24] = 1)],
    ["a chunk without entries", "CORRUPT", (bytes, chunk) => (bytes[chunk + 12] = 0)],
    [
      "a chunk with more entries than are left",
      "CORRUPT",
      (bytes, chunk) => (bytes[chunk + 13] = 1),
    ],
    [
      "a chunk that is longer than the file",
      "CORRUPT",
      (bytes, chunk) => (bytes[chunk + 11] = 0x7f),
    ],
    ["something behind the trailer", "CORRUPT", (bytes) => (bytes[bytes.length - 33] = 1)],
  ])("%s is refused although every sum is right: %s", (_what, code, change) => {
    const lab = small();
    expect(refusal(lab, resealed(lab.bytes, change))).toBe(code);
  });

  it("a chunk of another snapshot is not taken for one of this", () => {
    const lab = small();
    const sound = lab.bytes;
    const other = resealed(sound, (bytes) => bytes[56]!++);
    const headerBytes = new DataView(sound.buffer).getUint32(12, true);
    const mixed = sound.slice();
    mixed.set(other.subarray(headerBytes), headerBytes);
    expect(refusal(lab, mixed)).toBe("CORRUPT");
  });
});
