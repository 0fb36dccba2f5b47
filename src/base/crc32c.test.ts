import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32c, utf8 } from "./index.ts";

/** One bit at a time, straight from the definition. */
function slow(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

describe("crc32c", () => {
  it("gives the values of RFC 3720 B.4, and the check value of the polynomial", () => {
    const up = new Uint8Array(32).map((_, i) => i);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8_ab43);
    expect(crc32c(up)).toBe(0x46dd_794e);
    expect(crc32c(up.toReversed())).toBe(0x113f_db5c);
    expect(crc32c(utf8("123456789"))).toBe(0xe306_9283);
    expect(crc32c(new Uint8Array(0))).toBe(0);
  });

  it("is the definition's value for any range, in one go and continued", () => {
    const cases = fc
      .constantFrom(80, 700, 2100)
      .chain((maxLength) =>
        fc.tuple(fc.uint8Array({ maxLength, size: "max" }), fc.nat(maxLength), fc.nat(maxLength)),
      );
    fc.assert(
      fc.property(cases, ([bytes, x, y]) => {
        const start = Math.min(x, bytes.length);
        const end = Math.max(start, Math.min(y, bytes.length));
        const expected = slow(bytes.subarray(start, end));
        expect(crc32c(bytes, start, end)).toBe(expected);
        const middle = (start + end) >> 1;
        const within = new Uint8Array(bytes.length + 3).fill(7);
        within.set(bytes, 3);
        expect(crc32c(within.subarray(3), start, end)).toBe(expected);
        expect(crc32c(bytes, middle, end, crc32c(bytes, start, middle))).toBe(expected);
      }),
    );
  });

  it("sees every flipped bit", () => {
    const bytes = utf8("a frame of the log");
    const whole = crc32c(bytes);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(crc32c(flipped)).not.toBe(whole);
    }
  });
});
