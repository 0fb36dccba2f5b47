/** Where each group stands in the log, and what a start makes of each type of record. */
import { describe, expect, it } from "vitest";
import { assert, setVerifying, writeU64 } from "../base/index.ts";
import { runIoNow } from "../env/sim/index.ts";
import { EntryCache } from "./entry-cache.ts";
import { HARD_STATE_RECORD_BYTES } from "./frame-builder.ts";
import { GroupTable } from "./group-state.ts";
import { inspectWal, type SnapshotRecord, type Wal, type WalItem } from "./index.ts";
import { decodeManifest, type ManifestGroup } from "./manifest.ts";
import {
  RecordCursor,
  RecordType,
  snapshotBytes,
  TRUNCATED_BYTES,
  writeEntriesHead,
  writeEntry,
  writeHardState,
  writeRecordHead,
  writeSnapshot,
} from "./record.ts";
import { Replay } from "./replay.ts";
import { batch, entries, Lab } from "./testing/lab.ts";

setVerifying(true);

function snapshotAt(index: number, term: number, group: number): SnapshotRecord {
  return {
    meta: {
      index,
      term,
      confState: {
        voters: [7],
        votersOutgoing: [],
        learners: [],
        learnersNext: [],
        autoLeave: false,
      },
    },
    fileName: `${group}/${term}-${index}.snap`,
    sizeBytes: 1,
    sha256: new Uint8Array(32),
    installed: false,
  };
}

/** Where the inspector finds the frame of an entry: it reads the files and knows nothing of pointers. */
function placeOf(lab: Lab, group: number, index: number): { segment: number; offset: number } {
  const fork = lab.machine.fork();
  fork.losePower("lose-all");
  let segment = 0;
  let place: { segment: number; offset: number } | null = null;
  const look = (item: WalItem): void => {
    if (item.kind === "segment") segment = item.sequence;
    if (item.kind !== "frame") return;
    for (const record of item.records)
      if (record.type === "entries" && record.group === group)
        if (record.entries.some((entry) => entry.index === index))
          place = { segment, offset: item.offset };
  };
  runIoNow(fork, inspectWal(fork.boot().files, "data", look));
  assert(place !== null, "the entry is in the log");
  return place;
}

describe("the pointers of groups", () => {
  /** Two groups over several segments; the first has come further with its checkpoints. */
  function written(): { readonly lab: Lab; readonly wal: Wal } {
    const lab = new Lab(1);
    const wal = lab.create();
    for (let i = 1; i <= 12; i++) {
      const hardState = { term: 1, vote: 7, commit: i - 1 };
      lab.append(wal, [batch(0, 1, i, i, hardState, 700), batch(1, 1, i, i, hardState, 400)]);
    }
    return { lab, wal };
  }

  it("say which is the oldest place that one group, and that the whole log, is needed from", () => {
    const { lab, wal } = written();
    expect(wal.groupMinCheckpoint(0)).toEqual(placeOf(lab, 0, 1));
    for (const index of [5, 9]) lab.release(wal, 0, index);
    for (const index of [3, 4]) lab.release(wal, 1, index);
    // Each group's log is needed behind the older of its two checkpoints.
    expect(wal.groupMinCheckpoint(0)).toEqual(placeOf(lab, 0, 6));
    expect(wal.groupMinCheckpoint(1)).toEqual(placeOf(lab, 1, 4));
    expect(wal.minWalCheckpoint()).toEqual(placeOf(lab, 1, 4));
    for (const index of [12, 12]) lab.release(wal, 1, index);
    expect(wal.groupMinCheckpoint(1)).toBe(null);
    expect(wal.minWalCheckpoint()).toEqual(placeOf(lab, 0, 6));
    for (const index of [12, 12]) lab.release(wal, 0, index);
    expect(wal.minWalCheckpoint()).toBe(null);
  });

  it("show how much of the log each group keeps from going, and what its records took, by type", () => {
    const { lab, wal } = written();
    const behind = (): number[] => wal.groupStats.map(({ backlogBytes }) => backlogBytes);
    const [both = 0, same] = behind();
    expect(both).toBe(same);
    for (const index of [5, 9]) lab.release(wal, 0, index);
    for (const index of [3, 4]) lab.release(wal, 1, index);
    expect(wal.groupStats).toMatchObject([
      { group: 0, lastIndex: 12, commit: 11, checkpointIndex: 9, needed: placeOf(lab, 0, 6) },
      { group: 1, lastIndex: 12, commit: 11, checkpointIndex: 4, needed: placeOf(lab, 1, 4) },
    ]);
    const [first = 0, second = 0] = behind();
    // Seven of the twelve frames, and nine.
    expect([first / both, second / both].map((share) => Math.round(share * 12))).toEqual([7, 9]);
    for (const index of [12, 12]) lab.release(wal, 1, index);
    expect(behind()).toEqual([first, 0]);
    // A stopped directory says the same, as of its last manifest.
    const { groups } = lab.run(inspectWal(lab.env.files, "data", () => {}));
    expect(groups).toMatchObject([
      { group: 0, lastIndex: 12, commit: 11, checkpointIndex: 9, ...placeOf(lab, 0, 6) },
      { group: 1, lastIndex: 12, commit: 11, checkpointIndex: 12, segment: 0, offset: 0 },
    ]);
    expect(groups.map(({ backlogBytes }) => backlogBytes)).toEqual([first, 0]);
    const { recordBytes, bytesWritten, bytesWaiting } = wal.stats;
    expect(recordBytes.entries).toBeGreaterThan(12 * 1100);
    expect(recordBytes.hardState).toBe(24 * HARD_STATE_RECORD_BYTES);
    expect(recordBytes.snapshot).toBe(0);
    expect(recordBytes.entries + recordBytes.hardState).toBeLessThan(bytesWritten);
    expect(bytesWaiting).toBe(0);
  });

  it("stand in the manifest with segment, offset, applied, snapshot and commit, and a start does without", () => {
    const { lab, wal } = written();
    let isThere = false;
    wal.append(
      [{ group: 0, snapshot: snapshotAt(8, 1, 0), entries: [], hardState: null }],
      (error) => {
        isThere = error === null;
      },
    );
    lab.wait(() => isThere);
    for (const index of [5, 9]) lab.release(wal, 0, index);
    const read = (): readonly ManifestGroup[] | undefined =>
      decodeManifest(lab.machine.disk.contents("data/MANIFEST"), "data/MANIFEST")?.groups;
    expect(read()).toMatchObject([
      {
        group: 0,
        ...placeOf(lab, 0, 6),
        appliedIndex: 9,
        appliedTerm: 1,
        snapshotIndex: 8,
        snapshotTerm: 1,
        commit: 11,
      },
      { group: 1, ...placeOf(lab, 1, 1), appliedIndex: 0, commit: 11 },
    ]);
    lab.run(wal.close());
    lab.kill();
    lab.unlink("data/MANIFEST");
    const { wal: again } = lab.open();
    expect(again.groupMinCheckpoint(0)).toEqual(placeOf(lab, 0, 6));
    expect(again.hardState(0).commit).toBe(11);
    expect(again.snapshot(0)).toEqual(snapshotAt(8, 1, 0));
  });
});

