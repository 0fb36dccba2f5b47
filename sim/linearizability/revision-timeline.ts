/**
 * A history by revision: who has which, and whether real time agrees (rules 1 and 2 of revision-order.ts).
 *
 * Invariants: each writer made a revision of its own above the initial one; a suspect's `revisionMin` never falls in
 * order of beginnings.
 */
import { describeSpan, encodePlain, type Operation } from "./history.ts";
import {
  describeKv,
  type KvInput,
  type KvOutput,
  type KvState,
  madeRevision,
  mayMakeRevision,
} from "./kv-model.ts";

export type KvOperation = Operation<KvInput, KvOutput>;

/** By revision: what it did to each key that it changed. */
export type RevisionChanges = ReadonlyMap<number, ReadonlyMap<string, string | null>>;

export type RevisionRule =
  | "a revision is given once"
  | "revisions follow real time"
  | "answers match the state at their revision"
  | "every revision is made by an operation";

/** Ends a check: a rule does not hold, whatever the unknown operations did. */
export class BrokenRule extends Error {
  readonly rule: RevisionRule;

  constructor(rule: RevisionRule, detail: string) {
    super(`${rule}: ${detail}`);
    this.rule = rule;
  }
}

/** An operation of unknown outcome that may have made a revision. */
export interface Suspect {
  readonly operation: KvOperation;
  /** The lowest revision that it can have made: all lower ones were seen before it began. */
  readonly revisionMin: number;
  /** The place among the suspects of the one before it that asks for the same, or -1. */
  readonly twinBefore: number;
}

/** A history by revision. */
export interface Timeline {
  readonly initial: KvState;
  readonly revisionMax: number;
  readonly writers: ReadonlyMap<number, KvOperation>;
  readonly readers: ReadonlyMap<number, readonly KvOperation[]>;
  /** In order of their beginnings. */
  readonly suspects: readonly Suspect[];
}

/** Rule 1, and the index of who has which revision. */
export function timelineOf(history: readonly KvOperation[], initial: KvState): Timeline {
  const writers = new Map<number, KvOperation>();
  const readers = new Map<number, KvOperation[]>();
  let revisionMax = initial.revision;
  for (const operation of history) {
    const { input, output, outcome } = operation;
    if (outcome !== "ok" || output === undefined) continue;
    const { revision } = output;
    const isChange = madeRevision(input, output);
    if (!Number.isSafeInteger(revision) || revision < initial.revision + Number(isChange)) {
      const detail = `the store began at revision ${initial.revision}\n${showOperation(operation)}`;
      throw new BrokenRule("answers match the state at their revision", detail);
    }
    revisionMax = Math.max(revisionMax, revision);
    if (!isChange) {
      const others = readers.get(revision);
      if (others === undefined) readers.set(revision, [operation]);
      else others.push(operation);
      continue;
    }
    const other = writers.get(revision);
    if (other !== undefined) {
      const detail = `both have ${revision}\n${showOperation(other)}\n${showOperation(operation)}`;
      throw new BrokenRule("a revision is given once", detail);
    }
    writers.set(revision, operation);
  }
  return { initial, revisionMax, writers, readers, suspects: followRealTime(history) };
}

/** Rule 2, in one sweep: each end raises the lowest revision that is still open to what begins after it. */
function followRealTime(history: readonly KvOperation[]): Suspect[] {
  const begun = history.filter((one) => one.outcome !== "fail");
  begun.sort((a, b) => a.invokedAt - b.invokedAt || a.id - b.id);
  const ended = history.filter((one) => one.outcome === "ok");
  ended.sort((a, b) => a.returnedAt - b.returnedAt || a.id - b.id);
  const suspects: Suspect[] = [];
  const lastOfKind = new Map<string, number>();
  let highest: KvOperation | undefined;
  let next = 0;
  for (const operation of begun) {
    for (; (ended[next]?.returnedAt ?? Infinity) < operation.invokedAt; next++) {
      const end = ended[next] as KvOperation;
      if (revisionOf(end) > revisionOf(highest)) highest = end;
    }
    const { input, output, outcome } = operation;
    if (outcome === "unknown") {
      if (!mayMakeRevision(input)) continue;
      const kind = encodePlain(input);
      const twinBefore = lastOfKind.get(kind) ?? -1;
      lastOfKind.set(kind, suspects.length);
      suspects.push({ operation, revisionMin: revisionOf(highest) + 1, twinBefore });
      continue;
    }
    if (output === undefined || highest === undefined || input.kind === "stale-get") continue;
    if (output.revision < revisionOf(highest) + Number(madeRevision(input, output))) {
      const detail = `\n${showOperation(highest)}\nended before this began\n${showOperation(operation)}`;
      throw new BrokenRule("revisions follow real time", detail);
    }
  }
  return suspects;
}

function revisionOf(operation: KvOperation | undefined): number {
  return operation?.output?.revision ?? 0;
}

export function showOperation(operation: KvOperation): string {
  return `  ${describeSpan(operation)}: ${describeKv(operation.input, operation.output)}`;
}
