/**
 * Pulling a snapshot from another member into a file: asked for on a call of its own, taken as fast as the disk here
 * takes it, and kept by nobody before all of it has come.
 *
 *     hello ▸ ◂ welcome   ask, room ▸   ◂ head, chunk, chunk, ...   more room ▸   ... checked here ...   taken ▸
 *
 * What has come when a link breaks is kept: the next attempt goes on from there, if the other has the very same file.
 *
 * Whether the file is what it says is not known here: it has come in one piece, as whoever sent it read it. It needs no
 * running node, so that one which is about to join, or has lost its state, can begin with one.
 */
import { equalBytes, HarmonyError } from "../../base/index.ts";
import type { PeerFrame, PeerRefusal, Welcome } from "../../codec/index.ts";
import {
  closeFile,
  type Env,
  type File,
  FileError,
  type Io,
  type Links,
  openFile,
  unlinkIfThere,
  writeFile,
} from "../../env/index.ts";
import type { GroupId, LogIndex, NodeId, Term } from "../../raft/index.ts";
import { PeerCall } from "../peers/call.ts";
import { helloTo } from "../peers/handshake.ts";
import type { Self } from "../peers/membership.ts";

/** What may be under way to here, or wait here for the disk. */
const ROOM_BYTES: number = 1024 * 1024;
/** Room is granted in pieces of this size at least. */
const MORE_BYTES: number = 256 * 1024;

export interface PullConfig {
  readonly env: Env;
  readonly links: Links;
  readonly self: Self;
  /** Who is asked, and where it listens: one URL after the other is tried. */
  readonly from: NodeId;
  readonly urls: readonly string[];
  /** Whether the one that answers is the one that was meant. Null: it is. */
  readonly judge: (welcome: Welcome) => PeerRefusal | null;
  readonly group: GroupId;
  readonly indexAtLeast: LogIndex;
  /** Where the file is put together. What is there is removed, unless it is `partial`. */
  readonly into: string;
  /** What an earlier attempt left there. */
  readonly partial?: PartialSnapshot | null | undefined;
  /** Told of bytes that have come. */
  readonly received?: ((bytes: number) => void) | undefined;
}

/** A snapshot that has come in one piece, not synced. */
export interface PulledSnapshot {
  readonly path: string;
  readonly index: LogIndex;
  readonly term: Term;
  readonly sizeBytes: number;
  /** As the one that sent it has it in its log. */
  readonly sha256: Uint8Array;
}

/** The first bytes of a snapshot, in a file that was not synced. */
export interface PartialSnapshot {
  readonly sha256: Uint8Array;
  readonly offset: number;
}

/** One attempt. `run` is called once; then one of `taken` and `refuse`, when it has brought something. */
export class SnapshotPull {
  readonly #config: PullConfig;
  #call: PeerCall | null = null;
  #stopped: HarmonyError | null = null;
  #partial: PartialSnapshot | null;

  constructor(config: PullConfig) {
    this.#config = config;
    this.#partial = config.partial ?? null;
  }

  /** After a `run` that threw: what it left in the file; null: there is no file. */
  get partial(): PartialSnapshot | null {
    return this.#partial;
  }

  /** Throws PEER_FAILED, and keeps what has come (`partial`); FileError, or what `stop` was given, and leaves nothing. */
  *run(): Io<PulledSnapshot> {
    const { urls } = this.#config;
    let failed: unknown = new HarmonyError("PEER_FAILED", "no peer URL is known");
    for (const url of urls) {
      try {
        yield* this.#open(url);
        return yield* this.#pull();
      } catch (error) {
        this.#call?.end(new HarmonyError("CLOSED"));
        this.#call = null;
        if (this.#stopped !== null) {
          yield* this.#drop(null);
          throw this.#stopped;
        }
        if (!(error instanceof HarmonyError)) {
          yield* this.#drop(null);
          throw error;
        }
        failed = error;
      }
    }
    throw failed;
  }

  /** The file was checked and can be installed: whoever sent it goes on from where it ends. */
  taken(): void {
    this.#call?.send({ kind: "taken" });
    this.#call?.end(new HarmonyError("CLOSED"));
  }

  /** The file is not what it should be, or finds no room: whoever sent it is told. */
  refuse(error: HarmonyError): void {
    this.#call?.send({ kind: "refusal", code: error.code, detail: error.message });
    this.#call?.end(error);
  }

