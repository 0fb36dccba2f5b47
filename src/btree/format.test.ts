/**
 * The format as `docs/internals/data-file.md` says it, read by a reader that knows the document and shares no code
 * with the engine but the CRC. Whoever changes a byte changes the document, this test and the format version.
 */
import { describe, expect, it } from "vitest";
import { crc32c, hex, text, utf8 } from "../base/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { filled } from "./engine.suite.ts";
import { BTreeEngine } from "./index.ts";

const PATH = "data.hdb";
const FILE_ID: Uint8Array = utf8("cluster member group");

function build(): { bytes: Uint8Array; entries: Map<string, Uint8Array> } {
  const machine = new SimEnv({ seed: 1 });
  const options = { fileId: FILE_ID };
  const { engine } = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, options));
  const entries = new Map<string, Uint8Array>();
  const put = (key: Uint8Array, value: Uint8Array): void => {
    engine.tree(2).put(key, value);
    entries.set(hex(key), value);
  };
  for (let i = 0; i < 300; i++) put(utf8(`key ${i}`), filled(i, i));
  put(new Uint8Array(0), utf8("the empty key"));
  put(new Uint8Array(1025).fill(9), utf8("one byte elsewhere"));
  put(new Uint8Array(9000).fill(9), new Uint8Array(0));
  put(utf8("one page"), filled(4032, 1));
  put(utf8("a list of pages"), filled(50_000, 2));
  put(utf8("a list of lists"), filled(504 * 4032 + 1, 3));
  const payload = utf8("payload");
  const meta = { appliedIndex: 77, appliedTerm: 5, walLsn: 2 ** 40 + 1, payload };
  runIoNow(machine, engine.checkpoint(meta));
  return { bytes: machine.disk.contents(PATH), entries };
}

/** Follows the document and nothing else. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #tag: number;
  readonly reached = new Set<number>();
  readonly entries = new Map<string, Uint8Array>();

  constructor(bytes: Uint8Array, tag: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#tag = tag;
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  u48(at: number): number {
    return this.u32(at) + this.u16(at + 4) * 2 ** 32;
  }

  u64(at: number): number {
    return Number(this.#view.getBigUint64(at, true));
  }

  slice(at: number, size: number): Uint8Array {
    return this.#bytes.slice(at, at + size);
  }

  /** The offset of a page, after all that a pointer promises was checked. */
  page(id: number, crc: number, type: number, level: number): number {
    const at = id * 4096;
    expect(this.reached.has(id)).toBe(false);
    this.reached.add(id);
    expect(crc32c(this.#bytes, at + 4, at + 4096)).toBe(crc);
    expect(this.u32(at)).toBe(crc);
    expect(this.u32(at + 4)).toBe(id);
    expect([this.u8(at + 8), this.u8(at + 9)]).toEqual([type, level]);
    expect(this.u32(at + 20)).toBe(this.#tag);
    expect(this.slice(at + 30, 34)).toEqual(new Uint8Array(34));
    return at;
  }

  overflow(pointer: number, length: number): Uint8Array {
    let level = 0;
    while (4032 * 504 ** level < length) level++;
    const out = new Uint8Array(length);
    this.#overflow(this.u32(pointer), this.u32(pointer + 4), level, out);
    return out;
  }

  #overflow(id: number, crc: number, level: number, out: Uint8Array): void {
    const at = this.page(id, crc, 3, level);
    if (level === 0) {
      expect(this.u16(at + 24)).toBe(out.length);
      out.set(this.slice(at + 64, out.length));
      return;
    }
    const step = 4032 * 504 ** (level - 1);
    for (let i = 0; i * step < out.length; i++) {
      const pointer = at + 64 + i * 8;
      const part = out.subarray(i * step, Math.min(out.length, (i + 1) * step));
      this.#overflow(this.u32(pointer), this.u32(pointer + 4), level - 1, part);
    }
    expect(this.u16(at + 10)).toBe(Math.ceil(out.length / step));
  }

  /** The key of a cell whose key begins at `at`, and where what follows begins. */
  #key(at: number, length: number): [Uint8Array, number] {
    if (length <= 1024) return [this.slice(at, length), at + length];
    const key = new Uint8Array(length);
    key.set(this.slice(at, 1024));
    key.set(this.overflow(at + 1024, length - 1024), 1024);
    return [key, at + 1032];
  }

  /** Reads a node and what is below it; returns how many keys that are. */
  node(id: number, crc: number, level: number): number {
    const at = this.page(id, crc, level === 0 ? 1 : 2, level);
    const prefix = this.u16(at + 28);
    let keys = 0;
    for (let i = 0; i < this.u16(at + 10); i++) {
      const slot = at + 64 + i * 6;
      const cell = at + this.u16(slot + 4);
      const length = this.u16(cell) & 0x7fff;
      const [key, rest] = this.#key(cell + (level === 0 ? 4 : 16), length);
      const head = new Uint8Array(4);
      if (level === 0 || i > 0) head.set(key.subarray(0, 1024).subarray(prefix, prefix + 4));
      expect(this.slice(slot, 4)).toEqual(head);
      if (level > 0) {
        expect(i > 0 || length === 0).toBe(true);
        const below = this.node(this.u32(cell + 2), this.u32(cell + 6), level - 1);
        expect(this.u48(cell + 10)).toBe(below);
        keys += below;
        continue;
      }
      const elsewhere = (this.u16(cell) & 0x8000) !== 0;
      const value = elsewhere
        ? this.overflow(rest + 4, this.u32(rest))
        : this.slice(rest, this.u16(cell + 2));
      this.entries.set(hex(key), value);
      keys++;
    }
    return keys;
  }

  /** The ids that the map of a meta has. */
  map(meta: number): Set<number> {
    const used = new Set<number>();
    for (let list = 0; list < this.u16(meta + 24); list++) {
      const at = meta + 1424 + list * 8;
      const page = this.page(this.u32(at), this.u32(at + 4), 4, 1);
      for (let part = 0; part < this.u16(page + 10); part++) {
        const pointer = page + 64 + part * 8;
        const bits = this.page(this.u32(pointer), this.u32(pointer + 4), 4, 0);
        for (let i = 0; i < 32_256; i++) {
          if ((this.u8(bits + 64 + (i >>> 3)) & (1 << (i & 7))) === 0) continue;
          used.add((list * 504 + part) * 32_256 + i);
        }
      }
    }
    return used;
  }
}

