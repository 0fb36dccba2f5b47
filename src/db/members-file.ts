/**
 * MEMBERS: with which directory each member of the cluster was met, and who they were when it was written. Only a node
 * that has others beside it, or had, keeps one. It is written before VERSION at the first start and replaced when a
 * member is met for the first time, before that member is talked to: from then on its id with another directory is known
 * for a disk that was wiped (fault-rules R13), whatever happens to this process. Who the members are now stands in the
 * replicated state. No checkpoint names others before the file is there, so that one that was deleted is missed.
 */
import { CorruptionError, type Damage, hex } from "../base/index.ts";
import { type Env, FileError, type Io, runIo } from "../env/index.ts";
import type { NodeId } from "../raft/index.ts";
import type { Member } from "../replica/index.ts";
import { readSmallFile, replaceFile, seal, unseal } from "./sealed-file.ts";

const FORMAT = 1;
const BYTES_MAX: number = 256 * 1024;
const WAL_ID = /^[0-9a-f]{32}$/;

interface FileMember {
  readonly id: number;
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Absent: not met yet. */
  readonly walId?: string;
}

export class MembersFile {
  readonly walIds: Map<NodeId, Uint8Array>;
  #members: readonly Member[];
  /** How this member learned that it was removed; null while it belongs. */
  #removal: string | null = null;
  readonly #env: Env;
  readonly #directory: string;
  #isKept = false;
  /** Who waits for what is not written yet; null while nothing is being written. */
  #waiting: ((error: Error | null) => void)[] | null = null;

  constructor(
    env: Env,
    directory: string,
    members: readonly Member[],
    walIds: ReadonlyMap<NodeId, Uint8Array>,
  ) {
    this.#env = env;
    this.#directory = directory;
    this.#members = members;
    this.walIds = new Map(walIds);
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  /** The directory has the file. */
  get isKept(): boolean {
    return this.#isKept;
  }

  get removal(): string | null {
    return this.#removal;
  }

  /** This member was removed, and the others know it for good: the directory opens no more. */
  *markRemoved(how: string): Io<void> {
    this.#removal = how;
    yield* this.write();
  }

  /** What the file says of members from its next writing on. */
  become(members: readonly Member[]): void {
    this.#members = members;
  }

  /** Null when the directory has none: its node is alone. */
  static *read(env: Env, directory: string): Io<MembersFile | null> {
    const path = `${directory}/MEMBERS`;
    const content = yield* readSmallFile(env.files, path, BYTES_MAX);
    if (content === null) return null;
    const parsed = parse(content);
    const removal = removalIn(content);
    if (parsed === null) {
      throw new CorruptionError({
        file: path,
        offset: 0,
        what: "MEMBERS does not match its checksum, or lacks a field: put it back from a copy of this directory",
      });
    }
    const walIds = new Map<NodeId, Uint8Array>();
    for (const { id, walId } of parsed) if (walId !== undefined) walIds.set(id, bytesOf(walId));
    const members = parsed.map(({ id, name, peerUrls }) => ({ id, name, peerUrls }));
    const file = new MembersFile(env, directory, members, walIds);
    file.#removal = removal;
    file.#isKept = true;
    return file;
  }

  *write(): Io<void> {
    const members: FileMember[] = this.#members
      .filter(({ peerUrls }) => peerUrls.length > 0)
      .map(({ id, name, peerUrls }) => {
        const walId = this.walIds.get(id);
        return { id, name, peerUrls, ...(walId === undefined ? {} : { walId: hex(walId) }) };
      });
    const removal = this.#removal === null ? {} : { removal: this.#removal };
    const json = JSON.stringify({ format: FORMAT, members, ...removal });
    yield* replaceFile(this.#env.files, this.#directory, "MEMBERS", seal(json));
    this.#isKept = true;
  }

  /** The file is there, or is made. */
  *keep(): Io<void> {
    if (this.#isKept) return;
    yield (done) => {
      // Errors of `write` other than those of files are thrown before this is called.
      this.#save((error) => done(error as FileError | null, undefined));
    };
  }

  /** A member is met for the first time. Several at once share a write. */
  readonly remember = (
    id: NodeId,
    walId: Uint8Array,
    done: (error: Error | null) => void,
  ): void => {
    this.walIds.set(id, walId);
    this.#save(done);
  };

  #save(done: (error: Error | null) => void): void {
    if (this.#waiting !== null) {
      this.#waiting.push(done);
      return;
    }
    this.#waiting = [];
    this.#replace([done]);
  }

  #replace(told: readonly ((error: Error | null) => void)[]): void {
    runIo(this.write(), (thrown) => {
      const error =
        thrown === null ? null : thrown instanceof Error ? thrown : new Error("unknown");
      if (error !== null && !(error instanceof FileError)) throw error;
      const waiting = this.#waiting ?? [];
      if (waiting.length > 0) {
        this.#waiting = [];
        this.#replace(waiting);
      } else this.#waiting = null;
      for (const done of told) done(error);
    });
  }
}

/** What is wrong with MEMBERS where there is one. */
export function* membersDamage(env: Env, directory: string): Io<Damage | null> {
  try {
    yield* MembersFile.read(env, directory);
    return null;
  } catch (error) {
    if (error instanceof CorruptionError) return error.damage;
    throw error;
  }
}

function parse(content: string): readonly FileMember[] | null {
  if (!unseal(content).isSealed) return null;
  let parsed: { readonly format?: unknown; readonly members?: unknown };
  try {
    parsed = JSON.parse(content) as typeof parsed;
  } catch {
    return null;
  }
  const { format, members } = parsed;
  if (format !== FORMAT || !Array.isArray(members)) return null;
  return members.every(isFileMember) ? members : null;
}

/** Of a file that `parse` reads. */
function removalIn(content: string): string | null {
  if (!unseal(content).isSealed) return null;
  try {
    const { removal } = JSON.parse(content) as { readonly removal?: unknown };
    return typeof removal === "string" ? removal : null;
  } catch {
    return null;
  }
}

function isFileMember(value: unknown): value is FileMember {
  if (typeof value !== "object" || value === null) return false;
  const { id, name, peerUrls, walId } = value as Partial<FileMember>;
  return (
    Number.isSafeInteger(id) &&
    typeof name === "string" &&
    Array.isArray(peerUrls) &&
    peerUrls.length > 0 &&
    peerUrls.every((url) => typeof url === "string") &&
    (walId === undefined || WAL_ID.test(walId))
  );
}

function bytesOf(walId: string): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) =>
    Number.parseInt(walId.slice(2 * i, 2 * i + 2), 16),
  );
}
