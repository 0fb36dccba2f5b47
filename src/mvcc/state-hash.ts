/**
 * A rolling hash over the logical effects of the entries applied: equal on every replica after the same entry, so a
 * difference shows that apply was not deterministic (fault-rules R19). It says nothing of pages, caches or how far
 * compaction has come, which replicas do for themselves.
 */
import { crc32c, hash32 } from "../base/index.ts";

const TWO_32 = 0x1_0000_0000;

/** What is mixed in; the number keeps effects of different kinds apart. */
export const Effect = {
  put: 1,
  delete: 2,
  compact: 3,
  grant: 4,
  revoke: 5,
  deadline: 6,
  entry: 7,
  settings: 8,
  session: 9,
  raise: 10,
  member: 11,
  alarm: 12,
} as const;
export type Effect = (typeof Effect)[keyof typeof Effect];

export class StateHash {
  value: number;

  constructor(value: number) {
    this.value = value;
  }

  mixBytes(effect: Effect, key: Uint8Array, bytes: Uint8Array): void {
    // The length of the key parts it from what follows: ("ab", "c") is not ("a", "bc").
    const sum = crc32c(bytes, 0, bytes.length, crc32c(key));
    this.value = hash32(this.value, sum, (effect << 16) | key.length);
  }

  mixNumber(effect: Effect, value: number): void {
    this.value = hash32(
      this.value,
      (value % TWO_32) | 0,
      (effect << 24) ^ Math.floor(value / TWO_32),
    );
  }
}
