/**
 * Rare paths of the storage world, told from the operations on the disk and from what the log reports of a start:
 * the code under test does not know of them.
 */
import type { Operation } from "../src/env/sim/index.ts";
import type { GroupId } from "../src/raft/index.ts";
import type { Marks } from "./marks.ts";
import type { Storage } from "./storage.ts";
import { fileClassOf } from "./storage-steps.ts";

export const STORAGE_MARKS: readonly string[] = [
  "storage: torn tail cut",
  "storage: unproven tail rewritten",
  "storage: segment rolled",
  "storage: crash inside a roll",
  "storage: segment released",
  "storage: HardState carried only by a segment header",
  "storage: older meta used",
  "storage: manifest rebuilt",
  "storage: recovery crashed and repeated",
  "storage: checkpoint interrupted between pages and meta",
  "storage: checkpoint interrupted at its meta",
  "storage: vote slot torn",
  "storage: full disk and back",
  "storage: started on a full disk",
  "storage: failed write or sync heard",
  "storage: failed sync, process restart, power loss",
  "storage: stuck sync at the crash",
  "storage: slow sync",
  "storage: start refused by a file error",
  "storage: damage after a crash",
  "storage: damage that must not be refused",
  "storage: unproven batch lost to damage",
  "storage: damage refused",
  "storage: damage harmless",
  "storage: lost write refused",
  "storage: moved file refused",
  "storage: short write",
  "storage: entries overwritten",
  "storage: large value in overflow pages",
];

/** Where a checkpoint of a data file stands, as its operations show. */
type CheckpointPhase = "none" | "pages" | "meta";

const FIRST_PAGE_OFFSET = 8192;

export class StorageMarks {
  readonly #marks: Marks;
  readonly #phases = new Map<string, CheckpointPhase>();
  #rolling = false;
  #newestSequence = 0;
  #unlinkedSequence = 0;
  /** The newest segment when a group's HardState was last written. */
  readonly #hardStates = new Map<GroupId, number>();
  #lastWrite: (Operation & { kind: "write" }) | null = null;
  /** What happened so far on the way from a failed sync through a restart to a power loss. */
  #afterFailure: "none" | "failed" | "restarted" = "none";
  /** Operations belong to a start, not to work. */
  isOpening = false;

  constructor(marks: Marks) {
    this.#marks = marks;
  }

  hit(name: string): void {
    this.#marks.hit(`storage: ${name}`);
  }

  /** Right before the operation is performed. */
  operation(operation: Operation): void {
    switch (operation.kind) {
      case "write":
        this.#write(operation);
        break;
      case "sync": {
        const phase = this.#phases.get(operation.path);
        if (phase === "meta") this.#phases.set(operation.path, "none");
        break;
      }
      case "rename":
        if (!operation.to.endsWith(".wal")) break;
        this.#newestSequence = Math.max(this.#newestSequence, sequenceOf(operation.to));
        if (!this.isOpening) this.hit("segment rolled");
        break;
      case "syncDir":
        if (operation.path.endsWith("/tmp")) this.#rolling = false;
        break;
      case "unlink":
        if (!operation.path.includes("/wal/")) break;
        this.#unlinkedSequence = Math.max(this.#unlinkedSequence, sequenceOf(operation.path));
        this.hit("segment released");
        break;
      case "open":
      case "size":
      case "close":
      case "read":
      case "truncate":
      case "list":
      case "mkdir":
      case "lock":
      case "release":
        break;
    }
  }

  #write(operation: Operation & { kind: "write" }): void {
    const { path, offset, bytes } = operation;
    const before = this.#lastWrite;
    // The rest of a write that took only a part follows as a view of the same bytes.
    if (
      before !== null &&
      before.path === path &&
      bytes.buffer === before.bytes.buffer &&
      offset > before.offset &&
      offset + bytes.length === before.offset + before.bytes.length
    )
      this.hit("short write");
    this.#lastWrite = operation;
    if (this.isOpening) return;
    const kind = fileClassOf(path);
    // The next segment begins with zeros; its header is what makes it one.
    if (kind === "log" && offset === 0 && bytes[0] !== 0) this.#rolling = true;
    if (kind === "data") this.#phases.set(path, offset >= FIRST_PAGE_OFFSET ? "pages" : "meta");
  }

  hardStateWritten(group: GroupId): void {
    this.#hardStates.set(group, this.#newestSequence);
  }

  failureHeard(): void {
    this.hit("failed write or sync heard");
    this.#afterFailure = "failed";
  }

  crashed(isPowerLoss: boolean): void {
    if (this.#rolling) this.hit("crash inside a roll");
    for (const phase of this.#phases.values()) {
      if (phase === "pages") this.hit("checkpoint interrupted between pages and meta");
      if (phase === "meta") this.hit("checkpoint interrupted at its meta");
    }
    if (isPowerLoss) {
      if (this.#afterFailure === "restarted") this.hit("failed sync, process restart, power loss");
      this.#afterFailure = "none";
    }
    this.#rolling = false;
    this.#phases.clear();
    this.#lastWrite = null;
  }

  /** A start has succeeded and everything was verified. */
  verified({ recovery, onOlder }: Storage): void {
    if (this.#afterFailure === "failed") this.#afterFailure = "restarted";
    if (recovery === null) return;
    if (recovery.tornBytesCut > 0) this.hit("torn tail cut");
    if (recovery.unclean && recovery.rewrittenBytes > 0) this.hit("unproven tail rewritten");
    if (onOlder.length > 0) this.hit("older meta used");
    for (const sequence of this.#hardStates.values())
      if (sequence < this.#unlinkedSequence) this.hit("HardState carried only by a segment header");
  }
}

function sequenceOf(path: string): number {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return Number.parseInt(name.slice(0, 16), 16);
}

/** Whether a vote slot differs from what it was and yet has not got its new checksum: a write that was cut short. */
export function hasTornSlot(before: Uint8Array, after: Uint8Array): boolean {
  const SECTOR_BYTES = 512;
  for (let at = SECTOR_BYTES; at + SECTOR_BYTES <= after.length; at += SECTOR_BYTES) {
    let differs = false;
    for (let i = at; i < at + 48; i++) if (before[i] !== after[i]) differs = true;
    if (!differs) continue;
    let sameSum = true;
    for (let i = at + SECTOR_BYTES - 4; i < at + SECTOR_BYTES; i++)
      if (before[i] !== after[i]) sameSum = false;
    if (sameSum) return true;
  }
  return false;
}
