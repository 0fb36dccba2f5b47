/**
 * What a power loss may leave of the changes that were not synced: drawn by a seed, or all of it, one after another.
 *
 * Legal is, for each file, one of the sizes that it had since its last sync, and for each sector of it the durable
 * content or that of any later write; for names, any subset of the changes in their order, except that the old name
 * of a rename does not go before the new one is there. With a journal for names: a prefix of all their changes.
 */
import { hash32, Random } from "../../base/index.ts";
import type { Directory, DirectoryChange } from "./directory.ts";
import type { SimDisk } from "./disk.ts";
import type { Inode, SectorChoices, Survival } from "./inode.ts";

/**
 * "lose-all": only what was synced. "keep-all": everything. "prefix": the first changes. "subset": whole changes.
 * "sectors": any sector of any change. "mixed": one of these for each file.
 *
 * "torn": the first changes, and the next one up to a multiple of 8 bytes. It is more than the contract allows, and
 * a good question to ask of anything that is guarded by a checksum.
 */
export type CrashMode = (typeof CRASH_MODES)[number];
export const CRASH_MODES = [
  "lose-all",
  "keep-all",
  "prefix",
  "subset",
  "sectors",
  "torn",
  "mixed",
] as const;

/** Sectors more often than the rest: they have by far the most outcomes. */
const MIXED: readonly CrashMode[] = [
  "lose-all",
  "keep-all",
  "prefix",
  "subset",
  "sectors",
  "sectors",
  "sectors",
];

/** The files and directories with changes that are not durable. */
export interface Unsynced {
  readonly files: readonly Inode[];
  readonly directories: readonly Directory[];
}

/** What survives, by the id of the file, and the changes of names that do. Files that are not named keep nothing. */
export interface DiskSurvival {
  readonly files: ReadonlyMap<number, Survival>;
  readonly names: ReadonlySet<DirectoryChange>;
}

export interface CrashImagesOptions {
  /** Up to so many outcomes all of them are tried; beyond that so many that the seed draws. Default 4096. */
  readonly limit?: number;
  /** Default: the seed of the disk. */
  readonly seed?: number;
}

/** Draws one outcome. */
export function chooseSurvival(
  unsynced: Unsynced,
  mode: CrashMode,
  journaled: boolean,
  random: Random,
): DiskSurvival {
  const files = new Map<number, Survival>();
  for (const inode of unsynced.files) files.set(inode.id, fileSurvival(inode, mode, random));
  const changes = changesOf(unsynced);
  const cut =
    mode === "lose-all"
      ? 0
      : mode === "keep-all"
        ? changes.length
        : random.below(changes.length + 1);
  const prefix =
    journaled || mode === "lose-all" || mode === "keep-all" || mode === "prefix" || mode === "torn";
  return {
    files,
    names: legalNames(
      unsynced,
      changes,
      (_, i) => (prefix ? i < cut : random.percent(50)),
      journaled,
    ),
  };
}

function fileSurvival(inode: Inode, mode: CrashMode, random: Random): Survival {
  const count = inode.unsynced.length;
  const sizeOps = random.below(count + 1);
  switch (mode) {
    case "lose-all":
      return { sizeOps: 0, keeps: () => false };
    case "keep-all":
      return { sizeOps: count, keeps: () => true };
    case "prefix":
      return { sizeOps, keeps: (op) => op < sizeOps };
    case "subset": {
      const kept = inode.unsynced.map(() => random.percent(50));
      return { sizeOps, keeps: (op) => kept[op] as boolean };
    }
    case "sectors": {
      const salt = random.u32();
      return { sizeOps, keeps: (op, sector) => (hash32(salt, op, sector) & 1) === 1 };
    }
    case "torn": {
      const torn = inode.unsynced[sizeOps];
      if (torn?.kind !== "write") return { sizeOps, keeps: (op) => op < sizeOps };
      const bytes = 8 * random.below(torn.bytes.length / 8 + 1);
      // The size of the torn write may have come through without its bytes.
      return {
        sizeOps: sizeOps + random.below(2),
        keeps: (op) => op <= sizeOps,
        tear: { op: sizeOps, bytes },
      };
    }
    case "mixed":
      return fileSurvival(inode, random.pick(MIXED), random);
  }
}

/**
 * Forks of `disk` after a power loss now, one for each outcome: all of them when they are few, drawn ones otherwise
 * (the two extremes always). `disk` itself stays as it is.
 */
