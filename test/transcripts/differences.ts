/** Every recorded step that we answer otherwise, and why. The test holds this list to be exact. */

export interface Difference {
  readonly file: string;
  readonly steps: readonly number[];
  readonly reason: string;
}

export const DIFFERENCES: readonly Difference[] = [
  {
    file: "watch",
    steps: [44],
    reason:
      "A negative start revision is refused as compacted, as newer etcds do; 3.4 takes it for a watch from now on.",
  },
  {
    file: "watch",
    steps: [45, 47, 49, 51, 53, 55, 57],
    reason: "The watch of step 44 was refused, so that the next one of the stream has its id.",
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
