/** What the log of a stopped directory says of each group: how far it came, and what of the log it still needs. */
import type { GroupId, LogIndex } from "../raft/index.ts";
import type { WalItem } from "./inspect.ts";
import type { Manifest, ManifestGroup } from "./manifest.ts";
import type { Lsn } from "./types.ts";

export interface GroupReport {
  readonly group: GroupId;
  readonly lastIndex: LogIndex;
  readonly commit: LogIndex;
  /** What follows is as the last manifest says it: all 0 without one. */
  readonly checkpointIndex: LogIndex;
  readonly snapshotIndex: LogIndex;
  /** From where on the log is needed for the group; both 0: from what came after the manifest on. */
  readonly segment: number;
  readonly offset: number;
  /** From there to the end of the log, other groups' bytes included. */
  readonly backlogBytes: number;
}

export class GroupReports {
  readonly #ends = new Map<GroupId, { lastIndex: LogIndex; commit: LogIndex }>();
  readonly #firstLsns = new Map<number, Lsn>();
  #beginLsn: Lsn | null = null;

  see(item: WalItem): void {
    if (item.kind === "segment") {
      this.#firstLsns.set(item.sequence, item.firstLsn);
      this.#beginLsn ??= item.firstLsn;
      for (const { group, lastIndex, commit } of item.groups) {
        this.#end(group).lastIndex = lastIndex;
        this.#commit(group, commit);
      }
      return;
    }
    if (item.kind !== "frame") return;
    for (const record of item.records) {
      if (record.type === "entries") {
        const last = record.entries.at(-1);
        if (last !== undefined) this.#end(record.group).lastIndex = last.index;
      } else if (record.type === "hardState") this.#commit(record.group, record.state.commit);
    }
  }

  /** In the order of the groups. `manifest` null: there is none that can be read. */
  reports(manifest: Manifest | null, endLsn: Lsn): readonly GroupReport[] {
    for (const { group } of manifest?.groups ?? []) this.#end(group);
    return [...this.#ends]
      .sort(([a], [b]) => a - b)
      .map(([group, { lastIndex, commit }]) => {
        const row = manifest?.groups.find((candidate) => candidate.group === group);
        return {
          group,
          lastIndex,
          commit: Math.max(commit, row?.commit ?? 0),
          checkpointIndex: row?.appliedIndex ?? 0,
          snapshotIndex: row?.snapshotIndex ?? 0,
          segment: row?.segment ?? 0,
          offset: row?.offset ?? 0,
          backlogBytes: Math.max(0, endLsn - this.#neededLsn(row, manifest, lastIndex, endLsn)),
        };
      });
  }

  #neededLsn(
    row: ManifestGroup | undefined,
    manifest: Manifest | null,
    lastIndex: LogIndex,
    endLsn: Lsn,
  ): Lsn {
    const beginLsn = this.#beginLsn ?? endLsn;
    if (manifest === null || row === undefined) return beginLsn;
    const firstLsn = this.#firstLsns.get(row.segment);
    if (firstLsn !== undefined) return firstLsn + row.offset;
    // Nothing was needed when the manifest was written: at most what has come since.
    return lastIndex > row.appliedIndex ? manifest.durableLsn : endLsn;
  }

  #end(group: GroupId): { lastIndex: LogIndex; commit: LogIndex } {
    let end = this.#ends.get(group);
    if (end === undefined) {
      end = { lastIndex: 0, commit: 0 };
      this.#ends.set(group, end);
    }
    return end;
  }

  #commit(group: GroupId, commit: LogIndex): void {
    const end = this.#end(group);
    end.commit = Math.max(end.commit, commit);
  }
}
