/**
 * Keeps zeros ahead of the appends: first in the segment that is being written, then in the next one, which waits
 * under `tmp/`. It works in small steps, one at a time, only as far ahead as the fill level asks for, so that a new
 * database costs one MiB and appends hardly notice.
 *
 * When the disk is full, the present segment becomes shorter and the next one cannot be made: `space` turns "full"
 * until it can. What was made of the next one is given back at once, because a checkpoint may need it.
 *
 * Invariants: at most one step is under way; zeros are written up to `sizeBytes` of each segment and never over a
 * frame; `sizeBytes <= targetBytes`.
 */
import { HarmonyError } from "../base/index.ts";
import {
  closeFile,
  type Env,
  type File,
  type Io,
  openFile,
  runIo,
  type Timer,
  unlinkFile,
  writeFile,
} from "../env/index.ts";
import { isNoSpace } from "./manifest.ts";
import type { ResolvedOptions } from "./options.ts";
import { initialSizeBytes, NEXT_SEGMENT, ZEROS } from "./zeros.ts";

/** Under load a step is small, so that no append waits long behind it. */
const BUSY_STEP_BYTES = 128 * 1024;
/** Fill level of the present segment at which the next one is begun, and how much faster than the log it grows. */
const NEXT_BEGINS_AT = 0.5;
const NEXT_PACE = 2.5;
const RETRY_BACKOFF_MAX = 8;

interface Prepared {
  readonly file: File;
  sizeBytes: number;
  targetBytes: number;
}

interface SupplyListener {
  /** More is prepared, or the disk has become full. */
  supplied(): void;
  spaceChanged(space: "ok" | "full"): void;
  supplyFailed(error: unknown): void;
  /** Appends wait or are on their way. */
  busy(): boolean;
}

export class SegmentSupply {
  readonly #env: Env;
  readonly #options: ResolvedOptions;
  readonly #listener: SupplyListener;
  #active: Prepared;
  #next: Prepared | null = null;
  #nextTargetBytes: number;
  /** Where the next frame goes in the present segment. */
  #offset: number;
  /** What an append that waits needs of the present segment, or of the next one. */
  #activeDemand = 0;
  #nextDemand = 0;
  #stepping = false;
  #naming = false;
  #held = false;
  #stopped = false;
  #space: "ok" | "full" = "ok";
  #retryTimer: Timer | null = null;
  #retryBackoff = 1;

