/**
 * The snapshots of a node, as files: made, named, found again, and deleted when newer ones have taken their place.
 *
 * The order of a new one (requirements C7, fault-rules D27): written under `tmp/`, synced, renamed into its place, both
 * directories synced; then a record in the log names it; then the ones that it supersedes are deleted. So a record never
 * names a file that may be missing, and a file without a record is only one more snapshot. What a crash leaves under
 * `tmp/` is removed at the next start.
 *
 * A snapshot that cannot be written is dropped, whatever the error: nothing depends on it, and nothing of it is used
 * again. So unlike a failed write of the log that does not end the node.
 */
import { equalBytes, HarmonyError } from "../base/index.ts";
import type { Version } from "../btree/index.ts";
import {
  closeFile,
  type Env,
  type File,
  FileError,
  type Files,
  type Io,
  listDirectory,
  makeDirectory,
  openFile,
  renameFile,
  syncDirectory,
  syncFile,
  unlinkFile,
  unlinkIfThere,
} from "../env/index.ts";
import type { GroupId } from "../raft/index.ts";
import type { SnapshotRecord } from "../wal/index.ts";
import { damaged, type SnapshotDescription } from "./format.ts";
import {
  isLeftover,
  parseSnapshotName,
  snapshotFileName,
  type SnapshotName,
  temporaryName,
} from "./names.ts";
import { type SnapshotInfo, verifySnapshot } from "./reader.ts";
import { writeSnapshot } from "./writer.ts";

/** A snapshot that was found and checked. */
export interface FoundSnapshot extends SnapshotInfo {
  readonly path: string;
  /** Below `snap/`. */
  readonly fileName: string;
}

export class SnapshotStore {
  readonly #env: Env;
  readonly #directory: string;

  private constructor(env: Env, directory: string) {
    this.#env = env;
    this.#directory = directory;
  }

  /** Removes what unfinished work left in the data directory, and makes durable what is there. */
  static *open(env: Env, directory: string): Io<SnapshotStore> {
    const { files } = env;
    const temporary = `${directory}/tmp`;
    for (const name of yield* listDirectory(files, temporary)) {
      if (isLeftover(name)) yield* unlinkIfThere(files, `${temporary}/${name}`);
    }
    // A process that died may have left names that only this machine's memory has. The new name before the old one.
    for (const group of yield* listIfThere(env, `${directory}/snap`)) {
      yield* syncDirectory(files, `${directory}/snap/${group}`);
    }
    yield* syncDirectory(files, temporary);
    return new SnapshotStore(env, directory);
  }

  /** Where a record's file lies. */
  path(fileName: string): string {
    return `${this.#directory}/snap/${fileName}`;
  }

  /** Where a snapshot that arrives is put together, before `keep`. A start removes it. */
  temporaryPath(name: SnapshotName): string {
    return `${this.#directory}/tmp/${temporaryName(name)}`;
  }

  /** The snapshots of a group by their names, the newest first. Nothing is read. */
  *list(group: GroupId): Io<SnapshotName[]> {
    const found: SnapshotName[] = [];
    for (const name of yield* listIfThere(this.#env, `${this.#directory}/snap/${group}`)) {
      const parsed = parseSnapshotName(group, name);
      if (parsed !== null) found.push(parsed);
    }
    return found.sort((a, b) => b.index - a.index || b.term - a.term);
  }

  /**
   * Makes a snapshot of `version`, durable under its name. The version belongs to the caller, who took it and the
   * description in one go. Returns what a record in the log has to say. Throws FileError; nothing is left then. It is
   * written through `files`, which may take their time.
   */
  *create(
    version: Version,
    description: SnapshotDescription,
    files: Files = this.#env.files,
  ): Io<SnapshotRecord> {
    const { meta, group } = description;
    const name = { group, term: meta.term, index: meta.index };
    const temporary = this.temporaryPath(name);
    const written = yield* this.#writeSynced(files, temporary, version, description);
    const fileName = yield* this.keep(temporary, name);
    return { meta, fileName, ...written, installed: false };
  }

  *#writeSynced(
    files: Files,
    path: string,
    version: Version,
    description: SnapshotDescription,
  ): Io<{ readonly sizeBytes: number; readonly sha256: Uint8Array }> {
    yield* unlinkIfThere(files, path);
    const file = yield* openFile(files, path, { access: "readwrite", create: "exclusive" });
    try {
      const { sizeBytes, sha256 } = yield* writeSnapshot(
        file,
        this.#env.sha256(),
        version,
        description,
      );
      yield* syncFile(file);
      yield* closeFile(file);
      return { sizeBytes, sha256 };
    } catch (error) {
      yield* this.#drop(file, path);
      throw error;
    }
  }

