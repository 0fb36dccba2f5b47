/**
 * QUARANTINE: this member's replica is not to be trusted, and why. It is written before anything that follows from it, and
 * removed when the replica has been healed by the others; so a start that finds it goes on in quarantine, however the
 * process before it ended.
 *
 * What was damaged is put aside under `damaged/` and stays there until then: if no majority is left to heal from, it is all
 * that there is.
 */
import {
  type Env,
  FileError,
  type Files,
  type Io,
  listDirectory,
  makeDirectory,
  renameFile,
  syncDirectory,
  unlinkIfThere,
} from "../env/index.ts";
import { readSmallFile, replaceFile, seal, unseal } from "./sealed-file.ts";

const NAME = "QUARANTINE";
const ASIDE = "damaged";
const FORMAT = 1;
const BYTES_MAX: number = 64 * 1024;

/** Why a replica is in quarantine, as a sentence for whoever reads it. */
export type QuarantineReason = string;

/** Null: there is none. One that cannot be read is one all the same. */
export function* readQuarantine(files: Files, directory: string): Io<QuarantineReason | null> {
  const content = yield* readSmallFile(files, `${directory}/${NAME}`, BYTES_MAX);
  if (content === null) return null;
  if (unseal(content).isSealed) {
    const { what } = JSON.parse(content) as { readonly what?: unknown };
    if (typeof what === "string") return what;
  }
  return "QUARANTINE does not match its checksum";
}

export function* writeQuarantine(
  files: Files,
  directory: string,
  what: QuarantineReason,
): Io<void> {
  const json = JSON.stringify({ format: FORMAT, what });
  yield* replaceFile(files, directory, NAME, seal(json));
}

/** The replica is healed: what was put aside goes first, so that it never outlives the word of it. */
export function* endQuarantine(files: Files, directory: string): Io<void> {
  const aside = `${directory}/${ASIDE}`;
  const names = yield* listIfThere(files, aside);
  for (const name of names) yield* unlinkIfThere(files, `${aside}/${name}`);
  if (names.length > 0) yield* syncDirectory(files, aside);
  yield* unlinkIfThere(files, `${directory}/${NAME}`);
  yield* syncDirectory(files, directory);
}

/**
 * Puts log, data files and snapshots aside: what follows begins with nothing. Can be repeated after a crash: what has the
 * name of something that is aside already was made since, in quarantine, and nobody was told of it.
 */
export function* putAside(env: Env, directory: string): Io<void> {
  const { files } = env;
  const aside = `${directory}/${ASIDE}`;
  yield* makeIfMissing(files, aside);
  yield* syncDirectory(files, directory);
  const taken = new Set(yield* listDirectory(files, aside));
  const move = function* (from: string, to: string): Io<void> {
    if (taken.has(to)) yield* unlinkIfThere(files, from);
    else yield* renameFile(files, from, `${aside}/${to}`);
  };
  for (const folder of ["wal", "db"]) {
    for (const name of yield* listIfThere(files, `${directory}/${folder}`))
      yield* move(`${directory}/${folder}/${name}`, `${folder}-${name}`);
    yield* syncIfThere(files, `${directory}/${folder}`);
  }
  for (const group of yield* listIfThere(files, `${directory}/snap`)) {
    const folder = `${directory}/snap/${group}`;
    for (const name of yield* listIfThere(files, folder))
      yield* move(`${folder}/${name}`, `snap-${group}-${name}`);
    yield* syncIfThere(files, folder);
  }
  if ((yield* listDirectory(files, directory)).includes("MANIFEST"))
    yield* move(`${directory}/MANIFEST`, "MANIFEST");
  for (const name of yield* listIfThere(files, `${directory}/tmp`))
    yield* unlinkIfThere(files, `${directory}/tmp/${name}`);
  yield* syncDirectory(files, aside);
  yield* syncDirectory(files, directory);
}

function* makeIfMissing(files: Files, directory: string): Io<void> {
  try {
    yield* makeDirectory(files, directory);
  } catch (error) {
    if (!(error instanceof FileError) || error.code !== "EEXIST") throw error;
  }
}

function* listIfThere(files: Files, directory: string): Io<readonly string[]> {
  try {
    return yield* listDirectory(files, directory);
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return [];
    throw error;
  }
}

function* syncIfThere(files: Files, directory: string): Io<void> {
  try {
    yield* syncDirectory(files, directory);
  } catch (error) {
    if (!(error instanceof FileError) || error.code !== "ENOENT") throw error;
  }
}
