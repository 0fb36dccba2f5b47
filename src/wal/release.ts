/**
 * Letting go of the log's beginning: checkpoints arrive, a manifest that says so becomes durable, and then the segments
 * go that no group needs. One round at a time, off the write path; what arrives meanwhile shares the next one.
 *
 * Invariants:
 * - A manifest is written only when everything acknowledged is durable: what it says of commits and of places in the
 *   log then is durable, too.
 * - A segment is removed only after a manifest that does not name it is durable, and then only if no group needs an
 *   entry in it and a later segment's header carries every HardState (D25, D26).
 * - As many bytes as were asked for last stay before the end of the log, needed here or not: others may be behind.
 * - `manifestLsn` is what the manifest on the disk says of the log's end, or less.
 */
import { HarmonyError } from "../base/index.ts";
import {
  closeFile,
  FileError,
  type Files,
  type Io,
  runIo,
  syncDirectory,
  unlinkFile,
} from "../env/index.ts";
import type { GroupId } from "../raft/index.ts";
import type { GroupTable } from "./group-state.ts";
import type { LiveSegment } from "./live-segment.ts";
import { isNoSpace, manifestOf, writeManifest } from "./manifest.ts";
import type { SegmentSupply } from "./segment-supply.ts";
import type { AppendDone, GroupCheckpoint, Lsn, WalIdentity } from "./types.ts";

interface Release {
  readonly group: GroupId;
  readonly checkpoint: GroupCheckpoint;
  readonly keepBytes: number;
  readonly done: AppendDone;
}

/** The log as a release sees it. */
interface ReleaseConfig {
  readonly files: Files;
  readonly directory: string;
  readonly identity: WalIdentity;
  /** In order; the last one is being written. */
  readonly segments: LiveSegment[];
  readonly groups: GroupTable;
  readonly supply: SegmentSupply;
  readonly durableLsn: () => Lsn;
  readonly failed: () => HarmonyError | null;
  /** Returns when everything acknowledged is durable, in that very moment. */
  readonly sync: () => Io<void>;
  readonly until: (condition: () => boolean) => Io<void>;
  /** Drives `io` until the log fails. */
  readonly whileSound: (io: Io<void>) => Io<void>;
  readonly fail: (error: unknown) => void;
  /** A round has ended. */
  readonly ended: () => void;
}

export class Releases {
  readonly #config: ReleaseConfig;
  #waiting: Release[] = [];
  #isRunning = false;
  #isManifestWanted = false;
  #keepBytes = 0;
  #generation: number;
  #manifestLsn: Lsn;

  /** `generation` and `manifestLsn` are those of the manifest on the disk. */
  constructor(config: ReleaseConfig, generation: number, manifestLsn: Lsn) {
    this.#config = config;
    this.#generation = generation;
    this.#manifestLsn = manifestLsn;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  get manifestLsn(): Lsn {
    return this.#manifestLsn;
  }

  add(release: Release): void {
    this.#waiting.push(release);
    this.#run();
  }

  /** Writes a manifest although nothing was released. */
  renewManifest(): void {
    this.#isManifestWanted = true;
    this.#run();
  }

  /** The log has failed: those whose round has not begun are told. */
  abandon(error: HarmonyError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { done } of waiting) done(error);
  }

  #run(): void {
    const { groups, whileSound, failed, fail, supply, ended } = this.#config;
    if (this.#isRunning || failed() !== null) return;
    if (this.#waiting.length === 0 && !this.#isManifestWanted) return;
    this.#isRunning = true;
    this.#isManifestWanted = false;
    const releases = this.#waiting;
    this.#waiting = [];
    for (const { group, checkpoint, keepBytes } of releases) {
      groups.of(group).checkpoint = checkpoint;
      this.#keepBytes = keepBytes;
    }
    runIo(whileSound(this.#steps()), (error) => {
      this.#isRunning = false;
      if (error !== null && !isNoSpace(error)) {
        fail(error);
        for (const { done } of releases) done(failed());
        ended();
        return;
      }
      const full = error instanceof FileError && error.isFull;
      const result =
        error === null
          ? null
          : new HarmonyError(full ? "DISK_FULL" : "IO", (error as FileError).message, {
              cause: error,
            });
      if (result === null) supply.retry();
      for (const { done } of releases) done(result);
      this.#run();
      ended();
    });
  }

  *#steps(): Io<void> {
    const { supply, until } = this.#config;
    const full = supply.space === "full";
    if (full) {
      // The attempt to make the next segment must not take the room that the manifest needs.
      supply.hold();
      yield* until(() => supply.idle);
      yield* supply.giveBackNext();
    }
    try {
      yield* this.#removeFree();
    } finally {
      if (full) supply.go();
    }
  }

  /** Manifest first, durable; then the segments that it names no more. */
  *#removeFree(): Io<void> {
    const { files, directory, identity, segments, groups, durableLsn, sync } = this.#config;
    yield* sync();
    const removable = this.#removable();
    const kept = segments.slice(removable);
    this.#generation++;
    const manifest = manifestOf(identity, this.#generation, durableLsn(), kept, groups);
    yield* writeManifest(files, directory, manifest);
    this.#manifestLsn = manifest.durableLsn;
    if (removable === 0) return;
    const removed = segments.splice(0, removable);
    const beginLsn = (segments[0] as LiveSegment).firstLsn;
    for (const { log } of groups.all()) log.forgetBelow(beginLsn);
    let open: LiveSegment[] = [...removed];
    try {
      for (const segment of removed) {
        yield* unlinkFile(files, segment.path);
        // One after the other: a power loss may keep any of the names whose removal is not synced, and the log that is
        // found must have no gap.
        yield* syncDirectory(files, `${directory}/wal`);
        open = open.slice(1);
        yield* closeFile(segment.file);
      }
    } finally {
      // The log knows them no more, so nobody else would close them.
      for (const segment of open) yield* closeFile(segment.file);
    }
  }

  /** How many segments from the front are needed by no group. The present one always stays. */
  #removable(): number {
    const { segments } = this.#config;
    let count = 0;
    while (count < segments.length - 1 && this.#isFree(segments[count] as LiveSegment)) count++;
    return count;
  }

  #isFree(segment: LiveSegment): boolean {
    const { groups, durableLsn } = this.#config;
    if (durableLsn() - segment.endLsn < this.#keepBytes) return false;
    for (const [group, highest] of segment.highest) {
      if (highest > groups.of(group).checkpoint.olderAppliedIndex) return false;
    }
    return true;
  }
}
