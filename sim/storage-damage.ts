/**
 * What happens to a directory while nobody looks: bits flip, writes turn out to have been lost or to stand in another
 * place, files are moved. It is done to a directory that was closed in order, where everything that was acknowledged is
 * proven: so what a start must make of it is known. It refuses by name, or it loses nothing.
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

/**
 * Damages `machine`, which runs nothing. Returns what was done, or null when there is nothing that it fits to.
 * `remembered` is the same machine at an earlier time, `foreign` makes one with the files of another node.
 */
export function damage(
  machine: SimEnv,
  step: Damage,
  remembered: SimEnv | null,
  foreign: () => SimEnv,
): string | null {
  const { disk } = machine;
  const files = filesOf(machine);
  const path = files[step.file % files.length];
  if (path === undefined) return null;
  const size = disk.contents(path).length;
  const unit = fileClassOf(path) === "data" ? PAGE_BYTES : SECTOR_BYTES;
  switch (step.kind) {
    case "bit": {
      if (size === 0) return null;
      const offset = step.offset % size;
      disk.flipBit(path, offset, step.seed % 8);
      return `a bit of ${path} at ${offset}`;
    }
    case "sector": {
      if (size === 0) return null;
      const offset = step.offset % size;
      disk.zeroSector(path, offset);
      return `the sector of ${path} at ${offset}`;
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
        return `${what} went to ${to}`;
      }
      disk.makeStale(remembered.disk, path, offset, unit);
      return `${what} were lost`;
    }
    case "misplaced": {
      const units = Math.floor(size / unit);
      if (units < 2) return null;
      const from = (step.offset % units) * unit;
      const to = (step.seed % units) * unit;
      if (from === to) return null;
      disk.misplace(path, from, path, to, unit);
      return `${path} at ${to} holds what belongs to ${from}`;
    }
    case "missing":
      edit(machine, (files) => unlinkFile(files, path));
      return `${path} is missing`;
    case "doubled": {
      const other = nameBeside(path, files, step.seed);
      if (other === null) return null;
      const bytes = disk.contents(path);
      edit(machine, (files) => replace(files, other, bytes));
      return `${other} is a copy of ${path}`;
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
      return `${path} and ${other} have changed names`;
    }
    case "foreign": {
      const stranger = foreign();
      const kind: FileClass = fileClassOf(path);
      const theirs = filesOf(stranger).filter((file) => fileClassOf(file) === kind);
      const from = theirs.includes(path) ? path : theirs[step.seed % theirs.length];
      if (from === undefined) return null;
      const bytes = stranger.disk.contents(from);
      edit(machine, (files) => replace(files, path, bytes));
      return `${path} is ${from} of another node`;
    }
  }
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
