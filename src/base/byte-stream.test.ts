import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteReader, ByteWriter, concatBytes, EMPTY_BYTES } from "./index.ts";

describe("ByteWriter and ByteReader", () => {
  it("give back what was written, for every safe integer and any bytes", () => {
    const items = fc.array(
      fc.oneof(fc.maxSafeNat(), fc.nat(300), fc.uint8Array({ maxLength: 400 })),
    );
    fc.assert(
      fc.property(items, (written) => {
        const out = new ByteWriter(1);
        for (const item of written) {
          if (typeof item === "number") out.varint(item);
          else out.lengthAndBytes(item);
        }
        const reader = new ByteReader(out.copy());
        for (const item of written) {
          if (typeof item === "number") expect(reader.varint()).toBe(item);
          else expect(reader.lengthAndBytes()).toEqual(item);
        }
        expect(reader.isAtEnd).toBe(true);
      }),
    );
  });

  it("holds the ends of each length of a varint", () => {
    for (let bits = 7; bits <= 49; bits += 7) {
      for (const value of [2 ** bits - 1, 2 ** bits, 2 ** bits + 1]) {
        const out = new ByteWriter();
        out.varint(value);
        expect(out.length).toBe(bits / 7 + (value < 2 ** bits ? 0 : 1));
        expect(new ByteReader(out.view()).varint()).toBe(value);
        // With more behind it, it is read another way.
        for (const behind of [0, 255]) {
          const reader = new ByteReader(concatBytes(out.view(), new Uint8Array(4).fill(behind)));
          expect(reader.varint()).toBe(value);
          expect(reader.at).toBe(out.length);
        }
      }
    }
  });

  it("refuses what is not a safe non-negative integer", () => {
    const out = new ByteWriter();
    for (const value of [-1, 0.5, Number.NaN, 2 ** 53])
      expect(() => out.varint(value)).toThrow("varint");
  });
});

describe("ByteReader", () => {
  it("never reads outside of the bytes: it fails and hands out zeros", () => {
    const script = fc.array(fc.constantFrom("u8", "varint", "lengthAndBytes"), { maxLength: 40 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), script, (bytes, steps) => {
        const reader = new ByteReader(bytes);
        for (const step of steps) {
          const wasFailed = reader.failed;
          const value = reader[step as "u8" | "varint" | "lengthAndBytes"]();
          if (wasFailed) expect(typeof value === "number" ? value : value.length).toBe(0);
          expect(reader.at).toBeLessThanOrEqual(bytes.length);
        }
      }),
    );
  });

  it("fails on a varint beyond 2^53 and on one without an end", () => {
    for (const bytes of [
      new Uint8Array(9).fill(255),
      Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127),
      Uint8Array.of(128),
    ]) {
      const reader = new ByteReader(bytes);
      expect(reader.varint()).toBe(0);
      expect(reader.failed).toBe(true);
      expect(reader.isAtEnd).toBe(false);
    }
  });

  it("has nothing to say of no bytes", () => {
    const reader = new ByteReader();
    expect(reader.isAtEnd).toBe(true);
    expect(reader.bytes(0)).toEqual(EMPTY_BYTES);
    expect(reader.u8()).toBe(0);
    expect(reader.failed).toBe(true);
  });
});
