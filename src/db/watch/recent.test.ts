import { describe, expect, it } from "vitest";
import { ByteWriter, utf8 } from "../../base/index.ts";
import { RecentChanges } from "./recent.ts";

const KEY = utf8("k");

/** A record as the store writes them, of some length. */
function record(valueBytes: number): Uint8Array {
  const out = new ByteWriter(16);
  for (const byte of [1, 0, 0, 5, 0, 5, 1]) out.u8(byte);
  out.bytes(new Uint8Array(valueBytes).fill(7));
  return out.copy();
}

function held(recent: RecentChanges): string[] {
  const seen: string[] = [];
  recent.forEach(recent.firstRevision, ({ revision, sub }) => {
    seen.push(`${revision}.${sub}`);
    return true;
  });
  return seen;
}

describe("RecentChanges", () => {
  it("drops whole revisions from the oldest on, and of one that is too large nothing is left", () => {
    const recent = new RecentChanges(1000);
    recent.startAt(2);
    for (let sub = 0; sub < 3; sub++) recent.add(2, sub, KEY, record(10), null, null);
    recent.add(3, 0, KEY, record(10), null, null);
    expect(held(recent)).toEqual(["2.0", "2.1", "2.2", "3.0"]);
    recent.trim();
    expect([held(recent), recent.firstRevision]).toEqual([["3.0"], 3]);
    // More than four times what it may hold: gone at once, and what still comes of it is not taken.
    for (let sub = 0; sub < 30; sub++) recent.add(4, sub, KEY, record(50), null, null);
    recent.invariants();
    expect([held(recent), recent.firstRevision, recent.sizeBytes]).toEqual([[], 5, 0]);
    recent.add(5, 0, KEY, record(10), null, null);
    expect(held(recent)).toEqual(["5.0"]);
  });

  it("keeps its own bytes, small and large ones, unchanged for whoever holds them", () => {
    const recent = new RecentChanges(10_000_000);
    recent.startAt(2);
    const sizes = [0, 1, 5000, 16_000, 16_384, 70_000, 60_000, 3];
    for (let i = 0; i < 80; i++) {
      const bytes = record(sizes[i % sizes.length] as number);
      recent.add(2 + i, 0, KEY, bytes, bytes, null);
      bytes.fill(0xff);
    }
    const lengths: number[] = [];
    recent.forEach(2, (change) => {
      const { kv, prevKv } = change.event(true);
      for (const one of [kv, prevKv]) {
        expect(one?.value.every((byte) => byte === 7)).toBe(true);
        expect(one?.key).toEqual(KEY);
      }
      lengths.push(kv.value.length);
      return true;
    });
    expect(lengths.slice(0, 8)).toEqual(sizes);
    expect(lengths).toHaveLength(80);
  });
});
