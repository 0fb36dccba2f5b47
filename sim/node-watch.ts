/**
 * What is seen of a node from outside while it runs: each file operation goes into the trace, a planned end of the
 * process strikes, and rare paths that the run came along are marked.
 */
import type { Operation, SimEnv } from "../src/env/sim/index.ts";
import type { Marks } from "./marks.ts";
import type { FileClass, Halt } from "./node-steps.ts";
import type { Trace } from "./trace.ts";

/** Commands that a life has to have written for its crash to count as a cycle. */
export const COMMANDS_PER_CYCLE = 20;

/** What a long run of this world has to come along. */
export const NODE_MARKS = {
  leaseEndedAround: "a lease ended around a crash",
  renewedBefore: "a lease was renewed right before a crash",
  checkpointCut: "a checkpoint was cut off by a crash",
  compactionCut: "a compaction was cut off by a crash",
  fullAndBack: "a full disk got room again",
  fullStart: "a start on a full disk",
  applied: "a call timed out and was applied",
  notApplied: "a call timed out and was not applied",
  certainlyNot: "a call timed out before it was proposed",
  doubtfulCache: "a start over a cache that shows what the disk never got",
  metaCut: "the power failed between a meta and its sync",
  tornTail: "a torn tail was cut",
  rewritten: "an unproven tail was written again",
  batch: "several commands were acknowledged in one moment",
  pauseOverLease: "a pause over the end of a lease",
  jumpWhileUp: "the wall clock jumped while the node ran",
  jumpWhileDown: "the wall clock jumped while the node was down",
  crashInRecovery: "a crash in recovery",
  secondCrash: "a second crash in recovery",
  failedWrite: "a failed write stopped the node",
  stuck: "calls ended while the disk was stuck",
  closed: "a clean stop and a clean start",
  rotRefused: "damage was refused",
  ownCompaction: "the database compacted by itself",
  lockHeld: "a lock was held over a restart",
  keyEnded: "a key ended by its deadline",
  keyEndedAround: "a key ended around a crash",
  briefLockEnded: "a lock ended by its deadline and was taken again",
  sentAgain: "a request was sent again after a crash and happened once",
  sessionEnded: "a session ended by disuse",
  refusedAsExpired: "a request of a session was refused",
  resumed: "a watcher went on after a crash",
  watchedOld: "a watcher was told what happened before it came",
  watchCompacted: "a watcher was told of a compaction",
  noSpace: "a quota refused a write",
  overdueNone: "nothing was overdue",
  counterEdge: "a counter reached an end of 64 bits",
  counterRefused: "a counter was kept within its bounds",
  intervalLoss: "the interval mode lost what it may lose",
} as const;

export const NODE_RARE_PATHS: readonly string[] = Object.values(NODE_MARKS);

/** The two metas lie in front of the pages. */
const META_BYTES = 8192;

export function isOfClass(path: string, files: FileClass): boolean {
  switch (files) {
    case "any":
      return true;
    case "data":
      return path.endsWith(".hdb");
    case "state":
      return /\/(?:wal|db)\/|\/VOTE$|\/next\.wal$/.test(path);
  }
}

export class NodeWatch {
  readonly #machine: SimEnv;
  readonly #trace: Trace;
  readonly #marks: Marks;
  #halt: Halt | null = null;
  #haltLeft = 0;
  /** The data file has been written to since its last sync: a checkpoint is under way. */
  #dataIsDirty = false;
  #metaIsDirty = false;
  #acknowledgedAtMs = -1;

  readonly #onHalt: () => void;

  constructor(machine: SimEnv, trace: Trace, marks: Marks, onHalt: () => void) {
    this.#onHalt = onHalt;
    this.#machine = machine;
    this.#trace = trace;
    this.#marks = marks;
    machine.disk.observer = (moment, operation, ordinal) =>
      this.#observe(moment, operation, ordinal);
  }

  planHalt(halt: Halt | null): void {
    this.#halt = halt;
    this.#haltLeft = halt?.after ?? 0;
  }

  acknowledged(): void {
    const { nowMs } = this.#machine.scheduler;
    if (nowMs === this.#acknowledgedAtMs) this.#marks.hit(NODE_MARKS.batch);
    this.#acknowledgedAtMs = nowMs;
  }

  /** The process is about to end. */
  crashing(isUp: boolean, isPowerLoss: boolean): void {
    if (isUp && this.#dataIsDirty) this.#marks.hit(NODE_MARKS.checkpointCut);
    if (isPowerLoss && this.#metaIsDirty) this.#marks.hit(NODE_MARKS.metaCut);
    this.#dataIsDirty = false;
    this.#metaIsDirty &&= !isPowerLoss;
    this.planHalt(null);
  }

  #observe(moment: "before" | "after", operation: Operation, ordinal: number): void {
    if (moment === "before")
      this.#trace.operation(this.#machine.scheduler.nowMs, operation, ordinal);
    const { kind, path } = operation;
    if ((kind === "write" || kind === "sync") && path.endsWith(".hdb")) {
      this.#dataIsDirty = kind === "write" || moment === "before";
      if (kind === "write") this.#metaIsDirty ||= operation.offset < META_BYTES;
      else if (moment === "after") this.#metaIsDirty = false;
    }
    const halt = this.#halt;
    if (halt === null || !isOfClass(path, halt.files)) return;
    if (moment === "before") this.#haltLeft--;
    if (this.#haltLeft > 0 || moment !== halt.moment) return;
    this.#halt = null;
    this.#trace.event(
      this.#machine.scheduler.nowMs,
      `the process ends ${moment} this operation`,
      ordinal,
    );
    this.#onHalt();
    this.#machine.halt();
  }
}
