import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hex } from "../base/index.ts";
import { batchSizeBytes, decodeBatch, encodeBatch } from "./batch.ts";

const commands = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });

describe("a batch of commands", () => {
  it("has the bytes that the format says", () => {
    const bytes = encodeBatch(0x0102, [new Uint8Array([7, 8]), new Uint8Array(0)]);
    expect(hex(bytes)).toBe("010201000000000000" + "02000000" + "020000000708" + "00000000");
  });

  it("comes back as it went in", () => {
    fc.assert(
      fc.property(commands, fc.maxSafeNat(), (list, clockMs) => {
        const bytes = encodeBatch(clockMs, list);
        expect(bytes.length).toBe(
          batchSizeBytes(
            list.length,
            list.reduce((sum, one) => sum + one.length, 0),
          ),
        );
        const batch = decodeBatch(bytes);
        expect(batch.clockMs).toBe(clockMs);
        expect(batch.commands).toEqual(list);
      }),
    );
  });

  it("stops at bytes that are cut or too long, and never reads past them", () => {
    fc.assert(
      fc.property(commands, fc.nat(), (list, at) => {
        const bytes = encodeBatch(5, list);
        expect(() => decodeBatch(bytes.subarray(0, at % bytes.length))).toThrow();
        const longer = new Uint8Array(bytes.length + 1);
        longer.set(bytes);
        expect(() => decodeBatch(longer)).toThrow();
      }),
    );
  });
});
