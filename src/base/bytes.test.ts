import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compareBytes,
  concatBytes,
  EMPTY_BYTES,
  equalBytes,
  hex,
  readU16,
  readU32,
  readU64,
  readU64BigEndian,
  text,
  utf8,
  writeU16,
  writeU32,
  writeU64,
  writeU64BigEndian,
} from "./index.ts";

const someBytes = fc.uint8Array({ maxLength: 12 });

describe("the order of bytes", () => {
  it("is unsigned and lexicographic, and a prefix comes first", () => {
    const inOrder = [[], [0], [0, 0], [0, 255], [1], [127], [128], [255], [255, 0]];
    for (const [i, a] of inOrder.entries()) {
      for (const [j, b] of inOrder.entries()) {
        const order = compareBytes(Uint8Array.from(a), Uint8Array.from(b));
        expect(Math.sign(order)).toBe(Math.sign(i - j));
      }
    }
  });

  it("agrees with the host's", () => {
    fc.assert(
      fc.property(someBytes, someBytes, (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(a, b));
        expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0);
        expect(equalBytes(a, a.slice())).toBe(true);
      }),
    );
  });
});

describe("integers in bytes", () => {
  it("come back as they went in, at their place and nowhere else", () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(), fc.maxSafeNat(), fc.nat(3), (u16, u32, u64, at) => {
        const b = new Uint8Array(16).fill(0xee);
        const untouched = (from: number, to: number): boolean =>
          b.every((byte, i) => (i >= from && i < to) || byte === 0xee);
        writeU16(b, at, u16);
        expect([readU16(b, at), untouched(at, at + 2)]).toEqual([u16, true]);
        writeU32(b, at, u32 * 2 + 1);
        expect([readU32(b, at), untouched(at, at + 4)]).toEqual([u32 * 2 + 1, true]);
        writeU64(b, at, u64);
        expect([readU64(b, at), untouched(at, at + 8)]).toEqual([u64, true]);
        writeU64BigEndian(b, at, u64);
        expect([readU64BigEndian(b, at), untouched(at, at + 8)]).toEqual([u64, true]);
      }),
    );
  });

  it("are little endian, except in keys", () => {
    const b = new Uint8Array(8);
    writeU64(b, 0, 0x01_0203_0405);
    expect(hex(b)).toBe("0504030201000000");
    writeU64BigEndian(b, 0, 0x01_0203_0405);
    expect(hex(b)).toBe("0000000102030405");
  });

  it("sort by value when big endian", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (x, y) => {
        const [a, b] = [new Uint8Array(8), new Uint8Array(8)];
        writeU64BigEndian(a, 0, x);
        writeU64BigEndian(b, 0, y);
        expect(Math.sign(compareBytes(a, b))).toBe(Math.sign(x - y));
      }),
    );
  });

  it("beyond 2^53 read as NaN and are not written", () => {
    const b = new Uint8Array(8);
    writeU64(b, 0, Number.MAX_SAFE_INTEGER);
    expect(readU64(b, 0)).toBe(Number.MAX_SAFE_INTEGER);
    b[6] = 0x20;
    expect(readU64(b, 0)).toBeNaN();
    expect(readU64BigEndian(Uint8Array.of(0, 0x20, 0, 0, 0, 0, 0, 0), 0)).toBeNaN();
    for (const value of [-1, 1.5, 2 ** 53, Number.NaN]) {
      expect(() => writeU64(b, 0, value)).toThrow("safe non-negative");
      expect(() => writeU64BigEndian(b, 0, value)).toThrow("safe non-negative");
    }
  });
});

describe("small helpers", () => {
  it("join bytes into new ones", () => {
    const a = Uint8Array.of(1, 2);
    const joined = concatBytes(a, EMPTY_BYTES, Uint8Array.of(3));
    a[0] = 9;
    expect([...joined]).toEqual([1, 2, 3]);
    expect(concatBytes()).toHaveLength(0);
  });

  it("turn text into UTF-8 and back, and show what is not UTF-8", () => {
    expect(text(utf8("aé\u{1f600}\0"))).toBe("aé\u{1f600}\0");
    expect(hex(utf8("é"))).toBe("c3a9");
    expect(text(utf8("\ufeffa"))).toBe("\ufeffa");
    expect(text(Uint8Array.of(0x61, 0xff))).toBe("a\ufffd");
    expect(hex(EMPTY_BYTES)).toBe("");
  });
});