  /** Ends it wherever it stands. */
  stop(why: HarmonyError): void {
    this.#stopped ??= why;
    this.#call?.end(why);
  }

  *#open(url: string): Io<void> {
    if (this.#stopped !== null) throw this.#stopped;
    const { env, links, self, from, judge } = this.#config;
    const hello = { ...helloTo(self, from), purpose: "snapshot" as const };
    const call = new PeerCall({ env, links, url, hello, judge });
    this.#call = call;
    yield* call.next();
  }

  *#pull(): Io<PulledSnapshot> {
    const { into, group, indexAtLeast } = this.#config;
    const call = this.#call as PeerCall;
    const has = this.#partial;
    call.send({ kind: "ask", group, indexAtLeast, bytes: ROOM_BYTES, has });
    const head = yield* call.next();
    if (head.kind !== "head" || head.index < indexAtLeast) {
      throw outOfTurn("it does not say which snapshot comes");
    }
    const file = yield* this.#begin(head);
    try {
      yield* this.#fill(file, head);
      yield* closeFile(file);
    } catch (error) {
      if (error instanceof FileError) {
        yield* this.#drop(file);
        this.refuse(fileFailure(error));
      } else yield* closeFile(file);
      throw error;
    }
    this.#partial = null;
    const { index, term, sizeBytes, sha256 } = head;
    return { path: into, index, term, sizeBytes, sha256 };
  }

  /** The file that goes on where the chunks begin. */
  *#begin({ sha256, offset }: Head): Io<File> {
    const { env, into } = this.#config;
    const has = this.#partial;
    if (offset > 0) {
      const goesOn = has !== null && has.offset === offset && equalBytes(has.sha256, sha256);
      if (!goesOn) throw outOfTurn("it goes on where it was not asked to");
      return yield* openFile(env.files, into, { access: "readwrite" });
    }
    this.#partial = null;
    yield* unlinkIfThere(env.files, into);
    return yield* openFile(env.files, into, { access: "readwrite", create: "exclusive" });
  }

  *#fill(file: File, { offset: from, sizeBytes, sha256 }: Head): Io<void> {
    const call = this.#call as PeerCall;
    let offset = from;
    let room = 0;
    while (offset < sizeBytes) {
      const chunk = takeChunk(yield* call.next(), offset, sizeBytes);
      yield* writeFile(file, offset, chunk);
      offset += chunk.length;
      room += chunk.length;
      this.#partial = { sha256, offset };
      this.#config.received?.(chunk.length);
      if (room < MORE_BYTES || offset === sizeBytes) continue;
      call.send({ kind: "more", bytes: room });
      room = 0;
    }
  }

  /** On a full disk what was begun must not take the room that is left. */
  *#drop(file: File | null): Io<void> {
    const { env, into } = this.#config;
    this.#partial = null;
    try {
      if (file !== null) yield* closeFile(file);
      yield* unlinkIfThere(env.files, into);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      env.log("warn", "snapshot", "what is left of a snapshot is removed at the next start", {
        file: into,
        error: error.message,
      });
    }
  }
}

type Head = Extract<PeerFrame, { readonly kind: "head" }>;

/** The bytes that follow. Throws PEER_FAILED for anything else. */
function takeChunk(frame: PeerFrame, offset: number, sizeBytes: number): Uint8Array {
  const { kind } = frame;
  if (kind !== "chunk" || frame.offset !== offset || frame.data.length === 0)
    throw outOfTurn("a piece of the snapshot is missing");
  if (frame.data.length > sizeBytes - offset)
    throw outOfTurn("there is more of the snapshot than was said");
  return frame.data;
}

function outOfTurn(what: string): HarmonyError {
  return new HarmonyError("PEER_FAILED", what);
}

/** What a file operation failed with, for whoever sends. */
function fileFailure(error: FileError): HarmonyError {
  return new HarmonyError(error.isFull ? "DISK_FULL" : "IO", error.message, { cause: error });
}

/** Whether what was checked is what was meant to come. */
export function isPulled(
  pulled: PulledSnapshot,
  found: { readonly sizeBytes: number; readonly sha256: Uint8Array },
): boolean {
  return pulled.sizeBytes === found.sizeBytes && equalBytes(pulled.sha256, found.sha256);
}