  constructor(
    env: Env,
    options: ResolvedOptions,
    listener: SupplyListener,
    file: File,
    preparedBytes: number,
    offset: number,
    full: boolean,
  ) {
    this.#env = env;
    this.#options = options;
    this.#listener = listener;
    this.#active = {
      file,
      sizeBytes: preparedBytes,
      targetBytes: Math.max(preparedBytes, options.segmentSizeBytes),
    };
    this.#nextTargetBytes = options.segmentSizeBytes;
    this.#offset = offset;
    if (full) this.#becameFull();
  }

  get space(): "ok" | "full" {
    return this.#space;
  }

  /** Bytes of the present segment that may be written, and that it will have if the disk allows. */
  get activeBytes(): number {
    return this.#active.sizeBytes;
  }

  get activeTargetBytes(): number {
    return this.#active.targetBytes;
  }

  /** The next segment waits, whole. */
  get nextReady(): boolean {
    return this.#next !== null && this.#next.sizeBytes >= this.#next.targetBytes;
  }

  get nextBytes(): number {
    return this.#next?.sizeBytes ?? 0;
  }

  /** No step is under way. */
  get idle(): boolean {
    return !this.#stepping;
  }

  /** The present segment is filled up to `offset`. */
  filled(offset: number): void {
    this.#offset = offset;
    if (!this.#stepping) this.#step();
  }

  demandActive(bytes: number): void {
    this.#activeDemand = Math.max(this.#activeDemand, bytes);
    this.#step();
  }

  demandNext(bytes: number): void {
    this.#nextDemand = Math.max(this.#nextDemand, bytes);
    this.#nextTargetBytes = Math.max(this.#nextTargetBytes, bytes);
    if (this.#next !== null) this.#next.targetBytes = Math.max(this.#next.targetBytes, bytes);
    this.#step();
  }

  /** Hands the next segment over: it is the present one from now on, filled up to `offset`, and still has to be named. */
  takeNext(offset: number): File {
    const next = this.#next as Prepared;
    this.#active = next;
    this.#next = null;
    this.#naming = true;
    this.#nextTargetBytes = this.#options.segmentSizeBytes;
    this.#activeDemand = this.#nextDemand = 0;
    this.#offset = offset;
    return next.file;
  }

  /** The present segment has left `tmp/`: the next one may take its name there. */
  named(): void {
    this.#naming = false;
    this.#step();
  }

  /** Tries again at once: space has been given back. */
  retry(): void {
    if (this.#space === "ok" || this.#stopped) return;
    this.#retryTimer?.cancel();
    this.#retryTimer = null;
    this.#step();
  }

  /**
   * Begins no step until `go`. When `idle` holds as well, `giveBackNext` leaves the room of a segment that is only in
   * part made to something that needs it more.
   */
  hold(): void {
    this.#held = true;
  }

  *giveBackNext(): Io<void> {
    if (this.#next !== null && !this.nextReady) yield* this.#giveBack(this.#next);
  }

  go(): void {
    this.#held = false;
    this.#step();
  }

  stop(): void {
    this.#stopped = true;
    this.#retryTimer?.cancel();
    this.#retryTimer = null;
  }

  /** Closes the file of the next segment; the next start removes it. */
  *close(): Io<void> {
    if (this.#next !== null) yield* closeFile(this.#next.file);
    this.#next = null;
  }

  /** How far the present segment should be prepared now. */
  get #activeWanted(): number {
    const ahead = Math.max(initialSizeBytes(this.#options), 2 * this.#offset, this.#activeDemand);
    return Math.min(ahead, this.#active.targetBytes);
  }

  /** How far the next segment should be prepared now. */
  get #nextWanted(): number {
    if (this.#space === "full") return this.#nextTargetBytes;
    const level = this.#offset / this.#active.targetBytes - NEXT_BEGINS_AT;
    const paced = Math.min(1, level * NEXT_PACE) * this.#nextTargetBytes;
    return Math.max(paced, this.#nextDemand);
  }

  get #mayMakeNext(): boolean {
    return this.#retryTimer === null && !this.#naming;
  }

  /** Takes the next small step if one is due. */
  #step(): void {
    if (this.#stepping || this.#stopped || this.#held) return;
    const active = this.#active;
    let work: Io<void>;
    if (active.sizeBytes < this.#activeWanted) work = this.#extend(active);
    else if (this.#mayMakeNext && this.nextBytes < this.#nextWanted) work = this.#extendNext();
    else return;
    this.#stepping = true;
    runIo(work, (error) => {
      this.#stepping = false;
      if (error !== null) {
        this.#listener.supplyFailed(error);
        return;
      }
      this.#listener.supplied();
      this.#step();
    });
  }

  *#extend(segment: Prepared): Io<void> {
    const urgent = this.#activeDemand > 0 || this.#nextDemand > 0 || !this.#listener.busy();
    const step = Math.min(
      urgent ? ZEROS.length : BUSY_STEP_BYTES,
      segment.targetBytes - segment.sizeBytes,
    );
    try {
      yield* writeFile(segment.file, segment.sizeBytes, ZEROS.subarray(0, step));
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      if (segment === this.#active) {
        segment.targetBytes = segment.sizeBytes;
        if (!this.nextReady) this.#becameFull();
        return;
      }
      yield* this.#giveBack(segment);
      return;
    }
    segment.sizeBytes += step;
    if (segment === this.#active && segment.sizeBytes >= this.#activeDemand) this.#activeDemand = 0;
    if (segment !== this.#active && this.nextReady) this.#setSpace("ok");
  }

  *#extendNext(): Io<void> {
    if (this.#next === null) {
      const path = `${this.#options.directory}/tmp/${NEXT_SEGMENT}`;
      try {
        const file = yield* openFile(this.#env.files, path, {
          access: "readwrite",
          create: "exclusive",
          durableWrites: this.#options.fsyncIntervalMs === 0,
        });
        this.#next = { file, sizeBytes: 0, targetBytes: this.#nextTargetBytes };
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        this.#becameFull();
        return;
      }
    }
    yield* this.#extend(this.#next);
  }

  /** The next segment cannot be made now: what it took so far is given back. */
  *#giveBack(segment: Prepared): Io<void> {
    this.#next = null;
    this.#becameFull();
    yield* closeFile(segment.file);
    if (!this.#stopped) yield* unlinkFile(this.#env.files, segment.file.path);
  }

  #becameFull(): void {
    this.#setSpace("full");
    const delay = this.#options.spaceRetryMs * this.#retryBackoff;
    this.#retryBackoff = Math.min(this.#retryBackoff * 2, RETRY_BACKOFF_MAX);
    this.#retryTimer?.cancel();
    this.#retryTimer = this.#env.timers.after(delay, () => {
      this.#retryTimer = null;
      this.#step();
    });
  }

  #setSpace(space: "ok" | "full"): void {
    if (space === "ok") this.#retryBackoff = 1;
    if (this.#space === space) return;
    this.#space = space;
    this.#env.log(
      space === "full" ? "error" : "info",
      "wal",
      space === "full" ? "the disk is full" : "the disk has room again",
      {
        code: "DISK_FULL",
      },
    );
    this.#listener.spaceChanged(space);
  }
}

export function stopped(cause: unknown): HarmonyError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new HarmonyError("STOPPED", detail, { maybeApplied: true, cause });
}
