/**
 * MEMBERS: who the members are, as far as the state here says, and with which directory each node was met. Only a node that
 * has others beside it, or had, keeps one. It is written before VERSION at the first start. It is replaced when the members
 * have changed, and when a node is met for the first time, before that one is talked to: from then on its id with another
 * directory is known for a disk that was wiped (fault-rules R13), whatever happens to this process. What counts is the
 * replicated state; who is asked when that is damaged stands here. No checkpoint names others before the file is there, so
 * that one that was deleted is missed.
 *
 * Invariants, of each file that is ever on the disk:
 * 1. It has the directory of everybody that this node has talked to and whose removal is not durable here, whether it is
 *    listed or not: a member whose removal is forgotten with the power is one again.
 * 2. Soon after a removal is applied, the removed one is not listed. Where a crash comes between, the next start sees to it.
 */
import { CorruptionError, type Damage, hex } from "../base/index.ts";
import { type Env, FileError, type Io, runIo, type Timer } from "../env/index.ts";
import type { NodeId } from "../raft/index.ts";
import type { Member } from "../replica/index.ts";
import { readSmallFile, replaceFile, seal, unseal } from "./sealed-file.ts";

const FORMAT = 1;
const BYTES_MAX: number = 256 * 1024;
const WAL_ID = /^[0-9a-f]{32}$/;
/** Until the next attempt at what could not be written, on a full disk say. */
const AGAIN_MS = 10_000;

interface FileMember {
  readonly id: number;
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Absent: not met yet. */
  readonly walId?: string;
}

/** A node that was met and is not listed: others spoke of it, or its removal is not durable yet. */
interface FileMeeting {
  readonly id: number;
  readonly walId: string;
}

interface FileContent {
  readonly members: readonly FileMember[];
  readonly met: readonly FileMeeting[];
  readonly removal: string | null;
}

export class MembersFile {
  readonly walIds: Map<NodeId, Uint8Array>;
  #members: readonly Member[];
  /** How this member learned that it was removed; null while it belongs. */
  #removal: string | null = null;
  readonly #env: Env;
  readonly #directory: string;
  /** What the directory has for certain; null: something else, or nothing. */
  #written: string | null = null;
  #isKept = false;
  /** Who waits for what is not written yet; null while nothing is being written. */
  #waiting: ((error: Error | null) => void)[] | null = null;
  #again: Timer | null = null;
  #isEnded = false;

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
    yield* this.#saved();
  }

  /**
   * The state says that these are the members. Of the others those are needed for nothing any more whose removal is durable
   * here; until then one of them may be a member again after a power loss, and is still known by its directory.
   */
  become(members: readonly Member[], removed: ReadonlySet<NodeId>): void {
    this.#members = members;
    for (const id of removed) this.walIds.delete(id);
    this.#update();
  }

  /** Null when the directory has none: its node is alone. */
  static *read(env: Env, directory: string): Io<MembersFile | null> {
    const path = `${directory}/MEMBERS`;
    const content = yield* readSmallFile(env.files, path, BYTES_MAX);
    if (content === null) return null;
    const parsed = parse(content);
    if (parsed === null) {
      throw new CorruptionError({
        file: path,
        offset: 0,
        what: "MEMBERS does not match its checksum, or lacks a field: put it back from a copy of this directory",
      });
    }
    const walIds = new Map<NodeId, Uint8Array>();
    for (const { id, walId } of [...parsed.members, ...parsed.met])
      if (walId !== undefined) walIds.set(id, bytesOf(walId));
    const members = parsed.members.map(({ id, name, peerUrls }) => ({ id, name, peerUrls }));
    const file = new MembersFile(env, directory, members, walIds);
    file.#removal = parsed.removal;
    file.#written = content;
    file.#isKept = true;
    return file;
  }

  *write(): Io<void> {
    const content = this.#content();
    if (content === this.#written) return;
    this.#written = null;
    yield* replaceFile(this.#env.files, this.#directory, "MEMBERS", content);
    this.#written = content;
    this.#isKept = true;
  }

  /** What nobody reaches by a URL is not listed. */
  #content(): string {
    const listed = this.#members
      .filter(({ peerUrls }) => peerUrls.length > 0)
      .toSorted((a, b) => a.id - b.id);
    const members: FileMember[] = listed.map(({ id, name, peerUrls }) => {
      const walId = this.walIds.get(id);
      return { id, name, peerUrls, ...(walId === undefined ? {} : { walId: hex(walId) }) };
    });
    const met: FileMeeting[] = [...this.walIds]
      .filter(([id]) => !listed.some((member) => member.id === id))
      .toSorted(([a], [b]) => a - b)
      .map(([id, walId]) => ({ id, walId: hex(walId) }));
    return seal(
      JSON.stringify({
        format: FORMAT,
        members,
        ...(met.length === 0 ? {} : { met }),
        ...(this.#removal === null ? {} : { removal: this.#removal }),
      }),
    );
  }

  /** The file is there, or is made. */
  *keep(): Io<void> {
    if (!this.#isKept) yield* this.#saved();
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

  /** Nothing is begun any more but what somebody waits for. */
  end(): void {
    this.#isEnded = true;
    this.#again?.cancel();
  }

  /** Calls `done` when nothing is being written. */
  whenQuiet(done: () => void): void {
    if (this.#waiting === null) done();
    else this.#waiting.push(() => this.whenQuiet(done));
  }

  /** Nobody waits for it: the next start would do it as well. */
  #update(): void {
    if (!this.#isKept || this.#isEnded) return;
    this.#again?.cancel();
    this.#again = null;
    this.#save((error) => {
      if (error === null || this.#isEnded) return;
      this.#env.log("warn", "node", "MEMBERS cannot be written: tried again", {
        error: error.message,
      });
      this.#again ??= this.#env.timers.after(AGAIN_MS, () => this.#update());
    });
  }

  *#saved(): Io<void> {
    yield (done) => {
      // Errors of `write` other than those of files are thrown before this is called.
      this.#save((error) => done(error as FileError | null, undefined));
    };
  }

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

function parse(content: string): FileContent | null {
  if (!unseal(content).isSealed) return null;
  let parsed: { readonly [field in "format" | "members" | "met" | "removal"]?: unknown };
  try {
    parsed = JSON.parse(content) as typeof parsed;
  } catch {
    return null;
  }
  const { format, members, met = [], removal } = parsed;
  if (format !== FORMAT || !Array.isArray(members) || !Array.isArray(met)) return null;
  if (!members.every(isFileMember) || !met.every(isFileMeeting)) return null;
  return { members, met, removal: typeof removal === "string" ? removal : null };
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

function isFileMeeting(value: unknown): value is FileMeeting {
  if (typeof value !== "object" || value === null) return false;
  const { id, walId } = value as Partial<FileMeeting>;
  return Number.isSafeInteger(id) && typeof walId === "string" && WAL_ID.test(walId);
}

function bytesOf(walId: string): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) =>
    Number.parseInt(walId.slice(2 * i, 2 * i + 2), 16),
  );
}
