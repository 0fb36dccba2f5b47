/**
 * `harmonydb check`: each data file by itself, the log by itself, and that they agree: the log holds every entry after
 * the newest whole checkpoint, and no checkpoint or commit names an entry that the log never had. Beside that MEMBERS, and
 * every byte of the snapshots.
 */
import { type Damage, HarmonyError } from "../base/index.ts";
import { checkDataFile, type DataFileReport } from "../btree/index.ts";
import { inspectSnapshot, membersDamage } from "../db/index.ts";
import { type Env, FileError, type Io, listDirectory } from "../env/index.ts";
import { type InspectedRecord, inspectWal, type WalItem, type WalReport } from "../wal/index.ts";

export interface CheckedFile {
  readonly file: string;
  readonly group: number;
  readonly report: DataFileReport;
}

export interface DirectoryReport {
  readonly log: WalReport;
  readonly files: readonly CheckedFile[];
  /** Everything that keeps a node from starting, or that it would have to refuse later. */
  readonly damage: readonly Damage[];
  /** What a crash may leave behind and a start mends. */
  readonly notes: readonly string[];
}

/** Reads everything, changes nothing. Throws FileError, NEWER_FORMAT. */
export function* checkDirectory(env: Env, dataDir: string): Io<DirectoryReport> {
  const { files } = env;
  const spans = new LogSpans();
  const log = yield* inspectWal(files, dataDir, (item) => spans.take(item));
  const damage: Damage[] = [...log.damage];
  const notes: string[] = [];
  if (log.tornBytes > 0)
    notes.push(`the log ends with ${log.tornBytes} bytes of a torn write, which a start cuts`);
  if (log.manifest !== "ok") notes.push(`the manifest is ${log.manifest}; a start rebuilds it`);
  if (log.votes !== "ok") notes.push("the vote file is unreadable; the log's copy counts");

  const members = yield* membersDamage(env, dataDir);
  if (members !== null) damage.push(members);
  notes.push(...(yield* snapshotNotes(env, `${dataDir}/snap`)));

  const checked: CheckedFile[] = [];
  for (const name of yield* listDirectory(files, `${dataDir}/db`)) {
    const group = /^(\d+)\.hdb$/.exec(name)?.[1];
    if (group === undefined) continue;
    const file = `${dataDir}/db/${name}`;
    const report = yield* checkDataFile(files, file);
    checked.push({ file, group: Number(group), report });
    judge({ file, group: Number(group), report }, spans, damage, notes);
  }
  if (checked.length === 0)
    damage.push({ file: `${dataDir}/db`, offset: 0, what: "no data file is here" });
  return { log, files: checked, damage, notes };
}

/** A start that needs none of them goes on all the same, so a bad one is a note. */
function* snapshotNotes(env: Env, directory: string): Io<readonly string[]> {
  const notes: string[] = [];
  for (const group of yield* namesIn(env, directory)) {
    for (const name of yield* namesIn(env, `${directory}/${group}`)) {
      if (!name.endsWith(".snap")) continue;
      try {
        yield* inspectSnapshot(env, `${directory}/${group}/${name}`);
      } catch (error) {
        if (!(error instanceof HarmonyError) || error.code === "IO") throw error;
        notes.push(`${error.message}; nothing can be restored from this snapshot`);
      }
    }
  }
  return notes;
}

/** Nothing where there is no directory of that name. */
function* namesIn(env: Env, directory: string): Io<readonly string[]> {
  try {
    return yield* listDirectory(env.files, directory);
  } catch (error) {
    if (error instanceof FileError && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return [];
    throw error;
  }
}

const META_PAGES_BYTES = 2 * 4096;

function judge(
  { file, group, report }: CheckedFile,
  spans: LogSpans,
  damage: Damage[],
  notes: string[],
): void {
  const newest = report.checkpoints[0];
  for (const found of report.damage) {
    // A crash while one of the two metas was written leaves it torn, and the other one counts.
    const isMeta = found.offset < META_PAGES_BYTES;
    if (isMeta && newest !== undefined)
      notes.push(`${file} at offset ${found.offset}: ${found.what}; the other checkpoint counts`);
    else damage.push(found);
  }
  if (newest === undefined) return;
  const applied = newest.checkpoint?.appliedIndex ?? 0;
  const span = spans.of(group);
  const disagree = (what: string): void => void damage.push({ file, offset: 0, what });
  if (span.firstIndex > applied + 1) {
    disagree(
      `its newest whole checkpoint is at entry ${applied} and the log begins at entry ${span.firstIndex}`,
    );
  }
  if (span.lastIndex < applied)
    disagree(
      `its newest checkpoint is at entry ${applied} and the log ends at entry ${span.lastIndex}`,
    );
  if (span.lastIndex < span.commit)
    disagree(`entry ${span.commit} is committed and the log ends at entry ${span.lastIndex}`);
}

/** What the log holds of a group. `firstIndex` is 1 and `lastIndex` 0 for a group that it never named. */
interface Span {
  firstIndex: number;
  lastIndex: number;
  commit: number;
}

/** Follows each group through the items of the log, as a replay does. */
class LogSpans {
  readonly #spans: Map<number, Span> = new Map();
  #isFirstSegment = true;

  of(group: number): Span {
    let span = this.#spans.get(group);
    if (span === undefined) {
      span = { firstIndex: 1, lastIndex: 0, commit: 0 };
      this.#spans.set(group, span);
    }
    return span;
  }

  take(item: WalItem): void {
    if (item.kind === "segment" && this.#isFirstSegment) {
      this.#isFirstSegment = false;
      for (const { group, lastIndex, commit } of item.groups) {
        this.#spans.set(group, { firstIndex: lastIndex + 1, lastIndex, commit });
      }
    } else if (item.kind === "frame") {
      for (const record of item.records) this.#record(record);
    }
  }

  #record(record: InspectedRecord): void {
    if (record.type === "entries") {
      const last = record.entries.at(-1);
      if (last !== undefined) this.of(record.group).lastIndex = last.index;
    } else if (record.type === "hardState") {
      this.of(record.group).commit = record.state.commit;
    } else if (record.type === "snapshot" && record.snapshot.installed) {
      const span = this.of(record.group);
      span.firstIndex = record.snapshot.meta.index + 1;
      span.lastIndex = record.snapshot.meta.index;
    }
  }
}
