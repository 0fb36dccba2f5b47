/** Every recorded step that we answer otherwise, and why. The test holds this list to be exact. */

export interface Difference {
  readonly file: string;
  readonly steps: readonly number[];
  readonly reason: string;
}

export const DIFFERENCES: readonly Difference[] = [
  {
    file: "kv-compact",
    steps: [32, 33, 35],
    reason: "Watch is not served in this version.",
  },
  {
    file: "lease",
    steps: [27, 29, 49, 51, 55, 56],
    reason: "Watch is not served in this version.",
  },
  {
    file: "limits",
    steps: [9],
    reason: "A key has at most 4 KiB here; a longer one is refused, and by its own text.",
  },
  {
    file: "limits",
    steps: [10, 20, 21, 22],
    reason: "The put of step 9 was refused, so there is one revision less, and no such key.",
  },
  {
    file: "limits",
    steps: [19],
    reason:
      "A path without a method is UNIMPLEMENTED, as in newer gRPC libraries; the recorded one says RESOURCE_EXHAUSTED.",
  },
];
