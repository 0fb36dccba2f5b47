/**
 * What happens to a directory while nobody looks: bits flip, writes turn out to have been lost or to stand in another
 * place, files are moved. A start refuses by name what it cannot do without, and loses nothing. In a directory that was
 * closed in order everything that was acknowledged is proven; after a crash the bytes say what is (storage-proof.ts).
 */
import {
  type Io,
  closeFile,
  openFile,
  renameFile,
  truncateFile,
  unlinkFile,
  writeFile,
} from "../src/env/index.ts";
import { runIoNow, type SimEnv } from "../src/env/sim/index.ts";
import { ROOT } from "./storage.ts";
import { type FileClass, fileClassOf, type StorageStep } from "./storage-steps.ts";

type Damage = StorageStep & { readonly do: "damage" };

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;

/** Every file that a start reads. */
export function filesOf(machine: SimEnv): string[] {
  return machine.disk
    .paths()
    .filter(
      (path) => path.startsWith(`${ROOT}/`) && isRead(path) && !path.startsWith(`${ROOT}/tmp/`),
    );
}

function isRead(path: string): boolean {
  return /\.(?:wal|hdb)$|\/(?:VOTE|MANIFEST)$/.test(path);
}

/** What was done, and to which bytes when it was done to bytes. */
export interface Done {
  readonly what: string;
  /** Bits that changed where they stand: whatever held them does not check out any more. */
  readonly isRot: boolean;
  readonly path: string;
  readonly places: readonly (readonly [from: number, to: number])[];
}

/**
 * Damages `machine`, which runs nothing. Returns what was done, or null when there is nothing that it fits to.
 * `remembered` is the same machine at an earlier time, `foreign` makes one with the files of another node.
 */
export function damage(
  machine: SimEnv,
  step: Damage,
  remembered: SimEnv | null,
  foreign: () => SimEnv,
): Done | null {
  const { disk } = machine;
  const files = filesOf(machine);
  const path = files[step.file % files.length];
  if (path === undefined) return null;
  const size = disk.contents(path).length;
  const unit = fileClassOf(path) === "data" ? PAGE_BYTES : SECTOR_BYTES;
  const done = (what: string, ...places: (readonly [number, number])[]): Done => ({
    what,
    isRot: step.kind === "bit" || step.kind === "sector",
    path,
    places,
  });
  switch (step.kind) {
    case "bit": {
      if (size === 0) return null;
      const offset = step.offset % reachOf(disk.contents(path));
      disk.flipBit(path, offset, step.seed % 8);
      return done(`a bit of ${path} at ${offset}`, [offset, offset + 1]);
    }
    case "sector": {
      if (size === 0) return null;
      const offset = step.offset % reachOf(disk.contents(path));
      disk.zeroSector(path, offset);
      const start = offset - (offset % SECTOR_BYTES);
      return done(`the sector of ${path} at ${offset}`, [start, start + SECTOR_BYTES]);
    }
    case "stale":
    case "misdirected": {
      if (remembered === null) return null;
      const offset = changedSince(machine, remembered, path, unit, step.offset);
      if (offset === null) return null;
      const what = `${unit} bytes of ${path} at ${offset}`;
      if (step.kind === "misdirected") {
        const to = (step.seed % Math.floor(size / unit)) * unit;
        if (to === offset) return null;
        disk.misplace(path, offset, path, to, unit);
        disk.makeStale(remembered.disk, path, offset, unit);
        return done(`${what} went to ${to}`, [offset, offset + unit], [to, to + unit]);
      }
      disk.makeStale(remembered.disk, path, offset, unit);
      return done(`${what} were lost`, [offset, offset + unit]);
    }
    case "misplaced": {
      const units = Math.floor(size / unit);
      if (units < 2) return null;
      const from = (step.offset % units) * unit;
      const to = (step.seed % units) * unit;
      if (from === to) return null;
      disk.misplace(path, from, path, to, unit);
      return done(`${path} at ${to} holds what belongs to ${from}`, [to, to + unit]);
    }
    case "missing":
      edit(machine, (files) => unlinkFile(files, path));
      return done(`${path} is missing`);
    case "doubled": {
      const other = nameBeside(path, files, step.seed);
      if (other === null) return null;
      const bytes = disk.contents(path);
      edit(machine, (files) => replace(files, other, bytes));
      return done(`${other} is a copy of ${path}`);
    }
    case "swapped": {
      const like = files.filter((file) => file !== path && fileClassOf(file) === fileClassOf(path));
      const other = like[step.seed % like.length];
      if (other === undefined) return null;
      edit(machine, function* (files) {
        yield* renameFile(files, path, `${path}.swap`);
        yield* renameFile(files, other, path);
        yield* renameFile(files, `${path}.swap`, other);
      });
      return done(`${path} and ${other} have changed names`);
    }
    case "foreign": {
      const stranger = foreign();
      const kind: FileClass = fileClassOf(path);
      const theirs = filesOf(stranger).filter((file) => fileClassOf(file) === kind);
      const from = theirs.includes(path) ? path : theirs[step.seed % theirs.length];
      if (from === undefined) return null;
      const bytes = stranger.disk.contents(from);
      edit(machine, (files) => replace(files, path, bytes));
      return done(`${path} is ${from} of another node`);
    }
  }
}

/** How far a file is worth damaging: to a little behind the last byte that says something. */
function reachOf(bytes: Uint8Array): number {
  let used = bytes.length;
  while (used > 0 && bytes[used - 1] === 0) used--;
  return Math.min(bytes.length, used + 2 * SECTOR_BYTES);
}

/** The first place from `start` on, all around, where `path` is not what it was. */
function changedSince(
  machine: SimEnv,
  before: SimEnv,
  path: string,
  unit: number,
  start: number,
): number | null {
  if (!before.disk.paths().includes(path)) return null;
  const now = machine.disk.contents(path);
  const then = before.disk.contents(path);
  const units = Math.floor(now.length / unit);
  for (let i = 0; i < units; i++) {
    const offset = ((Math.floor(start / unit) + i) % units) * unit;
    for (let at = offset; at < offset + unit; at++) if (now[at] !== (then[at] ?? 0)) return offset;
  }
  return null;
}

/** The name that a copy of `path` gets: that of the next segment, or of another file of its kind. */
function nameBeside(path: string, files: readonly string[], seed: number): string | null {
  const segment = /^(.*\/)([0-9a-f]{16})-([0-9a-f]{16})\.wal$/.exec(path);
  if (segment !== null) {
    const [, directory, sequence, lsn] = segment;
    const next = (Number.parseInt(sequence as string, 16) + 1 + (seed % 2)).toString(16);
    const name = `${directory}${next.padStart(16, "0")}-${lsn}.wal`;
    return files.includes(name) ? null : name;
  }
  const like = files.filter((file) => file !== path && fileClassOf(file) === fileClassOf(path));
  return like[seed % like.length] ?? null;
}

type SimFiles = ReturnType<SimEnv["boot"]>["files"];

function edit(machine: SimEnv, change: (files: SimFiles) => Io<void>): void {
  const { files } = machine.boot();
  runIoNow(machine, change(files));
  machine.losePower("keep-all");
}

function* replace(files: SimFiles, path: string, bytes: Uint8Array): Io<void> {
  const file = yield* openFile(files, path, { access: "readwrite", create: "if-missing" });
  yield* truncateFile(file, 0);
  yield* writeFile(file, 0, bytes);
  yield* closeFile(file);
}
