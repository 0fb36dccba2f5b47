/** What the Readys of a turn ask the log to keep, as one append. */
import type { Entry, HardState } from "../raft/index.ts";
import type { SnapshotRecord } from "../wal/index.ts";

export interface Collected {
  entries: Entry[];
  hardState: HardState | null;
  readonly snapshot: SnapshotRecord | null;
}

/** Entries of a later Ready replace those of an earlier one from their first index on. */
export function mergeEntries(earlier: Entry[], later: readonly Entry[]): Entry[] {
  const first = later[0];
  if (first === undefined) return earlier;
  const kept =
    earlier.length === 0 || (earlier[earlier.length - 1] as Entry).index < first.index
      ? earlier
      : earlier.filter((entry) => entry.index < first.index);
  for (const entry of later) kept.push(entry);
  return kept;
}
