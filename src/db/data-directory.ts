/**
 * The data directory: who owns it, what it is, and its first start.
 *
 *     LOCK  VERSION  MEMBERS  MANIFEST  VOTE  wal/  db/  tmp/
 *
 * VERSION is a line of JSON: format, ids, who created it. It is written last in the very first start, after
 * everything else is synced, so a directory without it has never acknowledged anything and its first start begins
 * again, unless its log holds entries: then somebody removed VERSION, and guessing would lose data. Later only the
 * interval mode replaces it, when a run begins and when it ends in order (durability.ts).
 */
import { assert, CorruptionError, HarmonyError, hex, utf8 } from "../base/index.ts";
import {
  type DirectoryLock,
  type Env,
  FileError,
  type Files,
  type Io,
  listDirectory,
  lockDirectory,
  makeDirectory,
  syncDirectory,
  unlinkFile,
} from "../env/index.ts";
import { readSmallFile, replaceFile, seal, unseal } from "./sealed-file.ts";

/** A directory of a higher major format is refused; the same major must always open. */
export const FORMAT_MAJOR = 1;
export const FORMAT_MINOR = 0;
const CREATED_BY = "harmonydb 0.1.0";
const OWN_NAMES: ReadonlySet<string> = new Set([
  "LOCK",
  "VERSION",
  "MEMBERS",
  "JOINING",
  "QUARANTINE",
  "damaged",
  "MANIFEST",
  "VOTE",
  "wal",
  "db",
  "snap",
  "tmp",
]);
const VERSION_BYTES_MAX = 4096;

export interface Identity {
  /** Below 2^53; the same on all members of a cluster. */
  readonly clusterId: number;
  /** Below 2^53. */
  readonly memberId: number;
  /** Random, made at the first start: tells a copied or swapped file from one of this directory. */
  readonly walId: Uint8Array;
  /** Digest of the cluster token that the directory was created with. */
  readonly tokenDigest: string;
}

/** A run in the interval mode that has not ended in order. */
export interface UnsyncedRun {
  /** Null: it runs, or was cut short. A number: a later start is raising the revision to it, to make up for it. */
  readonly raiseTo: number | null;
}

/** What VERSION says. */
export interface Version extends Identity {
  readonly unsynced: UnsyncedRun | null;
}

/** A member as the operator names it at the first start. */
export interface InitialMember {
  readonly name: string;
  readonly peerUrls: readonly string[];
}

export interface Bootstrap extends InitialMember {
  /** The first members, this one among them; absent: this one alone. */
  readonly members?: readonly InitialMember[] | undefined;
  /** Undefined: the default, and no check against an existing directory. */
  readonly clusterToken: string | undefined;
  /** The digest of the snapshot that the directory begins with: then the ids are none that anybody had before. */
  readonly restoredFrom?: Uint8Array;
}

const DEFAULT_TOKEN = "harmonydb-cluster";

/** Ids are digests of token, names and peer URLs, so that all members compute the same ones. */
export function bootstrapIdentity(env: Env, bootstrap: Bootstrap): Identity {
  const token = bootstrap.clusterToken ?? DEFAULT_TOKEN;
  const members = (bootstrap.members ?? [bootstrap]).map(memberText).sort();
  const { restoredFrom } = bootstrap;
  const origin = restoredFrom === undefined ? "" : `\0restored\0${hex(restoredFrom)}`;
  return {
    clusterId: digestId(env, `cluster\0${token}\0${members.join("\0")}${origin}`),
    memberId: digestId(env, `member\0${token}\0${memberText(bootstrap)}${origin}`),
    walId: env.entropy.bytes(16),
    tokenDigest: hex(env.sha256().update(utf8(token)).finish().subarray(0, 8)),
  };
}

/** As every member computes it for every other, at a first start that begins with nothing. */
export function initialMemberId(
  env: Env,
  member: InitialMember,
  clusterToken: string | undefined,
): number {
  return digestId(env, `member\0${clusterToken ?? DEFAULT_TOKEN}\0${memberText(member)}`);
}

function memberText({ name, peerUrls }: InitialMember): string {
  return `${name}=${[...peerUrls].sort().join(",")}`;
}

/** 53 bits of a digest, never 0. */
function digestId(env: Env, what: string): number {
  const digest = env.sha256().update(utf8(what)).finish();
  let id = 0;
  for (let i = 0; i < 6; i++) id = id * 256 + (digest[i] as number);
  return id * 32 + ((digest[6] as number) & 31) || 1;
}

/** Makes the directory and those above it, each durable in its parent. */
export function* makeDataDirectory(files: Files, directory: string): Io<void> {
  const parent = parentOf(directory);
  try {
    yield* makeDirectory(files, directory);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    if (error.code === "EEXIST") return;
    if (error.code !== "ENOENT" || parent === null) throw error;
    yield* makeDataDirectory(files, parent);
    yield* makeDirectory(files, directory);
  }
  if (parent !== null) yield* syncDirectory(files, parent);
}

/**
 * Makes the whole path durable. Whoever made a directory in it, an earlier start perhaps, may have ended before its
 * name was, and everything in it would go with the name (fault-rules D30). A directory that this user may pass but
 * not read was set up by somebody else.
 */
export function* makePathDurable(files: Files, directory: string): Io<void> {
  for (let above = parentOf(directory); above !== null; above = parentOf(above)) {
    try {
      yield* syncDirectory(files, above);
    } catch (error) {
      if (!(error instanceof FileError) || (error.code !== "EACCES" && error.code !== "EPERM"))
        throw error;
    }
  }
}

