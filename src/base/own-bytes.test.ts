import { afterEach, describe, expect, it } from "vitest";
import { ownBytes, setChunkMaker } from "./own-bytes.ts";

const SIZES: readonly number[] = [0, 1, 64, 65, 128, 1000, 1024, 1025, 5000];

function repeated(size: number, byte: number): number[] {
  return Array.from({ length: size }, () => byte);
}

describe("ownBytes", () => {
  afterEach(() => setChunkMaker((sizeBytes) => new Uint8Array(sizeBytes)));

  it("copies what it is given and nothing of it changes with other copies", () => {
    const copies: { readonly copy: Uint8Array; readonly expected: number[] }[] = [];
    for (let round = 0; round < 50; round++) {
      for (const size of SIZES) {
        const source = new Uint8Array(size).fill(round + size);
        const copy = ownBytes(source);
        source.fill(255);
        copies.push({ copy, expected: Array.from(copy) });
        expect(Array.from(copy)).toEqual(repeated(size, (round + size) & 255));
      }
    }
    for (const { copy, expected } of copies) expect(Array.from(copy)).toEqual(expected);
    // Written over, each leaves the others as they are.
    for (const { copy } of copies) copy.fill(0);
    const last = ownBytes(new Uint8Array(100).fill(9));
    for (const { copy } of copies) copy.fill(1);
    expect(Array.from(last)).toEqual(repeated(100, 9));
  });

  it("begins another chunk when one was given away", () => {
    const before = ownBytes(new Uint8Array(100).fill(1));
    structuredClone(before, { transfer: [before.buffer as ArrayBuffer] });
    expect(before.length).toBe(0);
    expect(Array.from(ownBytes(new Uint8Array(100).fill(2)))).toEqual(repeated(100, 2));
  });

  it("takes its chunks from the host", () => {
    let made = 0;
    setChunkMaker((sizeBytes) => {
      made++;
      return new Uint8Array(sizeBytes);
    });
    for (let i = 0; i < 100; i++) ownBytes(new Uint8Array(1000));
    // Eight thousand bytes of each chunk are used.
    expect(made).toBe(13);
  });
});
