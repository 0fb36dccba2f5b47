/**
 * Looks into the directory of a stopped node and changes nothing in it. The directory's lock is held meanwhile, so a
 * running node is never looked at while it writes, and none can start.
 */
import { type Damage, hex } from "../base/index.ts";
import { lockDataDirectory, readVersion } from "../db/index.ts";
import { type DirectoryLock, type Env, FileError, type Io, runIo } from "../env/index.ts";
import { nodeEnv } from "../platform/index.ts";
import {
  type InspectedRecord,
  inspectWal,
  verifyWal,
  type WalItem,
  type WalReport,
} from "../wal/index.ts";
import { checkDirectory, type DirectoryReport } from "./check.ts";
import { table } from "./commands/output.ts";
import { CommandError, Exit } from "./exit.ts";
import type { Streams, WriteOut } from "./streams.ts";

/** `harmonydb wal dump`: every item of the log, in order, then the totals. */
export function dumpWal(dataDir: string, writeOut: WriteOut, streams: Streams): Promise<void> {
  return onStoppedNode(dataDir, async (env) => {
    const show = (item: WalItem): void =>
      streams.out(writeOut === "json" ? jsonLine(item) : itemText(item));
    const report = await drive(inspectWal(env.files, dataDir, show), streams);
    streams.out(writeOut === "json" ? jsonLine({ kind: "report", ...report }) : reportText(report));
    refuseDamage(report.damage, dataDir, "the log");
  });
}

/** `harmonydb wal verify`: the totals and every damage. */
export function verifyWalFiles(
  dataDir: string,
  writeOut: WriteOut,
  streams: Streams,
): Promise<void> {
  return onStoppedNode(dataDir, async (env) => {
    const report = await drive(
      inspectWal(env.files, dataDir, () => undefined),
      streams,
    );
    if (writeOut === "json") streams.out(jsonLine(report));
    else
      streams.out(report.damage.map((damage) => damageText(damage)).join("") + reportText(report));
    refuseDamage(report.damage, dataDir, "the log");
  });
}

/** What `stats` shows of the groups. */
export interface StatsOptions {
  readonly writeOut: WriteOut;
  /** Only this one. */
  readonly group: number | null;
  /** A group that keeps more of the log than this lags. */
  readonly lagBytes: number;
}

/** `harmonydb stats`: each group's place in the log, and what it keeps from going. */
export function showStats(
  dataDir: string,
  { writeOut, group: wanted, lagBytes }: StatsOptions,
  streams: Streams,
): Promise<void> {
  return onStoppedNode(dataDir, async (env) => {
    const report = await drive(verifyWal(env.files, dataDir), streams);
    const groups = report.groups
      .filter(({ group }) => wanted === null || group === wanted)
      .map((row) => ({ ...row, isLagging: row.backlogBytes > lagBytes }));
    if (wanted !== null && groups.length === 0) {
      throw new CommandError(`the log knows no group ${wanted}`, Exit.refused, [
        `it has: ${report.groups.map(({ group }) => group).join(", ")}`,
      ]);
    }
    const lagging = groups.filter(({ isLagging }) => isLagging).length;
    const largestLagBytes = groups.reduce((most, row) => Math.max(most, row.backlogBytes), 0);
    if (writeOut === "json") {
      const { segments, endLsn } = report;
      streams.out(jsonLine({ segments, endLsn, lagging, largestLagBytes, groups }));
      return;
    }
    const rows = groups.map((row) => [
      `${row.group}`,
      `${row.lastIndex}`,
      `${row.commit}`,
      `${row.checkpointIndex}`,
      row.segment === 0 ? "-" : `segment ${row.segment} at ${row.offset}`,
      `${row.backlogBytes}${row.isLagging ? " (lags)" : ""}`,
    ]);
    streams.out(table(STATS_HEAD, rows));
    streams.out(
      `${counted(groups.length, "group")}, ${lagging} lagging, largest lag ${largestLagBytes} bytes; ` +
        `${counted(report.segments, "segment")}, the log ends at LSN ${report.endLsn}\n`,
    );
  });
}

const STATS_HEAD = ["GROUP", "LAST", "COMMIT", "CHECKPOINT", "NEEDS THE LOG FROM", "LAG BYTES"];

/** `harmonydb check`: data files, log, and that they agree. */
export function checkNode(dataDir: string, writeOut: WriteOut, streams: Streams): Promise<void> {
  return onStoppedNode(dataDir, async (env) => {
    const report = await drive(checkDirectory(env, dataDir), streams);
    if (writeOut === "json") streams.out(jsonLine(report));
    else streams.out(directoryText(report));
    refuseDamage(report.damage, dataDir, "the data");
  });
}

function directoryText({ log, files, damage, notes }: DirectoryReport): string {
  let out = `log: ${reportText(log)}`;
  for (const { file, report } of files) {
    out += `${file}: ${report.fileSizeBytes} bytes`;
    for (const { checkpoint, pages, counts } of report.checkpoints) {
      let entries = 0;
      for (const count of counts) entries += count;
      out += `; checkpoint at entry ${checkpoint?.appliedIndex ?? 0} with ${pages} pages and ${entries} entries in its trees`;
    }
    out += "\n";
  }
  for (const note of notes) out += `note: ${note}\n`;
  for (const found of damage) out += damageText(found);
  return damage.length === 0 ? `${out}everything checks out\n` : out;
}