describe("the data file", () => {
  it("is what its document says", () => {
    const { bytes, entries } = build();
    const reader = new Reader(bytes, crc32c(FILE_ID));
    // The first checkpoint has number 2 and stands in page 0.
    const meta = 0;
    expect(crc32c(bytes, meta + 4, meta + 4096)).toBe(reader.u32(meta));
    expect(text(reader.slice(meta + 4, 8))).toBe("HDBTREE\n");
    expect([reader.u32(meta + 12), reader.u32(meta + 16), reader.u8(meta + 20)]).toEqual([
      1, 4096, 5,
    ]);
    expect(reader.slice(meta + 64, reader.u8(meta + 21))).toEqual(FILE_ID);
    expect(reader.u64(meta + 96)).toBe(2);
    expect([120, 128, 136].map((at) => reader.u64(meta + at))).toEqual([77, 5, 2 ** 40 + 1]);
    expect(text(reader.slice(meta + 400, reader.u16(meta + 22)))).toBe("payload");
    expect(reader.slice(meta + 26, 38)).toEqual(new Uint8Array(38));
    expect(reader.slice(meta + 3544, 552)).toEqual(new Uint8Array(552));
    for (let slot = 0; slot < 16; slot++) {
      const at = meta + 144 + slot * 16;
      if (slot !== 2) expect(reader.slice(at, 16)).toEqual(new Uint8Array(16));
    }
    const root = meta + 144 + 2 * 16;
    const keys = reader.node(reader.u32(root), reader.u32(root + 4), reader.u8(root + 14));
    expect(keys).toBe(reader.u48(root + 8));
    expect([...reader.entries.keys()].toSorted()).toEqual([...entries.keys()].toSorted());
    for (const [key, value] of entries)
      expect(hex(reader.entries.get(key) as Uint8Array)).toBe(hex(value));
    // In key order, for leaves were read from left to right.
    expect([...reader.entries.keys()]).toEqual([...reader.entries.keys()].toSorted());
    const used = reader.map(meta);
    expect(used).toEqual(reader.reached);
    expect(reader.u64(meta + 112)).toBe(Math.max(...used) + 1);
  });

  it("begins with two metas of nothing", () => {
    const machine = new SimEnv({ seed: 1 });
    runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, { fileId: FILE_ID }));
    const reader = new Reader(machine.disk.contents(PATH), 0);
    for (const place of [0, 1]) {
      expect(reader.u64(place * 4096 + 96)).toBe(place);
      expect(reader.u64(place * 4096 + 112)).toBe(2);
      expect(reader.slice(place * 4096 + 120, 4096 - 120)).toEqual(new Uint8Array(4096 - 120));
    }
  });
});