  /** On a full disk what was begun must not take the room that is left. */
  *#drop(file: File, path: string): Io<void> {
    try {
      yield* closeFile(file);
      yield* unlinkIfThere(this.#env.files, path);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      this.#env.log("warn", "snapshot", "what is left of a snapshot is removed at the next start", {
        file: path,
        error: error.message,
      });
    }
  }

  /** Gives a whole, synced file under `tmp/` its name, durably. Returns that name below `snap/`. */
  *keep(temporary: string, name: SnapshotName): Io<string> {
    const { files } = this.#env;
    const fileName = snapshotFileName(name);
    yield* this.#makeDirectories(name.group);
    yield* renameFile(files, temporary, this.path(fileName));
    yield* syncDirectory(files, this.path(String(name.group)));
    yield* syncDirectory(files, `${this.#directory}/tmp`);
    return fileName;
  }

  *#makeDirectories(group: GroupId): Io<void> {
    const { files } = this.#env;
    for (const [parent, name] of [
      [this.#directory, "snap"],
      [`${this.#directory}/snap`, String(group)],
    ] as const) {
      try {
        yield* makeDirectory(files, `${parent}/${name}`);
      } catch (error) {
        if (!(error instanceof FileError) || error.code !== "EEXIST") throw error;
      }
      // Also when it was there: whoever made it may have ended before its name was durable.
      yield* syncDirectory(files, parent);
    }
  }

  /** The newest snapshot of a group that is whole; one that is not is passed over, with a word in the log. */
  *newest(group: GroupId): Io<FoundSnapshot | null> {
    for (const name of yield* this.list(group)) {
      const fileName = snapshotFileName(name);
      try {
        return yield* this.#check(this.#env.files, fileName, name);
      } catch (error) {
        if (!(error instanceof HarmonyError)) throw error;
        this.#env.log("error", "snapshot", "a snapshot is damaged: the one before it is used", {
          file: this.path(fileName),
          error: error.message,
        });
      }
    }
    return null;
  }

  /** Checks the file that a record names, and that it is the file that the record means. Throws CORRUPT. */
  *check(
    record: SnapshotRecord,
    group: GroupId,
    files: Files = this.#env.files,
  ): Io<FoundSnapshot> {
    const { index, term } = record.meta;
    const found = yield* this.#check(files, record.fileName, { group, term, index });
    if (found.sizeBytes !== record.sizeBytes || !equalBytes(found.sha256, record.sha256)) {
      throw damaged(found.path, 0, "it is not the snapshot that the log names");
    }
    return found;
  }

  *#check(files: Files, fileName: string, { group, term, index }: SnapshotName): Io<FoundSnapshot> {
    const path = this.path(fileName);
    const file = yield* openFile(files, path, { access: "read" });
    try {
      const info = yield* verifySnapshot(file, this.#env.sha256());
      const { header } = info;
      if (header.group !== group || header.meta.term !== term || header.meta.index !== index) {
        throw new HarmonyError("SNAPSHOT_MISMATCH", `${path} is not what its name says`);
      }
      return { ...info, path, fileName };
    } finally {
      yield* closeFile(file);
    }
  }

  /**
   * Deletes all but the newest `keep` snapshots of a group and the one that the log names. Call it only when a durable
   * record names a snapshot that supersedes them.
   */
  *prune(group: GroupId, keep: number, named: string | null): Io<number> {
    const all = yield* this.list(group);
    let removed = 0;
    // The oldest first: whatever a crash leaves are the newest.
    for (const name of all.slice(Math.max(1, keep)).toReversed()) {
      const fileName = snapshotFileName(name);
      if (fileName === named) continue;
      yield* unlinkFile(this.#env.files, this.path(fileName));
      removed++;
    }
    if (removed > 0) yield* syncDirectory(this.#env.files, this.path(String(group)));
    return removed;
  }
}

function* listIfThere(env: Env, directory: string): Io<readonly string[]> {
  try {
    return yield* listDirectory(env.files, directory);
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return [];
    throw error;
  }
}