/** Runs `look` while the directory's lock is held. Throws CommandError when there is no stopped node to look at. */
async function onStoppedNode(dataDir: string, look: (env: Env) => Promise<void>): Promise<void> {
  const env = nodeEnv({ log: () => undefined });
  let lock: DirectoryLock;
  try {
    await ioPromise(existingDirectory(env, dataDir));
    lock = await ioPromise(lockDataDirectory(env.files, dataDir));
  } catch (error) {
    if (error instanceof FileError && (error.code === "ENOENT" || error.code === "ENOTDIR")) {
      throw new CommandError(`${dataDir} is not there`, Exit.refused, [
        "name the directory of a node with --data-dir",
      ]);
    }
    throw error;
  }
  try {
    await look(env);
  } finally {
    await new Promise<void>((resolve) => lock.release(() => resolve()));
  }
}

/** Looks before locking: a lock would leave its file in a directory that is none of ours. */
function* existingDirectory(env: Env, dataDir: string): Io<void> {
  if ((yield* readVersion(env.files, dataDir)) === null) {
    throw new CommandError(
      `there is no ${dataDir}/VERSION: that is not the directory of a node that ever started`,
      Exit.refused,
      ["name the directory of a node with --data-dir"],
    );
  }
}

function ioPromise<T>(io: Io<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    runIo(io, (error, value) => (error === null ? resolve(value as T) : reject(error as Error)));
  });
}

/** Runs `io`, and waits between its operations until what was printed has gone. */
async function drive<T>(io: Io<T>, streams: Streams): Promise<T> {
  let step = io.next();
  while (step.done !== true) {
    const start = step.value;
    const result = await new Promise<{ error: FileError | null; value: unknown }>((resolve) => {
      start((error, value) => resolve({ error, value }));
    });
    await streams.drained();
    step = result.error === null ? io.next(result.value) : io.throw(result.error);
  }
  return step.value;
}

function refuseDamage(damage: readonly Damage[], dataDir: string, what: string): void {
  if (damage.length === 0) return;
  throw new CommandError(
    `${what} in ${dataDir} has ${counted(damage.length, "damaged place")}`,
    Exit.corrupt,
    ["nothing was changed; keep a copy of the directory, look at the disk, and restore a backup"],
  );
}

/** Bytes as hex, 64-bit ids as text: everything else is JSON already. */
function jsonLine(value: object): string {
  const text = JSON.stringify(value, (_key, inner: unknown) => {
    if (inner instanceof Uint8Array) return hex(inner);
    return typeof inner === "bigint" ? inner.toString() : inner;
  });
  return `${text}\n`;
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function damageText({ file, offset, what }: Damage): string {
  return `DAMAGE ${file} at offset ${offset}: ${what}\n`;
}

function itemText(item: WalItem): string {
  switch (item.kind) {
    case "segment": {
      const groups = item.groups.map(
        ({ group, term, commit, lastIndex }) =>
          `group ${group} term ${term} commit ${commit} last ${lastIndex}`,
      );
      return `segment ${item.sequence}: ${item.file}, ${item.sizeBytes} bytes, from LSN ${item.firstLsn}${groups.length > 0 ? `; ${groups.join(", ")}` : ""}\n`;
    }
    case "frame":
      return `  ${item.lsn} at offset ${item.offset}, ${item.frameBytes} bytes, proven ${item.durableLsn}: ${item.records.map((record) => recordText(record)).join("; ")}\n`;
    case "footer":
      return `  sealed at LSN ${item.endLsn}\n`;
    case "end":
      return `end: ${item.file} at offset ${item.offset}${item.tornBytes > 0 ? `, then ${item.tornBytes} bytes of a torn write` : ""}\n`;
    case "damage": {
      const lost = (item.lost ?? []).map(
        ({ group, firstIndex, lastIndex }) =>
          `group ${group} entries ${firstIndex} to ${lastIndex}`,
      );
      return damageText(item.damage) + (lost.length > 0 ? `  lost: ${lost.join(", ")}\n` : "");
    }
  }
}

function recordText(record: InspectedRecord): string {
  switch (record.type) {
    case "entries":
    case "relocated": {
      const { group, entries, type } = record;
      const first = entries[0];
      const last = entries.at(-1);
      if (first === undefined || last === undefined) return `group ${group} no entries`;
      let dataBytes = 0;
      for (const entry of entries) dataBytes += entry.dataBytes;
      const span =
        first === last ? `entry ${first.index}` : `entries ${first.index} to ${last.index}`;
      return `group ${group} ${type === "relocated" ? "relocated " : ""}${span} of term ${last.term}, ${dataBytes} bytes`;
    }
    case "hardState":
      return `group ${record.group} term ${record.state.term} vote ${record.state.vote} commit ${record.state.commit}`;
    case "snapshot":
      return `group ${record.group} snapshot ${record.snapshot.fileName} at ${record.snapshot.meta.index}`;
    case "truncated":
      return `group ${record.group} truncated up to ${record.index} of term ${record.term}`;
    case "mark":
      return "mark";
  }
}

function reportText(report: WalReport): string {
  return (
    `${counted(report.segments, "segment")}, ${counted(report.frames, "frame")}, ${counted(report.entries, "entry", "entries")}; ends at LSN ${report.endLsn}, ` +
    `proven to ${report.durableLsn}; ${report.tornBytes} torn bytes; manifest ${report.manifest}, votes ${report.votes}; ` +
    `${report.damage.length === 0 ? "no damage" : counted(report.damage.length, "damaged place")}\n`
  );
}
