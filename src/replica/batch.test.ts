import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hex } from "../base/index.ts";
import { batchSizeBytes, decodeBatch, encodeBatch } from "./batch.ts";

const commands = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });

describe("a batch of commands", () => {
  it("has the bytes that the format says", () => {
    const stamp = { clockMs: 0x0102, behindMs: 3 };
    const bytes = encodeBatch(stamp, [new Uint8Array([7, 8]), new Uint8Array(0)]);
    expect(hex(bytes)).toBe(
      "020201000000000000" + "0300000000000000" + "02000000" + "020000000708" + "00000000",
    );
  });

  it("is read as it was written before it said how far the clock was behind", () => {
    const old = [1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 7, 8];
    const batch = { clockMs: 0x0102, behindMs: 0, commands: [new Uint8Array([7, 8])] };
    expect(decodeBatch(new Uint8Array(old))).toEqual(batch);
    for (let length = 0; length < old.length; length++)
      expect(() => decodeBatch(new Uint8Array(old.slice(0, length)))).toThrow();
  });

  it("comes back as it went in", () => {
    const stamps = fc.record({ clockMs: fc.maxSafeNat(), behindMs: fc.maxSafeNat() });
    fc.assert(
      fc.property(commands, stamps, (list, stamp) => {
        const bytes = encodeBatch(stamp, list);
        expect(bytes.length).toBe(
          batchSizeBytes(
            list.length,
            list.reduce((sum, one) => sum + one.length, 0),
          ),
        );
        expect(decodeBatch(bytes)).toEqual({ ...stamp, commands: list });
      }),
    );
  });

  it("stops at bytes that are cut or too long, and never reads past them", () => {
    fc.assert(
      fc.property(commands, fc.nat(), (list, at) => {
        const bytes = encodeBatch({ clockMs: 5, behindMs: 0 }, list);
        expect(() => decodeBatch(bytes.subarray(0, at % bytes.length))).toThrow();
        const longer = new Uint8Array(bytes.length + 1);
        longer.set(bytes);
        expect(() => decodeBatch(longer)).toThrow();
      }),
    );
  });
});