export function* crashImages(
  disk: SimDisk,
  options: CrashImagesOptions = {},
): Generator<SimDisk, void, void> {
  const base = disk.fork();
  base.settleInFlight();
  const unsynced = base.unsynced();
  const journaled = base.options.journaledNames === true;
  const limit = options.limit ?? 4096;
  const seed = options.seed ?? base.options.seed;
  if (countOutcomes(unsynced, journaled) <= limit) {
    for (const survival of everyOutcome(unsynced, journaled)) yield crashed(base, survival);
    return;
  }
  yield crashed(base, chooseSurvival(unsynced, "lose-all", journaled, new Random(seed)));
  yield crashed(base, chooseSurvival(unsynced, "keep-all", journaled, new Random(seed)));
  for (let i = 2; i < limit; i++)
    yield crashed(base, chooseSurvival(unsynced, "mixed", journaled, new Random(hash32(seed, i))));
}

function crashed(base: SimDisk, survival: DiskSurvival): SimDisk {
  const image = base.fork();
  image.losePower(survival);
  return image;
}

/** An upper bound: subsets of names that are not legal are counted, and skipped later. */
function countOutcomes(unsynced: Unsynced, journaled: boolean): number {
  const names = changesOf(unsynced).length;
  let count = journaled ? names + 1 : 2 ** names;
  for (const inode of unsynced.files)
    count *= inode.choices().reduce((sum, choices) => sum + outcomesOf(choices), 0);
  return count;
}

function outcomesOf(choices: SectorChoices): number {
  return choices.sectors.reduce((product, { ops }) => product * (ops.length + 1), 1);
}

function* everyOutcome(
  unsynced: Unsynced,
  journaled: boolean,
): Generator<DiskSurvival, void, void> {
  const changes = changesOf(unsynced);
  for (let i = 0; i < (journaled ? changes.length + 1 : 2 ** changes.length); i++) {
    const wanted = (_: DirectoryChange, bit: number): boolean =>
      journaled ? bit < i : ((i >>> bit) & 1) === 1;
    const names = legalNames(unsynced, changes, wanted, journaled);
    // A subset that had to be mended is not legal itself, and the mended one comes on its own.
    if (changes.some((change, bit) => names.has(change) !== wanted(change, bit)) && !journaled)
      continue;
    for (const files of everyFileOutcome(unsynced.files, 0)) yield { files, names };
  }
}

function* everyFileOutcome(
  inodes: readonly Inode[],
  from: number,
): Generator<Map<number, Survival>, void, void> {
  const inode = inodes[from];
  if (inode === undefined) {
    yield new Map();
    return;
  }
  for (const rest of everyFileOutcome(inodes, from + 1)) {
    for (const { sizeOps, sectors } of inode.choices()) {
      const total = outcomesOf({ sizeOps, sectors });
      for (let number = 0; number < total; number++) {
        const chosen = new Map<number, number>();
        let left = number;
        for (const { sector, ops } of sectors) {
          const digit = left % (ops.length + 1);
          left = Math.floor(left / (ops.length + 1));
          if (digit > 0) chosen.set(sector, ops[digit - 1] as number);
        }
        yield new Map(rest).set(inode.id, {
          sizeOps,
          keeps: (op, sector) => chosen.get(sector) === op,
        });
      }
    }
  }
}

/** All changes of names in the order of performance; of a rename the new name first. */
function changesOf(unsynced: Unsynced): DirectoryChange[] {
  return unsynced.directories
    .flatMap((directory) => directory.unsynced)
    .toSorted(
      (a, b) =>
        a.ordinal - b.ordinal || (a.needs === undefined ? 0 : 1) - (b.needs === undefined ? 0 : 1),
    );
}

/** What is left of `wanted` when the second half of each rename follows its first half. */
function legalNames(
  unsynced: Unsynced,
  changes: readonly DirectoryChange[],
  wanted: (change: DirectoryChange, index: number) => boolean,
  journaled: boolean,
): Set<DirectoryChange> {
  const kept = new Set<DirectoryChange>();
  for (const [i, change] of changes.entries()) {
    const first = firstHalf(unsynced, change);
    const firstHappened = first === undefined || kept.has(first);
    // One transaction of the journal holds both halves.
    const happens =
      change.needs !== undefined && journaled ? firstHappened : firstHappened && wanted(change, i);
    if (happens) kept.add(change);
  }
  return kept;
}

/** The new name that belongs to this end of an old one, while it is not durable. */
function firstHalf(unsynced: Unsynced, change: DirectoryChange): DirectoryChange | undefined {
  if (change.needs === undefined) return undefined;
  const directory = unsynced.directories.find((candidate) => candidate.id === change.needs);
  return directory?.unsynced.find((half) => half.ordinal === change.ordinal);
}