/** A record with its head, as it stands in a frame. */
function record(
  type: RecordType,
  bodyBytes: number,
  write: (into: Uint8Array, at: number) => void,
): Uint8Array {
  const bytes = new Uint8Array(4096);
  const at = writeRecordHead(bytes, 0, type, GROUP, bodyBytes);
  write(bytes, at);
  return bytes.subarray(0, at + bodyBytes);
}

const GROUP = 2;

function entriesRecord(type: RecordType, from: number, to: number): Uint8Array {
  const list = entries(from, to, 1);
  const bytes = list.reduce((sum, { data }) => sum + 16 + data.length, 16);
  return record(type, bytes, (into, start) => {
    let at = writeEntriesHead(into, start, from, list.length);
    for (const entry of list) at = writeEntry(into, at, entry);
  });
}

describe("a start, of each type of record,", () => {
  const groups = new GroupTable(new EntryCache(0), () => {
    throw new Error("nothing is read back");
  });
  const replay = new Replay(groups);
  replay.enterSegment([], "segment");
  const { log } = groups.of(GROUP);
  const frame = (lsn: number, bytes: Uint8Array): void =>
    replay.frame(new RecordCursor(bytes, 0, bytes.length, "segment", 0), lsn, {
      highest: new Map(),
    });

  it("takes entries, HardState and snapshot, lets go of what was truncated, finds again what was relocated", () => {
    frame(512, entriesRecord(RecordType.entries, 1, 6));
    expect([log.firstIndex(), log.lastIndex(), log.lsnOf(6)]).toEqual([1, 6, 512]);

    const state = { term: 3, vote: 7, commit: 5 };
    frame(
      1024,
      record(RecordType.hardState, 24, (into, at) => writeHardState(into, at, state)),
    );
    expect(groups.of(GROUP).hardState).toEqual(state);
    expect(() => frame(1024, entriesRecord(RecordType.entries, 5, 5))).toThrow(/overwrites/);

    const snapshot = snapshotAt(4, 1, GROUP);
    frame(
      1536,
      record(RecordType.snapshot, snapshotBytes(snapshot), (into, at) =>
        writeSnapshot(into, at, snapshot),
      ),
    );
    expect(groups.of(GROUP).snapshot).toEqual(snapshot);
    expect([log.firstIndex(), log.lastIndex()]).toEqual([1, 6]);

    frame(
      2048,
      record(RecordType.truncated, TRUNCATED_BYTES, (into, at) => {
        writeU64(into, at, 3);
        writeU64(into, at + 8, 1);
      }),
    );
    expect([log.firstIndex(), log.lastIndex(), log.term(3)]).toEqual([4, 6, 1]);

    // What is relocated stands elsewhere and discards nothing behind it, unlike entries.
    frame(2560, entriesRecord(RecordType.relocated, 4, 5));
    expect([4, 5, 6].map((index) => log.lsnOf(index))).toEqual([2560, 2560, 512]);
    expect(log.lastIndex()).toBe(6);

    frame(
      3072,
      record(RecordType.mark, 0, () => {}),
    );
    expect([log.firstIndex(), log.lastIndex()]).toEqual([4, 6]);

    frame(
      3584,
      record(RecordType.truncated, TRUNCATED_BYTES, (into, at) => {
        writeU64(into, at, 20);
        writeU64(into, at + 8, 3);
      }),
    );
    expect([log.firstIndex(), log.lastIndex(), log.term(20)]).toEqual([21, 20, 3]);
  });
});
