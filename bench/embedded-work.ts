/** What the sides of P6 (embedded-side.ts) are told to do, and what they answer. */

export const KEYS = 200_000;
export const SLICE_READS = 10_000;
/** So many read each key once. */
export const SLICES: number = KEYS / SLICE_READS;

export type Work = "put" | "getSync" | "get" | "scan";

/** A message to a side. `slice` counts from 0 to SLICES - 1. */
export type Piece =
  | { readonly work: "put" | "scan" | "close" }
  | { readonly work: "getSync" | "get"; readonly slice: number };

/** Its answer: operations a second. Null: there is no such side or no such work on this machine. */
export type Rate = number | null;