function parentOf(path: string): string | null {
  const trimmed = path.replace(/\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  if (slash < 0) return trimmed === "." || trimmed === ".." || trimmed === "" ? null : ".";
  return slash === 0 ? (trimmed === "" ? null : "/") : trimmed.slice(0, slash);
}

export function* lockDataDirectory(files: Files, directory: string): Io<DirectoryLock> {
  try {
    return yield* lockDirectory(files, directory);
  } catch (error) {
    if (error instanceof FileError && error.code === "ELOCKED") {
      throw new HarmonyError(
        "DIRECTORY_LOCKED",
        `${directory}, ${error.message}: stop the other process or choose another directory`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** What VERSION says, or null when there is none. */
export function* readVersion(files: Files, directory: string): Io<Version | null> {
  const path = `${directory}/VERSION`;
  const content = yield* readSmallFile(files, path, VERSION_BYTES_MAX);
  return content === null ? null : parseVersion(path, content);
}

interface VersionFile {
  readonly format: { readonly major: number; readonly minor: number };
  readonly clusterId: number;
  readonly memberId: number;
  readonly walId: string;
  readonly clusterTokenDigest: string;
  readonly createdBy: string;
  /** Absent in most: before the interval mode there was none, and a run that ends in order takes it away. */
  readonly unsynced?: UnsyncedRun;
}

function parseVersion(path: string, content: string): Version {
  const { body, isSealed } = unseal(content);
  if (body !== null && !isSealed) {
    const what = "VERSION does not match its checksum";
    throw new CorruptionError({ file: path, offset: 0, what });
  }
  let parsed: Partial<VersionFile> | null;
  try {
    parsed = JSON.parse(content) as Partial<VersionFile> | null;
  } catch {
    throw new CorruptionError({ file: path, offset: 0, what: "VERSION is not JSON" });
  }
  const major = parsed?.format?.major;
  if (typeof major === "number" && Number.isInteger(major) && major > FORMAT_MAJOR) {
    throw new HarmonyError(
      "NEWER_FORMAT",
      `${path} has format ${major}, this version reads up to ${FORMAT_MAJOR}: use the version that wrote it (${String(parsed?.createdBy)})`,
    );
  }
  const { clusterId, memberId, walId, clusterTokenDigest, unsynced } = parsed ?? {};
  if (
    !isSealed ||
    major !== FORMAT_MAJOR ||
    !isId(clusterId) ||
    !isId(memberId) ||
    typeof walId !== "string" ||
    !/^[0-9a-f]{32}$/.test(walId) ||
    typeof clusterTokenDigest !== "string" ||
    !(unsynced === undefined || isUnsyncedRun(unsynced))
  ) {
    throw new CorruptionError({
      file: path,
      offset: 0,
      what: "VERSION lacks a field or holds one that cannot be",
    });
  }
  const walIdBytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) walIdBytes[i] = Number.parseInt(walId.slice(2 * i, 2 * i + 2), 16);
  return {
    clusterId,
    memberId,
    walId: walIdBytes,
    tokenDigest: clusterTokenDigest,
    unsynced: unsynced ?? null,
  };
}

function isUnsyncedRun(value: unknown): value is UnsyncedRun {
  if (typeof value !== "object" || value === null) return false;
  const { raiseTo } = value as { readonly raiseTo?: unknown };
  return raiseTo === null || isId(raiseTo);
}

function isId(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

export function* writeVersion(
  files: Files,
  directory: string,
  identity: Identity,
  unsynced: UnsyncedRun | null = null,
): Io<void> {
  assert(isId(identity.clusterId) && isId(identity.memberId), "ids are positive and safe");
  const version: VersionFile = {
    format: { major: FORMAT_MAJOR, minor: FORMAT_MINOR },
    clusterId: identity.clusterId,
    memberId: identity.memberId,
    walId: hex(identity.walId),
    clusterTokenDigest: identity.tokenDigest,
    createdBy: CREATED_BY,
    ...(unsynced === null ? {} : { unsynced }),
  };
  yield* replaceFile(files, directory, "VERSION", seal(JSON.stringify(version)));
}

/** Refuses a directory that holds anything but ours: a wrong path must not end in a mixture. */
export function* assertOursOrEmpty(files: Files, directory: string): Io<void> {
  for (const name of yield* listDirectory(files, directory)) {
    if (!OWN_NAMES.has(name) && !name.startsWith(".") && name !== "lost+found") {
      throw new HarmonyError(
        "INVALID_ARGUMENT",
        `${directory} is not a data directory and not empty: it holds ${JSON.stringify(name)}`,
      );
    }
  }
}

const DATA_FILE = /^[0-9]+\.hdb(\.new)?$/;

/** Removes the data file of an unfinished first start. The caller has made sure that there was nothing else. */
export function* removeUnfinishedData(files: Files, directory: string): Io<void> {
  const inner = `${directory}/db`;
  const names = yield* listDirectory(files, inner);
  const foreign = names.find((name) => !DATA_FILE.test(name));
  if (foreign !== undefined) {
    throw new HarmonyError(
      "INVALID_ARGUMENT",
      `${inner} is not ours: it holds ${JSON.stringify(foreign)}`,
    );
  }
  for (const name of names) yield* unlinkFile(files, `${inner}/${name}`);
  yield* syncDirectory(files, inner);
}

/** The folders inside, durable in the directory. */
export function* makeInnerDirectories(files: Files, directory: string): Io<void> {
  for (const inner of ["wal", "db", "tmp"]) {
    try {
      yield* makeDirectory(files, `${directory}/${inner}`);
    } catch (error) {
      if (!(error instanceof FileError) || error.code !== "EEXIST") throw error;
    }
  }
  yield* syncDirectory(files, directory);
}
