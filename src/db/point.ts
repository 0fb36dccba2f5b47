/** What reads are made from. */
import { EMPTY_BYTES } from "../base/index.ts";
import type { RangeRequest } from "./requests.ts";

/** Of one key: nothing is left out, filtered, sorted or only counted. */
export const POINT: RangeRequest = Object.freeze({
  kind: "range",
  key: EMPTY_BYTES,
  rangeEnd: EMPTY_BYTES,
  limit: 0,
  revision: 0,
  sortOrder: "none",
  sortTarget: "key",
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
});

/** The cheapest linearizable read: it says nothing but that what is here is as new as the question. */
export const COUNT_NO_KEY: RangeRequest = Object.freeze({
  ...POINT,
  key: Uint8Array.of(0),
  keysOnly: true,
  countOnly: true,
});
